"""Predictions whose uncertainties are known to be right, or wrong by a known factor."""

import numpy as np
import pytest
from scipy.stats import norm

from paper_utils.measure import calibration, metrics, photoz

RNG = np.random.default_rng(0)
MEAN, STD = RNG.normal(size=(20_000, 2)), RNG.uniform(0.2, 2, (20_000, 2))
TRUTH = MEAN + STD * RNG.standard_normal((20_000, 2))


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_pit_is_uniform_only_for_the_right_width(factor):
    distance, p = photoz.pit_distance(calibration.gaussian_pit(TRUTH, MEAN, factor * STD).ravel()[:4000])
    # The largest distance of two normal distribution functions whose widths are as f to 1.
    grid = np.linspace(-4, 4, 2001)
    expected = np.abs(norm.cdf(factor * grid) - norm.cdf(grid)).max()
    assert distance == pytest.approx(expected, abs=0.03)
    assert (p > 0.01) == (factor == 1)


def test_scores_are_least_for_the_right_width():
    for score in (calibration.gaussian_nll, calibration.gaussian_crps):
        values = [score(TRUTH, MEAN, factor * STD).mean() for factor in (0.6, 0.8, 1.0, 1.25, 1.6)]
        assert np.argmin(values) == 2
    one = calibration.gaussian_nll(TRUTH, MEAN, STD) - np.log(STD)
    assert one.mean() == pytest.approx(0.5 * (1 + np.log(2 * np.pi)), abs=0.02)


def test_crps_is_the_integral_of_its_definition():
    grid = np.linspace(-9, 11, 40_001)
    for truth, mean, std in ((0.3, 0.0, 1.0), (2.0, -1.0, 0.4), (1.0, 1.0, 2.0)):
        squares = (norm.cdf(grid, mean, std) - (grid >= truth)) ** 2
        expected = np.trapezoid(squares, grid)
        assert calibration.gaussian_crps(truth, mean, std) == pytest.approx(expected, abs=1e-3)
    assert calibration.gaussian_crps(1.0, 0.2, 1e-9) == pytest.approx(0.8)


def test_inflation_mends_intervals_of_objects_it_has_not_seen():
    wrong = STD * [0.5, 3.0]
    factor = calibration.inflation(TRUTH[::2], MEAN[::2], wrong[::2])
    assert factor == pytest.approx(norm.ppf(0.84) * np.array([2, 1 / 3]), rel=0.03)
    for k in range(2):
        share = metrics.coverage(TRUTH[1::2, k], MEAN[1::2, k], factor[k] * wrong[1::2, k], norm.cdf(1) * 2 - 1)
        assert share[0] == pytest.approx(0.68, abs=0.015)


@pytest.mark.parametrize("level", [0.5, 0.68, 0.9])
def test_samples_cover_the_truth_as_often_as_they_say(level):
    samples = MEAN[:1500] + STD[:1500] * RNG.standard_normal((200, 1500, 2))
    assert calibration.interval_coverage(TRUTH[:1500], samples, level) == pytest.approx([level, level], abs=0.05)
    narrow = MEAN[:1500] + 1e-6 * STD[:1500] * RNG.standard_normal((200, 1500, 2))
    assert calibration.interval_coverage(TRUTH[:1500], narrow, level).max() < 0.01
