"""``asi-verify radii``: how far each sample is proved."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from asi_verify.cli.options import (
    CoresOption,
    DataRootOption,
    DatasetArgument,
    JsonOption,
    LayoutOption,
    MeanOption,
    ModelArgument,
    ScaleOption,
    SemanticsOption,
    StdOption,
    TargetOption,
)
from asi_verify.cli.preprocess import preprocess_of
from asi_verify.cli.printing import console, print_json
from asi_verify.cli.progress import TerminalProgress

__all__ = ["radii"]


def radii(
    model: ModelArgument,
    dataset: DatasetArgument,
    most: Annotated[str, typer.Option(help="The largest radius tried.")] = "8/255",
    step: Annotated[str, typer.Option(help="The radii tried are its multiples.")] = "0.5/255",
    split: Annotated[str, typer.Option(help="The samples.")] = "train",
    target: TargetOption = "label",
    semantics: SemanticsOption = "float32",
    scale: ScaleOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    layout: LayoutOption = None,
    cores: CoresOption = 1,
    data_root: DataRootOption = None,
    as_json: JsonOption = False,
) -> None:
    """The largest radius at which each sample is proved."""
    from asi_verify._radius_map import radius_map

    found = radius_map(
        model,
        dataset,
        most,
        step=step,
        split=split,
        target=target,
        semantics=semantics,
        preprocess=preprocess_of(scale, mean, std, layout),
        cores=cores,
        data_root=data_root,
        progress=TerminalProgress(),
    )
    if as_json:
        print_json(found.to_json())
        return
    table = Table("row", "proved at", "refuted at")
    for row, (proved, refuted) in enumerate(zip(found.proved, found.refuted, strict=True)):
        table.add_row(str(row), *("" if r is None else str(r) for r in (proved, refuted)))
    console.print(table)
