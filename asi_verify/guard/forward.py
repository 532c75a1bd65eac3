"""Intervals in a guard's graph: the box of every value but the logits.

The graph runs the model three times over: on the image; on the centre of each value's box; and with
the magnitudes of the weights on its width and centre, which gives the spread (``guard.slack``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from asi_verify.core.network import Network
from asi_verify.core.operators import Add, Affine, Conv, Operator, Scale, Shape
from asi_verify.core.radius import Radius
from asi_verify.guard.slack import LayerSlack, sum_slack, widened_radius
from asi_verify.guard.writer import Value, Writer
from asi_verify.lowering import INPUT_NAME

__all__ = ["Forward", "bounded", "centre_and_width"]


class Forward(NamedTuple):
    """What is known of every value but the logits.

    Attributes:
        values: their names.
        largest: at least the magnitude of every number of each, bounds included.
        terms: of the longest sum that each may be part of, the bias included; 0 for the image.
    """

    values: list[Value]
    largest: list[float]
    terms: list[int]


def bounded(network: Network, writer: Writer, radius: Radius) -> Forward:
    """Every value but the logits, and its box for the region around the image.

    Raises:
        ModelError: bounds could overflow, or a layer sums too many numbers.
    """
    reach = writer.number(widened_radius(radius.value))
    lower = writer.node("Sub", [INPUT_NAME, reach])
    upper = writer.node("Add", [INPUT_NAME, reach])
    values = [
        Value(
            INPUT_NAME,
            writer.node("Max", [lower, writer.number(0)]),
            writer.node("Min", [upper, writer.number(1)]),
        )
    ]
    largest, terms = [1.0], [0]
    for node in network.nodes[:-1]:
        operator, shape = node.operator, network.shapes[node.inputs[0]]
        inputs = [values[value] for value in node.inputs]
        sizes = [largest[value] for value in node.inputs]
        longest = max(terms[value] for value in node.inputs)
        if isinstance(operator, Affine | Conv | Scale):
            slack = LayerSlack.of(operator, max(sizes))
            values.append(_layer(writer, operator, slack, inputs[0], shape))
            largest.append(slack.largest)
            longest = slack.terms
        elif isinstance(operator, Add):
            factor, tiny, most = sum_slack(longest, max(sizes))
            values.append(_sum(writer, operator, factor, tiny, inputs, shape))
            largest.append(most)
        else:
            values.append(_mapped(writer, operator, inputs, shape))
            largest.append(max(sizes))
        terms.append(longest)
    return Forward(values, largest, terms)


def _mapped(writer: Writer, operator: Operator, inputs: Sequence[Value], shape: Shape) -> Value:
    return Value(
        *(writer.operator(operator, list(names), shape) for names in zip(*inputs, strict=True))
    )


def centre_and_width(writer: Writer, value: Value) -> tuple[str, str]:
    """``c`` and ``w`` of ``guard.slack``."""
    ends = writer.node("Add", [value.lower, value.upper])
    centre = writer.node("Mul", [ends, writer.number(0.5)])
    return centre, writer.node("Sub", [value.upper, value.lower])


def _layer(
    writer: Writer,
    operator: Affine | Conv | Scale,
    slack: LayerSlack,
    value: Value,
    shape: Shape,
) -> Value:
    centre, width = centre_and_width(writer, value)
    size = writer.node("Abs", [centre])
    weighed = writer.node(
        "Add",
        [
            writer.node("Mul", [width, writer.number(slack.on_width)]),
            writer.node("Mul", [size, writer.number(slack.on_centre)]),
        ],
    )
    middle = writer.operator(operator, [centre], shape)
    spread = writer.operator(slack.spread, [weighed], shape)
    return Value(
        writer.operator(operator, [value.point], shape),
        writer.node("Sub", [middle, spread]),
        writer.node("Add", [middle, spread]),
    )


def _sum(
    writer: Writer,
    operator: Add,
    factor: npt.NDArray[np.float32],
    tiny: npt.NDArray[np.float32],
    inputs: Sequence[Value],
    shape: Shape,
) -> Value:
    sizes = [
        writer.node("Max", [value.upper, writer.node("Neg", [value.lower])]) for value in inputs
    ]
    both = writer.node("Mul", [writer.node("Add", sizes), writer.number(factor)])
    slack = writer.node("Add", [both, writer.number(tiny)])
    exact = _mapped(writer, operator, inputs, shape)
    return Value(
        exact.point,
        writer.node("Sub", [exact.lower, slack]),
        writer.node("Add", [exact.upper, slack]),
    )
