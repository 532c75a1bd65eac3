"""The martingale against drift: exact where it can be counted, and seldom wrong where it cannot."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from asi_verify.guard.evidence import BETS, Evidence


@pytest.mark.parametrize("values", [(0, 1, 2, 3, 4, 5), (0, 0, 1, 1, 1, 2), (3,) * 6])
@pytest.mark.parametrize("calibrated", [0, 1, 3])
def test_the_mean_capital_over_all_orders_is_one(values, calibrated):
    """After each image, with ties and without, however few calibration images there are.

    A capital is linear in each ``t``, so its mean over all of them is that at their mean of 1/2.
    """
    orders = [np.array(order) for order in permutations(values)]
    means = np.zeros(len(values) - calibrated)
    for order in orders:
        evidence = Evidence.calibrated(order[:calibrated, None], 6)
        assert evidence.capital.tolist() == [1]
        for place, value in enumerate(order[calibrated:]):
            evidence = evidence.after(np.array([value]), np.array([0.5]))
            means[place] += evidence.capital[0] / len(orders)
    assert means == pytest.approx(1, abs=1e-12)


def test_every_bet_is_a_density():
    """Never negative, and of mean 1; some win where values rise, some where they fall."""
    ranks = np.linspace(0, 1, 1001)
    bets = 1 + BETS[:, None] * (ranks - 0.5)
    assert bets.min() >= 0
    assert bets.mean(axis=1) == pytest.approx(1)
    assert BETS.min() < 0 < BETS.max()


def test_a_rank_counts_the_images_of_the_stream_too():
    """Against three calibration images and what came since; equal ones in part."""
    evidence = Evidence.calibrated(np.array([[0], [1], [1]]), 4)
    one = evidence.after(np.array([1]), np.array([0.5]))
    p = (1 + 0.5 * 3) / 4
    assert one.capital == pytest.approx(1 / 2 + 1 / 2 * (1 + BETS * (p - 0.5)).mean())
    assert one.counts.tolist() == [[1, 3, 0, 0]]
    two = one.after(np.array([3]), np.array([0.25]))
    q = (4 + 0.25) / 5
    kept = 1 / 2 / 6 * (1 + BETS * (p - 0.5)) + 1 / 6 / 6
    assert two.capital == pytest.approx(1 / 3 + (kept * (1 + BETS * (q - 0.5))).sum())
    assert (two.seen, evidence.seen, evidence.counts.sum()) == (2, 0, 3)


def test_chance_seldom_reaches_the_threshold_also_after_few_calibration_images():
    """Over 300 streams of 400 images: not more often than promised, beyond the error of counting.

    Ranks among ten calibration images alone would reach it in most of the streams.
    """
    allowed, streams = 0.2, 300
    reached = 0
    for seed in range(streams):
        generator = np.random.default_rng(seed)
        bins = generator.integers(0, 20, (410, 1))
        evidence = Evidence.calibrated(bins[:10], 20)
        for value, tie in zip(bins[10:], generator.random((400, 1)), strict=True):
            evidence = evidence.after(value, tie)
            if evidence.capital[0] >= 1 / allowed:
                reached += 1
                break
    assert reached <= streams * allowed + 3 * (streams * allowed * (1 - allowed)) ** 0.5


@pytest.mark.parametrize(("begins", "soon"), [(0, 50), (2000, 100)])
def test_a_change_is_noticed_that_begins_late_too(begins, soon):
    """Soon after a shift by one deviation, with 500 calibration images; whichever way it goes."""
    generator = np.random.default_rng(0)
    edges = np.linspace(-3, 3, 100)
    for shift in (1, -1):
        values = generator.normal(size=500 + begins + soon)
        values[500 + begins :] += shift
        bins = np.searchsorted(edges, values)[:, None]
        evidence = Evidence.calibrated(bins[:500], 101)
        alarms = []
        for value, tie in zip(bins[500:], generator.random((len(bins) - 500, 1)), strict=True):
            evidence = evidence.after(value, tie)
            alarms.append(evidence.capital[0] >= 100)
        assert any(alarms)
        assert alarms.index(True) >= begins


def test_the_capital_stays_finite():
    """Whatever goes on rising; one who has less than he might never wins too often."""
    evidence = Evidence.calibrated(np.zeros((5000, 1), np.int64), 3000)
    for value in range(1, 1500):
        evidence = evidence.after(np.array([value]), np.array([0.5]))
    assert np.isfinite(evidence.capital).all()
    assert evidence.capital[0] > 1e90
