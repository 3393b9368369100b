"""Calibration of samples: what is right passes, and each way of being wrong is seen and measured."""

import numpy as np
import pytest
from scipy.stats import norm

from paper_utils.measure import calibration

N, K, D = 4000, 15, 5


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
    assert calibration.from_uniform(ranks[:, 0])[1] > 0.01
    share = calibration.coverage(ranks, [0.5, 0.68, 0.9])  # (3, D)
    # Four standard errors of a share of N.
    np.testing.assert_allclose(share, np.tile([[0.5], [0.68], [0.9]], D), atol=4 * 0.5 / np.sqrt(N))
    assert calibration.coverage(ranks, axis=None) == pytest.approx(0.68, abs=4 * 0.5 / np.sqrt(N * D))
    assert calibration.from_uniform(calibration.tarp(samples, truth, rng.normal(size=(N, D))))[1] > 0.01


def test_narrow_samples_cover_as_little_as_they_must(rng):
    samples, truth = drawn(rng, width=0.5, k=399)
    # The central 68 % of N(0, 0.5) reach 0.994 x 0.5.
    expected = 2 * norm.cdf(norm.ppf(0.84) * 0.5) - 1
    assert calibration.coverage(calibration.pit(samples, truth), axis=None) == pytest.approx(expected, abs=0.015)


def test_a_shift_shows_in_ranks_and_jointly(rng):
    samples, truth = drawn(rng, shift=0.5)
    assert calibration.pit(samples, truth).mean() < 0.4
    assert calibration.from_uniform(calibration.tarp(samples, truth, 3 * rng.normal(size=(N, D))))[1] < 1e-4


def test_the_joint_test_sees_what_ranks_cannot(rng):
    # Each element is right, but truth's elements move together and the samples' do not.
    truth = np.repeat(rng.normal(size=(N, 1)), D, axis=1)
    samples = rng.normal(size=(K, N, D))
    ranks = calibration.pit(samples, truth)
    assert min(calibration.from_uniform(ranks[:, i])[1] for i in range(D)) > 1e-3
    assert calibration.from_uniform(calibration.tarp(samples, truth, rng.normal(size=(N, D))))[1] < 1e-6


def test_ties_are_split_at_random():
    # Of constants nothing is known of the rank: uniform again.
    ranks = calibration.pit(np.zeros((9, 3000)), np.zeros(3000))
    assert calibration.from_uniform(ranks)[1] > 0.01


def test_what_is_not_known_has_no_rank():
    truth = np.array([0.0, np.nan, 0.0])
    samples = np.zeros((3, 3))
    samples[1, 2] = np.nan
    assert np.isnan(calibration.pit(samples, truth)).tolist() == [False, True, True]
    assert 0 <= calibration.coverage(calibration.pit(samples, truth)) <= 1
