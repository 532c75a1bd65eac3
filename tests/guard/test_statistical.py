"""What is estimated: intervals and sets hold what they promise."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binom

from asi_verify.errors import UsageError
from asi_verify.guard import Conformal, Gain, clopper_pearson, estimates, probabilities
from asi_verify.guard.measures import Measures
from asi_verify.guard.monitors import Monitors, widening


@pytest.mark.parametrize("trials", [1, 7, 40])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_an_exact_interval_holds_the_probability_often_enough(trials, confidence):
    """For every probability, summed exactly over all outcomes: never less than promised."""
    ends = [clopper_pearson(k, trials, confidence) for k in range(trials + 1)]
    for chance in np.linspace(0.001, 0.999, 97):
        holds = sum(
            binom.pmf(k, trials, chance) for k, (a, b) in enumerate(ends) if a <= chance <= b
        )
        assert holds >= confidence
    assert ends[0][0] == 0
    assert ends[-1][1] == 1
    assert clopper_pearson(0, 0) == (0.0, 1.0)
    with pytest.raises(UsageError):
        clopper_pearson(3, 2)


@pytest.mark.parametrize("error", [0.1, 0.2, 0.5])
def test_conformal_sets_hold_the_label_as_often_as_promised(error):
    """Over calibration and new images drawn alike, of a model that is often wrong; not far more."""
    generator = np.random.default_rng(0)
    held = []
    for _ in range(400):
        labels = generator.integers(0, 3, 80)
        logits = generator.normal(size=(80, 3))
        logits[np.arange(80), labels] += 0.5
        chances = probabilities(logits)
        conformal = Conformal.calibrated(chances[:30], labels[:30], error)
        held.append(conformal.sets(chances[30:])[np.arange(50), labels[30:]].mean())
    spread = 4 * np.std(held) / math.sqrt(len(held))
    assert 1 - error - spread <= np.mean(held) <= 1 - error + 1 / 31 + spread


def test_too_few_calibration_images_give_every_label():
    """A promise that cannot be kept with less is kept with all labels."""
    conformal = Conformal.calibrated(np.full((5, 2), 0.5), np.zeros(5, np.int64), 0.1)
    assert conformal.threshold == math.inf
    assert conformal.sets(np.array([[1.0, 0.0]])).all()
    with pytest.raises(UsageError, match="error"):
        Conformal.calibrated(np.full((5, 2), 0.5), np.zeros(5, np.int64), 1.0)


def test_the_gain_is_that_of_the_counts_and_its_interval_holds_it():
    """0.9 of what is answered against 0.8 of all; nothing gained where refusals are blind."""
    answered = np.repeat([True, False], [100, 50])
    right = np.concatenate([np.arange(100) % 10 > 0, np.arange(50) % 5 > 1])
    found = Gain.of(answered, right)
    assert found.gain == pytest.approx(0.9 - 120 / 150)
    assert 0 < found.lower < found.gain < found.upper
    blind = Gain.of(answered, np.arange(150) % 5 > 0)
    assert blind.gain == 0
    assert blind.lower < 0 < blind.upper


def test_the_paired_interval_is_that_of_drawing_the_images_again():
    """The multinomial draw has the spread of resampled images, which pairing makes narrow."""
    generator = np.random.default_rng(1)
    answered, right = generator.random(300) < 0.8, generator.random(300) < 0.85
    gains = []
    for _ in range(3000):
        rows = generator.integers(0, 300, 300)
        gains.append(right[rows][answered[rows]].mean() - right[rows].mean())
    found = Gain.of(answered, right)
    assert (found.lower, found.upper) == pytest.approx(np.percentile(gains, [2.5, 97.5]), abs=2e-3)


def test_estimates_of_a_single_logit_and_of_no_answers():
    """The softmax of 0 and the logit; no gain where nothing is answered."""
    logits = np.array([[2.0], [-1.0], [0.5]])
    assert np.allclose(probabilities(logits)[:, 1], 1 / (1 + np.exp(-logits[:, 0])))
    found = estimates(np.zeros(3, bool), np.array([1, 0, 1]), logits, None)
    assert found["gain"] is None
    assert found["error_when_answering"] == (0.0, 1.0)


@pytest.mark.parametrize(
    ("count", "refused"), list(itertools.product([1, 10, 99, 100, 101], [0, 0.01, 0.3]))
)
def test_monitors_refuse_no_more_than_was_asked_for(count, refused):
    """The widening is the smallest that keeps enough validation images, and all of training."""
    generator = np.random.default_rng(count)
    train = generator.normal(size=(200, 4)).astype(np.float32)
    train[:, 3] = 1  # never varied
    unseen = (1.5 * generator.normal(size=(count, 4))).astype(np.float32)
    made = Monitors.recorded(Measures(*[train] * 3), Measures(*[unseen] * 3), refused)
    for lower, upper in (made.statistics, made.activations):
        assert ((lower <= train) & (train <= upper)).all()
        outside = ~((lower <= unseen) & (unseen <= upper)).all(axis=1)
        assert outside.sum() <= refused * count
    far = ((unseen @ made.layout.matrix.T + made.layout.offset) ** 2).sum(axis=1)
    assert (far > made.layout.largest).sum() <= refused * count
    low, high = train.min(axis=0), train.max(axis=0)
    share = widening(low, high, unseen, refused)
    width = np.maximum(high - low, 1e-3 * (high - low).max())
    less = 0.999 * share * width
    outside = ~((low - less <= unseen) & (unseen <= high + less)).all(axis=1)
    assert share == 0 or outside.sum() > refused * count
