"""The map of the package, paper_utils/README.md: a line for each file, taken from the first line of its docstring."""

import ast
from pathlib import Path

from paper_utils.base import paths
from paper_utils.base.hashes import PACKAGE

ROOMS = ("base", "nets", "stats", "measure", "midir", "autoencoder", "diffusion", "latents", "alhambra", "runs")
WINGS = ("files", "sky")
README = PACKAGE / "README.md"
HEAD = """# The map

Each paper has a room of its own: `model.py` shows the networks as published, `train.py` the
settings and how they are trained, `apply.py` what a trained model does for your own objects, `figures.py` what a
notebook draws. Rooms import from lower floors only, which a test holds:

    base → nets, stats, measure → midir, autoencoder, diffusion, latents, alhambra → runs

The two wings, files (readers of real data) and sky (the mock universe), import base alone; no study requires them.
"""


def text() -> str:
    """The map in Markdown: a table for each room. Raises ValueError for a file without a docstring."""
    parts = [HEAD]
    for room in (*ROOMS, *WINGS):
        about, *files = sorted((PACKAGE / room).glob("*.py"))  # __init__.py comes first
        parts.append(f"\n## {room}\n\n{_summary(about)}\n\n| file | holds |\n|---|---|")
        parts += [f"| {file.name} | {_summary(file)} |" for file in files]
    return "\n".join(parts) + "\n"


def _summary(file: Path) -> str:
    """The first paragraph of a docstring in one line."""
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    if not docstring:
        raise ValueError(f"{file} has no docstring, which the map of the package needs")
    return " ".join(docstring.split("\n\n")[0].split()).replace("|", "\\|")


def write() -> None:
    with paths.atomic(README) as temporary:
        temporary.write_text(text(), encoding="utf-8")
