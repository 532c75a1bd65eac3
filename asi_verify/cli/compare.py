"""``asi-verify compare``: two finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asi_verify.cli.exit_codes import OPEN
from asi_verify.cli.options import DataRootOption, JsonOption
from asi_verify.cli.printing import console, print_json

__all__ = ["compare"]


def compare(
    before: Annotated[Path, typer.Argument(help="The run folder of the model as it was.")],
    after: Annotated[Path, typer.Argument(help="The run folder of the model as it is.")],
    dataset: Annotated[
        str | None, typer.Option(help="The data set, if the folders do not name it.")
    ] = None,
    data_root: DataRootOption = None,
    as_json: JsonOption = False,
) -> None:
    """Which guarantees a retrained model keeps, gains and loses; both are checked anew."""
    from asi_verify._compare import compare as compare_

    found = compare_(before, after, dataset, data_root=data_root)
    if as_json:
        print_json(found.to_json())
    else:
        for row in found.lost:
            console.print(f"row {row} lost")
        for row in found.never_miss_lost:
            console.print(f"row {row} lost in its larger region")
        console.print(
            f"{len(found.kept)} kept, {len(found.gained)} gained, {len(found.lost)} lost, "
            f"{len(found.neither)} in neither"
        )
    raise typer.Exit(0 if found.holds else OPEN)
