"""What a catalogue says of study 4's galaxies: colours and sizes measured on the networks' images, and mock truth."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from astropy.table import Table
from numpy.typing import NDArray
from torch import Tensor

from paper_utils.base.distances import kpc_per_arcsec
from paper_utils.measure import apertures

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
    active = (truth["agn_class"] == "seyfert") & (truth["agn_strength"] > 0.15)
    burst = (truth["burst_fraction"] > 0.01) & (truth["burst_age_gyr"] > 0.1) & (truth["burst_age_gyr"] < 1.2)
    faded = truth["log_sfr"] - truth["log_mstar"] < -11
    kinds = {"post-starburst": burst & faded, "AGN": active, "quiescent": truth["quiescent"]}
    return np.select([np.asarray(which, bool) for which in kinds.values()], list(kinds), "star-forming")


def quantities(truth: Table) -> dict[str, NDArray]:
    """Parameters (N,) of mock galaxies that a spectrum or an image may know."""
    found = {"log σ*": np.log10(truth["sigma_star"]), "B/T": truth["b_t"]}
    found |= {"log SFR/M*": truth["log_sfr"] - truth["log_mstar"], "age": truth["age_gyr"]}
    found |= {"[M/H]": truth["metallicity"], "A_V": truth["a_v"], "log M*": truth["log_mstar"], "z": truth["z"]}
    return {name: np.asarray(values, float) for name, values in found.items()}


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
