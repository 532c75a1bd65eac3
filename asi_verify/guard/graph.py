"""The guard's graph: a model that answers only where the region around the image is certified.

One ONNX file with the input ``image``, float32 ``(N, *input_shape)`` in [0, 1], and the outputs

- ``label``, int64 ``(N,)``: what the model answers for the image itself;
- ``answered``, bool ``(N,)``: whether no layer of the guard refuses;
- ``margin``, float32 ``(N,)``: a lower bound on how far the label's logit is above every other one,
  everywhere in the region around the image; minus infinity where a pixel is NaN or outside [0, 1];
- ``reason``, int64 ``(N,)``: the sum of the codes of what refuses (``guard.reasons``), 0 if nothing
  does.

The graph runs the model three times over: on the image; on the centre of each value's box; and with
the magnitudes of the weights on its width and centre, which gives the spread (``guard.slack``).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from asi_verify.core.canonical import bytes_digest
from asi_verify.core.network import Network
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
from asi_verify.core.radius import Radius
from asi_verify.errors import ModelError, UnsupportedOperatorError
from asi_verify.guard.monitors import Monitors
from asi_verify.guard.reasons import Reason
from asi_verify.guard.seal import sealed
from asi_verify.guard.slack import LayerSlack, differences, sum_slack, widened_radius
from asi_verify.lowering import INPUT_NAME, GraphWriter, read_network, write_artifact

__all__ = [
    "FORMAT",
    "OUTPUTS",
    "statistics_names",
    "write_guard",
    "write_measures",
    "write_statistics",
]

FORMAT = "asi-verify/guard/1"
OUTPUTS = ("label", "answered", "margin", "reason")

_MOST_CLASSES = 100
"""Differences of logits grow with the square of the classes."""

_PARTS = 4
"""Into how many parts each axis of an image is divided, or one or two more, for its layout."""

_MONOTONE = (Relu, MaxPool, Reshape, Transpose, Concat)
"""Operators that map the ends of a box to the ends of the box of the output, without rounding."""


class _Value(NamedTuple):
    """Names of one value of the network: for the image itself, and the ends of its box."""

    point: str
    lower: str
    upper: str


class _Writer(GraphWriter):
    """A graph in which equal constants are held once."""

    def __init__(self) -> None:
        super().__init__()
        self._held: dict[tuple[str, Shape, bytes], str] = {}

    def constant(self, array: npt.NDArray[Any]) -> str:
        digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).digest()
        key = (array.dtype.str, array.shape, digest)
        if key not in self._held:
            self._held[key] = super().constant(array)
        return self._held[key]

    def number(self, value: float | np.floating[Any] | npt.NDArray[np.float32]) -> str:
        """A float32 constant of shape ``()``."""
        return self.constant(np.array(value, dtype=np.float32))

    def integers(self, *values: int) -> str:
        """A constant list of integers."""
        return self.constant(np.array(values, dtype=np.int64))

    def all_of(self, truths: str) -> str:
        """Whether all are true for each image, ``(N, k)`` to ``(N,)``."""
        numbers = self.node("Cast", [truths], to=1)
        least = self.node("ReduceMin", [numbers], axes=[1], keepdims=0)
        return self.node("Greater", [least, self.number(0.5)])

    def within(self, values: str, lower: npt.NDArray[Any], upper: npt.NDArray[Any]) -> str:
        """Whether all values ``(N, k)`` lie between some bounds, ``(N,)``; a NaN never does."""
        above = self.node("GreaterOrEqual", [values, self.constant(lower.astype(np.float32))])
        below = self.node("LessOrEqual", [values, self.constant(upper.astype(np.float32))])
        return self.all_of(self.node("And", [above, below]))

    def vector(self, value: str, shape: Shape) -> str:
        """A value of any shape as ``(N, k)``."""
        return self.operator(Reshape((math.prod(shape),)), [value], shape)


@dataclass(frozen=True)
class _Model:
    """The network, as far as the guard has to know it; refused where it cannot be guarded."""

    network: Network
    last: Affine

    @classmethod
    def of(cls, artifact: bytes) -> _Model:
        network = read_network(artifact)
        last = network.nodes[-1].operator
        for node in network.nodes:
            if not isinstance(node.operator, (Affine, Conv, Scale, Add, *_MONOTONE)):
                raise UnsupportedOperatorError(
                    f"a guard of a model with {type(node.operator).__name__} is not supported, "
                    "only with affine maps, convolutions, sums, ReLU and max pooling"
                )
        if not network.is_exact_float32 or write_artifact(network) != artifact:
            raise ModelError(
                "a guard is made of a model in the form that this library writes; take the "
                "artifact of a run, or of a torch model"
            )
        if not isinstance(last, Affine) or len(network.output_shape) != 1:
            raise UnsupportedOperatorError(
                f"a guard of a model that ends in {type(last).__name__} is not supported, only in "
                "an affine layer"
            )
        if network.logits > _MOST_CLASSES:
            raise ModelError(
                f"a guard of a model with {network.logits} logits; at most {_MOST_CLASSES} are "
                "supported"
            )
        return cls(network, last)

    @property
    def hidden(self) -> int:
        """The value that the last layer reads."""
        return self.network.nodes[-1].inputs[0]


def write_guard(artifact: bytes, radius: Radius, monitors: Monitors | None = None) -> bytes:
    """The ONNX file of the guard of a model.

    ``answered`` is true only if the model gives ``label`` for every input within the radius of the
    image, cut to [0, 1], in whatever order a runtime adds up the model's sums or the guard's own:
    float32 semantics (``core.semantics``). Nothing is promised of other runs, such as in half
    precision or TF32; and nothing about whether the label is right.

    Args:
        artifact: an ONNX file that ``lowering.write_artifact`` wrote, of one label per image.
        radius: of the L-infinity region around each image.
        monitors: what else is refused; nothing if not given.

    Raises:
        UnsupportedOperatorError: the model has an operator without a rule here; it is named.
        ModelError: it was not written by this library, its bounds could overflow, or a layer sums
            too many numbers.
    """
    model, writer = _Model.of(artifact), _Writer()
    network = model.network
    values, largest = _bounded(model, writer, radius)
    label, margin = _certified(model, writer, values[model.hidden], largest)
    pixels = writer.vector(INPUT_NAME, network.input_shape)
    in_domain = writer.within(pixels, np.zeros(1), np.ones(1))
    margin = writer.node("Where", [in_domain, margin, writer.number(-np.inf)])
    fine = {
        Reason.DOMAIN: in_domain,
        Reason.NOT_CERTIFIED: writer.node("Greater", [margin, writer.number(0)]),
    }
    if monitors is not None:
        hidden = writer.vector(values[model.hidden].point, network.shapes[model.hidden])
        fine |= _usual(writer, network.input_shape, hidden, monitors)
    reason = _reasons(writer, fine)
    answered = writer.node("Equal", [reason, writer.constant(np.array(0, dtype=np.int64))])
    file = writer.model(
        "guard",
        network.input_shape,
        {
            "label": (label, np.int64, ()),
            "answered": (answered, np.bool_, ()),
            "margin": (margin, np.float32, ()),
            "reason": (reason, np.int64, ()),
        },
        {
            "artifact": bytes_digest(artifact),
            "classes": str(max(2, network.logits)),
            "format": FORMAT,
            "radius": str(radius.value),
        },
    )
    return sealed(file)


def write_measures(artifact: bytes) -> bytes:
    """An ONNX file of what the monitors look at, ``(N, k)`` each: ``monitors.Measures``.

    Computed by the same nodes as in the guard, so that what is recorded is what is compared.

    Raises:
        UnsupportedOperatorError, ModelError: as ``write_guard``.
    """
    model, writer = _Model.of(artifact), _Writer()
    network = model.network
    points = [INPUT_NAME]
    for node in network.nodes[:-1]:
        inputs = [points[value] for value in node.inputs]
        points.append(writer.operator(node.operator, inputs, network.shapes[node.inputs[0]]))
    hidden = network.shapes[model.hidden]
    statistics, some = _statistics(writer, network.input_shape)
    layout, more = _layout(writer, statistics, some, network.input_shape)
    activations = writer.vector(points[model.hidden], hidden)
    return writer.model(
        "measures",
        network.input_shape,
        {
            "statistics": (statistics, np.float32, (some,)),
            "activations": (activations, np.float32, (math.prod(hidden),)),
            "layout": (layout, np.float32, (more,)),
        },
        {},
    )


def write_statistics(shape: Shape) -> bytes:
    """An ONNX file of the acquisition statistics alone, ``(N, k)``: the output ``statistics``.

    Computed by the same nodes as in the guard. No model is needed.

    Args:
        shape: of one image, ``(C, *spatial)``.
    """
    writer = _Writer()
    statistics, some = _statistics(writer, shape)
    return writer.model("statistics", shape, {"statistics": (statistics, np.float32, (some,))}, {})


def statistics_names(shape: Shape) -> tuple[str, ...]:
    """What each acquisition statistic is, in their order."""
    channels = range(shape[0])
    return (
        *(f"mean of channel {channel}" for channel in channels),
        *(f"deviation of channel {channel}" for channel in channels),
        "5th percentile",
        "95th percentile",
        *(f"roughness along axis {axis}" for axis in _rough_axes(shape)),
    )


def _bounded(model: _Model, writer: _Writer, radius: Radius) -> tuple[list[_Value], float]:
    """Every value but the logits, and the largest magnitude of what the last layer reads."""
    network = model.network
    reach = writer.number(widened_radius(radius.value))
    lower = writer.node("Sub", [INPUT_NAME, reach])
    upper = writer.node("Add", [INPUT_NAME, reach])
    values = [
        _Value(
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
    return values, largest[model.hidden]


def _mapped(writer: _Writer, operator: Operator, inputs: Sequence[_Value], shape: Shape) -> _Value:
    return _Value(
        *(writer.operator(operator, list(names), shape) for names in zip(*inputs, strict=True))
    )


def _centre_and_width(writer: _Writer, value: _Value) -> tuple[str, str]:
    ends = writer.node("Add", [value.lower, value.upper])
    centre = writer.node("Mul", [ends, writer.number(0.5)])
    return centre, writer.node("Sub", [value.upper, value.lower])


def _layer(
    writer: _Writer,
    operator: Affine | Conv | Scale,
    slack: LayerSlack,
    value: _Value,
    shape: Shape,
) -> _Value:
    centre, width = _centre_and_width(writer, value)
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
    return _Value(
        writer.operator(operator, [value.point], shape),
        writer.node("Sub", [middle, spread]),
        writer.node("Add", [middle, spread]),
    )


def _sum(
    writer: _Writer,
    operator: Add,
    factor: npt.NDArray[np.float32],
    tiny: npt.NDArray[np.float32],
    inputs: Sequence[_Value],
    shape: Shape,
) -> _Value:
    sizes = [
        writer.node("Max", [value.upper, writer.node("Neg", [value.lower])]) for value in inputs
    ]
    both = writer.node("Mul", [writer.node("Add", sizes), writer.number(factor)])
    slack = writer.node("Add", [both, writer.number(tiny)])
    exact = _mapped(writer, operator, inputs, shape)
    return _Value(
        exact.point,
        writer.node("Sub", [exact.lower, slack]),
        writer.node("Add", [exact.upper, slack]),
    )


def _certified(model: _Model, writer: _Writer, value: _Value, largest: float) -> tuple[str, str]:
    """The label of the image, and the lower bound of its margin over the region."""
    shape = model.network.shapes[model.hidden]
    logits = writer.operator(model.last, [value.point], shape)
    if model.network.logits == 1:
        positive = writer.node("Greater", [logits, writer.number(0)])
        label = writer.node("Cast", [positive], to=7)
    else:
        label = writer.node("ArgMax", [logits], axis=1, keepdims=1)
    middle, spread = differences(model.last, largest)
    centre, width = _centre_and_width(writer, value)
    both = writer.node("Concat", [width, writer.node("Abs", [centre])], axis=1)
    lower = writer.node(
        "Sub",
        [
            writer.operator(middle, [centre], shape),
            writer.operator(spread, [both], (2 * shape[0],)),
        ],
    )
    labels = max(2, model.network.logits)
    count = (labels * (labels - 1),)
    table = writer.operator(Reshape((labels, labels - 1)), [lower], count)
    of_label = writer.node("GatherND", [table, label], batch_dims=1)
    margin = writer.node("ReduceMin", [of_label], axes=[1], keepdims=0)
    flat = writer.integers(-1)
    return writer.node("Reshape", [label, flat]), margin


def _usual(writer: _Writer, shape: Shape, hidden: str, monitors: Monitors) -> dict[Reason, str]:
    """Whether an image is like the training images, by each monitor."""
    statistics, some = _statistics(writer, shape)
    layout, more = _layout(writer, statistics, some, shape)
    seen = monitors.layout
    apart = writer.operator(Affine(seen.matrix, seen.offset), [layout], (more,))
    distance = writer.node(
        "ReduceSum", [writer.node("Mul", [apart, apart]), writer.integers(1)], keepdims=0
    )
    return {
        Reason.STATISTICS: writer.within(statistics, *monitors.statistics),
        Reason.ACTIVATIONS: writer.within(hidden, *monitors.activations),
        Reason.LAYOUT: writer.node("LessOrEqual", [distance, writer.number(seen.largest)]),
    }


def _statistics(writer: _Writer, shape: Shape) -> tuple[str, int]:
    """Acquisition statistics of each image, ``(N, k)``, and how many there are.

    Mean and standard deviation of each channel; of all pixels the 5th and the 95th percentile, the
    highest of the darkest twentieth and the lowest of the brightest; and the roughness along each
    spatial axis of more than one pixel, the mean difference of neighbours.
    """
    channels, count = shape[0], math.prod(shape)
    planes = writer.operator(Reshape((channels, count // channels)), [INPUT_NAME], shape)
    mean = writer.node("ReduceMean", [planes], axes=[2], keepdims=1)
    apart = writer.node("Sub", [planes, mean])
    square = writer.node("ReduceMean", [writer.node("Mul", [apart, apart])], axes=[2], keepdims=0)
    found = [
        writer.operator(Reshape((channels,)), [mean], (channels, 1)),
        writer.node("Sqrt", [square]),
    ]
    pixels, ranked = writer.vector(INPUT_NAME, shape), max(1, count // 20)
    for largest in (0, 1):
        few = writer.integers(ranked)
        top = writer.node("TopK", [pixels, few], axis=1, largest=largest, sorted=1)
        writer.nodes[-1].output.append(f"{top}.places")  # its second output, which nothing reads
        found.append(writer.node("Gather", [top, writer.integers(ranked - 1)], axis=1))
    axes = _rough_axes(shape)
    found += [_roughness(writer, axis + 1, shape) for axis in axes]
    return writer.node("Concat", found, axis=1), 2 * channels + 2 + len(axes)


def _rough_axes(shape: Shape) -> list[int]:
    """The spatial axes along which a pixel has neighbours, counted with the channels' as 0."""
    return [axis for axis, extent in enumerate(shape) if axis and extent > 1]


def _roughness(writer: _Writer, axis: int, shape: Shape) -> str:
    """The mean difference of neighbours along an axis, ``(N, 1)``."""
    size, along = shape[axis - 1], writer.integers(axis)
    first, second = (
        writer.node("Slice", [INPUT_NAME, writer.integers(start), writer.integers(end), along])
        for start, end in ((0, size - 1), (1, size))
    )
    apart = writer.node("Abs", [writer.node("Sub", [second, first])])
    fewer = (*shape[: axis - 1], size - 1, *shape[axis:])
    return writer.node("ReduceMean", [writer.vector(apart, fewer)], axes=[1], keepdims=1)


def _layout(writer: _Writer, statistics: str, count: int, shape: Shape) -> tuple[str, int]:
    """The statistics, and the mean of each of some parts of the image, ``(N, k)``; how many."""
    spatial = shape[1:]
    if not 1 <= len(spatial) <= 3:
        return statistics, count
    kernel = [max(1, extent // _PARTS) for extent in spatial]
    means = writer.node("AveragePool", [INPUT_NAME], kernel_shape=kernel, strides=kernel)
    parts = (shape[0], *(e // k for e, k in zip(spatial, kernel, strict=True)))
    both = writer.node("Concat", [statistics, writer.vector(means, parts)], axis=1)
    return both, count + math.prod(parts)


def _reasons(writer: _Writer, fine: dict[Reason, str]) -> str:
    """The sum of the codes of those that are not fine, int64 ``(N,)``."""
    total = ""
    for reason, truth in fine.items():
        refuses = writer.node("Cast", [writer.node("Not", [truth])], to=7)
        code = writer.constant(np.array(int(reason), dtype=np.int64))
        term = writer.node("Mul", [refuses, code])
        total = writer.node("Add", [total, term]) if total else term
    return total
