"""The drift monitor: silent on images like those of validation, loud on others, never forgetful."""

from __future__ import annotations

import json

import numpy as np
import pytest
from support.guards import square_model, squares

import asi_verify as asi
from asi_verify._guard import GUARD_DRIFT, GUARD_FIGURES
from asi_verify.core.images import encode
from asi_verify.errors import DataError, UsageError
from asi_verify.guard import Drift, Guard, write_measures
from asi_verify.guard.measures import statistics_names, write_statistics
from asi_verify.prove import Intervals
from asi_verify.runtime.session import load

SIDE = 12


def pictures(count, seed):
    """Noise on a gradient, of brightness and contrast that vary: all drawn alike."""
    generator = np.random.default_rng(seed)
    gradient = np.linspace(-1, 1, SIDE)[:, None] * generator.uniform(20, 60, (count, 1, 1, 1))
    noise = generator.normal(0, 5, (count, 1, SIDE, SIDE))
    middle = generator.normal(120, 12, (count, 1, 1, 1))
    return np.clip(gradient + noise + middle, 0, 255).astype(np.uint8)


TRAIN, OTHERS = pictures(300, 0), pictures(900, 1)
VAL, STREAM = OTHERS[:200], OTHERS[200:]


def changed(images, brighter=0, noise=0):
    """Brighter, and with noise, as another device might make them."""
    generator = np.random.default_rng(5)
    added = generator.normal(brighter, noise, images.shape)
    return np.clip(images + added, 0, 255).astype(np.uint8)


@pytest.fixture
def drift():
    """Fresh, for one false alarm in a hundred streams."""
    return Drift.calibrated(TRAIN, VAL)


def test_shuffled_images_raise_no_more_alarms_than_stated():
    """Over 100 orders of the same images, divided anew into validation and stream."""
    allowed, alarms = 0.1, 0
    bins = Drift.calibrated(TRAIN, VAL, false_alarms=allowed)
    for seed in range(100):
        order = np.random.default_rng(seed).permutation(600)
        fresh = bins.recalibrated(OTHERS[order[:60]], seed=seed)
        alarms += fresh.feed(OTHERS[order[60:360]])
    assert alarms <= 10 + 3 * 3


@pytest.mark.parametrize(
    ("change", "statistic"),
    [
        ({"brighter": 25}, "mean of channel 0"),
        ({"brighter": -25}, "mean of channel 0"),
        ({"noise": 12}, "roughness along axis 2"),
        ({"brighter": 15, "noise": 8}, "roughness along axis 2"),
    ],
)
def test_changed_images_raise_the_alarm_soon(change, statistic, drift):
    """Within sixty images of the change, which comes after a hundred; and it says of what."""
    assert not drift.feed(STREAM[:100])
    strange = changed(STREAM[100:200], **change)
    assert drift.feed(strange)
    assert 100 < drift.alarm <= 160
    assert drift.evidence[statistic] >= drift.threshold == 600
    alarm = drift.alarm
    assert drift.feed(STREAM[200:300])  # it stays
    assert drift.alarm == alarm


def test_batches_and_restarts_change_nothing(drift, tmp_path):
    """One by one, all at once, and written and read in between: the same to the last bit."""
    images = np.concatenate([STREAM[:300], changed(STREAM[:60], 25)])
    drift.feed(images)
    again = Drift.calibrated(TRAIN, VAL)
    place = tmp_path / "drift.json"
    for start in range(0, len(images), 45):
        again.write(place)
        again = Drift.read(place)
        for image in images[start : start + 45]:
            again.feed(image[None])
    assert again.to_bytes() == drift.to_bytes()
    assert (again.seen, again.calibrated_on, again.alarm) == (360, 200, drift.alarm)
    assert again.alarm is not None
    assert again.evidence == drift.evidence
    assert list(tmp_path.iterdir()) == [place]
    drift.feed(images[:0])
    assert again.to_bytes() == drift.to_bytes()
    other = Drift.calibrated(TRAIN, VAL, seed=1)
    other.feed(images)
    assert other.evidence != drift.evidence


def test_other_validation_images_need_no_training_images(drift):
    """The same as calibrated anew, whatever was seen before."""
    drift.feed(STREAM[:50])
    anew = drift.recalibrated(STREAM[50:150], seed=3)
    assert anew.to_bytes() == Drift.calibrated(TRAIN, STREAM[50:150], seed=3).to_bytes()
    assert drift.recalibrated(VAL).to_bytes() == Drift.calibrated(TRAIN, VAL).to_bytes()
    assert drift.seen == 50
    with pytest.raises(UsageError, match="seed"):
        drift.recalibrated(VAL, seed=-1)


def test_the_statistics_are_those_of_the_guard(artifact):
    """The same numbers as the monitors look at, one name each, also of colour volumes."""
    (mine,) = load(write_statistics((1, SIDE, SIDE)), usual=True).run(None, {"image": encode(VAL)})
    theirs = load(write_measures(artifact), usual=True).run(["statistics"], {"image": encode(VAL)})
    assert np.array_equal(mine, theirs[0])
    assert len(statistics_names((1, SIDE, SIDE))) == mine.shape[1]
    for shape in ((3, 8, 1), (3, 4, 5, 6), (2, 7)):
        image = np.zeros((1, *shape), np.float32)
        (found,) = load(write_statistics(shape), usual=True).run(None, {"image": image})
        assert len(statistics_names(shape)) == found.shape[1]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    """Of the model of squares."""
    out = tmp_path_factory.mktemp("drift") / "out"
    return asi.certify(square_model(), squares(), "1/255", stages=[Intervals()], out=out).artifact


def test_wrong_images_are_refused_and_nothing_is_taken_in(drift):
    """Shape, dtype, probabilities and seeds without a meaning."""
    before = drift.to_bytes()
    for images in (STREAM[:, :, :8], STREAM.astype(np.float64)):
        with pytest.raises(DataError, match="1, 12, 12"):
            drift.feed(images)
    assert drift.to_bytes() == before
    drift.feed(np.full((1, 1, SIDE, SIDE), np.nan, np.float32))
    assert all(np.isfinite(number) for number in drift.evidence.values())
    for wrong in ({"false_alarms": 0.0}, {"false_alarms": 1.0}, {"seed": -1}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            Drift.calibrated(TRAIN, VAL, **wrong)
    with pytest.raises(DataError, match="1, 12, 12"):
        Drift.calibrated(TRAIN, VAL[:, :, :8])
    with pytest.raises(DataError, match="shape"):
        Drift.calibrated(TRAIN, VAL[:0])


def test_a_damaged_file_is_refused(drift, tmp_path):
    """Cut off, another thing, fields gone or of another kind, numbers that cannot be."""
    drift.feed(STREAM[:20])
    whole = json.loads(drift.to_bytes())
    bad = {
        "alarm": [21, 0, True, "1"],
        "counts": [[], whole["counts"][:3], [[-1] * 102] * 6, [[0.5] * 102] * 6, [[0] * 102] * 6],
        "edges": [[[1.0] * 100 + [0.0]] * 6, [[float("nan")] * 101] * 6, None],
        "false_alarms": [0, 0.0, 1.0, "0.1", None],
        "image_shape": [[1], [1, 0, 12], [3, 12, 12], [1, 10**9, 10**9], "112", [1.0, 12.0, 12.0]],
        "schema": ["asi-verify/drift/0", None],
        "seed": [-1, 0.5, None],
        "seen": [-1, 500, 1.0],
        "staked": [[[-1.0] * 6] * 6, [[float("inf")] * 6] * 6, [[0.0] * 5] * 6],
    }
    assert set(bad) == set(whole)
    files = [b"", b"{}", b"[]", b"null", drift.to_bytes()[:-9], b"\xff" * 9]
    for field, values in bad.items():
        files += [json.dumps(whole | {field: value}).encode() for value in values]
        files.append(json.dumps({key: whole[key] for key in whole if key != field}).encode())
    for file in files:
        with pytest.raises(DataError, match=r"drift: .*Drift\.calibrated"):
            Drift.read(file)
    with pytest.raises(DataError, match="no such file"):
        Drift.read(tmp_path / "nowhere.json")


def test_a_guard_comes_with_a_monitor_that_changes_no_answer(tmp_path):
    """``drift.json`` has seen nothing yet; what test images say of it stands in ``guard.json``."""
    data, out = squares(), tmp_path / "out"
    asi.certify(square_model(), data, "1/255", stages=[Intervals()], out=out)
    guard = asi.build_guard(out, data, false_alarms=0.05)
    test = data.split("test").images
    answers = guard(test)
    fresh = Drift.read(out / GUARD_DRIFT)
    assert (fresh.seen, fresh.alarm, fresh.calibrated_on) == (0, None, len(data.split("val")))
    fresh.feed(test[np.random.default_rng(0).permutation(len(test))])
    assert json.loads((out / GUARD_FIGURES).read_text())["drift"] == {
        "calibrated_on": len(data.split("val")),
        "false_alarms": 0.05,
        "test": {"alarm": fresh.alarm, "evidence": fresh.evidence, "seen": len(test)},
        "threshold": fresh.threshold,
    }
    for _ in range(5):
        fresh.feed(255 - test)
    assert fresh.alarm is not None
    assert guard(test) == answers == Guard(guard_file(out))(test)
    asi.build_guard(out, data, monitors=False)
    assert not (out / GUARD_DRIFT).exists()


def guard_file(out):
    """The guard of a run."""
    return out / "guard" / "guard.onnx"
