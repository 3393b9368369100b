"""The training loop: same seed same weights, pieces equal the whole, and what was learned is not lost."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from paper_utils.base.errors import WeightsError
from paper_utils.nets import checkpoints, training
from paper_utils.nets.dense import MLP
from paper_utils.nets.plan import Plan, moving_average

X = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
Y = X @ torch.tensor([[1.0, -2.0], [0.5, 0.0], [3.0, 1.0]])
DATA = {"x": X, "y": Y}
PLAN = Plan(40, 20, lr=0.02, schedule="halving")


def squares(model, batch, generator):
    return {"loss": (model(batch["x"]) - batch["y"]).square().mean()}


def noisy(model, batch, generator):
    """A loss that draws, as those of diffusion and of dropped units do."""
    noise = 0.1 * torch.randn(batch["x"].shape, generator=generator)
    return {"loss": (model(batch["x"] + noise) - batch["y"]).square().mean()}


def new(seed=0):
    with training.seeded(seed):
        return MLP(3, 2, widths=(8,)).learn_scale(X, Y)


def fit(model, plan=PLAN, loss=squares, data=DATA, **options):
    return training.fit(model, loss, data, plan, progress=False, **options)


def weights_of(module):
    return torch.cat([p.detach().flatten() for p in module.state_dict().values() if p.is_floating_point()])


def change(plan, **values):
    return Plan(**{name: getattr(plan, name) for name in plan.__dataclass_fields__} | values)


def test_same_seed_gives_the_same_weights_bit_for_bit():
    def trained(seed):
        model = new(seed)
        fit(model, change(PLAN, seed=seed), noisy)
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


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"schedule": "one-cycle", "clip": 1.0},
        {"schedule": "fastai", "optimizer": "adamw", "weight_decay": 0.1},
        {"average": 0.9, "schedule": "cosine"},
        {"keep": "best", "average": 0.99},
        {"keep": "best", "patience": 3},
    ],
    ids=str,
)
def test_training_in_pieces_equals_training_at_once(options, tmp_path):
    plan = change(PLAN, **options)
    held = {"validation": {"x": X[:20] + 0.1, "y": Y[:20]}} if "keep" in options else {}
    whole = new()
    expected = fit(whole, plan, noisy, **held)
    checkpoint, pieces = tmp_path / "run.checkpoint", 0
    while True:
        model = new()  # from nothing, as after the end of a process
        history = fit(model, plan, noisy, **held, checkpoint=checkpoint, stop_after_s=0.004)
        pieces += 1
        if history["finished"]:
            break
        assert checkpoint.exists()
    assert pieces > 1
    assert torch.equal(weights_of(whole), weights_of(model))
    assert {k: v for k, v in history.items() if k != "wall_s"} == {k: v for k, v in expected.items() if k != "wall_s"}
    assert not checkpoint.exists()  # done: nothing to resume


def test_ctrl_c_keeps_what_was_learned(tmp_path, capsys):
    model, calls = new(), []

    def interrupted(*given):
        calls.append(given)
        if len(calls) == 11:
            raise KeyboardInterrupt
        return squares(*given)

    checkpoint = tmp_path / "run.checkpoint"
    start = weights_of(model).clone()
    history = fit(model, loss=interrupted, checkpoint=checkpoint, label="toy")
    assert not history["finished"]
    assert history["n_steps"] == 10
    assert "step 10 of 40" in capsys.readouterr().out
    assert not torch.equal(weights_of(model), start)
    # And it goes on to the same end as a run that was left alone.
    again, alone = new(), new()
    assert fit(again, checkpoint=checkpoint)["finished"]
    fit(alone)
    assert torch.equal(weights_of(again), weights_of(alone))


def test_an_epoch_meets_every_object_once():
    seen = []

    def step(index):
        seen.append(index)
        return {"loss": torch.zeros(())}

    training.repeat(step, {}, 60, Plan(9, 20), progress=False)
    epochs = [torch.cat(seen[i : i + 3]) for i in (0, 3, 6)]
    for epoch in epochs:
        assert torch.equal(epoch.sort().values, torch.arange(60))
    assert not torch.equal(epochs[0], epochs[1])


def test_only_the_chosen_rows_are_learned_from():
    seen, rows = [], torch.tensor([3, 5, 8, 13])

    def watched(model, batch, generator):
        seen.append(batch["index"])
        assert torch.equal(batch["x"], X[batch["index"]])
        return squares(model, batch, generator)

    fit(new(), Plan(6, 2), watched, rows=rows)
    assert set(torch.cat(seen).tolist()) == set(rows.tolist())


def test_learning_rate_halves_five_times():
    step = training.Descent(new(), squares, DATA, change(PLAN, lr=0.32), training.fabric_on("cpu"))
    training.repeat(step, step.state, 60, step.plan, progress=False)
    assert step.optimizer.param_groups[0]["lr"] == pytest.approx(0.32 / 2**5)


def test_a_linear_relation_is_learned():
    model = new()
    fit(model, change(PLAN, lr=0.03, n_steps=1500))
    with torch.no_grad():
        residual = (model(X) - Y).std() / Y.std()
    assert residual < 0.05


def test_gradients_are_clipped():
    """A loss of enormous slope moves plain gradient descent by the learning rate times the largest norm."""
    model = nn.Linear(3, 2)
    before = weights_of(model)

    def steep(model, batch, generator):
        return {"loss": 1e6 * model(batch["x"]).sum()}

    plan = Plan(1, 60, clip=0.5, optimizer=lambda model, plan: torch.optim.SGD(model.parameters(), 1.0))
    fit(model, plan, steep)
    assert (weights_of(model) - before).norm() == pytest.approx(0.5, rel=1e-4)


def test_average_follows_the_weights_and_forgets_the_start():
    """Weights that are 1, 2, 3, ...: the average is their exponential mean with the decay (1 + n) / (10 + n)."""
    model, expected = nn.Linear(1, 1), None
    average = moving_average(model, 0.5)
    for n, value in enumerate(np.arange(1.0, 30)):
        nn.init.constant_(model.weight, value)
        average.update_parameters(model)
        decay = min((1 + n) / (10 + n), 0.5)
        expected = value if n == 0 else decay * expected + (1 - decay) * value
    assert average.module.weight.item() == pytest.approx(expected, rel=1e-6)


def test_average_keeps_counters_and_means_of_batch_norm():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    average = moving_average(model, 0.9)
    for _ in range(5):
        model(X)
        average.update_parameters(model)
    assert average.module[1].num_batches_tracked.item() == 5
    assert torch.isfinite(average.module[1].running_var).all()


def test_the_trained_model_is_the_average_where_one_is_asked_for():
    last, averaged = new(), new()
    fit(last)
    step = training.Descent(averaged, squares, DATA, change(PLAN, average=0.99), training.fabric_on("cpu"))
    training.repeat(step, step.state, 60, step.plan, progress=False)
    kept = new()
    fit(kept, change(PLAN, average=0.99))
    assert torch.equal(weights_of(kept), weights_of(step.average.module))
    assert not torch.equal(weights_of(kept), weights_of(last))


def test_best_weights_are_those_of_the_lowest_validation_loss():
    """A learning rate that diverges: the last weights are worse than the best, which are kept."""
    held = {"x": X[:20], "y": Y[:20]}
    plan = change(PLAN, lr=3.0, schedule="constant", keep="best", n_steps=100)
    model = new()
    history = fit(model, plan, validation=held)
    with torch.no_grad():
        kept = float(squares(model, held, None)["loss"])
    assert kept == pytest.approx(min(history["validation"]), rel=1e-5)
    assert kept < history["validation"][-1]
    assert history["validation_step"][-1] == 100


def test_training_stops_where_validation_no_longer_improves():
    def worse(model, batch, generator):
        return {"loss": squares(model, batch, generator)["loss"] * (1 if model.training else torch.nan)}

    history = fit(new(), change(PLAN, patience=4), worse, validation=DATA)
    assert history["n_steps"] == 4 * (40 // training.N_VALIDATIONS)  # NaN is never an improvement
    assert history["finished"]


def test_a_plan_of_epochs_meets_whole_batches_alone():
    assert Plan.of_epochs(105, 3, 20, lr=0.1, seed=4) == Plan(15, 20, lr=0.1, seed=4)
    assert Plan.of_epochs(12, 3, 20) == Plan(3, 12)


def test_looking_at_the_validation_loss_changes_nothing():
    watched, alone = new(), new()
    fit(watched, loss=noisy, validation=DATA)
    fit(alone, loss=noisy)
    assert torch.equal(weights_of(watched), weights_of(alone))


def test_a_model_is_constrained_after_each_step():
    class Unit(nn.Module):
        def __init__(self):
            super().__init__()
            self.s = nn.Parameter(torch.ones(2))

        def constrain(self):
            with torch.no_grad():
                self.s /= self.s.norm()

    model = Unit()
    fit(model, Plan(5, 60), lambda model, batch, generator: {"loss": (model.s - 3).square().sum()})
    assert model.s.detach().norm() == pytest.approx(1)


@pytest.mark.parametrize("damage", ["cut", "text", "other model"])
def test_a_checkpoint_that_does_not_fit_is_refused(damage, tmp_path):
    checkpoint = tmp_path / "run.checkpoint"
    fit(new(), checkpoint=checkpoint, stop_after_s=0.0)
    whole = checkpoint.read_bytes()
    if damage == "cut":
        checkpoint.write_bytes(whole[: len(whole) // 2])
    elif damage == "text":
        checkpoint.write_text("not weights")
    model = MLP(3, 2, widths=(9,)) if damage == "other model" else new()
    with pytest.raises(WeightsError, match="Delete it and train afresh"):
        fit(model, checkpoint=checkpoint)


def test_a_checkpoint_holds_weights_and_moments_and_nothing_else(tmp_path):
    model = MLP(200, 100, widths=(300,))
    step = training.Descent(
        model, squares, {"x": torch.randn(9, 200), "y": torch.randn(9, 100)}, PLAN, training.fabric_on("cpu")
    )
    step(torch.arange(9))
    n = sum(p.numel() for p in model.parameters())
    checkpoints.save(tmp_path / "c", step.state, {"n_steps": 1})
    assert 3 * 4 * n < (tmp_path / "c").stat().st_size < 3.3 * 4 * n
    assert json.loads(json.dumps(checkpoints.load(tmp_path / "c", step.state))) == {"n_steps": 1}


def test_history_is_the_mean_loss_between_records():
    losses = iter(np.arange(400.0))

    def step(index):
        return {"loss": torch.tensor(next(losses))}

    history = training.repeat(step, {}, 10, Plan(400, 5), progress=False)
    every = 400 // training.N_RECORDS
    assert history["step"] == list(range(every, 401, every))
    assert history["loss"] == [np.arange(400.0)[i - every : i].mean() for i in history["step"]]
