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

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from paper_utils.base import dust
from paper_utils.base.constants import C_KMS
from paper_utils.base.errors import DataError
from paper_utils.base.rebin import integrals_on_device
from paper_utils.base.wavelengths import LINES, log_step, pixel_edges
from paper_utils.nets.dense import MLP
from paper_utils.nets.plan import Batch

PARAMETERS = ("redshift", "velocity", "dispersion", "extinction", "gas", "weight", "age", "metals")
RANGES = {"redshift": (0, 1), "velocity": (-500, 500), "dispersion": (50, 300), "extinction": (0, 1.5), "gas": (0, 1)}
N_MAX = 4
# Strengths relative to H beta in a star-forming region of about solar abundance.
STRENGTHS = {
    "OII_3726": 1.3, "OII_3729": 1.7, "Hdelta": 0.26, "Hgamma": 0.47, "Hbeta": 1.0, "OIII_4959": 0.2, "OIII_5007": 0.6,
    "Halpha": 2.86, "NII_6584": 0.9,
}  # fmt: skip
LINE_EW = 20.0  # [Angstrom] of H beta where gas = 1


def draw(
    n: int, ages: ArrayLike, metals: ArrayLike, *, n_max: int = N_MAX, sort: bool = False, seed: int = 0
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
    parameters: NDArray, template: NDArray, templates: NDArray, wave_rest: NDArray, wave_obs: NDArray, snr=None, seed=0
) -> Tensor:
    """Spectra (N, L_obs), float32, in units of their mean flux, of what `draw` gave.

    templates : (K, L) on wave_rest (L,) [vacuum Angstrom], even in log wavelength, any unit; each is used
        at mean 1. Broadening wraps around: leave a margin of 1 % at both ends of wave_rest.
    wave_obs : (L_obs,) [vacuum Angstrom]; values are means over pixels.
    snr : mean signal over the noise per pixel; None: no noise.

    Raises DataError where a redshifted template does not cover wave_obs, or wave_rest is uneven.
    """
    _, step = log_step(wave_rest)
    log_rest, p = torch.as_tensor(np.log(wave_rest)), torch.as_tensor(parameters)
    shift = torch.log1p(p[..., 0]) + torch.log1p(p[..., 1] / C_KMS)  # (N, 4)
    edges = torch.as_tensor(pixel_edges(np.log(wave_obs)))
    if edges[0] - shift.max() < log_rest[0] or edges[-1] - shift.min() > log_rest[-1]:
        problem = f"templates of {wave_rest[0]:.0f}-{wave_rest[-1]:.0f} A do not cover wave_obs at all redshifts"
        raise DataError(problem, remedy="Give wider templates, or a narrower wave_obs.", row="wave_rest")
    width = (step / edges.diff()).float()
    light = torch.as_tensor(templates / templates.mean(axis=1, keepdims=True)).float()
    transform = torch.fft.rfft(light)  # (K, F)
    gas_transform = torch.fft.rfft(torch.as_tensor(_lines(log_rest.numpy(), step)).float())
    law = torch.as_tensor(-0.4 * np.log(10) * dust.opacity(wave_rest * 1e-4)[0]).float()
    frequency = (torch.fft.rfftfreq(len(log_rest)).double() * 2 * np.pi / (step * C_KMS)).float()  # per km/s
    out = torch.empty(len(p), len(wave_obs))
    for i in range(0, len(p), 64):  # few at a time stay in a processor's cache
        rows = slice(i, i + 64)
        total = torch.zeros(len(p[rows]), len(wave_obs))
        for k in range(p.shape[1]):
            _, _, sigma, a_v, gas, weight, *_ = p[rows, k, :, None].float().unbind(1)  # each (n, 1)
            # Stars and gas move alike; a Gaussian in velocity is one in log wavelength.
            both = transform[template[rows, k]] + gas * gas_transform
            rest = torch.fft.irfft(both * torch.exp(-0.5 * (sigma * frequency) ** 2), n=len(log_rest))
            rest *= torch.exp(a_v * law)
            position = (edges - shift[rows, k, None] - log_rest[0]) / step + 0.5
            total += weight * integrals_on_device(rest, position) * width
        out[rows] = total / total.mean(dim=1, keepdim=True)
    if snr is not None:
        out += torch.randn(out.shape, generator=torch.Generator().manual_seed(seed)) / snr  # the mean flux is 1
    return out


def loss(model: MLP, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
    """Squared error of spectra "x" (B, L) and parameters "y" (B, 32), each in the unit of the network's outputs."""
    return {"loss": ((model(batch["x"]) - batch["y"]) / model.outputs.scale).square().mean()}


def _lines(log_rest: NDArray, step: float) -> NDArray:
    """Emission lines (L,) beside a continuum of 1, each shared by the two pixels nearest to it, where gas = 1."""
    wave, strength = np.array([(LINES[name], strength) for name, strength in STRENGTHS.items()]).T
    position = (np.log(wave) - log_rest[0]) / step
    low = np.floor(position).astype(int)
    height = LINE_EW * strength / (wave * step)
    n = len(log_rest)
    return np.bincount(low, height * (1 - position + low), n) + np.bincount(low + 1, height * (position - low), n)


def cross_talk(predicted: ArrayLike, truth: ArrayLike) -> NDArray:
    """How far each predicted parameter follows each true one, (P, P), rows predicted, columns true.

    Coefficients of the regression of predictions (N, P) on all truths (N, P) together, both in units of the truth's
    standard deviation: 1 on the diagonal and 0 elsewhere where every output follows its own parameter only. Columns
    that do not vary give 0.
    Raises DataError for fewer than twice as many objects as parameters.
    """
    predicted, truth = np.asarray(predicted, float), np.asarray(truth, float)
    if len(truth) < 2 * truth.shape[1]:
        problem = f"{len(truth)} objects cannot tell {truth.shape[1]} parameters apart"
        raise DataError(problem, remedy="Give more objects.")
    scale = truth.std(axis=0)
    scale = np.where(scale > 0, scale, np.inf)
    # Of the errors: truths that depend on each other (weights sum to 1) then leave perfect outputs without cross-talk.
    parts = (x - x.mean(axis=0) for x in (truth, predicted - truth))
    error = np.linalg.lstsq(*(x / scale for x in parts), rcond=1e-4)[0].T
    return np.diag((scale < np.inf).astype(float)) + error
