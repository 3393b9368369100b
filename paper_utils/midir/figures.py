"""The figures of study 1: spectral energy distributions and what was reconstructed of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

from paper_utils.base import plots

WAVE_LABEL = "Rest-frame wavelength [µm]"
FLUX_LABEL = r"$c\,F_\nu\,/\,F_{\rm bol}$ [µm]"  # its integral over dlambda / lambda^2 is 1


def decade(ax: Axes, low: float, high: float) -> None:
    """Limits of a logarithmic flux axis, a decade apart at least, with labels at decades only."""
    room = max(10 * low / high, 1) ** 0.5
    ax.set_ylim(low / room, high * room)
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.tick_params(labelsize=7)


def plot_seds(wave_um: NDArray, groups: Mapping[str, NDArray], bands_um: NDArray | None = None) -> Figure:
    """Some spectra F_nu (n, L) of each group, whole and close up in 5-35 um, and where the photometric bands lie."""
    fig, axes = plt.subplots(2, len(groups), figsize=(plots.WIDTH, 4.4), sharey="row", squeeze=False)
    mid = (wave_um > 4.5) & (wave_um < 40)
    for ax, close, (name, flux) in zip(*axes, groups.items(), strict=True):
        close.plot(wave_um[mid], flux[:, mid].T, lw=0.8, alpha=0.8)
        close.set(yscale="log")
        plots.label_micron(close, [5, 10, 20, 35])
        ax.plot(wave_um, flux.T, lw=0.8, alpha=0.8)
        ax.axvspan(5, 35, color=plots.GREY, alpha=0.15, lw=0)
        if bands_um is not None:
            ax.plot(bands_um, np.full(len(bands_um), 0.03), "|", color="k", ms=6, transform=ax.get_xaxis_transform())
        ax.set(title=name, yscale="log", ylim=(1e-6, 1e2), xlim=(0.03, 3000))
        plots.label_micron(ax, [0.1, 1, 10, 100, 1000])
        ax.tick_params(axis="x", labelsize=7)
    fig.supylabel(FLUX_LABEL, fontsize=9)
    fig.supxlabel(WAVE_LABEL, fontsize=9)
    return fig


def plot_reconstructions(
    wave_um: NDArray,
    truth: NDArray,
    reconstructed: NDArray,
    bands_um: NDArray,
    photometry: NDArray,
    chi2: NDArray | None = None,
    *,
    n_columns: int = 4,
    focus: bool = False,
    truth_label: str = "simulated",
    titles: Sequence[str] = (),
) -> Figure:
    """Simulated (red) and reconstructed (blue) spectra with the photometry (green), as the paper's Figs. 5-9.

    truth, reconstructed (n, L) and photometry (n, m) are F_nu. `focus` shows 5-35 um alone (the paper's Fig. 7); else
    the photometry's whole range with the reconstruction in 5-35 um. Values that are not positive, which a model of
    linear flux may give, leave gaps.
    """
    mid = (wave_um >= 5) & (wave_um <= 35)
    n_rows = -(-len(truth) // n_columns)
    fig, axes = plt.subplots(n_rows, n_columns, figsize=(plots.WIDTH, 1.5 * n_rows + 0.5), sharex=True, squeeze=False)
    for i, ax in enumerate(axes.flat[: len(truth)]):
        shown = mid if focus else wave_um > 0
        ax.plot(wave_um[shown], truth[i, shown], color=plots.TRUTH, label=truth_label)
        positive = np.where(reconstructed[i] > 0, reconstructed[i], np.nan)
        ax.plot(wave_um[mid], positive[mid], color=plots.MODEL, ls="--", label="reconstructed")
        ax.plot(bands_um, photometry[i], "o", ms=2.5, color=plots.PHOTOMETRY, label="photometry", zorder=3)
        ax.set_yscale("log")
        if len(titles):
            ax.set_title(titles[i], fontsize=8)
        if chi2 is not None:
            label = rf"$\chi^2$ = {chi2[i]:.1f}"
            ax.text(0.97, 0.04, label, transform=ax.transAxes, ha="right", fontsize=7, bbox=plots.PAPER)
        if focus:
            plots.label_micron(ax, [5, 10, 20, 35])
            ax.set_xlim(4.7, 37)
            # Limits from the truth: a stray point of a poor model must not flatten all the rest.
            decade(ax, truth[i, mid].min() / 1.8, truth[i, mid].max() * 1.8)
        else:
            plots.label_micron(ax, [0.1, 1, 10, 100])
            ax.set_xlim(0.045, 200)
            low, high = np.nanmin(photometry[i]), truth[i].max()
            decade(ax, max(low, high * 1e-6) / 3, high * 3)
        ax.tick_params(labelsize=7)
    return plots.complete_grid(fig, axes, len(truth), WAVE_LABEL, FLUX_LABEL, "center", 3)


def plot_chi2_histogram(chi2: NDArray, limit: float = 5.0, below_only: bool = False) -> Figure:
    """Histogram of eq. 6 over galaxies: all, on a logarithmic axis (Fig. 3), or those below the limit (Fig. 4)."""
    fig, ax = plt.subplots(figsize=(0.6 * plots.WIDTH, 2.6))
    if below_only:
        shown = chi2[chi2 < limit]
        ax.hist(shown, np.arange(0, limit + 0.25, 0.25), color=plots.MODEL)
        ax.set_title(rf"{len(shown)} of {len(chi2)} galaxies with $\chi^2$ < {limit:g}")
    else:
        edges = np.geomspace(min(chi2.min(), 0.1), max(chi2.max(), 10) * 1.01, 30)
        ax.hist(chi2, edges, color=plots.MODEL)
        ax.axvline(limit, color=plots.TRUTH, ls="--", label=rf"$\chi^2$ = {limit:g}")
        ax.set_xscale("log")
        ax.legend()
    ax.set(xlabel=r"$\chi^2$ in 5–35 µm (eq. 6)", ylabel="galaxies")
    return fig


def plot_scores(
    scores: Mapping[str, tuple[float, tuple[float, float]]], highlight: Sequence[str], published: float
) -> Figure:
    """Share of test galaxies with chi2 < 5 [%] by method, with 68 % intervals; `highlight` are the paper's methods."""
    names = sorted(scores, key=lambda name: scores[name][0])
    values = np.array([scores[name][0] for name in names])
    low, high = np.array([scores[name][1] for name in names]).T
    fig, ax = plt.subplots(figsize=(plots.WIDTH, 0.24 * len(names) + 0.8))
    colours = [plots.MODEL if name in highlight else plots.BASELINE for name in names]
    ax.barh(names, values, xerr=[values - low, high - values], color=colours)
    ax.axvline(published, color=plots.TRUTH, ls="--", label=f"logGLO on the paper's own library, {published:g} %")
    ax.set(xlabel=r"test galaxies with $\chi^2$ < 5 [%]", xlim=(0, 100))
    ax.grid(axis="y", visible=False)
    ax.legend(loc="lower right")
    return fig


def plot_fork(panels: Mapping[str, tuple[NDArray, NDArray]], colour: NDArray, colour_label: str) -> Figure:
    """The fork diagram of Spoon+ 2007: 6.2 um PAH equivalent width [um] against silicate strength S_9.7.

    Widths below 0.002 um, or negative, stand at the left edge as limits.
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(plots.WIDTH, 2.7), sharex=True, sharey=True)
    for ax, (name, (ew, silicate)) in zip(np.atleast_1d(axes), panels.items(), strict=True):
        seen = ew > 2e-3
        points = ax.scatter(ew[seen], silicate[seen], c=colour[seen], s=5, cmap="cividis", vmin=0, vmax=1)
        limits = np.full((~seen).sum(), 2e-3)
        ax.scatter(limits, silicate[~seen], c=colour[~seen], s=12, marker="<", cmap="cividis", vmin=0, vmax=1)
        ax.set(title=name, xscale="log")
    np.atleast_1d(axes)[0].set_ylabel(r"silicate strength $S_{9.7}$")
    fig.supxlabel("6.2 µm PAH equivalent width [µm]", fontsize=9)
    fig.colorbar(points, ax=axes, label=colour_label)
    return fig


def plot_band(wave_um: NDArray, truth: NDArray, mean: NDArray, half: NDArray, names: Sequence[str] = ()) -> Figure:
    """Residuals of reconstructions with their 68 % bands [dex]: all in log10 F_nu, (n, L) over 5-35 um."""
    fig, axes = plt.subplots(1, len(truth), figsize=(plots.WIDTH, 2.4), sharex=True, sharey=True)
    for i, ax in enumerate(np.atleast_1d(axes)):
        off = mean[i] - truth[i]
        ax.fill_between(wave_um, off - half[i], off + half[i], color=plots.SKY, alpha=0.5, lw=0, label="68 % interval")
        ax.plot(wave_um, off, color=plots.MODEL, ls="--", label="mean")
        ax.axhline(0, color=plots.TRUTH, label="truth")
        ax.set(title=names[i] if len(names) else "")
        ax.tick_params(labelsize=7)
        plots.label_micron(ax, [5, 10, 20, 35])
    np.atleast_1d(axes)[0].set_ylabel("log (reconstructed / true) [dex]")
    fig.legend(*np.atleast_1d(axes)[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    fig.supxlabel(WAVE_LABEL, fontsize=9)
    return fig


def plot_schematics() -> Figure:
    """How a GAN (the paper's Fig. 1) and a GLO model (its Fig. 2) are trained."""
    fig, axes = plt.subplots(2, 1, figsize=(plots.WIDTH, 4.0))
    gan = {
        "random latent s\n~ N(0, 1)": (0.0, 0.15), "generator G": (0.25, 0.15),
        "artificial\nspectrum G(s)": (0.5, 0.15),
        "real spectrum x": (0.5, 0.75), "critic D": (0.75, 0.45), "realness score": (1.0, 0.45),
    }  # fmt: skip
    glo = {
        "learned latent $s_i$\non the sphere": (0.0, 0.2), "generator G": (0.3, 0.2), "spectrum G($s_i$)": (0.6, 0.2),
        "its own real\nspectrum $x_i$": (0.6, 0.8), "loss\n$||G(s_i)-x_i||^2$": (1.0, 0.5),
    }  # fmt: skip
    for ax, title, boxes, arrows, feedback in (
        (axes[0], "WGAN: two networks against each other", gan,
         [(0, 1), (1, 2), (2, 4), (3, 4), (4, 5)], [(5, 4), (4, 1)]),
        (axes[1], "GLO: one network and its latents, by gradient descent", glo,
         [(0, 1), (1, 2), (2, 4), (3, 4)], [(4, 1), (1, 0)]),
    ):  # fmt: skip
        frame = {"boxstyle": "round,pad=0.5", "fc": "#EAF2F8", "ec": plots.BLUE}
        texts = [
            ax.text(x, y, text, ha="center", va="center", fontsize=8, bbox=frame) for text, (x, y) in boxes.items()
        ]
        fig.canvas.draw()  # the boxes take their size from their text only now; arrows end at them
        for pairs, colour, line, bend in ((arrows, "k", "-", 0.0), (feedback, plots.VERMILION, "--", -0.3)):
            for a, b in pairs:
                (x, y), start = texts[b].get_position(), texts[a].get_position()
                arrow = {"arrowstyle": "->", "color": colour, "ls": line, "connectionstyle": f"arc3,rad={bend}",
                         "patchA": texts[a].get_bbox_patch(), "patchB": texts[b].get_bbox_patch()}  # fmt: skip
                ax.annotate("", (x, y), start, arrowprops=arrow)
        ax.set(xlim=(-0.12, 1.12), ylim=(-0.2, 1.05))
        ax.set_title(title, loc="left")
        ax.set_axis_off()
    fig.text(0.99, 0.01, "dashed: gradients", ha="right", color=plots.VERMILION, fontsize=8)
    return fig
