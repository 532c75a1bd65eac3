"""A finished run as a statement speaks of it, made from its files and compared among themselves."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from asi_verify.attest.reading import LARGEST_TEXT, Reader, read_json, same_json
from asi_verify.core.canonical import bytes_digest
from asi_verify.core.certificate import Certificate
from asi_verify.core.claims import ARTIFACT_FILE, CLAIMS_FILE, Claims, Shard
from asi_verify.core.evidence import SolverEvidence
from asi_verify.core.status import Status
from asi_verify.errors import AttestationError, CertificateError
from asi_verify.store import EVENTS_FILE, RUN_FILE, read_chain

__all__ = ["CERTIFICATES", "FINISHED", "RESULT_FILE", "RunFiles"]

CERTIFICATES = "certificates/"
NEVER_MISS = "never_miss/"
RESULT_FILE = "result.json"
FINISHED = "finished"
"""The last event of a log that a statement is about."""

_KINDS = ("certify", "correct", "run")
_COUNTS = ("accepted", "contradictions", "misclassified", "open", "samples")
_NAMED_COUNTS = ("accepted", "contradictions", "open", "samples")


class RunFiles:
    """A run's files; each part is read and compared when it is asked for.

    A part is a subject of the statement (an in-toto resource descriptor) or the predicate. Every
    method raises a ``UsageError`` with the reason if a file is missing, cannot be read, or does not
    fit the others.
    """

    def __init__(self, read: Reader) -> None:
        self._read = read

    @cached_property
    def claims(self) -> Claims:
        """What the certificates claim."""
        return self._claims(CERTIFICATES)

    @cached_property
    def named_claims(self) -> Claims:
        """What the certificates of classes that must never be missed claim.

        Beside the others, and of what the run was asked for.
        """
        found, main = self._claims(NEVER_MISS), self.claims
        asked, only = self._settings().get("never_miss"), found.never_miss
        beside = (
            only is not None
            and only.others == main.family
            and same_json({"family": found.family.to_json(), "labels": list(only.labels)}, asked)
            and (found.artifact, found.dataset, found.semantics)
            == (main.artifact, main.dataset, main.semantics)
        )
        if not beside:
            raise AttestationError(
                f"{NEVER_MISS}{CLAIMS_FILE}: it is not about the classes and regions that the run "
                f"was asked for, or about others than {CERTIFICATES}{CLAIMS_FILE} is about"
            )
        return found

    def _claims(self, place: str) -> Claims:
        name = place + CLAIMS_FILE
        try:
            return Claims.from_bytes(self._read(name), name)
        except CertificateError as error:
            raise AttestationError(str(error)) from None

    def asks_for_classes(self) -> bool:
        """Whether the run was asked never to miss some classes."""
        return "never_miss" in self._settings()

    def model(self) -> dict[str, Any]:
        """The artifact, which is the one that the claims are about."""
        name = CERTIFICATES + ARTIFACT_FILE
        found = bytes_digest(self._read(name))
        if found != self.claims.artifact:
            raise AttestationError(
                f"{name}: its SHA-256 is {found}, the claims are about the model "
                f"{self.claims.artifact}: this is another model"
            )
        return _file(name, found)

    def certificates(self) -> dict[str, Any]:
        """The claims, with every file of certificates that they name."""
        return self._compared(CERTIFICATES, self.claims)

    def named_certificates(self) -> dict[str, Any]:
        """The same of the classes that must never be missed, with the model beside them."""
        name = NEVER_MISS + ARTIFACT_FILE
        if bytes_digest(self._read(name)) != self.named_claims.artifact:
            raise AttestationError(f"{name}: the claims beside it are about another model")
        return self._compared(NEVER_MISS, self.named_claims)

    def _compared(self, place: str, claims: Claims) -> dict[str, Any]:
        for shard in claims.shards:
            self._compare_shard(place, shard)
        # The bytes of the file: claims have one form only, so these are they.
        return _file(place + CLAIMS_FILE, bytes_digest(claims.to_bytes()))

    def _compare_shard(self, place: str, shard: Shard) -> None:
        data = self._read(place + shard.file)
        files = [(shard.file, bytes_digest(data), shard.sha256)]
        if shard.container is not None:
            name, claimed = shard.container
            files.append((name, bytes_digest(self._read(place + name)), claimed))
        for name, found, claimed in files:
            if found != claimed:
                raise AttestationError(
                    f"{place}{name}: its SHA-256 is {found}, the claims name {claimed}: the "
                    "certificates were changed"
                )
        lines = data.count(b"\n")
        if lines != shard.certificates:
            raise AttestationError(
                f"{place}{shard.file}: {lines} certificates, the claims say {shard.certificates}"
            )

    def images(self) -> dict[str, Any]:
        """The certified split's images, by the digest in the claims; nothing is read of them."""
        return self._array("images", self.claims.dataset.images)

    def labels(self) -> dict[str, Any]:
        """Likewise its labels."""
        return self._array("labels", self.claims.dataset.labels)

    def _array(self, what: str, digest: str) -> dict[str, Any]:
        claimed = self.claims.dataset
        annotations = {"array": "asi-verify/array/1", "dataset": claimed.name}
        return {
            "annotations": annotations | {"split": claimed.split},
            "digest": {"sha256": digest},
            "name": f"dataset/{what}",
        }

    def result(self) -> dict[str, Any]:
        """The figures of the run."""
        return _file(RESULT_FILE, bytes_digest(self._read(RESULT_FILE)))

    def events(self) -> dict[str, Any]:
        """The event log: the chain fits, begins with these settings and ends with this result."""
        data = self._read(EVENTS_FILE)
        if len(data) > LARGEST_TEXT:
            raise AttestationError(f"{EVENTS_FILE}: larger than {LARGEST_TEXT} bytes")
        chain = read_chain(data)
        settings = bytes_digest(self._read(RUN_FILE))
        if chain.settings != settings:
            raise AttestationError(
                f"{EVENTS_FILE}, line 1: begun for the settings {chain.settings}, the SHA-256 of "
                f"{RUN_FILE} is {settings}: the settings were changed"
            )
        last = chain.events[-1]
        if last["event"] != FINISHED or not same_json(last["details"], self.end()):
            raise AttestationError(
                f"{EVENTS_FILE}, line {len(chain.events)}: the log does not end with this result"
            )
        numbers = {"events": len(chain.events), "head": chain.head}
        return {**_file(EVENTS_FILE, bytes_digest(data)), "annotations": numbers}

    def end(self) -> dict[str, str]:
        """What the last event of the log names."""
        named = {}
        if self.asks_for_classes():
            named = {"never_miss": bytes_digest(self._read(NEVER_MISS + CLAIMS_FILE))}
        return named | {
            "claims": bytes_digest(self._read(CERTIFICATES + CLAIMS_FILE)),
            "model": self.claims.artifact,
            "result": bytes_digest(self._read(RESULT_FILE)),
            "status": str(self.predicate()["status"]),
        }

    def predicate(self) -> dict[str, Any]:
        """What is stated of the subjects; the same inputs give the same predicate.

        Counts in the result that cannot be those of these claims and certificates are refused; a
        certificate that rests on a solver's word is none that was accepted. That an accepted one
        holds is not looked at here: it is what ``check`` is for.
        """
        claims, counts = self.claims, self._counts(self._result(), _COUNTS)
        memorised = self._memorised()
        contradicted = {row for pair in claims.contradictions for row in pair}
        proved = self._proved - contradicted
        counted = proved - set(claims.memorised)
        fits = (
            counts["samples"] == claims.dataset.samples
            and counts["contradictions"] == len(contradicted)
            and counts["accepted"] + len(memorised) + counts["contradictions"] + counts["open"]
            == counts["samples"]
            and counts["accepted"] <= len(counted)
            and memorised <= proved - counted
            and counts["misclassified"] <= counts["samples"]
        )
        if not fits:
            raise AttestationError(
                f"{RESULT_FILE}: the counts {counts} are not those of claims about "
                f"{claims.dataset.samples} samples, {len(contradicted)} of them in contradictions "
                f"and {len(claims.memorised)} memorised ({len(memorised)} in the result), with "
                f"certificates that can be accepted for {len(counted)} of the others"
            )
        named = {"never_miss": self._named_predicate()} if self.asks_for_classes() else {}
        return named | {
            "claim": {
                "region": claims.family.to_json(),
                "semantics": claims.semantics.value,
                "target": claims.dataset.target,
            },
            "counts": {**counts, "certificates": _written(claims)}
            | ({"memorised": len(memorised)} if memorised else {}),
            "dataset": {"name": claims.dataset.name, "split": claims.dataset.split},
            "kind": self._kind(),
            "status": str(Status(counts["open"], counts["contradictions"], len(memorised))),
            "versions": self._versions(),
        }

    def _named_predicate(self) -> dict[str, Any]:
        """What is stated of classes that must never be missed.

        Which rows are of these classes the labels say, which are not looked at here. None of them
        counts that is memorised.
        """
        claims = self.named_claims
        assert claims.never_miss is not None
        given = self._result().get("never_miss")
        counts = self._counts(given if isinstance(given, dict) else {}, _NAMED_COUNTS)
        contradicted = {row for pair in claims.contradictions for row in pair}
        proved = self._proved_named - contradicted - set(claims.memorised)
        possible = (
            counts["samples"] <= claims.dataset.samples
            and counts["contradictions"] <= len(contradicted)
            and counts["accepted"] + counts["contradictions"] + counts["open"] == counts["samples"]
            and counts["accepted"] <= len(proved)
        )
        if not possible:
            raise AttestationError(
                f"{RESULT_FILE}: the counts {counts} of never_miss are not those of claims with "
                f"certificates that can be accepted for {len(proved)} samples"
            )
        return {
            "claim": {"region": claims.family.to_json(), **claims.never_miss.to_json()},
            "counts": {**counts, "certificates": _written(claims)},
            "status": str(Status(counts["open"], counts["contradictions"])),
        }

    @cached_property
    def _proved(self) -> set[int]:
        return self._proved_rows(CERTIFICATES, self.claims)

    @cached_property
    def _proved_named(self) -> set[int]:
        return self._proved_rows(NEVER_MISS, self.named_claims)

    def _proved_rows(self, place: str, claims: Claims) -> set[int]:
        """The rows with a certificate that the checker can accept: not a solver's word."""
        rows = set()
        for shard in claims.shards:
            name = place + shard.file
            try:
                found = [Certificate.from_bytes(line) for line in self._read(name).splitlines()]
            except CertificateError as error:
                raise AttestationError(f"{name}: {error}") from None
            rows |= {c.row for c in found if not isinstance(c.evidence, SolverEvidence)}
        return rows & set(range(claims.dataset.samples))

    def _counts(self, found: dict[str, Any], names: tuple[str, ...]) -> dict[str, int]:
        counts = {name: found.get(name) for name in names}
        for name, value in counts.items():
            if type(value) is not int or value < 0:
                raise AttestationError(f"{RESULT_FILE}: {name} is {value!r}, not a count")
        return {name: int(value) for name, value in counts.items() if value is not None}

    def _result(self) -> dict[str, Any]:
        return read_json(self._read(RESULT_FILE), RESULT_FILE)

    def _settings(self) -> dict[str, Any]:
        return read_json(self._read(RUN_FILE), RUN_FILE)

    def _memorised(self) -> set[int]:
        rows = self._result().get("memorised", [])
        if not isinstance(rows, list) or not all(type(row) is int for row in rows):
            raise AttestationError(f"{RESULT_FILE}: memorised is {rows!r}, not a list of rows")
        return set(rows)

    def _kind(self) -> str:
        kind = self._settings().get("kind")
        if kind not in _KINDS:
            raise AttestationError(f"{RUN_FILE}: the kind {kind!r} is none of {', '.join(_KINDS)}")
        return str(kind)

    def _versions(self) -> dict[str, str]:
        versions = self.claims.provenance.get("versions")
        match versions:
            case dict() if all(isinstance(version, str) for version in versions.values()):
                return dict(versions)
        raise AttestationError(
            f"{CERTIFICATES}{CLAIMS_FILE}: the provenance names no versions, so no run wrote it"
        )


def _file(name: str, digest: str) -> dict[str, Any]:
    return {"digest": {"sha256": digest}, "name": name}


def _written(claims: Claims) -> int:
    return sum(shard.certificates for shard in claims.shards)
