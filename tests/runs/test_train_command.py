"""Training outside a notebook: the same code, a file for each network, and clear refusals."""

import pytest

from paper_utils.base import paths
from paper_utils.base.errors import ProfileError
from paper_utils.midir.apply import Reconstructor
from paper_utils.nets import model_file
from paper_utils.runs import studies

SMALL = ("--profile", "smoke", "--device", "cpu", "--set", "01.n_epochs=1", "--set", "01.n_iterations=1")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")


def test_a_studys_networks_come_as_files_that_need_nothing_else(companion, tmp_path):
    status, out, err = companion("train", "1", *SMALL, "--output", tmp_path / "models", "--seed", 3)
    assert status == 0, err
    files = {file.stem: file for file in (tmp_path / "models" / "01").glob("*.safetensors")}
    assert {"GLO", "logGLO", "logGLO-20", "WGAN", "logWGAN", "perceptron", "reconstructor"} <= set(files)
    cards = {name: model_file.read(file)[0] for name, file in files.items()}
    assert {card["seed"] for card in cards.values()} == {3}
    assert {card["study"] for card in cards.values()} == {"01"}
    assert cards["logGLO"]["settings"]["n_epochs"] == 1
    assert "reconstructor.safetensors" in out.replace("\n", "")
    assert Reconstructor.load(files["reconstructor"]).wave_um.shape == (223,)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("07",), "no study"),
        (("01", "--set", "01.n_sedds=3"), "n_seds"),
        (("01", "--set", "01.n_seds=many"), "n_seds is 'many'"),
        (("01", "--data", "absent.h5"), "absent.h5"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line(companion, tmp_path, arguments, told):
    status, _, err = companion("train", *arguments, "--profile", "smoke", "--output", tmp_path)
    assert status == 2
    assert told in err
    assert len(err.strip().splitlines()) == 1


def test_rooms_are_those_of_the_five_studies():
    assert list(studies.ROOMS) == ["01", "02", "03", "04", "05"]
    with pytest.raises(ProfileError, match="'09'"):
        studies.room("09", "train")
