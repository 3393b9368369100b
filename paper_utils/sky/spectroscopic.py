"""Which objects of a mock catalogue a spectroscopic survey brings home a redshift of."""

from __future__ import annotations

import numpy as np

from paper_utils.base.containers import Catalogue
from paper_utils.base.errors import DataError

SAMPLING = 0.5  # of the objects get a slit: zCOSMOS-bright (Lilly+ 2009, 2009ApJS..184..218L), roughly
# Success by magnitudes above the limit, about as zCOSMOS-bright to 22.5 and VVDS to 24 (Le Fevre+ 2005,
# 2005A&A...439..845L) have it, nine in ten of all; and by redshift, between [O II] leaving the red end of their spectra
# at z = 1.4 and the ultraviolet lines entering at the blue end. All numbers by hand.
_BRIGHTER = ((0.0, 0.5, 1.0, 2.5), (0.75, 0.86, 0.93, 0.97))
_REDSHIFT = ((0.9, 1.2, 1.5, 2.2, 2.7), (1.0, 0.9, 0.25, 0.25, 0.7))
WITHOUT_LINES = 0.8  # of quiescent galaxies beyond z = 0.9, by the break alone
QUASARS = 0.9  # of quasars, whatever their redshift


def rows(catalogue: Catalogue, limit: float, seed: int = 0, sampling: float = SAMPLING) -> np.ndarray:
    """Rows, in order, of the galaxies and quasars brighter than `limit` whose spectra give a redshift.

    limit : as measured in the last band of the catalogue, such as F814W < 22.5 or 24.   sampling : share observed.
    The others are lost at random, more of them where they are faint, in the redshift desert, or without lines: what is
    left is no fair sample of the catalogue. Raises DataError for a catalogue without truth.
    """
    if catalogue.truth is None:
        raise DataError("the catalogue has no truth", remedy="Only of a mock is known who would have got a redshift.")
    truth = catalogue.truth
    quasar, z = np.asarray(truth["is_quasar"]), np.asarray(truth["z"], float)
    brighter = limit - np.asarray(catalogue.table[str(catalogue.bands[-1])], float)
    share = np.interp(z, *_REDSHIFT) * np.where(np.asarray(truth["quiescent"]) & (z > 0.9), WITHOUT_LINES, 1.0)
    share = np.interp(brighter, *_BRIGHTER) * np.where(quasar, QUASARS, share)
    wanted = (brighter > 0) & ~np.asarray(truth["is_star"])
    return np.flatnonzero(wanted & (np.random.default_rng(seed).random(len(z)) < sampling * share))
