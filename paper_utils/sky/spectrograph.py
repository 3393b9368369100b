"""The SDSS spectrograph: how a galaxy's light becomes a spectrum with its noise, masks and resolution.

Light enters a fibre 3 arcsec wide, with the night sky, for three exposures of 15 minutes. With F the object's flux
density and B the sky's, in 1e-17 erg/s/cm2/A, a bin of the co-added spectrum has the variance

    sigma^2 = (F + B) / S + (R / S)^2 + (f_F F)^2 + (f_B B)^2,

photons of object and sky, read noise, and the two relative errors of the survey's pipeline: it adds 3 % of the flux to
the error of every frame (which caps the signal-to-noise ratio of bright objects near 57) and knows the sky to about
2 %. S(lambda) (electrons per unit of flux density), R, B(lambda) and f_B were fitted to `ivar` and `sky` of 30 sky
fibres and 8 spectra of objects (plates 266-2345, SDSS DR8 reductions); with one free depth per exposure the fit gives
the sigma of all 38, from empty sky to signal-to-noise 60, to 7 % between the sky lines (standard deviation).

What comes out is white noise of exactly the variance that ivar says. In the real sky fibres neighbouring bins are
correlated (0.1-0.2) and flux x sqrt(ivar) has a standard deviation of 0.9 in the blue and 1.1 among the OH lines.

Survey: York+ 2000 (2000AJ....120.1579Y), spectrograph: Smee+ 2013 (2013AJ....146...32S).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from scipy.ndimage import median_filter

from paper_utils.base import paths
from paper_utils.base.containers import WAVE_OBS
from paper_utils.base.errors import DataError
from paper_utils.base.wavelengths import LSF_BINS

L = WAVE_OBS.size
# Of flux inside the fibre, which is what `sigma` and `snr_r` are given.
MEDIAN_SNR, SNR_SCATTER_DEX = 15.0, 0.20  # per bin in r, of main-sample galaxies (r < 17.77): log-normal
READ_NOISE = (14.0, 17.4)  # electrons per bin of the co-added blue (< 6000 A) and red spectrum
OBJECT_ERROR, SKY_ERROR = 0.030 / 3**0.5, 0.022 / 3**0.5  # relative, after three exposures

# Wavelength [A], S [electrons per unit flux density and bin], sky continuum [1e-17 erg/s/cm2/A per fibre]. Near 6000 A
# the blue and the red arm overlap; 7594-7670 A is the A band of the atmosphere's oxygen.
_NODES = np.array([
    (3784, 4.5, 7.1), (3880, 6.8, 3.3), (4000, 9.4, 5.3), (4200, 13.5, 5.2), (4450, 17.5, 5.3), (4700, 21.2, 5.2),
    (5000, 25.4, 5.1), (5300, 27.9, 4.9), (5550, 28.3, 5.8), (5700, 28.5, 7.4), (5800, 25.9, 7.6),
    (5880, 25.7, 9.2), (5950, 35.1, 11.2), (6050, 42.8, 7.3), (6150, 47.5, 7.0), (6300, 59.5, 6.3),
    (6600, 68.5, 4.9), (7000, 72.2, 4.5), (7400, 62.3, 4.7), (7594, 59.0, 5.1), (7601, 35.0, 5.1),
    (7604, 24.0, 5.1), (7608, 18.0, 5.1), (7613, 26.0, 5.1), (7619, 48.0, 5.1), (7626, 41.0, 5.1),
    (7640, 42.0, 5.1), (7655, 54.0, 5.1), (7670, 59.0, 5.1), (7800, 55.6, 5.5), (8200, 45.8, 4.4),
    (8600, 33.1, 3.9), (8900, 24.0, 2.4), (9270, 19.6, 4.5),
])  # fmt: skip

# Signal-to-noise ratios are quoted in r, 5600-6900 A. Every 7th bin is enough for a median; they are 129, odd,
# so that the median is one of them.
_R_BAND = slice(1702, 1702 + 129 * 7, 7)
# Bins of the grid at which spectra begin and end, and bad bins, as found in 38 real spectra: 2.5 single bad bins, and
# in one spectrum of twenty a run of 60-600 (a bad column of the detector).
_FIRST, _LAST = (7, 52), (3850, 3868)
_N_BAD, _P_RUN, _RUN = 2.5, 0.05, (60, 600)
_SKY_CUT = 10 * 3**0.5  # the pipeline flags single exposures, whose sigma is larger by the root of their number
_CHUNK = 64  # spectra worked on at a time on a processor: they stay in its cache


def sky(wave_obs: np.ndarray = WAVE_OBS) -> np.ndarray:
    """The night sky in a fibre (L,) [1e-17 erg/s/cm2/A] on a grid with bins of 1e-4 dex: continuum and airglow."""
    x = np.log10(wave_obs) * 1e4
    centre, flux = np.loadtxt(paths.DATA / "sdss_airglow.csv", delimiter=",").T
    # The fitted lines are a third wider than the LSF: the Doppler correction shifts the sky from night to night.
    width = 1.3 * np.interp(centre, *LSF_BINS.T)
    profile = np.exp(-0.5 * ((x[:, None] - 1e4 * np.log10(centre)) / width) ** 2) / (width * np.sqrt(2 * np.pi))
    per_bin = flux / (centre * np.log(10) * 1e-4)  # flux density if all the line's light fell into one bin
    return np.interp(np.log(wave_obs), np.log(_NODES[:, 0]), _NODES[:, 2]) + profile @ per_bin


def sigma(flux: torch.Tensor) -> torch.Tensor:
    """Noise (N, L) [1e-17 erg/s/cm2/A] of objects whose light in the fibre is `flux` (N, L), on `WAVE_OBS`."""
    return _variance(flux, *_noise_terms(flux.device, flux.dtype)[:2]).sqrt()


def snr_r(flux: torch.Tensor) -> torch.Tensor:
    """Median signal-to-noise ratio per bin in r (N,) of objects whose light in the fibre is `flux` (N, L)."""
    background, per_flux, _ = (term[_R_BAND] for term in _noise_terms(flux.device, flux.dtype))
    in_r = flux[:, _R_BAND]
    return (in_r / _variance(in_r, background, per_flux).sqrt()).median(dim=1).values


def draw_snr(n: int, generator: torch.Generator) -> torch.Tensor:
    """Signal-to-noise ratios (n,) per bin in r as in the SDSS main galaxy sample: log-normal, held within 3-50."""
    scatter = SNR_SCATTER_DEX * np.log(10) * torch.randn(n, generator=generator, device=generator.device)
    return (MEDIAN_SNR * scatter.exp()).clamp(3.0, 50.0)


def observe(
    flux: torch.Tensor, generator: torch.Generator, snr: torch.Tensor | float | None = None, *, masks: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    """Observe noiseless spectra: returns noisy flux and inverse variance, both (N, L).

    flux : (N, L) on `WAVE_OBS`, already at the instrument's resolution (`lsf_km_s`), in any unit, positive in r.
    generator : on the device of `flux`; the same seed gives the same noise on the same kind of device.
    snr : median per bin in r, (N,) or one number below 57; None draws it (`draw_snr`). Each galaxy is set to the
        brightness that has this ratio, so faint ones are limited by the sky and bright ones by their own photons, and
        is returned in the unit in which it came. For the noise of fluxes that are physical (1e-17 erg/s/cm2/A in the
        fibre) give `snr_r(flux)`.
    masks : whether ivar is 0 outside each spectrum's own range, in bad bins and where the sky outshines the object (the
        pipeline's BRIGHTSKY: sky above flux + 10 sigma of one exposure, and above 1.25 times its median over 99 bins).

    Raises DataError if a spectrum is not positive in most of r or if no brightness reaches its snr.
    """
    if flux.ndim != 2 or flux.shape[1] != L:
        raise ValueError(f"flux must be (N, {L}) on WAVE_OBS, not {tuple(flux.shape)}")
    n, device = len(flux), flux.device
    snr = draw_snr(n, generator) if snr is None else torch.as_tensor(snr, dtype=flux.dtype, device=device).expand(n)
    scale = _brightness(flux, snr)[:, None]
    background, per_flux, line_sky = _noise_terms(device, flux.dtype)
    noisy, ivar = torch.empty_like(flux), torch.empty_like(flux)
    step = _CHUNK if device.type == "cpu" else max(n, 1)
    for start in range(0, n, step):
        part = slice(start, start + step)
        bright = flux[part] * scale[part]
        deviation = _variance(bright, background, per_flux).sqrt_()
        noise = torch.randn(bright.shape, generator=generator, device=device, dtype=flux.dtype)
        observed = torch.addcmul(bright, noise, deviation, out=noise)
        weight = (scale[part] / deviation).square_()
        if masks:
            weight *= line_sky <= observed + _SKY_CUT * deviation
        noisy[part], ivar[part] = observed.div_(scale[part]), weight
    if masks and n:
        _spoil(ivar, generator)
    return noisy, ivar


def _variance(flux: torch.Tensor, background: torch.Tensor, per_flux: torch.Tensor) -> torch.Tensor:
    """background + F / S + (f_F F)^2; a negative flux, which has no photons, adds nothing."""
    positive = flux.clamp(min=0)
    return torch.addcmul(background, positive, torch.add(per_flux, positive, alpha=OBJECT_ERROR**2))


def _brightness(flux: torch.Tensor, snr: torch.Tensor) -> torch.Tensor:
    """The factor (N,) at which the median signal-to-noise ratio in r is `snr` (N,).

    In one bin F / sigma(F) = snr is a quadratic for F, whatever the spectrum, and F / sigma grows with F; so the median
    bin has the ratio asked for at the median of the factors that the bins ask for.
    """
    background, per_flux, _ = (term[_R_BAND] for term in _noise_terms(flux.device, flux.dtype))
    square = snr[:, None] ** 2
    a, b, c = 1 - square * OBJECT_ERROR**2, square * per_flux, square * background
    needed = (b + (b**2 + 4 * a * c).clamp(min=0).sqrt()) / (2 * a)  # (N, bins in r)
    factor = torch.where(flux[:, _R_BAND] > 0, needed / flux[:, _R_BAND], torch.inf).median(dim=1).values
    if (bad := ~(torch.isfinite(factor) & (factor > 0) & (snr > 0))).any():
        row = int(bad.nonzero()[0])
        raise DataError(
            f"no brightness gives a signal-to-noise ratio of {float(snr[row]):g} in r",
            remedy=f"Ask for 0 to {1 / OBJECT_ERROR:.0f}, and give spectra that are positive in 5600-6900 Angstrom.",
            row=f"spectrum {row}",
        )
    return factor


def _spoil(ivar: torch.Tensor, generator: torch.Generator):
    """Set `ivar` (N, L) to 0, in place, in bins that are not covered or bad."""
    n, device = len(ivar), ivar.device
    u = torch.rand((n, 5), generator=generator, device=device)
    bins = torch.arange(L, device=device)

    def between(which, low, high):
        return (low + u[:, which] * (high - low)).long()[:, None]

    first, last, begin = between(0, *_FIRST), between(1, *_LAST), between(2, 0, L)
    for edge in (bins[: _FIRST[1]], bins[_LAST[0] :]):
        ivar[:, edge[0] : edge[-1] + 1] *= (edge >= first) & (edge <= last)
    struck = (u[:, 4] < _P_RUN).nonzero()[:, 0]
    length = between(3, *_RUN)
    ivar[struck] *= (bins < begin[struck]) | (bins >= begin[struck] + length[struck])
    n_bad = int(torch.poisson(torch.tensor(_N_BAD * n, device=device), generator=generator))
    at = torch.randint(n * L, (n_bad,), generator=generator, device=device)
    ivar.view(-1)[at] = 0


@lru_cache(maxsize=8)
def _noise_terms(device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The variance of an empty fibre, the variance per unit of object flux, and the sky's lines, (L,) each.

    Lines: the sky where it is above 1.25 times its running median over 99 bins, minus infinity elsewhere.
    """
    night = sky()
    sensitivity = np.exp(np.interp(np.log(WAVE_OBS), np.log(_NODES[:, 0]), np.log(_NODES[:, 1])))
    read = np.where(WAVE_OBS < 6000, *READ_NOISE) / sensitivity
    background = night / sensitivity + read**2 + (SKY_ERROR * night) ** 2
    lines = np.where(night <= 1.25 * median_filter(night, size=99, mode="nearest"), -np.inf, night)
    return tuple(torch.as_tensor(term, dtype=dtype, device=device) for term in (background, 1 / sensitivity, lines))
