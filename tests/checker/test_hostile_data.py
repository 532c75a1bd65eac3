"""Data files that are none, or unfold into far more than they are: one line, no traceback."""

from __future__ import annotations

import io
import os
import tracemalloc
import zipfile

import numpy as np
import pytest

from asi_verify.checker.command import load_split
from asi_verify.errors import DataError

IMAGES = np.zeros((2, 4, 4), np.uint8)
LABELS = np.array([[1], [0]])


def array(values, *, shape=None):
    """An array as numpy writes it, with another shape in its header."""
    out = io.BytesIO()
    values = np.asarray(values)
    header = np.lib.format.header_data_from_array_1_0(values)
    if shape is not None:
        header["shape"] = shape
    np.lib.format.write_array_header_1_0(out, header)
    return out.getvalue() + values.tobytes()


def archive(path, members, compression=zipfile.ZIP_DEFLATED):
    """A zip file of these members."""
    with zipfile.ZipFile(path, "w", compression) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return path


def refused(path, says=""):
    """That the split is refused, and with what; the most memory that it took."""
    tracemalloc.start()
    try:
        with pytest.raises(DataError) as caught:
            load_split(str(path), "train")
        assert str(path) in str(caught.value)
        assert says in str(caught.value)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


HONEST = {"train_images.npy": array(IMAGES), "train_labels.npy": array(LABELS)}
PICKLE = io.BytesIO()
np.save(PICKLE, np.array([{}], dtype=object), allow_pickle=True)


def header(text):
    """A header of numpy's format with any text."""
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


MEMBERS = {
    "objects": PICKLE.getvalue(),
    "no array": b"GIF89a",
    "nothing": b"",
    "an array of another time": b"\x93NUMPY\x09\x00" + bytes(100),
    "a header that is no literal": header(b"{'descr': __import__('os'), }"),
    "a header that does not end": header(b"{'descr': ((((" + b"(" * 5000),
    "a header of nothing": header(b""),
    "a shape that is none": header(b"{'descr': '|u1', 'fortran_order': False, 'shape': 'x'}"),
    "a negative shape": header(b"{'descr': '|u1', 'fortran_order': False, 'shape': (-4,)}"),
    "a terabyte": array(IMAGES, shape=(2**20, 2**10, 2**10)),
    "beyond 64 bits": array(IMAGES, shape=(2**62, 2**62)),
    "one number more": array(IMAGES, shape=(33,)),
}


@pytest.mark.parametrize("which", ["train_images.npy", "train_labels.npy"])
@pytest.mark.parametrize("name", MEMBERS)
def test_a_member_that_is_no_array_is_refused(tmp_path, name, which):
    """Nothing is unpickled, and nothing allocated for the sake of a declared shape."""
    path = archive(tmp_path / "a.npz", {**HONEST, which: MEMBERS[name]})
    assert refused(path) < 16 << 20


@pytest.mark.parametrize("name", ["a terabyte", "beyond 64 bits"])
def test_more_than_a_member_holds_is_not_read(tmp_path, name):
    """Some releases of numpy allocate what a header declares, others do not."""
    path = archive(tmp_path / "a.npz", {**HONEST, "train_images.npy": MEMBERS[name]})
    refused(path, "declares the shape")


@pytest.mark.parametrize(
    "labels",
    [
        np.float64([np.nan, 0]), np.float64([0.5, 0]), np.float64([1e300, 0]),
        np.array(["0", "1"]), np.complex64([0, 1]), np.zeros((2, 1, 1), np.int64), np.int64(0),
        np.zeros(2, "datetime64[s]"), np.zeros(2, [("a", "i8")]),
    ],
    ids=str,
)  # fmt: skip
def test_labels_that_are_none_are_refused(tmp_path, labels):
    """A digest would be made of numbers that the file does not hold."""
    refused(archive(tmp_path / "a.npz", {**HONEST, "train_labels.npy": array(labels)}))


def test_other_files_are_refused(tmp_path):
    """Truncated, damaged, encrypted, no archive, without the split, a folder, a pipe, nothing."""
    whole = archive(tmp_path / "a.npz", HONEST).read_bytes()
    assert load_split(str(tmp_path / "a.npz"), "train")[0].shape == (2, 1, 4, 4)
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    damaged = bytearray(whole)
    damaged[60:70] = b"\xff" * 10
    (tmp_path / "damaged.npz").write_bytes(damaged)
    encrypted = bytearray(whole)
    encrypted[6] |= 1
    encrypted[whole.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "encrypted.npz").write_bytes(encrypted)
    strange = bytearray(whole)
    strange[whole.index(b"PK\x01\x02") + 10] = 99
    (tmp_path / "strange.npz").write_bytes(strange)
    (tmp_path / "array.npz").write_bytes(array(IMAGES))
    archive(tmp_path / "none.npz", {"train_images.npy": array(IMAGES)})
    (tmp_path / "folder.npz").mkdir()
    os.mkfifo(tmp_path / "pipe.npz")
    for name in ("half", "damaged", "encrypted", "strange", "array", "none", "folder", "pipe", "x"):
        refused(tmp_path / f"{name}.npz")


def test_a_zip_bomb_is_not_unfolded(tmp_path, monkeypatch):
    """A thousandfold is believed up to a limit, beyond it 64-fold; the limit is set lower here."""
    monkeypatch.setattr("asi_verify.checker.command._UNFOLDED", 32 << 20)
    path = tmp_path / "a.npz"
    size = 48 << 20
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("train_labels.npy", HONEST["train_labels.npy"])
        with made.open("train_images.npy", "w", force_zip64=True) as file:
            file.write(array(np.zeros(0, np.uint8), shape=(48, 1 << 10, 1 << 10)))
            for _ in range(size >> 24):
                file.write(bytes(1 << 24))
    assert path.stat().st_size < size // 200
    monkeypatch.setattr("asi_verify.checker.command._UNFOLDED_RATIO", 10_000)
    assert load_split(str(path), "train")[0].shape == (48, 1, 1 << 10, 1 << 10)
    monkeypatch.undo()
    monkeypatch.setattr("asi_verify.checker.command._UNFOLDED", 32 << 20)
    assert refused(path) < 16 << 20
