"""What a training has to remember, so that a killed one goes on to the same result."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import safetensors.numpy
import torch

from asi_verify.core.canonical import digest
from asi_verify.errors import RunFolderError
from asi_verify.export import NetworkModule

__all__ = ["TrainingState", "batches", "epoch_generator"]

_SETTINGS = "settings"
_BEST = "best."


def epoch_generator(*key: int) -> np.random.Generator:
    """The randomness of one epoch, a function of its key alone: nothing has to be remembered."""
    return np.random.default_rng(list(key))


def batches(
    order: npt.NDArray[np.intp], size: int, *, even: bool
) -> Iterator[npt.NDArray[np.intp]]:
    """Parts of an epoch's order, at most ``size`` long.

    All but the last are of one size: ``size`` itself or, if ``even``, one that leaves the last
    hardly smaller, as the statistics of batches want it.
    """
    if even:
        size = math.ceil(len(order) / math.ceil(len(order) / size))
    for start in range(0, len(order), size):
        yield order[start : start + size]


@dataclass(eq=False)
class TrainingState:
    """A module, its optimiser and what the schedule knows, after a whole number of epochs.

    Attributes:
        module: the weights.
        optimizer: Adam with its moments.
        epoch: epochs done.
        marks: arrays that the schedule keeps from epoch to epoch.
    """

    module: NetworkModule
    optimizer: torch.optim.Adam
    epoch: int = 0
    marks: dict[str, npt.NDArray[np.generic]] = field(default_factory=dict)

    @classmethod
    def begin(cls, module: NetworkModule, learning_rate: float) -> TrainingState:
        """A state before the first epoch."""
        return cls(module, torch.optim.Adam(module.parameters(), lr=learning_rate))

    def best_weights(self) -> dict[str, npt.NDArray[np.generic]]:
        """The present weights as marks, for ``take_best``."""
        return {f"{_BEST}{k}": v.numpy().copy() for k, v in self.module.state_dict().items()}

    def take_best(self) -> None:
        """Give the module the weights that were marked as best, if any were."""
        best = {k: torch.from_numpy(v) for k, v in _under(_BEST, self.marks).items()}
        if best:
            self.module.load_state_dict(best)

    def to_bytes(self, settings: object) -> bytes:
        """Everything, exactly; ``settings`` (JSON) says whose training it is."""
        tensors = {f"weight.{k}": v.numpy() for k, v in self.module.state_dict().items()}
        for number, moments in self.optimizer.state_dict()["state"].items():
            for name, value in moments.items():
                tensors[f"adam.{number}.{name}"] = torch.as_tensor(value).numpy()
        tensors |= {f"mark.{k}": np.ascontiguousarray(v) for k, v in self.marks.items()}
        metadata = {_SETTINGS: digest(settings), "epoch": str(self.epoch)}
        return safetensors.numpy.save(
            {k: np.ascontiguousarray(v) for k, v in tensors.items()}, metadata
        )

    def restore(self, data: bytes, settings: object) -> None:
        """Go on from bytes that ``to_bytes`` gave for the same settings.

        Raises:
            RunFolderError: they are of another training, or are damaged.
        """
        try:
            tensors = safetensors.numpy.load(data)
            length = int.from_bytes(data[:8], "little")
            metadata = json.loads(data[8 : 8 + length])["__metadata__"]
        except (safetensors.SafetensorError, ValueError, KeyError) as error:
            raise RunFolderError(f"a training's checkpoint is damaged: {error}") from None
        if metadata[_SETTINGS] != digest(settings):
            raise RunFolderError("a training's checkpoint is of other settings; use a new folder")
        weights = {k: torch.from_numpy(v) for k, v in _under("weight.", tensors).items()}
        self.module.load_state_dict(weights)
        state: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in _under("adam.", tensors).items():
            number, _, name = key.partition(".")
            state.setdefault(int(number), {})[name] = torch.from_numpy(value)
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        self.marks = _under("mark.", tensors)
        self.epoch = int(metadata["epoch"])


def _under(
    prefix: str, tensors: dict[str, npt.NDArray[np.generic]]
) -> dict[str, npt.NDArray[np.generic]]:
    return {k.removeprefix(prefix): v.copy() for k, v in tensors.items() if k.startswith(prefix)}
