"""A part of a sample's region, given by phases of ReLUs, as a node of the sample's tree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asi_verify.core.split_tree import LEAF, NODE, PHASE, Cut, Slopes, SplitTree

__all__ = ["Array", "Part", "Weights", "tree_below", "weights_of"]

Array = npt.NDArray[np.float32]
Weights = npt.NDArray[np.uint8]
"""Of rows in their clauses' sums."""


@dataclass(eq=False)
class Part:
    """A node of one sample's tree.

    Attributes:
        sample: whose region it is a part of.
        cuts: how it is reached.
        lower: of the property over the part that it is a half of.
        slopes: of each row, and the weights of clauses' sums; shared by all parts that use the
            same, None for the canonical ones and no sums.
        multipliers: shape ``(R, cuts)``, of the phases on the path in their order.
        short: by how much the trusted pass fell short of the twin on the whole that it is a half
            of, shape ``(R,)``: mostly the rounding that it allows for.
        searched: whether its patterns, or those of a part that it is of, were gone through in vain.
        divided: the parts below and above its own cut.
    """

    sample: int
    cuts: tuple[Cut, ...]
    lower: float
    slopes: Slopes | None
    multipliers: Array
    short: npt.NDArray[np.float64]
    searched: bool = False
    divided: tuple[Part, Part] | None = None

    @classmethod
    def whole(cls, sample: int, rows: int) -> Part:
        """All of a sample's region, of whose rows nothing is known."""
        return cls(sample, (), 0.0, None, np.zeros((rows, 0), np.float32), np.zeros(rows))

    def divide(self, number: int, lower: float) -> list[Part]:
        """Cut it in two; both begin with what was found for the whole."""
        none = np.zeros((len(self.multipliers), 1), np.float32)
        multipliers = np.concatenate([self.multipliers, none], axis=1)
        below, above = (
            Part(
                self.sample,
                (*self.cuts, Cut(PHASE, number, sign, 0.0)),
                lower,
                self.slopes,
                multipliers,
                self.short,
                self.searched,
            )
            for sign in (-1, 1)
        )
        self.divided = (below, above)
        return [below, above]

    def become(self, other: Part) -> None:
        """What another process made of this part."""
        vars(self).update(vars(other))

    def nodes(self) -> Iterator[Part]:
        """This part and all below it, in preorder."""
        waiting = [self]
        while waiting:
            part = waiting.pop()
            yield part
            if part.divided:
                waiting += reversed(part.divided)

    def phases(self, neurons: int) -> npt.NDArray[np.int8]:
        """+1 or -1 where it is cut, 0 elsewhere, shape ``(neurons,)``."""
        phases = np.zeros(neurons, np.int8)
        phases[[cut.number for cut in self.cuts]] = [cut.sign for cut in self.cuts]
        return phases


def weights_of(parts: Sequence[Part], rows: int) -> Weights:
    """Of the rows in their clauses' sums, shape ``(L, R)``."""
    weights = np.zeros((len(parts), rows), np.uint8)
    for i, part in enumerate(parts):
        if part.slopes is not None:
            weights[i] = part.slopes.weights
    return weights


def tree_below(root: Part, rows: int, neurons: int) -> SplitTree:
    """A part and all below it as evidence."""
    nodes, multipliers = [], []
    numbers: dict[tuple[bytes, ...], int] = {}
    slopes: list[Slopes] = []
    for part in root.nodes():
        if part.divided:
            nodes.append((PHASE, part.divided[0].cuts[-1].number, 0.0))
            continue
        number = 0
        if part.slopes is not None:
            key = tuple(array.tobytes() for array in vars(part.slopes).values())
            if key not in numbers:
                slopes.append(part.slopes)
                numbers[key] = len(slopes)
            number = numbers[key]
        nodes.append((LEAF, number, 0.0))
        multipliers.append(part.multipliers)
    return SplitTree(rows, neurons, np.array(nodes, dtype=NODE), tuple(multipliers), tuple(slopes))
