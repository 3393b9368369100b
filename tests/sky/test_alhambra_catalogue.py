"""The mock ALHAMBRA survey: are its bands, depth, counts, redshifts, stars and columns those of the real one?"""

import re
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import rankdata

from paper_utils.alhambra import inputs
from paper_utils.base import intergalactic, paths
from paper_utils.base.constants import L_SUN
from paper_utils.base.distances import luminosity_distance
from paper_utils.base.errors import DataError
from paper_utils.base.filters import sdss_curves
from paper_utils.base.photometry import ab_magnitudes
from paper_utils.base.wavelengths import log_grid
from paper_utils.sky import alhambra_catalogue, deep, foreground, jpas_catalogue, light, sdss_spectra, sequence, stars
from paper_utils.sky import survey as surveys

SHARED = paths.ROOT.parent / "shared"
C_AA_S = 2.99792458e18


@pytest.fixture(scope="module")
def survey(ssps):
    return alhambra_catalogue.catalogue(12_000, ssps, seed=5)


@pytest.fixture(scope="module")
def true_magnitudes(survey, ssps):
    """Magnitudes of the galaxies without noise, behind the Milky Way's dust, and which rows they are."""
    rows = np.flatnonzero(galaxies_of(survey.truth))
    seen = light.magnitudes(survey.truth[rows], alhambra_catalogue.light_table(ssps))
    return rows, seen + np.outer(survey.truth["ebv"][rows], foreground.extinction(alhambra_catalogue.curves()))


def galaxies_of(truth):
    return ~np.asarray(truth["is_star"] | truth["is_quasar"])


# --- bands


@pytest.mark.parametrize("name", [name for name in alhambra_catalogue.NAMES if name != "F814W"])
def test_bands_are_those_of_the_survey(name):
    """Centre and width at half maximum, and magnitudes of stars and galaxies, through the survey's own curves."""
    folder = SHARED / "real_data" / "alhambra_filters"
    if not folder.is_dir():
        pytest.skip("the survey's response curves are not here")
    file = folder / f"alhambra_{name.lower() if name.startswith('F') else name}.dat"
    rows = [line.strip("| \n").split("|") for line in file.open() if line.startswith("|") and "lambda" not in line]
    wave, response = np.array(rows, float).T
    response = response.clip(0)
    half = wave[response > np.sort(response)[-max(3, len(response) // 10) :].mean() / 2]
    centre, width, _ = alhambra_catalogue.BANDS[name]
    assert half[[0, -1]].mean() == pytest.approx(centre, abs=0.003 * centre)
    assert np.ptp(half) == pytest.approx(width, rel=0.05)
    both = {"ours": alhambra_catalogue.curves()[name], "theirs": (wave, response)}
    ours, theirs = ab_magnitudes(stars.WAVE, stars.spectra(), both).T
    np.testing.assert_allclose(ours, theirs, atol=0.05)  # cool stars, whose light rises steeply, are the worst
    assert np.std(ours - theirs) < 0.02


def test_bands_of_jpas():
    curves = jpas_catalogue.curves()
    assert len(curves) == 56
    centres = {name: (wave[0] + wave[-1]) / 2 for name, (wave, _) in curves.items()}
    assert list(centres.values()) == sorted(centres.values())
    narrow = list(curves)[2:-1]
    np.testing.assert_allclose(np.diff([centres[name] for name in narrow]), 100)
    np.testing.assert_allclose([centres[name] for name in narrow], [10 * int(name[1:]) for name in narrow])
    for name in narrow:
        wave, response = curves[name]
        fine = np.linspace(wave[0], wave[-1], 10_001)
        assert np.ptp(fine[np.interp(fine, wave, response) > 0.5]) == pytest.approx(145, abs=0.1)


# --- magnitudes without spectra


def test_table_of_light_gives_the_magnitudes_of_spectra(ssps):
    rng = np.random.default_rng(3)
    table = alhambra_catalogue.light_table(ssps)
    truth, mags, _ = deep.draw(24, rng, table, "F814W", 25.0, lambda m: np.ones_like(m))
    wave = log_grid(500, 24500, kms=80.0)
    spectra = sdss_spectra.rest_spectra(truth, wave, light.extended(ssps), lsf=False).double().numpy()
    for z, spectrum, seen in zip(truth["z"], spectra, mags, strict=True):
        distance = luminosity_distance(np.array([z]))[0]
        flux = spectrum * L_SUN / (4 * np.pi * distance**2 * (1 + z))
        flux *= intergalactic.transmission(wave * (1 + z), z)[0]
        response = np.stack([np.interp(wave * (1 + z), *curve, left=0, right=0) for curve in table.curves.values()])
        f_nu = (response * flux * (wave * (1 + z)) ** 2 / C_AA_S).sum(axis=1) / response.sum(axis=1)
        # A line on the flank of a band is where pixels and the exact integral differ; nobody sees what is fainter.
        off = (seen + 2.5 * np.log10(f_nu) + 48.6)[seen < 28]
        np.testing.assert_allclose(off, 0, atol=0.015)
        assert np.std(off) < 0.005


def test_ultraviolet_continues_the_templates(ssps):
    full = light.extended(ssps)
    assert full.wave_rest[0] < 500
    # Below the Lyman limit `ESCAPE` of the light is left; hot stars have hardly a step of their own there.
    inside, outside = (full.spectra[0, :, abs(full.wave_rest - at) < 10].mean() for at in (880, 950))
    assert 0.5 * light.ESCAPE < inside / outside < 1.5 * light.ESCAPE
    assert (np.diff(full.wave_rest) > 0).all()
    assert (full.spectra[:24] > 0)[..., full.wave_rest < 1700].all()
    for low, high in ((1600, 1700), (1700, 1800)):
        part = full.spectra[:12, :, (full.wave_rest > low) & (full.wave_rest < high)].mean(-1)
        reference = ssps.spectra[:12, :, (ssps.wave_rest > 1700) & (ssps.wave_rest < 1900)].mean(-1)
        assert abs(np.log10(part / reference)).max() < 0.15
    assert light.extended(full) is full


def test_a_band_beyond_the_templates_is_refused(ssps):
    with pytest.raises(DataError, match="the bands need 383-"):
        light.light_table(ssps, {"fuv": surveys.trapezoid(1200, 100, 0.1)}, z_max=2.0)
    truth, *_ = deep.draw(
        3, np.random.default_rng(0), alhambra_catalogue.light_table(ssps), "F814W", 24.0, np.ones_like
    )
    truth["z"][1] = 6.5
    with pytest.raises(DataError, match=r"row 1.*6\.5"):
        light.magnitudes(truth, alhambra_catalogue.light_table(ssps))


# --- the catalogue


def test_columns_are_those_of_the_public_table(survey):
    assert len(alhambra_catalogue.COLUMNS) == 75  # the networks' input layer, Cacho 2020, sec. 3.3.1
    assert tuple(survey.table.colnames) == alhambra_catalogue.COLUMNS
    assert set(survey.bands) <= set(alhambra_catalogue.COLUMNS)
    thesis = SHARED / "papers" / "5_cacho2020_alhambra_dnn.txt"
    if thesis.is_file():
        listing = re.search(r"^filters = \[(.*?)\]", thesis.read_text(), flags=re.M | re.S).group(1)
        assert re.findall(r"'(\w+)'", listing) == list(alhambra_catalogue.COLUMNS)


def test_same_seed_same_table(ssps):
    assert alhambra_catalogue.catalogue(12, ssps).truth["is_star"].sum() == 1  # 4 % of 12 are none
    first, again, other = (alhambra_catalogue.catalogue(300, ssps, seed=seed) for seed in (7, 7, 8))
    assert first.content_hash() == again.content_hash()
    assert first.content_hash() != other.content_hash()
    assert not set(np.asarray(first.truth["z"])) & set(np.asarray(other.truth["z"])) - {0.0}
    with pytest.raises(DataError, match="9 objects"):
        alhambra_catalogue.catalogue(9, ssps)


def test_the_container_takes_it(survey):
    assert survey.check() is survey
    assert len(survey) == 12_000
    for name in ("z", "is_star", "log_mstar", "sed_type", "quiescent", "a_v"):
        assert name in survey.truth.colnames
    star = np.asarray(survey.truth["is_star"])
    assert not np.asarray(survey.truth["z"])[star].any()
    assert (np.asarray(survey.truth["z"])[~star] > 0).all()
    for name in survey.truth.colnames:
        column = np.asarray(survey.truth[name])
        assert column.dtype.kind != "f" or np.isfinite(column).all(), name


def test_numbers_and_places_of_objects(survey):
    table = survey.table
    text = [str(value) for value in table["objID"]]
    assert all(len(name) == 12 for name in text)
    for i in range(0, 12_000, 997):
        row = table[i]
        assert text[i][:3] == "814"
        assert (int(text[i][3]), int(text[i][4:6]), int(text[i][6])) == (row["Field"], row["Pointing"], row["CCD"])
        centre = alhambra_catalogue.FIELDS[int(row["Field"])]
        assert abs(row["RAdeg"] - centre[0]) * np.cos(np.radians(centre[1])) < 0.6
        assert abs(row["DECdeg"] - centre[1]) < 0.6


def test_stars_and_galaxies_are_in_the_surveys_proportion(survey):
    star = np.asarray(survey.truth["is_star"])
    bright = np.asarray(survey.truth["f814w"]) < 22.5
    # Where the survey tells them apart: 429 of 22 318 (Cacho 2020, table 4.1); here of 12 000, with Poisson's error.
    assert (star & bright).mean() == pytest.approx(429 / 22318, abs=4 * (0.0192 / 12_000) ** 0.5)


def test_counts_and_area_are_the_surveys(survey):
    """446 343 objects on 2.8 square degrees (Molino+ 2014); counts rise by 0.3-0.5 dex per magnitude."""
    area = survey.table.meta["area_deg2"] * alhambra_catalogue.N_OBJECTS / len(survey)
    assert area == pytest.approx(2.79, rel=0.15)
    galaxy = galaxies_of(survey.truth)
    number, _ = np.histogram(np.asarray(survey.truth["f814w"])[galaxy], np.arange(19.0, 24.6, 1.0))
    assert (np.diff(number) > 0).all()
    slope = np.polyfit(np.arange(5), np.log10(number), 1)[0]
    assert 0.28 < slope < 0.5


def test_few_galaxies_are_brighter_than_proposed(survey):
    """Those would be missing where the survey ends: the bound must lie outside what is drawn far from it."""
    truth = survey.truth[galaxies_of(survey.truth)]
    excess = np.asarray(truth["f814w"]) - deep.brightest(np.asarray(truth["log_mstar"]), np.asarray(truth["z"]))
    assert (excess < 0).mean() < 0.004


def test_mass_function_is_the_published_one():
    """At the middle of a bin of redshift, written out; half-way between bins, the geometric mean."""
    mass = np.linspace(8, 11.5, 8)
    x = 10 ** (mass - 10.56)  # 0.8 < z < 1.1
    phi = np.log(10) * np.exp(-x) * (1.428e-3 * x**-0.31 + 2.19e-3 * x**1.51)
    np.testing.assert_allclose(deep.mass_function(mass, np.array([0.95]))[0], phi)
    low, middle, high = deep.mass_function(mass, np.array([0.65, 0.80, 0.95]))
    np.testing.assert_allclose(middle, np.sqrt(low * high))
    assert (np.diff(deep.quiescent_fraction(10.8, np.array([0.1, 0.5, 1.0, 1.8]))) < 0).all()


def test_share_of_distant_galaxies(survey):
    """Beyond z = 2 and brighter than 24.5: 3 to 9 %, by hand, after counts of BX and Lyman break galaxies."""
    truth = survey.truth[galaxies_of(survey.truth)]
    z, f814w = np.asarray(truth["z"]), np.asarray(truth["f814w"])
    assert np.mean(z[f814w < 22.5]) == pytest.approx(0.56, abs=0.06)
    assert 0.03 < np.mean(z[f814w < 24.5] > 2) < 0.09
    assert np.mean(z[f814w < 22.5] > 2) < 0.003
    # Median at a magnitude: 0.18 I - 3.3 (Leauthaud+ 2007, 2007ApJS..172..219L), good to 0.1.
    for at in (22.0, 23.0, 24.0):
        assert np.median(z[abs(f814w - at) < 0.25]) == pytest.approx(0.18 * at - 3.3, abs=0.1)


def test_noise_at_the_limit_is_a_fifth():
    """A point source at the 5 sigma limit has an error of 2.5 log(1 + 1/5) = 0.198 mag."""
    limits = np.tile(alhambra_catalogue.LIMITS, (4000, 1))
    sigma = surveys.noise(limits, np.full(4000, 0.5), limits)
    # Its own photons add a little: as many as the sky's at 21.
    np.testing.assert_allclose(sigma / 10 ** (-0.4 * limits), 0.2, rtol=0.25)
    deep_band = list(alhambra_catalogue.NAMES).index("F489W")
    assert sigma[0, deep_band] / 10 ** (-0.4 * limits[0, deep_band]) == pytest.approx(0.2, rel=0.03)
    rng = np.random.default_rng(0)
    flux = 10 ** (-0.4 * limits) + sigma * rng.standard_normal(limits.shape)
    mag, error = surveys.measured(flux, sigma)
    assert np.median(error[:, deep_band]) == pytest.approx(0.198, abs=0.01)
    seen = mag[:, deep_band] < 90
    assert np.std(mag[seen, deep_band]) == pytest.approx(0.22, abs=0.03)  # of a logarithm: a little more


def test_errors_tell_the_scatter(survey, true_magnitudes):
    rows, mags = true_magnitudes
    for b, name in enumerate(alhambra_catalogue.NAMES):
        seen, error = (np.asarray(survey.table[prefix + name])[rows] for prefix in ("", "d"))
        use = (seen > 0) & (seen < 90) & (error > 0.06) & (error < 0.15)  # beyond the zero points' 0.02
        relative = 10 ** (0.4 * error[use]) - 1
        pull = (1 - 10 ** (-0.4 * (mags[use, b] - seen[use]))) / relative
        assert np.std(pull) == pytest.approx(1.0, abs=0.12), name


def test_marks_of_missing_values(survey):
    for name, limit in zip(alhambra_catalogue.NAMES, alhambra_catalogue.LIMITS, strict=True):
        mag, error = np.asarray(survey.table[name]), np.asarray(survey.table["d" + name])
        unseen, unobserved = mag == 99, mag == -99
        assert ((mag > 12) & (mag < 28) | unseen | unobserved).all()
        assert (error[unobserved] == 0).all()
        if name == "F814W":
            assert not (unseen | unobserved).any()
            continue
        assert 0.0005 < unobserved.mean() < 0.04
        assert 0.03 < unseen.mean() < 0.5
        # The magnitude of one sigma: 2.5 log 5 beyond the limit, but for large objects.
        assert np.median(error[unseen]) == pytest.approx(limit + 2.5 * np.log10(5), abs=0.5)
    missing = sum((np.asarray(survey.table[name]) == -99).astype(int) for name in alhambra_catalogue.NAMES)
    np.testing.assert_array_equal(survey.table["nfobs"], 24 - missing)


def test_what_the_thesis_clip_leaves_of_the_inputs(survey):
    """The shares of `inputs.clipped`: [% that change, marks apart] of these columns, next to nothing of all others."""
    raw = inputs.columns(survey.table, inputs.INPUTS)
    changed = (inputs.clipped(raw) != raw) & (np.abs(raw) != 99)
    lost = dict(zip(inputs.INPUTS, 100 * changed.mean(axis=0), strict=True))
    expected = {"id": 99.8, "objID": 100, "RAdeg": 82, "DECdeg": 55, "x": 99.3, "y": 99.3, "area": 99.9}
    expected |= {"theta": 50 + 35, "s2n": 21}
    assert {name: share for name, share in lost.items() if share > 1} == pytest.approx(expected, abs=2.5)
    assert (inputs.clipped(survey.table["objID"]) == 27).all()


def test_stellarity_fails_where_it_is_faint(survey):
    """Area under the curve of stars against galaxies by `stell` alone."""
    star, f814w = np.asarray(survey.truth["is_star"]), np.asarray(survey.table["F814W"])

    def area(low, high):
        inside = (f814w > low) & (f814w < high) & ~np.asarray(survey.truth["is_quasar"])
        rank, s = rankdata(survey.table["stell"][inside]), star[inside]
        return (rank[s].mean() - (s.sum() + 1) / 2) / (~s).sum()

    bright, faint = area(16, 21), area(24, 25)
    assert bright > 0.97
    assert 0.6 < faint < 0.9


def test_large_galaxies_look_large(survey):
    truth, table = survey.truth, survey.table
    near = (np.asarray(truth["f814w"]) < 21) & galaxies_of(truth)
    star = np.asarray(truth["is_star"]) & (np.asarray(truth["f814w"]) < 21)
    for name in ("fwhm", "a", "rf", "area"):
        assert np.median(table[name][near]) > 1.2 * np.median(table[name][star]), name
    # An aperture of 3 arcsec loses more of them.
    lost = np.asarray(table["F814W_3arcs"] - table["F814W"])
    assert np.median(lost[near]) > np.median(lost[star]) > 0
    np.testing.assert_allclose(table["b"] / table["a"], 1 - table["ell"])


# --- types and stars


def test_types_run_along_the_sequence(survey, ssps):
    own, _ = sequence.rest_properties(sequence._truth(), ssps)
    np.testing.assert_allclose(own, np.arange(1, 12), atol=0.06)
    galaxy = galaxies_of(survey.truth)
    types, quiet = np.asarray(survey.truth["sed_type"])[galaxy], np.asarray(survey.truth["quiescent"])[galaxy]
    assert np.median(types[quiet]) < 3.5
    assert np.median(types[~quiet]) > 5
    assert np.ptp(types) > 8


def test_stars_have_the_colours_of_the_locus():
    """Covey+ 2007, by an independent code on the same curves."""
    from sedpy.observate import load_filters

    names = [f"sdss_{band}0" for band in "ugriz"] + [f"twomass_{band}" for band in ("J", "H", "Ks")]
    theirs = np.array([[f.ab_mag(stars.WAVE, row) for f in load_filters(names)] for row in stars.spectra()])
    theirs -= stars.TO_AB
    np.testing.assert_allclose(theirs[:, :-1] - theirs[:, 1:], stars.LOCUS[:, 1:], atol=0.02)
    np.testing.assert_allclose(theirs[:, 1] - theirs[:, 3], stars.LOCUS[:, 0], atol=0.04)  # as rounded there


def test_a_star_like_the_sun_has_the_suns_magnitudes():
    """The Sun's spectrum (Kurucz) was not used: beyond 4500 A within 0.05 mag of the locus at its colour."""
    from sedpy.observate import solar

    curves = alhambra_catalogue.curves() | sdss_curves()
    sun = ab_magnitudes(stars.WAVE, np.interp(stars.WAVE, *solar.T)[None], curves)[0]
    g_i = sun[-4] - stars.TO_AB[1] - (sun[-2] - stars.TO_AB[3])
    off = sun[:20] - stars.magnitudes(np.array([g_i]), alhambra_catalogue.curves())[0, :20]
    off -= off[3:].mean()
    assert abs(off[3:]).max() < 0.06
    assert abs(off[:3]).max() < 0.35  # richer in metals than the stars of the locus
    rng = np.random.default_rng(0)
    many = stars.magnitudes(np.full(4000, g_i), alhambra_catalogue.curves(), rng)
    assert np.std(many[:, 0] - many[:, 6]) == pytest.approx(0.1, abs=0.02)
    assert np.std(many[:, 8] - many[:, 6]) == pytest.approx(0.015 * 2**0.5, abs=0.003)


def test_a_catalogue_may_be_cut(survey):
    part = survey.select(np.asarray(survey.truth["is_star"]))
    assert len(part) == round(alhambra_catalogue.STAR_SHARE * len(survey))
    table = part.table.copy()
    table.remove_column("F365W")
    with pytest.raises(DataError, match="F365W"):
        replace(part, table=table).check()
