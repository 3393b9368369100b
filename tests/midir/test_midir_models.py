"""The networks of study 1: sizes as published, latents where they belong, planted truths recovered."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from paper_utils.midir.latent_adam import adam_on_both
from paper_utils.midir.model import GLO, WGAN, Adversaries, Critic, Generator, glo_loss, gradient_penalty, to_sphere
from paper_utils.midir.reconstruct import (
    frozen,
    nearest_starts,
    reconstruct,
    recover,
    recover_nearest,
    seen_part,
)
from paper_utils.nets import training
from paper_utils.nets.dense import MLP
from paper_utils.nets.plan import Plan
from paper_utils.nets.standard import Standard


def small_generator(log=True, n_latent=4, seed=0):
    """A smooth map from 4 latents to 30 bins, evaluated with its running statistics."""
    with training.seeded(seed):
        return Generator(n_latent, n_wave=30, width=16, n_hidden=2, log=log).eval()


def averages(n_band=8, n_wave=30):
    """Bands that average neighbouring bins; rows sum to one, as those of a measurement matrix do."""
    A = torch.zeros(n_band, n_wave)
    for band, bins in enumerate(torch.arange(n_wave).chunk(n_band)):
        A[band, bins] = 1 / len(bins)
    return A


def test_generator_has_the_published_architecture():
    generator = Generator()
    kinds = [type(layer) for layer in generator.network]
    assert kinds == [nn.Linear, nn.BatchNorm1d, nn.LeakyReLU] * 6 + [nn.Linear]  # no activation on the output
    w = 256
    expected = (50 * w + w) + 5 * (w * w + w) + 6 * 2 * w + (w * 223 + 223)
    assert sum(p.numel() for p in generator.parameters()) == expected
    assert generator(torch.randn(7, 50)).shape == (7, 223)


def test_critic_is_symmetric_to_the_generator():
    linear = [layer for layer in Critic().network if isinstance(layer, nn.Linear)]
    mirrored = [layer for layer in Generator().network if isinstance(layer, nn.Linear)]
    assert [m.in_features for m in linear[1:]] == [m.out_features for m in mirrored[:-1]]
    assert (linear[0].in_features, linear[-1].out_features) == (223, 1)


@pytest.mark.parametrize("per_bin", [False, True])
def test_scale_is_that_of_the_training_spectra(per_bin):
    x = torch.randn(500, 30) * torch.linspace(1, 5, 30) + 3
    scaled = small_generator().learn_scale(x, per_bin)
    if per_bin:
        torch.testing.assert_close(scaled.std(0, correction=0), torch.ones(30))
        torch.testing.assert_close(scaled.mean(0), torch.zeros(30), atol=1e-6, rtol=0)
    else:
        assert scaled.std(correction=0).item() == pytest.approx(1, abs=1e-5)
        # One scale for all: the bins keep their relative sizes, as in a plain mean squared error.
        torch.testing.assert_close(scaled.std(0) / scaled.std(0)[0], x.std(0) / x.std(0)[0])


def test_photometry_of_a_log_model_is_the_log_of_that_of_its_flux():
    generator, A = small_generator(log=True), averages()
    x = generator(torch.randn(5, 4))
    expected = np.log10((10.0 ** x.detach().double().numpy()) @ A.numpy().T)
    np.testing.assert_allclose(generator.measure(x, A).detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_glo_learns_a_planted_family_and_keeps_its_latents_on_the_sphere():
    planted = small_generator(seed=1)
    with torch.no_grad():
        x = planted(to_sphere(torch.randn(400, 4, generator=torch.Generator().manual_seed(0))))
    with training.seeded(2):
        model = GLO(400, n_latent=4, n_wave=30, width=32, n_hidden=2)
    target = model.generator.learn_scale(x, per_bin=True)
    plan = Plan(800, 50, lr=5e-3, optimizer=partial(adam_on_both, lr_latents=2e-2))
    history = training.fit(model, glo_loss, {"x": target}, plan, progress=False)
    assert history["loss"][0] > 0.5  # nothing known: about the variance, 1
    assert history["loss"][-1] < 0.1
    torch.testing.assert_close(model.s.norm(dim=1), torch.ones(400))


def test_only_the_generator_decays():
    model = GLO(9, n_latent=4, n_wave=30, width=8, n_hidden=2)
    weights, latents = adam_on_both(model, Plan(1, 1, lr=0.5, weight_decay=1e-5), 0.05).param_groups
    assert (weights["lr"], weights["weight_decay"], len(weights["params"])) == (0.5, 1e-5, 10)
    assert (latents["lr"], latents["weight_decay"], len(latents["params"])) == (0.05, 0, 1)


def test_latents_that_are_not_in_the_batch_stay_where_they_are():
    """Also when they have moved before, which plain Adam remembers."""
    with training.seeded(0):
        model = GLO(9, n_latent=4, n_wave=30, width=8, n_hidden=2)
    optimizer, x = adam_on_both(model, Plan(1, 1, lr=0.01), 0.05), torch.randn(9, 30)
    for batch in (torch.arange(9), torch.tensor([0, 4])):
        before = model.s.detach().clone()
        optimizer.zero_grad(set_to_none=True)
        glo_loss(model, {"index": batch, "x": x[batch]}, None)["loss"].backward()
        optimizer.step()
        moved = (model.s != before).any(dim=1)
        assert moved.nonzero()[:, 0].tolist() == batch.tolist()


@pytest.mark.parametrize("log", [True, False])
def test_the_brightness_of_a_galaxy_does_not_matter(log):
    """Spectra scale with photometry, and so do the starts and the path of a search."""
    generator, A = small_generator(log), averages()
    if not log:  # a generator of positive flux
        torch.nn.init.constant_(generator.network[-1].bias, 5.0)
    pool = to_sphere(torch.randn(50, 4, generator=torch.Generator().manual_seed(1)))
    with torch.no_grad():
        y = generator.flux(generator(pool[:6])).double().numpy() @ A.numpy().T
    find = partial(recover_nearest, generator, A, pool=pool, k=2, n_steps=5, lr=0.01)
    np.testing.assert_allclose(find(photometry=300 * y), 300 * find(photometry=y), rtol=2e-3)
    exact = recover_nearest(generator, A, 300 * y, pool, n_steps=0)[0]
    with torch.no_grad():
        np.testing.assert_allclose(exact, 300 * generator.flux(generator(pool[:6])).numpy(), rtol=2e-3)


@pytest.mark.parametrize("log", [True, False])
def test_the_part_that_is_seen_gives_the_photometry_of_the_whole(log):
    generator, A = frozen(small_generator(log)), averages()
    A[:, ::3] = 0
    part, seen_A = seen_part(generator, A)
    s = torch.randn(5, generator.n_latent)
    assert part(s).shape[1] == seen_A.shape[1] < generator(s).shape[1]
    torch.testing.assert_close(part.measure(part(s), seen_A), generator.measure(generator(s), A))


def test_every_row_of_a_search_may_have_its_own_rate():
    generator, A = small_generator(), averages()
    y, start = torch.randn(3, 8), to_sphere(torch.randn(3, 4))
    rates = torch.tensor([0.0, 0.01, 0.1])[:, None, None]
    together, _ = reconstruct(generator, A, y, start * torch.ones_like(rates), lr=rates, n_steps=20)
    for rate, rows in zip(rates.flatten().tolist(), together, strict=True):
        alone, _ = reconstruct(generator, A, y, start, lr=rate, n_steps=20)
        torch.testing.assert_close(rows, alone, rtol=1e-3, atol=1e-4)


def one_wgan_iteration(kind):
    with training.seeded(0):
        model = WGAN(4, n_wave=30, width=16, n_hidden=2, critic_kind=kind)
    before = copy.deepcopy(model.generator.state_dict())
    step = Adversaries(model, torch.randn(500, 30), Plan(1, 500), training.fabric_on("cpu"))
    counts = {"generator": 0, "critic": 0}
    for name, optimizer in zip(counts, step.optimizers, strict=True):
        optimizer.register_step_post_hook(lambda *_, name=name: counts.update({name: counts[name] + 1}))
    step(torch.arange(500))
    changed = any(not torch.equal(before[k], v) for k, v in model.generator.state_dict().items() if "weight" in k)
    return model.critic, counts, changed


@pytest.mark.parametrize("kind", ["plain", "joint", "separate"])
def test_wgan_trains_its_critic_five_times_as_often_and_clamps_it(kind):
    critic, counts, generator_changed = one_wgan_iteration(kind)
    assert any(isinstance(layer, nn.BatchNorm1d) for layer in critic.network) == (kind != "plain")
    assert counts == {"generator": 1, "critic": 5}
    assert generator_changed
    assert max(p.abs().max().item() for p in critic.parameters()) <= 0.01


def test_a_gradient_penalty_leaves_the_weights_free_and_forbids_batch_norm():
    critic, counts, _ = one_wgan_iteration("penalised")
    assert counts["critic"] == 5
    assert max(p.abs().max().item() for p in critic.parameters()) > 0.01
    assert not any(isinstance(layer, nn.BatchNorm1d) for layer in critic.network)


def lines(n, seed=0):
    """Spectra that are straight lines, of mean 1 and slopes around 0.5."""
    slopes = 0.5 + 0.2 * torch.randn(n, 1, generator=torch.Generator().manual_seed(seed))
    return 1 + slopes * torch.linspace(-1, 1, 30)


def trained(kind, n_steps):
    with training.seeded(0):
        model = WGAN(4, n_wave=30, width=128, n_hidden=6, critic_kind=kind)
    x, plan = lines(500), Plan(n_steps, 500, schedule="halving")
    step = Adversaries(model, x, plan, training.fabric_on("cpu"))
    return model, training.repeat(step, step.state, len(x), plan, progress=False)


def test_batch_norm_of_separate_batches_blinds_the_critic():
    """Real and artificial spectra lie far apart, and yet hardly any gradient reaches the generator."""
    reached = {kind: max(trained(kind, 30)[1]["gradient"]) for kind in ("plain", "joint", "separate")}
    assert reached["separate"] < 1e-6 * min(reached["joint"], reached["plain"])


def test_a_plain_critic_teaches_the_mean_spectrum():
    model, _ = trained("plain", 200)
    with torch.no_grad():
        artificial = model.generator.network(torch.randn(1000, 4, generator=torch.Generator().manual_seed(1)))
    assert (artificial.mean(0) - lines(500).mean(0)).square().mean().sqrt() < 0.05


def test_adversaries_go_on_where_they_were_stopped(tmp_path):
    x = torch.randn(60, 30, generator=torch.Generator().manual_seed(0))
    plan = Plan(10, 50, schedule="halving")

    def run(**options):
        with training.seeded(0):
            model = WGAN(4, n_wave=30, width=8, n_hidden=2)
        step = Adversaries(model, x, plan, training.fabric_on("cpu"))
        history = training.repeat(step, step.state, len(x), plan, progress=False, **options)
        return model.state_dict(), history["finished"]

    whole, _ = run()
    file = tmp_path / "w.checkpoint"
    assert not run(checkpoint=file, stop_after_s=0)[1]
    pieces, finished = run(checkpoint=file)
    assert finished
    assert all(torch.equal(whole[name], values) for name, values in pieces.items())


def test_gradient_penalty_of_a_linear_critic_is_its_slope():
    critic = nn.Sequential(nn.Linear(9, 1, bias=False), nn.Flatten(0))
    noise = torch.Generator().manual_seed(0)
    for slope in (1.0, 3.0):
        with torch.no_grad():
            critic[0].weight.fill_(slope / 3)  # |gradient| = slope / 3 * sqrt(9)
        value = gradient_penalty(critic, torch.randn(5, 9), torch.randn(5, 9), noise).item()
        assert value == pytest.approx((slope - 1) ** 2, abs=1e-5)


class TestReconstruction:
    generator, A = small_generator(seed=3), averages()
    s = to_sphere(torch.randn(12, 4, generator=torch.Generator().manual_seed(4)))

    @property
    def y(self):
        with torch.no_grad():
            return self.generator.measure(self.generator(self.s), self.A)

    def start(self, n=12, seed=5):
        return to_sphere(torch.randn(n, 4, generator=torch.Generator().manual_seed(seed)))

    def test_planted_spectra_are_recovered(self):
        starts = nearest_starts(self.generator, self.A, self.y, self.start(2000))[0]
        x, misfit = reconstruct(self.generator, self.A, self.y, starts, lr=0.01, n_steps=400)
        with torch.no_grad():
            truth = self.generator(self.s)
        spread = truth.std(0).mean()
        assert misfit.max() < (0.02 * spread) ** 2 * 25
        assert (x - truth).abs().median() < 0.05 * spread

    def test_one_batch_gives_what_a_loop_gives(self):
        start = self.start()
        together, _ = reconstruct(self.generator, self.A, self.y, start, lr=0.01, n_steps=50)
        alone = [
            reconstruct(self.generator, self.A, self.y[i : i + 1], start[i : i + 1], lr=0.01, n_steps=50)[0]
            for i in range(len(start))
        ]
        torch.testing.assert_close(together, torch.cat(alone), rtol=1e-3, atol=1e-4)

    def test_a_band_of_weight_zero_says_nothing(self):
        weight = torch.ones(8)
        weight[2] = 0
        spoiled = self.y.clone()
        spoiled[:, 2] += 5
        given = {"lr": 0.01, "n_steps": 30, "weight": weight}
        left = reconstruct(self.generator, self.A, self.y, self.start(), **given)[0]
        torch.testing.assert_close(left, reconstruct(self.generator, self.A, spoiled, self.start(), **given)[0])
        heard = reconstruct(self.generator, self.A, spoiled, self.start(), lr=0.01, n_steps=30)[0]
        assert (heard - left).abs().max() > 0.01

    def test_regularization_pulls_latents_to_the_origin(self):
        far = 3 * self.start()
        with torch.no_grad():
            at_origin = self.generator(torch.zeros(1, 4))
        free, _ = reconstruct(self.generator, self.A, self.y, far, lam=0.0, lr=0.05, n_steps=200)
        pulled, _ = reconstruct(self.generator, self.A, self.y, far, lam=100.0, lr=0.05, n_steps=200)
        assert (pulled - at_origin).abs().max() < 0.2 * (free - at_origin).abs().max()

    def test_a_frozen_generator_gives_the_same_spectra(self):
        trained = Generator(4, 30, width=16, n_hidden=3)
        for _ in range(20):  # running statistics far from their first values
            trained(3 * torch.randn(50, 4) + 1)
        with torch.no_grad():
            torch.testing.assert_close(frozen(trained)(self.s), trained.eval()(self.s), rtol=1e-4, atol=1e-5)
        assert len(frozen(trained).network) == len(trained.network) - 3

    def test_the_generator_is_left_as_it_was(self):
        before = copy.deepcopy(self.generator.state_dict())
        reconstruct(self.generator, self.A, self.y, self.start(), n_steps=5)
        assert all(torch.equal(before[k], v) for k, v in self.generator.state_dict().items())
        assert all(p.requires_grad for p in self.generator.parameters())

    def test_nearest_start_is_the_latent_that_made_the_photometry(self):
        pool = self.start(300, seed=6)
        with torch.no_grad():
            y = self.generator.measure(self.generator(pool[[7, 42]]), self.A)
        found = nearest_starts(self.generator, self.A, y, pool, k=3)
        assert found.shape == (3, 2, 4)
        torch.testing.assert_close(found[0], pool[[7, 42]])

    def test_physical_values_give_what_the_models_own_give(self):
        flux = 10.0 ** self.y.double().numpy()
        start, given = self.start(), {"lr": 0.01, "n_steps": 20}
        x, _ = reconstruct(self.generator, self.A, self.y, start, **given)
        own = 10.0 ** x.double().numpy()
        np.testing.assert_allclose(recover(self.generator, self.A, flux, start, **given), own, rtol=1e-4)
        # From a pool: each of the k nearest starts, as if searched alone.
        pool = self.start(50, seed=8)
        starts = nearest_starts(self.generator, self.A, self.y, pool, k=2)
        near = recover_nearest(self.generator, self.A, flux, pool, 2, **given)
        for found, first in zip(near, starts, strict=True):
            np.testing.assert_allclose(found, recover(self.generator, self.A, flux, first, **given), rtol=1e-4)


def test_standardised_values_come_back_and_constant_or_unseen_columns_are_harmless():
    x = torch.randn(500, 4) * torch.tensor([1e-12, 1.0, 1e6, 1.0]) + torch.tensor([0.0, -3.0, 1e7, 0.0])
    x[:, 3] = 0.1  # which float32 does not hold exactly
    x[::2, 1] = torch.nan
    standard = Standard(4).learn(x)
    y = standard(x)
    torch.testing.assert_close(y.nanmean(0)[:2], torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.square().nanmean(0)[:3], torch.ones(3), atol=1e-4, rtol=0)
    assert y[:, 3].abs().max() < 1e-6
    torch.testing.assert_close(standard.undone(y), x, equal_nan=True)
    assert torch.equal(Standard(4)(x[1::2]), x[1::2])
    nothing = Standard(1).learn(torch.full((5, 1), torch.nan))
    assert (nothing.mean.item(), nothing.scale.item()) == (0, 1)


def test_mlp_predicts_in_the_units_of_its_training_set():
    x, y = torch.randn(200, 3) * 7 + 2, torch.randn(200, 2) * 100 - 50
    mlp = MLP(3, 2, widths=(8,)).learn_scale(x, y)
    with torch.no_grad():
        mlp.network[-1].weight.zero_()
        mlp.network[-1].bias.zero_()
        # A network that says 0 in its own units says the training mean in the caller's.
        torch.testing.assert_close(mlp(x), y.mean(0).expand(200, 2))
