"""The figures of study 3, II: quantities measured on observed and on predicted spectra."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from paper_utils.base.plots import BLUE, GREY, PAPER, SKY, TRUTH, TYPES, VERMILION, WIDTH
from paper_utils.measure import emission

KINDS = {"elliptical": VERMILION, "uncertain": GREY, "spiral": BLUE}
CLASSES = {emission.PASSIVE: GREY, emission.STAR_FORMING: TYPES["star-forming"], emission.AGN: VERMILION}
CONTOURS = (0.1, 0.3, 0.6, 0.9)  # of the highest density


def plot_by_kind(rows: Mapping[str, Mapping[str, NDArray]], kinds: NDArray, *, log: bool = False) -> Figure:
    """Histograms of quantities {row: {xlabel: (N,)}} by morphology (N,): the paper's Figs. 5 and 8.

    NaNs are left out. With `log` the axes of the quantities are logarithmic.
    """
    n_panels = max(len(row) for row in rows.values())
    fig, axes = plt.subplots(len(rows), n_panels, figsize=(WIDTH, 2.1 * len(rows) + 0.3), squeeze=False)
    for (title, row), line in zip(rows.items(), axes, strict=True):
        for ax, (xlabel, values) in zip(line, row.items(), strict=False):
            known = np.isfinite(values)
            low, high = np.quantile(values[known], [0.01, 0.99])
            edges = np.geomspace(max(low, 1e-9), high, 18) if log else np.linspace(low, high, 18)
            for kind, colour in KINDS.items():
                chosen = np.clip(values[known & (kinds == kind)], edges[0], edges[-1])
                label = f"{kind}: {np.median(chosen):.2g}" if chosen.size else kind
                share = np.full(chosen.size, 1 / max(chosen.size, 1))
                ax.hist(chosen, edges, histtype="step", weights=share, color=colour, label=label)
            if log:
                ax.set_xscale("log")
                ax.xaxis.set_minor_formatter("")
            else:
                ax.axvline(0, color="k", lw=0.6)
            ax.set_xlabel(xlabel, fontsize=7.5)
            ax.set_ylim(0, 1.55 * ax.get_ylim()[1])  # room for the legend above the bars
            ax.tick_params(labelsize=6.5)
            ax.legend(
                fontsize=5.5, title="median", title_fontsize=5.5, loc="upper right", handlelength=1, frameon=True,
                framealpha=0.9, edgecolor="none",
            )  # fmt: skip
        line[0].set_ylabel(f"{title}\nshare of its kind".strip(), fontsize=7.5)
        for ax in line[len(row) :]:
            ax.set_axis_off()
    return fig


def plot_redshift_pairs(z: NDArray, found: Mapping[str, NDArray]) -> Figure:
    """Redshifts found (N,) against the spectroscopic ones, as densities: the paper's Fig. 6."""
    fig, axes = _panels(len(found), min(WIDTH, 3.2 * len(found)), 3.1, sharex=True, sharey=True)
    ends = np.array([0.04, 0.16])
    for ax, (name, values) in zip(axes, found.items(), strict=True):
        _cloud(ax, z, values)
        for limit in (-0.05, 0, 0.05):  # of outliers
            ax.plot(ends, ends + limit * (1 + ends), color=GREY if limit else "k", ls=":", lw=1)
        ax.set(xlabel="spectroscopic redshift", title=name, xlim=ends, ylim=ends + [-0.04, 0.04])
    axes[0].set_ylabel("redshift found")
    return fig


def plot_index_pairs(pairs: Mapping[str, tuple[NDArray, NDArray]], units: Mapping[str, str]) -> Figure:
    """Indices of observed (x) and predicted spectra (y), with Pearson's r: the paper's Fig. 7."""
    fig, axes = _panels(len(pairs), WIDTH, 2.35)
    for ax, (name, (x, y)) in zip(axes, pairs.items(), strict=True):
        x, y = _cloud(ax, x, y)
        ends = _limits(np.concatenate([x, y]))
        ax.plot(ends, ends, color="k", lw=0.7, ls=":")
        text = f"{name}\nr = {np.corrcoef(x, y)[0, 1]:.2f}"
        ax.text(0.05, 0.95, text, transform=ax.transAxes, va="top", fontsize=7.5, bbox=PAPER)
        unit = f" [{units[name]}]" if name in units else ""
        ax.set(xlim=ends, ylim=ends, xlabel=f"observed{unit}", ylabel=f"predicted{unit}")
    return fig


def plot_mass_metallicity(
    log_mstar: NDArray, metal: Mapping[str, tuple[NDArray, NDArray]], dn4000: NDArray, relation: tuple
) -> Figure:
    """[M/H] and its error from predicted spectra {code: ((N,), (N,))} against mass, by Dn4000: the paper's Fig. 9.

    relation : masses (n,), median (n,), half its 16-84 % range (n,), and whose it is.
    """
    fig, axes = _panels(len(metal), WIDTH, 2.9, sharey=True)
    x, median, half, source = relation
    for ax, (name, (value, error)) in zip(axes, metal.items(), strict=True):
        ax.fill_between(x, median - half, median + half, color=GREY, alpha=0.2, lw=0)
        ax.plot(x, median, color=TRUTH, ls="--", label=source)
        ax.errorbar(log_mstar, value, np.nan_to_num(error), fmt="none", ecolor="0.75", lw=0.6)
        shown = ax.scatter(log_mstar, value, c=dn4000, s=12, cmap="cividis_r", vmin=1.2, vmax=2.0, zorder=3)
        inside = log_mstar.min() - 0.15, log_mstar.max() + 0.15
        ax.set(xlabel=r"log $M_*$ [dex M$_\odot$]", title=name, xlim=inside)
        ax.legend(fontsize=7, loc="lower right")
    axes[0].set_ylabel("[M/H] [dex]")
    fig.colorbar(shown, ax=axes, label="Dn4000", pad=0.01)
    return fig


def plot_degeneracy(errors: Mapping[str, Mapping[str, NDArray]]) -> Figure:
    """Observed minus predicted, {code: {"metal", "log_age", "ebv"}}, (N,) each: the paper's Fig. 10."""
    fig, axes = _panels(len(errors), WIDTH, 3.0)
    for ax, (name, error) in zip(axes, errors.items(), strict=True):
        limit = 1.2 * max(np.nanquantile(np.abs(error["ebv"]), 0.9), 0.02)
        look = {"s": 12, "cmap": "coolwarm", "vmin": -limit, "vmax": limit, "zorder": 3}
        shown = ax.scatter(error["metal"], error["log_age"], c=error["ebv"], **look)
        _cloud(ax, error["metal"], error["log_age"])
        ax.axhline(0, color="k", lw=0.6)
        ax.axvline(0, color="k", lw=0.6)
        ax.set(xlabel="error in [M/H] [dex]", ylabel="error in log age [dex]", title=name)
        fig.colorbar(shown, ax=ax, label="error in E(B−V) [mag]", pad=0.01)
    return fig


def plot_bimodality(panels: Sequence[tuple[NDArray, NDArray, str, str]]) -> Figure:
    """Pairs of quantities of predicted spectra (x, y, xlabel, ylabel) with their density: the paper's Fig. 11."""
    fig, axes = _panels(len(panels), WIDTH, 2.4)
    for ax, (x, y, xlabel, ylabel) in zip(axes, panels, strict=True):
        x, y = _cloud(ax, x, y)
        ax.set(xlabel=xlabel, ylabel=ylabel, xlim=_limits(x), ylim=_limits(y))
    return fig


def plot_bpt_pair(samples: Mapping[str, tuple[NDArray, NDArray, NDArray]]) -> Figure:
    """BPT diagrams {title: (log [N II]/H alpha, log [O III]/H beta, class)}, (N,) each: the paper's Fig. 12."""
    fig, axes = _panels(len(samples), WIDTH, 3.1, sharex=True, sharey=True)
    x = np.linspace(-1.6, 0.44, 300)
    curves = {"Kauffmann+ 2003": (emission.kauffmann(x), "--"), "Kewley+ 2001": (emission.kewley(x), "-")}
    for ax, (title, (n2, o3, kind)) in zip(axes, samples.items(), strict=True):
        for name in (emission.STAR_FORMING, emission.AGN):
            rows = kind == name
            ax.plot(n2[rows], o3[rows], ".", ms=3.5, color=CLASSES[name], label=f"{name}: {rows.sum()}")
        ax.plot([], [], " ", label=f"passive: {(kind == emission.PASSIVE).sum()}")
        for name, (y, style) in curves.items():
            ax.plot(x, np.where(y > -1.4, y, np.nan), style, color="k", lw=0.9, label=name)
        ax.set(xlim=(-1.6, 0.6), ylim=(-1.3, 1.4), title=title, xlabel=r"log [N II] 6584 / H$\alpha$")
        ax.legend(fontsize=6.5, loc="lower left")
    axes[0].set_ylabel(r"log [O III] 5007 / H$\beta$")
    return fig


def _panels(n: int, width: float, height: float, **shared: bool) -> tuple[Figure, list[Axes]]:
    """n panels in rows of up to three, `height` inches each."""
    columns = min(n, 3)
    n_rows = -(-n // columns)
    fig, axes = plt.subplots(n_rows, columns, figsize=(width, height * n_rows), squeeze=False, **shared)
    for ax in axes.flat:
        ax.xaxis.label.set_size(7.5)
        ax.yaxis.label.set_size(7.5)
        ax.tick_params(labelsize=7)
    for ax in axes.flat[n:]:
        ax.set_axis_off()
    return fig, list(axes.flat[:n])


def _limits(values: NDArray) -> tuple[float, float]:
    """Of an axis that shows all but the most extreme values."""
    low, high = np.quantile(values, [0.01, 0.99])
    margin = 0.1 * (high - low) + 1e-3
    return low - margin, high + margin


def _cloud(ax: Axes, x: NDArray, y: NDArray) -> tuple[NDArray, NDArray]:
    """Points, and contours of their density where there are enough for a kernel estimate; returns those known."""
    from scipy.stats import gaussian_kde

    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    ax.plot(x, y, ".", ms=2.5, color=SKY)
    if len(x) < 20 or min(np.ptp(x), np.ptp(y)) <= 0:
        return x, y
    (left, right), (low, high) = ends = [np.quantile(values, [0.01, 0.99]) for values in (x, y)]
    inside = (x >= left) & (x <= right) & (y >= low) & (y <= high)
    kde = gaussian_kde([x[inside], y[inside]])
    grid = np.meshgrid(*(np.linspace(a - 0.2 * (b - a), b + 0.2 * (b - a), 60) for a, b in ends))
    density = kde([g.ravel() for g in grid]).reshape(grid[0].shape)
    ax.contour(*grid, density / density.max(), levels=CONTOURS, colors=BLUE, linewidths=0.8)
    return x, y
