"""The optimizer of study 4: RAdam that looks ahead (Wu & Peek 2020, Sec. 3.1).

A "combined RAdam and LookAhead optimizer" means these numbers in fastai 2: beta2 0.99, decoupled weight decay that
spares biases and norms, six steps to look ahead with half of the way kept. "Fast.ai one-cycle defaults" are the
schedule "fastai" of nets/plan.py, which also moves the momentum.
"""

import torch
from torch import nn
from torch.optim import Optimizer

from paper_utils.nets.plan import Plan


def lookahead(optimizer: Optimizer, k: int = 6, alpha: float = 0.5) -> Optimizer:
    """Let any optimizer look ahead (Zhang+ 2019, arXiv:1907.08610); returns it, changed in place.

    After every k of its steps the weights go back to where they were k steps ago, except for the share alpha of the
    way. Where they were ("slow") and the count of steps are part of the optimizer's state, so that a resumed run goes
    on as it would have.
    """
    start = {p: p.detach().clone() for group in optimizer.param_groups for p in group["params"]}

    @torch.no_grad()
    def after_step(optimizer: Optimizer, *_) -> None:
        for group in optimizer.param_groups:
            group["lookahead_step"] = group.get("lookahead_step", 0) + 1
            for p in group["params"]:
                if p.grad is None and p not in optimizer.state:  # it has learned nothing yet
                    continue
                slow = optimizer.state[p].setdefault("slow", start[p])
                if group["lookahead_step"] % k == 0:
                    p.copy_(slow.lerp_(p, alpha))

    optimizer.register_step_post_hook(after_step)
    return optimizer


def ranger(model: nn.Module, plan: Plan) -> Optimizer:
    """RAdam + Lookahead for all weights of `model`, for a Plan; only those of convolutions and linear layers decay."""
    matrices, vectors = ([p for p in model.parameters() if (p.ndim > 1) == many] for many in (True, False))
    groups = [{"params": matrices, "weight_decay": plan.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return lookahead(torch.optim.RAdam(groups, plan.lr, betas=(0.95, 0.99), eps=1e-6, decoupled_weight_decay=True))
