"""The parity gate: torch, ONNX Runtime and ``Network`` must be one function, or nothing goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from asi_verify.checker import TrustedPass
from asi_verify.checker.table import rule_for
from asi_verify.core.box import Box
from asi_verify.core.network import Network
from asi_verify.core.semantics import Semantics
from asi_verify.errors import ParityError
from asi_verify.runtime import Session

__all__ = ["TOLERANCE", "Parity", "probes", "require_agreement", "require_parity", "with_head"]

TOLERANCE = {
    "torch = ONNX Runtime": 1e-4,
    "Network = ONNX Runtime": 1e-4,
    "bounded module = Network": 1e-4,
}
"""Largest difference allowed on each leg, as a share of the largest output (or of 1, if that is
more). Both sides compute in float32 except ``Network``, which does in float64; a float32
network of the sizes here differs from the exact one by 1e-7 to 1e-5 of its largest output, a wrong
stride, axis or weight by far more than 1e-4."""

_PROBES = 16


@dataclass(frozen=True)
class Parity:
    """The largest difference seen on each leg, relative as in ``TOLERANCE``."""

    differences: dict[str, float]


def probes(input_shape: tuple[int, ...], seed: int = 0) -> npt.NDArray[np.float32]:
    """Inputs to compare on: random ones, all black, all white; shape ``(18, *input_shape)``."""
    generator = np.random.default_rng(seed)
    random = generator.random((_PROBES, *input_shape), dtype=np.float32)
    flat = np.stack([np.zeros(input_shape, np.float32), np.ones(input_shape, np.float32)])
    return np.concatenate([random, flat])


def require_parity(
    trusted: TrustedPass,
    session: Session,
    module: nn.Module | None = None,
    head: str | None = None,
) -> Parity:
    """Compare all forms of one model on random inputs.

    Args:
        trusted: the trusted pass over ``Network`` and the reals.
        session: the artifact in ONNX Runtime.
        module: the torch form to compare as well.
        head: the softmax or sigmoid that it ends in and the artifact does not, if any.

    Raises:
        ParityError: a leg is off by more than its tolerance.
    """
    points = probes(trusted.network.input_shape)
    deployed = session.run(points).astype(np.float64)
    parts = [_evaluated(trusted.network, points[part]) for part in trusted.batches(len(points))]
    exact = with_head(np.concatenate(parts), trusted.network.head)
    differences = {
        "Network = ONNX Runtime": require_agreement("Network = ONNX Runtime", exact, deployed)
    }
    if module is not None:
        leg = "torch = ONNX Runtime"
        with torch.no_grad():
            ours = module(torch.from_numpy(points)).cpu().numpy().astype(np.float64)
        if "sigmoid" in (trusted.network.head, head):
            ours = ours - 0.5
        differences[leg] = require_agreement(leg, ours, with_head(deployed, head))
    return Parity(differences)


def _evaluated(network: Network, points: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """The network's values as the trusted rules have them, shape ``(N, *output_shape)``.

    Each operator's rule is asked for the box of its output over a point, and the next ones go on
    from that box's middle: float64 arithmetic with its rounding, which grows with depth as errors
    do. Boxes that are handed on would grow as bounds do, by 1e20 in an ordinary ResNet-50.
    """
    values = [points.astype(np.float64)]
    for node in network.nodes:
        shapes = (network.shapes[value] for value in node.inputs)
        rule = rule_for(node.operator, Semantics.REAL, *shapes)
        # A box owns its arrays and makes them read-only.
        read = (values[value] for value in node.inputs)
        found = rule.interval(*(Box(value.copy(), value.copy()) for value in read))
        values.append(0.5 * (found.lower + found.upper))
    return values[-1]


def require_agreement(leg: str, first: npt.NDArray[Any], second: npt.NDArray[Any]) -> float:
    """The largest relative difference of two arrays of outputs.

    Raises:
        ParityError: it is above the leg's tolerance, outputs are not finite, or the shapes differ.
    """
    if first.shape != second.shape:
        raise ParityError(f"{leg}: outputs of shapes {first.shape} and {second.shape}")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ParityError(
            f"{leg}: outputs of inputs in [0, 1] are not finite; the model overflows float32 where "
            "images lie, so nothing about it can be compared"
        )
    scale = max(1.0, float(np.abs(second).max()))
    difference = float(np.abs(first - second).max()) / scale
    if not difference <= TOLERANCE[leg]:
        raise ParityError(
            f"{leg}: the outputs differ by {difference:.3g} of their size, {TOLERANCE[leg]:g} is "
            "allowed; the conversion changed the model, so no proof about it would hold"
        )
    return difference


def with_head(logits: npt.NDArray[np.float64], head: str | None) -> npt.NDArray[np.float64]:
    """Logits as a file with a head answers, in the form that ``Session.run`` gives them."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    match head:
        case None:
            return logits
        case "softmax":
            return np.asarray(np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True))
        case "log-softmax":
            return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
        case "sigmoid":
            return np.asarray(np.tanh(logits / 2) / 2)
        case _:
            raise ParityError(f"the head {head!r} has no reference")
