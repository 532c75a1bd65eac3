"""Hostile ONNX files: refused in words, before anything of the declared size is allocated."""

from __future__ import annotations

import contextlib
import time
import tracemalloc

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.onnx_files import model, node

from asi_verify.checker import TrustedPass
from asi_verify.core.limits import (
    LARGEST_NETWORK,
    LARGEST_PASS,
    LARGEST_STEP,
    LARGEST_VALUE,
    MOST_AXES,
    MOST_CONSTANTS,
    MOST_OPERATORS,
)
from asi_verify.core.network import Network
from asi_verify.core.operators import Affine, Conv, Reshape, largest_step
from asi_verify.core.semantics import Semantics
from asi_verify.errors import ModelError, UnsupportedOperatorError
from asi_verify.lowering import read_network
from asi_verify.lowering.graph import Graph, OnnxNode
from asi_verify.lowering.tensors import read_tensor, refuse_unreadable

F = np.float32
HUGE = 2**30
IMAGE = (1, 8, 8)
KERNEL = {"w": np.ones((1, 1, 3, 3), F)}


def tensor(dims, values=b"", kind=TensorProto.FLOAT, name="w"):
    """A constant that declares whatever it likes."""
    made = TensorProto(name=name, data_type=kind, raw_data=values)
    made.dims.extend(dims)
    return made


def edited(data, edit):
    """The file after a change of its message."""
    made = onnx.load_from_string(data)
    edit(made)
    return made.SerializeToString()


def declaring(operator, *dims, shape=(4,), **attributes):
    """A model whose constant ``w`` declares a shape and holds nothing."""
    data = model([node(operator, "x w", **attributes)], shape, {"w": np.ones((4, 1, 1, 1), F)})

    def edit(made):
        made.graph.initializer[0].CopyFrom(tensor(dims))

    return edited(data, edit)


def chain(operator, count, shape=(4,), constants=None, inputs="{}"):
    """The same operator many times over."""
    nodes = [node(operator, inputs.format("x"), "0")]
    nodes += [node(operator, inputs.format(i), str(i + 1)) for i in range(count - 2)]
    made = helper.make_graph(
        [*nodes, node(operator, inputs.format(count - 2))],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", *shape])],
        [numpy_helper.from_array(v, k) for k, v in (constants or {}).items()],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(made, opset_imports=opset, ir_version=8).SerializeToString()


def conv(**attributes):
    """A convolution with strange settings."""
    return model([node("Conv", "x w", **attributes)], IMAGE, KERNEL)


def pool(**attributes):
    """An average with strange settings."""
    return model([node("AveragePool", "x", count_include_pad=1, **attributes)], IMAGE)


def nested(depth):
    """Conditionals inside conditionals."""
    inner = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["o"])], "b", [],
        [helper.make_tensor_value_info("o", TensorProto.FLOAT, None)],
    )  # fmt: skip
    for _ in range(depth):
        made = helper.make_node("If", ["c"], ["o"], then_branch=inner, else_branch=inner)
        inner = helper.make_graph(
            [made], "b", [], [helper.make_tensor_value_info("o", TensorProto.FLOAT, None)]
        )
    made = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    return model([made], (4,), {"c": np.bool_(True)})


def reference_attribute(made):
    attribute = made.graph.node[0].attribute.add()
    attribute.name, attribute.type, attribute.ref_attr_name = "pads", 7, "p"


def shadow(made):
    made.graph.initializer.append(numpy_helper.from_array(np.ones((1, 4), F), "x"))


def doubled_attribute(made):
    made.graph.node[0].attribute.add().CopyFrom(made.graph.node[0].attribute[0])


def reversed_nodes(made):
    nodes = list(made.graph.node)[::-1]
    del made.graph.node[:]
    made.graph.node.extend(nodes)


def cycle(made):
    made.graph.node[0].input[0] = made.graph.node[1].output[0]


def filled(*extents, count=1, **attributes):
    """Constants that are computed from a shape; nothing else in the file is large."""
    value = numpy_helper.from_array(np.zeros(1, F), "v")
    nodes = [node("ConstantOfShape", "s", f"c{i}", value=value) for i in range(count)]
    nodes += [node("Add", "x c0", **attributes)]
    return model(nodes, (4,), {"s": np.int64(extents)})


def padded(*pads, **attributes):
    return model(
        [node("Pad", "x p", **attributes)], (4,), {"p": np.int64([0, *pads[:1], 0, *pads[1:]])}
    )


def upsampled(**attributes):
    return model([node("ConvTranspose", "x w", **attributes)], IMAGE, KERNEL)


def selecting(operator, inputs, constants, shape=(4,), **attributes):
    return model([node(operator, inputs, **attributes)], shape, constants)


TWO = model([node("Relu", "x", "a"), node("Relu", "a")], (4,))
RELU = model([node("Relu", "x")], (4,))
CASES = {
    "a weight of 2**40 numbers": declaring("Mul", 2**40),
    "a product of extents beyond 64 bits": declaring("Mul", 2**32, 2**32),
    "a negative extent": declaring("Mul", -4),
    "two negative extents": declaring("Mul", -4, -1),
    "no rows and 2**40 columns": declaring("MatMul", 0, 2**40),
    "no rows and many columns": declaring("MatMul", 0, 2**26),
    "no inputs of a Gemm": declaring("Gemm", 0, 2**26),
    "no channels and many outputs": declaring("Conv", 2**26, 0, 3, 3, shape=IMAGE),
    "a constant of text in a list": edited(
        model([node("Mul", "x w")], (4,), {"w": np.ones(4, F)}),
        lambda m: m.graph.initializer[0].CopyFrom(
            TensorProto(name="w", data_type=8, dims=[1], string_data=[b"w"])
        ),
    ),
    "no numbers": declaring("Mul", 0),
    "a constant of a computed shape of 2**60": filled(HUGE, HUGE),
    "a constant of a negative computed shape": filled(-1, 4),
    "many constants of computed shapes": filled(2**20, count=64),
    "a sum of constants that broadcasts to 2**40": model(
        [node("Add", "a b", "c"), node("Add", "x c")],
        (4,), {"a": np.zeros((2**20, 1), F), "b": np.zeros((1, 2**20), F)},
    ),
    "a constant expanded to 2**60": model(
        [node("Expand", "k s", "c"), node("Add", "x c")],
        (4,), {"k": np.zeros((1, 1), F), "s": np.int64([HUGE, HUGE])},
    ),
    "a value expanded to 2**60": selecting("Expand", "x s", {"s": np.int64([1, 2**60])}, (1,)),
    "a value expanded to 2**40, axis by axis": selecting(
        "Expand", "x s", {"s": np.int64([1, 2**20, 2**20])}, (1, 1)
    ),
    "a constant gathered to 2**40": model(
        [node("Gather", "k i", "c"), node("Add", "x c")],
        (4,), {"k": np.zeros((1, 2**20), F), "i": np.zeros(2**20, np.int64)},
    ),
    "a value gathered to 2**40": model(
        [node("Expand", "x s", "h"), node("Gather", "h i", axis=2)],
        (1, 1), {"s": np.int64([1, 2**20, 1]), "i": np.zeros(2**20, np.int64)},
    ),
    "2**21 places": selecting("Gather", "x i", {"i": np.zeros(2**21, np.int64)}, axis=1),
    "pads of 2**62 around a value": padded(2**62, 2**62),
    "negative pads of 2**62": padded(-(2**62), 0),
    "an edge of 2**62": padded(2**62, 0, mode="edge"),
    "strides of 2**62 between the inputs": upsampled(strides=[2**62] * 2),
    "strides of 0 between the inputs": upsampled(strides=[0, 1]),
    "pads of 2**62 off the outputs": upsampled(pads=[2**62] * 4),
    "negative pads of the outputs": upsampled(pads=[-(2**40)] * 4),
    "0 groups of a transposed convolution": upsampled(group=0),
    "parts of no size": selecting("Split", "x s", {"s": np.int64([0])}, axis=1),
    "a thousand constants in a row": selecting(
        "Concat", "x " + "k " * 1000, {"k": np.zeros((1, 2**13), F)}, axis=1
    ),
    "100000 new axes": selecting("Unsqueeze", "x a", {"a": np.arange(1, 100_001)}),
    "nine axes": declaring("Mul", *([1] * 9)),
    "a hundred thousand axes": declaring("Mul", *([1] * 100_000)),
    "an image of 2**60 pixels": model([node("Relu", "x")], (HUGE, HUGE)),
    "an image of negative size": model([node("Relu", "x")], (-8, -8)),
    "an image of a thousand axes": model([node("Relu", "x")], (1,) * 1000),
    "pads of 2**30": conv(pads=[HUGE] * 4, strides=[HUGE] * 2),
    "pads of 2**62": conv(pads=[2**62] * 4, strides=[2**62] * 2),
    "pads of 2**12": conv(pads=[2**12] * 4, strides=[2**12] * 2),
    "negative pads": conv(pads=[-1] * 4),
    "dilations of 2**62": conv(dilations=[2**62] * 2),
    "pads and dilations of 2**30": conv(pads=[HUGE] * 4, dilations=[HUGE] * 2),
    "strides of 0": conv(strides=[0, 0]),
    "2**62 groups": conv(group=2**62),
    "0 groups": conv(group=0),
    "one pad": conv(pads=[1]),
    "a kernel of another shape": conv(kernel_shape=[2**40, 1]),
    "an average over 2**60 zeros": pool(kernel_shape=[HUGE] * 2, pads=[HUGE] * 4),
    "an average over 2**26 zeros": pool(
        kernel_shape=[2**13 + 8] * 2, pads=[2**12] * 4, strides=[2**14] * 2
    ),
    "an average over 2**24 zeros, many times": pool(kernel_shape=[2**12] * 2, pads=[2**12] * 4),
    "an average over nothing": pool(kernel_shape=[0, 0]),
    "an average with negative pads": pool(kernel_shape=[2, 2], pads=[-1] * 4),
    "columns of a large kernel": model(
        [node("Conv", "x w", pads=[127] * 4)], (1, 1024, 1024), {"w": np.ones((1, 1, 255, 255), F)}
    ),
    "a shape that is no number": model([node("Reshape", "x s")], (4,), {"s": F([np.nan, 4])}),
    "a shape that overflows": model([node("Reshape", "x s")], (4,), {"s": np.int64([0, 2**62, 4])}),
    "a very long shape": model([node("Reshape", "x s")], (4,), {"s": np.full(10**5, 2**62)}),
    "a shape of many ones": model([node("Reshape", "x s")], (4,), {"s": np.int64([0] + [1] * 70)}),
    "negative extents of a shape": model(
        [node("Reshape", "x s")], (4,), {"s": np.int64([0, -2, -2])}
    ),
    "axes in a matrix": model(
        [node("ReduceMean", "x a")], IMAGE, {"a": np.int64([[2, 3]])}, opset=18
    ),
    "a very long permutation": model(
        [node("Transpose", "x", perm=list(range(10**5)))], IMAGE
    ),
    "an initial value for the input": edited(RELU, shadow),
    "an attribute given twice": edited(conv(pads=[1] * 4), doubled_attribute),
    "an attribute that refers to a function's": edited(conv(), reference_attribute),
    "nodes in the wrong order": edited(TWO, reversed_nodes),
    "a cycle": edited(TWO, cycle),
    "another domain": edited(RELU, lambda m: setattr(m.graph.node[0], "domain", "evil")),
    "an operator set of 2**40": edited(
        RELU, lambda m: setattr(m.opset_import[0], "version", 2**40)
    ),
    "a name of a million letters": edited(
        model([node("Transpose", "x", perm=[1, 0])], (4,)),
        lambda m: setattr(m.graph.node[0], "name", "a" * 10**6),
    ),
    "no operator set": edited(RELU, lambda m: m.ClearField("opset_import")),
    "a format of the future": edited(RELU, lambda m: setattr(m, "ir_version", 2**40)),
    "an input without a type": edited(RELU, lambda m: m.graph.input[0].ClearField("type")),
    "an input of a type that there is not": edited(
        RELU, lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 99)
    ),
    "a sequence as input": edited(
        RELU, lambda m: m.graph.input[0].type.sequence_type.elem_type.tensor_type.SetInParent()
    ),
    "no graph": edited(RELU, lambda m: m.ClearField("graph")),
    "conditionals": nested(1),
    "conditionals 12 deep": nested(12),
    "100000 operators": chain("Relu", 100_000),
    "one matrix 100 times": chain(
        "MatMul", 100, (1024,), {"w": np.zeros((1024, 1024), F)}, inputs="{} w"
    ),
    "values that hold too much together": chain("Relu", 200, (2**20,)),
    "a constant node that declares more than it has": model(
        [helper.make_node("Constant", [], ["w"], value=tensor([3], b"1234")), node("Mul", "x w")],
        (4,),
    ),
    "a constant node in another file": model(
        [
            helper.make_node(
                "Constant", [], ["w"],
                value=TensorProto(name="w", data_type=1, dims=[4], data_location=1),
            ),
            node("Mul", "x w"),
        ],
        (4,),
    ),
    "a constant of text": model(
        [helper.make_node("Constant", [], ["w"], value_string="w"), node("Mul", "x w")], (4,)
    ),
    "weights that are NaN": model([node("Mul", "x w")], (4,), {"w": F([1, np.nan, 1, 1])}),
    "weights that are infinite": model([node("Mul", "x w")], (4,), {"w": F([1, np.inf, 1, 1])}),
    "a divisor that vanishes": model([node("Div", "x w")], (4,), {"w": F([1, -0.0, 1, 1])}),
    "an operator named in another alphabet": edited(
        RELU, lambda m: setattr(m.graph.node[0], "op_type", "\u0420elu\x1b[2J\n")
    ),
    "half precision weights": model([node("Mul", "x w")], (4,), {"w": np.ones(4, np.float16)}),
    "double precision weights": model([node("Mul", "x w")], (4,), {"w": np.ones(4)}),
    "complex weights": model([node("Mul", "x w")], (4,), {"w": np.ones(4, np.complex64)}),
    "eight-bit weights": model([node("Mul", "x w")], (4,), {"w": np.ones(4, np.uint8)}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_file_is_refused_before_it_costs_anything(name):
    """A ``ModelError`` in seconds, with no more memory than a small multiple of the file."""
    data = CASES[name]
    tracemalloc.start()
    began = time.process_time()
    try:
        with pytest.raises(ModelError) as caught:
            TrustedPass(read_network(data), Semantics.FLOAT32)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert str(caught.value)
    # What constants may take that are used many times over is bounded by a limit of its own.
    allowed = 4 * MOST_CONSTANTS if name == "one matrix 100 times" else 0
    assert peak < (128 << 20) + allowed + 20 * len(data)
    assert time.process_time() - began < 60


@pytest.mark.parametrize("kind", range(30))
def test_a_weight_of_any_type_is_read_or_refused(kind):
    """Every element type that ONNX has or may get: never another error."""
    for values in (b"", b"\x01" * 3, b"\x01" * 12, b"\xff" * 24):
        with contextlib.suppress(ModelError):
            assert read_tensor(tensor([3], values, kind)).shape == (3,)


def test_a_weight_holds_what_it_declares():
    """A negative extent would stand for whatever there is."""
    for dims in ([-1], [2, -1], [2**62], [MOST_CONSTANTS, 2], [1] * (MOST_AXES + 1)):
        with pytest.raises(ModelError, match="declares"):
            refuse_unreadable(tensor(dims, np.ones(2, F).tobytes()))
    with pytest.raises(ModelError, match="declares"):
        read_tensor(tensor([-1], np.ones(2, F).tobytes()))
    assert read_tensor(tensor([2, 1], np.ones(2, F).tobytes())).shape == (2, 1)


def test_attributes_are_given_once_and_have_the_type_that_is_expected():
    """Before any checker of onnx's, whose versions differ in what they notice."""
    twice = helper.make_node("Conv", ["x"], ["y"], pads=[1, 1])
    twice.attribute.add().CopyFrom(twice.attribute[0])
    with pytest.raises(UnsupportedOperatorError, match="twice"):
        OnnxNode(twice, 17, ())
    made = onnx.load_from_string(conv())
    reference_attribute(made)
    (unreadable,) = made.graph.node
    with pytest.raises(UnsupportedOperatorError, match="cannot be read"):
        OnnxNode(unreadable, 17, ())
    for default, given in (((1,), 1.0), ((1,), "VALID"), (1.0, 1), (0, [1]), ("NOTSET", 1)):
        found = OnnxNode(helper.make_node("Conv", ["x"], ["y"], a=given), 17, ())
        with pytest.raises(UnsupportedOperatorError, match="wrong type"):
            found.take("a", default)


def test_the_same_name_is_not_given_to_two_weights():
    """Readers differ in which of the two they take; onnx's own checker is asked first."""

    def edit(made):
        made.graph.initializer.append(numpy_helper.from_array(np.zeros(4, F), "w"))

    data = model([node("Mul", "x w")], (4,), {"w": np.ones(4, F)})
    with pytest.raises(ModelError):
        read_network(edited(data, edit))


def test_the_largest_step_of_a_convolution_counts_its_padding_and_its_columns():
    """What is bounded is what the trusted rule allocates."""

    def kernel(*shape, groups=1, pads=0, stride=1):
        rank = len(shape) - 2
        return Conv(
            np.zeros(shape, F), np.zeros(shape[0], F), (stride,) * rank, ((pads, pads),) * rank,
            (1,) * rank, groups,
        )  # fmt: skip

    assert largest_step(kernel(2, 3, 5, 5), (3, 8, 8)) == 3 * 25 * 16
    assert largest_step(kernel(3, 1, 5, 5, groups=3), (3, 8, 8)) == 3 * 25 * 16
    assert largest_step(kernel(2, 3, 1, 1, pads=50, stride=100), (3, 8, 8)) == 3 * 108**2
    assert largest_step(kernel(90, 1, 1, 1), (1, 8, 8)) == 90 * 64
    assert largest_step(Affine(np.zeros((9, 4), F), np.zeros(9, F)), (4,)) == 9
    assert largest_step(Reshape((4, 1)), (4,)) == 4


def test_every_limit_of_a_network_is_where_it_is_said_to_be():
    """One below is taken, one more is not."""
    read = Graph((LARGEST_VALUE,), None)
    with pytest.raises(ModelError, match=str(LARGEST_VALUE)):
        Graph((LARGEST_VALUE + 1,), None)
    for _ in range(LARGEST_NETWORK // LARGEST_VALUE - 1):
        read.add(Reshape((LARGEST_VALUE,)), read.input())
    with pytest.raises(ModelError, match=str(LARGEST_NETWORK)):
        read.add(Reshape((LARGEST_VALUE,)), read.input())
    read = Graph((1,), None)
    for _ in range(MOST_OPERATORS):
        read.add(Reshape((1,)), read.input())
    with pytest.raises(ModelError, match=str(MOST_OPERATORS)):
        read.add(Reshape((1,)), read.input())
    Graph((1,) * (MOST_AXES - 1), None)
    with pytest.raises(ModelError, match="axes"):
        Graph((1,) * MOST_AXES, None)
    side, pads = 4096, ((0, 0), (0, 0))
    read = Graph((1, side, side), None)
    ones = np.ones((1, 1, 3, 3), F)
    with pytest.raises(ModelError, match=str(LARGEST_STEP)):
        read.add(Conv(ones, np.zeros(1, F), (1, 1), pads, (1, 1)), read.input())
    read.add(Conv(ones, np.zeros(1, F), (2, 2), pads, (1, 1)), read.input())


def test_a_backward_pass_that_would_hold_too_much_is_refused():
    """As many functionals as there are logits, over the largest step."""

    def network(outputs):
        weight = np.zeros((outputs, 1), F)
        first = Affine(np.zeros((1, 2**16), F), np.zeros(1, F))
        return Network.sequential((2**16,), [first, Affine(weight, np.zeros(outputs, F))])

    TrustedPass(network(LARGEST_PASS >> 16), Semantics.REAL)
    with pytest.raises(ModelError, match=str(LARGEST_PASS)):
        TrustedPass(network((LARGEST_PASS >> 16) + 1), Semantics.REAL)
