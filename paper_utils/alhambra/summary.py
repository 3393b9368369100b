"""What all results of `apply.PhotoZ` have in common, added up block by block: n(z), odds, magnitudes, flags."""

from collections import Counter

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from paper_utils.alhambra.apply import PhotoZ
from paper_utils.base.results import Results


class Summary:
    """Counts of the results of a `model` so far.

    medians (Z,), odds (20,), by_magnitude (M, Z) : objects between `z`, `odds_edges` and `m` of `band`, in which an
    object may lack a magnitude; of n(z) galaxies, each by 1 - p_star where the model knows it.   density : (G,) sum of
    their p(z) between `pdf_edges`, None without.   flags : objects by reason.   n, n_flagged, n_sure : objects; those
    with any flag; those without and odds above 0.9.
    """

    def __init__(self, model: PhotoZ):
        self.band = model.detection or (model.bands[-1] if model.bands else "")
        self.z = np.expm1(np.linspace(0, float(model.t_max), 101))
        self.m, self.odds_edges = np.arange(10, 35.1, 0.25), np.linspace(0, 1, 21)
        self.medians, self.by_magnitude = np.zeros(len(self.z) - 1), np.zeros((len(self.m) - 1, len(self.z) - 1))
        self.odds, self.flags, self.density, self.pdf_edges = np.zeros(20), Counter(), None, None
        self.n = self.n_flagged = self.n_sure = 0

    def add(self, results: Results, table: Table) -> None:
        """Results, and the table that they are of."""
        found, flag = results.table, np.asarray(results.table["flag"])
        z, odds = np.asarray(found["z_p50"]), np.asarray(found["odds"])
        galaxy = 1 - np.asarray(found["p_star"]) if "p_star" in found.colnames else np.ones(len(z))
        self.medians += np.histogram(z, self.z, weights=galaxy)[0]
        self.odds += np.histogram(odds, self.odds_edges)[0]
        if self.band:
            self.by_magnitude += np.histogram2d(np.asarray(table[self.band], float), z, (self.m, self.z))[0]
        if "pdf" in results.arrays:
            self.pdf_edges = results.arrays["z_edges"]
            self.density = (0 if self.density is None else self.density) + galaxy @ results.arrays["pdf"]
        for text, count in zip(*np.unique(flag, return_counts=True), strict=True):
            self.flags.update(dict.fromkeys(text.split("; ") if text else (), int(count)))
        self.n, self.n_flagged = self.n + len(z), self.n_flagged + int((flag != "").sum())
        self.n_sure += int(((odds > 0.9) & (flag == "")).sum())

    @property
    def median_z(self) -> float:
        return _median(self.medians, self.z)

    @property
    def median_odds(self) -> float:
        return _median(self.odds, self.odds_edges)


def _median(counts: NDArray, edges: NDArray) -> float:
    below = np.concatenate([[0], np.cumsum(counts)])
    return float(np.interp(below[-1] / 2, below, edges))
