"""Predictions whose uncertainties are known to be right, or wrong by a known factor."""

import numpy as np
import pytest
from scipy.stats import norm

from paper_utils.stats import calibration, photoz
from paper_utils.stats import scores as metrics

N, K, D = 4000, 15, 5
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


@pytest.fixture(scope="module")
def rng():
    return np.random.default_rng(0)


def drawn(rng, width=1.0, shift=0.0, k=K):
    """Truths of unit scatter about known means, and samples of another width and mean: (K, N, D), (N, D)."""
    mean = rng.normal(size=(N, D))
    return mean + shift + width * rng.normal(size=(k, N, D)), mean + rng.normal(size=(N, D))


@pytest.mark.parametrize("k", [4, 15])
def test_honest_samples_are_uniform_and_cover_their_level(rng, k):
    samples, truth = drawn(rng, k=k)
    ranks = calibration.pit(samples, truth)
    assert ranks.shape == truth.shape
    assert photoz.pit_distance(ranks[:, 0])[1] > 0.01
    share = calibration.coverage(ranks, [0.5, 0.68, 0.9])  # (3, D)
    # Four standard errors of a share of N.
    np.testing.assert_allclose(share, np.tile([[0.5], [0.68], [0.9]], D), atol=4 * 0.5 / np.sqrt(N))
    assert calibration.coverage(ranks, axis=None) == pytest.approx(0.68, abs=4 * 0.5 / np.sqrt(N * D))
    assert photoz.pit_distance(calibration.tarp(samples, truth, rng.normal(size=(N, D))))[1] > 0.01


def test_narrow_samples_cover_as_little_as_they_must(rng):
    samples, truth = drawn(rng, width=0.5, k=399)
    # The central 68 % of N(0, 0.5) reach 0.994 x 0.5.
    expected = 2 * norm.cdf(norm.ppf(0.84) * 0.5) - 1
    assert calibration.coverage(calibration.pit(samples, truth), axis=None) == pytest.approx(expected, abs=0.015)


def test_a_shift_shows_in_ranks_and_jointly(rng):
    samples, truth = drawn(rng, shift=0.5)
    assert calibration.pit(samples, truth).mean() < 0.4
    assert photoz.pit_distance(calibration.tarp(samples, truth, 3 * rng.normal(size=(N, D))))[1] < 1e-4


def test_the_joint_test_sees_what_ranks_cannot(rng):
    # Each element is right, but truth's elements move together and the samples' do not.
    truth = np.repeat(rng.normal(size=(N, 1)), D, axis=1)
    samples = rng.normal(size=(K, N, D))
    ranks = calibration.pit(samples, truth)
    assert min(photoz.pit_distance(ranks[:, i])[1] for i in range(D)) > 1e-3
    assert photoz.pit_distance(calibration.tarp(samples, truth, rng.normal(size=(N, D))))[1] < 1e-6


def test_ties_are_split_at_random():
    # Of constants nothing is known of the rank: uniform again.
    ranks = calibration.pit(np.zeros((9, 3000)), np.zeros(3000))
    assert photoz.pit_distance(ranks)[1] > 0.01


def test_what_is_not_known_has_no_rank():
    truth = np.array([0.0, np.nan, 0.0])
    samples = np.zeros((3, 3))
    samples[1, 2] = np.nan
    assert np.isnan(calibration.pit(samples, truth)).tolist() == [False, True, True]
    assert 0 <= calibration.coverage(calibration.pit(samples, truth)) <= 1
