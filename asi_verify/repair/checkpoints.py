"""Checkpoints of a training under a name in the run folder."""

from __future__ import annotations

import time

from asi_verify.repair.training_state import TrainingState
from asi_verify.store import Files

__all__ = ["Checkpoints"]

_SECONDS_BETWEEN = 10.0


class Checkpoints:
    """Saves a state now and then; when does not change the result, only what a kill costs."""

    def __init__(self, files: Files, name: str) -> None:
        self._files = files
        self._name = name
        self._last = time.monotonic()

    def resume(self, state: TrainingState, settings: object) -> None:
        """Go on from the last checkpoint, if there is one of these settings."""
        data = self._files.read(self._name)
        if data is not None:
            state.restore(data, settings)

    def offer(self, state: TrainingState, settings: object) -> None:
        """Save the state if the last save is long enough ago."""
        if time.monotonic() - self._last >= _SECONDS_BETWEEN:
            self.save(state, settings)

    def save(self, state: TrainingState, settings: object) -> None:
        """Save the state now: somebody is to go on from it."""
        self._files.write(self._name, state.to_bytes(settings))
        self._last = time.monotonic()

    def clear(self) -> None:
        """Forget the checkpoint: its training is over and its result is kept elsewhere."""
        self._files.remove(self._name)
