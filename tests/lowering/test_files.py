"""ONNX files as a whole: hostile ones, truncated ones, and the canonical writer."""

from __future__ import annotations

import hashlib

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.networks import small_cnn
from support.onnx_files import model, node

from asi_verify.errors import ModelError
from asi_verify.lowering import read_network, write_artifact

ARTIFACT = write_artifact(small_cnn(np.random.default_rng(0)))


@pytest.mark.parametrize(
    "data", [b"", b"not a model", b"\x00" * 100, ARTIFACT[:200], ARTIFACT[:-20]]
)
def test_a_truncated_or_foreign_file_is_refused(data):
    """One clear error, whatever the bytes are."""
    with pytest.raises(ModelError):
        read_network(data)


def refusal(data):
    """The error with which a file is refused; None if it is read."""
    try:
        read_network(data)
    except ModelError as error:
        return error
    return None


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(ARTIFACT) - 1), st.binary(min_size=1, max_size=6))
def test_a_damaged_file_is_refused_or_read_but_never_fails_otherwise(position, noise):
    """Flipped bytes give another network or a ``ModelError``, in bounded time and memory."""
    damaged = bytearray(ARTIFACT)
    damaged[position : position + len(noise)] = noise
    error = refusal(bytes(damaged))
    assert error is None or str(error)


def test_external_weights_are_refused():
    """The file alone has to be the model, and no other file is opened for it."""
    made = onnx.load_from_string(ARTIFACT)
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    with pytest.raises(ModelError, match="another file"):
        read_network(made.SerializeToString())


def test_a_weight_that_declares_more_than_it_holds_is_refused():
    """Nothing is allocated for the sake of a declared size."""
    made = onnx.load_from_string(ARTIFACT)
    made.graph.initializer[0].dims[0] = 10**12
    with pytest.raises(ModelError):
        read_network(made.SerializeToString())


def test_own_functions_and_sparse_weights_are_refused():
    """Both could hide what the file computes."""
    made = onnx.load_from_string(ARTIFACT)
    made.functions.add().name = "f"
    with pytest.raises(ModelError, match="functions"):
        read_network(made.SerializeToString())
    made = onnx.load_from_string(ARTIFACT)
    made.graph.sparse_initializer.add()
    with pytest.raises(ModelError, match="sparse"):
        read_network(made.SerializeToString())


def test_two_inputs_or_outputs_are_refused():
    """Which of them would the proof be about?"""
    made = onnx.load_from_string(model([node("Relu", "x")], (3,)))
    made.graph.output.append(onnx.helper.make_tensor_value_info("x", 1, ["N", 3]))
    with pytest.raises(ModelError, match="2 outputs"):
        read_network(made.SerializeToString())


def test_the_canonical_file_is_plain():
    """No producer, no metadata, no documentation, no external data, one operator set."""
    made = onnx.load_from_string(ARTIFACT)
    assert not made.producer_name
    assert not made.doc_string
    assert not made.metadata_props
    assert [e.version for e in made.opset_import] == [17]
    assert [i.name for i in made.graph.input] == ["image"]
    assert [o.name for o in made.graph.output] == ["logits"]


def test_the_same_network_gives_the_same_bytes():
    """The artifact's name is its digest, so its bytes must not depend on when it was written."""
    again = write_artifact(small_cnn(np.random.default_rng(0)))
    assert hashlib.sha256(again).digest() == hashlib.sha256(ARTIFACT).digest()


def test_constants_that_are_no_float32_are_not_written():
    """Rounding is a decision of the exporter's, never of the writer's."""
    network = read_network(model([node("AveragePool", "x", kernel_shape=[3, 3])], (1, 3, 3)))
    with pytest.raises(ModelError, match="round"):
        write_artifact(network)
    assert write_artifact(network.rounded())
