"""The figures of study 5: filters, networks as boxes, predictions against expectations, classes and densities."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from paper_utils.base import plots
from paper_utils.base.filters import Curves
from paper_utils.base.plots import BASELINE, BLUE, MODEL, ORANGE, PAPER, SKY, STYLES, TRUTH, WIDTH


def plot_filters(curves: Curves, ranges: Sequence[tuple[float, float]], dashed: Sequence[str] = ()) -> Figure:
    """Responses of bands (wavelength [Angstrom], relative response), a panel for each range of wavelengths."""
    widths = [np.log(high / low) for low, high in ranges]
    fig, axes = plt.subplots(1, len(ranges), figsize=(WIDTH, 2.4), width_ratios=widths, sharey=True, squeeze=False)
    centres = {name: np.average(wave, weights=response) for name, (wave, response) in curves.items()}
    for ax, (low, high) in zip(axes[0], ranges, strict=True):
        inside = sorted((name for name in curves if low <= centres[name] <= high), key=centres.get)
        for name, colour in zip(inside, plt.cm.turbo(np.linspace(0.05, 0.95, len(inside))), strict=True):
            wave, response = curves[name][0], curves[name][1] / np.max(curves[name][1])
            if name in dashed:
                ax.plot(wave, response, color="k", lw=1, ls="--")
                ax.text(wave.max(), 0.3, f" {name}", fontsize=6, bbox=PAPER)
                continue
            ax.plot(wave, response, color=colour, lw=1)
            ax.fill_between(wave, response, color=colour, alpha=0.15, lw=0)
            if len(inside) <= 24:
                ax.text(centres[name], 1.03, name, rotation=90, ha="center", va="bottom", fontsize=6)
        ax.set(xlim=(low, high), ylim=(0, 1.32), yticks=[0, 0.5, 1])
        ax.locator_params(axis="x", nbins=3 if high - low > 1e4 else 7)
    axes[0, 0].set_ylabel("relative response")
    fig.supxlabel("Observed wavelength [Å, vacuum]", fontsize=9)
    return fig


def plot_networks(specs: Mapping, n_in: int) -> Figure:
    """Networks {name: `model.Spec`} as boxes of neurons, a row for each, from `n_in` inputs."""
    fig, axes = plt.subplots(len(specs), 1, figsize=(WIDTH, 1.05 * len(specs)), squeeze=False)
    deepest = max(len(spec.hidden) for spec in specs.values()) + 2
    for ax, (name, spec) in zip(axes[:, 0], specs.items(), strict=True):
        kind, last = ("linear", "linear") if spec.linear else ("ReLU", "softmax")
        boxes = [f"{n_in}\ninputs", *(f"{size}\n{kind}" for size in spec.hidden), f"{spec.n_out}\n{last}"]
        plots.draw_chain(ax, boxes, [BASELINE, *[SKY] * len(spec.hidden), ORANGE], height=0.6)
        ax.text(-0.46, 0.3, name, ha="right", va="center", fontsize=8.5, style="italic")
        ax.set(xlim=(-1.1, deepest - 0.55), ylim=(-0.1, 0.75))
        ax.axis("off")
    return fig


def plot_predicted(
    panels: Mapping[str, tuple[NDArray, NDArray]], xlabel: str, ylabel: str, limits=None, marks: Sequence[float] = ()
) -> Figure:
    """Density of predicted (second of each pair) against expected values, with the median and the central 68 %.

    limits : of both axes; by default from the expected values.   marks : vertical lines.
    """
    size = (min(WIDTH, 2.9 * len(panels) + 0.7), 3.0)
    fig, axes = plt.subplots(1, len(panels), figsize=size, sharex=True, sharey=True, squeeze=False)
    low, high = limits or np.percentile(np.concatenate([x for x, _ in panels.values()]), [0.1, 99.9])
    edges = across = np.linspace(low, high, 71)
    values = np.unique(np.concatenate([x for x, _ in panels.values()]))
    if 1 < len(values) < 50:  # in steps, such as types: a column for each
        middle = (values[1:] + values[:-1]) / 2
        across = np.concatenate([[2 * values[0] - middle[0]], middle, [2 * values[-1] - middle[-1]]])
    counts = [np.histogram2d(x, np.clip(y, low, high), [across, edges])[0].T for x, y in panels.values()]
    norm = LogNorm(1, max(np.max(counts), 2))
    for ax, count, (name, (x, y)) in zip(axes[0], counts, panels.items(), strict=True):
        shown = ax.pcolormesh(across, edges, np.where(count > 0, count, np.nan), norm=norm, cmap="Blues")
        ax.plot([low, high], [low, high], color="k", lw=0.8)
        centres, (middle, bottom, top) = binned(x, y, np.linspace(low, high, 16))
        ax.errorbar(centres, middle, [middle - bottom, top - middle], fmt="o", ms=3, color=TRUTH, lw=0.9)
        for mark in marks:
            ax.axvline(mark, color="k", ls=":", lw=0.9)
        ax.set(xlim=(low, high), ylim=(low, high), xlabel=xlabel, title=name)
    axes[0, 0].set_ylabel(ylabel)
    fig.colorbar(shown, ax=axes[0].tolist(), label="objects", pad=0.01, fraction=0.04)
    return fig


def plot_confusion(counts: NDArray, classes: Sequence[str]) -> Figure:
    """A confusion matrix, predicted down and expected across, coloured by the share of each expected class."""
    fig, ax = plt.subplots(figsize=(0.45 * WIDTH, 2.6))
    share = counts / np.maximum(counts.sum(axis=0), 1)
    image = ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (i, j), n in np.ndenumerate(counts):
        colour = "w" if share[i, j] > 0.6 else "k"
        ax.text(j, i, f"{n}\n{100 * share[i, j]:.1f} %", ha="center", va="center", color=colour)
    ax.set_xticks(range(len(classes)), labels=classes)
    ax.set_yticks(range(len(classes)), labels=classes)
    ax.set(xlabel="expected", ylabel="predicted")
    ax.grid(False)
    fig.colorbar(image, ax=ax, label="share of the expected class")
    return fig


def plot_classifiers(curves: Mapping[str, Mapping]) -> Figure:
    """ROC and precision-recall curves {method: `photoz.curves`}; the false positive rate is logarithmic."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.0))
    for (name, curve), (line, _) in zip(curves.items(), STYLES, strict=False):
        left.plot(*curve["roc"], ls=line, label=f"{name}: {curve['auc']:.4f}")
        right.plot(*curve["pr"], ls=line, label=f"{name}: {curve['average_precision']:.3f}")
    recall, small = "share of stars found (recall)", {"fontsize": 6.5, "title_fontsize": 7}
    left.set(xscale="log", xlim=(1e-4, 1), ylim=(0, 1.02), xlabel="share of galaxies called stars", ylabel=recall)
    left.legend(title="area under the ROC curve", loc="lower right", **small)
    right.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel=recall, ylabel="precision")
    right.legend(title="average precision", loc="lower left", **small)
    return fig


def plot_importance(methods: Mapping[str, Mapping[str, tuple[float, float]]], ylabel: str) -> Figure:
    """What is lost when a column is shuffled {method: {column: (mean, standard deviation)}}, a panel per method."""
    fig, axes = plt.subplots(len(methods), 1, figsize=(WIDTH, 1.7 * len(methods) + 0.5), sharex=True, squeeze=False)
    for ax, (name, losses), colour in zip(axes[:, 0], methods.items(), (MODEL, ORANGE, SKY) * 2, strict=False):
        mean, spread = np.array(list(losses.values())).T
        ax.bar(range(len(losses)), mean, yerr=spread, color=colour, width=0.75, error_kw={"lw": 0.8})
        ax.axhline(0, color="k", lw=0.7)
        ax.text(0.99, 0.95, name, transform=ax.transAxes, va="top", ha="right", fontsize=8)
        ax.set_ylim(top=1.25 * max(mean + spread))
        ax.set_xticks(range(len(losses)), labels=list(losses), rotation=90, fontsize=7)
    fig.supxlabel("shuffled among objects", fontsize=9)
    fig.supylabel(ylabel, fontsize=9)
    return fig


def plot_regression_to_the_mean(
    truth: NDArray, predictions: Mapping[str, NDArray], edges: NDArray, mark: float
) -> Figure:
    """Mean of (predicted - true) / (1 + z) in bins of the true and of the predicted redshift, and counts below."""
    fig, axes = plt.subplots(2, 2, figsize=(WIDTH, 4.0), height_ratios=[2.2, 1], sharex=True, sharey="row")
    for (name, z), (line, marker) in zip(predictions.items(), STYLES, strict=False):
        for ax, at in zip(axes[0], (truth, z), strict=True):
            centres, mean = binned(at, (z - truth) / (1 + truth), edges, mean=True, fewest=30)
            ax.plot(centres, mean, ls=line, marker=marker, ms=3, label=name)
        axes[1, 1].hist(z, edges, histtype="step", ls=line)
    axes[1, 0].hist(truth, edges, histtype="step", color="k")
    for (top, bottom), kind in zip(axes.T, ("true", "predicted"), strict=True):
        top.axhline(0, color="k", lw=0.8)
        for ax in (top, bottom):
            ax.axvline(mark, color="k", ls=":", lw=0.9)
            ax.set_xlabel(f"{kind} redshift")
    axes[0, 0].set_ylabel("mean of Δz / (1 + z)")
    axes[1, 0].set_ylabel("objects")
    axes[0, 1].legend(fontsize=7)
    return fig


def plot_densities(
    z: NDArray, density: NDArray, points: Mapping[str, NDArray], titles: Sequence[str], interval: NDArray
) -> Figure:
    """p(z) (n, G) of some objects, their 68 % `interval` (n, 2) shaded, and redshifts by other means {name: (n,)}."""
    n_rows = -(-len(density) // 3)
    fig, axes = plt.subplots(n_rows, 3, figsize=(WIDTH, 1.5 * n_rows + 0.4), squeeze=False)
    for i, (ax, p, (low, high)) in enumerate(zip(axes.flat, density, interval, strict=False)):
        ax.plot(z, p, color=MODEL)
        ax.fill_between(z, p, where=(z >= low) & (z <= high), color=MODEL, alpha=0.25, lw=0)
        for (name, at), colour, line in zip(points.items(), (TRUTH, "k", ORANGE), ("-", "--", ":"), strict=False):
            ax.axvline(at[i], color=colour, ls=line, lw=1.1, label=name)
        ends = [*z[p > 0.01 * p.max()][[0, -1]], *(at[i] for at in points.values())]
        pad = 0.15 * (max(ends) - min(ends)) + 0.01
        ax.set(xlim=(max(min(ends) - pad, 0), max(ends) + pad), ylim=(0, 1.15 * p.max()))
        ax.set_title(titles[i], fontsize=7.5)
        ax.tick_params(labelsize=7)
    return plots.complete_grid(fig, axes, len(density), "redshift", "p(z)", "right", 3)


def plot_epochs(histories: Mapping[str, Mapping], chosen: Mapping[str, int]) -> Figure:
    """Losses of training and validation by epoch (`train.losses_by_epoch`), a panel per network, `chosen` marked; below
    them what the thesis' metrics, r^2 and accuracy, make of them."""
    fig, axes = plt.subplots(2, len(histories), figsize=(WIDTH, 3.6), sharex="col", squeeze=False)
    for (ax, below), (name, history) in zip(axes.T, histories.items(), strict=True):
        per_step = history["n_epochs"] / history["n_steps"]
        steps, looks = (np.array(history[key]) * per_step for key in ("step", "validation_step"))
        r2 = {key: 1 - np.array(history[key]) / history["variance"] for key in ("loss", "validation")}
        metric = {"r^2": r2} if "accuracy" not in history else {"accuracy": {"loss": history["accuracy"]}}
        (what, found), styles = metric.popitem(), {"loss": (steps, ORANGE, "--"), "validation": (looks, BLUE, ".-")}
        for key, (at, colour, line) in styles.items():
            ax.plot(at, history[key], line, color=colour, ms=3, label={"loss": "training"}.get(key, key))
            if key in found:
                below.plot(at, found[key], line, color=colour, ms=3)
        for panel in (ax, below):
            panel.axvline(chosen[name], color="k", ls=":", lw=0.9)
            panel.tick_params(labelsize=7)
        ax.set(yscale="log", title=name)
        if "^" in what:  # far below 0 where saying the mean would be better
            below.set_yscale("symlog", linthresh=1)
        below.set(ylim=(None, 1.02))
        below.text(0.97, 0.06, f"${what}$" if "^" in what else what, transform=below.transAxes, ha="right", fontsize=8)
    axes[0, 0].set_ylabel("loss")
    axes[1, 0].set_ylabel("metric")
    fig.supxlabel("epoch", fontsize=9)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=2, fontsize=7)
    return fig


def plot_cross_talk(matrices: Mapping[str, NDArray], parameters: Sequence[str], n_populations: int) -> Figure:
    """How each output (down) follows each true parameter (across), a panel per network; populations side by side."""
    fig, axes = plt.subplots(1, len(matrices), figsize=(WIDTH, 0.5 + 0.9 * WIDTH / len(matrices)), squeeze=False)
    n = len(parameters)
    for ax, (name, talk) in zip(axes[0], matrices.items(), strict=True):
        # Population after population as the network has them; parameter after parameter is easier to read.
        order = np.arange(n * n_populations).reshape(n_populations, n).T.ravel()
        image = ax.imshow(talk[np.ix_(order, order)], cmap="RdBu_r", vmin=-1, vmax=1)
        ticks = (np.arange(n) + 0.5) * n_populations - 0.5
        ax.set_xticks(ticks, labels=parameters, rotation=90, fontsize=6.5)
        ax.set_yticks(ticks, labels=parameters if ax is axes[0, 0] else [], fontsize=6.5)
        for edge in np.arange(1, n) * n_populations - 0.5:
            ax.axhline(edge, color="k", lw=0.3)
            ax.axvline(edge, color="k", lw=0.3)
        ax.grid(False)
        ax.set_title(name, fontsize=8)
        ax.set_xlabel("true")
    axes[0, 0].set_ylabel("predicted")
    fig.colorbar(image, ax=axes[0].tolist(), label="slope", fraction=0.03, pad=0.01)
    return fig


def binned(x: NDArray, y: NDArray, edges: NDArray, mean: bool = False, fewest: int = 8) -> tuple[NDArray, NDArray]:
    """Centres of the bins of x that hold `fewest` objects, and of y there the mean, or median, 16 and 84 % (3, n)."""
    where = np.digitize(x, edges) - 1
    bins = np.flatnonzero(np.bincount(where[where >= 0], minlength=len(edges))[: len(edges) - 1] >= fewest)
    centres, held = (edges[bins] + edges[bins + 1]) / 2, [y[where == i] for i in bins]
    if mean:
        return centres, np.array([values.mean() for values in held])
    return centres, np.array([np.quantile(values, [0.5, 0.16, 0.84]) for values in held]).reshape(-1, 3).T
