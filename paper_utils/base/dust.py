"""Interstellar dust: attenuation laws, opacity, the light of warm grains and of PAHs. Arrays in, arrays out.

In the infrared one mixture serves every galaxy: the Milky Way's, R_V = 3.1 (Draine 2003, 2003ARA&A..41..241D), whose
silicates make the 9.7 and 18 um bands and whose small graphite the 2175 A bump. PAH bands are added as emission only,
so the torus, in which PAHs do not survive, takes the same opacity.
"""

from __future__ import annotations

import numpy as np

# Albedo of the Draine (2003) R_V = 3.1 mixture, read off at these wavelengths [um].
_ALBEDO = np.array(
    [
        (0.03, 0.351), (0.06, 0.225), (0.08, 0.209), (0.1, 0.273), (0.15, 0.378), (0.18, 0.457), (0.2175, 0.424),
        (0.25, 0.529), (0.3, 0.582), (0.4, 0.638), (0.55, 0.674), (0.8, 0.658), (1.25, 0.580), (1.65, 0.517),
        (2.2, 0.438), (3.0, 0.334), (4.0, 0.226), (5.0, 0.147), (7.0, 0.055), (10.0, 0.003), (20.0, 0.0),
    ]
)  # fmt: skip

# Drude profiles of the PAH bands: centre [um] and fractional width (Smith+ 2007, 2007ApJ...656..770S, table 3; 3.3 um
# from Draine & Li 2007, 2007ApJ...657..810D, table 1), and the share of the power of all bands in star-forming
# galaxies and in quiet discs, where PAHs are neutral and 11.3 um rises against 7.7 um.
PAH_BANDS = np.array(
    [
        (3.30, 0.012, 0.030, 0.020), (5.27, 0.034, 0.020, 0.015), (5.70, 0.035, 0.020, 0.015),
        (6.22, 0.030, 0.110, 0.085), (6.69, 0.070, 0.035, 0.030), (7.42, 0.126, 0.150, 0.110),
        (7.60, 0.044, 0.140, 0.105), (7.85, 0.053, 0.130, 0.100), (8.33, 0.050, 0.035, 0.035),
        (8.61, 0.039, 0.065, 0.060), (11.23, 0.012, 0.035, 0.065), (11.33, 0.032, 0.085, 0.150),
        (11.99, 0.045, 0.035, 0.050), (12.62, 0.042, 0.060, 0.080), (13.48, 0.040, 0.012, 0.020),
        (16.45, 0.014, 0.008, 0.012), (17.04, 0.065, 0.030, 0.048),
    ]
)  # fmt: skip


# Calzetti+ 2000 (2000ApJ...533..682C): R_V of the stars, and their E(B-V) over that of the gas, which lies behind a
# screen of the Milky Way's R_V.
R_V_STARS, R_V_GAS, STARS_PER_GAS = 4.05, 3.1, 0.44


def attenuation(wave_rest: np.ndarray) -> np.ndarray:
    """A_lambda / A_V (L,) at `wave_rest` [vacuum Angstrom]: Calzetti+ 2000 (2000ApJ...533..682C), eq. 4, R_V = 4.05.

    Held at zero from 2.27 um on, where the polynomial turns negative; below 0.12 um it is extrapolated, to 912 A.
    """
    x = 1e4 / np.maximum(np.asarray(wave_rest, float), 912.0)
    red = 2.659 * (-1.857 + 1.040 * x)
    blue = 2.659 * (-2.156 + 1.509 * x - 0.198 * x**2 + 0.011 * x**3)
    return np.maximum(np.where(x < 1 / 0.63, red, blue) + R_V_STARS, 0) / R_V_STARS


def line_attenuation(wave_rest: np.ndarray) -> np.ndarray:
    """Attenuation of line light at `wave_rest` [vacuum Angstrom] in units of the stars' A_V, (L,).

    The Milky Way's law for the gas, whose E(B-V) is 1/0.44 of the stars'.
    """
    return galactic(wave_rest) / (R_V_STARS * STARS_PER_GAS)


def galactic(wave: np.ndarray) -> np.ndarray:
    """A_lambda / E(B-V) (L,) of Milky Way dust at `wave` [vacuum Angstrom, 910 A to 6 um; 0 beyond].

    Fitzpatrick 1999 (1999PASP..111...63F) with R_V = 3.1.
    """
    import astropy.units as u
    from dust_extinction.parameter_averages import F99

    # F99 covers 0.3 to 10 per um; at 6 um there is next to nothing left, below 1000 A the law is held.
    x = np.clip(1e4 / np.asarray(wave, float), 0.3, 10.0)
    return np.where(1e4 / np.asarray(wave, float) < 1 / 6, 0.0, R_V_GAS * F99(R_V_GAS)(x / u.um))


def opacity(wave_um: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Extinction and absorption (L,) at `wave_um` [um], both in units of the extinction at 0.55 um.

    Continued as a power law beyond 10 000 um, where the tabulated mixture ends.
    """
    import astropy.units as u
    from dust_extinction.grain_models import D03

    nodes = np.geomspace(1e-3, 9.9e3, 4000)
    nodes = nodes[(nodes < 5.7) | (nodes > 7.0)]  # bridges the mixture's own PAH bump: emission is added apart
    log_extinction = np.log(D03("MWRV31")(nodes * u.um))
    slope = (log_extinction[-1] - log_extinction[-200]) / np.log(nodes[-1] / nodes[-200])
    wave = np.asarray(wave_um, float)
    tail = np.clip(np.log(wave / nodes[-1]), 0, None) * slope
    extinction = np.exp(np.interp(np.log(wave), np.log(nodes), log_extinction) + tail)
    albedo = np.interp(np.log(wave), np.log(_ALBEDO[:, 0]), _ALBEDO[:, 1])
    return extinction, extinction * (1 - albedo)


def silicate_bands(wave_um: np.ndarray) -> np.ndarray:
    """The part (L,) of `opacity`'s absorption that silicates add at 9.7 and 18 um, zero outside 7.2-40 um.

    What exceeds a power law between those two wavelengths, where the bands begin and end. At 9.7 um it makes
    A_V / tau = 16, as in the diffuse Milky Way (18 +- 2, Roche & Aitken 1984, 1984MNRAS.208..481R).
    """
    wave = np.asarray(wave_um, float)
    ends = np.array([7.2, 40.0])
    carbon = np.exp(np.interp(np.log(wave), np.log(ends), np.log(opacity(ends)[1])))
    return np.where((wave > ends[0]) & (wave < ends[1]), np.maximum(opacity(wave)[1] - carbon, 0), 0)


def planck(temperature: np.ndarray, wave_um: np.ndarray) -> np.ndarray:
    """B_nu (T, L) at `temperature` [K] up to a factor common to all temperatures and wavelengths."""
    # Held at e^-150 deep in the Wien tail: smaller numbers matter to nobody and slow the processor down.
    x = np.minimum(14387.769 / (np.asarray(wave_um) * np.asarray(temperature)[:, None]), 150.0)
    return 1.0 / (np.asarray(wave_um) ** 3 * np.expm1(x))


def pah_spectrum(wave_um: np.ndarray, *, neutral: bool = False) -> np.ndarray:
    """F_nu (L,) of the PAH bands, averaged over the bins of the logarithmic grid `wave_um` [um], arbitrary scale.

    Bins may be wider than a band: averaging, not sampling, keeps every band's power.
    """
    profiles = drude(wave_um, PAH_BANDS[:, 0], PAH_BANDS[:, 1])
    # A Drude profile of unit peak holds power pi/2 gamma nu_0: divide by it to make shares of power.
    return (PAH_BANDS[:, 3 if neutral else 2] / PAH_BANDS[:, 1] * PAH_BANDS[:, 0]) @ profiles


def drude(wave_um: np.ndarray, centre_um: np.ndarray, gamma: np.ndarray) -> np.ndarray:
    """Drude profiles of unit peak (B, L) in F_nu, averaged over the bins of `wave_um` [um]."""
    log_wave = np.log(np.asarray(wave_um, float))
    steps = np.diff(log_wave)
    edges = np.concatenate([log_wave[:1] - steps[:1] / 2, log_wave[:-1] + steps / 2, log_wave[-1:] + steps[-1:] / 2])
    inside = (np.arange(24) + 0.5) / 24
    fine = np.exp(edges[:-1, None] + np.diff(edges)[:, None] * inside)  # (L, 24)
    centre, width = np.asarray(centre_um)[:, None, None], np.asarray(gamma)[:, None, None]
    return (width**2 / ((fine / centre - centre / fine) ** 2 + width**2)).mean(axis=2)
