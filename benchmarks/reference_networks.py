"""Claim: the reference networks can be trained on BreastMNIST, and how far their proofs go.

ResNet-18 of reduced width goes through the whole loop at 1/255; ResNet-50 and the vision
transformer are trained in the ordinary way, on the training images alone, and their errors there
are counted. Each has a run folder of its own, and a benchmark that was stopped goes on in it.

    python benchmarks/reference_networks.py [NAME[:EPOCHS] ...]

Hours on a processor for ResNet-50 of full width; ``resnet50:1`` only shows that it runs.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from _results import RUNS, table, write

import asi_verify as asi
from asi_verify.bugs import evaluate
from asi_verify.data import Dataset, load_dataset
from asi_verify.export import Artifact
from asi_verify.lowering import read_network
from asi_verify.prove import CrownIbp, Falsify, Intervals
from asi_verify.repair import (
    CertifiedTraining,
    Checkpoints,
    OrdinaryTraining,
    untrained_network,
)
from asi_verify.store import RunFolder
from asi_verify.zoo import ARCHITECTURES

DATASET, RADIUS, SEED = "breastmnist", "1/255", 0
OPTIONS = {"resnet18": {"width": 4}, "cnn7": {"width": 8, "hidden": 64}}
CERTIFIED = {"resnet18": 600, "cnn7": 300}
ORDINARY = {"resnet50": 60, "vit": 150}
RAMP = 90


def certified(name: str, epochs: int) -> dict[str, Any]:
    """The whole loop: ordinary training, certified training, proofs, the checker."""
    normed = ARCHITECTURES[name].batch_norm
    result = asi.run(
        DATASET,
        RADIUS,
        seed=SEED,
        architecture=name,
        options=OPTIONS[name],
        ordinary=OrdinaryTraining(epochs=5, batch_norm=normed),
        corrector=CertifiedTraining(
            epochs=epochs,
            ramp_steps=RAMP,
            ramp_epochs=10,
            extra_copies=1,
            batch_norm=normed,
            fresh_weights=normed,
        ),
        rounds=1,
        # What is left after so many layers is left to training, not to a search of hours.
        stages=(Falsify(), Intervals(), CrownIbp()),
        out=RUNS / f"reference-{name}-{epochs}",
    )
    summary = result.summary
    rounds = result.folder.read_json("rounds/01/round.json")
    return {
        "accepted": summary["accepted"],
        "epochs": rounds["epochs"],
        "model": result.digest,
        "parameters": read_network(result.artifact).parameters,
        "status": str(result.status),
        "summary": summary,
    }


def ordinary(name: str, epochs: int) -> dict[str, Any]:
    """Ordinary training on the training split alone, the last epoch kept; errors counted."""
    data = load_dataset(DATASET)
    train = data.split("train")
    alone = Dataset(data.name, data.task, data.classes, {"train": train})
    normed = ARCHITECTURES[name].batch_norm
    folder = RunFolder.at(RUNS / f"reference-{name}-{epochs}")
    with folder.locked():
        checkpoints = Checkpoints(folder.files, "ordinary.safetensors")
        training = OrdinaryTraining(epochs=epochs, batch_norm=normed)
        network = untrained_network(name, OPTIONS.get(name), alone, SEED)
        artifact = Artifact.from_network(training.train(network, alone, SEED, checkpoints))
        folder.files.write("ordinary.onnx", artifact.data)
    return {
        "accepted": None,
        "epochs": epochs,
        "model": artifact.digest,
        "parameters": artifact.network.parameters,
        "parity": artifact.parity.differences,
        "status": f"{int(evaluate(artifact, train).wrong.sum())} training errors",
    }


def run(name: str, epochs: int) -> dict[str, Any]:
    """One network; kept, so that a stopped benchmark goes on."""
    kept = RUNS / f"reference-{name}-{epochs}" / "benchmark.json"
    if kept.is_file():
        found: dict[str, Any] = json.loads(kept.read_text())
        return found
    start = time.perf_counter()
    made = certified(name, epochs) if name in CERTIFIED else ordinary(name, epochs)
    seconds = round(time.perf_counter() - start, 1)
    found = {"name": name, "options": OPTIONS.get(name, {}), "seconds": seconds, **made}
    kept.write_text(json.dumps(found, indent=1, sort_keys=True))
    return found


def main() -> None:
    """Run what is wanted and write the page."""
    plans = CERTIFIED | ORDINARY
    found = []
    for wanted in sys.argv[1:] or plans:
        name, _, epochs = wanted.partition(":")
        found.append(run(name, int(epochs) if epochs else plans[name]))
    rows = [
        [
            f["name"],
            ", ".join(f"{k} {v}" for k, v in f["options"].items()) or "defaults",
            f["parameters"],
            f["epochs"],
            "not asked for" if f["accepted"] is None else f["accepted"],
            f["status"],
            f"{f['seconds']:.0f} s",
        ]
        for f in found
    ]
    header = ["network", "options", "numbers", "epochs", "certificates", "status", "run"]
    text = (
        f"{DATASET}, 546 training images, seed {SEED}. ResNet-18 and CNN7: the whole loop at "
        f"{RADIUS} with one round of certified training, certificates as the checker accepts them. "
        "ResNet-50 and the vision transformer: ordinary training alone, errors on the training "
        f"images in ONNX Runtime.\n\n{table(header, rows)}"
    )
    write("reference_networks", "Reference networks on BreastMNIST", {"runs": found}, text)


if __name__ == "__main__":
    main()
