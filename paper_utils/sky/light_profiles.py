"""Light profiles as sums of Gaussians, and the stamps that a camera makes of them, batched on any device.

A Sersic profile is close to a sum of concentric Gaussians (Hogg & Lang 2013, 2013PASP..125..719H), an elongated
Gaussian to a row of round ones, and a star is one already. Gaussians stay Gaussians when the atmosphere blurs them, and
round ones fall apart into a factor along x and one along y, each integrated over pixels by the error function: a stamp
of anything is a matrix product, (H, G) x (G, W), without loops over objects or pixels, and has gradients.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import nnls
from scipy.special import gammaincinv

N_SERSIC = (0.5, 8.0)  # indices with a table; below 0.5 a profile has no positive sum of Gaussians
# Round Gaussians of dispersion s every 1.6 s add up to a ridge that is even to 2 exp(-2 pi^2 / 1.6^2) = 9e-4.
SPACING = 1.6
REACH = 3.0  # a row ends at so many dispersions of the Gaussian that it stands for


class Gaussians(NamedTuple):
    """G round Gaussians on each of N stamps; positions and sizes in pixels.

    x, y : (N, G) from the stamp's centre.   var : (N, G) dispersion squared.   flux : (N, G, B), any unit.
    """

    x: torch.Tensor
    y: torch.Tensor
    var: torch.Tensor
    flux: torch.Tensor


def together(*parts: Gaussians) -> Gaussians:
    """All Gaussians of several sets on the same stamps."""
    return Gaussians(*(torch.cat(same, dim=1) for same in zip(*parts, strict=True)))


def sersic(n: np.ndarray, k: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Round Sersic profiles of unit flux as `k` Gaussians: shares of the flux and dispersions / R_e, both (N, k).

    n : (N,) Sersic index, 0.5 to 8, held at the ends. With ten Gaussians the brightness between 0.1 and 3 R_e is right
    to 1 % (rms) up to n = 4 and to 5 % at 8, the light within any radius to 0.2 % and 0.6 % of the whole; the last half
    per cent of a profile, far outside, lies further in. R_e is exact. Dispersions increase.
    """
    log_n, share, log_sigma = _table(k)
    at = np.log(np.clip(n, *N_SERSIC))
    right = np.clip(np.searchsorted(log_n, at), 1, len(log_n) - 1)
    part = ((at - log_n[right - 1]) / (log_n[right] - log_n[right - 1]))[:, None]
    share, log_sigma = (table[right - 1] * (1 - part) + table[right] * part for table in (share, log_sigma))
    return share, np.exp(log_sigma)


@lru_cache(maxsize=4)
def _table(k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ln n (T,), flux shares (T, k), ln(dispersion / R_e) (T, k): least squares with positive shares."""
    indices = np.geomspace(*N_SERSIC, 40)
    shares, sigmas = [], []
    for n in indices:
        b = gammaincinv(2 * n, 0.5)
        radius = np.geomspace(*(gammaincinv(2 * n, [2e-4, 0.998]) / b) ** n, 300)
        light = radius**2 * np.exp(-b * radius ** (1 / n))  # per unit of ln R
        light /= np.trapezoid(light, np.log(radius))
        inner, outer = (gammaincinv(2 * n, [0.01, 0.995]) / b) ** n
        # The largest at n = 0.5 is the profile itself, which holds 0.995 within 3.255 dispersions.
        sigma = np.geomspace(inner / 1.2, outer / (2.4 + 0.855 * (0.5 / n) ** 3), k)
        x = (radius[:, None] / sigma) ** 2
        weight = 1 / (light + 0.1 * light.max())  # the flux counts, and so does the profile where there is little of it
        smooth = 0.005 * weight.mean() * np.eye(k)  # keeps shares continuous in n, so that one can read between rows
        matrix = np.concatenate([x * np.exp(-x / 2) * weight[:, None], smooth])
        share, _ = nnls(matrix, np.concatenate([light * weight, np.zeros(k)]))
        share /= share.sum()
        near = np.geomspace(0.3, 3, 1000)
        half = np.interp(0.5, share @ -np.expm1(-((near / sigma[:, None]) ** 2) / 2), near)
        shares.append(share)
        sigmas.append(np.log(sigma / half))
    return np.log(indices), np.array(shares), np.array(sigmas)


def stretch(q: np.ndarray) -> np.ndarray:
    """Major-axis dispersion of a Gaussian of axis ratio `q` over that of the round one with the same half-light radius.

    Half-light radius: of the circle that holds half the light. 1 at q = 1 and 1.75 at 0, where half of the light of a
    line lies within 0.674 dispersions, of a round Gaussian within 1.177.
    """
    return np.interp(q, *_stretches())


@lru_cache(maxsize=1)
def _stretches() -> tuple[np.ndarray, np.ndarray]:
    q = np.linspace(0.01, 1, 100)
    angle = (np.arange(2000) + 0.5) * np.pi / 4000
    # Along a direction the integral over radius is closed; half-light radii in units of the major dispersion.
    steep = np.cos(angle) ** 2 + (np.sin(angle) / q[:, None]) ** 2
    radius = np.linspace(0.6, 1.2, 1201)
    outside = np.stack([(np.exp(-(r**2) * steep / 2) / steep / q[:, None]).mean(axis=1) for r in radius])
    half = np.array([np.interp(-0.5, -column, radius) for column in outside.T])
    return q, np.sqrt(2 * np.log(2)) / half


def elongated(sigma, q, angle, flux, blur, n_nodes: int) -> Gaussians:
    """Elliptical Gaussians about the stamps' centres as rows of `n_nodes` round ones along the major axis.

    sigma : (N, K) dispersion [pixels] along the major axis.   q : (N,) minor / major axis.
    angle : (N,) of the major axis from x [rad].   flux : (N, K, B).   blur : the PSF's smallest variance [pixels^2],
    which lets the row be coarser. The second moments are exact. Nodes that cannot both be dense enough and reach the
    end of the row are dense, and the row is shorter: 17 reach 2.6 dispersions at q = 0.2.
    """
    q = q[:, None]
    var = (q * sigma) ** 2
    length = sigma * (1 - q**2).clamp(min=1e-6).sqrt()
    step = (SPACING * (var + blur).sqrt() / length).clamp(max=2 * REACH / (n_nodes - 1))[..., None]  # in lengths
    node = torch.arange(n_nodes, device=sigma.device, dtype=sigma.dtype) - (n_nodes - 1) / 2
    t = node * step  # (N, K, n_nodes)
    weight = torch.exp(-0.5 * t**2)
    weight = weight / weight.sum(dim=2, keepdim=True)
    t = t / (weight * t**2).sum(dim=2, keepdim=True).sqrt() * length[..., None]
    turn = angle[:, None, None]
    x, y, var = (v.flatten(1) for v in (t * torch.cos(turn), t * torch.sin(turn), var[..., None].expand_as(t)))
    return Gaussians(x, y, var, flux=(weight[..., None] * flux[:, :, None, :]).flatten(1, 2))


def stamps(scene: Gaussians, size: int, psf_var, psf_share) -> torch.Tensor:
    """(N, B, size, size): the flux of a scene inside each pixel, after the PSF; row index is y.

    psf_var : (2, B) or (N, 2, B) variances [pixels^2] of the PSF's core and of its wing, the wider, in each band.
    psf_share : (2,) of their flux.
    """
    return with_wing(core(scene, size, psf_var[..., 0, :]), psf_var, psf_share)


def core(scene: Gaussians, size: int, core_var: torch.Tensor) -> torch.Tensor:
    """(N, B, size, size): `stamps` of a PSF that is one Gaussian, of variance (B,) or (N, B) [pixels^2]; exact."""
    edges = torch.arange(size + 1, device=scene.x.device, dtype=scene.x.dtype) - size / 2
    scale = torch.rsqrt(2 * (scene.var[:, None, :] + core_var[..., None]))[..., None]  # (N, B, G, 1)

    def inside(at):  # (N, B, G, size): twice the share of each Gaussian within each row, or column, of pixels
        return torch.diff(((edges - at[:, None, :, None]) * scale).erf_(), dim=3)

    flux = scene.flux.transpose(1, 2)[..., None] / 4  # (N, B, G, 1)
    return (inside(scene.y) * flux).transpose(2, 3) @ inside(scene.x)  # (N, B, H, W)


def with_wing(image: torch.Tensor, psf_var: torch.Tensor, psf_share: torch.Tensor) -> torch.Tensor:
    """Images (N, B, H, W) that `core` made, with the PSF's wing; arguments as in `stamps`.

    What the wing adds is the core's image blurred further, pixel by pixel; it knows nothing of light outside the stamp,
    and goes on as if that were like the light at the edge.
    """
    if not float(psf_share[1]):
        return image
    at = torch.arange(image.shape[-1], device=image.device, dtype=image.dtype)
    further = (psf_var[..., 1, :] - psf_var[..., 0, :])[..., None, None]  # ([N,] B, 1, 1)
    blur = torch.exp(-((at[:, None] - at) ** 2) / (2 * further))
    # A processor takes ten times as long over products of numbers so small that it holds them with fewer digits.
    blur = torch.where(blur < 1e-9, 0, blur)
    blur = blur / blur.sum(dim=-1, keepdim=True)
    return psf_share[0] * image + psf_share[1] * (blur @ image @ blur.transpose(-1, -2))
