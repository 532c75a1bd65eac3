"""``plan``: what a run would find unsupported, impossible or slow, before hours are spent."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from asi_verify._regions import family_for, require_radius
from asi_verify.core.linf import LInf
from asi_verify.core.radius import RadiusLike
from asi_verify.core.semantics import Semantics
from asi_verify.data import Dataset, DatasetLike, Preprocess, Samples, load_dataset

if TYPE_CHECKING:
    from asi_verify.core.family import RegionFamily
    from asi_verify.export import Artifact, ModelLike

__all__ = ["Plan", "plan"]

_PROBES = 8
_TRAINED = 128


@dataclass(frozen=True)
class Plan:
    """What was found out in a minute or so.

    Attributes:
        operators: how often the artifact uses each operator; all of them are supported.
        parameters: how many numbers they hold.
        samples: in the split.
        accuracy: on the split, as ONNX Runtime runs the model.
        contradictions: samples in contradictions at this size of regions.
        ceiling: the size below which no two regions of different labels meet, outside the
            contradictions (text, in pixel units or pixels); None if all labels are equal, or the
            size of such regions is no distance.
        seconds: for each stage, how long all samples that the model gets right would take if all
            came to it; measured on some of them.
        epoch_seconds: an epoch of certified training; None for regions that it does not know.
        memory: bytes that the passes hold at once, about, without what libraries take.
    """

    operators: dict[str, int]
    parameters: int
    samples: int
    accuracy: float
    contradictions: int
    ceiling: str | None
    seconds: dict[str, float]
    epoch_seconds: float | None
    memory: int

    def to_json(self) -> dict[str, Any]:
        """Everything."""
        return dict(vars(self))


def plan(
    model: ModelLike,
    dataset: DatasetLike,
    radius: RadiusLike | RegionFamily = "1/255",
    *,
    split: str = "train",
    semantics: Semantics | str = Semantics.FLOAT32,
    preprocess: Preprocess | None = None,
    data_root: str | Path | None = None,
) -> Plan:
    """What certifying or correcting a model would meet and take; nothing is certified.

    Args:
        model: as for ``certify``.
        dataset: as for ``certify``.
        radius: as for ``certify``.
        split: the samples to certify.
        semantics: as for ``certify``.
        preprocess: as for ``certify``.
        data_root: as for ``certify``.

    Raises:
        UsageError: the model, the data or the radius cannot be used: what a run would refuse after
            minutes is refused here, an operator by its name.

    What is not promised: the times. They are measured on a few samples of this machine as it is,
    one stage by itself, and a run leaves most samples to the cheap ones.
    """
    from asi_verify.audit import audit, ceiling_text
    from asi_verify.bugs import evaluate
    from asi_verify.export import load_model

    require_radius(radius)
    data = load_dataset(dataset, data_root=data_root)
    samples = data.split(split)
    family = family_for(radius, data)
    arithmetic = Semantics.of(semantics)
    artifact = load_model(model, data.image_shape, preprocess)
    evaluation = evaluate(artifact, samples)
    findings = audit(data, family, split)
    ceiling = findings.ceilings()["outside_contradictions"]
    right = np.flatnonzero(~evaluation.wrong)
    return Plan(
        operators=_operators(artifact),
        parameters=artifact.network.parameters,
        samples=len(samples),
        accuracy=evaluation.accuracy,
        contradictions=len(findings.contradicted),
        ceiling=None if ceiling is None else ceiling_text(str(ceiling), findings.unit.value),
        seconds=_stage_seconds(artifact, samples, right, family, arithmetic),
        epoch_seconds=_epoch_seconds(artifact, data, split, family, arithmetic),
        memory=_memory(artifact),
    )


def _operators(artifact: Artifact) -> dict[str, int]:
    names = [type(node.operator).__name__ for node in artifact.network.nodes]
    return {name: names.count(name) for name in sorted(set(names))}


def _stage_seconds(
    artifact: Artifact,
    samples: Samples,
    right: Any,
    family: RegionFamily,
    semantics: Semantics,
) -> dict[str, float]:
    from asi_verify.core.properties import property_for
    from asi_verify.prove import prove, stages_for

    if len(right) == 0:
        return {}
    rows = right[np.linspace(0, len(right) - 1, min(_PROBES, len(right))).astype(np.intp)]
    wanted = [property_for(samples.labels[row], artifact.network.logits) for row in rows]
    digests = [samples.image_digests[row] for row in rows]
    seconds = {}
    for stage in stages_for(family):
        proof = prove(artifact, family, samples.images[rows], digests, wanted, (stage,), semantics)
        seconds[stage.name] = proof.stages[0].seconds / len(rows) * len(right)
    return seconds


def _epoch_seconds(
    artifact: Artifact, data: Dataset, split: str, family: RegionFamily, semantics: Semantics
) -> float | None:
    from asi_verify.repair import CertifiedTraining
    from asi_verify.repair.corrector import Task

    if not isinstance(family, LInf):
        return None
    samples = data.split(split)
    some = samples.take(np.arange(min(_TRAINED, len(samples)), dtype=np.intp))
    rows = np.arange(len(some), dtype=np.intp)

    def seconds(epochs: int) -> float:
        task = Task(some, family, rows, rows, seed=0, round=1, semantics=semantics)
        start = time.perf_counter()
        CertifiedTraining(epochs=epochs).attempt(artifact.network, task)
        return time.perf_counter() - start

    # What is done once, before and after, drops out.
    each = max(seconds(2) - seconds(1), 0.0)
    return each * math.ceil(len(samples) / 64) / math.ceil(len(some) / 64)


def _memory(artifact: Artifact) -> int:
    """Boxes of all values, the largest step for every row of a property, and the weights twice."""
    from asi_verify.core.operators import largest_step

    network = artifact.network
    step = max(
        largest_step(node.operator, *(network.shapes[value] for value in node.inputs))
        for node in network.nodes
    )
    boxes = 2 * sum(math.prod(shape) for shape in network.shapes)
    return 8 * (boxes + step * network.logits + 2 * network.parameters)
