"""Magnitudes of millions of galaxies without their spectra.

Light in a band is linear in the masses of a galaxy's populations: a `LightTable` holds the light of each population in
each band over redshift and dust, emission lines and nuclei are added one by one. Agrees with the photometry of full
spectra (`sdss_spectra.magnitudes`) to 0.01 mag at a thousandth of the work.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from astropy.table import Table

from paper_utils.base import dust, intergalactic
from paper_utils.base.constants import C_AA_S, DEEP_Z, L_SUN
from paper_utils.base.distances import luminosity_distance
from paper_utils.base.errors import DataError
from paper_utils.base.filters import Curves
from paper_utils.base.photometry import responses
from paper_utils.base.rebin import spline_means
from paper_utils.base.wavelengths import LINES, log_grid, pixel_edges
from paper_utils.sky import nebular, starlight, stellar
from paper_utils.sky.components import components
from paper_utils.sky.populations import Populations, checked, weights

ULTRAVIOLET = (480.0, 1700.0, 1900.0)  # Angstrom: where the continuation begins, where it ends, where it agrees
ESCAPE = 0.05  # of the ionising light passes a galaxy's own gas; by hand, 0.09 at z = 3 by Steidel+ 2018, less later
TINY = 1e-30  # L_sun / Hz: what has no stars has no light, but a logarithm
STEP = 0.005  # of the table in ln(1 + z): a tenth of an ALHAMBRA band
# A_V of the table: between these, magnitudes are interpolated.
A_V = np.array([0.0, 0.08, 0.18, 0.3, 0.44, 0.6, 0.8, 1.04, 1.34, 1.72, 2.2, 3.0])


def extended(ssps: Populations) -> Populations:
    """`ssps` continued to 480 Angstrom by `sky.starlight`'s populations of the same ages (solar metallicity).

    Scaled for each age and metallicity to agree at 1700-1900 Angstrom; below 912 `ESCAPE` of it is left, the step
    blurred over 1 % as by the last lines of the series. Returned as they are where they reach so far.
    """
    low, join, end = ULTRAVIOLET
    if ssps.wave_rest[0] <= low:
        return ssps
    added = np.arange(low, join, 2.0)
    wave = np.concatenate([added, ssps.wave_rest[ssps.wave_rest >= join]])
    agree = (ssps.wave_rest >= join) & (ssps.wave_rest <= end)
    smooth = starlight.ssp(ssps.ages, wave[wave <= end] * 1e-4) / wave[wave <= end] ** 2  # (A, L) as F_lambda
    scale = ssps.spectra[:, :, agree].mean(-1) / smooth[:, len(added) :].mean(-1)[:, None]
    passes = ESCAPE + (1 - ESCAPE) / (1 + (intergalactic.LYMAN_LIMIT / added) ** 300)
    continuation = scale[:, :, None] * (smooth[:, : len(added)] * passes)[:, None]
    spectra = np.concatenate([continuation, ssps.spectra[:, :, ssps.wave_rest >= join]], axis=-1)
    sigma = np.interp(wave, ssps.wave_rest, ssps.sigma)
    return replace(ssps, wave_rest=wave, spectra=spectra.astype(np.float32), sigma=sigma)


@dataclass(frozen=True, eq=False)
class LightTable:
    """Light of single populations in bands, over redshift and dust; made by `light_table`.

    z : (Z,).   light : (Z, K, A * B) float32 tensor, L_sun / Hz per solar mass formed, dust `A_V` outer.
    curves : the bands.   norm : (B,) int R dln(lambda) of each.
    arrives : (Z, B) what the hydrogen on the way (`intergalactic`) leaves of a flat spectrum; it is in `light`.
    """

    z: np.ndarray
    light: object
    curves: Curves
    norm: np.ndarray
    arrives: np.ndarray
    ssps: Populations


def light_table(ssps: Populations, curves: Curves, z_max: float = DEEP_Z[1]) -> LightTable:
    """The `LightTable` of these populations and bands up to z_max (seconds, 90 MB for 24 bands: keep it).

    curves : band -> (observed wavelength [vacuum Angstrom], response per photon).
    Raises DataError if a band leaves the populations at some redshift from 0 to z_max.
    """
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
    wave = log_grid(low * 1.0001, high * 0.999, kms=200.0)
    edges = np.exp(pixel_edges(np.log(wave)))
    means = spline_means(full.wave_rest, full.spectra.reshape(-1, full.wave_rest.size), edges)
    young = np.repeat(full.ages < stellar.BIRTH_CLOUD_GYR, full.metals.size)
    depth = A_V[:, None] * np.where(young, 1 / dust.STARS_PER_GAS, 1.0)  # (A, K)
    depth, law, means = (torch.as_tensor(values).float() for values in (depth, dust.attenuation(wave), means))
    dusty = (depth[..., None] * (-0.4 * np.log(10) * law)).exp_().mul_(means).flatten(0, 1)  # (A * K, L)
    light = torch.empty(len(z), len(means), len(A_V), len(curves))
    passes = np.empty((len(z), len(curves)))
    for start in range(0, len(z), 16):
        part = slice(start, start + 16)
        # AB: the mean of F_nu, photon by photon; even steps of log wavelength make the mean a sum.
        seen = wave * (1 + z[part, None])
        response = responses(curves, seen)  # (Z, L, B)
        response /= response.sum(axis=1, keepdims=True)
        response *= intergalactic.transmission(seen, z[part])[..., None]
        passes[part] = response.sum(axis=1)
        response *= (wave**2 / C_AA_S)[:, None]
        first, last = np.flatnonzero(response.any(axis=(0, 2)))[[0, -1]]
        folded = torch.as_tensor(response[:, first : last + 1].astype(np.float32)).transpose(0, 1).flatten(1)
        found = dusty[:, first : last + 1] @ folded
        light[part] = found.unflatten(1, (-1, len(curves))).unflatten(0, (len(A_V), -1)).permute(2, 1, 0, 3)
    norm = np.array([np.trapezoid(r / w, w) for w, r in curves.values()])
    return LightTable(z, light.flatten(2), dict(curves), norm, passes, ssps)


def magnitudes(truth: Table, table: LightTable) -> np.ndarray:
    """Apparent AB magnitudes (N, B) of the galaxies of a truth table, stars, dust and lines; z above 1e-5.

    As `sdss_spectra.magnitudes`, to 0.01 mag, without making a spectrum. Lines are taken as infinitely narrow.
    Raises DataError for a redshift outside the table.
    """
    checked(truth, {"z": (1e-5, table.z[-1])}, "The light table")
    both = components(truth)
    z, a_v = np.asarray(both["z"]), np.asarray(both["a_v"])
    order, stars = np.argsort(z, kind="stable"), np.empty((len(both), len(table.curves)))
    for rows in np.split(order, range(4096, len(order), 4096)):  # no more at once: the histories fill the memory
        stars[rows] = starlight_of(weights(both[rows], table.ssps), z[rows], a_v[rows], table)
    bulge, disc = stars.reshape(2, len(truth), -1)
    return -2.5 * np.log10(bulge + disc + gas(truth, table))


def starlight_of(mass: torch.Tensor, z: np.ndarray, a_v: np.ndarray, table: LightTable) -> np.ndarray:
    """Fluxes (N, B) [AB maggies: 1 is magnitude 0] of stars behind dust.

    mass : (N, K) solar masses in the populations (`populations.weights`), on any device.   z, a_v : (N,).
    Raises DataError for a redshift outside the table.
    """
    checked(Table({"z": z}), {"z": (1e-5, table.z[-1])}, "The light table")
    at = np.log1p(z) / STEP
    cell = np.minimum(at.astype(int), len(table.z) - 2)
    order = np.argsort(cell, kind="stable")
    share = torch.as_tensor(at - cell, dtype=torch.float32, device=mass.device)[:, None]
    nodes, dusty = table.light.to(mass.device), torch.empty(len(mass), table.light.shape[2], device=mass.device)
    for rows in np.split(order, np.flatnonzero(np.diff(cell[order])) + 1):
        at_cell, chosen = cell[rows[0]], torch.as_tensor(rows, device=mass.device)
        ends = (mass[chosen] @ nodes[at_cell + end] for end in (0, 1))
        dusty[chosen] = torch.lerp(*ends, share[chosen])
    light = _behind(dusty.cpu().numpy().reshape(len(mass), len(A_V), -1), a_v)
    return light * _arrives(z)


def _arrives(z: np.ndarray) -> np.ndarray:
    """AB maggies of 1 L_sun / Hz, (N, 1)."""
    return ((1 + z) * L_SUN / (4 * np.pi * luminosity_distance(z) ** 2) * 10 ** (0.4 * 48.6))[:, None]


def _behind(dusty: np.ndarray, a_v: np.ndarray) -> np.ndarray:
    """Light (N, B) behind a_v (N,), from that at the nodes `A_V`, (N, A, B): logarithms are parabolas of dust."""
    right, rows = np.clip(np.searchsorted(A_V, a_v), 1, len(A_V) - 2) + 1, np.arange(len(a_v))
    log_light = 0.0
    for i, j, k in ((0, 1, 2), (1, 0, 2), (2, 0, 1)):
        at, *others = (A_V[right - n] for n in (i, j, k))
        share = np.prod([(a_v - other) / (at - other) for other in others], axis=0)
        log_light = log_light + share[:, None] * np.log(np.maximum(dusty[rows, right - i], TINY))
    return np.exp(log_light)


def gas(truth: Table, table: LightTable, seen=(1.0, 1.0, 1.0)) -> np.ndarray:
    """Fluxes (N, B) [AB maggies] of lines and of what nuclei scatter; `seen` as in `nebular.luminosities`."""
    order = np.argsort(np.asarray(truth["z"]), kind="stable")  # a band sees a slice of them
    truth = truth[order]
    z = np.asarray(truth["z"], float)
    lines = nebular.luminosities(truth, seen=seen) / L_SUN
    light = np.zeros((len(z), len(table.curves)))
    for line, rest in zip(lines.T, LINES.values(), strict=True):
        for b, (wave, response) in enumerate(table.curves.values()):
            part = slice(*np.searchsorted(z, [wave[0] / rest - 1, wave[-1] / rest - 1]))
            at = np.interp(rest * (1 + z[part]), wave, response)
            light[part, b] += line[part] * at * rest / (C_AA_S * table.norm[b])
    # The power law of active nuclei, L_nu = L_lambda lambda^2 / c, at the rest wavelengths that a band sees.
    power = 2 + nebular.SCATTERED_SLOPE
    in_band = [np.trapezoid(r * w ** (power - 1), w) for w, r in table.curves.values()] / table.norm
    nucleus = seen[2] * nebular.scattered(truth) / L_SUN * 5100.0**-nebular.SCATTERED_SLOPE / C_AA_S * (1 + z) ** -power
    passes = np.stack([np.interp(z, table.z, column) for column in table.arrives.T], axis=1)
    out = np.empty_like(light)
    out[order] = (light + nucleus[:, None] * in_band * passes) * _arrives(z)
    return out
