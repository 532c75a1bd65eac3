"""VNN-LIB: what is read is what the text says, decimals are rounded outwards, bad files refused."""

from __future__ import annotations

import gzip
import time
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asi_verify.core.box import Box
from asi_verify.core.clauses import Clauses, Inequality
from asi_verify.core.limits import DEEPEST_FORM, LARGEST_VNNLIB, MOST_CASES
from asi_verify.core.properties import MultiLabel, SingleLabel
from asi_verify.errors import PropertyError
from asi_verify.lowering.files import read_file
from asi_verify.lowering.vnnlib import as_clauses, read_vnnlib, write_vnnlib

INPUTS, OUTPUTS = 2, 2
DECLARED = "".join(f"(declare-const {v} Real)\n" for v in ("X_0", "X_1", "Y_0", "Y_1"))
BOUNDED = "".join(f"(assert (and (>= X_{i} -4) (<= X_{i} 4)))" for i in range(INPUTS))

# A text with what it means: a function of inputs and outputs that shares nothing with the reader.
quarters = st.integers(-16, 16).map(lambda n: Fraction(n, 4))
points = st.tuples(*[st.tuples(quarters, quarters)] * 2)


def written(number):
    return str(float(number))


constants = quarters.map(lambda c: (written(c), lambda x, y: c))
output_names = st.integers(0, 1).map(lambda j: (f"Y_{j}", lambda x, y: y[j]))


def combined(terms):
    """Sums, differences, negations and multiples of terms."""

    def added(pair):
        (a, f), (b, g) = pair
        return f"(+ {a} {b})", lambda x, y: f(x, y) + g(x, y)

    def less(pair):
        (a, f), (b, g) = pair
        return f"(- {a} {b})", lambda x, y: f(x, y) - g(x, y)

    def negated(term):
        a, f = term
        return f"(- {a})", lambda x, y: -f(x, y)

    def multiplied(pair):
        (c, k), (a, f) = pair
        return f"(* {c} {a})", lambda x, y: k(x, y) * f(x, y)

    pairs = st.tuples(terms, terms)
    return st.one_of(
        pairs.map(added), pairs.map(less), terms.map(negated),
        st.tuples(constants, terms).map(multiplied),
    )  # fmt: skip


COMPARED = {
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
}


def compared(sides):
    """A comparison, and the same with equality allowed."""
    name, (a, f), (b, g) = sides
    holds, closed = COMPARED[name], COMPARED[name[0] + "="]
    return (
        f"({name} {a} {b})",
        lambda x, y: holds(f(x, y), g(x, y)),
        lambda x, y: closed(f(x, y), g(x, y)),
    )


def joined(formulas):
    """Conjunctions and disjunctions."""

    def made(given):
        name, parts = given
        every = all if name == "and" else any
        return (
            f"({name} {' '.join(text for text, _, _ in parts)})",
            lambda x, y: every(f(x, y) for _, f, _ in parts),
            lambda x, y: every(f(x, y) for _, _, f in parts),
        )

    listed = st.lists(formulas, min_size=1, max_size=3)
    return st.tuples(st.sampled_from(["and", "or"]), listed).map(made)


names = st.sampled_from(sorted(COMPARED))
input_names = st.integers(0, 1).map(lambda i: (f"X_{i}", lambda x, y: x[i]))
bounds = st.tuples(names, input_names, constants) | st.tuples(names, constants, input_names)
terms = st.recursive(st.one_of(constants, output_names), combined, max_leaves=6)
output_atoms = st.tuples(names, terms, terms)
atoms = st.one_of(bounds, output_atoms).map(compared)
asserted = st.lists(st.recursive(atoms, joined, max_leaves=8), min_size=1, max_size=3)


def holds_everywhere_needed(asked, x, y):
    """Whether in some case the input lies in the box and the outputs violate the property."""
    point, outputs = np.array([x], dtype=np.float32), np.array([y], dtype=np.float32)
    return any(
        asked.box[[case]].contains(point)[0] and not wanted.margins(outputs)[0] > 0
        for case, wanted in enumerate(asked.properties)
    )


@given(asserted, st.lists(points, min_size=1, max_size=5))
def test_the_cases_cover_exactly_what_the_text_calls_unsafe(formulas, tried):
    """Points of the unsafe set violate a case; without strict inequalities no other point does."""
    text = DECLARED + BOUNDED + "\n".join(f"(assert {one})" for one, _, _ in formulas)
    asked = read_vnnlib(text.encode())
    for x, y in tried:
        unsafe = all(f(x, y) for _, f, _ in formulas)
        closed = all(f(x, y) for _, _, f in formulas)
        floats = np.array(x, dtype=np.float32), np.array(y, dtype=np.float32)
        assert asked.is_unsafe(*floats) == unsafe
        found = holds_everywhere_needed(asked, x, y)
        assert found or not unsafe
        # A strict bound may leave nothing of a case whose closure is one point: found then says no.
        assert closed or not found


decimals = st.decimals(-8, 8, allow_nan=False, places=9)


@given(st.lists(st.tuples(decimals, decimals), min_size=1, max_size=4), st.booleans())
def test_boxes_hold_the_decimals_and_what_they_are_read_as(ends, strict):
    """Outwards for proofs; for witnesses the float32 numbers between, else those that are read."""
    ends = [tuple(sorted(pair)) for pair in ends]
    text = "".join(f"(declare-const X_{i} Real)" for i in range(len(ends)))
    text += "(declare-const Y_0 Real)"
    more, less = (">", "<") if strict else (">=", "<=")
    for i, (low, high) in enumerate(ends):
        text += f"(assert ({more} X_{i} {low})) (assert ({less} X_{i} {high}))"
    asked = read_vnnlib(text.encode())
    if strict and any(low == high for low, high in ends):
        assert len(asked) == 0
        return
    unread = 0
    for i, (low, high) in enumerate(ends):
        lower, upper = asked.box.lower[0, i], asked.box.upper[0, i]
        least, most = asked.searched.lower[0, i], asked.searched.upper[0, i]
        exact = [Fraction(str(end)) for end in (low, high)]
        assert Fraction(float(lower)) <= exact[0] < Fraction(float(np.nextafter(lower, np.inf)))
        assert Fraction(float(np.nextafter(upper, -np.inf))) < exact[1] <= Fraction(float(upper))
        assert lower <= np.float32(float(low)) <= np.float32(float(high)) <= upper
        assert lower <= least <= most <= upper
        inside = [COMPARED[more](Fraction(float(least)), exact[0]),
                  COMPARED[less](Fraction(float(most)), exact[1])]  # fmt: skip
        if all(inside):
            below, above = np.nextafter(least, -np.inf), np.nextafter(most, np.inf)
            assert not COMPARED[more](Fraction(float(below)), exact[0])
            assert not COMPARED[less](Fraction(float(above)), exact[1])
        else:
            unread += 1
            assert (least, most) == (np.float32(float(low)), np.float32(float(high)))
    assert asked.unreadable == unread


LARGEST = int(np.finfo(np.float32).max)
TINY = "0" * 40 + "1"
"""Behind a numeral: nearer to it than any other float64 number."""


@pytest.mark.parametrize("number", ["0.5", "-0.5", str(2**127), "1000"])
@pytest.mark.parametrize("side", [1, -1])
def test_a_decimal_beside_a_float32_number_is_on_its_side_of_it(number, side):
    """Though the nearest float64 number is that number itself."""
    negative = number.startswith("-")
    size = Fraction(number.lstrip("-")) + (-1 if negative else 1) * side * Fraction(1, 10**41)
    digits = f"{size.numerator * 10**41 // size.denominator:042d}"
    written_out = f"{'-' if negative else ''}{digits[:-41]}.{digits[-41:]}"
    text = DECLARED + f"(assert (>= X_0 {written_out}))(assert (<= X_0 {LARGEST}))"
    asked = read_vnnlib((text + "(assert (and (>= X_1 0) (<= X_1 1) (>= Y_0 0)))").encode())
    given = np.float32(float(number))
    lower, least = asked.box.lower[0, 0], asked.searched.lower[0, 0]
    above, below = (np.nextafter(given, np.float32(end)) for end in (np.inf, -np.inf))
    assert (lower, least) == ((given, above) if side > 0 else (below, given))


@pytest.mark.parametrize("sign", ["", "-"])
def test_bounds_up_to_the_largest_float32_number_are_read(sign):
    """And not the least beyond it, though the nearest float64 number is the same."""
    ends = f"(assert (<= X_0 {sign}%s))(assert (>= X_0 {sign}%s))"
    rest = "(assert (and (>= X_1 0) (<= X_1 1) (>= Y_0 0)))"
    read = read_vnnlib((DECLARED + ends % (LARGEST, LARGEST) + rest).encode())
    assert read.box.lower[0, 0] == np.float32(f"{sign}{LARGEST}") == read.box.upper[0, 0]
    for beyond in (f"{LARGEST}.{TINY}", str(LARGEST + 1)):
        with pytest.raises(PropertyError, match="X_0 has a bound beyond the range of float32"):
            read_vnnlib((DECLARED + ends % (beyond, beyond) + rest).encode())


def test_a_bound_on_a_multiple_is_one_on_the_input():
    """Divided by the factor, whatever its sign."""
    text = "(assert (>= (* -2 X_0) -3))(assert (>= (* 4 X_0) 1))"
    rest = "(assert (and (>= X_1 0) (<= X_1 1) (>= Y_0 0)))"
    asked = read_vnnlib((DECLARED + text + rest).encode())
    assert (asked.box.lower[0, 0], asked.box.upper[0, 0]) == (0.25, 1.5)
    for number, inside in ((0.25, True), (1.5, True), (0.2, False), (1.6, False)):
        point = np.float32([number, 0.5])
        assert asked.is_unsafe(point, np.zeros(2, np.float32)) == inside


def test_an_input_that_no_float32_hits_is_read_as_the_nearest():
    """Such a point counts; one that is further off does not."""
    between = "0.100000002"  # and the float32 nearest to it is 0.100000001490116...
    text = (
        DECLARED + f"(assert (= X_0 {between}))".replace("=", "<=") + f"(assert (>= X_0 {between}))"
    )
    asked = read_vnnlib((text + "(assert (and (>= X_1 0) (<= X_1 1) (>= Y_0 0)))").encode())
    near = np.float32(0.1)
    assert asked.unreadable == 1
    assert asked.searched.lower[0, 0] == asked.searched.upper[0, 0] == near
    outputs = np.zeros(2, np.float32)
    assert asked.is_unsafe(np.array([near, 0.5], np.float32), outputs)
    for away in (np.nextafter(near, np.float32(1)), np.nextafter(near, np.float32(0))):
        assert not asked.is_unsafe(np.array([away, 0.5], np.float32), outputs)


@pytest.mark.parametrize(
    ("lower", "upper"),
    [
        ("(>= X_0 0.10000000000000001)", "(<= X_0 0.1)"),
        ("(> X_0 0.1)", "(<= X_0 0.1)"),
        ("(>= X_0 1e-60)", "(<= X_0 0)"),
    ],
)
def test_bounds_that_cross_by_less_than_a_float32_hold_what_they_are_read_as(lower, upper):
    """What a program that reads float32 numbers finds between them is asked about."""
    text = f"(assert {lower})(assert {upper})(assert (and (>= X_1 0) (<= X_1 1) (>= Y_0 0)))"
    asked = read_vnnlib((DECLARED + text).encode())
    point = np.float32([float(upper.split()[-1][:-1]), 0.5])
    assert asked.is_unsafe(point, np.zeros(2, np.float32))
    assert len(asked) == 1
    assert asked.searched.contains(point[None])[0]
    assert asked.box.contains(point[None])[0]


@pytest.mark.parametrize(
    ("lower", "upper"),
    [("(>= X_0 0.5000001)", "(<= X_0 0.5)"), ("(> X_0 0.5)", "(<= X_0 0.5)")],
)
def test_bounds_that_cross_by_a_float32_hold_nothing(lower, upper):
    """No case, and no point that would be one of the unsafe set."""
    text = f"(assert {lower})(assert {upper})(assert (and (>= X_1 0) (<= X_1 1) (>= Y_0 0)))"
    asked = read_vnnlib((DECLARED + text).encode())
    assert len(asked) == 0
    for number in (0.5, np.nextafter(np.float32(0.5), np.float32(1))):
        assert not asked.is_unsafe(np.float32([number, 0.5]), np.zeros(2, np.float32))


def test_what_is_not_finite_is_in_no_unsafe_set():
    """An output that is no number is no counterexample to an inequality."""
    asked = read_vnnlib((DECLARED + BOUNDED).encode())
    whole, zero = np.zeros(2, np.float32), np.zeros(2, np.float32)
    assert asked.is_unsafe(zero, whole)
    for bad in (np.nan, np.inf):
        assert not asked.is_unsafe(zero, np.array([bad, 0], np.float32))
        assert not asked.is_unsafe(np.array([0, bad], np.float32), whole)


def test_every_answer_has_to_be_unsafe():
    """Of several runs of a model, in any order; and of no run nothing can be said."""
    text = BOUNDED + "(assert (>= Y_0 1))(assert (or (>= X_0 0) (>= Y_1 1)))"
    asked = read_vnnlib((DECLARED + text).encode())
    point, unsafe, safe = np.zeros(2, np.float32), np.ones(2, np.float32), np.zeros(2, np.float32)
    assert asked.is_unsafe(point, unsafe, unsafe)
    assert not asked.is_unsafe(point, unsafe, safe)
    assert not asked.is_unsafe(point, safe, unsafe)
    assert not asked.is_unsafe(np.float32([9, 0]), unsafe, unsafe)
    with pytest.raises(ValueError, match="no answer"):
        asked.is_unsafe(point)


def test_a_case_without_constraints_on_outputs_is_never_safe():
    """Every output is in the unsafe set then."""
    asked = read_vnnlib((DECLARED + BOUNDED).encode())
    (wanted,) = asked.properties
    assert wanted.margins(np.array([[-7.0, 3.0]]))[0] == -1


def test_cases_with_one_box_become_one():
    """Two boxes with four disjuncts each: two cases of four clauses, whatever the order."""
    boxes = ["(and (>= X_0 0) (<= X_0 1))", "(and (<= X_0 3) (>= X_0 2))"]
    outputs = "(or (>= Y_0 0) (and (>= Y_1 1) (<= Y_0 2)) (<= Y_1 0) (>= Y_0 4))"
    for text in (
        f"(assert (or {boxes[0]} {boxes[1]})) (assert {outputs})",
        f"(assert (or (and {boxes[0]} {outputs}) (and {boxes[1]} {outputs})))",
        f"(assert {outputs}) (assert (or (and (<= X_0 1) (>= X_0 0)) {boxes[1]}))",
    ):
        asked = read_vnnlib((DECLARED + BOUNDED + text).encode())
        assert [len(p.clauses) for p in asked.properties] == [4, 4]
        assert asked.properties[0] == asked.properties[1]
        assert asked.box.lower[:, 0].tolist() == [0, 2]
        assert asked.digest(0) != asked.digest(1)


def test_constraints_are_in_lowest_terms():
    """Multiples of one inequality are one property."""
    texts = ("(<= (* 0.2 Y_0) (+ (* 0.6 Y_1) 0.1))", "(<= (* 2 Y_0) (+ (* 6 Y_1) 1))")
    first, second = (
        read_vnnlib((DECLARED + BOUNDED + f"(assert {text})").encode()).properties for text in texts
    )
    assert first == second
    assert first[0].clauses == ((Inequality((1, -3), Fraction(-1, 2)),),)


rows = st.builds(
    Inequality.of,
    st.tuples(*[st.integers(-9, 9).map(Fraction)] * 3).filter(any),
    st.fractions(-9, 9, max_denominator=300),
)
float32s = st.floats(width=32, allow_nan=False, allow_infinity=False)


def in_lowest_terms(row):
    divisor = int(np.gcd.reduce([abs(c) for c in row.coefficients]))
    return Inequality(tuple(c // divisor for c in row.coefficients), row.constant / divisor)


@given(
    st.lists(st.tuples(float32s, float32s), min_size=1, max_size=3),
    st.lists(st.lists(rows, min_size=1, max_size=3), min_size=1, max_size=3)
    | st.sampled_from([SingleLabel(1, 3), MultiLabel((1, 0, 1))]),
)
def test_what_is_written_is_read_back(ends, wanted):
    """The same box to the bit, and the same property, up to the multiples of its inequalities."""
    if isinstance(wanted, list):
        wanted = Clauses(3, tuple(tuple(map(in_lowest_terms, clause)) for clause in wanted))
    lower, upper = (np.array([[f(pair) for pair in ends]], np.float32) for f in (min, max))
    asked = read_vnnlib(write_vnnlib(Box(lower, upper), wanted).encode())
    for box in (asked.box, asked.searched):
        assert box.lower.tobytes() == (lower + 0).tobytes()  # -0 is written as 0
        assert box.upper.tobytes() == (upper + 0).tobytes()
    assert asked.properties == (as_clauses(wanted),)
    assert asked.unreadable == 0


@pytest.mark.parametrize("property_", [SingleLabel(2, 3), MultiLabel((0, 1))])
def test_a_classifiers_property_as_clauses_is_the_same(property_):
    """One clause for each row, and the same margins."""
    clauses = as_clauses(property_)
    outputs = np.random.default_rng(0).normal(size=(50, property_.logits)).astype(np.float32)
    np.testing.assert_array_equal(clauses.margins(outputs) > 0, property_.margins(outputs) > 0)
    np.testing.assert_array_equal(clauses.rows(), property_.rows())


def test_what_cannot_be_written_is_refused():
    """Several boxes, an end that is infinite, a constant of too many digits."""
    one = np.zeros((1, 2), np.float32)
    huge = Clauses(1, ((Inequality((1,), Fraction(1, 10**5000)),),))
    for box, wanted, named in (
        (
            Box(np.zeros((2, 2), np.float32), np.ones((2, 2), np.float32)),
            SingleLabel(0, 2),
            "2 box",
        ),
        (Box(one, one + np.float32(np.inf)), SingleLabel(0, 2), "not finite"),
        (Box(one, one.copy()), huge, "too many digits"),
    ):
        with pytest.raises(PropertyError, match=named):
            write_vnnlib(box, wanted)


Y = "(assert (>= Y_0 0))"
OR_X = "(or " + " ".join(f"(<= X_0 {n})" for n in range(1, 102)) + ")"
REFUSED = [
    ("(declare-const X_0 Real", "ends inside 1 open"),
    ("(declare-const Y_0 Real))", "nothing opened"),
    ("X_0", "line 1: 'X_0' stands outside"),
    ("(" * (DEEPEST_FORM + 1), "nest more than"),
    ("(declare-const Z_0 Real)", "names are X_0"),
    ("(declare-const X_00 Real)", "names are X_0"),
    ("(declare-const X_0 Int)", "not supported"),
    ("(declare-fun X_0 () Real)", "not supported"),
    ("(vnnlib-version <2.0>)", "a VNN-LIB 1 file"),
    ("(declare-const X_0 Real) (declare-const X_0 Real)", "declared twice"),
    ("(declare-const X_0 Real)", "no Y_0"),
    ("(declare-const Y_0 Real)", "no X_0"),
    ("(declare-const X_1 Real) (declare-const Y_0 Real)", "not X_0 to the last"),
    ("".join(f"(declare-const Y_{j} Real)" for j in range(10_001)) + "(declare-const X_0 Real)",
     "10001 outputs"),
    (DECLARED + "(assert)", "not supported"),
    (DECLARED + "(assert (>= X_0 0) (<= X_0 1))", "not supported"),
    (DECLARED + "(assert (>= X_2 0))", "neither a declared variable"),
    (DECLARED + "(assert (= X_0 0))", "is no formula"),
    (DECLARED + "(assert (not (<= X_0 0)))", "is no formula"),
    (DECLARED + "(assert true)", "is no formula"),
    (DECLARED + "(assert (and))", "is no formula"),
    (DECLARED + "(assert (<= 0 X_0 1))", "is no formula"),
    (DECLARED + "(assert (<= (/ X_0 2) 1))", "is no linear term"),
    (DECLARED + "(assert (<= (-) 1))", "is no linear term"),
    (DECLARED + "(assert (<= (* Y_0 Y_1) 1))", "only linear"),
    (DECLARED + "(assert (<= Y_0 nan))", "neither a declared"),
    (DECLARED + "(assert (<= Y_0 1_000))", "neither a declared"),
    (DECLARED + "(assert (<= Y_0 \u0661))", "neither a declared"),
    (DECLARED + "(assert (<= Y_0 0x10))", "neither a declared"),
    (DECLARED + "(assert (<= Y_0 1e401))", "exponent beyond"),
    (DECLARED + "(assert (<= Y_0 1e-999999999))", "neither a declared"),
    (DECLARED + f"(assert (<= Y_0 {'1' * 2001}))", "more than 2000 characters"),
    (DECLARED + f"(assert (<= Y_0 (* {'1e400 ' * 9})))", "bits"),
    (DECLARED + Y, "X_0 has no lower bound"),
    (DECLARED + Y + "(assert (>= X_0 0))", "X_0 has no upper bound"),
    (DECLARED + Y + "(assert (or (<= X_0 1) (>= X_0 0)))" + BOUNDED[:37], "X_1 has no lower bound"),
    (DECLARED + Y + "(assert (<= X_0 1e39))" + BOUNDED.replace("4)", "1e39)"), "range of float32"),
    (DECLARED + BOUNDED + "(assert (<= X_0 X_1))", r"several inputs \(X_0, X_1\)"),
    (DECLARED + BOUNDED + "(assert (<= X_0 Y_1))", r"inputs and outputs \(X_0, Y_1\)"),
    (DECLARED + BOUNDED + f"(assert (and {OR_X} {OR_X}))", "multiply into more"),
    (DECLARED + BOUNDED + f"(assert (<= (* {2**54} Y_0) (* {2**53 + 1} Y_1)))", "53 bits"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "named"), REFUSED, ids=lambda value: value[:40])
def test_what_is_not_understood_is_refused(text, named):
    """In one line that says what and why."""
    with pytest.raises(PropertyError, match=named) as raised:
        read_vnnlib(text.encode())
    assert len(str(raised.value)) < 500
    assert "\n" not in str(raised.value)


def test_bytes_that_are_no_text_or_too_many_are_refused():
    """Before anything is made of them."""
    with pytest.raises(PropertyError, match="UTF-8"):
        read_vnnlib(b"\xff\xfe(assert")
    with pytest.raises(PropertyError, match="are allowed"):
        read_vnnlib(b" " * (LARGEST_VNNLIB + 1))


def test_comments_and_spellings_of_numbers_are_read():
    """Any white space, comments anywhere, exponents, and points without digits beside them."""
    text = DECLARED.replace(" ", "\t\n; X_9 (\r\n ") + (
        "(assert (and (>= X_0 -.5) (<= X_0 +5.E-1) ; half\n (<= 0. X_1) (>= 1e0 X_1)))"
    )
    asked = read_vnnlib(text.encode())
    assert asked.box.lower.tolist() == [[-0.5, 0.0]]
    assert asked.box.upper.tolist() == [[0.5, 1.0]]


def test_empty_boxes_and_false_constants_leave_no_case():
    """What no input satisfies is vacuous: nothing of it is asked, and nothing of it is unsafe."""
    for nothing in (
        "(<= X_0 -5)", "(> X_0 4)", "(and (>= X_0 1) (< X_0 1))", "(<= 1 0)", "(< 0 0)",
        "(or (<= X_0 -5) (and (>= X_1 3) (<= X_1 2)))",
    ):  # fmt: skip
        asked = read_vnnlib((DECLARED + BOUNDED + f"(assert {nothing})").encode())
        assert len(asked) == 0
        assert asked.box.lower.shape == (0, 2)
    asked = read_vnnlib((DECLARED + BOUNDED + "(assert (or (<= X_0 -5) (<= 0 0)))").encode())
    assert len(asked) == 1


HOSTILE = {
    "disjunctions that multiply": "(assert (and " + "(or (>= Y_0 0) (<= Y_1 0)) " * 20_000 + "))",
    "disjunctions in files of their own": "(assert (or (>= Y_0 0) (<= Y_1 0)))" * 10_000,
    "long conjunctions that multiply": "(assert (and " + "(or (>= Y_0 0) (<= Y_1 0)) " * 13
    + "(>= Y_0 0)" * 30_000 + "))",
    "depth, again and again": ("(assert " + "(and " * 90 + "(>= Y_0 0)" + ")" * 91) * 500,
    "numbers that grow": "(assert (>= (+" + " (* 1e300 1e300 1e300)" * 5_000 + ") Y_0))",
    "digits": f"(assert (>= Y_0 {'9' * 5_000_000}))",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_files_that_ask_for_much_are_refused_or_read_soon(name):
    """Seconds for a megabyte or two, whatever stands in them."""
    start = time.process_time()
    try:
        asked = read_vnnlib((DECLARED + BOUNDED + HOSTILE[name]).encode())
    except PropertyError:
        pass
    else:
        assert len(asked) <= MOST_CASES
    assert time.process_time() - start < 10


def test_packed_files_are_unpacked_up_to_a_limit(tmp_path):
    """By path or as bytes; one that unfolds into more than is allowed is refused."""
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(b"x" * 1000))
    assert read_file(path, 1000, PropertyError) == b"x" * 1000
    assert read_file(path.read_bytes(), 1000, PropertyError) == b"x" * 1000
    assert read_file(b"plain", 5, PropertyError) == b"plain"
    bomb = gzip.compress(bytes(50_000_000))
    for file, named in (
        (path.read_bytes()[:-9], "cannot be unpacked"),
        (b"\x1f\x8bnothing", "cannot be unpacked"),
        (bomb, "more than 100000 bytes"),
        (tmp_path / "none", "no such file"),
        (tmp_path, "a folder; give a file"),
    ):
        with pytest.raises(PropertyError, match=named):
            read_file(file, 100_000, PropertyError)
    (tmp_path / "large").write_bytes(bytes(100_001))
    with pytest.raises(PropertyError, match="more than"):
        read_file(tmp_path / "large", 100_000, PropertyError)
