"""``asi-verify sign``: signs a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asi_verify.cli.exit_codes import OPEN
from asi_verify.cli.options import RunFolderArgument
from asi_verify.cli.printing import console
from asi_verify.errors import UsageError

__all__ = ["sign"]


def sign(
    folder: RunFolderArgument,
    key: Annotated[
        Path | None, typer.Option(help="A private Ed25519 key, PEM, for its owner alone.")
    ] = None,
    new_key: Annotated[
        Path | None, typer.Option(help="Make a key pair: the private key's new file.")
    ] = None,
) -> None:
    """Sign the statement of a finished run with an Ed25519 key."""
    from asi_verify.attest import new_key as new_key_
    from asi_verify.attest import sign as sign_
    from asi_verify.attest import verify as verify_

    made = key or new_key
    if made is None or (key and new_key):
        raise UsageError("give --key with a private key, or --new-key to have one made")
    found = verify_(folder)
    if not found.holds:
        for reason in found.refused:
            console.print(f"refused: {reason}", markup=False)
        console.print("nothing was signed")
        raise typer.Exit(OPEN)
    if new_key is not None:
        console.print(f"public key: {new_key_(new_key)}", markup=False)
    console.print(f"signed: {sign_(folder, made)}", markup=False)
