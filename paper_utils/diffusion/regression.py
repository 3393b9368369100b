"""The plainest network from images to spectra: study 3's image encoder and one linear layer, trained on squared errors.

What it learns is the mean of all spectra that an image may have; the diffusion model, with the same encoder, draws from
among them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from paper_utils.diffusion.augmentation import augmented, centred
from paper_utils.nets import resnet
from paper_utils.nets.model_file import Model
from paper_utils.nets.plan import Batch
from paper_utils.nets.standard import Standard


class SpectrumRegressor(Model):
    """Images (N, n_bands, H, W) -> the expected log spectrum (N, n_wave)."""

    def __init__(self, n_wave: int = 4500, *, n_bands: int = 5, image_width: float = 1.0, stretch: str = "linear"):
        super().__init__()
        self.encoder = resnet.resnet18(n_bands, image_width, stretch)
        self.head = nn.Linear(self.encoder.n_features, n_wave)
        nn.init.zeros_(self.head.weight)  # at first: the mean spectrum
        nn.init.zeros_(self.head.bias)
        self.standard = Standard(n_wave)

    def learn_scale(self, images: Tensor, x: Tensor) -> SpectrumRegressor:
        """Take each band's and each wavelength's mean and scatter from training images and log spectra (N, n_wave)."""
        self.encoder.learn_scale(images)
        self.standard.learn(x)
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Standardised log spectra (N, n_wave) of images as they are."""
        return self.head(self.encoder(images).mean(dim=(2, 3)))

    @torch.no_grad()
    def predict(self, images: Tensor, batch_size: int = 256) -> Tensor:
        """Log spectra (N, n_wave) of images, which are `centred` here."""
        self.eval()
        parts = [self(centred(part)) for part in images.split(batch_size)]
        return self.standard.undone(torch.cat(parts))


def regression_loss(model: SpectrumRegressor, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
    """Squared error of batch = {"images" (N, n_bands, H, H), "x" (N, n_wave) log spectra}, images augmented."""
    output = model(augmented(batch["images"], generator)).float()
    return {"loss": (output - model.standard(batch["x"])).square().mean()}
