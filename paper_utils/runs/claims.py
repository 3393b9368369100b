"""What the papers claim, what a notebook found, and the scoreboard that sets the two side by side.

`data/claims.csv` lists every published number, table and figure by id. A notebook records its own value against an id:

>>> study = Study("01", profile="quick", device="cpu", seed=0)          # doctest: +SKIP
>>> study.claim("m.t3.logglo.proj", 77, interval=(69, 85), status="holds")     # doctest: +SKIP
>>> study.write()       # refuses while an id of study 1 is missing      # doctest: +SKIP
"""

from __future__ import annotations

import csv
import json
import math
import re
import time
from dataclasses import dataclass
from pathlib import Path

from paper_utils.base import paths
from paper_utils.base.errors import DataError, ProfileError, unknown
from paper_utils.base.hashes import commit

STATUSES = ("reported", "holds", "fails")
FIELDS = ("id", "study", "where", "quantity", "published", "kind", "expectation_on_the_mock_sky")
# Results of our own, beyond the paper's, go under this prefix and need no row in claims.csv.
OWN = "x."


def published(study: str | None = None, file: Path = paths.DATA / "claims.csv") -> dict[str, dict[str, str]]:
    """The rows of claims.csv by id, of one study such as "01" or of all. Lines that start with # are comments."""
    with file.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    for row in rows:
        if tuple(row) != FIELDS or None in row.values():
            raise ProfileError(f"{file}: row {row['id']!r} does not have the {len(FIELDS)} fields {', '.join(FIELDS)}")
        row["study"] = row["study"].zfill(2)
    return {row["id"]: row for row in rows if study in (None, row["study"])}


@dataclass(frozen=True)
class Markdown:
    """Text that a notebook renders and a terminal prints."""

    text: str

    def __str__(self) -> str:
        return self.text

    __repr__ = _repr_markdown_ = __str__


class Study:
    """Collects what one notebook found; `write()` makes its results.json.

    Parameters
    ----------
    study : the notebook's number, such as "01".
    profile, device, seed : what the run used; `device` as resolved ("cpu", "cuda"), not "auto".
    output : folder for results.json, figures and tables; empty for the project's output/NN_slug.
    """

    def __init__(self, study: str, *, profile: str, device: str, seed: int, output: Path | str = ""):
        self.study, self.profile, self.device, self.seed = study, profile, str(device), int(seed)
        self.output = Path(output) if str(output) else paths.OUTPUT / paths.notebook(study).stem
        self.known = published(study)
        self.claims: dict[str, dict] = {}
        self.artefacts: dict[str, str] = {}
        self._started = time.monotonic()

    def claim(self, id: str, value, interval=None, status: str = "reported", note: str = ""):
        """Record our value for a published one and return it.

        value : number, string, bool, or a small list or dict of them.
        interval : None or (low, high), in the value's unit.
        status : "reported" (a number shown beside the paper's), "holds" or "fails".
        Raises ProfileError for an unknown id or status, or a value that is not finite.
        """
        self._check(id)
        if status not in STATUSES:
            raise unknown("status", status, STATUSES)
        self.claims[id] = {
            "id": id,
            "value": _plain(id, value),
            "interval": None if interval is None else _plain(id, list(interval)),
            "status": status,
            "note": note,
        }
        return value

    def figure(self, id: str, fig, name: str, note: str = ""):
        """Save a matplotlib figure as `name`.png, readable in print, and return it for display."""
        import matplotlib.pyplot as plt

        file = self._artefact(id, f"{name}.png")
        with paths.atomic(file) as temporary:
            fig.savefig(temporary, dpi=200, bbox_inches="tight", metadata={"Description": note or name})
        # Left open, a figure that is also the cell's last value would be shown twice.
        plt.close(fig)
        return fig

    def table(self, id: str, table, name: str):
        """Save an astropy Table as `name`.csv, units in the column names, and return it for display."""
        file = self._artefact(id, f"{name}.csv")
        plain = table.copy()
        for column in table.colnames:
            if table[column].unit is not None:
                plain.rename_column(column, f"{column} [{table[column].unit}]")
        with paths.atomic(file) as temporary:
            plain.write(temporary, format="ascii.csv", overwrite=True)
        return table

    def write(self) -> Path:
        """Write results.json and return its path. Raises ProfileError naming every id left unrecorded."""
        missing = sorted(
            id
            for id, row in self.known.items()
            if id not in (self.artefacts if row["kind"] in ("figure", "table") else self.claims)
        )
        if missing:
            raise ProfileError(f"study {self.study} leaves {len(missing)} of its ids unrecorded: {', '.join(missing)}")
        results = {
            "study": self.study,
            "profile": self.profile,
            "device": self.device,
            "seed": self.seed,
            "commit": commit(),
            "wall_s": round(time.monotonic() - self._started, 1),
            "claims": [self.claims[id] for id in sorted(self.claims)],
            "artefacts": dict(sorted(self.artefacts.items())),
        }
        file = self.output / "results.json"
        with paths.atomic(file) as temporary:
            temporary.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return file

    def show(self) -> Markdown:
        """The claims recorded so far, ours beside the paper's."""
        lines = ["| | paper | ours | interval | status |", "|---|---|---|---|---|"]
        for id, entry in sorted(self.claims.items()):
            row = self.known.get(id, {"quantity": entry["note"] or id, "published": "–", "where": "ours"})
            cells = (
                f"{row['quantity']} ({row['where']})",
                row["published"],
                number(entry["value"]),
                span(entry["interval"]) or "–",
                entry["status"],
            )
            lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
        return Markdown("\n".join(lines))

    def _check(self, id: str) -> None:
        if id not in self.known and not id.startswith(OWN):
            raise unknown(f"claim of study {self.study} is called", id, self.known)

    def _artefact(self, id: str, name: str) -> Path:
        self._check(id)
        if self.artefacts.get(id, name) != name:
            raise ProfileError(
                f"{id} already stands for {self.artefacts[id]}. Give {name} an id of its own, such as {OWN}{id}."
            )
        self.artefacts[id] = name
        return self.output / name


def number(value) -> str:
    """A value as the tables show it: four significant digits, lists and dicts in a row."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(number(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key}: {number(item)}" for key, item in value.items())
    return str(value)


def span(interval) -> str:
    return f"[{number(interval[0])}, {number(interval[1])}]" if interval else ""


def scoreboard(results: Path = paths.FIGURES) -> list[dict]:
    """Published beside ours, one row per claim and artefact.

    Reads every NN_slug/results*.json under `results`; a row holds the published columns and, under the name of each
    profile found, what that run gave: value, interval, status, note, artefact, device, seed, commit, wall_s.
    """
    rows = {id: {**row, "runs": {}} for id, row in published().items()}
    for file in sorted(results.glob("[0-9][0-9]_*/results*.json")):
        try:
            run = json.loads(file.read_text(encoding="utf-8"))
            about = {key: run[key] for key in ("device", "seed", "commit", "wall_s")}
            study, profile, artefacts = run["study"], run["profile"], run["artefacts"]
            names = ("id", "value", "interval", "status", "note")
            entries = {entry["id"]: {name: entry[name] for name in names} for entry in run["claims"]}
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"not the results of a run ({type(error).__name__}: {error})",
                remedy="Remove it, or run the study again with --fresh.",
                source=file,
            ) from None
        # results.json is the profile's own run; results.<label>.json is another one, by its label.
        label = profile if file.name == "results.json" else file.name.split(".")[1].replace("_", " ")
        if file.name != "results.json":
            artefacts = {}  # its figures are not kept
        for id in [*entries, *(id for id in artefacts if id not in entries)]:
            entry = entries.get(id, {"value": None, "interval": None, "status": "reported", "note": ""})
            artefact = f"{file.parent.name}/{artefacts[id]}" if id in artefacts else None
            own = {"id": id, "study": study, "where": "ours", "quantity": entry["note"] or id, "published": ""}
            # Two studies may use the same id of their own.
            key = f"{study} {id}" if id.startswith(OWN) else id
            row = rows.setdefault(key, {**own, "kind": "own", "expectation_on_the_mock_sky": "", "runs": {}})
            row["runs"][label] = {**entry, **about, "artefact": artefact}
    # Stable: the papers' own order, then ours.
    return sorted(rows.values(), key=lambda row: row["study"])


def markdown(rows: list[dict], link: str = "", figures: bool = True) -> str:
    """The scoreboard as Markdown, a table per study. `link` goes before file names; without `figures`, numbers only."""
    text = []
    for study in sorted({row["study"] for row in rows}):
        chosen = [
            row for row in rows if row["study"] == study and (figures or row["kind"] not in ("figure", "table", "own"))
        ]
        ran = {profile: run for row in chosen for profile, run in row["runs"].items()}
        profiles = [name for name in ("smoke", "quick", "paper") if name in ran or name != "smoke"]
        # Other runs, unless they only repeat the quick one: in numbers alone a run on more data may show nothing new.
        profiles += [name for name in sorted(set(ran) - set(profiles)) if _differs(chosen, name, "quick")]
        stood = [
            f"{name} ran on {ran[name]['device']} in {ran[name]['wall_s']:.0f} s (seed {ran[name]['seed']}, "
            f"commit {ran[name]['commit']})"
            if name in ran
            else f"{name} has not been run"
            for name in profiles
        ]
        text += [f"**Study {study}** · {'; '.join(stood)}", ""]
        text += [f"| id | where | quantity | published | {' | '.join(profiles)} |", "|---" * (4 + len(profiles)) + "|"]
        for row in chosen:
            if row["kind"] == "own" and all(run["value"] is None for run in row["runs"].values()):
                continue  # a figure or table of our own: the notebook shows it
            ours = [outcome(row["runs"].get(profile), link) for profile in profiles]
            cells = [row["id"], row["where"], row["quantity"], row["published"], *ours]
            text.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
        text.append("")
    return "\n".join(text)


def _differs(rows: list[dict], one: str, other: str) -> bool:
    """Whether two runs give different values to any of the rows."""
    values = ([row["runs"].get(name, {}).get("value") for row in rows] for name in (one, other))
    return next(values) != next(values)


def outcome(run: dict | None, link: str | None = None) -> str:
    """One run of one claim in a few words. `link` prefixes a Markdown link to the artefact; None gives its path."""
    if run is None:
        return ""
    parts = [run["status"] if run["status"] != "reported" else ""]
    parts += [number(run["value"]) if run["value"] is not None else "", span(run["interval"])]
    if run["artefact"]:
        parts.append(run["artefact"] if link is None else f"[{Path(run['artefact']).name}]({link}{run['artefact']})")
    return " ".join(part for part in parts if part)


def _cell(text: str) -> str:
    return re.sub(r"([|~])", r"\\\1", text).replace("\n", " ")


def _plain(id: str, value):
    """`value` as JSON can hold it; numpy and torch scalars and arrays become Python's."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(id, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(id, item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ProfileError(f"the value of {id} is {value}, which is no result. Record a finite number or a text.")
    if not isinstance(value, str | bool | int | float | None):
        raise ProfileError(f"the value of {id} is a {type(value).__name__}. Record a number, text, list or dict.")
    return value
