"""How the containers of `paper_utils.base.containers` lie on disk: HDF5 files.

One dataset per array with its unit in the attribute `unit`; one group per table with one dataset per column. Datasets
are checksummed, so that a damaged or cut file is noticed. Nothing is pickled.
"""

from dataclasses import fields
from pathlib import Path

import h5py
import numpy as np
from astropy.table import Column, Table

from paper_utils.base.checks import filled
from paper_utils.base.errors import DataError, readable, refusal
from paper_utils.base.paths import atomic

ENDINGS = (".h5", ".hdf5")


def write(path: Path, container) -> Path:
    """Write a container that was checked; all of the file appears or nothing."""
    if path.suffix not in ENDINGS:
        raise DataError(f"unknown format {path.suffix!r}", remedy="Name the file .h5.", source=path)
    with atomic(path) as temporary, h5py.File(temporary, "w", track_order=True) as file:
        file.attrs["container"] = type(container).__name__
        for field, value in filled(container):
            if field.metadata["kind"] == "table":
                group = file.create_group(field.name, track_order=True)
                for column in value.colnames:
                    _write_dataset(group, column, np.asarray(value[column]), str(value[column].unit or ""))
            else:
                _write_dataset(file, field.name, value, field.metadata["unit"])
    return path


def read(path: Path, container: type) -> dict:
    """The values of the fields of a kind of container, as stored. Raises DataError for a file that cannot be read."""
    refuse, name = refusal(path), container.__name__
    if not path.is_file():
        refuse(None, "this is a folder" if path.is_dir() else "there is no such file", "Give the path of a file.")
    tables = {field.name: field.metadata["kind"] == "table" for field in fields(container)}
    needed = [field.name for field in fields(container) if field.default is not None]
    remedy = "The file may be cut, damaged or of another format: copy it again, or save it anew."
    with readable(path, "a readable HDF5 file", remedy), h5py.File(path) as file:
        kind = file.attrs.get("container", name)
        values = {key: _read_item(file[key], key, tables.get(key, False), refuse) for key in file}
    if kind != name:
        refuse(None, f"the file holds {kind}, not {name}", "Give the right file.")
    if unknown := sorted(values.keys() - tables):
        remedy = f"A {name} has {', '.join(tables)}; tables: {', '.join(key for key in tables if tables[key])}."
        refuse(unknown[0], f"{', '.join(unknown)} is no part of a {name}", remedy)
    if missing := [key for key in needed if key not in values]:
        remedy = f"A {name} needs {', '.join(needed)}; see data/README.md."
        refuse(missing[0], f"there is no {missing[0]!r}, only {', '.join(values) or 'nothing'}", remedy)
    return values


def _write_dataset(group, name: str, array: np.ndarray, unit: str):
    if array.dtype.kind == "U":
        text = np.char.encode(array, "utf-8")
        # Fixed length, not h5py's default: variable-length text lies outside the checksummed chunks.
        array = text.astype(h5py.string_dtype("utf-8", max(text.dtype.itemsize, 1)))
    filters = {"compression": "gzip", "shuffle": True, "fletcher32": True} if array.shape else {}
    group.create_dataset(name, data=array, **filters).attrs["unit"] = unit


def _read_item(item, name: str, table: bool, refuse):
    if isinstance(item, h5py.Group) != table:
        remedy = "Arrays are HDF5 datasets, tables are groups with one dataset per column."
        refuse(name, f"{name!r} is {'a dataset' if table else 'a group'} in the file", remedy)
    if not table:
        text = h5py.check_string_dtype(item.dtype)
        return np.asarray(item.asstr()[()], dtype=str) if text else item[()]
    columns = {key: _read_item(column, f"{name}/{key}", False, refuse) for key, column in item.items()}
    if len({value.shape[:1] for value in columns.values()}) > 1:
        refuse(name, "its columns differ in length", "Give one entry per object.")
    return Table([Column(value, name=key, unit=item[key].attrs.get("unit") or None) for key, value in columns.items()])
