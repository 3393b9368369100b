"""The J-PAS survey on the mock sky: 56 bands, their depth, and a catalogue in columns like ALHAMBRA's.

J-PAS (Benitez+ 2014, arXiv:1403.5237) sees 54 narrow bands, a broad one at either end, and iSDSS, in which its objects
are found (its first field, miniJPAS, Bonoli+ 2021, 2021A&A...653A..31B, found them in rSDSS).
"""

from __future__ import annotations

import numpy as np

from paper_utils.base.containers import Catalogue
from paper_utils.base.filters import Curves
from paper_utils.sky import survey
from paper_utils.sky.bands import Detection
from paper_utils.sky.populations import Populations

# 5 sigma in 3 arcsec of narrow bands at wavelengths [Angstrom]: by hand, +- 0.3, within the 21.5 to 22.5 that Bonoli+
# 2021 give (abstract). By hand also the broad bands; J1007's red side is the detector's.
_DEPTH = ((3800, 5000, 7000, 9100), (22.3, 22.5, 22.2, 21.5))
_NARROW = {"J0378": (3782.0, 155.0)} | {f"J{at // 10:04d}": (float(at), 145.0) for at in range(3900, 9101, 100)}
BANDS = (
    {"uJAVA": (3485.0, 495.0, 22.7)}
    | {name: (*band, float(np.interp(band[0], *_DEPTH))) for name, band in _NARROW.items()}
    | {"J1007": (9500.0, 800.0, 21.6), "iSDSS": (7560.0, 1290.0, 23.2)}
)
# Galaxies are found to 22.6 or so (miniJPAS: complete to r = 22.7 where extended); of objects that bright a tenth are
# stars, by the counts of `sky.stars` at high latitude. One field, that of miniJPAS, seen over and over; its pixels.
JPAS = survey.Survey(
    name="J-PAS", bands=BANDS, detection=Detection(22.7), star_share=0.11, pixel=0.23, side=9216, image=756,
    fields={1: (214.9, 52.8, 0.008, tuple(range(1, 41)))}, edges={"uJAVA": 40.0, "J1007": 100.0, "iSDSS": 100.0},
)  # fmt: skip


def curves() -> Curves:
    """The 56 bands in order of wavelength: name -> (wavelength [vacuum Angstrom], response per photon)."""
    return {name: curve for name, curve in JPAS.curves.items() if name != "iSDSS"}


def catalogue(n: int, ssps: Populations, seed: int = 0) -> Catalogue:
    """`n` objects of the mock survey, in 56 bands and iSDSS, the last; see `survey.catalogue`."""
    return survey.catalogue(JPAS, n, ssps, seed)
