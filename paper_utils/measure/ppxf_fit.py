"""Stellar populations and kinematics by full-spectrum fitting with pPXF, as Doorenbos+ 2024 (Sec. 4.1) use it.

Stars and gas are fitted together without polynomials, each behind its own Calzetti screen (pPXF's `dust`): a first fit
with regularised weights, then refits of it with its residuals at random signs (wild bootstrap; Davidson & Flachaire
2008) and no regularisation, whose means and scatters are the answer. pPXF: Cappellari 2023 (2023MNRAS.526.3273C).
"""

import contextlib
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from paper_utils.base.constants import C_KMS, FWHM, L_SUN, PC
from paper_utils.base.dust import R_V_STARS
from paper_utils.base.errors import DataError
from paper_utils.base.filters import curves_of
from paper_utils.base.photometry import ab_magnitudes
from paper_utils.base.rebin import rebin
from paper_utils.base.wavelengths import SDSS_STEP, lsf_km_s, sdss_grid
from paper_utils.measure import full_spectrum
from paper_utils.measure.full_spectrum import Config, Galaxy

PAPER, REGUL = Config(n_draws=50), 10.0  # Sec. 4.1
V_BAND = (5070.0, 5950.0)  # A; templates have a mean of 1 here, so that weights are shares of V light
REST_RANGE = (3540.0, 8900.0)  # A: where E-MILES is MILES, at 2.51 A, and all ages have light
MARGIN = 0.02  # ln wavelength by which templates exceed the galaxy: 6000 km/s
Z_BIN = 0.01  # templates are broadened once for redshifts this near to each other
START_SIGMA, BOUNDS = 180.0, [[-2000, 2000], [1, 1000]]  # km/s, of velocity and sigma
# What a fit gives, in this order. `log_age` and `metal` are weighted by V light.
UNITS = {
    "log_age": "dex(Gyr)", "metal": "dex", "ebv": "mag", "ebv_gas": "mag", "sigma_star": "km / s",
    "v_star": "km / s", "log_ml_r": "dex", "log_age_mass": "dex(Gyr)", "metal_mass": "dex",
}  # fmt: skip


def fit(wave_obs: NDArray, flux: NDArray, ivar: NDArray, z: float, emiles, *, lsf_kms=None, config=PAPER) -> dict:
    """Fit one spectrum; a dict of numbers, `UNITS` with `*_err` each, and arrays.

    wave_obs : (L,) vacuum A.   flux, ivar : (L,), ivar = 0 unusable.   z : near the true redshift (300 km/s).
    emiles : `files.templates.EMiles`.   lsf_kms : instrument's Gaussian sigma [km/s], a number or (L,); by default
        that of the SDSS spectrograph. Templates that are coarser than it stay as they are.   config : `Config`.

    v_star is relative to z. ebv = A_V / 4.05 of the stars, ebv_gas of the lines. log_ml_r is the stellar mass-to-light
    ratio in SDSS r in solar units (living stars and remnants; E-MILES' IMF). chi2 per pixel is that of the first fit,
    for the errors as given. Arrays: `weights` (A, M) shares of V light; `stars` and `gas` (L,) the first fit's light in
    the units of flux, NaN outside the fitted range.
    Raises DataError where nothing can be fitted: too few good pixels, no flux, a redshift off the templates.
    """
    lsf = np.broadcast_to(np.asarray(lsf_km_s(wave_obs) if lsf_kms is None else lsf_kms, float), wave_obs.shape)
    usable = np.flatnonzero(ivar > 0)
    span = slice(usable[0], usable[-1] + 1) if usable.size else slice(0, 2)
    galaxy = full_spectrum.prepare(wave_obs[span], flux[span], ivar[span], z, REST_RANGE)
    library = _library(emiles, Z_BIN * np.rint(z / Z_BIN), wave_obs.astype(float).tobytes(), lsf.tobytes())
    first = _run(galaxy, library, galaxy.flux, regul=REGUL)

    def refit(flux):
        return _answers(_run(galaxy, library, flux, start=[list(part) for part in first.sol]), library, emiles)

    row = full_spectrum.bootstrap(_answers(first, library, emiles), galaxy.flux, first.bestfit, refit, config)
    gas = first.gas_bestfit * galaxy.scale
    light = {"stars": first.bestfit * galaxy.scale - gas, "gas": gas}
    row |= {"chi2": float(first.chi2), "n_pixels": int(galaxy.good.sum())}
    return row | {name: galaxy.on_grid(wave_obs, z, part) for name, part in light.items()}


def fit_all(spectra, emiles, *, lsf_kms=None, config: Config = PAPER, **options) -> tuple[Table, list[dict]]:
    """`fit` of every object of `Spectra`: a Table with a row each (`reason` says why one failed), and the dicts.

    lsf_kms : as for `fit`, or (N, L).   options : `n_jobs`, `folder` and `progress` of `fan_out.run`.
    """
    return full_spectrum.fit_all(fit, spectra, emiles, UNITS, lsf_kms, {}, config, label="pPXF", **options)


class _Library(NamedTuple):
    """Templates of stars (n, A M), of mean 1 in V, and of lines (n, G) at `wave` (n,)."""

    wave: NDArray
    stars: NDArray
    gas: NDArray
    forbidden: NDArray  # (G,) whether the line is
    v_light: NDArray  # (A, M) by which the stars were divided


@lru_cache(maxsize=32)
def _library(emiles, z: float, wave_obs: bytes, lsf: bytes) -> _Library:
    from ppxf import ppxf_util

    lo, hi = REST_RANGE[0] * np.exp(-1.1 * MARGIN), REST_RANGE[1] * np.exp(1.1 * MARGIN)
    wave_rest, stars, own = full_spectrum.populations(emiles, lo, hi)
    wave_obs, lsf = np.frombuffer(wave_obs), np.frombuffer(lsf)

    def instrument(wave):  # Gaussian sigma [rest-frame A]
        return np.interp(wave * (1 + z), wave_obs, lsf) / C_KMS * wave

    missing = np.sqrt(np.clip(instrument(wave_rest) ** 2 - own**2, 0, None))
    if missing.any():
        stars = ppxf_util.varsmooth(wave_rest, stars.T, missing).T
    wave = sdss_grid(REST_RANGE[0] * np.exp(-MARGIN), REST_RANGE[1] * np.exp(MARGIN))
    stars, _ = rebin(wave_rest, stars, np.ones(stars.shape), wave)
    v_light = stars[:, (wave > V_BAND[0]) & (wave < V_BAND[1])].mean(axis=1)
    with contextlib.redirect_stdout(None):  # it prints the names
        gas, names, _ = ppxf_util.emission_lines(
            np.log(wave), wave[[0, -1]], lambda w: FWHM * instrument(w), tie_balmer=True, vacuum=True
        )
    forbidden = np.array(["[" in name for name in names])
    return _Library(wave, (stars / v_light[:, None]).T, gas, forbidden, v_light.reshape(emiles.masses.shape))


@lru_cache(maxsize=2)
def _r_light(emiles) -> NDArray:
    """Light of each population in SDSS r, (A, M) L_sun,r per solar mass formed."""
    from ppxf import ppxf_util

    wave, (wave_rest, flux, _) = sdss_grid(5200.0, 7300.0), full_spectrum.populations(emiles, 5000, 7500)
    stars, _ = rebin(wave_rest, flux, np.ones(flux.shape), wave)
    mag = ab_magnitudes(wave, stars * L_SUN / (4 * np.pi * (10 * PC) ** 2), curves_of({"r": "sdss_r0"}))
    return 10 ** (-0.4 * (mag - ppxf_util.mag_sun("SDSS/r"))).reshape(emiles.masses.shape)


def _run(galaxy: Galaxy, library: _Library, flux: NDArray, regul: float = 0.0, start: list | None = None):
    """One pPXF fit; gas has one velocity and dispersion for Balmer lines and one for others, where any line is seen."""
    from ppxf.ppxf import ppxf

    noise = np.where(galaxy.good, 1 / np.sqrt(np.where(galaxy.good, galaxy.ivar, 1)) / galaxy.scale, 1.0)
    # Lines whose light falls outside the spectrum, or on bad pixels alone, cannot be fitted.
    centres = library.wave[library.gas.argmax(axis=0)]
    inside = np.interp(centres, galaxy.wave, np.convolve(galaxy.good, np.ones(9) / 9, "same"), left=0, right=0) > 0.3
    forbidden = library.forbidden[inside]
    component = np.concatenate([np.zeros(library.v_light.size, int), 1 + (forbidden & ~forbidden.all())])
    is_gas, n_kinematic = component > 0, component.max() + 1
    dust = [{"start": [0.1], "bounds": [[0, 6]], "component": ~is_gas}]
    if is_gas.any():
        dust.append({"start": [0.1], "bounds": [[0, 8]], "component": is_gas})
    templates = np.column_stack([library.stars, library.gas[:, inside]])
    start, bounds = start or [[0.0, START_SIGMA]] * n_kinematic, [BOUNDS] * n_kinematic
    if not is_gas.any():  # pPXF takes one component as it is, not in a list
        start, bounds = start[0], bounds[0]
    kinematics = {"moments": [2] * n_kinematic, "bounds": bounds}
    kinds = {"component": component, "gas_component": is_gas if is_gas.any() else None, "dust": dust}
    weights = {"degree": -1, "mdegree": -1, "regul": regul, "reg_dim": library.v_light.shape}
    how = {"lam": galaxy.wave, "lam_temp": library.wave, "mask": galaxy.good, "quiet": True}
    with contextlib.redirect_stdout(None):
        found = ppxf(templates, flux, noise, SDSS_STEP * C_KMS, start, **kinematics, **kinds, **weights, **how)
    if not is_gas.any():
        found.sol, found.gas_bestfit = [found.sol], np.zeros(flux.size)
    return found


def _answers(pp, library: _Library, emiles) -> tuple[dict[str, float], NDArray]:
    """The numbers of one fit, in the order of `UNITS`, and the shares of V light (A, M)."""
    light = pp.weights[: library.v_light.size].reshape(library.v_light.shape)
    if not light.sum() > 0:
        raise DataError("no stars in the best fit", remedy="Look at the spectrum: it may be no galaxy.")
    formed, log_age = light / library.v_light, np.log10(emiles.ages)[:, None]

    def mean(values, weights):
        return float((values * weights).sum() / weights.sum())

    screens, (v_star, sigma_star) = [screen["sol"][0] / R_V_STARS for screen in pp.dust], pp.sol[0]
    return {
        "log_age": mean(log_age, light),
        "metal": mean(emiles.metals, light),
        "ebv": screens[0],
        "ebv_gas": screens[1] if len(screens) > 1 else np.nan,
        "sigma_star": float(sigma_star),
        "v_star": float(v_star),
        "log_ml_r": float(np.log10((formed * emiles.masses).sum() / (formed * _r_light(emiles)).sum())),
        "log_age_mass": mean(log_age, formed),
        "metal_mass": mean(emiles.metals, formed),
    }, light / light.sum()
