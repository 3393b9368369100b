"""Study 3's trained model: degraded images, how candidates are chosen, and one file that is all it takes."""

import dataclasses

import numpy as np
import pytest
import torch
from conftest import in_a_fresh_process

from paper_utils.base.containers import Images
from paper_utils.base.errors import DataError
from paper_utils.diffusion import apply
from paper_utils.diffusion.augmentation import centred, degraded
from paper_utils.diffusion.contrastive import Contrastive
from paper_utils.diffusion.model import Diffusion
from paper_utils.nets import training


def test_degraded_images_keep_their_light_and_lose_their_detail():
    images = torch.rand(3, 5, 64, 64)
    assert torch.allclose(degraded(images, 64), images)
    one = degraded(images, 1)
    assert torch.allclose(one, images.mean(dim=(2, 3), keepdim=True).expand_as(images), atol=1e-6)
    scatter = [degraded(images, size).std(dim=(2, 3)).mean() for size in (64, 32, 16, 8, 4, 2)]
    assert all(a > b for a, b in zip(scatter, scatter[1:], strict=False))


@pytest.fixture(scope="module")
def images():
    cube = torch.rand(5, 2, 64, 64, generator=torch.Generator().manual_seed(0)).numpy()
    return Images(cube, np.array(["g", "r"]), 0.396, np.full(5, 0.1), np.arange(5).astype(str))


def model_of(images, **options):
    """Small networks that have learned nothing: what is asked here is the bookkeeping."""
    small = {"image_width": 1 / 8, "n_bands": 2, "base": 8, "mults": (1,)}
    match = {"image": "resnet18", "n_features": 8, **small}
    with training.seeded(0):
        networks = {
            "low": Diffusion(563, patch=8, prediction="v", **small),
            "full": Diffusion(4500, 563, patch=16, prediction="v", **small),
            "low_match": Contrastive(563, patch=8, **match),
            "full_match": Contrastive(4500, patch=16, **match),
        }
    return apply.SpectraFromImages.of(networks, images, **options)


@pytest.fixture(scope="module")
def model(images):
    return model_of(images, n_low=6, n_kept=3, n_full=4, n_steps=3)


def test_the_best_are_kept_at_both_resolutions(model, images):
    cube = torch.tensor(images.cube)
    found = model.candidates(cube, batch_size=2)
    shapes = {f.name: tuple(getattr(found, f.name).shape) for f in dataclasses.fields(found)}
    assert shapes == {
        "low": (5, 6, 563), "low_score": (5, 6), "kept": (5, 3), "full": (5, 3, 4, 4500), "full_score": (5, 3, 4),
    }  # fmt: skip
    with torch.no_grad():
        spectra = model.low_match.embed_spectra(found.low.flatten(0, 1)).unflatten(0, (5, 6))
        cosine = torch.einsum("nf,nkf->nk", model.low_match.embed_images(centred(cube)), spectra)
    assert torch.allclose(cosine, found.low_score, atol=1e-4)
    assert torch.equal(found.kept, cosine.argsort(dim=1, descending=True)[:, :3])
    for i in range(5):
        k, j = divmod(int(found.full_score[i].argmax()), 4)
        assert torch.equal(found.best[i], found.full[i, k, j])
    assert found.all_full.shape == (5, 12, 4500)
    assert torch.equal(found.all_full[:, 4], found.full[:, 1, 0])


def test_full_spectra_belong_to_their_image_and_their_low_spectrum(model, images):
    """Every candidate that reaches the second model meets its own image's features and its own low spectrum."""
    cube, given = torch.tensor(images.cube), []
    hook = model.full.register_forward_pre_hook(lambda _, args: given.append((args[2], args[3])))
    found = model.candidates(cube, batch_size=5)
    hook.remove()
    context, beside = given[0]
    with torch.no_grad():
        own = model.full.encode(centred(cube)).repeat_interleave(12, dim=0)
        kept = found.low[torch.arange(5)[:, None], found.kept].flatten(0, 1)
        expected = model.full.beside(own[::4], kept).repeat_interleave(4, dim=0)
    assert torch.allclose(context, own, atol=1e-4)
    assert torch.allclose(beside, expected, atol=1e-3)


def test_the_seed_decides(model, images):
    one, again, other = (model.predict(images, seed=seed) for seed in (0, 0, 1))
    assert one.shape == (5, 4500)
    assert np.array_equal(one, again)
    assert not np.allclose(one, other, rtol=0.01)
    independent = model.independent(torch.tensor(images.cube), 2)
    assert independent.shape == (5, 2, 4500)
    assert not torch.allclose(independent[:, 0], independent[:, 1], rtol=0.01)


@pytest.mark.parametrize("pin", [False, True])
def test_a_file_gives_the_same_spectra_in_a_fresh_process(images, tmp_path, pin):
    model = model_of(images, n_low=2, n_kept=1, n_full=1, n_steps=2, pin=pin)
    model.save(tmp_path / "model.safetensors")
    images.save(tmp_path / "images.h5")
    code = (
        "from paper_utils.base.containers import Images\n"
        "model, images = Model.load(sys.argv[1]), Images.load(sys.argv[2])\nnp.save(sys.argv[3], model.predict(images))"
    )
    files = [tmp_path / name for name in ("model.safetensors", "images.h5", "flux.npy")]
    in_a_fresh_process(code, *files)
    assert np.array_equal(np.load(files[2]), model.predict(images))
    assert apply.SpectraFromImages.load(files[0]).flux_quantiles.shape == (3, 2)


def test_images_of_other_bands_or_pixels_are_refused(model, images):
    with pytest.raises(DataError, match="images in i z, for a model of g r"):
        model.predict(dataclasses.replace(images, bands=np.array(["i", "z"])))
    with pytest.raises(DataError, match=r"pixels of 0\.25 arcsec, for a model of 0\.396"):
        model.predict(dataclasses.replace(images, pixel_scale=0.25))
