"""The figures of study 1: spectral energy distributions and what was reconstructed of them."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

from paper_utils.base import plots
from paper_utils.base.containers import Photometry
from paper_utils.base.results import Results
from paper_utils.stats import scores

WAVE_LABEL = "Rest-frame wavelength [µm]"
FLUX_LABEL = r"$c\,F_\nu\,/\,F_{\rm bol}$ [µm]"  # its integral over dlambda / lambda^2 is 1
RELATIVE_LABEL = r"$c\,F_\nu\,/\,F_{\rm 20\ bands}$ [µm]"
CLOSE_UP = (5, 10, 20, 35)  # ticks [um]


def plot_seds(wave_um: NDArray, groups: Mapping[str, NDArray], bands_um: NDArray) -> Figure:
    """Some spectra F_nu (n, L) of each group, whole and close up in 5-35 um, and where the photometric bands lie."""
    fig, axes = plt.subplots(2, len(groups), figsize=(plots.WIDTH, 4.4), sharey="row", squeeze=False)
    mid = (wave_um > 4.5) & (wave_um < 40)
    for ax, close, (name, flux) in zip(*axes, groups.items(), strict=True):
        for panel, shown, ticks in ((ax, wave_um > 0, (0.1, 1, 10, 100, 1000)), (close, mid, CLOSE_UP)):
            panel.plot(wave_um[shown], flux[:, shown].T, lw=0.8, alpha=0.8)
            panel.set_yscale("log")
            plots.label_micron(panel, ticks)
        ax.axvspan(5, 35, color=plots.GREY, alpha=0.15, lw=0)
        ax.plot(bands_um, np.full(len(bands_um), 0.03), "|", color="k", ms=6, transform=ax.get_xaxis_transform())
        ax.set(title=name, ylim=(1e-6, 1e2), xlim=(0.03, 3000))
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
    focus: bool = False,
    truth_label: str = "simulated",
    titles: Sequence[str] = (),
) -> Figure:
    """Simulated (red) and reconstructed (blue) spectra with the photometry (green), as the paper's Figs. 5-9.

    truth, reconstructed (n, L) and photometry (n, m) are F_nu. `focus` shows 5-35 um alone (the paper's Fig. 7); else
    the photometry's whole range, and below it the residuals in 5-35 um in units of their sigma of eq. 6. Values that
    are not positive, which a model of linear flux may give, leave gaps.
    """
    mid = (wave_um >= 5) & (wave_um <= 35)
    shown, ticks, ends = (mid, CLOSE_UP, (4.7, 37)) if focus else (wave_um > 0, (0.1, 1, 10, 100), (0.045, 200))
    n_rows = -(-len(truth) // 4)
    heights = [3] if focus else [3, 1]
    size = plots.WIDTH, (1.5 if focus else 2.0) * n_rows + 0.5
    look = {"sharex": focus, "squeeze": False, "height_ratios": heights * n_rows}
    fig, axes = plt.subplots(len(heights) * n_rows, 4, figsize=size, **look)
    axes, below = axes[:: len(heights)], axes[1::2]
    for i, (ax, flux, seen) in enumerate(zip(axes.flat, truth, photometry, strict=False)):
        ax.plot(wave_um[shown], flux[shown], color=plots.TRUTH, label=truth_label)
        positive = np.where(reconstructed[i] > 0, reconstructed[i], np.nan)
        ax.plot(wave_um[mid], positive[mid], color=plots.MODEL, ls="--", label="reconstructed")
        ax.plot(bands_um, seen, "o", ms=2.5, color=plots.PHOTOMETRY, label="photometry", zorder=3)
        plots.label_micron(ax, ticks)
        # Limits from the truth: a stray point of a poor model must not flatten all the rest. A decade apart at least.
        low = flux[mid].min() / 1.8 if focus else max(np.nanmin(seen), flux.max() * 1e-6) / 3
        high = flux[mid].max() * 1.8 if focus else flux.max() * 3
        room = max(10 * low / high, 1) ** 0.5
        ax.set(xlim=ends, yscale="log", ylim=(low / room, high * room))
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.tick_params(labelsize=7)
        if len(titles):
            ax.set_title(titles[i], fontsize=8)
        if chi2 is not None:
            label = rf"$\chi^2$ = {chi2[i]:.1f}"
            ax.text(0.97, 0.04, label, transform=ax.transAxes, ha="right", fontsize=7, bbox=plots.PAPER)
    for ax, real, found in zip([] if focus else below.flat, truth[:, mid], reconstructed[:, mid], strict=False):
        off = (found - real) / (scores.UNCERTAINTY * np.hypot(found, real))
        ax.axhline(0, color=plots.TRUTH, lw=0.8)
        ax.plot(wave_um[mid], np.clip(off, -9.5, 9.5), color=plots.MODEL, lw=1)
        ax.set(ylim=(-10, 10), yticks=(-5, 0, 5))
        ax.tick_params(labelsize=7)
        plots.label_micron(ax, CLOSE_UP)
    if not focus:
        below[0, 0].set_ylabel("residual [σ]", fontsize=7)
        for ax in below.flat[len(truth) :]:
            ax.remove()
    return plots.complete_grid(fig, axes, len(truth), WAVE_LABEL, RELATIVE_LABEL, "center", 3)


def plot_chi2_histogram(chi2: NDArray, below_only: bool = False) -> Figure:
    """Histogram of eq. 6 over galaxies: all, on a logarithmic axis (Fig. 3), or those below 5 (Fig. 4)."""
    fig, ax = plt.subplots(figsize=(0.6 * plots.WIDTH, 2.6))
    if below_only:
        ax.hist(chi2[chi2 < 5], np.arange(0, 5.25, 0.25), color=plots.MODEL)
        ax.set_title(rf"{(chi2 < 5).sum()} of {len(chi2)} galaxies with $\chi^2$ < 5")
    else:
        ax.hist(chi2, np.geomspace(min(chi2.min(), 0.1), max(chi2.max(), 10) * 1.01, 30), color=plots.MODEL)
        ax.axvline(5, color=plots.TRUTH, ls="--", label=r"$\chi^2$ = 5")
        ax.set_xscale("log")
        ax.legend()
    ax.set(xlabel=r"$\chi^2$ in 5–35 µm (eq. 6)", ylabel="galaxies")
    return fig


def plot_scores(
    scores: Mapping[str, tuple[float, tuple[float, float]]], highlight: Sequence[str], published: float
) -> Figure:
    """Share of test galaxies with chi2 < 5 [%] by method, with 68 % intervals; `highlight` are generative priors."""
    names = sorted(scores, key=lambda name: scores[name][0])
    values = np.array([scores[name][0] for name in names])
    low, high = np.array([scores[name][1] for name in names]).T
    fig, ax = plt.subplots(figsize=(plots.WIDTH, 0.24 * len(names) + 0.8))
    colours = [plots.MODEL if name in highlight else plots.BASELINE for name in names]
    ax.barh(names, values, xerr=[values - low, high - values], color=colours)
    ax.axvline(published, color=plots.TRUTH, ls="--", label=f"logGLO on the paper's own library, {published:g} %")
    for colour, kind in ((plots.MODEL, "generative prior"), (plots.BASELINE, "straight from photometry")):
        ax.barh(names[:1], [0], color=colour, label=kind)
    ax.set(xlabel=r"test galaxies with $\chi^2$ < 5 [%]", xlim=(0, 100))
    ax.grid(axis="y", visible=False)
    ax.legend(loc="lower right")
    return fig


def plot_shares(found: Mapping[str, Mapping[str, tuple[float, float, float]]], xlabel: str) -> Figure:
    """Shares {condition: {method: (value, low, high)}} of test galaxies with chi2 < 5 [%] against a condition."""
    shares = {name: np.array([row[name] for row in found.values()]).T for name in next(iter(found.values()))}
    values, ends = ({name: rows[part] for name, rows in shares.items()} for part in (0, slice(1, 3)))
    return plots.plot_curves(list(found), values, xlabel, r"galaxies with $\chi^2$ < 5 [%]", ends)


def plot_fork(panels: Mapping[str, tuple[NDArray, NDArray]], colour: NDArray, colour_label: str) -> Figure:
    """The fork diagram of Spoon+ 2007: 6.2 um PAH equivalent width [um] against silicate strength S_9.7.

    Widths below 0.002 um, or negative, stand at the left edge as limits.
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(plots.WIDTH, 2.7), sharex=True, sharey=True, squeeze=False)
    for ax, (name, (width, silicate)) in zip(axes[0], panels.items(), strict=True):
        seen, shown = width > 2e-3, np.maximum(width, 2e-3)
        for rows, look in ((seen, {"s": 5}), (~seen, {"s": 12, "marker": "<", "label": "no PAH found"})):
            points = ax.scatter(shown[rows], silicate[rows], c=colour[rows], cmap="cividis", vmin=0, vmax=1, **look)
        ax.set(title=name, xscale="log")
    axes[0, 0].set_ylabel(r"silicate strength $S_{9.7}$")
    axes[0, 0].legend(loc="lower left", fontsize=7)
    fig.supxlabel("6.2 µm PAH equivalent width [µm]", fontsize=9)
    fig.colorbar(points, ax=axes, label=colour_label)
    return fig


def plot_band(wave_um: NDArray, truth: NDArray, mean: NDArray, half: NDArray, names: Sequence[str]) -> Figure:
    """Residuals of reconstructions with their 68 % bands [dex]: all in log10 F_nu, (n, L) over 5-35 um."""
    fig, axes = plt.subplots(1, len(truth), figsize=(plots.WIDTH, 2.4), sharex=True, sharey=True, squeeze=False)
    for ax, off, width, name in zip(axes[0], mean - truth, half, names, strict=True):
        ax.fill_between(wave_um, off - width, off + width, color=plots.SKY, alpha=0.5, lw=0, label="68 % interval")
        ax.plot(wave_um, off, color=plots.MODEL, ls="--", label="mean")
        ax.axhline(0, color=plots.TRUTH, label="truth")
        ax.set_title(name)
        ax.tick_params(labelsize=7)
        plots.label_micron(ax, CLOSE_UP)
    # The worst may leave the frame: it must not flatten all others.
    reach = 1.3 * np.sort((np.abs(mean - truth) + half).max(axis=1))[-2:][0]
    axes[0, 0].set_ylim(-reach, reach)
    return plots.complete_grid(fig, axes, len(truth), WAVE_LABEL, "log (found / true) [dex]", "center", 3)


def plot_applied(results: Results) -> Figure:
    """All objects of `Reconstructor.apply`: their spectra, how novel they are, and the coverage that was reached."""
    fig, (left, middle, right) = plt.subplots(1, 3, figsize=(plots.WIDTH, 2.8))
    shapes = results.arrays["spectrum"][:, 1]
    shapes = shapes / np.exp(np.log(shapes).mean(axis=1, keepdims=True))
    left.plot(results.arrays["wave_um"], shapes[:: len(shapes) // 30 + 1].T, color=plots.GREY, lw=0.5)
    left.plot(results.arrays["wave_um"], np.median(shapes, axis=0), color=plots.MODEL)
    left.set(yscale="log", xlabel=WAVE_LABEL, title=r"$F_\nu$ at one level, and the median")
    plots.label_micron(left, CLOSE_UP)
    middle.hist(results.table["novelty"], np.linspace(0, 100, 21), color=plots.MODEL)
    middle.set(xlabel="novelty [percentile]", title=f"{len(results)} galaxies")
    coverage = results.table.meta["coverage"]
    right.plot([100 * share for share in coverage.values()], list(coverage), "o", ms=3, color=plots.MODEL)
    right.axvline(68, color=plots.TRUTH, ls="--")
    right.set(xlim=(40, 100), xlabel="held-out galaxies inside [%]", title="68 % intervals hold")
    right.tick_params(axis="y", labelsize=6)
    return fig


def plot_galaxy(results: Results, seen: Photometry, i: int) -> Figure:
    """Spectrum of the i-th galaxy with its 68 % interval, and its photometry, limits as arrows."""
    fig, ax = plt.subplots(figsize=(0.7 * plots.WIDTH, 3.0))
    low, middle, high = results.arrays["spectrum"][i]
    ax.fill_between(results.arrays["wave_um"], low, high, color=plots.SKY, alpha=0.5, lw=0, label="68 % interval")
    ax.plot(results.arrays["wave_um"], middle, color=plots.MODEL, label="median")
    used = (seen.error[i] > 0) & (seen.flux[i] > 0)
    rest = np.exp(np.log(seen.wave_um[used]).mean(axis=1)) / (1 + seen.z[i])
    limit = seen.limit[i, used] > 0
    bars = {"yerr": seen.error[i, used] * np.where(limit, 2, 1), "uplims": limit, "fmt": "o", "ms": 3}
    ax.errorbar(rest, seen.flux[i, used], **bars, color=plots.PHOTOMETRY, label="photometry")
    ax.set(yscale="log", xlabel=WAVE_LABEL, ylabel=r"$F_\nu$ [mJy]")
    ax.set_title(f"{seen.ids[i]}, z = {seen.z[i]:.3g}  {results.table['flag'][i]}")
    plots.label_micron(ax, (0.1, 1, *CLOSE_UP, 100))
    ax.legend()
    return fig


# Of each schematic: boxes with their places, arrows between them by number, and arrows of gradients.
_SCHEMATICS = {
    "WGAN: two networks against each other": (
        {"random latent s\n~ N(0, 1)": (0.0, 0.15), "generator G": (0.25, 0.15),
         "artificial\nspectrum G(s)": (0.5, 0.15), "real spectrum x": (0.5, 0.75),
         "critic D": (0.75, 0.45), "realness score": (1.0, 0.45)},
        [(0, 1), (1, 2), (2, 4), (3, 4), (4, 5)], [(5, 4), (4, 1)],
    ),
    "GLO: one network and its latents, by gradient descent": (
        {"learned latent $s_i$\non the sphere": (0.0, 0.2), "generator G": (0.3, 0.2),
         "spectrum G($s_i$)": (0.6, 0.2), "its own real\nspectrum $x_i$": (0.6, 0.8),
         "loss\n$||G(s_i)-x_i||^2$": (1.0, 0.5)},
        [(0, 1), (1, 2), (2, 4), (3, 4)], [(4, 1), (1, 0)],
    ),
}  # fmt: skip


def plot_schematics() -> Figure:
    """How a GAN (the paper's Fig. 1) and a GLO model (its Fig. 2) are trained."""
    fig, axes = plt.subplots(2, 1, figsize=(plots.WIDTH, 4.0))
    look = {"ha": "center", "va": "center", "bbox": {"boxstyle": "round,pad=0.5", "fc": "#EAF2F8", "ec": plots.BLUE}}
    for ax, (title, (boxes, arrows, feedback)) in zip(axes, _SCHEMATICS.items(), strict=True):
        texts = [ax.text(*place, text, fontsize=8, **look) for text, place in boxes.items()]
        fig.canvas.draw()  # the boxes take their size from their text only now; arrows end at them
        for pairs, colour, line, bend in ((arrows, "k", "-", 0.0), (feedback, plots.VERMILION, "--", -0.3)):
            drawn = {"arrowstyle": "->", "color": colour, "ls": line, "connectionstyle": f"arc3,rad={bend}"}
            for start, end in ((texts[a], texts[b]) for a, b in pairs):
                patches = {"patchA": start.get_bbox_patch(), "patchB": end.get_bbox_patch()}
                ax.annotate("", end.get_position(), start.get_position(), arrowprops=drawn | patches)
        ax.set(xlim=(-0.12, 1.12), ylim=(-0.2, 1.05))
        ax.set_title(title, loc="left")
        ax.set_axis_off()
    fig.text(0.99, 0.01, "dashed: gradients", ha="right", color=plots.VERMILION, fontsize=8)
    return fig
