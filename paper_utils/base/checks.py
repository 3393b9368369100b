"""The checks that the containers share. Each raises DataError naming the first bad entry.

They do so by `refuse(where, problem, remedy)`, which knows the file at fault (`errors.refusal`).
"""

from collections import Counter
from dataclasses import fields

import numpy as np

Z_RANGE = (-0.01, 20.0)
REDSHIFTS = "Redshifts lie in {:g} to {:g}; leave out objects whose redshift failed (-9999, 99).".format(*Z_RANGE)
WANTED = {"float": "numbers", "text": "text", "table": "table rows"}


def filled(container) -> list[tuple]:
    """The fields of a container that hold something, each with what it holds."""
    values = ((field, getattr(container, field.name)) for field in fields(container))
    return [(field, value) for field, value in values if value is not None]


def layout(container, refuse):
    """Nothing missing, the right kind of values, and axes of the same length in every field."""
    for field in fields(container):
        if field.default is not None and getattr(container, field.name) is None:
            refuse(field.name, "missing", f"Every {type(container).__name__} needs it.")
    sizes = {}
    for field, value in filled(container):
        name, kind, unit = field.name, field.metadata["kind"], field.metadata["unit"]
        shape = (len(value),) if kind == "table" else value.shape
        wanted = f"Give {WANTED[kind]}{unit and ' in '}{unit} of shape ({', '.join(field.metadata['axes'])}): "
        wanted += "N objects, L wavelengths, B bands, H x W pixels."
        if kind == "table":
            _columns(name, value, refuse)
        elif value.dtype.kind != ("U" if kind == "text" else "f"):
            refuse(name, f"holds {value.dtype}, not {WANTED[kind]}", wanted)
        if len(shape) != len(axes(field, value)):
            refuse(name, f"has shape {shape}", wanted)
        for axis, size in zip(axes(field, value), shape, strict=True):
            first, expected = sizes.setdefault(axis, (name, size))
            if size == 0:
                refuse(name, f"is empty (shape {shape})", "Give at least one object.")
            if size != expected:
                refuse(name, f"has {size} entries along {axis}, {first} has {expected}", wanted)


def axes(field, value) -> str:
    """The axes that this value of a field has; a shared one may lack N."""
    names = field.metadata["axes"]
    return names[1:] if field.metadata["shared"] and np.ndim(value) == len(names) - 1 else names


def _columns(name, table, refuse):
    for column in table.colnames:
        kind = getattr(table[column], "dtype", np.dtype("O"))  # coordinates and times have none
        if kind.kind not in "fiubU" or "/" in column or column in ("", "."):
            remedy = "Columns hold numbers, booleans or text, and have no '/' in their name."
            refuse(name, f"column {column!r} holds {kind}", remedy)
        if np.any(mask := getattr(table[column], "mask", False)):
            row = np.argwhere(mask)[0][0]
            remedy = "Fill it (numbers: nan) or leave the row out."
            refuse(name, f"column {column!r} lacks a value in row {row}", remedy)


def names(container, refuse):
    """Every object, and every band, has a name of its own that survives a text file."""
    for field, texts in filled(container):
        if field.metadata["kind"] == "text":
            what = {"ids": "object id", "bands": "band"}[field.name]
            for row, text in enumerate(texts):
                if not text or text != text.strip() or not text.isprintable():
                    remedy = "Names are printable text without spaces at the ends."
                    refuse(f"row {row}", f"the {what} is {str(text)!r}", remedy)
            text, count = Counter(texts.tolist()).most_common(1)[0]
            if count > 1:
                one, other = np.flatnonzero(texts == text)[:2]
                problem = f"{what} {text!r} appears {count} times (rows {one} and {other})"
                refuse(field.name, problem, "Give every one its own name, or drop the repeats.")


def numbers(container, refuse):
    """No NaN or infinity in any array; wavelengths are positive and increase."""
    other = "set flux and ivar to 0 there." if hasattr(container, "ivar") else "fill the gap."
    for field, value in filled(container):
        if field.metadata["kind"] == "float":
            remedy = f"Every entry must be finite: leave the object out, or {other}"
            none(container, refuse, field.name, ~np.isfinite(value), remedy)
        if field.metadata["axes"] == "L":
            none(container, refuse, field.name, value <= 0, "Wavelengths are positive.")
            if (bad := np.flatnonzero(np.diff(value) <= 0)).size:
                a, b = value[bad[0] : bad[0] + 2]
                what = f"repeats {a:g}" if a == b else f"falls from {a:g} to {b:g}"
                remedy = "Wavelengths must increase: sort them (and the fluxes with them) and drop the repeated ones."
                refuse(f"{field.name}, bins {bad[0]} and {bad[0] + 1}", f"the wavelength {what}", remedy)


def none(container, refuse, name, bad, remedy, problem=None):
    """No entry of the field `name` is `bad`, an array whose first axes are those of the field, or one boolean."""
    if np.any(bad):
        value, first = getattr(container, name), tuple(np.argwhere(bad)[0])
        field = next(field for field in fields(container) if field.name == name)
        where = _entry(container, axes(field, value), first) or name
        refuse(where, problem or f"{name} is {value[first]:g}", remedy)


def _entry(container, axes, index) -> str:
    """In words: which object, wavelength, band and pixel `index` points at."""
    words = []
    for axis, i in zip(axes, index, strict=False):
        if axis == "N":
            words.append(f"object {str(container.ids[i])!r} (row {i})")
        elif axis == "L":
            wave = fields(container)[0]
            words.append(f"bin {i} ({getattr(container, wave.name)[i]:g} {wave.metadata['unit']})")
        elif axis == "B":
            words.append(f"band {str(container.bands[i])!r}")
        else:
            words.append(f"{'row' if axis == 'H' else 'column'} {i}")
    return ", ".join(words)


def odd_redshift(z) -> np.ndarray:
    """Whether redshifts are NaN or outside `Z_RANGE`, as the codes for failed ones are."""
    return ~((np.asarray(z) >= Z_RANGE[0]) & (np.asarray(z) <= Z_RANGE[1]))
