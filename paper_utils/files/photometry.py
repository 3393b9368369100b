"""A user's table of fluxes or magnitudes as `Photometry`, by a YAML mapping of its columns.

data/README.md describes the file; `redshift` and `bands` are needed, and a `unit` for all bands or in each:

    id: name
    redshift: z_spec
    unit: mJy                       # mJy, Jy, uJy, cgs (erg/s/cm2/Hz), AB or Vega magnitudes
    bands:
      W4: {flux: F22, error: E22, filter: wise_w4}             # a curve of sedpy
      IRAS60: {flux: F60, error: E60, filter: curves/60.dat}   # a file of Angstrom and response per photon
      B100: {flux: F100, error: E100, filter: [100, 40], unit: Jy, limit: is_limit}  # a top-hat [um]; a flag column
    missing: [-99]                  # in fluxes and errors alike; blank cells are missing too
    limits: [zero flux, negative error]   # what else marks an upper limit
    n_sigma: 3                      # of limits
    relative_error: 0.1             # of fluxes that have no error; without it they are refused
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, Field
from sedpy.observate import list_available_filters

from paper_utils.base import storage
from paper_utils.base.constants import C_KMS, L_SUN
from paper_utils.base.containers import Photometry
from paper_utils.base.distances import luminosity_distance
from paper_utils.base.errors import DataError
from paper_utils.base.filters import sampled, vega_offset
from paper_utils.files import curves, tables
from paper_utils.files import mapping as mappings
from paper_utils.files.magnitudes import FAR, MJY, Unit
from paper_utils.files.mapping import Filter, Mark, Name, Positive

TYPICAL = (6.5, 14.5)  # log10 of nu L_nu [L_sun] between which a band's median galaxy lies: by hand, generous
LARGEST = 18.0  # log10 of the luminosity [L_sun, nu L_nu] that no single galaxy has, by a wide margin
FAINTEST = 38.0  # magnitude, of either sign, beyond which it is a mark of something else


class _Band(BaseModel, extra="forbid"):
    flux: Name
    filter: Filter
    error: Name | None = None
    unit: Unit | None = None
    limit: Name | None = None


class _File(BaseModel, extra="forbid"):
    redshift: Name
    bands: Annotated[dict[Name, _Band], Field(min_length=1)]
    id: Name | None = None
    unit: Unit | None = None
    missing: Annotated[list[Mark], BeforeValidator(mappings.listed)] = []
    limits: list[Literal["zero flux", "negative error"]] = []
    n_sigma: Positive = 3.0
    relative_error: Positive | None = None


def read(path: Path | str, mapping: Path | str | None = None) -> Photometry:
    """A table (text, FITS, ECSV: see `tables.read`) with its mapping, or a file of `Photometry.save`.

    An upper limit's value is its flux where that is positive, else n_sigma times its error; its 1 sigma is the value
    over n_sigma. Raises DataError naming file, row (from 1) and remedy: unknown filters, curves that are not in
    Angstrom, redshifts that are missing or outside 0.0001 to 10, names twice, fluxes without an error, negative errors
    that nothing explains, and bands in which the median galaxy would have the luminosity of none (a wrong unit).
    """
    path = Path(path)
    if path.suffix in storage.ENDINGS:
        return Photometry.load(path)
    if mapping is None:
        remedy = "Say with --mapping which column is which (data/README.md)."
        raise DataError("a table of fluxes needs a mapping", remedy=remedy, source=path)
    file = mappings.parsed(mapping := Path(mapping), _File)
    seen = np.stack([_curve(name, band, file, mapping) for name, band in file.bands.items()], axis=1)
    needed = [file.redshift, *(name for b in file.bands.values() for name in (b.flux, b.error, b.limit) if name)]
    how = {"blanks": [mark for mark in file.missing if isinstance(mark, str)], "remedy": "Correct the mapping."}
    columns, ids = tables.read_whole(path, list(dict.fromkeys(needed)), id_column=file.id, **how)
    tables.check_ids(ids, path, file.id)

    def refuse(bad: np.ndarray, column: str | None, problem: str, remedy: str) -> None:
        for i in np.flatnonzero(bad)[:1]:
            problem = problem.format(columns[column][i])
            raise DataError(problem, remedy=remedy, source=path, row=f"row {i + 1}, column {column!r}")

    z = columns[file.redshift]
    remedy = "Give one in 0.0001 to 10, or leave the row out."
    refuse(~((z >= 1e-4) & (z <= 10)), file.redshift, "the redshift is {:g}", remedy)
    measured = [_measured(band, file, columns, refuse) for band in file.bands.values()]
    flux, error, limit = np.stack(measured, axis=-1)
    photometry = Photometry(flux, error, limit, list(file.bands), *seen, z, np.array(ids)).check(source=path)
    _check_luminosities(photometry, path)
    return photometry


def _curve(name: str, band: _Band, file: _File, mapping: Path) -> np.ndarray:
    """The curve (2, Q) of a band, its unit being one that it can have."""
    unit, where = band.unit or file.unit, f"bands: {name}"
    if unit is None or (unit == "Vega" and band.filter not in list_available_filters()):
        problem = "Vega magnitudes in a band that sedpy does not know" if unit else "no unit"
        raise DataError(problem, remedy=f"Give `unit:` {', '.join([*MJY, 'AB'])}.", source=mapping, row=where)
    return sampled(curves.read(band.filter, mapping, where))


def _measured(band: _Band, file: _File, columns: dict, refuse: Callable) -> tuple[np.ndarray, ...]:
    """Flux and error [mJy] and whether it is a limit, (N,) each."""
    unit, marks = band.unit or file.unit, [mark for mark in file.missing if not isinstance(mark, str)]
    given = columns[band.flux], columns[band.error] if band.error else np.full(len(columns[band.flux]), np.nan)
    flux, error = (np.where(np.isin(v, marks) | ~np.isfinite(v), np.nan, v) for v in given)
    limit = np.nan_to_num(columns[band.limit]) != 0 if band.limit else np.zeros(len(flux), bool)
    limit |= (error < 0) & ("negative error" in file.limits)
    limit |= (flux == 0) & (error > 0) & ("zero flux" in file.limits and unit in MJY)
    remedy = "If that marks a limit, say `limits: [negative error]`; if it marks no value, list it under `missing:`."
    refuse((error < 0) & ~limit & ~np.isnan(flux), band.error, "the error is {:g}", remedy)
    if unit in MJY:
        remedy = "If that marks no value, list it under `missing:`; if a limit, see `limits:`."
        refuse((flux < -FAR * error) & ~limit, band.flux, "the flux is {:g}, far below zero", remedy)
        flux, error = flux * MJY[unit], error * MJY[unit]
    else:
        remedy = "List it under `missing:`, or leave it blank."
        refuse(np.abs(flux) > FAINTEST, band.flux, "the magnitude is {:g}", remedy)
        flux = 3631e3 * 10 ** (-0.4 * (flux - (vega_offset(band.filter) if unit == "Vega" else 0.0)))
        error = flux * error * np.log(10) / 2.5
    if file.relative_error:
        error = np.where(error > 0, error, file.relative_error * np.abs(flux))
    remedy = "Give its error, `relative_error:` for all such fluxes, or list its mark under `missing:`."
    refuse(~(error > 0) & ~limit & ~np.isnan(flux), band.flux, "the flux {:g} has no error", remedy)
    value = np.where(flux > 0, flux, file.n_sigma * np.abs(error))
    flux, error = np.where(limit, value, flux), np.where(limit, value / file.n_sigma, error)
    missing = np.isnan(flux) | np.isnan(error)
    return np.where(missing, 0.0, flux), np.where(missing, 0.0, error), limit & ~missing


def _check_luminosities(photometry: Photometry, path: Path) -> None:
    nu_mjy = 1e-26 * C_KMS * 1e9 / photometry.wave_um.mean(axis=1)
    area = 4 * np.pi * luminosity_distance(photometry.z)[:, None] ** 2 / L_SUN
    seen = (photometry.limit == 0) & (photometry.error > 0) & (photometry.flux > 2 * photometry.error)
    log_l = np.where(seen, np.log10(area * nu_mjy * np.where(seen, photometry.flux, 1.0)), np.nan)
    for name, values in zip(photometry.bands, log_l.T, strict=True):
        middle = np.median(values[~np.isnan(values)]) if (~np.isnan(values)).any() else TYPICAL[0]
        if not TYPICAL[0] <= middle <= TYPICAL[1]:
            problem = f"the median luminosity is 10^{middle:.1f} L_sun (nu L_nu), which galaxies do not have"
            remedy = f"Fluxes are too {'large' if middle > TYPICAL[1] else 'small'}: check `unit:`."
            raise DataError(problem, remedy=remedy, source=path, row=f"band {str(name)!r}")
    for i, j in np.argwhere(log_l > LARGEST)[:1]:
        problem = f"the luminosity is 10^{log_l[i, j]:.1f} L_sun (nu L_nu), which no galaxy has"
        where = f"row {i + 1}, band {str(photometry.bands[j])!r}"
        raise DataError(problem, remedy="Correct the flux, or leave it blank.", source=path, row=where)
