"""The torch forms of the operators that move numbers without changing them."""

from __future__ import annotations

import torch

from asi_verify.core.moves import Pad, Select
from asi_verify.core.operators import Concat, Reshape, Transpose
from asi_verify.export.torch_layer import Layer

__all__ = ["moving_layer_for"]


class ReshapeLayer(Layer):
    """The same numbers under another shape."""

    def __init__(self, operator: Reshape) -> None:
        super().__init__(operator)
        self._shape = operator.shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(x.shape[0], *self._shape)


class TransposeLayer(Layer):
    """The axes of a sample in another order."""

    def __init__(self, operator: Transpose) -> None:
        super().__init__(operator)
        self._permutation = (0, *(axis + 1 for axis in operator.permutation))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(self._permutation)


class ConcatLayer(Layer):
    """Values one after the other along an axis."""

    def __init__(self, operator: Concat) -> None:
        super().__init__(operator)
        self._axis = operator.axis + 1

    def forward(self, *values: torch.Tensor) -> torch.Tensor:
        return torch.cat(values, self._axis)


class SelectLayer(Layer):
    """What stands at some places along one axis."""

    places: torch.Tensor

    def __init__(self, operator: Select) -> None:
        super().__init__(operator)
        self._axis = operator.axis + 1
        self.register_buffer("places", torch.tensor(operator.places))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.index_select(x, self._axis, self.places)


class PadLayer(Layer):
    """A value with one number put around it, or zeros between its numbers."""

    def __init__(self, operator: Pad) -> None:
        super().__init__(operator)
        self._pad = operator

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shape = tuple(x.shape[1:])
        result = x.new_full((len(x), *self._pad.output_shape(shape)), self._pad.fill)
        result[(slice(None), *self._pad.inner(shape))] = x
        return result


def moving_layer_for(operator: Reshape | Transpose | Concat | Select | Pad) -> Layer:
    """The torch form of an operator."""
    match operator:
        case Reshape():
            return ReshapeLayer(operator)
        case Transpose():
            return TransposeLayer(operator)
        case Concat():
            return ConcatLayer(operator)
        case Select():
            return SelectLayer(operator)
        case Pad():
            return PadLayer(operator)
