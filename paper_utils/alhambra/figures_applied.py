"""The figures of `companion apply 05`: all objects, and one."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from paper_utils.alhambra.summary import Summary
from paper_utils.base.plots import MODEL, SKY, TRUTH, WIDTH
from paper_utils.base.results import Results


def plot_applied(found: Summary) -> Figure:
    """All objects of `PhotoZ.apply`: their redshifts, by magnitude too, how sure these are, and what is flagged."""
    fig, ((left, right), (sure, why)) = plt.subplots(2, 2, figsize=(WIDTH, 4.8))
    reached = np.flatnonzero(np.cumsum(found.medians) > 0.998 * found.medians.sum())
    z_max = max(found.z[reached[0] + 1] if len(reached) else found.z[-1], 0.1)
    n = max(found.medians.sum(), 1e-9)
    left.stairs(found.medians / n / np.diff(found.z), found.z, fill=True, color=MODEL, label="medians")
    if found.density is not None:
        left.stairs(found.density / n, found.pdf_edges, color=TRUTH, label="sum of densities")
        left.legend()
    left.set(xlim=(0, z_max), xlabel="redshift", ylabel="share per unit redshift", title=f"n(z) of {found.n:,} objects")
    rows = np.flatnonzero(found.by_magnitude.sum(axis=1))
    if len(rows):
        counts = np.where(found.by_magnitude > 0, found.by_magnitude, np.nan)
        image = right.pcolormesh(found.m, found.z, counts.T, norm=LogNorm(1, max(np.nanmax(counts), 2)), cmap="Blues")
        fig.colorbar(image, ax=right, label="objects")
        right.set(xlim=(found.m[rows[0]], found.m[rows[-1] + 1]), ylim=(0, z_max), xlabel=f"{found.band} [mag]")
    right.set(ylabel="median redshift", title=f"median {found.median_z:.2f}")
    sure.stairs(found.odds, found.odds_edges, fill=True, color=MODEL)
    sure.set(
        xlim=(0, 1),
        xlabel="odds",
        ylabel="objects",
        title=f"{found.n_sure / max(found.n, 1):.0%} above 0.9 and not flagged",
    )
    reasons = [(text, 100 * count / found.n) for text, count in found.flags.most_common()[::-1]]
    why.barh(range(len(reasons)), [share for _, share in reasons], color=MODEL, height=0.4)
    for i, (text, share) in enumerate(reasons):
        why.text(0.01, i + 0.2, f"{text}: {share:.2g}", fontsize=6.5, va="bottom", transform=why.get_yaxis_transform())
    why.set(yticks=[], ylim=(-0.4, max(len(reasons), 1)), xlabel="objects [%]", xlim=(0, None))
    why.set_title(f"{found.n_flagged / max(found.n, 1):.0%} flagged")
    return fig


def plot_redshift(results: Results, i: int) -> Figure:
    """The i-th object's density of redshift with its 68 % interval; without densities the interval alone."""
    row, (fig, ax) = results.table[i], plt.subplots(figsize=(0.6 * WIDTH, 2.4))
    ax.axvspan(row["z_p16"], row["z_p84"], color=SKY, alpha=0.4, lw=0, label="68 % interval")
    ax.axvline(row["z_mode"], color=TRUTH, ls="--", label="likeliest")
    if "pdf" in results.arrays:
        ax.stairs(results.arrays["pdf"][i], results.arrays["z_edges"], color=MODEL)
    ax.set(xlabel="redshift", ylabel="p(z)", title=f"{row['id']}: odds {row['odds']:.2f} {row['flag']}")
    ax.legend()
    return fig
