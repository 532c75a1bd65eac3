"""The MedMNIST sets: facts, search path, checksums, download."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import http.server
import threading
from types import MappingProxyType

import numpy as np
import pytest
from medmnist import INFO

from asi_verify.data import load_dataset, load_medmnist, medmnist, medmnist_sets, search_path
from asi_verify.data.samples import Task
from asi_verify.errors import ChecksumError, DataError, DataNotFoundError


def test_the_facts_are_those_of_the_medmnist_package():
    """Names, tasks, sizes, labels, licenses and checksums of all 18 sets."""
    tasks = {
        "multi-class": Task.MULTI_CLASS,
        "binary-class": Task.BINARY,
        "multi-label, binary-class": Task.MULTI_LABEL,
        "ordinal-regression": Task.ORDINAL,
    }
    assert set(medmnist_sets()) == set(INFO)
    assert len(INFO) == 18
    for name, info in INFO.items():
        ours = medmnist_sets()[name]
        assert ours.task is tasks[info["task"]]
        assert ours.channels == info["n_channels"]
        assert ours.dimensions == (3 if name.endswith("3d") else 2)
        assert dict(ours.samples) == info["n_samples"]
        assert list(ours.labels) == [info["label"][str(i)] for i in range(len(info["label"]))]
        assert ours.license == info["license"]
        for size, md5 in ours.md5.items():
            assert md5 == info["MD5" if size == 28 else f"MD5_{size}"]
            url = info["url" if size == 28 else f"url_{size}"]
            assert url == medmnist._URL.format(file=ours.file(size))
        assert len(ours.md5) == sum(key.startswith("MD5") for key in info)


@pytest.mark.parametrize("name", ["breastmnist", "pneumoniamnist", "retinamnist", "adrenalmnist3d"])
def test_the_published_files_load(shared, name):
    """Checksum, shapes, labels and read-only arrays of real files."""
    facts = medmnist_sets()[name]
    data = load_medmnist(name, data_root=shared / "data" / "medmnist", download=False)
    assert data.image_shape == (facts.channels, *[28] * facts.dimensions)
    assert {split: len(samples) for split, samples in data.splits.items()} == dict(facts.samples)
    for samples in data.splits.values():
        assert samples.images.dtype == np.uint8
        assert not samples.images.flags.writeable
        assert set(np.unique(samples.labels)) <= set(range(len(facts.labels)))


def test_a_larger_size_loads(shared):
    """64 pixels a side are another file of the same set."""
    data = load_medmnist("breastmnist", size=64, data_root=shared / "data" / "medmnist")
    assert data.image_shape == (1, 64, 64)
    assert data.name == "breastmnist_64"


@functools.cache
def made_file(name: str) -> tuple[bytes, str]:
    """A file of the published shapes with random contents, few samples, and its MD5."""
    facts = medmnist_sets()[name]
    generator, arrays = np.random.default_rng(0), {}
    for split in facts.samples:
        shape = (4, *facts.stored_shape(split, 28)[1:])
        arrays[f"{split}_images"] = generator.integers(0, 256, shape, dtype=np.uint8)
        several = facts.task is Task.MULTI_LABEL
        width, high = (len(facts.labels), 2) if several else (1, len(facts.labels))
        arrays[f"{split}_labels"] = generator.integers(0, high, (4, width), dtype=np.uint8)
    import io

    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue(), hashlib.md5(buffer.getvalue()).hexdigest()


@pytest.fixture
def few_samples(monkeypatch):
    """The facts, changed to four samples a split and to the made files' checksums."""
    changed = {
        name: dataclasses.replace(
            facts, samples=dict.fromkeys(facts.samples, 4), md5={28: made_file(name)[1]}
        )
        for name, facts in medmnist_sets().items()
    }
    monkeypatch.setattr(medmnist, "medmnist_sets", lambda: MappingProxyType(changed))
    for name in ("ASI_VERIFY_DATA", "ASI_VERIFY_SHARED"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", sorted(medmnist_sets()))
def test_every_set_loads_from_a_file_of_its_shape(name, few_samples, tmp_path):
    """Binary, several classes, several labels, grades; grey, colour, volumes."""
    facts = medmnist_sets()[name]
    (tmp_path / facts.file(28)).write_bytes(made_file(name)[0])
    data = load_medmnist(name, data_root=tmp_path, download=False)
    assert data.task is facts.task
    assert data.image_shape == (facts.channels, *[28] * facts.dimensions)
    labels = data.split("train").labels
    assert labels.shape == ((4, len(facts.labels)) if facts.task is Task.MULTI_LABEL else (4,))


def test_a_file_is_looked_for_in_the_stated_order(few_samples, tmp_path, monkeypatch):
    """``data_root`` before ASI_VERIFY_DATA before ASI_VERIFY_SHARED before the user's folder."""
    monkeypatch.setenv("ASI_VERIFY_DATA", str(tmp_path / "b"))
    monkeypatch.setenv("ASI_VERIFY_SHARED", str(tmp_path / "c"))
    monkeypatch.setenv("HOME", str(tmp_path / "d"))
    places = [
        tmp_path / "a",
        tmp_path / "b",
        tmp_path / "c/data/medmnist",
        tmp_path / "d/.medmnist",
    ]
    assert search_path(tmp_path / "a") == places
    data, _ = made_file("bloodmnist")
    for place in reversed(places):
        place.mkdir(parents=True)
        (place / "bloodmnist.npz").write_bytes(data)
        loaded = load_medmnist("bloodmnist", data_root=tmp_path / "a", download=False)
        assert loaded.source == place / "bloodmnist.npz"


@pytest.mark.parametrize(
    "damage", [lambda d: d[:-100], lambda d: d[:50] + b"x" + d[51:], lambda d: b""]
)
def test_a_damaged_file_is_refused_with_the_remedy(damage, few_samples, tmp_path):
    """Truncated or changed: the checksum says so before anything is read."""
    (tmp_path / "octmnist.npz").write_bytes(damage(made_file("octmnist")[0]))
    with pytest.raises(ChecksumError, match=r"octmnist\.npz.*Delete it"):
        load_medmnist("octmnist", data_root=tmp_path)


def test_without_a_file_and_a_network_the_error_says_where_to_put_one(
    few_samples, tmp_path, monkeypatch
):
    """Offline is normal in a hospital."""
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(DataNotFoundError, match=r"https://zenodo\.org/.*dermamnist\.npz"):
        load_medmnist("dermamnist", data_root=tmp_path / "x", download=False)
    monkeypatch.setattr(medmnist, "_URL", "http://127.0.0.1:9/{file}")
    with pytest.raises(DataNotFoundError, match="put it into one of these folders"):
        load_medmnist("dermamnist", data_root=tmp_path / "x")


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A web server on this machine that holds the files."""
    place = tmp_path / "served"
    place.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(place))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        monkeypatch.setattr(medmnist, "_URL", f"http://127.0.0.1:{served.server_port}/{{file}}")
        yield place
        served.shutdown()


def test_a_missing_file_is_downloaded_once(few_samples, server, tmp_path, monkeypatch):
    """Into ``data_root``, with its checksum compared; then it lies there."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (server / "organcmnist.npz").write_bytes(made_file("organcmnist")[0])
    first = load_medmnist("organcmnist", data_root=tmp_path / "mine")
    (server / "organcmnist.npz").unlink()
    again = load_medmnist("organcmnist", data_root=tmp_path / "mine")
    assert first.source == again.source == tmp_path / "mine" / "organcmnist.npz"


def test_a_download_of_other_bytes_is_refused(few_samples, server, tmp_path, monkeypatch):
    """What a server sends is compared with the published checksum and not kept."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (server / "organcmnist.npz").write_bytes(b"something else")
    with pytest.raises(DataNotFoundError, match="wrong checksum"):
        load_medmnist("organcmnist", data_root=tmp_path / "mine")
    assert not (tmp_path / "mine" / "organcmnist.npz").exists()


def test_unknown_names_and_sizes_are_refused():
    """With what there is."""
    with pytest.raises(DataError, match="breastmnist"):
        load_medmnist("brestmnist")
    with pytest.raises(DataError, match=r"\[28, 64\]"):
        load_medmnist("synapsemnist3d", size=224)


def test_a_damaged_file_of_ones_own_is_refused_in_one_way(tmp_path):
    """Whichever byte of a compressed one was changed: the data, or a ``DataError``."""
    file, generator = tmp_path / "own.npz", np.random.default_rng(0)
    images = generator.integers(0, 256, (9, 8, 8)).astype(np.uint8) // 64
    np.savez_compressed(file, train_images=images, train_labels=np.arange(9)[:, None] % 2)
    whole, refused = file.read_bytes(), 0
    for place in range(0, len(whole), 3):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x5A]) + whole[place + 1 :])
        try:
            load_dataset(file)
        except DataError:
            refused += 1
    assert refused > 50
