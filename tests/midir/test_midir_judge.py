"""Study 1's measures: what perfect and spoiled reconstructions score, and what noise and missing bands cost."""

import numpy as np
import pytest
import torch
from torch import nn

from paper_utils.base.containers import WAVE_UM, SedLibrary
from paper_utils.base.photometry import measurement_matrix
from paper_utils.midir import judge
from paper_utils.midir.model import GLO, to_sphere
from paper_utils.midir.train import mid_infrared
from paper_utils.nets import training


def test_scores_of_perfect_and_of_spoiled_reconstructions():
    truth = np.random.default_rng(0).uniform(1, 2, (150, 33))
    perfect = judge.score(truth, truth, seed=0)
    assert (perfect["N of 100"], perfect["% with χ²<5"], perfect["AMSE log"]) == (100, 100, 0)
    assert perfect["% low"] < perfect["% high"] == 100
    spoiled = truth.copy()
    spoiled[:30] *= 10  # 1 dex, in 30 of the first 100 and of 150
    row = judge.score(spoiled, truth, seed=0)
    assert (row["N of 100"], row["% with χ²<5"]) == (70, 80)
    assert row["AMSE low"] < row["AMSE log"] < row["AMSE high"]
    assert row["AMSE log"] == pytest.approx(0.2)
    assert judge.log_error(np.full((1, 3), -1.0), np.full((1, 3), 1e-4)) == pytest.approx(4)  # no log below 1e-6


@pytest.fixture(scope="module")
def planted():
    """A GLO that knows its 80 galaxies exactly, and these galaxies."""
    with training.seeded(0):
        model = GLO(80, n_latent=3, width=16, n_hidden=2).eval()
    with torch.no_grad():
        nn.init.normal_(model.generator.network[-1].weight, std=2.0)
        flux = model.generator.flux(model.generator(model.s)).double().numpy()
    return model, SedLibrary(WAVE_UM, flux, [f"g{i:02d}" for i in range(80)])


def test_mean_spectra_of_one_generator_do_not_differ(planted):
    model, library = planted
    assert judge.mean_error(model.generator, model.s, library, 0)[0] < 1e-6
    twice = SedLibrary(WAVE_UM, 2 * library.flux, library.ids)
    assert judge.mean_error(model.generator, model.s, twice, 0)[0] == pytest.approx(np.log10(2))
    error, low, high = judge.mean_error(model.generator, to_sphere(torch.randn(500, 3)), library, 0)
    assert 0 < low < high
    assert low < error < 1


def test_noise_and_missing_bands_cost_good_reconstructions(planted):
    model, library = planted
    given = {"glo": model, "fitting": library, "test": library, "A": measurement_matrix(WAVE_UM), "seed": 0}
    given |= {"n_steps": 1, "lr": 1e-4}
    assert judge.share_good(**given)[judge.OURS][0] == 100
    noisy = judge.share_good(**given, noise=0.5)
    one_band = judge.share_good(**given, use=[0])
    assert set(noisy) == {judge.OURS, judge.RIDGE}
    for name in (judge.OURS, judge.RIDGE):
        share, low, high = noisy[name]
        assert low <= share <= high
        assert share < judge.share_good(**given)[name][0]
    assert one_band[judge.RIDGE][0] < judge.share_good(**given)[judge.RIDGE][0]
    assert mid_infrared(library).sum() == 33
