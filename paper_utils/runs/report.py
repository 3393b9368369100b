"""What the command line shows: progress while notebooks run, what became of them, the scoreboard."""

import itertools
from datetime import timedelta
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.text import Text

from paper_utils.runs import scoreboard
from paper_utils.runs.notebooks import Job, Outcome, products, run

console = Console(highlight=False)
STATUS_STYLE = {"holds": "green", "fails": "red", "open": "yellow", "scaled": "cyan"}


def note(text: str, style: str | None = None) -> None:
    console.print(text, style=style, markup=False, soft_wrap=True)


def run_with_progress(jobs: list[Job], fresh: bool) -> list[Outcome]:
    """Run the jobs under a bar that counts a notebook's cells; one that fails does not stop the rest.

    Plain lines where there is no terminal.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("cells"))
    outcomes = []
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        for job in jobs:
            bar = progress.add_task(job.notebook.stem)
            if not console.is_terminal:
                note(f"{job.notebook.stem} …")
            try:
                outcomes.append(run(job, fresh, partial(progress.update, bar)))
            except KeyboardInterrupt:
                note("Stopped. The same command goes on with what is not finished.")
                raise
            progress.remove_task(bar)
            _say(outcomes[-1])
    return outcomes


def _say(outcome: Outcome) -> None:
    name = outcome.job.notebook.stem
    if outcome.failure:
        console.print(f"[red]✗[/red] {name} failed {escape(outcome.failure)}", soft_wrap=True)
        console.print(f"  as far as it got: {escape(shown(outcome.job.executed))}", soft_wrap=True)
    elif outcome.status == "skipped":
        console.print(f"[green]✓[/green] {name} is finished already (--fresh runs it again)")
    else:
        console.print(f"[green]✓[/green] {name} in {timedelta(seconds=round(outcome.wall_s))}")


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
    """Published and ours, a line or more for each claim and for each of its runs, by study; wrapped at 100 columns."""
    for study, of_study in itertools.groupby(rows, key=lambda row: row["study"]):
        console.print(f"\n[bold]Study {study}[/bold]")
        for row in of_study:
            lines = [Text.assemble((row["id"], "bold"), f"  {row['quantity']} ({row['where']})")]
            lines += [Text(f"published: {row['published']}")] if row["published"] else []
            for name, ran in row["runs"].items():
                lines.append(Text(f"{name}: ").append(scoreboard.outcome(ran), STATUS_STYLE.get(ran["status"], "")))
            for line in lines:
                console.print(Padding.indent(line, 0 if line is lines[0] else 4), width=100)


def show_check(check) -> None:
    """A `files.catalogue_check.Check`: a line for each column, then what looks wrong."""
    lines = [list(check.rows[0]), *(list(map(_cell, row.values())) for row in check.rows)]
    columns = [[cell.rjust(max(map(len, cells))) for cell in cells] for cells in zip(*lines, strict=True)]
    columns[:2] = [[cell.strip().ljust(len(cell)) for cell in cells] for cells in columns[:2]]  # names to the left
    for number, cells in enumerate(zip(*columns, strict=True)):
        note("  ".join(cells), style=None if number else "bold")
    for warning in check.warnings:
        note(f"! {warning}", style="yellow")
    note(f"{check.n} objects, {len(check.warnings) or 'no'} warning{'s' * (len(check.warnings) != 1)}")


def _cell(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def shown(path: Path) -> str:
    """A path as the reader would type it from where they are."""
    path, here = Path(path).absolute(), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
