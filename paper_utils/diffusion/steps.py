"""How many denoising steps study 3's samples need, and what it saves to encode each image once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from paper_utils.diffusion.augmentation import centred
from paper_utils.diffusion.model import Diffusion, sample
from paper_utils.diffusion.samplers import integrate
from paper_utils.stats.scores import interval

WAYS = [(name, n) for name in ("ddim", "dpm++") for n in (5, 10, 25)] + [("ddim", None), ("ancestral", None)]
ALL = ("ddim", None)  # every step, from the same noise: what fewer are held against


@dataclass(frozen=True)
class Sampled:
    """error : (N,) mean squared error of single samples of each image.   scatter : of an image's samples [e-folds]."""

    error: NDArray
    seconds: float
    scatter: float


def sampled(
    model: Diffusion, context: Tensor, flux: NDArray, sampler: str, n_steps: int | None, n: int = 2, seed: int = 0
) -> Sampled:
    """n samples of each image, always from the same noise; context (N, T, C), true flux (N, n_wave)."""
    generator = torch.Generator(context.device).manual_seed(seed)
    begin = time.perf_counter()
    drawn = sample(model, context, n, sampler=sampler, n_steps=n_steps, generator=generator)
    if context.is_cuda:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - begin
    error = ((drawn.exp().double().cpu().numpy() - flux[:, None]) ** 2).mean(axis=(1, 2))
    return Sampled(error, seconds, float(drawn.std(dim=1).square().mean().sqrt()))


def table(found: Mapping[tuple[str, int | None], Sampled], n_times: int) -> list[dict]:
    """A row for each (sampler, steps) of `WAYS`: its error and time beside those of `ALL`."""
    reference, rows = found[ALL], []
    for (name, n_steps), one in found.items():
        ratio, low, high = interval(
            lambda a, b: 100 * (a.mean() / b.mean() - 1), one.error, reference.error, level=0.68
        )
        row = {"sampler": name, "steps": n_steps or n_times, "MSE x 1e3": 1e3 * one.error.mean()}
        row |= {"to all steps [%]": ratio, "±": (high - low) / 2, "scatter of samples": one.scatter}
        rows.append(row | {"seconds": one.seconds, "faster": reference.seconds / one.seconds})
    return rows


def curves(rows: list[dict]) -> dict[str, tuple[NDArray, ...]]:
    """For `figures.plot_few_steps`: sampler -> steps, error and seconds, (n,) each."""
    names = ("steps", "MSE x 1e3", "seconds")
    by_sampler = {name: [row for row in rows if row["sampler"] == name] for name in ("ddim", "dpm++", "ancestral")}
    return {
        sampler: tuple(np.array([row[name] for row in sorted(part, key=lambda row: row["steps"])]) for name in names)
        for sampler, part in by_sampler.items()
    }


def fewest(rows: list[dict], within: float = 2.0, speed: float = 8.0) -> dict:
    """The row of the fewest steps with an error within 2 % of all steps' and 8 times as fast, else the nearest one."""
    few = [row for row in rows if row["steps"] <= 25]
    good = [row for row in few if abs(row["to all steps [%]"]) <= within and row["faster"] >= speed]
    return min(good or few, key=lambda row: row["steps"] if good else abs(row["to all steps [%]"]))


@torch.no_grad()
def encoding_seconds(model: Diffusion, images: Tensor, again: bool, n_steps: int = 10) -> float:
    """Seconds for n_steps of one sample of each of the images, encoded once, or `again` in every step."""
    noise = torch.randn((len(images), model.n_wave), generator=torch.Generator().manual_seed(0)).to(images.device)
    images, begin = centred(images), time.perf_counter()
    once = model.encode(images)
    beside = model.beside(once)

    def clean(x, t):
        return model.clean(x, t, model.encode(images) if again else once, beside)

    integrate(clean, noise, model.alpha, model.sigma, "ddim", n_steps)
    if images.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - begin
