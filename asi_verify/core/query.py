"""Queries: the question that a proof answers. Everything later is a function of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from asi_verify.core.canonical import digest
from asi_verify.core.properties import Property, property_from_json
from asi_verify.core.region import Region
from asi_verify.core.semantics import Semantics
from asi_verify.errors import CertificateError

__all__ = ["Query", "is_digest"]

_KEYS = {"artifact", "property", "region", "semantics"}


def is_digest(value: object) -> bool:
    """Whether a value is a SHA-256 in 64 lower-case hexadecimal digits."""
    return (
        isinstance(value, str) and len(value) == 64 and all(c in "0123456789abcdef" for c in value)
    )


@dataclass(frozen=True)
class Query:
    """Does the property hold of the artifact everywhere in the region, under the semantics?

    Attributes:
        artifact: SHA-256 of the ONNX file's bytes.
        region: the set of inputs.
        property_: what must hold of the logits.
        semantics: the arithmetic meant.
    """

    artifact: str
    region: Region
    property_: Property
    semantics: Semantics

    def to_json(self) -> dict[str, Any]:
        """The canonical form."""
        return {
            "artifact": self.artifact,
            "property": self.property_.to_json(),
            "region": self.region.to_json(),
            "semantics": self.semantics.value,
        }

    @classmethod
    def from_json(cls, value: Any) -> Query:
        """The query with this canonical form; raises ``CertificateError`` if it is none."""
        if not isinstance(value, dict) or set(value) != _KEYS or not is_digest(value["artifact"]):
            raise CertificateError(f"a query has the fields {sorted(_KEYS)}; this has not")
        return cls(
            value["artifact"],
            Region.from_json(value["region"]),
            property_from_json(value["property"]),
            Semantics.from_json(value["semantics"]),
        )

    @property
    def digest(self) -> str:
        """The SHA-256 of the canonical form."""
        return digest(self.to_json())
