"""What becomes of predicted spectra with less: fewer pixels or bands (Table 3 of Doorenbos+ 2024), fewer steps.

And what it saves to encode each image once.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from paper_utils.diffusion.augmentation import centred, degraded
from paper_utils.diffusion.model import Diffusion, PlainCNN, sample
from paper_utils.diffusion.samplers import integrate
from paper_utils.diffusion.train import Search, Settings, train_diffusion, train_regression
from paper_utils.nets.model_file import Model
from paper_utils.nets.plan import Batch
from paper_utils.nets.run import Run
from paper_utils.stats.scores import bootstrap, interval

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
# Samplers and numbers of steps; None is every step.
WAYS = [("ddim", 5), ("ddim", 10), ("ddim", 25), ("ddim", None), ("dpm++", 5), ("dpm++", 10), ("dpm++", 25),
        ("ancestral", None)]  # fmt: skip
ALL = ("ddim", None)  # every step, from the same noise: what fewer are held against


def short(case: str) -> str:
    """The name of a case in claims: "16x16 ugriz" is mse_16, "32x32 gri" gri_32."""
    size, bands, _ = CASES[case]
    return f"{'mse' if bands == 'ugriz' else bands}_{size}"


def seen_as(case: str, images: Tensor, bands: Sequence[str]) -> Tensor:
    """Images (N, b, H, H) with the pixels and bands of a case, of images (N, B, H, H)."""
    size, chosen, _ = CASES[case]
    if chosen == "mean":
        images = images.mean(dim=1, keepdim=True)
    elif (at := [list(bands).index(band) for band in chosen if band in bands]) != list(range(len(bands))):
        images = images[:, at]
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
        if isinstance(model, PlainCNN):
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
    means = np.array([values.mean(axis=1) for values in found.values()])  # (n_cases, n_seeds)
    n_seeds = means.shape[1]
    return float(np.sqrt(means.var(axis=1, ddof=1).mean() / n_seeds)) if n_seeds > 1 else 0.0


def mean_error(values: NDArray, scatter: float, n_means: int = 1) -> tuple[float, float, float]:
    """Mean of (n_seeds, N) errors with its 95 % interval: of test galaxies, and of `scatter` between seeds.

    n_means : means that the values are the difference of.
    """
    of_galaxies = values.mean(axis=0)
    mean, ends = float(of_galaxies.mean()), bootstrap(of_galaxies, level=0.95)
    low, high = (np.hypot(end - mean, 1.96 * scatter * n_means**0.5) for end in ends)
    return mean, float(mean - low), float(mean + high)


def sampled(
    model: Diffusion, context: Tensor, flux: NDArray, sampler: str, n_steps: int | None, seed: int
) -> tuple[NDArray, float, float]:
    """Two samples of each image, always from the same noise; context (N, T, C), true flux (N, n_wave).

    Mean squared error of single samples of each image (N,), scatter of an image's samples [e-folds], and seconds.
    """
    generator, begin = torch.Generator(context.device).manual_seed(seed), time.perf_counter()
    drawn = sample(model, context, 2, sampler=sampler, n_steps=n_steps, generator=generator).cpu()
    seconds = time.perf_counter() - begin
    error = ((drawn.exp().double().numpy() - flux[:, None]) ** 2).mean(axis=(1, 2))
    return error, float(drawn.std(dim=1).square().mean().sqrt()), seconds


def steps_table(found: Mapping[tuple[str, int | None], tuple[NDArray, float, float]], n_times: int) -> list[dict]:
    """A row for each (sampler, steps) of `WAYS`, of what `sampled` found: error and time beside those of `ALL`."""
    (reference, _, longest), rows = found[ALL], []
    for (name, n_steps), (error, scatter, seconds) in found.items():
        ratio, low, high = interval(lambda a, b: 100 * (a.mean() / b.mean() - 1), error, reference)
        row = {"sampler": name, "steps": n_steps or n_times, "MSE x 1e3": 1e3 * error.mean()}
        row |= {"to all steps [%]": ratio, "±": (high - low) / 2, "scatter of samples": scatter}
        rows.append(row | {"seconds": seconds, "faster": longest / seconds})
    return rows


def fewest_steps(rows: list[dict]) -> dict:
    """The row of the fewest steps with an error within 2 % of all steps' and 8 times as fast, else the nearest one."""
    few = [row for row in rows if row["steps"] <= 25]
    good = [row for row in few if abs(row["to all steps [%]"]) <= 2 and row["faster"] >= 8]
    return min(good or few, key=lambda row: row["steps"] if good else abs(row["to all steps [%]"]))


@torch.no_grad()
def encoding_time(model: Diffusion, images: Tensor, again: bool) -> float:
    """Seconds for ten steps of one sample of each of the images, encoded once, or `again` in every step."""
    noise = torch.randn((len(images), model.n_wave), generator=torch.Generator().manual_seed(0)).to(images.device)
    images, begin = centred(images), time.perf_counter()
    once = model.encode(images)
    beside = model.beside(once)

    def clean(x, t):
        return model.clean(x, t, model.encode(images) if again else once, beside)

    integrate(clean, noise, model.alpha, model.sigma, "ddim", 10).cpu()  # waits for the device
    return time.perf_counter() - begin
