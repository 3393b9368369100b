"""Stellar populations and histories: which mass of which age and metallicity a galaxy holds.

A galaxy is a row of truth: `log_mstar` [dex M_sun in living stars and remnants, Chabrier IMF], a delayed exponential
history t exp(-t / tau) that began `age_gyr` ago with `tau_gyr`, to which an instantaneous burst `burst_age_gyr` ago
adds `burst_fraction` of the total mass formed, one `metallicity` [M/H].

The populations are E-MILES, with two gaps filled (`from_emiles`): they begin at 63 Myr, and the youngest end at 8950 A.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from paper_utils.base.constants import C_AA_S, C_KMS, FWHM
from paper_utils.base.errors import DataError
from paper_utils.sky import starlight

V_BAND = (5070.0, 5950.0)  # Angstrom, the full width at half maximum of V
# Hot stars have shallower lines: relative depth at 3 Myr, rising with log age to 1 at 63 Myr. It makes H-beta's
# equivalent width 2-3 A in the youngest populations (Gonzalez Delgado+ 1999, 1999ApJS..125..489G).
YOUNG_LINES = 0.4
N_YOUNG = 9
# E-MILES' IMF is Salpeter's; masses of the truth are Chabrier's, as those of the surveys: for the same light Salpeter
# needs 0.25 dex more (Bernardi+ 2010, 2010MNRAS.404.2087B). Beyond that E-MILES is 0.03 dex heavier than the models of
# Taylor+ 2011 (2011MNRAS.418.1587T), on whose masses the mass function rests.
SALPETER_PER_CHABRIER = 1.9
# Columns of the truth table and the range of each; more than 600 km/s no galaxy has.
RANGES = {
    "log_mstar": (-20, 15), "age_gyr": (1e-3, 20), "tau_gyr": (1e-6, 100), "burst_fraction": (0, 1),
    "burst_age_gyr": (0, 20), "metallicity": (-5, 2), "a_v": (0, 50), "sigma_star": (0, 600),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Populations:
    """Single stellar populations from 1 Myr to 16 Gyr; the K = A x M of them are counted with metallicity fastest.

    ages : (A,) Gyr.   metals : (M,) [M/H].   wave_rest : (L,) vacuum Angstrom, the templates' own pixels.
    spectra : (A, M, L) float32, L_sun / Angstrom per solar mass formed.
    mass_left : (A, M) share of the mass formed that is still in stars and remnants.
    sigma : (L,) resolution of the spectra as a dispersion, km/s.
    """

    ages: np.ndarray
    metals: np.ndarray
    wave_rest: np.ndarray
    spectra: np.ndarray
    mass_left: np.ndarray
    sigma: np.ndarray


def from_emiles(emiles) -> Populations:
    """`Populations` from E-MILES, extended to the ages and wavelengths that it lacks.

    emiles : ages, metals, wave_rest, templates, masses, fwhm as in `paper_utils.files.templates.EMiles`.

    Below the youngest age T0, S(t) being the continuum of `sky.starlight` (a solar-metallicity synthesis, down to
    1 Myr): spectrum(t) = S(t) [f T0 / S(T0) + (1 - f) k], with k the ratio of the V light of the two at T0 and f the
    depth of the lines, from `YOUNG_LINES` to 1. At T0 it is E-MILES itself; V light fades as S does, from E-MILES'
    own, and every spectrum stays that of one solar mass formed. Beyond 8950 A, where the youngest models are empty, the
    next older one of the same metallicity that has light there continues them, times the ratio of S of the two ages,
    scaled to agree at 8500-8900 A. The young are a continuum with borrowed lines: not for their own indices.
    """
    wave, spectra = emiles.wave_rest, emiles.templates.astype(np.float32)
    youngest = emiles.ages[0]
    young = np.geomspace(1e-3, youngest, N_YOUNG + 1)[:-1] if youngest > 2e-3 else np.zeros(0)
    ages = np.concatenate([young, emiles.ages])
    s = _continuum(ages, wave)
    s_old = s[len(young) :]

    join, v = (wave > 8500) & (wave < 8900), (wave > V_BAND[0]) & (wave < V_BAND[1])
    for a, m in np.argwhere(spectra[:, :, -1] == 0):
        older = a + np.argmax(spectra[a:, m, -1] > 0)
        empty = (spectra[a, m] == 0) & (wave > wave[join][-1])
        model = spectra[older, m] * s_old[a] / s_old[older]
        spectra[a, m, empty] = model[empty] * (spectra[a, m, join].mean() / model[join].mean())

    k = spectra[0][:, v].mean(axis=1) / s_old[0, v].mean()  # (M,)
    f = np.clip(1 + (1 - YOUNG_LINES) * np.log(young / youngest) / np.log(youngest / 3e-3), YOUNG_LINES, 1)
    f = f[:, None, None]  # (A_young, 1, 1)
    hot = s[: len(young), None] * (f * (spectra[0] / s_old[0]) + (1 - f) * k[:, None])  # (A_young, M, L)
    # Nothing dies before 3 Myr; then the mass left falls with log age to what E-MILES gives at its youngest.
    dead = np.clip(np.log(young / 3e-3) / np.log(youngest / 3e-3), 0, 1)[:, None] * (1 - emiles.masses[0])
    spectra = np.concatenate([hot, spectra]).astype(np.float32)
    mass_left = np.concatenate([1 - dead, emiles.masses])
    return Populations(ages, emiles.metals, wave, spectra, mass_left, sigma=emiles.fwhm / FWHM / wave * C_KMS)


def weights(params, ssps: Populations, device: str = "cpu"):
    """Solar masses formed in each population, (N, K) float32 tensor on `device`.

    params : table of N galaxies with the columns of `RANGES`. Mass is shared linearly in log age and in [M/H]; ages and
    metallicities beyond the grid count at its ends. Summed with `mass_left` they give SALPETER_PER_CHABRIER x
    10**log_mstar. Raises DataError naming the row and column that makes no sense.
    """
    p = {name: torch.as_tensor(column, device=device) for name, column in checked(params).items()}
    nodes = torch.as_tensor(np.log(ssps.ages), device=device)
    # Mass formed between fine steps of stellar age, from the closed form of the history's integral; float64, because
    # the youngest shares are small differences.
    edges = torch.as_tensor(np.concatenate([[0.0], np.geomspace(ssps.ages[0], max(ssps.ages[-1], 20), 400)]))
    middle = torch.sqrt(edges[1:] * edges[:-1].clamp(min=float(ssps.ages[0]) / 2))
    x = ((p["age_gyr"][:, None] - edges.to(device)) / p["tau_gyr"][:, None]).clamp(0, 700)  # (N, E)
    later = -(1 + x) * torch.exp(-x)  # the integral up to a constant
    formed = -torch.diff(later) / (1 + later[:, :1])
    formed = formed * (1 - p["burst_fraction"])[:, None]
    by_age = formed @ _hats(middle.log().to(device), nodes)  # (N, A)
    by_age = by_age + p["burst_fraction"][:, None] * _hats(p["burst_age_gyr"].clamp(min=1e-6).log(), nodes)
    by_metal = _hats(p["metallicity"], torch.as_tensor(ssps.metals, device=device))  # (N, M)
    share = (by_age[:, :, None] * by_metal[:, None, :]).flatten(1)  # (N, K)
    left = share @ torch.as_tensor(ssps.mass_left.ravel(), device=device)
    mass = SALPETER_PER_CHABRIER * 10 ** p["log_mstar"]
    return (share * (mass / left)[:, None]).float()


def checked(params, ranges=RANGES, use: str = "Starlight", text=()) -> dict[str, np.ndarray]:
    """The columns of `ranges` from a table, float64; DataError naming a missing column or a row out of its range.

    text : further columns that must be there.
    """
    needed = [*ranges, *text]
    if missing := [name for name in needed if name not in params.colnames]:
        raise DataError(f"no column {', '.join(missing)}", remedy=f"{use} needs {', '.join(needed)}.", row="truth")
    columns = {name: np.asarray(params[name], float) for name in ranges}
    for name, (low, high) in ranges.items():
        good = (columns[name] >= low) & (columns[name] <= high) & np.isfinite(columns[name])
        if not good.all():
            row = int(np.argmin(good))
            raise DataError(
                f"{name} is {columns[name][row]:g}", remedy=f"It lies between {low:g} and {high:g}.", row=f"row {row}"
            )
    return columns


def _continuum(ages: np.ndarray, wave: np.ndarray) -> np.ndarray:
    """L_lambda (A, L) of `starlight`'s populations [L_sun / Angstrom / M_sun]; smooth, so a coarse grid will do."""
    coarse = np.geomspace(wave[0], wave[-1], 3000)
    l_lambda = starlight.ssp(ages, coarse * 1e-4) * C_AA_S / coarse**2
    return np.stack([np.exp(np.interp(np.log(wave), np.log(coarse), np.log(row))) for row in l_lambda])


def _hats(x, nodes):
    """Linear interpolation weights (N, len(nodes)) of `x` (N,) on increasing `nodes`, held at the ends."""
    right = torch.searchsorted(nodes, x).clamp(1, nodes.numel() - 1)[:, None]
    share = ((x[:, None] - nodes[right - 1]) / (nodes[right] - nodes[right - 1])).clamp(0, 1)
    hats = torch.zeros(len(x), nodes.numel(), dtype=nodes.dtype, device=nodes.device)
    return hats.scatter(1, right - 1, 1 - share).scatter(1, right, share)
