"""What a trained model says of a user's objects: a table with a row for each, and arrays that belong to its rows."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import h5py
import numpy as np
import pyarrow
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet
from astropy.io import fits
from astropy.table import Table, meta

from paper_utils.base.errors import DataError
from paper_utils.base.paths import atomic

FORMATS = (".ecsv", ".fits", ".csv", ".parquet")
FITS_BLOCK = 2880  # bytes, of which a FITS file has a whole number


@dataclass(frozen=True, eq=False)
class Results:
    """Results of N objects.

    table : N rows with `id`, quantities as `<name>_p16`, `_p50`, `_p84` or with `_err`, `novelty` (how far from the
        training set: a percentile of training objects that were held out) and `flag` (why not to trust it, or "").
    arrays : {name: array}, of N rows each or shared by all objects (wavelengths).   units : of arrays, by name.
    """

    table: Table
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.table)

    def save(self, path: Path | str) -> list[Path]:
        """Write the table to `path` in the format of its ending (`FORMATS`) and the arrays to .h5 beside it.

        Both appear whole. Returns the files. Raises DataError for another ending, before anything is written.
        """
        path = Path(path)
        beside = path.with_suffix(".h5")
        with growing_table(path) as add:
            with atomic(beside) as temporary, h5py.File(temporary, "w") as file:
                file["id"] = np.char.encode(np.asarray(self.table["id"]).astype(str), "utf-8")
                for name, values in self.arrays.items():
                    file[name] = values
                    file[name].attrs["unit"] = self.units.get(name, "")
            add(self.table)
        return [path, beside]


def check_ending(path: Path) -> None:
    """Raises DataError for a table of results that has no ending of `FORMATS`."""
    if path.suffix not in FORMATS:
        remedy = f"Name it {', '.join(FORMATS)}."
        raise DataError(f"unknown format {path.suffix!r} for a table of results", remedy=remedy, source=path)


@contextmanager
def growing_table(path: Path) -> Iterator[Callable[[Table], None]]:
    """Yield a function that adds rows to the table at `path`, which appears, whole, when the block ends well.

    The format is that of its ending (`FORMATS`); only the rows that are added are in memory. All have the columns of
    the first, whose units and meta the table keeps (csv has neither). Raises DataError for another ending.
    """
    check_ending(path)
    with ExitStack() as stack:
        writer, lengths = None, {}

        def add(rows: Table) -> None:
            nonlocal writer
            texts = [name for name in rows.colnames if rows[name].dtype.kind in "OU"]
            plain = pyarrow.table({name: np.asarray(rows[name]) for name in rows.colnames})
            if writer is None:
                temporary = stack.enter_context(atomic(path))
                writer = stack.enter_context(_writer(temporary, rows[:0], plain.schema, lengths))
            for name in texts:  # in bytes, as FITS counts
                longest = pyarrow.compute.max(pyarrow.compute.binary_length(plain[name])).as_py()
                lengths[name] = max(lengths.get(name, 1), longest or 0)
            writer.write_table(plain)

        yield add
        if writer is None:
            raise DataError("there are no results to write", remedy="Give at least one object.", source=path)


@contextmanager
def _writer(path: Path, empty: Table, schema: pyarrow.Schema, lengths: dict[str, int]) -> Iterator:
    """What writes Arrow tables of a schema to a file; `empty` has their columns with units, and no rows."""
    if path.suffix in (".csv", ".ecsv"):
        with path.open("wb") as file:
            if path.suffix == ".ecsv":
                header = StringIO()
                empty.write(header, format="ascii.ecsv", delimiter=",")
                file.write(header.getvalue().encode())
            options = pyarrow.csv.WriteOptions(include_header=path.suffix == ".csv")
            with pyarrow.csv.CSVWriter(file, schema, write_options=options) as writer:
                yield writer
        return
    about = schema.with_metadata({"table_meta_yaml": "\n".join(meta.get_yaml_from_table(empty))})  # as astropy's
    if path.suffix == ".parquet":
        with pyarrow.parquet.ParquetWriter(path, about) as writer:
            yield writer
        return
    # A FITS table begins with the number of its rows and the lengths of its texts, which are known at the end.
    with tempfile.TemporaryFile(dir=path.parent) as file:
        with pyarrow.parquet.ParquetWriter(file, schema) as writer:
            yield writer
        _to_fits(pyarrow.parquet.ParquetFile(file), path, empty, lengths)


def _to_fits(rows: pyarrow.parquet.ParquetFile, path: Path, empty: Table, lengths: dict[str, int]) -> None:
    """Rows as a FITS table, `empty` but for their number and the `lengths` of texts in bytes."""
    kinds = {name: f"S{n}" for name, n in lengths.items()}
    dtype = np.dtype([(name, kinds.get(name, empty[name].dtype.newbyteorder(">"))) for name in empty.colnames])
    shape = Table(np.empty(0, dtype), units={name: empty[name].unit for name in empty.colnames}, meta=empty.meta)
    header = fits.table_to_hdu(shape).header
    header["NAXIS2"] = rows.metadata.num_rows
    with path.open("wb") as file:
        for part in (fits.PrimaryHDU().header, header):
            file.write(part.tostring().encode())
        for batch in rows.iter_batches():
            block = np.empty(len(batch), dtype)
            for name in dtype.names:
                values = batch[name].to_numpy(zero_copy_only=False)
                block[name] = np.char.encode(values.astype(str), "utf-8") if name in lengths else values
            file.write(block.tobytes())
        file.write(bytes(-file.tell() % FITS_BLOCK))
