"""The density networks that come with the project do what their cards say, on objects that they have not seen."""

import numpy as np
import pytest

from paper_utils.alhambra import train
from paper_utils.alhambra.apply import PhotoZ
from paper_utils.base import paths
from paper_utils.files import templates
from paper_utils.sky import alhambra_catalogue, populations
from paper_utils.stats import photoz


@pytest.fixture(scope="module")
def catalogue():
    return alhambra_catalogue.catalogue(3000, populations.from_emiles(templates.emiles()), seed=77)


@pytest.mark.parametrize("name", ["density-truth", "density-with-the-fit"])
def test_it_reaches_its_scores_on_another_draw_of_the_sky(catalogue, name):
    model = PhotoZ.load(paths.WEIGHTS / "05" / f"{name}.safetensors")
    table, z = model.apply(catalogue, densities=False, fit=True).table, train.truth(catalogue, "z")
    known = np.isfinite(z)
    off = ((table["z_mode"] - z) / (1 + z))[known]
    inside = ((table["z_p16"] < z) & (z < table["z_p84"]))[known]
    scores, sigma = model.card["scores"], 100 * 0.47 / known.sum() ** 0.5
    assert 100 * inside.mean() == pytest.approx(scores["% in 68 % intervals"], abs=4 * sigma)
    assert 100 * (np.abs(off) > 0.15).mean() == pytest.approx(scores["% beyond 0.15"], abs=4 * sigma)
    assert 1.48 * np.median(np.abs(off - np.median(off))) == pytest.approx(scores["sigma_NMAD of the mode"], rel=0.2)
    assert 0.02 < (table["novelty"] >= 95).mean() < 0.09

    star, mass = np.asarray(catalogue.truth["is_star"]), train.truth(catalogue, "log_mstar")
    assert photoz.curves(table["p_star"], star)["auc"] > 0.98
    assert table["p_star"].mean() == pytest.approx(star.mean(), abs=0.01)
    within = (table["log_mass_p16"] < mass) & (mass < table["log_mass_p84"])
    assert 0.62 < within[np.isfinite(mass)].mean() < 0.74
    bright = known & (np.asarray(catalogue.table["F814W"]) < 23)
    assert photoz.scores(table["z_fit"][bright], z[bright])["sigma_mad"] < 0.02
