"""The phantom set: small synthetic lesions in MedMNIST's format, with known faults planted in it.

A test of an audit has to know the right answer; on real data nobody does. Every image is unique
unless a pair was planted, because its background noise is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.core.images import channels_first
from asi_verify.data.samples import Dataset, Samples, Task
from asi_verify.errors import UsageError

__all__ = ["Planted", "phantom", "phantom_named"]

_SIDE = 28
_FURTHEST = 100
"""Grey levels: every image has a pixel that can be raised by so many."""
_CLASSES = ("no lesion", "lesion")


@dataclass(frozen=True)
class Planted:
    """What was planted where; rows in ascending order within a pair.

    Attributes:
        duplicates: ``((split, row), (split, row))``, the same pixels and the same label.
        dual_labels: two rows of ``train``, the same pixels and different labels.
        near: two rows of ``train`` with different labels, and the largest difference of a pixel
            between them in grey levels.
    """

    duplicates: tuple[tuple[tuple[str, int], tuple[str, int]], ...]
    dual_labels: tuple[tuple[int, int], ...]
    near: tuple[tuple[int, int, int], ...]


def phantom(
    seed: int = 0,
    *,
    samples: tuple[int, int, int] = (240, 60, 60),
    duplicates: int = 2,
    across: int = 1,
    dual_labels: int = 2,
    near: tuple[int, ...] = (2,),
) -> tuple[Dataset, Planted]:
    """A seeded set of 28 x 28 grey images, half of them with one bright, soft-edged lesion.

    Args:
        seed: the same seed gives the same bytes.
        samples: how many in train, val and test.
        duplicates: planted pairs of equal images within train.
        across: planted pairs of equal images in train and test.
        dual_labels: planted pairs of equal images in train with different labels.
        near: for each entry, a planted pair in train with different labels that differs by exactly
            so many grey levels somewhere and by no more anywhere.

    Returns:
        The set, and what was planted. The set's name tells its arguments, those that are not the
        usual ones behind the seed: ``phantom-3``, ``phantom-3-80-20-20-d0-n2-40``.
        ``load_dataset`` makes it again from that name.

    Raises:
        UsageError: a split is empty, or train too small for what is to be planted; or images are to
            be further apart than their grey levels allow.
    """
    if min(samples) < 1:
        raise UsageError(f"samples: {samples}; at least one in each of train, val and test")
    if not all(0 < levels <= _FURTHEST for levels in near):
        raise UsageError(f"near: {near}; from 1 to {_FURTHEST} grey levels are expected")
    pairs = duplicates + dual_labels + len(near)
    if samples[0] < 2 * pairs + across or samples[2] < across:
        raise UsageError(f"samples: {samples} cannot hold {pairs} pairs and {across} across splits")
    generator = np.random.default_rng(seed)
    images, labels = {}, {}
    for split, count in zip(("train", "val", "test"), samples, strict=True):
        labels[split] = generator.permutation(np.arange(count) % 2).astype(np.int64)
        images[split] = np.stack([_image(generator, bool(label)) for label in labels[split]])
    chosen = iter(generator.permutation(samples[0])[: 2 * pairs + across].tolist())
    planted_duplicates: list[tuple[tuple[str, int], tuple[str, int]]] = []
    for _ in range(duplicates):
        first, second = sorted((next(chosen), next(chosen)))
        images["train"][second] = images["train"][first]
        labels["train"][second] = labels["train"][first]
        planted_duplicates.append((("train", first), ("train", second)))
    planted_dual = []
    for _ in range(dual_labels):
        first, second = sorted((next(chosen), next(chosen)))
        images["train"][second] = images["train"][first]
        labels["train"][second] = 1 - labels["train"][first]
        planted_dual.append((first, second))
    planted_near = []
    for levels in near:
        first, second = sorted((next(chosen), next(chosen)))
        images["train"][second] = _shifted(generator, images["train"][first], levels)
        labels["train"][second] = 1 - labels["train"][first]
        planted_near.append((first, second, levels))
    for row in generator.permutation(samples[2])[:across].tolist():
        first = next(chosen)
        images["test"][row] = images["train"][first]
        labels["test"][row] = labels["train"][first]
        planted_duplicates.append((("train", first), ("test", row)))
    splits = {
        split: Samples(channels_first(images[split]).copy(), labels[split]) for split in images
    }
    dataset = Dataset(
        _name(
            seed,
            samples=tuple(samples),
            duplicates=(duplicates,),
            across=(across,),
            dual_labels=(dual_labels,),
            near=tuple(near),
        ),
        Task.BINARY,
        _CLASSES,
        splits,
        notes=("Synthetic images; no patient is behind them.",),
    )
    return dataset, Planted(tuple(planted_duplicates), tuple(planted_dual), tuple(planted_near))


_USUAL: dict[str, Any] = phantom.__kwdefaults__ or {}


def phantom_named(name: str) -> Dataset | None:
    """The phantom set of a name; None if it is the name of none, or of more than 99,999 a split.

    Raises:
        UsageError: train is too small for what is to be planted.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    given: dict[str, Any] = {}
    for key, usual in _USUAL.items():
        if (text := found[key]) is not None:
            numbers = tuple(map(int, text.split("-"))) if text else ()
            given[key] = numbers if isinstance(usual, tuple) else numbers[0]
    return phantom(int(found["seed"] or 0), **given)[0]


_NAME = re.compile(
    "phantom(-(?P<seed>[0-9]{1,40})"
    "(-(?P<samples>[0-9]{1,5}-[0-9]{1,5}-[0-9]{1,5}))?"
    "(-d(?P<duplicates>[0-9]{1,5}))?"
    "(-a(?P<across>[0-9]{1,5}))?"
    "(-l(?P<dual_labels>[0-9]{1,5}))?"
    "(-n(?P<near>([0-9]{1,3}(-[0-9]{1,3})*)?))?)?"
)
_LETTERS = {"samples": "", "duplicates": "d", "across": "a", "dual_labels": "l", "near": "n"}


def _name(seed: int, **arguments: tuple[int, ...]) -> str:
    """One name for one set: what notes a name is never about another set of the same one."""
    parts = [f"phantom-{seed}"]
    for key, letter in _LETTERS.items():
        if arguments[key] not in (_USUAL[key], (_USUAL[key],)):
            parts.append(letter + "-".join(map(str, arguments[key])))
    return "-".join(parts)


def _image(generator: np.random.Generator, lesion: bool) -> npt.NDArray[np.uint8]:
    rows, columns = np.mgrid[0:_SIDE, 0:_SIDE].astype(np.float64)
    tilt = generator.normal(size=2)
    values = 95 + 0.6 * (tilt[0] * (rows - _SIDE / 2) + tilt[1] * (columns - _SIDE / 2))
    values += generator.normal(scale=9, size=(_SIDE, _SIDE))
    if lesion:
        centre = generator.uniform(7, _SIDE - 7, size=2)
        radii = generator.uniform(2.5, 5.0, size=2)
        distance = ((rows - centre[0]) / radii[0]) ** 2 + ((columns - centre[1]) / radii[1]) ** 2
        values += generator.uniform(25, 70) * np.exp(-(distance**2))
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)


def _shifted(
    generator: np.random.Generator, image: npt.NDArray[np.uint8], levels: int
) -> npt.NDArray[np.uint8]:
    """The image with every pixel moved by at most ``levels``, and some by exactly so many."""
    moves = generator.integers(-levels, levels + 1, size=image.shape)
    # Away from the ends of the range, so that clipping cannot undo it.
    middle = np.unravel_index(np.argmin(np.abs(image.astype(int) - 128)), image.shape)
    moves[middle] = levels
    return np.asarray(np.clip(image.astype(np.int64) + moves, 0, 255), dtype=np.uint8)
