"""Generative Latent Optimization of galaxy SEDs (Rissaki+ 2023, Sec. 2.4 and 3.2; after Bojanowski+ 2018).

A generator maps a latent vector s to a spectrum x = G(s), eq. of Sec. 2.1. GLO learns the generator and one
latent vector per training spectrum together, eq. 5:

    min_G  1/N  sum_i  min_{s_i on the unit sphere}  || G(s_i) - x_i ||^2

The same generator, trained on F_nu or on log10 F_nu, is "GLO" or "logGLO"; trained by a critic instead, it is
"WGAN" or "logWGAN" (see wgan.py). Latents are `s` here, since `z` is redshift everywhere in this project.

What the paper leaves open, and what stands here: the hidden widths (constant, default 256), the slope of LeakyReLU
(0.2) and the scaling of the data: one mean and one standard deviation for all bins, inside the generator, so that the
loss is the paper's "simple MSE" up to a factor and the caller sees physical values. `per_bin` scales every bin by
itself instead.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from paper_utils.nets.standard import Standard


class Generator(nn.Module):
    """G: latent (N, n_latent) -> spectrum (N, n_wave), six hidden layers of LeakyReLU with 1-d batch norm (Sec. 3.2).

    Parameters
    ----------
    n_latent : size of the latent space; the paper's 50.
    n_wave : wavelength bins; the paper's 223.
    width : neurons of each hidden layer; not printed in the paper.
    n_hidden : hidden layers; the paper's 6.
    log : whether the generator works in log10 F_nu (logGLO, logWGAN) or in F_nu (GLO, WGAN).
    """

    def __init__(self, n_latent: int = 50, n_wave: int = 223, width: int = 256, n_hidden: int = 6, log: bool = True):
        super().__init__()
        self.n_latent, self.log = n_latent, log
        sizes = [n_latent] + [width] * n_hidden
        hidden = [layer for a, b in zip(sizes, sizes[1:], strict=False) for layer in block(a, b)]
        self.network = nn.Sequential(*hidden, nn.Linear(width, n_wave))  # no activation on the output layer
        self.standard = Standard(n_wave)

    def standardise(self, x: Tensor) -> Tensor:
        """Spectra in the generator's space, x (N, n_wave), to the scale that the network works in."""
        return self.standard(x)

    def learn_scale(self, x: Tensor, per_bin: bool = False) -> Generator:
        """Take mean and standard deviation from training spectra x (N, n_wave): of all values, or of each bin."""
        self.standard.learn(x if per_bin else x.reshape(-1, 1))
        return self

    def forward(self, s: Tensor) -> Tensor:
        """Spectra (N, n_wave) in the generator's own space: log10 F_nu if `log`, else F_nu."""
        return self.standard.undone(self.network(s))

    def measure(self, x: Tensor, A: Tensor) -> Tensor:
        """Photometry (N, m), in the same space, of spectra x by a measurement matrix A (m, n_wave) on F_nu (eq. 1)."""
        return torch.log10(10**x @ A.T) if self.log else x @ A.T


def block(n_in: int, n_out: int, batch_norm: bool = True) -> list[nn.Module]:
    """One hidden layer: linear, 1-d batch norm, LeakyReLU."""
    norm = [nn.BatchNorm1d(n_out)] if batch_norm else []
    return [nn.Linear(n_in, n_out), *norm, nn.LeakyReLU(0.2)]


def to_sphere(s: Tensor) -> Tensor:
    """Project latent vectors (..., n_latent) onto the unit sphere."""
    return nn.functional.normalize(s, dim=-1)


def whitened_components(x: Tensor, n_latent: int) -> Tensor:
    """Leading principal components (N, n_latent) of spectra x (N, n_wave), each scaled to unit variance."""
    left, _, _ = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    return left[:, :n_latent] * len(x) ** 0.5


class Latents(nn.Module):
    """One learned latent vector per training spectrum, kept on the unit sphere: s (N, n_latent).

    They start as normal draws (Sec. 2.4), projected; `start_from` takes other first values, such as the whitened
    principal components of Bojanowski+ 2018.
    """

    def __init__(self, n: int, n_latent: int):
        super().__init__()
        self.s = nn.Parameter(to_sphere(torch.randn(n, n_latent)))

    @torch.no_grad()
    def start_from(self, s: Tensor) -> None:
        self.s.copy_(to_sphere(s))

    def forward(self, index: Tensor) -> Tensor:
        return self.s[index]

    @torch.no_grad()
    def project(self) -> None:
        self.s.copy_(to_sphere(self.s))


def glo_step(
    generator: nn.Module,
    latents: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    x: Tensor,
    backward: Callable[[Tensor], None],
) -> Callable[[Tensor], dict[str, Tensor]]:
    """The joint update of eq. 5 for a batch of indices (B,) into standardised training spectra x (N, n_wave)."""

    def step(index: Tensor) -> dict[str, Tensor]:
        fit = generator.network(latents(index))  # (B, n_wave), standardised like x
        loss = nn.functional.mse_loss(fit, x[index])
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        backward(loss)
        for optimizer in optimizers:
            optimizer.step()
        latents.project()
        return {"mse": loss.detach()}

    return step
