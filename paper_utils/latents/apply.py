"""Study 4's prediction: the image of a galaxy -> the latents of its spectrum, with uncertainties, and the spectrum."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from paper_utils.base.containers import Images
from paper_utils.base.errors import DataError
from paper_utils.latents.model import ImageRegressor
from paper_utils.latents.vae import InfoVAE
from paper_utils.nets.model_file import Model
from paper_utils.stats import calibration

BATCH_SIZE = 256
QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)  # of the fluxes of training images


@torch.no_grad()
def predict(
    model: ImageRegressor, images: Tensor, *, n_draws: int = 0, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Latents of images (N, B, H, W) [nmgy]: their mean, the standard deviation that a Gaussian head gives them and
    that of draws, each (N, n_latent); 0 where there is no such head or no draw. The two add in quadrature.

    n_draws : times that units of the head are dropped at random (Monte Carlo dropout; Gal & Ghahramani 2016,
        arXiv:1506.02142), with `generator` on the device of the images. Features are computed once for all draws.
    """
    model.eval()
    found = []
    for part in images.split(BATCH_SIZE):
        seen = model.features(part)[None]
        if n_draws:
            seen = model.dropped(seen.expand(n_draws, -1, -1), generator)
        means, log_var = model.split(model.head(seen))  # (n_draws or 1, N, n_latent)
        variance = model.gaussian * log_var.exp().mean(dim=0)
        found.append((means.mean(dim=0), variance.sqrt(), means.std(dim=0, correction=0)))
    mean, said, scattered = (torch.cat(each) for each in zip(*found, strict=True))
    return model.latents.undone(mean), model.latents.scale * said, model.latents.scale * scattered


@torch.no_grad()
def features(model: ImageRegressor, images: Tensor) -> Tensor:
    """What the head sees of images (N, B, H, W) [nmgy]: (N, n_features)."""
    model.eval()
    return torch.cat([model.features(part) for part in images.split(BATCH_SIZE)])


def saliency(model: ImageRegressor, images: Tensor) -> Tensor:
    """Gradient x input of each predicted latent, (n_latent, N, B, H, W), of images that are 0 where it is dark.

    To first order what each pixel's light adds to the standardised latent (Simonyan+ 2013, arXiv:1312.6034, times the
    image).
    """
    model.eval()
    images = images.to(model.noise.dtype, copy=True).requires_grad_()
    mean, _ = model.split(model(images))
    slopes = [torch.autograd.grad(latent.sum(), images, retain_graph=True)[0] for latent in mean.T]
    return torch.stack(slopes) * images.detach()


def central(draws: Tensor) -> Tensor:
    """Ends (2, ...) of the central 68 % of draws (K, ...), which are two of them."""
    ends = [round((1 + side * calibration.LEVEL) / 2 * (len(draws) - 1)) for side in (-1, 1)]
    return draws.sort(dim=0).values[ends]


class Prediction(NamedTuple):
    """Latents and spectra predicted from images.

    latents, std : (N, n_latent), in the unit of the autoencoder's.
    flux, low, high : (N, R) on `restframe.WAVE_REST`, of unit mean square: of the mean latents, and the central 68 % of
        draws; None where the latents came without their decoder.
    """

    latents: NDArray
    std: NDArray
    flux: NDArray | None = None
    low: NDArray | None = None
    high: NDArray | None = None


class ImageToSpectrum(Model):
    """The trained network with a head that knows its uncertainty, and the decoder of its latents: images -> spectra.

    Parameters
    ----------
    network : arguments of the `ImageRegressor`, with the bands and pixel scale of the images it takes.
    vae : arguments of the autoencoder whose latents it predicts; None where latents were given without it.
    n_draws : of the head's dropped units, and of latents for the interval of a spectrum.

    Buffers: `inflation` (n_latent,), by which stated uncertainties are wrong; `together` (n_latent, n_latent), the
    Cholesky factor of the correlation of the latents' errors; of the training set its size `n_training` and the
    quantiles `flux` (5, B) of the light in its images [nmgy].
    """

    def __init__(self, network: Mapping[str, Any], vae: Mapping[str, Any] | None = None, n_draws: int = 50):
        super().__init__()
        self.network = ImageRegressor(**network)
        self.vae = None if vae is None else InfoVAE(**vae)
        n_latent, n_bands = len(self.network.latents.mean), len(self.network.noise)
        self.register_buffer("inflation", torch.ones(n_latent))
        self.register_buffer("together", torch.eye(n_latent))
        self.register_buffer("n_training", torch.tensor(0))
        self.register_buffer("flux", torch.zeros(len(QUANTILES), n_bands))

    @torch.no_grad()
    def take(self, network: ImageRegressor, vae: InfoVAE | None, images: Tensor, rows: Tensor) -> None:
        """Take over a trained network without its head, its autoencoder, and the light of its training images."""
        body = {name: value for name, value in network.state_dict().items() if not name.startswith("head.")}
        self.network.load_state_dict(body, strict=False)
        if vae is not None:
            self.vae.load_state_dict(vae.state_dict())
        light = torch.cat([images[part].float().sum(dim=(2, 3)) for part in rows.split(BATCH_SIZE)])
        self.flux.copy_(torch.quantile(light, light.new_tensor(QUANTILES), dim=0))
        self.n_training.fill_(len(rows))

    def uncalibrated(self, images: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (N, n_latent) of the latents of images (N, B, H, W) [nmgy], as the head says."""
        generator = torch.Generator(images.device).manual_seed(seed)
        mean, *parts = predict(self.network, images, n_draws=self.config["n_draws"], generator=generator)
        return mean, torch.hypot(*parts)

    def calibrate(self, images: Tensor, latents: Tensor) -> None:
        """Learn how wrong the stated uncertainties are, from images and latents that were not trained on.

        One factor for each latent, so that 68 % of its values lie within the stated 68 % (split conformal).
        """
        mean, std = self.uncalibrated(images)
        there = [part.cpu().numpy() for part in (latents, mean, std)]
        self.inflation.copy_(torch.as_tensor(calibration.inflation(*there)))
        self.together.copy_(torch.linalg.cholesky(torch.corrcoef(((latents - mean) / std).T)))

    @torch.no_grad()
    def spectra(self, latents: Tensor, std: Tensor, seed: int = 0) -> Tensor:
        """Spectra (n_draws, N, R) of latents drawn about a mean (N, n_latent), whose errors go together."""
        generator = torch.Generator(latents.device).manual_seed(seed)
        shape = self.config["n_draws"], *latents.shape
        noise = torch.randn(shape, generator=generator, device=latents.device) @ self.together.T
        return self.vae.decode(latents + std * noise)

    @torch.no_grad()
    def predict(self, images: Images, seed: int = 0) -> Prediction:
        """From images of galaxies. Raises DataError where their bands or pixels are not those of the training."""
        self.check(images)
        found, device = [], self.inflation.device
        for start in range(0, len(images), BATCH_SIZE):
            cube = torch.as_tensor(images.cube[start : start + BATCH_SIZE], dtype=torch.float32, device=device)
            latents, std = self.uncalibrated(cube, seed)
            std = self.inflation * std
            parts = [latents, std]
            if self.vae is not None:
                parts += [self.vae.decode(latents), *central(self.spectra(latents, std, seed))]
            found.append([part.cpu().numpy() for part in parts])
        return Prediction(*map(np.concatenate, zip(*found, strict=True)))

    def check(self, images: Images) -> None:
        """Raises DataError, naming both, where the bands or pixels of images are not those of the training."""
        given, bands = " ".join(images.bands), " ".join(self.network.config["bands"])
        if given != bands:
            remedy = "Give images of the model's bands, in their order, or train a model on yours."
            raise DataError(f"the images have bands {given}, the model's are {bands}", remedy=remedy, row="bands")
        scale = self.network.config["pixel_scale"]
        if scale is not None and not np.isclose(images.pixel_scale, scale, rtol=0.01):
            problem = f"the pixels are {images.pixel_scale:g} arcsec wide, the model's {scale:g}"
            raise DataError(problem, remedy="Resample the images, or train a model on yours.", row="pixel_scale")
