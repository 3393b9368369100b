"""The first layer of every image network: each band stretched, then standardised."""

import torch
from torch import Tensor, nn

STRETCHES = ("linear", "asinh")
N_LEARN = 1000  # images are enough to learn the scale of the bands from
BLANK = 1e-12  # scatter of a band without light, which then is 0 throughout


class Bands(nn.Module):
    """Images (N, n_bands, H, W) with mean 0 and standard deviation 1 in each band, as they were in training (`learn`).

    stretch : "linear" leaves the flux as it is. "asinh" takes arcsinh of the flux in units of the band's scatter first,
        so that a bright core does not hide all else, and that ratios of bands, colours, become differences.
    """

    def __init__(self, n_bands: int, stretch: str = "linear"):
        super().__init__()
        if stretch not in STRETCHES:
            raise ValueError(f"stretch is {stretch!r}, not one of {', '.join(STRETCHES)}")
        self.stretch = stretch
        for name, value in (("unit", 1.0), ("mean", 0.0), ("scale", 1.0)):
            self.register_buffer(name, torch.full((n_bands, 1, 1), value))

    def learn(self, images: Tensor) -> None:
        """Take scatter and mean of each band from up to a thousand of the training images (N, n_bands, H, W)."""
        images = images[:: -(-len(images) // N_LEARN)].float()
        self.unit.copy_(_per_band(images)[0].clamp(min=BLANK))
        std, mean = _per_band(self.stretched(images))
        self.scale.copy_(std.clamp(min=BLANK))
        self.mean.copy_(mean)

    def stretched(self, images: Tensor) -> Tensor:
        if self.stretch == "linear":
            return images
        size = images.abs() / self.unit
        # On a processor torch.asinh takes several times as long, and a third of a small network's step.
        return torch.copysign(torch.log(size + torch.sqrt(size * size + 1)), images)

    def forward(self, images: Tensor) -> Tensor:
        return (self.stretched(images) - self.mean) / self.scale


def _per_band(images: Tensor) -> tuple[Tensor, Tensor]:
    return tuple(value[:, None, None] for value in torch.std_mean(images, dim=(0, 2, 3)))
