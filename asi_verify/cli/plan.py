"""``asi-verify plan``: what a run would need."""

from __future__ import annotations

from rich.table import Table

from asi_verify.cli.options import (
    DataRootOption,
    DatasetArgument,
    JsonOption,
    LayoutOption,
    MeanOption,
    ModelArgument,
    RegionsOption,
    ScaleOption,
    SemanticsOption,
    SplitOption,
    StdOption,
)
from asi_verify.cli.preprocess import preprocess_of
from asi_verify.cli.printing import console, print_json

__all__ = ["plan"]


def plan(
    model: ModelArgument,
    dataset: DatasetArgument,
    radius: RegionsOption = "1/255",
    split: SplitOption = "train",
    semantics: SemanticsOption = "float32",
    scale: ScaleOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    layout: LayoutOption = None,
    data_root: DataRootOption = None,
    as_json: JsonOption = False,
) -> None:
    """What a run would find unsupported, impossible or slow, before hours are spent."""
    from asi_verify._plan import plan as plan_

    found = plan_(
        model,
        dataset,
        radius,
        split=split,
        semantics=semantics,
        preprocess=preprocess_of(scale, mean, std, layout),
        data_root=data_root,
    )
    if as_json:
        print_json(found.to_json())
        return
    counts = ", ".join(f"{count} {name}" for name, count in found.operators.items())
    console.print(f"operators: {counts}; {found.parameters} parameters; all supported")
    console.print(f"accuracy: {found.accuracy:.1%} of {found.samples} samples")
    ceiling = f"; outside them nothing contradicts below {found.ceiling}" if found.ceiling else ""
    console.print(f"contradictions: {found.contradictions} samples{ceiling}")
    table = Table("stage, by itself", "all samples that are right")
    for name, seconds in found.seconds.items():
        table.add_row(name, f"{seconds:.0f} s")
    if found.epoch_seconds is not None:
        table.add_row("an epoch of certified training", f"{found.epoch_seconds:.1f} s")
    console.print(table)
    console.print(f"memory of the passes: about {found.memory / 2**20:.0f} MiB")
