"""Principal components with gaps: planted ones are recovered, and without gaps they are the ordinary ones."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from paper_utils.stats.pca import weighted_pca

N, R, K = 300, 80, 3


@pytest.fixture
def planted():
    """x = mean + coefficients @ components, and the smooth components themselves."""
    generator = torch.Generator().manual_seed(0)
    at = torch.linspace(0, np.pi, R)
    components = torch.stack([torch.sin((k + 1) * at) for k in range(K)])
    scales = torch.tensor([5.0, 2.0, 1.0])
    return 3 + (torch.randn(N, K, generator=generator) * scales) @ components, components


def test_without_gaps_they_are_the_ordinary_components(planted):
    x = planted[0] + 0.3 * torch.randn(N, R, generator=torch.Generator().manual_seed(1))
    ours, theirs = weighted_pca(x, torch.ones(N, R), K), PCA(K).fit(x.numpy())
    overlap = np.abs(ours.components.numpy() @ theirs.components_.T)
    assert np.allclose(overlap, np.eye(K), atol=0.01)
    assert np.allclose(
        ours.decode(ours.encode(x, torch.ones(N, R))), theirs.inverse_transform(theirs.transform(x)), atol=0.05
    )


def test_what_gaps_hide_is_recovered(planted):
    """Each object lacks a third of the range; a model of the right rank knows what stood there."""
    x, _ = planted
    start = torch.randint(0, R - R // 3, (N, 1), generator=torch.Generator().manual_seed(2))
    at = torch.arange(R)
    w = ((at < start) | (at >= start + R // 3)).float()
    found = weighted_pca(torch.where(w > 0, x, 1e3), w, K, n_iterations=60)
    error = (found.decode(found.encode(x * w, w)) - x)[w == 0]
    assert error.square().mean().sqrt() < 0.02 * x.std()


def test_where_nothing_was_seen_the_mean_is_held(planted):
    w = torch.ones(N, R)
    w[:, :10] = 0
    found = weighted_pca(planted[0], w, K)
    assert (found.components[:, :10].abs() < 1e-5).all()
    assert torch.allclose(found.mean[:10], found.mean[10].expand(10), atol=1e-4)


def test_where_little_is_known_components_do_not_describe_noise():
    """Beyond bin 150 two spectra reach, beyond 100 the noise is 30 times the signal."""
    generator = torch.Generator().manual_seed(0)
    n, n_bins, k = 400, 200, 2
    s = torch.randn(n, k, generator=generator)
    shapes = torch.stack([torch.linspace(-1, 1, n_bins), torch.linspace(0, 6.3, n_bins).sin()])
    sigma = torch.full((n_bins,), 0.1)
    sigma[100:] = 30.0
    x = 1 + s @ shapes + sigma * torch.randn(n, n_bins, generator=generator)
    w = sigma.square().reciprocal().expand(n, -1).clone()
    w[2:, 150:] = 0
    found = weighted_pca(x, w, k)
    assert not found.components[:, 150:].any()
    assert torch.equal(found.mean[150:], found.mean[149].expand(50))
    # 400 spectra of noise 30: free components would have values of 30 / sqrt(400) = 1.5 rms, after scaling by the
    # coefficients' spread; those of the prior stay far below the part that is known.
    assert found.components[:, 100:150].std() < 0.3 * found.components[:, :100].std()
