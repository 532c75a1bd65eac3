"""CROWN-IBP for training: the trusted pass's formula, and its derivative."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.networks import (
    grouped_cnn,
    mlp,
    random_box,
    residual,
    small_cnn,
    smooth_mlp,
    tiny_moved,
    volume_cnn,
)

from asi_verify.bounds import crown_ibp_margins
from asi_verify.checker import TrustedPass
from asi_verify.core.box import Box
from asi_verify.core.evidence import Intermediate, LinearEvidence
from asi_verify.core.properties import SingleLabel
from asi_verify.core.semantics import Semantics
from asi_verify.core.smooth import Tanh
from asi_verify.errors import UnsupportedOperatorError
from asi_verify.export import NetworkModule

NETWORKS = {
    "mlp": lambda generator: mlp(generator, 6, 12, 8, 3),
    "residual": lambda generator: residual(generator, 6, 3),
    "cnn": small_cnn,
    "groups": grouped_cnn,
    "volumes": volume_cnn,
    "moved": tiny_moved,
}


def boxes(generator, shape, radius):
    """Three boxes."""
    return Box(*random_box(generator, shape, 3, radius))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("radius", [0.0, 0.02, 0.3])
def test_margins_are_those_of_the_trusted_pass(name, radius):
    """Up to float32, for every label."""
    generator = np.random.default_rng(3)
    network = NETWORKS[name](generator)
    box = boxes(generator, network.input_shape, radius)
    module = NetworkModule(network)
    ends = torch.tensor(box.lower), torch.tensor(box.upper)
    trusted = TrustedPass(network, Semantics.REAL)
    for label in range(network.logits):
        wanted = SingleLabel(label, network.logits)
        rows = torch.tensor(wanted.rows().astype(np.float32))[None]
        found = crown_ibp_margins(module, *ends, rows)
        assert found.shape == (3, network.logits - 1)
        known = trusted.margins(box, wanted, LinearEvidence(Intermediate.INTERVAL))
        smallest = found.detach().amin(dim=1).numpy()
        assert (np.abs(smallest - known) <= 1e-4 * (1 + np.abs(known))).all()


def test_each_sample_has_rows_of_its_own():
    """As if it were asked alone."""
    generator = np.random.default_rng(4)
    network = mlp(generator, 5, 9, 4)
    box = boxes(generator, network.input_shape, 0.1)
    module = NetworkModule(network)
    rows = torch.from_numpy(generator.normal(size=(3, 2, 4)).astype(np.float32))
    lower, upper = torch.tensor(box.lower), torch.tensor(box.upper)
    together = crown_ibp_margins(module, lower, upper, rows)
    for i in range(3):
        alone = crown_ibp_margins(module, lower[i : i + 1], upper[i : i + 1], rows[i : i + 1])
        assert torch.allclose(together[i], alone[0], atol=1e-5)


def test_the_derivative_in_every_weight_is_the_difference_quotient():
    """Through intervals, slopes, chords, transposed maps and biases."""
    generator = np.random.default_rng(5)
    network = mlp(generator, 4, 7, 5, 3)
    box = boxes(generator, network.input_shape, 0.2)
    module = NetworkModule(network).double()
    lower, upper = torch.tensor(box.lower).double(), torch.tensor(box.upper).double()
    rows = torch.tensor(SingleLabel(1, 3).rows())[None]

    def total() -> torch.Tensor:
        return crown_ibp_margins(module, lower, upper, rows).sum()

    total().backward()
    for parameter in module.parameters():
        move = torch.from_numpy(generator.normal(size=tuple(parameter.shape)))
        slope = float((parameter.grad * move).sum())
        with torch.no_grad():
            parameter.add_(move, alpha=1e-6)
            above = float(total())
            parameter.sub_(move, alpha=2e-6)
            below = float(total())
            parameter.add_(move, alpha=1e-6)
        assert slope == pytest.approx((above - below) / 2e-6, rel=1e-4, abs=1e-6)


def test_other_layers_are_refused_by_name():
    """Whoever asks for it learns which layer it is."""
    generator = np.random.default_rng(6)
    module = NetworkModule(smooth_mlp(generator, Tanh(), 4, 5, 3))
    ends = torch.zeros(1, 4), torch.ones(1, 4)
    with pytest.raises(UnsupportedOperatorError, match="Tanh"):
        crown_ibp_margins(module, *ends, torch.eye(3)[None])
