"""The instruments that observe the mock sky. For study 1: the 20 bands of Rissaki+ 2023 and how they see a spectrum.

A photometric measurement is linear in the spectrum, so an instrument is a matrix: `photometry = A @ flux_nu`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from paper_utils.base.errors import DataError


@dataclass(frozen=True)
class Band:
    """One photometric band.

    observed_um : its wavelength in um, as the paper prints it.   rest_um : the printed wavelength for z = 2.
    telescope, name : as printed.
    curve : the transmission curve shipped with sedpy, or (centre, full width) in um of a top-hat.
    """

    observed_um: float
    rest_um: float
    telescope: str
    name: str
    curve: str | tuple[float, float]

    def __str__(self) -> str:
        return f"{self.telescope} {self.name} ({self.observed_um:g} um)"


# Rissaki+ 2023, Table 1, as printed. Each observed wavelength divided by 3 gives the rest wavelength beside it, but for
# the last, which is cut off rather than rounded (500 / 3 = 166.67); "170 um" in their Table 2 is this value rounded.
# Suprime-Cam's N921 lies at 0.9196 um, width 0.0132 um (Kashikawa+ 2006, ApJ 648, 7), not at 0.978 um, where a y band
# lies; the INT's r and i are printed 5 % redder than SDSS's. There the two methods below look at different wavelengths.
HELP_BANDS = (
    Band(0.153, 0.051, "GALEX", "FUV", "galex_FUV"),
    Band(0.229, 0.076, "GALEX", "NUV", "galex_NUV"),
    Band(0.355, 0.118, "INT", "u", "sdss_u0"),
    Band(0.65, 0.217, "INT", "r", "sdss_r0"),
    Band(0.791, 0.264, "INT", "i", "sdss_i0"),
    Band(0.908, 0.303, "INT", "Z", "sdss_z0"),
    Band(0.978, 0.326, "Subaru", "Suprime N921", (0.9196, 0.0132)),
    Band(1.241, 0.414, "UKIRT", "J", "ukirt_wfcam_J"),
    Band(1.61, 0.537, "UKIRT", "H", "ukirt_wfcam_H"),
    Band(2.17, 0.723, "UKIRT", "K", "ukirt_wfcam_K"),
    Band(3.556, 1.185, "Spitzer", "IRAC 1", "spitzer_irac_ch1"),
    Band(4.501, 1.500, "Spitzer", "IRAC 2", "spitzer_irac_ch2"),
    Band(5.745, 1.915, "Spitzer", "IRAC 3", "spitzer_irac_ch3"),
    Band(7.918, 2.639, "Spitzer", "IRAC 4", "spitzer_irac_ch4"),
    Band(23.594, 7.865, "Spitzer", "MIPS24", "spitzer_mips_24"),
    Band(100, 33.33, "Herschel", "PACS", "herschel_pacs_100"),
    Band(160, 53.33, "Herschel", "PACS", "herschel_pacs_160"),
    Band(250, 83.33, "Herschel", "SPIRE", "herschel_spire_250"),
    Band(350, 116.67, "Herschel", "SPIRE", "herschel_spire_350"),
    Band(500, 166.66, "Herschel", "SPIRE", "herschel_spire_500"),
)

# Points per curve: the average of a smooth spectrum is then good to 1e-4 even in curves with sharp edges.
N_QUADRATURE = 2000


def measurement_matrix(
    wave_um: np.ndarray,
    bands: Sequence[Band] = HELP_BANDS,
    z: float = 2.0,
    method: Literal["interpolate", "filters"] = "interpolate",
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

    Raises DataError if a band leaves the grid at that redshift, or if the redshift or grid makes no sense.
    """
    wave_um = np.asarray(wave_um, dtype=float)
    if wave_um.ndim != 1 or wave_um.size < 2 or not (wave_um[0] > 0 and (np.diff(wave_um) > 0).all()):
        raise DataError("the wavelengths do not increase", remedy="Sort them and drop repeated ones.", row="wave_um")
    if not (np.isfinite(z) and z > -1):
        raise DataError(f"the redshift is {z}", remedy="Give a finite redshift above -1.")
    if method == "interpolate":
        return np.stack([_hats(wave_um, np.array([band.observed_um / (1 + z)]), band, z)[0] for band in bands])
    if method == "filters":
        return np.stack([_filter_row(wave_um, band, z) for band in bands])
    raise ValueError(f'method is "interpolate" or "filters", not {method!r}')


def bands_within(wave_um: np.ndarray, z: float, method: Literal["interpolate", "filters"]) -> tuple[Band, ...]:
    """Those of HELP_BANDS that the grid covers at a redshift (all of them at z = 2)."""

    def covered(band: Band) -> bool:
        try:
            measurement_matrix(wave_um, [band], z, method)
        except DataError:
            return False
        return True

    return tuple(band for band in HELP_BANDS if covered(band))


def _filter_row(wave_um: np.ndarray, band: Band, z: float) -> np.ndarray:
    observed, weight = _quadrature(band.curve)
    return weight @ _hats(wave_um, observed / (1 + z), band, z)


@cache
def _quadrature(curve: str | tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Observed wavelengths (um) over a curve's support and the weights, summing to 1, of a photon average of F_nu."""
    wave, transmission = transmission_curve(curve)
    observed = np.geomspace(wave[0], wave[-1], N_QUADRATURE)
    weight = np.interp(observed, wave, transmission)
    # On a grid even in ln(lambda) the trapezoidal rule is a sum with half weights at the ends.
    weight[[0, -1]] /= 2
    return observed, weight / weight.sum()


def transmission_curve(curve: str | tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Wavelength (um) and response per photon of a curve that sedpy ships, or of a top-hat (centre, width)."""
    if not isinstance(curve, str):
        centre, width = curve
        return np.array([centre - width / 2, centre + width / 2]), np.ones(2)
    from sedpy.observate import Filter

    # Below 1e-3 of the peak the curves hold noise and blocked leaks far from the band.
    loaded = Filter(curve, min_trans=1e-3)
    return loaded.wavelength * 1e-4, loaded.transmission


def _hats(wave_um: np.ndarray, at_um: np.ndarray, band: Band, z: float) -> np.ndarray:
    """The matrix (len(at_um), L) of interpolation linear in log wavelength; DataError where `at_um` leaves the grid."""
    # A grid made by geomspace misses its own ends by rounding.
    slack = 1e-9
    if at_um[0] < wave_um[0] * (1 - slack) or at_um[-1] > wave_um[-1] * (1 + slack):
        raise DataError(
            f"at redshift {z:g} the band needs rest wavelengths {at_um[0]:.4g}-{at_um[-1]:.4g} um, "
            f"the grid covers {wave_um[0]:g}-{wave_um[-1]:g} um",
            remedy="Leave the band out, choose another redshift, or extend the spectra.",
            row=f"band {band}",
        )
    x, grid = np.log(at_um), np.log(wave_um)
    right = np.clip(np.searchsorted(grid, x), 1, grid.size - 1)
    fraction = np.clip((x - grid[right - 1]) / (grid[right] - grid[right - 1]), 0, 1)
    hats = np.zeros((x.size, grid.size))
    rows = np.arange(x.size)
    hats[rows, right - 1] = 1 - fraction
    hats[rows, right] = fraction
    return hats
