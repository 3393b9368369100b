"""Photometric redshifts by the methods that bench_photoz.py compares, each from the same sample of galaxies.

A method is a function of the sample that learns, or prepares, and returns a function without arguments that applies it
to the test galaxies: their modes (N,) and `Densities`.
"""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from astropy.table import Table, hstack
from scipy.interpolate import interp1d
from scipy.ndimage import gaussian_filter1d
from scipy.special import ndtr
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor

from paper_utils.alhambra import template_fit, train
from paper_utils.alhambra.apply import STEP, PhotoZ
from paper_utils.alhambra.inputs import columns
from paper_utils.base.containers import Catalogue
from paper_utils.base.filters import Curves
from paper_utils.nets.run import Run
from paper_utils.stats.densities import Densities

N_BASIS, N_GPZ = 45, 50  # cosines of FlexZBoost, Gaussians of GPz
VALIDATION = 0.1  # share of the training objects that FlexZBoost and the forest are tuned on
SMOOTHING = (0.5, 1, 2, 4, 8)  # of the forest's densities, in cells


@dataclass(frozen=True, eq=False)
class Sample:
    """Galaxies to learn from and to be judged by, in magnitudes with errors (99 and -99 as ALHAMBRA's), and bands.

    z : of the template fits, even in ln(1 + z).   prior : the band whose magnitude the prior takes.
    limits : of the magnitude, for bins.
    """

    name: str
    training: Catalogue
    test: Catalogue
    curves: Curves
    wave_rest: np.ndarray
    templates: np.ndarray
    z: np.ndarray
    prior: str
    limits: tuple[float, ...]
    seed: int

    def photometry(self, part: Catalogue):
        return (columns(part.table, [f"{prefix}{band}" for band in self.curves]) for prefix in ("", "d"))

    def features(self):
        """(N, F) of training and test objects, as the density network sees them; ln(1 + z) of the first."""
        network = PhotoZ(list(self.curves), widths=(1,)).learn_depth(self.training.table)
        x, x_test = (network.features(part.table).double().numpy() for part in (self.training, self.test))
        return x, x_test, np.log1p(np.asarray(self.training.truth["z"], float))


def fit(sample: Sample, with_prior: bool):
    """Our template fit, and of what is not asked for densities all its results."""
    models = template_fit.models(sample.wave_rest, sample.templates, sample.curves, sample.z)

    def results(part: Catalogue, **options):
        prior = np.asarray(part.table[sample.prior]) if with_prior else None
        return template_fit.fit(*sample.photometry(part), models, prior, **options)

    def apply(part: Catalogue = sample.test):
        found = results(part, densities=True)
        return found["zb"], Densities.of_grid(models.z, found["p"] / (1 + models.z))

    return apply, results


def network(sample: Sample, hybrid: bool):
    """Our density network with the settings of the profile `paper`; the hybrid reads what the fit with prior says."""
    s = train.Settings.load("05", "paper")
    _, fitted = fit(sample, with_prior=True) if hybrid else (None, lambda part: {})

    def seen(part: Catalogue) -> tuple[Catalogue, list[str]]:
        columns = {f"fit_{name}": values for name, values in fitted(part).items()}
        return replace(part, table=hstack([part.table, Table(columns)]) if columns else part.table), list(columns)

    part, names = seen(sample.training)
    z = np.asarray(sample.training.truth["z"], float)
    with tempfile.TemporaryDirectory() as folder:  # a cache of its own: what is timed is trained
        run = Run("05", seed=sample.seed, device="cpu", cache=Path(folder))
        model = train.density("network", part, z, s, run, shapes=(), fitted=names)

    def apply(part: Catalogue = sample.test):
        found = model.apply(seen(part)[0])
        return np.asarray(found.table["z_mode"]), Densities(found.arrays["z_edges"], found.arrays["pdf"])

    return apply


def pooled(sample: Sample):
    """A weighted mean of the hybrid's density and the fit's own; the weight is the best for objects set aside."""
    n = min(int(VALIDATION * len(sample.training)), 2000)
    aside, rest = (sample.training.select(rows) for rows in (slice(n), slice(n, None)))
    networks, fits = network(replace(sample, training=rest), hybrid=True), fit(sample, with_prior=True)[0]

    def both(part: Catalogue):
        (_, ours), (_, theirs) = networks(part), fits(part)
        below = interp1d(theirs.edges, theirs.below, bounds_error=False, fill_value=(0.0, 1.0))
        return ours, Densities.of_cdf(below, ours.edges)

    def mean(ours: Densities, theirs: Densities, weight: float):
        return Densities(ours.edges, weight * ours.pdf + (1 - weight) * theirs.pdf)

    known, z = both(aside), np.asarray(aside.truth["z"], float)
    weight = min(np.linspace(0, 1, 21), key=lambda weight: mean(*known, weight).cde_loss(z).mean())

    def apply():
        found = mean(*both(sample.test), weight)
        return modes(found), found

    return apply


def modes(found: Densities) -> np.ndarray:
    """Redshifts (N,) where ln(1 + z) is likeliest, to a cell."""
    middle = (found.edges[1:] + found.edges[:-1]) / 2
    return middle[(found.pdf * (1 + middle)).argmax(axis=1)]


def eazy(sample: Sample):
    """EAZY from files of our bands and templates; its set-up is the grid of templates, without any catalogue."""
    from eazy.photoz import PhotoZ as Eazy

    mag, error = sample.photometry(sample.test)
    seen, observed = np.abs(mag) < 90, mag > -90
    flux = np.where(seen, 10 ** (-0.4 * (mag - 23.9)), np.where(observed, 0, -99))  # uJy
    sigma = np.where(seen, flux * (10 ** (0.4 * error) - 1), np.where(observed, 10 ** (-0.4 * (error - 23.9)), -99))
    table = Table({"id": np.arange(len(mag))} | {name: np.zeros(len(mag)) for name in ("z_spec", "ra", "dec")})
    for i in range(mag.shape[1]):
        table[f"F{i + 1}"], table[f"E{i + 1}"] = flux[:, i], sigma[:, i]
    step = np.log1p(sample.z[1]) - np.log1p(sample.z[0])
    folder = tempfile.TemporaryDirectory()
    files = ("filters", "listed", "tolerance", "names")
    filters, listed, tolerance, names = (str(Path(folder.name, name)) for name in files)
    with open(filters, "w") as file:
        for band, (wave, response) in sample.curves.items():
            rows, header = np.c_[1 : len(wave) + 1, wave, response], f"{len(wave)} {band} lambda_c"
            np.savetxt(file, rows, header=header, comments="")
    for i, spectrum in enumerate(sample.templates):
        np.savetxt(f"{listed}{i}.dat", np.c_[sample.wave_rest, spectrum / spectrum.mean()])
    np.savetxt(listed, [[str(i + 1), f"{listed}{i}.dat"] for i in range(len(sample.templates))], fmt="%s")
    np.savetxt(tolerance, [(1e2, 1.0), (1e4, 1.0), (1e6, 1.0), (1e7, 1.0)])  # of templates, times TEMP_ERR_A2
    Path(names).touch()
    parameters = {
        "FILTERS_RES": filters, "TEMPLATES_FILE": listed, "TEMP_ERR_FILE": tolerance, "TEMP_ERR_A2": 0.0,
        "SYS_ERR": 10 ** (0.4 * template_fit.MIN_ERROR) - 1, "PRIOR_ABZP": 23.9, "APPLY_PRIOR": "n", "ADD_CGM": "n",
        "Z_MIN": sample.z[0], "Z_MAX": sample.z[-1] * (1 + step), "Z_STEP": step, "VERBOSITY": 0,
    }  # fmt: skip

    def fitter(table, **options):
        parameters["CATALOG_FILE"] = table
        return Eazy(translate_file=names, params=parameters, load_prior=False, n_proc=-1, **options)

    grid = fitter(table[:1]).tempfilt

    def apply():
        found, _ = fitter(table, tempfilt=grid), folder  # which goes when nobody needs it
        found.fit_catalog(n_proc=0, get_best_fit=False, verbose=False)
        found.evaluate_zml()
        z, lnp = (np.asarray(part, float) for part in (found.zgrid, found.lnp))
        mode = np.where(found.zml > 0, found.zml, z[lnp.argmax(axis=1)])  # zml is -1 at the first redshift
        return mode, Densities.of_grid(z, np.exp(lnp))

    return apply


def flexzboost(sample: Sample):
    """FlexCode in ln(1 + z) over its largest training value: its cosines are even there, and so are redshift errors."""
    from flexcode import FlexCodeModel
    from flexcode.regression_models import CustomModel

    x, x_test, t = sample.features()
    top = t.max()
    aside = np.random.default_rng(sample.seed).random(len(t)) < VALIDATION
    trees = {"max_iter": 100, "learning_rate": 0.1, "random_state": 0, "early_stopping": False}
    how = {"z_min": 0.0, "z_max": 1.0, "regression_params": trees, "custom_model": HistGradientBoostingRegressor}
    model = FlexCodeModel(CustomModel, max_basis=N_BASIS, **how)
    model.model.models.n_jobs = 1
    model.fit(x[~aside], t[~aside] / top)
    grid = int(np.ceil(top / STEP))
    model.tune(x[aside][:1000], t[aside][:1000] / top, np.linspace(0.02, 0.3, 8), np.linspace(0.7, 2.1, 8), n_grid=grid)

    def apply():
        density, u = model.predict(x_test, grid)
        z = np.expm1(u.ravel() * top)
        return z[density.argmax(axis=1)], Densities.of_grid(z, density / (1 + z))

    return apply


def forest(sample: Sample):
    """A random forest; the density is that of the training objects that share leaves with the galaxy, smoothed."""
    x, x_test, t = sample.features()
    edges = np.arange(0, t.max() + 0.1, STEP)
    aside = np.random.default_rng(sample.seed).random(len(t)) < VALIDATION
    trees = RandomForestRegressor(100, min_samples_leaf=5, max_features=1 / 3, random_state=0).fit(x[~aside], t[~aside])
    cell, leaves = np.digitize(t[~aside], edges) - 1, trees.apply(x[~aside])

    def histograms(x):
        total = np.zeros((len(x), len(edges) - 1))
        for leaf, among in zip(trees.apply(x).T, leaves.T, strict=True):
            count = np.zeros((among.max() + 1, len(edges) - 1), np.float32)
            np.add.at(count, (among, cell), 1)
            total += (count / np.maximum(count.sum(axis=1, keepdims=True), 1))[leaf]
        return total / len(trees.estimators_)

    def smoothed(total, width):
        density = gaussian_filter1d(total, width, axis=1, mode="constant")
        return Densities(np.expm1(edges), density / density.sum(axis=1, keepdims=True) / np.diff(np.expm1(edges)))

    z = np.expm1(t[aside])
    known = histograms(x[aside])
    width = min(SMOOTHING, key=lambda width: smoothed(known, width).cde_loss(z).mean())

    def apply():
        found = smoothed(histograms(x_test), width)
        return modes(found), found

    return apply


def gpz(sample: Sample):
    """GPz with a diagonal covariance for each basis function and noise that varies: Gaussians in ln(1 + z)."""
    from rail.estimation.algos._gpz_util import GP

    x, x_test, t = sample.features()
    middle, spread = np.nanmean(x, axis=0), np.nanstd(x, axis=0)
    x, x_test = (np.nan_to_num((part - middle) / spread) for part in (x, x_test))
    aside = np.random.default_rng(sample.seed).random(len(t)) < 0.25
    model = GP(N_GPZ, method="VD", seed=sample.seed)
    model.train(x, t[:, None], training=~aside, validation=aside, maxIter=100, maxAttempts=20)
    edges = np.expm1(np.arange(0, t.max() + 0.1, STEP))

    def apply():
        mean, variance, *_ = model.predict(x_test)
        return np.expm1(mean[:, 0]), Densities.of_cdf(lambda z: ndtr((np.log1p(z) - mean) / variance**0.5), edges)

    return apply


METHODS = {
    "template fit, no prior": (lambda sample: fit(sample, with_prior=False)[0], None),
    "template fit": (lambda sample: fit(sample, with_prior=True)[0], None),
    "density network": (lambda sample: network(sample, hybrid=False), None),
    "hybrid": (lambda sample: network(sample, hybrid=True), None),
    "hybrid and fit": (pooled, None),
    "EAZY": (eazy, "eazy"),
    "FlexZBoost": (flexzboost, "flexcode"),
    "random forest": (forest, "scikit-learn"),
    "GPz": (gpz, "pz-rail-gpz-v1"),
}
