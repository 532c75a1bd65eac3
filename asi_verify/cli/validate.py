"""``asi-verify validate``: tries to break what a run claims."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from asi_verify.cli.exit_codes import OPEN
from asi_verify.cli.options import (
    DataRootOption,
    JsonOption,
    NamedDatasetOption,
    RunFolderArgument,
    SeedOption,
)
from asi_verify.cli.printing import console, print_json
from asi_verify.cli.progress import TerminalProgress

__all__ = ["validate"]


def validate(
    folder: RunFolderArgument,
    dataset: NamedDatasetOption = None,
    no_attacks: Annotated[
        bool, typer.Option("--no-attacks", help="Leave the attacks of the toolbox out.")
    ] = False,
    most: Annotated[
        int, typer.Option(help="Attack at most so many images, the least certain first.", min=1)
    ] = 256,
    seed: SeedOption = 0,
    data_root: DataRootOption = None,
    as_json: JsonOption = False,
) -> None:
    """Try to break what a run claims: edge cases, corruptions, attacks, other ways to run it."""
    from asi_verify._validate import VALIDATION_FILE
    from asi_verify._validate import validate as validate_
    from asi_verify.stress import Battery, default_attacks

    battery = Battery(() if no_attacks else default_attacks(), most, seed)
    found = validate_(
        folder, dataset, battery=battery, data_root=data_root, progress=TerminalProgress()
    )
    if as_json:
        print_json(found.to_json())
    else:
        _print_validation(found)
        console.print(f"everything: {folder / VALIDATION_FILE}", markup=False)
    raise typer.Exit(0 if found.holds else OPEN)


def _print_validation(found: Any) -> None:
    """Alarms first, then what was tried."""
    for alarm in found.alarms:
        about = "" if alarm.row is None else f", row {alarm.row}"
        console.print(f"ALARM ({alarm.trial}{about}): {alarm.detail}", markup=False)
    table = Table("tried", "inside the regions", "inputs", "answers kept")
    for trial in (*found.edge_cases, *found.attacks):
        inside = "yes" if trial.inside else "no"
        table.add_row(trial.name, inside, str(trial.tried), str(trial.kept))
    console.print(table)
    for split, kinds in found.corruptions.items():
        severe = Table(f"accuracy on {split}", *map(str, range(1, 6)))
        severe.add_row("as they are", f"{kinds['none'][0]:.1%}")
        for kind, accuracies in kinds.items():
            if kind != "none":
                severe.add_row(kind, *(f"{accuracy:.1%}" for accuracy in accuracies))
        console.print(severe)
    if (runs := found.determinism) is not None:
        console.print(
            f"{len(runs.ways)} other ways to run the model: {runs.decisions_differ} images decided "
            f"otherwise, {runs.bits_differ} with other bits"
        )
    if not found.claimed:
        console.print("nothing is claimed: the folder has no certificate")
    else:
        console.print(f"{found.claimed} regions claimed, {len(found.alarms)} alarms")
