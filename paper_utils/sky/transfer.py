"""Light through shells of dust, batched on any device: energy is conserved on the wavelength grid to rounding.

Spectra are float64 tensors (N, 223) of F_nu in any unit such that the integral of F_nu / wave over ln(wave) is a power.
"""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import torch

from paper_utils.base import dust
from paper_utils.base.containers import WAVE_UM


@lru_cache(maxsize=4)
def tables(device: str) -> SimpleNamespace:
    """What is the same for all galaxies, as float64 tensors on `device`, made once."""
    weight = np.gradient(np.log(WAVE_UM)) / WAVE_UM
    weight[[0, -1]] /= 2  # the trapezoidal rule
    _, k_abs = dust.opacity(WAVE_UM)
    silicate = dust.silicate_bands(WAVE_UM)
    carbon = k_abs - silicate
    temperature = np.geomspace(3.0, 2500.0, 600)
    planck = dust.planck(temperature, WAVE_UM)
    loss = planck @ (k_abs * weight)
    planck = planck / loss[:, None]
    # Equal power per ln U of starlight between 1.5 and 1e5 times that of the row: dust near young stars.
    log_loss, stronger = np.log(loss), np.log(np.geomspace(1.5, 1e5, 24))
    warm = np.mean([planck[np.abs(log_loss[:, None] + u - log_loss).argmin(axis=1)] for u in stronger], axis=0)
    # Grains hit by single photons pass through all these temperatures, and stay longer at the lower ones. So small
    # they are carbon: silicates would show their bands in emission (Li & Draine 2001, 2001ApJ...550L.213L).
    spike = np.geomspace(55, 600, 24)
    small = (1 / spike) @ unit_power(dust.planck(spike, WAVE_UM) * carbon, weight)
    pah = np.stack([dust.pah_spectrum(WAVE_UM), dust.pah_spectrum(WAVE_UM, neutral=True)])
    arrays = {
        "weight": weight,  # (L,) quadrature: power = F @ weight
        "log_wave": np.log(WAVE_UM),  # (L,) [um]
        "k_abs": k_abs,  # (L,) absorption per extinction at 0.55 um
        "silicate": silicate,  # (L,) the part of it in the silicate bands
        "carbon": carbon,  # (L,) the rest
        "blue": np.minimum(np.log(WAVE_UM / 0.55), 0),  # (L,) how far below 0.55 um
        "uv": 1 / (1 + (WAVE_UM / 0.35) ** 4),  # (L,) share of the absorbed energy that excites PAHs and small grains
        "log_t": np.log(temperature),  # (T,) [K]
        "log_loss": log_loss,  # (T,) power that thin dust of that temperature loses
        "opacity": loss / (planck @ weight),  # (T,) its Planck-mean absorption
        "planck": planck,  # (T, L) black bodies near 1 at every temperature: only their shape is used
        "warm": warm,  # (T, L) the same of dust in stronger and stronger starlight
        "pah": unit_power(pah, weight),  # (2, L) PAH bands of unit power: ionised, neutral
        "small": unit_power(small, weight),  # (L,) transiently heated small grains, unit power
    }
    return SimpleNamespace(**{k: torch.as_tensor(v, dtype=torch.float64, device=device) for k, v in arrays.items()})


def unit_power(flux, weight):
    """`flux` (..., L) scaled to power 1."""
    return flux / (flux @ weight)[..., None]


def locate(x, xp):
    """Index of the node below `x` (N,) in the increasing `xp` (K,), and the way to the next, 0-1 (held at the ends)."""
    low = torch.clamp(torch.searchsorted(xp, x) - 1, 0, xp.numel() - 2)
    return low, torch.clamp((x - xp[low]) / (xp[low + 1] - xp[low]), 0, 1)


def _lerp(table, low, share):
    return torch.lerp(table[low], table[low + 1], share)


def log_loss(temperature, t: SimpleNamespace):
    """Logarithm of the power that thin dust of `temperature` (N,) [K] loses per unit opacity."""
    return _lerp(t.log_loss, *locate(temperature.log(), t.log_t))


def shell_light(log_loss, emissivity, t: SimpleNamespace, *, warm=False):
    """Temperature (N,) of grains that lose exp(`log_loss`) (N,), and the light of their shell, of unit power (N, L).

    The shell radiates `emissivity` (N, L) x B_nu; its emissivity is the share of light that it absorbs (Kirchhoff's
    law). `warm`: that of dust in starlight from 1.5 to 1e5 times stronger.
    """
    low, share = locate(log_loss, t.log_loss)
    planck = _lerp(t.warm if warm else t.planck, low, share[:, None])
    return _lerp(t.log_t, low, share).exp(), unit_power(emissivity * planck, t.weight)


def absorption(p: SimpleNamespace, t: SimpleNamespace):
    """Absorption (N, L) per extinction at 0.55 um of dust with `p.silicate` (N,) times the Milky Way's silicate bands.

    Below 0.55 um it goes as wave^`p.delta` (N,) times the Milky Way's.
    """
    return (t.carbon + p.silicate[:, None] * t.silicate) * torch.exp(p.delta[:, None] * t.blue)


def cirrus(absorbed, psi, hot, p: SimpleNamespace, t: SimpleNamespace):
    """Light (N, L) of dust among stars that took `absorbed` (N, L) from them: all of its power.

    Grains in the starlight `psi` (N,) are at 17.5 K psi^(1/6); the share `hot` (N,) of their power comes from where it
    is up to 1e5 times stronger, equal power per ln U (Draine & Li 2007). Of the absorbed ultraviolet PAHs radiate the
    share `p.pah` (N,), `p.ionised` (N,) of them ionised, and small grains `p.small` (N,).
    """
    k, loss = absorption(p, t), log_loss(torch.full_like(psi, 17.5), t) + psi.log()
    power, exciting = absorbed @ t.weight, absorbed @ (t.weight * t.uv)
    bands, small, hot = (p.pah * exciting)[:, None], (p.small * exciting)[:, None], hot[:, None]
    big = (1 - hot) * shell_light(loss, k, t)[1] + hot * shell_light(loss, k, t, warm=True)[1]
    return (power[:, None] - bands - small) * big + bands * pah_bands(p.ionised, t) + small * t.small


def pah_bands(ionised, t: SimpleNamespace):
    """PAH bands of unit power (N, L) where the share `ionised` (N,) of them is ionised."""
    return t.pah[1] + ionised[:, None] * (t.pah[0] - t.pah[1])


class Onion(NamedTuple):
    direct: object  # (N, L) primary light that left through all shells
    thermal: object  # (N, L) re-emitted light that left through all shells
    inward: object  # (N, L) re-emitted light that left through the cavity
    temperature: object  # (N, S) of the shells [K]


def shell_edges(device, n: int = 18):
    """Edges (n + 1,) of the shells, as the share of the optical depth inside; fine where the ultraviolet ends."""
    edges = torch.expm1(torch.linspace(0, 4.5, n + 1, dtype=torch.float64, device=device))
    return edges / edges[-1]


def onion(primary, tau_v, radius, t_unit, p: SimpleNamespace, t: SimpleNamespace, *, bare=None, inward=0.0) -> Onion:
    """Send `primary` (N, L) outward through shells of total V extinction `tau_v` (N,).

    Each shell absorbs F (1 - exp(-dtau)), takes the temperature at which its grains lose what they receive, and
    radiates all that it absorbed into the next. `radius` (N, S) of the shells, in a unit of length at which a grain in
    the free primary light is at `t_unit` (N,) [K]. The dust, (N,) each: `p.pah` and `p.small`, share of the absorbed
    ultraviolet that PAHs and small grains radiate (PAHs die where the big grains are hotter than ~90 K); `p.ionised`
    share of PAHs; `p.silicate` and `p.delta` as for `absorption`. Inside the radius `bare` (N,) there are no silicates.
    `inward`: share of a shell's light sent back to leave through the cavity, dimmed by the shells it crosses.
    Scattering is taken as forward.
    """
    edges = shell_edges(primary.device, radius.shape[1])
    log_scale = log_loss(t_unit, t) - ((primary * t.k_abs) @ t.weight).log()
    k, bands, weights = absorption(p, t), pah_bands(p.ionised, t), torch.stack([t.weight, t.weight * t.uv], dim=1)
    direct, thermal, back, depth = primary, *(torch.zeros_like(primary) for _ in range(3))
    flux, warm_flux, temperatures = direct @ weights, thermal @ t.weight, []  # powers of both kinds of light
    for inner, outer, r in zip(edges[:-1], edges[1:], radius.T, strict=True):
        dtau = tau_v * (outer - inner)
        column = -dtau[:, None] * (k if bare is None else torch.where((r > bare)[:, None], k, t.carbon))
        passed = torch.exp(column)
        direct, thermal = direct * passed, thermal * passed
        net, lost = flux[:, 0] + warm_flux, flux - direct @ weights
        flux = flux - lost
        power, exciting = net - flux[:, 0] - thermal @ t.weight, lost[:, 1]
        # Infrared light is trapped: in Eddington's approximation J = H (1 + 3/2 tau outward), so grains are warmer
        # than the net flux alone would make them, while the net power that a shell passes on is the same.
        heating = power / dtau
        mean_opacity = _lerp(t.opacity, *locate((heating / r**2).log() + log_scale, t.log_loss))
        heating = heating + 1.5 * (1 - inward) * tau_v * (1 - outer) * mean_opacity**2 * net
        temperature, emission = shell_light((heating / r**2).log() + log_scale, 1 - passed, t)
        alive, small = p.pah * exciting / (1 + (temperature / 90.0) ** 6), p.small * exciting
        emission *= (power - alive - small)[:, None]
        emission.addcmul_(alive[:, None], bands).addcmul_(small[:, None], t.small)
        if inward:
            returned = inward * emission * torch.exp(depth)
            emission, back, depth = emission - returned, back + returned, depth + column
        thermal = thermal + emission
        warm_flux = thermal @ t.weight
        temperatures.append(temperature)
    return Onion(direct, thermal, back, torch.stack(temperatures, dim=1))


def sphere_escape(tau):
    """Share of light leaving a sphere of central depth `tau` mixed with its sources (Osterbrock 1989, app. 2)."""
    thick = 0.75 / tau * (1 - 0.5 / tau**2 + (1 / tau + 0.5 / tau**2) * torch.exp(-2 * tau))
    return torch.where(tau < 0.01, 1 - 0.75 * tau, thick)  # the closed form cancels badly when thin
