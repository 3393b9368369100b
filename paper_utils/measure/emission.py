"""Emission lines left when the starlight is subtracted: fluxes, equivalent widths, and classes in the BPT diagram.

All spectra are fitted at once: amplitudes linearly, the common velocity and two widths (Balmer and forbidden lines) by
Gauss-Newton steps. Lines are Gaussians integrated over the pixels, of the instrument's width and the gas's in
quadrature, as in the SDSS pipeline; doublets that share an upper level have their ratio fixed.
"""

import numpy as np
from astropy.table import Table, vstack
from numpy.typing import NDArray
from scipy.special import erf

from paper_utils.base.constants import C_KMS
from paper_utils.base.rebin import sample
from paper_utils.base.wavelengths import DOUBLETS, LINES, pixel_edges

FITTED = ("OII_3726", "OII_3729", "Hbeta", "OIII_5007", "OI_6300", "Halpha", "NII_6584", "SII_6716", "SII_6731")
# Of the fitted lines and those tied to them: which each belongs to, its flux relative to that one, and rest wavelength.
TIED = [{name: 1.0} | {weak: share for weak, (strong, share) in DOUBLETS.items() if strong == name} for name in FITTED]
OWNER = np.repeat(np.arange(len(FITTED)), [len(lines) for lines in TIED])
SHARE, REST = np.array([(share, LINES[name]) for lines in TIED for name, share in lines.items()]).T
MAIN = np.flatnonzero(SHARE == 1)
BALMER = np.array([name.startswith("H") for name in FITTED])[OWNER]
HALF_WINDOW = 2000.0  # km/s to either side of a group of lines, with a constant for what the stars do not explain
STRETCH = 1 + HALF_WINDOW / C_KMS
# Groups of lines nearer to each other than two half windows: the wavelengths of their first and last lines (G,).
_WAVE = np.sort(REST)
_APART = _WAVE[1:] >= _WAVE[:-1] * STRETCH**2
FIRST, LAST = _WAVE[np.r_[True, _APART]], _WAVE[np.r_[_APART, True]]
SIGMA_RANGE, V_RANGE = (20.0, 600.0), (-600.0, 600.0)  # km/s
# Where there are no lines to see: velocity 0 +- 200 km/s, ln sigma that of 120 km/s +- 0.7.
PRIOR_V, PRIOR_SIGMA, PRIOR_WIDTH = 200.0, 120.0, 0.7
PASSIVE, STAR_FORMING, AGN = "passive", "SF", "AGN"
PASSIVE_EW = 1.0  # Angstrom of H alpha (Doorenbos+ 2024, Sec. 5.7; after Cid Fernandes+ 2011, 2011MNRAS.413.1687C)
BPT = ("Hbeta", "OIII_5007", "Halpha", "NII_6584")
BATCH = 128  # spectra at a time


def measure(
    wave_obs: NDArray, flux: NDArray, ivar: NDArray, z: NDArray, continuum: NDArray, *, lsf_kms: NDArray | float = 0.0
) -> Table:
    """Lines of spectra, a row each.

    wave_obs : (L,) vacuum A.   flux, ivar, continuum : (N, L) in any one unit of flux density, ivar = 0 unusable; the
        continuum is the stars' alone, NaN where it is not known.   z : (N,).
    lsf_kms : Gaussian sigma of the instrument [km/s], a number, (L,) or (N, L).

    For each of `FITTED`: flux_X and flux_err_X (flux density x A, observed; the error is that of the amplitude at fixed
    widths) and ew_X, ew_err_X, rest-frame A, positive in emission, over the continuum's median around the line. Then
    v_gas, sigma_balmer, sigma_forbidden [km/s, without the instrument's] and chi2 per pixel. NaN where a line's core
    (within 1.5 sigma) has a bad pixel in three or more, or lies off the grid.
    """
    flux, ivar, continuum = (np.asarray(a, float) for a in (flux, ivar, continuum))
    lsf = np.broadcast_to(np.asarray(lsf_kms, float), flux.shape)
    rows = [slice(i, i + BATCH) for i in range(0, len(flux), BATCH)]
    parts = [_Fit(wave_obs, flux[r], ivar[r], z[r], continuum[r], lsf[r]).table() for r in rows]
    units = {name: "Angstrom" for name in parts[0] if name.startswith("ew")}
    units |= dict.fromkeys(("v_gas", "sigma_balmer", "sigma_forbidden"), "km / s")
    return vstack([Table(part, units=units) for part in parts])


def ratios(table: Table) -> tuple[NDArray, NDArray]:
    """log [N II] 6584 / H alpha and log [O III] 5007 / H beta, (N,); NaN where one of the two is missing."""
    fluxes = (np.asarray(table[f"flux_{name}"], float) for name in BPT)
    hb, o3, ha, n2 = (np.where(flux > 0, flux, np.nan) for flux in fluxes)
    return np.log10(n2 / ha), np.log10(o3 / hb)


def kauffmann(n2: NDArray) -> NDArray:
    """log [O III]/H beta of Kauffmann+ 2003 (2003MNRAS.346.1055K), eq. 1: -inf from log [N II]/H alpha = 0.05 on."""
    return _curve(n2, 0.05, 1.3)


def kewley(n2: NDArray) -> NDArray:
    """log [O III]/H beta of Kewley+ 2001 (2001ApJ...556..121K), eq. 5: the most that star formation can do."""
    return _curve(n2, 0.47, 1.19)


def classify(table) -> NDArray:
    """ "passive", "SF" or "AGN" (N,): Doorenbos+ 2024, Sec. 5.7.

    Passive: EW(H alpha) below 1 A, or one of the four lines is missing (no positive flux). The others are AGN above
    Kauffmann's curve, pure star formation below.
    """
    n2, o3 = ratios(table)
    passive = ~(np.asarray(table["ew_Halpha"], float) >= PASSIVE_EW) | np.isnan(n2) | np.isnan(o3)
    return np.where(passive, PASSIVE, np.where(o3 > kauffmann(n2), AGN, STAR_FORMING))


def _curve(n2, asymptote, level):
    n2 = np.asarray(n2, float)
    inside = n2 < asymptote
    return np.where(inside, 0.61 / np.where(inside, n2 - asymptote, -1) + level, -np.inf)


class _Fit:
    """One batch: the pixels (N, P) near the lines, and the least squares there."""

    def __init__(self, wave_obs, flux, ivar, z, continuum, lsf):
        windows = (rest[:, None] * (1 + z) for rest in (FIRST / STRETCH, LAST * STRETCH))
        start, end = (np.searchsorted(wave_obs, rest) for rest in windows)  # (G, N)
        lengths = (end - start).max(axis=1)
        self.group = np.repeat(np.arange(len(FIRST)), lengths)
        index = [first[:, None] + np.arange(n) for first, n in zip(start, lengths, strict=True)]
        index = np.concatenate(index, axis=1)  # (N, P)
        inside, index = index < wave_obs.size, index.clip(max=wave_obs.size - 1)
        rows, edges = np.arange(len(flux))[:, None], pixel_edges(wave_obs)
        self.edges = np.stack([edges[index], edges[index + 1]], axis=-1)  # (N, P, 2)
        excess = (flux - continuum)[rows, index]
        usable = inside & np.isfinite(excess)
        self.excess = np.where(usable, excess, 0.0)
        self.weight = np.where(usable, ivar[rows, index], 0.0)
        self.level = np.where(inside, continuum[rows, index], np.nan)
        self.z, self.centre = z, REST * (1 + z[:, None])  # (N, J)
        self.lsf = sample(wave_obs, lsf, self.centre)

    def table(self) -> dict[str, NDArray]:
        p, k = self.search(), len(FITTED)
        amplitude, covariance, residual = self.solve(p)
        seen, good = self.covered(p)[:, MAIN], self.weight > 0
        flux = np.where(seen, amplitude[:, :k], np.nan)
        error = np.where(seen, np.sqrt(np.einsum("nii->ni", covariance)[:, :k]), np.nan)
        level = np.ma.masked_invalid(self.level)
        medians = [np.ma.median(level[:, self.group == g], axis=1).filled(np.nan) for g in range(len(FIRST))]
        level = np.stack(medians, axis=1)[:, np.searchsorted(FIRST, REST[MAIN], side="right") - 1]
        per_level = 1 / (np.where(level > 0, level, np.nan) * (1 + self.z[:, None]))
        kinds = {"flux": flux, "flux_err": error, "ew": flux * per_level, "ew_err": error * per_level}
        columns = {f"{kind}_{name}": a[:, i] for i, name in enumerate(FITTED) for kind, a in kinds.items()}
        columns |= {"v_gas": p[:, 0], "sigma_balmer": np.exp(p[:, 1]), "sigma_forbidden": np.exp(p[:, 2])}
        return columns | {"chi2": (residual**2).sum(axis=1) / np.maximum(good.sum(axis=1), 1)}

    def search(self, n_steps: int = 12) -> NDArray:
        """Velocity, ln sigma of Balmer and of forbidden lines (N, 3): Levenberg-Marquardt from the best of nine."""
        starts = np.array([(v, np.log(s), np.log(s)) for v in (-150, 0, 150) for s in (60, 140, 300)])
        costs = np.array([self.cost(np.tile(p, (len(self.z), 1))) for p in starts])
        p = starts[costs.argmin(axis=0)]
        cost, damping = costs.min(axis=0), np.full(len(self.z), 1e-2)
        step = np.array([5.0, 0.05, 0.05])
        low, high = np.array([V_RANGE, *np.log([SIGMA_RANGE] * 2)]).T
        for _ in range(n_steps):
            r = self.residuals(p)
            jacobian = np.stack([(self.residuals(p + d) - r) / d[d > 0] for d in np.diag(step)], axis=-1)
            normal = np.einsum("npi,npj->nij", jacobian, jacobian)
            gradient = np.einsum("npi,np->ni", jacobian, r)
            diagonal = np.einsum("nii->ni", normal)
            diagonal *= 1 + damping[:, None]
            diagonal += 1e-12
            trial = np.clip(p - np.linalg.solve(normal, gradient[..., None])[..., 0], low, high)
            new = self.cost(trial)
            better = new < cost
            p, cost = np.where(better[:, None], trial, p), np.where(better, new, cost)
            damping = np.where(better, damping / 5, damping * 5).clip(1e-8, 1e8)
        return p

    def cost(self, p):
        return (self.residuals(p) ** 2).sum(axis=1)

    def residuals(self, p):
        """Residuals in sigma (N, P), and the prior's three."""
        prior = np.stack([p[:, 0] / PRIOR_V, *((p[:, 1:] - np.log(PRIOR_SIGMA)) / PRIOR_WIDTH).T], axis=1)
        return np.concatenate([self.solve(p)[2], prior], axis=1)

    def solve(self, p):
        """At velocity and widths `p` (N, 3): amplitudes (N, K + G), their covariance, residuals in sigma (N, P)."""
        centre, width = self.position(p)
        x = (self.edges[:, :, None, :] - centre[:, None, :, None]) / (np.sqrt(2) * width)[:, None, :, None]
        # Each line at unit flux: its mean density in each pixel (N, P, J).
        profiles = np.diff(0.5 * erf(x), axis=-1)[..., 0] / np.diff(self.edges, axis=-1)
        lines = np.add.reduceat(profiles * SHARE, MAIN, axis=-1)
        background = (self.group[:, None] == np.arange(len(FIRST))).astype(float)  # (P, G)
        design = np.concatenate([lines, np.broadcast_to(background, (len(lines), *background.shape))], axis=-1)
        weighted = design * self.weight[..., None]
        normal = np.swapaxes(design, 1, 2) @ weighted
        diagonal = np.einsum("nii->ni", normal)
        diagonal += np.where(diagonal > 0, 1e-10 * diagonal, 1.0)
        covariance = np.linalg.inv(normal)
        amplitude = (covariance @ (np.swapaxes(weighted, 1, 2) @ self.excess[..., None]))[..., 0]
        return amplitude, covariance, np.sqrt(self.weight) * (self.excess - (design @ amplitude[..., None])[..., 0])

    def position(self, p):
        """Centre and sigma of each line [observed A], (N, J)."""
        gas = np.exp(np.where(BALMER, p[:, 1:2], p[:, 2:3]))
        return self.centre * (1 + p[:, :1] / C_KMS), self.centre * np.hypot(gas, self.lsf) / C_KMS

    def covered(self, p):
        """Whether more than two thirds of the pixels within 1.5 sigma of each line are good, (N, J)."""
        centre, width = self.position(p)
        middle = self.edges.mean(axis=-1)
        core = np.abs(middle[:, :, None] - centre[:, None]) < 1.5 * width[:, None]  # (N, P, J)
        n = core.sum(axis=1)
        return (n > 0) & ((core & (self.weight > 0)[..., None]).sum(axis=1) > 2 / 3 * n)
