"""Study 3's grid: flux, resolution, noise and redshift survive the way there as they should."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paper_utils.base.constants import C_KMS
from paper_utils.base.containers import WAVE_OBS, Spectra
from paper_utils.base.errors import DataError
from paper_utils.base.wavelengths import lsf_km_s
from paper_utils.diffusion import angstrom_grid as grid


def spectra(flux, z=0.1, ivar=100.0):
    flux = np.atleast_2d(np.broadcast_to(flux, np.shape(flux) or (WAVE_OBS.size,))).astype(float)
    n = len(flux)
    return Spectra(WAVE_OBS, flux, np.broadcast_to(ivar, flux.shape), np.full(n, z), np.arange(n).astype(str))


def line(centre, flux=30.0):
    """A line of `flux`, as wide as the instrument makes it, on a continuum of 1."""
    width = np.interp(centre, WAVE_OBS, lsf_km_s(WAVE_OBS)) / C_KMS * centre
    return 1 + flux * np.exp(-0.5 * ((WAVE_OBS - centre) / width) ** 2) / (width * np.sqrt(2 * np.pi))


def test_sizes_are_the_papers():
    assert (grid.WAVE.size, grid.WAVE[0], grid.WAVE[-1]) == (4500, 4000, 8499)
    assert grid.low(np.zeros((2, 4500))).shape == (2, 563)


@pytest.mark.parametrize("centre", [4400.0, 5000.0, 7300.0])
def test_a_line_keeps_its_flux_and_gets_the_stated_width(centre):
    flux = grid.to_grid(spectra(line(centre))).flux[0] - 1
    near = np.abs(grid.WAVE - centre) < 30
    x, light = grid.WAVE[near], flux[near]
    assert light.sum() == pytest.approx(30.0, rel=5e-3)
    mean = (light * x).sum() / light.sum()
    assert mean == pytest.approx(centre, abs=0.05)
    width = np.sqrt((light * (x - mean) ** 2).sum() / light.sum())
    assert width == pytest.approx(np.interp(centre, grid.WAVE, grid.RESOLUTION_KMS) / C_KMS * centre, rel=0.03)


def test_resolution_is_1500_at_5000_angstrom():
    sigma = np.interp(5000.0, grid.WAVE, grid.RESOLUTION_KMS)
    assert C_KMS / (sigma * np.sqrt(8 * np.log(2))) == pytest.approx(1500, rel=1e-3)


def test_noise_is_what_ivar_says():
    rng = np.random.default_rng(0)
    unit = np.abs(WAVE_OBS - 6925 * 1.1) < 100  # without noise, so that all are divided by the same number
    ivar = np.tile(np.select([unit, WAVE_OBS < 6000], [1e8, 100.0], 400.0), (60, 1))
    noisy = spectra(1 + rng.standard_normal(ivar.shape) / np.sqrt(ivar), ivar=ivar)
    found = grid.to_grid(noisy)
    pull = (found.flux - 1) * np.sqrt(found.ivar)
    edge = np.abs(grid.WAVE - 6000) < 5
    for part in (grid.WAVE < 6000, (grid.WAVE > 6000) & (grid.WAVE < 7500)):
        assert (pull[:, part & ~edge] ** 2).mean() == pytest.approx(1, abs=0.05)


def test_the_unit_is_the_mean_in_the_red_at_rest():
    z = np.array([0.06, 0.14])
    two = replace(spectra(np.tile(WAVE_OBS, (2, 1))), z=z, clean=np.tile(WAVE_OBS, (2, 1)))
    found = grid.to_grid(two)
    # F = wavelength has the mean 6925 (1 + z) there.
    expected = grid.WAVE / (6925 * (1 + z[:, None]))
    np.testing.assert_allclose(found.flux, expected, rtol=1e-3)
    np.testing.assert_allclose(found.clean, expected, rtol=1e-3)
    np.testing.assert_allclose(found.ivar[:, 2000] / found.ivar[0, 2000], [1, (1.14 / 1.06) ** 2], rtol=1e-3)


def test_gaps_are_bridged_and_marked():
    flux, ivar = line(5000.0), np.full(WAVE_OBS.size, 100.0)
    gap = (WAVE_OBS > 7000) & (WAVE_OBS < 7040)
    flux[gap], ivar[gap] = -50, 0
    found = grid.to_grid(spectra(flux, ivar=ivar))
    inside = (grid.WAVE > 7001) & (grid.WAVE < 7039)
    assert (found.ivar[0, inside] == 0).all()
    np.testing.assert_allclose(found.flux[0, inside], 1, atol=1e-3)


@pytest.mark.parametrize("bad", ["near", "far", "negative", "gappy"])
def test_what_cannot_be_used_is_left_out(bad):
    flux, ivar, z = np.ones((2, WAVE_OBS.size)), np.full((2, WAVE_OBS.size), 9.0), np.array([0.1, 0.1])
    if bad in ("near", "far"):
        z[0] = 0.05 if bad == "near" else 0.151  # 0.05 < z <= 0.15
    elif bad == "negative":
        flux[0, 1000:1030] = -1
    else:
        ivar[0, 500:1000] = 0
    found = grid.to_grid(replace(spectra(flux, ivar=ivar), z=z, clean=flux))
    assert found.ids.tolist() == ["1"]
    assert found.clean.shape == (1, 4500)
    np.testing.assert_array_equal(found.lsf_kms, grid.RESOLUTION_KMS)
    with pytest.raises(DataError, match="none is positive"):
        grid.to_grid(replace(spectra(flux[:1], ivar=ivar[:1]), z=z[:1]))


def test_other_grids_are_refused():
    with pytest.raises(DataError, match="3892"):
        grid.to_grid(replace(spectra(np.ones(WAVE_OBS.size)), wave_obs=WAVE_OBS * 1.001))


@given(z_from=st.floats(0.05, 0.15), z_to=st.floats(0.05, 0.15))
@settings(deadline=None, max_examples=25)
def test_a_shift_takes_lines_along(z_from, z_to):
    rest = 5500.0
    flux = np.exp(-0.5 * ((grid.WAVE - rest * (1 + z_from)) / 5) ** 2)[None]
    moved = grid.shifted(flux, np.array([z_from]), np.array([z_to]))[0]
    assert grid.WAVE[np.nanargmax(moved)] == pytest.approx(rest * (1 + z_to), abs=1.0)
    # Where the stretched spectrum does not reach there is nothing.
    reach = grid.WAVE[[0, -1]] * (1 + z_to) / (1 + z_from)
    beyond = (grid.WAVE < reach[0] - 1e-6) | (grid.WAVE > reach[1] + 1e-6)
    assert np.isnan(moved[beyond]).all()
    assert np.isfinite(moved[~beyond][2:-2]).all()


def test_the_rest_frame_is_a_shift_to_zero():
    flux = np.tile(grid.WAVE, (2, 1))
    rest = np.arange(4000.0, 7001.0)
    moved = grid.shifted(flux, np.array([0.05, 0.15]), 0.0, rest)
    np.testing.assert_allclose(moved, rest * np.array([[1.05], [1.15]]), rtol=1e-6)


@pytest.mark.parametrize("z", [0.055, 0.1, 0.149])
def test_pinned_spectra_come_back_with_their_redshift(z):
    rest = grid.WAVE / (1 + z)
    flux = (1 + 0.5 * np.sin(rest / 40) + 2 * np.exp(-0.5 * ((rest - 6564.6) / 5) ** 2))[None]
    x = grid.pinned(flux, np.array([z]))
    # The line lies at its place in the rest frame, whatever its redshift.
    assert grid.PINNED[:-8][x[0, :-8].argmax()] == pytest.approx(6564.6, abs=1)
    back, found = grid.unpinned(x)
    assert found[0] == pytest.approx(z, abs=1e-6)
    inside = grid.WAVE < 8499 - 10 * (z < 0.06)  # the last 8 elements are seen at the lowest redshifts alone
    np.testing.assert_allclose(back[0, inside], flux[0, inside], rtol=2e-2)
    assert np.abs(back[0, inside] / flux[0, inside] - 1).mean() < 1e-3
    assert np.isfinite(back).all()
