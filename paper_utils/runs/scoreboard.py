"""The scoreboard: what the papers publish, and what each committed run of the notebooks found."""

import json
from pathlib import Path

from paper_utils.base.errors import readable
from paper_utils.nets.settings import PROFILES
from paper_utils.runs import rules, shown
from paper_utils.runs.claims import ARTEFACTS, FIELDS, OWN, ours, published

SHOWN = ("id", "where", "quantity", "published")  # columns beside those of the runs
NOTHING = {"parts": {}, "status": rules.REPORTED, "seeds": None, "note": ""}  # of a figure or table


def read(results: Path) -> list[dict]:
    """Published and ours, one row per claim and artefact.

    Reads every NN_slug/results*.json under `results`; a row holds the published columns and, under the name of each
    profile found, what that run gave: parts, status, seeds, note, artefact, device, seed, commit, wall_s.
    """
    rows = {id: {**row, "runs": {}} for id, row in published().items()}
    for file in sorted(results.glob("[0-9][0-9]_*/results*.json")):
        with readable(file, "the results of a run", "Remove it, or run the study again with --fresh."):
            run = json.loads(file.read_text(encoding="utf-8"))
            about = {key: run[key] for key in ("device", "seed", "commit", "wall_s")}
            study, profile, artefacts = run["study"], run["profile"], run["artefacts"]
            entries = {entry["id"]: {name: entry[name] for name in NOTHING} for entry in run["claims"]}
        # results.json is the run of a profile; results.<label>.json is another run, shown under its label.
        if file.name != "results.json":
            profile, artefacts = file.name.split(".")[1].replace("_", " "), {}  # its figures are not kept
        for id in entries | artefacts:
            entry = entries.get(id, NOTHING)
            artefact = f"{file.parent.name}/{artefacts[id]}" if id in artefacts else None
            own = {"id": id, "study": study, "where": "ours", "quantity": entry["note"] or id, "kind": "own"}
            # Two studies may use the same id of their own.
            key = f"{study} {id}" if id.startswith(OWN) else id
            row = rows.setdefault(key, dict.fromkeys(FIELDS, "") | own | {"runs": {}})
            row["runs"][profile] = {**entry, **about, "artefact": artefact}
    # Stable: the papers' own order, then ours.
    return sorted(rows.values(), key=lambda row: row["study"])


def markdown(rows: list[dict], link: str = "", figures: bool = True) -> str:
    """The scoreboard as Markdown, a table per study. `link` goes before file names; without `figures`, numbers only."""
    text = []
    for study in sorted({row["study"] for row in rows}):
        chosen = [row for row in rows if row["study"] == study and (figures or _is_number(row))]
        ran = {profile: run for row in chosen for profile, run in row["runs"].items()}
        parts = {name: [row["runs"].get(name, NOTHING)["parts"] for row in chosen] for name in {*ran, "quick"}}
        columns = [name for name in PROFILES if name in ran or name in ("quick", "paper")]
        # Other runs, unless they only repeat the quick one: in numbers alone a run on more data may show nothing new.
        columns += [name for name in sorted(set(ran) - set(columns)) if parts[name] != parts["quick"]]
        stood = [
            "{0} ran on {device} in {wall_s:.0f} s (seed {seed}, commit {commit})".format(name, **ran[name])
            if name in ran
            else f"{name} has not been run"
            for name in columns
        ]
        cells = [
            [row[key] for key in SHOWN] + [outcome(row["runs"].get(name), link) for name in columns]
            for row in chosen
            # A figure or table of our own is for the notebook to show.
            if row["kind"] != "own" or any(run["parts"] for run in row["runs"].values())
        ]
        text += [f"**Study {study}** · {'; '.join(stood)}", "", shown.rows((*SHOWN, *columns), cells), ""]
    return "\n".join(text)


def outcome(run: dict | None, link: str | None = None) -> str:
    """One run of one claim in a few words. `link` prefixes a Markdown link to the artefact; None gives its path."""
    if not run:
        return ""
    file = run["artefact"] or ""
    if file and link is not None:
        file = f"[{Path(file).name}]({link}{file})"
    return " ".join(text for text in (ours(run), file) if text)


def _is_number(row: dict) -> bool:
    return row["rule"] != "" or row["kind"] not in ("own", *ARTEFACTS)
