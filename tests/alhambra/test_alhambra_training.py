"""Study 5 outside its notebook: training from a catalogue, and files from which a fresh process says the same."""

import numpy as np
import pytest
import torch
from astropy.table import Table
from conftest import in_a_fresh_process

from paper_utils.alhambra import train as fitting
from paper_utils.alhambra.apply import PhotoZ
from paper_utils.alhambra.model import ensemble
from paper_utils.base.containers import Catalogue
from paper_utils.base.errors import DataError
from paper_utils.nets.model_file import Model
from paper_utils.nets.run import Run

BANDS = ("g", "r", "i")
SETTINGS = fitting.Settings(
    n_objects=2600, test_share=0.1, n_epochs=(2, 1, 1, 1), batch_stars=64, n_networks=1,
    n_epochs_listing=2, n_epochs_leak=1, widths=(16,),
    n_epochs_density=2, n_mixtures=10,
)  # fmt: skip


@pytest.fixture(scope="module")
def catalogue():
    """Galaxies whose colours follow redshift, and some stars; the redshift of the brightest was measured."""
    rng = np.random.default_rng(0)
    n = SETTINGS.n_objects
    z, m = rng.uniform(0.05, 1.2, n), rng.uniform(17, 24, n)
    table = Table({"fwhm": rng.uniform(0.8, 2, n), "x": rng.uniform(0, 4000, n)})
    for k, band in enumerate(BANDS):
        table[band] = m + k * z + rng.normal(0, 0.05, n)
        table[f"d{band}"] = np.full(n, 0.05)
    table["g"][:5], table["dg"][:5] = 99, 26.5
    table["zb_1"], table["Stellar_Flag"] = z + rng.normal(0, 0.02, n), (rng.random(n) < 0.1).astype(float)
    table["tb_1"], table["Stell_Mass_1"] = rng.uniform(1, 11, n), np.where(m < 20, 10 - 0.1 * m, 99)
    known = Table({"z": np.where(m < 23, z, np.nan), "is_star": np.zeros(n)})
    return Catalogue(table, np.array(BANDS), np.array([f"o{i:04d}" for i in range(n)]), known)


@pytest.fixture(scope="module")
def trained(catalogue, tmp_path_factory):
    run = Run("05", "smoke", device="cpu", cache=tmp_path_factory.mktemp("cache"), progress=False)
    models = fitting.train(catalogue, SETTINGS, run)
    run.export(tmp_path_factory.getbasetemp() / "weights")
    return models, run, tmp_path_factory.getbasetemp() / "weights"


def test_everything_is_trained_from_a_catalogue(trained, catalogue):
    models, run, _ = trained
    assert list(models) == ["redshift", "stellarity", "mass", "type", "density, label", "density, truth"]
    assert run.cards["mass"]["n_train"] < run.cards["redshift"]["n_train"] == 2340  # a third has no mass
    assert run.data["split"] == catalogue.split(0, (0.9, 0.1))[0].content_hash()
    assert models["redshift"].polynomial.abs().max() > 0


def test_files_say_the_same_in_a_fresh_process(trained, catalogue, tmp_path):
    """With nothing but the files and a table: bands, depths, scales, calibration and polynomial travel with them."""
    models, _, folder = trained
    few = catalogue.table[:50]
    few.write(tmp_path / "few.ecsv")
    code = (
        "from astropy.table import Table\nfrom paper_utils.alhambra.model import ensemble\n"
        "table = Table.read(sys.argv[2])\nfour = ('redshift', 'stellarity', 'mass', 'type')\n"
        "load = lambda name: Model.load(f'{sys.argv[1]}/{name}.safetensors')\n"
        "found = ensemble({name: load(name) for name in four}, table)\n"
        "np.savez(sys.argv[3], **found, **load('density-truth').predict(table))"
    )
    in_a_fresh_process(code, folder, tmp_path / "few.ecsv", tmp_path / "found.npz")
    four = {name: models[name] for name in ("redshift", "stellarity", "mass", "type")}
    expected = ensemble(four, few) | models["density, truth"].predict(few)
    found = np.load(tmp_path / "found.npz")
    assert set(found) == {*four, "z_p16", "z_p50", "z_p84", "z_peak"}
    for name, values in expected.items():
        assert np.array_equal(found[name], values), name


def test_densities_are_kept_calibrated(trained):
    models, _, folder = trained
    even = torch.linspace(0, 1, 21, dtype=torch.float64)
    kept = Model.load(folder / "density-truth.safetensors")
    assert torch.equal(kept.levels, models["density, truth"].levels)
    assert (kept.levels - even).abs().max() > 1e-3
    assert kept.card["name"] == "density, truth"


def test_a_survey_of_other_bands_is_refused(trained, catalogue):
    model = trained[0]["density, truth"]
    other = Table(catalogue.table)
    other.rename_column("i", "y")
    with pytest.raises(DataError, match="no column 'i'"):
        model.predict(other)


def test_without_errors_the_clipped_columns_serve(catalogue):
    bare = catalogue.table[[*BANDS, "fwhm"]]
    model = PhotoZ((), (*BANDS, "fwhm"), widths=(8,))
    assert model.features(bare).shape == (len(bare), 4)
    assert model.features(bare).max() == 27


def test_epochs_are_chosen_on_a_tenth(catalogue):
    run = Run("05", "smoke", device="cpu", progress=False)
    for name in ("redshift", "stellarity"):
        history = fitting.losses_by_epoch(name, catalogue, SETTINGS, run)
        assert history["n_epochs"] == round(1.25 * SETTINGS.n_epochs[0 if name == "redshift" else 1])
        assert len(history["validation"]) > 0
        assert np.isfinite(history["validation"]).all()
    assert run.cards == {}
