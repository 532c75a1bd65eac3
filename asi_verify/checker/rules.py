"""What the trusted pass asks of an operator: an interval rule and a backward rule.

The laws that every rule keeps, for the operator's exact weights and for every ``y`` that the
semantics allow as its output: over the reals ``y = f(x)``; in float32 the value of any tree of
binary32 operations that computes it.

- ``interval``: if every input lies in its box, ``y`` lies in the returned box.
- ``push_back``: for coefficients ``a`` on the output, and every input in its box,
  ``a . y >= sum_k b_k . x_k + constant - error`` with the returned ``b_k``, constant and error.
- ``local_error``: ``|y - f(x)|`` is at most that for every input in its box.
- ``largest_sum``: in float32, no partial sum on the way to ``y`` exceeds twice that.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from asi_verify.checker.arithmetic import ETA, down, enlarged, gamma, gamma32, tiny32, up
from asi_verify.core.box import Box
from asi_verify.core.semantics import Semantics

_ROUNDINGS_OF_CONSTANTS = 8
"""Of an average's 1/n, and of batch norm's factor and shift, relative to the magnitudes summed.

An average ends in one division, or in a product with a rounded reciprocal: 2. Batch norm as
runtimes compute it, ``x s + (B - mean s)`` with ``s = scale / sqrt(variance + epsilon)``: 3 in
``s``, then a product, a difference, a product and a sum, each term passing at most 7; it is lowered
to two operators, of which the first alone has ``|s x| + |s mean|`` for its magnitude.
"""

__all__ = [
    "Functionals",
    "LinearRule",
    "PushedBack",
    "Rule",
    "largest_magnitude",
    "largest_of_each",
]

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

    def lowest(self, box: Box) -> Array:
        """At most their smallest values over each sample's box, in the form of the results.

        ``a . x >= a . c - |a| . r`` for ``|x - c| <= r``. The computed ``a . c`` is off by at most
        ``gamma(N) |a| . |c| + N ETA``, so ``|a| . (r + gamma(N) |c|) + N ETA`` is subtracted.
        """
        centre = 0.5 * (box.lower + box.upper)
        r = np.maximum(box.upper - centre, centre - box.lower)
        spread = self.absolute().dot(r + gamma(self.size) * np.abs(centre))
        return down(self.dot(centre) - enlarged(spread, self.size))

    def of_owner(self, numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """One number per sample, in the form of the results."""
        return numbers[:, None] if self.owners is None else numbers[self.owners]

    def one_per_sample(self, samples: int) -> Functionals:
        """Functionals that have an owner each: shared ones are repeated for every sample."""
        if self.owners is not None:
            return self
        repeats = (samples, *([1] * (self.coefficients.ndim - 1)))
        owners = np.repeat(np.arange(samples), len(self.coefficients))
        return Functionals(np.tile(self.coefficients, repeats), owners)


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
    """The trusted rules of one operator with its weights.

    Attributes:
        relaxes: the backward rule is not exact and differs from sample to sample; it wants
            functionals that have an owner each, and the interval pass stops at the output.
        moves: the operator moves numbers and does nothing else, so that runtimes may move it.
        terms_forward: most terms that are summed for one output; 0 if it is not a sum of products.
    """

    relaxes: ClassVar[bool] = False
    moves: ClassVar[bool] = False
    terms_forward: int = 0

    @abc.abstractmethod
    def interval(self, *boxes: Box) -> Box:
        """A float64 box of the output for float64 boxes of the inputs."""

    @abc.abstractmethod
    def push_back(self, functionals: Functionals, *boxes: Box) -> PushedBack:
        """Functionals of the output as functionals of the inputs, which lie in ``boxes``."""

    def open_numbers(self, box: Box) -> npt.NDArray[np.bool_] | None:
        """Which numbers of the (only) input are worth a backward pass of their own.

        Shape ``(B, *shape)``; None if there are none, whatever the box.
        """
        del box
        return None

    def local_error(self, *boxes: Box) -> Array | None:
        """By how much each number of the output may be off, ``(B, *out)``; None if by nothing."""
        del boxes
        return None

    def largest_sum(self, *boxes: Box) -> Array | float:
        """At least the sum of magnitudes that one number of the output is made of, ``(B,)``."""
        del boxes
        return 0.0


def largest_magnitude(box: Box) -> Array:
    """The largest absolute value of each number in a box; exact, because the lower end is lower."""
    return np.maximum(-box.lower, box.upper)


def largest_of_each(box: Box) -> Array:
    """The largest absolute value of all numbers in each sample's box, shape ``(B,)``; exact."""
    shape = (len(box), -1)
    return np.asarray(
        np.maximum(-box.lower.reshape(shape).min(axis=1), box.upper.reshape(shape).max(axis=1))
    )


class LinearRule(Rule):
    """``y = W x + b`` for a matrix that is never written out.

    Subclasses state how ``W`` is applied; the error analysis is here, once. The exact weights
    differ from the stored ones by at most ``slack`` times their magnitude; the bias is exact.

    Args:
        semantics: what arithmetic the network is run in.
        slack: as above.
        terms_forward: most terms that are summed for one output, the bias included.
        terms_backward: most terms that are summed for one coefficient of the input.
        constants: whether the weights are made at run time, as those of averages and of batch norm
            are: each then carries up to 8 roundings of its own.
        largest_weight: at least the magnitude of every stored weight.
    """

    def __init__(
        self,
        semantics: Semantics,
        *,
        slack: float,
        terms_forward: int,
        terms_backward: int,
        constants: bool,
        largest_weight: float,
    ) -> None:
        self.slack = slack
        self.terms_forward = terms_forward
        self.terms_backward = terms_backward
        self._in_float32 = semantics is Semantics.FLOAT32
        # The roundings of one term: those of its product and sums, one more where a runtime adds
        # another value inside this sum (see ``AddRule``), and those of its weight.
        roundings = terms_forward + 1 + (_ROUNDINGS_OF_CONSTANTS if constants else 0)
        self._local = gamma32(roundings) if self._in_float32 else 0.0
        self._largest_weight = largest_weight * (1 + 2 * slack)
        self._largest_row: float | None = None

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
        as ``r`` covers both ends of the box from it. In float32 the output is off by at most
        ``local (|W'| (|c| + r) + |b|) + tiny`` besides; together

            |W| (r (1 + slack) (1 + local) + (g + local (1 + slack)) |c|) + (g + local) |b|.
        """
        (box,) = boxes
        centre = 0.5 * (box.lower + box.upper)
        radius = np.maximum(box.upper - centre, centre - box.lower)
        g = gamma(self.terms_forward) + self.slack
        on_radius = up((1 + self.slack) * (1 + self._local))
        on_centre = up(g + up(self._local * (1 + self.slack)))
        # In place from here on: large arrays cost more than the arithmetic on them.
        weighed = np.abs(centre)
        weighed *= on_centre
        radius *= on_radius
        weighed += radius
        reach = self.apply_magnitude(weighed, float(up(g + self._local)))
        tiny = self._tiny(largest_of_each(box)).reshape(-1, *([1] * (reach.ndim - 1)))
        spread = enlarged(reach + tiny, self.terms_forward + 1)
        middle = self.apply(centre)
        return Box(down(middle - spread), up(middle + spread))

    def _tiny(self, largest: Array) -> Array:
        """What flushing to zero may do to each output of each sample, both shape ``(B,)``."""
        if not self._in_float32:
            return np.zeros(len(largest))
        return tiny32(self.terms_forward, np.maximum(largest, 1.0), self._largest_weight)

    def _magnitudes(self, size: Array) -> Array:
        """At least ``|W'| |x| + |b|`` for ``|x|`` at most ``size``."""
        reach = self.apply_magnitude(size * (1 + self.slack), 1.0)
        return enlarged(reach, self.terms_forward)

    def local_error(self, *boxes: Box) -> Array | None:
        if not self._in_float32:
            return None
        (box,) = boxes
        m = self._magnitudes(largest_magnitude(box))
        tiny = self._tiny(largest_of_each(box)).reshape(-1, *([1] * (m.ndim - 1)))
        return enlarged(self._local * m + tiny, 2)

    def largest_sum(self, *boxes: Box) -> Array | float:
        (box,) = boxes
        if self._largest_row is None:
            self._largest_row = float(self._magnitudes(np.ones((1, *box.shape))).max())
        return np.asarray(np.maximum(largest_of_each(box), 1.0) * self._largest_row)

    def push_back(self, functionals: Functionals, *boxes: Box) -> PushedBack:
        """``a . (W x + b) = (a W) . x + a . b``, with three errors, each bounded through ``|a|``.

        Let ``m >= |W'| |x| + |b|``, ``p`` = ``terms_backward``, ``N`` the number of outputs.
        The computed ``a W`` is off by at most ``gamma(p) |a| |W| + p ETA``, so its product with
        ``x`` by ``gamma(p) |a| . (|W| |x|) + p ETA sum |x|``; the computed ``a . b`` by
        ``gamma(N) |a| . |b| + N ETA``; and the exact weights differ from the stored ones by
        ``slack``. Together at most

            (gamma(max(p, N)) + slack) |a| . m + (p sum |x| + N) ETA,

        and in float32 ``|a| . (local m + tiny)`` besides: the rounding of this operator alone,
        weighed by what the outputs still matter. A dead neuron's coefficient is 0.
        """
        (box,) = boxes
        size = largest_magnitude(box)
        magnitudes = functionals.absolute()
        reach = enlarged(magnitudes.dot(self._magnitudes(size)), functionals.size)
        tiny = self.terms_backward * size.reshape(len(size), -1).sum(axis=1) + functionals.size
        factor = gamma(max(self.terms_backward, functionals.size)) + self.slack
        error = enlarged((factor + self._local) * reach, 1)
        error = error + functionals.of_owner(2 * ETA * tiny)
        if self._in_float32:
            weights = enlarged(magnitudes.flat.sum(axis=1), functionals.size)
            flushed = functionals.of_owner(self._tiny(largest_of_each(box)))
            error = error + enlarged(weights * flushed, 1)
        return PushedBack(
            (self.apply_transposed(functionals.coefficients),),
            functionals.dot_constant(self.bias),
            enlarged(error, 3),
        )
