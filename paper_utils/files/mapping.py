"""Which columns of a table are which: that of ALHAMBRA, and a user's own, written down in a small YAML file.

data/README.md describes the file; every key but `bands` may be left out:

    bands: {u: {column: psfMag_u, error: psfMagErr_u}, g: psfMag_g}
    id: objid
    redshift: z                     # short for labels: {zb_1: z}
    labels: {tb_1: type}
    columns: [petroRad_r]           # further inputs
    truth: {z: zspec}
    missing: [-9999, "n.a."]        # marks of no value
    undetected: [99.9]              # marks of what was too faint, in bands
    unit: Vega                      # AB, Vega or asinh magnitudes, or mJy, Jy, uJy, cgs (erg/s/cm2/Hz)
    flux_zero_point: 22.5           # or other fluxes, magnitude = 22.5 - 2.5 log10(flux)
    limits: [negative error]        # marks an upper limit
    n_sigma: 3                      # of limits
    ebv: EBV                        # column of E(B-V) by which magnitudes are corrected for the Milky Way's dust
    detection: {r: 22.0}            # to learn from the mock sky, with `filter: sdss_u0, depth: 22.1` in each band

A band may say more:

    g: {column: FLUX_G, ivar: IVAR_G}                       # an inverse variance in place of an error
    Ks: {column: K, error: eK, unit: Vega, filter: twomass_Ks, extinction: 0.31}  # A / E(B-V)
    J: {column: J, unit: Vega, offset: 0.91}                # to add: AB less Vega, of sedpy's curve by default
    r: {column: modelMag_r, unit: asinh, softening: 1.2e-10}  # b of asinh magnitudes
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, ValidationError
from sedpy.observate import list_available_filters

from paper_utils.base.columns import Column, alhambra_columns
from paper_utils.base.errors import DataError, readable, refusal
from paper_utils.base.filters import Curves, vega_offset
from paper_utils.files import curves, magnitudes
from paper_utils.files.magnitudes import Band, Unit


@dataclass(frozen=True)
class Mapping:
    """The columns that a catalogue takes from a table.

    columns : what each column of the catalogue is.   source_of : its name in the table.   truth : {name: name in the
    table}.   optional : columns that the table may lack.   id : the column of object names, or None: rows are numbered.
    missing : numbers that stand for no value, and `blanks`, texts.   bands_of : {band: what its columns hold}.
    ebv : the column of E(B-V) that magnitudes are corrected for, or None.   filters, depths : of bands whose curve and
    5 sigma depth [AB] are told.   detection : the band in which objects are found and to which magnitude, or None.
    """

    columns: tuple[Column, ...]
    source_of: dict[str, str]
    truth: dict[str, str]
    bands_of: dict[str, Band]
    optional: frozenset[str] = frozenset()
    id: str | None = None
    missing: tuple[float, ...] = ()
    blanks: tuple[str, ...] = ()
    ebv: str | None = None
    filters: dict[str, "Filter"] = field(default_factory=dict)
    depths: dict[str, float] = field(default_factory=dict)
    detection: tuple[str, float | None] | None = None

    @property
    def bands(self) -> list[str]:
        return list(self.bands_of)


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
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Filter = Name | tuple[Positive, Positive]  # a curve of sedpy, a file, or centre and full width [um] of a top-hat
ZeroPoint = Annotated[Number, Field(gt=-1000, lt=1000)]
Mark = Number | str
Magnitude = Annotated[float, Field(strict=True, gt=0, lt=40)]


class _Band(BaseModel, extra="forbid"):
    """What may be said of a band."""

    column: Name | None = None
    error: Name | None = None
    ivar: Name | None = None
    unit: Unit | Literal["asinh"] | None = None
    softening: Annotated[Positive, Field(lt=1)] | None = None
    filter: Filter | None = None
    offset: Annotated[Number, Field(gt=-10, lt=10)] | None = None
    extinction: Annotated[Number, Field(ge=0, lt=30)] | None = None
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
    undetected: Annotated[list[Number], BeforeValidator(listed)] = []
    unit: Unit | Literal["asinh"] | None = None
    flux_zero_point: ZeroPoint | None = None
    limits: list[Literal["negative error"]] = []
    n_sigma: Positive = 1.0
    ebv: Name | None = None
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
    of_bands = {c.name: Band(c.name, f"d{c.name}") for c in columns if c.kind == "magnitude"}
    return Mapping(columns, {column.name: column.name for column in columns}, {}, of_bands, extras, id="objID")


def unlabelled(mapping: Mapping) -> Mapping:
    """The same for a table without labels and truth, to which a trained model is to be applied."""
    labels = {column.name for column in mapping.columns if column.role == "label"}
    return replace(mapping, optional=mapping.optional | labels, truth={})


def load(path: Path | str) -> Mapping:
    """A user's mapping from a YAML file. Raises DataError naming the key that is unknown or has no sensible value."""
    path, remedy = Path(path), REMEDY.format(", ".join(KEYS))
    try:
        return _mapping(parsed(path, _File), path)
    except ValueError as problem:
        raise DataError(str(problem), remedy=remedy, source=path) from None


def curves_of(mapping: Mapping, source: Path, bands: Sequence[str]) -> Curves:
    """Curves [Angstrom] of bands that have a `filter`. Raises DataError for one that cannot be read."""
    um = {name: curves.read(mapping.filters[name], source, f"bands: {name}") for name in bands}
    return {name: (wave * 1e4, response) for name, (wave, response) in um.items()}


def survey(mapping: Mapping, source: Path) -> tuple[Curves, dict[str, float], str, float]:
    """What a mapping says of a survey: curves [Angstrom] and 5 sigma depths of its bands, and the band in which objects
    are found with its limit; by default the deepest, and its depth.

    Raises DataError naming the band that lacks a `filter`, a `depth` or an `error`.
    """
    for name in mapping.bands:
        lacks = [key for key, known in (("filter", mapping.filters), ("depth", mapping.depths)) if name not in known]
        if f"d{name}" not in mapping.source_of:
            lacks.append("error")
        if lacks:
            remedy = "To learn from the mock sky give each band its `error:` column, a `filter:` and its `depth:`."
            raise DataError(f"there is no `{lacks[0]}`", remedy=remedy, source=source, row=f"bands: {name}")
    found, limit = mapping.detection or (max(mapping.depths, key=mapping.depths.get), None)
    limit = mapping.depths[found] if limit is None else limit
    return curves_of(mapping, source, mapping.bands), mapping.depths, found, limit


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


def _mapping(file: _File, path: Path) -> Mapping:
    """Raises ValueError for columns that cannot be together, DataError for a band that says too much or too little."""
    columns, source_of, of_bands = [], {}, {}

    def add(column: Column, source: str) -> None:
        if column.name in source_of or "/" in column.name:
            problem = "two columns would be called" if column.name in source_of else "there is a '/' in"
            raise ValueError(f"{problem} {column.name!r}; give `name: column` with another name")
        columns.append(column)
        source_of[column.name] = source

    for name, band in file.bands.items():
        meaning = f"magnitude from {band.column or name}"
        of_bands[name] = of_band = _band_of(name, band, file, path)
        add(Column(name, "magnitude", "input", "mag", -99.0, None, meaning), of_band.column)
        if of_band.error:
            add(Column(f"d{name}", "error", "input", "mag", -99.0, None, f"uncertainty of {name}"), of_band.error)
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
        of_bands,
        id=file.id,
        missing=tuple(mark for mark in file.missing if not isinstance(mark, str)),
        blanks=tuple(mark for mark in file.missing if isinstance(mark, str)),
        ebv=file.ebv,
        filters={name: band.filter for name, band in file.bands.items() if band.filter},
        depths={name: band.depth for name, band in file.bands.items() if band.depth},
        detection=detection,
    )


def _band_of(name: str, band: _Band, file: _File, path: Path) -> Band:
    """What a band's columns hold. Raises DataError where that is not said, or twice."""
    unit, refuse = band.unit or file.unit, partial(refusal(path), f"bands: {name}")
    if file.unit and file.flux_zero_point is not None:
        refuse("unit and flux_zero_point both say what its column holds", "Give one.")
    if band.error and band.ivar:
        refuse("an error and an inverse variance", "Give `error:` or `ivar:`.")
    if (unit == "asinh") != (band.softening is not None):
        refuse("asinh magnitudes go with a softening", "Give `unit: asinh` and `softening:` (b), or neither.")
    if both := set(file.undetected) & {mark for mark in file.missing if not isinstance(mark, str)}:
        refuse(f"{both.pop():g} is among `missing:` and `undetected:`", "Each mark has one meaning.")
    if band.extinction is not None and not file.ebv:
        refuse("an extinction without E(B-V)", "Give `ebv: COLUMN`.")
    offset, extinction = band.offset or 0.0, band.extinction or 0.0
    if unit == "Vega" and band.offset is None:
        if band.filter not in list_available_filters():
            refuse("Vega magnitudes", "Give the band's `filter:` in sedpy, or `offset:`, its AB less Vega magnitude.")
        offset = -vega_offset(band.filter)
    if file.ebv and band.extinction is None:
        if band.filter is None:
            refuse("E(B-V) without an extinction", "Give the band's `filter:`, or `extinction:`, its A / E(B-V).")
        extinction = magnitudes.extinction(*curves.read(band.filter, path, f"bands: {name}"))
    return Band(
        column=band.column or name,
        error=band.error or band.ivar,
        zero_point=file.flux_zero_point if unit is None else magnitudes.ZERO_POINTS.get(unit),
        softening=band.softening,
        inverse=band.ivar is not None,
        undetected=tuple(file.undetected),
        negative_limits="negative error" in file.limits,
        n_sigma=file.n_sigma,
        offset=offset,
        extinction=extinction,
    )
