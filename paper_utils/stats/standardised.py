"""How well latents are predicted, in units in which guessing the mean costs 1 (study 4, Table 1)."""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from paper_utils.stats.calibration import LEVEL

N_RESAMPLES = 2000  # of the bootstrap


def rmse(predicted: ArrayLike, target: ArrayLike) -> float:
    """Root of the mean squared error over objects and standardised latents (N, n_latent): the loss of Table 1.

    1 for whoever guesses the mean. (The authors average the roots of batches, which is a little less.)
    """
    return float(np.sqrt(squares(predicted, target).mean()))


def squares(predicted: ArrayLike, target: ArrayLike) -> NDArray:
    """Squared error (N,) of each object, averaged over its standardised latents (N, n_latent)."""
    return ((np.asarray(predicted, float) - np.asarray(target, float)) ** 2).mean(axis=1)


def rmse_intervals(
    errors: Mapping[str, ArrayLike], pairs: Iterable[tuple[str, str]] = ()
) -> dict[str, tuple[float, float, float]]:
    """(value, low, high) of the RMSE of each method, and of the difference "a-b" of `pairs`: 68 %, by bootstrap.

    errors : `squares` (S, N) by method, of S random starts on the same N objects; the value is the mean over starts.
    Objects and starts are drawn with replacement, the same for all methods: differences are paired.
    """
    errors = {name: np.atleast_2d(values) for name, values in errors.items()}
    n = next(iter(errors.values())).shape[1]
    share = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), N_RESAMPLES) / n
    value = {name: np.sqrt(found.mean(axis=1)).mean() for name, found in errors.items()}
    drawn = {}
    for name, found in errors.items():
        starts = np.random.default_rng(1).integers(0, len(found), (N_RESAMPLES, len(found)))
        drawn[name] = np.take_along_axis(np.sqrt(share @ found.T), starts, axis=1).mean(axis=1)
    for a, b in pairs:
        value[f"{a}-{b}"], drawn[f"{a}-{b}"] = value[a] - value[b], drawn[a] - drawn[b]
    ends = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    return {name: (float(value[name]), *np.quantile(drawn[name], ends).tolist()) for name in value}


def r2(predicted: ArrayLike, target: ArrayLike) -> NDArray:
    """Share of each latent's variance that is predicted (n_latent,): 1 perfect, 0 the mean, below 0 worse."""
    target = np.asarray(target, float)
    return 1 - ((np.asarray(predicted, float) - target) ** 2).mean(axis=0) / target.var(axis=0)
