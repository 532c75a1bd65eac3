"""Semantics: what kind of arithmetic a proof speaks of. Part of every query and its digest."""

from __future__ import annotations

from enum import Enum

from asi_verify.errors import CertificateError

__all__ = ["Semantics"]


class Semantics(Enum):
    """The arithmetic in which the artifact's weights and operators are understood."""

    REAL = "real"
    """Exact arithmetic on the artifact's weights. The rounding of the deployed network is not
    covered; a float32 counterexample that meets a proof turns it into ``Undecided``."""

    @classmethod
    def from_json(cls, value: object) -> Semantics:
        """The semantics of this name; raises ``CertificateError`` if there is none."""
        for member in cls:
            if member.value == value:
                return member
        raise CertificateError(
            f"the semantics {value!r} is unknown; known: {', '.join(m.value for m in cls)}"
        )
