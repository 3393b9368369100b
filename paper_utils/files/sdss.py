"""Spectra of SDSS and BOSS: read `spec-PLATE-MJD-FIBER.fits` files into `Spectra`, and fetch them from the archive.

SDSS spectra are binned in steps of 1e-4 in log10 of the vacuum wavelength, all beginning at a multiple of 1e-4, so that
putting one on the common grid `containers.WAVE_OBS` is a shift by whole bins: nothing is resampled. File format: the
SDSS data model of `spec` and `spec-lite` files (DR8 and later): COADD, SPECOBJ (BOSS: SPALL) and SPZLINE.
"""

import itertools
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from astropy.table import Table

from paper_utils.base.checks import odd_redshift
from paper_utils.base.constants import C_KMS
from paper_utils.base.containers import WAVE_OBS, Spectra
from paper_utils.base.errors import DataError, readable
from paper_utils.files import fits_files
from paper_utils.files.download import download
from paper_utils.files.failures import attempts, leave_out

ALL_BITS = ~0
# The column `LINENAME` of SPZLINE and the name that we give: customary air wavelengths in the names.
LINES = {
    "[O_II] 3725": "OII_3726", "[O_II] 3727": "OII_3729", "[Ne_III] 3868": "NeIII_3869", "H_delta": "H_delta",
    "H_gamma": "H_gamma", "[O_III] 4363": "OIII_4363", "H_beta": "H_beta", "[O_III] 4959": "OIII_4959",
    "[O_III] 5007": "OIII_5007", "[O_I] 6300": "OI_6300", "[N_II] 6548": "NII_6548", "H_alpha": "H_alpha",
    "[N_II] 6583": "NII_6583", "[S_II] 6716": "SII_6716", "[S_II] 6730": "SII_6731",
}  # fmt: skip
LINE_COLUMNS = {"flux": "LINEAREA", "flux_err": "LINEAREA_ERR", "ew": "LINEEW", "ew_err": "LINEEW_ERR"}
LINE_UNITS = {"flux": "1e-17 erg / (s cm2)", "ew": "Angstrom"}

BASE = "https://data.sdss.org/sas/dr16"
# Reductions in which a spectrum may lie: of SDSS-I/II (26: most plates, 103 and 104: star clusters and SEGUE), and of
# BOSS/eBOSS, which observed from December 2009 (MJD 55176) on.
SDSS_RUNS, BOSS_RUNS, BOSS_MJD = ("26", "103", "104"), ("v5_13_0",), 55100

# Study 2's sample (Melchior+ 2022, Sec. 3) as a query for the archive's SkyServer or CasJobs: galaxies of the main
# sample (target bits 64, 128 and 256) with good redshifts and no warning; the result's rows go into `get`.
SELECTION = """SELECT plate, mjd, fiberID FROM SpecObj
WHERE class = 'GALAXY' AND zWarning = 0 AND zErr > 0 AND zErr < 1e-4 AND z > 0 AND z < 0.5
  AND (legacy_target1 & 448) > 0"""


def read(path: Path | str, **options) -> Spectra:
    """Study 2's data from a folder of spec files, one spec file, or a file that `Spectra.save` wrote."""
    path = Path(path)
    if path.is_dir():
        return read_folder(path, **options)
    return read_spec(path, **options) if path.name.endswith(fits_files.ENDINGS) else Spectra.load(path)


def read_folder(path: Path | str, *, skip_bad: bool = False, bits: int = ALL_BITS, n_jobs: int = 1) -> Spectra:
    """All FITS files in `path` and the folders below it (`files_in`); `bits` as in `read_spec`.

    The first file that cannot be used raises DataError. With `skip_bad` such files are left out, counted in a warning
    and listed in `truth.meta["skipped"]`, {file name: problem}; DataError then only if none is left. A file takes some
    25 ms; `n_jobs` processes share the work.
    """
    return read_files(files_in(path), Path(path), skip_bad=skip_bad, bits=bits, n_jobs=n_jobs)


def files_in(path: Path | str) -> list[Path]:
    """All FITS files in `path` and the folders below it, in order; DataError where there is none."""
    folder = Path(path)
    files = sorted(file for ending in fits_files.ENDINGS for file in folder.rglob(f"*{ending}"))
    if not files:
        problem = "no FITS files here" if folder.is_dir() else "no such folder"
        remedy = "Give a folder of SDSS files under their own names, such as spec-0266-51602-0001.fits."
        raise DataError(problem, remedy=remedy, source=folder)
    return files


def read_files(
    files: list[Path], folder: Path, *, skip_bad: bool = False, most: float = 1.0, bits: int = ALL_BITS, n_jobs: int = 1
) -> Spectra:
    """The spec files `files` below `folder`, in that order; as `read_folder`, with at most a share `most` skipped."""
    rows, skipped, file_of = [], {}, {}
    for file, row in zip(files, attempts(_read, ((file, bits) for file in files), n_jobs), strict=True):
        if not isinstance(row, DataError) and (twin := file_of.setdefault(row["ids"], file)) is not file:
            row = DataError(f"the same spectrum as in {twin.name}", remedy="Keep one of the two.", source=file)
        if not isinstance(row, DataError):
            rows.append(row)
        elif skip_bad:
            skipped[str(file.relative_to(folder))] = row.problem
        else:
            raise row
    leave_out(skipped, len(files), "files", folder, "Get them again.", most)
    return _spectra(rows, folder, {"skipped": skipped})


def read_spec(path: Path | str, *, bits: int = ALL_BITS) -> Spectra:
    """One spec file as `Spectra` of one object on `WAVE_OBS`.

    flux is the file's own, shifted by whole bins, and 0 where the file does not reach. ivar is 0 there and where
    `and_mask` has any of `bits`: all of them by default, as in the paper ("in masked areas, we set the weights to
    zero"); 1 << 23 alone is BRIGHTSKY. The pipeline itself gives ivar = 0 to pixels that are certainly bad.
    truth: class, subclass, z_err, zwarning, snr and snr_r (median per bin, whole and in r), plate, mjd, fiber and for
    each of `LINES` flux_X, flux_err_X [1e-17 erg/s/cm2], ew_X, ew_err_X [A, positive in emission], NaN if not measured.

    Raises DataError for a file that is not such a FITS file, is cut short, holds air wavelengths, unsorted wavelengths
    or another grid, a negative or non-finite ivar, no usable pixel on the grid, or a failed redshift.
    """
    return _spectra([_read(Path(path), bits)], path)


def read_lsf(path: Path | str) -> np.ndarray:
    """The Gaussian sigma of a spec file's line-spread function [km/s] on `WAVE_OBS`, (L,): its `wdisp`, in pixels.

    Held constant past the file's ends. Raises DataError for a file that is no spec file, and where no pixel has a
    positive width.
    """
    coadd, _, _ = _tables(Path(path))
    good = coadd["wdisp"] > 0 if {"wdisp", "loglam"} <= set(coadd.names) else np.zeros(0, bool)
    if good.sum() < 2:
        raise DataError("no widths of the line-spread function (wdisp)", remedy="Get the file again.", source=path)
    return np.interp(np.log10(WAVE_OBS), coadd["loglam"][good], coadd["wdisp"][good]) * C_KMS * np.log(10) * 1e-4


def urls(plate: int, mjd: int, fiber: int, base: str = BASE) -> list[str]:
    """Where the spec-lite file of a spectrum may lie in the archive (data release 16), likeliest first."""
    survey, runs = ("eboss", BOSS_RUNS) if mjd > BOSS_MJD else ("sdss", SDSS_RUNS)
    name = f"{plate:04d}/{file_name(plate, mjd, fiber)}"
    return [f"{base}/{survey}/spectro/redux/{run}/spectra/lite/{name}" for run in runs]


def object_id(plate: int, mjd: int, fiber: int) -> str:
    """What an object is called in the `ids` of `Spectra`."""
    return f"{plate:04d}-{mjd}-{fiber:04d}"


def spectrum_names(spec_obj_ids: Iterable, plate=None, mjd=None, fiber=None) -> np.ndarray:
    """`object_id` (N,) of spectra from their plates, MJDs and fibres (N,), where these are given and positive, or else
    from their specObjIDs (N,), numbers or text; "" where neither says."""

    def name(spec_obj_id, numbers) -> str:
        if all(number is not None and number > 0 for number in numbers):
            return object_id(*map(int, numbers))
        try:
            return object_id(*unpack(int(spec_obj_id)))
        except (ValueError, OverflowError):  # an id of another kind
            return ""

    spec_obj_ids = list(spec_obj_ids)
    columns = ([None] * len(spec_obj_ids) if column is None else column for column in (plate, mjd, fiber))
    return np.array([name(*row) for row in zip(spec_obj_ids, zip(*columns, strict=True), strict=True)], str)


def unpack(spec_obj_id: int) -> tuple[int, int, int]:
    """Plate, MJD and fibre of a specObjID of DR8 or later, which has them in 14, 14 and 12 of its 64 bits.

    Raises ValueError where these bits make no sense.
    """
    plate, fiber, mjd = spec_obj_id >> 50, spec_obj_id >> 38 & 0xFFF, (spec_obj_id >> 24 & 0x3FFF) + 50_000
    if not (0 < plate < 1 << 14 and 0 < fiber <= 1000 and 51_000 < mjd < 62_000):
        raise ValueError(f"{spec_obj_id} is no specObjID")
    return plate, mjd, fiber


def file_name(plate: int, mjd: int, fiber: int) -> str:
    """The archive's name of a spectrum's file."""
    return f"spec-{plate:04d}-{mjd:05d}-{fiber:04d}.fits"


def get(objects: Iterable[tuple[int, int, int]], folder: Path | str, *, base: str = BASE, **options) -> list[Path]:
    """Fetch the spectra of `objects`, rows of (plate, mjd, fiber), into `folder`; returns their files in order.

    Files that are there already are not fetched again. `options` are those of `download.download` (n_parallel = 4
    requests at a time, n_tries = 4, progress). The archive gives no checksums: the announced length and the form are
    checked. Raises DataError, after all others were fetched, if some could not be.
    """
    rows = [tuple(int(number) for number in row) for row in objects]
    if bad := [row for row in rows if len(row) != 3 or min(row) < 0]:
        raise DataError(f"{bad[0]} is no plate, MJD and fibre", remedy="Give rows of three positive integers.")
    files = [Path(folder) / file_name(*row) for row in rows]
    addresses = {file: urls(*row, base) for file, row in zip(files, rows, strict=True)}
    download(addresses, fits_files.is_whole, **options)
    return files


def _spectra(rows: list[dict], source, meta: dict | None = None) -> Spectra:
    truth = Table([row["truth"] for row in rows], meta=meta)
    for name in truth.colnames:
        truth[name].unit = LINE_UNITS.get(name.partition("_")[0])
    stack = {name: np.array([row[name] for row in rows]) for name in ("flux", "ivar", "z", "ids")}
    return Spectra(wave_obs=WAVE_OBS, **stack, truth=truth).check(source=source)


def _read(path: Path, bits: int) -> dict:
    """One spec file as a dict of ids, z, truth and flux, ivar (L,) on the grid."""
    coadd, row, lines = _tables(path)
    remedy = "Give spec files of SDSS DR8 or later (COADD, SPECOBJ or SPALL)."
    with readable(path, "the columns of a spec file", remedy):
        loglam, flux, ivar, mask = (coadd[name] for name in ("loglam", "flux", "ivar", "and_mask"))
        z, plate, mjd, fiber = float(row["Z"]), *(int(row[name]) for name in ("PLATE", "MJD", "FIBERID"))
        truth = {name.casefold(): str(row[name]).strip() for name in ("CLASS", "SUBCLASS")}
        truth |= {"z_err": float(row["Z_ERR"]), "zwarning": int(row["ZWARNING"])}
        truth |= {"snr": float(row["SN_MEDIAN_ALL"]), "snr_r": float(row["SN_MEDIAN"][2])}
        truth |= {"plate": plate, "mjd": mjd, "fiber": fiber} | _line_columns(lines)
    if odd_redshift(z):
        raise DataError(f"the redshift is {z:g}", remedy="Leave out objects whose redshift failed.", source=path)
    for i in np.flatnonzero(~(ivar >= 0) | ~np.isfinite(ivar))[:1]:
        remedy = "Inverse variances are zero (unusable) or positive: get the file again."
        raise DataError(f"the inverse variance is {ivar[i]:g}", remedy=remedy, source=path, row=f"pixel {i}")
    flux, ivar = _on_grid(loglam, flux, np.where(mask & bits, 0, ivar), path)
    return {"ids": object_id(plate, mjd, fiber), "z": z, "flux": flux, "ivar": ivar, "truth": truth}


def _tables(path: Path):
    """The tables COADD, SPECOBJ (or SPALL; its only row) and SPZLINE (or None) of a spec file."""
    with fits_files.opened(path) as hdus:
        if hdus[0].header.get("VACUUM") is False:
            remedy = "Convert them to vacuum first; all spec files of DR8 and later are in vacuum."
            raise DataError("the header says VACUUM = F: wavelengths in air", remedy=remedy, source=path)
        # One by one: a slice would read on to the many single exposures of a full file.
        hdu_of = {hdu.name: hdu for hdu in itertools.islice(hdus, 1, 4)}
        record = hdu_of.get("SPECOBJ", hdu_of.get("SPALL"))
        if "COADD" not in hdu_of or record is None:
            problem = f"no COADD and SPECOBJ (or SPALL) among its tables: {', '.join(hdu_of) or 'none'}"
            remedy = "Give spec-PLATE-MJD-FIBER.fits files, or leave others out with skip_bad."
            raise DataError(problem, remedy=remedy, source=path)
        return hdu_of["COADD"].data, record.data[0], hdu_of["SPZLINE"].data if "SPZLINE" in hdu_of else None


def _line_columns(lines) -> dict[str, float]:
    """Fluxes and equivalent widths of `LINES`; NaN where the pipeline could not measure (it gives an error of -1)."""
    columns = {f"{name}_{ours}": np.nan for ours in LINES.values() for name in LINE_COLUMNS}
    for row in [] if lines is None else lines:
        if (ours := LINES.get(str(row["LINENAME"]).strip())) and row["LINEAREA_ERR"] > 0 and row["LINEEW_ERR"] > 0:
            columns |= {f"{name}_{ours}": float(row[column]) for name, column in LINE_COLUMNS.items()}
    return columns


def _on_grid(loglam, flux, ivar, path) -> tuple[np.ndarray, np.ndarray]:
    """flux and ivar (L,), float32, on `WAVE_OBS`: each pixel goes to its bin, the others are 0."""
    position = (np.asarray(loglam, float) - np.log10(WAVE_OBS[0])) * 1e4
    if position.ndim != 1 or not np.isfinite(position).all() or not np.all(np.diff(position) > 0):
        raise DataError("the wavelengths do not increase", remedy="Get the file again.", source=path, row="loglam")
    bins = np.rint(position).astype(int)
    if np.abs(position - bins).max(initial=0) > 0.1 or not np.all(np.diff(bins) > 0):
        problem = "the wavelengths are not on the SDSS grid (log10 wavelength at multiples of 1e-4)"
        remedy = "Give the archive's own files, not resampled ones."
        raise DataError(problem, remedy=remedy, source=path, row="loglam")
    inside = (bins >= 0) & (bins < WAVE_OBS.size)
    on_flux, on_ivar = np.zeros((2, WAVE_OBS.size), np.float32)
    on_flux[bins[inside]], on_ivar[bins[inside]] = flux[inside], ivar[inside]
    on_flux[(on_ivar == 0) & ~np.isfinite(on_flux)] = 0
    if not on_ivar.any():
        problem = f"every pixel in {WAVE_OBS[0]:.0f}-{WAVE_OBS[-1]:.0f} A is masked"
        raise DataError(problem, remedy="Leave the spectrum out, or choose fewer mask bits.", source=path)
    for i in np.flatnonzero(~np.isfinite(on_flux))[:1]:
        remedy = "Get the file again, or set ivar to 0 there."
        raise DataError(f"the flux is {on_flux[i]}", remedy=remedy, source=path, row=f"{WAVE_OBS[i]:.1f} A")
    return on_flux, on_ivar


def with_light(spectra: Spectra, path: Path | str) -> Spectra:
    """Without those that have no positive median flux over usable pixels, and so no unit; they are counted."""
    pairs = zip(spectra.flux, spectra.ivar > 0, strict=True)
    good = np.array([used.any() and np.median(flux[used]) > 0 for flux, used in pairs], bool)
    bad = dict.fromkeys(map(str, spectra.ids[~good]), "it has no positive median flux")
    leave_out(bad, len(good), "spectra", path, "Give others.")
    return spectra if good.all() else spectra.select(good)
