"""Spectra on other pixels: means over new pixels with their errors, and Gaussian broadening. Batched numpy.

All tools that measure spectra share these, so that flux is conserved and bad pixels are left out everywhere alike.
"""

import numpy as np

from paper_utils.base.wavelengths import SDSS_STEP, pixel_edges, sdss_grid


def integrals(content: np.ndarray, at: np.ndarray) -> np.ndarray:
    """What lies between neighbouring positions of `at` (N, M + 1) in rows of pixels that hold `content` (N, L): (N, M).

    Positions are counted in pixels from the lower edge of the first, between 0 and L; a pixel is filled evenly.
    """
    low = at.astype(int).clip(0, content.shape[1] - 1)
    share = at - low
    total = np.pad(np.cumsum(content, axis=1), ((0, 0), (1, 0)))
    below, above = (np.take_along_axis(total, low + k, axis=1) for k in (0, 1))
    return np.diff(below + share * (above - below), axis=1)


def integrals_on_device(content, at):
    """`integrals` of tensors, (N, M) in the precision of `content`; give float64 where pixels are thousands."""
    from torch.nn.functional import pad

    low = at.long().clamp(0, content.shape[1] - 1)
    total = pad(content.cumsum(dim=1), (1, 0))
    return total.gather(1, low).lerp(total.gather(1, low + 1), (at - low).to(content.dtype)).diff(dim=1)


def rebin(
    wave: np.ndarray, flux: np.ndarray, ivar: np.ndarray, new_wave: np.ndarray, z: np.ndarray | float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Spectra `flux`, `ivar` (N, L) as means over the pixels around `new_wave` (M,): flux and ivar (N, M).

    wave : (L,) observed A, increasing.   new_wave : (M,) A in the rest frame of `z` (N,), increasing.
    Where part of a new pixel is bad (ivar = 0) or off the grid its mean is that of the good part; without any good part
    flux and ivar are 0. ivar is in proportion to the old pixels that a new one holds, so that information, and chi2, is
    kept; that errors of neighbours are correlated where pixels are split does not show in it.
    """
    flux, good = np.atleast_2d(np.asarray(flux, float)), np.atleast_2d(ivar) > 0
    variance = np.where(good, 1 / np.where(good, np.atleast_2d(ivar), 1).astype(float), 0.0)
    z = np.broadcast_to(np.asarray(z, float), len(flux))
    edges = pixel_edges(np.asarray(wave, float))
    width = np.diff(edges)
    ends = np.multiply.outer(1 + z, pixel_edges(np.asarray(new_wave, float)))  # (N, M + 1)
    at = np.interp(ends, edges, np.arange(edges.size))
    covered = integrals(good * width, at)
    some = covered > 1e-6 * np.diff(ends, axis=1)
    covered = np.where(some, covered, 1.0)
    mean = np.where(some, integrals(np.where(good, flux, 0.0) * width, at) / covered, 0.0)
    n = np.diff(at, axis=1)  # old pixels in each new one
    noise = integrals(variance * width, at) / covered
    inverse = np.where(some & (noise > 0), n / np.where(noise > 0, noise, 1), 0.0)
    return mean, inverse * np.clip(covered / np.diff(ends, axis=1), 0, 1)


def rest_frame(
    wave_obs: np.ndarray, flux: np.ndarray, ivar: np.ndarray, z: float, low: float, high: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One spectrum (L,) between `low` and `high` [rest A] on pixels of `SDSS_STEP`: wavelengths, flux, ivar, (P,) each.

    Pixels of SDSS stay as they are: split and joined they would blur the galaxy by up to 34 km/s. Others are rebinned.
    """
    wave_obs, flux, ivar = (np.asarray(a, float) for a in (wave_obs, flux, ivar))
    low, high = max(low, wave_obs[0] / (1 + z)), min(high, wave_obs[-1] / (1 + z))
    if np.abs(np.diff(np.log(wave_obs)) / SDSS_STEP - 1).max() < 1e-3:
        near = (wave_obs / (1 + z) >= low) & (wave_obs / (1 + z) <= high)
        return wave_obs[near] / (1 + z), flux[near], ivar[near]
    if high <= low:
        return np.zeros(0), np.zeros(0), np.zeros(0)
    wave = sdss_grid(low, high)
    return wave, *(a[0] for a in rebin(wave_obs, flux[None], ivar[None], wave, np.array([z])))


def spline_means(wave: np.ndarray, flux: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Means of `flux` (K, L) between `edges` (n + 1,), held constant past either end of `wave` (L,): (K, n).

    Integrals of the cubic spline through the values: for templates, whose resolution as published includes their own
    pixels. Taken as means over these, or as steps, they would come out sharper, or broader, by 15 km/s.
    """
    from scipy.interpolate import CubicSpline

    near = slice(*np.clip(np.searchsorted(wave, edges[[0, -1]]) + [-9, 9], 0, wave.size))
    wave, flux = wave[near], flux[:, near].astype(float)
    total = CubicSpline(wave, flux, axis=1).antiderivative()(np.clip(edges, wave[0], wave[-1]))
    total += flux[:, :1] * np.minimum(edges - wave[0], 0) + flux[:, -1:] * np.maximum(edges - wave[-1], 0)
    return np.diff(total, axis=1) / np.diff(edges)


def broaden(flux: np.ndarray, sigma: np.ndarray, good: np.ndarray | None = None) -> np.ndarray:
    """`flux` (N, L) convolved with Gaussians of `sigma` pixels, a number, (L,) or (N, L), integrated over the pixels.

    good : (N, L) boolean; other pixels are left out of the means, which come from their neighbours, NaN where more than
    half of a Gaussian falls on them. Past the ends spectra go on with their last value.
    """
    from scipy.special import erf

    flux = np.atleast_2d(np.asarray(flux, float))
    sigma = np.atleast_2d(np.asarray(sigma, float))  # one kernel for all spectra, or one for each
    good = np.ones(flux.shape, bool) if good is None else np.atleast_2d(good)
    reach = int(np.ceil(4.5 * sigma.max(initial=0))) + 1
    root = np.sqrt(2) * np.maximum(sigma, 1e-3)
    pad = ((0, 0), (reach, reach))
    weight = np.pad(good.astype(float), pad, mode="edge")
    weighted = np.pad(np.where(good, flux, 0.0), pad, mode="edge")
    total, seen = np.zeros_like(flux), np.zeros_like(flux)
    for j in range(2 * reach + 1):
        distance = j - reach
        kernel = 0.5 * (erf((distance + 0.5) / root) - erf((distance - 0.5) / root))
        total += kernel * weighted[:, j : j + flux.shape[1]]
        seen += kernel * weight[:, j : j + flux.shape[1]]
    return np.where(seen > 0.5, total / np.where(seen > 0.5, seen, 1), np.nan)


def sample(wave: np.ndarray, values: np.ndarray | float, at: np.ndarray) -> np.ndarray:
    """`values`, a number, (L,) or (N, L) at `wave` (L,), linear between, at `at` (N, M); constant past the ends."""
    values = np.broadcast_to(np.asarray(values, float), (len(at), wave.size))
    low = np.searchsorted(wave, at).clip(1, wave.size - 1) - 1
    share = np.clip((at - wave[low]) / (wave[low + 1] - wave[low]), 0, 1)
    below, above = (np.take_along_axis(values, low + k, axis=1) for k in (0, 1))
    return below + share * (above - below)
