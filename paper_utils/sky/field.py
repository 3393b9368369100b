"""What else lies on a stamp: galaxies and stars of the field, as many as the SDSS catalogue counts, anywhere."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from paper_utils.base.dust import planck
from paper_utils.base.photometry import ab_fluxes
from paper_utils.sky import galaxies, light_profiles, sdss_spectra, structure
from paper_utils.sky.cameras import Camera
from paper_utils.sky.populations import Populations

# Galaxies and stars per square degree in the SDSS catalogue (208 and 261 million on 14 555 deg2, down to r = 22.2), and
# the slopes of log counts with magnitude.
PER_DEG2, R_LIMIT, SLOPE = {"galaxies": 14_300, "stars": 17_900}, 22.2, {"galaxies": 0.45, "stars": 0.2}
R_BRIGHT = 14.0  # nothing is brighter: such stars saturate


def scene(rng, n: int, ssps: Populations, camera: Camera, device: str) -> light_profiles.Gaussians:
    """Field galaxies and stars anywhere on N stamps, as Gaussians that only the PSF has still to blur."""
    x, y, magnitude, flux = _objects(rng, n, "galaxies", ssps, camera)
    # Exponentials, with half-light radii of an arcsecond at 20th magnitude (by hand).
    r_e = 1.1 * 10 ** (-0.11 * (magnitude - 20) + 0.15 * rng.standard_normal(x.shape)) / camera.pixel_scale
    q = rng.uniform(0.3, 1, x.size)
    share, sigma = light_profiles.sersic(np.ones(1), 4)
    sigma = sigma * (r_e.ravel() * light_profiles.stretch(q))[:, None]
    values = (sigma, q, rng.uniform(0, np.pi, x.size), share[0][:, None] * flux.reshape(x.size, 1, -1))
    row = light_profiles.elongated(*(structure.tensor(v, device) for v in values), float(camera.psf()[0].min()), 3)
    centre_x, centre_y = (structure.tensor(v.reshape(-1, 1), device) for v in (x, y))
    row = row._replace(x=row.x + centre_x, y=row.y + centre_y)
    extended = light_profiles.Gaussians(*(v.reshape(n, -1, *v.shape[2:]) for v in row))

    x, y, _, flux = _objects(rng, n, "stars", ssps, camera)
    points = light_profiles.Gaussians(*(structure.tensor(v, device) for v in (x, y, np.zeros_like(x), flux)))
    return light_profiles.together(extended, points)


def _objects(rng, n: int, kind: str, ssps: Populations, camera: Camera):
    """x, y [pixels], r magnitudes, (N, slots) each, and fluxes (N, slots, B) [nmgy], 0 where a slot is empty."""
    mean = PER_DEG2[kind] * (camera.size * camera.pixel_scale / 3600) ** 2
    slots = int(np.ceil(mean + 3 * np.sqrt(mean))) + 1
    present = np.arange(slots) < rng.poisson(mean, n)[:, None]
    magnitude = np.maximum(R_LIMIT + np.log10(rng.uniform(1e-6, 1, (n, slots))) / SLOPE[kind], R_BRIGHT)
    colours = _colours(ssps, camera)[kind]
    colour = colours[rng.integers(0, len(colours), (n, slots))]
    flux = (present * 10 ** (-0.4 * (magnitude - 22.5)))[..., None] * colour
    x, y = rng.uniform(-camera.size / 2, camera.size / 2, (2, n, slots))
    return x, y, magnitude, flux


@lru_cache(maxsize=8)
def _colours(ssps: Populations, camera: Camera) -> dict[str, np.ndarray]:
    """Fluxes relative to r, (400, B): of galaxies of the mock sky, and of stars as black bodies of 3000 to 7000 K."""
    flux = sum(structure.lights(galaxies.draw(400, 0, (0.05, 0.45)), ssps, camera).values())
    temperature = 10 ** np.random.default_rng(0).normal(3.67, 0.08, 400)
    curves = structure.band_curves(camera)
    wave = sdss_spectra.band_grid(curves, np.zeros(1))
    stars = ab_fluxes(wave, planck(temperature, wave * 1e-4) / wave**2, curves)
    r = camera.bands.index("r")
    return {"galaxies": flux / flux[:, r : r + 1], "stars": stars / stars[:, r : r + 1]}
