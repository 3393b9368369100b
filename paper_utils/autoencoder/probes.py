"""What an encoding of spectra is worth: how far it moves, what it looks at, what it finds."""

from collections.abc import Callable

import numpy as np
import torch
from astropy.stats import mad_std
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binned_statistic
from sklearn.metrics import roc_auc_score
from torch import Tensor

from paper_utils.autoencoder.model import moved
from paper_utils.base.constants import C_KMS

# Emission lines and the continuum on both sides, as of Lick indices: ((blue), (line), (red)), air Angstrom.
EMISSION = {
    "OII": ((3700.0, 3715.0), (3718.0, 3738.0), (3741.0, 3756.0)),
    "Hbeta": ((4815.0, 4845.0), (4851.0, 4871.0), (4878.0, 4908.0)),
    "OIII": ((4978.0, 4993.0), (4997.0, 5017.0), (5022.0, 5042.0)),
    "Halpha": ((6500.0, 6530.0), (6554.0, 6573.0), (6610.0, 6650.0)),
    "NII": ((6500.0, 6530.0), (6575.0, 6593.0), (6610.0, 6650.0)),
}


def seen_at(data: dict[str, Tensor], z: float) -> dict[str, Tensor]:
    """Spectra {"y", "w", "z"} as if all at about redshift z: the same of `model.moved`, with its "unit" (N, 1)."""
    found = moved(data["y"], data["w"], data["z"], torch.full_like(data["z"], z))
    return dict(zip(("y", "w", "z", "unit"), found, strict=True))


def displacement(s: Tensor, origin: Tensor, population: Tensor) -> Tensor:
    """Distance (N,) between latents s and origin (N, S), in units of the scatter of a `population`: Mahalanobis' over
    sqrt(S).

    Whatever the latents' linear transform, so that no network can shorten it by a unit; two random members are sqrt(2)
    apart, in the root mean square.
    """
    inverse = torch.linalg.inv(population.double().T.cov())
    apart = (s - origin).double()
    return ((apart @ inverse * apart).sum(dim=1) / s.shape[1]).sqrt().to(s)


def gradient_weight(encode: Callable[..., Tensor], y: Tensor, z: Tensor, w: Tensor, spread: Tensor) -> Tensor:
    """How far latents encode(y, z, w) move with the flux of each spectral element: |ds/dy| (N, L), latents in units of
    spread (S,)."""
    y = y.clone().requires_grad_()
    s = encode(y, z, w) / spread
    slopes = (torch.autograd.grad(latent.sum(), y, retain_graph=True)[0] for latent in s.T)
    return sum(slope.square() for slope in slopes).sqrt()


def by_rest_wavelength(values: Tensor, w: Tensor, wave_obs: NDArray, z: Tensor, edges: NDArray) -> NDArray:
    """Mean of values (N, L) over usable elements (w > 0) in bins of rest-frame wavelength, (B,); NaN in empty bins."""
    wave_rest = np.asarray(wave_obs) / (1 + z.cpu().double().numpy()[:, None])
    used = w.cpu().numpy() > 0
    return binned_statistic(wave_rest[used], values.cpu().numpy()[used], bins=edges).statistic


def line_strength(wave: ArrayLike, flux: ArrayLike, centre: float, core: float, sides: float) -> NDArray:
    """Flux (N,) within `core` of `centre` above the mean from there to `sides`, all Angstrom; wave (R,) is linear."""
    wave, flux = np.asarray(wave), np.asarray(flux)
    distance = np.abs(wave - centre)
    continuum = flux[:, (distance > core) & (distance < sides)].mean(axis=1, keepdims=True)
    return (flux - continuum)[:, distance < core].sum(axis=1) * np.diff(wave).mean()


def roc_area(ordinary: NDArray, odd: NDArray) -> float:
    """Area under the ROC curve of a score (N,) that is to be higher for what is odd: 0.5 finds nothing, 1 finds all."""
    is_odd = np.arange(len(ordinary) + len(odd)) >= len(ordinary)
    return float(roc_auc_score(is_odd, np.concatenate([ordinary, odd])))


def redshift_errors(z: Tensor, z_true: Tensor, limit: float = 1000.0) -> tuple[NDArray, float]:
    """Which redshifts (N,) are within `limit` [km/s], and the scatter of those [km/s], from their median deviation."""
    error = ((z - z_true) / (1 + z_true)).cpu().numpy() * C_KMS
    right = np.abs(error) < limit
    return right, float(mad_std(error[right]))
