"""Study 3's trained model, from images to spectra: four networks in one file, with all that using them takes.

Doorenbos+ 2024, Sec. 3 and Fig. 3: sample several low-resolution spectra of each image, keep the three that a
contrastive network finds most like the image, bring each to full resolution five times, keep the best by a second one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from paper_utils.base.containers import Images
from paper_utils.base.errors import DataError
from paper_utils.diffusion import angstrom_grid as grid
from paper_utils.diffusion.augmentation import centred
from paper_utils.diffusion.contrastive import Contrastive
from paper_utils.diffusion.model import Diffusion, sample
from paper_utils.nets.model_file import Model

QUANTILES = (0.01, 0.5, 0.99)  # of the training images' flux
SAME_SCALE = 1e-3  # of the pixel scale


@dataclass(frozen=True)
class Candidates:
    """All that was sampled for N images, log spectra on the CPU as the networks learn them, and the choice.

    low : (N, n_low, 563).   low_score : (N, n_low), the cosine of image and spectrum; the larger the better.
    kept : (N, n_kept), which of `low` went on, the best first.
    full : (N, n_kept, n_full, 4500).   full_score : (N, n_kept, n_full).
    """

    low: Tensor
    low_score: Tensor
    kept: Tensor
    full: Tensor
    full_score: Tensor

    @property
    def all_full(self) -> Tensor:
        """(N, n_kept n_full, 4500)."""
        return self.full.flatten(1, 2)

    @property
    def best(self) -> Tensor:
        """The spectrum that is kept: (N, 4500)."""
        first = self.full_score.flatten(1).argmax(dim=1)
        return self.all_full[torch.arange(len(first)), first]


class SpectraFromImages(Model):
    """Images -> spectra on `wave`, 4000-8499 A in the observed frame, in units of their mean at 6900-6950 A at rest.

    low, full, low_match, full_match : arguments of the two `Diffusion` and the two `Contrastive` networks.
    bands, pixel_scale [arcsec] : of the images, in nanomaggies, that it was trained on; others are refused.
    pin : whether its networks know spectra in the rest frame, see `angstrom_grid.pinned`.
    n_low, n_kept, n_full : candidates at low resolution, how many of them are kept, and at full resolution of each.
    sampler, n_steps : of `model.sample`.
    The buffer `flux_quantiles` (3, n_bands) [nanomaggies] tells what stamps it was trained on: see `QUANTILES`.
    """

    def __init__(
        self, low: Mapping[str, Any], full: Mapping[str, Any], low_match: Mapping[str, Any],
        full_match: Mapping[str, Any], *, bands: Sequence[str] = "ugriz", pixel_scale: float = 0.396, pin: bool = False,
        n_low: int = 10, n_kept: int = 3, n_full: int = 5, sampler: str = "dpm++", n_steps: int = 20,
    ):  # fmt: skip
        super().__init__()
        self.low, self.full = Diffusion(**low), Diffusion(**full)
        self.low_match, self.full_match = Contrastive(**low_match), Contrastive(**full_match)
        self.bands, self.pixel_scale, self.pin = [str(band) for band in bands], pixel_scale, pin
        self.n_low, self.n_kept, self.n_full = n_low, n_kept, n_full
        self.steps = {"sampler": sampler, "n_steps": n_steps}
        self.register_buffer("wave", torch.as_tensor(grid.WAVE))
        self.register_buffer("flux_quantiles", torch.zeros(len(QUANTILES), len(self.bands)))

    @classmethod
    def of(cls, networks: Mapping[str, Model], images: Images, **options: Any) -> "SpectraFromImages":
        """The four trained networks, {"low", "full", "low_match", "full_match"}, as one; images: the training set."""
        bands = [str(band) for band in images.bands]
        configs = {name: network.config for name, network in networks.items()}
        model = cls(**configs, bands=bands, pixel_scale=images.pixel_scale, **options)
        for name, network in networks.items():
            model.add_module(name, network)
        flux = images.cube.sum(axis=(2, 3))
        model.flux_quantiles.copy_(torch.as_tensor(np.quantile(flux, QUANTILES, axis=0)))
        return model.to(next(network.parameters()).device).eval()

    def predict(self, images: Images, seed: int = 0) -> np.ndarray:
        """The chosen spectrum (N, 4500) of each image. Raises DataError for images of other bands or pixels."""
        if (found := [str(band) for band in images.bands]) != self.bands:
            raise DataError(
                f"images in {' '.join(found)}, for a model of {' '.join(self.bands)}",
                remedy="Give images in those bands, in that order, or train a model on these.",
                row="bands",
            )
        if abs(images.pixel_scale / self.pixel_scale - 1) > SAME_SCALE:
            raise DataError(
                f"pixels of {images.pixel_scale:g} arcsec, for a model of {self.pixel_scale:g} arcsec",
                remedy="Resample the images, or train a model on these.",
                row="pixel_scale",
            )
        cube = torch.as_tensor(images.cube, dtype=torch.float32)
        return self.flux(self.candidates(cube, seed=seed).best)

    def flux(self, x: Tensor | np.ndarray) -> np.ndarray:
        """Flux (N, 4500) in the observed frame of log spectra as the networks know them."""
        x = np.asarray(x.cpu() if isinstance(x, Tensor) else x, float)
        return grid.unpinned(x)[0] if self.pin else np.exp(x)

    @torch.no_grad()
    def candidates(self, images: Tensor, seed: int = 0, batch_size: int = 64) -> Candidates:
        """All candidates of images (N, n_bands, H, H), which are centred here, and the choice among them.

        batch_size : images at a time, each encoded once by each network, whatever the number of samples and steps.
        """
        generator = torch.Generator(self.wave.device).manual_seed(seed)
        how = self.steps | {"generator": generator}
        parts = []
        for batch in tqdm(images.split(batch_size), desc="spectra from images", leave=False):
            seen = centred(batch.to(self.wave.device))
            low = sample(self.low, self.low.encode(seen), self.n_low, **how)
            low_score = self.low_match.scores(seen, low)
            kept = low_score.topk(min(self.n_kept, self.n_low), dim=1).indices
            going_on = low.take_along_dim(kept[:, :, None], dim=1).flatten(0, 1)
            context = self.full.encode(seen).repeat_interleave(kept.shape[1], dim=0)
            full = sample(self.full, context, self.n_full, low=going_on, **how).unflatten(0, kept.shape)
            full_score = self.full_match.scores(seen, full.flatten(1, 2)).view(full.shape[:3])
            parts.append([value.cpu() for value in (low, low_score, kept, full, full_score)])
        return Candidates(*(torch.cat(each) for each in zip(*parts, strict=True)))

    @torch.no_grad()
    def independent(self, images: Tensor, n_samples: int, seed: int = 0) -> Tensor:
        """Samples (N, n_samples, 4500) of images (N, n_bands, H, H), each from a low-resolution one of its own."""
        seen = centred(images)
        how = self.steps | {"generator": torch.Generator(images.device).manual_seed(seed)}
        low = sample(self.low, self.low.encode(seen), n_samples, **how).flatten(0, 1)
        context = self.full.encode(seen).repeat_interleave(n_samples, dim=0)
        return sample(self.full, context, low=low, **how)[:, 0].unflatten(0, (len(images), n_samples))

    def liked(self, images: Tensor, x: np.ndarray) -> np.ndarray:
        """How well log spectra (N, n, 4500) go with images (N, n_bands, H, W): cosines (N, n)."""
        return self.full_match.scores(centred(images), torch.as_tensor(x).to(images)).cpu().numpy()
