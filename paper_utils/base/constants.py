"""Numbers that hold in every study."""

import numpy as np

C_KMS = 299792.458  # the speed of light [km / s]
C_AA_S = C_KMS * 1e13  # [Angstrom / s]: F_nu = F_lambda lambda^2 / c
PC = 3.0856775814913673e18  # a parsec [cm]
L_SUN = 3.828e33  # erg / s (IAU 2015)
DEEP_Z = (0.005, 5.5)  # redshifts of deep surveys, which mock, templates and fit share
FWHM = np.sqrt(8 * np.log(2))  # of a Gaussian, in units of its sigma
