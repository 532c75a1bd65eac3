"""``asi-verify vnnlib``: answers a VNN-LIB query, or a list of them."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Annotated

import typer

from asi_verify.cli.exit_codes import OPEN
from asi_verify.cli.printing import console, err_console
from asi_verify.core.limits import LARGEST_ARTIFACT, LARGEST_VNNLIB
from asi_verify.errors import ModelError, PropertyError, UsageError

__all__ = ["vnnlib"]


def vnnlib(
    model: Annotated[
        Path | None, typer.Argument(help="An ONNX file, or one packed by gzip.")
    ] = None,
    property_: Annotated[
        Path | None,
        typer.Argument(metavar="PROPERTY", help="A VNN-LIB 1 file, or one packed by gzip."),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(help="Seconds for each query; 60 where nothing else is said.", min=0),
    ] = None,
    semantics: Annotated[
        str, typer.Option(help="'float32': a runtime's rounding is covered; 'real': as VNN-COMP.")
    ] = "float32",
    cores: Annotated[
        int, typer.Option(help="Processes that share the work of long searches.", min=1)
    ] = 1,
    out: Annotated[
        Path | None, typer.Option(help="A new folder for the proof; of a batch, one for each row.")
    ] = None,
    batch: Annotated[
        Path | None,
        typer.Option(help="A CSV file of rows onnx,vnnlib,timeout instead of one query."),
    ] = None,
    results: Annotated[Path, typer.Option(help="The CSV file of a batch's answers.")] = Path(
        "results.csv"
    ),
) -> None:
    """Answer a VNN-LIB query: sat with a counterexample, unsat, timeout or unknown."""
    from asi_verify._vnnlib import Answer, refuse_other_query, refuse_other_things, solve_vnnlib
    from asi_verify.lowering.files import read_file

    if batch is not None:
        if model is not None:
            raise UsageError("--batch names the queries; leave MODEL and PROPERTY out")
        _answer_batch(batch, timeout, semantics, cores, out, results)
    if model is None or property_ is None:
        raise UsageError("give an ONNX file and a VNN-LIB file, or --batch with a list of them")
    if out is not None:
        refuse_other_things(out)  # before it takes minutes
        asked = read_file(model, LARGEST_ARTIFACT, ModelError)
        refuse_other_query(out, asked, read_file(property_, LARGEST_VNNLIB, PropertyError))
    seconds = 60.0 if timeout is None else timeout
    found = solve_vnnlib(model, property_, timeout=seconds, semantics=semantics, cores=cores)
    sys.stdout.write(f"{found.answer.value}\n")
    if found.witness is not None:
        sys.stdout.write(f"{found.witness}\n")
    err_console.print(f"{found.reason} ({found.seconds:.2f} s)", markup=False)
    if out is not None and found.files:
        found.save(out)
    raise typer.Exit(0 if found.answer is Answer.UNSAT else OPEN)


def _answer_batch(
    batch: Path,
    timeout: float | None,
    semantics: str,
    cores: int,
    out: Path | None,
    results: Path,
) -> None:
    """Answer a list, write a row as soon as it is answered, and leave with the exit code."""
    from asi_verify._vnnlib import Answer, refuse_other_things
    from asi_verify._vnnlib_batch import solve_vnnlib_batch

    if out is not None:
        # Not even an earlier batch's proofs: what has a row's number would pass for the row's.
        refuse_other_things(out, own=frozenset())
    counts = dict.fromkeys(Answer, 0)
    # A list that cannot be read leaves the answers of an earlier one as they are.
    answered = solve_vnnlib_batch(batch, timeout=timeout, semantics=semantics, cores=cores)
    if results.exists() and results.samefile(batch):
        raise UsageError(f"{results} is the list itself; name another file with --results")
    with results.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["onnx", "vnnlib", "answer", "seconds", "reason"])
        for number, row in enumerate(answered):
            found = row.result
            counts[found.answer] += 1
            writer.writerow(
                [row.onnx, row.vnnlib, found.answer.value, f"{found.seconds:.3f}", found.reason]
            )
            file.flush()
            if out is not None and found.files:
                found.save(out / f"{number:05d}")
    counted = ", ".join(f"{count} {answer.value}" for answer, count in counts.items())
    console.print(f"{counted}; answers: {results}", markup=False)
    proved = counts[Answer.UNSAT] == sum(counts.values()) > 0
    raise typer.Exit(0 if proved else OPEN)
