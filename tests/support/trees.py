"""Random split trees: any cuts, any slopes, any multipliers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from asi_verify.checker import TrustedPass
from asi_verify.core.network import Network
from asi_verify.core.properties import Property
from asi_verify.core.split_tree import LEAF, NODE, PHASE, THRESHOLD, Slopes, SplitTree

__all__ = ["holds", "random_tree", "satisfied", "terms_of"]


def neurons(trusted: TrustedPass) -> int:
    """How many the network has."""
    return max((part.stop for part in trusted.neurons.values()), default=0)


def random_tree(
    generator: np.random.Generator,
    trusted: TrustedPass,
    rows: int,
    depth: int,
    box: Any = None,
    terms: Any = None,
) -> SplitTree:
    """A tree that divides at random, and half of the time also the inputs of the box.

    ``rows`` are those of ``Property.summed``; ``terms`` says which have a weight.
    """
    count = neurons(trusted)
    nodes: list[tuple[int, int, float]] = []
    multipliers: list[Any] = []
    sets = int(generator.integers(0, 2))
    divides_inputs = box is not None and generator.random() < 0.5

    def grow(left: int, phases: int) -> None:
        choice = generator.random()
        if left and choice < 0.6 and count:
            nodes.append((PHASE, int(generator.integers(count)), 0.0))
            for _ in range(2):
                grow(left - 1, phases + 1)
        elif left and choice < 0.8 and divides_inputs:
            number = int(generator.integers(math.prod(trusted.network.input_shape)))
            low, high = box.lower.reshape(-1)[number], box.upper.reshape(-1)[number]
            at = np.float32(low + generator.uniform(-0.2, 1.2) * (high - low))
            nodes.append((THRESHOLD, number, float(at)))
            for _ in range(2):
                grow(left - 1, phases)
        else:
            nodes.append((LEAF, int(generator.integers(sets + 1)), 0.0))
            size = 10.0 ** generator.uniform(-2, 1)
            multipliers.append((generator.random((rows, phases)) * size).astype(np.float32))

    grow(depth, 0)
    slopes = generator.random((sets, rows, count))
    slopes[generator.random(slopes.shape) < 0.3] = np.nan
    weights = np.zeros((sets, rows), np.uint8)
    if terms is not None:
        weights[:, terms] = generator.integers(0, 256, (sets, int(terms.sum())))
    return SplitTree(
        rows,
        count,
        np.array(nodes, dtype=NODE),
        tuple(multipliers),
        tuple(Slopes.nearest(*part) for part in zip(slopes, weights, strict=True)),
    )


def terms_of(property_: Property) -> Any:
    """Which rows of ``Property.summed`` are terms of a clause's sum."""
    clauses = property_.summed().clauses_of_rows()
    several = np.bincount(clauses) > np.bincount(property_.clauses_of_rows())
    return several[clauses] & np.append(clauses[1:] == clauses[:-1], False)


def satisfied(cut: Any, values: Any, network: Network) -> bool:
    """Whether an evaluation lies on the cut's side; ``values`` are those of all operators."""
    if cut.kind == THRESHOLD:
        number = values[0].reshape(-1)[cut.number]
        at = type(number)(cut.threshold) if not isinstance(number, float) else cut.threshold
        return bool((number - at) * cut.sign >= 0)
    read = sorted({n.inputs[0] for n in network.nodes if type(n.operator).__name__ == "Relu"})
    number = np.concatenate([values[v].reshape(-1) for v in read])[cut.number]
    return bool(number * cut.sign >= 0)


def holds(cuts: Any, values: Any, network: Network) -> bool:
    """Whether an evaluation belongs to the leaf with these cuts."""
    return all(satisfied(cut, values, network) for cut in cuts)
