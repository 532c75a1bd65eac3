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
            "become inputs with preprocess=Preprocess(layout=..., channels=...), or --layout; they "
            "are not resized"
        )
    logits = artifact.network.logits
    if samples.labels.ndim == 2 and samples.labels.shape[1] != logits:
        raise ModelError(f"{samples.labels.shape[1]} decisions, but the model has {logits} logits")
    highest = int(samples.labels.max())
    allowed = 1 if logits == 1 or samples.labels.ndim == 2 else logits - 1
    if highest > allowed:
        raise ModelError(f"a label is {highest}, but the model has {logits} logits")


def require_better_than_majority(evaluation: Evaluation, samples: Samples) -> None:
    """Refuse a model that does worse than always giving the same answer.

    For one label that is the most frequent one. Of several decisions one value is often so rare
    that good models are hardly right more often than a constant answer: there each value counts as
    much as the other, however rare it is, and a constant answer is right in half.

    Raises:
        ModelError: it does; almost always the images are not what the model was trained on.
    """
    labels = samples.labels
    if labels.ndim == 2:
        right, constant = _balanced(evaluation.predictions, labels), 0.5
        found = f"is right on {right:.1%} of the decisions, yes and no counted alike; a constant "
        found += f"answer on {constant:.1%}"
    else:
        _, counts = np.unique(labels, return_counts=True)
        right, constant = evaluation.accuracy, float(counts.max()) / len(labels)
        found = f"is right on {right:.1%} of the samples, always answering the most frequent label "
        found += f"on {constant:.1%}"
    if right < constant:
        raise ModelError(
            f"the model {found}. No preprocessing contract was given, so "
            "images were fed as NCHW in [0, 1]; if the model expects otherwise, pass "
            "preprocess=Preprocess(scale=..., mean=..., std=..., layout=...), or --scale and so "
            "on; or the model numbers the classes in another order than the data set"
        )


def _balanced(answers: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]) -> float:
    """The mean over decisions and values of the share that is right; 1/2 if none has both."""
    both = np.flatnonzero((labels.min(axis=0) == 0) & (labels.max(axis=0) == 1))
    shares = [
        float((answers[labels[:, decision] == value, decision] == value).mean())
        for decision in both.tolist()
        for value in (0, 1)
    ]
    return float(np.mean(shares)) if shares else 0.5
