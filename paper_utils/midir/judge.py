"""Study 1's judgement of reconstructions: the measures of Tables 3 and 4, and what becomes of them as bands change.

Spectra are F_nu (N, 33) in 5-35 um; a measure with its interval is (value, low, high).
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from paper_utils.base.containers import SedLibrary
from paper_utils.midir.model import GLO, WGAN
from paper_utils.midir.reconstruct import recover_nearest
from paper_utils.midir.train import mid_infrared
from paper_utils.stats import baselines, scores

OURS, RIDGE = "logGLO, per bin", "ridge, fitted anew"
Measure = tuple[float, float, float]


def mean(values: NDArray, seed: int) -> Measure:
    """Mean over galaxies (N,)."""
    return scores.interval(np.mean, values, n_resamples=2000, seed=seed)


def log_flux(flux: NDArray) -> NDArray:
    """log10 F_nu, in which fluxes, which a model of linear flux may make negative, are at least 1e-6."""
    return np.log10(np.clip(flux, 1e-6, None))


def log_error(found: NDArray, truth: NDArray) -> NDArray:
    """Mean squared error (N,) of the log of each galaxy's spectrum."""
    return scores.amse(log_flux(found), np.log10(truth))


def score(found: NDArray, truth: NDArray, seed: int) -> dict[str, float]:
    """The paper's measures of reconstructions, as a row of a table."""
    chi2 = scores.chi2(found, truth)
    row = {"N of 100": int((chi2[:100] < 5).sum())}
    row |= dict(zip(("% with χ²<5", "% low", "% high"), scores.share(chi2 < 5), strict=True))
    row |= {"median χ²": np.median(chi2)}
    row |= dict(zip(("AMSE log", "AMSE low", "AMSE high"), mean(log_error(found, truth), seed), strict=True))
    return row | {"AMSE linear": scores.amse(found, truth).mean()}


@torch.no_grad()
def mean_error(model: WGAN | GLO, latents: Tensor, library: SedLibrary, seed: int) -> Measure:
    """Rms [dex] over 5-35 um of the mean log spectrum of artificial galaxies, of latents (n, n_latent), less that of a
    library's galaxies."""
    mid = mid_infrared(library)
    drawn = model.generator.flux(model.generator(latents)).cpu().double().numpy()[:, mid]
    real = np.log10(library.flux[:, mid]).mean(axis=0)

    def rms(log: NDArray) -> float:
        return ((log.mean(axis=0) - real) ** 2).mean() ** 0.5

    return scores.interval(rms, log_flux(drawn), n_resamples=200, seed=seed)


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
    learned = np.log10(y_fit)[:, use], np.log10(fitting.flux[:, mid]), np.log10(y)[:, use]
    both = {OURS: found, RIDGE: 10 ** baselines.BASELINES["ridge regression"](*learned)}
    return {name: scores.share(scores.chi2(flux, test.flux[:, mid]) < 5) for name, flux in both.items()}
