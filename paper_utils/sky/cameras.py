"""The cameras of two surveys: bands, pixels, seeing, and the noise of sky and photons. Fluxes in nanomaggies (nmgy).

A star's image is a core and a wing, both Gaussian; share and width of the wing are those of bright stars in SDSS's r,
whose light within 2 to 6 pixels they give to 3 % of the whole. The noise of a pixel is that of its photons and of the
sky's; its size follows from the depth, the flux of a star at which PSF photometry reaches a signal-to-noise ratio of 5.

SDSS: York+ 2000 (2000AJ....120.1579Y), stacks of one; Pan-STARRS1 3 pi: Chambers+ 2016 (2016arXiv161205560C), stacks of
about ten. FWHM and depth are the surveys' medians, sky levels typical of dark time at the two sites. Real stamps that
were resampled have noise correlated between neighbouring pixels (by 0.35 to 0.4 in resampled SDSS frames) and lower by
as much; here it is white, and everywhere of the survey's median.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy.optimize import brentq

from paper_utils.base.errors import DataError

WING_SHARE, WING_WIDTH = 0.17, 2.8  # of the flux; over the core's


@dataclass(frozen=True)
class Camera:
    """A survey's camera and the stamps cut from it; `dataclasses.replace` makes others (size, pixel_scale, fwhm ...).

    bands : (B,) names, r among them.   curves : (B,) their transmission curves in sedpy.
    pixel_scale : arcsec.   size : pixels on a side.   fwhm : (B,) arcsec, of the PSF before it falls on pixels.
    depth : (B,) AB magnitude of a star at 5 sigma.   sky : (B,) AB mag / arcsec^2.   wing_share : of the PSF's flux.
    """

    name: str
    bands: tuple[str, ...]
    curves: tuple[str, ...]
    pixel_scale: float
    size: int
    fwhm: tuple[float, ...]
    depth: tuple[float, ...]
    sky: tuple[float, ...]
    wing_share: float = WING_SHARE

    def __post_init__(self):
        for what in ("curves", "fwhm", "depth", "sky"):
            if (n := len(getattr(self, what))) != (wanted := len(self.bands)):
                raise DataError(f"{n} values of {what}", remedy=f"Give one for each of the {wanted} bands.", row=what)
        if "r" not in self.bands:
            raise DataError("no band is called r", remedy="Bulge shares are defined in r.", row="bands")
        if self.size < 1 or not self.pixel_scale > 0 or not min(self.fwhm) > 0 or not 0 <= self.wing_share < 1:
            raise DataError(
                f"{self.name} has size {self.size}, pixel_scale {self.pixel_scale}, fwhm {self.fwhm}, wing_share "
                f"{self.wing_share}",
                remedy="Size, scale and widths are positive, and the wing's share is below 1.",
            )

    def psf(self) -> tuple[np.ndarray, np.ndarray]:
        """The PSF's two Gaussians: variances (2, B) [pixels^2] and shares of the flux (2,)."""
        core = np.array(self.fwhm) / self.pixel_scale / (2 * _half_width(self.wing_share))
        return np.stack([core**2, (WING_WIDTH * core) ** 2]), np.array([1 - self.wing_share, self.wing_share])

    def noise(self) -> tuple[np.ndarray, np.ndarray]:
        """Of an empty pixel the standard deviation (B,) [nmgy], and the photons counted per nmgy (B,)."""
        var, share = self.psf()
        # PSF photometry averages over 1 / integral(PSF^2) pixels, and two Gaussians overlap as one of summed variance.
        overlap = (share[:, None] * share)[..., None] / (2 * np.pi * (var[:, None] + var))
        pixels = 1 + 1 / overlap.sum(axis=(0, 1))
        sigma = 10 ** (-0.4 * (np.array(self.depth) - 22.5)) / 5 / np.sqrt(pixels)
        return sigma, 10 ** (-0.4 * (np.array(self.sky) - 22.5)) * self.pixel_scale**2 / sigma**2

    def expose(self, clean: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Sky-subtracted stamps (N, B, H, W) [nmgy] with noise, of noiseless ones on the generator's device."""
        sigma, gain = (torch.as_tensor(v, dtype=clean.dtype, device=clean.device)[:, None, None] for v in self.noise())
        white = torch.randn(clean.shape, generator=generator, device=clean.device, dtype=clean.dtype)
        return white.mul_((clean.clamp(min=0) / gain + sigma**2).sqrt_()).add_(clean)


@lru_cache
def _half_width(wing_share: float) -> float:
    """Radius at half the peak of the PSF, in dispersions of its core."""
    peak = wing_share / WING_WIDTH**2  # of the wing, where the core's is 1 - wing_share

    def excess(r: float) -> float:
        core = (1 - wing_share) * (np.exp(-(r**2) / 2) - 0.5)
        return core + peak * (np.exp(-((r / WING_WIDTH) ** 2) / 2) - 0.5)

    return brentq(excess, 1e-3, 10.0)


def _survey(name: str, curve: str, pixel_scale: float, size: int, rows) -> Camera:
    """A camera from rows of band, FWHM, depth and sky; `curve` with a band's name is its curve in sedpy."""
    bands, fwhm, depth, sky = zip(*rows, strict=True)
    return Camera(name, bands, tuple(curve.format(band) for band in bands), pixel_scale, size, fwhm, depth, sky)


SDSS = _survey("SDSS", "sdss_{}0", 0.396, 64, (
    ("u", 1.53, 22.15, 22.1), ("g", 1.44, 23.13, 21.8), ("r", 1.32, 22.70, 20.9), ("i", 1.26, 22.20, 20.2),
    ("z", 1.29, 20.71, 19.0),
))  # fmt: skip
PAN_STARRS = _survey("Pan-STARRS", "panstarrs_{}", 0.25, 224, (
    ("g", 1.31, 23.3, 21.9), ("r", 1.19, 23.2, 20.8), ("i", 1.11, 23.1, 19.8), ("z", 1.07, 22.3, 19.2),
    ("y", 1.02, 21.4, 18.2),
))  # fmt: skip
