"""Full-spectrum fits of mock galaxies on one process and on two, in the same run; the answers must be the same.

Each process has one thread, as pPXF asks for: its matrices are small. On cores that other programs use the ratio says
little; it should be 1.8 or more on two quiet ones.
"""

import os
import time

import numpy as np

from paper_utils.files import templates
from paper_utils.measure import emission, firefly, indices, ppxf_fit, redshift
from paper_utils.sky import populations, sdss_spectra

N, N_DRAWS = 12, 3


def main():
    emiles = templates.emiles()
    spectra = sdss_spectra.spectra(N, populations.from_emiles(emiles), seed=1, z_range=(0.05, 0.15))
    lsf, times, tables = spectra.lsf_kms, {}, {}
    for n_jobs in (1, 2):
        begin = time.perf_counter()
        tables[n_jobs], details = ppxf_fit.fit_all(
            spectra, emiles, lsf_kms=lsf, config=ppxf_fit.Config(n_draws=N_DRAWS), n_jobs=n_jobs, progress=False
        )
        times[n_jobs] = time.perf_counter() - begin
    assert np.array_equal(tables[1]["log_age"], tables[2]["log_age"])
    print(
        f"pPXF, {N} spectra with {N_DRAWS} draws: one process {N / times[1]:.2f} per second, two {N / times[2]:.2f}: "
        f"{times[1] / times[2]:.2f} times as many"
    )
    stars = np.array([detail["stars"] for detail in details])
    observed = spectra.wave_obs, spectra.flux, spectra.ivar
    found = redshift.from_emiles(emiles)
    few = spectra.select(slice(4))
    tools = {
        "indices": (N, lambda: indices.measure(*observed, spectra.z, lsf_kms=lsf)),
        "lines": (N, lambda: emission.measure(*observed, spectra.z, stars, lsf_kms=lsf)),
        "redshift": (N, lambda: redshift.measure(*observed, found)),
        "FIREFLY, 10 draws": (
            len(few),
            lambda: firefly.fit_all(few, firefly.from_emiles(emiles), sigma_star=150.0, lsf_kms=lsf, progress=False),
        ),
    }
    for name, (n, run) in tools.items():
        begin = time.perf_counter()
        run()
        print(f"{name}: {1e3 * (time.perf_counter() - begin) / n:.0f} ms a spectrum on one thread")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
