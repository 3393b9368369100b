"""The trained model of study 1 in one file: whoever has the file can reconstruct."""

import copy

import numpy as np
import pytest
import torch
from conftest import in_a_fresh_process

from paper_utils.base.containers import WAVE_UM, SedLibrary
from paper_utils.base.errors import DataError
from paper_utils.base.photometry import measurement_matrix
from paper_utils.midir import train
from paper_utils.midir.apply import Reconstructor
from paper_utils.nets.run import Run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """All models of a tiny run, its library, and its run."""
    s = train.Settings.load("01", "smoke", {"n_epochs": 2, "n_iterations": 2, "n_latent": 5, "width": 8})
    slope = np.random.default_rng(0).uniform(0.2, 1, (150, 1))
    library = SedLibrary(WAVE_UM, (1 + WAVE_UM) ** slope, [f"g{i:03d}" for i in range(150)])
    run = Run("01", "smoke", device="cpu", cache=tmp_path_factory.mktemp("cache"), progress=False)
    return train.train(library, s, run), library, run


def test_training_makes_all_models_of_the_study(trained):
    models, _, run = trained
    assert len(models) == 21
    assert {"GLO", "logGLO-20", train.SECOND, "WGAN", "logWGAN, penalised", "perceptron"} <= set(models)
    assert models["logGLO-20, no. 2"].n_latent == 20
    assert {"library", "split"} == set(run.data)
    assert all(model.card["finished"] for model in models.values())


def test_fewer_galaxies_than_latents_are_refused_before_anything_is_trained(trained):
    _, library, run = trained
    s = train.Settings.load("01", "smoke")  # 60 galaxies: 54 to train on, 5 of them for validation
    with pytest.raises(DataError, match=r"49 principal components. For 50 latents \(n_latent\) give more"):
        train.split(library.select(slice(60)), s, run)
    assert len(train.split(library.select(slice(60)), s.changed({"n_latent": 49}), run)[0]) == 49


def test_the_file_alone_reconstructs_the_same_to_the_bit(trained, tmp_path):
    models, library, run = trained
    run.export(tmp_path)
    photometry = library.flux[:6] @ measurement_matrix(WAVE_UM).T
    np.save(tmp_path / "y.npy", photometry)
    files = [tmp_path / name for name in ("reconstructor.safetensors", "y.npy", "x.npy")]
    in_a_fresh_process("np.save(sys.argv[3], Model.load(sys.argv[1]).predict(np.load(sys.argv[2])))", *files)
    spectra = np.load(files[2])
    assert spectra.shape == (6, 223)
    assert np.isfinite(spectra).all()
    np.testing.assert_array_equal(spectra, models["reconstructor"].predict(photometry))


def test_it_knows_what_it_was_trained_for(trained):
    model = trained[0]["reconstructor"]
    assert len(model.bands) == 20
    assert model.redshift == 2
    np.testing.assert_array_equal(model.A, measurement_matrix(WAVE_UM))
    np.testing.assert_array_equal(model.wave_um, WAVE_UM)
    photometry = train.relative(trained[1], model.A.numpy()).flux @ model.A.numpy().T
    rest_um = model.A.numpy() @ WAVE_UM
    np.testing.assert_allclose(np.trapezoid(photometry / rest_um, np.log(rest_um)), 1, rtol=1e-6)
    with pytest.raises(DataError, match="GALEX FUV"):
        model.predict(np.ones((3, 19)))


def test_brightness_is_free(trained):
    """A galaxy a thousand times as bright has a spectrum a thousand times as bright."""
    model, library = trained[0]["reconstructor"], trained[1]
    y = library.flux[:4] @ model.A.numpy().T
    np.testing.assert_allclose(model.predict(1000 * y), 1000 * model.predict(y), rtol=2e-3)


def test_a_copy_predicts_the_same_and_a_missing_band_does_not_count(trained):
    model, library, _ = trained
    model = copy.deepcopy(model["reconstructor"])
    y = library.flux[:4] @ model.A.numpy().T
    weight = torch.ones(20)
    weight[3] = 0
    spoiled = y.copy()
    spoiled[:, 3] *= 50
    np.testing.assert_allclose(model.predict(spoiled, weight), model.predict(y, weight), rtol=2e-3)
    assert isinstance(model, Reconstructor)
    assert not np.allclose(model.predict(spoiled), model.predict(y))
