"""AB magnitudes and errors of whatever a user's columns hold.

Fluxes become magnitudes by their zero point, asinh magnitudes (Lupton+ 1999, 1999AJ....118.1406L: m = -2.5 / ln 10
[asinh(f / 2b) + ln b], f in units of the flux of magnitude 0) by way of fluxes; a flux of zero or less is no detection.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from paper_utils.base import dust
from paper_utils.base.filters import sampled

Unit = Literal["mJy", "Jy", "uJy", "cgs", "AB", "Vega"]
MJY = {"mJy": 1.0, "Jy": 1e3, "uJy": 1e-3, "cgs": 1e26}
ZERO_POINTS = {unit: 2.5 * np.log10(1e26 / mjy) - 48.6 for unit, mjy in MJY.items()}  # AB magnitudes of flux 1
POGSON = 2.5 / np.log(10)
# Other people's marks in magnitudes and errors, of what was not measured and of what is too faint.
MARKS = np.array([-9.99, -99, -99.9, -99.99, -999, -999.9, -9999], np.float32)
FAINT_MARKS = np.array([99, 99.9, 99.99, 999, 9999], np.float32)
HUGE = 1e30  # what is larger is written for infinity: 3.4e38 and 1.8e308 are the largest that computers have
FAINTEST = 50.0  # magnitude, of either sign, beyond which it is a mark of something
FAR = 30.0  # sigma below zero at which a flux is none
SFD = 0.86  # of E(B-V) in the maps of Schlegel+ 1998 is real (Schlafly & Finkbeiner 2011, 2011ApJ...737..103S)
LIMITS = (10.0, 50.0)  # magnitudes within which an error of what was not detected is its limit


@dataclass(frozen=True)
class Band:
    """What the columns of a band hold.

    column, error : their names in the table; error may be None.
    zero_point : AB magnitude of flux 1 where they hold fluxes, else None.   softening : b of asinh magnitudes, or None.
    inverse : whether `error` holds inverse variances.   undetected : numbers that mark what was too faint.
    negative_limits : whether a negative error marks a limit.   n_sigma : of limits.
    offset : mag to add, such as AB less Vega.   extinction : A / E(B-V) to correct for.
    """

    column: str
    error: str | None = None
    zero_point: float | None = None
    softening: float | None = None
    inverse: bool = False
    undetected: tuple[float, ...] = ()
    negative_limits: bool = False
    n_sigma: float = 1.0
    offset: float = 0.0
    extinction: float = 0.0

    def to_ab(self, value: np.ndarray, error: np.ndarray, ebv: np.ndarray | float, refuse: Callable):
        """AB magnitudes and errors (n,) of what the columns hold, before the Milky Way's dust of E(B-V) `ebv`.

        value, error : (n,), NaN where there is none.
        The magnitude is NaN where nothing was measured and infinite where nothing was detected; there the error is the
        magnitude of one sigma, where that is known. Unknown errors are NaN.
        refuse : called as (values, bad (n,), column, problem, remedy); what it returns, NaN where bad, goes on.
        """
        value, error, faint = self._unmarked(value, error)
        if self.zero_point is None:
            remedy = "List a mark under `missing:` or `undetected:`; of fluxes say `unit:` or `flux_zero_point:`."
            value = refuse(value, np.abs(value) > FAINTEST, self.column, "{:g} is no magnitude", remedy)
        if self.inverse:
            remedy = "If that marks no value, list it under `missing:`."
            error = refuse(error, error < 0, self.error, "the inverse variance is {:g}", remedy)
            value = np.where(error == 0, np.nan, value)
            error = np.where(error > 0, error, np.nan) ** -0.5
        limit = (error < 0) & ~np.isnan(value) & self.negative_limits
        in_flux, zero = self.zero_point is not None, self.zero_point or 0.0
        if self.softening:
            in_flux, scaled = True, value / POGSON + np.log(self.softening)
            value = -2 * self.softening * np.sinh(scaled)
            error = error * 2 * self.softening * np.cosh(scaled) / POGSON
        detected = ~limit & ((value > 0) if in_flux else ~np.isnan(value))
        remedy = "If it marks a limit, say `limits: [negative error]`; if it marks no value, list it under `missing:`."
        error = refuse(error, (error < 0) & detected, self.error, "the error is {:g}", remedy)
        shift = self.offset - self.extinction * ebv
        if in_flux:
            value = np.where(value < -FAR * np.where(error > 0, error, np.inf), np.nan, value)
            error = np.where(limit, np.where(value > 0, value / self.n_sigma, -error), error)
            m = np.where(value <= 0, np.inf, zero + shift + _magnitude(value))
            with np.errstate(over="ignore"):
                one_sigma, dm = zero + shift + _magnitude(error), POGSON * error / np.where(detected, value, np.nan)
        else:
            m, dm, is_limit = value + shift, error, limit | ((error > LIMITS[0]) & (error < LIMITS[1]))
            one_sigma = np.where(limit, value, error) + 2.5 * np.log10(self.n_sigma) + shift
            one_sigma = np.where(is_limit, one_sigma, error)
        dm = np.where(detected, dm, one_sigma)
        return np.where(faint | limit, np.inf, m), np.where(dm < 0, np.nan, dm)

    def _unmarked(self, value: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, ...]:
        """Values and errors with NaN for their marks, and which values are marked as too faint."""
        with np.errstate(over="ignore"):
            single, single_error = value.astype(np.float32), error.astype(np.float32)
        faint = np.isin(value, self.undetected) | np.isin(single, np.float32(self.undetected))
        if self.zero_point is None:
            faint |= (value > HUGE) | np.isin(single, FAINT_MARKS)
            value = np.where(np.isin(single, MARKS), np.nan, value)
            error = np.where(np.isin(single_error, [*MARKS, *FAINT_MARKS]), np.nan, error)
        value = np.where(faint | (np.abs(value) > HUGE), np.nan, value)
        return value, np.where(np.abs(error) > HUGE, np.nan, error), faint


def _magnitude(flux: np.ndarray) -> np.ndarray:
    return -2.5 * np.log10(np.where(flux > 0, flux, np.nan))


def extinction(wave_um: np.ndarray, response: np.ndarray) -> float:
    """A / E(B-V) in a band of this curve, for a flat spectrum and little dust; right to 1 % up to E(B-V) = 0.2.

    E(B-V) is that of the maps of Schlegel+ 1998, as catalogues have it (see `SFD`).
    """
    wave, response = sampled((wave_um, response))  # even in log, so that photons of a flat spectrum are the response
    return float(SFD * np.average(dust.galactic(wave * 1e4), weights=response))
