"""Study 1's judgement of reconstructions: the measures of Tables 3 and 4, and what becomes of them as bands change.

Spectra are F_nu (N, 33) in 5-35 um; a measure with its interval is (value, low, high).
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from paper_utils.base.containers import SedLibrary
from paper_utils.midir.model import GLO, Generator
from paper_utils.midir.reconstruct import recover_nearest
from paper_utils.midir.train import PER_BIN, mid_infrared
from paper_utils.stats import baselines, scores

OURS, RIDGE = PER_BIN, "ridge, fitted anew"
# Signal-to-noise ratio, in each of the 20 bands, that a galaxy of median flux has beside the calibration's relative
# error: 10 in GALEX, 30 from u to K, 20 in IRAC, 15 in MIPS, 6 in PACS and 5 in SPIRE (by hand, as in deep fields).
SURVEY_SNR = np.repeat([10.0, 30.0, 20.0, 15.0, 6.0, 5.0], [2, 8, 4, 1, 2, 3])
CALIBRATION = np.repeat([0.05, 0.02, 0.03, 0.04, 0.05, 0.055], [2, 8, 4, 1, 2, 3])
DETECTED = 2.0  # sigma
Measure = tuple[float, float, float]


def mean(values: NDArray, seed: int) -> Measure:
    """Mean of values (N,), or (K, N) of K networks, over galaxies."""
    return scores.over_seeds([scores.interval(np.mean, v, n_resamples=2000, seed=seed) for v in np.atleast_2d(values)])


def share(good: NDArray) -> Measure:
    """Share [%] of true values (N,), or (K, N) of K networks."""
    return scores.over_seeds([scores.share(each) for each in np.atleast_2d(good)])


def share_of(part: NDArray, whole: NDArray) -> Measure:
    """Share of those (K, N) that are `whole` which are `part` too, in networks where there are any; else NaN."""
    shares = [scores.share(some[all_]) for some, all_ in zip(part, whole, strict=True) if all_.any()]
    return scores.over_seeds(np.divide(shares or [scores.share([])], 100))


def log_flux(flux: NDArray) -> NDArray:
    """log10 F_nu, in which fluxes, which a model of linear flux may make negative, are at least 1e-6."""
    return np.log10(np.clip(flux, 1e-6, None))


def log_error(found: NDArray, truth: NDArray) -> NDArray:
    """Mean squared error (N,), or (K, N), of the log of each galaxy's spectrum."""
    return scores.amse(log_flux(found), np.log10(truth))


def score(found: NDArray, truth: NDArray, seed: int) -> dict[str, float]:
    """The paper's measures of reconstructions (N, 33), or (K, N, 33) of K networks, as a row of a table."""
    chi2 = np.atleast_2d(scores.chi2(found, truth))
    row = {"networks": len(chi2), "N of 100": (chi2[:, :100] < 5).sum(1).mean()}
    row |= dict(zip(("% with χ²<5", "% low", "% high"), share(chi2 < 5), strict=True))
    row |= {"median χ²": np.median(chi2)}
    row |= dict(zip(("AMSE log", "AMSE low", "AMSE high"), mean(log_error(found, truth), seed), strict=True))
    return row | {"AMSE linear": scores.amse(found, truth).mean()}


@torch.no_grad()
def mean_error(generator: Generator, latents: Tensor, library: SedLibrary, seed: int) -> Measure:
    """Rms [dex] over 5-35 um of the mean log spectrum of artificial galaxies, of latents (n, n_latent), less that of a
    library's galaxies."""
    mid = mid_infrared(library)
    drawn = generator.flux(generator(latents)).cpu().double().numpy()[:, mid]
    real = np.log10(library.flux[:, mid]).mean(axis=0)

    def rms(log: NDArray) -> float:
        return ((log.mean(axis=0) - real) ** 2).mean() ** 0.5

    return scores.interval(rms, log_flux(drawn), n_resamples=200, seed=seed)


def surveyed(flux: NDArray, typical: NDArray, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    """Photometry F_nu (N, 20) as surveys measure it, and its error: noise of the sky, the same for all galaxies, of the
    flux of a `typical` one (20,) over SURVEY_SNR, and a calibration error."""
    sigma = np.hypot(typical / SURVEY_SNR, CALIBRATION * flux)
    return flux + sigma * rng.standard_normal(flux.shape), sigma


def readable(flux: NDArray, sigma: NDArray | float = 0.0) -> tuple[NDArray, NDArray]:
    """What a method without a notion of errors is given of observed photometry (N, m): its log relative to the mean of
    each galaxy, which is returned too (N, 1). What is not detected counts as its limit."""
    log = np.log10(np.maximum(flux, DETECTED * sigma))
    level = log.mean(axis=1, keepdims=True)
    return log - level, level


def weight_of(flux: NDArray, sigma: NDArray) -> NDArray:
    """What observed photometry (N, m) weighs in log flux: 1 / variance, in units of 0.1 dex; 0 if not detected."""
    return np.where(flux > DETECTED * sigma, (0.1 * np.log(10) * flux / sigma) ** 2, 0.0)


def share_good(
    glo: GLO, fitting: SedLibrary, test: SedLibrary, A: NDArray, seed: int, noise=0.0, use=slice(None), **search
) -> dict[str, Measure]:
    """Share of test galaxies with chi2 < 5 [%], by a GLO as it is and by ridge regression fitted to the conditions.

    A : (m, L) of the bands.   noise : relative, of the photometry.   use : which of the bands there are.
    """
    rng, mid = np.random.default_rng(seed), mid_infrared(test)
    clean = [part.flux @ A.T for part in (fitting, test)]
    y_fit, y = (np.clip(v * rng.normal(1, noise, v.shape), 0.02 * v, None) for v in clean)
    weight = torch.zeros(len(A), device=glo.s.device)
    weight[use] = 1.0
    found = recover_nearest(glo.generator, A, y, glo.s, weight=weight, **search)[0][:, mid]
    (log_fit, level_fit), (log, level) = (readable(v[:, use]) for v in (y_fit, y))
    ridge = baselines.BASELINES["ridge regression"](log_fit, np.log10(fitting.flux[:, mid]) - level_fit, log)
    both = {OURS: found, RIDGE: 10 ** (ridge + level)}
    return {name: scores.share(scores.chi2(flux, test.flux[:, mid]) < 5) for name, flux in both.items()}
