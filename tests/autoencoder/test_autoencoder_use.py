"""The study's models are trained from a container, kept in a file each, and used with nothing but it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import in_a_fresh_process

from paper_utils.autoencoder import apply
from paper_utils.autoencoder.linear import PrincipalComponents
from paper_utils.autoencoder.train import Settings, train
from paper_utils.base.containers import WAVE_OBS, Spectra
from paper_utils.base.errors import DataError
from paper_utils.nets.model_file import Model, slug
from paper_utils.nets.run import Run

N = 60


def spectra():
    """Galaxies of two kinds of light, in any proportion, at z = 0.02 - 0.2."""
    rng = np.random.default_rng(0)
    z = rng.uniform(0.02, 0.2, N)
    rest = WAVE_OBS / (1 + z[:, None])
    share = rng.uniform(0, 1, (N, 1))
    flux = share * (rest / 5000) ** -2 + (1 - share) * (1 + np.exp(-0.5 * ((rest - 5008.2) / 20) ** 2))
    flux = rng.uniform(1, 30, (N, 1)) * (flux + 0.02 * rng.normal(size=flux.shape))
    ivar = np.full_like(flux, 25.0)
    ivar[:, 100:110] = 0
    return Spectra(wave_obs=WAVE_OBS, flux=flux, ivar=ivar, z=z, ids=np.array([f"g{i:02d}" for i in range(N)]))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder of the models that a short training leaves, by name."""
    folder = tmp_path_factory.mktemp("models")
    run = Run("02", profile="smoke", device="cpu", cache=folder / "cache", progress=False)
    settings = Settings.load("02", "smoke", {"n_steps": 3, "n_steps_aware": 3, "n_start": 2, "n_latent": 2})
    models = train(spectra(), settings, run)
    run.export(folder)
    return models, folder


def test_training_makes_the_studys_models(trained):
    models, folder = trained
    kinds = ["start", "plain", "augmented", "consistency", "mask-aware"]
    assert list(models) == ["PCA", *kinds, *(f"{kind}, no. 2" for kind in kinds)]
    assert {file.stem for file in folder.glob("*.safetensors")} == {slug(name) for name in list(models)[1:]}
    assert not torch.equal(models["plain"].encoder.mlp[-1].weight, models["plain, no. 2"].encoder.mlp[-1].weight)
    assert len(models["plain"].card["history"]["validation"]) > 0
    weights = {name: models[name].decoder[0].weight for name in ("plain", "augmented", "consistency")}
    assert not torch.equal(weights["plain"], weights["augmented"])
    assert not torch.equal(weights["plain"], weights["consistency"])


def test_a_model_knows_what_it_learned_from(trained):
    model = trained[0]["plain"]
    learned = spectra().split(0, (0.7, 0.15, 0.15))[0]
    assert model.n_seen == len(learned) == 42
    assert np.allclose(model.z_seen[[0, 2, 4]], np.quantile(learned.z, [0, 0.5, 1]), atol=1e-6)
    assert 4 < model.snr_seen[2] < 150


def test_a_file_alone_predicts_the_same(trained, tmp_path):
    """In a fresh process, to the bit: latents and models in the unit of the spectra that are given."""
    models, folder = trained
    one = spectra()
    flux, ivar, z = (torch.tensor(a, dtype=torch.float32) for a in (one.flux, one.ivar, one.z))
    torch.save((flux, ivar, z), tmp_path / "in.pt")
    code = "torch.save(Model.load(sys.argv[1]).predict(*torch.load(sys.argv[2])), sys.argv[3])"
    in_a_fresh_process(code, folder / "plain.safetensors", tmp_path / "in.pt", tmp_path / "out.pt")
    found, expected = torch.load(tmp_path / "out.pt"), models["plain"].predict(flux, ivar, z)
    for name, values in expected.items():
        assert torch.allclose(found[name], values, rtol=0, atol=0, equal_nan=True)
    assert found["latents"].shape == (N, 2)
    assert found["rest"].shape == (N, 5875)
    usable = (ivar > 0) & found["flux"].isfinite()  # not where no training spectrum showed anything
    assert usable.float().mean() > 0.98
    chi2 = torch.where(usable, ivar * (flux - found["flux"]).square(), 0).sum(dim=1) / usable.sum(dim=1)
    assert torch.allclose(chi2, found["chi2"], rtol=1e-3)


def test_a_spectrum_without_a_unit_is_named(trained):
    flux = torch.ones(3, len(WAVE_OBS))
    flux[1] = -1
    with pytest.raises(DataError, match="spectrum 1"):
        trained[0]["plain"].predict(flux, torch.ones_like(flux), torch.full((3,), 0.1))


def test_a_redshift_beyond_the_models_is_refused_by_name():
    far = replace(spectra(), z=np.where(np.arange(N) == 7, 0.8, 0.1))
    with pytest.raises(DataError, match="'g07'.*1 of 60 redshifts"):
        apply.prepared(far)


def test_models_begin_where_the_principal_components_are():
    """With the encoder's part of the start still to come, the decoder draws what the linear twin draws."""
    data = apply.prepared(spectra())
    twin = PrincipalComponents(2).learn(data)
    coefficients = apply.latents(twin, data)
    twin.standardise(coefficients)
    s = apply.latents(twin, data)
    assert torch.allclose(s.mean(dim=0), torch.zeros(2), atol=1e-4)
    assert torch.allclose(s.std(dim=0), torch.ones(2), atol=1e-4)
    model = apply.SpectrumAutoencoder(2, (4, 4, 8))
    model.start_from(*twin.start())
    with torch.no_grad():
        assert torch.allclose(model.decode(s), twin.decode(s), atol=1e-4)


def test_two_components_describe_two_kinds_of_light():
    data = apply.prepared(spectra())
    twin = PrincipalComponents(2).learn(data)
    made = apply.reconstruct(twin, data)
    assert 0.8 < apply.chi2(data["y"], made.seen, data["w"]).median() < 60
    error = ((made.seen - data["y"]) * (data["w"] > 0)).square().mean().sqrt()
    assert error < 0.05


def test_the_linear_twin_is_kept_in_a_file_too(tmp_path):
    data = apply.prepared(spectra())
    twin = PrincipalComponents(2).learn(data)
    twin.save(tmp_path / "pca.safetensors")
    assert torch.equal(apply.latents(Model.load(tmp_path / "pca.safetensors"), data), apply.latents(twin, data))
