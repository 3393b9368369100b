"""One door for the files that users bring: which reader a study's file goes to, and whether the study can use it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from paper_utils.data import Catalogue, SedLibrary, Spectra
from paper_utils.errors import DataError

STUDIES = ("01", "02", "05")
MIN_OBJECTS = 100  # fewer cannot be split into parts to train, validate and test on
MAGNITUDES = (5.0, 40.0)  # within which the median of any survey's galaxies lies


def check_file(study: str, path: Path | str, mapping: Path | str | None = None) -> SedLibrary | Spectra | Catalogue:
    """Load and check the user's file for a study; the container's `str` is a one-line summary.

    Study 01 takes a `SedLibrary` file, 02 SDSS spectra (`sdss.read`: a folder, a spec file, a `Spectra` file), 05 a
    catalogue (`alhambra.read`), with a `mapping` of its columns where it is not ALHAMBRA's own.
    Raises DataError for a file that cannot be used and for a study that takes none.
    """
    if study not in STUDIES:
        raise DataError(
            f"study {study!r} takes no data file",
            remedy=f"Studies that do: {', '.join(STUDIES)}.",
            source=path,
        )
    if mapping is not None and study != "05":
        raise DataError(f"study {study} takes no mapping", remedy="Leave it out.", source=mapping)
    if study == "01":
        container = SedLibrary.load(path)
    elif study == "02":
        from paper_utils.archives import sdss

        container = sdss.read(path)
    else:
        from paper_utils.archives import alhambra

        container = alhambra.read(path, mapping)
        _check_catalogue(container, path)
    if len(container) < MIN_OBJECTS:
        raise DataError(
            f"{len(container)} objects are too few to train a network on",
            remedy=f"Give {MIN_OBJECTS} at least; the papers have many thousands.",
            source=path,
        )
    return container


def _check_catalogue(catalogue: Catalogue, path: Path | str) -> None:
    """Something to learn from and something to learn: bands that hold magnitudes, and a label."""
    for band in catalogue.bands:
        values = np.asarray(catalogue.table[band])
        measured = values[np.abs(values) != 99]
        low, high = MAGNITUDES
        if not measured.size:
            problem, remedy = "no object has a magnitude", "Leave the band out of the mapping."
        elif not low < (median := np.median(measured)) < high:
            problem = f"the median is {median:g}, which is no magnitude"
            remedy = "If these are fluxes, give their `flux_zero_point:` in the mapping."
        else:
            continue
        raise DataError(problem, remedy=remedy, source=path, row=f"band {str(band)!r}")
    if "zb_1" not in catalogue.table.colnames:
        raise DataError(
            "there is no redshift to learn", remedy="Give `redshift: COLUMN` in the mapping.", source=path, row="zb_1"
        )
    if (np.abs(catalogue.table["zb_1"]) == 99).all():
        raise DataError("no object has a redshift", remedy="Give another column.", source=path, row="zb_1")
