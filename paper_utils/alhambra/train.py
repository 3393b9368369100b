"""Study 5's settings, and how its networks are trained: the thesis' four, densities of redshift, Appendix B's one."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from paper_utils.alhambra import apply, mixtures, model
from paper_utils.alhambra.fast import LinearStep
from paper_utils.alhambra.inputs import inputs_of, shape_columns
from paper_utils.alhambra.model import SPECS, STAR_ABOVE, Network
from paper_utils.base.containers import Catalogue
from paper_utils.base.errors import DataError
from paper_utils.nets import settings, training
from paper_utils.nets.checkpoints import History
from paper_utils.nets.dense import MLP
from paper_utils.nets.model_file import Model
from paper_utils.nets.plan import Plan
from paper_utils.nets.run import Run
from paper_utils.nets.settings import setting

LEAST = 20  # objects that a density network learns from


@dataclass(frozen=True, kw_only=True)
class Settings(settings.Settings):
    n_objects: int = setting("objects of the mock catalogue", paper=446_343)
    test_share: float = setting("share of objects held out", paper=0.05)
    n_epochs: tuple[int, int, int, int] = setting("epochs: redshift, stellarity, mass, type", paper=(80, 20, 7, 10))
    batch_stars: int = setting("objects in a step of the stellarity network", paper=16)
    batch_size: int = setting("objects in a step of the other three", paper=64, default=64)
    lr: float = setting("learning rate of the four, Keras' default", default=1e-3)
    order: int = setting("order of the polynomial that corrects outputs", paper="high", default=5)
    n_epochs_leak: int = setting("epochs of the star networks that go without some inputs", paper="–")
    widths: tuple[int, ...] = setting("layers of the networks that give p(z)", paper="–")
    n_epochs_density: int = setting("their epochs", paper="–")
    batch_density: int = setting("objects in a step of theirs", paper="–", default=256)
    lr_density: float = setting("their highest learning rate, of one cycle", paper="–", default=3e-3)
    decay_density: float = setting("their weight decay (AdamW)", paper="–", default=0.3)
    n_mixtures: int = setting("spectra of Appendix B", paper="500 000 thought needed")

    @property
    def epochs(self) -> dict[str, int]:
        """Of the thesis' networks, by name."""
        return dict(zip(SPECS, self.n_epochs, strict=True))


def label(part: Catalogue, name: str) -> NDArray:
    """What one of the networks learns (N,), NaN where the table has no value."""
    return _column(part.table, SPECS[name].column)


def truth(part: Catalogue, column: str) -> NDArray:
    """A column of the truth (N,), NaN where it is unknown, for stars (but `is_star`) and masses of quasars."""
    if part.truth is None:
        return np.full(len(part), np.nan)
    without = {"is_star": (), "log_mstar": ("is_star", "is_quasar")}.get(column, ("is_star",))
    unknown = np.any([_column(part.truth, kind) == 1 for kind in without] or [False], axis=0)
    return np.where(unknown, np.nan, _column(part.truth, column))


def _column(table, name: str) -> NDArray:
    """Floats (N,), NaN where the table has no value or no such column."""
    if name not in table.colnames:
        return np.full(len(table), np.nan)
    values = np.asarray(table[name], float)
    return np.where(np.abs(values) == 99, np.nan, values)


def learnable(*parts: Catalogue) -> list[str]:
    """The networks whose label varies in all of these parts."""

    def varies(values: NDArray, name: str) -> bool:
        known = values[np.isfinite(values)]
        return len(np.unique(known > STAR_ABOVE if name == "stellarity" else known)) > 1

    return [name for name in SPECS if all(varies(label(part, name), name) for part in parts)]


def split(catalogue: Catalogue, s: Settings, run: Run) -> tuple[Catalogue, Catalogue]:
    """Of those with a redshift, objects to learn from and to judge by, by the run's seed; the run remembers which.

    Where no object has a label the truth counts.
    """
    labels = label(catalogue, "redshift")
    found = catalogue.select((labels if np.isfinite(labels).any() else truth(catalogue, "z")) >= 0)
    parts = found.split(run.seed, (1 - s.test_share, s.test_share))
    run.data = {"library": found.content_hash(), "split": parts[0].content_hash()}
    return parts


def train(catalogue: Catalogue, s: Settings, run: Run) -> dict[str, Model]:
    """The four networks and the densities of redshift, by name."""
    part, _ = split(catalogue, s, run)
    networks(part, learnable(part), s, run)
    densities(part, s, run)
    return run.models


def networks(part: Catalogue, names: Sequence[str], s: Settings, run: Run) -> dict[str, Network]:
    """The thesis' networks of these names, each trained on the objects that have its label."""
    return {name: network(name, name, part, inputs_of(part.table), s.epochs[name], s, run) for name in names}


def network(
    key: str, name: str, part: Catalogue, columns: Sequence[str], n_epochs: int, s: Settings, run: Run, anneal=False
) -> Network:
    """One of the thesis' networks on some columns, kept as `key`; `anneal`: the learning rate falls to 0."""
    found, x, y, values = _begun(name, part, columns, s, run)
    plan = _network_plan(name, len(x), n_epochs, s, run, schedule="cosine" if anneal else "constant")
    learn = partial(_descend, found, x, y, plan, run.fabric)
    finish = (lambda model: model.learn_correction(x, values)) if found.spec.linear else None
    inputs = (x, torch.tensor(values), plan, _descend)
    return run.trained(key, found, learn, inputs, finish, what=f"{name} (Cacho 2020)", n_train=len(x))


def losses_by_epoch(name: str, part: Catalogue, s: Settings, run: Run) -> History:
    """Of a network trained on a tenth of the objects and validated on a hundredth, as the thesis chose its epochs.

    For a quarter longer than the settings say; `n_epochs` is added to the losses.
    """
    found, x, y, _ = _begun(name, part, inputs_of(part.table), s, run)
    n, n_held, n_epochs = len(x) // 10, max(len(x) // 100, 10), round(1.25 * s.epochs[name])
    held = {"x": x[n : n + n_held], "y": y[n : n + n_held]}
    how = {"validation": held, "label": name, "progress": run.progress}
    history = _descend(found, x[:n], y[:n], _network_plan(name, n, n_epochs, s, run), run.fabric, **how)
    return history | {"n_epochs": n_epochs}


def _begun(name: str, part: Catalogue, columns: Sequence[str], s: Settings, run: Run):
    """An untrained network that knows its scales; inputs, targets and labels of the objects that have its label."""
    found, values = run.make(lambda: Network(name, columns, s.order)), label(part, name)
    known = np.isfinite(values)
    x, values = found.inputs(part.table)[known], values[known]
    return found, x, found.learn_scale(x, values).targets(values).to(x.device), values


def _network_plan(name: str, n: int, n_epochs: int, s: Settings, run: Run, schedule: str = "constant") -> Plan:
    size = s.batch_stars if name == "stellarity" else s.batch_size
    return Plan.of_epochs(n, n_epochs, size, s.lr, seed=run.seed, optimizer=model.adam, schedule=schedule)


def _descend(found: Network, x: Tensor, y: Tensor, plan: Plan, fabric, validation=None, **options: Any) -> History:
    """Train on inputs x (N, n_in) and targets y, the linear ones by their closed-form gradients."""
    if not found.spec.linear:
        return training.fit(found, model.loss, {"x": x, "y": y}, plan, validation=validation, fabric=fabric, **options)
    step = LinearStep(found, x, y, plan)
    watch = validation and training.Validation(found, model.loss, validation, plan, fabric)
    return training.repeat(step, step.state, len(x), plan, fabric.device, validation=watch, **options)


def teachers(part: Catalogue) -> dict[str, NDArray]:
    """Redshifts to learn densities from, the best last: the label, and the truth where it is known."""
    known = {"label": label(part, "redshift"), "truth": truth(part, "z")}
    return {name: z for name, z in known.items() if np.isfinite(z).any()}


def densities(part: Catalogue, s: Settings, run: Run) -> dict[str, apply.PhotoZ]:
    """A density network for each teacher."""
    return {name: density(f"density, {name}", part, z, s, run) for name, z in teachers(part).items()}


def density(
    key: str, part: Catalogue, z: NDArray, s: Settings, run: Run, *, kind: str = "asinh", shapes=None, fitted=()
) -> apply.PhotoZ:
    """A network of p(z) that learns redshifts z (N,), NaN where unknown, and is calibrated on those set aside.

    kind, shapes, fitted : its features, see `apply.PhotoZ`; by default all shapes that the table has. Without errors of
        magnitudes it sees what the thesis' networks see.
    Raises DataError for too few redshifts.
    """
    n_aside = max(np.isfinite(z).sum() // 10, 10 * apply.N_KNOTS)  # to calibrate with
    if np.isfinite(z).sum() < n_aside + LEAST:
        problem = f"{np.isfinite(z).sum()} redshifts are too few to learn p(z) from"
        raise DataError(problem, remedy=f"Give {n_aside + LEAST} or more: {n_aside} are set aside to calibrate with.")
    bands = bands_of(part)
    if shapes is None:
        shapes = shape_columns(part.table, bands) if bands else inputs_of(part.table)
    found = run.make(lambda: apply.PhotoZ(bands, shapes, fitted, kind, widths=s.widths)).learn_depth(part.table)
    x, t = found.features(part.table), torch.tensor(np.log1p(z), dtype=torch.float32).to(found.depth.device)
    rows = np.random.default_rng(run.seed).permutation(np.flatnonzero(np.isfinite(z)))
    aside, rows = np.split(rows, [n_aside])
    found.learn_scale(x[rows], t[rows])
    how = {"weight_decay": s.decay_density, "optimizer": "adamw", "schedule": "one-cycle"}
    plan = Plan.of_epochs(len(rows), s.n_epochs_density, s.batch_density, s.lr_density, seed=run.seed, **how)
    rows, finish = torch.tensor(rows, device=x.device), lambda model: model.calibrate(x[aside], z[aside])
    about = {"what": "redshift of a galaxy as a density p(z)", "n_train": len(rows)}
    return run.fit(key, found, apply.loss, {"x": x, "t": t}, plan, rows=rows, finish=finish, **about)


def bands_of(part: Catalogue) -> list[str]:
    """Those of the catalogue's bands whose magnitudes have errors."""
    return [str(band) for band in part.bands if f"d{band}" in inputs_of(part.table)]


def mixture(key: str, flux: Tensor, parameters: NDArray, scaled: bool, run: Run) -> NDArray:
    """Appendix B: one network for all parameters (N, 32) of spectra (N, L); returns what it says of the last fifth.

    scaled : the loss is in units of each parameter's spread, else in the parameters' own units, as in the thesis.
    """
    n, y = 4 * len(flux) // 5, torch.tensor(parameters, dtype=torch.float32).to(flux.device)
    found = run.make(lambda: MLP(flux.shape[1], y.shape[1], (256, 256)))
    found.inputs.learn(flux[:n])
    if scaled:
        found.outputs.learn(y[:n])
    plan = Plan.of_epochs(n, 12, 100, seed=run.seed)
    run.fit(key, found, mixtures.loss, {"x": flux[:n], "y": y[:n]}, plan, what="Appendix B of Cacho 2020")
    with torch.no_grad():
        return found(flux[n:]).cpu().numpy()
