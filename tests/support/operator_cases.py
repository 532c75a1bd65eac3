"""One random small use of every ONNX operator, and what the standard says it computes, exactly.

The functions are written out from the text of the ONNX standard, on object arrays of Fractions; the
library's reading of the files, its networks and its rules are not used. Those that are not rational
are taken to 60 digits, and over boxes by interval arithmetic in float64 with room for its rounding.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import onnx

from support import precise
from support.exact import exact
from support.onnx_files import node

__all__ = ["PIECEWISE", "SMOOTH", "Case"]

Exact = Any
Interval = tuple[Any, Any]
Generator = np.random.Generator
ZERO = Fraction(0)


@dataclass
class Case:
    """A use of an operator.

    Attributes:
        shape: of what it reads, without the batch axis.
        nodes: from ``v`` to ``w``.
        function: what the nodes compute, for one sample.
        kinks: linear functions of the input between whose zeros ``function`` is linear.
        interval: for smooth ones: bounds over a batch of boxes, float64, up to rounding.
        constants: of the file.
        opset: the operator set.
        phases: whether every kink is that of a ReLU.
        batch: of the file's input; 1 where a constant stands beside a single image.
    """

    shape: tuple[int, ...]
    nodes: list[onnx.NodeProto]
    function: Callable[[Exact], Exact]
    kinks: Callable[[Exact], Exact] | None = None
    interval: Callable[[Any, Any], Interval] | None = None
    constants: dict[str, Any] = field(default_factory=dict)
    opset: int = 17
    phases: bool = True
    batch: str | int = "N"


def _pick(generator: Generator, *options: Any) -> Any:
    return options[int(generator.integers(len(options)))]


def _numbers(generator: Generator, *shape: int) -> Any:
    """Weights: of few bits, so that values meet exactly, or of many."""
    given = generator.normal(size=shape)
    return (np.rint(given * 4) / 4 if generator.random() < 0.5 else given).astype(np.float32)


def _shape(generator: Generator, rank: int = 0, most: int = 8) -> tuple[int, ...]:
    """A small shape, of a random rank from 1 to 3 if none is asked for."""
    rank = rank or int(generator.integers(1, 4))
    while True:
        shape = tuple(int(n) for n in generator.integers(1, 5, rank))
        if 2 <= math.prod(shape) <= most:
            return shape


def _axis(generator: Generator, axis: int, rank: int) -> int:
    """An axis of a sample as ONNX counts it: with the batch, from either end."""
    return axis + 1 if generator.random() < 0.5 else axis - rank


def _flat(x: Exact) -> Exact:
    return x.reshape(-1)


def _relu(x: Exact) -> Exact:
    return np.where(x > 0, x, ZERO)


def _linear(shape: tuple[int, ...], name: str, function: Any, *inputs: str, **more: Any) -> Case:
    constants, opset = more.pop("constants", {}), more.pop("opset", 17)
    made = node(name, " ".join(("v", *inputs)), "w", **more)
    return Case(shape, [made], function, constants=constants, opset=opset)


# Activations.


def relu(g: Generator) -> Case:
    return Case(_shape(g, most=4), [node("Relu", "v", "w")], _relu, _flat)


def leaky_relu(g: Generator) -> Case:
    alpha = np.float32(_pick(g, 0.01, 0.5, -0.75, 1.5, 0.0, g.normal()))
    slope = Fraction(float(alpha))
    return Case(
        _shape(g, most=4),
        [node("LeakyRelu", "v", "w", alpha=float(alpha))],
        lambda x: np.where(x < 0, slope * x, x),
        _flat,
        phases=False,
    )


def prelu(g: Generator) -> Case:
    shape = _shape(g, most=4)
    slopes = _numbers(g, *shape[:1], *(1 for _ in shape[1:]))
    return Case(
        shape,
        [node("PRelu", "v s", "w")],
        lambda x: np.where(x < 0, exact(slopes) * x, x),
        _flat,
        constants={"s": slopes},
        phases=False,
    )


def absolute(g: Generator) -> Case:
    return Case(_shape(g, most=4), [node("Abs", "v", "w")], abs, _flat, phases=False)


def clip(g: Generator) -> Case:
    low, high = np.sort(_numbers(g, 2))
    given = _pick(g, ("l", "h"), ("l", ""), ("", "h"))
    ends = [(Fraction(float(e)) if n else None) for e, n in zip((low, high), given, strict=True)]

    def clipped(x: Exact) -> Exact:
        x = x if ends[0] is None else np.where(x < ends[0], ends[0], x)
        return x if ends[1] is None else np.where(x > ends[1], ends[1], x)

    made = onnx.helper.make_node("Clip", ["v", *given] if given[1] else ["v", given[0]], ["w"])
    return Case(
        _shape(g, most=4),
        [made],
        clipped,
        lambda x: np.concatenate([_flat(x) - end for end in ends if end is not None]),
        constants={"l": low, "h": high},
        phases=False,
    )


def hard_sigmoid(g: Generator) -> Case:
    factor, shift = (np.float32(_pick(g, given, g.normal())) for given in (0.2, 0.5))
    a, b = Fraction(float(factor)), Fraction(float(shift))

    def clipped(x: Exact) -> Exact:
        line = a * x + b
        return np.where(line < 0, ZERO, np.where(line > 1, Fraction(1), line))

    return Case(
        _shape(g, most=4),
        [node("HardSigmoid", "v", "w", alpha=float(factor), beta=float(shift))],
        clipped,
        lambda x: np.concatenate([a * _flat(x) + b, a * _flat(x) + b - 1]),
        phases=False,
    )


def _extreme(name: str) -> Callable[[Generator], Case]:
    """Of the value, another one that is computed from it, and constants, in any order."""
    larger = name == "Max"

    def made(g: Generator) -> Case:
        shape = _shape(g, most=3)
        each = bool(g.integers(2))
        constants = {"c": _numbers(g, *(shape if each else ())), "k": _numbers(g, *shape)}
        factor = exact(constants["k"])
        read = [["v", "c"], ["v", "u"], ["v", "u", "c"]][int(g.integers(3))]
        g.shuffle(read)

        def given(x: Exact) -> list[Exact]:
            values = {"v": x, "u": x * factor, "c": np.broadcast_to(exact(constants["c"]), x.shape)}
            return [values[one] for one in read]

        def computed(x: Exact) -> Exact:
            result, *others = given(x)
            for other in others:
                result = np.where((other > result) == larger, other, result)
            return result

        def kinks(x: Exact) -> Exact:
            pairs = itertools.combinations(given(x), 2)
            return np.concatenate([_flat(one - other) for one, other in pairs])

        nodes = [node("Mul", "v k", "u"), node(name, " ".join(read), "w")]
        return Case(shape, nodes, computed, kinks, constants=constants, phases=False)

    return made


# Arithmetic with a constant.


def _with_constant(name: str, function: Any) -> Callable[[Generator], Case]:
    def made(g: Generator) -> Case:
        shape = _shape(g)
        other = tuple(n if g.random() < 0.6 else 1 for n in shape)
        other = other[int(g.integers(0, len(other))) :] if g.random() < 0.5 else (1, *other)
        constant = _numbers(g, *other)
        constant = np.where(constant == 0, np.float32(0.75), constant)
        turned = name in ("Add", "Sub", "Mul") and g.random() < 0.4
        c = exact(constant)

        def computed(x: Exact) -> Exact:
            both = (c, x[None]) if turned else (x[None], c)
            return function(*both)[0]

        read = "c v" if turned else "v c"
        return Case(shape, [node(name, read, "w")], computed, constants={"c": constant})

    return made


def batch_norm(g: Generator) -> Case:
    shape = _shape(g, int(g.integers(1, 4)))
    scale, shift, mean = (_numbers(g, shape[0]) for _ in range(3))
    # variance + epsilon is 1/4, 1 or 4: then the root is a fraction.
    variance = np.float32([_pick(g, 0.125, 0.875, 3.875) for _ in range(shape[0])])
    root = exact(np.sqrt(variance + 0.125))
    column = (-1,) + (1,) * (len(shape) - 1)

    def normalised(x: Exact) -> Exact:
        s, b, m, r = (exact(a).reshape(column) for a in (scale, shift, mean, root))
        return (x - m) / r * s + b

    constants = {"s": scale, "b": shift, "m": mean, "q": variance}
    made = node("BatchNormalization", "v s b m q", "w", epsilon=0.125)
    return Case(shape, [made], normalised, constants=constants)


# Sums of products.


def gemm(g: Generator) -> Case:
    before, after = int(g.integers(2, 6)), int(g.integers(1, 5))
    turned = bool(g.integers(2))
    weight = _numbers(g, after, before) if turned else _numbers(g, before, after)
    bias = _numbers(g, *_pick(g, (after,), (1, after), (1,)))
    matrix = exact(weight if turned else weight.T)
    return Case(
        (before,),
        [node("Gemm", "v k b", "w", transB=int(turned))],
        lambda x: matrix.dot(x) + exact(bias).reshape(-1),
        constants={"k": weight, "b": bias},
    )


def matmul(g: Generator) -> Case:
    shape = _shape(g, int(g.integers(1, 4)))
    left = len(shape) > 1 and g.random() < 0.5
    if left:
        weight = _numbers(g, int(g.integers(1, 4)), shape[-2])
        return Case(
            shape,
            [node("MatMul", "k v", "w")],
            lambda x: np.matmul(exact(weight), x),
            constants={"k": weight},
        )
    weight = _numbers(g, shape[-1], int(g.integers(1, 4)))
    return Case(
        shape,
        [node("MatMul", "v k", "w")],
        lambda x: np.matmul(x, exact(weight)),
        constants={"k": weight},
    )


def _windows(
    sizes: Any, kernel: Any, strides: Any, pads: Any, dilations: Any, outputs: Any
) -> dict[Any, list[Any]]:
    """For each output position the places under the kernel, None where these are padding."""
    found = {}
    for position in np.ndindex(*outputs):
        places: list[Any] = []
        for offset in np.ndindex(*kernel):
            at = tuple(
                p * s + k * d - before
                for p, s, k, d, before in zip(
                    position, strides, offset, dilations, pads, strict=True
                )
            )
            inside = all(0 <= a < n for a, n in zip(at, sizes, strict=True))
            places.append(at if inside else None)
        found[position] = places
    return found


def _sliding(g: Generator, rank: int, *, dilated: bool = True) -> Any:
    """Sizes, kernel, strides, pads, dilations and output sizes that fit together."""
    while True:
        sizes = tuple(int(n) for n in g.integers(1, 5 if rank == 1 else 4, rank))
        kernel = tuple(int(n) for n in g.integers(1, 4, rank))
        strides = tuple(int(n) for n in g.integers(1, 3, rank))
        pads = tuple((int(g.integers(0, k)), int(g.integers(0, k))) for k in kernel)
        dilations = tuple(int(n) for n in g.integers(1, 3, rank)) if dilated else (1,) * rank
        room = [
            s + b + a - d * (k - 1) - 1
            for s, k, d, (b, a) in zip(sizes, kernel, dilations, pads, strict=True)
        ]
        outputs = tuple(r // s + 1 for r, s in zip(room, strides, strict=True))
        if min(room) >= 0 and 2 <= math.prod(sizes) <= 6 and math.prod(outputs) <= 4:
            return sizes, kernel, strides, pads, dilations, outputs


def _pads(pads: Any) -> list[int]:
    return [before for before, _ in pads] + [after for _, after in pads]


def _conv(rank: int) -> Callable[[Generator], Case]:
    def made(g: Generator) -> Case:
        sizes, kernel, strides, pads, dilations, outputs = _sliding(g, rank)
        groups = int(g.integers(1, 3))
        each = int(g.integers(1, 3)) if math.prod(sizes) * groups <= 4 else 1
        channels, filters = groups * each, groups * int(g.integers(1, 3))
        weight, bias = _numbers(g, filters, each, *kernel), _numbers(g, filters)
        under = _windows(sizes, kernel, strides, [b for b, _ in pads], dilations, outputs)

        def computed(x: Exact) -> Exact:
            result = np.empty((filters, *outputs), dtype=object)
            for f, (position, places) in itertools.product(range(filters), under.items()):
                total = Fraction(float(bias[f]))
                first = f // (filters // groups) * each
                for c in range(each):
                    for k, place in zip(exact(weight[f, c]).reshape(-1), places, strict=True):
                        total += k * x[(first + c, *place)] if place is not None else 0
                result[(f, *position)] = total
            return result

        conv = node(
            "Conv",
            "v k b",
            "w",
            strides=strides,
            pads=_pads(pads),
            dilations=dilations,
            group=groups,
            kernel_shape=kernel,
        )
        return Case((channels, *sizes), [conv], computed, constants={"k": weight, "b": bias})

    return made


def _conv_transpose(rank: int) -> Callable[[Generator], Case]:
    def made(g: Generator) -> Case:
        while True:
            sizes = tuple(int(n) for n in g.integers(1, 4 if rank == 1 else 3, rank))
            kernel, strides, dilations = (
                tuple(int(n) for n in g.integers(1, most, rank)) for most in (4, 4, 3)
            )
            pads = tuple((int(g.integers(0, 2)), int(g.integers(0, 2))) for _ in kernel)
            # What runtimes allow: less than the stride.
            added = tuple(int(g.integers(0, s)) for s in strides)
            outputs = tuple(
                (n - 1) * s + a + d * (k - 1) + 1 - b - e
                for n, k, s, d, a, (b, e) in zip(
                    sizes, kernel, strides, dilations, added, pads, strict=True
                )
            )
            # The library refuses pads that reach past all that a single number of the input gives.
            reaches = all(
                max(b - d * (k - 1), 0) + max(e - a - d * (k - 1), 0) <= (n - 1) * s
                for n, k, s, d, a, (b, e) in zip(
                    sizes, kernel, strides, dilations, added, pads, strict=True
                )
            )
            fits = math.prod(outputs) <= 12 and 2 <= math.prod(sizes) <= 6
            if min(outputs) >= 1 and fits and reaches:
                break
        groups = int(g.integers(1, 3)) if math.prod(sizes) <= 3 else 1
        each = int(g.integers(1, 3))
        weight, bias = _numbers(g, groups, each, *kernel), _numbers(g, groups * each)

        def computed(x: Exact) -> Exact:
            result = np.empty((groups * each, *outputs), dtype=object)
            for f in range(groups * each):
                result[f] = Fraction(float(bias[f]))
            for c, f in itertools.product(range(groups), range(each)):
                for place, k in itertools.product(np.ndindex(*sizes), np.ndindex(*kernel)):
                    at = tuple(
                        p * s + o * d - b
                        for p, s, o, d, (b, _) in zip(
                            place, strides, k, dilations, pads, strict=True
                        )
                    )
                    if all(0 <= a < n for a, n in zip(at, outputs, strict=True)):
                        product = Fraction(float(weight[(c, f, *k)])) * x[(c, *place)]
                        result[(c * each + f, *at)] += product
            return result

        transposed = node(
            "ConvTranspose",
            "v k b",
            "w",
            strides=strides,
            pads=_pads(pads),
            dilations=dilations,
            output_padding=added,
            group=groups,
        )
        constants = {"k": weight, "b": bias}
        return Case((groups, *sizes), [transposed], computed, constants=constants)

    return made


# Pools and reductions.


def _over_windows(shape: Any, under: Any, outputs: Any, join: Any) -> Callable[[Exact], Exact]:
    def computed(x: Exact) -> Exact:
        result = np.empty((shape[0], *outputs), dtype=object)
        for c, (position, places) in itertools.product(range(shape[0]), under.items()):
            there = [x[(c, *place)] for place in places if place is not None]
            result[(c, *position)] = join(there, len(places))
        return result

    return computed


def _pairs(shape: Any, under: Any) -> Callable[[Exact], Exact]:
    """The differences of all that lies under one window."""
    pairs = set()
    for c, places in itertools.product(range(shape[0]), under.values()):
        there = [(c, *place) for place in places if place is not None]
        pairs |= set(itertools.combinations(there, 2))

    def kinks(x: Exact) -> Exact:
        made = np.empty(len(pairs), dtype=object)
        made[:] = [x[one] - x[other] for one, other in sorted(pairs)]
        return made

    return kinks


def _max_pool(rank: int) -> Callable[[Generator], Case]:
    def made(g: Generator) -> Case:
        while True:
            sizes, kernel, strides, pads, dilations, outputs = _sliding(g, rank)
            under = _windows(sizes, kernel, strides, [b for b, _ in pads], dilations, outputs)
            # The library refuses pools that might step over the input with all of a window.
            steps_over = any(
                b and d > n for (b, _), d, n in zip(pads, dilations, sizes, strict=True)
            )
            if not steps_over and all(any(at is not None for at in p) for p in under.values()):
                break
        shape = (1, *sizes)
        pool = node(
            "MaxPool",
            "v",
            "w",
            kernel_shape=kernel,
            strides=strides,
            pads=_pads(pads),
            dilations=dilations,
        )
        function = _over_windows(shape, under, outputs, lambda there, _: max(there))
        return Case(shape, [pool], function, _pairs(shape, under), phases=False)

    return made


def _average_pool(rank: int) -> Callable[[Generator], Case]:
    def made(g: Generator) -> Case:
        while True:
            sizes, kernel, strides, pads, _, outputs = _sliding(g, rank, dilated=False)
            if all(max(p) < k for p, k in zip(pads, kernel, strict=True)):
                break
        under = _windows(sizes, kernel, strides, [b for b, _ in pads], (1,) * rank, outputs)
        padded = int(g.integers(2))
        shape = (int(g.integers(1, 3)), *sizes)
        pool = node(
            "AveragePool",
            "v",
            "w",
            kernel_shape=kernel,
            strides=strides,
            pads=_pads(pads),
            count_include_pad=padded,
        )

        def mean(there: list[Fraction], count: int) -> Fraction:
            return sum(there, ZERO) / (count if padded else len(there))

        return Case(shape, [pool], _over_windows(shape, under, outputs, mean))

    return made


def global_average(g: Generator) -> Case:
    shape = _shape(g, int(g.integers(2, 4)))
    axes = tuple(range(1, len(shape)))
    return _linear(
        shape,
        "GlobalAveragePool",
        lambda x: x.sum(axis=axes, keepdims=True) / Fraction(math.prod(shape[1:])),
    )


def global_max(g: Generator) -> Case:
    shape = (1, *_shape(g, int(g.integers(1, 3)), 4))
    axes = tuple(range(1, len(shape)))
    under = {(0,): list(np.ndindex(*shape[1:]))}
    return Case(
        shape,
        [node("GlobalMaxPool", "v", "w")],
        lambda x: np.asarray(x.max(axis=axes, keepdims=True), dtype=object),
        _pairs(shape, under),
        phases=False,
    )


def _reduction(name: str) -> Callable[[Generator], Case]:
    def made(g: Generator) -> Case:
        shape = _shape(g, int(g.integers(2, 4)), 4 if name in ("ReduceMax", "ReduceMin") else 8)
        some = g.permutation(len(shape))[: int(g.integers(1, len(shape)))]
        axes = tuple(sorted(int(axis) for axis in some))
        keep = bool(g.integers(2))
        written = [_axis(g, axis, len(shape)) for axis in axes]
        opset = _pick(g, 11, 13, 17, 18)
        since = 13 if name == "ReduceSum" else 18
        count = math.prod(shape[axis] for axis in axes)

        def computed(x: Exact) -> Exact:
            if name in ("ReduceMax", "ReduceMin"):
                of_all = x.max if name == "ReduceMax" else x.min
                return np.asarray(of_all(axis=axes, keepdims=keep), dtype=object)
            total = np.asarray(x.sum(axis=axes, keepdims=keep), dtype=object)
            return total / Fraction(count) if name == "ReduceMean" else total

        if opset < since:
            reduced = node(name, "v", "w", axes=written, keepdims=int(keep))
            constants = {}
        else:
            reduced = node(name, "v a", "w", keepdims=int(keep))
            constants = {"a": np.array(written, np.int64)}
        case = Case(shape, [reduced], computed, constants=constants, opset=opset)
        if name in ("ReduceMax", "ReduceMin"):
            groups: dict[Any, list[Any]] = {}
            for place in np.ndindex(*shape):
                key = tuple(p for axis, p in enumerate(place) if axis not in axes)
                groups.setdefault(key, []).append(place)
            pairs = [p for places in groups.values() for p in itertools.combinations(places, 2)]

            def kinks(x: Exact) -> Exact:
                found = np.empty(len(pairs), dtype=object)
                found[:] = [x[one] - x[other] for one, other in pairs]
                return found

            case.kinks, case.phases = kinks, False
        return case

    return made


# Numbers that move.


def concat(g: Generator) -> Case:
    """A value, what a ReLU makes of it, and a constant, in any order."""
    shape = _shape(g, most=3)
    axis = int(g.integers(len(shape)))
    constant = _numbers(g, 1, *shape)
    parts = [["v", "r", "c"][i] for i in g.permutation(3)]

    def computed(x: Exact) -> Exact:
        named = {"v": x, "r": _relu(x), "c": exact(constant[0])}
        return np.concatenate([named[part] for part in parts], axis)

    joined = node("Concat", " ".join(parts), "w", axis=_axis(g, axis, len(shape)))
    nodes = [node("Relu", "v", "r"), joined]
    return Case(shape, nodes, computed, _flat, constants={"c": constant}, batch=1)


def _of_two(name: str, sign: int) -> Callable[[Generator], Case]:
    """A value and what a ReLU makes of it; one of the two may have extents of 1."""

    def made(g: Generator) -> Case:
        shape = _shape(g, 2, 4)
        turned = bool(g.integers(2))

        def computed(x: Exact) -> Exact:
            first, second = (_relu(x), x[:1]) if turned else (x, _relu(x))
            return first + sign * second

        nodes = [node("Relu", "v", "r")]
        if turned:
            nodes.append(node("Slice", "v zero one one", "s"))
            nodes.append(node(name, "r s", "w"))
        else:
            nodes.append(node(name, "v r", "w"))
        constants = {"zero": np.int64([0]), "one": np.int64([1])}
        return Case(shape, nodes, computed, _flat, constants=constants)

    return made


def select_slice(g: Generator) -> Case:
    shape = _shape(g)
    axis = int(g.integers(len(shape)))
    extent = shape[axis]
    while True:
        start, end = (int(n) for n in g.integers(-extent - 2, extent + 3, 2))
        step = int(_pick(g, 1, 1, 2, -1, -2))
        places = _sliced(start, end, step, extent)
        if places:
            break
    end = 2**63 - 1 if step == 1 and places[-1] == extent - 1 and g.random() < 0.3 else end
    constants = {"s": [start], "e": [end], "a": [_axis(g, axis, len(shape))], "t": [step]}
    return _linear(
        shape,
        "Slice",
        lambda x: x.take(places, axis),
        "s e a t",
        constants={key: np.int64(value) for key, value in constants.items()},
        opset=_pick(g, 10, 13, 17),
    )


def _sliced(start: int, end: int, step: int, extent: int) -> list[int]:
    """As the standard says: ends count from the end if negative, and are then clamped."""
    start, end = (n + extent if n < 0 else n for n in (start, end))
    low, high = (0, extent) if step > 0 else (-1, extent - 1)
    start = min(max(start, 0), high)
    end = min(max(end, low), extent)
    return list(range(start, end, step))


def gather(g: Generator) -> Case:
    shape = _shape(g)
    axis = int(g.integers(len(shape)))
    form = _pick(g, () if len(shape) > 1 else (2,), (1,), (3,), (2, 2))
    places = g.integers(-shape[axis], shape[axis], form)
    kind = _pick(g, np.int64, np.int32)
    wanted = np.where(places < 0, places + shape[axis], places)

    def computed(x: Exact) -> Exact:
        after = (*shape[:axis], *form, *shape[axis + 1 :])
        return x.take(np.asarray(wanted).reshape(-1), axis).reshape(after)

    return _linear(
        shape,
        "Gather",
        computed,
        "i",
        axis=_axis(g, axis, len(shape)),
        constants={"i": np.array(places, kind)},
    )


def split(g: Generator) -> Case:
    """The parts joined again in reverse order, so that all of them are looked at."""
    while True:
        shape = _shape(g)
        axis = int(g.integers(len(shape)))
        if shape[axis] > 1:
            break
    opset = _pick(g, 11, 13, 17, 18)
    cut = int(g.integers(1, shape[axis]))
    sizes = [cut, shape[axis] - cut]
    even = shape[axis] % 2 == 0 or opset == 18
    written = _axis(g, axis, len(shape))
    constants: dict[str, Any] = {}
    if even and g.random() < 0.5:
        sizes = [-(-shape[axis] // 2), shape[axis] // 2]
        more = {"num_outputs": 2} if opset == 18 else {}
        made = onnx.helper.make_node("Split", ["v"], ["p", "q"], axis=written, **more)
    elif opset < 13:
        made = onnx.helper.make_node("Split", ["v"], ["p", "q"], axis=written, split=sizes)
    else:
        constants = {"n": np.int64(sizes)}
        made = onnx.helper.make_node("Split", ["v", "n"], ["p", "q"], axis=written)

    def computed(x: Exact) -> Exact:
        order = [*range(sizes[0], shape[axis]), *range(sizes[0])]
        return x.take(order, axis)

    nodes = [made, node("Concat", "q p", "w", axis=written)]
    return Case(shape, nodes, computed, constants=constants, opset=opset)


def pad(g: Generator) -> Case:
    shape = _shape(g, most=6)
    mode = _pick(g, "constant", "edge", "reflect")
    rank = len(shape)
    least = -1 if mode == "constant" else 0
    while True:
        pads = [(int(g.integers(least, 3)), int(g.integers(least, 3))) for _ in shape]
        sizes = [n + b + a for n, (b, a) in zip(shape, pads, strict=True)]
        taken = [n + min(b, 0) + min(a, 0) for n, (b, a) in zip(shape, pads, strict=True)]
        most = [n - 1 if mode == "reflect" else 2 for n in shape]
        fits = all(max(p) <= m for p, m in zip(pads, most, strict=True))
        if fits and min(taken) >= 1 and math.prod(sizes) <= 16:
            break
    fill = _numbers(g, 1)[0] if g.random() < 0.7 else np.float32(0)

    def computed(x: Exact) -> Exact:
        for axis, (before, after) in enumerate(pads):
            x = x.take(range(max(-before, 0), x.shape[axis] - max(-after, 0)), axis)
        result = np.empty(sizes, dtype=object)
        for position in np.ndindex(*sizes):
            at = [p - max(b, 0) for p, (b, _) in zip(position, pads, strict=True)]
            if mode != "constant":
                at = [_continued(a, n, mode) for a, n in zip(at, x.shape, strict=True)]
            inside = all(0 <= a < n for a, n in zip(at, x.shape, strict=True))
            result[position] = x[tuple(at)] if inside else Fraction(float(fill))
        return result

    before, after = ([p[end] for p in pads] for end in (0, 1))
    opset = _pick(g, 10, 11, 13, 17, 18)
    if opset == 10:
        written = [0, *before, 0, *after]
        made = node("Pad", "v", "w", pads=written, mode=mode, value=float(fill))
        return Case(shape, [made], computed, opset=opset)
    constants = {"p": np.int64([0, *before, 0, *after]), "f": fill}
    read = "v p f"
    if opset == 18:
        axes = [_axis(g, axis, rank) for axis in range(rank)]
        constants = {"p": np.int64([*before, *after]), "f": fill, "a": np.int64(axes)}
        read = "v p f a"
    return Case(
        shape, [node("Pad", read, "w", mode=mode)], computed, constants=constants, opset=opset
    )


def _continued(place: int, extent: int, mode: str) -> int:
    if mode == "edge":
        return min(max(place, 0), extent - 1)
    place = abs(place)
    return place if place < extent else 2 * (extent - 1) - place


def expand(g: Generator) -> Case:
    shape = tuple(1 if g.random() < 0.5 else n for n in _shape(g, 3, 6))
    shape = shape if math.prod(shape) > 1 else (2, 1, 1)
    target = tuple(int(g.integers(1, 4)) if n == 1 else _pick(g, n, 1) for n in shape)
    whole = tuple(max(n, t) for n, t in zip(shape, target, strict=True))
    return _linear(
        shape,
        "Expand",
        lambda x: np.broadcast_to(x, whole),
        "t",
        constants={"t": np.int64([1, *target])},
    )


def transpose(g: Generator) -> Case:
    shape = _shape(g, int(g.integers(2, 4)))
    order = [int(axis) for axis in g.permutation(len(shape))]
    return _linear(
        shape, "Transpose", lambda x: x.transpose(order), perm=[0, *(axis + 1 for axis in order)]
    )


def reshape(g: Generator) -> Case:
    shape = _shape(g, 3)
    target = _pick(g, (0, -1), (0, shape[0], -1), (0, 0, -1), (-1, math.prod(shape)), (0, -1, 1))
    return _linear(shape, "Reshape", _flat, "t", constants={"t": np.int64(target)})


def blocks_to_space(g: Generator) -> Case:
    size, left, height, width = (int(n) for n in g.integers((1, 1, 1, 1), (3, 3, 3, 2)))
    mode = _pick(g, "DCR", "CRD")
    shape = (left * size**2, height, width)

    def computed(x: Exact) -> Exact:
        result = np.empty((left, height * size, width * size), dtype=object)
        for c, h, w in np.ndindex(result.shape):
            block = h % size * size + w % size
            place = block * left + c if mode == "DCR" else c * size**2 + block
            result[c, h, w] = x[place, h // size, w // size]
        return result

    return _linear(shape, "DepthToSpace", computed, blocksize=size, mode=mode)


def space_to_blocks(g: Generator) -> Case:
    size, channels, rows, columns = (int(n) for n in g.integers((1, 1, 1, 1), (3, 3, 3, 2)))
    shape = (channels, rows * size, columns * size)

    def computed(x: Exact) -> Exact:
        result = np.empty((channels * size**2, rows, columns), dtype=object)
        for c, h, w in np.ndindex(shape):
            place = (h % size * size + w % size) * channels + c
            result[place, h // size, w // size] = x[c, h, w]
        return result

    return _linear(shape, "SpaceToDepth", computed, blocksize=size)


def squeeze(g: Generator) -> Case:
    shape = (1, *_shape(g, 2), 1)
    opset = _pick(g, 11, 17)
    axes = _pick(g, [1, -1], [1], [4])
    given = {"axes": axes} if opset == 11 else {"constants": {"a": np.int64(axes)}}
    return _linear(shape, "Squeeze", _flat, *([] if opset == 11 else ["a"]), opset=opset, **given)


def unsqueeze(g: Generator) -> Case:
    opset = _pick(g, 11, 17)
    axes = _pick(g, [1], [-1], [2, 4])
    given = {"axes": axes} if opset == 11 else {"constants": {"a": np.int64(axes)}}
    return _linear(
        _shape(g, 2), "Unsqueeze", _flat, *([] if opset == 11 else ["a"]), opset=opset, **given
    )


def _nothing(name: str) -> Callable[[Generator], Case]:
    return lambda g: _linear(_shape(g), name, lambda x: x)


PIECEWISE: dict[str, Callable[[Generator], Case]] = {
    "Abs": absolute,
    "Add, constant": _with_constant("Add", lambda a, b: a + b),
    "Add": _of_two("Add", 1),
    "AveragePool 1-D": _average_pool(1),
    "AveragePool 2-D": _average_pool(2),
    "AveragePool 3-D": _average_pool(3),
    "BatchNormalization": batch_norm,
    "Clip": clip,
    "Concat": concat,
    "Conv 1-D": _conv(1),
    "Conv 2-D": _conv(2),
    "Conv 3-D": _conv(3),
    "ConvTranspose 1-D": _conv_transpose(1),
    "ConvTranspose 2-D": _conv_transpose(2),
    "ConvTranspose 3-D": _conv_transpose(3),
    "DepthToSpace": blocks_to_space,
    "Div": _with_constant("Div", lambda a, b: a / b),
    "Dropout": _nothing("Dropout"),
    "Expand": expand,
    "Flatten": lambda g: _linear(_shape(g), "Flatten", _flat),
    "Gather": gather,
    "Gemm": gemm,
    "GlobalAveragePool": global_average,
    "GlobalMaxPool": global_max,
    "HardSigmoid": hard_sigmoid,
    "Identity": _nothing("Identity"),
    "LeakyRelu": leaky_relu,
    "MatMul, constant": matmul,
    "Max": _extreme("Max"),
    "MaxPool 1-D": _max_pool(1),
    "MaxPool 2-D": _max_pool(2),
    "MaxPool 3-D": _max_pool(3),
    "Min": _extreme("Min"),
    "Mul, constant": _with_constant("Mul", lambda a, b: a * b),
    "Neg": lambda g: _linear(_shape(g), "Neg", lambda x: -x),
    "PRelu": prelu,
    "Pad": pad,
    "ReduceMax": _reduction("ReduceMax"),
    "ReduceMean": _reduction("ReduceMean"),
    "ReduceMin": _reduction("ReduceMin"),
    "ReduceSum": _reduction("ReduceSum"),
    "Relu": relu,
    "Reshape": reshape,
    "Slice": select_slice,
    "SpaceToDepth": space_to_blocks,
    "Split": split,
    "Squeeze": squeeze,
    "Sub, constant": _with_constant("Sub", lambda a, b: a - b),
    "Sub": _of_two("Sub", -1),
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}
"""What is linear between kinks."""


# Smooth functions and products.


def _each(
    name: str, at: Any, over: Any, opset: int = 17, **more: Any
) -> Callable[[Generator], Case]:
    """A function of one number: at a point with 60 digits, and over boxes."""

    def function(x: Exact) -> Exact:
        with mpmath.workdps(precise.DIGITS):
            found = np.empty(x.size, dtype=object)
            found[:] = [precise.fraction(at(precise.number(v))) for v in x.reshape(-1)]
        return found.reshape(x.shape)

    def made(g: Generator) -> Case:
        return Case(
            _shape(g, most=4), [node(name, "v", "w", **more)], function, interval=over, opset=opset
        )

    return made


def _increasing(function: Any) -> Callable[[Any, Any], Interval]:
    return lambda low, high: (function(low), function(high))


_ERF = np.vectorize(math.erf, otypes=[np.float64])


def _gelu_over(exact_form: bool) -> Callable[[Any, Any], Interval]:
    def value(x: Any) -> Any:
        if exact_form:
            return 0.5 * x * (1 + _ERF(x / math.sqrt(2)))
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))

    def over(low: Any, high: Any) -> Interval:
        # It falls up to about -0.752, rises from there on, and is above -0.1701.
        ends = value(low), value(high)
        inside = (low < -0.74) & (high > -0.76)
        return np.where(inside, -0.1701, np.minimum(*ends)), np.maximum(*ends)

    return over


def softmax(g: Generator) -> Case:
    shape = _shape(g, 2, 6)

    def over(low: Any, high: Any) -> Interval:
        def one(own: Any, others: Any) -> Any:
            rest = np.exp(others).sum(axis=-1, keepdims=True) - np.exp(others)
            return np.exp(own) / (np.exp(own) + rest)

        return one(low, high), one(high, low)

    def function(x: Exact) -> Exact:
        with mpmath.workdps(precise.DIGITS):
            rows = [precise.softmax([precise.number(v) for v in row]) for row in x]
            found = np.empty(x.size, dtype=object)
            found[:] = [precise.fraction(v) for row in rows for v in row]
        return found.reshape(x.shape)

    made = node("Softmax", "v", "w", axis=_pick(g, -1, 2))
    return Case(shape, [made], function, interval=over)


def layer_norm(g: Generator) -> Case:
    shape = _shape(g, 2, 6)
    scale, shift = _numbers(g, shape[-1]), _numbers(g, shape[-1])
    epsilon = float(np.float32(_pick(g, 1e-5, 0.125)))

    def over(low: Any, high: Any) -> Interval:
        n = shape[-1]
        mean = low.mean(axis=-1, keepdims=True), high.mean(axis=-1, keepdims=True)
        d_low = low * (n - 1) / n - (mean[1] - high / n)
        d_high = high * (n - 1) / n - (mean[0] - low / n)
        squares = np.maximum(np.maximum(d_low, -d_high), 0) ** 2
        largest = np.maximum(d_low**2, d_high**2)
        r = [1 / np.sqrt(v.mean(axis=-1, keepdims=True) + epsilon) for v in (largest, squares)]
        z_low = np.minimum(d_low * r[0], d_low * r[1])
        z_high = np.maximum(d_high * r[0], d_high * r[1])
        ends = z_low * scale.astype(float), z_high * scale.astype(float)
        return np.minimum(*ends) + shift, np.maximum(*ends) + shift

    def function(x: Exact) -> Exact:
        found = np.empty(x.shape, dtype=object)
        with mpmath.workdps(precise.DIGITS):
            for i, row in enumerate(x):
                numbers = [precise.number(v) for v in row]
                mean = mpmath.fsum(numbers) / len(numbers)
                variance = mpmath.fsum((v - mean) ** 2 for v in numbers) / len(numbers)
                root = mpmath.sqrt(variance + precise.number(epsilon))
                for j, v in enumerate(numbers):
                    z = precise.fraction((v - mean) / root)
                    found[i, j] = z * Fraction(float(scale[j])) + Fraction(float(shift[j]))
        return found

    made = node("LayerNormalization", "v s b", "w", axis=-1, epsilon=epsilon)
    return Case(shape, [made], function, interval=over, constants={"s": scale, "b": shift})


def _products(first: Interval, second: Interval) -> Interval:
    corners = [a * b for a in first for b in second]
    return np.min(corners, axis=0), np.max(corners, axis=0)


def mul(g: Generator) -> Case:
    """A value times what a ReLU makes of it."""

    def over(low: Any, high: Any) -> Interval:
        return _products((low, high), (np.maximum(low, 0), np.maximum(high, 0)))

    nodes = [node("Relu", "v", "r"), node("Mul", "v r", "w")]
    return Case(_shape(g, most=4), nodes, lambda x: x * _relu(x), interval=over)


def matmul_of_two(g: Generator) -> Case:
    """A matrix times itself turned around."""
    shape = _shape(g, 2, 4)

    def over(low: Any, high: Any) -> Interval:
        turned = low.swapaxes(-1, -2), high.swapaxes(-1, -2)
        first = low[..., :, :, None], high[..., :, :, None]
        low, high = _products(first, (turned[0][..., None, :, :], turned[1][..., None, :, :]))
        return low.sum(axis=-2), high.sum(axis=-2)

    nodes = [node("Transpose", "v", "t", perm=[0, 2, 1]), node("MatMul", "v t", "w")]
    return Case(shape, nodes, lambda x: np.matmul(x, x.T), interval=over)


def hard_swish(g: Generator) -> Case:
    def function(x: Exact) -> Exact:
        line = x / 6 + Fraction(1, 2)
        return x * np.where(line < 0, ZERO, np.where(line > 1, Fraction(1), line))

    def value(x: Any) -> Any:
        return x * np.clip(x / 6 + 0.5, 0, 1)

    def over(low: Any, high: Any) -> Interval:
        # It falls up to -3/2, where it is -3/8, and rises from there on.
        ends = value(low), value(high)
        inside = (low < -1.4) & (high > -1.6)
        return np.where(inside, -0.375, np.minimum(*ends)), np.maximum(*ends)

    return Case(_shape(g, most=4), [node("HardSwish", "v", "w")], function, interval=over, opset=17)


SMOOTH: dict[str, Callable[[Generator], Case]] = {
    "Erf": _each("Erf", mpmath.erf, _increasing(_ERF)),
    "Gelu": _each("Gelu", precise.gelu, _gelu_over(exact_form=True), 20),
    "Gelu, tanh": _each(
        "Gelu", precise.gelu_by_tanh, _gelu_over(exact_form=False), 20, approximate="tanh"
    ),
    "HardSwish": hard_swish,
    "LayerNormalization": layer_norm,
    "MatMul": matmul_of_two,
    "Mul": mul,
    "Sigmoid": _each("Sigmoid", precise.sigmoid, _increasing(lambda x: 1 / (1 + np.exp(-x)))),
    "Softmax": softmax,
    "Tanh": _each("Tanh", mpmath.tanh, _increasing(np.tanh)),
}
"""What is not."""
