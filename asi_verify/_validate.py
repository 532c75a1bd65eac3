"""``validate``: a finished run's claims, tried by a battery of stress tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from asi_verify._check import of_another_run
from asi_verify._configuration import dataset_of
from asi_verify._never_miss import NEVER_MISS, foreign_claims
from asi_verify._result import CERTIFICATES, Result, load
from asi_verify.core.claims import CLAIMS_FILE, Claims
from asi_verify.core.progress import NO_PROGRESS, Progress
from asi_verify.data import DatasetLike

if TYPE_CHECKING:
    from asi_verify.stress import Battery, Validation

__all__ = ["VALIDATION_FILE", "validate"]

VALIDATION_FILE = "validation.json"


def validate(
    result: Result | str | Path,
    dataset: DatasetLike | None = None,
    *,
    battery: Battery | None = None,
    data_root: str | Path | None = None,
    progress: Progress = NO_PROGRESS,
) -> Validation:
    """Try to break what a run claims: edge cases, corruptions, attacks, other ways of running it.

    Inside the claimed regions nothing may break: what does is an alarm, and so is a certificate
    that the checker rejects. Outside of them accuracies are counted, and nothing is claimed.

    Args:
        result: a result, or its run folder.
        dataset: the data set; by default the one that the run folder names. Needed for data that
            was given as arrays.
        battery: ``asi_verify.stress.Battery()`` if not given. Its attacks are made by the
            Adversarial Robustness Toolbox (``pip install 'asi-verify[stress]'``), on models with
            one label and L-infinity regions.
        data_root: where MedMNIST files are looked for first.
        progress: told how far things are.

    Returns:
        What was found, which ``validation.json`` in the run folder holds too. A report that lies
        there is written anew, with it.

    Raises:
        UsageError: the folder or the data cannot be used, or attacks are wanted that cannot be had.

    What is not promised: that what was not broken cannot be. Certificates are what is proved.
    """
    from asi_verify.report import rewrite_report
    from asi_verify.stress import Alarm, Battery

    found = result if isinstance(result, Result) else load(result)
    read = found.folder.files.require
    claims = found.claims
    data = dataset_of(found, dataset, data_root)
    samples = data.split(claims.dataset.split)
    others = {name: data.split(name) for name in ("val", "test") if name in data.splits}
    chosen = battery if battery is not None else Battery()
    has_larger = _has_never_miss(found)
    validation = chosen.run(
        lambda name: read(CERTIFICATES + name),
        samples,
        others,
        progress,
        (lambda name: read(NEVER_MISS + name)) if has_larger else None,
    )
    # What was tried may hold, and yet not be what the run claims.
    settings = found.folder.configuration
    wrong = [("check", reason) for reason in of_another_run(claims, settings, found.summary)]
    if has_larger:
        larger = Claims.from_bytes(read(NEVER_MISS + CLAIMS_FILE), NEVER_MISS + CLAIMS_FILE)
        reasons = foreign_claims(larger, claims, settings.get("never_miss"))
        wrong += [("never miss: check", reason) for reason in reasons]
    alarms = [Alarm(trial, None, f"the folder is refused: {reason}") for trial, reason in wrong]
    validation = replace(validation, alarms=(*validation.alarms, *alarms))
    found.folder.write_json(VALIDATION_FILE, validation.to_json())
    rewrite_report(found.folder, data)
    return validation


def _has_never_miss(result: Result) -> bool:
    """Whether there should be, or is, a second set of certificates."""
    is_there = result.folder.files.read(NEVER_MISS + CLAIMS_FILE) is not None
    return is_there or result.never_miss is not None
