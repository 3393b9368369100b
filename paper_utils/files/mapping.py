"""Which columns of a table are which: that of ALHAMBRA, and a user's own, written down in a small YAML file.

data/README.md describes the file; every key but `bands` may be left out:

    bands: {u: {column: psfMag_u, error: psfMagErr_u, wavelength_um: 0.355}, g: psfMag_g}
    id: objid
    redshift: z                     # short for labels: {zb_1: z}
    labels: {tb_1: type}
    columns: [petroRad_r]           # further inputs
    truth: {z: zspec}
    missing: [-9999, "n.a."]
    flux_zero_point: 22.5           # the columns are fluxes, magnitude = 22.5 - 2.5 log10(flux)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from paper_utils.base.columns import Column, alhambra_columns
from paper_utils.base.errors import DataError

KEYS = ("bands", "id", "redshift", "labels", "columns", "truth", "missing", "flux_zero_point")


@dataclass(frozen=True)
class Mapping:
    """The columns that a catalogue takes from a table.

    columns : what each column of the catalogue is.   source_of : its name in the table.   optional : those that the
    table may lack.   truth : {name: name in the table}.   id : the column of object names, or None: rows are numbered.
    missing : numbers that stand for no value, and `blanks`, texts.   flux_zero_point : AB magnitude of flux 1 where the
    table holds fluxes, else None.
    """

    columns: tuple[Column, ...]
    source_of: dict[str, str]
    optional: frozenset[str] = frozenset()
    truth: dict[str, str] | None = None
    id: str | None = None
    missing: tuple[float, ...] = ()
    blanks: tuple[str, ...] = ()
    flux_zero_point: float | None = None

    @property
    def bands(self) -> list[str]:
        return [column.name for column in self.columns if column.kind == "magnitude"]


def alhambra() -> Mapping:
    """The published ALHAMBRA catalogue: all columns of Appendix A.3 and the labels, extras where they are there."""
    columns = alhambra_columns()
    extras = frozenset(column.name for column in columns if column.role == "extra")
    return Mapping(columns, {column.name: column.name for column in columns}, extras, id="objID")


def load(path: Path | str) -> Mapping:
    """A user's mapping from a YAML file. Raises DataError naming the key that is unknown or has no sensible value."""
    import yaml

    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    # Beside YAMLError: no such file, not text, a date that does not exist, nesting without end, a key that is a list.
    except (yaml.YAMLError, OSError, ValueError, RecursionError, TypeError) as problem:
        raise DataError(
            f"not a readable YAML file ({' '.join(str(problem).split())[:200]})",
            remedy="Write it as in data/README.md.",
            source=path,
        ) from None
    return _Reader(path).mapping(content)


class _Reader:
    """Makes a Mapping of what YAML gives, with the file's name and the key in every complaint."""

    def __init__(self, path: Path):
        self.path = path

    def error(self, key: str, problem: str, remedy: str) -> DataError:
        return DataError(problem, remedy=remedy, source=self.path, row=key)

    def mapping(self, content: object) -> Mapping:
        if not isinstance(content, dict):
            raise self.error("", f"holds {str(content)[:60]!r}", "Write `bands:` and other keys as in data/README.md.")
        for key in content:
            if key not in KEYS:
                raise self.error(str(key), "no key is called so", f"There is {', '.join(KEYS)}.")
        columns, source_of = [], {}

        def add(key: str, column: Column, source: str) -> None:
            if column.name in source_of:
                raise self.error(key, f"two columns would be called {column.name!r}", "Give each its own name.")
            if "/" in column.name:
                raise self.error(key, f"{column.name!r} has a '/'", "Give `name: column` with another name.")
            columns.append(column)
            source_of[column.name] = source

        bands = self.names(content, "bands", nested=True)
        if not bands:
            raise self.error("bands", "there are no bands", "Give a name and a column for each, at least one.")
        for band, entry in bands.items():
            entry = {"column": entry} if isinstance(entry, str) else entry
            if wrong := [key for key in entry if key not in ("column", "error", "wavelength_um")]:
                raise self.error(
                    f"bands: {band}", f"no key is called {wrong[0]!r}", "Keys: column, error, wavelength_um."
                )
            wavelength = entry.get("wavelength_um")
            if wavelength is not None and not (_number(wavelength) and 0 < wavelength < 1e6):
                raise self.error(f"bands: {band}", f"the wavelength is {wavelength!r}", "Give a number of um, or none.")
            texts = {key: self.text(f"bands: {band}", value) for key, value in entry.items() if key != "wavelength_um"}
            name = texts.get("column", band)
            add("bands", Column(band, "magnitude", "input", "mag", -99.0, wavelength, f"magnitude from {name}"), name)
            if "error" in texts:
                error = Column(f"d{band}", "error", "input", "mag", -99.0, None, f"uncertainty of {band}")
                add("bands", error, texts["error"])
        known = {column.name: column for column in alhambra_columns()}
        for name, source in self.names(content, "columns").items():
            add("columns", known.get(name, Column(name, "shape", "input", "", -99.0, None, "further input")), source)
        labels = self.names(content, "labels")
        if "redshift" in content:
            if "zb_1" in labels:
                raise self.error("redshift", "zb_1 stands among the labels too", "Give one of the two.")
            labels = {"zb_1": self.text("redshift", content["redshift"])} | labels
        for name, source in labels.items():
            if name not in known or known[name].role == "input":
                there_is = ", ".join(column.name for column in known.values() if column.role != "input")
                raise self.error("labels", f"no label is called {name!r}", f"There is {there_is}.")
            add("labels", known[name], source)
        missing = content.get("missing")
        missing = missing if isinstance(missing, list) else [] if missing is None else [missing]
        if wrong := [item for item in missing if not _number(item) and not isinstance(item, str)]:
            raise self.error("missing", f"{wrong[0]!r} is no number and no text", "Give a list such as [-9999, n.a.].")
        zero_point = content.get("flux_zero_point")
        if zero_point is not None and not (_number(zero_point) and abs(zero_point) < 1000):
            raise self.error(
                "flux_zero_point", f"is {zero_point!r}", "Give a magnitude: 22.5 for nanomaggies, 8.9 for Jy."
            )
        return Mapping(
            tuple(columns),
            source_of,
            truth=self.names(content, "truth") or None,
            id=self.text("id", content["id"]) if content.get("id") is not None else None,
            missing=tuple(float(item) for item in missing if not isinstance(item, str)),
            blanks=tuple(item for item in missing if isinstance(item, str)),
            flux_zero_point=zero_point,
        )

    def names(self, content: dict, key: str, nested: bool = False) -> dict:
        """{name: column} under a key; a list of names stands for columns of the same names."""
        value = content.get(key)
        if isinstance(value, list):
            value = {self.text(key, item): item for item in value}
        if not isinstance(value, dict | None):
            raise self.error(key, f"is {str(value)[:60]!r}", "Give `name: column` lines, or a list of columns.")
        found = {}
        for name, item in (value or {}).items():
            keep = nested and isinstance(item, dict)
            found[self.text(key, name)] = item if keep else self.text(f"{key}: {name}", item)
        return found

    def text(self, key: str, value: object) -> str:
        # YAML reads some names as something else: 365 is a number, no and on are booleans.
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            raise self.error(key, f"{value!r} is not a name", "Names are text: put this one in quotes.")
        return value.strip()


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
