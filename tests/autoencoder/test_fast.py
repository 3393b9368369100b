"""What is only faster gives the same values and gradients as the published layers."""

import pytest
import torch
from torch import nn

from paper_utils.autoencoder import fast
from paper_utils.autoencoder import model as ae
from paper_utils.base.containers import WAVE_OBS
from paper_utils.nets import training


def test_the_fast_encoder_is_the_encoder():
    """Latents and gradients agree, with slopes above and below zero and a batch too large for the cache."""
    with training.seeded(0):
        plain = ae.Encoder(3, (4, 8, 16))
        nn.init.uniform_(plain.blocks[0][2].weight, -0.5, 0.5)
        y, z = 1 + torch.randn(80, len(WAVE_OBS)), 0.3 * torch.rand(80)
    quick = fast.FastEncoder(3, (4, 8, 16))
    quick.load_state_dict(plain.state_dict())
    plain, quick = plain.double(), quick.double()
    y, z = y.double(), z.double()
    assert torch.allclose(plain(y, z), quick(y, z), atol=1e-9)
    for encoder in (plain, quick):
        encoder(y, z).square().sum().backward()
    for one, other in zip(plain.parameters(), quick.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(("length", "pool"), [(3892, 5), (779, 11), (40, 5)])
def test_pooled_norm_is_norm_then_activation_then_pooling(length, pool):
    x = torch.randn(3, 2, length, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weight = torch.randn(3, 2, 1, dtype=torch.float64)
    slope = torch.tensor([0.25, 0.0], dtype=torch.float64)
    values, grads = [], []
    for pooled_first in (False, True):
        leaf = x.clone().requires_grad_()
        if pooled_first:
            out = nn.functional.prelu(fast.PooledNorm.apply(leaf, pool), slope)
        else:
            normed = nn.functional.prelu(nn.functional.instance_norm(leaf), slope)
            out = nn.functional.max_pool1d(normed, pool, padding=pool // 2)
        (out * weight).square().sum().backward()
        values.append(out.detach())
        grads.append(leaf.grad)
    assert torch.allclose(*values, atol=1e-10)
    assert torch.allclose(*grads, atol=1e-10)


def test_equal_largest_values_pass_the_gradient_to_one():
    x = torch.tensor([[[2.0, 2, 2, 2, 2, -1, 0, 1, 0, -1]]], dtype=torch.float64, requires_grad=True)
    fast.PooledNorm.apply(x, 5).sum().backward()
    # Adding a constant changes no normed value: the gradient has no mean.
    assert x.grad.sum().abs() < 1e-12
