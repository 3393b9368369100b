"""Are predicted uncertainties right? Of predictions that are a mean and a standard deviation, or samples.

Ranks and probabilities below the truth are uniform if they are right: `photoz.pit_distance` says how far from it. Of
samples there must be equally many for each object, drawn independently; the tests are then exact for every number.
All shapes but the samples' are (N, ...).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

LEVEL = 0.68


def gaussian_pit(truth: ArrayLike, mean: ArrayLike, std: ArrayLike) -> NDArray:
    """Probability below the truth: uniform between 0 and 1 if means and standard deviations are right."""
    return ndtr((np.asarray(truth, float) - mean) / std)


def gaussian_nll(truth: ArrayLike, mean: ArrayLike, std: ArrayLike) -> NDArray:
    """Negative log likelihood of each truth [nats]; 1.419 for a standard normal that is right."""
    z = (np.asarray(truth, float) - mean) / std
    return 0.5 * (z**2 + np.log(2 * np.pi)) + np.log(std)


def gaussian_crps(truth: ArrayLike, mean: ArrayLike, std: ArrayLike) -> NDArray:
    """Continuous ranked probability score of each truth, in its unit: the absolute error where std is 0.

    Gneiting & Raftery 2007, eq. 21. Less sensitive to rare outliers than a likelihood.
    """
    std = np.asarray(std, float)
    z = (np.asarray(truth, float) - mean) / std
    return std * (z * (2 * ndtr(z) - 1) + np.sqrt(2 / np.pi) * np.exp(-(z**2) / 2) - 1 / np.sqrt(np.pi))


def inflation(truth: ArrayLike, mean: ArrayLike, std: ArrayLike) -> NDArray:
    """Factor per column (K,) by which std (N, K) must grow for its 68 % to hold 68 % of the truths (N, K).

    From objects that were not trained on, and for others than these: split-conformal calibration.
    """
    return np.quantile(np.abs(np.asarray(truth, float) - mean) / std, 0.68, axis=0)


def pit(samples: ArrayLike, truth: ArrayLike, seed: int = 0) -> NDArray:
    """Probability integral transform: where truth (N, ...) ranks among samples (K, N, ...), (N, ...) within 0-1.

    Uniform if calibrated; ties, and the place between two samples, are drawn at random. NaN where truth or a sample is.
    """
    samples, truth = np.asarray(samples), np.asarray(truth)
    below, equal = (samples < truth).sum(axis=0), (samples == truth).sum(axis=0)
    u = np.random.default_rng(seed).random(truth.shape)
    known = np.isfinite(truth) & np.isfinite(samples).all(axis=0)
    return np.where(known, (below + u * (equal + 1)) / (len(samples) + 1), np.nan)


def coverage(pit_values: ArrayLike, level: float | ArrayLike = LEVEL, axis: int | None = 0) -> NDArray:
    """Share of truths within the central interval of `level` of their samples, from `pit`; over objects (`axis` 0).

    level : a number, or (M,) numbers: the result then has M first. Equal to `level` if calibrated, for every K.
    """
    distance = np.abs(np.asarray(pit_values) - 0.5)
    half = np.expand_dims(level, tuple(range(-distance.ndim, 0))) / 2
    inside = np.where(np.isnan(distance), np.nan, distance <= half)
    return np.nanmean(inside, axis=axis if axis is None or np.ndim(level) == 0 else axis + 1)


def tarp(samples: ArrayLike, truth: ArrayLike, references: ArrayLike) -> NDArray:
    """Share (N,) of samples (K, N, D) nearer to a reference (N, D) than truth (N, D) is: uniform if calibrated.

    The joint test of Lemos+ 2023 (2023PMLR..20219256L, "Tests of Accuracy with Random Points"): unlike `pit` of each
    element it sees correlations that are wrong. References may be anything drawn without knowledge of the truth.
    Distances are Euclidean: give elements of like scale. Ranks are randomised as those of `pit`.
    """
    samples, truth, references = (np.asarray(a, float) for a in (samples, truth, references))
    return pit(np.linalg.norm(samples - references, axis=-1), np.linalg.norm(truth - references, axis=-1))
