"""Study 5's networks: the thesis' sizes and formulas, linear networks that are regressions."""

import numpy as np
import pytest
import torch
from astropy.table import Table
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn

from paper_utils.alhambra import model as al
from paper_utils.alhambra import train as fitting
from paper_utils.alhambra.fast import LinearStep
from paper_utils.alhambra.inputs import INPUTS, clipped, thesis_inputs
from paper_utils.alhambra.model import ensemble
from paper_utils.base.errors import DataError
from paper_utils.nets import training
from paper_utils.nets.plan import Plan

N_OBJECTS = 446_343
LINEAR = ("redshift", "mass", "type")


def network(name, seed=0, **kwargs):
    with training.seeded(seed):
        model = al.Network(name, **kwargs)
        for layer in model.layers:
            nn.init.normal_(layer.bias)  # zero biases would hide a bias that is lost
    return model


def train(model, x, y, *, batch_size, n_epochs):
    plan = Plan(n_epochs * (len(x) // batch_size), batch_size, optimizer=al.adam, schedule="cosine")
    return fitting._descend(model, x, y, plan, training.fabric_on("cpu"), progress=False)


# The thesis' description


def test_parameters_follow_from_the_layers_of_the_thesis():
    layers = {  # Sec. 3.3.1 - 3.3.4
        "redshift": (75, 120, 1),
        "stellarity": (75, 500, 600, 2),
        "mass": (75, 120, 200, 50, 1),
        "type": (75, 120, 500, 5),
    }
    for name, sizes in layers.items():
        counted = sum(p.numel() for p in al.Network(name).parameters())
        assert counted == sum((a + 1) * b for a, b in zip(sizes[:-1], sizes[1:], strict=True))
    published = {name: value for name, _, value, _ in fitting.Settings.load("05", "paper").rows()}
    assert published["n_epochs"] == (80, 20, 7, 10)
    assert len(INPUTS) == len(set(INPUTS)) == 75


def test_listing_validates_on_objects_that_it_trains_on():
    rows, validation = al.listing_split(N_OBJECTS)
    assert set(validation) <= set(rows)
    assert len(validation) == 21700 + 23 + 189 + 406  # Table 4.1
    assert len(rows) == 424_025 + 1  # loc counts its end
    assert len(al.listing_split(N_OBJECTS, 0.1, 0.01)[0]) == 44_635  # Sec. 3.3.5


@given(x=arrays(float, st.integers(2, 20), elements=st.floats(-1e6, 1e6)))
def test_min_max_is_the_printed_one_and_has_an_inverse(x):
    if x.max() <= x.min() + 1e-6:
        return
    y = al.min_max(x)
    np.testing.assert_allclose(y, (x + np.min(x)) / (np.max(x) - np.min(x)))
    np.testing.assert_allclose(al.undo_min_max(y, x.min(), x.max()), x, rtol=1e-9, atol=1e-6)
    # As the text undoes it, every value is too large by twice the minimum.
    text = y * (x.max() - x.min()) + x.min()
    np.testing.assert_allclose(text, x + 2 * x.min(), rtol=1e-9, atol=1e-6)


def test_min_max_is_the_usual_one_only_where_the_minimum_is_zero():
    assert al.min_max([0.0, 2.0, 4.0]).tolist() == [0, 0.5, 1]
    assert al.min_max([8.0, 10.0, 12.0]).tolist() == [4, 4.5, 5]
    with pytest.raises(DataError, match="no range"):
        al.min_max([3.0, 3.0])


@given(y=arrays(float, st.integers(1, 20), elements=st.floats(0, 10)))
def test_power_comes_back(y):
    np.testing.assert_allclose(al.undo_power(al.power(y)), y, rtol=1e-12, atol=1e-300)


def test_power_of_a_negative_target_is_refused():
    with pytest.raises(DataError, match="row 1.*minimum is not below 0"):
        al.power(al.min_max([4.0, -3.0, 5.0]))  # absolute magnitudes would do this
    assert al.undo_power([-0.5])[0] == 0


def test_inputs_are_clipped_as_the_listing_does():
    x = np.array([99.0, -99.0, 25.3, -1.0, 814_012_345.0, 0.02, 27.5])
    assert clipped(x).tolist() == [27, 27, 25.3, 0, 27, 0.02, 27]
    table = Table({name: np.full(3, 99.0) for name in INPUTS})
    assert thesis_inputs(table).shape == (3, 75)
    with pytest.raises(DataError, match="no column 'dJ'"):
        thesis_inputs(table[[name for name in INPUTS if name != "dJ"]])
    table["xray"] = ["none", "0", "1"]
    with pytest.raises(DataError, match="'xray': not numbers"):
        thesis_inputs(table)


def test_types_fall_into_five_equal_ranges():
    model = network("type")
    assert model.targets([0.9, 1, 2.99, 3, 5, 7.5, 9, 11, 12]).argmax(dim=1).tolist() == [0, 0, 0, 1, 2, 3, 4, 4, 4]
    targets = model.targets([1.0, 10.0])
    assert targets.tolist() == [[1, 0, 0, 0, 0], [0, 0, 0, 0, 1]]
    assert model.values(targets).tolist() == [2, 10]  # the centres of the ranges


def test_targets_come_back_as_values():
    z = np.random.default_rng(0).uniform(0.01, 1.4, 500)
    model = network("redshift").learn_scale(torch.zeros(500, 75), z)
    assert model.targets(z).shape == (500, 1)
    np.testing.assert_allclose(model.values(model.targets(z)), z, rtol=1e-5, atol=1e-6)
    stars = network("stellarity")
    assert stars.targets([0.0, 0.5, 0.51, 1.0]).tolist() == [0, 0, 1, 1]
    assert stars.values(torch.tensor([[0.0, np.log(3.0)]])) == pytest.approx(0.75)


# Linear networks


@pytest.mark.parametrize("name", LINEAR)
def test_linear_layers_are_one_matrix(name):
    model = network(name).double()
    W, b = al.collapse(model)
    x = 27 * torch.rand(200, 75, dtype=torch.float64)
    assert W.shape == (model.spec.n_out, 75)
    with torch.no_grad():
        assert torch.allclose(model(x), x @ W.T + b, rtol=1e-12, atol=1e-10)
        single = model.float()(x.float())
    assert (single - (x @ W.T + b)).abs().max() < 1e-5 * single.abs().max()


@pytest.mark.parametrize("name", LINEAR)
def test_fast_gradients_are_those_of_backpropagation(name):
    x, y = torch.rand(300, 75, dtype=torch.float64), torch.rand(300, al.SPECS[name].n_out, dtype=torch.float64)
    index, plan = torch.randperm(300)[:64], Plan(1, 64, optimizer=al.adam)
    model, reference = network(name).double(), network(name).double()
    step = LinearStep(model, x, y, plan)
    found = step(index)["loss"]
    expected = al.loss(reference, {"x": x[index], "y": y[index]}, torch.Generator())["loss"]
    expected.backward()
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    for fast, slow in zip(model.parameters(), reference.parameters(), strict=True):
        assert torch.allclose(fast.grad, slow.grad, rtol=1e-10, atol=1e-12)
    assert step.state.keys() == {"network", "adam"}


@pytest.mark.parametrize("name", LINEAR)
def test_training_leads_to_least_squares(name):
    """However deep: predictions end nearer to the regression's than a hundredth of the scatter about it."""
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(4000, 75, generator=rng)
    truth = torch.randn(75, al.SPECS[name].n_out, generator=rng) / 75**0.5
    y = x @ truth + 0.3 + 0.5 * torch.randn(4000, truth.shape[1], generator=rng)
    model = network(name)
    train(model, x, y, batch_size=500, n_epochs=80)
    W, b = al.least_squares(x, y)
    expected, *_ = np.linalg.lstsq(np.hstack([x.numpy(), np.ones((4000, 1))]), y.numpy(), rcond=None)
    np.testing.assert_allclose(torch.cat([W, b[:, None]], dim=1).T, expected, atol=1e-5)  # an independent solver
    limit = x.double() @ W.T + b
    with torch.no_grad():
        distance = (model(x) - limit).square().mean().sqrt()
    assert distance < 0.01 * (limit - y).square().mean().sqrt()


def test_least_squares_survives_a_clipped_table():
    """Constant and repeated columns leave the prediction unique though not the weights."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 4))
    x = np.column_stack([x, np.full(500, 27.0), x[:, 0], np.full(500, 27.0)])
    y = x[:, :2] @ [[1.0], [2.0]] + 5
    W, b = al.least_squares(x, y)
    np.testing.assert_allclose(x @ W.numpy().T + b.numpy(), y, atol=1e-6)
    assert W[0, [4, 6]].abs().max() == 0


def test_polynomial_removes_a_planted_curve():
    """Predictions are a quintic away from what is expected; the correction finds its inverse on the sample."""
    x = torch.linspace(-1, 1, 2000)[:, None].repeat(1, 75)
    model = network("redshift", order=7)
    with torch.no_grad():
        for layer in model.layers:
            layer.weight.zero_()
            layer.bias.zero_()
        model.layers[0].weight[0, 0] = model.layers[1].weight[0, 0] = 0.05
        model.layers[1].bias.fill_(0.95)
    model.learn_scale(x, [0.0, 1.0])
    raw = model.predict(x)
    u = (raw - raw.mean()) / np.ptp(raw)
    expected = 0.5 + 0.8 * u + 0.9 * u**2 - 1.5 * u**5
    before = np.abs(raw - expected).max()
    model.learn_correction(x, expected)
    assert before > 0.1
    np.testing.assert_allclose(model.predict(x), expected, atol=1e-5)
    # Past the end of what it was fitted on there is no guess: the end value stays.
    assert model.predict(100 * x[-1:])[0] == pytest.approx(expected[-1], abs=1e-5)


def test_ensemble_gives_all_outputs_of_one_object_and_of_many():
    networks = {name: network(name) for name in al.SPECS}
    table = Table(27 * np.random.default_rng(0).random((3, 75)), names=INPUTS)
    many, one = ensemble(networks, table), ensemble(networks, table[1:2])
    assert list(many) == list(al.SPECS)
    for name, values in many.items():
        assert values.shape == (3,)
        np.testing.assert_allclose(one[name], values[1:2], rtol=1e-4)  # rounding, to the power of 10
    assert ((many["stellarity"] >= 0) & (many["stellarity"] <= 1)).all()


def test_stellarity_network_learns_what_no_line_separates():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 4)).astype(np.float32)
    flag = (x[:, 0] * x[:, 1] > 0).astype(float)
    model, x = network("stellarity", columns="abcd"), torch.as_tensor(x)
    train(model, x[:2000], model.targets(flag[:2000]), batch_size=100, n_epochs=10)
    accuracy = ((model.predict(x[2000:]) > 0.5) == flag[2000:]).mean()
    assert accuracy > 0.9  # every linear rule has 0.5


def test_a_folded_network_says_of_raw_inputs_what_it_said_of_scaled_ones():
    network = al.Network("mass")
    x = torch.rand(50, 75) * 27
    centre, scale = x.mean(dim=0), x.std(dim=0)
    with torch.no_grad():
        expected = network((x - centre) / scale)
        found = al.fold(network, centre, scale)(x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", al.READINGS)
def test_other_readings_of_the_thesis_are_networks_too(name):
    network = al.Network(name)
    values = np.array([0.0, 1, 0.3]) if network.spec.classifies else np.array([1.5, 9, 4])
    x = torch.rand(3, 75) * 27
    targets = network.learn_scale(x, values).targets(values)
    loss = al.loss(network, {"x": x, "y": targets}, torch.Generator())
    assert torch.isfinite(loss["loss"])
    assert ("accuracy" in loss) == network.spec.classifies
    assert np.isfinite(network.predict(x)).all()
