"""Study 2's autoencoder: the paper's sizes, exact redshifting with gradients, altered redshifts, and that it learns."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from paper_utils.autoencoder import model as ae
from paper_utils.base.containers import WAVE_OBS
from paper_utils.nets import training
from paper_utils.nets.plan import Plan

L = WAVE_OBS.size
NARROW = (4, 8, 16)


@pytest.fixture
def narrow():
    with training.seeded(0):
        return ae.Autoencoder(3, NARROW)


def lines(centres, z, width=8.0, level=1.0):
    """Spectra (N, L) with a Gaussian line at each rest wavelength (N,), seen at z (N,)."""
    at = torch.as_tensor(WAVE_OBS) / (1 + z.double()[:, None])
    return (level + torch.exp(-0.5 * ((at - centres[:, None]) / width) ** 2)).float()


def test_sizes_are_the_papers():
    model = ae.Autoencoder()
    assert (WAVE_OBS.size, len(model.wave_rest)) == (3892, 5875)
    assert model.wave_rest[0].item() == pytest.approx(3784 / 1.5, abs=0.5)
    assert model.wave_rest[-1].item() == pytest.approx(9270, abs=1)
    assert [block[0].kernel_size[0] for block in model.encoder.blocks] == [5, 11, 21]
    with torch.no_grad():
        h, attention = model.encoder.segments(torch.rand(2, L))
    assert h.shape == attention.shape == (2, 256, 71)
    assert torch.allclose(attention.sum(dim=-1), torch.ones(2, 256))
    assert [layer.out_features for layer in model.decoder if isinstance(layer, nn.Linear)] == [64, 256, 1024, 5875]
    assert sum(isinstance(layer, nn.LeakyReLU) for layer in model.decoder) == 3


def test_a_rest_frame_line_is_seen_at_its_redshift(narrow):
    centre, z = torch.tensor([4000.0, 5008.24, 6564.6]), torch.tensor([0.1, 0.02, 0.35])
    rest = torch.exp(-0.5 * ((narrow.wave_rest - centre[:, None]) / 10) ** 2).float()
    peak = WAVE_OBS[narrow.observe(rest, z).argmax(dim=1)]
    assert np.allclose(peak, centre * (1 + z), atol=1.5)


def test_linear_spectra_are_resampled_exactly(narrow):
    z = torch.tensor([0.0, 0.2, 0.5])
    rest = (narrow.wave_rest / 1000).float().expand(3, -1)
    expected = torch.as_tensor(WAVE_OBS) / (1 + z.double()[:, None]) / 1000
    assert torch.allclose(narrow.observe(rest, z).double(), expected, rtol=1e-5)


def test_the_gradient_in_redshift_is_that_of_finite_differences(narrow):
    rest = torch.exp(-0.5 * ((narrow.wave_rest - 5000) / 60) ** 2)[None]
    z = torch.tensor([0.1], dtype=torch.float64, requires_grad=True)
    target = narrow.observe(rest, torch.tensor([0.105], dtype=torch.float64))

    def loss(at):
        return (narrow.observe(rest, at) - target).square().sum()

    loss(z).backward()
    with torch.no_grad():
        numeric = (loss(z + 1e-5) - loss(z - 1e-5)) / 2e-5
    assert z.grad.item() == pytest.approx(numeric.item(), rel=1e-2)


def test_deredshift_undoes_observe(narrow):
    z = torch.tensor([0.05, 0.3])
    rest = (2 + torch.sin(narrow.wave_rest / 150)).float().expand(2, -1)
    x, w = narrow.deredshift(narrow.observe(rest, z), torch.ones(2, L), z)
    assert torch.allclose(x[w > 0], rest[w > 0], atol=2e-3)
    # Known exactly where the redshifted element lies inside the observed range.
    at = narrow.wave_rest * (1 + z.double()[:, None])
    assert ((w > 0) == ((at >= WAVE_OBS[0]) & (at <= WAVE_OBS[-1]))).float().mean() > 0.9995


def test_altered_redshifts_move_lines_and_remove_what_leaves():
    z, z_new = torch.tensor([0.1, 0.3]), torch.tensor([0.4, 0.0])
    y, w = lines(torch.tensor([5008.0, 5008.0]), z), torch.full((2, L), 4.0)
    moved, w_moved, z_moved = ae.shifted(y, w, z, z_new)
    assert torch.allclose(z_moved, z_new, atol=1.2e-4 * 1.4)  # half a bin
    seen = w_moved > 0
    assert torch.allclose(moved[seen], lines(torch.tensor([5008.0, 5008.0]), z_moved)[seen], atol=1e-3)
    assert (moved[~seen] == 1).all()
    for row in range(2):
        lost = int(round(abs(1e4 * np.log10((1 + z_moved[row].item()) / (1 + z[row].item())))))
        assert (~seen[row]).sum() == lost
    back = ae.shifted(moved, w_moved, z_moved, z)
    both = back[1] > 0
    assert torch.equal(back[0][both], y[both])


def test_normalised_spectra_have_unit_median_and_the_same_signal_to_noise():
    flux = torch.rand(3, L) + torch.tensor([1.0, 10.0, 100.0])[:, None]
    ivar = torch.full((3, L), 7.0)
    ivar[:, :500] = 0
    flux[:, :500] = 1e6
    y, w, median = ae.normalised(flux, ivar)
    assert torch.allclose(y[:, 500:].median(dim=1).values, torch.ones(3), atol=1e-3)
    assert torch.allclose((y * median)[:, 500:], flux[:, 500:], rtol=1e-5)
    assert (y[:, :500] == 1).all()
    assert (w[:, :500] == 0).all()
    assert torch.allclose((y * median)[:, 500:], flux[:, 500:])
    assert torch.allclose((y * w.sqrt())[:, 500:], (flux * ivar.sqrt())[:, 500:], rtol=1e-4)


def test_encoder_does_not_see_amplitude_and_matched_restores_it(narrow):
    z = torch.full((4,), 0.1)
    y = lines(torch.tensor([4000.0, 4800, 5500, 6500]), z)
    with torch.no_grad():
        s, thrice = narrow.encode(1 + 10 * (y - 1), z), narrow.encode(1 + 30 * (y - 1), z)
    assert torch.allclose(s, thrice, atol=1e-3)
    w = torch.rand(4, L)
    assert torch.allclose(ae.matched(y / torch.tensor([1.0, 2, 3, 4])[:, None], y, w), y, rtol=1e-4)


def test_losses_are_those_of_the_paper():
    generator = torch.Generator().manual_seed(1)
    y, model, w = (torch.rand(3, 7, generator=generator) for _ in range(3))
    w[0, 2] = 0
    assert ae.weighted_mse(y, model, w).item() == pytest.approx(float(np.average((y - model) ** 2, weights=w)))
    expected = [float((w[i] * (y[i] - model[i]) ** 2).sum()) / (6 if i == 0 else 7) for i in range(3)]
    assert ae.chi2(y, model, w).tolist() == pytest.approx(expected, rel=1e-5)


def test_the_start_draws_mixtures_of_the_components_exactly():
    generator = torch.Generator().manual_seed(0)
    model = ae.Autoencoder(4, NARROW)
    mean, components = torch.randn(len(model.wave_rest)), torch.randn(3, len(model.wave_rest))
    model.start_from(mean, components)
    s = 3 * torch.randn(20, 4, generator=generator)  # the fourth latent has no component yet
    with torch.no_grad():
        assert torch.allclose(model.decode(s), mean + s[:, :3] @ components, atol=1e-4)
        others = model.decoder[-1].weight[:, 8:]  # units beyond the pairs of the four latents
    assert not others.any()
    model.decode(s).square().sum().backward()
    assert model.decoder[-1].weight.grad[:, 8:].any()  # but they can learn


def test_the_encoder_alone_learns_the_strength_of_a_line():
    generator = torch.Generator().manual_seed(0)
    n = 256
    z = 0.05 + 0.2 * torch.rand(n, generator=generator)
    s = torch.randn(n, 1, generator=generator)
    y = 1 + (3 + s) * (lines(torch.full((n,), 5000.0), z, 30.0) - 1) + 0.05 * torch.randn(n, L, generator=generator)
    # A second line of fixed strength gives the scale that instance norm takes away.
    y = y + 3 * (lines(torch.full((n,), 4000.0), z, 30.0) - 1)
    with training.seeded(0):
        encoder = ae.Encoder(1, NARROW)
    data = {"y": y, "z": z, "s": s}
    history = training.fit(encoder, ae.latent_loss, data, Plan(200, 32, 5e-3), progress=False)
    assert history["loss"][-1] < 0.1 * s.var()


@pytest.fixture(scope="module")
def one_line():
    """Galaxies that differ in the strength of one line: data, and the chi2 of the mean spectrum."""
    generator = torch.Generator().manual_seed(0)
    n, noise = 192, 0.05
    z = 0.05 + 0.2 * torch.rand(n, generator=generator)
    strength = 2 * torch.rand(n, 1, generator=generator)
    y = 1 + strength * (lines(torch.full((n,), 5000.0), z, 30.0) - 1) + noise * torch.randn(n, L, generator=generator)
    w = torch.full_like(y, noise**-2)
    return {"y": y, "w": w, "z": z}, ae.chi2(y, ae.matched(1 + 0 * y, y, w), w).mean()


def beginner():
    """A network that knows where the line is, but not how strong it is."""
    with training.seeded(0):
        model = ae.Autoencoder(2, NARROW)
        line = torch.exp(-0.5 * ((model.wave_rest - 5000) / 30) ** 2).float()
        model.start_from(1 + line, line[None])
    return model


@pytest.mark.parametrize(
    ("options", "precision"),
    [
        ({}, "32-true"),
        ({"augment": 0.5}, "32-true"),
        ({"consistency": 1.0}, "32-true"),
        ({"consistency": 1.0}, "bf16-mixed"),
    ],
    ids=["plain", "augment", "consist", "bfloat16"],
)
def test_it_learns_where_a_line_is(one_line, options, precision):
    """A perfect model has chi2 = 1, the mean spectrum far more."""
    data, before = one_line
    loss, fabric = partial(ae.reconstruction_loss, **options), training.fabric_on("cpu", precision)
    history = training.fit(beginner(), loss, data, Plan(120, 32, 5e-3), fabric=fabric, progress=False)
    assert before > 3
    assert history["chi2"][-1] < 1.5
    assert ("distance" in history) == ("consistency" in options)


def test_altered_redshifts_are_drawn_again_by_a_resumed_training(one_line, tmp_path):
    data = {name: values[:32] for name, values in one_line[0].items()}
    loss, plan = partial(ae.reconstruction_loss, consistency=1.0), Plan(6, 8, 5e-3, schedule="one-cycle")
    whole, checkpoint, finished = beginner(), tmp_path / "run.checkpoint", []
    training.fit(whole, loss, data, plan, progress=False)
    while not (finished and finished[-1]):
        pieces = beginner()
        history = training.fit(pieces, loss, data, plan, checkpoint=checkpoint, stop_after_s=0.0, progress=False)
        finished.append(history["finished"])
    assert len(finished) > 1
    for one, other in zip(whole.state_dict().values(), pieces.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_the_penalty_does_not_know_how_latents_are_scaled_or_mixed():
    generator = torch.Generator().manual_seed(0)
    origin, noise = torch.randn(2, 4000, 4, generator=generator)
    mixing = torch.randn(4, 4, generator=generator)
    near, far = (float(ae.apart(origin + size * noise, origin)) for size in (0.1, 0.3))
    assert far == pytest.approx(9 * near, rel=1e-3)
    assert near == pytest.approx(0.01, rel=0.1)
    for change in (lambda s: s @ mixing, lambda s: 1e-5 * s, lambda s: 1e5 * s):
        assert float(ae.apart(change(origin + 0.1 * noise), change(origin))) == pytest.approx(near, rel=0.02)


@pytest.mark.parametrize("n", [5, 12, 32, 200])
def test_the_penalty_does_not_know_the_size_of_the_batch(n):
    generator = torch.Generator().manual_seed(1)
    found = []
    for _ in range(300):
        origin, noise = torch.randn(2, n, 8, generator=generator)
        found.append(float(ae.apart(origin + 0.1 * noise, origin)))
    assert np.median(found) == pytest.approx(0.01, rel=0.5 if n < 11 else 0.3)
    same = torch.ones(n, 8)
    assert np.isfinite(float(ae.apart(origin, origin)))
    assert not np.isnan(float(ae.apart(same + 1e-3 * noise, same + 1e-6 * origin)))
