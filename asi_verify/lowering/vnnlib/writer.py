"""Write a box and a property as VNN-LIB 1, for other programs to answer."""

from __future__ import annotations

from fractions import Fraction

from asi_verify.core.box import Box
from asi_verify.core.clauses import Clauses, Inequality
from asi_verify.core.limits import LONGEST_NUMERAL
from asi_verify.core.properties import Property
from asi_verify.errors import PropertyError

__all__ = ["as_clauses", "write_vnnlib"]


def as_clauses(property_: Property) -> Clauses:
    """The same property as clauses; of a classifier's, one for each row."""
    if isinstance(property_, Clauses):
        return property_
    return Clauses(
        property_.logits,
        tuple((Inequality(tuple(map(int, row)), Fraction(0)),) for row in property_.rows()),
    )


def write_vnnlib(box: Box, property_: Property) -> str:
    """The text of a VNN-LIB file that asks for a point of a box at which a property fails.

    Every float32 number is written out in full, so that whoever reads it has the same one.

    Args:
        box: one float32 box, shape ``(1, *shape)``; its numbers become ``X_i`` in C order.
        property_: over all outputs, ``Y_j`` in C order.

    Raises:
        PropertyError: there is more than one box, an end is not finite, or a constant of the
            property has too many digits.
    """
    if len(box) != 1:
        raise PropertyError(f"{len(box)} boxes; a VNN-LIB file is written of one")
    lower, upper = box.lower.reshape(-1).tolist(), box.upper.reshape(-1).tolist()
    if not all(abs(end) < float("inf") for end in (*lower, *upper)):
        raise PropertyError("an end of the box is not finite")
    wanted = as_clauses(property_)
    lines = [f"(declare-const X_{i} Real)" for i in range(len(lower))]
    lines += [f"(declare-const Y_{j} Real)" for j in range(wanted.outputs)]
    for i, (low, high) in enumerate(zip(lower, upper, strict=True)):
        lines += [
            f"(assert (>= X_{i} {_decimal(Fraction(low))}))",
            f"(assert (<= X_{i} {_decimal(Fraction(high))}))",
        ]
    lines += ["(assert (or", *(f"  (and {_unsafe(clause)})" for clause in wanted.clauses), "))", ""]
    return "\n".join(lines)


def _unsafe(clause: tuple[Inequality, ...]) -> str:
    """That no inequality of a clause holds."""
    return " ".join(map(_fails, clause))


def _fails(row: Inequality) -> str:
    """``coefficients . Y <= -constant``, multiplied until the constant is a whole number."""
    factor = row.constant.denominator
    terms = [(c * factor, f"Y_{j}") for j, c in enumerate(row.coefficients) if c]
    match terms:
        case [(1, first), (-1, second)]:
            return _at_most(first, second, row.constant)
        case [(-1, first), (1, second)]:
            return _at_most(second, first, row.constant)
        case []:
            left = "0"
        case [only]:
            left = _product(*only)
        case _:
            left = f"(+ {' '.join(_product(*term) for term in terms)})"
    return f"(<= {left} {_decimal(-row.constant * factor)})"


def _at_most(larger: str, smaller: str, constant: Fraction) -> str:
    """``larger - smaller + constant <= 0``."""
    if constant:
        return f"(<= (- {larger} {smaller}) {_decimal(-constant)})"
    return f"(<= {larger} {smaller})"


def _product(coefficient: int, name: str) -> str:
    return name if coefficient == 1 else f"(* {_decimal(Fraction(coefficient))} {name})"


def _decimal(number: Fraction) -> str:
    """A number whose denominator is a power of 2, written out; all of its digits."""
    twos = number.denominator.bit_length() - 1
    if number.numerator.bit_length() + 3 * twos > 3 * LONGEST_NUMERAL:
        raise PropertyError("a number of too many digits; round the property's constants")
    digits = str(abs(number.numerator) * 5**twos).rjust(twos + 1, "0")
    whole, rest = digits[: len(digits) - twos], digits[len(digits) - twos :].rstrip("0")
    return f"{'-' if number < 0 else ''}{whole}.{rest or '0'}"
