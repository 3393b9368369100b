"""Mid-infrared diagnostics: PAH equivalent widths and silicate depth.

They are the axes of the fork diagram (Spoon+ 2007, 2007ApJ...654L..49S).
"""

import numpy as np
from scipy.interpolate import make_interp_spline

from paper_utils.base.dust import drude

SILICATE_ANCHORS_UM = (5.5, 14.5)  # free of silicates; Spoon+ 2007 draw a power law between them
# Window [um], degree of the continuum polynomial, and the bands in it as (centre [um], fractional width) after
# Smith+ 2007. Bands of one list rise and fall together; the first list is the one measured.
_PAH_FITS = {
    6.22: ((5.25, 7.15), 1, [[(6.22, 0.030)], [(7.42, 0.126), (7.60, 0.044), (7.85, 0.053)]]),
    11.3: ((9.9, 13.6), 2, [[(11.23, 0.012), (11.33, 0.032)], [(12.62, 0.042)]]),
}


def silicate_depth(wave_um: np.ndarray, flux: np.ndarray) -> np.ndarray:
    """Silicate strength S_9.7 = ln(f_obs / f_cont) at 9.7 um, (N,): negative in absorption, positive in emission.

    `wave_um` (L,) rest frame [um] increasing over 5.5-14.5, `flux` (N, L) positive, F_nu or F_lambda. The continuum is
    the power law through 5.5 and 14.5 um that Spoon+ 2007 use for PAH-dominated spectra; it serves every spectrum
    here, so that the measure is continuous from starbursts to quasars.
    """
    _require(wave_um, *SILICATE_ANCHORS_UM)
    lines = make_interp_spline(np.log(wave_um), np.log(np.atleast_2d(flux)), k=1, axis=1)
    blue, red = SILICATE_ANCHORS_UM
    left, middle, right = lines(np.log([blue, 9.7, red])).T
    share = np.log(9.7 / blue) / np.log(red / blue)
    return middle - ((1 - share) * left + share * right)


def pah_strength(wave_um: np.ndarray, flux: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Equivalent widths [um] of the 6.2 and 11.3 um PAH bands, two arrays (N,), positive in emission.

    `wave_um` (L,) rest frame [um] increasing over 5.3-13.6, `flux` (N, L) F_nu. Each is a linear least-squares fit of
    a local polynomial continuum and Drude profiles averaged over the bins, so that bins wider than a band give the
    same answer as fine ones. The continuum includes the wings of neighbouring bands. All spectra are solved at once.
    """
    _require(wave_um, 5.3, 13.6)
    return tuple(_equivalent_width(np.asarray(wave_um, float), np.atleast_2d(flux), *fit) for fit in _PAH_FITS.values())


def _equivalent_width(wave_um, flux, window, degree, groups):
    use = (wave_um >= window[0]) & (wave_um <= window[1])
    profiles = np.array([drude(wave_um, *np.array(group).T).mean(axis=0) for group in groups])
    centre = groups[0][-1][0]
    powers = (wave_um[use, None] / centre - 1) ** np.arange(degree + 1)
    design = np.hstack([powers, profiles[:, use].T])
    coefficients = np.linalg.lstsq(design, flux[:, use].T, rcond=None)[0]
    # The local continuum is all but the band itself: the polynomial (only its constant at the centre) and other bands'
    # wings.
    wings = np.array([[g**2 / ((centre / c - c / centre) ** 2 + g**2) for c, g in group] for group in groups[1:]])
    continuum = coefficients[0] + wings.mean(axis=1) @ coefficients[degree + 2 :]
    # int Drude dlambda = pi/2 gamma lambda_0 for unit peak.
    area = np.mean([0.5 * np.pi * gamma * wave for wave, gamma in groups[0]])
    return coefficients[degree + 1] * area / continuum


def _require(wave_um, low, high):
    if not (np.diff(wave_um) > 0).all() or wave_um[0] > low or wave_um[-1] < high:
        raise ValueError(f"the wavelengths must increase and cover {low}-{high} um, not {wave_um[0]:g}-{wave_um[-1]:g}")
