"""The correction loop: correct, export, enumerate again, prove again, until nothing is open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.bugs import returned
from asi_verify.core.bug import BugState
from asi_verify.core.linf import LInf
from asi_verify.core.network import Network
from asi_verify.core.progress import NO_PROGRESS, Progress
from asi_verify.errors import UsageError
from asi_verify.export import Artifact
from asi_verify.lowering import read_network
from asi_verify.prove import Stage
from asi_verify.repair.checkpoints import Checkpoints
from asi_verify.repair.corrector import Correction, Corrector, Task
from asi_verify.repair.examine import Guarantees, Subject, examine
from asi_verify.repair.last_layer import LastLayer
from asi_verify.repair.local_patch import LocalPatch
from asi_verify.store import RunFolder

__all__ = ["Loop", "round_folder"]


def round_folder(number: int) -> str:
    """Where a round's files lie in the run folder."""
    return f"rounds/{number:02d}/"


@dataclass(frozen=True)
class Loop:
    """Rounds of one corrector, the last few samples by linear programme, and what is memorised.

    Repair guided by counterexamples need not end (Boetius et al. 2023): the number of rounds is a
    budget, and not reaching zero is a result like any other.

    Attributes:
        corrector: what corrects.
        rounds: at most so many of it.
        last_layer: asked after a round that leaves at most ``last_layer.most`` samples open. What
            it changes is a round of its own, beside those counted; the change is taken only if
            everything that was certified is certified again. None to leave it out.
        local_patch: asked when the rounds are over, about the best of them, if it left samples
            open; taken as ``last_layer`` is, if fewer are open then. None to leave it out.
    """

    corrector: Corrector
    rounds: int = 3
    last_layer: LastLayer | None = field(default_factory=LastLayer)
    local_patch: LocalPatch | None = None

    @classmethod
    def of(
        cls,
        corrector: Corrector,
        rounds: int,
        most_for_last_layer: int,
        local_patch: LocalPatch | None = None,
    ) -> Loop:
        """A loop that leaves the last layer alone if that is to repair 0 samples.

        Raises:
            UsageError: it is to repair fewer, or there is no round; or one is no whole number.
        """
        if type(rounds) is not int or rounds < 1:
            raise UsageError(f"rounds: {rounds!r}; a whole number, 1 or more, is expected")
        if type(most_for_last_layer) is not int or most_for_last_layer < 0:
            raise UsageError(
                f"last_layer: {most_for_last_layer!r}; a number of samples, 0 or more, is expected"
            )
        last = LastLayer(most_for_last_layer) if most_for_last_layer else None
        return cls(corrector, rounds, last, local_patch)

    def run(
        self,
        network: Network,
        subject: Subject,
        seed: int,
        folder: RunFolder,
        stages: Sequence[Stage] | None = None,
        progress: Progress = NO_PROGRESS,
        cores: int = 1,
    ) -> int:
        """Correct a network until nothing is open, or the rounds end.

        Open is every sample outside the contradictions that lacks an accepted certificate; samples
        of classes that must never be missed need two.

        Every round is kept under ``rounds/NN/`` and not done again by a run that goes on. What the
        last layer's programme said of a round is ``rounds/NN/last_layer.json``, and what became of
        memorising what it left open ``rounds/NN/local_patch.json``.

        Returns:
            The number of the round that leaves the fewest open, the first among equals, and never
            one whose change was not taken.
        """
        family = subject.audit.family
        assert isinstance(family, LInf)  # nobody corrects for other regions yet
        never_miss = subject.audit.never_miss
        rows = np.setdiff1d(np.arange(len(subject.samples)), subject.audit.contradicted)
        task = Task(
            subject.samples,
            family,
            rows,
            rows,
            seed,
            0,
            subject.semantics,
            subject.validation,
            None if never_miss is None else never_miss.family,
            subject.asked,
        )
        examined = _Examined(subject, folder, stages, progress, cores)
        open_rows, number, best, fewest = rows, 0, 0, len(rows) + 1
        for asked in range(1, self.rounds + 1):
            number += 1
            task = replace(task, open=open_rows, round=asked)
            done = examined.record(number)
            if done is None:
                done = examined.trained(number, self.corrector, network, task)
            network, open_rows = examined.outcome(number, done)
            if len(open_rows) < fewest:
                best, fewest = number, len(open_rows)
            if self.last_layer is not None and 0 < len(open_rows) <= self.last_layer.most:
                task = replace(task, open=open_rows)
                done = examined.repaired(number, number + 1, self.last_layer, network, task)
                if done is not None:
                    number += 1
                if done is not None and not done["lost"]:
                    network, open_rows = examined.outcome(number, done)
                    if len(open_rows) < fewest:
                        best, fewest = number, len(open_rows)
            if len(open_rows) == 0:
                break
        if self.local_patch is not None:
            network, open_rows = examined.outcome(best, examined.required(best))
            if len(open_rows) > 0:
                task = replace(task, open=open_rows, round=self.rounds)
                examined.keep(best, last=number)
                done = examined.repaired(best, number + 1, self.local_patch, network, task)
                if done is not None and not done["lost"] and len(done["open"]) < len(open_rows):
                    best = number + 1
        examined.keep(best)
        return best


@dataclass(frozen=True, eq=False)
class _Examined:
    """Rounds in a run folder: what a corrector gives back, examined and written down."""

    subject: Subject
    folder: RunFolder
    stages: Sequence[Stage] | None
    progress: Progress
    cores: int

    def record(self, number: int) -> dict[str, Any] | None:
        """What is written down of a round, if it is done."""
        found: dict[str, Any] | None = self.folder.read_json(round_folder(number) + "round.json")
        return found

    def required(self, number: int) -> dict[str, Any]:
        """What is written down of a round that is done."""
        found = self.record(number)
        assert found is not None
        return found

    def outcome(self, number: int, record: dict[str, Any]) -> tuple[Network, npt.NDArray[np.intp]]:
        """A round's network, as its artifact says, and the rows that it leaves open."""
        data = self.folder.files.require(round_folder(number) + "certificates/artifact.onnx")
        return read_network(data), np.array(record["open"], dtype=np.intp)

    def trained(
        self, number: int, corrector: Corrector, network: Network, task: Task
    ) -> dict[str, Any]:
        """A round of training."""
        checkpoints = Checkpoints(
            self.folder.files, round_folder(number) + "checkpoint.safetensors"
        )
        correction = corrector.attempt(network, task, checkpoints, self.progress)
        self.progress.say(
            f"round {number}: {correction.epochs} epochs, {correction.screened} of "
            f"{len(task.rows)} samples promising"
        )
        record = self._examine(number, corrector, correction, keep=None)
        checkpoints.clear()
        return record

    def repaired(
        self,
        number: int,
        becomes: int,
        corrector: LastLayer | LocalPatch,
        network: Network,
        task: Task,
    ) -> dict[str, Any] | None:
        """What a corrector of few makes of a round's network: round ``becomes``, or None."""
        told = round_folder(number) + corrector.kind.replace("-", "_") + ".json"
        effect = self.folder.read_json(told)
        if effect is not None and not effect["repaired"]:
            return None
        if effect is not None and (done := self.record(becomes)) is not None:
            return done
        correction = corrector.attempt(network, task, None, self.progress)
        self.folder.write_json(told, dict(correction.effect))
        if not correction.effect["repaired"]:
            self.progress.say(f"round {number}: {correction.effect['reason']}")
            return None
        keep = self._guarantees(number)
        return self._examine(becomes, corrector, correction, keep=keep)

    def keep(self, number: int, last: int | None = None) -> None:
        """Let the bug log say how bugs stand under a round's model, if it went on to later ones.

        With ``last``, only if it went on to that round at most.
        """
        log = self.folder.bugs
        seen = log.last_round()
        if seen is not None and number < seen and (last is None or seen <= last):
            examination = self.folder.read_json(round_folder(number) + "examination.json")
            log.save(returned(log.bugs(), number, examination["artifact"]), seen)

    def _guarantees(self, number: int) -> Guarantees:
        """What a round certified."""
        found = self.folder.read_json(round_folder(number) + "examination.json")
        audit = self.subject.audit
        named = found.get("never_miss", {"samples": []})["samples"]
        rows = {row for row, sample in enumerate(found["samples"]) if sample["accepted"]}
        return Guarantees(
            frozenset(rows) - set(audit.contradicted),
            frozenset(sample["row"] for sample in named if sample["accepted"])
            - set(audit.contradicted_named),
        )

    def _examine(
        self,
        number: int,
        corrector: Corrector,
        correction: Correction,
        keep: Guarantees | None,
    ) -> dict[str, Any]:
        place, folder = round_folder(number), self.folder
        artifact = Artifact.from_network(correction.network)
        found = examine(
            artifact,
            self.subject,
            number,
            folder,
            self.stages,
            keep=keep,
            progress=self.progress,
            corrector=corrector.kind,
            cores=self.cores,
        )
        lost = found.lost(keep)
        self.progress.say(
            f"round {number}: {int(found.evaluation.wrong.sum())} misclassified, "
            f"{len(found.counted)} certificates accepted, {len(found.open_rows)} open"
            + ("" if found.named is None else f"; never miss: {len(found.counted_named)} accepted")
            + (f", {len(found.exceptions)} memorised" if found.exceptions else "")
            + (f"; not taken, {len(lost)} lost" if lost else "")
        )
        folder.write_json(place + "examination.json", found.to_json())
        folder.events.add("round", model=artifact.digest, number=number, status=str(found.status))
        record = {
            "accepted": len(found.counted),
            "closed": _closed(folder, number),
            "corrector": corrector.settings(),
            "effect": dict(correction.effect),
            "epochs": correction.epochs,
            "history": list(correction.history),
            "lost": lost,
            "memorised": found.exceptions,
            "open": found.open_rows.tolist(),
            "round": number,
            "screened": correction.screened,
        }
        folder.write_json(place + "round.json", record)
        return record


def _closed(folder: RunFolder, number: int) -> int:
    """How many bugs a round closed that were not closed before it, as their traces tell."""
    return sum(
        bug.events[-1].round == number
        and bug.events[-1].state is BugState.CERTIFIED
        and not any(event.state is BugState.CERTIFIED for event in bug.events[-2:-1])
        for bug in folder.bugs.bugs()
    )
