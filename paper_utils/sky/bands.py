"""The mock sky in anyone's bands: which objects a survey finds, and what it measures of them at its depth.

`draw` finds galaxies (`sky.deep`), quasars and stars in one band; the same objects may then be observed in any bands,
at any depth, any number of times (`Scene.observe`). `catalogue` does both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from astropy.table import Table, vstack
from scipy.special import expit

from paper_utils.base.constants import DEEP_Z
from paper_utils.base.containers import Catalogue
from paper_utils.base.distances import distance_modulus, kpc_per_arcsec
from paper_utils.base.errors import DataError
from paper_utils.base.filters import Curves
from paper_utils.sky import deep, foreground, light, quasars, sequence, stars
from paper_utils.sky.populations import Populations

UNDETECTED, UNOBSERVED = 99.0, -99.0
ZERO_POINT = 0.02  # mag, of each band and place; in a survey's error budget, not in its errors
DEPTH_SCATTER = 0.12  # mag, from place to place, as sky and seeing change
MISSING = 0.01  # of all measurements, at random
STAR_SHARE = 0.05  # of the objects, where a survey does not say; a network needs examples, not counts
SKY = 18.9  # magnitude of the sky in an aperture 3 arcsec wide: 21 in a square arcsec
SEEING = 1.0  # arcsec, full width at half maximum
FAINTEST_QUASAR = -20.5  # absolute magnitude; by hand: fainter nuclei do not outshine their galaxies
# By how many magnitudes one galaxy in 500 is brighter at a wavelength [Angstrom] than `deep.brightest` thinks.
BRIGHTER = ((3600.0, 6000.0, 9000.0, 22_000.0), (0.6, 0.0, 0.0, 1.0))
COVERED = (1.006 * light.ULTRAVIOLET[0] * (1 + DEEP_Z[1]), stars.WAVE[-1])  # Angstrom: where all objects have spectra
LOST = 0.02  # of a band's response may lie outside


@dataclass(frozen=True)
class Detection:
    """Half of all objects are found at the magnitude `limit`; `edge` : how wide the fall from all to none is."""

    limit: float
    edge: float = 0.15

    @property
    def faintest(self) -> float:
        """Nothing fainter is found."""
        return self.limit + 5 * self.edge

    def found(self, magnitude: np.ndarray) -> np.ndarray:
        """Probability that an object of this magnitude is found."""
        return expit((self.limit - magnitude) / self.edge)


@dataclass(frozen=True, eq=False)
class Scene:
    """Objects of the sky, as they are found in one band, before anything is measured.

    truth : as of `survey.catalogue`, with their total magnitude where they are found (m_found) and E(B-V) of the Milky
    Way (ebv).   mags : (N, B) total AB magnitudes in `curves`, without noise and without the Milky Way's dust.
    """

    truth: Table
    mags: np.ndarray
    curves: Curves

    def observe(self, depth: Mapping[str, float], seed: int = 0, found: str | None = None, dust=True) -> Catalogue:
        """What a survey measures of all objects in some of the bands: a magnitude and its error for each, AB.

        depth : band -> magnitude that a point source has at 5 sigma in an aperture 3 arcsec wide; a galaxy larger than
        that has more noise.   found : the band, if it is among them, in which nothing is undetected or missing.
        dust : behind the Milky Way's, else as corrected for it.
        Marks are those of `survey.catalogue`. The same arguments give the same catalogue.
        """
        rng, names = np.random.default_rng([seed, 1]), list(depth)
        at = [list(self.curves).index(name) for name in names]
        mags = self.mags[:, at]
        if dust:
            mags = mags + np.outer(self.truth["ebv"], foreground.extinction(self.curves)[at])
        limits = np.array(list(depth.values())) + DEPTH_SCATTER * rng.standard_normal(mags.shape)
        sigma = noise(mags, 2 * np.hypot(SEEING / 2, half_light_radius(self.truth)), limits)
        zero = ZERO_POINT * rng.standard_normal(mags.shape)
        flux = 10 ** (-0.4 * (mags + zero)) + sigma * rng.standard_normal(mags.shape)
        here = np.array(names) == found
        mag, error = measured(np.where(here, np.maximum(flux, 1.2 * sigma), flux), sigma)
        missing = (rng.random(mags.shape) < MISSING) & ~here
        mag[missing], error[missing] = UNOBSERVED, 0.0
        columns = {
            f"{d}{name}": values[:, b] for b, name in enumerate(names) for d, values in (("", mag), ("d", error))
        }
        ids = np.arange(1, len(mags) + 1).astype(str)
        return Catalogue(Table(columns, meta={"survey": "mock", "seed": seed}), np.array(names), ids, self.truth)


def catalogue(
    curves: Curves, depth: Mapping[str, float], found: str, limit: float, n: int, ssps: Populations, seed=0, dust=True
) -> Catalogue:
    """`n` objects of the mock sky in bands and at depths of your own; see `draw` and `Scene.observe`."""
    return draw(curves, found, limit, n, ssps, seed).observe(depth, seed, found, dust)


def draw(curves: Curves, found: str, limit: float, n: int, ssps: Populations, seed: int = 0) -> Scene:
    """`n` objects that a survey finds in the band `found`: half of all there are at the AB magnitude `limit`.

    curves : name -> (wavelength [vacuum Angstrom], response per photon).
    One in twenty is a star. Raises DataError naming a band in which not all objects have spectra, and if n < 10.
    """
    if n < 10:
        raise DataError(f"{n} objects make no catalogue", remedy="Ask for ten or more.")
    rng, inside = np.random.default_rng(seed), {name: _covered(name, *curve) for name, curve in curves.items()}
    last = {name: curve for name, curve in inside.items() if name != found} | {found: inside[found]}
    truth, mags, _ = objects(rng, n, light.light_table(ssps, last), Detection(limit), STAR_SHARE)
    truth["m_found"], truth["ebv"] = mags[:, -1], foreground.draw(rng, n)
    return Scene(truth, mags[:, [list(last).index(name) for name in curves]], inside)


def _covered(name: str, wave: np.ndarray, response: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The curve within `COVERED`."""
    fine = np.linspace(wave[0], wave[-1], 2001)
    seen = np.interp(fine, wave, response)
    inside = (fine > COVERED[0]) & (fine < COVERED[1])
    if not seen[inside].sum() >= (1 - LOST) * seen.sum():
        problem = f"it sees {wave[0]:.0f}-{wave[-1]:.0f} A; to redshift {DEEP_Z[1]:g} the mock sky has light at "
        problem += f"{COVERED[0]:.0f}-{COVERED[1]:.0f} A"
        raise DataError(problem, remedy="Leave the band out.", row=f"band {name!r}")
    return (wave, response) if inside.all() else (fine[inside], seen[inside])


def objects(
    rng: np.random.Generator, n: int, table: light.LightTable, detection: Detection, star_share: float
) -> tuple[Table, np.ndarray, float]:
    """`n` objects found in the table's last band: their truth, magnitudes (n, B), and the area that holds them [deg2].

    truth : as of `survey.catalogue`, without what belongs to a survey (f814w, ebv). Magnitudes are total, without noise
    and without the Milky Way's dust.
    """
    n_stars = max(round(star_share * n), 1)
    curves, band, ssps = table.curves, list(table.curves)[-1], table.ssps
    reach = detection.faintest + np.interp(np.average(curves[band][0], weights=curves[band][1]), *BRIGHTER)
    truth, mags, area = deep.draw(n - n_stars, rng, table, band, reach, detection.found)
    truth["sed_type"], truth["m_abs"] = sequence.rest_properties(truth, ssps)
    quasar_truth, quasar_mags = _quasars(rng, curves, detection, area, ssps)
    n_galaxies = max(n - n_stars - len(quasar_truth), 1)
    star_mags, g_i = _stars(rng, curves, detection, n - n_galaxies - len(quasar_truth))
    truth = vstack([truth[:n_galaxies], quasar_truth, Table({"g_i": g_i})], metadata_conflicts="silent")
    for name in truth.colnames:
        truth[name] = truth[name].filled("none" if truth[name].dtype.kind == "U" else 0)
    truth["is_star"] = np.arange(n) >= n - len(g_i)
    truth["is_quasar"] = (np.arange(n) >= n_galaxies) & ~truth["is_star"]
    order = rng.permutation(n)
    mags = np.concatenate([mags[:n_galaxies], quasar_mags, star_mags])
    return truth[order], mags[order], area * n_galaxies / (n - n_stars)


def noise(mags: np.ndarray, radius: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Standard deviations (N, B) of the fluxes of objects of `mags` (N, B), in units of flux at magnitude 0.

    The sky of an aperture 3 arcsec wide, or as wide as the object asks: radius (N,) [arcsec]; and the object's own
    photons, as many as the sky's in 3 arcsec at magnitude SKY. depth : (N, B) 5 sigma limits of point sources.
    """
    wider, own, at_depth = np.maximum(radius / 1.5, 1)[:, None], *(10 ** (-0.4 * (m - SKY)) for m in (mags, depth))
    return 10 ** (-0.4 * depth) / 5 * np.sqrt((wider**2 + own) / (1 + at_depth))


def measured(flux: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Magnitudes and errors of fluxes as the survey writes them: 2.5 log(1 + 1 / SNR), 99 below one sigma."""
    seen = flux > sigma
    safe = np.where(seen, flux, 1.0)
    mag = np.where(seen, -2.5 * np.log10(safe), UNDETECTED)
    return mag, np.where(seen, 2.5 * np.log10(1 + sigma / safe), -2.5 * np.log10(sigma))


def _stars(rng: np.random.Generator, curves: Curves, detection: Detection, n: int) -> tuple[np.ndarray, np.ndarray]:
    parts, found = [], 0
    while found < n:
        m, colour = stars.draw(rng, 2 * n + 10, detection.faintest)
        keep = rng.random(len(m)) < detection.found(m)
        parts.append((m[keep], colour[keep]))
        found += keep.sum()
    m, colour = (np.concatenate(part)[:n] for part in zip(*parts, strict=True))
    mags = stars.magnitudes(colour, curves, rng)
    return mags - mags[:, -1:] + m[:, None], colour


def _quasars(
    rng: np.random.Generator, curves: Curves, detection: Detection, area: float, ssps: Populations
) -> tuple[Table, np.ndarray]:
    """Truth and magnitudes (Q, B) of the quasars that are found on `area` [deg2]; their i is the band of detection."""
    reach = detection.faintest, (0.1, DEEP_Z[1])
    z, m = quasars.draw(rng, rng.poisson(area * quasars.per_deg2(*reach)), *reach)
    keep = (rng.random(len(z)) < detection.found(m)) & (m - distance_modulus(z) < FAINTEST_QUASAR)
    z, m = z[keep], m[keep]
    same = rng.integers(2**32)  # the same quasars in the survey's bands and in the rest frame
    seen = quasars.magnitudes(np.random.default_rng(same), z, curves)
    rest = quasars.magnitudes(np.random.default_rng(same), np.full(len(z), 1e-4), sequence.rest_curves())
    truth = {"z": z, "sed_type": sequence.nearest_type(rest[:, :-1], ssps)}
    truth["m_abs"] = m + rest[:, -1] - seen[:, -1] - distance_modulus(z) - 2.5 * np.log10(1 + z)
    return Table(truth), seen - seen[:, -1:] + m[:, None]


def half_light_radius(truth: Table) -> np.ndarray:
    """Of the objects of a truth table (N,) [arcsec], 0 for stars and quasars."""
    z = np.asarray(truth["z"], float)
    return np.where(is_point(truth), 0.0, np.asarray(truth["r_e"], float) / kpc_per_arcsec(np.maximum(z, 1e-3)))


def is_point(truth: Table) -> np.ndarray:
    return np.asarray(truth["is_star"] | truth["is_quasar"])
