"""The ALHAMBRA survey on the mock sky: its bands, depth and noise, and a catalogue with the survey's own columns.

ALHAMBRA (Moles+ 2008, 2008AJ....136.1325M) saw 2.8 deg2 in 20 contiguous medium bands and J, H, Ks; objects are found
in F814W, an image made of the reddest of them (Molino+ 2014, 2014MNRAS.441.2891M). `catalogue` observes the galaxies of
`sky.deep` and the stars of `sky.stars` with them. It ends where observation ends: labels that are fitted to the
photometry (zb_1, tb_1, Stell_Mass_1 ...) are added by `paper_utils.alhambra.template_fit.label`.

Simplified: objects are spread at random and never blend; X-ray sources and saturated stars are marked, not made;
each CCD has its own depth and zero points, but no structure within.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from astropy.table import Table, vstack
from scipy.special import expit

from paper_utils.base.columns import alhambra_names
from paper_utils.base.containers import Catalogue
from paper_utils.base.distances import kpc_per_arcsec
from paper_utils.base.errors import DataError
from paper_utils.base.filters import Curves
from paper_utils.sky import deep, light, sequence, stars
from paper_utils.sky.populations import Populations

N_OBJECTS = 446_343
# Centre and full width at half maximum [Angstrom] of the response (Aparicio Villegas+ 2010, 2010AJ....139.1242V;
# centres of half power in the published curves), and the magnitude that a point source has at 5 sigma in 3 arcsec: 24
# and a little more in the blue, falling beyond 7500 Angstrom (after Molino+ 2014; single values by hand, +- 0.3).
BANDS = {
    "F365W": (3653, 279, 23.8), "F396W": (3936, 330, 24.2), "F427W": (4238, 342, 24.2), "F458W": (4578, 332, 24.1),
    "F489W": (4917, 356, 24.2), "F520W": (5232, 326, 24.1), "F551W": (5517, 297, 23.9), "F582W": (5817, 324, 23.9),
    "F613W": (6136, 320, 24.0), "F644W": (6469, 357, 23.9), "F675W": (6789, 314, 23.8), "F706W": (7077, 332, 23.8),
    "F737W": (7391, 304, 23.6), "F768W": (7702, 354, 23.5), "F799W": (8021, 311, 23.2), "F830W": (8298, 296, 23.0),
    "F861W": (8618, 369, 22.8), "F892W": (8924, 303, 22.6), "F923W": (9216, 308, 22.3), "F954W": (9489, 319, 22.0),
    "J": (12084, 2459, 23.0), "H": (16474, 2665, 22.6), "KS": (21506, 3040, 22.1), "F814W": (8080, 1900, 24.8),
}  # fmt: skip
NAMES = tuple(BANDS)
LIMITS = np.array([limit for _, _, limit in BANDS.values()])
# Columns of the public csv that describe what was observed, in its order (Cacho 2020, appendix A.3).
COLUMNS = alhambra_names("input")
UNDETECTED, UNOBSERVED = 99.0, -99.0
PIXEL, SIDE = 0.221, 4096  # arcsec and pixels of a CCD
SEEING = 1.0  # arcsec, full width at half maximum in F814W
DETECTION = (24.95, 0.15)  # half of all objects of this F814W are found, and the width of the edge: complete to 24.5
FAINTEST = 25.7
# Stars among all objects. By their counts half of them are brighter than 22.5, where the survey tells them from
# galaxies: these are the 1.9 % that its catalogue flags (Cacho 2020, table 4.1: 429 of 22 318).
STAR_SHARE = 0.038
ZERO_POINT = 0.02  # mag, of each band and CCD; in the survey's error budget, not in its errors
# Fields, centres [deg] and their pointings, of four CCDs each.
FIELDS = {
    2: (22.568, 4.261, (1, 2)), 3: (139.083, 46.039, (2,)), 4: (150.0, 2.086, (1,)), 5: (188.75, 61.95, (1,)),
    6: (214.161, 52.414, (1, 2)), 7: (243.042, 54.504, (3, 4)), 8: (356.458, 15.585, (1, 2)),
}  # fmt: skip


@lru_cache(maxsize=1)
def curves() -> Curves:
    """The 24 bands as trapezoids: name -> (wavelength [vacuum Angstrom], response per photon)."""
    # Edges fall from 90 to 10 % within 20 Angstrom in the optical and 120 in J, H and Ks.
    edges = {"J": 150.0, "H": 180.0, "KS": 250.0, "F814W": 300.0}
    return {name: trapezoid(centre, width, edges.get(name, 25.0)) for name, (centre, width, _) in BANDS.items()}


@lru_cache(maxsize=1)
def jpas_curves() -> Curves:
    """The 56 bands of J-PAS (Benitez+ 2009, 2009ApJ...691..241B): 54 narrow ones and a broad one at either end.

    Narrow: 145 Angstrom wide every 100 from 3800 to 9100. Broad: uJAVA, and J1007, whose red side is the detector's
    (both by hand). In order of wavelength.
    """
    narrow = {f"J{centre // 10:04d}": trapezoid(centre, 145, 20.0) for centre in range(3800, 9101, 100)}
    return {"uJAVA": trapezoid(3485, 495, 40.0)} | narrow | {"J1007": trapezoid(9500, 800, 100.0)}


def trapezoid(centre: float, width: float, edge: float) -> tuple[np.ndarray, np.ndarray]:
    """A band of full `width` at half maximum whose sides rise over `edge`; all in Angstrom."""
    half = np.array([-width - edge, -width + edge, width - edge, width + edge]) / 2
    return centre + half, np.array([0.0, 1.0, 1.0, 0.0])


@lru_cache(maxsize=1)
def light_table(ssps: Populations) -> light.LightTable:
    """The table from which magnitudes in these bands are taken."""
    return light.light_table(ssps, curves())


def catalogue(n: int, ssps: Populations, seed: int = 0) -> Catalogue:
    """`n` objects of the mock survey in the columns of the public csv (`COLUMNS`), magnitudes AB.

    99 is a flux below one sigma (its error is then the magnitude of one sigma), -99 no observation (error 0). Angles in
    degrees; x, y, a, b, rf in pixels of 0.221 arcsec, area in square pixels, fwhm in arcsec.
    truth: z, is_star, log_mstar, sed_type (`sky.sequence`), m_abs (AB, Johnson B), f814w (total, noiseless), g_i of
    stars, and the columns of `galaxies.draw`; what stars do not have is 0 ("none"). `bands` are the 24 magnitudes.
    table.meta["area_deg2"] is the area of sky that holds them. The same arguments give the same catalogue.
    Raises DataError if n < 10.
    """
    if n < 10:
        raise DataError(f"{n} objects make no catalogue", remedy="Ask for ten or more.")
    rng = np.random.default_rng(seed)
    n_stars = max(round(STAR_SHARE * n), 1)
    truth, mags, area = deep.draw(n - n_stars, rng, light_table(ssps), "F814W", FAINTEST, detection)
    truth["sed_type"], truth["m_abs"] = sequence.rest_properties(truth, ssps)
    star_mags, g_i = _stars(rng, n_stars)
    truth["g_i"] = 0.0
    of_stars = Table(np.zeros(n_stars, truth.dtype))
    of_stars["agn_class"], of_stars["g_i"] = "none", g_i
    truth = vstack([truth, of_stars], metadata_conflicts="silent")
    truth["is_star"] = np.arange(n) >= n - n_stars
    mags = np.concatenate([mags, star_mags])
    order = rng.permutation(n)
    truth, mags = truth[order], mags[order]
    truth["f814w"] = mags[:, -1]
    table = _observe(rng, truth, mags)
    table.meta |= {"survey": "ALHAMBRA, mock", "seed": seed, "area_deg2": float(area)}
    ids = np.asarray(table["objID"]).astype(str)
    return Catalogue(table=table, bands=np.array(NAMES), ids=ids, truth=truth)


def detection(f814w: np.ndarray) -> np.ndarray:
    """Probability that an object of this magnitude is found."""
    return expit((DETECTION[0] - f814w) / DETECTION[1])


def noise(mags: np.ndarray, radius: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Standard deviations (N, B) of the fluxes of objects of `mags` (N, B), in units of flux at magnitude 0.

    The sky of an aperture 3 arcsec wide, or as wide as the object asks: radius (N,) [arcsec]; and the object's own
    photons, as many as the sky's at magnitude 21. depth : (N, B) 5 sigma limits.
    """
    sky = 10 ** (-0.4 * depth) / 5 * np.maximum(radius / 1.5, 1)[:, None]
    return sky * np.sqrt(1 + 10 ** (-0.4 * (mags - 21)))


def measured(flux: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Magnitudes and errors of fluxes as the survey writes them: 2.5 log(1 + 1 / SNR), 99 below one sigma."""
    seen = flux > sigma
    safe = np.where(seen, flux, 1.0)
    mag = np.where(seen, -2.5 * np.log10(safe), UNDETECTED)
    return mag, np.where(seen, 2.5 * np.log10(1 + sigma / safe), -2.5 * np.log10(sigma))


def _stars(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    parts, found = [], 0
    while found < n:
        m, colour = stars.draw(rng, 2 * n + 10, FAINTEST)
        keep = rng.random(len(m)) < detection(m)
        parts.append((m[keep], colour[keep]))
        found += keep.sum()
    m, colour = (np.concatenate(part)[:n] for part in zip(*parts, strict=True))
    mags = stars.magnitudes(colour, curves(), rng)
    return mags - mags[:, -1:] + m[:, None], colour


def _observe(rng: np.random.Generator, truth: Table, mags: np.ndarray) -> Table:
    """The table of what is measured of objects with these total magnitudes (N, B)."""
    n, n_bands = mags.shape
    chips = [(field, tile, ccd) for field, (*_, tiles) in FIELDS.items() for tile in tiles for ccd in range(1, 5)]
    chip = rng.integers(len(chips), size=n)
    depth = LIMITS + 0.12 * rng.standard_normal((len(chips), n_bands))
    zero = ZERO_POINT * rng.standard_normal((len(chips), n_bands))
    seeing = SEEING * np.exp(0.08 * rng.standard_normal(len(chips)))[chip]
    table = _positions(rng, np.array(chips), chip)
    shape = _shapes(rng, truth, mags[:, -1], seeing)

    sigma = noise(mags, 2.0 * shape["rf"] * PIXEL, depth[chip])
    flux = 10 ** (-0.4 * (mags + zero[chip])) + sigma * rng.standard_normal(mags.shape)
    # F814W is the image in which objects are found: none is without it.
    flux[:, -1] = np.maximum(flux[:, -1], 1.2 * sigma[:, -1])
    mag, error = measured(flux, sigma)
    missing = rng.random(mags.shape) < np.where(np.char.isalpha(NAMES), 0.02, 0.004)
    missing[:, -1] = False
    mag[missing], error[missing] = UNOBSERVED, 0.0
    for b, name in enumerate(NAMES):
        table[name], table["d" + name] = mag[:, b], error[:, b]
    table |= shape
    table["s2n"] = flux[:, -1] / sigma[:, -1]
    table |= _aperture(rng, mag[:, -1], error[:, -1], shape["rf"] * PIXEL, seeing)
    edge = np.minimum.reduce([table["x"], table["y"], SIDE - table["x"], SIDE - table["y"]])
    table["PercW"] = np.clip(edge / 100, 0.3, 1) * rng.beta(60, 1, n)
    table["photoflag"] = np.select([rng.random(n) < 0.10, rng.random(n) < 0.08], [2, 3], 0)
    table["Satur_Flag"] = (mags[:, -1] < 16.5).astype(int)
    table["nfobs"] = n_bands - missing.sum(axis=1)
    table["xray"] = (rng.random(n) < np.where(np.asarray(truth["agn_class"]) == "seyfert", 0.05, 0.001)).astype(int)
    return Table({name: table[name] for name in COLUMNS})


def _positions(rng: np.random.Generator, chips: np.ndarray, chip: np.ndarray) -> dict[str, np.ndarray]:
    """Names and places: 814, field, pointing (2 digits), CCD, running number (5), as the survey numbers its objects."""
    n = len(chip)
    field, pointing, ccd = chips[chip].T
    order = np.argsort(chip, kind="stable")
    start = np.searchsorted(chip[order], np.arange(len(chips)))
    number = np.empty(n, int)
    number[order] = np.arange(n) - start[chip[order]] + 1
    x, y = rng.uniform(1, SIDE, (2, n))
    centre = np.array([FIELDS[f][:2] for f in chips[:, 0]])[chip]
    # CCDs lie at the corners of a square as wide as two of them; pointings of a field side by side.
    side = SIDE * PIXEL / 3600
    east = (np.array([-1, 1, 1, -1])[ccd - 1] + 0.25 * (pointing - 2)) * side + (x / SIDE - 0.5) * side
    north = np.array([-1, -1, 1, 1])[ccd - 1] * side + (y / SIDE - 0.5) * side
    dec = centre[:, 1] + north
    return {
        "id": np.arange(1, n + 1),
        "objID": ((814 * 10 + field) * 100 + pointing) * 10**6 + ccd * 10**5 + number,
        "Field": field, "Pointing": pointing, "CCD": ccd, "RAdeg": centre[:, 0] + east / np.cos(np.radians(dec)),
        "DECdeg": dec, "x": x, "y": y,
    }  # fmt: skip


def _shapes(rng: np.random.Generator, truth: Table, f814w: np.ndarray, seeing: np.ndarray) -> dict[str, np.ndarray]:
    """What SExtractor says of an object's form, from its size, its inclination, the seeing and the noise."""
    n = len(truth)
    star, z = np.asarray(truth["is_star"]), np.asarray(truth["z"], float)
    half_light = np.where(star, 0.0, np.asarray(truth["r_e"], float) / kpc_per_arcsec(np.maximum(z, 1e-3)))
    # Half of a Gaussian's light lies within half its full width; peaked profiles look narrower than their light.
    width = np.hypot(seeing, 1.4 * half_light)
    snr = 5 * 10 ** (0.4 * (LIMITS[-1] - f814w))
    error = np.hypot(0.02, 0.8 / np.maximum(snr, 3))
    fwhm = width * np.exp(error * rng.standard_normal(n))
    radius = np.hypot(seeing / 2, half_light)
    axis_ratio = np.where(star, 0.98, np.sqrt(np.cos(np.radians(truth["inclination"])) ** 2 * 0.96 + 0.04))
    # Seeing rounds: variances add along each axis.
    minor = np.hypot(seeing / 2, half_light * axis_ratio) / radius
    minor = np.clip(minor * np.exp(-np.abs(error * rng.standard_normal(n))), 0.1, 1)
    a = 1.1 * radius / PIXEL * np.exp(0.5 * error * rng.standard_normal(n))
    # The isophote of the survey's detection, 1.3 sigma of the sky, lies further out the brighter an object is.
    reach = 1.2 + 0.5 * np.log(np.maximum(snr, 3))
    # A classifier's answer goes from certain to undecided as noise comes up to the difference it looks at.
    contrast = np.log(fwhm / seeing)
    rf = radius / PIXEL * np.exp(0.5 * error * rng.standard_normal(n))
    return {
        "fwhm": fwhm, "stell": expit((0.12 - contrast) / np.hypot(0.03, 1.5 * error)), "ell": 1 - minor, "a": a,
        "b": a * minor, "theta": rng.uniform(-90, 90, n), "rf": rf,
        "rk": np.clip(3.5 + 0.6 * rng.standard_normal(n), 2.5, 8), "area": np.round(np.pi * a**2 * minor * reach**2),
    }  # fmt: skip


def _aperture(rng, mag, error, radius, seeing) -> dict[str, np.ndarray]:
    """F814W in an aperture of 3 arcsec, its error, and corrected for what a point source loses."""
    share = -np.expm1(-np.log(2) * (1.5 / radius) ** 2)
    point = -np.expm1(-np.log(2) * (1.5 / (seeing / 2)) ** 2)
    inside = mag - 2.5 * np.log10(share) + 0.3 * error * rng.standard_normal(len(mag))
    return {"F814W_3arcs": inside, "dF814W_3arcs": error, "F814W_3arcs_corr": inside + 2.5 * np.log10(point)}
