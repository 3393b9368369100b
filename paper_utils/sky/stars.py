"""Foreground stars: spectra along the stellar locus, for the star/galaxy question of surveys.

A spectrum is a photosphere of `sky.starlight` with the molecular bands of K and M dwarfs, times a smooth function of
wavelength that makes its colours those of the locus that SDSS and 2MASS measured (Covey+ 2007, 2007AJ....134.2398C).
Right in broad bands, plausible within them: 300 Angstrom wide bands see the breaks and the TiO bands, not single lines.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from paper_utils.base.filters import Curves, sdss_curves, two_mass_curves
from paper_utils.base.photometry import ab_magnitudes
from paper_utils.base.wavelengths import log_grid
from paper_utils.sky import starlight

# Covey+ 2007, table 1 (their catalogue's median locus): g-i, u-g, g-r, r-i, i-z, z-J, J-H, H-Ks; SDSS's own and Vega
# magnitudes.
LOCUS = np.array([
    (0.20, 1.06, 0.18, 0.03, -0.02, 0.77, 0.22, 0.06), (0.40, 1.07, 0.30, 0.10, 0.01, 0.81, 0.28, 0.06),
    (0.60, 1.25, 0.44, 0.16, 0.04, 0.87, 0.34, 0.07), (0.80, 1.56, 0.58, 0.21, 0.08, 0.95, 0.42, 0.08),
    (1.00, 1.90, 0.73, 0.27, 0.12, 1.01, 0.49, 0.10), (1.20, 2.17, 0.87, 0.32, 0.16, 1.07, 0.55, 0.11),
    (1.50, 2.46, 1.08, 0.41, 0.22, 1.13, 0.62, 0.13), (1.80, 2.61, 1.26, 0.54, 0.29, 1.18, 0.66, 0.16),
    (2.10, 2.62, 1.38, 0.71, 0.39, 1.23, 0.66, 0.19), (2.40, 2.59, 1.41, 0.98, 0.52, 1.30, 0.63, 0.22),
    (2.70, 2.61, 1.42, 1.28, 0.67, 1.38, 0.60, 0.25), (3.00, 2.61, 1.47, 1.52, 0.81, 1.48, 0.59, 0.27),
    (3.30, 2.60, 1.54, 1.75, 0.94, 1.57, 0.60, 0.30),
])  # fmt: skip
# AB minus these magnitudes in u g r i z J H Ks, as kcorrect adds it (Blanton & Roweis 2007, 2007AJ....133..734B).
TO_AB = np.array([-0.036, 0.012, 0.010, 0.028, 0.040, 0.91, 1.39, 1.85])
# Effective temperature [K] of the photosphere at g-i; it need only be near, the colours are set by the locus.
_TEMPERATURE = ((0.2, 0.6, 1.2, 2.0, 2.7, 3.3), (6900.0, 5800.0, 4700.0, 3900.0, 3300.0, 3000.0))
# Bands: head and end [Angstrom], depth at the head in the coolest stars, g-i where they set in. TiO, but for CN with
# Ca H and K at 3900, MgH at 5000 and CaH at 6750; after Kirkpatrick+ 1991 (1991ApJS...77..417K), depths by hand.
_MOLECULES = (
    (3800, 4010, 0.70, -1.0), (4950, 5220, 0.35, 1.0), (5847, 6058, 0.30, 1.6), (6158, 6390, 0.40, 1.6),
    (6651, 6750, 0.35, 1.6), (6750, 7050, 0.40, 1.6), (7053, 7270, 0.60, 1.6), (7589, 7861, 0.50, 1.8),
    (8206, 8569, 0.40, 2.1), (8859, 9060, 0.35, 2.1),
)  # fmt: skip
WAVE = log_grid(2900.0, 26000.0, kms=150.0)


@lru_cache(maxsize=1)
def spectra() -> np.ndarray:
    """F_lambda (13, L) of stars at the nodes of `LOCUS` on `WAVE` [vacuum Angstrom], in units of their mean."""
    colour = LOCUS[:, 0]
    flux = starlight.photospheres(np.interp(colour, *_TEMPERATURE), WAVE * 1e-4) / WAVE**2
    for head, end, depth, begins in _MOLECULES:
        depth = depth * np.clip((colour - begins) / (3.3 - begins), 0, 1)[:, None]
        # Degraded to the red: deepest at the head.
        flux = flux * (1 - depth * np.where((head <= WAVE) & (end > WAVE), (end - WAVE) / (end - head), 0) ** 0.5)
    curves = sdss_curves() | two_mass_curves()
    wanted = TO_AB - np.cumsum(np.insert(LOCUS[:, 1:], 0, 0, axis=1), axis=1)  # u = 0
    at = np.log([np.average(wave, weights=response) for wave, response in curves.values()])
    for _ in range(30):
        off = wanted - ab_magnitudes(WAVE, flux, curves)
        flux *= 10 ** (-0.4 * np.stack([np.interp(np.log(WAVE), at, row) for row in off]))
    return flux / flux.mean(axis=1, keepdims=True)


def at(colour: np.ndarray, wave: np.ndarray) -> np.ndarray:
    """F_lambda (N, L), in any unit, of stars of `colour` g-i (N,) at `wave` (L,) [vacuum Angstrom]."""
    nodes = np.log([np.interp(wave, WAVE, row) for row in spectra()])
    place = np.interp(colour, LOCUS[:, 0], np.arange(len(LOCUS)))
    left = np.minimum(place.astype(int), len(LOCUS) - 2)
    part = (place - left)[:, None]
    return np.exp((1 - part) * nodes[left] + part * nodes[left + 1])


def draw(rng: np.random.Generator, n: int, faint: float) -> tuple[np.ndarray, np.ndarray]:
    """F814W magnitudes and g-i colours, (n,) each, of stars far from the Galactic plane, brighter than `faint`.

    By hand, to look like published counts: 10^(0.1 m) from m = 16, turn-off stars of halo and thick disc around
    g-i = 0.6, K and M dwarfs of the disc around 2.3, the latter gaining with magnitude.
    """
    low, high = 10**1.6, 10 ** (0.1 * faint)
    m = 10 * np.log10(low + (high - low) * rng.random(n))
    kind = rng.random(n)
    dwarfs = np.interp(m, [17, 24], [0.30, 0.60])
    colour = np.where(kind < dwarfs, rng.normal(2.3, 0.45, n), rng.normal(0.6, 0.15, n))
    colour = np.where((kind >= dwarfs) & (kind < dwarfs + 0.2), rng.uniform(0.5, 2.0, n), colour)
    return m, np.clip(colour, LOCUS[0, 0], LOCUS[-1, 0])


def locus(curves: Curves, n: int = 63) -> np.ndarray:
    """AB magnitudes (n, B), up to a constant each, of stars all along the locus."""
    return magnitudes(np.linspace(LOCUS[0, 0], LOCUS[-1, 0], n), curves)


def magnitudes(colour: np.ndarray, curves: Curves, rng: np.random.Generator | None = None) -> np.ndarray:
    """AB magnitudes (N, B), up to a constant each, of stars of `colour` g-i (N,); with `rng` off the locus a little.

    The locus is 0.02 mag wide in red colours and 0.1 mag in u-g, where stars of other metallicity lie.
    """
    nodes = ab_magnitudes(WAVE, spectra(), curves)
    out = np.stack([np.interp(colour, LOCUS[:, 0], column) for column in nodes.T], axis=1)
    if rng is not None:
        centre = np.array([np.average(wave, weights=response) for wave, response in curves.values()])
        blue = np.clip((4700 - centre) / 1100, 0, 1)
        out += 0.1 * rng.standard_normal((len(out), 1)) * blue + 0.015 * rng.standard_normal(out.shape)
    return out
