"""The population of the mock sky: one row of physical truth per galaxy, with the correlations that real galaxies have.

The relations are the published ones of `sky.relations`; numbers without a source were set by hand to look like SDSS
and are called so. Masses and star-formation rates are those of a Chabrier IMF, like the relations; `sky.populations`
converts them for its templates. Distances and ages: Planck 2018, as everywhere in `sky`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
from astropy.cosmology import Planck18
from astropy.table import Table
from scipy.ndimage import map_coordinates

from paper_utils.base import dust
from paper_utils.base.constants import L_SUN
from paper_utils.base.distances import distance_modulus, luminosity_distance
from paper_utils.base.errors import DataError
from paper_utils.base.wavelengths import LINES
from paper_utils.sky import foreground, relations, starlight
from paper_utils.sky.populations import SALPETER_PER_CHABRIER
from paper_utils.sky.properties import metals, nucleus, structure, truncated

R_LIMIT = 17.77  # Main Galaxy Sample: Petrosian r, Galactic extinction removed (Strauss+ 2002, 2002AJ....124.1810S)
LOG_MSTAR = (8.0, 12.0)
# Share of the mass formed that stars have returned: Madau & Dickinson 2014 (2014ARA&A..52..415M) for Salpeter. The
# templates are Salpeter's; with it the history that gives their mass and light also gives their star-formation rate.
RETURNED = 0.27
# Share of the quiescent that are still quenching: at these log M*, small ones late; and the log of their specific rate.
IN_VALLEY, VALLEY = ((10.5, 11.0), (0.36, 0.05)), -11.0
WHOLE = 0.87  # dust of a whole galaxy over that of the part in a fibre
UNITS = {
    "log_mstar": "dex(Msun)", "log_sfr": "dex(Msun/yr)", "age_gyr": "Gyr", "tau_gyr": "Gyr", "burst_age_gyr": "Gyr",
    "a_v": "mag", "inclination": "deg", "sigma_star": "km/s", "r_e": "kpc", "old_gas": "dex(erg / (s Msun))",
    "ebv": "mag",
}  # fmt: skip
COLUMNS = (
    "id", "z", "log_mstar", "quiescent", "log_sfr", "age_gyr", "tau_gyr", "burst_fraction", "burst_age_gyr",
    "metallicity", "a_v", "inclination", "sigma_star", "r_e", "n_sersic", "b_t", "bar", "oh", "log_u", "old_gas",
    "agn_class", "agn_strength",
)  # fmt: skip


def draw(
    n: int, seed: int, z_range: tuple[float, float] = (0.01, 0.5), survey: Literal["sdss_main", "volume"] = "sdss_main"
) -> Table:
    """`n` galaxies as a truth table; the same arguments give the same table.

    Columns: id (text), z, log_mstar [dex M_sun, living stars and remnants, 8-12], quiescent (bool), log_sfr [dex
    M_sun/yr], age_gyr (since star formation began), tau_gyr (star formation goes as t exp(-t/tau)), burst_fraction (of
    the mass formed, in one instant) and burst_age_gyr, metallicity ([M/H] of the stars), a_v [mag, of the starlight],
    inclination [deg], sigma_star [km/s], r_e [kpc, half-light radius], n_sersic, b_t (bulge / total light in r), bar
    (bar / total light in r, 0 where there is none), oh (12 + log O/H of the gas, on the scale of Tremonti+ 2004),
    log_u, old_gas (log of the H alpha that old stars excite per mass of stars [erg/s/M_sun]), agn_class ("none",
    "seyfert", "liner"), agn_strength (share of H beta), ebv (E(B-V) of the Milky Way's dust [mag]; the survey's
    limit is without it, as in SDSS).

    survey : "sdss_main" keeps what is brighter than r = 17.77 (`r_magnitude`); "volume" keeps all, spread evenly in
        comoving volume. The mass function does not evolve and there is no large-scale structure.
    Raises DataError if n < 1, or if z_range is not 0 < low < high <= 1.
    """
    if survey not in ("sdss_main", "volume"):
        raise ValueError(f'survey is "sdss_main" or "volume", not {survey!r}')
    if n < 1:
        raise DataError(f"{n} galaxies cannot be drawn", remedy="Ask for one or more.")
    low, high = z_range
    if not 0 < low < high <= 1:
        raise DataError(f"z_range is {z_range}", remedy="Give 0 < low < high <= 1.", row="z_range")
    rng = np.random.default_rng(seed)
    parts, found, tried, kept = [], 0, 0, 0.2 if survey == "sdss_main" else 1.0
    while found < n:
        if tried > 3_000_000 + 100 * n:
            raise _too_faint(f"of {tried} galaxies only {found}", z_range)
        z, log_mstar = _redshift_and_mass(rng, min(int(1.05 * (n - found) / kept) + 100, 500_000), z_range, survey)
        part = history(rng, z, log_mstar, quiet_share(rng, log_mstar))
        tried += len(z)
        if survey == "sdss_main":
            keep = r_magnitude(part) < R_LIMIT
            part = {name: values[keep] for name, values in part.items()}
        parts.append(part)
        found += len(part["z"])
        kept = (found + 1) / (tried + 1)
    truth = {name: np.concatenate([part[name] for part in parts])[:n] for name in parts[0]}
    for more in (structure, metals, nucleus):
        truth |= more(rng, truth)
    truth["id"] = np.char.add(f"{survey}-{seed}-", np.char.zfill(np.arange(n).astype(str), 7))
    meta = {"survey": survey, "seed": seed, "z_range": [low, high], "imf": "Chabrier", "cosmology": "Planck18"}
    columns = {name: truth[name] for name in COLUMNS} | {"ebv": foreground.draw(rng, n)}
    return Table(columns, units=UNITS, meta=meta)


def formed_mass(log_mstar: np.ndarray) -> np.ndarray:
    """Mass formed [M_sun] of galaxies of `log_mstar` in living stars and remnants."""
    return 10 ** np.asarray(log_mstar) / (1 - RETURNED)


def r_magnitude(truth) -> np.ndarray:
    """Apparent AB magnitude (N,) in r from `sky.starlight`, dust and redshift included; sets the survey's limit.

    `truth` has z, log_mstar, age_gyr, tau_gyr, burst_fraction, burst_age_gyr and a_v. Solar metallicity and no lines.
    """
    smooth, burst = r_light()
    z, age = np.asarray(truth["z"]), np.asarray(truth["age_gyr"])
    at = np.log1p(z)
    share = np.asarray(truth["burst_fraction"])
    light = (1 - share) * smooth(np.log(age), np.log(age / truth["tau_gyr"]), at)
    light += share * burst(np.log(truth["burst_age_gyr"]), at)
    light *= formed_mass(truth["log_mstar"]) * SALPETER_PER_CHABRIER * L_SUN  # erg / s / Hz
    flux = (1 + z) * light / (4 * np.pi * luminosity_distance(z) ** 2)
    dimmed = np.asarray(truth["a_v"]) * dust.attenuation(R_BAND * 1e4 / (1 + z))
    return -2.5 * np.log10(flux) - 48.6 + dimmed + _EMILES_FAINTER


R_BAND = 0.6166  # um, where SDSS r looks
_EMILES_FAINTER = 0.27  # mag: the median by which E-MILES, the sky's templates, are fainter in r than `sky.starlight`


@lru_cache(maxsize=1)
def r_light():
    """L_nu in r per solar mass formed, of a history and of a burst: functions of (ln age, ln age/tau, ln 1+z) and of
    (ln age, ln 1+z)."""
    age, x, z = np.geomspace(0.1, 14, 30), np.geomspace(0.1, 40, 30), np.linspace(0, 1, 11)
    wave = np.sort(R_BAND / (1 + z))
    grid = [a.ravel() for a in np.meshgrid(age, x, indexing="ij")]
    smooth = starlight.starlight(grid[0], grid[0] / grid[1], wave, delayed=True)[:, ::-1].reshape(30, 30, 11)
    single = starlight.ssp(age_burst := np.geomspace(0.02, 4, 40), wave)[:, ::-1]
    smooth = _between((np.log(age), np.log(x), np.log1p(z)), np.log(smooth))
    return smooth, _between((np.log(age_burst), np.log1p(z)), np.log(single))


def _between(nodes, log_values: np.ndarray):
    """The function whose logarithm is `log_values` at `nodes`, linear between them and held beyond; a node per axis."""

    def function(*at: np.ndarray) -> np.ndarray:
        index = [np.interp(x, axis, np.arange(axis.size)) for x, axis in zip(at, nodes, strict=True)]
        # `RegularGridInterpolator` takes four times as long, half the time that it takes to draw a galaxy.
        return np.exp(map_coordinates(log_values, index, order=1, mode="nearest"))

    return function


@lru_cache(maxsize=1)
def _cosmos() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Redshifts, age of the universe [Gyr] and comoving volume per unit redshift there."""
    z = np.geomspace(1e-3, 10.0, 2000)
    return z, Planck18.age(z).to_value("Gyr"), Planck18.differential_comoving_volume(z).to_value("Mpc3/sr")


def age_of_universe(z: np.ndarray) -> np.ndarray:
    """Gyr, Planck 2018, for z up to 10."""
    return np.interp(z, *_cosmos()[:2])


def _redshift_and_mass(rng, n: int, z_range, survey: str) -> tuple[np.ndarray, np.ndarray]:
    """Redshifts and masses in proportion to volume and mass function, where a galaxy might be bright enough."""
    z = np.linspace(*z_range, 301)
    mass = np.linspace(*LOG_MSTAR, 401)
    zc, mc = 0.5 * (z[1:] + z[:-1]), 0.5 * (mass[1:] + mass[:-1])
    density = np.interp(zc, _cosmos()[0], _cosmos()[2])[:, None] * relations.mass_function(mc)
    if survey == "sdss_main":
        # The brightest galaxies have L_r = 4 L_sun per M_sun (M_sun = 4.65 in r), and redshift does not brighten them.
        density *= 4.65 - 2.5 * (mass[1:] + 0.6) + distance_modulus(z[:-1])[:, None] < R_LIMIT
        if not density.any():
            raise _too_faint("no galaxy", z_range)
    return within(rng, n, z, mass, np.cumsum(density))


def _too_faint(which: str, z_range) -> DataError:
    low, high = z_range
    problem = f"{which} at redshift {low:g}-{high:g} can be brighter than r = {R_LIMIT}"
    return DataError(problem, remedy='Begin at a lower redshift, or draw survey="volume".', row="z_range")


def within(rng, n: int, z: np.ndarray, mass: np.ndarray, cumulative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`n` redshifts and masses in cells between `z` and `mass`, chosen by the running sum of the cells' densities."""
    cell = np.searchsorted(cumulative, rng.random(n) * cumulative[-1]).clip(max=cumulative.size - 1)
    i, j = np.divmod(cell, mass.size - 1)
    return z[i] + rng.random(n) * (z[1] - z[0]), mass[j] + rng.random(n) * (mass[1] - mass[0])


def quiet_share(rng, log_mstar: np.ndarray) -> np.ndarray:
    """Probability of being quiescent, at a random density of surroundings.

    Peng+ 2010 count red galaxies: 4 % of them, by hand, are discs that form stars behind dust (Masters+ 2010,
    2010MNRAS.405..783M) or among the most luminous (Ogle+ 2016, 2016ApJ...817..109O).
    """
    log_density = rng.normal(0.3, 0.6, len(log_mstar))  # by hand: the spread of SDSS overdensities
    return 0.96 * relations.quiescent_fraction(log_mstar, log_density)


def history(rng, z: np.ndarray, log_mstar: np.ndarray, quiet_share: np.ndarray) -> dict[str, np.ndarray]:
    """Star formation, its history and the dust, whatever decides how bright a galaxy is."""
    n = len(z)
    quiescent = rng.random(n) < quiet_share
    offset = 0.3 * rng.standard_normal(n)
    sequence = relations.main_sequence(log_mstar, z)
    # Quiescent galaxies hardly form stars: 10^-12.5 / yr, below the limit where it is measured (Salim+ 2016,
    # 2016ApJS..227....2S). Some are on their way there, in the green valley between the peaks (Salim 2014,
    # 2014SerAJ.189....1S); their share fills the valley of the 4000 A break as in SDSS.
    leaving = rng.random(n) < np.interp(log_mstar, *IN_VALLEY)
    quiet_rate = np.where(leaving, VALLEY, -12.5) + 1.3 * offset
    log_sfr = np.where(quiescent, log_mstar + quiet_rate, sequence + offset)

    universe = age_of_universe(z)
    burst = rng.random(n) < np.interp(log_mstar, [8.5, 11], [0.15, 0.09]) * np.where(quiescent, 0.2, 1)
    burst_fraction = np.where(burst, 10 ** rng.uniform(-2.5, -1, n), 0.0)
    burst_age = np.where(burst, 10 ** rng.uniform(-1.3, 0.3, n), 1.0)  # at least 50 Myr: no light in the lines
    # Specific rate of the smooth part [1/Gyr]; bursts are over and add nothing to it.
    rate = 1e9 * 10**log_sfr / (formed_mass(log_mstar) * (1 - burst_fraction))
    # Quiescent: the mean star is as old as the light of early types says (Gallazzi+ 2006, 2006MNRAS.370.1106G), and
    # the history began a quarter earlier. Star-forming: begun early, massive ones first (downsizing; by hand).
    old = 1.25 * 10 ** (relations.early_type_age(log_mstar) - 9) / 12.5  # of the universe at redshift 0.1
    share = np.where(quiescent, old, 0.72 + 0.06 * (log_mstar - 10))
    age = universe * truncated(rng, share, np.where(quiescent, 0.13, 0.10), 0.15, 0.97)
    # A delayed history of age t forms at most 2/t of its mass per unit time: keep clear of that, smoothly.
    age = (age**-4 + (1.7 / rate) ** -4) ** -0.25
    return {
        "z": z, "log_mstar": log_mstar, "quiescent": quiescent, "log_sfr": log_sfr, "age_gyr": age,
        "tau_gyr": age / age_over_tau(rate * age), "burst_fraction": burst_fraction,
        "burst_age_gyr": np.minimum(burst_age, 0.8 * age), "quiet_share": quiet_share, "offset": offset,
    } | _dust(rng, z, log_mstar, np.where(leaving, 0.35, 0.25), quiescent, offset)  # fmt: skip


def age_over_tau(y: np.ndarray) -> np.ndarray:
    """x = age / tau of the delayed history whose specific rate times age is y: x^2 / (e^x - 1 - x) = y, 0 < y < 1.9."""
    x = np.geomspace(0.1, 60, 20000)
    return np.exp(np.interp(np.log(y), np.log(x**2 / (np.expm1(x) - x))[::-1], np.log(x)[::-1]))


def _dust(rng, z, log_mstar, quiet_a_v, quiescent, offset) -> dict[str, np.ndarray]:
    """A_V of the starlight from A(H alpha) with mass (Garn & Best 2010, 2010MNRAS.409..421G), inclination and SFR.

    quiet_a_v : mean A_V that quiescent galaxies have, by hand.
    """
    n = len(log_mstar)
    cos_i = rng.random(n)
    axis_ratio = np.sqrt(cos_i**2 + 0.2**2 * (1 - cos_i**2))
    # Discs dim with log(b/a)^2 (Unterborn & Ryden 2008, 2008ApJ...687..976U); its mean over all angles is 0.14.
    tilt = 1.27 * (np.log10(axis_ratio) ** 2 - 0.14)
    x = np.clip(log_mstar - 10, -1.33, 1.5)
    # Whole discs have less dust than the centres that fibres see (Iglesias-Paramo+ 2013, 2013A&A...553L...7I); the
    # number is by hand. Further away fibres see more of them, and discs have more gas.
    a_halpha = np.interp(z, [0.1, 0.4], [WHOLE, 1]) * (0.91 + 0.77 * x + 0.11 * x**2 - 0.09 * x**3)
    a_halpha += 0.2 * rng.standard_normal(n) + tilt
    # More gas, more stars and more dust at high mass, the reverse at low mass (Zahid+ 2013, 2013ApJ...763...92Z).
    a_halpha += 0.5 * offset * np.clip(log_mstar - 10, -0.5, 0.5)
    per_a_v = dust.line_attenuation([LINES["Halpha"]])[0]
    a_v = np.where(quiescent, quiet_a_v * rng.exponential(1, n), np.clip(a_halpha, 0.02, None) / per_a_v)
    return {"a_v": a_v, "inclination": np.degrees(np.arccos(cos_i))}
