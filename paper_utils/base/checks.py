"""The checks that the containers share. Each raises DataError naming the first bad entry."""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np

Z_RANGE = (-0.01, 20.0)


def layout(container, error):
    """Nothing missing, the right kind of values, and axes of the same length in every field."""
    sizes = {}
    for field in dataclasses.fields(container):
        name, value, kind = field.name, getattr(container, field.name), field.metadata["kind"]
        wrong = partial(error, row=name, remedy=_shape_wanted(field))
        if value is None:
            if field.default is not None:
                raise wrong("missing", remedy=f"Every {type(container).__name__} needs it.")
            continue
        shape = (len(value),) if kind == "table" else value.shape
        if kind == "table":
            _table(value, partial(error, row=name))
        elif value.dtype.kind != ("U" if kind == "text" else "f"):
            raise wrong(f"holds {value.dtype}, not {'text' if kind == 'text' else 'numbers'}")
        if len(shape) != len(axes(field, value)):
            raise wrong(f"has shape {shape}")
        for axis, size in zip(axes(field, value), shape, strict=True):
            first, expected = sizes.setdefault(axis, (name, size))
            if size == 0:
                raise wrong(f"is empty (shape {shape})", remedy="Give at least one object.")
            if size != expected:
                raise wrong(f"has {size} entries along {axis}, {first} has {expected}")


def axes(field, value) -> str:
    """The axes that this value of a field has; a shared one may lack N."""
    names = field.metadata["axes"]
    return names[1:] if field.metadata["shared"] and np.ndim(value) == len(names) - 1 else names


def _shape_wanted(field) -> str:
    axes, kind = field.metadata["axes"], field.metadata["kind"]
    unit = f" in {field.metadata['unit']}" if field.metadata["unit"] else ""
    what = {"float": "numbers", "text": "text", "table": "table rows"}[kind]
    return f"Give {what}{unit} of shape ({', '.join(axes)}): N objects, L wavelengths, B bands, H x W pixels."


def _table(table, error):
    for column in table.colnames:
        values = table[column]
        dtype = getattr(values, "dtype", np.dtype("O"))
        if dtype.kind not in "fiubU" or "/" in column or column in ("", "."):
            raise error(
                f"column {column!r} holds {getattr(values, 'dtype', type(values).__name__)}",
                remedy="Columns hold numbers, booleans or text, and have no '/' in their name.",
            )
        if np.any(mask := getattr(values, "mask", False)):
            raise error(
                f"column {column!r} lacks a value in row {np.argwhere(mask)[0][0]}",
                remedy="Fill it (numbers: nan) or leave the row out.",
            )


def ids(container, error):
    """Every object has a name of its own that survives a text file."""
    names = container.ids
    bad = np.array([not name or name != name.strip() or not name.isprintable() for name in names])
    if bad.any():
        row = bad.argmax()
        remedy = "Ids are printable text without spaces at the ends."
        raise error(f"the object id is {str(names[row])!r}", remedy=remedy, row=f"row {row}")
    unique(names, "object id", "ids", error)


def unique(names, what, where, error):
    """No name twice; the message gives the rows of the first two."""
    _, first, counts = np.unique(names, return_index=True, return_counts=True)
    if (counts > 1).any():
        rows = np.flatnonzero(names == names[first[counts > 1].min()])
        raise error(
            f"{what} {str(names[rows[0]])!r} appears {rows.size} times (rows {rows[0]} and {rows[1]})",
            remedy="Give every one its own name, or drop the repeats.",
            row=where,
        )


def finite(container, error):
    """No NaN or infinity in any array."""
    other = "set flux and ivar to 0 there." if hasattr(container, "ivar") else "fill the gap."
    remedy = f"Every entry must be finite: leave the object out, or {other}"
    for field in dataclasses.fields(container):
        value = getattr(container, field.name)
        if field.metadata["kind"] == "float" and value is not None:
            none(container, field.name, ~np.isfinite(value), field.name + " is {}", remedy, error)


def none(container, name, bad, problem, remedy, error):
    """No entry of the field `name` is `bad`: its value completes the sentence `problem`."""
    if np.any(bad):
        field = next(field for field in dataclasses.fields(container) if field.name == name)
        value, first = getattr(container, name), np.argwhere(bad)[0]
        where = entry(container, axes(field, value), first) or name
        raise error(problem.format(value[tuple(first)]), remedy=remedy, row=where)


def entry(container, axes, index) -> str:
    """In words: which object, wavelength, band and pixel `index` points at."""
    words = []
    for axis, i in zip(axes, index, strict=False):
        if axis == "N":
            words.append(f"object {str(container.ids[i])!r} (row {i})")
        elif axis == "L":
            field = dataclasses.fields(container)[0]
            words.append(f"bin {i} ({getattr(container, field.name)[i]:g} {field.metadata['unit']})")
        elif axis == "B":
            words.append(f"band {str(container.bands[i])!r}")
        else:
            words.append(f"{'row' if axis == 'H' else 'column'} {i}")
    return ", ".join(words)


def wavelengths(wave, name, error):
    """Positive and strictly increasing."""
    if (bad := np.flatnonzero(np.diff(wave) <= 0)).size:
        i = bad[0]
        what = f"repeats {wave[i]:g}" if wave[i] == wave[i + 1] else f"falls from {wave[i]:g} to {wave[i + 1]:g}"
        raise error(
            f"the wavelength {what}",
            remedy="Wavelengths must increase: sort them (and the fluxes with them) and drop the repeated ones.",
            row=f"{name}, bins {i} and {i + 1}",
        )
    if wave[0] <= 0:
        raise error(f"the wavelength is {wave[0]:g}", remedy="Wavelengths are positive.", row=f"{name}, bin 0")


def odd_redshift(z) -> np.ndarray:
    """Whether redshifts are NaN or outside `Z_RANGE`, as the codes for failed ones are."""
    return ~((np.asarray(z) >= Z_RANGE[0]) & (np.asarray(z) <= Z_RANGE[1]))


def redshifts(container, error):
    """None is odd."""
    remedy = "Redshifts lie in {:g} to {:g}; leave out objects whose redshift failed (-9999, 99).".format(*Z_RANGE)
    none(container, "z", odd_redshift(container.z), "the redshift is {:g}", remedy, error)
