"""Study 5's networks: the thesis' sizes and formulas, linear networks that are regressions, densities that hold."""

import numpy as np
import pytest
import torch
from astropy.table import Table
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn

from paper_utils.alhambra import mdn, mixtures
from paper_utils.alhambra import model as al
from paper_utils.alhambra.inputs import BANDS, INPUTS, Photometry, beside, clipped, inputs_of, thesis_inputs
from paper_utils.base.constants import C_KMS
from paper_utils.base.dust import attenuation
from paper_utils.base.errors import DataError
from paper_utils.base.wavelengths import log_grid
from paper_utils.nets import training
from paper_utils.nets.dense import MLP

LINEAR = ("redshift", "mass", "type")


def network(name, seed=0, **kwargs):
    with training.seeded(seed):
        model = al.Network(al.SPECS[name], **kwargs)
        for layer in model.layers:
            nn.init.normal_(layer.bias)  # zero biases would hide a bias that is lost
    return model


def train(model, optimizer, step, n_items, *, batch_size, n_epochs, anneal=True):
    n_steps = n_epochs * (n_items // batch_size)
    state = {"model": model, "optimizer": optimizer}
    if anneal:
        state["decay"] = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    return training.fit(step, state, n_items=n_items, batch_size=batch_size, n_steps=n_steps, progress=False)


# The thesis' description


def test_parameters_follow_from_the_layers_of_the_thesis():
    layers = {  # Sec. 3.3.1 - 3.3.4
        "redshift": (75, 120, 1),
        "stellarity": (75, 500, 600, 2),
        "mass": (75, 120, 200, 50, 1),
        "type": (75, 120, 500, 5),
    }
    for name, sizes in layers.items():
        counted = sum(p.numel() for p in al.Network(al.SPECS[name]).parameters())
        assert counted == sum((a + 1) * b for a, b in zip(sizes[:-1], sizes[1:], strict=True))
    assert [al.SPECS[name].n_epochs for name in layers] == [80, 20, 7, 10]
    assert len(INPUTS) == len(set(INPUTS)) == al.N_INPUTS


def test_listing_validates_on_objects_that_it_trains_on():
    rows, validation = al.listing_split(al.N_OBJECTS)
    assert set(validation) <= set(rows)
    assert len(validation) == 21700 + 23 + 189 + 406  # Table 4.1
    assert len(rows) == 424_025 + 1  # loc counts its end
    assert len(al.listing_split(al.N_OBJECTS, 0.1, 0.01)[0]) == 44_635  # Sec. 3.3.5


@given(x=arrays(float, st.integers(2, 20), elements=st.floats(-1e6, 1e6)))
def test_min_max_is_the_printed_one_and_has_an_inverse(x):
    if x.max() <= x.min() + 1e-6:
        return
    y = al.min_max(x)
    np.testing.assert_allclose(y, (x + np.min(x)) / (np.max(x) - np.min(x)))
    np.testing.assert_allclose(al.undo_min_max(y, x.min(), x.max()), x, rtol=1e-9, atol=1e-6)
    # As the text undoes it, every value is too large by twice the minimum.
    text = al.undo_min_max(y, x.min(), x.max(), as_text=True)
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
    with pytest.raises(DataError, match="'xray' is not numbers"):
        thesis_inputs(table)


def test_types_fall_into_five_equal_ranges():
    assert al.type_class([1, 2.99, 3, 5, 7.5, 9, 11]).tolist() == [0, 0, 1, 2, 3, 4, 4]
    model = network("type")
    targets = model.targets([1.0, 10.0])
    assert targets.tolist() == [[1, 0, 0, 0, 0], [0, 0, 0, 0, 1]]
    assert model.values(targets).tolist() == [2, 10]  # the centres of the ranges


def test_targets_come_back_as_values():
    z = np.random.default_rng(0).uniform(0.01, 1.4, 500)
    model = network("redshift").learn_range(z)
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


def test_relu_layers_are_none():
    with pytest.raises(ValueError, match="relu"):
        al.collapse(network("stellarity"))


@pytest.mark.parametrize("name", LINEAR)
def test_fast_gradients_are_those_of_backpropagation(name):
    x, y = torch.rand(300, 75, dtype=torch.float64), torch.rand(300, al.SPECS[name].n_out, dtype=torch.float64)
    index = torch.randperm(300)[:64]
    found = []
    for fast in (True, False):
        model = network(name).double()
        still = torch.optim.SGD(model.parameters(), 0.0)
        if fast:
            step = al.dense_step(model, still, x, y, torch.Tensor.backward)
        else:
            step = training.supervised_step(model, still, x, y, nn.functional.mse_loss, torch.Tensor.backward)
        found.append((step(index)["loss"], [p.grad for p in model.parameters()]))
    (loss, grads), (reference, references) = found
    assert loss.item() == pytest.approx(reference.item(), rel=1e-12)
    for grad, other in zip(grads, references, strict=True):
        assert torch.allclose(grad, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", LINEAR)
def test_training_leads_to_least_squares(name):
    """However deep: predictions end nearer to the regression's than a hundredth of the scatter about it."""
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(4000, 75, generator=rng)
    truth = torch.randn(75, al.SPECS[name].n_out, generator=rng) / 75**0.5
    y = x @ truth + 0.3 + 0.5 * torch.randn(4000, truth.shape[1], generator=rng)
    model = network(name)
    optimizer = al.adam(model)
    train(
        model,
        optimizer,
        al.dense_step(model, optimizer, x, y, torch.Tensor.backward),
        4000,
        batch_size=500,
        n_epochs=80,
    )
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
    model.learn_range([0.0, 1.0])
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
    x = 27 * torch.rand(3, 75)
    many = al.ensemble(networks, x)
    assert many.shape == (3, 4)
    np.testing.assert_allclose(al.ensemble(networks, x[1].numpy()), many[1], rtol=1e-4)  # rounding, to the power of 10
    assert ((many[:, 1] >= 0) & (many[:, 1] <= 1)).all()


def test_stellarity_network_learns_what_no_line_separates():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 4)).astype(np.float32)
    flag = (x[:, 0] * x[:, 1] > 0).astype(float)
    model = network("stellarity", n_in=4)
    optimizer = al.adam(model)
    data = torch.as_tensor(x), model.targets(flag)
    step = al.dense_step(model, optimizer, *data, torch.Tensor.backward)
    train(model, optimizer, step, 2000, batch_size=100, n_epochs=10)
    accuracy = ((model.predict(data[0][2000:]) > 0.5) == flag[2000:]).mean()
    assert accuracy > 0.9  # every linear rule has 0.5


# Features


def table_of(m, error):
    return Table({name: m[:, i] for i, name in enumerate(BANDS)} | {f"d{n}": error[:, i] for i, n in enumerate(BANDS)})


def test_asinh_magnitudes_are_magnitudes_where_bright_and_go_on_through_zero():
    rng = np.random.default_rng(0)
    m = rng.uniform(16, 25, (300, 1)) + rng.normal(0, 0.3, (300, len(BANDS)))
    error = 0.05 * 10 ** (0.4 * (m - 23))  # a noise that is the same at all magnitudes: 0.05 mag at 23
    photometry = Photometry.of(table_of(m, error))
    x = photometry.features(table_of(m, error))
    n = len(BANDS)
    assert x.shape == (300, 2 * n + 1)
    bright = m.max(axis=1) < 20
    np.testing.assert_allclose((x[:, :n] + x[:, n : n + 1])[bright], m[bright], atol=0.005)
    # A non-detection is a flux of 0: -2.5 log10 of the softening b, here 1 sigma: 23 - 2.5 log10(0.05 / 1.086).
    lost = m.copy()
    lost[0, 3], error[0, 3] = 99, 26.0
    mu = photometry.features(table_of(lost, error))[0]
    sigma = 23 - 2.5 * np.log10(0.05 / (2.5 / np.log(10)))
    assert mu[3] + mu[n] == pytest.approx(sigma, abs=0.01)


def test_bands_not_observed_touch_no_other():
    m = np.full((50, len(BANDS)), 22.0) + np.random.default_rng(0).normal(0, 0.1, (50, len(BANDS)))
    error = np.full_like(m, 0.05)
    photometry = Photometry.of(table_of(m, error))
    m[0, 5], error[0, 5] = -99, 0
    x = photometry.features(table_of(m, error))
    assert np.isnan(x[0, 5])
    assert np.isnan(x).sum() == 1
    model = mdn.MixtureDensity(x.shape[1]).learn_scale(torch.tensor(x), torch.rand(50))
    assert np.isfinite(model.median(torch.tensor(x))).all()


@given(
    m=arrays(float, (4, 2), elements=st.one_of(st.sampled_from([99.0, -99.0]), st.floats(10, 30))),
    error=arrays(float, (4, 2), elements=st.one_of(st.sampled_from([99.0, -99.0, 0.0, 27.0]), st.floats(0, 3))),
    kind=st.sampled_from(["magnitudes", "colours", "asinh"]),
)
def test_features_of_any_table_are_numbers_or_not_observed(m, error, kind):
    table = Table({"r": m[:, 0], "i": m[:, 1], "dr": error[:, 0], "di": error[:, 1]})
    x = Photometry(("r", "i"), np.array([50.0, 80.0]), kind).features(table)
    missing = m == -99 if kind == "asinh" else np.zeros_like(m, bool)
    assert (np.isnan(x).sum(axis=1) == missing.sum(axis=1)).all()
    assert not np.isinf(x).any()


def test_inputs_are_what_is_no_label_and_shapes_what_is_no_magnitude():
    table = Table({name: np.full(2, 3.0) for name in (*INPUTS, "zb_1", "tb_1", "Stellar_Flag", "odds_1", "petroRad")})
    assert inputs_of(table) == (*INPUTS, "petroRad")
    table["fwhm"] = [np.sinh(2.0), -99]
    x = beside(table, BANDS)
    names = ["area", "fwhm", "stell", "ell", "a", "b", "rk", "rf", "s2n", "F814W_3arcs", "F814W_3arcs_corr", "petroRad"]
    assert x.shape == (2, len(names))
    assert x[0, names.index("fwhm")] == pytest.approx(2)
    assert np.isnan(x).sum() == np.isnan(x[1, names.index("fwhm")]) == 1
    assert beside(table_of(np.ones((3, 24)), np.ones((3, 24))), BANDS).shape == (3, 0)


def test_bands_without_detections_are_refused():
    table = Table({"r": [99.0, 99.0], "dr": [26.0, 26.0]})
    with pytest.raises(DataError, match="'r' has no detection"):
        Photometry.of(table, ("r",))
    with pytest.raises(DataError, match="kind 'luptitudes'"):
        Photometry.of(table, ("r",), "luptitudes")


# Densities


@pytest.fixture(scope="module")
def bimodal():
    """t | x is two Gaussians: weight 0.3 + 0.4 x at 0.1 + 0.2 x (sigma 0.02), the rest at 0.6 - 0.1 x (sigma 0.04)."""
    rng = np.random.default_rng(0)

    def sample(n):
        x = rng.uniform(0, 1, n)
        first = rng.uniform(size=n) < 0.3 + 0.4 * x
        t = np.where(first, rng.normal(0.1 + 0.2 * x, 0.02), rng.normal(0.6 - 0.1 * x, 0.04))
        return torch.tensor(x[:, None], dtype=torch.float32), np.expm1(t)

    x, z = sample(20_000)
    t = torch.tensor(np.log1p(z), dtype=torch.float32)
    with training.seeded(0):
        model = mdn.MixtureDensity(1, 2, (64, 64)).learn_scale(x, t)
    adam = torch.optim.Adam(model.parameters(), 3e-3)
    step = training.supervised_step(model, adam, x, t, mdn.nll, torch.Tensor.backward)
    train(model, adam, step, len(x), batch_size=500, n_epochs=20)
    return model, sample


def test_mixture_density_network_finds_a_planted_bimodal_density(bimodal):
    model, _ = bimodal
    with torch.no_grad():
        log_weight, mean, log_sigma = model(torch.tensor([[0.2], [0.5], [0.8]])).unbind(1)
    for row, x in enumerate((0.2, 0.5, 0.8)):
        order = mean[row].argsort()
        np.testing.assert_allclose(mean[row][order], [0.1 + 0.2 * x, 0.6 - 0.1 * x], atol=0.006)
        np.testing.assert_allclose(log_sigma[row][order].exp(), [0.02, 0.04], rtol=0.12)
        assert log_weight[row][order][0].exp().item() == pytest.approx(0.3 + 0.4 * x, abs=0.04)


def test_its_68_per_cent_interval_holds_68_per_cent(bimodal):
    model, sample = bimodal
    x, z = sample(20_000)
    low, high = model.quantiles(x, [0.16, 0.84]).T
    assert 0.66 < ((z > low) & (z < high)).mean() < 0.70


def test_densities_quantiles_and_probabilities_agree(bimodal):
    model, _ = bimodal
    x = torch.tensor([[0.1], [0.9]])
    grid = np.linspace(-0.2, 1.5, 4001)
    for calibrated in (False, True):
        if calibrated:
            model.calibrate(*bimodal[1](2000))
        pdf, cdf = model.pdf(x, grid), model.cdf(x, grid)
        np.testing.assert_allclose(np.trapezoid(pdf, grid, axis=1), 1, atol=2e-3)
        np.testing.assert_allclose(np.diff(cdf, axis=1), (pdf[:, 1:] + pdf[:, :-1]) / 2 * np.diff(grid), atol=2e-3)
        for level in (0.05, 0.5, 0.9):
            at = model.quantiles(x, level)[:, 0]
            np.testing.assert_allclose(model.pit(x, at), level, atol=1e-6)
        np.testing.assert_allclose(model.median(x), model.quantiles(x, 0.5)[:, 0])
    model.levels.copy_(torch.linspace(0, 1, mdn.N_KNOTS + 1))
    mean = np.trapezoid(grid * model.pdf(x, grid), grid, axis=1)
    np.testing.assert_allclose(model.mean(x), mean, atol=1e-4)


def test_peak_is_the_highest_of_the_two(bimodal):
    model, _ = bimodal
    x = torch.tensor([[0.05], [0.9]])
    grid = np.linspace(0.0, 1.2, 4001)
    model.levels.copy_(torch.linspace(0, 1, mdn.N_KNOTS + 1))
    # In ln(1 + z), where the Gaussians are.
    highest = grid[(model.pdf(x, grid) * (1 + grid)).argmax(axis=1)]
    np.testing.assert_allclose(model.peak(x), highest, atol=2e-3)


def test_calibration_mends_intervals_that_are_too_narrow(bimodal):
    model, sample = bimodal
    last = model.trunk.network[-1]
    sigmas = slice(2 * model.n_components, None)
    with torch.no_grad():
        last.bias[sigmas] -= np.log(2.5)  # every Gaussian now claims to be 2.5 times better than it is
    x, z = sample(20_000)

    def covered():
        low, high = model.quantiles(x, [0.16, 0.84]).T
        return ((z > low) & (z < high)).mean()

    before = covered()
    model.calibrate(*sample(5000))
    after = covered()
    with torch.no_grad():
        last.bias[sigmas] += np.log(2.5)
    model.levels.copy_(torch.linspace(0, 1, mdn.N_KNOTS + 1))
    assert before < 0.6
    assert 0.66 < after < 0.70


def test_calibration_wants_objects():
    with pytest.raises(DataError, match="too few to calibrate"):
        mdn.MixtureDensity(2).calibrate(torch.rand(30, 2), np.ones(30))


# Appendix B

WAVE_REST = np.geomspace(1700, 7500, 1500)
WAVE_OBS = np.geomspace(3540.5, 7409, 300)
AGES, METALS = np.array([0.1, 1.0, 10.0]), np.array([-0.4, 0.0, 0.2])


def templates():
    """Continua that redden with age and absorption lines that deepen with it."""
    lines = np.exp(-0.5 * ((WAVE_REST[:, None] - [3934.8, 5176.6, 5895.6]) / 15) ** 2).sum(axis=1)
    slope = np.array([[-2.0], [0.0], [2.0]])
    return (WAVE_REST / 5000) ** slope * (1 - np.array([[0.1], [0.3], [0.6]]) * lines)


def test_mixtures_have_32_parameters_of_up_to_four_populations():
    p, template = mixtures.draw(500, AGES, METALS)
    assert p.shape == (500, 4, 8)
    np.testing.assert_allclose(p[..., 5].sum(axis=1), 1)
    there = template >= 0
    assert set(there.sum(axis=1)) == {1, 2, 3, 4}
    assert (p[~there] == 0).all()
    for i, name in enumerate(mixtures.PARAMETERS[:5]):
        low, high = mixtures.RANGES[name]
        assert ((p[there][:, i] >= low) & (p[there][:, i] <= high)).all()
    assert (np.diff(mixtures.draw(500, AGES, METALS, sort=True)[0][..., 5], axis=1) <= 0).all()


def one(**changed):
    """A single population of the oldest template, with a few parameters set."""
    p, template = np.zeros((1, 4, 8)), np.array([[2, -1, -1, -1]])
    p[0, 0, 2], p[0, 0, 5] = 60, 1
    for name, value in changed.items():
        p[0, 0, mixtures.PARAMETERS.index(name)] = value
    flat = np.ones_like(WAVE_REST)
    return mixtures.spectra(p, template, templates(), WAVE_REST, WAVE_OBS, flat)[0].double().numpy()


def test_lines_move_with_redshift_and_velocity_and_broaden_with_dispersion():
    def moments(spectrum, centre):
        near = np.abs(WAVE_OBS / centre - 1) < 0.03
        depth = one()[near].max() - spectrum[near]
        depth = np.clip(
            np.interp(WAVE_OBS[near], WAVE_OBS[near][[0, -1]], spectrum[near][[0, -1]]) - spectrum[near], 0, None
        )
        middle = np.average(WAVE_OBS[near], weights=depth)
        return middle, np.sqrt(np.average((WAVE_OBS[near] - middle) ** 2, weights=depth))

    for shift in (
        one(redshift=0.1),
        one(redshift=0.1 - 1.1 * 400 / C_KMS / (1 + 400 / C_KMS), velocity=400),
    ):
        assert moments(shift, 1.1 * 5176.6)[0] == pytest.approx(1.1 * 5176.6, abs=1.0)
    narrow, broad = (moments(one(redshift=0.1, dispersion=s), 1.1 * 5176.6)[1] for s in (60, 290))
    expected = 1.1 * 5176.6 * np.sqrt(290**2 - 60**2) / C_KMS
    assert np.sqrt(broad**2 - narrow**2) == pytest.approx(expected, rel=0.12)


def test_gas_adds_lines_with_the_equivalent_width_asked_for():
    with_gas, without = one(gas=1.0), one()
    near = np.abs(WAVE_OBS - 4862.7) < 30
    # Fluxes are relative to each spectrum's mean: bring the continua together first.
    scale = np.median(without / with_gas)
    extra = np.trapezoid((with_gas * scale - without)[near], WAVE_OBS[near])
    template = templates()[2]
    continuum = one()[near].mean() / np.interp(4862.7, WAVE_REST, template / template.mean())
    assert extra / continuum == pytest.approx(mixtures.LINE_EW, rel=0.1)


def test_templates_must_cover_what_is_seen():
    p, template = mixtures.draw(20, AGES, METALS)
    with pytest.raises(DataError, match="do not cover"):
        mixtures.spectra(p, template, templates()[:, 300:], WAVE_REST[300:], WAVE_OBS, np.ones(1200))


def test_one_network_for_all_finds_the_redshift_and_confuses_the_populations():
    """What Appendix B met: the galaxy's redshift is learned; a population's age also follows those of the others."""
    p, template = mixtures.draw(3000, AGES, METALS)
    flux = mixtures.spectra(p, template, templates(), WAVE_REST, WAVE_OBS, np.ones(1500), snr=50)
    y = torch.tensor(p.reshape(3000, 32), dtype=torch.float32)
    with training.seeded(0):
        model = MLP(300, 32, (128,)).learn_scale(flux, y)
    adam = torch.optim.Adam(model.parameters(), 2e-3)
    scaled = model.outputs.scale

    def loss(out, target):
        return ((out - target) / scaled).square().mean()

    step = training.supervised_step(model, adam, flux[:2500], y[:2500], loss, torch.Tensor.backward)
    train(model, adam, step, 2500, batch_size=100, n_epochs=25)
    with torch.no_grad():
        talk = mixtures.cross_talk(model(flux[2500:]), y[2500:])
    assert talk.shape == (32, 32)
    assert talk[0, 0] > 0.7
    age = [8 * k + 6 for k in range(4)]
    own = talk[age, age]
    assert own.max() < 0.7


def test_cross_talk_of_independent_outputs_is_their_slope():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(4000, 3)) * [1, 100, 0.01]
    predicted = truth * [1, 0.5, 1]
    predicted[:, 2] += 0.3 * 0.01 / 100 * truth[:, 1]  # hears the second
    np.testing.assert_allclose(mixtures.cross_talk(predicted, truth), [[1, 0, 0], [0, 0.5, 0], [0, 0.3, 1]], atol=0.01)
    # Weights sum to 1, so that none is independent; perfect outputs have no cross-talk all the same.
    weights = mixtures.draw(500, AGES, METALS)[0][..., 5].astype(np.float32)
    np.testing.assert_allclose(mixtures.cross_talk(weights, weights), np.eye(4), atol=1e-9)
    with pytest.raises(DataError, match="cannot tell"):
        mixtures.cross_talk(predicted[:5], truth[:5])


def test_mixtures_of_real_populations_cover_the_library_of_the_thesis(emiles):
    """E-MILES reaches the ultraviolet that 3540.5 - 7409 Angstrom (Appendix B) need at z = 1; light is positive."""
    wave_rest = log_grid(1700, 7480, 150.0)
    ages, metals = np.meshgrid(emiles.ages, emiles.metals, indexing="ij")
    rows = emiles.templates.reshape(ages.size, -1)[::10]
    light = np.stack([np.interp(wave_rest, emiles.wave_rest, row) for row in rows])
    p, template = mixtures.draw(50, ages.ravel()[::10], metals.ravel()[::10])
    flux = mixtures.spectra(p, template, light, wave_rest, WAVE_OBS, attenuation(wave_rest))
    assert flux.shape == (50, 300)
    assert flux.min() > 0
    assert torch.allclose(flux.mean(dim=1), torch.ones(50), atol=1e-5)
