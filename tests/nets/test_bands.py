"""What image networks see first: bands standardised as they were in training, stretched before or not."""

from functools import partial

import pytest
import torch

from paper_utils.latents import model as xresnet
from paper_utils.nets import bands, resnet

IMAGES = torch.randn(60, 2, 16, 16, generator=torch.Generator().manual_seed(0)).abs() * torch.tensor(
    [[[1.0]], [[90.0]]]
)


@pytest.mark.parametrize("stretch", bands.STRETCHES)
@pytest.mark.parametrize("build", [partial(resnet.resnet18, n_bands=2), partial(xresnet.simple_cnn, bands="gr")])
def test_networks_see_bands_of_unit_scatter_after_the_stretch(build, stretch):
    network = build(stretch=stretch).learn_scale(IMAGES)
    seen = []
    network.body.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    network(IMAGES)
    assert torch.allclose(seen[0].mean(dim=(0, 2, 3)), torch.zeros(2), atol=1e-4)
    assert torch.allclose(seen[0].std(dim=(0, 2, 3)), torch.ones(2), atol=1e-4)


def test_asinh_makes_a_colour_a_difference_of_bands():
    """Of a source twice as bright in one band both as bright and a thousand times brighter than the scatter."""
    layer = bands.Bands(2, "asinh")
    layer.unit.fill_(1.0)
    source = torch.tensor([2.0, 1.0])[:, None, None] * torch.tensor([1e3, 1e6])
    difference = -layer.stretched(source).diff(dim=0)
    assert torch.allclose(difference, torch.tensor(2.0).log(), atol=1e-4)


def test_the_stretch_is_arcsinh():
    layer = bands.Bands(1, "asinh")
    layer.unit.fill_(2.5)
    flux = torch.logspace(-6, 6, 500).outer(torch.tensor([-1.0, 1.0])).view(1, 1, 500, 2)
    assert torch.allclose(layer.stretched(flux), torch.asinh(flux / 2.5), rtol=1e-4, atol=1e-6)


def test_the_stretch_knows_no_unit_of_flux():
    one, other = (bands.Bands(2, "asinh") for _ in range(2))
    one.learn(IMAGES)
    other.learn(1e3 * IMAGES)
    assert torch.allclose(one(IMAGES), other(1e3 * IMAGES), atol=1e-4)


def test_unknown_stretches_are_named():
    with pytest.raises(ValueError, match="log"):
        bands.Bands(5, "log")


def test_up_to_a_thousand_images_of_many_are_spread_over_them():
    """Images sorted by brightness: the scale is that of all of them, not of the first thousand."""
    images = torch.linspace(0, 1, 3500).view(-1, 1, 1, 1) * torch.randn(3500, 1, 4, 4)
    layer = bands.Bands(1)
    layer.learn(images)
    assert layer.scale.item() == pytest.approx(images.std().item(), rel=0.05)


def test_a_band_without_light_is_zero():
    images = IMAGES.clone()
    images[:, 1] = 0
    for stretch in bands.STRETCHES:
        layer = bands.Bands(2, stretch)
        layer.learn(images)
        assert torch.equal(layer(images)[:, 1], images[:, 1])
