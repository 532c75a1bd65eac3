"""The last layer by linear programme: the smallest change that certifies the last few samples.

Over a box of what the last affine layer reads, the lowest value of a row of a property is concave
and piecewise linear in the layer's weights. So "these samples are certified, and none that was is
lost" is a linear programme, and HiGHS finds the change with the smallest 1-norm, or says that there
is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.optimize import linprog

from asi_verify.checker import TrustedPass
from asi_verify.core.box import Box
from asi_verify.core.evidence import Intermediate
from asi_verify.core.network import Network, Node
from asi_verify.core.operators import Affine
from asi_verify.core.progress import NO_PROGRESS, Progress
from asi_verify.core.properties import property_for
from asi_verify.core.semantics import Semantics
from asi_verify.data import Samples
from asi_verify.repair.checkpoints import Checkpoints
from asi_verify.repair.corrector import Correction, Corrector, Task

__all__ = ["LastLayer"]

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_CUTS = 200
"""At most so many preservation constraints are added at once, those violated most."""

_MOST_PROGRAMMES = 100
"""A budget for one attempt; when it ends, what is repaired so far is what there is.

Forty were the most seen on samples that could be repaired.
"""

_MOST_CONFIRMATIONS = 5
"""So often needs are raised because the trusted pass finds less than the programme foresaw."""

_SLACK = 1e-6
"""Above HiGHS' feasibility tolerance of 1e-7. Nothing rests on it: all is bounded again."""


@dataclass(frozen=True)
class LastLayer(Corrector):
    """Changes the last affine layer as little as is needed to certify a few open samples.

    A tool for what certified training leaves open, a handful of samples at most: nothing before the
    last layer moves, so samples whose hidden values look alike cannot be told apart. Where all open
    samples together are too much, it takes as many as it can, those that lack least first; where
    not even one can be had, the network stays what it is, and ``effect["reason"]`` says why.

    What the programme foresees is an estimate with the bounds of the network as it was. A change is
    given back only if the trusted pass proves, on the changed network, the samples it is for and
    all that it proved before. Samples that only a later stage of the cascade certified are kept
    from getting worse; whether they are certified again the examination of the round says.

    Attributes:
        most: it is asked after a training that leaves at most so many samples open.
        margin: lower bounds of rows are to exceed this; those already below are allowed to halve.
    """

    kind: ClassVar[str] = "last-layer"
    most: int = 10
    margin: float = 0.01

    def attempt(
        self,
        network: Network,
        task: Task,
        checkpoints: Checkpoints | None = None,
        progress: Progress = NO_PROGRESS,
    ) -> Correction:
        """One change of the last layer.

        ``effect`` of the result has ``reason`` (text), ``repaired`` (rows), ``kept`` (how many
        samples were not to be lost), ``programmes`` and ``constraints`` (how many were solved, and
        the size of the last). ``network`` is the given object if nothing is repaired.
        """
        del checkpoints  # takes seconds: done again if it was killed
        if not isinstance(_last(network), Affine) or len(network.shapes[_read_last(network)]) != 1:
            return _unchanged(network, task, "the last layer is not an affine map of a vector")
        samples = task.samples.take(task.rows)
        problem = _Problem.of(network, samples, task.boxes(), task.semantics)
        open_ = np.isin(task.rows, task.open)
        lacking = problem.known.lower.min(axis=1)
        hopeful = np.flatnonzero(open_ & np.isfinite(lacking))
        hopeful = hopeful[np.argsort(-lacking[hopeful], kind="stable")]
        programme = _Programme(problem, ~open_, self.margin)
        found = programme.repair(hopeful)
        if found is None and len(hopeful) > 1:
            # Together they are too much: one after the other, as long as there is a solution.
            chosen: list[int] = []
            for sample in hopeful.tolist():
                more = programme.repair(np.array([*chosen, sample], dtype=np.intp))
                if more is not None:
                    chosen, found = [*chosen, sample], more
            hopeful = np.array(chosen, dtype=np.intp)
        if found is None or len(hopeful) == 0:
            reason = "no change of the last layer certifies an open sample and keeps the others"
            return _unchanged(network, task, reason, programme.counts())
        changed, known = found
        effect = {
            **programme.counts(),
            "reason": f"{len(hopeful)} of {len(task.open)} open samples repaired",
            "repaired": sorted(task.rows[hopeful].tolist()),
        }
        progress.say(f"last layer: {effect['reason']}")
        return Correction(changed, 0, int(known.proved.sum()), (), effect)


def _unchanged(
    network: Network, task: Task, reason: str, counts: Mapping[str, int] | None = None
) -> Correction:
    effect = {
        **(counts or {"constraints": 0, "kept": 0, "programmes": 0}),
        "reason": reason,
        "repaired": [],
    }
    return Correction(network, 0, len(task.rows) - len(task.open), (), effect)


def _last(network: Network) -> Any:
    return network.nodes[-1].operator


def _read_last(network: Network) -> int:
    """The value that the last layer reads."""
    return network.nodes[-1].inputs[0]


@dataclass(frozen=True, eq=False)
class _Known:
    """What the trusted pass finds.

    Attributes:
        lower: bounds on the rows of each sample's property, shape ``(N, R)``.
        middle: of the boxes of what the last layer reads, shape ``(N, H)``; float32 saves memory,
            and these only make estimates.
        radius: likewise.
    """

    lower: Array
    middle: npt.NDArray[np.float32]
    radius: npt.NDArray[np.float32]

    @property
    def proved(self) -> Mask:
        """Shape ``(N,)``."""
        return np.asarray((self.lower > 0).all(axis=1))


@dataclass(frozen=True, eq=False)
class _Problem:
    """A network whose last layer is to change, on the samples that count.

    Attributes:
        rows: of the properties, one set for each distinct label, shape ``(labels, R, logits)``.
        label_of: which of them each sample has, shape ``(N,)``.
    """

    network: Network
    samples: Samples
    box: Box
    semantics: Semantics
    labels: npt.NDArray[Any]
    label_of: npt.NDArray[np.intp]
    rows: Array
    known: _Known

    @classmethod
    def of(cls, network: Network, samples: Samples, box: Box, semantics: Semantics) -> _Problem:
        labels, label_of = np.unique(samples.labels, axis=0, return_inverse=True)
        rows = np.stack([property_for(label, network.logits).rows() for label in labels])
        nothing = _Known(
            np.empty((0, 0)), np.empty((0, 0), np.float32), np.empty((0, 0), np.float32)
        )
        label_of = label_of.reshape(-1)
        bare = cls(network, samples, box, semantics, labels, label_of, rows, nothing)
        return replace(bare, known=bare.measured(network))

    def measured(self, network: Network) -> _Known:
        """Bounds of a network: by intervals, and by CROWN where these prove nothing."""
        trusted, read = TrustedPass(network, self.semantics), _read_last(network)
        size = (len(self.samples), *network.shapes[read])
        lower = np.empty((len(self.samples), self.rows.shape[1]))
        middle, radius = np.empty(size, np.float32), np.empty(size, np.float32)
        for number, label in enumerate(self.labels):
            wanted = property_for(label, network.logits)
            rows = np.flatnonzero(self.label_of == number)
            for intermediate in (Intermediate.INTERVAL, Intermediate.BACKWARD):
                linear = intermediate is Intermediate.BACKWARD
                for part in trusted.batches(len(rows)):
                    some = rows[part]
                    bounds = trusted.bounds(self.box[some], intermediate)
                    lower[some] = trusted.rows(bounds, wanted, to_input=linear)
                    hidden = bounds.boxes[read]
                    middle[some] = (hidden.lower + hidden.upper) / 2
                    radius[some] = (hidden.upper - hidden.lower) / 2
                rows = rows[~(lower[rows] > 0).all(axis=1)]
        return _Known(lower, middle, radius)

    def with_last(self, weight: Array, bias: Array) -> Network:
        """The network with another last layer, rounded to float32."""
        node, layer = self.network.nodes[-1], _last(self.network)
        changed = replace(layer, weight=weight.astype(np.float32), bias=bias.astype(np.float32))
        nodes = (*self.network.nodes[:-1], Node(changed, node.inputs))
        return Network(self.network.input_shape, nodes, self.network.head)

    def over_boxes(self, weight: Array, bias: Array) -> Array:
        """The lowest value of every row over the box of what the last layer reads, ``(N, R)``."""
        result = np.empty(self.known.lower.shape)
        for number, rows in enumerate(self.rows):
            of = self.label_of == number
            merged = rows @ weight
            result[of] = self.known.middle[of] @ merged.T - self.known.radius[of] @ np.abs(merged).T
            result[of] += rows @ bias
        return result


class _Programme:
    """The linear programme, with the constraints found so far.

    A constraint is a row of a sample's property. Its value for new weights is the trusted pass'
    bound for the old ones, plus what the lowest value over the box gains or loses.
    """

    def __init__(self, problem: _Problem, kept: Mask, margin: float) -> None:
        self._problem = problem
        self._kept = kept
        self._margin = margin
        layer = _last(problem.network)
        self._weight, self._bias = (a.astype(np.float64) for a in (layer.weight, layer.bias))
        lower = problem.known.lower
        over_boxes = problem.over_boxes(self._weight, self._bias)
        # Where the error analysis did not hold there is nothing to keep, and no need either.
        self._offset = np.where(np.isfinite(lower), lower, over_boxes) - over_boxes
        # Rows of bounds that prove nothing belong to samples that later stages certified.
        self._needs = np.where(lower > 0, np.minimum(margin, lower / 2), lower)
        self._needs[~kept] = -np.inf
        self._within = np.zeros(lower.shape, dtype=np.bool_)
        self._programmes = 0

    def counts(self) -> dict[str, int]:
        """For the record."""
        return {
            "constraints": int(self._within.sum()),
            "kept": int(self._kept.sum()),
            "programmes": self._programmes,
        }

    def repair(self, samples: npt.NDArray[np.intp]) -> tuple[Network, _Known] | None:
        """A network on which the trusted pass proves these and all that it proved; or None."""
        if len(samples) == 0:
            return None
        needs = self._needs.copy()
        needs[samples] = self._margin
        wanted = self._kept & self._problem.known.proved
        wanted[samples] = True
        self._within[~self._kept] = False
        self._within[samples] = True
        for _ in range(_MOST_CONFIRMATIONS):
            solution = self._solution(needs)
            if solution is None:
                return None
            network = self._problem.with_last(*solution)
            known = self._problem.measured(network)
            failed = wanted & ~known.proved
            if not failed.any():
                return network, known
            # Relaxations of the layers before weigh the new weights differently than foreseen.
            missing = np.maximum(self._margin - known.lower[failed], 0)
            needs[failed] += np.where(np.isfinite(missing), missing, np.inf)
            self._within[failed] = True
        return None

    def _solution(self, needs: Array) -> tuple[Array, Array] | None:
        """The smallest change under which no row is below its need, found by cutting planes."""
        while self._programmes < _MOST_PROGRAMMES:
            solution = self._optimum(needs)
            if solution is None:
                return None
            short = needs - self._offset - self._problem.over_boxes(*solution)
            short[self._within | ~(short > _SLACK)] = 0
            worst = np.argsort(-short, axis=None, kind="stable")[:_CUTS]
            worst = worst[short.reshape(-1)[worst] > 0]
            if len(worst) == 0:
                return solution
            self._within.reshape(-1)[worst] = True
        return None

    def _optimum(self, needs: Array) -> tuple[Array, Array] | None:
        """New weights and bias, the best under the constraints taken up so far.

        Variables, all at least 0: the positive and the negative part of the change (weights in C
        order, then biases), then for each functional ``c`` of the logits in use, up to its sign, an
        upper bound on ``|c @ weight|``; the programme has no reason to choose it larger.
        """
        logits, hidden = self._weight.shape
        samples, numbers = np.nonzero(self._within)
        functionals = self._problem.rows[self._problem.label_of[samples], numbers]
        upright = functionals * _signs(functionals)[:, None]
        distinct, which = np.unique(upright, axis=0, return_inverse=True)
        which = which.reshape(-1)
        blocks, limits = [], []
        each, no_bias = sparse.eye_array(hidden), sparse.csr_array((hidden, logits))
        for number, functional in enumerate(distinct):
            merged = sparse.kron(functional[None], each, format="csr")
            value = functional @ self._weight
            mine = np.zeros((1, len(distinct)))
            mine[0, number] = -1
            bound = sparse.kron(mine, each, format="csr")
            for sign in (1.0, -1.0):
                change = sparse.hstack([sign * merged, no_bias])
                blocks.append(sparse.hstack([change, -change, bound]))
                limits.append(-sign * value)
        constraints = []
        middle, radius = self._problem.known.middle[samples], self._problem.known.radius[samples]
        for row, functional in enumerate(functionals):
            own = np.concatenate([np.kron(functional, middle[row].astype(float)), functional])
            spread = np.kron(np.eye(len(distinct))[which[row]], radius[row].astype(float))
            constraints.append(sparse.csr_array(np.concatenate([-own, own, spread])[None]))
        fixed = self._offset[samples, numbers] + functionals @ self._bias
        fixed += np.einsum("rk,kh,rh->r", functionals, self._weight, middle)
        limits.append(fixed - needs[samples, numbers])
        matrix = sparse.vstack([*blocks, *constraints], format="csr")
        limit = np.concatenate(limits)
        if not np.isfinite(limit).all():
            return None
        changes = logits * hidden + logits
        cost = np.concatenate([np.ones(2 * changes), np.zeros(len(distinct) * hidden)])
        # One simplex method by name: HiGHS then takes the same way every time.
        found = linprog(cost, A_ub=matrix, b_ub=limit, bounds=(0, None), method="highs-ds")
        self._programmes += 1
        if found.x is None or found.status != 0:
            return None
        change = found.x[:changes] - found.x[changes : 2 * changes]
        weight = self._weight + change[: logits * hidden].reshape(logits, hidden)
        return weight, self._bias + change[logits * hidden :]


def _signs(functionals: Array) -> Array:
    """The sign of the first entry of each functional that is not 0.

    A functional has the same ``|c @ weight|`` as its opposite: one bound does for both.
    """
    first = np.argmax(functionals != 0, axis=1)
    signs: Array = np.sign(functionals[np.arange(len(functionals)), first])
    return signs
