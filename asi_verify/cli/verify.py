"""``asi-verify verify``: a finished run's statement and signature."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asi_verify.cli.exit_codes import OPEN
from asi_verify.cli.options import JsonOption, RunFolderArgument
from asi_verify.cli.printing import console, print_json

__all__ = ["verify"]


def verify(
    folder: RunFolderArgument,
    key: Annotated[
        Path | None, typer.Option(help="The public Ed25519 key, PEM, that has to have signed.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare a run's statement with its files, and its signature with a key; derives no bound."""
    from asi_verify.attest import verify as verify_

    found = verify_(folder, key)
    if as_json:
        print_json(
            {
                "holds": found.holds,
                "refused": list(found.refused),
                "signature": found.signature.value,
                "statement": found.statement,
                "unverified": list(found.unverified),
                "verified": list(found.verified),
            }
        )
    else:
        for mark, lines in (
            ("verified", found.verified),
            ("NOT verified", found.unverified),
            ("refused", found.refused),
        ):
            for line in lines:
                console.print(f"{mark}: {line}", markup=False)
        console.print(f"signature: {found.signature.value}")
        if found.holds and found.statement is not None:
            from asi_verify.core.region import family_from_json

            stated = found.statement["predicate"]
            region = family_from_json(stated["claim"]["region"])
            console.print(
                f"stated, not derived here: status {stated['status']}, "
                f"{region}, {stated['claim']['semantics']} semantics, "
                f"about the {stated['claim']['target']}",
                markup=False,
            )
            if "never_miss" in stated:
                larger = stated["never_miss"]
                region = family_from_json(larger["claim"]["region"])
                console.print(
                    f"and of the classes {larger['claim']['labels']}: status {larger['status']}, "
                    f"{region}",
                    markup=False,
                )
        console.print("what was looked at holds" if found.holds else "this does not hold")
    raise typer.Exit(0 if found.holds else OPEN)
