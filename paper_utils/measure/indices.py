"""Spectral indices of galaxies in the optical: the 4000 A break and Lick indices at any velocity dispersion.

Bands and recipes are those of Doorenbos+ 2024 (Table 1, Sec. 4.2), who follow the MaNGA pipeline (Westfall+ 2019,
2019AJ....158..231W). All wavelengths here are given in air, as the definitions are, and used in vacuum.
"""

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from paper_utils.base.constants import C_KMS, FWHM
from paper_utils.base.rebin import broaden, integrals, rebin, sample
from paper_utils.base.wavelengths import SDSS_STEP, air_to_vacuum, pixel_edges, sdss_grid

# Rest wavelengths [A, in air] of the break's two sides: Balogh+ 1999 (1999ApJ...527...54B).
DN4000 = ((3850.0, 3950.0), (4000.0, 4100.0))
VACUUM_PER_AIR = 1 + 2.83e-4  # at 4000 A
# Blue side, line and red side [A, in air]: Trager+ 1998 (1998ApJS..116....1T), as printed in Table 1. There the blue
# side of Fe5335 ends at 5315.875, as in the MaNGA pipeline.
LICK = {
    "Hbeta": ((4827.875, 4847.875), (4847.875, 4876.625), (4876.625, 4891.625)),
    "Mgb": ((5142.625, 5161.375), (5160.125, 5192.625), (5191.375, 5206.375)),
    "Fe5270": ((5233.150, 5248.150), (5245.650, 5285.650), (5285.650, 5318.150)),
    "Fe5335": ((5304.625, 5315.875), (5312.125, 5352.125), (5353.375, 5363.375)),
}
# FWHM [A] of the Lick system: Worthey & Ottaviani 1997 (1997ApJS..111..377W), table 8. Doorenbos+ 2024 print 8.9 A at
# 6000 A, which matters to none of the indices here: they lie at 4830-5360 A.
LICK_FWHM = ((4000.0, 4400.0, 4900.0, 5400.0, 6000.0), (11.5, 9.2, 8.4, 8.4, 9.8))
WAVE_LICK = sdss_grid(4700.0, 5500.0)  # vacuum A, rest frame: the bands, and room for the broadening
# Eq. 5, x0 = p0 + p1 x^p2 + p3 sigma^p4 + p5 x^p6 sigma^p7, fitted to the E-MILES populations of 1 Gyr and older at
# Lick resolution, sigma = 25 ... 400 km/s, as tests/measure/test_indices.py does again. It gives x0 to 0.06 A or
# better, and half of them to 0.6 % or better.
DISPERSION = {
    "Hbeta": (0.0283712, 0.980534, 1.01052, -1.21419e-06, 2.10362, 3.53507e-07, 0.731268, 2.30763),
    "Mgb": (0.0060952, 0.992156, 1.00296, 4.2921e-06, 1.48352, 2.91379e-06, 0.950535, 1.94536),
    "Fe5270": (-0.0011064, 0.996217, 0.999938, 1.52669e-06, 1.52594, 1.83709e-05, 0.91418, 1.64916),
    "Fe5335": (-0.0121152, 1.01289, 0.991672, -3.65579e-06, 1.82828, 6.23158e-06, 0.886782, 2.00427),
}


def dn4000(wave_obs: NDArray, flux: NDArray, z: NDArray) -> NDArray:
    """The 4000 A break, (N,): mean F_nu in 4000-4100 A over that in 3850-3950 A (air), in the rest frame.

    wave_obs (L,) vacuum A, increasing; flux (N, L) F_lambda, each value the mean over its pixel; z (N,). Pixels count
    with the part of them that lies inside. NaN where a side leaves the grid.
    """
    edges = pixel_edges(wave_obs)
    sides = np.multiply.outer(1 + z, VACUUM_PER_AIR * np.ravel(DN4000))  # (N, 4)
    at = np.interp(sides, edges, np.arange(edges.size), left=np.nan, right=np.nan)
    # F_nu goes as F_lambda lambda^2.
    blue, _, red = integrals(flux * wave_obs**2 * np.diff(edges), np.nan_to_num(at)).T
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.isnan(at).any(axis=1), np.nan, red / blue)


def lick(wave_rest: NDArray, flux: NDArray, bands) -> NDArray:
    """Equivalent width [A] of an index in rest-frame spectra, (N,): positive in absorption.

    wave_rest : (L,) vacuum A.   flux : (N, L).   bands : ((blue), (line), (red)) in air, as in `LICK`.
    The integral over the line of 1 - F / C, the continuum C being the straight line through the means of the two
    sides, each at its middle (Worthey+ 1994, 1994ApJS...94..687W, eqs. 1-2); pixels count with the part inside. NaN
    where a band leaves the grid or holds a NaN.
    """
    edges, bands = pixel_edges(wave_rest), air_to_vacuum(np.array(bands))
    if bands.min() < edges[0] or bands.max() > edges[-1]:
        return np.full(len(flux), np.nan)
    inside = np.clip(np.minimum(edges[1:], bands[:, 1:]) - np.maximum(edges[:-1], bands[:, :1]), 0, None)  # (3, L)
    near = inside.any(axis=0)
    inside, flux, wave = inside[:, near], flux[:, near], wave_rest[near]
    blue, red = (flux @ inside[side] / inside[side].sum() for side in (0, 2))
    middle = bands.mean(axis=1)
    slope = (red - blue) / (middle[2] - middle[0])
    continuum = blue[:, None] + slope[:, None] * (wave - middle[0])
    with np.errstate(divide="ignore", invalid="ignore"):
        return (1 - flux / continuum) @ inside[1]


def measure(
    wave_obs: NDArray, flux: NDArray, ivar: NDArray | None, z: NDArray, *, sigma_star=None, lsf_kms=0.0, n_draws=0
) -> Table:
    """Dn4000, the indices of `LICK` [A] at Lick resolution, and [MgFe]', a row for each spectrum.

    wave_obs : (L,) vacuum A.   flux, ivar : (N, L), ivar = 0 unusable, None all good.   z : (N,).
    sigma_star : (N,) km/s; given, the indices are brought to zero dispersion (`correct`).
    lsf_kms : resolution of the spectra as a Gaussian sigma [km/s], a number, (L,) or (N, L). What is missing to the
        Lick resolution is added; spectra that are coarser stay as they are.
    n_draws : repeat with noise of `ivar` added so many times; the scatter gives columns `*_err`.
    Columns are NaN where bands leave the grid or more than half of what they need is bad.
    """
    flux, z = np.asarray(flux, float), np.broadcast_to(z, len(flux))
    ivar = np.ones(flux.shape) if ivar is None else ivar
    seen = sample(wave_obs, lsf_kms, np.multiply.outer(1 + z, WAVE_LICK))  # (N, M)
    missing = np.sqrt(np.clip(lick_sigma(WAVE_LICK) ** 2 - seen**2, 0, None))

    def measured(flux: NDArray) -> dict[str, NDArray]:
        rest, weight = rebin(wave_obs, flux, ivar, WAVE_LICK, z)
        rest = broaden(rest, missing / C_KMS / SDSS_STEP, weight > 0)
        values = {name: lick(WAVE_LICK, rest, bands) for name, bands in LICK.items()}
        if sigma_star is not None:
            values = {name: correct(name, index, sigma_star) for name, index in values.items()}
        mg_fe = mgfe(values["Mgb"], values["Fe5270"], values["Fe5335"])
        return {"Dn4000": _break(wave_obs, flux, ivar > 0, z)} | values | {"MgFe": mg_fe}

    values = measured(flux)
    if n_draws:
        rng, sigma = np.random.default_rng(0), np.where(ivar > 0, 1 / np.sqrt(np.where(ivar > 0, ivar, 1)), 0)
        draws = [measured(flux + sigma * rng.standard_normal(flux.shape)) for _ in range(n_draws)]
        values |= {f"{name}_err": np.std([draw[name] for draw in draws], axis=0, ddof=1) for name in list(values)}
    return Table(values, units={name: "Angstrom" for name in values if not name.startswith("Dn4000")})


def mgfe(mgb: NDArray, fe5270: NDArray, fe5335: NDArray) -> NDArray:
    """[MgFe]' [A], eq. 4 (Thomas+ 2003, 2003MNRAS.339..897T); NaN where the product is negative."""
    product = mgb * (0.72 * fe5270 + 0.28 * fe5335)
    return np.sqrt(np.where(product >= 0, product, np.nan))


def lick_sigma(wave_rest: NDArray) -> NDArray:
    """Resolution of the Lick system as a Gaussian sigma [km/s] at `wave_rest` [A]."""
    return np.interp(wave_rest, *LICK_FWHM) / FWHM / wave_rest * C_KMS


def correct(name: str, index: NDArray, sigma_star: NDArray) -> NDArray:
    """Index `name` [A] of a spectrum at Lick resolution, broadened by `sigma_star` [km/s], as it were without (eq. 5).

    Where the index is not positive, to which the equation does not apply, it stays as it is.
    """
    return np.where(index > 0, _eq5(DISPERSION[name], np.where(index > 0, index, 1.0), sigma_star), index)


def _eq5(p, x, sigma):
    return p[0] + p[1] * x ** p[2] + p[3] * sigma ** p[4] + p[5] * x ** p[6] * sigma ** p[7]


def _break(wave_obs: NDArray, flux: NDArray, good: NDArray, z: NDArray) -> NDArray:
    """`dn4000` with bad pixels filled by the mean of the good ones next to them; NaN where half of a side is bad."""
    last = wave_obs.size - 1
    before = np.maximum.accumulate(np.where(good, np.arange(last + 1), -1), axis=1)
    after = np.minimum.accumulate(np.where(good, np.arange(last + 1), last + 1)[:, ::-1], axis=1)[:, ::-1]
    ends = (before < 0) | (after > last)  # past the last good pixel nothing can be filled
    left, right = (np.take_along_axis(flux, neighbour.clip(0, last), axis=1) for neighbour in (before, after))
    value = dn4000(wave_obs, np.where(ends, 0.0, 0.5 * (left + right)), z)
    rest = wave_obs / (1 + z[:, None]) / VACUUM_PER_AIR
    for low, high in DN4000:
        side = (rest > low) & (rest < high)
        known = ((side & good).sum(axis=1) > 0.5 * side.sum(axis=1)) & ~(side & ends).any(axis=1)
        value = np.where(known, value, np.nan)
    return value
