"""The slack of a linear backward pass that is itself run in float32.

Words, letters and assumptions are those of ``guard.slack``. For the label ``l`` and each other
class ``j`` the graph keeps coefficients ``a_v`` on some values ``v`` of the network, and two sums
``P`` and ``Q``, such that everywhere in the region

    z_l - z_j >= sum_v a_v . y_v + P - Q,                                            (1)

where ``y_v`` is what the deployed network computes, in whatever order, ``a_v`` are the float32
numbers as they were computed, and ``P`` and ``Q`` are exact sums of the terms computed for them.
Each ``y_v`` lies in the box of the forward pass; ``X_v`` is the larger of its ends by magnitude,
which is exact. A step replaces ``a_v . y_v`` by something that is at most that. It may choose any
coefficients, if what they are off by, times ``X``, is added to ``Q``: so each rounding is paid
where it is made, weighed by what still depends on it, and none is carried on.

*The last layer.* ``a`` is ``d`` rounded to float32, off by ``2u |d|``, and ``P`` is ``e`` rounded.
``Q`` is ``(g_d + 4u) S . X + g_d T`` and what rounding ``e`` changed.

*A layer* ``y = W x + b``, one coefficient of ``x`` being a sum of ``p`` products. With ``a' = a W``
as computed, off by ``g_b |a| |W|`` for ``g_b = g(p + 8)``,

    a . y >= a' . x + a . b - |a| . ((g_d + g_b) |W| X + g_d |b|).

*ReLU* of ``z`` in ``[l, u]``; let ``l' = min(l, 0)`` and ``u' = max(u, 0)``. From below,
``relu(z) >= s z`` for ``s`` 0 or 1: 1 where ``u' >= -l'``, and ``a s`` is exact. From above, for
*any* ``k >= 0``, ``relu(z) <= k z + t`` with ``t = max(-k l', (1 - k) u')``, for the difference is
convex on either side of 0, where it is 0. As ``k`` is taken ``u' / (u' - l')`` as computed; what is
computed for ``t`` is right up to two roundings, and ``a k`` up to one. So for ``a < 0``

    a relu(z) >= (a k) z - |a| (t + 2u k X).

*Max pooling.* The numbers under the windows are a convolution with kernels of a single 1, which is
exact; let ``M`` be the largest ``X`` under a window. From below a window gives one of its numbers:
that of the largest ``l``, of those the largest ``u``, the first. From above, with ``m`` the number
of the largest ``u_m`` and ``v`` the largest upper end of the others,

    max(x_m, v) <= k x_m + t,    t = max(v - k l_m, (1 - k) u_m),    0 <= k <= 1,

which is convex in ``x_m`` and holds at both ends. ``k = (u_m - v) / (u_m - l_m)`` as computed where
``l_m < v``; elsewhere the maximum is ``x_m``, ``k = 1`` and ``t = 0``. What is computed for ``t``
is off by at most ``4u M``, ``a k`` by ``u |a|``, and adding up the coefficients of one input, of at
most ``K`` windows, by ``g(K + 8)`` of their magnitudes: in all ``|a| (g(K + 8) + 8u) M``.

*A sum* of two values hands its coefficients on to both, exactly; ``Q`` gets ``|a|`` times what the
deployed sum is off by, ``g(n + 1) (X_1 + X_2)``. Where a value is read more than once the
coefficients ``a_1`` and ``a_2`` are added, and a runtime may begin the sum that makes the one with
the other. That passes through at most as many roundings as the sums that make both have terms,
``p``; the products of the sum pass through one more, for which ``g_b`` has room. ``Q`` gets
``g(p + 8) (|a_1| + |a_2|) . X``. Reshapes, transposes and concatenations move coefficients.

*The image.* ``a . x >= a . c - |a| . (w / 2 (1 + 2u) + 2u |c|)``.

*The sums.* ``P`` and ``Q`` are sums of dot products, over ``n`` numbers each; they are added up at
last, all at once, where no runtime can begin a dot product with the sum of others. With at most
``K`` addends, the final ``P - Q`` among them, a term of ``P`` passes through at most ``n + K + 8``
roundings; ``g(n + K + 8)`` of its magnitude is added to ``Q``, where the term is made. All terms of
``Q`` are nonnegative, so each dot product is computed up to a factor: it is multiplied by
``1 + 2 g(n + m + K + 32)``, with ``m`` the terms of the sum that its factors come from.

*Flushing to zero.* An operation that flushes is off by ``2**-126`` times what it is multiplied
with (``checker.arithmetic``), or twice that. ``C``, ``X`` and ``W`` being the largest coefficient,
value and weight that a step meets, that is at most ``2**-124 (4 + C) (4 + X) (4 + W)`` of the
bound, whether it is an operation on a coefficient, on a value or on a term; roundings after it less
than double this, and for each number of the values that it meets a step makes fewer than
``p + n + 64`` operations. ``2**-122 (4 + C) (4 + X) (4 + W)`` for each are added to ``Q``.

*Overflow.* Coefficients are bounded before the graph is written, as values are: by the largest sum
of magnitudes of a layer's weights to one input. Beyond ``LARGEST`` the network is refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asi_verify.checker.arithmetic import gamma32
from asi_verify.core.network import Network
from asi_verify.core.operators import Affine, Conv, MaxPool, Operator, Relu, Scale
from asi_verify.errors import ModelError
from asi_verify.guard.slack import (
    FOLDED,
    MOST_TERMS,
    UNIT,
    LayerSlack,
    LinearOperator,
    bias_of,
    deployed_slack,
    magnitudes_of,
    pairs,
    raised,
    small_enough,
    terms_of,
    with_constants,
)

__all__ = ["BackwardSlack", "terms_backward"]

Floats = npt.NDArray[np.float32]

_SMALLEST_NORMAL = 2.0**-126
_LEAST_TINY = 2.0**-100
"""So that what is added for flushing is not flushed itself."""


@dataclass(frozen=True)
class BackwardSlack:
    """The constants of the backward pass over one network.

    Attributes:
        addends: ``K``, at least how many addends ``P`` and ``Q`` have.
        flushed: at least what flushing to zero can change in all.
    """

    addends: int
    flushed: float

    @classmethod
    def of(cls, network: Network, largest: Sequence[float]) -> BackwardSlack:
        """The slack of a network, which ends in an affine layer.

        Args:
            network: the network.
            largest: at least the magnitude of every number of each value but the logits.

        Raises:
            ModelError: a coefficient or a sum could overflow, or a sum has too many terms.
        """
        last, (hidden,) = network.nodes[-1].operator, network.nodes[-1].inputs
        if not isinstance(last, Affine):
            raise TypeError("a network that ends in an affine layer is expected")
        sizes = [math.prod(shape) for shape in network.shapes]
        values = [*largest, LayerSlack.of(last, largest[hidden]).largest]
        coefficients = [0.0] * len(largest) + [1.0]
        coefficients[hidden] = float(np.abs(pairs(last)[0]).max(initial=0.0))
        total, flushed, addends = 16 * values[-1], 0.0, 4
        for value in range(network.output, 0, -1):
            operator, inputs = network.nodes[value - 1].operator, network.nodes[value - 1].inputs
            if value < network.output:
                for source in inputs:
                    # Rounding enlarges a coefficient by less than a half.
                    coefficients[source] += 1.5 * coefficients[value] * _largest_column(operator)
            addends += 3 + len(inputs)
            met = (value, *inputs)
            operations = sum(sizes[each] for each in met) * (
                64 + _terms_forward(operator) + terms_backward(operator)
            )
            flushed += (
                operations
                * (4 + max(coefficients[each] for each in met))
                * (4 + max(values[each] for each in met))
                * (4 + _largest_weight(operator))
            )
        for size, coefficient, most in zip(sizes[:-1], coefficients, largest, strict=False):
            total += 16 * size * coefficient * (most + 1)
        small_enough(total)
        return cls(addends, max(16 * _SMALLEST_NORMAL * flushed, _LEAST_TINY))

    def of_sum(self, numbers: int) -> float:
        """``g(n + K + 8)``: by what part a term of ``P`` may be off; ``n`` is ``numbers``.

        Raises:
            ModelError: the sum is too long.
        """
        return gamma32(_few_enough(numbers + self.addends + 8))

    def enlarge(self, numbers: int, terms: int) -> Floats:
        """What a dot product of ``Q`` is multiplied by: of ``n`` numbers, each a sum of ``m``.

        Raises:
            ModelError: the sum is too long.
        """
        return raised(1 + 2 * gamma32(_few_enough(numbers + terms + self.addends + 32)))

    def last(self, operator: Affine) -> tuple[Floats, Floats, Affine]:
        """``d`` and ``e`` of all pairs of labels, and what makes their part of ``Q`` out of ``X``.

        Raises:
            ModelError: a sum is too long.
        """
        d, e, both, together = pairs(operator)
        rounded = e.astype(np.float32)
        deployed, terms = deployed_slack(operator), terms_of(operator)
        constant = deployed * together + np.abs(e - rounded) + self.flushed
        constant += self.of_sum(1) * np.abs(rounded)
        enlarge = float(self.enlarge(terms, terms))
        spread = Affine(raised((deployed + 4 * UNIT) * both * enlarge), raised(constant * enlarge))
        return d.astype(np.float32), rounded, spread

    def layer(self, operator: LinearOperator, numbers: int) -> tuple[Floats, LinearOperator]:
        """What ``X`` is multiplied by, and the layer that then makes what ``|a|`` is weighed with.

        Args:
            operator: the layer.
            numbers: how many it puts out.

        Raises:
            ModelError: a sum is too long.
        """
        deployed = deployed_slack(operator)
        back = gamma32(_few_enough(terms_backward(operator) + FOLDED))
        weight, bias = magnitudes_of(operator), np.abs(bias_of(operator))
        constant = raised((deployed + self.of_sum(numbers)) * bias)
        spread = with_constants(operator, weight.astype(np.float32), constant)
        return raised(deployed + back), spread

    def deployed_sum(self, terms: int) -> Floats:
        """``g(n + 1)``; ``n`` is ``terms``, of the longest sum that it may be taken into."""
        return raised(gamma32(terms + 1))

    def joined(self, terms: int) -> Floats:
        """``g(p + 8)``; ``p`` is ``terms``, of the sums that two readers' coefficients are.

        Raises:
            ModelError: the sums are too long.
        """
        return raised(gamma32(_few_enough(terms + FOLDED)))

    def window(self, kernel: int) -> Floats:
        """``g(K + 8) + 8u``: what ``M`` is multiplied by, for windows of so many numbers."""
        return raised(gamma32(kernel + FOLDED) + 8 * UNIT)


def _few_enough(terms: int) -> int:
    if terms > MOST_TERMS:
        raise ModelError(
            f"the backward pass over the model sums {terms} numbers; it has a useful bound of "
            f"float32 rounding for at most {MOST_TERMS}; make the guard by intervals"
        )
    return terms


def _terms_forward(operator: Operator) -> int:
    """How many numbers are summed or compared for one output."""
    match operator:
        case Affine() | Conv() | Scale():
            return terms_of(operator)
        case MaxPool(kernel=kernel):
            return 16 * math.prod(kernel)
        case _:
            return 2


def terms_backward(operator: Operator, moved: int = 1) -> int:
    """How many products are summed for one coefficient of the input.

    Args:
        operator: which.
        moved: for one of the output; what moves coefficients hands them on.
    """
    match operator:
        case Affine(weight=weight):
            return int(weight.shape[0])
        case Conv(weight=weight, groups=groups, kernel=kernel):
            return int(weight.shape[0]) // groups * math.prod(kernel)
        case MaxPool(kernel=kernel):
            return 2 * math.prod(kernel)
        case Scale():
            return 1
        case Relu():
            return 2
        case _:
            return moved


def _largest_weight(operator: Operator) -> float:
    """What a flushed number may be multiplied with; 1 where there are no weights."""
    if isinstance(operator, Affine | Conv | Scale):
        return max(1.0, float(magnitudes_of(operator).max(initial=0.0)))
    return 1.0


def _largest_column(operator: Operator) -> float:
    """At least by how much more the coefficients of an input can be than those of the output."""
    match operator:
        case Affine():
            return float(magnitudes_of(operator).sum(axis=0).max(initial=0.0))
        case Conv(weight=weight, groups=groups):
            apart = magnitudes_of(operator).reshape(groups, -1, *weight.shape[1:])
            outputs = (1, *range(3, apart.ndim))
            return float(apart.sum(axis=outputs).max(initial=0.0))
        case Scale():
            return float(magnitudes_of(operator).max(initial=0.0))
        case MaxPool(kernel=kernel):
            return float(math.prod(kernel))
        case _:
            return 1.0
