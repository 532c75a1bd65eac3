"""Claim: no attack succeeds inside a certified region, and every deployed logit is enclosed.

Needs the runs that ``benchmarks/zero_repeatable_errors.py`` leaves. On every accepted region of
BreastMNIST (seed 0) and PneumoniaMNIST (seed 0): projected gradient descent with 20 restarts, each
point replayed in ONNX Runtime; half a million points each, sampled inside the regions and at their
corners, answered by ONNX Runtime; and ONNX Runtime's logits at every centre, compared with what the
trusted pass allows in float32. One success or one logit outside would be a false proof.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
from _results import RUNS, table, write

from asi_verify.core.box import Box
from asi_verify.core.canonical import array_digest
from asi_verify.core.images import encode
from asi_verify.core.linf import LInf
from asi_verify.core.properties import property_for
from asi_verify.core.semantics import Semantics
from asi_verify.data import load_dataset
from asi_verify.export import Artifact
from asi_verify.prove import Falsify, prove

SETS = ("breastmnist", "pneumoniamnist")
ATTACK = Falsify(steps=10, restarts=20)
POINTS = 500_000
FAMILY = LInf.of("1/255")


def attacked(artifact: Artifact, samples: Any) -> int:
    """How many regions the attack breaks."""
    properties = [property_for(label, artifact.network.logits) for label in samples.labels]
    digests = [array_digest(image) for image in samples.images]
    found = prove(artifact, FAMILY, samples.images, digests, properties, [ATTACK])
    return sum(stage.refuted for stage in found.stages)


def sampled(artifact: Artifact, samples: Any) -> tuple[int, int]:
    """How many points were tried, half of them corners, and how many ONNX Runtime gets wrong."""
    generator = np.random.default_rng(0)
    tried = wrong = 0
    box = FAMILY.boxes(samples.images)
    while tried < POINTS:
        if tried // len(samples) % 2:
            points = FAMILY.sample(samples.images, generator)
        else:
            points = np.where(generator.random(box.lower.shape) < 0.5, box.lower, box.upper)
        answers = artifact.session.run(points).argmax(axis=1)
        wrong += int((answers != samples.labels).sum())
        tried += len(samples)
    return tried, wrong


def outside(artifact: Artifact, samples: Any) -> int:
    """How many samples have a deployed logit outside the enclosure of their centre."""
    centres = encode(samples.images)
    enclosure = artifact.trusted(Semantics.FLOAT32).enclosure(Box(centres, centres.copy()))
    inside = enclosure.contains(artifact.session.run(centres).astype(np.float64))
    return int((~inside).sum())


def main() -> int:
    """Attack and write the page; returns 1 if anything succeeded."""
    found = []
    for name in SETS:
        place = RUNS / f"{name}-0"
        artifact = Artifact.from_bytes((place / "certificates" / "artifact.onnx").read_bytes())
        samples = load_dataset(name).split("train")
        accepted = json.loads((place / "benchmark.json").read_text())["accepted"]
        assert accepted == len(samples), f"{name}: only {accepted} regions are certified"
        start = time.perf_counter()
        points, wrong = sampled(artifact, samples)
        found.append(
            {
                "dataset": name,
                "broken": attacked(artifact, samples),
                "outside": outside(artifact, samples),
                "points": points,
                "regions": len(samples),
                "seconds": round(time.perf_counter() - start, 1),
                "wrong_points": wrong,
            }
        )
    header = ["data set", "certified regions", f"broken by PGD ({ATTACK.restarts} restarts)"]
    header += ["points tried", "wrong", "centres with a logit outside", "time"]
    keys = ("dataset", "regions", "broken", "points", "wrong_points", "outside", "seconds")
    rows = [[f"{f[k]:,}" if isinstance(f[k], int) else f[k] for k in keys] for f in found]
    text = (
        "Projected gradient descent of 10 steps from 20 starts on every region, points inside the "
        "regions and at their corners, and the centres, all answered by ONNX Runtime. A "
        f"certificate says that none of these can be wrong.\n\n{table(header, rows)}"
    )
    write("attack_certified", "Attacks on certified regions", {"runs": found}, text)
    return int(any(f["broken"] or f["wrong_points"] or f["outside"] for f in found))


if __name__ == "__main__":
    sys.exit(main())
