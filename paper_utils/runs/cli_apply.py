"""`companion apply`: what a trained model says of the reader's own objects."""

from pathlib import Path
from typing import Annotated

import typer

from paper_utils.base import paths
from paper_utils.base.errors import ProfileError, WeightsError, unknown


def apply(
    study: Annotated[str, typer.Argument(metavar="NN", help="The study whose model to apply: 01.")],
    objects: Annotated[Path, typer.Argument(metavar="TABLE", help="Your objects: a table, or a file of Photometry.")],
    mapping: Annotated[Path | None, typer.Option(metavar="YAML", help="Which column is which: data/README.md.")] = None,
    output: Annotated[Path, typer.Option(help="Folder for results.")] = paths.OUTPUT / "apply",
    model: Annotated[Path | None, typer.Option(metavar="FILE", help="The model; by default the last trained.")] = None,
    table: Annotated[str, typer.Option(help="Name of the table: .ecsv, .fits, .csv or .parquet.")] = "results.ecsv",
    figures: Annotated[bool, typer.Option("--figures", help="Draw a figure for each object.")] = False,
    floor: Annotated[float, typer.Option(min=0, help="Calibration error of each band, relative.")] = 0.05,
    seed: Annotated[int, typer.Option(help="Seed of the galaxies that calibrate the intervals.")] = 0,
) -> None:
    """Apply a trained model to your own objects: 5-35 um spectra of galaxies from their photometry (study 01).

    Writes OUTPUT/results.ecsv, a row for each object, spectra in results.h5 beside it, and summary.png.

    Example: companion apply 01 photometry.csv --mapping mine.yaml --output out
    """
    from paper_utils.base import results as results_files

    study = study.zfill(2)
    if study != "01":
        raise unknown("model to apply is of study", study, ["01"])
    results_files.check_ending(Path(table))
    file = model or paths.OUTPUT / "weights" / study / "reconstructor.safetensors"
    if not file.is_file():
        remedy = "Give --model FILE." if model else f"Train one with `companion train {study}`, or give --model FILE."
        raise WeightsError(f"{file}: there is no model. {remedy}")
    from paper_utils.files import photometry as photometry_files
    from paper_utils.midir.apply import Reconstructor
    from paper_utils.runs import report

    galaxies = photometry_files.read(objects, mapping)
    report.note(f"{galaxies}")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ProfileError(f"--output {output}: {error.strerror}. Give a folder that can be written.") from None
    results = Reconstructor.load(file).apply(galaxies, floor=floor, seed=seed, progress=True)
    written = [*results.save(output / table), *_draw(results, galaxies, output, figures)]
    coverage = results.table.meta["coverage"]["spectrum"]
    report.note(
        f"68 % intervals of the spectra hold {100 * coverage:.0f} % of held-out library galaxies seen as these."
    )
    if flagged := sum(flag != "" for flag in results.table["flag"]):
        report.note(f"{flagged} of {len(results)} objects are flagged; see the column flag.")
    for path in written[:3]:
        report.note(report.shown(path))


def _draw(results, galaxies, output: Path, each: bool) -> list[Path]:
    import matplotlib.pyplot as plt

    from paper_utils.base import plots
    from paper_utils.midir import figures

    plt.switch_backend("agg")
    files = [output / "summary.png"]
    with plt.rc_context():
        plots.use_style()
        for i in range(-1, len(results) if each else 0):
            fig = figures.plot_applied(results) if i < 0 else figures.plot_galaxy(results, galaxies, i)
            file = output / ("summary.png" if i < 0 else f"{str(galaxies.ids[i]).replace('/', '_')}.png")
            with paths.atomic(file) as temporary:
                fig.savefig(temporary, dpi=110)
            plt.close(fig)
    return files
