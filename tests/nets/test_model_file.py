"""The model file: a network in one file, made again from nothing else, and refused where it does not fit."""

import pytest
import torch
from conftest import in_a_fresh_process
from safetensors.torch import save_file

from paper_utils.base.errors import WeightsError
from paper_utils.nets import model_file
from paper_utils.nets.dense import MLP


@pytest.fixture
def kept(tmp_path):
    model = MLP(3, 2, widths=(4,))
    model.learn_scale(torch.randn(9, 3), torch.randn(9, 2))
    model.save(tmp_path / "mlp.safetensors", profile="smoke", commit="abc", limits="a toy")
    return model, tmp_path / "mlp.safetensors"


def test_a_model_knows_how_it_was_built():
    assert MLP(3, 2).config == {"n_in": 3, "n_out": 2, "widths": [256, 256]}


def test_a_file_gives_the_same_numbers_in_a_fresh_process(kept, tmp_path):
    model, file = kept
    torch.save(torch.randn(5, 3), tmp_path / "x.pt")
    code = "torch.save(Model.load(sys.argv[1])(torch.load(sys.argv[2])).detach(), sys.argv[3])"
    in_a_fresh_process(code, file, tmp_path / "x.pt", tmp_path / "y.pt")
    assert torch.equal(torch.load(tmp_path / "y.pt"), model(torch.load(tmp_path / "x.pt")))


def test_the_card_lies_in_the_file(kept):
    card, tensors = model_file.read(kept[1])
    assert card["kind"] == "nets.dense.MLP"
    assert (card["profile"], card["limits"], card["config"]["n_in"]) == ("smoke", "a toy", 3)
    assert set(tensors) == set(kept[0].state_dict())
    assert MLP.load(kept[1]).card == card


def test_saving_again_keeps_the_card(kept, tmp_path):
    MLP.load(kept[1]).save(tmp_path / "again.safetensors", scores={"r2": 0.9})
    card, _ = model_file.read(tmp_path / "again.safetensors")
    assert (card["limits"], card["scores"]) == ("a toy", {"r2": 0.9})


def test_half_the_bytes_give_nearly_the_same_numbers(tmp_path):
    model = MLP(40, 20)
    model.learn_scale(100 + torch.randn(99, 40), torch.randn(99, 20))
    x = 100 + torch.randn(50, 40)
    for name, half in (("whole", False), ("half", True)):
        model.save(tmp_path / name, half)
    again = MLP.load(tmp_path / "half")
    assert (tmp_path / "half").stat().st_size < 0.55 * (tmp_path / "whole").stat().st_size
    assert torch.equal(again.inputs.mean, model.inputs.mean)
    assert again.network[0].weight.dtype == torch.float32
    assert 0 < (again(x) - model(x)).abs().max() < 0.01 * model(x).std()


def _flip(path):
    blob = bytearray(path.read_bytes())
    blob[-2] ^= 1
    path.write_bytes(blob)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda f: f.unlink(), "no such file"),
        (lambda f: f.write_bytes(f.read_bytes()[:-9]), "not a model file"),
        (lambda f: f.write_bytes(b""), "not a model file"),
        (lambda f: save_file({"w": torch.ones(2)}, f), "not a model file"),
        (lambda f: save_file({"w": torch.ones(2)}, f, metadata={"card": "[]"}), "not a model file"),
        (_flip, "SHA-256"),
    ],
)
def test_a_damaged_file_is_refused(kept, spoil, told):
    spoil(kept[1])
    with pytest.raises(WeightsError, match=told):
        MLP.load(kept[1])


def _with_card(file, **changes):
    import json

    card, tensors = model_file.read(file)
    save_file(tensors, file, metadata={"card": json.dumps(card | changes)})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"kind": "os.path"}, "does not know"),
        ({"kind": "nets.plan.Plan"}, "does not know"),
        ({"kind": None}, "does not know"),
        ({"config": {"n_in": 4, "n_out": 2}}, "does not fit"),
        ({"config": {"n_inputs": 3}}, "does not fit"),
    ],
)
def test_a_card_that_is_not_of_this_package_is_refused(kept, changes, told):
    _with_card(kept[1], **changes)
    with pytest.raises(WeightsError, match=told):
        model_file.Model.load(kept[1])


def test_another_kind_of_model_is_refused(kept):
    class Other(model_file.Model):
        pass

    with pytest.raises(WeightsError, match=r"holds nets\.dense\.MLP, not"):
        Other.load(kept[1])


def test_names_become_file_names():
    assert model_file.slug("logGLO, printed rates") == "logGLO-printed-rates"
