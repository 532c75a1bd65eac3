"""Change the constants of an operator, whatever operator it is."""

from __future__ import annotations

from collections.abc import Callable

from asi_verify.core.operators import Affine, Conv, FloatArray, Operator, Scale
from asi_verify.core.piecewise import LeakyRelu
from asi_verify.core.smooth import Gelu, LayerNormalization

__all__ = ["map_weights"]


def map_weights(operator: Operator, change: Callable[[FloatArray], FloatArray]) -> Operator:
    """The operator with every constant array replaced by ``change`` of it, exact from then on."""
    match operator:
        case Affine():
            return Affine(change(operator.weight), change(operator.bias))
        case Conv():
            return Conv(
                change(operator.weight),
                change(operator.bias),
                operator.strides,
                operator.pads,
                operator.dilations,
                operator.groups,
            )
        case Scale():
            return Scale(change(operator.scale), change(operator.shift))
        case LeakyRelu():
            return LeakyRelu(change(operator.slope))
        case Gelu():
            return Gelu(operator.tanh)
        case LayerNormalization():
            return LayerNormalization(
                change(operator.scale), change(operator.shift), operator.epsilon
            )
        case _:
            return operator
