"""What is measured on a stamp, against galaxies whose light is known in closed form."""

import math

import pytest
import torch

from paper_utils.measure import apertures

SIZE, SCALE = 96, 0.4


def gaussian(sigma, ratio=1.0, angle=0.0, flux=(100.0, 200.0), size=SIZE, offset=0.0):
    """Stamps (1, B, H, W) of an elliptical Gaussian, sigma [arcsec] along its major axis."""
    at = (torch.arange(size) - (size - 1) / 2) * SCALE - offset
    x, y = at[None, :], at[:, None]
    u, v = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    image = torch.exp(-0.5 * (u**2 + (v / ratio) ** 2) / sigma**2)
    return torch.tensor(flux)[None, :, None, None] * (image / image.sum())


@pytest.mark.parametrize("size", [95, 96])
def test_light_in_circles_is_that_of_a_gaussian(size):
    sigma = 1.7
    found = apertures.aperture_fluxes(gaussian(sigma, size=size), SCALE)[0]
    for radius, value in zip(apertures.RADII, found[0], strict=True):
        assert value == pytest.approx(100 * -math.expm1(-0.5 * (radius / sigma) ** 2), abs=0.7)
    assert torch.allclose(found[1], 2 * found[0])


def test_half_light_radius_concentration_and_brightness_of_a_gaussian():
    sigma = 2.0
    _, shape = apertures.catalogue(gaussian(sigma), SCALE, torch.tensor([0.01, 0.01]), 1)
    log_r50, log_ratio, axis_ratio, brightness = shape[0].tolist()
    r50, r90 = (sigma * math.sqrt(-2 * math.log(1 - share)) for share in (0.5, 0.9))
    assert 10**log_r50 == pytest.approx(r50, rel=0.02)
    assert 10**log_ratio == pytest.approx(r90 / r50, rel=0.02)
    assert axis_ratio == pytest.approx(1, abs=0.01)
    assert brightness == pytest.approx(22.5 - 2.5 * math.log10(100 / (math.pi * r50**2)), abs=0.05)


@pytest.mark.parametrize("angle", [0.0, 0.4, math.pi / 4, 2.0])
def test_axis_ratio_does_not_depend_on_where_the_galaxy_points(angle):
    # Two Gaussians multiplied: 1 / sigma^2 add, of galaxy and window.
    major, ratio = 2.0, 0.5
    stamp = gaussian(major, ratio, angle)
    _, shape = apertures.catalogue(stamp, SCALE, torch.tensor([0.01, 0.01]), 0)
    window = 10 ** float(shape[0, 0])
    expected = math.sqrt((major**-2 + window**-2) / ((ratio * major) ** -2 + window**-2))
    assert float(shape[0, 2]) == pytest.approx(expected, rel=0.03)


def test_magnitudes_are_those_of_the_flux_and_go_on_through_zero():
    noise = torch.tensor([0.001, 0.001])
    bright, _ = apertures.catalogue(gaussian(1.0), SCALE, noise, 0)
    # asinh magnitudes of a bright object are -2.5 log10(flux).
    assert bright[0].tolist() == pytest.approx(
        [-2.5 * math.log10(100), -2.5 * math.log10(200), 2.5 * math.log10(2)], abs=1e-3
    )
    nothing, shape = apertures.catalogue(-gaussian(1.0), SCALE, noise, 0)
    assert nothing.isfinite().all()
    assert shape.isfinite().all()
    assert (nothing[0, :2] > bright[0, :2]).all()


def test_sky_noise_is_not_moved_by_neighbours():
    generator = torch.Generator().manual_seed(0)
    sigma = torch.tensor([0.5, 2.0])
    cube = sigma[:, None, None] * torch.randn(200, 2, 32, 32, generator=generator)
    assert torch.allclose(apertures.sky_noise(cube), sigma, rtol=0.03)
    cube[::5, :, :, :6] += 50  # every fifth stamp has something bright along one side
    assert torch.allclose(apertures.sky_noise(cube), sigma, rtol=0.2)
