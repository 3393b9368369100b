"""Study 4's networks: Table 1's sizes derived, orientations, both heads, and that they learn images."""

import numpy as np
import pytest
import torch
from torch import nn

from paper_utils.latents import apply, train
from paper_utils.latents import model as xresnet
from paper_utils.latents.deconvolution import Deconv2d
from paper_utils.latents.optimizers import ranger
from paper_utils.nets import d4, training
from paper_utils.nets.plan import Plan
from paper_utils.stats.scores import coverage

PUBLISHED = {
    "xresnet18-hybrid": 6.73e6,
    "xresnet18": 6.73e6,
    "xresnet18-deconv": 6.73e6,
    "simple-cnn": 29.7e3,
    "simple-deconv": 29.6e3,
}


def count(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(("name", "published"), PUBLISHED.items())
def test_numbers_of_parameters_are_those_of_table_1(name, published):
    assert count(xresnet.TABLE_1[name][0]()) == pytest.approx(published, rel=0.005)


def test_the_number_of_parameters_follows_from_the_design():
    """Written out, layer by layer; a batch norm has two parameters per channel, a deconvolution's bias one."""
    stem = [(5, 32), (32, 32), (32, 64)]
    weights, norms = sum(9 * a * b for a, b in stem), sum(b for _, b in stem)
    for stage, (n_in, n) in enumerate([(64, 64), (64, 128), (128, 256), (256, 512)]):
        for a in (n_in, n):
            hidden = -(-n // 64) * 8  # squeeze by 8, to a multiple of 8
            weights += 9 * (a // 64) * n + 9 * n * n  # 64 groups, then none
            weights += n * hidden + hidden + hidden * n + n
            norms += 2 * n
            if a != n:
                weights, norms = weights + a * n, norms + n
        if stage == 0:
            weights += 64 * 64 + 1  # self-attention: its matrix and gamma
    head = 512 * 6 + 6
    assert weights + 2 * norms + head == 6_734_871 == count(xresnet.xresnet18())
    assert weights + norms + head == count(xresnet.xresnet18("deconv"))
    assert 6_734_871 - sum(b for _, b in stem) == count(xresnet.xresnet18("batch", "deconv"))
    simple = 9 * (5 * 32 + 32 * 32 + 32 * 64) + 64 * 6 + 6
    assert count(xresnet.simple_cnn()) == simple + 2 * 128 == 29_734
    assert count(xresnet.simple_cnn("deconv")) == simple + 128 == 29_606


def test_the_hybrid_has_deconvolution_in_its_stem_and_nowhere_else():
    stem, rest = (xresnet.TABLE_1["xresnet18-hybrid"][0]().body[part] for part in (slice(3), slice(3, None)))
    assert [type(block[0]) for block in stem] == [Deconv2d] * 3
    kinds = {type(m) for m in rest.modules()}
    assert nn.BatchNorm2d in kinds
    assert Deconv2d not in kinds
    full = xresnet.TABLE_1["xresnet18-deconv"][0]()
    assert not any(isinstance(m, nn.BatchNorm2d) for m in full.modules())
    plain = xresnet.TABLE_1["xresnet18"][0]()
    assert not any(isinstance(m, Deconv2d) for m in plain.modules())
    maxima = {name: rate for name, (_, rate) in xresnet.TABLE_1.items()}
    assert maxima["xresnet18-deconv"] == 0.003
    assert maxima["xresnet18-hybrid"] == maxima["xresnet18"] == 0.03


def test_an_image_shrinks_by_32_and_first_kernels_are_3x3():
    model = xresnet.xresnet18(width=1 / 8)
    with torch.no_grad():
        assert model.body(torch.randn(2, 5, 224, 224)).shape == (2, 64, 7, 7)
    assert [block[0].kernel_size for block in model.body[:3]] == [(3, 3)] * 3
    assert model(torch.randn(2, 5, 48, 48)).shape == (2, 6)


def test_a_batch_norm_block_begins_as_its_shortcut():
    block = xresnet.ResidualBlock(16, 16, 1, 4, "batch", attention=True)
    x = torch.randn(4, 16, 8, 8)
    assert torch.allclose(block(x), nn.functional.mish(x), atol=1e-6)


def test_attention_begins_as_nothing_and_does_not_depend_on_the_size_of_the_image():
    attention = xresnet.SelfAttention(8).eval()
    x = torch.randn(2, 8, 6, 6)
    assert torch.equal(attention(x), x)
    with torch.no_grad():
        attention.gamma.fill_(0.7)
        flat = x.flatten(2)
        expected = flat + 0.7 * flat @ flat.mT @ (attention.mix.weight[..., 0] @ flat) / 36
        assert torch.allclose(attention(x).flatten(2), expected, atol=1e-5)
        assert torch.linalg.matrix_norm(attention.mix.weight[..., 0], 2).item() == pytest.approx(1, abs=0.1)
        tiled = attention(x.repeat(1, 1, 2, 2))
    assert torch.allclose(tiled[..., :6, :6], attention(x), atol=1e-5)


def test_orientations_are_drawn_alike_for_each_image_of_a_batch():
    seen = torch.zeros(8)
    marker = torch.zeros(1, 1, 4, 4)
    marker[0, 0, 0, 1] = 1  # lands on one of eight places
    places = d4.oriented(marker.expand(8, -1, -1, -1), torch.arange(8)).flatten(1).argmax(dim=1)
    captured = []
    model = xresnet.simple_cnn(bands="r", n_out=1)
    model.register_forward_pre_hook(lambda _, args: captured.append(args[0]))
    batch = {"images": marker.expand(400, -1, -1, -1), "latents": torch.zeros(400, 1)}
    train.image_loss(model, batch, torch.Generator().manual_seed(0))
    where = captured[0].flatten(1).argmax(dim=1)
    seen = torch.stack([(where == place).sum() for place in places])
    assert seen.sum() == 400
    assert ((seen - 50).abs() < 4 * 50**0.5).all()


def ellipses(n, seed=0, size=24, noise=0.05):
    """Galaxies (n, 5, H, H) whose size, axis ratio, flux and colour are the latents (n, 4), of unit scatter."""
    generator = torch.Generator().manual_seed(seed)
    u = torch.rand(5, n, 1, 1, 1, generator=generator)
    angle, ratio, radius, flux, colour = 6.3 * u[0], 0.3 + 0.7 * u[1], 2 + 2 * u[2], 10 ** u[3], u[4] - 0.5
    at = torch.arange(size) - (size - 1) / 2
    a = at * angle.cos() + at[:, None] * angle.sin()
    b = (at[:, None] * angle.cos() - at * angle.sin()) / ratio
    bands = torch.linspace(-1, 1, 5).view(5, 1, 1)
    images = flux * (1 + bands * colour) * torch.exp(-torch.hypot(a, b) / radius)
    images = images + noise * torch.randn(images.shape, generator=generator)
    latents = torch.stack([u[1], u[2], u[3], u[4]], dim=-1).view(n, 4)
    return images, (latents - 0.5) * 12**0.5


def learn(model, images, latents, n_steps, lr, loss=train.image_loss):
    plan = Plan(n_steps, 32, lr, weight_decay=0.01, optimizer=ranger, schedule="fastai")
    return training.fit(model, loss, {"images": images, "latents": latents}, plan, progress=False)


def likelihood(model, batch, generator):
    """What a Gaussian head learns by, here with all the network before it."""
    mean, log_var = model.split(model(d4.randomly_oriented(batch["images"], generator)))
    return {"loss": nn.functional.gaussian_nll_loss(mean, model.latents(batch["latents"]), log_var.exp())}


def test_every_weight_of_full_deconvolution_learns():
    images, latents = ellipses(48)
    with training.seeded(0):
        model = xresnet.TABLE_1["xresnet18-deconv"][0](n_out=4, width=0.125).learn_scale(images)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    history = learn(model, images, latents, 4, 0.003)
    assert np.isfinite(history["mse"]).all()
    still = [name for name, p in model.named_parameters() if torch.equal(p, before[name])]
    assert still == []
    assert apply.predict(model, images)[0].isfinite().all()


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name != "xresnet18-deconv"])
def test_each_network_learns_shapes_and_colours(name):
    images, latents = ellipses(640)
    build, lr = xresnet.TABLE_1[name]
    width = 0.125 if "xresnet" in name else 0.5
    with training.seeded(0):
        model = build(n_out=4, width=width).learn_scale(images[:512])
    history = learn(model, images[:512], latents[:512], 60, lr)
    mean, std, _ = apply.predict(model, images[512:])
    assert history["mse"][-1] < 0.75 * history["mse"][0]
    assert (mean - latents[512:]).square().mean() < 0.75
    assert (std == 0).all()


def test_a_gaussian_head_knows_how_wrong_it_is():
    images, latents = ellipses(1200, noise=0.5)
    with training.seeded(0):
        model = xresnet.simple_cnn(n_out=4, gaussian=True).learn_scale(images[:800])
    learn(model, images[:800], latents[:800], 200, 0.03, likelihood)
    mean, std, _ = apply.predict(model, images[800:])
    assert coverage(latents[800:], mean, std, [0.68])[0] == pytest.approx(0.68, abs=0.1)
    # Faint galaxies are the harder ones, and it says so.
    faint = latents[800:, 2] < -0.5
    assert std[faint, :2].mean() > std[~faint, :2].mean()


def test_monte_carlo_dropout_is_what_dropout_layers_do():
    """Its mean and scatter over draws, against a loop over the whole network in training mode."""
    with training.seeded(0):
        model = xresnet.simple_cnn(dropout=0.5, n_out=3)
    images = torch.randn(4, 5, 16, 16)
    model.eval()
    mean, _, std = apply.predict(model, images, n_draws=20_000, generator=torch.Generator().manual_seed(1))
    again = apply.predict(model, images, n_draws=20_000, generator=torch.Generator().manual_seed(1))
    assert torch.equal(mean, again[0])
    model.dropout.train()
    with torch.no_grad(), training.seeded(2):
        loop = torch.stack([model(images) for _ in range(2000)])
    assert torch.allclose(std, loop.std(dim=0), rtol=0.1)
    assert torch.allclose(mean, loop.mean(dim=0), atol=0.15 * std.max().item())
    assert all((std == 0).all() for std in apply.predict(model, images)[1:])


def test_what_the_head_says_and_what_dropout_scatters_are_the_whole_uncertainty():
    """Draws of the latents themselves, with dropout and from the head's Gaussian, scatter by both in quadrature."""
    with training.seeded(0):
        model = xresnet.simple_cnn(dropout=0.3, n_out=3, gaussian=True).eval()
    images = torch.randn(4, 5, 16, 16)
    given = {"n_draws": 20_000, "generator": torch.Generator().manual_seed(1)}
    mean, said, scattered = apply.predict(model, images, **given)
    with torch.no_grad(), training.seeded(2):
        features = model.features(images)
        kept = (torch.rand(20_000, *features.shape) >= 0.3) / 0.7
        center, log_var = model.split(model.head(kept * features))
        draws = center + (0.5 * log_var).exp() * torch.randn_like(center)
    torch.testing.assert_close(draws.std(dim=0), torch.hypot(said, scattered), rtol=0.05, atol=0)
    torch.testing.assert_close(draws.mean(dim=0), mean, rtol=0, atol=0.05 * float(said.max()))


def test_channels_last_and_its_weights_on_disk_change_nothing(tmp_path):
    from safetensors.torch import load_file, save_file

    with training.seeded(0):
        model = xresnet.xresnet18("batch", "deconv", width=0.125)
    images = torch.randn(8, 5, 32, 32)
    model(images)  # running statistics that are not the first ones
    expected = model.eval()(images).detach()
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    other = xresnet.xresnet18("batch", "deconv", width=0.125).to(memory_format=torch.channels_last)
    other.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert torch.allclose(other.eval()(images.to(memory_format=torch.channels_last)), expected, atol=1e-4)


def test_blocks_change_what_is_decorrelated_together_and_no_parameter():
    whole, parts = (xresnet.xresnet18("deconv", width=0.25, block=block) for block in (64, 16))
    assert count(whole) == count(parts)
    widths = [max(layer.n_features for layer in m.modules() if isinstance(layer, Deconv2d)) for m in (whole, parts)]
    assert widths == [9 * 64, 9 * 16]


def test_saliency_of_a_network_linear_in_its_image_sums_to_the_prediction():
    """Gradient x input of a linear function without a constant is that function, pixel by pixel."""
    model = xresnet.simple_cnn()
    model.body = nn.Conv2d(5, 64, 3, padding=1, bias=False)
    images = torch.randn(3, 5, 16, 16)
    maps = apply.saliency(model, images)
    assert maps.shape == (6, 3, 5, 16, 16)
    with torch.no_grad():
        expected = model(images) - model.head.bias
    torch.testing.assert_close(maps.sum(dim=(2, 3, 4)).T, expected, atol=1e-4, rtol=1e-4)
    # Any network's gradient is that of a small step.
    with training.seeded(0):
        deep = xresnet.simple_cnn(width=0.25).double().eval()
    images = images.double()
    small = 1e-6 * torch.randn(images.shape, dtype=torch.float64)
    with torch.no_grad():
        change = deep(images + small) - deep(images)
    gradient = apply.saliency(deep, images) / images
    torch.testing.assert_close((gradient * small).sum(dim=(2, 3, 4)).T, change, rtol=0.02, atol=1e-9)


def test_features_are_what_the_head_sees():
    with training.seeded(0):
        model = xresnet.simple_cnn(gaussian=True).eval()
    images = torch.randn(10, 5, 16, 16)
    seen = apply.features(model, images)
    assert seen.shape == (10, 64)
    with torch.no_grad():
        torch.testing.assert_close(model.head(seen), model(images))
