"""Non-negative components of spectra with gaps: a linear counterpart of an autoencoder."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class NonNegative:
    """components (K, R), none negative, each of unit mean; a spectrum is a mixture of them without subtraction."""

    components: Tensor

    def encode(self, x: Tensor, w: Tensor, n_sweeps: int = 100) -> Tensor:
        """Non-negative coefficients (N, K) of spectra x (N, R) by least squares with weights w (N, R), 0 if unknown."""
        return _solve(x, w, self.components, torch.zeros(len(x), len(self.components), device=x.device), n_sweeps)

    def decode(self, s: Tensor) -> Tensor:
        """Spectra (N, R)."""
        return s @ self.components


def weighted_nmf(x: Tensor, w: Tensor, n_components: int, n_iterations: int = 100) -> NonNegative:
    """The non-negative components that describe x (N, R) best in the sense of weights w (N, R), 0 where x is unknown.

    Alternating non-negative least squares by coordinate descent (Cichocki & Phan 2009), which never raises
    sum(w (x - s @ components)^2) and, unlike multiplicative updates (Blanton & Roweis 2007, 2007AJ....133..734B), takes
    spectra as they are, noise below zero included. Ordered by their share of the light.
    """
    generator = torch.Generator(x.device).manual_seed(0)
    # Begin with mixtures of few spectra each, so that the components differ and look like spectra.
    share = torch.rand((n_components, len(x)), generator=generator, device=x.device).pow(20)
    components = ((share @ (w * x)) / (share @ w).clamp_min(1e-30)).clamp_min(0)
    s = torch.zeros(len(x), n_components, device=x.device)
    for _ in range(n_iterations):
        s = _solve(x, w, components, s)
        components = _solve(x.T, w.T, s.T, components.T).T
    scale = components.mean(dim=1).clamp_min(1e-30)
    order = (s.mean(dim=0) * scale).argsort(descending=True)
    return NonNegative((components / scale[:, None])[order])


def _solve(x: Tensor, w: Tensor, components: Tensor, s: Tensor, n_sweeps: int = 5) -> Tensor:
    """Improve coefficients s (N, K) one after the other, each to its best value that is not negative."""
    k = len(components)
    pairs = (components[:, None] * components).flatten(0, 1)  # (K K, R)
    normal = (w @ pairs.T).unflatten(1, (k, k))
    wanted = (w * x) @ components.T
    s = s.clone()
    for _ in range(n_sweeps):
        for j in range(k):
            slope = wanted[:, j] - (normal[:, j] * s).sum(dim=1)
            s[:, j] = (s[:, j] + slope / normal[:, j, j].clamp_min(1e-30)).clamp_min(0)
    return s
