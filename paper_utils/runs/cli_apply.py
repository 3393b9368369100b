"""`companion apply`: what a trained model says of the reader's own objects."""

import re
from pathlib import Path
from typing import Annotated

import typer

from paper_utils.base import paths
from paper_utils.base.errors import DataError, WeightsError, unknown

MODELS = {"01": "reconstructor", "02": "mask-aware", "05": "density-truth"}  # files of models that are applied
UNMAPPED = "Map the model's bands with their errors and its other columns, or train one of your own (--model)."


def apply(
    study: Annotated[str, typer.Argument(metavar="NN", help="The study whose model to apply: 01, 02 or 05.")],
    objects: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Your objects: a table, or an .h5 of a container; 02: spectra."),
    ],
    mapping: Annotated[Path | None, typer.Option(metavar="YAML", help="Which column is which: data/README.md.")] = None,
    output: Annotated[Path, typer.Option(help="Folder for results.")] = paths.OUTPUT / "apply",
    model: Annotated[Path | None, typer.Option(metavar="FILE", help="The model, if not the one that is here.")] = None,
    table: Annotated[str, typer.Option(help="Name of the table: .ecsv, .fits, .csv or .parquet.")] = "results.ecsv",
    each: Annotated[bool, typer.Option("--figures", help="Draw a figure for each object.")] = False,
    floor: Annotated[float, typer.Option(min=0, help="01: calibration error of each band, relative.")] = 0.05,
    z: Annotated[float | None, typer.Option(help="02: redshift of all spectra, instead of the files'.")] = None,
    redshifts: Annotated[bool, typer.Option(help="02: look for better redshifts nearby, 0.05 s a spectrum.")] = True,
    seed: Annotated[int, typer.Option(help="01: seed of the galaxies that calibrate the intervals.")] = 0,
    densities: Annotated[bool, typer.Option(help="05: write p(z) on a grid, 1.5 kB an object.")] = True,
    fit: Annotated[bool, typer.Option("--fit", help="05: also fit the model's templates, 0.1 ms an object.")] = False,
) -> None:
    """Apply a trained model to your own objects.

    01: 5-35 um spectra of galaxies from their photometry. 02: latents of spectra, what they would show at other
    wavelengths, outliers, redshifts checked; takes SDSS spec files, folders of them, and .h5 of spectra. 05: redshifts
    from a catalogue of magnitudes or fluxes.

    Writes OUTPUT/results.ecsv, a row for each object, spectra in results.h5 or densities in results.hdf5 (as the
    package qp reads them) beside it, and summary.png. 05 takes tables of any length.

    Example: companion apply 01 photometry.csv --mapping mine.yaml --output out
    """
    study = study.zfill(2)
    if study not in MODELS:
        raise unknown("model to apply is of study", study, MODELS)
    file = model or paths.WEIGHTS / study / f"{MODELS[study]}.safetensors"
    if not file.is_file():
        remedy = f"Give --model FILE; `companion train {study}` makes one."
        raise WeightsError(f"{file}: there is no model. {remedy}")
    if study != "02" and len(objects) > 1:
        raise DataError(f"study {study} takes one file, not {len(objects)}", remedy="Put the objects into one table.")
    if mapping is not None and study == "02":
        raise DataError("study 02 takes no mapping", remedy="Leave it out.", source=mapping)
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
        if study == "02":
            notes = _latents(file, objects, z, redshifts, output / table, each)
        elif study == "01":
            notes = _spectra(file, objects[0], mapping, floor, seed, output / table, each)
        else:
            notes = _redshifts(file, objects[0], mapping, densities, fit, output / table, each)
    for note in notes:
        report.note(note)


def _draw(figure, table: Path, row: int, name: object) -> None:
    """Keep the figure of an object in the row (from 1) of a table of results."""
    from paper_utils.base import plots

    safe = re.sub(r"[^\w.-]", "_", str(name))[:60]
    plots.save(figure, table.parent / "objects" / f"{row}_{safe}.png")


def _flagged(n_flagged: int, n: int, table: Path) -> str:
    from paper_utils.runs import report

    return f"{n_flagged} of {n} are flagged: see {report.shown(table)}"


def _spectra(
    file: Path, objects: Path, mapping: Path | None, floor: float, seed: int, table: Path, each: bool
) -> list[str]:
    """Writes results of study 1 and their figures; returns what to tell."""
    from paper_utils.base import plots
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
    results.save(table)
    plots.save(figures.plot_applied(results), table.with_name("summary.png"))
    for i in range(len(results) if each else 0):
        _draw(figures.plot_galaxy(results, galaxies, i), table, i + 1, results.table["id"][i])
    return [*notes, _flagged(sum(results.table["flag"] != ""), len(results), table)]


def _latents(file: Path, objects: list[Path], z: float | None, redshifts: bool, table: Path, each: bool) -> list[str]:
    """The same of study 2."""
    import numpy as np

    from paper_utils.autoencoder import figures
    from paper_utils.autoencoder.apply import SpectrumAutoencoder
    from paper_utils.base import plots
    from paper_utils.files import spectrographs
    from paper_utils.runs import report

    spectra = spectrographs.read(objects, z)
    results = SpectrumAutoencoder.load(file).apply(spectra, redshifts, progress=True)
    results.save(table)
    plots.save(figures.plot_applied(results), table.with_name("summary.png"))
    known = np.flatnonzero(np.isfinite(results.table["chi2"]))
    for i in known if each else ():
        _draw(figures.plot_spectrum(spectra.select([i]), results, i), table, i + 1, results.table["id"][i])
    report.note(f"{spectra}")
    fits = f"median reduced chi2 {np.median(results.table['chi2'][known]):.2f}"
    if redshifts:
        off = np.median(np.abs(results.table["dv_kms"][known]))
        fits += f", redshifts found are off those given by {off:.0f} km/s"
    return [fits, _flagged(sum(results.table["flag"] != ""), len(results), table)]


def _redshifts(
    file: Path, objects: Path, mapping: Path | None, densities: bool, fit: bool, table: Path, each: bool
) -> list[str]:
    """The same of study 5, block by block."""
    from contextlib import ExitStack

    from tqdm import tqdm

    from paper_utils.alhambra import figures_applied as figures
    from paper_utils.alhambra.apply import PhotoZ
    from paper_utils.alhambra.qp_ensemble import ENDING, growing_ensemble
    from paper_utils.alhambra.summary import Summary
    from paper_utils.base import plots, storage
    from paper_utils.base.results import growing_table
    from paper_utils.files import alhambra_table
    from paper_utils.files import mapping as mappings
    from paper_utils.runs import report

    model, given = PhotoZ.load(file), None
    if mapping is not None or objects.suffix not in storage.ENDINGS:
        given = mappings.unlabelled(mappings.alhambra() if mapping is None else mappings.load(mapping))
    summary = Summary(model)
    with ExitStack() as stack:
        bar = stack.enter_context(tqdm(unit=" objects", unit_scale=True, disable=None))
        add, add_densities = stack.enter_context(growing_table(table)), None
        if densities:
            add_densities = stack.enter_context(growing_ensemble(table.with_suffix(ENDING)))
        for part in alhambra_table.catalogues(objects, given):
            try:
                results = model.apply(part, densities, fit)
            except DataError as error:
                problem = f"{error.problem}, which {file.name} needs"
                raise DataError(problem, remedy=UNMAPPED, source=mapping or objects, row=error.row) from None
            add(results.table)
            if densities:
                add_densities(results)
            for i in range(len(results) if each else 0):
                _draw(figures.plot_redshift(results, i), table, summary.n + i + 1, results.table["id"][i])
            summary.add(results, part.table)
            bar.update(len(results))
    plots.save(figures.plot_applied(summary), table.with_name("summary.png"))
    report.note(f"{summary.n} objects, bands {' '.join(part.bands)}")
    sure = f"{100 * summary.n_sure / summary.n:.0f} % have a redshift that is sure to 6 % of 1 + z, odds above 0.9"
    return [
        f"median redshift {summary.median_z:.2f}, median odds {summary.median_odds:.2f}",
        f"{sure}, and no flag.",
        _flagged(summary.n_flagged, summary.n, table),
    ]
