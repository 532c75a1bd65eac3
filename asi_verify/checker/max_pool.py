"""The trusted rule of max pooling.

For one window let ``y = max_j x_j`` with ``x_j`` in ``[l_j, u_j]``, ``m`` the number with the
largest upper bound and ``v`` the largest upper bound of the others. Then for any ``j``

    y >= x_j    and    y <= max(x_m, v);

where ``l_m >= v``, ``y`` is ``x_m``. Otherwise ``l_m < v <= u_m``, and for ``a < 0`` and *any*
``b`` the function ``a max(x_m, v) - b x_m`` is concave in ``x_m``, so smallest at ``l_m`` or
``u_m``, and

    a y >= b x_m + min(a v - b l_m, (a - b) u_m).

Which ``j`` and ``b`` are taken decides how good the bound is, never whether it is one.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.checker.arithmetic import ETA, enlarged, gamma
from asi_verify.checker.rules import Functionals, PushedBack, Rule, largest_magnitude
from asi_verify.core.box import Box
from asi_verify.core.operators import MaxPool, Shape

__all__ = ["MaxPoolRule"]

Array = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.floating[Any]]


class MaxPoolRule(Rule):
    """The largest number under each window; padding is minus infinity.

    Comparisons do not round, in float32 either. Where they take a subnormal number for zero, so
    does what reads the result, and its rule counts that.
    """

    relaxes = True

    def __init__(self, operator: MaxPool, input_shape: Shape) -> None:
        self._input_shape = input_shape
        self._output_shape = operator.output_shape(input_shape)
        # Where the numbers under each window lie in their channel, shape (windows, kernel), in the
        # order of the kernel; padding lies behind the channel's last number.
        sizes, windows = input_shape[1:], self._output_shape[1:]
        places = np.zeros((math.prod(windows), math.prod(operator.kernel)), dtype=np.intp)
        inside = np.ones(places.shape, dtype=np.bool_)
        starts = np.indices(windows).reshape(len(windows), -1, 1)
        offsets = np.array(list(itertools.product(*map(range, operator.kernel)))).T[:, None]
        for axis, size in enumerate(sizes):
            place = starts[axis] * operator.strides[axis] - operator.pads[axis][0]
            place = place + offsets[axis] * operator.dilations[axis]
            inside &= (place >= 0) & (place < size)
            places = places * size + place
        self._size = math.prod(sizes)
        self._places = np.where(inside, places, self._size)

    def _under(self, values: FloatArray) -> Array:
        """The numbers under each window, ``(B, channels, windows, kernel)``."""
        channels = values.reshape(len(values), self._input_shape[0], self._size)
        padded = np.pad(channels, ((0, 0), (0, 0), (0, 1)), constant_values=-np.inf)
        return np.asarray(padded[:, :, self._places])

    def interval(self, *boxes: Box) -> Box:
        (box,) = boxes
        shape = (len(box), *self._output_shape)
        lower, upper = (self._under(b).max(axis=3).reshape(shape) for b in (box.lower, box.upper))
        return Box(lower, upper)

    def push_back(self, functionals: Functionals, *boxes: Box) -> PushedBack:
        """From below ``x_j`` with the largest ``l_j``, of those the largest ``u_j``, the first.

        From above the chord of ``max(x_m, v)``, whose slope is ``(u_m - v) / (u_m - l_m)``.

        Let ``M`` be the largest magnitude under a window, ``W`` the number of windows over all
        channels and ``K`` that of the kernel. As ``|b| <= |a|``, a term of the constant is off by
        at most ``gamma(3) 2 |a| M`` and their sum by ``gamma(W + 3) sum 2 |a| M``. An input is the
        chosen one of at most ``K`` windows, so its coefficient, the sum of their ``b``, is off by
        ``gamma(K) sum |b|``, and the functional by ``gamma(K) sum |a| M``. Underflow adds at most
        5 ``ETA`` a window. Where ``y`` is ``x_m``, ``b = a`` and the term is 0, both exactly.
        """
        (box,) = boxes
        if functionals.owners is None:
            raise ValueError("a window's choice is that of a sample; give each functional its own")
        samples, owners = np.unique(functionals.owners, return_inverse=True)
        box = box[samples]
        lower, upper = self._under(box.lower), self._under(box.upper)
        below = np.where(lower == lower.max(axis=3, keepdims=True), upper, -np.inf).argmax(axis=3)
        top = upper.argmax(axis=3)
        rest = np.where(np.arange(upper.shape[3]) == top[..., None], -np.inf, upper).max(axis=3)
        l_m, u_m = (np.take_along_axis(b, top[..., None], 3)[..., 0] for b in (lower, upper))
        is_open = l_m < rest
        l_m, u_m, rest = (np.where(is_open, bound, 0.0) for bound in (l_m, u_m, rest))
        with np.errstate(divide="ignore", invalid="ignore"):
            chord = np.where(is_open, (u_m - rest) / (u_m - l_m), 1.0)

        count, channels = len(owners), self._input_shape[0]
        a = functionals.coefficients.reshape(count, channels, -1)
        b = np.where(a < 0, a * chord[owners], a)
        constants = np.minimum(a * rest[owners] - b * l_m[owners], (a - b) * u_m[owners])
        window = np.arange(len(self._places))
        from_above, from_below = (self._places[window, n][owners] for n in (top, below))
        place = np.where(a < 0, from_above, from_below)
        place = place + self._size * np.arange(count * channels).reshape(count, channels, 1)
        pushed = np.bincount(place.ravel(), b.ravel(), count * channels * self._size)
        magnitudes = self._under(largest_magnitude(box)).max(axis=3)
        reach = enlarged(np.einsum("pcw,pcw->p", np.abs(a), magnitudes[owners]), functionals.size)
        terms = functionals.size + self._places.shape[1] + 3
        return PushedBack(
            (np.asarray(pushed, dtype=np.float64).reshape(count, *self._input_shape),),
            constants.reshape(count, -1).sum(axis=1),
            enlarged(2 * gamma(terms) * reach, 1) + 8 * functionals.size * ETA,
        )
