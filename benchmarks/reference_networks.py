"""Claim: the reference networks can be trained on BreastMNIST, and how far their proofs go.

ResNet-18 of reduced width goes through the whole loop at 1/255; ResNet-50 and the vision
transformer are trained in the ordinary way, on the training images alone: their errors there are
counted, then what the trusted pass proves of them at 1/255, and the largest radius at which it
proves any image. Each has a run folder of its own, and a benchmark that was stopped goes on in it.

    python benchmarks/reference_networks.py [NAME[:EPOCHS] ...]

Hours on a processor for ResNet-50 of full width; ``resnet50:1`` only shows that it runs.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from fractions import Fraction
from typing import Any

import numpy as np
from _results import RUNS, table, write

import asi_verify as asi
from asi_verify.bugs import evaluate
from asi_verify.checker import TrustedPass
from asi_verify.core.evidence import Evidence, Intermediate, IntervalEvidence, LinearEvidence
from asi_verify.core.images import encode
from asi_verify.core.linf import LInf
from asi_verify.core.properties import property_for
from asi_verify.core.radius import Radius
from asi_verify.core.semantics import Semantics
from asi_verify.core.verdict import Proved
from asi_verify.data import Dataset, Samples, load_dataset
from asi_verify.export import Artifact
from asi_verify.lowering import read_network
from asi_verify.prove import Crown, CrownIbp, Falsify, Intervals, Stage, prove
from asi_verify.repair import (
    CertifiedTraining,
    Checkpoints,
    OrdinaryTraining,
    untrained_network,
)
from asi_verify.store import FolderFiles
from asi_verify.zoo import ARCHITECTURES

DATASET, RADIUS, SEED = "breastmnist", "1/255", 0
OPTIONS = {"resnet18": {"width": 8}, "cnn7": {"width": 8, "hidden": 64}}
CERTIFIED = {"resnet18": 300, "cnn7": 300}
ORDINARY = {"resnet50": 25, "vit": 150}
RAMP = 150
BOUNDS: dict[str, tuple[Stage, Evidence]] = {
    "intervals": (Intervals(), IntervalEvidence()),
    "CROWN-IBP": (CrownIbp(), LinearEvidence(Intermediate.INTERVAL)),
}
BACKWARD = {"vit"}
"""Of these the image with the largest margin is asked about by CROWN too, a minute each time; of
ResNet-50 it would be hours."""
HALVINGS = 40
SURE = 16
"""Images, those of the largest margins, among which one is looked for at smaller radii."""


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
            ramp_epochs=RAMP,
            batch_size=32,
            clean_weight=0.5,
            extra_copies=2,
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
    files = FolderFiles(RUNS / f"reference-{name}-{epochs}")
    checkpoints = Checkpoints(files, "ordinary.safetensors")
    training = OrdinaryTraining(epochs=epochs, batch_norm=normed)
    network = untrained_network(name, alone, SEED, OPTIONS.get(name))
    artifact = Artifact.from_network(training.train(network, alone, SEED, checkpoints))
    files.write("ordinary.onnx", artifact.data)
    errors = int(evaluate(artifact, train).wrong.sum())
    return {
        "accepted": None,
        "epochs": epochs,
        "errors": errors,
        "model": artifact.digest,
        "parameters": artifact.network.parameters,
        "parity": artifact.parity.differences,
        "reach": reach(artifact, train, backward=name in BACKWARD),
        "status": f"{errors} training errors",
    }


def reach(artifact: Artifact, samples: Samples, *, backward: bool) -> dict[str, Any]:
    """How many images are proved at 1/255, the largest radius at which any is, and what bounds say.

    Halvings are of 1/255; None where nothing is proved after the last one.
    """
    margins = clean_margins(artifact, samples)
    sure = samples.take(np.argsort(-margins, kind="stable")[:SURE])
    stages = tuple(stage for stage, _ in BOUNDS.values())
    exact = Semantics.REAL
    return {
        "at_centre": count(artifact, sure, LInf.of(0), stages),
        "at_centre_exact": count(artifact, sure, LInf.of(0), stages, exact),
        "bounds": {name: median_bound(artifact, sure, kind) for name, (_, kind) in BOUNDS.items()},
        "halvings": first_proved(artifact, sure, stages),
        "halvings_backward": last_halving(artifact, sure.take(np.array([0]))) if backward else None,
        "halvings_exact": first_proved(artifact, sure, stages, exact),
        "margin": float(np.median(margins)),
        "proved": count(artifact, samples, LInf.of(RADIUS), stages),
    }


def first_proved(
    artifact: Artifact,
    samples: Samples,
    stages: tuple[Stage, ...],
    semantics: Semantics = Semantics.FLOAT32,
) -> int | None:
    """How often the radius is halved until any sample is proved; None if none is at radius 0."""
    if not count(artifact, samples, LInf.of(0), stages, semantics):
        return None
    for halvings in range(HALVINGS + 1):
        if count(artifact, samples, halved(halvings), stages, semantics):
            return halvings
    return None


def last_halving(artifact: Artifact, sample: Samples) -> int | None:
    """The fewest halvings at which CROWN proves a sample; bisection, as if more always did too."""
    few, many = 0, HALVINGS
    while few < many:
        middle = (few + many) // 2
        if count(artifact, sample, halved(middle), (Crown(proposes=False),)):
            many = middle
        else:
            few = middle + 1
    return few if few < HALVINGS else None


def halved(times: int) -> LInf:
    """A region of 1/255, halved so often."""
    return LInf(Radius(Fraction(1, 255 * 2**times)))


def clean_margins(artifact: Artifact, samples: Samples) -> Any:
    """The smallest row of each sample's property, of ONNX Runtime's logits."""
    logits = artifact.session.run(encode(samples.images)).astype(np.float64)
    own = np.take_along_axis(logits, samples.labels[:, None], axis=1)[:, 0]
    np.put_along_axis(logits, samples.labels[:, None], -np.inf, axis=1)
    return own - logits.max(axis=1)


def count(
    artifact: Artifact,
    samples: Samples,
    family: LInf,
    stages: tuple[Stage, ...],
    semantics: Semantics = Semantics.FLOAT32,
) -> int:
    """How many samples are proved."""
    wanted = [property_for(label, artifact.network.logits) for label in samples.labels]
    digests = samples.image_digests
    proof = prove(artifact, family, samples.images, digests, wanted, stages, semantics=semantics)
    return sum(isinstance(verdict, Proved) for verdict in proof.verdicts)


def median_bound(artifact: Artifact, samples: Samples, evidence: Evidence) -> float:
    """The median lower bound of the property at 1/255 that one kind of evidence gives."""
    trusted = TrustedPass(artifact.network, Semantics.FLOAT32)
    box = LInf.of(RADIUS).boxes(samples.images)
    logits = artifact.network.logits
    return statistics.median(
        float(trusted.margins(box[[row]], property_for(label, logits), evidence)[0])
        for row, label in enumerate(samples.labels)
    )


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


def radius_text(halvings: int | None) -> str:
    """A radius as it is read best."""
    return "none" if halvings is None else f"{2.0**-halvings:.2g}/255"


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
    reaches = [
        [
            f["name"],
            f["reach"]["proved"],
            *(radius_text(f["reach"][key]) for key in ("halvings", "halvings_exact")),
            radius_text(f["reach"]["halvings_backward"]) if f["name"] in BACKWARD else "not asked",
            *(f["reach"][key] for key in ("at_centre", "at_centre_exact")),
            f"{f['reach']['margin']:.1f}",
            "; ".join(f"{name} {bound:.2g}" for name, bound in f["reach"]["bounds"].items()),
        ]
        for f in found
        if "reach" in f
    ]
    reach_header = ["network", f"proved at {RADIUS}", "largest radius, any image"]
    reach_header += ["the same in exact arithmetic", "by CROWN, one image"]
    reach_header += [f"of {SURE} proved at radius 0"]
    reach_header += ["the same in exact arithmetic", "margin", f"bound of it at {RADIUS}"]
    text = (
        f"{DATASET}, 546 training images, seed {SEED}. ResNet-18 and CNN7: the whole loop at "
        f"{RADIUS} with one round of certified training, certificates as the checker accepts them. "
        "ResNet-50 and the vision transformer: ordinary training alone, errors on the training "
        "images in ONNX Runtime. Times are of the process that ended a run; what one that was "
        f"stopped had trained before is not in them.\n\n{table(header, rows)}\n\n"
        "## What is proved of those that were trained in the ordinary way\n\n"
        f"Radii are {RADIUS} halved up to {HALVINGS} times, asked of the {SURE} images with the "
        "largest margins, by intervals and CROWN-IBP; by CROWN of the first of these alone. "
        "Margins and their bounds are medians, of all images and of the "
        f"{SURE}. Where nothing is proved at radius 0 even in exact arithmetic, the obstacle is "
        "how intervals widen from layer to layer, from regions that are one float32 wide until a "
        "softmax or a sum may be anything. Where exact arithmetic reaches further than float32, "
        "it is the rounding that a proof has to cover.\n\n" + table(reach_header, reaches)
    )
    write("reference_networks", "Reference networks on BreastMNIST", {"runs": found}, text)


if __name__ == "__main__":
    main()
