"""What a trained model says of a user's objects: a table with a row for each, and arrays that belong to its rows."""

from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
from astropy.table import Table

from paper_utils.base.errors import DataError
from paper_utils.base.paths import atomic

FORMATS = {".ecsv": "ascii.ecsv", ".fits": "fits", ".csv": "ascii.csv", ".parquet": "parquet"}


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
        check_ending(path)
        beside = path.with_suffix(".h5")
        with atomic(beside) as temporary, h5py.File(temporary, "w") as file:
            file["id"] = np.char.encode(np.asarray(self.table["id"]).astype(str), "utf-8")
            for name, values in self.arrays.items():
                file[name] = values
                file[name].attrs["unit"] = self.units.get(name, "")
        with atomic(path) as temporary:
            self.table.write(temporary, format=FORMATS[path.suffix], overwrite=True)
        return [path, beside]


def check_ending(path: Path) -> None:
    """Raises DataError for a table of results that has no ending of `FORMATS`."""
    if path.suffix not in FORMATS:
        remedy = f"Name it {', '.join(FORMATS)}."
        raise DataError(f"unknown format {path.suffix!r} for a table of results", remedy=remedy, source=path)
