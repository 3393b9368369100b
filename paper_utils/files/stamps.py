"""Cut-outs of galaxies as FITS files, from any survey, as `Images`: in nanomaggies, aligned, holes filled and counted.

A folder has one file per object and band (`ID_g.fits`) or one per object (`ID.fits`: an HDU per band, or a cube with
the bands in its header), and a table of the objects (`objects.read`). What a header says is read by `fits_images`.
"""

import re
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.io.fits import Header
from astropy.table import Table
from scipy.ndimage import binary_opening, gaussian_filter
from scipy.sparse import csr_array

from paper_utils.base.checks import odd_redshift
from paper_utils.base.containers import Images
from paper_utils.base.errors import DataError
from paper_utils.files import fits_images, objects
from paper_utils.files.failures import attempts, leave_out

BLUE_TO_RED = "ugrizy"
MAX_BAD_PIXELS = 0.25  # share of a band's pixels; with more, the object is left out
MAX_BAD = 0.1  # share of objects
KERNEL = 1.5  # pixels, of the Gaussian that fills holes
MISSING = 0.005  # share of pixels filled from which a stamp is flagged
# A line is a trail where each quarter of it is so many sigma above the lines this many pixels beside it. By hand, so
# that less than 1 % of clean stamps of the mock sky are flagged, and nine of ten trails.
TRAIL, BESIDE = 2.0, 4


class Stamp(NamedTuple):
    """One object: cube (B, H, W) nmgy with holes filled, its bands, arcsec per pixel, pixels that were filled."""

    cube: np.ndarray
    bands: str
    pixel_scale: float
    bad_pixels: int


def read(folder: Path | str, table: Table | None = None, *, max_bad: float = MAX_BAD, n_jobs: int = 1) -> Images:
    """The stamps of the objects in `table` (default: that in the folder, by `objects.read`), in its order.

    Bands are called by one letter, and are those that most objects have, from blue to red.
    Pixels that are not finite, and patches that are exactly 0, are filled from their neighbours; `truth` has their
    number as `bad_pixels`, `flag` ("missing" or "trail", see `flag_of`; empty if all is well), and what the table has.
    An object that cannot be used (no file for a band, another shape or pixel scale than most, no WCS, a band
    without values, a file cut short, too many bad pixels, no unit, no redshift) is left out, counted in a warning and
    listed in `truth.meta["skipped"]`, {id: problem}. Raises DataError for more than a share `max_bad` of such objects.
    """
    folder = Path(folder)
    if table is None:
        table = objects.read(objects.find(folder))
    folder = folder / "stamps" if (folder / "stamps").is_dir() else folder
    if "z" not in table.colnames:
        raise DataError("no column of redshifts", remedy="Give the column `z`.", source=folder, row="table of objects")
    files_of = _files(folder, table["id"])
    if not any(files_of.values()):
        remedy = f"Call them ID_g.fits, ID_r.fits ... or ID.fits; the first object is {str(table['id'][0])!r}."
        raise DataError(f"no stamps of the {len(table)} objects here", remedy=remedy, source=folder)
    # Those that most objects have, or "" where a file holds all of an object's.
    bands, _ = Counter(_ordered(files) for files in files_of.values() if files).most_common(1)[0]
    jobs = ((files_of[str(row["id"])], dict(zip(row.colnames, row, strict=True)), bands, folder) for row in table)
    stamps, bad = {}, {}
    for name, stamp in zip(map(str, table["id"]), attempts(_read, jobs, n_jobs), strict=True):
        if isinstance(stamp, DataError):
            bad[name] = f"{Path(stamp.source).name}: {stamp.problem}. {stamp.remedy}"
        else:
            stamps[name] = stamp
    _refuse_the_odd(stamps, bad)
    return collect(stamps, table, bad, folder, max_bad)


def fill(cube: np.ndarray) -> tuple[np.ndarray, int]:
    """A cube (B, H, W) without its non-finite pixels and patches of exact zeros, and how many pixels these were.

    A hole takes the mean of its neighbours under a Gaussian, and where none is near, the band's median. Raises
    DataError (which names the band by its number) for a band without values, of one value, or of too many holes.
    """
    cube = np.array(cube, np.float32)
    # Powers of ten that no nanomaggy reaches are marks of other programs, and overflow further on.
    cube[np.abs(cube) > 1e20] = np.nan
    # No pixel of an exposure is exactly 0 beside others, but those beyond the edge of its frame.
    blank = binary_opening(cube == 0, np.ones((1, 3, 3)))
    cube[blank & ~blank.all(axis=(1, 2), keepdims=True)] = np.nan
    good = np.isfinite(cube)
    for band, (image, seen) in enumerate(zip(cube, good, strict=True)):
        share, problem = 1 - seen.mean(), ""
        if share == 1:
            problem = "there are no values (all NaN)"
        elif share > MAX_BAD_PIXELS:
            problem = f"{share:.0%} of the pixels are bad"
        elif np.ptp(image[seen]) == 0:
            problem = f"every pixel is {image[seen][0]:g}"
        if problem:
            raise DataError(problem, remedy="Get it again, or leave the object out.", row=band)
        if share:
            near = gaussian_filter(seen.astype(np.float32), KERNEL, mode="constant")
            mean = gaussian_filter(np.where(seen, image, 0), KERNEL, mode="constant")
            mean = np.where(near > 1e-3, mean / np.maximum(near, 1e-3), np.median(image[seen]))
            image[~seen] = mean[~seen]
    return cube, int((~good).sum())


def flag_of(cube: np.ndarray, bad_pixels: int) -> str:
    """ "trail" where a straight line crosses a stamp (B, H, W) in a band, as satellites and bleeding charge leave,
    "missing" where more than 0.5 % of its pixels had to be filled, "" otherwise.
    """
    n = -(-min(cube.shape[1:]) // 64)  # pixels of large stamps are taken together, n x n
    size = min(cube.shape[1:]) // n
    if size >= 16:
        image = cube[:, : size * n, : size * n].reshape(len(cube), size, n, size, n).mean(axis=(2, 4))
        image = image - np.median(image, axis=(1, 2), keepdims=True)
        sigma = 1.4826 * np.median(abs(image), axis=(1, 2), keepdims=True)
        image = image / np.maximum(sigma, 1e-30)
        # Held, so that no star makes a line: thin trails; in logarithms: trails so bright that they are wide.
        image = np.concatenate([np.clip(image, -3, 8), 1.1 * np.arcsinh(image)])
        lines, inside = _lines(size)
        mean = (lines @ image.reshape(len(image), -1).T).reshape(-1, size, 4, len(image))
        above = mean[:, BESIDE:-BESIDE] - np.maximum(mean[:, : -2 * BESIDE], mean[:, 2 * BESIDE :])
        inside = inside[:, BESIDE:-BESIDE, :, None]
        if ((np.where(inside, above, np.inf).min(axis=2) > TRAIL) & inside.any(axis=2)).any():
            return "trail"
    return "missing" if bad_pixels > MISSING * cube.size else ""


@lru_cache(maxsize=4)
def _lines(size: int) -> tuple[csr_array, np.ndarray]:
    """Means along the quarters of all lines through a square image, as a matrix on its pixels, and which lie inside.

    Lines lie within 45 degrees of columns or of rows, and cross the middle row, or column, at each pixel: rows of the
    matrix are (2 directions x slopes, size, 4 quarters), as is `inside`.
    """
    half = (size - 1) / 2
    slope = np.linspace(-1, 1, size + 1)[:, None, None]
    y = np.arange(size)
    x = np.rint(np.arange(size)[:, None] + slope * (y - half)).astype(int)  # (slopes, size, size)
    within = (x >= 0) & (x < size)
    pixel = np.concatenate([np.where(within, y * size + x, 0), np.where(within, x * size + y, 0)])
    within = np.concatenate([within, within])
    quarter = np.broadcast_to(np.minimum(4 * y // size, 3), pixel.shape)
    row = np.arange(pixel[..., 0].size).reshape(*pixel.shape[:2], 1) * 4 + quarter
    shape = (pixel[..., 0].size * 4, size * size)
    sums = csr_array((np.ones(within.sum(), np.float32), (row[within], pixel[within])), shape)
    counts = np.asarray(sums.sum(axis=1)).ravel()
    inside = (counts > size / 8).reshape(*pixel.shape[:2], 4)
    inside &= inside.sum(axis=2, keepdims=True) >= 3  # shorter ones are not looked at
    return sums.multiply(1 / np.maximum(counts, 1)[:, None]).tocsr(), inside


def collect(stamps: dict[str, Stamp], table: Table, bad: dict[str, str], source: Path, max_bad: float) -> Images:
    """`Images` of `stamps` (by id; emptied), with their rows in `table` as truth. Raises DataError."""
    remedy = "Mend or leave out the stamps; if these are right, check what most of the others are."
    leave_out(bad, len(table), "objects", source, remedy, max_bad)
    truth = table[[str(name) in stamps for name in table["id"]]]
    z, ids = np.array(truth["z"], float), np.array(truth["id"])
    truth.remove_columns(["id", "z"])
    truth["bad_pixels"] = [stamps[name].bad_pixels for name in ids]
    truth["flag"] = [flag_of(stamps[name].cube, stamps[name].bad_pixels) for name in ids]
    truth.meta = {"skipped": bad}
    scale = float(np.median([stamp.pixel_scale for stamp in stamps.values()]))
    bands, shape = list(stamps[ids[0]].bands), stamps[ids[0]].cube.shape
    cube = np.empty((len(ids), *shape), np.float32)
    for row, name in enumerate(ids):
        cube[row] = stamps.pop(name).cube  # never two copies of all of them in memory
    return Images(cube=cube, bands=bands, pixel_scale=scale, z=z, ids=ids, truth=truth).check(source)


def _files(folder: Path, ids) -> dict[str, dict[str, Path]]:
    """{id: {band: file}}; the band is "" where a file holds all of them."""
    files_of = {str(name): {} for name in ids}
    for path in sorted(folder.glob("*")):
        if not (stem := re.fullmatch(r"(.+)\.(?:fit|fits|fits\.gz|fits\.fz)", path.name)):
            continue
        match = re.fullmatch(r"(.+)[._-]([A-Za-z])", stem[1])
        if stem[1] in files_of:
            files_of[stem[1]].setdefault("", path)
        elif match and match[1] in files_of:
            files_of[match[1]].setdefault(match[2].lower(), path)
    return files_of


def _ordered(bands) -> str:
    return "".join(sorted(bands, key=lambda band: (BLUE_TO_RED.find(band) % 99, band)))


def _read(files: dict[str, Path], row: dict, bands: str, folder: Path) -> Stamp:
    if not files:
        raise DataError("there is no file of it", remedy="Get it, or leave the object out.", source=folder)
    whole = files.get("")
    source = whole or next(iter(files.values()))
    remedy = "Fill it into the table, or leave the object out."
    if odd_redshift(row["z"]):
        raise DataError(f"its redshift is {row['z']:g}", remedy=remedy, source=source)
    if "latents" in row and not np.isfinite(row["latents"]).all():
        raise DataError("it has no latents", remedy=remedy, source=source)
    if whole:
        planes = fits_images.planes(whole)
        bands = bands or _ordered(band for band in planes if band)
        name_of = dict.fromkeys(bands, whole)
    else:
        name_of = {band: files[band] for band in bands if band in files}
        planes = {band: next(iter(fits_images.planes(file).values())) for band, file in name_of.items()}
    if missing := [band for band in bands or "?" if band not in planes]:
        remedy = "Get it; bands are named by the file (ID_g.fits) or the header (FILTER, EXTNAME, BANDS)."
        raise DataError(f"there is no image in band {missing[0]!r}", remedy=remedy, source=source)
    planes, files = ([of[band] for band in bands] for of in (planes, name_of))
    (shape, _), *others = Counter(data.shape for data, _ in planes).most_common()
    if others:
        odd = next(file for file, (data, _) in zip(files, planes, strict=True) if data.shape != shape)
        problem = f"it has {others[0][0]} pixels, other bands have {shape}"
        raise DataError(problem, remedy="Cut them to the same pixels.", source=odd)
    scale = _check_sky(planes, files, row)
    cube, at = np.empty((len(planes), *shape), np.float32), 0
    try:
        for at, (data, header) in enumerate(planes):
            nmgy = fits_images.factor(header, row.get("zero_point", np.nan))
            with np.errstate(all="ignore"):  # what overflows is a bad pixel
                cube[at] = fits_images.linear(data, header) * np.float32(nmgy)
        cube, bad_pixels = fill(cube)
    except DataError as problem:
        at = at if problem.row is None else problem.row
        raise DataError(f"band {bands[at]!r}: {problem.problem}", remedy=problem.remedy, source=files[at]) from None
    return Stamp(cube, bands, scale, bad_pixels)


def _check_sky(planes: list[tuple[np.ndarray, Header]], names: list[Path], row: dict) -> float:
    """Arcsec per pixel, from the WCS of all bands: they must show the same pixels of the sky, the object among them."""
    given = float(row.get("pixel_scale", np.nan))
    if np.isfinite(given) and given > 0:
        return given
    height, width = planes[0][0].shape
    corners = np.array([[(width - 1) / 2, (height - 1) / 2], [0, 0]])
    skies = [fits_images.sky(header, corners, name) for (_, header), name in zip(planes, names, strict=True)]
    scales, places, pointings = zip(*skies, strict=True)
    scale = scales[0]
    apart = np.linalg.norm(np.array(places) - places[0], axis=-1).max(axis=1) * 206_265 / scale
    position = [float(row.get(name, np.nan)) for name in ("ra", "dec")]
    x, y = pointings[0](*position) if np.isfinite(position).all() else (0, 0)
    remedy, at = "Cut or resample them to the same pixels.", 0
    if np.ptp(scales) > fits_images.SAME_SCALE * scale:
        problem = f"its bands have pixels of {min(scales):.4g} and {max(scales):.4g} arcsec"
        at = int(np.argmax(np.abs(np.array(scales) - scale)))
    elif apart.max() > 0.5:
        problem, at = f"its bands are {apart.max():.3g} pixels apart on the sky", int(apart.argmax())
    elif not (0 <= x < width and 0 <= y < height):
        problem = f"the object, at {position[0]:.5f} {position[1]:+.5f}, is not in it"
        remedy = "Check its ra and dec [deg] and the file's name."
    else:
        return scale
    raise DataError(problem, remedy=remedy, source=names[at])


def _refuse_the_odd(stamps: dict[str, Stamp], bad: dict[str, str]) -> None:
    """Stamps of another shape or pixel scale than most go into `bad`."""
    if not stamps:
        return
    (bands, shape), _ = Counter((stamp.bands, stamp.cube.shape[1:]) for stamp in stamps.values()).most_common(1)[0]
    scale = float(np.median([stamp.pixel_scale for stamp in stamps.values()]))
    for name, stamp in list(stamps.items()):
        if stamp.bands != bands:
            problem = f"it has bands {stamp.bands}, most have {bands}. Get the missing ones."
        elif stamp.cube.shape[1:] != shape:
            problem = f"it has {stamp.cube.shape[1:]} pixels, most have {shape}. Cut it to the same size."
        elif abs(stamp.pixel_scale - scale) > fits_images.SAME_SCALE * scale:
            problem = f"it has pixels of {stamp.pixel_scale:.4g} arcsec, most have {scale:.4g}. Resample it."
        else:
            continue
        bad[name] = problem
        del stamps[name]
