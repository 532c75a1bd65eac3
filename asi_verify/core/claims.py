"""The claims of a certificate folder: which artifact, which samples, which regions, which shards.

Written by the prover, read by the checker, in canonical JSON with a published schema.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from asi_verify.core.canonical import canonical_json
from asi_verify.core.certificate import damaged, parse_json
from asi_verify.core.family import RegionFamily
from asi_verify.core.limits import LARGEST_CLAIMS, MOST_PER_SHARD
from asi_verify.core.never_miss import NeverMiss
from asi_verify.core.query import is_digest
from asi_verify.core.region import family_from_json
from asi_verify.core.semantics import Semantics
from asi_verify.errors import CertificateError, UsageError

__all__ = ["ARTIFACT_FILE", "CLAIMS_FILE", "SCHEMA", "Claims", "DatasetClaim", "Shard"]

SCHEMA = "asi-verify/claims/1"
CLAIMS_FILE = "claims.json"
ARTIFACT_FILE = "artifact.onnx"

# Plain names only: a claim must not make the checker read a file elsewhere.
_SHARD_NAME = re.compile(r"[0-9]{5}\.jsonl")
_CONTAINER_NAME = re.compile(r"[0-9]{5}\.bin")
_TARGETS = ("label", "prediction")


@dataclass(frozen=True)
class DatasetClaim:
    """Which samples the certificates speak of.

    Attributes:
        name: the data set's name, for people.
        split: the split's name.
        samples: how many there are.
        images: ``array_digest`` of the images, ``(N, C, *spatial)`` as stored.
        labels: ``array_digest`` of the labels, int64.
        target: ``"label"``: the certificates are about the samples' labels; ``"prediction"``:
            about what the model predicts for them, right or wrong.
    """

    name: str
    split: str
    samples: int
    images: str
    labels: str
    target: str

    def to_json(self) -> dict[str, Any]:
        """The canonical form."""
        return dict(vars(self))


@dataclass(frozen=True)
class Shard:
    """One file of certificates, one per line, and the container of their binary parts.

    Attributes:
        file: its name in the folder, ``00000.jsonl``.
        sha256: the SHA-256 of its bytes.
        certificates: how many there are.
        container: name and SHA-256 of the container, or None if nothing is binary.
    """

    file: str
    sha256: str
    certificates: int
    container: tuple[str, str] | None

    def to_json(self) -> dict[str, Any]:
        """The canonical form."""
        return {
            "certificates": self.certificates,
            "container": None if self.container is None else list(self.container),
            "file": self.file,
            "sha256": self.sha256,
        }


@dataclass(frozen=True)
class Claims:
    """What a certificate folder claims.

    Attributes:
        artifact: the SHA-256 of the ONNX file.
        dataset: which samples.
        family: the regions.
        semantics: the arithmetic.
        contradictions: pairs of rows with different labels and meeting regions, each row of which
            is left out of the claim of zero errors.
        shards: the files.
        provenance: versions and settings; proves nothing.
        never_miss: of which classes alone samples are asked about, in regions (``family``) larger
            than those of the others; None if every sample is. What contradicts is then decided with
            the region that each sample has of its own.
        memorised: rows outside the contradictions in whose regions a local patch of the artifact
            does something, in order; they are no part of the claim of zero errors either.
    """

    artifact: str
    dataset: DatasetClaim
    family: RegionFamily
    semantics: Semantics
    contradictions: tuple[tuple[int, int], ...]
    shards: tuple[Shard, ...]
    provenance: dict[str, Any] = field(default_factory=dict)
    never_miss: NeverMiss | None = None
    memorised: tuple[int, ...] = ()

    def to_bytes(self) -> bytes:
        """Canonical JSON; ``never_miss`` and ``memorised`` are there only where there are any."""
        only = {} if self.never_miss is None else {"never_miss": self.never_miss.to_json()}
        return canonical_json(
            only
            | {
                "artifact": self.artifact,
                "contradictions": [list(pair) for pair in self.contradictions],
                "dataset": self.dataset.to_json(),
                "family": self.family.to_json(),
                "provenance": self.provenance,
                "schema": SCHEMA,
                "semantics": self.semantics.value,
                "shards": [shard.to_json() for shard in self.shards],
            }
            | ({"memorised": list(self.memorised)} if self.memorised else {})
        )

    @classmethod
    def from_bytes(cls, data: bytes, name: str = CLAIMS_FILE) -> Claims:
        """Read claims; everything in them is untrusted.

        Args:
            data: the file's bytes.
            name: what an error calls the file.

        Raises:
            CertificateError: they are not canonical JSON of this schema.
        """
        try:
            return cls._from_bytes(data)
        except UsageError as error:
            raise damaged(name, error) from None

    @classmethod
    def _from_bytes(cls, data: bytes) -> Claims:
        value = parse_json(data, longest=LARGEST_CLAIMS)
        match value:
            case {
                "artifact": str(artifact),
                "contradictions": [*pairs],
                "dataset": dict(dataset),
                "family": family,
                "provenance": dict(provenance),
                "schema": str(schema),
                "semantics": semantics,
                "shards": [*shards],
                **rest,
            } if not rest.keys() - {"memorised", "never_miss"} and is_digest(artifact):
                pass
            case _:
                raise CertificateError("the claims have missing, wrong or unknown fields")
        if schema != SCHEMA:
            raise CertificateError(f"the schema {schema!r} is not {SCHEMA!r}")
        regions = family_from_json(family)
        made = cls(
            artifact,
            _dataset(dataset),
            regions,
            Semantics.from_json(semantics),
            tuple(_pair(pair) for pair in pairs),
            tuple(_shard(shard) for shard in shards),
            provenance,
            NeverMiss.from_json(rest["never_miss"], regions) if "never_miss" in rest else None,
            _memorised(rest.get("memorised", [])),
        )
        if made.never_miss is not None and made.dataset.target != "label":
            raise CertificateError("classes are named by labels, and the claims are not about them")
        if made.to_bytes() != data:  # a true where a 1 belongs, say
            raise CertificateError("the claims are not in their canonical form")
        _refuse_twice("contradiction", made.contradictions)
        files = [shard.container[0] for shard in made.shards if shard.container is not None]
        _refuse_twice("file", files + [shard.file for shard in made.shards])
        return made


def _refuse_twice(what: str, named: Sequence[Any]) -> None:
    """Nothing is named twice, so that checking costs no more than the files are large."""
    if len(set(named)) < len(named):
        raise CertificateError(f"the claims name a {what} twice")


def _dataset(value: dict[str, Any]) -> DatasetClaim:
    match value:
        case {
            "images": images,
            "labels": labels,
            "name": str(name),
            "samples": int(samples),
            "split": str(split),
            "target": str(target),
            **rest,
        } if (
            not rest
            and is_digest(images)
            and is_digest(labels)
            and samples > 0
            and target in _TARGETS
        ):
            return DatasetClaim(name, split, int(samples), images, labels, target)
        case _:
            raise CertificateError(f"the data set's claim {value!r} is not valid")


def _pair(value: Any) -> tuple[int, int]:
    match value:
        case [int(first), int(second)] if 0 <= first < second:
            return int(first), int(second)
        case _:
            raise CertificateError(f"the contradiction {value!r} is not a pair of rows in order")


def _memorised(value: Any) -> tuple[int, ...]:
    match value:
        case [*rows] if all(type(row) is int and row >= 0 for row in rows):
            if all(first < second for first, second in pairwise(rows)):
                return tuple(rows)
    raise CertificateError(f"the memorised rows {value!r} are not rows in order")


def _shard(value: Any) -> Shard:
    match value:
        case {
            "certificates": int(count),
            "container": None | [str(), str()] as container,
            "file": str(file),
            "sha256": sha256,
            **rest,
        } if (
            not rest
            and 0 <= count <= MOST_PER_SHARD
            and is_digest(sha256)
            and _SHARD_NAME.fullmatch(file)
        ):
            pass
        case _:
            raise CertificateError(f"the shard {value!r} is not valid")
    if container is None:
        return Shard(file, sha256, int(count), None)
    name, digest = container
    if not _CONTAINER_NAME.fullmatch(name) or not is_digest(digest):
        raise CertificateError(f"the container {container!r} is not valid")
    return Shard(file, sha256, int(count), (name, digest))
