"""Synthetic photometry: what bands measure of spectra and of lines, in the AB system.

A photometric measurement is linear in the spectrum, so an instrument is a matrix: `photometry = A @ flux_nu`.
"""

from collections.abc import Sequence
from functools import cache
from typing import Literal

import numpy as np

from paper_utils.base.constants import C_AA_S
from paper_utils.base.errors import DataError
from paper_utils.base.filters import HELP_BANDS, Band, Curves, transmission_curve

MAGGIE = 10 ** (-0.4 * 48.6)  # erg/s/cm2/Hz of AB magnitude 0
Method = Literal["interpolate", "filters"]
# Points per curve: the average of a smooth spectrum is then good to 1e-4 even in curves with sharp edges.
N_QUADRATURE = 2000


def measurement_matrix(
    wave_um: np.ndarray, bands: Sequence[Band] = HELP_BANDS, z: float = 2.0, method: Method = "interpolate"
) -> np.ndarray:
    """A (n_band, L), float64, such that `A @ flux_nu` is what each band measures of a galaxy at redshift `z`.

    wave_um (L,) is the rest-frame grid of flux_nu, increasing. Rows are non-negative and sum to 1: a flat F_nu gives
    itself. (The factor 1 + z of the observed flux density, common to all bands, is left out.)

    "interpolate" is the paper's way (Sec. 3.1): F_nu at the rest wavelength observed_um / (1 + z), linear in
    log wavelength. "filters" is the AB convention: <F_nu> = int F_nu T dlnnu / int T dlnnu with T the response per
    photon, from sedpy's curves (the bolometers' energy responses are shipped divided by wavelength). Where a survey's
    own curve is not shipped the nearest stands in: SDSS u r i z for the INT, a top-hat for N921. Catalogues of Spitzer
    and Herschel quote F_nu at a nominal wavelength for an assumed spectral shape instead, which differs from this
    average by the published colour corrections. GALEX FUV's curve leaves the grid of study 1 above redshift 3.4.

    Raises DataError if a band leaves the grid at that redshift, or if the redshift makes no sense.
    """
    if not (np.isfinite(z) and z > -1):
        raise DataError(f"the redshift is {z}", remedy="Give a finite redshift above -1.")
    matrix = np.zeros((len(bands), wave_um.size))
    for row, band in zip(matrix, bands, strict=True):
        observed, weight = _quadrature(band, method)
        if not _covers(wave_um, rest := observed / (1 + z)):
            problem = f"at redshift {z:g} the band needs rest wavelengths {rest[0]:.4g}-{rest[-1]:.4g} um, "
            problem += f"the grid covers {wave_um[0]:g}-{wave_um[-1]:g} um"
            remedy = "Leave the band out, choose another redshift, or extend the spectra."
            raise DataError(problem, remedy=remedy, row=f"band {band}")
        row[:] = weight @ _hats(wave_um, rest)
    return matrix


def matrices(wave_um: np.ndarray, at_um: np.ndarray, response: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Measurement matrices A (N, B, L) of galaxies at redshifts `z` (N,), each as `measurement_matrix`, "filters".

    at_um, response : (B, Q) of each band, as in `Photometry`. Rows of bands that leave the grid are zero.
    """
    out = np.zeros((len(z), len(at_um), wave_um.size))
    for b, (observed, seen) in enumerate(zip(at_um, response, strict=True)):
        rest = observed / (1 + np.asarray(z))[:, None]
        right, share = _between(wave_um, rest)
        weight = _trapezoid(seen) * np.array([_covers(wave_um, at) for at in rest])[:, None]
        place = right + wave_um.size * np.arange(len(z))[:, None]
        for at, part in ((place, share), (place - 1, 1 - share)):
            out[:, b] += np.bincount(at.ravel(), (weight * part).ravel(), out[:, b].size).reshape(len(z), -1)
    return out


def bands_within(wave_um: np.ndarray, z: float, method: Method) -> tuple[Band, ...]:
    """Those of HELP_BANDS that the grid covers at a redshift (all of them at z = 2)."""
    return tuple(band for band in HELP_BANDS if _covers(wave_um, _quadrature(band, method)[0] / (1 + z)))


def _covers(wave_um: np.ndarray, at_um: np.ndarray) -> bool:
    slack = 1e-9  # a grid made by geomspace misses its own ends by rounding
    return at_um[0] >= wave_um[0] * (1 - slack) and at_um[-1] <= wave_um[-1] * (1 + slack)


@cache
def _quadrature(band: Band, method: Method) -> tuple[np.ndarray, np.ndarray]:
    """Observed wavelengths (um) at which a band looks, and the weights of F_nu there, which sum to 1."""
    if method == "interpolate":
        return np.array([band.observed_um]), np.ones(1)
    if method != "filters":
        raise ValueError(f'method is "interpolate" or "filters", not {method!r}')
    wave, transmission = transmission_curve(band.curve)
    observed = np.geomspace(wave[0], wave[-1], N_QUADRATURE)
    return observed, _trapezoid(np.interp(observed, wave, transmission))


def _trapezoid(response: np.ndarray) -> np.ndarray:
    """Weights of F_nu, which sum to 1: on a grid even in ln(lambda) a sum with half weights at the ends."""
    weight = response.astype(float)
    weight[[0, -1]] /= 2
    return weight / weight.sum()


def _between(wave_um: np.ndarray, at_um: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of interpolation linear in log wavelength: the grid point right of each, and its share."""
    x, grid = np.log(at_um), np.log(wave_um)
    right = np.clip(np.searchsorted(grid, x), 1, grid.size - 1)
    return right, np.clip((x - grid[right - 1]) / (grid[right] - grid[right - 1]), 0, 1)


def _hats(wave_um: np.ndarray, at_um: np.ndarray) -> np.ndarray:
    """The matrix (len(at_um), L) of interpolation linear in log wavelength."""
    right, fraction = _between(wave_um, at_um)
    hats, rows = np.zeros((at_um.size, wave_um.size)), np.arange(at_um.size)
    hats[rows, right - 1] = 1 - fraction
    hats[rows, right] = fraction
    return hats


def responses(curves: Curves, wave: np.ndarray) -> np.ndarray:
    """Response per photon of each band at `wave` (..., L): (..., L, B), zero outside a curve."""
    return np.stack([np.interp(wave, w, r, left=0, right=0) for w, r in curves.values()], axis=-1)


def ab_fluxes(wave: np.ndarray, flux: np.ndarray, curves: Curves) -> np.ndarray:
    """Fluxes (N, B) [maggies: 1 is AB magnitude 0] in bands of F_lambda (N, L) [erg/s/cm2/Angstrom].

    wave : (L,) or (N, L) Angstrom, even in log wavelength, which covers the bands.
    The mean of F_nu = F_lambda lambda^2 / c, photon by photon: in even steps of log wavelength it is a sum.
    """
    response = responses(curves, wave)
    seen = ((flux * wave**2)[..., None, :] @ response)[..., 0, :]
    return seen / (response.sum(axis=-2) * C_AA_S * MAGGIE)


def ab_magnitudes(wave: np.ndarray, flux: np.ndarray, curves: Curves) -> np.ndarray:
    """AB magnitudes (N, B); arguments as for `ab_fluxes`."""
    return -2.5 * np.log10(ab_fluxes(wave, flux, curves))
