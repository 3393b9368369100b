"""The SDSS images of Pasquet+ 2019 (2019A&A...621A..26P) as `Images`, and which SDSS spectrum each belongs to.

The published `sdss.npz` holds `cube` (659 857, 64, 64, 5), float32 in u, g, r, i, z, 54 GB, and `labels`, a structured
array of 64 columns with specObjID, z, EBV and others. Only rows that are asked for are read; nothing is unpickled.
The same arrays may lie in a folder as cube.npy and labels.npy, or in an HDF5 file as datasets.
"""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
from astropy.table import Table

from paper_utils.base.checks import odd_redshift
from paper_utils.base.containers import Images
from paper_utils.base.errors import DataError, readable
from paper_utils.files import sdss, stamps

BANDS, PIXEL_SCALE = "ugriz", 0.396
CUBES = ("cube", "data", "images")  # `data` in the authors' example of 100 galaxies
ENDINGS = (".npz", ".npy", ".h5", ".hdf5")
OURS = {name: name for name in ("z", "ra", "dec", "ebv", "plate", "mjd", "fiber")}
OURS |= {"fiberid": "fiber", "specobjid": "specObjID"}
R_MAGNITUDES = ("dered_petro_r", "petroMag_r", "modelMag_r", "cModelMag_r")
WHOLE = "a file that can be read to its end"
BLOCK = 256  # rows read at a time, 21 MB
REMEDY = "Give the published sdss.npz, or cube (N, 64, 64, 5) and labels (N,) saved by numpy or h5py; no pickles."

Rows = Callable[[int, int], np.ndarray]  # rows [start, stop) of the cube


def objects(path: Path | str) -> Table:
    """A row for each galaxy of the file: id and spectrum ("PLATE-MJD-FIBER", by which `sdss.read` calls it too), `row`
    in the file, z, and what else the labels have.

    Without specObjID or plate, mjd and fiber, objects are numbered and have no spectrum. A spectrum's repeats are left
    out, counted in a warning. Raises DataError.
    """
    path = Path(path)
    with _opened(path) as (shape, _, labels):
        columns = _columns(labels, shape[0], path)
    names = _spectra(columns, shape[0], path)
    columns.pop("specObjID", None)
    rows = np.arange(shape[0])
    table = Table(columns | {"spectrum": names, "id": names if names.any() else rows.astype(str), "row": rows})
    _, first = np.unique(table["id"], return_index=True)
    if len(first) < len(table):
        warnings.warn(f"{len(table) - len(first)} of {len(table)} rows repeat an object: left out", stacklevel=2)
    return table[np.sort(first)]


def read(path: Path | str, table: Table | None = None, *, max_bad: float = stamps.MAX_BAD) -> Images:
    """The images of the objects in `table` (rows of `objects`; default: all).

    Bad pixels and bad objects as in `stamps.read`. Where the labels have a magnitude in r (`R_MAGNITUDES`), a warning
    says when the images' own differ by more than one: then they are not in nanomaggies. Raises DataError.
    """
    path = Path(path)
    table = objects(path) if table is None else table
    found, bad = {}, {}
    with _opened(path) as (shape, rows, _):
        for at, image in _selected(rows, shape[0], np.asarray(table["row"]), path):
            name = str(table["id"][at])
            try:
                if odd_redshift(table["z"][at]):
                    raise DataError(f"its redshift is {table['z'][at]:g}", remedy="Leave it out.")
                cube, n = stamps.fill(np.moveaxis(image, -1, 0))
                found[name] = stamps.Stamp(cube, BANDS, PIXEL_SCALE, n)
            except DataError as problem:
                band = "" if problem.row is None else f"band {BANDS[problem.row]!r}: "
                bad[name] = f"{band}{problem.problem}"
    images = stamps.collect(found, table[[name for name in table.colnames if name != "row"]], bad, path, max_bad)
    _check_magnitudes(images, path)
    return images


def is_cube(path: Path) -> bool:
    """Whether a file's name, and of HDF5 its datasets, say that it is such a cube and not `Images.save`'s."""
    if path.suffix != ".h5" and path.suffix != ".hdf5":
        return path.suffix == ".npz" or (path.suffix == ".npy" and path.stem in CUBES)
    with contextlib.suppress(OSError, RuntimeError, KeyError, ValueError), h5py.File(path) as file:
        return "bands" not in file and any(name in file for name in CUBES)
    return False


def _columns(labels: dict[str, np.ndarray], n: int, path: Path) -> dict[str, np.ndarray]:
    """The labels as columns (n,) under their own names, those of `OURS` as we write them."""
    columns = {}
    for name, values in labels.items():
        parts = {part: values[part] for part in values.dtype.names} if values.dtype.names else {name: values}
        for part, column in parts.items():
            column = column[:, 0] if column.ndim == 2 and column.shape[1] == 1 else column
            if column.shape != (n,):
                raise _unfit(f"has shape {column.shape}, for {n} images", path, f"label {part!r}")
            part = OURS.get(part.casefold(), part)
            if column.dtype.kind in "iufbSU" and part and "/" not in part:
                column = np.char.decode(column, "utf-8", "replace") if column.dtype.kind == "S" else column
                columns[part] = column.astype(column.dtype.newbyteorder("="))
    if "z" not in columns or columns["z"].dtype.kind not in "iuf":
        raise _unfit(f"no redshifts among the labels ({', '.join(columns) or 'none'})", path, "label 'z'")
    return columns


def _spectra(columns: dict[str, np.ndarray], n: int, path: Path) -> np.ndarray:
    """PLATE-MJD-FIBER (n,) of each object, or "" where the labels do not say."""
    ids = columns.get("specObjID", np.zeros(n, int))
    if ids.dtype.kind == "f" and ids.dtype.itemsize < 8:
        raise _unfit(f"kept as {ids.dtype}, which has too few digits", path, "label 'specObjID'")
    # In float64 the lowest bits are lost, which say nothing of plate, MJD and fibre.
    numbers = [columns.get(name) for name in ("plate", "mjd", "fiber")]
    names = sdss.spectrum_names(ids, *(n if n is not None and n.dtype.kind in "iuf" else None for n in numbers))
    if "specObjID" in columns and (bad := np.flatnonzero(names == "")).size:
        raise _unfit(f"{ids[bad[0]]} is not a specObjID of DR8 or later", path, f"row {bad[0]}")
    return names


def _selected(rows: Rows, n: int, wanted: np.ndarray, path: Path) -> Iterator[tuple[int, np.ndarray]]:
    """(place in `wanted`, image) in the order of the file, which is read a block at a time."""
    order = np.argsort(wanted, kind="stable")
    for start in range(0, n, BLOCK):
        inside = order[(wanted[order] >= start) & (wanted[order] < start + BLOCK)]
        if inside.size:
            with readable(path, WHOLE, REMEDY):
                block = rows(start, min(start + BLOCK, n))
            for at in inside:
                yield int(at), block[wanted[at] - start]


def _check_magnitudes(images: Images, path: Path) -> None:
    if (name := next((name for name in R_MAGNITUDES if name in images.truth.colnames), None)) is None:
        return
    stated = np.asarray(images.truth[name], float)
    flux = images.cube[:, BANDS.index("r")].sum(axis=(1, 2), dtype=float)
    with np.errstate(all="ignore"):
        offset = stated - (22.5 - 2.5 * np.log10(flux))
    usable = np.isfinite(offset) & (stated > 5) & (stated < 30)
    if usable.any() and abs(median := np.median(offset[usable])) > 1:
        problem = f"the images are {median:+.1f} mag off {name}: their unit may not be nanomaggies"
        warnings.warn(f"{path.name}: {problem}", stacklevel=3)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[tuple[int, ...], Rows, dict[str, np.ndarray]]]:
    """The cube's shape, a reader of its rows, and the other arrays of the file."""
    if path.is_file() and path.stat().st_size == 0:
        raise _unfit("the file is empty", path)
    with readable(path, WHOLE, REMEDY), contextlib.ExitStack() as stack:
        found = {".npz": _npz, ".npy": _npy}.get(path.suffix, _hdf5)(path, stack)
        shape = found[0]
        if len(shape) != 4 or shape[-1] != len(BANDS) or min(shape) < 1 or max(shape[1:3]) > 4096:
            raise _unfit(f"the cube has shape {shape}, not (N, 64, 64, 5)", path)
        yield found


def _unfit(problem: str, path: Path, row: str | None = None) -> DataError:
    return DataError(problem, remedy=REMEDY, source=path, row=row)


def _npz(path: Path, stack: contextlib.ExitStack):
    arrays = stack.enter_context(np.load(path, allow_pickle=False))
    name = _cube_name(arrays.files, path)
    # NumPy would load the whole cube: its rows are read from the member instead, which has them behind a header.
    file = stack.enter_context(arrays.zip.open(f"{name}.npy"))
    read_header = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
    shape, by_column, dtype = read_header[np.lib.format.read_magic(file)[0]](file)
    if by_column or dtype.kind not in "fiu":
        problem = "is stored column by column" if by_column else f"holds {dtype}"
        raise _unfit(problem, path, f"array {name!r}")
    begin, size = file.tell(), int(np.prod(shape[1:])) * dtype.itemsize

    def rows(start: int, stop: int) -> np.ndarray:
        file.seek(begin + start * size)
        block = file.read((stop - start) * size)
        return np.frombuffer(block, dtype).reshape(stop - start, *shape[1:]).astype(np.float32)

    return shape, rows, {other: arrays[other] for other in arrays.files if other != name}


def _npy(path: Path, stack: contextlib.ExitStack):
    cube = np.load(path, mmap_mode="r", allow_pickle=False)
    labels = {other.stem: np.load(other, mmap_mode="r", allow_pickle=False) for other in path.parent.glob("*.npy")}
    labels = {name: array for name, array in sorted(labels.items()) if name != path.stem and array.ndim < 3}
    return cube.shape, lambda start, stop: np.asarray(cube[start:stop], np.float32), labels


def _cube_name(names, path: Path) -> str:
    if (name := next((name for name in CUBES if name in names), None)) is None:
        raise _unfit(f"no array is called cube, only {', '.join(names)}", path)
    return name


def _hdf5(path: Path, stack: contextlib.ExitStack):
    file = stack.enter_context(h5py.File(path))
    name = _cube_name(file, path)
    cube = file[name]
    labels = {}
    for other, item in file.items():
        if other != name and isinstance(item, h5py.Dataset) and item.ndim in (1, 2):
            labels[other] = item.asstr()[()].astype(str) if h5py.check_string_dtype(item.dtype) else item[()]
    return cube.shape, lambda start, stop: np.asarray(cube[start:stop], np.float32), labels
