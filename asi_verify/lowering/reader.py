"""Read an ONNX file into a ``Network``. It is untrusted; what is not understood is refused."""

from __future__ import annotations

import onnx
from google.protobuf.message import DecodeError

import asi_verify.lowering.operators  # noqa: F401  registers the converters
from asi_verify.core.limits import LARGEST_ARTIFACT
from asi_verify.core.network import Network
from asi_verify.errors import ModelError, UnsupportedOperatorError
from asi_verify.lowering.graph import Given, Graph, OnnxNode, Value
from asi_verify.lowering.registry import HIGHEST_OPSET, LOWEST_OPSET, REGISTRY
from asi_verify.lowering.tensors import read_tensor, refuse_unreadable

__all__ = ["read_network"]


def read_network(data: bytes) -> Network:
    """The network that an ONNX file means.

    Exact: the network computes over the reals what the file says, with any constant that is not a
    float32 carried as a float64 and its slack.

    Args:
        data: the file's bytes.

    Raises:
        ModelError: not an ONNX model, external data, several inputs or outputs, or shapes that do
            not fit.
        UnsupportedOperatorError: an operator or a setting without a trusted rule, by name.
    """
    model = _parse(data)
    version = _operator_set(model)
    graph = _start(model)
    for tensor in model.graph.initializer:
        if tensor.name in graph.names:
            raise ModelError(f"the value {tensor.name!r} is given twice")
        graph.names[tensor.name] = read_tensor(tensor)
    for proto in model.graph.node:
        _convert(proto, version, graph)
    name = model.graph.output[0].name
    output = graph.names.get(name)
    if not isinstance(output, Value):
        raise ModelError(f"the output {name!r} does not depend on the input")
    return graph.network(output)


def _parse(data: bytes) -> onnx.ModelProto:
    if not data or len(data) > LARGEST_ARTIFACT:
        raise ModelError(
            f"an ONNX file of {len(data)} bytes; between 1 and {LARGEST_ARTIFACT} expected"
        )
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError as error:
        raise ModelError(
            f"not an ONNX file, or a truncated one; export or copy it again: {error}"
        ) from None
    if model.functions:
        raise UnsupportedOperatorError(
            "the file defines functions of its own; inline them (onnx.inliner) and export again"
        )
    if model.graph.sparse_initializer:
        raise UnsupportedOperatorError("the file holds sparse weights; export dense ones")
    for tensor in model.graph.initializer:
        # Before the model is looked at as a whole, so that nothing is opened or allocated for it.
        refuse_unreadable(tensor)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                refuse_unreadable(attribute.t)
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"not a valid ONNX model: {reason}") from None
    return model


def _operator_set(model: onnx.ModelProto) -> int:
    # Some exporters name one version twice; two versions would leave open which one is meant.
    versions = sorted({e.version for e in model.opset_import if e.domain in ("", "ai.onnx")})
    if len(versions) != 1 or not LOWEST_OPSET <= versions[0] <= HIGHEST_OPSET:
        raise ModelError(
            f"the model uses operator set {versions}; {LOWEST_OPSET} to {HIGHEST_OPSET} are "
            "supported (onnx.version_converter changes it)"
        )
    return int(versions[0])


def _start(model: onnx.ModelProto) -> Graph:
    initialized = {tensor.name for tensor in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in initialized]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        is_guard = any(e.value.startswith("asi-verify/guard/") for e in model.metadata_props)
        raise ModelError(
            f"the model has {len(inputs)} inputs and {len(model.graph.output)} outputs; "
            "one of each is supported"
            + ("; this is a guard's file, give the model that it guards" if is_guard else "")
        )
    kind = inputs[0].type.tensor_type
    if kind.elem_type != onnx.TensorProto.FLOAT:
        known = onnx.TensorProto.DataType.items()
        name = next(
            (name for name, number in known if number == kind.elem_type), "of no known type"
        )
        raise ModelError(f"the model's input is {name}; float32 is supported")
    dimensions = list(kind.shape.dim)
    if len(dimensions) < 2 or not all(d.HasField("dim_value") for d in dimensions[1:]):
        raise ModelError(
            "the model's input must have a batch axis and otherwise fixed extents; "
            f"it is declared as {[d.dim_value or d.dim_param for d in dimensions]}"
        )
    batch = dimensions[0].dim_value if dimensions[0].HasField("dim_value") else None
    if batch not in (None, 1):
        raise ModelError(f"the batch axis is fixed to {batch}; export it dynamic, or as 1")
    shape = tuple(d.dim_value for d in dimensions[1:])
    graph = Graph(shape, batch, model.graph.output[0].name)
    graph.names[inputs[0].name] = graph.input()
    return graph


def _convert(proto: onnx.NodeProto, version: int, graph: Graph) -> None:
    if graph.head is not None:
        raise UnsupportedOperatorError(
            f"{graph.head} is supported only as the last operator; {proto.op_type} follows it"
        )
    inputs: list[Given | None] = []
    for name in proto.input:
        if name and name not in graph.names:
            raise ModelError(f"{proto.op_type} reads {name!r}, which nothing computes")
        inputs.append(graph.names[name] if name else None)
    node = OnnxNode(proto, version, tuple(inputs))
    REGISTRY.find(proto.domain, proto.op_type, version).convert(node, graph)
