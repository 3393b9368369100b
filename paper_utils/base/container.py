"""What all containers share: typed fields with axes and units, checks, selection, splits, storage and hashes.

Each field's metadata names its axes (`N` objects, `L` wavelengths, `B` bands, `H` `W` pixels) and its unit; checking,
selecting and storing follow from that.
"""

import dataclasses
import hashlib
from pathlib import Path
from typing import Self

import numpy as np
from astropy.table import Table

from paper_utils.base import checks, storage
from paper_utils.base.errors import DataError, readable, refusal


def array(axes: str, unit: str = "", *, kind: str = "float", shared: bool = False, **default):
    """A field of a container: an array of numbers or text, or a table.

    shared : may lack the axis N, where all objects have the same values. Numbers with one axis or none are float64;
    those with more keep the precision that they come in.
    """
    return dataclasses.field(metadata={"axes": axes, "unit": unit, "kind": kind, "shared": shared}, **default)


class Container:
    """The base of all containers.

    A subclass has `ids`; as its last field a table `truth` or `params`, or None; `_summary()`, which says in a few
    words what its arrays hold; and `_rules()` for what only it demands, arguments of `checks.none` after the first two.
    """

    def __post_init__(self):
        for field, value in checks.filled(self):
            object.__setattr__(self, field.name, _coerce(value, field))

    def __len__(self) -> int:
        return len(self.ids)

    def __str__(self) -> str:
        tables = [f"{f.name}: {' '.join(v.colnames)}" for f, v in checks.filled(self) if f.metadata["kind"] == "table"]
        return ", ".join([f"{type(self).__name__}: {len(self)} {self._summary()}", *tables])

    def check(self, source: object = None) -> Self:
        """Return self if every entry can be used; otherwise raise DataError naming the first bad one.

        `source` is the file to name in the message.
        """
        refuse = refusal(source)
        for check in (checks.layout, checks.names, checks.numbers):
            check(self, refuse)
        for rule in self._rules():
            checks.none(self, refuse, *rule)
        return self

    def select(self, index) -> Self:
        """The objects at `index` (integers, booleans or a slice), in that order."""
        if not isinstance(index, slice):
            index = np.asarray(index, dtype=None if len(index) else int)
        chosen = {f.name: v[index] for f, v in checks.filled(self) if checks.axes(f, v).startswith("N")}
        return dataclasses.replace(self, **chosen)

    def split(self, seed: int, fractions: tuple[float, ...] = (0.9, 0.1)) -> tuple[Self, ...]:
        """Disjoint parts that hold every object once, each in order of its ids.

        Objects are drawn from the sorted ids, so that the same ids and seed give the same parts whatever the order of
        the rows. Where two parts are asked and the truth (or params) table has a column `split` of "train" and "test",
        that published split is returned instead. Raises DataError if a part would be empty.
        """
        if min(fractions) <= 0 or not np.isclose(sum(fractions), 1):
            raise ValueError(f"fractions must be positive and sum to 1, not {fractions}")
        by_id = np.argsort(self.ids, kind="stable")
        published = self._published_split() if len(fractions) == 2 else None
        if published is None:
            edges = np.round(np.cumsum(fractions)[:-1] * len(self)).astype(int)
            parts = np.split(by_id[np.random.default_rng(seed).permutation(len(self))], edges)
        else:
            parts = [by_id[published[by_id] == name] for name in ("train", "test")]
        if any(len(part) == 0 for part in parts):
            problem = f"{len(self)} objects cannot be split into {len(fractions)} parts of {fractions}"
            raise DataError(f"{problem}: one would be empty", remedy="Give more objects, or other fractions.")
        return tuple(self.select(part[np.argsort(self.ids[part])]) for part in parts)

    def _published_split(self) -> np.ndarray | None:
        table = getattr(self, dataclasses.fields(self)[-1].name)  # truth or params
        if table is None or "split" not in table.colnames:
            return None
        names = np.asarray(table["split"]).astype(str)
        odd, remedy = ~np.isin(names, ("train", "test")), 'Say "train" or "test" in every row, or remove the column.'
        problem = f"the column split says {str(names[odd.argmax()])!r}"
        checks.none(self, refusal(None), "ids", odd, remedy, problem)
        return names

    def save(self, path: Path | str) -> Path:
        """Check, then write to `path` (HDF5, named .h5).

        The file appears whole or not at all. The layout is described in data/README.md.
        """
        return storage.write(Path(path), self.check())

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a file written by `save` (or by hand in the same layout) and check it. Raises DataError."""
        return cls(**storage.read(Path(path), cls)).check(source=path)

    def content_hash(self) -> str:
        """SHA-256 of all arrays and table columns (names, types, shapes, values); the same after save and load."""
        digest = hashlib.sha256(type(self).__name__.encode())
        for field, value in checks.filled(self):
            if field.metadata["kind"] == "table":
                for column in sorted(value.colnames):
                    _update(digest, f"{field.name}.{column}", np.asarray(value[column]))
            else:
                _update(digest, field.name, value)
        return digest.hexdigest()


def _coerce(value, field):
    """Native-endian arrays, numbers as floats, names as text, tables as astropy Tables; the rest is for check()."""
    kind = field.metadata["kind"]
    if kind == "table":
        table = Table(value, copy=False)
        table.convert_bytestring_to_unicode()
        for name in table.colnames:
            if not getattr(getattr(table[name], "dtype", None), "isnative", True):
                table[name] = table[name].astype(table[name].dtype.newbyteorder("="))
        return table
    if np.ma.is_masked(value):
        raise DataError(f"{field.name} lacks values", remedy="Fill the masked ones, or leave those objects out.")
    with readable(field.name, "an array", "Every object needs the same number of entries."):
        array = np.asarray(value)
    given = array.dtype.kind
    if kind == "text" and given == "S":
        return np.char.decode(array, "utf-8", "replace")
    if kind == "text" and (given in "iu" or given == "O" and all(isinstance(item, str) for item in array.flat)):
        return array.astype(str)
    if kind == "float" and given in "biuf":
        keeps = given == "f" and len(field.metadata["axes"]) > 1
        return array.astype(array.dtype.newbyteorder("=") if keeps else "f8", copy=False)
    return array


def _update(digest, name: str, array: np.ndarray):
    text = array.dtype.kind == "U"
    if array.dtype.kind == "f" and np.isnan(array).any():
        array = np.where(np.isnan(array), array.dtype.type(np.nan), array)  # NaNs have many bit patterns
    digest.update(f"\0{name}\0{'U' if text else array.dtype.str}\0{array.shape}\0".encode())
    # The width of a text array depends on how it was made, so text is hashed entry by entry; numbers without a copy.
    flat = np.ascontiguousarray(array).reshape(-1)
    digest.update("\0".join(flat.tolist()).encode() if text else flat.view(np.uint8))
