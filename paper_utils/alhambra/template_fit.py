"""Photometric redshifts by template fitting, after BPZ: chi^2 over redshift and type with a prior from the magnitude.

Benitez 2000 (2000ApJ...536..571B), as ALHAMBRA's catalogue used it (Molino+ 2014, 2014MNRAS.441.2891M): a sequence of
templates, interpolated between neighbours; p(z, T | colours, m) ~ exp(-chi^2 / 2) p(T | m) p(z | T, m); zb is the peak
of the sum over types. Fluxes of all models are one array, a fit of many objects two matrix products.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from astropy.table import Table

from paper_utils.alhambra.inputs import columns
from paper_utils.base.columns import alhambra_names
from paper_utils.base.constants import DEEP_Z, L_SUN, PC
from paper_utils.base.containers import Catalogue
from paper_utils.base.distances import arrives
from paper_utils.base.errors import DataError
from paper_utils.base.filters import Curves, curves_of
from paper_utils.base.intergalactic import transmission
from paper_utils.base.photometry import ab_magnitudes

# Even in ln(1 + z), half the error that the survey reaches; zb is refined between grid points.
Z_GRID = np.expm1(np.arange(*np.log1p(DEEP_Z), 0.005))
MIN_ERROR = 0.03  # mag, added in quadrature: zero points and templates are no better
ODDS_WIDTH = 0.0125  # odds is the probability within this times (1 + zb) (Molino+ 2014, sec. 5)
LEVEL = 0.95  # of the interval zb_min to zb_max
# Benitez 2000, table 1, for ellipticals, spirals and starbursts: p(z | T, m) ~ z^alpha exp(-(z / z_m)^alpha),
# z_m = z_0 + k (m - 20), and p(T | m) = share exp(-k_t (m - 20)), the starbursts being the rest; m is F814W.
ALPHA, Z_0, K = np.array([[2.46, 1.81, 0.91], [0.431, 0.390, 0.063], [0.091, 0.0636, 0.123]])
SHARE, K_T = np.array([[0.35, 0.50], [0.450, 0.147]])
LATE = (3.5, 6.5)  # types where spirals begin, where starbursts do
SEEING = 1.0  # arcsec: fwhm of a star
STAR_LIMIT = 22.5  # F814W, beyond which the survey does not tell stars from galaxies: Stellar_Flag is 0.5
# Share of stars among objects of F814W, by the counts of either.
_STARS = ((16.0, 18.0, 20.0, 21.0, 22.0, 22.5), (0.90, 0.60, 0.20, 0.10, 0.06, 0.05))
BATCH = 256  # objects at once
LABELS = alhambra_names("label", "extra")
FITTED = tuple(name for name in LABELS if name != "Stellar_Flag")
_CALLED = {"Stell_Mass_1": "log_mstar", "M_ABS_1": "m_abs"}  # in the results of a fit


@dataclass(frozen=True, eq=False)
class Models:
    """Fluxes that templates have in bands over redshift; made by `models`.

    z : (Z,), even in ln(1 + z).   types : (T,), from 1.   classes : (T,) 0 elliptical, 1 spiral, 2 starburst.
    flux : (Z, T, B) of one M_sun, in units of the flux of AB magnitude 0.
    m_abs : (T,) absolute AB magnitude in Johnson's B of one M_sun.
    """

    z: np.ndarray
    types: np.ndarray
    classes: np.ndarray
    flux: np.ndarray
    m_abs: np.ndarray


def models(
    wave_rest: np.ndarray, spectra: np.ndarray, curves: Curves, z: np.ndarray = Z_GRID, between: int = 1
) -> Models:
    """The `Models` of templates, with `between` interpolated ones between neighbours (in log flux).

    wave_rest : (L,) vacuum Angstrom, even in log.   spectra : (T, L) L_sun / Angstrom per M_sun, red to blue.
    curves : band -> (observed wavelength [vacuum Angstrom], response per photon).
    Raises DataError if a band leaves the templates at some redshift.
    """
    low = min(wave[0] for wave, _ in curves.values()) / (1 + z[-1])
    high = max(wave[-1] for wave, _ in curves.values()) / (1 + z[0])
    if low < wave_rest[0] or high > wave_rest[-1]:
        problem = f"at redshift {z[0]:.2f}-{z[-1]:.2f} the bands need {low:.0f}-{high:.0f} A"
        covered = f"{wave_rest[0]:.0f}-{wave_rest[-1]:.0f} A"
        raise DataError(problem, remedy=f"Leave bands out that need more than the templates' {covered}.")
    fine = np.linspace(1, len(spectra), (len(spectra) - 1) * (between + 1) + 1)
    left = np.minimum(fine.astype(int) - 1, len(spectra) - 2)
    share = (fine - 1 - left)[:, None]

    def magnitudes(wave, dimming, curves):  # of all templates, in between too (T, B)
        nodes = ab_magnitudes(wave, spectra * dimming, curves)
        return nodes[left] * (1 - share) + nodes[left + 1] * share

    dimmed = 1e-17 * arrives(z)
    seen = [
        magnitudes(observed := wave_rest * (1 + at), dimming * transmission(observed, at), curves)
        for at, dimming in zip(z, dimmed, strict=True)
    ]
    m_abs = magnitudes(wave_rest, L_SUN / (4 * np.pi * (10 * PC) ** 2), curves_of({"B": "bessell_B"}))[:, 0]
    flux = 10 ** (-0.4 * np.stack(seen))
    return Models(z=z, types=fine, classes=np.searchsorted(LATE, fine), flux=flux, m_abs=m_abs)


def weighted(mag: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fluxes (N, B) and inverse variances of magnitudes as BPZ reads them, in units of the flux of magnitude 0.

    99 is no detection, its error the magnitude of one sigma; -99 no observation, weight 0.
    """
    observed, detected = mag > -90, abs(mag) < 90
    flux = np.where(detected, 10 ** (-0.4 * np.where(detected, mag, 0)), 0.0)
    relative = 10 ** (0.4 * np.where(detected, error, 0)) - 1
    sigma = flux * np.hypot(relative, 10 ** (0.4 * MIN_ERROR) - 1)
    sigma = np.where(detected, sigma, 10 ** (-0.4 * np.where(observed, error, 0)))
    return flux, np.where(observed, sigma, np.inf) ** -2


def log_prior(m: np.ndarray, models: Models) -> np.ndarray:
    """log p(z, class | m) (N, Z, 3) of objects of magnitude m (N,), per grid point and template of the class."""
    m = np.clip(m, 20, 32).astype(np.float32)[:, None, None] - 20  # in single precision, three times as fast
    log_z, alpha, log_z_m = (np.float32(side) for side in (np.log(models.z)[:, None], ALPHA, np.log(Z_0 + K * m)))
    even = np.float32(np.log1p(models.z))[:, None]  # the grid is even in ln(1 + z)
    shape = alpha * log_z + even - np.exp(alpha * (log_z - log_z_m))
    shape -= np.log(np.exp(np.maximum(shape, -80)).sum(axis=1, keepdims=True))
    early = SHARE * np.exp(-K_T * m[:, 0])  # (N, 2)
    share = np.concatenate([early, 1 - early.sum(axis=1, keepdims=True)], axis=1)
    return shape + np.log(share / np.bincount(models.classes, minlength=3))[:, None]


def fit(
    mag: np.ndarray,
    error: np.ndarray,
    models: Models,
    prior_mag: np.ndarray | None = None,
    *,
    device: str = "cpu",
    densities: bool = False,
) -> dict[str, np.ndarray]:
    """Fit magnitudes (N, B) with their errors (99 and -99 as in `weighted`); all results are (N,).

    prior_mag : (N,) F814W or the like for the prior; None for a flat one.
    densities : also "p" (N, Z), how likely each point of the grid is, in any unit, per ln(1 + z).
    zb, zb_min, zb_max (95 %), tb (type of the best template at zb), odds, chi2 (of the best model at zb), log_mstar
    [dex M_sun, Chabrier] and m_abs (Johnson B, AB) by the template's mass-to-light ratio.
    Raises DataError for an object that no band has detected.
    """
    flux, weight = weighted(mag, error)
    n_detected = (flux > 0).sum(axis=1)
    if (bad := np.flatnonzero(n_detected == 0)).size:
        raise DataError("no band has detected it", remedy="Leave such objects out.", row=f"row {bad[0]}")
    # Units in which everything is near one, so that float32 will do.
    unit = flux.sum(axis=1) / n_detected
    flux, weight = flux / unit[:, None], weight * unit[:, None] ** 2
    scale = models.flux.mean(axis=-1)
    model = torch.as_tensor((models.flux / scale[..., None]).reshape(-1, flux.shape[1]).T.copy()).float().to(device)
    square, shape, found = model**2, models.flux.shape[:2], []
    for start in range(0, len(flux), BATCH):
        rows = slice(start, start + BATCH)
        f, w = (torch.as_tensor(side[rows], dtype=torch.float32, device=device) for side in (flux, weight))
        overlap, norm = (f * w) @ model, w @ square  # (n, Z * T)
        gain = overlap.clamp_(min=0).square().div_(norm).mul_(0.5).unflatten(1, shape)
        log_p = gain
        if prior_mag is not None:
            prior = torch.as_tensor(log_prior(prior_mag[rows], models), dtype=torch.float32, device=device)
            log_p = prior[:, :, models.classes].add_(gain)
        # Nothing smaller than e^-80 of the highest: numbers too small for float32 are slow, and count for nothing.
        p = (log_p - log_p.amax(dim=(1, 2), keepdim=True)).clamp_(min=-80).exp_().sum(dim=2).double()  # (n, Z)
        at, results = _summary(p.cpu().numpy(), models.z)
        row, peak = torch.arange(len(f), device=device), torch.as_tensor(at, device=device)
        best = log_p[row, peak].argmax(dim=1)
        cell = peak * shape[1] + best
        amplitude = (overlap[row, cell] / norm[row, cell]).double().cpu().numpy()
        chi2 = (f.double() ** 2 * w).sum(dim=1) - 2 * gain[row, peak, best]
        best = best.cpu().numpy()
        results |= {"chi2": chi2.clamp(min=0).cpu().numpy(), "tb": models.types[best]}
        results["log_mstar"] = np.log10(np.maximum(amplitude * unit[rows] / scale[at, best], 1e-30))
        results["m_abs"] = models.m_abs[best] - 2.5 * results["log_mstar"]
        if densities:
            results["p"] = p.cpu().numpy()
        found.append(results)
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


def _summary(p: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Grid point of the peak (n,), and the peak, the interval and the odds of p (n, Z) on a grid even in ln(1 + z)."""
    row, x, step = np.arange(len(p)), np.log1p(z), np.log1p(z[1]) - np.log1p(z[0])
    at = p.argmax(axis=1)
    # The peak between grid points: of the parabola through the logarithms of three.
    inner = np.clip(at, 1, len(z) - 2)
    left, middle, right = (np.log(np.maximum(p[row, inner + d], 1e-300)) for d in (-1, 0, 1))
    curvature = left - 2 * middle + right
    shift = np.divide(0.5 * (left - right), curvature, out=np.zeros(len(p)), where=curvature < 0)
    peak = np.where(at == inner, x[inner] + step * np.clip(shift, -0.5, 0.5), x[at])
    below = np.cumsum(p, axis=1)
    below = (below - 0.5 * p) / below[:, -1:]

    def quantile(level):
        high = np.clip((below < level).sum(axis=1), 1, len(z) - 1)
        share = (level - below[row, high - 1]) / (below[row, high] - below[row, high - 1])
        return x[high - 1] + step * np.clip(share, 0, 1)

    def cumulative(value):
        position = np.clip((value - x[0]) / step, 0, len(z) - 1.001)
        low = position.astype(int)
        return below[row, low] + (position - low) * (below[row, low + 1] - below[row, low])

    low, high = (np.expm1(quantile(level)) for level in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    zb = np.expm1(peak)
    odds = cumulative(peak + ODDS_WIDTH) - cumulative(peak - ODDS_WIDTH)
    # A peak may lie outside the central interval of a posterior with two of them.
    return at, {"zb": zb, "zb_min": np.minimum(low, zb), "zb_max": np.maximum(high, zb), "odds": odds}


def star_chi2(mag: np.ndarray, error: np.ndarray, star_mag: np.ndarray) -> np.ndarray:
    """chi^2 (N,) of the best of S stars, whose magnitudes `star_mag` (S, B) hold up to a constant each."""
    model = 10 ** (-0.4 * star_mag)
    model /= model.mean(axis=1, keepdims=True)
    flux, weight = weighted(mag, error)
    gain = np.clip((flux * weight) @ model.T, 0, None) ** 2 / (weight @ (model**2).T)
    return np.maximum((flux**2 * weight).sum(axis=1) - gain.max(axis=1), 0)


def stellar_flag(f814w: np.ndarray, fwhm: np.ndarray, chi2_star: np.ndarray, chi2_galaxy: np.ndarray) -> np.ndarray:
    """Probability (N,) of a star by colours and size (fwhm, arcsec), 0.5 beyond F814W = 22.5, as the survey has it.

    chi^2 counts a tenth: neither templates nor locus are right to the errors of bright objects.
    """
    colours = 0.05 * np.clip(chi2_galaxy - chi2_star, -400, 400)
    size = np.log(fwhm / SEEING)
    as_star = -0.5 * (size / 0.10) ** 2 - np.log(0.10)
    as_galaxy = -0.5 * ((size - 0.55) / 0.35) ** 2 - np.log(0.35)
    share = np.interp(f814w, *_STARS)
    odds = np.clip(colours + as_star - as_galaxy + np.log(share / (1 - share)), -50, 50)
    return np.where(f814w < STAR_LIMIT, 1 / (1 + np.exp(-odds)), 0.5)


def label(catalogue: Catalogue, models: Models, star_mag: np.ndarray, *, device: str = "cpu") -> Catalogue:
    """A catalogue in ALHAMBRA's columns with the columns `LABELS`, all from its photometry, as in the survey's.

    models : of templates, and star_mag (S, B) of stars (`star_chi2`), in the catalogue's bands. The prior is that of
        F814W; in a catalogue without, the last band is the one in which objects were found.
    Stell_Mass_1 in dex(M_sun), M_ABS_1 in AB magnitudes of Johnson's B. All objects are fitted as galaxies, stars too;
    Stellar_Flag says which are stars (0 galaxy, 1 star, 0.5 unknown).
    """
    mag, error = (columns(catalogue.table, [f"{prefix}{band}" for band in catalogue.bands]) for prefix in ("", "d"))
    f814w = np.asarray(catalogue.table["F814W" if "F814W" in catalogue.bands else catalogue.bands[-1]])
    found = fit(mag, error, models, f814w, device=device)
    chi2 = star_chi2(mag, error, star_mag), found["chi2"]
    table = Table(catalogue.table, copy=False)
    table["Stellar_Flag"] = stellar_flag(f814w, np.asarray(catalogue.table["fwhm"]), *chi2)
    for name in FITTED:
        table[name] = found[_CALLED.get(name, name.removesuffix("_1"))]
    return replace(catalogue, table=table)


class Grid(torch.nn.Module):
    """The `Models` of Z redshifts, T templates and B bands as numbers of a network, kept in its file."""

    def __init__(self, n_z: int, n_templates: int, n_bands: int):
        super().__init__()
        shapes = {"z": (n_z,), "types": (n_templates,), "m_abs": (n_templates,), "flux": (n_z, n_templates, n_bands)}
        for name, shape in shapes.items():
            self.register_buffer(name, torch.ones(shape, dtype=torch.float32 if name == "flux" else torch.float64))
        self.register_buffer("classes", torch.zeros(n_templates, dtype=torch.int64))

    def learn(self, models: Models) -> Self:
        """Take the models' numbers."""
        for name, buffer in self.named_buffers():
            buffer.copy_(torch.as_tensor(getattr(models, name)))
        return self

    def fit(self, mag: np.ndarray, error: np.ndarray, prior_mag: np.ndarray) -> Table:
        """Columns `FITTED` of magnitudes (N, B) with errors, as in `label`; NaN where no band has detected anything.

        prior_mag : (N,) of the prior; where it was not detected the mean of the magnitudes counts.
        """
        numbers = {name: buffer.cpu().numpy() for name, buffer in self.named_buffers()}
        models = Models(**numbers | {"flux": numbers["flux"].astype(float)})
        detected = np.abs(mag) < 90
        seen, mean = detected.any(axis=1), np.where(detected, mag, 0).sum(axis=1) / np.maximum(detected.sum(axis=1), 1)
        prior_mag = np.where(np.abs(prior_mag) < 90, prior_mag, mean)
        found = fit(mag[seen], error[seen], models, prior_mag[seen], device=str(self.flux.device)) if seen.any() else {}
        table = Table({name: np.full(len(mag), np.nan) for name in FITTED})
        for name in FITTED if found else ():
            table[name][seen] = found[_CALLED.get(name, name.removesuffix("_1"))]
        return table
