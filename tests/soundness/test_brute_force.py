"""Every method against brute force: random tiny networks with every operator, over regions.

``benchmarks/brute_force.py`` asks thousands of them; these are the first few.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from support import agreement, exact
from support.agreement import METHODS, OPERATORS, REGIONS, answers, queries
from support.brute_force import Layer, below, box, followed, smallest
from support.networks import TINY, random_box, seeds
from support.operator_cases import PIECEWISE

from asi_verify.core.evidence import IntervalEvidence
from asi_verify.core.operators import MaxPool, Relu
from asi_verify.core.semantics import Semantics
from asi_verify.core.verdict import Proved, Refuted, Witness
from asi_verify.lowering.registry import REGISTRY
from asi_verify.prove import Proof

WITHOUT = {"Cast", "Constant", "ConstantOfShape", "LogSoftmax", "Shape"}
"""What leaves nothing in a network: constants and shapes, and a head over the logits."""


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_method_agrees_with_brute_force(operator):
    """Proved only what is true, refuted only with a witness, never both, and the clear decided."""
    for seed in range(5):
        for query in queries(operator, seed):
            for answer in answers(query):
                assert not answer.wrong, (seed, query.region, answer)
                assert not answer.missed, (seed, query.region, answer)


def test_every_operator_method_and_kind_of_region_is_asked():
    """The table is whole; and of the methods each proves or refutes something in it."""
    asked = {operator.split(",")[0].split(" ")[0] for operator in OPERATORS}
    assert asked == {entry.operator for entry in REGISTRY} - WITHOUT
    regions = {query.region for seed in range(8) for query in queries("Identity", seed)}
    assert regions == set(REGIONS)
    settled = Counter()
    for operator, seed in (("Relu", 0), ("Concat", 4), ("Relu", 4), ("Gemm", 3), ("Mul", 0)):
        for query in queries(operator, seed):
            for answer in answers(query):
                settled[answer.method] += isinstance(answer.verdict, Proved | Refuted)
    assert min(settled[name] for name in METHODS) > 0, settled


@pytest.mark.parametrize("name", TINY)
@settings(max_examples=4, deadline=None, derandomize=True)
@given(seed=seeds)
def test_the_minimum_is_that_of_another_brute_force(name, seed):
    """Cutting polytopes finds what solving for every vertex of every pattern finds, exactly."""
    generator = np.random.default_rng(seed)
    network = TINY[name](generator)
    lower, upper = random_box(generator, network.input_shape, 1, radius=0.4)
    row = generator.integers(-3, 4, network.logits).astype(np.float64)
    whole = box(exact.exact(lower).reshape(-1), exact.exact(upper).reshape(-1))
    found = smallest(
        followed([whole], _layers(network)), [(exact.exact(row)[None], exact.exact(np.zeros(1)))]
    )
    assert found == exact.minimum(network, lower[0], upper[0], row)


def _layers(network):
    """A layer for each operator; the value of each is all that was computed so far."""
    starts = np.cumsum([0, *(int(np.prod(shape)) for shape in network.shapes)])

    def one(node):
        def inputs(values):
            return [
                values[starts[i] : starts[i + 1]].reshape(network.shapes[i]) for i in node.inputs
            ]

        def function(values):
            made = exact.apply(node.operator, *inputs(values))
            return np.concatenate([values, made.reshape(-1)])

        def kinks(values):
            (x, *_) = inputs(values)
            if isinstance(node.operator, Relu):
                return x.reshape(-1)
            flat = x.reshape(-1)
            return np.array([a - b for i, a in enumerate(flat) for b in flat[:i]], dtype=object)

        bends = isinstance(node.operator, Relu | MaxPool)
        return Layer(function, kinks if bends else None)

    last = Layer(lambda values: values[starts[-2] :])
    return [*map(one, network.nodes), last]


def test_polytopes_are_cut_as_they_should():
    """A cube without a corner has ten vertices; what lies beyond all of it is nothing."""
    one = Fraction(1)
    cube = box([Fraction(0)] * 3, [one] * 3)
    normal = exact.exact(np.ones(3))
    cut = below(cube, normal, Fraction(5, 2))
    assert len(cut) == 10
    assert sum(vertex.point.sum() == Fraction(5, 2) for vertex in cut) == 3
    assert below(cube, normal, Fraction(-1)) == []
    assert below(cube, normal, Fraction(3)) == cube
    # Half of it, through four of its corners: one side more than a prism with its six.
    assert len(below(cut, exact.exact(np.array([1.0, -1.0, 0.0])), Fraction(0))) == 8


def test_wrong_answers_are_noticed(monkeypatch):
    """A proof of what fails, a witness that is right or outside, and both answers at once."""
    every = [query for operator in PIECEWISE for query in queries(operator, 0)]
    holds = next(q for q in every if q.least > q.clear and q.batch.semantics is Semantics.FLOAT32)
    fails = next(q for q in every if q.most < -q.clear)
    tie = next(q for q in every if q.most == 0)
    proved = Proved(IntervalEvidence())

    def said(query, *verdicts):
        remaining = iter(verdicts)
        monkeypatch.setattr(
            agreement, "prove_all", lambda batches, stages: Proof((next(remaining),), ())
        )
        monkeypatch.setattr(
            agreement, "METHODS", {str(i): METHODS["falsify"] for i in range(len(verdicts))}
        )
        return [answer.wrong for answer in answers(query)]

    def witness(point):
        logits = np.zeros(holds.batch.property_.logits, np.float32)
        return Refuted(Witness(point, logits, "a test"))

    found = next(a.verdict for a in answers(fails) if isinstance(a.verdict, Refuted))
    assert "minimum" in said(fails, proved)[0]
    assert "minimum" in said(tie, proved)[0]
    assert said(holds, proved) == said(fails, found) == [""]
    assert "not wrong" in said(holds, witness(holds.batch.centres[0]))[0]
    assert "outside" in said(holds, witness(holds.batch.box.upper[0] + 1))[0]
    assert said(holds, proved, witness(holds.batch.centres[0]))[0] == "proved and refuted"
    another = replace(fails, function=lambda point: fails.function(point) + 1)
    assert "the standard says" in said(another, found)[0]
    assert "minimum" in said(replace(fails, least=Fraction(1)), found)[0]
