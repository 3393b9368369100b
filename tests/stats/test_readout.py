"""What is read from an encoding: all of what it holds, nothing of what it does not."""

import numpy as np
import pytest
from sklearn.metrics import r2_score

from paper_utils.stats import readout


def test_explained_is_one_for_what_is_known_and_none_for_what_is_not():
    rng = np.random.default_rng(0)
    x, x_test = rng.normal(size=(2000, 3)), rng.normal(size=(500, 3))
    assert readout.explained(x, x[:, 0] ** 2, x_test, x_test[:, 0] ** 2) > 0.9  # not linear
    assert readout.explained(x, rng.normal(size=2000), x_test, rng.normal(size=500)) < 0.1


def test_mean_r2_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    truth, guess = rng.normal(size=(3, 50)), rng.normal(size=(3, 50))
    expected = np.mean([r2_score(*pair) for pair in zip(truth, guess, strict=True)])
    assert readout.mean_r2(*truth, *guess) == pytest.approx(expected)
