"""Photo-z and star/galaxy figures of merit against what follows from their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, norm

from paper_utils.base.errors import DataError
from paper_utils.stats import photoz
from paper_utils.stats import scores as metrics


def test_residuals_are_in_units_of_one_plus_z():
    np.testing.assert_allclose(photoz.residuals([0.1, 1.2], [0.0, 1.0]), [0.1, 0.1])
    with pytest.raises(DataError, match=r"row 1.*99, -99"):
        photoz.residuals([0.1, 0.2], [0.1, -99.0])


def test_widths_of_a_gaussian_are_its_sigma_and_outliers_move_only_one():
    dz = np.random.default_rng(0).normal(0.01, 0.03, 100_000)
    assert photoz.sigma_mad(dz) == pytest.approx(0.03, rel=0.01)
    # The 16 and 84 % points lie at 0.9945 sigma.
    assert photoz.sigma_68(dz) == pytest.approx(0.03 * norm.ppf(0.84), rel=0.01)
    spoiled = np.concatenate([dz, np.full(1000, 3.0)])
    assert photoz.sigma_mad(spoiled) == pytest.approx(0.03, rel=0.03)
    assert photoz.outliers(spoiled) == pytest.approx(1000 / 101_000, abs=1e-4)


def test_sigma_mad_by_hand():
    assert photoz.sigma_mad([0.0, 1, 2, 3, 10]) == pytest.approx(1.4826)  # deviations from 2: 2 1 0 1 8
    pair = np.array([[0.0, 1, 2, 3, 10], [0, 2, 4, 6, 20]])
    np.testing.assert_allclose(photoz.sigma_mad(pair), [1.4826, 2.9652])


@given(scale=st.floats(0.01, 100), shift=st.floats(-10, 10))
def test_widths_scale_and_do_not_shift(scale, shift):
    dz = np.random.default_rng(1).normal(size=200)
    for width in (photoz.sigma_mad, photoz.sigma_68):
        assert width(scale * dz + shift) == pytest.approx(scale * width(dz), rel=1e-6, abs=1e-9)


def test_scores_and_their_intervals():
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.1, 1.0, 4000)
    z = truth + (1 + truth) * rng.normal(0.002, 0.02, 4000)
    found, dz = photoz.scores(z, truth), photoz.residuals(z, truth)
    assert found["n"] == 4000
    assert found["bias"] == pytest.approx(np.median(photoz.residuals(z, truth)))
    assert found["outliers"] == 0
    _, low, high = metrics.interval(np.mean, dz)
    assert (high - low) / 2 == pytest.approx(0.02 / np.sqrt(4000), rel=0.2)
    value, low, high = metrics.interval(photoz.sigma_mad, dz)
    assert value == found["sigma_mad"]
    assert low < found["sigma_mad"] < high
    assert (high - low) / 2 == pytest.approx(1.17 * 0.02 / np.sqrt(4000), rel=0.25)  # sigma (2 x 0.368 N)^-1/2
    one = metrics.bootstrap(photoz.residuals(z, truth), photoz.sigma_mad, n_resamples=200)
    assert one == pytest.approx((low, high), abs=1e-4)


def test_least_squares_predictions_have_a_slope_of_their_r2():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 3))
    y = x @ [1.0, -1, 0.5] + rng.normal(0, 1.5, 2000)
    design = np.column_stack([x, np.ones(2000)])
    predicted = design @ np.linalg.lstsq(design, y, rcond=None)[0]
    r2 = 1 - ((y - predicted) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    assert photoz.slope(predicted, y)[0] == pytest.approx(r2)
    assert photoz.slope(y, predicted) == pytest.approx((1, 0), abs=1e-9)
    assert photoz.slope([3.0, 5, 7], [1, 2, 3]) == pytest.approx((2, 1))


def test_pit_and_coverage_of_gaussians():
    rng = np.random.default_rng(2)
    truth = rng.normal(0, 1, 20_000)
    share, low, high = photoz.coverage(np.full(20_000, -1.0), np.ones(20_000), truth)
    assert low < share < high
    assert share == pytest.approx(68.27, abs=1)
    assert photoz.pit_distance(norm.cdf(truth))[1] > 0.01
    # A sigma half as wide as it should be: largest distance between Phi(x) and Phi(2 x) is 0.1616.
    x = np.linspace(-3, 3, 10_001)
    assert photoz.pit_distance(norm.cdf(2 * truth))[0] == pytest.approx((norm.cdf(2 * x) - norm.cdf(x)).max(), abs=0.01)


def test_numbers_of_table_4_1():
    counts = np.array([[21700, 23], [189, 406]])
    found = photoz.classification(counts)
    assert found["accuracy"] == pytest.approx(22106 / 22318)
    assert found["baseline"] == pytest.approx(21889 / 22318)  # calling everything a galaxy: 98.1 %
    assert found["precision"] == pytest.approx(406 / 595)
    assert found["recall"] == pytest.approx(406 / 429)
    assert found["f1"] == pytest.approx(2 / (595 / 406 + 429 / 406))
    assert found["balanced"] == pytest.approx((21700 / 21889 + 406 / 429) / 2)
    predicted, expected = np.repeat([0, 0, 1, 1], counts.ravel()), np.repeat([0, 1, 0, 1], counts.ravel())
    np.testing.assert_array_equal(photoz.confusion(predicted, expected), counts)


def test_classification_agrees_with_scikit_learn():
    from sklearn import metrics as sk

    rng = np.random.default_rng(0)
    expected, predicted = rng.integers(0, 5, (2, 300))
    counts = photoz.confusion(predicted, expected, 5)
    np.testing.assert_array_equal(counts.T, sk.confusion_matrix(expected, predicted))
    found = photoz.classification(counts, positive=3)
    precision, recall, f1, _ = sk.precision_recall_fscore_support(expected, predicted, labels=[3])
    assert [found[k] for k in ("precision", "recall", "f1")] == pytest.approx([precision[0], recall[0], f1[0]])
    assert found["balanced"] == pytest.approx(sk.balanced_accuracy_score(expected, predicted))
    assert np.isnan(photoz.classification([[5, 1], [0, 0]])["precision"])


def test_scores_of_a_class_are_those_of_its_cut_and_its_curves():
    positive = np.arange(200) % 5 == 0
    score = np.clip(0.45 * positive + np.random.default_rng(0).uniform(0, 0.6, 200), 0, 1)
    found = photoz.class_scores(score, positive)
    assert found["accuracy [%]"] == pytest.approx(100 * np.mean((score > 0.5) == positive))
    assert found["recall"] == pytest.approx((score > 0.5)[positive].mean())
    assert found["ROC area"] == photoz.curves(score, positive)["auc"]


def test_area_under_the_roc_is_the_chance_to_rank_a_star_above_a_galaxy():
    rng = np.random.default_rng(0)
    star = rng.uniform(size=3000) < 0.02
    score = rng.normal(size=3000) + 1.5 * star
    found = photoz.curves(score, star)
    pairs = mannwhitneyu(score[star], score[~star]).statistic / (star.sum() * (~star).sum())
    assert found["auc"] == pytest.approx(pairs)
    guess = photoz.curves(rng.uniform(size=3000), star)
    assert guess["auc"] == pytest.approx(0.5, abs=0.1)
    assert guess["average_precision"] == pytest.approx(star.mean(), abs=0.03)
    false, true = found["roc"]
    assert (false[[0, -1]].tolist(), true[[0, -1]].tolist()) == ([0, 1], [0, 1])
    with pytest.raises(DataError, match="one class"):
        photoz.curves(score, np.zeros(3000, bool))


def test_permutation_importance_of_a_linear_rule():
    """Shuffling a column of weight w adds 2 w^2 to the mean squared error; one that is not used adds nothing."""
    x = np.random.default_rng(0).normal(size=(20_000, 4))
    y = x @ [1.0, 2, 0, 0.5]

    def error(predicted):
        return ((predicted - y) ** 2).mean()

    groups = {"first": [0], "second": [1], "unused": [2], "first and last": [0, 3]}
    found = photoz.permutation_importance(lambda x: x @ [1.0, 2, 0, 0.5], x, error, groups)
    expected = {"first": 2, "second": 8, "unused": 0, "first and last": 2.5}
    for name, value in expected.items():
        assert found[name][0] == pytest.approx(value, rel=0.05, abs=1e-12)
