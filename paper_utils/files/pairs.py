"""Images of galaxies with spectra, or latents, of the same objects: what studies 03 and 04 take from a user."""

import dataclasses
import re
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.table import Table

from paper_utils.base.containers import Images, Spectra
from paper_utils.base.errors import DataError
from paper_utils.files import fits_files, objects, pasquet, sdss, stamps
from paper_utils.files.failures import leave_out
from paper_utils.files.stamps import MAX_BAD

SAME_Z = 5e-3  # of 1 + z, between an object's table and its spectrum


class Pair(NamedTuple):
    """Images and, of the same objects in the same order, spectra; or None, where `images.truth` has latents."""

    images: Images
    spectra: Spectra | None

    def __str__(self) -> str:
        images, latents = str(self.images).partition(", truth")[0], "latents" in self.images.truth.colnames
        parts = [images, f"{self.images.truth['latents'].shape[1]} latents"] if latents else [images]
        return "; ".join(parts + ([str(self.spectra).partition(", truth")[0]] if self.spectra else []))


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
    source = _image_file(path)
    if source is None:
        table, read_images = objects.read(objects.find(folder)), partial(stamps.read, folder, n_jobs=n_jobs)
    elif pasquet.is_cube(source):
        table, read_images = pasquet.objects(source), partial(pasquet.read, source)
    else:
        saved = _with_truth(Images.load(source))
        table, read_images = _as_objects(saved), lambda table: saved.select(table["row"])
    there, container = _spectra_in(folder)
    if not there:
        if study != "04" or "latents" not in table.colnames:
            neither = "no spectra" if study != "04" else "neither spectra nor, in the table of objects, latents"
            remedy = (
                "Add spectra.h5 or a folder spectra/ of SDSS files (study 4: or columns s_1, s_2 ... in the table)."
            )
            raise DataError(f"there are {neither} beside the images", remedy=remedy, source=folder)
        return Pair(read_images(table[_spread(len(table), max_objects)]), None)
    keys = [next((key for key in (row["spectrum"], row["id"]) if key in there), None) for row in table]
    one = str(table["spectrum"][0]) or str(table["id"][0])
    remedy = f"Spectra are found by plate, MJD and fibre or by ids: {one!r} for one, {next(iter(there))!r} is there."
    without = {str(name): "no spectrum" for name, key in zip(table["id"], keys, strict=True) if key is None}
    leave_out(without, len(table), "objects", folder, remedy)
    rows = np.flatnonzero([key is not None for key in keys])
    rows = rows[_spread(len(rows), max_objects)]
    found, table = [there[keys[row]] for row in rows], table[rows]
    if container is not None:
        spectra = container.select(found)
    else:
        spectra = sdss.read_files(found, folder / "spectra", skip_bad=True, most=MAX_BAD, n_jobs=n_jobs)
        skipped = spectra.truth.meta["skipped"]
        table = table[[str(file.relative_to(folder / "spectra")) not in skipped for file in found]]
    spectra, table = _agreeing(folder, dataclasses.replace(spectra, ids=np.array(table["id"])), table)
    images = read_images(table)
    row_of = {name: row for row, name in enumerate(table["id"])}
    return Pair(images, spectra.select([row_of[name] for name in images.ids]))


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
    truth = Table(images.truth) if images.truth is not None else Table({"bad_pixels": np.zeros(len(images), int)})
    names = objects.latent_names(truth.colnames)
    if names and "latents" not in truth.colnames:
        truth["latents"] = np.stack([np.asarray(truth[name], float) for name in names], axis=1)
        truth.remove_columns(names)
    return dataclasses.replace(images, truth=truth)


def _as_objects(images: Images) -> Table:
    """A file's images as the table of objects that other sources of images begin with."""
    columns = {"id": images.ids, "z": images.z, "row": np.arange(len(images)), "spectrum": np.full(len(images), "")}
    stated = {"latents", "spectrum"}.intersection(images.truth.colnames)
    return Table(columns | {name: images.truth[name] for name in stated})


def _agreeing(folder: Path, spectra: Spectra, table: Table) -> tuple[Spectra, Table]:
    """Those whose own redshift, where they have one, is their spectrum's; the spectrum's is then kept."""
    stated = np.asarray(table["z"]) if "z" in table.colnames else spectra.z
    stated = np.where(np.isfinite(stated), stated, spectra.z)
    table["z"] = spectra.z
    same = np.abs(stated - spectra.z) <= SAME_Z * (1 + spectra.z)
    off = "redshift {:.4f} beside {:.4f} of its spectrum"
    bad = {str(table["id"][row]): off.format(stated[row], spectra.z[row]) for row in np.flatnonzero(~same)}
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
        if file.name.endswith(fits_files.ENDINGS):
            numbers = re.match(r"spec-(\d{3,5})-(\d{5})-(\d{1,4})\.", file.name)
            files[sdss.object_id(*map(int, numbers.groups())) if numbers else file.name.partition(".")[0]] = file
    return files, None
