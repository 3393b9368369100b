"""What bands are worth: the same objects seen in several sets of bands, a network of p(z) for each (thesis, Ch. 6)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from astropy.table import Table
from numpy.typing import NDArray

from paper_utils.alhambra import apply, train
from paper_utils.base.containers import Catalogue
from paper_utils.nets.run import Run
from paper_utils.stats import photoz

EDGES = (-np.inf, 20.5, 21.5, np.inf)  # of true magnitudes in the band where objects are found
ALL = "all"
SCORES = ("σ_NMAD", "outliers [%]", "half the 68 % width", "coverage [%]", "−log likelihood")


def compare(
    observed: Mapping[str, Catalogue], s: train.Settings, run: Run, n_seeds: int = 3, edges: Sequence[float] = EDGES
) -> Table:
    """A row for each set of bands, seed and range of magnitudes: `SCORES` of networks that see magnitudes alone.

    observed : the same objects in other bands (`Scene.observe`), whose truth has z and m_found. Each seed is another
        split, the same for all sets, and another network of the settings' widths and epochs, taught by the truth.
    Redshifts are the medians of p(z), errors and half widths are in units of 1 + z; the likelihood is of ln(1 + z).
    """
    rows = []
    for seed in range(run.seed, run.seed + n_seeds):
        own = replace(run, seed=seed, weights="train", data={}, cards={}, models={})
        for name, catalogue in observed.items():
            part, test = train.split(catalogue, s, own)
            network = train.density(f"bands, {name}", part, train.truth(part, "z"), s, own, shapes=())
            magnitude = np.asarray(test.truth["m_found"])
            where = np.digitize(magnitude, edges[1:-1])
            for i, among in enumerate([ALL, *map(_named, edges[:-1], edges[1:])]):
                some = test.select(where == i - 1) if i else test
                about = {"bands": name, "seed": seed, "magnitudes": among, "objects": len(some)}
                rows.append(about | scores(network, some))
    return Table(rows)


def _named(low: float, high: float) -> str:
    return f"< {high:g}" if low == -np.inf else f"> {low:g}" if high == np.inf else f"{low:g}–{high:g}"


def scores(network: apply.PhotoZ, test: Catalogue) -> dict[str, float]:
    """`SCORES` of a network on objects whose true redshift is known; NaN for fewer than two."""
    if len(test) < 2:
        return dict.fromkeys(SCORES, np.nan)
    z, x = train.truth(test, "z"), network.features(test.table)
    low, middle, high = network.quantiles(x).T
    dz = photoz.residuals(middle, z)
    with torch.no_grad():
        loss = float(apply.nll(network(x), torch.tensor(np.log1p(z)).to(x)))
    found = photoz.sigma_mad(dz), 100 * photoz.outliers(dz), np.mean((high - low) / 2 / (1 + middle))
    return dict(zip(SCORES, map(float, (*found, photoz.coverage(low, high, z)[0], loss)), strict=True))


def by_set(table: Table, score: str, magnitudes: str = ALL) -> dict[str, tuple[float, float]]:
    """Mean of a score over the seeds and its standard deviation between them, by set of bands."""
    rows = table[table["magnitudes"] == magnitudes]
    values: dict[str, NDArray] = {name: rows[score][rows["bands"] == name] for name in dict.fromkeys(rows["bands"])}
    return {str(name): (float(np.mean(v)), float(np.std(v, ddof=1))) for name, v in values.items()}
