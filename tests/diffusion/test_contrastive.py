"""Study 3's contrastive network: its loss against eq. A3 written out, its size, and that it finds planted pairs."""

import math

import pytest
import torch

from paper_utils.diffusion import contrastive as c
from paper_utils.diffusion.augmentation import centred
from paper_utils.nets import training
from paper_utils.nets.plan import Plan


def test_published_sizes():
    model = c.Contrastive()
    count = sum(p.numel() for p in model.spectrum.parameters())
    channels, expected = (1, 64, 128, 256, 512, 1024), 0
    for a, b in zip(channels, channels[1:], strict=False):
        first = 3 * a * b + b + 3 * b * b + b + 4 * b + (a * b + b)
        second = 2 * (3 * b * b + b) + 4 * b
        expected += first + second + 3 * b * b + b  # and the strided convolution
    assert count == expected + 1024 * 128 + 128
    assert model.image.n_features == 2048
    assert model.image_head.out_features == 128


@pytest.mark.parametrize("length", [563, 4500])
def test_features_have_unit_length(length):
    model = c.Contrastive(length, base=8, mults=(1, 2), image="resnet18", image_width=1 / 8)
    with torch.no_grad():
        images, spectra = model.embed_images(torch.rand(3, 5, 64, 64)), model.embed_spectra(torch.randn(3, length))
    assert images.shape == spectra.shape == (3, 128)
    assert torch.allclose(torch.cat([images, spectra]).norm(dim=1), torch.ones(6), atol=1e-5)


def test_the_loss_is_equation_a3():
    a, b = (torch.nn.functional.normalize(torch.randn(5, 8), dim=1) for _ in range(2))
    views, tau, terms = [*a, *b], 0.2, []
    for i in range(10):
        j = (i + 5) % 10
        others = sum(math.exp(views[i] @ views[k] / tau) for k in range(10) if k != i)
        terms.append(-math.log(math.exp(views[i] @ views[j] / tau) / others))
    assert c.normalised_cross_entropy(a, b, tau).item() == pytest.approx(sum(terms) / 10, rel=1e-5)
    assert c.normalised_cross_entropy(a, b, tau) == pytest.approx(
        c.normalised_cross_entropy(b, a, tau).item(), rel=1e-5
    )
    # Views that say nothing leave a choice among 2 N - 1, perfect ones none.
    same = torch.ones(5, 1)
    assert c.normalised_cross_entropy(same, same, tau).item() == pytest.approx(math.log(9), rel=1e-5)
    assert c.normalised_cross_entropy(torch.eye(5), torch.eye(5), 0.01).item() == pytest.approx(0, abs=1e-6)


def pairs(n, seed):
    """Images whose two bands have the brightness, and spectra whose two waves have the height, of two numbers."""
    generator = torch.Generator().manual_seed(seed)
    u = torch.randn(n, 2, generator=generator)
    images = u[:, :, None, None] + 0.3 * torch.randn(n, 2, 32, 32, generator=generator)
    at = torch.linspace(0, 1, 32)
    x = u @ torch.stack([at, (6 * at).sin()]) + 0.05 * torch.randn(n, 32, generator=generator)
    return images, x


@pytest.fixture(scope="module")
def learned():
    images, x = pairs(1024, 0)
    with training.seeded(0):
        model = c.Contrastive(
            32, n_bands=2, n_features=16, base=16, mults=(1, 2), image="resnet18", image_width=1 / 8
        ).learn_scale(images, x)
    plan = Plan(150, 64, 2e-3, weight_decay=1e-3)
    return model, training.fit(model, c.contrastive_loss, {"images": images, "x": x}, plan, progress=False)


@torch.no_grad()
def test_planted_pairs_are_found_among_others(learned):
    model, history = learned
    assert history["top1"][-1] > 5 * history["top1"][0]
    images, x = pairs(64, 1)
    cosine = model.embed_images(centred(images)) @ model.embed_spectra(x).T
    rank = (cosine > cosine.diagonal()[:, None]).sum(dim=1)
    assert (rank == 0).float().mean() > 10 / 64  # ten times chance, of new galaxies
    assert rank.float().median() <= 3  # 31.5 by chance
    wrong = model.embed_spectra(x.roll(1, dims=0))
    right = model.embed_spectra(x)
    seen = model.embed_images(centred(images))
    assert ((seen * right).sum(dim=1) > (seen * wrong).sum(dim=1)).float().mean() > 0.9


def test_the_temperature_is_learned_but_stays_positive(learned):
    model, _ = learned
    assert model.log_temperature.item() != pytest.approx(math.log(c.TEMPERATURE), abs=1e-3)
    a = torch.nn.functional.normalize(torch.randn(4, 3), dim=1)
    with torch.no_grad():
        assert math.isfinite(c.normalised_cross_entropy(a, a, torch.tensor(-50.0).exp().clamp_min(c.MIN_TEMPERATURE)))
