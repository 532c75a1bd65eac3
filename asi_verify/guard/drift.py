"""``Drift``: whether a stream of images goes on being like the validation images.

Statistical, and apart from what a guard answers: it changes no answer. Compared are the acquisition
statistics that the guard looks at too (brightness, contrast, percentiles, roughness), each image's
with those of all before it, by the tests of ``guard.evidence``, where the mathematics stands.

Assumed is that, without drift, the images of the stream and the validation images are exchangeable:
drawn alike, and in no order. Several images of one patient in a row, or first all of one class,
are no such stream, and may raise the alarm. The bins are quantiles of the training images, which
need not be exchangeable with anything.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.core.images import encode, refuse_unusable_images
from asi_verify.core.limits import LARGEST_VALUE
from asi_verify.core.operators import Shape
from asi_verify.errors import DataError, UsageError
from asi_verify.guard.evidence import BETS, Evidence
from asi_verify.guard.measures import statistics_names, write_statistics
from asi_verify.lowering import INPUT_NAME
from asi_verify.lowering.files import FileLike, read_file
from asi_verify.runtime.session import load
from asi_verify.store import FolderFiles

__all__ = ["DRIFT_SCHEMA", "Drift"]

DRIFT_SCHEMA = "asi-verify/drift/1"

_BATCH = 256
_LARGEST = 1 << 24
_SHARES = np.linspace(0, 1, 101)
"""Edges of the bins, as quantiles of the training images: percentiles, the extremes included."""
_REMEDY = "make it anew with Drift.calibrated, or take the one that build_guard wrote"


class Drift:
    """A monitor that is fed with a stream of images, and raises an alarm once they have changed.

    If the stream is exchangeable with the validation images, the alarm is ever raised with
    probability at most ``false_alarms``, however long the stream is. Once raised it stays. Not
    promised: that every change is noticed, or how soon.

    Made by ``Drift.calibrated`` or ``Drift.read``.

    Attributes:
        image_shape: of one image, ``(C, *spatial)``.
        false_alarms: as above.
        seed: of the random numbers that rank equal values; one sequence for each image's number,
            so that the same stream gives the same, stopped and read again or not.
        alarm: the number of the image, counted from 1, at which the alarm was raised; else None.
    """

    def __init__(
        self,
        image_shape: Shape,
        edges: npt.NDArray[np.float64],
        evidence: Evidence,
        false_alarms: float,
        seed: int,
        alarm: int | None = None,
    ) -> None:
        self.image_shape = image_shape
        self.false_alarms = false_alarms
        self.seed = seed
        self.alarm = alarm
        self._edges = edges
        self._evidence = evidence
        self._statistics = _Statistics(image_shape)

    @classmethod
    def calibrated(
        cls,
        train: npt.NDArray[Any],
        validation: npt.NDArray[Any],
        *,
        false_alarms: float = 0.01,
        seed: int = 0,
    ) -> Drift:
        """Before the stream.

        Args:
            train: images, shape ``(N, C, *spatial)``, uint8 or float32 in [0, 1].
            validation: likewise; images like those that are to come.
            false_alarms: the probability that a stream without drift ever raises the alarm.
            seed: at least 0.

        Raises:
            DataError: the images cannot be used, or differ in shape.
            UsageError: the probability is not between 0 and 1, or the seed below 0.
        """
        if not 0 < false_alarms < 1:
            raise UsageError(f"false_alarms: {false_alarms}; between 0 and 1 is expected")
        refuse_unusable_images(train)
        shape = tuple(train.shape[1:])
        edges = np.quantile(_Statistics(shape)(train).astype(np.float64), _SHARES, axis=0).T
        nothing = Evidence.calibrated(np.zeros((0, len(edges)), np.int64), len(_SHARES) + 1)
        return cls(shape, edges, nothing, false_alarms, seed).recalibrated(validation)

    def recalibrated(self, validation: npt.NDArray[Any], *, seed: int | None = None) -> Drift:
        """A new monitor before its stream, for other validation images, such as one's own.

        As if calibrated with them, and without the training images.

        Args:
            validation: images, shape ``(N, *image_shape)``.
            seed: that of this monitor if not given.

        Raises:
            DataError: the images cannot be used.
            UsageError: the seed is below 0.
        """
        seed = self.seed if seed is None else seed
        if seed < 0:
            raise UsageError(f"seed: {seed}; at least 0 is expected")
        refuse_unusable_images(validation)
        bins = _bins(self._edges, self._statistics(validation))
        evidence = Evidence.calibrated(bins, len(_SHARES) + 1)
        return Drift(self.image_shape, self._edges, evidence, self.false_alarms, seed)

    @property
    def seen(self) -> int:
        """How many images it was fed with."""
        return self._evidence.seen

    @property
    def calibrated_on(self) -> int:
        """How many validation images there were."""
        return int(self._evidence.counts[0].sum()) - self.seen

    @property
    def threshold(self) -> float:
        """The evidence that raises the alarm: the number of statistics over ``false_alarms``."""
        return len(self._evidence.counts) / self.false_alarms

    @property
    def evidence(self) -> dict[str, float]:
        """Of each statistic by its name: 1 in the beginning, and seldom large by chance."""
        names = statistics_names(self.image_shape)
        return dict(zip(names, map(float, self._evidence.capital), strict=True))

    def feed(self, images: npt.NDArray[Any]) -> bool:
        """Take in the next images of the stream, in their order; whether there is an alarm by now.

        The same whether images come one by one or many at a time.

        Args:
            images: shape ``(N, *image_shape)``, uint8 or float32. A statistic that is NaN counts as
                above all others.

        Raises:
            DataError: another shape or dtype; then nothing was taken in.
        """
        evidence, alarm = self._evidence, self.alarm
        for bins in _bins(self._edges, self._statistics(images)):
            ties = np.random.default_rng([self.seed, evidence.seen]).random(len(bins))
            evidence = evidence.after(bins, ties)
            if alarm is None and evidence.capital.max() >= self.threshold:
                alarm = evidence.seen
        self._evidence, self.alarm = evidence, alarm
        return alarm is not None

    def to_bytes(self) -> bytes:
        """Everything, as JSON: no pixels, and of the images only how many fell into each bin."""
        held = {
            "alarm": self.alarm,
            "counts": self._evidence.counts.tolist(),
            "edges": self._edges.tolist(),
            "false_alarms": self.false_alarms,
            "image_shape": list(self.image_shape),
            "schema": DRIFT_SCHEMA,
            "seed": self.seed,
            "seen": self.seen,
            "staked": self._evidence.staked.tolist(),
        }
        return json.dumps(held, sort_keys=True).encode() + b"\n"

    def write(self, path: str | Path) -> None:
        """Write the file, in place of what was there, whole or not at all."""
        FolderFiles(Path(path).parent).write(Path(path).name, self.to_bytes())

    @classmethod
    def read(cls, file: FileLike) -> Drift:
        """Go on from a file, exactly as if nothing had happened.

        Raises:
            DataError: it is none, or its fields do not fit one another.
        """
        data = read_file(file, _LARGEST, DataError)
        try:
            return cls._of(json.loads(data))
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise DataError(f"drift: not a file of a drift monitor: {error}; {_REMEDY}") from None

    @classmethod
    def _of(cls, held: dict[str, Any]) -> Drift:
        """From the fields of a file; KeyError, TypeError or ValueError if they make no monitor."""
        if held["schema"] != DRIFT_SCHEMA:
            raise ValueError(f"another schema than {DRIFT_SCHEMA}")
        shape = tuple(_whole(extent, 1) for extent in held["image_shape"])
        if not 2 <= len(shape) <= 4 or math.prod(shape) > LARGEST_VALUE:
            raise ValueError("no shape of an image")
        seen, seed = _whole(held["seen"], 0), _whole(held["seed"], 0)
        alarm = held["alarm"]
        if alarm is not None and _whole(alarm, 1) > seen:
            raise ValueError("an alarm that is still to come")
        if type(held["false_alarms"]) is not float or not 0 < held["false_alarms"] < 1:
            raise ValueError("no probability of false alarms")
        edges = np.array(held["edges"], dtype=np.float64)
        staked = np.array(held["staked"], dtype=np.float64)
        counts = np.array(held["counts"])
        rows = len(statistics_names(shape))
        shapes = ((rows, len(_SHARES)), (rows, len(_SHARES) + 1), (rows, len(BETS)))
        if (edges.shape, counts.shape, staked.shape) != shapes or counts.dtype != np.int64:
            raise ValueError("tables of another form")
        totals = counts.sum(axis=1)
        if counts.min() < 0 or np.ptp(totals) or totals[0] < seen:
            raise ValueError("impossible counts")
        # Written so that a NaN is refused too.
        if not (np.isfinite(staked) & (staked >= 0)).all() or not (np.diff(edges) >= 0).all():
            raise ValueError("impossible capital or edges")
        return cls(shape, edges, Evidence(counts, staked, seen), held["false_alarms"], seed, alarm)


class _Statistics:
    """Acquisition statistics of images of one shape, computed as in a guard's file."""

    def __init__(self, image_shape: Shape) -> None:
        self.image_shape = image_shape
        self._session = load(write_statistics(image_shape), usual=True)

    def __call__(self, images: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Shape ``(N, k)``."""
        if images.dtype not in (np.uint8, np.float32) or images.shape[1:] != self.image_shape:
            raise DataError(
                f"images: shape {images.shape}, dtype {images.dtype}; (N, "
                f"{', '.join(map(str, self.image_shape))}) of uint8, or of float32 in [0, 1], is "
                "expected"
            )
        parts = [
            self._session.run(None, {INPUT_NAME: encode(images[start : start + _BATCH])})[0]
            for start in range(0, len(images), _BATCH)
        ]
        none = np.zeros((0, len(statistics_names(self.image_shape))), np.float32)
        return np.concatenate([none, *parts])


def _bins(
    edges: npt.NDArray[np.float64], statistics: npt.NDArray[np.float32]
) -> npt.NDArray[np.int64]:
    """How many edges are not above each statistic, shape ``(N, k)``; of a NaN, all."""
    columns = zip(edges, statistics.T, strict=True)
    return np.stack([np.searchsorted(row, values, side="right") for row, values in columns], axis=1)


def _whole(value: object, least: int) -> int:
    if type(value) is not int or value < least:
        raise ValueError(f"{value!r:.50} where a whole number of at least {least} is expected")
    return value
