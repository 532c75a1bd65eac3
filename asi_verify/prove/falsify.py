"""Search for counterexamples: the centre, then projected gradient descent on the margin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from asi_verify.core.network import Network
from asi_verify.core.operators import Affine, Conv
from asi_verify.core.properties import Property
from asi_verify.core.reach import PatchReach, PixelReach
from asi_verify.core.verdict import Refuted, Verdict
from asi_verify.export import Artifact
from asi_verify.prove.stage import Batch, Stage, StageResult, late_where_open, varying
from asi_verify.prove.steepest import lowest_member

__all__ = ["Falsify", "descended"]

_NUMBERS_AT_ONCE = 1 << 25
"""Of all values of the starts that descend side by side."""
_RATE = 0.1
"""Of Adam's first step, in half widths of the region."""


@dataclass(frozen=True)
class Falsify(Stage):
    """Projected gradient descent (Madry et al. 2018) on the margin of the property.

    The first start is the centre, with a first step that reaches the corner which the gradient
    points to; further ones are random points and random corners in turn, and aim at one clause
    after the other. A point only counts when ONNX Runtime confirms it.

    Attributes:
        steps: gradient steps from each start.
        restarts: rounds of starts; the first start of the first round is the centre.
        starts: how many of a sample's starts make up a round; they descend side by side.
        by_moments: whether steps are Adam's, which find narrow sets of few inputs.
        most_inputs: regions in which more vary are left alone; None for no limit.
        most_work: multiplications of all forward passes for one sample, about; where they would be
            more, there are fewer starts. None for no limit.
        seed: for the random starts.
    """

    steps: int = 5
    restarts: int = 1
    starts: int = 1
    by_moments: bool = False
    most_inputs: int | None = None
    most_work: int | None = None
    seed: int = 0
    name: str = "falsify"

    def attempt(self, batch: Batch) -> StageResult:
        found: list[Verdict | None] = [None] * len(batch)
        if self.most_inputs is not None and int(varying(batch.box).sum()) > self.most_inputs:
            return StageResult(late_where_open(batch, found))
        if self.most_work is not None:
            each = self.restarts * (self.steps + 1) * _multiplications(batch.artifact.network)
            few = replace(self, starts=min(self.starts, max(1, self.most_work // each)))
            return replace(few, most_work=None).attempt(batch)
        everything = np.arange(len(batch))
        self._replay(batch, everything, batch.centres[:, None], "the sample itself", found)
        for restart in range(self.restarts):
            left = np.array([i for i, v in enumerate(found) if v is None], dtype=np.intp)
            if len(left) == 0 or batch.is_late():
                break
            for some in self._at_once(batch, left):
                given = batch.take(some)
                starts = self._starts(given, restart)
                targets = self._targets(batch.property_, restart, len(given))
                owners = np.repeat(np.arange(len(given)), self.starts)
                flat = starts.reshape(-1, *batch.box.shape)
                some_starts = given.take(owners)
                ends = descended(some_starts, flat, self.steps, targets, by_moments=self.by_moments)
                ends = ends.reshape(starts.shape)
                self._replay(batch, some, ends, "projected gradient descent", found)
        return StageResult(late_where_open(batch, found))

    def _at_once(self, batch: Batch, rows: npt.NDArray[np.intp]) -> Sequence[npt.NDArray[np.intp]]:
        values = sum(int(np.prod(shape)) for shape in batch.artifact.network.shapes)
        size = max(1, _NUMBERS_AT_ONCE // (values * self.starts))
        return [rows[start : start + size] for start in range(0, len(rows), size)]

    @staticmethod
    def _replay(
        batch: Batch,
        rows: npt.NDArray[np.intp],
        points: npt.NDArray[np.float32],
        found_by: str,
        found: list[Verdict | None],
    ) -> None:
        """Ask ONNX Runtime about every sample's points, shape ``(B, starts, *shape)``."""
        owners = np.repeat(rows, points.shape[1])
        some, flat = batch.take(owners), points.reshape(-1, *batch.box.shape)
        if some.regions is not None:
            flat = some.regions.family.project(flat, some.regions.images)
        witnesses = batch.artifact.session.replay(flat, some.box, batch.property_, found_by)
        for row, witness in zip(owners.tolist(), witnesses, strict=True):
            if witness is not None and found[row] is None:
                found[row] = Refuted(witness)

    def _starts(self, batch: Batch, restart: int) -> npt.NDArray[np.float32]:
        """Shape ``(B, starts, *shape)``; every other one a corner."""
        shape = (self.starts, *batch.box.shape)
        shares = np.stack(
            [
                np.random.default_rng([self.seed, restart, key]).random(shape, dtype=np.float32)
                for key in batch.keys
            ]
        )
        shares[:, 1::2] = np.rint(shares[:, 1::2])
        lower, upper = batch.box.lower[:, None], batch.box.upper[:, None]
        # In float64: a box may be wider than the largest float32 number.
        spread = upper.astype(np.float64) - lower
        starts = np.clip(lower + shares * spread, lower, upper).astype(np.float32)
        if batch.reach is not None and batch.regions is not None:
            given = batch.regions.take(np.repeat(np.arange(len(batch)), self.starts))
            flat = starts.reshape(-1, *batch.box.shape)
            starts = given.family.project(flat, given.images).reshape(starts.shape)
        if restart == 0:
            starts[:, 0] = batch.centres
        return starts

    def _targets(self, property_: Property, restart: int, samples: int) -> npt.NDArray[np.intp]:
        """The clause that each start aims at; -1 for whichever is nearest."""
        numbers = restart * self.starts + np.arange(self.starts)
        clauses = int(property_.clauses_of_rows()[-1]) + 1
        return np.tile(np.where(numbers == 0, -1, numbers % clauses), samples)


def descended(
    batch: Batch,
    starts: npt.NDArray[np.float32],
    steps: int,
    targets: npt.NDArray[np.intp] | None = None,
    *,
    by_moments: bool = False,
) -> npt.NDArray[np.float32]:
    """From each start, the point with the smallest margin seen on the way down.

    What is descended is the sum of a clause's rows that still hold: all of them have to fail. In
    regions whose changes count together steps go towards a lowest member, the first all the way.

    Args:
        batch: one sample for each start.
        starts: shape ``(B, *input_shape)``.
        steps: how many; fewer when the batch's deadline passes.
        targets: the clause that each start aims at, -1 or not given for whichever is nearest.
        by_moments: whether steps are Adam's (Kingma and Ba 2015), which find narrow sets, and not
            along the gradient's signs, from a corner to the opposite one at first; of boxes alone.
    """
    margins = _Margins(batch.artifact, batch.property_, targets)
    lower = torch.from_numpy(batch.box.lower.copy())
    upper = torch.from_numpy(batch.box.upper.copy())
    half_width = upper / 2 - lower / 2
    x = torch.from_numpy(starts.copy())
    best, smallest = x.clone(), torch.full((len(x),), torch.inf)
    first, second = torch.zeros_like(x), torch.zeros_like(x)
    column = (-1,) + (1,) * (x.ndim - 1)
    reach = batch.reach
    for step in range(steps + 1):
        x.requires_grad_(True)
        margin, loss = margins(x)
        with torch.no_grad():
            better = margin < smallest
            best = torch.where(better.reshape(column), x, best)
            smallest = torch.where(better, margin, smallest)
        if step == steps or batch.is_late():
            break
        (gradient,) = torch.autograd.grad(loss, x)
        if reach is not None:
            toward = lowest_member(reach, lower, upper, gradient)
            # Between two members lies a third, but for changes that choose where they are.
            chosen = isinstance(reach, PixelReach | PatchReach)
            share = 1.0 if chosen else 2.0 / (step + 2)
            x = (x.detach() + share * (toward - x.detach())).clamp(lower, upper)
            continue
        if by_moments:
            # The gradient by shares of the width, so that every input counts alike.
            first.lerp_(gradient * half_width, 0.1)
            second.lerp_((gradient * half_width) ** 2, 0.01)
            mean, spread = first / (1 - 0.9 ** (step + 1)), second / (1 - 0.99 ** (step + 1))
            move = _RATE * (1 - step / steps) * mean / (spread.sqrt() + 1e-9)
        else:
            move = 2.0 / (step + 1) * gradient.sign()
        x = (x.detach() - move * half_width).clamp(lower, upper)
    return np.asarray(best.detach().numpy())


def _multiplications(network: Network) -> int:
    """Of one forward pass for one sample, about."""
    count = 0
    for value, node in enumerate(network.nodes, start=1):
        shape = network.shapes[value]
        match node.operator:
            case Affine(weight):
                count += weight.size * math.prod(shape[:-1])
            case Conv(weight):
                count += weight.size * math.prod(shape[1:])
            case _:
                count += math.prod(shape)
    return count


class _Margins:
    """The property's margin in torch, and what to descend, for one target for each sample."""

    def __init__(
        self, artifact: Artifact, property_: Property, targets: npt.NDArray[np.intp] | None
    ) -> None:
        self._module = artifact.module
        self._rows = torch.from_numpy(property_.rows().astype(np.float32))
        self._constants = torch.from_numpy(property_.constants().astype(np.float32))
        self._of_rows = torch.from_numpy(property_.clauses_of_rows())
        self._clauses = int(self._of_rows[-1]) + 1
        self._targets = None if targets is None else torch.from_numpy(targets)

    def __call__(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Margins, shape ``(B,)``, and the sum of the aimed-at clauses' rows that still hold."""
        values = self._module(x) @ self._rows.T + self._constants
        with torch.no_grad():
            largest = torch.full((len(x), self._clauses), -torch.inf).scatter_reduce(
                1, self._of_rows.expand(len(x), -1), values, "amax"
            )
            margin, aimed = largest.min(dim=1)
            if self._targets is not None:
                aimed = torch.where(self._targets < 0, aimed, self._targets)
            holds = (self._of_rows[None] == aimed[:, None]) & (values > 0)
        return margin, torch.where(holds, values, 0.0).sum()
