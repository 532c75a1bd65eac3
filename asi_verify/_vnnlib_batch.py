"""``solve_vnnlib_batch``: a competition's list of instances answered in one process."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asi_verify._vnnlib import Answer, VnnlibResult, require_timeout, solve_vnnlib
from asi_verify.core.cores import require_cores
from asi_verify.core.limits import LARGEST_VNNLIB
from asi_verify.core.semantics import Semantics
from asi_verify.errors import UsageError
from asi_verify.lowering.files import read_file

if TYPE_CHECKING:
    from asi_verify.prove import Stage

__all__ = ["BatchRow", "solve_vnnlib_batch"]


@dataclass(frozen=True, eq=False)
class BatchRow:
    """One instance of a batch, answered.

    Attributes:
        onnx: the model's file as the list names it.
        vnnlib: the property's file as the list names it.
        result: the answer; files that cannot be used give an ``unknown`` with the reason.
    """

    onnx: str
    vnnlib: str
    result: VnnlibResult


def solve_vnnlib_batch(
    instances: str | Path,
    *,
    timeout: float | None = None,
    semantics: Semantics | str = Semantics.FLOAT32,
    stages: Sequence[Stage] | None = None,
    cores: int = 1,
) -> Iterator[BatchRow]:
    """Answer the instances of a list one after the other; a model is loaded once.

    The list is read at once, before the first row is asked for.

    Args:
        instances: a CSV file of rows ``onnx,vnnlib,timeout`` without a header; paths are relative
            to it, and a file that is missing may be there with ``.gz`` behind its name.
        timeout: seconds for each, where a row has more or none.
        semantics: as for ``solve_vnnlib``.
        stages: as for ``solve_vnnlib``.
        cores: as for ``solve_vnnlib``.

    Returns:
        The rows in order, each when it is answered.

    Raises:
        UsageError: an argument cannot be used, the list cannot be read, or a row of it has another
            form.
        SoundnessAlarm: as for ``solve_vnnlib``.
    """
    # Here, and not for each row: what is wrong for all of them is no row's answer.
    require_cores(cores)
    require_timeout(timeout)
    arithmetic = Semantics.of(semantics)
    listed = _listed(Path(instances), timeout)
    return _answered(Path(instances).parent, listed, arithmetic, stages, cores)


def _answered(
    place: Path,
    listed: Sequence[tuple[str, str, float | None]],
    semantics: Semantics,
    stages: Sequence[Stage] | None,
    cores: int,
) -> Iterator[BatchRow]:
    for onnx, vnnlib, limit in listed:
        started = time.monotonic()
        try:
            result = solve_vnnlib(
                _present(place / onnx),
                _present(place / vnnlib),
                timeout=limit,
                semantics=semantics,
                stages=stages,
                cores=cores,
            )
        except UsageError as error:
            result = VnnlibResult(Answer.UNKNOWN, str(error), time.monotonic() - started)
        yield BatchRow(onnx, vnnlib, result)


def _listed(instances: Path, timeout: float | None) -> list[tuple[str, str, float | None]]:
    """The rows of a list, read before anything is answered."""
    text = read_file(instances, LARGEST_VNNLIB, UsageError)
    try:
        lines = list(csv.reader(text.decode("utf-8-sig").splitlines(), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{instances}: not a CSV file ({error})") from None
    rows = []
    for number, line in enumerate(lines, start=1):
        place = f"{instances}, line {number}"
        match [part.strip() for part in line]:
            case [] | [""]:
                continue
            case [onnx, vnnlib, *rest] if len(rest) <= 1:
                given = [_seconds(text, place) for text in rest]
                limits = given if timeout is None else [timeout, *given]
                rows.append((onnx, vnnlib, min(limits, default=None)))
            case _:
                raise UsageError(f"{place}: {len(line)} fields; onnx,vnnlib,timeout expected")
    return rows


def _seconds(text: str, place: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not found > 0:
        raise UsageError(f"{place}: the timeout {text!r} is not a number of seconds above 0")
    return found


def _present(path: Path) -> Path:
    """The file, or the packed one in its place."""
    packed = Path(f"{path}.gz")
    with suppress(OSError):  # who reads it says why that cannot be done
        if not path.exists() and packed.exists():
            return packed
    return path
