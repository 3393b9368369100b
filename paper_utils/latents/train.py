"""Study 4's settings, losses and trainings: autoencoder, networks of Table 1, and a head that knows its uncertainty."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from paper_utils.latents import apply, restframe
from paper_utils.latents.model import TABLE_1, ImageRegressor
from paper_utils.latents.optimizers import ranger
from paper_utils.latents.vae import InfoVAE, infovae_loss
from paper_utils.measure import apertures
from paper_utils.nets import d4, settings
from paper_utils.nets.model_file import Model
from paper_utils.nets.plan import Batch, Plan
from paper_utils.nets.run import Run
from paper_utils.nets.settings import setting

PROPOSED = "xresnet18-hybrid"  # by the paper
Z_RANGE = (0.01, 0.3)  # of mock galaxies
SPLIT = (0.8, 0.2)  # Sec. 2.1: training and validation


@dataclass(frozen=True)
class Settings(settings.Settings):
    """Study 4, Wu & Peek 2020, Secs. 2 and 3."""

    precision: str = setting("of the networks, as Lightning Fabric has them; bf16-mixed is faster on a GPU")
    n_galaxies: int = setting("mock galaxies", paper=64_000)
    size: int = setting("side of an image", paper=224, unit="pixel")
    pixel_scale: float = setting("of the images", paper=0.25, unit="arcsec")
    width: float = setting("of the deep networks, a share of the published channels", paper=1.0)
    block: int = setting("channels decorrelated together", paper="64 (public code)")
    sampling: int = setting("every so many-th patch counts for what decorrelates", paper="3 (public code)")
    batch_size: int = setting("images in a step", paper="128 (public code)")
    lr_deconv: float = setting("highest learning rate of full deconvolution; of the others 0.03", paper=0.003)
    n_epochs: tuple[int, int] = setting("the two lengths of Table 1", paper=(10, 50), unit="epoch")
    n_seeds: int = setting("random starts of hybrid and batch norm at the shorter length", paper=1)
    n_epochs_vae: int = setting("of the autoencoder", paper="until its loss no longer falls", unit="epoch")
    n_epochs_head: int = setting("of the head with uncertainties", unit="epoch")
    n_draws: int = setting("of Monte Carlo dropout, and of latents for spectra")
    n_probe: int = setting("galaxies seen again in other seeing, at other depths and redshifts")
    dropout: float = setting("share of the units dropped in the head with uncertainties", default=0.2)


@dataclass(frozen=True)
class Sample:
    """Images (N, B, H, H) [nmgy] and latents (N, n_latent) of all galaxies on one device, and whose they are.

    noise : (B,) of the sky [nmgy].   train, validation : (n,) the galaxies to learn from and to judge by.
    """

    images: Tensor
    latents: Tensor
    noise: Tensor
    bands: Sequence[str]
    pixel_scale: float
    train: Tensor
    validation: Tensor


def image_loss(model: ImageRegressor, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
    """Mean squared error of standardised latents, of batch = {"images" (N, B, H, H), "latents" (N, n_latent)}.

    Each image is seen in a random orientation. generator : on the device of the data.
    """
    output = model(d4.randomly_oriented(batch["images"], generator))
    mse = (output.float() - model.latents(batch["latents"])).square().mean()
    return {"loss": mse, "mse": mse}


def head_loss(model: apply.ImageToSpectrum, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
    """Negative log likelihood of a Gaussian head alone, of batch = {"features" (N, n_features), "latents"}.

    generator : on the device of the data, drops units. In float32 always.
    """
    network = model.network
    with torch.autocast(batch["features"].device.type, enabled=False):
        mean, log_var = network.split(network.head(network.dropped(batch["features"], generator)))
        return {"loss": F.gaussian_nll_loss(mean, network.latents(batch["latents"]), log_var.exp())}


def train_vae(run: Run, x: Tensor, w: Tensor, s: Settings) -> InfoVAE:
    """The autoencoder of spectra x (N, 1000) with weights w, as `restframe.rest_spectra` gives them."""
    plan = Plan.of_epochs(len(x), s.n_epochs_vae, 64, lr=2e-3, schedule="one-cycle", seed=run.seed)
    model = run.make(lambda: InfoVAE(x.shape[1])).learn_mean(x)
    return run.fit("autoencoder", model, infovae_loss, {"x": x, "w": w}, plan)


def network_name(name: str, n_epochs: int, seed: int, stretch: str = "linear") -> str:
    return f"{name}, {stretch}, {n_epochs} epochs, seed {seed}"


def train_network(
    run: Run, name: str, sample: Sample, s: Settings, n_epochs: int, *, offset: int = 0, stretch: str = "linear"
) -> ImageRegressor:
    """One of `TABLE_1`'s networks; offset is added to the run's seed."""
    build, lr = TABLE_1[name]
    lr = s.lr_deconv if name == "xresnet18-deconv" else lr
    shape = {"bands": sample.bands, "pixel_scale": sample.pixel_scale, "n_out": sample.latents.shape[1]}
    shape |= {"stretch": stretch, "block": s.block, "sampling": s.sampling}
    shape["width"] = s.width if name.startswith("xresnet") else 1.0
    model = run.make(lambda: build(**shape), offset).to(memory_format=torch.channels_last)
    model.learn_scale(sample.images[sample.train[:2000]], sample.noise)
    model.latents.learn(sample.latents[sample.train])
    how = {"weight_decay": 0.01, "optimizer": ranger, "schedule": "fastai", "seed": run.seed + offset}
    plan = Plan.of_epochs(len(sample.train), n_epochs, s.batch_size, lr=lr, **how)
    data, key = {"images": sample.images, "latents": sample.latents}, network_name(name, n_epochs, plan.seed, stretch)
    return run.fit(key, model, image_loss, data, plan, rows=sample.train)


def train_head(
    run: Run, network: ImageRegressor, vae: InfoVAE | None, sample: Sample, s: Settings
) -> apply.ImageToSpectrum:
    """A Gaussian head with dropped units on the features of a trained network, calibrated on the validation galaxies.

    Its predictions of these galaxies are no test of it: see `apply.ImageToSpectrum.calibrate`.
    """
    shape = network.config | {"dropout": s.dropout, "gaussian": True}
    model = run.make(lambda: apply.ImageToSpectrum(shape, vae and vae.config, s.n_draws))
    model.take(network, vae, sample.images, sample.train)
    model.requires_grad_(False).network.head.requires_grad_(True)
    features = apply.features(network, sample.images)
    how = {"weight_decay": 0.01, "optimizer": "adamw", "schedule": "one-cycle", "seed": run.seed}
    plan = Plan.of_epochs(len(sample.train), s.n_epochs_head, s.batch_size, lr=3e-3, **how)
    aside = {"images": sample.images[sample.validation], "latents": sample.latents[sample.validation]}
    calibrate = partial(apply.ImageToSpectrum.calibrate, **aside)
    data = {"features": features, "latents": sample.latents}
    return run.fit("image to spectrum", model, head_loss, data, plan, rows=sample.train, finish=calibrate)


def train(data, s: Settings, run: Run) -> dict[str, Model]:
    """The study's models from images and spectra of the same galaxies: the autoencoder, and the network from images.

    data : has `images` (Images) and `spectra` (Spectra, or None where `images.truth` has "latents").
    The network is the paper's hybrid, on stretched fluxes and for the longer time, with a head that knows its
    uncertainty. A fifth of the galaxies, drawn by the run's seed, is held out and calibrates that.
    """
    images, spectra, device = data.images, data.spectra, run.fabric.device
    objects = images if spectra is None else spectra
    parts = objects.split(run.seed, SPLIT)
    run.data = {"library": objects.content_hash(), "split": parts[0].content_hash()}
    row = {name: i for i, name in enumerate(images.ids)}
    train, validation = (torch.tensor([row[name] for name in part.ids], device=device) for part in parts)
    if spectra is None:
        vae, latents = None, torch.as_tensor(np.asarray(images.truth["latents"]), dtype=torch.float32, device=device)
    else:
        x, w, filler = restframe.rest_spectra(spectra.select(train.cpu().numpy()), device=device.type)
        vae = train_vae(run, x, w, s)
        with torch.no_grad():
            latents = vae.encode(restframe.rest_spectra(spectra, filler, device=device.type)[0])[0]
    cube = torch.as_tensor(images.cube, dtype=torch.float32, device=device)
    noise = apertures.sky_noise(cube)
    sample = Sample(cube, latents, noise, images.bands.tolist(), float(images.pixel_scale), train, validation)
    network = train_network(run, PROPOSED, sample, s, s.n_epochs[1], stretch="asinh")
    train_head(run, network, vae, sample, s)
    return run.models
