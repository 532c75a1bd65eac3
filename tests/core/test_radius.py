"""How radii are read."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asi_verify.core.radius import Radius
from asi_verify.errors import RadiusError


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("1/255", Fraction(1, 255)),
        (" 2 / 255 ", Fraction(2, 255)),
        ("0.5/255", Fraction(1, 510)),
        ("2 grey levels", Fraction(2, 255)),
        ("1 gray level", Fraction(1, 255)),
        ("1.5 grey-levels", Fraction(3, 510)),
        ("0.01", Fraction(1, 100)),
        ("1e-3", Fraction(1, 1000)),
        ("0", Fraction(0)),
        (1 / 255, Fraction(1, 255)),
        (0.5 / 255, Fraction(1, 510)),
        (2 / 255, Fraction(2, 255)),
        (0.01, Fraction(0.01)),
        (1e-10, Fraction(1e-10)),
        (0, Fraction(0)),
        (Fraction(3, 255), Fraction(3, 255)),
        (Radius(Fraction(1, 7)), Fraction(1, 7)),
    ],
)
def test_what_is_written_is_what_is_meant(written, meant):
    """Text is read exactly; a float typed for a multiple of half a grey level is that multiple."""
    assert Radius.of(written).value == meant


@pytest.mark.parametrize(
    "wrong",
    ["-1/255", "1/0", "one", "", "nan", "1/255/3", "1e999999999", "2 levels", -0.1, 0.5, 1,
     float("nan"), float("inf"), True, None, [1], Fraction(-1, 3), "0x1p-3", "1/255 grey"],
)  # fmt: skip
def test_what_is_no_radius_is_refused_with_its_value(wrong):
    """Every refusal shows what was given and how to write it instead."""
    with pytest.raises(RadiusError) as refusal:
        Radius.of(wrong)
    assert str(wrong) in str(refusal.value) or repr(wrong) in str(refusal.value)


def test_grey_levels_are_suggested_where_a_whole_number_was_given():
    """Of 2 they are probably meant; of 300/255 nothing like it is."""
    with pytest.raises(RadiusError, match='did you mean "2 grey levels"'):
        Radius.of(2)
    with pytest.raises(RadiusError, match=r"one grey level is 1/255$"):
        Radius.of("300/255")


@given(st.floats(min_value=0, max_value=0.49, allow_subnormal=True))
def test_every_float_survives_being_written_down(value):
    """A radius is stored as a fraction's text, and read back as the same radius."""
    radius = Radius.of(value)
    assert Radius.of(str(radius.value)) == radius


def test_radii_are_shown_in_grey_levels_where_they_are_some():
    """People think in grey levels; other radii are shown exactly."""
    assert str(Radius.of("2/255")) == "2/255"
    assert str(Radius.of("0.5/255")) == "0.5/255"
    assert str(Radius.of("1/100")) == "1/100"
    assert str(Radius.of(0)) == "0"
