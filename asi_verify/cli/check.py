"""``asi-verify check``: the certificates of a folder, or the proof of a query."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asi_verify.cli.exit_codes import OPEN
from asi_verify.cli.options import CoresOption, DataRootOption, JsonOption, NamedDatasetOption
from asi_verify.cli.printing import console, print_json

if TYPE_CHECKING:
    from asi_verify.checker import CheckResult

__all__ = ["check"]


def check(
    folder: Annotated[
        Path, typer.Argument(help="A run folder, or one of certificates or of a VNN-LIB proof.")
    ],
    dataset: NamedDatasetOption = None,
    cores: CoresOption = 1,
    data_root: DataRootOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check every certificate from the files and the data set alone, or the proof of a query."""
    from asi_verify.checker import is_vnnlib_folder

    if is_vnnlib_folder(folder):
        _check_proof(folder, as_json)
    from asi_verify._check import check as check_
    from asi_verify.checker.command import summary

    result = check_(folder, dataset, cores=cores, data_root=data_root)
    if as_json:
        print_json(summary(result))
    else:
        _print_check(result)
        if result.never_miss is not None:
            _print_check(result.never_miss, "never miss: ")
    raise typer.Exit(0 if result.holds else OPEN)


def _print_check(result: CheckResult, about: str = "") -> None:
    """What the checker found in one folder of certificates."""
    from asi_verify.checker import Outcome
    from asi_verify.checker.command import printable

    # The reasons quote what the folder says.
    for reason in result.refused:
        console.print(f"{about}refused: {printable(reason)}", markup=False)
    for row in result.rows(Outcome.REJECTED):
        console.print(f"{about}row {row} rejected: {printable(result.reasons[row])}", markup=False)
    console.print(
        f"{about}{len(result.rows(Outcome.ACCEPTED))} accepted, "
        f"{len(result.rows(Outcome.DELEGATED))} delegated, "
        f"{len(result.rows(Outcome.REJECTED))} rejected, {len(result.missing)} missing; "
        f"status {result.status or 'refused'}"
    )
    if claims := result.claims:
        only = claims.never_miss
        of = "" if only is None else f"of the classes {', '.join(map(str, only.labels))}, "
        console.print(
            f"{about}claimed: {of}{claims.family}, {claims.semantics.value} semantics, "
            f"about the {claims.dataset.target}, model {claims.artifact}"
        )


def _check_proof(folder: Path, as_json: bool) -> None:
    """Check the proof of a VNN-LIB query, print what was found, and leave with the exit code."""
    from asi_verify.checker import check_vnnlib
    from asi_verify.checker.command import printable, vnnlib_summary

    checked = check_vnnlib(folder)
    if as_json:
        print_json(vnnlib_summary(checked))
    else:
        why = f": {printable(checked.reason)}" if checked.reason else ""
        console.print(f"{checked.outcome.value}{why}", markup=False)
        proof = checked.proof
        console.print(
            f"claimed: unsat, {len(proof.cases)} cases, {proof.semantics.value} semantics, "
            f"model {proof.artifact}, property {proof.property_}",
            markup=False,
        )
    raise typer.Exit(0 if checked.holds else OPEN)
