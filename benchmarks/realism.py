"""The table of realism: what the mock sky has beside what the real one has, on screen, in data/realism.csv and on the
page paper_utils/sky/README.md. `bench_realism.py`, `bench_midir_library.py` and `bench_deep.py` measure its rows.
"""

import sys
from collections.abc import Callable, Iterable

from astropy.table import Table, vstack

from paper_utils.base import paths

FILE, PAGE = paths.DATA / "realism.csv", paths.ROOT / "paper_utils" / "sky" / "README.md"
COLUMNS = ("part", "quantity", "mock", "real", "tolerance", "reference")
BEGIN, END = "<!-- the table, written by the benchmarks -->\n", "<!-- its end -->\n"


def kept(row) -> bool:
    """Whether the mock value of a row, or of each row of a table, is within the tolerance of the real; NaN is not."""
    return abs(row["mock"] - row["real"]) <= row["tolerance"]


def run(part: str, rows: Callable[[int | str], Iterable], default: int | str, allowed: float = 0.0) -> None:
    """The command of a benchmark: `show` rows(its argument, or the default), and leave with 1 where a larger share of
    rows than is allowed is not kept. `--write` anywhere renews csv and page.
    """
    words = [word for word in sys.argv[1:] if word != "--write"]
    asked = type(default)(words[0]) if words else default
    sys.exit(show(part, rows(asked), "--write" in sys.argv[1:]) > allowed)


def show(part: str, rows: Iterable[tuple[str, float, float, float, str]], write: bool) -> float:
    """Print rows of (quantity, mock, real, tolerance, reference) as they come; the share that is not kept.

    write : renew the rows of this part of the sky in the csv, and the table on the page.
    """
    found = []
    print(f"{'quantity':40} | {'mock':>7} | {'real':>7} | {'+-':>6} | {'reference':44} | kept", flush=True)
    for quantity, mock, real, tolerance, reference in rows:
        found.append((part, quantity, *(round(float(value), 4) for value in (mock, real, tolerance)), reference))
        good = "yes" if kept({"mock": mock, "real": real, "tolerance": tolerance}) else "NO"
        print(f"{quantity:40} | {mock:7.3f} | {real:7.3f} | {tolerance:6.3f} | {reference:44} | {good}", flush=True)
    table = Table(rows=found, names=COLUMNS)
    broken = table["quantity"][~kept(table)].tolist()
    print(f"{len(table) - len(broken)} of {len(table)} within their tolerances", *broken, sep="\n  not: ")
    if write:
        others = [old[old["part"] != part]] if FILE.exists() and len(old := Table.read(FILE)) else []
        _write(vstack([table, *others]))
    return len(broken) / len(table)


def _write(table: Table) -> None:
    table.sort(["part"], kind="stable")
    with paths.atomic(FILE) as file:
        table.write(file, format="ascii.csv", overwrite=True)
    lines = ["| " + " | ".join((*COLUMNS, "kept")) + " |\n", "|---|---|---:|---:|---:|---|---|\n"]
    for row, good in zip(table, kept(table), strict=True):
        values = " | ".join(f"{row[name]:.3g}" for name in ("mock", "real", "tolerance"))
        cells = row["part"], row["quantity"], values, row["reference"], "yes" if good else "**no**"
        lines.append("| " + " | ".join(cells) + " |\n")
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, tail = rest.partition(END)
    with paths.atomic(PAGE) as file:
        file.write_text(head + BEGIN + "\n" + "".join(lines) + "\n" + END + tail, encoding="utf-8")
