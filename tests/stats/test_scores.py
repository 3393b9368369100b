"""Figures of merit against what follows from their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paper_utils.stats import scores


@given(alpha=st.floats(0.01, 50), level=st.floats(1e-3, 1e3))
def test_chi2_of_a_spectrum_wrong_by_one_factor(alpha, level):
    model = level * np.linspace(1, 3, 7)[None]
    expected = 100 * (1 - alpha) ** 2 / (1 + alpha**2)  # the paper's expression, Sec. 4
    assert scores.chi2(alpha * model, model)[0] == pytest.approx(expected, rel=1e-9)
    assert scores.chi2_of_factor(alpha) == pytest.approx(expected)


@given(factor=st.floats(1e-6, 1e6))
def test_chi2_knows_neither_scale_nor_order(factor):
    a, b = np.random.default_rng(0).uniform(1, 2, (2, 3, 9))
    np.testing.assert_allclose(scores.chi2(factor * a, factor * b), scores.chi2(b, a), rtol=1e-9)


def test_factor_interval_is_where_chi2_reaches_its_limit():
    for limit in (1.0, 3.0, 5.0):
        np.testing.assert_allclose(scores.chi2_of_factor(scores.factor_interval(limit)), limit)
    # The paper prints this interval for 5, and [0.78, 1.28] for 3.
    np.testing.assert_allclose(scores.factor_interval(5), [0.72395, 1.38132], atol=1e-5)
    np.testing.assert_allclose(scores.factor_interval(3), [0.78, 1.28], atol=0.005)


def test_chi2_is_largest_for_a_spectrum_that_vanishes():
    assert scores.chi2([[0.0, 0.0]], [[1.0, 2.0]])[0] == pytest.approx(100)  # (S - 0)^2 / (0.1 S)^2
    assert scores.chi2([[0.0]], [[0.0]])[0] == 0


def test_bootstrap_interval_of_a_share_is_binomial():
    successes = np.repeat([100.0, 0.0], [720, 280])
    low, high = scores.bootstrap(successes, n_resamples=5000)
    sigma = 100 * np.sqrt(0.72 * 0.28 / 1000)
    assert (high - low) / 2 == pytest.approx(sigma, rel=0.08)
    assert low < 72 < high


def test_interval_of_a_correlation_is_fishers_and_of_a_paired_difference_is_narrow():
    x, noise = np.random.default_rng(0).normal(size=(2, 1500))
    y = 0.6 * x + 0.8 * noise

    def r(a, b):
        return np.corrcoef(a, b)[0, 1]

    value, low, high = scores.interval(r, x, y)
    assert value == pytest.approx(r(x, y))
    assert (np.arctanh(high) - np.arctanh(low)) / 2 == pytest.approx(1 / np.sqrt(1500), rel=0.15)
    _, low, high = scores.interval(lambda a, b: np.mean(a - b), y, y + 1)
    assert (low, high) == pytest.approx((-1, -1))


def test_interval_of_a_share_is_binomial_and_stays_wide_at_the_ends():
    value, low, high = scores.share(np.repeat([True, False], [720, 280]))
    assert value == pytest.approx(72)
    assert (high - low) / 2 == pytest.approx(100 * np.sqrt(0.72 * 0.28 / 1000), rel=0.02)
    value, low, high = scores.share(np.ones(100, bool))
    # Wilson: n / (n + 1) at one sigma (0.994 sigma for 68 %).
    assert low == pytest.approx(100 * 100 / (100 + 0.9945**2), abs=0.01)
    assert value == pytest.approx(100)
    assert high == pytest.approx(100)


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("score", [scores.chi2, scores.amse])
def test_a_spectrum_that_is_not_finite_is_infinitely_bad(score, broken):
    """And zero is no such spectrum: where both fluxes are zero nothing differs."""
    found, truth = np.ones((3, 4)), np.ones((3, 4))
    found[1, 2], found[2, 0], truth[2, 0] = broken, 0, 0
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(score(found, truth), [0, np.inf, 0])


def test_coverage_of_gaussian_errors_is_the_level():
    rng = np.random.default_rng(1)
    std = rng.uniform(0.1, 3, 40_000)
    truth = rng.normal(5, std)
    levels = [0.1, 0.5, 0.68, 0.95]
    np.testing.assert_allclose(scores.coverage(truth, 5.0, std, levels), levels, atol=0.01)
    # Error bars half as wide as they should be: 68 % intervals hold what 0.497 sigma hold, 38 %.
    assert scores.coverage(truth, 5.0, std / 2, [0.6827])[0] == pytest.approx(0.383, abs=0.01)


def test_interval_over_seeds_holds_the_truth_as_often_as_it_says():
    rng, held = np.random.default_rng(0), []
    for _ in range(400):
        seeds, objects = 0.2 * rng.standard_normal((3, 1)), rng.standard_normal(50)
        means = [values.mean() for values in seeds + objects + 0.1 * rng.standard_normal((3, 50))]
        of_objects = objects.std(ddof=1) / np.sqrt(50)
        _, low, high = scores.over_seeds([(mean, mean - of_objects, mean + of_objects) for mean in means])
        held.append(low < 0 < high)
    assert 0.64 < np.mean(held) < 0.76  # the quadrature of a Gaussian and a Student's t is wide by a little


def test_interval_of_one_seed_is_that_of_the_objects():
    assert scores.over_seeds([(5.0, 4.0, 7.0)]) == pytest.approx((5, 4, 7))
