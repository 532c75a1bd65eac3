"""ONNX files that move, pad and reduce numbers, or compute their shapes; and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from support.onnx_files import model, node

__all__ = ["CASES", "REFUSED"]

_G = np.random.default_rng(7)
_I = np.int64
_TO_END = 2**63 - 1


def r(*shape: int) -> Any:
    return _G.normal(size=shape).astype(np.float32)


def split(*names: str, inputs: str = "x", **attributes: Any) -> onnx.NodeProto:
    return onnx.helper.make_node("Split", inputs.split(), list(names), **attributes)


def filled(number: Any, shape: str = "s", output: str = "c") -> onnx.NodeProto:
    value = onnx.numpy_helper.from_array(np.array([number], np.float32), "value")
    return node("ConstantOfShape", shape, output, value=value)


def slices(starts: Any, ends: Any, axes: Any, steps: Any, shape: Any, **also: Any) -> bytes:
    given = {"s": _I(starts), "e": _I(ends), "a": _I(axes), "t": _I(steps)}
    return model([node("Slice", "x s e a t", "h"), node("Relu", "h")], shape, given, **also)


def pad(pads: Any, shape: Any, fill: float | None = None, **attributes: Any) -> bytes:
    given = {"p": _I(pads)} | ({} if fill is None else {"f": np.float32(fill)})
    return model([node("Pad", "x p" if fill is None else "x p f", **attributes)], shape, given)


def transposed(weight: Any, shape: Any, bias: Any = None, **attributes: Any) -> bytes:
    given = {"w": weight} | ({} if bias is None else {"b": bias})
    names = "x w" if bias is None else "x w b"
    return model([node("ConvTranspose", names, **attributes)], shape, given)


def computed_shape(batch: str | int, opset: int = 17) -> bytes:
    """As exporters write ``x.reshape(x.shape[0], 2 * x.shape[2], -1)``."""
    unsqueezed = {"axes": [0]} if opset < 13 else {}
    also = "" if opset < 13 else " z"
    return model(
        [
            node("Shape", "x", "d"),
            node("Gather", "d i0", "n"),
            node("Gather", "d i2", "h"),
            node("Mul", "h two", "m"),
            node("Unsqueeze", "n" + also, "n1", **unsqueezed),
            node("Unsqueeze", "m" + also, "m1", **unsqueezed),
            node("Concat", "n1 m1 rest", "s", axis=0),
            node("Cast", "s", "s64", to=onnx.TensorProto.INT64),
            node("Reshape", "x s64"),
        ],
        (4, 3, 2),
        {"i0": _I(0), "i2": _I(2), "two": _I(2), "rest": _I([-1]), "z": _I([0])},
        batch=batch,
        opset=opset,
    )


def class_token(batch: str | int) -> bytes:
    """A constant, repeated for every image, in front of a sequence: as vision transformers do."""
    return model(
        [
            node("Shape", "x", "d"),
            node("Slice", "d z o", "n"),
            node("Concat", "n rest", "s", axis=0),
            filled(0.0),
            node("Add", "c token", "t"),
            node("Concat", "t x", axis=1),
        ],
        (3, 4),
        {"z": _I([0]), "o": _I([1]), "rest": _I([1, 4]), "token": r(4)},
        batch=batch,
    )


CASES = {
    "Slice": slices([1, -3], [9, -1], [1, 3], [1, 1], (4, 2, 5)),
    "Slice backwards": slices([-1], [-(2**62)], [2], [-2], (2, 5)),
    "Slice backwards from before the first": slices([-9], [-9], [2], [-1], (2, 5)),
    "Slice of a constant backwards from before the first": model(
        [node("Slice", "k n n i m", "s"), node("Concat", "i s m", "t", axis=0),
         node("Reshape", "x t", "h"), node("Softmax", "h", axis=-1)],
        (6,),
        {"k": _I([2, 3]), "n": _I([-9]), "i": _I([0]), "m": _I([-1])},
    ),
    "Slice, whole batch": slices([0, 1], [_TO_END, 2], [0, 1], [1, 1], (3, 2)),
    "Slice, whole batch of one": slices([0, 1], [1, 2], [0, 1], [1, 1], (3, 2), batch=1),
    "Slice by attributes": model(
        [node("Slice", "x", axes=[1, 2], starts=[0, 1], ends=[2, 3])], (3, 4), opset=9
    ),
    "Slice by default axes": model(
        [node("Slice", "x s e")], (3, 4), {"s": _I([0, 1]), "e": _I([2**31 - 1, 3])}
    ),
    "Slice of nothing": model(
        [node("Slice", "x s e a", "h"), node("Relu", "h")],
        (3,),
        {"s": _I([0]), "e": _I([_TO_END]), "a": _I([1])},
    ),
    "Gather": model([node("Gather", "x i", axis=1)], (4, 3), {"i": _I([3, 0, -1, 0])}),
    "Gather one": model([node("Gather", "x i", axis=-1)], (4, 3), {"i": _I(-2)}),
    "Gather a table": model([node("Gather", "x i", axis=2)], (2, 5), {"i": _I([[4, 1], [0, 0]])}),
    "Split": model(
        [split("a", "b", axis=1, inputs="x s"), node("Concat", "b a", axis=1)],
        (5, 2),
        {"s": _I([2, 3])},
    ),
    "Split by attribute": model(
        [split("a", "b", axis=2, split=[1, 3]), node("Concat", "b a b", axis=2)], (2, 4), opset=11
    ),
    "Split in equal parts": model(
        [split("a", "b", "c", axis=-1), node("Add", "a c")], (2, 6), opset=13
    ),
    "Split, last part smaller": model(
        [split("a", "b", axis=1, num_outputs=2), node("Concat", "b a", axis=1)], (5,), opset=18
    ),
    "Expand": model([node("Expand", "x s")], (1, 3), {"s": _I([1, 4, 3])}),
    "Expand, short shape": model([node("Expand", "x s")], (2, 1), {"s": _I([5])}),
    "Expand of a constant": model(
        [node("Expand", "k s", "c"), node("Add", "x c")], (2, 3), {"k": r(2, 1), "s": _I([1, 2, 3])}
    ),
    "Expand of a constant for each image": model(
        [
            node("Shape", "x", "d"),
            node("Expand", "k d", "c"),
            node("Concat", "x c", axis=1),
        ],
        (2, 3),
        {"k": r(1, 1, 3)},
    ),
    "Unsqueeze": model([node("Unsqueeze", "x a")], (3, 2), {"a": _I([-1, 1])}),
    "Unsqueeze by attribute": model([node("Unsqueeze", "x", axes=[2])], (3,), opset=11),
    "Squeeze": model([node("Squeeze", "x a")], (3, 1, 2), {"a": _I([2])}),
    "Squeeze by attribute": model([node("Squeeze", "x", axes=[1])], (1, 3), opset=9),
    "Squeeze of constants": model(
        [
            node("Squeeze", "k", "a"),
            node("Squeeze", "k z", "b"),
            node("Unsqueeze", "b z", "c"),
            node("Add", "x a", "h"),
            node("Add", "h c"),
        ],
        (3,),
        {"k": r(1, 3), "z": _I([0])},
    ),
    "Pad": pad([0, 0, 2, 1, 0, 1, 0, 3], (2, 3, 2), 0.7),
    "Pad with zeros": pad([0, 1, 0, 2], (3,)),
    "Pad and crop": pad([0, -1, 2, 0, 1, -1], (4, 3), -1.5),
    "Pad by attributes": model(
        [node("Pad", "x", pads=[0, 1, 0, 2], value=0.25)], (3,), opset=9
    ),
    "Pad some axes": model(
        [node("Pad", "x p f a")],
        (3, 2),
        {"p": _I([1, 2]), "f": np.float32(2), "a": _I([-1])},
        opset=18,
    ),
    "Pad of nothing": model(
        [node("Pad", "x p", "h"), node("Relu", "h")], (3,), {"p": _I([0, 0, 0, 0])}
    ),
    "Pad, edge": pad([0, 2, 1, 0, 1, 3], (3, 2), mode="edge"),
    "Pad, reflected": pad([0, 2, 1, 0, 1, 1], (3, 2), mode="reflect"),
    "Pad before a convolution": model(
        [node("Pad", "x p", "h"), node("Conv", "h w")],
        (2, 4, 4),
        {"p": _I([0, 0, 1, 2, 0, 0, 2, 1]), "w": r(3, 2, 3, 3)},
    ),
    "Pad before maxima": model(
        [node("Pad", "x p", "h"), node("MaxPool", "h", kernel_shape=[2, 2])],
        (1, 4, 4),
        {"p": _I([0, 0, 1, 1, 0, 0, 1, 1])},
    ),
    "Pad before averages": model(
        [node("Pad", "x p", "h"), node("AveragePool", "h", kernel_shape=[2, 2], strides=[1, 1])],
        (1, 4, 4),
        {"p": _I([0, 0, 1, 1, 0, 0, 1, 1])},
    ),
    "Concat with constants": model(
        [node("Relu", "x", "h"), node("Concat", "k x l k h l", axis=1)],
        (2, 3),
        {"k": r(1, 1, 3), "l": r(1, 2, 3)},
        batch=1,
    ),
    "MatMul of a matrix": model([node("MatMul", "x w")], (3, 5), {"w": r(5, 4)}),
    "MatMul and Add": model(
        [node("MatMul", "x w", "h"), node("Add", "h b")], (5,), {"w": r(5, 4), "b": r(4)}
    ),
    "MatMul of a matrix and Add": model(
        [node("MatMul", "x w", "h"), node("Add", "b h")], (3, 5), {"w": r(5, 4), "b": r(4)}
    ),
    "MatMul and another sum for each row": model(
        [node("MatMul", "x w", "h"), node("Add", "b h")], (3, 5), {"w": r(5, 4), "b": r(3, 1)}
    ),
    "MatMul read before and after a sum": model(
        [node("MatMul", "x w", "h"), node("Add", "h b", "g"), node("Add", "g h")],
        (5,),
        {"w": r(5, 4), "b": r(1, 4)},
    ),
    "ReduceMean over channels": model([node("ReduceMean", "x", axes=[1])], (3, 2, 5)),
    "ReduceMean over tokens": model([node("ReduceMean", "x", axes=[1], keepdims=0)], (3, 5)),
    "ReduceMean of a vector": model([node("ReduceMean", "x", axes=[-1])], (3,)),
    "ReduceSum": model([node("ReduceSum", "x a", keepdims=0)], (2, 3, 4), {"a": _I([1, 3])}),
    "ReduceSum by attribute": model([node("ReduceSum", "x", axes=[2])], (3, 4), opset=11),
    "ReduceMax over channels": model([node("ReduceMax", "x", axes=[1], keepdims=0)], (3, 4)),
    "a computed shape": computed_shape("N"),
    "a computed shape of one image": computed_shape(1),
    "a computed shape, old operator set": computed_shape("N", opset=11),
    "a constant in front of each image": class_token("N"),
    "a constant in front of one image": class_token(1),
    "a shape computed from a constant": model(
        [node("Shape", "k", "d"), node("Reshape", "k e", "c"), node("Div", "d two", "t"),
         node("Sub", "d t", "s"), node("Reshape", "x s")],
        (4,),
        {"k": r(2, 8), "two": _I([2]), "e": _I([0, -1])},
        batch=1,
    ),
    "arithmetic of constants": model(
        [node("Sub", "k l", "a"), node("Mul", "a h", "c"), node("Add", "x c")],
        (3,),
        {"k": np.float32([1, 2, 3]), "l": np.float32([[0.5]]), "h": np.float32(0.25)},
    ),
    "ConvTranspose": transposed(r(2, 3, 3), (2, 4), r(3)),
    "ConvTranspose 2-D": transposed(
        r(4, 3, 3, 2), (4, 3, 4), r(6), group=2, strides=[2, 3], pads=[1, 0, 0, 2],
        output_padding=[1, 2], dilations=[1, 2],
    ),
    "ConvTranspose, cropped": transposed(r(1, 2, 2), (1, 5), strides=[2], pads=[3, 2]),
    "ConvTranspose 3-D": transposed(r(2, 1, 2, 1, 3), (2, 2, 3, 2), strides=[1, 2, 2]),
    "ConvTranspose with a kernel of one 1": transposed(
        np.ones((2, 1, 1, 1), np.float32), (2, 3, 2), strides=[2, 3], group=2
    ),
    "MatMul of two values": model(
        [node("Transpose", "x", "t", perm=[0, 2, 1]), node("MatMul", "x t")], (3, 4)
    ),
    "MatMul of two values, heads": model(
        [node("Transpose", "x", "t", perm=[0, 1, 3, 2]), node("MatMul", "t x", "m"),
         node("Mul", "m h", "s"), node("Softmax", "s", "p", axis=-1), node("MatMul", "x p")],
        (2, 3, 4), {"h": np.float32(0.5)},
    ),
    "MatMul of a constant and a value": model(
        [node("MatMul", "c x")], (2, 3, 5), {"c": r(4, 3)}
    ),
    "Add to each channel": model(
        [node("ReduceMean", "x", "m", axes=[2, 3]), node("Add", "m x")], (2, 3, 2)
    ),
    "Sub of a mean": model([node("ReduceMean", "x", "m", axes=[2]), node("Sub", "x m")], (2, 3)),
    "Mul of two values": model([node("Tanh", "x", "h"), node("Mul", "x h")], (2, 3)),
    "Mul by its own sigmoid": model([node("Sigmoid", "x", "h"), node("Mul", "x h")], (9,)),
    "Mul of a value with itself": model([node("Mul", "x x")], (3,)),
    "Mul by a number for each channel": model(
        [node("ReduceMean", "x", "m", axes=[2, 3]), node("Sigmoid", "m", "g"),
         node("Mul", "x g", "h"), node("Mul", "m h")],
        (2, 3, 2),
    ),
    "LeakyRelu": model([node("LeakyRelu", "x", alpha=0.25)], (3, 4)),
    "LeakyRelu, slope by default": model([node("LeakyRelu", "x")], (9,)),
    "LeakyRelu that falls": model([node("LeakyRelu", "x", alpha=-1.7)], (9,)),
    "PRelu": model([node("PRelu", "x s")], (3, 4), {"s": r(3, 1)}),
    "PRelu, one slope": model([node("PRelu", "x s")], (3, 4), {"s": r(1, 1, 1)}),
    "Abs": model([node("Abs", "x")], (9,)),
    "Clip": model([node("Clip", "x l u")], (9,), {"l": np.float32(-0.5), "u": np.float32([0.7])}),
    "Clip from below": model([node("Clip", "x l")], (9,), {"l": np.float32(-0.3)}),
    "Clip from above": model(
        [onnx.helper.make_node("Clip", ["x", "", "u"], ["y"])], (9,), {"u": np.float32(0.3)}
    ),
    "Clip by attributes": model([node("Clip", "x", min=-0.25, max=6.0)], (9,), opset=9),
    "Clip by no attributes": model([node("Clip", "x", "h"), node("Relu", "h")], (9,), opset=10),
    "Clip to one number": model(
        [node("Clip", "x l l", "h"), node("Add", "h x")], (4,), {"l": np.float32(0.5)}
    ),
    "Max of a number": model([node("Max", "c x")], (2, 3), {"c": np.float32(0.3)}),
    "Max with 0": model([node("Max", "x c")], (9,), {"c": np.zeros((1, 1), np.float32)}),
    "Min of a number": model([node("Min", "x c")], (2, 3), {"c": np.float32([0.2])}),
    "Min of no number": model([node("Min", "x c", "h"), node("Relu", "h")], (3,),
                              {"c": np.float32(np.inf)}),
    "Max and Min of numbers": model(
        [node("Max", "x a b", "h"), node("Min", "c h")], (9,),
        {"a": np.float32(-0.25), "b": np.float32(-0.5), "c": np.float32(0.5)},
    ),
    "Max of each number": model([node("Max", "x c")], (3, 4), {"c": r(3, 1)}),
    "Min of each number": model([node("Min", "c x")], (3, 4), {"c": r(1, 3, 4)}),
    "Max of one value": model([node("Max", "x", "h"), node("Relu", "h")], (3,)),
    "Max of two values": model([node("Mul", "x c", "h"), node("Max", "x h")], (2, 3), {"c": r(3)}),
    "Min of two values": model([node("Mul", "x c", "h"), node("Min", "h x")], (2, 3), {"c": r(3)}),
    "Min of three values and a number": model(
        [node("Mul", "x c", "h"), node("ReduceMean", "x", "m", axes=[2]),
         node("Min", "h k x m")],
        (2, 3), {"c": r(3), "k": np.float32(0.1)}, opset=17,
    ),
    "Neg": model([node("Neg", "x")], (2, 3)),
    "ReduceMin": model([node("ReduceMin", "x a")], (2, 3, 4), {"a": _I([1, 3])}, opset=18),
    "ReduceMin, axes as an attribute": model(
        [node("ReduceMin", "x", axes=[2], keepdims=0)], (2, 3)
    ),
    "HardSigmoid": model([node("HardSigmoid", "x", alpha=0.3, beta=0.2)], (9,)),
    "HardSigmoid by default": model([node("HardSigmoid", "x")], (9,)),
    "HardSwish": model([node("HardSwish", "x")], (12,)),
    "HardSwish of what grows": model(
        [node("Mul", "x c", "h"), node("HardSwish", "h")], (3, 4), {"c": np.float32(4)}
    ),
    "DepthToSpace": model([node("DepthToSpace", "x", blocksize=2)], (8, 3, 2)),
    "DepthToSpace, columns first": model(
        [node("DepthToSpace", "x", blocksize=2, mode="CRD")], (8, 3, 2)
    ),
    "SpaceToDepth": model([node("SpaceToDepth", "x", blocksize=2)], (3, 4, 6)),
    "the lowest operator set": model(
        [node("Flatten", "x", "f"), node("MatMul", "f w", "h"), node("Add", "h b")],
        (2, 1, 3), {"w": r(6, 4), "b": r(4)}, opset=8, batch=1,
    ),
    "BatchNormalization, old operator set": model(
        [node("BatchNormalization", "x s b m v", spatial=1)], (3, 4),
        {"s": r(3), "b": r(3), "m": r(3), "v": np.abs(r(3))}, opset=8,
    ),
}  # fmt: skip

REFUSED = {
    # Flags that are neither 0 nor 1: some runtimes compare with 1, others with 0.
    "ReduceSum keeps axes twice": model(
        [node("ReduceSum", "x a", "h", keepdims=2), node("Softmax", "h", axis=1)], (2, 3),
        {"a": _I([1])},
    ),
    "ReduceMax keeps axes minus once": model([node("ReduceMax", "x", axes=[1], keepdims=-1)], (3,)),
    "ReduceSum noop": model([node("ReduceSum", "x a", noop_with_empty_axes=2)], (3,),
                            {"a": _I([1])}),
    "MaxPool rounds up twice": model(
        [node("MaxPool", "x", kernel_shape=[2], strides=[2], ceil_mode=2)], (1, 5)
    ),
    "AveragePool counts twice": model(
        [node("AveragePool", "x", kernel_shape=[2], pads=[1, 0], count_include_pad=2)], (1, 5)
    ),
    "Gemm turned twice": model([node("Gemm", "x k", transB=2)], (3,), {"k": r(3, 3)}),
    "Reshape of literal zeros twice": model(
        [node("Reshape", "x s", allowzero=2)], (4,), {"s": _I([-1, 2, 2])}
    ),
    "Slice of the batch": slices([0], [1], [0], [1], (3,)),
    "Slice of no image": slices([1], [_TO_END], [0], [1], (3,), batch=1),
    "Slice of images backwards": slices([-1], [-(2**62)], [0], [-1], (3,)),
    "Slice of nothing left": slices([2], [2], [1], [1], (3,)),
    "Slice backwards for ever ahead": slices([-1], [_TO_END], [1], [-1], (3,)),
    "Slice of a constant backwards for ever ahead": model(
        [node("Slice", "k n e i n", "s"), node("Concat", "i s n", "t", axis=0),
         node("Reshape", "x t", "h"), node("Softmax", "h", axis=-1)],
        (6,), {"k": _I([2, 3]), "n": _I([-1]), "i": _I([0]), "e": _I([_TO_END])},
    ),
    "Slice twice along an axis": slices([0, 0], [2, 1], [1, 1], [1, 1], (3,)),
    "Slice axes": slices([0], [2], [5], [1], (3,)),
    "Slice steps": slices([0], [2], [1], [0], (3,)),
    "Slice lengths": slices([0, 1], [2], [1], [1], (3,)),
    "Slice of a constant along no axis": model(
        [node("Slice", "k s e a", "c"), node("Add", "x c")], (3,),
        {"k": r(3), "s": _I([0]), "e": _I([1]), "a": _I([1])},
    ),
    "Gather of the batch": model([node("Gather", "x i")], (3,), {"i": _I([0])}),
    "Gather too far": model([node("Gather", "x i", axis=1)], (3,), {"i": _I([3])}),
    "Gather too far from the end": model([node("Gather", "x i", axis=1)], (3,), {"i": _I([-4])}),
    "Gather of no places": model([node("Gather", "x i", axis=1)], (3,), {"i": _I([])}),
    "Gather of floats": model([node("Gather", "x i", axis=1)], (3,), {"i": np.float32([1])}),
    "Gather by a value": model([node("Gather", "x x", axis=1)], (3,)),
    "Split of the batch": model([split("y", "b", axis=0)], (4,), batch=1),
    "Split unequal": model([split("y", "b", axis=1)], (5,), opset=13),
    "Split sizes": model([split("y", "b", axis=1, inputs="x s")], (5,), {"s": _I([2, 2])}),
    "Split sizes of floats": model(
        [split("y", "b", axis=1, inputs="x s")], (5,), {"s": np.float32([2, 3])}
    ),
    "Split without a name": model([split("y", "", axis=1)], (4,), opset=13),
    "Expand of the batch": model(
        [node("Expand", "x s", "h"), node("Relu", "h")], (1,), {"s": _I([4, 1])}
    ),
    "Expand before the batch": model([node("Expand", "x s")], (3,), {"s": _I([2, 1, 3])}),
    "Expand another extent": model([node("Expand", "x s")], (3,), {"s": _I([1, 2])}),
    "Expand to nothing": model([node("Expand", "x s")], (1,), {"s": _I([1, 0])}),
    "Expand of a constant that does not fit": model(
        [node("Expand", "k s", "c"), node("Add", "x c")], (3,), {"k": r(2), "s": _I([1, 3])}
    ),
    "Expand of a constant to the batch alone": model(
        [node("Shape", "x", "d"), node("Slice", "d z o", "n"), node("Expand", "k n", "c"),
         node("Add", "x c")],
        (3,), {"k": r(1), "z": _I([0]), "o": _I([1])},
    ),
    "Expand of a batch of constants": model(
        [node("Shape", "x", "d"), node("Expand", "k d", "c"), node("Add", "x c")],
        (3,), {"k": r(2, 3)},
    ),
    "Unsqueeze before the batch": model([node("Unsqueeze", "x a")], (3,), {"a": _I([0])}),
    "Unsqueeze twice": model([node("Unsqueeze", "x a")], (3,), {"a": _I([1, 1])}),
    "Unsqueeze of no axes": model([node("Unsqueeze", "x a")], (3,), {"a": _I([])}),
    "Squeeze of the batch": model([node("Squeeze", "x a")], (1,), {"a": _I([0])}),
    "Squeeze without axes": model([node("Squeeze", "x")], (1, 3)),
    "Squeeze of more than 1": model([node("Squeeze", "x a")], (3, 2), {"a": _I([1])}),
    "Pad of the batch": pad([1, 0, 0, 0], (3,)),
    "Pad of too many axes": pad([0, 0, 0, 0, 0, 0], (3,)),
    "Pad of all": pad([0, -3, 0, 0], (3,)),
    "Pad wrapped": model(
        [node("Pad", "x p", mode="wrap")], (3,), {"p": _I([0, 1, 0, 1])}, opset=19
    ),
    "Pad twice along an axis": model(
        [node("Pad", "x p z a")], (2, 3),
        {"p": _I([1, 0, 0, 1]), "z": np.float32(0), "a": _I([1, -2])}, opset=18,
    ),
    "Pad reflected too far": pad([0, 3, 0, 0], (3,), mode="reflect"),
    "Pad with infinity": pad([0, 1, 0, 0], (3,), np.inf),
    "Pad with NaN": pad([0, 1, 0, 0], (3,), np.nan),
    "Pad by floats": model([node("Pad", "x p")], (3,), {"p": np.float32([0, 1, 0, 1])}),
    "Concat with a batch of constants": model(
        [node("Concat", "x k", axis=1)], (3,), {"k": r(2, 3)}
    ),
    "Concat with constants of another shape": model(
        [node("Concat", "x k", axis=1)], (3, 2), {"k": r(1, 3, 1)}
    ),
    "Concat of constants of two kinds": model(
        [node("Concat", "k i", "c", axis=0), node("Add", "x c")], (3,), {"k": r(1), "i": _I([1, 2])}
    ),
    "Concat of constants that do not fit": model(
        [node("Concat", "k l", "c", axis=0), node("Add", "x c")], (3,), {"k": r(1), "l": r(2, 1)}
    ),
    "Concat of floats and the batch": model(
        [node("Shape", "x", "d"), node("Concat", "d k", "s", axis=0), node("Reshape", "x s")],
        (3,), {"k": r(1)},
    ),
    "Gemm of a matrix": model([node("Gemm", "x w")], (3, 5), {"w": r(5, 4)}),
    "ReduceMean of the batch": model([node("ReduceMean", "x", axes=[0])], (3,)),
    "ReduceMean of all": model([node("ReduceMean", "x")], (3,)),
    "ReduceSum twice": model([node("ReduceSum", "x a")], (3, 4), {"a": _I([1, -2])}),
    "arithmetic with the batch": model(
        [node("Shape", "x", "d"), node("Mul", "d two", "s"), node("Reshape", "x s")],
        (3,), {"two": _I([2])},
    ),
    "a shape that repeats the batch": model(
        [node("Shape", "x", "d"), node("Concat", "d d", "s", axis=0), node("Reshape", "x s")], (3,)
    ),
    "a very long shape with the batch": model(
        [node("Shape", "x", "d"), node("Concat", "d k", "s", axis=0), node("Reshape", "x s")],
        (3,), {"k": np.ones(20, np.int64)},
    ),
    "integers beyond 64 bits": model(
        [node("Mul", "k k", "s"), node("Reshape", "x s")], (3,), {"k": _I([2**40, 2**40])}
    ),
    "division of integers by 0": model(
        [node("Div", "k z", "s"), node("Reshape", "x s")], (3,), {"k": _I([3]), "z": _I([0])}
    ),
    "many integers": model(
        [node("Add", "k k", "s"), node("Reshape", "x s")], (3,), {"k": np.ones(100, np.int64)}
    ),
    "a sum of constants that rounds": model(
        [node("Add", "k l", "c"), node("Add", "x c")], (1,),
        {"k": np.float32([1]), "l": np.float32([2.0**-60])},
    ),
    "a product of constants that rounds": model(
        [node("Mul", "k k", "c"), node("Add", "x c")], (1,), {"k": np.float32([1.1])}
    ),
    "a quotient of constants": model(
        [node("Div", "k k", "c"), node("Add", "x c")], (1,), {"k": np.float32([3])}
    ),
    "constants that do not fit": model(
        [node("Add", "k l", "c"), node("Add", "x c")], (3,), {"k": r(3), "l": r(2)}
    ),
    "Cast of a value": model([node("Cast", "x", to=1)], (3,)),
    "Cast of floats": model(
        [node("Cast", "k", "s", to=7), node("Reshape", "x s")], (3,), {"k": np.float32([0, 3])}
    ),
    "a constant as long as the batch": model(
        [node("Shape", "x", "d"), node("Slice", "d z o", "s"), filled(1.0), node("Add", "x c")],
        (1,), {"z": _I([0]), "o": _I([1])},
    ),
    "a constant of two numbers": model(
        [node("ConstantOfShape", "s", "c",
              value=onnx.numpy_helper.from_array(np.float32([1, 2]), "v")), node("Add", "x c")],
        (1,), {"s": _I([1])},
    ),
    "Reshape of a constant": model(
        [node("Reshape", "k s", "c"), node("Add", "x c")], (3,), {"k": r(3), "s": _I([2, -1])}
    ),
    "MatMul of vectors": model([node("Relu", "x", "h"), node("MatMul", "x h")], (3,)),
    "MatMul that does not fit": model([node("MatMul", "x x")], (2, 3)),
    "MatMul of a constant and a vector": model([node("MatMul", "c x")], (3,), {"c": r(1, 1)}),
    "Mul of other extents": model(
        [node("Slice", "x s e a", "h"), node("Mul", "x h")],
        (3,), {"s": _I([0]), "e": _I([2]), "a": _I([1])},
    ),
    "Mul of other axes": model(
        [node("ReduceMean", "x", "m", axes=[1], keepdims=0), node("Mul", "x m")], (2, 3)
    ),
    "Clip upside down": model(
        [node("Clip", "x l u")], (3,), {"l": np.float32(1), "u": np.float32(0)}
    ),
    "Clip to NaN": model([node("Clip", "x l")], (3,), {"l": np.float32(np.nan)}),
    "Clip above all": model([node("Clip", "x l")], (3,), {"l": np.float32(np.inf)}),
    "Clip each number": model([node("Clip", "x l")], (3,), {"l": r(3)}),
    "Max with NaN": model([node("Max", "x c")], (3,), {"c": np.float32(np.nan)}),
    "Max with NaN among numbers": model([node("Max", "x c")], (2,), {"c": np.float32([0, np.nan])}),
    "Max above all": model([node("Max", "x c")], (3,), {"c": np.float32(np.inf)}),
    "Max that enlarges": model([node("Max", "x c")], (1,), {"c": r(3)}),
    "Max of other extents": model(
        [node("Slice", "x s e a", "h"), node("Max", "x h")],
        (3,), {"s": _I([0]), "e": _I([2]), "a": _I([1])},
    ),
    "Min of constants": model([node("Min", "c d", "k"), node("Add", "x k")], (3,),
                              {"c": r(3), "d": r(3)}),
    "Min of integers": model([node("Min", "x c")], (3,), {"c": _I([1])}),
    "HardSigmoid with a factor of NaN": model([node("HardSigmoid", "x", alpha=np.nan)], (3,)),
    "HardSigmoid with an infinite shift": model([node("HardSigmoid", "x", beta=np.inf)], (3,)),
    "DepthToSpace of no block": model([node("DepthToSpace", "x")], (4, 2, 2)),
    "DepthToSpace that does not fit": model([node("DepthToSpace", "x", blocksize=2)], (6, 2, 2)),
    "DepthToSpace of another mode": model(
        [node("DepthToSpace", "x", blocksize=2, mode="RCD")], (4, 2, 2)
    ),
    "DepthToSpace of a vector": model([node("DepthToSpace", "x", blocksize=1)], (4,)),
    "SpaceToDepth that does not fit": model([node("SpaceToDepth", "x", blocksize=2)], (1, 4, 3)),
    "LeakyRelu with a slope of NaN": model([node("LeakyRelu", "x", alpha=np.nan)], (3,)),
    "PRelu by a value": model([node("PRelu", "x x")], (3,)),
    "PRelu that enlarges": model([node("PRelu", "x s")], (1,), {"s": r(3)}),
    "ConvTranspose kernel_shape": transposed(r(1, 1, 2), (1, 3), kernel_shape=[3]),
    "ConvTranspose output_shape": transposed(r(1, 1, 2), (1, 3), output_shape=[4]),
    "ConvTranspose groups": transposed(r(3, 1, 2), (3, 3), group=2),
    "ConvTranspose output_padding": transposed(r(1, 1, 2), (1, 3), output_padding=[1]),
    "ConvTranspose channels": transposed(r(2, 1, 2), (1, 3)),
    "ConvTranspose of a vector": transposed(r(2, 1), (2,)),
    "ConvTranspose that leaves nothing": transposed(r(1, 1, 1), (1, 3), pads=[2, 1]),
}  # fmt: skip
