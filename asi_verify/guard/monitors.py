"""What is recorded of the training images, so that images unlike them are refused.

Three monitors. A box of acquisition statistics (brightness, contrast, percentiles, roughness) and a
box of the activations of the last hidden layer: each the smallest that holds the training images,
widened on every side by one share of its width. And the distance of the image's layout, the
statistics together with the brightness of some sixteen parts of the image, from the mean of the
training images, in units of how much these vary along each direction (Mahalanobis 1936).

The shares and the largest distance are calibrated on a validation split: the smallest with which
each monitor refuses at most a given part of its images. Monitors prove nothing; they only refuse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.guard.measures import Measures

__all__ = ["Distance", "Monitors", "widening"]

Floats = npt.NDArray[np.float32]
Range = tuple[Floats, Floats]

_NARROWEST = 1e-3
"""Of the widest range: what never varied in training may vary by so much."""
_LEAST_VARIANCE = 1e-6
"""Of the mean variance, added in every direction: some may not vary at all in few images."""
_ROUNDING = 1e-3
"""By which the largest distance is enlarged, since the file computes it in float32."""


@dataclass(frozen=True, eq=False)
class Distance:
    """``|matrix @ x + offset|**2``, and how large it may be.

    Attributes:
        matrix: shape ``(k, k)``.
        offset: shape ``(k,)``.
        largest: above it an image is refused.
    """

    matrix: Floats
    offset: Floats
    largest: float

    @classmethod
    def recorded(cls, known: Floats, unseen: Floats, refused: float) -> Distance:
        """From the mean of some images, in units of their variation.

        Args:
            known: shape ``(N, k)``.
            unseen: shape ``(M, k)``; at most the part ``refused`` of these is farther away.
            refused: as above.
        """
        wide = known.astype(np.float64)
        mean = wide.mean(axis=0)
        covariance = (wide - mean).T @ (wide - mean) / len(wide)
        least = _LEAST_VARIANCE * max(float(np.trace(covariance)) / len(mean), 1e-12)
        variances, directions = np.linalg.eigh(covariance)
        matrix = directions.T / np.sqrt(np.maximum(variances, 0) + least)[:, None]
        distances = (((unseen - mean) @ matrix.T) ** 2).sum(axis=1)
        return cls(
            matrix.astype(np.float32),
            (-matrix @ mean).astype(np.float32),
            _kept(distances, refused) * (1 + _ROUNDING),
        )


@dataclass(frozen=True, eq=False)
class Monitors:
    """What an image has to lie in.

    Attributes:
        statistics: lower and upper bounds of the acquisition statistics.
        activations: lower and upper bounds, one pair per neuron.
        layout: of the image's layout.
    """

    statistics: Range
    activations: Range
    layout: Distance

    @classmethod
    def recorded(cls, train: Measures, validation: Measures, refused: float) -> Monitors:
        """What holds the training images, widened until it holds most validation images.

        Args:
            train: of images that the model was trained on.
            validation: of others.
            refused: at most this part of the validation images is refused by each.
        """
        return cls(
            _range(train.statistics, validation.statistics, refused),
            _range(train.activations, validation.activations, refused),
            Distance.recorded(train.layout, validation.layout, refused),
        )


def _range(known: Floats, unseen: Floats, refused: float) -> Range:
    lower, upper = known.min(axis=0), known.max(axis=0)
    further = widening(lower, upper, unseen, refused) * _width(lower, upper)
    # One step outwards, so that rounding leaves nobody out who calibrated it.
    return (
        np.nextafter((lower - further).astype(np.float32), np.float32(-np.inf)),
        np.nextafter((upper + further).astype(np.float32), np.float32(np.inf)),
    )


def _kept(needed: npt.NDArray[np.float64], refused: float) -> float:
    """The smallest number that at most a part of the numbers given exceeds."""
    kept = math.ceil((1 - refused) * len(needed))
    return float(np.sort(needed)[max(kept, 1) - 1])


def _width(lower: Floats, upper: Floats) -> npt.NDArray[np.float64]:
    width = upper.astype(np.float64) - lower
    return np.maximum(width, _NARROWEST * max(float(width.max(initial=0.0)), 1e-6))


def widening(lower: Floats, upper: Floats, unseen: npt.NDArray[Any], refused: float) -> float:
    """The smallest share of its width by which a box is widened to hold enough images.

    Args:
        lower: of the box, shape ``(k,)``.
        upper: likewise.
        unseen: shape ``(N, k)``.
        refused: at most this part of the images stays outside.
    """
    width = _width(lower, upper)
    exact = unseen.astype(np.float64)
    beyond = np.maximum(lower - exact, exact - upper) / width
    return _kept(np.maximum(beyond.max(axis=1), 0.0), refused)
