"""The average of a network's weights over its training, which samples better than the last of them."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Average(nn.Module):
    """The exponential moving average of a model's weights, itself a model: `average`, the one to sample from.

    The decay is 0.9999 as published, but (1 + n) / (10 + n) for as long as that is less, after n updates: the first
    weights, drawn at random, would else be most of the average for the first ten thousand steps.
    """

    def __init__(self, model: nn.Module, decay: float = 0.9999):
        super().__init__()
        self.average = copy.deepcopy(model).requires_grad_(False)
        self.max_decay = decay
        self.register_buffer("n_updates", torch.tensor(0))

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        decay = ((1 + self.n_updates) / (10 + self.n_updates)).clamp(max=self.max_decay)  # where the weights are
        pairs = [
            (mine, new)
            for part in ("parameters", "buffers")
            for mine, new in zip(getattr(self.average, part)(), getattr(model, part)(), strict=True)
        ]
        mine, new = (list(each) for each in zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True))
        torch._foreach_sub_(mine, new)
        torch._foreach_mul_(mine, decay)
        torch._foreach_add_(mine, new)
        for mine, new in pairs:
            if not mine.is_floating_point():  # counters of batch norm
                mine.copy_(new)
        self.n_updates += 1
