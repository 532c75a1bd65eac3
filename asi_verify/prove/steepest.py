"""Where a linear function is smallest in regions that are no boxes: the steps of Frank and Wolfe.

Descent in regions whose changes count together (Frank and Wolfe 1956; Jaggi 2013) goes from the
point where it is towards such a member. Nothing here is believed: what is found is drawn to the
nearest member and answered by ONNX Runtime.
"""

from __future__ import annotations

import itertools

import torch

from asi_verify.core.reach import (
    BallReach,
    IntensityReach,
    MeansReach,
    Norm,
    PatchReach,
    PixelReach,
    Reach,
)

__all__ = ["lowest_member"]

_FEW_PARAMETERS = 6
"""Of intensities: all their ends are tried."""


def lowest_member(
    reach: Reach, lower: torch.Tensor, upper: torch.Tensor, slope: torch.Tensor
) -> torch.Tensor:
    """A point of each region, or next to it, where ``slope . x`` is smallest or nearly so.

    Args:
        reach: what is known of the inputs of ``B`` samples besides their boxes.
        lower: of the boxes, float32, shape ``(B, *shape)``.
        upper: same shape.
        slope: same shape.
    """
    if isinstance(reach, IntensityReach):
        return _intensity(reach, slope)
    assert not isinstance(reach, MeansReach)  # no region is told of by means
    centre = torch.from_numpy((reach.centre.lower + reach.centre.upper) / 2)
    # Each number's end that is downhill, which alone would be the best of its box.
    ends = torch.where(slope > 0, lower, torch.where(slope < 0, upper, centre))
    if isinstance(reach, BallReach):
        return _in_ball(reach, centre, ends, slope)
    gains = (slope * (centre - ends)).sum(dim=1)
    chosen = _pixels(reach, gains) if isinstance(reach, PixelReach) else _window(reach, gains)
    return torch.where(chosen[:, None], ends, centre)


def _in_ball(
    reach: BallReach, centre: torch.Tensor, ends: torch.Tensor, slope: torch.Tensor
) -> torch.Tensor:
    flat, room = slope.flatten(1), (ends - centre).abs().flatten(1)
    if reach.norm is Norm.L2:
        length = flat.norm(dim=1, keepdim=True).clamp_min(torch.finfo(flat.dtype).tiny)
        # What a box cuts off is lost, not spent elsewhere.
        moves = (reach.radius * flat.abs() / length).minimum(room)
    else:
        order = flat.abs().argsort(dim=1, descending=True, stable=True)
        rooms = room.gather(1, order)
        before = rooms.cumsum(dim=1) - rooms
        spent = (reach.radius - before).clamp_min(0).minimum(rooms)
        moves = torch.zeros_like(room).scatter(1, order, spent)
    found: torch.Tensor = centre - slope.sign() * moves.reshape(slope.shape)
    return found


def _pixels(reach: PixelReach, gains: torch.Tensor) -> torch.Tensor:
    """The pixels that gain most, shape ``(B, *spatial)``."""
    flat = gains.flatten(1)
    best = flat.topk(min(reach.pixels, flat.shape[1]), dim=1).indices
    return torch.zeros_like(flat, dtype=torch.bool).scatter(1, best, True).reshape(gains.shape)


def _window(reach: PatchReach, gains: torch.Tensor) -> torch.Tensor:
    """The window that gains most, shape ``(B, *spatial)``."""
    sums = gains
    for axis, extent in enumerate(reach.window, start=1):
        sums = sums.unfold(axis, extent, 1).sum(dim=-1)
    best = sums.flatten(1).argmax(dim=1)
    chosen = torch.zeros_like(gains, dtype=torch.bool)
    corner = torch.unravel_index(best, sums.shape[1:])
    for offset in itertools.product(*map(range, reach.window)):
        at = [place + step for place, step in zip(corner, offset, strict=True)]
        chosen[(torch.arange(len(gains)), *at)] = True
    return chosen


def _intensity(reach: IntensityReach, slope: torch.Tensor) -> torch.Tensor:
    """The lowest of the images at the ends of the parameters.

    With many parameters the ends that would be best if nothing were cut off at black and white.
    """
    directions = [torch.from_numpy(reach.direction(k).copy()) for k in range(len(reach.fields))]
    lower, upper = torch.from_numpy(reach.lower), torch.from_numpy(reach.upper)
    column = (-1,) + (1,) * (slope.ndim - 1)

    def image(low: torch.Tensor) -> torch.Tensor:
        """Where each parameter is at its lower end, by sample, and at its upper one elsewhere."""
        values, point = torch.where(low, lower, upper), torch.from_numpy(reach.base).clone()
        for k, direction in enumerate(directions):
            point += values[:, k].reshape(column) * direction
        return point.clamp(0, 1)

    if len(directions) > _FEW_PARAMETERS:
        along = [(slope * direction).flatten(1).sum(dim=1) for direction in directions]
        return image(torch.stack(along, dim=1) > 0).to(slope.dtype)
    best = torch.full((len(slope),), torch.inf, dtype=torch.float64)
    found = torch.zeros_like(directions[0])
    for corner in itertools.product((True, False), repeat=len(directions)):
        point = image(torch.tensor(corner).expand_as(lower))
        value = (slope * point).flatten(1).sum(dim=1)
        found = torch.where((value < best).reshape(column), point, found)
        best = best.minimum(value)
    return found.to(slope.dtype)
