"""`companion apply`: what a trained model says of the reader's own objects."""

from pathlib import Path
from typing import Annotated

import typer

from paper_utils.base import paths
from paper_utils.base.errors import WeightsError, unknown


def apply(
    study: Annotated[str, typer.Argument(metavar="NN", help="The study whose model to apply: 01.")],
    objects: Annotated[Path, typer.Argument(metavar="TABLE", help="Your objects: a table, or a file of Photometry.")],
    mapping: Annotated[Path | None, typer.Option(metavar="YAML", help="Which column is which: data/README.md.")] = None,
    output: Annotated[Path, typer.Option(help="Folder for results.")] = paths.OUTPUT / "apply",
    model: Annotated[Path | None, typer.Option(metavar="FILE", help="The model, if not the one that is here.")] = None,
    table: Annotated[str, typer.Option(help="Name of the table: .ecsv, .fits, .csv or .parquet.")] = "results.ecsv",
    each: Annotated[bool, typer.Option("--figures", help="Draw a figure for each object.")] = False,
    floor: Annotated[float, typer.Option(min=0, help="Calibration error of each band, relative.")] = 0.05,
    seed: Annotated[int, typer.Option(help="Seed of the galaxies that calibrate the intervals.")] = 0,
) -> None:
    """Apply a trained model to your own objects: 5-35 um spectra of galaxies from their photometry (study 01).

    Writes OUTPUT/results.ecsv, a row for each object, spectra in results.h5 beside it, and summary.png.

    Example: companion apply 01 photometry.csv --mapping mine.yaml --output out
    """
    study = study.zfill(2)
    if study != "01":
        raise unknown("model to apply is of study", study, ["01"])
    file = model or paths.WEIGHTS / study / "reconstructor.safetensors"
    if not file.is_file():
        raise WeightsError(
            f"{file}: there is no model. Train one with `companion train {study}` and give --model FILE."
        )
    import matplotlib.pyplot as plt

    from paper_utils.base import plots
    from paper_utils.base.results import check_ending
    from paper_utils.files import photometry
    from paper_utils.midir import figures
    from paper_utils.midir.apply import Reconstructor
    from paper_utils.runs import report

    check_ending(Path(table))
    galaxies = photometry.read(objects, mapping)
    report.note(f"{galaxies}")
    results = Reconstructor.load(file).apply(galaxies, floor=floor, seed=seed, progress=True)
    results.save(output / table)
    plt.switch_backend("agg")
    with plt.rc_context():
        plots.use_style()
        plots.save(figures.plot_applied(results), output / "summary.png")
        for i in range(len(results) if each else 0):
            name = str(galaxies.ids[i]).replace("/", "_")
            plots.save(figures.plot_galaxy(results, galaxies, i), output / f"{name}.png")
    if (excess := results.table.meta["excess"]) > 1.1:
        report.note(f"They fit {excess**2:.1f} times worse than galaxies of the library, which may lack their kind;")
        report.note(f"or their errors are too small. All intervals are {excess:.1f} times wider for it.")
    coverage = 100 * results.table.meta["coverage"]["spectrum"]
    report.note(f"68 % intervals of the spectra hold {coverage:.0f} % of held-out library galaxies seen as these.")
    report.note(f"{sum(results.table['flag'] != '')} of {len(results)} are flagged: see {report.shown(output / table)}")
