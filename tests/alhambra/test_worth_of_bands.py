"""What bands are worth: networks of p(z) on the same objects in several sets of bands."""

import numpy as np
import pytest
from astropy.table import Table

from paper_utils.alhambra import bands, train
from paper_utils.alhambra.template_fit import Z_GRID, Models
from paper_utils.base.containers import Catalogue
from paper_utils.nets.run import Run
from paper_utils.stats import photoz

SMALL = {"widths": [48, 48], "n_epochs_density": 12, "test_share": 0.3}
NAMES = tuple("abcdef")


def colour(z, i):
    return 3 * np.sin(2 * np.log1p(z) + i)


def observed(scatter, n=2500):
    """Objects whose six colours follow the redshift, measured with an error of `scatter` mag; a tenth are stars."""
    rng = np.random.default_rng(0)
    z, star, m = rng.gamma(4, 0.15, n), rng.random(n) < 0.1, rng.uniform(19, 23, n)
    noise, table = np.random.default_rng(1), {}
    for i, name in enumerate(NAMES):
        table[name] = m + colour(z, i) + scatter * noise.standard_normal(n)
        table[f"d{name}"] = np.full(n, scatter)
    truth = Table({"z": np.where(star, 0, z), "is_star": star, "is_quasar": np.zeros(n, bool), "m_found": m})
    return Catalogue(Table(table), np.array(NAMES), np.arange(n).astype(str), truth)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    s = train.Settings.load("05", "smoke", SMALL)
    run = Run("05", "smoke", device="cpu", progress=False, cache=tmp_path_factory.mktemp("cache"))
    sets = {"deep": observed(0.02), "shallow": observed(0.3)}
    flux = 10 ** (-0.4 * np.stack([colour(Z_GRID, i) for i in range(len(NAMES))], axis=-1))
    # Three templates, one of each class, of just these colours.
    models = Models(Z_GRID, np.arange(1.0, 4.0), np.arange(3), flux[:, None].repeat(3, axis=1), np.zeros(3))
    table = bands.compare(sets, dict.fromkeys(sets, models), s, run, n_seeds=2)
    assert not run.models  # an experiment's networks are not the study's
    return table


def test_planted_redshifts_are_found_better_than_guessed(compared):
    z = train.truth(observed(0.02), "z")
    z = z[np.isfinite(z)]
    guess = photoz.sigma_mad(photoz.residuals(np.full_like(z, np.median(z)), z))
    prior = -np.mean(np.log(np.histogram(np.log1p(z), 20, density=True)[0]))  # roughly what guessing scores
    for name in ("deep", "shallow"):
        assert bands.by_set(compared, "σ_NMAD")[name][0] < 0.5 * guess
        assert bands.by_set(compared, "σ_NMAD, template fit")[name][0] < 0.5 * guess
        assert bands.by_set(compared, "−log likelihood")[name][0] < prior - 0.5


def test_deeper_bands_do_better(compared):
    for score in ("σ_NMAD", "half the 68 % width", "−log likelihood", "σ_NMAD, template fit"):
        deep, shallow = (bands.by_set(compared, score)[name] for name in ("deep", "shallow"))
        assert deep[0] + deep[1] < shallow[0] - shallow[1], score


def test_sets_are_judged_on_the_same_objects(compared):
    for among in dict.fromkeys(compared["magnitudes"]):
        rows = compared[compared["magnitudes"] == among]
        for seed in (0, 1):
            assert len(set(rows["objects"][rows["seed"] == seed])) == 1
    assert list(dict.fromkeys(compared["magnitudes"])) == ["all", "< 20.5", "20.5–21.5", "> 21.5"]
    one = compared[(compared["seed"] == 0) & (compared["bands"] == "deep")]["objects"]
    assert one[0] == one[1:].sum()
    assert abs(bands.by_set(compared, "coverage [%]")["deep"][0] - 68) < 12


def test_what_cannot_be_judged_is_no_good_score():
    none = bands.scores(None, observed(0.1, 20).select(slice(0, 1)), np.ones(1))
    assert set(none) == {*bands.SCORES, *bands.OF_FIT}
    assert np.isnan(list(none.values())).all()
