"""Profiles: every key is a parameter of its notebook, and the notebooks' own defaults are the quick profile."""

import pytest
from conftest import write_notebook
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paper_utils.base import paths
from paper_utils.base.errors import ProfileError
from paper_utils.runs import profiles

STUDIES = [file.stem for file in sorted((paths.NOTEBOOKS / "profiles").glob("*.yaml"))]
COMMON = {"profile": "quick", "DATA": "mock", "output": "", "device": "auto", "seed": 0, "weights": "train"}


@pytest.fixture
def toy(shelf):
    write_notebook(
        shelf / "01_toy.ipynb", parameters="n: int = 3\nrate: float = 0.1  # step\nname = 'a'\nlist_: list = [1]"
    )
    return shelf / "profiles" / "01.yaml"


@pytest.mark.parametrize("study", STUDIES)
@pytest.mark.parametrize("profile", profiles.NAMES)
def test_profiles_of_the_studies_load(study, profile):
    assert profiles.load(study, profile)


@pytest.mark.parametrize("study", STUDIES)
def test_defaults_are_the_quick_profile(study):
    defaults = profiles.parameters(paths.notebook(study))
    assert {key: defaults.get(key) for key in COMMON} == COMMON
    assert {key: value for key, value in defaults.items() if key not in (*COMMON, "MAPPING")} == profiles.load(
        study, "quick"
    )


@pytest.mark.parametrize("study", STUDIES)
def test_profiles_set_the_same_parameters(study):
    smoke, quick, paper = (profiles.load(study, name).keys() for name in profiles.NAMES)
    assert smoke == quick == paper


def test_values_reach_the_reader_as_written(toy):
    toy.write_text("quick: {n: 3}\npaper: {n: 30, rate: 1, list_: [1, 2]}\n")
    assert profiles.load("01", "paper") == {"n": 30, "rate": 1, "list_": [1, 2]}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("paper: {nn: 30}", "nn.*Did you mean n"),
        ("quick: {n: 3}", "'paper'"),
        ("papers: {n: 3}", "Did you mean papers"),
        ("paper: {rate: 1e-4}", "1.0e-4"),
        ("paper: {n: 3.5}", "n is 3.5"),
        ("paper: {n: true}", "n is True"),
        ("paper: [n]", "parameter: value"),
        ("paper: {n: 3", "not valid YAML"),
        ("", "'paper'"),
    ],
)
def test_mistakes_are_named(toy, text, told):
    toy.write_text(text)
    with pytest.raises(ProfileError, match=told):
        profiles.load("01", "paper")


def test_unknown_study_and_missing_file_are_named(toy):
    with pytest.raises(ProfileError, match="no study '02'.*01"):
        profiles.load("02", "quick")
    with pytest.raises(ProfileError, match="01.yaml does not exist"):
        profiles.load("01", "quick")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=60) | st.text("quickn:{}[]-&*!|'\" \n1e.", max_size=40).map(str.encode))
def test_any_file_loads_or_is_refused(toy, content):
    toy.write_bytes(content)
    try:
        values = profiles.load("01", "quick")
    except ProfileError:
        return
    assert set(values) <= {"n", "rate", "name", "list_"}


def test_parameters_must_be_literals(shelf):
    notebook = write_notebook(shelf / "01_toy.ipynb", parameters="n = 3\nm = 2 * n")
    with pytest.raises(ProfileError, match="parameter m is not a literal"):
        profiles.parameters(notebook)


def test_a_notebook_may_have_no_parameters(shelf):
    notebook = write_notebook(shelf / "00_start.ipynb", parameters="")
    assert profiles.parameters(notebook) == {}
