"""The runner: what a run leaves behind, what it does not run twice, and what a failure or Ctrl-C costs."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import write_notebook

from paper_utils.base import hashes, paths
from paper_utils.base.errors import CompanionError, ProfileError
from paper_utils.runs import freshness, notebooks, publish

RECORD = """
from pathlib import Path
from paper_utils.runs import claims
study = claims.Study("01", profile=profile, device="cpu", seed=seed, output=output)
study.known = {}
study.claim("x.n", n)
study.write()
"""
# Runs the notebook given as argument, then says that it came to an end.
SCRIPT = """
import signal, sys
from pathlib import Path
from paper_utils.runs import notebooks
signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent in the background has it ignored
job = notebooks.Job(Path(sys.argv[1]), {}, Path(sys.argv[2]))
print(notebooks.run(job).status)
"""


@pytest.fixture
def job(shelf, tmp_path):
    """A study that records one claim, at its quick profile."""
    write_notebook(shelf / "01_toy.ipynb", RECORD)
    (shelf / "profiles" / "01.yaml").write_text("quick: {n: 3}\npaper: {n: 30}")
    return lambda profile="quick", **common: notebooks.plan("01", profile, tmp_path / "output", **common)


def test_a_run_leaves_an_executed_notebook_and_results(job):
    told = []
    outcome = notebooks.run(
        job("paper", seed=7, n=30), on_cell=lambda completed, total: told.append((completed, total))
    )
    assert outcome.status == "done"
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    results = json.loads((outcome.job.output / "results.json").read_text())
    assert (results["profile"], results["seed"], results["claims"][0]["parts"]["value"]) == ("paper", 7, 30)
    book = notebooks.read(outcome.job.executed)
    assert [cell["execution_count"] for cell in book["cells"]] == [1, 2, 3]
    assert book["metadata"]["companion"]["code"] == freshness.code_hash(outcome.job.notebook)
    assert book["metadata"]["companion"]["files"] == ["results.json"]


def test_finished_work_is_not_done_again(job, shelf, tmp_path):
    data = tmp_path / "data.h5"
    data.write_text("first")
    assert notebooks.run(job(DATA=str(data))).status == "done"
    assert notebooks.run(job(DATA=str(data))).status == "skipped"
    assert notebooks.run(job(DATA=str(data)), fresh=True).status == "done"
    # Each of these decides what comes out.
    assert not notebooks.finished(job(DATA=str(data), seed=1), notebooks.inputs_hash(job(DATA=str(data), seed=1)))
    data.write_text("second")
    assert notebooks.run(job(DATA=str(data))).status == "done"
    write_notebook(shelf / "01_toy.ipynb", RECORD, "1 + 1")
    assert notebooks.run(job(DATA=str(data))).status == "done"
    (job().output / "results.json").unlink()
    assert notebooks.run(job(DATA=str(data))).status == "done"


def test_a_failing_cell_is_named(job, shelf, tmp_path):
    write_notebook(shelf / "02_bad.ipynb", "1 + 1", "raise ValueError('negative flux\\nin row 3')", "2 + 2")
    (shelf / "profiles" / "02.yaml").write_text("quick: {n: 3}")
    bad = notebooks.plan("02", "quick", tmp_path / "output")
    first = notebooks.run(bad)
    assert first.status == "failed"
    assert first.failure == "in cell [4]: ValueError: negative flux"
    # As far as it got: the sum and the error are there for the reader to see.
    outputs = [cell["outputs"] for cell in notebooks.read(first.job.executed)["cells"] if cell["cell_type"] == "code"]
    assert outputs[2][0]["data"]["text/plain"] in ("2", ["2"])
    assert outputs[3][-1]["ename"] == "ValueError"
    assert outputs[4] == []
    assert not notebooks.finished(bad, notebooks.inputs_hash(bad))


def test_a_failure_takes_the_results_of_an_earlier_run_with_it(job, shelf):
    notebooks.run(job())
    write_notebook(shelf / "01_toy.ipynb", "raise ValueError")
    assert notebooks.run(job()).status == "failed"
    assert not (job().output / "results.json").exists()


def test_a_kernel_that_dies_is_a_failure_of_its_notebook(job, shelf, tmp_path):
    write_notebook(shelf / "02_dead.ipynb", "import os\nos._exit(1)")
    (shelf / "profiles" / "02.yaml").write_text("quick: {n: 3}")
    dead = notebooks.run(notebooks.plan("02", "quick", tmp_path / "output"))
    assert dead.failure.startswith("outside its cells: DeadKernelError")
    assert notebooks.run(job()).status == "done"


def test_an_interrupted_run_is_not_finished_and_leaves_no_kernel(shelf, tmp_path):
    notebook = write_notebook(
        shelf / "01_slow.ipynb",
        "import os, time\nfrom pathlib import Path\n"
        f"if not Path('{tmp_path}/begun').exists():\n"
        f"    Path('{tmp_path}/begun').write_text(str(os.getpid()))\n"
        "    time.sleep(60)",
    )
    command = [sys.executable, "-c", SCRIPT, str(notebook), str(tmp_path / "output")]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    _wait_for(lambda: (tmp_path / "begun").exists() and (tmp_path / "begun").read_text())
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)
    assert running.returncode != 0
    kernel = int((tmp_path / "begun").read_text())
    _wait_for(lambda: not _alive(kernel))
    again = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert again.stdout.strip() == "done"
    assert subprocess.run(command, capture_output=True, text=True, timeout=120).stdout.strip() == "skipped"


def test_plan_refuses_what_does_not_exist(job, tmp_path):
    with pytest.raises(ProfileError, match="'07'"):
        notebooks.plan("07", "quick", tmp_path)
    with pytest.raises(ProfileError, match="smoke"):
        job("smoke")


# --- hashes -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "pack"
    (folder / "sub").mkdir(parents=True)
    for name, text in {
        "__init__.py": "",
        "a.py": "def f():\n    from pack.sub import b",
        "c.py": "",
        "sub/__init__.py": "",
        "sub/b.py": "from .. import c",
        "unused.py": "",
    }.items():
        (folder / name).write_text(text)
    return folder


def test_imports_are_followed_through_functions_and_relative_names(package):
    names = {
        file.relative_to(package).as_posix() for file in hashes.imported("import numpy\nfrom pack import a", package)
    }
    assert names == {"__init__.py", "a.py", "sub/__init__.py", "sub/b.py", "c.py"}


def test_code_hash_follows_what_is_imported_and_nothing_else(package, tmp_path):
    notebook = write_notebook(tmp_path / "01_a.ipynb", "%matplotlib inline\nfrom pack.a import f")
    before = freshness.code_hash(notebook, package)
    (package / "unused.py").write_text("x = 1")
    book = notebooks.read(notebook)
    book["cells"][1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "hello"}]
    book["cells"][1]["execution_count"] = 5
    book["cells"].append({"cell_type": "markdown", "id": "found", "metadata": {}, "source": "What we find"})
    notebooks.write(book, notebook)
    assert freshness.code_hash(notebook, package) == before
    # Comments, docstrings and formatting change no result; a table that only prose names does not count either.
    book["cells"][1]["source"] = "from pack.a import (\n    f,  # the function\n)"
    notebooks.write(book, notebook)
    (package / "c.py").write_text('"""Of lines.csv."""\n\n# a comment\n')
    (package / "a.py").write_text('def f():\n    """Import b."""\n    from pack.sub import (b)\n')
    assert freshness.code_hash(notebook, package) == before
    (package / "c.py").write_text("x = 1")
    assert freshness.code_hash(notebook, package) != before
    # A table in data/ counts from where a module names it.
    table = package.parent / "data" / "lines.csv"
    table.parent.mkdir()
    table.write_text("a\n1\n")
    before = freshness.code_hash(notebook, package)
    (package / "c.py").write_text("x = 'lines.csv'")
    named = freshness.code_hash(notebook, package)
    table.write_text("a\n2\n")
    assert len({before, named, freshness.code_hash(notebook, package)}) == 3


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("x = 'a'", 'x = ("a")  # why', True),
        ('def f():\n    """Does nothing."""', "def f():\n    pass", True),
        ('class A:\n    """One."""\n    x: int', "class A:\n    x: int", True),
        ('def f():\n    return """text"""', 'def f():\n    return """other"""', False),
        ("x = 1", "x = 1.0", False),
        ("def f(a, b): ...", "def f(b, a): ...", False),
    ],
)
def test_the_meaning_of_code_is_what_it_does(tmp_path, one, other, same):
    hashed = []
    for name, text in (("one", one), ("other", other)):
        file = tmp_path / name / "a.py"
        file.parent.mkdir()
        file.write_text(text)
        hashed.append(hashes.code_hash_of([file], file.parent))
    assert (hashed[0] == hashed[1]) is same
    (tmp_path / "one" / "a.py").rename(tmp_path / "one" / "b.py")
    assert hashes.code_hash_of([tmp_path / "one" / "b.py"], tmp_path / "one") != hashed[0]


def test_file_hash_is_that_of_sha256sum(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert hashes.file_hash(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    folder = hashes.file_hash(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert hashes.file_hash(tmp_path) != folder


# --- publishing -------------------------------------------------------------------------------------------------------


@pytest.fixture
def published(shelf, tmp_path):
    """Run and publish a notebook with the given cells; returns it with the folder of its figures."""

    def make(*cells):
        notebook = write_notebook(shelf / "01_toy.ipynb", *cells)
        job = publish.default_job(notebook)
        assert notebooks.run(job).status == "done"
        publish.publish(job)
        return notebook, tmp_path / "figures" / "01_toy"

    return make


def test_published_notebook_is_the_executed_one_without_traces(published, tmp_path):
    # 01_toy is no notebook of the project, so its folder is named here.
    notebook, figures = published(
        RECORD.replace("output=output", f"output=Path({str(tmp_path)!r}) / 'output/01_toy'"), "n"
    )
    book = notebooks.read(notebook)
    assert [cell["execution_count"] for cell in book["cells"]] == [1, 2, 3]
    assert "papermill" not in json.dumps(book)
    assert set(book["cells"][0]["metadata"]) == {"tags"}
    assert book["metadata"]["companion"]["files"] == ["results.json"]
    assert (figures / "results.json").exists()
    assert publish.stale(notebook) == ""
    (figures / "results.json").unlink()
    assert "results.json is missing" in publish.stale(notebook)
    book["cells"][1]["source"] = "1"
    notebooks.write(book, notebook)
    assert "has changed" in publish.stale(notebook)


def test_a_notebook_changed_while_it_ran_keeps_the_change(shelf, tmp_path):
    notebook = write_notebook(shelf / "01_toy.ipynb", "1")
    job = publish.default_job(notebook)
    assert notebooks.run(job).status == "done"
    write_notebook(notebook, "2")
    with pytest.raises(CompanionError, match="changed while it ran"):
        publish.publish(job)
    assert notebooks.read(notebook)["cells"][1]["source"] == "2"
    assert not (tmp_path / "figures").exists()


def test_progress_bars_are_not_published(published):
    notebook, _ = published("from tqdm.auto import tqdm\nfor _ in tqdm(range(3)):\n    pass\nprint('kept')")
    (output,) = notebooks.read(notebook)["cells"][1]["outputs"]
    assert output["text"] == ["kept\n"]


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("import os\nprint(os.path.expanduser('~/secret'))", "path of the machine"),
        ("import warnings\nwarnings.warn('careful')", "path of the machine"),
        # In lines, since nbclient's clean-up of output takes quadratic time on a single long line.
        ("print('x\\n' * 800_000)", "MB"),
        ("def interact(**sliders):\n    pass\ninteract(percent=50)", "hang"),
    ],
    ids=["home", "kernel's own file", "weight", "widget"],
)
def test_what_is_not_fit_for_readers_is_not_published(published, shelf, cell, told):
    with pytest.raises(CompanionError, match=told):
        published(cell)
    assert notebooks.read(shelf / "01_toy.ipynb")["cells"][1]["outputs"] == []


def test_a_picture_without_a_text_for_who_cannot_see_it_is_a_fault():
    picture = {"output_type": "display_data", "data": {"image/png": "iVBORw0KGgo="}, "metadata": {}}
    cell = {"cell_type": "code", "source": "x", "execution_count": 1, "metadata": {}, "outputs": [picture]}
    assert "alternative text" in publish.faults({"cells": [cell]})[0]
    picture["metadata"] = {"image/png": {"alt": "chi2 of 100 test spectra"}}
    assert publish.faults({"cells": [cell]}) == []


def test_scoreboard_is_renewed_between_its_markers(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "FIGURES", tmp_path)
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- scoreboard -->\nold\n<!-- /scoreboard -->\nafter\n")
    for _ in range(2):
        publish.write_scoreboard()
        text = readme.read_text()
        assert text.startswith("before\n<!-- scoreboard -->\n\n**Study 01**")
        assert text.endswith("<!-- /scoreboard -->\nafter\n")
        assert "old" not in text
    assert "m.fig7" in (tmp_path / "scoreboard.md").read_text()


def _wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
