"""Proofs in float32: whatever order hardware sums in, no result lies outside of what is proved."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from support import float32
from support.float32 import Arithmetic
from support.methods import METHODS
from support.networks import LARGER, TINY, random_box, sampled, seeds
from support.onnx_files import model, node

from asi_verify.checker import TrustedPass
from asi_verify.checker.split_tree import leaf_bounds
from asi_verify.core.box import Box
from asi_verify.core.clauses import Clauses, Inequality
from asi_verify.core.evidence import Intermediate, IntervalEvidence, LinearEvidence
from asi_verify.core.network import Network, Node
from asi_verify.core.operators import (
    Add,
    Affine,
    Conv,
    MaxPool,
    Relu,
    Reshape,
    Scale,
    Transpose,
)
from asi_verify.core.properties import SingleLabel
from asi_verify.core.semantics import Semantics
from asi_verify.core.split_tree import THRESHOLD, Cut
from asi_verify.errors import UnsupportedOperatorError, UsageError
from asi_verify.lowering import read_network, write_artifact
from asi_verify.runtime import Session
from asi_verify.runtime.session import load

WAYS = list(itertools.product((False, True), (False, True)))


def point(x):
    """The box that holds one input."""
    return Box(np.float32(x)[None], np.float32(x)[None])


@pytest.mark.parametrize("name", TINY)
@settings(max_examples=60, deadline=None)
@given(seed=seeds)
def test_no_summation_order_leaves_the_enclosure(name, seed):
    """Random trees, fused or not, flushed or not, on inputs and weights of all sizes."""
    generator = np.random.default_rng(seed)
    network = TINY[name](generator)
    x = (generator.random(network.input_shape) * 2.0 ** generator.integers(-130, 3)).astype(
        np.float32
    )
    box = TrustedPass(network, Semantics.FLOAT32).enclosure(point(x))
    for fused, flush in WAYS:
        found = float32.run(network, x, Arithmetic(generator, fused, flush)).astype(np.float64)
        assert np.all((box.lower[0] <= found) & (found <= box.upper[0]))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", [*TINY, "grouped"])
def test_no_summation_order_undercuts_a_bound(name, method):
    """Of the smallest margin over a box, at points inside it and at its corners."""
    for seed in range(4):
        generator = np.random.default_rng(seed)
        network = {**TINY, **LARGER}[name](generator)
        lower, upper = random_box(generator, network.input_shape, 1, 0.05)
        trusted = TrustedPass(network, Semantics.FLOAT32)
        wanted = SingleLabel(0, network.logits)
        bound = trusted.margins(Box(lower, upper), wanted, METHODS[method])[0]
        for x in sampled(generator, lower[0], upper[0], 6):
            for fused, flush in WAYS:
                logits = float32.run(network, x, Arithmetic(generator, fused, flush))
                assert wanted.margins(logits[None])[0] >= bound


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", [*TINY, *LARGER])
def test_float32_proves_no_more_than_the_reals(name, method):
    """Exact arithmetic is one of the ways that are covered."""
    generator = np.random.default_rng(1)
    network = {**TINY, **LARGER}[name](generator)
    lower, upper = random_box(generator, network.input_shape, 3, 0.02)
    wanted = SingleLabel(0, network.logits)
    real, rounded = (
        TrustedPass(network, semantics).margins(Box(lower, upper), wanted, METHODS[method])
        for semantics in (Semantics.REAL, Semantics.FLOAT32)
    )
    assert np.all(rounded < real)
    assert np.all(real - rounded < 1e-3 * np.maximum(np.abs(real), 1))


LARGE = np.float32(2.0**24)


def cancelling() -> Network:
    """``logit_0 - logit_1`` is 1 over the reals; in float32 the 1 is lost next to 2**24.

    After the published attacks on verifiers (Jia and Rinard 2021; Zombori et al. 2021).
    """
    return Network.sequential(
        (1,),
        [
            Affine(np.float32([[0], [0], [0]]), np.float32([LARGE, LARGE, 1])),
            Relu(),
            Affine(np.float32([[1, -1, 1], [0, 0, 0]]), np.float32([0, 0])),
        ],
    )


@pytest.mark.parametrize("method", METHODS)
def test_what_rounding_undoes_is_not_proved(method):
    """Over the reals it is right everywhere and is proved; in float32 it is not, and is not."""
    network, wanted = cancelling(), SingleLabel(0, 2)
    box = Box(np.float32([[0]]), np.float32([[1]]))
    assert TrustedPass(network, Semantics.REAL).margins(box, wanted, METHODS[method])[
        0
    ] == pytest.approx(1)
    assert TrustedPass(network, Semantics.FLOAT32).margins(box, wanted, METHODS[method])[0] < 0
    logits = [
        float32.run(network, [0.5], Arithmetic(np.random.default_rng(seed))) for seed in range(20)
    ]
    assert any(wanted.margins(found[None])[0] <= 0 for found in logits)


def two_convolutions(*moves):
    """``2**24 - 2**24`` and 1 of two convolutions, each then moved about, and their sum."""
    ones = (1,)
    kernels = np.float32([[[LARGE], [-LARGE]]]), np.float32([[[1], [0]]])
    nodes = [Node(Conv(k, np.float32([0]), ones, ((0, 0),), ones), (0,)) for k in kernels]
    for move in moves:
        last = len(nodes)
        nodes += [Node(move, (last - 1,)), Node(move, (last,))]
    return Network((2, 1), (*nodes, Node(Add(), (len(nodes) - 1, len(nodes)))))


MOVES = {
    "nothing": [],
    "transposed": [Transpose((1, 0))],
    "reshaped": [Reshape((1,))],
    "transposed and reshaped": [Transpose((1, 0)), Reshape((1, 1, 1))],
}


@pytest.mark.parametrize("name", MOVES)
def test_a_sum_that_starts_from_the_other_summand_is_covered(name):
    """Runtimes take a residual sum into the convolution before it: its 1 is lost among 2**24s.

    ONNX Runtime exchanges it with transposes for that, and may with whatever moves numbers.
    """
    network = two_convolutions(*MOVES[name])
    x = np.ones((1, 2, 1), np.float32)
    trusted = TrustedPass(network, Semantics.FLOAT32)
    box = trusted.bounds(Box(x, x.copy()), Intermediate.INTERVAL).boxes[-1]
    inside = np.float32(np.float32(np.float32(1) + LARGE) - LARGE)
    assert box.lower.item() <= float(inside) <= box.upper.item()
    assert box.lower.item() <= 1 <= box.upper.item()
    assert box.contains(Session(write_artifact(network)).run(x))[0]


@pytest.mark.parametrize(
    ("operator", "sign"), [(Relu(), 1), (Reshape((2,)), 1), (Reshape((2,)), -1)]
)
def test_a_subnormal_input_may_be_read_as_zero(operator, sign):
    """Its sign is not known then, in a box or on a leaf of a tree; over the reals it is."""
    network = Network.sequential((2,), [operator])
    wanted = Clauses(2, ((Inequality((sign, 0), Fraction(0)),),))
    ends = sorted([sign * 1e-40, sign * 1e-39])
    box = Box(*(np.full((1, 2), end, np.float32) for end in ends))
    wide = Box(np.full((1, 2), -1e-38, np.float32), np.full((1, 2), 1e-38, np.float32))
    cut = Cut(THRESHOLD, 0, sign, float(np.float32(sign * 1e-40)))
    for semantics, proved in ((Semantics.FLOAT32, False), (Semantics.REAL, True)):
        trusted = TrustedPass(network, semantics)
        for evidence in (IntervalEvidence(), LinearEvidence(Intermediate.BACKWARD)):
            assert (trusted.margins(box, wanted, evidence)[0] > 0) == proved
        root = trusted.bounds(wide, Intermediate.INTERVAL)
        leaf = leaf_bounds(trusted, root, [(cut,)], Intermediate.INTERVAL)
        assert (trusted.rows(leaf, wanted, to_input=True)[0, 0] > 0) == proved


def test_dead_neurons_carry_no_error():
    """A neuron that is off throughout the region may compute whatever it likes."""

    def network(bias):
        return Network.sequential(
            (1,),
            [
                Affine(np.float32([[1], [bias], [bias]]), np.float32([0, -2 * bias, -3 * bias])),
                Relu(),
                Affine(np.float32([[1, 1, 1], [0, 0, 0]]), np.float32([0.5, 0])),
            ],
        )

    box = Box(np.float32([[0]]), np.float32([[1]]))
    quiet, loud = (
        TrustedPass(network(size), Semantics.FLOAT32).margins(
            box, SingleLabel(0, 2), METHODS["crown-ibp"]
        )
        for size in (1, 1e6)
    )
    assert loud == pytest.approx(quiet, abs=1e-6)
    assert quiet == pytest.approx(0.5, abs=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_what_may_overflow_is_not_proved(method):
    """A partial sum beyond binary32's largest number is infinite, whatever the total is."""
    huge = np.float32(2.0**125)
    network = Network.sequential(
        (4,),
        [
            Affine(
                np.stack([np.float32([huge, huge, -huge, -huge]), np.zeros(4, np.float32)]),
                np.float32([2.0**100, 0]),
            )
        ],
    )
    box = point(np.full(4, 4.0))
    reals = TrustedPass(network, Semantics.REAL)
    assert reals.margins(box, SingleLabel(0, 2), METHODS[method])[0] > 0
    trusted = TrustedPass(network, Semantics.FLOAT32)
    assert trusted.margins(box, SingleLabel(0, 2), METHODS[method])[0] == -np.inf
    with pytest.raises(ValueError, match="range"):
        trusted.enclosure(box)
    doubled = Network(
        (1,), (Node(Scale(np.float32(huge), np.float32(0)), (0,)), Node(Add(), (1, 1)))
    )
    assert (
        not TrustedPass(doubled, Semantics.FLOAT32)
        .bounds(point([2.0]), Intermediate.INTERVAL)
        .sound.any()
    )


def test_sums_too_long_for_binary32_are_refused():
    """A bound on their rounding would say nothing."""
    wide = Network.sequential((1, 2**22), [Conv(
        np.zeros((1, 1, 2**22), np.float32), np.zeros(1, np.float32), (1,), ((0, 0),), (1,)
    )])  # fmt: skip
    TrustedPass(wide, Semantics.REAL)
    with pytest.raises(UnsupportedOperatorError, match="binary32"):
        TrustedPass(wide, Semantics.FLOAT32)


@pytest.mark.parametrize("name", LARGER)
def test_onnxruntime_lies_inside_the_enclosure(name):
    """At every one of many points, in batches and alone."""
    generator = np.random.default_rng(4)
    network = LARGER[name](generator)
    x = generator.random((200, *network.input_shape), dtype=np.float32)
    session = onnxruntime.InferenceSession(
        write_artifact(network), providers=["CPUExecutionProvider"]
    )
    box = TrustedPass(network, Semantics.FLOAT32).enclosure(Box(x.copy(), x.copy()))
    for found in (
        session.run(None, {"image": x})[0],
        np.concatenate([session.run(None, {"image": x[i : i + 1]})[0] for i in range(len(x))]),
    ):
        assert np.all((box.lower <= found) & (found <= box.upper))


def constants(model):
    """The sorted numbers of every float constant of a graph, those of fused activations too."""
    arrays = [onnx.numpy_helper.to_array(t) for t in model.graph.initializer]
    attributes = [a for n in model.graph.node for a in n.attribute]
    fused = [a.floats for a in attributes if a.name == "activation_params"]
    arrays += [np.float32([number]) for numbers in fused for number in numbers]
    return sorted(tuple(np.sort(a, axis=None).tolist()) for a in arrays if a.dtype == np.float32)


KINDS = {
    "Add", "Clip", "Concat", "Conv", "ConvTranspose", "FusedConv", "FusedGemm", "Gather", "Gemm",
    "MatMul", "MaxPool", "Mul", "PRelu", "Pad", "Relu", "ReorderInput", "ReorderOutput", "Reshape",
    "Transpose",
}  # fmt: skip
"""Operators of an optimised artifact whose arithmetic the float32 semantics describe."""


def test_pools_of_all_forms_run_as_they_are_proved():
    """Maxima and averages by ONNX Runtime's own operators lie inside the enclosure."""
    settings = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 0, 1, 1]}
    generator = np.random.default_rng(0)
    weights = {
        "w": generator.normal(size=(8, 3, 3, 3)).astype(np.float32),
        "v": generator.normal(size=(4, 16, 2, 2)).astype(np.float32),
    }
    nodes = [
        node("Conv", "x w", "1", pads=[1, 1, 1, 1]), node("MaxPool", "1", "2", **settings),
        node("AveragePool", "1", "3", **settings), node("Concat", "2 3", "4", axis=1),
        node("Conv", "4 v", "5"), node("AveragePool", "5", "6", kernel_shape=[2, 2], ceil_mode=1,
        strides=[2, 2]), node("GlobalMaxPool", "6", "7"), node("Flatten", "7"),
    ]  # fmt: skip
    data = model(nodes, (3, 12, 12), weights)
    network = read_network(data)
    assert sum(isinstance(n.operator, MaxPool) for n in network.nodes) == 2
    x = generator.random((200, 3, 12, 12), dtype=np.float32)
    box = TrustedPass(network, Semantics.FLOAT32).enclosure(Box(x, x.copy()))
    found = Session(data).run(x)
    assert np.all((box.lower <= found) & (found <= box.upper))
    assert np.max(box.upper - box.lower) < 1e-2


def users_file():
    """Normalisation, convolution, batch norm, then a scale and shifts per channel."""
    generator = np.random.default_rng(0)
    channels = {k: generator.uniform(0.5, 2, 4).astype(np.float32) for k in "szmv"}
    maps = {k: generator.uniform(0.5, 2, (1, 4, 1, 1)).astype(np.float32) for k in "kat"}
    maps["n"], maps["d"] = np.float32([[[[0.45]]]]), np.float32([[[[0.22]]]])
    weights = {
        "w": generator.normal(size=(4, 1, 3, 3)).astype(np.float32),
        "g": generator.normal(size=(144, 2)).astype(np.float32),
        "q": generator.normal(size=2).astype(np.float32),
    }
    nodes = [
        node("Sub", "x n", "1"), node("Div", "1 d", "2"), node("Conv", "2 w", "3"),
        node("BatchNormalization", "3 s z m v", "4"), node("Mul", "4 k", "5"),
        node("Add", "5 a", "6"), node("Sub", "6 t", "7"), node("Relu", "7", "8"),
        node("Flatten", "8", "9"), node("MatMul", "9 g", "10"), node("Add", "10 q"),
    ]  # fmt: skip
    return model(nodes, (1, 8, 8), {**channels, **maps, **weights})


def test_a_users_file_runs_with_its_own_constants(tmp_path):
    """Nothing is folded into the convolution, and its logits lie inside the enclosure."""
    data = users_file()
    load(data, optimised=str(tmp_path / "optimised.onnx"))
    kernel = constants(onnx.load_from_string(data))
    after = constants(onnx.load(tmp_path / "optimised.onnx"))
    wanted = next(c for c in kernel if len(c) == 36)
    assert wanted in [tuple(v for v in c if v) for c in after]
    x = np.random.default_rng(1).random((500, 1, 8, 8), dtype=np.float32)
    box = TrustedPass(read_network(data), Semantics.FLOAT32).enclosure(Box(x, x.copy()))
    found = Session(data).run(x)
    assert np.all((box.lower <= found) & (found <= box.upper))


@pytest.mark.parametrize("name", LARGER)
def test_onnxruntime_changes_no_constant_and_adds_no_other_arithmetic(name, tmp_path):
    """What it really runs, after its optimisations: known operators, and the artifact's numbers."""
    data = write_artifact(LARGER[name](np.random.default_rng(4)))
    load(data, optimised=str(tmp_path / "optimised.onnx"))
    optimised = onnx.load(tmp_path / "optimised.onnx")
    assert {node.op_type for node in optimised.graph.node} <= KINDS
    before, after = constants(onnx.load_from_string(data)), constants(optimised)
    # Blocked layouts pad channels with zeros.
    assert [tuple(v for v in c if v) for c in after if any(c)] == [
        tuple(v for v in c if v) for c in before if any(c)
    ]


def test_semantics_are_read_from_their_names():
    """What is not known is refused, with what there is."""
    assert Semantics.of("float32") is Semantics.of(Semantics.FLOAT32) is Semantics.FLOAT32
    with pytest.raises(UsageError, match="float16"):
        Semantics.of("float16")
