"""The thesis' first project (Cacho 2020, Appendix B), rebuilt small: one network for all parameters of up to four
stellar populations in one spectrum, and a measure of the cross-talk between outputs that ended it.

A galaxy is the weighted sum of one to four templates, each transformed by itself: redshift, radial velocity, velocity
dispersion, extinction and gas emission; with weight, age and metallicity these are 8 parameters of 4 populations, 32
outputs. `draw` makes parameters, `spectra` the data; the network is `dense.MLP(L, 32)`, whose outputs are standardised
(or, as in the thesis, are not: then those in km/s are all of the loss).

Three things that the appendix does not say make the problem ill-posed whatever the network. Redshift and radial
velocity shift a spectrum alike, so only (1 + z)(1 + v/c) can be known. The order of the populations in the output is
arbitrary, so the best answer to "the age of the second" is the mean over all orders: `draw` can sort them by weight.
And a population that is not there has parameters all the same; here they are 0. All populations of a galaxy share its
redshift, as they do in the sky.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from paper_utils.errors import DataError

PARAMETERS = ("redshift", "velocity", "dispersion", "extinction", "gas", "weight", "age", "metals")
RANGES = {"redshift": (0, 1), "velocity": (-500, 500), "dispersion": (50, 300), "extinction": (0, 1.5), "gas": (0, 1)}
N_MAX = 4
C_KMS = 299792.458
# Vacuum wavelengths [Angstrom] and strengths relative to H beta in a star-forming region of about solar abundance:
# [O II], H delta, H gamma, H beta, [O III], H alpha, [N II].
LINES = np.array([3728.5, 4102.9, 4341.7, 4862.7, 4960.3, 5008.2, 6564.6, 6585.3])
STRENGTHS = np.array([3.0, 0.26, 0.47, 1.0, 0.2, 0.6, 2.86, 0.9])
LINE_EW = 20.0  # [Angstrom] of H beta where gas = 1


def draw(
    n: int, ages: ArrayLike, metals: ArrayLike, *, sort: bool = False, seed: int = 0, n_max: int = N_MAX
) -> tuple[NDArray, NDArray]:
    """Parameters (n, n_max, 8) in the order of `PARAMETERS`, and the templates chosen (n, n_max), -1 where none.

    ages [Gyr], metals [M/H] : (K,) of the templates; the parameters hold log10 age / yr. Velocities and dispersions are
    km/s, extinction A_V mag, gas the equivalent width of H beta over 20 A, weights sum to 1. Redshift, velocity and the
    like are uniform in `RANGES` and independent. `sort` puts the heaviest population first.
    """
    ages, metals = np.asarray(ages, float), np.asarray(metals, float)
    rng = np.random.default_rng(seed)
    present = np.arange(n_max) < rng.integers(1, n_max + 1, (n, 1))
    weight = rng.exponential(size=(n, n_max)) * present  # normalised: uniform on the simplex
    weight /= weight.sum(axis=1, keepdims=True)
    if sort:
        weight = -np.sort(-weight, axis=1)
    template = rng.integers(0, len(ages), (n, n_max))
    columns = [rng.uniform(*RANGES[name], (n, n_max)) for name in PARAMETERS[:5]]
    columns[0][:] = columns[0][:, :1]  # one redshift for the galaxy
    columns += [weight, 9 + np.log10(ages[template]), metals[template]]
    parameters = np.where(present[..., None], np.stack(columns, axis=-1), 0.0)
    return parameters, np.where(present, template, -1)


def spectra(
    parameters: NDArray,
    template: NDArray,
    templates: ArrayLike,
    wave_rest: ArrayLike,
    wave_obs: ArrayLike,
    attenuation: ArrayLike,
    snr: float | None = None,
    seed: int = 0,
) -> Tensor:
    """Spectra (N, L_obs), float32, in units of their mean flux, of what `draw` gave.

    templates : (K, L) on wave_rest (L,) [vacuum Angstrom], even in log wavelength, any unit; each is used
        at mean 1.   wave_obs : (L_obs,) [vacuum Angstrom].   attenuation : (L,) A_lambda / A_V at wave_rest.
    snr : mean signal over the noise per pixel; None: no noise.

    Raises DataError where a redshifted template does not cover wave_obs, or wave_rest is uneven.
    """
    log_rest, log_obs = (torch.as_tensor(np.log(np.asarray(w, float))) for w in (wave_rest, wave_obs))
    step = float(log_rest[-1] - log_rest[0]) / (len(log_rest) - 1)
    if np.abs(np.diff(log_rest.numpy()) / step - 1).max() > 1e-3:
        raise DataError("wave_rest is not evenly spaced in log", remedy="Resample the templates.", row="wave_rest")
    p = torch.as_tensor(np.asarray(parameters, float))
    shift = torch.log1p(p[..., 0]) + torch.log1p(p[..., 1] / C_KMS)  # (N, 4)
    if log_obs[0] - shift.max() < log_rest[0] or log_obs[-1] - shift.min() > log_rest[-1]:
        raise DataError(
            f"templates of {wave_rest[0]:.0f}-{wave_rest[-1]:.0f} A do not cover "
            f"{wave_obs[0]:.0f}-{wave_obs[-1]:.0f} A at all redshifts",
            remedy="Give wider templates, or a narrower wave_obs.",
            row="wave_rest",
        )
    light = torch.as_tensor(np.asarray(templates, float))
    light = light / light.mean(dim=1, keepdim=True)
    law = torch.as_tensor(-0.4 * np.log(10) * np.asarray(attenuation, float))
    frequency = torch.fft.rfftfreq(len(log_rest)).double() * 2 * np.pi / (step * C_KMS)  # per km/s
    centre = torch.as_tensor(np.log(LINES))
    out = torch.empty(len(p), len(log_obs))
    for i in range(0, len(p), 64):  # few at a time stay in a processor's cache
        rows = slice(i, i + 64)
        total = torch.zeros(len(p[rows]), len(log_obs), dtype=torch.float64)
        for k in range(p.shape[1]):
            z, _, sigma, a_v, gas, weight, *_ = p[rows, k, :, None].unbind(1)  # each (n, 1)
            spectrum = torch.fft.rfft(light[template[rows, k]]) * torch.exp(-0.5 * (sigma * frequency) ** 2)
            rest = torch.fft.irfft(spectrum, n=len(log_rest))
            # Lines as wide as the stars' motions, in units of the continuum's mean of 1.
            width = (sigma / C_KMS).clamp(min=step)
            height = gas * LINE_EW * torch.as_tensor(STRENGTHS / LINES) / (np.sqrt(2 * np.pi) * width)  # (n, lines)
            profile = torch.exp(-0.5 * ((log_rest - centre[:, None]) / width[..., None]) ** 2)
            rest = (rest + (height[..., None] * profile).sum(dim=1)) * torch.exp(a_v * law)
            position = (log_obs - shift[rows, k, None] - log_rest[0]) / step
            low = position.long().clamp(0, len(log_rest) - 2)
            total += weight * torch.lerp(rest.gather(1, low), rest.gather(1, low + 1), position - low)
        out[rows] = total / total.mean(dim=1, keepdim=True)
    if snr is not None:
        out += torch.randn(out.shape, generator=torch.Generator().manual_seed(seed)) / snr  # the mean flux is 1
    return out


def cross_talk(predicted: ArrayLike, truth: ArrayLike) -> NDArray:
    """How far each predicted parameter follows each true one, (P, P), rows predicted, columns true.

    Coefficients of the regression of predictions (N, P) on all truths (N, P) together, both in units of the truth's
    standard deviation: 1 on the diagonal and 0 elsewhere where every output follows its own parameter only. Columns
    that do not vary give 0.
    Raises DataError for fewer than twice as many objects as parameters.
    """
    predicted, truth = np.asarray(predicted, float), np.asarray(truth, float)
    if len(truth) < 2 * truth.shape[1]:
        raise DataError(
            f"{len(truth)} objects cannot tell {truth.shape[1]} parameters apart", remedy="Give more objects."
        )

    def centred(x):
        return x - x.mean(axis=0)

    scale = truth.std(axis=0)  # predictions in the unit of their own truth: regression to the mean shows as < 1
    scale = np.where(scale > 0, scale, np.inf)
    return np.linalg.lstsq(centred(truth) / scale, centred(predicted) / scale, rcond=1e-8)[0].T
