"""The training loop: same seed same weights, pieces equal the whole, and what was learned is not lost."""

import json

import numpy as np
import pytest
import torch

from paper_utils.autoencoder import model as autoencoder
from paper_utils.base.containers import WAVE_OBS
from paper_utils.base.errors import WeightsError
from paper_utils.latents import images_to_latents
from paper_utils.latents import model as xresnet
from paper_utils.midir.glo import Generator, Latents
from paper_utils.midir.wgan import Critic, wgan_step
from paper_utils.nets import training
from paper_utils.nets.dense import MLP

X = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
Y = X @ torch.tensor([[1.0, -2.0], [0.5, 0.0], [3.0, 1.0]])


def regression(seed=0, lr=0.02, n_steps=40):
    """A small network on a linear relation: the step and all its state."""
    with training.seeded(seed):
        model = MLP(3, 2, widths=(8,)).learn_scale(X, Y)
    adam = torch.optim.Adam(model.parameters(), lr)
    step = training.supervised_step(model, adam, X, Y, torch.nn.functional.mse_loss, torch.Tensor.backward)
    return model, step, {"model": model, "adam": adam, "decay": training.halving(adam, n_steps)}


def adversarial():
    """A WGAN, whose latents are drawn during the training: their generator is part of the state."""
    with training.seeded(0):
        generator, critic = Generator(3, 6, width=8, n_hidden=2), Critic(6, 8, 2)
    pair = tuple(torch.optim.RMSprop(m.parameters(), 1e-2) for m in (generator, critic))
    noise = torch.Generator().manual_seed(1)
    step = wgan_step(generator, critic, pair, torch.cat([X, X], 1), torch.Tensor.backward, noise)
    state = {"generator": generator, "critic": critic, "opt_g": pair[0], "opt_c": pair[1], "noise": noise}
    return generator, step, state


def altered():
    """Study 2's autoencoder, whose altered redshifts are drawn during the training."""
    draws = torch.Generator().manual_seed(2)
    y = 1 + 0.1 * torch.randn(60, WAVE_OBS.size, generator=draws)
    data = {"y": y, "w": torch.full_like(y, 100.0), "z": torch.linspace(0.02, 0.3, 60)}
    with training.seeded(0):
        model = autoencoder.Autoencoder(2, (1, 1, 2))
    adam = torch.optim.Adam(model.parameters(), 1e-3)
    step = autoencoder.autoencoder_step(model, adam, data, torch.Tensor.backward, augment=0.5, generator=draws)
    return model, step, {"model": model, "adam": adam, "draws": draws}


def dropping():
    """Study 4's head, some units of which are dropped at each step."""
    with training.seeded(0):
        model = xresnet.simple_cnn(n_out=2, dropout=0.3, gaussian=True)
    drops = torch.Generator().manual_seed(3)
    data = {"features": torch.randn(60, model.head.in_features, generator=drops), "latents": Y}
    adam = torch.optim.AdamW(model.head.parameters(), 1e-2)
    step = images_to_latents.head_step(model, adam, data, torch.Tensor.backward, drops)
    return model.head, step, {"head": model.head, "adam": adam, "drops": drops}


def weights_of(module):
    return torch.cat([p.detach().flatten() for p in module.state_dict().values() if p.is_floating_point()])


RUN = {"n_items": 60, "batch_size": 20, "n_steps": 40, "progress": False}


def test_same_seed_gives_the_same_weights_bit_for_bit():
    def trained(seed):
        model, step, state = regression(seed)
        training.fit(step, state, **RUN, seed=seed)
        return weights_of(model)

    assert torch.equal(trained(1), trained(1))
    assert not torch.equal(trained(1), trained(2))


def test_seeding_a_network_leaves_the_callers_random_numbers_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with training.seeded(99):
        torch.rand(5)
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize("make", [regression, adversarial, altered, dropping])
def test_training_in_pieces_equals_training_at_once(make, tmp_path):
    whole, step, state = make()
    training.fit(step, state, **RUN)
    checkpoint, pieces = tmp_path / "run.checkpoint", 0
    while True:
        model, step, state = make()  # from nothing, as after the end of a process
        history = training.fit(step, state, **RUN, checkpoint=checkpoint, stop_after_s=0.004)
        pieces += 1
        if history["finished"]:
            break
        assert checkpoint.exists()
    assert pieces > 1
    assert torch.equal(weights_of(whole), weights_of(model))
    assert history["step"][-1] == 40
    assert not checkpoint.exists()  # done: nothing to resume


def test_ctrl_c_keeps_what_was_learned(tmp_path, capsys):
    model, step, state = regression()
    calls = []

    def interrupted(index):
        calls.append(index)
        if len(calls) == 11:
            raise KeyboardInterrupt
        return step(index)

    checkpoint = tmp_path / "run.checkpoint"
    start = weights_of(model).clone()
    history = training.fit(interrupted, state, **RUN, checkpoint=checkpoint, label="toy")
    assert not history["finished"]
    assert history["n_steps"] == 10
    assert "step 10 of 40" in capsys.readouterr().out
    assert not torch.equal(weights_of(model), start)
    # And it goes on to the same end as a run that was left alone.
    again, step, state = regression()
    assert training.fit(step, state, **RUN, checkpoint=checkpoint)["finished"]
    alone, step, state = regression()
    training.fit(step, state, **RUN)
    assert torch.equal(weights_of(again), weights_of(alone))


def test_an_epoch_meets_every_object_once():
    seen = []

    def step(index):
        seen.append(index)
        return {"loss": torch.zeros(())}

    training.fit(step, {}, n_items=60, batch_size=20, n_steps=9, progress=False)
    epochs = [torch.cat(seen[i : i + 3]) for i in (0, 3, 6)]
    for epoch in epochs:
        assert torch.equal(epoch.sort().values, torch.arange(60))
    assert not torch.equal(epochs[0], epochs[1])


def test_learning_rate_halves_five_times():
    _, step, state = regression(lr=0.32)
    training.fit(step, state, **{**RUN, "n_steps": 40})
    assert state["adam"].param_groups[0]["lr"] == pytest.approx(0.32 / 2**5)


def test_a_linear_relation_is_learned():
    model, step, state = regression(lr=0.03, n_steps=1500)
    training.fit(step, state, **{**RUN, "n_steps": 1500})
    with torch.no_grad():
        residual = (model(X) - Y).std() / Y.std()
    assert residual < 0.05


@pytest.mark.parametrize("damage", ["cut", "text", "other model"])
def test_a_checkpoint_that_does_not_fit_is_refused(damage, tmp_path):
    checkpoint = tmp_path / "run.checkpoint"
    _, step, state = regression()
    training.fit(step, state, **RUN, checkpoint=checkpoint, stop_after_s=0.0)
    whole = checkpoint.read_bytes()
    if damage == "cut":
        checkpoint.write_bytes(whole[: len(whole) // 2])
    elif damage == "text":
        checkpoint.write_text("not weights")
    _, step, state = adversarial() if damage == "other model" else regression()
    with pytest.raises(WeightsError, match="Delete it and train afresh"):
        training.fit(step, state, **RUN, checkpoint=checkpoint)


def test_checkpoint_of_the_published_size_stays_below_16_mb(tmp_path):
    generator, latents = Generator(), Latents(9000, 50)
    modules = {"generator": generator, "latents": latents}
    optimizers = {f"adam_{k}": torch.optim.Adam(m.parameters()) for k, m in modules.items()}
    (generator(latents.s[:9]) ** 2).mean().backward()
    for optimizer in optimizers.values():
        optimizer.step()  # fills Adam's two moments for every weight
    training.save_state(tmp_path / "c", modules | optimizers, {"n_steps": 1})
    n = sum(p.numel() for m in modules.values() for p in m.parameters())
    assert 3 * 4 * n < (tmp_path / "c").stat().st_size < 16e6
    assert json.loads(json.dumps(training.load_state(tmp_path / "c", modules | optimizers))) == {"n_steps": 1}


def test_history_is_the_mean_loss_between_records():
    losses = iter(np.arange(400.0))

    def step(index):
        return {"loss": torch.tensor(next(losses))}

    history = training.fit(step, {}, n_items=10, batch_size=5, n_steps=400, progress=False)
    every = 400 // training.N_RECORDS
    assert history["step"] == list(range(every, 401, every))
    assert history["loss"] == [np.arange(400.0)[i - every : i].mean() for i in history["step"]]
