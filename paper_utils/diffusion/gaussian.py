"""Gaussians as the start of a diffusion model: what noisy residuals are expected to be, in closed form."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LEAST = 1e-8


class Gaussian(nn.Module):
    """Residuals r (N, L) of zero mean with the covariance of n components and a variance of each element's own.

    Probabilistic PCA (Tipping & Bishop 1999) with a noise that differs from element to element. A network that learns
    what a Gaussian cannot say begins where a linear model ends.
    """

    def __init__(self, n_components: int, n_wave: int):
        super().__init__()
        self.register_buffer("axes", torch.zeros(n_components, n_wave))  # orthonormal
        self.register_buffer("variance", torch.zeros(n_components))
        self.register_buffer("rest", torch.ones(n_wave))

    def learn(self, r: Tensor) -> "Gaussian":
        """Take axes and variances from residuals (N, L)."""
        length, axes = components(r, len(self.variance))
        left = r - (r @ axes.T) @ axes
        self.axes.copy_(axes)
        self.rest.copy_(left.var(dim=0))
        # What an axis catches of the elements' own noise is not the component's.
        noise = (axes.square() * self.rest).sum(dim=1)
        self.variance.copy_((length.square() / len(r) - noise).clamp_min(0))
        return self

    def expected(self, y: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """E(r) given y = alpha r + sigma eps (N, L), with eps ~ N(0, 1); alpha and sigma (N, 1) or (1, 1).

        alpha C (alpha^2 C + sigma^2)^-1 y for the covariance C, by Woodbury's identity: only n x n matrices are solved.
        """
        noise = alpha.square() * self.rest + sigma.square()
        inner = alpha.square()[..., None] * (self.axes / noise[:, None]) @ self.axes.T
        inner = inner + torch.diag(1 / self.variance.clamp_min(_LEAST))
        b = (y / noise) @ self.axes.T
        same = len(inner) == 1  # for all: one matrix, many right sides
        seen = torch.linalg.solve(inner[0], b.T).T if same else torch.linalg.solve(inner, b[..., None])[..., 0]
        w = (y - alpha.square() * seen @ self.axes) / noise
        return alpha * (w * self.rest + (w @ self.axes.T * self.variance) @ self.axes)


class Blocks(nn.Module):
    """Residuals r (N, L) of zero mean whose blocks of `size` elements are Gaussians, each independent of the others.

    What linear interpolation between every eighth element leaves: it is zero at those, and tied together in between.
    """

    def __init__(self, size: int, n_wave: int):
        super().__init__()
        self.size, n_blocks = size, -(-n_wave // size)
        self.register_buffer("axes", torch.eye(size).repeat(n_blocks, 1, 1))  # columns are eigenvectors
        self.register_buffer("variance", torch.ones(n_blocks, size))

    def _split(self, r: Tensor) -> Tensor:
        """(N, L) -> (n_blocks, N, size), the last one filled with zeros."""
        return F.pad(r, (0, -r.shape[1] % self.size)).unflatten(1, (-1, self.size)).movedim(1, 0)

    def learn(self, r: Tensor) -> "Blocks":
        """Take the covariance of each block from residuals (N, L)."""
        blocks = self._split(r)
        variance, axes = torch.linalg.eigh(blocks.mT @ blocks / len(r))
        self.variance.copy_(variance.clamp_min(0))
        self.axes.copy_(axes)
        return self

    def expected(self, y: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """As `Gaussian.expected`: each block along its own axes, one variance at a time."""
        variance = self.variance[:, None]
        gain = alpha * variance / (alpha.square() * variance + sigma.square())  # (n_blocks, N, size)
        r = (self._split(y) @ self.axes * gain) @ self.axes.mT
        return r.movedim(0, 1).flatten(1)[:, : y.shape[1]]


def components(x: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """The n largest singular values (n,) and right singular vectors (n, L) of x (N, L), the same at every call."""
    with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
        torch.manual_seed(0)
        _, length, axes = torch.pca_lowrank(x, n, center=False, niter=4)
    return length, axes.T.contiguous()
