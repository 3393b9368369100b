"""The population: are the published relations in the sample, do histories and rates agree, does it look like SDSS?"""

import time

import numpy as np
import pytest
from astropy.table import Table

from paper_utils.base import paths
from paper_utils.base.errors import DataError
from paper_utils.sky import apertures, components, galaxies, nebular, populations, properties, relations

GST = paths.ROOT.parent / "shared" / "real_data" / "gst_photometry" / "gst_tests_small.fits"


@pytest.fixture(scope="module")
def volume():
    """A volume-limited sample of today: what the relations were measured in, without selection."""
    table = galaxies.draw(60_000, seed=1, z_range=(0.02, 0.085), survey="volume")
    return {name: np.asarray(table[name]) for name in table.colnames}


@pytest.fixture(scope="module")
def sdss():
    table = galaxies.draw(20_000, seed=2)
    return {name: np.asarray(table[name]) for name in table.colnames}


def in_bin(sample, mass, half=0.15):
    return abs(sample["log_mstar"] - mass) < half


def test_seeds_reproduce_and_columns_are_whole():
    first, again, other = (galaxies.draw(500, seed) for seed in (5, 5, 6))
    assert first.colnames == [*galaxies.COLUMNS, "ebv"]
    for name in galaxies.COLUMNS:
        np.testing.assert_array_equal(first[name], again[name])
    assert not np.array_equal(first["z"], other["z"])
    assert len(set(first["id"])) == 500
    assert set(first["agn_class"]) <= {"none", "seyfert", "liner"}
    numbers = np.array([first[n] for n in galaxies.COLUMNS if first[n].dtype.kind == "f"])
    assert np.isfinite(numbers).all()


def test_one_galaxy_a_narrow_range_and_a_deep_one():
    assert len(galaxies.draw(1, 0)) == 1
    narrow = galaxies.draw(50, 0, z_range=(0.3, 0.4))
    assert len(narrow) == 50
    assert ((narrow["z"] >= 0.3) & (narrow["z"] <= 0.4)).all()
    assert len(galaxies.draw(50, 0, z_range=(0.5, 1.0), survey="volume")) == 50


@pytest.mark.parametrize("z_range", [(0.0, 0.5), (0.3, 0.2), (0.1, 2.0)])
def test_senseless_requests_are_named(z_range):
    with pytest.raises(DataError, match="z_range"):
        galaxies.draw(10, 0, z_range=z_range)
    with pytest.raises(DataError, match="0 galaxies"):
        galaxies.draw(0, 0)


def test_a_survey_too_shallow_for_its_redshifts_is_named():
    with pytest.raises(DataError, match="brighter than r"):
        galaxies.draw(10, 0, z_range=(0.9, 1.0))


def test_mass_function_is_drawn(volume):
    counts, edges = np.histogram(volume["log_mstar"], np.arange(8, 11.6, 0.25))
    # Five sub-bins are enough for the mean of a smooth function over a bin.
    fine = relations.mass_function(edges[:-1, None] + 0.25 * (np.arange(5) + 0.5) / 5).mean(axis=1)
    expected = fine / fine.sum() * counts.sum()
    assert np.all(abs(counts - expected) < 5 * np.sqrt(expected))
    # Baldry+ 2012, fig. 13: about 6e-3 per Mpc3 and dex at 10^10 M_sun.
    assert relations.mass_function(10.0) == pytest.approx(5.7e-3, rel=0.05)


def test_main_sequence_slope_level_and_scatter(volume):
    rows = ~volume["quiescent"] & (volume["log_mstar"] > 8.5) & (volume["log_mstar"] < 11)
    mass, rate = volume["log_mstar"][rows], volume["log_sfr"][rows]
    slope, level = np.polyfit(mass - 10, rate, 1)
    # Renzini & Peng 2015: log SFR = 0.76 log M* - 7.64, 0.3 dex.
    assert slope == pytest.approx(0.76, abs=0.02)
    assert level == pytest.approx(-0.04, abs=0.03)
    assert np.std(rate - level - slope * (mass - 10)) == pytest.approx(0.3, abs=0.02)


def test_quiescent_fraction_rises_with_mass(volume):
    # Peng+ 2010's mass quenching alone: 1 - exp(-(M/10^10.56)^0.8); the environment adds some at every mass. Those are
    # red galaxies, of which 4 % form stars.
    for mass in (9.0, 10.0, 10.5, 11.0):
        here = volume["quiescent"][in_bin(volume, mass)].mean()
        by_mass = 0.96 * (1 - np.exp(-(10 ** (0.8 * (mass - 10.56)))))
        assert by_mass < here + 0.02
        assert here - by_mass < 0.25
    massive = volume["quiescent"][volume["log_mstar"] > 11]
    assert massive.mean() > 0.85


def test_quiescent_galaxies_hardly_form_stars(volume):
    specific = volume["log_sfr"] - volume["log_mstar"]
    at = in_bin(volume, 10.5)
    assert np.median(specific[at & volume["quiescent"]]) < -11.5
    assert np.median(specific[at & ~volume["quiescent"]]) > -10.5
    # A third of the small ones are still in the green valley, 0.4 dex to either side of 10^-10.95 / yr, few of the
    # massive; 4 % of the others are as high.
    small = volume["log_mstar"] < 10.5
    quiet = specific[volume["quiescent"] & small]
    assert np.median(quiet[quiet > -11.6]) == pytest.approx(galaxies.VALLEY, abs=0.1)
    for at, share in ((small, 0.30), (volume["log_mstar"] > 11.1, 0.03)):
        quiet = specific[volume["quiescent"] & at]
        valley = (quiet > -11.6) & (quiet < -10.0)
        assert valley.mean() == pytest.approx(0.95 * share + 0.04 * (1 - share), abs=0.06)


def test_history_gives_the_star_formation_rate(sdss):
    """Integrate t exp(-t/tau) numerically: its end value over its integral must be SFR over mass formed."""
    age, tau = sdss["age_gyr"], sdss["tau_gyr"]
    t = np.linspace(0, 1, 4001) * age[:2000, None]
    history = t * np.exp(-t / tau[:2000, None])
    now = history[:, -1] / np.trapezoid(history, t, axis=1)  # 1 / Gyr
    formed = 10 ** sdss["log_mstar"][:2000] / (1 - galaxies.RETURNED) * (1 - sdss["burst_fraction"][:2000])
    np.testing.assert_allclose(np.log10(formed * now / 1e9), sdss["log_sfr"][:2000], atol=1e-3)


def test_nothing_is_older_than_the_universe(sdss):
    from astropy.cosmology import Planck18

    some = slice(0, 2000)
    assert (sdss["age_gyr"][some] < Planck18.age(sdss["z"][some]).to_value("Gyr")).all()
    assert (sdss["age_gyr"] < galaxies.age_of_universe(sdss["z"])).all()
    assert (sdss["burst_age_gyr"] < sdss["age_gyr"]).all()
    assert (sdss["age_gyr"] > 0.1).all()
    assert (sdss["tau_gyr"] > 0).all()


def test_gas_metallicity_with_mass_and_rate(volume):
    rows = ~volume["quiescent"]
    for mass in (8.75, 9.5, 10.25, 11.0):
        here = np.median(volume["oh"][rows & in_bin(volume, mass, 0.1)])
        # Tremonti+ 2004, eq. 3
        assert here == pytest.approx(-1.492 + 1.847 * mass - 0.08026 * mass**2, abs=0.03)
    # At given mass more star formation means less metal (Mannucci+ 2010), most in dwarfs; scatter ~0.1 dex.
    offset = volume["log_sfr"] - relations.main_sequence(volume["log_mstar"], volume["z"])
    slope = {
        m: np.polyfit(offset[rows & in_bin(volume, m)], volume["oh"][rows & in_bin(volume, m)], 1)[0] for m in (9, 11)
    }
    assert -0.4 < slope[9] < -0.1
    assert slope[9] < slope[11] - 0.05
    assert np.std(volume["oh"][rows & in_bin(volume, 10.3, 0.05)]) == pytest.approx(0.09, abs=0.03)


def test_stellar_metallicity_with_mass_and_type(volume):
    for mass, expected in ((9.31, -0.65), (10.11, -0.23), (10.72, 0.04)):  # Gallazzi+ 2005, table 2
        assert np.median(volume["metallicity"][in_bin(volume, mass, 0.1)]) == pytest.approx(expected, abs=0.1)
    at = in_bin(volume, 10)
    by_type = [np.median(volume["metallicity"][at & (volume["quiescent"] == q)]) for q in (True, False)]
    assert by_type[0] > by_type[1] + 0.1


def test_faber_jackson(volume):
    rows = volume["quiescent"] & (volume["log_mstar"] > 10.3)
    slope, level = np.polyfit(volume["log_mstar"][rows] - 11, np.log10(volume["sigma_star"][rows]), 1)
    assert slope == pytest.approx(0.293, abs=0.02)  # Zahid+ 2016
    assert 10**level == pytest.approx(195, rel=0.04)  # 118.3 km/s at 10^10.26, times 10^(0.293 0.74)
    # Virial: at given mass the small ones are hot.
    size = np.log10(volume["r_e"][rows]) - relations.half_light_radius(volume["log_mstar"][rows], True)[0]
    heat = np.log10(volume["sigma_star"][rows]) - relations.velocity_dispersion(volume["log_mstar"][rows])
    assert np.corrcoef(size, heat)[0, 1] < -0.25


def test_sizes_and_shapes_by_type(volume):
    early, late = (in_bin(volume, 11, 0.1) & (volume["quiescent"] == q) for q in (True, False))
    # 2.88e-6 (10^11)^0.56 kpc and its like, Shen+ 2003, times 1.5.
    assert np.median(volume["r_e"][early]) == pytest.approx(1.5 * 4.2, rel=0.1)
    assert np.median(volume["r_e"][late]) == pytest.approx(1.5 * 0.1 * 10**1.54 * 3.51**0.25, rel=0.1)
    assert np.median(volume["n_sersic"][early]) > 2.5 > np.median(volume["n_sersic"][late])
    assert np.median(volume["b_t"][early]) > np.median(volume["b_t"][late]) + 0.2
    assert np.corrcoef(volume["b_t"], np.log(volume["n_sersic"]))[0, 1] > 0.8


def test_dust_with_mass_and_inclination(volume):
    rows = ~volume["quiescent"]
    # Garn & Best 2010: A(H alpha) = 0.91 mag at 10^10 M_sun and 1.70 at 10^11. F99's k(H alpha) = 2.36 and Calzetti's
    # E(B-V) ratio make A_V of the stars 4.05 x 0.44 / 2.36 times that; whole galaxies have 0.87 of it.
    for mass, a_halpha in ((10.0, 0.91), (11.0, 1.70)):
        here = np.median(volume["a_v"][rows & in_bin(volume, mass, 0.1)])
        assert here == pytest.approx(galaxies.WHOLE * a_halpha * 4.05 * 0.44 / 2.36, abs=0.08)
    at = rows & in_bin(volume, 10.5)
    edge_on, face_on = at & (volume["inclination"] > 80), at & (volume["inclination"] < 35)
    assert np.mean(volume["a_v"][edge_on]) > np.mean(volume["a_v"][face_on]) + 0.2
    assert np.median(volume["a_v"][volume["quiescent"]]) < 0.2
    assert np.mean(np.cos(np.radians(volume["inclination"]))) == pytest.approx(0.5, abs=0.01)


def test_active_nuclei_with_mass_valley_and_dispersion(volume):
    specific = volume["log_sfr"] - volume["log_mstar"]
    active = volume["agn_class"] != "none"
    # Kauffmann+ 2003: rare below 10^10 M_sun. Schawinski+ 2010: at given mass commonest in the green valley.
    assert active[volume["log_mstar"] < 9.7].mean() < 0.05
    at = in_bin(volume, 10.8, 0.3)
    edges = ((-10.4, -8), (-11.2, -10.7), (-14, -12))
    table = Table(volume)
    part = apertures.fibre(table)
    lines = [nebular.luminosities(table, seen=seen).sum(axis=1) for seen in (part[2:], (0, 0, part.point))]
    seen = lines[1] > 0.2 * lines[0]  # what star formation in the fibre does not outshine
    by_rate = [seen[at & (specific > low) & (specific <= high)].mean() for low, high in edges]
    assert by_rate[1] > by_rate[0]
    assert by_rate[1] > 3 * by_rate[2] > 0
    # Drawn as stated: in bins of the stated probability.
    hotter = np.log10(volume["sigma_star"]) - relations.velocity_dispersion(volume["log_mstar"])
    share = relations.active_fraction(volume["log_mstar"], specific, hotter, volume["b_t"])
    for low in (0.0, 0.1, 0.3, 0.6):
        here = (share >= low) & (share < low + 0.3)
        assert active[here].mean() == pytest.approx(share[here].mean(), abs=0.03)
    forming = at & ~volume["quiescent"]
    for other in (hotter, volume["b_t"]):
        more = other > np.median(other[forming])
        odds = [share / (1 - share) for share in (active[forming & rows].mean() for rows in (more, ~more))]
        assert odds[0] > 1.25 * odds[1]
    seyfert, liner = (volume["agn_class"] == name for name in ("seyfert", "liner"))
    assert np.median(specific[seyfert]) > -11.3 > np.median(specific[liner])
    assert (volume["agn_strength"][~active] == 0).all()
    assert ((volume["agn_strength"][active] > 0) & (volume["agn_strength"][active] < 1)).all()


def test_old_stars_light_more_gas_where_they_are_younger_and_in_discs(volume):
    level = (
        properties.OLD_GAS
        - 1.5 * np.log10(np.maximum(volume["age_gyr"], 5) / 7)
        - properties.OLD_BT * np.maximum(volume["b_t"] - properties.OLD_FROM, 0)
    )
    assert np.mean(volume["old_gas"] - level) == pytest.approx(0, abs=0.01)
    assert np.std(volume["old_gas"] - level) == pytest.approx(properties.OLD_GAS_SCATTER, abs=0.01)


def test_survey_is_as_bright_and_as_far_as_sdss(sdss):
    assert (galaxies.r_magnitude(sdss) < galaxies.R_LIMIT).all()
    # Galaxy counts grow as 10^(0.6 m) nearby and more slowly at redshift 0.1: most lie in the last magnitude.
    faint = (galaxies.r_magnitude(sdss) > galaxies.R_LIMIT - 1).mean()
    assert 0.55 < faint < 0.8
    if not GST.exists():
        pytest.skip(f"{GST} is not here: nothing to compare the redshifts with")

    real = Table.read(GST)
    flux = np.asarray(real["PETROFLUX"][:, 2]).clip(min=1e-3)
    z = np.asarray(real["Z"])[22.5 - 2.5 * np.log10(flux) - real["EXTINCTION"][:, 2] < galaxies.R_LIMIT]
    ours, theirs = (np.percentile(values, [16, 50, 84]) for values in (sdss["z"], z))
    np.testing.assert_allclose(ours, theirs, rtol=0.2)


def test_r_magnitude_of_a_known_galaxy():
    """10^11 M_sun, 10 Gyr old, at z = 0.1: M/L_r = 2.8 (Chabrier), 38.4 mag away, dimmed by the redshift by 0.1 mag."""
    truth = {
        "z": [0.1], "log_mstar": [11.0], "age_gyr": [10.0], "tau_gyr": [0.5], "burst_fraction": [0.0],
        "burst_age_gyr": [1.0], "a_v": [0.0],
    }  # fmt: skip
    truth = {name: np.array(values) for name, values in truth.items()}
    bright = galaxies.r_magnitude(truth)[0]
    assert bright == pytest.approx(4.65 - 2.5 * (11 - np.log10(2.8)) + 38.4 + 0.1, abs=0.3)
    # Dust dims by Calzetti's law at 5600 A in the rest frame; a young burst brightens.
    assert galaxies.r_magnitude(truth | {"a_v": np.array([1.0])})[0] - bright == pytest.approx(0.98, abs=0.03)
    burst = truth | {"burst_fraction": np.array([0.1]), "burst_age_gyr": np.array([0.1])}
    assert galaxies.r_magnitude(burst)[0] < bright - 0.5


def test_a_hundred_thousand_in_seconds():
    galaxies.draw(10, 0)  # tables are made once
    start = time.perf_counter()
    galaxies.draw(100_000, 0)
    assert time.perf_counter() - start < 15  # 1.5-2 s measured; a loop over galaxies would take minutes


def test_light_between_nodes_is_that_of_scipys_grid_and_held_beyond():
    from scipy.interpolate import RegularGridInterpolator

    rng = np.random.default_rng(0)
    nodes = (np.log([1.0, 2.0, 7.0]), np.linspace(0, 1, 4) ** 2)  # uneven
    values = rng.normal(size=(3, 4))
    at = rng.uniform(-0.5, 2.5, 200), rng.uniform(-0.5, 1.5, 200)
    inside = [np.clip(x, *axis[[0, -1]]) for x, axis in zip(at, nodes, strict=True)]
    expected = RegularGridInterpolator(nodes, values)(np.stack(inside, axis=1))
    assert np.log(galaxies._between(nodes, values)(*at)) == pytest.approx(expected, abs=1e-12)


# --- insides


def test_bulge_and_disc_are_the_whole(sdss):
    """Mass, star formation, bursts and metals of the two, integrated from their own histories, are the galaxy's."""
    whole = galaxies.draw(4000, seed=3)
    n, both = len(whole), components.components(whole)
    mass = 10 ** np.asarray(both["log_mstar"]).reshape(2, n)
    np.testing.assert_allclose(np.log10(mass.sum(axis=0)), whole["log_mstar"], atol=1e-6)
    share = mass / mass.sum(axis=0)
    metals = (share * np.asarray(both["metallicity"]).reshape(2, n)).sum(axis=0)
    np.testing.assert_allclose(metals, whole["metallicity"], atol=1e-6)
    age, tau, burst = (np.asarray(both[name]).reshape(2, n) for name in ("age_gyr", "tau_gyr", "burst_fraction"))
    np.testing.assert_allclose((share * burst).sum(axis=0), whole["burst_fraction"], atol=1e-6)
    t = np.linspace(0, 1, 2001)[:, None, None] * age
    history = t * np.exp(-t / tau)
    rate = history[-1] / np.trapezoid(history, t, axis=0) / 1e9 * galaxies.formed_mass(np.log10(mass)) * (1 - burst)
    forming = ~np.asarray(whole["quiescent"])
    # Where stars form they form in the disc; of the retired, whose rate is an upper limit, nearly all of them.
    np.testing.assert_allclose(np.log10(rate.sum(axis=0))[forming], whole["log_sfr"][forming], atol=0.02)
    assert (rate[0] < 0.02 * rate[1])[forming].all()
    # A bulge is as old as the disc or older, richer in metals, and no older than the galaxy.
    assert (np.asarray(both["metallicity"][:n]) >= np.asarray(both["metallicity"][n:])).all()
    assert (age[0] <= whole["age_gyr"] * (1 + 1e-9)).all()
    mean = age - np.trapezoid(history * t, t, axis=0) / np.trapezoid(history, t, axis=0)
    assert (mean[0] > mean[1] - 0.02 * age[1]).mean() > 0.98


def test_a_galaxy_without_bulge_is_one_system(sdss):
    whole = galaxies.draw(50, seed=3)
    whole["b_t"] = 0.0
    both = components.components(whole)
    assert (10 ** both["log_mstar"][:50] < 1e-14 * 10 ** whole["log_mstar"]).all()
    for name in populations.RANGES:
        np.testing.assert_allclose(both[name][50:], whole[name], rtol=1e-12)


def test_a_third_of_massive_discs_has_a_bar(volume):
    barred, discs = volume["bar"] > 0, (volume["log_mstar"] > 10.2) & (volume["b_t"] < 0.5)
    assert barred[discs].mean() == pytest.approx(0.3, abs=0.07)  # Masters+ 2011: 29 %
    assert barred[volume["log_mstar"] < 9].mean() < 0.03
    red = volume["log_sfr"] - volume["log_mstar"] < -11
    assert barred[discs & red].mean() > 1.5 * barred[discs & ~red].mean()
    assert np.median((volume["bar"] / (1 - volume["b_t"]))[barred]) == pytest.approx(0.13, abs=0.02)


def test_fibres_take_a_nucleus_whole_and_a_disc_in_part():
    whole = galaxies.draw(2000, seed=3)
    part = apertures.fibre(whole)
    assert part.point == pytest.approx(0.96, abs=0.01)  # 1.5 arcsec are 2.5 dispersions of the seeing
    assert (part.bulge <= part.point).all()
    assert (part.bulge > part.disc)[whole["b_t"] > 0.02].all()
    whole["agn_class"], whole["agn_strength"] = "seyfert", 0.3
    alone, beside = (nebular.luminosities(whole, seen=seen) for seen in ((0, 0, 1), (1, 1, 0)))
    np.testing.assert_allclose(alone + beside, nebular.luminosities(whole), rtol=1e-9)
