"""Redshifts of spectra: chi2 against combinations of templates at every shift at once, by cross-correlation.

On pixels even in ln wavelength a redshift is a shift, and all sums of a weighted linear fit are correlations: chi2 of
the best combination follows for every redshift from a few Fourier transforms (Glazebrook+ 1998, 1998ApJ...492...98G;
so works the SDSS pipeline, Bolton+ 2012, 2012AJ....144..144B).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from paper_utils.base.constants import C_KMS
from paper_utils.base.errors import DataError
from paper_utils.base.rebin import broaden, rebin
from paper_utils.base.wavelengths import LINES, SDSS_STEP, sdss_grid

if TYPE_CHECKING:
    from astropy.table import Table

STEP = SDSS_STEP / 2  # ln wavelength, 34.5 km/s: half an SDSS pixel, so that chi2 is a parabola between neighbours
Z_RANGE = (-0.005, 0.5)
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


@dataclass(frozen=True, eq=False)
class Templates:
    """Rest-frame spectra to combine: wave_rest (M,) vacuum A, any spacing; flux (K, M)."""

    wave_rest: np.ndarray
    flux: np.ndarray


def from_emiles(emiles, low: float = 2400.0, high: float = 9800.0) -> Templates:
    """`Templates` of galaxies: the leading components of E-MILES, broadened to 170 km/s, and four sets of lines in two
    widths.

    emiles : `files.templates.EMiles`.   low, high : vacuum A, what the spectra need at all redshifts tried.
    """
    wave = sdss_grid(low, high, STEP)
    near = (emiles.wave_rest > low - 50) & (emiles.wave_rest < high + 50)
    rows = emiles.templates[..., near].reshape(-1, near.sum())
    rows = rows[(rows > 0).all(axis=1)].astype(float)
    stars, _ = rebin(emiles.wave_rest[near], rows, np.ones(rows.shape), wave)
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


def measure(
    wave_obs: np.ndarray,
    flux: np.ndarray,
    ivar: np.ndarray,
    templates: Templates,
    z_range: tuple[float, float] = Z_RANGE,
    *,
    batch_size: int = 16,
) -> Table:
    """Redshifts of spectra, a row each: z, z_err, chi2 (per pixel) and delta_chi2.

    wave_obs : (L,) vacuum A.   flux, ivar : (N, L), ivar = 0 unusable.
    At each shift the templates and a quadratic in ln wavelength are fitted with free amplitudes. z is the minimum of
    chi2, z_err where it rises by 1 (times chi2 per pixel, if that exceeds 1). delta_chi2 is by how much the best
    redshift more than 1000 km/s away is worse: below ten or so, doubt z. NaN where a spectrum has no good pixels.
    Raises DataError if the templates do not cover the spectra at every redshift of `z_range`.
    """
    from astropy.table import Table, vstack

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
    search = _Search(basis, grid.size, shifts)
    parts = []
    for i in range(0, len(flux), batch_size):
        rows = slice(i, i + batch_size)
        chi2 = search.chi2(*rebin(wave_obs, flux[rows], ivar[rows], grid))
        parts.append(Table(_minimum(chi2, shifts, (np.asarray(ivar[rows]) > 0).sum(axis=1))))
    return vstack(parts)


class _Search:
    """The transforms that all spectra share: of the templates (K, M) and of their products."""

    def __init__(self, basis: np.ndarray, n_pixels: int, shifts: np.ndarray):
        from scipy.fft import next_fast_len, rfft

        self.n = next_fast_len(basis.shape[1] + n_pixels, real=True)
        self.k = len(basis)
        self.pairs = np.triu_indices(self.k)
        self.products = rfft(basis[self.pairs[0]] * basis[self.pairs[1]], self.n)
        self.templates = rfft(basis, self.n)
        # Pixel l of a spectrum at `shift` meets rest pixel l + lag; the highest redshift begins at rest pixel 0.
        self.lags = shifts[-1] - shifts
        x = np.linspace(-1, 1, n_pixels)
        self.polynomials = np.stack([x**p for p in range(N_POLYNOMIALS)])

    def chi2(self, flux: np.ndarray, ivar: np.ndarray) -> np.ndarray:
        """chi2 (N, S) of the best combination at every shift."""
        from scipy.fft import irfft, rfft

        k, p = self.k, N_POLYNOMIALS
        weighted = ivar[:, None] * self.polynomials  # (N, P, L)

        def correlate(with_pixels, with_templates):  # (..., L) and (..., F): sums over pixels at each lag (..., S)
            product = np.conj(rfft(with_pixels, self.n)) * with_templates
            return irfft(product, self.n)[..., self.lags]

        normal = np.zeros((len(flux), self.lags.size, k + p, k + p))
        right = np.zeros((len(flux), self.lags.size, k + p))
        normal[..., self.pairs[0], self.pairs[1]] = np.moveaxis(correlate(ivar[:, None], self.products), 1, -1)
        cross = correlate(weighted[:, :, None], self.templates)  # (N, P, K, S)
        normal[:, :, :k, k:] = cross.transpose(0, 3, 2, 1)
        normal[:, :, k:, k:] = np.triu(weighted @ self.polynomials.T)[:, None]
        lower = np.tril_indices(k + p, -1)
        normal[..., lower[0], lower[1]] = normal[..., lower[1], lower[0]]
        right[..., :k] = np.moveaxis(correlate((ivar * flux)[:, None], self.templates), 1, -1)
        right[..., k:] = (weighted @ flux[:, :, None])[:, None, :, 0]
        # Lines off the spectrum leave empty rows; a little on the diagonal keeps these solvable.
        diagonal = np.einsum("...ii->...i", normal)
        diagonal += 1e-9 * diagonal.max(axis=-1, keepdims=True) + 1e-30
        amplitude = np.linalg.solve(normal, right[..., None])[..., 0]
        return (ivar * flux**2).sum(axis=1)[:, None] - (amplitude * right).sum(axis=-1)


def _minimum(chi2: np.ndarray, shifts: np.ndarray, n_pixels: np.ndarray) -> dict[str, np.ndarray]:
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
