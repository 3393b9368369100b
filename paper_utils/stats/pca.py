"""Principal components of spectra with gaps: the linear counterpart of an autoencoder, and its start."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Components:
    """mean (R,) and components (K, R), orthonormal, on one rest-frame grid."""

    mean: Tensor
    components: Tensor

    def encode(self, x: Tensor, w: Tensor) -> Tensor:
        """Coefficients (N, K) of spectra x (N, R) by least squares with weights w (N, R), 0 where x is unknown."""
        normal = _normal(w, self.components.T)
        trace = normal.diagonal(dim1=1, dim2=2).mean(dim=1)[:, None, None]
        normal = normal + 1e-6 * trace * torch.eye(normal.shape[-1], device=x.device)
        return torch.linalg.solve(normal, (w * (x - self.mean)) @ self.components.T)

    def decode(self, s: Tensor) -> Tensor:
        """Spectra (N, R)."""
        return self.mean + s @ self.components


def weighted_pca(x: Tensor, w: Tensor, n_components: int, n_iterations: int = 8) -> Components:
    """The components that describe x (N, R) best in the sense of weights w (N, R), 0 where x is unknown.

    Alternating least squares: coefficients given components, components given coefficients (Bailey 2012,
    2012PASP..124.1015B, without its smoothing). Weights are taken to be 1 / sigma^2, so that where few or faint spectra
    reach, components fall to 0 instead of describing noise. Where fewer reach than there are components, components are
    0, and the mean is held at its value nearest by.
    """
    total = w.sum(dim=0)
    known = (w > 0).sum(dim=0) > min(3 * n_components, len(x) // 2)
    weighted = w * x
    mean = weighted.sum(dim=0) / total.clamp_min(1e-30)
    # An orthonormal component has values of 1 / R in the square: that is the variance of its prior.
    prior = torch.full((n_components + 1,), float(x.shape[1]), device=x.device)
    prior[-1] = 0  # none on the mean
    generator = torch.Generator(x.device).manual_seed(0)
    start = torch.randn(n_components, x.shape[1], generator=generator, device=x.device)
    found = Components(mean, _orthonormal(start * known))
    for _ in range(n_iterations):
        # The mean is the component whose coefficient is always 1: objects with gaps have no plain mean.
        s = torch.nn.functional.pad(found.encode(x, w), (0, 1), value=1.0)  # (N, K + 1)
        normal = _normal(w.T, s)
        level = 1e-6 * normal.diagonal(dim1=1, dim2=2).mean() + 1e-30
        normal = normal + torch.diag(prior + level)
        solved = torch.linalg.solve(normal, weighted.T @ s).T
        mean = torch.where(known, solved[-1], mean)
        found = Components(mean, _orthonormal(solved[:-1] * known))
    # In the order of how much of the spectra's variance each describes.
    s = found.encode(x, w)
    axes = torch.linalg.svd(s - s.mean(dim=0), full_matrices=False).Vh
    mean = mean + s.mean(dim=0) @ found.components
    first, last = known.nonzero()[[0, -1], 0].tolist()
    mean[:first], mean[last + 1 :] = mean[first], mean[last]
    return Components(mean, axes @ found.components)


def _normal(w: Tensor, a: Tensor) -> Tensor:
    """A^T diag(w_i) A (N, K, K) for each row of weights w (N, M) and a common A (M, K); one triangle is calculated."""
    i, j = torch.triu_indices(a.shape[1], a.shape[1], device=a.device)
    upper = w @ (a[:, i] * a[:, j])
    full = upper.new_empty(len(w), a.shape[1], a.shape[1])
    full[:, i, j] = upper
    full[:, j, i] = upper
    return full


def _orthonormal(rows: Tensor) -> Tensor:
    return torch.linalg.qr(rows.T).Q.T
