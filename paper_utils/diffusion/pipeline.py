"""Study 3 from end to end: from images to the one spectrum that is kept of each.

Doorenbos+ 2024, Sec. 3 and Fig. 3: sample several low-resolution spectra of each image, keep the three that a
contrastive network finds most like the image, bring each to full resolution five times, keep the best by a second one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm.auto import tqdm

from paper_utils.diffusion.augmentation import centred
from paper_utils.diffusion.contrastive import Contrastive
from paper_utils.diffusion.model import Diffusion, sample


def degraded(images: Tensor, size: int) -> Tensor:
    """Images (N, B, H, H) at a resolution of size x size, brought back to H x H (Table 3): means, then bilinear."""
    out = torch.empty_like(images)
    for part, into in zip(images.split(4096), out.split(4096), strict=True):
        small = F.interpolate(part, (size, size), mode="area")
        into.copy_(F.interpolate(small, images.shape[-2:], mode="bilinear", align_corners=False))
    return out


@dataclass(frozen=True)
class Candidates:
    """All that was sampled for N images, flux (not its logarithm) on the CPU, and how it was chosen from.

    low : (N, n_low, 563).   low_score : (N, n_low), the cosine of image and spectrum; the larger the better.
    kept : (N, n_kept), which of `low` went on, the best first.
    full : (N, n_kept, n_full, 4500).   full_score : (N, n_kept, n_full).   Both None without a second model.
    """

    low: Tensor
    low_score: Tensor
    kept: Tensor
    full: Tensor | None = None
    full_score: Tensor | None = None

    @property
    def all_full(self) -> Tensor:
        """(N, n_kept n_full, 4500)."""
        return self.full.flatten(1, 2)

    @property
    def best(self) -> Tensor:
        """The spectrum that is kept: (N, 4500), or without a second model (N, 563)."""
        if self.full is None:
            return _pick(self.low, self.kept[:, :1])[:, 0]
        return _pick(self.all_full, self.full_score.flatten(1).argmax(dim=1, keepdim=True))[:, 0]


def _pick(spectra: Tensor, at: Tensor) -> Tensor:
    """Of spectra (N, n, L) those at indices (N, k): (N, k, L)."""
    return spectra.gather(1, at[:, :, None].expand(-1, -1, spectra.shape[2]))


@torch.no_grad()
def predict(
    images: Tensor,
    low: Diffusion,
    full: Diffusion | None,
    low_match: Contrastive,
    full_match: Contrastive | None,
    *,
    n_low: int = 10,
    n_kept: int = 3,
    n_full: int = 5,
    sampler: str = "dpm++",
    n_steps: int | None = 20,
    seed: int = 0,
    batch_size: int = 64,
    progress: bool = True,
) -> Candidates:
    """Spectra of images (N, n_bands, H, H), which are centred here: all candidates of Sec. 3, and the choice.

    low, full : models of 563 and 4500 elements (`Average.average`), full=None to stop after the first.
    low_match, full_match : the contrastive networks that rank their samples.
    batch_size : images at a time, each encoded once by each network, whatever the number of samples and steps.
    """
    models = [model.eval() for model in (low, full, low_match, full_match) if model is not None]
    device = models[0].alpha.device
    generator = torch.Generator(device).manual_seed(seed)
    options = {"sampler": sampler, "n_steps": n_steps, "generator": generator}
    parts = []
    for batch in tqdm(images.split(batch_size), desc="spectra from images", disable=not progress, leave=False):
        seen = centred(batch.to(device))
        x = sample(low, low.encode(seen), n_low, **options)
        score = _scores(low_match, seen, x)
        kept = score.topk(min(n_kept, n_low), dim=1).indices
        part = [x.exp(), score, kept]
        if full is not None:
            x = _pick(x, kept).flatten(0, 1)
            context = full.encode(seen).repeat_interleave(kept.shape[1], dim=0)
            x = sample(full, context, n_full, low=x, **options).unflatten(0, kept.shape)
            part += [x.exp(), _scores(full_match, seen, x.flatten(1, 2)).view(x.shape[:3])]
        parts.append([value.cpu() for value in part])
    return Candidates(*(torch.cat(each) for each in zip(*parts, strict=True)))


def _scores(match: Contrastive, images: Tensor, x: Tensor) -> Tensor:
    """Cosines (N, n) of images with log spectra x (N, n, L)."""
    spectra = match.embed_spectra(x.flatten(0, 1)).unflatten(0, x.shape[:2])
    return (spectra @ match.embed_images(images)[:, :, None])[..., 0]
