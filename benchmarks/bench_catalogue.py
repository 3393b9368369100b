"""The ALHAMBRA csv.gz at its full size: time and memory of our reader against astropy's fast one, in the same run."""

import gzip
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from paper_utils.base.columns import alhambra_columns
from paper_utils.files import alhambra_table

N_DIFFERENT = 5_000  # rows that are made, and repeated under other identifiers


def write(path: Path):
    rng = np.random.default_rng(0)
    columns = alhambra_columns()[2:]
    values = [
        rng.integers(0, 8, N_DIFFERENT).astype(str)
        if column.kind in ("place", "flag")
        else np.char.mod("%.4f", rng.uniform(0, 1, N_DIFFERENT) + 22 * (column.kind == "magnitude"))
        for column in columns
    ]
    rows = [",".join(row) for row in zip(*values, strict=True)]
    with gzip.open(path, "wt", compresslevel=1) as file:
        file.write(",".join(column.name for column in alhambra_columns()) + "\n")
        for i in range(alhambra_table.N_OBJECTS):
            file.write(f"{i + 1},{814110100000 + i},{rows[i % N_DIFFERENT]}\n")


def with_astropy(path: Path):
    from astropy.table import Table

    with gzip.open(path, "rt") as file:
        return Table.read(file.read(), format="ascii.fast_csv", guess=False)


def measure(read, path: Path) -> tuple[float, float]:
    """Seconds, and peak memory in GB, of a process that only reads."""
    begin = time.perf_counter()
    assert len(read(path)) == alhambra_table.N_OBJECTS
    return time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "alhambra.csv.gz")
        write(path)
        found = []
        for read in (alhambra_table.read, with_astropy):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                found.append(pool.apply(measure, (read, path)))
    (ours_s, ours_gb), (theirs_s, theirs_gb) = found
    print(f"{alhambra_table.N_OBJECTS} rows: {ours_s:.1f} s, {ours_gb:.2f} GB")
    print(f"astropy: {theirs_s:.1f} s, {theirs_gb:.2f} GB")
    print(f"{theirs_s / ours_s:.1f} times faster, {theirs_gb / ours_gb:.1f} times less memory")


if __name__ == "__main__":
    main()
