"""One door for the files that users bring: which reader a study's file goes to, and whether the study can use it."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from paper_utils.base.containers import Catalogue, Images, SedLibrary, Spectra
from paper_utils.base.errors import DataError
from paper_utils.files import alhambra_table, objects, pasquet, sdss, stamps
from paper_utils.files.failures import leave_out
from paper_utils.files.objects import LATENT
from paper_utils.files.stamps import MAX_BAD

if TYPE_CHECKING:
    from astropy.table import Table

STUDIES = ("01", "02", "03", "04", "05")
MIN_OBJECTS = 100  # fewer cannot be split into parts to train, validate and test on
MAX_CHECKED = 2000  # images that a check looks at, spread over all
MAGNITUDES = (5.0, 40.0)  # within which the median of any survey's galaxies lies
SAME_Z = 5e-3  # of 1 + z, between an object's table and its spectrum


class Pair(NamedTuple):
    """Images and, of the same objects in the same order, spectra; or None, where `images.truth` has latents."""

    images: Images
    spectra: Spectra | None

    def __str__(self) -> str:
        images, latents = str(self.images).partition(", truth")[0], "latents" in self.images.truth.colnames
        parts = [images, f"{self.images.truth['latents'].shape[1]} latents"] if latents else [images]
        return "; ".join(parts + ([str(self.spectra).partition(", truth")[0]] if self.spectra else []))


def check_file(
    study: str, path: Path | str, mapping: Path | str | None = None
) -> SedLibrary | Spectra | Pair | Catalogue:
    """Load and check the user's file for a study; the result's `str` is a one-line summary.

    Study 01 takes a `SedLibrary` file, 02 SDSS spectra (`sdss.read`: a folder, a spec file, a `Spectra` file; those
    without positive median flux are left out and counted in a warning), 03 and 04 a folder of images and spectra or
    latents (`images_and_spectra`; of more than `MAX_CHECKED` objects only so many are looked at), 05 a catalogue
    (`alhambra.read`), with a `mapping` of its columns where it is not ALHAMBRA's own.
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
    elif study in ("03", "04"):
        container = images_and_spectra(path, study, max_objects=MAX_CHECKED)
    else:
        container = alhambra_table.read(path, mapping)
        _check_catalogue(container, path)
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


def images_and_spectra(path: Path | str, study: str = "03", *, max_objects: int | None = None, n_jobs: int = 1) -> Pair:
    """Images of galaxies with their spectra (studies 03 and 04) or latents of these (study 04), from a folder with

    - images.h5 (`Images.save`), or Pasquet+ 2019's sdss.npz (`pasquet`), or FITS stamps with their table (`stamps`),
    - spectra.h5 (`Spectra.save`) or a folder spectra/ of SDSS files, matched by plate, MJD and fibre (or specObjID) or
      by the objects' ids; in study 04 the table of objects may have latents instead.

    path : the folder, or the file of images in it.   max_objects : at most so many, spread over all.   n_jobs :
    processes that read FITS files.

    Objects without a spectrum are left out and counted in a warning, as are the few that cannot be read (more than
    `stamps.MAX_BAD` of them are an error). `images.truth` has `bad_pixels` (N,), `latents` (N, n_latent) where they
    were given, and what else is known of the objects. Raises DataError.
    """
    path = Path(path)
    if not path.exists():
        raise DataError("there is no such file or folder", remedy="Check the path.", source=path)
    folder = path if path.is_dir() else path.parent
    source, images = _image_file(path), None
    if source is None:
        table = objects.read(objects.find(folder))
    elif pasquet.is_cube(source):
        table = pasquet.objects(source)
    else:
        images = _with_truth(Images.load(source))
        table = _as_objects(images)
    there, container = _spectra_in(folder)
    if there:
        spectra, table = _agreeing(folder, *_matched(folder, table, there, container, max_objects, n_jobs))
    else:
        _require_latents(table, study, folder)
        spectra, table = None, table[_spread(len(table), max_objects)]
    if images is not None:
        images = images.select(table["row"])
    elif source is not None:
        images = pasquet.read(source, table)
    else:
        images = _with_truth(stamps.read(folder, table, n_jobs=n_jobs))
    if spectra is not None:
        row_of = {name: row for row, name in enumerate(table["id"])}
        spectra = spectra.select([row_of[name] for name in images.ids])
    return Pair(images, spectra)


def _image_file(path: Path) -> Path | None:
    """The file with all images, or None where there are stamps."""
    if path.is_file():
        if path.suffix not in pasquet.ENDINGS:
            remedy = "Give a folder as in data/README.md, or its images.h5 or sdss.npz."
            raise DataError("neither a folder nor a file of images", remedy=remedy, source=path)
        return path
    files = sorted(file for file in path.iterdir() if file.stem == "images" or pasquet.is_cube(file))
    return next((file for file in files if file.suffix in pasquet.ENDINGS), None)


def _with_truth(images: Images) -> Images:
    """With a truth table, and latents in one column where they stand in several."""
    from astropy.table import Table

    truth = Table(images.truth) if images.truth is not None else Table({"bad_pixels": np.zeros(len(images), int)})
    numbered = sorted((int(match[1]), name) for name in truth.colnames if (match := LATENT.fullmatch(name)))
    if numbered and "latents" not in truth.colnames:
        truth["latents"] = np.stack([np.asarray(truth[name], float) for _, name in numbered], axis=1)
        truth.remove_columns([name for _, name in numbered])
    return dataclasses.replace(images, truth=truth)


def _as_objects(images: Images) -> Table:
    """A file's images as the table of objects that other sources of images begin with."""
    from astropy.table import Table

    columns = {"id": images.ids, "z": images.z, "row": np.arange(len(images)), "spectrum": np.full(len(images), "")}
    return Table(
        columns | {name: images.truth[name] for name in ("latents", "spectrum") if name in images.truth.colnames}
    )


def _require_latents(table: Table, study: str, folder: Path) -> None:
    """Without spectra, latents in the table of objects will do for study 04."""
    if study == "04" and "latents" in table.colnames:
        return
    if study == "04":
        problem, more = (
            "neither spectra nor, in the table of objects, latents",
            ", or columns s_1, s_2 ... to the table",
        )
    else:
        problem, more = "no spectra", ""
    remedy = f"Add spectra.h5 or a folder spectra/ of SDSS files{more}."
    raise DataError(f"there are {problem} beside the images", remedy=remedy, source=folder)


def _matched(
    folder: Path,
    table: Table,
    there: dict[str, int | Path],
    container: Spectra | None,
    max_objects: int | None,
    n_jobs: int,
) -> tuple[Spectra, Table]:
    """The objects that have one of the spectra `there` (`_spectra_in`), and these, a row for each object."""
    keys = [next((key for key in (row["spectrum"], row["id"]) if key in there), None) for row in table]
    has = np.array([key is not None for key in keys])
    remedy = (
        "Spectra are found by plate, MJD and fibre or by the objects' ids: "
        f"{str(table['spectrum'][0]) or str(table['id'][0])!r} for one, {next(iter(there))!r} is there."
    )
    leave_out(dict.fromkeys(map(str, table["id"][~has]), "no spectrum"), len(table), "objects", folder, remedy)
    rows = np.flatnonzero(has)
    rows = rows[_spread(len(rows), max_objects)]
    found = [there[keys[row]] for row in rows]
    if container is not None:
        spectra, table = container.select(found), table[rows]
    else:
        spectra = sdss.read_files(found, folder / "spectra", skip_bad=True, most=MAX_BAD, n_jobs=n_jobs)
        skipped = spectra.truth.meta["skipped"]
        read = [str(file.relative_to(folder / "spectra")) not in skipped for file in found]
        table = table[rows[read]]
    return dataclasses.replace(spectra, ids=np.array(table["id"])), table


def _agreeing(folder: Path, spectra: Spectra, table: Table) -> tuple[Spectra, Table]:
    """Those whose own redshift, where they have one, is their spectrum's; the spectrum's is then kept."""
    if "z" not in table.colnames:
        table["z"] = spectra.z
    stated = np.where(np.isfinite(table["z"]), table["z"], spectra.z)
    table["z"] = spectra.z
    same = np.abs(stated - spectra.z) <= SAME_Z * (1 + spectra.z)
    bad = {
        str(table["id"][row]): f"redshift {stated[row]:.4f} beside {spectra.z[row]:.4f} of its spectrum"
        for row in np.flatnonzero(~same)
    }
    leave_out(bad, len(same), "objects", folder, "Check which spectrum belongs to which object.", MAX_BAD)
    return spectra.select(same), table[same]


def _spread(n: int, most: int | None) -> np.ndarray:
    """Indices of all, or of at most so many, evenly spread."""
    return np.arange(n) if most is None or n <= most else np.linspace(0, n - 1, most).astype(int)


def _spectra_in(folder: Path) -> tuple[dict[str, int | Path], Spectra | None]:
    """The spectra beside images, by name: rows of a `Spectra` file and this, or SDSS files."""
    for name in ("spectra.h5", "spectra.hdf5"):
        if (folder / name).is_file():
            spectra = Spectra.load(folder / name)
            return {str(name): row for row, name in enumerate(spectra.ids)}, spectra
    files = {}
    for file in sorted((folder / "spectra").rglob("*")):
        if file.name.endswith(sdss.FITS_ENDINGS):
            numbers = re.match(r"spec-(\d{3,5})-(\d{5})-(\d{1,4})\.", file.name)
            files[sdss.object_id(*map(int, numbers.groups())) if numbers else file.name.partition(".")[0]] = file
    return files, None


def _check_catalogue(catalogue: Catalogue, path: Path | str) -> None:
    """Something to learn from and something to learn: bands that hold magnitudes, and a label."""
    for band in catalogue.bands:
        values = np.asarray(catalogue.table[band])
        measured = values[np.abs(values) != 99]
        if not measured.size:
            problem, remedy = "no object has a magnitude", "Leave the band out of the mapping."
        elif not MAGNITUDES[0] < (median := np.median(measured)) < MAGNITUDES[1]:
            problem = f"the median is {median:g}, which is no magnitude"
            remedy = "If these are fluxes, give their `flux_zero_point:` in the mapping."
        else:
            continue
        raise DataError(problem, remedy=remedy, source=path, row=f"band {str(band)!r}")
    if "zb_1" not in catalogue.table.colnames:
        problem, remedy = "there is no redshift to learn", "Give `redshift: COLUMN` in the mapping."
    elif (np.abs(catalogue.table["zb_1"]) == 99).all():
        problem, remedy = "no object has a redshift", "Give another column."
    else:
        return
    raise DataError(problem, remedy=remedy, source=path, row="zb_1")
