"""The regions that a user asks for, in whatever form."""

from __future__ import annotations

from asi_verify.core.balls import ball_in
from asi_verify.core.family import RegionFamily
from asi_verify.core.intensity import Intensity
from asi_verify.core.k_pixel import KPixel
from asi_verify.core.linf import LInf
from asi_verify.core.patch import Patch
from asi_verify.core.radius import RadiusLike
from asi_verify.data import Dataset
from asi_verify.errors import DataError, RadiusError

__all__ = ["family_for", "linf_for", "require_radius"]


def require_radius(radius: RadiusLike | RegionFamily) -> None:
    """Refuse what is no radius for any data set, before minutes are spent on reading one.

    Raises:
        RadiusError: it is none.
    """
    if not isinstance(radius, RegionFamily) and KPixel.pixels_in(radius) is None:
        _ = _named(radius) or LInf.of(radius)


def family_for(radius: RadiusLike | RegionFamily, data: Dataset) -> RegionFamily:
    """The regions that a user asks for: by a radius, a norm and one, a number of pixels, a family.

    Raises:
        UsageError: it is none of these, or there are no such regions around these images.
    """
    pixels = KPixel.pixels_in(radius)
    if pixels is not None and data.grey_levels:
        return KPixel(pixels, data.grey_levels)
    if pixels is not None:
        raise DataError(f"radius: {radius!r} is meant of 8-bit images; {data.name} holds floats")
    if isinstance(radius, RegionFamily):
        return radius
    return _named(radius) or LInf.of(radius)


def linf_for(radius: RadiusLike | RegionFamily) -> LInf:
    """The regions to correct a model for, or to make a guard for.

    Raises:
        RadiusError: they are others than L-infinity regions, or their radius is none.
    """
    if isinstance(radius, LInf):
        return radius
    if (
        isinstance(radius, RegionFamily)
        or _named(radius) is not None
        or KPixel.pixels_in(radius) is not None
    ):
        raise RadiusError(
            f"radius: {radius!r}: models are corrected for L-infinity regions alone, and guards "
            'certify no others; give such a radius, like "1/255". A corrected model can be '
            "certified for these regions"
        )
    return LInf.of(radius)


def _named(radius: object) -> RegionFamily | None:
    """The family that a text names whatever the data set; None if it names none."""
    return ball_in(radius) or Patch.in_text(radius) or Intensity.in_text(radius)
