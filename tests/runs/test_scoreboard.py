"""The scoreboard: each run's results read back and set beside what the papers publish."""

import json

import pytest
from test_claims import record_all, study

from paper_utils.base.errors import DataError
from paper_utils.runs import scoreboard


def test_scoreboard_reads_each_profile_back(tmp_path):
    for profile, device, name, value in (
        ("paper", "cuda", "results.paper.json", 80),
        ("quick", "cpu", "results.json", 75),
    ):
        book = record_all(study(tmp_path / "01_midir", profile=profile, device=device))
        book.claim("m.t3.logglo.proj", {"share": (value, 73, 90)}, seeds=3)
        book.claim("x.ridge", value + 1, note="ridge regression")
        book.write().rename(tmp_path / "01_midir" / name)
    rows = {row["id"]: row for row in scoreboard.read(tmp_path)}
    assert {name: run["parts"]["share"][0] for name, run in rows["m.t3.logglo.proj"]["runs"].items()} == {
        "quick": 75,
        "paper": 80,
    }
    assert rows["m.t3.logglo.proj"]["runs"]["paper"]["device"] == "cuda"
    assert rows["x.ridge"]["quantity"] == "ridge regression"
    text = scoreboard.markdown(list(rows.values()), link="figures/")
    assert "| 0.19 / 72 | holds: share 75 [73, 90] | holds: share 80 [73, 90] |" in text
    assert "[m.fig7.png](figures/01_midir/m.fig7.png)" in text
    assert "quick ran on cpu" in text
    assert "m.fig7" not in scoreboard.markdown(list(rows.values()), figures=False)


def test_another_run_has_a_column_where_it_says_something_else(tmp_path):
    # The quick run's own results.json last: each run writes that name first.
    runs = {"results.my_library.json": 90, "results.same.json": 99, "results.json": 99}
    for name, ridge in runs.items():
        book = record_all(study(tmp_path / "01_midir"))
        book.claim("m.t3.logglo.proj", {"share": 80})
        book.claim("x.ridge", ridge, note="ridge regression")
        book.write().rename(tmp_path / "01_midir" / name)
    header = scoreboard.markdown(scoreboard.read(tmp_path)).splitlines()[2]
    assert header == "| id | where | quantity | published | quick | paper | my library |"
    header = scoreboard.markdown(scoreboard.read(tmp_path), figures=False).splitlines()[2]
    assert header == "| id | where | quantity | published | quick | paper |"


def test_scoreboard_of_nothing_shows_what_is_published(tmp_path):
    rows = scoreboard.read(tmp_path)
    assert all(row["runs"] == {} for row in rows)
    assert "quick has not been run" in scoreboard.markdown(rows)


WITHOUT_NOTE = json.dumps(
    dict.fromkeys(("device", "seed", "commit", "wall_s", "study", "profile"), "")
    | {"artefacts": {}, "claims": [{"id": "m.t4", "parts": {}, "status": "holds", "seeds": None}]}
)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"study": "01"}', "{broken", WITHOUT_NOTE])
def test_scoreboard_names_a_file_that_is_no_result(tmp_path, content):
    (tmp_path / "01_midir").mkdir()
    (tmp_path / "01_midir" / "results.json").write_text(content)
    with pytest.raises(DataError, match=r"01_midir.results\.json.*--fresh"):
        scoreboard.read(tmp_path)
