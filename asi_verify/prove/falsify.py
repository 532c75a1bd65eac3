"""Search for counterexamples: the centre, then projected gradient descent on the margin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from asi_verify.core.verdict import Refuted, Verdict
from asi_verify.prove.stage import Batch, Stage, StageResult

__all__ = ["Falsify"]


@dataclass(frozen=True)
class Falsify(Stage):
    """Projected gradient descent (Madry et al. 2018) on the smallest row of the property.

    The first start is the centre, with a first step that reaches the corner which the gradient
    points to; further ones are random. A point only counts when ONNX Runtime confirms it.

    Attributes:
        steps: gradient steps from each start.
        restarts: starts; the first from the centre.
        seed: for the random starts.
    """

    steps: int = 5
    restarts: int = 1
    seed: int = 0
    name: str = "falsify"

    def attempt(self, batch: Batch) -> StageResult:
        found: list[Verdict | None] = [None] * len(batch)
        self._replay(batch, np.arange(len(batch)), batch.centres, "the sample itself", found)
        for restart in range(self.restarts):
            left = np.array(
                [i for i, verdict in enumerate(found) if verdict is None], dtype=np.intp
            )
            if len(left) == 0:
                break
            some = batch.take(left)
            starts = some.centres if restart == 0 else self._random_starts(some, restart)
            points = self._descend(some, starts)
            self._replay(batch, left, points, "projected gradient descent", found)
        return StageResult(tuple(found))

    @staticmethod
    def _replay(
        batch: Batch,
        rows: npt.NDArray[np.intp],
        points: npt.NDArray[np.float32],
        found_by: str,
        found: list[Verdict | None],
    ) -> None:
        some = batch.take(rows)
        if some.regions is not None:
            points = some.regions.family.project(points, some.regions.images)
        witnesses = batch.artifact.session.replay(points, some.box, batch.property_, found_by)
        for row, witness in zip(rows.tolist(), witnesses, strict=True):
            if witness is not None:
                found[row] = Refuted(witness)

    def _random_starts(self, batch: Batch, restart: int) -> npt.NDArray[np.float32]:
        shares = np.stack(
            [
                np.random.default_rng([self.seed, restart, key]).random(
                    batch.box.shape, dtype=np.float32
                )
                for key in batch.keys
            ]
        )
        spread = batch.box.upper - batch.box.lower
        return np.clip(batch.box.lower + shares * spread, batch.box.lower, batch.box.upper)

    def _descend(self, batch: Batch, starts: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The point with the smallest margin seen on the way, for each sample."""
        module = batch.artifact.module
        rows = torch.from_numpy(batch.property_.rows().astype(np.float32))
        lower = torch.from_numpy(batch.box.lower.copy())
        upper = torch.from_numpy(batch.box.upper.copy())
        half_width = (upper - lower) / 2
        x = torch.from_numpy(starts.copy())
        best, smallest = x.clone(), torch.full((len(x),), torch.inf)
        column = (-1,) + (1,) * (x.ndim - 1)
        for step in range(self.steps + 1):
            x.requires_grad_(True)
            margin = (module(x) @ rows.T).min(dim=1).values
            with torch.no_grad():
                better = margin < smallest
                best = torch.where(better.reshape(column), x, best)
                smallest = torch.where(better, margin, smallest)
            if step == self.steps:
                break
            (gradient,) = torch.autograd.grad(margin.sum(), x)
            # From a corner to the opposite one at first, then ever smaller.
            size = 2.0 / (step + 1)
            x = (x.detach() - size * half_width * gradient.sign()).clamp(lower, upper)
        return best.detach().numpy()
