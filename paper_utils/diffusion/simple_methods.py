"""What study 3's diffusion model is compared with: features of images for regressions, and study 4's networks.

The variational autoencoder and the convolutional network are study 4's (the one place where this room uses another).
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import RidgeCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from torch import Tensor

from paper_utils.base.containers import Spectra
from paper_utils.base.filters import Curves
from paper_utils.base.photometry import ab_fluxes
from paper_utils.base.rebin import sample
from paper_utils.diffusion import angstrom_grid as grid
from paper_utils.diffusion.augmentation import degraded
from paper_utils.diffusion.train import CYCLE, Settings
from paper_utils.latents import restframe
from paper_utils.latents.model import ImageRegressor, simple_cnn
from paper_utils.latents.train import image_loss
from paper_utils.latents.vae import InfoVAE, infovae_loss
from paper_utils.nets.plan import Plan
from paper_utils.nets.run import Run

WIDE, NARROW = 20, 5  # pixels: half the sides of the squares that colours are measured in
N_COMPONENTS, RIDGE = 30, RidgeCV(np.logspace(-2, 4, 13))
MIN_ERROR = 0.03  # of template colours, relative
LEAST = 1e-3  # of decoded fluxes, whose logarithm must exist


def square_flux(cube: NDArray, half: int) -> NDArray:
    """Flux (N, B) of images (N, B, H, H) in a square of 2 x half pixels about the centre [nanomaggies].

    At least a tenth of its scatter, so that magnitudes exist.
    """
    middle = cube.shape[-1] // 2
    flux = cube[..., middle - half : middle + half, middle - half : middle + half].sum(axis=(2, 3))
    return np.maximum(flux, 0.1 * flux.std(axis=0))


def colour(cube: NDArray) -> NDArray:
    """Magnitude in the first band minus that in the third (N,), of u, g, r, i, z: u - r; in 16 pixels at the centre."""
    flux = square_flux(cube, 8)
    return -2.5 * np.log10(flux[:, 0] / flux[:, 2])


def light_features(cube: NDArray) -> NDArray:
    """Features (N, 2 B + 1) of images (N, B, H, H): log fluxes in two squares, and the concentration of the light."""
    wide, narrow = square_flux(cube, WIDE), square_flux(cube, NARROW)
    return np.hstack([np.log10(wide), np.log10(narrow), np.log10(narrow / wide)[:, [cube.shape[1] // 2]]])


def coarse_pixels(cube: NDArray) -> NDArray:
    """Images (N, B, 64, 64) as the arcsinh of 8 x 8 pixels in each band, (N, 64 B)."""
    return torch.asinh(10 * degraded(torch.tensor(cube), 8)[..., ::8, ::8]).flatten(1).numpy()


def largest_central(images: NDArray) -> int:
    """Which of the images (N, H, H) of one band has the brightest galaxy, of those with nothing brighter beside it."""
    peaks = np.stack(np.unravel_index(images.reshape(len(images), -1).argmax(axis=1), images.shape[1:]))
    off = np.abs(peaks - (images.shape[-1] - 1) / 2).max(axis=0)
    central = off < max(3, off.min() + 1)
    return int(np.argmax(np.where(central, square_flux(images[:, None], 16)[:, 0], -np.inf)))


def regressions(train: NDArray, x: NDArray, test: NDArray) -> dict[str, NDArray]:
    """Log spectra like x (N, L) that scikit-learn predicts from images (N, B, H, H) for others."""
    ridge = TransformedTargetRegressor(RIDGE, transformer=PCA(N_COMPONENTS, random_state=0), check_inverse=False)
    methods = {
        "mean spectrum": (DummyRegressor(), light_features),
        "nearest neighbour": (KNeighborsRegressor(1), coarse_pixels),
        "ridge on colours": (make_pipeline(PolynomialFeatures(2), StandardScaler(), ridge), light_features),
    }
    return {
        name: make_pipeline(StandardScaler(), method).fit(of(train), x).predict(of(test))
        for name, (method, of) in methods.items()
    }


def ridge_on_light(train: NDArray, values: NDArray, test: NDArray) -> NDArray:
    """A number for each test image, from the colours and brightness of training images with values (N,)."""
    method = make_pipeline(PolynomialFeatures(2), StandardScaler(), RIDGE)
    return method.fit(light_features(train), values).predict(light_features(test))


def by_templates(cube: NDArray, noise: NDArray, wave: NDArray, types: NDArray, curves: Curves) -> NDArray:
    """Flux (N, 4500) of the template and redshift that fit the colours best, with a free amplitude.

    cube : images (N, B, H, H) [nmgy].   noise : (B,) of a pixel.   types : (T, L) a sequence of F_lambda at rest
    wavelengths (L,), with three more between neighbours, geometric means.   curves : of the B bands.
    """
    flux, sigma = square_flux(cube, WIDE), 2 * WIDE * noise
    at = np.arange(0, len(types) - 1 + 1e-9, 0.25)
    first = np.clip(at.astype(int), 0, len(types) - 2)
    types = np.maximum(types, 0)  # where no star shines, extrapolated populations fall below zero
    types = types / types[:, (wave > grid.NORM[0]) & (wave < grid.NORM[1])].mean(axis=1, keepdims=True)
    types = types[first] ** (1 - at + first)[:, None] * types[first + 1] ** (at - first)[:, None]
    z_trial = np.expm1(np.linspace(np.log(1.04), np.log(1.16), 60))
    model = np.concatenate([ab_fluxes(wave * (1 + z), types, curves) for z in z_trial])  # (Z T, B)
    weight = 1 / (sigma**2 + (MIN_ERROR * flux) ** 2)
    explained = ((weight * flux) @ model.T) ** 2 / (weight @ (model**2).T)  # chi2 of no model minus that of each
    z_best, type_best = np.divmod(explained.argmax(axis=1), len(types))
    return sample(wave, types[type_best], grid.WAVE / (1 + z_trial[z_best, None]))


class Study4(NamedTuple):
    """Study 4's networks: images -> six latents and, as a seventh number, the redshift; latents -> spectra."""

    vae: InfoVAE
    cnn: ImageRegressor

    @torch.no_grad()
    def predict(self, images: Tensor) -> tuple[NDArray, NDArray]:
        """Flux (N, 4500) on `grid.WAVE` in units of its mean in the red, and redshifts (N,)."""
        output = torch.cat([self.cnn.latents.undone(self.cnn(part)) for part in images.split(256)])
        z = output[:, 6].double().cpu().numpy()
        rest = self.vae.decode(output[:, :6].float()).double().cpu().numpy()
        flux = np.maximum(sample(restframe.WAVE_REST, rest, grid.WAVE / (1 + z[:, None])), LEAST)
        return flux / grid.red_mean(flux, z)[:, None], z


def train_study_4(images: Tensor, spectra: Spectra, s: Settings, run: Run, bands: list[str]) -> Study4:
    """On training images (N, B, H, H) and the same galaxies' spectra on `WAVE_OBS`."""
    x, w, _ = restframe.rest_spectra(spectra)
    x, w = (value.to(images.device) for value in (x, w))
    vae = run.make(InfoVAE).learn_mean(x)
    plan = Plan(4 * s.n_steps_cnn, 64, 1e-3, seed=run.seed)
    vae = run.fit("VAE of study 4", vae, infovae_loss, {"x": x, "w": w}, plan)
    with torch.no_grad():
        z = torch.as_tensor(spectra.z, dtype=torch.float32, device=images.device)
        goals = torch.cat([vae.encode(x)[0], z[:, None]], dim=1)
    cnn = run.make(lambda: simple_cnn(bands=bands, n_out=goals.shape[1], stretch="asinh"))
    cnn.learn_scale(images)
    cnn.latents.learn(goals)
    plan = Plan(2 * s.n_steps_cnn, 64, s.encoder.lr, **CYCLE, seed=run.seed)
    return Study4(vae, run.fit("CNN of study 4", cnn, image_loss, {"images": images, "latents": goals}, plan))
