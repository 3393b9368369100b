"""Spectra on other pixels: means over new pixels with their errors, and Gaussian broadening. Batched numpy.

All tools that measure spectra share these, so that flux is conserved and bad pixels are left out everywhere alike.
"""

from __future__ import annotations

import numpy as np

from paper_utils.sky.stellar import pixel_edges

SDSS_STEP = 1e-4 * np.log(10)  # pixels of SDSS in ln wavelength, 69 km/s


def log_grid(low: float, high: float, step: float = SDSS_STEP) -> np.ndarray:
    """Wavelengths from `low` to `high` [A] or just short of it, even in ln wavelength; a multiple of `step` each."""
    first, last = np.ceil(np.log(low) / step - 1e-6), np.floor(np.log(high) / step + 1e-6)
    return np.exp(step * np.arange(first, last + 1))


def rebin(
    wave: np.ndarray, flux: np.ndarray, ivar: np.ndarray, new_wave: np.ndarray, z: np.ndarray | float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Spectra `flux`, `ivar` (N, L) as means over the pixels around `new_wave` (M,): flux and ivar (N, M).

    wave : (L,) observed A, increasing.   new_wave : (M,) A in the rest frame of `z` (N,), increasing.
    Where part of a new pixel is bad (ivar = 0) or off the grid its mean is that of the good part; without any good part
    flux and ivar are 0. ivar is in proportion to the old pixels that a new one holds, so that information, and chi2, is
    kept: errors of neighbours are correlated where pixels are split, which it does not tell.
    """
    flux, good = np.atleast_2d(np.asarray(flux, float)), np.atleast_2d(ivar) > 0
    variance = np.where(good, 1 / np.where(good, np.atleast_2d(ivar), 1).astype(float), 0.0)
    z = np.broadcast_to(np.asarray(z, float), len(flux))
    edges = pixel_edges(np.asarray(wave, float))
    width = np.diff(edges)
    ends = np.multiply.outer(1 + z, pixel_edges(np.asarray(new_wave, float)))  # (N, M + 1)
    at = np.interp(ends, edges, np.arange(edges.size))
    low = at.astype(int).clip(0, width.size - 1)
    share = at - low

    def mean_integral(values):
        total = np.pad(np.cumsum(values * width, axis=1), ((0, 0), (1, 0)))
        below, above = (np.take_along_axis(total, low + k, axis=1) for k in (0, 1))
        return np.diff(below + share * (above - below), axis=1)

    covered = mean_integral(good.astype(float))
    some = covered > 1e-6 * np.diff(ends, axis=1)
    covered = np.where(some, covered, 1.0)
    mean = np.where(some, mean_integral(np.where(good, flux, 0.0)) / covered, 0.0)
    n = np.diff(at, axis=1)  # old pixels in each new one
    noise = mean_integral(variance) / covered
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
    wave = log_grid(low, high)
    return wave, *(a[0] for a in rebin(wave_obs, flux[None], ivar[None], wave, np.array([z])))


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
