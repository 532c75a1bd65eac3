"""``build_guard``: from a finished run to a guard's file, calibrated and measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from asi_verify._check import check
from asi_verify._configuration import dataset_of
from asi_verify._provenance import machine, versions
from asi_verify._regions import linf_for
from asi_verify._result import CERTIFICATES, Result
from asi_verify.core.claims import ARTIFACT_FILE
from asi_verify.core.images import encode
from asi_verify.core.linf import LInf
from asi_verify.core.radius import Radius, RadiusLike
from asi_verify.core.semantics import Semantics
from asi_verify.data import Dataset, DatasetLike, Task
from asi_verify.errors import RunFolderError, UsageError
from asi_verify.lowering.files import FileLike
from asi_verify.store import RunFolder

if TYPE_CHECKING:
    from asi_verify.export import Artifact
    from asi_verify.guard import Cascade, Drift, Guard, Members

__all__ = ["GUARD_DRIFT", "GUARD_FIGURES", "GUARD_FILE", "GUARD_MEMBERS", "build_guard"]

GUARD_FILE = "guard/guard.onnx"
GUARD_FIGURES = "guard/guard.json"
GUARD_MEMBERS = "guard/members.npz"
GUARD_DRIFT = "guard/drift.json"


def build_guard(
    result: Result | str | Path,
    dataset: DatasetLike | None = None,
    *,
    radius: RadiusLike | None = None,
    coverage: float | None = None,
    bounds: str | None = None,
    monitors: bool = True,
    refused: float = 0.01,
    error: float = 0.1,
    membership: bool = False,
    second: FileLike | Guard | None = None,
    false_alarms: float = 0.01,
    groups: Mapping[str, Sequence[str]] | None = None,
    data_root: str | Path | None = None,
) -> Guard:
    """Make the guard of a run's model, and measure it: one ONNX file that can say "I don't know".

    Calibrated on ``val`` alone; ``test`` is only measured. The run's folder gets
    ``guard/guard.onnx`` and ``guard/guard.json``, and with monitors ``guard/drift.json``, in place
    of those that were there. A report that lies there is written anew, with them.

    Args:
        result: of a finished run, or its folder.
        dataset: the data set of the run; by default the one that its folder names.
        radius: of the L-infinity region around each image that is asked about; by default that of
            the run's certificates.
        coverage: instead of a radius, the part of ``val`` to be answered, between 0 and 1. The
            largest of the quarters of the run's radius, up to twice that, at which so many are
            certified is taken, else the smallest.
        bounds: by what the guard bounds margins: ``"intervals"``; or ``"crown-ibp"``, which answers
            whatever intervals do and often more, and takes longer. By default what the run's model
            was trained on, intervals if the run does not say.
        monitors: whether images unlike the training images are refused, by acquisition statistics
            and by activations.
        refused: the part of ``val`` that each of these may refuse.
        error: of the conformal sets, which are only measured.
        membership: whether an image in the accepted region of a training image is answered too.
            Then ``guard/members.npz`` is written, which holds the training images. Certificates are
            checked anew for it; they have to be of float32 semantics.
        second: a model to be asked about what the guard refuses, as for ``Cascade``. It is only
            measured here, beside the guard; ``Cascade(guard, second)`` asks both.
        false_alarms: of the drift monitor: the probability that a stream of images like those of
            ``val`` ever raises its alarm.
        groups: for ``val`` or ``test`` the name of each sample's group, to be counted apart.
        data_root: where MedMNIST files are looked for first.

    Raises:
        UsageError: the run, the data or the radius cannot be used; see its subclasses.
    """
    from asi_verify.export import Artifact
    from asi_verify.guard import Cascade, Drift, Guard, record_monitors, write_guard
    from asi_verify.report import rewrite_report

    made = result if isinstance(result, Result) else Result(RunFolder.open(result))
    folder = made.folder
    data = dataset_of(made, dataset, data_root)
    _refuse_unusable(data, refused, error, radius, coverage, groups or {})
    train, val = data.split("train").images, data.split("val").images
    drift = Drift.calibrated(train, val, false_alarms=false_alarms) if monitors else None
    artifact = Artifact.from_bytes(folder.files.require(CERTIFICATES + ARTIFACT_FILE))
    way = bounds if bounds is not None else _trained_on(made)
    chosen = _radius(made, radius, coverage, way, artifact, data)
    recorded = record_monitors(artifact.data, train, val, refused) if monitors else None
    file = write_guard(artifact.data, chosen, recorded, way)
    members = _members(made, artifact, data) if membership else None
    guard = Guard(file, members)
    cascade = None if second is None else Cascade(guard, second)
    settings = {
        "bounds": guard.bounds,
        "coverage": coverage,
        "membership": membership,
        "monitors": monitors,
        "refused": refused,
    }
    stored = None if drift is None else drift.to_bytes()  # before it is fed with anything
    measured = {
        **_measured(guard, cascade, artifact, data, settings, error, groups or {}),
        "claims": made.claims_digest,
        "drift": None if drift is None else _drifted(drift, data),
    }
    with folder.locked():
        folder.files.write(GUARD_FILE, file)
        for name in (GUARD_MEMBERS, GUARD_DRIFT):
            folder.files.remove(name)
        if stored is not None:
            folder.files.write(GUARD_DRIFT, stored)
        if members is not None:
            folder.files.write(GUARD_MEMBERS, members.to_bytes())
        folder.write_json(GUARD_FIGURES, measured)
    rewrite_report(folder, data)
    return guard


def _refuse_unusable(
    data: Dataset,
    refused: float,
    error: float,
    radius: RadiusLike | None,
    coverage: float | None,
    groups: Mapping[str, Sequence[str]],
) -> None:
    if data.task is Task.MULTI_LABEL:
        raise UsageError(f"{data.name}: a guard of a model of several labels is not supported")
    for name in ("train", "val", *groups):
        data.split(name)
    for what, value in (("refused", refused), ("coverage", coverage)):
        if value is not None and not 0 <= value < 1:
            raise UsageError(f"{what}: {value}; at least 0 and below 1 is expected")
    if not 0 < error < 1:
        raise UsageError(f"error: {error}; between 0 and 1 is expected")
    if radius is not None and coverage is not None:
        raise UsageError("radius and coverage: give one of the two; the other one follows from it")


def _trained_on(made: Result) -> str:
    """The bounds that the corrector trained with; intervals for a run that does not name any."""
    from asi_verify.guard import BOUNDS

    told = (made.folder.configuration.get("corrector") or {}).get("bounds")
    return next((bounds for bounds in BOUNDS if bounds == told), "intervals")


def _radius(
    made: Result,
    given: RadiusLike | None,
    coverage: float | None,
    bounds: str,
    artifact: Artifact,
    data: Dataset,
) -> Radius:
    """The radius that is meant, or the largest one tried that answers enough of ``val``."""
    from asi_verify.guard import radius_for

    if given is not None:
        return linf_for(given).radius
    family = made.claims.family
    if not isinstance(family, LInf):
        raise UsageError(f"radius: the run is about {family}; give an L-infinity radius")
    if coverage is None:
        return family.radius
    return radius_for(artifact.data, family.radius, data.split("val").images, coverage, bounds)


def _members(made: Result, artifact: Artifact, data: Dataset) -> Members:
    """The images whose certificates the checker accepts, with the labels that are proved."""
    from asi_verify.checker import Outcome
    from asi_verify.core.properties import predictions
    from asi_verify.guard import Members

    family, split = made.claims.family, made.claims.dataset.split
    if made.folder.path is None or not isinstance(family, LInf):
        raise UsageError("membership: only for a run about L-infinity regions, in a folder")
    if made.claims.semantics is not Semantics.FLOAT32:
        # What a runtime computes may round to another label, and is answered all the same.
        raise UsageError(
            f"membership: the run's certificates are about {made.claims.semantics.value} "
            "arithmetic; certify with float32 semantics"
        )
    checked = check(made.folder.path, data)
    if checked.refused:
        raise RunFolderError(f"membership: the certificates are refused: {checked.refused[0]}")
    rows = np.array(checked.rows(Outcome.ACCEPTED), dtype=np.int64)
    if not len(rows):
        raise UsageError("membership: no certificate is accepted")
    some = data.split(split).take(rows)
    # A certificate proves what the model answers for the image itself.
    labels = predictions(some.labels, artifact.session.run(encode(some.images)))
    return Members(artifact.digest, family, some.images, labels, rows)


def _drifted(drift: Drift, data: Dataset) -> dict[str, Any]:
    """What the drift monitor says of ``test`` as a stream, in an order drawn by chance."""
    found: dict[str, Any] = {
        "calibrated_on": drift.calibrated_on,
        "false_alarms": drift.false_alarms,
        "test": None,
        "threshold": drift.threshold,
    }
    if "test" in data.splits:
        images = data.split("test").images
        drift.feed(images[np.random.default_rng(0).permutation(len(images))])
        found["test"] = {"alarm": drift.alarm, "evidence": drift.evidence, "seen": drift.seen}
    return found


def _measured(
    guard: Guard,
    cascade: Cascade | None,
    artifact: Artifact,
    data: Dataset,
    settings: dict[str, Any],
    error: float,
    groups: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """What stands in ``guard.json``: what is counted, and apart from it what is estimated."""
    from asi_verify.guard import (
        FORMAT,
        Conformal,
        estimates,
        figures,
        probabilities,
        second_counts,
        second_estimates,
    )

    val = data.split("val")
    logits = artifact.session.run(encode(val.images))
    conformal = Conformal.calibrated(probabilities(logits), val.labels, error)
    counted, estimated = {}, {}
    for name in ("val", "test"):
        if name not in data.splits:
            continue
        samples = data.split(name)
        both = None
        if cascade is None:
            answers = guard(samples.images)
        else:
            asked = cascade(samples.images)
            answers, both = [one.first for one in asked], second_counts(asked, samples.labels)
        counted[name] = figures(answers, samples.labels, data.classes, groups.get(name))
        counted[name]["second"] = both
        if name == "val":
            continue  # what was calibrated on a split says nothing of other images like its own
        answered = np.array([answer.answered for answer in answers], dtype=np.bool_)
        logits = artifact.session.run(encode(samples.images))
        estimated[name] = estimates(answered, samples.labels, logits, conformal)
        estimated[name]["second"] = None if both is None else second_estimates(both)
    second = None
    if cascade is not None:
        second = {"file": cascade.digest, "is_guard": cascade.second is not None}
    return {
        "artifact": guard.artifact,
        "counted": counted,
        "estimated": estimated,
        "file": guard.digest,
        "machine": machine(),
        "radius": str(guard.radius.value),
        "schema": FORMAT,
        "second": second,
        "settings": settings,
        "versions": versions(),
    }
