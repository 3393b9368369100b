"""Claims: what a notebook may record, what results.json holds, and how the scoreboard reads it back."""

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
from paper_utils.base.errors import DataError, ProfileError
from paper_utils.runs import claims

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def study(folder, **options):
    return claims.Study("01", output=folder, **{"profile": "quick", "device": "cpu", "seed": 3} | options)


def record_all(book):
    """Give every id of the study what its kind asks for."""
    figure, axes = plt.subplots()
    axes.plot([1, 2])
    for id, row in book.known.items():
        if row["kind"] == "figure":
            book.figure(id, figure, id)
        elif row["kind"] == "table":
            book.table(id, Table({"a": [1, 2]}), id)
        else:
            book.claim(id, 1.0)
    return book


def test_results_hold_what_was_recorded(tmp_path):
    book = record_all(study(tmp_path))
    book.claim("m.t3.logglo.proj", np.float32(0.25), interval=(np.float64(0.1), 0.4), status="holds", note="n")
    results = json.loads(book.write().read_text())
    assert {key: results[key] for key in ("study", "profile", "device", "seed")} == {
        "study": "01",
        "profile": "quick",
        "device": "cpu",
        "seed": 3,
    }
    entry = next(entry for entry in results["claims"] if entry["id"] == "m.t3.logglo.proj")
    assert entry == {"id": entry["id"], "value": 0.25, "interval": [0.1, 0.4], "status": "holds", "note": "n"}
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


def test_unknown_id_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(ProfileError, match=r"m\.t3\.loglo\.proj.*m\.t3\.logglo\.proj"):
        study(tmp_path).claim("m.t3.loglo.proj", 1)
    with pytest.raises(ProfileError, match="hold.*holds"):
        study(tmp_path).claim("m.data", 1, status="hold")
    study(tmp_path).claim("x.anything", 1)


@pytest.mark.parametrize("value", [float("nan"), np.inf, [1.0, np.nan], {"a": object()}, b"bytes"])
def test_what_is_no_result_is_refused(tmp_path, value):
    with pytest.raises(ProfileError, match=r"m\.data"):
        study(tmp_path).claim("m.data", value)


@given(value=JSON)
def test_values_survive_the_file(tmp_path_factory, value):
    book = study(tmp_path_factory.mktemp("values"))
    book.known = {}
    book.claim("x.value", value)
    assert json.loads(book.write().read_text())["claims"][0]["value"] == value
    assert "x.value" in str(book.show())


def test_figures_are_fit_for_print_and_closed(tmp_path):
    book = study(tmp_path)
    figure, axes = plt.subplots(figsize=(6, 4))
    axes.plot([1, 2])
    assert book.figure("m.fig3", figure, "fig3") is figure
    height, width, _ = plt.imread(tmp_path / "fig3.png").shape
    # 300 dots per inch over one journal column of 3.5 inches.
    assert width > 1000
    assert height > 600
    assert not plt.fignum_exists(figure.number)


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


def test_tables_carry_their_units(tmp_path):
    table = Table({"wave": [1.5, 2.5] * u.um, "name": ["a", "b"]})
    assert study(tmp_path).table("m.bands", table, "bands") is table
    assert (tmp_path / "bands.csv").read_text().split() == ["wave", "[um],name", "1.5,a", "2.5,b"]
    assert table.colnames == ["wave", "name"]


def test_show_sets_ours_beside_theirs(tmp_path):
    book = study(tmp_path)
    book.claim("m.t3.logglo.proj", {"AMSE": 0.123456, "N": 77}, interval=(70, 84), status="holds")
    line = next(line for line in str(book.show()).splitlines() if "logGLO" in line)
    assert line == "| logGLO + projection (Table 3) | 0.19 / 72 | AMSE: 0.1235, N: 77 | [70, 84] | holds |"


def test_scoreboard_reads_each_profile_back(tmp_path):
    for profile, device, name, value in (
        ("paper", "cuda", "results.paper.json", 80),
        ("quick", "cpu", "results.json", 70),
    ):
        book = record_all(study(tmp_path / "01_midir", profile=profile, device=device))
        book.claim("m.t3.logglo.proj", value, status="holds")
        book.claim("x.ridge", value + 1, note="ridge regression")
        book.write().rename(tmp_path / "01_midir" / name)
    rows = {row["id"]: row for row in claims.scoreboard(tmp_path)}
    assert {name: run["value"] for name, run in rows["m.t3.logglo.proj"]["runs"].items()} == {"quick": 70, "paper": 80}
    assert rows["m.t3.logglo.proj"]["runs"]["paper"]["device"] == "cuda"
    assert rows["x.ridge"]["quantity"] == "ridge regression"
    text = claims.markdown(list(rows.values()), link="figures/")
    assert "| 0.19 / 72 | holds 70 | holds 80 |" in text
    assert "[m.fig7.png](figures/01_midir/m.fig7.png)" in text
    assert "quick ran on cpu" in text
    assert "m.fig7" not in claims.markdown(list(rows.values()), figures=False)


def test_another_run_has_a_column_where_it_says_something_else(tmp_path):
    # The quick run's own results.json last: each run writes that name first.
    runs = {"results.my_library.json": 90, "results.same.json": 99, "results.json": 99}
    for name, ridge in runs.items():
        book = record_all(study(tmp_path / "01_midir"))
        book.claim("m.t3.logglo.proj", 80)
        book.claim("x.ridge", ridge, note="ridge regression")
        book.write().rename(tmp_path / "01_midir" / name)
    header = claims.markdown(claims.scoreboard(tmp_path)).splitlines()[2]
    assert header == "| id | where | quantity | published | quick | paper | my library |"
    header = claims.markdown(claims.scoreboard(tmp_path), figures=False).splitlines()[2]
    assert header == "| id | where | quantity | published | quick | paper |"


def test_scoreboard_of_nothing_shows_what_is_published(tmp_path):
    rows = claims.scoreboard(tmp_path)
    assert all(row["runs"] == {} for row in rows)
    assert "quick has not been run" in claims.markdown(rows)


WITHOUT_NOTE = json.dumps(
    dict.fromkeys(("device", "seed", "commit", "wall_s", "study", "profile"), "")
    | {"artefacts": {}, "claims": [{"id": "m.t4", "value": 1, "interval": None, "status": "holds"}]}
)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"study": "01"}', "{broken", WITHOUT_NOTE])
def test_scoreboard_names_a_file_that_is_no_result(tmp_path, content):
    (tmp_path / "01_midir").mkdir()
    (tmp_path / "01_midir" / "results.json").write_text(content)
    with pytest.raises(DataError, match=r"01_midir.results\.json.*--fresh"):
        claims.scoreboard(tmp_path)


def test_published_rows_are_whole(tmp_path):
    assert len(claims.published("01")) == 22
    broken = tmp_path / "claims.csv"
    broken.write_text("id,study,where\n# a comment\nm.a,1,Table 1\n")
    with pytest.raises(ProfileError, match=r"m\.a"):
        claims.published(file=broken)


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
