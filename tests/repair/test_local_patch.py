"""The local patch: what it memorises, what it must not touch, and that no headline counts it."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from fractions import Fraction
from functools import cache

import jsonschema
import numpy as np
import pytest

import asi_verify as asi
from asi_verify.attest import STATEMENT_FILE, predicate_schema, verify
from asi_verify.audit import audit
from asi_verify.bugs import closing_round
from asi_verify.checker import Outcome, check_files
from asi_verify.checker.command import summary
from asi_verify.core.bug import BugState
from asi_verify.core.images import encode
from asi_verify.core.linf import LInf
from asi_verify.core.local_patch import LocalPatches, parted, patched
from asi_verify.core.network import Network
from asi_verify.core.operators import Affine, Relu, Reshape
from asi_verify.data import Dataset, Samples, Task
from asi_verify.errors import UsageError
from asi_verify.export import Artifact
from asi_verify.lowering import read_network, write_artifact
from asi_verify.prove import Intervals
from asi_verify.repair import Correction, Corrector, LocalPatch, Loop, Subject, examine
from asi_verify.repair import Task as RepairTask
from asi_verify.report import build_report, report_schema
from asi_verify.report.write import render
from asi_verify.store import RunFolder

module_loop = importlib.import_module("asi_verify.repair.loop")

FAMILY = LInf.of("1/255")
WRONG = [7, 50]
"""Rows whose label is another than the brightness says."""


@cache
def levels(wrong=tuple(WRONG), count=200):
    """Dark and bright images of 4 x 4 pixels, far apart, with some labels that are wrong."""
    generator = np.random.default_rng(0)
    splits = {}
    for name, n in (("train", count), ("val", 20), ("test", 40)):
        bright = np.arange(n) % 2
        images = generator.integers(20, 60, (n, 1, 4, 4)) + 120 * bright[:, None, None, None]
        labels = bright.copy()
        if name == "train":
            labels[list(wrong)] ^= 1
        splits[name] = Samples(images.astype(np.uint8), labels)
    return Dataset("levels", Task.BINARY, ("dark", "bright"), splits)


def by_brightness(steepness=4.0):
    """Two logits that tell dark from bright, with a hidden layer."""
    mean = np.full((1, 16), 1 / 16, np.float32)
    hidden = Affine(np.concatenate([mean, -mean]), np.float32([-0.35, 0.35]))
    last = Affine(np.float32(steepness) * np.float32([[-1, 1], [1, -1]]), np.zeros(2, np.float32))
    return Network.sequential((1, 4, 4), (Reshape((16,)), hidden, Relu(), last))


def too_dark():
    """The network that is to be corrected: it calls half of the bright images dark."""
    network = by_brightness()
    nodes = list(network.nodes)
    last = nodes[-1].operator
    nodes[-1] = replace(nodes[-1], operator=replace(last, bias=np.float32([2.204, 0])))
    return Network(network.input_shape, tuple(nodes))


class Given(Corrector):
    """Stands for trainings that end with known networks, one in each round."""

    kind = "given"

    def __init__(self, *networks):
        self.networks = networks
        self.seen = []

    def attempt(self, network, task, checkpoints=None, progress=None):
        self.seen.append(write_artifact(network))
        epoch = {"epoch": 1, "radius_share": 1.0, "certified": 0}
        return Correction(self.networks[task.round - 1], 1, 0, (epoch,))

    def settings(self):
        return {"corrector": "given"}


def corrected(memorise=2, wrong=tuple(WRONG), **options):
    return asi.correct(
        write_artifact(too_dark()),
        levels(wrong),
        **{"corrector": Given(by_brightness()), "rounds": 1, "last_layer": 0}
        | {"memorise": memorise}
        | options,
    )


@pytest.fixture(scope="module")
def result():
    return corrected()


@pytest.fixture(scope="module")
def report(result):
    return build_report(result.folder)


def test_open_samples_are_memorised_and_named_as_exceptions(result):
    """Every region is certified; the status, the figures and the claims name the two apart."""
    assert str(result.status) == "zero_except(0 contradictions, 2 memorised)"
    assert result.memorised == WRONG
    assert result.handed_over == []
    assert result.summary["accepted"] == 198
    assert result.summary["open"] == 0
    assert result.claims.memorised == tuple(WRONG)
    train = levels().split("train")
    checked = check(result)
    assert checked.memorised == set(WRONG)
    assert str(checked.status) == str(result.status)
    assert checked.holds
    assert len(checked.rows(Outcome.ACCEPTED)) == len(train)
    assert summary(checked)["memorised"] == WRONG
    assert result.summary["misclassified"] == 0


def check(result, folder=None):
    train = levels().split("train")
    files = (folder or result.folder).files
    return check_files(
        lambda name: files.require("certificates/" + name), train.images, train.labels
    )


def test_beyond_the_collars_the_model_is_the_base_bit_for_bit(result):
    """Random inputs, the other splits, and every image that is not memorised."""
    base = Artifact.from_network(by_brightness())
    final = Artifact.from_bytes(result.artifact)
    data = levels()
    others = np.delete(np.arange(200), WRONG)
    inputs = [encode(data.split("train").images[others])]
    inputs += [encode(data.split(name).images) for name in ("val", "test")]
    inputs += [np.random.default_rng(1).random((500, 1, 4, 4), np.float32)]
    for points in inputs:
        assert final.session.run(points).tobytes() == base.session.run(points).tobytes()
    memorised = encode(data.split("train").images[WRONG])
    assert np.all(
        final.session.run(memorised).argmax(axis=1) != base.session.run(memorised).argmax(axis=1)
    )
    part = parted(final.network)
    assert part is not None
    assert write_artifact(part[0]) == write_artifact(base.network)
    assert result.summary["after"]["accuracy"]["test"] == 1.0


def test_the_report_counts_them_nowhere_and_lists_them_by_number(report, result):
    """Headline, figures, a heading of their own; errors name the corrector that closed them."""
    jsonschema.validate(report, report_schema())
    assert report["status"] == str(result.status)
    assert "except 2 memorised images: each of the other 198 images" in report["headline"]
    assert report["memorised"] == WRONG
    assert report["after"]["accepted"] == report["certificates"]["accepted"] == 198
    page = render(report, None)
    assert "Memorised exceptions" in page
    assert "rows 7, 50" in page
    assert "memorised images 7, 50" in page
    bugs = {bug["row"]: bug for bug in report["bugs"]}
    assert all(bugs[row]["closed_by"] == "local-patch" for row in WRONG)
    assert bugs[7]["trace"][-1]["detail"] == "certificate accepted; closed by local-patch"
    by_training = [row for row in bugs if row not in WRONG]
    assert len(by_training) > 10
    assert all(bugs[row]["closed_by"] == "given" for row in by_training)
    assert report["closed_by"] == [
        {"closed": len(by_training), "corrector": "given"},
        {"closed": 2, "corrector": "local-patch"},
    ]
    assert [entry["closed"] for entry in report["rounds"]] == [len(by_training), 2]


def test_it_is_off_unless_it_is_asked_for():
    """Two samples stay open and are handed over."""
    without = corrected(0)
    assert str(without.status) == "open(2)"
    assert without.memorised == []
    assert without.handed_over == WRONG
    assert without.claims.memorised == ()
    assert without.folder.read_json("rounds/01/local_patch.json") is None
    page = render(build_report(without.folder), None)
    assert "Memorised exceptions" not in page
    assert "Handed over to the guard" in page
    assert "rows 7, 50" in page


def test_what_the_budget_does_not_cover_is_handed_over():
    """The two that lack least are taken; open and memorised are told together."""
    some = corrected(2, (7, 50, 91))
    assert str(some.status).startswith("open(1, 2 memorised)")
    assert len(some.handed_over) == 1
    assert sorted(some.memorised + some.handed_over) == [7, 50, 91]
    report = build_report(some.folder)
    jsonschema.validate(report, report_schema())
    assert report["headline"].endswith("2 memorised images not counted.")
    assert report["handed_over"] == some.handed_over
    (told,) = report["rounds"][0]["left"]
    assert told["row"] == some.handed_over[0]
    assert "at most 2" in told["reason"]


@pytest.mark.parametrize(
    ("memorise", "says"),
    [(3, "at most 2 of 200 samples"), (-1, "0 or more"), (1.0, "0 or more"), (True, "0 or more")],
)
def test_more_than_one_in_a_hundred_is_refused(memorise, says, tmp_path):
    """Before anything is written; and whoever goes around the public functions gets no more."""
    with pytest.raises(UsageError, match=says):
        corrected(memorise, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    train = levels((7, 50, 91)).split("train")
    task = RepairTask(train, FAMILY, np.arange(200), np.array([7, 50, 91]), 0, 1)
    correction = LocalPatch(100).attempt(by_brightness(), task)
    assert len(correction.effect["repaired"]) == 2


def attempt(images, labels, open_, family=FAMILY, network=None, most=5):
    """Of samples among so many copies of the last one that five may be memorised."""
    count = 500 - len(images)
    images, labels = np.array(images, np.uint8), np.array(labels)
    samples = Samples(
        np.concatenate([images, np.repeat(images[-1:], count, axis=0)]),
        np.concatenate([labels, np.repeat(labels[-1:], count, axis=0)]),
    )
    task = RepairTask(samples, family, np.arange(500), np.array(open_), 0, 1)
    return LocalPatch(most).attempt(network or by_brightness(), task), samples


def flat(level, other=None):
    image = np.full((1, 4, 4), level)
    image[0, 0, 0] = level if other is None else other
    return image


def test_regions_that_all_but_meet_are_left_open():
    """Between two labels there must be room for two collars; where there is, both are right."""
    images, labels = [flat(50), flat(50, 51), flat(50, 53), flat(200)], [1, 0, 0, 1]
    near = LInf.of(Fraction(49, 100 * 255))
    correction, _ = attempt(images, labels, [0], near)
    assert correction.effect["repaired"] == []
    ((told),) = correction.effect["left"]
    assert told["row"] == 0
    assert "row 1" in told["reason"]
    less = LInf.of(Fraction(45, 100 * 255))
    correction, samples = attempt(images, labels, [0], less)
    assert correction.effect == {
        "left": [],
        "reason": "1 of 1 open samples memorised",
        "repaired": [0],
    }
    found = parted(correction.network)
    assert found is not None
    assert found[1].reached_by(less, samples.images)[:, 0].tolist() == [True, *[False] * 499]


def test_a_region_that_was_certified_is_never_touched():
    """Nor one of the same label: it would then rest on the patch."""
    images, labels = [flat(50), flat(51), flat(40), flat(200)], [1, 1, 0, 1]
    correction, _ = attempt(images, labels, [0])
    assert correction.effect["repaired"] == []
    assert "row 1" in correction.effect["left"][0]["reason"]
    correction, _ = attempt(images, labels, [0, 1])
    assert correction.effect["repaired"] == [0, 1]


def test_what_two_patches_reach_counts_once_and_equal_images_are_all_memorised():
    """Three of one label with regions that meet: a budget of two is too small for any of them."""
    images, labels = [flat(50), flat(50), flat(51), flat(200)], [1, 1, 1, 1]
    correction, _ = attempt(images, labels, [0, 1, 2], most=2)
    assert correction.effect["repaired"] == []
    correction, _ = attempt(images, labels, [0, 1, 2], most=3)
    assert correction.effect["repaired"] == [0, 1, 2]


@pytest.mark.parametrize(
    ("labels", "logits"),
    [([2, 0], 3), ([1, 0], 1), ([[0, 1, 1], [1, 0, 0]], 3)],
    ids=["three classes", "one logit", "decisions"],
)
def test_other_kinds_of_labels_are_memorised(labels, logits):
    """The bonus raises every row of the property."""
    weight = np.zeros((logits, 16), np.float32)
    bias = np.float32([3, 0, 0])[:logits] if logits > 1 else np.float32([-3])
    if labels[1] == [1, 0, 0]:
        bias = np.float32([3, -1, -1])
    network = Network.sequential((1, 4, 4), (Reshape((16,)), Affine(weight, bias)))
    correction, samples = attempt([flat(50), flat(200)], labels, [0], network=network)
    assert correction.effect["repaired"] == [0]
    outputs = Artifact.from_network(correction.network).session.run(encode(samples.images[:2]))
    assert np.array_equal(outputs[1], bias)
    answer = outputs[0] > 0 if logits == 1 or np.ndim(labels[0]) else [outputs[0].argmax()]
    assert np.array_equal(answer, np.atleast_1d(labels[0]))


def test_a_network_without_bounds_is_left_alone():
    """No bonus beats an unknown bound."""
    network = by_brightness(2.0**125)
    correction, _ = attempt([flat(50), flat(200)], [1, 1], [0], network=network)
    assert correction.network is network
    assert "no bound" in correction.effect["left"][0]["reason"]


def test_a_patch_too_large_for_a_limit_is_not_made(monkeypatch):
    """What stays open says so."""
    graph = importlib.import_module("asi_verify.lowering.graph")
    monkeypatch.setattr(graph, "MOST_OPERATORS", 8)
    correction, _ = attempt([flat(50), flat(200)], [1, 1], [0])
    assert correction.effect["repaired"] == []
    assert "more than 8 operators" in correction.effect["left"][0]["reason"]


def test_the_same_question_gives_the_same_artifact():
    """To the byte; and the network that was given is not changed."""
    images, labels = [flat(50), flat(200)], [1, 1]
    base = by_brightness()
    before = write_artifact(base)
    first, again = (attempt(images, labels, [0], network=base)[0] for _ in range(2))
    assert write_artifact(first.network) == write_artifact(again.network) != before
    assert write_artifact(base) == before


def test_a_model_with_patches_that_is_certified_again_still_says_so(result):
    """Whoever takes the artifact alone cannot make its exceptions a zero."""
    again = asi.certify(result.artifact, levels())
    assert str(again.status) == "zero_except(0 contradictions, 2 memorised)"
    assert again.memorised == WRONG
    report = build_report(again.folder)
    assert "2 memorised images" in report["headline"]
    assert report["before"]["accepted"] == 198
    stable = asi.certify(result.artifact, levels(), target="prediction")
    headline = build_report(stable.folder)["headline"]
    assert headline.startswith("Stable answers, right or wrong except 2 memorised images: each of")
    assert "198" in headline


def test_classes_that_must_never_be_missed_have_no_exceptions(result, tmp_path):
    """Memorised rows of theirs are open: in the run, its report, its statement, check, compare."""
    place = tmp_path / "out"
    small = {"radius": "0.5/255", "never_miss_radius": "1/255"}
    again = asi.certify(result.artifact, levels(), out=place, never_miss=[0, 1], **small)
    assert str(again.status) == "zero_except(0 contradictions, 2 memorised)"
    assert str(again.never_miss) == "open(2)"
    assert not again.holds
    section = build_report(again.folder)["never_miss"]
    assert "2 of 200 images have no accepted certificate" in section["line"]
    assert [entry["row"] for entry in section["not_proved"]] == WRONG
    assert all("memorised" in entry["reason"] for entry in section["not_proved"])
    checked = asi.check(place, levels())
    assert str(checked.never_miss.status) == "open(2)"
    assert not checked.holds
    predicate = json.loads((place / STATEMENT_FILE).read_bytes())["predicate"]["never_miss"]
    assert (predicate["status"], predicate["counts"]["accepted"]) == ("open(2)", 198)
    assert asi.compare(place, place, levels()).never_miss_lost == ()
    figures = json.loads((place / "result.json").read_bytes())
    figures["never_miss"] |= {"accepted": 200, "open": 0}
    (place / "result.json").write_text(json.dumps(figures))
    assert "that can be accepted for 198 samples" in "\n".join(verify(place).refused)


def test_a_memorised_row_is_no_guarantee_that_was_gained(result, tmp_path):
    """Compared with the model before, by what both folders prove."""
    before = corrected(0).save(tmp_path / "before")
    after = result.save(tmp_path / "after")
    compared = asi.compare(before, after, levels())
    assert compared.holds
    assert compared.gained == ()
    assert compared.neither == tuple(WRONG)


def test_the_record_of_the_change_begins_with_the_round_that_was_patched():
    """The best one, which need not be the last; and no memorised row is a certificate gained."""
    found = corrected(corrector=Given(by_brightness(), too_dark()), rounds=2)
    assert found.summary["round"] == 3
    change = found.folder.read_json("rounds/03/change.json")
    assert change["description"]["base"] == 1
    assert change["description"]["repaired"] == WRONG
    moved = change["impact"]["efficacy"]["certificates"]
    assert moved == {"before": 198, "after": 198, "gained": 0, "lost": 0}
    again = corrected(corrector=Given(by_brightness()), rounds=1)
    assert again.folder.read_json("rounds/02/change.json")["description"]["base"] == 1


def test_a_radius_map_names_them_and_counts_them_not(result):
    """Proved at the radius, and no part of the share."""
    train = levels().split("train")
    rows = np.array([0, 1, 7, 50])
    some = (train.images[rows, 0], train.labels[rows])
    found = asi.radius_map(result.artifact, some, "1/255", step="1/255", stages=[Intervals()])
    assert found.memorised == (2, 3)
    assert all(radius is not None for radius in found.proved)
    assert found.share("1/255") == 0.5
    assert found.to_json()["memorised"] == [2, 3]


def test_bubbles_of_memorised_images_count_nowhere(result):
    """They are told apart, and who lies inside one of them alone lies inside of none."""
    data = levels()
    copies = {"test": data.split("train").take(np.array([0, *WRONG]))}
    some = replace(data, splits=data.splits | copies)
    found = asi.bubbles(result, some, "1/255", step="1/255", stages=[Intervals()])
    assert found.radii.memorised == tuple(WRONG)
    assert found.distribution() == {"1/255": 198, "memorised": 2}
    assert found.others["test"].to_json() == {"inside": 1, "right": 1, "samples": 3}


def test_a_model_with_patches_is_corrected_from_its_base(result):
    """Training never begins with what was memorised."""
    training = Given(by_brightness())
    again = asi.correct(result.artifact, levels(), corrector=training, rounds=1, last_layer=0)
    assert training.seen == [write_artifact(by_brightness())]
    assert str(again.status) == "open(2)"


def test_the_statement_names_their_number_and_no_other_result_fits(result, tmp_path):
    """A result that counts them among the others is not that of these claims."""
    place = result.save(tmp_path / "out")
    statement = json.loads((place / STATEMENT_FILE).read_bytes())
    predicate = statement["predicate"]
    jsonschema.validate(predicate, predicate_schema())
    assert predicate["counts"]["memorised"] == 2
    assert predicate["status"] == "zero_except(0 contradictions, 2 memorised)"
    assert verify(place).holds
    written = json.loads((place / "result.json").read_bytes())
    for change in (
        {"memorised": [], "accepted": 200},
        {"memorised": [7], "accepted": 199},
        {"memorised": [7, 51]},
        {"memorised": [7, 50, 51], "accepted": 197},
        {"memorised": 2},
    ):
        (place / "result.json").write_text(json.dumps(written | change))
        assert any("result.json" in reason for reason in verify(place).refused)


class Careless(LocalPatch):
    """Patches whatever is open, and the region of another sample with it."""

    def attempt(self, network, task, checkpoints=None, progress=None):
        box = task.family.boxes(task.samples.images[[*task.open, 0]])
        bonus = np.zeros((2, 3), np.float32)
        bonus[task.samples.labels[task.open], [0, 1]] = 9
        bonus[1 - task.samples.labels[0], 2] = 9
        patches = LocalPatches.around(box, np.full(3, 2.0**-9), bonus)
        effect = {"left": [], "reason": "any", "repaired": task.open.tolist()}
        return Correction(patched(network, patches), 0, 0, (), effect)


def looped(folder, local_patch, *networks):
    data = levels()
    subject = Subject(data.name, "train", data.split("train"), audit(data, FAMILY))
    start = too_dark()
    if folder.bugs.last_round() is None:
        examine(Artifact.from_network(start), subject, 0, folder)
    loop = Loop(Given(*networks), len(networks), None, local_patch)
    return loop.run(start, subject, 0, folder)


def test_a_patch_that_loses_a_certificate_is_not_taken():
    """The examination decides; the bug log stays as it was."""
    folder, before = RunFolder.in_memory(), RunFolder.in_memory()
    assert looped(before, None, by_brightness()) == 1
    assert looped(folder, Careless(2), by_brightness()) == 1
    record = folder.read_json("rounds/02/round.json")
    assert record["lost"] == [0]
    assert folder.bugs.bugs() == before.bugs.bugs()


def test_it_patches_the_best_round_and_traces_tell_who_closed_what():
    """A later, worse round is left behind: what it reopened is not closed by the patch."""
    folder = RunFolder.in_memory()
    assert looped(folder, LocalPatch(2), by_brightness(), too_dark()) == 3
    assert folder.read_json("rounds/03/round.json")["closed"] == 2
    assert folder.read_json("rounds/01/local_patch.json")["repaired"] == WRONG
    network = read_network(folder.files.require("rounds/03/certificates/artifact.onnx"))
    found = parted(network)
    assert found is not None
    assert write_artifact(found[0]) == write_artifact(by_brightness())
    closing = {bug.row: closing_round(bug) for bug in folder.bugs.bugs()}
    assert all(round_ == (3 if row in WRONG else 1) for row, round_ in closing.items())
    assert all(bug.state is BugState.CERTIFIED for bug in folder.bugs.bugs())
    bugs = folder.bugs.bugs()
    assert looped(folder, LocalPatch(2), by_brightness(), too_dark()) == 3
    assert folder.bugs.bugs() == bugs


def test_a_run_that_was_killed_goes_on(monkeypatch):
    """Before the examination and after it, it ends with the same records and the same bugs."""
    networks = (by_brightness(), too_dark())
    whole = RunFolder.in_memory()
    assert looped(whole, LocalPatch(2), *networks) == 3
    original = module_loop.examine
    for after in (False, True):
        killed = RunFolder.in_memory()

        def examine_once(artifact, of, number, *rest, after=after, **options):
            found = original(artifact, of, number, *rest, **options) if after or number < 3 else 0
            if number == 3:
                raise KeyboardInterrupt
            return found

        with monkeypatch.context() as patching:
            patching.setattr(module_loop, "examine", examine_once)
            with pytest.raises(KeyboardInterrupt):
                looped(killed, LocalPatch(2), *networks)
        assert looped(killed, LocalPatch(2), *networks) == 3
        name = "rounds/03/round.json"
        assert killed.files.require(name) == whole.files.require(name)
        assert killed.bugs.bugs() == whole.bugs.bugs()
