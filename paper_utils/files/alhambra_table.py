"""The ALHAMBRA catalogue, or any catalogue of magnitudes with a mapping, as `Catalogue`; and the published file.

ALHAMBRA (Molino+ 2014, 2014MNRAS.441.2891M) marks a magnitude that was not detected with 99 and one that was not
measured with -99; so does every catalogue read here, whatever its own file writes there.
"""

import gzip
import json
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from astropy.table import Column as TableColumn
from astropy.table import Table

from paper_utils.base import checks, paths, storage
from paper_utils.base.columns import Column
from paper_utils.base.containers import Catalogue
from paper_utils.base.errors import DataError
from paper_utils.base.hashes import file_hash
from paper_utils.files import magnitudes, tables
from paper_utils.files import mapping as mappings
from paper_utils.files.download import download
from paper_utils.files.mapping import Mapping

ADDRESS = "http://svo2.cab.inta-csic.es/vocats/alhambra/download/alhambra.csv.gz"  # Cacho 2020, Sec. 3.1
N_OBJECTS = 446_343  # in the published file, ibid.
NOT_DETECTED = 99.0
# In quantities that are never negative `magnitudes.MARKS` are marks.
POSITIVE = ("aperture", "error", "redshift", "type", "mass", "star", "fit")
INTEGERS = ("identifier", "place", "flag")
N_ROWS = 1 << 14  # of a block of a table
TYPICAL = (5.0, 40.0)  # magnitudes within which the median of any survey's galaxies lies


def read(path: Path | str, mapping: Path | str | Mapping | None = None) -> Catalogue:
    """The published ALHAMBRA csv (or csv.gz), or with a `mapping` (a YAML file) any text, FITS or ECSV table.

    A file that `Catalogue.save` wrote is read too. Measurements become float32, coordinates float64, identifiers int64,
    object names text; without an `id` rows are called 1, 2, 3 ... Columns that are not mapped are dropped. Blank cells
    and other marks (`tables.BLANKS`, infinity, the mapping's `missing`) become -99, in chi2_1 99; magnitudes and fluxes
    become AB magnitudes, 99 where nothing was detected (`magnitudes.Band`); in a truth table gaps are NaN.

    Raises DataError naming the file, the row (from 1) and the column: see `tables.read`; also for an object name that
    is blank or used twice, an identifier that is no whole number, and a redshift outside `checks.Z_RANGE`.
    """
    if mapping is None and Path(path).suffix in storage.ENDINGS:
        return Catalogue.load(path)
    blocks = list(catalogues(path, mapping))
    table = Table()
    for name, column in blocks[0].table.columns.copy().items():
        values = np.concatenate([block.table.columns.pop(name) for block in blocks])  # no second copy of all of them
        table[name] = TableColumn(values, unit=column.unit, description=column.description, copy=False)
    names = blocks[0].truth.colnames if blocks[0].truth is not None else ()
    truth = {name: np.concatenate([block.truth[name] for block in blocks]) for name in names}
    ids = np.concatenate([block.ids for block in blocks])
    return Catalogue(table, bands=blocks[0].bands, ids=ids, truth=Table(truth) if truth else None)


def catalogues(path: Path | str, mapping: Path | str | Mapping | None = None) -> Iterator[Catalogue]:
    """The same block by block, at most N_ROWS objects in each: of a text no more than a block is in memory at a time.

    That no name is used twice is known at the end, for which 8 bytes an object are kept.
    """
    path = Path(path)
    if mapping is None and path.suffix in storage.ENDINGS:
        whole = Catalogue.load(path)
        yield from (whole.select(slice(i, i + N_ROWS)) for i in range(0, len(whole), N_ROWS))
        return
    mapping, hashes = mapped(mapping), []

    def refuse(row: int, source: str, problem: str, remedy: str, n: int):
        raise DataError(problem, remedy=remedy, source=path, row=f"row {row}, column {source!r}")

    def check_ids() -> None:
        tables.check_ids([name for block in blocks(path, mapping) for name in block.ids], path, mapping.id)

    for block in blocks(path, mapping):
        if mapping.id:
            if len(set(block.ids)) < len(block.ids) or not all(name and name.isprintable() for name in block.ids):
                check_ids()
            hashes.append(np.fromiter(map(hash, block.ids), np.int64, len(block.ids)))
        for start in range(0, len(block.ids), N_ROWS):
            rows = slice(start, start + N_ROWS)
            some = {name: values[rows] for name, values in block.columns.items()}
            part = tables.Block(block.first_row + start, some, block.ids[rows])
            yield _catalogue(part, *converted(part, mapping, refuse), mapping).check(source=path)
    every = np.sort(np.concatenate(hashes)) if hashes else np.zeros(0)
    if (every[1:] == every[:-1]).any():
        check_ids()


def unfit(magnitudes: np.ndarray) -> tuple[str, str] | None:
    """What is wrong with a band's magnitudes (N,), and a remedy; None where there are some of a survey's galaxies."""
    measured = magnitudes[np.abs(magnitudes) != NOT_DETECTED]
    if not measured.size:
        return "no object has a magnitude", "Leave the band out of the mapping."
    if not TYPICAL[0] < (median := np.median(measured)) < TYPICAL[1]:
        remedy = "If these are fluxes, say `unit:` or `flux_zero_point:` in the mapping."
        return f"the median is {median:g}, which is no magnitude", remedy
    return None


def mapped(mapping: Path | str | Mapping | None) -> Mapping:
    """The mapping of a YAML file; of None that of ALHAMBRA."""
    if mapping is None:
        return mappings.alhambra()
    return mapping if isinstance(mapping, Mapping) else mappings.load(mapping)


def blocks(path: Path, mapping: Mapping) -> Iterator[tables.Block]:
    """The mapped columns of a table as they are, block by block, but for `missing` marks, which are NaN."""
    needed = [source for name, source in mapping.source_of.items() if name not in mapping.optional]
    optional = [source for name, source in mapping.source_of.items() if name in mapping.optional]
    needed += [*mapping.truth.values(), *([mapping.ebv] if mapping.ebv else [])]
    marks = [*mapping.missing, *np.float32(mapping.missing)]  # a column may be in single precision
    remedy = "Correct the mapping: it gives the names of the file's columns, which without one are ALHAMBRA's."
    for block in tables.read(path, needed, optional, mapping.id, mapping.blanks, remedy):
        unmarked = {name: np.where(np.isin(values, marks), np.nan, values) for name, values in block.columns.items()}
        yield block._replace(columns=unmarked)


def converted(block: tables.Block, mapping: Mapping, on_bad: Callable) -> tuple[dict, dict]:
    """A block's columns of the catalogue and of the truth, {name: (n,)} each, in their types, with the survey's marks.

    on_bad : called as (row, column, problem, remedy, how many rows) where values make no sense; where it returns, they
        become missing.
    """
    raw = block.columns

    def refuse(values: np.ndarray, bad: np.ndarray, source: str, problem: str, remedy: str) -> np.ndarray:
        if not bad.any():
            return values
        first = bad.argmax()
        on_bad(block.first_row + first, source, problem.format(raw[source][first]), remedy, bad.sum())
        return np.where(bad, np.nan, values)

    found, ebv = {}, 0.0
    if mapping.ebv:
        ebv, remedy = raw[mapping.ebv], "Give one in 0 to 10 mag for every object, or leave the row out."
        ebv = refuse(ebv, ~((ebv >= 0) & (ebv <= 10)), mapping.ebv, "E(B-V) is {:g}", remedy)
    for name, band in mapping.bands_of.items():
        error = raw[band.error] if band.error else np.full(len(raw[band.column]), np.nan)
        found[name], found[f"d{name}"] = band.to_ab(raw[band.column], error, ebv, refuse)
    columns = {}
    for column in mapping.columns:
        source = mapping.source_of[column.name]
        if source in raw:
            columns[column.name] = _column(column, found.get(column.name, raw[source]), source, refuse)
    return columns, {name: _truth(name, raw[source]) for name, source in mapping.truth.items()}


def read_to_train(path: Path | str, mapping: Path | str | Mapping | None = None) -> Catalogue:
    """As `read`; also DataError where there is nothing to learn from: a band without magnitudes, or no redshifts."""
    catalogue = read(path, mapping)
    for band in catalogue.bands:
        if problem := unfit(np.asarray(catalogue.table[band])):
            raise DataError(problem[0], remedy=problem[1], source=path, row=f"band {str(band)!r}")
    if "zb_1" not in catalogue.table.colnames:
        problem, remedy = "there is no redshift to learn", "Give `redshift: COLUMN` in the mapping."
    elif (np.abs(catalogue.table["zb_1"]) == NOT_DETECTED).all():
        problem, remedy = "no object has a redshift", "Give another column."
    else:
        return catalogue
    raise DataError(problem, remedy=remedy, source=path, row="zb_1")


def get(folder: Path, *, address: str = ADDRESS, **options) -> Path:
    """Fetch the published file into `folder`; returns its path. Needed once.

    What an interrupted call has fetched is kept, and the next goes on from there. The archive gives no checksum: the
    file is checked by its own (gzip's) and its columns, then its address, size and SHA-256 are recorded beside it in
    alhambra.csv.gz.json, by which later calls know it. `options` are those of `download.download`. Raises DataError.
    """
    path = folder / ADDRESS.rpartition("/")[2]
    record_file = path.with_name(f"{path.name}.json")
    record = json.loads(record_file.read_text(encoding="utf-8")) if record_file.is_file() else {}

    def described(file: Path) -> dict:
        return {"size": file.stat().st_size, "sha256": file_hash(file)}

    def is_whole(file: Path) -> bool:
        return described(file).items() <= record.items() if file == path and record else _is_catalogue(file)

    download({path: [address]}, is_whole, resume=True, **options)
    found = {"address": address} | described(path)
    if not found.items() <= record.items():
        if record:
            warnings.warn(f"the file at {address} is not the one of {record.get('fetched')}", stacklevel=2)
        with paths.atomic(record_file) as temporary:
            temporary.write_text(json.dumps(found | {"fetched": time.strftime("%Y-%m-%d")}, indent=1) + "\n")
    return path


def _catalogue(block: tables.Block, columns: dict, truth: dict, mapping: Mapping) -> Catalogue:
    table = Table()
    for column in (column for column in mapping.columns if column.name in columns):
        values = columns[column.name]
        table[column.name] = TableColumn(values, unit=column.unit or None, description=column.meaning, copy=False)
    ids = np.array(block.ids)
    return Catalogue(table, bands=np.array(mapping.bands), ids=ids, truth=Table(truth) if truth else None)


def _column(column: Column, values: np.ndarray, source: str, refuse: Callable) -> np.ndarray:
    """The values (n,) of a catalogue's column in its type, with the survey's marks."""
    missing = np.isnan(values)
    if column.kind in INTEGERS:
        remedy = "Give a whole number, or map only the columns that you need (data/README.md)."
        if column.missing is None:
            refuse(values, missing, source, "there is no value", remedy)
        # Up to 2^53 every whole number is its own float64.
        odd = ~missing & ((values != np.round(values)) | (np.abs(values) > 2**53))
        values = refuse(values, odd, source, "{:g} is not a whole number", remedy)
        return np.where(np.isnan(values), column.missing or 0, values).astype(np.int64)
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    if column.kind == "position":
        return np.where(np.isfinite(values), values, column.missing)
    missing = ~(np.abs(single) < magnitudes.HUGE)
    if column.kind in POSITIVE:
        missing |= np.isin(single, magnitudes.MARKS)
    if column.kind in ("magnitude", "aperture"):
        faint = (single == np.inf) | np.isin(single, magnitudes.FAINT_MARKS)
        single[faint], missing = NOT_DETECTED, missing & ~faint
    if column.kind == "redshift":
        remedy = f"Redshifts lie in {checks.Z_RANGE}; list the mark of a failed one under `missing:` in a mapping."
        odd = checks.odd_redshift(single) & ~missing & (np.abs(single) != NOT_DETECTED)
        missing |= np.isnan(refuse(single, odd, source, "the redshift is {:g}", remedy))
    single[missing] = column.missing
    return single


def _truth(name: str, values: np.ndarray) -> np.ndarray:
    """A column of the truth with NaN where there is no value."""
    with np.errstate(over="ignore"):
        missing = ~(np.abs(values) < magnitudes.HUGE) | np.isin(values.astype(np.float32), magnitudes.MARKS)
    if name == "z":
        missing |= checks.odd_redshift(values)
    return np.where(missing, np.nan, values)


def _is_catalogue(path: Path) -> bool:
    """Whether a file is gzip, whole by its own checksum, and begins with the names of ALHAMBRA's columns."""
    try:
        with gzip.open(path) as file:
            header = file.readline(1 << 20).decode("utf-8", "replace").casefold()
            while file.read(1 << 22):
                pass
    except (OSError, EOFError, zlib.error):
        return False
    return all(band.casefold() in header for band in mappings.alhambra().bands)
