"""Small certificate folders, made without torch: a network, images that it is sure of, claims."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from asi_verify.checker import TrustedPass
from asi_verify.checker.enumeration import divided_margin
from asi_verify.core.box import Box
from asi_verify.core.canonical import array_digest, bytes_digest
from asi_verify.core.certificate import Certificate
from asi_verify.core.claims import Claims, DatasetClaim
from asi_verify.core.evidence import (
    EnumerationEvidence,
    Evidence,
    GridEvidence,
    Intermediate,
    SolverEvidence,
    TreeEvidence,
)
from asi_verify.core.family import RegionFamily
from asi_verify.core.images import encode
from asi_verify.core.intensity import Intensity
from asi_verify.core.linf import LInf
from asi_verify.core.pieces import Divided
from asi_verify.core.properties import property_for
from asi_verify.core.query import Query
from asi_verify.core.region import Region
from asi_verify.core.semantics import Semantics
from asi_verify.lowering import read_network, write_artifact
from asi_verify.store import FolderFiles, write_certificates
from support.methods import METHODS
from support.networks import small_cnn

SCRIPT = b"(check-sat)"


@dataclass
class Made:
    """A folder and what it was made from."""

    place: Path
    artifact: bytes
    images: Any
    labels: Any
    claims: Claims
    certificates: list[Certificate]
    parts: dict[str, bytes] = field(default_factory=lambda: {bytes_digest(SCRIPT): SCRIPT})

    def write(self, place: Path | None = None) -> Made:
        """Write (again), after whatever was changed."""
        files = FolderFiles(place or self.place)
        for name in files.names():
            files.remove(name)
        claims = write_certificates(
            files, "", self.claims, self.artifact, self.certificates, self.parts
        )
        return replace(self, place=place or self.place, claims=claims)


def evidence_of(
    trusted: TrustedPass, family: RegionFamily, image: Any, property_: Any
) -> Evidence | None:
    """The cheapest evidence that proves a property over the region of one image."""
    if isinstance(family, Divided):
        for pieces in family.ways:
            evidence = EnumerationEvidence(pieces)
            if divided_margin(trusted, family, image, property_, evidence) > 0:
                return evidence
        return None
    if isinstance(family, Intensity):
        grid = GridEvidence((4,) * len(family.parameters(image.ndim - 1)), Intermediate.INTERVAL)
        closes = divided_margin(trusted, family, image, property_, grid) > 0
        return grid if closes else None
    box = family.boxes(image[None])
    for evidence in METHODS.values():
        if trusted.margins(box, property_, evidence)[0] > 0:
            return evidence
    return None


def certificate(made: Made, row: int, evidence: Evidence) -> Certificate:
    """A certificate for a row, true or not."""
    query = Query(
        bytes_digest(made.artifact),
        Region(made.claims.family, array_digest(made.images[row])),
        property_for(made.labels[row], 3),
        Semantics.REAL,
    )
    return Certificate(row, query, evidence)


def make_folder(
    place: Path,
    seed: int = 0,
    family: RegionFamily = LInf.of("1/255"),  # noqa: B008  it is frozen
    count: int = 24,
) -> Made:
    """Images with the labels that a random network gives them, certified where it can be.

    Rows 0 and 1 contradict each other: the same pixels, another label.
    """
    generator = np.random.default_rng(seed)
    artifact = write_artifact(small_cnn(generator))
    trusted = TrustedPass(read_network(artifact), Semantics.REAL)
    images = generator.integers(0, 256, (count, 1, 8, 8), dtype=np.uint8)
    images[1] = images[0]
    points = encode(images)
    logits = trusted.enclosure(Box(points, points.copy())).lower
    labels = logits.argmax(axis=1).astype(np.int64)
    labels[1] = (labels[0] + 1) % 3
    claims = Claims(
        bytes_digest(artifact),
        DatasetClaim("made", "train", count, array_digest(images), array_digest(labels), "label"),
        family,
        Semantics.REAL,
        ((0, 1),),
        (),
        {"made": "by a test"},
    )
    made = Made(place, artifact, images, labels, claims, [])
    for row in range(2, count):
        evidence = evidence_of(trusted, family, images[row], property_for(labels[row], 3))
        if evidence is not None:
            made.certificates.append(certificate(made, row, evidence))
    return made.write()


def delegated(made: Made, row: int) -> Certificate:
    """A certificate that rests on a solver's word."""
    return certificate(made, row, SolverEvidence(bytes_digest(SCRIPT), "z3", "4"))


def by_tree(made: Made, row: int, tree: bytes) -> Certificate:
    """A certificate that rests on a split tree, or on what is written in its place."""
    made.parts[bytes_digest(tree)] = tree
    return certificate(made, row, TreeEvidence(Intermediate.BACKWARD, bytes_digest(tree)))


def write_npz(made: Made, path: Path) -> None:
    """The folder's grey images as a split ``train`` in MedMNIST's layout."""
    np.savez(path, train_images=made.images[:, 0], train_labels=made.labels[:, None])
