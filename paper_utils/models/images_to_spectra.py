"""Study 3 from end to end: log spectra to train on, and from images to the one spectrum that is kept.

Doorenbos+ 2024, Sec. 3 and Fig. 3: sample several low-resolution spectra of each image, keep the three that a
contrastive network finds most like the image, bring each to full resolution five times, keep the best by a second one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from scipy.interpolate import make_interp_spline
from scipy.ndimage import gaussian_filter1d
from scipy.sparse import csr_array
from torch import Tensor
from tqdm.auto import tqdm

from paper_utils.data import Spectra
from paper_utils.errors import DataError
from paper_utils.models.contrastive import Contrastive
from paper_utils.models.diffusion import Diffusion, centred, sample

WAVE = np.arange(4000.0, 8500.0)  # vacuum Angstrom, observed frame (Sec. 2.2)
SMOOTHING = 2.0  # Angstrom, standard deviation; R ~ 2000 becomes R ~ 1500; from the authors' public code
NORM = (6900.0, 6950.0)  # rest frame
EVERY = 8  # element of the full spectrum is one of the low-resolution spectrum's 563
N_LOW = len(WAVE[::EVERY])
_CHUNK = 1024


def log_spectra(spectra: Spectra) -> tuple[Tensor, Tensor, np.ndarray]:
    """Spectra on `WAVE` as the networks learn them (Sec. 2.2), x and sigma (N, 4500), and which are fit for it, (N,).

    Unusable bins are filled linearly; then a cubic spline to 1 Angstrom, a Gaussian of 2 Angstrom, division by the
    mean over 6900-6950 Angstrom in the galaxy's frame, and the natural logarithm. sigma is the error of x without that
    of the mean, inf where most of an element's weight lies on unusable bins; neighbours share theirs. As in the
    authors' code only spectra that are positive everywhere are fit; the rows of the others are NaN.

    Raises DataError where the spectra do not cover `WAVE`.
    """
    wave = spectra.wave_obs
    if wave[0] > WAVE[0] or wave[-1] < WAVE[-1]:
        raise DataError(
            f"the spectra cover {wave[0]:.0f}-{wave[-1]:.0f} Angstrom",
            remedy=f"Study 3 needs {WAVE[0]:.0f}-{WAVE[-1]:.0f} Angstrom in the observed frame.",
            row="wave_obs",
        )
    matrix = _smoothing_matrix(wave.tobytes())
    squares = matrix.multiply(matrix).tocsr()
    parts = []
    for start in range(0, len(spectra), _CHUNK):
        rows = slice(start, start + _CHUNK)
        usable = spectra.ivar[rows] > 0
        flux = (matrix @ _filled(spectra.flux[rows], usable, wave).T).T
        variance = (squares @ np.where(usable, 1 / np.where(usable, spectra.ivar[rows], 1), 0).T).T
        known = (squares @ usable.T.astype(float)).T / squares.sum(axis=1)
        rest = WAVE / (1 + spectra.z[rows, None])
        inside = (rest >= NORM[0]) & (rest <= NORM[1])
        norm = (flux * inside).sum(axis=1) / np.maximum(inside.sum(axis=1), 1)
        fit = (flux.min(axis=1) > 0) & (norm > 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            x = np.log(flux / norm[:, None])
            sigma = np.where(known > 0.5, np.sqrt(variance / np.maximum(known, 0.5)) / flux, np.inf)
        x[~fit], sigma[~fit] = np.nan, np.nan
        parts.append((x.astype(np.float32), sigma.astype(np.float32), fit))
    x, sigma, fit = (np.concatenate(each) for each in zip(*parts, strict=True))
    return torch.from_numpy(x), torch.from_numpy(sigma), fit


@lru_cache(maxsize=4)
def _smoothing_matrix(wave: bytes) -> csr_array:
    """Spline and Gaussian are linear in the flux: one sparse matrix (4500, L) for the grid does both."""
    spline = make_interp_spline(np.frombuffer(wave), np.eye(len(wave) // 8))
    lead = np.arange(1, 9.0)  # of the Gaussian, on either side, as far as the spectra reach
    at = np.concatenate([WAVE[0] - lead[::-1], WAVE, WAVE[-1] + lead])
    values = spline(np.clip(at, *np.frombuffer(wave)[[0, -1]]))
    matrix = gaussian_filter1d(values, SMOOTHING, axis=0)[len(lead) : -len(lead)]
    return csr_array(np.where(np.abs(matrix) > 1e-6, matrix, 0))


def _filled(flux: np.ndarray, usable: np.ndarray, wave: np.ndarray) -> np.ndarray:
    """Flux (N, L) with what is not usable taken from the line between its usable neighbours."""
    index = np.arange(len(wave))
    before = np.maximum.accumulate(np.where(usable, index, -1), axis=1)
    after = np.minimum.accumulate(np.where(usable, index, len(wave))[:, ::-1], axis=1)[:, ::-1]
    before, after = np.where(before < 0, after, before), np.where(after == len(wave), before, after)
    before, after = before.clip(0, len(wave) - 1), after.clip(0, len(wave) - 1)  # nothing usable at all
    share = (wave - wave[before]) / np.maximum(wave[after] - wave[before], 1e-9)
    low, high = (np.take_along_axis(flux, at, axis=1) for at in (before, after))
    return np.where(usable, flux, low + share.clip(0, 1) * (high - low))


def lowered(x: Tensor) -> Tensor:
    """The low-resolution part (..., 563) of log spectra (..., 4500): every eighth element, as published."""
    return x[..., ::EVERY]


def degraded(images: Tensor, size: int) -> Tensor:
    """Images (N, B, H, H) at a resolution of size x size, brought back to H x H (Table 3): means, then bilinear."""
    small = F.interpolate(images, (size, size), mode="area")
    return F.interpolate(small, images.shape[-2:], mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class Candidates:
    """All that was sampled for N images, flux (not its logarithm) on the CPU, and how it was chosen from.

    low : (N, n_low, 563).   low_score : (N, n_low), the cosine of image and spectrum; the larger the better.
    kept : (N, n_kept), which of `low` went on, the best first.
    full : (N, n_kept, n_full, 4500).   full_score : (N, n_kept, n_full).   Both None without a second model.
    """

    low: Tensor
    low_score: Tensor
    kept: Tensor
    full: Tensor | None = None
    full_score: Tensor | None = None

    @property
    def all_full(self) -> Tensor:
        """(N, n_kept n_full, 4500)."""
        return self.full.flatten(1, 2)

    @property
    def best(self) -> Tensor:
        """The spectrum that is kept: (N, 4500), or without a second model (N, 563)."""
        if self.full is None:
            return _pick(self.low, self.kept[:, :1])[:, 0]
        return _pick(self.all_full, self.full_score.flatten(1).argmax(dim=1, keepdim=True))[:, 0]


def _pick(spectra: Tensor, at: Tensor) -> Tensor:
    """Of spectra (N, n, L) those at indices (N, k): (N, k, L)."""
    return spectra.gather(1, at[:, :, None].expand(-1, -1, spectra.shape[2]))


@torch.no_grad()
def predict(
    images: Tensor,
    low: Diffusion,
    full: Diffusion | None,
    low_match: Contrastive,
    full_match: Contrastive | None,
    *,
    n_low: int = 10,
    n_kept: int = 3,
    n_full: int = 5,
    sampler: str = "dpm++",
    n_steps: int | None = 20,
    seed: int = 0,
    batch_size: int = 64,
    progress: bool = True,
) -> Candidates:
    """Spectra of images (N, n_bands, H, H), which are centred here: all candidates of Sec. 3, and the choice.

    low, full : models of 563 and 4500 elements (`Average.average`), full=None to stop after the first.
    low_match, full_match : the contrastive networks that rank their samples.
    batch_size : images at a time, each encoded once by each network, whatever the number of samples and steps.
    """
    models = [model.eval() for model in (low, full, low_match, full_match) if model is not None]
    device = models[0].mean.device
    generator = torch.Generator(device).manual_seed(seed)
    options = {"sampler": sampler, "n_steps": n_steps, "generator": generator}
    parts = []
    for batch in tqdm(images.split(batch_size), desc="spectra from images", disable=not progress, leave=False):
        seen = centred(batch.to(device))
        x = sample(low, low.encode(seen), n_low, **options)
        score = _scores(low_match, seen, x)
        kept = score.topk(min(n_kept, n_low), dim=1).indices
        part = [x.exp(), score, kept]
        if full is not None:
            x = _pick(x, kept).flatten(0, 1)
            context = full.encode(seen).repeat_interleave(kept.shape[1], dim=0)
            x = sample(full, context, n_full, low=x, **options).unflatten(0, kept.shape)
            part += [x.exp(), _scores(full_match, seen, x.flatten(1, 2)).view(x.shape[:3])]
        parts.append([value.cpu() for value in part])
    return Candidates(*(torch.cat(each) for each in zip(*parts, strict=True)))


def _scores(match: Contrastive, images: Tensor, x: Tensor) -> Tensor:
    """Cosines (N, n) of images with log spectra x (N, n, L)."""
    spectra = match.embed_spectra(x.flatten(0, 1)).unflatten(0, x.shape[:2])
    return (spectra @ match.embed_images(images)[:, :, None])[..., 0]
