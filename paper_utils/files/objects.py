"""The table that comes with a user's stamps: which objects there are, their redshifts, latents and SDSS spectra."""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from astropy.table import Table

from paper_utils.base.errors import DataError
from paper_utils.files import fits_files, sdss, tables

ENDINGS = (".csv", ".csv.gz", ".tsv", ".txt", ".ecsv")
IDS = ("id", "object_id", "objid", "name", "specobjid")
# What is read, and other names it may have in the file; NaN where a cell is blank.
NUMBERS = {
    "z": ("z", "redshift", "z_spec"), "ra": ("ra", "ra_deg", "raj2000"), "dec": ("dec", "dec_deg", "dej2000"),
    "plate": ("plate",), "mjd": ("mjd",), "fiber": ("fiber", "fiberid"), "ebv": ("ebv",),
    "zero_point": ("zero_point",), "pixel_scale": ("pixel_scale",),
}  # fmt: skip
UNITS = {"ra": "deg", "dec": "deg", "zero_point": "mag", "pixel_scale": "arcsec"}
LATENT = re.compile(r"(?:s|latents?)_?\[?(\d+)\]?", re.IGNORECASE)  # s_1 ... s_6, latent1, a vector's latents[0]


def find(folder: Path) -> Path:
    """The table in a folder: objects.* (also FITS), or the only csv, tsv, txt or ecsv file. Raises DataError."""
    named = sorted(file for file in folder.glob("objects.*") if file.name.endswith((*ENDINGS, *fits_files.ENDINGS)))
    found = named or sorted(file for file in folder.glob("*") if file.name.endswith(ENDINGS))
    if len(found) != 1:
        names = ", ".join(file.name for file in found[:3]) or "none"
        problem = f"{len(found)} tables of objects here ({names})"
        remedy = "Put one beside the stamps, called objects.csv (or .ecsv, .fits), with columns id, z and others."
        raise DataError(problem, remedy=remedy, source=folder)
    return found[0]


def read(path: Path | str) -> Table:
    """A table of objects (text, FITS or ECSV; see `tables.read`), a row for each, as far as the file has them:

    id : text, unique (columns `IDS`).   those of `NUMBERS`.   latents (N, n_latent) : columns s_1, s_2 ... or
    latent_1 ..., or a vector column.   spectrum : text, "PLATE-MJD-FIBER" of its SDSS spectrum, from plate, mjd and
    fiber or the specObjID, "" where there is none.

    Raises DataError naming file, row and column.
    """
    path = Path(path)
    names = {name.casefold(): name for name in tables.names(path, [*IDS, *sum(NUMBERS.values(), ())])}
    id_column = next((names[name] for name in IDS if name in names), None)
    if id_column is None:
        problem = f"no column of ids among {', '.join(list(names.values())[:6])} ..."
        raise DataError(problem, remedy="Give the column `id`; stamps are found by it.", source=path)
    source_of = {ours: names[n] for ours, theirs in NUMBERS.items() for n in theirs[::-1] if n in names}
    latents = latent_names(names.values())
    values, ids = tables.read_whole(path, [*source_of.values(), *latents], id_column=id_column)
    tables.check_ids(ids, path, of_files=True)
    table = Table({"id": np.array(ids)})
    for ours, name in source_of.items():
        table[ours] = values[name]
        table[ours].unit = UNITS.get(ours)
    if latents:
        table["latents"] = np.stack([values[name] for name in latents], axis=1)
    spec_column = names.get("specobjid", id_column)
    spec_ids = ids if spec_column == id_column else tables.read_whole(path, (), id_column=spec_column)[1]
    numbers = (table[name] if name in table.colnames else None for name in ("plate", "mjd", "fiber"))
    table["spectrum"] = sdss.spectrum_names(spec_ids, *numbers)
    return table


def latent_names(names: Iterable[str]) -> list[str]:
    """Those of a table's columns that hold a latent each, in the order of their numbers."""
    return sorted(filter(LATENT.fullmatch, names), key=lambda name: (int(LATENT.fullmatch(name)[1]), name))
