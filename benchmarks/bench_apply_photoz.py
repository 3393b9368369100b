"""`companion apply 05` on long tables: seconds per million objects, and how memory grows with length.

The mock of ALHAMBRA (24 bands with errors, 80 columns of text) at two lengths, each applied in a process of its own:
without densities, with them, and with the model's template fit where it has one. Asked for: a million
objects in 90 s on two cores and 2 GB, the same at any length.

python benchmarks/bench_apply_photoz.py [--model FILE] [--lengths 200000 1000000]
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.csv

from paper_utils.alhambra.apply import PhotoZ
from paper_utils.base import paths
from paper_utils.files import templates
from paper_utils.sky import alhambra_catalogue, populations

N_DRAWN = 20_000  # objects; longer tables repeat them under new names
MEASURED = """
import resource, sys, time
from paper_utils.runs import cli
begin = time.perf_counter()
try:
    cli.app(sys.argv[1:])
except SystemExit as ended:
    used, memory = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"MEASURED {time.perf_counter() - begin} {used} {memory} {ended.code or 0}")
"""


def write(path, table, n):
    """A csv of n rows."""
    with path.open("wb") as file:
        for start in range(0, n, len(table)):
            part = table[: min(len(table), n - start)]
            columns = {name: np.asarray(part[name]) for name in part.colnames}
            columns |= {name: np.round(v, 4).astype("f4") for name, v in columns.items() if v.dtype.kind == "f"}
            columns["objID"] = np.arange(start, start + len(part)) + 10**9
            pyarrow.csv.write_csv(pyarrow.table(columns), file, pyarrow.csv.WriteOptions(include_header=not start))


def applied(table, model, output, *options):
    """Wall and processor seconds, and megabytes, of one call."""
    given = ["apply", "05", table, "--model", model, "--output", output, *options]
    ran = subprocess.run([sys.executable, "-c", MEASURED, *map(str, given)], capture_output=True, text=True, check=True)
    *numbers, status = re.search("MEASURED (.*)", ran.stdout)[1].split()
    if status != "0":
        sys.exit(ran.stderr)
    return map(float, numbers)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=paths.WEIGHTS / "05" / "density-truth.safetensors")
    parser.add_argument("--lengths", type=int, nargs="+", default=[200_000, 1_000_000])
    arguments = parser.parse_args()
    ssps = populations.from_emiles(templates.emiles())
    drawn = alhambra_catalogue.catalogue(min(N_DRAWN, max(arguments.lengths)), ssps, seed=5).table
    ways = {"without densities": ["--no-densities"], "with densities": []}
    if PhotoZ.load(arguments.model).templates:
        ways["and the template fit"] = ["--no-densities", "--fit"]
    with tempfile.TemporaryDirectory() as folder:
        for n in arguments.lengths:
            write(Path(folder) / "t.csv", drawn, n)
            for way, options in ways.items():
                wall, used, memory = applied(Path(folder) / "t.csv", arguments.model, Path(folder) / "out", *options)
                seconds = f"{wall:.0f} s, {1e6 * wall / n:.0f} s per million ({1e6 * used / n:.0f} s of processor)"
                print(f"{n} objects, {way}: {seconds}, {memory:.0f} MB", flush=True)


if __name__ == "__main__":
    main()
