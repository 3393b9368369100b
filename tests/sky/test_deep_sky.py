"""The sky at depth: hydrogen, mass and luminosity functions, quasars, the Milky Way's dust, J-PAS, spectroscopy."""

import numpy as np
import pytest
from astropy.cosmology import Planck18

from paper_utils.base import intergalactic
from paper_utils.base.distances import distance_modulus
from paper_utils.sky import (
    alhambra_catalogue,
    deep,
    foreground,
    galaxies,
    jpas_catalogue,
    light,
    quasars,
    relations,
    spectroscopic,
    survey,
)

ALHAMBRA = alhambra_catalogue.ALHAMBRA


@pytest.fixture(scope="module")
def catalogue(ssps):
    return alhambra_catalogue.catalogue(20_000, ssps, seed=8)


@pytest.mark.parametrize("z", [2.4, 3.0, 3.5, 4.0, 4.5])
def test_forest_is_as_thick_as_measured(z):
    """Effective depth of Lyman alpha: Becker+ 2013 (2013MNRAS.430.2067B), eq. 5, to 15 %; nothing redward of it."""
    near, beyond = (intergalactic.LYMAN_ALPHA * (1 + z) * side for side in (0.9999, 1.0001))
    blue, red = intergalactic.transmission(np.array([near, beyond]), z)[0]
    assert -np.log(blue) == pytest.approx(0.751 * ((1 + z) / 4.5) ** 2.9 - 0.132, rel=0.15)
    assert red == 1


@pytest.mark.parametrize("z", [3.5, 4.0, 5.0])
def test_ionising_light_goes_as_far_as_measured(z):
    """Mean free path: Worseck+ 2014 (2014MNRAS.445.1745W), 37 Mpc (1 + z)^-5.4 from z = 4, good to a quarter."""
    x = np.linspace(0.6, 1, 2000)[:-1] * (1 + z)
    reached = x[np.argmin(abs(intergalactic._continuum(x, np.full(len(x), 1 + z)) - 1))] - 1
    path = (Planck18.lookback_time(z) - Planck18.lookback_time(reached)).value * 306.6  # Mpc per Gyr of light
    assert path == pytest.approx(37 * ((1 + z) / 5) ** -5.4, rel=0.25)


def test_shapes_of_transmission_agree():
    wave, z = np.array([3000.0, 4000.0, 5000.0]), np.array([2.0, 3.0, 4.0])
    both = intergalactic.transmission(wave, z)
    assert both.shape == (3, 3)
    np.testing.assert_allclose(both[1], intergalactic.transmission(np.tile(wave, (3, 1)), z)[1])
    assert (np.diff(both, axis=0) <= 0).all()


def test_mass_functions_reach_far():
    """Written out at z = 4: a single Schechter function; and fewer of all masses further away."""
    mass = np.linspace(9, 11.5, 6)
    x = 10 ** (mass - 11.10)
    np.testing.assert_allclose(
        deep.mass_function(mass, np.array([4.0]))[0], np.log(10) * 1.6e-5 * x**-0.98 * np.exp(-x), rtol=1e-6
    )
    assert (np.diff(deep.mass_function(mass, np.array([1.75, 2.75, 4.0, 5.0]))[:, 2:-1], axis=0) < 0).all()


def test_main_sequence_goes_over_smoothly():
    """As published at either end, no jump between, and Schreiber's own number at z = 3 (less 0.2 dex)."""
    z = np.linspace(0.5, 5.5, 501)
    assert abs(np.diff(relations.main_sequence(10.0, z))).max() < 0.02
    salpeter = 10 + 0.24 - 9
    theirs = salpeter - 0.5 + 1.5 * np.log10(4) - 0.3 * max(0, salpeter - 0.36 - 2.5 * np.log10(4)) ** 2
    assert relations.main_sequence(10.0, 3.0) == pytest.approx(theirs - 0.24 - 0.2)


@pytest.mark.parametrize(("z", "phi", "knee", "slope"), [(3, 1.71e-3, -20.97, -1.73), (4, 1.97e-3, -20.88, -1.64)])
def test_ultraviolet_luminosity_functions(ssps, z, phi, knee, slope):
    """From masses to light, to a factor of two below the knee: Reddy & Steidel 2009 (z = 3), Bouwens+ 2015 (z = 4)."""
    hat = {"1500": (np.array([1400.0, 1401, 1599, 1600]), np.array([0.0, 1, 1, 0]))}
    table, rng = light.light_table(ssps, hat, z_max=0.01), np.random.default_rng(0)
    mass = rng.uniform(7.5, 12, 12_000)
    part = deep._galaxies(rng, np.full(len(mass), float(z)), mass)
    part["z"] = 1e-4
    seen = light.magnitudes(part, table)[:, 0] - distance_modulus(np.array([1e-4]))
    share = deep.mass_function(mass, np.array([float(z)]))[0] * 4.5 / len(mass)
    found, _ = np.histogram(seen, [-20.75, -20.25, -19.75, -19.25], weights=share / 0.5)
    bright = 10 ** (-0.4 * (np.array([-20.5, -20.0, -19.5]) - knee))
    published = 0.4 * np.log(10) * phi * bright ** (slope + 1) * np.exp(-bright)
    assert (abs(np.log10(found / published)) < 0.3).all(), found / published


def test_no_galaxy_is_older_than_the_universe(catalogue):
    truth = catalogue.truth[~np.asarray(catalogue.truth["is_star"] | catalogue.truth["is_quasar"])]
    assert (np.asarray(truth["age_gyr"]) < galaxies.age_of_universe(np.asarray(truth["z"]))).all()
    far = np.asarray(truth["z"]) > 2
    assert far.sum() > 300
    assert not np.asarray(truth["quiescent"])[far].mean() > 0.1


def test_quasars_are_as_many_as_counted_and_look_like_stars(catalogue):
    quasar, star = (np.asarray(catalogue.truth[name]) for name in ("is_quasar", "is_star"))
    f814w, bright = np.asarray(catalogue.truth["f814w"]), np.asarray(catalogue.truth["f814w"]) < 22.5
    expected = quasars.per_deg2(22.5, (0.1, 5.5)) * catalogue.table.meta["area_deg2"]
    assert (quasar & bright).sum() == pytest.approx(expected, abs=4 * expected**0.5)
    assert not (quasar & star).any()
    assert (np.asarray(catalogue.truth["log_mstar"])[quasar] == 0).all()
    stell = np.asarray(catalogue.table["stell"])
    few = (f814w > 19) & (f814w < 22)
    assert np.median(stell[quasar & few]) == pytest.approx(np.median(stell[star & few]), abs=0.03)
    # Ultraviolet excess: bluer than nearly all stars.
    colour = np.asarray(catalogue.table["F365W"] - catalogue.table["F458W"])
    near = quasar & bright & (np.asarray(catalogue.truth["z"]) < 2.2)
    assert np.median(colour[near]) < np.median(colour[star & bright]) - 0.5


def test_reddening_undone_gives_the_unreddened_sky(catalogue, ssps):
    """Blue bands of galaxies are fainter the more dust there is, by as much as dust takes away."""
    galaxy = ~np.asarray(catalogue.truth["is_star"] | catalogue.truth["is_quasar"])
    rows = np.flatnonzero(galaxy & (np.asarray(catalogue.truth["f814w"]) < 22))
    truth, blue = catalogue.truth[rows], ALHAMBRA.names[1:7]
    clear = light.magnitudes(truth, alhambra_catalogue.light_table(ssps))[:, 1:7]
    seen = np.stack([np.asarray(catalogue.table[name])[rows] for name in blue], axis=1)
    off = np.nanmean(np.where(abs(seen) < 90, seen - clear, np.nan), axis=1)
    ebv = np.asarray(truth["ebv"])
    assert set(ebv) == {field[2] for field in alhambra_catalogue.FIELDS.values()}
    slope, _ = np.polyfit(ebv, np.clip(off, -1, 1), 1)
    assert slope == pytest.approx(foreground.extinction(ALHAMBRA.curves)[1:7].mean(), abs=1.2)
    assert abs(np.median(off - ebv * foreground.extinction(ALHAMBRA.curves)[1:7].mean())) < 0.02


def test_jpas_has_the_columns_of_alhambra_in_its_own_bands(ssps):
    found = jpas_catalogue.catalogue(600, ssps, seed=1)
    assert found.check() is found
    assert len(found.bands) == 57
    assert found.bands[-1] == "iSDSS"
    shared = set(found.table.colnames) & set(alhambra_catalogue.COLUMNS)
    of_bands = {prefix + name for name in ALHAMBRA.names for prefix in ("", "d")}
    assert set(alhambra_catalogue.COLUMNS) - shared == of_bands | {"F814W_3arcs", "dF814W_3arcs", "F814W_3arcs_corr"}
    # A point source at the limit has five times its error, but for its own photons: as many as the sky's at 21.
    limits = jpas_catalogue.JPAS.limits[None]
    sigma = survey.noise(limits, np.array([0.5]), limits)
    np.testing.assert_allclose(sigma / 10 ** (-0.4 * limits), 0.2 * np.sqrt(1 + 10 ** (-0.4 * (limits - 21))))
    assert (np.asarray(found.table["iSDSS"]) < 24).all()


@pytest.mark.parametrize("limit", [22.5, 24.0])
def test_spectroscopic_samples_are_not_fair(catalogue, limit):
    rows = spectroscopic.rows(catalogue, limit, seed=1, sampling=1.0)
    np.testing.assert_array_equal(rows, spectroscopic.rows(catalogue, limit, seed=1, sampling=1.0))
    f814w, z = np.asarray(catalogue.table["F814W"]), np.asarray(catalogue.truth["z"])
    wanted = (f814w < limit) & ~np.asarray(catalogue.truth["is_star"])
    got = np.isin(np.arange(len(z)), rows)
    assert not (got & ~wanted).any()
    assert 0.75 < got[wanted].mean() < 0.95
    faint = wanted & (f814w > limit - 0.3)
    assert got[wanted & (f814w < limit - 1.5)].mean() > got[faint].mean() + 0.1
    desert = wanted & (z > 1.5) & (z < 2.2) & ~np.asarray(catalogue.truth["is_quasar"])
    assert desert.sum() < 20 or got[desert].mean() < 0.5
    half = spectroscopic.rows(catalogue, limit, seed=1)
    assert len(half) == pytest.approx(0.5 * len(rows), rel=0.1)
