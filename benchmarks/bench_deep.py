"""The deep mock sky against ALHAMBRA's: counts, redshifts, stars, and the errors of its labels; rows of the table of
realism. Ends with 1 where a tolerance is broken.

python benchmarks/bench_deep.py [number of objects, 30000] [--write: renew data/realism.csv and the page]
"""

import numpy as np
import realism
import torch
from astropy.stats import mad_std

from paper_utils.alhambra import template_fit
from paper_utils.files import templates
from paper_utils.sky import alhambra_catalogue, populations, sequence, spectroscopic, stars

MOLINO = "Molino+ 2014, abstract"
EDGES = np.arange(19.0, 24.6, 0.5)


def measured(n, ssps, seed=0):
    """Rows of quantity, mock, real, tolerance, reference."""
    observed = alhambra_catalogue.catalogue(n, ssps, seed)
    models = template_fit.models(*sequence.templates(ssps), alhambra_catalogue.curves())
    labelled = template_fit.label(observed, models, stars.locus(alhambra_catalogue.curves()))
    truth, f814w = labelled.truth, np.asarray(labelled.truth["f814w"])
    z, galaxy = np.asarray(truth["z"]), ~np.asarray(truth["is_star"])
    area = labelled.table.meta["area_deg2"] * alhambra_catalogue.N_OBJECTS / n
    yield "area of 446 343 objects [deg2]", area, 2.79, 0.4, "Molino+ 2014"
    number, _ = np.histogram(f814w[galaxy], EDGES)
    slope = np.polyfit(EDGES[:-1] + 0.25, np.log10(number), 1)[0]
    yield "slope of log counts, F814W = 19-24.5", slope, 0.34, 0.05, "I band: Postman+ 1998"
    flagged = np.asarray(labelled.table["Stellar_Flag"]) > 0.7
    yield "flagged as stars, of all", flagged.mean(), 429 / 22318, 0.008, "Cacho 2020, table 4.1"
    zb = np.asarray(labelled.table["zb_1"])
    for limit, mean in ((22.5, 0.56), (24.5, 0.86)):  # of fitted redshifts, as published
        yield f"mean fitted redshift, F814W < {limit}", zb[galaxy & (f814w < limit)].mean(), mean, 0.06, MOLINO
    error, known = (zb - z) / (1 + z), np.zeros(n, bool)
    known[spectroscopic.rows(labelled, 24.0, seed)] = True
    for low, high, scatter in ((17.0, 22.5, 0.010), (22.5, 24.5, 0.014)):  # published: of galaxies with spectra
        rows = known & (f814w > low) & (f814w < high)
        yield f"scatter of zb, spectra, F814W {low}-{high}", mad_std(error[rows]), scatter, 0.004, MOLINO


def main():
    torch.set_num_threads(1)
    ssps = populations.from_emiles(templates.emiles())
    realism.run("deep", lambda n: measured(n, ssps), 30_000)


if __name__ == "__main__":
    main()
