"""The scale of a network's inputs and outputs: learned from training data, kept with its weights."""

from typing import Self

import torch
from torch import Tensor, nn


class Standard(nn.Module):
    """Values (N, n) with mean 0 and standard deviation 1 in each column, as they were in training (`learn`).

    Before it has learned it leaves values as they are. A column that was constant only loses that constant.
    """

    def __init__(self, n: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(n))
        self.register_buffer("scale", torch.ones(n))

    @torch.no_grad()
    def learn(self, x: Tensor) -> Self:
        """Take means and standard deviations from training values x (N, n), or (N, 1) for all columns alike.

        NaN, where nothing was observed, does not count.
        """
        mean = x.nanmean(dim=0).nan_to_num()
        std = (x - mean).square_().nanmean(dim=0).sqrt()
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(std > 1e-6 * mean.abs(), std, 1))  # float32 knows a constant to 1e-7
        return self

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.scale

    def undone(self, y: Tensor) -> Tensor:
        """The values whose standardised ones are y (..., n)."""
        return self.mean + self.scale * y
