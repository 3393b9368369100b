"""Orientations of images: eight, all there are, and the same light in each."""

import pytest
import torch

from paper_utils.nets import d4


def test_the_eight_orientations_are_all_there_are_and_keep_flux():
    image = torch.rand(1, 3, 6, 6)
    turned = d4.oriented(image.expand(8, -1, -1, -1), torch.arange(8))
    expected = [torch.rot90(start, k, (-2, -1)) for start in (image, image.flip(-1)) for k in range(4)]
    found = {tuple(t.flatten().tolist()) for t in turned}
    assert found == {tuple(t.flatten().tolist()) for t in expected}
    assert len(found) == 8
    assert torch.equal(turned.flatten(2).sort().values, image.flatten(2).sort().values.expand(8, -1, -1))
    assert torch.equal(turned[0], image[0])
    with pytest.raises(ValueError, match="square"):
        d4.oriented(torch.rand(2, 3, 4, 5), torch.zeros(2, dtype=torch.long))
