"""How the containers of `paper_utils.base.containers` lie on disk: HDF5 files.

One dataset per array with its unit in the attribute `unit`; one group per table with one dataset per column. Datasets
are checksummed, so that a damaged or cut file is noticed. Nothing is pickled.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from paper_utils.base.errors import DataError, readable
from paper_utils.base.paths import atomic

ENDINGS = (".h5", ".hdf5")


def write(path: Path, container: str, values: dict, units: dict[str, str]) -> Path:
    """Write the checked `values` (arrays, Tables, None) of a container; all of the file appears or nothing."""
    import h5py

    if path.suffix not in ENDINGS:
        raise DataError(f"unknown format {path.suffix!r}", remedy="Name the file .h5.", source=path)
    with atomic(path) as temporary, h5py.File(temporary, "w", track_order=True) as file:
        file.attrs["container"] = container
        for name, value in values.items():
            if hasattr(value, "colnames"):
                group = file.create_group(name, track_order=True)
                for column in value.colnames:
                    _write_dataset(group, column, np.asarray(value[column]), str(value[column].unit or ""))
            elif value is not None:
                _write_dataset(file, name, value, units[name])
    return path


def read(path: Path, container: str, names: list[str], tables: set[str], optional: set[str]) -> dict:
    """The values of a container's fields `names`, as stored. Raises DataError for a file that cannot be read."""
    import h5py

    if not path.is_file():
        problem = "this is a folder" if path.is_dir() else "there is no such file"
        raise DataError(problem, remedy="Give the path of a file.", source=path)
    if path.stat().st_size == 0:
        raise DataError("the file is empty", remedy="Write or copy it again.", source=path)
    remedy = "The file may be cut, damaged or of another format: copy it again, or save it anew."
    with readable(path, "a readable HDF5 file", remedy), h5py.File(path) as file:
        kind = file.attrs.get("container")
        values = {name: _read_item(file[name], name, name in tables, path) for name in file}
    if kind not in (None, container):
        raise DataError(f"the file holds {kind}, not {container}", remedy="Give the right file.", source=path)
    if unknown := sorted(set(values) - set(names)):
        raise DataError(
            f"{', '.join(unknown)} is no part of a {container}",
            remedy=f"A {container} has {', '.join(names)}; tables: {', '.join(sorted(tables))}.",
            source=path,
            row=unknown[0],
        )
    needed = [name for name in names if name not in optional]
    if missing := [name for name in needed if name not in values]:
        raise DataError(
            f"there is no {missing[0]!r}, only {', '.join(values) or 'nothing'}",
            remedy=f"A {container} needs {', '.join(needed)}; see data/README.md.",
            source=path,
            row=missing[0],
        )
    return values


def _write_dataset(group, name: str, array: np.ndarray, unit: str):
    import h5py

    if array.dtype.kind == "U":
        text = np.char.encode(array, "utf-8")
        # Fixed length, not h5py's default: variable-length text lies outside the checksummed chunks.
        array = text.astype(h5py.string_dtype("utf-8", max(text.dtype.itemsize, 1)))
    filters = {"compression": "gzip", "shuffle": True, "fletcher32": True} if array.shape else {}
    group.create_dataset(name, data=array, **filters).attrs["unit"] = unit


def _read_item(item, name: str, table: bool, path: Path):
    import h5py

    if isinstance(item, h5py.Group) != table:
        raise DataError(
            f"{name!r} is {'a dataset' if table else 'a group'} in the file",
            remedy="Arrays are HDF5 datasets, tables are groups with one dataset per column.",
            source=path,
            row=name,
        )
    if not table:
        text = h5py.check_string_dtype(item.dtype)
        return np.asarray(item.asstr()[()], dtype=str) if text else item[()]
    from astropy.table import Column, Table

    columns = {key: _read_item(column, f"{name}/{key}", False, path) for key, column in item.items()}
    if len({value.shape[:1] for value in columns.values()}) > 1:
        raise DataError("its columns differ in length", remedy="Give one entry per object.", source=path, row=name)
    return Table([Column(value, name=key, unit=item[key].attrs.get("unit") or None) for key, value in columns.items()])
