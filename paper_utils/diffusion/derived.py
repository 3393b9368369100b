"""What the spectroscopist's tools say of study 3's spectra, observed and predicted alike (Doorenbos+ 2024, Sec. 4)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from paper_utils.base import paths
from paper_utils.base.containers import Spectra
from paper_utils.diffusion import angstrom_grid as grid
from paper_utils.diffusion.train import Fits
from paper_utils.measure import emission, firefly, indices, ppxf_fit

LSF = grid.resolution_kms()
NOTHING = np.full(grid.WAVE.size, np.nan)  # in place of a fit that failed


@dataclass(frozen=True)
class Derived:
    """Quantities of N spectra, of which the first n are fitted with pPXF too.

    ppxf : (n rows).   ppxf_details : of each, arrays such as "stars" and "gas".
    firefly : (N rows), without errors.   firefly_errors : (n rows), with bootstrap errors.
    stars : (N, 4500) FIREFLY's light of stars.   indices, lines : (N rows).   classes : (N,) of `emission.classify`.
    """

    ppxf: Table
    ppxf_details: list[dict]
    firefly: Table
    firefly_errors: Table
    stars: NDArray
    indices: Table
    lines: Table
    classes: NDArray


def derive(spectra: Spectra, emiles, s: Fits, *, progress: bool = True) -> Derived:
    """Everything of spectra on `grid.WAVE`. FIREFLY takes the dispersions of pPXF, or their median where it has none.

    Hbeta is that of FIREFLY's stars alone. Indices are corrected for dispersion where pPXF fitted all spectra.
    """
    fan = {"n_jobs": s.n_jobs, "folder": paths.CACHE / "fits", "progress": progress, "lsf_kms": LSF}
    some = spectra.select(np.arange(min(s.n_galaxies, len(spectra))))
    ppxf, details = ppxf_fit.fit_all(some, emiles, config=ppxf_fit.Config(n_draws=s.n_draws_ppxf), **fan)
    found = np.asarray(ppxf["sigma_star"], float)
    sigma = np.full(len(spectra), np.nanmedian(found))
    sigma[: len(some)] = np.where(np.isfinite(found), found, sigma[: len(some)])
    with_errors = {"sigma_star": sigma[: len(some)], "config": firefly.Config(n_draws=s.n_draws_firefly)}
    light, stars = starlight(spectra, emiles, sigma, fan)
    lines = emission.measure(grid.WAVE, spectra.flux, spectra.ivar, spectra.z, stars, lsf_kms=LSF)
    return Derived(
        ppxf, details, light, firefly.fit_all(some, firefly.from_emiles(emiles), **with_errors, **fan)[0], stars,
        _indices(spectra, stars, found if len(some) == len(spectra) else None), lines, emission.classify(lines),
    )  # fmt: skip


def starlight(spectra: Spectra, emiles, sigma_star: NDArray | float, fan: dict) -> tuple[Table, NDArray]:
    """FIREFLY's fits without errors, and its stars (N, 4500)."""
    options = {"sigma_star": sigma_star, "config": firefly.Config(n_draws=0)}
    table, details = firefly.fit_all(spectra, firefly.from_emiles(emiles), **options, **fan)
    return table, np.array([detail.get("stars", NOTHING) for detail in details])


def _indices(spectra: Spectra, stars: NDArray, sigma_star: NDArray | None) -> Table:
    how = {"sigma_star": sigma_star, "lsf_kms": LSF}
    table = indices.measure(grid.WAVE, spectra.flux, spectra.ivar, spectra.z, **how)
    known = np.where(np.isfinite(stars), spectra.ivar, 0)
    table["Hbeta"] = indices.measure(grid.WAVE, np.nan_to_num(stars), known, spectra.z, **how)["Hbeta"]
    return table


def differences(one: Table, other: Table, keys) -> dict[str, NDArray]:
    """Columns of one table minus those of another."""
    return {key: np.asarray(one[key], float) - np.asarray(other[key], float) for key in keys}


def as_objects(spectra: Spectra, samples: NDArray, z: NDArray) -> Spectra:
    """Samples (n, K, 4500) of n galaxies, z (n, K), as n K objects with the errors of the observed spectra."""
    n, n_each = z.shape
    many = spectra.select(np.repeat(np.arange(n), n_each))
    names = np.char.add(np.char.add(many.ids, " sample "), np.tile(np.arange(n_each), n).astype(str))
    return replace(many, flux=samples.reshape(n * n_each, -1).astype(np.float32), z=z.ravel(), ids=names)
