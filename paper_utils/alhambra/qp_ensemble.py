"""Densities of redshift in a file as the package `qp` keeps a histogram ensemble, which LSST's RAIL reads."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import h5py
import numpy as np

from paper_utils.base.paths import atomic
from paper_utils.base.results import Results

ENDING = ".hdf5"  # by which qp knows the format
N_ROWS = 512  # of a chunk


@contextmanager
def growing_ensemble(path: Path) -> Iterator[Callable[[Results], None]]:
    """Yield a function that adds results of `apply.PhotoZ` to the file at `path`, which appears when the block ends
    well; `qp.read(path)` reads it.

    meta/bins (1, G + 1) are edges of redshift, data/pdfs (N, G) the mean densities between them, ancil/id (N,) the
    objects, ancil/zmode (N,) the likeliest redshifts. Only what is added is in memory.
    """
    with ExitStack() as stack:
        file = None

        def add(results: Results) -> None:
            nonlocal file
            edges, table = results.arrays["z_edges"], results.table
            if file is None:
                file = stack.enter_context(h5py.File(stack.enter_context(atomic(path)), "w"))
                file["meta/pdf_name"], file["meta/pdf_version"] = np.array([b"hist"]), np.array([0])
                file["meta/bins"] = edges[None]
            for name, values, dtype in (
                ("data/pdfs", results.arrays["pdf"], "f4"),
                ("ancil/id", np.asarray(table["id"], object), h5py.string_dtype()),
                ("ancil/zmode", np.asarray(table["z_mode"]), "f4"),
            ):
                rest = values.shape[1:]
                if name not in file:
                    file.create_dataset(name, (0, *rest), dtype, maxshape=(None, *rest), chunks=(N_ROWS, *rest))
                n = len(file[name])
                file[name].resize(n + len(values), axis=0)
                file[name][n:] = values

        yield add
