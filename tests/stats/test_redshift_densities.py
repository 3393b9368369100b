"""Scores of redshift densities against closed forms of Gaussians, quadrature and other people's code."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import ndtr
from scipy.stats import norm

from paper_utils.base.errors import DataError
from paper_utils.stats import calibration, photoz
from paper_utils.stats.densities import Densities

EDGES = np.linspace(-2, 6, 2001)
rng = np.random.default_rng(0)
MEAN, SIGMA = rng.uniform(0.3, 3, 2000), rng.uniform(0.1, 0.4, 2000)
TRUTH = rng.normal(MEAN, SIGMA)


def gaussians(mean=MEAN, sigma=SIGMA, edges=EDGES):
    return Densities.of_cdf(lambda z: ndtr((z - np.c_[mean]) / np.c_[sigma]), edges)


def test_gaussians_have_the_scores_of_closed_forms():
    found = gaussians()
    np.testing.assert_allclose(found.pit(TRUTH), calibration.gaussian_pit(TRUTH, MEAN, SIGMA), atol=2e-3)
    np.testing.assert_allclose(found.crps(TRUTH), calibration.gaussian_crps(TRUTH, MEAN, SIGMA), atol=1e-4)
    expected = 1 / (2 * SIGMA * np.sqrt(np.pi)) - 2 * norm.pdf(TRUTH, MEAN, SIGMA)
    np.testing.assert_allclose(found.cde_loss(TRUTH), expected, atol=0.1)
    assert found.cde_loss(TRUTH).mean() == pytest.approx(expected.mean(), rel=1e-3)


def test_right_densities_are_calibrated_and_add_up_to_n_of_z():
    scores = gaussians().scores(TRUTH, MEAN)
    assert scores["coverage [%]"] == pytest.approx(68, abs=3)
    assert scores["PIT distance"] < 0.036  # 1.63 / sqrt(2000): 1 in 100 would lie beyond it
    assert scores["n(z) distance"] < 0.036
    assert scores["n(z) mean"] == pytest.approx(np.mean(MEAN - TRUTH) / (1 + TRUTH.mean()), abs=1e-4)
    assert scores["sigma_mad"] == photoz.sigma_mad(photoz.residuals(MEAN, TRUTH))


@pytest.mark.parametrize(("shift", "widen"), [(0.3, 1), (-0.3, 1), (0, 0.4), (0, 2.5)])
def test_wrong_densities_score_worse_than_right_ones(shift, widen):
    right, wrong = gaussians().scores(TRUTH, MEAN), gaussians(MEAN + shift * SIGMA, widen * SIGMA).scores(TRUTH, MEAN)
    assert all(wrong[name] > right[name] for name in ("CDE loss", "CRPS", "PIT distance"))
    assert (wrong["coverage [%]"] < 60) if widen < 1 else (widen == 1 or wrong["coverage [%]"] > 90)


@given(
    areas=st.lists(st.floats(0, 1), min_size=5, max_size=5).filter(lambda areas: sum(areas) > 0.1),
    truth=st.one_of(st.floats(-0.5, 4), st.sampled_from([0.0, 0.1, 3.0])),
)
def test_crps_is_the_integral_that_defines_it(areas, truth):
    edges = np.array([0.0, 0.1, 0.5, 1.1, 1.3, 3.0])
    found = Densities(edges, (np.array(areas) / sum(areas) / np.diff(edges))[None])

    def off(z):
        return (np.interp(z, edges, found.below[0]) - (z >= truth)) ** 2

    expected, _ = quad(off, -0.5, 4, points=[*edges, truth], limit=200)
    assert found.crps(np.array([truth]))[0] == pytest.approx(expected, abs=1e-6)


def test_a_point_has_its_absolute_error_as_crps_wherever_the_truth_is():
    edges = np.array([0.0, 1, 1 + 1e-9, 2])
    point = Densities(edges, np.tile([0, 1e9, 0], (4, 1)))
    np.testing.assert_allclose(point.crps(np.array([-0.5, 0.3, 1.7, 2.5])), [1.5, 0.7, 0.7, 1.5], rtol=1e-6)


def test_rounding_of_cumulative_probabilities_is_forgiven_and_no_more():
    edges = np.arange(5.0)
    rounded = Densities.of_cdf(lambda edges: np.array([[0, 0.6, 0.6 - 1e-15, 1 + 1e-15, 1]]), edges)
    np.testing.assert_allclose(rounded.pdf, [[0.6, 0, 0.4, 0]], atol=1e-12)
    with pytest.raises(DataError, match="negative"):
        Densities.of_cdf(lambda edges: np.array([[0, 0.6, 0.5, 0.9, 1]]), edges)


def test_of_values_on_a_grid_only_the_shape_counts():
    z = np.linspace(0.005, 4, 800)
    values = norm.pdf(z, MEAN[:100, None], 0.1)
    found, scaled = Densities.of_grid(z, values), Densities.of_grid(z, 7 * values)
    np.testing.assert_allclose(found.pdf, scaled.pdf)
    np.testing.assert_allclose(found.pit(MEAN[:100]), 0.5, atol=0.01)
    assert len(found.edges) == 801
    assert found.edges[0] == pytest.approx(0.0025)


def test_what_is_not_finite_gets_the_worst_score():
    z, values = np.linspace(0.1, 1, 10), np.ones((3, 10))
    values[0, 3], values[1] = np.nan, 0  # a gap, and nothing at all
    found, truth = Densities.of_grid(z, values), np.full(3, 0.5)
    np.testing.assert_array_equal(np.isinf(found.crps(truth)), [True, True, False])
    np.testing.assert_array_equal(np.isinf(found.cde_loss(truth)), [True, True, False])
    scores = found.scores(truth, truth)
    assert scores["PIT distance"] == scores["n(z) distance"] == 1
    assert scores["coverage [%]"] == pytest.approx(100 / 3)
    assert np.isinf([scores[name] for name in ("CDE loss", "CRPS", "n(z) mean")]).all()
    broken = Densities.of_cdf(lambda z: np.where(z > 0.5, np.nan, z)[None], np.linspace(0, 1, 5))
    assert np.isinf(broken.crps(truth[:1])).all()


def test_what_is_no_density_is_refused():
    flat = np.full((2, 4), 0.25)
    for edges, pdf, match in (
        (np.arange(4.0), flat, "edges of shape"),
        (np.array([0.0, 2, 1, 3, 4]), flat, "increasing"),
        (np.arange(5.0), flat + [[0], [0.1]], "row 1: .*area"),
        (np.arange(5.0), np.array([[0.5, 0.75, -0.25, 0]]), "row 0: .*negative"),
    ):
        with pytest.raises(DataError, match=match):
            Densities(edges, pdf)
    for score in ("pit", "crps", "cde_loss"):
        with pytest.raises(DataError, match="row 1: a true redshift"):
            getattr(Densities(np.arange(5.0), flat), score)(np.array([1.0, np.nan]))


def test_bins_show_what_the_whole_hides():
    """Intervals too wide for the bright and too narrow for the faint: right overall, in neither bin."""
    magnitude = np.where(rng.random(len(TRUTH)) < 0.5, 20.0, 23.0)
    sigma = SIGMA * np.where(magnitude < 22, 1.7, 0.62)
    found, by = gaussians(sigma=sigma), {"F814W": (magnitude, [18, 22, 24, 26]), "z": (TRUTH, [0.0, 9])}
    bright, faint, all_z = found.by_bins(TRUTH, MEAN, by)
    assert [bright["from"], bright["to"], all_z["by"]] == [18, 22, "z"]  # nobody is fainter than 24
    assert bright["n"] + faint["n"] == len(TRUTH)
    assert bright["coverage [%]"] > 85 > 68 > 50 > faint["coverage [%]"]
    assert all_z["coverage [%]"] == pytest.approx(68, abs=4)
    assert found.by_bins(TRUTH, MEAN, by, fewest=5000) == []


def test_crps_agrees_with_properscoring():
    properscoring = pytest.importorskip("properscoring")
    expected = properscoring.crps_gaussian(TRUTH, MEAN, SIGMA)
    np.testing.assert_allclose(gaussians().crps(TRUTH), expected, atol=1e-4)


def test_cumulative_probabilities_agree_with_qp():
    qp = pytest.importorskip("qp")
    edges = np.linspace(-1, 5, 301)
    found = gaussians(MEAN[:50], SIGMA[:50], edges)
    theirs = qp.Ensemble(qp.hist, data={"bins": edges, "pdfs": found.pdf})
    np.testing.assert_allclose(found.pit(TRUTH[:50]), theirs.cdf(TRUTH[:50, None])[:, 0], atol=1e-6)


@pytest.mark.parametrize("shift", [-0.2, 0, 0.2])
def test_the_mean_of_n_of_z_is_off_by_what_densities_are_shifted(shift):
    off = gaussians(MEAN + shift).n_of_z(TRUTH)["n(z) mean"] * (1 + TRUTH.mean())
    assert off == pytest.approx(shift, abs=0.01)
