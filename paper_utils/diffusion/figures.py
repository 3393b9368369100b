"""The figures of study 3, I: images, the spectra predicted from them, and what becomes of both with less of either."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from paper_utils.base.plots import BASELINE, GREY, MODEL, ORANGE, PAPER, REST_LABEL, SKY, TRUTH, WIDTH

FLUX_LABEL = "Flux / mean at 6900–6950 Å"
OBSERVED = "0.35"
SHADES = 16  # of stamps: noise in fewer steps makes files smaller by half


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
    wave_rest: NDArray,
    observed: NDArray,
    sigma: NDArray,
    predicted: NDArray,
    images: Sequence[NDArray],
    titles: Sequence[str],
    truth: NDArray | None = None,
) -> Figure:
    """Spectra (n, L) observed with their errors (grey), and predicted from the image beside: the paper's Fig. 2."""
    n = len(titles)
    fig, axes = plt.subplots(n, 2, figsize=(WIDTH, 1.4 * n + 0.3), width_ratios=[5.5, 1], squeeze=False)
    for i, (ax, beside) in enumerate(axes):
        ax.fill_between(wave_rest, observed[i] - sigma[i], observed[i] + sigma[i], color="0.8", lw=0)
        ax.plot(wave_rest, observed[i], color=OBSERVED, lw=0.5, label="observed")
        ax.plot(wave_rest, predicted[i], color=MODEL, lw=0.7, label="predicted")
        if truth is not None:
            ax.plot(wave_rest, truth[i], color=TRUTH, lw=0.6, ls=":", label="observed, without noise")
        _frame(ax, wave_rest, [observed[i], predicted[i]])
        ax.text(0.01, 0.96, titles[i], transform=ax.transAxes, va="top", fontsize=7, bbox=PAPER)
        _picture(beside, images[i])
    return _labelled(fig, axes[0, 0])


def plot_pipeline(counts: tuple[int, int, int], sizes: tuple[int, int]) -> Figure:
    """How an image becomes a spectrum: the paper's Fig. 3. counts: low-resolution candidates, kept, full-resolution of
    each; sizes: elements of low- and full-resolution spectra."""
    n_low, n_kept, n_full = counts
    fig, ax = plt.subplots(figsize=(WIDTH, 2.0))
    boxes = [
        (0, 0.5, "image\n64 × 64 × 5", BASELINE),
        (1, 0.5, f"diffusion model\nlow resolution\n{n_low} × {sizes[0]}", SKY),
        (2, 0.5, f"contrastive\nnetwork keeps\n{n_kept} of {n_low}", ORANGE),
        (3, 0.5, f"diffusion model\nfull resolution\n{n_kept} × {n_full} × {sizes[1]}", SKY),
        (4, 0.5, f"contrastive\nnetwork keeps\n1 of {n_kept * n_full}", ORANGE),
        (5, 0.5, f"spectrum\n{sizes[1]}", BASELINE),
    ]
    for x, y, text, colour in boxes:
        ax.add_patch(FancyBboxPatch((x, y - 0.25), 0.78, 0.5, boxstyle="round,pad=0.03", fc=colour, ec="k", lw=0.7,
                                    alpha=0.45))  # fmt: skip
        ax.text(x + 0.39, y, text, ha="center", va="center", fontsize=6.8)
        if x:
            ax.add_patch(FancyArrowPatch((x - 0.18, y), (x - 0.04, y), arrowstyle="->", mutation_scale=8))
    for x in (2, 3, 4):  # the image conditions every step
        ax.add_patch(FancyArrowPatch((0.39, 0.2), (x + 0.39, 0.2), connectionstyle="arc3,rad=0.16", arrowstyle="->",
                                     mutation_scale=7, lw=0.6, color=GREY))  # fmt: skip
    ax.text(2.4, -0.33, "the image is given to each", fontsize=6.8, ha="center", color=GREY)
    ax.set(xlim=(-0.1, 5.9), ylim=(-0.42, 0.95))
    ax.axis("off")
    return fig


def plot_population_fits(
    wave_rest: NDArray,
    flux: NDArray,
    stars: NDArray,
    gas: NDArray,
    masked: NDArray,
    images: Sequence[NDArray],
    titles: Sequence[str],
) -> Figure:
    """Predicted spectra (n, L) and populations fitted to them, what was masked in grey: the paper's Fig. 4."""
    n = len(titles)
    fig, axes = plt.subplots(n, 2, figsize=(WIDTH, 1.35 * n + 0.3), width_ratios=[5.5, 1], squeeze=False)
    for i, (ax, beside) in enumerate(axes):
        ax.plot(wave_rest, flux[i], color=MODEL, lw=0.6, label="predicted spectrum")
        ax.plot(wave_rest, stars[i], color=ORANGE, lw=0.8, label="fitted stars")
        if np.isfinite(gas[i]).any() and np.nanmax(gas[i]) > 0:
            ax.plot(wave_rest, gas[i] + 0.1, color=TRUTH, lw=0.6, label="fitted gas (+ 0.1)")
        ax.fill_between(wave_rest, 0, 1, where=masked[i], color="0.8", lw=0, transform=ax.get_xaxis_transform())
        _frame(ax, wave_rest, [flux[i], stars[i]])
        ax.set_ylim(bottom=0)
        ax.text(0.01, 0.96, titles[i], transform=ax.transAxes, va="top", fontsize=7, bbox=PAPER)
        _picture(beside, images[i])
    handles = {text: handle for ax in axes[:, 0] for handle, text in zip(*ax.get_legend_handles_labels(), strict=True)}
    return _labelled(fig, axes[0, 0], handles)


def plot_degraded(
    wave_rest: NDArray, observed: NDArray, sigma: NDArray, predicted: Mapping[str, NDArray], errors: Mapping[str, float]
) -> Figure:
    """One observed spectrum (L,) and what is predicted from better and worse images of it: the paper's Fig. 13."""
    fig, axes = plt.subplots(len(predicted), 1, figsize=(WIDTH, 1.35 * len(predicted) + 0.3), sharex=True)
    for ax, (name, flux) in zip(np.atleast_1d(axes), predicted.items(), strict=True):
        ax.fill_between(wave_rest, observed - sigma, observed + sigma, color="0.8", lw=0)
        ax.plot(wave_rest, observed, color=OBSERVED, lw=0.6)
        ax.plot(wave_rest, flux, color=MODEL, lw=1.0)
        _frame(ax, wave_rest, [observed, flux])
        text = f"{name}: MSE {1e3 * errors[name]:.1f} × 10⁻³"
        ax.text(0.01, 0.96, text, transform=ax.transAxes, va="top", fontsize=7, bbox=PAPER)
    return _labelled(fig)


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


def plot_information(
    names: Sequence[str], ours: NDArray, interval: NDArray, published: Sequence[float], floor: float | None = None
) -> Figure:
    """Errors (n,) with intervals (2, n) of networks that see less and less, and the paper's: its Table 3."""
    fig, ax = plt.subplots(figsize=(WIDTH, 2.9))
    at = np.arange(len(names))
    ax.errorbar(at, ours, [ours - interval[0], interval[1] - ours], fmt="o", ms=4, capsize=2, color=MODEL, label="ours")
    ax.plot(at, published, "s", ms=4, color=TRUTH, label="paper")
    if floor is not None:
        ax.axhline(floor, color=GREY, ls=":", lw=1, label="noise of the observed spectra")
    ax.set_xticks(at, labels=names, rotation=35, ha="right", fontsize=7)
    ax.set(yscale="log", ylabel="mean squared error × 10³", xlabel="what the network sees: pixels and bands")
    ax.legend(fontsize=7, loc="upper left")
    return fig


def plot_samples(
    wave_rest: NDArray,
    observed: NDArray,
    samples: NDArray,
    chosen: NDArray,
    titles: Sequence[str],
    truth: NDArray | None = None,
) -> Figure:
    """Observed spectra (n, L), the central 68 % of samples (n, K, L), and the sample that was chosen (n, L)."""
    fig, axes = plt.subplots(len(titles), 1, figsize=(WIDTH, 1.5 * len(titles) + 0.3), sharex=True, squeeze=False)
    for i, ax in enumerate(axes[:, 0]):
        low, high = np.quantile(samples[i], [0.16, 0.84], axis=0)  # NaN where a sample does not reach
        ax.fill_between(wave_rest, low, high, color=SKY, alpha=0.6, lw=0, label="central 68 % of samples")
        ax.plot(wave_rest, observed[i], color=OBSERVED, lw=0.5, label="observed")
        ax.plot(wave_rest, chosen[i], color=MODEL, lw=0.7, label="chosen sample")
        if truth is not None:
            ax.plot(wave_rest, truth[i], color=TRUTH, lw=0.7, label="observed, without noise")
        _frame(ax, wave_rest, [observed[i], high])
        ax.text(0.01, 0.96, titles[i], transform=ax.transAxes, va="top", fontsize=7, bbox=PAPER)
    return _labelled(fig, axes[0, 0])


def plot_coverage_by_wavelength(
    wave: NDArray, curves: Mapping[str, NDArray], level: float, xlabel: str = "Observed wavelength [Å, vacuum]"
) -> Figure:
    """Share of observed spectra inside the central interval of their samples, at each wavelength."""
    fig, ax = plt.subplots(figsize=(WIDTH, 2.4))
    for (name, values), line in zip(curves.items(), ("-", "--", ":"), strict=False):
        ax.plot(wave, 100 * values, ls=line, lw=0.9, label=name)
    ax.axhline(100 * level, color="k", lw=0.9)
    ax.axhspan(60, 76, color=BASELINE, alpha=0.15, lw=0)
    ax.set(xlabel=xlabel, ylabel="covered [%]", ylim=(0, 100), xlim=wave[[0, -1]])
    ax.legend(fontsize=7, loc="lower right")
    return fig


def plot_few_steps(rows: Mapping[str, tuple[NDArray, NDArray, NDArray]]) -> Figure:
    """Error against the number of denoising steps, and against time: {sampler: (steps, error, seconds)}, (n,) each."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 2.6), sharey=True)
    for (name, (steps, error, seconds)), marker in zip(rows.items(), "os^D", strict=False):
        left.plot(steps, error, marker=marker, ms=5, label=name)
        right.plot(seconds, error, marker=marker, ms=5, label=name)
    left.set(xscale="log", xlabel="denoising steps", ylabel="mean squared error")
    right.set(xscale="log", xlabel="time [s]")
    left.legend(fontsize=7)
    return fig


def _labelled(fig: Figure, ax: Axes | None = None, handles: Mapping | None = None) -> Figure:
    """The labels of rest-frame spectra, and a legend over the first panel."""
    if ax is not None:
        entries = (handles.values(), handles.keys()) if handles else ()
        ax.legend(*entries, ncols=4, fontsize=7, loc="lower left", bbox_to_anchor=(0, 1.0), borderpad=0)
    fig.supxlabel(REST_LABEL, fontsize=9)
    fig.supylabel(FLUX_LABEL, fontsize=9)
    return fig


def _stretched(image: NDArray, limits: tuple[float, float] | None = None) -> NDArray:
    low, high = limits or (float(np.min(image)), float(np.max(image)))
    return np.arcsinh(30 * np.clip((image - low) / max(high - low, 1e-9), 0, 1))


def _picture(ax: Axes, image: NDArray, name: str = "") -> None:
    ax.imshow(image, cmap=plt.get_cmap("gray", SHADES), origin="lower", interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    if name:
        outlined = [withStroke(linewidth=1.5, foreground="k")]
        ax.text(0.05, 0.95, name, transform=ax.transAxes, va="top", color="w", fontsize=8, path_effects=outlined)


def _frame(ax: Axes, wave: NDArray, spectra: Sequence[NDArray]) -> None:
    """Limits that show the continuum and all but the highest lines."""
    seen = np.isfinite(spectra[0])
    values = np.concatenate([flux[np.isfinite(flux)] for flux in spectra])
    low, high = np.quantile(values, [0.002, 0.998])
    margin = 0.12 * (high - low)
    ax.set(xlim=wave[seen][[0, -1]], ylim=(low - margin, high + 2.2 * margin))
    ax.tick_params(labelsize=7)
