"""Spectra of any spectrograph as that of SDSS would have given them: its pixels, its resolution where theirs is better.

What a model learned of SDSS spectra it can then tell of others, as far as their wavelengths overlap.
"""

from dataclasses import replace

import numpy as np
from scipy.special import erf

from paper_utils.base.constants import C_KMS
from paper_utils.base.containers import WAVE_OBS, Spectra
from paper_utils.base.errors import DataError
from paper_utils.base.rebin import broaden, rebin, sample
from paper_utils.base.wavelengths import KM_S_PER_BIN, lsf_km_s, pixel_edges

CHUNK = 500  # spectra at once
FEW = 500  # pixels that two wavelength ranges have to share


def as_sdss(spectra: Spectra) -> Spectra:
    """The spectra on `WAVE_OBS`, flux conserved, ivar 0 where they do not reach, with `lsf_kms` (N, L).

    Where the resolution (`lsf_kms`; that of SDSS if None) is better than that of SDSS, flux is smoothed to it; where it
    is worse it stays, and `lsf_kms` tells. Variances are those of single pixels: that smoothing correlates neighbours
    does not show in them. `clean` and `truth` are dropped. Spectra that are on `WAVE_OBS` are returned as they are.
    Raises DataError where fewer than `FEW` pixels of `WAVE_OBS` are covered.
    """
    lsf = lsf_km_s(spectra.wave_obs) if spectra.lsf_kms is None else spectra.lsf_kms
    lsf = np.broadcast_to(lsf, spectra.flux.shape)
    if len(spectra.wave_obs) == len(WAVE_OBS) and np.allclose(spectra.wave_obs, WAVE_OBS, rtol=1e-7):
        return replace(spectra, lsf_kms=lsf)
    ends = pixel_edges(spectra.wave_obs)[[0, -1]]
    if (covered := ((ends[0] < WAVE_OBS) & (ends[1] > WAVE_OBS)).sum()) < FEW:
        low, high = spectra.wave_obs[[0, -1]]
        problem = f"the wavelengths run over {low:.0f}-{high:.0f} A and cover {covered} of {len(WAVE_OBS)} pixels"
        remedy = f"Give spectra that show more of {WAVE_OBS[0]:.0f}-{WAVE_OBS[-1]:.0f} A (vacuum, observed)."
        raise DataError(problem, remedy=remedy, row="wave_obs")
    parts = np.array_split(np.arange(len(spectra)), -(-len(spectra) // CHUNK))
    columns = zip(*(_as_sdss(spectra.wave_obs, spectra.flux[i], spectra.ivar[i], lsf[i]) for i in parts), strict=True)
    columns = dict(zip(("flux", "ivar", "lsf_kms"), map(np.concatenate, columns), strict=True))
    return replace(spectra, wave_obs=WAVE_OBS, **columns, clean=None, truth=None)


def _as_sdss(wave: np.ndarray, flux: np.ndarray, ivar: np.ndarray, lsf: np.ndarray) -> tuple[np.ndarray, ...]:
    """flux, ivar and resolution (N, L) on `WAVE_OBS`, float32, of those (N, M) at `wave` (M,)."""
    flux, ivar = rebin(wave, flux, ivar, WAVE_OBS)
    # Rebinning blurs as well, by the old pixel and the new.
    pixel = C_KMS * np.diff(pixel_edges(wave)) / wave
    lsf = np.sqrt(lsf**2 + (pixel**2 + KM_S_PER_BIN**2) / 12)
    lsf = sample(wave, lsf, np.broadcast_to(WAVE_OBS, flux.shape))
    target = lsf_km_s(WAVE_OBS)
    sigma = np.sqrt(np.clip(target**2 - lsf**2, 0, None)) / KM_S_PER_BIN
    flux, ivar = _smoothed(flux, ivar, sigma)
    return tuple(values.astype(np.float32) for values in (flux, ivar, np.maximum(lsf, target)))


def _smoothed(flux: np.ndarray, ivar: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spectra (N, L) convolved with Gaussians of `sigma` (N, L) pixels, and the ivar of single pixels after it."""
    good = ivar > 0
    variance = np.where(good, 1 / np.where(good, ivar, 1), 0)
    # The square of a Gaussian is one of sigma / sqrt(2), times what independent errors are averaged down by.
    variance = broaden(variance, sigma / np.sqrt(2), good) * _averaged(sigma)
    flux, usable = broaden(flux, sigma, good), good & (variance > 0)  # NaN where most of a Gaussian is bad
    return np.where(usable, flux, 0), np.where(usable, 1 / np.where(usable, variance, 1), 0)


def _averaged(sigma: np.ndarray) -> np.ndarray:
    """The sum of the squared weights of a Gaussian of `sigma` pixels, integrated over pixels."""
    reach = int(np.ceil(4.5 * sigma.max(initial=0))) + 1
    root, total = np.sqrt(2) * np.maximum(sigma, 1e-3), np.zeros_like(sigma)
    for j in range(-reach, reach + 1):
        total += (0.5 * (erf((j + 0.5) / root) - erf((j - 0.5) / root))) ** 2
    return total
