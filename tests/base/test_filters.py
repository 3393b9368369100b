"""Photometry: the matrix measures what an independent integration measures."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sedpy.observate import Filter, getSED

from paper_utils.base import paths
from paper_utils.base.containers import WAVE_UM
from paper_utils.base.errors import DataError
from paper_utils.base.filters import HELP_BANDS, Band, sampled, transmission_curve
from paper_utils.base.photometry import matrices, measurement_matrix

CIGALE = paths.ROOT.parent / "shared" / "real_data" / "filters" / "cigale"
METHODS = ("interpolate", "filters")
CURVES = [band for band in HELP_BANDS if isinstance(band.curve, str)]


def test_table_1_rest_wavelengths_are_the_observed_ones_at_z_2_as_printed():
    """Every printed pair agrees to the last printed digit, but for SPIRE 500, which the paper cut off, not rounded."""
    off = []
    for band in HELP_BANDS:
        printed = Decimal(str(band.rest_um)) if band.name != "IRAC 2" else Decimal("1.500")
        if (Decimal(str(band.observed_um)) / 3).quantize(printed) != printed:
            off.append(str(band))
    assert off == ["Herschel SPIRE (500 um)"]
    rest = np.array([band.observed_um for band in HELP_BANDS]) / 3
    assert len(rest) == 20
    assert (np.diff(rest) > 0).all()
    # Table 2 gives the photometry's range as 0.05-170 um.
    assert [float(f"{x:.2g}") for x in rest[[0, -1]]] == [0.051, 170]


@pytest.mark.parametrize("band", HELP_BANDS, ids=str)
def test_curves_lie_where_the_paper_says(band):
    """Pivot wavelength of each curve against Table 1: 2 %, but for three bands printed at other wavelengths."""
    wave, transmission = transmission_curve(band.curve)
    pivot = np.sqrt(np.trapezoid(transmission * wave, wave) / np.trapezoid(transmission / wave, wave))
    off = pivot / band.observed_um - 1
    if band.name in ("r", "i", "Suprime N921"):
        assert -0.065 < off < -0.045
    else:
        assert abs(off) < 0.02


@pytest.mark.parametrize("method", METHODS)
@given(z=st.floats(0, 3.4), constant=st.floats(1e-6, 1e6))
@settings(max_examples=20, deadline=None)
def test_flat_spectrum_gives_itself_at_any_redshift(method, z, constant):
    matrix = measurement_matrix(WAVE_UM, z=z, method=method)
    assert matrix.shape == (20, 223)
    assert (matrix >= 0).all()
    np.testing.assert_allclose(matrix @ np.full(223, constant), constant, rtol=1e-12)


def test_matrices_of_many_redshifts_are_those_of_each():
    """Curves sampled at 500 points for 2000; a band that leaves the grid is a row of zeros."""
    z, curves = np.array([0.5, 2.0, 4.0]), np.stack([sampled(band.curve) for band in HELP_BANDS], axis=1)
    together = matrices(WAVE_UM, *curves, z)
    for row, redshift in zip(together[:2], z, strict=False):
        alone = measurement_matrix(WAVE_UM, z=redshift, method="filters")
        spectra = WAVE_UM ** np.array([[-2.0], [0.0], [3.0]])
        np.testing.assert_allclose(spectra @ row.T, spectra @ alone.T, rtol=2e-3)
    assert not together[2, 0].any()  # GALEX FUV at z = 4
    np.testing.assert_allclose(together[2, 1:].sum(-1), 1)


@given(z=st.floats(-0.5, 4), slope=st.floats(-5, 5), offset=st.floats(-5, 5))
@settings(deadline=None)
def test_interpolation_is_exact_where_the_spectrum_is_linear_in_log_wavelength(z, slope, offset):
    matrix = measurement_matrix(WAVE_UM, z=z)
    rest = np.array([band.observed_um / (1 + z) for band in HELP_BANDS])
    np.testing.assert_allclose(matrix @ (slope * np.log(WAVE_UM) + offset), slope * np.log(rest) + offset, atol=1e-9)


def test_interpolation_agrees_with_numpy():
    flux = np.random.default_rng(1).lognormal(size=(7, 223))
    rest = np.log([band.observed_um / 3.5 for band in HELP_BANDS])
    expected = [np.interp(rest, np.log(WAVE_UM), row) for row in flux]
    np.testing.assert_allclose(flux @ measurement_matrix(WAVE_UM, z=2.5).T, expected, rtol=1e-12)


def test_band_on_a_grid_point_reads_that_point():
    for i in (0, 100, 222):
        band = Band(WAVE_UM[i], 0, "", "", "sdss_r0")
        np.testing.assert_allclose(measurement_matrix(WAVE_UM, [band], z=0)[0], np.eye(223)[i], atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
@given(seeds=st.tuples(st.integers(0, 99), st.integers(0, 99)), factor=st.floats(0, 10))
@settings(max_examples=20, deadline=None)
def test_photometry_is_linear_and_monotone(method, seeds, factor):
    matrix = measurement_matrix(WAVE_UM, method=method)
    a, b = (np.random.default_rng(seed).lognormal(size=223) for seed in seeds)
    np.testing.assert_allclose(matrix @ (a + factor * b), matrix @ a + factor * (matrix @ b), rtol=1e-9)
    assert (matrix @ (a + factor * b) >= matrix @ a).all()
    assert (matrix @ a <= a.max() * (1 + 1e-9)).all()


@pytest.mark.parametrize("z", [0, 2])
@pytest.mark.parametrize("power", [-2, 0, 1, 3])
def test_filters_agree_with_sedpys_own_magnitudes(z, power):
    """Power laws F_nu ~ lambda^power on a grid fine enough for sedpy's own sum: within 0.01 mag in every band."""
    wave_um = np.geomspace(0.02, 1000, 4000)
    ours = measurement_matrix(wave_um, CURVES, z, "filters") @ wave_um**power
    # In the observed frame sedpy takes F_lambda; a redshift of F_nu that keeps its values moves only its wavelengths.
    wave = wave_um * (1 + z) * 1e4
    f_lambda = wave_um**power * 2.998e18 / wave**2
    theirs = 10 ** (-0.4 * getSED(wave, f_lambda, [Filter(band.curve) for band in CURVES])) * 3631e-23
    np.testing.assert_allclose(-2.5 * np.log10(ours / theirs), 0, atol=0.01)


def test_top_hat_averages_over_its_width():
    centre, width = 0.9196, 0.0132
    band = Band(centre, 0, "", "", (centre, width))
    wave_um = np.geomspace(0.1, 10, 5000)
    inside = np.linspace(centre - width / 2, centre + width / 2, 1001)
    # int lambda^4 dln(lambda) / int dln(lambda)
    expected = (inside[-1] ** 4 - inside[0] ** 4) / 4 / np.log(inside[-1] / inside[0])
    assert measurement_matrix(wave_um, [band], 0, "filters")[0] @ wave_um**4 == pytest.approx(expected, rel=1e-4)


# Same instrument in both packages; CIGALE's SDSS primes (USNO) and WFCAM_Ks (not K) are other filters.
BOTH = {"galex_FUV": "FUV", "galex_NUV": "NUV", "sdss_u0": "u_prime", "ukirt_wfcam_J": "WFCAM_J"}
BOTH |= {f"spitzer_irac_ch{i}": f"IRAC{i}" for i in (1, 2, 3, 4)} | {"spitzer_mips_24": "MIPS1"}
BOTH |= {"herschel_pacs_100": "PACS_green", "herschel_pacs_160": "PACS_red"}
BOTH |= {f"herschel_spire_{um}": name for um, name in ((250, "PSW"), (350, "PMW"), (500, "PLW"))}


@pytest.mark.skipif(not CIGALE.is_dir(), reason="real filter curves are not here (shared/real_data/filters)")
@pytest.mark.parametrize(("curve", "file"), BOTH.items())
@pytest.mark.parametrize("power", [-2, 2])
def test_filters_agree_with_curves_from_another_source(curve, file, power):
    wave, response = np.loadtxt(CIGALE / f"{file}.dat", unpack=True)
    # MIPS and SPIRE are labelled energy responses; PACS is labelled photon, but holds the bolometers' energy response.
    bolometer = "mips" in curve or "herschel" in curve
    if bolometer:
        response = response / wave
    wave = wave * 1e-4
    expected = np.trapezoid(wave**power * response / wave, wave) / np.trapezoid(response / wave, wave)
    wave_um = np.geomspace(0.05, 1000, 4000)
    ours = measurement_matrix(wave_um, [Band(0, 0, "", "", curve)], 0, "filters")[0] @ wave_um**power
    assert -2.5 * np.log10(ours / expected) == pytest.approx(0, abs=0.005 if bolometer else 0.015)


@pytest.mark.parametrize("method", METHODS)
def test_band_that_leaves_the_grid_is_named(method):
    with pytest.raises(DataError, match=r"GALEX FUV.*redshift 4\.5.*0\.03-12000 um"):
        measurement_matrix(WAVE_UM, z=4.5, method=method)
    with pytest.raises(DataError, match="Herschel.*extend"):
        measurement_matrix(WAVE_UM[:150], z=0, method=method)
    # Table 1 is inside up to 0.153 / 0.03 - 1 = 4.1 by wavelength, 0.1340 / 0.03 - 1 = 3.4 by the foot of FUV's curve.
    measurement_matrix(WAVE_UM, z={"interpolate": 4.1, "filters": 3.4}[method], method=method)


@pytest.mark.parametrize("z", [-1, -2, np.nan, np.inf])
def test_senseless_redshift_is_refused(z):
    with pytest.raises(DataError, match="redshift"):
        measurement_matrix(WAVE_UM, z=z)


def test_senseless_method_is_refused():
    with pytest.raises(ValueError, match="filters"):
        measurement_matrix(WAVE_UM, method="filter")
