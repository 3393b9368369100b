"""Quasars: colours and counts of surveys, lines as strong as asked, hydrogen that takes away the blue."""

import numpy as np
import pytest

from paper_utils.base.filters import sdss_curves
from paper_utils.sky import quasars


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
