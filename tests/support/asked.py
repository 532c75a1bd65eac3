"""Images asked of a small network, for tests of whole families of regions."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from asi_verify.core.canonical import array_digest
from asi_verify.core.family import RegionFamily
from asi_verify.core.images import encode
from asi_verify.core.properties import SingleLabel
from asi_verify.core.verdict import Verdict
from asi_verify.export import Artifact
from asi_verify.prove import Stage, prove
from support.networks import small_cnn


class Asked(NamedTuple):
    """A network on 8 x 8 images, images, and labels of which the first three are not its own."""

    artifact: Artifact
    images: npt.NDArray[Any]
    properties: list[SingleLabel]


def asked_of_a_small_network(count: int) -> Asked:
    """So many images."""
    generator = np.random.default_rng(0)
    artifact = Artifact.from_network(small_cnn(generator))
    images = generator.integers(0, 256, (count, 1, 8, 8), dtype=np.uint8)
    labels = artifact.session.run(encode(images)).argmax(axis=1)
    labels[:3] = (labels[:3] + 1) % 3
    return Asked(artifact, images, [SingleLabel(int(label), 3) for label in labels])


def ask(
    asked: Asked | tuple[Any, ...],
    family: RegionFamily,
    stages: tuple[Stage, ...] | None = None,
) -> tuple[Verdict, ...]:
    """What the stages say of each."""
    artifact, images, properties = asked
    digests = [array_digest(image) for image in images]
    return prove(artifact, family, images, digests, properties, stages).verdicts
