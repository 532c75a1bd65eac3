"""The torch twin's bounds over parts of regions that are given by known phases.

A part's boxes are those of its region, ended at 0 where a phase is known. A region of which many
parts are bounded has a network of its own, of its open phases (``bounds.open_network``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from asi_verify.bounds import BackwardTwin, OpenNetwork, Optimised
from asi_verify.checker.trusted import Bounds
from asi_verify.core.box import Box
from asi_verify.core.network import Network
from asi_verify.core.split_tree import Cut
from asi_verify.prove.twins import boxes_for

__all__ = ["Asked", "PartBounds"]

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Asked:
    """``L`` parts and ``R`` functionals of each, with ``neurons`` as in ``PartBounds.numbers``.

    Attributes:
        owners: which region each is of, shape ``(L,)``.
        phases: the known ones, shape ``(L, neurons)``, +1 or -1; 0 for the others.
        rows: of the output, shape ``(L, R, logits)``.
        constants: of the rows, shape ``(L, R)``.
        slopes: where to start, shape ``(L, R, neurons)``; NaN for the canonical rule.
        multipliers: of the known phases, same shape.
    """

    owners: npt.NDArray[np.intp]
    phases: npt.NDArray[np.int8]
    rows: npt.NDArray[np.float64]
    constants: npt.NDArray[np.float64]
    slopes: Array
    multipliers: Array

    def take(self, parts: npt.NDArray[np.intp]) -> Asked:
        """Some of the parts, each as often as it is named."""
        return Asked(
            self.owners[parts],
            self.phases[parts],
            self.rows[parts],
            self.constants[parts],
            self.slopes[parts],
            self.multipliers[parts],
        )

    def divided(self, neurons: npt.NDArray[np.intp], signs: npt.NDArray[np.int8]) -> Asked:
        """A half of each: one more phase is known; its multipliers are 0."""
        phases = self.phases.copy()
        phases[np.arange(len(phases)), neurons] = signs
        return replace(self, phases=phases)


class PartBounds:
    """Bounds over parts of some regions.

    Args:
        twin: of the network that is asked about, or of what is left of it over one region.
        boxes: of the twin's input and of every value that its ReLUs read, over the regions.
        numbers: of the twin's neurons among the network's.

    Attributes:
        numbers: as given.
    """

    def __init__(
        self, twin: BackwardTwin, boxes: Mapping[int, Box], numbers: npt.NDArray[np.intp]
    ) -> None:
        self._twin, self._boxes, self.numbers = twin, boxes, numbers
        self._columns = {number: column for column, number in enumerate(numbers.tolist())}

    @classmethod
    def over(cls, twin: BackwardTwin, bounds: Bounds) -> PartBounds:
        """Over parts of any regions, with all neurons of the network."""
        boxes = boxes_for(twin, bounds)
        count = sum(math.prod(boxes[value].shape) for value in twin.relu_inputs)
        return cls(twin, boxes, np.arange(count))

    def of_one(self, region: int, network: Network) -> PartBounds:
        """Over parts of one region, with its open neurons alone; as they are where these are many.

        Args:
            region: its number.
            network: that is asked about.
        """
        boxes = {value: box[[region]] for value, box in self._boxes.items()}
        left = OpenNetwork.over(network, boxes)
        if left is None:
            return self
        return PartBounds(BackwardTwin(left.network, self._twin.device), left.boxes, left.numbers)

    def columns(self, cuts: Sequence[Cut]) -> list[int]:
        """Which of the twin's neurons are cut."""
        return [self._columns[cut.number] for cut in cuts]

    def optimised(self, asked: Asked, steps: int) -> Optimised:
        """The best that some steps find."""
        return self._twin.optimised(
            self._boxes_of(asked),
            asked.rows,
            steps,
            constants=asked.constants,
            signs=asked.phases,
            slopes=asked.slopes,
            multipliers=asked.multipliers,
        )

    def lower(self, asked: Asked) -> Array:
        """Bounds of the rows as they are, shape ``(L, R)``."""
        return self._twin.lower(
            self._boxes_of(asked),
            asked.rows,
            constants=asked.constants,
            signs=asked.phases,
            slopes=asked.slopes,
            multipliers=asked.multipliers,
        )

    def own_slopes(self, asked: Asked, slopes: Array) -> Array:
        """What says something: slopes of open phases that differ from the canonical rule's.

        Returns:
            The same, NaN where there is nothing to say.
        """
        canonical, is_open = [], []
        for value, box in self._boxes_of(asked).items():
            if value > 0:
                lower, upper = (end.reshape(len(end), -1) for end in (box.lower, box.upper))
                is_open.append((lower < 0) & (upper > 0))
                canonical.append(upper >= -lower)
        differs = np.abs(slopes - np.concatenate(canonical, axis=1)[:, None]) > 1 / 510
        says = differs & np.concatenate(is_open, axis=1)[:, None]
        return np.where(says, slopes, np.float32(np.nan))

    def _boxes_of(self, asked: Asked) -> dict[int, Box]:
        # A region that is alone is the first, whichever it was.
        owners = asked.owners if len(self._boxes[0]) > 1 else np.zeros_like(asked.owners)
        boxes = {0: self._boxes[0][owners]}
        start = 0
        for value in self._twin.relu_inputs:
            box = self._boxes[value][owners]
            phases = asked.phases[:, start : (start := start + box.lower[0].size)]
            phases = phases.reshape(box.lower.shape)
            is_open = (box.lower < 0) & (box.upper > 0)
            boxes[value] = Box(
                np.where(is_open & (phases > 0), 0, box.lower),
                np.where(is_open & (phases < 0), 0, box.upper),
            )
        return boxes
