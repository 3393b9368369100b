"""How good are densities of redshift? PIT, CDE loss, CRPS and the recovery of n(z), over all objects and by bins."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import kstest

from paper_utils.base.errors import DataError
from paper_utils.stats import photoz

FEWEST = 300  # objects in a bin: of fewer the share within 68 % intervals is known to no better than 3 %


@dataclass(frozen=True, eq=False)
class Densities:
    """Densities of redshift as histograms, which all densities become (`of_grid`, `of_cdf`); scores are exact for them.

    edges : (G + 1,).   pdf : (N, G) per unit redshift, mean between two edges, as `companion apply 05` writes it.
    A density that is not finite gets the worst score. Raises DataError for negative ones and those whose area is not 1.
    """

    edges: NDArray
    pdf: NDArray

    def __post_init__(self):
        edges, pdf = self.edges, self.pdf
        if pdf.ndim != 2 or edges.shape != (pdf.shape[1] + 1,) or not (np.diff(edges) > 0).all():
            problem = f"edges of shape {edges.shape} do not go with densities of shape {pdf.shape}"
            raise DataError(problem, remedy="Give (G + 1,) increasing edges and (N, G) densities.")
        off = np.abs(pdf @ np.diff(edges) - 1)
        if (bad := (pdf < 0).any(axis=1) | (np.isfinite(off) & (off > 1e-3))).any():
            problem, i = "a density is negative, or its area is not 1", bad.argmax()
            raise DataError(problem, remedy="Take the outer edges further out, or use `of_grid`.", row=f"row {i}")

    @classmethod
    def of_grid(cls, z: ArrayLike, values: ArrayLike) -> Self:
        """Of values (N, G), in any unit, at redshifts z (G,): the edges lie halfway between."""
        z, values = np.asarray(z, float), np.asarray(values, float)
        inner = (z[1:] + z[:-1]) / 2
        edges = np.concatenate([[2 * z[0] - inner[0]], inner, [2 * z[-1] - inner[-1]]])
        with np.errstate(invalid="ignore"):  # 0 / 0 where there is no density at all
            return cls(edges, values / (values @ np.diff(edges))[:, None])

    @classmethod
    def of_cdf(cls, cdf: Callable[[NDArray], ArrayLike], edges: NDArray) -> Self:
        """Of a function that gives probabilities (N, G + 1) below edges (G + 1,); outer cells hold what is beyond."""
        below = np.array(cdf(edges), float)
        below[:, [0, -1]] = np.where(np.isfinite(below).all(axis=1, keepdims=True), (0, 1), np.nan)
        steps = np.diff(below)
        steps[(steps < 0) & (steps > -1e-9)] = 0  # rounding
        return cls(edges, steps / np.diff(edges))

    @cached_property
    def below(self) -> NDArray:
        """Probability (N, G + 1) below each edge."""
        return np.insert(np.cumsum(self.pdf * np.diff(self.edges), axis=1), 0, 0, axis=1)

    def pit(self, truth: ArrayLike) -> NDArray:
        """Probability below the true redshifts (N,), uniform if densities are right; NaN for one that is not finite."""
        cell, t = self._cell(truth)
        return _of_row(self.below, cell) + _of_row(self.pdf, cell) * (t - self.edges[cell])

    def cde_loss(self, truth: ArrayLike) -> NDArray:
        """Integral of p^2 minus 2 p(true redshift), (N,): up to a constant the mean squared error of the densities.

        Conditional density estimation: Izbicki & Lee 2017 (2017EJSta..11.2800I); Schmidt+ 2020 (2020MNRAS.499.1587S).
        """
        cell, t = self._cell(truth)
        at_truth = np.where(t == truth, _of_row(self.pdf, cell), 0)  # no density beyond the edges
        return _worst(self.pdf**2 @ np.diff(self.edges) - 2 * at_truth)

    def crps(self, truth: ArrayLike) -> NDArray:
        """Continuous ranked probability score (N,), in redshift: the absolute error if all probability is in one point.

        Integral of (F - H)^2, H the step at the truth (Gneiting & Raftery 2007, 2007JASA..102..359G, eq. 20); here as
        that of (1 - F)^2 over all redshifts and of 2 F - 1 up to the truth. F is linear between edges.
        """
        cell, t = self._cell(truth)
        width, low, high = np.diff(self.edges), 1 - self.below[:, :-1], 1 - self.below[:, 1:]
        area = np.insert(np.cumsum(width * (1 - (low + high) / 2), axis=1), 0, 0, axis=1)  # of F
        up_to = _of_row(area, cell) + (t - self.edges[cell]) * (_of_row(self.below, cell) + self.pit(truth)) / 2
        above = (low**2 + low * high + high**2) @ width / 3
        return _worst(above + 2 * up_to - (t - self.edges[0]) + np.abs(truth - t))

    def n_of_z(self, truth: ArrayLike) -> dict[str, float]:
        """How the mean density recovers the distribution of true redshifts (N,), which a survey's statistics rest on.

        "n(z) distance": the largest between the cumulative distributions; "n(z) mean": its mean's error over 1 + mean.
        """
        if not np.isfinite(self.pdf).all():
            return {"n(z) distance": 1.0, "n(z) mean": np.inf}
        below, true_mean = self.below.mean(axis=0), np.mean(truth)
        distance = kstest(truth, lambda z: np.interp(z, self.edges, below)).statistic
        mean = np.diff(below) @ (self.edges[1:] + self.edges[:-1]) / 2
        return {"n(z) distance": float(distance), "n(z) mean": float((mean - true_mean) / (1 + true_mean))}

    def scores(self, truth: ArrayLike, z: ArrayLike) -> dict[str, float]:
        """All scores by true redshifts (N,): those of `photoz.scores` for redshifts z (N,) that go with the densities,
        the share of truths within central 68 % intervals, the distance of `pit` from uniform, means of the losses."""
        pit = self.pit(truth)
        found = photoz.scores(z, truth) | {"coverage [%]": float(100 * (np.abs(pit - 0.5) <= 0.34).mean())}
        found["PIT distance"] = photoz.pit_distance(pit)[0] if np.isfinite(pit).all() else 1.0
        found |= {"CDE loss": float(self.cde_loss(truth).mean()), "CRPS": float(self.crps(truth).mean())}
        return found | self.n_of_z(truth)

    def by_bins(
        self, truth: ArrayLike, z: ArrayLike, quantities: Mapping[str, tuple[ArrayLike, ArrayLike]], fewest=FEWEST
    ) -> list[dict]:
        """`scores` in bins, a row for each that has `fewest` objects or more, lower limit within and upper one outside.

        quantities : name, such as a magnitude, redshift or odds -> (values (N,), limits (M + 1,)).
        """
        rows, truth, z = [], np.asarray(truth), np.asarray(z)
        for name, (values, limits) in quantities.items():
            for low, high in zip(limits[:-1], limits[1:], strict=True):
                inside = (np.asarray(values) >= low) & (np.asarray(values) < high)
                if inside.sum() >= fewest:
                    part = Densities(self.edges, self.pdf[inside])
                    rows.append({"by": name, "from": low, "to": high} | part.scores(truth[inside], z[inside]))
        return rows

    def _cell(self, truth: ArrayLike) -> tuple[NDArray, NDArray]:
        """Cells of true redshifts (N,), and these, but not beyond the edges."""
        if (bad := ~np.isfinite(truth)).any():
            problem = "a true redshift is not finite"
            raise DataError(problem, remedy="Leave out what has none.", row=f"row {bad.argmax()}")
        inside = np.clip(truth, self.edges[0], self.edges[-1])
        cell = np.searchsorted(self.edges, inside, side="right") - 1
        return np.minimum(cell, self.pdf.shape[1] - 1), inside


def _of_row(values: NDArray, cell: NDArray) -> NDArray:
    """What each row of values (N, M) has in its own cell (N,)."""
    return values[np.arange(len(values)), cell]


def _worst(loss: NDArray) -> NDArray:
    return np.where(np.isfinite(loss), loss, np.inf)
