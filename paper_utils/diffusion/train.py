"""Study 3's settings and trainings: two diffusion models and two contrastive networks, from images and spectra."""

import copy
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from paper_utils.base.containers import Images, Spectra
from paper_utils.diffusion import angstrom_grid as grid
from paper_utils.diffusion.apply import SpectraFromImages
from paper_utils.diffusion.contrastive import Contrastive, contrastive_loss
from paper_utils.diffusion.model import AVERAGE, Diffusion, PlainCNN, contexts, diffusion_loss, encoder_loss, plain_loss
from paper_utils.nets import settings
from paper_utils.nets.model_file import Model
from paper_utils.nets.plan import Batch, Plan
from paper_utils.nets.run import Run
from paper_utils.nets.settings import setting

Z_RANGE = grid.Z_RANGE
CONVERGED = "until convergence"
Z_SHARE = 1 / 7  # as of study 4's network here, whose targets are six latents and the redshift
CYCLE = {"optimizer": "adamw", "schedule": "one-cycle"}


@dataclass(frozen=True)
class Data(settings.Settings):
    n_pairs: int = setting("images and spectra", paper=270_621)
    n_test: int = setting("of them to judge by", paper=1506)
    n_validation: int = setting("of them to watch the training by", paper=512)
    pin: bool = setting("learn spectra in the rest frame, and the redshift beside", paper=False)
    standardise: bool = setting("log spectra by wavelength", paper=False)


@dataclass(frozen=True)
class ImageEncoder(settings.Settings):
    width: float = setting("factor of the image encoders' channels", paper=1.0)
    stretch: str = setting("of the images' flux", paper="linear")
    n_steps: int = setting("steps towards principal coefficients, before the diffusion models", paper=0)
    lr: float = setting("highest learning rate in those steps")


@dataclass(frozen=True)
class Diffusions(settings.Settings):
    """What both diffusion models share."""

    n_attention: int = setting("depths that look at the image, beside the bottom", paper=1)
    prediction: str = setting("what the U-Nets predict", paper="noise")
    n_components: int = setting("of the Gaussian that the U-Nets begin with and correct", paper=0)
    lr: float = setting("highest learning rate", paper=1e-4)


@dataclass(frozen=True)
class Network(settings.Settings):
    """One network of spectra at one resolution."""

    patch: int = setting("elements that enter together", paper=1)
    n_steps: int = setting("of the training", paper=CONVERGED)
    batch_size: int = setting("pairs in a step (paper: 512 low; full 224, contrastive 340)")


@dataclass(frozen=True)
class Denoiser(Network):
    """The diffusion model of one resolution."""

    base: int = setting("channels of the U-Net", paper=64)
    mults: tuple[int, ...] = setting("factors of the channels, depth by depth", paper=(1, 2, 4, 8))
    contrast: float = setting("scatter of standardised log spectra")


@dataclass(frozen=True)
class Matches(settings.Settings):
    """What both contrastive networks share."""

    image: str = setting("image encoder", paper="resnet50")
    base: int = setting("channels of the spectrum's encoder", paper=64)
    mults: tuple[int, ...] = setting("factors of the channels, depth by depth", paper=(1, 2, 4, 8, 16))
    lr: float = setting("highest learning rate", paper=1e-4)


@dataclass(frozen=True)
class Search(settings.Settings):
    """From an image to the spectrum that is kept."""

    sampler: str = setting("from noise to samples", paper="ancestral")
    n_steps: int = setting("denoising steps", paper=250)
    n_low: int = setting("candidates at low resolution", paper="several")
    n_kept: int = setting("of which are kept", paper=3)
    n_full: int = setting("candidates at full resolution of each", paper=5)


@dataclass(frozen=True)
class Independent(settings.Settings):
    """Samples that nothing chose, to ask whether they are calibrated."""

    n_galaxies: int = setting("test galaxies", paper="–")
    n_samples: int = setting("samples of each", paper="–")


@dataclass(frozen=True)
class Fits(settings.Settings):
    """Full-spectrum fits."""

    n_galaxies: int = setting("test galaxies fitted with pPXF, observed and predicted", paper=1506)
    n_draws_ppxf: int = setting("bootstrap draws of pPXF", paper=50)
    n_draws_firefly: int = setting("bootstrap draws of FIREFLY", paper=10)
    n_sampled: int = setting("galaxies of which several samples are fitted", paper="–")
    n_each: int = setting("samples of each of those", paper="–")
    n_jobs: int = setting("processes", paper="–")


@dataclass(frozen=True)
class Ablation(settings.Settings):
    """Table 3: what networks lose that see less."""

    network: str = setting("regression or diffusion", paper="diffusion")
    n_steps: int = setting("of each training", paper=CONVERGED)
    n_seeds: int = setting("trainings of each case", paper=1)
    width: float = setting("factor of the image encoders' channels", paper=1.0)
    n_test: int = setting("test galaxies", paper=256)
    lr: float = setting("highest learning rate of the regression networks")


@dataclass(frozen=True)
class Settings(settings.Settings):
    precision: str = setting("of the networks' training; bf16-mixed is faster on a GPU")
    data: Data = setting("images and spectra")
    encoder: ImageEncoder = setting("image encoders")
    diffusion: Diffusions = setting("both diffusion models")
    low: Denoiser = setting("the low-resolution diffusion model")
    full: Denoiser = setting("the full-resolution diffusion model")
    match: Matches = setting("both contrastive networks")
    low_match: Network = setting("the contrastive network of low resolution")
    full_match: Network = setting("the contrastive network of full resolution")
    search: Search = setting("from an image to a spectrum")
    independent: Independent = setting("independent samples")
    fits: Fits = setting("fits of spectra")
    ablation: Ablation = setting("networks of Table 3")
    n_steps_cnn: int = setting("steps of the networks that only serve to compare", paper="–")


class Part(NamedTuple):
    """Images and spectra of the same galaxies in the same order."""

    images: Images
    spectra: Spectra


def split(images: Images, spectra: Spectra, s: Data, seed: int) -> tuple[Part, Part, Part]:
    """Training, validation and test set of the galaxies that have a spectrum on `angstrom_grid.WAVE` (`to_grid`)."""
    held_out = [n / len(spectra) for n in (s.n_validation, min(s.n_test, len(spectra) // 4))]
    parts = spectra.split(seed, (1 - sum(held_out), *held_out))
    return tuple(Part(rows_of(images, part.ids), part) for part in parts)


def rows_of(container, ids):
    """The objects of a container that have these ids, in their order."""
    row_of = {name: i for i, name in enumerate(container.ids)}
    return container.select([row_of[name] for name in ids])


def batch_of(part: Part, pin: bool, device: torch.device | str) -> Batch:
    """What networks learn from: "images" (N, n_bands, H, H), log spectra "x" (N, 4500) and "low" (N, 563).

    pin : in the rest frame, see `grid.pinned`; published, as observed.
    """
    x = grid.pinned(part.spectra.flux, part.spectra.z) if pin else np.log(part.spectra.flux)
    x, images = (torch.tensor(values, dtype=torch.float32, device=device) for values in (x, part.images.cube))
    return {"images": images, "x": x, "low": grid.low(x).contiguous()}


def low_resolution(data: Batch) -> Batch:
    """The same for networks of low-resolution spectra."""
    return {"images": data["images"], "x": data["low"]}


def train_diffusion(
    name: str, data: Batch, s: Settings, one: Denoiser, run: Run, validation: Batch | None = None,
    encoder: Diffusion | None = None,
) -> Diffusion:  # fmt: skip
    """A diffusion model of data = {"images", "x"}, or with "low" one that brings it to the resolution of "x".

    encoder : one whose image encoder is taken, where `s.encoder.n_steps` says that it is trained beforehand.
    """
    about = {"n_low": data["low"].shape[1] if "low" in data else None, "n_bands": data["images"].shape[1]}
    about |= {"n_components": s.diffusion.n_components, "prediction": s.diffusion.prediction, "base": one.base}
    about |= {"mults": one.mults, "patch": one.patch, "n_attention": s.diffusion.n_attention}
    about |= {"image_width": s.encoder.width, "stretch": s.encoder.stretch, "pooled": s.diffusion.n_components > 0}
    model = run.make(lambda: Diffusion(data["x"].shape[1], **about))
    # Super-resolution is given the redshift with the low-resolution spectrum.
    contrast = one.contrast * (1 if "low" in data else _weights(data["x"], s))
    model.learn_scale(data["images"], data["x"] if s.data.standardise else None, contrast)
    ready, watched = data, validation
    if s.encoder.n_steps:
        if encoder is None:
            plan = Plan(s.encoder.n_steps, 64, s.encoder.lr, **CYCLE, seed=run.seed)
            encoder = run.fit(f"encoder of {name}", copy.deepcopy(model), encoder_loss, data, plan)
            model.load_state_dict(encoder.state_dict())
        model.encoder.load_state_dict(encoder.encoder.state_dict())
        # An encoder that has been trained stays as it is, and has to look at each image only once.
        ready, watched = (None if part is None else _encoded(model, part) for part in (data, validation))
    if s.diffusion.n_components:
        model.learn_residuals(data["x"], ready["context"], data.get("low"))
    plan = Plan(one.n_steps, one.batch_size, s.diffusion.lr, average=AVERAGE, **CYCLE, seed=run.seed)
    return run.fit(name, model, diffusion_loss, ready, plan, validation=watched)


def _weights(x: Tensor, s: Settings) -> Tensor:
    """Scatter (n_wave,) of standardised elements: 1, and of a pinned redshift what makes it `Z_SHARE` of a loss.

    With 1 it would be one in 563 elements, and image encoders of few steps would learn next to nothing of it.
    """
    weights, n_z = torch.ones_like(x[0]), grid.EVERY if x.shape[1] == grid.WAVE.size else 1
    if s.data.pin:
        weights[-n_z:] = (Z_SHARE / (1 - Z_SHARE) * (x.shape[1] / n_z - 1)) ** 0.5
    return weights


def _encoded(model: Diffusion, data: Batch) -> Batch:
    return {name: x for name, x in data.items() if name != "images"} | {"context": contexts(model, data["images"])}


def train_contrastive(name: str, data: Batch, s: Settings, one: Network, run: Run, validation: Batch) -> Contrastive:
    """The network that ranks spectra like data["x"] by how well they go with an image."""
    about = {"base": s.match.base, "mults": s.match.mults, "patch": one.patch, "image": s.match.image}
    about |= {"n_bands": data["images"].shape[1], "image_width": s.encoder.width, "stretch": s.encoder.stretch}
    model = run.make(lambda: Contrastive(data["x"].shape[1], **about))
    model.learn_scale(data["images"], data["x"] if s.data.standardise else None)
    plan = Plan(one.n_steps, one.batch_size, s.match.lr, weight_decay=1e-3, **CYCLE, seed=run.seed)
    return run.fit(name, model, contrastive_loss, data, plan, validation=validation)


def train_regression(name: str, data: Batch, s: Settings, run: Run, n_steps: int, width: float) -> PlainCNN:
    """The plain network from images to spectra like data["x"]; width: factor of its image encoder's channels."""
    about = {"n_bands": data["images"].shape[1], "image_width": width, "stretch": s.encoder.stretch}
    model = run.make(lambda: PlainCNN(data["x"].shape[1], **about))
    model.learn_scale(data["images"], data["x"], _weights(data["x"], s))
    plan = Plan(n_steps, 64, s.ablation.lr, **CYCLE, seed=run.seed)
    return run.fit(name, model, plain_loss, data, plan)


def train_networks(data: Batch, s: Settings, run: Run, validation: Batch) -> dict[str, Model]:
    """The four networks of the pipeline, the arguments of `SpectraFromImages.of`."""
    low_data, low_validation = low_resolution(data), low_resolution(validation)
    low = train_diffusion("diffusion, low", low_data, s, s.low, run, low_validation)
    return {
        "low": low,
        "full": train_diffusion("diffusion, full", data, s, s.full, run, validation, encoder=low),
        "low_match": train_contrastive("contrastive, low", low_data, s, s.low_match, run, low_validation),
        "full_match": train_contrastive("contrastive, full", data, s, s.full_match, run, validation),
    }


def assembled(networks: dict[str, Model], part: Part, s: Settings, run: Run) -> SpectraFromImages:
    """The trained networks as the model that is kept in one file; part: the training set."""
    model = SpectraFromImages.of(networks, part.images, pin=s.data.pin, **vars(s.search))
    z, cards = part.spectra.z, {name: network.card for name, network in networks.items()}
    model.card = cards["low"] | {"name": "spectra from images", "finished": all(c["finished"] for c in cards.values())}
    model.card |= {"n_training": len(z), "z": [float(z.min()), float(z.max())]}
    model.card |= {key: {name: card[key] for name, card in cards.items()} for key in ("plan", "wall_s", "history")}
    run.cards["spectra from images"], run.models["spectra from images"] = model.card, model
    return model


def train(data: tuple[Images, Spectra], s: Settings, run: Run) -> dict[str, Model]:
    """All the study's models from images and spectra (on `WAVE_OBS`) of the same galaxies, as the notebook has them."""
    from paper_utils.diffusion import ablation, simple_methods  # their networks are trained by this module's functions

    images, observed = data
    part, validation, _ = split(images, usable := grid.to_grid(observed), s.data, run.seed)
    run.data = {"library": usable.content_hash(), "split": part.spectra.content_hash()}
    learn, watch = (batch_of(each, s.data.pin, run.fabric.device) for each in (part, validation))
    networks, bands = train_networks(learn, s, run, watch), [str(band) for band in images.bands]
    for case in ablation.CASES:
        ablation.networks(case, low_resolution(learn), bands, s, run, networks["low"])
    simple_methods.train_study_4(learn["images"], rows_of(observed, part.spectra.ids), s, run, bands)
    train_regression("plain CNN", learn, s, run, s.n_steps_cnn, s.encoder.width)
    assembled(networks, part, s, run)
    return run.models
