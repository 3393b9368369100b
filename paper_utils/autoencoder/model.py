"""Study 2: an autoencoder of galaxy spectra whose decoder knows what a redshift does (Melchior, Hahn & Liang 2022).

The encoder looks for features anywhere in the observed spectrum and compresses them to S latents; the decoder makes a
spectrum at z = 0 of them, which is then redshifted and resampled explicitly, so that latents need not describe z.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from paper_utils.base.containers import WAVE_OBS
from paper_utils.nets.model_file import Model
from paper_utils.nets.plan import Batch

Z_MAX = 0.5
KERNELS, POOLS = (5, 11, 21), (5, 11, None)
CHANNELS = (128, 256, 512)
LEAK = 0.01  # slope of the decoder's leaky ReLU below zero
FLOOR = 1e-4  # of the latents' mean variance, which keeps the scatter of a batch from being singular
DARK = 0.1  # a share of the median flux below which a spectrum has next to no light
N_REST = 5875  # "R = L (1 + z_max)" is 5838; the printed number of elements is kept


class Slopes(nn.PReLU):
    """PReLU whose slopes below zero are not negative: it then commutes with a maximum, which `fast` makes use of."""

    def forward(self, x: Tensor) -> Tensor:
        return F.prelu(x, self.weight.clamp(min=0))


class Block(nn.Sequential):
    """A convolution, instance norm, PReLU and, but for the last block, max-pooling: (N, C, L) -> (N, C', L / pool)."""

    def __init__(self, n_in: int, n_out: int, kernel: int, pool: int | None):
        layers = [nn.Conv1d(n_in, n_out, kernel, padding=kernel // 2), nn.InstanceNorm1d(n_out), Slopes(n_out)]
        super().__init__(*layers, *([nn.MaxPool1d(pool, padding=pool // 2)] if pool else []))


def perceptron(widths: Sequence[int], activation: Callable[[int], nn.Module]) -> list[nn.Module]:
    """Linear layers from widths[0] to widths[-1] features, with activation(n) after each but the last."""
    return [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), activation(b))][:-1]


class Encoder(Model):
    """y (N, L), z (N,) -> latents (N, S): convolutions, attention over wavelength, and a perceptron that is given z.

    Three convolutions with kernels 5, 11, 21, each followed by instance norm and PReLU, the first two by max-pooling of
    5 and 11, turn L = 3892 into 71 segments. Half of the channels, h, are averaged over the segments with the softmax
    of the other half, k, as weights: e = h . softmax(k) (Sec. 2; Serra+ 2018). Norms, activations and the perceptron's
    (128, 64, 32) are those of the authors' code.
    """

    def __init__(self, n_latent: int = 10, channels: tuple[int, ...] = CHANNELS, hidden=(128, 64, 32)):
        super().__init__()
        self.blocks = nn.ModuleList(map(Block, (1, *channels), channels, KERNELS, POOLS))
        self.n_features = channels[-1] // 2
        self.mlp = nn.Sequential(*perceptron((self.n_features + 1, *hidden, n_latent), nn.PReLU))

    def segments(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Features h and attention softmax(k), both (N, C, 71)."""
        x = y.unsqueeze(1) - 1  # the median flux becomes 0, which is also what the convolutions see beyond the ends
        for block in self.blocks:
            x = self.through(block, x)  # (N, 128, 779), (N, 256, 71), (N, 512, 71)
        h, k = x.chunk(2, dim=1)
        return h, k.softmax(dim=-1)

    def through(self, block: Block, x: Tensor) -> Tensor:
        """What a block makes of x; `fast` does the same in another order."""
        return block(x)

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        h, attention = self.segments(y)
        e = (h * attention).sum(dim=-1)  # (N, 256)
        return self.mlp(torch.cat([e, z[:, None]], dim=1))


class RestFrame(Model):
    """Spectra at z = 0 and what a redshift makes of them: the part of the model that has no parameters.

    wave_obs (L,), wave_rest (R,) : vacuum Angstrom; the latter's 5875 elements are linear from 3784 / (1 + z_max) to
    9270. A kind of model adds `encode(y, z, w)` to latents (N, S) and `decode(s)` to spectra at z = 0 (N, R).
    """

    def __init__(self):
        super().__init__()
        self.register_buffer("wave_obs", torch.tensor(WAVE_OBS))
        rest = torch.linspace(WAVE_OBS[0] / (1 + Z_MAX), WAVE_OBS[-1], N_REST, dtype=torch.float64)
        self.register_buffer("wave_rest", rest)

    def forward(self, y: Tensor, z: Tensor, w: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Latents (N, S) and the model of the observed spectra (N, L)."""
        s = self.encode(y, z, w)
        return s, self.observe(self.decode(s).float(), z)

    def deredshift(self, y: Tensor, w: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Observed spectra y (N, L) and weights w on `wave_rest` (N, R), w = 0 where they were not observed.

        Linear interpolation, with the smaller of two neighbours' weights, times what an element of `wave_rest` is of an
        observed one, so that no part counts more than it was seen. `wave_obs` must be even in log wavelength.
        """
        start, step = self.wave_obs[0].log10(), self.wave_obs.log10().diff().mean()
        position = ((self.wave_rest * (1 + z.double()[:, None])).log10() - start) / step
        inside = (position >= 0) & (position <= len(self.wave_obs) - 1)
        low = position.long().clamp(0, len(self.wave_obs) - 2)
        share = (position - low).clamp(0, 1).to(y.dtype)
        x = torch.lerp(y.gather(1, low), y.gather(1, low + 1), share)
        part = (self.wave_rest[1] - self.wave_rest[0]) / (self.wave_rest * step * math.log(10))
        return x, torch.where(inside, torch.minimum(w.gather(1, low), w.gather(1, low + 1)), 0) * part.to(w)

    def observe(self, rest: Tensor, z: Tensor) -> Tensor:
        """Spectra at z = 0 (N, R) as seen at `z` (N,) on `wave_obs`: (N, L), linear interpolation.

        Differentiable in both. Flux is not rescaled by 1 / (1 + z): spectra are in units of their median.
        """
        step = (self.wave_rest[-1] - self.wave_rest[0]) / (len(self.wave_rest) - 1)
        # float64, because a position among thousands keeps too few decimals otherwise.
        position = (self.wave_obs / (1 + z.double()[:, None]) - self.wave_rest[0]) / step
        low = position.detach().long().clamp(0, len(self.wave_rest) - 2)
        share = (position - low).clamp(0, 1).to(rest.dtype)
        return torch.lerp(rest.gather(1, low), rest.gather(1, low + 1), share)


class Autoencoder(RestFrame):
    """Observed spectra and their redshifts -> latents -> spectra at z = 0 -> observed spectra.

    Spectra are in units of their median flux (`normalised`). The decoder is a perceptron of (64, 256, 1024) with leaky
    ReLU (Sec. 2).
    """

    encoder_kind = Encoder

    def __init__(self, n_latent: int = 10, channels: tuple[int, ...] = CHANNELS):
        super().__init__()
        self.n_latent = n_latent
        self.encoder = self.encoder_kind(n_latent, channels)
        layers = perceptron((n_latent, 64, 256, 1024, N_REST), lambda n: nn.LeakyReLU(LEAK))
        self.decoder = nn.Sequential(*layers)

    def encode(self, y: Tensor, z: Tensor, w: Tensor | None = None) -> Tensor:
        """Latents (N, S). The weights are not looked at: unusable elements are 1, as `normalised` leaves them."""
        return self.encoder(y, z)

    def decode(self, s: Tensor) -> Tensor:
        """Spectra at z = 0 (N, R) on `wave_rest`."""
        return self.decoder(s)

    def start_from(self, mean: Tensor, components: Tensor) -> None:
        """Begin with a decoder that is linear: mean (R,) plus latents times components (K, R), K <= S, such as PCA's.

        Latents pass through the hidden layers as pairs of units, s and -s, whose difference a leaky ReLU only scales.
        All other units keep their random start, and have no say in the spectrum until they learn one. Scale each
        component by the standard deviation of its coefficients, so that latents are of order one.
        """
        *hidden, last = (layer for layer in self.decoder if isinstance(layer, nn.Linear))
        s = torch.eye(self.n_latent, device=mean.device)  # the latents as mixtures of a layer's inputs
        with torch.no_grad():
            for layer in hidden:
                pairs = torch.cat([s, -s])
                layer.weight[: len(pairs)], layer.bias[: len(pairs)] = pairs, 0
                identity = torch.eye(len(s), layer.out_features, device=s.device)
                s = (identity - identity.roll(len(s), dims=1)) / (1 + LEAK)
            last.weight.copy_((s[: len(components)].T @ components).T)
            last.bias.copy_(mean)


def normalised(flux: Tensor, ivar: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Spectra y (N, L) in units of their median flux, weights w = 1 / sigma^2 in that unit (Sec. 3), and it (N, 1).

    The median is over usable pixels (ivar > 0) and has to be positive; the others hold y = 1 and w = 0.
    """
    good = ivar > 0
    median = torch.where(good, flux, torch.nan).nanmedian(dim=1, keepdim=True).values
    return torch.where(good, flux / median, 1.0), ivar * median.square(), median


def shifted(y: Tensor, w: Tensor, z: Tensor, z_new: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same spectra as if at about `z_new` (N,): (y, w, z), what leaves the observed range removed (w = 0).

    On bins even in log wavelength a redshift is a shift. By whole bins (a step of 2.3e-4 in 1 + z) it keeps the noise
    as it is; the redshifts returned are the exact ones of the shifts. Spectra must be on `WAVE_OBS`.
    """
    n = y.shape[1]
    bins = torch.round(1e4 * torch.log10((1 + z_new.double()) / (1 + z.double()))).long()
    source = torch.arange(n, device=y.device) - bins[:, None]
    inside = (source >= 0) & (source < n)
    source = source.clamp(0, n - 1)
    w = torch.where(inside, w.gather(1, source), 0)
    y = torch.where(w > 0, y.gather(1, source), 1)
    return y, w, ((1 + z.double()) * 10 ** (1e-4 * bins) - 1).to(z.dtype)


def moved(y: Tensor, w: Tensor, z: Tensor, z_new: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`shifted` spectra as a survey would deliver them: (y, w, z, unit), in units (N, 1) of the median of what is then
    in view, which are given in the unit of the spectra. Of one that has next to no light there the unit stays."""
    y, w, z = shifted(y, w, z, z_new)
    median = torch.where(w > 0, y, torch.nan).nanmedian(dim=1, keepdim=True).values
    unit = torch.where(median > DARK, median, 1.0)
    return torch.where(w > 0, y / unit, 1.0), w * unit.square(), z, unit


def amplitude(model: Tensor, y: Tensor, w: Tensor) -> Tensor:
    """The factor (N, 1) by which each model spectrum (N, L) fits y best.

    Instance norm hides the amplitude of a spectrum from the encoder, and the median over the observed range depends on
    the redshift: one known factor per spectrum is better fitted than guessed (as the authors' later code does too).
    """
    return ((w * y * model).sum(dim=1) / (w * model.square()).sum(dim=1).clamp(min=1e-30))[:, None]


def matched(model: Tensor, y: Tensor, w: Tensor) -> Tensor:
    """The model spectra (N, L), each times its `amplitude`."""
    return model * amplitude(model, y, w)


def weighted_mse(y: Tensor, model: Tensor, w: Tensor) -> Tensor:
    """Eq. 1: the squared residuals of a batch, averaged with the weights w."""
    return (w * (y - model).square()).sum() / w.sum()


def chi2(y: Tensor, model: Tensor, w: Tensor) -> Tensor:
    """Reduced chi^2 (N,) of each spectrum: mean squared residual in units of sigma over usable pixels."""
    return (w * (y - model).square()).sum(dim=1) / (w > 0).sum(dim=1)


def latent_loss(encoder: Encoder, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
    """Mean squared distance of the encoder's latents from known ones; batch = {"y", "z", "s"}.

    With coefficients of `start_from`'s components as s it is the encoder's half of that start. Eq. 1 alone teaches the
    encoder slowly: one bright line outweighs all that the other latents describe.
    """
    return {"loss": (encoder(batch["y"], batch["z"]) - batch["s"]).square().mean()}


def apart(s: Tensor, origin: Tensor) -> Tensor:
    """Mean squared distance of latents (N, S) from others, in units of the batch's scatter (Mahalanobis' over S), so
    that to scale, rotate or mix them changes nothing. In a batch of fewer than S + 3 each latent is in units of its own
    scatter alone."""
    s, origin = s.double(), origin.double()
    n, k = s.shape
    scatter = origin.T.cov()
    if n < k + 3:
        scatter, k = scatter.diag().diag(), 1
    scatter = scatter + FLOOR * scatter.diag().mean() * torch.eye(len(scatter)).to(s)
    away = torch.linalg.solve_triangular(torch.linalg.cholesky(scatter), (s - origin).T, upper=False)
    # The inverse of a small sample's scatter is too large by this.
    return away.square().mean().float() * max(n - k - 2, 1) / (n - 1)


def reconstruction_loss(
    model: Autoencoder, batch: Batch, generator: torch.Generator, augment: float = 0.0, consistency: float = 0.0
) -> dict[str, Tensor]:
    """Eq. 1 of spectra {"y", "w", "z"}, with their reduced chi^2.

    augment : share of each batch whose redshifts are altered to a uniform draw of 0 - 0.5 (Sec. 4).
    consistency : weight of how far the latents of altered copies are `apart` from those of the spectra (after Sinha &
        Dieng 2021).
    In evaluation the "loss" is the reduced chi^2 of the spectra as they are, so that trainings can be compared.
    Redshifting and losses are in float32 whatever the precision of encoder and decoder.
    """
    y, w, z = (batch[name] for name in "ywz")
    if not model.training:
        return {"loss": chi2(y, matched(model(y, z, w)[1], y, w), w).mean()}
    if augment or consistency:
        n = round(augment * len(z))
        copied = slice(None) if consistency else slice(n)
        z_new = Z_MAX * torch.rand(len(z[copied]), generator=generator, device=z.device)
        y_new, w_new, z_new, _ = moved(y[copied], w[copied], z[copied], z_new.to(z.dtype))
        y, w, z = (torch.cat([new[:n], old[n:]]) for new, old in ((y_new, y), (w_new, w), (z_new, z)))
    s, seen = model(y, z, w)
    seen = matched(seen, y, w)
    mse = weighted_mse(y, seen, w)
    losses = {"loss": mse, "mse": mse, "chi2": chi2(y, seen.detach(), w).mean()}
    if consistency:
        distance = apart(model.encode(y_new, z_new, w_new), s)
        # Relative to eq. 1, as the distance itself is relative.
        losses |= {"loss": mse + consistency * distance * mse.detach(), "distance": distance}
    return losses
