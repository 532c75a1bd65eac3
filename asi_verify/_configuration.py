"""What a run folder notes of what was asked for, and the data set that is found again by it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asi_verify._result import Result
from asi_verify.core.canonical import array_digest
from asi_verify.core.family import RegionFamily
from asi_verify.core.semantics import Semantics
from asi_verify.data import Dataset, DatasetLike, load_dataset, medmnist_sets
from asi_verify.errors import CertificateError, DataError, UsageError
from asi_verify.store import RUN_FILE, RunFolder

if TYPE_CHECKING:
    from asi_verify.prove import Stage

__all__ = [
    "dataset_configuration",
    "dataset_of",
    "memorise_settings",
    "noted_dataset",
    "run_configuration",
    "stage_settings",
]


def run_configuration(
    kind: str, data: Dataset, family: RegionFamily, semantics: Semantics, split: str = "train"
) -> dict[str, Any]:
    """What a run folder notes of what was asked; a run with another is refused in it."""
    return {
        "dataset": dataset_configuration(data),
        "family": family.to_json(),
        "kind": kind,
        "semantics": semantics.value,
        "split": split,
    }


def dataset_configuration(data: Dataset) -> dict[str, Any]:
    """What a run folder notes of its data set; a path where it can be read again from.

    With the digests of all images and labels: a folder never goes on with other data.
    """
    return {
        "classes": list(data.classes),
        "digests": {
            name: {"images": array_digest(s.images), "labels": array_digest(s.labels)}
            for name, s in data.splits.items()
        },
        "license": data.license,
        "name": data.name,
        "notes": list(data.notes),
        "samples": {name: len(samples) for name, samples in data.splits.items()},
        "source": None if data.source is None else str(data.source),
        "task": data.task.value,
    }


def stage_settings(stages: Sequence[Stage] | None) -> list[dict[str, Any]] | None:
    """What a run folder notes of the stages that were asked for; None if none were."""
    return None if stages is None else [stage.settings() for stage in stages]


def memorise_settings(memorise: int) -> dict[str, int]:
    """What a run folder notes of it; nothing without it, so that older folders go on."""
    return {"memorise": memorise} if memorise else {}


def dataset_of(
    result: Result, given: DatasetLike | None, data_root: str | Path | None = None
) -> Dataset:
    """The data set that a result is about: the one that is given, or that its folder names.

    Raises:
        DataError: it cannot be found or used, or its images are others.
        UsageError: the result is in memory and none is given.
    """
    if given is not None:
        data = load_dataset(given, data_root=data_root)
    elif result.folder.path is not None:
        data = noted_dataset(result.folder.path, data_root)
    else:
        raise UsageError("dataset: a result in memory does not say where it is; pass it along")
    claimed = result.claims.dataset
    if array_digest(data.split(claimed.split).images) != claimed.images:
        raise DataError(
            f"dataset: the images of {data.name}, {claimed.split}, are not those that the run is "
            f"about ({claimed.name}); give the data set of the run"
        )
    return data


def noted_dataset(folder: str | Path, data_root: str | Path | None = None) -> Dataset:
    """The data set that a run folder names, from where it was read or by its name."""
    is_run = (Path(folder) / RUN_FILE).is_file()
    try:
        noted = RunFolder.open(folder).configuration["dataset"] if is_run else {}
        name = str(noted["name"])
        source = None if noted["source"] is None else Path(noted["source"])
    except (KeyError, TypeError):
        raise CertificateError(
            f"{folder} does not say which data set it is about; pass it along (dataset, on the "
            "command line --dataset)"
        ) from None
    if source is None and not name.startswith("phantom-"):
        raise DataError(f"{name} was given as arrays; pass the data set along")
    published = name.partition("_")[0] in medmnist_sets()
    if source is None or published:
        there = None if source is None else source.parent
        return load_dataset(name, data_root=there if data_root is None else data_root)
    return load_dataset(source)
