"""Wasserstein GAN on galaxy SEDs (Rissaki+ 2023, Sec. 2.3.1 and 3.2; after Arjovsky+ 2017).

The generator is the one of glo.py. A critic scores how real a spectrum looks; it is trained five times for each
update of the generator, with RMSprop, and its weights are clamped to [-0.01, 0.01].

Clamped like the weights, the scale of each batch norm is 0.01 at most, and hardly any signal passes six of them: the
critic's score differs between real and artificial spectra by float32 rounding. The mended training beside it constrains
the critic's gradient instead (WGAN-GP, Gulrajani+ 2017), which forbids batch norm in the critic.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from paper_utils.midir.glo import block
from paper_utils.nets.descent import descend


class Critic(nn.Module):
    """Spectrum (N, n_wave) -> realness score (N,), "symmetric to the generator" (Sec. 3.2): mirrored."""

    def __init__(self, n_wave: int = 223, width: int = 256, n_hidden: int = 6, batch_norm: bool = True):
        super().__init__()
        sizes = [n_wave] + [width] * n_hidden
        hidden = [layer for a, b in zip(sizes, sizes[1:], strict=False) for layer in block(a, b, batch_norm)]
        self.network = nn.Sequential(*hidden, nn.Linear(width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x).squeeze(-1)

    @torch.no_grad()
    def clamp(self, limit: float) -> None:
        """Keep every weight within [-limit, limit], the Lipschitz constraint of the original WGAN."""
        for parameter in self.parameters():
            parameter.clamp_(-limit, limit)


def wgan_step(
    generator: nn.Module,
    critic: nn.Module,
    optimizers: tuple[torch.optim.Optimizer, torch.optim.Optimizer],
    x: Tensor,
    backward: Callable[[Tensor], None],
    noise: torch.Generator,
    *,
    n_critic: int = 5,
    clamp: float | None = 0.01,
    penalty: float | None = None,
) -> Callable[[Tensor], dict[str, Tensor]]:
    """One iteration of eq. 4 in its Wasserstein form: `n_critic` critic updates, then one of the generator.

    The step takes indices (n_critic * B,) into standardised training spectra x (N, n_wave): a fresh batch of B for each
    critic update. Latents are standard normal draws from `noise`. `clamp` is the published constraint on the critic;
    `penalty` is the mended one, the weight of (|gradient| - 1)^2 between real and artificial spectra.
    """
    optimizer_g, optimizer_c = optimizers

    def fake(n: int) -> Tensor:
        s = torch.randn(n, generator.n_latent, generator=noise, device=x.device)
        return generator.network(s)

    def step(index: Tensor) -> dict[str, Tensor]:
        for batch in index.chunk(n_critic):
            with torch.no_grad():
                x_fake = fake(len(batch))
            score = critic(x_fake).mean() - critic(x[batch]).mean()
            loss_c = score if penalty is None else score + penalty * gradient_penalty(critic, x[batch], x_fake, noise)
            descend(optimizer_c, loss_c, backward)
            if clamp is not None:
                critic.clamp(clamp)
        loss_g = -critic(fake(len(index) // n_critic)).mean()
        descend(optimizer_g, loss_g, backward)
        return {"critic": -score.detach(), "generator": loss_g.detach()}

    return step


def gradient_penalty(critic: nn.Module, real: Tensor, fake: Tensor, noise: torch.Generator) -> Tensor:
    """Mean (|grad D| - 1)^2 at random points between real and artificial spectra (B, n_wave); Gulrajani+ 2017."""
    share = torch.rand(len(real), 1, generator=noise, device=real.device)
    between = (share * real + (1 - share) * fake).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return ((gradient.norm(dim=1) - 1) ** 2).mean()
