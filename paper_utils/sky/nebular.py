"""The light of ionised gas: emission-line luminosities of galaxies, and lines drawn on pixels.

H alpha follows the star-formation rate, the Balmer lines case B, the metal lines the gas metallicity and the ionisation
parameter. Old stars light some gas too, a third of what retired galaxies show; gas lit by an active nucleus is added
in proportion to its share of H beta. The two make the wings of the BPT diagram.
"""

from __future__ import annotations

import numpy as np
import torch
from astropy.table import Table

from paper_utils.base import dust
from paper_utils.base.constants import C_KMS
from paper_utils.base.errors import DataError
from paper_utils.base.wavelengths import DOUBLETS, LINES, pixel_edges
from paper_utils.sky.populations import checked

# log L(H alpha) [erg/s] of 1 M_sun/yr (Kennicutt & Evans 2012, 2012ARA&A..50..531K, table 1: Kroupa IMF, which a
# Chabrier IMF follows within a few per cent).
LOG_HALPHA_PER_SFR = 41.27
# Case B at 1e4 K and low density, relative to H beta (Osterbrock & Ferland 2006, table 4.4).
BALMER = {"Halpha": 2.86, "Hbeta": 1.0, "Hgamma": 0.468, "Hdelta": 0.259, "Hepsilon": 0.159}
# [S II] and [O II] at the low density of galaxy-wide gas (n_e of some tens per cm3).
SII_6716_SHARE, OII_3729_SHARE = 1.35 / 2.35, 1.35 / 2.35

# Maiolino+ 2008 (2008A&A...488..463M), table 4: log ratio as a polynomial in x = 12 + log(O/H) - 8.69.
_MAIOLINO = {
    "NII_6584/Ha": (-0.7732, 1.2357, -0.2811, -0.7201, -0.3330),
    "OIII_5007/Hb": (0.1549, -1.5031, -0.9790, -0.0297),
    "OII/Hb": (0.5603, 0.0450, -1.8017, -1.8434, -0.6549),
    "NeIII_3869/OII": (-1.2608, -1.0861, -0.1470),
}
# Curti+ 2020 (2020MNRAS.491..944C), table 2, in their x. Their metallicities are on another scale, so the two serve
# only as the relation between [S II] and [N II].
_CURTI_N2 = (-0.489, 1.513, -2.554, -5.293, -2.867)
_CURTI_S2 = (-0.442, -0.360, -6.271, -8.339, -3.559)
# d log(ratio) / d log U at fixed O/H, rounded from photoionisation grids such as Kewley & Dopita 2002
# (2002ApJS..142...35K); together they give [O III]/[O II] the slope 1.25 of Diaz+ 2000 (2000MNRAS.318..462D).
_U_SLOPE = {"NII_6584/Ha": -0.35, "OIII_5007/Hb": 0.85, "OII/Hb": -0.40, "NeIII_3869/OII": 1.25, "SII/Ha": -0.5}
# [O I] of star-forming galaxies lies this far below [S II] (dex); read off SDSS diagrams (Kewley+ 2006).
_OI_OVER_SII = -1.05

# Gas lit by an active nucleus alone: log ratios where the two wings of the SDSS diagrams end (read off Kewley+ 2006,
# 2006MNRAS.372..961K, figs. 1-5), at 12 + log(O/H) = 9.0.
_ACTIVE = {
    "seyfert": {"NII_6584/Ha": 0.0, "OIII_5007/Hb": 1.02, "OII/Hb": 0.45, "NeIII_3869/OII": -0.5, "SII/Ha": -0.30,
                "OI/Ha": -0.85},
    "liner": {"NII_6584/Ha": 0.12, "OIII_5007/Hb": 0.38, "OII/Hb": 0.75, "NeIII_3869/OII": -0.9, "SII/Ha": 0.08,
              "OI/Ha": -0.55},
}  # fmt: skip
ACTIVE_DECREMENT = 3.1  # H alpha / H beta of active nuclei (Gaskell & Ferland 1984, 1984PASP...96..393G)

# Columns of the truth table and the range of each; a share of H beta below all of it.
RANGES = {
    "log_sfr": (-30, 10), "oh": (0, 15), "log_u": (-10, 5), "a_v": (0, 50), "agn_strength": (0, 1 - 1e-9),
    "log_mstar": (0, 15), "old_gas": (0, 40),
}  # fmt: skip
# L_lambda at 5100 A [1/A] of a Seyfert's hidden continuum that is scattered into sight, over L([O III]): 1 % (Zakamska+
# 2006, 2006AJ....132.1496Z) of lambda L_lambda = 390 L([O III]) (Heckman+ 2004, 2004ApJ...613..109H, whose bolometric
# luminosity of 3500 is 9 lambda L_lambda). F_lambda goes as lambda^-1.5, F_nu as nu^-0.5 (Cid Fernandes+ 2004,
# 2004MNRAS.355..273C); the host's dust is taken to leave it alone.
SCATTERED, SCATTERED_SLOPE = 0.01 * 390 / 5100, -1.5
_TOGETHER = 256  # galaxies whose lines are drawn at once


def log_u_sequence(oh: np.ndarray) -> np.ndarray:
    """Mean ionisation parameter log U at 12 + log(O/H) `oh`: U falls as Z^-0.8 (Dopita+ 2006, 2006ApJ...647..244D).

    The level, -3.0 at 12 + log(O/H) = 8.69, is that of Orsi+ 2014 (2014MNRAS.443..799O).
    """
    return -3.0 - 0.8 * (np.asarray(oh, float) - 8.69)


def luminosities(params: Table, *, attenuated: bool = True, seen=(1.0, 1.0, 1.0)) -> np.ndarray:
    """Line luminosities of the galaxies of a truth table, (N, n_lines) float64 [erg/s], in the order of `LINES`.

    Uses the columns of `RANGES` and agn_class of `galaxies.draw`. The star-forming part has log L(H alpha) = log_sfr +
    41.27, the gas of old stars old_gas + log_mstar with the ratios of LINERs (Stasinska+ 2008, 2008MNRAS.391L..29S); an
    active nucleus adds H beta until its share is `agn_strength`. `seen` : what share of the light of the three, numbers
    or (N,), is wanted, as in an aperture. As emitted if not `attenuated`, otherwise behind the
    dust that `a_v` [mag, of the stars] implies for the gas.
    Raises DataError if a column is missing, a class unknown or a strength outside 0 <= s < 1.
    """
    p = checked(params, RANGES, "The light of gas", text=("agn_class",))
    oh, log_u = p["oh"], p["log_u"]
    kind = np.asarray(params["agn_class"]).astype(str)
    if unknown := set(kind) - {"none", *_ACTIVE}:
        raise DataError(
            f"agn_class {sorted(unknown)[0]!r} is unknown", remedy='Use "none", "seyfert" or "liner".', row="agn_class"
        )
    young, old, active = (part * share for part, share in zip(_hbeta(p), seen, strict=True))
    lines = young[:, None] * _star_forming(oh, log_u)
    for name, ratios in _ACTIVE.items():
        hbeta = np.where(kind == name, active, 0) + (old if name == "liner" else 0)
        rows = hbeta > 0
        lines[rows] += hbeta[rows, None] * _active(ratios, oh[rows], log_u[rows])
    if attenuated:
        lines *= 10 ** (-0.4 * p["a_v"][:, None] * dust.line_attenuation(list(LINES.values())))
    return lines


def scattered(params: Table) -> np.ndarray:
    """L_lambda at 5100 A [erg/s/A] of the light that Seyfert nuclei scatter into sight, (N,); 0 for other galaxies."""
    active = _hbeta(checked(params, RANGES, "The light of nuclei", text=("agn_class",)))[2]
    seyfert = np.asarray(params["agn_class"]).astype(str) == "seyfert"
    return np.where(seyfert, SCATTERED * 10 ** _ACTIVE["seyfert"]["OIII_5007/Hb"] * active, 0.0)


def _hbeta(p: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """L(H beta) [erg/s] as emitted by the gas around young stars, around old ones and around the nucleus, (N,) each."""
    young = 10 ** (p["log_sfr"] + LOG_HALPHA_PER_SFR) / BALMER["Halpha"]
    old = 10 ** (p["log_mstar"] + p["old_gas"]) / ACTIVE_DECREMENT
    return young, old, (young + old) * p["agn_strength"] / (1 - p["agn_strength"])


def _star_forming(oh: np.ndarray, log_u: np.ndarray) -> np.ndarray:
    """Line ratios to H beta of gas around young stars, (N, n_lines)."""
    # Within what Maiolino+ 2008 calibrated, 7.5-9.2; bent towards the upper end, where a cut would pile galaxies up.
    x = np.maximum(oh - 8.69, -1.2)
    x = x - 0.08 * np.logaddexp(0, (x - 0.5) / 0.08)
    log = {name: np.polynomial.polynomial.polyval(x, c) for name, c in _MAIOLINO.items()}
    curti = np.linspace(-1.1, 0.15, 200)  # [N II] rises with O/H over this range
    n2, s2 = (np.polynomial.polynomial.polyval(curti, c) for c in (_CURTI_N2, _CURTI_S2))
    log["SII/Ha"] = np.interp(log["NII_6584/Ha"], n2, s2)
    excess = log_u - log_u_sequence(oh)
    log = {name: value + _U_SLOPE[name] * excess for name, value in log.items()}
    log["OI/Ha"] = log["SII/Ha"] + _OI_OVER_SII
    return _lines(log, BALMER["Halpha"])


def _active(ratios: dict[str, float], oh: np.ndarray, log_u: np.ndarray) -> np.ndarray:
    """Line ratios to H beta of gas lit by an active nucleus, (N, n_lines).

    Nitrogen, a secondary element, follows O/H, the low-ionisation metals half as steeply (by hand); the galaxy's
    residual in U stands in for that of the nuclear gas. Both spread the wings, whose ends would otherwise be points.
    """
    excess = log_u - log_u_sequence(oh)
    log = {name: value + _U_SLOPE.get(name, -0.5) * excess for name, value in ratios.items()}
    for name, slope in (("NII_6584/Ha", 1.0), ("SII/Ha", 0.5), ("OI/Ha", 0.5)):
        log[name] = log[name] + slope * np.clip(oh - 9.0, -0.6, 0.3)
    return _lines(log, ACTIVE_DECREMENT)


def _lines(log: dict[str, np.ndarray], decrement: float) -> np.ndarray:
    """Ratios to H beta of all `LINES`, (N, n_lines), from the logarithmic ratios of the strong ones."""
    ratio = {name: 10**value for name, value in log.items()}
    n = len(ratio["OII/Hb"])
    line = {name: np.full(n, value) for name, value in BALMER.items()} | {"Halpha": np.full(n, decrement)}
    line["NII_6584"], line["OI_6300"] = (ratio[name] * decrement for name in ("NII_6584/Ha", "OI/Ha"))
    line["OIII_5007"], line["NeIII_3869"] = ratio["OIII_5007/Hb"], ratio["NeIII_3869/OII"] * ratio["OII/Hb"]
    line["SII_6716"] = ratio["SII/Ha"] * decrement * SII_6716_SHARE
    line["SII_6731"] = ratio["SII/Ha"] * decrement * (1 - SII_6716_SHARE)
    line["OII_3729"], line["OII_3726"] = ratio["OII/Hb"] * OII_3729_SHARE, ratio["OII/Hb"] * (1 - OII_3729_SHARE)
    line["HeI_5876"] = np.full(n, 0.12)  # case B at He/H = 0.09
    for weak, (strong, share) in DOUBLETS.items():
        line[weak] = line[strong] * share
    return np.stack([line[name] for name in LINES], axis=1)


def profiles(
    luminosities, wave: np.ndarray, sigma_kms, onto: torch.Tensor | None = None, z: np.ndarray | float = 0.0
) -> torch.Tensor:
    """Gaussian lines averaged over pixels, (N, L): the unit of `luminosities` per Angstrom.

    luminosities : (N, n_lines) array or tensor, in the order of `LINES`; a tensor keeps its device and dtype. erg/s
        overflow float32: give float64, solar luminosities or fluxes.
    wave : (L,) pixel centres, vacuum Angstrom, increasing, where the lines have redshift z. Pixels meet half-way in log
        wavelength.
    z : (N,), or one number; the result is per Angstrom in the rest frame whatever it is.
    sigma_kms : (N,) or (N, n_lines) dispersion in log wavelength, instrument included where one observes [km/s].
    onto : (N, L) contiguous spectra to which the lines are added in place, and which are returned; otherwise they are
        alone. On a GPU the last bit of overlapping lines depends on chance.
    Each pixel holds the integral of the line over it, so that flux is conserved however narrow a line is; what falls
    off the grid is lost. Raises DataError for shapes and wavelengths that cannot be.
    """
    light = torch.as_tensor(luminosities)
    sigma = torch.as_tensor(sigma_kms, dtype=light.dtype, device=light.device)
    sigma = (sigma[:, None] if sigma.ndim == 1 else sigma).expand(light.shape).clamp_min(1e-2) / C_KMS
    wave = np.asarray(wave, float)
    if light.ndim != 2 or light.shape[1] != len(LINES):
        raise DataError(
            f"the luminosities have shape {tuple(light.shape)}", remedy=f"Give (N, {len(LINES)}), one column per line."
        )
    if wave.ndim != 1 or wave.size < 2 or not (wave[0] > 0 and (np.diff(wave) > 0).all()):
        raise DataError("the wavelengths do not increase", remedy="Sort them and drop repeated ones.", row="wave")
    edges = torch.as_tensor(pixel_edges(np.log(wave)), device=light.device)
    width = edges.exp().diff().to(light.dtype)
    out = torch.zeros(len(light), wave.size, dtype=light.dtype, device=light.device) if onto is None else onto
    centres = torch.as_tensor(np.log(list(LINES.values())), device=light.device)
    shift = torch.as_tensor(np.broadcast_to(np.log1p(z), len(light)).copy(), device=light.device)
    if not len(light):
        return out
    # Galaxies of similar width together: the widest of them decides how many pixels a line is drawn on.
    for rows in sigma.amax(dim=1).argsort().split(_TOGETHER):
        broad, bright = sigma[rows], light[rows] * shift[rows, None].exp().to(light.dtype)
        # The pixels from 6 sigma below to 6 sigma above; beyond the grid they have no width and get nothing.
        centre, reach = centres + shift[rows, None], 6 * broad.double()
        first = torch.searchsorted(edges, centre - reach, right=True) - 1  # (n, n_lines)
        last = torch.searchsorted(edges, centre + reach)
        at = first[..., None] + torch.arange(int((last - first).max()) + 1, device=light.device)
        at = at.clamp_(0, wave.size)  # (n, n_lines, pixels + 1)
        # The small difference is taken in float64: float32 cannot tell neighbouring edges in log wavelength.
        offset = (edges[at] - centre[..., None]).to(light.dtype)
        drawn = offset.div_(2**0.5 * broad[..., None]).erf_().diff(dim=-1).mul_(0.5 * bright[..., None])
        at = at[..., :-1].clamp(max=wave.size - 1)
        out.view(-1).index_add_(0, (rows[:, None, None] * wave.size + at).flatten(), drawn.div_(width[at]).flatten())
    return out
