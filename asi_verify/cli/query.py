"""``asi-verify query``: a sample's query as VNN-LIB."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from asi_verify.cli.options import DataRootOption, DatasetArgument, ModelArgument, RadiusOption

__all__ = ["query"]


def query(
    model: ModelArgument,
    dataset: DatasetArgument,
    row: Annotated[int, typer.Argument(help="The sample's row in its split, from 0.")],
    radius: RadiusOption = "1/255",
    split: Annotated[str, typer.Option(help="The sample's split.")] = "train",
    data_root: DataRootOption = None,
) -> None:
    """Print a sample's query as VNN-LIB, for other programs to answer."""
    from asi_verify._query import write_query

    sys.stdout.write(write_query(model, dataset, row, radius, split=split, data_root=data_root))
