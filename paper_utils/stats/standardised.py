"""How well latents are predicted, in units in which guessing the mean costs 1 (study 4, Table 1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation (n_latent,) of the training latents: the unit of study 4's targets."""

    mean: NDArray
    std: NDArray

    @classmethod
    def of(cls, s: ArrayLike) -> Scale:
        """From training latents (N, n_latent)."""
        s = np.asarray(s, float)
        return cls(s.mean(axis=0), s.std(axis=0))

    def standardise(self, s: ArrayLike) -> NDArray:
        return ((np.asarray(s, float) - self.mean) / self.std).astype(np.float32)

    def restore(self, s: ArrayLike) -> NDArray:
        return (np.asarray(s, float) * self.std + self.mean).astype(np.float32)


def mse_standardised(predicted: ArrayLike, target: ArrayLike) -> float:
    """Mean squared error over objects and standardised latents (N, n_latent): what the text calls the loss of Table 1.

    1 for whoever guesses the mean; 1 - R^2 averaged over latents, where the validation set's variance is 1.
    """
    return float(_squares(predicted, target).mean())


def rmse_standardised(predicted: ArrayLike, target: ArrayLike, batch_size: int | None = None) -> float:
    """Root of `mse_standardised`: the loss that the authors' public notebook trains on and prints.

    batch_size : as they average it, over the roots of batches, which is a little less.
    """
    squares = _squares(predicted, target).mean(axis=1)
    if batch_size is None:
        return float(np.sqrt(squares.mean()))
    starts = np.arange(0, len(squares), batch_size)
    sums, sizes = np.add.reduceat(squares, starts), np.diff([*starts, len(squares)])
    return float(np.average(np.sqrt(sums / sizes), weights=sizes))


def r2(predicted: ArrayLike, target: ArrayLike) -> NDArray:
    """Share of each latent's variance that is predicted (n_latent,): 1 perfect, 0 the mean, below 0 worse."""
    target = np.asarray(target, float)
    return 1 - _squares(predicted, target).mean(axis=0) / target.var(axis=0)


def _squares(predicted: ArrayLike, target: ArrayLike) -> NDArray:
    return (np.asarray(predicted, float) - np.asarray(target, float)) ** 2
