"""Claims: what a notebook may record, how its numbers are judged, and what results.json holds."""

import json
import subprocess

import astropy.units as u
import matplotlib
import numpy as np
import pytest
from astropy.table import Table
from hypothesis import given
from hypothesis import strategies as st

from paper_utils.base import hashes, paths
from paper_utils.base.errors import ProfileError
from paper_utils.runs import claims, shown

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

SHARED = paths.ROOT.parent / "shared" / "claims.csv"
FINITE = st.floats(allow_nan=False, allow_infinity=False)
PART = st.integers() | FINITE | st.text() | st.tuples(FINITE, FINITE, FINITE).map(lambda x: (x[0], *sorted(x[1:])))


def study(folder, **options):
    return claims.Study("01", output=folder, **{"profile": "quick", "device": "cpu", "seed": 3} | options)


def record_all(book):
    """Give every id of the study what its kind asks for."""
    figure, axes = plt.subplots()
    axes.plot([1, 2])
    for id, row in book.known.items():
        if row["kind"] == "figure":
            book.figure(id, figure, id)
        if row["kind"] == "table":
            book.table(id, Table({"a": [1, 2]}), id)
        if row["rule"] or row["kind"] not in ("figure", "table"):
            book.claim(id, "not measured in this test")
    return book


def test_results_hold_what_was_recorded(tmp_path):
    book = record_all(study(tmp_path))
    book.claim("m.t3.logglo.proj", {"share": (np.float32(77.5), np.float64(73), 85), "n": np.int64(100)}, seeds=3)
    results = json.loads(book.write().read_text())
    assert {key: results[key] for key in ("study", "profile", "device", "seed")} == {
        "study": "01",
        "profile": "quick",
        "device": "cpu",
        "seed": 3,
    }
    entry = next(entry for entry in results["claims"] if entry["id"] == "m.t3.logglo.proj")
    parts = {"share": [77.5, 73, 85], "n": 100}
    assert entry == {"id": entry["id"], "parts": parts, "status": "holds", "seeds": 3, "note": ""}
    assert results["artefacts"]["m.fig7"] == "m.fig7.png"
    assert results["wall_s"] >= 0
    assert all((tmp_path / name).stat().st_size for name in results["artefacts"].values())


def test_write_refuses_while_ids_are_missing_and_names_them_all(tmp_path):
    book = record_all(study(tmp_path))
    del book.claims["m.data"], book.artefacts["m.fig5"], book.artefacts["m.bands"]
    with pytest.raises(ProfileError, match=r"3 of its ids unrecorded: m\.bands, m\.data, m\.fig5$"):
        book.write()
    assert not (tmp_path / "results.json").exists()


def test_a_number_does_not_stand_in_for_a_figure(tmp_path):
    book = record_all(study(tmp_path))
    del book.artefacts["m.fig5"]
    book.claim("m.fig5", 1.0)
    with pytest.raises(ProfileError, match=r"m\.fig5"):
        book.write()


def test_a_table_with_a_rule_needs_its_numbers_too(tmp_path):
    book = record_all(study(tmp_path))
    del book.claims["m.bands"]
    with pytest.raises(ProfileError, match=r"1 of its ids unrecorded: m\.bands$"):
        book.write()


def test_unknown_id_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(ProfileError, match=r"m\.t3\.loglo\.proj.*m\.t3\.logglo\.proj"):
        study(tmp_path).claim("m.t3.loglo.proj", 1)
    study(tmp_path).claim("x.anything", 1)


@pytest.mark.parametrize(
    "part",
    [float("nan"), np.inf, (1.0, np.nan, 2.0), (1.0, 3.0, 2.0), [1.0, 2.0], {"a": object()}, {"a": [1]}, b"bytes",
     None, True, np.array([1.0, np.inf, 2.0])],
)  # fmt: skip
def test_what_is_no_result_is_refused(tmp_path, part):
    book = study(tmp_path)
    with pytest.raises(ProfileError, match=r"m\.t3\.glo\.reg"):
        book.claim("m.t3.glo.reg", part)
    assert book.claims == {}


@given(parts=PART | st.dictionaries(st.text(), PART, max_size=3))
def test_values_survive_the_file(tmp_path_factory, parts):
    book = study(tmp_path_factory.mktemp("values"))
    book.known = {}
    book.claim("x.value", parts)
    (entry,) = json.loads(book.write().read_text())["claims"]
    expected = parts if isinstance(parts, dict) else {"value": parts}
    assert entry["parts"] == {name: list(part) if isinstance(part, tuple) else part for name, part in expected.items()}
    assert entry["status"] == "reported"
    assert "x.value" in str(book.show())


def test_numbers_that_a_rule_needs_and_misses_are_listed(tmp_path):
    book = study(tmp_path)
    with pytest.raises(ProfileError, match=r"m\.t4: .* needs amse_20, amse_30, amse_40, amse_50; amse_50 not recorded"):
        book.claim("m.t4", {"amse_20": 4, "amse_30": 3, "amse_40": 2})
    # Where they cannot be had the reason stands in their place, and nothing is judged.
    book.claim("m.t4", "this file has no other dimensions")
    assert book.claims["m.t4"]["status"] == "reported"


def test_figures_are_fit_for_print_and_closed(tmp_path):
    book = study(tmp_path)
    figure, axes = plt.subplots(figsize=(6, 4))
    axes.plot([1, 2])
    shown = book.figure("m.fig3", figure, "fig3", "Most have chi2 = 1.")
    height, width, _ = plt.imread(tmp_path / "fig3.png").shape
    # 300 dots per inch over one journal column of 3.5 inches.
    assert width > 1000
    assert height > 600
    assert not plt.fignum_exists(figure.number)
    data, about = shown._repr_mimebundle_()
    assert data["image/png"]
    assert about["image/png"]["alt"] == "Most have chi2 = 1."
    _, about = book.figure("m.fig4", figure, "fig4")._repr_mimebundle_()
    assert about["image/png"]["alt"] == "histogram of chi2 for those below 5"  # of claims.csv


def test_a_figure_that_cannot_be_drawn_leaves_nothing(tmp_path):
    figure, axes = plt.subplots()
    axes.set_title("$\\nonsense$")
    with pytest.raises(ValueError, match="nonsense"):
        study(tmp_path).figure("m.fig3", figure, "fig3")
    assert list(tmp_path.iterdir()) == []
    plt.close(figure)


def test_two_artefacts_cannot_share_an_id(tmp_path):
    book = study(tmp_path)
    book.table("m.bands", Table({"a": [1]}), "bands")
    with pytest.raises(ProfileError, match="bands.csv"):
        book.table("m.bands", Table({"a": [1]}), "other")
    book.table("m.bands", Table({"a": [2]}), "bands")


def test_tables_carry_their_units_and_few_digits(tmp_path):
    table = Table({"wave": np.float32([1.23456789, 23456.5]) * u.um, "name": ["a|b", "c"], "n": [1, 446343]})
    table["missing"] = [np.nan, 0.000123456]
    book = study(tmp_path)
    assert str(book.table("m.bands", table, "bands")).splitlines() == [
        "| wave [um] | name | n | missing |",
        "| ---: | --- | ---: | ---: |",
        "| 1.23 | a\\|b | 1 | – |",
        "| 23456 | c | 446343 | 0.000123 |",
    ]
    # The file keeps what single precision holds.
    lines = ["wave [um],name,n,missing", "1.234568,a|b,1,nan", "23456.5,c,446343,0.000123456"]
    assert (tmp_path / "bands.csv").read_text().splitlines() == lines
    assert table.colnames == ["wave", "name", "n", "missing"]
    assert "| 1.235 |" in str(book.table("m.bands", table, "bands", digits=4))


def test_tables_from_rows_and_long_ones(tmp_path):
    text = str(study(tmp_path).table("x.rows", [{"a": 1}, {"a": 2, "b": "text"}], "rows"))
    assert text.splitlines()[2:] == ["| 1 | – |", "| 2 | text |"]
    text = str(study(tmp_path).table("x.long", {"a": range(1000), "b": range(1000)}, "long"))
    assert text.splitlines()[-1] == "| … 1000 rows in all |  |"
    assert len((tmp_path / "long.csv").read_text().splitlines()) == 1001


def test_claims_are_shown_beside_theirs(tmp_path):
    book = study(tmp_path)
    shown = book.claim("m.t3.logglo.proj", {"amse": 0.123456, "share": (77, 73, 84)}, seeds=3)
    assert str(shown) == "holds: amse 0.1235; share 77 [73, 84] (published: 0.19 / 72)"
    line = next(line for line in str(book.show()).splitlines() if "logGLO" in line)
    assert line == "| logGLO + projection (Table 3) | 0.19 / 72 | holds: amse 0.1235; share 77 [73, 84] |"


def test_results_of_our_own_stand_beside_nothing_published(tmp_path):
    assert str(study(tmp_path).claim("x.ridge", (81, 79, 83))) == "81 [79, 83]"


@given(value=st.floats(1e-3, 1e5) | st.floats(-1e5, -1e-3), digits=st.integers(1, 6))
def test_ordinary_numbers_are_shown_without_an_exponent(value, digits):
    text = shown.number(value, digits)
    assert "e" not in text
    assert float(text) == pytest.approx(value, rel=10.0 ** (1 - digits))


def test_digits_of_whole_numbers_are_not_dropped():
    assert [shown.number(x, 2) for x in (99.7, 100.0, 1200.0, 0.00123, 2e-5, 3e9)] == [
        "100", "100", "1200", "0.0012", "2e-05", "3e+09"]  # fmt: skip


def test_the_list_of_claims_is_the_one_that_was_agreed():
    if not SHARED.is_file():
        pytest.skip("the agreed list of claims is not here (shared/claims.csv)")
    assert (paths.DATA / "claims.csv").read_bytes() == SHARED.read_bytes()


def test_published_rows_are_whole():
    assert len(claims.published("01")) == 22
    for row in claims.published().values():
        assert tuple(row) == claims.FIELDS
        assert None not in row.values()


def test_commit_tells_of_uncommitted_changes(tmp_path, monkeypatch):
    def git(*arguments):
        subprocess.run(
            ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments], check=True
        )

    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert hashes.commit() == "unknown"
    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "--message", "first")
    clean = hashes.commit()
    assert len(clean) >= 7
    assert not clean.endswith("+")
    (tmp_path / "new").touch()
    assert hashes.commit() == clean + "+"
