"""The two losses of study 4 and the scale in which they are given."""

import numpy as np
import pytest

from paper_utils.stats.standardised import Scale, mse_standardised, r2, rmse_standardised

RNG = np.random.default_rng(0)


def test_scale_standardises_and_restores():
    s = RNG.standard_normal((500, 6)) * np.arange(1, 7) + 3
    scale = Scale.of(s)
    standard = scale.standardise(s)
    assert standard.dtype == np.float32
    assert np.allclose(standard.mean(axis=0), 0, atol=1e-6)
    assert np.allclose(standard.std(axis=0), 1, atol=1e-6)
    assert np.allclose(scale.restore(standard), s, atol=1e-5)


def test_guessing_the_mean_costs_one_and_knowing_half_of_the_variance_a_half():
    target = Scale.of(s := RNG.standard_normal((4000, 6))).standardise(s)
    assert mse_standardised(0 * target, target) == pytest.approx(1)
    assert rmse_standardised(0 * target, target) == pytest.approx(1)
    known, unknown = RNG.standard_normal((2, 200_000, 2)) / np.sqrt(2)
    assert mse_standardised(known, known + unknown) == pytest.approx(0.5, abs=0.01)
    assert rmse_standardised(known, known + unknown) == pytest.approx(0.5**0.5, abs=0.01)
    assert r2(known, known + unknown) == pytest.approx([0.5, 0.5], abs=0.01)


def test_the_mean_over_batches_of_the_root_is_below_the_root_of_the_mean():
    predicted, target = np.zeros((7, 2)), RNG.standard_normal((7, 2))
    roots = [np.sqrt((target[part] ** 2).mean()) for part in (slice(0, 3), slice(3, 6), slice(6, 7))]
    in_batches = rmse_standardised(predicted, target, batch_size=3)
    assert in_batches == pytest.approx(np.average(roots, weights=[3, 3, 1]))
    assert in_batches < rmse_standardised(predicted, target)
    assert rmse_standardised(predicted, target, batch_size=7) == pytest.approx(rmse_standardised(predicted, target))
