"""Claim: all 4,708 images of PneumoniaMNIST are certified again in under 30 seconds.

Needs the run that ``benchmarks/zero_repeatable_errors.py`` leaves. In one process: the trusted pass
over all images, in batches and (on 64 of them) one by one, and the forward passes of ONNX Runtime
and torch over the same images. Then, on a few images, what checking CROWN-IBP and CROWN evidence
costs beside auto_LiRPA's proposal of it, and checking slopes beside optimising them, at a radius at
which they are needed. Medians of five.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from _results import RUNS, table, write
from _timing import median_seconds

from asi_verify.bounds import BackwardTwin, Method, proposer_for
from asi_verify.checker import TrustedPass
from asi_verify.checker.split_tree import tree_margins
from asi_verify.core.box import Box
from asi_verify.core.evidence import Intermediate, IntervalEvidence, LinearEvidence
from asi_verify.core.images import encode
from asi_verify.core.linf import LInf
from asi_verify.core.properties import Property, property_for
from asi_verify.core.semantics import Semantics
from asi_verify.core.split_tree import SplitTree
from asi_verify.data import load_dataset
from asi_verify.export import Artifact
from asi_verify.prove import AlphaCrown
from asi_verify.prove.alpha_crown import LARGEST, slopes_tree
from asi_verify.prove.twins import boxes_for, open_slopes

ONE_BY_ONE = 64
FEW = 16
FEWER = 4
WIDE = "2/255"
LINEAR = {
    Method.CROWN_IBP: LinearEvidence(Intermediate.INTERVAL),
    Method.CROWN: LinearEvidence(Intermediate.BACKWARD),
}


def optimised(
    artifact: Artifact, trusted: TrustedPass, box: Box, wanted: Property
) -> tuple[list[SplitTree], float]:
    """Slopes for some boxes as evidence, and how long they take."""
    twin = BackwardTwin(artifact.network)

    def propose() -> list[SplitTree]:
        bounds = trusted.bounds(box, Intermediate.BACKWARD)
        best = twin.optimised(boxes_for(twin, bounds), wanted.rows(), AlphaCrown.steps)
        return [slopes_tree(part) for part in open_slopes(trusted, bounds, best.slopes, LARGEST)]

    return propose(), median_seconds(propose)


def main() -> None:
    """Measure and write the page."""
    data = (RUNS / "pneumoniamnist-0" / "certificates" / "artifact.onnx").read_bytes()
    samples = load_dataset("pneumoniamnist").split("train")
    artifact = Artifact.from_bytes(data)
    trusted = artifact.trusted(Semantics.FLOAT32)
    family = LInf.of("1/255")
    groups = [
        (
            property_for(np.int64(label), artifact.network.logits),
            np.flatnonzero(samples.labels == label),
        )
        for label in np.unique(samples.labels)
    ]

    def certify() -> int:
        return sum(
            int(
                (
                    trusted.margins(family.boxes(samples.images[rows]), wanted, IntervalEvidence())
                    > 0
                ).sum()
            )
            for wanted, rows in groups
        )

    def alone() -> None:
        wanted, rows = groups[0]
        for row in rows[:ONE_BY_ONE]:
            trusted.margins(family.boxes(samples.images[row : row + 1]), wanted, IntervalEvidence())

    inputs = encode(samples.images)

    def in_torch() -> None:
        with torch.no_grad():
            for part in torch.from_numpy(inputs).split(256):
                artifact.module(part)

    figures = {
        "accepted": certify(),
        "batched_seconds": median_seconds(certify),
        "forward_seconds": median_seconds(lambda: artifact.session.run(inputs)),
        "torch_seconds": median_seconds(in_torch),
        "one_by_one_seconds_each": median_seconds(alone) / ONE_BY_ONE,
        "samples": len(samples),
    }
    wanted, chosen = groups[0]
    box = family.boxes(samples.images[chosen[:FEW]])
    for method, evidence in LINEAR.items():
        proposer = proposer_for(artifact.network, method)
        assert proposer is not None, "auto_LiRPA is needed"
        times = [
            median_seconds(partial(proposer.lower, box, wanted.rows())),
            median_seconds(partial(trusted.margins, box, wanted, evidence)),
        ]
        figures[f"{method.value}_evidence_in_proposals"] = times[1] / times[0]
    wide = LInf.of(WIDE).boxes(samples.images[chosen[:FEWER]])
    tree, seconds = optimised(artifact, trusted, wide, wanted)
    check = partial(tree_margins, trusted, wide, wanted, Intermediate.BACKWARD, tree)
    figures["slopes_evidence_in_proposals"] = median_seconds(check) / seconds
    figures["slopes_bytes"] = max(len(one.to_bytes()) for one in tree)
    each = figures["batched_seconds"] / len(samples)
    figures["forward_passes_each"] = figures["batched_seconds"] / figures["forward_seconds"]
    figures["torch_passes_each"] = figures["batched_seconds"] / figures["torch_seconds"]
    figures["batching_gains"] = figures["one_by_one_seconds_each"] / each
    rows = [
        ["proved by the trusted pass (intervals)", f"{figures['accepted']} of {len(samples)}"],
        ["all of them, batched", f"{figures['batched_seconds']:.1f} s"],
        ["cost of one, in forward passes of ONNX Runtime", f"{figures['forward_passes_each']:.1f}"],
        ["the same in forward passes of torch", f"{figures['torch_passes_each']:.1f}"],
        *(
            [
                f"checking {method.value} evidence, in auto_LiRPA's proposals ({FEW} images)",
                f"{figures[f'{method.value}_evidence_in_proposals']:.1f}",
            ]
            for method in LINEAR
        ),
        [
            f"checking optimised slopes ({WIDE}), in optimisations of them ({FEWER} images)",
            f"{figures['slopes_evidence_in_proposals']:.2f}",
        ],
        ["most bytes of one image's slopes", figures["slopes_bytes"]],
        ["one by one, compared with batched", f"{figures['batching_gains']:.2f} times the time"],
    ]
    text = (
        "The artifact of `benchmarks/zero_repeatable_errors.py` (PneumoniaMNIST, seed 0), region "
        f"L-infinity 1/255, medians of five.\n\n{table(['what', 'result'], rows)}"
    )
    write("certify_again", "PneumoniaMNIST certified again with the trusted pass", figures, text)


if __name__ == "__main__":
    main()
