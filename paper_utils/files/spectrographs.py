"""Spectra of any spectrograph as that of SDSS would have given them: its pixels, its resolution where theirs is better.

What a model learned of SDSS spectra it can then tell of others, as far as their wavelengths overlap.
"""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from paper_utils.base.constants import C_KMS
from paper_utils.base.containers import WAVE_OBS, Spectra
from paper_utils.base.errors import DataError
from paper_utils.base.rebin import broaden, rebin, sample
from paper_utils.base.wavelengths import KM_S_PER_BIN, lsf_km_s, pixel_edges
from paper_utils.files import sdss, spectra

CHUNK = 500  # spectra at once
FEW = 500  # pixels that two wavelength ranges have to share


def read(files: Sequence[Path | str], z: float | None = None) -> Spectra:
    """The spectra of files and folders of any wavelengths, as `spectra.read` finds them, as one, each `as_sdss`."""
    if not files:
        raise DataError("no files", remedy="Give spec-PLATE-MJD-FIBER.fits files.")
    each = itertools.chain.from_iterable(sdss.files_in(path) if path.is_dir() else [path] for path in map(Path, files))
    parts = [as_sdss(spectra.read([file], z)) for file in each]
    names = ("flux", "ivar", "z", "ids", "lsf_kms")
    stack = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return Spectra(wave_obs=WAVE_OBS, **stack).check()


def as_sdss(given: Spectra) -> Spectra:
    """The spectra on `WAVE_OBS`, flux conserved, ivar 0 where they do not reach, with `lsf_kms` (N, L).

    Where the resolution (`lsf_kms`; that of SDSS if None) is better than that of SDSS, flux is smoothed to it; where it
    is worse it stays, and `lsf_kms` tells. Variances are those of single pixels, so that reduced chi^2 keeps its
    meaning; that rebinning and smoothing correlate neighbours does not show in them, and errors of what rests on many
    pixels come out too small, by a third for pixels of DESI. `clean` and `truth` are dropped. Spectra that are on
    `WAVE_OBS` are returned as they are.
    Raises DataError where fewer than `FEW` pixels of `WAVE_OBS` are covered, and for a resolution that is no number.
    """
    lsf = lsf_km_s(given.wave_obs) if given.lsf_kms is None else given.lsf_kms
    lsf = np.broadcast_to(lsf, given.flux.shape)
    if not np.isfinite(lsf).all():
        raise DataError("the resolution is not a number", remedy="Give km/s (sigma), or none.", row="lsf_kms")
    if len(given.wave_obs) == len(WAVE_OBS) and np.allclose(given.wave_obs, WAVE_OBS, rtol=1e-7):
        return replace(given, wave_obs=WAVE_OBS, lsf_kms=lsf)
    ends = pixel_edges(given.wave_obs)[[0, -1]]
    if (covered := ((ends[0] < WAVE_OBS) & (ends[1] > WAVE_OBS)).sum()) < FEW:
        low, high = given.wave_obs[[0, -1]]
        problem = f"the wavelengths run over {low:.0f}-{high:.0f} A and cover {covered} of {len(WAVE_OBS)} pixels"
        remedy = f"Give spectra that show more of {WAVE_OBS[0]:.0f}-{WAVE_OBS[-1]:.0f} A (vacuum, observed)."
        raise DataError(problem, remedy=remedy, row="wave_obs")
    parts = np.array_split(np.arange(len(given)), -(-len(given) // CHUNK))
    columns = zip(*(_as_sdss(given.wave_obs, given.flux[i], given.ivar[i], lsf[i]) for i in parts), strict=True)
    columns = dict(zip(("flux", "ivar", "lsf_kms"), map(np.concatenate, columns), strict=True))
    return replace(given, wave_obs=WAVE_OBS, **columns, clean=None, truth=None)


def _as_sdss(wave: np.ndarray, flux: np.ndarray, ivar: np.ndarray, lsf: np.ndarray) -> tuple[np.ndarray, ...]:
    """flux, ivar and resolution (N, L) on `WAVE_OBS`, float32, of those (N, M) at `wave` (M,)."""
    flux, ivar = rebin(wave, flux, ivar, WAVE_OBS)
    step = np.diff(wave)
    width = np.minimum(np.append(step, step[-1]), np.append(step[0], step))  # of pixels, also beside a gap
    near = _nearest(wave, WAVE_OBS)
    ivar = np.where(np.abs(WAVE_OBS - wave[near]) < 0.6 * width[near], ivar, 0)
    flux, pixel = np.where(ivar > 0, flux, 0), C_KMS * width / wave
    place = np.log10(wave / WAVE_OBS[0]) * 1e4
    shared = np.ones(WAVE_OBS.size)
    if np.abs(place - np.rint(place)).max() > 0.01:
        # `rebin` keeps the information, as if new pixels were independent; as neighbours share old pixels, the variance
        # of each is smaller: by the integral of the squared convolution of the two pixels, in units of the new.
        ratio = KM_S_PER_BIN / pixel[near]
        shared = np.where(ratio > 1, 1 - 1 / (3 * ratio), ratio - ratio**2 / 3)
        ivar = ivar / shared
        # Rebinning blurs as well, by the old pixel and the new.
        lsf = np.sqrt(lsf**2 + (pixel**2 + KM_S_PER_BIN**2) / 12)
    lsf = sample(wave, lsf, np.broadcast_to(WAVE_OBS, flux.shape))
    target = lsf_km_s(WAVE_OBS)
    sigma = np.sqrt(np.clip(target**2 - lsf**2, 0, None)) / KM_S_PER_BIN
    flux, ivar = _smoothed(flux, ivar, sigma, shared)
    return tuple(values.astype(np.float32) for values in (flux, ivar, np.maximum(lsf, target)))


def _nearest(wave: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Which of `wave` (M,), increasing, is nearest to each of `at` (L,)."""
    right = np.searchsorted(wave, at).clip(1, len(wave) - 1)
    return np.where(at - wave[right - 1] < wave[right] - at, right - 1, right)


def _smoothed(
    flux: np.ndarray, ivar: np.ndarray, sigma: np.ndarray, shared: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Spectra (N, L) convolved with Gaussians of `sigma` (N, L) pixels, and the ivar of single pixels after it.

    shared : (L,) the integral of the square of what each pixel's noise has been convolved with already, 1 for a pixel.
    """
    good = ivar > 0
    variance = np.where(good, 1 / np.where(good, ivar, 1), 0)
    # The square of a Gaussian is one of sigma / sqrt(2); noise is averaged down as by Gaussians in quadrature.
    variance = broaden(variance, sigma / np.sqrt(2), good) / np.sqrt(1 + 4 * np.pi * (sigma * shared) ** 2)
    flux, usable = broaden(flux, sigma, good), good & (variance > 0)  # NaN where most of a Gaussian is bad
    return np.where(usable, flux, 0), np.where(usable, 1 / np.where(usable, variance, 1), 0)
