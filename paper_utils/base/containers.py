"""The containers in which every study receives its data, mock or real: arrays with checks, splits, save and load.

Inside the package wavelengths are vacuum, `z` is redshift, and a text `ids` names every object.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from paper_utils.base import checks
from paper_utils.base.container import Container, array

if TYPE_CHECKING:
    from astropy.table import Table

N_WAVE = 223
# Rissaki+ 2023, Sec. 3.1: 223 bins "roughly equally spaced logarithmically" in 0.03-12 000 um, rest frame.
WAVE_UM = np.geomspace(0.03, 12000.0, N_WAVE)
# Melchior+ 2022, Sec. 3: L = 3892 elements covering 3784...9270 A. SDSS bins are 1e-4 wide in log10(wavelength / A) and
# begin at multiples of 1e-4; of all such grids only the one that begins at 3.578 has this length and these ends.
WAVE_OBS = 10 ** (3.578 + 1e-4 * np.arange(3892))
MICRONS_PER = {"nm": 1e-3, "Angstrom": 1e-4, "m": 1e6, "mm": 1e3, "cm": 1e4}


@dataclass(frozen=True, eq=False)
class SedLibrary(Container):
    """Rest-frame spectral energy distributions on the grid of study 1.

    wave_um : (L,) um, increasing; L = 223 (`WAVE_UM`).
    flux : (N, L) F_nu, any unit; positive. `normalised()` divides by the bolometric luminosity.
    ids : (N,) text, unique.
    params : Table of N rows (model parameters; a column `split` of "train"/"test" fixes the split), or None.
    """

    wave_um: np.ndarray = array("L", "um", dtype="f8")
    flux: np.ndarray = array("NL")
    ids: np.ndarray = array("N", kind="text")
    params: Table | None = array("N", kind="table", default=None)

    def _check(self, error):
        if self.wave_um.size != N_WAVE:
            raise error(
                f"the library has {self.wave_um.size} wavelength bins, study 1 uses {N_WAVE}",
                remedy="Resample it: paper_utils.files.seds.resample(wave_um, flux, containers.WAVE_UM).",
                row="wave_um",
            )
        checks.wavelengths(self.wave_um, "wave_um", error)
        low, high = self.wave_um[[0, -1]]
        if low < 1e-3 or high > 1e5 or low > 0.0306 or high < 350:  # the 20 bands at redshifts 0.5 to 4
            raise error(
                f"the wavelengths run over {low:g}-{high:g}, where um from 0.03 or below to 350 or above are needed"
                + _unit_guess(low, high),
                remedy="Give rest-frame wavelengths in um that cover 0.03-350 um (the paper's grid: 0.03-12 000 um).",
                row="wave_um",
            )
        remedy = "Replace fluxes of zero or less by a small positive floor, or leave the object out."
        problem = "the flux is {:g}, and the models need its logarithm"
        checks.none(self, "flux", self.flux <= 0, problem, remedy, error)

    def normalised(self) -> SedLibrary:
        """The same library at unit bolometric luminosity: the integral of F_nu / lambda over ln lambda is 1."""
        flux = self.flux.astype(float)
        bolometric = np.trapezoid(flux / self.wave_um, np.log(self.wave_um), axis=1)
        return dataclasses.replace(self, flux=(flux / bolometric[:, None]).astype(self.flux.dtype))

    def __str__(self) -> str:
        return f"SedLibrary: {len(self)} SEDs, {self.wave_um.size} bins, {_span(self.wave_um)} um" + _columns(
            "params", self.params
        )


@dataclass(frozen=True, eq=False)
class Spectra(Container):
    """Observed-frame optical spectra on one wavelength grid.

    wave_obs : (L,) vacuum Angstrom, increasing.
    flux : (N, L) 1e-17 erg s-1 cm-2 Angstrom-1.
    ivar : (N, L) inverse variance of flux; 0 marks an unusable pixel.
    z : (N,) redshift.   ids : (N,) text, unique.
    lsf_kms : Gaussian sigma of the instrument [km/s], (L,) where all objects share it, or (N, L); None where unknown.
    clean : (N, L) flux without noise, known on the mock only, or None.   truth : Table of N rows, or None.
    """

    wave_obs: np.ndarray = array("L", "Angstrom", dtype="f8")
    flux: np.ndarray = array("NL", "1e-17 erg / (Angstrom s cm2)")
    ivar: np.ndarray = array("NL", "1e34 Angstrom2 s2 cm4 / erg2")
    z: np.ndarray = array("N", dtype="f8")
    ids: np.ndarray = array("N", kind="text")
    lsf_kms: np.ndarray | None = array("NL", "km / s", shared=True, default=None)
    clean: np.ndarray | None = array("NL", "1e-17 erg / (Angstrom s cm2)", default=None)
    truth: Table | None = array("N", kind="table", default=None)

    def _check(self, error):
        checks.wavelengths(self.wave_obs, "wave_obs", error)
        low, high = self.wave_obs[[0, -1]]
        if low < 900 or high > 1e6:
            raise error(
                f"the wavelengths run over {low:g}-{high:g}, where vacuum Angstrom in 900-1e6 are needed",
                remedy="Convert them to Angstrom (nm x 10, um x 1e4; 10**loglam for SDSS files).",
                row="wave_obs",
            )
        remedy = "Inverse variances are zero (unusable) or positive; set bad pixels to 0."
        checks.none(self, "ivar", self.ivar < 0, "the inverse variance is {:g}", remedy, error)
        if self.lsf_kms is not None and not (self.lsf_kms > 0).all():
            raise error(
                f"a width of the line-spread function is {self.lsf_kms.min():g}",
                remedy="Give its Gaussian sigma in km/s, or leave it out.",
                row="lsf_kms",
            )
        checks.redshifts(self, error)

    def __str__(self) -> str:
        return (
            f"Spectra: {len(self)} spectra, {self.wave_obs.size} bins, {_span(self.wave_obs)} Angstrom, "
            f"z {_span(np.sort(self.z))}" + _columns("truth", self.truth)
        )


@dataclass(frozen=True, eq=False)
class Images(Container):
    """Multi-band cut-outs.

    cube : (N, B, H, W) nanomaggies.   bands : (B,) names.   pixel_scale : arcsec per pixel.
    z : (N,) redshift.   ids : (N,) text, unique.   truth : Table of N rows, or None.
    """

    cube: np.ndarray = array("NBHW", "nmgy")
    bands: np.ndarray = array("B", kind="text")
    pixel_scale: float = array("", "arcsec", dtype="f8")
    z: np.ndarray = array("N", dtype="f8")
    ids: np.ndarray = array("N", kind="text")
    truth: Table | None = array("N", kind="table", default=None)

    def _check(self, error):
        checks.unique(self.bands, "band", "bands", error)
        if not 0 < self.pixel_scale < 3600:
            raise error(
                f"the pixel scale is {self.pixel_scale:g} arcsec",
                remedy="Give the size of one pixel in arcsec (SDSS 0.396, Pan-STARRS 0.25).",
                row="pixel_scale",
            )
        checks.redshifts(self, error)

    def __str__(self) -> str:
        _, _, height, width = self.cube.shape
        return (
            f"Images: {len(self)} objects, bands {' '.join(self.bands)}, {height}x{width} pixels of "
            f"{self.pixel_scale:g} arcsec" + _columns("truth", self.truth)
        )


@dataclass(frozen=True, eq=False)
class Catalogue(Container):
    """A survey's catalogue under its own column names.

    table : Table of N rows, units as the survey gives them.   bands : (B,) names of its magnitude columns.
    ids : (N,) text, unique.   truth : Table of N rows, or None.
    """

    table: Table = array("N", kind="table")
    bands: np.ndarray = array("B", kind="text")
    ids: np.ndarray = array("N", kind="text")
    truth: Table | None = array("N", kind="table", default=None)

    def _check(self, error):
        checks.unique(self.bands, "band", "bands", error)
        if missing := [str(band) for band in self.bands if band not in self.table.colnames]:
            raise error(
                f"the table has no column for band {missing[0]!r}, only {', '.join(self.table.colnames)}",
                remedy="Name the bands as the table's columns, or add the missing column.",
                row="bands",
            )
        for name in self.table.colnames:
            column = np.asarray(self.table[name])
            if column.dtype.kind == "f" and (bad := np.argwhere(~np.isfinite(column))).size:
                raise error(
                    f"column {name!r} is {column[tuple(bad[0])]}",
                    remedy="Use the survey's own value for missing data (such as 99), or leave the row out.",
                    row=checks.entry(self, "N", bad[0]),
                )

    def __str__(self) -> str:
        return f"Catalogue: {len(self)} objects, bands {' '.join(self.bands)}" + _columns("table", self.table)


def _unit_guess(low: float, high: float) -> str:
    """The unit, if not um, that brings the range nearest to the paper's grid, as the end of a message."""
    off = {
        unit: abs(np.log(low * um / WAVE_UM[0])) + abs(np.log(high * um / WAVE_UM[-1]))
        for unit, um in ({"um": 1.0} | MICRONS_PER).items()
        if low > 0
    }
    best = min(off, key=off.get, default="um")
    return "" if best == "um" else f"; looks like {best}"


def _span(values: np.ndarray) -> str:
    return f"{values[0]:g}-{values[-1]:g}"


def _columns(name: str, table) -> str:
    return "" if table is None else f", {name}: {' '.join(table.colnames)}"
