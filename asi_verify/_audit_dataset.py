"""``audit_dataset``: the readiness certificate of a data set, before any model is trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from asi_verify._provenance import version_of
from asi_verify._regions import family_for, require_radius
from asi_verify.core.family import RegionFamily
from asi_verify.core.progress import NO_PROGRESS, Progress
from asi_verify.core.radius import RadiusLike
from asi_verify.data import Dataset, DatasetLike, load_dataset
from asi_verify.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asi_verify.audit import Audit, Readiness, Suspicions
    from asi_verify.repair import OrdinaryTraining

__all__ = ["audit_dataset"]


def audit_dataset(
    dataset: DatasetLike,
    radius: RadiusLike | RegionFamily = "1/255",
    *,
    suspects: bool = False,
    seed: int = 0,
    folds: int = 5,
    training: OrdinaryTraining | None = None,
    out: str | Path | None = None,
    data_root: str | Path | None = None,
    progress: Progress = NO_PROGRESS,
) -> Readiness:
    """What can be promised about a data set at all, whatever the model: its readiness certificate.

    Duplicates within and across splits; contradictions in each split at the radius; the radius
    below which nothing contradicts; the nearest sample of another label of every sample; counts per
    class; digests of all images and labels; and what could not be decided.

    Args:
        dataset: as for ``certify``.
        radius: as for ``certify``.
        suspects: also look for labels that seem wrong, with cleanlab, from small networks that are
            trained without the images they judge. Evidence only: no label, loss, status or count
            changes. Samples in a contradiction are not suspected.
        seed: of the folds and the training.
        folds: how many networks are trained.
        training: how; ``asi_verify.repair.OrdinaryTraining()`` if not given.
        out: a file to write the certificate to; an existing one is replaced.
        data_root: as for ``certify``.
        progress: told how far things are.

    Raises:
        UsageError: the data or the radius cannot be used; see its subclasses.
        EngineUnavailableError: suspects are asked for, and cleanlab is not installed.

    What is not promised: that a suspected label is wrong, or that one which is not suspected is
    right; anything about samples of different splits but whether they are equal.
    """
    from asi_verify.audit import audit_splits, cleanlab_version, readiness

    place = None if out is None else Path(out)
    if place is not None and (place.is_dir() or not place.absolute().parent.is_dir()):
        raise UsageError(f"out: {place} cannot be written; give a file in a folder that is there")
    require_radius(radius)
    data = load_dataset(dataset, data_root=data_root)
    family = family_for(radius, data)
    if suspects:
        cleanlab_version()  # refused before minutes are spent
        data.split("train")
    audits = audit_splits(data, family, progress)
    found = _suspicions(data, audits, seed, folds, training, progress) if suspects else None
    made = readiness(data, family, found, audits)
    if place is not None:
        made.save(place)
    return made


def _suspicions(
    data: Dataset,
    audits: Mapping[str, Audit],
    seed: int,
    folds: int,
    training: OrdinaryTraining | None,
    progress: Progress,
) -> Suspicions:
    from asi_verify.audit import Suspicions, cleanlab_version, suspected_labels
    from asi_verify.repair import ARCHITECTURE, OrdinaryTraining, out_of_fold

    chosen = training if training is not None else OrdinaryTraining()
    probabilities = out_of_fold(data, seed, folds, chosen, progress)
    method = {
        "architecture": ARCHITECTURE,
        "folds": folds,
        "seed": seed,
        "training": chosen.settings(),
        "versions": {
            "cleanlab": cleanlab_version(),
            "numpy": version_of("numpy") or "none",
            "torch": version_of("torch") or "none",
        },
    }
    return Suspicions(
        method,
        {
            name: suspected_labels(samples.labels, probabilities[name], audits[name].contradicted)
            for name, samples in data.splits.items()
        },
    )
