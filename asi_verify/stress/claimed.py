"""What a run claims of its model, and the judgement of inputs that may contradict it.

A claim is taken from the certificates' files as they are written, whether or not they hold: what is
to be found out is whether anything that was claimed is false.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.core.canonical import array_digest
from asi_verify.core.family import RegionFamily
from asi_verify.core.properties import Property, predictions
from asi_verify.export import Artifact

__all__ = ["Alarm", "Claimed", "Trial"]

_MOST_ALARMS = 100
"""Of one trial; more of them say nothing new."""


@dataclass(frozen=True)
class Alarm:
    """What contradicts a claim: a wrong answer inside a region, or a proof that is none.

    Attributes:
        trial: what found it.
        row: of the sample; None where it is about the folder as a whole.
        detail: in words.
        input: ``array_digest`` of the input, no pixels; None where there is none.
    """

    trial: str
    row: int | None
    detail: str
    input: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Everything."""
        return asdict(self)


@dataclass(frozen=True)
class Trial:
    """One kind of input, and how the model answered.

    Attributes:
        name: what was done.
        inside: whether the inputs are members of claimed regions: then ``kept`` must be ``tried``.
        tried: how many inputs were answered.
        kept: how many answers are those of the label.
    """

    name: str
    inside: bool
    tried: int
    kept: int

    def to_json(self) -> dict[str, Any]:
        """Everything."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Claimed:
    """Samples whose regions are claimed to be proved, with the model they are claimed of.

    Attributes:
        artifact: the model.
        family: the regions.
        rows: of the split.
        images: theirs, as the data set stores them.
        labels: theirs, for the form of answers alone.
        properties: theirs.
    """

    artifact: Artifact
    family: RegionFamily
    rows: tuple[int, ...]
    images: npt.NDArray[Any]
    labels: npt.NDArray[np.int64]
    properties: tuple[Property, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, places: npt.NDArray[np.intp]) -> Claimed:
        """Some of them, by their places here."""
        return Claimed(
            self.artifact,
            self.family,
            tuple(self.rows[place] for place in places),
            self.images[places],
            self.labels[places],
            tuple(self.properties[place] for place in places),
        )

    def groups(self) -> list[tuple[Property, npt.NDArray[np.intp]]]:
        """The different properties, each with the places where it stands."""
        places: dict[Property, list[int]] = {}
        for place, wanted in enumerate(self.properties):
            places.setdefault(wanted, []).append(place)
        return [(wanted, np.array(found, dtype=np.intp)) for wanted, found in places.items()]

    def answers(self, outputs: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """The decisions that logits amount to, in the form of the labels."""
        return predictions(self.labels, outputs)

    def margins(self, points: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """How far ONNX Runtime's answer to each point is from violating its sample's property."""
        outputs = self.artifact.session.run(points)
        found = np.empty(len(points))
        for wanted, places in self.groups():
            found[places] = wanted.margins(outputs[places])
        return found

    def judge(self, name: str, points: npt.NDArray[np.float32]) -> tuple[Trial, list[Alarm]]:
        """Ask ONNX Runtime about one point for each sample; those outside its region do not count.

        Args:
            name: what the points are.
            points: float32, one for each sample.

        Returns:
            How many of the members were answered right, and an alarm for each that was not; NaN
            among the outputs is a wrong answer.
        """
        members = self.family.contains(points, self.images)
        holds = self.margins(points) > 0
        alarms = [
            Alarm(
                name,
                self.rows[place],
                f"an input inside the region ({self.family}) is answered otherwise",
                array_digest(points[place]),
            )
            for place in np.flatnonzero(members & ~holds)[:_MOST_ALARMS]
        ]
        kept = int(np.count_nonzero(members & holds))
        return Trial(name, True, int(np.count_nonzero(members)), kept), alarms
