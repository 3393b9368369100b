"""The figures of the spectroscopic toolbox: one spectrum, what was measured on it, and the numbers."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from paper_utils.base.plots import FLUX_LABEL, GREEN, GREY, MODEL, ORANGE, PAPER, REST_LABEL, SKY, WIDTH
from paper_utils.measure import emission, indices

NAMES = {"log_age": "log age/Gyr", "metal": "[M/H]", "ebv": "E(B−V)", "sigma_star": "σ$_*$ [km/s]", "z": "z",
         "log_ml_r": "log M/L$_r$", "chi2": "χ²/pixel"}  # fmt: skip
TITLES = {"Hbeta": r"H$\beta$", "OIII_5007": "[O III]", "Halpha": r"H$\alpha$, [N II]", "SII_6716": "[S II]"}


def plot_fit(
    wave_rest: NDArray,
    flux: NDArray,
    ivar: NDArray,
    row: Mapping,
    stars: NDArray | None = None,
    gas: NDArray | None = None,
) -> Figure:
    """A spectrum (L,), the fitted stars and gas over it, their residuals in sigma, and the numbers of `row`."""
    fig, axes = plt.subplots(2, 1, figsize=(WIDTH, 3.8), sharex=True, height_ratios=[3, 1])
    axes[0].plot(wave_rest, flux, color="k", lw=0.5, label="observed")
    seen = np.isfinite(flux)
    if stars is None:
        level = flux
        axes[1].plot(wave_rest[seen], (flux * np.sqrt(ivar))[seen], color="k", lw=0.4)
        axes[1].set_ylabel("S/N")
    else:
        gas = np.zeros_like(stars) if gas is None else gas
        level = stars + gas
        axes[0].plot(wave_rest, level, color=MODEL, lw=0.8, label="stars and gas")
        axes[0].plot(wave_rest, stars, color=ORANGE, lw=0.8, label="stars")
        axes[1].plot(wave_rest, (flux - level) * np.sqrt(ivar), color="k", lw=0.4)
        axes[1].axhline(0, color=MODEL, lw=0.8)
        axes[1].set(ylabel="residual [σ]", ylim=(-6, 6))
    low, high = np.nanpercentile(np.where(np.isfinite(level) & seen, flux, np.nan), [0.3, 99.7])
    axes[0].set(ylabel=FLUX_LABEL, ylim=(min(0, low), 1.25 * high), title=_title(row))
    fig.supxlabel(REST_LABEL, fontsize=9)
    axes[1].set_xlim(wave_rest[seen][[0, -1]])
    axes[0].legend(loc="lower right", ncols=3)
    return fig


def plot_lines(wave_rest: NDArray, excess: NDArray, row: Mapping) -> Figure:
    """What is left of a spectrum (L,) without its stars around the BPT lines, and where the galaxy lies among them."""
    fig, axes = plt.subplots(1, 5, figsize=(WIDTH, 2.3), width_ratios=[1, 1, 1.4, 1, 1.6])
    for ax, (name, title) in zip(axes, TITLES.items(), strict=False):
        centre = emission.LINES[name] + (7 if name == "SII_6716" else 0)
        half = 45 if name == "Halpha" else 25
        near = np.abs(wave_rest - centre) < half
        ax.axhline(0, color=GREY, lw=0.6)
        ax.step(wave_rest[near], excess[near], color="k", lw=0.7, where="mid")
        ax.set(title=title, xlabel="[Å]", xlim=(centre - half, centre + half))
        ax.text(0.04, 0.97, f"EW {row[f'ew_{name}']:.1f} Å", transform=ax.transAxes, va="top", fontsize=7, bbox=PAPER)
        ax.margins(y=0.2)
        ax.tick_params(labelsize=6)
    axes[0].set_ylabel(FLUX_LABEL, fontsize=7)
    x = np.linspace(-1.6, 0.44, 200)
    for curve, style in ((emission.kauffmann, "k--"), (emission.kewley, "k-")):
        y = curve(x)
        inside = np.isfinite(y) & (y > -1.4)
        axes[4].plot(x[inside], y[inside], style, lw=0.9)
    axes[4].plot(row["log_nii_halpha"], row["log_oiii_hbeta"], "o", color=MODEL)
    axes[4].set(xlim=(-1.6, 0.6), ylim=(-1.3, 1.4), title=row["class"], xlabel=r"log [N II] / H$\alpha$")
    axes[4].set_ylabel(r"log [O III] / H$\beta$", fontsize=7)
    return fig


def plot_indices(wave_rest: NDArray, flux: NDArray, row: Mapping) -> Figure:
    """A spectrum (L,) with the bands of the indices: sides grey, lines coloured, and their values."""
    fig, axes = plt.subplots(1, 3, figsize=(WIDTH, 2.6), width_ratios=[1, 0.6, 1.6])
    parts = ((3800, 4150, ("Dn4000",)), (4800, 4920, ("Hbeta",)), (5120, 5400, ("Mgb", "Fe5270", "Fe5335")))
    for ax, (low, high, names) in zip(axes, parts, strict=True):
        near = (wave_rest > low) & (wave_rest < high)
        ax.plot(wave_rest[near], flux[near], color="k", lw=0.7)
        for name, colour in zip(names, (SKY, GREEN, ORANGE), strict=False):
            bands = indices.DN4000 if name == "Dn4000" else indices.LICK[name]
            bands = indices.air_to_vacuum(np.array(bands))
            for number, band in enumerate(bands):
                line = len(bands) == 3 and number == 1
                ax.axvspan(*band, color=colour if line else GREY, alpha=0.35 if line else 0.15, lw=0)
            ax.text(
                bands.mean(), 0.97, f"{name}\n{row[name]:.2f}", transform=ax.get_xaxis_transform(),
                va="top", ha="center", fontsize=7, bbox=PAPER,
            )  # fmt: skip
        ax.set(xlabel=REST_LABEL if len(names) == 3 else "[Å]", xlim=(low, high))
        ax.margins(y=0.3)
    axes[0].set_ylabel(FLUX_LABEL, fontsize=7)
    return fig


def _title(row: Mapping) -> str:
    parts = [str(row.get("id", ""))]
    for key, label in NAMES.items():
        if key in row and np.isfinite(row[key]):
            error = row.get(f"{key}_err", np.nan)
            digits = {"sigma_star": 0, "z": 5}.get(key, 2)
            parts.append(f"{label} {row[key]:.{digits}f}" + (f" ± {error:.{digits}f}" if np.isfinite(error) else ""))
    if row.get("reason"):
        parts.append(row["reason"][:80])
    return "\n".join(("   ".join(parts[:4]), "   ".join(parts[4:]))).strip()
