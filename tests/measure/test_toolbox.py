"""`companion measure` and the fan-out: tables and figures of users' files, resumed runs, failures as rows."""

import os
from dataclasses import replace

import numpy as np
import pytest
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st
from joblib.externals.loky import get_reusable_executor

from paper_utils.base import fan_out, paths
from paper_utils.base.containers import WAVE_OBS, Spectra
from paper_utils.base.errors import DataError
from paper_utils.files import spectra as spectra_files
from paper_utils.measure import toolbox
from paper_utils.runs import cli

SPECTRA = paths.ROOT.parent / "shared" / "real_data" / "sdss_galaxy_spectra"


def twice(x, offset=0):
    if x < 0:
        raise DataError("negative", remedy="Take the root of something else.")
    if x == 13:
        raise ZeroDivisionError("thirteen")
    with open(os.environ["COUNT"], "a") as log:
        log.write(f"{x}\n")
    return {"y": 2.0 * x + offset, "n": int(x), "name": f"<{x}>", "array": np.arange(x)}


def die(x):
    os._exit(1)


@pytest.fixture
def count(tmp_path, monkeypatch):
    """How many calls `twice` had."""
    file = tmp_path / "count"
    monkeypatch.setenv("COUNT", str(file))
    get_reusable_executor().shutdown(wait=True)  # workers of an earlier test have its environment
    return lambda: len(file.read_text().split()) if file.exists() else 0


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_results_come_in_order_and_failures_are_rows(n_jobs, count):
    items = [(3,), (-1,), (13,), (5,)]
    results = fan_out.run(twice, items, list("abcd"), (10,), n_jobs=n_jobs, progress=False)
    table = fan_out.table(results, list("abcd"), {"y": "km / s"})
    assert table.colnames == ["id", "y", "n", "name", "reason"]
    np.testing.assert_array_equal(table["y"], [16, np.nan, np.nan, 20])
    assert list(table["n"]) == [3, -1, -1, 5]
    assert table["reason"][1] == "negative. Take the root of something else."
    assert "ZeroDivisionError: thirteen" in table["reason"][2]
    assert str(table["y"].unit) == "km / s"
    assert list(results[0]["array"]) == [0, 1, 2]


def test_a_run_goes_on_where_it_was(tmp_path, count):
    folder = tmp_path / "fits"

    def run(items, *shared):
        return fan_out.run(twice, items, [f"a/{x}" for (x,) in items], shared, folder=folder, progress=False)

    run([(1,), (2,)])
    first = run([(1,), (2,), (3,), (-1,)])
    assert count() == 3
    assert first[0]["name"] == "<1>"
    assert run([(1,)])[0]["y"] == 2.0
    assert run([(1,)], 5)[0]["y"] == 7.0  # other settings
    assert count() == 4
    for file in folder.iterdir():
        file.write_bytes(file.read_bytes()[:40])
    assert run([(2,)])[0]["y"] == 4.0  # cut short: again
    assert count() == 5


def test_a_dead_process_is_told():
    with pytest.raises(DataError, match="memory"):
        fan_out.run(die, [(1,), (2,)], list("ab"), n_jobs=2, progress=False)


@settings(max_examples=20, deadline=None)
@given(values=st.lists(st.one_of(st.none(), st.floats(allow_nan=False)), min_size=1, max_size=5))
def test_tables_hold_every_row(values):
    results = [{"reason": "no"} if v is None else {"y": v} for v in values]
    table = fan_out.table(results, [str(i) for i in range(len(values))])
    assert len(table) == len(values)
    assert [r == "" for r in table["reason"]] == [v is not None for v in values]


def mock_file(folder, n=2):
    rng = np.random.default_rng(0)
    flux = 10 + rng.standard_normal((n, WAVE_OBS.size))
    return Spectra(
        wave_obs=WAVE_OBS, flux=flux, ivar=np.ones_like(flux), z=np.full(n, 0.05), ids=np.array(["a/1", "b"][:n])
    ).save(folder / "mine.h5")


def test_a_users_own_spectra_are_measured(tmp_path, emiles, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.app(
            ["measure", str(mock_file(tmp_path)), "--what", "indices", "--draws", "3", "--output", str(tmp_path / "o")]
        )
    assert not ended.value.code
    table = Table.read(tmp_path / "o" / "indices.ecsv")
    assert list(table["id"]) == ["a/1", "b"]
    assert np.abs(table["Mgb"]).max() < 5 * table["Mgb_err"].max()
    assert str(table["Mgb"].unit) == "Angstrom"
    assert (tmp_path / "o" / "a_1.indices.png").stat().st_size > 10_000
    assert "2 of 2" in capsys.readouterr().out


def test_a_spectrum_without_a_good_pixel_is_a_row_without_a_figure(tmp_path, emiles):
    spectra = Spectra.load(mock_file(tmp_path))
    spectra = replace(spectra, lsf_kms=np.full(WAVE_OBS.size, 70.0))
    spectra.ivar[1] = 0
    table = toolbox.measure(spectra, emiles, "redshift", output=tmp_path / "o")
    assert np.isfinite(table["z"]).tolist() == [True, False]
    assert [file.name for file in (tmp_path / "o").glob("*.png")] == ["a_1.redshift.png"]


def test_indices_do_not_depend_on_the_dispersion_or_the_gas(tmp_path, emiles):
    """An old population at rest, at 250 km/s, and with emission besides: these rows agree, plain indices do not."""
    from paper_utils.base.constants import C_KMS
    from paper_utils.base.rebin import broaden, rebin
    from paper_utils.base.wavelengths import SDSS_STEP, lsf_km_s, sdss_grid
    from paper_utils.measure import indices

    z, rest = 0.1, sdss_grid(3300.0, 8700.0)
    old = emiles.templates[np.argmin(abs(emiles.ages - 8)), np.argmin(abs(emiles.metals))][None].astype(float)
    stars, _ = rebin(emiles.wave_rest, old, np.ones(old.shape), rest)
    own = np.interp(rest, emiles.wave_rest, emiles.fwhm) / np.sqrt(8 * np.log(2)) / rest * C_KMS
    # Balmer lines in their ratios without dust (case B), of 0.4 of the continuum in H beta.
    balmer = {6564.61: 2.86, 4862.683: 1.0, 4341.684: 0.468, 4102.892: 0.259}
    line = sum(
        ratio * 4862.683 / at * np.exp(-0.5 * ((np.log(rest) - np.log(at)) * C_KMS / 150) ** 2)
        for at, ratio in balmer.items()
    )
    flux = []
    for sigma, gas in ((0.0, 0.0), (250.0, 0.0), (250.0, 0.4)):
        seen = np.sqrt(np.clip(lsf_km_s(rest * (1 + z)) ** 2 - own**2, 0, None) + sigma**2)
        spectrum = broaden(stars, seen / C_KMS / SDSS_STEP)[0]
        flux.append(spectrum / np.median(spectrum) + gas * line)
    flux = rebin(rest * (1 + z), np.array(flux), np.ones((3, rest.size)), WAVE_OBS)[0] * 20
    inside = (WAVE_OBS > 3300 * (1 + z)) & (WAVE_OBS < 8600 * (1 + z))
    ivar = np.tile(np.where(inside, 300.0**2 / 20**2, 0), (3, 1))
    flux += np.random.default_rng(0).standard_normal(flux.shape) * 20 / 300 * inside
    lsf = np.tile(lsf_km_s(WAVE_OBS), (3, 1))
    spectra = Spectra(WAVE_OBS, flux, ivar, np.full(3, z), ["rest", "moving", "emitting"], lsf_kms=lsf)
    table = toolbox.measure(spectra, emiles, "indices", n_draws=5)
    bare = indices.measure(WAVE_OBS, flux, ivar, spectra.z, lsf_kms=lsf)
    assert np.abs(table["sigma_star"][1:] - 250).max() < 15
    for name in ("Mgb", "Fe5270", "Fe5335"):
        tolerance = 5 * max(table[f"{name}_err"])
        assert np.abs(table[name] - table[name][0]).max() < tolerance, name
        assert bare[name][0] - bare[name][1] > tolerance, name  # broadened lines look weak
    assert bare["Hbeta"][1] - bare["Hbeta"][2] > 2  # 0.4 of the continuum x 6 A
    assert abs(table["Hbeta"][1] - table["Hbeta"][2]) < 0.3
    assert (table["reason"] == "").all()


def test_real_files_give_a_table_and_a_figure_each(tmp_path, emiles, capsys):
    if not SPECTRA.exists():
        pytest.skip(f"{SPECTRA} is not here")
    files = [str(SPECTRA / f"spec-{name}.fits") for name in ("0266-51602-0001", "4055-55359-0006")]
    arguments = [*files, "--output", str(tmp_path), "--draws", "0", "--jobs", "2"]
    for what in ("redshift", "lines", "ppxf", "firefly"):
        with pytest.raises(SystemExit) as ended:
            cli.app(["measure", *arguments, "--what", what])
        assert not ended.value.code
        table = Table.read(tmp_path / f"{what}.ecsv")
        assert list(table["id"]) == ["0266-51602-0001", "4055-55359-0006"]
        assert len(list(tmp_path.glob(f"*.{what}.png"))) == 2
    assert np.abs(Table.read(tmp_path / "redshift.ecsv")["z"] - [0.02128, 0.21377]).max() < 1e-4
    assert Table.read(tmp_path / "lines.ecsv")["class"][1] == "passive"
    assert 200 < Table.read(tmp_path / "ppxf.ecsv")["sigma_star"][1] < 300
    assert str(Table.read(tmp_path / "ppxf.ecsv")["sigma_star"].unit) == "km / s"


def test_a_spectrum_has_its_own_resolution_in_a_folder_too(tmp_path):
    if not SPECTRA.is_dir():
        pytest.skip("SDSS spectra are not here (shared/real_data)")
    files = sorted(SPECTRA.rglob("spec-*.fits"))[:3]
    for file in files:
        (tmp_path / file.name).symlink_to(file)
    together = spectra_files.read([tmp_path])
    for file in files:
        alone = spectra_files.read([file])
        np.testing.assert_array_equal(together.lsf_kms[list(together.ids).index(alone.ids[0])], alone.lsf_kms[0])
    assert len(np.unique(together.lsf_kms, axis=0)) == len(files)


def test_an_output_that_cannot_be_is_told_before_anything_runs(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for command in (["measure", str(mock_file(tmp_path)), "--what", "indices"], ["reproduce", "00"]):
        with pytest.raises(SystemExit) as ended:
            cli.app([*command, "--output", str(tmp_path / "file" / "o")])
        assert ended.value.code == 2
        assert "--output" in capsys.readouterr().err


def test_what_cannot_be_read_is_one_line(tmp_path, capsys):
    (tmp_path / "bad.fits").write_text("no")
    for arguments, told in (
        ([str(tmp_path / "bad.fits")], "bad.fits"),
        ([str(tmp_path / "none.fits")], "none.fits"),
        ([str(mock_file(tmp_path)), str(mock_file(tmp_path))], "appears 2 times"),
    ):
        with pytest.raises(SystemExit) as ended:
            cli.app(["measure", *arguments, "--what", "indices", "--output", str(tmp_path / "o")])
        told_of = capsys.readouterr()
        assert ended.value.code == 2
        assert told in told_of.err
        assert "Traceback" not in told_of.err
    assert not (tmp_path / "o").exists()


def test_the_command_knows_the_tools():
    assert {tool.value for tool in cli.Tool} == set(toolbox.TOOLS)
