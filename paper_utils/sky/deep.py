"""The mock sky at depth: galaxies to redshift 2 for surveys of millions of objects, with magnitudes in any set of bands.

`sky.galaxies` draws what SDSS sees; here the mass function, the share of quiescent galaxies, their ages and sizes move
with redshift. Magnitudes of a galaxy come without its spectrum: they are linear in the masses of its populations, so a
`LightTable` holds the light of each population in each band over redshift and dust, and lines are added one by one.

Simplified: no clustering, no intergalactic absorption (it would touch the bluest band beyond z = 1.9), no light of
quasars, no blends; below 1700 Angstrom the smooth `sky.starlight` continues the templates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from astropy.table import Table
from scipy.special import expit

from paper_utils.errors import DataError
from paper_utils.sky import galaxies, nebular, relations, starlight, stellar
from paper_utils.sky.populations import C_KMS, RANGES, Populations, weights

Z_MAX = 2.0
LOG_MSTAR = (6.0, 12.0)
ULTRAVIOLET = (980.0, 1700.0, 1900.0)  # Angstrom: where the continuation begins, where it ends, where it agrees
STEP = 0.005  # of the table in ln(1 + z): a tenth of an ALHAMBRA band
# A_V of the table: between these, magnitudes are interpolated.
A_V = np.array([0.0, 0.1, 0.22, 0.36, 0.52, 0.72, 1.0, 1.4, 2.0, 3.0])
# Davidzon+ 2017 (2017A&A...605A..70D), table 1, at the middle of their bins of redshift: log M*, alpha_1, phi_1
# [1e-3 / Mpc3], alpha_2, phi_2.
_DAVIDZON_Z = np.array([0.35, 0.65, 0.95, 1.3, 1.75])
_DAVIDZON = np.array(
    [
        (10.78, -1.38, 1.187, -0.43, 1.92), (10.77, -1.36, 1.070, 0.03, 1.68), (10.56, -1.31, 1.428, 0.51, 2.19),
        (10.62, -1.28, 1.069, 0.29, 1.21), (10.51, -1.28, 0.969, 0.82, 0.64),
    ]
)  # fmt: skip
COLUMNS = (*galaxies.COLUMNS[1:],)


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


def extended(ssps: Populations) -> Populations:
    """`ssps` continued to 980 Angstrom by `sky.starlight`'s populations of the same ages (solar metallicity).

    Scaled for each age and metallicity to agree at 1700-1900 Angstrom. Returned as they are where they reach so far.
    """
    low, join, end = ULTRAVIOLET
    if ssps.wave_rest[0] <= low:
        return ssps
    added = np.arange(low, join, 2.0)
    wave = np.concatenate([added, ssps.wave_rest[ssps.wave_rest >= join]])
    agree = (ssps.wave_rest >= join) & (ssps.wave_rest <= end)
    smooth = starlight.ssp(ssps.ages, wave[wave <= end] * 1e-4) / wave[wave <= end] ** 2  # (A, L) as F_lambda
    scale = ssps.spectra[:, :, agree].mean(-1) / smooth[:, len(added) :].mean(-1)[:, None]
    continuation = scale[:, :, None] * smooth[:, None, : len(added)]
    spectra = np.concatenate([continuation, ssps.spectra[:, :, ssps.wave_rest >= join]], axis=-1)
    sigma = np.interp(wave, ssps.wave_rest, ssps.sigma)
    return replace(ssps, wave_rest=wave, spectra=spectra.astype(np.float32), sigma=sigma)


@dataclass(frozen=True, eq=False)
class LightTable:
    """Light of single populations in bands, over redshift and dust; made by `light_table`.

    z : (Z,).   light : (Z, K, A * B) float32 tensor, L_sun / Hz per solar mass formed, dust `A_V` outer.
    curves : the bands.   norm : (B,) int R dln(lambda) of each.
    """

    z: np.ndarray
    light: object
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]]
    norm: np.ndarray
    ssps: Populations


def light_table(
    ssps: Populations, curves: Mapping[str, tuple[np.ndarray, np.ndarray]], z_max: float = Z_MAX
) -> LightTable:
    """The `LightTable` of these populations and bands up to z_max (seconds, 60 MB for 24 bands: keep it).

    curves : band -> (observed wavelength [vacuum Angstrom], response per photon).
    Raises DataError if a band leaves the populations at some redshift from 0 to z_max.
    """
    import torch

    z = np.expm1(np.arange(0, np.log1p(z_max) + STEP, STEP))
    full = extended(ssps)
    low = min(wave[0] for wave, _ in curves.values()) / (1 + z[-1])
    high = max(wave[-1] for wave, _ in curves.values())
    if low < full.wave_rest[0] or high > full.wave_rest[-1]:
        raise DataError(
            f"at redshift 0-{z[-1]:.2f} the bands need {low:.0f}-{high:.0f} A, "
            f"the populations cover {full.wave_rest[0]:.0f}-{full.wave_rest[-1]:.0f} A",
            remedy="Leave bands out or stay at lower redshift.",
            row="curves",
        )
    wave = stellar.log_grid(low * 1.0001, high * 0.999, kms=200.0)
    spectra = torch.as_tensor(_means(full, wave))  # (K, L)
    # AB: the mean of F_nu, photon by photon; even steps of log wavelength make the mean a sum.
    response = np.stack([band_responses(curves, wave * (1 + at)) for at in z], axis=1)  # (L, Z, B)
    response *= (wave**2 / (C_KMS * 1e13))[:, None, None] / response.sum(axis=0)
    response = torch.as_tensor(response, dtype=torch.float32)
    young = np.repeat(full.ages < stellar.BIRTH_CLOUD_GYR, full.metals.size)
    law = stellar.attenuation(wave)
    light = torch.empty(len(z), len(spectra), len(A_V), len(curves))
    for j, a_v in enumerate(A_V):
        depth = np.where(young, a_v / stellar.STARS_PER_GAS, a_v)[:, None] * law
        seen = spectra * torch.as_tensor(10 ** (-0.4 * depth), dtype=torch.float32)
        light[:, :, j] = (seen @ response.flatten(1)).unflatten(1, response.shape[1:]).transpose(0, 1)
    norm = [np.trapezoid(r / w, w) for w, r in curves.values()]
    return LightTable(z, light.flatten(2), dict(curves), np.array(norm), ssps)


def magnitudes(truth: Table, table: LightTable) -> np.ndarray:
    """Apparent AB magnitudes (N, B) of the galaxies of a truth table, stars, dust and lines; z above 0.

    As `optical.magnitudes`, to 0.01 mag, without making a spectrum. Lines are taken as infinitely narrow.
    Raises DataError for a redshift outside the table.
    """
    import torch

    z = np.asarray(truth["z"], float)
    if (bad := np.flatnonzero(~((z > 0) & (z < table.z[-1])))).size:
        raise DataError(
            f"the redshift is {z[bad[0]]:g}", remedy=f"The table covers 0-{table.z[-1]:.2f}.", row=f"row {bad[0]}"
        )
    order = np.argsort(z, kind="stable")
    rows = truth[[*RANGES, "z"]][order]
    z = z[order]
    at = np.log1p(z) / STEP
    cell = at.astype(int)
    light = np.empty((len(z), len(table.curves)))
    starts = np.flatnonzero(np.diff(cell, prepend=-1))
    starts = np.union1d(starts, np.arange(0, len(z), 4096))  # no more at once: the histories fill the memory
    for start, stop in zip(starts, [*starts[1:], len(z)], strict=True):
        part = slice(start, stop)
        mass = weights(rows[part], table.ssps)
        share = torch.as_tensor(at[part] - cell[start], dtype=torch.float32)[:, None]
        dusty = torch.lerp(mass @ table.light[cell[start]], mass @ table.light[cell[start] + 1], share)
        light[part] = _behind(dusty.numpy().reshape(len(mass), len(A_V), -1), np.asarray(rows["a_v"][part], float))
    light += _line_light(truth[order], z, table)
    flux = light * ((1 + z) * stellar.L_SUN / (4 * np.pi * stellar.luminosity_distance(z) ** 2))[:, None]
    out = np.empty_like(light)
    out[order] = -2.5 * np.log10(flux) - 48.6
    return out


def band_responses(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], wave: np.ndarray) -> np.ndarray:
    """Response per photon of each band at `wave` (L,): (L, B), zero outside a curve."""
    return np.stack([np.interp(wave, w, r, left=0, right=0) for w, r in curves.values()], axis=-1)


def _behind(dusty: np.ndarray, a_v: np.ndarray) -> np.ndarray:
    """Light (N, B) behind a_v (N,), from that at the nodes `A_V`, (N, A, B): magnitudes are almost linear in dust."""
    right = np.searchsorted(A_V[1:-1], a_v) + 1
    share = ((a_v - A_V[right - 1]) / (A_V[right] - A_V[right - 1]))[:, None]
    rows = np.arange(len(a_v))
    return dusty[rows, right - 1] ** (1 - share) * dusty[rows, right] ** share


def _line_light(truth: Table, z: np.ndarray, table: LightTable) -> np.ndarray:
    """Light of the lines in the bands (N, B) [L_sun / Hz]; rows in order of `z`, so each band sees a slice of them."""
    lines = nebular.luminosities(truth) / stellar.L_SUN
    out = np.zeros((len(z), len(table.curves)))
    for line, rest in zip(lines.T, nebular.LINES.values(), strict=True):
        for b, (wave, response) in enumerate(table.curves.values()):
            part = slice(*np.searchsorted(z, [wave[0] / rest - 1, wave[-1] / rest - 1]))
            seen = np.interp(rest * (1 + z[part]), wave, response)
            out[part, b] += line[part] * seen * rest / (C_KMS * 1e13 * table.norm[b])
    return out


def _means(ssps: Populations, wave: np.ndarray) -> np.ndarray:
    """Means of the populations over pixels centred on `wave`, (K, L) float32."""
    edges = np.exp(stellar.pixel_edges(np.log(wave))).clip(*ssps.wave_rest[[0, -1]])
    flux = ssps.spectra.reshape(-1, ssps.wave_rest.size)
    steps = np.diff(ssps.wave_rest)
    total = np.zeros(flux.shape)
    np.cumsum((flux[:, 1:] + flux[:, :-1]) * (0.5 * steps), axis=1, out=total[:, 1:])
    right = np.searchsorted(ssps.wave_rest, edges).clip(1, ssps.wave_rest.size - 1)
    share = (edges - ssps.wave_rest[right - 1]) / steps[right - 1]
    at = total[:, right - 1] * (1 - share) + total[:, right] * share
    return (np.diff(at, axis=1) / np.diff(edges)).astype(np.float32)


def draw(
    n: int,
    rng: np.random.Generator,
    table: LightTable,
    band: str,
    limit: float,
    detected: Callable[[np.ndarray], np.ndarray],
) -> tuple[Table, np.ndarray, float]:
    """`n` galaxies that a survey detects: their truth, magnitudes (n, B), and the solid angle that holds them [deg2].

    band, limit : nothing fainter than this is ever detected.   detected : magnitudes in `band` -> probability.
    Truth has the columns of `galaxies.draw` but id. Masses are drawn from `mass_function` per comoving volume.
    """
    b = list(table.curves).index(band)
    proposals = _Proposals(table.z[-2], limit)
    parts, found, tried, kept = [], 0, 0, 0.2
    while found < n:
        size = min(int(1.05 * (n - found) / kept) + 200, 300_000)
        part = _galaxies(rng, *proposals.draw(rng, size))
        seen = magnitudes(part, table)
        keep = rng.random(size) < detected(seen[:, b]) * (seen[:, b] < limit)
        parts.append((part[keep], seen[keep]))
        tried, found = tried + size, found + keep.sum()
        kept = (found + 1) / (tried + 1)
    truth = Table({name: np.concatenate([np.asarray(t[name]) for t, _ in parts])[:n] for name in parts[0][0].colnames})
    area = tried * n / found / proposals.per_deg2
    return truth, np.concatenate([m for _, m in parts])[:n], area


class _Proposals:
    """Redshifts and masses in proportion to volume and mass function, wherever a galaxy might be bright enough."""

    def __init__(self, z_max: float, limit: float):
        from astropy.cosmology import Planck18

        z, mass = np.linspace(0.005, z_max, 401), np.linspace(*LOG_MSTAR, 301)
        self.z, self.mass = z, mass
        zc, mc = 0.5 * (z[1:] + z[:-1]), 0.5 * (mass[1:] + mass[:-1])
        volume = Planck18.differential_comoving_volume(zc).to_value("Mpc3/sr") * np.radians(1) ** 2
        density = volume[:, None] * mass_function(mc, zc) * (z[1] - z[0]) * (mass[1] - mass[0])
        density *= brightest(mass[1:], zc[:, None]) < limit
        self.cumulative = np.cumsum(density.ravel())
        self.per_deg2 = self.cumulative[-1]

    def draw(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        cell = np.searchsorted(self.cumulative, rng.random(n) * self.per_deg2).clip(max=self.cumulative.size - 1)
        i, j = np.divmod(cell, self.mass.size - 1)
        z, mass = self.z, self.mass
        return z[i] + rng.random(n) * (z[1] - z[0]), mass[j] + rng.random(n) * (mass[1] - mass[0])


def brightest(log_mstar: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Magnitude in a red band than which hardly a galaxy of this mass and redshift is brighter."""
    modulus = 5 * np.log10(stellar.luminosity_distance(z) / 3.0857e19)
    return 1.3 - 0.75 * np.asarray(z) - 2.5 * np.asarray(log_mstar) + modulus


def _galaxies(rng: np.random.Generator, z: np.ndarray, log_mstar: np.ndarray) -> Table:
    """All columns of truth; as `galaxies.draw`, but for what moves with redshift."""
    part = _history(rng, z, log_mstar)
    part |= galaxies._structure(rng, part)
    today, _ = relations.half_light_radius(log_mstar, part["quiescent"])
    part["r_e"] *= 10 ** (half_light_radius(log_mstar, part["quiescent"], z) - today)
    # The fundamental metallicity relation holds at all these redshifts: what counts is the excess over today's rate.
    excess = np.where(part["quiescent"], 0, part["log_sfr"] - relations.main_sequence(log_mstar))
    part |= galaxies._metals(rng, part | {"offset": excess})
    part |= galaxies._nucleus(rng, part)
    return Table({name: part[name] for name in COLUMNS}, units=galaxies.UNITS)


def _history(rng: np.random.Generator, z: np.ndarray, log_mstar: np.ndarray) -> dict[str, np.ndarray]:
    """Star formation, its history and the dust; see `galaxies._history` for the sources."""
    n = len(z)
    quiet_share = quiescent_fraction(log_mstar, z)
    quiescent = rng.random(n) < quiet_share
    offset = 0.3 * rng.standard_normal(n)
    sequence = relations.main_sequence(log_mstar, z)
    log_sfr = np.where(quiescent, log_mstar - 11.9 + 1.3 * offset, sequence + offset)
    universe = age_of_universe(z)
    burst = rng.random(n) < np.where(quiescent, 0.03, np.interp(log_mstar, [8.5, 11], [0.15, 0.05]))
    burst_fraction = np.where(burst, 10 ** rng.uniform(-2.5, -1, n), 0.0)
    burst_age = np.where(burst, 10 ** rng.uniform(-1.3, 0.3, n), 1.0)
    rate = 1e9 * 10**log_sfr / (galaxies.formed_mass(log_mstar) * (1 - burst_fraction))
    old = 1.25 * 10 ** (0.32 + 0.29 * relations.velocity_dispersion(log_mstar)) / 13.79
    share = np.where(quiescent, old, 0.72 + 0.06 * (log_mstar - 10))
    age = universe * galaxies._truncated(rng, share, np.where(quiescent, 0.12, 0.10), 0.15, 0.97)
    age = (age**-4 + (1.7 / rate) ** -4) ** -0.25
    return {
        "z": z, "log_mstar": log_mstar, "quiescent": quiescent, "log_sfr": log_sfr, "age_gyr": age,
        "tau_gyr": age / galaxies._age_over_tau(rate * age), "burst_fraction": burst_fraction,
        "burst_age_gyr": np.minimum(burst_age, 0.8 * age), "quiet_share": quiet_share, "offset": offset,
    } | galaxies._dust(rng, log_mstar, quiescent, offset)  # fmt: skip


@lru_cache(maxsize=1)
def _ages() -> tuple[np.ndarray, np.ndarray]:
    from astropy.cosmology import Planck18

    z = np.linspace(0, 10, 2001)
    return z, Planck18.age(z).to_value("Gyr")


def age_of_universe(z: np.ndarray) -> np.ndarray:
    """Gyr, Planck 2018, for z up to 10."""
    return np.interp(z, *_ages())
