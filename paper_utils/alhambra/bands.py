"""What bands are worth: the same objects seen in several sets of bands, a network of p(z) for each (thesis, Ch. 6)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from astropy.table import Table
from numpy.typing import NDArray

from paper_utils.alhambra import apply, gaussians, template_fit, train
from paper_utils.alhambra.inputs import columns
from paper_utils.base.containers import Catalogue
from paper_utils.nets.run import Run
from paper_utils.stats import photoz

EDGES = (-np.inf, 20.5, 21.5, np.inf)  # of true magnitudes in the band where objects are found
ALL = "all"
SCORES = ("σ_NMAD", "outliers [%]", "half the 68 % width", "coverage [%]", "−log likelihood")
OF_FIT = ("σ_NMAD, template fit", "outliers [%], template fit")


def compare(
    observed: Mapping[str, Catalogue],
    models: Mapping[str, template_fit.Models],
    s: train.Settings,
    run: Run,
    n_seeds: int = 3,
    edges: Sequence[float] = EDGES,
) -> Table:
    """A row for each set of bands, seed and range of magnitudes: `SCORES` of networks that see magnitudes alone, and
    `OF_FIT` of a template fit to the same magnitudes.

    observed : the same objects in other bands (`Scene.observe`), whose truth has z and m_found. Each seed is another
        split, the same for all sets, and another network of the settings' widths and epochs, taught by the truth.
    models : of the templates in each set's bands, for the fit.
    Redshifts are the medians of p(z), errors and half widths are in units of 1 + z; the likelihood is of ln(1 + z).
    """
    rows = []
    for seed in range(run.seed, run.seed + n_seeds):
        own = replace(run, seed=seed, weights="train", data={}, cards={}, models={})
        for name, catalogue in observed.items():
            part, test = train.split(catalogue, s, own)
            network = train.density(f"bands, {name}", part, train.truth(part, "z"), s, own, shapes=())
            fit, where = _fitted(test, models[name]), np.digitize(test.truth["m_found"], edges[1:-1])
            for i, among in enumerate([ALL, *map(_named, edges[:-1], edges[1:])]):
                inside = where == i - 1 if i else np.full(len(test), True)
                about = {"bands": name, "seed": seed, "magnitudes": among, "objects": inside.sum()}
                rows.append(about | scores(network, test.select(inside), fit[inside]))
    return Table(rows)


def _fitted(test: Catalogue, models: template_fit.Models) -> NDArray:
    """Redshifts (N,) by templates and the prior of the magnitude where found; the median where nothing is detected."""
    mag, error = (columns(test.table, [f"{d}{band}" for band in test.bands]) for d in ("", "d"))
    seen = (np.abs(mag) < 50).any(axis=1)
    found = template_fit.fit(mag[seen], error[seen], models, np.asarray(test.truth["m_found"])[seen])["zb"]
    z = np.full(len(test), np.median(found))
    z[seen] = found
    return z


def _named(low: float, high: float) -> str:
    return f"< {high:g}" if low == -np.inf else f"> {low:g}" if high == np.inf else f"{low:g}–{high:g}"


def scores(network: apply.PhotoZ, test: Catalogue, fit: NDArray) -> dict[str, float]:
    """`SCORES` of a network and `OF_FIT` of fitted redshifts (N,), on objects whose true one is known; NaN for fewer
    than two."""
    if len(test) < 2:
        return dict.fromkeys((*SCORES, *OF_FIT), np.nan)
    z, x = train.truth(test, "z"), network.features(test.table)
    low, middle, high = network.quantiles(x).T
    dz, of_fit = photoz.residuals(middle, z), photoz.residuals(fit, z)
    with torch.no_grad():
        loss = float(gaussians.nll(network(x), torch.tensor(np.log1p(z)).to(x)))
    found = photoz.sigma_mad(dz), 100 * photoz.outliers(dz), np.mean((high - low) / 2 / (1 + middle))
    found = *found, photoz.coverage(low, high, z)[0], loss, photoz.sigma_mad(of_fit), 100 * photoz.outliers(of_fit)
    return dict(zip((*SCORES, *OF_FIT), map(float, found), strict=True))


def by_set(table: Table, score: str, magnitudes: str = ALL) -> dict[str, tuple[float, float]]:
    """Mean of a score over the seeds and its standard deviation between them, by set of bands."""
    rows = table[table["magnitudes"] == magnitudes]
    values: dict[str, NDArray] = {name: rows[score][rows["bands"] == name] for name in dict.fromkeys(rows["bands"])}
    return {str(name): (float(np.mean(v)), float(np.std(v, ddof=1))) for name, v in values.items()}
