"""Which rule each operator has."""

from __future__ import annotations

from asi_verify.checker.affine import AffineRule
from asi_verify.checker.bilinear import MatMulRule
from asi_verify.checker.convolution import ConvRule
from asi_verify.checker.curves import curve_of
from asi_verify.checker.elementwise import AddRule, ScaleRule
from asi_verify.checker.layer_norm import LayerNormalizationRule
from asi_verify.checker.max_pool import MaxPoolRule
from asi_verify.checker.movement import (
    ConcatRule,
    PadRule,
    ReshapeRule,
    SelectRule,
    TransposeRule,
)
from asi_verify.checker.piecewise import ClampRule, LeakyReluRule
from asi_verify.checker.relu import ReluRule
from asi_verify.checker.rules import Rule
from asi_verify.checker.smooth import SmoothRule
from asi_verify.checker.softmax import SoftmaxRule
from asi_verify.core.bilinear import MatMul
from asi_verify.core.moves import Pad, Select
from asi_verify.core.operators import (
    Add,
    Affine,
    Concat,
    Conv,
    MaxPool,
    Operator,
    Relu,
    Reshape,
    Scale,
    Shape,
    Transpose,
)
from asi_verify.core.piecewise import Clamp, LeakyRelu
from asi_verify.core.semantics import Semantics
from asi_verify.core.smooth import Erf, Gelu, LayerNormalization, Sigmoid, Softmax, Tanh
from asi_verify.errors import UnsupportedOperatorError

__all__ = ["rule_for"]


def rule_for(operator: Operator, semantics: Semantics, *shapes: Shape, summed: int = 0) -> Rule:
    """The trusted rule of an operator.

    Args:
        operator: the operator.
        semantics: what arithmetic it is run in.
        shapes: those of its inputs.
        summed: most terms of a sum that makes one of its inputs.

    Raises:
        UnsupportedOperatorError: there is none, or its sums are too long for these semantics.
    """
    try:
        return _rule(operator, semantics, shapes, summed)
    except ValueError as error:
        raise UnsupportedOperatorError(f"{type(operator).__name__}: {error}") from None


def _rule(operator: Operator, semantics: Semantics, shapes: tuple[Shape, ...], summed: int) -> Rule:
    match operator:
        case Affine():
            return AffineRule(operator, shapes[0], semantics)
        case Conv():
            return ConvRule(operator, shapes[0], semantics)
        case Scale():
            return ScaleRule(operator, shapes[0], semantics)
        case Add():
            return AddRule(semantics, summed)
        case MatMul():
            return MatMulRule(shapes[0], shapes[1], semantics)
        case Concat():
            return ConcatRule(operator, *shapes)
        case Reshape(shape=shape):
            return ReshapeRule(shapes[0], shape)
        case Transpose():
            return TransposeRule(operator)
        case Select():
            return SelectRule(operator, shapes[0])
        case Pad():
            return PadRule(operator, shapes[0])
        case _:
            return _relaxing_rule(operator, semantics, shapes[0])


def _relaxing_rule(operator: Operator, semantics: Semantics, shape: Shape) -> Rule:
    match operator:
        case Relu():
            return ReluRule()
        case LeakyRelu():
            return LeakyReluRule(operator, shape, semantics)
        case Clamp():
            return ClampRule(operator)
        case MaxPool():
            return MaxPoolRule(operator, shape)
        case Sigmoid() | Tanh() | Erf() | Gelu():
            return SmoothRule(curve_of(operator), semantics)
        case Softmax(axis=axis):
            return SoftmaxRule(axis, shape, semantics)
        case LayerNormalization():
            return LayerNormalizationRule(operator, semantics)
        case _:
            raise UnsupportedOperatorError(f"{type(operator).__name__} has no trusted rule")
