"""Mixtures of K Gaussians, those of many objects at once: densities, probabilities, quantiles, and how many peaks.

A mixture is (N, 3, K): log weights, means and log sigmas, as `apply.PhotoZ` gives them in t = ln(1 + z).
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ROWS = 16384  # objects at once: (ROWS, levels, K) stays a few tens of MB
CHUNK = 256  # objects at once on a grid: what is in work fits a core's cache
CLOSE = 1e-10  # in t, when a quantile is found
VALLEY = 0.5  # of the lower of two peaks: what lies between them falls below that
SHARE = 0.2  # of the probability that a peak has at least


def log_pdf(mixture: Tensor, t: Tensor) -> Tensor:
    """Log density (N, G) at t (N, G)."""
    log_weight, log_sigma, deviation = _deviations(mixture, t)
    return (log_weight - log_sigma - 0.5 * (deviation.square() + np.log(2 * np.pi))).logsumexp(dim=-1)


def pdf(mixture: Tensor, t: Tensor) -> Tensor:
    """Density (N, G) at t (N, G)."""
    return log_pdf(mixture, t).exp()


def cdf(mixture: Tensor, t: Tensor) -> Tensor:
    """Cumulative probability (N, G) at t (N, G)."""
    log_weight, _, deviation = _deviations(mixture, t)
    return (log_weight.exp() * torch.special.ndtr(deviation)).sum(dim=-1)


def cdf_on(mixture: Tensor, t: Tensor) -> Tensor:
    """Cumulative probability (N, G) at the same t (G,) for all, several times faster than `cdf`."""
    log_weight, mean, log_sigma = mixture.unbind(1)
    share, scale, t = 0.5 * log_weight.exp(), (-log_sigma).exp() / 2**0.5, t.to(mean)
    out = torch.full((len(mean), len(t)), 0.5, dtype=mean.dtype, device=mean.device)
    for rows in torch.arange(len(mean), device=mean.device).split(CHUNK):
        part = out[rows[0] : rows[-1] + 1]
        for k in range(mean.shape[1]):
            deviation = (t - mean[rows, k, None]).mul_(scale[rows, k, None]).erf_()
            part.addcmul_(deviation, share[rows, k, None])
    return out


def in_parts(function: Callable[..., Tensor], *of_each: Tensor) -> NDArray:
    """`function` of tensors (N, ...), ROWS objects at a time, put together."""
    return np.concatenate([function(*parts) for parts in zip(*(side.split(ROWS) for side in of_each), strict=True)])


def peak(mixture: Tensor) -> NDArray:
    """t (N,) where a mixture is highest among the means of its Gaussians."""

    def highest(part: Tensor) -> Tensor:
        mean = part[:, 1]
        return mean.gather(1, log_pdf(part, mean).argmax(dim=1, keepdim=True))[:, 0]

    return in_parts(highest, mixture)


def nll(mixture: Tensor, t: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean negative log likelihood of those of t (N,) or (N, 1) that are known, not NaN, under mixtures (N, 3, K).

    weight : (N,) of each in the mean, of objects whose weights have a mean of 1; by default equal.
    """
    known = ~t.isnan().reshape(-1)
    likelihood = log_pdf(mixture, t.reshape(-1, 1).nan_to_num())[:, 0]
    likelihood = likelihood if weight is None else likelihood * weight
    return -torch.where(known, likelihood, 0).sum() / known.sum().clamp(min=1)


def quantiles(mixture: Tensor, levels: Tensor) -> Tensor:
    """t (N, Q) below which the probability is `levels` (Q,), each between 0 and 1.

    By Newton's steps, each within a bracket that closes, or else by halving it; those that are found are left alone.
    """
    _, mean, log_sigma = mixture.unbind(1)
    n, q = len(mixture), len(levels)
    reach = 8 * log_sigma.exp()
    low = (mean - reach).amin(dim=1).repeat_interleave(q)
    high = (mean + reach).amax(dim=1).repeat_interleave(q)
    rows, level = torch.arange(n, device=low.device).repeat_interleave(q), levels.to(mixture).repeat(n)
    weight = mixture[:, 0].exp()
    middle = (weight * mean).sum(dim=1, keepdim=True)
    spread = (weight * ((mean - middle).square() + (2 * log_sigma).exp())).sum(dim=1, keepdim=True).sqrt()
    t = (middle + spread * torch.special.ndtri(levels.to(mixture))).reshape(-1)  # were it a single Gaussian
    todo, parts = torch.arange(n * q, device=low.device), mixture[rows]
    found = torch.empty_like(t)
    while len(todo):
        log_weight, log_sigma, deviation = (part[:, 0] for part in _deviations(parts, t[:, None]))
        weight = log_weight.exp()
        off = (weight * torch.special.ndtr(deviation)).sum(dim=1) - level
        slope = (weight * torch.exp(-0.5 * deviation.square() - log_sigma)).sum(dim=1) / (2 * np.pi) ** 0.5
        low, high = torch.where(off < 0, t, low), torch.where(off < 0, high, t)
        step = off / slope
        new = torch.where((t - step > low) & (t - step < high), t - step, (low + high) / 2)
        going = ~(step.abs() < CLOSE) & (high - low > CLOSE)
        found[todo] = torch.where(going, new, t)
        todo, parts, level, low, high, t = (side[going] for side in (todo, parts, level, low, high, new))
    return found.reshape(n, q)


def has_two_peaks(below: Tensor) -> Tensor:
    """Whether a density has two peaks (N,) that hold `SHARE` of the probability each, with a `VALLEY` between them.

    below : (N, G) cumulative probability at even steps, which are the least distance of two peaks.
    """
    inside = below.diff(dim=1)
    left, right = inside.cummax(dim=1).values, inside.flip(1).cummax(dim=1).values.flip(1)
    valley = inside < VALLEY * torch.minimum(left, right)
    middle = (below[:, 1:] + below[:, :-1]) / 2
    return (valley & (middle > SHARE) & (middle < 1 - SHARE)).any(dim=1)


def _deviations(mixture: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log weights and log sigmas (N, 1, K), and how many sigmas t (N, G) lies from the means (N, G, K)."""
    log_weight, mean, log_sigma = (part[:, None] for part in mixture.unbind(1))
    return log_weight, log_sigma, (t[..., None] - mean) * torch.exp(-log_sigma)
