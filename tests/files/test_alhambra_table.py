"""Catalogues as people keep them: every table comes back as it was written, or is refused with row and column."""

import csv
import gzip
import io
import json
import re
import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.table import MaskedColumn, Table
from conftest import PARAMETERS, Loopback, serving, write_notebook
from hypothesis import example, given, settings
from hypothesis import strategies as st

from paper_utils.base import paths
from paper_utils.base.columns import alhambra_columns
from paper_utils.base.errors import DataError
from paper_utils.files import alhambra_table, magnitudes, mapping, tables
from paper_utils.files.user import check_file
from paper_utils.runs import cli

SHARED = paths.ROOT.parent / "shared"
THESIS, GST = SHARED / "papers/5_cacho2020_alhambra_dnn.txt", SHARED / "real_data/gst_photometry/gst_tests_small.fits"
NAMES = [column.name for column in alhambra_columns()]
UGR = {"bands": ["u", "g", "r"], "redshift": "z"}
F32 = st.floats(-50, 50, width=32).filter(lambda value: np.float32(value) not in magnitudes.MARKS)


def catalogue(n=120, seed=0, **change):
    """Columns of an ALHAMBRA table as text; `change` replaces or (None) drops some."""
    rng = np.random.default_rng(seed)
    columns = {"id": np.arange(n) + 1, "objID": 814110100000 + np.arange(n)}
    for column in alhambra_columns()[2:]:
        low, high = {"magnitude": (18, 26), "place": (1, 8), "redshift": (0.01, 1.5)}.get(column.kind, (0, 1))
        values = rng.uniform(low, high, n)
        columns[column.name] = values.astype(int) if column.kind in ("place", "flag") else values.round(4)
    columns |= change
    return {name: [str(value) for value in values] for name, values in columns.items() if values is not None}


def write(path, columns, delimiter=",", end="\n", header="", quoted=False):
    text = io.StringIO(newline="")
    text.write(header)
    style = csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
    out = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=style)
    out.writerow(columns)
    out.writerows(zip(*columns.values(), strict=True))
    content = text.getvalue().encode()
    path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)
    return path


def as_mapping(folder, content=None):
    path = Path(folder, "mine.yaml")
    path.write_text(yaml.safe_dump(content or UGR))
    return path


def ugr(n=3, **change):
    columns = {name: [f"{20 + i}" for i in range(n)] for name in "ugr"} | {"z": [f"0.{i + 1}" for i in range(n)]}
    return {name: values for name, values in (columns | change).items() if values is not None}


def refused(path, *message, **options):
    with pytest.raises(DataError) as caught:
        alhambra_table.read(path, **options)
    for text in [Path(path).name, *message]:
        assert text in str(caught.value)
    return caught.value


def attempt(read, *arguments):
    """What it returns or the DataError that it raises; others pass through."""
    try:
        return read(*arguments)
    except DataError as error:
        return error


def test_the_columns_are_those_of_the_thesis():
    roles = [column.role for column in alhambra_columns()]
    # 2 identifiers, 3 places, 4 coordinates, 10 shapes and flags of the detection; 24 bands and the 3 arcsec aperture
    # with an error each; its correction and 4 flags.
    assert roles.count("input") == 2 + 3 + 4 + 10 + 1 + 2 * 25 + 1 + 4 == 75
    assert len(set(NAMES)) == len(NAMES) == 84
    bands = [column for column in alhambra_columns() if column.kind == "magnitude"]
    assert len(bands) == 24
    assert all(column.wavelength_um == int(column.name[1:4]) / 1000 for column in bands if column.name[0] == "F")
    if not THESIS.is_file():
        pytest.skip("the thesis is not here (shared/papers)")
    text = THESIS.read_text()
    listing = text[text.index("filters = ['id'") : text.index("parameters = ['Stellar_Flag']")]
    assert [c.name for c in alhambra_columns() if c.role == "input"] == re.findall(r"'(\w+)'", listing)
    nominal = [int(word) for word in re.findall(r"\d+", text[text.index("wavelengths = [") :].split("]")[0])]
    assert sorted(round(column.wavelength_um * 1e4, 6) for column in bands) == nominal
    labels = {column.name for column in alhambra_columns() if column.role == "label"}
    assert labels == {"Stellar_Flag", *re.findall(r"output_data_norm.loc\[:, '(\w+)'\]", text)}


def test_published_layout(tmp_path):
    columns = catalogue(F365W=["99.0", "-99.0"] * 60, odds_1=None, Satur_Flag=["0"] * 120, extra=["text"] * 120)
    read = alhambra_table.read(write(tmp_path / "alhambra.csv.gz", columns))
    assert read.table.colnames == [name for name in NAMES if name != "odds_1"]
    assert read.bands.tolist() == [column.name for column in alhambra_columns() if column.kind == "magnitude"]
    assert read.ids[0] == "814110100000"
    assert read.truth is None
    kinds = {name: read.table[name].dtype for name in ("objID", "photoflag", "RAdeg", "F396W", "zb_1")}
    assert kinds == {"objID": "i8", "photoflag": "i8", "RAdeg": "f8", "F396W": "f4", "zb_1": "f4"}
    assert str(read.table["fwhm"].unit) == "arcsec"
    assert np.unique(read.table["F365W"]).tolist() == [-99, 99]
    for name in ("RAdeg", "F396W", "zb_1", "M_ABS_1"):
        np.testing.assert_array_equal(read.table[name], np.array(columns[name], read.table[name].dtype))
    again = alhambra_table.read(read.save(tmp_path / "saved.h5"))
    assert again.content_hash() == read.content_hash()


@given(
    values=st.lists(st.lists(F32, min_size=3, max_size=3), min_size=1, max_size=30),
    ids=st.lists(
        st.text("abc 0123456789,;|'\"é", min_size=1).filter(lambda t: t == t.strip()), min_size=30, unique=True
    ),
    delimiter=st.sampled_from(",;\t|"),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    gz=st.booleans(),
    header=st.sampled_from(["", "\ufeff", "# a catalogue\n# of galaxies\n"]),
    quoted=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_every_table_comes_back(values, ids, delimiter, end, gz, header, quoted):
    """Whatever the dialect, values are those that float32 has of what was written, and names are kept."""
    n = len(values)
    columns = {name: [repr(row[k]) for row in values] for k, name in enumerate("ugr")}
    columns |= {"name": ids[:n], "z": ["0.1"] * n, "unused": ["a text"] * n}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "table.csv.gz" if gz else "table.csv")
        write(path, columns, delimiter, end, header, quoted)
        read = alhambra_table.read(path, as_mapping(folder, UGR | {"id": "name"}))
    assert read.ids.tolist() == ids[:n]
    np.testing.assert_array_equal(np.array([read.table[band] for band in "ugr"]).T, np.array(values, np.float32))
    assert read.table.colnames == ["u", "g", "r", "zb_1"]


@pytest.mark.parametrize("n", [3, 8192, 16385])
@pytest.mark.parametrize("how", ["plain", "gaps", "quotes", "white space"])
def test_ways_of_parsing_agree_and_rows_keep_their_order(tmp_path, how, n, monkeypatch):
    """Numbers alone, with gaps, with quotes or parted by white space go different ways through the parser."""
    monkeypatch.setattr(tables, "N_BYTES", 1 << 16)  # many blocks
    values = np.random.default_rng(0).uniform(15, 25, (3, n)).round(3)
    columns = {band: [str(value) for value in row] for band, row in zip("ugr", values, strict=True)}
    columns["z"] = [str(i % 1000 / 1000) for i in range(n)]
    if how == "gaps":
        columns["u"][-1] = columns["g"][-1] = columns["z"][1] = ""
        values[:2, -1] = -99
    text = write(tmp_path / "t.csv", columns, quoted=how == "quotes").read_text()
    if how == "white space":
        (tmp_path / "t.csv").write_text(re.sub(",", "   ", "  " + text.replace("\n", "  \n ")))
    read = alhambra_table.read(tmp_path / "t.csv", as_mapping(tmp_path))
    np.testing.assert_array_equal([read.table[band] for band in "ugr"], values.astype(np.float32))
    assert read.ids[[0, -1]].tolist() == ["1", str(n)]
    assert read.table["zb_1"][1] == np.float32(-99 if how == "gaps" else 0.001)


@pytest.mark.parametrize(
    ("cell", "magnitude", "redshift", "position"),
    [
        ("", -99, -99, -99),
        ("NaN", -99, -99, -99),
        ("null", -99, -99, -99),
        ("N/A", -99, -99, -99),
        ("--", -99, -99, -99),
        ("-9.99", -99, -99, -9.99),  # a declination may be
        ("-99", -99, -99, -99),
        ("-99.0", -99, -99, -99),
        ("-9999", -99, -99, -9999),
        ("99", 99, 99, 99),
        ("99.99", 99, None, 99.99),
        ("inf", 99, -99, -99),
        ("-inf", -99, -99, -99),
        ("1e300", 99, -99, 1e300),
    ],
)
def test_marks_become_the_surveys(tmp_path, cell, magnitude, redshift, position):
    row = [cell, *["1"] * 119]
    read = alhambra_table.read(write(tmp_path / "t.csv", catalogue(F365W=row, DECdeg=row)))
    assert [read.table["F365W"][0], read.table["DECdeg"][0]] == [np.float32(magnitude), position]
    path = write(tmp_path / "z.csv", catalogue(zb_1=row, chi2_1=row))
    if redshift is None:
        refused(path, "row 1, column 'zb_1'", "the redshift is 99.99")
    else:
        read = alhambra_table.read(path)
        assert read.table["zb_1"][0] == redshift
        assert read.table["chi2_1"][0] == (99 if redshift == -99 else np.float32(cell))


def test_a_blank_place_is_marked_and_a_blank_identifier_refused(tmp_path):
    row = ["", *["1"] * 119]
    assert alhambra_table.read(write(tmp_path / "t.csv", catalogue(CCD=row))).table["CCD"][0] == -99
    refused(write(tmp_path / "t.csv", catalogue(id=row)), "row 1, column 'id'", "no value")
    refused(write(tmp_path / "t.csv", catalogue(objID=row)), "row 1, column 'objID'")
    refused(
        write(tmp_path / "t.csv", catalogue(CCD=["1", "2.5", *row[2:]])), "row 2, column 'CCD'", "2.5 is not a whole"
    )


def test_dirty_tables(tmp_path):
    """Each names the file, the row from 1 and the column, and says what to do."""
    good = catalogue()
    path = tmp_path / "dirty.csv"

    def spoilt(name, row, value):
        values = list(good[name])
        values[row - 1] = value
        return write(path, good | {name: values})

    refused(spoilt("F675W", 7, "bright"), "row 7, column 'F675W'", "'bright' is not a number", "Correct the cell")
    refused(spoilt("F675W", 7, "21,5"), "row 7, column 'F675W'", "'21,5'", "decimal point")
    refused(spoilt("F675W", 7, "2_1"), "row 7, column 'F675W'")
    refused(spoilt("objID", 9, good["objID"][1]), "row 9, column 'objID'", "stands in row 2 already", "drop repeats")
    refused(spoilt("zb_1", 3, "-1"), "row 3, column 'zb_1'", "the redshift is -1", "`missing:`")
    refused(write(path, catalogue(F706W=None)), "no column 'F706W'", "dF706W", "mapping")
    refused(write(path, catalogue(n=0)), "no rows", "at least one")
    columns = list(good)
    columns[columns.index("F396W")] = "F365W"
    text = write(path, good).read_text()
    lines = text.splitlines()
    path.write_text("\n".join([",".join(columns), *lines[1:]]))
    refused(path, "column 'F365W': 2 columns are called so", "Rename")
    path.write_text("\n".join([lines[0], *(line.replace(",", ";") for line in lines[1:])]))
    refused(path, "row 1", "the row has 1 cells, the header 84 (comma between them)")
    path.write_text("\n".join(lines[1:]))
    refused(path, "no header", "id, objID", "A first line names the columns")
    path.write_text("\n".join([*lines[:50], lines[50] + ",5", *lines[51:]]))
    refused(path, "row 50", "the row has 85 cells")
    path.write_text(text[: len(text) // 2].rsplit(",", 1)[0])
    refused(path, "cells, the header 84", "if it was cut")
    path.write_text(text.replace(lines[4], '"' + lines[4]))
    refused(path, "row 4")
    for content in ("", " \n\n", "\0\0\0", "PK\x03\x04 a zip file", "a" * 200_000):
        path.write_text(content)
        refused(path)
    refused(tmp_path / "absent.csv", "no such file")
    refused(tmp_path, "a folder")


def test_capitals_and_extra_columns_do_not_matter(tmp_path):
    """The survey's own files write zb_Min_1, Tb_1, M_Abs_1 and have many more columns."""
    columns = {
        {"zb_min_1": "zb_Min_1", "tb_1": "Tb_1", "M_ABS_1": "M_Abs_1"}.get(k, k): v for k, v in catalogue().items()
    }
    path = write(tmp_path / "t.cat", columns | {"irms_J": ["?"] * 120}, delimiter="\t", header="# ")
    assert alhambra_table.read(path).table.colnames == NAMES


@given(cut=st.floats(0, 1, exclude_max=True))
@settings(max_examples=40, deadline=None)
def test_a_gzipped_file_cut_anywhere_is_refused(tmp_path_factory, cut):
    folder = tmp_path_factory.getbasetemp() / "cut"
    folder.mkdir(exist_ok=True)
    whole = folder / "whole.csv.gz"
    if not whole.exists():
        write(whole, catalogue())
    content = whole.read_bytes()
    path = folder / "part.csv.gz"
    path.write_bytes(content[: int(cut * len(content))])
    refused(path)


@given(
    data=st.data(),
    n=st.integers(0, 4),
    suffix=st.sampled_from([".csv", ".csv.gz", ".txt", ".ecsv", ".fits", ".h5"]),
    mapped=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_random_dirt_gives_a_catalogue_or_a_data_error(data, n, suffix, mapped):
    """Any bytes, any cells in place of some, any piece of a good file cut out or replaced."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"dirt{suffix}")
        columns = ugr(n)
        if suffix in (".ecsv", ".fits"):
            Table({name: np.array(values, float) for name, values in columns.items()}).write(path)
        else:
            cells = st.one_of(
                st.text(max_size=6), st.floats().map(str), st.sampled_from(["", "99", "-9.99", "null", '"'])
            )
            for name in columns:
                columns[name] = [data.draw(cells | st.just(value)) for value in columns[name]]
            write(path, columns, data.draw(st.sampled_from(",;\t|")))
        content = bytearray(path.read_bytes())
        begin, length = data.draw(st.integers(0, len(content))), data.draw(st.integers(0, 40))
        content[begin : begin + length] = data.draw(st.binary(max_size=40))
        path.write_bytes(content)
        result = attempt(alhambra_table.read, path, as_mapping(folder) if mapped else None)
        assert path.name in str(result) if isinstance(result, DataError) else result.check()


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(content=st.dictionaries(st.sampled_from(mapping.KEYS) | st.text(max_size=4), json_like, max_size=4) | json_like)
@example(content={"bands": ["u"], "missing": [10**400]})
@settings(max_examples=300, deadline=None)
def test_any_yaml_is_a_mapping_or_refused(content):
    with tempfile.TemporaryDirectory() as folder:
        path = as_mapping(folder, {"bands": ["u"], **content} if isinstance(content, dict) else content)
        result = attempt(mapping.load, path)
        assert "mine.yaml" in str(result) if isinstance(result, DataError) else result.bands


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("bands: [u", "not a readable YAML"),
        ("[u, g]", "mine.yaml"),
        ("id: objid", "bands: there is no such key"),
        ("bands: [u]\nreshift: z", "reshift: no key is called so"),
        ("bands: {365: mag}", "365 is not a name"),
        ("bands: {u: {colum: x}}", "bands: u: colum: no key is called so"),
        ("bands: {u: {error: [blue]}}", "['blue'] is not a name"),
        ("bands: {u: a, du: b, g: {error: du}}\ncolumns: [u]", "two columns would be called 'u'"),
        ("bands: [u]\nlabels: {redshift: z}", "no label is called 'redshift'"),
        ("bands: [u]\nlabels: {F365W: z}", "no label is called 'F365W'"),
        ("bands: [u]\nredshift: z\nlabels: {zb_1: z}", "zb_1"),
        ("bands: [u]\nmissing: [[1]]", "missing"),
        ("bands: [u]\nflux_zero_point: yes", "flux_zero_point"),
        ("bands: {a/b: u}", "'/'"),
        ("bands: {u: {filter: [1]}}", "bands: u: filter"),
        ("bands: {u: {depth: deep}}", "bands: u: depth"),
        ("bands: [u]\ndetection: [u]", "detection"),
        ("bands: [u]\ndetection: {u: 20, g: 21}", "detection"),
        ("bands: [u]\ndetection: g", "detection: no band is called 'g'"),
    ],
)
def test_a_mapping_that_says_nothing_sensible_is_refused(tmp_path, content, message):
    (tmp_path / "mine.yaml").write_text(content)
    with pytest.raises(DataError, match="mine.yaml") as caught:
        mapping.load(tmp_path / "mine.yaml")
    assert message in str(caught.value)


SURVEY = {
    "u": {"error": "eu", "filter": "sdss_u0", "depth": 22.1},
    "g": {"error": "eg", "filter": [0.48, 0.14], "depth": 23},
}


def test_a_survey_is_its_curves_depths_and_limit(tmp_path):
    def asked(**content):
        path = as_mapping(tmp_path, {"bands": SURVEY} | content)
        return mapping.survey(mapping.load(path), path)

    seen, depth, found, limit = asked()
    assert depth == {"u": 22.1, "g": 23}
    assert (found, limit) == ("g", 23)  # the deepest
    np.testing.assert_allclose(seen["g"][0], [4100, 5500])  # Angstrom
    np.testing.assert_allclose(np.average(seen["u"][0], weights=seen["u"][1]), 3560, atol=20)
    assert asked(detection="u")[2:] == ("u", 22.1)
    assert asked(detection={"u": 20})[2:] == ("u", 20)
    (tmp_path / "mine.dat").write_text("4000 0\n4500 1\n5000 0\n")
    own = {"u": SURVEY["u"] | {"filter": "mine.dat"}}
    np.testing.assert_allclose(asked(bands=own)[0]["u"], [[4000, 4500, 5000], [0, 1, 0]])
    (tmp_path / "mine.dat").write_text("4000 0\n4500 0\n5000 nan\n")
    with pytest.raises(DataError, match="bands: u: the curve has no response"):
        asked(bands=own)
    for key in ("filter", "depth", "error"):
        band = {name: value for name, value in SURVEY["u"].items() if name != key}
        with pytest.raises(DataError, match=rf"bands: g: there is no `{key}`"):
            asked(bands={"u": SURVEY["u"], "g": band})
    with pytest.raises(DataError, match="bands: u: neither a file nor a curve of sedpy.*sdss_u0"):
        asked(bands={"u": SURVEY["u"] | {"filter": "sdss_u"}})


def test_the_mapping_of_the_readme(tmp_path):
    text = re.search(r"```yaml\n(bands.*?)```", (paths.DATA / "README.md").read_text(), re.DOTALL)[1]
    (tmp_path / "mine.yaml").write_text(text)
    n = 120
    columns = {f"psfMag_{band}": ["20.5"] * n for band in "ugr"} | {"petroRad_r": ["2"] * n, "sed_type": ["5.5"] * n}
    columns |= {"psfMagErr_u": ["0.1", "n.a."] * (n // 2), "psfMagErr_g": ["0.1"] * n, "z": ["0.1", "-1"] * (n // 2)}
    columns |= {"z_spec": ["", "0.2"] * (n // 2), "objID": [str(1237648720693755918 + i) for i in range(n)]}
    path = write(tmp_path / "mine.csv", columns)
    read = check_file("05", path, tmp_path / "mine.yaml")
    assert read.bands.tolist() == ["u", "g", "r"]
    assert read.table.colnames == ["u", "du", "g", "dg", "r", "petroRad_r", "zb_1", "tb_1"]
    assert read.ids[1] == "1237648720693755919"  # more digits than a float64 has
    assert read.table["du"][:2].tolist() == [np.float32(0.1), -99]
    assert read.table["zb_1"][:2].tolist() == [np.float32(0.1), -99]
    assert str(read.truth["z"][:2].tolist()) == "[nan, 0.2]"
    refused(path, "no column 'id'", "mapping")
    columns.pop("psfMag_r")
    refused(write(path, columns), "no column 'psfMag_r'", "Correct the mapping", mapping=tmp_path / "mine.yaml")


@pytest.mark.parametrize("suffix", [".fits", ".ecsv"])
def test_fits_and_ecsv_with_fluxes_in_vectors(tmp_path, suffix):
    """AB magnitudes of nanomaggies: 1 nanomaggy is 22.5; a flux error of 10 % is 0.1 * 2.5 / ln 10 mag."""
    n = 120
    flux = np.ones((n, 3), np.float32) * [1, 10, 100]
    flux[0, 0], flux[1, 1] = -0.5, np.nan
    table = Table({"FLUX": flux, "ERR": flux * 0.1, "Z": np.full(n, 0.1), "NAME": [f"g{i}" for i in range(n)]})
    table["TYPE"] = MaskedColumn(np.full(n, 3), mask=np.arange(n) == 4)
    path = tmp_path / f"table{suffix}"
    table.write(path)
    content = {"bands": {b: {"column": f"FLUX[{k}]", "error": f"ERR[{k}]"} for k, b in enumerate("ugr")}}
    content |= {"redshift": "Z", "id": "NAME", "labels": {"tb_1": "TYPE"}, "flux_zero_point": 22.5}
    read = check_file("05", path, as_mapping(tmp_path, content))
    assert [read.table[band][5] for band in "ugr"] == [22.5, 20, 17.5]
    assert read.table["dg"][5] == pytest.approx(0.1 * 2.5 / np.log(10))
    assert (read.table["u"][0], read.table["du"][0]) == (99, -99)
    assert (read.table["g"][1], read.table["dg"][1]) == (-99, -99)
    assert (read.table["tb_1"][4], read.table["tb_1"][5]) == (-99, 3)
    assert read.ids[7] == "g7"
    refused(path, "column 'FLUX[3]'", "FLUX[2]", mapping=as_mapping(tmp_path, {"bands": {"i": "FLUX[3]"}}))
    refused(path, "row 1, column 'NAME'", mapping=as_mapping(tmp_path, {"bands": {"i": "NAME"}}))
    with pytest.raises(DataError, match="no magnitude.*flux_zero_point"):
        check_file("05", path, as_mapping(tmp_path, {"bands": {"i": "FLUX[2]"}, "redshift": "Z"}))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_mapping_s_marks_are_met_in_any_precision(tmp_path, dtype):
    r, z = np.full(120, 20, dtype), np.full(120, 0.1)
    r[3] = -9.9
    path = tmp_path / "t.fits"
    Table({"R": r, "Z": z}).write(path)
    read = alhambra_table.read(path, as_mapping(tmp_path, {"bands": {"r": "R"}, "redshift": "Z", "missing": [-9.9]}))
    assert list(read.table["r"][2:4]) == [20, -99]


def test_what_the_study_cannot_use_is_refused(tmp_path):
    n = 120
    sound = {"g": ["20"] * n, "r": ["20"] * n, "z": ["0.1"] * n}
    empty = write(tmp_path / "a.csv", sound | {"u": ["99"] * n})
    for content, message in ((UGR, "no object has a magnitude"), ({"bands": ["g"]}, "no redshift to learn")):
        with pytest.raises(DataError, match=message):
            check_file("05", empty, as_mapping(tmp_path, content))
    with pytest.raises(DataError, match="no object has a redshift"):
        check_file("05", write(tmp_path / "b.csv", sound | {"u": sound["g"], "z": [""] * n}), as_mapping(tmp_path))
    with pytest.raises(DataError, match="3 objects are too few"):
        check_file("05", write(tmp_path / "c.csv", ugr()), as_mapping(tmp_path))
    with pytest.raises(DataError, match="study 01 takes no mapping"):
        check_file("01", empty, as_mapping(tmp_path))


def test_command_line(companion, tmp_path):
    path = write(tmp_path / "mine.csv", ugr(120, u=["20"] * 120, g=["20"] * 120, r=["20"] * 120, z=["0.5"] * 120))
    answer = companion("data", "check", "5", path, "--mapping", as_mapping(tmp_path))
    status, out, message = answer
    assert (status, message) == (0, "")
    assert out.splitlines()[1].split()[:4] == ["u", "u", "120", "0"]
    status, _, message = companion("data", "check", "5", path)
    assert status == 2
    assert "no header with any of the columns wanted" in message
    assert "mapping" in message
    # Study 02 through the same door.
    status, _, message = companion("data", "check", "2", tmp_path)
    assert status == 2
    assert "no FITS files here" in message


def test_reproduce_hands_the_mapping_to_the_notebook(tmp_path, shelf, capsys):
    write_notebook(
        shelf / "05_toy.ipynb",
        "from paper_utils.files import alhambra_table\nassert len(alhambra_table.read(DATA, MAPPING)) == 120",
        parameters=PARAMETERS + '\nMAPPING: str = ""',
    )
    (shelf / "profiles" / "05.yaml").write_text("quick: {n: 3}")
    path = write(tmp_path / "mine.csv", ugr(120, u=["20"] * 120, g=["20"] * 120, r=["20"] * 120, z=["0.5"] * 120))
    command = ["reproduce", "05", "--output", str(tmp_path / "out"), "--data", f"05={path}", "--mapping"]
    with pytest.raises(SystemExit) as ended:
        cli.app([*command, f"05={as_mapping(tmp_path)}"])
    assert not ended.value.code, capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli.app(["reproduce", "05", "--mapping", f"05={as_mapping(tmp_path)}"])
    assert ended.value.code == 2
    assert "--data 05=PATH" in capsys.readouterr().err


class Server(Loopback):
    """Serves `content`, of which it sends `breaks_after` bytes per answer, with or without ranges."""

    def __init__(self, content, breaks_after=10**9, ranges=True):
        super().__init__()
        self.content, self.breaks_after, self.ranges, self.wanted = content, breaks_after, ranges, []
        self.address = f"{self.base}/alhambra.csv.gz"

    def answer(self, path, headers):
        wanted = headers.get("Range")
        self.wanted.append(wanted)
        begin = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.ranges else 0
        if begin >= len(self.content):
            return 416, b"", {}
        left = {"Content-Length": str(len(self.content) - begin)}
        return 206 if begin else 200, self.content[begin : begin + self.breaks_after], left


@pytest.fixture
def serve(tmp_path):
    with ExitStack() as servers:

        def start(columns=None, **options):
            content = write(tmp_path / "source.csv.gz", columns or catalogue()).read_bytes()
            return servers.enter_context(serving(Server(content, **options)))

        yield start


FAST = {"wait_s": 0.01, "progress": False, "timeout_s": 5}


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_goes_on_where_it_was_broken_off(serve, tmp_path, ranges):
    server = serve(breaks_after=10_000, ranges=ranges)
    size = len(server.content)
    tries = -(-size // 10_000)
    assert tries > 2
    with pytest.raises(DataError, match="bytes came"):
        alhambra_table.get(tmp_path / "got", address=server.address, n_tries=2, **FAST)
    assert [file.name for file in (tmp_path / "got").iterdir()] == [".alhambra.csv.gz.part"]
    if not ranges:
        server.breaks_after = size
    path = alhambra_table.get(tmp_path / "got", address=server.address, n_tries=tries, **FAST)
    assert path.read_bytes() == server.content
    assert len(server.asked) == (tries if ranges else 3)
    assert server.wanted[1] == "bytes=10000-"
    assert len(alhambra_table.read(path)) == 120
    record = json.loads((tmp_path / "got/alhambra.csv.gz.json").read_text())
    assert (record["size"], record["address"]) == (size, server.address)


def test_a_download_is_known_by_its_record(serve, tmp_path):
    server = serve()
    path = alhambra_table.get(tmp_path, address=server.address, **FAST)
    alhambra_table.get(tmp_path, address=server.address, **FAST)
    assert len(server.asked) == 1
    spoilt = bytearray(server.content)
    spoilt[len(spoilt) // 2] ^= 1
    path.write_bytes(spoilt)
    alhambra_table.get(tmp_path, address=server.address, **FAST)
    assert path.read_bytes() == server.content
    # A part of another version does not get into the file.
    path.unlink()
    (tmp_path / ".alhambra.csv.gz.part").write_bytes(bytes(1000))
    alhambra_table.get(tmp_path, address=server.address, **FAST)
    assert path.read_bytes() == server.content
    path.unlink()
    (tmp_path / ".alhambra.csv.gz.part").write_bytes(bytes(len(server.content) + 1))
    alhambra_table.get(tmp_path, address=server.address, **FAST)
    assert path.read_bytes() == server.content
    path.unlink()
    with pytest.warns(UserWarning, match="is not the one of"):
        alhambra_table.get(tmp_path, address=serve(catalogue(seed=1)).address, **FAST)


def test_what_is_not_the_catalogue_is_not_kept(serve, tmp_path):
    server = serve({"a": ["1"], "b": ["2"]})
    with pytest.raises(DataError, match="not a whole file of its kind"):
        alhambra_table.get(tmp_path / "got", address=server.address, n_tries=2, **FAST)
    assert list((tmp_path / "got").iterdir()) == []


@pytest.mark.skipif(not GST.is_file(), reason="SDSS photometry is not here (shared/real_data/gst_photometry)")
def test_photometric_redshifts_of_real_galaxies(tmp_path, record_property):
    """10 000 SDSS galaxies from their ugriz magnitudes: trees beat a plane, which beats knowing the sample's mean."""
    from sklearn.dummy import DummyRegressor
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.linear_model import LinearRegression

    content = {"bands": {band: f"MODELFLUX[{k}]" for k, band in enumerate("ugriz")}, "redshift": "Z"}
    galaxies = check_file("05", GST, as_mapping(tmp_path, content | {"flux_zero_point": 22.5}))
    assert len(galaxies) == 10_000
    undetected = np.array(galaxies.table["u"]) == 99
    assert 0 < undetected.sum() < 100
    raw = Table.read(GST)
    np.testing.assert_array_equal(undetected, raw["MODELFLUX"][:, 0] <= 0)

    def split(part):
        magnitudes = np.clip([part.table[band] for band in part.bands], 0, 27).T.astype(float)
        return np.hstack([magnitudes, -np.diff(magnitudes)]), np.array(part.table["zb_1"], float)

    (x, z), (x_test, z_test) = map(split, galaxies.split(0, (0.7, 0.3)))
    sigma, outliers = {}, {}
    for model in (DummyRegressor(), LinearRegression(), HistGradientBoostingRegressor(random_state=0)):
        dz = (model.fit(x, z).predict(x_test) - z_test) / (1 + z_test)
        name = type(model).__name__
        sigma[name] = 1.4826 * np.median(np.abs(dz - np.median(dz)))
        outliers[name] = np.mean(np.abs(dz) > 0.05)
        record_property(name, f"sigma_MAD {sigma[name]:.4f}, |dz| / (1 + z) > 0.05: {100 * outliers[name]:.1f} %")
    mean, plane, trees = sigma.values()
    assert trees < 0.8 * plane < 0.5 * mean
    assert outliers["HistGradientBoostingRegressor"] < 0.1 * outliers["DummyRegressor"]
    # The main sample's photometric redshifts are good to some 0.02 (Collister & Lahav 2004, 2004PASP..116..345C).
    assert 0.01 < trees < 0.02
