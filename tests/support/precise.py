"""Smooth operators to 60 digits: what is right, for tests.

Written out from the definitions; shares no code with the library's bounds.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import mpmath
import numpy as np

from asi_verify.core.operators import Operator
from asi_verify.core.smooth import Erf, Gelu, LayerNormalization, Sigmoid, Softmax, Tanh

DIGITS = 60


def number(value: Fraction | float) -> Any:
    """The number for mpmath; exact for a float."""
    given = Fraction(value)
    return mpmath.mpf(given.numerator) / given.denominator


def fraction(value: Any) -> Fraction:
    """The exact value of one of mpmath's numbers; 0 for what is far below any bound."""
    sign, mantissa, exponent, _ = value._mpf_
    if exponent < -60_000:
        return Fraction(0)
    return (-1) ** sign * Fraction(int(mantissa)) * Fraction(2) ** int(exponent)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + mpmath.exp(-x))


def gelu(x: Any) -> Any:
    return x * mpmath.erfc(-x / mpmath.sqrt(2)) / 2


def gelu_by_tanh(x: Any) -> Any:
    # (1 + tanh(s)) / 2 is the sigmoid of 2 s, which loses no digits far from 0.
    inner = mpmath.sqrt(2 / mpmath.pi) * (x + mpmath.mpf(44715) / 10**6 * x**3)
    return x * sigmoid(2 * inner)


def function(operator: Operator) -> Any:
    """A smooth function of one number."""
    match operator:
        case Sigmoid():
            return sigmoid
        case Tanh():
            return mpmath.tanh
        case Erf():
            return mpmath.erf
        case Gelu(tanh=tanh):
            return gelu_by_tanh if tanh else gelu
    raise AssertionError(operator)


def apply(operator: Operator, x: Any) -> Any:
    """One operator of an object array of Fractions, rounded to 60 digits."""
    with mpmath.workdps(DIGITS):
        flat = [number(value) for value in x.reshape(-1)]
        numbers = np.empty(len(flat), dtype=object)
        numbers[:] = flat
        numbers = numbers.reshape(x.shape)
        match operator:
            case Softmax(axis=axis):
                found = _along_last(softmax, np.moveaxis(numbers, axis, -1))
                found = np.moveaxis(found, -1, axis)
            case LayerNormalization(scale=scale):
                rows = numbers.reshape(-1, scale.size)
                found = _along_last(lambda row: normalized(operator, row), rows).reshape(x.shape)
            case _:
                found = np.vectorize(function(operator), otypes=[object])(numbers)
        return np.vectorize(fraction, otypes=[object])(found)


def _along_last(one: Any, numbers: Any) -> Any:
    found = np.empty(numbers.shape, dtype=object)
    for position in np.ndindex(*numbers.shape[:-1]):
        found[position] = one(list(numbers[position]))
    return found


def softmax(row: list[Any]) -> list[Any]:
    powers = [mpmath.exp(value - max(row)) for value in row]
    return [power / mpmath.fsum(powers) for power in powers]


def normalized(operator: LayerNormalization, row: list[Any]) -> list[Any]:
    mean = mpmath.fsum(row) / len(row)
    variance = mpmath.fsum((value - mean) ** 2 for value in row) / len(row)
    root = mpmath.sqrt(variance + number(operator.epsilon))
    return [
        (value - mean) / root * number(float(scale)) + number(float(shift))
        for value, scale, shift in zip(
            row, operator.scale.reshape(-1), operator.shift.reshape(-1), strict=True
        )
    ]
