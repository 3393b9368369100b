"""The trained model that comes with the project does what its card says."""

import numpy as np

from paper_utils.base import paths
from paper_utils.base.filters import HELP_BANDS
from paper_utils.base.photometry import measurement_matrix
from paper_utils.midir import train
from paper_utils.midir.apply import Reconstructor
from paper_utils.nets.run import Run
from paper_utils.sky import midir_library


def test_it_reaches_its_scores_on_galaxies_that_it_has_not_seen():
    model = Reconstructor.load(paths.WEIGHTS / "01" / "reconstructor.safetensors")
    s, run = train.Settings.load("01", "overnight"), Run("01", "overnight", device="cpu")
    library = midir_library.library(s.n_seds, seed=0)
    A = measurement_matrix(library.wave_um, HELP_BANDS, train.REDSHIFT, s.photometry)
    _, _, test = train.split(train.relative(library, A), s, run)
    found = train.achieved(model, test.select(slice(50)))
    for name, score in model.card["scores"].items():
        sigma = np.sqrt(score * (100 - score) / 50)
        assert abs(found[name] - score) < 3 * sigma, name
    assert min(found.values()) > 75
