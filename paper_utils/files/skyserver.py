"""Queries to SDSS's database through astroquery, an optional extra: pip install -e ".[survey]"."""

from pathlib import Path

import numpy as np
from astropy.table import Table, vstack
from tqdm import tqdm

from paper_utils.base import paths
from paper_utils.base.errors import DataError, readable

SAMPLE = paths.DATA / "doorenbos2024.sql"
Z_EDGES = np.linspace(0.05, 0.15, 11)  # a slice stays below the server's limits of rows and minutes
BY_HAND = "paste data/doorenbos2024.sql into https://skyserver.sdss.org/CasJobs and save the result as CSV"


def query(sql: str) -> Table:
    """The rows of an SQL query, as astroquery's `SDSS.query_sql` gives them. Raises DataError."""
    try:
        from astroquery.sdss import SDSS
    except ImportError:
        remedy = f"Install it with `pip install astroquery`, or {BY_HAND}."
        raise DataError("astroquery, which asks SDSS's database, is not installed", remedy=remedy) from None
    with readable(None, "answered", f"Try again later, or {BY_HAND}."):
        table = SDSS.query_sql(sql, data_release=17, timeout=600.0)
    if table is None or not len(table):
        raise DataError("the query has no rows", remedy="Check it, and the data release.")
    return table


def get(folder: Path) -> Path:
    """The sample of Doorenbos+ 2024 (Appendix B) as a CSV file in `folder`, by `query`.

    Asked for in slices of redshift, of which those that came are kept: a second call goes on. Raises DataError.
    """
    whole = folder / "doorenbos2024.csv"
    if whole.is_file():
        return whole
    sql, parts = SAMPLE.read_text(encoding="utf-8"), []
    for low, high in tqdm(list(zip(Z_EDGES[:-1], Z_EDGES[1:], strict=True)), unit="slice"):
        part = folder / ".slices" / f"z_{low:.3f}.ecsv"
        if not part.is_file():
            # The printed upper end belongs to the sample.
            below = "<=" if high == Z_EDGES[-1] else "<"
            table = query(f"{sql}\nAND S.z >= {low:.3f} AND S.z {below} {high:.3f}")
            with paths.atomic(part) as temporary:
                table.write(temporary, format="ascii.ecsv", overwrite=True)
        parts.append(Table.read(part, format="ascii.ecsv"))
    with paths.atomic(whole) as temporary:
        vstack(parts, metadata_conflicts="silent").write(temporary, format="ascii.csv", overwrite=True)
    return whole
