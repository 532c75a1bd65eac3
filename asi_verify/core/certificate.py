"""Certificates: a query, its evidence and where they come from, as one line of canonical JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from asi_verify.core.canonical import canonical_json, digest
from asi_verify.core.evidence import Evidence, evidence_from_json
from asi_verify.core.limits import LONGEST_REASON
from asi_verify.core.query import Query
from asi_verify.errors import CertificateError, UsageError

__all__ = ["SCHEMA", "Certificate", "damaged", "parse_json"]

SCHEMA = "asi-verify/certificate/1"
_KEYS = {"digest", "evidence", "provenance", "query", "row", "schema"}

# No certificate of this schema is longer or nests deeper; what is, is refused before it is parsed.
_LONGEST_LINE = 1 << 20
_DEEPEST = 16


def parse_json(line: bytes, longest: int = _LONGEST_LINE) -> Any:
    """Parse canonical JSON from an untrusted source, in bounded time and memory.

    Raises:
        CertificateError: it is too long, too deep, not JSON, or not in canonical form (which also
            excludes duplicate keys, floats and stray spaces).
    """
    if len(line) > longest:
        raise CertificateError(f"{len(line)} bytes of JSON are more than the {longest} allowed")
    # Brackets inside strings count too: the bound may refuse more than it must, never less.
    if line.count(b"[") + line.count(b"{") > _DEEPEST and _depth(line) > _DEEPEST:
        raise CertificateError(f"the JSON is nested more than {_DEEPEST} deep")
    try:
        value = json.loads(line)
        canonical = canonical_json(value)
    except (ValueError, TypeError, RecursionError) as error:
        raise CertificateError(f"not canonical JSON: {error}") from None
    if canonical != line:
        raise CertificateError("the JSON is not in its canonical form (RFC 8785)")
    return value


def damaged(name: str, error: UsageError) -> CertificateError:
    """The error for a file that cannot be read: its name, what is wrong in it, and the remedy."""
    reason = str(error)
    if len(reason) > LONGEST_REASON // 2:  # it quotes the file; who prints it cuts off its end
        reason = f"{reason[: LONGEST_REASON // 4]} ... {reason[-LONGEST_REASON // 4 :]}"
    return CertificateError(
        f"{name}: {reason}; the file was damaged or is another's: take it from a copy of the folder"
    )


def _depth(line: bytes) -> int:
    depth = deepest = 0
    for byte in line:
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


@dataclass(frozen=True)
class Certificate:
    """What one sample's proof is written as.

    Attributes:
        row: the sample's row in its split.
        query: what is claimed.
        evidence: why it holds.
        provenance: versions, engine and settings; outside the digest, proves nothing.
    """

    row: int
    query: Query
    evidence: Evidence
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """The SHA-256 over schema, query and evidence: the same proof has the same digest."""
        return digest(
            {"evidence": self.evidence.to_json(), "query": self.query.to_json(), "schema": SCHEMA}
        )

    def to_bytes(self) -> bytes:
        """One line of canonical JSON, without its newline."""
        return canonical_json(
            {
                "digest": self.digest,
                "evidence": self.evidence.to_json(),
                "provenance": self.provenance,
                "query": self.query.to_json(),
                "row": self.row,
                "schema": SCHEMA,
            }
        )

    @classmethod
    def from_bytes(cls, line: bytes) -> Certificate:
        """Read one line; everything in it is untrusted.

        Raises:
            CertificateError: it is not canonical JSON of this schema, or its digest is another's.
        """
        value = parse_json(line)
        if not isinstance(value, dict) or set(value) != _KEYS:
            raise CertificateError(f"a certificate has the fields {sorted(_KEYS)}; this has not")
        if value["schema"] != SCHEMA:
            raise CertificateError(f"the schema {value['schema']!r} is not {SCHEMA!r}")
        if type(value["row"]) is not int or value["row"] < 0:
            raise CertificateError(f"the row {value['row']!r} is not a row number")
        if not isinstance(value["provenance"], dict):
            raise CertificateError("the provenance is not an object")
        made = cls(
            value["row"],
            Query.from_json(value["query"]),
            evidence_from_json(value["evidence"]),
            value["provenance"],
        )
        if made.digest != value["digest"]:
            raise CertificateError("the digest is not that of the query and the evidence")
        return made
