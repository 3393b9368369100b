"""Non-negative components of spectra with gaps: beside principal ones, the other linear twin of an autoencoder."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class NonNegative:
    """components (K, R), none negative, each of unit mean; a spectrum is a mixture of them without subtraction."""

    components: Tensor

    def encode(self, x: Tensor, w: Tensor, n_iterations: int = 200) -> Tensor:
        """Non-negative coefficients (N, K) of spectra x (N, R) with weights w (N, R), 0 where x is unknown."""
        target = w * x.clamp_min(0)
        s = _start(target, w, self.components)
        for _ in range(n_iterations):
            s = _ratio(s, target @ self.components.T, (w * (s @ self.components)) @ self.components.T)
        return s

    def decode(self, s: Tensor) -> Tensor:
        """Spectra (N, R)."""
        return s @ self.components


def weighted_nmf(x: Tensor, w: Tensor, n_components: int, n_iterations: int = 300, seed: int = 0) -> NonNegative:
    """The non-negative components that describe x (N, R) best in the sense of weights w (N, R), 0 where x is unknown.

    Multiplicative updates, which never raise sum(w (x - s @ components)^2) (Lee & Seung 2001, with the weights of
    Blanton & Roweis 2007, 2007AJ....133..734B). Noise below zero counts as zero. Ordered by their share of the light.
    """
    generator = torch.Generator(x.device).manual_seed(seed)
    target = w * x.clamp_min(0)
    level = target.sum(dim=0) / w.sum(dim=0).clamp_min(1e-30)
    # Mixtures of random spectra's shapes: all of noise alone would take far longer to become spectra.
    share = torch.rand((n_components, len(x)), generator=generator, device=x.device).pow(8)
    components = (share @ target) / (share @ w).clamp_min(1e-30) + 1e-2 * level + 1e-6 * level.mean()
    s = _start(target, w, components)
    for _ in range(n_iterations):
        s = _ratio(s, target @ components.T, (w * (s @ components)) @ components.T)
        components = _ratio(components, s.T @ target, s.T @ (w * (s @ components)))
    scale = components.mean(dim=1)
    order = (s.mean(dim=0) * scale).argsort(descending=True)
    return NonNegative((components / scale[:, None])[order])


def _start(target: Tensor, w: Tensor, components: Tensor) -> Tensor:
    """Equal coefficients (N, K) at which each spectrum has its own brightness."""
    total = components.sum(dim=0)
    factor = (target @ total) / (w @ total.square()).clamp_min(1e-30)
    return factor.clamp_min(1e-12)[:, None].expand(-1, len(components))


def _ratio(value: Tensor, wanted: Tensor, found: Tensor) -> Tensor:
    return value * wanted / found.clamp_min(1e-30)
