"""The project's folders, named in this module only, and files written whole or not at all."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from paper_utils.base.errors import unknown

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
DATA = ROOT / "data"
FIGURES = ROOT / "figures"
OUTPUT = ROOT / "output"
WEIGHTS = DATA / "weights"  # trained models that come with the project
# Trained models and converted downloads; safe to delete, never committed.
CACHE = Path(os.environ.get("COMPANION_CACHE", DATA / "cache"))


def notebook(study: str) -> Path:
    """The notebook of a study such as "01"."""
    numbered = {path.name[:2]: path for path in notebooks()}
    if study not in numbered:
        raise unknown("study", study, numbered)
    return numbered[study]


def notebooks() -> list[Path]:
    """All numbered notebooks, in order."""
    return sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it over `path` only if the block succeeds.

    A reader of `path` sees the old file or the whole new one, never half of it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}-{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
