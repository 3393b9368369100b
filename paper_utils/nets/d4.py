"""The eight orientations of a square image, the group D4: augmentation that leaves flux and noise as they are."""

import torch
from torch import Tensor


def oriented(images: Tensor, element: Tensor) -> Tensor:
    """Each of the square images (N, B, H, H) in one of its eight orientations; element (N,) is 0 - 7.

    Bit 1 transposes, bit 2 then mirrors columns, bit 4 rows. No pixel is interpolated: flux and noise stay as they are.
    """
    if images.shape[-1] != images.shape[-2]:
        raise ValueError(f"only square images have eight orientations, not {tuple(images.shape)}")
    for bit, moved in ((1, lambda x: x.mT), (2, lambda x: x.flip(-1)), (4, lambda x: x.flip(-2))):
        chosen = (element & bit).bool()[:, None, None, None]
        images = torch.where(chosen, moved(images), images)
    return images


def randomly_oriented(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image in an orientation of its own, drawn with a generator on the device of the images."""
    return oriented(images, torch.randint(8, (len(images),), generator=generator, device=images.device))
