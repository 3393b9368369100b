"""Fork-diagram measures: planted bands and depths come back on fine and coarse grids, and real galaxies sort."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paper_utils.base import dust, paths
from paper_utils.base.containers import WAVE_UM
from paper_utils.midir.features import pah_strength, silicate_depth

REAL = paths.ROOT.parent / "shared" / "real_data"
FINE = np.linspace(4.0, 20.0, 3000)


def band(wave_um, centre, gamma):
    """A Drude profile sampled, not averaged: the definition."""
    return gamma**2 / ((wave_um / centre - centre / wave_um) ** 2 + gamma**2)


@given(height=st.floats(0.05, 5), slope=st.floats(-1, 2))
@settings(deadline=None, max_examples=30)
def test_a_planted_band_has_its_equivalent_width(height, slope):
    """Peak h times a Drude profile on a continuum of 1 at the centre: EW = h pi/2 gamma lambda."""
    for wave in (FINE, WAVE_UM):
        continuum = 1 + slope * 0.3 * (wave / 6.22 - 1)
        flux = continuum + height * dust.drude(wave, [6.22], [0.030])[0]
        expected = height * np.pi / 2 * 0.030 * 6.22
        assert pah_strength(wave, flux)[0][0] == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("wave", [FINE, WAVE_UM], ids=["fine", "223 bins"])
def test_the_11_um_pair_and_its_neighbours(wave):
    """Both 11.3 um bands at one height with 12.6 um beside them: their mean width counts, the neighbour's does not."""
    flux = 2 + dust.drude(wave, [11.23], [0.012])[0] * 0.5 + dust.drude(wave, [11.33], [0.032])[0] * 0.5
    alone = pah_strength(wave, flux)[1][0]
    areas = np.pi / 2 * (0.012 * 11.23 + 0.032 * 11.33) * 0.5
    assert alone == pytest.approx(areas / 2, rel=0.02)
    crowded = flux + 0.6 * dust.drude(wave, [12.62], [0.042])[0]
    # The neighbour's wing adds 0.6 * 2.7 % to the continuum of 2 and nothing to the band.
    wing = 0.6 * band(11.33, 12.62, 0.042)
    assert pah_strength(wave, crowded)[1][0] == pytest.approx(areas / (2 + wing), rel=0.02)


@given(depth=st.floats(-4, 1.5), slope=st.floats(-2, 4), scale=st.floats(1e-30, 1e30))
@settings(deadline=None, max_examples=30)
def test_a_planted_silicate_depth_comes_back_at_any_scale(depth, slope, scale):
    """A power law times exp(depth x Gaussian of ln wave at 9.7 um), which vanishes at the anchors."""
    shape = np.exp(-0.5 * (np.log(FINE / 9.7) / 0.08) ** 2)
    flux = scale * FINE**slope * np.exp(depth * shape)
    assert silicate_depth(FINE, flux)[0] == pytest.approx(depth, abs=1e-3)
    with_band = flux * (1 + band(FINE, 6.22, 0.03))
    one, many = pah_strength(FINE, with_band / scale), pah_strength(FINE, with_band)
    np.testing.assert_allclose(many, one, rtol=1e-6, atol=1e-9)


def test_many_spectra_at_once_are_each_alone():
    rng = np.random.default_rng(0)
    flux = np.exp(rng.normal(size=(7, WAVE_UM.size)) * 0.1)
    together = np.array([*pah_strength(WAVE_UM, flux), silicate_depth(WAVE_UM, flux)])
    alone = np.array([[*pah_strength(WAVE_UM, f), silicate_depth(WAVE_UM, f)] for f in flux])[..., 0].T
    np.testing.assert_allclose(together, alone, rtol=1e-9)


def test_a_spectrum_that_stops_short_is_refused():
    wave = np.linspace(6, 30, 500)
    with pytest.raises(ValueError, match="5.5-14.5"):
        silicate_depth(wave, np.ones((1, 500)))
    with pytest.raises(ValueError, match="increase"):
        pah_strength(WAVE_UM[::-1], np.ones((1, 223)))


@pytest.mark.skipif(not (REAL / "swire_templates").is_dir(), reason="SWIRE templates are not here (shared/real_data)")
def test_real_galaxies_sort_on_the_fork():
    """Polletta+ 2007: Arp 220 deeply absorbed, starbursts rich in PAHs, spirals unabsorbed, quasars and tori bare."""

    def measure(name):
        wave, flux = np.loadtxt(REAL / "swire_templates" / f"{name}_template_norm.sed").T
        wave, first = np.unique(wave * 1e-4, return_index=True)
        flux = (flux[first] * wave**2)[(wave > 4.5) & (wave < 20)]
        wave = wave[(wave > 4.5) & (wave < 20)]
        return (*np.ravel(pah_strength(wave, flux)), silicate_depth(wave, flux)[0])

    arp, n6090, sb, qso, torus = (measure(n) for n in ("Arp220", "N6090", "Sb", "QSO1", "Torus"))
    assert arp[2] < -2 < n6090[2] < sb[2]
    assert min(arp[0], n6090[0], sb[0]) > 0.3
    assert abs(qso[0]) < 0.01
    assert abs(torus[0]) < 0.01
    assert n6090[0] > arp[0]


LAI = REAL / "mir_spectra_pahfit" / "Lai2020_1C_akari_spitzer.ecsv"


@pytest.mark.skipif(not LAI.is_file(), reason="the AKARI+Spitzer spectrum is not here (shared/real_data)")
def test_the_observed_starburst_composite():
    """PAH class 1C of Lai+ 2020 is a pure starburst: on Spoon's diagram EW(6.2) > 0.5 um and -1 < S < 0.3."""
    from astropy.table import Table

    table = Table.read(LAI)
    wave, flux = np.array(table["wavelength"]), np.array(table["flux"])
    ew62, ew113 = pah_strength(wave, flux)
    assert 0.5 < ew62[0] < 2
    assert 0.5 < ew113[0] < 3
    assert -1 < silicate_depth(wave, flux)[0] < 0.3
