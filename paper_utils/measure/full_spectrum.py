"""What the full-spectrum fits share: spectra made ready in the rest frame, the bootstrap, and fits of many spectra."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from paper_utils.base import fan_out
from paper_utils.base.constants import C_KMS, FWHM
from paper_utils.base.errors import DataError
from paper_utils.base.rebin import rest_frame
from paper_utils.base.wavelengths import LINES

MIN_PIXELS = 300


class Config(NamedTuple):
    """n_draws : refits with residuals at random signs, for means and errors; 0 for none.   seed : of these."""

    n_draws: int
    seed: int = 0


class Galaxy(NamedTuple):
    """A spectrum in the rest frame, even in ln wavelength.

    wave : (P,) vacuum A.   flux : (P,) of median 1, and `scale` that median.   ivar : (P,) of flux * scale, 0 unusable.
    """

    wave: NDArray
    flux: NDArray
    ivar: NDArray
    scale: float

    @property
    def good(self) -> NDArray:
        return self.ivar > 0

    def on_grid(self, wave_obs: NDArray, z: float, light: NDArray) -> NDArray:
        """`light` (P,) at `wave_obs` (L,), in the units of the observed spectrum; NaN outside the fitted range."""
        return np.interp(wave_obs, self.wave * (1 + z), light, left=np.nan, right=np.nan)


def populations(emiles, low: float, high: float) -> tuple[NDArray, NDArray, NDArray]:
    """E-MILES between `low` and `high` [A]: wavelengths (L,), spectra (A M, L), and their sigma (L,) [A]."""
    near = (emiles.wave_rest > low) & (emiles.wave_rest < high)
    flux = emiles.templates[..., near].reshape(-1, near.sum()).astype(float)
    return emiles.wave_rest[near], flux, emiles.fwhm[near] / FWHM


def prepare(wave_obs, flux, ivar, z: float, rest_range: tuple[float, float], mask_kms: float = 0.0) -> Galaxy:
    """One spectrum (L,) in `rest_range` [rest A], without what lies nearer to an emission line than `mask_kms`.

    Raises DataError where there are too few good pixels, or no flux.
    """
    wave, rest, weight = rest_frame(wave_obs, flux, ivar, z, *rest_range)
    velocity = np.log(wave[:, None] / np.array(list(LINES.values()))) * C_KMS
    weight = np.where((np.abs(velocity) < mask_kms).any(axis=1), 0.0, weight)
    good = weight > 0
    scale = float(np.median(rest[good])) if good.any() else 0.0
    if good.sum() < MIN_PIXELS or not scale > 0:
        low, high = rest_range
        raise DataError(
            f"{good.sum()} good pixels with a median flux of {scale:.3g} in {low:.0f}-{high:.0f} A of the rest frame",
            remedy=f"At least {MIN_PIXELS} and a positive median are needed: leave this spectrum out.",
            row=f"z = {z:.4f}",
        )
    return Galaxy(wave, rest / scale, weight, scale)


def bootstrap(first: tuple[dict, NDArray], flux: NDArray, model: NDArray, refit: Callable, config: Config) -> dict:
    """Means and errors (`*_err`) of what a fit gives, over refits with residuals at random signs (wild bootstrap).

    first : numbers and `weights` of the fit whose `model` (P,) is that of the observed flux (P,); these are given, with
        errors of NaN, where there are no draws.   refit : a spectrum (P,) to its numbers and weights.
    """
    found = [first]
    if config.n_draws:
        rng, residual = np.random.default_rng(config.seed), flux - model
        signs = (2 * rng.integers(0, 2, residual.size) - 1 for _ in range(config.n_draws))
        found = [refit(model + sign * residual) for sign in signs]
    numbers, weights = zip(*found, strict=True)
    draws = {name: [n[name] for n in numbers] for name in numbers[0]}
    errors = {f"{k}_err": float(np.std(v, ddof=1)) if config.n_draws > 1 else np.nan for k, v in draws.items()}
    return {k: float(np.mean(v)) for k, v in draws.items()} | errors | {"weights": np.mean(weights, axis=0)}


def fit_all(
    fit: Callable, spectra, library, units: dict, lsf_kms, each: dict, config: Config, **options
) -> tuple[Table, list[dict]]:
    """`fit(wave_obs, flux, ivar, z, library, lsf_kms=..., config=...)` of all `Spectra`: numbers as a Table, and dicts.

    lsf_kms : one for all, or (N, L).   each : further arguments by name, (N,) each.   options : of `fan_out.run`.
    """
    each = each | {"lsf_kms": lsf_kms if np.ndim(lsf_kms) == 2 else [lsf_kms] * len(spectra)}
    more = (dict(zip(each, values, strict=True)) for values in zip(*each.values(), strict=True))
    items = list(zip(spectra.flux, spectra.ivar, spectra.z.tolist(), more, strict=True))
    results = fan_out.run(_fit_one, items, spectra.ids, (fit, spectra.wave_obs, library, config), **options)
    return fan_out.table(results, spectra.ids, units), results


def part(fits: list[dict], name: str, spectra) -> NDArray:
    """One array of each fit of `Spectra`, such as its "stars", (N, L); NaN where it failed."""
    return np.array([fit.get(name, np.full(spectra.wave_obs.size, np.nan)) for fit in fits])


def _fit_one(flux, ivar, z, more, fit, wave_obs, library, config) -> dict:
    return fit(wave_obs, flux, ivar, z, library, config=config, **more)
