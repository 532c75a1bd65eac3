"""Read a VNN-LIB 1 file. It is untrusted; what is not understood is refused."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import reduce
from itertools import chain, product
from math import gcd
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from asi_verify.core.box import Box
from asi_verify.core.clauses import FEW_INPUTS, Clauses, Inequality
from asi_verify.core.limits import LARGEST_CASES, LARGEST_CLAUSES, MOST_CASES, MOST_LOGITS
from asi_verify.errors import PropertyError, UsageError
from asi_verify.lowering.vnnlib.formula import (
    Atom,
    Formula,
    Junction,
    Variable,
    alternatives,
    read_formula,
    size,
)
from asi_verify.lowering.vnnlib.specification import LARGEST_FLOAT32, Specification, read_as
from asi_verify.lowering.vnnlib.text import Form, decoded, forms, line_of, shown

__all__ = ["read_vnnlib"]

_NAME = re.compile(r"([XY])_(0|[1-9][0-9]{0,8})")


def read_vnnlib(data: bytes) -> Specification:
    """What a VNN-LIB 1 file asks.

    Accepted: ``(declare-const X_i Real)`` and ``(declare-const Y_j Real)``, numbered from 0 without
    gaps, and ``(assert ...)`` of ``and``, ``or``, and ``<=``, ``<``, ``>=``, ``>`` between linear
    terms. Every inequality is over inputs alone or over outputs alone; over inputs, over one.

    Args:
        data: the file's bytes.

    Raises:
        PropertyError: it is none of these, an input has no bound on a side, or a limit of
            ``core.limits`` is passed.
    """
    variables: dict[str, Variable] = {}
    assertions: list[Formula] = []
    text = decoded(data)
    for end, form in forms(text):
        try:
            _read(form, variables, assertions)
        except PropertyError as error:
            raise PropertyError(f"{line_of(text, end)}{error}") from None
    inputs, outputs = (_counted(is_output, variables.values()) for is_output in (False, True))
    return _specification(inputs, outputs, tuple(assertions))


def _read(form: Form, variables: dict[str, Variable], assertions: list[Formula]) -> None:
    match form:
        case ["declare-const", str(name), "Real"]:
            _declare(name, variables)
        case ["assert", asserted]:
            assertions.append(read_formula(asserted, variables))
        case _:
            raise PropertyError(
                f"{shown(form)} is not supported; a VNN-LIB 1 file has (declare-const X_0 "
                "Real), (declare-const Y_0 Real) and (assert ...)"
            )


def _declare(name: str, variables: dict[str, Variable]) -> None:
    match = _NAME.fullmatch(name)
    if match is None:
        raise PropertyError(f"{shown(name)} is declared; names are X_0, X_1, ... and Y_0, Y_1, ...")
    if name in variables:
        raise PropertyError(f"{name} is declared twice")
    variables[name] = Variable(match[1] == "Y", int(match[2]))


def _counted(is_output: bool, variables: Iterable[Variable]) -> int:
    count = sum(variable.is_output == is_output for variable in variables)
    letter = "Y" if is_output else "X"
    if not count:
        raise PropertyError(f"no {letter}_0 is declared")
    if any(v.number >= count for v in variables if v.is_output == is_output):
        raise PropertyError(
            f"{count} {letter}_i are declared, but not {letter}_0 to the last of them"
        )
    if is_output and count > MOST_LOGITS:
        raise PropertyError(f"{count} outputs are declared; {MOST_LOGITS} are supported")
    return count


class _Bound(NamedTuple):
    """What is known of one input: its ends as written, and whether they are excluded."""

    lower: Fraction | None = None
    above: bool = False
    upper: Fraction | None = None
    below: bool = False

    def and_(self, atom: Atom) -> _Bound:
        """With an atom over this input as well."""
        end = atom.end
        if atom.is_lower:
            # Of two bounds with one end the strict one counts.
            old = (end, atom.strict) if self.lower is None else (self.lower, self.above)
            lower, above = max(old, (end, atom.strict))
            return self._replace(lower=lower, above=above)
        held = (end, atom.strict) if self.upper is None else (self.upper, self.below)
        upper, below = min(held, (end, atom.strict), key=lambda pair: (pair[0], not pair[1]))
        return self._replace(upper=upper, below=below)

    @property
    def is_closed(self) -> bool:
        """Whether it has both ends."""
        return self.lower is not None and self.upper is not None

    @property
    def is_empty(self) -> bool:
        """Whether no number lies between the ends, as they are written or are read as float32.

        Each bound holds either way (``Specification.is_unsafe``): where both of two ends that cross
        are read as one number, that number lies between them, unless a strict bound excludes it.
        """
        if self.lower is None or self.upper is None or self.lower < self.upper:
            return False
        read = read_as(self.lower)
        if read != read_as(self.upper):
            return True
        return (self.above and read <= self.lower) or (self.below and read >= self.upper)


_NOTHING_KNOWN = _Bound()
_Bounds = dict[int, _Bound]


class _Conjunction(NamedTuple):
    """What a conjunction of atoms says of inputs and of outputs."""

    bounds: _Bounds
    unsafe: tuple[Atom, ...]


def _specification(inputs: int, outputs: int, assertions: tuple[Formula, ...]) -> Specification:
    always = _sorted_out(chain.from_iterable(map(_plain, assertions)), {})
    branching = [formula for formula in assertions if not _is_plain(formula)]
    _refuse_blow_up(branching)
    cases: dict[tuple[int, tuple[tuple[int, _Bound], ...]], list[tuple[Atom, ...]]] = {}
    whole = {} if always is None else always.bounds
    if always is not None:
        every = product(*(tuple(alternatives(formula)) for formula in branching))
        for number, chosen in enumerate(every):
            found = _sorted_out(chain.from_iterable(chosen), whole)
            if found is not None:
                # Conjunctions over one box of few inputs make one case.
                alone = number if inputs > FEW_INPUTS else -1
                key = alone, tuple(sorted(found.bounds.items()))
                cases.setdefault(key, []).append(always.unsafe + found.unsafe)
    if len(cases) * inputs > LARGEST_CASES:
        raise PropertyError(
            f"{len(cases)} cases of {inputs} inputs; {LARGEST_CASES} numbers are supported"
        )
    box, searched, unreadable = _boxes(inputs, whole, [dict(key) for _, key in cases])
    rows = sum(len(unsafe) for clauses in cases.values() for unsafe in clauses)
    if rows * outputs > LARGEST_CLAUSES:
        raise PropertyError(
            f"{rows} constraints on {outputs} outputs; {LARGEST_CLAUSES} numbers are supported"
        )
    properties = tuple(_property(outputs, clauses) for clauses in cases.values())
    return Specification(inputs, outputs, assertions, box, searched, properties, unreadable)


def _is_plain(formula: Formula) -> bool:
    """Whether it is one conjunction."""
    return isinstance(formula, Atom) or (formula.all_of and all(map(_is_plain, formula.parts)))


def _plain(formula: Formula) -> Iterable[Atom]:
    if not _is_plain(formula):
        return ()
    return next(alternatives(formula))


def _refuse_blow_up(branching: Sequence[Formula]) -> None:
    if not branching:
        return
    found = size(Junction(True, tuple(branching)), LARGEST_CLAUSES)
    if found.conjunctions > MOST_CASES or found.atoms > LARGEST_CLAUSES:
        raise PropertyError(
            f"the file's disjunctions multiply into more than {MOST_CASES} conjunctions, or into "
            f"more than {LARGEST_CLAUSES} constraints; divide it into several files"
        )


def _sorted_out(atoms: Iterable[Atom], always: _Bounds) -> _Conjunction | None:
    """What some atoms say beyond what always holds; None if no input satisfies them.

    Of each input that they bound, the bounds are those of ``always`` and theirs together.
    """
    bounds: _Bounds = {}
    unsafe: list[Atom] = []
    is_empty = False
    for atom in atoms:
        kinds = {variable.is_output for variable, _ in atom.terms}
        if not kinds:
            is_empty |= atom.constant < 0 or (atom.constant == 0 and atom.strict)
        elif kinds == {True}:
            unsafe.append(atom)
        elif len(atom.terms) == 1:
            ((variable, _),) = atom.terms
            known = bounds.get(variable.number, always.get(variable.number, _NOTHING_KNOWN))
            bounds[variable.number] = known.and_(atom)
        else:
            raise PropertyError(_not_a_box(atom))
    if is_empty or any(bound.is_empty for bound in bounds.values()):
        return None
    changed = {i: bound for i, bound in bounds.items() if bound != always.get(i)}
    return _Conjunction(changed, tuple(unsafe))


def _not_a_box(atom: Atom) -> str:
    names = [f"{'Y' if v.is_output else 'X'}_{v.number}" for v, _ in atom.terms]
    listed = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
    if any(v.is_output for v, _ in atom.terms):
        return f"one inequality over inputs and outputs ({listed}); write one over either alone"
    return f"one inequality over several inputs ({listed}); only boxes of inputs are supported"


def _boxes(inputs: int, always: _Bounds, cases: Sequence[_Bounds]) -> tuple[Box, Box, int]:
    """What proofs are about, where witnesses are sought, and inputs without a float32 number."""
    open_ends = [i for i in range(inputs) if not always.get(i, _NOTHING_KNOWN).is_closed]
    for bounds in cases:
        for i in open_ends:
            bound = bounds.get(i, always.get(i, _NOTHING_KNOWN))
            if not bound.is_closed:
                side = "lower" if bound.lower is None else "upper"
                raise PropertyError(f"X_{i} has no {side} bound; every input needs both")
    ends = np.empty((4, len(cases), inputs), np.float32)
    unread = np.zeros((len(cases), inputs), np.bool_)
    if cases:
        # What always holds is turned into numbers once, not once for each case.
        _fill(ends[:, 0], unread[0], always)
        ends[:, 1:], unread[1:] = ends[:, :1], unread[0]
    for case, bounds in enumerate(cases):
        _fill(ends[:, case], unread[case], bounds)
    lower, upper, least, most = ends
    return Box(lower, upper), Box(least, most), int(unread.sum(axis=1).max(initial=0))


def _fill(ends: npt.NDArray[np.float32], unread: npt.NDArray[np.bool_], bounds: _Bounds) -> None:
    """Write the ends of some inputs, rows ``lower``, ``upper``, ``least``, ``most``."""
    known = {i: bound for i, bound in bounds.items() if bound.is_closed}
    if not known:
        return
    numbers = list(known)
    lower = _around([bound.lower for bound in known.values()], numbers)
    upper = _around([bound.upper for bound in known.values()], numbers)
    above = np.array([bound.above for bound in known.values()])
    below = np.array([bound.below for bound in known.values()])
    least = np.where(above & (lower.above == lower.below), _next_up(lower.above), lower.above)
    most = np.where(below & (upper.above == upper.below), _next_down(upper.below), upper.below)
    none = least > most
    ends[:, numbers] = (
        lower.below,
        upper.above,
        np.where(none, lower.read, least),
        np.where(none, upper.read, most),
    )
    unread[numbers] = none


class _Around(NamedTuple):
    """Of some decimals: the float32 numbers below and above, and the ones they are read as.

    The nearest float64 is rounded to the nearest float32, as programs do that read decimals. Both
    roundings are monotone, so a float32 number is read as itself and a lower end never passes an
    upper one; and what is read is one of the two neighbours.
    """

    below: npt.NDArray[np.float32]
    read: npt.NDArray[np.float32]
    above: npt.NDArray[np.float32]


def _around(values: Sequence[Fraction | None], inputs: Sequence[int]) -> _Around:
    exact = [value for value in values if value is not None]
    for value, i in zip(exact, inputs, strict=True):
        # Below 2^127 by their bits alone are all that need no comparison.
        size = value.numerator.bit_length() - value.denominator.bit_length()
        if size > 126 and abs(value) > LARGEST_FLOAT32:
            raise PropertyError(f"X_{i} has a bound beyond the range of float32")
    nearest = np.array([float(value) for value in exact])
    read = nearest.astype(np.float32)
    # The nearest float64 lies on the same side of a float32 number as the decimal, or on it.
    is_above, is_below = read > nearest, read < nearest
    for k in np.flatnonzero(read == nearest):
        number = Fraction(float(read[k]))
        is_above[k], is_below[k] = number > exact[k], number < exact[k]
    return _Around(
        np.where(is_above, _next_down(read), read),
        read,
        np.where(is_below, _next_up(read), read),
    )


def _next_down(numbers: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    with np.errstate(over="ignore"):
        return np.nextafter(numbers, np.float32(-np.inf))


def _next_up(numbers: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    with np.errstate(over="ignore"):
        return np.nextafter(numbers, np.float32(np.inf))


def _property(outputs: int, unsafe: Sequence[tuple[Atom, ...]]) -> Clauses:
    """That none of some conjunctions of constraints on outputs holds: one of each fails."""
    try:
        clauses = tuple(
            tuple(_fails(outputs, atom) for atom in conjunction) or (_never(outputs),)
            for conjunction in unsafe
        )
    except UsageError as error:  # numbers of more bits than a float64 has
        raise PropertyError(str(error)) from None
    return Clauses(outputs, clauses)


def _fails(outputs: int, atom: Atom) -> Inequality:
    """That ``terms + constant >= 0`` does not hold: ``-terms - constant > 0``, in lowest terms."""
    coefficients = [Fraction(0)] * outputs
    for variable, coefficient in atom.terms:
        coefficients[variable.number] = -coefficient
    # Any positive multiple says the same; without a common divisor there is one way to write it.
    common = reduce(_common_divisor, (abs(coefficient) for _, coefficient in atom.terms))
    return Inequality.of([c / common for c in coefficients], -atom.constant / common)


def _common_divisor(first: Fraction, second: Fraction) -> Fraction:
    """The largest number of which both are whole multiples."""
    return Fraction(
        gcd(first.numerator * second.denominator, second.numerator * first.denominator),
        first.denominator * second.denominator,
    )


def _never(outputs: int) -> Inequality:
    """What no output satisfies: where outputs are not constrained, every one of them is unsafe."""
    return Inequality((0,) * outputs, Fraction(-1))
