"""What all containers share: typed fields with axes and units, checks, selection, splits, storage and hashes.

Each field's metadata names its axes (`N` objects, `L` wavelengths, `B` bands, `H` `W` pixels) and its unit; checking,
selecting and storing follow from that.
"""

from __future__ import annotations

import dataclasses
import hashlib
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np

from paper_utils.base import checks, storage
from paper_utils.base.errors import DataError


def array(axes: str, unit: str = "", *, kind: str = "float", dtype: str | None = None, shared: bool = False, **default):
    """A field of a container. shared : may lack the axis N, where all objects have the same values."""
    metadata = {"axes": axes, "unit": unit, "kind": kind, "dtype": dtype, "shared": shared}
    return dataclasses.field(metadata=metadata, **default)


class Container:
    """The base of all containers; a subclass has `ids`, and `_check(error)` for what only it demands."""

    def __post_init__(self):
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _coerce(getattr(self, field.name), field))

    def __len__(self) -> int:
        return len(self.ids)

    def check(self, source: object = None) -> Self:
        """Return self if every entry can be used; otherwise raise DataError naming the first bad one.

        `source` is the file to name in the message.
        """
        error = partial(DataError, source=source)
        for check in (checks.layout, checks.ids, checks.finite):
            check(self, error)
        self._check(error)
        return self

    def select(self, index) -> Self:
        """The objects at `index` (integers, booleans or a slice), in that order."""
        if not isinstance(index, slice):
            index = np.asarray(index, dtype=None if len(index) else int)
        return dataclasses.replace(self, **{n: v[index] for n, v in _per_object(self).items() if v is not None})

    def split(self, seed: int, fractions: tuple[float, ...] = (0.9, 0.1)) -> tuple[Self, ...]:
        """Disjoint parts that hold every object once, each in order of its ids.

        Objects are drawn from the sorted ids, so that the same ids and seed give the same parts whatever the order of
        the rows. Where two parts are asked and the truth (or params) table has a column `split` of "train" and "test",
        that published split is returned instead. Raises DataError if a part would be empty.
        """
        if min(fractions) <= 0 or not np.isclose(sum(fractions), 1):
            raise ValueError(f"fractions must be positive and sum to 1, not {fractions}")
        by_id = np.argsort(self.ids, kind="stable")
        published = _published_split(self) if len(fractions) == 2 else None
        if published is None:
            edges = np.round(np.cumsum(fractions)[:-1] * len(self)).astype(int)
            parts = np.split(by_id[np.random.default_rng(seed).permutation(len(self))], edges)
        else:
            parts = [by_id[published[by_id] == name] for name in ("train", "test")]
        if any(len(part) == 0 for part in parts):
            raise DataError(
                f"{len(self)} objects cannot be split into {len(fractions)} parts of {fractions}: one would be empty",
                remedy="Give more objects, or other fractions.",
            )
        return tuple(self.select(part[np.argsort(self.ids[part])]) for part in parts)

    def save(self, path: Path | str) -> Path:
        """Check, then write to `path` (HDF5, named .h5).

        The file appears whole or not at all. The layout is described in data/README.md.
        """
        self.check()
        units = {f.name: f.metadata["unit"] for f in dataclasses.fields(self)}
        return storage.write(Path(path), type(self).__name__, _values(self), units)

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a file written by `save` (or by hand in the same layout) and check it. Raises DataError."""
        fields = dataclasses.fields(cls)
        tables = {f.name for f in fields if f.metadata["kind"] == "table"}
        optional = {f.name for f in fields if f.default is None}
        values = storage.read(Path(path), cls.__name__, [f.name for f in fields], tables, optional)
        return cls(**values).check(source=path)

    def content_hash(self) -> str:
        """SHA-256 of all arrays and table columns (names, types, shapes, values); the same after save and load."""
        digest = hashlib.sha256(type(self).__name__.encode())
        for name, value in _values(self).items():
            if hasattr(value, "colnames"):
                for column in sorted(value.colnames):
                    _update(digest, f"{name}.{column}", np.asarray(value[column]))
            elif value is not None:
                _update(digest, name, value)
        return digest.hexdigest()


def _values(container: Container) -> dict:
    return {f.name: getattr(container, f.name) for f in dataclasses.fields(container)}


def _per_object(container: Container) -> dict:
    values = ((field, getattr(container, field.name)) for field in dataclasses.fields(container))
    return {field.name: value for field, value in values if checks.axes(field, value).startswith("N")}


def _coerce(value, field):
    """Native-endian arrays, numbers as floats, names as text, tables as astropy Tables; the rest is for check()."""
    if value is None:
        return None
    kind, dtype = field.metadata["kind"], field.metadata["dtype"]
    if kind == "table":
        from astropy.table import Table

        table = Table(value, copy=False)
        table.convert_bytestring_to_unicode()
        for name in table.colnames:
            if not getattr(getattr(table[name], "dtype", None), "isnative", True):
                table[name] = table[name].astype(table[name].dtype.newbyteorder("="))
        return table
    if np.ma.is_masked(value):
        raise DataError(f"{field.name} lacks values", remedy="Fill the masked ones, or leave those objects out.")
    try:
        array = np.asarray(value)
    except ValueError as problem:
        raise DataError(
            f"{field.name} is ragged ({problem})", remedy="Every object needs the same number of entries."
        ) from None
    given = array.dtype.kind
    if kind == "text" and given == "S":
        return np.char.decode(array, "utf-8", "replace")
    if kind == "text" and (given in "iu" or given == "O" and all(isinstance(item, str) for item in array.flat)):
        return array.astype(str)
    if kind == "float" and given in "iuf":
        return array.astype(dtype or (array.dtype.newbyteorder("=") if given == "f" else "f8"), copy=False)
    return array


def _published_split(container) -> np.ndarray | None:
    for table in (getattr(container, "truth", None), getattr(container, "params", None)):
        if table is not None and "split" in table.colnames:
            names = np.asarray(table["split"]).astype(str)
            if (bad := np.flatnonzero(~np.isin(names, ("train", "test")))).size:
                raise DataError(
                    f"the column split says {str(names[bad[0]])!r}",
                    remedy='Say "train" or "test" in every row, or remove the column.',
                    row=checks.entry(container, "N", bad[:1]),
                )
            return names
    return None


def _update(digest, name: str, array: np.ndarray):
    text = array.dtype.kind == "U"
    if array.dtype.kind == "f" and np.isnan(array).any():
        array = np.where(np.isnan(array), array.dtype.type(np.nan), array)  # NaNs have many bit patterns
    digest.update(f"\0{name}\0{'U' if text else array.dtype.str}\0{array.shape}\0".encode())
    # The width of a text array depends on how it was made, so text is hashed entry by entry; numbers without a copy.
    flat = np.ascontiguousarray(array).reshape(-1)
    digest.update("\0".join(flat.tolist()).encode() if text else flat.view(np.uint8))
