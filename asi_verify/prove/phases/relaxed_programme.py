"""The linear programme of a network of which some phases are decided, and what its duals prove.

Each ReLU is replaced by lines (Ehlers 2017): from below by 0 and by its input, from above by the
chord over its input's bounds and, once its phase is decided, by that phase's line. What a proof
does without that last line does not rest on the decision: the duals name the decisions that it
rests on. HiGHS finds them; the trusted pass decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csc_array, hstack, vstack

from asi_verify.checker.trusted import Bounds, TrustedPass
from asi_verify.core.network import Network
from asi_verify.core.operators import Relu
from asi_verify.core.properties import Property
from asi_verify.export import NetworkModule
from asi_verify.prove.phases.highs import minimised

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

__all__ = ["Proof", "RelaxedProgramme", "Violation"]

Array = npt.NDArray[np.float64]
Phases = npt.NDArray[np.int8]
"""Of each open neuron: +1 or -1 where its phase is decided, 0 where it is open."""

_LEAST = 1e-9
"""A dual below is taken for 0."""
_PRICE = 1e4
"""Of violating decided phases, where a bound is maximised: what their duals add up to at most."""


@dataclass(frozen=True, eq=False)
class Violation:
    """By how much some decided phase, or its line, is violated wherever a clause fails.

    Attributes:
        least: above 0 exactly if the decisions prove the clause; infinite if none is needed.
        needed: on which decisions that rests, bool, shape ``(open,)``.
        point: an input at which it is least, shape ``(inputs,)``; None if it is infinite.
    """

    least: float
    needed: npt.NDArray[np.bool_]
    point: Array | None


@dataclass(frozen=True, eq=False)
class Proof:
    """A bound on one weighted sum of a clause's rows, as the trusted pass takes it.

    Attributes:
        weights: uint8, one for each row of the clause; of a single row 1.
        slopes: from below, of each neuron that is not decided, shape ``(open,)``; NaN elsewhere.
        multipliers: of the decided phases, shape ``(open,)``, not negative.
        coefficients: of the neurons' outputs when the bound has reached them, shape ``(open,)``.
    """

    weights: npt.NDArray[np.uint8]
    slopes: Array
    multipliers: Array
    coefficients: Array

    def multipliers_beyond(self, phases: Phases) -> Array:
        """Multipliers with which the bound stays as good where more phases are decided.

        An open neuron's output was replaced by ``slope * z`` from below. Decided, it is 0 or ``z``,
        and the rest is a multiple of the phase; from above both lie below the chord.
        """
        below = np.maximum(self.coefficients, 0)
        added = np.where(phases < 0, below * self.slopes, below * (1 - self.slopes))
        more = (phases != 0) & ~np.isnan(self.slopes)
        return np.where(more, np.where(below > 0, added, 0.0), self.multipliers)


class RelaxedProgramme:
    """The programme over one part of one sample's region.

    Args:
        trusted: the trusted pass over the network, of affine operators and ReLUs.
        bounds: over the part, one sample.
        property_: in each of whose clauses a row has to be positive.
        decided: neurons whose phases the part is cut at; their own bounds are those of ``root``.
        root: bounds over the whole region.

    Attributes:
        neurons: the numbers of the neurons that are open or decided and that the property depends
            on, as split trees count them, in order.
        clauses: the rows of each.
        terms: coefficients other than 0.
    """

    def __init__(
        self,
        trusted: TrustedPass,
        bounds: Bounds,
        property_: Property,
        decided: Sequence[int] = (),
        root: Bounds | None = None,
    ) -> None:
        box = bounds.boxes[0]
        self._ends = np.stack([end.reshape(-1) for end in (box.lower, box.upper)], axis=1)
        inputs = len(self._ends)
        ends = _ends_of_neurons(trusted, bounds, decided, root)
        open_ = {
            value: np.flatnonzero((low < 0) & (high > 0)) for value, (low, high) in ends.items()
        }
        maps = _maps(trusted.network, ends, open_)
        rows = maps[trusted.network.output].reshape(len(maps[0]), -1) @ property_.rows().T
        rows[-1] += property_.constants()
        read = np.concatenate(
            [maps[value].reshape(len(rows), -1)[:, some] for value, some in open_.items()], axis=1
        )
        lower, upper = (
            np.concatenate([ends[value][end][some] for value, some in open_.items()])
            for end in (0, 1)
        )
        starts = [trusted.neurons[value].start for value in open_]
        numbers = np.concatenate(
            [start + some for start, some in zip(starts, open_.values(), strict=True)]
        )
        cone = _cone(rows[inputs:-1] != 0, read[inputs:-1] != 0)
        kept = np.concatenate([np.arange(inputs), inputs + cone, [len(rows) - 1]])
        self.neurons = numbers[cone]
        self._rows, self._read = rows[kept], read[np.ix_(kept, cone)]
        self._chords = (upper / (upper - lower))[cone]
        self._offsets = -lower[cone] * self._chords
        clauses = property_.clauses_of_rows()
        self.clauses = [np.flatnonzero(clauses == c) for c in range(int(clauses[-1]) + 1)]
        self.terms = int(np.count_nonzero(self._rows) + np.count_nonzero(self._read))
        # Columns: inputs, outputs of open neurons, and by how much decided phases are violated.
        size = len(cone)
        own = np.hstack([np.zeros((size, inputs)), np.eye(size)])
        given = self._read[:-1].T
        self._below = _with_column(given - own, 0)
        self._chord = _with_column(own - self._chords[:, None] * given, 0)
        self._lines = {1: _with_column(own - given, -1), -1: _with_column(own, -1)}

    @property
    def centre(self) -> Array:
        """Of the inputs, shape ``(inputs,)``."""
        return np.asarray(self._ends.mean(axis=1))

    def completed(self, phases: Phases, point: Array) -> Phases:
        """The phases, and where they are open those that the network has at an input."""
        found = phases.copy()
        values = np.concatenate([point, np.zeros(len(phases)), [1.0]])
        for i in range(len(phases)):  # in the order in which they are computed
            z = float(values @ self._read[:, i])
            if found[i] == 0:
                found[i] = 1 if z > 0 else -1
            values[len(point) + i] = z if found[i] > 0 else 0.0
        return found

    def violation(self, clause: int, phases: Phases) -> Violation | None:
        """The least violation of decided phases with which all rows of a clause fail.

        It is a ratio of what is lacking to what the decisions count for, so that few decisions are
        needed rather than many. None where the solver fails.
        """
        rows = self._rows[:, self.clauses[clause]]
        matrix, limits, owners = self._decided(phases)
        found = self._optimum(
            np.zeros(len(self._read) - 1),
            [matrix, _with_column(rows[:-1].T, 0)],
            [limits, -rows[-1]],
            1.0,
        )
        needed = np.zeros(len(phases), np.bool_)
        if found.status == 2:
            return Violation(np.inf, needed, None)
        if found.status != 0:
            return None
        start = 2 * len(phases)
        needed[owners] = -found.ineqlin.marginals[start : start + len(owners)] > _LEAST
        return Violation(float(found.fun), needed, found.x[: len(self._ends)])

    def proof(self, clause: int, phases: Phases) -> Proof | None:
        """The best bound on a clause that decided phases give; None where the solver fails."""
        rows = self._rows[:, self.clauses[clause]]
        weights = np.ones(rows.shape[1], np.uint8)
        if len(weights) > 1:
            shares = self._shares(rows, phases)
            if shares is None:
                return None
            # A small share is no share at all only where there was none.
            weights = np.where(shares > _LEAST, np.maximum(np.rint(shares * 255), 1), 0)
            weights = weights.astype(np.uint8)
        matrix, limits, owners = self._decided(phases)
        wanted = rows @ (weights / weights.max())
        found = self._optimum(wanted[:-1], [matrix], [limits], _PRICE)
        if found.status != 0:
            return None
        size = len(phases)
        duals = np.maximum(-found.ineqlin.marginals, 0)
        below, above = duals[:size], duals[size : 2 * size].copy()
        above[owners] += duals[2 * size :]
        at_zero = np.maximum(found.lower.marginals[len(self._ends) : -1], 0)
        used = below + at_zero
        slopes = np.divide(below, used, out=np.zeros(size), where=used > 0)
        multipliers = np.where(phases > 0, at_zero, np.where(phases < 0, below, 0.0))
        scale = float(weights.max())  # of a single row 1
        return Proof(
            weights,
            np.where(phases == 0, slopes, np.nan),
            multipliers * scale,
            (used - above) * scale,
        )

    def _shares(self, rows: Array, phases: Phases) -> Array | None:
        """Of the rows in the sum that is bounded best, the largest 1."""
        # A column more, the largest row, is minimised.
        matrix, limits, _ = self._decided(phases)
        count = rows.shape[1]
        others = vstack([self._below, self._chord, matrix], format="csc")
        none = csc_array((others.shape[0], 1))
        top = csc_array(np.hstack([rows[:-1].T, np.zeros((count, 1)), -np.ones((count, 1))]))
        found = minimised(
            np.concatenate([np.zeros(len(self._read) - 1), [_PRICE, 1.0]]),
            vstack([hstack([others, none]), top], format="csc"),
            np.concatenate([*self._limits(), limits, -rows[-1]]),
            np.vstack([self._bounds(), [-np.inf, np.inf]]),
        )
        if found.status != 0:
            return None
        duals = np.maximum(-found.ineqlin.marginals[-count:], 0)
        return np.asarray(duals / duals.max())

    def _decided(self, phases: Phases) -> tuple[csc_array, Array, npt.NDArray[np.intp]]:
        """The lines from above of decided phases: rows, limits, and whose they are."""
        above, dead = np.flatnonzero(phases > 0), np.flatnonzero(phases < 0)
        matrix = vstack([self._lines[1][above], self._lines[-1][dead]], format="csc")
        limits = np.concatenate([self._read[-1][above], np.zeros(len(dead))])
        return matrix, limits, np.concatenate([above, dead])

    def _limits(self) -> list[Array]:
        constants = self._read[-1]
        return [-constants, self._chords * constants + self._offsets]

    def _bounds(self) -> Array:
        return np.vstack([self._ends, np.tile([0, np.inf], (len(self.neurons) + 1, 1))])

    def _optimum(
        self, cost: Array, matrices: Sequence[csc_array], limits: Sequence[Array], price: float
    ) -> OptimizeResult:
        return minimised(
            np.append(cost, price),
            vstack([self._below, self._chord, *matrices], format="csc"),
            np.concatenate([*self._limits(), *limits]),
            self._bounds(),
        )


def _with_column(matrix: Array, value: float) -> csc_array:
    return csc_array(np.hstack([matrix, np.full((len(matrix), 1), value)]))


def _ends_of_neurons(
    trusted: TrustedPass, bounds: Bounds, decided: Sequence[int], root: Bounds | None
) -> dict[int, tuple[Array, Array]]:
    """The bounds of what each ReLU reads, flat; of decided neurons those over the whole region."""
    ends = {}
    for value, part in trusted.neurons.items():
        lower, upper = (
            np.array(end.reshape(-1), dtype=np.float64)
            for end in (bounds.boxes[value].lower, bounds.boxes[value].upper)
        )
        some = [n - part.start for n in decided if part.start <= n < part.stop]
        if root is not None and some:
            lower[some] = root.boxes[value].lower.reshape(-1)[some]
            upper[some] = root.boxes[value].upper.reshape(-1)[some]
        ends[value] = lower, upper
    return ends


def _maps(
    network: Network,
    ends: Mapping[int, tuple[Array, Array]],
    open_: Mapping[int, npt.NDArray[np.intp]],
) -> list[Array]:
    """Every value as an affine map of the inputs and of the outputs of open neurons.

    Returns:
        For each value the coefficients and, last, the constant, shape
        ``(inputs + open + 1, *shape)``.
    """
    inputs = int(np.prod(network.input_shape))
    places = dict(zip(open_, inputs + np.cumsum([0, *map(len, open_.values())]), strict=False))
    size = inputs + sum(map(len, open_.values())) + 1
    maps = [np.eye(size, inputs).reshape(size, *network.input_shape)]
    module = NetworkModule(network).double().requires_grad_(False)
    for layer, sources in module.steps():
        if isinstance(layer.operator, Relu):
            (source,) = sources
            flat = np.where(ends[source][0] >= 0, maps[source].reshape(size, -1), 0.0)
            some = open_[source]
            flat[:, some] = 0.0
            flat[places[source] + np.arange(len(some)), some] = 1.0
            maps.append(flat.reshape(maps[source].shape))
            continue
        given = [torch.from_numpy(maps[source]) for source in sources]
        with torch.no_grad():
            constant = layer(*(torch.zeros_like(part[:1]) for part in given))
            result = layer(*given)
            result[:-1] -= constant
        maps.append(result.numpy())
    return maps


def _cone(
    of_rows: npt.NDArray[np.bool_], of_neurons: npt.NDArray[np.bool_]
) -> npt.NDArray[np.intp]:
    """The open neurons that rows depend on, given whose outputs rows and neurons read."""
    needed = of_rows.any(axis=1)
    while True:
        more = needed | of_neurons[:, needed].any(axis=1)
        if bool((more == needed).all()):
            return np.flatnonzero(needed)
        needed = more
