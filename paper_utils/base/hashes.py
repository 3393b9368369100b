"""Fingerprints of code and files: what made a result?"""

import ast
import hashlib
import json
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache, partial
from importlib.util import resolve_name
from pathlib import Path

from paper_utils.base import paths

PACKAGE = paths.ROOT / "paper_utils"


def commit() -> str:
    """Short hash of the project's commit, with + when files differ from it; "unknown" outside git."""
    git = partial(subprocess.check_output, cwd=paths.ROOT, stderr=subprocess.DEVNULL, text=True)
    try:
        head, changed = git(["git", "rev-parse", "--short", "HEAD"]), git(["git", "status", "--porcelain"])
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.strip() + ("+" if changed else "")


def file_hash(path: Path) -> str:
    """SHA-256 of a file, as `sha256sum` prints it; for a folder, of the names and hashes of the files in it."""
    if path.is_dir():
        inside = {str(file.relative_to(path)): file_hash(file) for file in sorted(path.rglob("*")) if file.is_file()}
        return hashlib.sha256(json.dumps(inside).encode()).hexdigest()
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@cache
def meaning(code: str) -> str:
    """Python code without comments and docstrings, in one fixed formatting: equal for what does the same."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if docstring(node):
            node.body = node.body[1:] or ([] if node is tree else [ast.Pass()])
    return ast.unparse(tree)


def docstring(node: ast.AST) -> ast.Expr | None:
    """The statement that is the docstring of a module, class or function; None where there is none."""
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    return node.body[0] if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None else None


def code_hash_of(files: Iterable[Path], package: Path = PACKAGE) -> str:
    """SHA-256 of what modules of `package` do, with their names; comments, docstrings and formatting do not count."""
    codes = {file.relative_to(package).as_posix(): meaning(file.read_text(encoding="utf-8")) for file in set(files)}
    return hashlib.sha256(json.dumps(codes, sort_keys=True).encode()).hexdigest()


def imported(code: str, package: Path = PACKAGE, *, follow: bool = True) -> set[Path]:
    """Files of `package` that `code` imports, anywhere in it, and with `follow` all that they import in turn."""
    found: set[Path] = set()
    todo = list(_imports(code, package, package.name))
    while todo:
        file = todo.pop()
        if follow and file not in found:
            inside = ".".join(file.relative_to(package.parent).parent.parts)
            todo += _imports(file.read_text(encoding="utf-8"), package, inside)
        found.add(file)
    return found


def _imports(code: str, package: Path, inside: str) -> Iterator[Path]:
    """`inside` is the dotted package that holds the code, which relative imports start from."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = resolve_name("." * node.level + (node.module or ""), inside)
            names = [module, *(f"{module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for parts in (name.split(".") for name in names):
            # Importing a.b.c runs a/__init__ and a/b/__init__ as well.
            for depth in range(1, len(parts) + 1) if parts[0] == package.name else ():
                stem = package.parent.joinpath(*parts[:depth])
                yield from (file for file in (stem.with_suffix(".py"), stem / "__init__.py") if file.is_file())
