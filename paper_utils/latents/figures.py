"""The figures of study 4: images of galaxies, the spectra that networks read from them, and how well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from astropy.visualization import make_lupton_rgb
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from numpy.typing import ArrayLike, NDArray

from paper_utils.base import plots
from paper_utils.base.plots import MODEL, ORANGE, SKY, STYLES, VERMILION, WIDTH

FLUX_LABEL = "Flux / rms"
CLASSES = {
    "star-forming": (SKY, "o"), "quiescent": (VERMILION, "s"), "post-starburst": ("k", "*"), "AGN": (ORANGE, "^"),
}  # fmt: skip
COLOURS = (plots.BLUE, ORANGE, plots.GREEN, VERMILION, plots.PURPLE, plots.GREY)


def composite(cube: ArrayLike, bands: Sequence[str], noise: ArrayLike) -> NDArray:
    """Colour pictures (N, H, W, 3) of stamps (N, B, H, W) with sky noise (B,), after Lupton+ 2004.

    i, r and g are red, green and blue; of a camera without these the last, the middle and the first band.
    """
    bands, noise = list(bands), np.asarray(noise)
    three = [bands.index(b) for b in "irg"] if set("irg") <= set(bands) else [-1, len(bands) // 2, 0]
    weight = np.sqrt(noise[three[1]] / noise[three])  # between equal noise and equal flux
    stretch = 18 * noise[three[1]]  # the sky's noise is just visible
    return np.stack([make_lupton_rgb(*(weight[:, None, None] * stamp[three]), stretch=stretch, Q=9) for stamp in cube])


def plot_stamps(pictures: Mapping[str, NDArray], pixel_scale: float) -> Figure:
    """Pictures {class: (n, H, W, 3)} in rows."""
    n = max(len(row) for row in pictures.values())
    size = (WIDTH, 0.2 + WIDTH / n * len(pictures))
    fig, axes = plt.subplots(len(pictures), n, figsize=size, squeeze=False, sharex=True, sharey=True)
    for row, (name, images) in zip(axes, pictures.items(), strict=True):
        for ax in row[len(images) :]:
            ax.set_axis_off()
        for ax, image in zip(row, images, strict=False):
            _picture(ax, image, pixel_scale)
        row[0].set_ylabel(name, fontsize=8)
    fig.supxlabel("offset [arcsec]", fontsize=9)
    return fig


def _picture(ax: Axes, image: NDArray, pixel_scale: float, **options):
    half = image.shape[0] * pixel_scale / 2
    shown = ax.imshow(image, origin="lower", extent=(-half, half, -half, half), interpolation="nearest", **options)
    ax.grid(False)
    ax.tick_params(labelsize=6, color="w")
    return shown


def plot_spectra_from_images(
    pictures: NDArray,
    pixel_scale: float,
    wave_rest: NDArray,
    target: NDArray,
    predicted: NDArray,
    titles: Sequence[str],
    observed: NDArray | None = None,
    interval: tuple[NDArray, NDArray] | None = None,
) -> Figure:
    """Images beside decoded spectra (n, R), of the target latents (black) and of the predicted: the paper's Fig. 1.

    observed (n, R) : the spectra themselves, in grey.   interval : low and high (n, R), shaded.
    """
    n_rows = -(-len(pictures) // 2)
    fig, axes = plt.subplots(n_rows, 4, figsize=(WIDTH, 1.12 * n_rows + 0.35), width_ratios=[1, 2.6] * 2, squeeze=False)
    panels = axes.reshape(-1, 2)
    for ax in panels[len(pictures) :].flat:
        ax.set_axis_off()
    for i, (left, right) in enumerate(panels[: len(pictures)]):
        _picture(left, pictures[i], pixel_scale)
        left.set(xticks=[], yticks=[])
        if observed is not None:
            right.plot(wave_rest, observed[i], color="0.7", lw=0.4, label="observed")
        if interval is not None:
            right.fill_between(wave_rest, *(end[i] for end in interval), color=VERMILION, alpha=0.3, lw=0, label="68 %")
        right.plot(wave_rest, target[i], color="k", lw=0.9, label="target, decoded")
        right.plot(wave_rest, predicted[i], color=VERMILION, lw=0.9, label="from the image")
        both = np.concatenate([target[i], predicted[i]])
        top = 1.5 * np.percentile(both, 98.5)  # the strongest lines may leave the panel, the continuum stays readable
        right.set(xlim=wave_rest[[0, -1]], ylim=(min(0, both.min()), top), yticks=[])
        right.tick_params(labelsize=6.5, labelbottom=i >= len(pictures) - 2)
        where = {"transform": right.transAxes, "ha": "right", "va": "top", "bbox": plots.PAPER}
        right.text(0.98, 0.95, titles[i], fontsize=6.5, **where)
    fig.legend(*panels[0, 1].get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=7)
    fig.supxlabel(plots.REST_LABEL, fontsize=9)
    fig.supylabel(FLUX_LABEL, fontsize=9)
    return fig


def plot_method(
    picture: NDArray, wave_rest: NDArray, spectrum: NDArray, decoded: NDArray, target: NDArray, predicted: NDArray
) -> Figure:
    """The two ways to six latents as boxes, with one galaxy going through: the paper's Fig. 2.

    spectrum (R,) and what the decoder makes of target (6,) and predicted (6,) latents: decoded (2, R).
    """
    fig = plt.figure(figsize=(WIDTH, 3.0))
    fig.set_layout_engine("none")  # kept when a notebook shows it, as layout="none" is not
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, 12), ylim=(0, 5))
    ax.axis("off")
    for x, y, width, name, text, colour in (
        (3.05, 3.3, 1.15, "VAE encoder", "1000–549–110–6", SKY),
        (2.5, 0.75, 0.9, "stem", "deconvolution", ORANGE),
        (3.75, 0.75, 1.1, "body", "resnet, batch norm", SKY),
        (5.2, 0.75, 0.7, "head", "linear, 6", SKY),
        (8.25, 2.1, 1.15, "VAE decoder", "6–110–549–1000", SKY),
    ):
        box = {"boxstyle": "round,pad=0.05", "fc": colour, "ec": "k", "lw": 0.7, "alpha": 0.45}
        ax.add_patch(FancyBboxPatch((x, y), width, 0.9, **box))
        ax.text(x + width / 2, y + 0.58, name, ha="center", va="center", fontsize=7)
        ax.text(x + width / 2, y + 0.25, text, ha="center", va="center", fontsize=5)
    along = [(2.35, 2.98, 3.75), (4.28, 6.15, 3.75), (2.0, 2.42, 1.2), (3.47, 3.68, 1.2), (4.92, 5.13, 1.2)]
    arrows = [((a, y), (b, y)) for a, b, y in [*along, (5.97, 6.2, 1.2), (9.47, 9.75, 2.55)]]
    for a, b in [*arrows, ((7.75, 3.6), (8.15, 2.9)), ((7.75, 1.35), (8.15, 2.1))]:
        ax.add_patch(FancyArrowPatch(a, b, arrowstyle="->", mutation_scale=8))
    ax.annotate("", (6.98, 2.8), (6.98, 1.95), arrowprops={"arrowstyle": "<->", "ls": "--"})
    ax.text(7.05, 2.4, "loss", fontsize=7, ha="left", va="center", style="italic")

    def inset(left, bottom, width, height, xlabel, ylabel, **limits):
        panel = fig.add_axes((left / 12, bottom / 5, width / 12, height / 5))
        panel.set_xlabel(xlabel, fontsize=6, labelpad=1)
        panel.set_ylabel(ylabel, fontsize=6, labelpad=1)
        panel.tick_params(labelsize=5, pad=1)
        panel.grid(False)
        panel.set(yticks=[], **limits)
        return panel

    inset(0.45, 0.45, 1.5, 1.5, "grizy image", "", xticks=[]).imshow(picture, origin="lower")
    ends = {"xlim": wave_rest[[0, -1]]}
    inset(0.45, 3.15, 1.85, 1.35, "Å, rest frame", FLUX_LABEL, **ends).plot(wave_rest, spectrum, color="0.4", lw=0.4)
    right = inset(9.85, 1.7, 2.0, 1.7, "Å, rest frame", "", **ends)
    top = 1.1 * max(np.abs(target).max(), np.abs(predicted).max(), 1e-6)
    at = np.arange(1, len(target) + 1)
    sides = ((3.15, target, "k", "target"), (0.7, predicted, VERMILION, "predicted"))
    for (bottom, values, colour, text), flux in zip(sides, decoded, strict=True):
        inset(6.3, bottom, 1.35, 1.2, "latent", text, xticks=at, ylim=(-top, top)).bar(at, values, 0.7, color=colour)
        right.plot(wave_rest, flux, color=colour, lw=0.8)
    return fig


def plot_latent_space(
    methods: Mapping[str, NDArray], classes: ArrayLike, pairs: Sequence[tuple[int, int]] = ((0, 1), (2, 3), (4, 5))
) -> Figure:
    """Latents {method: (N, 6)} of galaxies by class (N,): a row per method, two latents per panel."""
    classes = np.asarray(classes)
    fig, axes = plt.subplots(len(methods), len(pairs), figsize=(WIDTH, 1.9 * len(methods) + 0.3), squeeze=False)
    for row, (name, s) in zip(axes, methods.items(), strict=True):
        for ax, (a, b) in zip(row, pairs, strict=True):
            for kind, (colour, marker) in CLASSES.items():
                shown = classes == kind
                few = marker == "*"
                ax.scatter(*s[shown][:, [a, b]].T, s=22 if few else 5, c=colour, marker=marker, lw=0.4 if few else 0,
                           ec="w", alpha=1 if few else 0.5, zorder=3 if few else 2)  # fmt: skip
            low, high = np.percentile(s[:, [a, b]], [0.3, 99.7], axis=0)
            margin = 0.08 * np.maximum(high - low, 1e-6)
            x, y = np.transpose([low - margin, high + margin])
            ax.set(xlim=x, ylim=y, xlabel=f"{name} {a + 1}", ylabel=f"{name} {b + 1}")
            ax.tick_params(labelsize=6)
    marks = [Line2D([], [], ls="", marker=m, color=c, label=k, ms=5) for k, (c, m) in CLASSES.items()]
    fig.legend(handles=marks, loc="outside upper center", ncols=4)
    return fig


def plot_class_spectra(wave_rest: NDArray, x: NDArray, models: Mapping[str, NDArray], titles: Sequence[str]) -> Figure:
    """Spectra x (n, R) in grey with their reconstructions {method: (n, R)}, and below what is left, smoothed."""
    size = {"figsize": (WIDTH, 3.0), "height_ratios": [2, 1]}
    fig, axes = plt.subplots(2, len(x), **size, sharex=True, sharey="row", squeeze=False)
    kernel = np.ones(5) / 5
    for i, (ax, below) in enumerate(axes.T):
        ax.plot(wave_rest, x[i], color="0.65", lw=0.4)
        for (name, flux), colour, (line, _) in zip(models.items(), (MODEL, ORANGE, plots.GREEN), STYLES, strict=False):
            ax.plot(wave_rest, flux[i], color=colour, lw=0.8, ls=line, label=name)
            below.plot(wave_rest, np.convolve(x[i] - flux[i], kernel, "same"), color=colour, lw=0.6, ls=line)
        below.axhline(0, color="k", lw=0.5)
        ax.set_title(titles[i], fontsize=8)
    for ax in axes.flat:
        ax.tick_params(labelsize=6.5)
    top = np.percentile(x, 99.6)
    axes[0, 0].set(ylim=(0, 1.25 * top), ylabel=FLUX_LABEL, xlim=wave_rest[[0, -1]])
    axes[1, 0].set(ylim=(-0.25, 0.25), ylabel="obs − model")
    axes[0, -1].legend(fontsize=6.5, loc="upper right")
    fig.supxlabel(plots.REST_LABEL, fontsize=9)
    return fig


def plot_losses_by_model(
    ours: Mapping[str, tuple[float, float, float]], published: Mapping[str, float | None], floor: float | None = None
) -> Figure:
    """Validation losses of models {name: (value, low, high)} beside the published; `floor` is the targets' noise."""
    fig, ax = plt.subplots(figsize=(WIDTH, 0.34 * len(ours) + 1.0))
    at = np.arange(len(ours))[::-1]
    value, low, high = np.transpose(list(ours.values()))
    ax.errorbar(value, at, xerr=[value - low, high - value], fmt="o", ms=6, color=MODEL, zorder=3, label="ours, 68 %")
    theirs = [published.get(name) or np.nan for name in ours]
    ax.plot(theirs, at, "D", ms=6, mfc="none", color=VERMILION, label="Table 1")
    marks = [(1, "--", "the mean", "center"), (floor, ":", " noise of the targets", "left")]
    for x, line, text, side in marks[: 1 if floor is None else 2]:
        ax.axvline(x, color=plots.BASELINE, ls=line, lw=1)
        ax.text(x, len(ours) - 0.35, text, fontsize=7, color=plots.BASELINE, ha=side, va="bottom")
    ax.set_yticks(at, labels=list(ours))
    ax.set(xlabel="validation loss: RMSE of standardised latents", ylabel="model and length")
    ax.set_ylim(-0.6, len(ours) + 0.1)
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return fig


def plot_shares(shares: Mapping[str, Mapping[str, float]]) -> Figure:
    """R^2 {method: {quantity: share of its variance}}, one column per quantity."""
    quantities = list(next(iter(shares.values())))
    fig, ax = plt.subplots(figsize=(WIDTH, 3.0))
    offsets = np.linspace(-0.28, 0.28, len(shares))
    for (name, values), dx, colour, (_, marker) in zip(shares.items(), offsets, COLOURS, STYLES, strict=False):
        at, y = np.arange(len(quantities)) + dx, [values[q] for q in quantities]
        ax.vlines(at, 0, y, color=colour, lw=1.2, alpha=0.5)
        ax.plot(at, y, ls="", marker=marker, ms=5, color=colour, label=name)
    for edge in np.arange(1, len(quantities)) - 0.5:
        ax.axvline(edge, color="0.85", lw=0.7)
    ax.axhline(0, color="k", lw=0.7)
    ax.set_xticks(range(len(quantities)), labels=quantities)
    ax.grid(axis="x", visible=False)
    lowest = min(min(values.values()) for values in shares.values())
    ax.set(ylabel="share of the variance, R²", xlabel="quantity", ylim=(max(min(-0.03, 1.1 * lowest), -0.5), 1))
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=7)
    return fig


def plot_residuals(residuals: Mapping[str, NDArray], ylabel: str) -> Figure:
    """Distributions of an error {class: (n,)}: boxes of the central half, whiskers of 90 %, and every object beyond."""
    fig, ax = plt.subplots(figsize=(0.75 * WIDTH, 2.6))
    drawn = ax.boxplot(list(residuals.values()), whis=(5, 95), widths=0.5, patch_artist=True,
                       flierprops={"ms": 2.5, "mew": 0.4, "alpha": 0.6}, medianprops={"color": "k"})  # fmt: skip
    for box, name in zip(drawn["boxes"], residuals, strict=True):
        box.set(facecolor=CLASSES.get(name, (plots.GREY, "o"))[0], alpha=0.55)
    labels = [f"{name}\n{len(values)}" for name, values in residuals.items()]
    ax.set_xticks(range(1, len(residuals) + 1), labels=labels)
    ax.set(xlabel="class, and number of galaxies", ylabel=ylabel, yscale="log")
    return fig


def plot_saliency(pictures: NDArray, maps: NDArray, pixel_scale: float, titles: Sequence[str]) -> Figure:
    """Pictures (n, H, W, 3) beside what each pixel adds to the latents, maps (n, K, H, W), K of `titles` [std]."""
    n, k = maps.shape[:2]
    size = (WIDTH, WIDTH / (k + 1.2) * n + 0.3)
    fig, axes = plt.subplots(n, k + 1, figsize=size, squeeze=False, sharex=True, sharey=True)
    top = np.percentile(np.abs(maps), 99.7)
    for row, picture, its_maps in zip(axes, pictures, maps, strict=True):
        _picture(row[0], picture, pixel_scale)
        for ax, one in zip(row[1:], its_maps, strict=True):
            shown = _picture(ax, one, pixel_scale, cmap="RdBu_r", vmin=-top, vmax=top)
    for ax, title in zip(axes[0, 1:], titles, strict=True):
        ax.set_title(title, fontsize=8)
    fig.colorbar(shown, ax=axes.ravel().tolist(), label="gradient × input [std of the latent]", fraction=0.03, pad=0.01)
    fig.supxlabel("offset [arcsec]", fontsize=9)
    fig.supylabel("offset [arcsec]", fontsize=9)
    return fig


def plot_robustness(panels: Mapping[str, tuple[Sequence, Mapping[str, ArrayLike]]], ylabel: str) -> Figure:
    """A loss against conditions changed after training: {xlabel: (values, {method: losses})}, a panel each."""
    fig, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 2.7), sharey=True, squeeze=False)
    top = 1.6  # what is worse is no prediction any more: its number is written at the edge
    for ax, (xlabel, (x, curves)) in zip(axes[0], panels.items(), strict=True):
        margin = 0.12 * (max(x) - min(x))
        for i, (name, losses) in enumerate(curves.items()):
            (line, marker), colour = STYLES[i], COLOURS[i]
            ax.plot(x, losses, ls=line, marker=marker, ms=4, color=colour, label=name)
            for at, loss in zip(x, losses, strict=True):
                if loss > top:
                    where = {"ha": "center", "va": "top", "bbox": plots.PAPER, "zorder": 4}
                    ax.text(at, (0.98 - 0.06 * i) * top, f"{loss:.2g}", color=colour, fontsize=7, **where)
        ax.axhline(1, color=plots.BASELINE, ls="--", lw=0.8)
        ax.set(xlabel=xlabel, xlim=(min(x) - margin, max(x) + margin))
    axes[0, 0].set(ylabel=ylabel, ylim=(0, top))
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=len(curves), fontsize=7.5)
    return fig
