"""Claim: every AdrenalMNIST3D training volume is proved at 1/255, and against changed voxels.

Voxels are 0 or 255 there. The command ``asi-verify run`` corrects a network for L-infinity regions
until every training volume has an accepted certificate; the corrected model is certified as it is
for k-pixel regions, in which at most k voxels take either value: k = 1 by the command
``asi-verify certify``, and beyond it the trusted pass is asked for the largest k at which nine of
ten, and any, are proved. Every single flip of a voxel of some certified volumes is answered by ONNX
Runtime besides. The test split is measured and selects nothing. What is done is kept, so that a
stopped benchmark goes on.

    python benchmarks/adrenal.py [LARGEST K]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from _results import RUNS, table, write

from asi_verify.core.evidence import Intermediate, LinearEvidence
from asi_verify.core.k_pixel import KPixel
from asi_verify.core.properties import property_for
from asi_verify.core.semantics import Semantics
from asi_verify.data import find_file, load_dataset
from asi_verify.export import Artifact

DATASET = "adrenalmnist3d"
RADIUS = "1/255"
SEED = 0
OPTIONS = ["--architecture", "pooled-mlp", "--batch-size", "32", "--learning-rate", "5e-4"]
VALUES = (0, 255)
SHARE = 0.9
"""Of the training volumes that the largest k is looked for at."""
CEILING = 56
"""Of k: volumes of different labels differ in 113 voxels."""
FLIPPED = 3
"""Volumes of which every single flip is tried."""

Volumes = npt.NDArray[np.uint8]


def processor_seconds() -> float:
    """Of this process and all that it waited for: what else the machine does matters little."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def kept(place: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What was found before, or is found now and written down, with the seconds it took."""
    if not place.is_file():
        start, clock = processor_seconds(), time.perf_counter()
        found = make()
        place.parent.mkdir(parents=True, exist_ok=True)
        found["processor_seconds"] = round(processor_seconds() - start, 1)
        found["seconds"] = round(time.perf_counter() - clock, 1)
        place.write_text(json.dumps(found, indent=1, sort_keys=True))
    read: dict[str, Any] = json.loads(place.read_text())
    return read


def said(*command: str) -> dict[str, Any]:
    """The JSON that a command of this library prints."""
    done = subprocess.run(
        [sys.executable, "-m", *command], check=False, stdout=subprocess.PIPE, text=True
    )
    assert done.returncode in (0, 1), done
    made: dict[str, Any] = json.loads(done.stdout)
    return made


def checked(certificates: Path, data: Path) -> dict[str, Any]:
    """What the checker says of certificates, from the files alone."""
    start = processor_seconds()
    found = said("asi_verify.checker", str(certificates), "--data", str(data))
    return {
        "accepted": found["accepted"],
        "checked_in_seconds": round(processor_seconds() - start, 1),
        "rejected": len(found["rejected"]),
        "status": found["status"],
    }


def split_of(data: Path, split: str) -> tuple[Volumes, npt.NDArray[np.int64]]:
    """Volumes ``(N, 28, 28, 28)`` and their labels, read without this library."""
    with np.load(data) as file:
        return file[f"{split}_images"], file[f"{split}_labels"][:, 0].astype(np.int64)


def answers(model: Path, volumes: Volumes) -> npt.NDArray[np.int64]:
    """What ONNX Runtime answers for each volume."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    found = []
    for start in range(0, len(volumes), 256):
        inputs = volumes[start : start + 256, None] / np.float32(255)
        found.append(session.run(None, {name: inputs})[0].argmax(axis=1))
    return np.concatenate(found)


def corrected(out: Path, data: Path) -> dict[str, Any]:
    """The corrected network: the run, the check of its files, and errors counted apart."""
    command = ["run", DATASET, "--radius", RADIUS, "--seed", str(SEED), *OPTIONS]
    made = said("asi_verify.cli", *command, "--out", str(out), "--json")
    report = json.loads((out / "report.json").read_text())
    train, labels = split_of(data, "train")
    test, wanted = split_of(data, "test")
    ordinary, final = out / "ordinary.onnx", out / "certificates" / "artifact.onnx"
    return {
        **checked(out / "certificates", data),
        "epochs": [r["epochs"] for r in report["rounds"]],
        "model": made["model"],
        "samples": len(labels),
        "ordinary_accuracy": made["before"]["accuracy"]["test"],
        "test_accuracy": float((answers(final, test) == wanted).mean()),
        "training_errors": int((answers(final, train) != labels).sum()),
        "training_errors_before": int((answers(ordinary, train) != labels).sum()),
    }


def one_voxel(model: Path, out: Path, data: Path) -> dict[str, Any]:
    """Certificates for one changed voxel, by the command."""
    command = ["certify", str(model), DATASET, "--radius", "1 voxel", "--no-images"]
    said("asi_verify.cli", *command, "--out", str(out), "--json")
    return checked(out / "certificates", data)


def proved(model: Path, voxels: int, rows: list[int]) -> dict[str, Any]:
    """Which volumes the trusted pass proves for so many voxels: CROWN, as the checker does it."""
    artifact = Artifact.from_bytes(model.read_bytes())
    trusted = artifact.trusted(Semantics.FLOAT32)
    samples = load_dataset(DATASET).split("train")
    family, found = KPixel(voxels, VALUES), []
    for label in np.unique(samples.labels):
        some = [row for row in rows if samples.labels[row] == label]
        images = samples.images[some]
        margins = trusted.margins(
            family.boxes(images),
            property_for(label, artifact.network.logits),
            LinearEvidence(Intermediate.BACKWARD),
            family.reach(images),
        )
        found += [row for row, margin in zip(some, margins, strict=True) if margin > 0]
    print(f"{family.size}: {len(found)} of {len(samples)}", file=sys.stderr)
    return {"rows": sorted(found)}


def counted(model: Path, place: Path, samples: int, most: int) -> list[dict[str, Any]]:
    """For k = 1, 2, ...: which are proved of those proved at the k before; until none is left."""
    left, counts = list(range(samples)), []
    while left and len(counts) < most:
        voxels = len(counts) + 1
        found = kept(place / f"counted-{voxels}.json", lambda k=voxels, r=left: proved(model, k, r))
        left = found["rows"]
        counts.append({"proved": len(left), "processor_seconds": found["processor_seconds"]})
    return counts


def flipped(model: Path, certified: Path, data: Path) -> dict[str, Any]:
    """Every single flip of some volumes certified for one voxel, as ONNX Runtime answers it."""
    volumes, labels = split_of(data, "train")
    samples = json.loads((certified / "rounds/00/examination.json").read_text())["samples"]
    rows = [row for row, sample in enumerate(samples) if sample["accepted"]]
    rows = rows[:: max(1, len(rows) // FLIPPED)][:FLIPPED]
    wrong = tried = 0
    for row in rows:
        every = np.arange(volumes[row].size)
        for places in np.array_split(every, 32):
            changed = np.repeat(volumes[row].reshape(1, -1), len(places), axis=0)
            changed[np.arange(len(places)), places] ^= 255
            found = answers(model, changed.reshape(-1, *volumes[row].shape))
            wrong += int((found != labels[row]).sum())
            tried += len(places)
    return {"tried": tried, "volumes": len(rows), "wrong": wrong}


def nearest_accuracy(data: Path) -> dict[str, Any]:
    """Test accuracy of the label of the nearest training volume, by voxels that differ."""
    train, labels = split_of(data, "train")
    test, wanted = split_of(data, "test")
    a, b = ((x.reshape(len(x), -1) > 0).astype(np.float32) for x in (train, test))
    differing = a.sum(axis=1)[:, None] + b.sum(axis=1) - 2 * (a @ b.T)
    majority = np.bincount(labels).argmax()
    return {
        "majority": float((wanted == majority).mean()),
        "nearest": float((labels[differing.argmin(axis=0)] == wanted).mean()),
    }


def measured(data: Path, most: int) -> dict[str, Any]:
    """All that is found, k up to ``most``."""
    place = RUNS / f"{DATASET}-{SEED}"
    run = kept(place / "run.json", lambda: corrected(place / "run", data))
    model = place / "run" / "certificates" / "artifact.onnx"
    return {
        "nearest": kept(place / "nearest.json", lambda: nearest_accuracy(data)),
        "one_voxel": kept(place / "voxel.json", lambda: one_voxel(model, place / "voxel", data)),
        "proved": counted(model, place, run["samples"], most),
        "flips": kept(place / "flips.json", lambda: flipped(model, place / "voxel", data)),
        "run": run,
    }


def largest(counts: list[dict[str, Any]], wanted: float, most: int) -> str:
    """The largest k at which so many are proved, in words; they become fewer from k to k."""
    found = sum(count["proved"] >= wanted for count in counts)
    return f"{found}, the largest tried" if found == most else str(found)


def main() -> None:
    """Do what is not done, and write the page."""
    data = find_file(DATASET)
    assert data is not None, f"{DATASET}: its file is needed"
    most = int(sys.argv[1]) if sys.argv[1:] else CEILING
    found = measured(data, most)
    run, flips, nearest, counts = (found[k] for k in ("run", "flips", "nearest", "proved"))
    samples = run["samples"]
    header = ["errors before", "errors after", "status", "epochs"]
    header += ["test, ordinary", "test, corrected", "test, nearest volume", "test, larger class"]
    model = [
        run["training_errors_before"],
        run["training_errors"],
        run["status"],
        " + ".join(map(str, run["epochs"])),
        f"{run['ordinary_accuracy']:.1%}",
        f"{run['test_accuracy']:.1%}",
        f"{nearest['nearest']:.1%}",
        f"{nearest['majority']:.1%}",
    ]
    proofs = [
        [
            regions,
            f"{one['accepted']} of {samples}",
            one["rejected"],
            f"{one['processor_seconds']:.0f} s",
            f"{one['checked_in_seconds']:.0f} s",
            f"{one['seconds']:.0f} s",
        ]
        for regions, one in ((f"L-infinity {RADIUS}", run), ("one voxel", found["one_voxel"]))
    ]
    by_k = [
        [k, f"{c['proved']} ({c['proved'] / samples:.1%})", f"{c['processor_seconds']:.0f} s"]
        for k, c in enumerate(counts, 1)
    ]
    columns = ["regions", "certificates accepted", "rejected"]
    columns += ["processor, checks included", "check alone", "clock"]
    text = (
        f"`asi-verify run {DATASET} --radius {RADIUS} --seed {SEED} {' '.join(OPTIONS)}`, then "
        f'`asi-verify certify MODEL {DATASET} --radius "1 voxel"` of the model that this leaves. '
        "Voxels are 0 or 255; in a k-voxel region at most k of them take the other value. Errors "
        "are training volumes that ONNX Runtime gets wrong, counted apart from the library; "
        "certificates are those that `python -m asi_verify.checker` accepts from the files. The "
        "test split selected nothing. The clock ran while other work shared the machine; processor "
        f"seconds are of one thread.\n\n{table(header, [model])}\n\n{table(columns, proofs)}\n\n"
        f"Every single flip of a voxel of {flips['volumes']} volumes certified for one voxel, "
        f"answered by ONNX Runtime: {flips['wrong']} of {flips['tried']:,} are wrong.\n\n"
        "How many training volumes CROWN of the trusted pass proves at each k, of those that it "
        "proved at the one before. The largest k at which nine of ten are proved: "
        f"{largest(counts, SHARE * samples, most)}; at which any is: {largest(counts, 1, most)}. "
        "Volumes of different labels differ in 113 voxels at least, so that labels allow up to "
        f"{CEILING}.\n\n{table(['k', 'proved', 'processor'], by_k)}"
    )
    write("adrenal", "AdrenalMNIST3D: every training volume, and changed voxels", found, text)


if __name__ == "__main__":
    main()
