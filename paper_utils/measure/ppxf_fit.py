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

from paper_utils.base.constants import C_KMS, FWHM, L_SUN, PC
from paper_utils.base.dust import R_V_STARS
from paper_utils.base.errors import DataError
from paper_utils.base.filters import curves_of
from paper_utils.base.photometry import ab_magnitudes
from paper_utils.base.rebin import rebin
from paper_utils.base.wavelengths import SDSS_STEP, lsf_km_s, sdss_grid
from paper_utils.measure import full_spectrum
from paper_utils.measure.full_spectrum import Config, Galaxy

if TYPE_CHECKING:
    from astropy.table import Table

N_DRAWS, REGUL = 50, 10.0  # Sec. 4.1
V_BAND = (5070.0, 5950.0)  # A; templates have a mean of 1 here, so that weights are shares of V light
REST_RANGE = (3540.0, 8900.0)  # A: where E-MILES is MILES, at 2.51 A, and all ages have light
MARGIN = 0.02  # ln wavelength by which templates exceed the galaxy: 6000 km/s
Z_BIN = 0.01  # templates are broadened once for redshifts this near to each other
START_SIGMA, SIGMA_MAX = 180.0, 1000.0  # km/s
# What a fit gives, in this order. `log_age` and `metal` are weighted by V light.
UNITS = {
    "log_age": "dex(Gyr)", "metal": "dex", "ebv": "mag", "ebv_gas": "mag", "sigma_star": "km / s",
    "v_star": "km / s", "log_ml_r": "dex", "log_age_mass": "dex(Gyr)", "metal_mass": "dex",
}  # fmt: skip


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
    wave_obs, flux, ivar = np.asarray(wave_obs, float), np.asarray(flux), np.asarray(ivar)
    lsf = np.broadcast_to(lsf_km_s(wave_obs) if lsf_kms is None else np.asarray(lsf_kms, float), wave_obs.shape)
    usable = np.flatnonzero(ivar > 0)
    span = slice(usable[0], usable[-1] + 1) if usable.size else slice(0, 2)
    galaxy = full_spectrum.prepare(wave_obs[span], flux[span], ivar[span], z, REST_RANGE)
    library = _library(emiles, Z_BIN * np.rint(z / Z_BIN), wave_obs.tobytes(), lsf.tobytes())
    first = _run(galaxy, library, galaxy.flux, regul=REGUL)
    row = full_spectrum.bootstrap(
        galaxy.flux,
        first,
        first.bestfit,
        lambda flux: _run(galaxy, library, flux, start=first.sol),
        lambda found: _answers(found, library),
        config or Config(N_DRAWS),
    )
    gas = first.gas_bestfit * galaxy.scale
    on_grid = {
        "stars": galaxy.on_grid(wave_obs, z, first.bestfit * galaxy.scale - gas),
        "gas": galaxy.on_grid(wave_obs, z, gas),
    }
    return row | {"chi2": float(first.chi2), "n_pixels": int(galaxy.good.sum())} | on_grid


def fit_all(spectra, emiles, *, lsf_kms=None, config: Config | None = None, **options) -> tuple[Table, list[dict]]:
    """`fit` of every object of `Spectra`: a Table with a row each (`reason` says why one failed), and the dicts.

    lsf_kms : as for `fit`, or (N, L).   options : `n_jobs`, `folder` and `progress` of `fan_out.run`.
    """
    each = {"lsf_kms": lsf_kms}
    return full_spectrum.fit_all(fit, spectra, emiles, config, UNITS, each, label="pPXF", **options)


@dataclass(frozen=True, eq=False)
class _Library:
    """Templates (n, A M) of mean 1 in V and lines (n, G), and the tables that turn weights into answers."""

    wave: np.ndarray
    stars: np.ndarray
    gas: np.ndarray
    names: list[str]
    ages: np.ndarray  # (A, M) log Gyr
    metals: np.ndarray
    v_light: np.ndarray  # (A, M) by which the templates were divided
    mass: np.ndarray  # in stars and remnants per mass formed
    r_light: np.ndarray  # L_sun,r per mass formed

    @property
    def n_stars(self) -> int:
        return self.stars.shape[1]


@lru_cache(maxsize=32)
def _library(emiles, z: float, wave_obs: bytes, lsf: bytes) -> _Library:
    from ppxf import ppxf_util

    lo, hi = REST_RANGE[0] * np.exp(-1.1 * MARGIN), REST_RANGE[1] * np.exp(1.1 * MARGIN)
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
    wave = sdss_grid(REST_RANGE[0] * np.exp(-MARGIN), REST_RANGE[1] * np.exp(MARGIN))
    stars, _ = rebin(wave_rest, flat, np.ones(flat.shape), wave)
    v_light = stars[:, (wave > V_BAND[0]) & (wave < V_BAND[1])].mean(axis=1)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints the names
        gas, names, _ = ppxf_util.emission_lines(
            np.log(wave), wave[[0, -1]], lambda w: FWHM * instrument(w), tie_balmer=True, vacuum=True
        )
    ages, metals = np.meshgrid(np.log10(emiles.ages), emiles.metals, indexing="ij")
    return _Library(
        wave=wave,
        stars=(stars / v_light[:, None]).T,
        gas=gas,
        names=list(names),
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


def _run(galaxy: Galaxy, library: _Library, flux: np.ndarray, regul: float = 0.0, start=None):
    """One pPXF fit; the gas has one velocity and dispersion for Balmer lines and one for the others."""
    from ppxf.ppxf import ppxf

    noise = np.where(galaxy.good, 1 / np.sqrt(np.where(galaxy.good, galaxy.ivar, 1)) / galaxy.scale, 1.0)
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
            noise,
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
            reg_dim=library.ages.shape,
            lam=galaxy.wave,
            lam_temp=library.wave,
            mask=galaxy.good,
            quiet=True,
        )


def _answers(pp, library: _Library) -> tuple[dict[str, float], np.ndarray]:
    """The numbers of one fit, in the order of `UNITS`, and the shares of V light (A, M)."""
    light = pp.weights[: library.n_stars].reshape(library.ages.shape)
    if not light.sum() > 0:
        raise DataError("no stars in the best fit", remedy="Look at the spectrum: it may be no galaxy.")
    formed = light / library.v_light

    def mean(values, weights):
        return float((values * weights).sum() / weights.sum())

    dust = [d["sol"][0] / R_V_STARS for d in pp.dust]
    return {
        "log_age": mean(library.ages, light),
        "metal": mean(library.metals, light),
        "ebv": dust[0],
        "ebv_gas": dust[1] if len(dust) > 1 else np.nan,
        "sigma_star": float(pp.sol[0][1]),
        "v_star": float(pp.sol[0][0]),
        "log_ml_r": float(np.log10((formed * library.mass).sum() / (formed * library.r_light).sum())),
        "log_age_mass": mean(library.ages, formed),
        "metal_mass": mean(library.metals, formed),
    }, light / light.sum()
