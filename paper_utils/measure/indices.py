"""Spectral indices of galaxies in the optical."""

from __future__ import annotations

import numpy as np

# Rest wavelengths [A, in air] of the break's two sides: Balogh+ 1999 (1999ApJ...527...54B).
DN4000 = ((3850.0, 3950.0), (4000.0, 4100.0))
VACUUM_PER_AIR = 1 + 2.83e-4  # at 4000 A


def dn4000(wave_obs: np.ndarray, flux: np.ndarray, z: np.ndarray) -> np.ndarray:
    """The 4000 A break, (N,): mean F_nu in 4000-4100 A over that in 3850-3950 A (air), in the rest frame.

    wave_obs (L,) vacuum A, increasing; flux (N, L) F_lambda, each value the mean over its pixel; z (N,). Pixels count
    with the part of them that lies inside. NaN where a side leaves the grid.
    """
    edges = 0.5 * (wave_obs[1:] + wave_obs[:-1])
    edges = np.concatenate([[2 * wave_obs[0] - edges[0]], edges, [2 * wave_obs[-1] - edges[-1]]])
    flux = np.atleast_2d(np.asarray(flux, float))
    # F_nu goes as F_lambda lambda^2; the integral up to each edge, (N, L + 1).
    total = np.pad(np.cumsum(flux * wave_obs**2 * np.diff(edges), axis=1), ((0, 0), (1, 0)))
    sides = np.multiply.outer(1 + np.atleast_1d(np.asarray(z, float)), VACUUM_PER_AIR * np.ravel(DN4000))  # (N, 4)
    at = np.interp(sides, edges, np.arange(edges.size), left=np.nan, right=np.nan)
    low = np.nan_to_num(at).astype(int).clip(0, edges.size - 2)
    below, above = (np.take_along_axis(total, low + step, axis=1) for step in (0, 1))
    integral = below + (at - low) * (above - below)
    return (integral[:, 3] - integral[:, 2]) / (integral[:, 1] - integral[:, 0])
