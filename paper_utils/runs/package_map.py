"""The map of the package, paper_utils/README.md: a line for each file, taken from the first line of its docstring."""

from __future__ import annotations

import ast
from pathlib import Path

from paper_utils.base import paths

ROOMS = ("base", "nets", "stats", "measure", "midir", "autoencoder", "diffusion", "latents", "alhambra", "runs")
WINGS = ("files", "sky")
HEAD = """# The map

Whoever has read one of the papers finds it in one room: `model.py` shows the networks as published, `train.py` the
settings and how they are trained, `apply.py` what a trained model does for your own objects, `figures.py` what a
notebook draws. Rooms import from lower floors only, which a test holds:

    base → nets, stats, measure → midir, autoencoder, diffusion, latents, alhambra → runs

The two wings, files (readers of real data) and sky (the mock universe), stand on base alone; no study needs them read.
"""


def text(package: Path = paths.ROOT / "paper_utils") -> str:
    """The map in Markdown: a table for each room. Raises ValueError for a file without a docstring."""
    parts = [HEAD]
    for room in (*ROOMS, *WINGS):
        parts.append(f"\n## {room}\n\n{_summary(package / room / '__init__.py')}\n\n| file | holds |\n|---|---|")
        files = [file for file in sorted((package / room).glob("*.py")) if file.name != "__init__.py"]
        parts += [f"| {file.name} | {_summary(file)} |" for file in files]
    return "\n".join(parts) + "\n"


def _summary(file: Path) -> str:
    """The first paragraph of a docstring in one line."""
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    if not docstring:
        raise ValueError(f"{file} has no docstring, which the map of the package needs")
    return " ".join(docstring.split("\n\n")[0].split()).replace("|", "\\|")


def write() -> None:
    with paths.atomic(paths.ROOT / "paper_utils" / "README.md") as temporary:
        temporary.write_text(text(), encoding="utf-8")
