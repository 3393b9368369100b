"""Study 1 on spectra that this project did not make: published radiative transfer, and templates tied to the sky.

Both lie outside the project and are not redistributed; without them these tests are skipped.
"""

import json

import numpy as np
import pytest
import torch

from paper_utils.base import paths
from paper_utils.base.photometry import measurement_matrix
from paper_utils.files import seds
from paper_utils.midir.glo import Generator, Latents, glo_step, whitened_components
from paper_utils.midir.reconstruct import nearest_starts, reconstruct
from paper_utils.nets import training
from paper_utils.runs import notebooks, profiles
from paper_utils.sky import midir_library
from paper_utils.stats.baselines import GaussianProcess

REAL = paths.ROOT.parent / "shared" / "real_data"
RT_LIBRARY, SWIRE = REAL / "rt_library" / "rt_library.npz", REAL / "swire_templates"


def smoke_run(tmp_path, **parameters):
    """Results of notebook 01 at its smoke profile with other parameters."""
    job = notebooks.plan("01", "smoke", tmp_path / "output", device="cpu")
    job.parameters.update(parameters)
    assert set(job.parameters) <= set(profiles.parameters(job.notebook))
    (outcome,) = notebooks.run_all([job])
    assert outcome.status == "done", outcome.failure
    results = json.loads((job.output / "results.json").read_text())
    return {claim["id"]: claim for claim in results["claims"]}, job.output


@pytest.mark.skipif(not RT_LIBRARY.exists(), reason=f"the published radiative-transfer library is not at {RT_LIBRARY}")
def test_study_runs_on_a_published_library(tmp_path):
    library = seds.read_npz_library(RT_LIBRARY)
    file = library.save(tmp_path / "rt.h5")
    found, output = smoke_run(tmp_path, DATA=str(file), n_test=1000)
    # Ridge needs no training budget: 90.3 % is what an independent fit to the same split gave.
    assert found["x.ridge"]["value"] == pytest.approx(90.3, abs=1.5)
    # The method with an uncertainty reconstructs nearly all, and its 68 % intervals hold 65 to 73 %.
    assert found["x.gp"]["value"] >= 96
    assert 0.65 < found["x.coverage.gaussian"]["value"] < 0.73
    assert found["m.data"]["value"] == [10_000, 223, 20]
    assert (output / "weights" / "logGLO.safetensors").exists()


@pytest.mark.skipif(not SWIRE.exists(), reason=f"the SWIRE templates are not at {SWIRE}")
def test_notebook_shows_the_templates_beside_their_reconstruction(tmp_path):
    found, output = smoke_run(tmp_path, swire=str(SWIRE), photometry="filters")
    assert min(found["x.swire.factor"]["value"].values()) > 1
    assert len((output / "swire.csv").read_text().splitlines()) == 1 + len(list(SWIRE.glob("*.sed")))
    assert (output / "swire.png").stat().st_size > 20_000
    # The run's own weights give its numbers again, without training.
    again, _ = smoke_run(tmp_path / "again", swire=str(SWIRE), photometry="filters", weights=str(output / "weights"))
    assert {id: claim["value"] for id, claim in again.items()} == {id: claim["value"] for id, claim in found.items()}


@pytest.mark.skipif(not SWIRE.exists(), reason=f"the SWIRE templates are not at {SWIRE}")
def test_models_of_the_mock_sky_meet_the_mid_infrared_of_real_galaxies():
    library, templates = midir_library.library(2000, seed=3), seds.read_swire(SWIRE)
    mid = (library.wave_um >= 5) & (library.wave_um <= 35)
    A = measurement_matrix(library.wave_um, z=2.0)
    y_train, y = (np.log10(spectra.flux @ A.T) for spectra in (library, templates))
    x_train, truth = (np.log10(spectra.flux[:, mid]) for spectra in (library, templates))

    def off(reconstructed):  # typical error of each template [dex]
        return np.abs(reconstructed - truth).mean(1)

    ignorance = off(x_train.mean(0))
    generative = off(small_logglo(np.log10(library.flux), A, y)[:, mid])
    process = off(GaussianProcess(n_tune=500).fit(y_train, x_train).predict(y)[0])
    # The library's hosts all have dust, the ellipticals have none: nothing of that kind was seen in training.
    dusty = ~np.char.startswith(templates.ids.astype(str), "Ell")
    assert dusty.sum() == 15
    assert np.median(10 ** generative[dusty]) < 1.8
    assert np.median(generative[dusty]) < 0.7 * np.median(ignorance[dusty])
    assert generative[~dusty].min() > np.median(generative[dusty])
    # Outside its training set a regression extrapolates, while a generator still makes galaxies.
    assert np.median(generative[dusty]) < np.median(process[dusty])


def small_logglo(x, A, y):
    """Log F_nu that a logGLO in small, trained on x (N, L), finds for photometry y (n, m) from its nearest latents."""
    x, A, y = (torch.tensor(values, dtype=torch.float32) for values in (x, A, y))
    with training.seeded(0):
        generator, latents = Generator(20, x.shape[1], width=64), Latents(len(x), 20)
    target = generator.learn_scale(x, per_bin=True).standardise(x)
    latents.start_from(whitened_components(target, 20))
    adam = [torch.optim.Adam(generator.parameters(), 2e-3), torch.optim.Adam(latents.parameters(), 1e-2)]
    step = glo_step(generator, latents, adam, target, torch.Tensor.backward)
    state = {"generator": generator, "latents": latents}
    training.fit(step, state, n_items=len(x), batch_size=200, n_steps=400, progress=False)
    starts = nearest_starts(generator, A, y, latents.s.detach(), torch.ones_like(y))[0]
    return reconstruct(generator, A, y, starts, lr=1e-3, n_steps=300)[0].numpy()
