"""Lower bounds on functionals of the input over balls, few changed pixels and patches."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from asi_verify.checker.arithmetic import LIMIT, UNIT, down, enlarged, up
from asi_verify.checker.intensity import lowest_under
from asi_verify.checker.rules import Functionals, Rule, largest_magnitude, largest_of_each
from asi_verify.core.box import SMALLEST_NORMAL, Box
from asi_verify.core.network import Network
from asi_verify.core.operators import Conv, Scale
from asi_verify.core.reach import (
    BallReach,
    IntensityReach,
    MeansReach,
    Norm,
    PatchReach,
    PixelReach,
    Reach,
)

__all__ = ["carried", "lowest_over"]

Array = npt.NDArray[np.float64]
_ROUNDS = 8
"""Of the search for a good split; any number is right."""


def lowest_over(reach: Reach | None, functionals: Functionals, box: Box) -> Array:
    """At most the smallest value of functionals of the input, in the form of their results.

    Or of the value that the reach is told of.

    Args:
        reach: what is known of the inputs of ``B`` samples besides their box, before any of them
            is read as 0.
        functionals: of the input.
        box: float64, where all these inputs lie.
    """
    if reach is None:
        return functionals.lowest(box)
    # Positions at which all coefficients are 0 add nothing; what the first layer reads are few.
    each = functionals.one_per_sample(len(box))
    a = each.coefficients.reshape(len(each.coefficients), box.shape[0], -1)
    used = np.flatnonzero(a.any(axis=(0, 1)))
    each, box = Functionals(a[:, :, used], each.owners), _at(box, used)
    found = each.lowest(box)
    if len(used):
        known = (
            lowest_under(reach, used, each)
            if isinstance(reach, IntensityReach)
            else _around(reach, _at(reach.centre, used), used, each, box)
        )
        found = np.maximum(found, down(known - _flushed(each)))
    return found if functionals.owners is not None else found.reshape(len(box), -1)


def carried(reach: Reach | None, network: Network, rules: Sequence[Rule], box: Box) -> Reach | None:
    """Few changed pixels as the means of windows see them, where a network begins with such means.

    A functional of the means bounds the same as one of the pixels and is as many times shorter as
    a window is large. For one channel, scaled by positive numbers or not, and windows that do not
    overlap; whatever else is known is returned as it is.

    Let ``x`` be an input, ``c`` one in the centre that it differs from in the changed pixels alone.
    A layer gives ``W x + b + e`` with an ``e`` of at most the local error over the box: that is
    ``W c + b + e``, which lies in the centre's interval widened by that error, and the change
    ``W (x - c)``. As ``W`` reads each number once, changes of different pixels stay apart, and each
    is multiplied by its weight. The same holds of the next layer, for this layer's output and
    ``W c + b + e``.

    Args:
        reach: of the inputs, before any of them is read as 0.
        network: what reads them.
        rules: of its nodes.
        box: float64, where the inputs lie.
    """
    if not isinstance(reach, PixelReach):
        return reach
    # That an input may be read as 0 is part of a layer's local error.
    centre, hull = (
        Box(ends.lower.astype(np.float64), ends.upper.astype(np.float64))
        for ends in (reach.centre, reach.hull)
    )
    below, above = up(centre.lower - hull.lower), up(hull.upper - centre.upper)
    for value, (node, rule) in enumerate(zip(network.nodes, rules, strict=True), 1):
        operator = node.operator
        # Beyond the limit nothing is proved, and products of such numbers may be no numbers.
        if node.inputs != (value - 1,) or not bool((largest_of_each(box) <= LIMIT).all()):
            return reach
        if isinstance(operator, Scale) and bool(np.all(operator.scale > 0)):
            weight = operator.scale.astype(np.float64)
        elif isinstance(operator, Conv) and _means_apart(operator, network.shapes[value - 1]):
            weight = operator.weight.astype(np.float64).max()
        else:
            return reach
        weight = up(weight * (1 + 2 * operator.slack))
        below, above = up(below * weight), up(above * weight)
        error, centre = rule.local_error(box), rule.interval(centre)
        if error is not None:
            centre = Box(down(centre.lower - error), up(centre.upper + error))
        if isinstance(operator, Conv):
            # A functional of a value before would be bounded over its box alone.
            if any(min(later.inputs) < value for later in network.nodes[value:]):
                return reach
            window, most = operator.kernel, reach.pixels
            below, above = (_largest_of_windows(side, window, most) for side in (below, above))
            return MeansReach(centre, below, above, most, value)
        box = rule.interval(box)
    return reach


def _means_apart(operator: Conv, shape: tuple[int, ...]) -> bool:
    """Whether it adds up windows side by side that cover one channel, with one positive weight."""
    return (
        operator.weight.shape[:2] == (1, 1)
        and operator.strides == operator.kernel
        and set(operator.dilations) == {1}
        and not any(map(any, operator.pads))
        and not any(extent % side for extent, side in zip(shape[1:], operator.kernel, strict=True))
        and bool(np.all(operator.weight == operator.weight.flat[0]))
        and bool(operator.weight.flat[0] > 0)
    )


def _largest_of_windows(numbers: Array, window: tuple[int, ...], most: int) -> Array:
    """The largest numbers of each window, ``(B, 1, *spatial)`` to ``(B, M, positions)``."""
    samples, _, *spatial = numbers.shape
    split = [
        n for extent, side in zip(spatial, window, strict=True) for n in (extent // side, side)
    ]
    inside = range(2, 2 * len(window) + 1, 2)
    apart = np.moveaxis(numbers.reshape(samples, *split), inside, range(-len(window), 0))
    size = math.prod(window)
    ordered = -np.sort(-apart.reshape(samples, -1, size), axis=2)
    return np.ascontiguousarray(np.moveaxis(ordered[:, :, :most], 2, 1))


def _flushed(functionals: Functionals) -> Array:
    """At least what reading subnormal float32 inputs as 0 can change: the box allows for it."""
    sizes = np.abs(functionals.flat).sum(axis=1)
    return enlarged(SMALLEST_NORMAL * sizes, functionals.size)


def _around(
    reach: BallReach | PixelReach | MeansReach | PatchReach,
    centre: Box,
    used: npt.NDArray[np.intp],
    functionals: Functionals,
    box: Box,
) -> Array:
    """Over all that lies around a centre in one way or another."""
    if isinstance(reach, BallReach):
        return _over_ball(reach, centre, functionals, box)
    if isinstance(reach, MeansReach):
        most = _most_of_pixels(reach.pixels, _falls_of_means(reach, used, functionals))
        return down(functionals.lowest(centre) - most)
    falls = _falls(centre, _at(reach.hull, used), functionals)
    if isinstance(reach, PatchReach):
        most = _most_of_a_window(reach, used, falls)
    else:
        most = _most_of_pixels(reach.pixels, falls)
    return down(functionals.lowest(centre) - most)


def _over_ball(reach: BallReach, centre: Box, functionals: Functionals, box: Box) -> Array:
    """For every split ``a = p + q``: ``p`` over the ball, and ``q`` over the box.

    By Hoelder, ``p . x = p . c + p . (x - c) >= p . c - R |p|`` in the dual norm: the largest
    coefficient for L1, the Euclidean norm for L2. The computed sum of squares is off by roundings
    and by at most ``N 2**-1022`` for squares that underflow, which ``enlarged`` covers.

    The computed ``q = a - p`` is off by at most one unit of roundoff of it (``2 UNIT |q|`` and, as
    that product may underflow, what ``enlarged`` adds), so ``q . x`` by that times ``|x|``.
    """
    a, owners = functionals.flat, functionals.owners
    below, above = centre.lower - box.lower, box.upper - centre.upper
    room = np.maximum(np.where(a > 0, _of_owners(below, owners), _of_owners(above, owners)), 0)
    with np.errstate(over="ignore", invalid="ignore"):
        if reach.norm is Norm.L1:
            most = _level(np.abs(a), room, reach.radius)
        else:
            most = _slope(np.abs(a), room, reach.radius) * room
        # Without a choice, which extreme numbers may leave, all of it goes to the ball.
        share = np.fmin(np.abs(a), most)
    p = np.copysign(share, a)
    over_ball = Functionals(p.reshape(functionals.coefficients.shape), owners)
    over_box = Functionals((a - p).reshape(functionals.coefficients.shape), owners)
    if reach.norm is Norm.L1:
        dual = share.max(axis=1)
    else:
        dual = up(np.sqrt(enlarged(np.einsum("pn,pn->p", p, p), functionals.size)))
    lowest = down(over_ball.lowest(centre) - up(reach.radius * dual))
    lowest = down(lowest + over_box.lowest(box))
    rounded = 2 * UNIT * over_box.absolute().dot(largest_magnitude(box))
    return down(lowest - enlarged(rounded, functionals.size))


def _level(sizes: Array, room: Array, radius: float) -> Array:
    """The best ``|p_i| = min(|a_i|, level)`` for L1, shape ``(P, 1)``; only a choice.

    The largest coefficients use up their room in the box until the radius is used up.
    """
    order = np.argsort(-sizes, axis=1)
    used_up = np.take_along_axis(room, order, axis=1).cumsum(axis=1) >= radius
    last = np.take_along_axis(order, used_up.argmax(axis=1)[:, None], axis=1)
    return np.where(used_up[:, -1:], np.take_along_axis(sizes, last, axis=1), 0)


def _slope(sizes: Array, room: Array, radius: float) -> Array:
    """The best ``|p_i| = min(|a_i|, slope room_i)`` for L2, shape ``(P, 1)``; only a choice.

    The lowest point changes by ``min(|a_i| / slope, room_i)``, with the slope that makes its length
    the radius. Whatever reaches the end of its room leaves more of the radius to the others.
    """
    slope = np.zeros((len(sizes), 1))
    free = room > 0
    for _ in range(_ROUNDS):
        left = radius**2 - np.where(free, 0, room**2).sum(axis=1, keepdims=True)
        pull = np.where(free, sizes**2, 0).sum(axis=1, keepdims=True)
        slope = np.sqrt(np.divide(pull, left, out=np.zeros_like(pull), where=left > 0))
        ended = free & (sizes > slope * room)
        if not bool(ended.any()):
            break
        free &= ~ended
    return slope


def _falls(centre: Box, hull: Box, functionals: Functionals) -> Array:
    """By how much each pixel can lower a functional below its lowest value over the centre.

    A changed pixel lowers it by at most the sum of ``|a_i| d_i`` over its channels, ``d_i`` being
    how far the hull exceeds the centre on the side to which ``a_i`` falls; an unchanged one by
    nothing. Rounded upwards; shape ``(P, positions)``.
    """
    a, owners = functionals.flat, functionals.owners
    below, above = centre.lower - hull.lower, hull.upper - centre.upper
    falls = np.abs(a) * np.where(a > 0, _of_owners(below, owners), _of_owners(above, owners))
    channels = centre.shape[0]
    return enlarged(falls.reshape(len(a), channels, -1).sum(axis=1), channels)


def _falls_of_means(
    reach: MeansReach, used: npt.NDArray[np.intp], functionals: Functionals
) -> Array:
    """By how much each of the pixels that change a mean most can lower a functional of the means.

    Any pixels of one window together take away at most as much as so many of the first. Rounded
    upwards; shape ``(P, M * positions)``.
    """
    a, owners = functionals.flat[:, None], functionals.owners
    below, above = reach.below[:, :, used][owners], reach.above[:, :, used][owners]
    room = np.where(a > 0, below, above)
    return enlarged((np.abs(a) * room).reshape(len(a), -1), 1)


def _most_of_pixels(pixels: int, falls: Array) -> Array:
    """At least what any so many pixels can take away together.

    The falls are rounded upwards, so the largest of them, as computed, together exceed the exact
    ones of any other pixels.
    """
    kept = max(falls.shape[1] - pixels, 0)
    largest = np.partition(falls, kept, axis=1)[:, kept:]
    return enlarged(largest.sum(axis=1), largest.shape[1])


def _most_of_a_window(reach: PatchReach, used: npt.NDArray[np.intp], falls: Array) -> Array:
    """At least what the pixels of any one window can take away together.

    Every sum over a window is made of its own terms alone, none of which is subtracted again, so
    each as computed, enlarged, is above its exact one.
    """
    spatial = reach.centre.shape[1:]
    sums = np.zeros((len(falls), math.prod(spatial)))
    sums[:, used] = falls
    sums = sums.reshape(len(falls), *spatial)
    for axis, side in enumerate(reach.window, 1):
        sums = np.lib.stride_tricks.sliding_window_view(sums, side, axis).sum(axis=-1)
    return enlarged(sums.reshape(len(falls), -1).max(axis=1), math.prod(reach.window))


def _at(box: Box, positions: npt.NDArray[np.intp]) -> Box:
    """The float64 box of the numbers at some positions, shape ``(B, channels, positions)``."""
    form = (len(box), box.shape[0], -1)
    lower, upper = (end.reshape(form)[:, :, positions] for end in (box.lower, box.upper))
    return Box(lower.astype(np.float64), upper.astype(np.float64))


def _of_owners(numbers: Array, owners: npt.NDArray[np.intp] | None) -> Array:
    """Each functional's own sample's numbers, flat."""
    return numbers.reshape(len(numbers), -1)[owners]
