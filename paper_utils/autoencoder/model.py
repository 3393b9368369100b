"""Study 2: an autoencoder of galaxy spectra whose decoder knows what a redshift does (Melchior, Hahn & Liang 2022).

The encoder looks for features anywhere in the observed spectrum and compresses them to S latents; the decoder makes a
spectrum at z = 0 of them, which is then redshifted and resampled explicitly, so that latents need not describe z.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from paper_utils.base.containers import WAVE_OBS
from paper_utils.nets.descent import descend

Z_MAX = 0.5
KERNELS, POOLS = (5, 11, 21), (5, 11)
LEAK = 0.01  # slope of the decoder's leaky ReLU below zero
N_REST = 5875  # "R = L (1 + z_max)" is 5838; the printed number of elements is kept


class Encoder(nn.Module):
    """y (N, L), z (N,) -> latents (N, S): convolutions, attention over wavelength, and a perceptron that is told z.

    Three convolutions with kernels 5, 11, 21, each followed by instance norm and PReLU, the first two by max-pooling of
    5 and 11, turn L = 3892 into 71 segments. Half of the channels, h, are averaged over the segments with the softmax
    of the other half, k, as weights: e = h . softmax(k) (Sec. 2; Serra+ 2018). Norms, activations and the perceptron's
    (128, 64, 32) are those of the authors' code.
    """

    def __init__(self, n_latent: int = 10, channels: tuple[int, ...] = (128, 256, 512), hidden=(128, 64, 32)):
        super().__init__()
        widths = zip((1, *channels), channels, KERNELS, strict=False)
        self.convolutions = nn.ModuleList(nn.Conv1d(a, b, k, padding=k // 2) for a, b, k in widths)
        self.activations = nn.ModuleList(nn.PReLU(c) for c in channels)
        self.n_features = channels[-1] // 2
        layers, width = [], self.n_features + 1
        for n in hidden:
            layers += [nn.Linear(width, n), nn.PReLU(n)]
            width = n
        self.mlp = nn.Sequential(*layers, nn.Linear(width, n_latent))

    def segments(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Features h and attention softmax(k), both (N, C, 71)."""
        x = y.unsqueeze(1) - 1  # the median flux becomes 0, which is also what the convolutions see beyond the ends
        for convolution, activation, pool in zip(self.convolutions, self.activations, (*POOLS, None), strict=True):
            if pool:
                parts = x.split(_together(x, convolution.out_channels))
                x = torch.cat([PooledNorm.apply(convolution(part), pool) for part in parts])
            else:
                x = F.instance_norm(convolution(x))
            # A slope below zero would not commute with the maximum.
            x = F.prelu(x, activation.weight.clamp(min=0))
        h, k = x.chunk(2, dim=1)
        return h, k.softmax(dim=-1)

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        h, attention = self.segments(y)
        e = (h * attention).sum(dim=-1)
        return self.mlp(torch.cat([e, z[:, None]], dim=1))


def _together(x: Tensor, channels: int) -> int:
    """How many spectra go through a layer of so many `channels` at once.

    A processor takes few, whose 4 MB stay in its cache: a tensor of a whole batch has to be given memory page by page
    each time, and read from there again by norm and pooling.
    """
    return max(2**20 // (channels * x.shape[-1]), 1) if x.device.type == "cpu" else max(len(x), 1)


class Decoder(nn.Sequential):
    """Latents (N, S) -> spectrum at z = 0 (N, R): a perceptron of (64, 256, 1024) with leaky ReLU (Sec. 2)."""

    def __init__(self, n_latent: int = 10, hidden: tuple[int, ...] = (64, 256, 1024), n_rest: int = N_REST):
        layers, width = [], n_latent
        for n in hidden:
            layers += [nn.Linear(width, n), nn.LeakyReLU(LEAK)]
            width = n
        super().__init__(*layers, nn.Linear(width, n_rest))


class Autoencoder(nn.Module):
    """Observed spectra and their redshifts -> latents -> spectra at z = 0 -> observed spectra.

    wave_rest (R,): 5875 elements, linear from 3784 / (1 + z_max) to 9270 Angstrom. Spectra are in units of the median
    flux (`normalised`).
    """

    def __init__(self, n_latent: int = 10, channels=(128, 256, 512), n_rest: int = N_REST, wave_obs=WAVE_OBS):
        super().__init__()
        self.n_latent = n_latent
        self.encoder = Encoder(n_latent, tuple(channels))
        self.decoder = Decoder(n_latent, n_rest=n_rest)
        self.register_buffer("wave_obs", torch.as_tensor(wave_obs, dtype=torch.float64), persistent=False)
        rest = torch.linspace(wave_obs[0] / (1 + Z_MAX), wave_obs[-1], n_rest, dtype=torch.float64)
        self.register_buffer("wave_rest", rest, persistent=False)

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

    def encode(self, y: Tensor, z: Tensor) -> Tensor:
        return self.encoder(y, z)

    def decode(self, s: Tensor) -> Tensor:
        """Spectra at z = 0 (N, R) on `wave_rest`."""
        return self.decoder(s)

    def forward(self, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (N, S) and the model of the observed spectra (N, L)."""
        s = self.encode(y, z)
        return s, self.observe(self.decode(s), z)

    def deredshift(self, y: Tensor, w: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Observed spectra y (N, L) and weights w on `wave_rest` (N, R), w = 0 where they were not observed.

        Linear interpolation, with the smaller of two neighbours' weights. `wave_obs` must be even in log wavelength.
        """
        start, step = self.wave_obs[0].log10(), self.wave_obs.log10().diff().mean()
        position = ((self.wave_rest * (1 + z.double()[:, None])).log10() - start) / step
        inside = (position >= 0) & (position <= len(self.wave_obs) - 1)
        low = position.long().clamp(0, len(self.wave_obs) - 2)
        share = (position - low).clamp(0, 1).to(y.dtype)
        x = torch.lerp(y.gather(1, low), y.gather(1, low + 1), share)
        return x, torch.where(inside, torch.minimum(w.gather(1, low), w.gather(1, low + 1)), 0)

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


class PooledNorm(torch.autograd.Function):
    """Instance norm followed by max-pooling (kernel = stride, padded by half), without ever making the normed tensor.

    Both are monotonic in each channel, so that pooling may come first, on raw values; the norm is then applied to the
    few values that are left. Of (N, C, L) values this reads each a few times, where layer after layer would write and
    read it again.
    """

    @staticmethod
    def forward(ctx, x: Tensor, pool: int) -> Tensor:
        # Sums are not in bfloat16 even where the convolutions are: the variance is a small difference.
        precise = torch.promote_types(x.dtype, torch.float32)
        mean = x.mean(dim=-1, keepdim=True, dtype=precise)
        square = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=precise).square() / x.shape[-1]
        scale = torch.rsqrt((square - mean.square()).clamp_min(0) + 1e-5)
        top = F.max_pool1d(x, pool, padding=pool // 2)
        out = (top - mean) * scale
        ctx.save_for_backward(x, top, mean, scale, out)
        ctx.pool = pool
        return out

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        x, top, mean, scale, out = ctx.saved_tensors
        n = x.shape[-1]
        # Through the mean and the variance every value has a part ...
        slope = -(grad * out).sum(dim=-1, keepdim=True) * scale.square() / n
        level = -grad.sum(dim=-1, keepdim=True) * scale / n - slope * mean
        dx = torch.addcmul(level, x, slope)
        # ... and the largest of each window, the first of equals, what came through the maximum. One walks to it from
        # where the window begins: max_pool1d finds maxima ten times faster than their places.
        begin = (torch.arange(top.shape[-1], device=x.device) * ctx.pool - ctx.pool // 2).clamp_min(0)
        at = begin.expand(top.shape).contiguous()
        for _ in range(ctx.pool - 1):
            at += x.gather(-1, at) < top
        return dx.scatter_add_(-1, at, (grad * scale).to(dx.dtype)), None


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


def amplitude(model: Tensor, y: Tensor, w: Tensor) -> Tensor:
    """The factor (N, 1) by which each model spectrum (N, L) fits y best.

    Instance norm hides the amplitude of a spectrum from the encoder, and the median over the observed range depends on
    the redshift: one known factor per spectrum is better fitted than guessed (as the authors' later code does too).
    """
    return ((w * y * model).sum(dim=1) / (w * model.square()).sum(dim=1))[:, None]


def matched(model: Tensor, y: Tensor, w: Tensor) -> Tensor:
    """The model spectra (N, L), each times its `amplitude`."""
    return model * amplitude(model, y, w)


def weighted_mse(y: Tensor, model: Tensor, w: Tensor) -> Tensor:
    """Eq. 1: the squared residuals of a batch, averaged with the weights w."""
    return (w * (y - model).square()).sum() / w.sum()


def chi2(y: Tensor, model: Tensor, w: Tensor) -> Tensor:
    """Reduced chi^2 (N,) of each spectrum: mean squared residual in units of sigma over usable pixels."""
    return (w * (y - model).square()).sum(dim=1) / (w > 0).sum(dim=1)


@torch.no_grad()
def best_redshift(model: Autoencoder, y: Tensor, w: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Which of the trial redshifts z (N, T) explains each spectrum best: (z, chi2), both (N,).

    At every trial the encoder is told that redshift, and the decoder's spectrum compared with y. The best trial is then
    refined by one Gauss-Newton step: the decoder's spectrum is differentiable in z, and its slope says how far to go.
    """
    trials = []
    for z_trial in z.T:
        seen = matched(model(y, z_trial)[1], y, w)
        trials.append(chi2(y, seen, w))
    best = torch.stack(trials).argmin(dim=0)
    z_best = z.gather(1, best[:, None])[:, 0]
    rest = model.decode(model.encode(y, z_best))
    seen, slope = torch.func.jvp(lambda at: model.observe(rest, at), (z_best,), (torch.ones_like(z_best),))
    factor = amplitude(seen, y, w)
    shift = (w * (y - factor * seen) * factor * slope).sum(dim=1) / (w * (factor * slope).square()).sum(dim=1)
    step = (z[:, 1] - z[:, 0]).abs()
    z_new = z_best + shift.clamp(-step, step)
    s, seen = model(y, z_new)
    return z_new, chi2(y, matched(seen, y, w), w)


def encoder_step(
    encoder: Encoder,
    optimizer: torch.optim.Optimizer,
    data: Mapping[str, Tensor],
    backward: Callable[[Tensor], None],
) -> Callable[[Tensor], dict[str, Tensor]]:
    """One step of the encoder alone towards known latents, at the indices (B,) of data = {"y", "z", "s"}.

    With coefficients of `start_from`'s components as s it is the encoder's half of that start. Eq. 1 alone teaches the
    encoder slowly: one bright line outweighs all that the other latents describe.
    """

    def step(index: Tensor) -> dict[str, Tensor]:
        loss = (encoder(data["y"][index], data["z"][index]) - data["s"][index]).square().mean()
        descend(optimizer, loss, backward)
        return {"distance": loss.detach()}

    return step


def autoencoder_step(
    model: Autoencoder,
    optimizer: torch.optim.Optimizer,
    data: Mapping[str, Tensor],
    backward: Callable[[Tensor], None],
    *,
    augment: float = 0.0,
    consistency: float = 0.0,
    generator: torch.Generator | None = None,
    autocast: Callable[[], AbstractContextManager] = nullcontext,
) -> Callable[[Tensor], dict[str, Tensor]]:
    """One step on the spectra at the indices (B,) of data = {"y", "w", "z"}.

    augment : share of each batch whose redshifts are altered to a uniform draw of 0 - 0.5 (Sec. 4).
    consistency : weight of the mean squared distance between the latents of each spectrum and of its altered copy, in
        units of the batch's variance, without which shrinking all latents would satisfy it (after Sinha & Dieng 2021).
    generator : draws the altered redshifts, on the device of the data; else torch's own.
    autocast : precision of encoder and decoder, as Fabric's `autocast`; redshifting and losses are in float32 always.
    """

    def step(index: Tensor) -> dict[str, Tensor]:
        y, w, z = (data[name][index] for name in ("y", "w", "z"))
        if augment or consistency:
            n = round(augment * len(z))
            copied = slice(None) if consistency else slice(n)
            z_new = Z_MAX * torch.rand(len(z[copied]), generator=generator, device=z.device)
            y_new, w_new, z_new = shifted(y[copied], w[copied], z[copied], z_new.to(z.dtype))
            y, w, z = (torch.cat([new[:n], old[n:]]) for new, old in ((y_new, y), (w_new, w), (z_new, z)))
        with autocast():
            s = model.encode(y, z)
            rest = model.decode(s)
        seen = matched(model.observe(rest.float(), z), y, w)
        loss = mse = weighted_mse(y, seen, w)
        losses = {"mse": mse.detach(), "chi2": chi2(y, seen.detach(), w).mean()}
        if consistency:
            with autocast():
                s_new = model.encode(y_new, z_new)
            distance = (s_new - s).float().square().mean() / s.float().var(dim=0).mean()
            losses["distance"] = distance.detach()
            loss = mse + consistency * distance * mse.detach()  # relative, like the distance itself
        descend(optimizer, loss, backward)
        return losses

    return step
