"""The figures of the spectroscopic toolbox: one spectrum, what was measured on it, and the numbers."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from paper_utils.base.plots import FLUX_LABEL, GREEN, GREY, MODEL, ORANGE, PAPER, REST_LABEL, SKY, WIDTH
from paper_utils.measure import emission, indices

NAMES = {"log_age": "log age/Gyr", "metal": "[M/H]", "ebv": "E(B−V)", "sigma_star": "σ$_*$ [km/s]", "z": "z",
         "log_ml_r": "log M/L$_r$", "chi2": "χ²/pixel"}  # fmt: skip
# Of panels around lines: title, centre and half width [A].
PANELS = {"Hbeta": (r"H$\beta$", 4862.683, 25), "OIII_5007": ("[O III]", 5008.24, 25),
          "Halpha": (r"H$\alpha$, [N II]", 6564.61, 45), "SII_6716": ("[S II]", 6725.29, 25)}  # fmt: skip


def plot_fit(wave_rest: NDArray, flux: NDArray, ivar: NDArray, row: Mapping, stars=None, gas=None) -> Figure:
    """A spectrum (L,), the fitted stars and gas over it, their residuals in sigma, and the numbers of `row`."""
    fig, (top, bottom) = plt.subplots(2, 1, figsize=(WIDTH, 3.8), sharex=True, height_ratios=[3, 1])
    model = 0 if stars is None else stars + (0 if gas is None else gas)
    top.plot(wave_rest, flux, color="k", lw=0.5, label="observed")
    bottom.plot(wave_rest, (flux - model) * np.sqrt(ivar), color="k", lw=0.4)
    bottom.set_ylabel("S/N")
    if stars is not None:
        top.plot(wave_rest, model, color=MODEL, lw=0.8, label="stars and gas")
        top.plot(wave_rest, stars, color=ORANGE, lw=0.8, label="stars")
        bottom.axhline(0, color=MODEL, lw=0.8)
        bottom.set(ylabel="residual [σ]", ylim=(-6, 6))
    low, high = np.percentile(flux[np.isfinite(flux - model)], [0.3, 99.7])
    top.set(ylabel=FLUX_LABEL, ylim=(min(0, low), 1.25 * high), title=_title(row))
    fig.supxlabel(REST_LABEL, fontsize=9)
    bottom.set_xlim(wave_rest[np.isfinite(flux)][[0, -1]])
    top.legend(loc="lower right", ncols=3)
    return fig


def plot_lines(wave_rest: NDArray, excess: NDArray, row: Mapping) -> Figure:
    """What is left of a spectrum (L,) without its stars around the BPT lines, and where the galaxy lies among them."""
    fig, (*panels, bpt) = plt.subplots(1, 5, figsize=(WIDTH, 2.3), width_ratios=[1, 1, 1.4, 1, 1.6])
    for ax, (name, (title, centre, half)) in zip(panels, PANELS.items(), strict=True):
        near = np.abs(wave_rest - centre) < half
        ax.axhline(0, color=GREY, lw=0.6)
        ax.step(wave_rest[near], excess[near], color="k", lw=0.7, where="mid")
        ax.set(title=title, xlabel="[Å]", xlim=(centre - half, centre + half))
        ax.text(0.04, 0.97, f"EW {row[f'ew_{name}']:.1f} Å", transform=ax.transAxes, va="top", fontsize=7, bbox=PAPER)
        ax.margins(y=0.2)
        ax.tick_params(labelsize=6)
    panels[0].set_ylabel(FLUX_LABEL, fontsize=7)
    x = np.linspace(-1.6, 0.44, 200)
    for curve, style in ((emission.kauffmann, "k--"), (emission.kewley, "k-")):
        bpt.plot(x, np.where(curve(x) > -1.4, curve(x), np.nan), style, lw=0.9)
    bpt.plot(row["log_nii_halpha"], row["log_oiii_hbeta"], "o", color=MODEL)
    bpt.set(xlim=(-1.6, 0.6), ylim=(-1.3, 1.4), title=row["class"], xlabel=r"log [N II] / H$\alpha$")
    bpt.set_ylabel(r"log [O III] / H$\beta$", fontsize=7)
    return fig


def plot_indices(wave_rest: NDArray, flux: NDArray, row: Mapping) -> Figure:
    """A spectrum (L,) with the bands of the indices: sides grey, lines coloured, and their values."""
    fig, axes = plt.subplots(1, 3, figsize=(WIDTH, 2.6), width_ratios=[1, 0.6, 1.6])
    parts = ((3800, 4150, ("Dn4000",)), (4800, 4920, ("Hbeta",)), (5120, 5400, ("Mgb", "Fe5270", "Fe5335")))
    for ax, (low, high, names) in zip(axes, parts, strict=True):
        near = (wave_rest > low) & (wave_rest < high)
        ax.plot(wave_rest[near], flux[near], color="k", lw=0.7)
        for name, colour in zip(names, (SKY, GREEN, ORANGE), strict=False):
            bands = indices.air_to_vacuum(np.array(indices.LICK.get(name, indices.DN4000)))
            for number, band in enumerate(bands):
                look = (colour, 0.35) if len(bands) == 3 and number == 1 else (GREY, 0.15)
                ax.axvspan(*band, color=look, lw=0)
            place = {"transform": ax.get_xaxis_transform(), "va": "top", "ha": "center"}
            ax.text(bands.mean(), 0.97, f"{name}\n{row[name]:.2f}", fontsize=7, bbox=PAPER, **place)
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
