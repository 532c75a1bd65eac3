"""What monitors look at in an image, as nodes of a graph: acquisition statistics, and its layout.

The guard compares them, ``graph.write_measures`` records them, and the monitor of drift follows
them over a stream: by the same nodes, so that what is recorded is what is compared.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from asi_verify.core.operators import Reshape, Shape
from asi_verify.guard.writer import Writer
from asi_verify.lowering import INPUT_NAME

__all__ = ["Measures", "layout", "statistics", "statistics_names", "write_statistics"]

_PARTS = 4
"""Into how many parts each axis of an image is divided for its layout; up to 7 where its pixels are
no multiple of it, fewer where it has fewer pixels."""

Floats = npt.NDArray[np.float32]


class Measures(NamedTuple):
    """What the monitors look at, ``(N, k)`` each; the outputs of ``graph.write_measures``."""

    statistics: Floats
    activations: Floats
    layout: Floats


def write_statistics(shape: Shape) -> bytes:
    """An ONNX file of the acquisition statistics alone, ``(N, k)``: the output ``statistics``.

    Computed by the same nodes as in the guard. No model is needed.

    Args:
        shape: of one image, ``(C, *spatial)``.
    """
    writer = Writer()
    found, count = statistics(writer, shape)
    return writer.model("statistics", shape, {"statistics": (found, np.float32, (count,))}, {})


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


def statistics(writer: Writer, shape: Shape) -> tuple[str, int]:
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


def _roughness(writer: Writer, axis: int, shape: Shape) -> str:
    """The mean difference of neighbours along an axis, ``(N, 1)``."""
    size, along = shape[axis - 1], writer.integers(axis)
    first, second = (
        writer.node("Slice", [INPUT_NAME, writer.integers(start), writer.integers(end), along])
        for start, end in ((0, size - 1), (1, size))
    )
    apart = writer.node("Abs", [writer.node("Sub", [second, first])])
    fewer = (*shape[: axis - 1], size - 1, *shape[axis:])
    return writer.node("ReduceMean", [writer.vector(apart, fewer)], axes=[1], keepdims=1)


def layout(writer: Writer, statistics: str, count: int, shape: Shape) -> tuple[str, int]:
    """The statistics, and the mean of each of some parts of the image, ``(N, k)``; how many."""
    spatial = shape[1:]
    if not 1 <= len(spatial) <= 3:
        return statistics, count
    kernel = [max(1, extent // _PARTS) for extent in spatial]
    means = writer.node("AveragePool", [INPUT_NAME], kernel_shape=kernel, strides=kernel)
    parts = (shape[0], *(e // k for e, k in zip(spatial, kernel, strict=True)))
    both = writer.node("Concat", [statistics, writer.vector(means, parts)], axis=1)
    return both, count + math.prod(parts)
