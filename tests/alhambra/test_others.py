"""What density networks tell beside redshifts: stars, types, masses, magnitudes beyond training, fits of their own."""

import dataclasses

import numpy as np
import pytest
import torch
from astropy.table import Table
from conftest import in_a_fresh_process

from paper_utils.alhambra import apply, template_fit, train
from paper_utils.alhambra.template_fit import FITTED, Models
from paper_utils.base.containers import Catalogue
from paper_utils.base.errors import DataError, WeightsError
from paper_utils.nets.model_file import Model
from paper_utils.nets.run import Run

BANDS = ("u", "g", "r", "i")
SETTINGS = train.Settings(
    n_objects=9000, test_share=0.1, n_epochs=(1, 1, 1, 1), batch_stars=64, n_networks=1, n_epochs_listing=1,
    n_epochs_leak=1, widths=(64, 64),
    n_epochs_density=12, n_mixtures=10,
)  # fmt: skip


def planted_models():
    """Three templates whose colours change with redshift, on a coarse grid."""
    z = np.expm1(np.arange(0.01, 1.0, 0.02))
    slope, bend = np.array([1.5, 0.0, -1.5]), np.array([0.5, 1.0, 1.5])
    k = np.arange(4)
    mag = 30 + 2 * z[:, None, None] + slope[:, None] * k + 1.5 * np.sin(4 * z[:, None, None] * bend[:, None] + k)
    return Models(z, np.array([1.0, 2.0, 3.0]), np.array([0, 1, 2]), 10 ** (-0.4 * mag), np.array([5.0, 4.5, 4.0]))


def sky(n, seed):
    """A planted sky: galaxies of the templates with masses from their light, and stars, which lie between in colour."""
    rng, models = np.random.default_rng(seed), planted_models()
    at, kind, log_mass = rng.integers(0, len(models.z), n), rng.integers(0, 3, n), rng.normal(5.0, 0.5, n)
    mag = -2.5 * np.log10(models.flux[at, kind]) - 2.5 * log_mass[:, None]
    is_star = rng.random(n) < 0.2
    mag[is_star] = rng.uniform(17, 22, (is_star.sum(), 1)) + rng.normal(0, 0.6, (is_star.sum(), 1)) * np.arange(4)
    error = np.where(rng.random((n, 1)) < 0.5, 0.03, 0.3)
    table = Table({band: mag[:, k] + error[:, 0] * rng.normal(size=n) for k, band in enumerate(BANDS)})
    table |= {f"d{band}": error[:, 0] for band in BANDS}
    truth = {"z": models.z[at], "sed_type": models.types[kind], "log_mstar": log_mass}
    truth = {name: np.where(is_star, 0, values) for name, values in truth.items()}
    return Catalogue(
        table, BANDS, [f"o{i}" for i in range(n)], Table(truth | {"is_star": is_star, "is_quasar": np.zeros(n)})
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    part = sky(SETTINGS.n_objects, 0)
    run = Run("05", "smoke", device="cpu", cache=tmp_path_factory.mktemp("cache"), progress=False)
    how = {"others": train.lessons(part), "templates": planted_models()}
    return train.density("density, truth", part, train.truth(part, "z"), SETTINGS, run, **how), sky(6000, 1)


@pytest.fixture(scope="module")
def found(trained):
    model, test = trained
    return model.apply(test, densities=False, fit=True).table


def test_probabilities_of_a_star_are_frequencies(trained, found):
    is_star, p = np.asarray(trained[1].truth["is_star"]), np.asarray(found["p_star"])
    edges = np.quantile(p, np.linspace(0, 1, 9))
    for low, high in zip(edges, edges[1:], strict=False):
        inside = (p >= low) & (p <= high)
        error = np.sqrt(max(p[inside].mean() * (1 - p[inside].mean()), 1e-3) / inside.sum())
        assert is_star[inside].mean() == pytest.approx(p[inside].mean(), abs=0.03 + 3 * error)
    assert p[is_star].mean() > 2 * p[~is_star].mean()
    assert all("star" in flag for flag in found["flag"][p > 0.5])


@pytest.mark.parametrize(("name", "column", "within"), [("type", "sed_type", 0.9), ("log_mass", "log_mstar", 0.6)])
def test_intervals_of_types_and_masses_hold_68_per_cent_of_galaxies(trained, found, name, column, within):
    truth = train.truth(trained[1], column)
    known = np.isfinite(truth)
    low, middle, high = (np.asarray(found[f"{name}_{end}"])[known] for end in ("p16", "p50", "p84"))
    assert np.mean((low <= truth[known]) & (truth[known] <= high)) == pytest.approx(0.68, abs=0.05)
    assert np.std(middle - truth[known]) < within * np.std(truth[known])
    noisy = np.asarray(trained[1].table["du"])[known] > 0.1
    assert np.median((high - low)[noisy]) > 1.2 * np.median((high - low)[~noisy])


def test_redshifts_are_those_of_a_network_that_learns_nothing_else(trained, tmp_path):
    part, settings = sky(2500, 3), SETTINGS.changed({"n_epochs_density": 3})
    run = Run("05", "smoke", device="cpu", cache=tmp_path, progress=False)
    z = train.truth(part, "z")
    galaxies = part.select(np.isfinite(z))
    others = {name: values[np.isfinite(z)] for name, values in train.lessons(part).items()}
    others.pop("p_star")
    alone, both = (
        train.density(name, galaxies, z[np.isfinite(z)], settings, run, others=more)
        for name, more in (("alone", {}), ("both", others))
    )
    x = alone.features(galaxies.table)
    np.testing.assert_allclose(alone.median(x), both.median(x), rtol=0.02)
    assert alone.others is None
    assert "type_p50" not in alone.apply(galaxies, densities=False).table.colnames


def test_lessons_come_from_the_truth_or_the_labels_and_stars_teach_that_they_are_stars():
    part = sky(1000, 4)
    stars = np.asarray(part.truth["is_star"])
    known = train.lessons(part)
    assert list(known) == ["p_star", "type", "log_mass"]
    np.testing.assert_array_equal(known["p_star"], stars)
    assert np.isnan(known["log_mass"][stars]).all()
    table = part.table.copy()
    table["Stellar_Flag"], table["tb_1"] = np.select([stars, np.arange(1000) < 50], [1.0, 0.5], 0.02), 3.5
    labelled = train.lessons(dataclasses.replace(part, table=table, truth=None))
    assert list(labelled) == ["p_star"]  # one type teaches nothing, and there are no masses
    assert np.isnan(labelled["p_star"]).sum() == (~stars[:50]).sum()
    assert train.lessons(dataclasses.replace(part, truth=None)) == {}


def test_what_was_not_among_the_magnitudes_of_training_is_flagged(trained):
    model, test = trained
    assert model.detection == "i"  # the last of those in which all are detected
    few, low, high = test.select(slice(0, 5)), *model.magnitudes.tolist()
    few.table["i"] = [low - 0.1, low + 0.1, high + 0.1, 99.0, -99.0]
    flags = model.apply(few, densities=False).table["flag"]
    assert ["magnitudes of training" in flag for flag in flags] == [True, False, True, True, False]
    usual = model.apply(test, densities=False).table["flag"]
    assert np.mean(["magnitudes of training" in flag for flag in usual]) < 0.01


def test_it_carries_its_template_fit(trained, found, tmp_path):
    model, test = trained
    mag, error = (np.stack([np.asarray(test.table[p + band]) for band in BANDS], axis=1) for p in ("", "d"))
    alone = template_fit.fit(mag, error, planted_models(), mag[:, 3])
    for ours, theirs in (("z_fit", "zb"), ("chi2_fit", "chi2"), ("odds_fit", "odds")):
        np.testing.assert_allclose(found[ours], alone[theirs], rtol=2e-3, atol=2e-3)
    model.save(tmp_path / "model.safetensors")
    few = test.select(slice(0, 20))
    few.save(tmp_path / "few.h5")
    lines = (
        "from paper_utils.base.containers import Catalogue\n"
        "found = Model.load(sys.argv[1]).apply(Catalogue.load(sys.argv[2]), fit=True).table\n"
        "np.savez(sys.argv[3], **{name: np.asarray(found[name]) for name in found.colnames})"
    )
    in_a_fresh_process(lines, tmp_path / "model.safetensors", tmp_path / "few.h5", tmp_path / "found.npz")
    again, table = np.load(tmp_path / "found.npz"), model.apply(few, fit=True).table
    assert set(again) == set(table.colnames)
    for name in table.colnames:
        np.testing.assert_array_equal(again[name], np.asarray(table[name]))


def test_a_hybrid_fits_for_itself_whatever_the_table_calls_its_redshifts(trained):
    """A user's `redshift:` column has the name of the fit's; it must not be what the network is told."""
    _, test = trained
    model = apply.PhotoZ(BANDS, fitted=FITTED, widths=(8,), templates=(50, 3)).learn_depth(test.table)
    model.templates.learn(planted_models())
    few = test.select(slice(0, 30))
    x = model.features(few.table)
    few.table["zb_1"] = np.full(30, 0.5)
    assert torch.equal(model.features(few.table), x)
    few.table["u"][0] = few.table["g"][0] = few.table["r"][0] = few.table["i"][0] = 99
    assert model.features(few.table)[0, -len(FITTED) :].isnan().all()
    assert np.isfinite(model.apply(few, densities=False, fit=True).table["z_p50"]).all()
    bare = apply.PhotoZ(BANDS, fitted=FITTED, widths=(8,)).learn_depth(few.table)
    with pytest.raises(DataError, match="tb_1|zb_min_1"):
        bare.features(few.table)
    with pytest.raises(WeightsError, match="no templates"):
        bare.apply(few, fit=True)


def test_a_model_file_that_comes_with_the_project_and_of_before_loads(trained):
    """Its config names nothing of what is new here."""
    model, _ = trained
    config = {k: v for k, v in model.config.items() if k not in ("learned", "detection", "templates")}
    old = apply.PhotoZ(**config)
    assert isinstance(old, Model)
    assert not [name for name in old.state_dict() if name.startswith(("others", "templates", "magnitudes"))]
