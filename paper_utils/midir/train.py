"""Training of study 1 (Rissaki+ 2023, Sec. 3.2): its settings, and each of its networks from a library of SEDs."""

from dataclasses import asdict, dataclass, replace
from functools import partial
from operator import attrgetter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from paper_utils.base.containers import SedLibrary
from paper_utils.base.errors import DataError
from paper_utils.base.filters import HELP_BANDS
from paper_utils.base.photometry import measurement_matrix
from paper_utils.midir.apply import Reconstructor
from paper_utils.midir.latent_adam import adam_on_both
from paper_utils.midir.mixture import Mixture
from paper_utils.midir.model import GLO, WGAN, Adversaries, Generator, glo_loss, to_sphere, whitened_components
from paper_utils.nets import settings, training
from paper_utils.nets.dense import MLP
from paper_utils.nets.model_file import Model
from paper_utils.nets.plan import Batch, Plan
from paper_utils.nets.run import Run
from paper_utils.nets.settings import setting
from paper_utils.stats import scores

REDSHIFT = 2.0  # of the galaxies that the 20 bands see (Table 1)
# Of the generator in GLO; the paper has one, not printed. By validation: with 1e-5, four fifths of the weights decay to
# nothing at the printed rates.
WEIGHT_DECAY = 1e-7
RATES_PER_BIN = {"lr": 2e-3, "lr_latents": 1e-2}  # of the logGLO that is to be used; by validation, at any length
LR_MLP = 2e-3
N_HELD = 400  # galaxies at most on which the intervals of `Reconstructor.apply` are calibrated
SECOND, PER_BIN = "logGLO, second rates", "logGLO, per bin"
FEWER = (20, 30, 40)  # latents of the other generators of Table 4


@dataclass(frozen=True)
class Settings(settings.Settings):
    """What a run of study 1 can change. The paper chose the rates of its searches by validation, as the notebook."""

    n_seds: int = setting("simulated galaxies", paper=10_000)
    width: int = setting("neurons of each of the six hidden layers")
    n_epochs: int = setting("passes over the training set, of GLO", paper=10_000)
    batch_size: int = setting("spectra in a batch, of GLO", paper=100)
    lr: float = setting("Adam's learning rate on the generator, of GLO", paper=0.5)
    lr_latents: float = setting("the same on the latents", paper=0.05)
    lr_second: float = setting("generator's rate of a second logGLO: the printed one, or ours in `paper`", paper="")
    lr_latents_second: float = setting("the same on its latents", paper="")
    n_iterations: int = setting("iterations of WGAN", paper=15_000)
    n_steps: int = setting("steps of a search for latents", paper=1_000)
    n_test: int = setting("test galaxies, of 10 % of the library at most", paper=100)
    n_probe: int = setting("test galaxies of the experiments on redshift, noise and bands", paper="")
    n_restarts: int = setting("nearest starts of a search, for a mean and its uncertainty", paper="")
    n_networks: int = setting("networks of each kind of Tables 3 and 4, each from a seed of its own")
    sizes_wgan: tuple[int, ...] = setting("SEDs of which logWGANs learn, to see whether they lack data")
    n_latent: int = setting("latent dimensions", paper=50, default=50)
    photometry: str = setting("how bands see: interpolate or filters", paper="interpolate", default="interpolate")
    batch_size_wgan: int = setting("spectra in a batch, of WGAN", paper=100, default=100)
    lr_wgan: float = setting("RMSprop's learning rate on both networks, of WGAN", paper=0.001, default=0.001)


def split(library: SedLibrary, s: Settings, run: Run) -> tuple[SedLibrary, SedLibrary, SedLibrary]:
    """Galaxies to fit, to validate (100, or a tenth of the training set) and to test: 90:10 by id (Sec. 3.2).

    Test galaxies come in random order, so that the first hundred are a fair sample. The run remembers which are fitted.
    Raises DataError for fewer galaxies to fit than latents: latents start from as many principal components.
    """
    train, test = library.split(run.seed, (0.9, 0.1))
    test = test.select(np.random.default_rng(run.seed).permutation(len(test))[: s.n_test])
    order, n_validation = np.random.default_rng(run.seed + 1).permutation(len(train)), min(100, len(train) // 10)
    fitting = train.select(order[n_validation:])
    if (n := min(fitting.flux.shape)) < s.n_latent:
        problem = f"{len(library)} galaxies leave {len(fitting)} to fit, whose spectra have {n} principal components"
        remedy = f"For {s.n_latent} latents (n_latent) give more galaxies (n_seds), or set n_latent to {n} or fewer."
        raise DataError(problem, remedy=remedy)
    run.data = {"library": library.content_hash(), "split": fitting.content_hash()}
    return fitting, train.select(order[:n_validation]), test


def relative(library: SedLibrary, A: NDArray) -> SedLibrary:
    """The library with each galaxy in units of what its own photometry by A (m, L) adds up to, the integral of
    F_nu / lambda over ln lambda from band to band: its bolometric flux nobody knows who has only photometry."""
    rest_um, seen = A @ library.wave_um, library.flux @ A.T
    unit = np.trapezoid(seen / rest_um, np.log(rest_um), axis=1)[:, None]
    return replace(library, flux=(library.flux / unit).astype(library.flux.dtype))


def train_glo(name: str, flux: NDArray, s: Settings, run: Run, *, log: bool = True, nth: int = 0) -> Generator:
    """The generator of a GLO on F_nu (N, L), or of a logGLO; the `nth` of its kind starts from another seed."""
    x = _spectra(flux, log, run)
    model = run.make(partial(GLO, len(x), n_latent=s.n_latent, n_wave=x.shape[1], width=s.width, log=log), nth)
    return _fit_glo(numbered(name, nth), model, model.generator.learn_scale(x), s, run, nth, attrgetter("generator"))


def train_per_bin(flux: NDArray, s: Settings, run: Run) -> GLO:
    """A logGLO on F_nu (N, L) with each bin scaled by itself and latents that start from principal components; with
    its latents, from which searches start."""
    x = _spectra(flux, True, run)
    model = run.make(partial(GLO, len(x), n_latent=s.n_latent, n_wave=x.shape[1], width=s.width, log=True))
    x = model.generator.learn_scale(x, per_bin=True)
    model.s.data.copy_(to_sphere(whitened_components(x, s.n_latent)))
    return _fit_glo(PER_BIN, model, x, replace(s, **RATES_PER_BIN), run)


def _fit_glo(name: str, model: GLO, x: Tensor, s: Settings, run: Run, nth: int = 0, keep=lambda model: model) -> Model:
    how = {"optimizer": partial(adam_on_both, lr_latents=s.lr_latents), "weight_decay": WEIGHT_DECAY}
    plan = Plan.of_epochs(len(x), s.n_epochs, s.batch_size, s.lr, schedule="halving", seed=run.seed + nth, **how)
    return run.fit(name, model, glo_loss, {"x": x}, plan, keep=keep, settings=asdict(s))


def numbered(name: str, nth: int) -> str:
    """The name of the nth network of a kind, counted from 0."""
    return f"{name}, no. {nth + 1}" if nth else name


def of_kind(name: str, s: Settings, run: Run) -> list[Generator]:
    """The run's networks of a kind, of one seed or of all."""
    names = [numbered(name, nth) for nth in range(s.n_networks)]
    return [run.models[each] for each in names if each in run.models]


def train_wgan(
    name: str, flux: NDArray, s: Settings, run: Run, *, log: bool = True, kind: str = "plain", nth: int = 0
) -> Generator:
    """The generator of a WGAN on F_nu (N, L), or logWGAN; `kind` of critic as in `WGAN`, `nth` as in `train_glo`."""
    x = _spectra(flux, log, run)
    model = run.make(partial(WGAN, s.n_latent, log, kind, n_wave=x.shape[1], width=s.width), nth)
    x = model.generator.learn_scale(x)
    batch_size = Adversaries.N_CRITIC * s.batch_size_wgan
    plan = Plan(s.n_iterations, batch_size, s.lr_wgan, schedule="halving", seed=run.seed + nth)

    def train(**options):
        step = Adversaries(model, x, plan, run.fabric)
        return training.repeat(step, step.state, len(x), plan, run.fabric.device, **options)

    about = {"keep": attrgetter("generator"), "settings": asdict(s)}
    return run.trained(numbered(name, nth), model, train, (x, plan, Adversaries), **about)


def train_by_size(flux: NDArray, s: Settings, run: Run) -> dict[int, Generator]:
    """logWGANs of the first n SEDs of F_nu (N, L) for each n of `sizes_wgan`: do GANs lack data (Secs. 1, 6)?"""
    return {n: train_wgan(f"logWGAN, {n} SEDs", flux[:n], s, run) for n in s.sizes_wgan}


def train_mlp(name: str, y: NDArray, x: NDArray, s: Settings, run: Run, validation: tuple[NDArray, NDArray]) -> MLP:
    """The plain network for comparison: log photometry y (N, m) -> log spectra x (N, L), mean squared error; of all its
    states the one that does best on `validation`, the same of other galaxies."""
    (y, x), held_out = (
        [torch.tensor(values, dtype=torch.float32, device=run.fabric.device) for values in pair]
        for pair in ((y, x), validation)
    )
    model = run.make(partial(MLP, y.shape[1], x.shape[1])).learn_scale(y, x)
    how = {"lr": LR_MLP, "schedule": "halving", "keep": "best", "seed": run.seed}
    plan = Plan.of_epochs(len(x), s.n_epochs, s.batch_size, **how)
    watched = dict(zip("yx", held_out, strict=True))
    return run.fit(name, model, squares, {"y": y, "x": x}, plan, validation=watched, settings=asdict(s))


def squares(model: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
    """Mean squared error of the spectra that photometry gives."""
    return {"loss": nn.functional.mse_loss(model(batch["y"]), batch["x"])}


def train_glos(flux: NDArray, s: Settings, run: Run) -> None:
    """GLO and logGLO, also of 20, 30 and 40 latents (Table 4), of each `n_networks`; and one logGLO with the second
    pair of learning rates."""
    for nth in range(s.n_networks):
        train_glo("logGLO", flux, s, run, nth=nth)
        train_glo("GLO", flux, s, run, log=False, nth=nth)
        for n_latent in FEWER:
            train_glo(f"logGLO-{n_latent}", flux, replace(s, n_latent=n_latent), run, nth=nth)
    train_glo(SECOND, flux, replace(s, lr=s.lr_second, lr_latents=s.lr_latents_second), run)


def train_wgans(flux: NDArray, s: Settings, run: Run) -> None:
    """WGAN and logWGAN, of each `n_networks`; one logWGAN with a gradient penalty, and the beginning of those whose
    critic has a batch norm."""
    for nth in range(s.n_networks):
        train_wgan("WGAN", flux, s, run, log=False, nth=nth)
        train_wgan("logWGAN", flux, s, run, nth=nth)
    train_wgan("logWGAN, penalised", flux, s, run, kind="penalised")
    few = replace(s, n_iterations=-(-s.n_iterations // 5))
    for kind in ("joint", "separate"):
        train_wgan(f"logWGAN, {kind} norm", flux, few, run, kind=kind)


def train(library: SedLibrary, s: Settings, run: Run) -> dict[str, Model]:
    """All the study's models from its library, and the `Reconstructor` made of the best of them with its scores."""
    A = measurement_matrix(library.wave_um, HELP_BANDS, REDSHIFT, s.photometry)
    fitting, validation, test = split(relative(library, A), s, run)
    train_glos(fitting.flux, s, run)
    train_wgans(fitting.flux, s, run)
    pairs = [(np.log10(p.flux @ A.T), np.log10(p.flux[:, mid_infrared(p)])) for p in (fitting, validation)]
    train_mlp("perceptron", *pairs[0], s, run, pairs[1])
    model = reconstructor(train_per_bin(fitting.flux, s, run), fitting, s, run)
    model.card = model.card | {"scores": achieved(model, test)}
    return run.models


def achieved(model: Reconstructor, test: SedLibrary) -> dict[str, float]:
    """Share of galaxies [%] with chi2 < 5 in 5-35 um, by mixture and by searches, from fluxes without noise."""
    y, mid = test.flux @ model.A.cpu().numpy().T, mid_infrared(test)
    found = {"mixture": model.infer(y, 0.01 * y)[1], "searches": model.predict(y)}
    return {name: scores.share(scores.chi2(f[:, mid], test.flux[:, mid]) < 5)[0] for name, f in found.items()}


def mid_infrared(library: SedLibrary) -> NDArray:
    """Which of the wavelengths (L,) are to be reconstructed: 5-35 um."""
    return (library.wave_um >= 5) & (library.wave_um <= 35)


def reconstructor(glo: GLO, fitting: SedLibrary, s: Settings, run: Run) -> Reconstructor:
    """The model to be used, of a GLO and the galaxies that it was fitted to; one of the run's. Starting near, its
    searches need fewer steps than those from random latents."""
    bands = [f"{band.telescope} {band.name} {band.observed_um:g}" for band in HELP_BANDS]
    search = {"n_starts": s.n_restarts, "n_steps": min(s.n_steps, 300), "lr": 0.001}
    has_agn = fitting.params is not None and "f_AGN" in fitting.params.colnames
    agn = np.asarray(fitting.params["f_AGN"], float)[:, None] if has_agn else np.empty((len(fitting), 0))
    order, n_held = np.random.default_rng(run.seed).permutation(len(fitting)), min(N_HELD, len(fitting) // 5)
    held, rest, flux = order[:n_held], order[n_held:], fitting.normalised().flux
    mixture = Mixture.learn(flux[rest], agn[rest], run.seed)
    sizes = {"mixture": mixture.sizes, "n_held": n_held}
    model = Reconstructor(bands, REDSHIFT, s.photometry, **search, **sizes, **glo.config).to(glo.s.device)
    model.mixture.load_state_dict(mixture.state_dict())
    A = measurement_matrix(fitting.wave_um, HELP_BANDS, REDSHIFT, s.photometry)
    held_values = np.hstack([np.log(flux[held]), agn[held]])
    for buffer, values in ((model.wave_um, fitting.wave_um), (model.A, A), (model.held, held_values)):
        buffer.copy_(torch.as_tensor(values))
    model.glo.load_state_dict(glo.state_dict())
    model.card = glo.card
    run.models["reconstructor"] = model.eval()
    return model


def _spectra(flux: NDArray, log: bool, run: Run) -> Tensor:
    x = torch.tensor(flux, dtype=torch.float32, device=run.fabric.device)
    return torch.log10(x) if log else x
