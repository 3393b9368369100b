"""What the spectroscopist's tools say of study 3's spectra, observed and predicted alike (Doorenbos+ 2024, Sec. 4)."""

from dataclasses import dataclass, replace

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from paper_utils.base import paths
from paper_utils.base.constants import C_KMS
from paper_utils.base.containers import Spectra
from paper_utils.base.wavelengths import LINES
from paper_utils.diffusion import angstrom_grid as grid
from paper_utils.diffusion.train import Fits
from paper_utils.measure import emission, firefly, indices, ppxf_fit

RATIOS = ("log [N II]/Hα", "log [O III]/Hβ")


@dataclass(frozen=True)
class Derived:
    """Quantities of N spectra, of which the first n are fitted with pPXF too.

    ppxf : (n rows).   ppxf_details : of each, arrays such as "stars" and "gas".
    firefly : (N rows), without errors.   firefly_errors : (n rows), with bootstrap errors.
    stars : (N, L) FIREFLY's light of stars.   indices, lines : (N rows).   classes : (N,) of `emission.classify`.
    """

    ppxf: Table
    ppxf_details: list[dict]
    firefly: Table
    firefly_errors: Table
    stars: NDArray
    indices: Table
    lines: Table
    classes: NDArray


def derive(spectra: Spectra, emiles, s: Fits) -> Derived:
    """Everything of spectra with `lsf_kms`. FIREFLY takes the dispersions of pPXF, their median where it has none.

    Hbeta is that of FIREFLY's stars alone. Indices are corrected for dispersion where pPXF fitted all spectra.
    """
    some = spectra.select(np.arange(min(s.n_galaxies, len(spectra))))
    ppxf, details = _ppxf(some, emiles, s, s.n_draws_ppxf)
    found = np.asarray(ppxf["sigma_star"], float)
    sigma = np.pad(found, (0, len(spectra) - len(some)), constant_values=np.nan)
    sigma = np.where(np.isfinite(sigma), sigma, np.nanmedian(found))
    light, fits = _firefly(spectra, emiles, s, 0, sigma)
    errors, _ = _firefly(some, emiles, s, s.n_draws_firefly, sigma[: len(some)])
    stars = _part(fits, "stars", spectra)
    lines = _lines(spectra, stars)
    index = _indices(spectra, stars, found if len(some) == len(spectra) else None)
    return Derived(ppxf, details, light, errors, stars, index, lines, emission.classify(lines))


def classes_of(spectra: Spectra, emiles, s: Fits, sigma_star: float) -> NDArray:
    """`emission.classify` of the lines over FIREFLY's stars, (N,), all of one dispersion [km/s]."""
    stars = _part(_firefly(spectra, emiles, s, 0, sigma_star)[1], "stars", spectra)
    return emission.classify(_lines(spectra, stars))


def fits_with_ratios(spectra: Spectra, emiles, s: Fits) -> Table:
    """pPXF's fits without errors, and the line ratios `RATIOS` over its stars."""
    table, details = _ppxf(spectra, emiles, s, 0)
    table[RATIOS[0]], table[RATIOS[1]] = emission.ratios(_lines(spectra, _part(details, "stars", spectra)))
    return table


def _ppxf(spectra: Spectra, emiles, s: Fits, n_draws: int) -> tuple[Table, list[dict]]:
    how = {"lsf_kms": spectra.lsf_kms, "config": ppxf_fit.Config(n_draws=n_draws)}
    return ppxf_fit.fit_all(spectra, emiles, **how, n_jobs=s.n_jobs, folder=paths.CACHE / "fits")


def _firefly(spectra: Spectra, emiles, s: Fits, n_draws: int, sigma_star) -> tuple[Table, list[dict]]:
    how = {"sigma_star": sigma_star, "lsf_kms": spectra.lsf_kms, "config": firefly.Config(n_draws=n_draws)}
    return firefly.fit_all(spectra, firefly.from_emiles(emiles), **how, n_jobs=s.n_jobs, folder=paths.CACHE / "fits")


def _part(fits: list[dict], name: str, spectra: Spectra) -> NDArray:
    """One array of each fit (N, L), NaN where it failed."""
    return np.array([fit.get(name, np.full(spectra.wave_obs.size, np.nan)) for fit in fits])


def _lines(spectra: Spectra, stars: NDArray) -> Table:
    return emission.measure(spectra.wave_obs, spectra.flux, spectra.ivar, spectra.z, stars, lsf_kms=spectra.lsf_kms)


def _indices(spectra: Spectra, stars: NDArray, sigma_star: NDArray | None) -> Table:
    wave, how = spectra.wave_obs, {"sigma_star": sigma_star, "lsf_kms": spectra.lsf_kms}
    table = indices.measure(wave, spectra.flux, spectra.ivar, spectra.z, **how)
    known = np.where(np.isfinite(stars), spectra.ivar, 0)
    table["Hbeta"] = indices.measure(wave, np.nan_to_num(stars), known, spectra.z, **how)["Hbeta"]
    return table


def differences(one: Table, other: Table, keys) -> dict[str, NDArray]:
    """Columns of one table minus those of another."""
    return {key: np.asarray(one[key], float) - np.asarray(other[key], float) for key in keys}


def as_objects(spectra: Spectra, samples: NDArray, z: NDArray) -> Spectra:
    """Samples (n, K, L) of n galaxies, z (n, K), as n K objects with the errors of the observed spectra."""
    n, n_each = z.shape
    many = spectra.select(np.repeat(np.arange(n), n_each))
    names = [f"{name} sample {k}" for name in spectra.ids for k in range(n_each)]
    flux = samples.reshape(n * n_each, -1).astype(np.float32)
    return replace(many, flux=flux, z=z.ravel(), ids=names, clean=None, truth=None)


def fitted_light(found: Derived, spectra: Spectra, rows, codes) -> tuple[list[NDArray], NDArray]:
    """For `figures.plot_population_fits`: flux, stars and gas of some rows (n, L), and what each code masks (n, L)."""
    by_ppxf = np.array([code == "pPXF" for code in codes])
    fits = [found.ppxf_details[i] if ppxf else {"stars": found.stars[i]} for i, ppxf in zip(rows, by_ppxf, strict=True)]
    light = [spectra.flux[rows], *(_part(fits, name, spectra) for name in ("stars", "gas"))]
    lines = np.log(grid.WAVE_SHOWN[:, None] / list(LINES.values()))
    near = (np.abs(lines) * C_KMS < firefly.MASK_KMS).any(axis=1)
    return [grid.at_rest(flux, spectra.z[rows]) for flux in light], near & ~by_ppxf[:, None]


def scatter_of_samples(fits: Table, shape: tuple[int, int], single: Table, labels) -> list[dict]:
    """How fits of n x K samples of n galaxies scatter, a row per quantity {column: label}, beside one fit's error."""
    rows = []
    for key, label in labels.items():
        values = np.ma.masked_invalid(np.asarray(fits[key], float).reshape(shape))
        scatter = {"scatter of samples": values.std(axis=1).mean(), "between galaxies": values.mean(axis=1).std()}
        row = {"quantity": label} | {name: float(np.ma.filled(value, np.nan)) for name, value in scatter.items()}
        error = single[f"{key}_err"] if f"{key}_err" in single.colnames else [np.nan]
        rows.append(row | {"error of one fit": float(np.nanmedian(error)) if np.isfinite(error).any() else np.nan})
    return rows
