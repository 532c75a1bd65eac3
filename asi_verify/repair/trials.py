"""Candidates in training, in the folder of a search: what one has done is not done again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from asi_verify.core.canonical import bytes_digest
from asi_verify.core.linf import LInf
from asi_verify.core.network import Network
from asi_verify.core.progress import NO_PROGRESS, Progress
from asi_verify.data import Dataset
from asi_verify.export import NetworkModule
from asi_verify.lowering import write_artifact
from asi_verify.repair.candidates import Candidate
from asi_verify.repair.checkpoints import Checkpoints
from asi_verify.repair.corrector import Task
from asi_verify.repair.examine import Subject
from asi_verify.repair.halving import Score
from asi_verify.repair.ordinary_model import ordinary_model
from asi_verify.repair.ordinary_training import OrdinaryTraining
from asi_verify.repair.validation import right_answers
from asi_verify.store import RunFolder
from asi_verify.zoo import architecture as architecture_named

__all__ = ["Trials"]


@dataclass(frozen=True, eq=False)
class Trials:
    """What ``run`` would do with each candidate in its first round, stage by stage.

    What a candidate reached in a stage is ``candidates/NN/stage-KK.json``; the state of its
    training lies beside it.

    Attributes:
        candidates: who is tried.
        starts: the untrained network of each.
        data: the splits that may be looked at: ``train``, and ``val`` if there is one.
        subject: what is to be certified.
        seed: of everything random.
        folder: of the search, configured and locked.
        progress: told of epochs.
    """

    candidates: Sequence[Candidate]
    starts: Sequence[Network]
    data: Dataset
    subject: Subject
    seed: int
    folder: RunFolder
    progress: Progress = NO_PROGRESS

    def score(self, number: int, stage: int, until: int) -> Score:
        """How good a candidate is after so many epochs, to which it is trained unless it was."""
        name = f"{_place(number)}stage-{stage:02d}.json"
        found = self.folder.read_json(name)
        if found is None:
            found = self._train(number, until)
            self.folder.write_json(name, found)
            self.progress.say(
                f"candidate {number}, epoch {found['epochs']}: {found['certified']} certified"
                + ("" if found["right"] is None else f", {found['right']} right on validation")
            )
        return Score(found["certified"], found["right"] or 0)

    def _train(self, number: int, until: int) -> dict[str, Any]:
        candidate, validation = self.candidates[number], self.subject.validation
        family = self.subject.audit.family
        assert isinstance(family, LInf)  # nobody corrects for other regions yet
        rows = np.setdiff1d(np.arange(len(self.subject.samples)), self.subject.audit.contradicted)
        task = Task(
            self.subject.samples,
            family,
            rows,
            rows,
            self.seed,
            1,
            self.subject.semantics,
            validation,
        )
        checkpoints = Checkpoints(self.folder.files, _checkpoint(number))
        correction = candidate.corrector.attempt(
            self._ordinary(number), task, checkpoints, self.progress, until
        )
        module = NetworkModule(correction.network)
        return {
            "certified": correction.screened,
            "epochs": correction.epochs,
            "model": bytes_digest(write_artifact(correction.network)),
            "right": None if validation is None else right_answers(module, validation),
        }

    def _ordinary(self, number: int) -> Network:
        """The network that the correction begins with; the same networks are trained once."""
        candidate = self.candidates[number]
        same = [(c.architecture, dict(c.options)) for c in self.candidates]
        first = same.index((candidate.architecture, dict(candidate.options)))
        return ordinary_model(
            self.starts[first],
            candidate.architecture,
            OrdinaryTraining(batch_norm=architecture_named(candidate.architecture).batch_norm),
            self.data,
            self.seed,
            self.folder,
            f"{_place(first)}ordinary",
            self.progress,
        ).network

    def told(self) -> dict[str, Any]:
        """Everything that was found, and the epochs that it took."""
        trials: list[dict[str, Any]] = []
        for number, candidate in enumerate(self.candidates):
            names = self.folder.files.names()
            stages = [n for n in names if n.startswith(f"{_place(number)}stage-")]
            reached = [self.folder.read_json(name) for name in stages]
            trials.append({"settings": candidate.to_json(), "stages": reached})
        return {
            "samples": len(self.subject.samples) - len(self.subject.audit.contradicted),
            "spent": sum(trial["stages"][-1]["epochs"] for trial in trials),
            "trials": trials,
            "validation": len(self.subject.validation) if self.subject.validation else 0,
        }

    def clear(self) -> None:
        """Forget the states of all trainings."""
        for number in range(len(self.candidates)):
            self.folder.files.remove(_checkpoint(number))


def _place(number: int) -> str:
    return f"candidates/{number:02d}/"


def _checkpoint(number: int) -> str:
    return f"{_place(number)}checkpoint.safetensors"
