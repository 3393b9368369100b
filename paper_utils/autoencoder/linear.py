"""The linear twin of study 2's autoencoder: principal components of spectra at z = 0, which also are its start."""

from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from paper_utils.autoencoder.model import DARK, N_REST, RestFrame
from paper_utils.stats import pca

N_FITTED = 6000  # spectra that the components are fitted to


class PrincipalComponents(RestFrame):
    """As many numbers per galaxy as an autoencoder has latents; spectra in units of their median.

    Spectra at z = 0 have gaps where the redshift takes them out of view, so components are fitted with weights, and
    coefficients are found by weighted least squares on what was observed. Latents are coefficients less their mean, in
    units of their standard deviation, once `standardise` has been called.
    """

    def __init__(self, n_latent: int = 10):
        super().__init__()
        for name, shape in {"mean": (N_REST,), "components": (n_latent, N_REST), "middle": (n_latent,)}.items():
            self.register_buffer(name, torch.zeros(shape))
        self.register_buffer("spread", torch.ones(n_latent))

    def learn(self, data: dict[str, Tensor], n_iterations: int = 8) -> Self:
        """Components of the first `N_FITTED` spectra of data = {"y", "w", "z"}."""
        rest = self.deredshift(*(data[name][:N_FITTED] for name in "ywz"))
        found = pca.weighted_pca(*rest, len(self.components), n_iterations)
        self.mean.copy_(found.mean)
        self.components.copy_(found.components)
        return self

    def standardise(self, coefficients: Tensor) -> Tensor:
        """Take the unit of the latents from coefficients (N, K) of many spectra, and return their latents."""
        self.middle.copy_(coefficients.mean(dim=0))
        self.spread.copy_(coefficients.std(dim=0))
        return (coefficients - self.middle) / self.spread

    def encode(self, y: Tensor, z: Tensor, w: Tensor) -> Tensor:
        """Latents (N, K)."""
        found = pca.Components(self.mean, self.components).encode(*self.deredshift(y, w, z))
        return (found - self.middle) / self.spread

    def most_probable(self, y: Tensor, z: Tensor, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Latents (N, K) that are most probable given what was observed, if those of galaxies are normally distributed
        with unit variance, and spectra come in any unit; what they leave unexplained at z = 0, in units of the error
        per element of `wave_rest` (N, R), 0 where it was not observed; and where it was, as 0 and 1 (N, R).

        A spectrum is A (start + s components), linear in A and A s. To divide it by its flux in some range instead
        would make latents depend on what of that range is masked.
        """
        x, w = self.deredshift(y, w, z)
        start, _ = self.start()
        unit = ((w * x * start).sum(dim=1) / (w * start.square()).sum(dim=1).clamp(min=1e-30))[:, None]
        unit = torch.where(unit > 0, unit, 1.0).detach()  # for the prior, which is in units of the spectrum
        # A prior is as many more elements, each of which shows one latent to be 0 with a variance of 1.
        k, size = len(self.components), start.norm()
        rows = torch.cat([self.components, self.spread.diag().inverse()], dim=1)
        basis = torch.cat([F.pad(start[None] / size, (0, k)), rows])
        prior = unit.pow(-2).expand(-1, k)
        fit = pca.Components(torch.zeros_like(basis[0]), basis).encode(F.pad(x, (0, k)), torch.cat([w, prior], dim=1))
        a = torch.maximum(fit[:, :1] / size, DARK * unit)
        s = fit[:, 1:] / self.spread / a
        seen = w > 0
        pull = (x - a * self.decode(s)) * torch.where(seen, w, 1).sqrt()  # the root of 0 has no slope
        return s, torch.where(seen, pull, 0), seen.to(x)

    def start(self) -> tuple[Tensor, Tensor]:
        """The spectrum (R,) of latents 0, and the change (K, R) that a latent of 1 makes: a linear decoder."""
        return self.mean + self.middle @ self.components, self.components * self.spread[:, None]

    def decode(self, s: Tensor) -> Tensor:
        """Spectra at z = 0 (N, R)."""
        mean, components = self.start()
        return mean + s @ components
