"""Every reference network: exported, certified, trained, bounded."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.zoo import TINY_OPTIONS, dark_and_bright, shape_for, tiny_network

import asi_verify as asi
from asi_verify.bounds import interval_margins
from asi_verify.checker import TrustedPass
from asi_verify.core.evidence import Intermediate
from asi_verify.core.images import encode
from asi_verify.core.k_pixel import KPixel
from asi_verify.core.linf import LInf
from asi_verify.core.operators import Conv, Scale
from asi_verify.core.properties import property_for
from asi_verify.core.reach import MeansReach
from asi_verify.core.semantics import Semantics
from asi_verify.core.verdict import Proved
from asi_verify.data import Dataset, phantom
from asi_verify.errors import UsageError
from asi_verify.export import Artifact, NetworkModule, load_model, network_from_torch
from asi_verify.export.torch_module import is_average
from asi_verify.prove import Crown, CrownIbp, Falsify, Intervals, prove
from asi_verify.repair import CertifiedTraining, OrdinaryTraining, Task
from asi_verify.repair.batch_norm import BatchNormModule
from asi_verify.repair.objective import Objective
from asi_verify.zoo import ARCHITECTURES, build, options_of

FLAT = [name for name in ARCHITECTURES if name != "cnn3d"]
NORMED = [name for name, kind in ARCHITECTURES.items() if kind.batch_norm]


@functools.cache
def started(name, shape, logits=2):
    """The network as ``run`` builds it; exported once."""
    return network_from_torch(tiny_network(name, shape, logits), shape)


def loss(network, samples):
    """The cross-entropy on some images."""
    objective, rows = Objective.of(samples, network.logits), torch.arange(len(samples))
    with torch.no_grad():
        outputs = NetworkModule(network)(torch.from_numpy(encode(samples.images)))
    return float(objective.loss(objective.margins(outputs, rows)))


def verdicts(network, samples, radius, stages):
    """Of every sample, about its label."""
    wanted = [property_for(label, network.logits) for label in samples.labels]
    artifact = Artifact.from_network(network)
    family = LInf.of(radius)
    return prove(artifact, family, samples.images, samples.image_digests, wanted, stages).verdicts


def test_every_reference_network_is_tested_here():
    """A new one has to be given a tiny form."""
    assert set(TINY_OPTIONS) == set(ARCHITECTURES)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize(("side", "channels", "logits"), [(28, 1, 2), (12, 3, 5)])
def test_every_network_becomes_an_artifact_that_agrees_with_it(name, side, channels, logits):
    """With statistics of batch norm as training leaves them, all folded into layers of weights."""
    if name == "cnn3d" and side == 28:
        side = 14
    shape = shape_for(name, side, channels)
    artifact = load_model(tiny_network(name, shape, logits), shape)
    assert artifact.network.logits == logits
    assert max(artifact.parity.differences.values()) < 1e-5
    scales = [i for i, n in enumerate(artifact.network.nodes) if isinstance(n.operator, Scale)]
    # The two of the normalisation, and a transformer's positions.
    assert scales[:2] == [0, 1]
    assert len(scales) == (3 if name == "vit" else 2)


@pytest.mark.parametrize(
    ("name", "shape", "options"),
    [
        ("cnn7", (1, 20), {"width": 2, "hidden": 4}),
        ("resnet18", (1, 8, 8, 8), {"width": 1}),
        ("resnet18", (3, 64, 48), {"width": 1}),
        ("vit", (1, 8, 8, 8), {"patch": 4, "width": 4, "depth": 1, "heads": 1}),
        ("pooled-mlp", (1, 9), {"pool": 3}),
        ("pooled-mlp", (1, 8, 12, 16), {"pool": 4}),
        ("vit", (3, 224, 224), {"patch": 56, "width": 4, "depth": 1, "heads": 1}),
    ],
)
def test_other_dimensions_and_sizes(name, shape, options):
    """One to three spatial axes, and images that are not square."""
    mean, spread = [0.5] * shape[0], [0.2] * shape[0]
    module = build(name, shape, 3, mean=mean, spread=spread, options=options)
    assert load_model(module, shape).network.logits == 3


def test_the_networks_are_those_of_the_literature():
    """Layers of weights and parameters: CNN7 as in Shi et al., ResNets as torchvision counts them.

    With one channel and ten classes; 11,173,962 is the known size of ResNet-18 for 32 pixels with
    three channels, 23,520,842 that of ResNet-50.
    """
    for name, layers, parameters in (
        ("resnet18", 21, 11_173_962),
        ("resnet50", 54, 23_520_842),
        ("cnn7", 7, None),
    ):
        module = build(name, (3, 32, 32), 10, mean=[0.5] * 3, spread=[0.2] * 3)
        weighted = (torch.nn.Conv2d, torch.nn.Linear)
        assert sum(isinstance(m, weighted) for m in module.modules()) == layers
        if parameters is not None:
            assert sum(p.numel() for p in module.parameters()) == parameters
    widths = [m.out_channels for m in module.modules() if isinstance(m, torch.nn.Conv2d)]
    assert widths == [64, 64, 128, 128, 128]


@pytest.mark.parametrize("name", FLAT)
def test_the_phantom_set_gets_a_verdict_for_every_image(name):
    """By falsification, intervals and CROWN-IBP; what is wrong at its centre is refuted."""
    data, _ = phantom(3, samples=(16, 4, 4))
    normed = ARCHITECTURES[name].batch_norm
    training = OrdinaryTraining(epochs=4, batch_size=8, learning_rate=1e-2, batch_norm=normed)
    network = training.train(started(name, data.image_shape), data, seed=0)
    stages = (Falsify(), Intervals(), CrownIbp())
    result = asi.certify(NetworkModule(network), data, "1/2550", stages=stages)
    found = result.folder.read_json("rounds/00/examination.json")["samples"]
    assert len(found) == 16
    assert {entry["verdict"] for entry in found} <= {"proved", "refuted", "undecided"}
    assert all(entry["accepted"] == (entry["verdict"] == "proved") for entry in found)
    wrong = [entry for entry in found if entry["margin"] <= 0]
    assert len(wrong) == result.summary["misclassified"]
    assert all(entry["verdict"] == "refuted" for entry in wrong)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_ordinary_training_learns(name):
    """A few epochs halve the loss on the training images, and averages stay averages."""
    whole = dark_and_bright(shape_for(name))
    # Without a validation split the last epoch is kept.
    data = Dataset(whole.name, whole.task, whole.classes, {"train": whole.split("train")})
    normed = ARCHITECTURES[name].batch_norm
    training = OrdinaryTraining(epochs=12, batch_size=12, learning_rate=1e-2, batch_norm=normed)
    before = started(name, data.image_shape)
    network = training.train(before, data, seed=0)
    assert loss(network, data.split("train")) < 0.5 * loss(before, data.split("train"))
    averages = [n for n in network.nodes if is_average(n.operator)]
    assert len(averages) == (1 if name in {"resnet18", "resnet50", "vit", "pooled-mlp"} else 0)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_certified_training_runs_and_its_claims_are_proved(name):
    """A few epochs of easy images, every one certified; the last proof is the trusted pass's."""
    data = dark_and_bright(shape_for(name))
    normed = ARCHITECTURES[name].batch_norm
    rows = np.arange(24)
    task = Task(data.split("train"), LInf.of("1/255"), rows, rows, seed=0, round=1)
    training = CertifiedTraining(
        epochs=40,
        ramp_steps=10,
        ramp_epochs=4,
        batch_size=12,
        learning_rate=1e-2,
        batch_norm=normed,
        fresh_weights=normed,
    )
    correction = training.attempt(started(name, data.image_shape), task)
    found = verdicts(correction.network, task.samples, "1/255", (Intervals(),))
    proved = sum(isinstance(verdict, Proved) for verdict in found)
    assert proved == correction.screened == 24
    # CROWN gets through every operator as well, and proves no less.
    some = task.samples.take(rows[:3])
    found = verdicts(correction.network, some, "1/255", (Crown(),))
    assert all(isinstance(verdict, Proved) for verdict in found)


@pytest.mark.parametrize("name", ARCHITECTURES)
@settings(max_examples=6, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**16), radius=st.sampled_from([0.0, 1e-3, 0.03, 0.3]))
def test_the_bounds_of_training_contain_what_inputs_give(name, seed, radius):
    """Random inputs, corners among them, of a box around the batch whose statistics are used.

    Up to the rounding of float32, as a share of what the last layer adds up.
    """
    shape = shape_for(name)
    network = started(name, shape, 3)
    module = (BatchNormModule if ARCHITECTURES[name].batch_norm else NetworkModule)(network)
    torch.manual_seed(seed)
    centre = torch.rand(4, *shape)
    lower, upper = (centre - radius).clamp(0, 1), (centre + radius).clamp(0, 1)
    rows = torch.randn(1, 2, 3)
    with torch.no_grad():
        if isinstance(module, BatchNormModule):
            module.measure(centre)
        bounds = interval_margins(module, lower, upper, rows)
        for share in (torch.zeros(1), torch.ones(1), *torch.rand(6, 1), *torch.rand(6, *shape)):
            points = lower + (share if share.ndim == 1 else share.round()) * (upper - lower)
            outputs = module(points)
            reached = outputs @ rows[0].T
            slack = 1e-4 * (1 + outputs.abs().max())
            assert bool((bounds <= reached + slack).all())


@pytest.mark.parametrize("name", NORMED)
def test_the_statistics_that_bounds_use_are_those_of_the_clean_batch(name):
    """In the places of the architecture's own batch norm, and as torch computes it in training."""
    shape = shape_for(name)
    module = build(name, shape, 3, mean=[0.4], spread=[0.2], options=TINY_OPTIONS[name])
    normed = BatchNormModule(network_from_torch(module, shape))
    images = torch.rand(8, *shape)
    with torch.no_grad():
        expected = module.train()(images)
        torch.testing.assert_close(normed.measure(images), expected, atol=2e-3, rtol=2e-3)
        # A box of no size is bounded by what the images themselves give.
        rows = torch.eye(3)[None]
        torch.testing.assert_close(
            interval_margins(normed, images, images, rows), expected, atol=2e-3, rtol=2e-3
        )


def test_a_run_takes_a_network_by_name_and_its_options():
    """And trains it with batch norm where it has it, in both trainings, to the end."""
    data = dark_and_bright(shape_for("cnn7"))
    result = asi.run(
        data,
        "1/255",
        architecture="cnn7",
        options={"width": 2, "hidden": 8},
        ordinary=OrdinaryTraining(epochs=1, batch_size=12, batch_norm=True),
        rounds=1,
        corrector=CertifiedTraining(
            epochs=2, ramp_steps=2, ramp_epochs=1, batch_norm=True, fresh_weights=True
        ),
        stages=(Falsify(), Intervals()),
    )
    operators = [node.operator for node in Artifact.from_bytes(result.artifact).network.nodes]
    assert [len(o.weight) for o in operators if isinstance(o, Conv)] == [2, 2, 4, 4, 4]
    assert result.folder.read_json("run.json")["options"] == {"width": 2, "hidden": 8}


@pytest.mark.parametrize(
    ("name", "shape", "options", "says"),
    [
        ("resnet19", (1, 28, 28), {}, "'resnet19' is not known; small-cnn, cnn7, cnn3d, resnet18"),
        ("resnet18", (1, 28, 28), {"widht": 8}, "has no 'widht'; width .default 64."),
        ("resnet18", (1, 28, 28), {"width": 0}, "width: 0 is not possible"),
        ("resnet18", (1, 28, 28), {"width": True}, "a whole number is expected"),
        ("cnn7", (1, 28, 28), {"width": 1.5}, "a whole number is expected"),
        ("cnn3d", (1, 28, 28), {}, "volumes"),
        ("vit", (1, 28, 28), {"patch": 5}, "5 does not divide images of .28, 28."),
        ("vit", (1, 28, 28), {"heads": 5}, "5 heads do not divide"),
        ("pooled-mlp", (1, 28, 28, 28), {"pool": 5}, "5 does not divide images of .28, 28, 28."),
    ],
)
def test_wrong_names_and_options_are_refused(name, shape, options, says):
    """With the value that was given and what is possible."""
    with pytest.raises(UsageError, match=says):
        build(name, shape, 2, mean=[0.5], spread=[0.2], options=options)


def test_options_are_known_by_name():
    """All are whole numbers."""
    assert options_of("cnn7") == {"width": 64, "hidden": 512}
    assert options_of("vit") == {"patch": 7, "width": 48, "depth": 4, "heads": 4}
    assert options_of("small-cnn") == {"hidden": 256}
    assert options_of("pooled-mlp") == {"pool": 4, "width": 256, "hidden": 64}


def test_an_average_is_not_trained_and_other_convolutions_are():
    """Known by its equal weights, one channel in each group, and no bias."""
    one, none = (1, 1), ((0, 0), (0, 0))
    equal, bias = np.full((3, 1, 2, 2), 0.25, np.float32), np.zeros(3, np.float32)
    average = Conv(equal, bias, one, none, one, groups=3)
    assert is_average(average)
    assert is_average(Conv(np.ones((3, 1, 1, 1), np.float32), bias, one, none, one, groups=3))
    uneven = equal.copy()
    uneven[1, 0, 1, 1] = 0.3
    for other in (
        Conv(uneven, bias, one, none, one, groups=3),
        Conv(equal, bias + np.float32(1), one, none, one, groups=3),
        Conv(equal[:, :, :1, :1].copy(), bias, one, none, one, groups=3),
        Conv(np.full((3, 2, 2, 2), 0.25, np.float32), bias, one, none, one),
    ):
        assert not is_average(other)


def test_few_changed_pixels_are_bounded_over_the_means_of_a_pooled_network():
    """It begins as such networks do that the trusted pass knows, in one to three dimensions."""
    for rank in (1, 2, 3):
        shape = (1, *(8,) * rank)
        trusted = TrustedPass(started("pooled-mlp", shape), Semantics.FLOAT32)
        images, family = np.zeros((1, *shape), np.uint8), KPixel(1, (0, 255))
        reach = family.reach(images)
        bounds = trusted.bounds(family.boxes(images), Intermediate.INTERVAL, reach=reach)
        assert isinstance(bounds.reach, MeansReach)
        assert trusted.network.shapes[bounds.reach.value] == (1, *(2,) * rank)
