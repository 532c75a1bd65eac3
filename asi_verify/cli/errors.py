"""``asi-verify errors``: what a model gets wrong."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from asi_verify.cli.exit_codes import OPEN
from asi_verify.cli.options import (
    DataRootOption,
    DatasetArgument,
    JsonOption,
    LayoutOption,
    MeanOption,
    ModelArgument,
    ScaleOption,
    StdOption,
)
from asi_verify.cli.preprocess import preprocess_of
from asi_verify.cli.printing import console, print_json

__all__ = ["errors"]


def errors(
    model: ModelArgument,
    dataset: DatasetArgument,
    split: Annotated[str, typer.Option(help="The samples to run the model on.")] = "train",
    scale: ScaleOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    layout: LayoutOption = None,
    data_root: DataRootOption = None,
    as_json: JsonOption = False,
) -> None:
    """List every sample that a model gets wrong, as ONNX Runtime runs it."""
    from asi_verify._errors import list_errors

    found = list_errors(
        model,
        dataset,
        split=split,
        preprocess=preprocess_of(scale, mean, std, layout),
        data_root=data_root,
    )
    if as_json:
        print_json(found)
    else:
        table = Table("row", "label", "answer", "margin", title=None)
        for error in found["errors"]:
            margin = "not a number" if error["margin"] is None else f"{error['margin']:.4f}"
            table.add_row(str(error["row"]), error["label"], error["prediction"], margin)
        if found["errors"]:
            console.print(table)
        console.print(
            f"{len(found['errors'])} of {found['samples']} misclassified "
            f"({found['accuracy']:.1%} right)"
        )
    raise typer.Exit(OPEN if found["errors"] else 0)
