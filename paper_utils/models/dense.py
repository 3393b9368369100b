"""Plain dense networks: the baseline that a generative model has to beat."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class MLP(nn.Module):
    """Inputs (N, n_in) -> outputs (N, n_out) through ReLU layers; both ends standardised on the training set."""

    def __init__(self, n_in: int, n_out: int, widths: Sequence[int] = (256, 256)):
        super().__init__()
        sizes = [n_in, *widths]
        hidden = [m for a, b in zip(sizes, sizes[1:], strict=False) for m in (nn.Linear(a, b), nn.ReLU())]
        self.network = nn.Sequential(*hidden, nn.Linear(sizes[-1], n_out))
        for name, n in (("in_mean", n_in), ("out_mean", n_out)):
            self.register_buffer(name, torch.zeros(n))
        for name, n in (("in_scale", n_in), ("out_scale", n_out)):
            self.register_buffer(name, torch.ones(n))

    def learn_scale(self, x: Tensor, y: Tensor) -> MLP:
        """Take means and standard deviations from training inputs x (N, n_in) and outputs y (N, n_out)."""
        for buffer, values in (("in", x), ("out", y)):
            getattr(self, f"{buffer}_mean").copy_(values.mean(0))
            getattr(self, f"{buffer}_scale").copy_(values.std(0))
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.out_mean + self.out_scale * self.network((x - self.in_mean) / self.in_scale)
