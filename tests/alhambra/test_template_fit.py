"""Template fitting: planted redshifts come back, missing values carry what they should, errors are the survey's."""

import numpy as np
import pytest
from astropy.table import Table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paper_utils.alhambra import template_fit
from paper_utils.base import paths
from paper_utils.base.columns import alhambra_columns
from paper_utils.base.constants import DEEP_Z
from paper_utils.base.errors import DataError
from paper_utils.base.filters import sdss_curves
from paper_utils.sky import alhambra_catalogue, jpas_catalogue, sequence, stars, survey
from paper_utils.stats.densities import Densities

GST = paths.ROOT.parent / "shared" / "real_data" / "gst_photometry" / "gst_tests_small.fits"
CURVES = alhambra_catalogue.curves()
F814W = alhambra_catalogue.NAMES.index("F814W")


@pytest.fixture(scope="module")
def library(ssps):
    return sequence.templates(ssps)


@pytest.fixture(scope="module")
def models(library):
    return template_fit.models(*library, CURVES)


@pytest.fixture(scope="module")
def labelled(ssps, models):
    return template_fit.label(alhambra_catalogue.catalogue(6000, ssps, seed=11), models, stars.locus(CURVES))


@pytest.fixture(scope="module")
def galaxies(labelled):
    """Table and truth of the galaxies."""
    galaxy = ~np.asarray(labelled.truth["is_star"] | labelled.truth["is_quasar"])
    return labelled.table[galaxy], labelled.truth[galaxy]


def mad(x):
    return 1.4826 * np.median(abs(x - np.median(x)))


# --- the fit itself


def test_planted_models_come_back(library):
    """Noiseless photometry of templates at redshifts between the grid points: redshift, type, mass and magnitude."""
    rng = np.random.default_rng(2)
    z = np.sort(rng.uniform(0.05, 1.9, 60))
    kind, log_mass = rng.integers(0, 11, 60), rng.uniform(8, 11, 60)
    planted = template_fit.models(*library, CURVES, z=z, between=0)
    mag = -2.5 * np.log10(planted.flux[np.arange(60), kind]) - 2.5 * log_mass[:, None]
    models = template_fit.models(*library, CURVES)
    found = template_fit.fit(mag, np.full(mag.shape, 0.01), models)
    off = (found["zb"] - z) / (1 + z)
    assert abs(off).max() < 0.005  # the grid's step
    assert np.std(off) < 0.0015  # a uniform error within the step would have 0.0014
    np.testing.assert_allclose(found["tb"], kind + 1, atol=0.5)
    np.testing.assert_allclose(found["log_mstar"], log_mass, atol=0.15)
    np.testing.assert_allclose(found["m_abs"], planted.m_abs[kind] - 2.5 * log_mass, atol=0.15)
    assert np.median(abs(found["log_mstar"] - log_mass)) < 0.02
    assert np.median(found["odds"]) > 0.99


def test_densities_are_those_that_redshifts_and_intervals_are_taken_from(models, galaxies):
    table = galaxies[0][:300]
    mag, error = (np.stack([np.asarray(table[p + b]) for b in alhambra_catalogue.NAMES], axis=1) for p in ("", "d"))
    found = template_fit.fit(mag, error, models, np.asarray(table["F814W"]), densities=True)
    peak = np.log1p(models.z)[found["p"].argmax(axis=1)]
    assert np.abs(peak - np.log1p(found["zb"])).max() <= 0.0025001  # half a step
    densities = Densities.of_grid(models.z, found["p"] / (1 + models.z))
    inside = densities.pit(found["zb_max"]) - densities.pit(found["zb_min"])
    assert np.median(inside) == pytest.approx(0.95, abs=0.02)


def test_absolute_magnitudes_are_those_of_the_spectra(library, models):
    """Far below z = 0.1 the distance modulus is all there is between them: B lies between F427W and F458W."""
    z = np.array([0.01, 0.0101])
    near = template_fit.models(*library, CURVES, z=z, between=0)
    from astropy.cosmology import Planck18

    m = -2.5 * np.log10(near.flux[0]) - Planck18.distmod(0.01).value
    between = 0.5 * (m[:, 2] + m[:, 3])
    np.testing.assert_allclose(near.m_abs, between, atol=0.12)


def test_a_batch_agrees_with_one_object_at_a_time(labelled, models):
    """chi^2, prior and sum over types written out with numpy, float64."""
    table = labelled.table[:12]
    mag, error = (np.stack([table[prefix + b] for b in alhambra_catalogue.NAMES], axis=1) for prefix in ("", "d"))
    prior = np.asarray(table["F814W"])
    found = template_fit.fit(mag, error, models, prior)
    for i in range(12):
        flux, weight = (side[0] for side in template_fit.weighted(mag[i : i + 1], error[i : i + 1]))
        amplitude = (models.flux @ (flux * weight)) / (models.flux**2 @ weight)
        chi2 = ((flux - amplitude[..., None] * models.flux) ** 2 * weight).sum(-1)
        log_p = -chi2 / 2 + template_fit.log_prior(prior[i : i + 1], models)[0][:, models.classes]
        p = np.exp(log_p - log_p.max()).sum(axis=1)
        at = p.argmax()
        assert abs(np.log((1 + found["zb"][i]) / (1 + models.z[at]))) < 0.0026
        best = log_p[at].argmax()
        assert found["tb"][i] == models.types[best]
        assert found["chi2"][i] == pytest.approx(chi2[at, best], abs=0.02 + 1e-3 * chi2[at, best])
        assert found["log_mstar"][i] == pytest.approx(np.log10(amplitude[at, best]), abs=1e-3)


def test_prior_is_a_probability_and_moves_with_magnitude(models):
    prior = np.exp(template_fit.log_prior(np.array([18.0, 20.0, 23.0, 25.0]), models))
    share = prior * np.bincount(models.classes)
    np.testing.assert_allclose(share.sum(axis=(1, 2)), 1, rtol=1e-6)
    mean = (share.sum(axis=2) * models.z).sum(axis=1)
    assert mean[0] == mean[1] < mean[2] < mean[3]  # held below 20, where it was measured
    np.testing.assert_allclose(share.sum(axis=1)[1], [0.35, 0.50, 0.15], rtol=1e-6)


def test_an_unobserved_band_is_no_band(library, labelled):
    table = labelled.table[:50]
    mag, error = (np.stack([table[prefix + b] for b in alhambra_catalogue.NAMES], axis=1) for prefix in ("", "d"))
    without = {name: curve for name, curve in alhambra_catalogue.curves().items() if name not in ("J", "H", "KS")}
    keep = [name in without for name in alhambra_catalogue.NAMES]
    mag[:, ~np.array(keep)], error[:, ~np.array(keep)] = -99, 0
    marked = template_fit.fit(mag, error, template_fit.models(*library, CURVES))
    dropped = template_fit.fit(mag[:, keep], error[:, keep], template_fit.models(*library, without))
    for name in ("zb", "odds", "log_mstar"):
        np.testing.assert_allclose(marked[name], dropped[name], rtol=2e-3, atol=2e-3)


def test_a_non_detection_says_that_there_is_little_light(models):
    """Red beyond 5000 A: without the blue, a nearby old galaxy or a break; the limit in the blue decides."""
    z = int(np.argmin(abs(models.z - 0.4)))
    mag = -2.5 * np.log10(models.flux[z, 0]) - 2.5 * 10.5
    error = np.full(24, 0.05)
    blue = np.arange(24) < 5
    blind, limited = np.where(blue, -99, mag), np.where(blue, 99, mag)
    deep = np.where(blue, 25.9, error)
    mags, errors = np.stack([blind, limited]), np.stack([np.where(blue, 0, error), deep])
    found = template_fit.fit(mags, errors, models)
    width = found["zb_max"] - found["zb_min"]
    assert width[1] <= width[0]
    np.testing.assert_allclose(found["zb"][1], models.z[z], atol=0.02)
    # Bright light where none was seen is refused: chi^2 soars.
    faint = template_fit.fit(limited[None], np.where(blue, 30.0, error)[None], models)
    assert faint["chi2"][0] > 10 + found["chi2"][1]


# --- the survey's labels


@pytest.mark.parametrize(("limit", "mean"), [(22.5, 0.56), (24.5, 0.86)])
def test_redshifts_are_the_surveys(galaxies, limit, mean):
    """Mean fitted redshifts of the real catalogue: Molino+ 2014, abstract."""
    table, _ = galaxies
    assert np.mean(table["zb_1"][table["F814W"] < limit]) == pytest.approx(mean, abs=0.06)


def test_the_catalogue_s_columns_say_how_odds_are_computed():
    meaning = {column.name: column.meaning for column in alhambra_columns()}["odds_1"]
    assert meaning == f"probability within zb_1 +- {template_fit.ODDS_WIDTH:g} (1 + zb_1)"


def test_redshifts_are_as_good_as_the_surveys(galaxies):
    """sigma / (1 + z) = 1 % for F814W < 22.5 (Molino+ 2014, abstract), few outliers, no bias, worse when faint."""
    table, truth = galaxies
    off = np.asarray((table["zb_1"] - truth["z"]) / (1 + truth["z"]))
    f814w = np.asarray(table["F814W"])
    bright, faint = f814w < 22.5, f814w > 23.5
    assert 0.008 < mad(off[bright]) < 0.015
    assert abs(np.median(off[bright])) < 0.003
    assert (abs(off[bright]) > 0.15).mean() < 0.03
    assert mad(off[faint]) > 3 * mad(off[bright])
    # Odds know which are good, whatever their magnitude.
    good = np.asarray(table["odds_1"]) > 0.5
    assert mad(off[good]) < 0.016 < mad(off[~good])
    inside = (truth["z"] >= table["zb_min_1"]) & (truth["z"] <= table["zb_max_1"])
    assert 0.85 < np.mean(inside) < 0.97  # 95 % if templates were perfect


def test_masses_magnitudes_and_types_are_near_the_truth(galaxies):
    table, truth = galaxies
    bright = np.asarray(table["F814W"]) < 22.5
    for found, true, bias, scatter in (
        ("Stell_Mass_1", "log_mstar", 0.1, 0.2), ("M_ABS_1", "m_abs", 0.1, 0.25), ("tb_1", "sed_type", 0.3, 0.5),
    ):  # fmt: skip
        off = np.asarray(table[found] - truth[true])[bright]
        assert abs(np.median(off)) < bias, found
        assert 0.01 < mad(off) < scatter, found
    assert (np.asarray(table["zb_min_1"]) <= np.asarray(table["zb_1"])).all()
    assert (np.asarray(table["zb_max_1"]) >= np.asarray(table["zb_1"])).all()


def test_no_edge_can_be_learned(labelled):
    """Grid and mock share their range, which ends where hardly a galaxy is; no labels pile up there either."""
    np.testing.assert_allclose(np.log1p(template_fit.Z_GRID[[0, -1]]), np.log1p(DEEP_Z), atol=0.005)
    z = np.asarray(labelled.truth["z"])[~np.asarray(labelled.truth["is_star"])]
    assert z.min() >= DEEP_Z[0]
    assert z.max() <= DEEP_Z[1]
    assert (z > DEEP_Z[1] - 0.05).mean() < 1e-3
    assert (np.asarray(labelled.table["zb_1"]) > DEEP_Z[1] - 0.05).mean() < 1e-3


def test_distant_galaxies_are_found_by_their_break(library):
    """Without noise no galaxy beyond z = 2.5 is taken for a near one: the forest dims templates as it dims the sky."""
    z = np.array([2.6, 3.2, 3.8, 4.5, 5.3])
    planted = template_fit.models(*library, CURVES, z=z, between=0)
    seen = -2.5 * np.log10(planted.flux[:, 8]) - 2.5 * 10
    assert seen[1, 0] - seen[1, 6] > 2.5  # at z = 3.2 the band at 3650 A lies below the Lyman limit
    found = template_fit.fit(seen, np.full(seen.shape, 0.03), template_fit.models(*library, CURVES))
    np.testing.assert_allclose(found["zb"], z, rtol=0.01)


def test_quasars_mislead_the_fit(ssps, models):
    """Templates of galaxies do not know them: of bright ones most are off, of galaxies one in a hundred."""
    many = alhambra_catalogue.catalogue(20_000, ssps, seed=3)
    bright = np.asarray(many.truth["is_quasar"]) & (np.asarray(many.table["F814W"]) < 22.5)
    some = template_fit.label(many.select(bright), models, stars.locus(CURVES))
    off = np.asarray((some.table["zb_1"] - some.truth["z"]) / (1 + some.truth["z"]))
    assert (abs(off) > 0.15).mean() > 0.4


def test_jpas_finds_finer_redshifts(ssps, library):
    """J-PAS: 0.3 % or so for bright galaxies (Hernan-Caballero+ 2021, 2021A&A...654A.101H), by its narrow bands."""
    many = jpas_catalogue.catalogue(3000, ssps, seed=2)
    galaxy = ~np.asarray(many.truth["is_star"] | many.truth["is_quasar"])
    some, curves = many.select((np.asarray(many.table["iSDSS"]) < 20.5) & galaxy), jpas_catalogue.JPAS.curves
    found = template_fit.label(some, template_fit.models(*library, curves), stars.locus(curves))
    off = np.asarray((found.table["zb_1"] - found.truth["z"]) / (1 + found.truth["z"]))
    assert len(off) > 100
    assert mad(off) < 0.006
    assert (abs(off) > 0.05).mean() < 0.10


def test_stellar_flag(labelled):
    star, f814w = np.asarray(labelled.truth["is_star"]), np.asarray(labelled.table["F814W"])
    flag = np.asarray(labelled.table["Stellar_Flag"])
    assert (flag[f814w >= 22.5] == 0.5).all()
    bright = (f814w < 22.5) & ~np.asarray(labelled.truth["is_quasar"])
    assert ((flag[bright] > 0.5) == star[bright]).mean() > 0.99
    assert (flag > 0.5).mean() == pytest.approx(0.02, abs=0.006)  # Cacho 2020: 98 to 2


def test_labels_are_added_to_a_copy(labelled, models):
    assert tuple(labelled.table.colnames) == alhambra_catalogue.COLUMNS + template_fit.LABELS
    plain = labelled.select(slice(0, 40))
    plain.table.remove_columns(list(template_fit.LABELS))
    again = template_fit.label(plain, models, stars.locus(CURVES))
    assert tuple(plain.table.colnames) == alhambra_catalogue.COLUMNS
    for name in template_fit.LABELS:
        np.testing.assert_allclose(again.table[name], labelled.table[name][:40], rtol=1e-3, atol=1e-3, err_msg=name)
    again.check()


# --- other tables


def test_real_galaxies_of_sdss(library):
    """Five broad bands of real galaxies with spectroscopic redshifts; nothing was fitted to them."""
    if not GST.is_file():
        pytest.skip("the galaxies of kcorrect's test file are not here")
    rows = Table.read(GST)
    flux, ivar = (np.asarray(rows[name], float) for name in ("MODELFLUX", "MODELFLUX_IVAR"))
    use = np.flatnonzero((flux > 0).all(axis=1) & (ivar > 0).all(axis=1))[:3000]
    to_ab = np.array([-0.036, 0.012, 0.010, 0.028, 0.040])
    mag = 22.5 - 2.5 * np.log10(flux[use]) - np.asarray(rows["EXTINCTION"], float)[use, :5] + to_ab
    error = 2.5 * np.log10(1 + 1 / (flux[use] * np.sqrt(ivar[use])))
    z = np.asarray(rows["Z"], float)[use]
    grid = np.expm1(np.arange(np.log1p(0.005), np.log1p(0.7), 0.003))
    found = template_fit.fit(mag, error, template_fit.models(*library, sdss_curves(), z=grid))
    off = (found["zb"] - z) / (1 + z)
    assert mad(off) < 0.035
    assert abs(np.median(off)) < 0.01
    assert (abs(off) > 0.15).mean() < 0.02


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_missing_the_answer_is_finite(models, data):
    values = st.one_of(st.sampled_from([99.0, -99.0]), st.floats(10, 32))
    mag = np.array(data.draw(st.lists(values, min_size=24, max_size=24)))[None]
    error = np.where(mag > 90, 25.0, np.where(mag < -90, 0.0, data.draw(st.floats(0, 5))))
    if not ((mag > -90) & (mag < 90)).any():
        with pytest.raises(DataError, match="row 0"):
            template_fit.fit(mag, error, models)
        return
    found = template_fit.fit(mag, error, models, np.array([data.draw(st.floats(-99, 99))]))
    for name, value in found.items():
        assert np.isfinite(value).all(), name
    assert models.z[0] <= found["zb_min"] <= found["zb"] <= found["zb_max"] <= models.z[-1]
    assert 0 <= found["odds"] <= 1 + 1e-9


def test_bands_beyond_the_templates_are_refused(library):
    with pytest.raises(DataError, match="the bands need 3"):
        template_fit.models(*library, {"fuv": survey.trapezoid(2000, 100, 1)})
