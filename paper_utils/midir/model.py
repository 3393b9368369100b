"""Generative models of galaxy SEDs (Rissaki+ 2023, Sec. 2.3, 2.4 and 3.2): one generator, trained in two ways.

A generator maps a latent vector s to a spectrum x = G(s), Sec. 2.1. GLO (after Bojanowski+ 2018) learns it together
with one latent vector per training spectrum, eq. 5:

    min_G  1/N  sum_i  min_{s_i on the unit sphere}  || G(s_i) - x_i ||^2

A Wasserstein GAN (after Arjovsky+ 2017) learns it from a critic, which scores how real a spectrum looks, eq. 4. Trained
on log10 F_nu instead of F_nu they are "logGLO" and "logWGAN". Latents are `s`, since `z` is redshift.

What the paper leaves open, and what stands here: the hidden widths (constant, default 256), the slope of LeakyReLU
(0.2) and the scaling of the data: one mean and one standard deviation for all bins, inside the generator, so that the
loss is the paper's "simple MSE" up to a factor and the caller sees physical values. `per_bin` scales every bin by
itself instead.
"""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, mse_loss, normalize
from torch.optim import Adam, Optimizer, RMSprop

from paper_utils.nets.model_file import Model
from paper_utils.nets.plan import Batch, Plan, schedule_of
from paper_utils.nets.standard import Standard


class Generator(Model):
    """G: latent (N, n_latent) -> spectrum (N, n_wave), six hidden layers of LeakyReLU with 1-d batch norm (Sec. 3.2).

    Parameters
    ----------
    n_latent : size of the latent space; the paper's 50.
    n_wave : wavelength bins; the paper's 223.
    width : neurons of each hidden layer; not printed in the paper.
    n_hidden : hidden layers; the paper's 6.
    log : whether the generator works in log10 F_nu (logGLO, logWGAN) or in F_nu (GLO, WGAN).
    """

    def __init__(self, n_latent: int = 50, n_wave: int = 223, width: int = 256, n_hidden: int = 6, log: bool = True):
        super().__init__()
        self.n_latent, self.log = n_latent, log
        self.network = nn.Sequential(*hidden_layers(n_latent, width, n_hidden), nn.Linear(width, n_wave))
        self.standard = Standard(n_wave)

    def learn_scale(self, x: Tensor, per_bin: bool = False) -> Tensor:
        """Take mean and standard deviation of training spectra x (N, n_wave), in the generator's space, of all values
        or of each bin; returns the spectra at that scale, in which the network works."""
        return self.standard.learn(x if per_bin else x.reshape(-1, 1))(x)

    def forward(self, s: Tensor) -> Tensor:
        """Spectra (N, n_wave) in the generator's own space: log10 F_nu if `log`, else F_nu."""
        return self.standard.undone(self.network(s))

    def flux(self, x: Tensor) -> Tensor:
        """F_nu of spectra x in the generator's space."""
        return 10**x if self.log else x

    def measure(self, x: Tensor, A: Tensor) -> Tensor:
        """Photometry (N, m), in the same space, of spectra x by a measurement matrix A (m, n_wave) on F_nu (eq. 1)."""
        return torch.log10(10**x @ A.T) if self.log else x @ A.T


def hidden_layers(n_in: int, width: int, n_hidden: int, batch_norm: bool = True) -> list[nn.Module]:
    """Linear, 1-d batch norm, LeakyReLU, `n_hidden` times."""
    layers: list[nn.Module] = []
    for n in [n_in] + [width] * (n_hidden - 1):
        layers += [nn.Linear(n, width), *([nn.BatchNorm1d(width)] if batch_norm else []), nn.LeakyReLU(0.2)]
    return layers


class GLO(Model):
    """A generator, of the arguments of `Generator`, and the latents s (n, n_latent) of its n training spectra.

    Latents stay on the unit sphere; they start as normal draws (Sec. 2.4), projected.
    """

    def __init__(self, n: int, **generator):
        super().__init__()
        self.generator = Generator(**generator)
        self.s = nn.Parameter(to_sphere(torch.randn(n, self.generator.n_latent)))

    @torch.no_grad()
    def constrain(self) -> None:
        """Put the latents back on the sphere, after each step of training."""
        self.s.copy_(to_sphere(self.s))


def glo_loss(model: GLO, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
    """Eq. 5 for training spectra batch["x"] (B, n_wave) at the generator's scale, which are numbers batch["index"]."""
    s = embedding(batch["index"], model.s, sparse=True)  # a gradient for the rows of the batch, not for all latents
    return {"loss": mse_loss(model.generator.network(s), batch["x"])}


def to_sphere(s: Tensor) -> Tensor:
    """Project latent vectors (..., n_latent) onto the unit sphere."""
    return normalize(s, dim=-1)


def whitened_components(x: Tensor, n_latent: int) -> Tensor:
    """Leading principal components (N, n_latent) of spectra x (N, n_wave), each scaled to unit variance.

    Bojanowski+ 2018 take them as first latents.
    """
    left, _, _ = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    return left[:, :n_latent] * len(x) ** 0.5


class Critic(nn.Module):
    """Spectrum (N, n_wave) -> realness score (N,), "symmetric to the generator" (Sec. 3.2): mirrored."""

    def __init__(self, n_wave: int = 223, width: int = 256, n_hidden: int = 6, batch_norm: bool = True):
        super().__init__()
        self.network = nn.Sequential(*hidden_layers(n_wave, width, n_hidden, batch_norm), nn.Linear(width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x).squeeze(-1)


class WGAN(Model):
    """A generator and its critic.

    critic_kind : "plain", without batch norm, as in Arjovsky+ 2017; with batch norm, whose batches are real and
        artificial spectra each ("separate") or together ("joint"), for the paper says that it has one and not how; or
        "penalised", with a gradient penalty, which forbids batch norm (Gulrajani+ 2017).
    sizes : n_wave, width and n_hidden of both, as in `Generator`.
    """

    def __init__(self, n_latent: int = 50, log: bool = True, critic_kind: str = "plain", **sizes: int):
        super().__init__()
        self.critic_kind = critic_kind
        self.generator = Generator(n_latent, log=log, **sizes)
        self.critic = Critic(**sizes, batch_norm=critic_kind in ("separate", "joint"))

    def scores(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """The critic's scores of real and of artificial spectra, (B,) each."""
        if self.critic_kind == "joint":
            return self.critic(torch.cat([real, fake])).split([len(real), len(fake)])
        return self.critic(real), self.critic(fake)

    def fake(self, n: int, noise: torch.Generator) -> Tensor:
        """Artificial spectra (n, n_wave) at the network's scale, of standard normal latents drawn from `noise`."""
        return self.generator.network(torch.randn(n, self.generator.n_latent, generator=noise, device=noise.device))


class Adversaries:
    """One iteration of eq. 4 in its Wasserstein form: five updates of the critic, then one of the generator.

    It takes indices (5 B,) into training spectra x (N, n_wave) at the network's scale: a fresh batch of B for each
    update of the critic. As published (Sec. 3.2) both learn by RMSprop, and the critic's weights are clamped to
    [-0.01, 0.01]. Batch norm of separate batches takes out just what tells real from artificial spectra, and clamped
    like the weights its scale is 0.01 at most, so that hardly any signal passes six of them: the `gradient` that
    reaches the generator says which critic can teach. A "penalised" one is constrained in its gradient (WGAN-GP,
    with the settings of Gulrajani+ 2017 but for the rate).
    """

    N_CRITIC, CLAMP, PENALTY, LR_PENALISED = 5, 0.01, 10.0, 3e-4

    def __init__(self, model: WGAN, x: Tensor, plan: Plan, fabric):
        self.model, self.x, self.fabric = model, x, fabric
        self.noise = torch.Generator(x.device).manual_seed(plan.seed)
        self.penalised = model.critic_kind == "penalised"
        adam, rmsprop = partial(Adam, lr=self.LR_PENALISED, betas=(0.5, 0.9)), partial(RMSprop, lr=plan.lr)
        make = adam if self.penalised else rmsprop
        self.optimizers = [make(network.parameters()) for network in (model.generator, model.critic)]
        self.state = {"model": model, "noise": self.noise}
        for name, optimizer in zip(("generator", "critic"), self.optimizers, strict=True):
            self.state |= {f"{name} optimizer": optimizer, f"{name} schedule": schedule_of(optimizer, plan)}

    def __call__(self, index: Tensor) -> dict[str, Tensor]:
        model, (optimizer_g, optimizer_c) = self.model, self.optimizers
        for batch in index.chunk(self.N_CRITIC):
            real = self.x[batch]
            with torch.no_grad():
                fake = model.fake(len(batch), self.noise)
            of_real, of_fake = model.scores(real, fake)
            loss = distance = of_fake.mean() - of_real.mean()
            if self.penalised:
                loss = distance + self.PENALTY * gradient_penalty(model.critic, real, fake, self.noise)
            self._descend(optimizer_c, loss)
            if not self.penalised:  # the Lipschitz constraint of the original WGAN
                for weights in model.critic.parameters():
                    weights.data.clamp_(-self.CLAMP, self.CLAMP)
        loss_g = -model.scores(real, model.fake(len(real), self.noise))[1].mean()
        self._descend(optimizer_g, loss_g)
        gradient = nn.utils.get_total_norm([weights.grad for weights in model.generator.parameters()])
        return {"critic": -distance.detach(), "generator": loss_g.detach(), "gradient": gradient}

    def _descend(self, optimizer: Optimizer, loss: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        optimizer.step()


def gradient_penalty(critic: nn.Module, real: Tensor, fake: Tensor, noise: torch.Generator) -> Tensor:
    """Mean (|grad D| - 1)^2 at random points between real and artificial spectra (B, n_wave); Gulrajani+ 2017."""
    share = torch.rand(len(real), 1, generator=noise, device=real.device)
    between = (share * real + (1 - share) * fake).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return ((gradient.norm(dim=1) - 1) ** 2).mean()
