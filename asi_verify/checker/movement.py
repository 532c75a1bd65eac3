"""The trusted rules of operators that move numbers without changing them: no rounding at all.

Where a subnormal number is taken for zero on the way, so it is by what reads the result, and the
rule of that counts it.
"""

from __future__ import annotations

import itertools

import numpy as np

from asi_verify.checker.arithmetic import ETA, enlarged, gamma
from asi_verify.checker.rules import Functionals, PushedBack, Rule, largest_magnitude
from asi_verify.core.box import Box
from asi_verify.core.moves import Pad, Select
from asi_verify.core.operators import Concat, FloatArray, Shape, Transpose

__all__ = ["ConcatRule", "PadRule", "ReshapeRule", "SelectRule", "TransposeRule"]


class ConcatRule(Rule):
    """Values one after the other along an axis."""

    moves = True

    def __init__(self, operator: Concat, *input_shapes: Shape) -> None:
        # With the axis of samples or functionals in front.
        self._axis = operator.axis + 1
        extents = (shape[operator.axis] for shape in input_shapes)
        self._ends = list(itertools.accumulate(extents))[:-1]

    def interval(self, *boxes: Box) -> Box:
        lower = np.concatenate([box.lower for box in boxes], self._axis)
        return Box(lower, np.concatenate([box.upper for box in boxes], self._axis))

    def push_back(self, functionals: Functionals, *boxes: Box) -> PushedBack:
        parts = np.split(functionals.coefficients, self._ends, self._axis)
        return PushedBack(parts, 0.0, 0.0)


class ReshapeRule(Rule):
    """The same numbers in C order under another shape."""

    moves = True

    def __init__(self, input_shape: Shape, output_shape: Shape) -> None:
        self._input_shape = input_shape
        self._output_shape = output_shape

    def interval(self, *boxes: Box) -> Box:
        (box,) = boxes
        shape = (len(box), *self._output_shape)
        return Box(box.lower.reshape(shape), box.upper.reshape(shape))

    def push_back(self, functionals: Functionals, *boxes: Box) -> PushedBack:
        coefficients = functionals.coefficients
        return PushedBack((coefficients.reshape(len(coefficients), *self._input_shape),), 0.0, 0.0)


class TransposeRule(Rule):
    """The axes of a sample in another order."""

    moves = True

    def __init__(self, operator: Transpose) -> None:
        self._forward = (0, *(axis + 1 for axis in operator.permutation))
        self._back = tuple(int(axis) for axis in np.argsort(self._forward))

    def interval(self, *boxes: Box) -> Box:
        (box,) = boxes
        return Box(box.lower.transpose(self._forward), box.upper.transpose(self._forward))

    def push_back(self, functionals: Functionals, *boxes: Box) -> PushedBack:
        return PushedBack((functionals.coefficients.transpose(self._back),), 0.0, 0.0)


class SelectRule(Rule):
    """What stands at some places along one axis."""

    moves = True

    def __init__(self, operator: Select, input_shape: Shape) -> None:
        self._axis = operator.axis + 1
        self._places = np.array(operator.places)
        self._input_shape = input_shape
        self._most = int(np.bincount(self._places).max())

    def interval(self, *boxes: Box) -> Box:
        (box,) = boxes
        lower, upper = (np.take(a, self._places, self._axis) for a in (box.lower, box.upper))
        return Box(lower, upper)

    def push_back(self, functionals: Functionals, *boxes: Box) -> PushedBack:
        """Exact where no place is taken twice; else sums of at most ``k`` coefficients.

        The computed sum is off by at most ``gamma(k) sum |a|`` over what it is made of, so the
        functional by ``gamma(k) sum |a| |x|`` over all. Sums do not underflow.
        """
        a = np.moveaxis(functionals.coefficients, self._axis, 0)
        summed = np.zeros((self._input_shape[self._axis - 1], *a.shape[1:]))
        if self._most == 1:
            summed[self._places] = a
            return PushedBack((np.moveaxis(summed, 0, self._axis),), 0.0, 0.0)
        np.add.at(summed, self._places, a)
        size = largest_magnitude(self.interval(*boxes))
        reach = enlarged(functionals.absolute().dot(size), functionals.size)
        error = enlarged(gamma(self._most) * reach, 1)
        return PushedBack((np.moveaxis(summed, 0, self._axis),), 0.0, error)


class PadRule(Rule):
    """A value with one number put around it, or zeros between its numbers."""

    moves = True

    def __init__(self, operator: Pad, input_shape: Shape) -> None:
        self._output_shape = operator.output_shape(input_shape)
        self._inner = (slice(None), *operator.inner(input_shape))
        self._fill = operator.fill

    def interval(self, *boxes: Box) -> Box:
        (box,) = boxes
        return Box(self._padded(box.lower), self._padded(box.upper))

    def _padded(self, values: FloatArray) -> FloatArray:
        result = np.full((len(values), *self._output_shape), self._fill)
        result[self._inner] = values
        return result

    def push_back(self, functionals: Functionals, *boxes: Box) -> PushedBack:
        """The coefficients of what is inside; those around it make a constant, ``fill sum a``.

        Its sum and product are off by at most ``gamma(N + 1) |fill| sum |a| + ETA``.
        """
        inside = functionals.coefficients[self._inner]
        if self._fill == 0:
            return PushedBack((inside,), 0.0, 0.0)
        around = functionals.coefficients.copy()
        around[self._inner] = 0.0
        flat, terms = around.reshape(len(around), -1), functionals.size
        constant = self._fill * flat.sum(axis=1)
        reach = enlarged(abs(self._fill) * np.abs(flat).sum(axis=1), terms + 1)
        error = enlarged(gamma(terms + 1) * reach, 1) + 2 * ETA
        if functionals.owners is None:
            return PushedBack((inside,), constant[None], error[None])
        return PushedBack((inside,), constant, error)
