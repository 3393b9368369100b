"""The encoder of study 2, the same function computed faster: pooling before the norm, batches that fit the cache."""

import torch
from torch import Tensor
from torch.nn import functional as F

from paper_utils.autoencoder.model import Block, Encoder

CACHED = 2**20  # elements of a tensor, 4 MB, that stay in a processor's cache


class FastEncoder(Encoder):
    """`Encoder`, with each block's norm and pooling done by `PooledNorm`."""

    def through(self, block: Block, x: Tensor) -> Tensor:
        if len(block) < 4:  # no pooling
            return block(x)
        convolution, _, activation, pooling = block
        # A tensor of a whole batch would have to be given memory page by page each time, and be read from there again
        # by norm and pooling: a processor takes few spectra at once.
        each = max(CACHED // (convolution.out_channels * x.shape[-1]), 1) if x.device.type == "cpu" else max(len(x), 1)
        normed = [PooledNorm.apply(convolution(part), pooling.kernel_size) for part in x.split(each)]
        return activation(torch.cat(normed))


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
