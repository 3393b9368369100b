"""Study 3's trainings from its containers, as `companion train 03` and the notebook have them."""

import numpy as np
import pytest

from paper_utils.base.containers import WAVE_OBS, Images, Spectra
from paper_utils.diffusion import ablation, train
from paper_utils.nets import training
from paper_utils.nets.run import Run

N = 48
CHANGES = {"data.n_test": 8, "data.n_validation": 8, "ablation.n_seeds": 1, "n_steps_cnn": 1}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    slope, z = rng.normal(size=(N, 1)), rng.uniform(0.06, 0.14, N)
    names = np.array([f"g{i:02d}" for i in range(N)])
    flux = (WAVE_OBS / 6000) ** (0.3 * slope) + 0.02 * rng.normal(size=(N, WAVE_OBS.size))
    spectra = Spectra(WAVE_OBS, flux, np.full(flux.shape, 2500.0), z, names)
    cube = rng.normal(size=(N, 5, 64, 64)) + 0.5 * slope[:, :, None, None]
    return Images(cube, np.array(list("ugriz")), 0.396, z, names), spectra


def test_settings_of_all_profiles_are_complete():
    for profile in ("smoke", "quick", "paper"):
        s = train.Settings.load("03", profile)
        differing = [(name, run, paper) for name, run, paper, _ in s.rows() if run != paper]
        assert len(s.rows()) > 50
    # Of the numbers that are printed, the paper's profile has all but those of samples that the mock cannot match.
    printed = {name for name, _, paper in differing if isinstance(paper, int | float) and not isinstance(paper, bool)}
    assert printed == {"data.n_pairs"}


def test_test_galaxies_are_nobody_elses(data):
    images, spectra = data
    parts = train.split(images, train.grid.to_grid(spectra), train.Settings.load("03", "smoke", CHANGES).data, 0)
    names = [set(part.spectra.ids) for part in parts]
    assert sum(map(len, names)) == len(set.union(*names))
    for part in parts:
        assert part.images.ids.tolist() == part.spectra.ids.tolist()


def test_a_pinned_redshift_makes_a_seventh_of_the_squared_error(data):
    s, run = train.Settings.load("03", "smoke", CHANGES), Run("03", profile="smoke", device="cpu", progress=False)
    part, *_ = train.split(data[0], train.grid.to_grid(data[1]), s.data, 0)
    learn = train.batch_of(part, True, "cpu")
    for batch, n_z in ((learn, 8), (train.low_resolution(learn), 1)):
        model = train.train_regression(f"of {n_z}", batch, s, run, 1, 0.125)
        square = model.standard(batch["x"]).square().sum(dim=0)
        assert float(square[-n_z:].sum() / square.sum()) == pytest.approx(1 / 7, rel=1e-3)


def test_all_models_are_trained_kept_and_used_again(data, tmp_path, monkeypatch):
    s, options = train.Settings.load("03", "smoke", CHANGES), {"profile": "smoke", "device": "cpu", "progress": False}
    run = Run("03", cache=tmp_path / "cache", **options)
    models = train.train(data, s, run)
    regressions = {f"regression, {case}" for case in ablation.CASES}
    assert regressions | {"plain CNN", "VAE of study 4", "CNN of study 4", "spectra from images"} < set(models)
    whole = models["spectra from images"]
    assert (whole.card["n_training"], whole.card["finished"]) == (N - 16, True)
    expected = whole.predict(data[0].select(np.arange(3)))
    assert np.isfinite(expected).all()
    run.export(tmp_path / "weights")
    monkeypatch.setattr(training, "fit", lambda *_, **__: pytest.fail("trained what there is"))
    again = train.train(data, s, Run("03", weights=str(tmp_path / "weights"), **options))
    assert np.array_equal(again["spectra from images"].predict(data[0].select(np.arange(3))), expected)
