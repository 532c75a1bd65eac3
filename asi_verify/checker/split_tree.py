"""The trusted pass over the leaves of split trees.

A tree's leaves cover its region by construction (``core.split_tree``), so the property holds on the
region if it holds on every leaf: on those inputs of the region for which the phases and thresholds
on the leaf's path hold, of the values that are really computed. There

- a value lies in its box over the whole region, in what intervals derive from the leaf's own boxes,
  and on its side of every cut;
- a row is at least itself plus ``m z`` for a neuron with ``z >= 0`` and ``m <= 0``, or ``z <= 0``
  and ``m >= 0``;
- if no such input is left, the leaf proves everything.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from asi_verify.checker.trusted import Advice, Bounds, TrustedPass
from asi_verify.core.box import Box
from asi_verify.core.evidence import Intermediate
from asi_verify.core.properties import Property
from asi_verify.core.reach import Reach, take
from asi_verify.core.split_tree import PHASE, Cut, Leaf, SplitTree

__all__ = ["leaf_bounds", "leaf_margins", "margins_over", "require_tree", "tree_margins"]

Array = npt.NDArray[np.float64]
Leaves = Sequence[tuple[SplitTree, Leaf]]
"""Leaves with the trees that they are of."""


def require_tree(trusted: TrustedPass, property_: Property, tree: SplitTree) -> None:
    """Refuse a tree that is not one for this network and property.

    Raises:
        CertificateError: it is for another one.
    """
    neurons = max((part.stop for part in trusted.neurons.values()), default=0)
    inputs = math.prod(trusted.network.input_shape)
    tree.require(property_, neurons, inputs)


def tree_margins(
    trusted: TrustedPass,
    box: Box,
    property_: Property,
    intermediate: Intermediate,
    trees: Sequence[SplitTree],
    reach: Reach | None = None,
) -> Array:
    """A lower bound on the property's rows, taken together, over each box.

    Args:
        trusted: the trusted pass over the network.
        box: shape ``(B, *input_shape)``.
        property_: one property for all samples of the batch.
        intermediate: how the bounds over a whole region are obtained.
        trees: one for each sample, each fit for the network and the property.
        reach: what else is known of the inputs.

    Returns:
        Shape ``(B,)``; -inf where the error analysis does not hold, +inf where no leaf has an
        input. Never NaN.

    Raises:
        CertificateError: a tree is for another network or property.
    """
    result = np.empty(len(box))
    for part in trusted.batches(len(box)):
        root = trusted.bounds(box[part], intermediate, reach=take(reach, part))
        result[part] = margins_over(trusted, root, property_, intermediate, trees[part])
    return result


def margins_over(
    trusted: TrustedPass,
    root: Bounds,
    property_: Property,
    intermediate: Intermediate,
    trees: Sequence[SplitTree],
) -> Array:
    """``tree_margins`` for whom has the bounds over the whole regions already, by ``trusted``."""
    result = np.full(len(trees), np.inf)
    # By what a leaf's bounds need, and what its clauses' sums are made of; which others are in the
    # batch changes nothing for any of them.
    kinds = defaultdict[tuple[Intermediate | None, bytes], list[tuple[int, SplitTree, Leaf]]](list)
    for sample, tree in enumerate(trees):
        require_tree(trusted, property_, tree)
        again = intermediate if tree.cuts_inputs else Intermediate.INTERVAL
        kind = again if len(tree.leaves) > 1 else None
        for leaf in tree.leaves:
            kinds[kind, tree.weights(leaf).tobytes()].append((sample, tree, leaf))
    for (kind, weights), leaves in kinds.items():
        wanted = property_.summed(np.frombuffer(weights, np.uint8))
        for some in trusted.batches(len(leaves)):
            owners = np.array([sample for sample, _, _ in leaves[some]], dtype=np.intp)
            of_leaves = [(tree, leaf) for _, tree, leaf in leaves[some]]
            lower = leaf_margins(trusted, root.take(owners), wanted, kind, of_leaves)
            np.minimum.at(result, owners, lower)
    return result


def leaf_margins(
    trusted: TrustedPass,
    root: Bounds,
    property_: Property,
    again: Intermediate | None,
    leaves: Leaves,
) -> Array:
    """A lower bound on the property's rows, taken together, on each leaf.

    Args:
        trusted: the trusted pass over the network.
        root: bounds over the whole region of each leaf.
        property_: whose rows, its clauses' sums included.
        again: how bounds on a leaf follow from its cuts; None if no leaf has any.
        leaves: each with its tree.

    Returns:
        Shape ``(L,)``; +inf on a leaf that no input belongs to.
    """
    paths = [leaf.cuts for _, leaf in leaves]
    bounds = root if again is None else leaf_bounds(trusted, root, paths, again)
    advice = _advice(trusted, leaves)
    lower = property_.overall(trusted.rows(bounds, property_, to_input=True, advice=advice))
    return np.where(bounds.sound & bounds.empty, np.inf, lower)


def leaf_bounds(
    trusted: TrustedPass,
    root: Bounds,
    paths: Sequence[Sequence[Cut]],
    intermediate: Intermediate,
) -> Bounds:
    """Boxes of every value on leaves: within those over their regions, and beyond their cuts.

    Args:
        trusted: the trusted pass over the network.
        root: bounds over the whole region of each leaf.
        paths: the cuts of each leaf.
        intermediate: how the bounds that the cuts give are obtained.
    """
    known = [(np.array(box.lower), np.array(box.upper)) for box in root.boxes]
    flat = [(low.reshape(len(paths), -1), high.reshape(len(paths), -1)) for low, high in known]
    for position, cuts in enumerate(paths):
        for cut in cuts:
            value, number = _place(trusted, cut.number) if cut.kind == PHASE else (0, cut.number)
            lower, upper = flat[value]
            if cut.sign > 0:
                lower[position, number] = max(lower[position, number], cut.threshold)
            else:
                upper[position, number] = min(upper[position, number], cut.threshold)
    bounds = trusted.bounds(root.boxes[0], intermediate, known, root.reach)
    return replace(bounds, sound=bounds.sound & root.sound)


def _advice(trusted: TrustedPass, leaves: Leaves) -> Advice:
    """Slopes and multipliers for every row on every leaf."""
    (tree, _), *_ = leaves
    shape = (len(leaves), tree.rows, tree.neurons)
    slopes = np.full(shape, np.nan)
    multipliers = np.zeros(shape)
    for position, (tree, leaf) in enumerate(leaves):
        if leaf.slopes is not None:
            slopes[position] = tree.slopes[leaf.slopes].dense()
        for column, cut in enumerate(c for c in leaf.cuts if c.kind == PHASE):
            # A neuron may be cut twice on one path; a sum of sound multiples is one.
            multipliers[position, :, cut.number] -= cut.sign * leaf.multipliers[:, column]
    return Advice(_by_value(trusted, slopes), _by_value(trusted, multipliers))


def _by_value(trusted: TrustedPass, numbers: Array) -> dict[int, Array]:
    # Written out, because a network may have no neurons.
    flat = numbers.reshape(len(numbers) * numbers.shape[1], numbers.shape[2])
    return {value: flat[:, part] for value, part in trusted.neurons.items()}


def _place(trusted: TrustedPass, neuron: int) -> tuple[int, int]:
    """The value that a neuron is of, and its number there."""
    for value, part in trusted.neurons.items():
        if neuron < part.stop:
            return value, neuron - part.start
    raise IndexError(neuron)
