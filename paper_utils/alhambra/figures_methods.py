"""The figures of study 5 that hold methods, trainings and sets of bands beside each other."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from astropy.table import Table
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from numpy.typing import NDArray

from paper_utils.alhambra import bands
from paper_utils.base.plots import STYLES, WIDTH


def plot_held(
    panels: Mapping[str, Mapping[str, NDArray]],
    magnitudes: NDArray,
    band: str,
    marks: Sequence[float],
    references: Sequence[str],
) -> Figure:
    """Share [%] of truths within 68 % intervals {panel: {method: (K,)}} at the magnitudes (K,) of bins.

    references : two methods to compare with, in black and grey.
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 3.4), sharex=True, sharey=True, squeeze=False)
    for ax, (title, methods) in zip(axes[0], panels.items(), strict=True):
        for i, (name, held) in enumerate(methods.items()):
            line, marker = STYLES[i % len(STYLES)]
            how = {"color": ("k", "0.55")[references.index(name)], "lw": 2} if name in references else {}
            ax.plot(magnitudes, held, ls=line, marker=marker, ms=3, label=name, **how)
        for level, style in ((68, "-"), (60, ":")):
            ax.axhline(level, color="k", lw=0.8, ls=style)
        for mark in marks:
            ax.axvline(mark, color="k", ls=":", lw=0.7)
        ax.set(xlabel=f"{band} [mag]", title=title, ylim=(0, 100))
    axes[0, 0].set_ylabel("true redshift in 68 % interval [%]")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=7)
    return fig


def plot_methods(table: Table, columns: Mapping[str, str], logarithmic: Sequence[str] = ()) -> Figure:
    """Numbers of methods, a panel for each of `columns` {column: label}, a row for each of the table's "method" and a
    mark for each of its kinds of "galaxies"."""
    names, kinds = list(dict.fromkeys(table["method"]))[::-1], list(dict.fromkeys(table["galaxies"]))
    fig, axes = plt.subplots(1, len(columns), figsize=(WIDTH, 0.24 * len(names) + 1.2), sharey=True)
    for ax, (column, label) in zip(axes, columns.items(), strict=True):
        for kind, (_, marker) in zip(kinds, STYLES, strict=False):
            part = table[table["galaxies"] == kind]
            ax.plot(
                part[column], [names.index(name) for name in part["method"]], ls="", marker=marker, ms=4, label=kind
            )
        ax.set_xlabel(label)
        if column in logarithmic:
            ax.set_xscale("log")
            _few_ticks(ax.xaxis)
        ax.margins(x=0.12)
    axes[0].set_yticks(range(len(names)), labels=names)
    axes[0].set_ylabel("method")
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=len(kinds), fontsize=7)
    return fig


def plot_band_sets(table: Table) -> Figure:
    """Scores of sets of bands against magnitude (`bands.compare`): means of the seeds, and their spread."""
    fig, axes = plt.subplots(1, 3, figsize=(WIDTH, 3.3))
    ranges = [among for among in dict.fromkeys(table["magnitudes"]) if among != bands.ALL]
    for ax, score in zip(axes, (bands.SCORES[0], bands.OF_FIT[0], bands.SCORES[1]), strict=True):
        for i, name in enumerate(dict.fromkeys(table["bands"])):
            mean, spread = np.transpose([bands.by_set(table, score, among)[name] for among in ranges])
            line, marker = STYLES[i % len(STYLES)]
            at = np.arange(len(ranges)) + 0.06 * (i - 2.5)
            ax.errorbar(at, mean, spread, ls=line, marker=marker, ms=3, lw=1, label=name)
        ax.set_xticks(range(len(ranges)), labels=ranges)
        ax.set(xlabel="true magnitude", ylabel=score, yscale="log")
        _few_ticks(ax.yaxis)
    lows, highs = zip(*(ax.get_ylim() for ax in axes[:2]), strict=True)  # network and fit on one scale
    plt.setp(axes[:2], ylim=(min(lows), max(highs)))
    handles, labels = ax.get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=3, fontsize=7)
    return fig


def _few_ticks(axis: Axis) -> None:
    """Ticks of a logarithmic axis: 1, 2 and 5 where it spans little more than a decade."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 30 * low else (1,)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())
