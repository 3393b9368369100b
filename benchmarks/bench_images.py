"""Stamps of the mock sky: a stream against galaxies drawn one by one, in the same run.

The stream is everything: synthetic photometry, bulge, disc, arms, dust lane, neighbours, dust of the Milky Way,
atmosphere, pixels, noise and artefacts.
What is drawn one by one is less, a single Sersic profile in every band behind the same PSF, with fluxes given: by
astropy and scipy (profile on pixels five times finer, two Gaussian filters), and by galsim where it is installed (pip
install galsim), once with a new Sersic index for every galaxy, for which it makes a table, and again with all tables
made. Round, smooth galaxies must agree.

On cores that other programs use, threads wait for each other, and two can be several times slower than one: the stream
is timed on one thread and on all, and the faster is compared.
"""

import dataclasses
import os
import time

import numpy as np
import torch
from astropy.modeling.models import Sersic2D
from scipy.ndimage import gaussian_filter
from scipy.special import gamma, gammaincinv

from paper_utils.base.distances import kpc_per_arcsec
from paper_utils.files import templates
from paper_utils.sky import cameras, galaxies, populations
from paper_utils.sky import images as morphology

N, N_LOOP, FINE = 2000, 20, 5


def with_astropy(row, r_e, q, angle, flux, camera):
    """(B, H, W) without noise; r_e [pixels] along the major axis."""
    at = (np.arange(camera.size * FINE) - (camera.size * FINE - 1) / 2) / FINE
    profile = Sersic2D(1.0, r_e, row["n_sersic"], ellip=1 - q, theta=angle)(*np.meshgrid(at, at))
    var, share = camera.psf()
    image = [
        sum(s * gaussian_filter(profile, np.sqrt(v) * FINE) for v, s in zip(var[:, i], share, strict=True))
        for i in range(len(flux))
    ]
    image = np.array(image).reshape(len(flux), camera.size, FINE, camera.size, FINE).mean(axis=(2, 4))
    n = row["n_sersic"]
    b = gammaincinv(2 * n, 0.5)
    total = 2 * np.pi * n * np.exp(b) * b ** (-2 * n) * gamma(2 * n) * r_e**2 * q
    return image * (flux / total)[:, None, None]


def with_galsim(row, r_e, q, angle, flux, camera):
    import galsim

    profile = galsim.Sersic(n=float(row["n_sersic"]), half_light_radius=float(r_e * q**0.5))
    profile = profile.shear(q=float(q), beta=float(angle) * galsim.radians)
    image = []
    for i, total in enumerate(flux):
        var, share = camera.psf()
        psf = galsim.Add(
            *(galsim.Gaussian(sigma=float(v**0.5), flux=float(s)) for v, s in zip(var[:, i], share, strict=True))
        )
        seen = galsim.Convolve(profile, psf).withFlux(float(total))
        image.append(seen.drawImage(nx=camera.size, ny=camera.size, scale=1.0, method="auto").array)
    return np.array(image)


def one_by_one(draw, truth, r_e, flux, camera):
    """Noiseless stamps of round galaxies, and seconds per stamp with noise."""
    rng = np.random.default_rng(0)
    sigma, gain = (value[:, None, None] for value in camera.noise())
    begin, clean = time.perf_counter(), []
    for i, row in enumerate(truth):
        image = draw(row, r_e[i], 1.0, 0.0, flux[i], camera)
        image + rng.standard_normal(image.shape) * np.sqrt(image.clip(0) / gain + sigma**2)
        clean.append(image)
    return np.array(clean), (time.perf_counter() - begin) / len(truth)


def stream_seconds(ssps, camera, n):
    next(morphology.batches(4, ssps, camera, seed=1))  # tables shared by all galaxies are made here
    begin = time.perf_counter()
    for _ in morphology.batches(n, ssps, camera, seed=0):
        pass
    return (time.perf_counter() - begin) / n


def main():
    ssps = populations.from_emiles(templates.emiles())
    truth = galaxies.draw(400, 2, (0.03, 0.2))
    truth = truth[np.asarray(truth["quiescent"])][:N_LOOP]
    truth["inclination"], truth["ebv"] = 0.0, 0.0
    n_all = torch.get_num_threads()
    for camera, n in (
        (cameras.SDSS, N),
        (cameras.PAN_STARRS, N // 5),
        (cameras.LEGACY, N // 5),
        (cameras.LSST, N // 5),
    ):
        took = {}
        for n_threads in sorted({1, n_all}):
            torch.set_num_threads(n_threads)
            took[n_threads] = stream_seconds(ssps, camera, n)
        seconds = min(took.values())
        print(
            f"{camera.name}, {camera.size} x {camera.size} in {len(camera.bands)} bands, stamps per second by threads: "
            + ", ".join(f"{1 / took[n_threads]:.0f} on {n_threads}" for n_threads in took)
        )
        median = dataclasses.replace(camera, spread=(0.0, 0.0))
        images = morphology.images(truth, ssps, median, seed=0, noise=False, neighbours=False, spoilt=False)
        flux = np.stack([10 ** (-0.4 * (images.truth[f"mag_{band}"] - 22.5)) for band in camera.bands], axis=1)
        r_e = truth["r_e"] / kpc_per_arcsec(truth["z"]) / camera.pixel_scale
        for draw in (with_astropy, with_galsim, with_galsim):
            try:
                alone, alone_s = one_by_one(draw, truth, r_e, flux, camera)
            except ImportError:
                print("  galsim is not installed")
                continue
            # Ours lie off the centre by up to half a pixel: compare the light within circles.
            at = np.arange(camera.size) - (camera.size - 1) / 2
            inside = np.hypot(at, at[:, None]) < 2.5 / camera.pixel_scale
            r = camera.bands.index("r")
            off = abs(images.cube[:, r, inside].sum(axis=1) / alone[:, r, inside].sum(axis=1) - 1)
            print(
                f"  one by one {draw.__name__.replace('_', ' ')}: {1 / alone_s:.0f} per second, "
                f"{alone_s / seconds:.1f} times slower; light within 2.5 arcsec differs by {off.mean():.1%}"
            )
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
