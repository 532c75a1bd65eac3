"""Random queries about tiny networks, their exact answers, and what every method says to them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from asi_verify.core.balls import L1, L2
from asi_verify.core.box import Box
from asi_verify.core.clauses import Clauses, Inequality
from asi_verify.core.family import RegionFamily
from asi_verify.core.images import encode
from asi_verify.core.k_pixel import KPixel
from asi_verify.core.linf import LInf
from asi_verify.core.properties import MultiLabel, Property, SingleLabel
from asi_verify.core.semantics import Semantics
from asi_verify.core.verdict import Proved, Refuted, Undecided, Verdict
from asi_verify.export import Artifact
from asi_verify.prove import (
    AlphaCrown,
    Batch,
    Branch,
    Crown,
    CrownIbp,
    Falsify,
    Intervals,
    Members,
    Regions,
    SlopeTrials,
    Solve,
    Stage,
    prove_all,
    stages_for,
)
from asi_verify.runtime import Session
from support.brute_force import Layer, Polytope, below, box, followed, smallest
from support.exact import exact
from support.onnx_files import model, node
from support.operator_cases import PIECEWISE, SMOOTH, Case

__all__ = ["METHODS", "OPERATORS", "REGIONS", "Answer", "Query", "answers", "queries"]

Exact = Any
Generator = np.random.Generator

OPERATORS = {**PIECEWISE, **SMOOTH}
REGIONS = ("box", "linf", "l1", "l2", "k-pixel")

METHODS: dict[str, tuple[Stage, ...] | None] = {
    "falsify": (Falsify(),),
    "intervals": (Intervals(),),
    "CROWN-IBP": (CrownIbp(proposes=False),),
    "CROWN": (Crown(proposes=False),),
    "alpha-CROWN": (AlphaCrown(steps=3),),
    "slope trials": (SlopeTrials(),),
    "branch over inputs": (Branch(most_leaves=256),),
    "branch over phases": (Branch(most_leaves=256, steps=4, few_inputs=0),),
    "patterns of phases": (Branch(most_leaves=256, steps=1, few_inputs=0, solve_leaves=24),),
    "SMT": (Solve(steps=400_000),),
    "members": (Members(),),
    "default cascade": None,
}
"""The stages of each; the last are those of the region's family."""

_FINE = 2.0**-20
"""More than the encodings of a grey level differ by."""


@dataclass(frozen=True, eq=False)
class Query:
    """A question about a tiny network, and its exact answer.

    Attributes:
        operator: the name in ``OPERATORS`` of the one that the network is made around.
        region: the name in ``REGIONS``.
        batch: the question, for the library.
        most: the smallest value of the property over the region is at most that, ...
        least: ... and at least that, exactly.
        clear: beyond this size a margin is no matter of rounding.
        complete: the methods that have to decide a query with a clear margin.
        function: the network by the standard's words, in rationals or to 60 digits.
    """

    operator: str
    region: str
    batch: Batch
    most: Fraction
    least: Fraction
    clear: Fraction
    complete: frozenset[str]
    function: Any


@dataclass(frozen=True)
class Answer:
    """What a method says, and what is wrong with it.

    Attributes:
        method: the name in ``METHODS``.
        verdict: what it says.
        wrong: in words; empty if nothing is.
        due: whether it has to decide the query: the margin is clear, and it is complete for it.
    """

    method: str
    verdict: Verdict
    wrong: str
    due: bool

    @property
    def missed(self) -> bool:
        """Whether it had to decide the query and did not."""
        return self.due and isinstance(self.verdict, Undecided)


def queries(operator: str, seed: int) -> Iterator[Query]:
    """Some queries about one random network and one region of it."""
    g = np.random.default_rng([seed, *operator.encode()])
    artifact, steps, complete = _network(operator, g)
    size = math.prod(artifact.network.input_shape)
    name = REGIONS[seed % len(REGIONS)] if size == 2 else REGIONS[(0, 1, 2, 4)[seed % 4]]
    region = _region(name, size, g)
    truth = (_Truth if operator in PIECEWISE else _SmoothTruth)(steps, region)
    semantics = Semantics.REAL if g.random() < 0.3 else Semantics.FLOAT32

    def function(point: Exact) -> Exact:
        return _applied(steps, point)

    for property_ in truth.properties(g, artifact.network.logits):
        batch = region.batch(artifact, property_, semantics, seed)
        least, most = truth.smallest(property_)
        able = _able(operator, name, property_, complete)
        yield Query(operator, name, batch, most, least, truth.clear, able, function)


def _able(
    operator: str, region: str, property_: Property, complete: frozenset[str]
) -> frozenset[str]:
    """The methods that are complete for a query, all but for their budgets."""
    match region:
        case "box" | "linf":
            return complete
        case "k-pixel" if operator in PIECEWISE:
            return frozenset({"members"})
        case _:
            return frozenset()


def answers(query: Query) -> list[Answer]:
    """What every method says to a query; the last entry is about all of them together."""
    batch = query.batch
    found = []
    holds, fails = query.least > query.clear, query.most < -query.clear
    for name, given in METHODS.items():
        stages = given
        if stages is None:
            if not holds and not fails:
                continue  # all of its stages are asked, and most of them in vain
            family = None if batch.regions is None else batch.regions.family
            # Boxes alone are asked about as those of L-infinity regions are.
            stages = stages_for(LInf.of(0) if family is None else family)
        (verdict,) = prove_all([batch], stages).verdicts
        wrong = _wrong(query, verdict)
        # What z3 finds may be wrong by nothing, and then not be wrong in float32.
        due = name in query.complete and (holds or (fails and name != "SMT"))
        found.append(Answer(name, verdict, wrong, due))
    kinds = {type(answer.verdict) for answer in found}
    if batch.semantics is Semantics.FLOAT32 and {Proved, Refuted} <= kinds:
        first = found[0]
        found[0] = Answer(first.method, first.verdict, "proved and refuted", first.due)
    return found


def _wrong(query: Query, verdict: Verdict) -> str:
    match verdict:
        case Proved():
            return "" if query.most > 0 else f"proved, but the minimum is {float(query.most)}"
        case Refuted(witness):
            return _wrong_witness(query, witness.point)
        case _:
            return ""


def _wrong_witness(query: Query, point: Any) -> str:
    """A witness has to be in the region, wrong in a session of its own, and nearly so exactly."""
    batch = query.batch
    if not batch.box.contains(point[None])[0]:
        return "a witness outside of the box"
    regions = batch.regions
    if regions is not None and not regions.family.contains(point[None], regions.images)[0]:
        return "a witness outside of the region"
    outputs = Session(batch.artifact.data, threads=1).run(point[None])
    if batch.property_.margins(outputs)[0] > 0:
        return "a witness that is not wrong"
    exactly = query.function(exact(point).reshape(-1)).astype(np.float64)
    if not np.allclose(outputs[0], exactly, rtol=1e-4, atol=1e-4):
        return f"ONNX Runtime answers {outputs[0]}, the standard says {exactly}"
    if query.least > query.clear:
        return f"refuted, but the minimum is {float(query.least)}"
    return ""


# Networks.

Interval = tuple[Any, Any]


@dataclass(frozen=True)
class _Step:
    """A layer, and for smooth networks what it makes of boxes, float64, ``(B, n)``.

    Attributes:
        layer: on points.
        over: on boxes, up to rounding.
    """

    layer: Layer
    over: Callable[[Any, Any], Interval] | None


def _applied(steps: list[_Step], point: Exact) -> Exact:
    value = point
    for step in steps:
        value = step.layer.function(value)
    return value


def _network(operator: str, g: Generator) -> tuple[Artifact, list[_Step], frozenset[str]]:
    """An operator between two matrices, at times with ReLUs around it."""
    case = OPERATORS[operator](g)
    inputs, outputs = int(g.choice([2, 2, 2, 3])), int(g.integers(1, 4))
    inputs = 2 if operator in SMOOTH else inputs
    count = math.prod(case.shape)
    # Names of more than one letter, which no case uses.
    first, second = _weights(g, count, inputs), _weights(g, count, 1)[:, 0]
    nodes = [node("Flatten", "x", "flat"), node("Gemm", "flat k0 b0", "first", transB=1)]
    steps = [_matrix(first, second)]
    before = count <= 4 and g.random() < 0.3
    if before:
        nodes.append(node("Relu", "first", "before"))
        steps.append(_RELU)
    nodes.append(node("Reshape", ("before" if before else "first") + " shape", "v"))
    nodes += [*case.nodes, node("Flatten", "w", "last")]
    steps.append(_step(case))
    made = np.asarray(case.function(exact(np.zeros(case.shape)))).size
    after = made <= 4 and g.random() < 0.5
    if after:
        nodes.append(node("Relu", "last", "after"))
        steps.append(_RELU)
    last, bias = _weights(g, outputs, made), _weights(g, outputs, 1)[:, 0]
    nodes.append(node("Gemm", ("after" if after else "last") + " k1 b1", "y", transB=1))
    steps.append(_matrix(last, bias))
    constants = {"k0": first, "b0": second, "k1": last, "b1": bias}
    constants["shape"] = np.int64([0, *case.shape])
    constants |= case.constants
    data = model(nodes, (1, inputs), constants, opset=case.opset, batch=case.batch)
    artifact = Artifact.from_bytes(data)
    complete = {"branch over inputs"} if operator in PIECEWISE else set()
    if operator in PIECEWISE and case.phases:
        if artifact.network.is_exact_float32:
            complete |= {"SMT", "default cascade"}
        if before or after or case.kinks is not None:
            complete |= {"branch over phases", "patterns of phases"}
    return artifact, steps, frozenset(complete)


def _weights(g: Generator, *shape: int) -> Any:
    """Weights of a size that keeps values of order 1, with few bits or many."""
    given = g.normal(size=shape) * np.sqrt(2 / shape[1])
    return (np.rint(given * 8) / 8 if g.random() < 0.4 else given).astype(np.float32)


def _matrix(weight: Any, bias: Any) -> _Step:
    matrix, shift = exact(weight), exact(bias)
    wide, size = weight.T.astype(np.float64), np.abs(weight.T).astype(np.float64)

    def over(low: Any, high: Any) -> Interval:
        middle, spread = 0.5 * (low + high) @ wide + bias, 0.5 * (high - low) @ size
        return middle - spread, middle + spread

    return _Step(Layer(lambda x: matrix.dot(x) + shift), over)


_RELU = _Step(
    Layer(lambda x: np.where(x > 0, x, Fraction(0)), lambda x: x),
    lambda low, high: (np.maximum(low, 0), np.maximum(high, 0)),
)


def _step(case: Case) -> _Step:
    def function(x: Exact) -> Exact:
        return np.asarray(case.function(x.reshape(case.shape))).reshape(-1)

    def over(low: Any, high: Any) -> Interval:
        given = (a.reshape(-1, *case.shape) for a in (low, high))
        first, last = case.interval(*given)
        return first.reshape(len(low), -1), last.reshape(len(low), -1)

    kinks = case.kinks
    layer = Layer(function, None if kinks is None else lambda x: kinks(x.reshape(case.shape)))
    return _Step(layer, None if case.interval is None else over)


# Regions.


@dataclass(frozen=True, eq=False)
class _Region:
    """A region, and polytopes of which it contains all and that contain all of it.

    Attributes:
        family: None for a box of its own.
        images: its centre, shape ``(1, 1, n)``; for a box its middle.
        box: what holds the region.
        inside: the region itself, over the reals, or a little less.
        around: the region with all encodings, or a little more.
    """

    family: RegionFamily | None
    images: Any
    box: Box
    inside: list[Polytope]
    around: list[Polytope]

    def batch(
        self, artifact: Artifact, property_: Property, semantics: Semantics, key: int
    ) -> Batch:
        given = None if self.family is None else Regions(self.family, self.images)
        centres = self.images if self.family is None else encode(self.images)
        return Batch(artifact, centres, self.box, property_, semantics, (key,), None, given)


def _region(name: str, size: int, g: Generator) -> _Region:
    if name == "box":
        centre = g.normal(size=(1, 1, size))
        reach = 10.0 ** g.uniform(-2, 0) * g.random((1, 1, size))
        reach[g.random(reach.shape) < 0.15] = 0.0
        lower, upper = ((centre + s * reach).astype(np.float32) for s in (-1, 1))
        whole = Box(lower, np.maximum(lower, upper))
        middle = np.clip(centre.astype(np.float32), whole.lower, whole.upper)
        (region,) = _polytopes(whole)
        return _Region(None, middle, whole, [region], [region])
    image = g.choice([0, 255, *range(256)], (1, 1, size)).astype(np.uint8)
    levels = [Fraction(int(level), 255) for level in image.reshape(-1)]
    grey = int(g.integers(1, 100))
    family: RegionFamily
    match name:
        case "linf":
            family = LInf.of(f"{grey}/255")
            inside = [_ball_of_boxes(levels, Fraction(grey, 255))]
            around = _polytopes(family.boxes(image))
        case "l1":
            radius = Fraction(grey, 200)
            family = L1.of(radius)
            inside, around = (
                [_cut_by_signs(levels, radius + more)]
                for more in (Fraction(0), Fraction(_FINE * 4))
            )
        case "l2":
            radius = Fraction(grey, 200)
            family = L2.of(radius)
            inside = [_polygon(levels, radius, Fraction(99, 100))]
            around = [_polygon(levels, radius + Fraction(_FINE * 2), Fraction(1))]
        case _:
            values = tuple(sorted({int(v) for v in g.integers(0, 256, 2)}))
            family = KPixel(int(g.integers(1, size + 1)), values)
            members = _members(family, image.reshape(-1).tolist())
            points = [[Fraction(level, 255) for level in member] for member in members]
            inside = [box(point, point) for point in points]
            fine = Fraction(_FINE)
            around = [box([p - fine for p in at], [p + fine for p in at]) for at in points]
    return _Region(family, image, family.boxes(image), inside, around)


def _polytopes(whole: Box) -> list[Polytope]:
    return [
        box(exact(low).reshape(-1), exact(high).reshape(-1))
        for low, high in zip(whole.lower, whole.upper, strict=True)
    ]


def _ball_of_boxes(levels: Sequence[Fraction], radius: Fraction) -> Polytope:
    """All in [0, 1] within a radius of a point, number by number."""
    zero, one = Fraction(0), Fraction(1)
    return box([max(v - radius, zero) for v in levels], [min(v + radius, one) for v in levels])


def _cut_by_signs(levels: Sequence[Fraction], radius: Fraction) -> Polytope:
    """All in [0, 1] whose changes add up to at most the radius."""
    part = _ball_of_boxes(levels, radius)
    for signs in itertools.product((-1, 1), repeat=len(levels)):
        normal = np.array([Fraction(sign) for sign in signs], dtype=object)
        part = below(part, normal, radius + sum(s * v for s, v in zip(signs, levels, strict=True)))
    return part


def _polygon(levels: Sequence[Fraction], radius: Fraction, share: Fraction) -> Polytope:
    """A polygon of 32 sides about a disc of that share of the radius, cut to [0, 1].

    With a share of 99/100 it lies in the disc of the radius: its corners are at most
    1 / cos(pi / 32) = 1.0048 times as far away, and its sides are not quite of one length.
    """
    part = _ball_of_boxes(levels, radius)
    for number in range(32):
        half = Fraction(round(math.tan((number + 0.5 - 16) * math.pi / 64) * 1000), 1000)
        # (1 - t^2, 2 t) / (1 + t^2) has length 1: all directions to the right, or to the left.
        for side in (1, -1):
            normal = np.array([side * (1 - half**2), 2 * half], dtype=object) / (1 + half**2)
            most = share * radius + normal.dot(np.array(levels, dtype=object))
            part = below(part, normal, most)
    if share < 1:
        for vertex in part:
            moved = vertex.point - np.array(levels, dtype=object)
            assert moved.dot(moved) <= radius**2
    return part


def _members(family: KPixel, levels: list[int]) -> list[tuple[int, ...]]:
    every = itertools.product(*({level, *family.values} for level in levels))
    return [
        member
        for member in every
        if sum(a != b for a, b in zip(member, levels, strict=True)) <= family.pixels
    ]


# Answers.


class _Truth:
    """The exact smallest values of a piecewise linear network's properties over a region."""

    clear = Fraction(1, 50)

    def __init__(self, steps: list[_Step], region: _Region) -> None:
        layers = [step.layer for step in steps]
        self._inside = self._around = followed(region.inside, layers)
        if region.inside is not region.around:
            self._around = followed(region.around, layers)

    def properties(self, g: Generator, logits: int) -> Iterator[Property]:
        """A classifier's; and clauses that hold or fail clearly, by a hair, or by nothing."""
        if g.random() < 0.5:
            label = int(g.integers(logits))
            yield SingleLabel(label, logits) if logits > 1 else MultiLabel((label,))
        clauses = _clauses(g, logits)
        most = self.most(clauses)
        clear = int(g.choice([-1, 1])) * Fraction(int(g.integers(10, 40)), 100)
        hair = int(g.choice([-1, 0, 1])) * Fraction(2) ** int(g.choice([-40, -24, -12]))
        for wanted in (clear, hair):
            yield _shifted(clauses, wanted - most)

    def most(self, property_: Property) -> Fraction:
        """At least the smallest value over the region."""
        return smallest(self._inside, _rows(property_))

    def smallest(self, property_: Property) -> tuple[Fraction, Fraction]:
        """At most and at least the smallest value of a property over the region."""
        most = self.most(property_)
        if self._around is self._inside:
            return most, most
        return smallest(self._around, _rows(property_)), most


class _SmoothTruth(_Truth):
    """Bounds of it for networks that are not: branch and bound, and points to 60 digits."""

    _POINTS = 200
    _ROUNDS = 3
    _MOST_BOXES = 20_000

    def __init__(self, steps: list[_Step], region: _Region) -> None:
        self._steps, self._region = steps, region
        self._generator = np.random.default_rng(0)

    def most(self, property_: Property) -> Fraction:
        """The value at one good point of the region, exactly."""
        best: tuple[float, Exact] = (np.inf, None)
        for polytope in self._region.inside:
            corners = np.array([vertex.point for vertex in polytope], dtype=object)
            weights = self._generator.dirichlet(np.full(len(corners), 0.5), self._POINTS)
            weights = np.concatenate([np.eye(len(corners)), weights])
            for _ in range(self._ROUNDS if len(corners) > 1 else 1):
                points = weights @ corners.astype(np.float64)
                values = self._lower(property_, points, points)
                chosen = weights[values.argmin()]
                if values.min() < best[0]:
                    share = exact(chosen)
                    best = (values.min(), (share / share.sum()).dot(corners))
                near = self._generator.dirichlet(0.5 + 50 * chosen, self._POINTS)
                weights = np.concatenate([chosen[None], near])
        outputs = _applied(self._steps, best[1])
        return _overall(property_, outputs)

    def smallest(self, property_: Property) -> tuple[Fraction, Fraction]:
        most = self.most(property_)
        corners = [np.array([v.point for v in p], dtype=object) for p in self._region.around]
        low = np.nextafter([c.min(axis=0).astype(np.float64) for c in corners], -np.inf)
        high = np.nextafter([c.max(axis=0).astype(np.float64) for c in corners], np.inf)
        closed = np.inf
        while True:
            values = self._lower(property_, low, high)
            is_open = values < float(most) - 0.5 * float(self.clear)
            closed = min(closed, values[~is_open].min(initial=np.inf))
            low, high, values = low[is_open], high[is_open], values[is_open]
            if not len(low) or len(low) > self._MOST_BOXES:
                break
            low, high = _halved(low, high)
        return Fraction(min(closed, values.min(initial=np.inf), float(most))), most

    def _lower(self, property_: Property, low: Any, high: Any) -> Any:
        """Lower bounds over boxes ``(B, n)``, with far more room than float64 rounds by."""
        for step in self._steps:
            assert step.over is not None
            low, high = step.over(low, high)
            room = 1e-9 * (1 + np.maximum(np.abs(low), np.abs(high)).max(axis=1, keepdims=True))
            low, high = low - room, high + room
        rows = property_.rows()
        values = low @ np.maximum(rows, 0).T + high @ np.minimum(rows, 0).T
        return property_.overall(values + property_.constants()) - 1e-7


def _halved(low: Any, high: Any) -> Interval:
    """Every box in two across its longest side."""
    rows, axis = np.arange(len(low)), (high - low).argmax(axis=1)
    middle = 0.5 * (low[rows, axis] + high[rows, axis])
    lower, upper = low.copy(), high.copy()
    upper[rows, axis] = lower[rows, axis] = middle
    return np.concatenate([low, lower]), np.concatenate([upper, high])


def _overall(property_: Property, outputs: Exact) -> Fraction:
    """A property's value at one point, exactly."""
    values = (matrix.dot(outputs) + shift for matrix, shift in _rows(property_))
    return min(value.max() for value in values)


def _clauses(g: Generator, logits: int) -> Clauses:
    def inequality() -> Inequality:
        numbers = tuple(int(n) for n in g.integers(-3, 4, logits))
        constant = Fraction(int(g.integers(-8, 9)), 7)
        return Inequality(numbers if any(numbers) else (1,) * logits, constant)

    return Clauses(
        logits,
        tuple(
            tuple(inequality() for _ in range(int(g.choice([1, 1, 2, 3]))))
            for _ in range(int(g.choice([1, 1, 2])))
        ),
    )


def _shifted(property_: Clauses, by: Fraction) -> Clauses:
    return Clauses(
        property_.outputs,
        tuple(
            tuple(Inequality(row.coefficients, row.constant + by) for row in clause)
            for clause in property_.clauses
        ),
    )


def _rows(property_: Property) -> list[tuple[Exact, Exact]]:
    """The clauses of a property, as matrices and constants without rounding."""
    if isinstance(property_, Clauses):
        found = []
        for clause in property_.clauses:
            constants = np.empty(len(clause), dtype=object)
            constants[:] = [row.constant for row in clause]
            matrix = np.array([[Fraction(c) for c in r.coefficients] for r in clause], dtype=object)
            found.append((matrix, constants))
        return found
    return [(exact(row)[None], exact(np.zeros(1))) for row in property_.rows()]
