"""The readiness certificate of a data set: what is known of it before any model is trained.

One object of canonical JSON with a published schema, which names itself by the digest of all its
other fields. It holds no pixels, no time and no machine: the same data set and the same question
give the same bytes; suspected labels, which come from a training, on the same machine and versions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from asi_verify.audit.audit import Audit, audit
from asi_verify.audit.suspects import Suspect
from asi_verify.core.canonical import array_digest, canonical_json
from asi_verify.core.canonical import digest as digest_of
from asi_verify.core.certificate import parse_json
from asi_verify.core.family import RegionFamily
from asi_verify.core.progress import NO_PROGRESS, Progress
from asi_verify.core.query import is_digest
from asi_verify.data import NOT_LABELLED, Dataset, Samples, Task
from asi_verify.errors import CertificateError, DataError, RunFolderError
from asi_verify.store import RunFolder

__all__ = [
    "READINESS_FILE",
    "SCHEMA",
    "Readiness",
    "Suspicions",
    "audit_splits",
    "noted_readiness",
    "readiness",
    "readiness_schema",
]

SCHEMA = "asi-verify/readiness/1"
READINESS_FILE = "readiness.json"
"""Where a run folder keeps the certificate that it was given."""

_FIELDS = {"dataset", "digest", "duplicates", "family", "schema", "splits", "suspects", "undecided"}
_LARGEST = 1 << 28
"""Bytes of a file that is read; some 60 for each sample."""

_ACROSS = (
    "Regions of samples in different splits were not compared; equal images across splits are "
    "listed as duplicates."
)


@dataclass(frozen=True, eq=False)
class Suspicions:
    """Suspected labels, and what they come from.

    Attributes:
        method: settings and versions of the training and of the judgement; text and whole numbers.
        suspects: by split, the least believed first.
    """

    method: Mapping[str, Any]
    suspects: Mapping[str, Sequence[Suspect]]


@dataclass(frozen=True, eq=False)
class Readiness:
    """A readiness certificate.

    Attributes:
        value: all fields but the digest (docs/reference/formats.md). Not to be changed.
    """

    value: Mapping[str, Any]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON of all other fields."""
        return digest_of(self.value)

    @property
    def name(self) -> str:
        """The data set's name."""
        return str(self.value["dataset"]["name"])

    @property
    def splits(self) -> Mapping[str, Mapping[str, Any]]:
        """What is known of each split, by name."""
        return {entry["split"]: entry for entry in self.value["splits"]}

    @property
    def contradicted(self) -> int:
        """How many samples are in a contradiction, in all splits together."""
        return sum(
            len({row for pair in entry["contradictions"] for row in pair["rows"]})
            for entry in self.value["splits"]
        )

    def suspects(self, split: str) -> tuple[Suspect, ...] | None:
        """The suspected labels of a split, the least believed first; None if none were sought."""
        suspicions = self.value["suspects"]
        if suspicions is None:
            return None
        return tuple(
            _suspect(found)
            for entry in suspicions["splits"]
            if entry["split"] == split
            for found in entry["suspects"]
        )

    def to_json(self) -> dict[str, Any]:
        """The canonical form, digest included."""
        return {**self.value, "digest": self.digest}

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(self.to_json())

    def save(self, path: str | Path) -> Path:
        """Write the file; returns its path."""
        place = Path(path)
        place.write_bytes(self.to_bytes())
        return place

    @classmethod
    def from_bytes(cls, data: bytes) -> Readiness:
        """Read a certificate; everything in it is untrusted.

        Raises:
            CertificateError: it is not canonical JSON of this schema, or was changed.
        """
        value = parse_json(data, longest=_LARGEST)
        if not isinstance(value, dict) or set(value) != _FIELDS or value["schema"] != SCHEMA:
            raise CertificateError(f"this is no readiness certificate of the schema {SCHEMA!r}")
        made = cls({key: item for key, item in value.items() if key != "digest"})
        if made.digest != value["digest"]:
            raise CertificateError(
                f"the readiness certificate names itself {value['digest']}, its digest is "
                f"{made.digest}: it was changed"
            )
        made._refuse_what_cannot_be_read()
        return made

    def _refuse_what_cannot_be_read(self) -> None:
        """See that what this library reads of a certificate has the form that it reads."""
        try:
            rows = {name: _split_entry(entry) for name, entry in self.splits.items()}
            classes = len(self.value["dataset"]["classes"])
            _ = self.name, self.contradicted
            for split, samples in rows.items():
                for suspect in self.suspects(split) or ():
                    _refuse_out_of_range(suspect, samples, classes)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise CertificateError(f"the readiness certificate has wrong fields: {error}") from None
        if len(rows) != len(self.value["splits"]):
            raise CertificateError("the readiness certificate names a split twice")

    def require_data(self, data: Dataset) -> None:
        """See that the certificate is about these images and labels, in every split.

        Raises:
            DataError: it is about others.
        """
        ours = {name: _digests(samples) for name, samples in data.splits.items()}
        theirs = {
            name: {key: entry[key] for key in ("images", "labels")}
            for name, entry in self.splits.items()
        }
        wrong = sorted(n for n in {*ours, *theirs} if ours.get(n) != theirs.get(n))
        if self.value["dataset"]["classes"] != list(data.classes):
            wrong.append("classes")
        if wrong:
            raise DataError(
                f"readiness: the certificate of {self.name} is about other data than {data.name} "
                f"({', '.join(wrong)}); audit the data set again"
            )


def readiness(
    dataset: Dataset,
    family: RegionFamily,
    suspicions: Suspicions | None = None,
    audits: Mapping[str, Audit] | None = None,
    progress: Progress = NO_PROGRESS,
) -> Readiness:
    """Audit every split of a data set for regions of a family, and put it in one certificate.

    Args:
        dataset: the data set.
        family: the regions.
        suspicions: suspected labels, if they were sought.
        audits: of every split, if they were made already.
        progress: told of rows compared.

    Raises:
        DataError: the family has no regions of such images.
    """
    found = audits if audits is not None else audit_splits(dataset, family, progress)
    entries = [
        _entry(dataset, name, samples, found[name]) for name, samples in dataset.splits.items()
    ]
    return Readiness(
        {
            "dataset": {
                "classes": list(dataset.classes),
                "name": dataset.name,
                "task": dataset.task.value,
            },
            "duplicates": [group.to_json() for group in next(iter(found.values())).duplicates],
            "family": family.to_json(),
            "schema": SCHEMA,
            "splits": entries,
            "suspects": None if suspicions is None else _suspicions(suspicions),
            "undecided": _undecided(found),
        }
    )


def audit_splits(
    dataset: Dataset, family: RegionFamily, progress: Progress = NO_PROGRESS
) -> dict[str, Audit]:
    """The audit of every split, by name."""
    return {name: audit(dataset, family, name, progress) for name in dataset.splits}


def readiness_schema() -> dict[str, Any]:
    """The JSON schema of a readiness certificate."""
    place = resources.files("asi_verify.audit").joinpath("schema/readiness-1.json")
    schema: dict[str, Any] = json.loads(place.read_text("utf-8"))
    return schema


def noted_readiness(folder: RunFolder) -> Readiness | None:
    """The readiness certificate that a run's settings name; None if they name none.

    Raises:
        CertificateError: the folder's copy cannot be read.
        RunFolderError: it is another one, or is missing.
    """
    named = folder.configuration.get("readiness")
    if named is None:
        return None
    found = Readiness.from_bytes(folder.files.require(READINESS_FILE))
    if found.digest != named:
        raise RunFolderError(
            f"{folder.files}: {READINESS_FILE} is {found.digest}, the settings name {named}: it "
            "was changed; give another folder"
        )
    return found


def _digests(samples: Samples) -> dict[str, str]:
    return {"images": array_digest(samples.images), "labels": array_digest(samples.labels)}


def _entry(dataset: Dataset, name: str, samples: Samples, found: Audit) -> dict[str, Any]:
    """What is known of one split."""
    whole = found.to_json()
    return {
        "ceilings": whole["ceilings"],
        "contradictions": whole["contradictions"],
        "counts": _counts(dataset, samples),
        "disagreement": _disagreement(samples),
        **_digests(samples),
        "nearest_other_label": whole["nearest_other_label"],
        "samples": len(samples),
        "split": name,
    }


def _counts(dataset: Dataset, samples: Samples) -> list[int]:
    """Samples of each class; of several decisions, those for which each is 1."""
    if dataset.task is Task.MULTI_LABEL:
        return [int(count) for count in samples.labels.sum(axis=0)]
    counts = np.bincount(samples.labels, minlength=len(dataset.classes))
    return [int(count) for count in counts]


def _disagreement(samples: Samples) -> dict[str, Any] | None:
    """The rows on which annotators disagree, and what each said; None if votes are not known."""
    if samples.votes is None:
        return None
    highest = samples.votes.max(axis=1, keepdims=True)
    # Who did not label an image does not disagree.
    disagree = ((samples.votes != highest) & (samples.votes != NOT_LABELLED)).any(axis=1)
    return {
        "annotators": samples.votes.shape[1],
        "rows": [
            {
                "label": int(samples.labels[row]),
                "row": row,
                "votes": samples.votes[row].tolist(),
            }
            for row in np.flatnonzero(disagree).tolist()
        ],
        "votes": array_digest(samples.votes),
    }


def _undecided(audits: Mapping[str, Audit]) -> list[str]:
    """What the certificate does not know, in sentences."""
    sentences = [
        f"{name}: every sample has the same label, so no distance between labels is known."
        for name, found in audits.items()
        if (found.distances.distance < 0).all()
    ]
    if not next(iter(audits.values())).has_ceilings:
        sentences.append("The size of these regions is no distance, so no ceiling is known.")
    if len(audits) > 1:
        sentences.append(_ACROSS)
    return sentences


def _suspicions(found: Suspicions) -> dict[str, Any]:
    return {
        "method": dict(found.method),
        "splits": [
            {"split": name, "suspects": [suspect.to_json() for suspect in suspects]}
            for name, suspects in found.suspects.items()
        ],
    }


def _split_entry(entry: Mapping[str, Any]) -> int:
    """The number of samples of a split, whose digests are some."""
    if not (is_digest(entry["images"]) and is_digest(entry["labels"])):
        raise ValueError("the digests of a split")
    return _whole(entry["samples"])


def _suspect(value: Mapping[str, Any]) -> Suspect:
    decision = value["decision"]
    confidence = float.fromhex(value["self_confidence"])
    if not 0 <= confidence <= 1:
        raise ValueError(f"a self-confidence of {confidence}")
    return Suspect(
        _whole(value["row"]),
        None if decision is None else _whole(decision),
        _whole(value["label"]),
        _whole(value["suggested"]),
        confidence,
    )


def _refuse_out_of_range(suspect: Suspect, samples: int, classes: int) -> None:
    labels = classes if suspect.decision is None else 2
    decision = suspect.decision or 0
    if not (
        suspect.row < samples
        and decision < classes
        and suspect.label < labels
        and suspect.suggested < labels
    ):
        raise ValueError(f"{suspect} of {samples} samples and {classes} classes")


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError(f"{value!r} where a whole number belongs")
    return value
