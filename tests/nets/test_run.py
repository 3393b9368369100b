"""A run trains each network once, finds it again, and refuses weights that do not fit."""

import dataclasses
from functools import partial

import pytest
import torch

from paper_utils.base import hashes
from paper_utils.base.errors import WeightsError
from paper_utils.nets import model_file, run
from paper_utils.nets.dense import MLP
from paper_utils.nets.model_file import Model
from paper_utils.nets.plan import Plan

HASHES = {"library": "a" * 64, "split": "b" * 64}
X = torch.randn(30, 3, generator=torch.Generator().manual_seed(0))
DATA = {"x": X, "y": X[:, :2]}
PLAN = Plan(5, 10)
TRAININGS = []


def squares(model, batch, generator, power=2):
    TRAININGS.append(1)
    return {"loss": (model(batch["x"]) - batch["y"]).abs().pow(power).mean()}


@pytest.fixture
def shop(tmp_path):
    """Trains a small network; returns it and whether it was trained now."""

    def make(*, data=DATA, seen=HASHES, plan=PLAN, loss=squares, width=4, **options):
        given = {"data": seen, "device": "cpu", "profile": "smoke", "cache": tmp_path / "cache", "progress": False}
        a_run = run.Run("01", **given | options)
        TRAININGS.clear()
        model = a_run.fit("toy", a_run.make(lambda: MLP(3, 2, widths=(width,))), loss, data, plan)
        return a_run, model, bool(TRAININGS)

    return make


@pytest.fixture
def folder(shop, tmp_path):
    """A folder of exported models, trained with lr = 0.7."""
    shop(plan=Plan(5, 10, lr=0.7))[0].export(tmp_path / "weights", {"toy": {"share": 72}})
    return tmp_path / "weights"


def test_the_same_thing_is_trained_once(shop):
    (_, first, trained), (_, again, trained_again) = shop(), shop()
    assert (trained, trained_again) == (True, False)
    assert torch.equal(first(X), again(X))
    assert first.card["sha256"] == again.card["sha256"]


@pytest.mark.parametrize(
    "change",
    [
        {"plan": Plan(5, 10, lr=0.2)},
        {"width": 5},
        {"seed": 1},
        {"data": DATA | {"x": X + 1e-6 * (torch.arange(30) == 7)[:, None]}},
        {"data": DATA | {"x": X.flip(0)}},
        {"loss": partial(squares, power=4)},
    ],
    ids=["rate", "width", "seed", "one value", "order", "loss"],
)
def test_another_setting_trains_again(shop, change):
    shop()
    assert shop(**change)[2]


@pytest.mark.parametrize(("changed", "again"), [("dense.py", True), ("standard.py", True), ("unet.py", False)])
def test_other_code_of_network_or_training_trains_again(shop, monkeypatch, changed, again):
    shop()
    real = hashes.code_hash_of

    def edited(files):
        files = list(files)
        return real(files) + ("other" if changed in {file.name for file in files} else "")

    monkeypatch.setattr(hashes, "code_hash_of", edited)
    assert shop()[2] == again


def test_an_unfinished_training_is_not_taken_for_a_finished_one(shop, monkeypatch):
    real = run.training.fit
    monkeypatch.setattr(run.training, "fit", partial(real, stop_after_s=0.0))
    assert not shop()[1].card["finished"]
    monkeypatch.setattr(run.training, "fit", real)
    assert shop()[2]


def test_what_finishes_a_model_is_part_of_it(tmp_path):
    """A model is calibrated before it is kept: the file holds what was judged."""

    def calibrate(model):
        model.outputs.scale.fill_(7.0)

    for _ in range(2):
        a_run = run.Run("01", cache=tmp_path, progress=False)
        model = a_run.fit("toy", a_run.make(lambda: MLP(3, 2)), squares, DATA, PLAN, finish=calibrate)
        assert model.outputs.scale.tolist() == [7.0, 7.0]


def test_card_says_what_a_reader_must_know(folder):
    card, _ = model_file.read(folder / "toy.safetensors")
    assert card["data"] == HASHES
    assert card["scores"] == {"share": 72}
    assert card["plan"] == {k: v for k, v in dataclasses.asdict(Plan(5, 10, lr=0.7)).items()}
    wanted = {"study", "kind", "config", "profile", "seed", "device", "torch", "commit", "wall_s", "history", "sha256"}
    assert wanted <= set(card)


def test_saved_weights_are_used_instead_of_training(shop, folder):
    expected = MLP.load(folder / "toy.safetensors")(X)
    _, model, trained = shop(weights=str(folder))
    assert not trained
    assert torch.equal(model(X), expected)


@pytest.mark.parametrize(
    ("change", "used"),
    [
        ({}, True),
        ({"profile": "quick"}, True),
        ({"width": 5}, False),
        ({"plan": Plan(6, 10, lr=0.7)}, False),
        ({"seen": HASHES | {"library": "f" * 64}}, False),
    ],
    ids=["same", "profile", "width", "plan", "data"],
)
def test_shipped_weights_are_used_where_they_are_what_would_be_trained(shop, folder, monkeypatch, change, used):
    monkeypatch.setattr(run.paths, "WEIGHTS", folder.parent)
    folder.rename(folder.parent / "01")
    given = {"plan": Plan(5, 10, lr=0.7), "weights": "shipped", "cache": folder.parent / "another"}
    _, model, trained = shop(**given | change)
    assert (model.card.get("scores") == {"share": 72}) == used
    assert trained != used


class Pair(Model):
    """Two networks of which one is wanted."""

    def __init__(self):
        super().__init__()
        self.first, self.second = MLP(3, 3), MLP(3, 2)


def of_second(model, batch, generator):
    return {"loss": (model.second(model.first(batch["x"])) - batch["y"]).pow(2).mean()}


def test_what_is_of_use_is_kept(tmp_path):
    """The layers of a network may be all that is wanted of it once it is trained."""

    def train(n_steps):
        a_run = run.Run("01", cache=tmp_path, progress=False)
        return a_run.fit("toy", a_run.make(Pair), of_second, DATA, Plan(n_steps, 10), keep=lambda pair: pair.second)

    assert isinstance(train(5), MLP)
    (file,) = tmp_path.glob("*.safetensors")
    assert set(MLP.load(file).state_dict()) == set(MLP(3, 2).state_dict())
    assert torch.equal(train(5)(X), MLP.load(file)(X))


def test_weights_of_another_architecture_are_refused(shop, folder):
    with pytest.raises(WeightsError, match=r"widths is \[4\], here \[5\]"):
        shop(width=5, weights=str(folder))


def test_weights_that_saw_the_test_galaxies_are_refused(folder):
    a_run = run.Run("01", weights=str(folder), data=HASHES | {"split": "c" * 64})
    with pytest.raises(WeightsError, match="test objects"):
        a_run.fit("toy", MLP(3, 2, widths=(4,)), squares, DATA, PLAN)


def test_weights_may_meet_another_library(folder):
    a_run = run.Run("01", weights=str(folder), data={"library": "d" * 64, "split": "e" * 64})
    assert a_run.fit("toy", MLP(3, 2, widths=(4,)), squares, DATA, PLAN).card["scores"] == {"share": 72}


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(WeightsError, match="no such file"):
        run.Run("01", weights=str(tmp_path)).fit("toy", MLP(3, 2), squares, DATA, PLAN)
