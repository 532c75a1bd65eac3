"""``asi-verify search``: the settings that certify most within a budget."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from asi_verify.cli.options import (
    DataRootOption,
    DatasetArgument,
    JsonOption,
    RadiusOption,
    SeedOption,
    SemanticsOption,
)
from asi_verify.cli.printing import console, print_json
from asi_verify.cli.progress import TerminalProgress

__all__ = ["search"]


def search(
    dataset: DatasetArgument,
    budget: Annotated[
        int,
        typer.Option(
            help="Epochs of certified training, of all candidates together.",
            min=1,
            show_default=False,
        ),
    ],
    radius: RadiusOption = "1/255",
    seed: SeedOption = 0,
    out: Annotated[
        Path, typer.Option(help="The folder of the search; a search in it goes on.")
    ] = Path("search"),
    candidates: Annotated[
        Path | None,
        typer.Option(help="A JSON file with an array of settings to try, not the usual ones."),
    ] = None,
    semantics: SemanticsOption = "float32",
    data_root: DataRootOption = None,
    as_json: JsonOption = False,
) -> None:
    """Which network and which settings certify most within a budget of epochs."""
    from asi_verify._search import SETTINGS_FILE
    from asi_verify._search import search as search_
    from asi_verify.repair import read_candidates

    found = search_(
        dataset,
        radius,
        budget=budget,
        candidates=None if candidates is None else read_candidates(candidates),
        seed=seed,
        semantics=semantics,
        out=out,
        data_root=data_root,
        progress=TerminalProgress(),
    )
    if as_json:
        print_json(found.summary)
        return
    table = Table("candidate", "settings", "epochs", "certified", "right on validation")
    for number, trial in enumerate(found.summary["trials"]):
        last = trial["stages"][-1]
        right = "" if last["right"] is None else str(last["right"])
        best = f"{number} (best)" if number == found.summary["best"] else str(number)
        told = _differing(trial["settings"])
        table.add_row(best, told, str(last["epochs"]), str(last["certified"]), right)
    console.print(table)
    console.print(f"{found.summary['spent']} epochs; settings: {out / SETTINGS_FILE}", markup=False)


def _differing(settings: dict[str, Any]) -> str:
    """What is said of a candidate: its network, and what its correction does not leave alone."""
    from dataclasses import asdict

    from asi_verify.repair import CertifiedTraining

    usual = asdict(CertifiedTraining())
    own = {k: v for k, v in settings["corrector"].items() if v != usual[k]}
    parts = [settings["architecture"], *(f"{k}={v}" for k, v in settings["options"].items())]
    return " ".join([*parts, *(f"{k}={v:g}" for k, v in own.items())])
