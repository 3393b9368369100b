"""The figures of study 3, II: quantities measured on observed and on predicted spectra."""

from __future__ import annotations

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
            seen = values[np.isfinite(values)]
            low, high = np.quantile(seen, [0.01, 0.99])
            edges = np.geomspace(max(low, 1e-9), high, 18) if log else np.linspace(low, high, 18)
            for kind, colour in KINDS.items():
                chosen = np.clip(values[(kinds == kind) & np.isfinite(values)], edges[0], edges[-1])
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


def plot_redshift_pairs(z: NDArray, found: Mapping[str, NDArray], limit: float = 0.05) -> Figure:
    """Redshifts found (N,) against the spectroscopic ones, as densities: the paper's Fig. 6."""
    fig, axes = plt.subplots(
        1, len(found), figsize=(min(WIDTH, 3.2 * len(found)), 3.1), sharex=True, sharey=True, squeeze=False
    )
    ends = np.array([0.04, 0.16])
    for ax, (name, values) in zip(axes[0], found.items(), strict=True):
        ax.plot(z, values, ".", ms=2.5, color=SKY)
        _density(ax, z, values)
        ax.plot(ends, ends, color="k", ls=":", lw=1)
        for sign in (-1, 1):
            ax.plot(ends, ends + sign * limit * (1 + ends), color=GREY, ls=":", lw=1)
        ax.set(xlabel="spectroscopic redshift", title=name, xlim=ends, ylim=ends + [-0.04, 0.04])
    axes[0, 0].set_ylabel("redshift of the predicted spectrum")
    return fig


def plot_index_pairs(pairs: Mapping[str, tuple[NDArray, NDArray]], units: Mapping[str, str]) -> Figure:
    """Indices of observed (x) and predicted spectra (y), with Pearson's r: the paper's Fig. 7."""
    n = -(-len(pairs) // 3)
    fig, axes = plt.subplots(n, 3, figsize=(WIDTH, 2.35 * n), squeeze=False)
    for ax, (name, (x, y)) in zip(axes.flat, pairs.items(), strict=False):
        both = np.isfinite(x) & np.isfinite(y)
        low, high = np.quantile(np.concatenate([x[both], y[both]]), [0.01, 0.99])
        pad = 0.1 * (high - low)
        ax.plot([low, high], [low, high], color="k", lw=0.7, ls=":")
        ax.plot(x, y, ".", ms=2.5, color=SKY)
        _density(ax, x[both], y[both])
        r = np.corrcoef(x[both], y[both])[0, 1]
        ax.text(0.05, 0.95, f"{name}\nr = {r:.2f}", transform=ax.transAxes, va="top", fontsize=7.5, bbox=PAPER)
        unit = f" [{units[name]}]" if units.get(name) else ""
        ax.set(xlim=(low - pad, high + pad), ylim=(low - pad, high + pad))
        ax.set_xlabel(f"observed{unit}", fontsize=7.5)
        ax.set_ylabel(f"predicted{unit}", fontsize=7.5)
        ax.tick_params(labelsize=7)
    for ax in axes.flat[len(pairs) :]:
        ax.set_axis_off()
    return fig


def plot_mass_metallicity(
    log_mstar: NDArray,
    metal: Mapping[str, tuple[NDArray, NDArray]],
    dn4000: NDArray,
    relation: tuple[NDArray, NDArray, NDArray, str],
) -> Figure:
    """[M/H] and its error from predicted spectra {code: ((N,), (N,))} against mass, by Dn4000: the paper's Fig. 9.

    relation : masses, median, half its 16-84 % range, and whose it is.
    """
    fig, axes = plt.subplots(1, len(metal), figsize=(WIDTH, 2.9), sharey=True, squeeze=False)
    for ax, (name, (value, error)) in zip(axes[0], metal.items(), strict=True):
        x, median, half, source = relation
        ax.fill_between(x, median - half, median + half, color=GREY, alpha=0.2, lw=0)
        ax.plot(x, median, color=TRUTH, ls="--", label=source)
        ax.errorbar(log_mstar, value, np.where(np.isfinite(error), error, 0), fmt="none", ecolor="0.75", lw=0.6)
        shown = ax.scatter(log_mstar, value, c=dn4000, s=12, cmap="cividis_r", vmin=1.2, vmax=2.0, zorder=3)
        inside = np.quantile(log_mstar, [0.0, 1.0]) + [-0.15, 0.15]
        ax.set(xlabel=r"log $M_*$ [dex M$_\odot$]", title=name, xlim=inside)
        ax.legend(fontsize=7, loc="lower right")
    axes[0, 0].set_ylabel("[M/H] [dex]")
    fig.colorbar(shown, ax=axes[0].tolist(), label="Dn4000", pad=0.01)
    return fig


def plot_degeneracy(errors: Mapping[str, Mapping[str, NDArray]]) -> Figure:
    """Observed minus predicted, {code: {"metal", "log_age", "ebv"}}, (N,) each: the paper's Fig. 10."""
    fig, axes = plt.subplots(1, len(errors), figsize=(WIDTH, 3.0), squeeze=False)
    for ax, (name, error) in zip(axes[0], errors.items(), strict=True):
        x, y, c = (np.asarray(error[key], float) for key in ("metal", "log_age", "ebv"))
        both = np.isfinite(x) & np.isfinite(y)
        limit = 1.2 * max(np.nanquantile(np.abs(c), 0.9), 0.02)
        shown = ax.scatter(x, y, c=c, s=12, cmap="coolwarm", vmin=-limit, vmax=limit, zorder=3)
        _density(ax, x[both], y[both])
        ax.axhline(0, color="k", lw=0.6)
        ax.axvline(0, color="k", lw=0.6)
        ax.set(xlabel="error in [M/H] [dex]", ylabel="error in log age [dex]", title=name)
        fig.colorbar(shown, ax=ax, label="error in E(B−V) [mag]", pad=0.01)
    return fig


def plot_bimodality(panels: Sequence[tuple[NDArray, NDArray, str, str]]) -> Figure:
    """Pairs of quantities of predicted spectra (x, y, xlabel, ylabel) with their density: the paper's Fig. 11."""
    n = -(-len(panels) // 3)
    fig, axes = plt.subplots(n, 3, figsize=(WIDTH, 2.4 * n), squeeze=False)
    for ax, (x, y, xlabel, ylabel) in zip(axes.flat, panels, strict=False):
        both = np.isfinite(x) & np.isfinite(y)
        ax.plot(x, y, ".", ms=3, color=SKY)
        _density(ax, x[both], y[both])
        for name, values in (("x", x[both]), ("y", y[both])):
            low, high = np.quantile(values, [0.005, 0.995])
            pad = 0.08 * (high - low) + 1e-3
            ax.set(**{f"{name}lim": (low - pad, high + pad)})
        ax.set_xlabel(xlabel, fontsize=7.5)
        ax.set_ylabel(ylabel, fontsize=7.5)
        ax.tick_params(labelsize=7)
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    return fig


def plot_bpt_pair(samples: Mapping[str, tuple[NDArray, NDArray, NDArray]]) -> Figure:
    """BPT diagrams {title: (log [N II]/H alpha, log [O III]/H beta, class)}, (N,) each: the paper's Fig. 12."""
    fig, axes = plt.subplots(1, len(samples), figsize=(WIDTH, 3.1), sharex=True, sharey=True, squeeze=False)
    for ax, (title, (n2, o3, kind)) in zip(axes[0], samples.items(), strict=True):
        for name in (emission.STAR_FORMING, emission.AGN):
            rows = kind == name
            ax.plot(n2[rows], o3[rows], ".", ms=3.5, color=CLASSES[name], label=f"{name}: {rows.sum()}")
        ax.plot([], [], " ", label=f"passive: {(kind == emission.PASSIVE).sum()}")
        x = np.linspace(-1.6, 0.44, 300)
        for curve, style, name in (
            (emission.kauffmann, "--", "Kauffmann+ 2003"),
            (emission.kewley, "-", "Kewley+ 2001"),
        ):
            y = np.where(curve(x) > -1.4, curve(x), np.nan)
            ax.plot(x, y, style, color="k", lw=0.9, label=name)
        ax.set(xlim=(-1.6, 0.6), ylim=(-1.3, 1.4), title=title, xlabel=r"log [N II] 6584 / H$\alpha$")
        ax.legend(fontsize=6.5, loc="lower left")
    axes[0, 0].set_ylabel(r"log [O III] 5007 / H$\beta$")
    return fig


def _density(ax: Axes, x: NDArray, y: NDArray) -> None:
    """Contours of a kernel estimate of the density, where there are objects enough for one."""
    from scipy.stats import gaussian_kde

    if len(x) < 20 or min(np.ptp(x), np.ptp(y)) <= 0:
        return
    ends = [np.quantile(values, [0.01, 0.99]) for values in (x, y)]
    inside = (x >= ends[0][0]) & (x <= ends[0][1]) & (y >= ends[1][0]) & (y <= ends[1][1])
    kde = gaussian_kde([x[inside], y[inside]])
    axes = [np.linspace(low - 0.2 * (high - low), high + 0.2 * (high - low), 60) for low, high in ends]
    grid = np.meshgrid(*axes)
    density = kde([g.ravel() for g in grid]).reshape(grid[0].shape)
    ax.contour(*grid, density / density.max(), levels=CONTOURS, colors=BLUE, linewidths=0.8)
