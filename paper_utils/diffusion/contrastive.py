"""Study 3's judge of samples: images and spectra in one space, in which a galaxy's two views lie close.

Doorenbos+ 2024, Sec. 3 and eq. A3: a residual network of 50 layers for images and a 1-D residual network for spectra,
128 features each, trained by multimodal contrastive learning (Chen+ 2020, arXiv:2002.05709). The cosine of two views
ranks the sampled spectra of an image.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paper_utils.diffusion.augmentation import augmented
from paper_utils.diffusion.unet import convolution
from paper_utils.nets import resnet
from paper_utils.nets.model_file import Model
from paper_utils.nets.plan import Batch
from paper_utils.nets.standard import Standard

TEMPERATURE = 0.05  # at first: the authors' constant
MIN_TEMPERATURE = 0.01
IMAGE_ENCODERS = {"resnet18": resnet.resnet18, "resnet50": resnet.resnet50}


class Block(nn.Module):
    """Two convolutions, each with group norm and SiLU, beside a shortcut."""

    def __init__(self, n_in: int, n_out: int):
        super().__init__()
        self.path = nn.Sequential(*convolution(n_in, n_out, nn.SiLU), *convolution(n_out, n_out, nn.SiLU))
        self.shortcut = nn.Conv1d(n_in, n_out, 1) if n_in != n_out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.path(x) + self.shortcut(x)


def spectrum_encoder(n_out: int, base: int, mults: tuple[int, ...], patch: int) -> nn.Sequential:
    """Spectra (N, 1, L) -> (N, n_out), any L: two blocks at each depth, then half the length; at last the mean."""
    layers = [nn.Conv1d(1, base, patch, patch)] if patch > 1 else []
    n_in = base if patch > 1 else 1
    for n in (base * m for m in mults):
        layers += [Block(n_in, n), Block(n, n), nn.Conv1d(n, n, 3, 2, 1)]
        n_in = n
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(n_in, n_out))


class Contrastive(Model):
    """Images (N, n_bands, H, W) and log spectra (N, L) -> features (N, n_features) of unit length.

    image, image_width, stretch : the image encoder, "resnet50" (published) or "resnet18", see resnet.py.
    base, mults : channels of the spectrum's encoder.   patch : elements that enter together; 1 is published.
    """

    def __init__(
        self, n_wave: int = 563, *, n_bands: int = 5, n_features: int = 128, base: int = 64,
        mults: tuple[int, ...] = (1, 2, 4, 8, 16), patch: int = 1, image: str = "resnet50", image_width: float = 1.0,
        stretch: str = "linear",
    ):  # fmt: skip
        super().__init__()
        self.image = IMAGE_ENCODERS[image](n_bands, image_width, stretch)
        self.image_head = nn.Linear(self.image.n_features, n_features)
        self.spectrum = spectrum_encoder(n_features, base, mults, patch)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(TEMPERATURE)))
        self.standard = Standard(n_wave)

    def learn_scale(self, images: Tensor, x: Tensor | None = None) -> "Contrastive":
        """Take the scale of each band from training images; with training spectra x (N, L) also theirs, element-wise.

        Published, log spectra stay as they are.
        """
        self.image.learn_scale(images)
        if x is not None:
            self.standard.learn(x)
        return self

    def embed_images(self, images: Tensor) -> Tensor:
        """Of `centred` images; (N, n_features) of unit length."""
        return F.normalize(self.image_head(self.image(images).mean(dim=(2, 3))).float(), dim=1)

    def embed_spectra(self, x: Tensor) -> Tensor:
        """Of log spectra (N, L); (N, n_features) of unit length."""
        return F.normalize(self.spectrum(self.standard(x)[:, None]).float(), dim=1)

    @torch.no_grad()
    def scores(self, images: Tensor, x: Tensor, batch_size: int = 512) -> Tensor:
        """Cosines (N, n) of `centred` images (N, n_bands, H, W) with log spectra x (N, n, L)."""
        spectra = torch.cat([self.embed_spectra(part) for part in x.flatten(0, 1).split(batch_size)])
        return (spectra.unflatten(0, x.shape[:2]) @ self.embed_images(images)[:, :, None])[..., 0]


def normalised_cross_entropy(a: Tensor, b: Tensor, temperature: Tensor | float) -> Tensor:
    """Eq. A3, averaged over all views of a batch: a, b (N, n_features) are each object's two views, of unit length.

    Each view is to be nearer to its partner than to the other 2 N - 2 views of either kind.
    """
    views = torch.cat([a, b])
    logits = (views @ views.T / temperature).fill_diagonal_(-torch.inf)
    partner = torch.arange(len(views), device=views.device).roll(len(a))
    return F.cross_entropy(logits, partner)


def contrastive_loss(model: Contrastive, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
    """Of batch = {"images" (N, n_bands, H, H), "x" (N, L)}, whose images are augmented with the generator's draws.

    The temperature is learned with the weights. "top1" is the share of images whose own spectrum is the batch's
    nearest.
    """
    a, b = model.embed_images(augmented(batch["images"], generator)), model.embed_spectra(batch["x"])
    with torch.autocast(a.device.type, enabled=False):
        loss = normalised_cross_entropy(a, b, model.log_temperature.exp().clamp_min(MIN_TEMPERATURE))
        nearest = (a.detach() @ b.detach().T).argmax(dim=1)
    return {"loss": loss, "top1": (nearest == torch.arange(len(a), device=a.device)).float().mean()}
