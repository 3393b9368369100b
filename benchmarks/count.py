"""How large the project is: code lines of the package by room and file, and what each notebook asks of its reader.

It stands with the benchmarks since it measures, and outside the package since it is of no use to who installs that.
A code line is neither blank, comment nor docstring. Core is the package without its wings, `files` and `sky`. What a
notebook pulls in are the modules that it imports, directly or not. Cells are measured in lines that are not blank.

Plumbing is the share of a notebook's code lines that belong to statements which only import, record, format or print:
imports; calls of methods of `study`, `claims` and `shown`, but for their `figure` and `table`, which show what the
reader came for; calls of `print`, `display` and `Markdown`; assignments to names that begin with "card", to `achieved`
and to a `.format`; and the heads of loops and conditions that hold nothing else. What exceeds its limit is marked with
"!".
"""

from __future__ import annotations

import ast
import math
import statistics
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from paper_utils.base import paths
from paper_utils.base.hashes import PACKAGE, docstring, imported
from paper_utils.runs import freshness, notebooks

WINGS = ("files", "sky")
LIMITS = {"core": 6500, "wings": 3900, "file": 300}
NOTEBOOK_LIMITS = {"cells": 45, "median": 9, "p90": 22, "plumbing %": 15, "code per text": 1.5}
PULLED_LIMITS = {"01": 1800, "02": 3000, "03": 5000}
RECORDERS, SHOWING, PRINTERS = {"study", "claims", "shown"}, {"figure", "table"}, {"print", "display", "Markdown"}


def code_lines(code: str) -> set[int]:
    """Numbers of the lines that are neither blank, comment nor docstring."""
    documented = filter(None, map(docstring, ast.walk(ast.parse(code))))
    words = {line for node in documented for line in range(node.lineno, node.end_lineno + 1)}
    lines = enumerate(map(str.strip, code.splitlines()), 1)
    return {i for i, line in lines if line and not line.startswith("#") and i not in words}


def code_of(modules, package: Path = PACKAGE) -> Counter[str]:
    """Code lines by module, named as in "base/paths.py"."""
    found = {module.relative_to(package).as_posix(): module.read_text(encoding="utf-8") for module in modules}
    return Counter({name: len(code_lines(text)) for name, text in found.items()})


def rooms(modules: Counter[str]) -> Counter[str]:
    """Code lines by room, and of core and wings together."""
    total = Counter()
    for name, lines in modules.items():
        room = name.split("/")[0] if "/" in name else "(root)"
        total[room] += lines
        total["wings" if room in WINGS else "core"] += lines
    return total


def plumbing(code: str) -> set[int]:
    """Numbers of the code lines that only import, record, format or print."""
    return {line for statement in ast.parse(code).body for line in _plumbing(statement)} & code_lines(code)


def _plumbing(statement: ast.stmt) -> Iterator[int]:
    blocks = [getattr(statement, name, []) for name in ("body", "orelse", "finalbody")]
    blocks += [handler.body for handler in getattr(statement, "handlers", [])]
    inner = [part for block in blocks for part in block]
    whole = range(statement.lineno, statement.end_lineno + 1)
    if not inner:
        yield from whole if _only_records(statement) else ()
        return
    held = {line for part in inner for line in range(part.lineno, part.end_lineno + 1)}
    found = {line for part in inner for line in _plumbing(part)}
    yield from whole if found == held else found


def _only_records(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return True
    for call in (node for node in ast.walk(statement) if isinstance(node, ast.Call)):
        function = call.func
        if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
            if function.value.id in RECORDERS:
                return function.attr not in SHOWING
        if isinstance(function, ast.Name) and function.id in PRINTERS and not _shows(call):
            return True
    for target in getattr(statement, "targets", [getattr(statement, "target", None)]):
        if isinstance(target, ast.Attribute) and target.attr == "format":
            return True
        name = target.value if isinstance(target, ast.Subscript) else target
        if isinstance(name, ast.Name) and (name.id.startswith("card") or name.id == "achieved"):
            return True
    return False


def _shows(call: ast.Call) -> bool:
    """Whether all that a call of `display` is given is a figure or table."""
    given = [argument.func.attr if isinstance(argument, ast.Call) and isinstance(argument.func, ast.Attribute) else ""
             for argument in call.args]  # fmt: skip
    return bool(given) and set(given) <= SHOWING


def measure(notebook: Path, package: Path = PACKAGE) -> tuple[dict[str, float], Counter[str]]:
    """What a notebook asks of its reader, and the code lines by module that it pulls in."""
    cells = [cell for cell in freshness.cells(notebook) if cell.strip()]
    text = sum(cell["cell_type"] == "markdown" for cell in notebooks.read(notebook)["cells"])
    sizes = sorted(sum(bool(line.strip()) for line in cell.splitlines()) for cell in cells) or [0]
    lines, pipes = (sum(len(of(cell)) for cell in cells) for of in (code_lines, plumbing))
    pulled = code_of(imported("\n".join(cells), package), package)
    about = {
        "cells": len(cells),
        "median": statistics.median(sizes),
        "p90": sizes[math.ceil(0.9 * len(sizes)) - 1],
        "max": sizes[-1],
        "plumbing %": round(100 * pipes / max(lines, 1), 1),
        "code per text": round(len(cells) / text, 2) if text else math.inf,
        "pulled in": pulled.total(),
    }
    return about, pulled


def marked(value: float, limit: float | None) -> str:
    return f"{value:g}" + ("" if limit is None else f" !>{limit:g}" if value > limit else f" (≤{limit:g})")


def main(details: bool) -> None:
    files = sorted(PACKAGE.rglob("*.py"))
    modules = code_of(files)
    print("code lines by room")
    for room, lines in sorted(rooms(modules).items(), key=lambda item: (item[0] in LIMITS, item)):
        print(f"  {room:<12} {marked(lines, LIMITS.get(room))}")
    print("largest files, in lines of any kind")
    sizes = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in files}
    for file, lines in sorted(sizes.items(), key=lambda item: -item[1])[:10]:
        print(f"  {file.relative_to(PACKAGE)!s:<32} {marked(lines, LIMITS['file'])}")
    for notebook in paths.notebooks():
        about, pulled = measure(notebook)
        limits = NOTEBOOK_LIMITS | {"pulled in": PULLED_LIMITS.get(notebook.name[:2])}
        print(f"{notebook.stem}\n  {', '.join(f'{name} {marked(x, limits.get(name))}' for name, x in about.items())}")
        total = rooms(pulled)
        print(f"  pulled in by room: {', '.join(f'{room} {lines}' for room, lines in total.most_common())}")
        for name, lines in pulled.most_common() if details else ():
            print(f"    {name:<32} {lines}")
    print("With --modules: what each notebook pulls in, module by module." if not details else "")


if __name__ == "__main__":
    main("--modules" in sys.argv[1:])
