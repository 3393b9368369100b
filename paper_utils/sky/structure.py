"""What a galaxy looks like: where the light of its spectrum lies.

The stars that make a galaxy's spectrum are put in their places. Bulge and disc (`sky.components`) share the Sersic
profile of the truth between them (`sky.apertures`); some discs have a bar. Young stars and their gas lie in knots along
spiral arms, or anywhere in galaxies of little mass; gas that an active nucleus lights, and what it scatters, is a
point. A disc seen edge-on has a dust lane, reddened and deeper with `a_v`. What no column describes (arms, orientation)
is drawn. Numbers without a source were set by hand to look like SDSS stamps.
"""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import numpy as np
import torch
from astropy.table import Table
from scipy.special import expit

from paper_utils.base import dust
from paper_utils.base.distances import kpc_per_arcsec
from paper_utils.base.filters import Curves, curves_of
from paper_utils.sky import apertures, light, light_profiles, populations
from paper_utils.sky.cameras import Camera
from paper_utils.sky.components import components
from paper_utils.sky.populations import Populations

YOUNG, OLD = 0.12, 2.0  # Gyr: younger than a turn of the spiral pattern; older than most stars of a disc's bright part
# Share of the old, middle-aged and young light of a disc that lies in its knots; of the middle-aged it varies.
IN_KNOTS = np.array([0.0, 0.3, 0.8])
N_KNOTS = 60
Z_MAX = 0.75  # where u leaves the templates
# Round Gaussians in a row that draw an elongated one; the inner ones are hidden behind the PSF, and few will do.
N_NODES, N_INNER = {"bulge": 5, "disc": 17}, 4


def lights(truth: Table, ssps: Populations, camera: Camera, device: str = "cpu") -> dict[str, np.ndarray]:
    """Fluxes (N, B) [nmgy] of the bulge, disc, bar, knots and nucleus of galaxies; their sum is the photometry.

    Bulge and disc are the two systems of `components`. Raises DataError for senseless rows and z beyond `Z_MAX`.
    """
    p = populations.checked(truth, apertures.RANGES | {"z": (1e-5, Z_MAX), "log_sfr": (-30, 10)}, "A shape")
    table, n = _light_table(ssps, camera, str(device)), len(truth)
    both = components(truth)
    mass = populations.weights(both, ssps, device)
    in_bulge, in_disc = mass[:n], mass[n:]
    by_age = [in_disc * shining for shining in _shining(ssps, device)]
    a_v = np.asarray(both["a_v"])
    parts = light.starlight_of(
        torch.cat([in_bulge, *by_age]), np.tile(p["z"], 4), np.concatenate([a_v[:n], *[a_v[n:]] * 3]), table
    )
    bulge, *disc = 1e9 * parts.reshape(4, n, -1)
    disc[2] = disc[2] + 1e9 * light.gas(truth, table, (1.0, 1.0, 0.0))
    disc = np.stack(disc, axis=1)  # (N, 3, B): old, middle-aged, young
    in_knots = IN_KNOTS * (1 - p["quiescent"])[:, None]
    in_knots[:, 1] *= _contrast(p["log_sfr"] - np.asarray(truth["log_mstar"]))
    knots = (disc * in_knots[..., None]).sum(axis=1)
    smooth = disc.sum(axis=1) - knots
    r = camera.bands.index("r")  # in which the bar has its share; it has the colours of the smooth disc
    bar = smooth * np.minimum(apertures.in_bar(p) * disc.sum(axis=1)[:, r] / smooth[:, r], 0.9)[:, None]
    nucleus = 1e9 * light.gas(truth, table, (0.0, 0.0, 1.0))
    return {"bulge": bulge, "disc": smooth - bar, "bar": bar, "knots": knots, "nucleus": nucleus}


def _contrast(specific: np.ndarray) -> np.ndarray:
    """Of arms, by log SFR / M* [1/yr]: stronger where more stars form (Kendall+ 2015, 2015MNRAS.446.4155K; by hand)."""
    return np.clip(1 + 0.6 * (specific + 10.2), 0.3, 2.0)


@lru_cache(maxsize=8)
def _light_table(ssps: Populations, camera: Camera, device: str) -> light.LightTable:
    table = light.light_table(ssps, band_curves(camera), Z_MAX)
    return dataclasses.replace(table, light=table.light.to(device))


@lru_cache(maxsize=8)
def _shining(ssps: Populations, device: str) -> tuple[torch.Tensor, ...]:
    """Which populations (K,) are old, middle-aged, young: 1 or 0."""
    ages, edges = np.repeat(ssps.ages, ssps.metals.size), ((OLD, np.inf), (YOUNG, OLD), (0, YOUNG))
    return tuple(tensor((ages >= low) & (ages < high), device) for low, high in edges)


def draw(shape: dict, flux: dict, size: int, core_var: torch.Tensor) -> torch.Tensor:
    """Noiseless stamps (n, B, size, size) of the galaxies alone, behind the core of a PSF: variances (n, B)."""
    blur = core_var.min(dim=1, keepdim=True).values  # (n, 1)
    smooth = []
    for part, most in N_NODES.items():
        sigma = shape["sigma"] * shape["stretch_" + part][:, None]
        share = shape[part][..., None] * flux[part][:, None]
        for some, nodes in ((slice(0, N_INNER), 5), (slice(N_INNER, None), most)):
            row = sigma[:, some], shape["q_" + part], shape["angle"], share[:, some]
            smooth.append(light_profiles.elongated(*row, blur, nodes))
    bar = shape["bar_sigma"][:, None], shape["bar_q"], shape["bar_angle"], flux["bar"][:, None]
    smooth.append(light_profiles.elongated(*bar, blur, N_NODES["disc"]))
    knots = light_profiles.Gaussians(
        shape["x"], shape["y"], shape["var"], shape["knots"][..., None] * flux["knots"][:, None]
    )
    zero = torch.zeros_like(shape["angle"])[:, None]
    nucleus = light_profiles.Gaussians(zero, zero, zero, flux["nucleus"][:, None])
    scene = light_profiles.together(*smooth, knots, nucleus)
    scene = scene._replace(x=scene.x + shape["x0"][:, None], y=scene.y + shape["y0"][:, None])
    image = light_profiles.core(scene, size, core_var)
    return _dust_lane(image, shape, sum(flux.values()), blur)


def _dust_lane(image: torch.Tensor, shape: dict, total: torch.Tensor, blur: torch.Tensor) -> torch.Tensor:
    """A lane along the major axis that dims the image; elsewhere it is brightened, for `a_v` is in `total` already."""
    size = image.shape[-1]
    at = torch.arange(size, device=image.device, dtype=image.dtype) - (size - 1) / 2
    x, y = at - shape["x0"][:, None], at - shape["y0"][:, None]  # (n, W), (n, H)
    cos, sin = (f(shape["angle"])[:, None, None] for f in (torch.cos, torch.sin))
    along = x[:, None, :] * cos + y[:, :, None] * sin
    across = y[:, :, None] * cos - x[:, None, :] * sin
    length, width = shape["lane_length"][:, None, None], shape["lane_width"][:, None, None]
    seen = (width**2 + blur[..., None]).sqrt()  # a thin lane is blurred: wider and shallower
    pattern = torch.exp(-0.5 * ((along / length) ** 2 + ((across - shape["lane_offset"][:, None, None]) / seen) ** 2))
    depth = -torch.expm1(-shape["lane_tau"])[:, :, None, None] * (width / seen)[:, None]
    taken = image * (depth * pattern[:, None])
    left = total - taken.sum(dim=(2, 3))
    return (image - taken) * (total / left)[:, :, None, None]


def shapes(rng, truth: Table, camera: Camera, device: str) -> dict[str, torch.Tensor]:
    """Everything about N galaxies but their fluxes, in pixels and radians: tensors with N rows."""
    more = {"a_v": populations.RANGES["a_v"], "log_mstar": (0, 15), "log_sfr": (-30, 10)}
    p = populations.checked(truth, apertures.RANGES | more, "A shape")
    z, n = np.asarray(truth["z"], float), len(truth)
    r_e = p["r_e"] / kpc_per_arcsec(z) / camera.pixel_scale
    s = apertures.shape(p)
    cos_i = np.cos(np.radians(p["inclination"]))
    angle = rng.uniform(0, np.pi, n)
    edge_on = np.clip((p["inclination"] - 70) / 12, 0, 1) * (1 - p["quiescent"]) * (1 - p["b_t"])
    middle = np.array([np.average(wave, weights=response) for wave, response in band_curves(camera).values()])
    law = dust.attenuation(middle / (1 + z[:, None]))  # (N, B)
    in_plane = rng.uniform(0, np.pi, n)
    bar_sigma, bar_q, bar_angle = apertures.bar(p["inclination"], in_plane)
    arrays = {
        "sigma": s.sigma * r_e[:, None], "bulge": s.bulge, "disc": s.disc,
        "q_disc": s.q_disc, "stretch_disc": light_profiles.stretch(s.q_disc),
        "q_bulge": s.q_bulge, "stretch_bulge": light_profiles.stretch(s.q_bulge),
        "bar_sigma": bar_sigma * r_e, "bar_q": bar_q, "bar_angle": angle + bar_angle,
        "angle": angle, "x0": rng.uniform(-0.5, 0.5, n), "y0": rng.uniform(-0.5, 0.5, n),
        "lane_tau": (edge_on * np.minimum(0.3 + p["a_v"], 2))[:, None] * law,
        "lane_length": 3 * r_e, "lane_width": 0.08 * r_e,
        "lane_offset": 0.4 * r_e * cos_i * rng.choice([-1, 1], n),
    } | _knots(rng, p, s, angle, in_plane, r_e)  # fmt: skip
    return {name: tensor(value, device) for name, value in arrays.items()}


def _knots(rng, p, s: apertures.Shape, angle, in_plane, r_e) -> dict[str, np.ndarray]:
    """Positions, sizes and shares of flux of the knots, (N, N_KNOTS): as far out as the disc's own light.

    Arms are two and long where galaxies are massive and form few stars, more and patchy where they form many (Hart+
    2016, 2016MNRAS.461.3663H); two from the ends of a bar. They are tighter in massive galaxies and those with bulges
    (Savchenko & Reshetnikov 2013, 2013MNRAS.436.1074S, with much scatter). The numbers are by hand.
    """
    n, q = len(r_e), s.q_disc
    which = (np.arange(N_KNOTS) + rng.random((n, N_KNOTS))) / N_KNOTS  # one from each equal part of the disc's light
    cumulative = np.cumsum(s.disc, axis=1) / s.disc.sum(axis=1, keepdims=True)
    component = (which[..., None] > cumulative[:, None, :-1]).sum(axis=2)
    # Light of a round Gaussian lies at Rayleigh-distributed radii; cut where discs end.
    radius = np.take_along_axis(s.sigma, component, axis=1) * np.sqrt(-2 * np.log(rng.uniform(0.01, 1, (n, N_KNOTS))))
    radius = np.where(radius < 3, radius, rng.uniform(1, 3, (n, N_KNOTS)))  # in R_e
    active = expit((p["log_sfr"] - p["log_mstar"] + 10.0) / 0.3)  # half on the main sequence of 10^10 M_sun
    n_arms = np.where(rng.random(n) < np.where(p["bar"] > 0, 0.85, 0.8 - 0.5 * active), 2, rng.choice([3, 4, 5], n))
    pitch = 22 - 4 * np.clip(p["log_mstar"] - 10, -1, 1) - 10 * p["b_t"] + 5 * rng.standard_normal(n)
    pitch = np.radians(np.clip(pitch, 7, 40))[:, None]
    sense = rng.choice([-1, 1], n)[:, None]
    # Low-mass galaxies have no arms, and more of the others are flocculent the more stars they form.
    flocculent = rng.random(n) < np.where(p["bar"] > 0, 0.15, 0.15 + 0.4 * active)
    scatter = np.where((p["log_mstar"] < 9.5) | flocculent, 1.5, 0.2)[:, None]
    arm = rng.integers(0, 60, (n, N_KNOTS)) % n_arms[:, None]
    phase = sense * np.log(radius + 0.05) / np.tan(pitch) + 2 * np.pi * arm / n_arms[:, None]
    # Where there is a bar arms begin at its ends, half the light's radius out.
    begins = np.where(p["bar"] > 0, in_plane, rng.uniform(0, 2 * np.pi, n))
    begins = begins - sense[:, 0] * np.log(2 * apertures.BAR_LENGTH) / np.tan(pitch[:, 0])
    phase = phase + scatter * rng.standard_normal((n, N_KNOTS)) + begins[:, None]
    scale = (r_e * light_profiles.stretch(q))[:, None]
    major, minor = scale * radius * np.cos(phase), scale * radius * np.sin(phase) * q[:, None]
    flux = np.exp(0.7 * rng.standard_normal((n, N_KNOTS)))
    return {
        "x": major * np.cos(angle)[:, None] - minor * np.sin(angle)[:, None],
        "y": major * np.sin(angle)[:, None] + minor * np.cos(angle)[:, None],
        "var": (r_e[:, None] * (0.06 + 0.10 * radius)) ** 2 * q[:, None],
        "knots": flux / flux.sum(axis=1, keepdims=True),
    }


@lru_cache(maxsize=8)
def band_curves(camera: Camera) -> Curves:
    return curves_of(dict(zip(camera.bands, camera.curves, strict=True)))


def tensor(value, device) -> torch.Tensor:
    return torch.as_tensor(np.asarray(value), dtype=torch.float32, device=device)
