"""Settings: profiles fill them, every key and type is checked, and a notebook can show them beside the paper's."""

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from paper_utils.base.errors import ProfileError
from paper_utils.nets.settings import Settings, setting


@dataclass(frozen=True)
class Train(Settings):
    lr: float = setting("highest learning rate", paper=0.5)
    widths: tuple[int, ...] = setting("channels", paper=(64, 128), default=(8, 16))


@dataclass(frozen=True)
class Toy(Settings):
    n: int = setting("galaxies", paper=10_000)
    train: Train = setting("training")
    where: str = setting("range of wavelengths", unit="um", default="")
    pin: bool = setting("whether spectra are moved to the rest frame", default=False)


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "01.yaml"
    file.write_text("quick: {n: 3, train: {lr: 1}}\npaper: {n: 30, train: {lr: 0.5, widths: [1, 2]}, where: a}\n")
    return file


def test_values_reach_the_reader_as_written(file):
    assert Toy.load("01", "quick", file=file) == Toy(3, Train(1.0, (8, 16)), "", False)
    assert Toy.load("01", "paper", file=file).train.widths == (1, 2)


def test_any_field_can_be_changed_by_its_dotted_name(file):
    changed = Toy.load("01", "quick", {"train.lr": 0.25, "pin": True}, file=file)
    assert (changed.train.lr, changed.pin, changed.n) == (0.25, True, 3)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"train.lrr": 1.0}, "lrr"),
        ({"nn": 1}, "Did you mean n"),
        ({"n.x": 1}, "n.x"),
        ({"n": 1.5}, "n is 1.5"),
        ({"n": True}, "n is True"),
        ({"train.widths": [1, "a"]}, "widths is 'a'"),
        ({"train": 3}, "train is 3"),
    ],
)
def test_changes_that_do_not_fit_are_named(file, changes, told):
    with pytest.raises(ProfileError, match=told):
        Toy.load("01", "quick", changes, file=file)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("paper: {nn: 30}", "nn.*Did you mean n"),
        ("quick: {n: 3}", "'paper'"),
        ("papers: {n: 3}", "Did you mean papers"),
        ("paper: {n: 3, train: {lr: 1e-4}}", "1.0e-4"),
        ("paper: {n: 3}", "train .training. has no value"),
        ("paper: {n: 3, train: {}}", "lr .highest learning rate. has no value"),
        ("paper: {n: 3, train: 7}", "train is 7"),
        ("paper: [n]", "setting: value"),
        ("paper: {n: 3", "not valid YAML"),
        ("", "'paper'"),
    ],
)
def test_mistakes_in_a_profile_are_named(file, text, told):
    file.write_text(text)
    with pytest.raises(ProfileError, match=told):
        Toy.load("01", "paper", file=file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ProfileError, match="09.yaml does not exist"):
        Toy.load("09", "quick", file=tmp_path / "09.yaml")


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=60) | st.text("quickn:{}[]-&*!|'\" \n1e.", max_size=40).map(str.encode))
def test_any_file_loads_or_is_refused(file, content):
    file.write_bytes(content)
    try:
        assert isinstance(Toy.load("01", "quick", file=file), Toy)
    except ProfileError:
        pass


def test_table_sets_this_run_beside_the_paper(file):
    lines = Toy.load("01", "quick", file=file)._repr_markdown_().splitlines()
    assert lines[2] == "| n | 3 | 10 000 | galaxies |"
    assert lines[3] == "| train.lr | 1.0 | 0.5 | highest learning rate |"
    assert lines[4] == "| train.widths | 8, 16 | 64, 128 | channels |"
    assert lines[5] == "| where | – | not printed | range of wavelengths [um] |"
