"""The figures of study 2: spectra, what a network made of them, and how its latents move with redshift."""

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from numpy.typing import NDArray
from scipy.stats import binned_statistic

from paper_utils.base import plots
from paper_utils.base.constants import C_KMS
from paper_utils.base.containers import Spectra
from paper_utils.base.plots import MODEL, REST_LABEL, WIDTH
from paper_utils.base.results import Results

FLUX_LABEL = "Flux / median"
ZOOMS = {
    "[O II]": (3690, 3770),
    r"H$\beta$ [O III]": (4830, 5040),
    "Mg Fe": (5130, 5320),
    r"H$\alpha$ [N II]": (6500, 6640),
}
BESIDE = {"loc": "upper left", "bbox_to_anchor": (1, 1)}  # of a legend


def plot_architecture(encoder: Sequence[str], decoder: Sequence[str], after: Sequence[str]) -> Figure:
    """The autoencoder as boxes in the order that data take: encoder, decoder, and the part without parameters."""
    fig, ax = plt.subplots(figsize=(WIDTH, 2.3))
    plots.draw_chain(ax, encoder, [plots.SKY] * len(encoder), y=1.0, height=0.38)
    colours = [plots.ORANGE] * len(decoder) + ["white"] * len(after)
    plots.draw_chain(ax, [*decoder, *after], colours, height=0.38)
    for y, name in ((1.0, "encoder"), (0.0, "decoder")):
        ax.text(-0.46, y + 0.19, name, fontsize=8, style="italic", va="center", ha="right")
    x = len(encoder) - 1
    ax.plot([x, x, 0], [0.97, 0.68, 0.68], color="k", lw=0.7)
    ax.add_patch(FancyArrowPatch((0, 0.69), (0, 0.42), arrowstyle="->", mutation_scale=7))
    ax.set(xlim=(-1.16, max(len(encoder), len(colours)) - 0.56), ylim=(-0.1, 1.45))
    ax.axis("off")
    return fig


def plot_examples(
    wave_obs: NDArray,
    y: NDArray,
    w: NDArray,
    z: NDArray,
    wave_rest: NDArray,
    models: Mapping[str, NDArray],
    truth: NDArray | None,
) -> Figure:
    """Observed spectra y (n, L) with models at z = 0 (n, R), whole and close up on lines, as the paper's Fig. 2.

    Blue shading: the weight of each wavelength, darkest where unobserved or masked. truth (n, R) at z = 0 is NaN where
    it is not known; models are NaN where there is nothing to draw.
    """
    windows = {"": (wave_rest[0], wave_obs[-1]), **ZOOMS}
    size = (WIDTH, 1.35 * len(y) + 0.3)
    fig, axes = plt.subplots(len(y), len(windows), figsize=size, squeeze=False, width_ratios=[3, 1, 1, 1, 1])
    for i, row in enumerate(axes):
        rest, used = wave_obs / (1 + z[i]), w[i] > 0
        for ax, (name, (low, high)) in zip(row, windows.items(), strict=True):
            _shade_weights(ax, rest, w[i], low, high)
            ax.plot(rest[used], y[i][used], color="k", alpha=0.45, lw=0.7 if name else 0.4, label="observed")
            for label, flux in models.items():
                ax.plot(wave_rest, flux[i], lw=1.1 if name else 0.7, label=label)
            if truth is not None:
                ax.plot(wave_rest, truth[i], color=plots.TRUTH, lw=0.8, ls=":", label="truth")
            seen = y[i][used & (rest > low) & (rest < high)]
            shown = [flux[i][(wave_rest > low) & (wave_rest < high)] for flux in models.values()]
            shown = np.concatenate([*shown, np.percentile(seen, [0.5, 100 if name else 99.5]) if len(seen) else seen])
            shown = shown[np.isfinite(shown)]
            ax.set(xlim=(low, high), title="" if i else name)
            if shown.size:
                margin = 0.1 * np.ptp(shown) + 1e-6
                ax.set_ylim(shown.min() - margin, shown.max() + margin)
            ax.tick_params(labelsize=6)
            ax.locator_params(axis="x", nbins=2 if name else "auto")
            ax.grid(False)
        row[0].set_ylabel(f"z = {z[i]:.3f}", fontsize=7)
    axes[0, 0].legend(ncols=4, fontsize=6, loc="lower left", bbox_to_anchor=(0, 1.0), borderpad=0)
    fig.supxlabel(REST_LABEL, fontsize=9)
    fig.supylabel(FLUX_LABEL, fontsize=9)
    return fig


def _shade_weights(ax: Axes, rest: NDArray, w: NDArray, low: float, high: float) -> None:
    """Weights as a blue background, brighter for higher, smoothed by bins; darkest where nothing was observed."""
    bins = int(np.clip(((rest > low) & (rest < high)).sum() // 2, 20, 120))  # none narrower than an element
    mean = np.nan_to_num(binned_statistic(rest, w, bins=bins, range=(low, high)).statistic)
    shade = (mean / max(np.percentile(mean, 95), 1e-30)).clip(0, 1)[None]
    look = {"cmap": "Blues_r", "vmin": -2.2, "vmax": 1, "alpha": 0.5, "zorder": 0, "aspect": "auto"}
    ax.imshow(shade, extent=(low, high, 0, 1), transform=ax.get_xaxis_transform(), interpolation="nearest", **look)


def plot_redshifted(
    wave_obs: NDArray, y: NDArray, w: NDArray, z: NDArray, model: NDArray, moved: Mapping[str, NDArray]
) -> Figure:
    """One spectrum as seen at several redshifts, y (T, L), with fits (black): the paper's Fig. 3; and residuals in
    units of sigma (medians of 25 bins).

    moved : {training: (T,)} distance of the latents from those of the first, written beside each spectrum.
    """
    fig, (ax, below) = plt.subplots(2, 1, figsize=(WIDTH, 5.2), height_ratios=[3.2, 1], sharex=True)
    pulls = _pulls(y, model, w)
    y, model = (np.where(w > 0, flux, np.nan) for flux in (y, model))
    height = 1.1 * np.nanpercentile(y, 99)
    for i, colour in enumerate(plt.cm.viridis(np.linspace(0.15, 0.8, len(z)))):
        ax.plot(wave_obs, y[i] + i * height, color=colour, lw=0.9, alpha=0.7)
        ax.plot(wave_obs, model[i] + i * height, color="k", lw=0.4)
        below.plot(wave_obs[12::25][: pulls.shape[1]], pulls[i], color=colour, lw=0.8)
        distances = [f"{values[i]:.2f} {name}" for name, values in moved.items()] if i else []
        text = "\n".join([f"z = {max(z[i], 0):.2f}" + (", moved by" if i else ""), *distances])
        ax.text(wave_obs[-1] + 40, 1 + i * height, text, color=colour, fontsize=6, va="center")
    top = max(np.nanpercentile(y[-1], 99.8), np.nanmax(model[-1])) + (len(z) - 1) * height
    ax.set(ylabel=f"{FLUX_LABEL} + offset", xlim=wave_obs[[0, -1]], ylim=(0, 1.05 * top))
    below.axhline(0, color="k", lw=0.5)
    below.set_ylabel("obs − fit [σ],\nmedian of 25")
    fig.supxlabel("Observed wavelength [Å, vacuum]", fontsize=9)
    return fig


def plot_displacement(z: NDArray, curves: Mapping[str, NDArray], floor: Mapping[str, float]) -> Figure:
    """How far latents have moved from where they are at z = 0; curves {training: (3, T)}: median, 68 %.

    floor : {training: how far noise alone moves them}, or empty.
    """
    fig, ax = plt.subplots(figsize=(0.75 * WIDTH, 3.0))
    for i, (name, (middle, low, high)) in enumerate(curves.items()):
        (line, marker), colour = plots.STYLES[i], plots.BASELINE if name == "PCA" else f"C{i}"
        ax.plot(z, middle, ls=line, marker=marker, ms=4, color=colour, label=name)
        ax.fill_between(z, low, high, color=colour, alpha=0.15, lw=0)
        if name in floor:
            ax.axhline(floor[name], color=colour, lw=0.8, ls=(0, (1, 2)))
    ax.set(xlabel="artificial redshift", ylabel="latent displacement\n[scatter of the population]", xlim=z[[0, -1]])
    ax.set_ylim(bottom=0)
    ax.legend(title="thin dots: noise alone" if floor else None, title_fontsize=8, **BESIDE)
    return fig


def plot_training(histories: Mapping[str, Mapping[str, list]], floor: float | None) -> Figure:
    """Reduced chi^2 against step: of held-out spectra as they are (thick), and of training batches (thin).

    floor : the truth's own, or None.
    """
    fig, ax = plt.subplots(figsize=(0.8 * WIDTH, 2.9))
    for i, (name, history) in enumerate(histories.items()):
        ax.plot(history["step"], history["chi2"], color=f"C{i}", lw=0.6, alpha=0.5)
        ax.plot(history["validation_step"], history["validation"], color=f"C{i}", ls=plots.STYLES[i][0], label=name)
    if floor is not None:
        ax.axhline(floor, color="k", lw=0.8, ls=(0, (1, 2)))
    held_out = np.concatenate([history["validation"] for history in histories.values()])
    low, high = held_out.min(), np.percentile(held_out, 90)
    ax.set(xlabel="training step", ylabel="reduced χ²", ylim=(low - 0.2 * (high - low), high + 0.3 * (high - low)))
    ax.legend(title="held-out spectra\n(thin: batches;\ndots: the truth)", title_fontsize=8, **BESIDE)
    return fig


def plot_gradient_weight(edges: NDArray, curves: Mapping[str, NDArray], inside: tuple[float, float]) -> Figure:
    """What the latents depend on, by rest-frame wavelength; the range `inside` is seen at every redshift."""
    fig, ax = plt.subplots(figsize=(WIDTH, 2.8))
    for (name, values), (line, _) in zip(curves.items(), plots.STYLES, strict=False):
        ax.stairs(values, edges, ls=line, lw=1.2, label=name, baseline=None)
    top = np.nanmax(list(curves.values()))
    for i, (name, at) in enumerate(plots.MARKED.items()):
        ax.axvline(at, color=plots.GREY, lw=0.5, zorder=0)
        ax.text(at, top * (1.02 + 0.07 * (i % 2)), name, fontsize=6.5, ha="center", va="bottom")
    ax.axvspan(*inside, color=plots.BLUE, alpha=0.06, lw=0)
    ax.set(xlabel=REST_LABEL, ylabel="gradient weight / its mean", xlim=edges[[0, -1]], ylim=(0, 1.2 * top))
    ax.legend(**BESIDE)
    return fig


def plot_fits(wave_obs: NDArray, y: NDArray, w: NDArray, model: NDArray, titles: Sequence[str], z: NDArray) -> Figure:
    """Spectra y (n, L) with their models and, below each, residuals in units of sigma (medians of 25 bins)."""
    size = {"figsize": (WIDTH, 2.1 * len(y)), "height_ratios": [2.2, 1] * len(y)}
    fig, axes = plt.subplots(2 * len(y), 1, **size, squeeze=False)
    for i, (ax, below) in enumerate(axes.reshape(-1, 2)):
        rest, used = wave_obs / (1 + z[i]), w[i] > 0
        ax.plot(rest[used], y[i][used], color="0.6", lw=0.4)
        ax.plot(rest, model[i], color=MODEL, lw=0.8)
        low, high = np.percentile(y[i][used], [0.3, 99.7])
        ax.set(ylim=(min(low, 0), 1.15 * high), xticklabels=[])
        ax.set_title(titles[i], loc="left")
        pull = _pulls(*(part[[i]] for part in (y, model, w)))[0]
        n = 25 * len(pull)
        below.stairs(pull, np.append(rest[:n:25], rest[n - 1]), color=MODEL, lw=0.8, baseline=None)
        below.axhline(0, color="k", lw=0.5)
        edge = max(3, 1.1 * np.nanmax(np.abs(pull), initial=0))
        below.set_ylim(-edge, edge)
        for panel, label in ((ax, FLUX_LABEL), (below, "obs − fit\n[σ]")):
            panel.set_xlim(rest[[0, -1]])
            panel.set_ylabel(label, fontsize=7)
            panel.tick_params(labelsize=7)
    fig.supxlabel(REST_LABEL, fontsize=9)
    return fig


def _pulls(y: NDArray, model: NDArray, w: NDArray) -> NDArray:
    """Medians of residuals (N, L) in units of sigma in blocks of 25 bins, NaN where fewer than 5 were observed."""
    n = y.shape[1] // 25 * 25
    pulls = np.where((w > 0) & np.isfinite(model), (y - model) * np.sqrt(w), np.nan)[:, :n].reshape(len(y), -1, 25)
    enough = np.isfinite(pulls).sum(axis=2) >= 5
    return np.where(enough, np.nanmedian(np.where(enough[..., None], pulls, 0), axis=2), np.nan)


def plot_applied(results: Results) -> Figure:
    """What was made of a user's spectra: chi^2 by signal-to-noise ratio, latents, and the redshifts that were found."""
    table, fine = results.table, results.table["flag"] == ""
    fig, axes = plt.subplots(1, 3 if "dv_kms" in table.colnames else 2, figsize=(WIDTH, 2.6))
    for name, which, colour in (("not flagged", fine, MODEL), ("flagged", ~fine, plots.ORANGE)):
        dots, part = {"ls": "", "marker": ".", "ms": 5, "alpha": 0.6, "color": colour}, table[which]
        axes[0].plot(part["snr"], part["chi2"], label=name, **dots)
        axes[1].plot(part["s_1"], part["s_2" if "s_2" in table.colnames else "s_1"], **dots)
        for ax in axes[2:]:
            ax.plot(part["z"], part["dv_kms"], **dots)
    axes[0].axhline(1, color="k", lw=0.7)
    axes[0].set(xscale="log", yscale="log", xlabel="signal-to-noise ratio per element", ylabel="reduced χ²")
    axes[0].legend(fontsize=7)
    axes[1].set(xlabel="first latent", ylabel="second latent")
    for ax in axes[2:]:
        ax.axhline(0, color="k", lw=0.7)
        ax.set(xlabel="redshift given", ylabel="redshift found − given [km/s]")
    return fig


def plot_spectrum(spectrum: Spectra, results: Results, i: int) -> Figure:
    """A user's spectrum, one, with the model of row i of the results and their residuals."""
    row = results.table[i]
    title = f"{row['id']}: z = {row['z']:.4f}, χ² = {row['chi2']:.2f}, S/N = {row['snr']:.0f}"
    if "dv_kms" in row.colnames:
        title += f", found {row['dv_kms']:+.0f} ± {C_KMS * row['z_err'] / (1 + row['z']):.0f} km/s"
    title = "\n".join(filter(None, [title, row["flag"]]))
    unit = np.median(spectrum.flux[spectrum.ivar > 0])
    arrays = spectrum.flux / unit, spectrum.ivar * unit**2, results.arrays["flux_model"][[i]] / unit
    return plot_fits(results.arrays["wave_obs"], *arrays, [title], [row["z"]])


def plot_path(wave_rest: NDArray, spectra: NDArray, share: NDArray, ends: tuple[str, str]) -> Figure:
    """Decoded spectra (T, R) on the straight line between two latent positions; share (T,) of the way gone."""
    fig, ax = plt.subplots(figsize=(WIDTH, 3.0))
    for flux, t, colour in zip(spectra, share, plt.cm.cividis(np.linspace(0, 0.9, len(share))), strict=True):
        ax.plot(wave_rest, flux, color=colour, lw=0.8, label=f"{100 * t:.0f} %")
    ax.set(
        xlabel=REST_LABEL, ylabel=FLUX_LABEL, xlim=wave_rest[[0, -1]], ylim=(0, np.nanpercentile(spectra, 99.7) * 1.15)
    )
    ax.legend(title=f"from {ends[0]}\nto {ends[1]}", **BESIDE)
    return fig


def slider(draw: Callable[[int], Figure], label: str):
    """A widget that shows draw(percent=...) at the percentage that a slider is at, 0 - 100."""
    from ipywidgets import IntSlider, interactive

    return interactive(draw, percent=IntSlider(50, 0, 100, 5, description=label))
