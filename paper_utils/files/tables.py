"""Tables of numbers as people keep them: csv and its relatives (also gzipped), FITS and ECSV, read block by block.

Text is split by pyarrow and converted a column at a time; only a column that it cannot convert is looked at cell by
cell, which finds the one at fault. Rows are counted from 1, below the header.
"""

import csv
import difflib
import gzip
import io
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow
import pyarrow.compute
import pyarrow.csv
from astropy.table import Table

from paper_utils.base.errors import DataError, readable
from paper_utils.files import fits_files

N_BYTES = 1 << 22  # of a block of text
N_HEADER = 1 << 20  # characters of a line in which a header is looked for
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe", " ": "whitespace"}
# What people and programs write where there is no number, in small letters.
BLANKS = frozenset({"", "-", "--", "null", "none", "nan", "na", "n/a", "masked", "<na>", "\\n"})
WORDS = {"true": 1.0, "false": 0.0}


class Block(NamedTuple):
    """Some rows of a table, the first of which is `first_row`: {name asked for: (n,) float64, NaN where blank}, and
    ids, text."""

    first_row: int
    columns: dict[str, np.ndarray]
    ids: list[str]


def read(
    path: Path | str,
    needed: Sequence[str],
    optional: Sequence[str] = (),
    id_column: str | None = None,
    blanks: Collection[str] = (),
    remedy: str = "Add the column, or give its name in the file.",
) -> Iterator[Block]:
    """The columns `needed` and those of `optional` that are there, of a text, FITS (first table) or ECSV file.

    A text file has a header line, perhaps behind #, and commas, semicolons, tabs, pipes or white space between cells,
    found by which of them brings out the names asked for. Lines may end in CR, LF or both. Names match exactly or but
    for capitals; a column of K numbers per row is asked for as NAME[0] ... NAME[K-1]; others are not read. Cells are
    numbers, `BLANKS` or `blanks`; those of `id_column` are text, without which ids are 1, 2, 3 ...

    Raises DataError (with `remedy` for a missing column) for a file that cannot be read, a text among numbers, a row of
    the wrong length, a file cut short or without rows.
    """
    path, blanks = Path(path), BLANKS | {text.strip().casefold() for text in blanks}
    found, blocks = _opened(path, [*needed, *optional, *([id_column] if id_column else [])], remedy)
    places = ((name, _place(found, name, name in needed, path, remedy)) for name in (*needed, *optional))
    place_of = {name: place for name, place in places if place is not None}
    id_place = _place(found, id_column, True, path, remedy) if id_column else None
    row = 1
    for block in blocks(sorted({*place_of.values(), *([id_place] if id_column else [])})):
        columns = {name: _numbers(block[i], found[i], row, blanks, path) for name, i in place_of.items()}
        n = len(next(iter(block.values())))
        yield Block(row, columns, _texts(block[id_place]) if id_column else list(map(str, range(row, row + n))))
        row += n
    if row == 1:
        raise DataError("there are no rows below the header", remedy="Give at least one object.", source=path)


def read_whole(path: Path | str, needed: Sequence[str], **options) -> tuple[dict[str, np.ndarray], list[str]]:
    """All rows at once, as `read` gives them: {name: (N,) float64}, and ids (N,)."""
    blocks = list(read(path, needed, **options))
    columns = {name: np.concatenate([block.columns[name] for block in blocks]) for name in blocks[0].columns}
    return columns, [name for block in blocks for name in block.ids]


def check_ids(ids: Sequence[str], source: object, column: str | None = None, *, of_files: bool = False) -> None:
    """Every id is printable text that stands once, and with `of_files` can begin a file's name.

    Raises DataError with the row (from 1).
    """
    row_of = {}
    for row, name in enumerate(map(str, ids), start=1):
        problem, remedy = f"the object is called {name!r}", "Give every object its own name of printable text."
        if of_files and ("/" in name or name.startswith(".")):
            remedy = "Files are found by their ids, which have no '/'."
        elif name and name.isprintable():
            if (first := row_of.setdefault(name, row)) == row:
                continue
            problem, remedy = f"the object {name!r} stands in row {first} already", f"{remedy[:-1]}, and drop repeats."
        where = f"row {row}" + (f", column {column!r}" if column else "")
        raise DataError(problem, remedy=remedy, source=source, row=where)


def names(path: Path | str, wanted: Collection[str]) -> list[str]:
    """The names of a table's columns (a vector's as NAME[0] ...), found as `read` does. Raises DataError."""
    return _opened(Path(path), list(wanted), "")[0]


def _opened(path: Path, wanted: list[str], remedy: str) -> tuple[list[str], Callable[[list[int]], Iterator[dict]]]:
    """The names of a table's columns, and what gives those at some places in blocks, {place: column}."""
    if not path.is_file():
        problem = "a folder, not a table" if path.is_dir() else "there is no such file"
        raise DataError(problem, remedy="Check the path.", source=path)
    if path.stat().st_size == 0:
        raise DataError("the file is empty", remedy="Write or copy it again.", source=path)
    if path.name.endswith((*fits_files.ENDINGS, ".ecsv")):
        columns = _astropy_columns(path)
        return list(columns), lambda places: iter([dict(enumerate(columns.values()))])
    with _text(path) as lines:
        n_skipped, header, delimiter = _header(lines, wanted)
    if delimiter is None:
        problem = f"no header with any of the columns wanted ({', '.join(wanted[:4])} ...)"
        remedy = f"A first line names the columns, with commas, semicolons, tabs, pipes or white space. {remedy}"
        raise DataError(f"{problem}; the file begins {header[:60]!r}", remedy=remedy, source=path)
    found = _split(header, delimiter)
    return found, lambda places: _of_text(path, n_skipped, delimiter, len(found), places)


def _place(found: list[str], name: str, needed: bool, path: Path, remedy: str) -> int | None:
    """Where a column is among those of the file, or None where one that is not `needed` is not there."""
    places = [i for i, other in enumerate(found) if other == name]
    places = places or [i for i, other in enumerate(found) if other.casefold() == name.casefold()]
    if len(places) == 1 or not (places or needed):
        return places[0] if places else None
    if places:
        problem, remedy = f"{len(places)} columns are called so", "Rename or drop one."
    else:
        near = difflib.get_close_matches(name, found, n=3, cutoff=0.6)
        problem = f"no column {name!r}" + (f"; near it: {', '.join(near)}" if near else f" among its {len(found)}")
    raise DataError(problem, remedy=remedy, source=path, row=f"column {name!r}")


@contextmanager
def _text(path: Path) -> Iterator[io.TextIOBase]:
    """Lines of a text file, gzipped or not, whatever ends them. Raises DataError where it cannot be read."""
    remedy = "It was cut or damaged, or has no rows: get or copy it again."
    with readable(path, "a table that can be read to its end", remedy), path.open("rb") as raw:
        file = gzip.open(raw) if raw.peek(2)[:2] == b"\x1f\x8b" else raw
        with file, io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace") as lines:
            yield lines


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


def _of_text(path: Path, n_skipped: int, delimiter: str, n_columns: int, places: list[int]) -> Iterator[dict]:
    """Blocks of a text's columns as bytes, {place: array}."""

    labels = [str(i) for i in range(n_columns)]
    # In one thread, for only then are rows numbered.
    reading = pyarrow.csv.ReadOptions(use_threads=False, block_size=N_BYTES, skip_rows=n_skipped, column_names=labels)
    parse = pyarrow.csv.ParseOptions(delimiter=delimiter)
    convert = pyarrow.csv.ConvertOptions(
        include_columns=[labels[i] for i in places], column_types=dict.fromkeys(labels, pyarrow.binary())
    )
    with _text(path) as lines:
        file = lines.buffer
        if delimiter == " ":
            file = io.BytesIO("\n".join("\t".join(line.split()) for line in islice(lines, n_skipped, None)).encode())
            reading.skip_rows, parse.delimiter, parse.quote_char = 0, "\t", False
        try:
            for batch in pyarrow.csv.open_csv(file, reading, parse, convert):
                yield dict(zip(places, batch.columns, strict=True))
        except pyarrow.ArrowInvalid as problem:
            if not (odd := re.search(r"Row #(\d+): Expected \d+ columns, got (\d+)", str(problem))):
                raise
            problem = f"the row has {odd[2]} cells, the header {n_columns} ({DELIMITERS[delimiter]} between them)"
            remedy = "Mend the row, or the file if it was cut; put text with such a character inside in quotes."
            row = f"row {int(odd[1]) - reading.skip_rows}"
            raise DataError(problem, remedy=remedy, source=path, row=row) from None


def _texts(column) -> list[str]:
    if isinstance(column, pyarrow.Array):
        return [text.decode("utf-8", "replace").strip() for text in column.to_pylist()]
    return ["" if cell is None else str(cell).strip() for cell in np.ma.asarray(column).tolist()]


def _numbers(column, name: str, first_row: int, blanks: Collection[str], path: Path) -> np.ndarray:
    """A column as float64, NaN where it is blank. Raises DataError naming the first cell that is no number."""
    if not isinstance(column, pyarrow.Array):
        values = np.ma.asarray(column)
        if values.ndim == 1 and values.dtype.kind in "fiub":
            return values.astype(float).filled(np.nan)
        if values.ndim != 1 or values.dtype.kind != "U":
            problem = f"column {name!r} holds {values.dtype} of shape {values.shape}"
            remedy = "Columns hold a number in each row; one of vectors is asked for as NAME[0], NAME[1] ..."
            raise DataError(problem, remedy=remedy, source=path, row=f"column {name!r}")
        column = pyarrow.array(values.filled("").tolist(), pyarrow.binary())
    try:
        filled = pyarrow.compute.if_else(pyarrow.compute.equal(column, b""), None, column)
        return filled.cast("float64").to_numpy(zero_copy_only=False)
    except pyarrow.ArrowInvalid:
        return np.array([_number(t, blanks, name, first_row + i, path) for i, t in enumerate(_texts(column))])


def _number(text: str, blanks: Collection[str], name: str, row: int, path: Path) -> float:
    text = text.strip('"')
    if (word := text.casefold()) in blanks:
        return np.nan
    try:
        if "_" in text:  # which Python's own numbers may have
            raise ValueError
        return WORDS[word] if word in WORDS else float(text)
    except ValueError:
        problem, where = f"{text[:40]!r} is not a number", f"row {row}, column {name!r}"
        remedy = "Correct the cell, or leave it empty where there is no value (numbers take a decimal point)."
        raise DataError(problem, remedy=remedy, source=path, row=where) from None


def _astropy_columns(path: Path) -> dict[str, object]:
    """Columns of a FITS or ECSV table by name; one of K numbers per row as K columns NAME[0] ... NAME[K-1]."""
    kind = "ECSV" if path.suffix == ".ecsv" else "FITS"
    remedy = "It may be cut, damaged or hold no table: copy it again."
    # Opened here: of a damaged file astropy leaves its own open.
    with readable(path, f"a whole {kind} table", remedy), fits_files.strict(), path.open("rb") as raw:
        content = raw.read().decode().splitlines() if kind == "ECSV" else raw
        table = Table.read(content, format="ascii.ecsv" if kind == "ECSV" else "fits")
        table.convert_bytestring_to_unicode()
        columns = {}
        for name, column in table.columns.items():
            if len(getattr(column, "shape", ())) == 2:
                columns |= {f"{name}[{k}]": column[:, k] for k in range(column.shape[1])}
            else:
                columns[name.strip()] = column
    if not len(table):
        raise DataError("the table has no rows", remedy="Give at least one object.", source=path)
    return columns
