"""What the command line shows: progress while notebooks run, what became of them, the scoreboard, the data sources."""

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from paper_utils.runs import scoreboard
from paper_utils.runs.notebooks import Job, Outcome, products, run_all

console = Console(highlight=False)
STATUS_STYLE = {"holds": "green", "fails": "red", "open": "yellow", "scaled": "cyan"}


def note(text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)


def run_with_progress(jobs: list[Job], *, workers: int, fresh: bool) -> list[Outcome]:
    """Run the jobs under a bar per notebook that counts its cells; plain lines where there is no terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("cells"))
    outcomes = []
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        bars = {job.notebook.stem: progress.add_task(job.notebook.stem, visible=False) for job in jobs}

        def on_cell(job: Job, done: int, total: int) -> None:
            name = job.notebook.stem
            if done == 0 and not console.is_terminal:
                note(f"{name} …")
            progress.update(bars[name], completed=done, total=total, visible=True)

        try:
            for outcome in run_all(jobs, workers, fresh, on_cell):
                outcomes.append(outcome)
                progress.update(bars[outcome.job.notebook.stem], visible=False)
                _say(outcome)
        except KeyboardInterrupt:
            note("Stopped. The same command goes on with what is not finished.")
            raise
    return outcomes


def _say(outcome: Outcome) -> None:
    name = outcome.job.notebook.stem
    if outcome.failure:
        console.print(f"[red]✗[/red] {name} failed {escape(outcome.failure)}", soft_wrap=True)
        console.print(f"  as far as it got: {escape(shown(outcome.job.executed))}", soft_wrap=True)
    elif outcome.status == "skipped":
        console.print(f"[green]✓[/green] {name} is finished already (--fresh runs it again)")
    else:
        console.print(f"[green]✓[/green] {name} in {duration(outcome.wall_s)}")


def summary(outcomes: list[Outcome]) -> None:
    """The scoreboard lines of the studies that ran, then where everything is."""
    folders = {outcome.job.output for outcome in outcomes if not outcome.failure}
    studies = {folder.name[:2] for folder in folders}
    for parent in sorted({folder.parent for folder in folders}):
        rows = [row for row in scoreboard.read(parent) if row["study"] in studies]
        show_scoreboard([row for row in rows if any(run["parts"] for run in row["runs"].values())])
    for folder in sorted(folders):
        files = products(folder)
        figures, tables = (sum(name.endswith(ending) for name in files) for ending in (".png", ".csv"))
        holds = f", {figures} figures, {tables} tables, results.json" if files else ""
        note(f"{shown(folder)}/ holds notebook.ipynb{holds}")
    # Once more, below what may be a long table.
    for outcome in outcomes:
        if outcome.failure:
            _say(outcome)


def show_scoreboard(rows: list[dict]) -> None:
    """Published and ours, a table per study."""
    for study in sorted({row["study"] for row in rows}):
        chosen = [row for row in rows if row["study"] == study]
        ran = {name: run for row in chosen for name, run in row["runs"].items()}
        table = Table(title=f"Study {study}", title_justify="left", title_style="bold", box=None, pad_edge=False)
        for name in ("id", "quantity", "published", *(f"{name} ({run['device']})" for name, run in ran.items())):
            table.add_column(name, overflow="fold")
        for row in chosen:
            runs = [row["runs"].get(name, {}) for name in ran]
            cells = [Text(scoreboard.outcome(run), STATUS_STYLE.get(run.get("status"), "")) for run in runs]
            table.add_row(row["id"], escape(f"{row['quantity']} ({row['where']})"), escape(row["published"]), *cells)
        console.print(table)
        console.print()


def sources(rows: Iterable[dict[str, str]]) -> None:
    for row in rows:
        console.print(
            f"[bold]{row['name']}[/bold]  study {row['study']} · {escape(row['size'])} · {escape(row['licence'])}"
        )
        note(f"  {row['what']}\n  {row['how_to_get']}\n")


def duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def shown(path: Path) -> str:
    """A path as the reader would type it from where they are."""
    path, here = Path(path).absolute(), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
