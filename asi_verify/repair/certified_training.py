"""Certified retraining: bounds on the whole training set, with more weight where needed.

Interval bound propagation (Gowal et al. 2018), or CROWN-IBP (Zhang et al. 2020) where intervals are
too loose, on differences of logits, mixed with the ordinary loss, the radius rising from 0. It
starts from the weights of the model that is to be corrected.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from asi_verify.bounds import crown_ibp_margins, interval_margins
from asi_verify.checker import TrustedPass
from asi_verify.core.box import Box
from asi_verify.core.evidence import Intermediate, IntervalEvidence, LinearEvidence
from asi_verify.core.images import encode
from asi_verify.core.network import Network
from asi_verify.core.progress import NO_PROGRESS, Progress
from asi_verify.core.properties import property_for
from asi_verify.core.semantics import Semantics
from asi_verify.data import Samples
from asi_verify.errors import UsageError
from asi_verify.export import NetworkModule
from asi_verify.repair.batch_norm import BatchNormModule
from asi_verify.repair.checkpoints import Checkpoints
from asi_verify.repair.corrector import Correction, Corrector, Task
from asi_verify.repair.fresh_weights import with_fresh_weights
from asi_verify.repair.objective import Objective, deterministic
from asi_verify.repair.standardise import standardised
from asi_verify.repair.training_state import TrainingState, batches, epoch_generator
from asi_verify.repair.validation import right_answers

__all__ = ["CertifiedTraining"]

_STREAM = 1
"""Keeps the randomness of this training apart from that of others with the same seed."""

_WEIGHTS = 2
"""The same for new weights."""

_SCREEN_BATCH = 512
_SCREEN_NUMBERS = 2**26
"""At most so many centres and radii at once; screening keeps those of every layer."""

_ALMOST_ALL = 0.97

_OF_THE_LAST = 32
"""The part of an epoch, one in so many, that uncertified samples have in further rounds at least.
One image of PneumoniaMNIST stayed open at 2/255 for 600 epochs with up to 16 copies, and was
certified with all others within 7 with 147."""

_BOUNDS: Mapping[str, tuple[Any, IntervalEvidence | LinearEvidence]] = {
    "intervals": (interval_margins, IntervalEvidence()),
    "crown-ibp": (crown_ibp_margins, LinearEvidence(Intermediate.INTERVAL)),
}
"""What is trained on, and the pass that confirms it."""
_SMALLEST = {
    "epochs": 1,
    "ramp_steps": 0,
    "ramp_epochs": 0,
    "batch_size": 1,
    "learning_rate": 0,
    "clean_weight": 0,
    "extra_copies": 0,
    "clip": 0,
    "margin": 0,
    "patience": 1,
}
"""The smallest number that means something in each setting."""


@dataclass(frozen=True)
class CertifiedTraining(Corrector):
    """Training on bounds over the whole set, re-weighted towards what is not yet certified.

    Measured for this project on BreastMNIST, PneumoniaMNIST and RetinaMNIST (docs/results.md).

    Attributes:
        epochs: at most so many in a round; it ends when every sample is certified with a margin.
        ramp_steps: optimiser steps over which the radius rises from 0; at least ``ramp_epochs``
            and at most half of the epochs.
        ramp_epochs: see there.
        batch_size: images per step.
        learning_rate: of Adam.
        clean_weight: share of the ordinary loss. Without it samples whose neurons all fall silent
            are never recovered.
        extra_copies: how often more an epoch shows a sample that is not certified; doubled in
            every further round, in which the few that are left make up a part of the epoch that
            they cannot be outweighed in.
        clip: largest norm of the gradient.
        margin: lower bounds in float32 have to exceed this, so that rounding cannot undo them.
        standardise: a network that reads raw pixels gets a normalisation as its first layer.
        batch_norm: normalise the outputs of hidden layers, with the statistics of each batch of
            images as they are and after each epoch of the whole set; folded into the weights of
            the result.
        fresh_weights: the first round begins with new weights that keep intervals as wide as they
            are from layer to layer, not with those of the model. Deep networks need it.
        bounds: ``"intervals"``; or ``"crown-ibp"``, tighter and several times as dear, for networks
            of linear layers and ReLUs: it gets further at radii where intervals get stuck.
        patience: end a round after so many epochs at the whole radius without a better one, with
            the weights of the best: that with the most samples certified, then with the most
            validation samples right, the first among equals. None: go on, whatever they say.

    Raises:
        UsageError: no such bounds, or a number means nothing.
    """

    kind: ClassVar[str] = "certified-training"
    epochs: int = 300
    ramp_steps: int = 600
    ramp_epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 1e-3
    clean_weight: float = 0.3
    extra_copies: int = 4
    clip: float = 10.0
    margin: float = 0.01
    standardise: bool = True
    batch_norm: bool = False
    fresh_weights: bool = False
    bounds: str = "intervals"
    patience: int | None = None

    def __post_init__(self) -> None:
        if self.bounds not in _BOUNDS:
            raise UsageError(f"bounds: {self.bounds!r}; one of {', '.join(_BOUNDS)} is expected")
        for name, smallest in _SMALLEST.items():
            value = getattr(self, name)
            if value is not None and not value >= smallest:
                raise UsageError(f"{name}: {value!r}; {smallest} or more is expected")
        if not self.clean_weight <= 1:
            raise UsageError(f"clean_weight: {self.clean_weight!r}; a share is expected")

    def settings(self) -> dict[str, Any]:
        # Run folders from before these two could be chosen are those of their defaults.
        later = {"bounds": "intervals", "patience": None}
        return {k: v for k, v in super().settings().items() if k not in later or v != later[k]}

    def attempt(
        self,
        network: Network,
        task: Task,
        checkpoints: Checkpoints | None = None,
        progress: Progress = NO_PROGRESS,
        until: int | None = None,
    ) -> Correction:
        """One round, or its beginning.

        Args:
            network: to start from.
            task: what is to be certified.
            checkpoints: where to go on from, and to save to.
            progress: told of epochs.
            until: stop after so many epochs of the round and save the state, from which another
                call goes on to the same weights; None: to the end of the round.
        """
        samples = task.samples.take(task.rows)
        box = task.boxes()
        regions = _Regions.of(encode(samples.images), box)
        objective = Objective.of(samples, network.logits)
        start = standardised(network, encode(samples.images)) if self.standardise else network
        module = self._module(start, regions, task)
        at_once = _SCREEN_NUMBERS // (2 * sum(math.prod(shape) for shape in start.shapes))
        at_once = max(1, min(_SCREEN_BATCH, at_once))
        state = TrainingState.begin(module, self.learning_rate)
        state.marks["certified"] = np.isin(task.rows, task.open, invert=True)
        settings = {**self.settings(), "seed": task.seed, "round": task.round}
        if checkpoints is not None:
            checkpoints.resume(state, settings)
        last = self.epochs if until is None else min(until, self.epochs)
        with deterministic(), progress.task("certified training", last) as advance:
            advance(state.epoch)
            while state.epoch < last and not self._is_over(state):
                share = self._ramp(task, state.epoch, len(samples))
                certified = self._epoch(state, objective, regions, share, task)
                chosen = self.patience is not None
                if share == 1 and (chosen or certified.mean() >= _ALMOST_ALL):
                    # The weights moved while these were computed: look at all with the last ones.
                    certified = self._screen(state.module, objective, regions, at_once)
                if share == 1 and bool(certified.all()):
                    certified = self._confirmed(
                        state.module.to_network(), samples, box, task.semantics
                    )
                state.marks["certified"] = certified
                _note(state, share)
                if share == 1 and chosen:
                    _keep_best(state, task.validation)
                advance(1)
                if checkpoints is not None:
                    checkpoints.offer(state, settings)
        if checkpoints is not None and until is not None:
            checkpoints.save(state, settings)
        state.take_best()
        network = state.module.to_network()
        screened = int(self._confirmed(network, samples, box, task.semantics).sum())
        return Correction(network, state.epoch, screened, _history(state))

    def _is_over(self, state: TrainingState) -> bool:
        """Whether a round ends here; by the state alone, so that one that was killed ends there."""
        history, best = (state.marks.get(name) for name in ("history", "best"))
        if history is None:
            return False
        # At the whole radius, all certified is all confirmed.
        if history[-1, 1] == 1 and bool(state.marks["certified"].all()):
            return True
        return (
            self.patience is not None
            and best is not None
            and state.epoch >= best[2] + self.patience
        )

    def _module(self, network: Network, regions: _Regions, task: Task) -> NetworkModule:
        """What is trained, with the weights that it begins with."""
        if self.fresh_weights and task.round == 1:
            network = with_fresh_weights(network, epoch_generator(_WEIGHTS, task.seed))
        if not self.batch_norm:
            return NetworkModule(network)
        # Gains of 1 would widen intervals as much as new weights are to keep them narrow.
        return BatchNormModule.like(network, regions.centre)

    def _ramp(self, task: Task, epoch: int, count: int) -> float:
        """The share of the radius in an epoch; only the first round starts from 0."""
        if task.round > 1:
            return 1.0
        steps_per_epoch = math.ceil(count / self.batch_size)
        length = max(self.ramp_epochs, math.ceil(self.ramp_steps / steps_per_epoch))
        return min(1.0, epoch / max(1, min(length, self.epochs // 2)))

    def _order(
        self, certified: npt.NDArray[np.bool_], share: float, task: Task, epoch: int
    ) -> npt.NDArray[np.intp]:
        """An epoch's samples: all, and from the middle of the ramp on more of the uncertified."""
        rows = np.arange(len(certified))
        if share >= 0.5:
            left = np.flatnonzero(~certified)
            copies = self.extra_copies * 2 ** (task.round - 1)
            if task.round > 1 and len(left) > 0 and copies > 0:
                copies = max(copies, len(rows) // (_OF_THE_LAST * len(left)))
            rows = np.concatenate([rows, np.repeat(left, copies)])
        return epoch_generator(_STREAM, task.seed, task.round, epoch).permutation(rows)

    def _epoch(
        self,
        state: TrainingState,
        objective: Objective,
        regions: _Regions,
        share: float,
        task: Task,
    ) -> npt.NDArray[np.bool_]:
        """One epoch; which samples were certified when last seen in it."""
        certified = np.asarray(state.marks["certified"], dtype=np.bool_).copy()
        module = state.module
        order = self._order(certified, share, task, state.epoch)
        for some in batches(order, self.batch_size, even=self.batch_norm):
            rows = torch.from_numpy(some)
            lower, upper = regions.at(rows, share)
            wanted = objective.rows_of(rows)
            # The statistics of the images as they are stand in the weights that bounds are of.
            images = regions.centre[rows]
            measured = module.measure(images) if isinstance(module, BatchNormModule) else None
            bounds = self._margins(module, lower, upper, wanted)
            clean = objective.margins(module(images) if measured is None else measured, rows)
            loss = (1 - self.clean_weight) * objective.loss(
                bounds
            ) + self.clean_weight * objective.loss(clean)
            state.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), self.clip)
            state.optimizer.step()
            smallest = bounds.detach().min(dim=1).values.numpy()
            certified[some] = smallest > self.margin
        if isinstance(module, BatchNormModule):
            module.settle(regions.centre[torch.from_numpy(order)])
        state.epoch += 1
        return certified

    def _screen(
        self, module: NetworkModule, objective: Objective, regions: _Regions, at_once: int
    ) -> npt.NDArray[np.bool_]:
        """Which samples the bounds certify at the whole radius, in float32; a claim."""
        found = []
        with torch.no_grad():
            for start in range(0, len(regions.centre), at_once):
                rows = torch.arange(start, min(start + at_once, len(regions.centre)))
                lower, upper = regions.at(rows, 1.0)
                bounds = self._margins(module, lower, upper, objective.rows_of(rows))
                found.append(bounds.min(dim=1).values > self.margin)
        return np.asarray(torch.cat(found).numpy())

    def _margins(
        self, module: NetworkModule, lower: torch.Tensor, upper: torch.Tensor, rows: torch.Tensor
    ) -> torch.Tensor:
        """Lower bounds of the rows, differentiable."""
        margins, _ = _BOUNDS[self.bounds]
        found: torch.Tensor = margins(module, lower, upper, rows)
        return found

    def _confirmed(
        self, network: Network, samples: Samples, box: Box, semantics: Semantics
    ) -> npt.NDArray[np.bool_]:
        """Which samples the trusted pass proves: what counts in the end, so when to stop.

        In float32 it asks for more than the bounds of training do: the rounding of any summation
        order.
        """
        trusted = TrustedPass(network, semantics)
        found = np.zeros(len(samples), dtype=np.bool_)
        unique, label_of = np.unique(samples.labels, axis=0, return_inverse=True)
        _, evidence = _BOUNDS[self.bounds]
        for number, label in enumerate(unique):
            rows = np.flatnonzero(label_of.reshape(-1) == number)
            wanted = property_for(label, network.logits)
            found[rows] = trusted.margins(box[rows], wanted, evidence) > 0
        return found


def _keep_best(state: TrainingState, validation: Samples | None) -> None:
    """Mark the present weights if they are the best of the epochs at the whole radius."""
    certified = int(np.count_nonzero(state.marks["certified"]))
    right = 0 if validation is None else right_answers(state.module, validation)
    best = state.marks.get("best")
    if best is None or (certified, right) > (best[0], best[1]):
        state.marks["best"] = np.array([certified, right, state.epoch])
        state.marks |= state.best_weights()


def _note(state: TrainingState, share: float) -> None:
    """Keep what is to be told of the epoch among the marks, where a checkpoint finds it."""
    line = np.array([[state.epoch, share, np.count_nonzero(state.marks["certified"])]])
    before = state.marks.get("history", np.empty((0, 3)))
    state.marks["history"] = np.concatenate([before, line])


def _history(state: TrainingState) -> tuple[Mapping[str, Any], ...]:
    return tuple(
        {"epoch": int(epoch), "radius_share": float(share), "certified": int(certified)}
        for epoch, share, certified in state.marks.get("history", np.empty((0, 3)))
    )


@dataclass(frozen=True, eq=False)
class _Regions:
    """The regions of the training set as tensors, at any share of their radius."""

    centre: torch.Tensor
    lower: torch.Tensor
    upper: torch.Tensor

    @classmethod
    def of(cls, centre: npt.NDArray[np.float32], box: Box) -> _Regions:
        return cls(*(torch.from_numpy(a.copy()) for a in (centre, box.lower, box.upper)))

    def at(self, rows: torch.Tensor, share: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Lower and upper ends, drawn towards the centre."""
        centre, lower, upper = self.centre[rows], self.lower[rows], self.upper[rows]
        if share == 1:
            return lower, upper
        return centre + share * (lower - centre), centre + share * (upper - centre)
