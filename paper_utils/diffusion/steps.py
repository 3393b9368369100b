"""How many denoising steps study 3's samples need, and what it saves to encode each image once."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from numpy.typing import NDArray
from torch import Tensor

from paper_utils.diffusion.model import Diffusion, sample
from paper_utils.diffusion.samplers import integrate


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


@torch.no_grad()
def encoding_seconds(model: Diffusion, images: Tensor, again: bool, n_steps: int = 10) -> float:
    """Seconds for n_steps of one sample of each of the `centred` images, encoded once, or `again` in every step."""
    noise = torch.randn((len(images), model.n_wave), generator=torch.Generator().manual_seed(0)).to(images.device)
    begin = time.perf_counter()
    once = model.encode(images)
    beside = model.beside(once)

    def clean(x, t):
        return model.clean(x, t, model.encode(images) if again else once, beside)

    integrate(clean, noise, model.alpha, model.sigma, "ddim", n_steps)
    if images.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - begin
