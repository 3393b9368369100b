"""The project as a reader meets it: two ways to install that agree, commands that exist, rooms in order."""

import os
import re
import subprocess
import tomllib

import pytest
import yaml

from paper_utils.base import paths
from paper_utils.base.hashes import imported
from paper_utils.runs import package_map

PYPROJECT = tomllib.loads((paths.ROOT / "pyproject.toml").read_text())
MAKEFILE = (paths.ROOT / "Makefile").read_text()
README = (paths.ROOT / "README.md").read_text()

# Lowest floor first; a module may import from its own room and from rooms on lower floors. `diffusion` also uses the
# autoencoder of `latents`, and the two wings stand on `base` alone.
FLOORS = (
    {"base"},
    {"nets", "stats", "measure", "files", "sky"},
    {"midir", "autoencoder", "diffusion", "latents", "alhambra"},
    {"runs"},
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
STUDIES = FLOORS[2]
WINGS = {"files", "sky"}
ALSO = {("diffusion", "latents")}


def test_environment_installs_the_same_set():
    environment = yaml.safe_load((paths.ROOT / "environment.yml").read_text())
    project = PYPROJECT["project"]
    python, pip, packages = environment["dependencies"]
    assert environment["name"] == project["name"]
    assert (python, pip) == (f"python{project['requires-python']}", "pip")
    assert packages["pip"] == [*project["dependencies"], *project["optional-dependencies"]["dev"], "-e ."]


def test_makefile_has_the_targets_it_speaks_of():
    targets = set(re.findall(r"^(\w+):", MAKEFILE, flags=re.M))
    assert {"reproduce", "test", "notebooks", "bench", "count", "lint", "clean", "help"} <= targets
    help_text = subprocess.run(["make", "help"], cwd=paths.ROOT, capture_output=True, text=True, check=True).stdout
    for text in (help_text, README, (paths.ROOT / "CONTRIBUTING.md").read_text()):
        assert set(re.findall(r"^ *make (\w+)", text, flags=re.M)) <= targets


def test_continuous_integration_runs_the_test_command_of_the_readme():
    script = (paths.ROOT / ".ci/run").read_text()
    command = script.strip().splitlines()[-1]
    commands = re.search(r"## Two commands\n(.*?)\n## ", README, flags=re.S).group(1)
    assert re.search(rf"^    {command} ", commands, flags=re.M)
    assert "set -euo pipefail" in script
    assert os.access(paths.ROOT / ".ci/run", os.X_OK)


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ('[ "$1" = --version ] && echo Python 3.9.2; [ "$1" = --version ]', "3.11"),
        ('[ "$1" = -c ]', "python3-venv"),
    ],
    ids=["too old", "no venv module"],
)
def test_make_says_what_a_bare_machine_lacks(tmp_path, script, told):
    for name in ("Makefile", "pyproject.toml"):
        (tmp_path / name).write_bytes((paths.ROOT / name).read_bytes())
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    done = subprocess.run(["make", "test", f"PYTHON={python}"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    assert told in done.stdout
    assert not (tmp_path / ".venv").exists()


def test_citation_names_the_five_studies():
    citation = yaml.safe_load((paths.ROOT / "CITATION.cff").read_text())
    assert len(citation["references"]) == 5
    assert citation["version"] == PYPROJECT["project"]["version"]
    for reference in citation["references"]:
        assert reference["authors"][0]["family-names"].split()[0] in README


def test_nothing_imports_upward():
    package = paths.ROOT / "paper_utils"
    for file in package.rglob("*.py"):
        room = file.relative_to(package).parts[0]
        if room == "__init__.py":
            continue
        assert room in FLOOR_OF, f"{file}: say in this test on which floor {room} stands"
        for other in imported(file.read_text(), package, follow=False):
            above = other.relative_to(package).parts[0]
            if above in (room, "__init__.py") or (room, above) in ALSO:
                continue
            lower = FLOOR_OF[above] < FLOOR_OF[room] and not (above in WINGS and room != "runs")
            assert lower, f"{file} imports {other}, which does not stand below it"


def test_the_map_names_every_file():
    kept = (paths.ROOT / "paper_utils" / "README.md").read_text()
    assert kept == package_map.text(), "`companion publish` renews the map"
    rooms = {path.parent.name for path in (paths.ROOT / "paper_utils").glob("*/*.py")}
    assert rooms == {*package_map.ROOMS, *package_map.WINGS}
