"""Check a folder of certificates, or the proof of a VNN-LIB query.

``python -m asi_verify.checker FOLDER --data FILE.npz``; the proof of a query needs no data. Prints
one line of JSON. Exit code 0: every claim holds and no sample is open; 1: something does not hold,
or is open; 2: wrong use.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.checker.folder import CheckResult, Outcome, check_folder, read_claims
from asi_verify.checker.vnnlib import VnnlibCheck, check_vnnlib, is_vnnlib_folder
from asi_verify.core.images import channels_first
from asi_verify.core.limits import LONGEST_REASON
from asi_verify.errors import AsiVerifyError, DataError

__all__ = ["load_split", "main", "printable", "summary", "vnnlib_summary"]


def load_split(path: str, split: str) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Images and labels of one split of an NPZ file in MedMNIST's layout.

    Raises:
        DataError: the file cannot be read, has no such split, or unfolds into far more than it is.
    """
    if not Path(path).is_file():  # a pipe would be waited for
        raise DataError(f"{path}: there is no such file")
    try:
        with zipfile.ZipFile(path) as archive:
            images, labels = (
                _member(archive, f"{split}_{what}.npy", Path(path).stat().st_size)
                for what in ("images", "labels")
            )
    except _UNREADABLE as error:
        raise DataError(f"{path}: no split {split!r} in MedMNIST's layout: {error}") from None
    flat = labels.reshape(-1) if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if flat.ndim not in (1, 2) or flat.dtype.kind not in "biuf":
        raise DataError(f"{path}: labels of shape {labels.shape} and dtype {labels.dtype}")
    with np.errstate(invalid="ignore"):
        whole = flat.astype(np.int64)
    if not np.array_equal(whole, flat):
        raise DataError(f"{path}: some labels are not whole numbers")
    return channels_first(images), whole


_UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    EOFError,
    MemoryError,
    RecursionError,
    RuntimeError,  # an encrypted file
    NotImplementedError,  # a compression that zipfile does not know
    SyntaxError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What zipfile and numpy raise for files that are none, as far as it is known."""

_UNFOLDED = 1 << 30
_UNFOLDED_RATIO = 64
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def _member(archive: zipfile.ZipFile, name: str, size: int) -> npt.NDArray[Any]:
    """One array of an archive of ``size`` bytes.

    Images of nothing compress by a thousand, photographs by two or three. Up to a gigabyte any
    ratio is believed, and beyond it one of 64. An array that declares more than it has would be
    allocated before that is noticed.
    """
    part, largest = archive.getinfo(name), max(_UNFOLDED, _UNFOLDED_RATIO * size)
    if part.file_size > largest:
        raise ValueError(f"{name} unfolds into {part.file_size} bytes; {largest} are allowed")
    with archive.open(part) as file:
        read = _HEADERS[np.lib.format.read_magic(file)]
        shape, _, dtype = read(file)
        if math.prod(shape) * dtype.itemsize > part.file_size:
            raise ValueError(f"{name} declares the shape {shape} and holds less")
    with archive.open(part) as file:
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def printable(text: str) -> str:
    """One line without control characters and not too long, whatever names it quotes."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[:LONGEST_REASON])


def summary(result: CheckResult) -> dict[str, Any]:
    """A result as one JSON object, with what was claimed: a status means nothing without it."""
    claims = result.claims
    return {
        "about": None if claims is None else claims.dataset.target,
        "accepted": len(result.rows(Outcome.ACCEPTED)),
        "asked": len(result.asked),
        "classes": (
            None if claims is None or claims.never_miss is None else claims.never_miss.to_json()
        ),
        "contradictions": sorted(result.contradictions),
        "delegated": len(result.rows(Outcome.DELEGATED)),
        "memorised": sorted(result.memorised),
        "missing": len(result.missing),
        "model": None if claims is None else claims.artifact,
        "never_miss": None if result.never_miss is None else summary(result.never_miss),
        "refused": list(result.refused),
        "rejected": {str(row): result.reasons[row] for row in result.rows(Outcome.REJECTED)},
        "region": None if claims is None else claims.family.to_json(),
        "semantics": None if claims is None else claims.semantics.value,
        "status": None if result.status is None else str(result.status),
    }


def vnnlib_summary(checked: VnnlibCheck) -> dict[str, Any]:
    """What was found of a VNN-LIB proof as one JSON object, with what was claimed."""
    return {
        "cases": len(checked.proof.cases),
        "model": checked.proof.artifact,
        "outcome": checked.outcome.value,
        "property": checked.proof.property_,
        "reason": checked.reason,
        "semantics": checked.proof.semantics.value,
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m asi_verify.checker", description=__doc__)
    parser.add_argument("folder", help="holds claims.json, or proof.json for a VNN-LIB query")
    parser.add_argument("--data", help="the data set of certificates, NPZ in MedMNIST's layout")
    options = parser.parse_args(arguments)
    try:
        if is_vnnlib_folder(options.folder):
            checked = check_vnnlib(options.folder)
            print(json.dumps(vnnlib_summary(checked), sort_keys=True))
            return 0 if checked.holds else 1
        if options.data is None:
            raise DataError("--data: certificates are about a data set; name its NPZ file")
        split = read_claims(options.folder).dataset.split
        result = check_folder(options.folder, *load_split(options.data, split))
    except AsiVerifyError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 2
    print(json.dumps(summary(result), sort_keys=True))
    return 0 if result.holds else 1
