"""All errors of an artifact on a split, as ONNX Runtime makes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asi_verify.core.images import encode
from asi_verify.core.properties import label_margins, predictions
from asi_verify.data import Samples
from asi_verify.errors import ModelError
from asi_verify.export import Artifact

__all__ = ["Evaluation", "evaluate", "require_better_than_majority", "require_fit"]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What an artifact answers on a split.

    Attributes:
        predictions: in the form of the labels.
        margins: smallest row of each sample's property, ``(N,)``; an error where not positive.
    """

    predictions: npt.NDArray[np.int64]
    margins: npt.NDArray[np.float64]

    @property
    def wrong(self) -> npt.NDArray[np.bool_]:
        """Where the model is wrong, shape ``(N,)``. A tie is wrong, and so is a NaN."""
        return np.asarray(~(self.margins > 0))

    @property
    def accuracy(self) -> float:
        """The share of samples that are right (with several labels: in every decision)."""
        return float(1 - self.wrong.mean())


def evaluate(artifact: Artifact, samples: Samples) -> Evaluation:
    """Run the artifact in ONNX Runtime on every sample of a split.

    Raises:
        ModelError: the artifact reads images of another shape, or has logits that do not fit.
    """
    require_fit(artifact, samples)
    outputs = artifact.session.run(encode(samples.images))
    return Evaluation(predictions(samples.labels, outputs), label_margins(samples.labels, outputs))


def require_fit(artifact: Artifact, samples: Samples) -> None:
    """Raise ``ModelError`` unless the artifact reads these images and answers these labels."""
    expected, given = artifact.network.input_shape, tuple(samples.images.shape[1:])
    if expected != given:
        raise ModelError(
            f"the model reads inputs of shape {expected}, the images are {given}; say how images "
            "become inputs with preprocess=Preprocess(layout=..., channels=..., size=...)"
        )
    logits = artifact.network.logits
    if samples.labels.ndim == 2 and samples.labels.shape[1] != logits:
        raise ModelError(f"{samples.labels.shape[1]} decisions, but the model has {logits} logits")
    highest = int(samples.labels.max())
    allowed = 1 if logits == 1 or samples.labels.ndim == 2 else logits - 1
    if highest > allowed:
        raise ModelError(f"a label is {highest}, but the model has {logits} logits")


def require_better_than_majority(evaluation: Evaluation, samples: Samples) -> None:
    """Refuse a model that does worse than always answering the most frequent label.

    Raises:
        ModelError: it does; almost always the images are not what the model was trained on.
    """
    labels = samples.labels
    _, counts = np.unique(labels, axis=0, return_counts=True)
    majority = float(counts.max()) / len(labels)
    if evaluation.accuracy < majority:
        raise ModelError(
            f"the model is right on {evaluation.accuracy:.1%} of the samples, always answering the "
            f"most frequent label on {majority:.1%}. No preprocessing contract was given, so "
            "images were fed as NCHW in [0, 1]; if the model expects otherwise, pass "
            "preprocess=Preprocess(scale=..., mean=..., std=..., layout=...)"
        )
