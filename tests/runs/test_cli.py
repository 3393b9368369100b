"""The command line as its user meets it: answers at once, says what is wrong in a line, and writes nothing in vain."""

import json
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
from conftest import write_notebook

from paper_utils.base import paths
from paper_utils.base.containers import WAVE_UM, SedLibrary
from paper_utils.runs import package_map

HEAVY = ("torch", "lightning", "papermill", "matplotlib", "astropy", "sklearn", "scipy", "numpy", "jupyter_client")
RECORD = """
from paper_utils.runs import claims
study = claims.Study("01", profile=profile, device="cpu", seed=seed, output=output)
study.known = {"m.t3.logglo.proj": study.known["m.t3.logglo.proj"]}
study.claim("m.t3.logglo.proj", {"share": (n, 73, 90)}, seeds=3)
study.write()
"""


@pytest.fixture
def studies(shelf):
    """A study that works and one that does not, as the project's notebooks."""
    write_notebook(shelf / "01_toy.ipynb", RECORD)
    write_notebook(shelf / "02_bad.ipynb", "raise ValueError('negative flux')")
    for study in ("01", "02"):
        (shelf / "profiles" / f"{study}.yaml").write_text("smoke: {n: 1}\nquick: {n: 3}\npaper: {n: 30}")
    return shelf


def refused(outcome, *told):
    """Exit status 2, one line on standard error that says all of `told`, and no traceback."""
    status, out, err = outcome
    assert status == 2
    assert len(err.strip().splitlines()) == 1
    assert "Traceback" not in out + err
    for text in told:
        assert text in err
    return True


def test_help_answers_at_once_and_loads_nothing_heavy():
    script = (
        "import sys\nfrom paper_utils.runs import cli\n"
        "try: cli.app(['reproduce', '--help'])\n"
        f"except SystemExit: print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    seconds = []
    for _ in range(3):
        started = time.monotonic()
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        seconds.append(time.monotonic() - started)
        assert done.stdout.strip().endswith("[]")
        assert "--profile" in done.stdout
    assert min(seconds) < 1


def test_reproduce_shows_ours_beside_theirs_and_where_it_is(studies, companion, tmp_path):
    command = ("reproduce", "1", "--profile", "paper", "--output", tmp_path / "mine", "--seed", 5, "--set", "01.n=30")
    status, out, err = companion(*command)
    assert (status, err) == (0, "")
    lines = iter(out.splitlines())
    assert any("m.t3.logglo.proj" in line for line in lines)
    assert "published: 0.19 / 72" in next(lines)
    assert "holds: share 30 [73, 90]" in next(lines)
    assert "results.json" in out
    results = json.loads((tmp_path / "mine" / "01_toy" / "results.json").read_text())
    assert (results["profile"], results["seed"]) == ("paper", 5)
    assert "finished already" in companion(*command)[1]


def test_reproduce_names_the_failing_cell_and_goes_on(studies, companion, tmp_path):
    status, out, _ = companion("reproduce", "02", "01", "--output", tmp_path / "mine")
    assert status == 1
    assert "02_bad failed in cell [3]: ValueError: negative flux" in out
    assert str(tmp_path / "mine" / "02_bad" / "notebook.ipynb") in out
    assert (tmp_path / "mine" / "01_toy" / "results.json").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["07"], "no study '07'"),
        (["01", "--data", "01"], "NN=PATH"),
        (["01", "--data", "02=x.h5"], "study 02 is not among"),
        (["01", "--data", "01=absent.h5"], "absent.h5 does not exist"),
        (["01", "--weights", "01=absent"], "absent does not exist"),
    ],
)
def test_reproduce_refuses_what_cannot_be(studies, companion, tmp_path, arguments, told):
    assert refused(companion("reproduce", *arguments, "--output", tmp_path / "mine"), told)
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize("content", [b"", b"no table", b"\x89HDF\r\n\x1a\n truncated"])
@pytest.mark.parametrize("name", ["bad.h5", "bad.ecsv", "bad.txt"])
def test_a_file_that_cannot_be_used_is_refused_before_anything_runs(studies, companion, tmp_path, content, name):
    file = tmp_path / name
    file.write_bytes(content)
    assert refused(companion("data", "check", "01", file), name)
    assert refused(companion("reproduce", "01", "--data", f"01={file}", "--output", tmp_path / "mine"), name)
    assert not (tmp_path / "mine").exists()


def spoil(wave_um, flux, how):
    """A library of two SEDs, spoilt in one way."""
    if how == "bins":
        return wave_um[:-1], flux[:, :-1]
    if how == "nm":
        return wave_um * 1e3, flux
    if how == "unsorted":
        wave_um[[40, 41]] = wave_um[[41, 40]]
    elif how == "duplicated":
        wave_um[41] = wave_um[40]
    else:
        flux[1, 99] = {"nan": np.nan, "infinite": np.inf, "negative": -1.0}[how]
    return wave_um, flux


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("bins", ("222 wavelength bins", "resample")),
        ("nm", ("nm",)),
        ("unsorted", ("wave_um",)),
        ("duplicated", ("wave_um",)),
        ("nan", ("b",)),
        ("infinite", ("b",)),
        ("negative", ("b", "-1")),
    ],
)
def test_a_spoilt_library_is_refused_with_what_is_wrong(companion, tmp_path, how, told):
    wave_um, flux = spoil(WAVE_UM.copy(), np.ones((2, WAVE_UM.size)), how)
    with h5py.File(tmp_path / "bad.h5", "w") as file:
        file.update({"wave_um": wave_um, "flux": flux, "ids": ["a", "b"]})
    before = set(tmp_path.rglob("*"))
    assert refused(companion("data", "check", "01", tmp_path / "bad.h5"), "bad.h5", *told)
    given = f"01={tmp_path / 'bad.h5'}"
    assert refused(companion("reproduce", "01", "--data", given, "--output", tmp_path / "out"), "bad.h5", *told)
    assert set(tmp_path.rglob("*")) == before


def test_a_library_cut_short_is_refused(companion, tmp_path):
    whole = SedLibrary(WAVE_UM, np.ones((150, WAVE_UM.size)), [f"s{i}" for i in range(150)]).save(tmp_path / "whole.h5")
    (tmp_path / "cut.h5").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert refused(companion("data", "check", "01", tmp_path / "cut.h5"), "cut.h5")
    status, told, _ = companion("data", "check", "01", whole)
    assert status == 0
    assert "150 SEDs" in told


def test_a_profile_that_does_not_fit_is_refused(studies, companion, tmp_path):
    (studies / "profiles" / "01.yaml").write_text("quik: {n: 3}")
    assert refused(companion("reproduce", "01", "--output", tmp_path / "mine"), "'quick'", "Did you mean quik?")


def test_scoreboard_as_text_and_as_json(companion, tmp_path):
    status, out, _ = companion("scoreboard", "--results", tmp_path)
    assert status == 0
    assert "m.t3.logglo.proj" in out
    status, out, _ = companion("scoreboard", "--results", paths.ROOT / "figures")
    assert status == 0
    assert max(len(line) for line in out.splitlines()) <= 100
    status, out, _ = companion("scoreboard", "--json", "--results", tmp_path)
    assert "m.t3.logglo.proj" in {row["id"] for row in json.loads(out)}
    assert refused(companion("scoreboard", "--results", tmp_path / "absent"), "absent")


def test_data_list_says_how_to_get_each(companion):
    status, out, _ = companion("data", "list")
    assert status == 0
    for name in ("cygnus", "alhambra"):
        assert name in out
    status, out, _ = companion("data", "get", "cygnus")
    assert status == 0
    assert "authors" in out
    assert refused(companion("data", "get", "cygnis"), "Did you mean cygnus")


def test_publish_renews_what_is_committed(studies, companion, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(package_map, "README", tmp_path / "map.md")
    (tmp_path / "README.md").write_text("<!-- scoreboard --><!-- /scoreboard -->")
    (studies / "01_toy.ipynb").unlink()
    write_notebook(studies / "01_toy.ipynb", "1 + 1")
    status, out, _ = companion("publish", "01")
    assert status == 0
    assert "m.fig7" in (tmp_path / "figures" / "scoreboard.md").read_text()
    assert (tmp_path / "map.md").read_text() == package_map.text()
    assert json.loads((studies / "01_toy.ipynb").read_text())["cells"][1]["execution_count"] == 2
    assert "1 of 1 notebooks were up to date" in companion("publish", "01")[1]


def test_set_gives_a_parameter_another_value(companion, studies, tmp_path):
    status, _, _ = companion("reproduce", "01", "--profile", "smoke", "--set", "01.n=17", "--output", tmp_path / "out")
    assert status == 0
    results = json.loads((tmp_path / "out" / "01_toy" / "results.json").read_text())
    assert results["claims"][0]["parts"]["share"][0] == 17


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("n=17", "NN.NAME=VALUE"),
        ("01.n", "NN.NAME=VALUE"),
        ("01.m=17", "m"),
        ("01.n=many", "int"),
        ("01.n=[", "YAML"),
        ("01.n=2020-13-45", "YAML"),
        ("01.n=" + "[" * 3000, "YAML"),
        ("01.output=here", "--output"),
        ("02.n=3", "not among those"),
    ],
)
def test_set_refuses_what_does_not_fit(companion, studies, tmp_path, text, told):
    assert refused(companion("reproduce", "01", "--set", text, "--output", tmp_path / "out"), told)
    assert not (tmp_path / "out").exists()
