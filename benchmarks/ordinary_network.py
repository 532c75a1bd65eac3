"""Claim: what a minute an image leaves undecided of 200 test images of an ordinary network.

A CNN of 165,602 parameters, trained ordinarily on PneumoniaMNIST (seed 0, nothing for robustness),
first 200 test images, at 0.5/255, 1/255 and 2/255, float32 semantics. First the stages that do not
branch, over all images at once; then branch and bound, one image after the other, on all cores,
60 s each. Images that were settled before are not done again: results lie in
``out/benchmarks/ordinary-165k``. Of what stays undecided: how far attacks come, and what the bounds
over the whole region are.
"""

from __future__ import annotations

import functools
import json
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _results import RUNS, table, write

from asi_verify.bounds import BackwardTwin
from asi_verify.bugs import evaluate
from asi_verify.core.evidence import Intermediate
from asi_verify.core.limits import LARGEST_TREE
from asi_verify.core.linf import LInf
from asi_verify.core.properties import Property, property_for
from asi_verify.core.semantics import Semantics
from asi_verify.core.verdict import Proved, Refuted, Verdict
from asi_verify.data import Dataset, Samples, load_dataset
from asi_verify.export import Artifact, network_from_torch
from asi_verify.prove import Branch, Crown, CrownIbp, Falsify, Intervals, prove
from asi_verify.prove.falsify import descended
from asi_verify.prove.stage import Batch
from asi_verify.prove.twins import boxes_for
from asi_verify.repair import OrdinaryTraining
from asi_verify.zoo import SmallCNN

PLACE = RUNS / "ordinary-165k"
RADII = ["0.5/255", "1/255", "2/255"]
IMAGES = 200
SECONDS = 60.0
CORES = os.cpu_count() or 1
NO_END = 10_000_000
"""Parts of a tree: the clock ends the search before."""
ATTACKS, ATTACK_STEPS = 64, 60
HARDNESS = ["margin", "attacked", "crown", "slopes"]
WINNER_SECONDS = 7.2
"""The competition's winner on one instance, each proved by its initial bound (same kind of CNN)."""


def trained(data: Dataset) -> Artifact:
    """The network, trained once."""
    file = PLACE / "artifact.onnx"
    if not file.is_file():
        pixels = data.split("train").images / 255
        torch.manual_seed(0)
        mean, spread = [float(pixels.mean())], [float(pixels.std())]
        module = SmallCNN(data.image_shape, 2, mean, spread, (16, 32), 100)
        network = network_from_torch(module, data.image_shape)
        PLACE.mkdir(parents=True, exist_ok=True)
        file.write_bytes(Artifact.from_network(OrdinaryTraining().train(network, data, 0)).data)
    return Artifact.from_bytes(file.read_bytes())


def found(verdict: Verdict) -> str:
    """A verdict in one word."""
    match verdict:
        case Proved():
            return "proved"
        case Refuted():
            return "refuted"
        case _:
            return "undecided"


def settle(artifact: Artifact, data: Dataset, radius: str) -> dict[str, Any]:
    """Verdicts and seconds of each image at one radius."""
    samples = data.split("test")
    wanted = [property_for(label, artifact.network.logits) for label in samples.labels[:IMAGES]]
    family = LInf.of(radius)

    def ask(rows: list[int], *stages: Any, seconds: float | None = None, cores: int = 1) -> Any:
        return prove(
            artifact,
            family,
            samples.images[rows],
            [samples.image_digests[row] for row in rows],
            [wanted[row] for row in rows],
            stages,
            per_query_s=seconds,
            cores=cores,
        )

    def without_branching() -> dict[str, Any]:
        start = time.perf_counter()
        stages = (Falsify(), Intervals(), CrownIbp(), Crown(proposes=False))
        proof = ask(list(range(IMAGES)), *stages)
        return {
            "seconds": time.perf_counter() - start,
            "stages": [[s.name, s.given, s.proved, s.refuted, s.seconds] for s in proof.stages],
            "verdicts": [found(verdict) for verdict in proof.verdicts],
        }

    name = radius.replace("/", "_")
    first = kept(PLACE / f"{name}-without-branching.json", without_branching)
    verdicts = list(first["verdicts"])
    result = {
        "seconds_without_branching": first["seconds"],
        "settled_without_branching": sum(verdict != "undecided" for verdict in verdicts),
        "stages": first["stages"],
        "branched": {},
        "verdicts": verdicts,
    }

    def branched(row: int) -> dict[str, Any]:
        start = time.perf_counter()
        stages = Falsify(steps=30, restarts=8), Branch(NO_END, most_bytes=LARGEST_TREE)
        proof = ask([row], *stages, seconds=SECONDS, cores=CORES)
        return {"seconds": time.perf_counter() - start, "verdict": found(proof.verdicts[0])}

    for row in [row for row, verdict in enumerate(verdicts) if verdict == "undecided"]:
        again = kept(PLACE / name / f"{row}.json", functools.partial(branched, row))
        verdicts[row], result["branched"][row] = again["verdict"], again["seconds"]
        print(radius, row, again["verdict"], f"{again['seconds']:.1f} s", flush=True)
    result["hard"] = [
        {"row": row, **hardness(artifact, family, samples, row, wanted[row])}
        for row, verdict in enumerate(verdicts)
        if verdict == "undecided"
    ]
    return result


def hardness(
    artifact: Artifact, family: LInf, samples: Samples, row: int, wanted: Property
) -> dict[str, float]:
    """The margin of an image, the smallest that attacks find in its region, and bounds on it."""
    rows = np.full(ATTACKS, row)
    box = family.boxes(samples.images[rows])
    generator = np.random.default_rng(row)
    starts = generator.uniform(box.lower, box.upper).astype(np.float32)
    centres = samples.images[rows] / np.float32(255)
    keys = tuple(range(ATTACKS))
    batch = Batch(artifact, centres, box, wanted, Semantics.FLOAT32, keys)
    found = descended(batch, np.clip(starts, box.lower, box.upper), ATTACK_STEPS)
    alone = batch.take(np.arange(1))
    bounds = alone.root_bounds(Intermediate.BACKWARD)
    twin = BackwardTwin(artifact.network)
    best = twin.optimised(boxes_for(twin, bounds), wanted.rows(), ATTACK_STEPS)
    margins = functools.partial(artifact.session.margins, property_=wanted)
    crown = artifact.trusted(Semantics.FLOAT32).rows(bounds, wanted, to_input=True)
    return {
        "attacked": float(margins(found).min()),
        "crown": float(wanted.overall(crown)[0]),
        "margin": float(margins(alone.centres)[0]),
        "slopes": float(wanted.overall(best.lower.astype(np.float64))[0]),
    }


def to_gain(hard: dict[str, float]) -> float:
    """By how much a bound has to come up, as a share of the way to what attacks find."""
    return -hard["slopes"] / (hard["attacked"] - hard["slopes"])


def kept(file: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a file holds; made and written if there is none."""
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(make(), indent=1) + "\n")
    result: dict[str, Any] = json.loads(file.read_text())
    return result


def main() -> None:
    """Train, prove and write the page."""
    data = load_dataset("pneumoniamnist")
    artifact = trained(data)
    accuracy = evaluate(artifact, data.split("test")).accuracy
    results = {radius: settle(artifact, data, radius) for radius in RADII}
    rows = []
    for radius, result in results.items():
        counts = Counter(result["verdicts"])
        rate = result["settled_without_branching"] / result["seconds_without_branching"]
        result["settled_in_winners_time"] = rate * WINNER_SECONDS
        times = list(result["branched"].values())
        without = f"{result['settled_without_branching']} of {IMAGES} in "
        without += f"{result['seconds_without_branching']:.0f} s"
        rows.append(
            [
                radius,
                counts["proved"],
                counts["refuted"],
                f"{counts['undecided']} ({counts['undecided'] / IMAGES:.1%})",
                without,
                f"{rate * WINNER_SECONDS:.0f}",
                f"{np.median(times):.1f} s" if times else "none",
            ]
        )
    counts = Counter(verdict for result in results.values() for verdict in result["verdicts"])
    share = counts["undecided"] / counts.total()
    together = ["together", counts["proved"], counts["refuted"]]
    rows.append([*together, f"{counts['undecided']} ({share:.1%})", "", "", ""])
    header = ["radius", "proved", "refuted", "undecided", "without branching"]
    header += [f"of those in {WINNER_SECONDS} s", "branched, median"]
    text = (
        f"{artifact.network.parameters} parameters, test accuracy {accuracy:.1%}, no certified "
        f"training; {IMAGES} test images, asked about their labels (misclassified ones are "
        f"refuted); at most {SECONDS:.0f} s an image for branch and bound on {CORES} cores. The "
        f"competition's winner takes {WINNER_SECONDS} s for one instance of this kind.\n\n"
        + table(header, rows)
    )
    text += "\n\nStages, with images given, proved, refuted and seconds:\n\n" + table(
        ["radius", "stage", "given", "proved", "refuted", "seconds"],
        [
            [radius, name, given, proved, refuted, f"{seconds:.1f}"]
            for radius, result in results.items()
            for name, given, proved, refuted, seconds in result["stages"]
        ],
    )
    text += (
        "\n\nOf what is undecided: the margin of the image, the smallest that "
        f"{ATTACKS} attacks of {ATTACK_STEPS} steps find in its region, and lower bounds over the "
        "whole region, by CROWN and with slopes optimised. The last column is what branching has "
        "to gain, as a share of the way from that bound to what attacks find: where it is nearly "
        "all, only bounds that are nearly exact prove the image.\n\n"
    ) + table(
        ["radius", "image", "margin", "attacked", "CROWN", "optimised slopes", "to gain"],
        [
            [radius, one["row"], *(f"{one[key]:.2f}" for key in HARDNESS), f"{to_gain(one):.0%}"]
            for radius, result in results.items()
            for one in result["hard"]
        ],
    )
    claim = "Test images of an ordinary network: what a minute each leaves undecided"
    write("ordinary_network", claim, {"accuracy": accuracy, "radii": results}, text)


if __name__ == "__main__":
    main()
