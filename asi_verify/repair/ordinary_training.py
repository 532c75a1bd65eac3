"""Ordinary training: cross-entropy on the images, the epoch chosen on the validation split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from asi_verify.core.images import encode
from asi_verify.core.network import Network
from asi_verify.core.progress import NO_PROGRESS, Progress
from asi_verify.data import Dataset, Samples
from asi_verify.export import NetworkModule
from asi_verify.repair.batch_norm import BatchNormModule
from asi_verify.repair.checkpoints import Checkpoints
from asi_verify.repair.corrector import exact_settings
from asi_verify.repair.objective import Objective, deterministic
from asi_verify.repair.training_state import TrainingState, batches, epoch_generator
from asi_verify.repair.validation import right_answers

__all__ = ["OrdinaryTraining"]

_STREAM = 0
"""Keeps the randomness of this training apart from that of others with the same seed."""


@dataclass(frozen=True)
class OrdinaryTraining:
    """Adam on the cross-entropy; the weights of the best validation epoch are kept.

    Attributes:
        epochs: how many.
        batch_size: images per step.
        learning_rate: of Adam.
        batch_norm: normalise the outputs of hidden layers, with the statistics of each batch and
            after each epoch of the whole set; folded into the weights of the result. It begins
            with gains of 1, whatever scales the network has: for untrained ones.
    """

    epochs: int = 15
    batch_size: int = 64
    learning_rate: float = 1e-3
    batch_norm: bool = False

    def settings(self) -> dict[str, Any]:
        """The fields as canonical JSON takes them: floats as exact text."""
        return exact_settings(self)

    def train(
        self,
        network: Network,
        dataset: Dataset,
        seed: int,
        checkpoints: Checkpoints | None = None,
        progress: Progress = NO_PROGRESS,
    ) -> Network:
        """Train from the network's weights.

        The epoch is the one with the best accuracy on ``val``, the first among equals, or the last
        one if there is no such split. The test split is not looked at.

        Returns:
            The trained network, exact in float32.
        """
        settings = {"training": self.settings(), "seed": seed}
        module = BatchNormModule(network) if self.batch_norm else NetworkModule(network)
        state = TrainingState.begin(module, self.learning_rate)
        if checkpoints is not None:
            checkpoints.resume(state, settings)
        samples = dataset.split("train")
        objective = Objective.of(samples, network.logits)
        inputs = torch.from_numpy(encode(samples.images))
        with deterministic(), progress.task("ordinary training", self.epochs) as advance:
            advance(state.epoch)
            while state.epoch < self.epochs:
                self._epoch(state, objective, inputs, seed)
                if "val" in dataset.splits:
                    self._keep_best(state, dataset.split("val"))
                advance(1)
                if checkpoints is not None:
                    checkpoints.offer(state, settings)
        state.take_best()
        return module.to_network()

    def _epoch(
        self, state: TrainingState, objective: Objective, inputs: torch.Tensor, seed: int
    ) -> None:
        module = state.module
        order = epoch_generator(_STREAM, seed, state.epoch).permutation(len(inputs))
        for some in batches(order, self.batch_size, even=self.batch_norm):
            rows = torch.from_numpy(some)
            forward = module.measure if isinstance(module, BatchNormModule) else module
            margins = objective.margins(forward(inputs[rows]), rows)
            state.optimizer.zero_grad(set_to_none=True)
            objective.loss(margins).backward()
            state.optimizer.step()
        if isinstance(module, BatchNormModule):
            module.settle(inputs[torch.from_numpy(order)])
        state.epoch += 1

    @staticmethod
    def _keep_best(state: TrainingState, val: Samples) -> None:
        right = np.array([right_answers(state.module, val)])
        if "right" not in state.marks or right[0] > state.marks["right"][0]:
            state.marks = {"right": right} | state.best_weights()
