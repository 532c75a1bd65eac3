"""Proof folders of VNN-LIB queries: what they claim, and the evidence for each case."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from asi_verify.core.canonical import canonical_json
from asi_verify.core.certificate import damaged, parse_json
from asi_verify.core.evidence import Evidence, evidence_from_json
from asi_verify.core.limits import LARGEST_CLAIMS, MOST_CASES
from asi_verify.core.query import is_digest
from asi_verify.core.semantics import Semantics
from asi_verify.errors import CertificateError, UsageError

__all__ = ["PARTS_FILE", "PROOF_FILE", "PROPERTY_FILE", "SCHEMA", "CaseProof", "VnnlibProof"]

SCHEMA = "asi-verify/vnnlib/1"
PROOF_FILE = "proof.json"
PROPERTY_FILE = "property.vnnlib"
PARTS_FILE = "proof.bin"


@dataclass(frozen=True)
class CaseProof:
    """Why one case holds.

    Attributes:
        case: the SHA-256 of its box and property (``Specification.digest``).
        evidence: why the property holds in the box.
    """

    case: str
    evidence: Evidence

    def to_json(self) -> dict[str, Any]:
        """The canonical form."""
        return {"case": self.case, "evidence": self.evidence.to_json()}


@dataclass(frozen=True)
class VnnlibProof:
    """That no point of a VNN-LIB file's unsafe set exists.

    Attributes:
        artifact: the SHA-256 of the ONNX file.
        property_: the SHA-256 of the VNN-LIB file.
        semantics: the arithmetic.
        cases: one for each of the file's cases, in their order.
        container: the SHA-256 of the container of binary parts, or None if nothing is binary.
        provenance: versions and settings; proves nothing.
    """

    artifact: str
    property_: str
    semantics: Semantics
    cases: tuple[CaseProof, ...]
    container: str | None
    provenance: dict[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(
            {
                "artifact": self.artifact,
                "cases": [case.to_json() for case in self.cases],
                "container": self.container,
                "property": self.property_,
                "provenance": self.provenance,
                "schema": SCHEMA,
                "semantics": self.semantics.value,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes, name: str = PROOF_FILE) -> VnnlibProof:
        """Read a proof; everything in it is untrusted.

        Args:
            data: the file's bytes.
            name: what an error calls the file.

        Raises:
            CertificateError: it is not canonical JSON of this schema.
        """
        try:
            return cls._from_bytes(data)
        except UsageError as error:
            raise damaged(name, error) from None

    @classmethod
    def _from_bytes(cls, data: bytes) -> VnnlibProof:
        match parse_json(data, longest=LARGEST_CLAIMS):
            case {
                "artifact": artifact,
                "cases": [*cases],
                "container": container,
                "property": property_,
                "provenance": dict(provenance),
                "schema": str(schema),
                "semantics": semantics,
                **rest,
            } if not rest and is_digest(artifact) and is_digest(property_):
                pass
            case _:
                raise CertificateError("the proof has missing, wrong or unknown fields")
        if schema != SCHEMA:
            raise CertificateError(f"the schema {schema!r} is not {SCHEMA!r}")
        if container is not None and not is_digest(container):
            raise CertificateError(f"the container {container!r} is not a digest")
        if len(cases) > MOST_CASES:
            raise CertificateError(f"{len(cases)} cases; {MOST_CASES} are allowed")
        return cls(
            artifact,
            property_,
            Semantics.from_json(semantics),
            tuple(_case(case) for case in cases),
            container,
            provenance,
        )


def _case(value: Any) -> CaseProof:
    match value:
        case {"case": case, "evidence": evidence, **rest} if not rest and is_digest(case):
            return CaseProof(case, evidence_from_json(evidence))
        case _:
            raise CertificateError(f"the case {value!r} is not valid")
