"""Sums of Gaussians are the profiles they stand for, and pixels hold what falls into them: astropy agrees."""

import numpy as np
import pytest
import torch
from astropy.modeling import fitting, models
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gamma, gammainc, gammaincinv

from paper_utils.sky import light_profiles

SHARP = (np.array([[1e-3], [1e-3]]), np.array([1.0, 0.0]))  # no atmosphere, one band


def draw(n, r_e, q=1.0, angle=0.0, size=65, psf=SHARP, n_nodes=17, x0=0.0, y0=0.0):
    """A Sersic profile of unit flux with half-light radius `r_e` [pixels] along the major axis, (size, size)."""
    share, sigma = light_profiles.sersic(np.array([n]))
    f32 = [torch.tensor(np.asarray(v), dtype=torch.float32) for v in (sigma * r_e, [q], [angle], share[..., None])]
    scene = light_profiles.elongated(*f32, float(psf[0].min()), n_nodes)
    scene = scene._replace(x=scene.x + x0, y=scene.y + y0)
    return (
        light_profiles.stamps(scene, size, *(torch.tensor(v, dtype=torch.float32) for v in psf))[0, 0].double().numpy()
    )


def sersic2d(n, r_e, q, angle):
    """The same from astropy, unit flux to infinity."""
    b = gammaincinv(2 * n, 0.5)
    flux = 2 * np.pi * n * np.exp(b) * b ** (-2 * n) * gamma(2 * n) * r_e**2 * q  # of amplitude 1 at r_e
    return models.Sersic2D(amplitude=1 / flux, r_eff=r_e, n=n, ellip=1 - q, theta=angle)


def grid(size):
    at = np.arange(size) - (size - 1) / 2
    return np.meshgrid(at, at)  # x varies along a row


@pytest.mark.parametrize(("n", "rms"), [(0.5, 0.01), (0.83, 0.01), (1.0, 0.01), (2.3, 0.01), (4.0, 0.01), (7.1, 0.05)])
def test_sum_of_gaussians_is_the_sersic_profile(n, rms):
    share, sigma = light_profiles.sersic(np.array([n]))
    assert (share >= 0).all()
    assert share.sum() == pytest.approx(1)
    r = np.geomspace(0.1, 3, 100)[:, None]
    ours = (share / (2 * np.pi * sigma**2) * np.exp(-((r / sigma) ** 2) / 2)).sum(axis=1)
    off = ours / sersic2d(n, 1.0, 1.0, 0.0)(r[:, 0], 0 * r[:, 0]) - 1
    assert np.sqrt(np.mean(off**2)) < rms
    # Light inside a radius, from the incomplete gamma function; half of it inside R_e.
    enclosed = (share * -np.expm1(-((r / sigma) ** 2) / 2)).sum(axis=1)
    exact = gammainc(2 * n, gammaincinv(2 * n, 0.5) * r[:, 0] ** (1 / n))
    np.testing.assert_allclose(enclosed, exact, atol=0.006)
    assert (share * -np.expm1(-((1 / sigma) ** 2) / 2)).sum() == pytest.approx(0.5, abs=2e-3)


# The steepest row, with no atmosphere to smooth it, ends at 2.6 dispersions; the others at 3.
@pytest.mark.parametrize(("q", "angle", "off"), [(1.0, 0.0, 0.01), (0.5, 0.6, 0.01), (0.2, 2.0, 0.02)])
def test_pixels_hold_the_integral_of_the_profile(q, angle, off):
    size, fine = 41, 15
    at = (np.arange(size * fine) - (size * fine - 1) / 2) / fine
    exact = sersic2d(1.0, 8.0, q, angle)(*np.meshgrid(at, at)) / fine**2
    exact = exact.reshape(size, fine, size, fine).sum(axis=(1, 3))
    ours = draw(1.0, 8.0, q, angle, size)
    assert abs(ours - exact).max() < off * exact.max()
    assert ours.sum() == pytest.approx(exact.sum(), rel=3e-3)


@pytest.mark.parametrize(("n", "q", "angle"), [(0.8, 0.7, 0.3), (1.0, 0.25, 1.0), (2.5, 0.6, 2.5), (4.0, 0.8, 1.5)])
def test_independent_fitter_finds_index_radius_and_shape(n, q, angle):
    r_e = 10.0
    image = draw(n, r_e, q, angle, size=101)
    x, y = grid(101)
    keep = np.hypot(x, y) > 2.5  # astropy evaluates at pixel centres, too coarse in the cusp
    start = models.Sersic2D(amplitude=image[50, 60], r_eff=6, n=1.7, ellip=0.4, theta=angle + 0.3)
    start.x_0.fixed = start.y_0.fixed = True
    weight = 1 / np.sqrt(image[keep] + 1e-3 * image.max())
    fit = fitting.TRFLSQFitter()(start, x[keep], y[keep], image[keep], weights=weight, maxiter=500)
    assert fit.n.value == pytest.approx(n, rel=0.03)
    assert fit.r_eff.value == pytest.approx(r_e, rel=0.03)
    assert 1 - fit.ellip.value == pytest.approx(q, abs=0.01)
    assert np.cos(2 * (fit.theta.value - angle)) > 0.9999


def test_atmosphere_is_a_convolution():
    # Two Gaussians of dispersion 1.5 and 4 pixels on a profile, against scipy's filter on pixels five times finer.
    from scipy.ndimage import gaussian_filter

    size, fine = 61, 5
    sharp = draw(1.0, 5.0 * fine, 0.4, 0.5, size=size * fine)
    blurred = 0.7 * gaussian_filter(sharp, 1.5 * fine) + 0.3 * gaussian_filter(sharp, 4.0 * fine)
    expected = blurred.reshape(size, fine, size, fine).sum(axis=(1, 3))
    ours = draw(1.0, 5.0, 0.4, 0.5, size, psf=(np.array([[1.5**2], [4.0**2]]), np.array([0.7, 0.3])))
    assert abs(ours - expected)[5:-5, 5:-5].max() < 3e-3 * expected.max()


@pytest.mark.parametrize("q", [0.2, 0.45, 0.8])
def test_stretched_gaussian_keeps_its_half_light_radius(q):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 400_000))
    radius = light_profiles.stretch(q) * np.hypot(x, q * y)
    assert np.median(radius) == pytest.approx(np.sqrt(2 * np.log(2)), rel=5e-3)


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_no_light_is_lost_and_gradients_are_right(seed):
    rng = np.random.default_rng(seed)
    values = rng.uniform(-5, 5, (1, 7)), rng.uniform(-5, 5, (1, 7)), rng.uniform(0, 9, (1, 7)), rng.random((1, 7, 3))
    scene = light_profiles.Gaussians(*(torch.tensor(v) for v in values))
    core = rng.uniform(0.5, 3, 3)
    psf = torch.tensor(np.stack([core, 8 * core])), torch.tensor([0.8, 0.2])
    image = light_profiles.stamps(scene, 70, *psf)
    np.testing.assert_allclose(image.sum(dim=(2, 3)), scene.flux.sum(dim=1), rtol=1e-5)
    # Centroids of the pixels are those of the Gaussians, x along rows of the array and y along columns.
    at = torch.arange(70) - 34.5
    centroid = (scene.x[..., None] * scene.flux).sum(dim=1) / scene.flux.sum(dim=1)
    np.testing.assert_allclose((image.sum(dim=2) * at).sum(dim=2) / image.sum(dim=(2, 3)), centroid, atol=1e-4)
    # Moving a Gaussian moves the image.
    scene.x.requires_grad_()
    value = light_profiles.stamps(scene, 12, *psf)[0, :, 3, 4].sum()
    (slope,) = torch.autograd.grad(value, scene.x)
    step = 1e-4
    x = scene.x.detach()
    moved = [light_profiles.stamps(scene._replace(x=x + d), 12, *psf)[0, :, 3, 4].sum() for d in (step, -step)]
    assert float((moved[0] - moved[1]) / (2 * step)) == pytest.approx(float(slope.sum()), rel=1e-4, abs=1e-9)
