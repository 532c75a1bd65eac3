"""The guard's graph: a model that answers only where the region around the image is certified.

One ONNX file with the input ``image``, float32 ``(N, *input_shape)`` in [0, 1], and the outputs

- ``label``, int64 ``(N,)``: what the model answers for the image itself;
- ``answered``, bool ``(N,)``: whether no layer of the guard refuses;
- ``margin``, float32 ``(N,)``: a lower bound on how far the label's logit is above every other one,
  everywhere in the region around the image; minus infinity where a pixel is NaN or outside [0, 1];
- ``reason``, int64 ``(N,)``: the sum of the codes of what refuses (``guard.reasons``), 0 if nothing
  does.

The margin is bounded by intervals (``guard.forward``) up to the last layer, which is taken as
differences of logits; or by CROWN-IBP too (``guard.backward``), and then the higher bound of the
two is taken for each difference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from asi_verify.core.canonical import bytes_digest
from asi_verify.core.network import Network
from asi_verify.core.operators import (
    Add,
    Affine,
    Concat,
    Conv,
    MaxPool,
    Relu,
    Reshape,
    Scale,
    Shape,
    Transpose,
)
from asi_verify.core.radius import Radius
from asi_verify.errors import ModelError, UnsupportedOperatorError, UsageError
from asi_verify.guard import measures
from asi_verify.guard.backward import crown_ibp
from asi_verify.guard.forward import Forward, bounded, centre_and_width
from asi_verify.guard.monitors import Monitors
from asi_verify.guard.reasons import Reason
from asi_verify.guard.seal import sealed
from asi_verify.guard.slack import differences
from asi_verify.guard.writer import Writer
from asi_verify.lowering import INPUT_NAME, read_network, write_artifact

__all__ = [
    "BOUNDS",
    "FORMAT",
    "OUTPUTS",
    "write_guard",
    "write_measures",
]

FORMAT = "asi-verify/guard/1"
OUTPUTS = ("label", "answered", "margin", "reason")

BOUNDS = ("intervals", "crown-ibp")
"""By what a margin is bounded; ``crown-ibp`` takes the better of both for each pair of labels."""

_MOST_CLASSES = 100
"""Differences of logits grow with the square of the classes."""

_MONOTONE = (Relu, MaxPool, Reshape, Transpose, Concat)
"""Operators that map the ends of a box to the ends of the box of the output, without rounding."""


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


def write_guard(
    artifact: bytes,
    radius: Radius,
    monitors: Monitors | None = None,
    bounds: str = "intervals",
) -> bytes:
    """The ONNX file of the guard of a model.

    ``answered`` is true only if the model gives ``label`` for every input within the radius of the
    image, cut to [0, 1], in whatever order a runtime adds up the model's sums or the guard's own:
    float32 semantics (``core.semantics``). Nothing is promised of other runs, such as in half
    precision or TF32; and nothing about whether the label is right.

    Args:
        artifact: an ONNX file that ``lowering.write_artifact`` wrote, of one label per image.
        radius: of the L-infinity region around each image.
        monitors: what else is refused; nothing if not given.
        bounds: by what the margin is bounded. ``"crown-ibp"`` answers whatever ``"intervals"``
            does, and takes one backward pass more for each other class.

    Raises:
        UnsupportedOperatorError: the model has an operator without a rule here; it is named.
        ModelError: it was not written by this library, its bounds could overflow, or a layer sums
            too many numbers.
        UsageError: there are no such bounds.
    """
    if bounds not in BOUNDS:
        raise UsageError(f"bounds: {bounds!r}; {' or '.join(map(repr, BOUNDS))} is expected")
    model, writer = _Model.of(artifact), Writer()
    network = model.network
    forward = bounded(network, writer, radius)
    label, margin = _certified(model, writer, forward, bounds)
    pixels = writer.vector(INPUT_NAME, network.input_shape)
    in_domain = writer.within(pixels, np.zeros(1), np.ones(1))
    margin = writer.node("Where", [in_domain, margin, writer.number(-np.inf)])
    fine = {
        Reason.DOMAIN: in_domain,
        Reason.NOT_CERTIFIED: writer.node("Greater", [margin, writer.number(0)]),
    }
    if monitors is not None:
        hidden = writer.vector(forward.values[model.hidden].point, network.shapes[model.hidden])
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
            "bounds": bounds,
            "classes": str(max(2, network.logits)),
            "format": FORMAT,
            "radius": str(radius.value),
        },
    )
    return sealed(file)


def write_measures(artifact: bytes) -> bytes:
    """An ONNX file of what the monitors look at, ``(N, k)`` each: ``measures.Measures``.

    Computed by the same nodes as in the guard, so that what is recorded is what is compared.

    Raises:
        UnsupportedOperatorError, ModelError: as ``write_guard``.
    """
    model, writer = _Model.of(artifact), Writer()
    network = model.network
    points = [INPUT_NAME]
    for node in network.nodes[:-1]:
        inputs = [points[value] for value in node.inputs]
        points.append(writer.operator(node.operator, inputs, network.shapes[node.inputs[0]]))
    hidden = network.shapes[model.hidden]
    statistics, some = measures.statistics(writer, network.input_shape)
    layout, more = measures.layout(writer, statistics, some, network.input_shape)
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


def _certified(model: _Model, writer: Writer, forward: Forward, bounds: str) -> tuple[str, str]:
    """The label of the image, and the lower bound of its margin over the region."""
    shape, value = model.network.shapes[model.hidden], forward.values[model.hidden]
    logits = writer.operator(model.last, [value.point], shape)
    if model.network.logits == 1:
        positive = writer.node("Greater", [logits, writer.number(0)])
        label = writer.node("Cast", [positive], to=7)
    else:
        label = writer.node("ArgMax", [logits], axis=1, keepdims=1)
    middle, spread = differences(model.last, forward.largest[model.hidden])
    centre, width = centre_and_width(writer, value)
    both = writer.node("Concat", [width, writer.node("Abs", [centre])], axis=1)
    lower = writer.node(
        "Sub",
        [
            writer.operator(middle, [centre], shape),
            writer.operator(spread, [both], (2 * shape[0],)),
        ],
    )
    of_label = writer.of_label(lower, label, max(2, model.network.logits))
    if bounds == "crown-ibp":
        linear = crown_ibp(model.network, writer, forward, label)
        of_label = writer.node("Max", [of_label, linear])
    margin = writer.node("ReduceMin", [of_label], axes=[1], keepdims=0)
    flat = writer.integers(-1)
    return writer.node("Reshape", [label, flat]), margin


def _usual(writer: Writer, shape: Shape, hidden: str, monitors: Monitors) -> dict[Reason, str]:
    """Whether an image is like the training images, by each monitor."""
    statistics, some = measures.statistics(writer, shape)
    layout, more = measures.layout(writer, statistics, some, shape)
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


def _reasons(writer: Writer, fine: dict[Reason, str]) -> str:
    """The sum of the codes of those that are not fine, int64 ``(N,)``."""
    total = ""
    for reason, truth in fine.items():
        refuses = writer.node("Cast", [writer.node("Not", [truth])], to=7)
        code = writer.constant(np.array(int(reason), dtype=np.int64))
        term = writer.node("Mul", [refuses, code])
        total = writer.node("Add", [total, term]) if total else term
    return total
