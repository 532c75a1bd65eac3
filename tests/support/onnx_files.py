"""ONNX files made by hand, as other people's exporters make them."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def model(
    nodes: list[onnx.NodeProto],
    input_shape: tuple[int, ...],
    constants: dict[str, Any] | None = None,
    *,
    opset: int = 17,
    batch: str | int = "N",
    output: str = "y",
    element: int = TensorProto.FLOAT,
) -> bytes:
    """A model with input ``x`` and one output, its shape inferred."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", element, [batch, *input_shape])],
        [helper.make_tensor_value_info(output, element, None)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    with contextlib.suppress(onnx.shape_inference.InferenceError):  # a model that is to be refused
        made = onnx.shape_inference.infer_shapes(made)
    if not made.graph.output[0].type.tensor_type.HasField("shape"):
        made.graph.output[0].type.tensor_type.shape.dim.add().dim_param = "N"
    return bytes(made.SerializeToString())


def node(operator: str, inputs: str, output: str = "y", **attributes: Any) -> onnx.NodeProto:
    """A node; inputs as a string of names."""
    return helper.make_node(operator, inputs.split(), [output], **attributes)
