"""Torch twins and advice in the checker's form, for the stages that optimise what is checked."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from asi_verify.bounds import BackwardTwin
from asi_verify.checker.relu import open_phases
from asi_verify.checker.trusted import Bounds, TrustedPass
from asi_verify.core.box import Box
from asi_verify.core.network import Network
from asi_verify.errors import UnsupportedOperatorError

Array = npt.NDArray[np.float32]

__all__ = ["boxes_for", "by_value", "coarse", "open_slopes", "twin_for"]


@lru_cache(maxsize=1)
def twin_for(network: Network, device: str) -> BackwardTwin | None:
    """The twin of a network; None where it would optimise nothing, or cannot."""
    try:
        twin = BackwardTwin(network, device)
    except UnsupportedOperatorError:
        return None
    return twin if twin.relu_inputs else None


def boxes_for(twin: BackwardTwin, bounds: Bounds) -> dict[int, Box]:
    """Of the input and of what ReLUs read."""
    return {value: bounds.boxes[value] for value in (0, *twin.relu_inputs)}


def by_value(
    trusted: TrustedPass, numbers: npt.NDArray[np.float64]
) -> dict[int, npt.NDArray[np.float64]]:
    """Numbers of neurons, ``(L, R, neurons)``, as advice for the trusted pass takes them."""
    flat = numbers.reshape(len(numbers) * numbers.shape[1], numbers.shape[2])
    return {value: flat[:, part] for value, part in trusted.neurons.items()}


def open_slopes(trusted: TrustedPass, bounds: Bounds, slopes: Array, largest: int) -> Array:
    """The slopes that say something: of open phases, and not what the canonical rule says.

    Args:
        trusted: the trusted pass over the network.
        bounds: of ``L`` samples.
        slopes: shape ``(L, R, neurons)``.
        largest: bytes of one sample's slopes when written; those that differ least are left out.

    Returns:
        The same, NaN where there is nothing to say.
    """
    boxes = [bounds.boxes[value] for value in trusted.neurons]
    size = len(slopes)
    is_open = np.concatenate([open_phases(b).reshape(size, -1) for b in boxes], axis=1)
    canonical = np.concatenate([(b.upper >= -b.lower).reshape(size, -1) for b in boxes], axis=1)
    differs = np.where(is_open[:, None], np.abs(slopes - canonical[:, None]), 0.0)
    flat = differs.reshape(size, -1)
    most = max(largest - (flat.shape[1] + 7) // 8, 0)
    if most < flat.shape[1]:
        np.put_along_axis(flat, np.argsort(-flat, axis=1, kind="stable")[:, most:], 0.0, axis=1)
    return np.where(differs > 1 / 510, slopes, np.float32(np.nan))


def coarse(multipliers: Array) -> Array:
    """Multipliers to eight bits: what only rounding in torch makes different becomes the same."""
    mantissa, exponent = np.frexp(multipliers.astype(np.float64))
    rounded: Array = np.ldexp(np.rint(mantissa * 256) / 256, exponent).astype(np.float32)
    return rounded
