"""Runs notebooks through papermill and knows which are finished.

An executed notebook carries its finished mark in `metadata["companion"]`: the hash of its code (its own cells and the
`paper_utils` modules it imports), the hash of all inputs (code, parameters, data file), and the files it wrote. The
mark is written last, so a run that was interrupted has none.
"""

import hashlib
import itertools
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from paper_utils.base import paths
from paper_utils.base.hashes import file_hash
from paper_utils.runs import parameters
from paper_utils.runs.freshness import code_hash

MARK = "companion"


@dataclass(frozen=True)
class Job:
    """One notebook, the parameters to inject and the folder that receives its products."""

    notebook: Path
    parameters: dict[str, object]
    output: Path

    @property
    def executed(self) -> Path:
        return self.output / "notebook.ipynb"


@dataclass(frozen=True)
class Outcome:
    """What became of a job: "done", "skipped" (finished before with the same inputs) or "failed".

    failure : where and why it stopped, such as "in cell [4]: ValueError: negative flux"; empty if it did not.
    """

    job: Job
    status: str
    wall_s: float = 0.0
    failure: str = ""


def plan(study: str, profile: str, output_dir: Path, **common: object) -> Job:
    """The job of running a study at a profile; `common` (DATA, device, seed, weights) goes where the notebook has it.

    Raises ProfileError for an unknown study, or a profile that the study does not have.
    """
    notebook = paths.notebook(study)
    output = Path(output_dir).expanduser().absolute() / notebook.stem
    defaults = parameters.defaults(notebook)
    if "profile" in defaults:
        parameters.values_of(notebook, profile)
    common |= {"profile": profile, "output": str(output)}
    return Job(notebook, {key: value for key, value in common.items() if key in defaults}, output)


def run(job: Job, fresh: bool = False, on_cell: Callable[..., object] = lambda **_: None) -> Outcome:
    """Execute one notebook into `job.executed`, unless it is finished with the same inputs.

    on_cell : called as the notebook starts and after each of its code cells, with completed= and total= cells.
    """
    code, inputs = code_hash(job.notebook), inputs_hash(job)  # of now: what changes while it runs is not in the results
    if not fresh and finished(job, inputs):
        return Outcome(job, "skipped")
    job.output.mkdir(parents=True, exist_ok=True)
    # Results of an earlier run must not be kept with a notebook that stopped half way.
    (job.output / "results.json").unlink(missing_ok=True)
    started = time.monotonic()
    if failure := _execute(job, on_cell):
        return Outcome(job, "failed", failure=failure)
    book = read(job.executed)
    book["metadata"][MARK] = {"code": code, "inputs": inputs, "files": products(job.output)}
    write(book, job.executed)
    return Outcome(job, "done", time.monotonic() - started)


def inputs_hash(job: Job) -> str:
    """SHA-256 of all that decides a run: code, parameters, profile, and the content of files that these point to."""
    given = {key: value for key, value in job.parameters.items() if key != "output"}
    profile = parameters.values_of(job.notebook, str(given["profile"])) if "profile" in given else {}
    pointed = (Path(value) for _, value in sorted((profile | given).items()) if isinstance(value, str))
    files = [file_hash(path) for path in pointed if path.is_absolute() and path.exists()]
    text = json.dumps([code_hash(job.notebook), given, profile, files], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def finished(job: Job, inputs: str) -> bool:
    """Whether the job ran to its end with these inputs and all that it wrote is still there."""
    try:
        mark = read(job.executed)["metadata"][MARK]
    except (OSError, ValueError, KeyError):
        return False
    return mark["inputs"] == inputs and all((job.output / name).exists() for name in mark["files"])


def products(folder: Path) -> list[str]:
    """results.json and the artefacts it names; nothing for a notebook that records no claims."""
    file = folder / "results.json"
    if not file.exists():
        return []
    return [file.name, *sorted(json.loads(file.read_text(encoding="utf-8"))["artefacts"].values())]


def read(notebook: Path) -> dict:
    return json.loads(notebook.read_text(encoding="utf-8"))


def write(book: dict, notebook: Path) -> None:
    with paths.atomic(notebook) as temporary:
        temporary.write_text(json.dumps(book, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _execute(job: Job, on_cell: Callable[..., object]) -> str:
    """Run the notebook of a job; returns where and why it stopped, or an empty text."""
    import nbformat
    import papermill

    # papermill logs its steps; what matters to the reader is in the outcome.
    logging.getLogger("papermill").setLevel(logging.CRITICAL)
    book = nbformat.read(job.notebook, as_version=4)
    book.metadata.pop(MARK, None)
    total = sum(cell.cell_type == "code" and bool(cell.source.strip()) for cell in book.cells)
    total += bool(job.parameters)  # papermill puts them in a cell of their own
    steps = itertools.count(1)

    on_cell(completed=0, total=total)
    try:
        papermill.execute_notebook(
            book,
            job.executed,
            parameters=job.parameters,
            kernel_name="python3",
            progress_bar=False,
            # The kernel's folder, as in JupyterLab; papermill's own `cwd` would move this whole process.
            resources={"metadata": {"path": str(job.notebook.parent)}},
            on_cell_executed=lambda **_: on_cell(completed=next(steps), total=total),
            coalesce_streams=True,
            # The kernel would warn that it talks to this process over TCP.
            extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
        )
    except papermill.PapermillExecutionError as error:
        where, name, message = f"in cell [{error.exec_count}]", error.ename, error.evalue
    except Exception as error:  # a dead kernel, a full disk: what stops this notebook must not stop the rest
        where, name, message = "outside its cells", type(error).__name__, str(error)
    else:
        return ""
    return f"{where}: {name}: {(message.strip() or '(no message)').splitlines()[0]}"
