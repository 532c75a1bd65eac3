"""Samples in contradictions, tried at radii at which they contradict nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from asi_verify.bugs import evaluate
from asi_verify.core.radius import Radius
from asi_verify.core.region import LInf
from asi_verify.core.verdict import describe
from asi_verify.export import Artifact
from asi_verify.prove import Stage, prove
from asi_verify.repair.examine import Subject

__all__ = ["tried_at_ceilings"]

_STEP = Fraction(1, 510)
"""Half a grey level: the finest radius that differs from its neighbours for 8-bit images."""


def tried_at_ceilings(
    artifact: Artifact, subject: Subject, stages: Sequence[Stage] | None = None
) -> list[dict[str, Any]]:
    """What is proved of each contradicted sample just below its own ceiling.

    A sample's ceiling is half its distance to the nearest sample of another label. The radius tried
    is the largest multiple of half a grey level below it; with a ceiling of 0, which equal images
    with different labels have, there is none. Nothing found here counts as certified.

    Returns:
        An entry per contradicted row: ``row``, ``ceiling`` and ``radius`` (text, pixel units) and
        the verdict in words, or ``"verdict": "none"``.
    """
    audit, samples = subject.audit, subject.samples
    entries: dict[int, dict[str, Any]] = {}
    by_radius: dict[Fraction, list[int]] = defaultdict(list)
    for row in audit.contradicted:
        ceiling = audit.ceiling(row)
        assert ceiling is not None
        steps = -(-ceiling // _STEP) - 1
        entries[row] = {"row": row, "ceiling": str(ceiling), "verdict": "none", "radius": None}
        if steps > 0:
            by_radius[steps * _STEP].append(row)
    if not by_radius:
        return list(entries.values())
    properties = subject.properties(artifact, evaluate(artifact, samples))
    for radius, rows in by_radius.items():
        proof = prove(
            artifact,
            LInf(Radius(radius)),
            samples.images[np.array(rows)],
            [samples.image_digests[row] for row in rows],
            [properties[row] for row in rows],
            stages,
            subject.semantics,
        )
        for row, verdict in zip(rows, proof.verdicts, strict=True):
            entries[row] |= {"radius": str(radius), **describe(verdict)}
    return [entries[row] for row in audit.contradicted]
