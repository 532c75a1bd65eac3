"""Every converter against ONNX Runtime and against exact arithmetic, and every refusal by name."""

from __future__ import annotations

from fractions import Fraction

import mpmath
import numpy as np
import onnx
import onnxruntime
import pytest
from support import exact, moved_files
from support.onnx_files import model, node

from asi_verify.checker import TrustedPass
from asi_verify.core.box import Box
from asi_verify.core.operators import Conv
from asi_verify.core.semantics import Semantics
from asi_verify.core.smooth import Gelu, LayerNormalization, Softmax
from asi_verify.errors import ModelError, UnsupportedOperatorError
from asi_verify.lowering import read_network, write_artifact
from asi_verify.lowering.graph import OnnxNode
from asi_verify.lowering.registry import REGISTRY, Registry

G = np.random.default_rng(0)


def r(*shape: int):
    return G.normal(size=shape).astype(np.float32)


def without_extents() -> onnx.NodeProto:
    """A pool whose window has no axes."""
    pool = node("MaxPool", "x")
    pool.attribute.append(
        onnx.helper.make_attribute("kernel_shape", [], attr_type=onnx.AttributeProto.INTS)
    )
    return pool


def spelled(factors: str, half: str, *, divides: bool = True):
    """GELU as exporters wrote it before operator set 20: ``0.5 x (1 + erf(x / sqrt(2)))``."""
    constants = {"h": np.float32(0.5), "i": np.float32(1), "r": np.float32(2**0.5)}
    constants["q"] = np.float32(0.5**0.5)
    nodes = [node("Div", "x r", "a") if divides else node("Mul", "x q", "a")]
    nodes += [node("Erf", "a", "e"), node("Add", "e i", "1")]
    if half == "last":
        nodes += [node("Mul", factors, "p"), node("Mul", "p h")]
    elif half == "first":
        nodes += [node("Mul", "x h", "z"), node("Mul", factors.replace("x", "z"))]
    else:
        nodes += [node("Mul", "1 h", "g"), node("Mul", factors.replace("1", "g"))]
    return model(nodes, (7,), constants)


CASES = {
    "Gemm": model([node("Gemm", "x w b", transB=1)], (5,), {"w": r(3, 5), "b": r(3)}),
    "Gemm, not transposed": model([node("Gemm", "x w b")], (5,), {"w": r(5, 3), "b": r(1, 3)}),
    "Gemm, one bias": model([node("Gemm", "x w b")], (5,), {"w": r(5, 3), "b": r(1)}),
    "Gemm, no bias": model([node("Gemm", "x w")], (5,), {"w": r(5, 3)}),
    "MatMul": model([node("MatMul", "x w")], (5,), {"w": r(5, 3)}),
    "Conv 1-D": model([node("Conv", "x w b", pads=[1, 2])], (2, 7), {"w": r(3, 2, 3), "b": r(3)}),
    "Conv 2-D": model(
        [node("Conv", "x w b", pads=[0, 1, 2, 3], strides=[2, 1], dilations=[1, 2])],
        (2, 7, 6),
        {"w": r(4, 2, 3, 2), "b": r(4)},
    ),
    "Conv, groups": model(
        [node("Conv", "x w", group=2, auto_pad="VALID")], (4, 5, 5), {"w": r(6, 2, 2, 2)}
    ),
    "Conv 3-D": model([node("Conv", "x w", pads=[1] * 6)], (1, 4, 3, 4), {"w": r(2, 1, 2, 3, 2)}),
    "Relu": model([node("Relu", "x")], (3, 4)),
    "Add constant": model([node("Add", "x c")], (2, 3, 3), {"c": r(2, 1, 1)}),
    "Add constant first": model([node("Add", "c x")], (3,), {"c": r(1, 3)}),
    "Add two values": model([node("Relu", "x", "h"), node("Add", "x h")], (4,)),
    "Sub constant": model([node("Sub", "x c")], (4,), {"c": r(4)}),
    "Sub from constant": model([node("Sub", "c x")], (4,), {"c": r(4)}),
    "Sub two values": model([node("Relu", "x", "h"), node("Sub", "h x")], (4,)),
    "Mul": model([node("Mul", "x c")], (2, 3), {"c": r(1, 2, 1)}),
    "Mul by a number": model([node("Mul", "c x")], (2, 3), {"c": np.float32(0.3)}),
    "Div": model([node("Div", "x c")], (2, 3), {"c": np.float32([[3.0], [-0.7]])}),
    "Div by a number": model([node("Div", "x c")], (2, 3), {"c": np.float32(0.3)}),
    "Add to one number": model(
        [node("ReduceMean", "x", "m", axes=[1], keepdims=0), node("Add", "m c")],
        (3,),
        {"c": np.float32([0.3])},
    ),
    "Mul of one number": model(
        [node("ReduceMean", "x", "m", axes=[1], keepdims=0), node("Mul", "m c")],
        (3,),
        {"c": np.float32([0.3])},
    ),
    "BatchNormalization": model(
        [node("BatchNormalization", "x s b m v", epsilon=1e-3)],
        (3, 4, 4),
        {"s": r(3), "b": r(3), "m": r(3), "v": np.abs(r(3))},
    ),
    "AveragePool": model(
        [node("AveragePool", "x", kernel_shape=[3, 2], strides=[2, 1])], (2, 7, 5)
    ),
    "AveragePool, overlapping and padded": model(
        [
            node(
                "AveragePool", "x", kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1],
                count_include_pad=1,
            )
        ],
        (2, 5, 5),
    ),
    "AveragePool of 4": model([node("AveragePool", "x", kernel_shape=[2, 2])], (2, 5, 5)),
    "AveragePool of lines": model(
        [node("AveragePool", "x", kernel_shape=[3], strides=[2], pads=[1, 1])], (2, 8)
    ),
    "AveragePool of volumes": model(
        [node("AveragePool", "x", kernel_shape=[3, 2, 2], strides=[2, 1, 2])], (2, 5, 4, 5)
    ),
    "AveragePool of volumes, padded": model(
        [
            node(
                "AveragePool", "x", kernel_shape=[3, 2, 3], strides=[1, 2, 2],
                pads=[1, 0, 2, 1, 1, 0],
            )
        ],
        (1, 4, 3, 4),
    ),
    "AveragePool, what lies inside is counted": model(
        [node("AveragePool", "x", kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1])],
        (2, 6, 5),
    ),
    "AveragePool, rounded up": model(
        [node("AveragePool", "x", kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1)], (2, 6, 5)
    ),
    "AveragePool, rounded up and padded": model(
        [
            node(
                "AveragePool", "x", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 0, 1],
                ceil_mode=1,
            )
        ],
        (1, 6, 6),
    ),
    "AveragePool, rounded up to what fits": model(
        [
            node(
                "AveragePool", "x", kernel_shape=[3], strides=[2], pads=[1, 1], ceil_mode=1,
                count_include_pad=1,
            )
        ],
        (2, 7),
    ),
    "MaxPool": model([node("MaxPool", "x", kernel_shape=[3, 2], strides=[2, 1])], (2, 7, 5)),
    "MaxPool of lines": model(
        [node("MaxPool", "x", kernel_shape=[3], pads=[2, 1], auto_pad="NOTSET")], (2, 6)
    ),
    "MaxPool of volumes": model(
        [
            node(
                "MaxPool", "x", kernel_shape=[2, 3, 2], strides=[1, 2, 2], pads=[1, 0, 0, 0, 2, 1],
                storage_order=0,
            )
        ],
        (2, 4, 5, 3),
    ),
    "MaxPool, dilated": model(
        [node("MaxPool", "x", kernel_shape=[2, 3], dilations=[3, 1], pads=[1, 1, 1, 0])], (2, 6, 4)
    ),
    "MaxPool, rounded up": model(
        [node("MaxPool", "x", kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1)], (2, 6, 5)
    ),
    "MaxPool, rounded up and padded": model(
        [
            node(
                "MaxPool", "x", kernel_shape=[3, 3], strides=[2, 3], pads=[1, 2, 1, 0], ceil_mode=1
            )
        ],
        (1, 7, 6),
    ),
    "MaxPool, old operator set": model(
        [node("MaxPool", "x", kernel_shape=[2, 2], auto_pad="VALID")], (1, 3, 3), opset=11
    ),
    "GlobalMaxPool": model([node("GlobalMaxPool", "x")], (2, 3, 5)),
    "GlobalMaxPool of lines": model([node("GlobalMaxPool", "x")], (2, 5)),
    "GlobalMaxPool of volumes": model([node("GlobalMaxPool", "x")], (2, 2, 3, 2)),
    "GlobalAveragePool of lines": model([node("GlobalAveragePool", "x")], (2, 5)),
    "GlobalAveragePool of volumes": model([node("GlobalAveragePool", "x")], (2, 2, 3, 2)),
    "Concat": model(
        [node("Relu", "x", "h"), node("Concat", "h x x", axis=1)], (2, 3)
    ),
    "Concat, last axis": model(
        [
            node("MaxPool", "x", "h", kernel_shape=[1, 2]),
            node("Concat", "h x", axis=-1),
        ],
        (2, 3, 4),
    ),
    "Concat of one": model([node("Relu", "x", "h"), node("Concat", "h", axis=1)], (2, 3)),
    "GlobalAveragePool": model([node("GlobalAveragePool", "x")], (2, 3, 5)),
    "ReduceMean": model([node("ReduceMean", "x", axes=[2, 3], keepdims=0)], (2, 3, 5)),
    "ReduceMax": model([node("ReduceMax", "x", axes=[2, 3], keepdims=0)], (2, 3, 5)),
    "ReduceMax, axes as input": model(
        [node("ReduceMax", "x a")], (2, 3, 5), {"a": np.int64([-1, -2])}, opset=18
    ),
    "ReduceMean, axes as input": model(
        [node("ReduceMean", "x a")], (2, 3, 5), {"a": np.int64([-1, -2])}, opset=18
    ),
    "Sigmoid": model([node("Sigmoid", "x", "h"), node("Relu", "h")], (3,)),
    "Sigmoid of a matrix": model([node("Sigmoid", "x")], (3, 4)),
    "Tanh": model([node("Tanh", "x")], (3,)),
    "Erf": model([node("Erf", "x")], (3,)),
    "Gelu": model([node("Gelu", "x")], (9,), opset=20),
    "Gelu, tanh": model([node("Gelu", "x", approximate="tanh")], (9,), opset=20),
    "Gelu spelled out, half last": spelled("x 1", half="last"),
    "Gelu spelled out, half first": spelled("x 1", half="first"),
    "Gelu spelled out, half in the gate": spelled("1 x", half="gate"),
    "Gelu spelled out with a product": spelled("x 1", half="last", divides=False),
    "Softmax": model([node("Softmax", "x", "h"), node("Relu", "h")], (5,)),
    "Softmax over channels": model([node("Softmax", "x", axis=1)], (3, 4)),
    "Softmax, last axis of the old kind": model([node("Softmax", "x", axis=2)], (3, 4), opset=11),
    "LayerNormalization": model(
        [node("LayerNormalization", "x s b", epsilon=1e-3)], (3, 4), {"s": r(4), "b": r(4)}
    ),
    "LayerNormalization, two axes": model(
        [node("LayerNormalization", "x s", axis=1)], (3, 4), {"s": r(3, 4)}
    ),
    "LayerNormalization, one scale": model(
        [node("LayerNormalization", "x s", axis=-2)], (3, 4), {"s": r(1)}
    ),
    "Flatten": model([node("Flatten", "x")], (2, 3, 4)),
    "Reshape": model([node("Reshape", "x s")], (2, 3, 4), {"s": np.int64([0, -1, 8])}),
    "Reshape, batch first": model([node("Reshape", "x s")], (2, 6), {"s": np.int64([-1, 4, 3])}),
    "Reshape, copied extent": model([node("Reshape", "x s")], (2, 6), {"s": np.int64([0, 0, 6])}),
    "Transpose": model([node("Transpose", "x", perm=[0, 3, 1, 2])], (2, 3, 4)),
    "Identity": model([node("Identity", "x", "h"), node("Relu", "h")], (3,)),
    "Dropout": model([node("Dropout", "x", "h"), node("Relu", "h")], (3,)),
    "Constant": model(
        [
                onnx.helper.make_node(
                    "Constant", [], ["c"], value=onnx.numpy_helper.from_array(r(3), "c")
                ),
                node("Add", "x c"),
            ],
        (3,),
    ),
    "Constant, floats": model(
        [onnx.helper.make_node("Constant", [], ["c"], value_floats=[1.0, 2.0]), node("Add", "x c")],
        (2,),
    ),
    "Constant, shape": model(
        [onnx.helper.make_node("Constant", [], ["s"], value_ints=[0, 6]), node("Reshape", "x s")],
        (2, 3),
    ),
    "Identity of a constant": model(
        [node("Identity", "k", "c"), node("Add", "x c")], (3,), {"k": r(3)}
    ),
    "fixed batch of 1": model(
        [node("Reshape", "x s")], (2, 3), {"s": np.int64([1, 6])}, batch=1
    ),
    "old operator set": model([node("Relu", "x")], (3,), opset=11),
    **moved_files.CASES,
}  # fmt: skip


def run(data: bytes, points):
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    fixed = isinstance(session.get_inputs()[0].shape[0], int)
    parts = [points[i : i + 1] for i in range(len(points))] if fixed else [points]
    return np.concatenate([session.run(None, {"x": part})[0] for part in parts])


@pytest.mark.parametrize("name", CASES)
def test_the_network_computes_what_onnx_runtime_does(name):
    """Float32 results agree with the exact network up to float32 rounding."""
    network = read_network(CASES[name])
    points = np.random.default_rng(1).normal(size=(4, *network.input_shape)).astype(np.float32)
    enclosure = TrustedPass(network, Semantics.REAL).enclosure(Box(points, points.copy()))
    deployed = run(CASES[name], points)
    assert deployed.shape[1:] == network.output_shape
    np.testing.assert_allclose(0.5 * (enclosure.lower + enclosure.upper), deployed, atol=2e-5)


@pytest.mark.parametrize("name", CASES)
def test_what_onnx_runtime_answers_lies_inside_the_enclosure(name):
    """Of the file as it is, at points of several sizes; what we made of an operator may round."""
    network = read_network(CASES[name])
    sizes = np.float32([1e-3, 1, 30]).repeat(4).reshape(-1, *(1 for _ in network.input_shape))
    points = np.random.default_rng(3).normal(size=(12, *network.input_shape)).astype(np.float32)
    points *= sizes
    box = TrustedPass(network, Semantics.FLOAT32).enclosure(Box(points, points.copy()))
    deployed = run(CASES[name], points)
    assert np.all((box.lower <= deployed) & (deployed <= box.upper))


def test_a_hard_swish_multiplies_by_a_sixth_or_by_the_float32_next_to_it():
    """The standard's factor and that of runtimes lie inside the enclosure over the reals."""
    network = read_network(CASES["HardSwish"])
    points = np.random.default_rng(3).normal(size=(20, *network.input_shape)).astype(np.float32)
    box = TrustedPass(network, Semantics.REAL).enclosure(Box(points, points.copy()))
    for factor in (Fraction(1, 6), Fraction(float(np.float32(1 / 6)))):
        for place, x in np.ndenumerate(points):
            line = Fraction(float(x)) * factor + Fraction(1, 2)
            value = Fraction(float(x)) * min(max(line, 0), 1)
            assert box.lower[place] <= value <= box.upper[place]


@pytest.mark.parametrize("name", CASES)
def test_every_constant_is_an_array(name):
    """One without axes too: numpy's numbers are none, and torch takes arrays only."""
    network = read_network(CASES[name])
    held = [held for node in network.nodes for held in vars(node.operator).values()]
    assert not any(isinstance(one, np.generic) for one in held)


@pytest.mark.parametrize("name", CASES)
def test_a_network_that_is_written_and_read_again_is_the_same_function(name):
    """After rounding, writing and reading change nothing: exactly, and bytes are stable."""
    network = read_network(CASES[name]).rounded()
    data = write_artifact(network)
    again = read_network(data)
    assert write_artifact(again) == data
    point = np.random.default_rng(2).normal(size=network.input_shape).astype(np.float32)
    np.testing.assert_array_equal(exact.evaluate(again, point), exact.evaluate(network, point))


def test_an_average_at_the_border_counts_what_lies_inside():
    """Exactly: padding and what rounding up adds are neither summed nor counted."""
    data = model(
        [node("AveragePool", "x", kernel_shape=[3], strides=[2], pads=[1, 0], ceil_mode=1)], (1, 5)
    )
    network = read_network(data)
    x = exact.exact(np.arange(1, 6, dtype=np.float64) ** 2).reshape(1, 5)
    for step in network.nodes:
        x = exact.apply(step.operator, x)
    wanted = [Fraction(1 + 4, 2), Fraction(4 + 9 + 16, 3), Fraction(16 + 25, 2)]
    off = [abs(a - b) for a, b in zip(x[0], wanted, strict=True)]
    assert max(off) < Fraction(1, 10**14)
    assert off[0] == off[2] == 0


def test_the_mean_of_nine_lies_inside_its_bounds():
    """1/9 is no float: the slack has to cover the difference, and does so barely."""
    data = model([node("AveragePool", "x", kernel_shape=[3, 3])], (1, 3, 3))
    point = np.random.default_rng(3).random((1, 1, 3, 3)).astype(np.float32)
    truth = exact.exact(point[0]).sum() / Fraction(9)
    found = TrustedPass(read_network(data), Semantics.REAL).enclosure(Box(point, point.copy()))
    low, high = Fraction(float(found.lower.item())), Fraction(float(found.upper.item()))
    assert low <= truth <= high
    assert high - low < Fraction(1, 10**13)


@pytest.mark.parametrize("seed", range(20))
def test_batch_normalisation_lies_inside_its_bounds(seed):
    """The square root and the division are rounded; the exact value is still enclosed."""
    generator = np.random.default_rng(seed)
    scale, bias, mean = generator.normal(size=(3, 1)).astype(np.float32) * 10
    variance = generator.random(1).astype(np.float32)
    data = model(
        [node("BatchNormalization", "x s b m v", epsilon=1e-5)],
        (1, 1),
        {"s": scale, "b": bias, "m": mean, "v": variance},
    )
    point = generator.normal(size=(1, 1, 1)).astype(np.float32)
    with mpmath.workdps(60):
        spread = mpmath.sqrt(mpmath.mpf(float(variance[0])) + mpmath.mpf(float(np.float32(1e-5))))
        centred = mpmath.mpf(float(point.item())) - mpmath.mpf(float(mean[0]))
        truth = centred / spread * mpmath.mpf(float(scale[0])) + mpmath.mpf(float(bias[0]))
        found = TrustedPass(read_network(data), Semantics.REAL).enclosure(Box(point, point.copy()))
        assert (
            mpmath.mpf(float(found.lower.item())) <= truth <= mpmath.mpf(float(found.upper.item()))
        )
        assert found.upper.item() - found.lower.item() < 1e-10 * (1 + abs(float(truth)))


def test_division_lies_inside_its_bounds():
    """The reciprocal is rounded; the exact quotient is still enclosed."""
    divisors = np.float32([3.0, 7.0, -0.1, 1e-3, 49.0])
    data = model([node("Div", "x c")], (5,), {"c": divisors})
    point = np.random.default_rng(4).normal(size=(1, 5)).astype(np.float32)
    truth = exact.exact(point[0]) / exact.exact(divisors)
    found = TrustedPass(read_network(data), Semantics.REAL).enclosure(Box(point, point.copy()))
    assert np.all(exact.exact(found.lower[0]) <= truth)
    assert np.all(truth <= exact.exact(found.upper[0]))


def exact_factors():
    """Files with a constant that is no float, and its exact value; a float64 is within its slack.

    The bounds of rounding alone happen to hide a slack that is missing.
    """
    for divisor in (3.0, 7.0, -49.0):
        data = model([node("Div", "x c")], (1,), {"c": np.float32([divisor])})
        yield data, 1 / mpmath.mpf(divisor)
    yield model([node("AveragePool", "x", kernel_shape=[3, 3])], (1, 3, 3)), mpmath.mpf(1) / 9
    at_the_border = {"kernel_shape": [3, 3], "pads": [1, 0, 0, 0]}
    yield model([node("AveragePool", "x", **at_the_border)], (1, 3, 3)), mpmath.mpf(1) / 6
    for variance in (0.3, 1.7, 2.9):
        constants = {"s": np.float32([1.1]), "z": np.float32([0]), "v": np.float32([variance])}
        data = model([node("BatchNormalization", "x s z z v", epsilon=1e-5)], (1, 1), constants)
        spread = mpmath.mpf(float(np.float32(variance))) + mpmath.mpf(float(np.float32(1e-5)))
        yield data, mpmath.mpf(float(np.float32(1.1))) / mpmath.sqrt(spread)


def test_the_slack_covers_the_difference_to_the_exact_weight():
    """``|w - stored| <= slack |stored|``, as ``core.operators`` promises."""
    with mpmath.workdps(60):
        for data, factor in exact_factors():
            operator = read_network(data).nodes[-1].operator
            array = operator.weight if isinstance(operator, Conv) else operator.scale
            stored = mpmath.mpf(float(array.reshape(-1)[0]))
            assert stored != factor
            assert abs(factor - stored) <= operator.slack * abs(stored)


@pytest.mark.parametrize(
    ("operator", "attributes", "head"),
    [("Softmax", {"axis": -1}, "softmax"), ("Softmax", {"axis": 1}, "softmax"),
     ("LogSoftmax", {}, "log-softmax"), ("Sigmoid", {}, "sigmoid")],
)  # fmt: skip
def test_a_head_is_stripped_to_logits_and_named(operator, attributes, head):
    """What is left are the logits; the head's name is kept."""
    data = model(
        [node("Gemm", "x w", "z"), node(operator, "z", **attributes)], (4,), {"w": r(4, 3)}
    )
    network = read_network(data)
    assert network.head == head
    assert [type(n.operator).__name__ for n in network.nodes] == ["Affine"]


def test_what_the_output_does_not_need_is_left_out():
    """A branch that leads nowhere is no part of the function."""
    data = model([node("Relu", "x", "y"), node("Flatten", "y", "unused")], (2, 2))
    assert len(read_network(data).nodes) == 1


def test_a_sum_after_a_matrix_product_is_its_bias():
    """Runtimes may begin with it, and then lose every product: that lies inside the enclosure."""
    count = 4096
    small = np.full((count, 1), 2.0**-25, np.float32)
    for axes in ((), (1,)):
        nodes = [node("MatMul", "x w", "h"), node("Add", "h b")]
        data = model(nodes, (*axes, count), {"w": small, "b": np.float32([1])})
        network = read_network(data)
        assert [type(n.operator).__name__ for n in network.nodes] == ["Affine"]
        ones = np.ones((1, *network.input_shape), np.float32)
        box = TrustedPass(network, Semantics.FLOAT32).enclosure(Box(ones, ones.copy()))
        assert box.lower.item() <= 1 < 1 + count * 2.0**-25 <= box.upper.item()


def test_an_operator_set_may_be_named_twice_but_not_two_of_them():
    """What is meant is clear in the one case only."""
    given = onnx.load_from_string(model([node("Relu", "x")], (3,), opset=11))
    given.opset_import.add().version = 11
    assert len(read_network(given.SerializeToString()).nodes) == 1
    given.opset_import[1].version = 12
    with pytest.raises(ModelError, match="operator set"):
        read_network(given.SerializeToString())


def test_a_transposed_convolution_is_one_convolution_of_what_lies_apart():
    """No operator of its own: zeros between the numbers, and the kernel turned around."""
    data = moved_files.transposed(r(2, 3, 2, 2), (2, 3, 3), strides=[2, 1])
    assert [type(n.operator).__name__ for n in read_network(data).nodes] == ["Pad", "Conv"]


REFUSED = {
    "Selu": model([node("Selu", "x")], (3,)),
    "Gemm alpha": model([node("Gemm", "x w", alpha=2.0)], (5,), {"w": r(5, 3)}),
    "Gemm transA": model([node("Gemm", "x w", transA=1)], (5,), {"w": r(5, 3)}),
    "Gemm bias per sample": model([node("Gemm", "x w b")], (5,), {"w": r(5, 3), "b": r(3, 1)}),
    "Gemm of two values": model([node("Relu", "x", "h"), node("Gemm", "x h")], (5,)),
    "MatMul of three axes": model([node("MatMul", "x w")], (5,), {"w": r(1, 5, 3)}),
    "Conv auto_pad": model(
        [node("Conv", "x w", auto_pad="SAME_UPPER")], (1, 5, 5), {"w": r(1, 1, 3, 3)}
    ),
    "Conv kernel_shape": model(
        [node("Conv", "x w", kernel_shape=[2, 2])], (1, 5, 5), {"w": r(1, 1, 3, 3)}
    ),
    "Conv pads": model([node("Conv", "x w", pads=[1, 1])], (1, 5, 5), {"w": r(1, 1, 3, 3)}),
    "Conv 4-D": model([node("Conv", "x w")], (1, 2, 2, 2, 2), {"w": r(1, 1, 1, 1, 1, 1)}),
    "AveragePool ceil_mode": model(
        [
            node(
                "AveragePool",
                "x",
                kernel_shape=[2, 2],
                strides=[2, 2],
                ceil_mode=1,
                count_include_pad=1,
            )
        ],
        (1, 5, 5),
    ),
    "AveragePool padding only": model(
        [node("AveragePool", "x", kernel_shape=[2, 2], pads=[2, 1, 0, 0])], (1, 5, 5)
    ),
    "AveragePool pads": model(
        [node("AveragePool", "x", kernel_shape=[2, 2], pads=[0, 0, -1, 0])], (1, 5, 5)
    ),
    "AveragePool strides": model(
        [node("AveragePool", "x", kernel_shape=[2, 2], strides=[2], ceil_mode=1)], (1, 5, 5)
    ),
    "AveragePool too large": model([node("AveragePool", "x", kernel_shape=[9, 9])], (1, 5, 5)),
    "AveragePool dilations": model(
        [node("AveragePool", "x", kernel_shape=[2, 2], dilations=[2, 2])], (1, 5, 5), opset=19
    ),
    "MaxPool storage_order": model(
        [node("MaxPool", "x", kernel_shape=[2, 2], storage_order=1)], (1, 5, 5)
    ),
    "MaxPool indices": model(
        [onnx.helper.make_node("MaxPool", ["x"], ["y", "i"], kernel_shape=[2, 2])], (1, 5, 5)
    ),
    "MaxPool auto_pad": model(
        [node("MaxPool", "x", kernel_shape=[2, 2], auto_pad="SAME_LOWER")], (1, 5, 5)
    ),
    "MaxPool too large": model([node("MaxPool", "x", kernel_shape=[6, 1])], (1, 5, 5)),
    "MaxPool too large, dilated": model(
        [node("MaxPool", "x", kernel_shape=[3, 1], dilations=[3, 1])], (1, 5, 5)
    ),
    "MaxPool without a window": model([node("MaxPool", "x", kernel_shape=[0, 1])], (1, 5, 5)),
    "MaxPool 4-D": model([node("MaxPool", "x", kernel_shape=[1] * 4)], (1, 2, 2, 2, 2)),
    "MaxPool pads": model(
        [node("MaxPool", "x", kernel_shape=[2, 2], pads=[2, 0, 0, 0])], (1, 5, 5)
    ),
    "MaxPool of padding": model(
        [node("MaxPool", "x", kernel_shape=[2], dilations=[3], pads=[1, 1])], (1, 2)
    ),
    "MaxPool behind the input": model(
        [node("MaxPool", "x", kernel_shape=[2], strides=[3], ceil_mode=1)], (1, 6)
    ),
    "MaxPool strides": model([node("MaxPool", "x", kernel_shape=[2], strides=[0])], (1, 6)),
    "MaxPool of a vector": model([node("MaxPool", "x", kernel_shape=[2])], (5,)),
    "MaxPool of no axes": model([without_extents()], (5,)),
    "GlobalMaxPool of a vector": model([node("GlobalMaxPool", "x")], (5,)),
    "Concat batch": model([node("Relu", "x", "h"), node("Concat", "x h", axis=0)], (2, 3)),
    "Concat batch from the end": model(
        [node("Relu", "x", "h"), node("Concat", "x h", axis=-3)], (2, 3)
    ),
    "Concat axis": model([node("Relu", "x", "h"), node("Concat", "x h", axis=3)], (2, 3)),
    "Concat shapes": model(
        [node("MaxPool", "x", "h", kernel_shape=[2]), node("Concat", "x h", axis=1)], (2, 3)
    ),
    "BatchNormalization training": model(
        [
            onnx.helper.make_node(
                "BatchNormalization", ["x", "s", "s", "s", "s"], ["y", "m", "v"], training_mode=1
            )
        ],
        (3, 4),
        {"s": np.abs(r(3))},
    ),
    "BatchNormalization variance": model(
        [node("BatchNormalization", "x s s s v")], (2, 4), {"s": r(2), "v": np.float32([1, -1])}
    ),
    "Flatten axis": model([node("Flatten", "x", axis=2)], (2, 3)),
    "Reshape batch": model([node("Reshape", "x s")], (2, 3), {"s": np.int64([6, -1])}),
    "Reshape to one": model([node("Reshape", "x s")], (2, 3), {"s": np.int64([1, 6])}),
    "Reshape zero": model([node("Reshape", "x s", allowzero=1)], (2, 3), {"s": np.int64([0, 6])}),
    "Reshape size": model([node("Reshape", "x s")], (2, 3), {"s": np.int64([0, 7])}),
    "Transpose batch": model([node("Transpose", "x", perm=[1, 0])], (3,)),
    "Add per sample": model([node("Add", "x c")], (3,), {"c": r(2, 3)}),
    "Add enlarges": model([node("Add", "x c")], (1,), {"c": r(3)}),
    "Add shapes": model([node("Gemm", "x w", "h"), node("Add", "x h")], (3,), {"w": r(3, 2)}),
    "Div by a value": model([node("Div", "c x")], (3,), {"c": r(3)}),
    "Div by zero": model([node("Div", "x c")], (3,), {"c": np.float32([1, 0, 1])}),
    "Div by what may be taken for zero": model(
        [node("Div", "x c")], (3,), {"c": np.float32([1, -1e-40, 1])}
    ),
    "double weights": model([node("Add", "x c")], (3,), {"c": np.zeros(3)}),
    "NaN weights": model([node("Add", "x c")], (3,), {"c": np.float32([1, np.nan, 1])}),
    "log-softmax inside": model([node("LogSoftmax", "x", "h"), node("Relu", "h")], (3,)),
    "operators after a head": model([node("Softmax", "x"), node("Relu", "x", "unused")], (3,)),
    "softmax of the old kind": model([node("Softmax", "x")], (3, 4), opset=11),
    "Gelu before it was an operator": model([node("Gelu", "x")], (3,), opset=17),
    "Gelu approximate": model([node("Gelu", "x", approximate="rough")], (3,), opset=20),
    "LayerNormalization stash_type": model(
        [node("LayerNormalization", "x s", stash_type=0)], (3,), {"s": r(3)}
    ),
    "LayerNormalization of the batch": model(
        [node("LayerNormalization", "x s", axis=0)], (3,), {"s": r(3)}
    ),
    "LayerNormalization scale": model([node("LayerNormalization", "x s")], (3,), {"s": r(2)}),
    "LayerNormalization epsilon": model(
        [node("LayerNormalization", "x s", epsilon=0.0)], (3,), {"s": r(3)}
    ),
    "softmax, another axis": model([node("Softmax", "x", axis=0)], (3,)),
    "Dropout training": model(
        [node("Dropout", "x r t")], (3,), {"r": np.float32(0.5), "t": np.bool_(True)}
    ),
    "Constant of text": model(
        [onnx.helper.make_node("Constant", [], ["c"], value_string="a"), node("Add", "x c")], (3,)
    ),
    "other domain": model(
        [onnx.helper.make_node("Relu", ["x"], ["y"], domain="com.example")], (3,)
    ),
    "opset too new": model([node("Relu", "x")], (3,), opset=99),
    "opset too old": model([node("Relu", "x")], (3,), opset=6),
    "fixed batch": model([node("Relu", "x")], (3,), batch=4),
    "float16": model([node("Relu", "x")], (3,), element=onnx.TensorProto.FLOAT16),
    "open extent": model([node("Relu", "x")], ("H", 3)),
    "no operators needed": model([node("Identity", "x")], (3,)),
    "constant output": model([node("Identity", "k")], (3,), {"k": r(3)}),
    "huge value": model([node("Relu", "x")], (100_000, 100_000)),
    "empty extent": model([node("Relu", "x")], (0, 3)),
    "conv does not fit": model([node("Conv", "x w")], (1, 2, 2), {"w": r(1, 1, 3, 3)}),
    "conv channels": model([node("Conv", "x w")], (3, 5, 5), {"w": r(1, 1, 3, 3)}),
    "unknown attribute": model([node("Relu", "x", speed=3)], (3,)),
    "Gemm width": model([node("Gemm", "x w")], (4,), {"w": r(5, 3)}),
    **moved_files.REFUSED,
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_understood_is_refused(name):
    """A clear error, never a guess: each of these would change what the file means."""
    with pytest.raises(ModelError) as refusal:
        read_network(REFUSED[name])
    assert len(str(refusal.value)) > 10


def test_a_model_that_is_a_head_alone_is_refused_by_name():
    """What stands before the softmax is what is proved of, and here there is nothing."""
    with pytest.raises(ModelError, match="no operators before its softmax"):
        read_network(model([node("Softmax", "x", axis=1)], (3,)))


def test_an_attribute_that_no_converter_looked_at_is_refused():
    """It could change the meaning; a newer operator set may have one that we never read of."""
    given = OnnxNode(onnx.helper.make_node("Relu", ["x"], ["y"], speed=3), 17, ())
    with pytest.raises(UnsupportedOperatorError, match="speed"):
        given.done()
    assert given.take("speed", 0) == 3
    given.done()


def test_an_unsupported_operator_is_named_with_what_is_supported():
    """The message says which operator it is, and what there is instead."""
    with pytest.raises(
        UnsupportedOperatorError, match=r"operator Selu .*supported: Abs, Add, AveragePool"
    ):
        read_network(REFUSED["Selu"])


def test_registering_an_operator_twice_is_an_error_that_names_it():
    """Two converters for one operator would leave it to chance which one is used."""
    registry = Registry()
    registry.converts("Relu", to="Relu")(lambda n, g: None)
    with pytest.raises(ValueError, match="Relu"):
        registry.converts("Relu", to="Relu")(lambda n, g: None)


def test_the_newest_converter_that_is_right_for_a_version_is_taken():
    """Versions before ``since`` get the older converter, or none."""
    registry = Registry()
    registry.converts("A", to="x", since=11)(lambda n, g: None)
    registry.converts("A", to="y", since=15)(lambda n, g: None)
    assert registry.find("", "A", 14).lowered_to == "x"
    assert registry.find("ai.onnx", "A", 15).lowered_to == "y"
    with pytest.raises(UnsupportedOperatorError):
        registry.find("", "A", 10)


def test_every_registered_operator_has_a_case_here():
    """An operator without a test is not supported."""
    used = {n.op_type for data in CASES.values() for n in onnx.load_from_string(data).graph.node}
    assert {entry.operator for entry in REGISTRY} - used == {"LogSoftmax"}


GATES = {
    "another factor": ("x 1", {"r": 1.5}, ()),
    "another sum": ("x 1", {"i": 1.1}, ()),
    "another half": ("x 1", {}, ("g",)),
    "another value": ("t 1", {}, ()),
    "two gates": ("1 1", {}, ()),
    "a shifted argument": ("x 1", {}, ("s",)),
    "a value for each number": ("x 1", {"i": [1.0] * 7}, ()),
}


@pytest.mark.parametrize("name", GATES)
def test_what_only_looks_like_a_gelu_is_refused(name):
    """Another number, another value: runtimes are less exact about it, and compute another one."""
    factors, changed, also = GATES[name]
    constants = {"h": 0.3, "i": 1.0, "r": 2**0.5, "c": 0.1} | changed
    nodes = [node("Tanh", "x", "t"), node("Div", "x r", "a")]
    nodes += [node("Add", "a c", "b")] if "s" in also else []
    nodes += [node("Erf", "b" if "s" in also else "a", "e"), node("Add", "e i", "1")]
    nodes += [node("Mul", "1 h", "g")] if "g" in also else []
    nodes += [node("Mul", factors.replace("1", "g") if "g" in also else factors)]
    data = model(nodes, (7,), {k: np.float32(v) for k, v in constants.items()})
    with pytest.raises(UnsupportedOperatorError, match="product of two values"):
        read_network(data)


def test_what_only_looks_like_a_gelu_by_tanh_is_refused():
    """A tanh is a gate of its own; with 1 added to it some runtimes take it for a GELU's."""
    gate = [node("Tanh", "x", "t"), node("Add", "t i", "g"), node("Mul", "x g")]
    with pytest.raises(UnsupportedOperatorError, match="product of two values"):
        read_network(model(gate, (7,), {"i": np.float32(1)}))
    shifted = [node("Add", "x i", "s"), node("Tanh", "s", "t"), node("Mul", "x t")]
    assert read_network(model(shifted, (7,), {"i": np.float32(1)})).logits == 7


@pytest.mark.parametrize("half", ["last", "first", "gate"])
def test_a_gelu_that_is_spelled_out_is_within_its_slack(half):
    """What the file says, with its own factor, lies inside the bounds over the reals."""
    data = spelled("x 1", half=half)
    x = np.random.default_rng(0).normal(size=(1, 7)).astype(np.float32) * 2
    found = TrustedPass(read_network(data), Semantics.REAL).enclosure(Box(x, x.copy()))
    with mpmath.workdps(40):
        factor = 1 / mpmath.mpf(float(np.float32(2**0.5)))
        for number, low, high in zip(x[0], found.lower[0], found.upper[0], strict=True):
            value = mpmath.mpf(float(number))
            truth = value / 2 * (1 + mpmath.erf(value * factor))
            assert mpmath.mpf(float(low)) <= truth <= mpmath.mpf(float(high))
    operators = [n.operator for n in read_network(data).nodes]
    assert operators[0].slack > 0
    assert read_network(data).rounded().is_exact_float32
    assert not read_network(data).is_exact_float32


def test_operators_refuse_what_they_are_not_defined_for():
    """By name: axes that are not there, constants that do not fit, slack that means nothing."""
    ones = np.ones(3, np.float32)
    for make in (
        lambda: Softmax(2).output_shape((3, 4)),
        lambda: Gelu(slack=0.1),
        lambda: Gelu(tanh=True, slack=1e-9),
        lambda: LayerNormalization(ones, np.ones(2, np.float32), 0.5),
        lambda: LayerNormalization(ones, ones, 1e-5),
        lambda: LayerNormalization(ones, ones, 0.5).output_shape((4,)),
    ):
        with pytest.raises(ModelError):
            make()
