"""``asi-verify bubbles``: how far the proofs of a finished run reach."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from asi_verify.cli.options import DataRootOption, JsonOption, NamedDatasetOption, RunFolderArgument
from asi_verify.cli.printing import console, print_json
from asi_verify.cli.progress import TerminalProgress

__all__ = ["bubbles"]


def bubbles(
    folder: RunFolderArgument,
    most: Annotated[str, typer.Option(help="The largest radius tried.")] = "8/255",
    step: Annotated[str, typer.Option(help="The radii tried are its multiples.")] = "0.5/255",
    dataset: NamedDatasetOption = None,
    data_root: DataRootOption = None,
    as_json: JsonOption = False,
) -> None:
    """How far the proof around each certified image reaches, and who else lies inside."""
    from asi_verify._bubbles import BUBBLES_FILE
    from asi_verify._bubbles import bubbles as bubbles_

    found = bubbles_(
        folder, dataset, most, step=step, data_root=data_root, progress=TerminalProgress()
    )
    if as_json:
        print_json(found.to_json())
        return
    table = Table("largest radius proved", "images")
    for radius, count in found.distribution().items():
        table.add_row(radius, str(count))
    console.print(table)
    console.print(f"smallest: rows {', '.join(map(str, found.smallest()))}")
    for name, others in found.others.items():
        console.print(
            f"{name}: {others.inside} of {others.samples} images lie inside of a bubble, "
            f"{others.right} of them with its label"
        )
    console.print(f"everything: {folder / BUBBLES_FILE}", markup=False)
