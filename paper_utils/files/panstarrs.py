"""Pan-STARRS1 images of galaxies: stamps in g, r, i, z, y from the archive's cut-out service, as FITS files.

The service (STScI, https://outerspace.stsci.edu/display/PANSTARRS/PS1+Image+Cutout+Service) first lists the stacked
images of the patch of sky ("skycell") that holds a position (ps1filenames.py), then cuts from each (fitscut.cgi). All
bands of a skycell share one grid of pixels of 0.25 arcsec; bad pixels are NaN; fluxes are linear (see
`fits_images.linear`). `stamps.read` makes `Images` of what comes. Survey: Chambers+ 2016 (2016arXiv161205560C).
"""

import contextlib
import warnings
from collections import defaultdict
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table

from paper_utils.base import paths
from paper_utils.base.errors import DataError
from paper_utils.files import fits_files, objects, tables
from paper_utils.files.download import download

BASE = "https://ps1images.stsci.edu"
BANDS, SIZE = "grizy", 224  # Wu & Peek 2020, Sec. 2.2
PER_SECOND = 5.0  # requests: 64 000 objects take a day


def get(table: Table | Path | str, folder: Path | str, *, size: int = SIZE, base: str = BASE, **options) -> Path:
    """Fetch stamps of size x size pixels of all objects into `folder`/stamps, and the table beside them; the folder.

    table : a file (`objects.read`), or a Table with columns id, ra and dec [deg] and any others.
    Stamps are called ID_g.fits and so on. Those that are there whole, and of this size, are not fetched again: a second
    call goes on where one was stopped. `options` are those of `download.download` (n_parallel = 4 requests at a time,
    n_tries = 4, progress); at most `PER_SECOND` requests begin in a second, unless it says otherwise.

    Objects outside the survey (south of declination -30) are counted in a warning. Raises DataError for a table that
    cannot be used, if no object is in the survey, and, after all others were fetched, if a stamp could not be.
    """
    folder = Path(folder)
    path = None if hasattr(table, "colnames") else Path(table)
    rows = objects.read(path) if path else table
    _check(rows, path)
    _check_places(rows, folder)
    options = {"per_second": PER_SECOND} | options
    places = {str(row["id"]): {"ra": float(row["ra"]), "dec": float(row["dec"])} for row in rows}
    listings = {name: folder / ".listings" / f"{name}.txt" for name in places}
    queries = {name: urlencode(place | {"filters": BANDS, "type": "stack"}) for name, place in places.items()}
    wanted = {listings[name]: [f"{base}/cgi-bin/ps1filenames.py?{query}"] for name, query in queries.items()}
    download(wanted, _is_listing, **options)

    wanted, lacking = {}, []
    for name, place in places.items():
        stacks = _stacks(listings[name])
        if not set(BANDS) <= set(stacks):
            lacking.append(name)
            continue
        query = place | {"size": size, "format": "fits"}
        for band in BANDS:
            stamp = folder / "stamps" / f"{name}_{band}.fits"
            wanted[stamp] = [f"{base}/cgi-bin/fitscut.cgi?{urlencode(query | {'red': stacks[band]}, safe='/')}"]
    if not wanted:
        problem = f"none of {len(rows)} objects is in the survey in all of {', '.join(BANDS)}"
        remedy = "It covers declinations above -30 degrees: check ra and dec [deg]."
        raise DataError(problem, remedy=remedy, source=path)
    if lacking:
        warnings.warn(f"{len(lacking)} of {len(rows)} objects are not in the survey ({lacking[0]} ...)", stacklevel=2)
    there = rows[~np.isin(list(places), lacking)]
    with paths.atomic(folder / "objects.ecsv") as temporary:
        there.write(temporary, format="ascii.ecsv", overwrite=True)
    download(wanted, partial(_is_stamp, size=size), **options)
    return folder


def _check_places(rows: Table, folder: Path) -> None:
    """What is in the folder from before must be of the same objects: files are called by their ids alone."""
    before = folder / "objects.ecsv"
    if not before.exists():
        return
    known = objects.read(before)
    names, *rows_of = np.intersect1d(np.array(rows["id"], str), known["id"], return_indices=True)
    here, there = (
        SkyCoord(np.array(table["ra"][i], float), np.array(table["dec"][i], float), unit="deg")
        for table, i in zip((rows, known), rows_of, strict=True)
    )
    for name in names[here.separation(there).arcsec > 1][:1]:
        problem = f"object {name} lies elsewhere than when this folder was filled"
        raise DataError(problem, remedy="Fetch these objects into another folder.", source=folder)


def _check(rows: Table, source: Path | None) -> None:
    for name in ("id", "ra", "dec"):
        if name not in rows.colnames:
            raise DataError(f"no column {name!r}", remedy="Give id, ra and dec [deg].", source=source)
    tables.check_ids(rows["id"], source, of_files=True)
    ra, dec = np.asarray(rows["ra"], float), np.asarray(rows["dec"], float)
    good = (ra >= 0) & (ra <= 360) & (np.abs(dec) <= 90)
    for i in np.flatnonzero(~good)[:1]:
        problem = f"the position is {ra[i]:g} {dec[i]:+g}"
        raise DataError(problem, remedy="Give degrees.", source=source, row=f"row {i + 1}")


def _listing(path: Path) -> list[dict[str, str]]:
    names, *rows = (line.split() for line in path.read_text(errors="replace").splitlines() if line.strip())
    return [dict(zip(names, row, strict=True)) for row in rows]


def _is_listing(path: Path) -> bool:
    try:
        with path.open(errors="replace") as lines:
            names = lines.readline().split()
        return {"projcell", "subcell", "filter", "filename"} <= set(names) and _listing(path) is not None
    except ValueError:  # a row of another length
        return False


def _stacks(path: Path) -> dict[str, str]:
    """{band: name in the archive} of the skycell with most bands."""
    by_cell = defaultdict(dict)
    for row in _listing(path):
        by_cell[row["projcell"], row["subcell"]].setdefault(row["filter"], row["filename"])
    return max(by_cell.values(), key=len, default={})


def _is_stamp(path: Path, size: int) -> bool:
    with contextlib.suppress(Exception):  # of astropy, by what is wrong
        header = fits.getheader(path) if fits_files.is_whole(path) else {}
        return header.get("NAXIS1") == header.get("NAXIS2") == size
    return False
