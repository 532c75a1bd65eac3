"""Between torch, the network and the artifact; the parity gate."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from support.networks import LARGER, SMOOTH, TINY, mlp
from support.onnx_files import model, node
from torch import nn

from asi_verify.core.box import Box
from asi_verify.core.network import Network, Node
from asi_verify.core.operators import Affine
from asi_verify.core.semantics import Semantics
from asi_verify.core.weights import map_weights
from asi_verify.data import Preprocess
from asi_verify.errors import ModelError, ParityError, UnsupportedOperatorError
from asi_verify.export import Artifact, NetworkModule, load, load_model, network_from_torch
from asi_verify.export.parity import probes, require_agreement, require_parity
from asi_verify.export.torch_module import layer_for
from asi_verify.runtime import Session
from asi_verify.zoo import SmallCNN


class Residual(nn.Module):
    """A user's network with batch norm, a residual sum, pooling and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.b = nn.Conv2d(4, 4, 3, padding=1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.drop = nn.Dropout(0.5)
        self.last = nn.Linear(4, 3)

    def forward(self, x):
        h = torch.relu(self.norm(self.a(x)))
        h = torch.relu(h + self.b(h))
        return self.last(self.drop(torch.flatten(self.pool(h), 1)))


class Dense(nn.Module):
    """A user's network with joined values and pools of several forms, in the style of DenseNet."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(1, 4, 3, padding=1)
        self.b = nn.Conv2d(5, 3, 3, padding=1)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)
        self.mean = nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True, count_include_pad=False)
        self.most = nn.AdaptiveMaxPool2d(1)
        self.last = nn.Linear(16, 3)

    def forward(self, x):
        h = torch.cat([x, torch.relu(self.a(x))], dim=1)
        h = torch.cat([h, torch.relu(self.b(h))], dim=1)
        h = torch.cat([self.pool(h), self.mean(h)], dim=1)
        return self.last(torch.flatten(self.most(h), 1))


class Gated(nn.Module):
    """A user's network with leaky and clamped numbers, upsampling, slices and gates of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(1, 4, 2, stride=2)
        self.leaky, self.slopes = nn.LeakyReLU(0.1), nn.PReLU(4)
        self.up = nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1, output_padding=1)
        self.gate = nn.Conv2d(3, 3, 1)
        self.last = nn.Linear(3, 3)

    def forward(self, x):
        h = nn.functional.relu6(self.up(self.slopes(self.leaky(self.a(x)))))
        h = nn.functional.pad(h, (1, 0, 0, 2))[:, :, 1:-1, ::2]
        h = h * torch.sigmoid(self.gate(h.mean((2, 3), keepdim=True)))
        return self.last(h.amax((2, 3)) - h.abs().sum((2, 3)))


class Mobile(nn.Module):
    """A user's network with gates that are clamped lines, in the style of MobileNetV3.

    Its image comes as blocks of channels and is put together; it ends in the larger of two values.
    """

    def __init__(self) -> None:
        super().__init__()
        self.blocks, self.image = nn.PixelUnshuffle(2), nn.PixelShuffle(2)
        self.depthwise = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.gate = nn.Conv2d(4, 4, 1)
        self.lasts = nn.ModuleList([nn.Linear(36, 3), nn.Linear(36, 3)])

    def forward(self, x):
        h = nn.functional.hardswish(self.depthwise(self.blocks(x)))
        h = h * nn.functional.hardsigmoid(self.gate(h.mean((2, 3), keepdim=True)))
        h = torch.flatten(-self.image(h), 1)
        first, second = (last(h) for last in self.lasts)
        return torch.maximum(first, torch.minimum(second, torch.full((3,), 0.5)))


def trained_residual():
    torch.manual_seed(0)
    module = Residual()
    module.train()
    for _ in range(3):
        module(torch.rand(8, 1, 6, 6))
    return module


def transformer_like():
    """Every smooth operator, as torch's own exporter writes it."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(16, 6), nn.GELU(), nn.LayerNorm(6), nn.Linear(6, 6),
        nn.GELU(approximate="tanh"), nn.Softmax(1), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4),
        nn.Sigmoid(), nn.Linear(4, 3),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.ReLU(), nn.Linear(5, 2)), (1, 4, 4)),
        (trained_residual(), (1, 6, 6)),
        (Dense(), (1, 7, 6)),
        (Mobile(), (1, 6, 6)),
        (
            nn.Sequential(
                nn.Conv3d(1, 3, 2),
                nn.MaxPool3d(2, stride=1),
                nn.AvgPool3d(2),
                nn.Flatten(),
                nn.Linear(24, 2),
            ),
            (1, 6, 6, 6),
        ),
        (
            nn.Sequential(
                nn.MaxPool1d(3, stride=2, dilation=2),
                nn.AvgPool1d(3, 1, padding=1),
                nn.Flatten(),
                nn.Linear(4, 2),
            ),
            (1, 11),
        ),
        (transformer_like(), (1, 4, 4)),
        (SmallCNN((1, 12, 12), 2, [0.4], [0.2], (3, 4), 5), (1, 12, 12)),
        (SmallCNN((3, 8, 8), 4, [0.4] * 3, [0.2] * 3, (3, 4), 5), (3, 8, 8)),
        (SmallCNN((1, 8, 8, 8), 2, [0.4], [0.2], (3, 4), 5), (1, 8, 8, 8)),
    ],
)
def test_a_torch_module_becomes_an_artifact_that_agrees_with_it(module, shape):
    """In evaluation mode, whatever mode it is in; and the module is not touched."""
    before = copy.deepcopy(module.state_dict())
    training = module.training
    artifact = load_model(module, shape)
    assert set(artifact.parity.differences) == {"torch = ONNX Runtime", "Network = ONNX Runtime"}
    assert max(artifact.parity.differences.values()) < 1e-5
    assert module.training == training
    for key, value in module.state_dict().items():
        assert torch.equal(value, before[key])


def test_the_artifact_of_a_module_is_the_same_every_time():
    """Its name is its digest."""
    module = SmallCNN((1, 8, 8), 2, [0.4], [0.2], (3, 4), 5)
    assert load_model(module, (1, 8, 8)).digest == load_model(module, (1, 8, 8)).digest


@pytest.mark.parametrize("name", [*TINY, *LARGER, *SMOOTH])
def test_the_generated_module_computes_the_network(name):
    """And gives the same network back, to the bit."""
    network = (TINY | LARGER | SMOOTH)[name](np.random.default_rng(0))
    artifact = Artifact.from_network(network)
    module = NetworkModule(network)
    points = probes(network.input_shape)
    with torch.no_grad():
        ours = module(torch.from_numpy(points)).numpy()
    np.testing.assert_allclose(ours, artifact.session.run(points), atol=1e-5)
    assert Artifact.from_network(module.to_network()).data == artifact.data


def test_an_onnx_file_is_taken_as_it_is(tmp_path):
    """Its bytes are the artifact."""
    data = model(
        [node("Flatten", "x", "f"), node("Gemm", "f w")],
        (1, 2, 2),
        {"w": np.ones((4, 2), np.float32)},
    )
    (tmp_path / "model.onnx").write_bytes(data)
    assert load_model(tmp_path / "model.onnx", (1, 2, 2)).data == data
    assert load_model(data, (1, 2, 2)).data == data


def test_an_onnx_file_with_a_contract_is_written_anew():
    """With the contract as its first layers, agreeing with the file on prepared images."""
    weight = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
    data = model([node("Gemm", "x w")], (4,), {"w": weight})
    artifact = load_model(data, (1, 2, 2), Preprocess(scale=255, layout="flat"))
    x = np.random.default_rng(1).random((3, 1, 2, 2)).astype(np.float32)
    np.testing.assert_allclose(artifact.session.run(x), 255 * x.reshape(3, 4) @ weight, rtol=1e-5)


@pytest.mark.parametrize(
    ("module", "shape", "says"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(9, 2)), (1, 4, 4), "does not take images"),
        (nn.Flatten(0), (1, 2, 2), "returns"),
        (nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.SELU()), (1, 2, 2), "Selu"),
    ],
)
def test_modules_that_cannot_be_proved_about_are_refused(module, shape, says):
    """What is wrong, by name."""
    with pytest.raises(ModelError, match=says):
        load_model(module, shape)


@pytest.mark.parametrize(
    ("path", "says"),
    [("nowhere.onnx", r"nowhere\.onnx: there is no such file"), (".", r"\.: a folder; give")],
)
def test_a_file_that_is_not_there_is_refused(path, says):
    """With its name; a folder is called one."""
    with pytest.raises(ModelError, match=says):
        load_model(path, (1, 2, 2))


@pytest.mark.parametrize(
    ("operator", "head"),
    [("Softmax", "softmax"), ("LogSoftmax", "log-softmax"), ("Sigmoid", "sigmoid")],
)
def test_a_file_with_a_head_passes_the_gate_on_what_it_answers(operator, head):
    """Compared are the probabilities; decided is on the logits' order or sign."""
    weight = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    data = model([node("Gemm", "x w", "z"), node(operator, "z")], (4,), {"w": weight})
    artifact = Artifact.from_bytes(data)
    assert artifact.network.head == head
    points = probes((4,))
    logits = points @ weight
    outputs = artifact.session.run(points)
    if head == "sigmoid":
        np.testing.assert_array_equal(outputs > 0, logits > 0)
    else:
        np.testing.assert_array_equal(outputs.argmax(axis=1), logits.argmax(axis=1))


HEADS = [nn.Softmax(1), nn.LogSoftmax(1), nn.Sigmoid()]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("preprocess", [None, Preprocess(scale=2.0)])
def test_a_module_with_a_head_is_loaded_without_it(head, preprocess):
    """Compared are the probabilities; the artifact answers with the logits."""
    torch.manual_seed(0)
    logits = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    artifact = load_model(nn.Sequential(logits, head), (1, 2, 2), preprocess)
    points = probes((1, 2, 2))
    read = torch.from_numpy(points) * (1 if preprocess is None else preprocess.scale)
    wanted = logits(read).detach().numpy()
    np.testing.assert_allclose(artifact.session.run(points), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("head", HEADS)
def test_the_gate_compares_a_module_with_a_head(head):
    """One weight is enough there too."""
    network = mlp(np.random.default_rng(0), 4, 5, 2)
    module = NetworkModule(network)
    name = {"Softmax": "softmax", "LogSoftmax": "log-softmax", "Sigmoid": "sigmoid"}
    named = replace(network, head=name[type(head).__name__])
    Artifact.from_network(named, nn.Sequential(module, head))
    with torch.no_grad():
        module.layers[0].bias[0] += 0.1
    with pytest.raises(ParityError, match="torch = ONNX Runtime"):
        Artifact.from_network(named, nn.Sequential(module, head))


@pytest.mark.parametrize("head", ["Softmax", "LogSoftmax", "Sigmoid"])
def test_a_file_with_a_head_is_compared_behind_a_contract(head, monkeypatch):
    """What is written anew answers as the file does; a conversion that changes it is refused."""
    weight = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    data = model([node("Gemm", "x w", "z"), node(head, "z")], (4,), {"w": weight})
    contract = Preprocess(scale=2.0, layout="flat")
    load_model(data, (1, 2, 2), contract)

    def changed(network):
        *others, last = network.nodes
        twice = Node(map_weights(last.operator, lambda numbers: 2 * numbers), last.inputs)
        return replace(network, nodes=(*others, twice))

    monkeypatch.setattr(load, "folded", changed)
    with pytest.raises(ParityError, match="torch = ONNX Runtime"):
        load_model(data, (1, 2, 2), contract)


def test_the_gate_refuses_a_module_that_is_another(monkeypatch):
    """One weight is enough."""
    network = mlp(np.random.default_rng(0), 4, 5, 2)
    artifact = Artifact.from_network(network)
    module = NetworkModule(network)
    with torch.no_grad():
        module.layers[0].bias[0] += 0.01
    with pytest.raises(ParityError, match="torch = ONNX Runtime"):
        require_parity(artifact.trusted(Semantics.REAL), artifact.session, module)


def test_the_gate_refuses_a_network_that_is_another():
    """A lowering that got something wrong would show here."""
    artifact = Artifact.from_network(mlp(np.random.default_rng(0), 4, 5, 2))
    other = Artifact.from_network(mlp(np.random.default_rng(1), 4, 5, 2))
    with pytest.raises(ParityError, match="Network = ONNX Runtime"):
        require_parity(other.trusted(Semantics.REAL), artifact.session)


def test_depth_does_not_make_the_gate_refuse():
    """Forty layers that keep lengths: an enclosure of a point is useless, its evaluation is not."""
    generator = np.random.default_rng(0)
    layers = [
        Affine(
            np.linalg.qr(generator.normal(size=(16, 16)))[0].astype(np.float32),
            np.zeros(16, np.float32),
        )
        for _ in range(40)
    ]
    network = Network.sequential((16,), layers)
    artifact = Artifact.from_network(network)
    assert max(artifact.parity.differences.values()) < 1e-5
    point = np.full((1, 16), 0.3, np.float32)
    enclosure = artifact.trusted(Semantics.REAL).enclosure(Box(point, point))
    assert np.max(enclosure.upper - enclosure.lower) > 1


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (np.full((2, 3), np.nan), "not finite"),
        (np.full((2, 3), np.inf), "not finite"),
        (np.zeros((2, 2)), "shapes"),
        (np.ones((2, 3)), "differ by 1 "),
    ],
)
def test_outputs_that_differ_are_an_error_and_not_a_warning(wrong, says):
    """NaN, infinity, another shape, another number."""
    with pytest.raises(ParityError, match=says):
        require_agreement("torch = ONNX Runtime", wrong, np.zeros((2, 3)))


def test_an_operator_without_a_torch_form_is_refused():
    """By name."""
    from asi_verify.core.operators import Conv, Operator

    class Odd(Operator):
        def output_shape(self, *inputs):
            return inputs[0]

    with pytest.raises(UnsupportedOperatorError, match="Odd"):
        layer_for(Odd())
    ones = (1, 1, 1, 1)
    four = Conv(
        np.ones((1, 1, *ones), np.float32), np.zeros(1, np.float32), ones, ((0, 0),) * 4, ones
    )
    with pytest.raises(UnsupportedOperatorError, match="4 spatial"):
        layer_for(four)


def test_onnx_runtime_refuses_what_it_cannot_load():
    """With one clear error."""
    with pytest.raises(ModelError, match="cannot load"):
        Session(b"no model")


def test_a_constant_beside_a_single_image_is_run_image_by_image():
    """In a file whose batch is open: what one image is answered, each is."""
    data = model([node("Concat", "k x", axis=1)], (3,), {"k": np.float32([[1]])})
    artifact = Artifact.from_bytes(data)
    points = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    session = Session(data)
    assert not session.has_fixed_batch
    np.testing.assert_array_equal(session.run(points[:1]), [[1, *points[0]]])
    assert not session.has_fixed_batch
    wanted = np.concatenate([np.ones((5, 1), np.float32), points], axis=1)
    np.testing.assert_array_equal(session.run(points), wanted)
    assert session.has_fixed_batch
    np.testing.assert_array_equal(artifact.session.run(points), wanted)


def test_onnx_runtime_refuses_what_it_cannot_run():
    """Neither together nor one by one: an error in words."""
    session = Session(model([node("Gemm", "x w")], (4,), {"w": np.ones((4, 3), np.float32)}))
    for count in (1, 2):
        with pytest.raises(ModelError, match="ONNX Runtime cannot run the model"):
            session.run(np.zeros((count, 5), np.float32))
    assert not session.has_fixed_batch


def test_a_batch_that_is_fixed_to_one_is_run_one_by_one():
    """And gives what a free batch gives."""
    weight = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    fixed, free = (
        Session(model([node("Gemm", "x w")], (4,), {"w": weight}, batch=batch))
        for batch in (1, "N")
    )
    points = probes((4,))
    np.testing.assert_allclose(fixed.run(points), free.run(points), rtol=1e-6)


def test_composition_needs_fitting_shapes():
    """A value of one shape does not go into a network that reads another."""
    first = mlp(np.random.default_rng(0), 4, 5)
    with pytest.raises(ModelError, match="goes into"):
        first.then(mlp(np.random.default_rng(0), 4, 2))
    assert first.then(mlp(np.random.default_rng(0), 5, 2)).logits == 2


def test_networks_that_make_no_sense_cannot_be_made():
    """No operators, values that come later, outputs that are no vector."""
    from asi_verify.core.network import Node

    affine = Affine(np.ones((2, 2), np.float32), np.zeros(2, np.float32))
    with pytest.raises(ModelError, match="no operators"):
        Network((2,), ())
    with pytest.raises(ModelError, match="later"):
        Network((2,), (Node(affine, (1,)),))
    with pytest.raises(ModelError, match="reads 2 values"):
        Network((2,), (Node(affine, (0, 0)),))
    assert LARGER["cnn"](np.random.default_rng(0))
    with pytest.raises(ModelError, match="vector of logits"):
        assert Network.sequential((1, 2, 2), [layer_for_relu()]).logits


def layer_for_relu():
    from asi_verify.core.operators import Relu

    return Relu()


def test_the_exported_file_is_valid_onnx():
    """Other tools can read it."""
    artifact = Artifact.from_network(LARGER["cnn"](np.random.default_rng(0)))
    onnx.checker.check_model(onnx.load_from_string(artifact.data), full_check=True)


def test_a_module_with_gates_and_upsampling_is_exported_as_it_is():
    """What it is lowered to computes what it does, and so does the artifact."""
    torch.manual_seed(0)
    module = Gated().eval()
    network = network_from_torch(module, (1, 8, 8))
    x = torch.rand(5, 1, 8, 8)
    with torch.no_grad():
        wanted = module(x).numpy()
        found = NetworkModule(network)(x).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    artifact = Artifact.from_network(network)
    np.testing.assert_allclose(artifact.session.run(x.numpy()), wanted, atol=1e-4)
