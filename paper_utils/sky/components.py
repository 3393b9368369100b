"""The two stellar systems of a galaxy: a bulge that is old and rich in metals, and a disc that forms all new stars.

Derived from a row of truth, without chance, so that the whole keeps its mass, its star formation and its metals: image,
photometry and fibre spectrum add the same two. Gradients within each are part of the difference between them.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from astropy.table import Table

from paper_utils.base import dust
from paper_utils.sky import galaxies
from paper_utils.sky.populations import RANGES, checked

# By hand, for the colours outside and inside of SDSS's galaxies (benchmarks/bench_realism.py): bulge over disc in [M/H]
# (0.2 dex per dex of radius: Kuntschner+ 2010, 2010MNRAS.408...97K; more is needed here, as nothing else reddens an old
# bulge), the bulge's A_V over the disc's (centres have more dust: Iglesias-Paramo+ 2013, 2013A&A...553L...7I), and
# where between the mean age of the whole, 0, and its beginning, 1, the bulge's mean age lies.
METALS, DUST, OLDER = 0.55, 1.15, 0.35
METALS_MAX, TEMPLATES_END = 0.45, 0.22  # the light of the last template is that of all beyond
DIMMER = 0.45  # natural log of the light in r that E-MILES loses per dex of [M/H]
FORMED = 16.0  # age / tau of a bulge at least: it formed at once
_Y_MAX = 1.7  # specific rate times age of a delayed history: 2 at most


def components(truth: Table, bulge: np.ndarray | float = 1.0, disc: np.ndarray | float = 1.0) -> Table:
    """Columns of starlight (`populations.RANGES`) and `z` of N bulges, then of N discs: 2 N rows.

    Their light adds up to the galaxy's. `b_t` is the bulge's share of the stars' light in r at redshift 0, to 0.03;
    with b_t = 0 the disc is the whole, unchanged. bulge, disc : (N,) share of the light of each that is wanted, as in
    an aperture. Raises DataError for a senseless row.
    """
    p = checked(truth, RANGES | {"b_t": (0, 1)}, "Starlight")
    share, in_bulge, in_disc = _divided(p)
    metals = _richer(p["metallicity"], share) * (share > 0)
    whole = {name: np.concatenate([p[name], p[name]]) for name in RANGES}
    if "z" in truth.colnames:
        whole["z"] = np.tile(np.asarray(truth["z"], float), 2)
    both = {
        "log_mstar": (np.log10(np.maximum(share * bulge, 1e-15)), np.log10(np.maximum((1 - share) * disc, 1e-15))),
        "metallicity": ((1 - share) * metals, -share * metals),
    }
    for name, (inner, outer) in both.items():
        whole[name] += np.concatenate([inner, outer])
    for name, *columns in zip(("age_gyr", "tau_gyr", "burst_fraction"), in_bulge, in_disc, strict=True):
        whole[name] = np.concatenate(columns)
    whole["a_v"] = np.concatenate([DUST * p["a_v"], p["a_v"]])
    return Table(whole)


def _richer(metallicity: np.ndarray, share: np.ndarray) -> np.ndarray:
    """[M/H] of the bulge over that of the disc, with `share` of the mass in the bulge."""
    return np.clip((METALS_MAX - metallicity) / (1 - share), 0, METALS)


def _divided(p: dict[str, np.ndarray]):
    """The bulge's share of the mass (N,); age, tau and burst fraction of bulge and of disc, which forms all stars."""
    age, x, burst = p["age_gyr"], p["age_gyr"] / p["tau_gyr"], p["burst_fraction"]
    light, single = galaxies.r_light()
    per_a_v = 0.4 * np.log(10) * dust.attenuation(np.array([galaxies.R_BAND * 1e4]))[0]
    now = np.zeros_like(age)
    its_x = np.maximum(x, FORMED)
    bulge_age = np.minimum(age, (OLDER + (1 - OLDER) * _mean_age(x)) / _mean_age(its_x) * age)
    bulge_tau = bulge_age / its_x
    of_bulge = light(np.log(bulge_age), np.log(its_x), now) * np.exp(-per_a_v * (DUST - 1) * p["a_v"])
    of_burst = burst * single(np.log(np.maximum(p["burst_age_gyr"], 1e-3)), now)
    rate = x**2 / (np.expm1(np.minimum(x, 600)) - x) / age

    def disc(share):
        smooth = 1 - share - burst  # mass of the disc, but for the burst
        its_rate = rate * (1 - burst) / smooth
        its_age = np.minimum(age, _Y_MAX / its_rate)
        return its_age, _age_over_tau(its_rate * its_age), smooth

    # Halve the range of shares in which the bulge's light may be b_t of all.
    low, high = np.zeros_like(age), 0.98 * (1 - burst)
    for _ in range(10):
        share = (low + high) / 2
        its_age, its_x, smooth = disc(share)
        rest = smooth * light(np.log(its_age), np.log(its_x), now) + of_burst
        apart = _richer(p["metallicity"], share)
        metals = p["metallicity"] - share * apart
        dimmer = DIMMER * (np.minimum(metals + apart, TEMPLATES_END) - metals)
        in_bulge = share * of_bulge * np.exp(-dimmer)
        too_much = in_bulge > p["b_t"] * (in_bulge + rest)
        low, high = np.where(too_much, low, share), np.where(too_much, share, high)
    share = np.where(p["b_t"] > 0, (low + high) / 2, 0.0)
    its_age, its_x, _ = disc(share)
    alone = share == 0
    of_disc = np.where(alone, age, its_age), np.where(alone, p["tau_gyr"], its_age / its_x), burst / (1 - share)
    return share, (bulge_age, bulge_tau, np.zeros_like(age)), of_disc


def _mean_age(x: np.ndarray) -> np.ndarray:
    """Of the stars of a delayed history, over the time since it began; x is that time over tau."""
    fall = np.exp(-x)
    return 1 - (2 - (x**2 + 2 * x + 2) * fall) / (1 - (1 + x) * fall) / x


def _age_over_tau(y: np.ndarray) -> np.ndarray:
    return np.exp(np.interp(np.log(y), *_histories()))


@lru_cache(maxsize=1)
def _histories() -> tuple[np.ndarray, np.ndarray]:
    y = np.geomspace(1e-20, 1.9, 4000)
    return np.log(y), np.log(galaxies.age_over_tau(y))
