"""The density network that comes with the project does what its card says, on objects of a sky that it has not seen."""

import numpy as np
import pytest

from paper_utils.alhambra import train
from paper_utils.alhambra.apply import PhotoZ
from paper_utils.base import paths
from paper_utils.files import templates
from paper_utils.sky import alhambra_catalogue, populations


def test_it_reaches_its_scores_on_another_draw_of_the_sky():
    model = PhotoZ.load(paths.WEIGHTS / "05" / "density-truth.safetensors")
    ssps = populations.from_emiles(templates.emiles())
    catalogue = alhambra_catalogue.catalogue(3000, ssps, seed=77)
    table, z = model.apply(catalogue, densities=False).table, train.truth(catalogue, "z")
    known = np.isfinite(z)
    off = ((table["z_mode"] - z) / (1 + z))[known]
    inside = ((table["z_p16"] < z) & (z < table["z_p84"]))[known]
    scores, sigma = model.card["scores"], 100 * 0.47 / known.sum() ** 0.5
    assert 100 * inside.mean() == pytest.approx(scores["% in 68 % intervals"], abs=4 * sigma)
    assert 100 * (np.abs(off) > 0.15).mean() == pytest.approx(scores["% beyond 0.15"], abs=4 * sigma)
    assert 1.48 * np.median(np.abs(off - np.median(off))) == pytest.approx(scores["sigma_NMAD of the mode"], rel=0.2)
    assert 0.02 < (table["novelty"] >= 95).mean() < 0.09
