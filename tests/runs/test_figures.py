"""Every figure: axes say what they show, with a unit, and hold what they were given."""

import importlib

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from astropy.table import Table

from paper_utils.alhambra import figures as catalogue_plots
from paper_utils.alhambra import figures_applied, figures_methods
from paper_utils.alhambra.apply import PhotoZ
from paper_utils.alhambra.bands import OF_FIT, SCORES
from paper_utils.alhambra.model import Spec
from paper_utils.alhambra.summary import Summary
from paper_utils.autoencoder import figures as spectra_plots
from paper_utils.base import paths, plots
from paper_utils.base.containers import WAVE_OBS, Photometry, Spectra
from paper_utils.base.results import Results
from paper_utils.diffusion import figures as diffusion_plots
from paper_utils.diffusion import figures_derived as derived_plots
from paper_utils.latents import figures as image_plots
from paper_utils.measure import figures as toolbox_plots
from paper_utils.midir import figures as midir_plots
from paper_utils.sky import colours
from paper_utils.sky import figures as sky_plots

MEASURED = Spectra(WAVE_OBS, np.full((1, WAVE_OBS.size), 2.0), np.ones((1, WAVE_OBS.size)), np.array([0.1]), ["a"])
ENCODED = Results(
    Table(
        {"id": ["a", "b"], "z": [0.1, 0.2], "s_1": [0.0, 1], "s_2": [1.0, 0], "chi2": [1.0, 3], "snr": [10.0, 30]}
        | {"dv_kms": [10.0, 300], "z_err": [1e-5, 1e-4], "flag": ["", "a misfit"]}
    ),
    {"wave_obs": WAVE_OBS, "flux_model": np.full((2, WAVE_OBS.size), 2.1)},
)
WAVE = np.geomspace(0.03, 12000, 223)
FLUX = np.random.default_rng(0).uniform(0.5, 2, (9, 223)) * (WAVE / 10) ** 1.5
MID = (WAVE >= 5) & (WAVE <= 35)
BANDS = np.geomspace(0.05, 160, 20)
SEEN = np.array([np.interp(BANDS, WAVE, f) for f in FLUX])
CHI2 = np.geomspace(0.1, 90, 100)
LOG = np.log10(FLUX[:, MID])
REDSHIFTS = Results(
    Table(
        {
            "id": ["a", "b"], "z_p16": [0.1, 0.4], "z_p50": [0.2, 0.5], "z_p84": [0.3, 0.9], "z_mode": [0.2, 0.4],
            "odds": [0.9, 0.4], "novelty": [20.0, 97.0], "flag": ["", "more than one redshift is possible"],
        }
    ),
    {"z_edges": np.linspace(0, 2, 41), "pdf": np.full((2, 40), 0.5)},
)  # fmt: skip
SUMMARY = Summary(PhotoZ(("r",), detection="r", widths=(8,)))
SUMMARY.add(REDSHIFTS, Table({"r": [20.0, 23.0]}))
APPLIED = Results(
    Table(
        {"id": ["a", "b"], "novelty": [20.0, 97.0], "flag": ["", "unlike the library"]}, meta={"coverage": {"s": 0.7}}
    ),
    {"spectrum": FLUX[:6, MID].reshape(2, 3, -1), "wave_um": WAVE[MID]},
)
OBSERVED = Photometry(
    SEEN[:2], 0.1 * SEEN[:2], np.eye(2, 20), [f"b{i}" for i in range(20)], BANDS[:, None] * [0.9, 1.1],
    np.ones((20, 2)),
    [0.1, 0.2], ["a", "b"],
)  # fmt: skip
BAND_SETS = Table(
    [
        {"bands": name, "seed": seed, "magnitudes": among} | dict.fromkeys((*SCORES, *OF_FIT), 0.01 * (seed + i + 1))
        for name in ("56", "6") for seed in (0, 1) for i, among in enumerate(("all", "< 22", "> 22"))
    ]
)  # fmt: skip
HISTORY = {"step": [1, 2, 3], "mse": [1.0, 0.1, 0.05]}

OPTICAL = np.geomspace(3800, 9200, 300)
SPECTRA = np.random.default_rng(1).uniform(5, 6, (3, 300))
SOME = np.random.default_rng(2).normal(size=(4, 300))
MOCK = colours.of(
    dict(
        zip(("u", "g", "r", "i", "Ks"), np.array([17.9, 16.2, 15.4, 15.0, 14.5])[:, None] + 0.1 * SOME[0], strict=True)
    ),
    np.abs(0.05 + 0.01 * SOME[1]),
)
ROW = {"id": "a", "z": 0.1, "z_err": 1e-5, "reason": "", "log_nii_halpha": -0.4, "log_oiii_hbeta": 0.1, "class": "AGN",
       "Dn4000": 1.5, "Hbeta": 1.6, "Mgb": 3.0, "Fe5270": 2.5, "Fe5335": 2.2}  # fmt: skip
ROW |= {f"ew_{name}": 2.0 for name in ("Hbeta", "OIII_5007", "Halpha", "SII_6716")}
FINE = np.geomspace(3700, 7000, 2000)

UNIFORM = np.random.default_rng(3).uniform(0, 1, 400)
EPOCHS = {"step": [1, 2], "loss": [1.0, 0.5], "validation_step": [2], "validation": [0.6], "n_steps": 2, "n_epochs": 2}
EPOCHS["variance"] = 0.7
METHODS = Table({"method": ["x", "y", "x"], "galaxies": ["m", "m", "r"], "a": [0.1, 0.2, 0.3], "b": [1.0, 10, 100]})
Z = 2 * UNIFORM
Z_FOUND = Z + 0.1 * np.random.default_rng(4).normal(size=400)
LEVELS = np.linspace(0.1, 0.9, 5)
BAND_CURVES = {name: (at + np.array([-100.0, -90, 90, 100]), np.array([0.0, 1, 1, 0])) for name, at in
               (("F458W", 4580), ("F489W", 4890), ("F814W", 8140), ("J", 12084))}  # fmt: skip
GALAXY_CLASSES = np.array(list(image_plots.CLASSES) * 10)
CUBE = np.random.default_rng(5).normal(1, 0.5, (4, 5, 16, 16))
RGB = image_plots.composite(CUBE, list("grizy"), np.full(5, 0.1))
CLASSES = {"roc": (LEVELS, LEVELS**0.1), "pr": (LEVELS, 1 - LEVELS**4), "auc": 0.9, "average_precision": 0.8}

STAMPS = np.random.default_rng(5).gamma(2.0, size=(3, 5, 16, 16))
PICTURES = [diffusion_plots.colour_image(stamp, "ugriz") for stamp in STAMPS]
KINDS = np.array(["elliptical", "spiral", "uncertain", "spiral"] * 100)
PAIR = (Z, Z_FOUND)

FIGURES = {
    "seds": lambda: midir_plots.plot_seds(WAVE, {"a": FLUX[:3], "b": FLUX[3:]}, BANDS),
    "reconstructions": lambda: midir_plots.plot_reconstructions(WAVE, FLUX, 1.1 * FLUX, BANDS, SEEN, CHI2[:9]),
    "focus": lambda: midir_plots.plot_reconstructions(WAVE, FLUX, -FLUX, BANDS, SEEN, focus=True),
    "chi2": lambda: midir_plots.plot_chi2_histogram(CHI2),
    "chi2 below 5": lambda: midir_plots.plot_chi2_histogram(CHI2, below_only=True),
    "losses": lambda: plots.plot_losses({"GLO": HISTORY, "logGLO": HISTORY}, "mse", "mean squared error"),
    "scores": lambda: midir_plots.plot_scores(
        {"GLO": (49.0, (44.0, 54.0)), "ridge": (90.0, (89.0, 91.0))}, ["GLO"], 72
    ),
    "curves": lambda: plots.plot_curves([0.5, 2, 4], {"GLO": np.array([3.0, 2, 1])}, "redshift", "share [%]"),
    "named curves": lambda: plots.plot_curves(["all", "few"], {"GLO": np.array([3.0, 2])}, "bands", "share [%]"),
    "true against": lambda: plots.plot_true_against({"q": LOG[:, 0]}, {"ridge": {"q": LOG[:, 1]}}),
    "fork": lambda: midir_plots.plot_fork({"truth": (FLUX[:, 0], LOG[:, 0])}, CHI2[:9] / 90, "AGN fraction"),
    "coverage": lambda: plots.plot_coverage(np.array([0.5, 0.9]), {"GP": np.array([0.4, 0.8])}),
    "steps": lambda: sky_plots.plot_steps(
        [
            sky_plots.Step("1 stars", OPTICAL, {"stars": SPECTRA[0]}, "wavelength [A]", "flux [cgs]"),
            sky_plots.Step(
                "2 gas",
                OPTICAL,
                {"a": SPECTRA[0], "b": np.where(SOME[0] > 2, np.nan, SPECTRA[1])},
                "wavelength [A]",
                "flux [cgs]",
            ),
        ]
    ),
    "page": lambda: sky_plots.plot_page(OPTICAL, SPECTRA, 0 * SPECTRA, SPECTRA, np.full(3, 0.1), ["a", "b", "c"]),
    "relations": lambda: sky_plots.plot_relations(
        [sky_plots.Relation(SOME[0], SOME[i], "x", "y", (SOME[0], SOME[0], "published")) for i in (1, 2)], SOME[3] > 0
    ),
    "BPT": lambda: sky_plots.plot_bpt(SOME[0] / 3, SOME[1] / 3, np.where(SOME[2] > 0, "none", "liner")),
    "histograms": lambda: sky_plots.plot_histograms({"x": {"many": SOME[0], "few": SOME[1][:9]}}, {"x": {"b": [0, 1]}}),
    "colours": lambda: sky_plots.plot_colours(MOCK, colours.published(), MOCK),
    "colours alone": lambda: sky_plots.plot_colours(MOCK, colours.published()),
    "trends": lambda: sky_plots.plot_trends(MOCK, colours.published(), "r"),
    "examples": lambda: spectra_plots.plot_examples(
        OPTICAL, SPECTRA, SOME[:3] ** 2 * (OPTICAL > 4000), np.full(3, 0.1), OPTICAL, {"plain": SPECTRA}, SPECTRA
    ),
    "redshifted": lambda: spectra_plots.plot_redshifted(
        OPTICAL, SPECTRA, SOME[:3] ** 2, np.array([0, 0.2, 0.5]), SPECTRA, {"plain": np.array([0, 0.1, 0.2])}
    ),
    "training": lambda: spectra_plots.plot_training(
        {"plain": {"step": [1, 2, 3], "chi2": [3, 2, 1], "validation_step": [2, 3], "validation": [2, 1.1]}}, 1.0
    ),
    "displacement": lambda: spectra_plots.plot_displacement(
        np.linspace(0, 0.5, 4), {"plain": SOME[:3, :4] ** 2}, {"plain": 0.1}
    ),
    "gradient weight": lambda: spectra_plots.plot_gradient_weight(
        np.linspace(3500, 9000, 301), {"plain": SOME[0] ** 2}, (3784, 6180)
    ),
    "fits": lambda: spectra_plots.plot_fits(OPTICAL, SPECTRA[:2], SOME[:2] ** 2, SPECTRA[:2], ["a", "b"], np.zeros(2)),
    "path": lambda: spectra_plots.plot_path(OPTICAL, SPECTRA, np.array([0, 0.5, 1]), ("red", "blue")),
    "fit": lambda: toolbox_plots.plot_fit(OPTICAL, SPECTRA[0], 0 * SPECTRA[0] + 4, ROW, SPECTRA[1], 0.1 * SPECTRA[2]),
    "spectrum": lambda: toolbox_plots.plot_fit(OPTICAL, SPECTRA[0], 0 * SPECTRA[0] + 4, ROW | {"reason": "no light"}),
    "lines": lambda: toolbox_plots.plot_lines(FINE, np.sin(FINE), ROW),
    "indices": lambda: toolbox_plots.plot_indices(FINE, 2 + np.sin(FINE), ROW),
    "filters": lambda: catalogue_plots.plot_filters(BAND_CURVES, [(3500, 9900), (10000, 15000)], ["F814W"]),
    "predicted": lambda: catalogue_plots.plot_predicted(
        {"as trained": (Z, Z_FOUND), "corrected": (Z, Z)}, "expected", "predicted", marks=[0.9]
    ),
    "confusion": lambda: catalogue_plots.plot_confusion(np.array([[21700, 23], [189, 406]]), ["galaxy", "star"]),
    "classifiers": lambda: catalogue_plots.plot_classifiers({"trees": CLASSES}),
    "calibration": lambda: plots.plot_calibration({"raw": UNIFORM}, LEVELS, {"raw": LEVELS}),
    "importance": lambda: catalogue_plots.plot_importance({"trees": {"J": (0.1, 0.01), "H": (0.0, 0.01)}}, "loss"),
    "regression to the mean": lambda: catalogue_plots.plot_regression_to_the_mean(
        Z, {"network": Z_FOUND}, np.linspace(0, 2, 9), 0.9
    ),
    "densities": lambda: catalogue_plots.plot_densities(
        LEVELS, np.ones((4, 5)), {"truth": np.full(4, 0.5)}, list("abcd"), np.tile([0.2, 0.8], (4, 1))
    ),
    "band sets": lambda: figures_methods.plot_band_sets(BAND_SETS),
    "epochs": lambda: catalogue_plots.plot_epochs({"redshift": EPOCHS}, {"redshift": 1}),
    "methods": lambda: figures_methods.plot_methods(METHODS, {"a": "a", "b": "b"}, ("b",)),
    "held": lambda: figures_methods.plot_held(
        {"all": {"a": LEVELS[:4], "b": LEVELS[1:]}}, np.arange(18, 22), "r", [20], "a"
    ),
    "cross-talk": lambda: catalogue_plots.plot_cross_talk({"all": np.eye(6)}, ["z", "age"], 3),
    "stamps": lambda: diffusion_plots.plot_stamps(STAMPS, "ugriz", ["a", "b", "c"]),
    "predictions": lambda: diffusion_plots.plot_predictions(
        OPTICAL, SPECTRA, 0.1 * SPECTRA, SPECTRA, PICTURES, ["a", "b", "c"]
    ),
    "population fits": lambda: diffusion_plots.plot_population_fits(
        OPTICAL, SPECTRA, SPECTRA, 0.1 * SPECTRA, SPECTRA > 5.9, PICTURES, ["a", "b", "c"]
    ),
    "degraded": lambda: diffusion_plots.plot_degraded(
        OPTICAL, SPECTRA[0], 0.1 * SPECTRA[0], {"64": SPECTRA[1], "1": SPECTRA[2]}, {"64": 0.01, "1": 0.05}
    ),
    "resolutions": lambda: diffusion_plots.plot_resolutions({"16": STAMPS[0, 2], "1": STAMPS[0, 2, :1, :1]}),
    "information": lambda: diffusion_plots.plot_information(
        ["64", "1"], np.array([10.0, 25]), np.array([[9.0, 22], [11, 28]]), [10.7, 24.7]
    ),
    "samples": lambda: diffusion_plots.plot_samples(
        OPTICAL, SPECTRA, np.stack([SPECTRA - 1, SPECTRA + 1], axis=1), SPECTRA, ["a", "b", "c"], SPECTRA
    ),
    "coverage by wavelength": lambda: diffusion_plots.plot_coverage_by_wavelength(
        OPTICAL, {"low": np.full(300, 0.6), "full": np.full(300, 0.7)}, 0.68, "Observed wavelength [Å, vacuum]"
    ),
    "few steps": lambda: diffusion_plots.plot_few_steps(
        [{"sampler": "ddim", "steps": n, "MSE x 1e3": 1.0, "seconds": 0.1 * n} for n in (5, 250)]
    ),
    "by kind": lambda: derived_plots.plot_by_kind({"pPXF": {"a": Z, "b": Z_FOUND}, "FIREFLY": {"a": Z}}, KINDS),
    "by kind, log": lambda: derived_plots.plot_by_kind({"": {"a": Z + 0.1}}, KINDS, log=True),
    "redshift pairs": lambda: derived_plots.plot_redshift_pairs(0.05 + 0.05 * Z, {"predict-z": 0.05 + 0.05 * Z_FOUND}),
    "index pairs": lambda: derived_plots.plot_index_pairs({"Dn4000": PAIR, "Mgb": PAIR}, {"Mgb": "Å"}),
    "mass and metallicity": lambda: derived_plots.plot_mass_metallicity(
        9 + Z, {"pPXF": (Z_FOUND - 1, np.full(400, 0.1))}, 1.2 + 0.3 * Z, (LEVELS + 9, LEVELS, LEVELS, "somebody+")
    ),
    "degeneracy": lambda: derived_plots.plot_degeneracy(
        {"pPXF": {"metal": Z - 1, "log_age": Z_FOUND - 1, "ebv": Z - 1}}
    ),
    "bimodality": lambda: derived_plots.plot_bimodality([(Z, Z_FOUND, "a", "b")] * 4),
    "two BPT": lambda: derived_plots.plot_bpt_pair({"real": (Z - 1.5, Z_FOUND - 1, KINDS), "drawn": (Z, Z, KINDS)}),
    "galaxies by class": lambda: image_plots.plot_stamps({"star-forming": RGB[:3], "quiescent": RGB[:1]}, 0.25),
    "spectra from images": lambda: image_plots.plot_spectra_from_images(
        RGB[:3], 0.25, OPTICAL, SPECTRA, SPECTRA + 0.1, ["a", "b", "c"], SPECTRA, (SPECTRA - 1, SPECTRA + 1)
    ),
    "method": lambda: image_plots.plot_method(RGB[0], OPTICAL, SPECTRA[0], SPECTRA[:2], SOME[0, :6], SOME[1, :6]),
    "latent space": lambda: image_plots.plot_latent_space(
        {"VAE": SOME[:, :240].reshape(160, 6)}, np.tile(GALAXY_CLASSES, 4)
    ),
    "reconstructions of classes": lambda: image_plots.plot_class_spectra(
        OPTICAL, SPECTRA, {"VAE": SPECTRA}, ["a", "b", "c"]
    ),
    "table of losses": lambda: image_plots.plot_losses_by_model(
        {"a": (0.65, 0.6, 0.7), "b": (0.8, 0.8, 0.8)}, {"a": 0.7}, {"the mean": 1.0}
    ),
    "shares": lambda: image_plots.plot_shares({"trees": {"s1": 0.5, "s2": -0.2}, "network": {"s1": 0.7, "s2": 0.1}}),
    "residuals": lambda: image_plots.plot_residuals({"AGN": SOME[0] ** 2, "quiescent": SOME[1, :9] ** 2}, "error"),
    "saliency": lambda: image_plots.plot_saliency(RGB[:2], SOME[0, :192].reshape(2, 6, 4, 4)[:, :3], 0.25, list("abc")),
    "robustness": lambda: image_plots.plot_robustness(
        {"seeing": ([1, 2], {"a": [0.5, 0.6]}), "depth [mag]": ([0, 1], {"a": [0.5, 30.0]})}, "loss"
    ),
    "applied": lambda: midir_plots.plot_applied(APPLIED),
    "redshifts": lambda: figures_applied.plot_applied(SUMMARY),
    "spectra applied": lambda: spectra_plots.plot_applied(ENCODED),
    "spectrum applied": lambda: spectra_plots.plot_spectrum(MEASURED, ENCODED, 0),
    "redshift": lambda: figures_applied.plot_redshift(REDSHIFTS, 1),
    "galaxy": lambda: midir_plots.plot_galaxy(APPLIED, OBSERVED, 0),
    "band": lambda: midir_plots.plot_band(WAVE[MID], LOG[:3], LOG[:3], 0.1 + 0 * LOG[:3], ["a", "b", "c"]),
}


@pytest.fixture(autouse=True)
def style():
    with plt.rc_context():
        plots.use_style()
        yield
    plt.close("all")


@pytest.mark.parametrize("name", FIGURES)
def test_axes_are_labelled_and_finite(name):
    fig = FIGURES[name]()
    fig.canvas.draw()
    axes = [ax for ax in fig.axes if ax.axison]
    assert axes
    shared = bool(fig.get_supxlabel())
    assert shared or all(ax.get_xlabel() for ax in axes if ax.get_label() != "<colorbar>")
    assert fig.get_supylabel() or any(ax.get_ylabel() for ax in axes) or name in ("scores", "applied")
    for ax in axes:
        assert ax.has_data() or ax.get_label() == "<colorbar>"
        assert np.isfinite([*ax.get_xlim(), *ax.get_ylim()]).all()


def test_every_figure_is_tested():
    files = (paths.ROOT / "paper_utils").glob("*/figures*.py")
    rooms = [plots, *(importlib.import_module(f"paper_utils.{file.parent.name}.{file.stem}") for file in files)]
    drawn = {name for room in rooms for name in vars(room) if name.startswith("plot_")} - {
        "plot_schematics",
        "plot_architecture",
        "plot_networks",
        "plot_missing",
        "plot_pipeline",
        "plot_realism",
    }
    assert drawn == {name for make in FIGURES.values() for name in make.__code__.co_names if name.startswith("plot_")}


def test_realism_shows_every_row_and_what_is_far_off_as_a_triangle():
    table = Table.read(paths.DATA / "realism.csv")
    fig = sky_plots.plot_realism(table)
    rows = [label.get_text() for ax in fig.axes for label in ax.get_yticklabels()]
    assert sorted(rows) == sorted(table["quantity"])
    far = (abs(table["mock"] - table["real"]) > 1.9 * table["tolerance"]).sum()
    marks = [line for ax in fig.axes for line in ax.lines if line.get_marker() in "<>"]
    assert sum(len(line.get_xdata()) for line in marks) == far


def test_histogram_counts_every_galaxy():
    ax = midir_plots.plot_chi2_histogram(CHI2).axes[0]
    assert sum(bar.get_height() for bar in ax.patches) == len(CHI2)


def test_a_reconstruction_below_zero_leaves_a_gap():
    fig = midir_plots.plot_reconstructions(WAVE, FLUX, -FLUX, BANDS, SEEN)
    assert np.isnan(fig.axes[0].lines[1].get_ydata()).all()


def test_schematics_name_both_ways_of_training():
    texts = " ".join(
        t.get_text() for ax in midir_plots.plot_schematics().axes for t in [*ax.texts, ax.title, ax._left_title]
    )
    assert "WGAN" in texts
    assert "GLO" in texts


def test_networks_say_how_many_neurons_and_what_they_do():
    fig = catalogue_plots.plot_networks({"redshift": Spec("zb_1", (120,), 1, "linear")}, 75)
    texts = [text.get_text() for text in fig.axes[0].texts]
    assert texts == ["75\ninputs", "120\nlinear", "1\nlinear", "redshift"]
    assert plots.plot_missing("no masses").axes[0].texts[0].get_text() == "no masses"


def test_pipeline_says_how_many_go_on():
    texts = " ".join(text.get_text() for text in diffusion_plots.plot_pipeline((10, 3, 5), (563, 4500)).axes[0].texts)
    for words in ("10 × 563", "3 of 10", "3 × 5 × 4500", "1 of 15"):
        assert words in texts.replace("\n", " ")


def test_colour_images_show_the_colour():
    stamp = np.zeros((5, 16, 16))
    stamp[:, 7:9, 7:9] = np.array([1, 2, 4, 8, 10])[:, None, None]  # u g r i z: red
    red, green, blue = np.moveaxis(diffusion_plots.colour_image(stamp, "ugriz"), -1, 0)[:, 7, 7]
    assert red > green > blue > 0


def test_histograms_by_kind_are_shares_of_each_kind():
    ax = derived_plots.plot_by_kind({"": {"a": Z}}, KINDS).axes[0]
    for outline in ax.patches:  # steps: every height twice, between zeros
        assert outline.get_xy()[1:-1:2, 1].sum() == pytest.approx(1)


def test_confusion_shares_are_of_what_is_expected():
    ax = FIGURES["confusion"]().axes[0]
    assert [text.get_text().split("\n")[1] for text in ax.texts] == ["99.1 %", "5.4 %", "0.9 %", "94.6 %"]


def test_bins_hold_medians_or_means_and_skip_the_empty():
    x, y = np.repeat([0.5, 2.5], 10), np.concatenate([np.arange(10.0), np.full(10, 7.0)])
    centres, (middle, low, high) = catalogue_plots.binned(x, y, np.arange(4.0))
    assert centres.tolist() == [0.5, 2.5]
    assert middle.tolist() == [4.5, 7]
    assert (low[0], high[0]) == pytest.approx((0.16 * 9, 0.84 * 9))
    assert catalogue_plots.binned(x, y, np.arange(4.0), mean=True)[1].tolist() == [4.5, 7]


def test_colours_are_told_apart_without_colour_vision():
    # Brightness alone separates what a figure compares: truth, model and photometry, by more than 5 % of white.
    linear = {c: matplotlib.colors.to_rgb(c) for c in (plots.TRUTH, plots.MODEL, plots.SKY)}
    luminance = sorted(np.dot(rgb, [0.2126, 0.7152, 0.0722]) for rgb in linear.values())
    assert np.diff(luminance).min() > 0.05


def test_colour_pictures_are_red_where_the_light_is_and_know_other_bands():
    cube = np.zeros((2, 5, 8, 8))
    cube[0, 2], cube[1, 0] = 5, 5  # i, g
    red, blue = image_plots.composite(cube, list("grizy"), np.full(5, 0.1)).reshape(2, -1, 3).mean(axis=1)
    assert red.argmax() == 0
    assert blue.argmax() == 2
    assert image_plots.composite(cube, list("JHKLM"), np.full(5, 0.1)).shape == (2, 8, 8, 3)


def test_losses_of_all_conditions_are_in_the_panel():
    low, high = FIGURES["robustness"]().axes[1].get_ylim()
    assert low < 0.5 < 30 < high
