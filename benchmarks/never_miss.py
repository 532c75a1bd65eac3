"""Claim: no training image of a named class can be missed, at four times the radius of the rest.

Each run is the command ``asi-verify run`` with ``--never-miss`` in a process of its own; the same
seed is run without it, for the price. Both sets of certificates are checked again by ``python -m
asi_verify.checker``, and what is found on the test images is counted in ONNX Runtime apart from the
library. The test split is measured and selects nothing. Epochs say what a run took; an epoch with
larger regions takes as long as one without.

    python benchmarks/never_miss.py [SEED ...]
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from _results import RUNS, table, write
from zero_repeatable_errors import onnx_answers

import asi_verify as asi
from asi_verify.data import find_file
from asi_verify.prove import Falsify, Intervals

DATASET = "breastmnist"
NAMED, CLASS = "malignant", 0
RADIUS, LARGER = "1/255", "4/255"
SEEDS = ["0"]
NEVER_MISS = ["--never-miss", NAMED, "--never-miss-radius", LARGER]


def run(seed: str, more: list[str], out: Path) -> dict[str, Any]:
    """One run and its checks; kept, so that a stopped benchmark goes on."""
    kept = out / "benchmark.json"
    if kept.is_file():
        found: dict[str, Any] = json.loads(kept.read_text())
        return found
    data = find_file(DATASET)
    assert data is not None, f"{DATASET}: its file is needed"
    command = ["run", DATASET, "--radius", RADIUS, "--seed", seed, "--out", str(out), "--json"]
    if not (out / "report.json").is_file():
        _json(["-m", "asi_verify.cli", *command, *more])
    report = json.loads((out / "report.json").read_text())
    found = {
        "accepted": checked(out / "certificates", data),
        "epochs": sum(r["epochs"] for r in report["rounds"]),
        "larger": checked(out / "never_miss", data) if more else as_it_is(out),
        "model": report["model"]["sha256"],
        "ordinary": shares(out / "ordinary.onnx", data),
        "shares": shares(out / "certificates" / "artifact.onnx", data),
    }
    kept.write_text(json.dumps(found, indent=1, sort_keys=True))
    return found


def _json(arguments: list[str]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, *arguments], check=False, stdout=subprocess.PIPE, text=True
    )
    assert done.returncode in (0, 1), done
    made: dict[str, Any] = json.loads(done.stdout)
    return made


def checked(folder: Path, data: Path) -> dict[str, Any]:
    """What the checker says of a folder of certificates."""
    found = _json(["-m", "asi_verify.checker", str(folder), "--data", str(data)])
    return {name: found[name] for name in ("accepted", "asked", "status")}


def as_it_is(out: Path) -> dict[str, Any]:
    """What intervals prove and an attack finds of a model that was not made for larger regions."""
    found = asi.certify(
        (out / "certificates" / "artifact.onnx").read_bytes(),
        DATASET,
        RADIUS,
        never_miss=NAMED,
        never_miss_radius=LARGER,
        stages=(Falsify(), Intervals()),
    )
    samples = found.folder.read_json("rounds/00/examination.json")["never_miss"]["samples"]
    return {
        "accepted": found.summary["never_miss"]["accepted"],
        "asked": found.summary["never_miss"]["samples"],
        "refuted": sum(sample["verdict"] == "refuted" for sample in samples),
        "status": str(found.never_miss),
    }


def shares(model: Path, data: Path) -> dict[str, float]:
    """Of the test images: named ones that are found, others that are cleared, and all."""
    answers, labels = onnx_answers(model, data, "test")
    right, named = answers == labels, labels == CLASS
    return {
        "accuracy": float(right.mean()),
        "sensitivity": float(right[named].mean()),
        "specificity": float((answers[~named] != CLASS).mean()),
    }


def line(name: str, seed: str, found: dict[str, Any] | None, rates: dict[str, float]) -> list[Any]:
    """A row of the table."""
    rest: list[Any] = ["", "", ""]
    if found is not None:
        proved = (f"{found[key]['accepted']} of {found[key]['asked']}" for key in _FOLDERS)
        rest = [*proved, found["epochs"]]
    percent = (f"{rates[key]:.1%}" for key in ("sensitivity", "specificity", "accuracy"))
    return [seed, name, *rest[:2], *percent, rest[2]]


_FOLDERS = ("accepted", "larger")


def main() -> None:
    """Run what is wanted and write the page."""
    seeds = sys.argv[1:] or SEEDS
    rows: list[list[Any]] = []
    runs: list[dict[str, Any]] = []
    attacked = []
    for seed in seeds:
        plain = run(seed, [], RUNS / f"never-miss-{seed}-without")
        named = run(seed, NEVER_MISS, RUNS / f"never-miss-{seed}")
        runs.append({"never_miss": named, "seed": int(seed), "without": plain})
        attacked.append(f"seed {seed}: {plain['larger']['refuted']} of {plain['larger']['asked']}")
        rows += [
            line("ordinary training", seed, None, named["ordinary"]),
            line("corrected", seed, plain, plain["shares"]),
            line("corrected, never miss", seed, named, named["shares"]),
        ]
    header = [
        "seed",
        "model",
        f"certified at {RADIUS}",
        f"{NAMED}, certified at {LARGER}",
        f"{NAMED} found, test",
        "others cleared, test",
        "accuracy, test",
        "epochs",
    ]
    text = (
        f"`asi-verify run {DATASET} --radius {RADIUS} {' '.join(NEVER_MISS)}`, and the same "
        "without the last two options, each in a process of its own. Certified are training images "
        "whose certificates `python -m asi_verify.checker` accepts; of the model without the "
        f"options, at {LARGER}, what `certify` proves by intervals, and other stages might prove "
        f"more. On that model a short attack finds a missed input within {LARGER} of {NAMED} "
        f"training images ({'; '.join(attacked)}); on the one with the options there is none to be "
        "found. The shares of the test images are counted in ONNX Runtime apart from the library; "
        f"nothing is proved of them, and they selected nothing.\n\n{table(header, rows)}"
    )
    title = f"No {NAMED} training image can be missed, at four times the radius"
    write("never_miss", title, {"runs": runs}, text)


if __name__ == "__main__":
    main()
