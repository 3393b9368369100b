"""Study 4's applied model: alone in its file it says the same, refuses other cameras, and is calibrated."""

import copy
import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import in_a_fresh_process

from paper_utils.base.containers import WAVE_OBS, Images, Spectra
from paper_utils.base.errors import DataError, WeightsError
from paper_utils.latents import apply, train
from paper_utils.latents.model import TABLE_1
from paper_utils.latents.vae import InfoVAE
from paper_utils.nets.run import Run

SETTINGS = train.Settings.load("04", "smoke")
N = 60


def photographs(n=N, seed=0, bands="grizy", pixel_scale=1.0):
    """Round galaxies whose colour and size are their first two latents, the third is a number that no image shows."""
    rng = np.random.default_rng(seed)
    latents = 3 + 2 * rng.standard_normal((n, 3))
    at = np.arange(16) - 7.5
    radius = 1.05 ** latents[:, 0, None, None]
    disc = np.exp(-np.hypot(at, at[:, None]) / radius)
    cube = disc[:, None] * (1 + 0.1 * latents[:, 1, None, None, None] * np.arange(len(bands))[:, None, None])
    cube += 0.02 * rng.standard_normal(cube.shape)
    ids = np.array([f"galaxy {i:04d}" for i in range(n)])
    return Images(cube, np.array(list(bands)), pixel_scale, np.full(n, 0.1), ids, {"latents": latents})


def spectra(n=N):
    """Of the same galaxies: a slope and a bump."""
    latents = np.asarray(photographs(n).truth["latents"])
    at = np.linspace(-1, 1, len(WAVE_OBS))
    flux = 5 + 0.3 * latents[:, :1] * at + 0.3 * latents[:, 1:2] * np.exp(-((at / 0.1) ** 2))
    return Spectra(WAVE_OBS, flux, np.full(flux.shape, 100.0), np.full(n, 0.1), photographs(n).ids)


def runs(tmp_path, **options):
    return Run("04", "smoke", device="cpu", cache=tmp_path / "cache", progress=False, **options)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """All models of the study, trained for seconds on images and spectra, and the run."""
    run = runs(tmp_path_factory.mktemp("latents"))
    return train.train(SimpleNamespace(images=photographs(), spectra=spectra()), SETTINGS, run), run


def test_a_file_alone_gives_the_same_numbers_in_a_fresh_process(trained, tmp_path):
    models, run = trained
    run.export(tmp_path)
    photographs(4).save(tmp_path / "images.h5")
    code = (
        "from paper_utils.base.containers import Images\n"
        "np.savez(sys.argv[3], *Model.load(sys.argv[1]).predict(Images.load(sys.argv[2])))"
    )
    given = [tmp_path / name for name in ("image-to-spectrum.safetensors", "images.h5", "found.npz")]
    in_a_fresh_process(code, *given)
    expected = models["image to spectrum"].predict(photographs(4))
    found = np.load(given[2])
    for name, value in zip(found.files, expected, strict=True):
        assert np.array_equal(found[name], value)
    assert expected.flux.shape == expected.low.shape == (4, 1000)
    assert (expected.low <= expected.high).all()


def test_the_model_knows_its_training_set(trained):
    model = trained[0]["image to spectrum"]
    rows = [i for i, name in enumerate(photographs().ids) if name in photographs().split(0, train.SPLIT)[0].ids]
    light = photographs().cube[rows].sum(axis=(2, 3))
    assert int(model.n_training) == len(rows) == 48
    assert np.allclose(model.flux[[0, 2, 4]], np.quantile(light, [0, 0.5, 1], axis=0), rtol=1e-4)
    assert model.network.config["bands"] == list("grizy")
    assert model.network.config["pixel_scale"] == 1.0
    assert np.allclose(model.network.noise.flatten(), 0.02, rtol=0.5)


def test_other_bands_and_pixels_are_refused(trained):
    model = trained[0]["image to spectrum"]
    with pytest.raises(DataError, match=r"u g r i z, the model's are g r i z y"):
        model.predict(photographs(2, bands="ugriz"))
    with pytest.raises(DataError, match=r"0\.25 arcsec wide, the model's 1"):
        model.predict(photographs(2, pixel_scale=0.25))


def test_weights_of_other_bands_are_refused(trained, tmp_path):
    trained[1].export(tmp_path)
    data = SimpleNamespace(images=photographs(bands="ugriz"), spectra=spectra())
    with pytest.raises(WeightsError, match=r"bands is \['g', .*\], here \['u'"):
        train.train(data, SETTINGS, runs(tmp_path, weights=str(tmp_path)))


def test_latents_without_a_decoder_will_do(tmp_path):
    models = train.train(SimpleNamespace(images=photographs(), spectra=None), SETTINGS, runs(tmp_path))
    assert len(models) == 2
    found = models["image to spectrum"].predict(photographs(5))
    assert found.latents.shape == found.std.shape == (5, 3)
    assert found.flux is None


def test_training_again_takes_what_is_kept(trained):
    models, run = trained
    again = train.train(SimpleNamespace(images=photographs(), spectra=spectra()), SETTINGS,
                        dataclasses.replace(run, cards={}, models={}))  # fmt: skip
    assert {n: m.card["sha256"] for n, m in again.items()} == {n: m.card["sha256"] for n, m in models.items()}


def test_calibrated_intervals_hold_68_per_cent_and_errors_go_together():
    """A network that knows nothing, and latents whose errors are correlated by 0.8 and five times the stated ones."""
    model = apply.ImageToSpectrum({"body": "simple", "n_out": 2, "gaussian": True}, InfoVAE(n_latent=2).config, 4)
    images = torch.randn(3000, 5, 8, 8)
    mean, std = model.uncalibrated(images)
    errors = torch.randn(3000, 2) @ torch.linalg.cholesky(torch.tensor([[1.0, 0.8], [0.8, 1.0]])).T
    model.calibrate(images, mean + 5 * std * errors)
    assert model.inflation.tolist() == pytest.approx([5, 5], rel=0.1)
    assert float((model.together @ model.together.T)[0, 1]) == pytest.approx(0.8, abs=0.03)
    assert model.spectra(mean[:7], std[:7]).shape == (4, 7, 1000)


@pytest.mark.parametrize("name", TABLE_1)
def test_networks_can_be_copied(name):
    model = TABLE_1[name][0](width=0.125).eval()
    images = torch.randn(2, 5, 32, 32)
    assert torch.equal(copy.deepcopy(model)(images), model(images))


def test_draws_of_a_gaussian_have_its_central_interval():
    low, high = apply.central(torch.randn(20_000, 3, generator=torch.Generator().manual_seed(0)))
    assert torch.allclose(high, torch.tensor(0.994), atol=0.03)
    assert torch.allclose(low, torch.tensor(-0.994), atol=0.03)
