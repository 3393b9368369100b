"""Saved models: trained once, found again, and refused where they do not fit."""

import json

import pytest
import torch
from torch import nn

from paper_utils.base.errors import WeightsError
from paper_utils.base.hashes import file_hash
from paper_utils.latents import optimizers
from paper_utils.midir import wgan
from paper_utils.nets import model_file

DATA = {"library": "a" * 64, "split": "b" * 64}


class Shop:
    """Trains a tiny network, counting how often."""

    def __init__(self, cache):
        self.cache, self.trainings = cache, 0

    def __call__(self, *, lr=0.1, width=4, data=DATA, source="train", finished=True, of=nn.Linear):
        self.modules = {"net": of(3, width)}

        def train(checkpoint):
            self.trainings += 1
            optimizers.ranger(self.modules["net"], lr)  # its file belongs to what trained the network
            nn.init.constant_(next(self.modules["net"].parameters()), lr)
            return {"step": [1], "loss": [0.5], "wall_s": 0.1, "finished": finished}

        return model_file.trained(
            "toy", self.modules, train, architecture={"width": width}, settings={"lr": lr}, data=data,
            profile="smoke", device="cpu", weights=str(source), cache=self.cache,
        )  # fmt: skip

    @property
    def value(self):
        return next(self.modules["net"].parameters())[0, 0].item()


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path / "cache")


@pytest.fixture
def folder(shop, tmp_path):
    """A folder of exported weights, trained with lr = 0.7."""
    model_file.export({"toy": shop(lr=0.7)}, tmp_path / "weights", metrics={"toy": {"share": 72}})
    return tmp_path / "weights"


def test_the_same_thing_is_trained_once(shop):
    first = shop(lr=0.5)
    again = shop(lr=0.5)
    assert shop.trainings == 1
    assert shop.value == pytest.approx(0.5)
    assert again["sha256"] == first["sha256"]


@pytest.mark.parametrize("change", [{"lr": 0.2}, {"width": 5}, {"data": DATA | {"split": "c" * 64}}])
def test_another_setting_trains_again(shop, change):
    shop()
    shop(**change)
    assert shop.trainings == 2


@pytest.mark.parametrize(
    ("changed", "n_trainings"), [("wgan.py", 2), ("descent.py", 2), ("glo.py", 2), ("optimizers.py", 2), ("unet.py", 1)]
)
def test_other_code_of_network_or_training_trains_again(shop, monkeypatch, changed, n_trainings):
    shop(of=wgan.Critic)
    monkeypatch.setattr(model_file, "file_hash", lambda file: "other" if file.name == changed else file_hash(file))
    shop(of=wgan.Critic)
    assert shop.trainings == n_trainings


def test_an_unfinished_training_is_not_taken_for_a_finished_one(shop):
    shop(finished=False)
    shop()
    assert shop.trainings == 2


def test_card_tells_what_a_reader_must_know(folder):
    card = json.loads((folder / "toy.json").read_text())
    assert card["trained_on"] == DATA
    assert card["metrics"] == {"share": 72}
    assert card["file"] == "toy.json"  # no path of the machine that trained it
    assert {"architecture", "settings", "profile", "device", "torch", "commit", "wall_s", "history", "sha256"} <= set(
        card
    )


def test_saved_weights_are_used_instead_of_training(shop, folder):
    shop.trainings = 0
    shop(lr=0.1, source=folder)
    assert shop.trainings == 0
    assert shop.value == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda f: (f / "toy.json").unlink(), "no readable card"),
        (lambda f: (f / "toy.json").write_text("{"), "no readable card"),
        (lambda f: (f / "toy.json").write_text("[]"), "no readable card"),
        (lambda f: (f / "toy.json").write_text('{"profile": "quick"}'), "no readable card"),
        (lambda f: (f / "toy.safetensors").unlink(), "no readable card"),
        (lambda f: (f / "toy.safetensors").write_bytes((f / "toy.safetensors").read_bytes()[:-1]), "SHA-256"),
        (lambda f: (f / "toy.safetensors").write_bytes(b""), "SHA-256"),
    ],
)
def test_damaged_weights_are_refused(shop, folder, spoil, told):
    spoil(folder)
    with pytest.raises(WeightsError, match=told):
        shop(source=folder)


def test_weights_of_another_architecture_are_refused(shop, folder):
    with pytest.raises(WeightsError, match="width is 4, here 5"):
        shop(width=5, source=folder)


def test_weights_that_saw_the_test_galaxies_are_refused(shop, folder):
    with pytest.raises(WeightsError, match="test objects"):
        shop(data=DATA | {"split": "c" * 64}, source=folder)


def test_weights_may_meet_another_library(shop, folder):
    shop(data={"library": "d" * 64, "split": "e" * 64}, source=folder)
    assert shop.value == pytest.approx(0.7)


def test_a_folder_holds_the_models_of_one_run(shop, folder):
    model_file.export({"other": shop() | {"name": "other"}, "early": {"name": "early"}}, folder, {})
    assert {file.name for file in folder.iterdir()} == {"other.json", "other.safetensors"}


def test_weights_survive_an_export_to_where_they_came_from(shop, folder):
    before = (folder / "toy.safetensors").read_bytes()
    model_file.export({"toy": shop(source=folder)}, folder, {})
    assert (folder / "toy.safetensors").read_bytes() == before
    shop(source=folder)
    assert shop.value == pytest.approx(0.7)


def test_names_become_file_names():
    assert model_file.slug("logGLO, printed rates") == "logGLO-printed-rates"


def test_weights_are_tensors_only(folder):
    from safetensors import safe_open

    with safe_open(folder / "toy.safetensors", "pt") as file:
        assert set(file.keys()) == {"net.weight", "net.bias"}
        assert file.get_tensor("net.weight").dtype == torch.float32
