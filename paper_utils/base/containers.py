"""The containers in which every study receives its data, mock or real: arrays with checks, splits, save and load.

Inside the package wavelengths are vacuum, `z` is redshift, and a text `ids` names every object.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from astropy.table import Table

from paper_utils.base import checks
from paper_utils.base.container import Container, array

N_WAVE = 223
# Rissaki+ 2023, Sec. 3.1: 223 bins "roughly equally spaced logarithmically" in 0.03-12 000 um, rest frame.
WAVE_UM = np.geomspace(0.03, 12000.0, N_WAVE)
# Melchior+ 2022, Sec. 3: L = 3892 elements covering 3784...9270 A. SDSS bins are 1e-4 wide in log10(wavelength / A) and
# begin at multiples of 1e-4; of all such grids only the one that begins at 3.578 has this length and these ends.
WAVE_OBS = 10 ** (3.578 + 1e-4 * np.arange(3892))
MICRONS_PER = {"um": 1.0, "nm": 1e-3, "Angstrom": 1e-4, "m": 1e6, "mm": 1e3, "cm": 1e4}


@dataclass(frozen=True, eq=False)
class SedLibrary(Container):
    """Rest-frame spectral energy distributions on the grid of study 1.

    wave_um : (L,) um, increasing; L = 223 (`WAVE_UM`).
    flux : (N, L) F_nu, any unit; positive. `normalised()` divides by the bolometric luminosity.
    ids : (N,) text, unique.
    params : Table of N rows (model parameters; a column `split` of "train"/"test" fixes the split), or None.
    """

    wave_um: np.ndarray = array("L", "um")
    flux: np.ndarray = array("NL")
    ids: np.ndarray = array("N", kind="text")
    params: Table | None = array("N", kind="table", default=None)

    def _rules(self) -> Iterator[tuple]:
        size, (low, high) = self.wave_um.size, self.wave_um[[0, -1]]
        problem = f"the library has {size} wavelength bins, study 1 uses {N_WAVE}"
        remedy = "Resample it: paper_utils.files.seds.resample(wave_um, flux, containers.WAVE_UM)."
        yield "wave_um", size != N_WAVE, remedy, problem
        problem = f"the wavelengths run over {low:g}-{high:g}, where um from 0.03 or below to 350 or above are needed"
        remedy = "Give rest-frame wavelengths in um that cover 0.03-350 um (the paper's grid: 0.03-12 000 um)."
        short = low > 0.0306 or high < 350  # of the 20 bands at redshifts 0.5 to 4
        yield "wave_um", short or low < 1e-3 or high > 1e5, remedy, problem + _unit_guess(low, high)
        remedy = "Replace fluxes of zero or less by a small positive floor, or leave the object out."
        yield "flux", self.flux <= 0, "The models need its logarithm. " + remedy

    def _summary(self) -> str:
        return f"SEDs, {self.wave_um.size} bins, {_span(self.wave_um)} um"

    def normalised(self) -> Self:
        """The same library at unit bolometric luminosity: the integral of F_nu / lambda over ln lambda is 1."""
        flux = self.flux.astype(float)
        bolometric = np.trapezoid(flux / self.wave_um, np.log(self.wave_um), axis=1)
        return replace(self, flux=(flux / bolometric[:, None]).astype(self.flux.dtype))


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

    wave_obs: np.ndarray = array("L", "Angstrom")
    flux: np.ndarray = array("NL", "1e-17 erg / (Angstrom s cm2)")
    ivar: np.ndarray = array("NL", "1e34 Angstrom2 s2 cm4 / erg2")
    z: np.ndarray = array("N")
    ids: np.ndarray = array("N", kind="text")
    lsf_kms: np.ndarray | None = array("NL", "km / s", shared=True, default=None)
    clean: np.ndarray | None = array("NL", "1e-17 erg / (Angstrom s cm2)", default=None)
    truth: Table | None = array("N", kind="table", default=None)

    def _rules(self) -> Iterator[tuple]:
        low, high = self.wave_obs[[0, -1]]
        problem = f"the wavelengths run over {low:g}-{high:g}, where vacuum Angstrom in 900-1e6 are needed"
        remedy = "Convert them to Angstrom (nm x 10, um x 1e4; 10**loglam for SDSS files)."
        yield "wave_obs", low < 900 or high > 1e6, remedy, problem
        yield "ivar", self.ivar < 0, "Inverse variances are zero (unusable) or positive; set bad pixels to 0."
        if self.lsf_kms is not None:
            yield "lsf_kms", self.lsf_kms <= 0, "Give the Gaussian sigma of the resolution in km/s, or leave it out."
        yield "z", checks.odd_redshift(self.z), checks.REDSHIFTS

    def _summary(self) -> str:
        return f"spectra, {self.wave_obs.size} bins, {_span(self.wave_obs)} Angstrom, z {_span(np.sort(self.z))}"


@dataclass(frozen=True, eq=False)
class Images(Container):
    """Multi-band cut-outs.

    cube : (N, B, H, W) nanomaggies.   bands : (B,) names.   pixel_scale : arcsec per pixel.
    z : (N,) redshift.   ids : (N,) text, unique.   truth : Table of N rows, or None.
    """

    cube: np.ndarray = array("NBHW", "nmgy")
    bands: np.ndarray = array("B", kind="text")
    pixel_scale: float = array("", "arcsec")
    z: np.ndarray = array("N")
    ids: np.ndarray = array("N", kind="text")
    truth: Table | None = array("N", kind="table", default=None)

    def _rules(self) -> Iterator[tuple]:
        remedy = "Give the size of one pixel in arcsec (SDSS 0.396, Pan-STARRS 0.25)."
        yield "pixel_scale", not 0 < self.pixel_scale < 3600, remedy, f"the pixel scale is {self.pixel_scale:g} arcsec"
        yield "z", checks.odd_redshift(self.z), checks.REDSHIFTS

    def _summary(self) -> str:
        height, width = self.cube.shape[2:]
        return f"objects, bands {' '.join(self.bands)}, {height}x{width} pixels of {self.pixel_scale:g} arcsec"


@dataclass(frozen=True, eq=False)
class Photometry(Container):
    """Flux densities of galaxies in bands whose response is known.

    flux, error : (N, B) F_nu and its 1 sigma [mJy]; an error of 0 marks a band without a measurement.
    limit : (N, B) 1 where flux is an upper limit, else 0.
    bands : (B,) names.   wave_um, response : (B, Q) observed wavelengths, even in log, and the response per photon.
    z : (N,) redshift, of which the luminosity comes.   ids : (N,) text, unique.
    """

    flux: np.ndarray = array("NB", "mJy")
    error: np.ndarray = array("NB", "mJy")
    limit: np.ndarray = array("NB")
    bands: np.ndarray = array("B", kind="text")
    wave_um: np.ndarray = array("BQ", "um")
    response: np.ndarray = array("BQ")
    z: np.ndarray = array("N")
    ids: np.ndarray = array("N", kind="text")

    def _rules(self) -> Iterator[tuple]:
        yield "error", self.error < 0, "Errors are 1 sigma, or 0 where there is no measurement."
        odd = ~np.isin(self.limit, (0, 1)) | ((self.limit == 1) & (self.error > 0) & (self.flux <= 0))
        yield "limit", odd, "Limits are marked by 1, others by 0; the flux of a limit is positive."
        yield "z", ~((self.z >= 1e-4) & (self.z <= 10)), "Redshifts lie in 0.0001 to 10; leave out the others."
        steps = np.diff(np.log(np.maximum(self.wave_um, 1e-30)), axis=1)
        bad = (np.ptp(steps, axis=1) > 1e-3 * steps.mean(axis=1)) | ~(self.response.sum(axis=1) > 0)
        yield "bands", bad, "Sample it with base.filters.sampled.", "the curve is not even in log wavelength, or zero"

    def _summary(self) -> str:
        n, n_limits = ((self.error > 0) & (self.limit == kind) for kind in (0, 1))
        return f"galaxies, bands {' '.join(self.bands)}, {n.sum()} fluxes, {n_limits.sum()} limits"


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

    def _rules(self) -> Iterator[tuple]:
        columns = self.table.colnames
        if missing := [str(band) for band in self.bands if band not in columns]:
            problem = f"the table has no column for band {missing[0]!r}, only {', '.join(columns)}"
            yield "bands", True, "Name the bands as the table's columns, or add the missing column.", problem
        for name in columns:
            column = np.asarray(self.table[name])
            if column.dtype.kind == "f" and (bad := ~np.isfinite(column)).any():
                remedy = "Use the survey's own value for missing data (such as 99), or leave the row out."
                yield "table", bad, remedy, f"column {name!r} is {column[bad][0]}"

    def _summary(self) -> str:
        return f"objects, bands {' '.join(self.bands)}"


def _unit_guess(low: float, high: float) -> str:
    """The unit, if not um, that brings the range nearest to the paper's grid, as the end of a message."""
    ends = np.log(WAVE_UM[[0, -1]] / [low, high])
    off = {unit: np.abs(ends - np.log(um)).sum() for unit, um in MICRONS_PER.items()}
    best = min(off, key=off.get)
    return "" if best == "um" else f"; looks like {best}"


def _span(values: np.ndarray) -> str:
    return f"{values[0]:g}-{values[-1]:g}"
