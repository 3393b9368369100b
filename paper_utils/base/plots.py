"""Figures. Each `plot_*` draws what it is given and returns the figure; computing and saving happen elsewhere.

Here are the look of all notebooks (`use_style()` once, Okabe & Ito's colour-blind safe colours by role) and the figures
that several studies draw; those of one study are in its own figures.py.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from numpy.typing import NDArray

from paper_utils.base import paths

# Okabe & Ito (2008). The same thing has the same colour in every notebook.
COLOURS = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#7F7F7F"
BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE, GREY = COLOURS
TRUTH, MODEL, PHOTOMETRY, BASELINE = VERMILION, BLUE, GREEN, GREY
WIDTH = 7.2  # inches: a page's width
# Lines and markers in order, so that curves also differ in black and white.
STYLES = (("-", "o"), ("--", "s"), (":", "^"), ("-.", "D"), ((0, (5, 1)), "v"), ((0, (1, 1)), "P"))
# Kinds of galaxies and of their nuclei.
TYPES = {"star-forming": SKY, "quiescent": VERMILION, "seyfert": ORANGE, "liner": PURPLE, "none": SKY}
REST_LABEL = "Rest-frame vacuum wavelength [Å]"
FLUX_LABEL = r"$F_\lambda$ [$10^{-17}$ erg s$^{-1}$ cm$^{-2}$ Å$^{-1}$]"
# Features of optical spectra that are marked in figures: vacuum Angstrom.
MARKED = {
    "[O II]": 3728.5, "H, K": 3952.0, r"H$\beta$": 4862.7, "[O III]": 5008.2, "Mg": 5176.0, "Na": 5895.6,
    r"H$\alpha$": 6564.6, "[S II]": 6725.0,
}  # fmt: skip
PAPER = {"fc": "white", "ec": "none", "alpha": 0.8, "pad": 1}  # keeps text readable over curves


def use_style() -> None:
    """Set matplotlib's defaults for the session."""
    plt.rc("figure", figsize=(WIDTH, 3.4), dpi=90)
    plt.rc("figure.constrained_layout", use=True)
    plt.rc("font", size=9)
    # Logarithmic axes say 1.5, not 1.5 x 10^0.
    plt.rc("axes", titlesize=9, grid=True, prop_cycle=plt.cycler(color=COLOURS), **{"formatter.min_exponent": 2})
    plt.rc("grid", alpha=0.25, linewidth=0.5)
    plt.rc("legend", frameon=False, fontsize=8)
    plt.rc("lines", linewidth=1.3)
    plt.rc(("xtick", "ytick"), direction="in")


def save(fig: Figure, file: Path) -> None:
    """Write a figure whole, and close it."""
    with paths.atomic(file) as temporary:
        fig.savefig(temporary, dpi=110)
    plt.close(fig)


def label_micron(ax: Axes, ticks: Sequence[float]) -> None:
    """Plain numbers on a logarithmic wavelength axis."""
    ax.set_xscale("log")
    ax.set_xticks(list(ticks), labels=[f"{tick:g}" for tick in ticks])
    ax.set_xticks([], minor=True)


def draw_chain(ax: Axes, texts: Sequence[str], colours: Sequence[str], y: float = 0.0, height: float = 0.5) -> None:
    """Boxes in a row, joined by arrows, at x = 0, 1, 2 ... and from y to y + height: the parts of a network."""
    middle = y + height / 2
    for i, (text, colour) in enumerate(zip(texts, colours, strict=True)):
        look = {"boxstyle": "round,pad=0.02", "fc": colour, "ec": "k", "lw": 0.7, "alpha": 0.45}
        ax.add_patch(FancyBboxPatch((i - 0.39, y), 0.78, height, **look))
        ax.text(i, middle, text, ha="center", va="center", fontsize=6.5)
        if i:
            ax.add_patch(FancyArrowPatch((i - 0.6, middle), (i - 0.41, middle), arrowstyle="->", mutation_scale=7))


def plot_losses(histories: Mapping[str, Mapping[str, list]], key: str, ylabel: str) -> Figure:
    """Loss against step of several trainings."""
    fig, ax = plt.subplots(figsize=(WIDTH, 2.6))
    for (name, history), style in zip(histories.items(), ["-", "--", ":", "-."] * 3, strict=False):
        ax.semilogy(history["step"], history[key], ls=style, label=name)
    ax.set(xlabel="training step", ylabel=ylabel)
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return fig


def plot_curves(
    x: Sequence, curves: Mapping[str, NDArray], xlabel: str, ylabel: str, intervals: Mapping[str, NDArray] | None = None
) -> Figure:
    """Scores against a condition, numbers or names (redshift, bands left out); `intervals` (2, n) as error bars."""
    fig, ax = plt.subplots(figsize=(WIDTH, 2.6))
    for (name, values), marker in zip(curves.items(), "osD^vP", strict=False):
        error = None if intervals is None else np.abs(intervals[name] - values)
        ax.errorbar(x, values, error, marker=marker, ms=4, capsize=2, label=name)
    lowest = min(np.min(values) for values in curves.values())
    ax.set(xlabel=xlabel, ylabel=ylabel, ylim=(max(lowest - 12, 0), 102))
    ax.legend(loc="lower left")
    return fig


def plot_true_against(truth: Mapping[str, NDArray], methods: Mapping[str, Mapping[str, NDArray]]) -> Figure:
    """One panel per quantity and method: measured on the true spectrum (x) and on the reconstructed one (y)."""
    fig, axes = plt.subplots(len(methods), len(truth), figsize=(WIDTH, 2.2 * len(methods)), squeeze=False)
    for row, (name, values) in zip(axes, methods.items(), strict=True):
        for ax, (quantity, x) in zip(row, truth.items(), strict=True):
            y = values[quantity]
            both = np.isfinite(x) & np.isfinite(y)
            low, high = np.percentile(x[both], [0.5, 99.5])
            ax.plot([low, high], [low, high], color="k", lw=0.8)
            ax.plot(x, y, ".", ms=2.5, color=MODEL, alpha=0.6)
            scatter = 1.4826 * np.median(np.abs((y - x)[both]))
            ax.text(0.04, 0.96, f"{name}\nσ = {scatter:.2g}", transform=ax.transAxes, va="top", fontsize=7)
            margin = 0.1 * (high - low)
            ends = low - margin, high + margin
            ax.set(xlim=ends, ylim=ends, xlabel=f"{quantity}, true", ylabel="reconstructed")
    return fig


def plot_coverage(levels: NDArray, curves: Mapping[str, NDArray], ax: Axes | None = None) -> Figure:
    """Share of truths inside the interval of each nominal level; a calibrated method follows the diagonal."""
    ax = ax or plt.subplots(figsize=(0.5 * WIDTH, 3.0))[1]
    ax.plot([0, 1], [0, 1], color="k", lw=0.8)
    for (name, values), (line, marker) in zip(curves.items(), STYLES, strict=False):
        ax.plot(levels, values, ls=line, marker=marker, ms=4, label=name)
    ax.set(xlim=(0, 1), ylim=(0, 1), xlabel="nominal level of the interval", ylabel="share of truths inside")
    ax.legend(fontsize=7, loc="upper left")
    return ax.figure


def plot_calibration(pit: Mapping[str, NDArray], levels: NDArray, coverage: Mapping[str, NDArray]) -> Figure:
    """Histograms of PIT values (flat if calibrated), and shares of truths within intervals of each nominal level."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 2.9))
    for (name, values), (line, _) in zip(pit.items(), STYLES, strict=False):
        left.hist(values, np.linspace(0, 1, 26), density=True, histtype="step", ls=line, lw=1.3, label=name)
    left.axhline(1, color="k", lw=0.8)
    left.set(xlim=(0, 1), xlabel="probability below the truth (PIT)", ylabel="objects, relative to uniform")
    left.legend(fontsize=7)
    return plot_coverage(levels, coverage, right)


def plot_missing(text: str) -> Figure:
    """A sentence in place of a figure that the data do not allow."""
    fig, ax = plt.subplots(figsize=(WIDTH, 0.8))
    ax.text(0.5, 0.5, text, ha="center", va="center")
    ax.axis("off")
    return fig


def complete_grid(fig: Figure, axes, n: int, xlabel: str, ylabel: str, where: str, n_columns: int) -> Figure:
    """Take away all but the first n panels of a grid, and give the rest one legend and common labels."""
    for ax in axes.flat[n:]:
        ax.remove()
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc=f"outside upper {where}", ncols=n_columns)
    fig.supxlabel(xlabel, fontsize=9)
    fig.supylabel(ylabel, fontsize=9)
    return fig
