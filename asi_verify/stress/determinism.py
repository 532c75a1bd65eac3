"""Whether the deployed model decides alike however it is run, and stays inside what is proved."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.core.box import Box
from asi_verify.core.images import encode
from asi_verify.core.semantics import Semantics
from asi_verify.errors import UnsupportedOperatorError
from asi_verify.runtime import Session
from asi_verify.stress.claimed import Alarm, Claimed

__all__ = ["Determinism", "determinism"]

_BATCHES = (1, 7, 64)
_THREADS = (1, 2)


@dataclass(frozen=True)
class Determinism:
    """How the answers to the same images compare.

    Attributes:
        ways: how the model was run.
        decisions_differ: images with another decision in some way; each is an alarm.
        bits_differ: images with other logits in some way; reported, for no runtime promises equal
            bits.
        largest_difference: of a logit.
        outside: images with a logit outside the enclosure that the trusted pass derives in float32;
            each is an alarm. None where an operator has no rule for it.
    """

    ways: tuple[str, ...]
    decisions_differ: int
    bits_differ: int
    largest_difference: float
    outside: int | None

    def to_json(self) -> dict[str, Any]:
        """Everything."""
        return asdict(self)


def determinism(claimed: Claimed) -> tuple[Determinism, list[Alarm]]:
    """Run the model in every way and compare."""
    centres = encode(claimed.images)
    artifact = claimed.artifact
    reference = artifact.session.run(centres)
    decisions = claimed.answers(reference)
    runs: dict[str, npt.NDArray[np.float32]] = {}
    for threads in _THREADS:
        session = Session(artifact.data, artifact.network.head, threads)
        for size in _BATCHES:
            runs[f"new session, {threads} threads, batches of {size}"] = np.concatenate(
                [session.run(centres[i : i + size]) for i in range(0, len(centres), size)]
            )
    runs["the same session again"] = artifact.session.run(centres)
    other = np.zeros(len(centres), dtype=np.bool_)
    bits = np.zeros(len(centres), dtype=np.bool_)
    for found in runs.values():
        changed = claimed.answers(found) != decisions
        other |= changed.reshape(len(centres), -1).any(axis=1)
        bits |= (found.view(np.uint32) != reference.view(np.uint32)).any(axis=1)
    largest = max(float(np.abs(found - reference).max()) for found in runs.values())
    outside = _outside(claimed, centres, [reference, *runs.values()])
    alarms = [
        Alarm("determinism", claimed.rows[place], "another decision in another run of the model")
        for place in np.flatnonzero(other)
    ]
    if outside is not None:
        alarms += [
            Alarm("determinism", claimed.rows[place], "a logit lies outside of what is proved")
            for place in np.flatnonzero(outside)
        ]
    return Determinism(
        tuple(runs),
        int(other.sum()),
        int(bits.sum()),
        largest,
        None if outside is None else int(outside.sum()),
    ), alarms


def _outside(
    claimed: Claimed, centres: npt.NDArray[np.float32], outputs: list[npt.NDArray[np.float32]]
) -> npt.NDArray[np.bool_] | None:
    if claimed.artifact.network.head is not None:
        return None  # the file answers probabilities, the enclosure is of logits
    try:
        trusted = claimed.artifact.trusted(Semantics.FLOAT32)
    except UnsupportedOperatorError:
        return None
    enclosure = trusted.enclosure(Box(centres, centres.copy()))
    inside = np.ones(len(centres), dtype=np.bool_)
    for found in outputs:
        inside &= enclosure.contains(found.astype(np.float64))
    return ~inside
