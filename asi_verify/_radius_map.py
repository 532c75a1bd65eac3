"""``radius_map``: how far the proof around each sample reaches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from asi_verify.core.cores import require_cores
from asi_verify.core.progress import NO_PROGRESS, Progress
from asi_verify.core.radius import Radius, RadiusLike
from asi_verify.core.semantics import Semantics
from asi_verify.data import DatasetLike, Preprocess, Samples, load_dataset
from asi_verify.errors import RadiusError

if TYPE_CHECKING:
    from asi_verify.export import Artifact, ModelLike
    from asi_verify.prove import Stage

__all__ = ["RadiusMap", "radius_map", "wanted_answers"]


@dataclass(frozen=True)
class RadiusMap:
    """The radii of the samples of a split, in order.

    Attributes:
        model: SHA-256 of the artifact.
        step: the radii tried are its multiples.
        most: up to here.
        proved: the largest radius tried at which the sample was proved; None if not even at 0.
        refuted: the smallest radius tried whose region holds a counterexample; None if none was
            found. Between the two nothing is known.
        memorised: rows in whose regions of the largest radius a local patch of the model does
            something.
    """

    model: str
    step: Radius
    most: Radius
    proved: tuple[Radius | None, ...]
    refuted: tuple[Radius | None, ...]
    memorised: tuple[int, ...] = ()

    def share(self, radius: RadiusLike) -> float:
        """The share of the samples that are proved at a radius; memorised ones count as not."""
        wanted, aside = Radius.of(radius), set(self.memorised)
        proved = (
            r is not None and r >= wanted and row not in aside for row, r in enumerate(self.proved)
        )
        return sum(proved) / len(self.proved)

    def to_json(self) -> dict[str, Any]:
        """Everything, radii as text in pixel units."""
        return {
            "memorised": list(self.memorised),
            "model": self.model,
            "most": str(self.most.value),
            "proved": [None if r is None else str(r.value) for r in self.proved],
            "refuted": [None if r is None else str(r.value) for r in self.refuted],
            "step": str(self.step.value),
        }


def wanted_answers(artifact: Artifact, samples: Samples, target: str) -> npt.NDArray[np.int64]:
    """What is to be proved of each sample, in the form of the labels."""
    from asi_verify.bugs import evaluate

    return samples.labels if target == "label" else evaluate(artifact, samples).predictions


def radius_map(
    model: ModelLike,
    dataset: DatasetLike,
    most: RadiusLike = "8/255",
    *,
    step: RadiusLike = "0.5/255",
    split: str = "train",
    target: str = "label",
    semantics: Semantics | str = Semantics.FLOAT32,
    preprocess: Preprocess | None = None,
    stages: Sequence[Stage] | None = None,
    cores: int = 1,
    data_root: str | Path | None = None,
    progress: Progress = NO_PROGRESS,
) -> RadiusMap:
    """The largest L-infinity radius at which each sample is proved, by bisection.

    Args:
        model: as for ``certify``.
        dataset: as for ``certify``.
        most: the largest radius tried.
        step: the radii tried are its multiples; half a grey level is the finest that tells 8-bit
            images apart.
        split: the samples.
        target: as for ``certify``.
        semantics: as for ``certify``.
        preprocess: as for ``certify``.
        stages: as for ``certify``.
        cores: as for ``certify``.
        data_root: as for ``certify``.
        progress: told how far things are.

    Raises:
        UsageError: the model, the data or a radius cannot be used; see its subclasses.

    What is not promised: a file that others can check. For that, certify at a radius.
    """
    from asi_verify._certify import require_target
    from asi_verify.core.linf import LInf
    from asi_verify.core.local_patch import memorised_rows
    from asi_verify.core.properties import property_for
    from asi_verify.export import load_model
    from asi_verify.prove.radius_search import search_radii

    require_target(target)
    require_cores(cores)
    finest, largest = Radius.of(step), Radius.of(most)
    if not 0 < finest.value <= largest.value:
        raise RadiusError(f"step: {finest}; more than 0 and at most the largest, {largest}")
    data = load_dataset(dataset, data_root=data_root)
    samples = data.split(split)
    artifact = load_model(model, data.image_shape, preprocess)
    found = search_radii(
        artifact,
        samples.images,
        samples.image_digests,
        [
            property_for(label, artifact.network.logits)
            for label in wanted_answers(artifact, samples, target)
        ],
        finest,
        largest,
        stages,
        Semantics.of(semantics),
        progress,
        cores,
    )
    return RadiusMap(
        artifact.digest,
        finest,
        largest,
        tuple(bounds.proved for bounds in found),
        tuple(bounds.refuted for bounds in found),
        tuple(sorted(memorised_rows(artifact.network, LInf(largest), samples.images))),
    )
