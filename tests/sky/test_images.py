"""Images of the mock sky: fluxes are the spectrum's, shapes the truth's, PSF and noise the survey's."""

import dataclasses

import numpy as np
import pytest
import torch
from astropy.modeling import fitting, models

from paper_utils.base import paths
from paper_utils.base.containers import WAVE_OBS
from paper_utils.base.distances import kpc_per_arcsec
from paper_utils.base.errors import DataError
from paper_utils.base.photometry import ab_fluxes
from paper_utils.sky import (
    apertures,
    artefacts,
    cameras,
    field,
    foreground,
    galaxies,
    light_profiles,
    sdss_spectra,
    structure,
)
from paper_utils.sky import images as morphology
from paper_utils.sky.cameras import CAMERAS, PAN_STARRS, SDSS

SMALL = dataclasses.replace(SDSS, size=32)
STEADY = dataclasses.replace(SMALL, spread=(0.0, 0.0))
SHARP = dataclasses.replace(SDSS, fwhm=(0.1,) * 5, wing_share=0.0)
CUTOUTS = paths.ROOT.parent / "shared" / "real_data" / "sdss_cutouts_dl4astro"


@pytest.fixture(scope="module")
def truth():
    found = galaxies.draw(400, 3, (0.03, 0.25))
    found["ebv"] = 0.0  # no dust of the Milky Way but where a test asks for it
    return found


def clean(truth, ssps, camera, seed=1):
    return morphology.images(truth, ssps, camera, seed=seed, noise=False, neighbours=False, spoilt=False)


def radii(size):
    at = np.arange(size) - (size - 1) / 2
    return np.hypot(at[:, None], at)


# --- light


@pytest.mark.parametrize("camera", [SDSS, PAN_STARRS], ids=lambda camera: camera.name)
def test_parts_add_up_to_the_photometry_of_the_spectrum(truth, ssps, camera):
    light = structure.lights(truth, ssps, camera)
    synthetic = sdss_spectra.magnitudes(truth, structure.band_curves(camera), ssps)
    for i, band in enumerate(camera.bands):
        flux = 10 ** (-0.4 * (np.asarray(synthetic[band]) - 22.5))  # nmgy
        np.testing.assert_allclose(sum(light.values())[:, i], flux, rtol=0.01)
    for part in light.values():
        assert (part >= 0).all()
    r = camera.bands.index("r")
    stars = sum(light.values())[:, r] - light["nucleus"][:, r]
    off = light["bulge"][:, r] / stars - truth["b_t"]
    assert abs(np.median(off)) < 0.03
    assert np.percentile(abs(off), 90) < 0.07
    # A bar has its share, of the smooth disc's colour.
    barred = np.asarray(truth["bar"]) > 0
    assert np.median(light["bar"][barred, r] / stars[barred] / truth["bar"][barred]) == pytest.approx(1, abs=0.1)
    assert (light["bar"][~barred] == 0).all()


def test_bulges_are_redder_than_discs_and_knots_are_blue(truth, ssps):
    light = structure.lights(truth, ssps, SDSS)

    def g_r(part):
        return -2.5 * np.log10(part[:, 1] / np.maximum(part[:, 2], 1e-30) + 1e-30)

    quiet = np.asarray(truth["quiescent"])
    spiral = ~quiet & (np.asarray(truth["b_t"]) > 0.02)
    apart = g_r(light["bulge"]) - g_r(light["disc"])
    assert (apart > 0)[spiral].mean() > 0.98
    assert np.median(apart[spiral]) > 0.1
    assert np.median((g_r(light["disc"]) - g_r(light["knots"]))[spiral]) > 0.1
    # Quiescent galaxies have no knots, and a smaller gradient.
    assert (light["knots"][quiet] == 0).all()
    assert 0.02 < np.median(apart[quiet]) < np.median(apart[spiral])


def test_a_fibre_on_the_image_holds_the_light_of_the_spectrum(ssps):
    """An aperture of 3 arcsec on noiseless stamps, at the fibre's seeing, against the photometry of fibre spectra."""
    truth = galaxies.draw(150, 8, (0.03, 0.25))
    camera = dataclasses.replace(SDSS, size=24, fwhm=(apertures.SEEING,) * 5, wing_share=0.0)
    flux = {name: structure.tensor(v, "cpu") for name, v in structure.lights(truth, ssps, camera).items()}
    shape = structure.shapes(np.random.default_rng(0), truth, camera, "cpu")
    core = structure.tensor(camera.psf()[0][:1], "cpu").expand(len(truth), -1)
    cube = structure.draw(shape, flux, camera.size, core).double().numpy()
    # Pixels in nine parts each, about the galaxy's own centre.
    at = (np.arange(24 * 9) - (24 * 9 - 1) / 2) / 9
    x, y = (at - shape[name].numpy()[:, None] for name in ("x0", "y0"))
    inside = np.hypot(x[:, None, :], y[:, :, None]) * camera.pixel_scale < apertures.FIBRE_RADIUS
    inside = inside.reshape(len(truth), 24, 9, 24, 9).mean(axis=(2, 4))
    seen = np.einsum("nbyx,nyx->bn", cube, inside)
    truth["ebv"] = 0.0  # the parts of an image lie before the Milky Way's dust
    spectra = sdss_spectra.fibre_spectra(truth, ssps).double().numpy() * 1e-17
    curves = {band: curve for band, curve in structure.band_curves(camera).items() if band in "gri"}
    wanted = 1e9 * ab_fluxes(WAVE_OBS, spectra, curves).T
    for band, ours, theirs in zip("gri", seen[1:4], wanted, strict=True):
        ratio = ours / theirs
        assert np.median(ratio) == pytest.approx(1, abs=0.02), band
        assert np.percentile(abs(ratio - 1), 84) < 0.08, band  # knots and dust lanes lie where they lie
    colour = np.log10(seen[1] / seen[2]) - np.log10(wanted[0] / wanted[1])
    assert abs(np.median(2.5 * colour)) < 0.01


def test_active_nuclei_are_points_of_line_light(truth, ssps):
    light = structure.lights(truth, ssps, SDSS)
    active = np.asarray(truth["agn_strength"]) > 0
    assert (light["nucleus"][active].sum(axis=1) > 0).all()
    assert (abs(light["nucleus"][~active]) < 1e-9 * sum(light.values())[~active]).all()


@pytest.mark.parametrize("camera", [SDSS, PAN_STARRS], ids=lambda camera: camera.name)
def test_pixels_add_up_to_the_photometry_of_the_spectrum(truth, ssps, camera):
    # All light falls on the stamp if it is many radii wide: pixels of 1 arcsec, and profiles without long wings.
    camera = dataclasses.replace(camera, size=160, pixel_scale=1.0)
    some = truth[(truth["n_sersic"] < 2.5) & (truth["r_e"] / kpc_per_arcsec(truth["z"]) < 4)][:60]
    images = clean(some, ssps, camera)
    for i, band in enumerate(camera.bands):
        flux = 10 ** (-0.4 * (np.asarray(images.truth[f"mag_{band}"]) - 22.5))
        np.testing.assert_allclose(images.cube[:, i].sum(axis=(1, 2), dtype=float), flux, rtol=0.01)


# --- shapes


def test_half_light_radii_are_those_of_the_truth(truth, ssps):
    # In circles, at all inclinations, bands, and with dust lanes and arms; no atmosphere; big enough to be resolved.
    scale = np.asarray(truth["r_e"]) / kpc_per_arcsec(truth["z"])
    some = truth[(scale > 2) & (scale < 5) & (truth["n_sersic"] < 3)][:80]
    size = 181
    images = clean(some, ssps, dataclasses.replace(SHARP, size=size))
    order = np.argsort(radii(size), axis=None)
    r_band = images.cube[:, 2].reshape(len(some), -1)[:, order].astype(float)
    total = 10 ** (-0.4 * (np.asarray(images.truth["mag_r"]) - 22.5))
    growth = np.cumsum(r_band, axis=1) / total[:, None]
    half = radii(size).ravel()[order][(growth < 0.5).sum(axis=1)] * SDSS.pixel_scale
    expected = np.asarray(some["r_e"]) / kpc_per_arcsec(some["z"])
    ratio = half / expected
    assert np.median(ratio) == pytest.approx(1, abs=0.03)
    assert np.percentile(abs(ratio - 1), 84) < 0.15  # arms and bars scatter it, and light shares that are not b_t


def test_independent_fitter_finds_index_and_radius_of_smooth_galaxies(truth, ssps):
    some = truth[np.asarray(truth["quiescent"])][:4].copy()
    some["inclination"] = 0.0  # bulge and disc have one axis ratio, so the sum is one profile
    some["r_e"] = 5.0 * kpc_per_arcsec(some["z"])
    some["n_sersic"] = [1.0, 2.0, 3.0, 4.0]
    size = 141
    cube = clean(some, ssps, dataclasses.replace(SHARP, size=size)).cube[:, 2].astype(float)
    at = np.arange(size) - (size - 1) / 2
    x, y = np.meshgrid(at, at)
    keep = radii(size) > 3
    for image, n in zip(cube, some["n_sersic"], strict=True):
        start = models.Sersic2D(amplitude=image[70, 82], r_eff=9, n=1.6, ellip=0.05, theta=0)
        weight = 1 / np.sqrt(image[keep] + 1e-3 * image.max())
        fit = fitting.TRFLSQFitter()(start, x[keep], y[keep], image[keep], weights=weight, maxiter=500)
        assert fit.n.value == pytest.approx(n, rel=0.1)
        assert fit.r_eff.value * SDSS.pixel_scale == pytest.approx(5.0, rel=0.1)
        assert fit.ellip.value < 0.02


def test_axis_ratio_and_position_angle_follow_the_inclination(truth, ssps):
    some = truth[np.asarray(truth["quiescent"])][:30].copy()
    some["inclination"], some["b_t"], some["n_sersic"] = 75.0, 0.05, 1.0
    some["r_e"] = 2.0 * kpc_per_arcsec(some["z"])
    size = 161
    images = clean(some, ssps, dataclasses.replace(SHARP, size=size))
    at = np.arange(size) - (size - 1) / 2
    image = images.cube[:, 2].astype(float)
    x, y = ((image * at**2).sum(axis=(1, 2)), (image * at[:, None] ** 2).sum(axis=(1, 2)))
    xy = (image * at * at[:, None]).sum(axis=(1, 2))
    angle = np.degrees(0.5 * np.arctan2(2 * xy, x - y))
    assert np.cos(np.radians(2 * (angle - images.truth["position_angle"]))).min() > 0.99
    root = np.sqrt((x - y) ** 2 + 4 * xy**2)
    ratio = np.sqrt((x + y - root) / (x + y + root))
    cos_i = np.cos(np.radians(75))
    assert ratio == pytest.approx(np.sqrt(cos_i**2 + 0.2**2 * (1 - cos_i**2)), abs=0.05)


def test_dust_lane_of_a_disc_on_edge(truth, ssps):
    some = truth[~np.asarray(truth["quiescent"])][:1].copy()
    some["r_e"], some["b_t"], some["n_sersic"] = 4.0 * kpc_per_arcsec(some["z"]), 0.1, 1.0
    some["inclination"], some["quiescent"] = 90.0, False
    size = 121
    camera = dataclasses.replace(SDSS, fwhm=(0.4,) * 5, wing_share=0.0, size=size)
    cubes = []
    for a_v in (0.0, 1.0):
        some["a_v"] = a_v
        (image,) = clean(some, ssps, camera).cube
        cubes.append(image / image.sum(axis=(1, 2), keepdims=True))
    # The middle loses to the rest, most in u; with more dust the lane is deeper.
    low, high = (image[:, 58:63, 58:63].sum(axis=(1, 2)) for image in cubes)
    assert (high < 0.9 * low)[:3].all()
    assert (high / low)[0] < (high / low)[4]


def test_no_direction_is_special(ssps):
    # The mean of many galaxies has all eight symmetries of the square: dipoles and quadrupoles average to zero.
    truth = galaxies.draw(600, 12, (0.03, 0.2))
    cube = clean(truth, ssps, SMALL, seed=5).cube[:, 2].astype(float)
    cube /= cube.sum(axis=(1, 2), keepdims=True)
    at = np.arange(32) - 15.5
    moments = {
        "x": at + 0 * at[:, None],
        "y": at[:, None] + 0 * at,
        "x2 - y2": at**2 - at[:, None] ** 2,
        "xy": at * at[:, None],
    }
    for name, weight in moments.items():
        values = (cube * weight).sum(axis=(1, 2))
        assert abs(values.mean()) < 4 * values.std() / np.sqrt(len(values)), name
    # No pixel of the mean image turned or mirrored differs from the mean by more than chance.
    mean, error = cube.mean(axis=0), cube.std(axis=0) / np.sqrt(len(cube))
    for turned in (mean[::-1], mean[:, ::-1], mean.T, np.rot90(mean), np.rot90(mean, 2), np.rot90(mean, 3)):
        assert abs((turned - mean) / (2**0.5 * error)).max() < 4


# --- PSF, noise, field


@pytest.mark.parametrize("camera", CAMERAS.values(), ids=CAMERAS)
def test_psf_is_as_wide_as_asked(camera):
    fine = dataclasses.replace(camera, pixel_scale=0.02)
    var, share = fine.psf()
    r = np.arange(0, 200) + 0.0
    peak = (share[:, None, None] / var[..., None] * np.exp(-(r**2) / (2 * var[..., None]))).sum(axis=0)
    for i, fwhm in enumerate(camera.fwhm):
        half = np.interp(-0.5, -peak[i] / peak[i][0], r)
        assert 2 * half * 0.02 == pytest.approx(fwhm, rel=1e-3)
    # On the camera's own pixels a star is one: its second moments are those of the PSF and the pixel.
    var, share = (torch.tensor(v, dtype=torch.float32) for v in camera.psf())
    at = torch.arange(101) - 50.0
    second = (star_on(camera, 101).sum(dim=1) * at**2).sum(dim=1)
    np.testing.assert_allclose(second, (var * share[:, None]).sum(dim=0) + 1 / 12, rtol=2e-3)


def star_on(camera, size, fwhm=None):
    var, share = (torch.tensor(v, dtype=torch.float32) for v in camera.psf(fwhm))
    zero = torch.zeros(1, 1)
    star = light_profiles.Gaussians(zero, zero, zero, torch.ones(1, 1, len(camera.bands)))
    return light_profiles.stamps(star, size, var, share)[0]


def test_noise_of_an_empty_pixel_and_of_a_bright_one():
    generator = torch.Generator().manual_seed(0)
    sigma, gain = SDSS.noise()
    empty = SDSS.expose(torch.zeros(30, 5, 64, 64), generator)
    np.testing.assert_allclose(empty.std(dim=(0, 2, 3)), sigma, rtol=0.01)
    assert abs(empty.mean(dim=(0, 2, 3)) / torch.tensor(sigma)).max() < 0.04
    # Sky photons alone make it: sigma^2 = sky / gain, with the sky's surface brightness in a pixel.
    sky = 10 ** (-0.4 * (np.array(SDSS.sky) - 22.5)) * SDSS.pixel_scale**2
    np.testing.assert_allclose(sigma**2 * gain, sky, rtol=1e-6)
    # A source as bright as the sky doubles the variance.
    bright = SDSS.expose(torch.tensor(sky, dtype=torch.float32)[:, None, None].expand(30, 5, 64, 64), generator)
    np.testing.assert_allclose(bright.std(dim=(0, 2, 3)), 2**0.5 * sigma, rtol=0.01)


@pytest.mark.parametrize("camera", CAMERAS.values(), ids=CAMERAS)
def test_stars_at_the_depth_have_a_signal_to_noise_of_five(camera):
    # PSF photometry of simulated stars, in the median field and in one of bad seeing and little depth.
    for worse in (0.0, 0.2):
        fwhm, depth = np.array(camera.fwhm) * (1 + worse), np.array(camera.depth) - worse
        psf = star_on(camera, 41, fwhm)
        flux = torch.tensor(10 ** (-0.4 * (depth - 22.5)), dtype=torch.float32)
        stars = (psf * flux[:, None, None]).expand(3000, -1, -1, -1)
        empty, seen = (
            (camera.expose(on, torch.Generator().manual_seed(1), fwhm, depth) * psf).sum(dim=(2, 3))
            / psf.square().sum(dim=(1, 2))
            for on in (0 * stars, stars)
        )
        np.testing.assert_allclose(seen.mean(dim=0), flux, rtol=0.02)
        np.testing.assert_allclose(flux / empty.std(dim=0), 5, rtol=0.05)
        assert (flux / seen.std(dim=0) > 4.4).all()  # with the star's own photons


def test_noise_is_correlated_as_asked_and_only_between_neighbours():
    camera = dataclasses.replace(SDSS, correlation=(0.0, 0.1, 0.2, 0.35, 0.45))
    noise = camera.expose(torch.zeros(60, 5, 64, 64), torch.Generator().manual_seed(2))
    sigma, rho = camera.noise()[0], np.array(camera.correlation)

    def correlation(dx, dy):
        return (noise[..., dy:, dx:] * noise[..., : 64 - dy, : 64 - dx]).mean(dim=(0, 2, 3)).numpy() / sigma**2

    for dx, dy, expected in ((0, 0, rho**0), (1, 0, rho), (0, 1, rho), (1, 1, rho**2), (2, 0, 0 * rho)):
        np.testing.assert_allclose(correlation(dx, dy), expected, atol=0.01)
    # On large scales the noise is that of white noise of the same depth, whatever the correlation (but for the PSF).
    blocks = noise.unfold(2, 16, 16).unfold(3, 16, 16).sum(dim=(4, 5)).std(dim=(0, 2, 3))
    np.testing.assert_allclose(blocks, 16 * sigma * (1 + 2 * rho), rtol=0.08)


def test_fields_differ_and_say_how(truth, ssps):
    images = morphology.images(truth, ssps, SMALL, seed=3, spoilt=False)
    seeing, depth = (np.asarray(images.truth[name]) for name in ("seeing", "depth_r"))
    assert seeing.mean() == pytest.approx(1.32, abs=0.03)
    assert seeing.std() == pytest.approx(0.15, abs=0.02)
    assert depth.mean() == pytest.approx(22.70, abs=0.03)
    assert 0.1 < depth.std() < 0.2
    assert np.corrcoef(seeing, depth)[0, 1] < -0.6
    # The noise of each stamp is that of its field: bands are given r's conditions, which are theirs on a common field.
    together = dataclasses.replace(SMALL, together=1.0)
    noisy, clear = (
        morphology.images(truth[:60], ssps, together, seed=3, noise=on, spoilt=False) for on in (True, False)
    )
    wider = np.asarray(noisy.truth["seeing"])[:, None] / 1.32
    depth = np.asarray(noisy.truth["depth_r"])[:, None] - 22.70 + np.array(SMALL.depth)
    sigma, gain = (v[..., None, None] for v in SMALL.noise(wider * SMALL.fwhm, depth))
    chi = (noisy.cube - clear.cube) / np.sqrt(sigma**2 + clear.cube.clip(0) / gain)
    np.testing.assert_allclose(chi.std(axis=(2, 3)), 1, atol=0.2)
    assert chi.std() == pytest.approx(1, abs=0.01)
    # Bands are taken together, and a star is as wide as it is said.
    fwhm, _ = SDSS.draw(np.random.default_rng(0), 2000)
    assert np.corrcoef(np.log(fwhm).T)[0, 4] == pytest.approx(0.9, abs=0.03)


def test_reddening_undone_gives_the_unreddened_sky(truth, ssps):
    some = truth[:40].copy()
    some["ebv"] = np.linspace(0, 0.3, 40)
    through = clean(some, ssps, SMALL)
    some["ebv"] = 0.0
    above = clean(some, ssps, SMALL)
    np.testing.assert_array_equal(through.truth["mag_u"], above.truth["mag_u"])
    law = foreground.extinction(structure.band_curves(SMALL))
    undone = through.cube * 10 ** (0.4 * np.linspace(0, 0.3, 40)[:, None] * law)[..., None, None]
    np.testing.assert_allclose(undone, above.cube, rtol=1e-4, atol=1e-6)
    # Schlafly & Finkbeiner 2011 (2011ApJ...737..103S), table 6, R_V = 3.1: u g r i z per E(B-V) of
    # Schlegel+ 1998, of which 0.86 are real.
    np.testing.assert_allclose(law, np.array([4.239, 3.303, 2.285, 1.698, 1.263]) / 0.86, rtol=0.03)
    some.remove_column("ebv")
    np.testing.assert_array_equal(clean(some, ssps, SMALL).cube, above.cube)


def test_artefacts_spoil_a_few_stamps_and_are_named(ssps):
    truth = galaxies.draw(1500, 4, (0.03, 0.25))
    options = {"seed": 5, "noise": False}
    spoilt = morphology.images(truth, ssps, SMALL, **options).check()
    sound = morphology.images(truth, ssps, SMALL, spoilt=False, **options)
    kind = np.asarray(spoilt.truth["artefact"])
    share = 1 - (kind == "none").mean()
    assert 0.02 < share < 0.04
    assert set(kind) == {"none", *artefacts.KINDS}
    changed = (spoilt.cube != sound.cube).any(axis=(2, 3))
    np.testing.assert_array_equal(changed.any(axis=1), kind != "none")
    assert (changed[kind == "satellite"].sum(axis=1) == 1).all()
    corner = spoilt.cube[kind == "missing corner"] == 0
    assert (corner == corner[:, :1]).all()
    assert 0.01 < corner.mean(axis=(1, 2, 3)).min()
    assert corner.mean(axis=(1, 2, 3)).max() < 0.25  # of which a reader makes something
    assert (spoilt.cube[kind == "bleed trail"] - sound.cube[kind == "bleed trail"]).max(axis=(2, 3)).min() > 1


def test_field_is_as_crowded_as_the_catalogue(ssps):
    rng = np.random.default_rng(0)
    scene = field.scene(rng, 3000, ssps, SDSS, "cpu")
    stars = (scene.var == 0) & (scene.flux[..., 2] > 0)
    area = (64 * 0.396 / 3600) ** 2
    assert float(stars.sum(dim=1).float().mean()) == pytest.approx(17_900 * area, rel=0.05)
    lights = scene.flux[..., 2].clone()
    lights[scene.var == 0] = 0
    assert float((lights.sum(dim=1) > 0).float().mean()) == pytest.approx(1 - np.exp(-14_300 * area), abs=0.03)
    # None is fainter than the limit, and colours are those of galaxies and stars.
    faintest = float(scene.flux[..., 2][stars].min())
    assert faintest >= 10 ** (-0.4 * (field.R_LIMIT - 22.5)) * 0.999
    g_r = -2.5 * torch.log10(scene.flux[..., 1][stars] / scene.flux[..., 2][stars])
    assert 0.2 < float(g_r.median()) < 1.2


def test_noise_and_seeing_are_those_of_real_stamps():
    if not CUTOUTS.exists():
        pytest.skip("the SDSS cut-outs are not at hand")
    asinh = np.load(CUTOUTS / "sdss_test_images.npy").astype(float)  # SDSS asinh magnitudes, from their zero levels
    softening = np.array([1.4, 0.9, 1.2, 1.8, 7.4])[:, None, None] * 1e-10
    nmgy = 2e9 * softening * np.sinh(-asinh * np.log(10) / 2.5 - np.log(softening))
    border = np.ones((48, 48), bool)
    border[8:-8, 8:-8] = False
    # Bands other than r were resampled to its pixels: their noise is lower, and correlated.
    sky = nmgy - np.median(nmgy[:, :, border], axis=2)[..., None, None]
    sigma = 1.4826 * np.median(abs(sky[:, :, border]), axis=2)
    np.testing.assert_allclose(np.median(sigma, axis=0), SDSS.noise()[0], rtol=0.12)
    held = sky.clip(-3 * sigma[..., None, None], 3 * sigma[..., None, None])  # few neighbours count
    both = border[:, 1:] & border[:, :-1]
    along = (held[..., 1:] * held[..., :-1])[..., both].mean(axis=2) / (held[..., border] ** 2).mean(axis=2)
    both = border[1:] & border[:-1]
    across = (held[..., 1:, :] * held[..., :-1, :])[..., both].mean(axis=2) / (held[..., border] ** 2).mean(axis=2)
    np.testing.assert_allclose(np.median((along + across) / 2, axis=0), SDSS.correlation, atol=0.06)
    r = nmgy[:, 2]
    # Two bright stars, seen in better seeing than the median: light within 2 to 6 pixels over that within 8.
    var, share = (torch.tensor(v, dtype=torch.float32) for v in SDSS.psf(np.full(5, 1.15)))
    for i in (0, 4):
        star = r[i] - np.median(r[i][border])
        y, x = np.unravel_index(star.argmax(), star.shape)
        box = star[y - 9 : y + 10, x - 9 : x + 10]
        at = np.arange(-9, 10)
        core, near = box[5:14, 5:14], at[5:14]
        x0, y0 = ((core * along).sum() / core.sum() for along in (near, near[:, None]))
        centre = light_profiles.Gaussians(*(torch.tensor([[v]]) for v in (x0, y0, 0.0)), torch.ones(1, 1, 5))
        ours = light_profiles.stamps(centre, 19, var, share)[0, 2].double().numpy()
        for radius in (2, 3, 4, 6):
            inside = np.hypot(at - x0, at[:, None] - y0)
            real, mock = (image[inside < radius].sum() / image[inside < 8].sum() for image in (box, ours))
            assert real == pytest.approx(mock, abs=0.03)


# --- streams


def test_same_seed_same_images(truth, ssps):
    some = truth[:30]
    first = morphology.images(some, ssps, STEADY, seed=7)
    again = morphology.images(some, ssps, STEADY, seed=7)
    np.testing.assert_array_equal(first.cube, again.cube)
    other = morphology.images(some, ssps, STEADY, seed=8)
    assert (first.cube != other.cube).any(axis=(1, 2, 3)).all()
    # What is there does not depend on the noise; what is added to it is noise and neighbours.
    noiseless = morphology.images(some, ssps, STEADY, seed=7, noise=False)
    sigma, gain = (value[:, None, None] for value in STEADY.noise())
    chi = (first.cube - noiseless.cube) / np.sqrt(sigma**2 + noiseless.cube.clip(0) / gain)
    assert chi.std() == pytest.approx(1, abs=0.02)
    bare = clean(some, ssps, STEADY, seed=7)
    assert (noiseless.cube >= bare.cube - 1e-4).all()
    # The table that was given is left as it was.
    assert "mag_r" not in some.colnames
    of_camera = [*(f"mag_{band}" for band in "ugriz"), "seeing", "depth_r", "artefact"]
    assert first.truth.colnames == [*galaxies.COLUMNS, "ebv", "position_angle", *of_camera]


def test_streams_are_the_galaxies_of_the_spectra(ssps):
    parts = list(morphology.batches(70, ssps, SMALL, seed=7, batch_size=32))
    assert [len(part.truth) for part in parts] == [32, 32, 6]
    assert parts[0].cube.shape == (32, 5, 32, 32)
    spectra = next(sdss_spectra.batches(70, ssps, seed=7))
    np.testing.assert_array_equal(np.concatenate([part.truth["id"] for part in parts]), spectra.truth["id"])
    images = morphology.images(galaxies.draw(70, 7, (0.01, 0.5)), ssps, SMALL, seed=7).check()
    whole = next(morphology.batches(70, ssps, SMALL, seed=7, batch_size=250))
    np.testing.assert_array_equal(images.cube, whole.cube)
    assert images.pixel_scale == 0.396
    assert list(images.bands) == list("ugriz")


def test_images_survive_a_file(truth, ssps, tmp_path):
    camera = dataclasses.replace(PAN_STARRS, size=24, pixel_scale=1.0)
    images = morphology.images(truth[:10], ssps, camera, seed=0)
    again = type(images).load(images.save(tmp_path / "images.h5"))
    assert again.content_hash() == images.content_hash()
    assert images.cube.shape == (10, 5, 24, 24)


# --- senseless input


@pytest.mark.parametrize(
    ("column", "value"),
    [("n_sersic", 0.1), ("b_t", 1.2), ("r_e", -1.0), ("inclination", np.nan), ("a_v", -1.0), ("z", 0.9)],
)
def test_senseless_rows_are_named(truth, ssps, column, value):
    bad = truth[:5].copy()
    bad[column][3] = value
    with pytest.raises(DataError) as problem:
        morphology.images(bad, ssps, SMALL, seed=0)
    assert "3" in str(problem.value.row) or column == "z"  # a grid that no spectrum covers belongs to no row
    assert problem.value.remedy


def test_what_cannot_be_drawn_is_said(truth, ssps):
    with pytest.raises(DataError, match="no galaxies"):
        morphology.images(truth[:0], ssps, SMALL, seed=0)
    lacking = truth[:2].copy()
    lacking.remove_column("b_t")
    with pytest.raises(DataError, match="b_t"):
        morphology.images(lacking, ssps, SMALL, seed=0)
    for change in (
        {"size": 0},
        {"pixel_scale": -1.0},
        {"fwhm": (1.0,)},
        {"wing_share": 1.0},
        {"bands": tuple("ugxiz")},
        {"correlation": (0.6,) * 5},
    ):
        with pytest.raises(DataError):
            dataclasses.replace(SDSS, **change)
    assert isinstance(cameras.SDSS.noise()[0], np.ndarray)
