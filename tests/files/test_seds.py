"""Published SEDs on the study's grid: nothing lost in resampling, real files read, bad ones refused."""

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paper_utils.base import paths
from paper_utils.base.containers import N_WAVE, WAVE_UM, SedLibrary
from paper_utils.base.errors import DataError
from paper_utils.base.filters import HELP_BANDS
from paper_utils.base.photometry import measurement_matrix
from paper_utils.files.seds import read_npz_library, read_swire, resample

REAL = paths.ROOT.parent / "shared" / "real_data"
SWIRE = REAL / "swire_templates"
RT = REAL / "rt_library" / "rt_library.npz"
needs_swire = pytest.mark.skipif(not SWIRE.is_dir(), reason="SWIRE templates are not here (shared/real_data)")
needs_rt = pytest.mark.skipif(not RT.is_file(), reason="the composite library is not here (shared/real_data)")


@given(slope=st.floats(-6, 6), n=st.integers(2, 50), low=st.floats(0.01, 1), high=st.floats(2, 1e4))
@settings(deadline=None)
def test_power_law_stays_itself_inside_and_beyond_the_ends(slope, n, low, high):
    wave = np.geomspace(low, high, n)
    np.testing.assert_allclose(resample(wave, 3 * wave**slope, beyond=1e5), 3 * WAVE_UM**slope, rtol=1e-6)


def test_only_the_outermost_stretch_continues_a_spectrum():
    """Slopes 2, 0 and -3 with breaks a third of an e-fold from the ends at 0.1 and 1000 um, and noise-free."""
    x = np.linspace(np.log(0.1), np.log(1000), 2000)

    def log_flux(x):
        inner = np.clip(x, np.log(0.1) + 0.33, np.log(1000) - 0.33)
        return np.where(x < inner, 2, -3) * (x - inner)

    expected = log_flux(np.log(WAVE_UM))
    np.testing.assert_allclose(np.log(resample(np.exp(x), np.exp(log_flux(x)))), expected, atol=0.02)


def test_few_points_continue_a_spectrum_as_their_own_end_goes():
    """Slope 2 up to 10 um and -1 from there, with one point or two at either end."""
    found = resample([1, 10, 100, 1000], [1, 100, 10, 1], [0.1, 3.1622776, 1e4])
    np.testing.assert_allclose(np.ravel(found), [0.01, 10, 0.1], rtol=1e-6)


@given(seed=st.integers(0, 999))
@settings(max_examples=30, deadline=None)
def test_order_and_repeats_of_the_points_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    wave, flux = np.geomspace(0.01, 2e4, 300), rng.lognormal(size=(3, 300))
    expected = resample(wave, flux)
    shuffle = rng.permutation(np.r_[np.arange(300), rng.integers(0, 300, 40)])
    np.testing.assert_allclose(resample(wave[shuffle], flux[:, shuffle]), expected, rtol=1e-9)
    np.testing.assert_allclose(resample(wave, flux[1]), expected[1])
    np.testing.assert_allclose(resample(wave, flux, wave), flux)


def test_repeated_wavelength_takes_the_geometric_mean():
    wave, flux = np.array([1.0, 2, 2, 4]), np.array([1.0, 1, 9, 1])
    assert resample(wave, flux, np.array([2.0])) == pytest.approx(3)


def test_a_black_body_keeps_its_peak_and_its_luminosity():
    def planck(wave_um):  # F_nu at 50 K, up to a constant
        return wave_um**-3.0 / np.expm1(14387.77 / (wave_um * 50))

    fine = np.geomspace(5, 12000, 20000)
    coarse = resample(fine, planck(fine), beyond=200)
    inside = WAVE_UM > 8
    np.testing.assert_allclose(coarse[inside], planck(WAVE_UM[inside]), rtol=1e-4)
    bolometric = [np.trapezoid(f / w, np.log(w)) for w, f in ((fine, planck(fine)), (WAVE_UM, coarse))]
    assert bolometric[1] == pytest.approx(bolometric[0], rel=2e-3)


@pytest.mark.parametrize(
    ("wave", "flux", "words"),
    [
        ([1, 2, 3], [1, 0, 1], ["flux is 0", "spectrum 0, point 1", "floor"]),
        ([1, 2, 3], [[1, 1, 1], [1, 1, -2]], ["flux is -2", "spectrum 1, point 2"]),
        ([1, 2, 3], [1, np.nan, 1], ["nan", "point 1"]),
        ([0, 2, 3], [1, 1, 1], ["wavelength is 0", "point 0"]),
        ([1, 2], [1, 1, 1], ["(2,)", "(3,)"]),
        ([2, 2], [1, 1], ["fewer than two"]),
    ],
)
def test_points_without_a_logarithm_are_named(wave, flux, words):
    with pytest.raises(DataError) as caught:
        resample(np.array(wave, float), np.array(flux, float))
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("wave", "words"),
    [
        ([1, 200], ["from 200 to 12000 um", "60 times", "At most 15", "`beyond`"]),
        ([0.5, 1e4], ["from 0.5 to 0.03 um", "16.7 times"]),
        ([1e3, 1e7], ["from 1000 to 0.03 um", "look like Angstrom"]),  # SWIRE's own unit
        ([30, 1.2e7], ["look like nm"]),
        ([1e-7, 1e-3], ["look like m, not um"]),
    ],
)
def test_neither_far_extrapolation_nor_another_unit_passes_in_silence(wave, words):
    with pytest.raises(DataError) as caught:
        resample(wave, np.ones(2))
    for word in words:
        assert word in str(caught.value)
    assert ("look like" in str(caught.value)) == ("look like" in " ".join(words))
    np.testing.assert_allclose(resample(wave, np.ones(2), beyond=1e9), 1)


def test_how_far_is_counted_from_the_wavelengths_asked_for():
    assert resample([0.1, 1000], [1, 1]).shape == (N_WAVE,)
    assert resample([5, 35], [1, 1], [4, 40]).shape == (2,)
    with pytest.raises(DataError, match="look like Angstrom"):
        resample([5e4, 35e4], [1, 1], [4, 40])


def write_sed(path, f_nu_slope=1.0, wave=None):
    """A template F_nu ~ lambda^slope in the SWIRE format: Angstrom, F_lambda ~ F_nu / lambda^2."""
    wave = np.geomspace(1e3, 1e7, 60) if wave is None else wave
    np.savetxt(path, np.c_[wave, wave ** (f_nu_slope - 2)])


def test_swire_format_gives_f_nu_in_um(tmp_path):
    write_sed(tmp_path / "Rising_template_norm.sed", 0.5)
    seams = np.sort(np.r_[np.geomspace(1e3, 1e7, 60), 1e5, 1e5])
    write_sed(tmp_path / "Falling_template_norm.sed", -0.5, seams)
    library = read_swire(tmp_path)
    assert library.ids.tolist() == ["Falling", "Rising"]
    np.testing.assert_allclose(library.params["wave_min_um"], 0.1)
    for row, slope in zip(library.flux, (-0.5, 0.5), strict=True):
        np.testing.assert_allclose(row / row[0], (WAVE_UM / WAVE_UM[0]) ** slope, rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["empty"]),
        ("1000 1\n2000 one\n", ["row 1", "one"]),
        ("1000 1\n2000 1 1\n", ["row 2"]),
        ("1000 1\n2000 -1\n", ["point 1", "flux is -0.04"]),  # F_lambda x (0.2 um)^2
        ("1000 1\n", ["fewer than two"]),
    ],
)
def test_bad_swire_file_is_named(text, words, tmp_path):
    (tmp_path / "X_template_norm.sed").write_text(text)
    with pytest.raises(DataError) as caught:
        read_swire(tmp_path)
    for word in ["X_template_norm.sed", *words]:
        assert word in str(caught.value)


def test_folder_without_templates_is_refused(tmp_path):
    with pytest.raises(DataError, match="no .sed files"):
        read_swire(tmp_path)


def test_damaged_or_incomplete_npz_is_refused(tmp_path):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, wave_um=WAVE_UM, flux_nu=np.ones((3, N_WAVE)), fraction=np.full((3, 3), 1 / 3))
    whole, path = buffer.getvalue(), tmp_path / "library.npz"
    path.write_bytes(whole)
    assert len(read_npz_library(path)) == 3

    @given(cut=st.integers(0, len(whole) - 1))
    @settings(deadline=None)
    def check_cut(cut):
        path.write_bytes(whole[:cut])
        with pytest.raises(DataError, match=r"library\.npz"):
            read_npz_library(path)

    check_cut()
    np.savez(path, wave_um=WAVE_UM)
    with pytest.raises(DataError, match="flux_nu"):
        read_npz_library(path)
    np.savez(path, wave_um=WAVE_UM, flux_nu=np.array([{}]))  # would need unpickling
    with pytest.raises(DataError, match="not a readable"):
        read_npz_library(path)
    for wrong in ({"fraction": np.ones((3, 2))}, {"fraction": np.ones(3)}, {"tau": np.ones(2)}, {"tau": 1.0}):
        np.savez(path, wave_um=WAVE_UM, flux_nu=np.ones((3, N_WAVE)), **wrong)
        with pytest.raises(DataError, match=rf"{next(iter(wrong))}.* has shape"):
            read_npz_library(path)
    with path.open("wb") as file:
        np.save(file, WAVE_UM)  # one bare array
    with pytest.raises(DataError, match="not a readable"):
        read_npz_library(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("wave_um.npy", b"no array")
    with pytest.raises(DataError, match=r"library\.npz"):
        read_npz_library(path)


@needs_swire
def test_real_swire_templates():
    library = read_swire(SWIRE)
    assert len(library) == 18
    flux = dict(zip(library.ids, library.flux, strict=True))

    def at(name, um):
        return np.exp(np.interp(np.log(um), np.log(WAVE_UM), np.log(flux[name])))

    # Polletta+ 2007: Arp 220 is a ULIRG, nearly all its light beyond 8 um; an old elliptical shines near 1 um.
    def share(name, low, high):
        power, inside = flux[name] / WAVE_UM, (WAVE_UM > low) & (WAVE_UM < high)
        return power[inside].sum() / power.sum()

    assert share("Arp220", 8, 1000) > 0.9
    assert share("Ell13", 0.3, 5) > 0.9
    # Silicates absorb at 9.7 um in Arp 220, far below the continuum between 5.5 and 14 um.
    assert at("Arp220", 9.7) < 0.3 * np.sqrt(at("Arp220", 5.5) * at("Arp220", 14))
    # Wherever a template has points, the resampled one follows an interpolation made from scratch.
    for name in library.ids:
        wave, f_lambda = np.loadtxt(SWIRE / f"{name}_template_norm.sed", unpack=True)
        wave, first = np.unique(wave * 1e-4, return_index=True)
        inside = (WAVE_UM > wave[0]) & (WAVE_UM < wave[-1])
        expected = np.interp(np.log(WAVE_UM), np.log(wave), np.log(f_lambda[first] * wave**2))[inside]
        off = np.log(flux[name][inside]) - expected
        assert np.abs(off - np.median(off)).max() < 0.15  # at a seam two fluxes of one wavelength may differ
        assert np.percentile(np.abs(off - np.median(off)), 90) < 1e-6


@needs_rt
def test_real_composite_library(tmp_path):
    library = read_npz_library(RT)
    assert library.flux.shape == (10000, N_WAVE)
    np.testing.assert_allclose(library.wave_um, WAVE_UM, rtol=1e-6)
    np.testing.assert_allclose(library.normalised().flux, library.flux, rtol=1e-5)
    train, test = library.split(seed=3)
    assert (len(train), len(test)) == (9000, 1000)
    assert test.ids[0] == "rt09000"
    np.testing.assert_array_equal(test.flux, library.flux[9000:])
    # The fractions are in the order of their names: stars make the near, tori the mid, starbursts the far infrared.
    bands = {name: np.abs(WAVE_UM - um).argmin() for name, um in (("f_s", 1.0), ("f_AGN", 5.0), ("f_SB", 60.0))}
    for component, i in bands.items():
        correlation = {name: np.corrcoef(library.params[name], np.log(library.flux[:, i]))[0, 1] for name in bands}
        assert max(correlation, key=correlation.get) == component
    loaded = SedLibrary.load(library.save(tmp_path / "rt.h5"))
    assert loaded.content_hash() == library.content_hash()


@needs_rt
def test_mid_infrared_colour_from_photometry_tells_tori_from_starbursts():
    """A torus is warm: from MIPS24 to PACS160 (7.9 to 53 um at z = 2) its F_nu rises far less than a starburst's."""
    library = read_npz_library(RT)
    names = [band.name if band.name != "PACS" else f"PACS{band.observed_um:g}" for band in HELP_BANDS]
    for method in ("interpolate", "filters"):
        photometry = library.flux @ measurement_matrix(library.wave_um, method=method).T
        colour = np.log10(photometry[:, names.index("PACS160")] / photometry[:, names.index("MIPS24")])
        torus, starburst = colour[library.params["f_AGN"] > 0.8], colour[library.params["f_SB"] > 0.8]
        assert np.median(starburst) - np.median(torus) > 0.5
