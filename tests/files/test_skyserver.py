"""Study 3's query: which objects it selects, asked of a small database; `companion data get` for lists of objects."""

import re
import sqlite3
import sys
import types

import pytest
from astropy.table import Table

from paper_utils.base.errors import DataError
from paper_utils.files import fetch, objects, panstarrs, sdss, skyserver
from paper_utils.runs import cli

SQL = skyserver.SAMPLE.read_text(encoding="utf-8")
TABLE_OF = {"S": "SpecObj", "P": "PhotoObjAll", "Z": "zooSpec", "CD": "stellarMassFSPSGranWideDust",
            "CND": "stellarMassFSPSGranWideNoDust", "M": "stellarMassPassivePort"}  # fmt: skip
GOOD = {
    "S": {"class": "GALAXY", "instrument": "SDSS", "z": 0.1, "plate": 266, "mjd": 51602, "fiberID": 1},
    "P": {"mode": 1, "flags_r": 0x10000000, "psfmagerr_r": 0.1, "ra": 150.0, "dec": 2.0},
}
SPOILT = {
    "a star": ("S", "class", "STAR"),
    "secondary": ("P", "mode", 2),
    "near": ("S", "z", 0.04),
    "far": ("S", "z", 0.16),
    "BOSS": ("S", "instrument", "BOSS"),
    "PEAKCENTER": ("P", "flags_r", 0x10000020),
    "NOTCHECKED": ("P", "flags_r", 0x10080000),
    "PSF_FLUX_INTERP": ("P", "flags_r", 0x800010000000),
    "INTERP_CENTER": ("P", "flags_r", 0x100010000000),
    "not BINNED1": ("P", "flags_r", 0),
    "SATURATED": ("P", "flags_r", 0x10040000),
    "NOPROFILE": ("P", "flags_r", 0x10000080),
    "no radius": ("P", "petroRad_i", -9999.0),
    "too large": ("P", "petroR90_u", 25.0),
    "no magnitude": ("P", "cmodelMag_z", -9999.0),
}


@pytest.fixture
def database(monkeypatch):
    """The query's tables with the columns that it names, behind an astroquery that asks them, and `add` for objects."""
    columns = {alias: {"specobjid": "specObjID"} for alias in TABLE_OF} | {"P": {"objid": "objID"}}
    for alias, column in re.findall(r"\b([A-Z]+)\.(\w+)", re.sub(r"--.*", "", SQL)):
        columns[alias].setdefault(column.casefold(), column)
    base = sqlite3.connect(":memory:", isolation_level=None)
    for alias, table in TABLE_OF.items():
        base.execute(f"CREATE TABLE {table} ({', '.join(columns[alias].values())})")

    def add(number, *changes):
        for alias, table in TABLE_OF.items():
            row = dict.fromkeys(columns[alias].values(), 10.0) | GOOD.get(alias, {})
            row |= {name: number for name in row if name.casefold() in ("specobjid", "objid", "bestobjid")}
            row |= {name: value for where, name, value in changes if where == alias}
            marks = ", ".join("?" * len(row))
            base.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", list(row.values()))

    asked = []

    def query_sql(sql, data_release, timeout):
        asked.append(sql)
        found = base.execute(sql)
        rows = found.fetchall()
        return Table(rows=rows, names=[column[0] for column in found.description]) if rows else None

    module = types.ModuleType("astroquery.sdss")
    module.SDSS = types.SimpleNamespace(query_sql=query_sql)
    monkeypatch.setitem(sys.modules, "astroquery", types.ModuleType("astroquery"))
    monkeypatch.setitem(sys.modules, "astroquery.sdss", module)
    return types.SimpleNamespace(add=add, asked=asked)


def test_the_query_selects_what_the_paper_says(database):
    database.add(1)
    database.add(2, ("P", "flags_r", 0x400010000000), ("P", "psfmagerr_r", 0.3))  # DEBLEND_NOPEAK, low S/N
    database.add(3, ("P", "flags_r", 0x400010000000))  # DEBLEND_NOPEAK, high S/N
    for number, change in enumerate(SPOILT.values(), start=10):
        database.add(number, change)
    assert skyserver.query(SQL)["specObjID"].tolist() == [1, 3]


def test_slices_hold_every_object_once_and_are_kept(database, tmp_path, monkeypatch):
    redshifts = [0.05, 0.0599, 0.06, 0.075, 0.085, 0.095, 0.1, 0.115, 0.125, 0.1399, 0.1499, 0.15]
    for fiber, z in enumerate(redshifts, start=1):
        database.add(266 << 50 | fiber << 38 | 1602 << 24 | 26 << 10, ("S", "z", z), ("S", "fiberID", fiber))
    path = skyserver.get(tmp_path)
    assert len(database.asked) == 10
    table = Table.read(path)
    assert table["z"].tolist() == redshifts
    # What comes can be asked for as spectra and as stamps.
    assert objects.read(path)["spectrum"].tolist() == [f"0266-51602-{i:04d}" for i in range(1, 13)]
    assert objects.read(path)["ra"].tolist() == [150.0] * 12
    path.unlink()
    (tmp_path / ".slices" / "z_0.070.ecsv").unlink()
    assert skyserver.get(tmp_path) == path
    assert len(database.asked) == 11
    assert Table.read(path)["z"].tolist() == redshifts
    skyserver.get(tmp_path)
    assert len(database.asked) == 11


def test_a_query_that_fails_says_why(database, monkeypatch):
    with pytest.raises(DataError, match="the query has no rows"):
        skyserver.query(SQL)
    with pytest.raises(DataError, match=r"not answered \(no such table: nowhere\)"):
        skyserver.query("SELECT z FROM nowhere")
    monkeypatch.setitem(sys.modules, "astroquery.sdss", None)
    with pytest.raises(DataError, match=r"not installed.*pip install astroquery.*doorenbos2024\.sql"):
        skyserver.query(SQL)


def test_get_hands_objects_to_their_archives(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(sdss, "get", lambda rows, folder: asked.append((sorted(rows), folder)))
    monkeypatch.setattr(panstarrs, "get", lambda table, folder: asked.append((table, folder)) or folder)
    table = tmp_path / "mine.csv"
    table.write_text(f"id,specObjID,ra,dec\na,{266 << 50 | 7 << 38 | 1602 << 24},150,2\nb,,151,2\n")
    to = tmp_path / "to"
    assert fetch.get("sdss-spectra", table, to) == fetch.get("panstarrs", table, to) == to
    assert asked == [([["0266", "51602", "0007"]], to / "spectra"), (table, to)]
    for name, given_table, message in (
        ("panstarrs", None, "--objects TABLE with id, ra and dec"),
        ("sdss-query", table, "Leave --objects out"),
    ):
        with pytest.raises(DataError, match=message):
            fetch.get(name, given_table, to)
    table.write_text("id,ra,dec\na,150,2\n")
    with pytest.raises(DataError, match="no object has a plate, mjd and fibre"):
        fetch.get("sdss-spectra", table, to)


def test_the_command_line_gets_and_checks(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fetch, "get", lambda name, table, to: to or "the cache")
    with pytest.raises(SystemExit) as ended:
        cli.app(["data", "get", "panstarrs", "--objects", str(tmp_path / "mine.csv"), "--to", str(tmp_path)])
    assert not ended.value.code
    assert str(tmp_path) in capsys.readouterr().out.replace("\n", "")
    for study, message in (("03", "no such file or folder"), ("4", "no such file or folder")):
        with pytest.raises(SystemExit) as ended:
            cli.app(["data", "check", study, str(tmp_path / "nowhere")])
        assert ended.value.code == 2
        assert message in capsys.readouterr().err
