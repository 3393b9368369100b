"""Properties of galaxies that follow from mass, rate and history: structure, metals, and what lights their gas.

Each function adds columns to a truth table in the making. Relations are those of `sky.relations`; numbers without a
source were set by hand to look like SDSS and are called so.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit, ndtr, ndtri

from paper_utils.sky import nebular, relations

# log L(H alpha) per mass [erg/s/M_sun] that stars of 7 Gyr excite, its fall with b_t, beyond what, and its scatter.
OLD_GAS, OLD_BT, OLD_FROM, OLD_GAS_SCATTER = 29.4, 4.8, 0.6, 0.15
SEYFERT, LINER = 28.8, 29.1  # the same of nuclei; of Seyferts at 10^-11.2 / yr


def structure(rng, truth: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Size, profile, bar and velocity dispersion; at given mass the compact are hotter, as the virial theorem asks.

    Bulge shares were set by hand to follow Simard+ 2011 (2011ApJS..196...11S) in type and mass.
    """
    mass, quiescent = truth["log_mstar"], truth["quiescent"]
    n = len(mass)
    log_r, scatter = relations.half_light_radius(mass, quiescent)
    size = scatter * rng.standard_normal(n)
    # Slower star formation goes with a larger bulge (offset / 0.3 is a standard normal).
    logit = np.where(quiescent, 0.4 + 0.8 * (mass - 10.5), -2.8 + 1.1 * (mass - 10) - 0.5 * truth["offset"])
    # In the valley bulges are between those of the two sides (Bluck+ 2014, 2014MNRAS.441..599B).
    logit -= 0.7 * (quiescent & (truth["log_sfr"] - mass > -11.5))
    b_t = expit(logit + 0.8 * rng.standard_normal(n))
    n_sersic = np.clip(10 ** (0.02 + 0.65 * b_t**0.7 + 0.07 * rng.standard_normal(n)), 0.5, 8)
    log_sigma = relations.velocity_dispersion(mass) - 0.25 * size
    # Discs: 0.12 dex colder (by hand), and less alike.
    log_sigma += np.where(quiescent, 0.08, 0.10) * rng.standard_normal(n) - np.where(quiescent, 0, 0.12)
    sigma_star = np.clip(10**log_sigma, 15, 500)
    bar = _bars(rng, mass, truth["log_sfr"] - mass, b_t)
    return {"r_e": 10 ** (log_r + size), "b_t": b_t, "bar": bar, "n_sersic": n_sersic, "sigma_star": sigma_star}


def _bars(rng, mass, specific, b_t) -> np.ndarray:
    """Bars' shares of the light: a third of massive discs have one, fewer where many stars form.

    Masters+ 2011 (2011MNRAS.411.2026M): 29 % of discs, from 20 % of the blue to half of the red. A bar has a tenth of
    the light (Gadotti 2011, 2011MNRAS.415.3308G). The numbers are by hand.
    """
    n = len(mass)
    common = expit((mass - 9.8) / 0.25) * expit((0.6 - b_t) / 0.08) * np.interp(specific, [-11, -10], [0.5, 0.25])
    return np.where(rng.random(n) < common, (1 - b_t) * rng.uniform(0.06, 0.2, n), 0.0)


def metals(rng, truth: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Metals in stars and gas, whose residuals share a part, and the ionisation parameter.

    At given mass the quiescent are richer, most at low mass (Peng, Maiolino & Cochrane 2015, 2015Natur.521..192P);
    the mean over types stays Gallazzi's. Its range holds measurement errors: 0.6 of it is taken as real (by hand).
    """
    mass, n = truth["log_mstar"], len(truth["log_mstar"])
    common, own = rng.standard_normal((2, n))
    # 0.07 dex beyond the SFR dependence makes Tremonti's 0.1 dex; dwarfs scatter more.
    enrichment = np.clip(0.07 + 0.05 * (10 - mass), 0.07, 0.15) * common
    oh = relations.gas_metallicity(mass, np.where(truth["quiescent"], 0, truth["offset"])) + enrichment
    median, half = relations.stellar_metallicity(mass)
    by_type = 0.5 * np.clip((11.3 - mass) / 1.5, 0, 1) * (truth["quiescent"] - truth["quiet_share"])
    mean = median + by_type + 0.3 * half * common
    # Within what the templates cover.
    metallicity = truncated(rng, mean, 0.52 * half, -1.7, 0.22)
    log_u = nebular.log_u_sequence(oh) + 0.15 * own + 0.2 * truth["offset"]  # Kaasinen+ 2018, 2018MNRAS.477.5568K
    return {"oh": oh, "metallicity": metallicity, "log_u": log_u}


def nucleus(rng, truth: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What ionises gas besides young stars: the old stars of every galaxy, and the active nuclei of some.

    Old stars light what gas a galaxy has (Cid Fernandes+ 2011, 2011MNRAS.413.1687C), more of it where stars are younger
    (Graves+ 2007, 2007ApJ...671..243G) and in discs; level and slopes by hand. Nuclei: `relations.active_fraction`;
    Seyferts where stars form, LINERs where they do not (Kewley+ 2006, 2006MNRAS.372..961K), brighter where there is
    more gas to accrete (Kauffmann+ 2003, 2003MNRAS.346.1055K). What young stars outshine shows in no diagram.
    """
    mass, b_t, n = truth["log_mstar"], truth["b_t"], len(truth["log_mstar"])
    specific = truth["log_sfr"] - mass
    old_gas = OLD_GAS - 1.5 * np.log10(np.maximum(truth["age_gyr"], 5) / 7) - OLD_BT * np.maximum(b_t - OLD_FROM, 0)
    old_gas += OLD_GAS_SCATTER * rng.standard_normal(n)
    hotter = np.log10(truth["sigma_star"]) - relations.velocity_dispersion(mass)
    active = rng.random(n) < relations.active_fraction(mass, specific, hotter, b_t)
    seyfert = rng.random(n) < expit((specific + 11.4) / 0.25)
    bright = np.where(seyfert, SEYFERT + 0.2 * (specific + 11.2), LINER)
    bright = bright + np.where(seyfert, 0.35, 0.25) * rng.standard_normal(n)  # log L(H alpha) per mass, as old_gas
    young = specific + nebular.LOG_HALPHA_PER_SFR + np.log10(nebular.ACTIVE_DECREMENT / nebular.BALMER["Halpha"])
    strength = 1 / (1 + 10 ** (young - bright) + 10 ** (old_gas - bright))
    kind = np.where(active, np.where(seyfert, "seyfert", "liner"), "none")
    return {"old_gas": old_gas, "agn_class": kind, "agn_strength": np.where(active, strength, 0.0)}


def truncated(rng, mean, sigma, low: float, high: float) -> np.ndarray:
    """Normal deviates between `low` and `high`."""
    below, above = ndtr((low - mean) / sigma), ndtr((high - mean) / sigma)
    return mean + sigma * ndtri(below + (above - below) * rng.random(len(mean)))
