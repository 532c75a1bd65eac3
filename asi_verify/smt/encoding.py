"""A query's negation as an SMT-LIB script in linear real arithmetic.

The script asks: is there an input in the box on which no row of some clause of the property
is positive? All
constants are the exact rational values of the artifact's float32 weights. A ReLU whose phase sound
bounds fix is replaced by 0 or by its input, and a maximum that only one number can be by that
number; only the others become disjunctions. What the property does not depend on is left out.

Under float32 semantics the result of every operator that rounds is any number within the trusted
pass's bound on its rounding error: what cannot be satisfied then cannot happen in float32 either.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.checker.relu import open_phases
from asi_verify.core.box import Box
from asi_verify.core.moves import Pad, Select
from asi_verify.core.network import Network
from asi_verify.core.operators import (
    Add,
    Affine,
    Concat,
    Conv,
    MaxPool,
    Operator,
    Relu,
    Reshape,
    Scale,
    Transpose,
)
from asi_verify.core.properties import Property
from asi_verify.errors import UnsupportedOperatorError

__all__ = ["EncodingTooLarge", "encoded", "has_more_choices", "input_name"]


Errors = tuple[npt.NDArray[np.float64] | None, ...]


class EncodingTooLarge(Exception):  # noqa: N818  an outcome that the caller expects, not an error
    """The script would have more terms than allowed."""


def input_name(number: int) -> str:
    """The variable that stands for a number of the input, in C order."""
    return f"x{number}"


def has_more_choices(network: Network, boxes: tuple[Box, ...], most: int) -> bool:
    """Whether a script would have to choose between more than so many alternatives.

    Counted are open phases of ReLUs, and of each window all but one of its possible maxima.

    Args:
        network: the network.
        boxes: sound boxes of every value, batch of length 1.
        most: how many.
    """
    count = 0
    for value, node in enumerate(network.nodes, start=1):
        given = boxes[node.inputs[0]]
        match node.operator:
            case Relu():
                count += int(open_phases(given).sum())
            case MaxPool() as pool:
                shape = network.shapes[node.inputs[0]]
                for position in np.ndindex(network.shapes[value]):
                    count += len(_candidates(pool, shape, position, given)) - 1
                    if count > most:
                        break
    return count > most


def encoded(
    network: Network,
    boxes: tuple[Box, ...],
    property_: Property,
    most_terms: int,
    errors: Errors | None = None,
) -> str:
    """The script for one sample.

    Args:
        network: every weight a float32 that stands for itself.
        boxes: sound boxes of every value, batch of length 1 (``TrustedPass.bounds``); the first
            is the region.
        property_: whose negation is asked: of some clause all rows fail.
        most_terms: products with a weight that the script may hold.
        errors: for each value the largest rounding errors, shape ``(1, *shape)``, or None where
            nothing rounds (``TrustedPass.local_errors``); over the reals not given.

    Raises:
        EncodingTooLarge: it would hold more.
        UnsupportedOperatorError: a weight is not exact, or an operator has no encoding.
    """
    if not network.is_exact_float32:
        raise UnsupportedOperatorError("the network holds constants that are not exact float32")
    return _Encoder(network, boxes, most_terms, errors).script(property_)


class _Encoder:
    def __init__(
        self, network: Network, boxes: tuple[Box, ...], most_terms: int, errors: Errors | None
    ) -> None:
        self._network = network
        self._boxes = boxes
        self._errors = errors if errors is not None else (None,) * len(boxes)
        self._terms_left = most_terms
        self._names: dict[tuple[int, int], str] = {}
        self._lines: list[str] = []

    def script(self, property_: Property) -> str:
        outputs = [self._name(self._network.output, i) for i in range(property_.logits)]
        fails: dict[int, list[str]] = defaultdict(list)
        of_rows = property_.clauses_of_rows().tolist()
        # A constant that is smaller than the exact one lets more fail, which is the safe side.
        for clause, row, constant in zip(
            of_rows, property_.rows(), property_.constants().tolist(), strict=True
        ):
            terms = [
                (Fraction(float(c)), name) for c, name in zip(row, outputs, strict=True) if c != 0
            ]
            fails[clause].append(f"(<= {self._sum(terms, Fraction(constant))} 0)")
        failures = [f"(and {' '.join(rows)})" for rows in fails.values()]
        header = ["(set-logic QF_LRA)"]
        return "\n".join(
            [*header, *self._lines, f"(assert (or {' '.join(failures)} false))", "(check-sat)", ""]
        )

    def _name(self, value: int, number: int) -> str:
        """The term for one number of a value, defined when it is first needed."""
        # An explicit stack: networks are deeper than Python's recursion.
        stack = [(value, number)]
        while stack:
            current = stack[-1]
            if current in self._names:
                stack.pop()
                continue
            missing = [key for key in self._needs(*current) if key not in self._names]
            if missing:
                stack.extend(missing)
                continue
            self._names[current] = self._define(*current)
            stack.pop()
        return self._names[value, number]

    def _phase(self, value: int, number: int) -> bool | None:
        """Whether a number is at least 0 throughout, at most 0 throughout, or neither."""
        box = self._boxes[value]
        if box.lower.reshape(-1)[number] >= 0:
            return True
        return False if box.upper.reshape(-1)[number] <= 0 else None

    def _needs(self, value: int, number: int) -> list[tuple[int, int]]:
        if value == 0:
            return []
        node = self._network.nodes[value - 1]
        if isinstance(node.operator, Relu):
            dead = self._phase(node.inputs[0], number) is False
            return [] if dead else [(node.inputs[0], number)]
        if isinstance(node.operator, MaxPool):
            return [(node.inputs[0], i) for i in self._maxima(node.operator, value, number)]
        return [(source, i) for source, i, _ in self._linear(value, number)[0]]

    def _define(self, value: int, number: int) -> str:
        if value == 0:
            name = input_name(number)
            lower = Fraction(float(self._boxes[0].lower.reshape(-1)[number]))
            upper = Fraction(float(self._boxes[0].upper.reshape(-1)[number]))
            self._lines += [
                f"(declare-const {name} Real)",
                f"(assert (and (<= {_rational(lower)} {name}) (<= {name} {_rational(upper)})))",
            ]
            return name
        node = self._network.nodes[value - 1]
        name = f"v{value}_{number}"
        if isinstance(node.operator, Relu):
            phase = self._phase(node.inputs[0], number)
            if phase is False:
                return "0.0"
            given = self._names[node.inputs[0], number]
            if phase is True:
                return given
            is_active = f"(and (>= {given} 0) (= {name} {given}))"
            is_dead = f"(and (<= {given} 0) (= {name} 0))"
            self._lines += [
                f"(declare-const {name} Real)",
                f"(assert (or {is_active} {is_dead}))",
            ]
            return name
        if isinstance(node.operator, MaxPool):
            maxima = self._maxima(node.operator, value, number)
            return self._define_maximum(name, [self._names[node.inputs[0], i] for i in maxima])
        parts, constant = self._linear(value, number)
        terms = [(weight, self._names[source, i]) for source, i, weight in parts]
        self._terms_left -= len(terms)
        if self._terms_left < 0:
            raise EncodingTooLarge
        self._lines += [
            f"(declare-const {name} Real)",
            *self._is_about(value, number, name, terms, constant),
        ]
        return name

    def _maxima(self, operator: MaxPool, value: int, number: int) -> list[int]:
        """The numbers of the input that may be the largest under a window."""
        (source,) = self._network.nodes[value - 1].inputs
        position = np.unravel_index(number, self._network.shapes[value])
        return _candidates(
            operator,
            self._network.shapes[source],
            tuple(int(i) for i in position),
            self._boxes[source],
        )

    def _define_maximum(self, name: str, given: list[str]) -> str:
        if len(given) == 1:
            return given[0]
        self._terms_left -= len(given)
        if self._terms_left < 0:
            raise EncodingTooLarge
        self._lines += [
            f"(declare-const {name} Real)",
            f"(assert (and {' '.join(f'(>= {name} {one})' for one in given)}))",
            f"(assert (or {' '.join(f'(= {name} {one})' for one in given)}))",
        ]
        return name

    def _is_about(
        self,
        value: int,
        number: int,
        name: str,
        terms: list[tuple[Fraction, str]],
        constant: Fraction,
    ) -> list[str]:
        """That a number is a sum, or within its rounding error of it."""
        errors = self._errors[value]
        if errors is None:
            return [f"(assert (= {name} {self._sum(terms, constant)}))"]
        error = Fraction(float(errors.reshape(-1)[number]))
        return [
            f"(assert (<= {self._sum(terms, constant - error)} {name}))",
            f"(assert (<= {name} {self._sum(terms, constant + error)}))",
        ]

    def _linear(self, value: int, number: int) -> tuple[list[tuple[int, int, Fraction]], Fraction]:
        """One number of a linear operator's output: parts ``(value, number, weight)``, constant."""
        node = self._network.nodes[value - 1]
        shapes = [self._network.shapes[source] for source in node.inputs]
        position = np.unravel_index(number, self._network.shapes[value])
        rows, constant = _row(node.operator, shapes, tuple(int(i) for i in position))
        return [
            (source, i, Fraction(float(weight)))
            for source, entries in zip(node.inputs, rows, strict=True)
            for i, weight in entries
            if weight != 0
        ], Fraction(float(constant))

    @staticmethod
    def _sum(terms: list[tuple[Fraction, str]], constant: Fraction) -> str:
        products = [f"(* {_rational(weight)} {name})" for weight, name in terms if name != "0.0"]
        return (
            f"(+ {_rational(constant)} {' '.join(products)})" if products else _rational(constant)
        )


_Entries = list[tuple[int, Any]]


def _row(
    operator: Operator, shapes: list[tuple[int, ...]], position: tuple[int, ...]
) -> tuple[list[_Entries], Any]:
    """One output number of a linear operator: entries ``(input number, weight)`` for each input."""
    shape = shapes[0]
    match operator:
        case Affine():
            *row, output = position
            entries = [
                (int(np.ravel_multi_index((*row, i), shape)), weight)
                for i, weight in enumerate(operator.weight[output])
            ]
            return [entries], operator.bias[output]
        case Conv():
            return [list(_conv_row(operator, shape, position))], operator.bias[position[0]]
        case Scale():
            number = int(np.ravel_multi_index(position, shape))
            scale = np.broadcast_to(operator.scale, shape)[position]
            return [[(number, scale)]], np.broadcast_to(operator.shift, shape)[position]
        case Add():
            number = int(np.ravel_multi_index(position, shape))
            return [[(number, 1)], [(number, 1)]], 0
        case _:
            return _moved_row(operator, shapes, position)


def _moved_row(
    operator: Operator, shapes: list[tuple[int, ...]], position: tuple[int, ...]
) -> tuple[list[_Entries], Any]:
    """As ``_row``, for operators that move numbers."""
    shape = shapes[0]
    match operator:
        case Concat(axis=axis):
            rows: list[_Entries] = []
            place = position[axis]
            for given in shapes:
                inside = (*position[:axis], place, *position[axis + 1 :])
                here = 0 <= place < given[axis]
                rows.append([(int(np.ravel_multi_index(inside, given)), 1)] if here else [])
                place -= given[axis]
            return rows, 0
        case Reshape():
            return [[(int(np.ravel_multi_index(position, operator.shape)), 1)]], 0
        case Transpose():
            source = [0] * len(position)
            for place, axis in zip(position, operator.permutation, strict=True):
                source[axis] = place
            return [[(int(np.ravel_multi_index(source, shape)), 1)]], 0
        case Select(axis=axis, places=places):
            taken = (*position[:axis], places[position[axis]], *position[axis + 1 :])
            return [[(int(np.ravel_multi_index(taken, shape)), 1)]], 0
        case Pad():
            inner = [range(*s.indices(s.stop)) for s in operator.inner(shape)]
            if all(place in along for place, along in zip(position, inner, strict=True)):
                taken = tuple(
                    along.index(place) for place, along in zip(position, inner, strict=True)
                )
                return [[(int(np.ravel_multi_index(taken, shape)), 1)]], 0
            return [[]], operator.fill
        case _:
            raise UnsupportedOperatorError(f"{type(operator).__name__} has no SMT encoding")


def _conv_row(
    operator: Conv, shape: tuple[int, ...], position: tuple[int, ...]
) -> Iterator[tuple[int, Any]]:
    channel, *places = position
    outputs_per_group = operator.weight.shape[0] // operator.groups
    first_input = (channel // outputs_per_group) * operator.weight.shape[1]
    for offset, source in _under(operator, shape, places):
        for i in range(operator.weight.shape[1]):
            number = int(np.ravel_multi_index((first_input + i, *source), shape))
            yield number, operator.weight[(channel, i, *offset)]


def _under(
    operator: Conv | MaxPool, shape: tuple[int, ...], places: list[int]
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The offsets of a window and the places in the input that lie under them; no padding."""
    for offset in itertools.product(*map(range, operator.kernel)):
        source = tuple(
            place * stride + k * dilation - before
            for place, stride, k, dilation, (before, _) in zip(
                places, operator.strides, offset, operator.dilations, operator.pads, strict=True
            )
        )
        if all(0 <= s < extent for s, extent in zip(source, shape[1:], strict=True)):
            yield offset, source


def _candidates(
    operator: MaxPool, shape: tuple[int, ...], position: tuple[int, ...], box: Box
) -> list[int]:
    """The numbers under a window that may be its largest: no other one is at least as large.

    A number whose upper bound is not above another's lower bound adds nothing to the maximum; of
    several that are one and the same point, the first is kept.
    """
    channel, *places = position
    numbers = [
        int(np.ravel_multi_index((channel, *source), shape))
        for _, source in _under(operator, shape, places)
    ]
    lower, upper = box.lower.reshape(-1), box.upper.reshape(-1)
    highest = max(numbers, key=lambda i: lower[i])
    return [i for i in numbers if i == highest or upper[i] > lower[highest]]


def _rational(value: Fraction) -> str:
    magnitude = abs(value)
    text = (
        f"{magnitude.numerator}.0"
        if magnitude.denominator == 1
        else f"(/ {magnitude.numerator}.0 {magnitude.denominator}.0)"
    )
    return f"(- {text})" if value < 0 else text
