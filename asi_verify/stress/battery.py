"""The battery: edge cases, corruptions, attacks and determinism, against what a run claims."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.bugs import evaluate
from asi_verify.checker import CheckResult, Outcome, check_files
from asi_verify.core.canonical import bytes_digest
from asi_verify.core.certificate import Certificate
from asi_verify.core.claims import ARTIFACT_FILE, CLAIMS_FILE, Claims
from asi_verify.core.images import encode
from asi_verify.core.progress import NO_PROGRESS, Progress
from asi_verify.data import Samples
from asi_verify.errors import UsageError
from asi_verify.export import Artifact
from asi_verify.stress.attacks import Attack, attack_library_version, attacked, default_attacks
from asi_verify.stress.claimed import Alarm, Claimed, Trial
from asi_verify.stress.corruptions import CORRUPTIONS, SEVERITIES, corrupted
from asi_verify.stress.determinism import Determinism, determinism
from asi_verify.stress.edge_cases import blends, constant_images, members

__all__ = ["SCHEMA", "Battery", "Validation", "validation_schema"]

SCHEMA = "asi-verify/validation/1"

Reader = Callable[[str], bytes]


@dataclass(frozen=True)
class Battery:
    """What is tried.

    Attributes:
        attacks: of the attack library; empty to leave them out.
        most: at most so many samples are attacked, those with the smallest margins first; the other
            trials take all.
        seed: of everything random.
    """

    attacks: tuple[Attack, ...] = field(default_factory=default_attacks)
    most: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        if type(self.most) is not int or self.most < 1:
            raise UsageError(f"most: {self.most!r}; a number of samples, 1 or more, is expected")

    def run(
        self,
        read: Reader,
        samples: Samples,
        others: dict[str, Samples],
        progress: Progress = NO_PROGRESS,
        never_miss: Reader | None = None,
    ) -> Validation:
        """Try everything that a folder of certificates claims.

        Args:
            read: gives the folder's files.
            samples: the certified split.
            others: the splits that corruptions are made of, by name.
            progress: told of trials.
            never_miss: gives the files of the second set of certificates, about the larger regions
                of classes that must never be missed.

        Raises:
            UsageError: the files cannot be read, or attacks are wanted and cannot be had.
        """
        artifact = Artifact.from_bytes(read(ARTIFACT_FILE))
        tried = self._tried(read, samples, progress)
        claimed, alarms = tried.claimed, tried.alarms
        edge_cases, attacks = tried.members, tried.attacks
        constants: dict[str, list[int]] = {}
        found: Determinism | None = None
        if claimed is not None:
            edge_cases = (*edge_cases, *blends(claimed))
            constants = constant_images(claimed)
            found, wrong = determinism(claimed)
            alarms = (*alarms, *wrong)
        regions = tried.regions
        if never_miss is not None:
            larger = self._tried(never_miss, samples, progress).called("never miss: ")
            regions += larger.regions
            alarms = (*alarms, *larger.alarms)
            edge_cases = (*edge_cases, *larger.members)
            attacks = (*attacks, *larger.attacks)
        return Validation(
            artifact.digest,
            bytes_digest(read(CLAIMS_FILE)),
            regions,
            alarms,
            edge_cases,
            constants,
            _corruptions(artifact, others, self.seed, progress),
            attacks,
            attack_library_version() if self.attacks else None,
            found,
            self.to_json(),
        )

    def _tried(self, read: Reader, samples: Samples, progress: Progress) -> _Tried:
        """Check one set of certificates, and try the regions that they are about."""
        claims = Claims.from_bytes(read(CLAIMS_FILE))
        artifact = Artifact.from_bytes(read(ARTIFACT_FILE))
        alarms = _refusals(check_files(read, samples.images, samples.labels))
        claimed = _claimed(read, claims, artifact, samples)
        inside: list[Trial] = []
        attacks: list[Trial] = []
        if claimed is not None:
            for name, points in members(claimed, self.seed):
                trial, wrong = claimed.judge(name, points)
                inside.append(trial)
                alarms += wrong
            weakest = self._weakest(claimed)
            with progress.task("attacks", len(self.attacks)) as advance:
                for attack in self.attacks:
                    trial, wrong = attacked(attack, weakest, self.seed)
                    attacks.append(trial)
                    alarms += wrong
                    advance(1)
        return _Tried(claimed, tuple(alarms), tuple(inside), tuple(attacks))

    def _weakest(self, claimed: Claimed) -> Claimed:
        margins = claimed.margins(encode(claimed.images))
        return claimed.take(np.argsort(margins, kind="stable")[: self.most])

    def to_json(self) -> dict[str, Any]:
        """Everything."""
        return {
            "attacks": [attack.to_json() for attack in self.attacks],
            "most": self.most,
            "seed": self.seed,
        }


@dataclass(frozen=True, eq=False)
class _Tried:
    """What was found of one set of certificates.

    Attributes:
        claimed: what it claims; None if that is nothing.
        alarms: what contradicts it.
        members: trials with members of its regions.
        attacks: trials of attacks.
    """

    claimed: Claimed | None
    alarms: tuple[Alarm, ...]
    members: tuple[Trial, ...]
    attacks: tuple[Trial, ...]

    @property
    def regions(self) -> int:
        """How many are claimed to be proved."""
        return 0 if self.claimed is None else len(self.claimed)

    def called(self, prefix: str) -> _Tried:
        """The same under other names."""
        return _Tried(
            self.claimed,
            tuple(replace(alarm, trial=prefix + alarm.trial) for alarm in self.alarms),
            tuple(replace(trial, name=prefix + trial.name) for trial in self.members),
            tuple(replace(trial, name=prefix + trial.name) for trial in self.attacks),
        )


@dataclass(frozen=True, eq=False)
class Validation:
    """What a battery found.

    Attributes:
        model: the artifact's SHA-256.
        claims: the SHA-256 of the file of claims.
        claimed: how many regions are claimed to be proved.
        alarms: what contradicts a claim; empty, or something is badly wrong.
        edge_cases: members of regions, and blends.
        constant_images: what the model answers to images of one grey.
        corruptions: accuracy by split, corruption and severity; under ``"none"`` as they are.
        attacks: by others' code.
        attack_library: its version; None where nothing was attacked.
        determinism: None where nothing is claimed.
        battery: what was tried.
    """

    model: str
    claims: str
    claimed: int
    alarms: tuple[Alarm, ...]
    edge_cases: tuple[Trial, ...]
    constant_images: dict[str, list[int]]
    corruptions: dict[str, dict[str, list[float]]]
    attacks: tuple[Trial, ...]
    attack_library: str | None
    determinism: Determinism | None
    battery: dict[str, Any]

    @property
    def holds(self) -> bool:
        """Whether something is claimed, was tried in every way, and nothing contradicts it."""
        trials = (*self.edge_cases, *self.attacks)
        answered = all(trial.tried for trial in trials if trial.inside)
        return self.claimed > 0 and answered and not self.alarms

    def to_json(self) -> dict[str, Any]:
        """Everything; no pixels."""
        return {
            "alarms": [alarm.to_json() for alarm in self.alarms],
            "attack_library": self.attack_library,
            "attacks": [trial.to_json() for trial in self.attacks],
            "battery": self.battery,
            "claimed": self.claimed,
            "claims": self.claims,
            "constant_images": self.constant_images,
            "corruptions": self.corruptions,
            "determinism": None if self.determinism is None else self.determinism.to_json(),
            "edge_cases": [trial.to_json() for trial in self.edge_cases],
            "model": self.model,
            "schema": SCHEMA,
        }


def validation_schema() -> dict[str, Any]:
    """The JSON schema of ``validation.json``."""
    place = resources.files("asi_verify.stress").joinpath("schema/validation-1.json")
    schema: dict[str, Any] = json.loads(place.read_text("utf-8"))
    return schema


def _refusals(checked: CheckResult) -> list[Alarm]:
    """What the checker does not accept of what is claimed."""
    whole = [Alarm("check", None, f"the folder is refused: {reason}") for reason in checked.refused]
    return whole + [
        Alarm("check", row, f"the certificate is rejected: {checked.reasons[row]}")
        for row in checked.rows(Outcome.REJECTED)
    ]


def _claimed(read: Reader, claims: Claims, artifact: Artifact, samples: Samples) -> Claimed | None:
    """The samples with a certificate, whether or not it holds; None if there are none."""
    certificates = {
        certificate.row: certificate
        for shard in claims.shards
        for certificate in map(Certificate.from_bytes, read(shard.file).splitlines())
        if certificate.row < len(samples)
    }
    rows = sorted(certificates)
    if not rows:
        return None
    return Claimed(
        artifact,
        claims.family,
        tuple(rows),
        samples.images[rows],
        samples.labels[rows],
        tuple(certificates[row].query.property_ for row in rows),
    )


def _corruptions(
    artifact: Artifact, others: dict[str, Samples], seed: int, progress: Progress
) -> dict[str, dict[str, list[float]]]:
    """Accuracies; nothing is claimed of these images."""
    found: dict[str, dict[str, list[float]]] = {}
    with progress.task("corruptions", len(others) * len(CORRUPTIONS)) as advance:
        for split, samples in others.items():
            found[split] = {"none": [_accuracy(artifact, samples, samples.images)]}
            for kind in CORRUPTIONS:
                found[split][kind] = [
                    _accuracy(artifact, samples, corrupted(kind, severity, samples.images, seed))
                    for severity in SEVERITIES
                ]
                advance(1)
    return found


def _accuracy(artifact: Artifact, samples: Samples, images: npt.NDArray[Any]) -> float:
    changed = Samples(images, samples.labels)
    return evaluate(artifact, changed).accuracy
