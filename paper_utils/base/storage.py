"""How the containers of `paper_utils.base.containers` lie on disk: HDF5, or ECSV for those that are tables at heart.

HDF5: one dataset per array with its unit in the attribute `unit`; one group per table with one dataset per column.
ECSV: one row per object (`ids`, `flux`, `params.<column>` ...), what is common to all objects in the header.
Files are checksummed (HDF5) or counted (ECSV), so that a damaged or cut file is noticed. Nothing is pickled.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from paper_utils.base.errors import DataError
from paper_utils.base.paths import atomic

ECSV_CONTAINERS = ("SedLibrary", "Catalogue")


def write(path: Path, container: str, values: dict, per_object: dict, units: dict[str, str]) -> Path:
    """Write the checked `values` (arrays, Tables, None) of a container; all of the file appears or nothing."""
    if path.suffix == ".ecsv" and container not in ECSV_CONTAINERS:
        raise DataError(f"{container} is not kept as ECSV", remedy="Name the file .h5.", source=path)
    if path.suffix not in (".h5", ".hdf5", ".ecsv"):
        raise DataError(f"unknown format {path.suffix!r}", remedy="Name the file .h5 or .ecsv.", source=path)
    with atomic(path) as temporary:
        if path.suffix == ".ecsv":
            _write_ecsv(temporary, container, values, per_object, units)
        else:
            _write_hdf5(temporary, container, values, units)
    return path


def read(path: Path, container: str, names: list[str], tables: set[str], optional: set[str]) -> dict:
    """The values of a container's fields `names`, as stored. Raises DataError for a file that cannot be read."""
    if not path.is_file():
        problem = "this is a folder" if path.is_dir() else "there is no such file"
        raise DataError(problem, remedy="Give the path of a file.", source=path)
    if path.stat().st_size == 0:
        raise DataError("the file is empty", remedy="Write or copy it again.", source=path)
    if path.suffix == ".ecsv":
        kind, values = _read_ecsv(path, names, tables)
    else:
        kind, values = _read_hdf5(path, tables)
    if kind not in (None, container):
        raise DataError(f"the file holds {kind}, not {container}", remedy="Give the right file.", source=path)
    if unknown := sorted(set(values) - set(names)):
        raise DataError(
            f"{', '.join(unknown)} is no part of a {container}",
            remedy=f"A {container} has {', '.join(names)}; tables: {', '.join(sorted(tables))}.",
            source=path,
            row=unknown[0],
        )
    for name in names:
        if name not in values and name not in optional:
            raise DataError(
                f"there is no {name!r}, only {', '.join(values) or 'nothing'}",
                remedy=f"A {container} needs {', '.join(n for n in names if n not in optional)}; see data/README.md.",
                source=path,
                row=name,
            )
    return values


def _write_hdf5(path: Path, container: str, values: dict, units: dict[str, str]):
    import h5py

    with h5py.File(path, "w", track_order=True) as file:
        file.attrs["container"] = container
        for name, value in values.items():
            if hasattr(value, "colnames"):
                group = file.create_group(name, track_order=True)
                for column in value.colnames:
                    _write_dataset(group, column, np.asarray(value[column]), str(value[column].unit or ""))
            elif value is not None:
                _write_dataset(file, name, value, units[name])


def _write_dataset(group, name: str, array: np.ndarray, unit: str):
    import h5py

    if array.dtype.kind == "U":
        text = np.char.encode(array, "utf-8")
        # Fixed length, not h5py's default: variable-length text lies outside the checksummed chunks.
        array = text.astype(h5py.string_dtype("utf-8", max(text.dtype.itemsize, 1)))
    filters = {"compression": "gzip", "shuffle": True, "fletcher32": True} if array.shape else {}
    group.create_dataset(name, data=array, **filters).attrs["unit"] = unit


def _read_hdf5(path: Path, tables: set[str]) -> tuple[str | None, dict]:
    import h5py

    try:
        with h5py.File(path) as file:
            kind = file.attrs.get("container")
            values = {name: _read_item(file[name], name, name in tables, path) for name in file}
        return kind, values
    # h5py reports damage as any of these, depending on where it lies.
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, UnicodeDecodeError) as problem:
        raise DataError(
            f"not a readable HDF5 file ({problem})",
            remedy="The file may be cut, damaged or of another format: copy it again, or save it anew.",
            source=path,
        ) from None


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
        return _read_dataset(item)
    from astropy.table import Column, Table

    columns = {key: _read_item(column, f"{name}/{key}", False, path) for key, column in item.items()}
    if len({value.shape[:1] for value in columns.values()}) > 1:
        raise DataError("its columns differ in length", remedy="Give one entry per object.", source=path, row=name)
    return Table([Column(value, name=key, unit=item[key].attrs.get("unit") or None) for key, value in columns.items()])


def _read_dataset(dataset) -> np.ndarray:
    import h5py

    if h5py.check_string_dtype(dataset.dtype):
        return np.asarray(dataset.asstr()[()], dtype=str)
    return dataset[()]


def _write_ecsv(path: Path, container: str, values: dict, per_object: dict, units: dict[str, str]):
    from astropy.table import Column, Table

    columns = []
    for name, value in per_object.items():
        if hasattr(value, "colnames"):
            columns += [Column(value[key], name=f"{name}.{key}") for key in value.colnames]
        elif value is not None:
            columns.append(Column(value, name=name, unit=units[name] or None))
    common = {name: value.tolist() for name, value in values.items() if name not in per_object}
    table = Table(columns, meta={"container": container, "n_objects": len(values["ids"])} | common)
    table.write(path, format="ascii.ecsv", overwrite=True)


def _read_ecsv(path: Path, names: list[str], tables: set[str]) -> tuple[str | None, dict]:
    from astropy.table import Table

    try:
        text = path.read_text(encoding="utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on a cut header, which is reported below
            table = Table.read(text.splitlines(), format="ascii.ecsv")
    except Exception as problem:  # the reader raises whatever its YAML, JSON and CSV parts raise
        raise DataError(
            f"not a readable ECSV file ({str(problem).splitlines()[0] if str(problem) else type(problem).__name__})",
            remedy="The file may be cut or of another format: copy it again, or save it anew.",
            source=path,
        ) from None
    meta = table.meta
    kind, expected = meta.get("container"), meta.get("n_objects")
    if expected is not None and (expected != len(table) or not text.endswith("\n")):
        raise DataError(
            f"the file ends in row {len(table)} of {expected}", remedy="It was cut: copy it again.", source=path
        )
    values = {name: meta[name] for name in names if name in meta}
    for name in table.colnames:
        column = table[name]
        if column.dtype.kind == "U" and hasattr(column, "filled"):
            column = column.filled("")  # the reader takes an empty text for a missing one
        elif np.any(mask := getattr(column, "mask", False)):
            raise DataError(
                f"{name!r} lacks a value",
                remedy="Fill it (numbers: nan) or leave the row out.",
                source=path,
                row=f"row {np.argwhere(mask)[0][0]}",
            )
        field, dot, key = name.partition(".")
        if dot and field in tables:
            values.setdefault(field, Table())[key] = column
        else:
            values[name] = np.asarray(column)
    return kind, values
