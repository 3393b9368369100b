"""The optimizer of GLO (Rissaki+ 2023, Sec. 3.2): one learning rate for the generator, another for the latents."""

import torch
from torch.optim import Adam, Optimizer

from paper_utils.midir.model import GLO
from paper_utils.nets.plan import Plan


def adam_on_both(model: GLO, plan: Plan, lr_latents: float) -> Optimizer:
    """Adam with a learning rate for the generator and another for the latents, which do not decay."""
    weights = {"params": model.generator.parameters(), "lr": plan.lr, "weight_decay": plan.weight_decay}
    return LatentAdam([weights, {"params": [model.s], "lr": lr_latents}], fused=True)


class LatentAdam(Adam):
    """Adam that moves, of the last parameter, only the rows that a batch touched.

    Plain Adam moves the latents of galaxies that are not in the batch too, by what it remembers of earlier ones, and
    takes longer over it than over the network.
    """

    @torch.no_grad()
    def step(self, closure=None):
        group = self.param_groups[-1]
        (latents,), (beta_1, beta_2) = group["params"], group["betas"]
        gradient, latents.grad = latents.grad.coalesce(), None  # without a gradient Adam leaves them to us
        super().step(closure)
        rows, gradient, state = gradient.indices()[0], gradient.values(), self.state[latents]
        if not state:
            state |= {"step": 0, "exp_avg": torch.zeros_like(latents), "exp_avg_sq": torch.zeros_like(latents)}
        state["step"] += 1
        first = state["exp_avg"][rows].lerp_(gradient, 1 - beta_1)
        second = state["exp_avg_sq"][rows].lerp_(gradient**2, 1 - beta_2)
        state["exp_avg"][rows], state["exp_avg_sq"][rows] = first, second
        first, second = first / (1 - beta_1 ** state["step"]), second / (1 - beta_2 ** state["step"])
        latents[rows] -= group["lr"] * first / (second.sqrt() + group["eps"])
