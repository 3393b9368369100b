"""Lick indices: against their definition worked out independently, at any redshift, resolution and dispersion."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paper_utils.base import paths
from paper_utils.base.constants import C_KMS
from paper_utils.base.containers import WAVE_OBS
from paper_utils.base.rebin import broaden, rebin
from paper_utils.base.wavelengths import SDSS_STEP, air_to_vacuum, pixel_edges, sdss_grid
from paper_utils.measure import indices

REAL = paths.ROOT.parent / "shared" / "real_data"
FINE = np.arange(4600.0, 5600.0, 0.05)  # vacuum A


def bump(wave, depth, centre=5180.0, width=8.0, tilt=0.0):
    return (1 + tilt * (wave - 5000) / 1000) * (1 - depth * np.exp(-0.5 * ((wave - centre) / width) ** 2))


def by_hand(wave, flux, bands):
    """The definition again by the trapezoidal rule on a fine grid."""
    blue, line, red = (air_to_vacuum(np.array(band)) for band in bands)
    side = [np.trapezoid(flux[at], wave[at]) / np.ptp(wave[at]) for at in (between(wave, blue), between(wave, red))]
    at = between(wave, line)
    continuum = np.interp(wave[at], [blue.mean(), red.mean()], side)
    return np.trapezoid(1 - flux[at] / continuum, wave[at])


def between(wave, band):
    return (wave >= band[0]) & (wave <= band[1])


def test_bands_are_those_of_the_survey_pipeline():
    file = REAL / "lick_index_definitions" / "absorption_indices" / "extindx.par"
    if not file.exists():
        pytest.skip(f"{file} is not here")
    rows = [line.replace("{", "").replace("}", "").split() for line in file.read_text().splitlines()]
    theirs = {row[2]: row[3:] for row in rows if row[:1] == ["DAPABI"]}
    for name, (blue, line, red) in indices.LICK.items():
        row = theirs[{"Hbeta": "Hb"}.get(name, name)]
        assert tuple(map(float, row[:6])) == (*line, *blue, *red)
        assert row[6:8] == ["air", "ang"]


@pytest.mark.parametrize("name", indices.LICK)
def test_an_index_is_its_definition(name):
    centre = air_to_vacuum(np.mean(indices.LICK[name][1]))
    flux = np.stack([bump(FINE, depth, centre, tilt=tilt) for depth, tilt in ((0.0, 0.9), (0.3, 0.0), (-0.5, -0.7))])
    expected = [by_hand(FINE, row, indices.LICK[name]) for row in flux]
    assert expected[0] == pytest.approx(0, abs=1e-3)  # a straight continuum has no line
    np.testing.assert_allclose(indices.lick(FINE, flux, indices.LICK[name]), expected, atol=5e-3)
    means, _ = rebin(FINE, flux, np.ones(flux.shape), indices.WAVE_LICK)
    np.testing.assert_allclose(indices.lick(indices.WAVE_LICK, means, indices.LICK[name]), expected, atol=0.02)


def test_an_independent_library_agrees():
    pyphot = pytest.importorskip("pyphot")
    library = pyphot.LickLibrary()
    flux = bump(FINE, 0.4)
    air = FINE / 1.0002786
    for name, theirs in {"Mgb": "Mg_b", "Fe5270": "Fe5270", "Hbeta": "H_beta"}.items():
        # It fits the continuum to all pixels of the sides, not to their means.
        expected = float(np.asarray(library[theirs].get(air * pyphot.config.units.U("AA"), flux[None])).ravel()[0])
        assert indices.lick(FINE, flux, indices.LICK[name])[0] == pytest.approx(expected, abs=0.3)


@settings(max_examples=25, deadline=None)
@given(z=st.floats(0, 0.3), scale=st.floats(1e-3, 1e3), depth=st.floats(0.05, 0.6))
def test_redshift_and_scale_do_not_matter(z, scale, depth):
    lick_sigma = 8.4 / 2.3548
    fine = bump(FINE, depth * 8 / np.hypot(8, lick_sigma), width=np.hypot(8, lick_sigma))
    expected = by_hand(FINE, fine, indices.LICK["Mgb"])
    flux, ivar = rebin(FINE * (1 + z), bump(FINE, depth)[None], np.ones((1, FINE.size)), WAVE_OBS)
    table = indices.measure(WAVE_OBS, scale * flux, ivar, np.array([z]))
    assert table["Mgb"][0] == pytest.approx(expected, rel=5e-3, abs=0.03)


def test_the_spectrograph_counts_towards_lick_resolution():
    kms = 120.0
    wide = broaden(bump(WAVE_OBS, 0.5)[None], np.full(WAVE_OBS.size, kms / C_KMS / SDSS_STEP))
    sharp = indices.measure(WAVE_OBS, bump(WAVE_OBS, 0.5)[None], None, np.zeros(1))
    told = indices.measure(WAVE_OBS, wide, None, np.zeros(1), lsf_kms=kms)
    ignored = indices.measure(WAVE_OBS, wide, None, np.zeros(1))
    assert told["Mgb"][0] == pytest.approx(sharp["Mgb"][0], rel=2e-3)
    assert ignored["Mgb"][0] < 0.99 * sharp["Mgb"][0]


def test_bad_pixels_and_ends_are_not_invented():
    flux = np.stack([bump(WAVE_OBS, 0.4)] * 4)
    ivar = np.ones(flux.shape)
    flux[1, 1362:1365], ivar[1, 1362:1365] = 1e4, 0  # three bad pixels within Mg b
    ivar[2, between(WAVE_OBS, (5170, 5190))] = 0
    table = indices.measure(WAVE_OBS, flux, ivar, np.array([0.0, 0, 0, 0.9]))
    assert between(WAVE_OBS[1362:1365], (5140, 5210)).all()
    assert table["Mgb"][1] == pytest.approx(table["Mgb"][0], rel=0.1)
    assert np.isnan(table["Mgb"][2:]).all()
    assert np.isfinite(table["Hbeta"][2])
    # The break, with bad pixels in it and with bad ends of the grid, and with one side gone.
    ivar[0, 100:104], ivar[0, -40:] = 0, 0
    ivar[1, :150] = 0
    table = indices.measure(WAVE_OBS, flux, ivar, np.zeros(4))
    assert table["Dn4000"][0] == pytest.approx(indices.dn4000(WAVE_OBS, flux[:1], np.zeros(1))[0], rel=1e-2)
    assert np.isnan(table["Dn4000"][1])


def test_errors_are_the_scatter_of_noise():
    rng = np.random.default_rng(0)
    flux, ivar = np.repeat(bump(WAVE_OBS, 0.4)[None], 200, axis=0), np.full((200, WAVE_OBS.size), 30.0**2)
    noisy = indices.measure(WAVE_OBS, flux + rng.standard_normal(flux.shape) / 30, ivar, np.zeros(200))
    told = indices.measure(WAVE_OBS, flux[:1], ivar[:1], np.zeros(1), n_draws=100)
    for name in ("Dn4000", "Mgb", "Fe5335"):
        assert told[f"{name}_err"][0] == pytest.approx(np.std(noisy[name]), rel=0.25)


def test_mgfe_is_equation_4():
    assert indices.mgfe(4.0, 3.0, 2.5) == pytest.approx((4 * (0.72 * 3 + 0.28 * 2.5)) ** 0.5)
    assert np.isnan(indices.mgfe(-1.0, 3.0, 2.5))


def test_broadening_keeps_flux_and_adds_in_quadrature():
    x = np.arange(400.0)
    line = np.exp(-0.5 * ((x - 200) / 3) ** 2)[None]
    wide = broaden(line, 4.0)[0]
    assert wide.sum() == pytest.approx(line.sum(), rel=1e-5)
    assert (wide * (x - 200) ** 2).sum() / wide.sum() == pytest.approx(3**2 + 4**2 + 1 / 12, rel=1e-3)


@settings(max_examples=30, deadline=None)
@given(z=st.floats(0, 1), n_bad=st.integers(0, 60), seed=st.integers(0, 9))
def test_rebinning_conserves_flux_and_information(z, n_bad, seed):
    rng = np.random.default_rng(seed)
    wave = np.sort(rng.uniform(4000, 6000, 400))
    wave = wave[np.r_[True, np.diff(wave) > 0.3]]
    flux, ivar = rng.normal(3, 1, (1, wave.size)), np.full((1, wave.size), 4.0)
    flux[:, :n_bad], ivar[:, :n_bad] = np.nan, 0
    new = sdss_grid(4100 / (1 + z), 5900 / (1 + z))
    mean, weight = rebin(wave, flux, ivar, new, np.array([z]))
    assert np.isfinite(mean).all()
    assert (weight >= 0).all()
    # Chi2 of a constant offset is that of the pixels used.
    assert weight.sum() <= 1.001 * ivar.sum()
    if not n_bad:
        edges, new_edges = pixel_edges(wave), pixel_edges(new) * (1 + z)
        total = np.interp(new_edges[[0, -1]], edges, np.r_[0, np.cumsum(flux[0] * np.diff(edges))])
        assert (mean[0] * np.diff(new_edges)).sum() == pytest.approx(np.diff(total)[0], rel=1e-9)


@pytest.fixture(scope="module")
def old_populations(emiles):
    """Wavelengths, spectra of populations of 1 Gyr and older, and their resolution [km/s]."""
    near = (emiles.wave_rest > 4600) & (emiles.wave_rest < 5600)
    spectra = emiles.templates[emiles.ages >= 1][..., near].reshape(-1, near.sum()).astype(float)
    wave = emiles.wave_rest[near]
    return wave, spectra, emiles.fwhm[near] / np.sqrt(8 * np.log(2)) / wave * C_KMS


def fit_dispersion(
    wave_rest: np.ndarray, flux: np.ndarray, sigmas: np.ndarray, resolution_kms: np.ndarray
) -> dict[str, np.ndarray]:
    """The coefficients p0 ... p7 of eq. 5 for every index, fitted to spectra broadened by `sigmas` [km/s].

    wave_rest (L,) vacuum A; flux (K, L) spectra of old populations, of resolution `resolution_kms` (L,) [km/s].
    """
    from scipy.optimize import least_squares

    wave = indices.WAVE_LICK
    grid, _ = rebin(wave_rest, flux, np.ones(np.shape(flux)), wave)
    missing = np.clip(indices.lick_sigma(wave) ** 2 - np.interp(wave, wave_rest, resolution_kms) ** 2, 0, None)
    steps = [broaden(grid, np.sqrt(missing + sigma**2) / C_KMS / SDSS_STEP) for sigma in (0, *sigmas)]
    fitted = {}
    for name, bands in indices.LICK.items():
        x0, *x = (indices.lick(wave, spectra, bands) for spectra in steps)
        x, sigma, wanted = np.concatenate(x), np.repeat(sigmas, len(x0)), np.tile(x0, len(sigmas))
        good = (x > 0.3) & (wanted > 0.3)
        start = (0.0, 1.0, 1.0, 1e-6, 2.0, 1e-6, 1.0, 2.0)
        fit = least_squares(
            lambda p, x, sigma, wanted: indices._eq5(p, x, sigma) - wanted,
            start,
            x_scale=(0.1, 1, 1, 1e-6, 1, 1e-6, 1, 1),
            bounds=([-2, 0, 0.3, -1e-2, 0.5, -1e-2, 0.2, 0.5], [2, 3, 3, 1e-2, 4, 1e-2, 4, 4]),
            args=(x[good], sigma[good], wanted[good]),
            max_nfev=4000,
        )
        fitted[name] = fit.x
    return fitted


def test_coefficients_of_equation_5_are_those_of_emiles(old_populations):
    sigmas = np.arange(25, 425, 25.0)
    fitted = fit_dispersion(*old_populations[:2], sigmas, old_populations[2])
    x, sigma = np.meshgrid(np.linspace(1, 4, 10), sigmas)
    for name, p in fitted.items():
        np.testing.assert_allclose(indices._eq5(p, x, sigma), indices.correct(name, x, sigma), atol=0.01)


def test_dispersion_is_taken_out(old_populations):
    wave, spectra, own = old_populations
    grid, _ = rebin(wave, spectra, np.ones(spectra.shape), WAVE_OBS[800:1700])
    own = np.interp(WAVE_OBS[800:1700], wave, own)
    none = indices.measure(WAVE_OBS[800:1700], grid, None, np.zeros(1), lsf_kms=own)
    for sigma in (80.0, 200.0, 350.0):
        wide = broaden(grid, np.full(900, sigma / C_KMS / SDSS_STEP))
        raw = indices.measure(WAVE_OBS[800:1700], wide, None, np.zeros(1), lsf_kms=own)
        right = indices.measure(WAVE_OBS[800:1700], wide, None, np.zeros(1), lsf_kms=own, sigma_star=np.array([sigma]))
        for name in indices.LICK:
            assert np.abs(right[name] - none[name]).max() < 0.06
            # The paper's own correction is good to 5 %.
            assert np.median(np.abs(right[name] / none[name] - 1)) < 0.01 < np.median(1 - raw[name] / none[name]) + 0.01


def test_the_correction_is_the_one_measured_by_manga(old_populations):
    """At MaNGA's resolution, E-MILES broadened: the medians of its 779 bins over their dispersions."""
    file = REAL / "manga_dap_maps" / "manga-8080-12701-MAPS-VOR10-GAU-MILESHC.fits.gz"
    if not file.exists():
        pytest.skip(f"{file} is not here")
    from astropy.io import fits

    with fits.open(file) as hdus:
        header = hdus["SPECINDEX"].header
        channel = {header[f"C{i:02d}"]: i - 1 for i in range(1, 47)}
        _, first = np.unique(hdus["BINID"].data[1], return_index=True)
        read = lambda name: hdus[name].data.reshape(*hdus[name].data.shape[:-2], -1)[..., first]  # noqa: E731
        sigma = np.sqrt(np.clip(read("STELLAR_SIGMA") ** 2 - read("STELLAR_SIGMACORR") ** 2, 0, None))
        good = (read("STELLAR_SIGMA_MASK") == 0) & (sigma > 60) & (sigma < 130)
        corrections, values = read("SPECINDEX_CORR")[:, good], read("SPECINDEX")[:, good]
    assert good.sum() > 100
    wave, spectra, own = old_populations
    grid, _ = rebin(wave, spectra, np.ones(spectra.shape), indices.WAVE_LICK)
    for name, theirs in {"Mgb": "Mgb", "Fe5270": "Fe5270", "Fe5335": "Fe5335", "Hbeta": "Hb"}.items():
        bands = indices.LICK[name]
        alike = np.abs(indices.lick(indices.WAVE_LICK, grid, bands) / np.median(values[channel[theirs]]) - 1) < 0.25
        resolution = 68.0  # km/s, of MaNGA at these wavelengths
        base = np.sqrt(np.clip(resolution**2 - np.interp(indices.WAVE_LICK, wave, own) ** 2, 0, None))
        kms = np.median(sigma[good])
        x0, x = (
            indices.lick(indices.WAVE_LICK, broaden(grid[alike], np.hypot(base, s) / C_KMS / SDSS_STEP), bands)
            for s in (0.0, kms)
        )
        assert np.median(x0 / x) == pytest.approx(np.median(corrections[channel[theirs]]), abs=0.01), name
