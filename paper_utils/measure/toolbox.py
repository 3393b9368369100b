"""Measuring spectra with one tool: what `companion measure` does with a user's files, also from a notebook."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from paper_utils.base import paths
from paper_utils.measure import emission, firefly, indices, ppxf_fit, redshift

if TYPE_CHECKING:
    from astropy.table import Table

    from paper_utils.base.containers import Spectra


class What(StrEnum):
    """What can be measured."""

    redshift, indices, lines, ppxf, firefly = "redshift", "indices", "lines", "ppxf", "firefly"


def measure(
    spectra: Spectra,
    emiles,
    what: What | str,
    *,
    output: Path | None = None,
    n_jobs: int = 1,
    n_draws: int | None = None,
    figures: bool = True,
    progress: bool = True,
) -> Table:
    """One kind of measurement of all spectra: a Table with a row each, its columns described in `meta`.

    spectra : with their resolution, `lsf_kms`.   emiles : the templates, `files.templates.EMiles`.
    output : a folder for `<what>.ecsv` and, with `figures`, `<id>.<what>.png`; finished fits are kept in its `fits`,
        so that a second call goes on.   n_draws : of the bootstrap; by default the paper's 50 (pPXF), 10 (FIREFLY), and
        25 draws of noise for the errors of indices.
    """
    what = What(what)
    options = dict(n_jobs=n_jobs, folder=output / "fits" if output else None, progress=progress)
    table, details = _TOOLS[what](spectra, emiles, n_draws, options)
    if output:
        Path(output).mkdir(parents=True, exist_ok=True)
        with paths.atomic(Path(output) / f"{what}.ecsv") as temporary:
            table.write(temporary, format="ascii.ecsv", overwrite=True)
        if figures:
            _draw(spectra, what, table, details, Path(output))
    return table


def _redshift(spectra, emiles, n_draws, options):
    table = redshift.measure(spectra.wave_obs, spectra.flux, spectra.ivar, redshift.from_emiles(emiles))
    table["z_given"] = spectra.z
    return _named(table, spectra, "Redshift by chi2 of E-MILES and lines"), None


def _indices(spectra, emiles, n_draws, options):
    # Without their stars' velocity dispersion indices are too weak, and without its gas Hbeta is that of the stars.
    fits, details = _stars(spectra, emiles, options)
    gas = np.array([np.nan_to_num(d.get("gas", np.zeros(spectra.wave_obs.size))) for d in details])
    how = {"sigma_star": np.asarray(fits["sigma_star"], float), "lsf_kms": spectra.lsf_kms}
    how["n_draws"] = 25 if n_draws is None else n_draws
    table = indices.measure(spectra.wave_obs, spectra.flux - gas, spectra.ivar, spectra.z, **how)
    table["sigma_star"], table["reason"] = fits["sigma_star"], fits["reason"]
    comment = "Dn4000, and Lick indices at Lick resolution and no dispersion; pPXF's sigma_star and gas are taken out"
    return _named(table, spectra, comment), details


def _lines(spectra, emiles, n_draws, options):
    fits, details = _stars(spectra, emiles, options)
    stars = np.array([d.get("stars", np.full(spectra.wave_obs.size, np.nan)) for d in details])
    table = emission.measure(spectra.wave_obs, spectra.flux, spectra.ivar, spectra.z, stars, lsf_kms=spectra.lsf_kms)
    table["log_nii_halpha"], table["log_oiii_hbeta"] = emission.ratios(table)
    table["class"] = np.where(fits["reason"] == "", emission.classify(table), "")
    for name in table.colnames:
        if name.startswith("flux"):
            table[name].unit = "1e-17 erg / (s cm2)"
    table["reason"] = fits["reason"]
    return _named(table, spectra, "Emission lines over pPXF's stars; rest-frame equivalent widths"), details


def _ppxf(spectra, emiles, n_draws, options):
    n_draws = ppxf_fit.N_DRAWS if n_draws is None else n_draws
    table, details = _stars(spectra, emiles, options, n_draws)
    table.meta["comment"] = f"pPXF with E-MILES, {n_draws} bootstrap draws; ages and metallicities by V light"
    return table, details


def _firefly(spectra, emiles, n_draws, options):
    # The dispersion is pPXF's, as in the paper; where it has none the galaxy is fitted as if it had none.
    sigma_star = np.nan_to_num(np.asarray(_stars(spectra, emiles, options)[0]["sigma_star"], float))
    config = firefly.Config(firefly.N_DRAWS if n_draws is None else n_draws)
    how = {"sigma_star": sigma_star, "lsf_kms": spectra.lsf_kms, "config": config}
    table, details = firefly.fit_all(spectra, firefly.from_emiles(emiles), **how, **options)
    table.meta["comment"] = f"FIREFLY's method with E-MILES, {config.n_draws} bootstrap draws"
    return table, details


def _stars(spectra, emiles, options, n_draws: int = 0) -> tuple[Table, list[dict]]:
    return ppxf_fit.fit_all(spectra, emiles, lsf_kms=spectra.lsf_kms, config=ppxf_fit.Config(n_draws), **options)


_TOOLS = {What.redshift: _redshift, What.indices: _indices, What.lines: _lines, What.ppxf: _ppxf,
          What.firefly: _firefly}  # fmt: skip


def _named(table: Table, spectra: Spectra, comment: str) -> Table:
    table.add_column(spectra.ids, name="id", index=0)
    table.meta["comment"] = comment
    return table


def _draw(spectra, what, table, details, output) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from paper_utils.base import plots
    from paper_utils.measure import figures

    with plt.rc_context():
        plots.use_style()
        for i, name in enumerate(spectra.ids):
            rest = spectra.wave_obs / (1 + spectra.z[i])
            good = spectra.ivar[i] > 0
            flux = np.where(good, spectra.flux[i], np.nan)
            detail = details[i] if details else {}
            row = {column: table[column][i] for column in table.colnames}
            if what == What.indices:
                fig = figures.plot_indices(rest, flux, row)
            elif what == What.lines and "stars" in detail:
                fig = figures.plot_lines(rest, flux - detail["stars"], row)
            else:
                fig = figures.plot_fit(rest, flux, spectra.ivar[i], row, detail.get("stars"), detail.get("gas"))
            with paths.atomic(output / f"{str(name).replace('/', '_')}.{what}.png") as temporary:
                fig.savefig(temporary, dpi=110)
            plt.close(fig)
