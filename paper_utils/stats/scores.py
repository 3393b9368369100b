"""How good is a reconstruction: the papers' figures of merit, with intervals."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest, norm
from scipy.stats import t as student_t

UNCERTAINTY = 0.1  # of both spectra, relative


def chi2(reconstructed: ArrayLike, model: ArrayLike) -> NDArray:
    """Mean chi^2 per wavelength of each spectrum, both uncertain by 10 %: Rissaki+ 2023 eq. 6. (N, L), (N, L) -> (N,).

    Fluxes are linear. Where both are zero the term is zero: nothing differs there. A spectrum that is not finite
    everywhere is infinitely bad.
    """
    rec, mod = np.asarray(reconstructed, float), np.asarray(model, float)
    variance = UNCERTAINTY**2 * (rec**2 + mod**2)
    with np.errstate(invalid="ignore"):
        return _worst(np.divide((rec - mod) ** 2, variance, out=np.zeros_like(variance), where=variance != 0).mean(-1))


def chi2_of_factor(alpha: ArrayLike) -> NDArray:
    """chi^2 of a spectrum that is wrong by one factor, S_rec = alpha S_mod (Rissaki+ 2023, Sec. 4)."""
    alpha = np.asarray(alpha, float)
    return (1 - alpha) ** 2 / (UNCERTAINTY**2 * (1 + alpha**2))


def factor_interval(limit: float) -> tuple[float, float]:
    """The factors a for which `chi2_of_factor` is below `limit`.

    They lie between the roots of (1 - c) a^2 - 2 a + (1 - c) = 0 with c = limit * `UNCERTAINTY`^2.
    """
    a = 1 - limit * UNCERTAINTY**2
    root = np.sqrt(1 - a**2)
    return float((1 - root) / a), float((1 + root) / a)


def amse(reconstructed: ArrayLike, model: ArrayLike) -> NDArray:
    """Mean squared error of each spectrum in the space of its arguments; infinite for one that is not finite.

    (N, L), (N, L) -> (N,).
    """
    return _worst(((np.asarray(reconstructed, float) - np.asarray(model, float)) ** 2).mean(-1))


def _worst(badness: NDArray) -> NDArray:
    """The same with infinity for NaN: what cannot be scored is never good."""
    return np.where(np.isnan(badness), np.inf, badness)


def bootstrap(
    values: ArrayLike, statistic: Callable[..., NDArray] = np.mean, n_resamples: int = 2000, **options
) -> tuple[float, float]:
    """The ends of the `interval` of statistic(values, axis=-1), values (N,); options : its `level` and `seed`."""
    return interval(lambda drawn: statistic(drawn, axis=-1), values, n_resamples=n_resamples, **options)[1:]


def interval(
    statistic: Callable[..., float], *samples: ArrayLike, level: float = 0.68, n_resamples: int = 200, seed: int = 0
) -> tuple[float, float, float]:
    """statistic(*samples) of samples (N,) of the same objects, and its percentile interval over resampled objects."""
    samples, rng = [np.asarray(sample) for sample in samples], np.random.default_rng(seed)
    again = (rng.integers(0, len(samples[0]), len(samples[0])) for _ in range(n_resamples))
    values = [statistic(*(sample[rows] for sample in samples)) for rows in again]
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(statistic(*samples)), float(low), float(high)


def over_seeds(estimates: Sequence[tuple[float, float, float]]) -> tuple[float, float, float]:
    """One estimate with its 68 % interval, (value, low, high), from those of networks of K seeds on the same objects.

    The mean interval, which is of the objects, and the standard error of the mean over seeds, times Student's t for
    K - 1 degrees of freedom, add in quadrature. A single network says nothing of the scatter between seeds.
    """
    value, low, high = np.mean(estimates, axis=0)
    n_seeds, between = len(estimates), 0.0
    if n_seeds > 1:
        scatter = np.std([estimate[0] for estimate in estimates], ddof=1)
        between = scatter / np.sqrt(n_seeds) * student_t.ppf(norm.cdf(1), n_seeds - 1)
    return float(value), float(value - np.hypot(value - low, between)), float(value + np.hypot(high - value, between))


def share(successes: ArrayLike) -> tuple[float, float, float]:
    """Share [%] of true values (N,) and its 68 % Wilson interval, (value, low, high); NaN for none.

    The interval has a width at 0 and 100 % too.
    """
    successes = np.asarray(successes, bool)
    if not successes.size:
        return np.nan, np.nan, np.nan
    test = binomtest(int(successes.sum()), successes.size)
    low, high = test.proportion_ci(0.68, method="wilson")
    return 100 * test.statistic, 100 * low, 100 * high


def coverage(truth: ArrayLike, mean: ArrayLike, std: ArrayLike, levels: ArrayLike) -> NDArray:
    """Share of truths inside the central Gaussian interval of each level (K,): (K,), equal to it if calibrated."""
    sigma = np.abs(np.asarray(truth) - np.asarray(mean)) / np.asarray(std)
    return np.array([(sigma <= norm.ppf((1 + level) / 2)).mean() for level in np.atleast_1d(levels)])
