"""Study 5's Appendix B: mixtures of up to four populations, and how their parameters are confused."""

import numpy as np
import pytest
import torch

from paper_utils.alhambra import mixtures
from paper_utils.base.constants import C_KMS
from paper_utils.base.errors import DataError
from paper_utils.base.wavelengths import log_grid
from paper_utils.nets import training
from paper_utils.nets.dense import MLP
from paper_utils.nets.plan import Plan

WAVE_REST = np.geomspace(1700, 7500, 1500)
WAVE_OBS = np.geomspace(3540.5, 7409, 300)
AGES, METALS = np.array([0.1, 1.0, 10.0]), np.array([-0.4, 0.0, 0.2])


def templates():
    """Continua that redden with age and absorption lines that deepen with it."""
    lines = np.exp(-0.5 * ((WAVE_REST[:, None] - [3934.8, 5176.6, 5895.6]) / 15) ** 2).sum(axis=1)
    slope = np.array([[-2.0], [0.0], [2.0]])
    return (WAVE_REST / 5000) ** slope * (1 - np.array([[0.1], [0.3], [0.6]]) * lines)


def test_mixtures_have_32_parameters_of_up_to_four_populations():
    p, template = mixtures.draw(500, AGES, METALS)
    assert p.shape == (500, 4, 8)
    np.testing.assert_allclose(p[..., 5].sum(axis=1), 1)
    there = template >= 0
    assert set(there.sum(axis=1)) == {1, 2, 3, 4}
    assert (p[~there] == 0).all()
    for i, name in enumerate(mixtures.PARAMETERS[:5]):
        low, high = mixtures.RANGES[name]
        assert ((p[there][:, i] >= low) & (p[there][:, i] <= high)).all()
    assert (np.diff(mixtures.draw(500, AGES, METALS, sort=True)[0][..., 5], axis=1) <= 0).all()
    single, template = mixtures.draw(500, AGES, METALS, n_max=1)
    assert single.shape == (500, 1, 8)
    assert (template >= 0).all()
    np.testing.assert_array_equal(single[..., 5], 1)


def one(**changed):
    """A single population of the oldest template, with a few parameters set."""
    p, template = np.zeros((1, 4, 8)), np.array([[2, -1, -1, -1]])
    p[0, 0, 2], p[0, 0, 5] = 60, 1
    for name, value in changed.items():
        p[0, 0, mixtures.PARAMETERS.index(name)] = value
    return mixtures.spectra(p, template, templates(), WAVE_REST, WAVE_OBS)[0].double().numpy()


def test_lines_move_with_redshift_and_velocity_and_broaden_with_dispersion():
    def moments(spectrum, centre):
        near = np.abs(WAVE_OBS / centre - 1) < 0.03
        depth = one()[near].max() - spectrum[near]
        depth = np.clip(
            np.interp(WAVE_OBS[near], WAVE_OBS[near][[0, -1]], spectrum[near][[0, -1]]) - spectrum[near], 0, None
        )
        middle = np.average(WAVE_OBS[near], weights=depth)
        return middle, np.sqrt(np.average((WAVE_OBS[near] - middle) ** 2, weights=depth))

    for shift in (
        one(redshift=0.1),
        one(redshift=0.1 - 1.1 * 400 / C_KMS / (1 + 400 / C_KMS), velocity=400),
    ):
        assert moments(shift, 1.1 * 5176.6)[0] == pytest.approx(1.1 * 5176.6, abs=1.0)
    narrow, broad = (moments(one(redshift=0.1, dispersion=s), 1.1 * 5176.6)[1] for s in (60, 290))
    expected = 1.1 * 5176.6 * np.sqrt(290**2 - 60**2) / C_KMS
    assert np.sqrt(broad**2 - narrow**2) == pytest.approx(expected, rel=0.12)


def test_gas_adds_lines_with_the_equivalent_width_asked_for():
    with_gas, without = one(gas=1.0), one()
    near = np.abs(WAVE_OBS - 4862.7) < 30
    # Fluxes are relative to each spectrum's mean: bring the continua together first.
    scale = np.median(without / with_gas)
    extra = np.trapezoid((with_gas * scale - without)[near], WAVE_OBS[near])
    template = templates()[2]
    continuum = one()[near].mean() / np.interp(4862.7, WAVE_REST, template / template.mean())
    assert extra / continuum == pytest.approx(mixtures.LINE_EW, rel=0.1)


def test_templates_must_cover_what_is_seen():
    p, template = mixtures.draw(20, AGES, METALS)
    with pytest.raises(DataError, match="do not cover"):
        mixtures.spectra(p, template, templates()[:, 300:], WAVE_REST[300:], WAVE_OBS)


def test_one_network_for_all_finds_the_redshift_and_confuses_the_populations():
    """What Appendix B met: the galaxy's redshift is learned; a population's age also follows those of the others."""
    p, template = mixtures.draw(3000, AGES, METALS)
    flux = mixtures.spectra(p, template, templates(), WAVE_REST, WAVE_OBS, snr=50)
    y = torch.tensor(p.reshape(3000, 32), dtype=torch.float32)
    with training.seeded(0):
        model = MLP(300, 32, (128,)).learn_scale(flux, y)
    data, plan = {"x": flux[:2500], "y": y[:2500]}, Plan(25 * 25, 100, 2e-3, schedule="cosine")
    training.fit(model, mixtures.loss, data, plan, progress=False)
    with torch.no_grad():
        talk = mixtures.cross_talk(model(flux[2500:]), y[2500:])
    assert talk.shape == (32, 32)
    assert talk[0, 0] > 0.7
    age = [8 * k + 6 for k in range(4)]
    own = talk[age, age]
    assert own.max() < 0.7


def test_cross_talk_of_independent_outputs_is_their_slope():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(4000, 3)) * [1, 100, 0.01]
    predicted = truth * [1, 0.5, 1]
    predicted[:, 2] += 0.3 * 0.01 / 100 * truth[:, 1]  # hears the second
    np.testing.assert_allclose(mixtures.cross_talk(predicted, truth), [[1, 0, 0], [0, 0.5, 0], [0, 0.3, 1]], atol=0.01)
    # Weights sum to 1, so that none is independent; perfect outputs have no cross-talk all the same.
    weights = mixtures.draw(500, AGES, METALS)[0][..., 5].astype(np.float32)
    np.testing.assert_allclose(mixtures.cross_talk(weights, weights), np.eye(4), atol=1e-9)
    with pytest.raises(DataError, match="cannot tell"):
        mixtures.cross_talk(predicted[:5], truth[:5])


def test_mixtures_of_real_populations_cover_the_library_of_the_thesis(emiles):
    """E-MILES reaches the ultraviolet that 3540.5 - 7409 Angstrom (Appendix B) need at z = 1; light is positive."""
    wave_rest = log_grid(1700, 7480, 150.0)
    ages, metals = np.meshgrid(emiles.ages, emiles.metals, indexing="ij")
    rows = emiles.templates.reshape(ages.size, -1)[::10]
    light = np.stack([np.interp(wave_rest, emiles.wave_rest, row) for row in rows])
    p, template = mixtures.draw(50, ages.ravel()[::10], metals.ravel()[::10])
    flux = mixtures.spectra(p, template, light, wave_rest, WAVE_OBS)
    assert flux.shape == (50, 300)
    assert flux.min() > 0
    assert torch.allclose(flux.mean(dim=1), torch.ones(50), atol=1e-5)
