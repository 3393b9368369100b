"""Study 4's networks from images to latents: the five of Table 1 (Wu & Peek 2020, arXiv:2009.12318).

An 18-layer residual network with a stem of 3 x 3 convolutions, self-attention and Mish ("xresnet18"), and a simple
network of three convolutions; each with batch norm, with network deconvolution (deconvolution.py), or, the paper's
proposal, with deconvolution in the stem and batch norm in the body. Groups, squeeze-and-excitation and the place of
self-attention are those of the authors' public code; with them the numbers of parameters are the printed ones.
"""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Self

import torch
from torch import Tensor, nn

from paper_utils.latents.deconvolution import Deconv2d
from paper_utils.nets.bands import Bands
from paper_utils.nets.model_file import Model
from paper_utils.nets.standard import Standard

BLOCKS = 2  # residual blocks in each of the four stages: 18 layers with stem (1) and head (1)
GROUPS = 64  # of the first convolution in each block
REDUCTION = 8  # of squeeze-and-excitation
MAX_LOG_VAR = 10.0  # bounds a Gaussian head that has not learned anything yet


def convolution(
    n_in: int, n_out: int, kernel: int = 3, *, stride: int = 1, groups: int = 1, norm: str = "batch",
    act: type[nn.Module] | None = nn.Mish, start: float = 1.0, **deconv: int,
) -> nn.Sequential:  # fmt: skip
    """Convolution, norm ("batch" or "deconv") and activation.

    start : the batch norm's first weight.   deconv : of network deconvolution, such as `block` (deconvolution.py).
    """
    where = {"stride": stride, "padding": kernel // 2, "groups": groups}
    if norm == "deconv":
        layers = [Deconv2d(n_in, n_out, kernel, **where, **deconv)]
    else:
        layers = [nn.Conv2d(n_in, n_out, kernel, **where, bias=False), nn.BatchNorm2d(n_out)]
        nn.init.constant_(layers[1].weight, start)
    return nn.Sequential(*layers, *([act()] if act else []))


def _chain(widths: Sequence[int], norms: Sequence[str], strides: Sequence[int], **how) -> list[nn.Sequential]:
    """Convolutions one after the other; the first takes widths[0] channels."""
    layers = zip(pairwise(widths), norms, strides, strict=True)
    return [convolution(a, b, norm=norm, stride=stride, **how) for (a, b), norm, stride in layers]


class SqueezeExcitation(nn.Module):
    """Each channel times a factor between 0 and 1 that depends on the means of all channels (Hu+ 2018)."""

    def __init__(self, n: int):
        super().__init__()
        n_hidden = -(-n // REDUCTION // 8) * 8  # a multiple of 8
        self.network = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(n, n_hidden, 1), nn.Mish(), nn.Conv2d(n_hidden, n, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.network(x)


class SelfAttention(nn.Module):
    """x + gamma (x x^T / HW) W x, with x (C, HW) the features of one image and W of unit spectral norm.

    The authors' (fastai's) sums over pixels where this averages: the same up to gamma, which is learned and begins at
    0, but independent of the size of the images. Channels attend to channels, so the cost is linear in the pixels.
    """

    def __init__(self, n: int):
        super().__init__()
        self.mix = nn.utils.parametrizations.spectral_norm(nn.Conv1d(n, n, 1, bias=False))
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2)  # (N, C, HW)
        attention = flat @ flat.mT / flat.shape[-1]  # (N, C, C)
        return x + (self.gamma * (attention @ self.mix(flat))).view_as(x)


class ResidualBlock(nn.Module):
    """Mish(convolutions(x) + shortcut(x)); the shortcut halves its resolution by averaging, not by leaving out."""

    def __init__(self, n_in: int, n_out: int, stride: int, groups: int, norm: str, attention: bool, **deconv: int):
        super().__init__()
        how = {"norm": norm, **deconv}
        self.path = nn.Sequential(
            convolution(n_in, n_out, stride=stride, groups=groups, **how),
            convolution(n_out, n_out, act=None, start=0.0, **how),  # with batch norm a block begins as identity
            SqueezeExcitation(n_out),
            *([SelfAttention(n_out)] if attention else []),
        )
        self.shortcut = nn.Sequential(
            *([nn.AvgPool2d(stride, ceil_mode=True)] if stride > 1 else []),
            *([convolution(n_in, n_out, 1, act=None, **how)] if n_in != n_out else []),
        )
        self.act = nn.Mish(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.path(x) + self.shortcut(x))


def xresnet18_body(n_bands: int, norm: str, stem_norm: str, width: float, **deconv: int) -> tuple[nn.Sequential, int]:
    """Table 1's deep networks without their head: (N, n_bands, H, W) -> (N, n, H / 32, W / 32); and n."""
    n_stem, n_stages = [[round(c * width) for c in channels] for channels in ((32, 32, 64), (64, 64, 128, 256, 512))]
    groups = round(GROUPS * width)
    stem = _chain([n_bands, *n_stem], [stem_norm] * 3, (2, 1, 1), **deconv)
    blocks = []
    for stage, (a, b) in enumerate(pairwise(n_stages)):
        for i in range(BLOCKS):
            stride, attention = 2 if stage and not i else 1, stage == 0 and i == BLOCKS - 1
            blocks.append(ResidualBlock(b if i else a, b, stride, groups, norm, attention, **deconv))
    return nn.Sequential(*stem, nn.MaxPool2d(3, stride=2, padding=1), *blocks), n_stages[-1]


def simple_body(n_bands: int, norm: str, stem_norm: str, width: float, **deconv: int) -> tuple[nn.Sequential, int]:
    """Table 1's baselines: convolutions of 32, 32 and 64 filters (strides 2, 2, 1) with ReLU; and their number n."""
    n = [n_bands, *(round(c * width) for c in (32, 32, 64))]
    return nn.Sequential(*_chain(n, (stem_norm, norm, norm), (2, 2, 1), act=nn.ReLU, **deconv)), n[-1]


BODIES = {"xresnet18": xresnet18_body, "simple": simple_body}


class ImageRegressor(Model):
    """Images (N, B, H, W) -> n_out latents each, through a body (features) and a head of dropout and one layer.

    It owns what its numbers mean: the names of its `bands`, the `pixel_scale` [arcsec] of the images it was trained
    on, the unit of their flux (buffer `noise`), each band's scale, and the latents' mean and standard deviation
    (`latents`). It works on standardised latents.

    Parameters
    ----------
    body : "xresnet18" or "simple".   norm, stem_norm : "batch" or "deconv"; of the stem's "" is as the body's.
    width : multiplies all channels; 1/4 trains on two cores, with 1/15 of the parameters.
    dropout, gaussian : of the head, which gives one number per latent, or with `gaussian` a mean and a log variance.
    stretch : of the bands (nets/bands.py).
    block, sampling : of deconvolution: channels decorrelated together, of which a quarter takes a fraction of the time;
        and 1 to take the statistics of every patch, where images are so small that every third are few.
    """

    def __init__(self, body: str = "xresnet18", norm: str = "batch", stem_norm: str = "", *,
                 bands: Sequence[str] = "grizy", pixel_scale: float | None = None, n_out: int = 6, width: float = 1.0,
                 dropout: float = 0.0, gaussian: bool = False, stretch: str = "linear", block: int = 64,
                 sampling: int = 3):  # fmt: skip
        super().__init__()
        self.body, n_features = BODIES[body](len(bands), norm, stem_norm or norm, width, block=block, sampling=sampling)
        self.bands, self.latents, self.gaussian = Bands(len(bands), stretch), Standard(n_out), gaussian
        self.register_buffer("noise", torch.ones(len(bands), 1, 1))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(n_features, n_out * (1 + gaussian))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def learn_scale(self, images: Tensor, noise: Tensor | None = None) -> Self:
        """Take the unit of flux, the sky's `noise` (B,), and the scale of each band from training images."""
        if noise is not None:
            self.noise.copy_(noise[:, None, None])
        self.bands.learn(images / self.noise)
        return self

    def features(self, images: Tensor) -> Tensor:
        """(N, n_features), averaged over the image."""
        return self.body(self.bands(images / self.noise)).mean(dim=(2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """(N, n_out), or with `gaussian` means and log variances side by side, (N, 2 n_out); standardised latents."""
        return self.head(self.dropout(self.features(images)))

    def split(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance (N, n_out) from what `forward` returned; log variance 0 without a Gaussian head."""
        if not self.gaussian:
            return output, torch.zeros_like(output)
        mean, log_var = output.float().chunk(2, dim=-1)
        return mean, log_var.clamp(-MAX_LOG_VAR, MAX_LOG_VAR)

    def dropped(self, features: Tensor, generator: torch.Generator | None) -> Tensor:
        """Features (..., n_features) with a share `dropout` of them at 0, the others larger by as much."""
        kept = torch.rand(features.shape, generator=generator, device=features.device) >= self.dropout.p
        return kept * features / (1 - self.dropout.p)


xresnet18 = partial(ImageRegressor, "xresnet18")
simple_cnn = partial(ImageRegressor, "simple")

# Table 1: name -> how to build it, and the published maximum of the learning rate (that of the simple networks is not
# said to differ).
TABLE_1 = {
    "xresnet18-hybrid": (partial(xresnet18, "batch", "deconv"), 0.03),
    "xresnet18": (partial(xresnet18, "batch"), 0.03),
    "xresnet18-deconv": (partial(xresnet18, "deconv"), 0.003),
    "simple-cnn": (partial(simple_cnn, "batch"), 0.03),
    "simple-deconv": (partial(simple_cnn, "deconv"), 0.03),
}
