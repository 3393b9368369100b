"""A trained logGLO with all that it takes to reconstruct spectra from photometry."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from paper_utils.base.errors import DataError
from paper_utils.midir.model import GLO
from paper_utils.midir.reconstruct import recover_nearest
from paper_utils.nets.model_file import Model

QUANTILES = (0.0, 0.16, 0.5, 0.84, 1.0)


class Reconstructor(Model):
    """Photometry in given bands, of galaxies at one redshift, to F_nu at the rest wavelengths `wave_um` (L,) [um].

    Parameters
    ----------
    bands, redshift, photometry : names of the m bands, and how they see a galaxy: the arguments of `A` (m, L).
    n_starts, n_steps, lr : of the searches for a galaxy's latents, which start from its nearest training galaxies.
    glo : arguments of the GLO, whose n training latents are the pool of starts.
    `seen` (5, m) are the QUANTILES of log10 photometry of the training set.
    Fluxes are F_nu in units in which the bolometric flux, the integral of F_nu / lambda over ln lambda [um], is 1.
    """

    def __init__(
        self, bands: Sequence[str], redshift: float, photometry: str, n_starts: int, n_steps: int, lr: float, **glo
    ):
        super().__init__()
        self.bands, self.redshift = list(bands), redshift
        self.search = {"k": n_starts, "n_steps": n_steps, "lr": lr}
        self.glo = GLO(**glo)
        n_wave = len(self.glo.generator.standard.mean)
        for name, *shape in (("wave_um", n_wave), ("A", len(bands), n_wave), ("seen", len(QUANTILES), len(bands))):
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))

    def searches(self, flux: NDArray, weight: Tensor | float = 1.0) -> NDArray:
        """F_nu (n_starts, N, L) that each search ends at, from photometry F_nu (N, m).

        weight : (m,) or (N, m) of the squared residuals in log10; 0 for a band that is missing.
        Raises DataError for another number of bands.
        """
        if np.shape(flux)[1:] != (len(self.bands),):
            remedy = f"Give a row per galaxy and its {len(self.bands)} bands: {', '.join(self.bands)}."
            raise DataError(f"the photometry has shape {np.shape(flux)}", remedy=remedy)
        return recover_nearest(self.glo.generator, self.A.cpu(), flux, self.glo.s, weight=weight, **self.search)

    def predict(self, flux: NDArray, weight: Tensor | float = 1.0) -> NDArray:
        """F_nu (N, L) from photometry F_nu (N, m): the mean, in log F_nu, of all `searches`."""
        return 10 ** np.log10(self.searches(flux, weight)).mean(0)
