"""Study 3's judgement of predicted spectra: distances, intervals, classes with flipped labels, two peaks.

Doorenbos+ 2024, Secs. 5.1, 5.5-5.7. Whether sampled spectra are calibrated is in stats/calibration.py.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from paper_utils.base.containers import Spectra
from paper_utils.diffusion import angstrom_grid as grid
from paper_utils.measure import emission, indices, redshift
from paper_utils.stats import calibration, photoz, scores

ELLIPTICAL, SPIRAL, UNCERTAIN = "elliptical", "spiral", "uncertain"
# Bulge shares above and below which a look at the image decides; between them lie the "composite bulge-disk systems
# in which neither overshadows the other" (Sec. 2.2).
BULGE, DISC = 0.75, 0.2  # most galaxies lie between, as most are uncertain in Galaxy Zoo
# Relative errors of line fluxes and the absolute one of EW(H alpha) [Angstrom] (Sec. 5.7, after Richardson+ 2016,
# 2016MNRAS.458..988R). The text has the width "multiplied with a Gaussian error with a standard deviation of 1": taken
# as 1 Angstrom added, since it lets galaxies across the limit of 1 Angstrom.
LINE_ERRORS = {"Hbeta": 0.15, "OIII_5007": 0.15, "Halpha": 0.20, "NII_6584": 0.30}
EW_ERROR = 1.0
Z_SEARCHED = (0.02, 0.18)
WAVE_OPTICAL = np.arange(4000.0, 7001.0)  # A in the rest frame, for the mean squared error
interval = partial(scores.interval, level=0.95)  # of every number of this study
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


def predict_z(flux: NDArray, templates: redshift.Templates) -> NDArray:
    """Redshifts (N,) of predicted spectra (N, 4500), which have no errors of their own; 0.1 where none is found."""
    table = redshift.measure(grid.WAVE, flux, np.ones(flux.shape), templates, z_range=Z_SEARCHED)
    return np.nan_to_num(np.asarray(table["z"]), nan=grid.Z_MIDDLE)


def compare(observed: Spectra, flux: NDArray, z: NDArray) -> dict[str, NDArray]:
    """Predicted spectra (N, 4500) of redshifts z (N,) against the observed ones, brought to their redshifts (Sec. 5.1).

    "deviation" (eq. 9), "mse" (rest frame, 4000-7000 A), "chi2" / N, "z" and "dn4000", (N,) each.
    """
    there = grid.shifted(flux, z, observed.z)
    rest = [grid.shifted(*pair, 0.0, WAVE_OPTICAL) for pair in ((observed.flux, observed.z), (flux, z))]
    return {
        "deviation": deviation(observed.flux, there),
        "mse": mse(*rest),
        "chi2": chi2(observed.flux, there, observed.ivar),
        "z": z,
        "dn4000": indices.dn4000(grid.WAVE, flux, z),
    }


def summary(found: Mapping[str, NDArray], z: NDArray, dn4000: NDArray) -> dict[str, float]:
    """One method's row of a table, of what `compare` found; z, dn4000 (N,) of the observed spectra."""
    return {
        "deviation [%]": 100 * np.median(found["deviation"]),
        "90 % below [%]": 100 * np.quantile(found["deviation"], 0.9),
        "MSE x 1e3": 1e3 * found["mse"].mean(),
        "chi2/N": np.median(found["chi2"]),
        "sigma_MAD of z": photoz.scores(found["z"], z)["sigma_mad"],
        "r of Dn4000": pearson(found["dn4000"], dn4000),
    }


def pearson(x: ArrayLike, y: ArrayLike) -> float:
    """Correlation of two quantities (N,), NaNs left out; 0 where one of them does not vary."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    good = np.isfinite(x) & np.isfinite(y)
    vary = good.sum() > 2 and min(np.std(x[good]), np.std(y[good])) > 1e-9
    return float(np.corrcoef(x[good], y[good])[0, 1]) if vary else 0.0


def paired(
    statistic: Callable[..., float], columns: Mapping[str, tuple], pairs: Iterable[tuple[str, str]] = ()
) -> dict[str, tuple[float, float, float]]:
    """`interval` of statistic(*columns[name]) by name, and of the difference of each of `pairs` as "one-other"."""

    def difference(*both: NDArray) -> float:
        one, other = both[: len(both) // 2], both[len(both) // 2 :]
        return statistic(*one) - statistic(*other)

    found = {name: interval(statistic, *each) for name, each in columns.items()}
    return found | {f"{a}-{b}": interval(difference, *columns[a], *columns[b]) for a, b in pairs}


def robust_pearson(x: ArrayLike, y: ArrayLike) -> float:
    """`pearson` with each quantity (N,) cut at 4 times its robust scatter (1.4826 x median distance from median)."""
    x, y = (np.asarray(values, float) - np.nanmedian(values) for values in (x, y))
    limits = (max(4 * 1.4826 * np.nanmedian(np.abs(values)), 1e-12) for values in (x, y))
    return pearson(*(np.clip(values, -limit, limit) for values, limit in zip((x, y), limits, strict=True)))


def share_within(values: ArrayLike, limit: ArrayLike) -> tuple[float, float, float]:
    """`interval` of the share [%] of values (N,) below a limit, a number or (N,); NaNs left out."""
    good = np.isfinite(values)
    return interval(np.mean, 100.0 * (np.asarray(values)[good] < np.broadcast_to(limit, np.shape(values))[good]))


def medians_ratio(values: NDArray, kinds: NDArray) -> float:
    """The largest median of values (N,) of one kind over the smallest, kinds (N,)."""
    medians = [np.median(values[kinds == kind]) for kind in np.unique(kinds)]
    return max(medians) / min(medians)


def choices(samples: NDArray, liked: NDArray, truth: NDArray) -> dict[str, NDArray]:
    """One log spectrum (N, L) of each object's samples (N, K, L), chosen in several ways.

    liked : (N, K), larger is better.   truth : (N, L), which only the last of the ways knows.
    """
    mean = samples.mean(axis=1)
    far, off = (((samples - goal[:, None]) ** 2).mean(axis=2) for goal in (mean, truth))
    picks = {"contrastive choice": liked.argmax(axis=1), "contrastive last": liked.argmin(axis=1)}
    picks |= {"nearest to the mean": far.argmin(axis=1), "nearest to the truth": off.argmin(axis=1)}
    chosen = {name: samples[np.arange(len(samples)), at] for name, at in picks.items()}
    return {"one at random": samples[:, 0], "mean of all": mean} | chosen


def joint_ranks(samples: NDArray, truth: NDArray, train: NDArray, seed: int = 0) -> NDArray:
    """TARP ranks (N,) of whole spectra: truth (N, L) among samples (K, N, L), see `calibration.tarp`.

    In the space of the principal coefficients of training spectra (M, L), in units of their scatter.
    """
    reduce = make_pipeline(PCA(min(20, *train.shape), random_state=0), StandardScaler()).fit(train)
    points = np.stack([reduce.transform(part) for part in samples])
    anywhere = np.random.default_rng(seed).normal(size=points.shape[1:])
    return calibration.tarp(points, reduce.transform(truth), anywhere)


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


def agn_scores(actual: ArrayLike, called: ArrayLike) -> dict[str, NDArray]:
    """Accuracy, precision and recall (eqs. 6-8) of "this is an AGN", bool (..., N): (...,) each.

    NaN where nothing is, or is called, an AGN.
    """
    actual, called = np.asarray(actual, bool), np.asarray(called, bool)
    hit = (actual & called).sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "accuracy": (actual == called).mean(axis=-1),
            "precision": hit / called.sum(axis=-1),
            "recall": hit / actual.sum(axis=-1),
        }


def auc(positive: ArrayLike, score: ArrayLike) -> float:
    """Area under the ROC curve of a score (N,) that is higher for positives (N,) bool; 0.5 where there is one class."""
    positive = np.asarray(positive, bool)
    return float(roc_auc_score(positive, score)) if 0 < positive.sum() < positive.size else 0.5


def flipped_scores(actual: NDArray, predicted: NDArray, n_experiments: int = 5000, seed: int = 0) -> dict:
    """`agn_scores` when each label is drawn from its probabilities (N, 3): name -> (mean, standard deviation)."""
    rng = np.random.default_rng(seed)
    labels = [rng.random((n_experiments, len(p))) < p[:, 2] for p in (actual, predicted)]
    return {name: (float(np.nanmean(v)), float(np.nanstd(v))) for name, v in agn_scores(*labels).items()}


def delta_bic(values: NDArray) -> float:
    """By how much two Gaussians describe values (N,) better than one, NaNs left out; above 10: strongly."""
    (x, one), (_, two) = (_mixture(values, n) for n in (1, 2))
    return float(one.bic(x) - two.bic(x))


def valley(values: NDArray) -> float:
    """Of two Gaussians fitted to values (N,): the lowest density between the two peaks over that of the lower one.

    1 where there is one peak.
    """
    _, two = _mixture(values, 2)
    first, last = np.sort(two.means_[:, 0])
    at = np.linspace(first - 0.5 * (last - first), last + 0.5 * (last - first), 400)
    density = np.exp(two.score_samples(at[:, None]))
    peaks = np.flatnonzero((density[1:-1] > density[:-2]) & (density[1:-1] >= density[2:])) + 1
    if peaks.size < 2:
        return 1.0
    first, last = np.sort(peaks[density[peaks].argsort()[-2:]])
    return float(density[first : last + 1].min() / min(density[first], density[last]))


def _mixture(values: NDArray, n: int) -> tuple[NDArray, GaussianMixture]:
    x = np.asarray(values, float)[np.isfinite(values), None]
    return x, GaussianMixture(n, n_init=4, random_state=0).fit(x)
