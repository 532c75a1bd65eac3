"""The trusted rule of layer normalisation, on the bounds of ``checker.statistics``.

Its rounding in binary32 is that of ``checker.layer_norm_float32``.

Let ``d_i = x_i - mean``, ``v`` the variance of ``n`` numbers, ``r = 1 / sqrt(v + epsilon)``.

*Backwards.* ``a . y = r w + a . shift`` with ``w = sum a_i scale_i d_i``, which is linear in
``x``. The smallest ``r w`` for ``r`` in ``[r_1, r_2]`` is a concave function of ``w``, so for any
``k`` the difference to ``k w`` is least at an end of ``[w_1, w_2]``; ``k`` is the chord's slope.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from asi_verify.checker.arithmetic import ETA, down, enlarged, gamma, gamma32, up
from asi_verify.checker.layer_norm_float32 import rounding
from asi_verify.checker.rules import Functionals, PushedBack, Rule, largest_magnitude
from asi_verify.checker.statistics import Statistics, constant_below, line_below, statistics_of
from asi_verify.core.box import Box
from asi_verify.core.operators import FloatArray
from asi_verify.core.semantics import Semantics
from asi_verify.core.smooth import LayerNormalization

__all__ = ["LayerNormalizationRule"]

Array = npt.NDArray[np.float64]


class LayerNormalizationRule(Rule):
    """``scale (x - mean) / sqrt(variance + epsilon) + shift`` over the last axes."""

    relaxes: ClassVar[bool] = True

    def __init__(self, operator: LayerNormalization, semantics: Semantics) -> None:
        self._scale = operator.scale.astype(np.float64).reshape(-1)
        self._shift = operator.shift.astype(np.float64).reshape(-1)
        self._epsilon = operator.epsilon
        self._count = self._scale.size
        self._in_float32 = semantics is Semantics.FLOAT32
        self._last: tuple[Box, Statistics] | None = None
        if self._in_float32:
            gamma32(self._count + 8)  # refuses sums that are too long

    def open_numbers(self, box: Box) -> npt.NDArray[np.bool_]:
        return np.asarray(box.lower < box.upper)

    def _groups(self, values: FloatArray) -> Array:
        """The numbers that are normalised together along the last of three axes."""
        return np.asarray(values, dtype=np.float64).reshape(len(values), -1, self._count)

    def interval(self, *boxes: Box) -> Box:
        (box,) = boxes
        low, high = self._output(self._statistics(box))
        local = self.local_error(box)
        if local is not None:
            low, high = down(low - self._groups(local)), up(high + self._groups(local))
        return Box(low.reshape(box.lower.shape), high.reshape(box.lower.shape))

    def _output(self, found: Statistics) -> tuple[Array, Array]:
        """Bounds of the exact output."""
        ends = [z * self._scale for z in found.z]
        low, high = down(np.minimum(*ends)), up(np.maximum(*ends))
        return down(low + self._shift), up(high + self._shift)

    def _statistics(self, box: Box) -> Statistics:
        """The bounds of each group; backward passes ask for those of one box again and again."""
        last = self._last
        if last is None or last[0] is not box:
            groups = self._groups(box.lower), self._groups(box.upper)
            last = (box, statistics_of(*groups, self._epsilon))
            self._last = last
        return last[1]

    def local_error(self, *boxes: Box) -> Array | None:
        if not self._in_float32:
            return None
        (box,) = boxes
        size = self._groups(largest_magnitude(box))
        error = rounding(
            self._statistics(box), size, self._epsilon, np.abs(self._scale), np.abs(self._shift)
        )
        return error.reshape(box.lower.shape)

    def largest_sum(self, *boxes: Box) -> Array | float:
        """Of the squares; and of the products that the output is made of."""
        (box,) = boxes
        largest = np.maximum(largest_magnitude(box).reshape(len(box), -1).max(axis=1), 1.0)
        scale, shift = float(np.abs(self._scale).max()), float(np.abs(self._shift).max())
        r = 1 / math.sqrt(self._epsilon) + 1
        reach = 4 * (1 + r) * (1 + scale) * (1 + largest) + 2 * shift
        return np.asarray(np.maximum(2 * self._count * largest * largest, reach))

    def push_back(self, functionals: Functionals, *boxes: Box) -> PushedBack:
        """``k`` times ``w``, as above; a constant where the output's bounds are better.

        The computed coefficients of ``w`` are off by at most ``gamma(n + 4) (|a_i scale_i| + their
        mean)``, which moves ``w`` by ``off``; ``[w_1, w_2]`` is widened by it. Products with ``k``
        are off by one rounding, sums by ``gamma`` of their length.
        """
        if functionals.owners is None:
            raise ValueError("the bounds are those of a sample; give each functional its own")
        (box,), owners, n = boxes, functionals.owners, self._count
        found = self._statistics(box)
        lower, upper = self._groups(box.lower)[owners], self._groups(box.upper)[owners]
        size = np.maximum(np.abs(lower), np.abs(upper))
        a = self._groups(functionals.coefficients)
        local = self.local_error(box)
        # Beyond the range of the analysis a NaN comes out, which proves nothing.
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            weighted = a * self._scale
            centred = weighted - weighted.sum(axis=2, keepdims=True) / n
            mean = enlarged(np.abs(weighted).sum(axis=2, keepdims=True), n) / n
            reach = enlarged(((np.abs(weighted) + mean) * size).sum(axis=2), n)
            off = enlarged(gamma(n + 8) * reach, 2) + 8 * n * ETA
            products = centred * lower, centred * upper
            w = (
                down(np.minimum(*products).sum(axis=2) - up(2 * off)),
                up(np.maximum(*products).sum(axis=2) + up(2 * off)),
            )
            k, constant = line_below(w, (found.r[0][owners, :, 0], found.r[1][owners, :, 0]))
            flat = constant_below(weighted * found.z[0][owners], weighted * found.z[1][owners])
            better = flat > 0.5 * k * (w[0] + w[1]) + constant
            k, constant = np.where(better, 0.0, k), np.where(better, flat, constant)

            b = k[:, :, None] * centred
            count, terms = len(a), functionals.size
            shifted = (a * self._shift).reshape(count, -1)
            rounded = (np.abs(b) * size).reshape(count, -1).sum(axis=1)
            sums = np.abs(shifted).sum(axis=1) + np.abs(constant).sum(axis=1)
            error = gamma(terms + k.shape[1] + 4) * enlarged(rounded + sums, 2 * terms)
            error = error + enlarged(k * 2 * off, 2).sum(axis=1) + 8 * terms * ETA
            if local is not None:
                error = error + enlarged(functionals.absolute().dot(local), terms)
            return PushedBack(
                (b.reshape(functionals.coefficients.shape),),
                constant.sum(axis=1) + shifted.sum(axis=1),
                enlarged(error, terms + 4),
            )
