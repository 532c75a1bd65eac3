"""Examine a model: enumerate its errors, prove, check the proofs, log the bugs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.audit import Audit
from asi_verify.bugs import Evaluation, Findings, evaluate, updated
from asi_verify.checker import CheckResult, Outcome, check_files
from asi_verify.core.canonical import array_digest
from asi_verify.core.certificate import Certificate
from asi_verify.core.claims import Claims, DatasetClaim
from asi_verify.core.progress import NO_PROGRESS, Progress
from asi_verify.core.properties import Property, property_for
from asi_verify.core.query import Query
from asi_verify.core.region import Region
from asi_verify.core.semantics import Semantics
from asi_verify.core.status import Status
from asi_verify.core.verdict import Proved, describe
from asi_verify.data import Samples
from asi_verify.errors import SoundnessAlarm
from asi_verify.export import Artifact
from asi_verify.prove import Proof, Stage, prove
from asi_verify.store import RunFolder, write_certificates

__all__ = ["Examination", "Subject", "examine"]


@dataclass(frozen=True, eq=False)
class Subject:
    """What models are examined on.

    Attributes:
        name: the data set's.
        split: the split's name.
        samples: the split.
        audit: its audit, at the radius of the regions.
        target: ``"label"``, or ``"prediction"``: whatever the model answers is to be stable.
        provenance: versions and settings, for the certificates.
        semantics: in which arithmetic the properties have to hold.
        suspected: rows whose label is suspected; for the categories of bugs alone.
        validation: for correctors alone, which may choose by it.
    """

    name: str
    split: str
    samples: Samples
    audit: Audit
    target: str = "label"
    provenance: dict[str, Any] = field(default_factory=dict)
    semantics: Semantics = Semantics.FLOAT32
    suspected: frozenset[int] = frozenset()
    validation: Samples | None = None

    def properties(self, artifact: Artifact, evaluation: Evaluation) -> list[Property]:
        """What is asked of the model on each sample."""
        labels = self.samples.labels if self.target == "label" else evaluation.predictions
        return [property_for(label, artifact.network.logits) for label in labels]

    def claims(self, artifact: Artifact) -> Claims:
        """What a folder of certificates about a model claims, shards still to come."""
        return Claims(
            artifact.digest,
            DatasetClaim(
                self.name,
                self.split,
                len(self.samples),
                array_digest(self.samples.images),
                array_digest(self.samples.labels),
                self.target,
            ),
            self.audit.family,
            self.semantics,
            tuple(pair.rows for pair in self.audit.contradictions),
            (),
            self.provenance,
        )


@dataclass(frozen=True, eq=False)
class Examination:
    """What was found out about one model.

    Attributes:
        artifact: the model.
        evaluation: what it answers.
        proof: verdicts and what the stages did.
        checked: what the checker said of the certificates; None if none were written.
    """

    artifact: Artifact
    evaluation: Evaluation
    proof: Proof
    checked: CheckResult | None
    subject: Subject

    @property
    def accepted(self) -> dict[int, str]:
        """Digests of accepted certificates by row."""
        if self.checked is None:
            return {}
        return {row: self.checked.digests[row] for row in self.checked.rows(Outcome.ACCEPTED)}

    @property
    def counted(self) -> frozenset[int]:
        """The accepted rows that count: those outside the contradictions."""
        return frozenset(self.accepted) - set(self.subject.audit.contradicted)

    @property
    def status(self) -> Status:
        """Of the certified split under this model."""
        aside = len(self.subject.audit.contradicted)
        return Status(len(self.subject.samples) - aside - len(self.counted), aside)

    @property
    def open_rows(self) -> npt.NDArray[np.intp]:
        """Rows outside the contradictions without an accepted certificate."""
        rows = np.arange(len(self.subject.samples))
        return np.setdiff1d(rows, [*self.accepted, *self.subject.audit.contradicted])

    def lost(self, keep: npt.NDArray[np.intp] | None) -> list[int]:
        """Those of some rows that have no accepted certificate."""
        return [] if keep is None else np.setdiff1d(keep, list(self.accepted)).tolist()

    def to_json(self) -> dict[str, Any]:
        """For the run folder: one entry per sample, and what the stages did; no pixels."""
        accepted = self.accepted
        return {
            "artifact": self.artifact.digest,
            "misclassified": int(self.evaluation.wrong.sum()),
            "parity": self.artifact.parity.differences,
            "samples": [
                {
                    "accepted": row in accepted,
                    "margin": _number(self.evaluation.margins[row]),
                    "prediction": np.atleast_1d(self.evaluation.predictions[row]).tolist(),
                    **describe(verdict),
                }
                for row, verdict in enumerate(self.proof.verdicts)
            ],
            "stages": [asdict(stage) for stage in self.proof.stages],
            "status": str(self.status),
        }


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return float(value) if math.isfinite(value) else None


def examine(
    artifact: Artifact,
    subject: Subject,
    round_: int,
    folder: RunFolder,
    stages: Sequence[Stage] | None = None,
    certify: bool = True,
    keep: npt.NDArray[np.intp] | None = None,
    progress: Progress = NO_PROGRESS,
) -> Examination:
    """Examine a model and bring the bug log up to date.

    Args:
        artifact: the model.
        subject: what it is examined on.
        round_: the number of the round; its files lie under ``rounds/NN/``.
        folder: where certificates and bugs are kept.
        stages: of the cascade.
        certify: write certificates and check them; without, nothing becomes certified.
        keep: rows that must have accepted certificates. If one has none, the model is not to be
            taken, and the bug log stays as it was.
        progress: told of samples.

    Raises:
        SoundnessAlarm: the checker rejects a certificate that was just written.
        ModelError: the model does not fit the samples.
    """
    samples = subject.samples
    evaluation = evaluate(artifact, samples)
    proof = prove(
        artifact,
        subject.audit.family,
        samples.images,
        samples.image_digests,
        subject.properties(artifact, evaluation),
        stages,
        subject.semantics,
        progress,
    )
    checked = None
    if certify:
        prefix = f"rounds/{round_:02d}/certificates/"
        _write(folder, prefix, artifact, subject, evaluation, proof)
        checked = _checked(folder, prefix, samples)
    examination = Examination(artifact, evaluation, proof, checked, subject)
    findings = Findings(
        round_,
        artifact.digest,
        samples,
        evaluation,
        dict(enumerate(proof.verdicts)),
        examination.accepted,
        frozenset(subject.audit.contradicted),
        subject.suspected,
    )
    last = folder.bugs.last_round()
    if (last is None or last < round_) and not examination.lost(keep):
        folder.bugs.save(updated(folder.bugs.bugs(), findings), round_)
    return examination


def _write(
    folder: RunFolder,
    prefix: str,
    artifact: Artifact,
    subject: Subject,
    evaluation: Evaluation,
    proof: Proof,
) -> None:
    certificates = [
        Certificate(
            row,
            Query(
                artifact.digest,
                Region(subject.audit.family, subject.samples.image_digests[row]),
                property_,
                subject.semantics,
            ),
            verdict.evidence,
        )
        for row, (verdict, property_) in enumerate(
            zip(proof.verdicts, subject.properties(artifact, evaluation), strict=True)
        )
        if isinstance(verdict, Proved)
    ]
    claims = subject.claims(artifact)
    write_certificates(folder.files, prefix, claims, artifact.data, certificates, proof.parts)


def _checked(folder: RunFolder, prefix: str, samples: Samples) -> CheckResult:
    """Check from the written files alone; a rejection is a defect of ours."""
    result = check_files(
        lambda name: folder.files.require(prefix + name), samples.images, samples.labels
    )
    rejected = result.rows(Outcome.REJECTED)
    if result.refused or rejected:
        reason = result.refused[0] if result.refused else result.reasons[rejected[0]]
        raise SoundnessAlarm(
            f"the checker rejects certificates that were just written ({len(rejected)} rows; "
            f"{reason}). Please report this with the run folder"
        )
    return result
