"""Scaling relations of galaxies at z ~ 0, as published: the mean of one property at given others. Arrays in and out.

Chabrier IMF; masses are log M* [M_sun] in living stars and remnants.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit

# Gallazzi+ 2005 (2005MNRAS.362...41G), table 2: log M*, median log Z/Z_sun, and half its 16-84 % range.
_GALLAZZI = np.array([
    (8.91, -0.60, 0.55), (9.31, -0.65, 0.53), (9.51, -0.61, 0.51), (9.72, -0.52, 0.51), (9.91, -0.41, 0.50),
    (10.11, -0.23, 0.47), (10.31, -0.11, 0.41), (10.51, -0.01, 0.31), (10.72, 0.04, 0.23), (10.91, 0.07, 0.19),
    (11.11, 0.10, 0.17), (11.31, 0.12, 0.16), (11.51, 0.13, 0.16), (11.72, 0.14, 0.16), (11.91, 0.15, 0.17),
])  # fmt: skip


def mass_function(log_mstar: np.ndarray) -> np.ndarray:
    """Galaxies per Mpc3 and dex of stellar mass: double Schechter function of Baldry+ 2012 (2012MNRAS.421..621B)."""
    x = 10 ** (np.asarray(log_mstar) - 10.66)
    return np.log(10) * np.exp(-x) * (3.96e-3 * x ** (1 - 0.35) + 0.79e-3 * x ** (1 - 1.47))


def quiescent_fraction(log_mstar: np.ndarray, log_density: np.ndarray) -> np.ndarray:
    """Share of quiescent galaxies at log M* and log overdensity (1 + delta): Peng+ 2010 (2010ApJ...721..193P), SDSS."""
    by_density = -np.expm1(-((10 ** (np.asarray(log_density) - 1.84)) ** 0.60))
    by_mass = -np.expm1(-((10 ** (np.asarray(log_mstar) - 10.56)) ** 0.80))
    return 1 - (1 - by_density) * (1 - by_mass)


def main_sequence(log_mstar: np.ndarray, z: np.ndarray = 0.06) -> np.ndarray:
    """log SFR [M_sun/yr] of the main sequence: Renzini & Peng 2015 (2015ApJ...801L..29R) at z = 0.06.

    It moves as (1 + z)^3 (Lilly+ 2013, 2013ApJ...772..119L), and from z = 0.7 to 1.7 over to Schreiber+ 2015
    (2015A&A...575A..74S, eq. 9; -0.24 dex in mass and rate from their Salpeter IMF), 0.2 dex lower, the least of what
    histories that grow into the mass function ask for (Leja+ 2022, 2022ApJ...936..165L: 0.2 to 0.5).
    """
    log_mstar, log_z = np.asarray(log_mstar, float), np.log10(1 + np.asarray(z, float))
    near = 0.76 * log_mstar - 7.64 + 3 * (log_z - np.log10(1.06))
    bend = np.maximum(log_mstar - 8.76 - 0.36 - 2.5 * log_z, 0)
    far = log_mstar - 8.76 - 0.5 - 0.44 + 1.5 * log_z - 0.3 * bend**2
    return near + np.interp(z, [0.7, 1.7], [0, 1]) * (far - near)


def gas_metallicity(log_mstar: np.ndarray, main_sequence_offset: np.ndarray) -> np.ndarray:
    """Mean 12 + log(O/H) at log M* and log SFR - log SFR_MS.

    On the main sequence Tremonti+ 2004 (2004ApJ...613..898T), eq. 3, held beyond log M* 8-11.5; off it the difference
    that the fundamental metallicity relation makes (Mannucci+ 2010, 2010MNRAS.408.2115M, eq. 2).
    """
    log_mstar = np.asarray(log_mstar, float)
    at = np.clip(log_mstar, 8, 11.5)
    tremonti = -1.492 + 1.847 * at - 0.08026 * at**2
    usual = np.clip(main_sequence(log_mstar), -1.5, 1.0)
    offset = np.clip(main_sequence_offset, -0.8, 0.8)  # the relation is not measured further out

    def mannucci(s):
        return -0.14 * s + 0.12 * (log_mstar - 10) * s - 0.054 * s**2

    return tremonti + mannucci(usual + offset) - mannucci(usual)


def stellar_metallicity(log_mstar: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median [M/H] of the stars of all galaxies and half its 16-84 % range: Gallazzi+ 2005 (2005MNRAS.362...41G)."""
    return tuple(np.interp(log_mstar, _GALLAZZI[:, 0], column) for column in _GALLAZZI.T[1:])


def velocity_dispersion(log_mstar: np.ndarray) -> np.ndarray:
    """Mean log sigma [km/s] of quiescent galaxies: Zahid+ 2016 (2016ApJ...832..203Z)."""
    x = np.asarray(log_mstar) - 10.26
    return 2.073 + np.where(x < 0, 0.403, 0.293) * x


def half_light_radius(log_mstar: np.ndarray, quiescent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean log R_e [kpc] in r and its scatter [dex]: Shen+ 2003 (2003MNRAS.343..978S; b of the 2007 erratum), enlarged.

    Theirs are of z, where galaxies are a tenth smaller (Kelvin+ 2012, 2012MNRAS.421.1007K), and lack the outskirts that
    SDSS's sky subtraction removes (Bernardi+ 2014, 2014MNRAS.443..874B): times 1.45, with which fibres take as much of
    the light as SDSS's.

    The early-type power law is continued below 10^10.3 M_sun with the late type's faint slope, 0.14, as dwarf
    ellipticals need.
    """
    log_mstar = np.asarray(log_mstar, float)
    x = 10**log_mstar / 3.98e10
    late = np.log10(0.1) + 0.14 * log_mstar + 0.25 * np.log10(1 + x)
    early = np.log10(2.88e-6) + 0.56 * np.maximum(log_mstar, 10.3) + 0.14 * np.minimum(log_mstar - 10.3, 0)
    scatter = (0.34 + 0.13 / (1 + x**2)) / np.log(10)
    return np.where(quiescent, early, late) + np.log10(1.45), scatter


def early_type_age(log_mstar: np.ndarray) -> np.ndarray:
    """Mean log age [yr] of early-type galaxies: by hand, about as Gallazzi+ 2006 (2006MNRAS.370.1106G) have it."""
    return 9.71 + 0.10 * (np.asarray(log_mstar) - 11)


def active_fraction(log_mstar: np.ndarray, log_ssfr: np.ndarray, hotter: np.ndarray, b_t: np.ndarray) -> np.ndarray:
    """Share of galaxies whose nucleus is active, at log M*, log SFR/M* [1/yr], dispersion's excess [dex] and B/T.

    Few below 10^10 M_sun, without a bulge (Kauffmann+ 2003, 2003MNRAS.346.1055K) or where no stars form. Many hide
    behind star formation (Trump+ 2015, 2015ApJ...811...26T): those that one sees are commonest in the green valley
    (Schawinski+ 2010, 2010ApJ...711..284S). More where, at given mass, a larger dispersion means a heavier black hole
    (Heckman & Best 2014, 2014ARA&A..52..589H). The numbers are by hand.
    """
    valley = np.exp(-0.5 * ((np.asarray(log_ssfr) + 10.3) / 0.75) ** 2)
    by_mass = 1.2 * np.tanh((np.asarray(log_mstar) - 10.4) / 0.5)
    return expit(-5.0 + 2.2 * by_mass + 6.4 * valley + 5.5 * np.asarray(hotter) + 1.5 * (np.asarray(b_t) - 0.4))
