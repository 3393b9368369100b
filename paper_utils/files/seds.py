"""Published spectral energy distributions, ultraviolet to millimetre, as `SedLibrary` on the grid of study 1."""

import warnings
from pathlib import Path

import numpy as np
from astropy.table import Table

from paper_utils.base.containers import MICRONS_PER, WAVE_UM, SedLibrary
from paper_utils.base.errors import DataError, readable

# The published test set of the composite library is its last tenth.
N_TRAIN_NPZ = 9000
# Outermost stretch of a spectrum, in ln(wavelength), whose slope continues it: long enough to average over lines.
END_STRETCH = 0.25
# By hand: the paper's grid, 0.03-12 000 um, is reached from 0.1 um (SWIRE) and 1000 um (tori), not from one part alone.
BEYOND = 15.0


def resample(wave_um: np.ndarray, flux: np.ndarray, wave_new_um: np.ndarray = WAVE_UM, beyond=BEYOND) -> np.ndarray:
    """Spectra `flux` (L,) or (N, L) given at `wave_um` (L,), interpolated to `wave_new_um` (M,): (M,) or (N, M).

    Linear in log flux against log wavelength, so that power laws stay exact; F_nu and F_lambda alike. The wavelengths
    may come in any order; where one is repeated (the seams of composite templates) the geometric mean of its fluxes
    is taken. Past either end the spectrum continues as the power law fitted to its outermost quarter of an e-fold and
    tied to its end point, by at most a factor `beyond` in wavelength. Lines narrower than the new bins are sampled, not
    averaged.

    Raises DataError if a wavelength or flux is not finite and positive, naming it, if fewer than two are left, or if
    the new wavelengths lie further out than `beyond` allows; a unit that would bring them nearer is named.
    """
    wave_um, flux = np.asarray(wave_um, dtype=float), np.asarray(flux, dtype=float)
    spectra = np.atleast_2d(flux)
    if wave_um.ndim != 1 or spectra.ndim != 2 or spectra.shape[1] != wave_um.size:
        problem = f"{wave_um.shape} wavelengths do not go with fluxes of shape {flux.shape}"
        raise DataError(problem, remedy="Give wavelengths of shape (L,) and fluxes of shape (L,) or (N, L).")
    _positive(wave_um[None], "wavelength")
    _positive(spectra, "flux")
    wave, place = np.unique(wave_um, return_inverse=True)
    if wave.size < 2:
        raise DataError("fewer than two different wavelengths", remedy="Give the whole spectrum.")
    _near_enough(wave[[0, -1]], np.array([np.min(wave_new_um), np.max(wave_new_um)]), beyond)
    x, x_new = np.log(wave), np.log(np.asarray(wave_new_um, dtype=float))
    y = np.zeros((len(spectra), wave.size))
    np.add.at(y, (slice(None), place), np.log(spectra))
    y /= np.bincount(place)

    right = np.clip(np.searchsorted(x, x_new), 1, x.size - 1)
    fraction = (x_new - x[right - 1]) / (x[right] - x[right - 1])
    y_new = y[:, right - 1] * (1 - fraction) + y[:, right] * fraction
    below, above = x_new < x[0], x_new > x[-1]
    y_new[:, below] = y[:, :1] + _end_slope(x, y, x - x[0] <= END_STRETCH) * (x_new[below] - x[0])
    y_new[:, above] = y[:, -1:] + _end_slope(x, y, x[-1] - x <= END_STRETCH) * (x_new[above] - x[-1])
    return np.exp(y_new).reshape(*flux.shape[:-1], x_new.size)


def read_swire(folder: Path | str) -> SedLibrary:
    """The SWIRE templates (Polletta+ 2007, ApJ 663, 81): files NAME_template_norm.sed of Angstrom and F_lambda.

    Returns F_nu at unit bolometric luminosity on `WAVE_UM`, ids the template names; params has `file` and the range
    `wave_min_um`, `wave_max_um` that the file covers (beyond it the spectrum is extrapolated, see `resample`).
    Raises DataError for a folder without templates and for a file that cannot be read.
    """
    files = sorted(Path(folder).glob("*.sed"))
    if not files:
        raise DataError("no .sed files here", remedy="Give the folder with the SWIRE templates.", source=folder)
    flux, rows = [], []
    for file in files:
        wave_um, f_lambda = read_two_columns(file)
        try:
            flux.append(resample(wave_um, f_lambda * wave_um**2))
        except DataError as problem:
            raise DataError(problem.problem, remedy=problem.remedy, source=file, row=problem.row) from None
        rows.append((file.name, wave_um.min(), wave_um.max()))
    ids = [file.stem.removesuffix("_template_norm") for file in files]
    params = Table(rows=rows, names=["file", "wave_min_um", "wave_max_um"], units=[None, "um", "um"])
    return SedLibrary(wave_um=WAVE_UM, flux=np.stack(flux), ids=ids, params=params).normalised().check(source=folder)


def read_npz_library(path: Path | str) -> SedLibrary:
    """The composite radiative-transfer library: published starburst, torus and stellar models mixed at random.

    An .npz of `wave_um` (223,), `flux_nu` (N, 223) and per-SED arrays, among them the bolometric `fraction` (N, 3) of
    starburst (Siebenmorgen & Kruegel 2007), torus (Fritz+ 2006) and host (E-MILES). Params has these as `f_SB`,
    `f_AGN`, `f_s`, the other arrays under their own names, and `split`: the first 9000 "train", the rest "test".
    Raises DataError.
    """
    path = Path(path)
    with readable(path, "a readable .npz file", "Copy it again."), path.open("rb") as raw:
        with np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    if missing := {"wave_um", "flux_nu"} - set(arrays):
        raise DataError(f"no array {missing.pop()!r}", remedy="Give a library with wave_um and flux_nu.", source=path)
    wave_um, flux = arrays.pop("wave_um"), arrays.pop("flux_nu")
    for name, array in arrays.items():
        expected = (len(flux), 3) if name == "fraction" else (len(flux),)
        if array.shape[: len(expected)] != expected:
            remedy = f"It needs {expected}, one row per SED."
            raise DataError(f"{name} has shape {array.shape}", remedy=remedy, source=path, row=name)
    if "fraction" in arrays:
        arrays = dict(zip(("f_SB", "f_AGN", "f_s"), arrays.pop("fraction").T, strict=True)) | arrays
    arrays["split"] = np.where(np.arange(len(flux)) < N_TRAIN_NPZ, "train", "test")
    ids = [f"rt{i:05d}" for i in range(len(flux))]
    return SedLibrary(wave_um=wave_um, flux=flux, ids=ids, params=Table(arrays)).check(source=path)


def _end_slope(x: np.ndarray, y: np.ndarray, near: np.ndarray) -> np.ndarray:
    """(N, 1) least-squares slopes of `y` (N, L) over the points `near` an end, or over the two outermost."""
    if near.sum() < 2:
        near = slice(0, 2) if near[0] else slice(-2, None)
    dx = x[near] - x[near].mean()
    return (y[:, near] @ dx / (dx @ dx))[:, None]


def _near_enough(ends: np.ndarray, new: np.ndarray, beyond: float):
    """Refuse to extrapolate a spectrum by more than a factor `beyond`; `ends` and `new` are first and last [um]."""
    factors = {unit: (ends * um / new) ** [1, -1] for unit, um in MICRONS_PER.items()}
    i, nearest = factors["um"].argmax(), min(factors, key=lambda unit: factors[unit].max())
    if (factor := factors["um"][i]) > beyond:
        guess = "" if nearest == "um" else f" (the wavelengths look like {nearest}, not um)"
        problem = f"extrapolation from {ends[i]:g} to {new[i]:g} um, {factor:.3g} times as far as the spectrum{guess}"
        remedy = f"At most {beyond:g} times is allowed: give um, a spectrum that reaches further, or another `beyond`."
        raise DataError(problem, remedy=remedy)


def _positive(values: np.ndarray, what: str):
    if (bad := np.argwhere(~(np.isfinite(values) & (values > 0)))).size:
        row, i = bad[0]
        remedy = "Interpolation is logarithmic: leave such points out, or replace them by a small positive floor."
        raise DataError(f"the {what} is {values[row, i]:g}", remedy=remedy, row=f"spectrum {row}, point {i}")


def read_two_columns(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Wavelengths in um, from Angstrom, and F_lambda."""
    if not file.stat().st_size:
        raise DataError("the file is empty", remedy="Copy it again.", source=file)
    remedy = "Each line holds two numbers: Angstrom and F_lambda."
    with readable(file, "a table of wavelengths and fluxes", remedy), warnings.catch_warnings():
        warnings.simplefilter("error")  # on a file of comments alone
        wave, flux = np.loadtxt(file, encoding="latin-1", ndmin=2).T
    return wave * 1e-4, flux
