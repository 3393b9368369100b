"""The mock ALHAMBRA catalogue against photometry of full spectra, its template fits against one object at a time.

Full spectra: `sdss_spectra.magnitudes`, itself a batch, of galaxies below z = 1, which the templates cover without the
ultraviolet that the catalogue adds. One object at a time: chi^2 on the same grid of models with numpy, prior and sum
over types included. Both on one thread; magnitudes and redshifts must agree. The catalogue's time is that of all its
steps, drawing and rejecting included.

On cores that other programs use, threads wait for each other: measure on a quiet machine, or with OMP_NUM_THREADS=1.
"""

import os
import time

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from paper_utils.alhambra import template_fit
from paper_utils.files import templates
from paper_utils.sky import alhambra_catalogue, light, populations, sdss_spectra, sequence, stars

N, N_SPECTRA, N_LOOP = alhambra_catalogue.N_OBJECTS, 1000, 60


def photometry(table):
    return (np.stack([np.asarray(table[p + b]) for b in alhambra_catalogue.NAMES], axis=1) for p in ("", "d"))


def full_spectra(truth, ssps):
    """Magnitudes (n, 24) and seconds per galaxy."""
    begin = time.perf_counter()
    seen = sdss_spectra.magnitudes(truth, alhambra_catalogue.curves(), ssps)
    return np.stack([seen[name] for name in alhambra_catalogue.NAMES], axis=1), (time.perf_counter() - begin) / len(
        truth
    )


def fit_one_by_one(mag, error, prior_mag, models):
    """Redshifts (n,) at grid points and seconds per object."""
    flux, weight = template_fit.weighted(mag, error)
    found = []
    begin = time.perf_counter()
    for i in range(len(mag)):
        amplitude = models.flux @ (flux[i] * weight[i]) / (models.flux**2 @ weight[i])
        chi2 = ((flux[i] - amplitude[..., None] * models.flux) ** 2 * weight[i]).sum(-1)
        log_p = -chi2 / 2 + template_fit.log_prior(prior_mag[i : i + 1], models)[0][:, models.classes]
        found.append(models.z[np.exp(log_p - log_p.max()).sum(axis=1).argmax()])
    return np.array(found), (time.perf_counter() - begin) / len(mag)


def main():
    ssps = populations.from_emiles(templates.emiles())
    begin = time.perf_counter()
    survey = alhambra_catalogue.catalogue(N, ssps)
    catalogue_s = time.perf_counter() - begin  # tables that all galaxies share are made within
    begin = time.perf_counter()
    curves = alhambra_catalogue.curves()
    models = template_fit.models(*sequence.templates(ssps), curves)
    labelled = template_fit.label(survey, models, stars.locus(curves))
    label_s = time.perf_counter() - begin
    f814w = np.asarray(labelled.table["F814W"])
    off = np.asarray((labelled.table["zb_1"] - survey.truth["z"]) / (1 + survey.truth["z"]))
    galaxy = ~np.asarray(survey.truth["is_star"] | survey.truth["is_quasar"])
    bright = off[(f814w < 22.5) & galaxy]

    near = galaxy & (np.asarray(survey.truth["z"]) < 1)
    truth = survey.truth[np.flatnonzero(near)[:N_SPECTRA]]
    mag, error = (side[:N_LOOP] for side in photometry(labelled.table))
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        mags, galaxy_s = full_spectra(truth, ssps)
        found, fit_s = fit_one_by_one(mag, error, f814w[:N_LOOP], models)
    apart = abs(mags - light.magnitudes(truth, alhambra_catalogue.light_table(ssps)))
    step = abs(np.log((1 + found) / (1 + np.asarray(labelled.table["zb_1"])[:N_LOOP])))
    print(
        f"{N} objects on {n_threads} threads: catalogue {catalogue_s:.0f} s ({N / catalogue_s:.0f} per second; "
        f"magnitudes from full spectra would take {galaxy_s * N / catalogue_s:.0f} times as long), fit {label_s:.0f} s "
        f"({N / label_s:.0f} per second, {fit_s * N / label_s:.0f} times faster than one at a time). Magnitudes differ "
        f"by {apart.mean():.4f} in the mean, redshifts by less than a grid step in {(step < 0.0026).mean():.0%}. "
        f"F814W < 22.5: sigma_MAD {1.4826 * np.median(abs(bright)):.4f}; load {os.getloadavg()[0]:.1f} on "
        f"{os.cpu_count()} cores"
    )


if __name__ == "__main__":
    main()
