"""Split trees: advice for backward linear bounds, in a form in which a hole cannot be written.

A tree says how a region is divided: at an inner node by the phase of one ReLU (its input is at most
0, or at least 0) or by one input number (at most a threshold, or at least it). Nodes stand in
preorder and every inner node has both children, so the leaves of any tree that can be read cover
the region. A leaf says how ReLUs are relaxed there and with which multiples the phases on its path
are used. None of these numbers has to be believed: every slope and every nonnegative multiplier
gives a sound bound, and only the quality of the bound depends on them.

Neurons are numbered through: the inputs of all ReLUs in the order in which they are computed, each
in C order. One leaf with slopes is alpha-CROWN (Xu et al. 2021), a tree with multipliers is
beta-CROWN (Wang et al. 2021); if every open phase is split, the multipliers are those of Farkas'
lemma for the linear programme that is left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from asi_verify.core.limits import DEEPEST_TREE, LARGEST_TREE
from asi_verify.core.properties import Property
from asi_verify.errors import CertificateError, UsageError

__all__ = [
    "LEAF",
    "NODE",
    "PHASE",
    "THRESHOLD",
    "Cut",
    "Leaf",
    "Slopes",
    "SplitTree",
]

_MAGIC = b"ASIVTRE2"
LEAF, PHASE, THRESHOLD = 0, 1, 2
NODE = np.dtype([("kind", "<u4"), ("number", "<u4"), ("threshold", "<f4")])
_STEPS = 255


class Cut(NamedTuple):
    """One side of an inner node.

    Attributes:
        kind: ``PHASE`` or ``THRESHOLD``.
        number: of the neuron, or of the input number.
        sign: +1 above the threshold, -1 below it.
        threshold: 0 for a phase.
    """

    kind: int
    number: int
    sign: int
    threshold: float


class Leaf(NamedTuple):
    """One part of the region.

    Attributes:
        cuts: from the root to the leaf.
        slopes: which of the tree's slopes it uses; None for the canonical ones.
        multipliers: float32, shape ``(R, phases on the path)``, finite and not negative.
    """

    cuts: tuple[Cut, ...]
    slopes: int | None
    multipliers: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Slopes:
    """Lower slopes of ReLUs, in steps of 1/255; the canonical rule where none is given.

    And what a clause's sum is made of (``Property.summed``); each row has slopes of its own.

    Attributes:
        given: bool, shape ``(R, neurons)``.
        steps: uint8, one for each True of ``given`` in C order.
        weights: uint8, shape ``(R,)``, of the rows in their clause's sum.
    """

    given: npt.NDArray[np.bool_]
    steps: npt.NDArray[np.uint8]
    weights: npt.NDArray[np.uint8]

    def dense(self) -> npt.NDArray[np.float64]:
        """The slopes, shape ``(R, neurons)``; NaN where none is given."""
        slopes = np.full(self.given.shape, np.nan)
        slopes[self.given] = self.steps / _STEPS
        return slopes

    @classmethod
    def nearest(
        cls, slopes: npt.NDArray[np.floating], weights: npt.NDArray[np.uint8] | None = None
    ) -> Slopes:
        """The nearest that can be written; NaN for none."""
        given = np.asarray(~np.isnan(slopes))
        steps = np.rint(np.clip(slopes[given], 0, 1) * _STEPS).astype(np.uint8)
        return cls(given, steps, np.zeros(len(given), np.uint8) if weights is None else weights)


@dataclass(frozen=True, eq=False)
class SplitTree:
    """A tree over one region, for the rows of one property and the sums of its clauses.

    Attributes:
        rows: ``R``, those of ``Property.summed``.
        neurons: how many there are in the network.
        nodes: dtype ``NODE``, in preorder, the side below first. ``number`` is that of a neuron or
            of an input number; for a leaf 0 for canonical slopes, or the number of its slopes
            counted from 1. ``threshold`` is 0 unless the inputs are cut.
        multipliers: for each leaf float32, shape ``(R, phases on the path)``.
        slopes: sets of slopes that leaves refer to.
        leaves: in the order of the nodes; computed.

    Raises:
        CertificateError: the tree does not cover its region, is more than 128 deep, holds a
            multiplier that is negative or not finite, or parts of it do not fit one another.
    """

    rows: int
    neurons: int
    nodes: npt.NDArray[np.void]
    multipliers: tuple[npt.NDArray[np.float32], ...]
    slopes: tuple[Slopes, ...]
    leaves: tuple[Leaf, ...] = field(init=False)

    def __post_init__(self) -> None:
        paths = _covering(self.nodes, self.neurons, len(self.slopes))
        forms = {(slopes.given.shape, slopes.weights.shape) for slopes in self.slopes}
        if forms - {((self.rows, self.neurons), (self.rows,))}:
            raise CertificateError("a split tree has slopes for other rows or neurons")
        if len(self.multipliers) != len(paths):
            raise CertificateError("a split tree has multipliers for other leaves")
        for (cuts, _), numbers in zip(paths, self.multipliers, strict=True):
            if numbers.shape != (self.rows, _phases(cuts)):
                raise CertificateError("a split tree has multipliers for other phases")
            # Written so that a NaN is refused too.
            if not bool(((numbers >= 0) & (numbers < np.inf)).all()):
                raise CertificateError(
                    "a split tree has a multiplier that is negative or no number"
                )
        leaves = (
            Leaf(cuts, number - 1 if number else None, numbers)
            for (cuts, number), numbers in zip(paths, self.multipliers, strict=True)
        )
        object.__setattr__(self, "leaves", tuple(leaves))

    @property
    def cuts_inputs(self) -> bool:
        """Whether any inner node divides the inputs."""
        return bool((self.nodes["kind"] == THRESHOLD).any())

    def weights(self, leaf: Leaf) -> npt.NDArray[np.uint8]:
        """Of the rows in the sums of their clauses, shape ``(R,)``, on a leaf."""
        none = np.zeros(self.rows, np.uint8)
        return none if leaf.slopes is None else self.slopes[leaf.slopes].weights

    def require(self, property_: Property, neurons: int, inputs: int) -> None:
        """Refuse a tree for another property or another network.

        Raises:
            CertificateError: it has other rows or neurons, cuts an input that does not exist, or
                has weights for what is no term of a sum.
        """
        rows = len(property_.rows()) + property_.sums
        numbers = self.nodes["number"][self.nodes["kind"] == THRESHOLD]
        if (self.rows, self.neurons) != (rows, neurons) or bool((numbers >= inputs).any()):
            raise CertificateError(
                f"a split tree for {self.rows} rows and {self.neurons} neurons; the query has "
                f"{rows} rows, the model {neurons} neurons and {inputs} inputs"
            )
        for weights in {slopes.weights.tobytes() for slopes in self.slopes}:
            try:
                property_.summed(np.frombuffer(weights, np.uint8))
            except UsageError as error:
                raise CertificateError(f"a split tree for other clauses: {error}") from None

    def to_bytes(self) -> bytes:
        """Header, nodes, multipliers of each leaf, slopes; little-endian, nothing compressed."""
        sizes = [self.rows, self.neurons, len(self.slopes), len(self.nodes)]
        multipliers = [numbers.astype("<f4").tobytes() for numbers in self.multipliers]
        slopes = [
            np.packbits(s.given).tobytes() + s.steps.tobytes() + s.weights.tobytes()
            for s in self.slopes
        ]
        header = _MAGIC + np.array(sizes, dtype="<u4").tobytes()
        return b"".join([header, self.nodes.tobytes(), *multipliers, *slopes])

    @classmethod
    def from_bytes(cls, data: bytes) -> SplitTree:
        """Read a tree; everything in it is untrusted.

        Raises:
            CertificateError: it is larger than ``LARGEST_TREE``, is none, or is not in its one
                canonical form.
        """
        if len(data) > LARGEST_TREE:
            raise CertificateError(f"a split tree of {len(data)} bytes; {LARGEST_TREE} are allowed")
        rest = _Bytes(data)
        if rest.take(len(_MAGIC)) != _MAGIC:
            raise CertificateError("not a split tree: its first bytes are wrong")
        rows, neurons, sets, count = (int(n) for n in np.frombuffer(rest.take(16), dtype="<u4"))
        if sets > count:
            raise CertificateError(f"a split tree with {sets} slopes for {count} nodes")
        nodes = np.frombuffer(rest.take(count * NODE.itemsize), dtype=NODE)
        multipliers = []
        for cuts, _ in _covering(nodes, neurons, sets):
            numbers = np.frombuffer(rest.take(4 * rows * _phases(cuts)), dtype="<f4")
            multipliers.append(numbers.reshape(rows, _phases(cuts)))
        slopes = []
        for _ in range(sets):
            bits = np.frombuffer(rest.take((rows * neurons + 7) // 8), dtype=np.uint8)
            given = np.unpackbits(bits, count=rows * neurons).astype(np.bool_)
            steps = np.frombuffer(rest.take(int(given.sum())), dtype=np.uint8)
            weights = np.frombuffer(rest.take(rows), dtype=np.uint8)
            slopes.append(Slopes(given.reshape(rows, neurons), steps, weights))
        tree = cls(rows, neurons, nodes, tuple(multipliers), tuple(slopes))
        if tree.to_bytes() != data:
            raise CertificateError("a split tree is not in its canonical form")
        return tree


class _Bytes:
    """What is left to read of some bytes."""

    def __init__(self, data: bytes) -> None:
        self._data, self._position = data, 0

    def take(self, count: int) -> bytes:
        """The next bytes, all of them."""
        taken = self._data[self._position : self._position + count]
        if len(taken) != count:
            raise CertificateError(f"a split tree ends after {len(self._data)} bytes, too early")
        self._position += count
        return taken


def _phases(cuts: Sequence[Cut]) -> int:
    return sum(cut.kind == PHASE for cut in cuts)


def _covering(
    nodes: npt.NDArray[np.void], neurons: int, sets: int
) -> list[tuple[tuple[Cut, ...], int]]:
    """The path and the number of every leaf, in order.

    Raises:
        CertificateError: a node is missing, left over or not a node.
    """
    leaves = []
    path: list[Cut] = []
    done = False
    for kind, number, threshold in nodes.tolist():
        if done:
            raise CertificateError("a split tree has nodes behind its last leaf")
        if kind == LEAF and number <= sets and threshold == 0:
            leaves.append((tuple(path), number))
            while path and path[-1].sign > 0:
                path.pop()
            done = not path
            if path:
                path[-1] = path[-1]._replace(sign=1)
        elif len(path) == DEEPEST_TREE:
            raise CertificateError(f"a split tree is more than {DEEPEST_TREE} deep")
        elif kind == PHASE and number < neurons and threshold == 0:
            path.append(Cut(kind, number, -1, 0.0))
        elif kind == THRESHOLD and math.isfinite(threshold):
            path.append(Cut(kind, number, -1, threshold))
        else:
            raise CertificateError(f"a split tree has the node {kind}, {number}, which is none")
    if not done:
        raise CertificateError("a split tree does not cover its region: a branch is missing")
    return leaves
