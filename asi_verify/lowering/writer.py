"""Write a ``Network`` as the canonical ONNX artifact: the same network, the same bytes.

One file, no external data, no metadata, names by position, one operator set: 17, or 20 where the
network holds a GELU, which is an operator of ONNX since then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from asi_verify.core.bilinear import MatMul
from asi_verify.core.moves import Pad, Select
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
from asi_verify.core.piecewise import Clamp, LeakyRelu
from asi_verify.core.smooth import Erf, Gelu, LayerNormalization, Sigmoid, Softmax, Tanh
from asi_verify.errors import ModelError

__all__ = ["INPUT_NAME", "OUTPUT_NAME", "GraphWriter", "write_artifact"]

OPSET, IR_VERSION = 17, 8
_OPSET_WITH_GELU, _IR_VERSION_WITH_GELU = 20, 9
INPUT_NAME = "image"
OUTPUT_NAME = "logits"


class GraphWriter:
    """An ONNX graph under construction, with names by position."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []

    def constant(self, array: npt.NDArray[Any]) -> str:
        """The name of a new constant."""
        name = f"c{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        """The name of what a new node of one output computes."""
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def operator(self, operator: Operator, inputs: list[str], shape: Shape) -> str:
        """The name of what an operator of ours computes of named values.

        Args:
            operator: the operator.
            inputs: what it reads.
            shape: of one sample of the first of them.

        Raises:
            ModelError: it has no ONNX form.
        """
        return _write(self, operator, inputs, shape)

    def model(
        self,
        name: str,
        shape: Shape,
        outputs: Mapping[str, tuple[str, npt.DTypeLike, Shape]],
        metadata: Mapping[str, str],
    ) -> bytes:
        """The file: one float32 input ``image``, ``(N, *shape)``, and several outputs.

        Args:
            name: of the graph.
            shape: of one image.
            outputs: by its name, for each output that of the value, its dtype, and the shape for
                one image.
            metadata: texts that the file carries.
        """
        for output, (value, _, _) in outputs.items():
            self.nodes.append(helper.make_node("Identity", [value], [output]))
        graph = helper.make_graph(
            self.nodes,
            name,
            [_batched(INPUT_NAME, shape)],
            [
                helper.make_tensor_value_info(
                    output, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), ["N", *extents]
                )
                for output, (_, dtype, extents) in outputs.items()
            ],
            self.tensors,
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
        )
        helper.set_model_props(model, dict(metadata))
        return bytes(model.SerializeToString(deterministic=True))


def write_artifact(network: Network) -> bytes:
    """The canonical ONNX file of a network.

    ``read_network`` of the bytes is the same function over the reals (a ``Scale`` may come back as
    two), and writing that again gives the same bytes.

    Raises:
        ModelError: a constant is not a float32 that stands for itself; see ``Network.rounded``.
    """
    if not network.is_exact_float32:
        raise ModelError("the network holds constants that are not float32; round it first")
    writer = GraphWriter()
    names = [INPUT_NAME]
    for node in network.nodes:
        inputs = [names[value] for value in node.inputs]
        names.append(_write(writer, node.operator, inputs, network.shapes[node.inputs[0]]))
    writer.nodes[-1].output[0] = OUTPUT_NAME
    graph = helper.make_graph(
        writer.nodes,
        "artifact",
        [_batched(INPUT_NAME, network.input_shape)],
        [_batched(OUTPUT_NAME, network.output_shape)],
        writer.tensors,
    )
    holds_gelu = any(isinstance(node.operator, Gelu) for node in network.nodes)
    opset, version = (
        (_OPSET_WITH_GELU, _IR_VERSION_WITH_GELU) if holds_gelu else (OPSET, IR_VERSION)
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=version
    )
    return bytes(model.SerializeToString(deterministic=True))


def _batched(name: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", *shape])


def _write(writer: GraphWriter, operator: object, inputs: list[str], shape: Shape) -> str:
    match operator:
        case Affine(weight=weight, bias=bias) if len(shape) > 1:
            product = writer.node("MatMul", [*inputs, writer.constant(weight.T)])
            return writer.node("Add", [product, writer.constant(bias)]) if bias.any() else product
        case Affine(weight=weight, bias=bias):
            constants = [writer.constant(weight), writer.constant(bias)]
            return writer.node("Gemm", inputs + constants, transB=1)
        case Conv():
            constants = [writer.constant(operator.weight), writer.constant(operator.bias)]
            return writer.node(
                "Conv",
                inputs + constants,
                dilations=operator.dilations,
                group=operator.groups,
                kernel_shape=operator.kernel,
                pads=_pads(operator),
                strides=operator.strides,
            )
        case MaxPool():
            return writer.node(
                "MaxPool",
                inputs,
                dilations=operator.dilations,
                kernel_shape=operator.kernel,
                pads=_pads(operator),
                strides=operator.strides,
            )
        case Scale(scale=scale, shift=shift):
            return _write_scale(writer, scale, shift, inputs)
        case Relu() | LeakyRelu() | Clamp():
            return _write_piecewise(writer, operator, inputs)
        case Add() | MatMul():
            return writer.node(type(operator).__name__, inputs)
        case Reshape() | Transpose() | Concat() | Select() | Pad():
            return _write_moving(writer, operator, inputs, shape)
        case _:
            return _write_smooth(writer, operator, inputs)


def _write_moving(
    writer: GraphWriter,
    operator: Reshape | Transpose | Concat | Select | Pad,
    inputs: list[str],
    given: Shape,
) -> str:
    match operator:
        case Reshape(shape=shape):
            target = writer.constant(np.array([0, *shape], dtype=np.int64))
            return writer.node("Reshape", [*inputs, target])
        case Transpose(permutation=permutation):
            return writer.node("Transpose", inputs, perm=[0, *(axis + 1 for axis in permutation)])
        case Concat(axis=axis):
            return writer.node("Concat", inputs, axis=axis + 1)
        case Select(axis=axis, places=places):
            indices = writer.constant(np.array(places, dtype=np.int64))
            return writer.node("Gather", [*inputs, indices], axis=axis + 1)
        case Pad():
            return _write_pad(writer, operator, inputs, given)


def _write_smooth(writer: GraphWriter, operator: object, inputs: list[str]) -> str:
    match operator:
        case Sigmoid() | Tanh() | Erf():
            return writer.node(type(operator).__name__, inputs)
        case Gelu(tanh=tanh):
            return writer.node("Gelu", inputs, approximate="tanh" if tanh else "none")
        case Softmax(axis=axis):
            return writer.node("Softmax", inputs, axis=axis + 1)
        case LayerNormalization():
            constants = [writer.constant(operator.scale), writer.constant(operator.shift)]
            return writer.node(
                "LayerNormalization",
                inputs + constants,
                axis=-operator.scale.ndim,
                epsilon=operator.epsilon,
            )
        case _:
            raise ModelError(f"{type(operator).__name__} has no ONNX form")


def _pads(operator: Conv | MaxPool) -> list[int]:
    """As ONNX orders them: all axes before, then all axes after."""
    return [before for before, _ in operator.pads] + [after for _, after in operator.pads]


def _write_piecewise(
    writer: GraphWriter, operator: Relu | LeakyRelu | Clamp, inputs: list[str]
) -> str:
    match operator:
        case Relu():
            return writer.node("Relu", inputs)
        case LeakyRelu(slope=slope) if slope.ndim == 0:
            return writer.node("LeakyRelu", inputs, alpha=float(slope))
        case LeakyRelu(slope=slope):
            return writer.node("PRelu", [*inputs, writer.constant(slope)])
        case Clamp():
            ends = [
                writer.constant(np.array(end, dtype=np.float32)) if np.isfinite(end) else ""
                for end in (operator.lower, operator.upper)
            ]
            return writer.node("Clip", [*inputs, *ends])


def _write_pad(writer: GraphWriter, operator: Pad, inputs: list[str], shape: Shape) -> str:
    """Zeros between neighbours are what a transposed convolution with a kernel of one 1 makes."""
    result = inputs[0]
    channels, *gaps = operator.between
    if channels or (any(gaps) and not 1 <= len(gaps) <= 3):
        raise ModelError(f"zeros between the numbers of a value {shape} have no ONNX form")
    if any(gaps):
        ones = np.ones((shape[0], 1, *(1 for _ in gaps)), dtype=np.float32)
        strides = [gap + 1 for gap in gaps]
        kernel = writer.constant(ones)
        result = writer.node("ConvTranspose", [result, kernel], group=shape[0], strides=strides)
    if not any(map(any, operator.pads)):
        return result if any(gaps) else writer.node("Identity", [result])
    before, after = zip((0, 0), *operator.pads, strict=True)
    pads = writer.constant(np.array([*before, *after], dtype=np.int64))
    return writer.node(
        "Pad", [result, pads, writer.constant(np.array(operator.fill, dtype=np.float32))]
    )


def _write_scale(
    writer: GraphWriter, scale: npt.NDArray[Any], shift: npt.NDArray[Any], inputs: list[str]
) -> str:
    scales, shifts = bool(np.any(scale != 1)), bool(np.any(shift != 0))
    result = inputs[0]
    if scales:
        result = writer.node("Mul", [result, writer.constant(scale)])
    if shifts:
        result = writer.node("Add", [result, writer.constant(shift)])
    return result if scales or shifts else writer.node("Identity", [result])
