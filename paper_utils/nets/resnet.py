"""Study 3's image encoders: residual networks of 18 and 50 layers (He+ 2016, arXiv:1512.03385), for any bands."""

from typing import Self

import torch
from torch import Tensor, nn

from paper_utils.nets.bands import Bands


class ResNet(nn.Module):
    """Images (N, n_bands, H, W) -> a map of features (N, n_features, H / 32, W / 32).

    expansion : of the blocks' channels, 1 or 4.   depths : blocks in each stage.
    stretch : of the bands (bands.py), whose scale is that of training images (`learn_scale`).
    """

    def __init__(self, expansion: int, depths: tuple[int, ...], n_bands: int, width: float, stretch: str):
        super().__init__()
        n = round(64 * width)
        layers = [nn.Conv2d(n_bands, n, 7, 2, 3, bias=False), nn.BatchNorm2d(n), nn.ReLU(inplace=True)]
        layers += [nn.MaxPool2d(3, 2, 1)]
        n_in = n
        for stage, depth in enumerate(depths):
            for i in range(depth):
                layers.append(Block(n_in, n << stage, 2 if stage and not i else 1, expansion))
                n_in = (n << stage) * expansion
        self.bands, self.body = Bands(n_bands, stretch), nn.Sequential(*layers)
        self.n_features = n_in
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def learn_scale(self, images: Tensor) -> Self:
        """Take the scale of each band from training images (N, n_bands, H, W)."""
        self.bands.learn(images)
        return self

    def forward(self, images: Tensor) -> Tensor:
        return self.body(self.bands(images))


class Block(nn.Module):
    """Two convolutions of 3 x 3 and their shortcut; with `expansion` 4 one of 3 x 3 between two of 1 x 1.

    The last convolution then makes four times the channels.
    """

    def __init__(self, n_in: int, n: int, stride: int, expansion: int):
        super().__init__()
        n_out = n * expansion
        layers = [(3, n, stride), (3, n, 1)] if expansion == 1 else [(1, n, 1), (3, n, stride), (1, n_out, 1)]
        path, n_last = [], n_in
        for kernel, n_next, step in layers:
            path += [*_convolution(n_last, n_next, kernel, step), nn.ReLU(inplace=True)]
            n_last = n_next
        same = stride == 1 and n_in == n_out
        self.path = nn.Sequential(*path[:-1])  # the sum is rectified instead
        self.shortcut = nn.Identity() if same else nn.Sequential(*_convolution(n_in, n_out, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.path(x) + self.shortcut(x))


def _convolution(n_in: int, n_out: int, kernel: int, stride: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(n_out)


def resnet18(n_bands: int = 5, width: float = 1.0, stretch: str = "linear") -> ResNet:
    """18 layers, 512 features; `width` multiplies all channels: 1/4 trains on two cores."""
    return ResNet(1, (2, 2, 2, 2), n_bands, width, stretch)


def resnet50(n_bands: int = 5, width: float = 1.0, stretch: str = "linear") -> ResNet:
    """50 layers, 2048 features."""
    return ResNet(4, (3, 4, 6, 3), n_bands, width, stretch)
