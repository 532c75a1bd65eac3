"""The trusted pass over finite regions, piece by piece.

The union of the pieces holds the region (``core.k_pixel.KPixel.cover``), so a property that is
proved on every piece holds on the region.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.checker.trusted import TrustedPass
from asi_verify.core.evidence import (
    EnumerationEvidence,
    Intermediate,
    IntervalEvidence,
    LinearEvidence,
)
from asi_verify.core.family import RegionFamily
from asi_verify.core.k_pixel import KPixel, Pieces, shown_count
from asi_verify.core.limits import MOST_PIECES
from asi_verify.core.properties import Property
from asi_verify.errors import CertificateError

__all__ = ["enumerated_margin", "require_enumerable"]

_AT_ONCE = 256

_WAYS: dict[Pieces, IntervalEvidence | LinearEvidence] = {
    Pieces.RANGE: LinearEvidence(Intermediate.BACKWARD),
    Pieces.EACH: IntervalEvidence(),
}
"""The pass over a piece. At a single image intervals are as tight as rounding lets them be."""


def require_enumerable(
    family: RegionFamily, evidence: EnumerationEvidence, shape: tuple[int, ...]
) -> None:
    """Refuse regions that are not finite, or have too many pieces.

    Raises:
        CertificateError: such a region.
    """
    if not isinstance(family, KPixel):
        raise CertificateError(f"{family}: not a finite region that could be enumerated")
    count = family.count(shape, evidence.pieces)
    if count > MOST_PIECES:
        raise CertificateError(f"{shown_count(count)} pieces; {MOST_PIECES} are allowed")


def enumerated_margin(
    trusted: TrustedPass,
    family: KPixel,
    image: npt.NDArray[Any],
    property_: Property,
    pieces: Pieces,
) -> float:
    """A lower bound on the property's rows, taken together, over the region of one image.

    Args:
        trusted: the trusted pass over the network.
        family: of finite regions, ``require_enumerable``.
        image: uint8, shape ``(C, *spatial)``, that of the network's input.
        property_: what is to hold.
        pieces: how the region is divided.

    Returns:
        -inf where the error analysis does not hold. Never NaN.
    """
    smallest = np.inf
    for box in family.cover(image, pieces, _AT_ONCE):
        margins = trusted.margins(box, property_, _WAYS[pieces])
        smallest = min(smallest, float(margins.min()))
        if not smallest > 0:
            break
    return smallest
