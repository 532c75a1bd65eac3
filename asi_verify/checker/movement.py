"""The trusted rules of operators that move numbers without changing them: no rounding at all."""

from __future__ import annotations

import numpy as np

from asi_verify.checker.rules import Functionals, PushedBack, Rule
from asi_verify.core.box import Box
from asi_verify.core.operators import Shape, Transpose

__all__ = ["ReshapeRule", "TransposeRule"]


class ReshapeRule(Rule):
    """The same numbers in C order under another shape."""

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

    def __init__(self, operator: Transpose) -> None:
        self._forward = (0, *(axis + 1 for axis in operator.permutation))
        self._back = tuple(int(axis) for axis in np.argsort(self._forward))

    def interval(self, *boxes: Box) -> Box:
        (box,) = boxes
        return Box(box.lower.transpose(self._forward), box.upper.transpose(self._forward))

    def push_back(self, functionals: Functionals, *boxes: Box) -> PushedBack:
        return PushedBack((functionals.coefficients.transpose(self._back),), 0.0, 0.0)
