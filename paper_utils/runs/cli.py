"""The command line: `companion reproduce`, `train`, `measure`, `scoreboard`, `lab`, `publish`; others in cli_*.py.

Heavy libraries are imported inside the commands, so that `companion --help` answers at once.
"""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from paper_utils.base import paths
from paper_utils.base.errors import CompanionError, ProfileError
from paper_utils.nets.settings import PROFILES
from paper_utils.runs import cli_apply, cli_data, parameters

commands = typer.Typer(
    help="Five machine-learning studies of galaxy spectra, regenerated from one mock sky.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
commands.add_typer(cli_data.commands, name="data", no_args_is_help=True)
commands.command()(cli_apply.apply)
Profile = StrEnum("Profile", PROFILES)
Tool = StrEnum("Tool", ("redshift", "indices", "lines", "ppxf", "firefly"))
Device = StrEnum("Device", ("auto", "cpu", "cuda"))
# Arguments and options of several commands.
Studies = Annotated[list[str] | None, typer.Argument(metavar="[NN]...", help="Notebooks, such as 01; all by default.")]
AtProfile = Annotated[Profile, typer.Option(help="How much: seconds, minutes, or the published sizes.")]
OnDevice = Annotated[Device, typer.Option(help="Where to compute; auto takes a GPU when there is one.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random: data, split, weights and draws.")]
Values = Annotated[
    list[str] | None, typer.Option("--set", metavar="NN.NAME=VALUE", help="Another value for a parameter or setting.")
]


def app(arguments: list[str] | None = None) -> None:
    """Run the command line; an error that the reader can correct is one line on stderr and exit status 2."""
    try:
        commands(arguments)
    except CompanionError as error:
        print(f"companion: {error}", file=sys.stderr)
        sys.exit(2)


@commands.command()
def reproduce(
    studies: Studies = None,
    profile: AtProfile = Profile.quick,
    output: Annotated[Path, typer.Option(help="Folder for executed notebooks and results.")] = paths.OUTPUT,
    data: Annotated[list[str] | None, typer.Option(metavar="NN=PATH", help="Run a study on your file.")] = None,
    mapping: Annotated[list[str] | None, typer.Option(metavar="NN=YAML", help="Which column is which.")] = None,
    weights: Annotated[list[str] | None, typer.Option(metavar="NN=DIR", help="Use your trained models.")] = None,
    values: Values = None,
    device: OnDevice = Device.auto,
    seed: Seed = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Run again what is finished already.")] = False,
) -> None:
    """Run the notebooks and compare what they find with what the papers publish.

    What is finished with the same code, parameters and data is not run again. Exit status 1 when a notebook failed.
    On a large machine, several of these commands may run at the same time, each with other notebooks.
    """
    from paper_utils.files.user import check_file
    from paper_utils.runs import notebooks, report

    chosen = _chosen(studies)
    options = {"DATA": ("--data", data), "MAPPING": ("--mapping", mapping), "weights": ("--weights", weights)}
    files = {name: _by_study(*given, chosen) for name, given in options.items()}
    if stray := set(files["MAPPING"]) - set(files["DATA"]):
        raise ProfileError(f"--mapping: give the file that it describes with --data {stray.pop()}=PATH.")
    assigned = parameters.assigned(values or [], str(profile))
    if stray := set(assigned) - set(chosen):
        raise ProfileError(f"--set: study {stray.pop()} is not among those to run ({', '.join(chosen)}).")
    jobs = []
    for study in chosen:
        given = {"device": str(device), "seed": seed} | assigned.get(study, {})
        given |= {name: of_study[study] for name, of_study in files.items() if study in of_study}
        jobs.append(notebooks.plan(study, str(profile), output, **given))
    for study, path in files["DATA"].items():
        report.note(f"data for study {study}: {check_file(study, path, files['MAPPING'].get(study))}")
    _prepared(output)
    outcomes = report.run_with_progress(jobs, fresh)
    report.summary(outcomes)
    raise typer.Exit(any(outcome.failure for outcome in outcomes))


@commands.command()
def train(
    study: Annotated[str, typer.Argument(metavar="NN", help="The study whose models to train.")],
    profile: AtProfile = Profile.quick,
    data: Annotated[Path | None, typer.Option(metavar="PATH", help="Train on your file, not on the mock sky.")] = None,
    mapping: Annotated[Path | None, typer.Option(metavar="YAML", help="Which column of your file is which.")] = None,
    mock: Annotated[bool, typer.Option("--mock", help="05: train on the mock sky in the mapping's bands.")] = False,
    values: Values = None,
    output: Annotated[Path, typer.Option(help="Folder for the model files.")] = paths.OUTPUT / "weights",
    half: Annotated[bool, typer.Option("--half", help="Keep weight matrices in bfloat16, at half the size.")] = False,
    device: OnDevice = Device.auto,
    seed: Seed = 0,
) -> None:
    """Train a study's models outside a notebook, with the same code, and keep each as one file in OUTPUT/NN.

    The same command again goes on where it was stopped. `companion reproduce --weights NN=OUTPUT/NN` uses the models.

    Examples: companion train 02 --profile quick --output models; companion train 05 --mapping mine.yaml --mock
    """
    from paper_utils.nets.run import Run
    from paper_utils.runs import report, studies

    study = study.zfill(2)
    if mock and (study != "05" or mapping is None or data is not None):
        raise ProfileError("--mock: study 05 learns so, with a --mapping of your bands and no --data.")
    if mapping is not None and data is None and not mock:
        raise ProfileError("--mapping: give the file that it describes with --data, or --mock.")
    changed = parameters.assigned(values or [], str(profile)).get(study, {}).get(parameters.SETTINGS, {})
    settings = studies.settings(study, str(profile), changed)
    folder = _prepared(output / study)
    precision = getattr(settings, "precision", "32-true")
    run = Run(study, str(profile), seed, str(device), precision)
    sample = studies.data(study, settings, data, mapping, seed, run.fabric.device.type)
    report.note(f"{sample}")
    studies.room(study, "train").train(sample, settings, run, **studies.templates(study, data, mapping))
    run.export(folder, half=half)
    for file in sorted(folder.glob("*.safetensors")):
        report.note(f"{report.shown(file)} ({file.stat().st_size / 1e6:.1f} MB)")


@commands.command()
def scoreboard(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    results: Annotated[Path, typer.Option(help="Folder of results: figures/ or an --output.")] = paths.FIGURES,
) -> None:
    """Print every published number, table and figure next to ours."""
    from paper_utils.runs import report
    from paper_utils.runs.scoreboard import read

    if not results.is_dir():
        raise ProfileError(f"{results} is not a folder. Give --results a folder that `companion reproduce` wrote.")
    rows = read(results)
    if as_json:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        report.show_scoreboard(rows)


@commands.command()
def measure(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="SDSS spec-*.fits files, folders of them, or an .h5 of spectra."),
    ],
    what: Annotated[list[Tool], typer.Option(help="What to measure; may be given several times.")] = (Tool.ppxf,),
    output: Annotated[Path, typer.Option(help="Folder for tables, figures and fits.")] = paths.OUTPUT / "measure",
    jobs: Annotated[int, typer.Option(min=1, help="Processes that fit, one thread each.")] = 1,
    draws: Annotated[
        int | None, typer.Option(min=0, help="Draws for errors (default: 50 for ppxf, 10 firefly, 25 indices).")
    ] = None,
    z: Annotated[float | None, typer.Option(help="Redshift of all spectra, instead of the files'.")] = None,
    figures: Annotated[bool, typer.Option(help="Draw a figure for each spectrum.")] = True,
) -> None:
    """Measure spectra: populations (ppxf, firefly), Lick indices, emission lines and BPT class, redshift.

    Writes OUTPUT/WHAT.ecsv, a row for each spectrum, and OUTPUT/ID.WHAT.png. A spectrum that cannot be fitted is a row
    that says why. The same command again goes on where it was stopped.

    Example: companion measure spec-0266-51602-0001.fits --what ppxf --what lines --jobs 2
    """
    from paper_utils.files import spectra as spectra_files
    from paper_utils.files import templates
    from paper_utils.measure import toolbox
    from paper_utils.runs import report

    spectra = spectra_files.read(files, z)
    output = _prepared(output)
    emiles = templates.emiles()
    for tool in dict.fromkeys(what):
        table = toolbox.measure(spectra, emiles, tool.value, output=output, n_jobs=jobs, n_draws=draws, figures=figures)
        failed = table[table["reason"] != ""] if "reason" in table.colnames else []
        for row in failed:
            report.note(f"{row['id']}: {row['reason']}")
        report.note(f"{tool}: {len(table) - len(failed)} of {len(table)} spectra in {report.shown(output)}/{tool}.ecsv")


@commands.command()
def lab() -> None:
    """Open the notebooks in JupyterLab."""
    import os

    os.execv(sys.executable, [sys.executable, "-m", "jupyter", "lab", f"--notebook-dir={paths.NOTEBOOKS}"])


@commands.command()
def publish(
    studies: Studies = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Also those whose committed outputs are up to date.")] = False,
) -> None:
    """Renew the committed outputs: notebooks as they stand, their figures, and the scoreboard (for developers)."""
    from paper_utils.runs import package_map, report
    from paper_utils.runs import publish as publishing

    chosen = [paths.notebook(study) for study in _chosen(studies)]
    jobs = [publishing.default_job(notebook) for notebook in chosen if fresh or publishing.stale(notebook)]
    outcomes = report.run_with_progress(jobs, fresh=True)
    unfit = []
    for job in (outcome.job for outcome in outcomes if not outcome.failure):
        try:
            publishing.publish(job)
        except CompanionError as error:
            unfit.append(str(error))
    publishing.write_scoreboard()
    package_map.write()
    report.summary(outcomes)
    report.note(f"{len(chosen) - len(jobs)} of {len(chosen)} notebooks were up to date; the scoreboard is renewed.")
    if unfit:
        raise CompanionError("\n".join(unfit))
    raise typer.Exit(any(outcome.failure for outcome in outcomes))


def _chosen(studies: list[str] | None) -> list[str]:
    """The numbers of the notebooks asked for, each once; of all by default."""
    return list(dict.fromkeys(name.zfill(2) for name in studies or [path.name[:2] for path in paths.notebooks()]))


def _by_study(option: str, given: list[str] | None, chosen: list[str]) -> dict[str, str]:
    """The NN=PATH values of an option by study; notebooks run in another folder, so paths are made absolute."""
    found = {}
    for text in given or ():
        study, _, path = text.partition("=")
        study, file = study.zfill(2), Path(path).expanduser().absolute()
        if not path:
            raise ProfileError(f"{option} {text!r} is not of the form NN=PATH, such as {option} 01=my_file.h5.")
        if study not in chosen:
            raise ProfileError(f"{option} {text}: study {study} is not among those to run ({', '.join(chosen)}).")
        if not file.exists():
            raise ProfileError(f"{option} {text}: {file} does not exist.")
        found[study] = str(file)
    return found


def _prepared(output: Path) -> Path:
    """A folder that exists, as absolute path. Raises ProfileError, before hours of work, where it cannot be written."""
    output = output.expanduser().absolute()
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ProfileError(f"--output {output}: {error.strerror}. Give a folder that can be written.") from None
    return output


if __name__ == "__main__":
    app()
