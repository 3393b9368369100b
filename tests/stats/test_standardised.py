"""The loss of study 4, its intervals, and the share of a variance."""

import numpy as np
import pytest

from paper_utils.stats.standardised import r2, rmse, rmse_intervals, squares

RNG = np.random.default_rng(0)


def test_guessing_the_mean_costs_one_and_knowing_half_of_the_variance_a_half():
    s = RNG.standard_normal((4000, 6))
    target = (s - s.mean(axis=0)) / s.std(axis=0)
    assert rmse(0 * target, target) == pytest.approx(1)
    known, unknown = RNG.standard_normal((2, 200_000, 2)) / np.sqrt(2)
    assert squares(known, known + unknown).mean() == pytest.approx(0.5, abs=0.01)
    assert rmse(known, known + unknown) == pytest.approx(0.5**0.5, abs=0.01)
    assert r2(known, known + unknown) == pytest.approx([0.5, 0.5], abs=0.01)


def test_intervals_of_the_rmse_are_as_wide_as_it_scatters_over_samples():
    """chi2 of six latents: its root over N objects scatters by 1 / sqrt(2 x 6 N) about 1."""
    draws = RNG.standard_normal((400, 500, 6))
    scatter = np.sqrt((draws**2).mean(axis=(1, 2))).std()
    assert scatter == pytest.approx((12 * 500) ** -0.5, rel=0.1)
    value, low, high = rmse_intervals({"a": squares(draws[0], 0 * draws[0])})["a"]
    assert value == pytest.approx(1, abs=4 * scatter)
    assert (high - low) / 2 == pytest.approx(scatter, rel=0.15)


def test_differences_are_paired():
    """Of two methods that share nearly all of their error, the difference is known far better than either."""
    common = RNG.chisquare(6, 1000) / 6
    found = rmse_intervals({"a": common, "b": 1.1 * common}, [("b", "a")])
    assert found["b-a"][0] == pytest.approx(found["b"][0] - found["a"][0])
    width = {name: high - low for name, (_, low, high) in found.items()}
    assert width["b-a"] < 0.1 * width["a"]


def test_intervals_cover_random_starts():
    """Nine starts that differ by far more than the sample's chance."""
    errors = np.linspace(0.5, 1.5, 9)[:, None] + 0.01 * RNG.standard_normal((9, 1000))
    value, low, high = rmse_intervals({"a": errors})["a"]
    roots = np.sqrt(np.linspace(0.5, 1.5, 9))
    assert value == pytest.approx(roots.mean(), abs=0.01)
    assert (high - low) / 2 == pytest.approx(roots.std() / 3, rel=0.1)
