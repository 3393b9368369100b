"""Study 3's images as its networks see them: flipped and cropped at random in training, from the centre otherwise.

And with fewer pixels, for Table 3.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

N_ZOOM = 71  # pixels that 64 are resampled to before a crop of 64; from the authors' public code


def augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """A random crop of H from each of the images (N, B, H, H) resampled to 71 / 64 H, flipped or not along either axis.

    As published (Sec. 3.1; the numbers are from the public code). All on the device, each image its own draw.
    """
    n, size = len(images), images.shape[-1]
    images = _zoomed(images)
    draw = {"generator": generator, "device": images.device}
    along = []
    for _ in range(2):
        start = torch.randint(images.shape[-1] - size + 1, (n, 1), **draw)
        at = start + torch.arange(size, device=images.device)
        along.append(torch.where(torch.rand((n, 1), **draw) < 0.5, at.flip(1), at))
    rows, columns = along
    item = torch.arange(n, device=images.device)[:, None, None]
    return images.movedim(1, -1)[item, rows[:, :, None], columns[:, None]].movedim(-1, 1)


def centred(images: Tensor) -> Tensor:
    """The central crop of the resampled image: what a trained network is shown."""
    size = images.shape[-1]
    images = _zoomed(images)
    start = (images.shape[-1] - size) // 2
    return images[..., start : start + size, start : start + size]


def _zoomed(images: Tensor) -> Tensor:
    size = round(images.shape[-1] * N_ZOOM / 64)
    return F.interpolate(images, (size, size), mode="bilinear", align_corners=False)


def degraded(images: Tensor, size: int) -> Tensor:
    """Images (N, B, H, H) at a resolution of size x size, brought back to H x H (Table 3): means, then bilinear."""
    out = torch.empty_like(images)
    for part, into in zip(images.split(4096), out.split(4096), strict=True):
        small = F.interpolate(part, (size, size), mode="area")
        into.copy_(F.interpolate(small, images.shape[-2:], mode="bilinear", align_corners=False))
    return out
