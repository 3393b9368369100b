"""Publishing: makes a finished run of a notebook's defaults the copy that readers find in the project."""

import json
import re
import shutil
from pathlib import Path

from paper_utils.base import paths
from paper_utils.base.errors import CompanionError
from paper_utils.runs import scoreboard
from paper_utils.runs.freshness import code_hash
from paper_utils.runs.notebooks import MARK, Job, products, read, write

MAX_MB = 2.5
WIDGET = "application/vnd.jupyter.widget-view+json"
# Widgets that nbclient answers on the channel on which it waits (jupyter/nbclient#312); an ipywidgets.Image is safe.
OUTPUT_WIDGETS = re.compile(r"\b(interact|interactive|interactive_output|Output)\(")
# Folders of the machine that a notebook ran on.
MACHINE_PATHS = re.compile(
    rf"(?<![\w.])(?:/(?:home|Users|root|private/var)/\w|/tmp/ipykernel_|{re.escape(str(paths.ROOT))}\b"
    rf"|{re.escape(str(Path.home()))}/)"
)


def default_job(notebook: Path) -> Job:
    """The job of running a notebook as it stands: nothing injected, so that its cells count from 1 without a gap."""
    return Job(notebook, {}, paths.OUTPUT / notebook.stem)


def stale(notebook: Path) -> str:
    """Why the committed outputs of a notebook do not belong to the code in the tree; empty when they do."""
    mark = read(notebook)["metadata"].get(MARK)
    if mark is None:
        return "it has not been published yet"
    if mark["code"] != code_hash(notebook):
        return "its source, or a paper_utils module that it imports, has changed since it was run"
    gone = [name for name in mark["files"] if not (paths.FIGURES / notebook.stem / name).exists()]
    return f"figures/{notebook.stem}/{gone[0]} is missing" if gone else ""


def publish(job: Job) -> None:
    """Make a finished job its notebook's committed copy, and its products the content of figures/NN_slug/.

    Raises CompanionError when the outputs are not one clean run from the top, or name a folder of
    the machine they come from.
    """
    book = read(job.executed)
    code = book["metadata"].get(MARK, {}).get("code")
    if code != code_hash(job.notebook):
        raise CompanionError(f"{job.notebook.name} or a module of it was changed while it ran. Run it again.")
    book, names = clean(book), products(job.output)
    texts = [name for name in names if not name.endswith(".png")]
    bad = [name for name in texts if MACHINE_PATHS.search((job.output / name).read_text(encoding="utf-8"))]
    problems = [*faults(book), *(f"{name} holds a path of this machine" for name in bad)]
    if problems:
        raise CompanionError(f"{job.notebook.name} is not fit to publish: {'; '.join(problems)}. See {job.executed}")
    target = paths.FIGURES / job.notebook.stem
    for name in names:
        with paths.atomic(target / name) as temporary:
            shutil.copyfile(job.output / name, temporary)
    for old in target.glob("*"):
        if old.is_file() and old.name not in names and not old.match("results.*.json"):  # those of other runs stay
            old.unlink()
    book["metadata"][MARK] = {"code": code, "files": names}
    write(book, job.notebook)


def clean(book: dict) -> dict:
    """A notebook without what papermill and the kernel left in it apart from outputs."""
    for key in ("papermill", "widgets", MARK):
        book["metadata"].pop(key, None)
    for cell in book["cells"]:
        about = cell["metadata"].items()  # papermill also leaves an empty list of tags
        cell["metadata"] = {key: value for key, value in about if value and key not in ("papermill", "execution")}
        if "outputs" in cell:  # a progress bar without its kernel shows as an error
            cell["outputs"] = [output for output in cell["outputs"] if WIDGET not in output.get("data", {})]
    return book


def faults(book: dict) -> list[str]:
    """Why a notebook's outputs are not those of one clean run from the top, fit for anyone to read."""
    code = [cell for cell in book["cells"] if cell["cell_type"] == "code" and "".join(cell["source"]).strip()]
    text = json.dumps(book, ensure_ascii=False)
    numbers, source = [cell["execution_count"] for cell in code], "\n".join("".join(cell["source"]) for cell in code)
    tags = [tag for cell in code for tag in cell["metadata"].get("tags", ())]
    outputs = [output for cell in code for output in cell["outputs"]]
    pictures = [output["metadata"] for output in outputs if "image/png" in output.get("data", {})]
    texts = [about.get("image/png", {}).get("alt") for about in pictures]
    path, mb = MACHINE_PATHS.search(text), len(text.encode()) / 1e6
    found = {
        "its cells were not run once each, in order": numbers != list(range(1, len(code) + 1)),
        "a cell ended in an error": any(output["output_type"] == "error" for output in outputs),
        "it holds injected parameters": "injected-parameters" in tags,
        "it uses ipywidgets' interact or Output, without a browser it may hang for ever": OUTPUT_WIDGETS.search(source),
        "a picture has no alternative text; show it with study.figure or shown.figure": not all(texts),
        f"it holds a path of the machine it ran on, {path and text[path.start() :][:60]!r}": path,
        f"it weighs {mb:.2f} MB, above {MAX_MB} MB": mb > MAX_MB,
    }
    return [fault for fault, bad in found.items() if bad]


def write_scoreboard() -> None:
    """Renew figures/scoreboard.md, and the numbers between the scoreboard markers of README.md."""
    rows, readme = scoreboard.read(paths.FIGURES), paths.ROOT / "README.md"
    head = "# Scoreboard\n\nWhat the papers publish, and what the notebooks find; written by `make notebooks`.\n\n"
    with paths.atomic(paths.FIGURES / "scoreboard.md") as temporary:
        temporary.write_text(head + scoreboard.markdown(rows), encoding="utf-8")
    before, start, _, end, after = re.split("(<!-- /?scoreboard -->)", readme.read_text(encoding="utf-8"))
    numbers = scoreboard.markdown(rows, link="figures/", figures=False)
    with paths.atomic(readme) as temporary:
        temporary.write_text(f"{before}{start}\n\n{numbers}\n{end}{after}", encoding="utf-8")
