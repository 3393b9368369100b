"""Study 3's networks: published sizes derived, any length, and that noise level and image are really used."""

import pytest
import torch
from torch import nn

from paper_utils.diffusion.model import Diffusion
from paper_utils.diffusion.unet import GROUPS, UNet, time_embedding
from paper_utils.nets import resnet, training


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("build", "published", "fc"),
    [(resnet.resnet18, 11_689_512, 512 * 1000 + 1000), (resnet.resnet50, 25_557_032, 2048 * 1000 + 1000)],
    ids=["18", "50"],
)
def test_residual_networks_have_their_well_known_sizes(build, published, fc):
    """Those of torchvision with three bands, less the classifier that is not needed here."""
    assert count(build(3)) == published - fc
    assert count(build(5)) - count(build(3)) == 2 * 64 * 7 * 7


def test_a_64_pixel_image_becomes_four_tokens_of_512():
    model = Diffusion(base=8, mults=(1,))
    with torch.no_grad():
        assert model.encode(torch.randn(2, 5, 64, 64)).shape == (2, 4, 512)
        assert resnet.resnet50(width=1 / 8)(torch.randn(2, 5, 64, 64)).shape == (2, 256, 2, 2)


def conv(a, b, kernel):
    return a * b * kernel + b


def test_published_size_follows_from_the_design():
    """Written out, block by block: 35.9 million with the image encoder."""
    n_time, channels = 256, (64, 128, 256, 512)

    def block(a, mid, b):
        norms = 2 * mid + 2 * b
        shortcut = conv(a, b, 1) if a != b else 0
        return conv(a, mid, 3) + conv(mid, b, 3) + norms + n_time * mid + mid + shortcut

    def transformer(n, context=512):
        to_self = 3 * n * n + n * n + n
        to_image = n * n + 2 * n * context + n * n + n
        perceptron = n * 8 * n + 8 * n + 4 * n * n + n
        return 2 * n + 2 * conv(n, n, 1) + 3 * 2 * n + to_self + to_image + perceptron

    total = 256 * 1024 + 1024 + 1024 * 256 + 256
    for a, b in zip((1, *channels), channels, strict=False):
        total += block(a, b, b) + conv(b, b, 3)
    total += transformer(512)  # after the deepest on the way down
    total += 2 * block(512, 512, 512) + transformer(512)
    for a, b in zip(channels[::-1], (256, 128, 64, 64), strict=True):
        total += conv(a, a, 4) + block(2 * a, a, b)
    total += transformer(256)  # after the deepest on the way up
    total += conv(64, 1, 1)
    assert count(UNet()) == total
    encoder = 11_176_512 + 2 * 64 * 49
    assert count(Diffusion()) == total + encoder == 35_904_129
    norms = {m.num_groups for name, m in UNet().named_modules() if isinstance(m, nn.GroupNorm) and "look" not in name}
    assert GROUPS in norms


@pytest.mark.parametrize("length", [563, 4500, 1, 17])
@pytest.mark.parametrize("patch", [1, 4])
def test_any_length_goes_through(length, patch):
    network = UNet(2, 8, (1, 2), 16, patch=patch)
    with torch.no_grad():
        out = network(torch.randn(2, 2, length), torch.tensor([1, 250]), torch.randn(2, 3, 16))
    assert out.shape == (2, 1, length)


def test_time_embedding_tells_all_steps_apart():
    codes = time_embedding(torch.arange(1, 251), 64)
    distance = torch.cdist(codes, codes) + 10 * torch.eye(250)
    assert distance.min() > 0.1
    assert codes.square().sum(dim=1).allclose(torch.full((250,), 32.0))


@pytest.fixture
def network():
    """With random weights where training begins at zero."""
    with training.seeded(0):
        network = UNet(1, 16, (1, 2), 16)
        for name, p in network.named_parameters():
            if "leave" in name:
                nn.init.normal_(p, std=0.1)
    return network.eval()


def test_noise_level_and_image_change_the_output(network):
    x, context = torch.randn(1, 1, 100), torch.randn(1, 4, 16)
    with torch.no_grad():
        one, again, other_t, other_image = (
            network(x, torch.tensor([t]), c)
            for t, c in ((7, context), (7, context), (150, context), (7, context.flip(2)))
        )
    assert torch.equal(one, again)
    assert (one - other_t).abs().mean() > 0.01 * one.abs().mean()
    assert (one - other_image).abs().mean() > 0.001 * one.abs().mean()


def test_spectra_of_a_batch_do_not_see_each_other(network):
    x, t, context = torch.randn(3, 1, 64), torch.tensor([1, 100, 250]), torch.randn(3, 4, 16)
    with torch.no_grad():
        whole = network(x, t, context)
        alone = torch.cat([network(x[i : i + 1], t[i : i + 1], context[i : i + 1]) for i in range(3)])
    assert torch.allclose(whole, alone, atol=1e-5)


def test_the_order_of_an_images_tokens_does_not_matter(network):
    """Attention is to a set: a flipped image says the same to the network."""
    x, context = torch.randn(2, 1, 64), torch.randn(2, 4, 16)
    with torch.no_grad():
        a, b = (network(x, torch.tensor([5, 60]), c) for c in (context, context.flip(1)))
    assert torch.allclose(a, b, atol=1e-5)
