"""``check``: a run's certificates, checked from the files and the data set alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from asi_verify._configuration import noted_dataset
from asi_verify._never_miss import checked_never_miss
from asi_verify._result import CERTIFICATES
from asi_verify.checker import CheckResult, check_files, read_claims
from asi_verify.checker.folder import Margins, reader_of
from asi_verify.core.cores import require_cores
from asi_verify.data import DatasetLike, load_dataset
from asi_verify.errors import CertificateError
from asi_verify.store import RUN_FILE

__all__ = ["check"]


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
        miss some classes, and what holds has to hold of both.

    Raises:
        CertificateError: there are no certificates to be read, as where the run is not finished.
        DataError: the data set cannot be found or used.
    """
    require_cores(cores)
    place = Path(folder)
    if not place.is_dir():
        raise CertificateError(
            f"{place}: there is no such folder; give a run's, or one of certificates"
        )
    of_run = (place / CERTIFICATES).is_dir()
    if not of_run and (place / RUN_FILE).is_file():
        raise CertificateError(
            f"{place}: the run is not finished and has no certificates; start it again"
        )
    if of_run:
        place = place / CERTIFICATES
    claims = read_claims(place)
    given = dataset is not None
    data = load_dataset(dataset, data_root=data_root) if given else noted_dataset(folder, data_root)
    samples = data.split(claims.dataset.split)
    margins = _margins_on(cores)
    result = check_files(reader_of(place), samples.images, samples.labels, margins)
    if not of_run:
        return result
    named = checked_never_miss(
        Path(folder), _noted_settings(Path(folder)), claims, samples, margins
    )
    return replace(result, never_miss=named)


def _margins_on(cores: int) -> Margins | None:
    """What computes margins; loaded only where other processes are to do it."""
    if cores == 1:
        return None
    from asi_verify.prove.processes import margins_on

    return margins_on(cores)


def _noted_settings(folder: Path) -> dict[str, Any]:
    """What a run folder says that it was asked for; nothing if it does not say."""
    try:
        noted = json.loads((folder / RUN_FILE).read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        noted = None
    if not isinstance(noted, dict):
        raise CertificateError(f"{folder / RUN_FILE}: it cannot be read as the settings of a run")
    return noted
