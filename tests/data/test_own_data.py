"""Data of a user's own: arrays, torch data sets, folders, NPZ files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from asi_verify.data import (
    Dataset,
    Samples,
    Task,
    from_arrays,
    from_folder,
    from_torch_dataset,
    load_dataset,
)
from asi_verify.errors import DataError

G = np.random.default_rng(0)
GREY = G.integers(0, 256, (6, 5, 5), dtype=np.uint8)
LABELS = np.array([0, 1, 0, 1, 2, 0])


@pytest.mark.parametrize(
    ("images", "options", "shape"),
    [
        (GREY, {}, (1, 5, 5)),
        (np.zeros((6, 5, 4, 3), np.uint8), {}, (3, 5, 4)),
        (np.zeros((6, 4, 5, 5), np.uint8), {}, (1, 4, 5, 5)),
        (np.zeros((6, 3, 5, 5), np.uint8), {"layout": "channels-first"}, (3, 5, 5)),
        (np.zeros((6, 5, 5), np.float64), {}, (1, 5, 5)),
        (np.zeros((6, 5, 5), np.int64), {}, (1, 5, 5)),
        (GREY.tolist(), {}, (1, 5, 5)),
    ],
)
def test_arrays_of_the_usual_layouts_are_taken(images, options, shape):
    """Grey, colour, volumes; 8-bit, other integers in range, floats in [0, 1]."""
    data = from_arrays(images, LABELS, **options)
    assert data.image_shape == shape
    assert data.split("train").images.dtype in (np.uint8, np.float32)
    assert data.task is Task.MULTI_CLASS


@pytest.mark.parametrize(
    ("images", "labels", "says"),
    [
        (GREY.astype(np.float32), LABELS, r"0 to 255|\[0, 1\]"),
        (np.full((6, 5, 5), np.nan), LABELS, "NaN"),
        (GREY.astype(np.int64) - 1, LABELS, "integers from -1"),
        (GREY.astype(np.int64) + 1000, LABELS, "integers from"),
        (GREY, LABELS[:5], "6 images, but 5 labels"),
        (GREY, LABELS - 1, "label of row 0 is -1"),
        (GREY, LABELS + 0.5, "whole numbers"),
        (GREY, list("abcdef"), "whole numbers"),
        (np.zeros((6, 5)), LABELS, "shape"),
        (np.zeros((0, 5, 5), np.uint8), [], "shape"),
        (GREY.astype(bool), LABELS, "bool"),
        (GREY.astype(np.float32) / 200, LABELS, r"\[0, 1\] is expected"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_value(images, labels, says):
    """NaN pixels, values and labels out of range, wrong shapes: one clear error each."""
    with pytest.raises(DataError, match=says):
        from_arrays(images, labels)


def test_labels_beyond_the_named_classes_are_refused():
    """The message names the row and the value."""
    with pytest.raises(DataError, match=r"row 4 is 2, outside 0..1"):
        from_arrays(GREY, LABELS, classes=("a", "b"))


def test_several_labels_and_grades_are_tasks_of_their_own():
    """``(N, decisions)`` is several labels; grades have to be said."""
    assert from_arrays(GREY, np.eye(6, dtype=int)).task is Task.MULTI_LABEL
    assert from_arrays(GREY, LABELS, ordinal=True).task is Task.ORDINAL
    assert from_arrays(GREY, LABELS % 2).task is Task.BINARY
    assert from_arrays(GREY, (LABELS % 2)[:, None]).task is Task.BINARY
    with pytest.raises(DataError, match=r"outside 0..1"):
        from_arrays(GREY, 2 * np.eye(6, dtype=int))


def test_the_users_arrays_stay_writable_and_apart():
    """The library works on its own copy."""
    images = GREY.copy()
    data = from_arrays(images, LABELS)
    images[0] = 7
    assert images.flags.writeable
    assert not np.array_equal(data.split("train").images[0, 0], images[0])


class Pairs(torch.utils.data.Dataset):
    """A map-style data set."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


@pytest.mark.parametrize(
    "images",
    [
        [torch.from_numpy(g)[None] for g in GREY],
        [torch.from_numpy(g / 255).float()[None] for g in GREY],
        [Image.fromarray(g) for g in GREY],
    ],
)
def test_a_torch_data_set_of_pairs_is_taken(images):
    """Tensors of uint8 or in [0, 1], and pictures."""
    data = load_dataset(Pairs(list(zip(images, LABELS.tolist(), strict=True))))
    assert data.image_shape == (1, 5, 5)
    assert data.split("train").labels.tolist() == LABELS.tolist()


def test_a_colour_picture_keeps_its_colours():
    """Channels come first, and red stays red."""
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 255
    data = from_torch_dataset(Pairs([(Image.fromarray(red), 0), (Image.fromarray(red), 1)]))
    assert data.split("train").images[0, 0].min() == 255
    assert data.split("train").images[0, 1:].max() == 0


@pytest.mark.parametrize(
    ("items", "says"),
    [([1, 2], "not an .image, label. pair"), ([], "empty"),
     ([(torch.zeros(1, 2, 2), 0), (torch.zeros(1, 3, 3), 1)], "differ in shape")],
)  # fmt: skip
def test_other_torch_data_sets_are_refused(items, says):
    """What is wrong, and with which item."""
    with pytest.raises(DataError, match=says):
        from_torch_dataset(Pairs(items))


def test_a_medmnist_object_is_taken_as_it_is_stored(shared):
    """Its arrays, its classes and its split, without its transforms."""
    from medmnist import RetinaMNIST

    given = RetinaMNIST(split="val", root=str(shared / "data" / "medmnist"))
    data = load_dataset(given)
    assert data.name == "retinamnist"
    assert data.task is Task.ORDINAL
    assert list(data.splits) == ["val"]
    np.testing.assert_array_equal(data.split("val").images[:, 0], given.imgs[..., 0])


def write_folder(root, splits=("",), mode="L", sizes=((5, 5),)):
    for split in splits:
        for label, name in enumerate(("cyst", "tumour")):
            place = root / split / name
            place.mkdir(parents=True)
            for i in range(3):
                size = sizes[(label + i) % len(sizes)]
                pixels = np.full((*size, 3), 40 * label + i, np.uint8)
                pixels[..., 0] += 0 if mode == "L" else 9
                Image.fromarray(pixels).convert(mode).save(place / f"{i}.png")


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3)])
def test_a_folder_of_images_by_class_is_taken(tmp_path, mode, channels):
    """Classes in the order of their names, grey if all images are."""
    write_folder(tmp_path / "set", mode=mode)
    data = load_dataset(str(tmp_path / "set"))
    assert data.classes == ("cyst", "tumour")
    assert data.image_shape == (channels, 5, 5)
    assert data.split("train").labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.split("train").images[4, -1, 0, 0] == 41


def test_a_folder_may_have_splits(tmp_path):
    """train, val and test below it."""
    write_folder(tmp_path, splits=("train", "test"))
    assert list(from_folder(tmp_path).splits) == ["train", "test"]


def test_other_folders_are_refused(tmp_path):
    """No classes, no images, images of different sizes or depth, files that are no images."""
    with pytest.raises(DataError, match="no such folder"):
        from_folder(tmp_path / "nowhere")
    with pytest.raises(DataError, match="0 classes"):
        from_folder(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with pytest.raises(DataError, match="no images"):
        from_folder(tmp_path)
    (tmp_path / "a" / "x.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="not a readable image"):
        from_folder(tmp_path)
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "a" / "x.png")
    with pytest.raises(DataError, match="8-bit"):
        from_folder(tmp_path)
    write_folder(tmp_path / "sizes", sizes=((5, 5), (6, 6)))
    with pytest.raises(DataError, match="resize"):
        from_folder(tmp_path / "sizes")


def test_an_npz_file_in_medmnists_layout_is_taken(tmp_path):
    """With whatever splits it has."""
    path = tmp_path / "mine.npz"
    np.savez(path, train_images=GREY, train_labels=LABELS[:, None])
    data = load_dataset(path)
    assert data.name == "mine"
    assert list(data.splits) == ["train"]
    np.savez(path, images=GREY)
    with pytest.raises(DataError, match="no train_images"):
        load_dataset(path)
    path.write_bytes(b"no archive")
    with pytest.raises(DataError, match="not an NPZ"):
        load_dataset(path)


def test_nothing_is_unpickled(tmp_path):
    """An array of objects would run code when it is loaded."""
    path = tmp_path / "evil.npz"
    np.savez(path, train_images=np.array([{"a": 1}], dtype=object), train_labels=LABELS[:1])
    with pytest.raises(DataError):
        load_dataset(path)


@pytest.mark.parametrize("given", ["nothing-like-this", 3, None, object()])
def test_what_is_no_data_set_is_refused(given):
    """With what there could be instead."""
    with pytest.raises(DataError, match=r"MedMNIST|breastmnist"):
        load_dataset(given)


@pytest.mark.parametrize(
    ("test", "says"),
    [
        (np.full((2, 3, 3), 0.9, np.float32), "dtypes float32, uint8"),
        (np.full((2, 4, 4), 1, np.uint8), "shapes"),
    ],
)
def test_splits_that_cannot_be_compared_are_refused(test, says, tmp_path):
    """A grey level of 1 is nearly black, a pixel of 1.0 white; nor are images of other sizes."""
    labels = np.array([0, 1])
    train = np.ones((2, 3, 3), np.uint8)
    splits = {"train": Samples(train[:, None], labels), "test": Samples(test[:, None], labels)}
    with pytest.raises(DataError, match=says):
        Dataset("x", Task.BINARY, ("a", "b"), splits)
    arrays = {"train_images": train, "train_labels": labels}
    path = tmp_path / "mixed.npz"
    np.savez(path, **arrays, test_images=test, test_labels=labels)
    with pytest.raises(DataError, match=says):
        load_dataset(path)


def test_a_data_set_keeps_its_promises():
    """Splits of one shape, labels in range, splits that exist."""
    some = Samples(np.zeros((2, 1, 3, 3), np.uint8), np.array([0, 1]))
    other = Samples(np.zeros((2, 1, 4, 4), np.uint8), np.array([0, 1]))
    with pytest.raises(DataError, match="shapes"):
        Dataset("x", Task.BINARY, ("a", "b"), {"train": some, "test": other})
    with pytest.raises(DataError, match="no splits"):
        Dataset("x", Task.BINARY, ("a", "b"), {})
    with pytest.raises(DataError, match="has no split 'val'"):
        Dataset("x", Task.BINARY, ("a", "b"), {"train": some}).split("val")
    with pytest.raises(DataError, match="multi-label"):
        Dataset("x", Task.MULTI_LABEL, ("a", "b"), {"train": some})
