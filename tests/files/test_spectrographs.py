"""Spectra of other spectrographs, as that of SDSS would have given them."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from paper_utils.base.constants import C_KMS
from paper_utils.base.containers import WAVE_OBS, Spectra
from paper_utils.base.errors import DataError
from paper_utils.base.wavelengths import KM_S_PER_BIN, LINES, log_grid, lsf_km_s
from paper_utils.files import spectra as spectra_files
from paper_utils.files import spectrographs

DESI = np.arange(3600, 9824.1, 0.8)
FINE = log_grid(3500, 10000, kms=10.0)
Z = np.linspace(0.03, 0.3, 6)


def seen(wave, sigma_kms):
    """Six galaxies with lines of 80 km/s at the resolution sigma_kms (number or (L,) on FINE), without noise."""
    rest = FINE / (1 + Z[:, None])
    flux = (rest / 5000) ** -1.0 * (1 - 0.4 * (rest < 4000))
    for name in ("Hbeta", "OIII_5007", "Halpha", "NII_6584"):
        flux = flux + 3 * np.exp(-0.5 * (C_KMS * np.log(rest / LINES[name]) / 80) ** 2)
    sharp = np.array([gaussian_filter1d(row, np.median(sigma_kms) / 10.0, mode="nearest") for row in flux])
    if np.ndim(sigma_kms):  # piece by piece where it varies
        for level in np.unique(np.round(sigma_kms)):
            at = np.round(sigma_kms) == level
            sharp[:, at] = np.array([gaussian_filter1d(row, level / 10.0, mode="nearest") for row in flux])[:, at]
    return np.array([np.interp(wave, FINE, row) for row in sharp])


def of(wave, flux, sigma=0.1, lsf=None, seed=0):
    noisy = flux + sigma * np.random.default_rng(seed).normal(size=flux.shape)
    names = np.array([f"g{i}" for i in range(len(flux))])
    return Spectra(wave_obs=wave, flux=noisy, ivar=np.full(flux.shape, sigma**-2.0), z=Z, ids=names, lsf_kms=lsf)


@pytest.fixture(scope="module")
def desi():
    lsf = C_KMS * 0.7 / DESI  # 0.7 A
    return of(DESI, seen(DESI, C_KMS * 0.7 / FINE), sigma=1e-6, lsf=lsf)


def test_a_sharper_spectrographs_spectra_are_those_of_sdss(desi):
    """Same galaxies, seen by either: the same flux in every pixel, lines included."""
    found = spectrographs.as_sdss(desi)
    expected = seen(WAVE_OBS, lsf_km_s(FINE))
    inside = slice(20, -20)
    assert np.abs(found.flux / expected - 1)[:, inside].max() < 0.04
    assert np.abs(found.flux / expected - 1)[:, inside].mean() < 0.002
    assert np.allclose(found.lsf_kms, np.maximum(lsf_km_s(WAVE_OBS), C_KMS * 0.7 / WAVE_OBS), rtol=0.15)


def test_flux_of_lines_is_conserved(desi):
    found = spectrographs.as_sdss(desi)
    for row, z in zip(range(6), Z, strict=True):
        near = [np.abs(wave / (1 + z) - LINES["OIII_5007"]) < 25 for wave in (DESI, WAVE_OBS)]
        before, after = (
            np.trapezoid(flux[at], wave[at]) / np.ptp(wave[at])
            for wave, flux, at in ((DESI, desi.flux[row], near[0]), (WAVE_OBS, found.flux[row], near[1]))
        )
        assert after == pytest.approx(before, rel=5e-3)


@pytest.mark.parametrize("step", [0.8, 1.25, 2.0, 4.0])
def test_errors_are_those_of_single_pixels(step):
    """Of pure noise the reduced chi^2 is 1 after rebinning, and after smoothing as well."""
    wave = np.arange(3600, 9824, step)
    for lsf, margin in ((200.0, 0.06), (30.0, 0.12)):
        many = of(wave, np.zeros((6, wave.size)), sigma=2.0, lsf=np.full(wave.size, lsf))
        found = spectrographs.as_sdss(many)
        chi2 = (found.flux.astype(float) ** 2 * found.ivar)[:, 100:-100]
        for part in np.array_split(np.arange(chi2.shape[1]), 3):
            assert chi2[:, part].mean() == pytest.approx(1, abs=margin), lsf


def test_between_the_arms_of_a_spectrograph_nothing_was_observed(desi):
    """Pixels beside a gap do not reach into it, be it between arms or of pixels that were dropped."""
    there = ((DESI < 5000) | (DESI > 6000)) & ~((DESI > 7000) & (DESI < 7080))
    part = of(DESI[there], desi.flux[:, there], sigma=0.1, lsf=desi.lsf_kms[there])
    found = spectrographs.as_sdss(part)
    gap = ((WAVE_OBS > 5002) & (WAVE_OBS < 5998)) | ((WAVE_OBS > 7002) & (WAVE_OBS < 7078))
    assert (found.ivar[:, gap] == 0).all()
    assert (found.ivar[:, ~gap & (np.abs(WAVE_OBS - 5500) > 510) & (np.abs(WAVE_OBS - 7040) > 45)] > 0).all()


def test_a_grid_of_sdss_with_another_start_is_only_shifted():
    """BOSS's: its pixels are those of `WAVE_OBS`, with their errors."""
    boss = 10 ** (3.5528 + 1e-4 * np.arange(4600))
    one = of(boss, np.ones((6, boss.size)), sigma=0.5)
    found = spectrographs.as_sdss(one)
    assert np.allclose(found.flux, one.flux[:, 252 : 252 + WAVE_OBS.size], atol=1e-3)
    assert np.allclose(found.ivar, 4, rtol=1e-3)
    assert np.allclose(found.lsf_kms, lsf_km_s(WAVE_OBS), rtol=1e-3)


def test_a_resolution_that_is_no_number_is_refused(desi):
    lsf = np.where(DESI > 9000, np.nan, desi.lsf_kms)
    with pytest.raises(DataError, match="resolution"):
        spectrographs.as_sdss(replace(desi, lsf_kms=lsf))


def test_bad_pixels_stay_bad_and_do_not_spread(desi):
    ivar = desi.ivar.copy()
    bad = (DESI > 6000) & (DESI < 6050)
    ivar[:, bad] = 0
    spoiled = np.where(bad, 1e6, desi.flux)
    found = spectrographs.as_sdss(replace(desi, flux=spoiled, ivar=ivar))
    inside = (WAVE_OBS > 6003) & (WAVE_OBS < 6047)
    assert (found.ivar[:, inside] == 0).all()
    outside = (WAVE_OBS < 5990) | (WAVE_OBS > 6060)
    whole = spectrographs.as_sdss(desi)
    assert np.allclose(found.flux[:, outside], whole.flux[:, outside], rtol=1e-4)
    assert np.isfinite(found.flux).all()


def test_a_pixel_among_bad_ones_is_left_out(desi):
    """Where most of what smoothing needs is missing there is no flux."""
    lone = np.zeros(DESI.size)
    lone[4000::40] = lone[:500] = 1
    found = spectrographs.as_sdss(replace(desi, ivar=desi.ivar * lone))
    assert np.isfinite(found.flux).all()
    assert np.isfinite(found.ivar).all()
    assert (found.flux[found.ivar == 0] == 0).all()
    found.check()


def test_coarser_spectra_stay_as_they_are_and_say_so():
    lsf = np.full(DESI.size, 150.0)
    found = spectrographs.as_sdss(of(DESI, seen(DESI, 150.0), sigma=1e-6, lsf=lsf))
    assert np.allclose(found.lsf_kms, 150, rtol=0.02)
    expected = seen(WAVE_OBS, 150.0)
    assert np.abs(found.flux / expected - 1)[:, 20:-20].max() < 0.03


def test_where_a_spectrograph_does_not_reach_there_is_no_weight():
    wave = DESI[(DESI > 4500) & (DESI < 7000)]
    found = spectrographs.as_sdss(of(wave, np.ones((6, wave.size)), sigma=0.1))
    assert ((found.ivar > 0).all(axis=0) == ((WAVE_OBS > 4500) & (WAVE_OBS < 7000))).mean() > 0.998
    assert np.median(found.ivar[found.ivar > 0]) == pytest.approx(100 * KM_S_PER_BIN / (C_KMS * 0.8 / 5750), rel=0.35)


def test_spectra_of_sdss_stay_as_they_are():
    one = of(WAVE_OBS, np.ones((6, WAVE_OBS.size)))
    assert spectrographs.as_sdss(one).flux is one.flux


def test_another_range_is_refused_by_name():
    wave = np.arange(10_000, 20_000, 1.0)
    with pytest.raises(DataError, match="cover 0 of 3892"):
        spectrographs.as_sdss(of(wave, np.ones((6, wave.size))))


def test_files_of_different_spectrographs_are_read_in_one_call(desi, tmp_path):
    desi.save(tmp_path / "desi.h5")
    short = of(WAVE_OBS, seen(WAVE_OBS, 70.0))
    replace(short, ids=np.array([f"s{i}" for i in range(6)])).save(tmp_path / "sdss.h5")
    files = [tmp_path / "desi.h5", tmp_path / "sdss.h5"]
    both = spectrographs.read(files)
    assert list(both.ids[[0, 6]]) == ["g0", "s0"]
    assert both.flux.shape == both.lsf_kms.shape == (12, WAVE_OBS.size)
    with pytest.raises(DataError, match="other wavelengths"):
        spectra_files.read(files)
