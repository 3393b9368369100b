"""Stellar populations by the method of FIREFLY: dust by a high-pass filter, populations added one by one under the BIC.

After Wilkinson+ 2015 (2015MNRAS.449..328W) and 2017 (2017MNRAS.472.4297W), as Doorenbos+ 2024 (Sec. 4.1) use it:

1. Populations are fitted to the spectrum with the large scales of both filtered out, where dust has no say.
2. What the large scales of spectrum and that fit differ by is the attenuation; with it on the populations, step 1 is
   repeated twice. Calzetti's law at the E(B-V) nearest to it is reported, the curve itself stays on the populations.
3. Populations are fitted to the unfiltered spectrum. Each fit is a sum of populations in whole multiples of equal
   light; every kept one is tried with each population added, until no addition lowers the Bayesian information
   criterion chi2 + k ln n. Answers are means over all fits tried, weighted by exp(-chi2 / 2).

Emission lines are masked; kinematics are given, not fitted. Written from the papers, not from the public code: the
filter, its repeats, how many fits are kept, and the number of rounds are ours.
"""

from typing import NamedTuple

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

from paper_utils.base.constants import C_KMS
from paper_utils.base.dust import R_V_STARS, attenuation
from paper_utils.base.rebin import broaden, rebin, sample
from paper_utils.base.wavelengths import SDSS_STEP
from paper_utils.measure import full_spectrum
from paper_utils.measure.full_spectrum import Config

PAPER = Config(n_draws=10)  # Sec. 4.1
REST_RANGE = (3700.0, 8900.0)  # vacuum A
NORM = (5200.0, 5800.0)  # A: populations have a mean of 1 here, so that shares are shares of light
FILTER_KMS = 12_000.0  # Gaussian sigma of what counts as a large scale: 200 A at 5000 A; 6000 does not do better
MASK_KMS = 700.0  # to either side of each line
N_KEPT, N_ROUNDS, N_FILTERED = 300, 12, 3
UNITS = {"log_age": "dex(Gyr)", "metal": "dex", "ebv": "mag", "log_age_mass": "dex(Gyr)", "metal_mass": "dex"}


class Populations(NamedTuple):
    """K populations of one age and metallicity each.

    wave_rest : (L,) vacuum A, increasing.   flux : (K, L) per solar mass.   ages : (K,) Gyr.   metals : (K,) [M/H].
    sigma_kms : (L,) their resolution as a Gaussian sigma.
    """

    wave_rest: NDArray
    flux: NDArray
    ages: NDArray
    metals: NDArray
    sigma_kms: NDArray


def from_emiles(emiles) -> Populations:
    """`Populations` of `files.templates.EMiles`, in the range that is fitted."""
    wave, flux, sigma = full_spectrum.populations(emiles, REST_RANGE[0] - 200, REST_RANGE[1] + 200)
    ages, metals = np.meshgrid(emiles.ages, emiles.metals, indexing="ij")
    return Populations(wave, flux, ages.ravel(), metals.ravel(), sigma / wave * C_KMS)


def fit(
    wave_obs: NDArray, flux: NDArray, ivar: NDArray, z: float, populations, *, sigma_star=0.0, lsf_kms=0.0, config=PAPER
) -> dict:
    """Fit one spectrum; a dict of numbers, `UNITS` with `*_err` each, and arrays.

    wave_obs : (L,) vacuum A.   flux, ivar : (L,), ivar = 0 unusable.   z : the redshift, to a pixel.
    sigma_star [km/s], lsf_kms (a number or (L,), km/s) : what broadens the populations.
    log_age and metal are weighted by light, *_mass by mass formed; errors are the scatter of the bootstrap, and the
    values its means. Also chi2 per pixel, n_populations of the best fit, `weights` (K,) shares of light, `stars` (L,)
    in the units of flux, NaN outside the fitted range.
    Raises DataError where there are too few good pixels, or no flux.
    """
    low, high = populations.wave_rest[[0, -1]]
    rest_range = max(REST_RANGE[0], low * 1.01), min(REST_RANGE[1], high / 1.01)
    galaxy = full_spectrum.prepare(wave_obs, flux, ivar, z, rest_range, MASK_KMS)
    wave, rest, weight = galaxy.wave, np.where(galaxy.good, galaxy.flux, 0.0), galaxy.ivar * galaxy.scale**2
    models = _broadened(populations, wave, z, wave_obs, float(sigma_star), lsf_kms)
    light = models[:, (wave > NORM[0]) & (wave < NORM[1])].mean(axis=1)
    models /= light[:, None]
    first = _fit(rest, weight, wave, models)

    def refit(flux):
        return _answers(_fit(flux, weight, wave, models), populations, light)

    row = full_spectrum.bootstrap(_answers(first, populations, light), rest, first["model"], refit, config)
    n_pixels = int(galaxy.good.sum())
    row |= {"chi2": first["chi2"] / n_pixels, "n_pixels": n_pixels, "n_populations": first["n"]}
    return row | {"stars": galaxy.on_grid(wave_obs, z, first["model"] * galaxy.scale)}


def fit_all(
    spectra, populations: Populations, *, sigma_star=0.0, lsf_kms=0.0, config: Config = PAPER, **options
) -> tuple[Table, list[dict]]:
    """`fit` of every object of `Spectra`: a Table with a row each (`reason` says why one failed), and the dicts.

    sigma_star : a number or (N,).   lsf_kms : a number, (L,) or (N, L).   options : `n_jobs`, `folder` and `progress`
        of `fan_out.run`.
    """
    each = {"sigma_star": np.broadcast_to(sigma_star, len(spectra))}
    return full_spectrum.fit_all(fit, spectra, populations, UNITS, lsf_kms, each, config, label="FIREFLY", **options)


def _broadened(populations: Populations, wave: NDArray, z: float, wave_obs: NDArray, sigma_star: float, lsf_kms):
    """The populations (K, P) at `wave` (P,), as wide as the galaxy and its instrument make them."""
    models, _ = rebin(populations.wave_rest, populations.flux, np.ones(populations.flux.shape), wave)
    own = np.interp(wave, populations.wave_rest, populations.sigma_kms)
    instrument = sample(wave_obs, lsf_kms, wave[None] * (1 + z))[0]
    missing = np.sqrt(sigma_star**2 + np.clip(instrument**2 - own**2, 0, None))
    return broaden(models, missing / C_KMS / SDSS_STEP) if missing.any() else models


def _smooth(values: NDArray, good: NDArray) -> NDArray:
    """Large scales of `values` (..., P): Gaussian means over good pixels."""
    sigma = FILTER_KMS / C_KMS / SDSS_STEP
    n = next_fast_len(good.size + int(5 * sigma), real=True)  # zeros behind: the ends do not meet
    gaussian = np.exp(-0.5 * (2 * np.pi * sigma * rfftfreq(n)) ** 2)
    total, seen = (irfft(rfft(a, n) * gaussian, n)[..., : good.size] for a in (np.where(good, values, 0.0), good * 1.0))
    return total / np.maximum(seen, 1e-6)


def _fit(flux: NDArray, weight: NDArray, wave: NDArray, models: NDArray) -> dict:
    """Steps 1 to 3 of the module's docstring for one spectrum (P,) and models (K, P)."""
    good = weight > 0
    large, model_large, curve = _smooth(flux, good), _smooth(models, good), np.ones_like(flux)
    for _ in range(N_FILTERED):
        # The small scales are dimmed as the large ones are: with the curve known better, so are they.
        curved = models * curve
        shares, *_ = _search(flux - large, weight, curved - _smooth(curved, good))
        curve = np.clip(large / (shares @ model_large), 1e-3, None)
    ebv = _reddening(curve, wave, good)
    curved = models * curve
    shares, chi2, amplitude, n = _search(flux, weight, curved)
    return {"shares": shares, "chi2": chi2, "n": n, "ebv": ebv, "model": amplitude * (shares @ curved)}


def _reddening(curve: NDArray, wave: NDArray, good: NDArray) -> float:
    """E(B-V) >= 0 of Calzetti's law nearest to an attenuation `curve` (P,), whose level is free."""
    k = attenuation(wave[good]) * R_V_STARS
    depth = -2.5 * np.log10(curve[good])
    k, depth = k - k.mean(), depth - depth.mean()
    return float(max((k * depth).sum() / (k**2).sum(), 0.0))


def _search(flux, weight, models) -> tuple[NDArray, float, float, int]:
    """Mean shares of light (K,), the least chi2 with its amplitude, and its number of populations.

    Fits are counts (K,) of populations; chi2 of all comes from their products, so that no spectrum is built.
    """
    weighted = models * weight
    products, with_flux, total = weighted @ models.T, weighted @ flux, float((weight * flux**2).sum())
    diagonal = np.diag(products)
    n_pixels, n_models = int((weight > 0).sum()), len(models)
    # Of each fit: its counts, the counts times `products`, and the two sums that chi2 needs.
    counts, dot = np.zeros((1, n_models)), np.zeros((1, n_models))
    square, cross = np.zeros(1), np.zeros(1)
    tried, values, answer = [], [], (np.inf, 0)
    for _ in range(N_ROUNDS):
        # chi2 of every fit with every population added once more (F, K), at its best amplitude.
        squares, crosses = square[:, None] + 2 * dot + diagonal, cross[:, None] + with_flux
        chi2 = total - np.maximum(crosses, 0) ** 2 / squares
        # The same counts are reached in several ways; they have the same chi2.
        _, first = np.unique(np.round(chi2, 9), return_index=True)
        fit, added = np.unravel_index(first[:N_KEPT], chi2.shape)
        counts, dot = counts[fit], dot[fit] + products[added]
        counts[np.arange(len(added)), added] += 1
        square, cross, chi2 = squares[fit, added], crosses[fit, added], chi2[fit, added]
        tried.append(counts)
        values.append(chi2)
        bic = chi2 + (counts > 0).sum(axis=1) * np.log(n_pixels)
        best = int(bic.argmin())
        if bic[best] >= answer[0]:
            break
        answer = (bic[best], int((counts[best] > 0).sum()))
    tried, values = np.concatenate(tried), np.concatenate(values)
    # Residuals of real spectra exceed their errors: the likelihood is that of errors that fit.
    likelihood = np.exp(-0.5 * (values - values.min()) / max(values.min() / n_pixels, 1))
    shares = likelihood @ (tried / tried.sum(axis=1, keepdims=True)) / likelihood.sum()
    level, norm = shares @ with_flux, shares @ products @ shares
    amplitude = max(level, 0) / norm
    return shares, float(total - amplitude * level), float(amplitude), answer[1]


def _answers(found: dict, populations: Populations, light: NDArray) -> tuple[dict[str, float], NDArray]:
    """The numbers of one fit, in the order of `UNITS`, and its shares of light (K,)."""
    shares, log_age = found["shares"], np.log10(populations.ages)
    formed = shares / light
    formed /= formed.sum()
    return {
        "log_age": float(shares @ log_age),
        "metal": float(shares @ populations.metals),
        "ebv": found["ebv"],
        "log_age_mass": float(formed @ log_age),
        "metal_mass": float(formed @ populations.metals),
    }, shares
