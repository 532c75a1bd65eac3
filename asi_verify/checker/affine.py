"""The trusted rule of fully connected layers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from asi_verify.checker.rules import LinearRule
from asi_verify.core.operators import Affine, Shape
from asi_verify.core.semantics import Semantics

__all__ = ["AffineRule"]

Array = npt.NDArray[np.float64]


class AffineRule(LinearRule):
    """``W x + b`` for each vector along the last axis."""

    def __init__(self, operator: Affine, input_shape: Shape, semantics: Semantics) -> None:
        # float32 to float64 is exact.
        self._weight = operator.weight.astype(np.float64)
        self._magnitude = np.abs(self._weight)
        self._bias = operator.bias.astype(np.float64)
        self._output_shape = operator.output_shape(input_shape)
        super().__init__(
            semantics,
            slack=operator.slack,
            terms_forward=operator.weight.shape[1] + 1,
            terms_backward=operator.weight.shape[0],
            constants=operator.slack > 0,
            largest_weight=float(self._magnitude.max(initial=0.0)),
        )

    @property
    def bias(self) -> Array:
        return np.broadcast_to(self._bias, self._output_shape)

    def apply(self, x: Array) -> Array:
        return np.asarray(x @ self._weight.T + self._bias)

    def apply_magnitude(self, x: Array, bias_factor: float) -> Array:
        return np.asarray(x @ self._magnitude.T + bias_factor * np.abs(self._bias))

    def apply_transposed(self, a: Array) -> Array:
        return np.asarray(a @ self._weight)
