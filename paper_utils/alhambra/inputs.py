"""A survey's table as a network sees it: the thesis' 75 clipped columns, or magnitudes, colours and asinh magnitudes.

Magnitudes of 99 mark a non-detection, whose error column holds the limiting magnitude; -99 marks a band not observed.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from paper_utils.base.columns import alhambra_columns, alhambra_names
from paper_utils.base.containers import Catalogue
from paper_utils.base.errors import DataError, readable

IDENTIFIERS = ("id", "objID", "Field", "Pointing", "CCD")
POSITIONS = ("RAdeg", "DECdeg", "x", "y")
SHAPES = ("area", "fwhm", "stell", "ell", "a", "b", "theta", "rk", "rf", "s2n", "photoflag")
# The 75 inputs of every network, in the order of the listing (Cacho 2020, A.3): identifiers, positions and SExtractor's
# own star/galaxy index `stell` are among them.
INPUTS = alhambra_names("input")

POGSON = 2.5 / np.log(10)
ZERO_POINT = 30.0  # of the fluxes inside this module; any value serves


def columns(table, names: Sequence[str]) -> NDArray:
    """The named columns as floats (N, len(names)). Raises DataError for one that is missing or holds text."""
    if missing := [name for name in names if name not in table.colnames]:
        remedy = f"It has {', '.join(table.colnames)}; name the inputs that there are."
        raise DataError(f"the table has no column {missing[0]!r}", remedy=remedy, row=missing[0])
    found, remedy = np.empty((len(table), len(names))), "Leave the column out, or encode it: networks take numbers."
    for i, name in enumerate(names):
        with readable(f"column {name!r}", "numbers", remedy):
            found[:, i] = table[name]
    return found


def clipped(x: NDArray) -> NDArray:
    """Numbers of any shape as the thesis prepares inputs (A.4): -99 becomes 99, then everything is clipped to 0 ... 27.

    So both marks become 27 in the listing; the text (Sec. 3.2) has them "clipped to 0 and 27", and which goes where is
    not clear. The listing clips the whole table, not only magnitudes. Of the mock objID is 27 everywhere, area, id, x
    and y for 99 % and more, RAdeg for 82 %, DECdeg for 55 %, s2n for 21 %; theta is 0 for half and 27 for a third. All
    else stays: magnitudes but for their marks, errors, other sizes and shapes, flags, Field, Pointing and CCD.
    """
    x = np.asarray(x)
    return np.clip(np.where(x == -99, 99, x), 0, 27)


def thesis_inputs(table, names: Sequence[str] = INPUTS) -> NDArray:
    """Clipped columns (N, len(names)), float32, not normalised (Sec. 3.2: "we decided to not normalize")."""
    return clipped(columns(table, names)).astype(np.float32)


def inputs_of(table) -> tuple[str, ...]:
    """Names of all columns of a catalogue that are not labels: `INPUTS` of ALHAMBRA's, of another whatever it has."""
    labels = alhambra_names("label", "extra")
    return tuple(name for name in table.colnames if name not in labels)


def shape_columns(table, bands: Sequence[str]) -> tuple[str, ...]:
    """Names of the inputs that describe an object beyond its magnitudes in `bands`: sizes, shapes, apertures, what a
    user's table adds; not the orientation, flags, identifiers and positions."""
    kinds = {column.name: column.kind for column in alhambra_columns()}
    left_out = {"theta", *bands, *(f"d{band}" for band in bands)}
    names = (name for name in inputs_of(table) if name not in left_out)
    return tuple(name for name in names if kinds.get(name, "shape") in ("shape", "aperture"))


def detection(part: Catalogue, bands: Sequence[str]) -> str:
    """Of some bands that in which most objects were detected, of several the last; "" without bands."""
    seen = [np.sum(np.abs(np.asarray(part.table[band])) < 50) for band in bands]
    return bands[len(bands) - 1 - int(np.argmax(seen[::-1]))] if bands else ""


def bands_of(part: Catalogue) -> list[str]:
    """Those of the catalogue's bands whose magnitudes have errors."""
    return [str(band) for band in part.bands if f"d{band}" in inputs_of(part.table)]


def compressed(table, names: Sequence[str]) -> NDArray:
    """The inverse hyperbolic sine of columns (N, len(names)), a logarithm for what spans decades; NaN for 99, -99."""
    x = columns(table, names)
    return np.where(np.abs(x) == 99, np.nan, np.arcsinh(x)).astype(np.float32)


def spans(x: Tensor) -> Tensor:
    """1 and 99 % of each column of training inputs x (N, n), gaps left out: (2, n). Of many rows every few will do."""
    few = x[:: len(x) // 20_000 + 1]
    return few.nanquantile(torch.tensor([0.01, 0.99]).to(few), dim=0)


def depths(table, bands: Sequence[str]) -> NDArray:
    """Typical 1-sigma flux (B,) of each band (zero point 30), from a training table.

    Raises DataError for a missing column and a band without detections.
    """
    _, error, _, flux = _measured(table, bands)
    sigma = flux * error / POGSON
    sigma[~(sigma > 0)] = np.nan
    if (empty := np.isnan(sigma).all(axis=0)).any():
        band = bands[empty.argmax()]
        raise DataError(f"band {band!r} has no detection with an error above 0", remedy="Leave the band out.", row=band)
    return np.nanmedian(sigma, axis=0)


def photometry(table, bands: Sequence[str], depth: NDArray, kind: str = "asinh") -> NDArray:
    """Features (N, F), float32, of magnitudes and their errors in `bands`, of one of three kinds.

    magnitudes : as the thesis clips them, each with its error: F = 2 B.
    colours : differences of neighbouring clipped magnitudes, one magnitude, and the errors: F = 2 B.
    asinh : asinh magnitudes (Lupton+ 1999, 1999AJ....118.1406L), which go on through zero flux, relative to their mean;
        the mean; and the log errors: F = 2 B + 1. A band that was not observed is NaN with an error of 10 mag.
    depth : (B,) of `depths`: the softening b, and the error where it is not given.
    """
    m, error, seen, flux = _measured(table, bands)
    if kind != "asinh":
        m, error = clipped(m), clipped(error)
        out = {"magnitudes": [m, error], "colours": [-np.diff(m, axis=1), m[:, -1:], error]}
        return np.hstack(out[kind]).astype(np.float32)
    observed = m != -99
    limit = np.where((error > 10) & (error < 50), _flux(np.clip(error, 10, 50)), depth)
    sigma = np.where(error > 0, flux * error / POGSON, depth)  # also where a detection's error is not given
    sigma = np.where(seen, np.maximum(sigma, 1e-3 * flux), limit)
    mu = ZERO_POINT - POGSON * (np.arcsinh(flux / (2 * depth)) + np.log(depth))
    mu = np.where(observed, mu, np.nan)
    n = observed.sum(axis=1, keepdims=True)
    mean = np.nansum(mu, axis=1, keepdims=True) / np.maximum(n, 1)
    log_error = np.log10(POGSON * sigma / np.hypot(flux, 2 * depth))
    return np.hstack([mu - mean, mean, np.where(observed, log_error, 1.0)]).astype(np.float32)


def _measured(table, bands: Sequence[str]) -> tuple[NDArray, ...]:
    """Magnitudes (N, B) with errors, whether they are detections, and fluxes, 0 where they are none."""
    m, error = columns(table, bands), columns(table, [f"d{band}" for band in bands])
    seen = np.abs(m) < 50
    return m, error, seen, np.where(seen, _flux(np.where(seen, m, 99)), 0.0)


def _flux(m: NDArray) -> NDArray:
    return 10 ** (-0.4 * (m - ZERO_POINT))
