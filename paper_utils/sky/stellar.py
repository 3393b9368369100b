"""Starlight of whole galaxies: weights of populations -> rest-frame -> observed spectra, batched on any device.

A spectrum is a matrix product, weights x transformed populations, times the transform of the Gaussian that broadens it
and the phase of the shift that a redshift is in log wavelength; then dust: `a_v` [mag] of V attenuation, `sigma_star`
[km/s], beside what `populations` asks of a row of truth. Spectra are L_sun / Angstrom in the rest frame, vacuum
wavelengths.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from paper_utils.base.constants import C_KMS, PC
from paper_utils.base.errors import DataError
from paper_utils.sky.populations import RANGES, Populations, checked, weights
from paper_utils.sky.spectrograph import KM_S_PER_BIN

L_SUN = 3.828e33  # erg / s (IAU 2015)
# Internal pixels are no wider than this, half the dispersion of an SDSS spectrograph, so that sampling blurs nothing.
FINE_KMS = 40.0
# Stars younger than ~10 Myr still lie in their clouds (Charlot & Fall 2000, 2000ApJ...539..718C) and are dimmed as the
# gas is: E(B-V) of the other stars is 0.44 of it (Calzetti+ 2000). One screen for all makes u-g 0.1 mag too blue.
BIRTH_CLOUD_GYR = 0.011  # above the node at 10 Myr
STARS_PER_GAS = 0.44


def rest_spectra(params, wave_rest: np.ndarray, ssps: Populations, device: str = "cpu", sigma_lsf=0.0):
    """Attenuated, broadened spectra of N galaxies (N, L) [L_sun / Angstrom], float32 tensor on `device`.

    wave_rest : (L,) vacuum Angstrom, even in log wavelength, inside the populations' range. Values are means over the
        pixels.
    sigma_lsf : dispersion of the instrument [km/s], a number or (L,) at each rest wavelength. The templates' own
        resolution counts towards it: where they are already broader (E-MILES: 208-180 km/s at 3060-3541 A, 89 at 3600,
        53 at 6000, 36 at 8900) nothing is added. At 0 they keep that resolution, broadened by `sigma_star` only.

    Dust is `attenuation` with `a_v`, and with a_v / 0.44 for stars younger than 10 Myr.

    Raises DataError for a grid that is uneven or leaves the populations, and for senseless rows.
    """
    import torch

    basis = _basis_of(wave_rest, ssps, sigma_lsf, device)
    law = torch.as_tensor(attenuation(wave_rest), dtype=torch.float32, device=device)
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
    import torch

    start, step = _log_grid(wave_rest)
    begin, coarse = _log_grid(wave_obs, "wave_obs")
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
    table = attenuation(np.exp(start + step * np.arange(-1, len(wave_rest) + 1)))
    windows = torch.as_tensor(table, dtype=torch.float32, device=device).unfold(0, ratio * (len(wave_obs) - 1) + 2, 1)
    first = torch.as_tensor(np.floor(middle) + 1, dtype=torch.int64, device=device)
    share = torch.as_tensor(middle - np.floor(middle), dtype=torch.float32, device=device)[:, None]

    def law(rows):
        near = windows[first[rows]]
        return torch.lerp(near[:, :-1:ratio], near[:, 1::ratio], share[rows])

    return _spectra(params, ssps, basis, middle, ratio, len(wave_obs), law)


def _basis_of(wave_rest: np.ndarray, ssps: Populations, sigma_lsf, device: str) -> _Basis:
    """The transformed populations behind a grid; DataError where they do not cover it."""
    start, step = _log_grid(wave_rest)
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
    import torch

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
    order = np.lexsort([np.where(lower % 2, -1, 1) * p["sigma_star"], lower])
    for i in range(0, len(mass), _chunk(device)):
        rows = order[i : i + _chunk(device)]
        metals = slice(lower[rows[0]], lower[rows[-1]] + 2)
        # exp(-5^2 / 2) = 4e-6 of what the templates have on such scales, less than a hundredth of their light.
        n_seen = int((frequency <= 5 / max(p["sigma_star"][rows].min(), 1e-3)).sum())
        rows = torch.as_tensor(rows, device=device)
        # A Gaussian in velocity is one in log wavelength; its transform is exact however few pixels it spans.
        gaussian = torch.mul(sigma[rows], frequency[:n_seen]).square_().mul_(-0.5).exp_().mul_(average[:n_seen])
        kernel = torch.view_as_complex(torch.view_as_real(phase(place[rows], n_seen)) * gaussian[..., None])
        chosen = mass[rows, metals]
        depth = extinction[rows] * law(rows)
        light = torch.mul(depth, 1 / STARS_PER_GAS - 1).exp_()
        light *= broadened(chosen[..., :cloud], b.young[metals], kernel)
        light += broadened(chosen[..., cloud:], b.old[metals], kernel)
        out.index_copy_(0, rows, light.mul_(depth.exp_()))
    return out


def observe(rest, wave_rest: np.ndarray, z, wave_obs: np.ndarray):
    """What arrives of `rest` (N, L) [L_sun / Angstrom] at redshifts `z` (N,): (N, L_obs) [1e-17 erg/s/cm2/Angstrom].

    wave_rest : (L,) vacuum Angstrom, even in log wavelength.   wave_obs : (L_obs,) vacuum Angstrom, increasing.
    Each value is the mean over its pixel, with edges midway in log wavelength, of
    F_lambda = L_lambda / (4 pi d_L^2 (1 + z)), Planck 2018 cosmology: the flux of the whole is conserved. Runs on the
    device of `rest`. Raises DataError where a redshifted spectrum does not cover wave_obs.
    """
    import torch

    start, step = _log_grid(wave_rest)
    device = rest.device
    z = np.atleast_1d(np.asarray(z, float))
    if bad := np.flatnonzero(~(np.isfinite(z) & (z > 0) & (z < 10))).tolist():
        raise DataError(f"the redshift is {z[bad[0]]:g}", remedy="Give redshifts above 0 and below 10.", row=bad[0])
    edges = pixel_edges(np.log(np.asarray(wave_obs, float)))
    lowest, highest = edges[0] - np.log1p(z), edges[-1] - np.log1p(z)
    end = start + step * (len(wave_rest) - 0.5)
    if (bad := np.flatnonzero((lowest < start - 0.5 * step - 1e-9) | (highest > end + 1e-9))).size:
        i = bad[0]
        raise DataError(
            f"at z = {z[i]:.4f} the pixels need rest wavelengths {np.exp(lowest[i]):.1f}-{np.exp(highest[i]):.1f} A, "
            f"the spectra cover {wave_rest[0]:.1f}-{wave_rest[-1]:.1f} A",
            remedy="Extend wave_rest, or leave such galaxies out.",
            row=f"object {i}",
        )
    width = torch.as_tensor(np.diff(np.exp(pixel_edges(np.log(wave_rest)))), device=device)
    inverse = torch.as_tensor(1 / np.diff(np.exp(edges)), device=device)
    scale = torch.as_tensor(arrives(z) * (1 + z), device=device)  # a pixel of the result is 1 / (1 + z) as wide at rest
    at = (torch.as_tensor(edges, device=device) - start) / step + 0.5  # in pixels, for z = 0
    shift = torch.as_tensor(np.log1p(z) / step, device=device)
    out = torch.empty(len(rest), len(wave_obs), device=device)
    for i in range(0, len(rest), _chunk(device)):
        rows = slice(i, i + _chunk(device))
        # float64: a pixel is the difference of two integrals of thousands. The integral goes on at the upper end, by a
        # pixel without light, for edges that rounding moves there.
        total = torch.zeros(len(rest[rows]), len(wave_rest) + 2, dtype=torch.float64, device=device)
        torch.cumsum(rest[rows] * width, dim=1, out=total[:, 1:-1])
        total[:, -1] = total[:, -2]
        position = at - shift[rows, None]
        low = position.long()
        integral = torch.lerp(total.gather(1, low), total[:, 1:].gather(1, low), position.frac_())
        torch.mul(torch.diff(integral).mul_(inverse), scale[rows, None], out=out[rows])
    return out


def attenuation(wave_rest: np.ndarray) -> np.ndarray:
    """A_lambda / A_V (L,) at `wave_rest` [vacuum Angstrom]: Calzetti+ 2000 (2000ApJ...533..682C), eq. 4, R_V = 4.05.

    Held at zero from 2.27 um on, where the polynomial turns negative; below 0.12 um it is extrapolated.
    """
    x = 1e4 / np.asarray(wave_rest, float)
    red = 2.659 * (-1.857 + 1.040 * x)
    blue = 2.659 * (-2.156 + 1.509 * x - 0.198 * x**2 + 0.011 * x**3)
    return np.maximum(np.where(x < 1 / 0.63, red, blue) + 4.05, 0) / 4.05


def arrives(z: np.ndarray) -> np.ndarray:
    """Flux density [1e-17 erg/s/cm2/Angstrom] that arrives of 1 L_sun / Angstrom at redshifts `z`, Planck 2018."""
    return L_SUN / (4 * np.pi * luminosity_distance(z) ** 2 * (1 + z)) * 1e17


def luminosity_distance(z: np.ndarray) -> np.ndarray:
    """Luminosity distance [cm] at redshifts `z` between 1e-5 and 10, Planck 2018, from a table good to 1e-6."""
    log_z, log_d = _distances()
    return np.exp(np.interp(np.log(z), log_z, log_d - log_z)) * np.asarray(z)


def distance_modulus(z: np.ndarray) -> np.ndarray:
    """Apparent minus absolute magnitude [mag] at redshifts `z`, Planck 2018, without a K correction."""
    return 5 * np.log10(luminosity_distance(z) / (10 * PC))


def log_grid(low: float, high: float, kms: float = KM_S_PER_BIN / 2) -> np.ndarray:
    """Wavelengths from `low` to `high` or just beyond, even in log, pixels of `kms` (default: half an SDSS one)."""
    n = int(np.ceil(np.log(high / low) / (kms / C_KMS))) + 1
    return low * np.exp(kms / C_KMS * np.arange(n))


@lru_cache(maxsize=1)
def _distances() -> tuple[np.ndarray, np.ndarray]:
    from astropy.cosmology import Planck18

    z = np.geomspace(1e-5, 10, 3000)
    return np.log(z), np.log(Planck18.luminosity_distance(z).to_value("cm"))


@dataclass(frozen=True)
class _Basis:
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
    import torch
    from scipy.fft import next_fast_len

    oversample = int(np.ceil(step * C_KMS / FINE_KMS - 1e-6))
    fine = step / oversample
    pad = int(np.ceil(5 * RANGES["sigma_star"][1] / C_KMS / fine))
    n = 4 * next_fast_len(-(-(length * oversample + 2 * pad + 1) // 4), real=True)  # in quarters: `_spectra` folds it
    edges = start - step / 2 + fine * (np.arange(n + 1) - pad)
    rows = _rebin(ssps.wave_rest, ssps.spectra.reshape(-1, ssps.wave_rest.size), np.exp(edges))  # (K, n)
    if any(lsf):
        centre = edges[:-1] + fine / 2
        own = np.interp(centre, np.log(ssps.wave_rest), ssps.sigma)
        wanted = np.interp(centre, start + step * np.arange(length), np.frombuffer(lsf))
        rows = _blur(rows, np.sqrt(np.clip(wanted**2 - own**2, 0, None)) / C_KMS / fine)
    fourier = torch.view_as_real(torch.fft.rfft(torch.as_tensor(rows, device=device))).flatten(1).float()
    fourier = fourier.unflatten(0, (ssps.ages.size, -1)).transpose(0, 1)
    cloud = int((ssps.ages < BIRTH_CLOUD_GYR).sum())
    return _Basis(
        young=fourier[:, :cloud].contiguous(),
        old=fourier[:, cloud:].contiguous(),
        turns=torch.arange(n // 2 + 1, dtype=torch.float64, device=device) / n,
        fine_kms=fine * C_KMS,
        n=n,
        pad=pad,
        oversample=oversample,
    )


def _rebin(wave: np.ndarray, flux: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Means of `flux` (K, L) between `edges` (n + 1,), held constant past either end.

    Integrals of the cubic spline through the values, whose resolution as published includes the templates' own pixels:
    taken as means over these, or as steps, they would come out sharper, or broader, by 15 km/s.
    """
    from scipy.interpolate import CubicSpline

    near = slice(*np.clip(np.searchsorted(wave, edges[[0, -1]]) + [-9, 9], 0, wave.size))
    wave, flux = wave[near], flux[:, near].astype(float)
    total = CubicSpline(wave, flux, axis=1).antiderivative()(np.clip(edges, wave[0], wave[-1]))
    total += flux[:, :1] * np.minimum(edges - wave[0], 0) + flux[:, -1:] * np.maximum(edges - wave[-1], 0)
    return np.diff(total, axis=1) / np.diff(edges)


def _blur(rows: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """`rows` (K, n) convolved with Gaussians of `sigma` (n,) pixels, each integrated over the pixels; flux is kept."""
    from scipy.special import erf

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


def _chunk(device) -> int:
    """Galaxies at once: few stay in a processor's cache (`observe` is five times faster so), many fill a GPU."""
    return 64 if str(device) == "cpu" else 4096


def pixel_edges(x: np.ndarray) -> np.ndarray:
    """Pixel edges (L + 1,) midway between centres `x` (L,)."""
    middle = (x[1:] + x[:-1]) / 2
    return np.concatenate([[2 * x[0] - middle[0]], middle, [2 * x[-1] - middle[-1]]])


def _log_grid(wave: np.ndarray, name: str = "wave_rest") -> tuple[float, float]:
    log_wave = np.log(np.asarray(wave, float))
    step = (log_wave[-1] - log_wave[0]) / max(len(log_wave) - 1, 1)
    if len(log_wave) < 2 or not step > 0 or abs(np.diff(log_wave) / step - 1).max() > 1e-3:
        raise DataError(
            "the wavelengths are not evenly spaced in log",
            remedy="Make them with paper_utils.sky.stellar.log_grid.",
            row=name,
        )
    return float(log_wave[0]), float(step)
