"""Study 2's trainings: settings, the start from principal components, the three recipes of Sec. 4, and ours."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from paper_utils.autoencoder.apply import Data, SpectrumAutoencoder, latents, prepared, rows
from paper_utils.autoencoder.fast import FastEncoder
from paper_utils.autoencoder.linear import PrincipalComponents
from paper_utils.autoencoder.mask_aware import MaskAwareAutoencoder, completion_loss
from paper_utils.autoencoder.model import latent_loss, reconstruction_loss
from paper_utils.base.containers import Spectra
from paper_utils.nets import settings
from paper_utils.nets.model_file import Model
from paper_utils.nets.plan import Loss, Plan
from paper_utils.nets.run import Run
from paper_utils.nets.settings import setting

FRACTIONS = (0.7, 0.15, 0.15)  # to train, to validate and to test on; the first is printed (Sec. 4)
N_WATCHED = 400  # validation spectra whose loss is followed


@dataclass(frozen=True)
class Settings(settings.Settings):
    """How much of study 2 a run does."""

    n_spectra: int = setting("mock spectra", paper=100_000)
    channels: tuple[int, int, int] = setting("of the convolutions; 128, 256 are the authors' code's", paper="–, –, 512")
    n_start: int = setting("steps of the encoder towards principal components before the rest", paper=0)
    n_steps: int = setting("steps of each of the three trainings", paper="300 epochs")
    n_steps_aware: int = setting("steps of the mask-aware training, each of twice as many spectra", paper="–")
    batch_size: int = setting("spectra in a step")
    lr: float = setting("highest rate of the one-cycle schedule")
    augment: float = setting("share of each batch with altered redshifts, in the second training")
    n_networks: int = setting("networks of each kind, each from a seed of its own", paper="1")
    n_test: int = setting("test spectra in the experiments below the loss table")
    n_outliers: int = setting("outliers planted of each kind", paper="–")
    precision: str = setting("bf16-mixed takes half the time where the hardware has bfloat16", default="32-true")
    n_latent: int = setting("latents S", paper=10, default=10)
    lr_start: float = setting("highest rate of the start's schedule", paper="–", default=3e-3)
    consistency: float = setting("weight of the penalty, in the third training", default=2.0)
    lr_aware: float = setting("highest rate of the mask-aware training", paper="–", default=1e-3)
    decay_aware: float = setting("its weight decay (AdamW): 1024 features learn noise by heart", paper="–", default=0.3)
    consistency_aware: float = setting("weight of its penalty", paper="–", default=0.5)


def train(data: Spectra, s: Settings, run: Run) -> dict[str, Model]:
    """Split the spectra by the run's seed and train the study's models."""
    learned, watched, _ = data.split(run.seed, FRACTIONS)
    run.data = {"library": data.content_hash(), "split": learned.content_hash()}
    twin, _ = train_all(*(prepared(part, run.fabric.device) for part in (learned, watched)), s, run)
    return {"PCA": twin, **run.models}


def train_all(fit: Data, watch: Data, s: Settings, run: Run) -> tuple[PrincipalComponents, dict[str, list[Model]]]:
    """The principal components, and the autoencoders of each kind, from spectra as `prepared` makes them.

    The three of the paper begin at the same point: at random or, with `n_start`, where the components are, after as
    many steps of the encoder alone towards the components' latents. The mask-aware one begins as the components.
    """
    twin = PrincipalComponents(s.n_latent).to(run.fabric.device).learn(fit)
    s_fit = twin.standardise(latents(twin, fit))
    models = [_networks(twin, s_fit, fit, watch, s, run, nth) for nth in range(s.n_networks)]
    return twin, {kind: [networks[kind] for networks in models] for kind in models[0]}


def _networks(
    twin: PrincipalComponents, s_fit: Tensor, fit: Data, watch: Data, s: Settings, run: Run, nth: int
) -> dict[str, Model]:
    """One autoencoder of each kind, the `nth`, from a seed of its own; s_fit (N, S) are the twin's latents."""
    number, seed = f", no. {nth + 1}" if nth else "", run.seed + nth
    if s.n_start:
        plan = Plan(s.n_start, s.batch_size, s.lr_start, schedule="one-cycle", seed=seed)
        encoder = run.make(lambda: FastEncoder(s.n_latent, s.channels), nth)
        start = run.fit("start" + number, encoder, latent_loss, {"y": fit["y"], "z": fit["z"], "s": s_fit}, plan)
    plan = Plan(s.n_steps, s.batch_size, s.lr, schedule="one-cycle", seed=seed)
    recipes = {"plain": {}, "augmented": {"augment": s.augment}, "consistency": {"consistency": s.consistency}}
    models = {}
    for kind, recipe in recipes.items():
        model = run.make(lambda: SpectrumAutoencoder(s.n_latent, s.channels), nth)
        if s.n_start:
            model.start_from(*twin.start())
            model.encoder.load_state_dict(start.state_dict())
        models[kind] = _fitted(kind + number, model, partial(reconstruction_loss, **recipe), plan, fit, watch, run)
    models["mask-aware"] = mask_aware(fit, watch, s, run, nth, "mask-aware" + number)
    return models


def mask_aware(
    fit: Data, watch: Data, s: Settings, run: Run, nth: int = 0, name: str = "mask-aware"
) -> MaskAwareAutoencoder:
    """The autoencoder that knows what was observed, from where the components are."""
    model = run.make(lambda: MaskAwareAutoencoder(s.n_latent), nth)
    model.begin(fit)
    how = {"optimizer": "adamw", "weight_decay": s.decay_aware, "schedule": "one-cycle", "seed": run.seed + nth}
    plan = Plan(s.n_steps_aware, 2 * s.batch_size, s.lr_aware, **how)
    loss = partial(completion_loss, consistency=s.consistency_aware)
    about = {"what": "galaxy spectra, from what of them was observed (after Melchior+ 2022)"}
    return _fitted(name, model, loss, plan, fit, watch, run, **about)


def _fitted(
    name: str, model: SpectrumAutoencoder, loss: Loss, plan: Plan, fit: Data, watch: Data, run: Run, **about: Any
) -> Model:
    """A trained model that knows what it learned from, and what held-out spectra look like."""
    model.summarise(fit)
    spectra, watched = ({key: part[key] for key in "ywz"} for part in (fit, rows(watch, slice(N_WATCHED))))
    finish = partial(SpectrumAutoencoder.learn_ordinary, data=watch)
    return run.fit(name, model, loss, spectra, plan, validation=watched, finish=finish, **about)
