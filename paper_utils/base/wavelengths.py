"""Wavelengths: grids and their pixels, air and vacuum, emission lines, the resolution of the SDSS spectrograph."""

import numpy as np

from paper_utils.base.constants import C_KMS
from paper_utils.base.errors import DataError

SDSS_STEP = 1e-4 * np.log(10)  # pixels of SDSS in ln wavelength, 69 km/s
KM_S_PER_BIN = C_KMS * np.log(10) * 1e-4  # the same in km/s
# Names are the customary ones (air, rounded); wavelengths are vacuum Angstrom.
LINES = {
    "OII_3726": 3727.092, "OII_3729": 3729.875, "NeIII_3869": 3869.86, "NeIII_3967": 3968.59, "Hepsilon": 3971.195,
    "Hdelta": 4102.892, "Hgamma": 4341.684, "Hbeta": 4862.683, "OIII_4959": 4960.295, "OIII_5007": 5008.240,
    "HeI_5876": 5877.25, "OI_6300": 6302.046, "OI_6364": 6365.535, "NII_6548": 6549.85, "Halpha": 6564.61,
    "NII_6584": 6585.27, "SII_6716": 6718.29, "SII_6731": 6732.67,
}  # fmt: skip
# Weak partner / strong partner of doublets fixed by atomic physics (Storey & Zeippen 2000, 2000MNRAS.312..813S, for
# O III and N II).
DOUBLETS = {
    "OIII_4959": ("OIII_5007", 1 / 2.98), "NII_6548": ("NII_6584", 1 / 3.05), "OI_6364": ("OI_6300", 1 / 3.0),
    "NeIII_3967": ("NeIII_3869", 0.30),
}  # fmt: skip
# Line-spread function of the SDSS spectrograph: wavelength [A] and Gaussian sigma [bins], the median `wdisp` of 30 sky
# fibres.
LSF_BINS = np.array(
    [
        (3800, 1.234), (4400, 1.090), (5000, 0.967), (5800, 0.841), (5950, 0.916), (6150, 0.954), (6500, 0.910),
        (7200, 0.816), (8000, 0.735), (8600, 0.722), (9250, 0.759),
    ]
)  # fmt: skip


def lsf_km_s(wave_obs: np.ndarray) -> np.ndarray:
    """Gaussian sigma (L,) [km/s] of SDSS's line-spread function at `wave_obs` [A]: 85 in the blue, 50 in the red."""
    return KM_S_PER_BIN * np.interp(wave_obs, *LSF_BINS.T)


def air_to_vacuum(wave_air: np.ndarray) -> np.ndarray:
    """Vacuum wavelengths [Angstrom] of standard-air ones: Ciddor 1996 (1996ApOpt..35.1566C), eq. 1."""
    wave_air = np.asarray(wave_air, float)
    wave_vacuum = wave_air
    for _ in range(2):  # the refractive index is a function of the vacuum wavelength
        s2 = (1e4 / wave_vacuum) ** 2
        wave_vacuum = wave_air * (1 + 5.792105e-2 / (238.0185 - s2) + 1.67917e-3 / (57.362 - s2))
    return wave_vacuum


def sdss_grid(low: float, high: float, step: float = SDSS_STEP) -> np.ndarray:
    """Wavelengths from `low` to `high` [A] or just short of it, even in ln wavelength; a multiple of `step` each."""
    first, last = np.ceil(np.log(low) / step - 1e-6), np.floor(np.log(high) / step + 1e-6)
    return np.exp(step * np.arange(first, last + 1))


def log_grid(low: float, high: float, kms: float = KM_S_PER_BIN / 2) -> np.ndarray:
    """Wavelengths from `low` to `high` or just beyond, even in log, pixels of `kms` (default: half an SDSS one)."""
    n = int(np.ceil(np.log(high / low) / (kms / C_KMS))) + 1
    return low * np.exp(kms / C_KMS * np.arange(n))


def log_step(wave: np.ndarray, name: str = "wave_rest") -> tuple[float, float]:
    """ln of the first wavelength and the step in ln wavelength; DataError where the steps are not even."""
    log_wave = np.log(np.asarray(wave, float))
    step = (log_wave[-1] - log_wave[0]) / max(len(log_wave) - 1, 1)
    if len(log_wave) < 2 or not step > 0 or abs(np.diff(log_wave) / step - 1).max() > 1e-3:
        remedy = "Make them with paper_utils.base.wavelengths.log_grid."
        raise DataError("the wavelengths are not evenly spaced in log", remedy=remedy, row=name)
    return float(log_wave[0]), float(step)


def pixel_edges(x: np.ndarray) -> np.ndarray:
    """Pixel edges (L + 1,) midway between centres `x` (L,)."""
    middle = (x[1:] + x[:-1]) / 2
    return np.concatenate([[2 * x[0] - middle[0]], middle, [2 * x[-1] - middle[-1]]])
