"""Measuring spectra with one tool: what `companion measure` does with a user's files, also from a notebook."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from astropy.table import Table

from paper_utils.base import paths, plots
from paper_utils.base.containers import Spectra
from paper_utils.base.errors import unknown
from paper_utils.measure import emission, firefly, indices, ppxf_fit, redshift
from paper_utils.measure.figures import plot_fit, plot_indices, plot_lines
from paper_utils.measure.full_spectrum import Config, part


def measure(
    spectra: Spectra, emiles, what: str, *, output: Path | None = None, n_jobs=1, n_draws=None, figures=True
) -> Table:
    """One kind of measurement, of `TOOLS`, of all spectra: a Table with a row each, described in its `meta`.

    spectra : with their resolution, `lsf_kms`.   emiles : the templates, `files.templates.EMiles`.
    output : a folder for `<what>.ecsv` and, with `figures`, `<id>.<what>.png`; finished fits are kept in its `fits`,
        so that a second call goes on.   n_jobs : processes that fit.   n_draws : of the bootstrap; by default the
        paper's 50 (pPXF), 10 (FIREFLY), and 25 draws of noise for the errors of indices.
    """
    if what not in TOOLS:
        raise unknown("tool", what, TOOLS)
    tool, usual = TOOLS[what]
    options = {"n_jobs": n_jobs, "folder": output / "fits" if output else None}
    table, details, comment = tool(spectra, emiles, usual if n_draws is None else n_draws, options)
    if "id" not in table.colnames:
        table.add_column(spectra.ids, name="id", index=0)
    table.meta["comment"] = comment
    if output:
        with paths.atomic(output / f"{what}.ecsv") as temporary:
            table.write(temporary, format="ascii.ecsv", overwrite=True)
        if figures:
            _draw(spectra, what, table, details, output)
    return table


# Each tool gives a table, what was fitted to each spectrum (such as "stars" and "gas"), and what the table holds.


def _redshift(spectra, emiles, n_draws, options) -> tuple[Table, list[dict], str]:
    table = redshift.measure(spectra.wave_obs, spectra.flux, spectra.ivar, redshift.from_emiles(emiles))
    table["z_given"] = spectra.z
    return table, [{}] * len(spectra), "Redshift by chi2 of E-MILES and lines"


def _indices(spectra, emiles, n_draws, options) -> tuple[Table, list[dict], str]:
    # Without their stars' velocity dispersion indices are too weak, and without its gas Hbeta is that of the stars.
    fits, details = _stars(spectra, emiles, 0, options)
    flux = spectra.flux - np.nan_to_num(part(details, "gas", spectra))
    how = {"sigma_star": np.asarray(fits["sigma_star"], float), "lsf_kms": spectra.lsf_kms, "n_draws": n_draws}
    table = indices.measure(spectra.wave_obs, flux, spectra.ivar, spectra.z, **how)
    table["sigma_star"], table["reason"] = fits["sigma_star"], fits["reason"]
    comment = "Dn4000, and Lick indices at Lick resolution and no dispersion; pPXF's sigma_star and gas are taken out"
    return table, details, comment


def _lines(spectra, emiles, n_draws, options) -> tuple[Table, list[dict], str]:
    fits, details = _stars(spectra, emiles, 0, options)
    observed = spectra.wave_obs, spectra.flux, spectra.ivar, spectra.z
    table = emission.measure(*observed, part(details, "stars", spectra), lsf_kms=spectra.lsf_kms)
    table["log_nii_halpha"], table["log_oiii_hbeta"] = emission.ratios(table)
    table["class"] = np.where(fits["reason"] == "", emission.classify(table), "")
    for name in table.colnames:
        if name.startswith("flux"):
            table[name].unit = "1e-17 erg / (s cm2)"
    table["reason"] = fits["reason"]
    return table, details, "Emission lines over pPXF's stars; rest-frame equivalent widths"


def _ppxf(spectra, emiles, n_draws, options) -> tuple[Table, list[dict], str]:
    comment = f"pPXF with E-MILES, {n_draws} bootstrap draws; ages and metallicities by V light"
    return *_stars(spectra, emiles, n_draws, options), comment


def _firefly(spectra, emiles, n_draws, options) -> tuple[Table, list[dict], str]:
    # The dispersion is pPXF's, as in the paper; where it has none the galaxy is fitted as if it had none.
    sigma_star = np.nan_to_num(np.asarray(_stars(spectra, emiles, 0, options)[0]["sigma_star"], float))
    how = {"sigma_star": sigma_star, "lsf_kms": spectra.lsf_kms, "config": Config(n_draws), **options}
    comment = f"FIREFLY's method with E-MILES, {n_draws} bootstrap draws"
    return *firefly.fit_all(spectra, firefly.from_emiles(emiles), **how), comment


def _stars(spectra, emiles, n_draws, options) -> tuple[Table, list[dict]]:
    return ppxf_fit.fit_all(spectra, emiles, lsf_kms=spectra.lsf_kms, config=Config(n_draws), **options)


# The tools, and how many draws each makes where nobody says.
TOOLS = {"redshift": (_redshift, 0), "indices": (_indices, 25), "lines": (_lines, 0),
         "ppxf": (_ppxf, ppxf_fit.PAPER.n_draws), "firefly": (_firefly, firefly.PAPER.n_draws)}  # fmt: skip


def _draw(spectra: Spectra, what: str, table: Table, details: list[dict], output: Path) -> None:
    plt.switch_backend("agg")
    with plt.rc_context():
        plots.use_style()
        for i, (name, fit) in enumerate(zip(spectra.ids, details, strict=True)):
            rest, row = spectra.wave_obs / (1 + spectra.z[i]), dict(zip(table.colnames, table[i], strict=True))
            flux = np.where(spectra.ivar[i] > 0, spectra.flux[i], np.nan)
            if np.isnan(flux).all():  # nothing to draw; the table says so
                continue
            if what == "indices":
                fig = plot_indices(rest, flux, row)
            elif what == "lines" and "stars" in fit:
                fig = plot_lines(rest, flux - fit["stars"], row)
            else:
                fig = plot_fit(rest, flux, spectra.ivar[i], row, fit.get("stars"), fit.get("gas"))
            plots.save(fig, output / f"{name.replace('/', '_')}.{what}.png")
