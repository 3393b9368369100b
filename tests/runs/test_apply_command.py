"""`companion apply`: a table goes in, results come out whole, and errors are one line."""

import h5py
import numpy as np
import pyarrow.parquet
import pytest
import torch
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st

from paper_utils.alhambra.apply import PhotoZ
from paper_utils.base import paths
from paper_utils.base.containers import WAVE_UM, SedLibrary
from paper_utils.base.errors import DataError
from paper_utils.base.results import Results, growing_table
from paper_utils.files import alhambra_table, mapping, tables
from paper_utils.midir import train
from paper_utils.midir.model import GLO
from paper_utils.nets.run import Run
from paper_utils.sky import bands

MAPPING = """redshift: z
unit: mJy
bands:
  w3: {flux: f12, error: e12, filter: wise_w3}
  w4: {flux: f22, error: e22, filter: wise_w4}
  p100: {flux: f100, error: e100, filter: herschel_pacs_100}
"""


@pytest.fixture
def files(tmp_path):
    """A model of smooth spectra, a table of three galaxies and its mapping."""
    rng = np.random.default_rng(0)
    flux = np.exp(rng.normal(size=(200, 3)) @ np.vander(np.log(WAVE_UM) / 8, 3).T)
    library = SedLibrary(WAVE_UM, flux, [f"g{i}" for i in range(200)]).normalised()
    run = Run("01", "smoke", device="cpu", progress=False)
    glo = GLO(200, n_latent=5, width=8)
    train.reconstructor(glo, library, train.Settings.load("01", "smoke"), run).save(tmp_path / "model.safetensors")
    table = {"z": [0.03, 0.05, 0.1], "f12": [20, 10, 3.0], "f22": [40, 20, 5.0], "f100": [2000, 900, 150.0]}
    Table(table | {name.replace("f", "e"): 0.1 * np.array(table[name]) for name in ("f12", "f22", "f100")}).write(
        tmp_path / "t.csv"
    )
    (tmp_path / "m.yaml").write_text(MAPPING)
    return tmp_path


def test_a_table_becomes_spectra(files, companion):
    arguments = ["apply", "1", files / "t.csv", "--mapping", files / "m.yaml", "--model", files / "model.safetensors"]
    status, out, _ = companion(*arguments, "--output", files / "out", "--figures")
    assert status == 0
    assert "68 % intervals" in out
    assert {file.name for file in (files / "out").iterdir()} == {"results.ecsv", "results.h5", "summary.png", "objects"}
    assert {file.name for file in (files / "out" / "objects").iterdir()} == {f"{i}_{i}.png" for i in (1, 2, 3)}
    table = Table.read(files / "out" / "results.ecsv")
    assert {"id", "s_97_p50", "log_l_5_35_p16", "jwst_f770w_p84", "novelty", "flag", "note"} <= set(table.colnames)
    assert "f_agn_p50" not in table.colnames  # the library says nothing of it
    assert table["jwst_f770w_p50"].unit == "mJy"
    with h5py.File(files / "out" / "results.h5") as file:
        assert file["spectrum"].shape == (3, 3, file["wave_um"].size)
        assert file["spectrum"].attrs["unit"] == "mJy"
        assert (np.diff(file["spectrum"][()], axis=1) >= 0).all()


def test_the_model_that_comes_with_the_project_serves_by_default(files, companion):
    status, out, _ = companion("apply", "1", files / "t.csv", "--mapping", files / "m.yaml", "--output", files / "out")
    assert status == 0
    table = Table.read(files / "out" / "results.ecsv")
    assert "f_agn_p50" in table.colnames
    assert np.all((table["log_l_8_1000_p50"] > 8) & (table["log_l_8_1000_p50"] < 13))


def test_a_table_of_photometry_can_be_checked_first(files, companion):
    status, out, _ = companion("data", "check", "1", files / "t.csv", "--mapping", files / "m.yaml")
    assert status == 0
    assert "3 galaxies, bands w3 w4 p100, 9 fluxes" in out


def test_errors_are_one_line_and_leave_nothing(files, companion, monkeypatch):
    monkeypatch.setattr(paths, "WEIGHTS", files / "weights")
    given = ["apply", "01", files / "t.csv", "--mapping", files / "m.yaml", "--output", files / "out"]
    status, _, err = companion(*given)
    assert status == 2
    assert "companion train 01" in err
    (files / "m.yaml").write_text(MAPPING.replace("mJy", "Jy").replace("wise_w3", "wise_w3"))
    Table.read(files / "t.csv").write(files / "t.csv", overwrite=True)
    (files / "m.yaml").write_text(MAPPING.replace("unit: mJy", "unit: cgs"))
    status, _, err = companion(*given, "--model", files / "model.safetensors")
    assert status == 2
    assert "too large" in err
    assert len(err.strip().splitlines()) == 1
    assert not (files / "out").exists()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda t: t["f100"].__setitem__(1, -9999.0), ("row 2", "'f100'", "-9999", "missing")),
        (lambda t: t["f100"].__setitem__(2, 1e25), ("row 3", "'p100'", "no galaxy has")),
    ],
    ids=["mark", "far too bright"],
)
def test_a_value_that_no_galaxy_has_is_named(files, companion, spoil, told):
    table = Table.read(files / "t.csv")
    spoil(table)
    table.write(files / "t.csv", overwrite=True)
    given = ("--mapping", files / "m.yaml", "--output", files / "out", "--model", files / "model.safetensors")
    status, _, err = companion("apply", "1", files / "t.csv", *given)
    assert status == 2
    assert all(word in err for word in told), err
    assert not (files / "out").exists()


def test_a_magnitude_that_is_a_mark_is_named(files, companion):
    table = Table.read(files / "t.csv")
    for name in ("f12", "f22", "f100"):
        table[name] = -2.5 * np.log10(table[name] / 3631e3)
        table[name.replace("f", "e")] = 0.1
    table["f22"][0] = 99
    table.write(files / "t.csv", overwrite=True)
    (files / "m.yaml").write_text(MAPPING.replace("mJy", "AB"))
    status, _, err = companion("data", "check", "1", files / "t.csv", "--mapping", files / "m.yaml")
    assert status == 2
    assert "row 1, column 'f22'" in err
    assert "the magnitude is 99" in err


def test_names_of_objects_are_no_paths(files, companion):
    table = Table.read(files / "t.csv")
    table["name"] = ["../a/b", "summary", "x" * 300]
    table.write(files / "t.csv", overwrite=True)
    (files / "m.yaml").write_text("id: name\n" + MAPPING)
    given = ("--mapping", files / "m.yaml", "--model", files / "model.safetensors", "--figures", "--output")
    assert companion("apply", "1", files / "t.csv", *given, files / "out")[0] == 0
    assert len(list((files / "out" / "objects").iterdir())) == 3
    (files / "file").touch()
    status, _, err = companion("apply", "1", files / "t.csv", *given, files / "file" / "sub")
    assert status == 2
    assert "not a folder" in err


@pytest.fixture
def survey(tmp_path):
    """A table of a planted sky with redshifts in four bands, one without, their mapping, and the latter's redshifts."""
    rng = np.random.default_rng(0)
    z = rng.uniform(0.05, 1, 4000)
    m = 21 + rng.normal(0, 0.5, (4000, 1)) + np.outer(np.log1p(z), [2.0, 0.5, -1.0, -1.5])
    table = Table({"name": np.arange(4000).astype(str)})
    for k, band in enumerate("griz"):
        table[band] = m[:, k] + rng.normal(0, 0.05, 4000)
        table[f"e_{band}"] = np.full(4000, 0.05)
    lines = [f"  {band}: {{column: {band}, error: e_{band}}}" for band in "griz"]
    (tmp_path / "m.yaml").write_text("\n".join(["id: name", "redshift: z_spec", "bands:", *lines]) + "\n")
    learn = table[:3500]
    learn["z_spec"] = z[:3500]
    learn.write(tmp_path / "learn.csv")
    table[3500:].write(tmp_path / "new.csv")
    return tmp_path, z[3500:]


def test_a_survey_learns_and_applies_its_own_redshifts(survey, companion):
    folder, z = survey
    small = ("--set", "05.n_epochs_density=12", "--set", "05.widths=[64, 64]", "--profile", "smoke", "--device", "cpu")
    given = ("--mapping", folder / "m.yaml", "--output", folder / "out")
    status, _, err = companion("train", "5", "--data", folder / "learn.csv", *given, *small)
    assert status == 0, err
    model = folder / "out" / "05" / "density-label.safetensors"
    status, out, err = companion("apply", "5", folder / "new.csv", *given, "--model", model, "--table", "z.fits")
    assert status == 0, err
    assert "500 objects" in out
    table = Table.read(folder / "out" / "z.fits")
    assert list(table["id"]) == [str(i) for i in range(3500, 4000)]
    assert np.median(np.abs(table["z_p50"] - z) / (1 + z)) < 0.02
    assert 0.55 < np.mean((table["z_p16"] < z) & (z < table["z_p84"])) < 0.8
    with h5py.File(folder / "out" / "z.hdf5") as file:
        np.testing.assert_allclose(file["data/pdfs"][()] @ np.diff(file["meta/bins"][0]), 1, atol=1e-5)
        np.testing.assert_array_equal(file["ancil/zmode"], table["z_mode"])
        assert [name.decode() for name in file["ancil/id"]] == list(table["id"])
    assert (folder / "out" / "summary.png").stat().st_size > 10_000


@pytest.fixture
def model(survey, tmp_path):
    """A density network of the survey's bands that has learned its scales only: results are bad, and fast."""
    table = Table.read(survey[0] / "learn.csv")
    for band in "griz":
        table[f"d{band}"] = table[f"e_{band}"]
    found = PhotoZ(tuple("griz"), detection="i", widths=(8,), learned=("p_star",)).learn_depth(table)
    x, z = found.features(table), np.asarray(table["z_spec"])
    t = torch.tensor(np.log1p(z), dtype=torch.float32)
    found.learn_scale(x, t, {"p_star": (t > 0.4).float()}).calibrate(x, z, {"p_star": z > 0.5})
    found.save(tmp_path / "quick.safetensors")
    return tmp_path / "quick.safetensors"


@pytest.mark.parametrize(("name", "n_bytes"), [("t.csv", 1 << 14), ("t.fits", 1 << 22)])
def test_a_table_in_blocks_is_the_table_at_once(survey, model, companion, monkeypatch, name, n_bytes):
    """Whatever the length of a block: rows, densities, flags, summary."""
    folder = survey[0]
    whole = Table.read(folder / "new.csv", converters={"name": str})
    whole["i"][3], whole["i"][77], whole["r"][5] = 99, 10, -99
    whole.write(folder / name, overwrite=True)
    monkeypatch.setattr(tables, "N_BYTES", n_bytes)
    monkeypatch.setattr(alhambra_table, "N_ROWS", 70)
    given = ("--mapping", folder / "m.yaml", "--model", model, "--output", folder / "out")
    status, out, err = companion("apply", "5", folder / name, *given)
    assert status == 0, err
    catalogue = alhambra_table.read(folder / name, mapping.unlabelled(mapping.load(folder / "m.yaml")))
    expected, table = PhotoZ.load(model).apply(catalogue), Table.read(folder / "out" / "results.ecsv")
    assert len(table) == 500
    assert list(table.filled("")["flag"]) == list(expected.table["flag"])
    assert f"{np.sum(expected.table['flag'] != '')} of 500 are flagged" in out
    assert ["magnitudes of training" in table.filled("")["flag"][i] for i in (3, 4, 77)] == [True, False, True]
    for column in ("z_p16", "z_p50", "z_p84", "z_mode", "odds", "novelty", "p_star"):
        np.testing.assert_allclose(table[column], expected.table[column], rtol=1e-5, atol=1e-6)
    with h5py.File(folder / "out" / "results.hdf5") as file:
        np.testing.assert_allclose(file["data/pdfs"], expected.arrays["pdf"], rtol=1e-4, atol=1e-5)


def test_a_name_that_comes_again_blocks_later_is_found_and_leaves_nothing(survey, model, companion, monkeypatch):
    folder = survey[0]
    monkeypatch.setattr(tables, "N_BYTES", 1 << 13)
    lines = (folder / "new.csv").read_text().splitlines()
    (folder / "t.csv").write_text("\n".join([*lines, lines[5]]) + "\n")
    given = ("--mapping", folder / "m.yaml", "--model", model, "--output", folder / "out")
    status, _, err = companion("apply", "5", folder / "t.csv", *given)
    assert status == 2
    assert "row 501" in err
    assert "stands in row 5 already" in err
    assert not list((folder / "out").iterdir())


def test_a_fit_wants_a_model_with_templates(survey, model, companion):
    folder = survey[0]
    given = ("--mapping", folder / "m.yaml", "--model", model, "--output", folder / "out", "--fit")
    status, _, err = companion("apply", "5", folder / "new.csv", *given)
    assert status == 2
    assert "no templates" in err
    assert not (folder / "out").exists()


def test_densities_are_an_ensemble_of_qp(survey, model, companion):
    qp, folder = pytest.importorskip("qp"), survey[0]
    given = ("--mapping", folder / "m.yaml", "--model", model, "--output", folder / "out")
    assert companion("apply", "5", folder / "new.csv", *given)[0] == 0
    table, ensemble = Table.read(folder / "out" / "results.ecsv"), qp.read(str(folder / "out" / "results.hdf5"))
    assert ensemble.npdf == 500
    np.testing.assert_allclose(ensemble.median()[:, 0], table["z_p50"], atol=0.005)


def test_without_redshifts_a_survey_learns_from_the_mock_sky(tmp_path, ssps, companion):
    """In the mapping's bands and depths; then its own table, here another part of the mock sky, has better redshifts
    than a guess, and the file of the model all that this takes."""
    lines = [
        f"  {b}: {{error: e{b}, filter: sdss_{b}0, depth: {m}}}" for b, m in zip("griz", (23, 23, 22, 21), strict=True)
    ]
    path = tmp_path / "m.yaml"
    path.write_text("\n".join(["bands:", *lines, "detection: {r: 20}"]) + "\n")
    small = ("--set", "05.n_objects=2000", "--set", "05.widths=[64, 64]", "--set", "05.n_epochs_density=15")
    given = ("--mapping", path, "--output", tmp_path / "out")
    status, out, err = companion("train", "5", "--mock", *given, *small, "--profile", "smoke", "--device", "cpu")
    assert status == 0, err
    assert [file.name for file in (tmp_path / "out" / "05").iterdir()] == ["density-truth.safetensors"]
    new = bands.catalogue(*mapping.survey(mapping.load(path), path), 500, ssps, seed=99)
    table = Table(new.table)
    table.rename_columns([f"d{b}" for b in "griz"], [f"e{b}" for b in "griz"])
    table.write(tmp_path / "new.csv")
    model = tmp_path / "out" / "05" / "density-truth.safetensors"
    assert companion("apply", "5", tmp_path / "new.csv", *given, "--model", model)[0] == 0
    known = ~np.asarray(new.truth["is_star"] | new.truth["is_quasar"])
    z, found = np.asarray(new.truth["z"])[known], Table.read(tmp_path / "out" / "results.ecsv")[known]
    off, guess = np.abs(found["z_p50"] - z) / (1 + z), np.abs(np.median(z) - z) / (1 + z)
    assert np.median(off) < 0.5 * np.median(guess)
    assert 0.5 < np.mean((found["z_p16"] < z) & (z < found["z_p84"])) < 0.85


@pytest.mark.parametrize(
    "arguments",
    [
        ("2", "--mock"),
        ("5", "--mock"),
        ("5", "--mock", "--mapping", "m.yaml", "--data", "t.csv"),
        ("5", "--mapping", "m"),
    ],
)
def test_the_mock_sky_is_asked_for_with_a_mapping_alone(companion, tmp_path, arguments):
    status, _, err = companion("train", *arguments, "--output", tmp_path / "out")
    assert status == 2
    assert "--mock" in err
    assert not (tmp_path / "out").exists()


def test_too_few_redshifts_are_refused(survey, companion):
    folder, _ = survey
    Table.read(folder / "learn.csv")[:200].write(folder / "few.csv")
    given = ("--data", folder / "few.csv", "--mapping", folder / "m.yaml", "--output", folder / "out")
    status, _, err = companion("train", "5", *given, "--profile", "smoke", "--device", "cpu")
    assert status == 2
    assert "150 redshifts are too few" in err


def test_a_table_without_the_models_bands_is_refused(survey, companion):
    folder, _ = survey
    status, _, err = companion(
        "apply", "5", folder / "new.csv", "--mapping", folder / "m.yaml", "--output", folder / "out"
    )
    assert status == 2
    assert "F365W" in err
    assert len(err.strip().splitlines()) == 1
    assert not (folder / "out").exists()


@pytest.mark.parametrize("ending", [".ecsv", ".fits", ".csv", ".parquet"])
def test_results_are_kept_by_the_ending_of_the_file(tmp_path, ending):
    table = Table({"id": ["a", "b"], "x_p50": [1.0, 2.5], "flag": ["", "odd"]})
    table["x_p50"].unit = "mJy"
    written = Results(table, {"y": np.arange(6.0).reshape(2, 3)}, {"y": "mJy"}).save(tmp_path / f"r{ending}")
    read = pyarrow.parquet.read_table if ending == ".parquet" else Table.read
    again = read(written[0])
    np.testing.assert_array_equal(again["x_p50"], table["x_p50"])
    if ending in (".ecsv", ".fits"):
        assert again["x_p50"].unit == "mJy"
    with h5py.File(tmp_path / "r.h5") as file:
        assert file["y"].attrs["unit"] == "mJy"
        assert [name.decode() for name in file["id"]] == ["a", "b"]
    with pytest.raises(DataError, match=".ecsv"):
        Results(table).save(tmp_path / "r.txt")
    assert not list(tmp_path.glob("*.txt"))


TEXT = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=9)


@pytest.mark.parametrize("ending", [".ecsv", ".fits", ".csv", ".parquet"])
@settings(deadline=None, max_examples=40)
@given(
    blocks=st.lists(
        st.lists(st.tuples(TEXT, st.floats(width=32, allow_subnormal=False)), min_size=1, max_size=4),
        min_size=1,
        max_size=4,
    )
)
def test_rows_added_block_by_block_are_read_again(tmp_path_factory, ending, blocks):
    path = tmp_path_factory.mktemp("grown") / f"r{ending}"
    with growing_table(path) as add:
        for rows in blocks:
            add(Table({"id": [f"o{name}" for name, _ in rows], "x": np.array([x for _, x in rows], np.float32)}))
    expected = [row for rows in blocks for row in rows]
    found = pyarrow.parquet.read_table(path) if ending == ".parquet" else Table.read(path)
    np.testing.assert_allclose(np.ma.filled(found["x"], np.nan), [x for _, x in expected], rtol=1e-6)
    names = [str(name) for name in found["id"]]
    assert names == [f"o{name}" for name, _ in expected]


def test_a_table_that_is_not_finished_does_not_appear(tmp_path):
    def stopped():
        with growing_table(tmp_path / "r.fits") as add:
            add(Table({"id": ["a"]}))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert not list(tmp_path.iterdir())
