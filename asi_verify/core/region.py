"""Regions: the bounded sets of inputs that a proof covers.

A *family* (``LInf("1/255")``) makes a region out of an image; a ``Region`` is a family and the
digest of the image at its centre.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from asi_verify.core.balls import L1, L2
from asi_verify.core.canonical import digest
from asi_verify.core.family import RegionFamily
from asi_verify.core.intensity import Intensity
from asi_verify.core.k_pixel import KPixel
from asi_verify.core.linf import LInf
from asi_verify.core.patch import Patch
from asi_verify.errors import CertificateError

__all__ = ["Region", "family_from_json"]


def family_from_json(value: Any) -> RegionFamily:
    """The family with this canonical form.

    Raises:
        CertificateError: it is not the canonical form of any family.
    """
    kind = value.get("kind") if isinstance(value, dict) else None
    match kind:
        case "linf":
            family: RegionFamily = LInf.from_json(value)
        case "k-pixel":
            family = KPixel.from_json(value)
        case "l1":
            family = L1.from_json(value)
        case "l2":
            family = L2.from_json(value)
        case "intensity":
            family = Intensity.from_json(value)
        case "patch":
            family = Patch.from_json(value)
        case _:
            raise CertificateError(
                f"the region {value!r} is of no known kind; known: intensity, k-pixel, l1, l2, "
                "linf, patch"
            )
    if family.to_json() != value:
        raise CertificateError(f"the region {value!r} is not in its canonical form")
    return family


@dataclass(frozen=True)
class Region:
    """A family and the digest of the image at its centre (``core.canonical.array_digest``)."""

    family: RegionFamily
    centre: str

    def to_json(self) -> dict[str, Any]:
        """The canonical form, with the centre's digest and never its pixels."""
        return {**self.family.to_json(), "centre": self.centre}

    @classmethod
    def from_json(cls, value: Any) -> Region:
        """The region with this canonical form; raises ``CertificateError`` if it is none."""
        if not isinstance(value, dict) or not isinstance(value.get("centre"), str):
            raise CertificateError(f"the region {value!r} has no centre")
        rest = {key: item for key, item in value.items() if key != "centre"}
        return cls(family_from_json(rest), value["centre"])

    @property
    def digest(self) -> str:
        """The SHA-256 of the canonical form."""
        return digest(self.to_json())
