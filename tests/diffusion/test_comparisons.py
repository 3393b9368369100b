"""What study 3's model is compared with: light in squares, template fits, degraded images, samples' choices."""

import numpy as np
import pytest
import torch

from paper_utils.diffusion import ablation, simple_methods
from paper_utils.diffusion import angstrom_grid as grid

WAVE = np.exp(np.arange(np.log(3000.0), np.log(12000.0), 5e-4))
CURVES = {band: (centre + np.array([-500.0, -490, 490, 500]), np.array([0.0, 1, 1, 0]))
          for band, centre in (("u", 4200.0), ("g", 5200.0), ("r", 6200.0), ("i", 7400.0), ("z", 8600.0))}  # fmt: skip


def test_light_is_that_of_the_square():
    cube = np.zeros((2, 3, 64, 64))
    cube[:, :, 27:37, 27:37] = np.array([1.0, 2.0, 4.0])[:, None, None]
    cube[1] *= 10
    np.testing.assert_allclose(simple_methods.square_flux(cube, 5), 100 * np.array([[1, 2, 4], [10, 20, 40]]))
    np.testing.assert_allclose(simple_methods.colour(cube), -2.5 * np.log10(0.25))
    features = simple_methods.light_features(cube)
    assert features.shape == (2, 7)
    np.testing.assert_allclose(features[:, -1], 0, atol=1e-12)  # all of the light is within the narrow square


def test_the_brightest_galaxy_without_a_brighter_neighbour():
    images = 0.01 * np.ones((3, 64, 64))
    images[0, 30:34, 30:34] = 1
    images[1, 30:34, 30:34] = 2
    images[2, 30:34, 30:34], images[2, 5, 5] = 9, 99
    assert simple_methods.largest_central(images) == 1


@pytest.mark.parametrize("z", [0.06, 0.12])
def test_a_template_is_found_by_its_colours(z):
    from paper_utils.base.photometry import ab_fluxes

    types = np.stack(
        [np.where(WAVE < 4000, low, 1.0) * (WAVE / 6925) ** slope for low, slope in ((0.3, 0.5), (0.9, -1))]
    )
    flux = 1e9 * ab_fluxes(WAVE * (1 + z), types[:1], CURVES)[0]
    cube = np.zeros((1, 5, 64, 64))
    cube[0, :, 31:33, 31:33] = flux[:, None, None] / 4
    found = simple_methods.by_templates(cube, 1e-9 * flux, WAVE, types, CURVES)
    expected = np.interp(grid.WAVE / (1 + z), WAVE, types[0])
    assert np.median(np.abs(found[0] / expected - 1)) < 0.01  # but for the shift of the break by a step of the grid


def test_what_each_case_sees():
    images = torch.arange(5.0)[:, None, None] + torch.zeros(2, 5, 64, 64)
    bands = list("ugriz")
    assert ablation.seen_as("64x64 ugriz", images, bands) is images
    assert ablation.seen_as("32x32 gri", images, bands)[0, :, 0, 0].tolist() == [1, 2, 3]
    assert ablation.seen_as("1x1 mean", images, bands)[0, :, 5, 5].tolist() == [2]
    assert ablation.seen_as("1x1 g", images, bands).shape == (2, 1, 64, 64)
    names = {ablation.short(case) for case in ablation.CASES}
    assert {"mse_64", "mse_1", "gri_32", "mean_1"} <= names


def test_errors_are_of_the_optical_part_and_their_intervals_know_the_seeds():
    wave = np.tile(np.linspace(3500, 7500, 80), (50, 1))
    observed = np.ones((50, 80))
    flux = np.stack([np.where((wave > 4000) & (wave < 7000), observed + off, 99) for off in (0.1, 0.2)])
    found = ablation.errors(flux, observed, wave)
    np.testing.assert_allclose(found, np.array([[10.0], [40.0]]) * np.ones((2, 50)))
    scatter = ablation.seed_scatter({"a": found, "b": found})
    assert scatter == pytest.approx(np.std([10, 40], ddof=1) / 2**0.5)
    mean, low, high = ablation.mean_error(found, scatter)
    assert (mean, high - mean, mean - low) == pytest.approx((25, 1.96 * scatter, 1.96 * scatter))


def test_the_fewest_steps_are_within_two_percent_and_fast():
    def sampled(error, seconds):
        return np.full(20, error), 0.1, seconds

    found = dict.fromkeys(ablation.WAYS, sampled(1.2, 0.1)) | {ablation.ALL: sampled(1.0, 10.0)}
    found |= {("dpm++", 10): sampled(1.01, 0.4), ("dpm++", 25): sampled(1.0, 1.0)}
    rows = ablation.steps_table(found, 250)
    assert {row["steps"] for row in rows} == {5, 10, 25, 250}
    best = ablation.fewest_steps(rows)
    assert (best["sampler"], best["steps"], best["faster"]) == ("dpm++", 10, pytest.approx(25))
    assert best["to all steps [%]"] == pytest.approx(1)
    assert [row["steps"] for row in rows if row["sampler"] == "ddim"] == [5, 10, 25, 250]
