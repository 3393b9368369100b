"""Sky noise, magnitudes in apertures, sizes and shapes of galaxy images: plain measurements to compare networks with.

All of stamps (N, B, H, W) [nmgy] with the galaxy at the centre; batched, on the device of the stamps.
"""

import math

import torch
from torch import Tensor

RADII = (0.75, 1.5, 2.25, 3.0, 4.5, 6.0, 8.0, 10.0)  # arcsec
TOTAL = 5  # of them, the one within which "all" of the light lies: 6 arcsec
COLUMNS = ("log R50", "log R90/R50", "axis ratio", "surface brightness")


def sky_noise(cube: Tensor) -> Tensor:
    """Standard deviation of an empty pixel in each band, (B,) [nmgy], from the outermost pixels of all stamps.

    Half the width of the central 68 % would hold neighbours; what lies below the median is sky alone.
    """
    edge = torch.cat([cube[..., 0, :], cube[..., -1, :], cube[..., 1:-1, 0], cube[..., 1:-1, -1]], dim=-1)
    values = edge.movedim(1, 0).flatten(1)
    values = values[:, :: max(1, values.shape[1] // 1_000_000)]  # more than enough of them
    middle = values.median(dim=1, keepdim=True).values
    below = (values - middle).clamp(max=0)
    return (2 * below.square().mean(dim=1)).sqrt()  # half of the values count, the others are 0


def aperture_fluxes(cube: Tensor, pixel_scale: float, radii: tuple[float, ...] = RADII) -> Tensor:
    """Flux (N, B, len(radii)) [nmgy] within circles of `radii` [arcsec]; pixels on a circle count by their share."""
    size = cube.shape[-1]
    at = (torch.arange(size, device=cube.device, dtype=cube.dtype) - (size - 1) / 2) * pixel_scale
    distance = torch.hypot(at, at[:, None])
    edges = torch.tensor(radii, device=cube.device, dtype=cube.dtype)
    inside = ((edges[:, None, None] - distance) / pixel_scale + 0.5).clamp(0, 1)  # (R, H, W)
    return cube.flatten(2) @ inside.flatten(1).T


def catalogue(cube: Tensor, pixel_scale: float, noise: Tensor, band: int) -> tuple[Tensor, Tensor]:
    """Colours and magnitudes (N, 2 B - 1), and sizes and shapes (N, 4) as `COLUMNS`, measured in `band`.

    Magnitudes within 6 arcsec, as asinh magnitudes that go on through zero flux (Lupton, Gunn & Szalay 1999,
    1999AJ....118.1406L), and colours of neighbouring bands. R50 and R90 hold 50 and 90 % of the light within 10 arcsec,
    R50 in log10 arcsec; the axis ratio is that of second moments under a Gaussian as wide as R50; surface brightness
    [mag / arcsec^2] is the mean within R50. Seeing is not corrected for.
    """
    fluxes = aperture_fluxes(cube, pixel_scale)
    area = math.pi * (RADII[TOTAL] / pixel_scale) ** 2
    soft = noise * area**0.5
    magnitudes = -2.5 / math.log(10) * (torch.asinh(fluxes[..., TOTAL] / (2 * soft)) + soft.log())
    colours = magnitudes[:, :-1] - magnitudes[:, 1:]

    growth = fluxes[:, band].cummax(dim=1).values.clamp_min(1e-6)
    growth = torch.nn.functional.pad(growth / growth[:, -1:], (1, 0))
    at = torch.tensor((0.0, *RADII), device=cube.device, dtype=cube.dtype)
    r50, r90 = (_radius(growth, at, share) for share in (0.5, 0.9))
    brightness = 22.5 - 2.5 * (0.5 * fluxes[:, band, -1].clamp_min(1e-3) / (math.pi * r50.square())).log10()
    ratio = _axis_ratio(cube[:, band], r50 / pixel_scale)
    return torch.cat([magnitudes, colours], 1), torch.stack([r50.log10(), (r90 / r50).log10(), ratio, brightness], 1)


def _radius(growth: Tensor, at: Tensor, share: float) -> Tensor:
    """Where the growth curve (N, R), from 0 to 1, reaches `share`, linear between radii `at` (R,); (N,)."""
    i = (growth < share).sum(dim=1).clamp(1, len(at) - 1)
    low, high = (growth.gather(1, j[:, None])[:, 0] for j in (i - 1, i))
    return at[i - 1] + (share - low) / (high - low).clamp_min(1e-6) * (at[i] - at[i - 1])


def _axis_ratio(image: Tensor, width: Tensor) -> Tensor:
    """Of the second moments of images (N, H, W) under round Gaussians of dispersions (N,) [pixels]; between 0 and 1."""
    size = image.shape[-1]
    at = torch.arange(size, device=image.device, dtype=image.dtype) - (size - 1) / 2
    x, y = at[None, None], at[None, :, None]
    weight = torch.exp(-0.5 * (x**2 + y**2) / width[:, None, None].clamp_min(1) ** 2) * image
    total = weight.sum(dim=(1, 2)).clamp_min(1e-6)
    xx, yy, xy = ((weight * part).sum(dim=(1, 2)) / total for part in (x**2, y**2, x * y))
    mean, apart = (xx + yy) / 2, torch.hypot((xx - yy) / 2, xy)
    return ((mean - apart).clamp_min(0) / (mean + apart).clamp_min(1e-6)).clamp(0, 1).sqrt()
