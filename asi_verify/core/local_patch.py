"""Local patches: a bonus on the logits inside a few boxes of inputs, and exactly none beyond them.

Around a box ``[l, u]`` with a collar ``c``, and with ``w = 2 / c`` and a small ``e``,

    s(x) = sum_i relu(w (l_i - e - x_i)) + relu(w (x_i - u_i - e)),     b(x) = relu(1 - s(x)),

and a network with patches is ``base(x) + sum_k bonus_k b_k(x)``. In float32, summed in any order:

- Inside the box every ReLU above reads a number that is not positive: ``w`` is a power of two, so
  ``w x`` is exact, and the difference rounds to the right side of 0. Then ``s`` is 0 and ``b`` is
  1, both exactly.
- Where one number lies ``c`` or more outside ``[l, u]``, its term ``r`` is at least
  ``2 - w e > 7/4`` up to one rounding. In a sum of a 1 and of negated terms, what holds ``-r`` and
  not the 1 is at most ``-r``, what holds the 1 and not ``-r`` at most 1 (rounding is monotone), so
  the whole is at most ``1 - r < 0``. Then ``b`` and the bonus are 0, and the sum is ``base(x)``,
  bit by bit but for the sign of a zero.
- Between, in the collar, the bonus grows from 0 to 1.

The trusted pass allows the input of such a ReLU 3 roundings of ``w x`` and then 11 of both
summands: ``25 w 2**-24`` for numbers up to 1, which is below ``w e``. It too finds them dead in the
box.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.core.box import Box
from asi_verify.core.family import RegionFamily
from asi_verify.core.network import Network, Node
from asi_verify.core.operators import (
    Add,
    Affine,
    Conv,
    FloatArray,
    Operator,
    Relu,
    Reshape,
    Scale,
)
from asi_verify.errors import ModelError

__all__ = ["SMALLEST_COLLAR", "LocalPatches", "memorised_rows", "parted", "patched", "unpatched"]

SMALLEST_COLLAR = 2.0**-14
"""A sixty-fourth of a grey level; ``w e`` is at most 1/16 then."""

_EDGE = 2.0**-19
"""``e``: above ``25 * 2**-24``, which is what the trusted pass needs."""

_BATCH = 256
"""So many regions are compared with the patches at once."""


@dataclass(frozen=True, eq=False)
class LocalPatches:
    """Patches on inputs of one shape.

    Attributes:
        lower: ``l - e``, shape ``(K, *input_shape)``, float32.
        upper: ``u + e``, likewise.
        steepness: ``w``, shape ``(K,)``, float32.
        bonus: what each adds to the logits, shape ``(logits, K)``, float32.
    """

    lower: npt.NDArray[np.float32]
    upper: npt.NDArray[np.float32]
    steepness: npt.NDArray[np.float32]
    bonus: npt.NDArray[np.float32]

    @classmethod
    def around(
        cls, box: Box, collar: npt.NDArray[np.float64], bonus: npt.NDArray[np.float32]
    ) -> LocalPatches:
        """Patches whose whole bonus covers the boxes.

        Args:
            box: float32 in [0, 1], one for each patch.
            collar: powers of two, from ``SMALLEST_COLLAR`` to 1, shape ``(K,)``.
            bonus: as above.

        Raises:
            ValueError: a collar is none of these.
        """
        usable = (np.frexp(collar)[0] == 0.5) & (collar >= SMALLEST_COLLAR) & (collar <= 1)
        if not bool(usable.all()):
            raise ValueError(f"collars {collar}: powers of two from {SMALLEST_COLLAR} are expected")
        # One float32 further outwards than the nearest one, which may lie inside.
        lower = np.nextafter((box.lower - _EDGE).astype(np.float32), np.float32(-np.inf))
        upper = np.nextafter((box.upper + _EDGE).astype(np.float32), np.float32(np.inf))
        return cls(lower, upper, (2 / collar).astype(np.float32), bonus)

    def __len__(self) -> int:
        return len(self.steepness)

    @property
    def support(self) -> tuple[FloatArray, FloatArray]:
        """Ends of the open boxes outside of which each does nothing, float64, shaped as ``lower``.

        Without ``e``, which makes them a little larger than they have to be.
        """
        collar = (2 / self.steepness.astype(np.float64)).reshape(-1, *[1] * (self.lower.ndim - 1))
        return self.lower - collar, self.upper + collar

    def reached_by(self, family: RegionFamily, images: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Which patches do something in the region of each image, shape ``(N, K)``.

        Exactly where they may for L-infinity regions; for others, whether they do at the member of
        the region that ``family.project`` finds near the middle of the patch.

        Args:
            family: the regions.
            images: shape ``(N, C, *spatial)``, as the family takes them.
        """
        found = np.zeros((len(images), len(self)), dtype=np.bool_)
        for number, (lower, upper) in enumerate(zip(*self.support, strict=True)):
            middle = np.clip(0.5 * (lower + upper), 0, 1).astype(np.float32)
            for start in range(0, len(images), _BATCH):
                some = images[start : start + _BATCH]
                nearest = family.project(np.repeat(middle[None], len(some), axis=0), some)
                inside = (lower < nearest) & (nearest < upper)
                found[start : start + _BATCH, number] = inside.reshape(len(some), -1).all(axis=1)
        return found


def patched(base: Network, patches: LocalPatches) -> Network:
    """The network that adds the patches' bonuses to the logits of another one."""
    count, size = len(patches), patches.lower[0].size
    steepness = patches.steepness[:, None]
    ends = np.stack(
        [
            steepness * patches.lower.reshape(count, size),
            -steepness * patches.upper.reshape(count, size),
        ],
        axis=1,
    )
    slopes = (steepness * np.array([-1, 1], np.float32)).reshape(-1, 1, 1)
    operators: list[Operator] = [
        Reshape((1, size)),
        Conv(slopes, _zeros(2 * count), (1,), ((0, 0),), (1,)),
        Scale(np.ones((), np.float32), ends.reshape(2 * count, size)),
        Relu(),
        Reshape((count, 2 * size)),
        Affine(np.full((1, 2 * size), -1, np.float32), np.ones(1, np.float32)),
        Relu(),
        Reshape((count,)),
        Affine(patches.bonus, _zeros(len(patches.bonus))),
    ]
    chain = [
        Node(operator, (base.output + position if position else 0,))
        for position, operator in enumerate(operators)
    ]
    last = Node(Add(), (base.output, base.output + len(chain)))
    return Network(base.input_shape, (*base.nodes, *chain, last), base.head)


def parted(network: Network) -> tuple[Network, LocalPatches] | None:
    """The base and the patches of a network that ``patched`` made; None if it made none.

    Read from the operators alone, so that nobody has to be believed about it; one that was written
    in other words is not recognised.
    """
    start = len(network.nodes) - 10
    tail = network.nodes[start:] if start > 0 else ()
    match [node.operator for node in tail]:
        case [
            Reshape(shape=(1, size)),
            Conv() as slopes,
            Scale(shift=ends),
            Relu(),
            Reshape(shape=(int(count), _)),
            Affine(),
            Relu(),
            Reshape(),
            Affine(weight=bonus),
            Add(),
        ]:
            pass
        case _:
            return None
    if ends.shape != (2 * count, size) or slopes.weight.size != 2 * count:
        return None
    if size != math.prod(network.input_shape):  # of hidden values, perhaps
        return None
    steepness = slopes.weight.reshape(count, 2)[:, 1]
    if not bool((steepness > 0).all()):
        return None
    sides = ends.reshape(count, 2, *network.input_shape)
    divisor = steepness.reshape(-1, *[1] * len(network.input_shape))
    with np.errstate(over="ignore"):
        lower = (sides[:, 0] / divisor).astype(np.float32)
        upper = (-sides[:, 1] / divisor).astype(np.float32)
    patches = LocalPatches(lower, upper, steepness.astype(np.float32), bonus.astype(np.float32))
    base = Network(network.input_shape, network.nodes[:start], network.head)
    if base.output_shape != network.output_shape:
        return None
    try:
        with np.errstate(over="ignore"):
            made = patched(base, patches).nodes[start:]
    except ModelError:  # its numbers are too large for any patch
        return None
    return (base, patches) if all(map(_alike, made, tail)) else None


def memorised_rows(
    network: Network, family: RegionFamily, images: npt.NDArray[Any]
) -> frozenset[int]:
    """The rows in whose region a local patch of the network does something.

    Args:
        network: with or without patches.
        family: the regions.
        images: of all rows.
    """
    reached = np.zeros(len(images), dtype=np.bool_)
    while (found := parted(network)) is not None:
        network, patches = found
        reached |= patches.reached_by(family, images).any(axis=1)
    return frozenset(np.flatnonzero(reached).tolist())


def unpatched(network: Network) -> Network:
    """The network without any patches."""
    while (found := parted(network)) is not None:
        network = found[0]
    return network


def _alike(first: Node, second: Node) -> bool:
    """Whether two nodes are the same operator with the same numbers, and read the same values."""
    ours, theirs = vars(first.operator), vars(second.operator)
    return (
        first.inputs == second.inputs
        and type(first.operator) is type(second.operator)
        and all(np.array_equal(ours[name], theirs[name]) for name in ours)
    )


def _zeros(count: int) -> npt.NDArray[np.float32]:
    return np.zeros(count, np.float32)
