"""Study 4's training and prediction: images in any orientation -> the latents of a spectrum, with uncertainties.

Any `xresnet.ImageRegressor` can be trained; targets are latents in units of their scatter (`measure.regression.Scale`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from paper_utils.latents.model import ImageRegressor
from paper_utils.nets.descent import descend


def dihedral(images: Tensor, element: Tensor) -> Tensor:
    """Each of the square images (N, B, H, H) in one of its eight orientations, the group D4; element (N,) is 0 - 7.

    Bit 1 transposes, bit 2 then mirrors columns, bit 4 rows. No pixel is interpolated: flux and noise stay as they are.
    """
    if images.shape[-1] != images.shape[-2]:
        raise ValueError(f"only square images have eight orientations, not {tuple(images.shape)}")
    for bit, moved in ((1, lambda x: x.mT), (2, lambda x: x.flip(-1)), (4, lambda x: x.flip(-2))):
        chosen = (element & bit).bool()[:, None, None, None]
        images = torch.where(chosen, moved(images), images)
    return images


def gaussian_nll(mean: Tensor, log_var: Tensor, target: Tensor) -> Tensor:
    """Mean negative log likelihood of a Gaussian, without its constant; all (N, n_latent)."""
    return 0.5 * (log_var + (target - mean).square() * (-log_var).exp()).mean()


def image_step(
    model: ImageRegressor,
    optimizer: torch.optim.Optimizer,
    data: Mapping[str, Tensor],
    backward: Callable[[Tensor], None],
    generator: torch.Generator,
    *,
    autocast: Callable[[], AbstractContextManager] = nullcontext,
) -> Callable[[Tensor], dict[str, Tensor]]:
    """One step on data = {"images" (N, n_bands, H, H), "latents" (N, n_latent)} at the indices (B,).

    The loss is the mean squared error, or with a Gaussian head the negative log likelihood. generator, on the device of
    the data, draws the orientation of each image. autocast: such as `fabric.autocast`.
    """

    def step(index: Tensor) -> dict[str, Tensor]:
        images, target = data["images"][index], data["latents"][index]
        element = torch.randint(8, index.shape, generator=generator, device=images.device)
        with autocast():
            output = model(dihedral(images, element))
        mean, log_var = model.split(output)
        mse = (mean.float() - target).square().mean()
        loss = gaussian_nll(mean, log_var, target) if model.gaussian else mse
        descend(optimizer, loss, backward)
        return {"loss": loss.detach(), "mse": mse.detach()}

    return step


def head_step(
    model: ImageRegressor,
    optimizer: torch.optim.Optimizer,
    data: Mapping[str, Tensor],
    backward: Callable[[Tensor], None],
    generator: torch.Generator,
) -> Callable[[Tensor], dict[str, Tensor]]:
    """One step of a Gaussian head alone, on data = {"features" (N, n_features), "latents" (N, n_latent)}.

    The loss is the negative log likelihood. generator, on the device of the data, drops units: `model.dropout.p` of
    them.
    """

    def step(index: Tensor) -> dict[str, Tensor]:
        seen = _dropped(data["features"][index], model.dropout.p, generator)
        loss = gaussian_nll(*model.split(model.head(seen)), data["latents"][index])
        descend(optimizer, loss, backward)
        return {"loss": loss.detach()}

    return step


def _dropped(features: Tensor, p: float, generator: torch.Generator | None) -> Tensor:
    """Features (..., n_features) with a share p of them at 0, the others larger by as much."""
    kept = torch.rand(features.shape, generator=generator, device=features.device) >= p
    return kept * features / (1 - p)


@torch.no_grad()
def predict(
    model: ImageRegressor,
    images: Tensor,
    *,
    batch_size: int = 256,
    n_draws: int = 0,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Latents of images (N, n_bands, H, W): their mean, the standard deviation that a Gaussian head gives them and that
    of draws, each (N, n_latent); 0 where there is no such head or no draw. The two add in quadrature.

    n_draws : times that units of the head are dropped at random (Monte Carlo dropout; Gal & Ghahramani 2016,
        arXiv:1506.02142), with `generator` on the device of the images. Features are computed once for all draws.
    """
    model.eval()
    parts = [_predict(model, part, n_draws, generator) for part in images.split(batch_size)]
    return tuple(torch.cat(each) for each in zip(*parts, strict=True))


def _predict(
    model: ImageRegressor, images: Tensor, n_draws: int, generator: torch.Generator | None
) -> tuple[Tensor, Tensor, Tensor]:
    features = model.features(images)
    if n_draws:
        features = _dropped(features.expand(n_draws, -1, -1), model.dropout.p, generator)
    mean, log_var = model.split(model.head(features))
    variance = log_var.exp() if model.gaussian else torch.zeros_like(mean)
    if not n_draws:
        return mean, variance.sqrt(), torch.zeros_like(mean)
    return mean.mean(dim=0), variance.mean(dim=0).sqrt(), mean.std(dim=0, correction=0)


@torch.no_grad()
def features(model: ImageRegressor, images: Tensor, batch_size: int = 256) -> Tensor:
    """What the head sees of images (N, n_bands, H, W): (N, n_features). `head_step` trains on them in seconds."""
    model.eval()
    return torch.cat([model.features(part) for part in images.split(batch_size)])


def saliency(model: ImageRegressor, images: Tensor) -> Tensor:
    """Gradient x input of each predicted latent, (n_latent, N, n_bands, H, W), of images that are 0 where it is dark.

    To first order what each pixel's light adds to the latent (Simonyan+ 2013, arXiv:1312.6034, times the image).
    """
    model.eval()
    images = images.to(model.bands.mean.dtype, copy=True).requires_grad_()
    mean, _ = model.split(model(images))
    maps = []
    for k in range(mean.shape[1]):
        (slope,) = torch.autograd.grad(mean[:, k].sum(), images, retain_graph=k + 1 < mean.shape[1])
        maps.append((slope * images).detach())
    return torch.stack(maps)
