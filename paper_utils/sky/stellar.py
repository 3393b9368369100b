"""Starlight of whole galaxies: weights of populations -> rest-frame -> observed spectra, batched on any device.

A spectrum is a matrix product, weights x transformed populations, times the transform of the Gaussian that broadens it
and the phase of the shift that a redshift is in log wavelength; then dust: `a_v` [mag] of V attenuation, `sigma_star`
[km/s], in addition to what `populations` asks of a row of truth. Spectra are L_sun / Angstrom in the rest frame, vacuum
wavelengths.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from scipy.fft import next_fast_len
from scipy.special import erf

from paper_utils.base import dust
from paper_utils.base.constants import C_KMS
from paper_utils.base.errors import DataError
from paper_utils.base.rebin import spline_means
from paper_utils.base.wavelengths import log_step
from paper_utils.sky.populations import RANGES, Populations, checked, weights

# Internal pixels are no wider than this, half the dispersion of an SDSS spectrograph, so that sampling blurs nothing.
FINE_KMS = 40.0
# Stars younger than ~10 Myr still lie in their clouds (Charlot & Fall 2000, 2000ApJ...539..718C) and are dimmed as the
# gas is: E(B-V) of the other stars is 0.44 of it (Calzetti+ 2000). One screen for all makes u-g 0.1 mag too blue.
BIRTH_CLOUD_GYR = 0.011  # above the node at 10 Myr
NO_YOUNG = 5e-7  # of the mass: with fewer stars in birth clouds they are left out, less than 1e-4 of the light in r


def rest_spectra(params, wave_rest: np.ndarray, ssps: Populations, device: str = "cpu", sigma_lsf=0.0):
    """Attenuated, broadened spectra of N galaxies (N, L) [L_sun / Angstrom], float32 tensor on `device`.

    wave_rest : (L,) vacuum Angstrom, even in log wavelength, inside the populations' range. Values are means over the
        pixels.
    sigma_lsf : dispersion of the instrument [km/s], a number or (L,) at each rest wavelength. The templates' own
        resolution counts towards it: where they are already broader (E-MILES: 208-180 km/s at 3060-3541 A, 89 at 3600,
        53 at 6000, 36 at 8900) nothing is added. At 0 they keep that resolution, broadened by `sigma_star` only.

    Dust is `dust.attenuation` with `a_v`, and with a_v / 0.44 for stars younger than 10 Myr.

    Raises DataError for a grid that is uneven or leaves the populations, and for senseless rows.
    """
    basis = _basis_of(wave_rest, ssps, sigma_lsf, device)
    law = torch.as_tensor(dust.attenuation(wave_rest), dtype=torch.float32, device=device)
    return _spectra(params, ssps, basis, np.zeros(1), 1, len(wave_rest), lambda rows: law)


def redshifted_spectra(
    params, wave_rest: np.ndarray, wave_obs: np.ndarray, ssps: Populations, device: str = "cpu", sigma_lsf=0.0
):
    """`rest_spectra` seen at the redshifts `z` of `params`: (N, L_obs) [L_sun / Angstrom in the rest frame].

    A redshift is a shift in log wavelength, a phase in the transform that broadens: nothing is interpolated but the
    dust law.

    wave_rest : (L,) as there, which covers wave_obs in the rest frame of every galaxy.
    wave_obs : (L_obs,) vacuum Angstrom, even in log wavelength, pixels a whole number of times as wide as wave_rest's.
    Raises DataError as there, and where wave_rest does not suffice.
    """
    start, step = log_step(wave_rest)
    begin, coarse = log_step(wave_obs, "wave_obs")
    ratio = round(coarse / step)
    if abs(coarse / step - ratio) * len(wave_obs) > 0.02 * ratio:
        raise DataError(
            f"an observed pixel is {coarse / step:.4f} of those of the rest frame",
            remedy="Choose pixels that are a whole number of times as wide.",
            row="wave_obs",
        )
    basis = _basis_of(wave_rest, ssps, sigma_lsf, device)
    z = checked(params, {"z": (1e-5, 10)}, "A redshifted spectrum")["z"]
    middle = (begin - np.log1p(z) - start) / step  # of the first observed pixel, in pixels of wave_rest
    low, high = middle - ratio / 2, middle + ratio * (len(wave_obs) - 0.5)
    if (bad := np.flatnonzero((low < -0.5 - 1e-6) | (high > len(wave_rest) - 0.5 + 1e-6))).size:
        raise DataError(
            f"at z = {z[bad[0]]:.4f} wave_rest does not cover wave_obs",
            remedy="Extend wave_rest, or leave such galaxies out.",
            row=f"object {bad[0]}",
        )
    # The law at every `ratio`-th pixel from any on; one more at either end, to interpolate.
    table = dust.attenuation(np.exp(start + step * np.arange(-1, len(wave_rest) + 1)))
    windows = torch.as_tensor(table, dtype=torch.float32, device=device).unfold(0, ratio * (len(wave_obs) - 1) + 2, 1)
    first = torch.as_tensor(np.floor(middle) + 1, dtype=torch.int64, device=device)
    share = torch.as_tensor(middle - np.floor(middle), dtype=torch.float32, device=device)[:, None]

    def law(rows):
        near = windows[first[rows]]
        return torch.lerp(near[:, :-1:ratio], near[:, 1::ratio], share[rows])

    return _spectra(params, ssps, basis, middle, ratio, len(wave_obs), law)


def _basis_of(wave_rest: np.ndarray, ssps: Populations, sigma_lsf, device: str) -> _Basis:
    """The transformed populations behind a grid; DataError where they do not cover it."""
    start, step = log_step(wave_rest)
    low, high = ssps.wave_rest[[0, -1]]
    if wave_rest[0] < low * (1 - 1e-6) or wave_rest[-1] > high * (1 + 1e-6):
        raise DataError(
            f"the grid {wave_rest[0]:g}-{wave_rest[-1]:g} A leaves the stellar populations' {low:.1f}-{high:.1f} A",
            remedy="Choose wavelengths inside.",
            row="wave_rest",
        )
    lsf = np.broadcast_to(np.asarray(sigma_lsf, float), np.shape(wave_rest))
    return _basis(ssps, start, step, len(wave_rest), lsf.tobytes(), str(device))


def _spectra(params, ssps: Populations, b: _Basis, middle: np.ndarray, ratio: int, length: int, law):
    """Spectra (N, length) in pixels of `ratio` of the grid's, the first of them about the grid's pixel `middle`.

    middle : (N,), or (1,) if all begin there.   law : rows -> A_lambda / A_V, (length,) or (n, length).
    """
    device = b.young.device
    mass = weights(params, ssps, device).unflatten(1, (ssps.ages.size, -1)).transpose(1, 2)  # (N, M, A)
    p = checked(params)

    def column(values, dtype=torch.float32):
        return torch.as_tensor(values, dtype=dtype, device=device)[:, None]

    sigma, extinction = column(p["sigma_star"]), column(-0.4 * np.log(10) * p["a_v"])
    middle = np.broadcast_to(middle, len(mass))
    place = column((middle + 0.5) * b.oversample - 0.5 + b.pad, torch.float64)  # of the middle, in fine pixels
    wide = ratio * b.oversample  # in fine pixels
    # The mean of `wide` pixels, and the 1 / n of the inverse transform.
    average = (torch.special.sinc(wide * b.turns) / torch.special.sinc(b.turns) / b.n).float()
    frequency = (b.turns * (2 * np.pi / b.fine_kms)).float()  # per km/s
    cloud = b.young.shape[1]  # ages count from the youngest
    out = torch.empty(len(mass), length, device=device)

    def unit(turns):
        # Whole turns go in float64, of which there are thousands.
        angle = turns.frac().float().mul_(2 * np.pi)
        return torch.complex(angle.cos(), angle.sin())

    def phase(place, n_seen):
        # A turn is some of 64 steps and one of them: few sines, many products.
        steps, fine = unit(place * b.turns[:n_seen:64]), unit(place * b.turns[:64])
        return torch.mul(steps[:, :, None], fine[:, None]).flatten(1)[:, :n_seen]

    def broadened(mass, fourier, kernel):
        n_seen = kernel.shape[1]
        spectrum = mass.flatten(1) @ fourier.flatten(0, 1)[:, : 2 * n_seen]
        spectrum = torch.view_as_complex(spectrum.unflatten(1, (-1, 2))).mul_(kernel)
        if wide % 2:
            return torch.fft.irfft(spectrum, n=b.n, norm="forward")[:, : length * wide : wide]
        # Every second pixel only: what is beyond their Nyquist frequency, n / 4, folds back, at half the length.
        if n_seen > b.n // 4:
            spectrum[:, b.n // 2 - n_seen + 1 : b.n // 4 + 1] += spectrum[:, b.n // 4 : n_seen].flip(1).conj()
        spectrum = spectrum[:, : b.n // 4 + 1]
        return torch.fft.irfft(spectrum, n=b.n // 2, norm="forward")[:, : length * wide // 2 : wide // 2]

    # Galaxies that are alike go together: they lack the same metallicities, and what broadening leaves nothing of.
    # Dispersion rises in one metallicity and falls in the next, so that neighbours are alike.
    lower = np.searchsorted(ssps.metals, p["metallicity"]).clip(1, ssps.metals.size - 1) - 1
    # So do those without stars in birth clouds, bulges among them, which lack half of the work.
    forming = (mass[..., :cloud].sum((1, 2)) > NO_YOUNG * mass.sum((1, 2))).cpu().numpy()
    mass[..., :cloud] *= torch.as_tensor(forming, device=device)[:, None, None]
    order = np.lexsort([np.where(lower % 2, -1, 1) * p["sigma_star"], lower, forming])
    # Few stay in a processor's cache (spectra are made five times faster so), many fill a GPU.
    chunk = 64 if device.type == "cpu" else 4096
    for i in range(0, len(mass), chunk):
        rows = order[i : i + chunk]
        metals = slice(lower[rows].min(), lower[rows].max() + 2)
        # exp(-5^2 / 2) = 4e-6 of what the templates have on such scales, less than a hundredth of their light.
        n_seen = int((frequency <= 5 / max(p["sigma_star"][rows].min(), 1e-3)).sum())
        rows = torch.as_tensor(rows, device=device)
        # A Gaussian in velocity is one in log wavelength; its transform is exact however few pixels it spans.
        gaussian = torch.mul(sigma[rows], frequency[:n_seen]).square_().mul_(-0.5).exp_().mul_(average[:n_seen])
        kernel = torch.view_as_complex(torch.view_as_real(phase(place[rows], n_seen)) * gaussian[..., None])
        chosen = mass[rows, metals]
        depth = extinction[rows] * law(rows)
        light = broadened(chosen[..., cloud:], b.old[metals], kernel)
        if forming[order[i + len(rows) - 1]]:
            clouds = torch.mul(depth, 1 / dust.STARS_PER_GAS - 1).exp_()
            light += clouds.mul_(broadened(chosen[..., :cloud], b.young[metals], kernel))
        out.index_copy_(0, rows, light.mul_(depth.exp_()))
    return out


class _Basis(NamedTuple):
    # Transforms of the populations (M, A, 2 (n / 2 + 1)) in birth clouds and beyond, real and imaginary parts in turn.
    young: object
    old: object
    turns: object  # (n / 2 + 1,) float64, of each frequency in a fine pixel
    fine_kms: float
    n: int
    pad: int
    oversample: int


@lru_cache(maxsize=8)  # spectra, photometry, and the three ages of an image's light, at 12 MB each
def _basis(ssps: Populations, start: float, step: float, length: int, lsf: bytes, device: str) -> _Basis:
    """The populations on the grid's own pixels split in `oversample`, with margins for the broadening."""
    oversample = int(np.ceil(step * C_KMS / FINE_KMS - 1e-6))
    fine = step / oversample
    pad = int(np.ceil(5 * RANGES["sigma_star"][1] / C_KMS / fine))
    n = 4 * next_fast_len(-(-(length * oversample + 2 * pad + 1) // 4), real=True)  # in quarters: `_spectra` folds it
    edges = start - step / 2 + fine * (np.arange(n + 1) - pad)
    rows = spline_means(ssps.wave_rest, ssps.spectra.reshape(-1, ssps.wave_rest.size), np.exp(edges))  # (K, n)
    if any(lsf):
        centre = edges[:-1] + fine / 2
        own = np.interp(centre, np.log(ssps.wave_rest), ssps.sigma)
        wanted = np.interp(centre, start + step * np.arange(length), np.frombuffer(lsf))
        rows = _blur(rows, np.sqrt(np.clip(wanted**2 - own**2, 0, None)) / C_KMS / fine)
    fourier = torch.view_as_real(torch.fft.rfft(torch.as_tensor(rows, device=device))).flatten(1).float()
    fourier = fourier.unflatten(0, (ssps.ages.size, -1)).transpose(0, 1)
    cloud = int((ssps.ages < BIRTH_CLOUD_GYR).sum())
    young, old = fourier[:, :cloud].contiguous(), fourier[:, cloud:].contiguous()
    turns = torch.arange(n // 2 + 1, dtype=torch.float64, device=device) / n
    return _Basis(young, old, turns, fine * C_KMS, n, pad, oversample)


def _blur(rows: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """`rows` (K, n) convolved with Gaussians of `sigma` (n,) pixels, each integrated over the pixels; flux is kept."""
    if not sigma.any():
        return rows
    reach = int(np.ceil(5 * sigma.max())) + 1
    root = np.maximum(sigma, 1e-3) * np.sqrt(2)
    padded = np.pad(rows, ((0, 0), (reach, reach)), mode="edge")
    root = np.pad(root, reach, mode="edge")
    out = np.zeros_like(rows)
    for j in range(2 * reach + 1):
        # What the source pixel at distance d gives to this one: scattering, not gathering, keeps the flux.
        d, source = j - reach, slice(j, j + rows.shape[1])
        out += padded[:, source] * 0.5 * (erf((d + 0.5) / root[source]) - erf((d - 0.5) / root[source]))
    return out
