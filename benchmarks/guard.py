"""Claim: a guard answers in milliseconds, is right more often, and is seldom fooled.

Needs runs that ``benchmarks/zero_repeatable_errors.py`` leaves; what is not at hand is left out,
and the page says so. For each: the guard of the run (radius 1/255, monitors calibrated on ``val``),
and those at the radii that certify 85 % and 95 % of ``val``; times against the plain artifact, in
the same run with the same thread count; and how often each layer lets pass what does not belong:
images of other data sets, made grey, of the same shape; noise; test images rotated, inverted, or
with their pixels shuffled. Then the ordinary network of the same run as second model, for what the
guard refuses; and the drift monitor of each data set: how often it raises the alarm without a
change, and how soon after one. On all test images the guard is compared with the same bounds in
float64, from which no slack for the rounding of a runtime is taken off.

Last, guards by intervals and by CROWN-IBP of models that were trained on either:
``python benchmarks/guard.py bounds`` measures that alone, and leaves the other figures as they are.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from _results import RUNS, table, write

import asi_verify as asi
from asi_verify.checker import TrustedPass
from asi_verify.core.evidence import Intermediate, IntervalEvidence, LinearEvidence
from asi_verify.core.images import encode
from asi_verify.core.linf import LInf
from asi_verify.core.properties import property_for
from asi_verify.core.radius import Radius
from asi_verify.core.semantics import Semantics
from asi_verify.data import Dataset, load_dataset
from asi_verify.export import Artifact
from asi_verify.guard import BOUNDS, Drift, Guard, Reason, write_guard
from asi_verify.runtime.session import load

WANTED = ("breastmnist-0", "pneumoniamnist-0", "pneumoniamnist-1", "pneumoniamnist-2")
TRAINED = (
    "breastmnist-0-radius-4-crown-ibp",
    "pneumoniamnist-0-radius-2-crown-ibp",
    "retinamnist-0-radius-2-crown-ibp",
    "breastmnist-0",
    "pneumoniamnist-0",
)
"""Runs for the comparison of bounds."""
OTHERS = ("adrenalmnist3d", "breastmnist", "pneumoniamnist", "retinamnist")
COVERAGES = (0.85, 0.95)
_REPEATS = 25
FIGURES = Path(__file__).parent.parent / "docs" / "results" / "guard.json"
MOST = 500
"""Images of each foreign set."""

RATE = 0.01
"""Of false alarms, over a whole stream."""
ORDERS = 200
"""In which streams without a change are drawn."""
BEFORE = 50
"""Images of a stream before a change."""
AFTER = 25
"""Orders in which streams with a change are drawn."""

Images = npt.NDArray[np.uint8]


def foreign(name: str, shape: tuple[int, ...]) -> Images:
    """Test images of another data set, grey, in the shape of this one; the middle of volumes."""
    images = load_dataset(name).split("test").images[:MOST]
    if images.ndim == 5:
        images = images[:, :, images.shape[2] // 2]
    grey = np.rint(images.mean(axis=1, keepdims=True)).astype(np.uint8)
    assert grey.shape[1:] == shape, f"{name}: {grey.shape[1:]} for {shape}"
    return grey


def strange(name: str, data: Dataset) -> dict[str, Images]:
    """What does not belong, by name."""
    generator = np.random.default_rng(0)
    test, shape = data.split("test").images, data.image_shape
    flat = test.reshape(len(test), -1)
    found = {other: foreign(other, shape) for other in OTHERS if other != name}
    return found | {
        "noise": generator.integers(0, 256, test.shape, dtype=np.uint8),
        "pixels shuffled": generator.permuted(flat, axis=1).reshape(test.shape),
        "inverted": 255 - test,
        "rotated by 90 degrees": np.rot90(test, axes=(2, 3)).copy(),
        "rotated by 180 degrees": np.rot90(test, 2, axes=(2, 3)).copy(),
    }


def let_pass(guard: Guard, images: Images) -> dict[str, Any]:
    """For how many images each layer by itself has nothing against an answer."""
    answers = guard(images)
    layers = {
        reason.names[0]: sum(not answer.reason & reason for answer in answers) for reason in Reason
    }
    answered = sum(answer.answered for answer in answers)
    return {"answered": answered, "images": len(images), "layers": layers}


def beside_float64(guard: Guard, artifact: Artifact, images: Images) -> dict[str, Any]:
    """The guard's certified answers beside interval bounds in float64 without its slack."""
    answers = guard(images)
    labels = np.array([answer.label for answer in answers])
    certified = np.array([not answer.reason & Reason.NOT_CERTIFIED for answer in answers])
    trusted, network = TrustedPass(artifact.network, Semantics.REAL), artifact.network
    boxes = LInf(guard.radius).boxes(images)
    wide = np.empty(len(images))
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        wanted = property_for(label, network.logits)
        wide[rows] = trusted.margins(boxes[rows], wanted, IntervalEvidence())
    slack = wide - np.array([answer.margin for answer in answers])
    differs = certified != (wide > 0)
    return {
        "both": int((certified & (wide > 0)).sum()),
        "float64_alone": int((~certified & (wide > 0)).sum()),
        "guard_alone": int((certified & (wide <= 0)).sum()),
        "images": len(images),
        "largest_difference": float(np.abs(wide[differs]).max(initial=0.0)),
        "largest_slack": float(slack.max()),
        "smallest_slack": float(slack.min()),
    }


def times(guard: bytes, artifact: bytes, images: Images, threads: int) -> dict[str, Any]:
    """Medians of a guard and of the plain artifact, by what and of how many images."""
    taken = speed({"guard": guard, "plain": artifact}, images, threads)
    each = {f"{what}_{count}": t for what, some in taken.items() for count, t in some.items()}
    return {"threads": threads, **each}


def by_bounds(run: str) -> dict[str, Any]:
    """The guards of one run by each of the bounds, without monitors: what is certified alone."""
    result, data = asi.load(RUNS / run), load_dataset(run.partition("-")[0])
    artifact = Artifact.from_bytes(result.folder.files.require("certificates/artifact.onnx"))
    family = result.claims.family
    assert isinstance(family, LInf)
    samples, network = data.split("test"), artifact.network
    boxes = family.boxes(samples.images)
    trusted = TrustedPass(network, Semantics.FLOAT32)
    files = {bounds: write_guard(artifact.data, family.radius, bounds=bounds) for bounds in BOUNDS}
    found: dict[str, Any] = {
        "bounds": {},
        "radius": str(family.radius.value),
        "run": run,
        "samples": len(samples),
        "times": speed({"plain": artifact.data} | files, samples.images, 1),
        "trained_on": result.folder.configuration["corrector"].get("bounds", BOUNDS[0]),
    }
    for bounds, file in files.items():
        answers = Guard(file)(samples.images)
        answered = np.array([answer.answered for answer in answers])
        labels = np.array([answer.label for answer in answers])
        proved = np.zeros(len(samples), dtype=np.bool_)
        passes = [IntervalEvidence(), LinearEvidence(Intermediate.INTERVAL)]
        for label in np.unique(labels):
            rows = np.flatnonzero(labels == label)
            wanted = property_for(label, network.logits)
            for evidence in passes[: 1 + BOUNDS.index(bounds)]:
                proved[rows] |= trusted.margins(boxes[rows], wanted, evidence) > 0
        right = labels == samples.labels
        found["bounds"][bounds] = {
            "answered": int(answered.sum()),
            "answered_right": int((answered & right).sum()),
            "bytes": len(file),
            "guard_alone": int((answered & ~proved).sum()),
            "proved": int(proved.sum()),
            "right": int(right.sum()),
        }
    return found


def speed(files: dict[str, bytes], images: Images, threads: int) -> dict[str, dict[str, float]]:
    """Medians by file, in milliseconds, of one image and of a batch of 256."""
    sessions = {what: load(file, threads, usual=what != "plain") for what, file in files.items()}
    found: dict[str, dict[str, float]] = {what: {} for what in files}
    for count in (1, 256):
        inputs = {"image": encode(np.resize(images, (count, *images.shape[1:])))}
        taken: dict[str, list[float]] = {what: [] for what in sessions}
        # In turns, so that whatever else the machine does slows all.
        for _ in range(_REPEATS):
            for what, session in sessions.items():
                start = time.perf_counter()
                session.run(None, inputs)
                taken[what].append(time.perf_counter() - start)
        for what, seconds in taken.items():
            found[what][str(count)] = round(1000 * statistics.median(seconds), 3)
    return found


CHANGES = {
    "brighter by 5 grey levels": lambda images, _: images + 5.0,
    "brighter by 10": lambda images, _: images + 10.0,
    "brighter by 25": lambda images, _: images + 25.0,
    "darker by 10": lambda images, _: images - 10.0,
    "contrast less by 20 %": lambda images, _: 128 + 0.8 * (images - 128.0),
    "noise of 5 grey levels": lambda images, generator: (
        images + generator.normal(0, 5, images.shape)
    ),
    "brighter by 10, noise of 5": (
        lambda images, generator: images + generator.normal(10, 5, images.shape)
    ),
}
"""What may happen to a device, in grey levels."""


def alarms(bins: Drift, pool: Images, known: int) -> list[int | None]:
    """When streams without a change raise the alarm: the pool in many orders, its first known."""
    found = []
    for seed in range(ORDERS):
        order = np.random.default_rng(seed).permutation(len(pool))
        drift = bins.recalibrated(pool[order[:known]], seed=seed)
        drift.feed(pool[order[known:]])
        found.append(drift.alarm)
    return found


def delays(bins: Drift, pool: Images, known: int, kind: str) -> list[int | None]:
    """After how many changed images streams raise the alarm; below 1 if before the change."""
    found = []
    for seed in range(AFTER):
        generator = np.random.default_rng(seed)
        order = generator.permutation(len(pool))
        drift = bins.recalibrated(pool[order[:known]], seed=seed)
        drift.feed(pool[order[known : known + BEFORE]])
        changed = CHANGES[kind](pool[order[known + BEFORE :]], generator)
        drift.feed(np.clip(np.rint(changed), 0, 255).astype(np.uint8))
        found.append(None if drift.alarm is None else drift.alarm - BEFORE)
    return found


def drifted(name: str) -> dict[str, Any]:
    """The drift monitor of a data set, which needs no model."""
    data = load_dataset(name)
    train, val, test = (data.split(split).images for split in ("train", "val", "test"))
    pool = np.concatenate([val, test])
    bins = Drift.calibrated(train, val, false_alarms=RATE)
    of_test = []
    for seed in range(ORDERS):
        drift = bins.recalibrated(val, seed=seed)
        drift.feed(test[np.random.default_rng(seed).permutation(len(test))])
        of_test.append(drift.alarm)
    return {
        "changes": {kind: delays(bins, pool, len(val), kind) for kind in CHANGES},
        "calibrated_on": len(val),
        "data": name,
        "of_pool": alarms(bins, pool, len(val)),
        "of_test": of_test,
        "of_val": alarms(bins, val, len(val) // 2),
        "stream": len(test),
    }


def measured(run: str) -> dict[str, Any]:
    """The guards of one run."""
    name = run.partition("-")[0]
    place, data = RUNS / run, load_dataset(name)
    found: dict[str, Any] = {"guards": [], "run": run}
    for coverage in (None, *COVERAGES):
        second = place / "ordinary.onnx"
        guard = asi.build_guard(place, data, coverage=coverage, second=second)
        written = asi.load(place).folder.read_json("guard/guard.json")
        keys = ("artifact", "counted", "estimated", "radius", "settings")
        found["guards"].append({key: written[key] for key in keys})
        if coverage is None:
            others = strange(name, data)
            found["strange"] = {kind: let_pass(guard, those) for kind, those in others.items()}
            file, artifact = (
                asi.load(place).folder.files.require(part)
                for part in ("guard/guard.onnx", "certificates/artifact.onnx")
            )
            images = data.split("test").images
            found["float64"] = beside_float64(guard, Artifact.from_bytes(artifact), images)
            found["times"] = [times(file, artifact, images, threads) for threads in (1, 2)]
    return found


def part(count: int, of: int) -> str:
    """A share, or that there is none."""
    return f"{count / of:.1%}" if of else "-"


def named(run: str, one: dict[str, Any]) -> list[str]:
    """The run, the radius, and what it was chosen for."""
    coverage, grey = one["settings"]["coverage"], Radius.of(one["radius"]).grey_levels
    why = "the certificates' radius" if coverage is None else f"{coverage:.0%} of val certified"
    return [run, why, f"{float(grey):g}/255"]


def counted_row(run: str, one: dict[str, Any]) -> list[str]:
    """What is counted on the test split."""
    count = one["counted"]["test"]["counts"]
    samples, answered = count["samples"], count["answered"]
    return [
        *named(run, one),
        f"{answered} of {samples} ({part(answered, samples)})",
        part(count["right"], samples),
        part(count["answered_right"], answered),
        part(count["right"] - count["answered_right"], samples - answered),
    ]


def beside_row(run: str, found: dict[str, Any]) -> list[Any]:
    """What float64 certifies too, and what it certifies alone."""
    return [
        run,
        *(found[key] for key in ("images", "both", "float64_alone", "guard_alone")),
        f"{found['smallest_slack']:.2g} to {found['largest_slack']:.2g}",
        f"{found['largest_difference']:.2g}",
    ]


def bounds_row(found: dict[str, Any], bounds: str) -> list[Any]:
    """What a guard by these bounds certifies, and what that takes."""
    count, samples, taken = found["bounds"][bounds], found["samples"], found["times"]
    return [
        found["run"],
        f"{float(Radius.of(found['radius']).grey_levels):g}/255",
        bounds,
        f"{count['answered']} of {samples} ({part(count['answered'], samples)})",
        part(count["right"], samples),
        part(count["answered_right"], count["answered"]),
        count["proved"],
        count["guard_alone"],
        f"{taken[bounds]['1']:.2f} ms",
        f"{taken[bounds]['256'] / 256:.2f} ms",
        f"{taken[bounds]['256'] / taken['plain']['256']:.1f}",
    ]


def estimated_row(run: str, one: dict[str, Any]) -> list[str]:
    """What is estimated from it."""
    found = one["estimated"]["test"]
    gain, lower, upper = found["gain"]
    wrong, sets = found["error_when_answering"], found["conformal"]
    return [
        *named(run, one),
        f"{gain:+.1%} ({lower:+.1%} to {upper:+.1%})",
        f"{wrong[0]:.1%} to {wrong[1]:.1%}",
        "{:.1%} to {:.1%}".format(*found["coverage"]),
        "{:.1%} to {:.1%}".format(*sets["holds_the_label"]),
        f"{sets['mean_size']:.2f}",
    ]


def second_row(run: str, one: dict[str, Any]) -> list[str]:
    """What the second model adds, counted on the test split."""
    count = one["counted"]["test"]["second"]
    return [
        *named(run, one),
        f"{count['asked']} of {count['samples']}",
        part(count["first_right"], count["asked"]),
        part(count["second_right"], count["asked"]),
        part(count["both_answered"], count["samples"]),
        part(count["both_right"], count["both_answered"]),
        part(one["counted"]["test"]["counts"]["right"], count["samples"]),
    ]


def second_estimated_row(run: str, one: dict[str, Any]) -> list[str]:
    """What is estimated from that."""
    found = one["estimated"]["test"]["second"]
    keys = ("error_when_answering", "first_error", "second_error")
    return [*named(run, one), *("{:.1%} to {:.1%}".format(*found[key]) for key in keys)]


def quiet_row(found: dict[str, Any]) -> list[Any]:
    """Alarms without a change."""
    streams = ("of_pool", "of_val", "of_test")
    said = [sum(alarm is not None for alarm in found[stream]) for stream in streams]
    return [
        found["data"],
        *(f"{count} of {len(found[s])}" for count, s in zip(said, streams, strict=True)),
    ]


def change_row(found: dict[str, Any], kind: str) -> list[Any]:
    """Alarms after a change."""
    each = found["changes"][kind]
    early = sum(delay is not None and delay < 1 for delay in each)
    late = sorted(delay for delay in each if delay is not None and delay >= 1)
    middle = statistics.median(late) if late else "-"
    return [
        found["data"],
        kind,
        f"{len(late)} of {len(each)}",
        middle,
        max(late, default="-"),
        early,
    ]


def text_of(figures: dict[str, Any]) -> str:
    """The page."""
    found, drifts, missing = (figures[key] for key in ("runs", "drift", "left_out"))
    each = [(f["run"], one) for f in found for one in f["guards"]]
    strange_rows = [
        [
            f["run"],
            kind,
            n["images"],
            *(part(n["layers"][layer], n["images"]) for layer in LAYERS),
            part(n["answered"], n["images"]),
        ]
        for f in found
        for kind, n in sorted(f["strange"].items())
    ]
    time_rows = [
        [
            f["run"],
            t["threads"],
            f"{t['guard_1']:.2f} ms",
            f"{t['guard_256']:.0f} ms",
            f"{t['guard_1'] / t['plain_1']:.1f}",
            f"{t['guard_256'] / t['plain_256']:.1f}",
        ]
        for f in found
        for t in f["times"]
    ]
    left_out = "".join(
        f" {run} is left out: it was not at hand when this page was made." for run in missing
    )
    head = ["run", "radius chosen as", "radius"]
    counted = [*head, "answered", "right, of all", "right, of those answered", "of those refused"]
    estimated = [*head, "gain of accuracy, paired", "wrong when answering", "answers"]
    estimated += ["conformal sets hold the label", "labels in a set"]
    by = ["run", "radius", "bounds", "answered", "right, of all", "right, of those answered"]
    by += ["trusted pass", "guard alone", "one image", "of 256, each", "256, in forward passes"]
    beside = ["run", "images", "both certify", "float64 alone", "guard alone", "slack"]
    beside += ["largest margin where they differ"]
    second = [*head, "refused", "first right, of these", "second right, of these"]
    second += ["answered by either", "right, of these", "right, the first alone on all"]
    second_estimated = [*head, "wrong, both together", "wrong, the first on what is refused"]
    second_estimated += ["wrong, the second on it"]
    quiet = ["data", "validation and test, divided anew", "validation, halved anew"]
    quiet += ["test after validation"]
    passes = ["run", "images", "number", *LAYERS.values(), "answered"]
    timed = ["run", "threads", "one image", "256 images", "one, in forward passes"]
    timed += ["256, in forward passes"]
    return "\n\n".join(
        [
            "Guards of corrected models, named by data set and seed: `guard.onnx` in ONNX "
            "Runtime, with its usual optimisations. Three each: at the radius of the run's "
            "certificates, and at the largest ones tried that certify so much of the validation "
            "images. Monitors are calibrated on validation images, and no limit on test images; "
            "but 95 % was added when 85 % of the validation images had turned out to be fewer of "
            "the test images." + left_out,
            "## Counted on the test images",
            table(counted, [counted_row(*of) for of in each]),
            (
                "Of every answer it is proved that the model gives it everywhere in the region "
                "around the image; that is no proof that the answer is right."
            ),
            "## Beside float64",
            table(beside, [beside_row(f["run"], f["float64"]) for f in found]),
            (
                "All test images, at the radius of the certificates: certified by the guard, whose "
                "float32 takes a slack for every rounding off, and by the trusted pass with "
                "intervals in float64 for exact arithmetic, which takes off none. Where they "
                "differ, the margin is below the slack; the guard alone may certify nothing."
            ),
            "## By intervals and by CROWN-IBP",
            table(by, [bounds_row(of, bounds) for of in figures["bounds"] for bounds in BOUNDS]),
            (
                "All test images, at the radius of the run's certificates, without monitors. A run "
                "with `crown-ibp` in its name was trained on such bounds, the others on "
                "intervals. The trusted pass is that of the checker in float64, for float32 "
                "semantics, by the same bounds: how many of the guard's answers it proves; the "
                "guard alone may certify nothing. A guard by CROWN-IBP takes the better of both "
                "bounds. Times are medians of 25, in turns, with one thread."
            ),
            "## Estimated from them, at 95 % confidence",
            table(estimated, [estimated_row(*of) for of in each]),
            (
                "Exact intervals (Clopper and Pearson) but for the gain: percentiles of 10,000 "
                "resamples of the same images. They hold for images drawn like these. The sets are "
                "asked to hold the label with probability 90 %, over calibration images too; where "
                "the interval lies below that, test images are not drawn like validation images."
            ),
            "## With a second model, counted on the test images",
            table(second, [second_row(*of) for of in each]),
            (
                "What the guard refuses is answered by the ordinary network of the same data and "
                "architecture, trained without certificates (`ordinary.onnx` of the run). Nothing "
                "that it says is proved."
            ),
            "## With a second model, estimated from them",
            table(second_estimated, [second_estimated_row(*of) for of in each]),
            "Exact intervals at 95 % confidence, for images drawn like these.",
            "## Drift without a change",
            table(quiet, [quiet_row(drift) for drift in drifts]),
            (
                f"Streams in {ORDERS} orders that raise the alarm of a monitor which is to raise "
                f"it with probability {RATE:.0%} at most over the whole stream. Validation and "
                "test images together are divided anew for each, and so are validation images: "
                "these are drawn alike by construction. Test images after all validation images "
                "are not where the data set was not divided by chance; then alarms are no false "
                "ones."
            ),
            "## Drift after a change",
            table(
                ["data", "change", "alarms", "median delay, in images", "longest", "too early"],
                [change_row(drift, kind) for drift in drifts for kind in CHANGES],
            ),
            (
                f"Of {AFTER} streams, validation and test images divided anew: as many calibrate "
                f"as there are validation images, {BEFORE} come as they are, the others changed. "
                "Too early are alarms before the change."
            ),
            "## What does not belong",
            table(passes, strange_rows),
            (
                "At the radius of the certificates: the part of the images that each layer by "
                "itself has nothing against, and the part that is answered. 0 % would be best. "
                "What the monitors look at was chosen with such images in sight, its limits were "
                "not."
            ),
            "## Times",
            table(timed, time_rows),
            (
                "Medians of 25, in turns; a forward pass is one of the plain artifact on as many "
                "images, in the same process with as many threads."
            ),
        ]
    )


LAYERS = {
    "not-certified": "certified",
    "statistics": "usual statistics",
    "activations": "usual activations",
    "layout": "usual layout",
}


def compared() -> list[dict[str, Any]]:
    """Each run that is at hand, by each of the bounds."""
    return [by_bounds(run) for run in TRAINED if (RUNS / run / "result.json").is_file()]


def all_measured() -> dict[str, Any]:
    """All figures of the page."""
    missing = [run for run in WANTED if not (RUNS / run / "result.json").is_file()]
    found = [measured(run) for run in WANTED if run not in missing]
    names = sorted({run.partition("-")[0] for run in WANTED if run not in missing})
    drifts = [drifted(name) for name in names]
    return {"bounds": compared(), "drift": drifts, "left_out": missing, "runs": found}


def main() -> int:
    """Measure and write the page; returns 1 if a guard is too slow or certifies too much."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("only", nargs="?", choices=["bounds"], help="measure this section alone")
    if parser.parse_args().only is None:
        figures = all_measured()
    else:
        figures = json.loads(FIGURES.read_text())["figures"] | {"bounds": compared()}
    write("guard", "Guards: what they answer, and what they let pass", figures, text_of(figures))
    found = figures["runs"]
    return int(
        any(f["float64"]["guard_alone"] for f in found)
        or any(one["guard_alone"] for f in figures["bounds"] for one in f["bounds"].values())
        or any(
            t["guard_1"] >= 20 or t["guard_256"] > 6 * t["plain_256"]
            for f in found
            for t in f["times"]
        )
    )


if __name__ == "__main__":
    sys.exit(main())
