"""The public functions: the whole way of the data, on the phantom set and on real images."""

from __future__ import annotations

import json

import numpy as np
import onnxruntime
import pytest
import torch
from support.runs import quick_run, tiny_model, trained
from torch import nn

import asi_verify as asi
from asi_verify.checker import Outcome
from asi_verify.core.images import encode
from asi_verify.data import Dataset, Preprocess, from_arrays, phantom
from asi_verify.errors import (
    CertificateError,
    DataError,
    ModelError,
    RadiusError,
    RunFolderError,
    UnsupportedOperatorError,
    UsageError,
)
from asi_verify.prove import Falsify, Intervals
from asi_verify.repair import CertifiedTraining
from asi_verify.report import build_report
from asi_verify.report.write import render
from asi_verify.store import RunFolder


@pytest.fixture(scope="module")
def phantom_run(tmp_path_factory):
    """A corrected phantom in a folder."""
    data, planted = phantom(0, samples=(120, 30, 30))
    out = tmp_path_factory.mktemp("run") / "out"
    return quick_run(data, epochs=250, out=out), data, planted, out


def test_the_phantom_ends_as_zero_except_its_contradictions(phantom_run):
    """Every sample outside the planted pairs has an accepted certificate; the pairs are named."""
    result, data, planted, out = phantom_run
    pairs = {*planted.dual_labels, *((a, b) for a, b, _ in planted.near)}
    rows = {row for pair in pairs for row in pair}
    assert str(result.status) == f"zero_except({len(rows)})"
    assert {tuple(c["rows"]) for c in result.audit["contradictions"]} == pairs
    checked = asi.check(out, data)
    assert checked.status == result.status
    assert checked.contradictions == rows
    assert set(checked.rows(Outcome.ACCEPTED)) >= set(range(120)) - rows


def test_no_error_is_left_on_what_is_certified(phantom_run):
    """ONNX Runtime gets every certified image right, and every neighbour that is tried."""
    result, data, _, out = phantom_run
    accepted = asi.check(out, data).rows(Outcome.ACCEPTED)
    session = onnxruntime.InferenceSession(result.artifact, providers=["CPUExecutionProvider"])
    samples = data.split("train")
    images, labels = samples.images[accepted], samples.labels[accepted]
    generator = np.random.default_rng(0)
    for _ in range(20):
        moved = images.astype(int) + generator.integers(-1, 2, images.shape)
        inputs = encode(np.clip(moved, 0, 255).astype(np.uint8))
        answers = session.run(None, {"image": inputs})[0].argmax(axis=1)
        np.testing.assert_array_equal(answers, labels)


def test_the_corrected_model_is_the_artifact(phantom_run):
    """As torch module, as bytes and as file: one model."""
    result, data, _, out = phantom_run
    assert (out / "certificates" / "artifact.onnx").read_bytes() == result.artifact
    inputs = encode(data.split("test").images)
    session = onnxruntime.InferenceSession(result.artifact, providers=["CPUExecutionProvider"])
    with torch.no_grad():
        ours = result.model(torch.from_numpy(inputs)).numpy()
    np.testing.assert_allclose(ours, session.run(None, {"image": inputs})[0], atol=1e-4)


def test_a_result_can_be_loaded_saved_and_checked_again(phantom_run, tmp_path):
    """The folder is the result."""
    result, data, _, out = phantom_run
    again = asi.load(out)
    assert (again.status, again.digest, again.summary) == (
        result.status,
        result.digest,
        result.summary,
    )
    assert again.bugs == result.bugs
    copied = asi.load(again.save(tmp_path / "copy"))
    assert asi.check(tmp_path / "copy", data).status == result.status
    assert copied.claims == result.claims
    assert result.digest[:12] in repr(copied)


def test_bugs_are_closed_only_by_accepted_certificates(phantom_run):
    """Each certified bug names a certificate that is in the folder."""
    result, data, _, out = phantom_run
    digests = asi.check(out, data).digests
    closed = [bug for bug in result.bugs if bug.state.value == "certified"]
    assert all(bug.events[-1].certificate == digests[bug.row] for bug in closed)
    assert all(bug.is_closed for bug in result.bugs)


def test_the_same_seed_gives_the_same_digests(phantom_run):
    """Of the artifact and of every certificate."""
    result, data, _, out = phantom_run
    again = quick_run(data, epochs=250)
    assert again.digest == result.digest
    names = [n for n in again.folder.files.names() if n.startswith("certificates/0")]
    assert names
    for name in names:
        assert again.folder.files.require(name) == (out / name).read_bytes()


def test_the_same_seed_gives_the_same_digests_in_the_same_order_of_classes(phantom_run):
    """Nothing depends on the order in which Python walks a set."""
    result, _, planted, _ = phantom_run
    assert [tuple(c["rows"]) for c in result.audit["contradictions"]] == sorted(
        {*planted.dual_labels, *((a, b) for a, b, _ in planted.near)}
    )


def test_certifying_changes_nothing_about_the_model(phantom_run):
    """A corrected artifact is certified again as it is: the same digest, accepted again."""
    result, data, _, _ = phantom_run
    again = asi.certify(result.artifact, data)
    assert again.digest == result.digest
    assert again.status == result.status
    assert asi.certify(result.artifact, data, stages=[Intervals()]).status == result.status


def test_other_splits_and_predictions_can_be_certified(phantom_run):
    """Stability of whatever the model answers on the test split."""
    result, data, _, _ = phantom_run
    found = asi.certify(result.artifact, data, split="test", target="prediction")
    assert found.claims.dataset.split == "test"
    assert found.claims.dataset.target == "prediction"
    assert found.status.contradictions == 0


def test_stable_answers_are_not_called_right():
    """About predictions nothing is set aside, and the headline counts what is misclassified."""
    images = np.repeat(np.array([40, 40, 200, 200], np.uint8), 64).reshape(4, 8, 8)
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    with torch.no_grad():
        module[1].weight[:] = 0
        module[1].bias[:] = torch.tensor([1.0, 0.0])
    data = from_arrays(images, [0, 1, 1, 1])
    exact = Preprocess()
    found = asi.certify(module, data, target="prediction", preprocess=exact)
    assert str(found.status) == "zero"
    assert not found.audit["contradictions"]
    headline = build_report(found.folder)["headline"]
    assert headline.startswith("Stable answers, right or wrong")
    assert headline.endswith("3 of them are misclassified.")
    assert asi.certify(module, data, preprocess=exact).status.contradictions == 2


def test_a_folder_does_not_go_on_with_other_data_or_other_stages(tmp_path):
    """The same shapes and names are not the same data; a name of a stage is not its settings."""
    images = np.repeat(np.array([40, 40, 200, 200], np.uint8), 64).reshape(4, 8, 8)
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).eval()
    labels = [0, 0, 1, 1]

    def ask(pixels, stages=None):
        contract = Preprocess()
        return asi.certify(
            module, (pixels, labels), out=tmp_path, stages=stages, preprocess=contract
        )

    ask(images)
    ask(images)
    for pixels, stages in ((255 - images, None), (images, [Falsify()])):
        with pytest.raises(RunFolderError, match="other"):
            ask(pixels, stages)
    assert Falsify(steps=7).settings() != Falsify().settings()
    assert Falsify(steps=7).settings()["name"] == "falsify"


def test_a_users_torch_module_is_corrected_and_not_touched():
    """The corrected model is another object; the radius may be a float."""
    data, _ = phantom(5, samples=(40, 10, 10), duplicates=0, across=0, dual_labels=0, near=())
    module = trained(data)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    corrector = CertifiedTraining(epochs=3, ramp_steps=1, ramp_epochs=1)
    result = asi.correct(module, data, radius=1 / 255, corrector=corrector, rounds=1)
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert result.model is not module
    assert result.claims.family.to_json()["radius"] == "1/255"


def test_not_reaching_zero_is_a_result_like_any_other():
    """The budget ends; the status says how many are open, and the bugs stay open."""
    data, _ = phantom(6, samples=(40, 10, 10), duplicates=0, across=0, dual_labels=0, near=())
    corrector = CertifiedTraining(epochs=1, ramp_steps=1, ramp_epochs=1)
    result = asi.correct(
        trained(data), data, "20/255", corrector=corrector, rounds=2, stages=[Intervals()]
    )
    assert result.status.open > 0
    assert not result.status.is_zero
    assert result.folder.read_json("rounds/02/round.json")["open"]


def test_a_preprocessing_contract_is_part_of_what_is_proved():
    """A model of brightness that reads [0, 255] is certified on [0, 1] through its contract."""
    images = np.repeat(np.uint8([60, 180, 180, 60, 180]), 64).reshape(5, 8, 8)
    data = from_arrays(images, [0, 1, 1, 0, 1])
    brightness = nn.Linear(64, 2)
    with torch.no_grad():
        brightness.weight[:] = torch.tensor([[0.0], [1 / 64]]).expand(2, 64)
        brightness.bias[:] = torch.tensor([0.0, -120.0])
    module = nn.Sequential(nn.Flatten(), brightness)
    with pytest.raises(ModelError, match=r"40\.0%.*60\.0%.*preprocess=Preprocess"):
        asi.certify(module, data)
    assert str(asi.certify(module, data, preprocess=Preprocess(scale=255)).status) == "zero"
    assert (
        str(asi.certify(module, data, "59/255", preprocess=Preprocess(scale=255)).status) == "zero"
    )
    beyond = asi.certify(module, data, "61/255", preprocess=Preprocess(scale=255))
    assert beyond.status.contradictions == 5


def small():
    data, _ = phantom(8, samples=(20, 4, 4), duplicates=0, across=0, dual_labels=0, near=())
    return data


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda d: asi.certify(tiny_model(d), d, radius=-1), RadiusError, "negative"),
        (lambda d: asi.certify(tiny_model(d), d, radius=200), RadiusError, "half the pixel range"),
        # Before a data set is read.
        (lambda _: asi.certify("m.onnx", "nowhere", "much"), RadiusError, "much"),
        (lambda _: asi.plan("m.onnx", "nowhere", "much"), RadiusError, "much"),
        (lambda _: asi.audit_dataset("nowhere", radius="much"), RadiusError, "much"),
        (lambda _: asi.correct("m.onnx", "nowhere", "much"), RadiusError, "much"),
        (lambda _: asi.run("nowhere", "much"), RadiusError, "much"),
        (lambda d: asi.certify(tiny_model(d), d, split="vall"), DataError, "no split 'vall'"),
        (lambda d: asi.certify(tiny_model(d), d, target="truth"), UsageError, "target"),
        (
            lambda d: asi.certify(nn.Sequential(nn.Flatten(), nn.Linear(784, 2), nn.SELU()), d),
            UnsupportedOperatorError,
            "Selu",
        ),
        (lambda d: asi.certify(nn.Linear(3, 2), d), ModelError, "does not take"),
        (lambda d: asi.certify("nowhere.onnx", d), ModelError, "no such file"),
        (lambda d: asi.certify(b"no model", d), ModelError, "not an ONNX"),
        (lambda d: asi.certify(tiny_model(d), "nowhere"), DataError, "nowhere"),
        (
            lambda d: asi.certify(tiny_model(d), (np.full((4, 28, 28), np.nan), [0, 1, 0, 1])),
            DataError,
            "NaN",
        ),
        (
            lambda d: asi.certify(tiny_model(d), (np.zeros((4, 28, 28), np.uint8), [0, 1, 0, 7])),
            ModelError,
            "label is 7",
        ),
        (
            lambda d: asi.certify(tiny_model(d), (np.zeros((4, 28, 28), np.uint8), [0, -1, 0, 1])),
            DataError,
            "label of row 1 is -1",
        ),
        (
            lambda d: asi.certify(tiny_model(d), (np.zeros((4, 9, 9), np.uint8), [0, 1, 0, 1])),
            ModelError,
            "does not take",
        ),
        (lambda d: asi.run(d, architecture="huge-net"), UsageError, "small-cnn"),
        (
            lambda d: asi.run(d, options={"width": 4}),
            UsageError,
            "small-cnn has no 'width'; hidden",
        ),
        (lambda d: asi.load("nowhere"), RunFolderError, "no such folder; this is not"),
        (lambda d: asi.check("nowhere"), CertificateError, "no such folder"),
    ],
)
def test_wrong_use_gets_one_clear_error(call, error, says):
    """With the value that was given and the remedy."""
    with pytest.raises(error, match=says) as refusal:
        call(small())
    assert "\n" not in str(refusal.value)
    assert isinstance(refusal.value, UsageError)


def calls(out):
    """Every public function that writes a run folder, with data that it would have to read."""
    model = torch.nn.Identity()
    return [
        lambda data: asi.certify(model, data, out=out),
        lambda data: asi.correct(model, data, out=out),
        lambda data: asi.run(data, out=out),
        lambda data: asi.search(data, budget=40, out=out),
    ]


@pytest.mark.parametrize("number", range(4))
def test_a_folder_of_somebody_elses_is_refused_before_the_data_are_read(tmp_path, number):
    """Reading them can take minutes; and where they cannot be read, no folder is left behind."""
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(RunFolderError, match=r"thesis\.txt"):
        calls(tmp_path)[number]("nowhere")
    with pytest.raises(DataError, match="nowhere"):
        calls(tmp_path / "out")[number]("nowhere")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_model_that_is_refused_leaves_no_folder_behind(tmp_path):
    """So that the same folder can be given again, with the remedy that the error names."""
    data, out = small(), tmp_path / "out"
    inverted = nn.Sequential(nn.Flatten(), nn.Linear(784, 2))
    with torch.no_grad():
        inverted[1].weight.zero_()
        inverted[1].bias[:] = torch.tensor([0.0, 0.0])
    for ask in (asi.certify, asi.correct):
        for model, says in (("nowhere.onnx", "no such file"), (inverted, "preprocess=Preprocess")):
            with pytest.raises(ModelError, match=says):
                ask(model, data, out=out)
        assert not out.exists()


def test_a_check_says_that_the_run_is_not_finished(tmp_path):
    """Before there are any certificates; not that a file of them is missing."""
    RunFolder.at(tmp_path).configure({"kind": "run"})
    with pytest.raises(CertificateError, match=r"the run is not finished .* start it again"):
        asi.check(tmp_path)


def test_a_model_with_several_labels_is_certified():
    """Every decision on its side."""
    images = np.random.default_rng(0).integers(0, 256, (10, 28, 28), dtype=np.uint8)
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(784, 3)).eval()
    with torch.no_grad():
        outputs = module(torch.from_numpy(encode(images[:, None]))).numpy()
    # By more than float32 may round.
    clear = np.abs(outputs).min(axis=1) > 0.01
    images, outputs = images[clear], outputs[clear]
    assert len(images) > 5
    data = from_arrays(images, (outputs > 0).astype(int))
    result = asi.certify(module, data, radius=0)
    assert str(result.status) == "zero"
    flipped = from_arrays(images, 1 - (outputs > 0).astype(int))
    found = asi.certify(module, flipped, radius=0, preprocess=Preprocess())
    assert found.status.open == len(images)


def test_changed_pixels_are_certified_and_reported(tmp_path):
    """Black and white images: at most one pixel flips; what the report says names it."""
    generator = np.random.default_rng(0)
    images = (generator.random((16, 28, 28)) < 0.5).astype(np.uint8) * 255
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(784, 2)).eval()
    with torch.no_grad():
        labels = module(torch.from_numpy(encode(images[:, None]))).argmax(dim=1).numpy()
    data = from_arrays(images, labels)
    result = asi.certify(module, data, "1 pixel", preprocess=Preprocess(), out=tmp_path / "out")
    assert 0 < result.status.open < 16
    checked = asi.check(tmp_path / "out", data)
    assert checked.claims.family == asi.KPixel(1, (0, 255))
    assert checked.status == result.status
    report = build_report(result.folder)
    assert "with up to 1 pixel changed" in report["headline"]
    assert "at most 1 pixel differ from the image's" in report["statements"]["proved"]
    page = render(report, data)
    assert "at most 1 pixel changed, to 2 grey levels" in page
    for call in (asi.correct, lambda *given: asi.run(given[1], given[2])):
        with pytest.raises(RadiusError, match="1 pixel"):
            call(module, data, "1 pixel")
    floats = from_arrays(images.astype(np.float32) / 255, labels)
    with pytest.raises(DataError, match="8-bit"):
        asi.certify(module, floats, "1 pixel", preprocess=Preprocess())


def test_a_check_of_arrays_needs_the_arrays(tmp_path):
    """A folder does not hold the images; it says so."""
    data = small()
    plain = Dataset("mine", data.task, data.classes, data.splits)
    asi.certify(trained(data), plain, out=tmp_path / "out", stages=[Intervals()])
    with pytest.raises(DataError, match="pass the data set along"):
        asi.check(tmp_path / "out")
    assert asi.check(tmp_path / "out", plain).status is not None


def test_a_check_finds_the_phantom_by_its_name(tmp_path):
    """A named set is made or found again."""
    data, _ = phantom(0)
    asi.certify(trained(data, epochs=4), data, out=tmp_path / "out", stages=[Intervals()])
    assert asi.check(tmp_path / "out").status is not None
    assert asi.check(tmp_path / "out" / "certificates", data).status is not None
    with pytest.raises(CertificateError, match="does not say"):
        asi.check(tmp_path / "out" / "certificates")


def test_a_finished_run_is_not_done_again(tmp_path):
    """Another call with the same settings reads it; with other settings it is refused."""
    data, module = small(), trained(small())
    first = asi.certify(module, data, out=tmp_path / "out", stages=[Intervals()])
    events = first.folder.files.require("events.jsonl")
    again = asi.certify(module, data, out=tmp_path / "out", stages=[Intervals()])
    assert again.folder.files.require("events.jsonl") == events
    with pytest.raises(RunFolderError, match="give another folder"):
        asi.certify(module, data, "2/255", out=tmp_path / "out", stages=[Intervals()])


def test_no_file_of_a_run_holds_pixels(tmp_path):
    """But for the report's pictures, which can be left out."""
    data = small()
    asi.certify(trained(data), data, out=tmp_path / "out", stages=[Intervals()])
    image = data.split("train").images[3].tobytes()
    encoded = json.dumps(data.split("train").images[3].tolist())[1:200]
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert image not in content
            assert encoded.encode() not in content


def test_the_package_lists_what_it_has():
    """Lazily, and nothing else."""
    assert set(asi.__all__) <= set(dir(asi))
    for name in asi.__all__:
        assert getattr(asi, name) is not None
    with pytest.raises(AttributeError, match="nothing_like_this"):
        _ = asi.nothing_like_this
