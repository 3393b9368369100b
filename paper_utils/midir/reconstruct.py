"""Reconstruction with a generative prior: from photometry to the latent that explains it (Rissaki+ 2023, Sec. 2.2.1).

    s_hat = argmin_s  1/m || a A G(s) - y ||^2  ( + lambda ||s||^2 )                       (eqs. 2 and 3)

How bright a galaxy is, its distance says and not its kind: the factor a is free, and at each step the best there is.

All galaxies are optimised in one batch: the losses of different galaxies share no variable, so that the sum of all
has, for each galaxy, the gradient of its own. A loop over galaxies gives the same answer, many times slower.
"""

import copy

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_linear_bn_eval

from paper_utils.midir.model import Generator, to_sphere


def frozen(generator: Generator) -> Generator:
    """A copy for searching: weights fixed, each batch norm folded into the linear layer before it."""
    generator = copy.deepcopy(generator).eval()
    layers: list[nn.Module] = []
    for layer in generator.network:
        if isinstance(layer, nn.BatchNorm1d):
            layers[-1] = fuse_linear_bn_eval(layers[-1], layer)
        else:
            layers.append(layer)
    generator.network = nn.Sequential(*layers)
    return generator.requires_grad_(False)


def seen_part(generator: Generator, A: Tensor) -> tuple[Generator, Tensor]:
    """A copy that makes only those bins which some band of A (m, n_wave) sees, and A for these: all that a search needs
    until its end, in two thirds of the time."""
    used, generator = (A != 0).any(dim=0), copy.deepcopy(generator)
    last, standard = generator.network[-1], generator.standard
    last.weight, last.bias = (nn.Parameter(values[used], requires_grad=False) for values in (last.weight, last.bias))
    standard.mean, standard.scale = standard.mean[used], standard.scale[used]
    return generator, A[:, used]


def brightened(generator: Generator, x: Tensor, A: Tensor, y: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Spectra x (..., N, n_wave) and their photometry (..., N, m), in the generator's space, at the brightness that
    comes nearest to photometry y (N, m): a shift of the log, or a factor, which is positive."""
    seen = generator.measure(x, A)
    if generator.log:
        shift = (weight * (y - seen)).sum(-1, keepdim=True) / weight.sum(-1, keepdim=True)
        return x + shift, seen + shift
    factor = (weight * seen * y).sum(-1, keepdim=True) / (weight * seen**2).sum(-1, keepdim=True).clamp(min=1e-30)
    factor = factor.clamp(min=1e-6)
    return factor * x, factor * seen


@torch.no_grad()
def nearest_starts(generator: Generator, A: Tensor, y: Tensor, pool: Tensor, k: int = 1, weight=1.0) -> Tensor:
    """For each galaxy the k latents of a pool (P, n_latent) that explain y best, at any brightness: (k, N, n_latent).

    The pool is the learned latents of a GLO or draws from the prior of a WGAN. `y` is (N, m), `weight` as it or (m,).
    """
    generator, weight = frozen(generator), weight * torch.ones_like(y)
    seen = generator.measure(generator(pool), A)  # (P, m)
    # Without the (N, P, m) cube: sum_b w (y - p)^2 = w y^2 - 2 (w y) p + w p^2, and what the best brightness gains.
    overlap, square = (weight * y) @ seen.T, weight @ (seen**2).T  # (N, P)
    if generator.log:
        off = (weight * y).sum(1, keepdim=True) - weight @ seen.T
        distance = square - 2 * overlap - off**2 / weight.sum(1, keepdim=True)  # up to a constant per galaxy
    else:
        distance = -(overlap.clamp(min=0) ** 2) / square
    return pool[distance.topk(k, largest=False).indices].transpose(0, 1).contiguous()


def reconstruct(
    generator: Generator, A: Tensor, y: Tensor, start: Tensor, *, lam=None, lr=1e-3, n_steps=1000, weight=1.0
) -> tuple[Tensor, Tensor]:
    """Latent optimisation of N galaxies at once with Adam.

    Parameters
    ----------
    A : measurement matrix on F_nu (m, n_wave).
    y : photometry in the generator's space (N, m): log10 F_nu for a log generator, F_nu otherwise.
    start : first latents (..., N, n_latent).
    lam : None projects onto the unit sphere after each step ("projection"); a number adds lam ||s||^2 instead
        ("regularization", eq. 3).
    lr : learning rate, a number or a tensor that broadcasts against `start`.
    weight : (N, m) or (m,) weights of the squared residuals: 0 for a missing band, 1/sigma^2 for noise.

    Returns
    -------
    spectra (..., N, n_wave) in the generator's space and their misfit (..., N), 1/m || a A G(s) - y ||^2, weighted.
    """
    generator, s = frozen(generator), start.clone().requires_grad_()
    part = seen_part(generator, A)
    weight = weight * torch.ones_like(y)
    optimizer = torch.optim.Adam([s], lr=1.0)  # Adam's step is as long as its rate, here given row by row

    def fitted(generator: Generator, A: Tensor) -> tuple[Tensor, Tensor]:
        x, seen = brightened(generator, generator(s), A, y, weight)
        return x, (weight * (seen - y) ** 2).mean(-1)

    for _ in range(n_steps):
        _, misfit = fitted(*part)
        loss = misfit.sum() if lam is None else (misfit + lam * (s**2).sum(-1)).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        with torch.no_grad():
            before = s.clone()
            optimizer.step()
            s.copy_(before + lr * (s - before))
            if lam is None:
                s.copy_(to_sphere(s))
    with torch.no_grad():
        return fitted(generator, A)


def recover(generator: Generator, A: ArrayLike, photometry: NDArray, start: Tensor, **search) -> NDArray:
    """`reconstruct` with physical values: photometry (N, m) and spectra (..., N, n_wave) are F_nu, in NumPy.

    Any unit: each galaxy's photometry is first brought to a root mean square of 1.
    """
    unit, inputs = _inputs(generator, A, photometry)
    x, _ = reconstruct(generator, *inputs, start, **search)
    return generator.flux(x).cpu().double().numpy() * unit


def recover_nearest(
    generator: Generator, A: ArrayLike, photometry: NDArray, pool: Tensor, k: int = 1, weight=1.0, **search
) -> NDArray:
    """The same from each galaxy's k nearest starts in a pool (P, n_latent), in one batch: (k, N, n_wave)."""
    starts = nearest_starts(generator, *_inputs(generator, A, photometry)[1], pool, k, weight)
    return recover(generator, A, photometry, starts, weight=weight, **search)


def _inputs(generator: Generator, A: ArrayLike, photometry: NDArray) -> tuple[NDArray, list[Tensor]]:
    """The unit (N, 1) of each galaxy; matrix and photometry in the generator's space, float32, on its device."""
    unit = (np.asarray(photometry, float) ** 2).mean(axis=1, keepdims=True) ** 0.5
    given = np.asarray(A), np.log10(photometry / unit) if generator.log else photometry / unit
    device = next(generator.parameters()).device
    return unit, [torch.as_tensor(values, dtype=torch.float32, device=device) for values in given]
