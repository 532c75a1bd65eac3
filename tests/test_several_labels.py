"""Several decisions per image, and a single logit: from training to the checked report."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from support.runs import quick_run

import asi_verify as asi
from asi_verify.checker import Outcome
from asi_verify.core.images import encode
from asi_verify.data import Dataset, Samples, Task
from asi_verify.export import NetworkModule, network_from_torch
from asi_verify.repair import CertifiedTraining, OrdinaryTraining
from asi_verify.report import build_report
from asi_verify.report.write import render
from asi_verify.zoo import SmallCNN

NAMES = ("above", "below", "streak")
ORDINARY = OrdinaryTraining(epochs=8, batch_size=8, learning_rate=3e-3)
CERTIFIED = CertifiedTraining(
    epochs=150, ramp_steps=60, ramp_epochs=10, batch_size=16, learning_rate=3e-3
)


def images_of(labels, generator):
    """8 x 8 pixels: a bright spot in the upper half, one in the lower half, a bright column."""
    images = generator.normal(90, 6, (len(labels), 1, 8, 8))
    for image, (above, below, streak) in zip(images[:, 0], labels.tolist(), strict=True):
        image[1:3, 1:4] += 80 * above
        image[5:7, 1:4] += 80 * below
        image[:, 6] += 80 * streak
    return np.clip(np.rint(images), 0, 255).astype(np.uint8)


def findings(contradicting=False):
    """A small phantom of three findings, the last of them rare, in any combination."""
    generator = np.random.default_rng(3)
    splits = {}
    for split, count in (("train", 48), ("val", 16), ("test", 16)):
        labels = (generator.random((count, 3)) < [0.5, 0.5, 0.15]).astype(np.int64)
        images = images_of(labels, generator)
        if contradicting and split == "train":
            # The same image but for a grey level, and one decision of three another.
            images[9] = images[4] + 1
            labels[9] = labels[4] ^ [0, 1, 0]
        splits[split] = Samples(images, labels)
    return Dataset("findings", Task.MULTI_LABEL, NAMES, splits)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """``run`` on the findings, in a folder."""
    out, data = tmp_path_factory.mktemp("several") / "out", findings()
    result = asi.run(
        data,
        options={"hidden": 32},
        # Short, so that it leaves errors to correct.
        ordinary=OrdinaryTraining(epochs=1, batch_size=8),
        corrector=CERTIFIED,
        rounds=2,
        out=out,
    )
    return result, data, out


def test_a_run_ends_at_zero_and_the_checker_accepts_it(whole_run):
    """Trained, corrected, proved and checked: every image in every decision."""
    result, data, out = whole_run
    assert str(result.status) == "zero"
    checked = asi.check(out, data)
    assert checked.status == result.status
    assert checked.rows(Outcome.ACCEPTED) == list(range(48))


def test_no_neighbour_is_on_the_wrong_side_in_any_decision(whole_run):
    """As ONNX Runtime answers on random neighbours of the images, logit by logit."""
    result, data, _ = whole_run
    samples = data.split("train")
    session = onnxruntime.InferenceSession(result.artifact, providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(0)
    for _ in range(20):
        moved = samples.images.astype(int) + generator.integers(-1, 2, samples.images.shape)
        inputs = encode(np.clip(moved, 0, 255).astype(np.uint8))
        logits = session.run(None, {"image": inputs})[0]
        np.testing.assert_array_equal(logits > 0, samples.labels == 1)


def test_the_report_names_decisions(whole_run):
    """The names of those that are 1, and none where there is none."""
    result, data, _ = whole_run
    report = build_report(result.folder)
    assert report["headline"].startswith("Zero repeatable errors: each of 48 images")
    assert report["dataset"]["task"] == "multi-label"
    wrong = report["before"]["misclassified"]
    assert wrong > 0
    first = [bug for bug in report["bugs"] if bug["kind"] == "misclassified"]
    assert len(first) == wrong
    assert all(bug["state"] == "certified" for bug in report["bugs"])
    assert all(len(bug["label"]) == len(bug["prediction"]) == 3 for bug in report["bugs"])
    page = render(report, data)
    chosen = [name for name, yes in zip(NAMES, first[0]["label"], strict=True) if yes]
    assert f"<td>{', '.join(chosen) or 'none'}</td>" in page


def test_one_differing_decision_is_a_contradiction(tmp_path):
    """The two images leave the loss and are named; every other one is certified."""
    data = findings(contradicting=True)
    result = quick_run(data, epochs=150, out=tmp_path / "out")
    assert str(result.status) == "zero_except(2)"
    (pair,) = result.audit["contradictions"]
    assert pair["rows"] == [4, 9]
    assert [a ^ b for a, b in zip(*pair["labels"], strict=True)] == [0, 1, 0]
    accepted = set(asi.check(tmp_path / "out", data).rows(Outcome.ACCEPTED))
    assert accepted >= set(range(48)) - {4, 9}
    # No model is right on both, so at most one of them has a certificate.
    assert len(accepted & {4, 9}) <= 1


def test_a_model_with_one_logit_is_corrected():
    """Above 0 for class 1: trained in the ordinary way, corrected, proved and checked."""
    several = findings()
    splits = {
        name: Samples(samples.images.copy(), samples.labels[:, 0].copy())
        for name, samples in several.splits.items()
    }
    data = Dataset("above", Task.BINARY, ("no", "yes"), splits)
    torch.manual_seed(0)
    module = SmallCNN(data.image_shape, 1, [0.4], [0.15], (4, 6), 16)
    network = ORDINARY.train(network_from_torch(module, data.image_shape), data, 0)
    result = asi.correct(NetworkModule(network), data, corrector=CERTIFIED, rounds=1)
    assert str(result.status) == "zero"
    inputs = torch.from_numpy(encode(data.split("train").images))
    with torch.no_grad():
        answers = result.model(inputs)[:, 0].numpy() > 0
    np.testing.assert_array_equal(answers, data.split("train").labels == 1)
