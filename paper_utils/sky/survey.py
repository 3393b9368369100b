"""Surveys of the mock sky in many bands: their depth and noise, and catalogues with ALHAMBRA's kind of columns.

`catalogue` observes the galaxies of `sky.deep`, the stars of `sky.stars` and the quasars of `sky.quasars` behind the
dust of the Milky Way. It ends where observation ends: labels that are fitted to the photometry (zb_1, tb_1,
Stell_Mass_1 ...) are added by `paper_utils.alhambra.template_fit.label`.

Simplified: objects are spread at random and never blend; X-ray sources and saturated stars are marked, not made;
each CCD has its own depth and zero points, but no structure within; a quasar shows nothing of its galaxy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
from astropy.table import Table
from scipy.special import expit

from paper_utils.base.columns import alhambra_names
from paper_utils.base.containers import Catalogue
from paper_utils.base.errors import DataError
from paper_utils.base.filters import Curves
from paper_utils.sky import foreground, light
from paper_utils.sky.bands import (
    DEPTH_SCATTER,
    UNOBSERVED,
    ZERO_POINT,
    Detection,
    half_light_radius,
    is_point,
    measured,
    objects,
)
from paper_utils.sky.populations import Populations


@dataclass(frozen=True, eq=False)
class Survey:
    """A survey and its camera of four CCDs.

    bands : name -> centre and full width at half maximum [Angstrom], and the AB magnitude that a point source has at 5
        sigma in 3 arcsec. In the last band objects are found.
    edges : Angstrom over which a band's sides rise from 10 to 90 %; of those not named 25.
    detection : which objects are found, by their magnitude in the last band.
    star_share : stars among all objects.
    fields : number -> right ascension and declination [deg], E(B-V), and the pointings.
    pixel, side : arcsec, and pixels of a CCD.   seeing : arcsec, full width at half maximum.   image : first digits of
        the objects' numbers.
    """

    name: str
    bands: Mapping[str, tuple[float, float, float]]
    detection: Detection
    star_share: float
    fields: Mapping[int, tuple[float, float, float, tuple[int, ...]]]
    pixel: float
    side: int
    image: int
    seeing: float = 1.0
    edges: Mapping[str, float] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.bands)

    @property
    def limits(self) -> np.ndarray:
        """5 sigma limits (B,)."""
        return np.array([limit for *_, limit in self.bands.values()])

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the table, in the order of ALHAMBRA's public csv."""
        names, found = alhambra_names("input"), self.names[-1]
        first, last = names.index("F365W"), names.index("F814W_3arcs")
        ours = [column for band in self.names for column in (band, f"d{band}")]
        return (*names[:first], *ours, *(name.replace("F814W", found) for name in names[last:]))

    @cached_property
    def curves(self) -> Curves:
        """The bands as trapezoids: name -> (wavelength [vacuum Angstrom], response per photon)."""
        return {name: trapezoid(*band[:2], self.edges.get(name, 25.0)) for name, band in self.bands.items()}


def trapezoid(centre: float, width: float, edge: float) -> tuple[np.ndarray, np.ndarray]:
    """A band of full `width` at half maximum whose sides rise over `edge`; all in Angstrom."""
    half = np.array([-width - edge, -width + edge, width - edge, width + edge]) / 2
    return centre + half, np.array([0.0, 1.0, 1.0, 0.0])


@lru_cache(maxsize=2)
def light_table(survey: Survey, ssps: Populations) -> light.LightTable:
    """The table from which magnitudes in a survey's bands are taken."""
    return light.light_table(ssps, survey.curves)


def catalogue(survey: Survey, n: int, ssps: Populations, seed: int = 0) -> Catalogue:
    """`n` objects of the mock survey in ALHAMBRA's columns (`Survey.columns`), magnitudes AB, as seen through dust.

    99 is a flux below one sigma (its error is then the magnitude of one sigma), -99 no observation (error 0). Angles in
    degrees; x, y, a, b, rf in pixels, area in square pixels, fwhm in arcsec.
    truth: z, is_star, is_quasar, log_mstar, sed_type (`sky.sequence`), m_abs (AB, Johnson B), f814w (total, noiseless,
    without reddening, in the band of detection), ebv (E(B-V) of the Milky Way), g_i of stars, and the columns of
    `galaxies.draw`; what stars and quasars do not have is 0 ("none"). `bands` are those of the survey.
    table.meta["area_deg2"] is the area of sky that holds them. The same arguments give the same catalogue.
    Raises DataError if n < 10.
    """
    if n < 10:
        raise DataError(f"{n} objects make no catalogue", remedy="Ask for ten or more.")
    rng = np.random.default_rng(seed)
    truth, mags, area = objects(rng, n, light_table(survey, ssps), survey.detection, survey.star_share)
    truth["f814w"] = mags[:, -1]
    fields = survey.fields.items()
    chips = np.array([(key, tile, ccd) for key, (*_, tiles) in fields for tile in tiles for ccd in range(1, 5)])
    chip = rng.integers(len(chips), size=n)
    truth["ebv"] = np.array([survey.fields[key][2] for key in chips[:, 0]])[chip]
    mags = mags + np.outer(truth["ebv"], foreground.extinction(survey.curves))
    table = _observe(rng, survey, truth, mags, chips, chip)
    table.meta |= {"survey": f"{survey.name}, mock", "seed": seed, "area_deg2": float(area)}
    ids = np.asarray(table["objID"]).astype(str)
    return Catalogue(table=table, bands=np.array(survey.names), ids=ids, truth=truth)


def noise(mags: np.ndarray, radius: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Standard deviations (N, B) of the fluxes of objects of `mags` (N, B), in units of flux at magnitude 0.

    The sky of an aperture 3 arcsec wide, or as wide as the object asks: radius (N,) [arcsec]; and the object's own
    photons, as many as the sky's at magnitude 21. depth : (N, B) 5 sigma limits.
    """
    sky = 10 ** (-0.4 * depth) / 5 * np.maximum(radius / 1.5, 1)[:, None]
    return sky * np.sqrt(1 + 10 ** (-0.4 * (mags - 21)))


def _observe(rng, survey: Survey, truth: Table, mags: np.ndarray, chips: np.ndarray, chip: np.ndarray) -> Table:
    """The table of what is measured of objects with these total magnitudes (N, B)."""
    n, n_bands = mags.shape
    depth = survey.limits + DEPTH_SCATTER * rng.standard_normal((len(chips), n_bands))
    zero = ZERO_POINT * rng.standard_normal((len(chips), n_bands))
    seeing = survey.seeing * np.exp(0.08 * rng.standard_normal(len(chips)))[chip]
    table = _positions(rng, survey, chips, chip)
    shape = _shapes(rng, survey, truth, mags[:, -1], seeing)

    sigma = noise(mags, 2.0 * shape["rf"] * survey.pixel, depth[chip])
    flux = 10 ** (-0.4 * (mags + zero[chip])) + sigma * rng.standard_normal(mags.shape)
    # None is without the band in which it was found.
    flux[:, -1] = np.maximum(flux[:, -1], 1.2 * sigma[:, -1])
    mag, error = measured(flux, sigma)
    missing = rng.random(mags.shape) < np.where([centre > 1e4 for centre, *_ in survey.bands.values()], 0.02, 0.004)
    missing[:, -1] = False
    mag[missing], error[missing] = UNOBSERVED, 0.0
    for b, name in enumerate(survey.names):
        table[name], table["d" + name] = mag[:, b], error[:, b]
    table |= shape
    table["s2n"] = flux[:, -1] / sigma[:, -1]
    aperture = _aperture(rng, mag[:, -1], error[:, -1], shape["rf"] * survey.pixel, seeing)
    table |= {name.replace("F814W", survey.names[-1]): column for name, column in aperture.items()}
    edge = np.minimum.reduce([table["x"], table["y"], survey.side - table["x"], survey.side - table["y"]])
    table["PercW"] = np.clip(edge / 100, 0.3, 1) * rng.beta(60, 1, n)
    table["photoflag"] = np.select([rng.random(n) < 0.10, rng.random(n) < 0.08], [2, 3], 0)
    table["Satur_Flag"] = (mags[:, -1] < 16.5).astype(int)
    table["nfobs"] = n_bands - missing.sum(axis=1)
    seyfert = np.asarray(truth["agn_class"]) == "seyfert"
    table["xray"] = (rng.random(n) < np.select([truth["is_quasar"], seyfert], [0.3, 0.05], 0.001)).astype(int)
    return Table({name: table[name] for name in survey.columns})


def _positions(rng, survey: Survey, chips: np.ndarray, chip: np.ndarray) -> dict[str, np.ndarray]:
    """Places and numbers, as ALHAMBRA's: image, field, pointing (2 digits), CCD, running number (5 digits)."""
    n = len(chip)
    field, pointing, ccd = chips[chip].T
    order = np.argsort(chip, kind="stable")
    start = np.searchsorted(chip[order], np.arange(len(chips)))
    number = np.empty(n, int)
    number[order] = np.arange(n) - start[chip[order]] + 1
    x, y = rng.uniform(1, survey.side, (2, n))
    centre = np.array([survey.fields[f][:2] for f in chips[:, 0]])[chip]
    # CCDs lie at the corners of a square as wide as two of them; pointings of a field side by side.
    side = survey.side * survey.pixel / 3600
    east = (np.array([-1, 1, 1, -1])[ccd - 1] + 0.25 * (pointing - 2)) * side + (x / survey.side - 0.5) * side
    north = np.array([-1, -1, 1, 1])[ccd - 1] * side + (y / survey.side - 0.5) * side
    dec = centre[:, 1] + north
    return {
        "id": np.arange(1, n + 1),
        "objID": ((survey.image * 10 + field) * 100 + pointing) * 10**6 + ccd * 10**5 + number,
        "Field": field, "Pointing": pointing, "CCD": ccd, "RAdeg": centre[:, 0] + east / np.cos(np.radians(dec)),
        "DECdeg": dec, "x": x, "y": y,
    }  # fmt: skip


def _shapes(rng, survey: Survey, truth: Table, f814w: np.ndarray, seeing: np.ndarray) -> dict[str, np.ndarray]:
    """What SExtractor says of an object's form, from its size, its inclination, the seeing and the noise."""
    n = len(truth)
    point, half_light = is_point(truth), half_light_radius(truth)
    # Half of a Gaussian's light lies within half its full width; peaked profiles look narrower than their light.
    width = np.hypot(seeing, 1.4 * half_light)
    snr = 5 * 10 ** (0.4 * (survey.limits[-1] - f814w))
    error = np.hypot(0.02, 0.8 / np.maximum(snr, 3))
    fwhm = width * np.exp(error * rng.standard_normal(n))
    radius = np.hypot(seeing / 2, half_light)
    axis_ratio = np.where(point, 0.98, np.sqrt(np.cos(np.radians(truth["inclination"])) ** 2 * 0.96 + 0.04))
    # Seeing rounds: variances add along each axis.
    minor = np.hypot(seeing / 2, half_light * axis_ratio) / radius
    minor = np.clip(minor * np.exp(-np.abs(error * rng.standard_normal(n))), 0.1, 1)
    a = 1.1 * radius / survey.pixel * np.exp(0.5 * error * rng.standard_normal(n))
    # The isophote of the survey's detection, 1.3 sigma of the sky, lies further out the brighter an object is.
    reach = 1.2 + 0.5 * np.log(np.maximum(snr, 3))
    # A classifier's answer goes from certain to undecided as noise comes up to the difference it looks at.
    contrast = np.log(fwhm / seeing)
    rf = radius / survey.pixel * np.exp(0.5 * error * rng.standard_normal(n))
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
