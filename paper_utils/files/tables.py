"""Tables of numbers as people keep them: csv and its relatives (also gzipped), FITS and ECSV, read block by block.

Blocks of numbers and empty cells are parsed by NumPy, at some 10 million cells a second; others cell by cell, which
costs five times as much and knows which cell is at fault. Rows are counted from 1, below the header.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import io
import warnings
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import numpy as np

from paper_utils.base.errors import DataError

FITS_ENDINGS = (".fits", ".fit", ".fits.gz")
N_ROWS = 8192
N_HEADER = 1 << 20  # characters of a line in which a header is looked for
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe", " ": "whitespace"}
# What people and programs write where there is no number, in small letters.
BLANKS = frozenset({"", "-", "--", "null", "none", "nan", "na", "n/a", "masked", "<na>", "\\n"})
WORDS = {"true": 1.0, "false": 0.0}


@dataclass(frozen=True, eq=False)
class Block:
    """Some rows of a table: values (n, K) of the columns, NaN where a cell is blank, and ids (n,) text or None."""

    first_row: int
    values: np.ndarray
    ids: list[str] | None


@dataclass(frozen=True, eq=False)
class Stream:
    """The columns that were asked for and the file has, in the order asked for, and their rows, to be read once."""

    names: list[str]
    blocks: Iterator[Block]


def stream(
    path: Path | str,
    needed: Sequence[str],
    optional: Sequence[str] = (),
    id_column: str | None = None,
    blanks: Collection[str] = (),
    remedy: str = "Add the column, or give its name in the file.",
) -> Stream:
    """The columns `needed` and those of `optional` that are there, of a text, FITS (first table) or ECSV file.

    A text file has a header line, perhaps behind #, and commas, semicolons, tabs, pipes or white space between cells,
    found by which of them brings out the names asked for. Lines may end in CR, LF or both. Names match exactly or but
    for capitals; a column of K numbers per row is asked for as NAME[0] ... NAME[K-1]; others are not read. Cells are
    numbers, `BLANKS` or `blanks`; those of `id_column` are text.

    Raises DataError (with `remedy` for a missing column) here for a file that cannot be read, and while the blocks are
    read for a text among numbers, a row of the wrong length, a file cut short or without rows.
    """
    path = Path(path)
    wanted = [*needed, *optional]
    _check_file(path)
    blanks = BLANKS | {text.strip().casefold() for text in blanks}
    if path.name.endswith((*FITS_ENDINGS, ".ecsv")):
        columns = _astropy_columns(path)
        at = _locate(list(columns), wanted, len(needed), id_column, path, remedy)
        return Stream(list(at.numbers), _of_columns(columns, at, blanks, path))
    with _text(path) as lines:
        skipped, header, delimiter = _header(lines, [*wanted, *([id_column] if id_column else [])])
    if delimiter is None:
        raise _no_header(path, header, wanted, remedy)
    at = _locate(_split(header, delimiter), wanted, len(needed), id_column, path, remedy)
    return Stream(list(at.numbers), _of_text(path, skipped, delimiter, at, blanks))


def names(path: Path | str, wanted: Collection[str]) -> list[str]:
    """The names of a table's columns (a vector's as NAME[0] ...), found as `stream` does. Raises DataError."""
    path = Path(path)
    _check_file(path)
    if path.name.endswith((*FITS_ENDINGS, ".ecsv")):
        return list(_astropy_columns(path))
    with _text(path) as lines:
        _, header, delimiter = _header(lines, wanted)
    if delimiter is None:
        raise _no_header(path, header, list(wanted), "")
    return _split(header, delimiter)


@dataclass(frozen=True)
class _Places:
    """Where in the file's list of n_columns the wanted ones are: {name asked for: index}, and that of the ids."""

    numbers: dict[str, int]
    id: int | None
    n_columns: int
    found: list[str]  # the file's own names


def _check_file(path: Path) -> None:
    if not path.is_file():
        problem = "a folder, not a table" if path.is_dir() else "there is no such file"
        raise DataError(problem, remedy="Check the path.", source=path)
    if path.stat().st_size == 0:
        raise DataError("the file is empty", remedy="Write or copy it again.", source=path)


def _no_header(path: Path, header: str, wanted: list[str], remedy: str) -> DataError:
    return DataError(
        f"no header with any of the columns wanted ({', '.join(wanted[:4])} ...); the file begins {header[:60]!r}",
        remedy=f"A first line names the columns, with commas, semicolons, tabs, pipes or white space. {remedy}".strip(),
        source=path,
    )


def _locate(found, wanted, n_needed, id_column, path, remedy) -> _Places:
    exact, loose = {}, {}
    for i, name in enumerate(found):
        exact.setdefault(name, []).append(i)
        loose.setdefault(name.casefold(), []).append(i)

    def place(name, needed):
        places = exact.get(name) or loose.get(name.casefold(), [])
        if len(places) > 1:
            raise DataError(
                f"{len(places)} columns are called so",
                remedy="Rename or drop one.",
                source=path,
                row=f"column {name!r}",
            )
        if needed and not places:
            near = difflib.get_close_matches(name, found, n=3, cutoff=0.6)
            hint = f"; near it: {', '.join(near)}" if near else f" among its {len(found)}"
            raise DataError(f"no column {name!r}{hint}", remedy=remedy, source=path, row=f"column {name!r}")
        return places[0] if places else None

    numbers = {name: place(name, i < n_needed) for i, name in enumerate(wanted)}
    numbers = {name: i for name, i in numbers.items() if i is not None}
    return _Places(numbers, place(id_column, True) if id_column else None, len(found), found)


@contextmanager
def _text(path: Path) -> Iterator[io.TextIOBase]:
    """Lines of a text file, gzipped or not, whatever ends them; what stops the reading becomes a DataError."""
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            with io.TextIOWrapper(gzip.open(raw) if zipped else raw, encoding="utf-8-sig", errors="replace") as lines:
                yield lines
    except (EOFError, OSError, zlib.error, csv.Error) as problem:
        raise DataError(
            f"the file cannot be read to its end ({problem})",
            remedy="It was cut or damaged: get or copy it again.",
            source=path,
        ) from None


def _header(lines, wanted) -> tuple[int, str, str | None]:
    """How many lines come before the rows, the header, and the delimiter that brings out most of the wanted names."""
    wanted = {name.casefold() for name in wanted}
    best, header, delimiter = (0, 0), "", None  # (names found, line)
    for n in count(1):
        line = lines.readline(N_HEADER)
        if line.strip():
            header = header or line
            for candidate in DELIMITERS:
                score = len(wanted & {name.casefold() for name in _split(line.lstrip("# "), candidate)}), n
                if score > best and score[0]:
                    best, header, delimiter = score, line.lstrip("# "), candidate
        if not line or (line.strip() and not line.startswith("#")):
            # A header behind # stands among comments; then this line is the first row already.
            return n if best[1] == n else n - 1, header, delimiter


def _split(line: str, delimiter: str) -> list[str]:
    if delimiter == " ":
        return line.split()
    try:
        return [cell.strip() for cell in next(csv.reader([line.strip("\r\n")], delimiter=delimiter), [])]
    except csv.Error:
        return []


def _of_text(path, skipped, delimiter, at, blanks) -> Iterator[Block]:
    row = 1
    with _text(path) as lines:
        for _ in islice(lines, skipped):
            pass
        while chunk := list(islice(lines, N_ROWS)):
            chunk = [cells for line in chunk if (cells := line.strip(" \n"))]
            if chunk:
                block = _parse_fast(chunk, delimiter, at, row) or _parse(chunk, delimiter, at, row, blanks, path)
                row += len(block.values)
                yield block
    if row == 1:
        raise DataError("there are no rows below the header", remedy="Give at least one object.", source=path)


def _parse_fast(lines: list[str], delimiter: str, at: _Places, first_row: int) -> Block | None:
    """Numbers and empty cells without quotes; None where that is not so."""
    if delimiter == " " or any(line.count(delimiter) != at.n_columns - 1 or '"' in line for line in lines):
        return None
    options = {"delimiter": delimiter, "comments": None, "usecols": list(at.numbers.values()), "ndmin": 2}
    gap, filled = 2 * delimiter, f"{delimiter}nan{delimiter}"
    try:
        values = np.loadtxt(lines, **options)
    except ValueError:
        # Twice, because gaps next to one another share a delimiter.
        closed = (f"{delimiter}{line}{delimiter}".replace(gap, filled).replace(gap, filled) for line in lines)
        try:
            values = np.loadtxt((line[1:-1] for line in closed), **options)
        except ValueError:
            return None
    ids = None if at.id is None else [line.split(delimiter, at.id + 1)[at.id].strip() for line in lines]
    return Block(first_row, values, ids)


def _parse(lines: list[str], delimiter: str, at: _Places, first_row: int, blanks, path: Path) -> Block:
    """Cell by cell, naming the first that is no number."""
    if delimiter == " ":
        rows = [line.split() for line in lines]
    else:
        rows = list(csv.reader(lines, delimiter=delimiter, skipinitialspace=True))
    for i, cells in enumerate(rows):
        if len(cells) != at.n_columns:
            raise DataError(
                f"the row has {len(cells)} cells, the header {at.n_columns} ({DELIMITERS[delimiter]} between them)",
                remedy="Mend the row, or the file if it was cut; put text with such a character inside in quotes.",
                source=path,
                row=f"row {first_row + i}",
            )
    columns = [
        _numbers([cells[i] for cells in rows], at.found[i], first_row, blanks, path) for i in at.numbers.values()
    ]
    ids = None if at.id is None else [cells[at.id].strip() for cells in rows]
    return Block(first_row, np.array(columns).T.reshape(len(rows), len(columns)), ids)


def _numbers(cells: list[str], name: str, first_row: int, blanks, path: Path) -> np.ndarray:
    values = np.full(len(cells), np.nan)
    for i, cell in enumerate(cells):
        if (text := cell.strip()).casefold() in blanks:
            continue
        try:
            if "_" in text:  # which Python's own numbers may have
                raise ValueError
            values[i] = WORDS[text.casefold()] if text.casefold() in WORDS else float(text)
        except ValueError:
            raise DataError(
                f"{text[:40]!r} is not a number",
                remedy="Correct the cell, or leave it empty where there is no value (numbers take a decimal point).",
                source=path,
                row=f"row {first_row + i}, column {name!r}",
            ) from None
    return values


def _astropy_columns(path: Path) -> dict[str, object]:
    """Columns of a FITS or ECSV table by name; one of K numbers per row as K columns NAME[0] ... NAME[K-1]."""
    from astropy.table import Table

    try:
        # Opened here: of a damaged file astropy leaves its own open.
        with warnings.catch_warnings(), path.open("rb") as raw:
            warnings.simplefilter("ignore")
            # Astropy only warns of a file that is cut short, and reads what there is.
            warnings.filterwarnings("error", message=r"(?s).*(truncated|corrupted)")
            if path.suffix == ".ecsv":
                table = Table.read(raw.read().decode().splitlines(), format="ascii.ecsv")
            else:
                table = Table.read(raw, format="fits")
            table.convert_bytestring_to_unicode()
            columns = {}
            for name in table.colnames:
                column = table[name]
                if len(getattr(column, "shape", ())) == 2:
                    columns |= {f"{name}[{k}]": column[:, k] for k in range(column.shape[1])}
                else:
                    columns[name.strip()] = column
    except Exception as problem:  # astropy raises many kinds, by where a file is damaged
        raise DataError(
            f"not a whole {'ECSV' if path.suffix == '.ecsv' else 'FITS'} table "
            f"({' '.join(str(problem).split())[:200] or type(problem).__name__})",
            remedy="It may be cut, damaged or hold no table: copy it again.",
            source=path,
        ) from None
    if not len(table):
        raise DataError("the table has no rows", remedy="Give at least one object.", source=path)
    return columns


def _of_columns(columns: dict, at: _Places, blanks, path: Path) -> Iterator[Block]:
    def numbers(name, column):
        values = np.ma.asarray(column)
        if values.ndim == 1 and values.dtype.kind == "U":
            return _numbers(values.filled("").tolist(), name, 1, blanks, path)
        if values.ndim != 1 or values.dtype.kind not in "fiub":
            raise DataError(
                f"column {name!r} holds {values.dtype} of shape {values.shape}",
                remedy="Columns hold a number in each row; one of vectors is asked for as NAME[0], NAME[1] ...",
                source=path,
                row=f"column {name!r}",
            )
        return values.astype(float).filled(np.nan)

    found = list(columns.values())
    wanted = [numbers(at.found[i], found[i]) for i in at.numbers.values()]
    values = np.array(wanted).T.reshape(len(found[0]), len(wanted))  # which may be none
    ids = None
    if at.id is not None:
        ids = ["" if cell is None else str(cell).strip() for cell in np.ma.asarray(found[at.id]).tolist()]
    yield Block(1, values, ids)
