"""Study 3's denoising network: a 1-D U-Net that is told the noise level, and looks at an image by cross-attention.

Doorenbos+ 2024 (Sec. 3.1 and Appendix A) name a U-Net (Ronneberger+ 2015, arXiv:1505.04597) with cross-attention at
several depths as in Rombach+ 2022 (arXiv:2112.10752). Its sizes are those of the authors' public code.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUPS = 8  # of group norm
HEAD = 32  # channels of an attention head


def time_embedding(t: Tensor, n: int) -> Tensor:
    """Sines and cosines of steps t (N,) at periods from 2 pi to 2e4 pi steps: (N, n), n even (Vaswani+ 2017)."""
    frequency = torch.exp(torch.arange(n // 2, device=t.device) * (-math.log(1e4) / (n // 2)))
    phase = t.float()[:, None] * frequency
    return torch.cat([phase.sin(), phase.cos()], dim=1)


def convolution(n_in: int, n_out: int, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Convolution of three elements, group norm and activation."""
    return nn.Sequential(nn.Conv1d(n_in, n_out, 3, padding=1), nn.GroupNorm(GROUPS, n_out), act(inplace=True))


class ResidualBlock(nn.Module):
    """Two convolutions, each with group norm and ReLU, beside a shortcut; the noise level is added between them."""

    def __init__(self, n_in: int, n_mid: int, n_out: int, n_time: int):
        super().__init__()
        self.first, self.second = convolution(n_in, n_mid), convolution(n_mid, n_out)
        self.level = nn.Sequential(nn.ReLU(), nn.Linear(n_time, n_mid))
        self.shortcut = nn.Conv1d(n_in, n_out, 1) if n_in != n_out else nn.Identity()

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        return self.second(self.first(x) + self.level(level)[:, :, None]) + self.shortcut(x)


class Attention(nn.Module):
    """Multi-head attention of tokens x (N, T, C) to others (N, S, n_other)."""

    def __init__(self, n: int, n_other: int):
        super().__init__()
        self.n_heads = max(n // HEAD, 1)
        self.q = nn.Linear(n, n, bias=False)
        self.k, self.v = (nn.Linear(n_other, n, bias=False) for _ in range(2))
        self.out = nn.Linear(n, n)

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        q, k, v = (
            f(y).unflatten(2, (self.n_heads, -1)).transpose(1, 2)
            for f, y in ((self.q, x), (self.k, other), (self.v, other))
        )  # (N, n_heads, T or S, C / n_heads)
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Transformer(nn.Module):
    """x (N, C, L) with attention to itself and to the image's tokens (N, T, n_context), then a gated perceptron.

    Its last layer begins at zero: at first the network denoises as if it had seen no image.
    """

    def __init__(self, n: int, n_context: int):
        super().__init__()
        self.norm = nn.GroupNorm(math.gcd(32, n), n, eps=1e-6)
        self.enter = nn.Conv1d(n, n, 1)
        self.norms = nn.ModuleList(nn.LayerNorm(n) for _ in range(3))
        self.to_self, self.to_image = Attention(n, n), Attention(n, n_context)
        self.gate, self.mix = nn.Linear(n, 8 * n), nn.Linear(4 * n, n)
        self.leave = nn.Conv1d(n, n, 1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        y = self.enter(self.norm(x)).mT  # (N, L, C)
        seen = self.norms[0](y)
        y = y + self.to_self(seen, seen)
        y = y + self.to_image(self.norms[1](y), context)
        value, gate = self.gate(self.norms[2](y)).chunk(2, dim=2)
        y = y + self.mix(value * F.gelu(gate))
        return x + self.leave(y.mT)


class UNet(nn.Module):
    """Noisy spectra (N, n_in, L), steps t (N,) and an image's tokens (N, T, n_context) -> (N, 1, L), any L.

    Parameters
    ----------
    base, mults : channels at each depth are base * mults; the length halves from one to the next, and once more to the
        bottom, which has the channels of the last.
    n_attention : so many of the deepest depths look at the image, on the way down and up; the bottom always does.
    patch : elements that enter together as one position. 1 is the published network; 4 is 4 times as fast.
    pooled : also add the mean of the image's tokens to the noise level's embedding, which every block sees.
    """

    def __init__(
        self, n_in: int = 1, base: int = 64, mults: tuple[int, ...] = (1, 2, 4, 8), n_context: int = 512, *,
        n_attention: int = 1, patch: int = 1, pooled: bool = False,
    ):  # fmt: skip
        super().__init__()
        self.patch, self.n_time = patch, 4 * base
        n_time, channels = self.n_time, [base * m for m in mults]
        self.level = nn.Sequential(nn.Linear(n_time, 4 * n_time), nn.ReLU(), nn.Linear(4 * n_time, n_time))
        self.pooled = nn.Linear(n_context, n_time) if pooled else None
        # Published, the first block takes the spectrum itself.
        self.enter = nn.Conv1d(n_in, base, patch, patch) if patch > 1 else nn.Identity()
        widths = [base if patch > 1 else n_in, *channels]
        looks = [depth >= len(channels) - n_attention for depth in range(len(channels))]
        down = [
            _way(ResidualBlock(a, b, b, n_time), nn.Conv1d(b, b, 3, 2, 1), b, look and n_context)
            for a, b, look in zip(widths, channels, looks, strict=False)
        ]
        up = [
            _way(ResidualBlock(2 * a, a, b, n_time), nn.ConvTranspose1d(a, a, 4, 2, 1), b, look and n_context)
            for a, b, look in zip(channels, [channels[0], *channels], looks, strict=False)
        ]
        n = channels[-1]
        self.bottom = nn.ModuleList(
            [ResidualBlock(n, n, n, n_time), Transformer(n, n_context), ResidualBlock(n, n, n, n_time)]
        )
        self.down, self.up = nn.ModuleList(down), nn.ModuleList(up[::-1])
        self.leave = nn.ConvTranspose1d(base, 1, patch, patch) if patch > 1 else nn.Conv1d(base, 1, 1)

    def forward(self, x: Tensor, t: Tensor, context: Tensor) -> Tensor:
        length = x.shape[-1]
        level = self.level(time_embedding(t, self.n_time))
        if self.pooled is not None:
            level = level + self.pooled(context.mean(dim=1))
        x = self.enter(F.pad(x, (0, -length % self.patch), mode="replicate"))
        kept = []
        for way in self.down:
            x = way["block"](x, level)
            kept.append(x)
            x = way["resize"](x)
            x = way["look"](x, context) if "look" in way else x
        first, look, second = self.bottom
        x = second(look(first(x, level), context), level)
        for way in self.up:
            beside = kept.pop()
            x = way["resize"](x)[..., : beside.shape[-1]]  # twice a length that was rounded up
            x = way["block"](torch.cat([x, beside], dim=1), level)
            x = way["look"](x, context) if "look" in way else x
        return self.leave(x)[..., :length]


def _way(block: nn.Module, resize: nn.Module, n: int, n_context: int) -> nn.ModuleDict:
    """One depth, down or up; without n_context it does not look at the image."""
    return nn.ModuleDict(
        {"block": block, "resize": resize} | ({"look": Transformer(n, n_context)} if n_context else {})
    )
