"""The mock library of study 1: ultraviolet to millimetre spectra of starburst, host and AGN torus.

A stand-in for the CYGNUS radiative-transfer library of Rissaki+ 2023: the 10 parameters of its Table A.1 with the same
ranges, the same 223 wavelength bins, built from simple transfer that conserves energy exactly on the grid; and beside
them the HIDDEN parameters in which real galaxies differ, so that photometry says as little about a spectrum as it does
on the sky.

- Starburst: star clusters 0-35 Myr old, each in a giant molecular cloud that its H II region pushes apart
  (after Efstathiou+ 2000, 2000MNRAS.313..734E), behind diffuse dust.
- Host: stars mixed with dust in one starlight intensity (after Efstathiou & Rowan-Robinson 2003,
  2003MNRAS.343..322E).
- Torus: tapered disc around an accretion disc (after Efstathiou & Rowan-Robinson 1995, 1995MNRAS.273..649E), and dust
  along its axis.

Numbers without a reference (widths of transitions) were set by eye so that the components look like observed
starbursts, discs and quasars. `benchmarks/bench_midir_library.py` sets them beside real galaxies.

Spectra are F_nu in any unit such that the integral of F_nu / wave over ln(wave) is the power.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import torch
from astropy.table import Table

from paper_utils.base.containers import WAVE_UM, SedLibrary
from paper_utils.sky import starlight, transfer
from paper_utils.sky.transfer import (
    absorption,
    cirrus,
    locate,
    log_loss,
    onion,
    shell_edges,
    shell_light,
    sphere_escape,
    unit_power,
)

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


# What Table A.1 leaves out. Drawn uniform in the logarithm, or uniform where the range begins at 0 or below.
HIDDEN = tuple(Parameter(*row) for row in (
    # Temperature of grains at the inner edge of a young cluster's cloud, unshielded: compactness log C from 4 of
    # giant H II regions to 7.5 of ultracompact ones (Groves+ 2008, 2008ApJS..176..438G; Dopita+ 2006,
    # 2006ApJ...639..788D), T ~ C^(1/6).
    ("t_cloud", "T_c", 30, 130, "K", "starburst"),
    # Radius of a cloud (Larson 1981, 1981MNRAS.194..809L): its H II region grows as (1 + 7/4 t/t_s)^(4/7) (Spitzer
    # 1978) with t_s = radius / 10 km/s, the sooner the denser.
    ("r_cloud", "R_c", 10, 100, "pc", "starburst"),
    # Dust inside the H II region: the column within r goes as r^(1/e), from a thin shell to a filled region (1;
    # Draine 2011, 2011ApJ...732..100D).
    ("fill", "e", 0.2, 1, "", "starburst"),
    # Clumps along a sightline through a cloud: exp(-n) of the light finds none (Natta & Panagia 1984,
    # 1984ApJ...287..228N). At one infrared luminosity the ultraviolet of LIRGs spreads over two decades (Howell+ 2010,
    # 2010ApJ...715..572H).
    ("n_clumps", "n_c", 2, 20, "", "starburst"),
    # Diffuse dust in front of clouds and free stars, in V, from blue starbursts (Calzetti+ 2000, 2000ApJ...533..682C)
    # to ULIRGs (Genzel+ 1998, 1998ApJ...498..579G: 5-50), and its starlight (Draine & Li 2007).
    ("tau_screen", "τ_d", 0.1, 6, "", "starburst"), ("psi_screen", "ψ_d", 2, 50, "", "starburst"),
    # Age (the paper has 1.32 Gyr) and metals of the stars (Gallazzi+ 2005, 2005MNRAS.362...41G).
    ("age_s", "t^s", 0.4, 10, "Gyr", "host"), ("metals_s", "[M/H]^s", -0.7, 0.4, "", "host"),
    # Share of the dust's power from strong starlight (Draine+ 2007, 2007ApJ...663..866D: f_PDR of SINGS galaxies).
    ("hot_s", "f^s", 0.04, 0.4, "", "host"),
    # Dust, of each component its own. PAHs' share of the absorbed ultraviolet (their mass share is 0.5-4.6 %: Draine+
    # 2007) and how many are ionised (Galliano+ 2008, 2008ApJ...679..310G: 7.7 / 11.3 um varies tenfold); small grains'
    # share (Galliano+ 2018, 2018ARA&A..56..673G); silicate bands per extinction (A_V / tau_9.7 is 9 in the Galactic
    # centre, Roche & Aitken 1985, 1985MNRAS.215..425R, and twice the local 18 in dense clouds, Chiar+ 2007,
    # 2007ApJ...666L..73C).
    # Below 0.55 um the opacity goes as wave^delta times the Milky Way's (Noll+ 2009, 2009A&A...507.1793N; Salim+ 2018,
    # 2018ApJ...859...11S): the ultraviolet tells less of the infrared.
    *((f"{name}_{short}", f"{symbol}^{short}", low, high, "", component)
      for short, component in {"SB": "starburst", "s": "host"}.items()
      for name, symbol, low, high in (("pah", "q", 0.025, 0.35), ("ionised", "i", 0, 1), ("small", "v", 0.04, 0.35),
                                      ("silicate", "s", 0.4, 2), ("delta", "δ", -0.4, 0.4))),
    # Inner edge of the torus, where the last grains, graphite, survive; silicates do only below 1000 K (Mor & Netzer
    # 2012, 2012MNRAS.420..526M). Silicate bands from those of large grains to A_V / tau_9.7 = 5.5 (Lyu+ 2014,
    # 2014ApJ...792L...9L). Density ~ r^-q (Fritz+ 2006, 2006MNRAS.366..767F).
    ("t_sub", "T_sub", 1100, 1700, "K", "torus"), ("silicate_AGN", "s^AGN", 0.3, 3.3, "", "torus"),
    ("delta_AGN", "δ^AGN", -0.4, 0.4, "", "torus"),
    ("slope_AGN", "q^AGN", 0.3, 1.5, "", "torus"),
    # Dust along the axis, in V, and the temperature of its coldest grains, far out (Lyu & Rieke 2018,
    # 2018ApJ...866...92L).
    ("tau_polar", "τ_p", 0.003, 1, "", "torus"), ("t_polar", "T_p", 25, 60, "K", "torus"),
    # Of the accretion disc's nu F_nu from quasar to quasar (Richards+ 2006, 2006ApJS..166..470R; Krawczyk+ 2013).
    ("slope_disc", "α", -0.3, 0.3, "", "torus"),
))  # fmt: skip


def draw(n: int, seed: int) -> Table:
    """Parameters of `n` galaxies: `id`, the ten of Table A.1 (uniform in their ranges), the three FRACTIONS, HIDDEN.

    The fractions follow a Dirichlet(1, 0.7, 0.7) distribution: galaxies dominated by any component, and all mixtures.
    """
    rng = np.random.default_rng(seed)
    columns = {"id": [f"mock-{seed}-{i:06d}" for i in range(n)]}
    columns |= {p.name: rng.uniform(p.low, p.high, n) for p in PARAMETERS}
    columns |= dict(zip(FRACTIONS.values(), rng.dirichlet([1.0, 0.7, 0.7], n).T, strict=True))
    for p in HIDDEN:
        x = rng.uniform(0, 1, n)
        columns[p.name] = p.low * (p.high / p.low) ** x if p.low > 0 else p.low + (p.high - p.low) * x
    return Table(columns, units={p.name: p.unit for p in (*PARAMETERS, *HIDDEN) if p.unit})


# --- starburst ----------------------------------------------------------------------------------------------
@lru_cache(maxsize=4)
def _clusters(device: str):
    """Ages (A,) [Myr] of single bursts, their light (A, L) at power 1 and their power (A,)."""
    age = np.linspace(0.25, 35, 140)
    light = torch.as_tensor(starlight.ssp(age * 1e-3, WAVE_UM), device=device)
    power = light @ transfer.tables(device).weight
    return torch.as_tensor(age, device=device), light / power[:, None], power


def _starburst(p, t):
    """Light seen, and its direct, thermal and intrinsic part (N, L), of starbursts.

    They began `t_star` Myr ago and fade over `tau_star` Myr: clusters of four ages stand for all. As a cloud grows the
    column of its shell thins as r^-2, its grains cool, PAHs survive and more of the cluster shines through gaps.
    """
    ages, light, powers = _clusters(str(t.weight.device))
    nodes = torch.linspace(0, 1, 5, dtype=torch.float64, device=ages.device) ** 1.5  # finer where clusters are young
    age = p.t_star[:, None] * 0.5 * (nodes[1:] + nodes[:-1])  # (N, A)
    low, way = locate(age.flatten(), ages)
    primary = (1 - way)[:, None] * light[low] + way[:, None] * light[low + 1]  # (N A, L)
    power = ((1 - way) * powers[low] + way * powers[low + 1]).reshape(age.shape)
    share = torch.exp((age - p.t_star[:, None]) / p.tau_star[:, None]) * nodes.diff() * power
    share = (share / share.sum(dim=1, keepdim=True)).flatten()[:, None]
    each = SimpleNamespace(**{name: value.repeat_interleave(age.shape[1]) for name, value in vars(p).items()})
    growth = (1 + 1.75 * age.flatten() * 10.2 / each.r_cloud) ** (4 / 7)  # 10 km/s is 10.2 pc/Myr
    # A fainter cluster is the same as a more distant one.
    rim = growth * (powers[0] / power.flatten()) ** 0.5
    shells = shell_edges(ages.device, 10)
    radius = rim[:, None] * (0.5 * (shells[1:] + shells[:-1])) ** each.fill[:, None]
    out = onion(primary, each.tau_V / growth**2, radius, each.t_cloud, each, t)
    gaps = torch.exp(-each.n_clumps / growth)[:, None]
    parts = (1 - gaps) * out.direct + gaps * primary, (1 - gaps) * out.thermal, primary
    direct, thermal, primary = ((share * part).reshape(*age.shape, -1).sum(dim=1) for part in parts)
    screen = torch.exp(-p.tau_screen[:, None] * absorption(p, t))
    lost = (direct + thermal) * (1 - screen)
    direct, thermal = direct * screen, thermal * screen + cirrus(lost, p.psi_screen, torch.zeros_like(p.tau_V), p, t)
    return direct + thermal, direct, thermal, primary


# --- host ---------------------------------------------------------------------------------------------------
_METALS = np.array([-0.7, -0.15, 0.4])


@lru_cache(maxsize=4)
def _populations(device: str):
    """L_nu (M, A, L) of single bursts at _METALS and at the ages of `starlight`."""
    return torch.stack([torch.as_tensor(starlight.ssp(starlight.AGES_GYR, WAVE_UM, m), device=device) for m in _METALS])


def _host(p, t):
    """Light seen, and its direct, thermal and intrinsic part (N, L), of a spheroid of stars mixed with dust.

    Stars lie at all depths, log-uniform between a hundredth and all of `tau_v_s`, as in a cuspy galaxy. What the dust
    takes from its own light is given back in the same spectrum.
    """
    device = t.weight.device
    formed = torch.as_tensor(starlight.formed(p.age_s.cpu().numpy(), p.tau_s.cpu().numpy()), device=device)
    low, way = locate(p.metals_s, torch.as_tensor(_METALS, device=device))
    stars = torch.einsum("na,mal->mnl", formed, _populations(str(device)))
    rows = torch.arange(len(low), device=device)
    primary = unit_power((1 - way)[:, None] * stars[low, rows] + way[:, None] * stars[low + 1, rows], t.weight)
    depths, tau = np.geomspace(0.01, 1, 8), p.tau_v_s[:, None] * absorption(p, t)
    escape = sum(sphere_escape(depth * tau) for depth in depths) / depths.size
    direct = primary * escape
    absorbed = primary - direct
    thermal = unit_power(cirrus(absorbed, p.psi_s, p.hot_s, p, t) * escape, t.weight) * (absorbed @ t.weight)[:, None]
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


def _torus(p, t):
    """Light seen at `theta_i` (N, L); then direct, thermal and intrinsic light averaged over all directions.

    The disc shines freely into the cone, the rest enters the torus. Light that leaves through the cavity is seen like
    the disc, light that leaves outward is seen from the side; at wavelengths where the torus is transparent both are
    seen from everywhere. Every weight averages to 1 over directions. Dust along the axis, of
    the Milky Way's kind, dims what leaves by the cone and shines in all directions.
    """
    disc = torch.as_tensor(accretion_disc(WAVE_UM), device=t.weight.device)
    disc = unit_power(disc * torch.exp(p.slope_disc[:, None] * t.log_wave), t.weight)
    seen, free = open_view(p.theta_i, p.theta_o)
    tau_v = p.tau_uv / 5.0  # the mixture's extinction at 0.1 um is five times that at 0.55 um
    shells = shell_edges(disc.device)
    outward = 1 - p.slope_AGN[:, None]  # the column grows as r^(1 - q)
    radius = (1 + 0.5 * (shells[1:] + shells[:-1]) * (p.r2_r1[:, None] ** outward - 1)) ** (1 / outward)
    p.pah = p.ionised = p.small = torch.zeros_like(tau_v)
    bare = (p.t_sub / 1000) ** 2.8  # r ~ T^-2.8 (Barvainis 1987, 1987ApJ...320..537B)
    out = onion(disc, tau_v, radius, p.t_sub, p, t, bare=bare, inward=0.5)
    thin, polar = torch.exp(-tau_v[:, None] * absorption(p, t)), torch.exp(-p.tau_polar[:, None] * t.k_abs)
    covered, by_cone, from_side = (1 - free)[:, None], (seen / free)[:, None], ((1 - seen) / (1 - free))[:, None]
    side = thin + (1 - thin) * (0.35 + 0.65 * from_side)  # the pole, too, sees some of a tapered disc
    inward = covered * out.inward
    cone = disc * free[:, None] + inward * (1 - thin)  # averaged over directions
    axis = ((cone * (1 - polar)) @ t.weight)[:, None] * shell_light(log_loss(p.t_polar, t), t.k_abs, t, warm=True)[1]
    light = cone * polar * by_cone + inward * thin + covered * (out.direct + out.thermal) * side + axis
    direct = disc * free[:, None] * polar + covered * out.direct
    thermal = inward * (thin + (1 - thin) * polar) + covered * out.thermal + axis
    return light, direct, thermal, disc


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
        seen, direct, thermal, primary = model(_own(params, name, device), t)
        out[name] = unit_power(seen, t.weight)
        intrinsic, reemitted = primary @ t.weight, thermal @ t.weight
        power[name] = {"intrinsic": intrinsic, "absorbed": intrinsic - direct @ t.weight, "reemitted": reemitted}
    return out | {"power": power}


_DUST = ("pah", "ionised", "small", "silicate", "delta")


def _own(params: Table, component: str, device: str) -> SimpleNamespace:
    """A component's parameters, (N,) each, those of its dust under the names that `transfer` knows."""
    names = [p.name for p in (*PARAMETERS, *HIDDEN) if p.component == component]
    short = {name: name.split("_")[0] if name.split("_")[0] in _DUST else name for name in names}
    return SimpleNamespace(**{short[name]: _column(params, name, device) for name in names})


def _column(params: Table, name: str, device: str):
    return torch.as_tensor(np.asarray(params[name], dtype=float), device=device)


def sed(params: Table, device: str = "cpu"):
    """Composite F_nu (N, 223), float64 on `device`, of unit bolometric luminosity: int F_nu / wave dln(wave) = 1."""
    on_cpu, n_threads = torch.device(device).type == "cpu", torch.get_num_threads()
    n = 200 if on_cpu else 5000  # what a processor's cache, or a GPU, holds

    def mixed(start):
        light = components(rows := params[start : start + n], device)
        shares = {component: _column(rows, name, device)[:, None] for component, name in FRACTIONS.items()}
        return sum(share * light[component] for component, share in shares.items())

    first = mixed(0)  # makes the tables that all share
    # A chunk for each thread: threads that share one chunk's short operations would wait for each other.
    with ThreadPoolExecutor(n_threads if on_cpu else 1, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        others = list(pool.map(mixed, range(n, len(params), n)))
    torch.set_num_threads(n_threads)
    return torch.cat([first, *others])


def library(n: int = 10_000, seed: int = 0, device: str = "cpu") -> SedLibrary:
    """`n` mock galaxies with their true parameters, the same for the same `seed` (to float32 on any device)."""
    params = draw(n, seed)
    flux = sed(params, device).cpu().numpy().astype(np.float32)
    return SedLibrary(wave_um=WAVE_UM, flux=flux, params=params, ids=np.asarray(params["id"]))
