"""What a galaxy looks like: where the light of its spectrum lies.

The stars that make a galaxy's spectrum are put in their places. Bulge and disc share the Sersic profile of the truth
(`n_sersic`, half-light radius `r_e`) between them: the bulge is its inner part, `b_t` of the light in r, made of the
oldest stars that there are; young stars and their gas lie in knots along spiral arms, or anywhere in galaxies of little
mass; gas that an active nucleus lights, and what it scatters, is a point. A disc seen edge-on has a dust lane, reddened
and deeper with `a_v`. What no column describes (arms, orientation) is drawn. Numbers without a source were set by hand
to look like SDSS stamps.
"""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import numpy as np
import torch
from astropy.table import Table

from paper_utils.base import dust
from paper_utils.base.constants import L_SUN
from paper_utils.base.distances import arrives, kpc_per_arcsec, luminosity_distance
from paper_utils.base.filters import Curves, curves_of
from paper_utils.base.photometry import ab_fluxes, line_fluxes
from paper_utils.base.wavelengths import LINES
from paper_utils.sky import light_profiles, nebular, populations, sdss_spectra, stellar
from paper_utils.sky.cameras import Camera
from paper_utils.sky.populations import Populations

# Columns of shape in the truth table and the range of each, in addition to those of starlight and gas.
RANGES = {
    "r_e": (1e-3, 1e3), "n_sersic": light_profiles.N_SERSIC, "b_t": (0, 1), "inclination": (0, 90), "quiescent": (0, 1),
}  # fmt: skip
YOUNG, OLD = 0.12, 2.0  # Gyr: younger than a turn of the spiral pattern; older than most stars of a disc's bright part
SEGREGATION = 0.8  # of the bulge is made of the oldest stars that there are, the rest of the galaxy's mixture
IN_KNOTS = np.array([0.0, 0.3, 0.8])  # share of the old, middle-aged and young light of a disc that lies in its knots
N_KNOTS = 60
# Thickness of discs (as for their dust in `galaxies`) and of bulges; that of discs grows with the bulge, which makes
# early types round.
THICK_DISC, THICK_BULGE = 0.2, 0.65
N_NODES = {"bulge": 5, "disc": 17}  # round Gaussians in a row that draw an elongated one


def lights(truth: Table, ssps: Populations, camera: Camera, device: str = "cpu") -> dict[str, np.ndarray]:
    """Fluxes (N, B) [nmgy] of the bulge, disc, knots and nucleus of galaxies; their sum is the synthetic photometry.

    Bulge and disc split the light in r by `b_t`.
    """
    columns = populations.checked(truth, RANGES, "A shape")
    z = np.asarray(truth["z"], float)
    curves = band_curves(camera)
    # One grid for all redshifts of the sky, so that the templates are prepared once.
    wave = sdss_spectra.band_grid(curves, np.array([0.0, max(sdss_spectra.Z_MAX, z.max())]))
    by_age = [
        sdss_spectra.band_fluxes(stellar.rest_spectra(truth, wave, stars, device), wave, z, curves)
        for stars in _by_age(ssps)
    ]
    gas = nebular.luminosities(truth)
    quiet = truth.copy()
    quiet["agn_strength"] = 0.0
    of_young = nebular.luminosities(quiet)
    at, arrived = np.outer(1 + z, list(LINES.values())), 1 / (4 * np.pi * luminosity_distance(z)[:, None] ** 2)
    by_age[2] = by_age[2] + line_fluxes(at, of_young * arrived, curves)
    light = 1e9 * np.stack(by_age, axis=1)  # (N, 3, B): old, middle-aged, young
    nucleus = 1e9 * (line_fluxes(at, (gas - of_young) * arrived, curves) + _scattered(truth, z, curves))

    in_r = light[:, :, camera.bands.index("r")]  # (N, 3)
    wanted = columns["b_t"] * in_r.sum(axis=1)
    before = np.cumsum(in_r, axis=1) - in_r  # the light of all that is older
    oldest_first = np.clip(wanted[:, None] - before, 0, in_r) / np.maximum(in_r, 1e-30)
    share = SEGREGATION * oldest_first + (1 - SEGREGATION) * columns["b_t"][:, None]
    bulge, rest = (light * share[..., None]).sum(axis=1), light * (1 - share)[..., None]
    in_knots = IN_KNOTS * (1 - columns["quiescent"])[:, None]
    knots = (rest * in_knots[..., None]).sum(axis=1)
    return {"bulge": bulge, "disc": rest.sum(axis=1) - knots, "knots": knots, "nucleus": nucleus}


def _scattered(truth: Table, z: np.ndarray, curves: Curves) -> np.ndarray:
    """Fluxes (N, B) [AB maggies] of the continuum that Seyfert nuclei scatter into sight."""
    wave = sdss_spectra.band_grid(curves, np.zeros(1))
    power_law = (wave / 5100.0) ** nebular.SCATTERED_SLOPE
    arrived = nebular.scattered(truth) / L_SUN * arrives(z) * 1e-17 * (1 + z) ** -nebular.SCATTERED_SLOPE
    return arrived[:, None] * ab_fluxes(wave, power_law[None], curves)


def draw(shape: dict, flux: dict, size: int, core_var: torch.Tensor) -> torch.Tensor:
    """Noiseless stamps (n, B, size, size) of the galaxies alone, behind the core of a PSF: variances (n, B)."""
    blur = core_var.min(dim=1, keepdim=True).values  # (n, 1)
    light = {part: shape[part][..., None] * flux[part][:, None] for part in ("bulge", "disc", "knots")}
    smooth = [
        light_profiles.elongated(
            shape["sigma"] * shape["stretch_" + part][:, None], shape["q_" + part], shape["angle"], light[part], blur, n
        )
        for part, n in N_NODES.items()
    ]
    knots = light_profiles.Gaussians(shape["x"], shape["y"], shape["var"], light["knots"])
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
    p = populations.checked(truth, RANGES | {"a_v": populations.RANGES["a_v"], "log_mstar": (0, 15)}, "A shape")
    z, n = np.asarray(truth["z"], float), len(truth)
    r_e = p["r_e"] / kpc_per_arcsec(z) / camera.pixel_scale
    share, sigma = light_profiles.sersic(p["n_sersic"])
    inner = np.cumsum(share, axis=1) - share
    bulge = np.clip(p["b_t"][:, None] - inner, 0, share)  # the inner Gaussians, up to b_t
    disc = share - bulge
    cos_i = np.cos(np.radians(p["inclination"]))
    thick = THICK_DISC + (THICK_BULGE - THICK_DISC) * p["b_t"] ** 2
    q, q_bulge = (np.sqrt(cos_i**2 + t**2 * (1 - cos_i**2)) for t in (thick, THICK_BULGE))
    angle = rng.uniform(0, np.pi, n)
    edge_on = np.clip((p["inclination"] - 70) / 12, 0, 1) * (1 - p["quiescent"]) * (1 - p["b_t"])
    middle = np.array([np.average(wave, weights=response) for wave, response in band_curves(camera).values()])
    law = dust.attenuation(middle / (1 + z[:, None]))  # (N, B)
    arrays = {
        "sigma": sigma * r_e[:, None],
        "bulge": bulge / np.maximum(bulge.sum(axis=1, keepdims=True), 1e-9),
        "disc": disc / np.maximum(disc.sum(axis=1, keepdims=True), 1e-9),
        "q_disc": q, "stretch_disc": light_profiles.stretch(q),
        "q_bulge": q_bulge, "stretch_bulge": light_profiles.stretch(q_bulge),
        "angle": angle, "x0": rng.uniform(-0.5, 0.5, n), "y0": rng.uniform(-0.5, 0.5, n),
        "lane_tau": (edge_on * np.minimum(0.3 + p["a_v"], 2))[:, None] * law,
        "lane_length": 3 * r_e, "lane_width": 0.08 * r_e,
        "lane_offset": 0.4 * r_e * cos_i * rng.choice([-1, 1], n),
    } | _knots(rng, p, disc, sigma, q, angle, r_e)  # fmt: skip
    return {name: tensor(value, device) for name, value in arrays.items()}


def _knots(rng, p, disc, sigma, q, angle, r_e) -> dict[str, np.ndarray]:
    """Positions, sizes and shares of flux of the knots, (N, N_KNOTS): as far out as the disc's own light."""
    n = len(r_e)
    which = (np.arange(N_KNOTS) + rng.random((n, N_KNOTS))) / N_KNOTS  # one from each equal part of the disc's light
    cumulative = np.cumsum(disc, axis=1) / disc.sum(axis=1, keepdims=True)
    component = (which[..., None] > cumulative[:, None, :-1]).sum(axis=2)
    # Light of a round Gaussian lies at Rayleigh-distributed radii; cut where discs end.
    radius = np.take_along_axis(sigma, component, axis=1) * np.sqrt(-2 * np.log(rng.uniform(0.01, 1, (n, N_KNOTS))))
    radius = np.where(radius < 3, radius, rng.uniform(1, 3, (n, N_KNOTS)))  # in R_e
    n_arms = rng.choice([2, 3, 4], n, p=[0.6, 0.2, 0.2])[:, None]
    pitch = np.radians(12 + 20 * (1 - p["b_t"]) * rng.random(n))[:, None]
    sense = rng.choice([-1, 1], n)[:, None]
    # Low-mass galaxies have no arms, and a third of the others are flocculent.
    scatter = np.where((p["log_mstar"] < 9.5) | (rng.random(n) < 0.33), 1.5, 0.2)[:, None]
    arm = rng.integers(0, 12, (n, N_KNOTS)) % n_arms
    phase = sense * np.log(radius + 0.05) / np.tan(pitch) + 2 * np.pi * arm / n_arms
    phase = phase + scatter * rng.standard_normal((n, N_KNOTS)) + rng.uniform(0, 2 * np.pi, n)[:, None]
    scale = (r_e * light_profiles.stretch(q))[:, None]
    major, minor = scale * radius * np.cos(phase), scale * radius * np.sin(phase) * q[:, None]
    flux = np.exp(0.7 * rng.standard_normal((n, N_KNOTS)))
    return {
        "x": major * np.cos(angle)[:, None] - minor * np.sin(angle)[:, None],
        "y": major * np.sin(angle)[:, None] + minor * np.cos(angle)[:, None],
        "var": (r_e[:, None] * (0.06 + 0.10 * radius)) ** 2 * q[:, None],
        "knots": flux / flux.sum(axis=1, keepdims=True),
    }


@lru_cache(maxsize=4)
def _by_age(ssps: Populations) -> tuple[Populations, ...]:
    """The populations three times: only the old shine, only the middle-aged, only the young."""
    ages, edges = ssps.ages[:, None, None], ((OLD, np.inf), (YOUNG, OLD), (0, YOUNG))
    shining = [np.where((ages >= low) & (ages < high), ssps.spectra, 0) for low, high in edges]
    return tuple(dataclasses.replace(ssps, spectra=spectra) for spectra in shining)


@lru_cache(maxsize=8)
def band_curves(camera: Camera) -> Curves:
    return curves_of(dict(zip(camera.bands, camera.curves, strict=True)))


def tensor(value, device) -> torch.Tensor:
    return torch.as_tensor(np.asarray(value), dtype=torch.float32, device=device)
