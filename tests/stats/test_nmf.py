"""Non-negative components with gaps: planted ones are recovered, none is ever negative, the misfit never rises."""

import pytest
import torch

from paper_utils.stats.nmf import NonNegative, weighted_nmf

N, R, K = 250, 90, 3


@pytest.fixture
def planted():
    """Mixtures (N, R) of three bumps that overlap little, and the bumps, of unit mean."""
    at = torch.linspace(0, 1, R)
    bumps = torch.exp(-0.5 * ((at - torch.tensor([[0.2], [0.5], [0.8]])) / 0.08) ** 2)
    bumps = bumps / bumps.mean(dim=1, keepdim=True)
    # Exponential draws: many spectra lack one component almost wholly, which makes the factorisation unique.
    s = -torch.log(torch.rand(N, K, generator=torch.Generator().manual_seed(0))) * torch.tensor([3.0, 2.0, 1.0])
    return s @ bumps, bumps


def misfit(x, w, found):
    return (w * (x - found.decode(found.encode(x, w))).square()).sum()


def test_planted_components_are_recovered_in_order_of_their_light(planted):
    x, bumps = planted
    found = weighted_nmf(x, torch.ones(N, R), K)
    assert torch.allclose(found.components.mean(dim=1), torch.ones(K), atol=1e-5)
    assert ((found.components - bumps).square().mean(dim=1).sqrt() < 0.1).all()


def test_what_gaps_hide_is_recovered(planted):
    x, _ = planted
    w = (torch.rand(N, R, generator=torch.Generator().manual_seed(1)) > 0.4).float()
    found = weighted_nmf(torch.where(w > 0, x, 1e3), w, K)
    hidden = (found.decode(found.encode(x * w, w)) - x)[w == 0]
    assert hidden.square().mean().sqrt() < 0.02 * x.std()


def test_noise_below_zero_does_not_raise_the_level():
    """Half of all values are negative where there is no light: clipping them would leave a level of 0.4 sigma."""
    generator = torch.Generator().manual_seed(2)
    x = torch.zeros(2000, R)
    x[:, : R // 2] = 5
    found = weighted_nmf(x + torch.randn(x.shape, generator=generator), torch.ones(x.shape), 1)
    assert found.components[0, R // 2 :].max() < 0.02 * found.components[0, : R // 2].mean()


def test_nothing_is_negative_and_more_iterations_fit_better(planted):
    x = planted[0] + 0.3 * torch.randn(N, R, generator=torch.Generator().manual_seed(3))
    w = 0.5 + torch.rand(N, R, generator=torch.Generator().manual_seed(4))
    misfits = []
    for n in (1, 3, 10, 30):
        found = weighted_nmf(x, w, K, n_iterations=n)
        assert (found.components >= 0).all()
        assert (found.encode(x, w) >= 0).all()
        misfits.append(misfit(x, w, found).item())
    assert misfits == sorted(misfits, reverse=True)


def test_coefficients_are_the_best_that_are_not_negative():
    from scipy.optimize import nnls

    generator = torch.Generator().manual_seed(5)
    components = torch.rand(4, R, generator=generator)
    x = torch.randn(10, 4, generator=generator) @ components + 1  # some ask for negative mixtures
    w = torch.rand(10, R, generator=generator)
    found = NonNegative(components).encode(x, w, n_sweeps=1000)
    for row in range(10):
        root = w[row].sqrt()
        expected = nnls((components * root).T.double().numpy(), (x[row] * root).double().numpy())[0]
        assert found[row].tolist() == pytest.approx(expected, abs=2e-3)
