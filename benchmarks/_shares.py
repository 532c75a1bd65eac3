"""Certified shares of a corrected model: each split at each radius, each kept in the run folder.

A process of its own for ``benchmarks/medmnist_table.py``, so that its memory can be measured:

    python benchmarks/_shares.py DATASET FOLDER DEVICE RADIUS ...
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _runs import keep

import asi_verify as asi
from asi_verify.prove import CrownIbp, Intervals, Stage

__all__ = ["shares", "stages"]


def stages(device: str) -> tuple[Stage, ...]:
    """Bounds alone, and cheap ones: some of the sets have ten thousands of images.

    CROWN-IBP is a backward linear pass over interval bounds; CROWN, with such passes for every
    layer, costs some twenty times as much.
    """
    return (Intervals(), CrownIbp(device))


def shares(dataset: Any, folder: Path, device: str, radii: Sequence[str]) -> None:
    """How many samples of each split are certified for their label at each radius.

    Each share is kept as it is found, so that a process that was killed goes on. A share is of one
    model and one list of stages, and found again for others.
    """
    model = asi.load(folder)
    data = asi.load_dataset(dataset)
    asked = {"model": model.digest, "stages": [stage.settings() for stage in stages(device)]}
    for radius, split in itertools.product(radii, data.splits):
        place = folder / "shares" / f"{radius.replace('/', '_')}-{split}.json"
        kept = json.loads(place.read_text()) if place.is_file() else {}
        if any(kept.get(key) != value for key, value in asked.items()):
            keep(place, {**asked, **_share(model.artifact, data, radius, split, device)})


def _share(model: bytes, data: Any, radius: str, split: str, device: str) -> dict[str, Any]:
    start, before = time.perf_counter(), time.process_time()
    found = asi.certify(
        model,
        data,
        radius,
        split=split,
        target="label",
        # An empty contract: images are read as they are, however often the model is right on them.
        preprocess=asi.Preprocess(),
        stages=stages(device),
    ).summary
    share = {
        "accepted": found["accepted"],
        "processor_seconds": round(time.process_time() - before, 1),
        "radius": radius,
        "samples": found["samples"],
        "seconds": round(time.perf_counter() - start, 1),
        "split": split,
    }
    sys.stderr.write(f"{data.name}: {share}\n")
    return share


if __name__ == "__main__":
    shares(sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4:])
