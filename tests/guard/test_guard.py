"""Guards as they are used: answers, members, forms, and the run folder they are made from."""

from __future__ import annotations

import json

import numpy as np
import onnxruntime
import pytest
from support.guards import square_model, squares

import asi_verify as asi
from asi_verify._guard import GUARD_FIGURES, GUARD_FILE, GUARD_MEMBERS
from asi_verify.checker import Outcome
from asi_verify.cli import main
from asi_verify.core.canonical import array_digest, bytes_digest
from asi_verify.core.images import encode
from asi_verify.core.linf import LInf
from asi_verify.core.radius import Radius
from asi_verify.errors import DataError, ModelError, SoundnessAlarm, UsageError
from asi_verify.guard import Guard, Members, Reason, figures, radius_for
from asi_verify.prove import Intervals


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A certified run, its data set and folder."""
    data, out = squares(), tmp_path_factory.mktemp("guard") / "out"
    result = asi.certify(square_model(), data, "1/255", stages=[Intervals()], out=out)
    assert result.status.open == 1
    return result, data, out


@pytest.fixture(scope="module")
def guard(made):
    """Its guard, with everything."""
    result, data, _ = made
    names = {"test": ["one", "other"] * 12}
    return asi.build_guard(result, data, membership=True, groups=names)


def test_it_answers_what_is_clear_and_no_more(made, guard):
    """Every image that differs enough, none that is near the boundary; all answers are right."""
    _, data, _ = made
    for name in ("val", "test"):
        samples = data.split(name)
        answers = guard(samples.images)
        near = np.arange(len(samples)) % 3 == 0
        assert all(a.reason & Reason.NOT_CERTIFIED for a, n in zip(answers, near, strict=True) if n)
        clear = [a for a, n in zip(answers, near, strict=True) if not n]
        assert not any(a.reason & Reason.NOT_CERTIFIED for a in clear)
        assert sum(a.answered for a in clear) >= len(clear) - 3
        assert all(a.label == y for a, y in zip(answers, samples.labels, strict=True) if a.answered)


def test_the_file_alone_gives_the_same_in_plain_onnx_runtime(made, guard):
    """A program that knows nothing of this library: one file, one session."""
    _, data, out = made
    session = onnxruntime.InferenceSession(
        str(out / GUARD_FILE), providers=["CPUExecutionProvider"]
    )
    images = data.split("test").images
    names = ["label", "answered", "margin", "reason"]
    label, answered, margin, reason = session.run(names, {"image": (images / 255).astype("f4")})
    assert (label.dtype, answered.dtype, margin.dtype, reason.dtype) == ("i8", "?", "f4", "i8")
    answers = Guard(out / GUARD_FILE)(images)
    assert [a.label for a in answers] == label.tolist()
    assert [a.answered for a in answers] == answered.tolist()
    assert [a.margin for a in answers] == margin.tolist()
    assert [a.reason for a in answers] == reason.tolist()


def test_batches_of_any_size_give_the_same_answers(made, guard):
    """One by one, all at once, and more than one session's batch."""
    images = np.concatenate([made[1].split("test").images] * 12)
    assert len(images) > 256
    assert guard(images) == [a for image in images for a in guard(image[None])]
    assert guard(images[:0]) == []


def test_the_file_names_what_it_guards(made, guard):
    """Its model, its radius, and itself by digest."""
    result, _, out = made
    assert guard.artifact == result.digest
    assert guard.radius == Radius.of("1/255")
    assert guard.digest == bytes_digest((out / GUARD_FILE).read_bytes())
    with pytest.raises(ModelError, match="no guard's"):
        Guard(result.artifact)


@pytest.mark.parametrize(
    "images",
    [np.zeros((1, 12, 12), np.uint8), np.zeros((1, 1, 12, 12)), np.zeros((2, 1, 8, 8), "f4")],
)
def test_other_shapes_and_types_are_refused(images, guard):
    """Nothing is guessed; the message says what is expected."""
    with pytest.raises(DataError, match="1, 12, 12"):
        guard(images)


def test_images_unlike_the_training_images_are_refused(made, guard):
    """By brightness or contrast, by the hidden layer, and by where they are bright, each alone."""
    images = encode(made[1].split("test").images)
    bright = np.clip(images + np.float32(0.5), 0, 1)
    flat = np.full_like(images, 0.4)
    far = np.zeros_like(images)
    far[:, :, 3:9, 3:9] = 1
    for strange in (bright, flat, far):
        assert all(a.reason & Reason.STATISTICS for a in guard(strange))
        assert not any(a.answered for a in guard(strange))
    assert all(a.reason & Reason.ACTIVATIONS for a in guard(far))
    assert any(not a.reason & Reason.ACTIVATIONS for a in guard(bright))
    moved = np.roll(images[np.arange(len(images)) % 3 > 0], 3, axis=3)
    assert all(a.reason & Reason.LAYOUT for a in guard(moved))
    assert any(not a.reason & Reason.STATISTICS for a in guard(moved))


def test_validation_images_calibrate_the_monitors(made, guard):
    """At most the part that was asked for is refused by each, and nothing of training."""
    _, data, out = made
    counted = json.loads((out / GUARD_FIGURES).read_text())["counted"]["val"]
    for layer in ("statistics", "activations", "layout"):
        assert counted["layers"][layer]["refuses"] <= 0.01 * len(data.split("val"))
    codes = Reason.STATISTICS | Reason.ACTIVATIONS
    assert not any(a.reason & codes for a in guard(data.split("train").images))


def test_members_are_those_of_accepted_regions(made, guard):
    """Training images and their neighbours, not a level beyond; with the row, whatever refuses."""
    _, data, out = made
    train = data.split("train").images
    accepted = asi.check(out, data).rows(Outcome.ACCEPTED)
    assert accepted == list(range(len(train) - 1))
    corner = train + 1
    for images in (train, corner):
        assert [a.member for a in guard(images)] == [*accepted, None]
    beyond = train.copy()
    beyond[:, 0, 5, 5] += 2
    assert [a.member for a in guard(beyond)] == [None] * len(train)
    wide = asi.Guard(out / GUARD_FILE, out / GUARD_MEMBERS)
    assert wide(corner) == guard(corner)
    assert wide.has_members
    assert not asi.Guard(out / GUARD_FILE).has_members


def test_a_member_is_answered_for_its_certificate(made, tmp_path):
    """Where the guard's own radius is too wide to certify anything."""
    result, data = asi.load(made[0].save(tmp_path / "copy")), made[1]
    guard = asi.build_guard(result, data, radius="100/255", membership=True, monitors=False)
    answers = guard(data.split("train").images[:3])
    assert [(a.answered, a.reason, a.member) for a in answers] == [
        (True, Reason.NONE, row) for row in range(3)
    ]
    assert all(a.margin < 0 for a in answers)
    assert not any(a.answered for a in guard(data.split("test").images))


def test_members_of_certificates_that_leave_rounding_out_are_refused(tmp_path):
    """What is proved in exact arithmetic alone is not answered for what a runtime computes."""
    data, out = squares(), tmp_path / "out"
    asi.certify(square_model(), data, "1/255", semantics="real", stages=[Intervals()], out=out)
    with pytest.raises(UsageError, match=r"membership.*real.*float32"):
        asi.build_guard(out, data, membership=True)
    assert not (out / GUARD_FILE).exists()


def test_a_model_that_contradicts_a_certificate_is_an_alarm(made, guard):
    """A member's label that is not the model's answer is no answer."""
    _, data, out = made
    held = Members.read(out / GUARD_MEMBERS)
    wrong = Members(held.artifact, held.family, held.images, 1 - held.labels, held.rows)
    with pytest.raises(SoundnessAlarm, match="row 0"):
        Guard(out / GUARD_FILE, wrong)(data.split("train").images[:1])
    others = Members("0" * 64, held.family, held.images, held.labels, held.rows)
    with pytest.raises(ModelError, match="members"):
        Guard(out / GUARD_FILE, others)


def test_members_are_found_exactly():
    """The ends of a region are in it, the next floats are not; the first of several counts."""
    images = np.array([[[[10, 20]]], [[[11, 20]]], [[[200, 0]]]], np.uint8)
    family = LInf.of("1/255")
    members = Members("0" * 64, family, images, np.array([0, 0, 1]), np.array([4, 7, 9]))
    box = family.boxes(images)
    assert members.find(box.lower) == [(4, 0), (4, 0), (9, 1)]
    assert members.find(box.upper) == [(4, 0), (7, 0), (9, 1)]
    out = np.nextafter(box.upper, np.float32(2))
    assert members.find(out) == [None, None, None]
    with pytest.raises(DataError, match="members"):
        members.find(np.zeros((1, 1, 2, 2), np.float32))
    again = Members.read(members.to_bytes())
    assert np.array_equal(again.images, images)
    assert again.find(box.lower) == members.find(box.lower)


def test_every_pixel_of_a_member_is_compared():
    """Whichever is the only one outside of the region, in images of more than one part."""
    for shape in ((1, 1, 3), (3, 13, 15)):
        images = np.full((2, *shape), 100, np.uint8)
        images[0] = 50
        members = Members("0" * 64, LInf.of("1/255"), images, np.array([0, 1]), np.arange(2))
        count = images[0].size
        points = np.tile(encode(images[1:]), (count, 1, 1, 1))
        assert members.find(points[:1]) == [(1, 1)]
        points.reshape(count, count)[np.arange(count), np.arange(count)] += np.float32(2 / 255)
        assert members.find(points) == [None] * count


def test_a_damaged_file_of_members_is_refused():
    """Cut off, packed wrongly, said to be encrypted or to be packed in an unknown way."""
    images = np.zeros((9, 1, 8, 8), np.uint8)
    whole = Members("0" * 64, LInf.of("0"), images, *[np.arange(9)] * 2).to_bytes()
    entry = whole.index(b"PK\x01\x02")
    assert Members.read(whole).images.shape == images.shape
    packed = whole.index(b"artifact.npy") + len("artifact.npy") + 20
    for place, put in ((packed, b"\xff" * 20), (entry + 8, b"\x01"), (entry + 10, b"\x63")):
        broken = whole[:place] + put + whole[place + len(put) :]
        with pytest.raises(DataError, match="members"):
            Members.read(broken)
    with pytest.raises(DataError, match="members"):
        Members.read(b"PK\x03\x04 and no more")


def test_what_is_refused_is_handed_over(made, guard, tmp_path):
    """A form each in a queue folder, or a call; with digest and reasons, and no pixels."""
    images = made[1].split("test").images
    answers = guard(images)
    names = [f"study {i}" for i in range(len(images))]
    forms = guard.hand_over(images, answers, tmp_path / "queue", names)
    refused = [i for i, a in enumerate(answers) if not a.answered]
    assert 0 < len(refused) == len(forms) < len(images)
    files = sorted((tmp_path / "queue").iterdir())
    assert [json.loads(f.read_text()) for f in files] == forms
    assert [f["asked"]["reference"] for f in forms] == [names[i] for i in refused]
    assert forms[0]["asked"]["image"] == array_digest(encode(images)[refused[0]])
    assert forms[0]["asked"]["guard"] == guard.digest
    assert "not-certified" in forms[0]["answered"]["reasons"]
    assert set(forms[0]["decided"].values()) == {None}
    called = []
    guard.hand_over(images, answers, called.append)
    assert len(called) == len(forms)
    broken = np.full((1, 1, 12, 12), np.nan, np.float32)
    (form,) = guard.hand_over(broken, guard(broken), called.append)
    assert form["answered"]["margin"] is None
    assert "domain" in form["answered"]["reasons"]
    with pytest.raises(UsageError, match="references"):
        guard.hand_over(images, answers, called.append, ["one"])


def test_the_figures_are_what_the_guard_did(made, guard):
    """Counted again from its answers, by class and by group; what is estimated stands apart."""
    _, data, out = made
    found = json.loads((out / GUARD_FIGURES).read_text())
    samples, answers = data.split("test"), guard(data.split("test").images)
    counted = found["counted"]["test"]
    answered = np.array([a.answered for a in answers])
    right = np.array([a.label for a in answers]) == samples.labels
    assert counted["counts"] == {
        "answered": answered.sum(),
        "answered_right": (answered & right).sum(),
        "right": right.sum(),
        "samples": len(samples),
    }
    for names in ("classes", "groups"):
        assert len(counted[names]) == 2
        for key, total in counted["counts"].items():
            assert sum(part[key] for part in counted[names].values()) == total
    assert set(found["counted"]) == {"val", "test"}
    assert set(found["estimated"]) == {"test"}  # val calibrated it
    assert found["estimated"]["test"]["conformal"]["calibrated_on"] == len(data.split("val"))
    with pytest.raises(UsageError, match="groups"):
        figures(answers, samples.labels, data.classes, ["a"])


def test_a_radius_is_chosen_for_a_coverage(made, tmp_path):
    """The largest quarter of the radius that certifies so much of val; the next one does not."""
    result, data = asi.load(made[0].save(tmp_path / "copy")), made[1]
    images = data.split("val").images
    chosen = radius_for(result.artifact, Radius.of("60/255"), images, 0.6)

    def covered(radius):
        found = asi.build_guard(result, data, radius=radius, monitors=False)(images)
        return sum(a.answered for a in found) / len(found)

    assert covered(chosen) >= 0.6 > covered(Radius(chosen.value + Radius.of("15/255").value))
    assert radius_for(result.artifact, Radius.of("60/255"), images, 0.99) == Radius.of("15/255")
    by_both = radius_for(result.artifact, Radius.of("60/255"), images, 0.6, "crown-ibp")
    assert by_both.value >= chosen.value


def test_bounds_are_those_that_the_model_was_trained_on(made, guard, tmp_path):
    """Unless others are given; the file and its figures name them. A run may not say."""
    result, data = asi.load(made[0].save(tmp_path / "copy")), made[1]
    images = data.split("val").images

    def named(bounds):
        found = asi.build_guard(result, data, bounds=bounds, monitors=False)
        settings = result.folder.read_json(GUARD_FIGURES)["settings"]
        assert settings["bounds"] == found.bounds == Guard(tmp_path / "copy" / GUARD_FILE).bounds
        return found

    assert (guard.bounds, named(None).bounds) == ("intervals", "intervals")
    by_both = named("crown-ibp")
    assert by_both.bounds == "crown-ibp"
    assert all(
        a.margin >= b.margin
        for a, b in zip(by_both(images), named("intervals")(images), strict=True)
    )
    run = tmp_path / "copy" / "run.json"
    told = json.loads(run.read_text())
    for corrector, bounds in (
        ({"bounds": "crown-ibp"}, "crown-ibp"),
        ({"bounds": "intervals"}, "intervals"),
        ({"bounds": "of another kind"}, "intervals"),
        ({}, "intervals"),
        (None, "intervals"),
    ):
        run.write_text(json.dumps(told | {"corrector": corrector}))
        result = asi.load(tmp_path / "copy")
        assert named(None).bounds == bounds
        assert named("crown-ibp").bounds == "crown-ibp"


def test_wrong_use_is_refused_before_anything_is_written(made, guard):
    """Other data, settings without a meaning, a data set that cannot be found."""
    result, data, out = made
    before = (out / GUARD_FIGURES).read_bytes()
    other = squares(seed=1)
    for wrong, message in (
        ({"dataset": other}, "those that the run"),
        ({"dataset": data, "bounds": "crown"}, "bounds: 'crown'; 'intervals' or 'crown-ibp'"),
        ({"dataset": data, "refused": 1.0}, "refused"),
        ({"dataset": data, "error": 0.0}, "error"),
        ({"dataset": data, "coverage": 0.5, "radius": "1/255"}, "one of the two"),
        ({"dataset": data, "radius": "l2 0.5"}, "L-infinity"),
        ({"dataset": data, "groups": {"nowhere": []}}, "nowhere"),
        ({"dataset": data, "groups": {"test": ["one"]}}, "groups"),
        ({}, "squares was given as arrays"),
    ):
        with pytest.raises(UsageError, match=message):
            asi.build_guard(result, **wrong)
    assert (out / GUARD_FIGURES).read_bytes() == before


def test_the_command_prints_what_is_counted_apart_from_what_is_estimated(tmp_path, capsys):
    """From a folder that names its data set; a table of counts, and a line of its own."""
    arrays = {}
    for name, samples in squares().splits.items():
        arrays |= {f"{name}_images": samples.images[:, 0], f"{name}_labels": samples.labels}
    np.savez(tmp_path / "squares.npz", **arrays)
    out = tmp_path / "out"
    asi.certify(square_model(), tmp_path / "squares.npz", "1/255", stages=[Intervals()], out=out)
    assert main(["guard", str(out), "--no-monitors"]) == 0
    printed = capsys.readouterr().out
    rows = [line for line in printed.splitlines() if "%" in line]
    counted, estimated = rows[:-1], rows[-1]
    assert [line.split()[1] for line in counted] == ["val", "test"]
    assert estimated.startswith("estimated from test")
    (refused,) = (line for line in printed.splitlines() if line.startswith("refused on test"))
    assert "0 by domain" in refused
    assert "8 by not-certified" in refused
    assert printed.endswith("radius 1/255, by intervals\n")
    assert main(["guard", str(out), "--bounds", "crown-ibp", "--no-monitors"]) == 0
    assert capsys.readouterr().out.endswith("radius 1/255, by crown-ibp\n")
    assert main(["guard", str(out), "--bounds", "crown", "--no-monitors"]) == 2
    assert "bounds: 'crown'" in capsys.readouterr().err
    assert main(["guard", str(out), "--coverage", "0.5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == asi.load(out).folder.read_json(GUARD_FIGURES)
    assert main(["guard", str(out), "--second", str(out / "certificates/artifact.onnx")]) == 0
    printed = capsys.readouterr().out
    rows = [line for line in printed.splitlines() if "%" in line]
    first, both = (line for line in rows if line.split()[1:2] == ["test"] and "drift" not in line)
    assert "24 (100.0%)" in both  # answered by either, as the second model answers everything
    assert (first.count("%"), both.count("%")) == (4, 5)
    assert "together with the second model" in printed
    assert "drift, test images as a stream: no alarm of 24" in printed
    assert main(["guard", str(tmp_path)]) == 2
    assert "run.json" in capsys.readouterr().err
