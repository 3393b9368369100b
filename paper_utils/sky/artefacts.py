"""What spoils stamps of real surveys: trails of saturated stars and of satellites, corners beyond the edge of a frame.

How many there are and how bright they are is by hand; a few per cent of stamps of real surveys have one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

KINDS = {"bleed trail": 0.01, "satellite": 0.01, "missing corner": 0.01}  # share of stamps


class Artefacts(NamedTuple):
    """What is wrong with N stamps: `kind` (N,), "none" or one of KINDS, and numbers from 0 to 1 that say how.

    where : (N, 4).   band : (N, B), 1 where a trail is and 0 elsewhere.
    """

    kind: np.ndarray
    where: np.ndarray
    band: np.ndarray


def draw(rng: np.random.Generator, n: int, n_bands: int) -> Artefacts:
    """Artefacts of `n` stamps. Bleed trails are in all bands, satellites, which pass within seconds, in one."""
    kind = rng.choice(["none", *KINDS], n, p=[1 - sum(KINDS.values()), *KINDS.values()])
    one = rng.integers(n_bands, size=(n, 1)) == np.arange(n_bands)
    return Artefacts(kind, rng.random((n, 4)), one | (kind != "satellite")[:, None])


def add_trails(image: torch.Tensor, found: Artefacts, sigma: np.ndarray, core_var: np.ndarray) -> None:
    """Trails added to stamps (N, B, H, W) in place: 100 to 3000 or 5 to 50 times the noise `sigma` (N, B) of a pixel.

    Charge bleeds along columns, within a pixel or two; a satellite is as wide as the PSF, `core_var` (N, B) [pixels^2].
    """
    rows = np.flatnonzero(np.isin(found.kind, ("bleed trail", "satellite")))
    if not rows.size:
        return
    bleeds = (found.kind[rows] == "bleed trail")[:, None]
    turn, x, y, power = found.where[rows].T[..., None, None]
    turn = np.where(bleeds[..., None], np.pi / 2, np.pi * turn)
    size = image.shape[-1]
    at = np.arange(size) - (size - 1) / 2
    across = (at - 0.8 * size * (x - 0.5)) * np.sin(turn) - (at[:, None] - 0.8 * size * (y - 0.5)) * np.cos(turn)
    width = np.where(bleeds, (0.5 + y[:, 0]) ** 2, core_var[rows])
    peak = np.where(bleeds, 100 * 30 ** power[:, 0], 5 * 10 ** power[:, 0]) * sigma[rows] * found.band[rows]
    light = peak[..., None, None] * np.exp(-(across[:, None] ** 2) / (2 * width[..., None, None]))
    image[torch.as_tensor(rows, device=image.device)] += torch.as_tensor(light, dtype=image.dtype, device=image.device)


def cut_corners(image: torch.Tensor, found: Artefacts) -> None:
    """What lies beyond the edge of a frame set to exactly 0 in place, in all bands, as in surveys' files."""
    rows = np.flatnonzero(found.kind == "missing corner")
    size = image.shape[-1]
    at = np.arange(size) - (size - 1) / 2
    corner, tilt, edge, _ = found.where[rows].T[..., None, None]
    turn = np.pi / 2 * (np.floor(4 * corner) + 0.25 + 0.5 * tilt)
    beyond = at * np.cos(turn) + at[:, None] * np.sin(turn) > size * (0.35 + 0.2 * edge)
    image[torch.as_tensor(rows, device=image.device)] *= torch.as_tensor(~beyond, device=image.device)[:, None]
