"""What is set from images that the model was not trained on: the monitors, the radius."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.core.images import encode
from asi_verify.core.radius import Radius
from asi_verify.guard.graph import write_guard, write_measures
from asi_verify.guard.guard import Guard
from asi_verify.guard.measures import Measures
from asi_verify.guard.monitors import Monitors
from asi_verify.lowering import INPUT_NAME
from asi_verify.runtime.session import load

__all__ = ["radius_for", "record_monitors"]

_BATCH = 256
_QUARTERS = tuple(range(8, 0, -1))


def record_monitors(
    artifact: bytes, train: npt.NDArray[Any], validation: npt.NDArray[Any], refused: float
) -> Monitors:
    """Monitors of the training images, widened until they hold most validation images.

    Args:
        artifact: the model's file.
        train: images, shape ``(N, C, *spatial)``, uint8 or float32 in [0, 1].
        validation: likewise.
        refused: at most this part of the validation images is refused by each of them.

    Raises:
        UsageError: the model cannot be guarded (``write_guard``).
    """
    session = load(write_measures(artifact), usual=True)

    def measured(images: npt.NDArray[Any]) -> Measures:
        parts = [
            session.run(
                list(Measures._fields), {INPUT_NAME: encode(images[start : start + _BATCH])}
            )
            for start in range(0, len(images), _BATCH)
        ]
        return Measures(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    return Monitors.recorded(measured(train), measured(validation), refused)


def radius_for(
    artifact: bytes,
    radius: Radius,
    validation: npt.NDArray[Any],
    coverage: float,
    bounds: str = "intervals",
) -> Radius:
    """The largest radius at which enough validation images are certified, of those tried.

    Args:
        artifact: the model's file.
        radius: tried are its quarters, from twice the radius downwards.
        validation: images, shape ``(N, C, *spatial)``.
        coverage: the part of them that is wanted.
        bounds: those of the guard (``write_guard``).

    Returns:
        The smallest one tried, if none certifies so many.
    """
    tried = radius
    for quarters in _QUARTERS:
        if 2 * quarters * radius.value >= 4:
            continue  # no radius: half the pixel range or more
        tried = Radius(radius.value * quarters / 4)
        answers = Guard(write_guard(artifact, tried, bounds=bounds))(validation)
        if sum(answer.answered for answer in answers) >= coverage * len(answers):
            break
    return tried
