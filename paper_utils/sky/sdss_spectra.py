"""The optical mock sky: stars and gas of whole galaxies, photometry in any band, and streams of observed spectra.

Joins the other modules of the sky: `galaxies` draws the truth, `stellar` and `nebular` make its light, `spectrograph`
observes it. All functions are batched and run on any device.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from astropy.table import Table, vstack

from paper_utils.base import dust
from paper_utils.base.constants import L_SUN
from paper_utils.base.containers import WAVE_OBS, Spectra
from paper_utils.base.distances import arrives
from paper_utils.base.filters import Curves
from paper_utils.base.photometry import ab_fluxes
from paper_utils.base.wavelengths import LINES, log_grid, lsf_km_s
from paper_utils.sky import apertures, foreground, galaxies, nebular, point_sources, spectrograph, stellar
from paper_utils.sky.components import components
from paper_utils.sky.populations import Populations, checked

Z_MAX = 0.5  # Melchior+ 2022, Sec. 2
# Rest frame of everything that the spectrograph sees up to Z_MAX, in pixels of half its own.
WAVE_REST = log_grid(3780 / (1 + Z_MAX), 9275)
# The stars' resolution is that of the instrument at this redshift, the survey's median. Elsewhere it is off by less
# than 8 km/s up to z = 0.4, small against velocity dispersions of 50 to 300; the lines' widths are exact.
Z_TYPICAL = 0.09
# Galaxies whose spectra a processor holds at once, 16 MB: beyond 32 MB the C library asks the system for new memory
# each time, which costs a quarter of the whole. A galaxy is two systems of stars.
_TOGETHER = 512


class Batch(NamedTuple):
    """Mock spectra on `WAVE_OBS` [1e-17 erg/s/cm2/A in the fibre], tensors (N, L) on one device.

    truth : Table of N rows (`galaxies.draw`).   clean : what enters the spectrograph, at its resolution, and has
    passed the Milky Way's dust.
    flux, ivar : what comes out, with noise and masks.
    """

    truth: Table
    clean: torch.Tensor
    flux: torch.Tensor
    ivar: torch.Tensor


def rest_spectra(
    truth: Table, wave_rest: np.ndarray, ssps: Populations, device: str = "cpu", *, lsf: bool = True, lines: bool = True
) -> torch.Tensor:
    """Attenuated light of stars and gas (N, L) [L_sun / Angstrom] in the rest frame, float32 on `device`.

    wave_rest : (L,) vacuum Angstrom, even in log wavelength (`wavelengths.log_grid`).
    lsf : at the resolution of the SDSS spectrograph; otherwise at the templates' own (stars) and infinite (lines).
    lines : with the light of the gas, whose velocity dispersion is that of the stars, and of active nuclei.
    """
    both = components(truth)
    spectra = _whole(stellar.rest_spectra(both, wave_rest, ssps, device, stars_lsf(wave_rest) if lsf else 0.0))
    if lines:
        _add_lines(truth, wave_rest, spectra, lsf=lsf)
    return spectra


def _whole(spectra: torch.Tensor) -> torch.Tensor:
    """Bulges (N, L) and discs (N, L), one below the other, added."""
    bulge, disc = spectra.chunk(2)
    return bulge.add_(disc)


def stars_lsf(wave_rest: np.ndarray) -> np.ndarray:
    """Dispersion (L,) [km/s] of the SDSS spectrograph as the stars of all galaxies are given it."""
    return lsf_km_s(wave_rest * (1 + Z_TYPICAL))


def _add_lines(
    truth: Table, wave: np.ndarray, onto: torch.Tensor, *, observed=False, lsf=True, seen=(1.0, 1.0, 1.0)
) -> None:
    """Add the light of gas and nuclei to spectra (N, L) [L_sun / Angstrom in the rest frame] on `wave`.

    seen : as in `nebular.luminosities`.
    """
    z = np.asarray(truth["z"], float)
    at = np.outer(1 + z, list(LINES.values()))  # (N, n_lines)
    width = np.hypot(np.asarray(truth["sigma_star"], float)[:, None], lsf_km_s(at) if lsf else 0.0)
    light = nebular.luminosities(truth, seen=seen) / L_SUN
    light, width = (torch.as_tensor(column, dtype=torch.float32, device=onto.device) for column in (light, width))
    nebular.profiles(light, wave, width, onto=onto, z=z if observed else 0.0)
    # A power law is the same power law at any redshift.
    nucleus = seen[2] * nebular.scattered(truth) / L_SUN * (1 + z * observed) ** -nebular.SCATTERED_SLOPE
    power_law = (wave / 5100.0) ** nebular.SCATTERED_SLOPE
    onto.addr_(*(torch.as_tensor(v, dtype=torch.float32, device=onto.device) for v in (nucleus, power_law)))


def fibre_spectra(truth: Table, ssps: Populations, device: str = "cpu") -> torch.Tensor:
    """Noiseless spectra (N, L) on `WAVE_OBS` [1e-17 erg/s/cm2/A] of the light inside the fibre.

    Behind the dust of the Milky Way (column `ebv`, none without it), which the survey's spectra are not corrected for;
    `foreground.transmission` undoes it. Raises DataError for a redshift beyond `Z_MAX`.
    """
    z = checked(truth, {"z": (1e-5, Z_MAX)}, "A fibre spectrum")["z"]
    scale = torch.as_tensor(arrives(z), dtype=torch.float32, device=device)[:, None]
    ebv = torch.as_tensor(foreground.towards(truth), dtype=torch.float32, device=device)[:, None]
    law = torch.as_tensor(-0.4 * np.log(10) * dust.galactic(WAVE_OBS), dtype=torch.float32, device=device)
    out = torch.empty(len(truth), WAVE_OBS.size, device=device)
    step = _TOGETHER if str(device) == "cpu" else max(len(truth), 1)
    for start in range(0, len(truth), step):
        rows = slice(start, start + step)
        part = apertures.fibre(truth[rows])
        stars = components(truth[rows], part.bulge, part.disc)
        spectra = _whole(
            stellar.redshifted_spectra(stars, WAVE_REST, WAVE_OBS, ssps, device, sigma_lsf=stars_lsf(WAVE_REST))
        )
        _add_lines(truth[rows], WAVE_OBS, spectra, observed=True, seen=_gas(part))
        torch.mul(spectra, scale[rows], out=out[rows]).mul_((ebv[rows] * law).exp_())
    return out


def fibre_lines(truth: Table) -> np.ndarray:
    """Luminosities of the lines inside the fibre, (N, n_lines) [erg/s], behind dust, in the order of `LINES`.

    Gas around young stars lies in the disc, outside of a bar, gas of old stars where the stars are, nuclei in the
    middle: a fibre takes much of a nucleus and little of a disc that is near.
    """
    return nebular.luminosities(truth, seen=_gas(apertures.fibre(truth)))


def _gas(part: apertures.Fibre) -> tuple:
    return part.young, part.stars, part.point


def fibre_fraction(truth: Table) -> np.ndarray:
    """Share of the light of each galaxy's stars in r that the fibre takes, (N,): 0.14 to 0.43 for two thirds."""
    return apertures.fibre(truth).stars


def batches(
    n: int,
    ssps: Populations,
    *,
    seed=0,
    batch_size=1000,
    device="cpu",
    z_range=(0.01, Z_MAX),
    masks=True,
    interlopers=0.0,
) -> Iterator[Batch]:
    """`n` galaxies of the SDSS main sample as the spectrograph sees them, in batches; nothing touches the disk.

    Signal-to-noise ratios follow from the light inside the fibre: a median of 16 per bin in r, 10 to 23 for two thirds
    of the galaxies. The same arguments give the same galaxies and spectra, on the same kind of device the same noise.
    interlopers : the share of quasars, and again that of stars, in place of galaxies; 0.02 is a survey's, 0 its class
    GALAXY. With them the truth has a column `kind`; see `point_sources.replace`.
    """
    truth = galaxies.draw(n, seed, z_range)
    generator, of_others = torch.Generator(device).manual_seed(seed), np.random.default_rng([seed, 5])
    for start in range(0, n, batch_size):
        part = truth[start : start + batch_size]
        clean = fibre_spectra(part, ssps, device)
        if interlopers:
            point_sources.replace(part, clean, interlopers, of_others)
        flux, ivar = spectrograph.observe(clean, generator, spectrograph.snr_r(clean).clamp(1, 50), masks=masks)
        yield Batch(part, clean, flux, ivar)


def spectra(n: int, ssps: Populations, *, seed: int = 0, **options) -> Spectra:
    """`n` mock spectra in the container that real ones fill, with their noiseless flux as `clean`; see `batches`."""
    parts = list(batches(n, ssps, seed=seed, **options))
    truth = vstack([part.truth for part in parts], metadata_conflicts="silent")
    columns = {"z": np.asarray(truth["z"]), "ids": np.asarray(truth["id"]), "truth": truth}
    for name in ("flux", "ivar", "clean"):
        columns[name] = np.concatenate([getattr(part, name).cpu().numpy() for part in parts])
    return Spectra(wave_obs=WAVE_OBS, lsf_kms=lsf_km_s(WAVE_OBS), **columns)


def magnitudes(truth: Table, curves: Curves, ssps: Populations, device: str = "cpu") -> Table:
    """Apparent AB magnitudes of whole galaxies above the Milky Way's dust, a column per band.

    curves : band -> (observed wavelength [vacuum Angstrom], response per photon), as `filters.curves_of` gives them.
    Raises DataError if a band leaves the templates at some galaxy's redshift.
    """
    z = np.asarray(truth["z"], float)
    wave_rest = band_grid(curves, z)
    flux = band_fluxes(rest_spectra(truth, wave_rest, ssps, device, lsf=False), wave_rest, z, curves)
    columns = dict(zip(curves, -2.5 * np.log10(flux.T), strict=True))
    return Table(columns, units=dict.fromkeys(columns, "mag"))


def band_grid(curves: Curves, z: np.ndarray) -> np.ndarray:
    """Rest wavelengths (L,) [Angstrom] for `band_fluxes` of galaxies at redshifts between the extremes of `z`."""
    low = min(wave[0] for wave, _ in curves.values()) / (1 + np.max(z))
    high = max(wave[-1] for wave, _ in curves.values()) / (1 + np.min(z))
    # A band averages over hundreds of pixels: coarse ones will do.
    return log_grid(low * 0.999, high * 1.001, kms=300.0)


def band_fluxes(light: torch.Tensor, wave_rest: np.ndarray, z: np.ndarray, curves: Curves) -> np.ndarray:
    """Flux (N, B) [AB maggies: 1 is magnitude 0] in bands of rest-frame `light` (N, L) [L_sun / Angstrom].

    wave_rest : (L,) from `band_grid`.   z : (N,).   curves : as in `magnitudes`.
    """
    flux = light.cpu().double().numpy() * (1e-17 * arrives(z))[:, None]
    wave_obs = wave_rest * (1 + z)[:, None]
    rows = [slice(i, i + 128) for i in range(0, len(flux), 128)]  # few at a time: a response is as large as all spectra
    return np.concatenate([ab_fluxes(wave_obs[part], flux[part], curves) for part in rows])
