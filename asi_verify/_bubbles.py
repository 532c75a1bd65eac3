"""``bubbles``: how far the proof around each training image reaches, and who else lies inside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from asi_verify._configuration import dataset_of
from asi_verify._radius_map import RadiusMap, radius_map, wanted_answers
from asi_verify._result import Result, load
from asi_verify.core.progress import NO_PROGRESS, Progress
from asi_verify.core.radius import Radius, RadiusLike
from asi_verify.data import DatasetLike, Samples, Task
from asi_verify.errors import UsageError

if TYPE_CHECKING:
    from asi_verify.prove import Stage

__all__ = ["BUBBLES_FILE", "Bubbles", "Neighbours", "bubbles"]

BUBBLES_FILE = "bubbles.json"
SCHEMA = "asi-verify/bubbles/1"
_AT_ONCE = 64


@dataclass(frozen=True)
class Neighbours:
    """The images of another split, against the bubbles of the certified one.

    Attributes:
        samples: how many there are.
        inside: how many lie in some bubble, and so have an answer that is proved; in one that is
            not memorised.
        right: for how many of these it is the right one.
    """

    samples: int
    inside: int
    right: int

    def to_json(self) -> dict[str, int]:
        """Everything."""
        return dict(vars(self))


@dataclass(frozen=True)
class Bubbles:
    """The largest proved L-infinity region around each image: its certainty bubble.

    Attributes:
        radii: of the images of the certified split.
        others: the other splits, by name.
        labels: of the images of the certified split.
        claims: the SHA-256 of the file of claims that they belong to.
    """

    radii: RadiusMap
    others: dict[str, Neighbours]
    labels: tuple[int, ...]
    claims: str

    def distribution(self) -> dict[str, int]:
        """How many images have a bubble of each radius, from the smallest; "none" without one.

        Those that are memorised (``RadiusMap.memorised``) are told apart, as "memorised".
        """
        memorised = {"memorised": len(self.radii.memorised)} if self.radii.memorised else {}
        counts = Counter(_counted(self.radii))
        known = sorted((radius for radius in counts if radius is not None), key=_value)
        without = counts[None] - len(self.radii.memorised)
        none = {"none": without} if without else {}
        return none | {str(radius): counts[radius] for radius in known} | memorised

    def smallest(self, count: int = 10) -> list[int]:
        """The rows with the smallest bubbles, smallest first."""
        proved = self.radii.proved
        return sorted(range(len(proved)), key=lambda row: (_value(proved[row]), row))[:count]

    def to_json(self) -> dict[str, Any]:
        """Everything, radii as text in pixel units."""
        radii = self.radii.to_json()
        return {
            "claims": self.claims,
            "distribution": self.distribution(),
            "others": {name: found.to_json() for name, found in self.others.items()},
            "radii": radii,
            "schema": SCHEMA,
            "smallest": [
                {"label": self.labels[row], "radius": radii["proved"][row], "row": row}
                for row in self.smallest()
            ],
        }


def _value(radius: Radius | None) -> Any:
    return -1 if radius is None else radius.value


def bubbles(
    result: Result | str | Path,
    dataset: DatasetLike | None = None,
    most: RadiusLike = "8/255",
    *,
    step: RadiusLike = "0.5/255",
    stages: Sequence[Stage] | None = None,
    data_root: str | Path | None = None,
    progress: Progress = NO_PROGRESS,
) -> Bubbles:
    """The certainty bubble of each certified image, and the share of other splits inside any.

    Args:
        result: a result, or its run folder.
        dataset: the data set; by default the one that the run folder names. Needed for data that
            was given as arrays.
        most: the largest radius tried.
        step: the radii tried are its multiples.
        stages: of the cascade; falsifier, intervals, CROWN-IBP and CROWN if not given. Branching
            makes bubbles larger and takes much longer.
        data_root: where MedMNIST files are looked for first.
        progress: told how far things are.

    Returns:
        What was found, which ``bubbles.json`` in the run folder holds too. A report that lies
        there is written anew, with it.

    Raises:
        UsageError: the folder, the data or a radius cannot be used; several labels per image.

    What is not promised: a file that others can check, as for ``radius_map``.
    """
    from asi_verify.export import Artifact
    from asi_verify.prove import Crown, CrownIbp, Falsify, Intervals
    from asi_verify.report import rewrite_report

    found = result if isinstance(result, Result) else load(result)
    data = dataset_of(found, dataset, data_root)
    if data.task is Task.MULTI_LABEL:
        raise UsageError(f"{data.name}: bubbles are of images with one label each")
    claims = found.claims
    split = claims.dataset.split
    radii = radius_map(
        found.artifact,
        data,
        most,
        step=step,
        split=split,
        target=claims.dataset.target,
        semantics=claims.semantics,
        stages=(Falsify(), Intervals(), CrownIbp(), Crown()) if stages is None else stages,
        progress=progress,
    )
    centres = data.split(split)
    answers = wanted_answers(Artifact.from_bytes(found.artifact), centres, claims.dataset.target)
    others = {
        name: _neighbours(samples, centres.images, answers, radii)
        for name, samples in data.splits.items()
        if name != split
    }
    labels = tuple(int(label) for label in centres.labels)
    made = Bubbles(radii, others, labels, found.claims_digest)
    found.folder.write_json(BUBBLES_FILE, made.to_json())
    rewrite_report(found.folder, data)
    return made


def _neighbours(
    samples: Samples,
    centres: npt.NDArray[Any],
    answers: npt.NDArray[np.int64],
    radii: RadiusMap,
) -> Neighbours:
    """Compare every image with every centre; for 8-bit images in whole grey levels."""
    from asi_verify.audit.distances import CHEBYSHEV

    reach = _reach(radii, centres.dtype == np.uint8)
    inside = right = 0
    for start in range(0, len(samples), _AT_ONCE):
        some = samples.images[start : start + _AT_ONCE]
        held = CHEBYSHEV.between(some, centres) <= reach
        # Of several bubbles each is proved, so all have one answer.
        first = held.argmax(axis=1)
        is_inside = held.any(axis=1)
        same = answers[first] == samples.labels[start : start + _AT_ONCE]
        inside += int(is_inside.sum())
        right += int((is_inside & same).sum())
    return Neighbours(len(samples), inside, right)


def _reach(radii: RadiusMap, grey: bool) -> npt.NDArray[Any]:
    """How far each bubble that counts reaches, in grey levels or pixel units; -1 for none."""
    counted = _counted(radii)
    if grey:
        return np.array([-1 if r is None else int(r.grey_levels) for r in counted])
    return np.array([-1.0 if r is None else float(r.value) for r in counted])


def _counted(radii: RadiusMap) -> list[Radius | None]:
    """The radii proved; None too where a local patch may be what proves them."""
    aside = set(radii.memorised)
    return [None if row in aside else radius for row, radius in enumerate(radii.proved)]
