"""What an encoding of spectra is worth: how far it moves, what it looks at, what it still knows of the galaxy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from astropy.stats import mad_std
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from paper_utils.autoencoder.model import shifted
from paper_utils.base.constants import C_KMS


def seen_at(data: dict[str, Tensor], z: float) -> dict[str, Tensor]:
    """Spectra {"y", "w", "z"} as if all at about redshift z (`model.shifted`)."""
    moved = shifted(data["y"], data["w"], data["z"], torch.full_like(data["z"], z))
    return dict(zip("ywz", moved, strict=True))


def displacement(s: Tensor, origin: Tensor, population: Tensor) -> Tensor:
    """Distance (N,) between latents s and origin (N, S), in units of the rms distance of `population` from its mean.

    Independent of how the latents are rotated or scaled together; two random members are sqrt(2) apart.
    """
    spread = population.var(dim=0).sum().sqrt()
    return (s - origin).norm(dim=1) / spread


def gradient_weight(encode: Callable[[Tensor, Tensor], Tensor], y: Tensor, z: Tensor, spread: Tensor) -> Tensor:
    """How far latents move with the flux of each spectral element: |ds/dy| (N, L), latents in units of spread (S,)."""
    y = y.clone().requires_grad_()
    s = encode(y, z) / spread
    total = torch.zeros_like(y)
    for k in range(s.shape[1]):
        (slope,) = torch.autograd.grad(s[:, k].sum(), y, retain_graph=k + 1 < s.shape[1])
        total += slope.square()
    return total.sqrt()


def by_rest_wavelength(values: Tensor, w: Tensor, wave_obs: NDArray, z: Tensor, edges: NDArray) -> NDArray:
    """Mean of values (N, L) over usable elements (w > 0) in bins of rest-frame wavelength, (B,); NaN in empty bins."""
    wave_rest = np.asarray(wave_obs) / (1 + z.cpu().double().numpy()[:, None])
    used = w.cpu().numpy() > 0
    total, count = (
        np.histogram(wave_rest[used], edges, weights=weights)[0] for weights in (values.cpu().numpy()[used], None)
    )
    return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)


def line_strength(wave: ArrayLike, flux: ArrayLike, centre: float, core: float, sides: float) -> NDArray:
    """Flux (N,) within `core` of `centre` above the mean from there to `sides`, all Angstrom; wave (R,) is linear."""
    wave, flux = np.asarray(wave), np.asarray(flux)
    distance = np.abs(wave - centre)
    continuum = flux[:, (distance > core) & (distance < sides)].mean(axis=1, keepdims=True)
    return (flux - continuum)[:, distance < core].sum(axis=1) * np.diff(wave).mean()


def guessed(x: NDArray, target: NDArray, x_test: NDArray, n_max: int = 5000) -> NDArray:
    """A test set's targets (N,), predicted from x (N, K) by boosted trees learned on the first n_max objects.

    Trees, because latents are not linear in the parameters; the same learner for every encoding keeps them comparable.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    trees = HistGradientBoostingRegressor(max_iter=100, learning_rate=0.1, random_state=0)
    return trees.fit(x[:n_max], target[:n_max]).predict(x_test)


def mean_r2(*columns: NDArray) -> float:
    """R^2 averaged over quantities; columns (N,) are their true values and then, in the same order, the guesses."""
    from sklearn.metrics import r2_score

    n = len(columns) // 2
    return float(r2_score(np.stack(columns[:n], axis=1), np.stack(columns[n:], axis=1)))


def roc_area(ordinary: NDArray, odd: NDArray) -> float:
    """Area under the ROC curve of a score (N,) that is to be higher for what is odd: 0.5 finds nothing, 1 finds all."""
    from sklearn.metrics import roc_auc_score

    is_odd = np.arange(len(ordinary) + len(odd)) >= len(ordinary)
    return float(roc_auc_score(is_odd, np.concatenate([ordinary, odd])))


def redshift_errors(z: Tensor, z_true: Tensor, limit: float = 1000.0) -> tuple[NDArray, float]:
    """Which redshifts (N,) are within `limit` [km/s], and the scatter of those [km/s], from their median deviation."""
    error = ((z - z_true) / (1 + z_true)).cpu().numpy() * C_KMS
    right = np.abs(error) < limit
    return right, float(mad_std(error[right]))


def explained(x: NDArray, target: NDArray, x_test: NDArray, target_test: NDArray) -> float:
    """R^2 of what is `guessed`."""
    return mean_r2(target_test, guessed(x, target, x_test))
