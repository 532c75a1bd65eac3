"""``asi-verify datasets``: the data sets known by name; ``datasets audit``: what one allows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from asi_verify.cli.exit_codes import OPEN
from asi_verify.cli.options import (
    DataRootOption,
    DatasetArgument,
    JsonOption,
    RegionsOption,
    SeedOption,
)
from asi_verify.cli.printing import console, print_json
from asi_verify.cli.progress import TerminalProgress
from asi_verify.errors import UsageError

__all__ = ["datasets_app"]

datasets_app = typer.Typer(invoke_without_command=True, add_completion=False)


@datasets_app.callback()
def datasets(
    context: typer.Context, data_root: DataRootOption = None, as_json: JsonOption = False
) -> None:
    """List the data sets that are known by name, and where their files lie; or audit one."""
    if context.invoked_subcommand is not None:
        if data_root is not None or as_json:
            raise UsageError(f"give the options after 'datasets {context.invoked_subcommand}'")
        return
    from asi_verify.data import find_file, medmnist_sets

    facts = [
        {
            "classes": len(known.labels),
            "dimensions": known.dimensions,
            "file": None if (path := find_file(name, data_root=data_root)) is None else str(path),
            "license": known.license,
            "name": name,
            "samples": dict(known.samples),
            "sizes": sorted(known.md5),
            "task": known.task.value,
        }
        for name, known in medmnist_sets().items()
    ]
    if as_json:
        print_json({"datasets": facts})
        return
    whole = (Column(name, no_wrap=True) for name in ("name", "task", "classes"))
    table = Table(*whole, "train/val/test", "sizes", "license", Column("file", overflow="fold"))
    for fact in facts:
        samples: Any = fact["samples"]
        sizes: Any = fact["sizes"]
        table.add_row(
            str(fact["name"]),
            str(fact["task"]),
            str(fact["classes"]),
            "/".join(str(samples[split]) for split in ("train", "val", "test")),
            " ".join(map(str, sizes)) + (" 3-D" if fact["dimensions"] == 3 else ""),
            str(fact["license"]),
            str(fact["file"] or "not here yet"),
        )
    table.add_row("phantom", "binary", "2", "240/60/60", "28", "synthetic", "made when asked for")
    console.print(table)


@datasets_app.command("audit")
def audit_dataset(
    dataset: DatasetArgument,
    radius: RegionsOption = "1/255",
    suspects: Annotated[
        bool,
        typer.Option("--suspects", help="Also look for labels that seem wrong; this trains."),
    ] = False,
    seed: SeedOption = 0,
    out: Annotated[Path | None, typer.Option(help="A file for the readiness certificate.")] = None,
    data_root: DataRootOption = None,
    as_json: JsonOption = False,
) -> None:
    """What can be promised about a data set at all, whatever the model."""
    from asi_verify._audit_dataset import audit_dataset as audit_dataset_

    made = audit_dataset_(
        dataset,
        radius,
        suspects=suspects,
        seed=seed,
        out=out,
        data_root=data_root,
        progress=TerminalProgress(),
    )
    if as_json:
        print_json(made.to_json())
    else:
        _print_readiness(made)
        if out is not None:
            console.print(f"readiness certificate: {out}", markup=False)
    raise typer.Exit(OPEN if made.contradicted else 0)


def _print_readiness(made: Any) -> None:
    """A line for each split, what concerns all of them, and the digest."""
    from asi_verify.audit import ceiling_text

    value = made.value
    table = Table(
        "split", "samples", "of each class", "contradictions", "ceiling outside", "suspected"
    )
    for name, entry in made.splits.items():
        suspects = made.suspects(name)
        table.add_row(
            name,
            str(entry["samples"]),
            " ".join(map(str, entry["counts"])),
            str(len(entry["contradictions"])),
            ceiling_text(
                entry["ceilings"]["outside_contradictions"], entry["nearest_other_label"]["unit"]
            ),
            "not asked" if suspects is None else str(len(suspects)),
        )
    console.print(table)
    groups = value["duplicates"]
    console.print(
        f"groups of equal images: {len(groups)}, {sum(g['crosses_splits'] for g in groups)} across "
        f"splits, {sum(g['disagrees'] for g in groups)} with different labels"
    )
    for sentence in value["undecided"]:
        console.print(f"not decided: {sentence}", markup=False)
    console.print(f"digest: {made.digest}")
