"""Claim: an interval proposal costs at most 4 forward passes, one by CROWN-IBP at most 60.

On the network that ``benchmarks/zero_repeatable_errors.py`` trains with interval bounds on
PneumoniaMNIST, per image at the same batch size, in one process: the torch module's forward pass,
auto_LiRPA's proposals, and intervals one image at a time with the model built before. Medians of
25.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from _results import RUNS, table, write
from _timing import median_seconds

from asi_verify.bounds import Method, proposer_for
from asi_verify.core.images import encode
from asi_verify.core.linf import LInf
from asi_verify.core.properties import SingleLabel
from asi_verify.data import load_dataset
from asi_verify.export import Artifact

BATCH = 256
ONE_BY_ONE = 64
REPEATS = 25


def main() -> None:
    """Measure and write the page."""
    data = (RUNS / "pneumoniamnist-0" / "certificates" / "artifact.onnx").read_bytes()
    artifact = Artifact.from_bytes(data)
    images = load_dataset("pneumoniamnist").split("train").images[:BATCH]
    box, rows = LInf.of("1/255").boxes(images), SingleLabel(0, 2).rows()
    inputs = torch.from_numpy(encode(images))

    def forward() -> None:
        with torch.no_grad():
            artifact.module(inputs)

    forward_seconds = median_seconds(forward, REPEATS)
    figures = {"batch": BATCH, "forward_seconds": forward_seconds}
    for method in (Method.INTERVAL, Method.CROWN_IBP):
        proposer = proposer_for(artifact.network, method)
        assert proposer is not None, "auto_LiRPA is needed"
        seconds = median_seconds(partial(proposer.lower, box, rows), REPEATS)
        figures[f"{method.value}_in_forward_passes"] = seconds / forward_seconds
        if method is Method.INTERVAL:
            figures["interval_seconds"] = seconds

            def alone(lower: Callable[..., object] = proposer.lower) -> None:
                for image in range(ONE_BY_ONE):
                    lower(box[image : image + 1], rows)

            each = median_seconds(alone, REPEATS) / ONE_BY_ONE
            figures["interval_batching_gains"] = each / (seconds / BATCH)
    shown = [
        ["intervals, in forward passes", f"{figures['interval_in_forward_passes']:.1f}"],
        ["CROWN-IBP, in forward passes", f"{figures['crown-ibp_in_forward_passes']:.1f}"],
        [
            f"intervals, batch of {BATCH} beside one by one",
            f"{figures['interval_batching_gains']:.1f} times as fast per image",
        ],
    ]
    text = (
        f"{len(images)} images, {np.prod(images.shape[1:])} pixels each, a network of "
        f"{artifact.network.parameters} parameters; proposals by auto_LiRPA on the CPU.\n\n"
        + table(["what", "measured"], shown)
    )
    claim = "An interval proposal costs at most 4 forward passes, CROWN-IBP at most 60"
    write("proposal_cost", claim, figures, text)


if __name__ == "__main__":
    main()
