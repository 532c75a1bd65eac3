"""Check a certificate folder: ``python -m asi_verify.checker FOLDER --data FILE.npz``.

Prints one line of JSON. Exit code 0: every claim holds and no sample is open; 1: something does
not hold, or is open; 2: wrong use.
"""

from __future__ import annotations

import argparse
import json
import sys
import zipfile
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.checker.folder import CheckResult, Outcome, check_folder, read_claims
from asi_verify.core.images import channels_first
from asi_verify.errors import AsiVerifyError, DataError

__all__ = ["load_split", "main", "summary"]


def load_split(path: str, split: str) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Images and labels of one split of an NPZ file in MedMNIST's layout.

    Raises:
        DataError: the file cannot be read or has no such split.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            images, labels = file[f"{split}_images"], file[f"{split}_labels"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: no split {split!r} in MedMNIST's layout: {error}") from None
    labels = labels.astype(np.int64)
    flat = labels.reshape(-1) if labels.ndim == 2 and labels.shape[1] == 1 else labels
    return channels_first(images), flat


def summary(result: CheckResult) -> dict[str, Any]:
    """A result as one JSON object, with what was claimed: a status means nothing without it."""
    claims = result.claims
    return {
        "about": None if claims is None else claims.dataset.target,
        "accepted": len(result.rows(Outcome.ACCEPTED)),
        "contradictions": sorted(result.contradictions),
        "delegated": len(result.rows(Outcome.DELEGATED)),
        "missing": len(result.missing),
        "model": None if claims is None else claims.artifact,
        "refused": list(result.refused),
        "rejected": {str(row): result.reasons[row] for row in result.rows(Outcome.REJECTED)},
        "region": None if claims is None else claims.family.to_json(),
        "semantics": None if claims is None else claims.semantics.value,
        "status": None if result.status is None else str(result.status),
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m asi_verify.checker", description=__doc__)
    parser.add_argument("folder", help="holds claims.json, artifact.onnx and the shards")
    parser.add_argument("--data", required=True, help="the data set, NPZ in MedMNIST's layout")
    options = parser.parse_args(arguments)
    try:
        split = read_claims(options.folder).dataset.split
        result = check_folder(options.folder, *load_split(options.data, split))
    except AsiVerifyError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(summary(result), sort_keys=True))
    return 0 if result.holds else 1
