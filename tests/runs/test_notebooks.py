"""Every notebook of the project: its committed outputs are those of its code, and it runs from end to end."""

import os
import subprocess
import sys

import numpy as np
import pytest

from paper_utils.base import paths
from paper_utils.base.containers import WAVE_OBS, Spectra
from paper_utils.files import user
from paper_utils.runs import claims, notebooks, publish, scoreboard

BOOKS = paths.notebooks()
each_notebook = pytest.mark.parametrize("notebook", BOOKS, ids=[book.stem for book in BOOKS])


@each_notebook
def test_outputs_are_those_of_one_clean_run(notebook):
    assert publish.faults(notebooks.read(notebook)) == [], "`make notebooks` renews the outputs"


@each_notebook
def test_outputs_are_those_of_the_code_in_the_tree(notebook):
    reason = publish.stale(notebook)
    assert not reason, f"{notebook.name}: {reason}. Run `make notebooks` and commit what it renews"


@each_notebook
def test_figures_are_those_of_the_committed_run(notebook):
    folder = paths.FIGURES / notebook.stem
    kept = {file.name for file in folder.glob("*") if not file.match("results.*.json")}
    assert kept == set(notebooks.products(folder))


def test_scoreboards_are_those_of_the_committed_runs():
    rows = scoreboard.read(paths.FIGURES)
    for file, text in (
        (paths.FIGURES / "scoreboard.md", scoreboard.markdown(rows)),
        (paths.ROOT / "README.md", scoreboard.markdown(rows, link="figures/", figures=False)),
    ):
        assert text in file.read_text(), f"`companion publish` renews the scoreboard in {file.name}"


@each_notebook
def test_every_id_of_the_study_is_recorded(notebook):
    file = paths.FIGURES / notebook.stem / "results.json"
    if not claims.published(notebook.name[:2]):
        pytest.skip("records no claims")
    rows = {row["id"]: row for row in scoreboard.read(paths.FIGURES) if row["study"] == notebook.name[:2]}
    for id in claims.published(notebook.name[:2]):
        assert "quick" in rows[id]["runs"], f"{id} is missing from {file}"


@each_notebook
def test_runs_at_the_smoke_profile(notebook, tmp_path):
    """nbval executes a copy, in which the smoke values stand in a cell of their own after the parameters."""
    values = notebooks.plan(notebook.name[:2], "smoke", tmp_path / "output", device="cpu").parameters
    copy = _inject(notebook, values, tmp_path / notebook.name)
    # The session that runs this test leaves marks in the environment, which a session inside it would follow.
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "COV_"))}
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "-p", "no:cacheprovider", "-p", "no:cov", "-q", str(copy)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    if claims.published(notebook.name[:2]):
        assert (tmp_path / "output" / notebook.stem / "results.json").exists()


def test_study_2_runs_to_its_end_on_the_fewest_spectra_of_ones_own(tmp_path):
    """`MIN_OBJECTS` of them leave a test set of 15, from which outliers are planted and trees learn."""
    n, path, rng = user.MIN_OBJECTS, tmp_path / "mine.h5", np.random.default_rng(0)
    z = rng.uniform(0.02, 0.2, n)
    flux = (WAVE_OBS / (1 + z[:, None]) / 5000) ** rng.uniform(-2, 1, (n, 1)) + 0.1 * rng.normal(
        size=(n, WAVE_OBS.size)
    )
    ids = np.array([f"mine {i}" for i in range(n)])
    Spectra(wave_obs=WAVE_OBS, flux=flux, ivar=np.full_like(flux, 100), z=z, ids=ids).save(path)
    job = notebooks.plan("02", "smoke", tmp_path / "output", DATA=str(path), device="cpu")
    assert notebooks.run(job).status == "done"
    assert {file.stem for file in (job.output / "weights").glob("*.safetensors")} >= {"plain", "mask-aware"}


def _inject(notebook, values, copy):
    book = notebooks.read(notebook)
    tagged = ["parameters" in cell["metadata"].get("tags", ()) for cell in book["cells"]]
    if values:
        book["cells"].insert(
            tagged.index(True) + 1,
            {
                "cell_type": "code",
                "id": "smoke-values",
                "metadata": {},
                "source": "\n".join(f"{key} = {value!r}" for key, value in values.items()),
                "outputs": [],
                "execution_count": None,
            },
        )
    notebooks.write(book, copy)
    return copy
