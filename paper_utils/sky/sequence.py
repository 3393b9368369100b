"""The spectral sequence: eleven galaxies from the reddest elliptical to a starburst, the types of template fits.

A number runs along it as the type `tb` of BPZ does (1 elliptical ... 11 starburst, fractions between two templates). It
is the sequence of a survey's template library, not a model of all galaxies: dust, age and metals go together here and
do not in the sky, which is why fits with it err as real ones do.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from astropy.table import Table

from paper_utils.base.distances import distance_modulus
from paper_utils.base.filters import Curves, curves_of
from paper_utils.base.wavelengths import log_grid
from paper_utils.sky import galaxies, light, nebular, properties, sdss_spectra
from paper_utils.sky.populations import Populations

# log SFR / M* [1/yr], age [Gyr], [M/H], A_V [mag], 12 + log O/H. By hand, along the mean of the deep mock galaxies.
_TYPES = np.array([
    (-12.6, 9.0, 0.15, 0.05, 9.0), (-12.2, 6.0, 0.05, 0.05, 9.0), (-11.8, 3.5, -0.05, 0.08, 9.0),
    (-11.0, 7.0, 0.00, 0.30, 9.0), (-10.5, 7.0, 0.00, 0.55, 9.0), (-10.0, 6.5, -0.10, 0.65, 8.9),
    (-9.6, 5.5, -0.30, 0.50, 8.8), (-9.3, 4.5, -0.50, 0.30, 8.6), (-9.0, 3.0, -0.60, 0.20, 8.5),
    (-8.7, 1.6, -0.70, 0.12, 8.3), (-8.3, 0.7, -0.80, 0.05, 8.2),
])  # fmt: skip
N_TYPES = len(_TYPES)
SIGMA_STAR = 120.0  # km/s
# Rest-frame bands, centre and width [Angstrom], that tell the type of a galaxy; Johnson's B gives its magnitude.
_REST = {"2800": 500, "3600": 500, "4250": 300, "5500": 600, "6650": 500, "8000": 800}


def templates(ssps: Populations) -> tuple[np.ndarray, np.ndarray]:
    """Rest wavelengths (L,) [vacuum Angstrom] and spectra (11, L) [L_sun / Angstrom per M_sun of stars, Chabrier]."""
    wave = log_grid(1.01 * light.ULTRAVIOLET[0], 26000.0, kms=150.0)
    return wave, sdss_spectra.rest_spectra(_truth(), wave, light.extended(ssps), lsf=False).double().numpy()


def rest_properties(truth: Table, ssps: Populations) -> tuple[np.ndarray, np.ndarray]:
    """Type (N,) of the template whose colours are nearest to a galaxy's, and its absolute AB magnitude in B (N,)."""
    seen = _absolute(truth, _rest_table(ssps)[0])
    return nearest_type(seen[:, :-1], ssps), seen[:, -1]


def nearest_type(seen: np.ndarray, ssps: Populations) -> np.ndarray:
    """Type (N,) of the template whose colours are nearest to magnitudes (N, 6) in all of `rest_curves` but B."""
    _, nodes = _rest_table(ssps)
    colours = seen - seen.mean(axis=1, keepdims=True)
    off = (colours**2).sum(1)[:, None] - 2 * colours @ nodes.T + (nodes**2).sum(1)
    return 1 + off.argmin(axis=1) * (N_TYPES - 1) / (len(nodes) - 1)


def rest_curves() -> Curves:
    """Bands of the rest frame: six by which types are told, and Johnson's B."""
    shape = np.array([-0.5, -0.49, 0.49, 0.5]), np.array([0.0, 1, 1, 0])
    hats = {name: (float(name) + width * shape[0], shape[1]) for name, width in _REST.items()}
    return hats | curves_of({"B": "bessell_B"})


@lru_cache(maxsize=1)
def _rest_table(ssps: Populations) -> tuple[light.LightTable, np.ndarray]:
    table = light.light_table(ssps, rest_curves(), z_max=0.01)
    seen = _absolute(_truth(), table)[:, :-1]
    seen -= seen.mean(axis=1, keepdims=True)
    fine = np.linspace(0, N_TYPES - 1, 20 * (N_TYPES - 1) + 1)
    return table, np.stack([np.interp(fine, np.arange(N_TYPES), column) for column in seen.T], axis=1)


def _absolute(truth: Table, table: light.LightTable) -> np.ndarray:
    rest = truth.copy(copy_data=False)
    rest["z"] = np.full(len(truth), 1e-4)
    return light.magnitudes(rest, table) - distance_modulus(np.array([1e-4]))


def _truth() -> Table:
    ssfr, age, metallicity, a_v, oh = _TYPES.T
    rate = 1e9 * 10**ssfr / galaxies.formed_mass(0.0)
    n = len(_TYPES)
    columns = {
        "z": np.full(n, 0.1), "log_mstar": np.zeros(n), "log_sfr": ssfr, "age_gyr": age,
        "tau_gyr": age / galaxies.age_over_tau(np.minimum(rate * age, 1.7)), "burst_fraction": np.zeros(n),
        "burst_age_gyr": np.ones(n), "metallicity": metallicity, "a_v": a_v, "sigma_star": np.full(n, SIGMA_STAR),
        "b_t": np.zeros(n), "oh": oh, "log_u": nebular.log_u_sequence(oh), "old_gas": np.full(n, properties.OLD_GAS),
        "agn_class": np.full(n, "none"), "agn_strength": np.zeros(n),
    }  # fmt: skip
    return Table(columns)
