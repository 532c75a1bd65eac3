"""What is estimated, and holds with a stated confidence for images drawn like those measured.

Kept apart from everything that is proved: nothing here is about one image, and nothing here holds
for images from elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.errors import UsageError

__all__ = ["Conformal", "Gain", "clopper_pearson", "estimates", "probabilities", "second_estimates"]

_RESAMPLES = 10_000


def clopper_pearson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact two-sided confidence interval of a proportion.

    Its ends are quantiles of beta distributions (Clopper and Pearson 1934). Without a trial it is
    [0, 1].

    Args:
        successes: of so many trials.
        trials: drawn independently with one probability.
        confidence: that the interval holds the probability.

    Raises:
        UsageError: no such counts or confidence.
    """
    from scipy.stats import beta

    if not 0 <= successes <= trials or not 0 < confidence < 1:
        raise UsageError(f"{successes} of {trials} at a confidence of {confidence}")
    tail = (1 - confidence) / 2
    lower = beta.ppf(tail, successes, trials - successes + 1) if successes else 0.0
    upper = beta.ppf(1 - tail, successes + 1, trials - successes) if successes < trials else 1.0
    return float(lower), float(upper)


@dataclass(frozen=True)
class Conformal:
    """Split conformal prediction: sets of labels that hold the right one with a given probability.

    The score of a label is one less its probability. A set holds the labels whose score is at most
    the threshold, which is the ``ceil((n + 1) (1 - error))``-th smallest of the ``n`` scores of
    right labels on calibration images (Vovk et al. 2005; Lei et al. 2018). Over the draw of
    calibration images and of a new image, exchangeable with them, the set holds the new image's
    label with probability at least ``1 - error``.

    Attributes:
        threshold: infinite where there are too few calibration images: all labels then.
        error: the probability allowed.
        samples: calibration images.
    """

    threshold: float
    error: float
    samples: int

    @classmethod
    def calibrated(
        cls, probabilities: npt.NDArray[Any], labels: npt.NDArray[np.int64], error: float
    ) -> Conformal:
        """The threshold for some images that the model was not trained on.

        Args:
            probabilities: shape ``(N, classes)``.
            labels: shape ``(N,)``.
            error: between 0 and 1.

        Raises:
            UsageError: it is not.
        """
        if not 0 < error < 1:
            raise UsageError(f"error: {error}; between 0 and 1 is expected")
        scores = np.sort(1 - probabilities[np.arange(len(labels)), labels])
        place = math.ceil((len(labels) + 1) * (1 - error))
        return cls(
            float(scores[place - 1]) if place <= len(scores) else math.inf, error, len(labels)
        )

    def sets(self, probabilities: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Which labels each image's set holds, shape ``(N, classes)``."""
        return np.asarray(1 - probabilities <= self.threshold)


@dataclass(frozen=True)
class Gain:
    """By how much answered images are more often right than all images.

    Attributes:
        gain: accuracy on what is answered, less accuracy on everything.
        lower: end of the interval of the given confidence.
        upper: likewise.
    """

    gain: float
    lower: float
    upper: float

    @classmethod
    def of(
        cls,
        answered: npt.NDArray[np.bool_],
        right: npt.NDArray[np.bool_],
        confidence: float = 0.95,
        seed: int = 0,
    ) -> Gain:
        """With a paired interval: percentiles over 10,000 samples of the same images, drawn again.

        Paired, because both accuracies are taken of the same images in each. A resample depends on
        the counts of the four kinds of images alone, which are multinomial.

        Args:
            answered: shape ``(N,)``.
            right: shape ``(N,)``.
            confidence: of the interval.
            seed: of the resamples.
        """
        kinds = np.bincount(2 * answered + right, minlength=4)  # refused wrong, right; answered ...
        total = len(right)
        drawn = np.random.default_rng(seed).multinomial(total, kinds / total, _RESAMPLES)
        gains = _gain(np.concatenate([kinds[None], drawn]))
        tail = 100 * (1 - confidence) / 2
        lower, upper = np.nanpercentile(gains[1:], [tail, 100 - tail])
        return cls(float(gains[0]), float(lower), float(upper))


def _gain(kinds: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """For counts of refused wrong and right, answered wrong and right; NaN if none is answered."""
    said = kinds[:, 2] + kinds[:, 3]
    of_answered = kinds[:, 3] / np.where(said, said, 1)
    all_right = (kinds[:, 1] + kinds[:, 3]) / kinds.sum(axis=1)
    return np.where(said > 0, of_answered - all_right, np.nan)


def probabilities(logits: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """The softmax of logits, or of 0 and a single logit, shape ``(N, classes)``."""
    wide = logits.astype(np.float64)
    if wide.shape[1] == 1:
        wide = np.concatenate([np.zeros_like(wide), wide], axis=1)
    shares = np.exp(wide - wide.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def estimates(
    answered: npt.NDArray[np.bool_],
    labels: npt.NDArray[np.int64],
    logits: npt.NDArray[Any],
    conformal: Conformal | None,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """What a guard's answers on a split say of other images like these.

    Args:
        answered: which images the guard answered, shape ``(N,)``.
        labels: shape ``(N,)``.
        logits: the model's, shape ``(N, logits)``.
        conformal: sets that were calibrated on another split.
        confidence: of every interval.

    Returns:
        Intervals, lower and upper end: ``coverage``, the part that is answered;
        ``error_when_answering``; ``gain``, by how much answers are more often right than the model,
        with the gain itself in front; and of the ``conformal`` sets how often one
        ``holds_the_label``, with the ``mean_size`` and how many have a ``single`` label.
    """
    chances = probabilities(logits)
    right = chances.argmax(axis=1) == labels
    wrong = int((answered & ~right).sum())
    gain = Gain.of(answered, right, confidence) if answered.any() else None
    found: dict[str, Any] = {
        "confidence": confidence,
        "coverage": clopper_pearson(int(answered.sum()), len(labels), confidence),
        "error_when_answering": clopper_pearson(wrong, int(answered.sum()), confidence),
        "gain": None if gain is None else [gain.gain, gain.lower, gain.upper],
    }
    if conformal is not None:
        sets = conformal.sets(chances)
        held = int(sets[np.arange(len(sets)), labels].sum())
        found["conformal"] = {
            "calibrated_on": conformal.samples,
            "error": conformal.error,
            "holds_the_label": clopper_pearson(held, len(sets), confidence),
            "mean_size": float(sets.sum(axis=1).mean()),
            "single": int((sets.sum(axis=1) == 1).sum()),
        }
    return found


def second_estimates(counts: Mapping[str, int], confidence: float = 0.95) -> dict[str, Any]:
    """What a second model's counts on a split say of other images like these.

    Args:
        counts: of ``figures.second_counts``.
        confidence: of every interval.

    Returns:
        Intervals, lower and upper end: ``coverage`` of both models together, their
        ``error_when_answering``, and of what the first one refuses how often each model is wrong,
        ``first_error`` and ``second_error``.
    """
    asked, answered = counts["asked"], counts["both_answered"]
    return {
        "confidence": confidence,
        "coverage": clopper_pearson(answered, counts["samples"], confidence),
        "error_when_answering": clopper_pearson(
            answered - counts["both_right"], answered, confidence
        ),
        "first_error": clopper_pearson(asked - counts["first_right"], asked, confidence),
        "second_error": clopper_pearson(asked - counts["second_right"], asked, confidence),
    }
