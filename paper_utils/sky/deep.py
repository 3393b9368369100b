"""The mock sky at depth: galaxies to redshift 5.5, for surveys of hundreds of thousands of objects.

`sky.galaxies` draws what SDSS sees; here the mass function, the share of quiescent galaxies, their ages and sizes move
with redshift. Simplified: no clustering, no blends, no Lyman alpha line; the metals of stars do not move with redshift,
hydrogen on the way absorbs the same on every line of sight; below 1700 Angstrom the smooth `sky.starlight` continues
the templates.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from astropy.cosmology import Planck18
from astropy.table import Table
from scipy.special import expit

from paper_utils.base.constants import DEEP_Z
from paper_utils.base.distances import distance_modulus
from paper_utils.sky import galaxies, properties, relations
from paper_utils.sky.light import LightTable, magnitudes

LOG_MSTAR = (6.0, 12.0)
# Davidzon+ 2017 (2017A&A...605A..70D), table 1, at the middle of their bins of redshift: log M*, alpha_1, phi_1
# [1e-3 / Mpc3], alpha_2, phi_2.
_DAVIDZON_Z = np.array([0.35, 0.65, 0.95, 1.3, 1.75, 2.25, 2.75, 3.25, 4.0, 5.0])
_DAVIDZON = np.array([
    (10.78, -1.38, 1.187, -0.43, 1.92), (10.77, -1.36, 1.070, 0.03, 1.68), (10.56, -1.31, 1.428, 0.51, 2.19),
    (10.62, -1.28, 1.069, 0.29, 1.21), (10.51, -1.28, 0.969, 0.82, 0.64), (10.60, -1.57, 0.295, 0.07, 0.45),
    (10.59, -1.67, 0.228, -0.08, 0.21), (10.83, -1.76, 0.090, 0, 0), (11.10, -1.98, 0.016, 0, 0),
    (11.30, -2.11, 0.003, 0, 0),
])  # fmt: skip
COLUMNS = galaxies.COLUMNS[1:]  # all but id


def mass_function(log_mstar: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Galaxies per comoving Mpc3 and dex of stellar mass (M,) at redshifts z (Z,), (Z, M): Davidzon+ 2017.

    Double Schechter functions, in logarithm linear between their bins of redshift, held beyond 0.35 and 5.
    """
    knee, alpha1, phi1, alpha2, phi2 = _DAVIDZON.T[:, :, None]
    x = 10 ** (np.asarray(log_mstar) - knee)  # (bins, M)
    log_phi = np.log(np.log(10) * 1e-3 * (phi1 * x ** (alpha1 + 1) + phi2 * x ** (alpha2 + 1))) - x
    at = np.interp(z, _DAVIDZON_Z, np.arange(len(_DAVIDZON_Z)))
    low = np.minimum(at.astype(int), len(_DAVIDZON_Z) - 2)
    share = (at - low)[:, None]
    return np.exp((1 - share) * log_phi[low] + share * log_phi[low + 1])


def quiescent_fraction(log_mstar: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Share of quiescent galaxies; half of all at 10^10.5 M_sun today and 10^11.2 at z = 1.5, held beyond z = 3.

    By hand, to follow the mass functions of the two kinds by Muzzin+ 2013 (2013ApJ...777...18M).
    """
    return 0.95 * expit((np.asarray(log_mstar) - 10.45 - 0.5 * np.minimum(z, 3)) / 0.30)


def half_light_radius(log_mstar: np.ndarray, quiescent: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Mean log R_e [kpc, major axis]: van der Wel+ 2014 (2014ApJ...788...28V), abstract and sec. 4.

    Small quiescent galaxies (below 10^10.3 M_sun) follow the slope of the others, as there.
    """
    x = np.asarray(log_mstar) - 10.7
    late = np.log10(8.9) + 0.22 * x - 0.75 * np.log10(1 + z)
    early = np.log10(5.6) + 0.76 * np.maximum(x, -0.4) + 0.22 * np.minimum(x + 0.4, 0) - 1.48 * np.log10(1 + z)
    return np.where(quiescent, early, late)


def far_dust(rng: np.random.Generator, log_mstar: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """A_V of the starlight of star-forming galaxies beyond z of about 1.3, whose log SFR is `offset` above the mean.

    From the attenuation at 1600 A with mass at z = 2 to 3, which is 4.2 times it here (Bouwens+ 2016,
    2016ApJ...833...72B: log IRX = log M* - 9.17). Discs are so thick that it is the same from all sides (Lorenz+ 2023,
    2023ApJ...951...29L), and galaxies that form more stars have more dust (power and scatter by hand).
    """
    a_1600 = 2.5 * np.log10(1 + 10 ** (np.asarray(log_mstar) - 9.17) / 1.7)
    return a_1600 / 4.2 * 10 ** (0.5 * offset + 0.15 * rng.standard_normal(len(a_1600)))


def draw(
    n: int, rng: np.random.Generator, table: LightTable, band: str, limit: float, detected: Callable
) -> tuple[Table, np.ndarray, float]:
    """`n` galaxies that a survey detects: their truth, magnitudes (n, B), and the solid angle that holds them [deg2].

    band, limit : nothing fainter than this is ever detected.   detected : magnitudes in `band` -> probability.
    Truth has the columns of `galaxies.draw` but id. Masses are drawn from `mass_function` per comoving volume.
    """
    b = list(table.curves).index(band)
    cells = _cells(min(table.z[-2], DEEP_Z[1]), limit)
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
    z, mass = np.linspace(DEEP_Z[0], z_max, 1101), np.linspace(*LOG_MSTAR, 301)
    zc, mc = 0.5 * (z[1:] + z[:-1]), 0.5 * (mass[1:] + mass[:-1])
    volume = Planck18.differential_comoving_volume(zc).to_value("Mpc3/sr") * np.radians(1) ** 2
    density = volume[:, None] * mass_function(mc, zc) * (z[1] - z[0]) * (mass[1] - mass[0])
    density *= brightest(mass[1:], zc[:, None]) < limit
    return z, mass, np.cumsum(density)


def brightest(log_mstar: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Magnitude in F814W or the like than which one galaxy in 500 of this mass and redshift is brighter.

    Light per mass rises with redshift as populations are younger; read off the mock galaxies themselves.
    """
    young = np.interp(z, [0, 0.6, 1.6, 2, 3, 4, 5.5], [1.15, 0.7, 0.6, 0.45, -0.6, -1.3, -1.6])
    old = np.interp(log_mstar, [8, 9, 10, 11], [0, 0.2, 1.2, 2.7])
    return young + old - 2.5 * np.asarray(log_mstar) + distance_modulus(z)


def _galaxies(rng: np.random.Generator, z: np.ndarray, log_mstar: np.ndarray) -> Table:
    """All columns of truth; as `galaxies.draw`, but for what moves with redshift."""
    part = galaxies.history(rng, z, log_mstar, quiescent_fraction(log_mstar, z))
    far = ~part["quiescent"] & (rng.random(len(z)) < np.interp(z, [1.0, 1.6], [0, 1]))
    part["a_v"] = np.where(far, far_dust(rng, log_mstar, part["offset"]), part["a_v"])
    part |= properties.structure(rng, part)
    today, _ = relations.half_light_radius(log_mstar, part["quiescent"])
    part["r_e"] *= 10 ** (half_light_radius(log_mstar, part["quiescent"], z) - today)
    # The fundamental metallicity relation holds at all these redshifts: what counts is the excess over today's rate.
    excess = np.where(part["quiescent"], 0, part["log_sfr"] - relations.main_sequence(log_mstar))
    part |= properties.metals(rng, part | {"offset": excess})
    part |= properties.nucleus(rng, part)
    return Table({name: part[name] for name in COLUMNS}, units=galaxies.UNITS)
