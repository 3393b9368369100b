"""The cameras of four surveys: bands, pixels, seeing, and the noise of sky and photons. Fluxes in nanomaggies (nmgy).

A star's image is a core and a wing, both Gaussian; share and width of the wing are those of bright stars in SDSS's r,
whose light within 2 to 6 pixels they give to 3 % of the whole. The noise of a pixel is that of its photons and of the
sky's; its size follows from the depth, the flux of a star at which PSF photometry reaches a signal-to-noise ratio of 5.

FWHM and depth are the surveys' medians, from which fields differ (`draw`); sky levels are typical of dark time.
SDSS: York+ 2000 (2000AJ....120.1579Y), stacks of one; depths and FWHM: its DR7 to DR12. Pan-STARRS1 3 pi: Chambers+
2016 (2016arXiv161205560C), stacks of about ten. Legacy Surveys, south: Dey+ 2019 (2019AJ....157..168D), sky: Burleigh+
2020 (2020AJ....160...61B). LSST after ten years: Ivezic+ 2019 (2019ApJ...873..111I), tables 1 and 2.

Resampling correlates the noise of neighbouring pixels and makes it lower; on large scales it stays. In 20 cut-outs of
SDSS whose bands were resampled to the pixels of r neighbours are correlated by 0.31 (0.27 to 0.34 in u g i z), in r
itself by 0.04. Lanczos kernels, which the three stacks are made with, leave 0.11, averaged over shifts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy.optimize import brentq

from paper_utils.base.errors import DataError

WING_SHARE, WING_WIDTH = 0.17, 2.8  # of the flux; over the core's
LANCZOS = 0.11


@dataclass(frozen=True)
class Camera:
    """A survey's camera and the stamps cut from it; `dataclasses.replace` makes others (size, pixel_scale, fwhm ...).

    bands : (B,) names, r among them.   curves : (B,) their transmission curves in sedpy.
    pixel_scale : arcsec.   size : pixels on a side.   fwhm : (B,) arcsec, of the PSF before it falls on pixels.
    depth : (B,) AB magnitude of a star at 5 sigma.   sky : (B,) AB mag / arcsec^2.
    correlation : (B,) of the noise of neighbouring pixels, along rows and along columns, 0 (white) to 0.5.
    spread : from field to field, of ln FWHM and of the noise [mag].   together : correlation of both between bands.
    wing_share : of the PSF's flux.
    """

    name: str
    bands: tuple[str, ...]
    curves: tuple[str, ...]
    pixel_scale: float
    size: int
    fwhm: tuple[float, ...]
    depth: tuple[float, ...]
    sky: tuple[float, ...]
    correlation: tuple[float, ...]
    spread: tuple[float, float]
    together: float
    wing_share: float = WING_SHARE

    def __post_init__(self):
        for what in ("curves", "fwhm", "depth", "sky", "correlation"):
            if (n := len(getattr(self, what))) != (wanted := len(self.bands)):
                raise DataError(f"{n} values of {what}", remedy=f"Give one for each of the {wanted} bands.", row=what)
        if "r" not in self.bands:
            raise DataError("no band is called r", remedy="Bulge shares are defined in r.", row="bands")
        white = 0 <= min(self.correlation) <= max(self.correlation) < 0.5
        if (
            self.size < 1
            or not self.pixel_scale > 0
            or not min(self.fwhm) > 0
            or not 0 <= self.wing_share < 1
            or not white
        ):
            raise DataError(
                f"{self.name} has size {self.size}, pixel_scale {self.pixel_scale}, fwhm {self.fwhm}, wing_share "
                f"{self.wing_share}, correlation {self.correlation}",
                remedy="Size, scale and widths are positive, the wing's share is below 1 and correlations below 0.5.",
            )

    def draw(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """FWHM [arcsec] and depth [mag] of `n` fields, (n, B) each; in bad seeing a field is less deep."""
        common, own = rng.standard_normal((2, n, 1)), rng.standard_normal((2, n, len(self.bands)))
        wider, noisier = self.together**0.5 * common + (1 - self.together) ** 0.5 * own
        wider, noisier = self.spread[0] * wider, self.spread[1] * noisier
        return self.fwhm * np.exp(wider), self.depth - 2.5 / np.log(10) * wider - noisier

    def psf(self, fwhm: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The PSF's two Gaussians: variances (..., 2, B) [pixels^2] and shares of the flux (2,).

        fwhm : (..., B) arcsec; the survey's median if None.
        """
        core = np.asarray(self.fwhm if fwhm is None else fwhm) / self.pixel_scale / (2 * _half_width(self.wing_share))
        return np.stack([core**2, (WING_WIDTH * core) ** 2], axis=-2), np.array([1 - self.wing_share, self.wing_share])

    def noise(self, fwhm: np.ndarray | None = None, depth: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Standard deviation (..., B) [nmgy] of an empty pixel, and `gain` (..., B) [1 / nmgy], with which the variance
        of a pixel is sigma^2 + flux / gain: the photons counted per nmgy, where noise is white.

        fwhm, depth : (..., B); the survey's medians if None. The sum over n pixels, n large, has the noise sigma
        sqrt(n) (1 + 2 correlation).
        """
        var, share = self.psf(fwhm)
        neighbours = np.array(self.correlation)
        # PSF photometry averages over 1 / integral(PSF^2) pixels, and two Gaussians overlap as one of summed variance;
        # shifted by a pixel along one axis they overlap exp(-1 / (2 sum)) as much.
        both = var[..., :, None, :] + var[..., None, :, :]
        overlap = (share[:, None] * share)[..., None] / (2 * np.pi * both)
        alone = overlap.sum(axis=(-3, -2))
        seen = (overlap * (1 + 2 * neighbours * np.exp(-0.5 / both)) ** 2).sum(axis=(-3, -2)) / alone
        flux = 10 ** (-0.4 * (np.asarray(self.depth if depth is None else depth) - 22.5))
        sigma = flux / 5 / np.sqrt((1 + 1 / alone) * seen)
        # Where noise is correlated that of the photons is, and a pixel's is lower in the same proportion.
        return sigma, 10 ** (-0.4 * (np.array(self.sky) - 22.5)) * self.pixel_scale**2 / sigma**2

    def expose(self, clean: torch.Tensor, generator: torch.Generator, fwhm=None, depth=None) -> torch.Tensor:
        """Sky-subtracted stamps (N, B, H, W) [nmgy] with noise, of noiseless ones on the generator's device.

        fwhm, depth : (N, B) or (B,) of the fields; the survey's medians if None.
        """

        def tensor(value):
            return torch.as_tensor(value, dtype=clean.dtype, device=clean.device)[..., None, None]

        sigma, gain = map(tensor, self.noise(fwhm, depth))
        shape = (*clean.shape[:-2], clean.shape[-2] + 1, clean.shape[-1] + 1)
        noise = torch.randn(shape, generator=generator, device=clean.device, dtype=clean.dtype)
        # Each pixel is a mean of two, along rows and columns, in shares that make the correlation; its variance is 1.
        rho = np.array(self.correlation)
        part = tensor((1 - np.sqrt(1 - 4 * rho / (1 + 2 * rho))) / 2)
        noise = torch.lerp(noise[..., :-1, :], noise[..., 1:, :], part)
        noise = torch.lerp(noise[..., :-1], noise[..., 1:], part).mul_(tensor(1 + 2 * rho))
        return noise.mul_((clean.clamp(min=0) / gain + sigma**2).sqrt_()).add_(clean)


@lru_cache
def _half_width(wing_share: float) -> float:
    """Radius at half the peak of the PSF, in dispersions of its core."""
    peak = wing_share / WING_WIDTH**2  # of the wing, where the core's is 1 - wing_share

    def excess(r: float) -> float:
        core = (1 - wing_share) * (np.exp(-(r**2) / 2) - 0.5)
        return core + peak * (np.exp(-((r / WING_WIDTH) ** 2) / 2) - 0.5)

    return brentq(excess, 1e-3, 10.0)


def _survey(name: str, curve: str, pixel_scale: float, size: int, spread, together: float, rows) -> Camera:
    """A camera from rows of band, FWHM, depth, sky and correlation; `curve` with a band's name is its one in sedpy."""
    bands, fwhm, depth, sky, correlation = zip(*rows, strict=True)
    curves = tuple(curve.format(band) for band in bands)
    return Camera(name, bands, curves, pixel_scale, size, fwhm, depth, sky, correlation, spread, together)


# SDSS saw all bands within minutes, stacks average over nights of their own in each. Spreads: seeing of SDSS's r 1.32
# +- 0.15, depths of Legacy +- 0.13 (Dey+ 2019); by hand within 0.1 to 0.2 for Pan-STARRS, and small after ten years.
SDSS = _survey("SDSS", "sdss_{}0", 0.396, 64, (0.11, 0.08), 0.9, (
    ("u", 1.53, 22.15, 22.1, 0.31), ("g", 1.44, 23.13, 21.8, 0.31), ("r", 1.32, 22.70, 20.9, 0.0),
    ("i", 1.26, 22.20, 20.2, 0.31), ("z", 1.29, 20.71, 19.0, 0.31),
))  # fmt: skip
PAN_STARRS = _survey("Pan-STARRS", "panstarrs_{}", 0.25, 224, (0.10, 0.15), 0.3, (
    ("g", 1.31, 23.3, 21.9, LANCZOS), ("r", 1.19, 23.2, 20.8, LANCZOS), ("i", 1.11, 23.1, 19.8, LANCZOS),
    ("z", 1.07, 22.3, 19.2, LANCZOS), ("y", 1.02, 21.4, 18.2, LANCZOS),
))  # fmt: skip
LEGACY = _survey("Legacy", "decam_{}", 0.262, 152, (0.10, 0.08), 0.3, (
    ("g", 1.29, 24.7, 22.04, LANCZOS), ("r", 1.18, 23.9, 20.91, LANCZOS), ("z", 1.11, 23.0, 18.46, LANCZOS),
))  # fmt: skip
LSST = _survey("LSST", "lsst_baseline_{}", 0.2, 200, (0.03, 0.04), 0.3, (
    ("u", 0.92, 26.1, 22.99, LANCZOS), ("g", 0.87, 27.4, 22.26, LANCZOS), ("r", 0.83, 27.5, 21.20, LANCZOS),
    ("i", 0.80, 26.8, 20.48, LANCZOS), ("z", 0.78, 26.1, 19.60, LANCZOS), ("y", 0.76, 24.9, 18.61, LANCZOS),
))  # fmt: skip
CAMERAS = {camera.name: camera for camera in (SDSS, PAN_STARRS, LEGACY, LSST)}
