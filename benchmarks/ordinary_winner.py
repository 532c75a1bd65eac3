"""Claim: what the competition's winner leaves undecided of the same images of an ordinary network.

``python benchmarks/ordinary_winner.py CLONE PYTHON`` with a clone of
Verified-Intelligence/alpha-beta-CROWN and its submodule auto_LiRPA, and the interpreter of an
environment that has what it needs: torch 2.13, for with 2.15 its optimiser leaves slopes as they
are; onnx2pytorch from the package index will do. It is asked through its Python API, with its
default settings on all cores, about every image that ``ordinary_network.py`` had to branch on. It
is given what lies behind the normalisation, with boxes that are normalised and rounded to the
nearest float32: its reader of ONNX files does not take a constant for each channel. Images that
were asked about before are not asked about again.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from _results import table, write
from ordinary_network import CORES, PLACE, SECONDS, kept, trained

from asi_verify.core.box import Box
from asi_verify.core.linf import LInf
from asi_verify.core.network import Network, Node
from asi_verify.core.operators import Scale
from asi_verify.core.properties import property_for
from asi_verify.data import load_dataset
from asi_verify.lowering import write_artifact
from asi_verify.lowering.vnnlib import write_vnnlib

FIGURES = Path(__file__).parent.parent / "docs" / "results" / "ordinary_network.json"
ASK = """
import json, sys
source, model, query, shape, seconds, cores = sys.argv[1:]
sys.path.insert(0, source)
import arguments, auto_LiRPA, onnx, onnx2pytorch, torch
from api import ABCrownSolver, ConfigBuilder, VerificationSpec
torch.set_num_threads(int(cores))
arguments.Config["general"]["device"] = "cpu"
module = onnx2pytorch.ConvertModel(onnx.load(model), experimental=True).eval()
spec = VerificationSpec.build_spec(vnnlib_path=query, input_shape=json.loads(shape))
config = ConfigBuilder.from_defaults().set(general__device="cpu", bab__timeout=float(seconds))()
found = ABCrownSolver(spec, module, config=config).solve()
told = {"status": found.status, "torch": torch.__version__, "auto_LiRPA": auto_LiRPA.__version__}
print("\\n" + json.dumps(told))
"""
KINDS = ["proved", "refuted", "undecided"]
WORDS = {"verified": "proved", "safe": "proved", "unsafe": "refuted", "unknown": "undecided"}


def behind_scales(network: Network, box: Box) -> tuple[Network, Box]:
    """The network without the scales that it begins with, and the box behind them."""
    first = 0
    lower, upper = (end.astype(np.float64) for end in (box.lower, box.upper))
    while isinstance(operator := network.nodes[first].operator, Scale):
        lower, upper = (end * operator.scale + operator.shift for end in (lower, upper))
        first += 1
    if np.any(lower > upper):
        raise ValueError("a scale is negative")
    nodes = (
        Node(node.operator, tuple(value - first for value in node.inputs))
        for node in network.nodes[first:]
    )
    rest = Network(network.input_shape, tuple(nodes))
    return rest, Box(lower.astype(np.float32), upper.astype(np.float32))


def asked(clone: Path, python: str, network: Network, text: str) -> dict[str, Any]:
    """What the winner says of one query."""
    with tempfile.TemporaryDirectory() as place:
        model, query = Path(place) / "model.onnx", Path(place) / "query.vnnlib"
        model.write_bytes(write_artifact(network))
        query.write_text(text)
        shape = json.dumps(network.input_shape)
        given = [clone / "complete_verifier", model, query, shape, SECONDS, CORES]
        start = time.perf_counter()
        done = subprocess.run(
            [python, "-c", ASK, *map(str, given)],
            check=False,
            capture_output=True,
            text=True,
            cwd=place,
            env={**os.environ, "PYTHONPATH": "", "OMP_NUM_THREADS": str(CORES)},
        )
        seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(done.stderr)
    told = json.loads(done.stdout.splitlines()[-1])
    return {**told, "verdict": WORDS[told["status"].split("-")[0]], "seconds": seconds}


def main(clone: Path, python: str) -> None:
    """Ask and write the page."""
    figures = json.loads(FIGURES.read_text())["figures"]["radii"]
    data = load_dataset("pneumoniamnist")
    artifact, samples = trained(data), data.split("test")
    rows: list[list[Any]] = []
    answers: dict[str, dict[int, Any]] = {}
    open_to_both: dict[str, int] = {}
    for radius, ours in figures.items():
        found = {}
        for row in map(int, ours["branched"]):
            box = LInf.of(radius).boxes(samples.images[[row]])
            network, behind = behind_scales(artifact.network, box)
            wanted = property_for(samples.labels[row], network.logits)
            ask = functools.partial(asked, clone, python, network, write_vnnlib(behind, wanted))
            file = PLACE / "winner" / radius.replace("/", "_") / f"{row}.json"
            found[row] = kept(file, ask)
            print(radius, row, found[row]["status"], f"{found[row]['seconds']:.1f} s", flush=True)
        answers[radius] = found
        own = {
            row: {"verdict": ours["verdicts"][row], "seconds": ours["branched"][str(row)]}
            for row in found
        }
        for who, told in (("asi_verify", own), ("winner", found)):
            counts = Counter(answer["verdict"] for answer in told.values())
            kinds = [counts[kind] for kind in KINDS]
            taken = sum(one["seconds"] for one in told.values() if one["verdict"] != "undecided")
            rows.append([radius, who, len(told), *kinds, f"{taken:.0f} s"])
        open_to_both[radius] = sum(
            own[row]["verdict"] == found[row]["verdict"] == "undecided" for row in found
        )
    one = next(answer for found in answers.values() for answer in found.values())
    text = (
        f"alpha-beta-CROWN from its repository (auto_LiRPA {one['auto_LiRPA']}, torch "
        f"{one['torch']}), default settings, {SECONDS:.0f} s an image on {CORES} cores, asked "
        "about the images that [the stages without branching](ordinary_network.md) left open.\n\n"
        + table(["radius", "verifier", "images", *KINDS, "seconds of the settled"], rows)
        + "\n\nLeft undecided by both: "
        + ", ".join(f"{count} at {radius}" for radius, count in open_to_both.items())
        + ". Proofs here are confirmed by the trusted pass and cover float32 rounding; the "
        "winner's answers come without a proof. Its seconds include the start of a process for "
        "each image."
    )
    claim = "The same images of an ordinary network, asked of the competition's winner"
    write("ordinary_winner", claim, answers, text)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), sys.argv[2])
