"""``check``: a run's certificates, checked from the files and the data set alone."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from asi_verify._configuration import noted_dataset
from asi_verify._never_miss import checked_never_miss
from asi_verify._result import CERTIFICATES, RESULT_FILE
from asi_verify.checker import CheckResult, check_folder, read_claims
from asi_verify.checker.folder import Margins, reader_of
from asi_verify.core.claims import CLAIMS_FILE, Claims
from asi_verify.core.cores import require_cores
from asi_verify.core.limits import LONGEST_REASON
from asi_verify.data import DatasetLike, load_dataset
from asi_verify.errors import CertificateError
from asi_verify.store import RUN_FILE

__all__ = ["check", "of_another_run"]


def check(
    folder: str | Path,
    dataset: DatasetLike | None = None,
    *,
    cores: int = 1,
    data_root: str | Path | None = None,
) -> CheckResult:
    """Check a run's certificates from the files and the data set alone.

    Args:
        folder: a run folder, or a folder of certificates.
        dataset: the data set; by default the one that the run folder names, found again by name
            or path. Needed for data that was given as arrays.
        cores: processes that check, each on a core of its own.
        data_root: where MedMNIST files are looked for first.

    Returns:
        Outcomes for all samples; ``never_miss`` of it is the same for a run that was asked never to
        miss some classes, and what holds has to hold of both. Certificates in a run folder that are
        about something else than the run was asked for, or than the model it ended with, are
        refused, and nothing else of them is looked at.

    Raises:
        CertificateError: there are no certificates to be read, as where the run is not finished, or
            a file that says what they are about was damaged.
        DataError: the data set cannot be found or used.
    """
    require_cores(cores)
    place = Path(folder)
    if not place.is_dir():
        what = "not a folder" if place.exists() else "there is no such folder"
        raise CertificateError(f"{place}: {what}; give a run's, or one of certificates")
    of_run = (place / CERTIFICATES).is_dir()
    if not of_run and (place / RUN_FILE).is_file():
        raise CertificateError(
            f"{place}: the run is not finished and has no certificates; start it again"
        )
    if of_run:
        place = place / CERTIFICATES
    elif not (place / CLAIMS_FILE).exists():
        raise CertificateError(
            f"{place}: neither a run nor certificates lie here (there is no {CLAIMS_FILE}); give "
            "the folder that a run wrote, or the certificates in it"
        )
    settings = _noted(Path(folder) / RUN_FILE) if of_run else {}
    claims = read_claims(place)
    ended = _noted(Path(folder) / RESULT_FILE) if of_run else {}
    if foreign := of_another_run(claims, settings, ended):
        return CheckResult(claims, {}, {}, {}, frozenset(), foreign, frozenset())
    given = dataset is not None
    data = load_dataset(dataset, data_root=data_root) if given else noted_dataset(folder, data_root)
    samples = data.split(claims.dataset.split)
    margins = _margins_on(cores)
    result = check_folder(place, samples.images, samples.labels, margins)
    if not of_run:
        return result
    named = checked_never_miss(Path(folder), settings, claims, samples, margins)
    return replace(result, never_miss=named)


def of_another_run(
    claims: Claims, settings: dict[str, Any], result: dict[str, Any]
) -> tuple[str, ...]:
    """How certificates differ from what a run was asked for, and from what it ended with.

    What the run does not say is not compared. A correction begins with the model that is noted
    among the settings and ends with another, which the result names.

    Args:
        claims: those in the run's folder.
        settings: what the run was asked for, as its folder notes it.
        result: what it ended with, likewise.
    """
    claimed = claims.dataset
    if settings.get("kind") == "certify":
        model, target = settings.get("model"), settings.get("target")
    else:
        model, target = _at(result, "after", "model"), "label"
    asked = {
        "model": (claims.artifact, model),
        "target": (claimed.target, target),
        "regions": (claims.family.to_json(), settings.get("family")),
        "semantics": (claims.semantics.value, settings.get("semantics")),
        "split": (claimed.split, settings.get("split")),
        "data set": (claimed.name, _at(settings, "dataset", "name")),
    } | {
        what: (digest, _at(settings, "dataset", "digests", claimed.split, what))
        for what, digest in (("images", claimed.images), ("labels", claimed.labels))
    }
    return tuple(
        f"{CERTIFICATES}{CLAIMS_FILE}: {what}: {_shown(told)}, but {_shown(wanted)} in the run of "
        "this folder; these are another run's certificates: put its own back"
        for what, (told, wanted) in asked.items()
        if wanted is not None and wanted != told
    )


def _shown(value: Any) -> str:
    """A value, cut: files can hold names of any length."""
    return repr(value)[:LONGEST_REASON]


def _margins_on(cores: int) -> Margins | None:
    """What computes margins; loaded only where other processes are to do it."""
    if cores == 1:
        return None
    from asi_verify.prove.processes import margins_on

    return margins_on(cores)


def _at(value: Any, *keys: str) -> Any:
    """What stands below some keys, one below the other; None if nothing does."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _noted(path: Path) -> dict[str, Any]:
    """What a file of a run folder says; nothing if there is no such file."""
    if not os.path.lexists(path):
        return {}
    data = reader_of(path.parent)(path.name)
    try:
        noted = json.loads(data)
    except (ValueError, RecursionError):
        noted = None
    if not isinstance(noted, dict):
        raise CertificateError(
            f"{path}: the file was damaged and cannot be read as that of a run: take it from a "
            "copy of the folder"
        )
    return noted
