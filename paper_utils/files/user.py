"""One door for the files that users bring: which reader a study's file goes to, and whether the study can use it."""

from pathlib import Path

from paper_utils.base.containers import Catalogue, SedLibrary, Spectra
from paper_utils.base.errors import DataError
from paper_utils.files import alhambra_table, sdss
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
        container = sdss.with_light(sdss.read(path), path)
    elif study == "05":
        container = alhambra_table.read_to_train(path, mapping)
    else:
        container = images_and_spectra(path, study, max_objects=MAX_CHECKED)
    n = len(container.images if isinstance(container, Pair) else container)
    if n < MIN_OBJECTS:
        remedy = f"Give {MIN_OBJECTS} at least; the papers have many thousands."
        raise DataError(f"{n} objects are too few to train a network on", remedy=remedy, source=path)
    return container
