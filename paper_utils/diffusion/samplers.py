"""The noise schedule of study 3's diffusion, and the ways from noise to samples: as published, and in few steps."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

N_TIMES = 250  # Sec. 3.1
SAMPLERS = ("ancestral", "ddim", "dpm++")


def cosine_schedule() -> Tensor:
    """abar_t (251,) for t = 0 (no noise, 1) to 250 (all noise, about 0), float64.

    abar_t = f(t) / f(0) with f(t) = cos^2((t / T + s) / (1 + s) pi / 2), s = 0.008, as long as beta_t = 1 - abar_t /
    abar_(t-1) stays below 0.999 (Nichol & Dhariwal 2021, eq. 17).
    """
    t = torch.arange(N_TIMES + 1, dtype=torch.float64) / N_TIMES
    f = torch.cos((t + 0.008) / 1.008 * math.pi / 2).square()
    beta = (1 - f[1:] / f[:-1]).clamp(max=0.999)
    return torch.cat([torch.ones(1, dtype=torch.float64), (1 - beta).cumprod(0)])


def steps_of(alpha: Tensor, sigma: Tensor, sampler: str, n_steps: int | None) -> list[int]:
    """The noise levels that a sampler visits, from all noise to 0: about n_steps + 1 of them, or all without n_steps.

    The few are evenly spaced in log(alpha / sigma), the logarithm of the signal-to-noise ratio, from T - 1 on (at T
    itself beta is clipped): spectra vary much in some directions and little in others, and each is decided at its own
    noise level, so that all levels deserve the same care.
    """
    last = len(alpha) - 1
    if sampler == "ancestral" or n_steps is None:
        return list(range(last, -1, -1))
    snr = (alpha[1:last].double() / sigma[1:last].double()).log()
    wanted = torch.linspace(float(snr[-1]), float(snr[0]), n_steps, dtype=torch.float64)
    nearest = (snr - wanted.to(snr)[:, None]).abs().argmin(dim=1) + 1
    return [*sorted(set(nearest.tolist()), reverse=True), 0]


def integrate(
    clean: Callable[[Tensor, int], Tensor],
    x: Tensor,
    alpha: Tensor,
    sigma: Tensor,
    sampler: str = "dpm++",
    n_steps: int | None = 20,
    generator: torch.Generator | None = None,
) -> Tensor:
    """From noise x (N, L) to samples (N, L), given the expectation of x_0, clean(x_t, t), at each of some n_steps.

    sampler : "ancestral", all steps with new noise of variance beta_t in each (Ho+ 2020, algorithm 2; as published);
        "ddim", first order and without new noise (Song+ 2021, arXiv:2010.02502); or "dpm++", DPM-Solver++(2M), second
        order (Lu+ 2022, arXiv:2211.01095, algorithm 2).
    n_steps : None takes every step.
    """
    if sampler not in SAMPLERS:
        raise ValueError(f"sampler is {sampler!r}, not one of {', '.join(SAMPLERS)}")
    times = steps_of(alpha, sigma, sampler, n_steps)
    a, b = alpha.double().tolist(), sigma.double().tolist()
    before, width_before = None, 0.0
    for t, s in zip(times, times[1:], strict=False):
        x_0 = clean(x, t)
        if s == 0:
            x = x_0
        elif sampler == "ancestral":
            keep = (a[t] / a[s]) ** 2  # 1 - beta_t
            x = (a[s] * (1 - keep) * x_0 + keep**0.5 * b[s] ** 2 * x) / b[t] ** 2
            x = x + (1 - keep) ** 0.5 * torch.randn(x.shape, generator=generator, device=x.device)
        elif sampler == "ddim":
            x = a[s] * x_0 + b[s] / b[t] * (x - a[t] * x_0)
        else:
            width = math.log(a[s] / b[s]) - math.log(a[t] / b[t])
            ahead = x_0 if before is None else x_0 + (x_0 - before) * width / (2 * width_before)
            x = b[s] / b[t] * x - a[s] * math.expm1(-width) * ahead
            before, width_before = x_0, width
    return x
