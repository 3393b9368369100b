"""The figures of study 2: spectra, what a network made of them, and how its latents move with redshift."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from numpy.typing import NDArray

from paper_utils.base.plots import (
    BASELINE,
    BLUE,
    GREEN,
    GREY,
    MARKED,
    MODEL,
    ORANGE,
    PAPER,
    REST_LABEL,
    SKY,
    STYLES,
    TRUTH,
    WIDTH,
    draw_chain,
)

OBSERVED_LABEL = "Observed wavelength [Å, vacuum]"
FLUX_LABEL = "Flux / median"
ZOOMS = {
    "[O II]": (3690, 3770),
    r"H$\beta$ [O III]": (4830, 5040),
    "Mg Fe": (5130, 5320),
    r"H$\alpha$ [N II]": (6500, 6640),
}
OBSERVED = "0.6"


def plot_architecture(encoder: Sequence[str], decoder: Sequence[str], after: Sequence[str]) -> Figure:
    """The autoencoder as boxes in the order that data take: encoder, decoder, and the part without parameters."""
    fig, ax = plt.subplots(figsize=(WIDTH, 2.3))
    n = max(len(encoder), len(decoder) + len(after))
    draw_chain(ax, encoder, [SKY] * len(encoder), y=1.0, height=0.38)
    draw_chain(ax, [*decoder, *after], [ORANGE] * len(decoder) + ["white"] * len(after), height=0.38)
    for y, name in ((1.0, "encoder"), (0.0, "decoder")):
        ax.text(-0.46, y + 0.19, name, fontsize=8, style="italic", va="center", ha="right")
    x = len(encoder) - 1
    ax.plot([x, x, 0], [0.97, 0.68, 0.68], color="k", lw=0.7)
    ax.add_patch(FancyArrowPatch((0, 0.69), (0, 0.42), arrowstyle="->", mutation_scale=7))
    ax.set(xlim=(-1.16, n - 0.56), ylim=(-0.1, 1.45))
    ax.axis("off")
    return fig


def plot_examples(
    wave_obs: NDArray,
    y: NDArray,
    w: NDArray,
    z: NDArray,
    wave_rest: NDArray,
    models: Mapping[str, NDArray],
    truth: NDArray | None = None,
) -> Figure:
    """Observed spectra y (n, L) with models at z = 0 (n, R), whole and close up on lines, as the paper's Fig. 2.

    Blue shading: the weight of each wavelength, darkest where unobserved or masked. truth (n, L) is drawn where known.
    """
    windows = {"": (wave_rest[0], wave_obs[-1]), **ZOOMS}
    fig, axes = plt.subplots(
        len(y), len(windows), figsize=(WIDTH, 1.35 * len(y) + 0.3), squeeze=False, width_ratios=[3, 1, 1, 1, 1]
    )
    for row, ax_row in enumerate(axes):
        rest = wave_obs / (1 + z[row])
        used = w[row] > 0
        for ax, (name, (low, high)) in zip(ax_row, windows.items(), strict=True):
            _shade_weights(ax, rest, w[row], low, high)
            inside = used & (rest > low) & (rest < high)
            ax.plot(rest[used], y[row][used], color="k", alpha=0.45, lw=0.4 if not name else 0.7, label="observed")
            for (label, flux), colour in zip(models.items(), (MODEL, ORANGE, GREEN), strict=False):
                ax.plot(wave_rest, flux[row], color=colour, lw=0.7 if not name else 1.1, label=label)
            if truth is not None:
                ax.plot(rest, truth[row], color=TRUTH, lw=0.6, ls=":", label="truth")
            window = (wave_rest > low) & (wave_rest < high)
            shown = np.concatenate([flux[row][window] for flux in models.values()])
            if inside.any():
                shown = np.concatenate([shown, np.percentile(y[row][inside], [0.5, 99.5 if not name else 100])])
            bottom, top = min(shown.min(), np.median(shown)), shown.max()
            ax.set(xlim=(low, high), ylim=(bottom - 0.08 * (top - bottom), top + 0.12 * (top - bottom)))
            ax.tick_params(labelsize=6)
            ax.grid(False)
            if row == 0 and name:
                ax.set_title(name)
            if name:
                ax.set_xticks([round(low, -1) + 20, round(high, -1) - 20])
        where = {"transform": ax_row[0].transAxes, "ha": "right", "va": "top"}
        ax_row[0].text(0.98, 0.93, f"z = {z[row]:.3f}", fontsize=7, bbox=PAPER, **where)
    axes[0, 0].legend(ncols=4, fontsize=6, loc="lower left", bbox_to_anchor=(0, 1.0), borderpad=0)
    fig.supxlabel(REST_LABEL, fontsize=9)
    fig.supylabel(FLUX_LABEL, fontsize=9)
    return fig


def plot_redshifted(
    wave_obs: NDArray, y: NDArray, w: NDArray, z: NDArray, model: NDArray, moved: Mapping[str, NDArray] | None = None
) -> Figure:
    """One spectrum as seen at several redshifts, y (T, L), with fits (black): the paper's Fig. 3.

    moved : {training: (T,)} distance of the latents from those of the first, written beside each spectrum.
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 3.6))
    height = 1.1 * np.percentile(y[w > 0], 99)
    for i, colour in enumerate(plt.cm.viridis(np.linspace(0.15, 0.8, len(z)))):
        flux = np.where(w[i] > 0, y[i], np.nan) + i * height
        ax.plot(wave_obs, flux, color=colour, lw=0.5)
        ax.plot(wave_obs, np.where(w[i] > 0, model[i], np.nan) + i * height, color="k", lw=0.6)
        text = f"z = {z[i]:.2f}"
        if moved and i:
            text += "\nmoved " + ", ".join(f"{values[i]:.2f} ({name})" for name, values in moved.items())
        ax.text(wave_obs[-1] + 40, 1 + i * height, text, color=colour, fontsize=7, va="center")
    top = np.nanpercentile(np.where(w[-1] > 0, y[-1], np.nan), 99.8) + (len(z) - 1) * height
    ax.set(xlabel=OBSERVED_LABEL, ylabel=f"{FLUX_LABEL} + offset", xlim=wave_obs[[0, -1]], ylim=(0, 1.05 * top))
    return fig


def plot_displacement(z: NDArray, curves: Mapping[str, NDArray], floor: Mapping[str, NDArray] | None = None) -> Figure:
    """How far latents have moved from where they are at z = 0; curves {training: (3, T)}: median, 68 %."""
    fig, ax = plt.subplots(figsize=(0.75 * WIDTH, 3.0))
    for (name, (middle, low, high)), (line, marker) in zip(curves.items(), STYLES, strict=False):
        colour = {"color": BASELINE} if name == "PCA" else {}
        (drawn,) = ax.plot(z, middle, ls=line, marker=marker, ms=4, label=name, **colour)
        ax.fill_between(z, low, high, color=drawn.get_color(), alpha=0.15, lw=0)
    for name, values in (floor or {}).items():
        ax.plot(z, values, color=BASELINE, lw=1, ls=(0, (1, 1)), label=name)
    ax.set(xlabel="artificial redshift", ylabel="latent displacement\n[rms spread of the population]", xlim=z[[0, -1]])
    ax.set_ylim(bottom=0)
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return fig


def plot_gradient_weight(edges: NDArray, curves: Mapping[str, NDArray], inside: tuple[float, float]) -> Figure:
    """What the latents depend on, by rest-frame wavelength; the range `inside` is seen at every redshift."""
    fig, ax = plt.subplots(figsize=(WIDTH, 2.8))
    for (name, values), (line, _) in zip(curves.items(), STYLES, strict=False):
        ax.stairs(values, edges, ls=line, lw=1.2, label=name, baseline=None)
    top = max(np.nanmax(values) for values in curves.values())
    for i, (name, at) in enumerate(MARKED.items()):
        ax.axvline(at, color=GREY, lw=0.5, zorder=0)
        ax.text(at, top * (1.02 + 0.07 * (i % 2)), name, fontsize=6.5, ha="center", va="bottom")
    ax.axvspan(*inside, color=BLUE, alpha=0.06, lw=0)
    ax.set(xlabel=REST_LABEL, ylabel="gradient weight / its mean", xlim=edges[[0, -1]], ylim=(0, 1.2 * top))
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return fig


def plot_fits(
    wave_obs: NDArray,
    y: NDArray,
    w: NDArray,
    model: NDArray,
    titles: Sequence[str],
    z: NDArray,
    wave_label: str = REST_LABEL,
) -> Figure:
    """Spectra y (n, L) with their models and, below each, residuals in units of sigma (running median of 25 bins)."""
    fig, axes = plt.subplots(
        2 * len(y), 1, figsize=(WIDTH, 2.1 * len(y)), height_ratios=[2.2, 1] * len(y), squeeze=False
    )
    for i, (ax, below) in enumerate(axes[:, 0].reshape(-1, 2)):
        rest, used = wave_obs / (1 + z[i]), w[i] > 0
        ax.plot(rest[used], y[i][used], color=OBSERVED, lw=0.4)
        ax.plot(rest, model[i], color=MODEL, lw=0.8)
        low, high = np.percentile(y[i][used], [0.3, 99.7])
        ax.set(xlim=rest[[0, -1]], ylim=(min(low, 0), 1.15 * high), ylabel=FLUX_LABEL, xticklabels=[])
        ax.set_title(titles[i], loc="left")
        pull = np.where(used, (y[i] - model[i]) * np.sqrt(w[i]), np.nan)
        n = len(pull) // 25 * 25
        middle = np.nanmedian(np.where(np.isnan(pull), 0, pull)[:n].reshape(-1, 25), axis=1)
        below.stairs(middle, np.append(rest[:n:25], rest[n - 1]), color=MODEL, lw=0.8, baseline=None)
        below.axhline(0, color="k", lw=0.5)
        edge = max(3, 1.1 * np.abs(middle).max())
        below.set(xlim=rest[[0, -1]], ylim=(-edge, edge), ylabel="obs − fit\n[σ]")
        for panel in (ax, below):
            panel.tick_params(labelsize=7)
            panel.yaxis.label.set_fontsize(7)
    fig.supxlabel(wave_label, fontsize=9)
    return fig


def plot_path(wave_rest: NDArray, spectra: NDArray, share: NDArray, ends: tuple[str, str]) -> Figure:
    """Decoded spectra (T, R) on the straight line between two latent positions; share (T,) of the way gone."""
    fig, ax = plt.subplots(figsize=(WIDTH, 3.0))
    for flux, t, colour in zip(spectra, share, plt.cm.cividis(np.linspace(0, 0.9, len(share))), strict=True):
        ax.plot(wave_rest, flux, color=colour, lw=0.8, label=f"{100 * t:.0f} %")
    ax.set(xlabel=REST_LABEL, ylabel=FLUX_LABEL, xlim=wave_rest[[0, -1]], ylim=(0, np.percentile(spectra, 99.7) * 1.15))
    ax.legend(title=f"from {ends[0]}\nto {ends[1]}", loc="upper left", bbox_to_anchor=(1, 1))
    return fig


def slider(draw: Callable[[int], Figure], label: str):
    """A widget that shows draw(percent) at the percentage that a slider is at, 0 - 100."""
    import ipywidgets
    from IPython.core.pylabtools import print_figure

    handle, picture = ipywidgets.IntSlider(50, 0, 100, 5, description=label), ipywidgets.Image()

    def show(_=None) -> None:
        fig = draw(handle.value)
        picture.value = print_figure(fig)
        plt.close(fig)

    handle.observe(show, "value")
    show()
    return ipywidgets.VBox([handle, picture])


def _shade_weights(ax: Axes, rest: NDArray, w: NDArray, low: float, high: float) -> None:
    """Weights as a blue background, brighter for higher, smoothed by bins; darkest where nothing was observed."""
    edges = np.linspace(low, high, 121)
    total, count = (np.histogram(rest, edges, weights=weights)[0] for weights in (w, None))
    mean = np.divide(total, count, out=np.zeros(len(total)), where=count > 0)
    top = max(np.percentile(mean, 95), 1e-30)
    ax.imshow(
        (mean / top).clip(0, 1)[None], extent=(low, high, 0, 1), transform=ax.get_xaxis_transform(), aspect="auto",
        cmap="Blues_r", vmin=-2.2, vmax=1, alpha=0.5, zorder=0, interpolation="nearest",
    )  # fmt: skip
