"""The ALHAMBRA survey on the mock sky: its bands, depth and fields, and a catalogue with the survey's own columns.

ALHAMBRA (Moles+ 2008, 2008AJ....136.1325M) saw 2.8 deg2 in 20 contiguous medium bands and J, H, Ks; objects are found
in F814W, an image made of the reddest of them (Molino+ 2014, 2014MNRAS.441.2891M). Magnitudes are as observed, not
corrected for the Milky Way's dust, which is thin where the survey looked.
"""

from __future__ import annotations

import numpy as np

from paper_utils.base.columns import alhambra_names
from paper_utils.base.containers import Catalogue
from paper_utils.base.filters import Curves
from paper_utils.sky import light, survey
from paper_utils.sky.bands import Detection
from paper_utils.sky.populations import Populations

N_OBJECTS = 446_343
# Centre and full width at half maximum [Angstrom] of the response (Aparicio Villegas+ 2010, 2010AJ....139.1242V;
# centres of half power in the published curves), and the magnitude that a point source has at 5 sigma in 3 arcsec: 24
# and a little more in the blue, falling beyond 7500 Angstrom (after Molino+ 2014; single values by hand, +- 0.3).
BANDS = {
    "F365W": (3653, 279, 23.8), "F396W": (3936, 330, 24.2), "F427W": (4238, 342, 24.2), "F458W": (4578, 332, 24.1),
    "F489W": (4917, 356, 24.2), "F520W": (5232, 326, 24.1), "F551W": (5517, 297, 23.9), "F582W": (5817, 324, 23.9),
    "F613W": (6136, 320, 24.0), "F644W": (6469, 357, 23.9), "F675W": (6789, 314, 23.8), "F706W": (7077, 332, 23.8),
    "F737W": (7391, 304, 23.6), "F768W": (7702, 354, 23.5), "F799W": (8021, 311, 23.2), "F830W": (8298, 296, 23.0),
    "F861W": (8618, 369, 22.8), "F892W": (8924, 303, 22.6), "F923W": (9216, 308, 22.3), "F954W": (9489, 319, 22.0),
    "J": (12084, 2459, 23.0), "H": (16474, 2665, 22.6), "KS": (21506, 3040, 22.1), "F814W": (8080, 1900, 24.8),
}  # fmt: skip
NAMES = tuple(BANDS)
LIMITS = np.array([limit for _, _, limit in BANDS.values()])
# Columns of the public csv that describe what was observed, in its order (Cacho 2020, appendix A.3).
COLUMNS = alhambra_names("input")
# Stars among all objects. By their counts half of them are brighter than 22.5, where the survey tells them from
# galaxies: these are the 1.9 % that its catalogue flags (Cacho 2020, table 4.1: 429 of 22 318).
STAR_SHARE = 0.038
# Fields: centre [deg], E(B-V) [mag], and pointings of four CCDs each. E(B-V) by hand, +- 0.01, after the maps of
# Schlegel+ 1998, times 0.86 (Schlafly & Finkbeiner 2011).
FIELDS = {
    2: (22.568, 4.261, 0.026, (1, 2)), 3: (139.083, 46.039, 0.013, (2,)), 4: (150.0, 2.086, 0.016, (1,)),
    5: (188.75, 61.95, 0.010, (1,)), 6: (214.161, 52.414, 0.009, (1, 2)), 7: (243.042, 54.504, 0.008, (3, 4)),
    8: (356.458, 15.585, 0.030, (1, 2)),
}  # fmt: skip
ALHAMBRA = survey.Survey(
    name="ALHAMBRA", bands=BANDS, detection=Detection(24.95), star_share=STAR_SHARE, fields=FIELDS, pixel=0.221,
    side=4096, image=814, edges={"J": 150.0, "H": 180.0, "KS": 250.0, "F814W": 300.0},
)  # fmt: skip


def curves() -> Curves:
    """The 24 bands as trapezoids: name -> (wavelength [vacuum Angstrom], response per photon)."""
    return ALHAMBRA.curves


def light_table(ssps: Populations) -> light.LightTable:
    """The table from which magnitudes in these bands are taken."""
    return survey.light_table(ALHAMBRA, ssps)


def catalogue(n: int, ssps: Populations, seed: int = 0) -> Catalogue:
    """`n` objects of the mock survey in the columns of the public csv (`COLUMNS`); see `survey.catalogue`."""
    return survey.catalogue(ALHAMBRA, n, ssps, seed)
