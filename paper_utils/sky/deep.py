"""The mock sky at depth: galaxies to redshift 2, for surveys of hundreds of thousands of objects.

`sky.galaxies` draws what SDSS sees; here the mass function, the share of quiescent galaxies, their ages and sizes move
with redshift. Simplified: no clustering, no intergalactic absorption (it would touch the bluest band beyond z = 1.9),
no light of quasars, no blends, nothing beyond z = 2; below 1700 Angstrom the smooth `sky.starlight` continues the
templates.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from astropy.cosmology import Planck18
from astropy.table import Table
from scipy.special import expit

from paper_utils.base.distances import distance_modulus
from paper_utils.sky import galaxies, relations
from paper_utils.sky.light import LightTable, magnitudes

LOG_MSTAR = (6.0, 12.0)
# Davidzon+ 2017 (2017A&A...605A..70D), table 1, at the middle of their bins of redshift: log M*, alpha_1, phi_1
# [1e-3 / Mpc3], alpha_2, phi_2.
_DAVIDZON_Z = np.array([0.35, 0.65, 0.95, 1.3, 1.75])
_DAVIDZON = np.array([
    (10.78, -1.38, 1.187, -0.43, 1.92), (10.77, -1.36, 1.070, 0.03, 1.68), (10.56, -1.31, 1.428, 0.51, 2.19),
    (10.62, -1.28, 1.069, 0.29, 1.21), (10.51, -1.28, 0.969, 0.82, 0.64),
])  # fmt: skip
COLUMNS = galaxies.COLUMNS[1:]  # all but id


def mass_function(log_mstar: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Galaxies per comoving Mpc3 and dex of stellar mass (M,) at redshifts z (Z,), (Z, M): Davidzon+ 2017.

    Double Schechter functions, in logarithm linear between their bins of redshift, held beyond 0.35 and 1.75.
    """
    knee, alpha1, phi1, alpha2, phi2 = _DAVIDZON.T[:, :, None]
    x = 10 ** (np.asarray(log_mstar) - knee)  # (bins, M)
    log_phi = np.log(np.log(10) * 1e-3 * (phi1 * x ** (alpha1 + 1) + phi2 * x ** (alpha2 + 1))) - x
    at = np.interp(z, _DAVIDZON_Z, np.arange(len(_DAVIDZON_Z)))
    low = np.minimum(at.astype(int), len(_DAVIDZON_Z) - 2)
    share = (at - low)[:, None]
    return np.exp((1 - share) * log_phi[low] + share * log_phi[low + 1])


def quiescent_fraction(log_mstar: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Share of quiescent galaxies; half of all at 10^10.5 M_sun today and 10^11.2 at z = 1.5.

    By hand, to follow the mass functions of the two kinds by Muzzin+ 2013 (2013ApJ...777...18M).
    """
    return 0.95 * expit((np.asarray(log_mstar) - 10.45 - 0.5 * np.asarray(z)) / 0.30)


def half_light_radius(log_mstar: np.ndarray, quiescent: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Mean log R_e [kpc, major axis]: van der Wel+ 2014 (2014ApJ...788...28V), abstract and sec. 4.

    Small quiescent galaxies (below 10^10.3 M_sun) follow the slope of the others, as there.
    """
    x = np.asarray(log_mstar) - 10.7
    late = np.log10(8.9) + 0.22 * x - 0.75 * np.log10(1 + z)
    early = np.log10(5.6) + 0.76 * np.maximum(x, -0.4) + 0.22 * np.minimum(x + 0.4, 0) - 1.48 * np.log10(1 + z)
    return np.where(quiescent, early, late)


def draw(
    n: int, rng: np.random.Generator, table: LightTable, band: str, limit: float, detected: Callable
) -> tuple[Table, np.ndarray, float]:
    """`n` galaxies that a survey detects: their truth, magnitudes (n, B), and the solid angle that holds them [deg2].

    band, limit : nothing fainter than this is ever detected.   detected : magnitudes in `band` -> probability.
    Truth has the columns of `galaxies.draw` but id. Masses are drawn from `mass_function` per comoving volume.
    """
    b = list(table.curves).index(band)
    cells = _cells(table.z[-2], limit)
    parts, found, tried, kept = [], 0, 0, 0.2
    while found < n:
        size = min(int(1.05 * (n - found) / kept) + 200, 300_000)
        part = _galaxies(rng, *galaxies.within(rng, size, *cells))
        seen = magnitudes(part, table)
        keep = rng.random(size) < detected(seen[:, b]) * (seen[:, b] < limit)
        parts.append((part[keep], seen[keep]))
        tried, found = tried + size, found + keep.sum()
        kept = (found + 1) / (tried + 1)
    truth = Table({name: np.concatenate([np.asarray(t[name]) for t, _ in parts])[:n] for name in parts[0][0].colnames})
    return truth, np.concatenate([m for _, m in parts])[:n], tried * n / found / cells[2][-1]


def _cells(z_max: float, limit: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Redshifts and masses whose cells may hold a galaxy bright enough, and the running sum of galaxies per deg2."""
    z, mass = np.linspace(0.005, z_max, 401), np.linspace(*LOG_MSTAR, 301)
    zc, mc = 0.5 * (z[1:] + z[:-1]), 0.5 * (mass[1:] + mass[:-1])
    volume = Planck18.differential_comoving_volume(zc).to_value("Mpc3/sr") * np.radians(1) ** 2
    density = volume[:, None] * mass_function(mc, zc) * (z[1] - z[0]) * (mass[1] - mass[0])
    density *= brightest(mass[1:], zc[:, None]) < limit
    return z, mass, np.cumsum(density)


def brightest(log_mstar: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Magnitude in F814W or the like than which one galaxy in 500 of this mass and redshift is brighter.

    Light per mass rises with redshift as populations are younger; read off the mock galaxies themselves.
    """
    return 1.15 - 0.75 * np.asarray(z) - 2.5 * np.asarray(log_mstar) + distance_modulus(z)


def _galaxies(rng: np.random.Generator, z: np.ndarray, log_mstar: np.ndarray) -> Table:
    """All columns of truth; as `galaxies.draw`, but for what moves with redshift."""
    part = galaxies.history(rng, z, log_mstar, quiescent_fraction(log_mstar, z))
    part |= galaxies.structure(rng, part)
    today, _ = relations.half_light_radius(log_mstar, part["quiescent"])
    part["r_e"] *= 10 ** (half_light_radius(log_mstar, part["quiescent"], z) - today)
    # The fundamental metallicity relation holds at all these redshifts: what counts is the excess over today's rate.
    excess = np.where(part["quiescent"], 0, part["log_sfr"] - relations.main_sequence(log_mstar))
    part |= galaxies.metals(rng, part | {"offset": excess})
    part |= galaxies.nucleus(rng, part)
    return Table({name: part[name] for name in COLUMNS}, units=galaxies.UNITS)
