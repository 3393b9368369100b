"""Network deconvolution: the inverse root against eigenvalues, patches that come out white, gradients, evaluation."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from paper_utils.latents.deconvolution import Deconv2d, inverse_sqrt
from paper_utils.latents.model import convolution
from paper_utils.nets import training


def positive(condition, n=40, dtype=torch.float64, seed=0):
    """A symmetric matrix (n, n) with eigenvalues from 1 down to 1 / condition, and its exact inverse root."""
    generator = torch.Generator().manual_seed(seed)
    q = torch.linalg.qr(torch.randn(n, n, dtype=torch.float64, generator=generator)).Q
    v = torch.logspace(0, -torch.log10(torch.tensor(condition)).item(), n, dtype=torch.float64)
    return ((q * v) @ q.T).to(dtype), (q * v.rsqrt()) @ q.T


def smooth_images(n, bands=3, size=16, seed=0):
    """Bands that share a smooth field and have little of their own: neighbours and bands are alike, as in galaxies."""
    generator = torch.Generator().manual_seed(seed)
    field = torch.randn(n, 1, size + 4, size + 4, generator=generator)
    field = F.avg_pool2d(F.avg_pool2d(field, 3, 1), 3, 1)
    return field / field.std() + 0.2 * torch.randn(n, bands, size, size, generator=generator) + 0.7


def decorrelator(layer, x):
    """Mean of the patches of x, and D."""
    mean, matrix = layer.statistics(x)
    return mean, inverse_sqrt(matrix, layer.n_iterations)


def covariance(layer, x):
    """Of the patches of x after the layer's decorrelation, (groups, F, F)."""
    mean, deconv = decorrelator(layer, x)
    p = layer.patches(x, layer.stride[0] * layer.sampling)
    p = deconv @ (p - mean)
    return p @ p.mT / p.shape[-1]


def correlations(c):
    """Root mean square of the off-diagonal correlation coefficients of covariances (groups, F, F)."""
    root = c.diagonal(dim1=1, dim2=2).sqrt()
    off = c / (root[:, :, None] * root[:, None]) * (1 - torch.eye(c.shape[-1], dtype=c.dtype))
    return (off.square().sum() / (c.shape[0] * c.shape[-1] * (c.shape[-1] - 1))).sqrt()


@pytest.mark.parametrize("condition", [1.0, 10.0, 1e4])
def test_inverse_root_is_that_of_the_eigenvalues(condition):
    matrix, exact = positive(condition)
    found = inverse_sqrt(matrix, n_iterations=30)
    assert torch.allclose(found, exact, rtol=1e-6, atol=1e-8 * condition**0.5)
    torch.testing.assert_close(found @ matrix @ found, torch.eye(40, dtype=matrix.dtype), atol=1e-6, rtol=0)


def test_five_iterations_never_amplify_more_than_the_exact_root():
    """In the eigenbasis each eigenvalue has its own scalar iteration, which rises towards v^-1/2 from below."""
    matrix, exact = positive(1e6)
    values, q = torch.linalg.eigh(matrix)
    gains = []
    for n in (1, 3, 5, 9, 15):
        gain = (q.T @ inverse_sqrt(matrix, n) @ q).diagonal()
        assert (gain <= values.rsqrt() * (1 + 1e-9)).all()
        gains.append(gain)
    assert all((b >= a - 1e-9).all() for a, b in zip(gains, gains[1:], strict=False))


@pytest.mark.parametrize("condition", [1e2, 1e5])
def test_float32_is_stable_however_long_it_iterates(condition):
    matrix, exact = positive(condition, dtype=torch.float32)
    errors = [(inverse_sqrt(matrix, n).double() - exact).norm() / exact.norm() for n in (25, 100)]
    # Rounding of the matrix itself moves its smallest eigenvalue by condition x 1e-7, the root by half of that.
    assert max(errors) < 3e-7 * condition + 1e-5
    assert errors[1] < 2 * errors[0] + 1e-5


def test_batches_of_matrices_are_as_each_alone():
    together = torch.stack([positive(c)[0] for c in (3.0, 50.0, 800.0)])
    alone = torch.stack([inverse_sqrt(m) for m in together])
    assert torch.allclose(inverse_sqrt(together), alone, rtol=1e-10)


@pytest.mark.parametrize(("channels", "groups"), [(3, 1), (8, 4)])
def test_patches_come_out_white(channels, groups):
    x = smooth_images(64, channels)
    layer = Deconv2d(channels, 8, 3, padding=1, groups=groups, n_iterations=5)
    p = layer.patches(x, 3)
    p = p - p.mean(dim=-1, keepdim=True)
    before = correlations(p @ p.mT / p.shape[-1])
    assert before > 0.3
    assert correlations(covariance(layer, x)) < 0.4 * before  # five iterations, as published
    layer.n_iterations = 25
    white = covariance(layer, x)
    assert torch.allclose(white, torch.eye(layer.n_features).expand_as(white), atol=2e-3)


def test_blocks_share_what_decorrelates_their_mean():
    """128 channels in blocks of 64: one covariance, that of all blocks together, becomes a unit matrix."""
    x = smooth_images(64, 128, size=8)
    layer = Deconv2d(128, 4, 1, n_iterations=25, sampling=1)
    assert layer.running_covariance.shape == (1, 64, 64)
    white = covariance(layer, x)
    assert torch.allclose(white, torch.eye(64).expand_as(white), atol=2e-3)
    assert Deconv2d(96, 4, 1).n_features == 32  # the largest divisor that 96 and 64 have in common


@pytest.mark.parametrize(("channels", "groups", "kernel"), [(3, 1, 3), (8, 4, 3), (128, 1, 1)])
def test_it_is_the_convolution_of_decorrelated_patches(channels, groups, kernel):
    """The long way: make patches, subtract the mean, multiply by D, then by the weights."""
    x = smooth_images(6, channels, size=8).double()
    layer = Deconv2d(channels, 8, kernel, padding=kernel // 2, groups=groups).double()
    nn.init.normal_(layer.bias)
    mean, deconv = decorrelator(layer, x)
    columns = F.unfold(x, kernel, padding=kernel // 2)  # (N, C k k, positions)
    blocks = columns.unflatten(1, (groups, -1, layer.n_features))
    white = deconv[:, None] @ (blocks - mean[:, None])  # (N, groups, blocks, F, positions)
    weight = layer.weight.reshape(groups, 8 // groups, -1)
    expected = weight @ white.flatten(2, 3) + layer.bias.view(groups, -1, 1)
    assert torch.allclose(layer(x), expected.reshape(6, 8, 8, 8), atol=1e-9)


@pytest.mark.parametrize("groups", [1, 2])
def test_gradients_flow_through_the_statistics(groups):
    x = smooth_images(3, 4, size=6).double().requires_grad_()
    layer = Deconv2d(4, 2, 3, padding=1, groups=groups, sampling=1).double()
    weight = layer.weight.detach().requires_grad_()

    def output(x, weight):
        return torch.func.functional_call(layer, {"weight": weight}, (x,)).square()

    assert torch.autograd.gradcheck(output, (x, weight), rtol=1e-4, atol=1e-6)


def test_evaluation_agrees_with_training_and_does_not_see_the_batch():
    layer = Deconv2d(3, 8, 3, padding=1)
    fresh = layer.eval()(smooth_images(4))
    plain = F.conv2d(smooth_images(4), layer.weight, layer.bias, padding=1)
    assert torch.allclose(fresh, plain, atol=1e-3)  # of a unit covariance, to what five iterations leave
    layer.train()
    for seed in range(60):
        layer(smooth_images(64, seed=seed))
    x = smooth_images(64, seed=99)
    in_training, evaluated = layer(x).detach(), layer.eval()(x).detach()
    assert (in_training - evaluated).square().mean().sqrt() < 0.03 * evaluated.std()
    assert torch.allclose(layer(x[:1]), evaluated[:1], atol=1e-5)  # one image alone is judged as in company
    before = layer.running_covariance.clone()
    layer(3 * x)
    assert torch.equal(layer.running_covariance, before)


def test_evaluation_is_right_where_few_images_hold_most_of_the_light():
    """One image of thirty is a hundred times as bright: what evaluation decorrelates of them all is white.

    Averaged over images, decorrelated patches then have unit variance, which a convolution that only picks the middle
    pixel of a patch shows. With the average of the batches' D, most of which have no bright image, it would be far
    above: a batch without has rms 1, one with it 25, so that D is 25 times as large in the others.
    """
    layer = Deconv2d(3, 3, 3, padding=1, n_iterations=25)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[range(3), range(3), 1, 1] = 1
        layer.bias.zero_()
        bright = 1 + 99 * (torch.rand(4096, 1, 1, 1, generator=torch.Generator().manual_seed(5)) < 1 / 30)
        images = bright * smooth_images(4096, size=8)
        for batch in images[:3200].split(16):
            layer(batch)
        seen = layer.eval()(images)
    assert 0.6 < float(seen.var()) < 1.6


def test_the_first_batches_count_alike():
    """Means over five batches that drift, not the first one's or a trace of the unit matrix it began with."""
    layer = Deconv2d(2, 4, 1, sampling=1)
    batches = [scale * smooth_images(50, 2, size=4, seed=scale) for scale in range(1, 6)]
    for batch in batches:
        layer(batch)
    patches = [batch.movedim(1, 0).flatten(1) for batch in batches]
    expected = torch.stack([torch.cov(p, correction=0) for p in patches]).mean(dim=0)
    torch.testing.assert_close(layer.running_covariance[0], expected + 1e-5 * torch.eye(2), rtol=1e-4, atol=1e-5)
    expected = torch.stack([p.mean(dim=1) for p in patches]).mean(dim=0)
    torch.testing.assert_close(layer.running_mean[0, :, 0], expected, rtol=1e-4, atol=1e-5)


def test_half_precision_keeps_the_statistics_in_full():
    x = smooth_images(32)
    layer = Deconv2d(3, 8, 3, padding=1)
    full = layer(x).detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = layer(x)
    half.float().sum().backward()
    assert half.dtype == torch.bfloat16
    assert layer.running_covariance.dtype == layer.weight.grad.dtype == torch.float32
    assert (half.float() - full).square().mean().sqrt() < 0.02 * full.std()


def test_gradient_descent_finds_a_filter_faster_in_decorrelated_images():
    """A planted filter on alike bands, 40 steps of plain gradient descent, each layer at its best learning rate.

    This is the paper's claim in its purest form. With adaptive optimizers and deeper networks the gain is not general.
    """
    x = smooth_images(128)
    y = F.conv2d(x, torch.randn(1, 3, 3, 3, generator=torch.Generator().manual_seed(1)), padding=1)
    y = (y - y.mean()) / y.std()
    best = {}
    for norm in ("batch", "deconv"):
        for lr in (0.01, 0.03, 0.1, 0.3):
            with training.seeded(0):
                layer = convolution(3, 1, norm=norm, act=None)
            optimizer = torch.optim.SGD(layer.parameters(), lr)
            for _ in range(40):
                loss = F.mse_loss(layer(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            best[norm] = min(best.get(norm, 1.0), loss.item())
    assert best["deconv"] < 0.1 * best["batch"]
