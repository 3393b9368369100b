"""What the papers claim, and what a notebook found, judged by the rules of data/claims.csv.

`data/claims.csv` lists every published number, table and figure by id, with the rule that judges it. A notebook records
its own numbers under the names that the rule uses; it does not say what they prove:

>>> study = Study("01", profile="quick", device="cpu", seed=0)                                  # doctest: +SKIP
>>> study.claim("m.t4", {"amse_20": (0.38, 0.33, 0.43), "amse_30": (0.32, 0.28, 0.35), "amse_40": (0.2, 0.17, 0.23),
...                      "amse_50": (0.19, 0.17, 0.22), "amse_20-amse_30": (0.06, 0.02, 0.1)}, seeds=3)
...                                                                                             # doctest: +SKIP
>>> study.claim("m.data", {"n_seds": 2000, "n_bins": 223, "n_bands": 20, "low_um": 0.05, "high_um": 170.0})
...                                                                                             # doctest: +SKIP
>>> study.claim("m.t3.glo.reg", {"amse": (7.9, 6.1, 9.8), "n_below_5": (5, 2, 11)}, seeds=3)    # doctest: +SKIP
>>> study.claim("a.below_noise", "the spectra of this file have no noiseless truth")            # doctest: +SKIP
>>> study.claim("x.ridge", (81, 79, 83), note="ridge regression, chi2 < 5 [%]")                 # doctest: +SKIP
>>> study.table("m.bands", bands, "bands", digits=4)                                            # doctest: +SKIP
>>> study.figure("m.fig3", plot_chi2_histogram(chi2), "chi2", "Histogram of chi2, peak at 1")   # doctest: +SKIP
>>> study.write()       # refuses while an id of study 1 is missing                             # doctest: +SKIP

Each part is a number, a word or (value, low, high). `a-b` is the paired difference of parts a and b that were measured
on the same seeds and objects; a rule that compares the two uses it. `seeds` is how many random starts the intervals
cover; leave it out where no random start or shuffled batch can change the value. `x.` ids are results of our own.
"""

import csv
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path

from paper_utils.base import paths
from paper_utils.base.errors import ProfileError, unknown
from paper_utils.base.hashes import commit
from paper_utils.runs import rules, shown

FIELDS = ("id", "study", "where", "quantity", "published", "kind", "rule")
ARTEFACTS = ("figure", "table")  # kinds
# Results of our own, beyond the paper's, go under this prefix and need no row in claims.csv.
OWN = "x."


def published(study: str | None = None) -> dict[str, dict[str, str]]:
    """The rows of claims.csv by id, of one study such as "01" or of all. Lines that start with # are comments."""
    with (paths.DATA / "claims.csv").open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    for row in rows:
        row["study"] = row["study"].zfill(2)
    return {row["id"]: row for row in rows if study in (None, row["study"])}


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

    def claim(self, id: str, parts, *, seeds: int | None = None, note: str = "") -> shown.Markdown:
        """Judge our numbers by the rule of a claim, record them, and return them with the verdict for display.

        parts : {name: part}, each part a number, a word or (value, low, high). A single part is recorded as "value".
            A text in place of the parts says why they cannot be had in this run; it is reported.
        seeds : random starts (trained networks, shuffled batches) that the intervals cover; None where none matters.
        Raises ProfileError for an unknown id, a part that the rule needs and that is missing or no number, and a
        value that is not finite.
        """
        row, named = self._row(id), parts if isinstance(parts, Mapping) else {"value": parts}
        recorded = {str(name): _part(f"{name} of {id}", part) for name, part in named.items()}
        rule, kind = ("", "") if isinstance(parts, str) else (row["rule"], row["kind"])
        try:
            status = rules.verdict(rule, kind, recorded, seeds)
        except ProfileError as problem:
            raise ProfileError(f"{id}: {problem}") from None
        self.claims[id] = {"id": id, "parts": recorded, "status": status, "seeds": seeds, "note": note}
        theirs = "" if id.startswith(OWN) else f" (published: {row['published']})"
        return shown.Markdown(ours(self.claims[id]) + theirs)

    def figure(self, id: str, fig, name: str, note: str = ""):
        """Save a matplotlib figure as `name`.png, readable in print, and return the picture for display.

        note : what the figure shows, for readers who cannot see it; by default the quantity of the claim.
        """
        alt = note or self._row(id)["quantity"] or name
        file = self._artefact(id, f"{name}.png")
        with paths.atomic(file) as temporary:
            fig.savefig(temporary, dpi=200, bbox_inches="tight", metadata={"Description": alt})
        return shown.figure(fig, alt)

    def table(self, id: str, table, name: str, digits: int = 3) -> shown.Markdown:
        """Save a table as `name`.csv, units in the column names, and return it for display with `digits` digits.

        table : an astropy Table or what makes one, such as a list of dicts. The file holds 7 significant digits.
        """
        file = self._artefact(id, f"{name}.csv")
        plain = shown.with_units_in_names(table)
        formats = {column: ".7g" for column in plain.colnames if plain[column].dtype.kind == "f"}
        with paths.atomic(file) as temporary:
            plain.write(temporary, format="ascii.csv", overwrite=True, formats=formats)
        return shown.table(table, digits)

    def write(self) -> Path:
        """Write results.json and return its path. Raises ProfileError naming every id left unrecorded."""
        drawn = {id for id, row in self.known.items() if row["kind"] in ARTEFACTS}
        judged = {id for id, row in self.known.items() if row["rule"] or id not in drawn}
        if missing := sorted((drawn - self.artefacts.keys()) | (judged - self.claims.keys())):
            raise ProfileError(f"study {self.study} leaves {len(missing)} of its ids unrecorded: {', '.join(missing)}")
        results = {
            **{name: getattr(self, name) for name in ("study", "profile", "device", "seed")},
            "commit": commit(),
            "wall_s": round(time.monotonic() - self._started, 1),
            "claims": [self.claims[id] for id in sorted(self.claims)],
            "artefacts": dict(sorted(self.artefacts.items())),
        }
        file = self.output / "results.json"
        with paths.atomic(file) as temporary:
            temporary.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return file

    def show(self) -> shown.Markdown:
        """The claims recorded so far, ours and the paper's."""
        cells = []
        for id, entry in sorted(self.claims.items()):
            row = self._row(id)
            cells.append((f"{row['quantity'] or entry['note'] or id} ({row['where']})", row["published"], ours(entry)))
        return shown.rows(("", "paper", "ours"), cells)

    def _row(self, id: str) -> dict[str, str]:
        if id not in self.known and not id.startswith(OWN):
            raise unknown(f"claim of study {self.study} is called", id, self.known)
        return self.known.get(id) or dict.fromkeys(FIELDS, "") | {"where": "ours", "published": "–"}

    def _artefact(self, id: str, name: str) -> Path:
        self._row(id)
        if self.artefacts.get(id, name) != name:
            raise ProfileError(f"{id} already stands for {self.artefacts[id]}. Give {name} another, such as {OWN}{id}.")
        self.artefacts[id] = name
        return self.output / name


def ours(entry: Mapping) -> str:
    """A recorded claim in one line: its verdict, and each part with its interval."""
    named = [("" if name == "value" else f"{name} ", part) for name, part in entry["parts"].items()]
    status = "" if entry["status"] == rules.REPORTED else f"{entry['status']}: "
    return status + "; ".join(name + shown.number(part) for name, part in named)


def _part(what: str, part) -> rules.Part:
    """`part` in Python's own types, which JSON holds; numpy and torch scalars and arrays are converted."""
    if isinstance(part, str):
        return part
    part = part.tolist() if hasattr(part, "tolist") else part
    whole = isinstance(part, tuple | list) and len(part) == 3
    numbers = tuple(x.tolist() if hasattr(x, "tolist") else x for x in (part if whole else [part]))
    for number in numbers:
        if type(number) not in (int, float) or not math.isfinite(number):
            raise ProfileError(f"{what} is {number!r}. Record a number or (value, low, high), or a text that says why.")
    if whole and numbers[1] > numbers[2]:
        raise ProfileError(f"the interval of {what} runs from {numbers[1]} to {numbers[2]}. Give (value, low, high).")
    return numbers if whole else numbers[0]
