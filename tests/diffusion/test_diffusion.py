"""Study 3's diffusion: the schedule, exact Gaussians through every sampler, and a planted conditional family."""

import math

import pytest
import torch

from paper_utils.diffusion import model as d
from paper_utils.diffusion import samplers
from paper_utils.diffusion.augmentation import augmented, centred
from paper_utils.diffusion.gaussian import Blocks, Gaussian
from paper_utils.nets import training
from paper_utils.nets.plan import Plan

N_WAVE = 24


def test_the_schedule_is_the_cosine_formula():
    abar = samplers.cosine_schedule()
    assert len(abar) == 251

    def f(t):
        return math.cos((t / 250 + 0.008) / 1.008 * math.pi / 2) ** 2

    for t in (0, 1, 20, 125, 249):
        assert abar[t].item() == pytest.approx(f(t) / f(0), rel=1e-9)
    assert abar[0] == 1
    assert abar[250] == pytest.approx(abar[249].item() * 0.001)  # the clipped beta, where f is zero
    assert (abar.diff() < 0).all()
    model = tiny()
    assert torch.allclose(model.alpha.square() + model.sigma.square(), torch.ones(251), atol=1e-6)


def tiny(n_wave=N_WAVE, **options):
    with training.seeded(0):
        return d.Diffusion(n_wave, **{"image_width": 1 / 8, "base": 16, "mults": (1,), "n_bands": 1} | options)


# --- samplers with the exact denoiser of a Gaussian ------------------------------------------------------------------


def gaussian(n=8):
    """Mean, and a covariance whose variances run from 0.02 to 30 along random directions."""
    generator = torch.Generator().manual_seed(3)
    axes = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64)).Q
    variances = torch.logspace(math.log10(0.02), math.log10(30), n, dtype=torch.float64)
    return torch.linspace(-1, 2, n, dtype=torch.float64), axes * variances @ axes.T


def sampled(sampler, n_steps, n=20_000):
    mean, covariance = gaussian()
    abar = samplers.cosine_schedule()
    alpha, sigma = abar.sqrt(), (1 - abar).sqrt()

    def clean(x, t):
        """E(x_0 | x_t) of a Gaussian: linear in x_t."""
        gain = alpha[t] * covariance @ torch.linalg.inv(abar[t] * covariance + (1 - abar[t]) * torch.eye(len(mean)))
        return mean + (x - alpha[t] * mean) @ gain.T

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, len(mean), generator=generator).double()
    return samplers.integrate(clean, x, alpha, sigma, sampler, n_steps, generator)


@pytest.mark.parametrize(
    ("sampler", "n_steps", "tolerance"),
    [("ancestral", None, 0.06), ("ddim", None, 0.06), ("dpm++", None, 0.04), ("dpm++", 20, 0.06), ("dpm++", 10, 0.15)],
)
def test_every_sampler_reproduces_a_gaussian(sampler, n_steps, tolerance):
    mean, covariance = gaussian()
    x = sampled(sampler, n_steps)
    # In the directions of the covariance and in units of its widths, where the sample's should be the identity.
    variances, axes = torch.linalg.eigh(covariance)
    white = (x - mean) @ axes / variances.sqrt()
    assert white.mean(dim=0).abs().max() < 0.04
    assert (torch.cov(white.T) - torch.eye(len(mean))).abs().max() < tolerance + 4 * (2 / len(x)) ** 0.5


def test_twenty_steps_err_like_all_of_them():
    """The distance to a truth of the same law: within 2 % of that of ancestral sampling in 250 steps."""
    mean, covariance = gaussian()
    truth = mean + torch.randn(20_000, 8, generator=torch.Generator().manual_seed(9)).double() @ (
        torch.linalg.cholesky(covariance).T
    )
    error = {
        name: (sampled(sampler, n_steps) - truth).abs().mean()
        for name, sampler, n_steps in (("all", "ancestral", None), ("dpm", "dpm++", 20))
    }
    assert error["dpm"] / error["all"] == pytest.approx(1, abs=0.02)


def test_second_order_is_better_than_first_at_equal_cost():
    _, covariance = gaussian()
    missed = [(torch.cov(sampled(s, 20).T) - covariance).norm() / covariance.norm() for s in ("ddim", "dpm++")]
    assert missed[1] < 0.3 * missed[0]


def test_steps_run_from_noise_to_none():
    model = tiny()
    assert samplers.steps_of(model.alpha, model.sigma, "ancestral", 20) == list(range(250, -1, -1))
    assert samplers.steps_of(model.alpha, model.sigma, "ddim", None) == list(range(250, -1, -1))
    few = samplers.steps_of(model.alpha, model.sigma, "dpm++", 20)
    assert (few[0], few[-2], few[-1], len(few)) == (249, 1, 0, 21)
    assert all(a > b for a, b in zip(few, few[1:], strict=False))
    gaps = (model.alpha / model.sigma).log()[few[:-1]].diff()
    assert gaps.min() > 0.5 * gaps.mean()  # even but for rounding to whole steps, which are rare near T
    assert gaps[3:].std() < 0.1 * gaps.mean()
    with pytest.raises(ValueError, match="euler"):
        samplers.integrate(lambda x, t: x, torch.randn(1, 2), model.alpha, model.sigma, "euler")


# --- the model -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prediction", d.PREDICTIONS)
def test_a_perfect_output_gives_back_the_spectrum(prediction, monkeypatch):
    model = tiny(prediction=prediction)
    x, eps = torch.randn(2, 5, N_WAVE)
    for t in (1, 60, 249):
        at = torch.full((5,), t)
        monkeypatch.setattr(model, "forward", lambda *_, at=at: model.target(x, eps, at))
        assert torch.allclose(model.clean(model.noised(x, eps, at), t, None, None), x, atol=2e-3)
    with pytest.raises(ValueError, match="score"):
        tiny(prediction="score")


def test_the_low_resolution_spectrum_lies_where_it_was_taken_from():
    model = tiny(4500, n_low=563)
    smooth = torch.sin(torch.arange(4500) / 300)[None]
    beside = model.beside(torch.zeros(1, 4, 64), smooth[:, ::8])
    assert beside.shape == (1, 1, 4500)
    assert torch.allclose(beside[:, 0, ::8], smooth[:, ::8], atol=1e-5)
    assert (beside[:, 0] - smooth).abs().max() < 0.02
    assert tiny().beside(torch.zeros(1, 4, 64)).shape == (1, 0, N_WAVE)  # published: nothing but the noisy spectrum


def test_scales_are_those_of_the_training_set():
    x = 3 + torch.linspace(0.1, 2, N_WAVE) * torch.randn(4000, N_WAVE)
    images = torch.rand(10, 1, 32, 32)
    model = tiny().learn_scale(images, x, contrast=0.5)
    assert torch.allclose(model.standard(x).mean(dim=0), torch.zeros(N_WAVE), atol=1e-4)
    assert torch.allclose(model.standard(x).std(dim=0), torch.full((N_WAVE,), 0.5), atol=1e-4)
    published = tiny().learn_scale(images)
    assert torch.equal(published.standard(x), x)


def planted(n, seed=0):
    """Images of one brightness b in -1 ... 1, and spectra (2 + b) shape + (0.2 + 0.15 (1 + b)) a other shape, a ~ N."""
    generator = torch.Generator().manual_seed(seed)
    b = 2 * torch.rand(n, 1, generator=generator) - 1
    at = torch.linspace(0, math.pi, N_WAVE)
    a = torch.randn(n, 1, generator=generator)
    x = (2 + b) * at.sin() + (0.2 + 0.15 * (1 + b)) * a * at.cos()
    images = b[:, :, None, None].expand(-1, 1, 32, 32) + 0.05 * torch.randn(n, 1, 32, 32, generator=generator)
    return images, x + 0.02 * torch.randn(n, N_WAVE, generator=generator), b[:, 0]


def drawing(seed=1):
    return torch.Generator().manual_seed(seed)


def trained(model, data, n_steps, lr, loss=d.diffusion_loss, **options):
    """By Adam; returns the model and the losses."""
    plan = Plan(n_steps, 64, lr, **options)
    return model, training.fit(model, loss, data, plan, progress=False)


@pytest.fixture(scope="module")
def learned():
    """Trained as a short run is: the image encoder by regression first, then the rest on its features."""
    images, x, _ = planted(1024)
    model = tiny(prediction="v", n_components=2).learn_scale(images, x, contrast=0.5)
    trained(model, {"images": images, "x": x}, 60, 3e-3, d.encoder_loss)
    context = d.contexts(model, images)
    model.learn_residuals(x, context)
    return trained(model, {"context": context, "x": x}, 500, 2e-3, average=d.AVERAGE, seed=1)


def test_a_planted_conditional_family_is_recovered(learned):
    model, _ = learned
    at = torch.linspace(0, math.pi, N_WAVE)
    b = torch.tensor([-0.8, 0.0, 0.8])
    context = model.encode(centred(b[:, None, None, None].expand(3, 1, 32, 32)))
    x = d.sample(model, context, 200, generator=torch.Generator().manual_seed(4))
    level = x @ at.sin() / at.sin().square().sum()
    spread = x @ at.cos() / at.cos().square().sum()
    assert torch.allclose(level.mean(dim=1), 2 + b, atol=0.12)
    assert torch.allclose(spread.mean(dim=1), torch.zeros(3), atol=0.12)
    assert torch.allclose(spread.std(dim=1), 0.2 + 0.15 * (1 + b), rtol=0.25)


def test_samples_follow_their_images(learned):
    """Permuted images permute the samples' levels; the same noise with another image is another spectrum."""
    model, _ = learned
    images, _, b = planted(40, seed=5)
    context = model.encode(centred(images))
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    draw = {"n_steps": 10}
    one, other = (
        d.sample(model, c, generator=torch.Generator().manual_seed(2), **draw)[:, 0] for c in (context, context[order])
    )
    assert not torch.allclose(one, other, atol=0.1)
    at = torch.linspace(0, math.pi, N_WAVE)
    for x, said in ((one, b), (other, b[order])):
        assert torch.corrcoef(torch.stack([x @ at.sin(), said]))[0, 1] > 0.95


@pytest.mark.parametrize(("sampler", "n_steps"), [("ancestral", None), ("ddim", 25)])
def test_other_samplers_agree(learned, sampler, n_steps):
    model, _ = learned
    context = model.encode(centred(torch.zeros(1, 1, 32, 32)))
    reference, x = (
        d.sample(model, context, 100, sampler=s, n_steps=n, generator=torch.Generator().manual_seed(7))[0]
        for s, n in (("dpm++", 20), (sampler, n_steps))
    )
    assert torch.allclose(x.mean(dim=0), reference.mean(dim=0), atol=0.12)
    assert torch.allclose(x.std(dim=0), reference.std(dim=0), atol=0.12)


def test_encoding_once_is_encoding_at_every_step(learned):
    model, _ = learned
    images = centred(planted(3, seed=8)[0])
    with torch.no_grad():
        once = d.sample(model, model.encode(images), generator=torch.Generator().manual_seed(0))[:, 0]
        noise = torch.randn((3, N_WAVE), generator=torch.Generator().manual_seed(0))

        def clean(x, t):
            context = model.encode(images)
            return model.clean(x, t, context, model.beside(context))

        each = samplers.integrate(clean, noise, model.alpha, model.sigma)
    assert torch.equal(once, model.standard.undone(each))


def test_samples_do_not_depend_on_the_batch_but_on_the_seed(learned):
    model, _ = learned
    context = model.encode(centred(planted(5, seed=8)[0]))

    def draw(seed, **options):
        return d.sample(model, context, 3, n_steps=5, generator=torch.Generator().manual_seed(seed), **options)

    assert draw(0).shape == (5, 3, N_WAVE)
    assert torch.allclose(draw(0), draw(0, batch_size=4), atol=1e-4)
    assert torch.equal(draw(0), draw(0))
    assert not torch.allclose(draw(0), draw(1), atol=0.1)


# --- the loss --------------------------------------------------------------------------------------------------------


def levels_seen(n_steps, seed=1):
    images, x, _ = planted(64)
    model, generator, seen = tiny(base=8), drawing(seed), []
    model.unet.register_forward_pre_hook(lambda _, args: seen.append(args[1].clone()))
    with torch.no_grad():
        for _ in range(n_steps):
            d.diffusion_loss(model, {"images": images, "x": x}, generator)
    return torch.stack(seen)  # (n_steps, 64)


def test_every_spectrum_has_its_own_noise_level_at_every_step():
    """A public trainer overwrites the level that it has drawn by 0: it then learns to remove no noise but the least."""
    t = levels_seen(40)
    assert t.min() >= 1
    assert t.max() <= 250
    assert all(len(row.unique()) > 32 for row in t)  # within a batch
    assert all(len(column.unique()) > 25 for column in t.T)  # from step to step
    # Uniform over 1 - 250: ten bins of 256 expected each, to five standard deviations.
    counts = torch.histc(t.float(), 10, 0.5, 250.5)
    assert ((counts - 256).abs() < 5 * 256**0.5).all()
    assert torch.equal(t[:3], levels_seen(3))
    assert not torch.equal(t[:2], levels_seen(2, seed=2))


def test_noise_is_drawn_anew_for_every_element():
    images, x, _ = planted(32)
    model, generator, seen = tiny(base=8), drawing(), []
    model.unet.register_forward_pre_hook(lambda _, args: seen.append(args[:2]))
    with torch.no_grad():
        for _ in range(20):
            d.diffusion_loss(model, {"images": images, "x": x}, generator)
    eps = torch.cat([(c[:, 0] - model.alpha[t][:, None] * x) / model.sigma[t][:, None] for c, t in seen])
    assert eps.mean().abs() < 4 / eps.numel() ** 0.5
    assert eps.std() == pytest.approx(1, abs=0.02)
    off = torch.corrcoef(eps.T) - torch.eye(N_WAVE)
    assert off.abs().max() < 5 / len(eps) ** 0.5


def test_gradients_reach_the_image_encoder():
    images, x, _ = planted(16)
    model = tiny()
    trained(model, {"images": images, "x": x}, 1, 2e-3)  # wakes the attention's last layers, which begin at zero
    d.diffusion_loss(model.train(), {"images": images, "x": x}, drawing())["loss"].backward()
    assert all(p.grad.abs().sum() > 0 for p in model.encoder.parameters())


@pytest.mark.parametrize("low", [False, True], ids=["low", "super"])
def test_one_loss_trains_both_models(low):
    images, x, _ = planted(32)
    data = {"images": images, "x": x} | ({"low": x[:, ::8]} if low else {})
    model = tiny(n_low=3 if low else None, prediction="v").learn_scale(images, x)
    losses = trained(model, data, 40, 2e-3)[1]["loss"]
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])


def test_the_encoder_learns_to_guess_and_the_guess_is_shown_to_the_network():
    images, x, b = planted(512)
    model = tiny(n_components=2, prediction="v").learn_scale(images, x)
    # Two components describe the family, and are those of the standardised spectra.
    y = model.standard(x)
    share = (y @ model.components.T).square() / model.components.square().sum(dim=1)
    assert (share.sum() / y.square().sum()).item() == pytest.approx(1, abs=0.02)
    unet = [p.detach().clone() for p in model.unet.parameters()]
    _, history = trained(model, {"images": images, "x": x}, 60, 3e-3, d.encoder_loss)
    assert history["loss"][0] > 0.8
    # What the image does not tell is the family's scatter about its mean; the rest is the guess's to know.
    truth = model.standard((2 + b[:, None]) * torch.linspace(0, math.pi, N_WAVE).sin())
    least = ((y - truth).square().mean() / y.square().mean()).item()
    context = d.contexts(model, images, batch_size=100)
    with torch.no_grad():
        guess = model.guess(context)
        assert ((guess - y).square().mean() / y.square().mean()).item() < 1.1 * least
        assert torch.equal(model.beside(context)[:, 0], guess)
    assert all(torch.equal(p, q) for p, q in zip(model.unet.parameters(), unet, strict=True))


def test_the_gaussian_start_is_exact():
    """E(r | alpha r + sigma eps) by Woodbury's identity is that of the whole covariance."""
    mean, covariance = gaussian(6)
    r = torch.randn(40_000, 6, generator=torch.Generator().manual_seed(0)) @ torch.linalg.cholesky(covariance).T.float()
    start = Gaussian(2, 6).learn(r)
    whole = start.axes.T * start.variance @ start.axes + torch.diag(start.rest)
    # Of the two largest variances, 30 and 10.5, nothing is missed; the others are each element's own.
    assert start.variance.tolist() == pytest.approx(torch.linalg.eigvalsh(covariance)[[-1, -2]].tolist(), rel=0.1)
    alpha, sigma = torch.tensor([[0.01], [0.6], [0.99]]), torch.tensor([[1.0], [0.8], [0.14]])
    y = torch.randn(3, 6)
    found = start.expected(y, alpha, sigma)
    for i in range(3):
        noisy = alpha[i] ** 2 * whole + sigma[i] ** 2 * torch.eye(6)
        assert torch.allclose(found[i], alpha[i] * whole @ torch.linalg.solve(noisy, y[i]), atol=1e-4)
        # One noise level for as many objects as there are components, which is solved at once.
        same = start.expected(y[:2], alpha[i : i + 1], sigma[i : i + 1])
        expected = alpha[i] * torch.linalg.solve(noisy, y[:2].T).T @ whole
        assert torch.allclose(same, expected, atol=1e-4)


def test_blocks_are_gaussians_of_their_own():
    r = torch.randn(5000, 10, generator=torch.Generator().manual_seed(0)) @ torch.rand(10, 10)
    start = Blocks(4, 10).learn(r)
    alpha, sigma, y = torch.tensor([[0.6], [0.99]]), torch.tensor([[0.8], [0.14]]), torch.randn(2, 10)
    found = start.expected(y, alpha, sigma)
    assert found.shape == (2, 10)
    for rows in (slice(0, 4), slice(4, 8), slice(8, 10)):
        block = r[:, rows].T @ r[:, rows] / len(r)
        for i in range(2):
            noisy = alpha[i] ** 2 * block + sigma[i] ** 2 * torch.eye(len(block))
            assert torch.allclose(found[i, rows], alpha[i] * block @ torch.linalg.solve(noisy, y[i, rows]), atol=1e-3)


@pytest.mark.parametrize("n_low", [None, 3])
def test_an_untrained_network_samples_the_gaussian(n_low):
    """With the start, and before a single step of training, residuals have the covariance of the training set's."""
    _, covariance = gaussian(N_WAVE)
    if n_low:  # independent from one block of 8 to the next
        covariance = covariance * torch.block_diag(*[torch.ones(8, 8)] * 3)
    generator = torch.Generator().manual_seed(1)
    r = torch.randn(4000, N_WAVE, generator=generator) @ torch.linalg.cholesky(covariance).T.float()
    x, images = r + 3, torch.rand(4000, 1, 32, 32, generator=generator)
    low = torch.full((4000, 3), 3.0) if n_low else None
    model = tiny(n_low=n_low, n_components=12, prediction="v").learn_scale(images[:50], x)
    if model.head is not None:
        torch.nn.init.zeros_(model.head.weight)
        torch.nn.init.zeros_(model.head.bias)
    context = torch.zeros(4000, 1, 64)
    model.learn_residuals(x, context, low)
    y = d.sample(model, context[:1], 1500, low=None if low is None else low[:1], n_steps=30, generator=generator)[0]
    assert torch.allclose(y.mean(dim=0), x.mean(dim=0), atol=0.3)
    assert (torch.cov(y.T) - torch.cov(x.T)).norm() < 0.2 * torch.cov(x.T).norm()


def test_images_encoded_beforehand_train_the_rest():
    images, x, _ = planted(32)
    model = tiny(n_components=2).learn_scale(images, x)
    data = {"context": d.contexts(model, images), "x": x}
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trained(model, data, 2, 2e-3, average=d.AVERAGE)  # the first only wakes the last layer
    for name, value in model.encoder.state_dict().items():
        assert torch.equal(value, before[f"encoder.{name}"])
    assert not torch.equal(model.unet.level[0].weight, before["unet.level.0.weight"])


def test_autocast_is_used_and_weights_stay_float32():
    images, x, _ = planted(16)
    model, kinds = tiny(), []
    model.unet.bottom[0].register_forward_hook(lambda _, args, out: kinds.append(out.dtype))
    fabric = training.fabric_on("cpu", "bf16-mixed")
    history = training.fit(
        model, d.diffusion_loss, {"images": images, "x": x}, Plan(1, 16), fabric=fabric, progress=False
    )
    assert math.isfinite(history["loss"][0])
    assert kinds == [torch.bfloat16]
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_training_in_pieces_is_training_at_once(tmp_path):
    """Draws of noise, levels and crops are part of what a checkpoint holds."""
    images, x, _ = planted(32)

    def run(**options):
        model = tiny()
        plan = Plan(6, 8, 2e-3, average=d.AVERAGE)
        while not training.fit(model, d.diffusion_loss, {"images": images, "x": x}, plan, progress=False, **options)[
            "finished"
        ]:
            model = tiny()  # as a new process would: nothing is left but the checkpoint
        return model.state_dict()

    whole, pieces = run(), run(checkpoint=tmp_path / "pieces", stop_after_s=0.0)
    assert all(torch.equal(whole[name], pieces[name]) for name in whole)


# --- augmentation ----------------------------------------------------------------------------------------------------


def test_augmented_images_are_crops_and_flips_each_its_own():
    image = torch.rand(1, 2, 64, 64, generator=torch.Generator().manual_seed(0))
    zoomed = torch.nn.functional.interpolate(image, (71, 71), mode="bilinear", align_corners=False)[0]
    crops = {
        (i, j, flips): zoomed[:, i : i + 64, j : j + 64].flip(flips)
        for i in range(8)
        for j in range(8)
        for flips in ((), (1,), (2,), (1, 2))
    }
    seen = augmented(image.expand(400, -1, -1, -1), torch.Generator().manual_seed(0))
    assert seen.shape == (400, 2, 64, 64)
    keys = list(crops)
    distance = torch.cdist(seen.flatten(1).double(), torch.stack([crops[key].flatten() for key in keys]).double())
    assert distance.min(dim=1).values.max() < 1e-2
    found = [keys[k] for k in distance.argmin(dim=1)]
    assert {key[0] for key in found} == {key[1] for key in found} == set(range(8))
    for flips in ((), (1,), (2,), (1, 2)):
        assert sum(key[2] == flips for key in found) == pytest.approx(100, abs=5 * 100**0.5)
    assert torch.allclose(centred(image)[0], crops[3, 3, ()])
