"""Colours of galaxies, mock and real, selected and summarised alike: how the mock sky is held against the real one.

The real ones are 10 000 galaxies of SDSS with photometry of 2MASS, the test file `gst_tests_small.fits` of the package
kcorrect. Its percentiles are kept in data/sdss_main_sample.csv (`published`), so that a reader without it sees the
comparison; `summary(read(path))` makes that table anew.

Two things decide whether such a comparison is fair. SDSS magnitudes are not quite AB: `TO_AB` is added. And every
galaxy of the file is in 2MASS' extended catalogue, which beyond r = 16 lacks blue galaxies (McIntosh+ 2006,
2006MNRAS.373.1321M): compare the `complete` ones, r < 16 and K_s < 13.57, their recommended sample, 91 % complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from astropy.table import Table, vstack

from paper_utils.base import paths
from paper_utils.base.errors import readable
from paper_utils.sky.stars import TO_AB

COLOURS = ("u-g", "g-r", "r-i")
R_LIMIT, Z_RANGE = 17.77, (0.02, 0.25)  # Petrosian r of the main sample; redshifts compared
R_COMPLETE, KS_COMPLETE = 16.0, 13.57
PERCENTILES = (5, 16, 25, 50, 75, 84, 95)
BINS = {
    "r": np.arange(14.0, 18.0, 0.5), "z": np.array([0.02, 0.04, 0.06, 0.08, 0.12]), "g-r": np.arange(0.3, 1.05, 0.1)
}  # fmt: skip
COLUMNS = ("MODELFLUX", "PETROFLUX", "EXTINCTION", "Z", "K_M_EXT")


def of(magnitudes: Mapping[str, np.ndarray], z: np.ndarray) -> Table:
    """The columns that everything here works on, from AB magnitudes in u g r i z and Ks.

    z (redshift), r (AB), ks (Vega), u-g, g-r, r-i (AB).
    """
    m = {band: np.asarray(magnitudes[band], float) for band in ("u", "g", "r", "i", "Ks")}
    columns = {"z": np.asarray(z, float), "r": m["r"], "ks": m["Ks"] - TO_AB[-1]}
    return Table(columns | {colour: m[colour[0]] - m[colour[2]] for colour in COLOURS})


def read(path: Path | str, flux: str = "MODELFLUX") -> Table:
    """The real galaxies of a kcorrect test file, AB and without Galactic extinction, in the columns of `of`.

    flux : MODELFLUX, the survey's choice for colours, or PETROFLUX, all of the light. r is Petrosian in both.
    Galaxies without a positive flux in all bands have no colour and are left out, as are those outside R_LIMIT and
    Z_RANGE. Raises DataError for a file that cannot be read or lacks a column.
    """
    remedy = f"Give a FITS table with the columns {', '.join(COLUMNS)}, such as kcorrect's gst_tests_small.fits."
    with readable(path, "a table of SDSS photometry", remedy):
        rows = Table.read(path)
        columns = {name: np.asarray(rows[name], float) for name in COLUMNS}
    keep = (columns[flux][:, :4] > 0).all(axis=1) & (columns["PETROFLUX"][:, 2] > 0)
    columns = {name: values[keep] for name, values in columns.items()}

    def ab(name, band):
        return 22.5 - 2.5 * np.log10(columns[name][:, band]) - columns["EXTINCTION"][:, band] + TO_AB[band]

    bands = {band: ab(flux, number) for number, band in enumerate("ugri")}
    galaxies = of(bands | {"Ks": columns["K_M_EXT"] + TO_AB[-1]}, columns["Z"])
    galaxies["r"] = ab("PETROFLUX", 2)
    inside = (galaxies["r"] - TO_AB[2] < R_LIMIT) & (galaxies["z"] > Z_RANGE[0]) & (galaxies["z"] < Z_RANGE[1])
    return galaxies[inside]


def complete(galaxies: Table) -> Table:
    """Those that 2MASS sees whatever their colour."""
    return galaxies[(galaxies["r"] < R_COMPLETE) & (galaxies["ks"] < KS_COMPLETE)]


def summary(galaxies: Table, sample: str) -> Table:
    """Percentiles of z and the colours, of all and in bins of r, z and g-r: a row for each with 20 galaxies or more.

    Columns: sample, quantity, by ("all" or what is binned), low and high (the bin), n, p5 ... p95.
    """
    rows = []

    def add(quantity, by, low, high, inside):
        if inside.sum() >= 20:
            values = np.percentile(galaxies[quantity][inside], PERCENTILES).round(3)
            rows.append((sample, quantity, by, round(low, 2), round(high, 2), int(inside.sum()), *values))

    for quantity in ("z", *COLOURS):
        add(quantity, "all", 0, 0, np.ones(len(galaxies), bool))
        for by, edges in BINS.items():
            for low, high in zip(edges[:-1], edges[1:], strict=True) if by != quantity else ():
                add(quantity, by, low, high, (galaxies[by] >= low) & (galaxies[by] < high))
    return Table(rows=rows, names=("sample", "quantity", "by", "low", "high", "n", *(f"p{p}" for p in PERCENTILES)))


def summaries(path: Path | str) -> Table:
    """What data/sdss_main_sample.csv holds: model and Petrosian colours, of all galaxies and of the complete ones."""
    parts = []
    for name, flux in (("model", "MODELFLUX"), ("petro", "PETROFLUX")):
        galaxies = read(path, flux)
        parts += [summary(galaxies, f"{name} all"), summary(complete(galaxies), f"{name} complete")]
    return vstack(parts)


def published() -> Table:
    """The kept summary of the real galaxies."""
    return Table.read(paths.DATA / "sdss_main_sample.csv", format="ascii.csv", comment="#")


def rows(table: Table, sample: str, quantity: str, by: str = "all") -> Table:
    """The rows of a summary that are of one sample, quantity and binning."""
    return table[(table["sample"] == sample) & (table["quantity"] == quantity) & (table["by"] == by)]
