"""Redshifts of spectra: chi2 against combinations of templates at every shift at once, by cross-correlation.

On pixels even in ln wavelength a redshift is a shift, and all sums of a weighted linear fit are correlations: chi2 of
the best combination follows for every redshift from a few Fourier transforms (Glazebrook+ 1998, 1998ApJ...492...98G;
so works the SDSS pipeline, Bolton+ 2012, 2012AJ....144..144B).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from astropy.table import Table, vstack
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

from paper_utils.base.constants import C_KMS
from paper_utils.base.errors import DataError
from paper_utils.base.rebin import broaden, rebin
from paper_utils.base.wavelengths import LINES, SDSS_STEP, sdss_grid
from paper_utils.measure import full_spectrum

STEP = SDSS_STEP / 2  # ln wavelength, 34.5 km/s: half an SDSS pixel, so that chi2 is a parabola between neighbours
Z_RANGE = (-0.005, 0.5)
REST_RANGE = (2400.0, 9800.0)  # vacuum A, of the templates: what SDSS needs at all redshifts tried
BATCH = 16  # spectra at a time
N_STARS, N_POLYNOMIALS, SIGMA_KMS = 5, 3, 170.0
# Narrow and broad lines, to be mixed: with one width alone the misfit of bright lines, blended as H alpha and [N II]
# are, moves redshifts of star-forming galaxies by up to 25 km/s, several times the error.
GAS_KMS = (80.0, 200.0)
APART_KMS = 1000.0  # minima further away than this are other redshifts
# Lines that come and go together, with rounded typical ratios: amplitudes are free.
GAS = (
    {"Halpha": 3.5, "Hbeta": 1.0},
    {"NII_6584": 1.0, "NII_6548": 0.33, "SII_6716": 0.5, "SII_6731": 0.4},
    {"OIII_5007": 1.0, "OIII_4959": 0.33},
    {"OII_3726": 1.0, "OII_3729": 1.4},
)


class Templates(NamedTuple):
    """Rest-frame spectra to combine: wave_rest (M,) vacuum A, any spacing; flux (K, M)."""

    wave_rest: NDArray
    flux: NDArray


def from_emiles(emiles) -> Templates:
    """`Templates` of galaxies, 2400-9800 A: the leading components of E-MILES (`files.templates.EMiles`), broadened to
    170 km/s, and four sets of lines in two widths."""
    wave = sdss_grid(*REST_RANGE, STEP)
    wave_rest, rows, _ = full_spectrum.populations(emiles, REST_RANGE[0] - 50, REST_RANGE[1] + 50)
    rows = rows[(rows > 0).all(axis=1)]
    stars, _ = rebin(wave_rest, rows, np.ones(rows.shape), wave)
    stars = broaden(stars, SIGMA_KMS / C_KMS / STEP)
    stars /= stars.mean(axis=1, keepdims=True)
    components = np.linalg.svd(stars, full_matrices=False)[2][:N_STARS]
    x = np.log(wave)
    gas = [
        sum(share * np.exp(-0.5 * ((x - np.log(LINES[line])) / (sigma / C_KMS)) ** 2) for line, share in lines.items())
        for sigma in GAS_KMS
        for lines in GAS
    ]
    return Templates(wave, np.concatenate([components, gas]))


def measure(wave_obs: NDArray, flux: NDArray, ivar: NDArray, templates: Templates, z_range=Z_RANGE) -> Table:
    """Redshifts of spectra, a row each: z, z_err, chi2 (per pixel) and delta_chi2.

    wave_obs : (L,) vacuum A.   flux, ivar : (N, L), ivar = 0 unusable.
    At each shift the templates and a quadratic in ln wavelength are fitted with free amplitudes. z is the minimum of
    chi2, z_err where it rises by 1 (times chi2 per pixel, if that exceeds 1). delta_chi2 is by how much the best
    redshift more than 1000 km/s away is worse: below ten or so, doubt z. NaN where a spectrum has no good pixels.
    Raises DataError if the templates do not cover the spectra at every redshift of `z_range`.
    """
    # Centres at half steps: each pixel of SDSS falls into two, and none into three.
    first, last = np.ceil(np.log(wave_obs[0]) / STEP - 1.1), np.floor(np.log(wave_obs[-1]) / STEP + 0.1)
    shifts = np.arange(*np.rint(np.log1p(z_range) / STEP).astype(int))
    grid = np.exp(STEP * (np.arange(first, last + 1) + 0.5))
    rest = np.exp(STEP * (np.arange(first - shifts[-1], last - shifts[0] + 1) + 0.5))
    low, high = templates.wave_rest[[0, -1]]
    if rest[0] < low * (1 - 1e-3) or rest[-1] > high * (1 + 1e-3):
        raise DataError(
            f"the templates cover {low:.0f}-{high:.0f} A, the spectra need {rest[0]:.0f}-{rest[-1]:.0f} A in the "
            f"rest frames of z = {z_range[0]:g} to {z_range[1]:g}",
            remedy="Give templates that reach further, or a smaller z_range.",
        )
    basis, _ = rebin(templates.wave_rest, templates.flux, np.ones(templates.flux.shape), rest)
    basis /= np.sqrt((basis**2).mean(axis=1, keepdims=True))
    chi2_of = _search(basis, grid.size, shifts)
    parts = []
    for i in range(0, len(flux), BATCH):
        rows = slice(i, i + BATCH)
        chi2 = chi2_of(*rebin(wave_obs, flux[rows], ivar[rows], grid))
        parts.append(Table(_minimum(chi2, shifts, (ivar[rows] > 0).sum(axis=1))))
    return vstack(parts)


def _search(basis: NDArray, n_pixels: int, shifts: NDArray) -> Callable[[NDArray, NDArray], NDArray]:
    """chi2 (N, S) of the best combination of `basis` (K, M) at every shift, as a function of flux and ivar (N, L)."""
    n, k, p = next_fast_len(basis.shape[1] + n_pixels, real=True), len(basis), N_POLYNOMIALS
    # What all spectra share: the transforms of the templates and of their products, and the polynomials.
    first, second = np.triu_indices(k)
    of_products, of_templates = rfft(basis[first] * basis[second], n), rfft(basis, n)
    polynomials = np.linspace(-1, 1, n_pixels) ** np.arange(p)[:, None]
    # Pixel l of a spectrum at `shift` meets rest pixel l + lag; the highest redshift begins at rest pixel 0.
    lags = shifts[-1] - shifts

    def correlate(pixels, transforms):  # (..., L) and (..., F): sums over pixels at each lag (..., S)
        return irfft(np.conj(rfft(pixels, n)) * transforms, n)[..., lags]

    def chi2(flux: NDArray, ivar: NDArray) -> NDArray:
        weighted = ivar[:, None] * polynomials  # (N, P, L)
        normal, right = np.zeros((len(flux), lags.size, k + p, k + p)), np.zeros((len(flux), lags.size, k + p))
        normal[..., first, second] = np.moveaxis(correlate(ivar[:, None], of_products), 1, -1)
        normal[:, :, :k, k:] = correlate(weighted[:, :, None], of_templates).transpose(0, 3, 2, 1)
        normal[:, :, k:, k:] = np.triu(weighted @ polynomials.T)[:, None]
        below = np.tril_indices(k + p, -1)
        normal[..., *below] = normal[..., *below[::-1]]
        right[..., :k] = np.moveaxis(correlate((ivar * flux)[:, None], of_templates), 1, -1)
        right[..., k:] = (weighted @ flux[:, :, None])[:, None, :, 0]
        # Lines off the spectrum leave empty rows; a little on the diagonal keeps these solvable.
        diagonal = np.einsum("...ii->...i", normal)
        diagonal += 1e-9 * diagonal.max(axis=-1, keepdims=True) + 1e-30
        amplitude = np.linalg.solve(normal, right[..., None])[..., 0]
        return (ivar * flux**2).sum(axis=1)[:, None] - (amplitude * right).sum(axis=-1)

    return chi2


def _minimum(chi2: NDArray, shifts: NDArray, n_pixels: NDArray) -> dict[str, NDArray]:
    """The lowest point of each row's parabola through its lowest three, and the next best elsewhere."""
    rows, best = np.arange(len(chi2)), chi2[:, 1:-1].argmin(axis=1) + 1
    left, middle, right = (chi2[rows, best + k] for k in (-1, 0, 1))
    curvature = left - 2 * middle + right
    usable = (n_pixels > 0) & (curvature > 0)
    curvature = np.where(usable, curvature, 1.0)
    offset = np.clip(0.5 * (left - right) / curvature, -1, 1)
    per_pixel = middle / np.maximum(n_pixels, 1)
    z = np.expm1(STEP * (shifts[best] + offset))
    # chi2 = minimum + curvature / 2 (x - x0)^2
    z_err = (1 + z) * STEP * np.sqrt(2 / curvature * np.maximum(per_pixel, 1))
    elsewhere = np.abs(np.arange(chi2.shape[1]) - best[:, None]) * STEP * C_KMS > APART_KMS
    second = np.where(elsewhere, chi2, np.inf).min(axis=1)
    columns = {"z": z, "z_err": z_err, "chi2": per_pixel, "delta_chi2": second - middle}
    return {name: np.where(usable, values, np.nan) for name, values in columns.items()}
