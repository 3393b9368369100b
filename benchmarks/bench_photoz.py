"""Photometric redshifts with densities: this project's methods beside what people use, on mock and real galaxies.

    python benchmarks/bench_photoz.py [--n 30000] [--n-more 400000] [--n-test 4000] [--seed 0]
        [--write: renew data/photoz_methods.csv]

Mock: ALHAMBRA's galaxies (no stars, no quasars) as the survey finds them, and of the same run those with F814W < 24.
Real: SDSS galaxies with spectroscopic redshifts, in ugriz corrected for the Milky Way's dust (`gst_photometry` below
COMPANION_REAL_DATA). All methods see the same bands and errors and nothing else. All that learn have the same training
objects and set their own validation objects aside from these; none was tuned on test objects. On the mock our networks
learn a second time, from about as many objects as the shipped ones do, which takes minutes and would take the others
hours; `n_train` tells which. Redshifts are modes, densities histograms with cells of 0.005 in ln(1 + z). Times are
those of the processor, one thread each; memory is what the process grows by at most while it is applied.

Ours: the template fit with and without its prior; the density network; the hybrid, the same network with what the fit
says among its inputs; and the mean of its density and the fit's. Theirs: EAZY's algorithm (package eazy) with our
eleven templates, the fit's minimum error, non-negative combinations, no prior; FlexZBoost (package flexcode; Izbicki &
Lee 2017, Dalmasso+ 2020) on scikit-learn's boosted trees; a random forest whose densities are those of training
redshifts in the leaves, smoothed (as in Carrasco Kind & Brunner 2013); GPz (Almosallam+ 2016) as RAIL's
pz-rail-gpz-v1 has it (`gpz` in the registry is something else).
A library that is missing is named, and the table goes without it:

    pip install -e ".[bench]"
    pip install --no-deps flexcode deprecated wrapt PyWavelets pz-rail-gpz-v1  # without xgboost (CUDA), RAIL's base
"""

import argparse
import contextlib
import ctypes
import gc
import importlib.metadata
import io
import os
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from astropy.table import Table
from photoz_methods import METHODS, Sample
from threadpoolctl import threadpool_limits

from paper_utils.alhambra import template_fit
from paper_utils.base import paths
from paper_utils.base.containers import Catalogue
from paper_utils.base.filters import curves_of
from paper_utils.files import templates
from paper_utils.runs import shown
from paper_utils.sky import alhambra_catalogue, populations, sequence
from paper_utils.sky.bands import measured
from paper_utils.stats.densities import Densities

N, N_MORE, N_TEST = 30_000, 400_000, 4_000
OURS, UNTAUGHT = ("density network", "hybrid", "hybrid and fit"), ("template fit, no prior", "template fit", "EAZY")
BRIGHT = 24.0  # F814W
REAL = "gst_photometry/gst_tests_small.fits"  # in COMPANION_REAL_DATA
Z_REAL = np.expm1(np.arange(0.005, np.log(2), 0.005))  # of template fits: beyond any galaxy of that table
FILE = paths.DATA / "photoz_methods.csv"


def mock(n: int, n_test: int, seed: int, ssps) -> Sample:
    def galaxies(n: int, seed: int) -> Catalogue:
        survey = alhambra_catalogue.catalogue(int(1.1 * n) + 50, ssps, seed)
        galaxy = ~np.asarray(survey.truth["is_star"] | survey.truth["is_quasar"])
        return survey.select(np.flatnonzero(galaxy)[:n])

    parts = galaxies(n, seed + 1), galaxies(n_test, seed)  # the same test objects for whatever n
    limits = (18, 22, 23, 23.5, 24, 24.5, 26)
    curves, spectra = alhambra_catalogue.curves(), sequence.templates(ssps)
    return Sample("ALHAMBRA mock", *parts, curves, *spectra, template_fit.Z_GRID, "F814W", limits, seed)


def real(path: Path, n: int, n_test: int, seed: int, ssps) -> Sample:
    rows, names = Table.read(path), {band: f"sdss_{band}0" for band in "ugriz"}
    table = {}
    for i, band in enumerate(names):
        dust = 10 ** (0.4 * np.asarray(rows["EXTINCTION"], float)[:, i])
        flux, ivar = (np.asarray(rows[column], float)[:, i] for column in ("MODELFLUX", "MODELFLUX_IVAR"))
        flux, sigma = flux * dust, dust / np.sqrt(ivar)  # nanomaggies
        table[band], table[f"d{band}"] = measured(1e-9 * flux, 1e-9 * sigma)
    ids = np.arange(len(rows)).astype(str)
    survey = Catalogue(Table(table), np.array(list(names)), ids, truth=Table({"z": rows["Z"]}))
    order = np.random.default_rng(seed).permutation(len(rows))
    n_test = min(n_test, len(rows) // 3)
    parts = survey.select(order[n_test : n_test + n]), survey.select(order[:n_test])
    limits = (13, 16, 16.5, 17, 17.5, 21)
    return Sample("SDSS", *parts, curves_of(names), *sequence.templates(ssps), Z_REAL, "r", limits, seed)


def peak_memory(work):
    """What work() returns, and by how many bytes the process grew at most meanwhile (NaN where there is no /proc)."""
    gc.collect()
    status, begin = Path("/proc/self/status"), np.nan
    if status.is_file():
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        begin = _kilobytes(status, "VmRSS")
    found = work()
    return found, 1024 * (_kilobytes(status, "VmHWM") - begin) if status.is_file() else np.nan


def _kilobytes(status: Path, name: str) -> int:
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(f"{name}:"))


def measure(sample: Sample, names: Iterable[str] = METHODS) -> list[dict]:
    """A row for each of these methods and each part of the sample."""
    z_true, magnitude = (np.asarray(part, float) for part in (sample.test.truth["z"], sample.test.table[sample.prior]))
    parts, rows = {sample.name: np.ones(len(z_true), bool)}, []
    if sample.prior == "F814W":
        parts[f"{sample.name}, F814W < {BRIGHT:g}"] = magnitude < BRIGHT
    for name in names:
        method, package = METHODS[name]
        begin = time.process_time()
        try:
            version = f"{package} {importlib.metadata.version(package)}" if package else ""
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                apply = method(sample)
                learned = time.process_time()
                (z, densities), memory = peak_memory(apply)
        except ImportError as missing:
            print(f"{name} needs {package}: {missing}. The table goes without it.")
            continue
        set_up, applied = learned - begin, time.process_time() - learned
        print(f"{sample.name}, {name}: {set_up:.1f} s to set up, {applied:.1f} s for {len(z)} galaxies", flush=True)
        costs = {"set up [s]": set_up, "ms each": 1e3 * applied / len(z), "kB each": memory / len(z) / 1e3}
        for part, inside in parts.items():
            found, of = Densities(densities.edges, densities.pdf[inside]), (z_true[inside], z[inside])
            limits = np.quantile(z_true[inside], np.linspace(0, 1, 7))
            bins = {"magnitude": (magnitude[inside], sample.limits), "z": (z_true[inside], limits)}
            covered = [row["coverage [%]"] for row in found.by_bins(*of, bins)] or [np.nan]
            n_train = 0 if name in UNTAUGHT else len(sample.training)
            row = {"galaxies": part, "method": name, "n_train": n_train} | found.scores(*of)
            row |= {"lowest in a bin": min(covered), "highest in a bin": max(covered)}
            rows.append(row | costs | {"package": version, "losses": found.cde_loss(of[0])})
    return rows


def beside(rows: list[dict], name: str = "EAZY") -> Table:
    """The rows as a table, with the mean difference of their CDE losses from one method's, and its error."""
    losses = {row["galaxies"]: row["losses"] for row in rows if row["method"] == name}
    for row in rows:
        off = row.pop("losses") - losses.get(row["galaxies"], np.nan)
        row |= {f"CDE loss - {name}'s": off.mean(), "+-": off.std() / np.sqrt(len(off))}
    return Table(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=N, help="mock galaxies to learn from")
    parser.add_argument("--n-more", type=int, default=N_MORE, help="those that our networks learn from later; 0: none")
    parser.add_argument("--n-test", type=int, default=N_TEST, help="galaxies to be judged by, mock and real")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help=f"renew {FILE.relative_to(paths.ROOT)}")
    words = parser.parse_args()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        ssps = populations.from_emiles(templates.emiles())
        rows = measure(mock(words.n, words.n_test, words.seed, ssps))
        if words.n_more:
            rows += measure(mock(words.n_more, words.n_test, words.seed, ssps), OURS)
        path = Path(os.environ.get("COMPANION_REAL_DATA", ""), REAL)
        if path.is_file():
            rows += measure(real(path, words.n, words.n_test, words.seed, ssps))
        else:
            print(f"COMPANION_REAL_DATA has no {REAL}: mock galaxies alone.")
    table = beside(rows)
    print(shown.table(table[[name for name in table.colnames if name != "package"]]))
    if words.write:
        formats = {name: ".4g" for name in table.colnames if table[name].dtype.kind == "f"}
        with paths.atomic(FILE) as temporary:
            table.write(temporary, format="ascii.csv", formats=formats)


if __name__ == "__main__":
    main()
