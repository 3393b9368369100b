"""A small stellar population synthesis: the starlight of study 1, from 1 Myr to 14 Gyr and down to the ionising light.

Single stars of solar metallicity (other metals to first order), Salpeter IMF. Stars on the main sequence follow
analytic zero-age luminosities and radii (Tout+ 1996, 1996MNRAS.281..257T) and lifetimes (Hurley+ 2000,
2000MNRAS.315..543H, eq. 4); stars that have just left it are counted by the fuel they burn (Renzini & Buzzoni 1986):
their number in a phase is the death rate times the time spent there. Photospheres are black bodies with Lyman and
Balmer jumps and a smooth metal blanketing in the blue, rescaled to keep sigma T^4. Jumps, blanketing and the energies
of the late phases were set by hand, with the optical colours of Maraston & Stroemback 2011 (2011MNRAS.418.2785M) in
view. There are no lines, no binaries and no dust: broad-band light is what it is good for.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from paper_utils.base.constants import C_KMS
from paper_utils.base.dust import planck

AGES_GYR = np.geomspace(1e-3, 14.0, 84)  # (84,) ages of the tabulated single-burst populations
IMF_SLOPE, IMF_RANGE = 2.35, (0.1, 120.0)  # Salpeter 1955, solar masses
_T_GRID = np.geomspace(1500.0, 2e5, 160)  # photospheres are tabulated on this grid of effective temperature [K]
_T_SUN = 5772.0


def zams_luminosity(mass: np.ndarray) -> np.ndarray:
    """Zero-age main-sequence luminosity [L_sun] of `mass` [M_sun] at solar metallicity (Tout+ 1996, eq. 1)."""
    m = np.asarray(mass, float)
    return (0.39704170 * m**5.5 + 8.52762600 * m**11) / (
        0.00025546 + m**3 + 5.43288900 * m**5 + 5.56357900 * m**7 + 0.78866060 * m**8 + 0.00586685 * m**9.5
    )


def zams_radius(mass: np.ndarray) -> np.ndarray:
    """Zero-age main-sequence radius [R_sun] of `mass` [M_sun] at solar metallicity (Tout+ 1996, eq. 2)."""
    m = np.asarray(mass, float)
    return (
        1.71535900 * m**2.5 + 6.59778800 * m**6.5 + 10.08855000 * m**11 + 1.01249500 * m**19 + 0.07490166 * m**19.5
    ) / (0.01077422 + 3.08223400 * m**2 + 17.84778000 * m**8.5 + m**18.5 + 0.00022582 * m**19.5)


def lifetime(mass: np.ndarray) -> np.ndarray:
    """Time to the base of the giant branch [Gyr] of `mass` [M_sun] at solar metallicity (Hurley+ 2000, eq. 4)."""
    m = np.asarray(mass, float)
    myr = (1593.890 + 2706.708 * m**4 + 146.6143 * m**5.5 + m**7) / (0.04141960 * m**2 + 0.3426349 * m**7)
    return myr * 1e-3


def photospheres(temperature: np.ndarray, wave_um: np.ndarray, metals: float = 0.0) -> np.ndarray:
    """L_nu of stars of 1 L_sun [L_sun / Hz], (T, L), at effective `temperature` [K] and `wave_um` [um].

    Black bodies times the Lyman jump (B stars hide their ionising light, O stars do not), the Balmer jump of A and B
    stars and the metal lines of cool stars, which deepen towards the ultraviolet; each is rescaled to its sigma T^4.
    `metals` [M/H]: a star that has `temperature` at solar metallicity is 0.05 dex cooler for each dex of metals, and
    its lines deepen as their square root: to first order what the colours of Maraston & Stroemback 2011 do.
    """
    temperature = np.asarray(temperature) * 10 ** (-0.05 * metals)
    # The rescaling integral needs the whole spectrum, whatever wavelengths the caller wants.
    full = np.geomspace(5e-3, 1e3, 2500)
    blanket_full, blanket = (_blanketing(temperature, wave, metals) for wave in (full, wave_um))
    nu = C_KMS * 1e9 / full
    total = np.trapezoid(planck(temperature, full) * blanket_full * nu, np.log(full), axis=1)
    return planck(temperature, wave_um) * blanket / total[:, None]


def _blanketing(temperature: np.ndarray, wave_um: np.ndarray, metals: float) -> np.ndarray:
    """Transmission of the stellar atmosphere against a black body, (T, L)."""
    t, wave = np.asarray(temperature)[:, None], np.asarray(wave_um)[None, :]
    lyman = 10 ** (-2.2 / (1.0 + (t / 33e3) ** 6))  # dex; ~0.1 at 50 000 K
    balmer = 10 ** (-0.52 * np.exp(-0.5 * (np.log(t / 10.5e3) / 0.45) ** 2))
    below_balmer = _step(0.3700, wave) * balmer + (1 - _step(0.3700, wave))
    cool = 1.0 / (1.0 + (t / 6300.0) ** 8)
    lines = 0.20 * _step(0.395, wave) + 0.08 * _step(0.44, wave) + 1.8 * np.clip(np.log(0.45 / wave), 0, 1.5)  # mag
    return np.where(wave < 0.0912, lyman, 1.0) * below_balmer * 10 ** (-0.4 * cool * lines * 10 ** (0.5 * metals))


def _step(edge_um: float, wave_um: np.ndarray) -> np.ndarray:
    """1 shortward of `edge_um`, 0 longward, over 1.5 % in wavelength: real jumps are blurred by crowded lines."""
    return 1.0 / (1.0 + (np.asarray(wave_um) / edge_um) ** 66)


@lru_cache(maxsize=1)
def _population() -> np.ndarray:
    """Luminosity per unit formed mass in bins of photospheric temperature, (84 ages, 160 T) [L_sun / M_sun]."""
    weights = np.zeros((AGES_GYR.size, _T_GRID.size))
    low, high = IMF_RANGE
    norm = (2 - IMF_SLOPE) / (high ** (2 - IMF_SLOPE) - low ** (2 - IMF_SLOPE))
    for row, age in zip(weights, AGES_GYR, strict=True):
        turnoff = _turnoff_mass(age)
        mass = np.geomspace(low, min(turnoff, high), 600)
        number = norm * mass ** (1 - IMF_SLOPE) * np.gradient(np.log(mass))
        phase = np.clip(age / lifetime(mass), 0, 1)
        luminosity, temperature = main_sequence(mass, phase)
        row += _shared(temperature[None], (number * luminosity)[None], _T_GRID)[0]
        if turnoff < high:
            slope = np.log(lifetime(turnoff * 1.001) / lifetime(turnoff)) / np.log(1.001)
            death_rate = norm * turnoff ** (1 - IMF_SLOPE) / (age * -slope)  # stars / Gyr / M_sun
            energy, temperature = after_main_sequence(turnoff)
            row += _shared(temperature[None], (death_rate * energy)[None], _T_GRID)[0]
    return weights


def main_sequence(mass: np.ndarray, phase: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Luminosity [L_sun] and effective temperature [K] at fraction `phase` of the life on the main sequence.

    Brightening by 0.4 dex and swelling by 0.35 dex until the turn-off; the Sun (phase 0.4) comes out at 1 L_sun, 5800
    K.
    """
    luminosity = zams_luminosity(mass) * 10 ** (0.40 * phase)
    radius = zams_radius(mass) * 10 ** (0.35 * phase**2)
    return luminosity, _T_SUN * (luminosity / radius**2) ** 0.25


def after_main_sequence(mass: float) -> tuple[np.ndarray, np.ndarray]:
    """Energies [L_sun Gyr] that a star of `mass` [M_sun] radiates after the main sequence, and temperatures [K]."""
    life = lifetime(mass)
    turnoff_l, turnoff_t = (float(v) for v in main_sequence(np.array(mass), np.array(1.0)))
    steps = np.linspace(0, 1, 12)
    energy, temperature = [], []

    def add(e, t):
        energy.extend(np.broadcast_to(e, np.shape(t)))
        temperature.extend(t)

    low_mass = 1.0 / (1.0 + (mass / 2.0) ** 12)  # helium ignites in a degenerate core below ~2 M_sun
    high_mass = 1.0 / (1.0 + (8.0 / mass) ** 8)
    # Crossing to the giants.
    add(0.10 * life * low_mass * turnoff_l / 12, turnoff_t * (4900.0 / turnoff_t) ** steps)
    # First ascent: dt ~ L^(1/7 - 1) dlnL as the core grows by 0.28 M_sun of burnt hydrogen (L ~ M_core^7).
    log_l = np.log10(5.0) + steps * (3.4 - np.log10(5.0))
    share = 10 ** (log_l / 7)
    add(17.0 * low_mass * share / share.sum(), 10 ** (3.705 - 0.055 * (log_l - 0.7) - 0.006 * (log_l - 0.7) ** 2))
    # Core helium burning: the red clump, or blue loops of intermediate masses.
    loops = 0.45 * (2.5 / mass) ** 1.5 * life * turnoff_l
    clump = low_mass * 0.11 * 55 + (1 - low_mass) * (1 - high_mass) * loops
    add(clump / 12, np.linspace(4500, 5000 * max(mass / 3.5, 1.0) ** 0.8, 12))
    # Asymptotic giant branch.
    log_l = 2.0 + steps * 1.8
    share = 10 ** (log_l / 7)
    add(6.0 * (1 - high_mass) * share / share.sum(), 10 ** (3.64 - 0.065 * (log_l - 2.0)))
    # On the way to a white dwarf: 25 000 yr at 4000 L_sun, the ultraviolet of old populations.
    add((1 - high_mass) * 0.1 / 12, 3e4 * (1.2e5 / 3e4) ** steps)
    # Supergiants: a tenth of the life, mostly red below 25 M_sun, Wolf-Rayet stars above 40.
    hot = 1.0 / (1.0 + (35.0 / mass) ** 6)
    super_l = high_mass * 0.08 * life * 1.5 * turnoff_l
    add(super_l * 0.65 * (1 - hot) / 12, np.linspace(3500, 4200, 12))
    add(super_l * 0.35 * (1 - hot) / 12, np.geomspace(7000, 22000, 12))
    add(super_l * hot / 12, np.geomspace(3e4, 7e4, 12))
    return np.array(energy), np.array(temperature)


def _turnoff_mass(age: float) -> float:
    mass = np.geomspace(0.5, 300, 4000)
    return float(np.exp(np.interp(-np.log(age), -np.log(lifetime(mass)), np.log(mass))))


def _shared(x: np.ndarray, weight: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """Spread `weight` at `x`, both (N, K), over `nodes` (M,), linearly in log, held at the ends: (N, M)."""
    at = np.interp(np.log(x), np.log(nodes), np.arange(nodes.size))
    low = np.minimum(at.astype(int), nodes.size - 2)
    shares, rows = np.zeros((len(x), nodes.size)), np.arange(len(x))[:, None]
    np.add.at(shares, (rows, low), weight * (1 - (at - low)))
    np.add.at(shares, (rows, low + 1), weight * (at - low))
    return shares


def ssp(age_gyr: np.ndarray, wave_um: np.ndarray, metals: float = 0.0) -> np.ndarray:
    """L_nu of single-burst populations per solar mass formed, (N, L) [L_sun / Hz / M_sun].

    `age_gyr` (N,) between 1 Myr and 14 Gyr (held at the ends outside), `wave_um` (L,) [um], rest frame, vacuum;
    `metals` [M/H] as in `photospheres`.
    """
    age = np.atleast_1d(np.asarray(age_gyr, float))[:, None]
    return _shared(age, np.ones_like(age), AGES_GYR) @ _population() @ photospheres(_T_GRID, wave_um, metals)


def starlight(age_gyr: np.ndarray, tau_gyr: np.ndarray, wave_um: np.ndarray, *, delayed: bool = False) -> np.ndarray:
    """L_nu of galaxies per solar mass formed, (N, L) [L_sun / Hz / M_sun].

    Star formation began `age_gyr` (N,) ago and went as exp(-t / tau), or t exp(-t / tau) if `delayed`, with `tau_gyr`
    (N,).
    """
    return formed(age_gyr, tau_gyr, delayed=delayed) @ _population() @ photospheres(_T_GRID, wave_um)


def formed(age_gyr: np.ndarray, tau_gyr: np.ndarray, *, delayed: bool = False) -> np.ndarray:
    """Share of the stars of such galaxies that have each of AGES_GYR, (N, 84)."""
    age, tau = np.broadcast_arrays(np.atleast_1d(age_gyr).astype(float), np.atleast_1d(tau_gyr).astype(float))
    youngest = np.minimum(AGES_GYR[0], age / 2)[:, None]
    edges = youngest * (age[:, None] / youngest) ** np.linspace(0, 1, 128)  # (N, 128) of stellar age
    edges = np.concatenate([np.zeros_like(youngest), edges], axis=1)
    x = (age[:, None] - edges) / tau[:, None]  # time since the onset
    mass = -np.diff((1 - np.exp(-x)) if not delayed else 1 - (1 + x) * np.exp(-x), axis=1)
    mass = mass / mass.sum(axis=1, keepdims=True)
    middle = 0.5 * (edges[:, 1:] + edges[:, :-1])
    return _shared(middle, mass, AGES_GYR)
