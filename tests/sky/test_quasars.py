"""Quasars: colours and counts of surveys, lines as strong as asked, hydrogen that takes away the blue."""

import numpy as np
import pytest

from paper_utils.base.containers import WAVE_OBS
from paper_utils.base.filters import sdss_curves
from paper_utils.base.photometry import ab_magnitudes
from paper_utils.sky import foreground, outliers, quasars, sdss_spectra


def test_lines_have_the_equivalent_widths_of_the_composite():
    wave = np.linspace(1300, 1800, 4000)
    flux = quasars.rest_spectrum(np.random.default_rng(0), 2000, wave).mean(axis=0)
    beside = np.interp(wave, [1450, 1470, 1600, 1620], np.interp([1450, 1470, 1600, 1620], wave, flux))
    inside = (wave > 1460) & (wave < 1610)
    width = np.trapezoid((flux / beside - 1)[inside], wave[inside])
    assert width == pytest.approx(23.8 * np.exp((0.15 * np.log(10)) ** 2), rel=0.1)  # the mean of log-normal strengths


def test_slopes_scatter_as_asked():
    ends = quasars.rest_spectrum(np.random.default_rng(1), 4000, np.array([1450.0, 4200.0]))
    slope = -2 - np.log(ends[:, 1] / ends[:, 0]) / np.log(4200 / 1450)
    assert slope.mean() == pytest.approx(-0.44, abs=0.06)
    assert slope.std() == pytest.approx(0.3, abs=0.03)


def test_hydrogen_takes_the_blue_of_distant_quasars():
    # The mean decrement between Lyman beta and alpha, D_A, is 0.2 to 0.25 at z = 2.7 and 0.3 to 0.36 at z = 3.2.
    for z, low, high in ((2.7, 0.18, 0.30), (3.2, 0.28, 0.42)):
        wave = np.linspace(1050, 1170, 100) * (1 + z)
        assert low < 1 - quasars.transmission(wave, np.array([z])).mean() < high
    assert (quasars.transmission(np.array([5000.0]), np.array([2.0])) == 1).all()
    # Ultraviolet excess up to z = 2.2, and none beyond 3 (Richards+ 2002, 2002AJ....123.2945R).
    for z, low, high in ((1.5, -0.2, 0.4), (3.3, 0.8, 3.0)):
        u, g, *_ = quasars.magnitudes(np.random.default_rng(0), np.full(200, z), sdss_curves()).T
        assert low < np.median(u - g) < high


def test_as_many_as_surveys_count():
    # SDSS: about 10 per square degree to i = 19.1 at all redshifts (Richards+ 2006, 2006AJ....131.2766R).
    assert 6 < quasars.per_deg2(19.1) < 11
    z, magnitude = quasars.draw(np.random.default_rng(0), 20_000, 21.0)
    assert magnitude.max() < 21.0
    assert (z > 0.1).all()
    assert (z < 3.5).all()
    assert (magnitude < 19.1).mean() == pytest.approx(quasars.per_deg2(19.1) / quasars.per_deg2(21.0), abs=0.01)
    assert 1.2 < np.median(z) < 1.8


def test_quasars_and_stars_among_the_galaxies(ssps):
    sample = sdss_spectra.spectra(600, ssps, seed=3, interlopers=0.1, masks=False).check()
    plain = sdss_spectra.spectra(600, ssps, seed=3, masks=False)
    kind = np.asarray(sample.truth["kind"])
    assert (kind == "quasar").mean() == pytest.approx(0.1, abs=0.03)
    assert (kind == "star").mean() == pytest.approx(0.1, abs=0.03)
    same = kind == "galaxy"
    np.testing.assert_array_equal(sample.clean[same], plain.clean[same])
    assert "kind" not in plain.truth.colnames
    assert (sample.z[kind == "star"] == 0).all()
    assert np.isnan(sample.truth["log_mstar"][~same]).all()
    # Brightness above the Milky Way's dust: quasars to i = 19.1, stars to r = 17.77, as in the sample.
    above = sample.clean * 1e-17 / foreground.transmission(WAVE_OBS, sample.truth["ebv"])
    _, _, r, i, _ = ab_magnitudes(WAVE_OBS, above, sdss_curves()).T
    assert i[kind == "quasar"].max() < 19.11
    assert r[kind == "star"].max() < 17.78
    # C IV of a quasar is where its redshift says: among +- 60 A (rest frame) the composite is brightest near 1546 A.
    seen = np.flatnonzero((kind == "quasar") & (sample.z > 1.6) & (sample.z < 3))
    rest = np.linspace(1490, 1600, 300)
    each = sample.clean[seen] / sample.clean[seen].mean(axis=1, keepdims=True)
    on_rest = [np.interp(rest, WAVE_OBS / (1 + z), flux) for z, flux in zip(sample.z[seen], each, strict=True)]
    stack = np.median(on_rest, axis=0)
    assert rest[stack.argmax()] == pytest.approx(1546, abs=8)


def test_planted_broad_lines_are_as_strong_as_asked(ssps):
    sample = sdss_spectra.spectra(40, ssps, seed=1, masks=False, z_range=(0.02, 0.1))
    planted = outliers.plant("broad-line AGN", sample, seed=0)
    added = planted.flux - sample.flux
    for z, extra in zip(sample.z, added, strict=True):
        rest = WAVE_OBS / (1 + z)
        near, beside = abs(rest - 6564.6) < 500, (abs(rest - 6564.6) > 500) & (abs(rest - 6564.6) < 560)
        continuum = np.exp(np.polyval(np.polyfit(np.log(rest[beside]), np.log(extra[beside]), 1), np.log(rest)))
        width = np.trapezoid((extra / continuum - 1)[near], rest[near])
        assert 85 < width < 410  # 100 to 400 A, of which the widest lines have a little beyond
