"""What a user's catalogue holds, column by column, and what in it looks exchanged: an inverse variance for an error, a
magnitude for a flux, a number for a mark.

Counts are of all rows; medians and comparisons rest on some ten thousand, even over the table, so memory is bounded.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from paper_utils.base.columns import Column
from paper_utils.base.errors import DataError
from paper_utils.files import alhambra_table, tables
from paper_utils.files import mapping as mappings
from paper_utils.files.alhambra_table import NOT_DETECTED
from paper_utils.files.magnitudes import FAINT_MARKS, HUGE, MARKS, POGSON, Band
from paper_utils.files.mapping import Mapping

N_SAMPLE = 20_000  # rows, at least, of a longer table
FEW = 20  # rows: fewer are not compared
# By hand, generous: median errors of photometry [mag], detections at half a sigma among it.
ERRORS = (3e-4, 3.0)
AGAINST = -0.3  # rank correlation of errors and faintness: those of inverse variances are below, of errors above
SPREAD = 3.0  # 95th over 5th percentile: magnitudes have less (26 over 15), fluxes more (16 within three magnitudes)
LIKE_MAGNITUDES = (8.0, 35.0)
MARK = "list it under `missing:` or `undetected:`"


@dataclass
class Check:
    """n : objects.   rows : what each column holds, {heading: value}.   warnings : what looks wrong, a line each.
    refusal : why the table cannot be used, or None."""

    n: int
    rows: list[dict]
    warnings: list[str]
    refusal: DataError | None


@np.errstate(over="ignore")  # 1.8e308 in single precision
def check(path: Path | str, mapping: Path | str | None = None) -> Check:
    """Look at all of a table that study 5 is to use, under its mapping.

    Labels may be missing: a trained model can be applied to such a table. Raises DataError where mapping or table
    cannot be read; values that make no sense are counted, and the first is `Check.refusal`.
    """
    path, mapping = Path(path), _with_truth(alhambra_table.mapped(mapping))
    seen, ids = _Seen(path), []
    for block in alhambra_table.blocks(path, mapping):
        columns, _ = alhambra_table.converted(block, mapping, seen.refuse)
        seen.add(block, columns, mapping)
        ids += block.ids
    if mapping.id:
        tables.check_ids(ids, path, mapping.id)
    there = [column for column in mapping.columns if column.name in seen.sample]
    absent = [column.name for column in mapping.columns if column not in there and column.role == "label"]
    warnings = [f"{name}: the table has no column {mapping.source_of[name]!r}" for name in absent]
    warnings += [f"{column.name}: {text}" for column in there for text in _odd(column, seen, mapping)]
    for name, band in mapping.bands_of.items():
        warnings += [f"{name}: {text}" for text in _exchanged(name, band, seen)]
        if unfit := alhambra_table.unfit(seen.sample[name]):
            warnings.append(f"{name}: {unfit[0]}. {unfit[1]}")
    if "zb_1" not in seen.sample or not seen.count["zb_1"]["measured"]:
        warnings.append("there are no redshifts: a model can be applied to the table, none can learn from it")
    return Check(len(ids), [seen.row(column, mapping) for column in there], warnings, seen.refusal)


def _with_truth(mapping: Mapping) -> Mapping:
    """A mapping of a table that may lack its labels and its truth, with truth and E(B-V) among the columns."""
    named = {f"truth {name}": source for name, source in mapping.truth.items()}
    named |= {"E(B-V)": mapping.ebv} if mapping.ebv else {}
    truth = tuple(Column(name, "fit", "label", "", -99.0, None, "") for name in named)
    mapping = replace(mapping, columns=mapping.columns + truth, source_of=mapping.source_of | named)
    return mappings.unlabelled(mapping)


class _Seen:
    """Counts of all rows so far by column, and a sample of them: converted values under the column's name, those of the
    file under ("file", its name there)."""

    def __init__(self, path: Path):
        self.path, self.refusal, self.count, self.marks = path, None, defaultdict(Counter), Counter()
        self.n_refused, self.first_refused, self.range, self.sample, self.step = Counter(), {}, {}, {}, 1

    def refuse(self, row: int, source: str, problem: str, remedy: str, n: int) -> None:
        where = f"row {row}, column {source!r}"
        self.refusal = self.refusal or DataError(problem, remedy=remedy, source=self.path, row=where)
        self.first_refused.setdefault(source, f"{problem} in row {row}. {remedy}")
        self.n_refused[source] += n

    def add(self, block: tables.Block, columns: dict, mapping: Mapping) -> None:
        for column in (column for column in mapping.columns if column.name in columns):
            values, given = columns[column.name], block.columns[mapping.source_of[column.name]]
            measured, faint = _measured(column, columns), _faint(column, columns)
            n = {"measured": measured.sum(), "undetected": faint.sum(), "huge": (np.abs(given) >= HUGE).sum()}
            n["missing"] = len(values) - n["measured"] - n["undetected"]
            n["zero"] = ((given == 0) & (measured | (column.kind != "error"))).sum()
            self.count[column.name].update(n)
            if n["measured"]:
                low, high = self.range.get(column.name, (np.inf, -np.inf))
                self.range[column.name] = min(low, values[measured].min()), max(high, values[measured].max())
            if column.kind == "redshift":
                single = given.astype(np.float32)
                self.marks.update(single[np.isin(single, MARKS)].tolist())
        rows = slice(-(block.first_row - 1) % self.step, None, self.step)
        few = {name: values[rows] for name, values in columns.items()}
        few |= {("file", source): values[rows] for source, values in block.columns.items()}
        self.sample = {name: np.concatenate([self.sample.get(name, v[:0]), v]) for name, v in few.items()}
        while len(next(iter(self.sample.values()))) >= 2 * N_SAMPLE:
            self.sample, self.step = {name: values[::2] for name, values in self.sample.items()}, 2 * self.step

    def row(self, column: Column, mapping: Mapping) -> dict:
        values = self.sample[column.name][_measured(column, self.sample)]
        low, high = map(float, self.range.get(column.name, (np.nan, np.nan)))
        middle = float(np.median(values)) if values.size else np.nan
        count = {name: int(self.count[column.name][name]) for name in ("measured", "undetected", "missing")}
        row = {"column": column.name, "in the file": mapping.source_of[column.name]} | count
        return row | {"lowest": low, "median": middle, "highest": high}


def _faint(column: Column, columns: dict) -> np.ndarray:
    """Where nothing was detected (n,), of an error where its limit is known."""
    values = columns[column.name]
    if column.kind in ("magnitude", "aperture"):
        return values == NOT_DETECTED
    of_band = columns.get(column.name.removeprefix("d")) if column.kind == "error" else None
    return np.zeros(len(values), bool) if of_band is None else (of_band == NOT_DETECTED) & (values != column.missing)


def _measured(column: Column, columns: dict) -> np.ndarray:
    values = columns[column.name]
    missing = values == column.missing
    if column.role != "input":
        missing |= np.abs(values) == NOT_DETECTED
    if column.kind == "error" and (of_band := columns.get(column.name.removeprefix("d"))) is not None:
        missing |= np.abs(of_band) == NOT_DETECTED  # an error of nothing, or a limit
    return ~missing & ~_faint(column, columns)


def _odd(column: Column, seen: _Seen, mapping: Mapping) -> Iterator[str]:
    """What is odd about a column's values in the file."""
    name, source = column.name, mapping.source_of[column.name]
    count, values = seen.count[name], seen.sample["file", source]
    band = mapping.bands_of.get(name.removeprefix("d") if column.kind == "error" else name)
    if n_refused := seen.n_refused.pop(source, 0):  # told once of a column that is two things
        yield f"{_rows(n_refused)} would be refused, such as this: {seen.first_refused[source]}"
    if n := count["huge"]:
        in_mag = column.kind in ("magnitude", "aperture") and not (band and band.zero_point is not None)
        what = "not detected" if in_mag else "missing"
        yield f"infinite, or as good as that (3.4e38, 1.8e308), in {_rows(n)}, read as {what}"
    if column.kind == "redshift":
        yield from (f"{mark:g} in {_rows(n)}, read as missing" for mark, n in sorted(seen.marks.items()))
    if n := count["zero"]:
        if column.kind == "error":
            yield f"errors of 0, read as unknown, in {_rows(n)}"
        elif column.kind == "magnitude" and band.zero_point is not None:
            yield f"exactly 0, read as not detected, in {_rows(n)}; if it marks no value, list 0 under `missing:`"
        elif column.kind in ("magnitude", "redshift"):
            yield f"exactly 0 in {_rows(n)}; if that is a mark, {MARK}"
    if not n_refused and (column.kind == "redshift" or (band and column.kind in ("magnitude", "error"))):
        marks = [0.0, *(band.undetected if band else ())]
        if not (band and band.zero_point is not None):
            marks += [*MARKS, *FAINT_MARKS]
        sound = (np.abs(values) < HUGE) & ~np.isin(values.astype(np.float32), np.float32(marks))
        yield from _far_off(values[sound])


def _rows(n: int) -> str:
    return "1 row" if n == 1 else f"{n} rows"


def _far_off(values: np.ndarray) -> Iterator[str]:
    """A number at either end that is there more than once and further off than the others are from each other."""
    for end in (np.min, np.max) if values.size else ():
        others = values[values != (extreme := end(values))]
        if others.size >= FEW and (n := values.size - others.size) > 1:
            if abs(end(others) - extreme) > np.ptp(np.percentile(others, (5, 95))):
                share = f"{100 * n / values.size:.2g} % of its values are {extreme:g}"
                yield f"{share}, far from all others; if that is a mark, {MARK}"


def _exchanged(name: str, band: Band, seen: _Seen) -> Iterator[str]:
    """What a band's columns look like rather than what the mapping says."""
    given, in_flux = seen.sample["file", band.column], band.zero_point is not None
    given = given[(np.abs(seen.sample[name]) != NOT_DETECTED) & ~np.isnan(given)]
    if given.size >= FEW and not band.softening:
        low, middle, high = np.percentile(given, (5, 50, 95))
        if in_flux and high < SPREAD * low and LIKE_MAGNITUDES[0] < middle < LIKE_MAGNITUDES[1]:
            yield f"its fluxes, {low:.3g} to {high:.3g}, look like magnitudes; then say `unit: AB` (or Vega, asinh)"
        if not in_flux and high > SPREAD * max(low, 0) and middle > 0:
            yield f"its magnitudes, {low:.3g} to {high:.3g}, look like fluxes; then say `unit:` or `flux_zero_point:`"
    if not band.error:
        return
    m, error = seen.sample[name], seen.sample[f"d{name}"]
    both = (np.abs(m) != NOT_DETECTED) & (error > 0)
    m, error = m[both].astype(float), error[both].astype(float)
    if m.size < FEW:
        return
    absolute = error * 10 ** (-0.4 * (m - m.mean())) / POGSON if in_flux else error
    if np.ptp(absolute) <= 1e-5 * absolute.max():
        yield f"all errors are {seen.sample['file', band.error][both][0]:g}"
        against = False
    else:
        against = spearmanr(-m if in_flux else m, absolute).statistic < AGAINST
    if against or not ERRORS[0] < np.median(error) < ERRORS[1]:
        what = ("inverse variances", "an error", "error") if band.inverse else ("errors", "an inverse variance", "ivar")
        how = "fall where they should rise" if against else f"are {np.median(error):.2g} mag in the median"
        yield f"its {what[0]} {how}: {what[1]}? Then give the column as `{what[2]}:`"
