"""Spectra on one rest-frame grid with no gaps, as study 4's variational autoencoder and its linear twins need them.

After Portillo+ 2020 (2020AJ....160...45P) and their public code: 1000 elements, log10(wavelength / A) from 3.53 in
steps of 0.39e-3, gaps filled by ten principal components, then normalised.
"""

from functools import partial

import numpy as np
import torch
from torch import Tensor

from paper_utils.base.containers import WAVE_OBS, Spectra
from paper_utils.base.errors import DataError
from paper_utils.base.rebin import integrals_on_device
from paper_utils.base.wavelengths import pixel_edges
from paper_utils.stats.pca import Components, weighted_pca

N_REST = 1000
WAVE_REST = 10 ** (3.53 + 0.39e-3 * np.arange(N_REST))  # 3388 - 8302 A, seen by SDSS in part at any z
Z_MAX = 0.36  # of Portillo+ 2020's sample
# Added to the squared errors so that no element has a signal-to-noise ratio above 45. Portillo+ 2020 add 5e-7 to those
# of spectra of unit norm, whose mean square is 1 / 1000.
SOFTENING = 5e-4
MIN_KNOWN = 0.5  # share of the grid, and of one element's width, below which too little is known
_CHUNK = 2048


def to_rest(flux: Tensor, ivar: Tensor, z: Tensor, wave_obs: np.ndarray = WAVE_OBS) -> tuple[Tensor, Tensor]:
    """Observed spectra (N, L) as means over the elements of `WAVE_REST` (R,): flux and ivar, (N, R).

    Each element averages the usable pixels (ivar > 0) by their overlap with it in log wavelength, and has the variance
    of that average; ivar is 0 where they cover less than half of it. Flux keeps its unit: the factor 1 + z is left
    out. Elements that share a pixel share its noise, which ivar does not say.
    """
    edges, ends = (torch.as_tensor(pixel_edges(np.log10(wave))).to(flux.device) for wave in (wave_obs, WAVE_REST))
    parts = zip(*(t.split(_CHUNK) for t in (flux, ivar, z)), strict=True)
    return tuple(map(torch.cat, zip(*(_means(*part, edges, ends) for part in parts), strict=True)))


def _means(flux: Tensor, ivar: Tensor, z: Tensor, edges: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
    n = len(edges) - 1
    seen_at = ends + torch.log10(1 + z.double())[:, None]
    pixel = (torch.searchsorted(edges, seen_at) - 1).clamp(0, n - 1)
    beyond = pixel + (seen_at - edges[pixel]) / (edges[pixel + 1] - edges[pixel])  # in pixels, also beyond the ends
    at = beyond.clamp(0, n)
    good = ivar > 0
    variance = torch.where(good, 1 / torch.where(good, ivar, 1), 0).double()
    contents = good.double(), torch.where(good, flux, 0).double(), variance
    share_sum, flux_sum, variance_sum = (integrals_on_device(content, at) for content in contents)
    # The variance of a sum has the squares of the shares: less for the two pixels that lie in it in part.
    low, high = at[:, :-1], at[:, 1:]
    first, last = (edge.long().clamp(max=n - 1) for edge in (low, high))
    shares = torch.minimum(high, first + 1) - low, torch.where(last > first, high - last, 0)
    for pixel, share in zip((first, last), shares, strict=True):
        variance_sum -= variance.gather(1, pixel) * share * (1 - share)
    known = share_sum >= MIN_KNOWN * beyond.diff(dim=1)
    y = torch.where(known, flux_sum / share_sum.clamp_min(1e-30), 0)
    weight = torch.where(known, share_sum.square() / variance_sum.clamp_min(1e-30), 0)
    return y.to(flux.dtype), weight.to(flux.dtype)


def learn_components(y: Tensor, ivar: Tensor, n_components: int = 10, n_rounds: int = 3) -> Components:
    """The components that fill gaps, learned from training spectra of `to_rest`, (N, R): their mean and ten others.

    Spectra of unit mean square are needed to learn from, and the filled spectrum to know its mean square: in rounds.
    The mean is one of the components, so that a spectrum in any unit can be filled.
    """
    known = (ivar > 0).to(y.dtype)
    x = y / ((known * y.square()).sum(dim=1) / known.sum(dim=1)).sqrt()[:, None]
    for _ in range(n_rounds):
        found = weighted_pca(x, 1e4 * known, n_components)  # all alike, as if uncertain by 1 %
        found = Components(torch.zeros_like(found.mean), torch.cat([found.mean[None], found.components]))
        x = filled(x, known, found)[0]
    return found


def filled(y: Tensor, ivar: Tensor, components: Components) -> tuple[Tensor, Tensor]:
    """Spectra x (N, R) of unit mean square without gaps, and weights w (N, R): 1 / (sigma^2 + 5e-4), 0 in the gaps.

    What is unknown (ivar = 0) is taken from the mixture of `components` that fits the rest of the spectrum best.
    """
    model = components.decode(components.encode(y, ivar))
    x = torch.where(ivar > 0, y, model)
    norm = x.square().mean(dim=1, keepdim=True).sqrt()
    variance = 1 / (ivar * norm.square()).clamp_min(1e-30)
    return x / norm, torch.where(ivar > 0, 1 / (variance + SOFTENING), 0)


def rest_spectra(
    spectra: Spectra, components: Components | None = None, device: str = "cpu"
) -> tuple[Tensor, Tensor, Components]:
    """The container's spectra on `WAVE_REST`: x and w as `filled` gives them, and the components that filled them.

    Give validation spectra the `components` of the training spectra. Raises DataError for a spectrum that covers less
    than half of the grid.
    """
    as_tensor = partial(torch.as_tensor, dtype=torch.float32, device=device)
    y, ivar = to_rest(as_tensor(spectra.flux), as_tensor(spectra.ivar), as_tensor(spectra.z), spectra.wave_obs)
    share = (ivar > 0).float().mean(dim=1)
    if (bad := (share < MIN_KNOWN).nonzero()).numel():
        i = int(bad[0])
        raise DataError(
            f"{share[i]:.0%} of the rest wavelengths {WAVE_REST[0]:.0f}-{WAVE_REST[-1]:.0f} Angstrom are usable",
            remedy=f"Leave out spectra that are mostly masked or beyond z = {Z_MAX}.",
            row=f"object {str(spectra.ids[i])!r} (row {i}, z = {spectra.z[i]:.3f})",
        )
    components = components or learn_components(y, ivar)
    return *filled(y, ivar, components), components
