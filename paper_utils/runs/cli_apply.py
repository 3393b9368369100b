"""`companion apply`: what a trained model says of the reader's own objects."""

import re
from pathlib import Path
from typing import Annotated

import typer

from paper_utils.base import paths
from paper_utils.base.errors import DataError, WeightsError, unknown

MODELS = {"01": "reconstructor", "05": "density-truth"}  # the file of each study's model that is applied


def apply(
    study: Annotated[str, typer.Argument(metavar="NN", help="The study whose model to apply: 01 or 05.")],
    objects: Annotated[Path, typer.Argument(metavar="TABLE", help="Your objects: a table, or an .h5 of a container.")],
    mapping: Annotated[Path | None, typer.Option(metavar="YAML", help="Which column is which: data/README.md.")] = None,
    output: Annotated[Path, typer.Option(help="Folder for results.")] = paths.OUTPUT / "apply",
    model: Annotated[Path | None, typer.Option(metavar="FILE", help="The model, if not the one that is here.")] = None,
    table: Annotated[str, typer.Option(help="Name of the table: .ecsv, .fits, .csv or .parquet.")] = "results.ecsv",
    each: Annotated[bool, typer.Option("--figures", help="Draw a figure for each object.")] = False,
    floor: Annotated[float, typer.Option(min=0, help="01: calibration error of each band, relative.")] = 0.05,
    seed: Annotated[int, typer.Option(help="01: seed of the galaxies that calibrate the intervals.")] = 0,
    densities: Annotated[bool, typer.Option(help="05: write p(z) on a grid, 1 kB an object.")] = True,
) -> None:
    """Apply a trained model to your own objects.

    01: 5-35 um spectra of galaxies from their photometry. 05: redshifts from a catalogue of magnitudes or fluxes.

    Writes OUTPUT/results.ecsv, a row for each object, spectra or densities in results.h5 beside it, and summary.png.

    Example: companion apply 01 photometry.csv --mapping mine.yaml --output out
    """
    study = study.zfill(2)
    if study not in MODELS:
        raise unknown("model to apply is of study", study, MODELS)
    file = model or paths.WEIGHTS / study / f"{MODELS[study]}.safetensors"
    if not file.is_file():
        remedy = f"Give --model FILE; `companion train {study}` makes one."
        raise WeightsError(f"{file}: there is no model. {remedy}")
    from paper_utils.base.results import check_ending

    check_ending(Path(table))
    if file_there := [part for part in (output / table).parents if part.is_file()]:
        raise DataError("a file, not a folder", remedy="Give another --output.", source=file_there[0])
    import matplotlib.pyplot as plt

    from paper_utils.base import plots
    from paper_utils.runs import report

    plt.switch_backend("agg")
    with plt.rc_context():
        plots.use_style()
        if study == "01":
            results, summary, draw, notes = _spectra(file, objects, mapping, floor, seed)
        else:
            results, summary, draw, notes = _redshifts(file, objects, mapping, densities)
        results.save(output / table)
        plots.save(summary, output / "summary.png")
        for i in range(len(results) if each else 0):
            safe = re.sub(r"[^\w.-]", "_", str(results.table["id"][i]))[:60]
            plots.save(draw(i), output / "objects" / f"{i + 1}_{safe}.png")
    n_flagged = sum(results.table["flag"] != "")
    for note in (*notes, f"{n_flagged} of {len(results)} are flagged: see {report.shown(output / table)}"):
        report.note(note)


def _spectra(file: Path, objects: Path, mapping: Path | None, floor: float, seed: int):
    """Results of study 1, their figure, that of an object, and what to tell."""
    from paper_utils.files import photometry
    from paper_utils.midir import figures
    from paper_utils.midir.apply import Reconstructor
    from paper_utils.runs import report

    galaxies = photometry.read(objects, mapping)
    report.note(f"{galaxies}")
    results = Reconstructor.load(file).apply(galaxies, floor=floor, seed=seed, progress=True)
    coverage, excess = 100 * results.table.meta["coverage"]["spectrum"], results.table.meta["excess"]
    notes = [f"68 % intervals of the spectra hold {coverage:.0f} % of held-out library galaxies seen as these."]
    if excess > 1.1:
        notes += [
            f"They fit {excess**2:.1f} times worse than galaxies of the library, which may lack their kind;",
            f"or their errors are too small. All intervals are {excess:.1f} times wider for it.",
        ]
    return results, figures.plot_applied(results), lambda i: figures.plot_galaxy(results, galaxies, i), notes


def _redshifts(file: Path, objects: Path, mapping: Path | None, densities: bool):
    """The same of study 5."""
    import numpy as np

    from paper_utils.alhambra import figures
    from paper_utils.alhambra.apply import PhotoZ
    from paper_utils.files import alhambra_table
    from paper_utils.files import mapping as mappings
    from paper_utils.runs import report

    given = mappings.alhambra() if mapping is None else mappings.load(mapping)
    catalogue = alhambra_table.read(objects, mappings.unlabelled(given))
    report.note(f"{catalogue}")
    try:
        results = PhotoZ.load(file).apply(catalogue, densities)
    except DataError as error:
        remedy = "Map the model's bands with their errors and its other columns, or train one of your own (--model)."
        problem = f"{error.problem}, which {file.name} needs"
        raise DataError(problem, remedy=remedy, source=mapping or objects, row=error.row) from None
    sure = (results.table["odds"] > 0.9) & (results.table["flag"] == "")
    middle, odds = (np.median(results.table[name]) for name in ("z_p50", "odds"))
    notes = [f"median redshift {middle:.2f}, median odds {odds:.2f}"]
    notes += [f"{100 * sure.mean():.0f} % have a redshift that is sure to 6 % of 1 + z, odds above 0.9, and no flag."]
    return results, figures.plot_applied(results), lambda i: figures.plot_redshift(results, i), notes
