"""Claim: several processes prove and check a data set's samples faster than one with its threads.

The ordinary CNN of ``benchmarks/ordinary_network.py`` (trained if it is not there) and test images
of PneumoniaMNIST whose answers CROWN proves at 1/255: proved by CROWN, by optimised slopes and by
branch and bound, and CROWN's bounds derived again as the checker does it. One process, whose
libraries use as many threads as they like, and one process for each core, started before. What they
find is compared; medians of three.
"""

from __future__ import annotations

import os
from functools import partial

import numpy as np
from _results import table, write
from _timing import median_seconds
from ordinary_network import trained

from asi_verify.core.evidence import Intermediate, LinearEvidence
from asi_verify.core.linf import LInf
from asi_verify.core.properties import SingleLabel
from asi_verify.core.semantics import Semantics
from asi_verify.core.verdict import Proved
from asi_verify.data import load_dataset
from asi_verify.prove import AlphaCrown, Branch, Crown, Proof, Stage, prove
from asi_verify.prove.processes import margins_on

IMAGES = 24
STAGES: dict[str, Stage] = {
    "CROWN": Crown(proposes=False),
    "optimised slopes": AlphaCrown(),
    "branch and bound": Branch(),
}


def main() -> None:
    """Measure and write the page."""
    cores = os.cpu_count() or 1
    data = load_dataset("pneumoniamnist")
    artifact = trained(data)
    samples, family = data.split("test"), LInf.of("1/255")
    logits = artifact.network.logits
    answers = artifact.session.run(samples.images / np.float32(255)).argmax(axis=1)

    def proof(rows: list[int], stage: Stage, cores: int) -> Proof:
        return prove(
            artifact,
            family,
            samples.images[rows],
            [samples.image_digests[row] for row in rows],
            [SingleLabel(int(answers[row]), logits) for row in rows],
            (stage,),
            cores=cores,
        )

    asked = list(range(2 * IMAGES))
    verdicts = proof(asked, STAGES["CROWN"], cores).verdicts
    rows = [row for row in asked if isinstance(verdicts[row], Proved)][:IMAGES]
    images = samples.images[rows]
    wanted = SingleLabel(0, logits)  # whatever is asked costs the same

    def derived(cores: int) -> None:
        margins_on(cores)(
            artifact.trusted(Semantics.FLOAT32),
            family,
            images,
            wanted,
            LinearEvidence(Intermediate.BACKWARD),
            [],
        )

    work = {name: partial(proof, rows, stage) for name, stage in STAGES.items()}
    figures = {}
    for name, of_cores in [*work.items(), ("CROWN, checked", derived)]:
        one, several = of_cores(1), of_cores(cores)
        if isinstance(one, Proof) and isinstance(several, Proof):
            assert one.verdicts == several.verdicts
            assert one.parts == several.parts
        figures[name] = [median_seconds(partial(of_cores, count), 3) for count in (1, cores)]
    text = (
        f"{len(rows)} images at 1/255, {artifact.network.parameters} parameters. Verdicts, "
        "evidence and binary parts are the same.\n\n"
    ) + table(
        ["", "one process", f"{cores} processes", "ratio"],
        [
            [name, f"{one:.1f} s", f"{several:.1f} s", f"{one / several:.2f}"]
            for name, (one, several) in figures.items()
        ],
    )
    claim = "Several processes prove a data set's samples faster than one"
    write("cores", claim, {"cores": cores, "images": len(rows), "seconds": figures}, text)


if __name__ == "__main__":
    main()
