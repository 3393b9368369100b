"""How a network is trained: a plan with its optimizers, schedules of the learning rate and the moving average."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR, StepLR
from torch.optim.swa_utils import AveragedModel

Batch = dict[str, Tensor]
Loss = Callable[[nn.Module, Batch, torch.Generator], dict[str, Tensor]]


@dataclass(frozen=True)
class Plan:
    """How a network is trained.

    n_steps, batch_size : of the whole training, and items in a step (all, where there are fewer).
    lr : the highest learning rate.   weight_decay : of the optimizer.
    optimizer : "adam", "adamw", or a function of model and plan that makes one.
    schedule : of the learning rate, a name in `SCHEDULES`.
    clip : largest norm of the gradient; None for any.
    average : decay of the moving average of the weights, which then is what is validated and kept; None for none.
    keep : "last" or "best", the weights of the lowest validation loss.
    patience : looks at the validation loss without a lower one after which training stops; None for never.
    seed : of the order of the items and of all that the loss draws.
    """

    n_steps: int
    batch_size: int
    lr: float = 1e-3
    weight_decay: float = 0.0
    optimizer: "str | Callable[[nn.Module, Plan], Optimizer]" = "adam"
    schedule: str = "constant"
    clip: float | None = None
    average: float | None = None
    keep: str = "last"
    patience: int | None = None
    seed: int = 0

    @classmethod
    def of_epochs(cls, n_items: int, n_epochs: int, batch_size: int, lr: float = 1e-3, **how: Any) -> Self:
        """Whole epochs of n_items; an incomplete batch at the end of each is left out."""
        batch_size = min(batch_size, n_items)
        return cls(n_epochs * (n_items // batch_size), batch_size, lr, **how)


OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
# fastai's cycle (Wu & Peek 2020, Sec. 3.1): cosines from 1/25 of the highest rate to 1e-5 of it, momentum against them.
FASTAI = dict(pct_start=0.25, div_factor=25, final_div_factor=1e5 / 25, base_momentum=0.85, max_momentum=0.95)
SCHEDULES: dict[str, Callable[[Optimizer, list[float], int], LRScheduler | None]] = {
    "constant": lambda optimizer, lr, n: None,
    # Rissaki+ 2023: every 2 000 of 10 000 epochs, 3 000 of 15 000 iterations.
    "halving": lambda optimizer, lr, n: StepLR(optimizer, max(n // 5, 1), gamma=0.5),
    "cosine": lambda optimizer, lr, n: CosineAnnealingLR(optimizer, n),
    "one-cycle": lambda optimizer, lr, n: OneCycleLR(optimizer, lr, total_steps=n),
    "fastai": lambda optimizer, lr, n: OneCycleLR(optimizer, lr, total_steps=max(n, 5), **FASTAI),
}


def optimizer_of(model: nn.Module, plan: Plan) -> Optimizer:
    """The plan's optimizer of all parameters of a model."""
    if callable(plan.optimizer):
        return plan.optimizer(model, plan)
    return OPTIMIZERS[plan.optimizer](model.parameters(), plan.lr, weight_decay=plan.weight_decay, fused=True)


def schedule_of(optimizer: Optimizer, plan: Plan) -> LRScheduler | None:
    """The plan's schedule; each group of the optimizer has its own learning rate as its highest."""
    return SCHEDULES[plan.schedule](optimizer, [group["lr"] for group in optimizer.param_groups], plan.n_steps)


def moving_average(model: nn.Module, decay: float) -> AveragedModel:
    """The exponential moving average of a model's weights.

    The decay is (1 + n) / (10 + n) for as long as that is less, after n updates: the first weights, drawn at random,
    would else be most of the average for the first ten thousand steps.
    """

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], n: Tensor) -> None:
        if averaged[0].is_floating_point():
            torch._foreach_sub_(averaged, current)
            torch._foreach_mul_(averaged, ((1 + n) / (10 + n)).clamp(max=decay).to(averaged[0]))
            torch._foreach_add_(averaged, current)
        else:  # counters of batch norm
            torch._foreach_copy_(averaged, current)

    return AveragedModel(model, multi_avg_fn=update, use_buffers=True).requires_grad_(False)
