"""The trusted pass over divided regions, piece by piece.

The union of the pieces holds the region (``core.pieces.Divided.cover``, and
``core.intensity.Intensity.cells``), so a property that is proved on each holds on the region.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.checker.trusted import TrustedPass
from asi_verify.core.box import Box
from asi_verify.core.evidence import (
    EnumerationEvidence,
    GridEvidence,
    Intermediate,
    IntervalEvidence,
    LinearEvidence,
)
from asi_verify.core.family import RegionFamily
from asi_verify.core.intensity import Intensity
from asi_verify.core.limits import MOST_PIECES
from asi_verify.core.pieces import Divided, Pieces, shown_count
from asi_verify.core.properties import Property
from asi_verify.core.reach import Reach, take
from asi_verify.errors import CertificateError

__all__ = ["divided_margin", "require_enumerable"]

_AT_ONCE = 256

_Ways = tuple[IntervalEvidence | LinearEvidence, ...]
"""Passes over a piece: each is asked about what the ones before leave open."""

_LINEAR: dict[Intermediate, _Ways] = {
    Intermediate.INTERVAL: (LinearEvidence(Intermediate.INTERVAL),),
    # The first costs a small part of the second, and pieces are small.
    Intermediate.BACKWARD: (
        LinearEvidence(Intermediate.INTERVAL),
        LinearEvidence(Intermediate.BACKWARD),
    ),
}

_WAYS: dict[Pieces, _Ways] = {
    Pieces.RANGE: _LINEAR[Intermediate.BACKWARD],
    # At a single image intervals are as tight as rounding lets them be.
    Pieces.EACH: (IntervalEvidence(),),
}


def require_enumerable(
    family: RegionFamily, evidence: EnumerationEvidence | GridEvidence, shape: tuple[int, ...]
) -> None:
    """Refuse regions that are not divided so, or into too many pieces.

    Raises:
        CertificateError: such a region.
    """
    if isinstance(evidence, GridEvidence):
        axes = len(shape) - 1
        wanted = len(family.parameters(axes)) if isinstance(family, Intensity) else 0
        if not 0 < len(evidence.cells) == wanted:
            raise CertificateError(
                f"{family}: such regions have {wanted} parameters, not {len(evidence.cells)}"
            )
        count = math.prod(evidence.cells)
    elif isinstance(family, Divided) and evidence.pieces in family.ways:
        count = family.count(shape, evidence.pieces)
    else:
        raise CertificateError(f"{family}: such regions have no pieces {evidence.pieces.value!r}")
    if count > MOST_PIECES:
        raise CertificateError(f"{shown_count(count)} pieces; {MOST_PIECES} are allowed")


def divided_margin(
    trusted: TrustedPass,
    family: RegionFamily,
    image: npt.NDArray[Any],
    property_: Property,
    evidence: EnumerationEvidence | GridEvidence,
) -> float:
    """A lower bound on the property's rows, taken together, over the region of one image.

    Args:
        trusted: the trusted pass over the network.
        family: of regions that pass ``require_enumerable`` with this evidence.
        image: shape ``(C, *spatial)``, that of the network's input.
        property_: what is to hold.
        evidence: how the region is divided: by pixels, or by cells of parameters.

    Returns:
        -inf where the error analysis does not hold. Never NaN.
    """
    if isinstance(evidence, GridEvidence):
        assert isinstance(family, Intensity)  # by require_enumerable
        cells = family.cells(image, evidence.cells, _AT_ONCE)
        return _smallest(trusted, cells, property_, _LINEAR[evidence.intermediate])
    assert isinstance(family, Divided)  # as above
    pieces = ((box, None) for box in family.cover(image, evidence.pieces, _AT_ONCE))
    return _smallest(trusted, pieces, property_, _WAYS[evidence.pieces])


def _smallest(
    trusted: TrustedPass,
    parts: Iterable[tuple[Box, Reach | None]],
    property_: Property,
    ways: _Ways,
) -> float:
    """The smallest of all parts' margins; of the rest nothing is asked after one that fails."""
    smallest = np.inf
    for box, reach in parts:
        margins = np.full(len(box), -np.inf)
        for way in ways:
            left = np.flatnonzero(~(margins > 0))
            if len(left):
                known = take(reach, left)
                margins[left] = trusted.margins(box[left], property_, way, known)
        smallest = min(smallest, float(margins.min()))
        if not smallest > 0:
            break
    return smallest
