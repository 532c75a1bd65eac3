"""GELU as exporters spell it out before operator set 20: ``0.5 x (1 + erf(x / sqrt(2)))``.

A product of two values is read as that, with the factor 1/2 in any place or still to
come. ``1 / sqrt(2)`` is a float32 in the file, and runtimes that recognise the pattern replace it
by their own; the operator's slack covers both.
"""

from __future__ import annotations

from fractions import Fraction

from asi_verify.core.operators import Scale
from asi_verify.core.smooth import Erf, Gelu, Tanh
from asi_verify.lowering.graph import Graph, Value

__all__ = ["looks_like_a_gate", "spelled_gelu"]

_Line = tuple[Fraction, Fraction, float]
"""Factor, shift and slack of an element-wise map with one number for all."""


def spelled_gelu(graph: Graph, first: Value, second: Value) -> tuple[Value, Gelu, Fraction] | None:
    """What a product of two values is: ``factor * gelu(x)``; None if it is not.

    Returns:
        ``x``, the operator, and the factor: 1, or 2 where the half is still to come.
    """
    for given, gate in ((first, second), (second, first)):
        inner, height, shift, slack = _behind_scales(graph, gate)
        node = graph.made_by(inner)
        # The half and the 1 stand for themselves; a reciprocal of a division would not.
        if node is None or not isinstance(node.operator, Erf) or slack or height != shift:
            continue
        x, argument, no_shift, slack = _behind_scales(graph, graph.value(node.inputs[0]))
        source, half, nothing, inexact = _behind_scales(graph, given)
        off = _difference(argument, slack)
        same = source.index == x.index and no_shift == nothing == 0 and not inexact
        factor = 2 * half * height
        if same and off is not None and factor in (1, 2):
            return x, Gelu(slack=off), factor
    return None


def looks_like_a_gate(graph: Graph, value: Value) -> bool:
    """Whether a factor may be the gate of a GELU: an error function, or a tanh with a shift.

    Runtimes take such products for a GELU if their constants are those of one up to a tolerance,
    and then compute another function. So what is not one exactly is no product either.
    """
    shifted = False
    node = graph.made_by(value)
    while node is not None and isinstance(node.operator, Scale):
        shifted |= bool(node.operator.shift.any())
        node = graph.made_by(graph.value(node.inputs[0]))
    if node is None:
        return False
    return isinstance(node.operator, Erf) or (shifted and isinstance(node.operator, Tanh))


def _difference(factor: Fraction, slack: float) -> float | None:
    """How far a factor may be from ``1 / sqrt(2)``, relative to it; None if it is another one.

    ``|f sqrt(2) - 1| = |2 f^2 - 1| / (f sqrt(2) + 1)``, less than the numerator. ``f`` itself is
    known up to ``slack``.
    """
    off = abs(2 * factor * factor - 1) * Fraction(1 + 2.0**-20) + Fraction(2 * slack)
    return None if factor < 0 or off > Fraction(1, 2**21) else float(off) * (1 + 2.0**-20)


def _behind_scales(graph: Graph, value: Value) -> tuple[Value, Fraction, Fraction, float]:
    """The value that a chain of maps begins with, and what they make of it together."""
    factor, shift, slack = Fraction(1), Fraction(0), 0.0
    while True:
        node = graph.made_by(value)
        if node is None or not isinstance(node.operator, Scale):
            return value, factor, shift, slack
        scale, offset = node.operator.scale, node.operator.shift
        if scale.size != 1 or offset.size != 1:
            return value, factor, shift, slack
        shift += factor * Fraction(float(offset.item()))
        factor *= Fraction(float(scale.item()))
        slack += 2 * node.operator.slack
        value = graph.value(node.inputs[0])
