"""Hydrogen between a source and us: the mean share of its ultraviolet light that arrives."""

import numpy as np

LYMAN_LIMIT = 911.753  # Angstrom
LYMAN_ALPHA = LYMAN_LIMIT * 4 / 3
# Inoue+ 2014 (2014MNRAS.442.1805I), table 2: depth of the lines to n = 2 ... 40 of the Lyman series in the forest and
# in damped systems, over that of Lyman alpha; at these n, between them a power law is right to 0.2 %.
_N = np.array([2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 40])
_FOREST = np.array([1, 0.27769, 0.1325, 0.07806, 0.05153, 0.02728, 0.01682, 0.007079, 0.00385, 0.001637, 0.000894])
_DAMPED = np.array([1, 0.9557, 0.9262, 0.9031, 0.8837, 0.8517, 0.8253, 0.7733, 0.7327, 0.6693, 0.6195])
# Equations 21 and 22: depth of Lyman alpha in hydrogen at 1 + z: factor and power from these values of 1 + z on.
_FOREST_FROM, _FOREST_LAW = np.array([2.2, 5.7]), np.array([(1.690e-2, 1.2), (2.354e-3, 3.7), (1.026e-4, 5.5)])
_DAMPED_FROM, _DAMPED_LAW = np.array([3.0]), np.array([(1.617e-4, 2.0), (5.390e-5, 3.0)])
THICKEST = 14.0  # more is no different, and numbers stay above what float32 can hold


def transmission(wave_obs: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Share (N, L) of the light at `wave_obs` (L,) or (N, L) [vacuum A] of sources at `z` (N,) that arrives.

    Inoue+ 2014's mean over lines of sight: lines and continuum of the Lyman series, in the forest and in damped
    systems; depths end at `THICKEST`. For z up to 6 and wavelengths of 912 A or more (shorter ones count as 912 A).
    """
    z = np.atleast_1d(np.asarray(z, float))[:, None]
    wave = np.broadcast_to(wave_obs, np.broadcast_shapes(np.shape(wave_obs), z.shape)).astype(float)
    depth = np.zeros(wave.shape)
    touched = wave < LYMAN_ALPHA * (1 + z)
    x, of_source = wave[touched] / LYMAN_LIMIT, np.broadcast_to(1 + z, wave.shape)[touched]
    depth[touched] = _lines(x, of_source) + _continuum(np.maximum(x, 1), of_source) * (x < of_source)
    return np.exp(-np.minimum(depth, THICKEST))


def _lines(x: np.ndarray, of_source: np.ndarray) -> np.ndarray:
    """Depth (M,) of all lines at x, the wavelength over the Lyman limit, for a source at 1 + z."""
    depth = np.zeros(x.shape)
    for n in range(2, 41):
        at = x * (1 - n**-2.0)  # 1 + z of the hydrogen
        seen = np.flatnonzero((at < of_source) & (at > 1))
        parts = ((_FOREST, _FOREST_FROM, _FOREST_LAW), (_DAMPED, _DAMPED_FROM, _DAMPED_LAW))
        for strengths, begins, law in parts:
            factor, power = law[np.searchsorted(begins, at[seen], side="right")].T
            strength = np.exp(np.interp(np.log(n), np.log(_N), np.log(strengths)))
            depth[seen] += strength * factor * at[seen] ** power
    return depth


def _continuum(x: np.ndarray, of_source: np.ndarray) -> np.ndarray:
    """Depth (M,) of the ionised hydrogen's continuum: equations 25 to 29 of Inoue+ 2014, 1 <= x < `of_source`."""
    s = of_source
    early = 0.325 * (x**1.2 - s**-0.9 * x**2.1)
    middle = 2.55e-2 * s**1.6 * x**2.1 + np.where(x < 2.2, 0.325 * x**1.2 - 0.250 * x**2.1, -2.55e-2 * x**3.7)
    late = 5.22e-4 * s**3.4 * x**2.1 + np.select(
        [x < 2.2, x < 5.7],
        [0.325 * x**1.2 - 3.14e-2 * x**2.1, 0.218 * x**2.1 - 2.55e-2 * x**3.7],
        -5.22e-4 * x**5.5,
    )
    forest = np.select([s < 2.2, s < 5.7], [early, middle], late)
    few = 0.211 * s**2 - 7.66e-2 * s**2.3 * x**-0.3 - 0.135 * x**2
    many = 4.70e-2 * s**3 - 1.78e-2 * s**3.3 * x**-0.3
    many = many + np.where(x < 3.0, 0.634 - 0.135 * x**2 - 0.291 * x**-0.3, -2.92e-2 * x**3)
    return forest + np.where(s < 3.0, few, many)
