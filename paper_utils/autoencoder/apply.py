"""Study 2's trained autoencoder at work: spectra in, latents, models and redshifts out."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from paper_utils.autoencoder.fast import FastEncoder
from paper_utils.autoencoder.model import CHANNELS, Z_MAX, Autoencoder, RestFrame, amplitude, chi2, matched, normalised
from paper_utils.base.containers import Spectra
from paper_utils.base.errors import DataError

CHUNK = 500  # spectra at once
QUANTILES = (0.0, 0.16, 0.5, 0.84, 1.0)
Data = dict[str, Tensor]


class SpectrumAutoencoder(Autoencoder):
    """An autoencoder with what one must know to use it.

    n_seen : spectra it learned from.   z_seen, snr_seen (5,) : `QUANTILES` of their redshifts and median
    signal-to-noise ratios per element.
    """

    encoder_kind = FastEncoder

    def __init__(self, n_latent: int = 10, channels: tuple[int, ...] = CHANNELS):
        super().__init__(n_latent, channels)
        self.register_buffer("n_seen", torch.zeros((), dtype=torch.int64))
        for name in ("z_seen", "snr_seen"):
            self.register_buffer(name, torch.full((len(QUANTILES),), torch.nan))

    def summarise(self, data: Data) -> None:
        """Remember the range of a training set."""
        self.n_seen.fill_(len(data["z"]))
        for known, values in ((self.z_seen, data["z"]), (self.snr_seen, signal_to_noise(data))):
            known.copy_(torch.quantile(values, values.new_tensor(QUANTILES)))

    def predict(self, flux: Tensor, ivar: Tensor, z: Tensor) -> dict[str, Tensor]:
        """What the model makes of spectra (N, L) on `WAVE_OBS` at redshifts z (N,), float32.

        Returns latents (N, S), the model as observed `flux` (N, L) and at z = 0 `rest` (N, R), both in the unit of the
        given flux, and the reduced chi^2 (N,). Raises DataError for a spectrum without positive median flux.
        """
        y, w, median = normalised(flux, ivar)
        if len(bad := torch.where(~(median[:, 0] > 0))[0]):
            raise DataError(
                f"spectrum {int(bad[0])} has no positive median flux over usable pixels, and so no unit",
                remedy="Leave it out.",
            )
        made = reconstruct(self, {"y": y, "w": w, "z": z})
        found = {"latents": made.s, "flux": median * made.seen, "rest": median * made.rest}
        return found | {"chi2": chi2(y, made.seen, w)}


class Reconstruction(NamedTuple):
    """Latents (N, S), spectra at z = 0 (N, R) and as observed (N, L), each times the factor that fits best."""

    s: Tensor
    rest: Tensor
    seen: Tensor


def prepared(spectra: Spectra, device: torch.device | str = "cpu") -> Data:
    """{"y", "w", "z", "median"}: spectra in units of their median (N, 1), weights in that unit, redshifts; float32.

    Raises DataError for a redshift beyond `Z_MAX`: the models end where it shows them no more.
    """
    if (beyond := spectra.z > Z_MAX).any():
        problem = f"{beyond.sum()} of {len(beyond)} redshifts are beyond {Z_MAX}"
        remedy = "Leave them out: the models know no wavelengths that come into view from so far."
        raise DataError(problem, remedy=remedy, row=f"object {spectra.ids[beyond.argmax()]!r}")
    flux, ivar, z = (torch.tensor(np.asarray(a), dtype=torch.float32) for a in (spectra.flux, spectra.ivar, spectra.z))
    y, w, median = normalised(flux, ivar)
    return {name: value.to(device) for name, value in {"y": y, "w": w, "z": z, "median": median}.items()}


def rows(data: Data, index) -> Data:
    """Some of the spectra."""
    return {name: values[index] for name, values in data.items()}


def signal_to_noise(data: Data) -> Tensor:
    """The median signal-to-noise ratio per element (N,)."""
    return (data["y"].abs() * data["w"].sqrt()).median(dim=1).values


@torch.no_grad()
def latents(model: RestFrame, data: Data) -> Tensor:
    """Latents (N, S) of spectra {"y", "w", "z"}."""
    parts = zip(*(data[name].split(CHUNK) for name in "yzw"), strict=True)
    return torch.cat([model.encode(*part) for part in parts])


@torch.no_grad()
def reconstruct(model: RestFrame, data: Data) -> Reconstruction:
    """What a model makes of spectra {"y", "w", "z"}."""
    parts = []
    for y, w, z in zip(*(data[name].split(CHUNK) for name in "ywz"), strict=True):
        s = model.encode(y, z, w)
        rest = model.decode(s)
        seen = model.observe(rest, z)
        factor = amplitude(seen, y, w)
        parts.append((s, rest * factor, seen * factor))
    return Reconstruction(*map(torch.cat, zip(*parts, strict=True)))


@torch.no_grad()
def best_redshift(model: RestFrame, y: Tensor, w: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Which of the trial redshifts z (N, T) explains each spectrum best: (z, chi2), both (N,).

    At every trial the encoder is given that redshift, and the decoder's spectrum compared with y. The best trial is
    then refined by one Gauss-Newton step: the decoder's spectrum is differentiable in z, and its slope says how far to
    go.
    """
    trials = [chi2(y, matched(model(y, z_trial, w)[1], y, w), w) for z_trial in z.T]
    best = torch.stack(trials).argmin(dim=0)
    z_best = z.gather(1, best[:, None])[:, 0]
    rest = model.decode(model.encode(y, z_best, w))
    seen, slope = torch.func.jvp(lambda at: model.observe(rest, at), (z_best,), (torch.ones_like(z_best),))
    factor = amplitude(seen, y, w)
    shift = (w * (y - factor * seen) * factor * slope).sum(dim=1) / (w * (factor * slope).square()).sum(dim=1)
    step = z.diff(dim=1).abs().amax(dim=1)  # the least may be 0, where trials were held at redshift 0
    z_new = z_best + shift.clamp(-step, step)
    return z_new, chi2(y, matched(model(y, z_new, w)[1], y, w), w)
