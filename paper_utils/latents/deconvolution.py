"""Network deconvolution: convolutions whose inputs are decorrelated first (Ye+ 2020, arXiv:1905.11926).

A convolution multiplies patches of k x k pixels and B channels by its weights. Neighbouring pixels and bands of an
image resemble each other, so that the patches' covariance C is far from a unit matrix and gradient descent slow. Here
patches p are replaced by D (p - mean) with D = C^-1/2, which does for pixels and channels together what batch
normalisation does for each channel alone. Since both are linear, D goes into the weights and the mean into the bias,
and what is left is an ordinary convolution.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def inverse_sqrt(matrices: Tensor, n_iterations: int = 5) -> Tensor:
    """A^-1/2 of symmetric positive matrices (..., F, F) by coupled Newton-Schulz iterations.

    Only matrix products, so fast and differentiable, and stable in float32 because Y and Z are updated by the same
    matrix (Higham 1997, Numer. Algorithms 15, 227). Eigenvalues v are found from the largest down: one of v / |A|
    grows by 9/4 per iteration before it converges, and those that five iterations do not reach are amplified less than
    v^-1/2, which keeps noise from being blown up.
    """
    unit = torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device)
    norm = torch.linalg.matrix_norm(matrices, keepdim=True)
    y = matrices / norm
    t = z = 1.5 * unit - 0.5 * y  # the first iteration, whose Z is the unit matrix
    for _ in range(n_iterations - 1):
        y = y @ t  # -> (A / |A|)^1/2
        t = 1.5 * unit - 0.5 * z @ y
        z = t @ z  # -> (A / |A|)^-1/2
    return z / norm.sqrt()


class Deconv2d(nn.Conv2d):
    """A convolution of decorrelated input: in place of convolution and batch norm, with a bias. (N, C, H, W) as Conv2d.

    Statistics come from the batch while training and from running averages afterwards, as those of a batch norm. The
    average is that of the covariance. The authors' code averages D itself, which is as good where batches are alike;
    but C^-1/2 is largest in the batch that happens to hold no bright object, and the average D then blows up those of
    all others.

    Channels are taken in blocks: the convolution's groups, each with its own statistics, or without groups the largest
    common divisor of `block` and C, whose covariance all blocks share. Zeros of the padding count as they are.

    Parameters
    ----------
    block : channels decorrelated together, at most.
    sampling : statistics are taken from every `sampling`-th patch of the convolution's own, in both directions.
    eps : added to the variances.   n_iterations : of Newton and Schulz.
    momentum : of the running averages, which are plain means until more batches than 1 / momentum have been seen.
    """

    def __init__(
        self, n_in: int, n_out: int, kernel: int, *, stride: int = 1, padding: int = 0, groups: int = 1,
        block: int = 64, sampling: int = 3, eps: float = 1e-5, n_iterations: int = 5, momentum: float = 0.02,
    ):  # fmt: skip
        super().__init__(n_in, n_out, kernel, stride, padding, groups=groups)
        width = n_in // groups if groups > 1 else math.gcd(n_in, block) if n_in > block else n_in
        self.n_features = width * kernel**2
        self.sampling, self.eps, self.n_iterations, self.momentum = sampling, eps, n_iterations, momentum
        self.register_buffer("running_mean", torch.zeros(groups, self.n_features, 1))
        self.register_buffer("running_covariance", torch.eye(self.n_features).repeat(groups, 1, 1))
        self.register_buffer("n_batches", torch.tensor(0))

    def patches(self, x: Tensor, stride: int) -> Tensor:
        """Patches of x (N, C, H, W) as columns: (groups, F, samples) with F = k x k pixels of one block's channels."""
        columns = F.unfold(x, self.kernel_size, padding=self.padding, stride=stride)  # (N, C k k, positions)
        blocks = columns.unflatten(1, (self.groups, -1, self.n_features))  # (N, groups, blocks, F, positions)
        return blocks.permute(1, 3, 2, 0, 4).flatten(2)

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (groups, F, 1) of the patches of x and their covariance C (groups, F, F), with `eps` on its diagonal."""
        p = self.patches(x, self.sampling * self.stride[0])
        n = p.shape[-1]
        mean = p.sum(dim=-1, keepdim=True) / n  # the gradient of .mean() would be divided patch by patch
        # A covariance is least about the mean, so that no gradient comes through it: one pass less over the patches.
        p = p - mean.detach()
        unit = torch.eye(self.n_features, dtype=p.dtype, device=p.device)
        return mean, p @ p.mT / n + self.eps * unit

    def forward(self, x: Tensor) -> Tensor:
        # Halved precision is enough for the convolution itself, not for the inverse root and what it multiplies.
        with torch.autocast(x.device.type, enabled=False):
            weight, bias = self.decorrelating(x)
        return F.conv2d(x, weight, bias, self.stride, self.padding, 1, self.groups)

    def decorrelating(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Weight and bias of the convolution of x that equals this layer's of decorrelated x."""
        if self.training:
            mean, covariance = self.statistics(x.to(self.weight.dtype))
            with torch.no_grad():
                self.n_batches += 1
                rate = (1 / self.n_batches).clamp(min=self.momentum).to(mean.dtype)
                self.running_mean.lerp_(mean, rate)
                self.running_covariance.lerp_(covariance, rate)
        else:
            mean, covariance = self.running_mean, self.running_covariance
        deconv = inverse_sqrt(covariance, self.n_iterations)
        weight = self.weight.reshape(self.groups, -1, self.n_features) @ deconv  # (groups, O / groups x blocks, F)
        bias = self.bias - (weight @ mean).view(len(self.bias), -1).sum(dim=1)
        weight = weight.view_as(self.weight)
        if self.weight.is_contiguous(memory_format=torch.channels_last):  # faster where groups are many
            weight = weight.contiguous(memory_format=torch.channels_last)
        return weight, bias
