"""What a run of a notebook is given: its parameters and, by dotted name, the settings of its study."""

import pytest
from conftest import write_notebook

from paper_utils.base import paths
from paper_utils.base.errors import ProfileError
from paper_utils.runs import notebooks, parameters, studies

STUDIES = list(studies.ROOMS)
PROFILES = ("smoke", "quick", "paper")
COMMON = {"profile": "quick", "DATA": "mock", "output": "", "device": "auto", "seed": 0}


@pytest.fixture
def toy(shelf):
    (shelf / "profiles" / "01.yaml").write_text("quick: {n: 3}\npaper: {n: 30}\n")
    return write_notebook(
        shelf / "01_toy.ipynb",
        parameters="profile: str = 'quick'\nn: int = 3\nrate: float = 0.1  # step\nname = 'a'\nfile = ''",
    )


@pytest.mark.parametrize("study", STUDIES)
@pytest.mark.parametrize("profile", PROFILES)
def test_profiles_of_the_studies_load(study, profile):
    assert studies.settings(study, profile).rows()


@pytest.mark.parametrize("study", STUDIES)
def test_a_notebook_has_few_parameters_and_the_common_ones(study):
    found = parameters.defaults(paths.notebook(study))
    assert {key: found.get(key) for key in COMMON} == COMMON
    assert found["weights"] in ("train", "shipped")
    assert found["settings"] == {}
    assert len(found) <= 15


@pytest.mark.parametrize("study", STUDIES)
def test_profiles_give_a_value_to_the_same_settings(study):
    file = paths.NOTEBOOKS / "profiles" / f"{study}.yaml"
    given = [{row[0] for row in studies.settings(study, profile).rows()} for profile in PROFILES]
    assert file.exists()
    assert given[0] == given[1] == given[2]


def test_settings_are_told_from_parameters():
    first = next(row for row in studies.settings("01", "quick").rows() if type(row[1]) is int)
    found = parameters.assigned([f"1.{first[0]}=7", "01.seed=3"], "quick")
    assert found == {"01": {"seed": 3, "settings": {first[0]: 7}}}


def test_values_reach_the_notebook_as_written(toy, tmp_path):
    assert parameters.assigned(["01.n=4", "01.rate=1"], "quick") == {"01": {"n": 4, "rate": 1}}
    file = tmp_path / "here"
    file.touch()
    assert parameters.assigned([f"01.file={file}"], "quick") == {"01": {"file": str(file)}}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("01.nn=30", "nn.*Did you mean n"),
        ("01.rate=1e-4", "1.0e-4"),
        ("01.n=3.5", "n is 3.5"),
        ("01.n=true", "n is True"),
        ("01.profile=paper", "--profile"),
        ("01", "NN.NAME=VALUE"),
        ("n=3", "NN.NAME=VALUE"),
        ("01.n={", "not a value in YAML"),
        ("02.n=3", "no study '02'"),
    ],
)
def test_mistakes_are_named(toy, text, told):
    with pytest.raises(ProfileError, match=told):
        parameters.assigned([text], "quick")


def test_a_job_has_the_profile_and_what_the_notebook_knows(toy, tmp_path):
    job = notebooks.plan("01", "paper", tmp_path, device="cpu")
    assert job.parameters == {"profile": "paper"}
    with pytest.raises(ProfileError, match="'smoke'.*paper, quick"):
        notebooks.plan("01", "smoke", tmp_path)


def test_another_value_in_the_profile_is_another_run(toy, tmp_path):
    job = notebooks.plan("01", "paper", tmp_path)
    before = notebooks.inputs_hash(job)
    (paths.NOTEBOOKS / "profiles" / "01.yaml").write_text("quick: {n: 4}\npaper: {n: 30}\n")
    assert notebooks.inputs_hash(job) == before
    (paths.NOTEBOOKS / "profiles" / "01.yaml").write_text("quick: {n: 4}\npaper: {n: 31}\n")
    assert notebooks.inputs_hash(job) != before


def test_parameters_must_be_literals(shelf):
    notebook = write_notebook(shelf / "01_toy.ipynb", parameters="n = 3\nm = 2 * n")
    with pytest.raises(ProfileError, match="parameter m is not a literal"):
        parameters.defaults(notebook)


def test_a_notebook_may_have_no_parameters(shelf):
    notebook = write_notebook(shelf / "00_start.ipynb", parameters="")
    assert parameters.defaults(notebook) == {}
