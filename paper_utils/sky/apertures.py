"""Where the light of bulge, disc and bar lies, and how much of each a fibre takes.

Bulge and disc share the Sersic profile of the truth (`n_sersic`, half-light radius `r_e`) as Gaussians: the bulge is
its inner part, up to `b_t`, the disc is the rest. A bar holds some of the disc's light. Images draw the same Gaussians.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from astropy.table import Table

from paper_utils.base.constants import FWHM
from paper_utils.base.distances import kpc_per_arcsec
from paper_utils.sky import light_profiles
from paper_utils.sky.populations import checked

FIBRE_RADIUS, SEEING = 1.5, 1.4  # arcsec (York+ 2000); full width at half maximum, as in SDSS's images in r
# Thickness of discs (as for their dust in `galaxies`) and of bulges; that of discs grows with the bulge, which makes
# early types round.
THICK_DISC, THICK_BULGE = 0.2, 0.65
# Bars: Gaussians, for their profiles are flat with sharp ends (n = 0.7: Gadotti 2011, 2011MNRAS.415.3308G); dispersion
# along them over R_e, axis ratio in the plane of the disc (both by hand).
BAR_LENGTH, BAR_WIDTH = 0.45, 0.3
# Gas that young stars light reaches to the centre, through the bulge: it follows the light of all stars, a little wider
# (1.1 times: Nelson+ 2016, 2016ApJ...828...27N, at z = 1; SDSS's fibres hold as much of it, Brinchmann+ 2004).
GAS_WIDTH = 1.1
# Columns of shape in the truth table and the range of each, in addition to those of starlight and gas.
RANGES = {
    "r_e": (1e-3, 1e3), "n_sersic": light_profiles.N_SERSIC, "b_t": (0, 1), "inclination": (0, 90), "quiescent": (0, 1),
    "bar": (0, 1),
}  # fmt: skip


class Shape(NamedTuple):
    """Of N galaxies: shares of the light of bulge and disc (N, K) in Gaussians of dispersion `sigma` (N, K) [R_e,
    round], their axis ratios on the sky (N,), and the bar's share of the disc's light (N,)."""

    sigma: np.ndarray
    bulge: np.ndarray
    disc: np.ndarray
    q_bulge: np.ndarray
    q_disc: np.ndarray
    bar: np.ndarray


def shape(p: dict[str, np.ndarray]) -> Shape:
    """The smooth light of galaxies with the columns of `RANGES`."""
    share, sigma = light_profiles.sersic(p["n_sersic"])
    bulge = np.clip(p["b_t"][:, None] - (np.cumsum(share, axis=1) - share), 0, share)  # the inner ones, up to b_t
    parts = (part / np.maximum(part.sum(axis=1, keepdims=True), 1e-9) for part in (bulge, share - bulge))
    cos_i = np.cos(np.radians(p["inclination"]))
    thick = THICK_DISC + (THICK_BULGE - THICK_DISC) * p["b_t"] ** 2
    q = (np.sqrt(cos_i**2 + t**2 * (1 - cos_i**2)) for t in (THICK_BULGE, thick))
    return Shape(sigma, *parts, *q, in_bar(p))


def in_bar(p: dict[str, np.ndarray]) -> np.ndarray:
    """The bar's share of the disc's light, (N,)."""
    return np.minimum(p["bar"] / np.maximum(1 - p["b_t"], 1e-9), 1)


def bar(inclination: np.ndarray, angle: np.ndarray | float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bars on the sky: dispersion along the major axis [R_e], axis ratio, and angle of that axis from the disc's [rad].

    inclination [deg] and angle [rad], in the plane of the disc from its line of nodes : (N,).
    """
    # Second moments in the plane, and as they are foreshortened.
    cos_i = np.maximum(np.cos(np.radians(inclination)), THICK_DISC)
    long, wide = BAR_LENGTH**2, (BAR_WIDTH * BAR_LENGTH) ** 2
    c, s = np.cos(angle), np.sin(angle)
    xx, yy, xy = long * c**2 + wide * s**2, (long * s**2 + wide * c**2) * cos_i**2, (long - wide) * s * c * cos_i
    mean, apart = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    return np.sqrt(mean + apart), np.sqrt((mean - apart) / (mean + apart)), 0.5 * np.arctan2(2 * xy, xx - yy)


class Fibre(NamedTuple):
    """Shares (N,) of the light inside the fibre: of the bulge, of the disc and its bar, of the gas that young stars
    light, of all stars, and of a point in the middle, one number."""

    bulge: np.ndarray
    disc: np.ndarray
    young: np.ndarray
    stars: np.ndarray
    point: float


def fibre(truth: Table) -> Fibre:
    """What a fibre on a galaxy's centre takes of its parts, blurred by the seeing (one Gaussian).

    Exact for the smooth light that images show; a bar counts as one at 45 degrees from the line of nodes, knots as the
    disc's mean. Raises DataError for a senseless row.
    """
    p = checked(truth, RANGES, "A fibre")
    s, b_t = shape(p), p["b_t"]
    r_e = p["r_e"] / kpc_per_arcsec(np.asarray(truth["z"], float))

    def inside(sigma, q, share):
        major = (sigma * (r_e * light_profiles.stretch(q))[:, None]) ** 2 + (SEEING / FWHM) ** 2
        minor = (sigma * (r_e * light_profiles.stretch(q) * q)[:, None]) ** 2 + (SEEING / FWHM) ** 2
        return (share * _within(major, minor)).sum(axis=1)

    bulge, smooth = inside(s.sigma, s.q_bulge, s.bulge), inside(s.sigma, s.q_disc, s.disc)
    length, q_bar, _ = bar(p["inclination"], np.pi / 4)
    seeing = (SEEING / FWHM) ** 2
    of_bar = _within((length * r_e) ** 2 + seeing, (length * q_bar * r_e) ** 2 + seeing)
    disc = (1 - s.bar) * smooth + s.bar * of_bar
    point = -np.expm1(-(FIBRE_RADIUS**2) / (2 * seeing))
    gas = inside(GAS_WIDTH * s.sigma, s.q_disc, b_t[:, None] * s.bulge + (1 - b_t[:, None]) * s.disc)
    return Fibre(bulge, disc, gas, b_t * bulge + (1 - b_t) * disc, point)


def _within(major: np.ndarray, minor: np.ndarray) -> np.ndarray:
    """Share of elliptical Gaussians with these variances [arcsec^2] within the fibre's radius; any shape."""
    angle = (np.arange(12) + 0.5) * np.pi / 24  # the integral over radius is closed, that over angle smooth
    out = np.zeros(np.shape(major))
    for c2 in np.cos(angle) ** 2:
        steep = c2 / major + (1 - c2) / minor
        out -= np.expm1(-0.5 * FIBRE_RADIUS**2 * steep) / steep
    return out / (len(angle) * np.sqrt(major * minor))
