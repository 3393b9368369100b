"""The mock library of study 1: ultraviolet to millimetre spectra of starburst, host and AGN torus.

A stand-in for the CYGNUS radiative-transfer library of Rissaki+ 2023 (Table A.1): the same 10 parameters with the same
ranges, the same 223 wavelength bins, built from simple transfer that conserves energy exactly on the grid.

- Starburst: star clusters 0-35 Myr old, each in a giant molecular cloud that its H II region pushes apart
  (after Efstathiou+ 2000, 2000MNRAS.313..734E).
- Host: stars of 1.32 Gyr mixed with dust in one starlight intensity (after Efstathiou & Rowan-Robinson 2003,
  2003MNRAS.343..322E).
- Torus: tapered disc around an accretion disc (after Efstathiou & Rowan-Robinson 1995, 1995MNRAS.273..649E).

Numbers without a reference (PAH and small-grain shares, widths of transitions) were set by eye so that the components
look like observed starbursts, discs and quasars. They are not fitted to anything.

Spectra are F_nu in any unit such that the integral of F_nu / wave over ln(wave) is the power.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from astropy.table import Table

from paper_utils.base.containers import WAVE_UM, SedLibrary
from paper_utils.sky import starlight, transfer
from paper_utils.sky.transfer import locate, log_loss, onion, shell_edges, shell_light, sphere_escape, unit_power

HOST_AGE_GYR = 1.32  # fixed in the paper (Sec. 3.1)
FRACTIONS = {"starburst": "f_SB", "torus": "f_AGN", "host": "f_s"}  # shares of the bolometric luminosity as seen


class Parameter(NamedTuple):
    name: str
    symbol: str
    low: float
    high: float
    unit: str
    component: str


# Rissaki+ 2023, Table A.1.
PARAMETERS = tuple(Parameter(*row) for row in (
    ("tau_V", "τ_V", 50, 250, "", "starburst"), ("tau_star", "τ_*", 10, 30, "Myr", "starburst"),
    ("t_star", "t_*", 5, 35, "Myr", "starburst"), ("tau_s", "τ^s", 0.125, 8, "Gyr", "host"),
    ("psi_s", "ψ^s", 1, 17, "", "host"), ("tau_v_s", "τ_v^s", 0.1, 15, "", "host"),
    ("tau_uv", "τ_uv", 250, 1450, "", "torus"), ("r2_r1", "r_2/r_1", 20, 100, "", "torus"),
    ("theta_o", "θ_o", 30, 75, "deg", "torus"), ("theta_i", "θ_i", 0, 90, "deg", "torus"),
))  # fmt: skip


def draw(n: int, seed: int) -> Table:
    """Parameters of `n` galaxies: `id`, the ten of Table A.1 (uniform in their ranges) and the three FRACTIONS.

    The fractions follow a Dirichlet(1, 0.7, 0.7) distribution: galaxies dominated by any component, and all mixtures.
    """
    rng = np.random.default_rng(seed)
    columns = {"id": [f"mock-{seed}-{i:06d}" for i in range(n)]}
    columns |= {p.name: rng.uniform(p.low, p.high, n) for p in PARAMETERS}
    columns |= dict(zip(FRACTIONS.values(), rng.dirichlet([1.0, 0.7, 0.7], n).T, strict=True))
    return Table(columns, units={p.name: p.unit for p in PARAMETERS if p.unit})


# --- starburst ----------------------------------------------------------------------------------------------
_CLOUD_AGE_MYR = np.arange(0.5, 35.0)  # middles of bins of 1 Myr
_CLOUD_TAU = np.linspace(50.0, 250.0, 41)


@lru_cache(maxsize=4)
def _clouds(device: str):
    """Clusters in clouds: direct and thermal (K tau, A ages, L), intrinsic light (A, L) of power 1, and power (A,).

    A cloud of some 1e7 M_sun is taken to reach out 50 pc where tau_V = 50, less where more opaque. Its H II region
    grows as (1 + 7/4 t/t_s)^(4/7) (Spitzer 1978) with t_s = 50 pc / 10 km/s = 5 Myr: the column of the shell thins as
    r^-2, its grains cool, PAHs survive and more of the cluster shines through gaps.
    """
    t = transfer.tables(device)
    light = torch.as_tensor(starlight.ssp(_CLOUD_AGE_MYR * 1e-3, WAVE_UM), device=device)
    power = light @ t.weight
    primary = light / power[:, None]
    age = torch.as_tensor(_CLOUD_AGE_MYR, device=device).repeat(_CLOUD_TAU.size)  # (K * A,)
    tau = torch.as_tensor(_CLOUD_TAU, device=device).repeat_interleave(_CLOUD_AGE_MYR.size)
    rows = torch.arange(power.numel(), device=device).repeat(_CLOUD_TAU.size)
    growth = (1 + 1.75 * age / 5.0) ** (4 / 7)
    # Little dust inside the H II region, most at the rim: tau ~ r^2. A young cluster of 2.5e9 L_sun heats a grain at
    # 50 pc to ~65 K; a fainter one is the same as a more distant one.
    rim = growth * (50 / tau) ** 0.5 * (power[0] / power[rows]) ** 0.5
    shells = shell_edges(device)
    radius = rim[:, None] * (0.5 * (shells[1:] + shells[:-1])) ** 0.5
    out = onion(primary[rows], tau / growth**2, radius, torch.full_like(tau, 65.0), t, pah=0.18, small=0.10)
    # A shell of clumps: the share of free sightlines is exp(-number of clumps along one).
    gaps = torch.exp(-tau / 50.0 * (1 + 2 / growth))[:, None]
    direct, thermal = (1 - gaps) * out.direct + gaps * primary[rows], (1 - gaps) * out.thermal
    shape = (_CLOUD_TAU.size, _CLOUD_AGE_MYR.size, WAVE_UM.size)
    return direct.reshape(shape), thermal.reshape(shape), primary, power


def _starburst(tau_v, tau_star, t_star, device):
    """Light seen, and its direct, thermal and intrinsic part (N, L), of starbursts.

    They began `t_star` Myr ago and fade over `tau_star` Myr.
    """
    direct, thermal, primary, power = _clouds(device)
    age = torch.arange(_CLOUD_AGE_MYR.size + 1, dtype=torch.float64, device=device)  # edges of the bins
    since = torch.minimum(age, t_star[:, None]) - t_star[:, None]
    formed = torch.exp(since / tau_star[:, None]).diff(dim=1)  # (N, A) stars of each age
    light = formed * power
    light = light / light.sum(dim=1, keepdim=True)
    low, share = locate(tau_v, torch.as_tensor(_CLOUD_TAU, device=device))
    mix = torch.zeros(len(tau_v), *direct.shape[:2], dtype=torch.float64, device=device)
    rows = torch.arange(len(tau_v), device=device)
    mix[rows, low] = light * (1 - share)[:, None]
    mix[rows, low + 1] = light * share[:, None]
    direct, thermal = (mix.flatten(1) @ table.flatten(0, 1) for table in (direct, thermal))
    return direct + thermal, direct, thermal, light @ primary


# --- host ---------------------------------------------------------------------------------------------------
def _host(tau_s, psi_s, tau_v_s, device):
    """Light seen, and its direct, thermal and intrinsic part (N, L), of a spheroid of stars mixed with dust.

    Stars lie at all depths, log-uniform between a hundredth and all of `tau_v_s`, as in a cuspy galaxy. Most grains
    feel the starlight `psi_s` and are at 17.5 K psi^(1/6); a share that grows with psi feels up to 300 times more
    (equal power per ln U, Draine & Li 2007) and ionises its PAHs. What the dust takes from its own light is given back
    in the same spectrum.
    """
    t = transfer.tables(device)
    stars = starlight.starlight(np.full(len(tau_s), HOST_AGE_GYR), tau_s.cpu().numpy(), WAVE_UM)
    primary = unit_power(torch.as_tensor(stars, device=device), t.weight)
    depths = np.geomspace(0.01, 1, 8)
    escape = sum(sphere_escape(depth * tau_v_s[:, None] * t.k_abs) for depth in depths) / depths.size
    direct = primary * escape
    absorbed = primary - direct
    power = absorbed @ t.weight
    loss = log_loss(torch.full_like(psi_s, 17.5), t) + psi_s.log()
    stronger = np.geomspace(1.5, 300, 10)
    warm = sum(shell_light(loss + np.log(u), t.k_abs, t)[1] for u in stronger) / stronger.size
    hot, ionised = (0.5 * psi_s / (psi_s + 12))[:, None], (psi_s / (psi_s + 8))[:, None]
    bands = 0.17 * ((absorbed @ (t.weight * t.uv)) / power)[:, None]
    spectrum = (1 - 1.6 * bands) * ((1 - hot) * shell_light(loss, t.k_abs, t)[1] + hot * warm)
    spectrum = spectrum + bands * (ionised * t.pah[0] + (1 - ionised) * t.pah[1] + 0.6 * t.small)
    thermal = unit_power(spectrum * escape, t.weight) * power[:, None]
    return direct + thermal, direct, thermal, primary


# --- torus --------------------------------------------------------------------------------------------------
def accretion_disc(wave_um: np.ndarray) -> np.ndarray:
    """F_nu (L,) of an accretion disc: nu F_nu flat to 0.1 um, ~ wave^-0.5 to 5 um, ~ wave^-3 beyond.

    The broken power law of Stalevski+ 2012 (2012MNRAS.420.2756S); `wave_um` above 0.01 um.
    """
    wave = np.asarray(wave_um, float)
    return wave * np.maximum(wave / 0.1, 1) ** -0.5 * np.maximum(wave / 5.0, 1) ** -2.5


def open_view(theta_i, theta_o):
    """Weight (N,) of the view into the free cone, ~1 at the pole, ~0 at the equator, and its mean over all directions.

    `theta_i` inclination (0 = along the axis) and `theta_o` half-opening angle of the cone [deg]; a tapered disc has no
    sharp edge: the view closes over some 10 degrees.
    """
    angle = torch.linspace(0, 90, 181, dtype=torch.float64, device=theta_o.device)
    solid = torch.sin(torch.deg2rad(angle))
    mean = torch.sigmoid((theta_o[:, None] - angle) / 5.0) @ (solid / solid.sum())
    return torch.sigmoid((theta_o - theta_i) / 5.0), mean


def _torus(tau_uv, r2_r1, theta_o, theta_i, device):
    """Light seen at `theta_i` (N, L); then direct, thermal and intrinsic light averaged over all directions.

    The disc shines freely into the cone, the rest enters the torus (density ~ 1/r from the sublimation of grains
    outward). Light that leaves through the cavity is seen like the disc, light that leaves outward is seen from the
    side; at wavelengths where the torus is transparent both are seen from everywhere. Every weight averages to 1 over
    directions.
    """
    t = transfer.tables(device)
    disc = unit_power(torch.as_tensor(accretion_disc(WAVE_UM), device=device), t.weight).expand(len(tau_uv), -1)
    seen, free = open_view(theta_i, theta_o)
    tau_v = tau_uv / 5.0  # the mixture's extinction at 0.1 um is five times that at 0.55 um
    shells = shell_edges(device)
    radius = r2_r1[:, None] ** (0.5 * (shells[1:] + shells[:-1]))
    out = onion(disc, tau_v, radius, torch.full_like(tau_v, 1300.0), t, inward=0.5)
    covered = (1 - free)[:, None]
    thin = torch.exp(-tau_v[:, None] * t.k_abs)
    cone = thin + (1 - thin) * (seen / free)[:, None]
    outer_face = 0.35 + 0.65 * ((1 - seen) / (1 - free))[:, None]  # the pole, too, sees some of a tapered disc
    side = thin + (1 - thin) * outer_face
    light = disc * seen[:, None] + covered * (out.direct * side + out.inward * cone + out.thermal * side)
    return light, disc * free[:, None] + covered * out.direct, covered * (out.inward + out.thermal), disc


# --- the whole galaxy ---------------------------------------------------------------------------------------
def components(params: Table, device: str = "cpu") -> dict:
    """Spectra and energy balance of the three components for every row of `params` (a table as from `draw`).

    Returns a dict: "starburst", "host", "torus", float64 tensors (N, 223) of F_nu at unit bolometric luminosity as
    seen; and "power", for each of them a dict of (N,) tensors: `intrinsic`, `absorbed` (lost by the primary light) and
    `reemitted` (dust light that leaves), in all directions together.
    """
    t = transfer.tables(device)
    out, power = {}, {}
    for name, model in {"starburst": _starburst, "host": _host, "torus": _torus}.items():
        own = _columns(params, [p.name for p in PARAMETERS if p.component == name], device)
        seen, direct, thermal, primary = model(*own, device)
        out[name] = unit_power(seen, t.weight)
        intrinsic, reemitted = primary @ t.weight, thermal @ t.weight
        power[name] = {"intrinsic": intrinsic, "absorbed": intrinsic - direct @ t.weight, "reemitted": reemitted}
    return out | {"power": power}


def _columns(params: Table, names, device: str) -> list:
    return [torch.as_tensor(np.asarray(params[name], dtype=float), device=device) for name in names]


def sed(params: Table, device: str = "cpu"):
    """Composite F_nu (N, 223), float64 on `device`, of unit bolometric luminosity: int F_nu / wave dln(wave) = 1."""
    chunks = []
    for start in range(0, len(params), 1000):  # bounds the memory: ~0.2 GB
        rows = params[start : start + 1000]
        light = components(rows, device)
        shares = zip(FRACTIONS, _columns(rows, FRACTIONS.values(), device), strict=True)
        chunks.append(sum(share[:, None] * light[name] for name, share in shares))
    return torch.cat(chunks)


def library(n: int = 10_000, seed: int = 0, device: str = "cpu") -> SedLibrary:
    """`n` mock galaxies with their true parameters, the same for the same `seed` (to float32 on any device)."""
    params = draw(n, seed)
    flux = sed(params, device).cpu().numpy().astype(np.float32)
    return SedLibrary(wave_um=WAVE_UM, flux=flux, params=params, ids=np.asarray(params["id"]))
