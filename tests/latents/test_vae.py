"""Study 4's variational autoencoder: sizes, the MMD and KL terms against closed forms, and a planted family."""

import math
from functools import partial

import numpy as np
import pytest
import torch

from paper_utils.latents import vae
from paper_utils.nets import training
from paper_utils.nets.plan import Plan

N, N_WAVE, NOISE = 1024, 80, 0.05


def test_layers_are_the_authors():
    model = vae.InfoVAE()
    shapes = [(m.in_features, m.out_features) for m in model.modules() if isinstance(m, torch.nn.Linear)]
    # Mean and log variance of six latents leave the encoder together.
    assert shapes == [(1000, 549), (549, 110), (110, 12), (6, 110), (110, 549), (549, 1000)]
    mu, log_var = model.encode(torch.randn(3, 1000))
    assert mu.shape == log_var.shape == (3, 6)
    assert model.decode(mu).shape == (3, 1000)


def test_an_ignorant_model_says_the_mean_spectrum():
    x = torch.randn(50, 1000) + torch.linspace(0, 3, 1000)
    model = vae.InfoVAE().learn_mean(x)
    with torch.no_grad():
        model.decoder[-1].weight.zero_()
        model.decoder[-1].bias.zero_()
        assert torch.allclose(model(x), x.mean(dim=0).expand(50, -1), atol=1e-6)


def expected_kernel(offset, variance, d):
    """Mean of exp(-|t|^2 / d) over t ~ N(offset, variance) in each of d dimensions: a Gaussian integral."""
    broad = 1 + 2 * variance / d
    return broad ** (-d / 2) * math.exp(-(offset**2) / broad)


@pytest.mark.parametrize(("offset", "sigma"), [(0.0, 1.0), (0.5, 1.0), (0.0, 0.3), (1.0, 2.0)])
def test_mmd_of_gaussian_samples_is_the_closed_form(offset, sigma):
    d, n, m = 6, 1000, 1500
    generator = torch.Generator().manual_seed(0)
    a = offset + sigma * torch.randn(n, d, generator=generator)
    b = torch.randn(m, d, generator=generator)
    same_a, same_b = expected_kernel(0, 2 * sigma**2, d), expected_kernel(0, 2, d)
    cross = expected_kernel(offset, sigma**2 + 1, d)
    # A point's kernel with itself is 1: that is the part 1 / n of all pairs of a sample.
    expected = same_a + (1 - same_a) / n + same_b + (1 - same_b) / m - 2 * cross
    assert vae.mmd(a, b).item() == pytest.approx(expected, abs=0.004, rel=0.1)
    assert vae.mmd(a, a).item() == pytest.approx(0, abs=1e-6)


def test_kl_is_that_of_torch():
    from torch.distributions import Normal, kl_divergence

    mu, log_var = torch.randn(2, 7, 6)
    expected = kl_divergence(Normal(mu, (0.5 * log_var).exp()), Normal(0.0, 1.0)).sum(dim=1)
    assert torch.allclose(vae.kl_divergence(mu, log_var), expected, atol=1e-5)


def test_loss_is_the_published_sum_and_gaps_do_not_count():
    x, w = torch.randn(9, 1000), torch.rand(9, 1000)
    w[:, :300] = 0
    with training.seeded(0):
        model = vae.InfoVAE()
    terms = vae.infovae_loss(model, {"x": x, "w": w}, torch.Generator().manual_seed(1), lam=30.0)
    # The authors' sum over the batch, -1/2 w r^2 and all, divided by its size.
    squares = terms["chi2"] * (w > 0).sum()
    whole = 0.5 * squares + 9 * terms["kl"] + (30 - 1) * terms["mmd"] * 9 * 6
    assert terms["loss"].item() == pytest.approx((whole / 9).item(), rel=1e-5)
    # What stands in a gap reaches the encoder but not the misfit.
    with torch.no_grad():
        model.encoder[0].weight[:, :300] = 0
    filled = [{"x": torch.where(w > 0, x, level), "w": w} for level in (0.0, 1e3)]
    again = [vae.infovae_loss(model, batch, torch.Generator().manual_seed(1))["loss"].item() for batch in filled]
    assert again[0] == pytest.approx(again[1], rel=1e-5)


def planted(seed=0):
    """A curved family: a bump's place and height are two normal numbers, with noise; and those numbers."""
    generator = torch.Generator().manual_seed(seed)
    t = torch.randn(N, 2, generator=generator)
    at = torch.linspace(-4, 4, N_WAVE)
    x = (1 + 0.3 * t[:, :1]) * torch.exp(-0.5 * (at - 0.7 * t[:, 1:]) ** 2)
    return x + NOISE * torch.randn(x.shape, generator=generator), t


def train(lam, n_steps=1000):
    x, t = planted()
    with training.seeded(0):
        model = vae.InfoVAE(N_WAVE, 2, (64, 32)).learn_mean(x)
    data = {"x": x, "w": torch.full_like(x, NOISE**-2)}
    plan = Plan(n_steps, 64, 3e-3, schedule="one-cycle")
    history = training.fit(model, partial(vae.infovae_loss, lam=lam), data, plan, progress=False)
    with torch.no_grad():
        return model, history, model.encode(x)[0], t


@pytest.fixture(scope="module")
def weak():
    return train(lam=1.0)


@pytest.fixture(scope="module")
def strong():
    return train(lam=1000.0)


def test_a_planted_family_is_recovered_to_the_noise(strong):
    model, history, s, t = strong
    assert history["chi2"][0] > 5
    assert history["chi2"][-1] < 1.2  # 1: the noise that was put in
    x, t_new = planted(seed=5)
    with torch.no_grad():
        s_new = model.encode(x)[0]
    # The planted numbers are a smooth function of the latents: a quadratic reads them off.
    powers = [
        np.stack([a**i * b**j for i in range(4) for j in range(4 - i)], 1) for a, b in (s.numpy().T, s_new.numpy().T)
    ]
    fit = np.linalg.lstsq(powers[0], t.numpy(), rcond=None)[0]
    residual = ((powers[1] @ fit - t_new.numpy()) ** 2).mean(axis=0)
    assert (residual < 0.1).all()


def test_mmd_pulls_the_latents_to_a_unit_normal(weak, strong):
    generator = torch.Generator().manual_seed(2)
    prior = torch.randn(4000, 2, generator=generator)
    apart = [vae.mmd(s, prior).item() for _, _, s, _ in (weak, strong)]
    assert apart[1] < 0.5 * apart[0]
    s = strong[2]
    assert s.mean(dim=0).abs().max() < 0.3
    assert s.std(dim=0).tolist() == pytest.approx([1, 1], abs=0.25)


def test_no_latent_is_silent(strong):
    with torch.no_grad():
        log_var = strong[0].encode(planted()[0])[1]
    assert ((0.5 * log_var).exp().mean(dim=0) < 0.5).all()
