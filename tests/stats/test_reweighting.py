"""Do weights make a selected sample stand for all?"""

import numpy as np
import pytest

from paper_utils.stats import reweighting


@pytest.fixture(scope="module")
def samples():
    """Everyone (M, 2), those that a known selection in the first quantity takes, and the probability of it (N,)."""
    rng = np.random.default_rng(0)
    everyone = rng.normal(size=(12_000, 2))
    share = 0.9 / (1 + np.exp(1.5 * everyone[:, 0]))
    taken = rng.random(len(everyone)) < share
    return everyone, everyone[taken], share[taken]


def test_weights_undo_a_selection(samples, record_property):
    everyone, x, share = samples
    w = reweighting.weights(x, everyone)
    np.testing.assert_allclose(w.mean(), 1)
    before, after = x.mean(axis=0), np.average(x, axis=0, weights=w)
    record_property("mean before and after", str((before, after)))
    assert before[0] < -0.4
    np.testing.assert_allclose(after, everyone.mean(axis=0), atol=0.08)
    # The density ratio is known: all those taken over the probability of it.
    assert np.corrcoef(np.log(w), -np.log(share))[0, 1] > 0.9


def test_a_fair_sample_needs_no_weights(samples):
    everyone, *_ = samples
    w = reweighting.weights(everyone[:3000], everyone[3000:])
    assert reweighting.effective_size(w) > 0.85 * 3000


def test_gaps_and_repeats(samples):
    everyone, x, _ = samples
    holes = [np.where(np.random.default_rng(1).random(part.shape) < 0.2, np.nan, part) for part in (x, everyone)]
    w = reweighting.weights(*holes)
    assert np.isfinite(w).all()
    np.testing.assert_array_equal(w, reweighting.weights(*holes))
    assert w.max() <= reweighting.LARGEST / w[w < w.max()].mean()


def test_effective_size_counts_equal_weights():
    np.testing.assert_allclose(reweighting.effective_size(np.full(7, 3.0)), 7)
    np.testing.assert_allclose(reweighting.effective_size(np.array([1.0, 0, 0])), 1)
