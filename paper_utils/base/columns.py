"""The columns of a published catalogue: what each is called, holds and means, for its mock and for its reader alike."""

import csv
from dataclasses import dataclass
from functools import cache

from paper_utils.base import paths


@dataclass(frozen=True)
class Column:
    """One column of a catalogue.

    kind : identifier, place, position, shape, flag, weight, magnitude, aperture (one that is no band), error, redshift,
        type, mass, absolute, star, fit.
    role : "input" or "label" of the study's networks, or "extra".
    missing : the mark for no value, or None where every row has one.
    wavelength_um : nominal centre of a band, or None.
    """

    name: str
    kind: str
    role: str
    unit: str
    missing: float | None
    wavelength_um: float | None
    meaning: str


def alhambra_names(*roles: str) -> tuple[str, ...]:
    """Names of ALHAMBRA's columns of some roles, in the order of the file."""
    return tuple(column.name for column in alhambra_columns() if column.role in roles)


@cache
def alhambra_columns() -> tuple[Column, ...]:
    """The 84 columns of ALHAMBRA in data/alhambra_columns.csv, in their order: 75 inputs, 7 labels, 2 extras."""
    with (paths.DATA / "alhambra_columns.csv").open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        return tuple(
            Column(**row | {name: float(row[name]) if row[name] else None for name in ("missing", "wavelength_um")})
            for row in rows
        )
