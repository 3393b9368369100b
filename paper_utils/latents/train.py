"""Study 4's training: images in any orientation -> the latents of a spectrum, with uncertainties."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from paper_utils.latents.model import ImageRegressor
from paper_utils.nets import d4
from paper_utils.nets.training import Batch


def image_loss(model: ImageRegressor, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
    """Of batch = {"images" (N, B, H, H), "latents" (N, n_latent)}, each image in a random orientation.

    "mse" is the mean squared error of standardised latents, which is the loss; with a Gaussian head that is the
    negative log likelihood, without its constant. generator : on the device of the data.
    """
    output = model(d4.randomly_oriented(batch["images"], generator))
    mean, log_var = model.split(output)
    target = model.latents(batch["latents"])
    mse = (mean.float() - target).square().mean()
    return {"loss": F.gaussian_nll_loss(mean, target, log_var.exp()) if model.gaussian else mse, "mse": mse}
