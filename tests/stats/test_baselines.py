"""Plain methods on relations whose answer is known."""

import numpy as np
import pytest

from paper_utils.stats import scores as metrics
from paper_utils.stats.baselines import BASELINES, GaussianProcess, linear_inverse


def problem(n=600, curvature=0.0, seed=0):
    """Spectra of 20 bins made by 3 parameters, seen in 6 bands; linear, or bent by `curvature`."""
    rng = np.random.default_rng(seed)
    parameters = rng.uniform(-1, 1, (n, 3))
    to_y, to_x = np.random.default_rng(99).normal(size=(2, 3, 20))
    y = (parameters @ to_y)[:, :6]
    x = parameters @ to_x + curvature * np.sin(3 * parameters[:, :1]) * to_x[0]
    return y, x


def error(predicted, truth):
    return np.sqrt(((predicted - truth) ** 2).mean()) / truth.std()


def test_mean_spectrum_predicts_the_mean():
    y, x = problem()
    np.testing.assert_allclose(BASELINES["mean spectrum"](y, x, y[:2]), [x.mean(0)] * 2)


def test_nearest_neighbour_knows_its_own_training_set():
    y, x = problem()
    np.testing.assert_allclose(BASELINES["nearest neighbour"](y, x, y[:50]), x[:50])


@pytest.mark.parametrize("method", [BASELINES["ridge regression"], linear_inverse], ids=["ridge", "PCA"])
def test_a_linear_relation_is_solved_by_linear_methods(method):
    (y, x), (y_test, x_test) = problem(), problem(200, seed=1)
    settings = {} if method is BASELINES["ridge regression"] else {"n_components": 3}
    assert error(method(y, x, y_test, **settings), x_test) < 1e-2


def test_gaussian_process_bends_where_ridge_cannot():
    (y, x), (y_test, x_test) = problem(curvature=2.0), problem(200, curvature=2.0, seed=1)
    process = GaussianProcess().fit(y, x)
    mean, half = process.predict(y_test)
    assert error(mean, x_test) < 0.2 * error(BASELINES["ridge regression"](y, x, y_test), x_test)
    assert mean.shape == half.shape == x_test.shape


def test_gaussian_process_intervals_hold_what_they_say():
    # Noise that no method can predict, of unequal size in each bin: 68 % of the truths must still lie inside.
    rng = np.random.default_rng(5)
    noise = np.linspace(0.05, 0.5, 20)
    (y, x), (y_test, x_test) = problem(2000, curvature=1.0), problem(1000, curvature=1.0, seed=1)
    process = GaussianProcess().fit(y, x + rng.normal(0, noise, x.shape))
    mean, half = process.predict(y_test)
    inside = np.abs(x_test + rng.normal(0, noise, x_test.shape) - mean) < half
    # Calibrated on 500 spectra: binomial scatter of a bin is sqrt(0.68 * 0.32 / 500) = 2 %.
    np.testing.assert_allclose(inside.mean(0), 0.68, atol=0.08)
    assert metrics.coverage(x_test, mean, half, [0.68]).shape == (1,)


def test_gradient_boosting_follows_a_bend():
    (y, x), (y_test, x_test) = problem(2000, curvature=2.0), problem(200, curvature=2.0, seed=1)
    assert error(BASELINES["gradient boosting"](y, x, y_test), x_test) < 0.4
