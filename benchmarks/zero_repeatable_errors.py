"""Claim: one command proves every training image of three MedMNIST sets at 1/255.

Each run is the command ``asi-verify run`` in a process of its own, timed whole, and checked again
by ``python -m asi_verify.checker`` and by a count of errors in ONNX Runtime that shares no code
with the library. One seed is run twice, for the digests. The test split is measured and selects
nothing.

    python benchmarks/zero_repeatable_errors.py [SET:SEED ...]
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from _results import RUNS, table, write
from _runs import Wanted, made

from asi_verify.data import find_file

SETS = ["breastmnist", "pneumoniamnist", "retinamnist"]
RUNS_WANTED = [f"{dataset}:{seed}" for seed in range(3) for dataset in SETS]
AGAIN = "breastmnist:0"


def run(wanted: Wanted, place: Path | None = None) -> dict[str, Any]:
    """One run and its checks; kept, so that a stopped benchmark goes on."""
    out = wanted.folder if place is None else place
    kept = out / "benchmark.json"
    if kept.is_file():
        found: dict[str, Any] = json.loads(kept.read_text())
        return found
    data = find_file(wanted.dataset)
    assert data is not None, f"{wanted.dataset}: its file is needed"
    cost = made(wanted, out)
    report = json.loads((out / "report.json").read_text())
    start = time.perf_counter()
    folder = str(out / "certificates")
    checked = _json([sys.executable, "-m", "asi_verify.checker", folder, "--data", str(data)])
    found = {
        "accepted": checked["accepted"],
        "certificates_digest": report["certificates"]["digest"],
        "checked_in_seconds": round(time.perf_counter() - start, 1),
        "dataset": wanted.dataset,
        "epochs": [r["epochs"] for r in report["rounds"]],
        "model": report["model"]["sha256"],
        "neighbour_accuracy": neighbour_accuracy(data),
        "ordinary_accuracy": report["before"]["accuracy"],
        "processor_seconds": None if cost is None else cost.processor_seconds,
        "radius": wanted.radius,
        "rejected": len(checked["rejected"]),
        "seconds": None if cost is None else cost.seconds,
        "seed": wanted.seed,
        "status": checked["status"],
        "training_errors_before": 0,
        **errors_in_onnxruntime(out, data),
    }
    ordinary = onnx_answers(out / "ordinary.onnx", data, "train")
    found["training_errors_before"] = int((ordinary[0] != ordinary[1]).sum())
    kept.write_text(json.dumps(found, indent=1, sort_keys=True))
    return found


def _json(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    assert done.returncode in (0, 1), done
    made: dict[str, Any] = json.loads(done.stdout)
    return made


def onnx_answers(model: Path, data: Path, split: str) -> tuple[Any, Any]:
    """What ONNX Runtime answers for each image of a flat MedMNIST split, and the labels."""
    with np.load(data) as file:
        images, labels = file[f"{split}_images"], file[f"{split}_labels"][:, 0]
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    planes = images[:, None] if images.ndim == 3 else np.moveaxis(images, -1, 1)
    inputs = (planes / 255).astype(np.float32)
    (logits,) = session.run(None, {session.get_inputs()[0].name: inputs})
    return logits.argmax(axis=1), labels


def errors_in_onnxruntime(out: Path, data: Path) -> dict[str, Any]:
    """Errors on train and accuracy on test, of the file as it is."""
    model = out / "certificates" / "artifact.onnx"
    answers, labels = onnx_answers(model, data, "train")
    test_answers, test_labels = onnx_answers(model, data, "test")
    return {
        "samples": len(labels),
        "test_accuracy": float((test_answers == test_labels).mean()),
        "training_errors": int((answers != labels).sum()),
    }


def neighbour_accuracy(data: Path) -> float:
    """Test accuracy of the label of the nearest training image (L-infinity): proved by look-up."""
    with np.load(data) as file:
        train, test = file["train_images"], file["test_images"]
        labels, wanted = file["train_labels"][:, 0], file["test_labels"][:, 0]
    flat = train.reshape(len(train), -1).astype(np.int16)
    nearest = [
        int(np.abs(flat - image.reshape(-1).astype(np.int16)).max(axis=1).argmin())
        for image in test
    ]
    return float((labels[nearest] == wanted).mean())


def main() -> None:
    """Run what is wanted and write the page."""
    wanted = sys.argv[1:] or RUNS_WANTED
    found = []
    for name in wanted:
        dataset, _, seed = name.partition(":")
        found.append(run(Wanted(dataset, int(seed))))
    same, again = "", None
    if AGAIN in wanted:
        dataset, _, seed = AGAIN.partition(":")
        again = run(Wanted(dataset, int(seed)), RUNS / f"{dataset}-{seed}-again")
        first = found[wanted.index(AGAIN)]
        repeats = all(first[key] == again[key] for key in ("model", "certificates_digest"))
        gave = "gave the same" if repeats else "did NOT give the same"
        same = f"\n\n{dataset}, seed {seed}, run twice, {gave} artifact and certificate digests."
    rows = [
        [
            f["dataset"],
            f["seed"],
            f["training_errors_before"],
            f["training_errors"],
            f"{f['accepted']} of {f['samples']}",
            f["status"],
            f"{f['ordinary_accuracy']['test']:.1%}",
            f"{f['test_accuracy']:.1%}",
            f"{f['neighbour_accuracy']:.1%}",
            *(
                "" if f[key] is None else f"{f[key]:.0f} s"
                for key in ("seconds", "processor_seconds", "checked_in_seconds")
            ),
        ]
        for f in sorted(found, key=lambda f: (f["dataset"], f["seed"]))
    ]
    header = [
        "data set",
        "seed",
        "errors before",
        "errors after",
        "certificates accepted",
        "status",
    ]
    header += ["test, ordinary", "test, corrected", "test, nearest neighbour", "run"]
    header += ["run, processor time", "check"]
    text = (
        "`asi-verify run SET --radius 1/255 --seed SEED`, each in a process of its own, timed "
        "whole. Errors are training images that ONNX Runtime gets wrong, counted apart from the "
        "library; "
        "certificates are those that `python -m asi_verify.checker` accepts from the files. The "
        "test split selected nothing. The nearest neighbour (L-infinity) is what a look-up table "
        f"achieves, which is proved without any training.\n\n{table(header, rows)}{same}"
    )
    figures = {"again": again, "runs": found}
    write(
        "zero_repeatable_errors", "Zero repeatable errors at 1/255 from one command", figures, text
    )


if __name__ == "__main__":
    main()
