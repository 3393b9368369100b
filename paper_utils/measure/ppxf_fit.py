"""Stellar populations and kinematics by full-spectrum fitting with pPXF, as Doorenbos+ 2024 (Sec. 4.1) use it.

Stars and gas are fitted together without polynomials, each behind its own Calzetti screen (pPXF's `dust`): a first fit
with regularised weights, then refits of it with its residuals at random signs (wild bootstrap; Davidson & Flachaire
2008) and no regularisation, whose means and scatters are the answer. pPXF: Cappellari 2023 (2023MNRAS.526.3273C).
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from paper_utils.base import fan_out
from paper_utils.base.constants import C_KMS, FWHM, L_SUN, PC
from paper_utils.base.dust import R_V_STARS
from paper_utils.base.errors import DataError
from paper_utils.base.filters import curves_of
from paper_utils.base.photometry import ab_magnitudes
from paper_utils.base.rebin import rebin, rest_frame
from paper_utils.base.wavelengths import SDSS_STEP, lsf_km_s, sdss_grid

if TYPE_CHECKING:
    from astropy.table import Table

N_DRAWS, REGUL = 50, 10.0  # Sec. 4.1
V_BAND = (5070.0, 5950.0)  # A; templates have a mean of 1 here, so that weights are shares of V light
REST_RANGE = (3540.0, 8900.0)  # A: where E-MILES is MILES, at 2.51 A, and all ages have light
MARGIN = 0.02  # ln wavelength by which templates exceed the galaxy: 6000 km/s
Z_BIN = 0.01  # templates are broadened once for redshifts this near to each other
MIN_PIXELS = 300
START_SIGMA, SIGMA_MAX = 180.0, 1000.0  # km/s
# What a fit gives. `log_age` and `metal` are weighted by V light.
UNITS = {
    "log_age": "dex(Gyr)", "metal": "dex", "ebv": "mag", "ebv_gas": "mag", "sigma_star": "km / s",
    "v_star": "km / s", "log_ml_r": "dex", "log_age_mass": "dex(Gyr)", "metal_mass": "dex",
}  # fmt: skip


@dataclass(frozen=True)
class Config:
    """How to fit; the defaults are the paper's.

    n_draws : refits for errors and means; 0 gives the regularised fit alone, without errors.
    regul : pPXF's regularisation of the first fit.   rest_range : vacuum A, rest frame.   seed : of the bootstrap.
    """

    n_draws: int = N_DRAWS
    regul: float = REGUL
    rest_range: tuple[float, float] = REST_RANGE
    seed: int = 0


def fit(wave_obs, flux, ivar, z: float, emiles, *, lsf_kms=None, config: Config | None = None) -> dict:
    """Fit one spectrum; a dict of numbers, `UNITS` with `*_err` each, and arrays.

    wave_obs : (L,) vacuum A.   flux, ivar : (L,), ivar = 0 unusable.   z : near the true redshift (300 km/s).
    emiles : `files.templates.EMiles`.   lsf_kms : instrument's Gaussian sigma [km/s], a number or (L,); by default
        that of the SDSS spectrograph. Templates that are coarser than it stay as they are.

    v_star is relative to z. ebv = A_V / 4.05 of the stars, ebv_gas of the lines. log_ml_r is the stellar mass-to-light
    ratio in SDSS r in solar units (living stars and remnants; E-MILES' IMF). chi2 per pixel is that of the first fit,
    for the errors as given. Arrays: `weights` (A, M) shares of V light; `stars` and `gas` (L,) the first fit's light in
    the units of flux, NaN outside the fitted range.
    Raises DataError where nothing can be fitted: too few good pixels, no flux, a redshift off the templates.
    """
    config = config or Config()
    lsf = np.broadcast_to(lsf_km_s(wave_obs) if lsf_kms is None else np.asarray(lsf_kms, float), np.shape(wave_obs))
    galaxy = _prepare(wave_obs, flux, ivar, z, config.rest_range)
    z_bin = Z_BIN * np.rint(z / Z_BIN)
    library = _library(emiles, z_bin, config.rest_range, np.asarray(wave_obs, float).tobytes(), lsf.tobytes())
    first = _run(galaxy, library, galaxy.flux, regul=config.regul)
    answers = [_answers(first, library)]
    weights = [first.weights[: library.n_stars]]
    if config.n_draws:
        rng = np.random.default_rng(config.seed)
        residual = galaxy.flux - first.bestfit
        start = first.sol
        answers, weights = [], []
        for _ in range(config.n_draws):
            signs = 2 * rng.integers(0, 2, residual.size) - 1
            again = _run(galaxy, library, first.bestfit + signs * residual, start=start)
            answers.append(_answers(again, library))
            weights.append(again.weights[: library.n_stars])
    row = {name: float(np.mean([a[name] for a in answers])) for name in UNITS}
    for name in UNITS:
        spread = float(np.std([a[name] for a in answers], ddof=1)) if config.n_draws > 1 else np.nan
        row[f"{name}_err"] = spread
    total = np.mean([w / w.sum() for w in weights], axis=0)
    gas = first.gas_bestfit * galaxy.scale
    stars = first.bestfit * galaxy.scale - gas
    on_grid = {
        name: np.interp(wave_obs, galaxy.wave * (1 + z), values, left=np.nan, right=np.nan)
        for name, values in (("stars", stars), ("gas", gas))
    }
    return row | {"chi2": float(first.chi2), "n_pixels": int(galaxy.good.sum())} | {
        "weights": total.reshape(library.shape)
    } | on_grid  # fmt: skip


def fit_all(
    spectra, emiles, *, lsf_kms=None, config: Config | None = None, n_jobs: int = 1, folder=None, progress: bool = True
) -> tuple[Table, list[dict]]:
    """`fit` of every object of `data.Spectra`: a Table with a row each (`reason` tells why one failed), and the dicts.

    lsf_kms : as for `fit`, or (N, L).   n_jobs processes share the work, `folder` keeps what is done (`fan_out.run`).
    """
    lsf = lsf_kms if np.ndim(lsf_kms) == 2 else [lsf_kms] * len(spectra)
    items = list(zip(spectra.flux, spectra.ivar, spectra.z, lsf, strict=True))
    shared = (spectra.wave_obs, emiles, config)
    options = dict(n_jobs=n_jobs, folder=folder, progress=progress, label="pPXF")
    results = fan_out.run(_fit_one, items, spectra.ids, shared, **options)
    return fan_out.table(results, spectra.ids, UNITS), results


def _fit_one(flux, ivar, z, lsf_kms, wave_obs, emiles, config) -> dict:
    return fit(wave_obs, flux, ivar, float(z), emiles, lsf_kms=lsf_kms, config=config)


@dataclass(frozen=True)
class _Galaxy:
    """A spectrum in the rest frame, even in ln wavelength, of median 1."""

    wave: np.ndarray  # (P,) vacuum A
    flux: np.ndarray
    noise: np.ndarray
    good: np.ndarray
    scale: float


@dataclass(frozen=True, eq=False)
class _Library:
    """Templates (n, A M) of mean 1 in V and lines (n, G), and the tables that turn weights into answers."""

    wave: np.ndarray
    stars: np.ndarray
    gas: np.ndarray
    names: list[str]
    shape: tuple[int, int]
    ages: np.ndarray  # (A, M) log Gyr
    metals: np.ndarray
    v_light: np.ndarray  # (A, M) by which the templates were divided
    mass: np.ndarray  # in stars and remnants per mass formed
    r_light: np.ndarray  # L_sun,r per mass formed

    @property
    def n_stars(self) -> int:
        return self.stars.shape[1]


def _prepare(wave_obs, flux, ivar, z, rest_range) -> _Galaxy:
    usable = np.flatnonzero(np.asarray(ivar) > 0)
    span = slice(usable[0], usable[-1] + 1) if usable.size else slice(0, 2)
    wave, rest, weight = rest_frame(wave_obs[span], flux[span], ivar[span], z, *rest_range)
    if wave.size < MIN_PIXELS:
        raise DataError(
            f"{wave.size} pixels in {rest_range[0]:.0f}-{rest_range[1]:.0f} A of the rest frame, where {MIN_PIXELS} "
            "are needed",
            remedy="Give spectra of the rest-frame optical, or leave this one out.",
        )
    good = weight > 0
    scale = np.median(rest[good]) if good.any() else 0.0
    if good.sum() < MIN_PIXELS or not scale > 0:
        raise DataError(
            f"{good.sum()} good pixels with a median flux of {scale:.3g}",
            remedy=f"At least {MIN_PIXELS} and a positive median are needed: leave this spectrum out.",
        )
    sigma = np.where(good, 1 / np.sqrt(np.where(good, weight, 1)), 1.0)
    return _Galaxy(wave, rest / scale, np.where(good, sigma / scale, 1.0), good, float(scale))


@lru_cache(maxsize=32)
def _library(emiles, z: float, rest_range, wave_obs: bytes, lsf: bytes) -> _Library:
    from ppxf import ppxf_util

    lo, hi = rest_range[0] * np.exp(-1.1 * MARGIN), rest_range[1] * np.exp(1.1 * MARGIN)
    near = (emiles.wave_rest > lo) & (emiles.wave_rest < hi)
    wave_rest, spectra = emiles.wave_rest[near], emiles.templates[..., near].astype(float)
    wave_obs, lsf = np.frombuffer(wave_obs), np.frombuffer(lsf)

    def instrument(wave):  # Gaussian sigma [rest-frame A]
        return np.interp(wave * (1 + z), wave_obs, lsf) / C_KMS * wave

    own = emiles.fwhm[near] / FWHM
    missing = np.sqrt(np.clip(instrument(wave_rest) ** 2 - own**2, 0, None))
    flat = spectra.reshape(-1, near.sum())
    if missing.any():
        flat = ppxf_util.varsmooth(wave_rest, flat.T, missing).T
    wave = sdss_grid(rest_range[0] * np.exp(-MARGIN), rest_range[1] * np.exp(MARGIN))
    stars, _ = rebin(wave_rest, flat, np.ones(flat.shape), wave)
    v_light = stars[:, (wave > V_BAND[0]) & (wave < V_BAND[1])].mean(axis=1)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints the names
        gas, names, _ = ppxf_util.emission_lines(
            np.log(wave),
            np.array([wave[0], wave[-1]]),
            lambda w: FWHM * instrument(w),
            tie_balmer=True,
            vacuum=True,
        )
    ages, metals = np.meshgrid(np.log10(emiles.ages), emiles.metals, indexing="ij")
    return _Library(
        wave=wave,
        stars=(stars / v_light[:, None]).T,
        gas=gas,
        names=list(names),
        shape=ages.shape,
        ages=ages,
        metals=metals,
        v_light=v_light.reshape(ages.shape),
        mass=emiles.masses,
        r_light=_r_light(emiles),
    )


@lru_cache(maxsize=2)
def _r_light(emiles) -> np.ndarray:
    """Light of each population in SDSS r, (A, M) L_sun,r per solar mass formed."""
    from ppxf import ppxf_util

    near = (emiles.wave_rest > 5000) & (emiles.wave_rest < 7500)
    wave, flux = sdss_grid(5200.0, 7300.0), emiles.templates[..., near].reshape(-1, near.sum())
    stars, _ = rebin(emiles.wave_rest[near], flux, np.ones(flux.shape), wave)
    mag = ab_magnitudes(wave, stars * L_SUN / (4 * np.pi * (10 * PC) ** 2), curves_of({"r": "sdss_r0"}))
    return 10 ** (-0.4 * (mag - ppxf_util.mag_sun("SDSS/r"))).reshape(emiles.masses.shape)


def _run(galaxy: _Galaxy, library: _Library, flux: np.ndarray, regul: float = 0.0, start=None):
    """One pPXF fit; the gas has one velocity and dispersion for Balmer lines and one for the others."""
    from ppxf.ppxf import ppxf

    # Lines whose light falls outside the spectrum, or on bad pixels alone, cannot be fitted.
    centres = library.wave[library.gas.argmax(axis=0)]
    inside = np.interp(centres, galaxy.wave, np.convolve(galaxy.good, np.ones(9) / 9, "same"), left=0, right=0) > 0.3
    forbidden = np.array(["[" in name for name in library.names])[inside]
    n_stars, n_gas = library.n_stars, int(inside.sum())
    kinds = np.where(forbidden, 2, 1) if forbidden.any() and not forbidden.all() else np.ones(n_gas, int)
    component = np.concatenate([np.zeros(n_stars, int), kinds])
    n_kinematic = component.max() + 1
    bounds = [[-2000, 2000], [1, SIGMA_MAX]]
    dust = [{"start": [0.1], "bounds": [[0, 6]], "component": component == 0}]
    if n_gas:
        dust.append({"start": [0.1], "bounds": [[0, 8]], "component": component > 0})
    with contextlib.redirect_stdout(io.StringIO()):
        return ppxf(
            np.column_stack([library.stars, library.gas[:, inside]]),
            flux,
            galaxy.noise,
            SDSS_STEP * C_KMS,
            [[0.0, START_SIGMA]] * n_kinematic if start is None else [list(s) for s in start],
            bounds=[bounds] * n_kinematic,
            moments=[2] * n_kinematic,
            degree=-1,
            mdegree=-1,
            component=component,
            gas_component=component > 0,
            dust=dust,
            regul=regul,
            reg_dim=library.shape,
            lam=galaxy.wave,
            lam_temp=library.wave,
            mask=galaxy.good,
            quiet=True,
        )


def _answers(pp, library: _Library) -> dict[str, float]:
    light = pp.weights[: library.n_stars].reshape(library.shape)
    formed = light / library.v_light
    total = light.sum()
    if not total > 0:
        raise DataError("no stars in the best fit", remedy="Look at the spectrum: it may be no galaxy.")

    def mean(values, weights):
        return float((values * weights).sum() / weights.sum())

    dust = [d["sol"][0] for d in pp.dust]
    return {
        "log_age": mean(library.ages, light),
        "metal": mean(library.metals, light),
        "log_age_mass": mean(library.ages, formed),
        "metal_mass": mean(library.metals, formed),
        "ebv": dust[0] / R_V_STARS,
        "ebv_gas": dust[1] / R_V_STARS if len(dust) > 1 else np.nan,
        "v_star": float(pp.sol[0][0]),
        "sigma_star": float(pp.sol[0][1]),
        "log_ml_r": float(np.log10((formed * library.mass).sum() / (formed * library.r_light).sum())),
    }
