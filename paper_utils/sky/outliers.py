"""Spectra that do not belong: planted oddities for outlier searches, made from ordinary mock spectra."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from paper_utils.base.constants import C_KMS, FWHM
from paper_utils.base.containers import Spectra
from paper_utils.base.errors import DataError
from paper_utils.base.wavelengths import LINES
from paper_utils.sky import quasars, spectrograph, stars

BROAD_LINES = {"Halpha": 1.0, "Hbeta": 1 / 3, "Hgamma": 1 / 7}  # strength relative to H-alpha
# Of a star-forming galaxy behind a lens, relative to [O III] 5008.
LENSED_LINES = {"OII_3726": 0.35, "OII_3729": 0.45, "Hbeta": 0.35, "OIII_4959": 0.34, "OIII_5007": 1.0}
DICHROIC = 6000.0  # A, where the blue and the red camera of the SDSS spectrograph meet


def broad_line_agn(spectra: Spectra, rng: np.random.Generator) -> NDArray:
    """A nucleus seen directly: a blue power law and Balmer lines of 2000 - 8000 km/s. None are in the mock sky.

    The continuum is 0.3 - 1.5 times the galaxy's median, the broad H-alpha 100 - 400 A wide in equivalent width of it.
    """
    n = len(spectra)
    wave_rest = spectra.wave_obs / (1 + spectra.z[:, None])
    continuum = rng.uniform(0.3, 1.5, (n, 1)) * (wave_rest / 5500) ** rng.uniform(-2, -1, (n, 1))
    sigma = rng.uniform(2000, 8000, (n, 1)) / FWHM / C_KMS
    width = rng.uniform(100, 400, (n, 1))
    at = np.array([LINES[name] for name in BROAD_LINES])
    strength = width * np.array(list(BROAD_LINES.values()))
    lines = quasars.lines(wave_rest, at, strength, sigma * at)
    return spectra.flux + _median(spectra) * continuum * (1 + lines)


def blend(spectra: Spectra, rng: np.random.Generator) -> NDArray:
    """Two galaxies in one fibre: another one's light, at its own redshift, with 0.3 - 1 of this one's flux.

    Raises DataError for a single spectrum.
    """
    if len(spectra) == 1:
        raise DataError("a blend needs two galaxies", remedy="Plant blends into two spectra or more.")
    other = (np.arange(len(spectra)) + rng.integers(1, len(spectra))) % len(spectra)
    share = rng.uniform(0.3, 1, (len(spectra), 1)) * _median(spectra) / _median(spectra)[other]
    return spectra.flux + share * spectra.flux[other]


def artefact(spectra: Spectra, rng: np.random.Generator) -> NDArray:
    """Flaws of the reduction: a step of 15 - 40 % between the cameras, or a band of 50 - 200 bins off by 20 - 60 %."""
    n, n_wave = spectra.flux.shape
    size = rng.uniform(0.15, 0.4, (n, 1)) * rng.choice([-1, 1], (n, 1))
    step = 1 + size * (spectra.wave_obs > DICHROIC)
    first, length = rng.integers(200, n_wave - 400, (n, 1)), rng.integers(50, 200, (n, 1))
    inside = (np.arange(n_wave) >= first) & (np.arange(n_wave) < first + length)
    band = 1 + 1.5 * size * inside
    return spectra.flux * np.where(rng.random((n, 1)) < 0.5, step, band)


def sky_residual(spectra: Spectra, rng: np.random.Generator) -> NDArray:
    """Airglow of which too much or too little was subtracted: 5 - 20 sigma where it is worst, of usable pixels."""
    sky = spectrograph.sky(spectra.wave_obs)
    airglow = np.clip(sky - median_filter(sky, 301), 0, None)
    worst = (airglow * np.sqrt(spectra.ivar)).max(axis=1, keepdims=True)
    peak = rng.uniform(5, 20, (len(spectra), 1)) * rng.choice([-1, 1], (len(spectra), 1))
    return spectra.flux + peak * airglow / worst


def lens(spectra: Spectra, rng: np.random.Generator) -> NDArray:
    """A galaxy that lenses another: the latter's emission lines, from a redshift 0.1 or more beyond, up to 0.8.

    [O III] 5008 is 8 - 25 median sigma high and 150 km/s (sigma) wide; [O II], H beta and [O III] as in `LENSED_LINES`.
    """
    n = len(spectra)
    at, ratio = np.array([LINES[name] for name in LENSED_LINES]), np.array(list(LENSED_LINES.values()))
    behind = rng.uniform(np.minimum(spectra.z + 0.1, 0.7), 0.8)[:, None]
    sigma = 150 / C_KMS * at * np.ones((n, 1))
    peak = rng.uniform(8, 25, (n, 1)) * _sigma(spectra) * ratio
    wave_rest = spectra.wave_obs / (1 + behind)
    return spectra.flux + quasars.lines(wave_rest, at, peak * np.sqrt(2 * np.pi) * sigma, sigma)


def quasar(spectra: Spectra, rng: np.random.Generator) -> NDArray:
    """A quasar of z = 0.6 - 2.5 that was taken for a galaxy at the redshift that is given."""
    return _instead(spectra, quasars.spectra(rng, rng.uniform(0.6, 2.5, len(spectra)), spectra.wave_obs), rng)


def star(spectra: Spectra, rng: np.random.Generator) -> NDArray:
    """A star, g - i = 0.2 to 3.3, that was taken for a galaxy at the redshift that is given: its continuum and broad
    bands, for `sky.stars` has no single lines."""
    return _instead(spectra, stars.at(rng.uniform(0.2, 3.3, len(spectra)), spectra.wave_obs), rng)


KINDS = {
    "broad-line AGN": broad_line_agn,
    "blend": blend,
    "artefact": artefact,
    "sky residual": sky_residual,
    "lens": lens,
    "quasar": quasar,
    "star": star,
}


def plant(kind: str, spectra: Spectra, seed: int = 0) -> Spectra:
    """All of `spectra` turned into outliers of a kind in KINDS. The noise stays as it was, `clean` is dropped."""
    flux = KINDS[kind](spectra, np.random.default_rng(seed)).astype(spectra.flux.dtype)
    return replace(spectra, flux=flux, clean=None)


def _median(spectra: Spectra) -> NDArray:
    """Median flux of usable pixels (N, 1)."""
    return np.nanmedian(np.where(spectra.ivar > 0, spectra.flux, np.nan), axis=1, keepdims=True)


def _sigma(spectra: Spectra) -> NDArray:
    """Median noise of usable pixels (N, 1)."""
    return np.nanmedian(np.where(spectra.ivar > 0, spectra.ivar, np.nan), axis=1, keepdims=True) ** -0.5


def _instead(spectra: Spectra, shape: NDArray, rng: np.random.Generator) -> NDArray:
    """Other light (N, L), in any unit, with the median flux and the noise of the spectra."""
    light = shape * _median(spectra) / np.median(shape, axis=1, keepdims=True)
    usable = spectra.ivar > 0
    noise = rng.standard_normal(light.shape) / np.sqrt(np.where(usable, spectra.ivar, 1))
    return np.where(usable, light + noise, spectra.flux)
