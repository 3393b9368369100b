"""Study 4's optimizer: Lookahead by its definition, decay of matrices alone, and a resumed run as if unbroken."""

import dataclasses

import pytest
import torch
from torch import nn

from paper_utils.latents.optimizers import lookahead, ranger
from paper_utils.nets import training
from paper_utils.nets.plan import Plan, schedule_of


def quadratic(p):
    return 0.5 * (torch.tensor([1.0, 10.0]) * p.square()).sum()


def test_lookahead_is_its_definition_on_a_quadratic():
    """Algorithm 1 of Zhang+ 2019: fast weights make k steps of gradient descent, slow ones alpha of the way to them."""
    lr, k, alpha = 0.05, 5, 0.5
    slow = torch.tensor([1.0, -2.0])
    p = nn.Parameter(slow.clone())
    optimizer = lookahead(torch.optim.SGD([p], lr), k, alpha)
    for _ in range(4):
        fast = slow.clone()
        for _ in range(k):
            fast = fast - lr * torch.tensor([1.0, 10.0]) * fast
        slow = slow + alpha * (fast - slow)
        for _ in range(k):
            optimizer.zero_grad()
            quadratic(p).backward()
            optimizer.step()
        assert torch.allclose(p.detach(), slow)


def test_lookahead_does_not_touch_weights_that_learn_nothing():
    used, idle = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = lookahead(torch.optim.RAdam([used, idle], 0.1), k=2)
    for _ in range(4):
        optimizer.zero_grad()
        quadratic(used).backward()
        optimizer.step()
    assert torch.equal(idle.detach(), torch.ones(2))
    assert (used.detach() < 1).all()


PLAN = Plan(40, 16, lr=0.03, weight_decay=0.01, optimizer=ranger, schedule="fastai")


def small():
    with training.seeded(0):
        return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))


def test_only_matrices_decay():
    model = small()
    decaying, sparing = ranger(model, dataclasses.replace(PLAN, lr=0.1)).param_groups
    assert (decaying["weight_decay"], sparing["weight_decay"]) == (0.01, 0.0)
    assert {id(p) for p in decaying["params"]} == {id(model[0].weight), id(model[3].weight)}
    assert len(sparing["params"]) == 4
    # Decoupled: without a gradient each step takes lr x decay of a weight.
    before = model[0].weight.detach().clone()
    optimizer = ranger(model, dataclasses.replace(PLAN, lr=0.1))
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    assert torch.allclose(model[0].weight, before * (1 - 0.1 * 0.01))
    assert torch.equal(model[1].weight, torch.ones(8))


def test_one_cycle_is_fastais():
    n = 400
    optimizer = ranger(small(), PLAN)
    scheduler = schedule_of(optimizer, dataclasses.replace(PLAN, n_steps=n))
    rates, momenta = [], []
    for _ in range(n):
        rates.append(optimizer.param_groups[0]["lr"])
        momenta.append(optimizer.param_groups[0]["betas"][0])
        optimizer.step()
        scheduler.step()
    assert rates[0] == pytest.approx(0.03 / 25)
    assert max(rates) == pytest.approx(0.03)
    assert rates.index(max(rates)) == pytest.approx(0.25 * n, abs=1)
    assert rates[-1] == pytest.approx(0.03e-5, rel=0.01)
    assert (momenta[0], min(momenta), momenta[-1]) == pytest.approx((0.95, 0.85, 0.95))


@pytest.mark.parametrize("n", [1, 4, 5])
def test_a_cycle_of_few_steps_runs(n):
    optimizer = ranger(small(), PLAN)
    scheduler = schedule_of(optimizer, dataclasses.replace(PLAN, n_steps=n))
    for _ in range(n):
        optimizer.step()
        scheduler.step()


def test_a_resumed_run_ends_where_an_unbroken_one_does(tmp_path):
    x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    y = x.sum(dim=1, keepdim=True)

    def run(stops):
        model, calls = small(), []

        def loss(model, batch, generator):
            calls.append(1)
            if len(calls) == stops:
                raise KeyboardInterrupt
            return {"loss": nn.functional.mse_loss(model(batch["x"]), batch["y"])}

        options = {"progress": False, "checkpoint": tmp_path / "run"}
        return model, training.fit(model, loss, {"x": x, "y": y}, PLAN, **options)["finished"]

    whole, finished = run(stops=None)
    assert finished
    _, finished = run(stops=16)  # within six steps of looking ahead
    assert not finished
    resumed, finished = run(stops=None)
    assert finished
    for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)
