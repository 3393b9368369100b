"""The command line's `companion data`: what data exist, how to get them, and whether your file is usable."""

import csv
from pathlib import Path
from typing import Annotated

import typer

from paper_utils.base import paths
from paper_utils.base.errors import unknown

commands = typer.Typer(help="The data behind the studies: what exists, how to get it, is your file usable.")
builds = typer.Typer(help="Compose a library from models that you have.")
commands.add_typer(builds, name="build", no_args_is_help=True)


@commands.command("list")
def data_list() -> None:
    """List the data sets that the studies used, with sizes, licences and how to get each."""
    from paper_utils.runs import report

    for name, row in _sources().items():
        report.note(f"{name}  study {row['study']} · {row['size']} · {row['licence']}", style="bold")
        report.note(f"  {row['what']}\n  {row['how_to_get']}\n")


@commands.command("get")
def data_get(
    name: Annotated[str, typer.Argument(help="A name from `companion data list`.")],
    objects: Annotated[
        Path | None, typer.Option(metavar="TABLE", help="For which objects (panstarrs, sdss-spectra).")
    ] = None,
    to: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Where to; the cache by default.")] = None,
) -> None:
    """Download a data set, as far as that is possible; for the others, say how to get them.

    Examples: companion data get alhambra; companion data get panstarrs --objects mine.csv --to mine
    """
    from paper_utils.files import fetch
    from paper_utils.runs import report

    sources = _sources()
    if name not in sources:
        raise unknown("data set is called", name, sources)
    if name in fetch.NAMES:
        report.note(f"{name} is at {fetch.get(name, objects, to)}")
    else:
        report.note(f"{name} is nothing to fetch from here. {sources[name]['how_to_get']}")


@commands.command("check")
def data_check(
    study: Annotated[str, typer.Argument(metavar="NN", help="The study that should use the file.")],
    path: Annotated[Path, typer.Argument(help="Your file.")],
    mapping: Annotated[
        Path | None, typer.Option(metavar="YAML", help="Which column is which, see data/README.md.")
    ] = None,
) -> None:
    """Say whether a study can use your file and, if not, which row is wrong and how to correct it.

    A table with a mapping is, for study 01, photometry that its model is to be applied to. For study 05 every column is
    shown, with what looks exchanged.
    """
    from paper_utils.base import storage
    from paper_utils.files import catalogue_check, photometry
    from paper_utils.files.user import check_file
    from paper_utils.runs import report

    study, is_table = study.zfill(2), mapping is not None or path.suffix not in storage.ENDINGS
    if study == "05" and is_table:
        found = catalogue_check.check(path, mapping)
        report.show_check(found)
        if found.refusal:
            raise found.refusal
    else:
        print(photometry.read(path, mapping) if study == "01" and is_table else check_file(study, path, mapping))


@builds.command("rt-library")
def build_rt_library(
    sk07: Annotated[Path, typer.Option(metavar="DIR", help="Folder or .tar archive of the starbursts (*.plot).")],
    fritz: Annotated[Path, typer.Option(metavar="DIR", help="Folder or .tar archive of the tori (*.tot).")],
    n: Annotated[int, typer.Option("--n", min=1, help="How many SEDs.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Seed of the draw of models and fractions.")] = 0,
    output: Annotated[Path, typer.Option(metavar="FILE.h5", help="The file to write.")] = Path("rt_library.h5"),
) -> None:
    """Compose a library of published radiative-transfer models for study 1: starbursts, tori and old stars.

    data/README.md says where the two archives are; the stars (E-MILES, 25 MB) are fetched the first time.

    Example: companion data build rt-library --sk07 SK06.tar.xz --fritz fritz2006
    """
    from paper_utils.files import rt_library
    from paper_utils.runs import report

    library = rt_library.compose(sk07, fritz, n, seed)
    report.note(f"{report.shown(library.save(output))}: {library}")


def _sources() -> dict[str, dict[str, str]]:
    """The rows of data/sources.csv by name."""
    with (paths.DATA / "sources.csv").open(newline="", encoding="utf-8") as lines:
        return {row["name"]: row for row in csv.DictReader(lines)}
