"""Folding: the same function, with nothing left for a runtime to fold."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from support import exact
from support.networks import LARGER, TINY
from torch import nn

from asi_verify.core.network import Network, Node
from asi_verify.core.operators import Add, Affine, Conv, Relu, Scale
from asi_verify.data import Preprocess
from asi_verify.export import load_model
from asi_verify.export.folding import folded


def normalised(channels: int = 4) -> nn.Module:
    """Convolution and affine layer, each with batch norm whose statistics are not the initial."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, channels, 3), nn.BatchNorm2d(channels), nn.ReLU(),
        nn.Flatten(), nn.Linear(channels * 36, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2),
    )  # fmt: skip
    module.train()
    for _ in range(20):
        module(torch.rand(16, 3, 8, 8) * 2)
    return module.eval()


def constants(model: onnx.ModelProto) -> list[tuple[float, ...]]:
    """The numbers of every float constant, without the zeros that blocked layouts add."""
    arrays = (onnx.numpy_helper.to_array(t) for t in model.graph.initializer)
    numbers = (np.sort(a[a != 0]).tolist() for a in arrays if a.dtype == np.float32)
    return sorted(tuple(n) for n in numbers if n)


def test_a_runtime_at_its_defaults_changes_no_constant(tmp_path):
    """Batch norm and a contract with three channels, in ONNX Runtime as users run it."""
    contract = Preprocess(channels=3, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    artifact = load_model(normalised(), (1, 8, 8), contract)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(artifact.data, options, providers=["CPUExecutionProvider"])
    written = onnx.load_from_string(artifact.data)
    assert constants(onnx.load(tmp_path / "optimised.onnx")) == constants(written)
    assert {n.op_type for n in written.graph.node} <= {"Conv", "Relu", "Reshape", "Gemm"}


@pytest.mark.parametrize("name", [*TINY, *LARGER])
def test_folding_changes_nothing_over_the_reals(name):
    """Up to the rounding of two products in float64."""
    generator = np.random.default_rng(0)
    network = {**TINY, **LARGER}[name](generator)
    x = generator.random(network.input_shape, dtype=np.float32)
    before, after = exact.evaluate(network, x), exact.evaluate(folded(network), x)
    assert all(abs(a - b) < Fraction(1, 10**12) for a, b in zip(before, after, strict=True))


def test_maps_are_folded_only_where_that_is_the_same():
    """Not across a ReLU, not where another operator reads the layer, not number by number."""
    one = np.float32([[1, 2], [3, 4]])
    layer = Affine(one, np.float32([1, -1]))
    scale = Scale(np.float32([2, 3]), np.float32([5, 7]))
    chain = folded(Network.sequential((2,), [layer, scale, scale]))
    assert [type(n.operator) for n in chain.nodes] == [Affine]
    assert chain.nodes[0].operator.weight.tolist() == [[4, 8], [27, 36]]
    assert chain.nodes[0].operator.bias.tolist() == [19, 19]
    for nodes in (
        (Node(layer, (0,)), Node(Relu(), (1,)), Node(scale, (2,))),
        (Node(layer, (0,)), Node(scale, (1,)), Node(Add(), (1, 2))),
        (Node(scale, (0,)), Node(layer, (1,))),
    ):
        network = Network((2,), nodes)
        assert [n.operator for n in folded(network).nodes] == [n.operator for n in nodes]
    kernel = Conv(np.ones((1, 1, 1), np.float32), np.zeros(1, np.float32), (1,), ((0, 0),), (1,))
    numbers = Scale(np.float32([[1, 2]]), np.float32(0))
    assert len(folded(Network.sequential((1, 2), [kernel, numbers])).nodes) == 2
