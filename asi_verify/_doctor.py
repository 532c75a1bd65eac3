"""What works on this machine, tried and not guessed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from asi_verify._provenance import machine, versions
from asi_verify.data import find_file, medmnist_sets, search_path

__all__ = ["Finding", "examine_installation"]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's.

    Attributes:
        name: what was looked at.
        works: whether it works.
        needed: whether the library needs it.
        detail: version, place, or what to do.
    """

    name: str
    works: bool
    needed: bool
    detail: str


def examine_installation() -> list[Finding]:
    """Try every component on a tiny network."""
    findings = [
        Finding(name, True, True, str(value)) for name, value in {**machine(), **versions()}.items()
    ]
    findings = [f for f in findings if f.name != "auto_LiRPA"]
    return [
        *findings,
        _trusted_pass(),
        _engine(),
        _solver(),
        _labels(),
        _accelerator(),
        *_data_sets(),
    ]


def _tiny() -> tuple[Any, Any, Any]:
    import numpy as np

    from asi_verify.core.linf import LInf
    from asi_verify.core.network import Network
    from asi_verify.core.operators import Affine, Relu
    from asi_verify.core.properties import SingleLabel

    generator = np.random.default_rng(0)
    layers = [generator.normal(size=shape).astype(np.float32) for shape in ((8, 4), (2, 8))]
    network = Network.sequential(
        (4,),
        [
            Affine(layers[0], np.zeros(8, np.float32)),
            Relu(),
            Affine(layers[1], np.zeros(2, np.float32)),
        ],
    )
    box = LInf.of("1/255").boxes(np.full((1, 4, 1), 100, dtype=np.uint8))
    from asi_verify.core.box import Box

    flat = Box(box.lower.reshape(1, 4), box.upper.reshape(1, 4))
    return network, flat, SingleLabel(0, 2)


def _trusted_pass() -> Finding:
    import numpy as np

    from asi_verify.core.evidence import IntervalEvidence
    from asi_verify.core.semantics import Semantics
    from asi_verify.export import Artifact

    network, box, property_ = _tiny()
    artifact = Artifact.from_network(network)
    bound = artifact.trusted(Semantics.FLOAT32).margins(box, property_, IntervalEvidence())
    value = artifact.session.margins(box.lower, property_)
    sound = bool(np.all(bound <= value + 1e-5))
    return Finding(
        "trusted pass", sound, True, "agrees with ONNX Runtime" if sound else "disagrees"
    )


def _engine() -> Finding:
    from asi_verify.bounds import Method
    from asi_verify.bounds.lirpa import INSTALL, LirpaProposer, installed_version
    from asi_verify.errors import AsiVerifyError

    if installed_version() is None:
        return Finding(
            "auto_LiRPA", False, False, f"not installed; the trusted pass works alone: {INSTALL}"
        )
    network, box, property_ = _tiny()
    try:
        proposer = LirpaProposer(network, Method.CROWN)
        proposer.lower(box, property_.rows())
    except (AsiVerifyError, RuntimeError, AttributeError, ImportError) as error:
        return Finding("auto_LiRPA", False, False, f"{installed_version()} fails: {error}")
    return Finding("auto_LiRPA", True, False, f"{installed_version()} proposes")


def _solver() -> Finding:
    from asi_verify.smt import Unsatisfiable, solve

    answer = solve("(declare-const x0 Real)(assert (and (< x0 0) (> x0 0)))(check-sat)", 1, 100_000)
    if isinstance(answer, Unsatisfiable):
        return Finding("z3", True, True, f"{answer.version} answers")
    return Finding("z3", False, True, f"fails: {answer}")


def _labels() -> Finding:
    from asi_verify.audit import cleanlab_version
    from asi_verify.errors import EngineUnavailableError

    try:
        return Finding("cleanlab", True, False, f"{cleanlab_version()}, for suspected labels")
    except EngineUnavailableError as error:
        return Finding("cleanlab", False, False, str(error))


def _accelerator() -> Finding:
    import torch

    there = torch.cuda.is_available()
    name = torch.cuda.get_device_name() if there else "none; everything runs on the CPU"
    return Finding("GPU", there, False, name)


def _data_sets() -> list[Finding]:
    found = [name for name in medmnist_sets() if find_file(name) is not None]
    places = ", ".join(map(str, search_path()))
    detail = (
        f"{', '.join(found) or 'none'} (looked in {places}); others are downloaded when asked for"
    )
    return [Finding("MedMNIST files", bool(found), False, detail)]
