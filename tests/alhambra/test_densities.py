"""Study 5's densities of redshift: features of magnitudes, and intervals that hold."""

import numpy as np
import pytest
import torch
from astropy.table import Table
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from paper_utils.alhambra import apply, gaussians
from paper_utils.alhambra.inputs import INPUTS, compressed, depths, inputs_of, photometry, shape_columns
from paper_utils.base.containers import Catalogue
from paper_utils.base.errors import DataError
from paper_utils.nets import training
from paper_utils.nets.plan import Plan

BANDS = ("F365W", "F489W", "F613W", "F737W", "J", "F814W")


def network_of(n_in, n_components=5, widths=(256, 256, 256)):
    """A density network of any features, as those of a table without bands are."""
    return apply.PhotoZ((), [f"x{i}" for i in range(n_in)], n_components=n_components, widths=widths)


def table_of(m, error):
    return Table({name: m[:, i] for i, name in enumerate(BANDS)} | {f"d{n}": error[:, i] for i, n in enumerate(BANDS)})


def test_asinh_magnitudes_are_magnitudes_where_bright_and_go_on_through_zero():
    rng = np.random.default_rng(0)
    m = rng.uniform(16, 25, (300, 1)) + rng.normal(0, 0.3, (300, len(BANDS)))
    error = 0.05 * 10 ** (0.4 * (m - 23))  # a noise that is the same at all magnitudes: 0.05 mag at 23
    depth = depths(table_of(m, error), BANDS)
    x = photometry(table_of(m, error), BANDS, depth)
    n = len(BANDS)
    assert x.shape == (300, 2 * n + 1)
    bright = m.max(axis=1) < 20
    np.testing.assert_allclose((x[:, :n] + x[:, n : n + 1])[bright], m[bright], atol=0.005)
    # A non-detection is a flux of 0: -2.5 log10 of the softening b, here 1 sigma: 23 - 2.5 log10(0.05 / 1.086).
    lost = m.copy()
    lost[0, 3], error[0, 3] = 99, 26.0
    mu = photometry(table_of(lost, error), BANDS, depth)[0]
    sigma = 23 - 2.5 * np.log10(0.05 / (2.5 / np.log(10)))
    assert mu[3] + mu[n] == pytest.approx(sigma, abs=0.01)


def test_a_detection_without_an_error_has_that_of_the_depth():
    """Not an error of nothing: 0, -99 and none are one sigma of the survey, and no better than it is in sight of it."""
    m, depth = np.full((4, len(BANDS)), 23.0), np.full(len(BANDS), 10 ** (-0.4 * (23 - 30)) / 10)
    error = np.full_like(m, 0.1 * 2.5 / np.log(10))  # ten sigma
    error[1:, 2] = 0, -99, 0.2
    x = photometry(table_of(m, error), BANDS, depth)
    np.testing.assert_allclose(x[1:3], x[[0, 0]], rtol=1e-5)
    assert x[3, len(BANDS) + 3] > x[0, len(BANDS) + 3]


def test_bands_not_observed_touch_no_other():
    m = np.full((50, len(BANDS)), 22.0) + np.random.default_rng(0).normal(0, 0.1, (50, len(BANDS)))
    error = np.full_like(m, 0.05)
    depth = depths(table_of(m, error), BANDS)
    m[0, 5], error[0, 5] = -99, 0
    x = photometry(table_of(m, error), BANDS, depth)
    assert np.isnan(x[0, 5])
    assert np.isnan(x).sum() == 1
    model = network_of(x.shape[1]).learn_scale(torch.tensor(x), torch.rand(50))
    assert np.isfinite(model.median(torch.tensor(x))).all()


@given(
    m=arrays(float, (4, 2), elements=st.one_of(st.sampled_from([99.0, -99.0]), st.floats(10, 30))),
    error=arrays(float, (4, 2), elements=st.one_of(st.sampled_from([99.0, -99.0, 0.0, 27.0]), st.floats(0, 3))),
    kind=st.sampled_from(["magnitudes", "colours", "asinh"]),
)
def test_features_of_any_table_are_numbers_or_not_observed(m, error, kind):
    table = Table({"r": m[:, 0], "i": m[:, 1], "dr": error[:, 0], "di": error[:, 1]})
    x = photometry(table, ("r", "i"), np.array([50.0, 80.0]), kind)
    missing = m == -99 if kind == "asinh" else np.zeros_like(m, bool)
    assert (np.isnan(x).sum(axis=1) == missing.sum(axis=1)).all()
    assert not np.isinf(x).any()


def test_inputs_are_what_is_no_label_and_shapes_what_is_no_magnitude():
    table = Table({name: np.full(2, 3.0) for name in (*INPUTS, "zb_1", "tb_1", "Stellar_Flag", "odds_1", "petroRad")})
    assert inputs_of(table) == (*INPUTS, "petroRad")
    table["fwhm"] = [np.sinh(2.0), -99]
    x = compressed(table, shape_columns(table, BANDS))
    names = ["area", "fwhm", "stell", "ell", "a", "b", "rk", "rf", "s2n", "F814W_3arcs", "F814W_3arcs_corr", "petroRad"]
    assert x.shape == (2, len(names))
    assert x[0, names.index("fwhm")] == pytest.approx(2)
    assert np.isnan(x).sum() == np.isnan(x[1, names.index("fwhm")]) == 1
    assert shape_columns(table_of(np.ones((3, 24)), np.ones((3, 24))), BANDS) == ()


def test_bands_without_detections_are_refused():
    table = Table({"r": [99.0, 99.0], "dr": [26.0, 26.0]})
    with pytest.raises(DataError, match="'r' has no detection"):
        depths(table, ("r",))


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
        model = network_of(1, 2, (64, 64)).learn_scale(x, t)
    plan = Plan(20 * (len(x) // 500), 500, 3e-3, schedule="cosine")
    training.fit(model, apply.loss, {"x": x, "t": t}, plan, progress=False)
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
        pdf = model.pdf(x, grid)
        cdf = model.pit(x.repeat_interleave(len(grid), 0), np.tile(grid, 2)).reshape(2, -1)
        np.testing.assert_allclose(np.trapezoid(pdf, grid, axis=1), 1, atol=2e-3)
        np.testing.assert_allclose(np.diff(cdf, axis=1), (pdf[:, 1:] + pdf[:, :-1]) / 2 * np.diff(grid), atol=2e-3)
        for level in (0.05, 0.5, 0.9):
            at = model.quantiles(x, level)[:, 0]
            np.testing.assert_allclose(model.pit(x, at), level, atol=1e-6)
        np.testing.assert_allclose(model.median(x), model.quantiles(x, 0.5)[:, 0])


def test_peak_is_the_highest_of_the_two(bimodal):
    model, _ = bimodal
    x = torch.tensor([[0.05], [0.9]])
    grid = np.linspace(0.0, 1.2, 4001)
    model.levels.copy_(torch.linspace(0, 1, apply.N_KNOTS + 1))
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
    model.levels.copy_(torch.linspace(0, 1, apply.N_KNOTS + 1))
    assert before < 0.6
    assert 0.66 < after < 0.70


def catalogue_of(x):
    return Catalogue(Table({"x0": x[:, 0].numpy()}), bands=[], ids=[f"g{i}" for i in range(len(x))])


def test_odds_are_the_probability_to_be_near_the_mode(bimodal):
    model, sample = bimodal
    model.calibrate(*sample(5000))
    x, z = sample(5000)
    table = model.apply(catalogue_of(x)).table
    near = np.abs(np.log1p(z) - np.log1p(table["z_mode"])) < apply.ODDS
    assert np.mean(table["odds"]) == pytest.approx(near.mean(), abs=0.02)
    sure = np.asarray(table["odds"]) > np.median(table["odds"])
    assert near[sure].mean() > near[~sure].mean() + 0.05
    assert all(table["z_p16"] < table["z_p50"])
    assert all(table["z_p50"] < table["z_p84"])


def test_densities_are_smooth_and_belong_to_their_quantiles(bimodal):
    model, sample = bimodal
    model.calibrate(*sample(2000))
    results = model.apply(catalogue_of(sample(50)[0]))
    edges, pdf = results.arrays["z_edges"], results.arrays["pdf"].astype(float)
    cdf = np.cumsum(pdf * np.diff(edges), axis=1)
    np.testing.assert_allclose(cdf[:, -1], 1, atol=1e-5)
    medians = [np.interp(0.5, row, edges[1:]) for row in cdf]
    np.testing.assert_allclose(medians, results.table["z_p50"], atol=0.005)
    # The mixture has two humps; a saw-tooth would have many.
    falls = np.diff(np.sign(np.diff(pdf, axis=1)), axis=1) < 0
    assert np.median(falls.sum(axis=1)) <= 4


def test_strange_objects_are_novel(bimodal):
    model, sample = bimodal
    model.calibrate(*sample(2000))
    usual, strange = (model.apply(catalogue_of(x), densities=False) for x in (sample(500)[0], torch.full((3, 1), 9.0)))
    assert 40 < np.median(usual.table["novelty"]) < 60
    assert (strange.table["novelty"] == 100).all()
    assert all("unlike the training objects" in flag for flag in strange.table["flag"])
    far = model.apply(catalogue_of(torch.tensor([[9.0], [27.0]])), densities=False).table
    assert (far["z_p16"] >= 0).all()
    assert far["z_p84"].max() <= float(model.t_max.expm1())
    assert usual.arrays == {}


@given(seed=st.integers(0, 2**32), levels=st.lists(st.floats(1e-4, 1 - 1e-4), min_size=1, max_size=4))
def test_quantiles_of_any_mixture_lie_where_its_probability_is_the_level(seed, levels):
    rng = np.random.default_rng(seed)
    weight, sigma = rng.dirichlet(np.full(4, 0.3), 20), np.exp(rng.uniform(*apply.LOG_SIGMA, (20, 4)))
    parts = np.log(np.maximum(weight, 1e-30)), rng.uniform(0, 2, (20, 4)), np.log(sigma)
    mixture, u = torch.tensor(np.stack(parts, axis=1)), torch.tensor(levels, dtype=torch.float64)
    t = gaussians.quantiles(mixture, u)
    below = gaussians.cdf(mixture, t)
    # Where a gap lies at the level, any t of the gap is right; probabilities agree either way.
    np.testing.assert_allclose(below, u.expand(20, -1), atol=1e-6)
    grid = torch.linspace(-1, 3, 50, dtype=torch.float64)
    np.testing.assert_allclose(gaussians.cdf_on(mixture, grid), gaussians.cdf(mixture, grid.expand(20, -1)), atol=1e-12)


@pytest.mark.parametrize(
    ("weights", "means", "sigmas", "two"),
    [
        ((0.7, 0.3), (0.3, 0.9), (0.02, 0.05), True),
        ((0.9, 0.1), (0.3, 0.9), (0.02, 0.05), False),  # too little in the second
        ((0.5, 0.5), (0.4, 0.45), (0.05, 0.05), False),  # one hump
        ((0.4, 0.6), (0.5, 0.5), (0.01, 0.2), False),  # a peak on its wings
        ((1.0, 0.0), (0.5, 0.5), (0.0002, 0.1), False),  # narrower than the grid
        ((0.5, 0.5), (0.5, 1.5), (0.0002, 0.0002), True),
    ],
)
def test_two_peaks_are_seen_where_there_are_two(weights, means, sigmas, two):
    parts = np.log(np.maximum(weights, 1e-30)), means, np.log(sigmas)
    mixture = torch.tensor(np.stack(parts)[None])
    assert bool(gaussians.has_two_peaks(gaussians.cdf_on(mixture, torch.arange(0, 2, apply.ODDS / 2)))[0]) == two


def test_what_is_unknown_teaches_nothing():
    mixture = torch.tensor(np.stack([np.log([[0.5, 0.5]] * 3), [[0.1, 0.8]] * 3, [[-2.0, -2.0]] * 3], axis=1))
    t = torch.tensor([0.1, np.nan, 0.7], dtype=torch.float64)
    assert gaussians.nll(mixture, t) == pytest.approx(float(gaussians.nll(mixture[[0, 2]], t[[0, 2]])))


def test_calibration_wants_objects():
    with pytest.raises(DataError, match="too few to calibrate"):
        network_of(2).calibrate(torch.rand(30, 2), np.ones(30))


def test_weights_are_repeats(bimodal):
    """An object of twice the weight counts as two, in the likelihood and in the calibration."""
    model, sample = bimodal
    x, z = sample(600)
    twice = torch.arange(600) % 3 == 0
    weight = torch.where(twice, 2.0, 1.0)
    with torch.no_grad():
        mixture, t = model(x).double(), torch.as_tensor(np.log1p(np.asarray(z, float)))
        repeated = gaussians.nll(torch.cat([mixture, mixture[twice]]), torch.cat([t, t[twice]]))
    assert float(gaussians.nll(mixture, t, weight / weight.mean())) == pytest.approx(float(repeated))
    weighted = model.calibrate(x, z, weight=weight.numpy()).levels.clone()
    again = torch.cat([x, x[twice]]), np.concatenate([np.asarray(z), np.asarray(z)[twice.numpy()]])
    torch.testing.assert_close(model.calibrate(*again).levels, weighted, atol=2e-3, rtol=0)


def test_flags_know_the_magnitudes_of_those_that_teach():
    table = Table({"r": np.linspace(15.0, 25, 1001), "dr": np.full(1001, 0.1)})
    model = apply.PhotoZ(("r",), detection="r", widths=(4,)).learn_depth(table, np.asarray(table["r"]) < 20)
    assert model._magnitude_beyond(Table({"r": [14.9, 16, 19.9, 20.1, 99.0, -99.0]})).tolist() == [
        True, False, False, True, True, False,
    ]  # fmt: skip
