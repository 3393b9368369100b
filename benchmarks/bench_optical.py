"""Mock SDSS spectra: a stream of batches against the same galaxies one by one with pPXF's utilities, in the same run.

The loop is what one writes for a single galaxy: weights x templates of bulge and disc, attenuation, `log_rebin` to
the spectrograph's pixels, `varsmooth` by stars and instrument, 18 Gaussian lines, interpolation to the observed
wavelengths, noise of the same variance. Neither's time has masks or the draw of the galaxies. The loop is timed twice:
plain, with everything about a galaxy worked out in its turn, and tuned, where histories, lines, dust law and resolution
of all galaxies are made beforehand, in no time of its own. Templates are cut to the range in advance for both. The loop
runs on one thread: two make it several times slower, its arrays being small. Stream and loops take turns, several
times, and medians are told, since a machine's clock changes within seconds. Noiseless spectra must agree.

On cores that other programs use, threads wait for each other: measure on a quiet machine, or with OMP_NUM_THREADS=1.
"""

import os
import time

import numpy as np
import torch
from ppxf import ppxf_util
from threadpoolctl import threadpool_limits

from paper_utils.base import dust, wavelengths
from paper_utils.base.constants import C_KMS, L_SUN
from paper_utils.base.containers import WAVE_OBS
from paper_utils.base.distances import arrives
from paper_utils.files import templates
from paper_utils.sky import (
    apertures,
    components,
    foreground,
    galaxies,
    nebular,
    populations,
    sdss_spectra,
    spectrograph,
    stellar,
)

N, N_LOOP, ROUNDS = 5_000, 150, 7
LINES = np.array(list(wavelengths.LINES.values()))
GALACTIC = dust.galactic(WAVE_OBS)  # A / E(B-V)


def prepared(truth, ssps, lam):
    """What the loop needs to know of galaxies and instrument."""
    rest = np.exp(np.arange(np.log(lam[0]), np.log(lam[-1]), wavelengths.KM_S_PER_BIN / C_KMS))
    wanted = wavelengths.lsf_km_s(rest * (1 + sdss_spectra.Z_TYPICAL))
    missing = (wanted**2 - np.interp(rest, ssps.wave_rest, ssps.sigma) ** 2).clip(0)
    part = apertures.fibre(truth)
    both = components.components(truth, part.bulge, part.disc)
    return {
        "mass": stellar.weights(both, ssps).numpy().reshape(2, len(truth), -1),
        "a_v": np.asarray(both["a_v"]).reshape(2, -1),
        "lines": sdss_spectra.fibre_lines(truth) / L_SUN,
        "nuclei": part.point * nebular.scattered(truth) / L_SUN,
        "law": dust.attenuation(lam),
        "ebv": foreground.towards(truth),
        "missing": lambda at: np.interp(at, rest, missing),
    }


def one(row, i, known, lam, spectra, cut, rng):
    """Noiseless and noisy spectrum of the `i`-th of the galaxies that are `known`."""
    z, light = row["z"], 0.0
    for mass, a_v in zip(known["mass"][:, i], known["a_v"][:, i], strict=True):
        light += mass[cut:] @ spectra[cut:] * 10 ** (-0.4 * a_v * known["law"])
        light += mass[:cut] @ spectra[:cut] * 10 ** (-0.4 * a_v / dust.STARS_PER_GAS * known["law"])
    light, log_lam, _ = ppxf_util.log_rebin(lam, light, velscale=wavelengths.KM_S_PER_BIN)
    rest = np.exp(log_lam)
    light = ppxf_util.varsmooth(log_lam, light, np.sqrt(row["sigma_star"] ** 2 + known["missing"](rest)) / C_KMS)
    width = np.hypot(row["sigma_star"], wavelengths.lsf_km_s(LINES * (1 + z))) / C_KMS
    profiles = np.exp(-0.5 * ((log_lam - np.log(LINES)[:, None]) / width[:, None]) ** 2)
    light += (known["lines"][i] / (width * np.sqrt(2 * np.pi))) @ profiles / rest
    light += known["nuclei"][i] * (rest / 5100) ** nebular.SCATTERED_SLOPE
    light *= arrives(z)
    clean = np.interp(WAVE_OBS, rest * (1 + z), light) * 10 ** (-0.4 * known["ebv"][i] * GALACTIC)
    sigma = spectrograph.sigma(torch.from_numpy(clean[None]))[0].numpy()
    return clean, clean + sigma * rng.standard_normal(sigma.size)


def loop(truth, ssps, tuned):
    """Noiseless spectra (n, L) and seconds per spectrum."""
    keep = (ssps.wave_rest > 2450) & (ssps.wave_rest < 9400)
    lam, spectra = ssps.wave_rest[keep], ssps.spectra[..., keep].reshape(-1, keep.sum())
    cut = (ssps.ages < stellar.BIRTH_CLOUD_GYR).sum() * ssps.metals.size
    rng = np.random.default_rng(0)
    known = prepared(truth, ssps, lam) if tuned else None
    begin, clean = time.perf_counter(), []
    for i, row in enumerate(truth):
        if tuned:
            clean.append(one(row, i, known, lam, spectra, cut, rng)[0])
        else:
            clean.append(one(row, 0, prepared(truth[i : i + 1], ssps, lam), lam, spectra, cut, rng)[0])
    return np.array(clean), (time.perf_counter() - begin) / len(truth)


def main():
    ssps = populations.from_emiles(templates.emiles())
    first = next(
        sdss_spectra.batches(N_LOOP, ssps, seed=1)
    )  # what all galaxies share is made here, in none of the times
    loop(first.truth[:2], ssps, tuned=False)
    rounds = []
    for seed in range(ROUNDS):
        begin = time.perf_counter()
        galaxies.draw(N, seed)
        drawn = time.perf_counter()
        for _ in sdss_spectra.batches(N, ssps, seed=seed, masks=False):
            pass
        streamed = time.perf_counter() - drawn
        n_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        with threadpool_limits(1):
            clean, plain_s = loop(first.truth, ssps, tuned=False)
            _, tuned_s = loop(first.truth, ssps, tuned=True)
        torch.set_num_threads(n_threads)
        stream_s = (streamed - (drawn - begin)) / N
        rounds.append((1 / stream_s, N / streamed, 1 / plain_s, plain_s / stream_s, 1 / tuned_s, tuned_s / stream_s))
    stream, with_draw, plain, gain, tuned, gain_tuned = np.median(rounds, axis=0)
    low, high = np.array(rounds)[:, 3].min(), np.array(rounds)[:, 3].max()
    off = abs(clean / first.clean.double().numpy() - 1)
    print(
        f"{ROUNDS} rounds of {N} spectra streamed: {stream:.0f} per second on {n_threads} threads, {with_draw:.0f} "
        f"with the draw of the galaxies; one by one {plain:.0f} per second ({gain:.0f} times slower, {low:.0f} to "
        f"{high:.0f} in single rounds), tuned {tuned:.0f} ({gain_tuned:.0f} times slower). Noiseless spectra differ by "
        f"{off.mean():.1%} in the mean; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )


if __name__ == "__main__":
    main()
