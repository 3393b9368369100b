"""`data check 05`: counts are those that were planted, a sound table gives no warning, an exchanged column does."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st
from test_alhambra_table import GST, as_mapping

from paper_utils.base.errors import DataError
from paper_utils.files import catalogue_check, tables

SKY = 0.3  # uJy, of one sigma: magnitude 25.2


def survey(seed=0, n=600):
    """Columns of galaxies, most of them faint: fluxes [uJy], AB magnitudes, errors and inverse variances of either."""
    rng = np.random.default_rng(seed)
    m = 17 + 7.5 * rng.power(4, n)
    flux, columns = 10 ** (-0.4 * (m - 23.9)), {"z": rng.uniform(0.01, 1.2, n).round(4), "id": np.arange(n)}
    for band in "gr":
        sigma = SKY * np.sqrt(1 + flux) * rng.uniform(0.8, 1.3, n)
        seen = flux * rng.uniform(0.7, 1.4, n) + sigma * rng.standard_normal(n)
        detected, safe = seen > sigma, np.maximum(seen, sigma)
        columns |= {f"F{band}": seen, f"e{band}": sigma, f"w{band}": sigma**-2}
        columns[f"M{band}"] = np.where(detected, 23.9 - 2.5 * np.log10(safe), 99)
        columns[f"d{band}"] = np.where(detected, 1.0857 * sigma / safe, 23.9 - 2.5 * np.log10(sigma))
        columns[f"i{band}"] = columns[f"d{band}"] ** -2
    return columns


FLUXES = {"bands": {b: {"column": f"F{b}", "error": f"e{b}"} for b in "gr"}, "unit": "uJy", "redshift": "z"}
WEIGHTS = FLUXES | {"bands": {b: {"column": f"F{b}", "ivar": f"w{b}"} for b in "gr"}}
MAGNITUDES = {"bands": {b: {"column": f"M{b}", "error": f"d{b}"} for b in "gr"}, "redshift": "z"}


def checked(columns, content):
    with tempfile.TemporaryDirectory() as folder:
        Table(columns).write(path := Path(folder, "t.fits"))
        return catalogue_check.check(path, as_mapping(folder, content))


def changed(content, key, value, band="r"):
    bands = {name: dict(keys) for name, keys in content["bands"].items()}
    bands[band].pop("error" if key == "ivar" else "ivar" if key == "error" else key, None)
    bands[band][key] = value
    return content | {"bands": bands}


@given(seed=st.integers(0, 10**6), content=st.sampled_from([FLUXES, WEIGHTS, MAGNITUDES]))
@settings(max_examples=20, deadline=None)
def test_a_sound_table_gives_no_warning(seed, content):
    found = checked(survey(seed), content)
    assert (found.warnings, found.refusal, found.n) == ([], None, 600)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_what_is_exchanged_is_told_of_its_band_alone(seed):
    columns = survey(seed)
    for content, message in (
        (changed(FLUXES, "error", "wr"), "`ivar:`"),
        (changed(WEIGHTS, "ivar", "er"), "`error:`"),
        (changed(MAGNITUDES, "error", "ir"), "`ivar:`"),
        (changed(FLUXES, "column", "Mr"), "look like magnitudes"),
    ):
        sound = columns | {"Mr": np.where(columns["Mr"] == 99, 24.0, columns["Mr"])}
        found = checked(sound, content)
        assert any(message in warning for warning in found.warnings), (content, found.warnings)
        assert all(warning.startswith(("r:", "dr:")) for warning in found.warnings), found.warnings
    faint = columns | {"Fr": np.clip(columns["Fr"], 0.1, 49)}
    found = checked(faint, changed(MAGNITUDES, "column", "Fr"))
    assert any("fluxes" in warning for warning in found.warnings), found.warnings


@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_marks_are_counted(data):
    """Each of some rows gets a mark in the magnitude; what the table says is what was planted."""
    columns = survey()
    rows = data.draw(st.permutations(range(600)))
    marks = {30.0: "undetected", 99.0: "undetected", 1.8e308: "undetected", -9999.0: "missing", -5.0: "missing"}
    columns["Mr"][:] = np.where(columns["Mr"] == 99, 24.0, columns["Mr"])
    planted = {"undetected": 0, "missing": 0}
    for mark, kind in (marks | {np.nan: "missing"}).items():
        n = data.draw(st.integers(0, 30))
        columns["Mr"][rows[:n]] = mark
        rows, planted = rows[n:], planted | {kind: planted[kind] + n}
    n = data.draw(st.integers(2, 30))
    columns["z"][rows[:n]], columns["z"][rows[n : 2 * n]] = -9, -99
    found = checked(columns, MAGNITUDES | {"undetected": [30], "missing": [-5]})
    row = {row["column"]: row for row in found.rows}["r"]
    assert {kind: row[kind] for kind in planted} == planted
    assert row["measured"] == 600 - sum(planted.values())
    told = [warning for warning in found.warnings if warning.startswith("zb_1")]
    assert f"{n} rows would be refused, such as this: the redshift is -9" in told[0]
    assert f"-99 in {n} rows, read as missing" in told[1]
    assert f"row {min(rows[:n]) + 1}, column 'z'" in str(found.refusal)
    assert checked(columns, MAGNITUDES | {"undetected": [30], "missing": [-5, -9]}).refusal is None


def test_reddening_is_a_column_like_others():
    columns = survey() | {"EBV": np.linspace(0, 0.3, 600)}
    dusty = changed(changed(MAGNITUDES, "extinction", 2.3), "extinction", 3.3, "g") | {"ebv": "EBV"}
    found, bare = checked(columns, dusty), checked(columns, MAGNITUDES)
    assert (found.warnings, found.rows[-1]["median"]) == ([], pytest.approx(0.15))
    medians = [{row["column"]: row["median"] for row in check.rows} for check in (found, bare)]
    assert medians[1]["g"] - medians[0]["g"] == pytest.approx(3.3 * 0.15, abs=0.1)
    columns["EBV"][7] = np.nan
    assert "row 8, column 'EBV': E(B-V) is nan" in str(checked(columns, dusty).refusal)


def test_numbers_that_are_marks_by_their_looks():
    columns = survey()
    columns["Fr"][:3], columns["Fg"][5:9], columns["er"][:], columns["eg"][9] = -999, 0, 0.5, 0
    text = "\n".join(checked(columns, FLUXES).warnings)
    assert "r: 0.5 % of its values are -999, far from all others" in text
    assert "g: exactly 0, read as not detected, in 4 rows" in text
    assert "dg: errors of 0, read as unknown, in 1 row" in text
    assert "r: all errors are 0.5" in text
    columns["Mg"][:2] = 0
    assert "g: exactly 0 in 2 rows" in "\n".join(checked(columns, MAGNITUDES).warnings)
    assert "g: no object has a magnitude" in checked(columns | {"Mg": columns["Mg"] * 0 + 99}, MAGNITUDES).warnings[0]


def test_labels_and_truth_may_be_missing():
    content = MAGNITUDES | {"labels": {"tb_1": "type"}, "truth": {"z": "z_spec"}}
    found = checked(survey() | {"type": np.full(600, 3.0)}, content)
    assert found.warnings == ["truth z: the table has no column 'z_spec'"]
    columns = survey() | {"z_spec": np.where(np.arange(600) < 10, 0.5, np.nan)}
    columns.pop("z")
    found = checked(columns, content)
    assert found.warnings[:2] == ["zb_1: the table has no column 'z'", "tb_1: the table has no column 'type'"]
    assert "no redshifts" in found.warnings[2]
    assert (found.rows[-1]["measured"], found.rows[-1]["missing"]) == (10, 590)
    with pytest.raises(DataError, match="no column 'Mr'"):
        checked({name: column for name, column in columns.items() if name != "Mr"}, content)


def test_a_long_table_is_counted_whole_and_its_sample_is_even(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "N_BYTES", 1 << 14)
    monkeypatch.setattr(catalogue_check, "N_SAMPLE", 100)
    n = 5000
    columns = {"Mr": 18 + np.arange(n) / 1000, "z": np.full(n, 0.3), "id": np.arange(n)}
    Table(columns).write(tmp_path / "t.csv")
    content = {"bands": {"r": "Mr"}, "redshift": "z", "id": "id"}
    found = catalogue_check.check(tmp_path / "t.csv", as_mapping(tmp_path, content))
    row = found.rows[0]
    assert (row["measured"], row["lowest"], row["highest"]) == (n, 18, pytest.approx(18 + (n - 1) / 1000))
    assert row["median"] == pytest.approx(18 + n / 2000, abs=0.05)


@pytest.mark.skipif(not GST.is_file(), reason="SDSS photometry is not here (shared/real_data/gst_photometry)")
def test_real_galaxies_with_one_inverse_variance_too_many(tmp_path):
    bands = {b: {"column": f"MODELFLUX[{k}]", "ivar": f"MODELFLUX_IVAR[{k}]"} for k, b in enumerate("ugriz")}
    content = {"bands": bands, "flux_zero_point": 22.5, "redshift": "Z"}
    found = catalogue_check.check(GST, as_mapping(tmp_path, content))
    assert (found.n, found.warnings) == (10_000, [])
    assert {row["column"]: row["measured"] for row in found.rows}["du"] == 9988  # twelve have no light in u
    bands["r"] = {"column": "MODELFLUX[2]", "error": "MODELFLUX_IVAR[2]"}
    (warning,) = catalogue_check.check(GST, as_mapping(tmp_path, content)).warnings
    assert warning.startswith("r: its errors fall where they should rise")


def test_the_command(companion, tmp_path):
    columns = survey()
    Table(columns).write(tmp_path / "t.csv")
    answer = companion("data", "check", "5", tmp_path / "t.csv", "--mapping", as_mapping(tmp_path, MAGNITUDES))
    status, out, message = answer
    assert (status, message) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == "column in the file measured undetected missing lowest median highest".split()
    assert lines[1].split()[:2] == ["g", "Mg"]
    assert lines[-1] == "600 objects, no warnings"
    columns["z"][0] = -9
    Table(columns).write(tmp_path / "t.csv", overwrite=True)
    status, out, message = companion("data", "check", "5", tmp_path / "t.csv", "--mapping", tmp_path / "mine.yaml")
    assert status == 2
    assert "! zb_1: 1 row would be refused" in out
    assert "row 1, column 'z': the redshift is -9" in message
