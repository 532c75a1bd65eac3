"""Products of two values that both depend on the input."""

from __future__ import annotations

from dataclasses import dataclass

from asi_verify.core.operators import Operator, Shape
from asi_verify.errors import ModelError

__all__ = ["MatMul"]


@dataclass(frozen=True)
class MatMul(Operator):
    """The matrix product of two values along their last two axes (ONNX MatMul of two values, Mul).

    For each place along the axes before these, which both have; numbers are 1 x 1 matrices.
    """

    @property
    def arity(self) -> int:
        return 2

    def output_shape(self, *inputs: Shape) -> Shape:
        first, second = inputs
        fits = len(first) == len(second) >= 2 and first[:-2] == second[:-2]
        if not fits or first[-1] != second[-2]:
            raise ModelError(f"matmul: values of shapes {first} and {second}")
        return (*first[:-1], second[-1])
