"""Spectral indices: definitions, and what stars of known age give."""

import numpy as np
import pytest

from paper_utils.base import paths
from paper_utils.base.containers import WAVE_OBS
from paper_utils.measure import indices

BANDHEADS = paths.ROOT.parent / "shared" / "real_data" / "lick_index_definitions" / "bandhead_indices" / "bhbasic.par"


def test_windows_are_the_published_ones():
    if not BANDHEADS.exists():
        pytest.skip(f"{BANDHEADS} is not here")
    (words,) = (line.split() for line in BANDHEADS.read_text().splitlines() if line.startswith("DAPBHI  2"))
    assert words[11:] == ["air", "fnu", "r_b"]
    assert tuple(float(words[i]) for i in (4, 5, 8, 9)) == tuple(np.ravel(indices.DN4000))


@pytest.mark.parametrize("z", [0.0, 0.05, 0.137])
def test_a_step_is_measured_at_every_redshift(z):
    """F_nu that is flat, that doubles at 3975 A, and that doubles in the middle of the blue side."""
    rest = WAVE_OBS / (1 + z) / 1.000283  # in air, as the sides are given
    f_nu = np.stack([np.ones(rest.size), np.where(rest < 3975, 1.0, 2.0), np.where(rest < 3900, 1.0, 2.0)])
    index = indices.dn4000(WAVE_OBS, f_nu / WAVE_OBS**2, np.full(3, z))
    # The last: half of the blue side at 1, half at 2. A pixel is a hundredth of a side.
    np.testing.assert_allclose(index, [1, 2, 2 / 1.5], rtol=5e-3)


def test_each_galaxy_has_its_own_redshift_and_scale():
    z = np.array([0.01, 0.1, 0.2])
    f_nu = np.where(WAVE_OBS < 3975 * (1 + z[:, None]), 1.0, 1.7)
    index = indices.dn4000(WAVE_OBS, np.array([[3.0], [1e-3], [50]]) * f_nu / WAVE_OBS**2, z)
    np.testing.assert_allclose(index, 1.7, rtol=1e-6)


def test_sides_off_the_grid_give_no_number():
    short = WAVE_OBS[WAVE_OBS > 3900]
    assert np.isnan(indices.dn4000(short, np.ones((1, short.size)), np.array([0.0])))
    assert np.isfinite(indices.dn4000(short, np.ones((1, short.size)), np.array([0.02])))


def test_the_break_grows_with_age(ssps):
    near = (ssps.wave_rest > 3700) & (ssps.wave_rest < 4300)
    wave, spectra = ssps.wave_rest[near], ssps.spectra[:, list(ssps.metals).index(0.0)][:, near]
    index = indices.dn4000(wave, spectra, np.zeros(len(spectra)))
    # The definition again, as means over whole pixels; air to vacuum at 4000 A.
    red, blue = (abs(wave / 1.000283 - centre) < 50 for centre in (4050, 3900))
    expected = np.mean(spectra[:, red] * wave[red] ** 2, axis=1) / np.mean(spectra[:, blue] * wave[blue] ** 2, axis=1)
    np.testing.assert_allclose(index, expected, rtol=5e-3)
    old = ssps.ages > 0.2
    assert (np.diff(index[old]) > -0.01).all()
    # Kauffmann+ 2003 (2003MNRAS.341...33K) part young from old at 1.55, which solar populations reach at 1-2 Gyr.
    assert 1 < np.interp(1.55, index[old], ssps.ages[old]) < 2.2
    assert 0.9 < index[0] < 1.1
