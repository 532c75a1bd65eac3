"""The preprocessing contract: it computes what it says, and becomes part of the artifact."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from asi_verify.data import Preprocess
from asi_verify.errors import UsageError
from asi_verify.export import NetworkModule, load_model


def by_hand(contract: Preprocess, x: np.ndarray) -> np.ndarray:
    """What the contract says, in numpy, on ``(N, C, H, W)`` in [0, 1]."""
    if contract.channels == 3 and x.shape[1] == 1:
        x = np.repeat(x, 3, axis=1)
    x = x * contract.scale
    if len(contract.mean):
        x = x - np.reshape(contract.mean, (1, -1, 1, 1))
    if len(contract.std):
        x = x / np.reshape(contract.std, (1, -1, 1, 1))
    if contract.layout == "NHWC":
        x = np.moveaxis(x, 1, 3)
    return x.reshape(len(x), -1) if contract.layout == "flat" else x


CONTRACTS = [
    (Preprocess(scale=255), 1),
    (Preprocess(mean=(0.5,), std=(0.25,)), 1),
    (Preprocess(scale=255, mean=(120.0, 110.0, 100.0), std=(60.0, 58.0, 55.0)), 3),
    (Preprocess(channels=3), 1),
    (Preprocess(channels=3, mean=(0.4, 0.5, 0.6), std=(0.2,), layout="NHWC"), 1),
    (Preprocess(layout="NHWC"), 3),
    (Preprocess(layout="flat", std=(0.5,)), 3),
    (Preprocess(layout="flat", size=(4, 5)), 1),
]


@pytest.mark.parametrize(("contract", "channels"), CONTRACTS)
def test_the_layers_compute_what_the_contract_says(contract, channels):
    """On random images, to float32 rounding."""
    x = np.random.default_rng(0).random((3, channels, 4, 5)).astype(np.float32)
    network = contract.network((channels, 4, 5))
    with torch.no_grad():
        ours = NetworkModule(network)(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(ours, by_hand(contract, x), rtol=2e-6, atol=1e-5)


def test_an_empty_contract_needs_no_layers():
    """NCHW in [0, 1] is what artifacts read anyway."""
    assert Preprocess().network((1, 4, 4)) is None
    assert Preprocess(channels=1, size=(4, 4)).network((1, 4, 4)) is None


def test_the_contract_becomes_part_of_the_artifact():
    """The artifact reads [0, 1] and answers what the model answers on prepared images."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 2))
    contract = Preprocess(scale=255, mean=(100.0,), std=(50.0,), channels=3)
    artifact = load_model(model, (1, 4, 4), contract)
    x = np.random.default_rng(1).random((5, 1, 4, 4)).astype(np.float32)
    with torch.no_grad():
        prepared = torch.from_numpy(by_hand(contract, x.astype(np.float64)).astype(np.float32))
        expected = model(prepared).numpy()
    np.testing.assert_allclose(artifact.session.run(x), expected, atol=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [{"layout": "HWC"}, {"scale": 0}, {"scale": float("nan")}, {"std": (0.0,)}, {"std": (-1.0,)},
     {"mean": (float("inf"),)}],
)  # fmt: skip
def test_values_that_mean_nothing_are_refused(wrong):
    """When the contract is made, not when it is used."""
    with pytest.raises(UsageError):
        Preprocess(**wrong)


@pytest.mark.parametrize(
    ("contract", "shape"),
    [(Preprocess(size=(8, 8)), (1, 4, 4)), (Preprocess(channels=1), (3, 4, 4)),
     (Preprocess(mean=(1.0, 2.0)), (3, 4, 4))],
)  # fmt: skip
def test_images_that_do_not_fit_are_refused(contract, shape):
    """With what is expected and what is there."""
    with pytest.raises(UsageError):
        contract.network(shape)
