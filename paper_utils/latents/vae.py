"""Study 4's targets: the InfoVAE of Portillo+ 2020 (2020AJ....160...45P), rest-frame spectra as six latents.

A variational autoencoder whose latents are drawn towards a unit normal twice: each spectrum's own Gaussian by its
Kullback-Leibler divergence, and all of them together by their maximum mean discrepancy (MMD; Zhao, Song & Ermon 2017,
arXiv:1706.02262). Layers and loss are those of the authors' public code. Latents are `s`, since `z` is redshift.
"""

from itertools import pairwise
from typing import Self

import torch
from torch import Tensor, nn

from paper_utils.nets.model_file import Model
from paper_utils.nets.plan import Batch

N_PRIOR = 200  # draws of the unit normal that a batch's latents are compared with


class InfoVAE(Model):
    """Spectra x (N, n_wave) of unit mean square <-> latents s (N, n_latent): 1000-549-110-6 and its mirror, leaky ReLU.

    The training set's mean spectrum is subtracted from what goes in and added to what comes out (`learn_mean`).
    """

    def __init__(self, n_wave: int = 1000, n_latent: int = 6, hidden: tuple[int, int] = (549, 110)):
        super().__init__()
        self.n_latent = n_latent
        self.encoder = _perceptron(n_wave, *hidden, 2 * n_latent)  # means and log variances
        self.decoder = _perceptron(n_latent, *hidden[::-1], n_wave)
        self.register_buffer("mean", torch.zeros(n_wave))

    def learn_mean(self, x: Tensor) -> Self:
        """Take the mean spectrum from training spectra x (N, n_wave)."""
        self.mean.copy_(x.mean(dim=0))
        return self

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of each spectrum's latents, both (N, n_latent); the mean is what study 4 predicts."""
        return self.encoder(x - self.mean).chunk(2, dim=1)

    def decode(self, s: Tensor) -> Tensor:
        """Spectra (N, n_wave)."""
        return self.mean + self.decoder(s)

    def forward(self, x: Tensor) -> Tensor:
        """The model of spectra x at the means of their latents."""
        return self.decode(self.encode(x)[0])


def _perceptron(*widths: int) -> nn.Sequential:
    layers = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.LeakyReLU())]
    return nn.Sequential(*layers[:-1])


def kernel(a: Tensor, b: Tensor) -> Tensor:
    """Gaussian kernel exp(-|a_i - b_j|^2 / n_latent) of all pairs: (N, n_latent), (M, n_latent) -> (N, M)."""
    return torch.exp(-(a[:, None] - b).square().mean(dim=-1))


def mmd(a: Tensor, b: Tensor) -> Tensor:
    """Squared maximum mean discrepancy of two samples (N, n_latent) and (M, n_latent), each point's pair with itself
    included: 0 for equal samples, and never negative."""
    return kernel(a, a).mean() + kernel(b, b).mean() - 2 * kernel(a, b).mean()


def kl_divergence(mu: Tensor, log_var: Tensor) -> Tensor:
    """Of the Gaussians N(mu, exp(log_var)), both (N, n_latent), from the unit normal: (N,)."""
    return 0.5 * (mu.square() + log_var.exp() - 1 - log_var).sum(dim=1)


def infovae_loss(model: InfoVAE, batch: Batch, generator: torch.Generator, lam: float = 100.0) -> dict[str, Tensor]:
    """Loss per spectrum of batch = {"x" (N, n_wave), "w" (N, n_wave)}, as `restframe.filled` gives them, and its terms.

    loss = 1/2 sum_wave w (x - model)^2 + KL + (lam - 1) n_latent MMD, the authors' divided by N, with w = 1 / sigma^2
    (0 where unknown). "chi2" is the first sum per usable element, without the 1/2. In float32 always.

    lam : weight of the MMD. The authors drew it log-uniformly from 1 - 1e5 in a hundred trials and do not print that of
        the model they kept. On mock spectra 100 brings latents near the unit normal; with 1000 half of them are unused.
    generator : on the device of the data, draws latents and prior.
    """
    x, w = batch["x"], batch["w"]
    with torch.autocast(x.device.type, enabled=False):
        mu, log_var = model.encode(x)
        s = mu + (0.5 * log_var).exp() * torch.randn(mu.shape, generator=generator, device=x.device)
        prior = torch.randn((N_PRIOR, model.n_latent), generator=generator, device=x.device)
        squares = (w * (x - model.decode(s)).square()).sum()
        terms = {"kl": kl_divergence(mu, log_var).mean(), "mmd": mmd(s, prior), "chi2": squares / (w > 0).sum()}
        loss = 0.5 * squares / len(x) + terms["kl"] + (lam - 1) * model.n_latent * terms["mmd"]
    return {"loss": loss, **terms}
