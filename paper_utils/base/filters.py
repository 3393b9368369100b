"""Filters: curves of surveys' bands as sedpy ships them, and the 20 bands of study 1 (Rissaki+ 2023).

A curve is a pair of wavelengths and the response per photon; bands are mappings from a name to a curve.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

Curves = Mapping[str, tuple[np.ndarray, np.ndarray]]


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


def transmission_curve(curve: str | tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Wavelength (um) and response per photon of a curve that sedpy ships, or of a top-hat (centre, width)."""
    if not isinstance(curve, str):
        centre, width = curve
        return np.array([centre - width / 2, centre + width / 2]), np.ones(2)
    from sedpy.observate import Filter

    # Below 1e-3 of the peak the curves hold noise and blocked leaks far from the band.
    loaded = Filter(curve, min_trans=1e-3)
    return loaded.wavelength * 1e-4, loaded.transmission


def vega_offset(curve: str) -> float:
    """Magnitude in Vega's system less that in AB, in a band whose curve sedpy ships."""
    from sedpy.observate import Filter

    return float(Filter(curve).ab_to_vega)


def sampled(curve: str | tuple[float, float] | tuple[np.ndarray, np.ndarray], n: int = 500) -> np.ndarray:
    """A curve (`transmission_curve`'s name or top-hat, or wavelengths [um] and response) at n wavelengths even in log:
    (2, n). Photometry of smooth spectra is then good to 1e-3 even in curves with sharp edges."""
    given = not isinstance(curve, str) and np.ndim(curve[0])
    wave, response = curve if given else transmission_curve(curve)
    even = np.geomspace(wave[0], wave[-1], n)
    return np.stack([even, np.interp(even, wave, response)])


def curves_of(names: Mapping[str, str]) -> Curves:
    """Wavelength [vacuum Angstrom] and response per photon of bands, given their curves' names in sedpy."""
    curves = {band: transmission_curve(name) for band, name in names.items()}
    return {band: (wave * 1e4, response) for band, (wave, response) in curves.items()}


@lru_cache(maxsize=1)
def sdss_curves() -> Curves:
    """The SDSS bands u g r i z, as `curves_of`."""
    return curves_of({band: f"sdss_{band}0" for band in "ugriz"})


@lru_cache(maxsize=1)
def two_mass_curves() -> Curves:
    """The 2MASS bands J H Ks, as `curves_of`."""
    return curves_of({band: f"twomass_{band}" for band in ("J", "H", "Ks")})
