"""Clauses: margins in exact arithmetic, constants rounded to the safe side, refused shapes."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asi_verify.core.clauses import Clauses, Inequality
from asi_verify.core.properties import SingleLabel
from asi_verify.errors import UsageError

fractions = st.fractions(-4, 4, max_denominator=1000)
inequalities = st.builds(Inequality.of, st.tuples(fractions, fractions), fractions)
clause_sets = st.lists(st.lists(inequalities, min_size=1, max_size=3), min_size=1, max_size=3)
numbers = st.floats(-8, 8, width=32)


def _of(clauses: list[list[Inequality]]) -> Clauses:
    return Clauses(2, tuple(map(tuple, clauses)))


@given(clause_sets, st.lists(st.tuples(numbers, numbers), min_size=1, max_size=4))
def test_clauses_hold_exactly_where_each_has_an_inequality_that_holds(clauses, points):
    """In rationals, whatever the constants."""
    margins = _of(clauses).margins(np.array(points, dtype=np.float32))
    for point, margin in zip(points, margins, strict=True):
        exact = [Fraction(z) for z in point]
        holds = all(any(row.value(exact) > 0 for row in clause) for clause in clauses)
        assert (margin > 0) == holds


@given(st.tuples(numbers, numbers), st.integers(-1, 1))
def test_a_difference_that_no_float_shows_still_decides(point, sign):
    """An inequality off by 1e-500 from a tie has the sign of the 1e-500."""
    tie = -sum(Fraction(z) for z in point)
    almost = Inequality((1, 1), tie + sign * Fraction(1, 10**500))
    assert np.sign(_of([[almost]]).margins(np.array([point]))[0]) == sign


@given(clause_sets)
def test_constants_are_never_above_the_exact_ones(clauses):
    """And by less than a unit in the last place below."""
    property_ = _of(clauses)
    exact = [row.constant for clause in clauses for row in clause]
    for rounded, wanted in zip(property_.constants().tolist(), exact, strict=True):
        assert Fraction(rounded) <= wanted <= Fraction(float(np.nextafter(rounded, np.inf)))


@given(clause_sets, st.data())
def test_the_overall_number_is_the_smallest_of_each_clauses_largest(clauses, data):
    """Clauses may have any lengths."""
    count = sum(map(len, clauses))
    values = [data.draw(numbers) for _ in range(count)]
    rest = iter(values)
    expected = min(max(next(rest) for _ in clause) for clause in clauses)
    assert _of(clauses).overall(np.array([values, values])).tolist() == [expected] * 2


def test_an_output_that_is_no_number_satisfies_nothing():
    """NaN and infinities give no positive margin, even of a constant."""
    always = _of([[Inequality((0, 0), Fraction(1))]])
    for bad in (np.nan, np.inf, -np.inf):
        assert not always.margins(np.array([[0.0, bad]]))[0] > 0


def test_coefficients_are_made_whole():
    """By their common denominator, which is positive."""
    row = Inequality.of((Fraction(1, 2), Fraction(-2, 3)), Fraction(1, 7))
    assert row == Inequality((3, -4), Fraction(6, 7))


@pytest.mark.parametrize(
    ("outputs", "clauses", "named"),
    [
        (0, ((Inequality((), Fraction(1)),),), "outputs"),
        (2, (), "at least one"),
        (2, ((),), "at least one"),
        (2, ((Inequality((1,), Fraction(1)),),), "all 2 outputs"),
    ],
)
def test_clauses_that_are_none_are_refused(outputs, clauses, named):
    """With what is wrong."""
    with pytest.raises(UsageError, match=named):
        Clauses(outputs, clauses)


@pytest.mark.parametrize("row", [((2**53 + 1,), Fraction(0)), ((1,), Fraction(2**60))])
def test_numbers_that_no_float64_holds_are_refused(row):
    """Rows are used as float64 numbers, which must be the ones meant."""
    with pytest.raises(UsageError, match="53 bits"):
        Inequality(*row)


def test_the_canonical_form_tells_properties_apart():
    """By coefficients, constants, and which inequalities stand in one clause."""
    a, b = Inequality((1, 0), Fraction(0)), Inequality((1, 0), Fraction(1, 3))
    different = {_of(clauses).digest for clauses in ([[a]], [[b]], [[a, b]], [[a], [b]])}
    assert len(different) == 4
    assert str(_of([[a], [b]])) == "2 clauses over 2 outputs"


@given(clause_sets, st.lists(st.tuples(numbers, numbers), min_size=1, max_size=4), st.data())
def test_sums_change_nothing_that_a_property_says(clauses, points, data):
    """Whatever the weights, both hold of the same outputs; sums are exact."""
    property_ = _of(clauses)
    weights = []
    for clause in clauses:
        several = len(clause) > 1
        weights += [data.draw(st.integers(0, 255)) if several else 0 for _ in clause] + [
            0
        ] * several
    summed = property_.summed(np.array(weights, np.uint8))
    assert len(summed.rows()) == len(property_.rows()) + property_.sums
    outputs = np.array(points, dtype=np.float32)
    one, other = property_.margins(outputs) > 0, summed.margins(outputs) > 0
    assert one.tolist() == other.tolist()
    for clause, longer in zip(clauses, summed.clauses, strict=True):
        used, weights = weights[: len(longer)], weights[len(longer) :]
        for point in points:
            exact = [Fraction(z) for z in point]
            terms = sum(w * row.value(exact) for w, row in zip(used, clause, strict=False))
            assert len(clause) == 1 or longer[-1].value(exact) == terms


def test_weights_are_those_of_terms():
    """As many as rows, none for a sum or for the only row of a clause."""
    row = Inequality((1, 0), Fraction(0))
    property_ = _of([[row, row], [row]])
    assert property_.summed(np.array([1, 2, 0, 0], np.uint8)).rows()[2].tolist() == [3, 0]
    for wrong in ([1, 2, 0], [1, 2, 3, 0], [1, 2, 0, 4], [1, 2, 0, 0, 0]):
        with pytest.raises(UsageError, match="weights"):
            property_.summed(np.array(wrong, np.uint8))
    for other in (_of([[row]]), SingleLabel(0, 2)):
        assert other.summed() is other
        assert other.summed(np.zeros(1, np.uint8)) is other
        with pytest.raises(UsageError, match="weights"):
            other.summed(np.ones(1, np.uint8))
