"""Examine a model: enumerate its errors, prove, check the proofs, log the bugs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.audit import Audit
from asi_verify.bugs import Evaluation, Findings, evaluate, updated
from asi_verify.checker import CheckResult, Outcome, check_files
from asi_verify.core.canonical import array_digest
from asi_verify.core.certificate import Certificate
from asi_verify.core.claims import Claims, DatasetClaim
from asi_verify.core.local_patch import memorised_rows
from asi_verify.core.progress import NO_PROGRESS, Progress
from asi_verify.core.properties import Property, property_for
from asi_verify.core.query import Query
from asi_verify.core.region import Region
from asi_verify.core.semantics import Semantics
from asi_verify.core.status import Status
from asi_verify.core.verdict import Proved, Refuted, Verdict, describe
from asi_verify.data import Samples
from asi_verify.errors import SoundnessAlarm
from asi_verify.export import Artifact
from asi_verify.prove import Proof, Stage, prove
from asi_verify.prove.processes import margins_on
from asi_verify.store import RunFolder, write_certificates

__all__ = ["Certified", "Examination", "Guarantees", "Subject", "examine"]


@dataclass(frozen=True, eq=False)
class Subject:
    """What models are examined on.

    Attributes:
        name: the data set's.
        split: the split's name.
        samples: the split.
        audit: its audit, at the radius of the regions; with the classes that must never be missed.
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

    @property
    def named(self) -> npt.NDArray[np.intp]:
        """The samples of the classes that must never be missed; none if there are no such."""
        if self.audit.never_miss is None:
            return np.empty(0, dtype=np.intp)
        return np.flatnonzero(self.audit.never_miss.named(self.samples.labels))

    @property
    def asked(self) -> npt.NDArray[np.intp]:
        """Those of them that have to be certified in their larger regions."""
        return np.setdiff1d(self.named, self.audit.contradicted_named)

    def _telling(self, artifact: Artifact, claims: Claims) -> Claims:
        """Claims that name the rows in whose regions a model's local patches do something."""
        found = memorised_rows(artifact.network, claims.family, self.samples.images)
        contradicted = {row for pair in claims.contradictions for row in pair}
        return replace(claims, memorised=tuple(sorted(found - contradicted)))

    def claims(self, artifact: Artifact) -> Claims:
        """What a folder of certificates about a model claims, shards still to come."""
        claims = Claims(
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
        return self._telling(artifact, claims)

    def named_claims(self, artifact: Artifact) -> Claims:
        """The same of the classes that must never be missed, in their larger regions."""
        never_miss = self.audit.never_miss
        assert never_miss is not None
        claims = replace(
            self.claims(artifact),
            family=never_miss.family,
            contradictions=tuple(pair.rows for pair in self.audit.named_contradictions),
            never_miss=never_miss,
        )
        return self._telling(artifact, claims)


@dataclass(frozen=True, eq=False)
class Certified:
    """What was proved of some samples in regions of one family.

    Attributes:
        rows: the samples, in order.
        proof: a verdict for each, and what the stages did.
        checked: what the checker said of the certificates; None if none were written.
        memorised: rows outside the contradictions in whose regions a local patch does something.
    """

    rows: npt.NDArray[np.intp]
    proof: Proof
    checked: CheckResult | None
    memorised: frozenset[int]

    @property
    def accepted(self) -> dict[int, str]:
        """Digests of accepted certificates by row."""
        if self.checked is None:
            return {}
        return {row: self.checked.digests[row] for row in self.checked.rows(Outcome.ACCEPTED)}

    def verdicts(self) -> dict[int, Verdict]:
        """The verdicts by row."""
        return dict(zip(self.rows.tolist(), self.proof.verdicts, strict=True))


@dataclass(frozen=True)
class Guarantees:
    """Rows with accepted certificates that count.

    Attributes:
        rows: in the regions of all samples.
        named: in the larger regions of the classes that must never be missed.
    """

    rows: frozenset[int]
    named: frozenset[int] = frozenset()

    def without(self, other: Guarantees) -> frozenset[int]:
        """The rows that have something here that they have not there."""
        return (self.rows - other.rows) | (self.named - other.named)


@dataclass(frozen=True, eq=False)
class Examination:
    """What was found out about one model.

    Attributes:
        artifact: the model.
        evaluation: what it answers.
        certified: what was proved of all samples.
        subject: what it was examined on.
        named: what was proved of the classes that must never be missed, in their larger regions;
            None if there are no such classes.
    """

    artifact: Artifact
    evaluation: Evaluation
    certified: Certified
    subject: Subject
    named: Certified | None = None

    @property
    def accepted(self) -> dict[int, str]:
        """Digests of accepted certificates by row."""
        return self.certified.accepted

    @property
    def counted(self) -> frozenset[int]:
        """The accepted rows that count: those outside contradictions and not memorised."""
        aside = self.certified.memorised.union(self.subject.audit.contradicted)
        return frozenset(self.accepted) - aside

    @property
    def counted_named(self) -> frozenset[int]:
        """The same of the larger regions."""
        if self.named is None:
            return frozenset()
        aside = self.named.memorised.union(self.subject.audit.contradicted_named)
        return frozenset(self.named.accepted) - aside

    @property
    def status(self) -> Status:
        """Of the certified split under this model."""
        aside, memorised = len(self.subject.audit.contradicted), len(self.exceptions)
        covered = aside + memorised + len(self.counted)
        return Status(len(self.subject.samples) - covered, aside, memorised)

    @property
    def exceptions(self) -> list[int]:
        """The memorised rows with an accepted certificate."""
        return sorted(self.certified.memorised & self.accepted.keys())

    @property
    def named_status(self) -> Status:
        """Of the classes that must never be missed, in their larger regions.

        Of these there are no exceptions: what is memorised is open.
        """
        asked, named = self.subject.asked, self.subject.named
        return Status(len(asked) - len(self.counted_named), len(named) - len(asked))

    @property
    def open_rows(self) -> npt.NDArray[np.intp]:
        """Rows outside the contradictions that lack an accepted certificate, of either kind."""
        rows = np.arange(len(self.subject.samples))
        lacking = np.setdiff1d(rows, [*self.accepted, *self.subject.audit.contradicted])
        return np.union1d(lacking, np.setdiff1d(self.subject.asked, list(self.counted_named)))

    @property
    def guarantees(self) -> Guarantees:
        """What is certified and counts."""
        return Guarantees(self.counted, self.counted_named)

    def lost(self, keep: Guarantees | None) -> list[int]:
        """The rows of some guarantees that do not have them any more."""
        return [] if keep is None else sorted(keep.without(self.guarantees))

    def findings(self, round_: int, corrector: str) -> Findings:
        """For the bug log, with what made the model.

        A sample that has to be certified in two regions counts as certified in both or in none, and
        an error in the larger one is an error.
        """
        verdicts, accepted = self.certified.verdicts(), self.accepted
        larger = {} if self.named is None else self.named.verdicts()
        counted = self.counted_named
        for row in self.subject.asked.tolist():
            if row not in counted:
                accepted.pop(row, None)
            if not isinstance(verdicts[row], Refuted):
                verdicts[row] = larger[row]
        return Findings(
            round_,
            self.artifact.digest,
            self.subject.samples,
            self.evaluation,
            verdicts,
            accepted,
            frozenset(self.subject.audit.contradicted),
            self.subject.suspected,
            corrector,
        )

    def to_json(self) -> dict[str, Any]:
        """For the run folder: one entry per sample, and what the stages did; no pixels."""
        accepted = self.accepted
        found: dict[str, Any] = {
            "artifact": self.artifact.digest,
            "memorised": self.exceptions,
            "misclassified": int(self.evaluation.wrong.sum()),
            "parity": self.artifact.parity.differences,
            "samples": [
                {
                    "accepted": row in accepted,
                    "margin": _number(self.evaluation.margins[row]),
                    "prediction": np.atleast_1d(self.evaluation.predictions[row]).tolist(),
                    **describe(verdict),
                }
                for row, verdict in self.certified.verdicts().items()
            ],
            "stages": [asdict(stage) for stage in self.certified.proof.stages],
            "status": str(self.status),
        }
        if self.named is not None:
            larger = self.named.accepted
            found["never_miss"] = {
                "memorised": sorted(self.named.memorised & larger.keys()),
                "samples": [
                    {"accepted": row in larger, "row": row, **describe(verdict)}
                    for row, verdict in self.named.verdicts().items()
                ],
                "stages": [asdict(stage) for stage in self.named.proof.stages],
                "status": str(self.named_status),
            }
        return found


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
    keep: Guarantees | None = None,
    progress: Progress = NO_PROGRESS,
    corrector: str = "",
    cores: int = 1,
) -> Examination:
    """Examine a model and bring the bug log up to date.

    Args:
        artifact: the model.
        subject: what it is examined on.
        round_: the number of the round; its files lie under ``rounds/NN/``.
        folder: where certificates and bugs are kept.
        stages: of the cascade.
        certify: write certificates and check them; without, nothing becomes certified.
        keep: what has to be certified again. If something is not, the model is not to be taken,
            and the bug log stays as it was.
        progress: told of samples.
        corrector: what made the model, for the traces of bugs.
        cores: processes that prove and check.

    Raises:
        SoundnessAlarm: the checker rejects a certificate that was just written.
        ModelError: the model does not fit the samples.
    """
    evaluation = evaluate(artifact, subject.samples)
    properties = subject.properties(artifact, evaluation)
    place = f"rounds/{round_:02d}/"

    def certified(claims: Claims, rows: npt.NDArray[np.intp], name: str) -> Certified:
        """What is proved of some samples in the regions of some claims."""
        whole = len(rows) == len(subject.samples)
        samples = subject.samples if whole else subject.samples.take(rows)
        wanted = [properties[row] for row in rows]
        proof = prove(
            artifact,
            claims.family,
            samples.images,
            samples.image_digests,
            wanted,
            stages,
            subject.semantics,
            progress,
            cores=cores,
        )
        if not certify:
            return Certified(rows, proof, None, frozenset(claims.memorised))
        _write(folder, place + name, artifact, claims, rows, wanted, samples.image_digests, proof)
        checked = _checked(folder, place + name, subject.samples, cores)
        return Certified(rows, proof, checked, frozenset(claims.memorised))

    everything = np.arange(len(subject.samples))
    main = certified(subject.claims(artifact), everything, "certificates/")
    named = None
    if subject.audit.never_miss is not None:
        named = certified(subject.named_claims(artifact), subject.named, "never_miss/")
    examination = Examination(artifact, evaluation, main, subject, named)
    last = folder.bugs.last_round()
    if (last is None or last < round_) and not examination.lost(keep):
        findings = examination.findings(round_, corrector)
        folder.bugs.save(updated(folder.bugs.bugs(), findings), round_)
    return examination


def _write(
    folder: RunFolder,
    prefix: str,
    artifact: Artifact,
    claims: Claims,
    rows: npt.NDArray[np.intp],
    properties: Sequence[Property],
    digests: Sequence[str],
    proof: Proof,
) -> None:
    certificates = [
        Certificate(
            row,
            Query(claims.artifact, Region(claims.family, digest), property_, claims.semantics),
            verdict.evidence,
        )
        for row, verdict, property_, digest in zip(
            rows.tolist(), proof.verdicts, properties, digests, strict=True
        )
        if isinstance(verdict, Proved)
    ]
    write_certificates(folder.files, prefix, claims, artifact.data, certificates, proof.parts)


def _checked(folder: RunFolder, prefix: str, samples: Samples, cores: int) -> CheckResult:
    """Check from the written files alone; a rejection is a defect of ours."""
    result = check_files(
        lambda name: folder.files.require(prefix + name),
        samples.images,
        samples.labels,
        margins_on(cores),
    )
    rejected = result.rows(Outcome.REJECTED)
    if result.refused or rejected:
        reason = result.refused[0] if result.refused else result.reasons[rejected[0]]
        raise SoundnessAlarm(
            f"the checker rejects certificates that were just written ({len(rejected)} rows; "
            f"{reason}). Please report this with the run folder"
        )
    return result
