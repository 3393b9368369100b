"""Weights that make a selected sample stand for all objects, such as those with spectra for those with photometry."""

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import cross_val_predict

LARGEST = 50.0  # times the mean: a few objects that stand for very many make any estimate noisy


def weights(x: NDArray, everyone: NDArray, seed: int = 0) -> NDArray:
    """Weights (N,), mean 1, of selected objects x (N, n), by which they are distributed as `everyone` (M, n) where the
    two overlap; NaN is a value like another.

    The ratio of the two densities as the odds of a classifier that tells them apart, each object's by trees that were
    not taught it (as Lima+ 2008, 2008MNRAS.390..118L, from counts of neighbours). What is not among the selected
    objects at all no weight can bring back.
    """
    both, kind = np.concatenate([x, everyone]), np.repeat([0, 1], [len(x), len(everyone)])
    how = {"learning_rate": 0.1, "min_samples_leaf": 100, "early_stopping": True}  # noise would make weights of its own
    trees = HistGradientBoostingClassifier(**how, random_state=seed)
    p = cross_val_predict(trees, both, kind, cv=3, method="predict_proba")[: len(x), 1].clip(1e-6, 1 - 1e-6)
    odds = p / (1 - p)
    odds = np.minimum(odds / odds.mean(), LARGEST)
    return odds / odds.mean()


def effective_size(w: NDArray) -> float:
    """How many objects of equal weight say as much as these of weights (N,) (Kish 1965): at most N."""
    return float(w.sum() ** 2 / (w**2).sum())
