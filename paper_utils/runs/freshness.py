"""Whether a notebook's results belong to the code in the tree: a hash of what that code does."""

import hashlib
import json
from pathlib import Path

from paper_utils.base.hashes import PACKAGE, code_hash_of, file_hash, imported, meaning


def cells(notebook: Path) -> list[str]:
    """The Python of each code cell, without the lines that are IPython's own (%magic, !command)."""
    book = json.loads(notebook.read_text(encoding="utf-8"))
    sources = ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]
    return ["\n".join(x for x in source.splitlines() if not x.lstrip().startswith(("%", "!"))) for source in sources]


def code_hash(notebook: Path, package: Path = PACKAGE) -> str:
    """SHA-256 of a notebook's code cells, of every module of `package` that it imports, directly or not, and of the
    tables in data/ that these name.

    Text cells are not part of it, since they are written when the results are seen, nor are comments, docstrings and
    formatting, which change no result.
    """
    code = "\n".join(cells(notebook))
    modules = imported(code, package)
    texts = [meaning(code), *(meaning(module.read_text(encoding="utf-8")) for module in modules)]
    tables = sorted((package.parent / "data").glob("*.csv"))
    named = {table.name: file_hash(table) for table in tables if any(table.name in text for text in texts)}
    return hashlib.sha256(json.dumps([texts[0], code_hash_of(modules, package), named]).encode()).hexdigest()
