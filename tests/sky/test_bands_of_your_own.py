"""The mock sky in anyone's bands: the same objects, at the depth asked for."""

import numpy as np
import pytest
from astropy.table import Table
from scipy.stats import ks_2samp

from paper_utils.base.errors import DataError
from paper_utils.base.filters import curves_of, sdss_curves
from paper_utils.sky import alhambra_catalogue, band_sets, bands, deep, foreground, light

DEPTH = {"u": 22.15, "g": 23.13, "r": 22.70, "i": 22.20, "z": 20.71}


@pytest.fixture(scope="module")
def scene(ssps):
    return bands.draw(sdss_curves(), "r", 21.0, 3000, ssps, seed=2)


def stars(magnitude, n=4000):
    """A scene of stars of one magnitude in all bands, without dust."""
    columns = {"is_star": np.ones(n, bool), "is_quasar": np.zeros(n, bool), "z": np.zeros(n), "r_e": np.zeros(n)}
    curves = sdss_curves()
    return bands.Scene(Table(columns | {"ebv": np.zeros(n)}), np.tile(np.asarray(magnitude, float), (n, 1)), curves)


def snr(catalogue, band):
    """Of the measurements that are not below one sigma."""
    error = np.asarray(catalogue.table[f"d{band}"])[np.abs(catalogue.table[band]) < 90]
    return 1 / (10 ** (0.4 * error) - 1)


def galaxies(truth):
    return ~np.asarray(truth["is_star"] | truth["is_quasar"])


def test_alhambras_galaxies_in_its_bands_are_those_of_its_catalogue(ssps):
    """The same galaxies, seen by the general function: the same magnitudes and errors within the errors."""
    found, table = alhambra_catalogue.catalogue(1500, ssps, seed=5), alhambra_catalogue.light_table(ssps)
    found = found.select(galaxies(found.truth))
    seen = bands.Scene(found.truth, light.magnitudes(found.truth, table), alhambra_catalogue.curves())
    depth = dict(zip(alhambra_catalogue.NAMES, alhambra_catalogue.LIMITS.tolist(), strict=True))
    ours = seen.observe(depth, seed=1, found="F814W").table
    for name in ("F365W", "F613W", "F861W", "J", "F814W"):
        a, da, b, db = (np.asarray(part[key]) for part in (ours, found.table) for key in (name, f"d{name}"))
        both = (np.abs(a) < 90) & (np.abs(b) < 90) & (da < 0.2) & (db < 0.2)
        assert both.sum() > 150
        off = (a - b)[both] / np.sqrt(da**2 + db**2 + 2 * bands.ZERO_POINT**2)[both]
        assert abs(np.median(off)) < 0.2, name
        assert np.std(off) == pytest.approx(1, abs=0.2), name
        assert np.median(da[both] / db[both]) == pytest.approx(1, abs=0.2), name


def test_what_is_drawn_for_anyone_is_what_alhambra_finds(ssps):
    limit = alhambra_catalogue.ALHAMBRA.detection.limit
    ours = bands.draw({"F814W": alhambra_catalogue.curves()["F814W"]}, "F814W", limit, 3000, ssps, seed=1).truth
    theirs = alhambra_catalogue.catalogue(3000, ssps, seed=2).truth
    for name, same in (("z", "z"), ("m_found", "f814w"), ("log_mstar", "log_mstar")):
        a, b = (np.asarray(truth[key])[galaxies(truth)] for truth, key in ((ours, name), (theirs, same)))
        assert ks_2samp(a, b).pvalue > 1e-3, name


def test_half_of_the_point_sources_at_the_depth_are_five_sigma_detections():
    seen = stars(list(DEPTH.values())).observe(DEPTH, dust=False)
    for name in DEPTH:
        assert (snr(seen, name) > 5).mean() == pytest.approx(0.5, abs=0.04), name
        np.testing.assert_allclose(np.median(snr(seen, name)), 5, rtol=0.06)
    # A magnitude brighter 5 * 10^0.4 = 12.6 sigma; two fainter 0.8, and most are lost.
    assert np.median(snr(stars([21.7] * 5).observe({"r": 22.7}, dust=False), "r")) == pytest.approx(12.6, rel=0.05)
    faint = stars([24.7] * 5).observe({"r": 22.7}, dust=False).table
    assert (np.asarray(faint["r"]) == bands.UNDETECTED).mean() == pytest.approx(0.58, abs=0.04)
    lost = faint["dr"][np.asarray(faint["r"]) == bands.UNDETECTED]
    assert np.median(lost) == pytest.approx(22.7 + 2.5 * np.log10(5), abs=0.03)  # the magnitude of one sigma


def test_deeper_is_better_and_larger_is_worse(scene):
    shallow, deeper = (scene.observe({"g": limit}, dust=False).table for limit in (22.0, 24.0))
    part = np.asarray(scene.truth["m_found"]) > 19
    off, errors = [], []
    for table in (shallow, deeper):
        seen = part & (np.abs(table["g"]) < 90)
        off.append(np.std((np.asarray(table["g"]) - scene.mags[:, 1])[seen]))
        errors.append(np.median(table["dg"][seen]))
    assert off[1] < 0.4 * off[0]
    assert errors[1] < 0.3 * errors[0]
    wide = bands.noise(np.full((2, 1), 25.0), np.array([1.0, 3.0]), np.full((2, 1), 24.0))[:, 0]
    assert wide[1] / wide[0] == pytest.approx(2, rel=0.01)  # 3 arcsec, and twice that


def test_errors_tell_the_scatter_and_marks_are_there(scene):
    catalogue = scene.observe(DEPTH, seed=3, found="r", dust=True)
    reddening = np.outer(scene.truth["ebv"], foreground.extinction(sdss_curves()))
    for b, name in enumerate(DEPTH):
        m, e = np.asarray(catalogue.table[name]), np.asarray(catalogue.table[f"d{name}"])
        use = (np.abs(m) < 90) & (e > 0.06) & (e < 0.2)
        pull = (1 - 10 ** (-0.4 * ((scene.mags + reddening)[:, b] - m)[use])) / (10 ** (0.4 * e[use]) - 1)
        assert use.sum() < 200 or np.std(pull) == pytest.approx(1, abs=0.15), name
        assert (m == bands.UNOBSERVED).mean() == pytest.approx(0 if name == "r" else bands.MISSING, abs=0.006)
        assert (e[m == bands.UNOBSERVED] == 0).all()
    assert (np.abs(catalogue.table["r"]) < 90).all()
    assert catalogue.check() is catalogue


def test_the_same_arguments_give_the_same_objects_in_whatever_bands(scene, ssps):
    again = bands.draw(sdss_curves(), "r", 21.0, 3000, ssps, seed=2)
    np.testing.assert_array_equal(scene.mags, again.mags)
    first, same, other = (scene.observe(DEPTH, seed) for seed in (0, 0, 1))
    assert first.content_hash() == same.content_hash() != other.content_hash()
    truth = scene.truth
    assert truth["is_star"].sum() == 150
    assert set(truth.colnames) >= {"z", "is_star", "is_quasar", "log_mstar", "sed_type", "m_found", "ebv"}
    np.testing.assert_array_equal(truth["m_found"], scene.mags[:, 2])
    assert (np.diff(np.histogram(truth["m_found"], [17, 18, 19, 20, 21])[0]) > 0).all()


@pytest.mark.parametrize(("name", "limit"), [("ukirt_wfcam_K", 21.0), ("sdss_u0", 19.5)])
def test_no_bright_galaxies_are_missing_from_a_survey_in_another_band(name, limit, ssps):
    """The bound on what is proposed lies outside what is drawn: see the same test of ALHAMBRA's catalogue."""
    curve = curves_of({"X": name})
    truth = bands.draw(curve, "X", limit, 1200, ssps, seed=1).truth
    truth = truth[galaxies(truth)]
    margin = np.interp(curve["X"][0].mean(), *bands.BRIGHTER)
    excess = deep.brightest(np.asarray(truth["log_mstar"]), np.asarray(truth["z"])) - np.asarray(truth["m_found"])
    assert (excess[np.asarray(truth["m_found"]) < limit - 0.5] > margin).mean() < 0.005


@pytest.mark.parametrize("name", ["galex_NUV", "wise_w1"])
def test_a_band_in_which_not_all_have_light_is_named(name, ssps):
    curves = sdss_curves() | curves_of({"mine": name})
    with pytest.raises(DataError, match=r"band 'mine'.*redshift 5\.5.*3139-26003 A.*Leave the band out"):
        bands.draw(curves, "r", 20.0, 100, ssps)
    with pytest.raises(DataError, match="9 objects"):
        bands.draw(sdss_curves(), "r", 20.0, 9, ssps)


def test_equal_time_is_shared_evenly():
    """Written out: twice the bands of the same width have half the time, 1.25 log 2 less depth; half the width, too."""
    names = tuple(name for name in alhambra_catalogue.NAMES if name not in (*band_sets.INFRARED, "F814W"))
    like = dict.fromkeys(names, 24.0)
    same = band_sets.equal_time(names, like)
    np.testing.assert_allclose(list(same.values()), 24, atol=1e-9)
    narrow = band_sets.equal_time(("J0490",), {"F489W": 24.0})
    assert narrow["J0490"] == pytest.approx(24 + 1.25 * np.log10(145 / 356), abs=0.01)
    assert band_sets.equal_time(("J0490", "J0500"), {"F489W": 24.0})["J0490"] == pytest.approx(
        narrow["J0490"] - 1.25 * np.log10(2)
    )
    found = band_sets.sets()
    assert [len(depth) for depth in found.values()] == [23, 20, 56, 56, 6, 6]
    assert all(set(depth) <= set(band_sets.curves()) for depth in found.values())
