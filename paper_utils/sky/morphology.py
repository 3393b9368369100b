"""Galaxies as cameras see them: stamps whose structure carries the light of the same galaxy's spectrum.

The stars that make a galaxy's spectrum are put in their places. Bulge and disc share the Sersic profile of the truth
(`n_sersic`, half-light radius `r_e`) between them: the bulge is its inner part, `b_t` of the light in r, made of the oldest
stars that there are; young stars and their gas lie in knots along spiral arms, or anywhere in galaxies of little mass;
gas that an active nucleus lights is a point. Fluxes of the parts add up to the galaxy's synthetic photometry. A disc
seen edge-on has a dust lane, reddened and deeper with `a_v`. Field galaxies and stars lie around, as many as the surveys
count. Structure that no column describes (arms, orientation, neighbours) is drawn from the seed. Numbers without a
source were set by hand to look like SDSS stamps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from paper_utils.data import Images
from paper_utils.sky import galaxies, nebular, optical, populations, profiles, stellar
from paper_utils.sky.cameras import Camera
from paper_utils.sky.populations import Populations

if TYPE_CHECKING:
    import torch
    from astropy.table import Table

# Columns of shape in the truth table and the range of each, beside those of starlight and gas.
RANGES = {"r_e": (1e-3, 1e3), "n_sersic": profiles.N_SERSIC, "b_t": (0, 1), "inclination": (0, 90), "quiescent": (0, 1)}
YOUNG, OLD = 0.12, 2.0  # Gyr: younger than a turn of the spiral pattern; older than most stars of a disc's bright part
SEGREGATION = 0.8  # of the bulge is made of the oldest stars that there are, the rest of the galaxy's mixture
IN_KNOTS = np.array([0.0, 0.3, 0.8])  # share of the old, middle-aged and young light of a disc that lies in its knots
N_KNOTS = 60
# Thickness of discs (as for their dust in `galaxies`) and of bulges; that of discs grows with the bulge, which makes
# early types round.
THICK_DISC, THICK_BULGE = 0.2, 0.65
DISC_NODES, BULGE_NODES = 17, 5
# Galaxies and stars per square degree in the SDSS catalogue (208 and 261 million on 14 555 deg2, down to r = 22.2) and
# the slopes of their counts.
FIELD_PER_DEG2, FIELD_LIMIT, FIELD_SLOPE = (14_300, 17_900), 22.2, (0.45, 0.2)


@dataclass(frozen=True)
class Batch:
    """Mock stamps `cube` (N, B, H, W) [nmgy], a tensor on one device, and the `truth` of their galaxies."""

    truth: Table
    cube: torch.Tensor


@dataclass(frozen=True)
class Light:
    """Where a galaxy's light comes from: fluxes (N, B) [nmgy] whose sum is the galaxy's synthetic photometry."""

    bulge: np.ndarray
    disc: np.ndarray
    knots: np.ndarray
    nucleus: np.ndarray

    @property
    def total(self) -> np.ndarray:
        return self.bulge + self.disc + self.knots + self.nucleus


def images(
    truth: Table,
    ssps: Populations,
    camera: Camera,
    *,
    seed: int,
    device: str = "cpu",
    noise: bool = True,
    field: bool = True,
) -> Images:
    """Stamps of the galaxies of a truth table (`galaxies.draw`), in the container that real ones fill.

    camera : `cameras.SDSS` (ugriz, 64 x 64), `cameras.PAN_STARRS` (grizy, 224 x 224), or one made from them.
    noise : of sky and photons.   field : neighbours and stars.
    The truth comes back with mag_<band> of the whole galaxy, noiseless, and position_angle [deg, from x to y].
    The same arguments give the same images. Raises DataError for a senseless row and for a redshift at which a band
    leaves the templates (u beyond 0.75).
    """
    from astropy.table import vstack

    if len(truth) == 0:
        shape = (0, len(camera.bands), camera.size, camera.size)
        parts = [Batch(truth, np.zeros(shape, np.float32))]
    else:
        parts = list(_stream(truth, ssps, camera, seed, device, noise, field, batch_size=1000))
        parts = [Batch(part.truth, part.cube.cpu().numpy()) for part in parts]
    truth = vstack([part.truth for part in parts], metadata_conflicts="silent")
    return Images(
        cube=np.concatenate([part.cube for part in parts]),
        bands=np.array(camera.bands),
        pixel_scale=camera.pixel_scale,
        z=np.asarray(truth["z"]),
        ids=np.asarray(truth["id"]),
        truth=truth,
    )


def batches(
    n: int,
    ssps: Populations,
    camera: Camera,
    *,
    seed: int = 0,
    batch_size: int = 1000,
    device: str = "cpu",
    z_range: tuple[float, float] = (0.01, optical.Z_MAX),
    noise: bool = True,
    field: bool = True,
) -> Iterator[Batch]:
    """`n` galaxies of the SDSS main sample as a camera sees them, in batches; nothing touches the disk.

    They are the galaxies, in the same order, of `optical.batches` with the same n, seed and z_range: images here,
    spectra there. The same arguments give the same images on the same kind of device.
    """
    truth = galaxies.draw(n, seed, z_range)
    yield from _stream(truth, ssps, camera, seed, device, noise, field, batch_size)


def _stream(truth, ssps, camera, seed, device, noise, field, batch_size) -> Iterator[Batch]:
    import torch

    rng = np.random.default_rng([seed, 1])  # not the numbers that drew the galaxies
    generator = torch.Generator(device).manual_seed(seed)
    for start in range(0, len(truth), batch_size):
        part = truth[start : start + batch_size]
        light = lights(part, ssps, camera, device)
        shape = _shapes(rng, part, camera, device)
        around = _field(rng, len(part), ssps, camera, device) if field else None
        cube = torch.empty(len(part), len(camera.bands), camera.size, camera.size, device=device)
        fluxes = {f.name: _tensor(getattr(light, f.name), device) for f in dataclasses.fields(light)}
        for i in range(0, len(part), _chunk(camera, device)):
            rows = slice(i, i + _chunk(camera, device))
            some = {name: value[rows] for name, value in shape.items()}
            cube[rows] = _draw(some, {name: flux[rows] for name, flux in fluxes.items()}, camera)
            if around is not None:
                cube[rows] += profiles.stamps(_row_of(around, rows), camera.size, *_psf(camera, device))
            if noise:
                cube[rows] = camera.expose(cube[rows], generator)
        part["position_angle"] = np.degrees(shape["angle"].cpu().numpy())
        for band, magnitude in zip(camera.bands, 22.5 - 2.5 * np.log10(light.total.T), strict=True):
            part[f"mag_{band}"] = magnitude
        yield Batch(part, cube)


def lights(truth: Table, ssps: Populations, camera: Camera, device: str = "cpu") -> Light:
    """The light of each part of N galaxies in a camera's bands; bulge and disc split the light in r by `b_t`."""
    columns = populations.checked(truth, RANGES, "A shape")
    z = np.asarray(truth["z"], float)
    curves = _curves(camera)
    # One grid for all redshifts of the sky, so that the templates are prepared once.
    wave = optical.band_grid(curves, np.array([0.0, max(optical.Z_MAX, z.max())]))
    by_age = [
        optical.band_fluxes(stellar.rest_spectra(truth, wave, stars, device), wave, z, curves)
        for stars in _by_age(ssps)
    ]
    gas = nebular.luminosities(truth)
    quiet = truth.copy()
    quiet["agn_strength"] = 0.0
    of_young = nebular.luminosities(quiet)
    by_age[2] = by_age[2] + optical.line_fluxes(of_young, z, curves)
    light = 1e9 * np.stack(by_age, axis=1)  # (N, 3, B): old, middle-aged, young
    nucleus = 1e9 * optical.line_fluxes(gas - of_young, z, curves)

    in_r = light[:, :, camera.bands.index("r")]  # (N, 3)
    wanted = columns["b_t"] * in_r.sum(axis=1)
    before = np.cumsum(in_r, axis=1) - in_r  # the light of all that is older
    oldest_first = np.clip(wanted[:, None] - before, 0, in_r) / np.maximum(in_r, 1e-30)
    share = SEGREGATION * oldest_first + (1 - SEGREGATION) * columns["b_t"][:, None]
    bulge, rest = (light * share[..., None]).sum(axis=1), light * (1 - share)[..., None]
    in_knots = IN_KNOTS * (1 - columns["quiescent"])[:, None]
    knots = (rest * in_knots[..., None]).sum(axis=1)
    return Light(bulge=bulge, disc=rest.sum(axis=1) - knots, knots=knots, nucleus=nucleus)


def _draw(shape: dict, flux: dict, camera: Camera) -> torch.Tensor:
    """Noiseless stamps (n, B, H, W) of the galaxies alone."""
    import torch

    var, share = _psf(camera, shape["q"].device)
    blur = float(var.min())
    bulge = profiles.elongated(
        shape["sigma"] * shape["stretch_bulge"][:, None], shape["q_bulge"], shape["angle"],
        shape["bulge"][..., None] * flux["bulge"][:, None], blur, BULGE_NODES,
    )  # fmt: skip
    disc = profiles.elongated(
        shape["sigma"] * shape["stretch"][:, None], shape["q"], shape["angle"],
        shape["disc"][..., None] * flux["disc"][:, None], blur, DISC_NODES,
    )  # fmt: skip
    zero = torch.zeros_like(shape["q"])[:, None]
    nucleus = profiles.Gaussians(zero, zero, zero, flux["nucleus"][:, None])
    knots = profiles.Gaussians(
        shape["x"], shape["y"], shape["var"], shape["knots"][..., None] * flux["knots"][:, None]
    )
    scene = profiles.together(bulge, disc, knots, nucleus)
    scene = scene._replace(x=scene.x + shape["x0"][:, None], y=scene.y + shape["y0"][:, None])
    image = profiles.stamps(scene, camera.size, var, share)
    return _dust_lane(image, shape, sum(flux.values()), blur)


def _dust_lane(image: torch.Tensor, shape: dict, total: torch.Tensor, blur: float) -> torch.Tensor:
    """A lane along the major axis that dims the image; what it takes is given back elsewhere, for `a_v` is in `total`."""
    import torch

    size = image.shape[-1]
    at = torch.arange(size, device=image.device, dtype=image.dtype) - (size - 1) / 2
    x, y = at - shape["x0"][:, None], at - shape["y0"][:, None]  # (n, W), (n, H)
    cos, sin = (f(shape["angle"])[:, None, None] for f in (torch.cos, torch.sin))
    along = x[:, None, :] * cos + y[:, :, None] * sin
    across = y[:, :, None] * cos - x[:, None, :] * sin
    length, width = shape["lane_length"][:, None, None], shape["lane_width"][:, None, None]
    seen = (width**2 + blur).sqrt()  # a thin lane is blurred: wider and shallower
    pattern = torch.exp(-0.5 * ((along / length) ** 2 + ((across - shape["lane_offset"][:, None, None]) / seen) ** 2))
    depth = -torch.expm1(-shape["lane_tau"])[:, :, None, None] * (width / seen)[:, None]
    taken = image * (depth * pattern[:, None])
    left = total - taken.sum(dim=(2, 3))
    return (image - taken) * (total / left)[:, :, None, None]


def _shapes(rng, truth: Table, camera: Camera, device: str) -> dict[str, torch.Tensor]:
    """Everything about N galaxies but their fluxes, in pixels and radians: tensors with N rows."""
    p = populations.checked(truth, RANGES | {"a_v": populations.RANGES["a_v"], "log_mstar": (0, 15)}, "A shape")
    z, n = np.asarray(truth["z"], float), len(truth)
    r_e = p["r_e"] / optical.kpc_per_arcsec(z) / camera.pixel_scale
    share, sigma = profiles.sersic(p["n_sersic"])
    inner = np.cumsum(share, axis=1) - share
    bulge = np.clip(p["b_t"][:, None] - inner, 0, share)  # the inner Gaussians, up to b_t
    disc = share - bulge
    cos_i = np.cos(np.radians(p["inclination"]))
    thick = THICK_DISC + (THICK_BULGE - THICK_DISC) * p["b_t"] ** 2
    q, q_bulge = (np.sqrt(cos_i**2 + t**2 * (1 - cos_i**2)) for t in (thick, THICK_BULGE))
    angle = rng.uniform(0, np.pi, n)
    edge_on = np.clip((p["inclination"] - 70) / 12, 0, 1) * (1 - p["quiescent"]) * (1 - p["b_t"])
    rest_um = np.array([np.average(wave, weights=response) for wave, response in _curves(camera).values()])
    law = np.stack([stellar.attenuation(rest_um / (1 + at)) for at in z])
    arrays = {
        "sigma": sigma * r_e[:, None],
        "bulge": bulge / np.maximum(bulge.sum(axis=1, keepdims=True), 1e-9),
        "disc": disc / np.maximum(disc.sum(axis=1, keepdims=True), 1e-9),
        "q": q, "stretch": profiles.stretch(q), "q_bulge": q_bulge, "stretch_bulge": profiles.stretch(q_bulge),
        "angle": angle, "x0": rng.uniform(-0.5, 0.5, n), "y0": rng.uniform(-0.5, 0.5, n),
        "lane_tau": (edge_on * np.minimum(0.5 + 2 * p["a_v"], 3))[:, None] * law,
        "lane_length": 1.5 * r_e, "lane_width": 0.12 * r_e,
        "lane_offset": 0.4 * r_e * cos_i * rng.choice([-1, 1], n),
    } | _knots(rng, p, disc, sigma, q, angle, r_e)  # fmt: skip
    return {name: _tensor(value, device) for name, value in arrays.items()}


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
    scale = (r_e * profiles.stretch(q))[:, None]
    major, minor = scale * radius * np.cos(phase), scale * radius * np.sin(phase) * q[:, None]
    flux = np.exp(0.7 * rng.standard_normal((n, N_KNOTS)))
    return {
        "x": major * np.cos(angle)[:, None] - minor * np.sin(angle)[:, None],
        "y": major * np.sin(angle)[:, None] + minor * np.cos(angle)[:, None],
        "var": (r_e[:, None] * (0.06 + 0.10 * radius)) ** 2 * q[:, None],
        "knots": flux / flux.sum(axis=1, keepdims=True),
    }


def _field(rng, n: int, ssps: Populations, camera: Camera, device: str) -> profiles.Gaussians:
    """Field galaxies and stars anywhere on N stamps, as Gaussians that only the PSF has still to blur."""
    area = (camera.size * camera.pixel_scale / 3600) ** 2
    colours, parts = _field_colours(ssps, camera), []
    for kind, density, slope in zip(colours, FIELD_PER_DEG2, FIELD_SLOPE, strict=True):
        mean = area * density
        slots = int(np.ceil(mean + 3 * np.sqrt(mean))) + 1
        present = np.arange(slots) < rng.poisson(mean, n)[:, None]
        magnitude = np.maximum(FIELD_LIMIT + np.log10(rng.uniform(1e-6, 1, (n, slots))) / slope, 14)
        colour = colours[kind][rng.integers(0, len(colours[kind]), (n, slots))]  # (N, slots, B), 1 in r
        flux = (present * 10 ** (-0.4 * (magnitude - 22.5)))[..., None] * colour
        x, y = rng.uniform(-camera.size / 2, camera.size / 2, (2, n, slots))
        if kind == "stars":
            arrays = (x, y, np.zeros_like(x), flux)
            parts.append(profiles.Gaussians(*(_tensor(value, device) for value in arrays)))
            continue
        # Half-light radii of galaxies of 20th magnitude are about an arcsecond; exponential, in four Gaussians.
        r_e = 1.1 * 10 ** (-0.11 * (magnitude - 20) + 0.15 * rng.standard_normal((n, slots))) / camera.pixel_scale
        q = rng.uniform(0.3, 1, (n, slots)).ravel()
        share, sigma = profiles.sersic(np.ones(1), 4)
        values = (
            sigma * (r_e.ravel() * profiles.stretch(q))[:, None], q, rng.uniform(0, np.pi, n * slots),
            share[0][:, None] * flux.reshape(n * slots, 1, -1),
        )  # fmt: skip
        row = profiles.elongated(*(_tensor(value, device) for value in values), float(camera.psf()[0].min()), 5)
        row = row._replace(x=row.x + _tensor(x.ravel(), device)[:, None], y=row.y + _tensor(y.ravel(), device)[:, None])
        parts.append(profiles.Gaussians(*(v.reshape(n, -1, *v.shape[2:]) for v in row)))
    return profiles.together(*parts)


@lru_cache(maxsize=8)
def _field_colours(ssps: Populations, camera: Camera) -> dict[str, np.ndarray]:
    """Fluxes relative to r, (400, B): of galaxies of the mock sky, and of stars as black bodies."""
    curves = _curves(camera)
    truth = galaxies.draw(400, 0, (0.05, 0.45))
    flux = lights(truth, ssps, camera).total
    temperature = np.random.default_rng(0).normal(3.67, 0.08, 400)[:, None]
    stars = []
    for wave, response in curves.values():
        f_nu = wave**-3 / np.expm1(1.4388e8 / (wave * 10**temperature))
        stars.append(np.trapezoid(f_nu * response / wave, wave) / np.trapezoid(response / wave, wave))
    r = camera.bands.index("r")
    return {"galaxies": flux / flux[:, r : r + 1], "stars": np.stack(stars, axis=1) / stars[r][:, None]}


@lru_cache(maxsize=4)
def _by_age(ssps: Populations) -> tuple[Populations, ...]:
    """The populations three times: only the old shine, only the middle-aged, only the young."""
    edges = (OLD, np.inf), (YOUNG, OLD), (0, YOUNG)
    shining = [(ssps.ages >= low) & (ssps.ages < high) for low, high in edges]
    return tuple(
        dataclasses.replace(ssps, spectra=np.where(which[:, None, None], ssps.spectra, 0)) for which in shining
    )


@lru_cache(maxsize=8)
def _curves(camera: Camera) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return optical.curves_of(dict(zip(camera.bands, camera.curves, strict=True)))


def _psf(camera: Camera, device) -> tuple[torch.Tensor, torch.Tensor]:
    var, share = camera.psf()
    return _tensor(var, device), _tensor(share, device)


def _row_of(scene: profiles.Gaussians, rows: slice) -> profiles.Gaussians:
    return profiles.Gaussians(*(value[rows] for value in scene))


def _tensor(value, device) -> torch.Tensor:
    import torch

    return torch.as_tensor(np.asarray(value), dtype=torch.float32, device=device)


def _chunk(camera: Camera, device: str) -> int:
    """Stamps at once: few stay in a processor's cache, many fill a GPU without filling its memory."""
    return max(1, (512 if str(device) == "cpu" else 32768) // camera.size)
