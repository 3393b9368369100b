"""One door for the files that users bring: which reader a study's file goes to, and whether the study can use it."""

from pathlib import Path

import numpy as np

from paper_utils.base.containers import Catalogue, SedLibrary, Spectra
from paper_utils.base.errors import DataError
from paper_utils.files import alhambra_table, sdss
from paper_utils.files.failures import leave_out
from paper_utils.files.pairs import Pair, images_and_spectra

STUDIES = ("01", "02", "03", "04", "05")
MIN_OBJECTS = 100  # fewer cannot be split into parts to train, validate and test on
MAX_CHECKED = 2000  # images that a check looks at, spread over all


def check_file(
    study: str, path: Path | str, mapping: Path | str | None = None
) -> SedLibrary | Spectra | Pair | Catalogue:
    """Load and check the user's file for a study; the result's `str` is a one-line summary.

    Study 01 takes a `SedLibrary` file, 02 SDSS spectra (`sdss.read`: a folder, a spec file, a `Spectra` file; those
    without positive median flux are left out and counted in a warning), 03 and 04 a folder of images and spectra or
    latents (`pairs.images_and_spectra`; of more than `MAX_CHECKED` objects only so many are looked at), 05 a catalogue
    (`alhambra_table.read_to_train`), with a `mapping` of its columns where it is not ALHAMBRA's own.
    Raises DataError for a file that cannot be used and for a study that takes none.
    """
    if study not in STUDIES:
        remedy = f"Studies that do: {', '.join(STUDIES)}."
        raise DataError(f"study {study!r} takes no data file", remedy=remedy, source=path)
    if mapping is not None and study != "05":
        raise DataError(f"study {study} takes no mapping", remedy="Leave it out.", source=mapping)
    if study == "01":
        container = SedLibrary.load(path)
    elif study == "02":
        container = _with_light(sdss.read(path), path)
    elif study == "05":
        container = alhambra_table.read_to_train(path, mapping)
    else:
        container = images_and_spectra(path, study, max_objects=MAX_CHECKED)
    n = len(container.images if isinstance(container, Pair) else container)
    if n < MIN_OBJECTS:
        remedy = f"Give {MIN_OBJECTS} at least; the papers have many thousands."
        raise DataError(f"{n} objects are too few to train a network on", remedy=remedy, source=path)
    return container


def _with_light(spectra: Spectra, path: Path | str) -> Spectra:
    """Without those that have no positive median flux over usable pixels, and so no unit; they are counted."""
    pairs = zip(spectra.flux, spectra.ivar > 0, strict=True)
    good = np.array([used.any() and np.median(flux[used]) > 0 for flux, used in pairs], bool)
    bad = dict.fromkeys(map(str, spectra.ids[~good]), "it has no positive median flux")
    leave_out(bad, len(good), "spectra", path, "Give others.")
    return spectra if good.all() else spectra.select(good)
