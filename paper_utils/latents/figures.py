"""The figures of study 4: images of galaxies, the spectra that networks read from them, and how well."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from astropy.visualization import make_lupton_rgb
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from numpy.typing import ArrayLike, NDArray

from paper_utils.base import plots
from paper_utils.base.plots import MODEL, ORANGE, SKY, STYLES, VERMILION, WIDTH

FLUX_LABEL = "Flux / rms"
CLASSES = {
    "star-forming": (SKY, "o"), "quiescent": (VERMILION, "s"), "post-starburst": ("k", "*"), "AGN": (ORANGE, "^"),
}  # fmt: skip
ABOVE = {"loc": "outside upper center", "ncols": 4, "fontsize": 7.5}  # of a figure's legend
BESIDE = {"loc": "upper left", "bbox_to_anchor": (1, 1), "fontsize": 7.5}


def composite(cube: ArrayLike, bands: Sequence[str], noise: ArrayLike) -> NDArray:
    """Colour pictures (N, H, W, 3) of stamps (N, B, H, W) with sky noise (B,), after Lupton+ 2004.

    i, r and g are red, green and blue; of a camera without these the last, the middle and the first band.
    """
    bands, noise = list(bands), np.asarray(noise)
    three = [bands.index(b) for b in "irg"] if set("irg") <= set(bands) else [-1, len(bands) // 2, 0]
    weight = np.sqrt(noise[three[1]] / noise[three])  # between equal noise and equal flux
    stretch = 18 * noise[three[1]]  # the sky's noise is just visible
    return np.stack([make_lupton_rgb(*(weight[:, None, None] * stamp[three]), stretch=stretch, Q=9) for stamp in cube])


def _picture(ax: Axes, image: NDArray, pixel_scale: float, **options):
    half = image.shape[0] * pixel_scale / 2
    shown = ax.imshow(image, origin="lower", extent=(-half, half, -half, half), interpolation="nearest", **options)
    ax.grid(False)
    ax.tick_params(labelsize=6, color="w")
    return shown


def plot_stamps(pictures: Mapping[str, NDArray], pixel_scale: float) -> Figure:
    """Pictures {class: (n, H, W, 3)} in rows."""
    n = max(map(len, pictures.values()))
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


def plot_spectra_from_images(
    pictures: NDArray,
    pixel_scale: float,
    wave_rest: NDArray,
    target: NDArray,
    predicted: NDArray,
    titles: Sequence[str],
    observed: NDArray,
    interval: tuple[NDArray, NDArray] | None = None,
) -> Figure:
    """Images beside spectra (n, R): observed (grey), decoded from the target latents (black) and from the predicted.

    The paper's Fig. 1.   interval : low and high (n, R), shaded.
    """
    n = len(pictures)
    n_rows = -(-n // 2)
    fig, axes = plt.subplots(n_rows, 4, figsize=(WIDTH, 1.12 * n_rows + 0.35), width_ratios=[1, 2.6] * 2, squeeze=False)
    panels = axes.reshape(-1, 2)[:, ::-1]
    for i, (ax, left) in enumerate(panels[:n]):
        _picture(left, pictures[i], pixel_scale)
        left.set(xticks=[], yticks=[])
        ax.plot(wave_rest, observed[i], color="0.7", lw=0.4, label="observed")
        if interval is not None:
            ax.fill_between(wave_rest, *(end[i] for end in interval), color=VERMILION, alpha=0.3, lw=0, label="68 %")
        ax.plot(wave_rest, target[i], color="k", lw=0.9, label="target, decoded")
        ax.plot(wave_rest, predicted[i], color=VERMILION, lw=0.9, label="from the image")
        both = np.concatenate([target[i], predicted[i]])
        top = 1.5 * np.percentile(both, 98.5)  # the strongest lines may leave the panel, the continuum stays readable
        ax.set(xlim=wave_rest[[0, -1]], ylim=(min(0, both.min()), top), yticks=[])
        ax.tick_params(labelsize=6.5, labelbottom=i >= n - 2)
        ax.set_title(titles[i], fontsize=6.5, loc="right", x=0.98, y=1, pad=-8, bbox=plots.PAPER)
    return plots.complete_grid(fig, panels, 2 * n, plots.REST_LABEL, FLUX_LABEL, "center", 4)


def plot_method(
    picture: NDArray, wave_rest: NDArray, spectrum: NDArray, decoded: NDArray, target: NDArray, predicted: NDArray
) -> Figure:
    """The two ways to six latents as boxes, with one galaxy going through: the paper's Fig. 2.

    spectrum (R,) and what the decoder makes of target (6,) and predicted (6,) latents: decoded (2, R).
    """
    rows = ["spectrum", "encoder", "target"], ["image", "network", "predicted"]
    grid = [[*row, "decoder", "spectra"] for row in rows]
    fig, axes = plt.subplot_mosaic(grid, figsize=(WIDTH, 2.8), width_ratios=[1.5, 2.6, 1.1, 1.1, 1.7])
    for name, side, texts in (
        ("encoder", 1.65, ["VAE\nencoder\n1000–549\n–110–6"]),
        ("network", 1.65, ["stem\ndeconvo-\nlution", "body\nresnet,\nbatch norm", "head\nlinear, 6"]),
        ("decoder", 0.65, ["VAE\ndecoder\n6–110–\n549–1000"]),
    ):
        ax, last = axes[name], len(texts) - 1
        plots.draw_chain(ax, texts, [ORANGE if "stem" in text else SKY for text in texts], y=-0.25)
        for a, b in ((last / 2 - side, -0.41), (last + 0.41, last / 2 + side)):
            ax.add_patch(FancyArrowPatch((a, 0), (b, 0), arrowstyle="->", mutation_scale=7))
        height = 0.5 if side > 1 else 1
        ax.set(xlim=(last / 2 - side, last / 2 + side), ylim=(-height, height))
        ax.axis("off")
    axes["image"].imshow(picture, origin="lower")
    axes["image"].set(xlabel="grizy image", xticks=[])
    axes["spectrum"].plot(wave_rest, spectrum, color="0.4", lw=0.4)
    at, top = np.arange(1, len(target) + 1), 1.1 * np.abs([target, predicted]).max()
    latents = ("target", target, "k"), ("predicted", predicted, VERMILION)
    for (name, values, colour), flux in zip(latents, decoded, strict=True):
        axes[name].bar(at, values, 0.7, color=colour)
        axes[name].set(xlabel="latent", ylabel=name, xticks=at, ylim=(-top, top))
        axes["spectra"].plot(wave_rest, flux, color=colour, lw=0.8)
    axes["predicted"].set_title("↕ loss", fontsize=7, style="italic")
    for name in ("spectrum", "spectra"):
        axes[name].set(xlabel="Å, rest frame", ylabel=FLUX_LABEL, xlim=wave_rest[[0, -1]])
    for ax in axes.values():
        ax.set_yticks([])
        ax.grid(False)
        ax.tick_params(labelsize=5)
        ax.xaxis.label.set_fontsize(6)
        ax.yaxis.label.set_fontsize(6)
    return fig


def plot_latent_space(methods: Mapping[str, NDArray], classes: ArrayLike) -> Figure:
    """Latents {method: (N, 6)} of galaxies by class (N,): a row per method, two latents per panel."""
    classes = np.asarray(classes)
    fig, axes = plt.subplots(len(methods), 3, figsize=(WIDTH, 1.9 * len(methods) + 0.3), squeeze=False)
    for row, (name, s) in zip(axes, methods.items(), strict=True):
        for ax, (a, b) in zip(row, ((0, 1), (2, 3), (4, 5)), strict=True):
            for kind, (colour, marker) in CLASSES.items():
                few = marker == "*"
                look = {"ms": 5, "mec": "w", "mew": 0.4, "zorder": 3} if few else {"ms": 2.5, "mew": 0, "alpha": 0.5}
                ax.plot(*s[classes == kind][:, [a, b]].T, ls="", marker=marker, color=colour, label=kind, **look)
            low, high = np.percentile(s[:, [a, b]], [0.3, 99.7], axis=0)
            x, y = np.transpose([1.08 * low - 0.08 * high, 1.08 * high - 0.08 * low])
            ax.set(xlim=x, ylim=y, xlabel=f"{name} {a + 1}", ylabel=f"{name} {b + 1}")
            ax.tick_params(labelsize=6)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), markerscale=2, **ABOVE)
    return fig


def plot_class_spectra(wave_rest: NDArray, x: NDArray, models: Mapping[str, NDArray], titles: Sequence[str]) -> Figure:
    """Spectra x (n, R) in grey with their reconstructions {method: (n, R)}, and below what is left, smoothed."""
    size = {"figsize": (WIDTH, 3.0), "height_ratios": [2, 1]}
    fig, axes = plt.subplots(2, len(x), **size, sharex=True, sharey="row", squeeze=False)
    for i, (ax, below) in enumerate(axes.T):
        ax.plot(wave_rest, x[i], color="0.65", lw=0.4)
        for (name, flux), (line, _) in zip(models.items(), STYLES, strict=False):
            ax.plot(wave_rest, flux[i], lw=0.8, ls=line, label=name)
            below.plot(wave_rest, np.convolve(x[i] - flux[i], np.ones(5) / 5, "same"), lw=0.6, ls=line)
        below.axhline(0, color="k", lw=0.5)
        ax.set_title(titles[i], fontsize=8)
    axes[0, 0].set(ylim=(0, 1.25 * np.percentile(x, 99.6)), ylabel=FLUX_LABEL, xlim=wave_rest[[0, -1]])
    axes[1, 0].set(ylim=(-0.25, 0.25), ylabel="obs − model")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), **ABOVE)
    fig.supxlabel(plots.REST_LABEL, fontsize=9)
    return fig


def plot_losses_by_model(
    ours: Mapping[str, tuple[float, float, float]], published: Mapping[str, float | None], marks: Mapping[str, float]
) -> Figure:
    """Validation losses of models {name: (value, low, high)} beside the published; `marks`: losses to hold them to."""
    fig, ax = plt.subplots(figsize=(WIDTH, 0.34 * len(ours) + 1.0))
    at = np.arange(len(ours))[::-1]
    value, low, high = np.transpose(list(ours.values()))
    ax.errorbar(value, at, xerr=[value - low, high - value], fmt="o", ms=6, color=MODEL, zorder=3, label="ours, 68 %")
    theirs = [published.get(name) or np.nan for name in ours]
    ax.plot(theirs, at, "D", ms=6, mfc="none", color=VERMILION, label="Table 1")
    for (name, loss), line in zip(marks.items(), ("--", ":"), strict=False):
        ax.axvline(loss, color=plots.BASELINE, ls=line, lw=1, label=name)
    ax.set_yticks(at, labels=list(ours))
    ax.set(xlabel="validation loss: RMSE of standardised latents", ylabel="model and length")
    ax.legend(**BESIDE)
    return fig


def plot_shares(shares: Mapping[str, Mapping[str, float]]) -> Figure:
    """R^2 {method: {quantity: share of its variance}}, one column per quantity."""
    quantities = list(next(iter(shares.values())))
    at = np.arange(len(quantities))
    fig, ax = plt.subplots(figsize=(WIDTH, 3.0))
    for i, (name, values) in enumerate(shares.items()):
        x, y = at + 0.56 * (i / max(len(shares) - 1, 1) - 0.5), list(values.values())
        ax.vlines(x, 0, y, color=f"C{i}", lw=1.2, alpha=0.5)
        ax.plot(x, y, ls="", marker=STYLES[i][1], ms=5, color=f"C{i}", label=name)
    ax.vlines(at[1:] - 0.5, -1, 1, color="0.85", lw=0.7)
    ax.axhline(0, color="k", lw=0.7)
    ax.set_xticks(at, labels=quantities)
    ax.grid(axis="x", visible=False)
    lowest = min(min(values.values()) for values in shares.values())
    ax.set(ylabel="share of the variance, R²", xlabel="quantity", ylim=(max(min(-0.03, 1.1 * lowest), -0.5), 1))
    ax.legend(**BESIDE)
    return fig


def plot_residuals(residuals: Mapping[str, NDArray], ylabel: str) -> Figure:
    """Distributions of an error {class: (n,)}: boxes of the central half, whiskers of 90 %, and every object beyond."""
    fig, ax = plt.subplots(figsize=(0.75 * WIDTH, 2.6))
    look = {"flierprops": {"ms": 2.5, "mew": 0.4, "alpha": 0.6}, "medianprops": {"color": "k"}}
    drawn = ax.boxplot(list(residuals.values()), whis=(5, 95), widths=0.5, patch_artist=True, **look)
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
    fig.colorbar(shown, ax=axes, label="gradient × input [std of the latent]", fraction=0.03, pad=0.01)
    fig.supxlabel("offset [arcsec]", fontsize=9)
    fig.supylabel("offset [arcsec]", fontsize=9)
    return fig


def plot_robustness(panels: Mapping[str, tuple[Sequence, Mapping[str, ArrayLike]]], ylabel: str) -> Figure:
    """A loss against conditions changed after training: {xlabel: (values, {method: losses})}, a panel each."""
    fig, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 2.7), sharey=True, squeeze=False)
    for ax, (xlabel, (x, curves)) in zip(axes[0], panels.items(), strict=True):
        for i, (name, losses) in enumerate(curves.items()):
            ax.plot(x, losses, ls=STYLES[i][0], marker=STYLES[i][1], ms=4, label=name)
        ax.set_xlabel(xlabel)
        ax.margins(x=0.12)
    axes[0, 0].set(ylabel=ylabel, yscale="log")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), **ABOVE)
    return fig
