"""The figures of the mock sky: one galaxy step by step, spectra by type, the population and its colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from paper_utils.base import plots
from paper_utils.base.plots import BLUE, FLUX_LABEL, GREY, MARKED, ORANGE, PAPER, REST_LABEL, SKY, TRUTH, TYPES, WIDTH
from paper_utils.sky import colours

MOCK, REAL, REAL_TOO = BLUE, TRUTH, ORANGE


class Step(NamedTuple):
    """One panel of `plot_steps`: its title, wavelengths (L,), curves {label: (L,)} drawn in order, and axis labels."""

    title: str
    wave: NDArray
    curves: Mapping[str, NDArray]
    xlabel: str
    ylabel: str


class Relation(NamedTuple):
    """One panel of `plot_relations`: y against x (N,), NaN where it has none, and the published line (x, y, label)."""

    x: NDArray
    y: NDArray
    xlabel: str
    ylabel: str
    line: tuple[NDArray, NDArray, str]


def plot_steps(steps: Sequence[Step]) -> Figure:
    """How one galaxy is made, a panel for each step of one curve or two; the last lies on top."""
    fig, axes = plt.subplots(len(steps), 1, figsize=(WIDTH, 1.75 * len(steps)), squeeze=False)
    for ax, step in zip(axes[:, 0], steps, strict=True):
        shades = [GREY, TRUTH][-len(step.curves) :]
        for (label, flux), colour in zip(step.curves.items(), shades, strict=True):
            ax.plot(step.wave, flux, lw=0.8, color=colour, label=label)
        top = max(np.nanpercentile(flux, 99.7) for flux in step.curves.values())
        ax.set(xlabel=step.xlabel, ylabel=step.ylabel, ylim=(0, 1.45 * top), xlim=step.wave[[0, -1]])
        ax.set_title(step.title, loc="left")
        ax.legend(loc="upper right", ncols=len(step.curves))
        ax.tick_params(labelsize=7)
    return fig


def plot_page(
    wave_obs: NDArray, flux: NDArray, ivar: NDArray, clean: NDArray, z: NDArray, titles: Sequence[str]
) -> Figure:
    """Spectra (n, L) as observed and without noise, in the rest frame; what ivar excludes leaves gaps."""
    fig, axes = plt.subplots(-(-len(titles) // 2), 2, figsize=(WIDTH, 1.35 * -(-len(titles) // 2) + 0.8), squeeze=False)
    for i, ax in enumerate(axes.flat[: len(titles)]):
        rest = wave_obs / (1 + z[i])
        ax.plot(rest, np.where(ivar[i] > 0, flux[i], np.nan), color=GREY, lw=0.4, label="observed")
        ax.plot(rest, clean[i], color=TRUTH, lw=0.7, label="without noise")
        top = 1.7 * np.percentile(clean[i], 99)
        ax.set(ylim=(0, top), xlim=(3250, 7700))
        for name, at in MARKED.items():
            ax.axvline(at, ymin=0.84, ymax=0.9, color="k", lw=0.6)
            if i < 2:
                ax.text(at, 1.02 * top, name, ha="center", va="bottom", fontsize=6, rotation=90)
        ax.text(0.02, 0.95, titles[i], transform=ax.transAxes, va="top", fontsize=7, bbox=PAPER)
        ax.tick_params(labelsize=7, labelbottom=i >= len(titles) - 2)
    return plots.complete_grid(fig, axes, len(titles), REST_LABEL, FLUX_LABEL, "right", 2)


def plot_relations(relations: Sequence[Relation], quiescent: NDArray) -> Figure:
    """Scaling relations of the population, star-forming and quiescent galaxies apart, with the published ones."""
    fig, axes = plt.subplots(-(-len(relations) // 2), 2, figsize=(WIDTH, 2.6 * -(-len(relations) // 2)), squeeze=False)
    for ax, relation in zip(axes.flat, relations, strict=True):
        for name, rows in (("star-forming", ~quiescent), ("quiescent", quiescent)):
            if np.isfinite(relation.y[rows]).any():
                ax.plot(relation.x[rows], relation.y[rows], ",", color=TYPES[name], alpha=0.5)
                ax.plot([], [], "o", ms=4, color=TYPES[name], label=name)
        x, y, label = relation.line
        ax.plot(x, y, color="k", label=label)
        inside = np.isfinite(relation.x) & np.isfinite(relation.y)
        for axis, values in (("x", relation.x[inside]), ("y", relation.y[inside])):
            low, high = np.percentile(values, [0.2, 99.8])
            ax.set(**{f"{axis}lim": (low - 0.08 * (high - low), high + 0.08 * (high - low))})
        ax.set(xlabel=relation.xlabel, ylabel=relation.ylabel)
        ax.legend(loc="best", fontsize=7)
    return fig


def plot_bpt(n2: NDArray, o3: NDArray, kind: NDArray) -> Figure:
    """The BPT diagram, log [N II]/H alpha and log [O III]/H beta (N,), by class of the nucleus."""
    fig, ax = plt.subplots(figsize=(0.7 * WIDTH, 3.6))
    for name, label in (("none", "no active nucleus"), ("liner", "LINER"), ("seyfert", "Seyfert")):
        rows = kind == name
        ax.plot(n2[rows], o3[rows], ",", color=TYPES[name], alpha=0.6)
        ax.plot([], [], "o", ms=4, color=TYPES[name], label=label)
    x = np.linspace(-1.6, 0.0, 200)
    ax.plot(x, 0.61 / (x - 0.05) + 1.3, "k--", label="Kauffmann+ 2003")
    x = np.linspace(-1.6, 0.38, 200)
    ax.plot(x, 0.61 / (x - 0.47) + 1.19, "k-", label="Kewley+ 2001")
    ax.set(xlim=(-1.6, 0.6), ylim=(-1.3, 1.4))
    ax.set(xlabel=r"log [N II] 6584 / H$\alpha$", ylabel=r"log [O III] 5007 / H$\beta$")
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return fig


def plot_histograms(
    panels: Mapping[str, Mapping[str, NDArray]], marks: Mapping[str, Mapping[str, Sequence[float]]] | None = None
) -> Figure:
    """A histogram of unit area per panel {xlabel: {label: values}}, with dashed marks {xlabel: {label: places}}.

    Fifty values or fewer are ticks on the axis instead.
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 2.5), squeeze=False)
    for ax, (xlabel, samples) in zip(axes[0], panels.items(), strict=True):
        low, high = np.nanpercentile(np.concatenate(list(samples.values())), [0.2, 99.8])
        # Values in steps, such as types, get a bin each.
        step = max([(high - low) / 44, *(_least_step(values) for values in samples.values() if len(values) > 50)])
        edges = np.arange(low - step / 2, high + step, step)
        for (label, values), colour in zip(samples.items(), (MOCK, SKY, REAL), strict=False):
            if len(values) > 50:
                ax.hist(values, edges, density=True, histtype="step", color=colour, label=label)
            else:
                ax.plot(values, np.full(len(values), 0.05), "|", ms=9, color=REAL, label=label,
                        transform=ax.get_xaxis_transform())  # fmt: skip
        for label, places in (marks or {}).get(xlabel, {}).items():
            for number, at in enumerate(places):
                ax.axvline(at, ymax=0.72, color="k", ls="--", lw=0.9, label="" if number else label)
        ax.set(xlabel=xlabel, ylabel="share per unit")
        ax.set_ylim(0, 1.4 * ax.get_ylim()[1])
        ax.legend(loc="upper right", fontsize=7)
    return fig


def _least_step(values: NDArray) -> float:
    """The least distance of two different values, 0 where all are alike."""
    steps = np.diff(np.unique(values[np.isfinite(values)]))
    return steps.min() if len(steps) else 0.0


def plot_colours(mock: Table, kept: Table, real: Table | None = None) -> Figure:
    """Colours of mock galaxies (`measure.colours.of`) as histograms; above them percentiles of mock and real ones.

    kept : the real galaxies' percentiles (`measure.colours.published`), the complete sample.   real : the galaxies
    themselves, where the reader has them.
    """
    fig, axes = plt.subplots(1, len(colours.COLOURS), figsize=(WIDTH, 2.9), sharey=False)
    ours = colours.summary(mock, "mock")
    for ax, colour in zip(axes, colours.COLOURS, strict=True):
        bars = [("mock", ours, MOCK), ("model complete", kept, REAL), ("petro complete", kept, REAL_TOO)]
        rows = [(colours.rows(table, sample, colour)[0], shade) for sample, table, shade in bars]
        edges = np.linspace(min(row["p5"] for row, _ in rows) - 0.15, max(row["p95"] for row, _ in rows) + 0.15, 32)
        height = ax.hist(mock[colour], edges, density=True, color=MOCK, alpha=0.3, label="mock")[0].max()
        if real is not None:
            ax.hist(real[colour], edges, density=True, color=REAL, histtype="step", label="SDSS, model magnitudes")
        for number, (row, shade) in enumerate(rows):
            _bar(ax, row, (1.34 - 0.1 * number) * height, shade)
        ax.set(xlabel=f"{colour.replace('-', ' − ')} [AB mag]", ylim=(0, 1.45 * height))
        ax.tick_params(labelsize=7)
    axes[0].set_ylabel("share per mag")
    for label, shade in (("mock", MOCK), ("SDSS, model magnitudes", REAL), ("SDSS, Petrosian magnitudes", REAL_TOO)):
        axes[0].plot([], [], "o-", color=shade, lw=2.5, ms=4, label=label)
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles[-3:], labels[-3:], loc="outside upper center", ncols=3)
    return fig


def plot_trends(mock: Table, kept: Table, by: str, sample: str = "model complete") -> Figure:
    """Each colour, and the redshift if it is not what is binned, in bins of `by`: median and 16-84 % of mock and real.

    mock : galaxies (`measure.colours.of`).   kept : percentiles of real ones, of which `sample` is shown.
    """
    names = {"r": r"$r$ [AB mag]", "z": "redshift", "g-r": "g − r [AB mag]"}
    shown = [quantity for quantity in ("z", *colours.COLOURS) if quantity != by]
    fig, axes = plt.subplots(1, len(shown), figsize=(WIDTH, 2.5))
    for ax, quantity in zip(axes, shown, strict=True):
        for label, table, name, shade, side in (
            ("mock", colours.summary(mock, "mock"), "mock", MOCK, -1), ("SDSS", kept, sample, REAL, 1)
        ):  # fmt: skip
            rows = colours.rows(table, name, quantity, by)
            middle, step = (rows["low"] + rows["high"]) / 2, (rows["high"] - rows["low"]).mean()
            error = [rows["p50"] - rows["p16"], rows["p84"] - rows["p50"]]
            ax.errorbar(middle + 0.07 * side * step, rows["p50"], error, fmt="o", ms=3.5, color=shade, label=label)
        ax.set(xlabel=names[by], ylabel=names.get(quantity, f"{quantity.replace('-', ' − ')} [AB mag]"))
        ax.tick_params(labelsize=7)
    axes[0].legend(loc="upper left")
    return fig


def plot_realism(table: Table) -> Figure:
    """Rows of data/realism.csv, each as its distance from the real value in units of its tolerance, by part of the sky.

    What lies further off than 1.9 is drawn there, as a triangle.
    """
    parts = list(dict.fromkeys(table["part"]))
    heights = [int((table["part"] == part).sum()) for part in parts]
    fig, axes = plt.subplots(
        len(parts), 1, figsize=(WIDTH, 0.155 * sum(heights) + 0.6), height_ratios=heights, sharex=True, squeeze=False
    )
    for ax, part in zip(axes[:, 0], parts, strict=True):
        rows = table[table["part"] == part]
        off, at = (rows["mock"] - rows["real"]) / rows["tolerance"], np.arange(len(rows))
        ax.axvspan(-1, 1, color=MOCK, alpha=0.12, lw=0)
        ax.axvline(0, color=REAL, lw=0.8)
        far = np.abs(off) > 1.9
        ax.plot(off[~far], at[~far], "o", ms=3.5, color=MOCK)
        for sign, marker in ((1, ">"), (-1, "<")):
            beyond = far & (np.sign(off) == sign)
            ax.plot(np.full(beyond.sum(), 1.9 * sign), at[beyond], marker, ms=5, color=REAL_TOO)
        ax.set_yticks(at, rows["quantity"], fontsize=6)
        ax.set(xlim=(-2, 2), ylim=(len(rows) - 0.3, -0.7))
        ax.set_title(part, loc="left")
    axes[-1, 0].set_xlabel("(mock − real) / tolerance")
    return fig


def _bar(ax: Axes, row, height: float, colour: str) -> None:
    """Percentiles as a line: 5-95 % thin, 16-84 % thick, the median a dot."""
    ax.plot([row["p5"], row["p95"]], [height] * 2, color=colour, lw=0.8)
    ax.plot([row["p16"], row["p84"]], [height] * 2, color=colour, lw=3, solid_capstyle="butt")
    ax.plot(row["p50"], height, "o", color=colour, mec="white", mew=0.8, ms=6)
