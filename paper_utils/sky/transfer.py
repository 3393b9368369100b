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
    temperature = np.geomspace(3.0, 2500.0, 600)
    planck = dust.planck(temperature, WAVE_UM)
    loss = planck @ (k_abs * weight)
    # Grains hit by single photons pass through all these temperatures, and stay longer at the lower ones.
    spike = np.geomspace(55, 600, 24)
    small = (1 / spike) @ unit_power(dust.planck(spike, WAVE_UM) * k_abs, weight)
    pah = np.stack([dust.pah_spectrum(WAVE_UM), dust.pah_spectrum(WAVE_UM, neutral=True)])
    arrays = {
        "weight": weight,  # (L,) quadrature: power = F @ weight
        "k_abs": k_abs,  # (L,) absorption per extinction at 0.55 um
        "uv": 1 / (1 + (WAVE_UM / 0.35) ** 4),  # (L,) share of the absorbed energy that excites PAHs and small grains
        "log_t": np.log(temperature),  # (T,) [K]
        "log_loss": np.log(loss),  # (T,) power that thin dust of that temperature loses
        "opacity": loss / (planck @ weight),  # (T,) its Planck-mean absorption
        "planck": planck / loss[:, None],  # (T, L) black bodies near 1 at every temperature: only their shape is used
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
    return (1 - share) * table[low] + share * table[low + 1]


def log_loss(temperature, t: SimpleNamespace):
    """Logarithm of the power that thin dust of `temperature` (N,) [K] loses per unit opacity."""
    return _lerp(t.log_loss, *locate(temperature.log(), t.log_t))


def shell_light(log_loss, emissivity, t: SimpleNamespace):
    """Temperature (N,) of grains that lose exp(`log_loss`) (N,), and the light of their shell, of unit power (N, L).

    The shell radiates `emissivity` (N, L) x B_nu; its emissivity is the share of light that it absorbs (Kirchhoff's
    law).
    """
    low, share = locate(log_loss, t.log_loss)
    return _lerp(t.log_t, low, share).exp(), unit_power(emissivity * _lerp(t.planck, low, share[:, None]), t.weight)


class Onion(NamedTuple):
    direct: object  # (N, L) primary light that left through all shells
    thermal: object  # (N, L) re-emitted light that left through all shells
    inward: object  # (N, L) re-emitted light that left through the cavity
    temperature: object  # (N, S) of the shells [K]


def shell_edges(device):
    """Edges (S + 1,) of the shells, as the share of the optical depth inside; fine where the ultraviolet ends."""
    edges = torch.expm1(torch.linspace(0, 4.5, 19, dtype=torch.float64, device=device))
    return edges / edges[-1]


def onion(primary, tau_v, radius, t_unit, t: SimpleNamespace, *, pah=0.0, small=0.0, inward=0.0) -> Onion:
    """Send `primary` (N, L) outward through shells of total V extinction `tau_v` (N,).

    Each shell absorbs F (1 - exp(-dtau)), takes the temperature at which its grains lose what they receive, and
    radiates all that it absorbed into the next. `radius` (N, S) of the shells, in a unit of length at which a grain in
    the free primary light is at `t_unit` (N,) [K]. `pah` and `small`: share of the absorbed ultraviolet that PAHs and
    small grains radiate; PAHs die where the big grains are hotter than ~90 K. `inward`: share of a shell's light sent
    back to leave through the cavity, dimmed by the shells it crosses. Scattering is taken as forward.
    """
    edges = shell_edges(primary.device)
    log_scale = log_loss(t_unit, t) - ((primary * t.k_abs) @ t.weight).log()
    direct, thermal, back = primary, torch.zeros_like(primary), torch.zeros_like(primary)
    temperatures = []
    for inner, outer, r in zip(edges[:-1], edges[1:], radius.T, strict=True):
        dtau = tau_v * (outer - inner)
        absorbed = -torch.expm1(-dtau[:, None] * t.k_abs)
        from_direct, from_thermal = direct * absorbed, thermal * absorbed
        power = (from_direct + from_thermal) @ t.weight
        # Infrared light is trapped: in Eddington's approximation J = H (1 + 3/2 tau outward), so grains are warmer
        # than the net flux alone would make them, while the net power that a shell passes on is the same.
        heating = power / dtau
        mean_opacity = _lerp(t.opacity, *locate((heating / r**2).log() + log_scale, t.log_loss))
        trapped = 1.5 * (1 - inward) * tau_v * (1 - outer) * mean_opacity
        heating = heating + trapped * mean_opacity * ((direct + thermal) @ t.weight)
        temperature, light = shell_light((heating / r**2).log() + log_scale, absorbed, t)
        exciting = (from_direct * t.uv) @ t.weight
        alive = exciting / (1 + (temperature / 90.0) ** 6)
        emission = (power - pah * alive - small * exciting)[:, None] * light
        emission = emission + (pah * alive)[:, None] * t.pah[0] + (small * exciting)[:, None] * t.small
        returned = inward * emission * torch.exp(-(tau_v * inner)[:, None] * t.k_abs)
        direct, thermal, back = direct - from_direct, thermal - from_thermal + emission - returned, back + returned
        temperatures.append(temperature)
    return Onion(direct, thermal, back, torch.stack(temperatures, dim=1))


def sphere_escape(tau):
    """Share of light leaving a sphere of central depth `tau` mixed with its sources (Osterbrock 1989, app. 2)."""
    thick = 0.75 / tau * (1 - 0.5 / tau**2 + (1 / tau + 0.5 / tau**2) * torch.exp(-2 * tau))
    return torch.where(tau < 0.01, 1 - 0.75 * tau, thick)  # the closed form cancels badly when thin
