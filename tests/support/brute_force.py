"""The exact minimum of a piecewise linear function over a region, by its activation patterns.

A region is a union of polytopes, each the list of its vertices. A function that is linear between
kinks is followed vertex by vertex, in rationals: where a kink passes through a polytope it is cut
in two, and on what is left in the end the function is linear, so that it is smallest at a vertex.
Nothing here knows of networks, or shares code with the library.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

__all__ = ["Layer", "Polytope", "Vertex", "below", "box", "followed", "smallest"]

Exact = Any  # an object array of Fractions
_faces = itertools.count()


@dataclass(frozen=True, eq=False)
class Vertex:
    """A corner of a polytope.

    Attributes:
        point: its place, shape ``(n,)``.
        value: what the function followed so far makes of it, flat.
        faces: the numbers of all faces that it lies on.
    """

    point: Exact
    value: Exact
    faces: frozenset[int]


Polytope = list[Vertex]


@dataclass(frozen=True)
class Layer:
    """A piecewise linear function of flat arrays.

    Attributes:
        function: of one point.
        kinks: of one point, flat: functions that are linear, and between whose zeros ``function``
            is linear too.
    """

    function: Callable[[Exact], Exact]
    kinks: Callable[[Exact], Exact] | None = None


def box(lower: Iterable[Fraction], upper: Iterable[Fraction]) -> Polytope:
    """All between two corners; sides without length are allowed."""
    sides = []
    for low, high in zip(lower, upper, strict=True):
        first, last = next(_faces), next(_faces)
        ends = [(low, {first}), (high, {last})] if low < high else [(low, {first, last})]
        sides.append(ends)
    vertices = []
    for chosen in itertools.product(*sides):
        point = np.empty(len(chosen), dtype=object)
        point[:] = [end for end, _ in chosen]
        faces = frozenset(itertools.chain.from_iterable(on for _, on in chosen))
        vertices.append(Vertex(point, point, faces))
    return vertices


def below(polytope: Polytope, normal: Exact, most: Fraction) -> Polytope:
    """The part in which ``normal . point <= most``; empty if there is none."""
    kept, _ = _cut(polytope, [most - normal.dot(vertex.point) for vertex in polytope])
    return kept


def _cut(polytope: Polytope, values: Sequence[Fraction]) -> tuple[Polytope, Polytope]:
    """The parts in which a linear function, known at the vertices, is >= 0 and is <= 0."""
    if min(values, default=0) >= 0:
        return polytope, []
    if max(values) <= 0:
        return [], polytope
    face = next(_faces)
    parts: tuple[Polytope, Polytope] = ([], [])
    for vertex, value in zip(polytope, values, strict=True):
        if value == 0:
            vertex = Vertex(vertex.point, vertex.value, vertex.faces | {face})  # noqa: PLW2901
        for part, sign in zip(parts, (1, -1), strict=True):
            if value * sign >= 0:
                part.append(vertex)
    above = [(v, a) for v, a in zip(polytope, values, strict=True) if a > 0]
    under = [(v, a) for v, a in zip(polytope, values, strict=True) if a < 0]
    for (first, a), (last, b) in itertools.product(above, under):
        common = first.faces & last.faces
        # Two vertices are joined by an edge if no third one lies on all the faces that both do.
        if any(common <= v.faces for v in polytope if v is not first and v is not last):
            continue
        share = a / (a - b)
        between = Vertex(
            first.point + share * (last.point - first.point),
            first.value + share * (last.value - first.value),
            common | {face},
        )
        for part in parts:
            part.append(between)
    return parts


def followed(region: Iterable[Polytope], layers: Iterable[Layer]) -> list[Polytope]:
    """The polytopes on which all layers together are linear, with their values at the vertices."""
    found = list(region)
    for layer in layers:
        found = _through(found, layer)
    return found


def _through(region: list[Polytope], layer: Layer) -> list[Polytope]:
    if layer.kinks is not None:
        region = [part for polytope in region for part in _divided(polytope, layer.kinks)]
    made: dict[int, Exact] = {}  # a vertex is shared by what it was cut off from
    after = []
    for polytope in region:
        for vertex in polytope:
            if id(vertex.value) not in made:
                made[id(vertex.value)] = layer.function(vertex.value)
        after.append([Vertex(v.point, made[id(v.value)], v.faces) for v in polytope])
    return after


def _divided(polytope: Polytope, kinks: Callable[[Exact], Exact]) -> list[Polytope]:
    size = len(polytope[0].value)
    # The kinks are linear, so they are followed like values: at the end of them.
    longer = [Vertex(v.point, np.concatenate([v.value, kinks(v.value)]), v.faces) for v in polytope]
    parts = [longer]
    for number in range(size, len(longer[0].value)):
        parts = [
            half
            for part in parts
            for half in _cut(part, [vertex.value[number] for vertex in part])
            if half
        ]
    shortened: dict[int, Exact] = {}
    for vertex in itertools.chain.from_iterable(parts):
        shortened.setdefault(id(vertex.value), vertex.value[:size])
    return [[Vertex(v.point, shortened[id(v.value)], v.faces) for v in part] for part in parts]


def smallest(region: Iterable[Polytope], clauses: Sequence[tuple[Exact, Exact]]) -> Fraction:
    """The smallest over all points and clauses of the largest of each clause's rows.

    Args:
        region: what ``followed`` gives.
        clauses: each a matrix ``(rows, values)`` and constants ``(rows,)``.
    """
    found: Fraction | None = None
    polytopes = list(region)
    for matrix, constants in clauses:
        rows = Layer(lambda value, m=matrix, c=constants: m.dot(value) + c)
        for part in _through(_through(polytopes, rows), _Largest):
            for vertex in part:
                value = vertex.value[0]
                found = value if found is None else min(found, value)
    assert found is not None
    return found


def _differences(value: Exact) -> Exact:
    pairs = itertools.combinations(range(len(value)), 2)
    made = np.empty(len(value) * (len(value) - 1) // 2, dtype=object)
    made[:] = [value[i] - value[j] for i, j in pairs]
    return made


_Largest = Layer(lambda value: np.array([value.max()], dtype=object), _differences)
