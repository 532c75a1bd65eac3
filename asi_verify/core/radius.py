"""The radius of a region, as an exact fraction of the pixel range [0, 1].

One grey level of an 8-bit image is 1/255 of that range.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from asi_verify.core.limits import LARGEST_VALUE
from asi_verify.errors import RadiusError

__all__ = ["Radius", "RadiusLike", "ball_radius"]

# A float within this distance of a multiple of half a grey level is read as that multiple:
# `1/255` typed in Python is a double that is not 1/255, and means it.
_TYPED_BY_HAND = Fraction(1, 10**9)
_HALF_GREY_LEVEL = Fraction(1, 510)
# Long enough for the exact value of every double, short enough that no text is costly to read.
_DECIMAL = r"[+-]?(?:[0-9]{1,400}(?:\.[0-9]{0,50})?|\.[0-9]{1,50})(?:[eE][+-]?[0-9]{1,3})?"
_QUOTIENT = re.compile(rf"^\s*(?P<over>{_DECIMAL})\s*(?:/\s*(?P<under>{_DECIMAL})\s*)?$")
_GREY_LEVELS = re.compile(r"^(?P<count>.*?)\s*gr[ea]y[ -]levels?\s*$")
_REMEDY = 'write it as "1/255", "2 grey levels", a Fraction, or a float in pixel units [0, 1]'

RadiusLike: TypeAlias = "Radius | Fraction | str | float | int"


@dataclass(frozen=True, order=True)
class Radius:
    """A radius in pixel units, exact: ``Radius.of("1/255")``.

    Any radius of 1/2 or more is refused: every two images would then have meeting regions, and no
    two of different labels could both be certified.
    """

    value: Fraction

    def __post_init__(self) -> None:
        if not isinstance(self.value, Fraction):
            raise TypeError(f"Radius holds a Fraction, not {self.value!r}; use Radius.of(...)")
        _refuse_unusable(self.value, str(self.value))

    @classmethod
    def of(cls, given: RadiusLike) -> Radius:
        """Read a radius from what a user writes.

        Args:
            given: a ``Radius``; a ``Fraction``; text such as ``"1/255"``, ``"0.5/255"``,
                ``"2 grey levels"`` or ``"0.01"`` (read as a decimal, exactly); or a float. A float
                that agrees with a multiple of 1/510 to 1e-9 is read as that multiple, any other as
                its exact binary value.

        Raises:
            RadiusError: it is not a number, is negative, or is 1/2 or more.
        """
        if isinstance(given, Radius):
            return given
        value = _read(given)
        _refuse_unusable(value, repr(given))
        return cls(value)

    @property
    def grey_levels(self) -> Fraction:
        """The radius in grey levels of an 8-bit image."""
        return self.value * 255

    def __str__(self) -> str:
        if self.value == 0:
            return "0"
        levels = self.grey_levels
        if (2 * levels).denominator == 1:
            whole = str(levels) if levels.denominator == 1 else f"{float(levels)}"
            return f"{whole}/255"
        return str(self.value)


def ball_radius(given: RadiusLike) -> Fraction:
    """Read the radius of a ball, in which the changes of all pixels count together.

    Args:
        given: as for ``Radius.of``. Radii of 1/2 and more are usual: a ball of radius 2 is far from
            holding every image whose pixels each change by 2.

    Raises:
        RadiusError: it is not a number, is negative, or is more than any two images differ by.
    """
    value = given.value if isinstance(given, Radius) else _read(given)
    if not 0 <= value <= LARGEST_VALUE:
        raise RadiusError(
            f"radius: {given!r:.200} of a ball; between 0 and {LARGEST_VALUE}, which no two images "
            f"are apart; {_REMEDY}"
        )
    return value


def _refuse_unusable(value: Fraction, shown: str) -> None:
    if value < 0:
        raise RadiusError(f"radius: {shown} is negative; {_REMEDY}")
    if value >= Fraction(1, 2):
        meant = f' (did you mean "{value} grey levels"?)' if value.denominator == 1 else ""
        raise RadiusError(
            f"radius: {shown} is half the pixel range or more, so the regions of all images would "
            "meet and nothing could be certified; pixel units are [0, 1], and one grey level is "
            f"1/255{meant}"
        )


def _read(given: object) -> Fraction:
    if isinstance(given, bool):
        raise RadiusError(f"radius: {given!r} is not a number; {_REMEDY}")
    if isinstance(given, Fraction | int):
        return Fraction(given)
    if isinstance(given, float):
        return _from_float(given)
    if isinstance(given, str):
        return _from_text(given)
    raise RadiusError(f"radius: {given!r} of type {type(given).__name__}; {_REMEDY}")


def _from_float(given: float) -> Fraction:
    if not math.isfinite(given):
        raise RadiusError(f"radius: {given!r} is not finite; {_REMEDY}")
    exact = Fraction(given)
    multiple = round(exact / _HALF_GREY_LEVEL) * _HALF_GREY_LEVEL
    # A tiny radius stays what it is: reading it as 0 would change what is asked.
    return multiple if multiple and abs(exact - multiple) <= _TYPED_BY_HAND else exact


def _from_text(given: str) -> Fraction:
    if levels := _GREY_LEVELS.match(given):
        return _quotient(levels["count"], given) / 255
    return _quotient(given, given)


def _quotient(text: str, given: str) -> Fraction:
    match = _QUOTIENT.match(text)
    under = Fraction(match["under"] or 1) if match else Fraction(0)
    if match is None or under == 0:
        raise RadiusError(f"radius: {given!r} is not a number; {_REMEDY}")
    return Fraction(match["over"]) / under
