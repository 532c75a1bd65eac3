"""The correction loop: correct, export, enumerate again, prove again, until nothing is open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from asi_verify.core.linf import LInf
from asi_verify.core.network import Network
from asi_verify.core.progress import NO_PROGRESS, Progress
from asi_verify.export import Artifact
from asi_verify.lowering import read_network
from asi_verify.prove import Stage
from asi_verify.repair.checkpoints import Checkpoints
from asi_verify.repair.corrector import Correction, Corrector, Task
from asi_verify.repair.examine import Subject, examine
from asi_verify.store import RunFolder

__all__ = ["Loop", "round_folder"]


def round_folder(number: int) -> str:
    """Where a round's files lie in the run folder."""
    return f"rounds/{number:02d}/"


@dataclass(frozen=True)
class Loop:
    """Rounds of one corrector.

    Repair guided by counterexamples need not end (Boetius et al. 2023): the number of rounds is a
    budget, and not reaching zero is a result like any other.

    Attributes:
        corrector: what corrects.
        rounds: at most so many.
    """

    corrector: Corrector
    rounds: int = 3

    def run(
        self,
        network: Network,
        subject: Subject,
        seed: int,
        folder: RunFolder,
        stages: Sequence[Stage] | None = None,
        progress: Progress = NO_PROGRESS,
    ) -> int:
        """Correct a network until nothing is open, or the rounds end.

        Open is every sample outside the contradictions without an accepted certificate.

        Every round is kept under ``rounds/NN/`` and not done again by a run that goes on.

        Returns:
            The number of the round with the most accepted certificates, the first among equals.
        """
        family = subject.audit.family
        assert isinstance(family, LInf)  # nobody corrects for other regions yet
        aside = subject.audit.contradicted
        rows = np.setdiff1d(np.arange(len(subject.samples)), aside)
        open_rows, best, most = rows, 0, -1
        for number in range(1, self.rounds + 1):
            place = round_folder(number)
            done = folder.read_json(place + "round.json")
            if done is None:
                task = Task(
                    subject.samples,
                    family,
                    rows,
                    open_rows,
                    seed,
                    number,
                    subject.semantics,
                )
                done = self._round(network, task, subject, folder, stages, progress)
            network = read_network(folder.files.require(place + "certificates/artifact.onnx"))
            open_rows = np.array(done["open"], dtype=np.intp)
            if done["accepted"] > most:
                best, most = number, done["accepted"]
            if len(open_rows) == 0:
                break
        return best

    def _round(
        self,
        network: Network,
        task: Task,
        subject: Subject,
        folder: RunFolder,
        stages: Sequence[Stage] | None,
        progress: Progress,
    ) -> dict[str, Any]:
        place = round_folder(task.round)
        checkpoints = Checkpoints(folder.files, place + "checkpoint.safetensors")
        correction = self.corrector.attempt(network, task, checkpoints, progress)
        progress.say(
            f"round {task.round}: {correction.epochs} epochs, {correction.screened} of "
            f"{len(task.rows)} samples promising"
        )
        artifact = Artifact.from_network(correction.network)
        found = examine(artifact, subject, task.round, folder, stages, progress=progress)
        progress.say(
            f"round {task.round}: {int(found.evaluation.wrong.sum())} misclassified, "
            f"{len(found.counted)} certificates accepted, {len(found.open_rows)} open"
        )
        folder.write_json(place + "examination.json", found.to_json())
        record = self._record(correction, task, found.open_rows.tolist(), len(found.counted))
        folder.events.add(
            "round", model=artifact.digest, number=task.round, status=str(found.status)
        )
        folder.write_json(place + "round.json", record)
        checkpoints.clear()
        return record

    def _record(
        self, correction: Correction, task: Task, open_rows: list[int], accepted: int
    ) -> dict[str, Any]:
        return {
            "accepted": accepted,
            "corrector": self.corrector.settings(),
            "epochs": correction.epochs,
            "history": list(correction.history),
            "open": open_rows,
            "round": task.round,
            "screened": correction.screened,
        }
