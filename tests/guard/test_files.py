"""Files that are no guard's, or not as they were made: one clear error each, with the remedy."""

from __future__ import annotations

import io

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from support.guards import SIDE, square_model

import asi_verify as asi
from asi_verify.core.images import encode
from asi_verify.core.linf import LInf
from asi_verify.core.radius import Radius
from asi_verify.errors import DataError, ModelError
from asi_verify.export import load_model
from asi_verify.guard import Guard, Members, write_guard
from asi_verify.guard.seal import is_sealed, sealed
from asi_verify.runtime.session import load


@pytest.fixture(scope="module")
def artifact():
    """The model of squares."""
    return load_model(square_model(), (1, SIDE, SIDE)).data


@pytest.fixture(scope="module")
def file(artifact):
    """Its guard's file."""
    return write_guard(artifact, Radius.of("1/255"))


def edited(file, change):
    """The file, parsed, changed and saved anew, as by another program."""
    model = onnx.load_from_string(file)
    change(model)
    return model.SerializeToString()


def without_metadata(model):
    del model.metadata_props[:]


def without_an_output(model):
    del model.graph.output[2]


def of_another_operator_set(model):
    model.opset_import[0].version = 18


def of_a_larger_radius(model):
    for entry in model.metadata_props:
        if entry.key == "radius":
            entry.value = "100/255"


def with_another_weight(model):
    data = bytearray(model.graph.initializer[-1].raw_data)
    data[0] ^= 1
    model.graph.initializer[-1].raw_data = bytes(data)


EDITS = [
    without_metadata,
    without_an_output,
    of_another_operator_set,
    of_a_larger_radius,
    with_another_weight,
]


def is_refused(file):
    """Whether there is one line that names the remedy."""
    with pytest.raises(
        ModelError, match=r"no guard's .*make one with asi_verify\.build_guard"
    ) as e:
        Guard(file)
    return "\n" not in str(e.value)


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
def test_a_file_that_was_edited_is_refused(edit, file):
    """Whatever was changed; ONNX Runtime itself would run most of them."""
    changed = edited(file, edit)
    if edit is not of_another_operator_set:
        load(changed, usual=True)
    assert is_refused(changed)


def test_a_file_of_another_kind_is_refused(file, artifact, tmp_path):
    """Nothing, text, a model, a part of a guard, or one with something behind it."""
    for other in (b"", b"no file", artifact, file[:-1], file[: len(file) // 2], file + b"\x00"):
        assert is_refused(other)
    with pytest.raises(ModelError, match="no such file"):
        Guard(tmp_path / "nowhere.onnx")


def test_a_guard_where_a_model_is_asked_is_called_a_guard(file):
    """With the remedy; another file of several outputs is not."""
    with pytest.raises(ModelError, match=r"4 outputs; .*a guard's file, give the model"):
        load_model(file, (1, SIDE, SIDE))
    with pytest.raises(ModelError, match=r"4 outputs; one of each is supported$"):
        load_model(edited(file, without_metadata), (1, SIDE, SIDE))


def test_every_byte_of_a_file_counts(file):
    """One bit changed anywhere is seen, before ONNX Runtime is asked."""
    assert is_sealed(file)
    for place in np.random.default_rng(0).integers(0, len(file), 200):
        changed = bytearray(file)
        changed[place] ^= 1
        assert not is_sealed(bytes(changed))


@pytest.mark.parametrize("edit", EDITS[:2], ids=lambda edit: edit.__name__)
def test_a_file_that_was_sealed_anew_has_to_be_a_guard_all_the_same(edit, file):
    """Its outputs and its metadata are looked at."""
    assert is_refused(sealed(edited(file, edit)))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", "asi-verify/guard/0"),
        ("artifact", "no digest"),
        ("radius", "far"),
        ("radius", "-1/255"),
        ("bounds", "by guess"),
        ("classes", "many"),
    ],
)
def test_metadata_without_a_meaning_is_refused(key, value, file):
    """Each entry by itself, and without it."""

    def changed(model):
        for entry in model.metadata_props:
            if entry.key == key:
                entry.value = value

    def without(model):
        kept = [entry for entry in model.metadata_props if entry.key != key]
        del model.metadata_props[:]
        model.metadata_props.extend(kept)

    assert is_refused(sealed(edited(file, changed)))
    assert is_refused(sealed(edited(file, without)))


def test_outputs_of_other_types_and_a_second_input_are_refused(file):
    """What a call would trip over."""

    def renamed(model):
        model.graph.output[0].name, model.graph.output[3].name = "reason", "label"

    def with_an_input(model):
        more = helper.make_tensor_value_info("more", TensorProto.FLOAT, ["N"])
        model.graph.input.append(more)

    for edit in (renamed, with_an_input):
        assert is_refused(sealed(edited(file, edit)))


def members(**fields):
    """The bytes of a file of members with other fields; of what is None, without."""
    images = np.zeros((3, 1, SIDE, SIDE), np.uint8)
    made = Members("0" * 64, LInf.of("1/255"), images, np.arange(3) % 2, np.arange(3))
    with np.load(io.BytesIO(made.to_bytes())) as held:
        kept = {**held, **fields}
    buffer = io.BytesIO()
    np.savez(buffer, **{key: value for key, value in kept.items() if value is not None})
    return buffer.getvalue()


@pytest.mark.parametrize("field", ["artifact", "images", "labels", "radius", "rows", "seal"])
def test_members_without_a_field_are_refused(field):
    """Each of them."""
    assert len(Members.read(members()).rows) == 3
    with pytest.raises(DataError, match=r"members: .*build_guard\(membership=True\)"):
        Members.read(members(**{field: None}))


@pytest.mark.parametrize(
    "fields",
    [
        {"images": np.ones((3, 1, SIDE, SIDE), np.uint8)},
        {"labels": np.array([1, 1, 0])},
        {"rows": np.array([0, 1, 3])},
        {"radius": np.array("40/255")},
        {"artifact": np.array("1" * 64)},
        {"radius": np.array("far")},
        {"artifact": np.array("no digest")},
        {"labels": np.array([0.0, 1.0, 0.0])},
        {"rows": np.arange(4)},
    ],
    ids="-".join,
)
def test_members_that_were_changed_are_refused(fields):
    """What would be answered for them is not what was certified."""
    with pytest.raises(DataError, match=r"members: .*build_guard\(membership=True\)"):
        Members.read(members(**fields))


def test_other_files_are_no_members(tmp_path):
    """An array, nothing, and a file that is not there."""
    array = io.BytesIO()
    np.save(array, np.zeros(3))
    for other in (b"", array.getvalue()):
        with pytest.raises(DataError, match=r"members: .*build_guard\(membership=True\)"):
            Members.read(other)
    with pytest.raises(DataError, match="no such file"):
        Members.read(tmp_path / "nowhere.npz")


def test_members_of_images_of_another_shape_are_refused(file):
    """When they are given, not at the first question."""
    guard = Guard(file)
    images = np.zeros((1, 1, 8, 8), np.uint8)
    made = Members(guard.artifact, LInf.of("1/255"), images, np.zeros(1, int), np.zeros(1, int))
    with pytest.raises(ModelError, match=r"members: images of shape \(1, 8, 8\)"):
        asi.Guard(file, made)
    assert len(guard(encode(np.zeros((1, 1, SIDE, SIDE), np.uint8)))) == 1
