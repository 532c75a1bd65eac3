"""Formulas over inputs and outputs: linear inequalities, conjunctions and disjunctions of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import NamedTuple

from asi_verify.core.limits import MOST_BITS
from asi_verify.errors import PropertyError
from asi_verify.lowering.vnnlib.text import Form, numeral, shown

__all__ = [
    "Atom",
    "Formula",
    "Junction",
    "Size",
    "Variable",
    "alternatives",
    "read_formula",
    "size",
]


class Variable(NamedTuple):
    """An input ``X_i`` or an output ``Y_j``."""

    is_output: bool
    number: int


@dataclass(frozen=True, slots=True)
class Atom:
    """``terms + constant >= 0``, or ``> 0`` if it is strict.

    Attributes:
        terms: variables with their coefficients, none of which is 0.
        constant: the rest.
        strict: whether equality is excluded.
    """

    terms: tuple[tuple[Variable, Fraction], ...]
    constant: Fraction
    strict: bool

    @property
    def end(self) -> Fraction:
        """With one variable: what it is compared with."""
        ((_, coefficient),) = self.terms
        if coefficient == _ONE:
            return -self.constant
        return self.constant if coefficient == _LESS else -self.constant / coefficient

    @property
    def is_lower(self) -> bool:
        """With one variable: whether it is at least its end, rather than at most."""
        ((_, coefficient),) = self.terms
        return coefficient.numerator > 0


@dataclass(frozen=True, slots=True)
class Junction:
    """All of some formulas, or at least one of them.

    Attributes:
        all_of: a conjunction, else a disjunction.
        parts: at least one.
    """

    all_of: bool
    parts: tuple[Formula, ...]


Formula = Atom | Junction

_ZERO, _ONE, _LESS = Fraction(0), Fraction(1), Fraction(-1)

_Linear = tuple[dict[Variable, Fraction], Fraction]
"""Coefficients and a constant."""


def read_formula(form: Form, variables: dict[str, Variable]) -> Formula:
    """The formula that a form is.

    Raises:
        PropertyError: it is none of this language, names what is not declared, is not linear, or
            has numbers of more than ``MOST_BITS`` bits.
    """
    match form:
        case ["and" | "or" as name, _, *_]:
            parts = tuple(read_formula(part, variables) for part in form[1:])
            return Junction(name == "and", parts)
        case ["<=" | "<" | ">=" | ">" as name, left, right]:
            greater, less = (right, left) if name in ("<=", "<") else (left, right)
            return _atom(greater, less, name in ("<", ">"), variables)
        case _:
            raise PropertyError(
                f"{shown(form)} is no formula; known are (and ...), (or ...), and <=, <, >= and > "
                "between two linear terms"
            )


def _atom(greater: Form, less: Form, strict: bool, variables: dict[str, Variable]) -> Atom:
    if isinstance(greater, str) and isinstance(less, str):
        # Most are bounds on one input, and files have many thousands of them.
        above, below = variables.get(greater), variables.get(less)
        if above is not None and below is None and (number := numeral(less)) is not None:
            return Atom(((above, _ONE),), -number, strict)
        if below is not None and above is None and (number := numeral(greater)) is not None:
            return Atom(((below, _LESS),), number, strict)
    terms, constant = _sum(_linear(greater, variables), _negated(_linear(less, variables)))
    return Atom(tuple(sorted(terms.items())), constant, strict)


def _linear(form: Form, variables: dict[str, Variable]) -> _Linear:
    if isinstance(form, str):
        if form in variables:
            return {variables[form]: _ONE}, _ZERO
        number = numeral(form)
        if number is None:
            raise PropertyError(f"{shown(form)} is neither a declared variable nor a numeral")
        return {}, number
    match form:
        case ["+", _, *_]:
            return _folded(form[1:], variables, _sum)
        case ["-", only]:
            return _negated(_linear(only, variables))
        case ["-", first, *rest]:
            less = _negated(_folded(rest, variables, _sum))
            return _sum(_linear(first, variables), less)
        case ["*", _, *_]:
            return _folded(form[1:], variables, _product)
        case _:
            raise PropertyError(
                f"{shown(form)} is no linear term; known are numerals, variables, +, - and *"
            )


def _folded(
    forms: list[Form], variables: dict[str, Variable], join: Callable[[_Linear, _Linear], _Linear]
) -> _Linear:
    """All terms joined; in place of the first dictionary, which is its own."""
    first, *rest = forms
    result = _linear(first, variables)
    for form in rest:
        result = join(result, _linear(form, variables))
    return result


def _sum(first: _Linear, second: _Linear) -> _Linear:
    """The sum, in the first one's dictionary; coefficients that become 0 are gone."""
    terms, constant = first
    for variable, coefficient in second[0].items():
        known = terms.pop(variable, None)
        total = coefficient if known is None else _bounded(known + coefficient)
        if total:
            terms[variable] = total
    # Most sums are of a variable and a numeral: nothing is added to 0 there.
    return terms, _bounded(constant + second[1]) if constant and second[1] else constant or second[
        1
    ]


def _negated(linear: _Linear) -> _Linear:
    terms, constant = linear
    return {variable: -coefficient for variable, coefficient in terms.items()}, -constant


def _product(first: _Linear, second: _Linear) -> _Linear:
    if first[0] and second[0]:
        raise PropertyError("a product of two variables: only linear constraints are supported")
    linear, factor = (first, second[1]) if first[0] else (second, first[1])
    return _scaled(linear, factor)


def _scaled(linear: _Linear, factor: Fraction) -> _Linear:
    terms, constant = linear
    scaled = {v: _bounded(c * factor) for v, c in terms.items()} if factor else {}
    return scaled, _bounded(constant * factor)


def _bounded(number: Fraction) -> Fraction:
    """The number itself; refused if arithmetic on it would become slow."""
    if max(number.numerator.bit_length(), number.denominator.bit_length()) > MOST_BITS:
        raise PropertyError(f"a number of more than {MOST_BITS} bits; write it with fewer digits")
    return number


class Size(NamedTuple):
    """How many conjunctions a formula is a disjunction of, and how many atoms these have."""

    conjunctions: int
    atoms: int


def size(formula: Formula, most: int) -> Size:
    """How large ``alternatives`` would be; numbers above ``most`` stand for any larger ones."""
    if isinstance(formula, Atom):
        return Size(1, 1)
    sizes = [size(part, most) for part in formula.parts]
    if not formula.all_of:
        total = Size(sum(s.conjunctions for s in sizes), sum(s.atoms for s in sizes))
    else:
        total = Size(1, 0)
        for part in sizes:
            atoms = total.atoms * part.conjunctions + part.atoms * total.conjunctions
            total = Size(total.conjunctions * part.conjunctions, atoms)
            if max(total) > most:  # numbers of this size alone would grow without bound
                break
    return Size(min(total.conjunctions, most + 1), min(total.atoms, most + 1))


def alternatives(formula: Formula) -> Iterator[tuple[Atom, ...]]:
    """The conjunctions of which the formula is the disjunction; ask ``size`` first."""
    if isinstance(formula, Atom):
        yield (formula,)
    elif formula.all_of:
        for chosen in product(*(tuple(alternatives(part)) for part in formula.parts)):
            yield tuple(atom for conjunction in chosen for atom in conjunction)
    else:
        for part in formula.parts:
            yield from alternatives(part)
