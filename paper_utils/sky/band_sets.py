"""Three ways to share the optical among bands: ALHAMBRA's 20 + 3, J-PAS's 56 and LSST's 6, for the same galaxies."""

from __future__ import annotations

from functools import cache

import numpy as np

from paper_utils.base.filters import Curves, curves_of
from paper_utils.sky import alhambra_catalogue, jpas_catalogue

FOUND = "F814W"  # objects are found in ALHAMBRA's image of detection, whatever bands they are then seen in
INFRARED = ("J", "H", "KS")
# 5 sigma of point sources after ten years (Ivezic+ 2019, 2019ApJ...873..111I, the survey's design).
LSST = {"u": 26.1, "g": 27.4, "r": 27.5, "i": 26.8, "z": 26.1, "y": 24.9}
Depths = dict[str, float]


@cache
def curves() -> Curves:
    """All bands and `FOUND`: name -> (wavelength [vacuum Angstrom], response per photon)."""
    lsst = curves_of({band: f"lsst_baseline_{band}" for band in LSST})
    return alhambra_catalogue.curves() | jpas_catalogue.curves() | lsst


def sets() -> dict[str, Depths]:
    """Sets of bands by name, the depth of each band: AB magnitude of a point source at 5 sigma."""
    alhambra = {band: limit for band, (*_, limit) in alhambra_catalogue.BANDS.items() if band != FOUND}
    optical = {band: limit for band, limit in alhambra.items() if band not in INFRARED}
    jpas = {band: limit for band, (*_, limit) in jpas_catalogue.BANDS.items() if band in curves()}
    return {
        "ALHAMBRA, 20 + 3": alhambra,
        "ALHAMBRA, 20": optical,
        "J-PAS, 56": jpas,
        "J-PAS, 56, equal time": equal_time(tuple(jpas), optical),
        "LSST, 6, ten years": LSST,
        "LSST, 6, equal time": equal_time(tuple(LSST), optical),
    }


def equal_time(bands: tuple[str, ...], like: Depths) -> Depths:
    """Depths of other bands if the camera that reached those of `like` shared the same time evenly among them.

    Before a bright sky the signal to noise of a source goes with the square root of a band's width and of its time.
    """
    at, width = _places(tuple(like))
    unit = np.array(list(like.values())) - 1.25 * np.log10(width / len(like))
    wanted, wide = _places(bands)
    return dict(zip(bands, (np.interp(wanted, at, unit) + 1.25 * np.log10(wide / len(bands))).tolist(), strict=True))


def _places(bands: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Mean wavelengths and widths, the integral of the response over its maximum (B,) [Angstrom]."""
    found = [curves()[band] for band in bands]
    area = np.array([np.trapezoid(response, wave) for wave, response in found])
    mean = np.array([np.trapezoid(response * wave, wave) for wave, response in found]) / area
    return mean, area / [response.max() for _, response in found]
