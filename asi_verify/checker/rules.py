"""What the trusted pass asks of an operator: an interval rule and a backward rule.

The laws that every rule keeps, over the reals and for the operator's exact weights:

- ``interval``: if every input lies in its box, the output lies in the returned box.
- ``push_back``: for coefficients ``a`` on the output, and every input in its box,
  ``a . f(x) >= sum_k b_k . x_k + constant - error`` with the returned ``b_k``, constant and error.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from asi_verify.checker.arithmetic import ETA, down, enlarged, gamma, up
from asi_verify.core.box import Box

__all__ = ["Functionals", "LinearRule", "PushedBack", "Rule", "largest_magnitude"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Functionals:
    """A batch of linear functionals of one value.

    Attributes:
        coefficients: shape ``(P, *shape)``.
        owners: None when every sample is asked all ``P`` functionals, and results have shape
            ``(B, P)``; or shape ``(P,)``, the one sample that each functional is asked of, and
            results have shape ``(P,)``.
    """

    coefficients: Array
    owners: npt.NDArray[np.intp] | None

    @property
    def flat(self) -> Array:
        """The coefficients, shape ``(P, size)``."""
        return self.coefficients.reshape(len(self.coefficients), -1)

    @property
    def size(self) -> int:
        """How many numbers the value has."""
        return int(self.flat.shape[1])

    def absolute(self) -> Functionals:
        """The functionals with the absolute values of their coefficients."""
        return Functionals(np.abs(self.coefficients), self.owners)

    def dot(self, values: Array) -> Array:
        """The functionals of a value that each sample has its own of, ``(B, *shape)``."""
        flat = values.reshape(len(values), -1)
        if self.owners is None:
            return np.asarray(flat @ self.flat.T)
        return np.asarray(np.einsum("pn,pn->p", self.flat, flat[self.owners]))

    def dot_constant(self, value: Array) -> Array:
        """The functionals of one value that all samples share, shape ``shape``."""
        products = self.flat @ value.reshape(-1)
        return products[None] if self.owners is None else products

    def of_owner(self, numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """One number per sample, in the form of the results."""
        return numbers[:, None] if self.owners is None else numbers[self.owners]

    def one_per_sample(self, samples: int) -> Functionals:
        """Functionals that have an owner each: shared ones are repeated for every sample."""
        if self.owners is not None:
            return self
        count = len(self.coefficients)
        return Functionals(
            np.tile(self.coefficients, (samples, *([1] * (self.coefficients.ndim - 1)))),
            np.repeat(np.arange(samples), count),
        )


class PushedBack(NamedTuple):
    """What functionals of an operator's output become; results in the form of ``Functionals``.

    Attributes:
        inputs: coefficients on each of the operator's inputs, ``(P, *in)``.
        constant: the constant part, as computed.
        error: nonnegative; by how much the true bound may lie below the computed one.
    """

    inputs: Sequence[Array]
    constant: Array | float
    error: Array | float


class Rule(abc.ABC):
    """The trusted rules of one operator with its weights."""

    @abc.abstractmethod
    def interval(self, *boxes: Box) -> Box:
        """A float64 box of the output for float64 boxes of the inputs."""

    @abc.abstractmethod
    def push_back(self, functionals: Functionals, *boxes: Box) -> PushedBack:
        """Functionals of the output as functionals of the inputs, which lie in ``boxes``."""


def largest_magnitude(box: Box) -> Array:
    """The largest absolute value of each number in a box; exact."""
    return np.maximum(np.abs(box.lower), np.abs(box.upper))


class LinearRule(Rule):
    """``y = W x + b`` for a matrix that is never written out.

    Subclasses state how ``W`` is applied; the error analysis is here, once. The exact weights
    differ from the stored ones by at most ``slack`` times their magnitude; the bias is exact.

    Attributes:
        slack: as above.
        terms_forward: most terms that are summed for one output, the bias included.
        terms_backward: most terms that are summed for one coefficient of the input.
    """

    slack: float
    terms_forward: int
    terms_backward: int

    @property
    @abc.abstractmethod
    def bias(self) -> Array:
        """``b``, of the output's shape."""

    @abc.abstractmethod
    def apply(self, x: Array) -> Array:
        """``W x + b`` as computed, ``(B, *in)`` to ``(B, *out)``."""

    @abc.abstractmethod
    def apply_magnitude(self, x: Array, bias_factor: float) -> Array:
        """``|W| x + bias_factor |b|`` as computed, for ``x >= 0``."""

    @abc.abstractmethod
    def apply_transposed(self, a: Array) -> Array:
        """``a W`` as computed, ``(P, *out)`` to ``(P, *in)``."""

    def interval(self, *boxes: Box) -> Box:
        """The interval rule in centre-radius form.

        With ``|x - c| <= r`` the exact output differs from the computed ``W c + b`` by at most

            |W'| r + slack |W| |c| + gamma(n) (|W| |c| + |b|) + n ETA
            <= |W| (r (1 + slack) + g |c|) + g |b| + n ETA,        g = gamma(n) + slack,

        where ``n`` is ``terms_forward`` and ``W'`` the exact weights. Any ``c`` is right as long
        as ``r`` covers both ends of the box from it.
        """
        (box,) = boxes
        centre = 0.5 * (box.lower + box.upper)
        radius = np.maximum(box.upper - centre, centre - box.lower)
        g = gamma(self.terms_forward) + self.slack
        reach = self.apply_magnitude(radius * (1 + self.slack) + g * np.abs(centre), g)
        spread = enlarged(reach, self.terms_forward)
        middle = self.apply(centre)
        return Box(down(middle - spread), up(middle + spread))

    def push_back(self, functionals: Functionals, *boxes: Box) -> PushedBack:
        """``a . (W x + b) = (a W) . x + a . b``, with three errors, each bounded through ``|a|``.

        Let ``m >= |W'| |x| + |b|``, ``p`` = ``terms_backward``, ``N`` the number of outputs.
        The computed ``a W`` is off by at most ``gamma(p) |a| |W| + p ETA``, so its product with
        ``x`` by ``gamma(p) |a| . (|W| |x|) + p ETA sum |x|``; the computed ``a . b`` by
        ``gamma(N) |a| . |b| + N ETA``; and the exact weights differ from the stored ones by
        ``slack``. Together at most

            (gamma(max(p, N)) + slack) |a| . m + (p sum |x| + N) ETA.
        """
        (box,) = boxes
        size = largest_magnitude(box)
        m = enlarged(self.apply_magnitude(size * (1 + self.slack), 1.0), self.terms_forward)
        reach = enlarged(functionals.absolute().dot(m), functionals.size)
        tiny = self.terms_backward * size.reshape(len(size), -1).sum(axis=1) + functionals.size
        factor = gamma(max(self.terms_backward, functionals.size)) + self.slack
        return PushedBack(
            (self.apply_transposed(functionals.coefficients),),
            functionals.dot_constant(self.bias),
            enlarged(factor * reach, 1) + functionals.of_owner(2 * ETA * tiny),
        )
