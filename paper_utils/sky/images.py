"""Galaxies as cameras see them: stamps of the mock sky, whose structure carries the light of the same spectra.

`structure` says where a galaxy's light lies, `field` what lies around it, `foreground` what the Milky Way's dust takes
of both; `light_profiles` draws them, `cameras` add seeing and noise, which differ from field to field, and `artefacts`
spoil a few. All is batched and runs on any device.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from astropy.table import Table, vstack

from paper_utils.base.containers import Images
from paper_utils.base.errors import DataError
from paper_utils.sky import artefacts, field, foreground, galaxies, light_profiles, sdss_spectra, structure
from paper_utils.sky.cameras import Camera
from paper_utils.sky.populations import Populations


class Batch(NamedTuple):
    """Mock stamps `cube` (N, B, H, W) [nmgy], a tensor on one device, and the `truth` of their galaxies."""

    truth: Table
    cube: torch.Tensor


def images(truth: Table, ssps: Populations, camera: Camera, *, seed: int, **options) -> Images:
    """Stamps of the galaxies of a truth table (`galaxies.draw`), in the container that real ones fill.

    camera : one of `cameras.CAMERAS` (SDSS has ugriz and 64 x 64 pixels, Pan-STARRS grizy and 224 x 224, Legacy grz and
        152 x 152, LSST ugrizy and 200 x 200), or one made from them; with spread=(0, 0) all fields are the median.
    options : device, "cpu" unless given; noise=False leaves out that of sky and photons, neighbours=False the galaxies
        and stars of the field, spoilt=False the artefacts; batch_size, how many are made at a time.
    Galaxies lie at the stamp's centre to half a pixel, behind the dust of the Milky Way (E(B-V) in the column `ebv`,
    none without it). The truth comes back with mag_<band>, AB, of the whole galaxy without noise and above the Milky
    Way's dust, position_angle [deg, of the major axis, from x to y], seeing [arcsec, FWHM in r] and depth_r [mag, of a
    star at 5 sigma] of the field, and artefact ("none" or one of `artefacts.KINDS`).

    The same arguments give the same images, on the same kind of device; structure and neighbours do not depend on
    `noise`. Raises DataError for an empty table, for a senseless row, and for a redshift at which a band leaves the
    templates (0.75 for u).
    """
    if not len(truth):
        raise DataError("the table has no galaxies", remedy="Draw some: galaxies.draw.", row="truth")
    cube, tables = np.empty((len(truth), len(camera.bands), camera.size, camera.size), np.float32), []
    for part in _stream(truth, ssps, camera, seed, **options):
        done = sum(map(len, tables))
        cube[done : done + len(part.cube)] = part.cube.cpu().numpy()
        tables.append(part.truth)
    truth = vstack(tables, metadata_conflicts="silent")
    z, ids = np.asarray(truth["z"]), np.asarray(truth["id"])
    return Images(cube, np.array(camera.bands), camera.pixel_scale, z, ids, truth)


def batches(
    n: int, ssps: Populations, camera: Camera, *, seed: int = 0, z_range=(0.01, sdss_spectra.Z_MAX), **options
) -> Iterator[Batch]:
    """`n` galaxies of the SDSS main sample as a camera sees them, in batches; nothing touches the disk.

    They are the galaxies, in the same order, of `sdss_spectra.batches` with the same n, seed and z_range: images here,
    spectra there. The same arguments give the same images, on the same kind of device. options : as in `images`.
    """
    return _stream(galaxies.draw(n, seed, z_range), ssps, camera, seed, **options)


def _stream(
    truth, ssps, camera, seed, *, batch_size=250, device="cpu", noise=True, neighbours=True, spoilt=True
) -> Iterator[Batch]:
    # Neither the numbers that drew the galaxies nor each other's.
    of_shapes, of_field, of_camera, of_flaws = (np.random.default_rng([seed, stream]) for stream in (1, 2, 3, 4))
    generator = torch.Generator(device).manual_seed(seed)
    # Stamps at once: few stay in a processor's cache, many fill a GPU without filling its memory.
    chunk = max(1, (512 if str(device) == "cpu" else 32768) // camera.size)
    r = camera.bands.index("r")
    for start in range(0, len(truth), batch_size):
        part = truth[start : start + batch_size]
        light = structure.lights(part, ssps, camera, device)
        passed = foreground.passed(part, structure.band_curves(camera))
        flux = {name: structure.tensor(value * passed, device) for name, value in light.items()}
        shape = structure.shapes(of_shapes, part, camera, device)
        fwhm, depth = camera.draw(of_camera, len(part))
        var, share = (structure.tensor(value, device) for value in camera.psf(fwhm))
        flaws = artefacts.draw(of_flaws, len(part), len(camera.bands))
        if neighbours:
            around = field.scene(of_field, len(part), ssps, camera, device)
            around = around._replace(flux=around.flux * structure.tensor(passed, device)[:, None])
        cube = torch.empty(len(part), len(camera.bands), camera.size, camera.size, device=device)
        some = [slice(i, i + chunk) for i in range(0, len(part), chunk)]
        for rows in some:
            of = ({name: value[rows] for name, value in values.items()} for values in (shape, flux))
            image = structure.draw(*of, camera.size, var[rows, 0])
            if neighbours:
                there = (around.flux[rows] > 0).any(dim=2).any(dim=0)  # most places are empty
                near = light_profiles.Gaussians(*(value[rows][:, there] for value in around))
                image += light_profiles.core(near, camera.size, var[rows, 0])
            cube[rows] = light_profiles.with_wing(image, var[rows], share)
        if spoilt:
            artefacts.add_trails(cube, flaws, camera.noise(fwhm, depth)[0], camera.psf(fwhm)[0][:, 0])
        for rows in some if noise else ():
            cube[rows] = camera.expose(cube[rows], generator, fwhm[rows], depth[rows])
        if spoilt:
            artefacts.cut_corners(cube, flaws)
        part["position_angle"] = np.degrees(shape["angle"].cpu().numpy())
        for band, magnitude in zip(camera.bands, 22.5 - 2.5 * np.log10(sum(light.values()).T), strict=True):
            part[f"mag_{band}"] = magnitude
        part["seeing"], part["depth_r"] = fwhm[:, r], depth[:, r]
        part["artefact"] = flaws.kind if spoilt else "none"
        yield Batch(part, cube)
