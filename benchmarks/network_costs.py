"""Claim: what each reference network costs at its default width on images of 28 pixels.

Each network is measured in a process of its own, on one thread: processor seconds, not seconds of
the clock, so that what else the machine does matters little; and the largest resident memory.

    python benchmarks/network_costs.py [NAME ...]
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from _results import table, write

from asi_verify.bounds import interval_margins
from asi_verify.checker import TrustedPass
from asi_verify.core.box import Box
from asi_verify.core.evidence import IntervalEvidence
from asi_verify.core.properties import SingleLabel
from asi_verify.core.semantics import Semantics
from asi_verify.export import Artifact, NetworkModule, network_from_torch
from asi_verify.repair.batch_norm import BatchNormModule
from asi_verify.zoo import ARCHITECTURES, build

BATCH = 16


def seconds(work: Callable[[], object]) -> float:
    """Processor seconds of one run, after one that warms up."""
    work()
    start = time.process_time()
    work()
    return time.process_time() - start


def peak() -> int:
    """The largest resident memory so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def measure(name: str) -> dict[str, Any]:
    """One network: exported, trained for a step of each kind, bounded."""
    torch.set_num_threads(1)
    shape = (1, 28, 28, 28) if name == "cnn3d" else (1, 28, 28)
    module = build(name, shape, 2, mean=[0.4], spread=[0.2])
    parameters = sum(p.numel() for p in module.parameters())
    start = time.process_time()
    network = network_from_torch(module, shape)
    artifact = Artifact.from_network(network)
    exported, memory = time.process_time() - start, peak()
    del module
    normed = BatchNormModule(network) if ARCHITECTURES[name].batch_norm else None
    training = NetworkModule(network) if normed is None else normed
    forward = training if normed is None else normed.measure
    images, rows = torch.rand(BATCH, *shape), torch.tensor([[[1.0, -1.0]]])

    def clean() -> None:
        training.zero_grad()
        forward(images).sum().backward()

    def certified() -> None:
        training.zero_grad()
        outputs = forward(images).sum()
        bounds = interval_margins(training, images - 1 / 255, images + 1 / 255, rows).sum()
        (outputs + bounds).backward()

    ordinary = seconds(clean)
    memory_ordinary = peak()
    interval = seconds(certified)
    memory_certified = peak()
    trusted = TrustedPass(network, Semantics.FLOAT32)
    box = Box(*(np.clip(images.numpy() + d, 0, 1).astype(np.float32) for d in (-1 / 255, 1 / 255)))
    proof = seconds(lambda: trusted.margins(box, SingleLabel(0, 2), IntervalEvidence()))
    return {
        "bytes": len(artifact.data),
        "certified_step_s": round(interval / BATCH, 4),
        "export_s": round(exported, 1),
        "interval_proof_s": round(proof / BATCH, 4),
        "memory_certified_mib": memory_certified,
        "memory_export_mib": memory,
        "memory_ordinary_mib": memory_ordinary,
        "name": name,
        "ordinary_step_s": round(ordinary / BATCH, 4),
        "parameters": parameters,
        "shape": shape,
    }


def main() -> None:
    """Measure each network and write the page."""
    if sys.argv[1:2] == ["--one"]:
        sys.stdout.write(json.dumps(measure(sys.argv[2])))
        return
    found = []
    for name in sys.argv[1:] or ARCHITECTURES:
        command = [sys.executable, __file__, "--one", name]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
    rows = [
        [
            f["name"],
            f"{f['parameters']:,}",
            f"{f['bytes'] / 2**20:.1f} MiB",
            f"{f['export_s']:.0f} s",
            f"{1000 * f['ordinary_step_s']:.0f} ms",
            f"{1000 * f['certified_step_s']:.0f} ms",
            f"{1000 * f['interval_proof_s']:.0f} ms",
            f"{f['memory_ordinary_mib']} MiB",
            f"{f['memory_certified_mib']} MiB",
        ]
        for f in found
    ]
    header = ["network", "parameters", "artifact", "export and parity gate"]
    header += ["ordinary step", "certified step", "interval proof"]
    header += ["memory, ordinary", "memory, certified"]
    text = (
        "Default options, one channel, two classes, 28 pixels along each axis (volumes for "
        f"`cnn3d`). Steps and proofs are for one image, in batches of {BATCH}: processor time on "
        "one thread, forward and backward; the certified step includes the ordinary one. A proof "
        "by intervals is the trusted pass in float32 semantics. Memory is the largest resident "
        f"set of the process until then, libraries included.\n\n{table(header, rows)}"
    )
    write("network_costs", "What the reference networks cost", {"networks": found}, text)


if __name__ == "__main__":
    main()
