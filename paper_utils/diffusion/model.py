"""Study 3's conditional diffusion model: images -> samples of log spectra, by removing noise step by step.

Doorenbos+ 2024, Appendix A: the forward process x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps of Ho+ 2020
(arXiv:2006.11239) in 250 steps with the cosine schedule of Nichol & Dhariwal 2021 (arXiv:2102.09672); a U-Net that
sees x_t, t and the image learns eps (eq. A2). A second model of the same kind, with a low-resolution spectrum as one
more channel, brings spectra to full resolution (eq. A4). One loss trains both. Beside it stands the plainest network
from images to spectra, to compare with.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paper_utils.diffusion.augmentation import augmented, centred
from paper_utils.diffusion.gaussian import Blocks, Gaussian, components
from paper_utils.diffusion.samplers import N_TIMES, cosine_schedule, integrate
from paper_utils.diffusion.unet import UNet
from paper_utils.nets import resnet
from paper_utils.nets.model_file import Model
from paper_utils.nets.plan import Batch
from paper_utils.nets.standard import Standard

AVERAGE = 0.9999  # decay of the moving average of the weights, which are those to sample with (Sec. 3.1)
PREDICTIONS = ("noise", "v")


class Diffusion(Model):
    """A conditional diffusion model of log spectra (N, n_wave), as big as the published one unless told otherwise.

    n_low : elements of the low-resolution spectrum that a super-resolution model is also given.
    n_components : published 0. Otherwise the network learns only what a linear model cannot say, and short runs begin
        as well as that model: the image encoder also regresses so many principal components of the spectra
        (`encoder_loss`; with n_low, the low-resolution spectrum takes the place of this `guess`), the residuals about
        the guess are described by a Gaussian (`learn_residuals`; of as many components, or of the elements between two
        of the low-resolution spectrum), and the U-Net corrects the x_0 that it expects. Guess and expected x_0 are two
        more of its channels.
    image_width, stretch : of the image encoder (resnet.py).   base, mults, patch, pooled ... : of the U-Net (unet.py).
    prediction : what the U-Net's output means: the noise eps (published), or v = sqrt(abar) eps - sqrt(1 - abar) x_0
        (Salimans & Ho 2022, arXiv:2202.00512), from which x_0 follows without division by a small sqrt(abar_t).
    """

    def __init__(
        self, n_wave: int = 563, n_low: int | None = None, *, n_bands: int = 5, image_width: float = 1.0,
        stretch: str = "linear", prediction: str = "noise", n_components: int = 0, **unet,
    ):  # fmt: skip
        super().__init__()
        if prediction not in PREDICTIONS:
            raise ValueError(f"prediction is {prediction!r}, not one of {', '.join(PREDICTIONS)}")
        self.n_wave, self.n_low, self.n_times, self.prediction = n_wave, n_low, N_TIMES, prediction
        self.encoder = resnet.resnet18(n_bands, image_width, stretch)
        n_context, n_in = self.encoder.n_features, 3 if n_components else 1 + (n_low is not None)
        self.head = self.residuals = None
        if n_components and n_low is None:
            self.head, self.residuals = nn.Linear(n_context, n_components), Gaussian(n_components, n_wave)
        elif n_components:
            self.residuals = Blocks(-(-n_wave // n_low), n_wave)
        self.unet = UNet(n_in, n_context=n_context, **unet)
        if n_components:  # no correction yet
            nn.init.zeros_(self.unet.leave.weight)
            nn.init.zeros_(self.unet.leave.bias)
        alpha_bar = cosine_schedule()
        self.register_buffer("alpha", alpha_bar.sqrt().float(), persistent=False)  # of x_0 in x_t
        self.register_buffer("sigma", (1 - alpha_bar).sqrt().float(), persistent=False)  # of eps in x_t
        self.standard = Standard(n_wave)
        self.register_buffer("components", torch.zeros(n_components if self.head is not None else 0, n_wave))

    def learn_scale(self, images: Tensor, x: Tensor | None = None, contrast: float | Tensor = 1.0) -> "Diffusion":
        """Take the scale of each band from training images; with training spectra x (N, n_wave) also theirs.

        Log spectra then lose their mean and have the standard deviation `contrast`, one for all or (n_wave,). Published
        they stay as they are. Neighbouring elements vary together, and add up: the smaller the contrast, the more of
        the 250 steps are spent where the shape of the whole spectrum is decided.
        """
        self.encoder.learn_scale(images)
        if x is not None:
            self.standard.learn(x)
            self.standard.scale /= contrast
            if self.head is not None:
                length, axes = components(self.standard(x), len(self.components))
                self.components.copy_(axes * length[:, None] / len(x) ** 0.5)  # of coefficients with unit variance
        return self

    @torch.no_grad()
    def learn_residuals(self, x: Tensor, context: Tensor, low: Tensor | None = None) -> "Diffusion":
        """Describe what the guess, or low, leaves of training spectra x (N, n_wave) by a Gaussian; once it has learned.

        context : of the same images, see `contexts`.   low : (N, n_low), for super-resolution.
        """
        self.residuals.learn(self.standard(x) - self.beside(context, low)[:, 0])
        return self

    def encode(self, images: Tensor) -> Tensor:
        """What the U-Net sees of images (N, n_bands, H, W): tokens (N, T, C), one for each 32 x 32 pixels."""
        return self.encoder(images).flatten(2).mT

    def guess(self, context: Tensor) -> Tensor:
        """The image encoder's own idea of the standardised spectrum, (N, n_wave); needs n_components."""
        return self.head(context.mean(dim=1)) @ self.components

    def upsampled(self, low: Tensor) -> Tensor:
        """Low-resolution log spectra (N, n_low) interpolated linearly, (N, n_wave).

        Element i of the low-resolution spectrum is element 8 i of the full one; beyond the last it stays level.
        """
        factor = -(-self.n_wave // self.n_low)
        inner = F.interpolate(low[:, None], (self.n_low - 1) * factor + 1, mode="linear", align_corners=True)[:, 0]
        return F.pad(inner, (0, max(self.n_wave - inner.shape[1], 0)), mode="replicate")[:, : self.n_wave]

    def beside(self, context: Tensor, low: Tensor | None = None) -> Tensor:
        """What the U-Net sees beside the noisy spectrum at all steps: low or the guess, (N, 1, n_wave), or nothing."""
        if low is not None:
            return self.standard(self.upsampled(low))[:, None]
        if self.head is not None:
            return self.guess(context)[:, None]
        return context.new_empty(len(context), 0, self.n_wave)

    def noised(self, x: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """x_t (N, n_wave) at steps t (N,) or (1,) of standardised spectra x and noise eps."""
        return self.alpha[t][:, None] * x + self.sigma[t][:, None] * eps

    def forward(self, x: Tensor, t: Tensor, context: Tensor, beside: Tensor) -> Tensor:
        """eps or v (N, n_wave) for x_t at steps t (N,) or (1,): the U-Net's output and any Gaussian's."""
        if self.residuals is None:
            return self.unet(torch.cat([x[:, None], beside], dim=1), t.expand(len(x)), context)[:, 0].float()
        guess, alpha, sigma = beside[:, 0].float(), self.alpha[t][:, None], self.sigma[t][:, None]
        with torch.autocast(x.device.type, enabled=False):
            x_0 = guess + self.residuals.expected(x - alpha * guess, alpha, sigma)
        output = self.unet(torch.stack([x, guess, x_0], dim=1), t.expand(len(x)), context)[:, 0].float()
        return output + self.target(x_0, (x - alpha * x_0) / sigma, t)

    def target(self, x: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """What `forward` should have returned."""
        return eps if self.prediction == "noise" else self.alpha[t][:, None] * eps - self.sigma[t][:, None] * x

    def clean(self, x: Tensor, t: int, context: Tensor, beside: Tensor) -> Tensor:
        """The expected x_0 of x_t (N, n_wave), all at step t."""
        output = self(x, torch.full((1,), t, device=x.device), context, beside)
        if self.prediction == "noise":
            return (x - self.sigma[t] * output) / self.alpha[t]
        return self.alpha[t] * x - self.sigma[t] * output


def diffusion_loss(model: Diffusion, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
    """Eq. A2, A4: the squared error of the noise, for batch = {"images" (N, n_bands, H, H), "x" (N, n_wave)}.

    For super-resolution the batch also holds "low" (N, n_low). With "context" (N, T, C), what `encode` made of each
    image, in place of "images" the image encoder stays as it is and costs nothing. generator draws orientations, noise,
    and for each spectrum a noise level t of its own, every time anew (the public code overwrites it with a constant).
    """
    x = model.standard(batch["x"])
    t = torch.randint(1, model.n_times + 1, (len(x),), generator=generator, device=x.device)
    eps = torch.randn(x.shape, generator=generator, device=x.device)
    context = _context(model, batch, generator)
    output = model(model.noised(x, eps, t), t, context, model.beside(context, batch.get("low")))
    return {"loss": (output - model.target(x, eps, t)).square().mean()}


def encoder_loss(model: Diffusion, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
    """Of the image encoder alone, whose `guess` is to be near the spectrum; batch as of `diffusion_loss`.

    The mean squared error in units of the variance of the spectra: 1 for a guess that knows nothing.
    """
    x = model.standard(batch["x"])
    guess = model.guess(_context(model, batch, generator)).float()
    return {"loss": (guess - x).square().mean() / x.square().mean()}


def _context(model: Diffusion, batch: Batch, generator: torch.Generator) -> Tensor:
    return batch["context"] if "context" in batch else model.encode(augmented(batch["images"], generator))


@torch.no_grad()
def contexts(model: Diffusion, images: Tensor, batch_size: int = 256) -> Tensor:
    """(N, T, C) for images (N, n_bands, H, H) of any number: `encode` of their centres, to be used many times."""
    model.eval()
    return torch.cat([model.encode(centred(part)) for part in images.split(batch_size)])


@torch.no_grad()
def sample(
    model: Diffusion, context: Tensor, n_samples: int = 1, *, low: Tensor | None = None, batch_size: int = 512,
    generator: torch.Generator | None = None, **how,
) -> Tensor:  # fmt: skip
    """Log spectra (N, n_samples, n_wave) for the images behind context (N, T, C), `model.encode` of `centred` images.

    low : (N, n_low), for super-resolution.   generator : on the device of context; else torch's own.
    how : `sampler` and `n_steps`, see `samplers.integrate`.
    Images and samples share batches of batch_size. Except for new noise in ancestral sampling, results do not depend
    on it.
    """
    model.eval()
    owner = torch.arange(len(context), device=context.device).repeat_interleave(n_samples)
    noise = torch.randn((len(owner), model.n_wave), generator=generator, device=context.device)
    parts = []
    for item, x in zip(owner.split(batch_size), noise.split(batch_size), strict=True):
        beside = model.beside(context[item], None if low is None else low[item])
        clean = partial(model.clean, context=context[item], beside=beside)
        parts.append(integrate(clean, x, model.alpha, model.sigma, generator=generator, **how))
    return model.standard.undone(torch.cat(parts)).unflatten(0, (len(context), n_samples))


class PlainCNN(Model):
    """Images (N, n_bands, H, W) -> the expected log spectrum (N, n_wave): the image encoder and one linear layer.

    It learns the mean of all spectra that an image may have; the diffusion model draws from among them.
    """

    def __init__(self, n_wave: int = 4500, *, n_bands: int = 5, image_width: float = 1.0, stretch: str = "linear"):
        super().__init__()
        self.encoder = resnet.resnet18(n_bands, image_width, stretch)
        self.head = nn.Linear(self.encoder.n_features, n_wave)
        nn.init.zeros_(self.head.weight)  # at first: the mean spectrum
        nn.init.zeros_(self.head.bias)
        self.standard = Standard(n_wave)

    def learn_scale(self, images: Tensor, x: Tensor, contrast: float | Tensor = 1.0) -> "PlainCNN":
        """Take each band's and each wavelength's mean and scatter from training images and log spectra (N, n_wave).

        contrast : standard deviation that elements then have, for all or (n_wave,); the larger, the more they count.
        """
        self.encoder.learn_scale(images)
        self.standard.learn(x).scale.div_(contrast)
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Standardised log spectra (N, n_wave) of images as they are."""
        return self.head(self.encoder(images).mean(dim=(2, 3)))

    @torch.no_grad()
    def predict(self, images: Tensor, batch_size: int = 256) -> Tensor:
        """Log spectra (N, n_wave) of images, which are `centred` here."""
        self.eval()
        parts = [self(centred(part)) for part in images.split(batch_size)]
        return self.standard.undone(torch.cat(parts))


def plain_loss(model: PlainCNN, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
    """Squared error of batch = {"images" (N, n_bands, H, H), "x" (N, n_wave) log spectra}, images augmented."""
    output = model(augmented(batch["images"], generator)).float()
    return {"loss": (output - model.standard(batch["x"])).square().mean()}
