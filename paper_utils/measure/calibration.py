"""Are samples of a conditional distribution what they claim to be? Ranks, coverage, and a joint test.

All need only samples, equally many K for each object, drawn independently, and the true values. If truth and samples
come from one distribution, the tests are exact for every K.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.68


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


def from_uniform(values: ArrayLike) -> tuple[float, float]:
    """Largest distance of the distribution of values within 0-1 from the uniform, and its Kolmogorov-Smirnov p."""
    from scipy.stats import kstest

    values = np.ravel(values)
    test = kstest(values[np.isfinite(values)], "uniform")
    return float(test.statistic), float(test.pvalue)
