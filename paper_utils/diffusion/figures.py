"""The figures of study 3, I: images, the spectra predicted from them, and what becomes of both with less of either."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from paper_utils.base.plots import GREY, MODEL, ORANGE, PAPER, REST_LABEL, SKY, TRUTH, WIDTH, draw_chain

SHADES, SOFT = 16, 30  # of stamps: noise in few steps makes files smaller by half; range of their arcsinh
COLOURS = {
    "": "0.8", "central 68 % of samples": (SKY, 0.6), "observed": "0.35", "observed, without noise": TRUTH,
    "fitted stars": ORANGE, "fitted gas (+ 0.1)": TRUTH,
}  # fmt: skip


def colour_image(cube: NDArray, bands: Sequence[str]) -> NDArray:
    """Three bands of a stamp (B, H, W) as red, green and blue, (H, W, 3): arcsinh as in Lupton+ 2004."""
    names = [str(band) for band in bands]
    triple = [names.index(b) for b in "irg"] if set("gri") <= set(names) else [-1, len(names) // 2, 0]
    flux = np.asarray(cube, float)[triple]
    middle = [slice(n // 2 - n // 8 - 1, n // 2 + n // 8 + 1) for n in flux.shape[1:]]
    core = flux[:, middle[0], middle[1]].reshape(3, -1).max(axis=1)
    flux = flux * np.sqrt(core[1] / np.maximum(core, 1e-9))[:, None, None]
    mean = np.clip(flux.mean(axis=0), 1e-9, None)
    sky = 1.4826 * np.median(np.abs(flux.mean(axis=0) - np.median(flux.mean(axis=0))))
    soft = max(4 * sky, 0.02 * float(core.max()), 1e-9)
    brightness = np.arcsinh(mean / soft) / np.arcsinh(1.2 * max(core.max(), soft) / soft)
    shades = np.clip(np.moveaxis(flux / mean * brightness, 0, -1), 0, 1)
    return np.round(SHADES * shades) / SHADES


def plot_stamps(cube: NDArray, bands: Sequence[str], titles: Sequence[str]) -> Figure:
    """Stamps (n, B, H, W) as networks get them, a row per galaxy and a column per band: the paper's Fig. 1."""
    n, n_bands = cube.shape[:2]
    fig, axes = plt.subplots(n, n_bands, figsize=(0.7 * WIDTH, 0.7 * WIDTH / n_bands * n + 0.2), squeeze=False)
    for row, stamp, title in zip(axes, cube, titles, strict=True):
        for ax, image, band in zip(row, stamp, bands, strict=True):
            _picture(ax, _stretched(image), f"{band}")
        row[0].set_ylabel(title, fontsize=7)
    fig.supxlabel("pixels of 0.396″", fontsize=8)
    return fig


def plot_predictions(
    wave: NDArray, observed: NDArray, sigma: NDArray, predicted: NDArray, images: list[NDArray], titles: list[str]
) -> Figure:
    """Spectra (n, L) observed with their errors (grey), and predicted from the image beside: the paper's Fig. 2."""
    curves = {"observed": observed, "predicted": predicted}
    return _spectra(wave, curves, titles, band=(observed - sigma, observed + sigma), images=images)


def plot_population_fits(
    wave: NDArray, flux: NDArray, stars: NDArray, gas: NDArray, mask: NDArray, images: list[NDArray], titles: list[str]
) -> Figure:
    """Predicted spectra (n, L) and populations fitted to them, what was masked (n, L) in grey: the paper's Fig. 4."""
    gas = np.where((gas > 0).any(axis=1, keepdims=True), gas + 0.1, np.nan)
    curves = {"predicted": flux, "fitted stars": stars, "fitted gas (+ 0.1)": gas}
    fig = _spectra(wave, curves, titles, images=images)
    for ax, hidden in zip(fig.axes[::2], mask, strict=True):
        ax.fill_between(wave, 0, 1, where=hidden, color="0.8", lw=0, transform=ax.get_xaxis_transform())
        ax.set_ylim(bottom=0)
    return fig


def plot_degraded(
    wave: NDArray, observed: NDArray, sigma: NDArray, predicted: Mapping[str, NDArray], errors: Mapping[str, float]
) -> Figure:
    """One observed spectrum (L,) and what is predicted from better and worse images of it: the paper's Fig. 13."""
    n, titles = len(predicted), [f"{name}: MSE {1e3 * errors[name]:.1f} × 10⁻³" for name in predicted]
    curves = {"observed": [observed] * n, "predicted": list(predicted.values())}
    return _spectra(wave, curves, titles, band=([observed - sigma] * n, [observed + sigma] * n))


def plot_samples(
    wave: NDArray, observed: NDArray, samples: NDArray, chosen: NDArray, titles: list[str], truth: NDArray | None = None
) -> Figure:
    """Observed spectra (n, L), the central 68 % of samples (n, K, L), and the sample that was chosen (n, L)."""
    band = np.quantile(samples, [0.16, 0.84], axis=1)  # NaN where a sample does not reach
    curves = {"observed": observed, "chosen sample": chosen}
    curves |= {} if truth is None else {"observed, without noise": truth}
    return _spectra(wave, curves, titles, band=band, band_name="central 68 % of samples")


def plot_pipeline(counts: tuple[int, int, int], sizes: tuple[int, int]) -> Figure:
    """How an image becomes a spectrum: the paper's Fig. 3. counts: low-resolution candidates, kept, full-resolution of
    each; sizes: elements of low- and full-resolution spectra."""
    n_low, n_kept, n_full = counts
    fig, ax = plt.subplots(figsize=(WIDTH, 2.0))
    parts = [
        "image\n64 × 64 × 5",
        f"diffusion model\nlow resolution\n{n_low} × {sizes[0]}",
        f"contrastive\nnetwork keeps\n{n_kept} of {n_low}",
        f"diffusion model\nfull resolution\n{n_kept} × {n_full} × {sizes[1]}",
        f"contrastive\nnetwork keeps\n1 of {n_kept * n_full}",
        f"spectrum\n{sizes[1]}",
    ]
    draw_chain(ax, parts, [GREY, SKY, ORANGE, SKY, ORANGE, GREY], y=0.25)
    for x in (2, 3, 4):  # the image conditions every step
        look = {"connectionstyle": "arc3,rad=0.16", "arrowstyle": "->", "mutation_scale": 7, "lw": 0.6, "color": GREY}
        ax.add_patch(FancyArrowPatch((0, 0.2), (x, 0.2), **look))
    ax.text(2, -0.33, "the image is given to each", fontsize=6.8, ha="center", color=GREY)
    ax.set(xlim=(-0.5, 5.5), ylim=(-0.42, 0.95))
    ax.axis("off")
    return fig


def plot_resolutions(images: Mapping[str, NDArray]) -> Figure:
    """One image in one band at several resolutions: the paper's Fig. 14."""
    fig, axes = plt.subplots(1, len(images), figsize=(WIDTH, 1.35), squeeze=False)
    first = next(iter(images.values()))
    limits = float(np.median(first)), float(np.max(first))  # from the sky to the brightest pixel of the sharpest
    for ax, (name, image) in zip(axes[0], images.items(), strict=True):
        _picture(ax, _stretched(image, limits), name)
    axes[0, 0].set_ylabel("r", fontsize=8)
    fig.supxlabel("pixels", fontsize=8)
    return fig


def plot_information(names: Sequence[str], ours: NDArray, interval: NDArray, published: Sequence[float]) -> Figure:
    """Errors (n,) with intervals (2, n) of networks that see less and less, and the paper's: its Table 3."""
    fig, ax = plt.subplots(figsize=(WIDTH, 2.9))
    at = np.arange(len(names))
    ax.errorbar(at, ours, np.abs(interval - ours), fmt="o", ms=4, capsize=2, color=MODEL, label="ours")
    ax.plot(at, published, "s", ms=4, color=TRUTH, label="paper")
    ax.set_xticks(at, labels=names, rotation=35, ha="right", fontsize=7)
    ax.set(yscale="log", ylabel="mean squared error × 10³", xlabel="what the network sees: pixels and bands")
    ax.legend(fontsize=7, loc="upper left")
    return fig


def plot_coverage_by_wavelength(wave: NDArray, curves: Mapping[str, NDArray], level: float, xlabel: str) -> Figure:
    """Share of observed spectra inside the central interval of their samples, at each wavelength."""
    fig, ax = plt.subplots(figsize=(WIDTH, 2.4))
    for (name, values), line in zip(curves.items(), ("-", "--", ":"), strict=False):
        ax.plot(wave, 100 * values, ls=line, lw=0.9, label=name)
    ax.axhline(100 * level, color="k", lw=0.9)
    ax.axhspan(60, 76, color=GREY, alpha=0.15, lw=0)
    ax.set(xlabel=xlabel, ylabel="covered [%]", ylim=(0, 100), xlim=wave[[0, -1]])
    ax.legend(fontsize=7, loc="lower right")
    return fig


def plot_few_steps(rows: Sequence[Mapping]) -> Figure:
    """Error against the number of denoising steps, and against time: rows of `ablation.steps_table`."""
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.6), sharey=True)
    for name, marker in zip(dict.fromkeys(row["sampler"] for row in rows), "os^D", strict=False):
        steps, error, seconds = np.transpose(
            [[row[key] for key in ("steps", "MSE x 1e3", "seconds")] for row in rows if row["sampler"] == name]
        )
        for ax, x in zip(axes, (steps, seconds), strict=True):
            ax.plot(x, error, marker=marker, ms=5, label=name)
    axes[0].set(xscale="log", xlabel="denoising steps", ylabel="mean squared error × 10³")
    axes[1].set(xscale="log", xlabel="time [s]")
    axes[0].legend(fontsize=7)
    return fig


def _spectra(
    wave: NDArray, curves: Mapping[str, Sequence[NDArray]], titles: list[str], *, band=None, band_name="", images=None
) -> Figure:
    """A panel for each of n galaxies: curves {name: (n, L)} at rest `wave` (L,), over a shaded band (2, n, L).

    images : of each galaxy, beside its spectrum.
    """
    n, columns = len(titles), {"sharex": True} if images is None else {"ncols": 2, "width_ratios": [5.5, 1]}
    fig, axes = plt.subplots(n, figsize=(WIDTH, 1.4 * n + 0.3), squeeze=False, **columns)
    for i, ax in enumerate(axes[:, 0]):
        if band is not None:
            ax.fill_between(wave, band[0][i], band[1][i], color=COLOURS[band_name], lw=0, label=band_name)
        for name, flux in curves.items():
            ax.plot(wave, flux[i], color=COLOURS.get(name, MODEL), lw=0.5 if name == "observed" else 0.7, label=name)
        shown = np.array([flux[i] for flux in curves.values()][:2])
        low, high = np.nanquantile(shown, [0.002, 0.998])  # the continuum and all but the highest lines
        margin = 0.12 * (high - low)
        ax.set(xlim=wave[np.isfinite(shown[0])][[0, -1]], ylim=(low - margin, high + 2.2 * margin))
        ax.tick_params(labelsize=7)
        ax.text(0.01, 0.96, titles[i], transform=ax.transAxes, va="top", fontsize=7, bbox=PAPER)
        if images is not None:
            _picture(axes[i, 1], images[i])
    axes[0, 0].legend(ncols=4, fontsize=7, loc="lower left", bbox_to_anchor=(0, 1.0), borderpad=0)
    fig.supxlabel(REST_LABEL, fontsize=9)
    fig.supylabel("Flux / mean at 6900–6950 Å", fontsize=9)
    return fig


def _stretched(image: NDArray, limits: tuple[float, float] | None = None) -> NDArray:
    low, high = limits or (float(np.min(image)), float(np.max(image)))
    return np.arcsinh(SOFT * np.clip((image - low) / max(high - low, 1e-9), 0, 1))


def _picture(ax: Axes, image: NDArray, name: str = "") -> None:
    look = {"cmap": plt.get_cmap("gray", SHADES), "vmin": 0, "vmax": np.arcsinh(SOFT), "interpolation": "nearest"}
    ax.imshow(image, origin="lower", **look)
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    if name:
        outlined = [withStroke(linewidth=1.5, foreground="k")]
        ax.text(0.05, 0.95, name, transform=ax.transAxes, va="top", color="w", fontsize=8, path_effects=outlined)
