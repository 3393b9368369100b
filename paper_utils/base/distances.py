"""Distances in the Planck 2018 cosmology, and what arrives of a luminosity."""

from functools import lru_cache

import numpy as np

from paper_utils.base.constants import L_SUN, PC


def luminosity_distance(z: np.ndarray) -> np.ndarray:
    """Luminosity distance [cm] at redshifts `z` between 1e-5 and 10, Planck 2018, from a table good to 1e-6."""
    log_z, log_d = _table()
    return np.exp(np.interp(np.log(z), log_z, log_d - log_z)) * np.asarray(z)


def distance_modulus(z: np.ndarray) -> np.ndarray:
    """Apparent minus absolute magnitude [mag] at redshifts `z`, without a K correction."""
    return 5 * np.log10(luminosity_distance(z) / (10 * PC))


def arrives(z: np.ndarray) -> np.ndarray:
    """Flux density [1e-17 erg/s/cm2/Angstrom] that arrives of 1 L_sun / Angstrom at redshifts `z`."""
    return L_SUN / (4 * np.pi * luminosity_distance(z) ** 2 * (1 + z)) * 1e17


def kpc_per_arcsec(z: np.ndarray) -> np.ndarray:
    """Length seen under one arcsec at redshifts `z`."""
    z = np.asarray(z, float)
    return luminosity_distance(z) / (1 + z) ** 2 / (1e3 * PC) * np.deg2rad(1 / 3600)


@lru_cache(maxsize=1)
def _table() -> tuple[np.ndarray, np.ndarray]:
    from astropy.cosmology import Planck18

    z = np.geomspace(1e-5, 10, 3000)
    return np.log(z), np.log(Planck18.luminosity_distance(z).to_value("cm"))
