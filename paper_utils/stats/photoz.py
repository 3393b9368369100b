"""How good is a photometric redshift, a star/galaxy class, an error bar? The field's figures of merit.

Functions of one sample take `axis`, so that `scores.bootstrap` gives their intervals; `scores.share` gives those of a
share.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import kstest
from sklearn import metrics as sk

from paper_utils.base.errors import DataError
from paper_utils.stats.scores import share

OUTLIER = 0.15  # of |dz|, the common limit; Molino+ 2014 (2014MNRAS.441.2891M) also counts by 5 sigma_MAD


def residuals(z: ArrayLike, truth: ArrayLike) -> NDArray:
    """dz = (z - z_true) / (1 + z_true), (N,). Raises DataError where a true redshift is -1 or less, or not finite."""
    z, truth = np.asarray(z, float), np.asarray(truth, float)
    if (bad := np.flatnonzero(~(np.isfinite(truth) & (truth > -1) & np.isfinite(z)))).size:
        i = bad[0]
        remedy = "Compare finite redshifts above -1 only; leave out failed ones (99, -99)."
        raise DataError(f"the redshift {z[i]:g} is held against {truth[i]:g}", remedy=remedy, row=f"row {i}")
    return (z - truth) / (1 + truth)


def sigma_mad(dz: ArrayLike, axis: int = -1) -> NDArray:
    """1.4826 x median |dz - median dz|: the standard deviation of the core, blind to outliers."""
    dz = np.asarray(dz)
    return 1.4826 * np.median(np.abs(dz - np.median(dz, axis=axis, keepdims=True)), axis=axis)


def sigma_68(dz: ArrayLike, axis: int = -1) -> NDArray:
    """Half the width of the central 68 %."""
    low, high = np.quantile(dz, [0.16, 0.84], axis=axis)
    return (high - low) / 2


def outliers(dz: ArrayLike, axis: int = -1) -> NDArray:
    """Share of catastrophic outliers, |dz| > `OUTLIER`."""
    return (np.abs(dz) > OUTLIER).mean(axis=axis)


def scores(z: ArrayLike, truth: ArrayLike) -> dict[str, float]:
    """sigma_mad, sigma_68, bias (median dz), outliers and n of a sample of redshifts."""
    dz = residuals(z, truth)
    statistics = {"sigma_mad": sigma_mad, "sigma_68": sigma_68, "bias": np.median, "outliers": outliers}
    return {name: float(statistic(dz)) for name, statistic in statistics.items()} | {"n": dz.size}


def slope(predicted: ArrayLike, expected: ArrayLike) -> tuple[float, float]:
    """Slope and intercept of predicted against expected, by least squares.

    For predictions that minimise the squared error the slope is their R^2, not 1: whatever is not known is predicted as
    the mean. Predicted values exchanged with expected ones give 1 then.
    """
    return tuple(float(c) for c in np.polynomial.Polynomial.fit(expected, predicted, 1).convert().coef[::-1])


def coverage(low: ArrayLike, high: ArrayLike, truth: ArrayLike) -> tuple[float, float, float]:
    """Share [%] of truths (N,) within [low, high] and its 68 % interval, (value, low, high)."""
    truth = np.asarray(truth)
    return share((truth >= low) & (truth <= high))


def pit_distance(pit: ArrayLike) -> tuple[float, float]:
    """Largest distance of the distribution of PIT values (N,) from the uniform, and its Kolmogorov-Smirnov p value."""
    return tuple(float(value) for value in kstest(np.asarray(pit), "uniform"))


def confusion(predicted: ArrayLike, expected: ArrayLike, n_classes: int = 2) -> NDArray:
    """Counts (n_classes, n_classes), rows predicted and columns expected, as Table 4.1 of Cacho 2020."""
    predicted, expected = np.asarray(predicted, int), np.asarray(expected, int)
    return np.bincount(predicted * n_classes + expected, minlength=n_classes**2).reshape(n_classes, n_classes)


def classification(counts: ArrayLike, positive: int = 1) -> dict[str, float]:
    """What a confusion matrix (predicted, expected) says of the class `positive`, shares between 0 and 1.

    accuracy; baseline: the accuracy of calling everything the commonest class; precision, recall, f1; balanced: the
    mean recall of all classes. NaN where nothing was predicted, or nothing is, of the class.
    """
    counts = np.asarray(counts, float)
    hit, predicted, expected = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    with np.errstate(invalid="ignore"):  # 0 / 0
        found = {"accuracy": hit.sum() / counts.sum(), "baseline": expected.max() / counts.sum()}
        each = {"precision": hit / predicted, "recall": hit / expected, "f1": 2 * hit / (predicted + expected)}
    found |= {name: shares[positive] for name, shares in each.items()} | {"balanced": each["recall"].mean()}
    return {name: float(value) for name, value in found.items()}


def curves(score: ArrayLike, positive: ArrayLike) -> dict:
    """ROC and precision-recall curves of a score (N,) that is higher for positives (N,) bool.

    "roc": (false positive rate, true positive rate); "pr": (recall, precision); their areas "auc" and
    "average_precision", whose values for a guess are 0.5 and the share of positives.
    """
    score, positive = np.asarray(score, float), np.asarray(positive, bool)
    if positive.all() or not positive.any():
        raise DataError("all objects are of one class", remedy="Curves need stars and galaxies.", row="positive")
    false, true, _ = sk.roc_curve(positive, score)
    precision, recall, _ = sk.precision_recall_curve(positive, score)
    areas = {"auc": sk.auc(false, true), "average_precision": sk.average_precision_score(positive, score)}
    return {"roc": (false, true), "pr": (recall, precision)} | {name: float(area) for name, area in areas.items()}


def class_scores(score: ArrayLike, positive: ArrayLike) -> dict[str, float]:
    """What a score (N,) that is higher for positives (N,) bool is worth, cut at 0.5 and at all levels."""
    quality, curve = classification(confusion(np.asarray(score) > 0.5, positive)), curves(score, positive)
    out = {"accuracy [%]": 100 * quality["accuracy"]} | {name: quality[name] for name in ("precision", "recall", "f1")}
    return out | {"ROC area": curve["auc"], "average precision": curve["average_precision"]}


def permutation_importance(
    predict: Callable[[NDArray], NDArray],
    x: NDArray,
    error: Callable[[NDArray], float],
    groups: Mapping[str, list[int]],
    n_repeats: int = 3,
) -> dict[str, tuple[float, float]]:
    """How much worse a prediction gets when columns are shuffled among objects: mean, standard deviation.

    predict : inputs (N, n_in) to predictions.   error : of predictions, lower is better.
    groups : columns shuffled together, such as a band and its error: name -> column numbers. Bands that carry the same
        information hide each other: a small importance is not a small content.
    """
    rng, reference = np.random.default_rng(0), error(predict(x))

    def loss(group: list[int]) -> float:
        shuffled = x.copy()
        shuffled[:, group] = x[rng.permutation(len(x))][:, group]
        return error(predict(shuffled)) - reference

    losses = {name: [loss(group) for _ in range(n_repeats)] for name, group in groups.items()}
    return {name: (float(np.mean(found)), float(np.std(found))) for name, found in losses.items()}
