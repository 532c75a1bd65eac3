"""Claim: attacks by others break no certified region, and no other way to run a model changes it.

Needs the runs that ``benchmarks/zero_repeatable_errors.py`` leaves. The battery of
``asi_verify.validate`` on the certified artifacts of BreastMNIST and PneumoniaMNIST (seed 0), and
what the same models make of corrupted images of which nothing is proved.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from _results import RUNS, table, write

import asi_verify as asi
from asi_verify.stress import SEVERITIES, Battery

SETS = ("breastmnist", "pneumoniamnist")
MOST = 128


def main() -> int:
    """Try and write the page; returns 1 on an alarm."""
    found: dict[str, dict[str, Any]] = {}
    for name in SETS:
        start = time.process_time()
        validation = asi.validate(RUNS / f"{name}-0", battery=Battery(most=MOST))
        seconds = round(time.process_time() - start, 1)
        found[name] = {**validation.to_json(), "processor_seconds": seconds}
    inside, outside, severe = [], [], []
    for name, made in found.items():
        for trial in (*made["edge_cases"], *made["attacks"]):
            row = [name, trial["name"], trial["tried"], trial["kept"]]
            (inside if trial["inside"] else outside).append(row)
        for kind, accuracies in made["corruptions"]["test"].items():
            shown = [f"{accuracy:.1%}" for accuracy in accuracies]
            severe.append([name, kind, *shown, *[""] * (len(SEVERITIES) - len(shown))])
    alarms = sum(len(made["alarms"]) for made in found.values())
    ways = {name: made["determinism"] for name, made in found.items()}
    runs = "; ".join(
        f"{name}: {len(way['ways'])} other ways, {way['decisions_differ']} images decided "
        f"otherwise, {way['bits_differ']} with other bits, {way['outside']} with a logit outside "
        "of what is proved"
        for name, way in ways.items()
    )
    header = ["data set", "what was tried", "inputs", "answers kept"]
    text = (
        f"**{alarms} alarms.** Regions of 1/255 around every training image; attacks on the {MOST} "
        "images with the smallest margins, by the Adversarial Robustness Toolbox "
        f"{found[SETS[0]]['attack_library']}, each point replayed in ONNX Runtime.\n\n"
        f"## Inside the certified regions\n\n{table(header, inside)}\n\n"
        f"## Other ways to run the model\n\n{runs}.\n\n"
        "## Outside of them\n\nNothing is claimed here; training images.\n\n"
        f"{table(header, outside)}\n\n"
        "## Corrupted test images\n\nAccuracy at each severity; nothing is claimed here "
        "either.\n\n"
        + table(["data set", "corruption", *map(str, SEVERITIES)], severe)
        + "\n\nProcessor time: "
        + ", ".join(f"{name} {made['processor_seconds']:.0f} s" for name, made in found.items())
        + "."
    )
    write("stress", "The closed world under stress", found, text)
    return int(alarms > 0)


if __name__ == "__main__":
    sys.exit(main())
