"""Study 3's judgement of predicted spectra: distances, classes with flipped labels, error planes, two peaks.

Doorenbos+ 2024, Secs. 5.1, 5.5-5.7. Whether sampled spectra are calibrated is in calibration.py.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from paper_utils.measure import emission

ELLIPTICAL, SPIRAL, UNCERTAIN = "elliptical", "spiral", "uncertain"
# Bulge shares above and below which a look at the image decides; between them lie the "composite bulge-disk systems
# in which neither overshadows the other" (Sec. 2.2).
BULGE, DISC = 0.75, 0.2  # most galaxies lie between, as most are uncertain in Galaxy Zoo
# Relative errors of line fluxes and the absolute one of EW(H alpha) [Angstrom] (Sec. 5.7, after Richardson+ 2016,
# 2016MNRAS.458..988R). The text has the width "multiplied with a Gaussian error with a standard deviation of 1": taken
# as 1 Angstrom added, since it lets galaxies across the limit of 1 Angstrom.
LINE_ERRORS = {"Hbeta": 0.15, "OIII_5007": 0.15, "Halpha": 0.20, "NII_6584": 0.30}
EW_ERROR = 1.0
CLASSES = (emission.PASSIVE, emission.STAR_FORMING, emission.AGN)


def morphology(truth) -> NDArray:
    """Elliptical, spiral or uncertain (N,), from the bulge share `b_t` of a truth table: stands for Galaxy Zoo."""
    b_t = np.asarray(truth["b_t"])
    return np.select([b_t > BULGE, b_t < DISC], [ELLIPTICAL, SPIRAL], UNCERTAIN)


def deviation(observed: ArrayLike, predicted: ArrayLike) -> NDArray:
    """Mean relative deviation of each spectrum, eq. 9: (N, L), (N, L) -> (N,), NaNs left out."""
    observed, predicted = np.asarray(observed, float), np.asarray(predicted, float)
    return np.nanmean(np.abs(observed - predicted) / observed, axis=-1)


def mse(observed: ArrayLike, predicted: ArrayLike) -> NDArray:
    """Mean squared error of each spectrum (N,), NaNs left out."""
    return np.nanmean((np.asarray(observed, float) - np.asarray(predicted, float)) ** 2, axis=-1)


def chi2(observed: ArrayLike, predicted: ArrayLike, ivar: ArrayLike) -> NDArray:
    """chi^2 / N of each spectrum (N,) over elements of ivar > 0 (Sec. 5.1), NaNs left out."""
    square = (np.asarray(observed, float) - np.asarray(predicted, float)) ** 2
    used = (np.asarray(ivar) > 0) & np.isfinite(square)
    return np.where(used, square * ivar, 0).sum(axis=-1) / np.maximum(used.sum(axis=-1), 1)


def class_probabilities(table, n_draws: int = 1000, seed: int = 0) -> NDArray:
    """Probabilities (N, 3) of `CLASSES` of lines measured by `lines.measure`, given `LINE_ERRORS` and `EW_ERROR`."""
    rng = np.random.default_rng(seed)
    n = len(np.asarray(table["ew_Halpha"]))
    drawn = {
        f"flux_{name}": np.asarray(table[f"flux_{name}"]) * (1 + error * rng.standard_normal((n_draws, n)))
        for name, error in LINE_ERRORS.items()
    }
    drawn["ew_Halpha"] = np.asarray(table["ew_Halpha"]) + EW_ERROR * rng.standard_normal((n_draws, n))
    found = emission.classify(drawn)
    return np.stack([(found == name).mean(axis=0) for name in CLASSES], axis=1)


def confusion(actual: ArrayLike, predicted: ArrayLike) -> NDArray:
    """Counts (3, 3) of `CLASSES`, actual down and predicted across: Table 2."""
    actual, predicted = (np.asarray(labels)[:, None] == np.array(CLASSES) for labels in (actual, predicted))
    return actual.T.astype(int) @ predicted.astype(int)


def agn_scores(counts: ArrayLike) -> dict[str, NDArray]:
    """Accuracy, precision and recall (eqs. 6-8) of "this is an AGN" from matrices (..., 3, 3) of `confusion`.

    NaN where nothing is, or is called, an AGN.
    """
    counts = np.asarray(counts, float)
    hit, total = counts[..., 2, 2], counts.sum(axis=(-2, -1))
    called, are = counts[..., 2].sum(axis=-1), counts[..., 2, :].sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "accuracy": (counts[..., :2, :2].sum(axis=(-2, -1)) + hit) / total,
            "precision": hit / called,
            "recall": hit / are,
        }


def flipped_scores(actual: NDArray, predicted: NDArray, n_experiments: int = 5000, seed: int = 0) -> dict:
    """`agn_scores` when each label is drawn from its probabilities (N, 3): name -> (mean, standard deviation)."""
    rng = np.random.default_rng(seed)

    def active(probabilities):
        return rng.random((n_experiments, len(probabilities))) < probabilities[:, 2]

    a, p = active(actual), active(predicted)
    hit = (a & p).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = {"accuracy": (a == p).mean(axis=1), "precision": hit / p.sum(axis=1), "recall": hit / a.sum(axis=1)}
    return {name: (float(np.nanmean(values)), float(np.nanstd(values))) for name, values in scores.items()}


def two_peaks(values: ArrayLike) -> dict:
    """Are there two peaks? One and two Gaussians fitted to values (N,), NaNs left out.

    delta_bic : by how much two are better (above 10: strongly).   means, widths, shares : (2,) of the two.
    valley : density between the peaks over that of the lower one; 1 where there is one peak.
    two : delta_bic > 10 and valley < 0.95.
    """
    from sklearn.mixture import GaussianMixture

    x = np.asarray(values, float)
    x = x[np.isfinite(x)][:, None]
    one, two = (GaussianMixture(k, n_init=4, random_state=0).fit(x) for k in (1, 2))
    order = two.means_[:, 0].argsort()
    means = two.means_[order, 0]
    grid = np.linspace(means[0] - 0.5 * np.ptp(means), means[1] + 0.5 * np.ptp(means), 400)
    density = np.exp(two.score_samples(grid[:, None]))
    valley = _valley(density)
    delta = float(one.bic(x) - two.bic(x))
    return {
        "delta_bic": delta,
        "means": means,
        "widths": np.sqrt(two.covariances_[order, 0, 0]),
        "shares": two.weights_[order],
        "valley": valley,
        "two": bool(delta > 10 and valley < 0.95),
    }


def _valley(density: NDArray) -> float:
    """The lowest density between the two highest maxima over the lower of these; 1 with one maximum."""
    inner = np.flatnonzero((density[1:-1] > density[:-2]) & (density[1:-1] >= density[2:])) + 1
    if inner.size < 2:
        return 1.0
    first, last = np.sort(inner[density[inner].argsort()[-2:]])
    return float(density[first : last + 1].min() / min(density[first], density[last]))


def error_axis(errors: Mapping[str, ArrayLike]) -> dict:
    """How errors of several quantities, {name: (N,)}, go together: along which axis they scatter most.

    Each is taken in units of its robust scatter (1.4826 x median distance from the median), and cut at 4 of them.
    axis : {name: component} of the unit vector, its largest component positive.   share : of the variance along it.
    r : {(name, name): correlation} of each pair. Objects with a NaN are left out.
    """
    names = list(errors)
    x = np.stack([np.asarray(errors[name], float) for name in names], axis=1)
    x = x[np.isfinite(x).all(axis=1)]
    x = x - np.median(x, axis=0)
    x = np.clip(x / np.maximum(1.4826 * np.median(np.abs(x), axis=0), 1e-12), -4, 4)
    values, vectors = np.linalg.eigh(np.cov(x.T))
    first = vectors[:, -1]
    first = first * np.sign(first[np.abs(first).argmax()])
    matrix = np.corrcoef(x.T)
    pairs = [(i, j) for i in range(len(names)) for j in range(i + 1, len(names))]
    return {
        "axis": dict(zip(names, first.tolist(), strict=True)),
        "share": float(values[-1] / values.sum()),
        "r": {(names[i], names[j]): float(matrix[i, j]) for i, j in pairs},
    }
