"""Which columns of a table are which: that of ALHAMBRA, and a user's own, written down in a small YAML file.

data/README.md describes the file; every key but `bands` may be left out:

    bands: {u: {column: psfMag_u, error: psfMagErr_u}, g: psfMag_g}
    id: objid
    redshift: z                     # short for labels: {zb_1: z}
    labels: {tb_1: type}
    columns: [petroRad_r]           # further inputs
    truth: {z: zspec}
    missing: [-9999, "n.a."]
    flux_zero_point: 22.5           # the columns are fluxes, magnitude = 22.5 - 2.5 log10(flux)
    detection: {r: 22.0}            # to learn from the mock sky, with `filter: sdss_u0, depth: 22.1` in each band
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from paper_utils.base.columns import Column, alhambra_columns
from paper_utils.base.errors import DataError, readable


@dataclass(frozen=True)
class Mapping:
    """The columns that a catalogue takes from a table.

    columns : what each column of the catalogue is.   source_of : its name in the table.   truth : {name: name in the
    table}.   optional : columns that the table may lack.   id : the column of object names, or None: rows are numbered.
    missing : numbers that stand for no value, and `blanks`, texts.   flux_zero_point : AB magnitude of flux 1 where the
    table holds fluxes, else None.   filters, depths : of bands whose curve and 5 sigma depth [AB] are told.
    detection : the band in which objects are found and the magnitude to which they are, or None.
    """

    columns: tuple[Column, ...]
    source_of: dict[str, str]
    truth: dict[str, str]
    optional: frozenset[str] = frozenset()
    id: str | None = None
    missing: tuple[float, ...] = ()
    blanks: tuple[str, ...] = ()
    flux_zero_point: float | None = None
    filters: dict[str, "Filter"] = field(default_factory=dict)
    depths: dict[str, float] = field(default_factory=dict)
    detection: tuple[str, float | None] | None = None

    @property
    def bands(self) -> list[str]:
        return [column.name for column in self.columns if column.kind == "magnitude"]


def _name(text: object) -> str:
    # YAML reads some names as something else: 365 is a number, no and on are booleans.
    if not isinstance(text, str) or not text.strip() or not text.isprintable():
        raise ValueError(f"{str(text)[:60]} is not a name; names are text: put this one in quotes")
    return text.strip()


def _named(value: object) -> object:
    """A list of names stands for columns of the same names."""
    return {_name(item): item for item in value} if isinstance(value, list) else value


def listed(value: object) -> object:
    return value if isinstance(value, list) else [value]


Model = TypeVar("Model", bound=BaseModel)
Name = Annotated[str, BeforeValidator(_name)]
Mark = Annotated[float, Field(strict=True, allow_inf_nan=False)] | str
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Filter = Name | tuple[Positive, Positive]  # a curve of sedpy, a file, or centre and full width [um] of a top-hat
Magnitude = Annotated[float, Field(strict=True, gt=0, lt=40)]


class _Band(BaseModel, extra="forbid"):
    """What may be said of a band."""

    column: Name | None = None
    error: Name | None = None
    filter: Filter | None = None
    depth: Magnitude | None = None


def _band(value: object) -> object:
    return value if isinstance(value, dict) else {"column": value}


def _detection(value: object) -> object:
    return {value: None} if isinstance(value, str) else value


class _File(BaseModel, extra="forbid"):
    """The YAML file's keys."""

    bands: Annotated[dict[Name, Annotated[_Band, BeforeValidator(_band)]], BeforeValidator(_named), Field(min_length=1)]
    id: Name | None = None
    redshift: Name | None = None
    labels: Annotated[dict[Name, Name], BeforeValidator(_named)] = {}
    columns: Annotated[dict[Name, Name], BeforeValidator(_named)] = {}
    truth: Annotated[dict[Name, Name], BeforeValidator(_named)] = {}
    missing: Annotated[list[Mark], BeforeValidator(listed)] = []
    flux_zero_point: Annotated[float, Field(strict=True, gt=-1000, lt=1000)] | None = None
    detection: (
        Annotated[dict[Name, Magnitude | None], BeforeValidator(_detection), Field(min_length=1, max_length=1)] | None
    ) = None


KEYS = tuple(_File.model_fields)
REMEDY = "Write it as in data/README.md; its keys are {}."
MESSAGES = {"missing": "there is no such key, which is needed", "extra_forbidden": "no key is called so"}


def alhambra() -> Mapping:
    """The published ALHAMBRA catalogue: all columns of Appendix A.3 and the labels, extras where they are there."""
    columns = alhambra_columns()
    extras = frozenset(column.name for column in columns if column.role == "extra")
    return Mapping(columns, {column.name: column.name for column in columns}, {}, extras, id="objID")


def unlabelled(mapping: Mapping) -> Mapping:
    """The same for a table without labels and truth, to which a trained model is to be applied."""
    labels = {column.name for column in mapping.columns if column.role == "label"}
    return replace(mapping, optional=mapping.optional | labels, truth={})


def load(path: Path | str) -> Mapping:
    """A user's mapping from a YAML file. Raises DataError naming the key that is unknown or has no sensible value."""
    path, remedy = Path(path), REMEDY.format(", ".join(KEYS))
    try:
        return _mapping(parsed(path, _File))
    except ValueError as problem:
        raise DataError(str(problem), remedy=remedy, source=path) from None


def parsed(path: Path, kind: type[Model]) -> Model:
    """A YAML file as a model of its keys. Raises DataError naming the key that is unknown or has no sensible value."""
    import yaml

    remedy = REMEDY.format(", ".join(kind.model_fields))
    with readable(path, "a readable YAML file", remedy):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if isinstance(content, dict):  # a key left empty is one left out
        content = {key: value for key, value in content.items() if value is not None}
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        message = f"{first['msg'].removeprefix('Value error, ')}: {str(first['input'])[:60]!r}"
        problem = MESSAGES.get(first["type"], message)
        key = ": ".join(str(part) for part in first["loc"] if part != "[key]")
        raise DataError(problem, remedy=remedy, source=path, row=key or None) from None


def _mapping(file: _File) -> Mapping:
    """Raises ValueError for columns that cannot be together."""
    columns, source_of = [], {}

    def add(column: Column, source: str) -> None:
        if column.name in source_of or "/" in column.name:
            problem = "two columns would be called" if column.name in source_of else "there is a '/' in"
            raise ValueError(f"{problem} {column.name!r}; give `name: column` with another name")
        columns.append(column)
        source_of[column.name] = source

    for name, band in file.bands.items():
        meaning = f"magnitude from {band.column or name}"
        add(Column(name, "magnitude", "input", "mag", -99.0, None, meaning), band.column or name)
        if band.error:
            add(Column(f"d{name}", "error", "input", "mag", -99.0, None, f"uncertainty of {name}"), band.error)
    known = {column.name: column for column in alhambra_columns()}
    for name, source in file.columns.items():
        add(known.get(name, Column(name, "shape", "input", "", -99.0, None, "further input")), source)
    labels = [column.name for column in known.values() if column.role != "input"]
    for name, source in [*([("zb_1", file.redshift)] if file.redshift else []), *file.labels.items()]:
        if name not in labels:
            raise ValueError(f"no label is called {name!r}; there is {', '.join(labels)}")
        add(known[name], source)
    detection = next(iter(file.detection.items())) if file.detection else None
    if detection and detection[0] not in file.bands:
        raise ValueError(f"detection: no band is called {detection[0]!r}")
    return Mapping(
        tuple(columns),
        source_of,
        file.truth,
        id=file.id,
        missing=tuple(mark for mark in file.missing if not isinstance(mark, str)),
        blanks=tuple(mark for mark in file.missing if isinstance(mark, str)),
        flux_zero_point=file.flux_zero_point,
        filters={name: band.filter for name, band in file.bands.items() if band.filter},
        depths={name: band.depth for name, band in file.bands.items() if band.depth},
        detection=detection,
    )
