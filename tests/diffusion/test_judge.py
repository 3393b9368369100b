"""How study 3 judges predicted spectra: planted differences, classes, peaks and error axes come back."""

import numpy as np
import pytest
from scipy.stats import norm

from paper_utils.diffusion import judge as sampled
from paper_utils.measure import emission

TABLE_2 = np.array([[359, 33, 72], [23, 448, 68], [45, 88, 370]])  # Doorenbos+ 2024


def test_distances_of_a_factor():
    observed = np.random.default_rng(0).uniform(1, 3, (4, 100))
    predicted = 1.1 * observed
    predicted[0, :50] = np.nan  # beyond what was predicted
    np.testing.assert_allclose(sampled.deviation(observed, predicted), 0.1)
    np.testing.assert_allclose(sampled.mse(observed, predicted)[1:], 0.01 * (observed[1:] ** 2).mean(axis=1))
    ivar = np.zeros((4, 100))
    ivar[:, 25:75] = 4 / observed[:, 25:75] ** 2  # errors of half the flux
    np.testing.assert_allclose(sampled.chi2(observed, predicted, ivar), 0.01 * 4)


def test_table_2_gives_the_numbers_of_the_text():
    classes = [np.repeat(index.ravel(), TABLE_2.ravel()) for index in np.indices((3, 3))]
    np.testing.assert_array_equal(sampled.confusion(*np.array(sampled.CLASSES)[classes]), TABLE_2)
    actual, called = (index == 2 for index in classes)
    scores = sampled.agn_scores(actual, called)
    # Sec. 5.7: 0.818, 0.725, 0.736.
    assert [round(float(scores[name]), 2) for name in ("accuracy", "precision", "recall")] == [0.82, 0.73, 0.74]
    certain = [np.stack([~label, ~label, label], axis=1).astype(float) for label in (actual, called)]
    for name, (mean, error) in sampled.flipped_scores(*certain, n_experiments=20).items():
        assert (mean, error) == pytest.approx((float(scores[name]), 0))


def test_nothing_called_an_agn_has_no_precision():
    scores = sampled.agn_scores([False] * 5 + [True], [False] * 6)
    assert np.isnan(scores["precision"])
    assert scores["recall"] == 0
    assert scores["accuracy"] == pytest.approx(5 / 6)


def table(n2, o3, ew=20.0):
    """Lines with these ratios (log)."""
    n, n2 = np.ones(np.size(n2)), np.asarray(n2)
    return {"flux_Halpha": 100 * n, "flux_Hbeta": 30 * n, "flux_NII_6584": 100 * 10**n2 * n,
            "flux_OIII_5007": 30 * 10**o3 * n, "ew_Halpha": ew * n}  # fmt: skip


def test_labels_are_sure_away_from_the_borders():
    p = sampled.class_probabilities({k: np.concatenate([a[k], b[k], c[k]]) for a, b, c in [(
        table([-1.0], -0.6), table([0.1], 0.9), table([-1.0], -0.6, ew=-6))] for k in a})  # fmt: skip
    assert (p.argmax(axis=1) == [1, 2, 0]).all()
    assert (p.max(axis=1) > 0.99).all()


def test_on_kauffmanns_line_it_is_even():
    n2 = np.array([-0.9, -0.4])
    p = sampled.class_probabilities(table(n2, emission.kauffmann(n2)), n_draws=4000)
    # Errors are symmetric in flux, not in the logarithm; the line's slope adds to it.
    np.testing.assert_allclose(p[:, 2], 0.5, atol=0.1)
    assert p.sum(axis=1) == pytest.approx(1)


def test_a_width_near_the_limit_is_passive_as_often_as_its_error_says():
    p = sampled.class_probabilities(table([-1.0], -0.6, ew=2.0), n_draws=4000)
    # EW below 1 A is 1 sigma away; a flux of -100 % is 5 sigma away.
    assert p[0, 0] == pytest.approx(norm.cdf(-1), abs=0.025)


def test_flips_scatter_as_coins_do():
    # 100 true AGN, half of them called so by a coin: the recall scatters as 0.5 / sqrt(100).
    actual = np.tile([0.0, 0.0, 1.0], (100, 1))
    predicted = np.tile([0.0, 0.5, 0.5], (100, 1))
    mean, error = sampled.flipped_scores(actual, predicted)["recall"]
    assert mean == pytest.approx(0.5, abs=0.003)
    assert error == pytest.approx(0.05, rel=0.05)


def test_two_peaks_are_found_where_there_are_two():
    rng = np.random.default_rng(0)
    both = np.concatenate([rng.normal(1.3, 0.08, 120), rng.normal(1.8, 0.1, 180), [np.nan]])
    assert sampled.delta_bic(both) > 10
    assert sampled.valley(both) < 0.5
    one = rng.normal(size=300)
    assert sampled.delta_bic(one) < 10 or sampled.valley(one) > 0.95
    # Skewed, but with one peak: two Gaussians are better, and the valley says no.
    assert sampled.valley(rng.gamma(3.0, 1.0, 400)) > 0.95


def test_correlated_errors_are_found_in_spite_of_outliers():
    rng = np.random.default_rng(0)
    common = rng.normal(size=400)
    age, metal, ebv = 0.3 * common, -0.2 * common + 0.02 * rng.normal(size=400), 0.1 * rng.normal(size=400)
    ebv[0], age[1], ebv[1] = np.nan, 1e3, 1e3
    assert sampled.robust_pearson(age, metal) < -0.95
    assert abs(sampled.robust_pearson(age, ebv)) < 0.2
    assert sampled.pearson(age, ebv) > 0.9  # of one object alone


def test_intervals_are_of_objects_and_pairs_of_the_same():
    rng = np.random.default_rng(0)
    a = rng.normal(size=400)
    b = a + 0.1 + 0.01 * rng.normal(size=400)
    found = sampled.paired(np.mean, {"a": (a,), "b": (b,)}, [("b", "a")])
    value, low, high = found["a"]
    assert value == a.mean()
    assert (high - low) / 2 == pytest.approx(1.96 / 20, rel=0.15)
    assert found["b-a"] == pytest.approx((0.1, 0.1, 0.1), abs=0.003)


def test_area_under_the_curve_of_one_class_is_a_guess():
    assert sampled.auc([True, True, False], [0.9, 0.8, 0.1]) == 1
    assert sampled.auc([True, True], [0.9, 0.8]) == 0.5


def test_choices_from_planted_samples():
    samples = np.arange(5.0)[:, None] * np.ones((2, 5, 3))
    liked = np.array([[0, 9, 1, 2, 3], [9, 0, 1, 2, 3]])
    found = sampled.choices(samples, liked, np.full((2, 3), 3.9))
    firsts = {name: values[:, 0].tolist() for name, values in found.items()}
    assert firsts == {
        "one at random": [0, 0], "mean of all": [2, 2], "contrastive choice": [1, 0], "contrastive last": [0, 1],
        "nearest to the mean": [2, 2], "nearest to the truth": [4, 4],
    }  # fmt: skip


def test_morphology_by_the_bulge():
    kinds = sampled.morphology({"b_t": np.array([0.1, 0.45, 0.9])})
    assert kinds.tolist() == ["spiral", "uncertain", "elliptical"]
