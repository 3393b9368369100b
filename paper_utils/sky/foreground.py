"""Dust of the Milky Way before the mock sky: how much of it, and what it leaves of a flux."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from astropy.table import Table

from paper_utils.base import dust
from paper_utils.base.containers import Spectra
from paper_utils.base.filters import Curves

# E(B-V) towards the galaxies of SDSS: median, and scatter of its logarithm, log-normal to the 99th percentile (0.031,
# 0.016 to 0.059 for two thirds: extinctions of the 9 600 galaxies in kcorrect's test file, on the scale of Schlegel+
# 1998), of which 0.86 are real (Schlafly & Finkbeiner 2011, 2011ApJ...737..103S).
MEDIAN_EBV, SCATTER = 0.86 * 0.031, 0.66


def draw(rng: np.random.Generator, n: int) -> np.ndarray:
    """E(B-V) [mag] towards `n` galaxies of SDSS, one by one."""
    return MEDIAN_EBV * np.exp(SCATTER * rng.standard_normal(n))


def towards(truth: Table) -> np.ndarray:
    """E(B-V) (N,) [mag] of a table's column `ebv`; 0 where it has none."""
    return np.asarray(truth["ebv"], float) if "ebv" in truth.colnames else np.zeros(len(truth))


def transmission(wave_obs: np.ndarray, ebv: np.ndarray) -> np.ndarray:
    """Share of the light at `wave_obs` (L,) [vacuum Angstrom] that passes dust of `ebv` (N,) [mag], (N, L)."""
    return 10 ** (-0.4 * np.asarray(ebv, float)[:, None] * dust.galactic(wave_obs))


def corrected(spectra: Spectra) -> Spectra:
    """Mock spectra without the Milky Way's dust, which fits of stars and dust take for the galaxy's own."""
    left = transmission(spectra.wave_obs, towards(spectra.truth)).astype(spectra.flux.dtype)
    clean = None if spectra.clean is None else spectra.clean / left
    return replace(spectra, flux=spectra.flux / left, ivar=spectra.ivar * left**2, clean=clean)


def extinction(curves: Curves) -> np.ndarray:
    """A / E(B-V) (B,) in bands, for a flat spectrum and little dust; right to 1 % for E(B-V) up to 0.2."""
    return np.array([np.average(dust.galactic(wave), weights=response / wave) for wave, response in curves.values()])


def passed(truth: Table, curves: Curves) -> np.ndarray:
    """Share of the light (N, B) that passes the Milky Way's dust in bands."""
    return 10 ** (-0.4 * towards(truth)[:, None] * extinction(curves))
