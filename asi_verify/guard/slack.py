"""The slack of float32 bounds: what makes an interval pass sound that is itself run in float32.

The trusted pass computes in float64 and rounds outwards. A guard's bounds are computed by whatever
runs its ONNX file: in float32, each sum of products by any tree of additions, fused or not. So
every constant here is an upper bound of what rounding can do, and is rounded up itself.

Let ``u = 2**-24`` and ``g(n) = n u / (1 - n u)`` (``checker.arithmetic``). A value of the network
lies in a box ``[lo, hi]`` of float32 numbers. The graph computes

    c = 0.5 (lo + hi),  w = hi - lo,

and whatever lies in the box differs from the computed ``c`` by at most

    r = w / 2 (1 + 2u) + 2u |c|.                                                     (1)

*A layer* ``y = W x + b`` of ``n`` terms, the bias counted as one. In the deployed network ``y`` is
off by at most ``g_d (|W| |x| + |b|)`` with ``g_d = g(n + 1)``, one rounding more where a runtime
adds another value inside the sum, and 8 more for scales (``checker.rules``). The graph computes
``m = W c + b``, off by ``g_o (|W| |c| + |b|)`` with ``g_o = g(2 n + 18)``: 9 roundings more than a
sum has, so that a runtime may also fold a constant into another one and add another value inside
the sum, and as many again, for it may begin the sum of the spread below with ``m``. As
``|x| <= |c| + r``,

    |y - m| <= |W| ((1 + g_d) r + (g_d + g_o) |c|) + (g_d + g_o) |b|.                (2)

The new box is ``m - s`` and ``m + s`` as computed, each off by at most ``u (|m| + s)``, where
``|m|`` is at most ``(1 + g_o) (|W| |c| + |b|)``. With (1), ``s`` has to be at least

    |W| (A w + B |c|) + C,    A = (1 + g_d) (1 + 4u) / 2,
                              B = g_d + g_o + 8u,    C = (g_d + g_o + 8u) |b|.

It is computed as a sum of nonnegative terms, each of which passes through at most ``n + 9``
roundings, and as many again where a runtime begins the sum of ``m`` with it, so ``A``, ``B`` and
``C`` are enlarged by ``1 + 2 g(2n + 16)``, which serves the last layer too.

*The last layer* is taken as differences of logits. For a label ``l`` and another class ``j`` let
``d = W_l - W_j`` and ``e = b_l - b_j``, which are rounded to float32: off by at most ``2u |d|`` and
by a known amount; and ``S = |W_l| + |W_j|``, ``T = |b_l| + |b_j|``, so that ``|d| <= S``. In the
deployed network ``z_l - z_j`` is off by ``g_d (S |x| + T)``, and the graph's ``d . c + e`` by
``g_o (S |c| + T)`` with ``g_o = g(3 n + 27)``, for the spread is a sum of ``2 n`` numbers here.
With (1) it has to be at least

    (|d| (1 + 4u) + g_d S) (1 + 4u) / 2 . w + (g_d + g_o + 12u) S . |c| + (g_d + g_o + 12u) T

and what rounding ``e`` changed; enlarged like ``A``, ``B`` and ``C``. The ``12u`` pay for the
rounded ``d``, for (1) and for the last subtraction. So the margin is a lower bound as computed.

*A sum of two values* is off by ``g(n + 1)`` of the sum of their magnitudes, ``n`` the terms of the
longest sum that a runtime may take it into (``checker.elementwise``). The graph's own sum of ends
may be taken into the sum that makes the spread of one of them, beside the middle: it is off by
``g(n + 10)`` of the same, and the graph's three other operations by at most ``6u``.

*Flushing to zero.* Where an operation takes a subnormal number for zero it is off by ``2**-126``
times what it is multiplied with. ``_TINY`` times ``tiny32`` (``checker.arithmetic``), of the
largest number that can occur, is added to ``C``: several times what all operations of a layer can
lose so.

*Overflow.* Pixels lie in [0, 1], else the guard does not answer whatever it computes. So there is a
largest magnitude for every value, which is computed here before the graph is written; beyond
``LARGEST`` the network is refused. No infinity and no NaN comes about on the way.

*The region* holds the box of ``core.linf`` around a float32 image and around the 8-bit image that
it encodes: encodings of one grey level differ by at most ``2**-22``, the family's own rounding is
below ``2**-23``, and so is that of the graph's one subtraction or addition. ``widened_radius`` is
larger than the radius by ``2**-20``.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from asi_verify.checker.arithmetic import gamma32, tiny32
from asi_verify.core.box import float32_above
from asi_verify.core.operators import Affine, Conv, Scale
from asi_verify.errors import ModelError

__all__ = [
    "FOLDED",
    "LARGEST",
    "MOST_TERMS",
    "UNIT",
    "LayerSlack",
    "LinearOperator",
    "bias_of",
    "deployed_slack",
    "differences",
    "magnitudes_of",
    "pairs",
    "raised",
    "small_enough",
    "sum_slack",
    "terms_of",
    "widened_radius",
    "with_constants",
]

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
LinearOperator = Affine | Conv | Scale

LARGEST = 2.0**100
"""No bound of the network may be able to exceed this."""

UNIT = 2.0**-24
_TINY = 32
_ENCODINGS = Fraction(1, 2**20)
FOLDED = 8
"""Roundings beyond those of a sum, for constants that a runtime folds."""
MOST_TERMS = 2**20
"""Of one sum: ``g(3n + 27)`` is below 1/4 then."""
_OF_SCALES = 8
"""Roundings of constants that are made at run time, as in ``checker.rules``."""


def widened_radius(radius: Fraction) -> np.float32:
    """The radius that the graph subtracts and adds, as a float32."""
    return float32_above(radius + _ENCODINGS)


def raised(values: Array | float) -> Floats:
    """Float32 numbers at least half a unit above; float64 rounding before it is far below that."""
    near = np.asarray(values, dtype=np.float32)
    # A 0 is exact, or below 2**-149, which what is paid for flushing covers; the subnormal number
    # above it would be slow to multiply with.
    return np.where(near == 0, near, np.nextafter(near, np.float32(np.inf)))


def terms_of(operator: LinearOperator) -> int:
    """How many numbers are summed for one output, the bias included."""
    match operator:
        case Affine(weight=weight):
            return int(weight.shape[1]) + 1
        case Conv(weight=weight):
            return int(weight[0].size) + 1
        case Scale():
            return 2


def magnitudes_of(operator: LinearOperator) -> Array:
    """``|W|``, in the operator's form."""
    weight = operator.scale if isinstance(operator, Scale) else operator.weight
    return np.abs(weight.astype(np.float64))


def bias_of(operator: LinearOperator) -> Array:
    """``b``, in the operator's form."""
    bias = operator.shift if isinstance(operator, Scale) else operator.bias
    return bias.astype(np.float64)


def deployed_slack(operator: LinearOperator) -> float:
    """``g_d``: by what part of ``|W| |x| + |b|`` the deployed layer may be off."""
    more = _OF_SCALES if isinstance(operator, Scale) else 0
    return gamma32(terms_of(operator) + 1 + more)


@dataclass(frozen=True, eq=False)
class _Sizes:
    """What the errors of one layer depend on."""

    deployed: float
    own: float
    enlarge: float
    tiny: float

    @classmethod
    def of(cls, operator: LinearOperator, largest: float, sums: int = 2) -> _Sizes:
        terms = terms_of(operator)
        if terms > MOST_TERMS:
            raise ModelError(
                f"a layer of the model sums {terms} numbers for one output; a guard has a useful "
                f"bound of float32 rounding for at most {MOST_TERMS}"
            )
        weight = float(magnitudes_of(operator).max(initial=0.0))
        return cls(
            deployed_slack(operator),
            gamma32(sums * (terms + FOLDED + 1)),
            1 + 2 * gamma32(2 * terms + 16),
            float(_TINY * tiny32(terms + 1, max(largest, 1.0), max(weight, 1.0))),
        )

    @property
    def both(self) -> float:
        return self.deployed + self.own


@dataclass(frozen=True, eq=False)
class LayerSlack:
    """The constants ``A``, ``B`` and ``C`` of one layer.

    Attributes:
        on_width: ``A``, shape ``()``.
        on_centre: ``B``, shape ``()``.
        spread: ``|W| x + C``, the operator that makes the spread out of ``A w + B |c|``.
        largest: at least the magnitude of every number that the layer can make.
        terms: how many numbers are summed for one output, the bias included.
    """

    on_width: Floats
    on_centre: Floats
    spread: LinearOperator
    largest: float
    terms: int

    @classmethod
    def of(cls, operator: LinearOperator, largest: float) -> LayerSlack:
        """The slack of a layer that reads numbers of at most the magnitude ``largest``.

        Raises:
            ModelError: what it makes could overflow, or it sums too many numbers for one output.
        """
        sizes = _Sizes.of(operator, largest)
        weight, bias = magnitudes_of(operator), np.abs(bias_of(operator))
        constant = raised(((sizes.both + 8 * UNIT) * bias + sizes.tiny) * sizes.enlarge)
        return cls(
            raised((1 + sizes.deployed) * (1 + 4 * UNIT) / 2 * sizes.enlarge),
            raised((sizes.both + 8 * UNIT) * sizes.enlarge),
            with_constants(operator, weight.astype(np.float32), constant),
            _largest_made(operator, largest),
            terms_of(operator),
        )


def with_constants(operator: LinearOperator, weight: Floats, bias: Floats) -> LinearOperator:
    """The operator with another weight and bias of the same shapes."""
    match operator:
        case Affine():
            return Affine(weight, bias)
        case Conv(strides=strides, pads=pads, dilations=dilations, groups=groups):
            return Conv(weight, bias, strides, pads, dilations, groups)
        case Scale():
            return Scale(weight, bias)


def _largest_made(operator: LinearOperator, largest: float) -> float:
    """At least the magnitude of every number that a layer can make, bounds included."""
    weight, bias = magnitudes_of(operator), np.abs(bias_of(operator))
    rows = weight if isinstance(operator, Scale) else weight.reshape(len(weight), -1).sum(axis=1)
    made = float(rows.max(initial=0.0)) * largest + float(bias.max(initial=0.0)) + 1
    # The spread exceeds that of the exact box by less than a few times ``g``.
    return small_enough(made * _Sizes.of(operator, largest).enlarge ** 4)


def small_enough(made: float) -> float:
    """The number itself; written so that an infinity or a NaN is refused too."""
    if not made <= LARGEST:
        raise ModelError(
            f"bounds of the model may be as large as {made:.0e}; a guard has to be sure that "
            f"they stay below {LARGEST:.0e} in float32, so it cannot be made for this model"
        )
    return made


def sum_slack(terms: int, largest: float) -> tuple[Floats, Floats, float]:
    """For ``x + y``: the factor of ``|x| + |y|``, what is added to it, and the largest sum.

    Args:
        terms: of the longest sum that this one may be taken into.
        largest: at least the magnitude of every number of both values.

    Raises:
        ModelError: a sum could overflow.
    """
    factor = (gamma32(terms + 1) + gamma32(terms + FOLDED + 2) + 6 * UNIT) * (1 + 2 * gamma32(16))
    tiny = _TINY * float(tiny32(terms + 1, max(largest, 1.0), 1.0))
    return raised(factor), raised(tiny), small_enough((2 * largest + 1) * (1 + 2 * factor))


def pairs(operator: Affine) -> tuple[Array, Array, Array, Array]:
    """``d``, ``e``, ``S`` and ``T`` of all pairs of labels, in float64, pairs first.

    For each label in turn, of its logit less each other one; of a single logit, for label 0 its
    negative and for label 1 itself.
    """
    weight, bias = operator.weight.astype(np.float64), operator.bias.astype(np.float64)
    if len(weight) == 1:
        # Against a logit that is 0: nothing is subtracted, and nothing is rounded.
        weight = np.concatenate([np.zeros_like(weight), weight])
        bias = np.concatenate([np.zeros(1), bias])
    label, other = np.nonzero(~np.eye(len(weight), dtype=np.bool_))
    return (
        weight[label] - weight[other],
        bias[label] - bias[other],
        np.abs(weight[label]) + np.abs(weight[other]),
        np.abs(bias[label]) + np.abs(bias[other]),
    )


def differences(operator: Affine, largest: float) -> tuple[Affine, Affine]:
    """The last layer as differences of logits (``pairs``), and the spread of these.

    Args:
        operator: the last layer.
        largest: at least the magnitude of every number that it reads.

    Returns:
        ``d . c + e`` for the centres ``c``; and the operator that makes the spreads out of the
        widths ``w`` and, behind them, ``|c|``. Both have ``labels * (classes - 1)`` outputs.

    Raises:
        ModelError: a logit could overflow.
    """
    _largest_made(operator, largest)
    sizes = _Sizes.of(operator, largest, sums=3)
    d, e, both, together = pairs(operator)
    factor = sizes.both + 12 * UNIT
    on_width = (np.abs(d) * (1 + 4 * UNIT) + sizes.deployed * both) * (1 + 4 * UNIT) / 2
    constant = factor * together + np.abs(e - e.astype(np.float32)) + sizes.tiny
    spread = np.concatenate([on_width, factor * both], axis=1)
    return (
        Affine(d.astype(np.float32), e.astype(np.float32)),
        Affine(raised(spread * sizes.enlarge), raised(constant * sizes.enlarge)),
    )
