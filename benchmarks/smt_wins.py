"""Claim: exact ties, formulas and maxima over few numbers are settled by SMT, and not by branching.

Families with five seeds each, the losing ones with them; for every query both contenders get the
same limit, in one run. Bounds and branching: falsify, intervals, CROWN, alpha-CROWN, and branch and
bound without an end to its parts. SMT: the stage alone, without a limit on terms, choices or steps.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from _results import table, write

from asi_verify.core.box import Box
from asi_verify.core.evidence import SolverEvidence
from asi_verify.core.limits import LARGEST_TREE
from asi_verify.core.network import Network
from asi_verify.core.operators import Affine, Conv, MaxPool, Operator, Relu, Reshape
from asi_verify.core.properties import MultiLabel
from asi_verify.core.semantics import Semantics
from asi_verify.core.verdict import Proved, Refuted
from asi_verify.export import Artifact
from asi_verify.prove import (
    AlphaCrown,
    Batch,
    Branch,
    Crown,
    Falsify,
    Intervals,
    Solve,
    Stage,
    prove_all,
)
from asi_verify.prove.falsify import descended

_REAL, _FLOAT32 = Semantics.REAL, Semantics.FLOAT32
SEEDS = 5
SECONDS = 5.0
HOLDS = MultiLabel((1,))
"""The only logit is above 0."""

CONTENDERS: dict[str, tuple[Stage, ...]] = {
    "branching": (
        Falsify(steps=30, restarts=4),
        Intervals(),
        Crown(proposes=False),
        AlphaCrown(),
        Branch(most_leaves=10_000_000, most_bytes=LARGEST_TREE),
    ),
    "SMT": (Solve(most_terms=1_000_000, most_open=100_000, steps=4_000_000_000),),
}

Query = tuple[Network, Box]


def cube(inputs: int, radius: float = 1.0) -> Box:
    """Every input within the radius of 0."""
    ends = np.full((1, inputs), radius, np.float32)
    return Box(-ends, ends)


def weights(generator: np.random.Generator, *shape: int) -> npt.NDArray[np.float32]:
    """Of a size that keeps values of order 1."""
    return (generator.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)


def mlp(generator: np.random.Generator, *sizes: int) -> list[Operator]:
    """Affine layers with ReLU between them."""
    layers: list[Operator] = []
    for before, after in itertools.pairwise(sizes):
        bias = weights(generator, after, 25)[:, 0]
        layers += [Affine(weights(generator, after, before), bias), Relu()]
    return layers[:-1]


def above(operators: list[Operator], inputs: tuple[int, ...], box: Box, room: float) -> Query:
    """A network whose logit is moved so that the smallest one found has some room above 0.

    Args:
        operators: of a network with one logit.
        inputs: the shape of its input.
        box: the region.
        room: in shares of the spread of the logit over random points.
    """
    high = raised(Network.sequential(inputs, operators), 64.0)  # what is above 0 is descended
    artifact = Artifact.from_network(high)
    generator = np.random.default_rng(0)
    points = generator.uniform(box.lower, box.upper, (512, *inputs)).astype(np.float32)
    logits = artifact.session.run(points)[:, 0]
    whole = Batch(artifact, np.zeros_like(box.lower), box, HOLDS, Semantics.REAL, (1,))
    starts = whole.take(np.zeros(len(points), np.intp))
    ends = [descended(starts, points, 50, by_moments=moments) for moments in (False, True)]
    smallest = min(artifact.session.run(some)[:, 0].min() for some in ends)
    return raised(high, room * (logits.max() - logits.min()) - smallest), box


def raised(network: Network, by: float) -> Network:
    """The same with a number added to the logit."""
    return network.then(Network.sequential((1,), [Affine(np.float32([[1]]), np.float32([by]))]))


def tie(generator: np.random.Generator, equations: int = 10) -> Query:
    """``sum |w x - w x*|`` with whole numbers: exactly 0, at one point of the region alone."""
    w = generator.integers(-3, 4, (equations, equations)).astype(np.float32)
    point = generator.integers(-8, 9, equations).astype(np.float32) / 16
    first = Affine(np.concatenate([w, -w]), np.concatenate([-w @ point, w @ point]))
    last = Affine(np.ones((1, 2 * equations), np.float32), np.float32([0]))
    return Network.sequential((equations,), [first, Relu(), last]), cube(equations)


def formula(generator: np.random.Generator, numbers: int, clauses: int) -> Query:
    """At most 0 near corners at which every clause of three literals has a true one, if any."""
    w = np.zeros((clauses, numbers))
    for row in w:
        row[generator.choice(numbers, 3, replace=False)] = generator.choice([-0.5, 0.5], 3)
    # A clause counts 1 where its literals are all -1; what |x| adds up to is largest at corners.
    first = Affine(
        np.concatenate([w, np.eye(numbers), -np.eye(numbers)]).astype(np.float32),
        np.repeat([-0.5, 0], [clauses, 2 * numbers]).astype(np.float32),
    )
    last = np.repeat([4, -1], [clauses, 2 * numbers])[None].astype(np.float32)
    layers = [first, Relu(), Affine(last, np.float32([numbers - 0.5]))]
    return Network.sequential((numbers,), layers), cube(numbers)


def maxima(generator: np.random.Generator) -> Query:
    """Maxima, at which branch and bound does not divide."""
    none, one, two = ((0, 0), (0, 0)), (1, 1), (2, 2)
    conv = Conv(weights(generator, 1, 1, 3, 3), np.zeros(1, np.float32), one, none, one)
    layers = [Reshape((1, 6, 6)), conv, MaxPool(two, two, none, one), Reshape((4,))]
    return above([*layers, *mlp(generator, 4, 1)], (36,), cube(36, 0.3), 0.15)


FAMILIES: dict[str, tuple[Callable[[np.random.Generator], Query], Semantics]] = {
    "an exact tie at one point of 10 inputs": (tie, _REAL),
    "a formula of 40 clauses over 5 inputs": (partial(formula, numbers=5, clauses=40), _REAL),
    "the same formula": (partial(formula, numbers=5, clauses=40), _FLOAT32),
    "a formula of 32 clauses over 7 inputs": (partial(formula, numbers=7, clauses=32), _REAL),
    "4 maxima over 36 inputs": (maxima, _FLOAT32),
    "784 inputs, 12 phases": (
        lambda generator: above(mlp(generator, 784, 12, 1), (784,), cube(784, 0.02), 0.02),
        _FLOAT32,
    ),
    "40 inputs, 8 phases, far around": (
        lambda generator: above(mlp(generator, 40, 4, 4, 1), (40,), cube(40), 0.02),
        _FLOAT32,
    ),
    "3 inputs, 32 phases": (
        lambda generator: above(mlp(generator, 3, 16, 16, 1), (3,), cube(3), 0.03),
        _FLOAT32,
    ),
    "64 inputs, 400 phases, and room": (
        lambda generator: above(mlp(generator, 64, 200, 200, 1), (64,), cube(64, 0.02), 0.5),
        _FLOAT32,
    ),
}


def asked(query: Query, semantics: Semantics, stages: tuple[Stage, ...]) -> tuple[str, float]:
    """The verdict on one query, and its seconds."""
    network, box = query
    artifact = Artifact.from_network(network)
    artifact.trusted(semantics)
    centres = ((box.lower + box.upper) / 2).astype(np.float32)
    start = time.perf_counter()
    end = time.monotonic() + SECONDS
    batch = Batch(artifact, centres, box, HOLDS, semantics, (1,), end)
    (verdict,) = prove_all([batch], stages).verdicts
    seconds = time.perf_counter() - start
    match verdict:
        case Proved(SolverEvidence()):
            return "delegated", seconds
        case Proved():
            return "proved", seconds
        case Refuted():
            return "refuted", seconds
        case _:
            return "undecided", seconds


def main() -> None:
    """Ask and write the page."""
    for stages in CONTENDERS.values():  # what is loaded or started once
        asked(tie(np.random.default_rng(SEEDS)), _FLOAT32, stages)
    figures: dict[str, Any] = {"limit": SECONDS, "seeds": SEEDS}
    rows = []
    for family, (made, semantics) in FAMILIES.items():
        name = f"{family}, {semantics.value}"
        figures[name] = {}
        row: list[str] = [family, semantics.value]
        medians = []
        for contender, stages in CONTENDERS.items():
            found = [
                asked(made(np.random.default_rng(seed)), semantics, stages) for seed in range(SEEDS)
            ]
            verdicts = [verdict for verdict, _ in found]
            # Whoever gives up early is no quicker for it.
            seconds = [SECONDS if v == "undecided" else taken for v, taken in found]
            medians.append(statistics.median(seconds))
            figures[name][contender] = {"seconds": seconds, "verdicts": verdicts}
            counts = sorted(Counter(verdicts).items())
            row.append(", ".join(f"{count} {verdict}" for verdict, count in counts))
            row.append(f"{medians[-1]:.2f} s" if medians[-1] < SECONDS else "the limit")
        row.append(quicker(*medians))
        rows.append(row)
        print(row, flush=True)
    columns = [f"{name}{what}" for name in CONTENDERS for what in ("", ", median")]
    text = (
        f"{SEEDS} seeds of each family, at most {SECONDS:.0f} s a query; what is undecided counts "
        "as the limit. *Delegated* is a solver's word, which the checker does not call a proof of "
        "its own; all else that is proved has evidence that it derives again.\n\n"
        + table(["family", "semantics", *columns, "quicker"], rows)
    )
    write("smt_wins", "Where SMT wins, and where it loses", figures, text)


def quicker(branching: float, smt: float) -> str:
    """Who, and how many times; at least so many where the other is at the limit."""
    name = "SMT" if smt < branching else "branching"
    first, second = sorted([smt, branching])
    if first >= SECONDS:
        return "neither"
    return f"{name}, {'more than ' if second >= SECONDS else ''}{second / first:.1f} times"


if __name__ == "__main__":
    main()
