"""Table 3 of Doorenbos+ 2024: what becomes of predicted spectra when networks see fewer pixels or fewer bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from paper_utils.diffusion.augmentation import centred, degraded
from paper_utils.diffusion.model import Diffusion, sample
from paper_utils.diffusion.regression import SpectrumRegressor
from paper_utils.diffusion.train import Search, Settings, train_diffusion, train_regression
from paper_utils.nets.model_file import Model
from paper_utils.nets.plan import Batch
from paper_utils.nets.run import Run
from paper_utils.stats.scores import bootstrap

# name -> pixels along a side, bands (or their mean), published mean squared error x 1000
CASES = {
    "64x64 ugriz": (64, "ugriz", 10.7), "32x32 ugriz": (32, "ugriz", 10.8), "16x16 ugriz": (16, "ugriz", 11.5),
    "8x8 ugriz": (8, "ugriz", 12.4), "4x4 ugriz": (4, "ugriz", 14.3), "2x2 ugriz": (2, "ugriz", 20.0),
    "1x1 ugriz": (1, "ugriz", 24.7), "32x32 gri": (32, "gri", 11.6), "16x16 gri": (16, "gri", 12.2),
    "1x1 mean": (1, "mean", 65.3), "1x1 g": (1, "g", 54.0),
}  # fmt: skip
# Of each pair the first sees more: pixels, bands, a colour.
STEPS = (
    ("64x64 ugriz", "16x16 ugriz"), ("16x16 ugriz", "8x8 ugriz"), ("8x8 ugriz", "4x4 ugriz"),
    ("4x4 ugriz", "2x2 ugriz"), ("2x2 ugriz", "1x1 ugriz"), ("64x64 ugriz", "32x32 gri"), ("1x1 ugriz", "1x1 mean"),
)  # fmt: skip
OPTICAL = (4000.0, 7000.0)  # A in the rest frame, over which the error is the mean


def short(case: str) -> str:
    """The name of a case in claims: "16x16 ugriz" is mse_16, "32x32 gri" gri_32."""
    size, bands, _ = CASES[case]
    return f"{'mse' if bands == 'ugriz' else bands}_{size}"


def seen_as(case: str, images: Tensor, bands: Sequence[str]) -> Tensor:
    """Images (N, b, H, H) with the pixels and bands of a case, of images (N, B, H, H)."""
    size, chosen, _ = CASES[case]
    if chosen == "mean":
        images = images.mean(dim=1, keepdim=True)
    else:
        at = [list(bands).index(band) for band in chosen if band in bands]
        images = images if at == list(range(len(bands))) else images[:, at]
    return images if size == images.shape[-1] else degraded(images, size)


def networks(case: str, data: Batch, bands: Sequence[str], s: Settings, run: Run, whole: Diffusion) -> list[Model]:
    """The networks of one case, a seed each, of low-resolution data = {"images", "x"}.

    whole : the diffusion model of undegraded images, trained already.
    """
    data, found = data | {"images": seen_as(case, data["images"], bands)}, []
    for seed in range(run.seed, run.seed + s.ablation.n_seeds):
        one = replace(run, seed=seed)
        name = f"{s.ablation.network}, {case}" + (f", seed {seed}" if seed > run.seed else "")
        if s.ablation.network == "regression":
            found.append(train_regression(name, data, s, one, s.ablation.n_steps, s.ablation.width))
        elif case == next(iter(CASES)) and seed == run.seed and s.ablation.n_steps == s.low.n_steps:
            found.append(whole)
        else:
            found.append(train_diffusion(name, data, s, replace(s.low, n_steps=s.ablation.n_steps), one))
    return found


@torch.no_grad()
def predicted(found: Sequence[Model], case: str, images: Tensor, bands: Sequence[str], s: Search, seed: int) -> NDArray:
    """Low-resolution spectra (n_seeds, N, 563) that the networks of one case predict for images (N, B, H, H)."""
    seen, parts = seen_as(case, images, bands), []
    for k, model in enumerate(found):
        if isinstance(model, SpectrumRegressor):
            x = model.predict(seen)
        else:
            generator = torch.Generator(images.device).manual_seed(seed + k)
            how = {"sampler": s.sampler, "n_steps": s.n_steps, "generator": generator}
            x = sample(model, model.encode(centred(seen)), **how)[:, 0]
        parts.append(x.exp().cpu().numpy())
    return np.array(parts)


def errors(flux: NDArray, observed: NDArray, wave_rest: NDArray) -> NDArray:
    """Mean squared error x 1000 (n_seeds, N) of flux (n_seeds, N, 563) in `OPTICAL`; observed, wave_rest (N, 563)."""
    inside = (wave_rest > OPTICAL[0]) & (wave_rest < OPTICAL[1])
    return 1e3 * np.where(inside, (flux - observed) ** 2, 0).sum(axis=2) / inside.sum(axis=1)


def seed_scatter(found: Mapping[str, NDArray]) -> float:
    """What other seeds change of a mean error, {case: (n_seeds, N)}, from all cases together; 0 of one seed."""
    variances = [values.mean(axis=1).var(ddof=1) for values in found.values() if len(values) > 1]
    n_seeds = len(next(iter(found.values())))
    return float(np.sqrt(np.mean(variances) / n_seeds)) if variances else 0.0


def mean_error(values: NDArray, scatter: float, n_means: int = 1) -> tuple[float, float, float]:
    """Mean of (n_seeds, N) errors with its 95 % interval: of test galaxies, and of `scatter` between seeds.

    n_means : means that the values are the difference of.
    """
    of_galaxies = values.mean(axis=0)
    mean, ends = float(of_galaxies.mean()), bootstrap(of_galaxies, level=0.95)
    low, high = (np.hypot(end - mean, 1.96 * scatter * n_means**0.5) for end in ends)
    return mean, float(mean - low), float(mean + high)
