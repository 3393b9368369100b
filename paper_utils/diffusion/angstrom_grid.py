"""Spectra as study 3's networks learn them: observed frame, 4000-8499 A in steps of 1 A, of mean 1 in the red.

Doorenbos+ 2024, Sec. 2.2. Text and public code differ on the smoothing: R = 1500 at 5000 A is printed and taken here, a
Gaussian of 2 A, as in the code, would leave R = 940.
"""

from dataclasses import replace

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d

from paper_utils.base.constants import C_KMS, FWHM
from paper_utils.base.containers import WAVE_OBS, Spectra
from paper_utils.base.errors import DataError
from paper_utils.base.wavelengths import lsf_km_s

WAVE = np.arange(4000.0, 8500.0)  # vacuum A
EVERY = 8  # low-resolution spectra are every 8th element: 563
Z_RANGE = (0.05, 0.15)
NORM = (6900.0, 6950.0)  # A in the rest frame: the mean is 1 here
RESOLUTION, AT = 1500.0, 5000.0
# Of `pinned`: all that is seen of any galaxy [A in the rest frame], and the unit of redshifts.
PINNED = np.linspace(WAVE[0] / (1 + Z_RANGE[1]), WAVE[-1] / (1 + Z_RANGE[0]), WAVE.size)
Z_MIDDLE, Z_UNIT = 0.1, 0.03
WAVE_SHOWN = np.arange(3600.0, 8001.0, 4.0)  # A in the rest frame, of figures
SMOOTHING = np.sqrt((AT / RESOLUTION / FWHM) ** 2 - (lsf_km_s(AT) / C_KMS * AT) ** 2)  # A, Gaussian sigma
RESOLUTION_KMS = np.hypot(lsf_km_s(WAVE), SMOOTHING / WAVE * C_KMS)  # Gaussian sigma (4500,): instrument and smoothing
MIN_KNOWN = 0.9  # share of elements; sky lines mask 3.5 % of a typical spectrum, longer gaps are left out
_CHUNK = 500
_TEETH = 40  # original elements between two impulses that do not feel each other


def to_grid(spectra: Spectra) -> Spectra:
    """The spectra that study 3 can use, on `WAVE`, in units of their mean at `NORM`; and so their noiseless flux.

    spectra : on `WAVE_OBS`.
    Gaps (ivar = 0; the paper leaves sky lines in) are bridged by straight lines and keep ivar = 0. Left out are
    spectra with long gaps, with redshifts outside `Z_RANGE`, or not positive everywhere, since their logarithm is what
    is learned. ivar is that of single elements, whose errors are correlated with their neighbours'. Raises DataError if
    none is left.
    """
    if not np.array_equal(spectra.wave_obs, WAVE_OBS):
        raise DataError(
            "not on the 3892 elements of SDSS spectra",
            remedy="Read the spectra with paper_utils.files.sdss.",
            row="wave_obs",
        )
    chunks = [spectra.select(slice(i, i + _CHUNK)) for i in range(0, len(spectra), _CHUNK)]
    flux = np.concatenate([_smoothed(_bridged(chunk)) for chunk in chunks])
    nearest = np.rint(np.interp(WAVE, WAVE_OBS, np.arange(WAVE_OBS.size))).astype(int)
    with np.errstate(divide="ignore"):  # 0 remains 0
        ivar = 1 / (1 / spectra.ivar[:, nearest] * _noise_factor())
    unit = red_mean(flux, spectra.z)
    usable = (spectra.z > Z_RANGE[0]) & (spectra.z <= Z_RANGE[1])
    usable &= (flux > 0).all(axis=1) & ((ivar > 0).mean(axis=1) > MIN_KNOWN) & (unit > 0)
    if not usable.any():
        raise DataError(
            f"of {len(spectra)} none is positive and complete on 4000-8499 A, at {Z_RANGE[0]} < z <= {Z_RANGE[1]}",
            remedy="Give spectra of galaxies of the SDSS main sample.",
        )
    kept, unit, clean = spectra.select(usable), unit[usable, None], spectra.clean
    if clean is not None:
        clean = np.concatenate([_smoothed(chunk.clean) for chunk in chunks])[usable]
        clean = (clean / red_mean(clean, kept.z)[:, None]).astype(np.float32)
    return replace(
        kept,
        wave_obs=WAVE,
        flux=(flux[usable] / unit).astype(np.float32),
        ivar=(ivar[usable] * unit**2).astype(np.float32),
        lsf_kms=RESOLUTION_KMS,
        clean=clean,
    )


def red_mean(flux: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Mean (N,) of flux (N, 4500) at `NORM` in the rest frame of z (N,)."""
    rest = WAVE / (1 + np.asarray(z)[:, None])
    inside = (rest >= NORM[0]) & (rest <= NORM[1])
    return (flux * inside).sum(axis=1) / inside.sum(axis=1)


def low(flux):
    """Low-resolution spectra (..., 563), every 8th element of (..., 4500); of arrays and of tensors."""
    return flux[..., ::EVERY]


def shifted(
    flux: np.ndarray, z_from: np.ndarray, z_to: np.ndarray | float, wave: np.ndarray = WAVE, *, hold: bool = False
) -> np.ndarray:
    """Spectra (N, 4500) of redshifts `z_from` as seen at `z_to`, at `wave` (L,): (N, L), NaN beyond the grid.

    hold : the last values there instead.

    Sec. 5.1 brings predicted spectra to the true redshift before they are compared; z_to = 0 is the rest frame.
    """
    stretch = (1 + np.asarray(z_from, float)) / (1 + np.asarray(z_to, float))
    at = np.multiply.outer(np.broadcast_to(stretch, len(flux)), wave) - WAVE[0]  # in elements, (N, L)
    values = _interpolated(flux, np.clip(at, 0, WAVE.size - 1))
    return values if hold else np.where((at >= 0) & (at <= WAVE.size - 1), values, np.nan)


def pinned(flux: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Log spectra (N, 4500) in the rest frame, on `PINNED`, and in the last 8 elements the redshift: (z - 0.1) / 0.03.

    Not the paper's way, whose networks learn the redshift with the spectrum: on few spectra, features that stay in
    their places are learned much sooner. Where a galaxy was not observed its last value goes on; moved back, that is
    out of view.
    """
    moved = np.log(shifted(flux, z, 0.0, PINNED, hold=True))
    moved[:, -EVERY:] = ((np.asarray(z) - Z_MIDDLE) / Z_UNIT)[:, None]
    return moved


def unpinned(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What `pinned` undoes: flux (N, 4500) on `WAVE`, and the redshifts (N,), held within 0.02-0.18."""
    flux = np.exp(np.asarray(x, float))
    flux[:, -EVERY:] = flux[:, [-EVERY - 1]]
    z = np.clip(Z_MIDDLE + Z_UNIT * np.asarray(x, float)[:, -EVERY:].mean(axis=1), 0.02, 0.18)
    at = (WAVE / (1 + z[:, None]) - PINNED[0]) / (PINNED[1] - PINNED[0])
    return _interpolated(flux, np.clip(at, 0, PINNED.size - 1)), z


def rest_wave(z: np.ndarray, pin: bool) -> np.ndarray:
    """Rest wavelength (N, 4500) of the elements of what networks learn of galaxies at redshifts z (N,)."""
    return np.tile(PINNED, (len(z), 1)) if pin else WAVE / (1 + np.asarray(z)[:, None])


def at_rest(flux: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Spectra (N, 4500) in the rest frame for figures, (N, L): means of 5 A at `WAVE_SHOWN`, 4 A apart."""
    return np.mean([shifted(flux, z, 0.0, WAVE_SHOWN + step) for step in range(-2, 3)], axis=0)


def _interpolated(flux: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Values (N, L) of rows (N, M) at fractional elements (N, L) within 0 ... M - 1."""
    before = np.clip(at.astype(int), 0, flux.shape[1] - 2)
    left, right = (np.take_along_axis(np.asarray(flux), before + k, axis=1) for k in (0, 1))
    return left + (at - before) * (right - left)


def _bridged(spectra: Spectra) -> np.ndarray:
    """Flux (N, 3892) with straight lines in place of what is unusable; as it is where all is."""
    flux, index = spectra.flux.astype(float), np.arange(WAVE_OBS.size)
    for values, known in zip(flux, spectra.ivar > 0, strict=True):
        if known.any():
            values[~known] = np.interp(index[~known], index[known], values[known])
    return flux


def _smoothed(flux: np.ndarray) -> np.ndarray:
    """Spectra (N, 3892) on `WAVE_OBS` through a cubic spline, then a Gaussian, on `WAVE`: (N, 4500)."""
    return gaussian_filter1d(CubicSpline(WAVE_OBS, flux, axis=1)(WAVE), SMOOTHING, axis=1, mode="nearest")


def _noise_factor() -> np.ndarray:
    """Variance (4500,) of each element for white noise of variance 1 in the original ones."""
    teeth = (np.arange(WAVE_OBS.size) % _TEETH == np.arange(_TEETH)[:, None]).astype(float)
    # Each element feels one tooth of every comb: the squares of all combs are those of all original elements.
    return (_smoothed(teeth) ** 2).sum(axis=0)
