"""What a catalogue says of study 4's galaxies: colours and sizes measured on the networks' images, and mock truth."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from paper_utils.base.distances import kpc_per_arcsec
from paper_utils.measure import apertures

if TYPE_CHECKING:
    from astropy.table import Table

MAX_FLUX = 6e4  # half precision ends at 65504


class Observed(NamedTuple):
    """images (N, B, H, W) [nmgy], colours and magnitudes (N, 2 B - 1), sizes and shapes (N, 4), sky noise (B,)."""

    images: Tensor
    colours: NDArray
    sizes: NDArray
    noise: Tensor


def observe(
    cubes: Iterable[Any], n: int, pixel_scale: float, band: int, device: torch.device, noise: Tensor | None = None
) -> Observed:
    """Images of n galaxies that come in batches (m, B, H, W) [nmgy], and what `apertures.catalogue` measures on them.

    Kept in half precision on a GPU.   band : in which sizes are measured.   noise : of the sky; None to measure it on
    the first batch.
    """
    images, parts, start = None, [], 0
    for cube in cubes:
        cube = torch.as_tensor(cube, dtype=torch.float32, device=device)
        if images is None:
            noise = apertures.sky_noise(cube) if noise is None else noise
            dtype = torch.float32 if device.type == "cpu" else torch.float16
            images = torch.empty((n, *cube.shape[1:]), dtype=dtype, device=device, memory_format=torch.channels_last)
        images[start : start + len(cube)] = cube.clamp(max=MAX_FLUX)
        start += len(cube)
        parts.append([part.cpu().numpy() for part in apertures.catalogue(cube, pixel_scale, noise, band)])
    return Observed(images, *map(np.concatenate, zip(*parts, strict=True)), noise)


def classes(truth: Table) -> NDArray:
    """Class (N,) of mock galaxies: star-forming, quiescent, post-starburst or AGN."""
    quiet, share, age = (np.asarray(truth[name]) for name in ("quiescent", "burst_fraction", "burst_age_gyr"))
    kind = np.where(quiet, "quiescent", "star-forming").astype("U14")
    kind[(np.asarray(truth["agn_class"]) == "seyfert") & (np.asarray(truth["agn_strength"]) > 0.15)] = "AGN"
    faded = np.asarray(truth["log_sfr"]) - np.asarray(truth["log_mstar"]) < -11
    kind[(share > 0.01) & (age > 0.1) & (age < 1.2) & faded] = "post-starburst"
    return kind


def quantities(truth: Table) -> dict[str, NDArray]:
    """Parameters (N,) of mock galaxies that a spectrum or an image may know."""
    columns = {name: np.asarray(truth[name], float) for name in truth.colnames if truth[name].dtype.kind in "fi"}
    found = {"log σ*": np.log10(columns["sigma_star"]), "B/T": columns["b_t"]}
    found |= {"log SFR/M*": columns["log_sfr"] - columns["log_mstar"], "age": columns["age_gyr"]}
    found |= {"[M/H]": columns["metallicity"], "A_V": columns["a_v"], "log M*": columns["log_mstar"]}
    return found | {"z": columns["z"]}


def true_photometry(truth: Table, bands: Iterable[str]) -> dict[str, NDArray]:
    """What no image of mock galaxies shows so well: total magnitudes and colours, structure, redshift; (N, K) each."""
    total = np.stack([np.asarray(truth[f"mag_{band}"], float) for band in bands], axis=1)
    total = np.hstack([total, -np.diff(total, axis=1)])
    size = np.log10(np.asarray(truth["r_e"]) / kpc_per_arcsec(truth["z"]))
    structure = np.column_stack([total, size, *(truth[name] for name in ("n_sersic", "b_t", "inclination"))])
    return {
        "true colours": total,
        "true colours, true structure": structure,
        "true colours, true structure, z": np.column_stack([structure, truth["z"]]),
    }
