"""Study 3 from end to end: degraded images, and how candidates are chosen."""

import dataclasses

import pytest
import torch

from paper_utils.diffusion import pipeline as its
from paper_utils.diffusion.contrastive import Contrastive
from paper_utils.diffusion.model import Diffusion


def test_degraded_images_keep_their_light_and_lose_their_detail():
    images = torch.rand(3, 5, 64, 64)
    assert torch.allclose(its.degraded(images, 64), images)
    one = its.degraded(images, 1)
    assert torch.allclose(one, images.mean(dim=(2, 3), keepdim=True).expand_as(images), atol=1e-6)
    scatter = [its.degraded(images, size).std(dim=(2, 3)).mean() for size in (64, 32, 16, 8, 4, 2)]
    assert all(a > b for a, b in zip(scatter, scatter[1:], strict=False))


@pytest.fixture(scope="module")
def networks():
    """Small ones that have learned nothing: what is asked here is the bookkeeping."""
    torch.manual_seed(0)
    small = {"image_width": 1 / 8, "n_bands": 2, "base": 8, "mults": (1,)}
    low = Diffusion(563, patch=8, prediction="v", **small)
    full = Diffusion(4500, 563, patch=16, prediction="v", **small)
    match = {"image": "resnet18", "n_features": 8, **small}
    return low, full, Contrastive(563, patch=8, **match), Contrastive(4500, patch=16, **match)


@pytest.fixture(scope="module")
def images():
    return torch.rand(5, 2, 64, 64, generator=torch.Generator().manual_seed(0))


def test_the_best_are_kept_at_both_resolutions(networks, images):
    low, full, low_match, full_match = networks
    found = its.predict(images, *networks, n_low=6, n_kept=3, n_full=4, n_steps=3, batch_size=2, progress=False)
    shapes = {f.name: tuple(getattr(found, f.name).shape) for f in dataclasses.fields(found)}
    assert shapes == {
        "low": (5, 6, 563), "low_score": (5, 6), "kept": (5, 3), "full": (5, 3, 4, 4500), "full_score": (5, 3, 4),
    }  # fmt: skip
    with torch.no_grad():
        seen = its.centred(images)
        cosine = torch.einsum("nf,nkf->nk", low_match.embed_images(seen),
                              low_match.embed_spectra(found.low.log().flatten(0, 1)).unflatten(0, (5, 6)))  # fmt: skip
    assert torch.allclose(cosine, found.low_score, atol=1e-4)
    assert torch.equal(found.kept, cosine.argsort(dim=1, descending=True)[:, :3])
    for i in range(5):
        k, j = divmod(int(found.full_score[i].argmax()), 4)
        assert torch.equal(found.best[i], found.full[i, k, j])
    assert found.all_full.shape == (5, 12, 4500)
    assert torch.equal(found.all_full[:, 4], found.full[:, 1, 0])


def test_full_spectra_belong_to_their_image_and_their_low_spectrum(networks, images):
    """Every candidate that reaches the second model meets its own image's features and its own low spectrum."""
    low, full, low_match, full_match = networks
    given = []
    hook = full.register_forward_pre_hook(lambda _, args: given.append((args[2], args[3])))
    found = its.predict(images, *networks, n_low=4, n_kept=2, n_full=3, n_steps=2, batch_size=5, progress=False)
    hook.remove()
    context, beside = (torch.cat(parts) for parts in zip(*given[:1], strict=True))
    with torch.no_grad():
        own = full.encode(its.centred(images)).repeat_interleave(6, dim=0)
        kept = found.low.log()[torch.arange(5)[:, None], found.kept].flatten(0, 1)
    assert torch.allclose(context, own, atol=1e-4)
    assert torch.allclose(beside, full.beside(own[::3], kept).repeat_interleave(3, dim=0), atol=1e-3)


def test_the_seed_decides_and_the_first_model_suffices(networks, images):
    low, _, low_match, _ = networks

    def draw(seed):
        return its.predict(images, low, None, low_match, None, n_low=4, n_steps=3, seed=seed, progress=False)

    one, again, other = draw(0), draw(0), draw(1)
    assert torch.equal(one.low, again.low)
    assert not torch.allclose(one.low, other.low, rtol=0.01)
    assert one.full is None
    best = one.low[torch.arange(5), one.low_score.argmax(dim=1)]
    assert torch.equal(one.best, best)
