"""Semantics: what kind of arithmetic a proof speaks of. Part of every query and its digest."""

from __future__ import annotations

from enum import Enum

from asi_verify.errors import CertificateError, UsageError

__all__ = ["Semantics"]


class Semantics(Enum):
    """The arithmetic in which the artifact's weights and operators are understood."""

    FLOAT32 = "float32"
    """What binary32 hardware may compute, whatever order it sums in: the default.

    Every Conv, Gemm and MatMul output, every average and every element-wise result is the value of
    *any* tree of binary32 operations, rounded to nearest, over its products and its bias, fused or
    not, subnormal numbers kept or flushed. A proof holds for all of them at once. Not covered:
    Winograd and Fourier convolutions, TF32, half precision, and fusions that change constants."""

    REAL = "real"
    """Exact arithmetic on the artifact's weights. The rounding of the deployed network is not
    covered; a float32 counterexample that meets a proof turns it into ``Undecided``."""

    @classmethod
    def of(cls, given: Semantics | str) -> Semantics:
        """The semantics a user names; raises ``UsageError`` if there is none of that name."""
        if isinstance(given, Semantics):
            return given
        for member in cls:
            if member.value == given:
                return member
        known = " or ".join(f'"{member.value}"' for member in cls)
        raise UsageError(f"semantics: {given!r} is not known; {known} is expected")

    @classmethod
    def from_json(cls, value: object) -> Semantics:
        """The semantics of this name; raises ``CertificateError`` if there is none."""
        for member in cls:
            if member.value == value:
                return member
        raise CertificateError(
            f"the semantics {value!r} is unknown; known: {', '.join(m.value for m in cls)}"
        )
