"""The plain network from images to spectra learns what can be learned from an image, and starts from the mean."""

import numpy as np
import torch

from paper_utils.diffusion.model import PlainCNN, plain_loss
from paper_utils.nets import training
from paper_utils.nets.plan import Plan


def stamps(n, seed):
    """Round blobs whose colour, and nothing else, decides the slope of the log spectrum: images, x (N, 40)."""
    generator = torch.Generator().manual_seed(seed)
    colour = torch.randn((n, 1), generator=generator)
    r2 = (torch.arange(16) - 7.5).square()
    blob = torch.exp(-(r2[:, None] + r2) / 8)
    flux = torch.cat([torch.exp(0.3 * colour), torch.exp(-0.3 * colour)], dim=1)
    images = flux[:, :, None, None] * blob + 0.01 * torch.randn((n, 2, 16, 16), generator=generator)
    return images, colour * torch.linspace(-1, 1, 40)


def new(images, x):
    with training.seeded(0):
        return PlainCNN(40, n_bands=2, image_width=0.125).learn_scale(images, x)


def test_it_starts_from_the_mean_spectrum():
    images, x = stamps(64, 0)
    np.testing.assert_allclose(new(images, x).predict(images[:3]), x.mean(dim=0).expand(3, -1), atol=1e-5)


def test_a_colour_gives_the_slope():
    images, x = stamps(512, 0)
    model = new(images, x)
    data, plan = {"images": images, "x": x}, Plan(60, 64, 3e-3)
    history = training.fit(model, plain_loss, data, plan, progress=False)
    assert history["loss"][-1] < 0.3 * history["loss"][0]
    images, x = stamps(200, 1)
    found = model.predict(images)
    assert found.shape == (200, 40)
    assert (found - x).square().mean() < 0.25 * x.var()
