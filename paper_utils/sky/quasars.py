"""Quasars: their spectra, and how many there are.

A power law, the broad and narrow lines of SDSS's composite spectrum (Vanden Berk+ 2001, 2001AJ....122..549V), and hot
dust. The host galaxy is left out: where it is faint the power law has no break at 5000 A (Selsing+ 2016,
2016A&A...585A..87S). Right in broad bands and for the kind and place of lines; real ones have blends within.
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import RegularGridInterpolator

from paper_utils.base.dust import planck
from paper_utils.base.filters import Curves
from paper_utils.base.intergalactic import transmission
from paper_utils.base.photometry import ab_magnitudes
from paper_utils.base.wavelengths import log_grid

# Centre, equivalent width and dispersion [Angstrom, rest frame]: Vanden Berk+ 2001, table 2, lines above 1 A or so. The
# last four by hand: Fe II and the Balmer continuum, the small blue bump, and optical Fe II beside H beta.
LINES = np.array([
    (1033.0, 9.8, 7.8), (1216.3, 92.9, 19.5), (1305.4, 1.7, 5.4), (1396.8, 8.1, 14.3), (1546.2, 23.8, 14.3),
    (1637.8, 2.5, 15.0), (1906.0, 21.2, 23.6), (2076.6, 2.5, 19.0), (2326.0, 2.0, 22.0), (2800.3, 32.3, 35.0),
    (3426.8, 1.2, 6.0), (3729.7, 1.6, 3.3), (3869.8, 1.4, 5.3), (4102.7, 5.1, 18.6), (4346.4, 12.6, 20.3),
    (4853.1, 46.2, 40.4), (4960.4, 3.5, 3.9), (5008.2, 13.2, 6.0), (5877.4, 4.9, 23.5), (6564.9, 194.5, 47.4),
    (2500.0, 50.0, 120.0), (3200.0, 60.0, 250.0), (4565.0, 15.0, 60.0), (5280.0, 15.0, 60.0),
])  # fmt: skip
# Of F_nu: slope and its scatter between quasars, and the slope blueward of 912 A (Lusso+ 2015, 2015MNRAS.449.4204L).
SLOPE, SLOPE_SCATTER, SLOPE_FUV = -0.44, 0.3, -1.70
# dex, of equivalent widths (of all lines together, and again of each) and of widths; by hand, after Shen+ 2011
# (2011ApJS..194...45S).
STRENGTH_SCATTER, WIDTH_SCATTER = 0.15, 0.1
HOT_DUST = 1260.0  # K (Glikman+ 2006, 2006ApJ...640..579G)
# Quasars per square degree, unit of redshift and magnitude at r and z in `AT`: Palanque-Delabrouille+ 2016
# (2016A&A...587A..41P), table 7, luminosity and density evolution, every second row.
AT = (np.arange(16.25, 23.5), np.arange(0.5, 4))
COUNTS = np.array([
    (173, 46, 8, 1), (1063, 645, 109, 11), (6171, 7534, 1476, 119), (22256, 42853, 14012, 1146),
    (44377, 102993, 55189, 6846), (71385, 172381, 108661, 19287), (111154, 271898, 177682, 35182),
    (172133, 426753, 283998, 57240),
]) / 5000  # fmt: skip
R_MINUS_I = 0.1  # of quasars, roughly


def rest_spectrum(rng: np.random.Generator, n: int, wave_rest: np.ndarray) -> np.ndarray:
    """F_lambda (n, L) of quasars, the continuum 1 at 5100 A, each with its own slope, line strengths and line widths.

    wave_rest : (L,) or (n, L) vacuum Angstrom, 480 to 30 000. Nothing is absorbed: `base.intergalactic` is for that.
    """
    wave = np.asarray(wave_rest, float)
    slope = SLOPE + SLOPE_SCATTER * rng.standard_normal((n, 1))
    continuum = (wave / 5100) ** (-2 - slope) * np.minimum(wave / 912, 1) ** (slope - SLOPE_FUV)
    # So much dust that nu F_nu at 2.3 um is that at 5100 A (Krawczyk+ 2013, 2013ApJS..206....4K), roughly.
    glow = planck(np.array([HOT_DUST]), wave.ravel() * 1e-4).reshape(wave.shape) * wave**-2.0
    peak = planck(np.array([HOT_DUST]), np.array([2.3]))[0, 0] * 23_000**-2.0
    continuum = continuum + 0.5 * 5100 / 23_000 * glow / peak
    dex = rng.standard_normal((n, len(LINES) + 1)) * STRENGTH_SCATTER
    strength = 10 ** (dex[:, :1] + dex[:, 1:])
    wider = 10 ** (WIDTH_SCATTER * rng.standard_normal((n, 1)))
    return continuum * (1 + lines(wave, LINES[:, 0], strength * LINES[:, 1], wider * LINES[:, 2]))


def lines(wave_rest: np.ndarray, centre: np.ndarray, width: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Gaussian lines (n, L) over their continuum at `wave_rest` (L,) or (n, L) [A].

    centre : (K,) [A].   width : (n, K) equivalent widths [A].   sigma : (n, K) dispersions [A].
    """
    over = np.zeros((len(width), np.shape(wave_rest)[-1]))
    for at, of, s in zip(centre, width.T[..., None], sigma.T[..., None], strict=True):
        over += of / (np.sqrt(2 * np.pi) * s) * np.exp(-0.5 * ((wave_rest - at) / s) ** 2)
    return over


def spectra(rng: np.random.Generator, z: np.ndarray, wave_obs: np.ndarray) -> np.ndarray:
    """F_lambda (N, L) as they arrive from redshifts `z` (N,) at `wave_obs` (L,) [vacuum A], each in its own unit."""
    z = np.asarray(z, float)
    return rest_spectrum(rng, len(z), wave_obs / (1 + z[:, None])) * transmission(wave_obs, z)


def magnitudes(rng: np.random.Generator, z: np.ndarray, curves: Curves) -> np.ndarray:
    """AB magnitudes (N, B), up to a constant each, of quasars at redshifts `z` (N,); curves as `filters.curves_of`."""
    ends = [(wave[0], wave[-1]) for wave, _ in curves.values()]
    wave = log_grid(np.min(ends) * 0.999, np.max(ends) * 1.001, kms=300.0)
    return ab_magnitudes(wave, spectra(rng, z, wave), curves)


def draw(rng: np.random.Generator, n: int, faint: float, z_range=(0.1, 3.5)) -> tuple[np.ndarray, np.ndarray]:
    """Redshifts and apparent i magnitudes (AB), (n,) each, of quasars between i = 15.5 and `faint`; see `per_deg2`."""
    z, magnitude, count = _counts(faint, z_range)
    i, j = np.divmod(rng.choice(count.size, n, p=count.ravel() / count.sum()), magnitude.size)
    inside = rng.random((2, n)) - 0.5
    return z[i] + inside[0] * (z[1] - z[0]), magnitude[j] + inside[1] * (magnitude[1] - magnitude[0])


def per_deg2(faint: float, z_range=(0.1, 3.5)) -> float:
    """Quasars per square degree between i = 15.5 and `faint`: 7 to i = 19.1, 150 to 22, 470 to 24.

    Counts in r of Palanque-Delabrouille+ 2016 (`COUNTS`), measured to r = 22.4 at 0.7 < z < 4 and continued.
    """
    return float(_counts(faint, z_range)[2].sum())


def _counts(faint: float, z_range) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Middles of cells in redshift (200,) and in i (200,), and quasars per square degree in each cell (200, 200)."""
    inside = (np.arange(200) + 0.5) / 200
    z, magnitude = (low + (high - low) * inside for low, high in (z_range, (15.5, faint)))
    density = RegularGridInterpolator(AT, np.log10(COUNTS), bounds_error=False, fill_value=None)  # continued
    at = np.stack(np.meshgrid(magnitude + R_MINUS_I, z), axis=-1)
    return z, magnitude, 10 ** density(at) * (z[1] - z[0]) * (magnitude[1] - magnitude[0])
