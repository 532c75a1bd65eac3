"""The trusted rules of operators that move numbers without changing them: no rounding at all."""

from __future__ import annotations

import itertools

import numpy as np

from asi_verify.checker.rules import Functionals, PushedBack, Rule
from asi_verify.core.box import Box
from asi_verify.core.operators import Concat, Shape, Transpose

__all__ = ["ConcatRule", "ReshapeRule", "TransposeRule"]


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
