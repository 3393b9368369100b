"""Are predicted uncertainties right? Of predictions that are a mean and a standard deviation, or samples.

`photoz.pit_distance` and `metrics.coverage` judge what these return; all shapes but the samples' are (N, ...).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def gaussian_pit(truth: ArrayLike, mean: ArrayLike, std: ArrayLike) -> NDArray:
    """Probability below the truth: uniform between 0 and 1 if means and standard deviations are right."""
    from scipy.special import ndtr

    return ndtr((np.asarray(truth, float) - mean) / std)


def gaussian_nll(truth: ArrayLike, mean: ArrayLike, std: ArrayLike) -> NDArray:
    """Negative log likelihood of each truth [nats]; 1.419 for a standard normal that is right."""
    z = (np.asarray(truth, float) - mean) / std
    return 0.5 * (z**2 + np.log(2 * np.pi)) + np.log(std)


def gaussian_crps(truth: ArrayLike, mean: ArrayLike, std: ArrayLike) -> NDArray:
    """Continuous ranked probability score of each truth, in its unit: the absolute error where std is 0.

    Gneiting & Raftery 2007, eq. 21. Unlike a likelihood it forgives a rare surprise.
    """
    from scipy.special import ndtr

    std = np.asarray(std, float)
    z = (np.asarray(truth, float) - mean) / std
    return std * (z * (2 * ndtr(z) - 1) + np.sqrt(2 / np.pi) * np.exp(-(z**2) / 2) - 1 / np.sqrt(np.pi))


def inflation(truth: ArrayLike, mean: ArrayLike, std: ArrayLike) -> NDArray:
    """Factor per column (K,) by which std (N, K) must grow for its 68 % to hold 68 % of the truths (N, K).

    From objects that were not trained on, and for others than these: split-conformal calibration.
    """
    return np.quantile(np.abs(np.asarray(truth, float) - mean) / std, 0.68, axis=0)


def interval_coverage(truth: ArrayLike, samples: ArrayLike, level: float = 0.68) -> NDArray:
    """Share (L,) of truths (N, L) inside the central interval of samples (n_draws, N, L), element by element."""
    low, high = np.quantile(np.asarray(samples), [(1 - level) / 2, (1 + level) / 2], axis=0)
    truth = np.asarray(truth)
    return ((truth >= low) & (truth <= high)).mean(axis=0)
