"""What the full-spectrum fits share: spectra made ready in the rest frame, the bootstrap, and fits of many spectra."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from paper_utils.base import fan_out
from paper_utils.base.constants import C_KMS
from paper_utils.base.errors import DataError
from paper_utils.base.rebin import rest_frame
from paper_utils.base.wavelengths import LINES

if TYPE_CHECKING:
    from astropy.table import Table

MIN_PIXELS = 300


@dataclass(frozen=True)
class Config:
    """n_draws : refits with residuals at random signs, for means and errors; 0 for none.   seed : of these."""

    n_draws: int
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Galaxy:
    """A spectrum in the rest frame, even in ln wavelength.

    wave : (P,) vacuum A.   flux : (P,) of median 1, and `scale` that median.   ivar : (P,) of flux * scale, 0 unusable.
    """

    wave: np.ndarray
    flux: np.ndarray
    ivar: np.ndarray
    scale: float

    @property
    def good(self) -> np.ndarray:
        return self.ivar > 0

    def on_grid(self, wave_obs: np.ndarray, z: float, light: np.ndarray) -> np.ndarray:
        """`light` (P,) at `wave_obs` (L,), in the units of the observed spectrum; NaN outside the fitted range."""
        return np.interp(wave_obs, self.wave * (1 + z), light, left=np.nan, right=np.nan)


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


def bootstrap(flux: np.ndarray, first, model: np.ndarray, refit: Callable, answers: Callable, config: Config) -> dict:
    """Means and errors (`*_err`) of what a fit gives, over refits with residuals at random signs (wild bootstrap).

    flux, model : (P,) observed, and of the fit `first`.   refit : a spectrum (P,) to a fit.   answers : a fit to its
        numbers and `weights`. Without draws these are those of `first`, the errors NaN.
    """
    found = [answers(first)]
    if config.n_draws:
        rng, residual = np.random.default_rng(config.seed), flux - model
        signs = (2 * rng.integers(0, 2, residual.size) - 1 for _ in range(config.n_draws))
        found = [answers(refit(model + sign * residual)) for sign in signs]
    numbers, weights = zip(*found, strict=True)
    draws = {name: [n[name] for n in numbers] for name in numbers[0]}
    errors = {f"{k}_err": float(np.std(v, ddof=1)) if config.n_draws > 1 else np.nan for k, v in draws.items()}
    return {k: float(np.mean(v)) for k, v in draws.items()} | errors | {"weights": np.mean(weights, axis=0)}


def fit_all(
    fit: Callable[..., dict], spectra, library, config: Config | None, units: dict, each: dict[str, Sequence], **options
) -> tuple[Table, list[dict]]:
    """`fit(wave_obs, flux, ivar, z, library, config=...)` of all `Spectra`: numbers as a Table, and dicts.

    each : further arguments by name, with a value for each object; but lsf_kms is one for all, or (N, L).
    options : of `fan_out.run`.
    """
    lsf_kms = each["lsf_kms"]
    each = each | {"lsf_kms": lsf_kms if np.ndim(lsf_kms) == 2 else [lsf_kms] * len(spectra)}
    more = [dict(zip(each, values, strict=True)) for values in zip(*each.values(), strict=True)]
    items = list(zip(spectra.flux, spectra.ivar, spectra.z.tolist(), more, strict=True))
    results = fan_out.run(_fit_one, items, spectra.ids, (fit, spectra.wave_obs, library, config), **options)
    return fan_out.table(results, spectra.ids, units), results


def _fit_one(flux, ivar, z, more, fit, wave_obs, library, config) -> dict:
    return fit(wave_obs, flux, ivar, z, library, config=config, **more)
