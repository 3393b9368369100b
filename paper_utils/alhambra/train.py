"""Study 5's settings, and how its networks are trained: the thesis' four, densities of redshift, Appendix B's one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from paper_utils.alhambra import apply, mixtures, model
from paper_utils.alhambra.fast import LinearStep
from paper_utils.alhambra.inputs import bands_of, detection, inputs_of, shape_columns
from paper_utils.alhambra.model import READINGS, SPECS, STAR_ABOVE, Network
from paper_utils.alhambra.template_fit import Models
from paper_utils.base.containers import Catalogue
from paper_utils.base.errors import DataError
from paper_utils.nets import settings, training
from paper_utils.nets.checkpoints import History
from paper_utils.nets.dense import MLP
from paper_utils.nets.model_file import Model
from paper_utils.nets.plan import Plan
from paper_utils.nets.run import Run
from paper_utils.nets.settings import setting

FEWEST = 50  # objects that teach a quantity, or stars and galaxies
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
    n_networks: int = setting("networks of each kind, each from a seed of its own", paper="1")
    n_epochs_listing: int = setting("epochs of the networks that are trained as listed", paper=150)
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
    return _column(part.table, (SPECS | READINGS)[name].column)


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


def train(catalogue: Catalogue, s: Settings, run: Run, **how: Any) -> dict[str, Model]:
    """The four networks and the densities of redshift, by name; `how` as in `density`."""
    part, _ = split(catalogue, s, run)
    networks(part, learnable(part), s, run)
    densities(part, s, run, **how)
    return run.models


def networks(part: Catalogue, names: Sequence[str], s: Settings, run: Run, nth: int = 0) -> dict[str, Network]:
    """The thesis' networks of these names, trained on the objects that have their labels; the `nth` of each kind."""
    return {name: network(name, name, part, inputs_of(part.table), s.epochs[name], s, run, nth=nth) for name in names}


def network(
    key: str,
    name: str,
    part: Catalogue,
    columns: Sequence[str],
    n_epochs: int,
    s: Settings,
    run: Run,
    *,
    nth: int = 0,
    anneal: bool = False,
    normalise: bool = False,
) -> Network:
    """One of the thesis' networks on some columns, kept as `key`; the `nth` of its kind starts from another seed.

    anneal : the learning rate falls to 0.   normalise : it learns from inputs in units of their scatter about their
    means; the network that is returned takes them as they are.
    """
    found, x, y, values = _begun(name, part, columns, s, run, nth)
    plan = _network_plan(name, len(x), n_epochs, s, run.seed + nth, "cosine" if anneal else "constant")
    centre, scale = torch.zeros_like(x[0]), torch.ones_like(x[0])
    if normalise:
        centre, scale = x.mean(dim=0), x.std(dim=0).clamp(min=1e-6)
    seen = (x - centre) / scale
    learn = partial(_descend, found, seen, y, plan, run.fabric)

    def finish(trained: Network) -> None:
        model.fold(trained, centre, scale)
        if not trained.spec.classifies:
            trained.learn_correction(x, values)

    inputs = (seen, torch.tensor(values), plan, _descend)
    about = {"what": f"{name} (Cacho 2020)", "n_train": len(x)}
    return run.trained(numbered(key, nth), found, learn, inputs, finish, **about)


def numbered(name: str, nth: int) -> str:
    """The name of the nth network of a kind, counted from 0."""
    return f"{name}, no. {nth + 1}" if nth else name


def losses_by_epoch(name: str, part: Catalogue, s: Settings, run: Run) -> History:
    """Of a network trained on a tenth of the objects and validated on a hundredth, as the thesis chose its epochs.

    For a quarter longer than the settings say. `n_epochs` is added to the losses, and `variance`, the mean squared
    error of saying the mean of the held-out targets (NaN for classes), so that r^2 = 1 - loss / variance.
    """
    found, x, y, _ = _begun(name, part, inputs_of(part.table), s, run)
    n, n_held, n_epochs = len(x) // 10, max(len(x) // 100, 10), round(1.25 * s.epochs[name])
    held = {"x": x[n : n + n_held], "y": y[n : n + n_held]}
    how = {"validation": held, "label": name, "progress": run.progress}
    history = _descend(found, x[:n], y[:n], _network_plan(name, n, n_epochs, s, run.seed), run.fabric, **how)
    spread = np.nan if found.spec.classifies else float(held["y"].var(dim=0, correction=0).mean())
    return history | {"n_epochs": n_epochs, "variance": spread}


def _begun(name: str, part: Catalogue, columns: Sequence[str], s: Settings, run: Run, nth: int = 0):
    """An untrained network that knows its scales; inputs, targets and labels of the objects that have its label."""
    found, values = run.make(lambda: Network(name, columns, s.order), nth), label(part, name)
    known = np.isfinite(values)
    x, values = found.inputs(part.table)[known], values[known]
    return found, x, found.learn_scale(x, values).targets(values).to(x.device), values


def _network_plan(name: str, n: int, n_epochs: int, s: Settings, seed: int, schedule: str = "constant") -> Plan:
    size = s.batch_stars if (SPECS | READINGS)[name].classifies else s.batch_size
    return Plan.of_epochs(n, n_epochs, size, s.lr, seed=seed, optimizer=model.adam, schedule=schedule)


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


def lessons(part: Catalogue) -> dict[str, NDArray]:
    """What can be learned beside the redshift (`others.OTHERS`), (N,) by name and NaN where unknown: from the truth or,
    where it knows nothing, the label. Stars teach only that they are stars."""
    stars = label(part, "stellarity")
    stars = np.where(np.isnan(stars) | (stars == 0.5), np.nan, stars > STAR_ABOVE)  # 0.5 is undecided
    found = {"p_star": (truth(part, "is_star"), stars)}
    found |= {"type": (truth(part, "sed_type"), label(part, "type"))}
    found |= {"log_mass": (truth(part, "log_mstar"), label(part, "mass"))}
    best = {name: known if np.isfinite(known).any() else other for name, (known, other) in found.items()}
    is_star = best["p_star"] == 1
    best |= {name: np.where(is_star, np.nan, values) for name, values in best.items() if name != "p_star"}

    def teaches(name: str, values: NDArray) -> bool:
        known = values[np.isfinite(values)]
        fewest = min(np.sum(known == 1), np.sum(known == 0)) if name == "p_star" else len(known)
        return fewest >= FEWEST and len(np.unique(known)) > 1

    return {name: values for name, values in best.items() if teaches(name, values)}


def densities(part: Catalogue, s: Settings, run: Run, **how: Any) -> dict[str, apply.PhotoZ]:
    """A density network for each teacher, which tells all else that can be learned; `how` as in `density`."""
    how = {"others": lessons(part)} | how
    return {name: density(f"density, {name}", part, z, s, run, **how) for name, z in teachers(part).items()}


def density(
    key: str,
    part: Catalogue,
    z: NDArray,
    s: Settings,
    run: Run,
    *,
    kind: str = "asinh",
    shapes: Sequence[str] | None = None,
    fitted: Sequence[str] = (),
    others: Mapping[str, NDArray] | None = None,
    templates: Models | None = None,
    weight: NDArray | None = None,
    nth: int = 0,
) -> apply.PhotoZ:
    """A network of p(z) that learns redshifts z (N,), NaN where unknown, and is calibrated on those set aside.

    kind, shapes, fitted : its features, see `apply.PhotoZ`; by default all shapes that the table has. Without errors of
        magnitudes it sees what the thesis' networks see.
    others : what else it learns, see `lessons`; then it learns no redshift of stars.
    templates : in the bands that have errors (`bands_of`), to carry and fit.
    weight : (N,) of the redshifts in training and calibration, see `reweighting.weights`; by default equal.
    nth : of its kind; each starts from another seed.

    Raises DataError for too few redshifts.
    """
    bands, others = bands_of(part), others or {}
    if shapes is None:
        shapes = shape_columns(part.table, bands) if bands else inputs_of(part.table)
    z = np.where(others["p_star"] == 1, np.nan, z) if "p_star" in others else z
    n_aside = max(np.isfinite(z).sum() // 10, 10 * apply.N_KNOTS)  # to calibrate with
    if np.isfinite(z).sum() < n_aside + LEAST:
        problem = f"{np.isfinite(z).sum()} redshifts are too few to learn p(z) from"
        raise DataError(problem, remedy=f"Give {n_aside + LEAST} or more: {n_aside} are set aside to calibrate with.")
    grid = templates.flux.shape[:2] if templates else ()
    options = {"widths": s.widths, "learned": list(others), "detection": detection(part, bands), "templates": grid}
    found = run.make(lambda: apply.PhotoZ(bands, shapes, fitted, kind, **options), nth)
    found.learn_depth(part.table, np.isfinite(z))
    if templates:
        found.templates.learn(templates)
    x, values = found.features(part.table), {"t": np.log1p(z), **others}
    values |= {} if weight is None else {"weight": weight}
    data = {name: torch.tensor(y, dtype=torch.float32).to(x.device) for name, y in values.items()}
    known, taught = np.isfinite(z), [np.isfinite(y) for y in others.values()]
    also, random = np.any([known, *taught], axis=0) & ~known, np.random.default_rng(run.seed + nth)
    rows, more = (random.permutation(np.flatnonzero(which)) for which in (known, also))
    aside, rows = np.split(rows, [n_aside])
    aside, rows = np.append(aside, more[: len(more) // 10]), np.append(rows, more[len(more) // 10 :])
    found.learn_scale(x[rows], data["t"][rows], {name: data[name][rows] for name in others})
    how = {"weight_decay": s.decay_density, "optimizer": "adamw", "schedule": "one-cycle"}
    plan = Plan.of_epochs(len(rows), s.n_epochs_density, s.batch_density, s.lr_density, seed=run.seed + nth, **how)
    held, w = {name: y[aside] for name, y in others.items()}, None if weight is None else weight[aside]

    def finish(trained: apply.PhotoZ) -> None:
        trained.calibrate(x[aside], z[aside], held, w)

    about = {"what": "redshift of a galaxy as a density p(z)", "n_train": len(rows)}
    rows = torch.tensor(rows, device=x.device)
    return run.fit(numbered(key, nth), found, apply.loss, {"x": x, **data}, plan, rows=rows, finish=finish, **about)


def one_for_all(key: str, x: Tensor, values: NDArray, scaled: bool, run: Run) -> NDArray:
    """One network for all values (N, K) of inputs x (N, n), as in Appendix B for the 32 parameters of a spectrum;
    returns what it says of the last fifth.

    scaled : the loss is in units of each value's spread, else in the values' own units, as in the thesis.
    """
    n, y = 4 * len(x) // 5, torch.tensor(values, dtype=torch.float32).to(x.device)
    found = run.make(lambda: MLP(x.shape[1], y.shape[1], (256, 256)))
    found.inputs.learn(x[:n])
    if scaled:
        found.outputs.learn(y[:n])
    plan = Plan.of_epochs(n, 12, 100, seed=run.seed)
    run.fit(key, found, mixtures.loss, {"x": x[:n], "y": y[:n]}, plan, what="several outputs at once (Cacho 2020)")
    with torch.no_grad():
        return found(x[n:]).cpu().numpy()
