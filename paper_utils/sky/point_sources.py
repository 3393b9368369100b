"""Stars and quasars among the galaxies of a spectroscopic survey, as point sources that a fibre sees whole."""

from __future__ import annotations

import numpy as np
import torch
from astropy.table import Table

from paper_utils.base.containers import WAVE_OBS
from paper_utils.base.filters import sdss_curves
from paper_utils.base.photometry import ab_fluxes
from paper_utils.sky import foreground, quasars, stars

FAINT = 19.1, 17.77  # i of quasars (Richards+ 2002, 2002AJ....123.2945R) and r of stars taken for galaxies


def replace(truth: Table, clean: torch.Tensor, share: float, rng: np.random.Generator) -> None:
    """A share of the galaxies turned into quasars, and as many into stars, in place, `clean` (N, L) with them.

    `truth` gets `kind` ("galaxy", "star" or "quasar") and the redshift of a quasar, or 0; what describes galaxies is
    NaN, False or "none". Stars are along the stellar locus, at the resolution of `stars.WAVE` (150 km/s pixels, lines
    of photospheres and bands only): colours and breaks are right, lines are not.
    """
    kind = rng.choice(["galaxy", "star", "quasar"], len(truth), p=[1 - 2 * share, share, share])
    truth["kind"] = kind
    z, bright = quasars.draw(rng, (kind == "quasar").sum(), FAINT[0])
    n_stars = (kind == "star").sum()
    _, colour = stars.draw(rng, n_stars, FAINT[1])
    # Counts of stars rise as 10^(0.2 m), between 14 and the limit of the galaxies.
    faint = FAINT[1] + np.log10(rng.uniform(10 ** (0.2 * (14 - FAINT[1])), 1, n_stars)) / 0.2
    for name, spectra, magnitude, band, redshift in (
        ("quasar", quasars.spectra(rng, z, WAVE_OBS), bright, "i", z),
        ("star", stars.at(colour, WAVE_OBS), faint, "r", 0.0),
    ):
        rows = np.flatnonzero(kind == name)
        for column in set(truth.colnames) - {"id", "kind", "ebv"}:
            of = truth[column].dtype.kind
            truth[column][rows] = {"f": np.nan, "b": False}.get(of, "none")
        truth["z"][rows] = redshift
        seen = ab_fluxes(WAVE_OBS, spectra * 1e-17, {band: sdss_curves()[band]})
        light = spectra * 10 ** (-0.4 * magnitude[:, None]) / seen
        light *= foreground.transmission(WAVE_OBS, foreground.towards(truth[rows]))
        clean[torch.as_tensor(rows, device=clean.device)] = torch.as_tensor(
            light, dtype=clean.dtype, device=clean.device
        )
