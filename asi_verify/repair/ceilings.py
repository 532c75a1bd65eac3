"""Samples in contradictions, tried at radii at which they contradict nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from asi_verify.bugs import evaluate
from asi_verify.core.balls import L1, L2
from asi_verify.core.family import RegionFamily
from asi_verify.core.k_pixel import KPixel
from asi_verify.core.linf import LInf
from asi_verify.core.radius import Radius
from asi_verify.core.verdict import describe
from asi_verify.errors import UsageError
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
    is the largest multiple of half a grey level below it, or the largest number of pixels; with a
    ceiling of 0, which equal images with different labels have, there is none. Nothing found here
    counts as certified.

    Returns:
        An entry per contradicted row: ``row``, ``ceiling`` and ``radius`` (text, in pixel units or
        pixels) and the verdict in words, or ``"verdict": "none"``; no entries for regions whose
        size is no distance.
    """
    audit, samples = subject.audit, subject.samples
    if not audit.has_ceilings:
        return []
    entries: dict[int, dict[str, Any]] = {}
    by_radius: dict[tuple[str, RegionFamily], list[int]] = defaultdict(list)
    for row in audit.contradicted:
        ceiling = audit.ceiling(row)
        assert ceiling is not None
        entries[row] = {"row": row, "ceiling": str(ceiling), "verdict": "none", "radius": None}
        largest = _largest_below(audit.family, ceiling)
        if largest is not None:
            by_radius[largest].append(row)
    if not by_radius:
        return list(entries.values())
    properties = subject.properties(artifact, evaluate(artifact, samples))
    for (radius, family), rows in by_radius.items():
        proof = prove(
            artifact,
            family,
            samples.images[np.array(rows)],
            [samples.image_digests[row] for row in rows],
            [properties[row] for row in rows],
            stages,
            subject.semantics,
        )
        for row, verdict in zip(rows, proof.verdicts, strict=True):
            entries[row] |= {"radius": radius, **describe(verdict)}
    return [entries[row] for row in audit.contradicted]


def _largest_below(family: RegionFamily, ceiling: Fraction) -> tuple[str, RegionFamily] | None:
    """The size and the family of the largest regions of a kind below a ceiling, if any."""
    match family:
        case KPixel(values=values):
            pixels = -(-ceiling // 1) - 1
            return (str(pixels), KPixel(pixels, values)) if pixels > 0 else None
        case L1() | L2():
            radius = _radius_below(ceiling)
            return (str(radius), type(family)(radius)) if radius > 0 else None
        case LInf():
            radius = _radius_below(ceiling)
            return (str(radius), LInf(Radius(radius))) if radius > 0 else None
        case _:
            raise UsageError(f"{family}: such regions have no sizes to try")


def _radius_below(ceiling: Fraction) -> Fraction:
    return (-(-ceiling // _STEP) - 1) * _STEP
