"""What an encoding still knows of an object: its parameters as boosted trees read them, and how well (R^2)."""

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics import r2_score


def guessed(x: NDArray, target: NDArray, x_test: NDArray, n_max: int = 5000) -> NDArray:
    """A test set's targets (N,), predicted from x (N, K) by boosted trees learned on the first n_max objects.

    Trees, because latents are not linear in the parameters; the same learner for every encoding keeps them comparable.
    """
    trees = HistGradientBoostingRegressor(max_iter=100, learning_rate=0.1, random_state=0)
    return trees.fit(x[:n_max], target[:n_max]).predict(x_test)


def mean_r2(*columns: NDArray) -> float:
    """R^2 averaged over quantities; columns (N,) are their true values and then, in the same order, the guesses."""
    n = len(columns) // 2
    return float(r2_score(np.stack(columns[:n], axis=1), np.stack(columns[n:], axis=1)))


def explained(x: NDArray, target: NDArray, x_test: NDArray, target_test: NDArray) -> float:
    """R^2 of what is `guessed`."""
    return mean_r2(target_test, guessed(x, target, x_test))
