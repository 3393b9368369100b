"""Study 2's trained autoencoder at work: spectra in; latents, models, redshifts and why not to trust them out."""

from typing import NamedTuple

import numpy as np
import torch
from astropy.table import Table
from numpy.typing import NDArray
from torch import Tensor

from paper_utils.autoencoder.fast import FastEncoder
from paper_utils.autoencoder.model import CHANNELS, Z_MAX, Autoencoder, RestFrame, amplitude, chi2, matched, normalised
from paper_utils.autoencoder.probes import EMISSION
from paper_utils.base.constants import C_KMS
from paper_utils.base.containers import WAVE_OBS, Spectra
from paper_utils.base.errors import DataError
from paper_utils.base.results import Results
from paper_utils.measure import indices

CHUNK = 500  # spectra at once
QUANTILES = (0.0, 0.16, 0.5, 0.84, 1.0)
NEAR = torch.linspace(-1500, 1500, 21)  # km/s from the given redshift, where a better one is looked for
APART = 150.0  # km/s, and three errors: from there on it is another redshift
ODD = 99  # percentile among held-out spectra, beyond which one is unlike them
MISFIT = 1.5  # reduced chi^2 beyond which a spectrum is misfitted, unless as many as 1 % of the held-out ones are
Data = dict[str, Tensor]


class SpectrumAutoencoder(Autoencoder):
    """An autoencoder with what one must know to use it.

    n_seen : spectra it learned from.   z_seen, snr_seen (5,) : `QUANTILES` of their redshifts and median
    signal-to-noise ratios per element.   s_mean (S,), s_whiten (S, S) : of the latents of spectra that were held out.
    distances, chi2_seen (101,) : percentiles of their latents' distances from the mean, in units of their scatter, and
    of their reduced chi^2.
    """

    encoder_kind = FastEncoder

    def __init__(self, n_latent: int = 10, channels: tuple[int, ...] = CHANNELS):
        super().__init__(n_latent, channels)
        self.register_buffer("n_seen", torch.zeros((), dtype=torch.int64))
        for name in ("z_seen", "snr_seen"):
            self.register_buffer(name, torch.full((len(QUANTILES),), torch.nan))
        self.register_buffer("s_mean", torch.zeros(n_latent))
        self.register_buffer("s_whiten", torch.eye(n_latent))
        for name in ("distances", "chi2_seen"):
            self.register_buffer(name, torch.linspace(0, 1, 101))

    def summarise(self, data: Data) -> None:
        """Remember the range of a training set."""
        self.n_seen.fill_(len(data["z"]))
        for known, values in ((self.z_seen, data["z"]), (self.snr_seen, signal_to_noise(data))):
            known.copy_(torch.quantile(values, values.new_tensor(QUANTILES)))

    @torch.no_grad()
    def learn_ordinary(self, data: Data) -> None:
        """Remember what spectra look like that were held out, to know what is unlike them."""
        made = reconstruct(self, data)
        self.s_mean.copy_(made.s.mean(dim=0))
        covariance = (made.s - self.s_mean).T @ (made.s - self.s_mean) / len(made.s)
        covariance += 1e-6 * torch.eye(len(covariance)).to(covariance)
        self.s_whiten.copy_(torch.linalg.inv(torch.linalg.cholesky(covariance)).T)
        for known, values in (
            (self.distances, self._distance(made.s)),
            (self.chi2_seen, chi2(data["y"], made.seen, data["w"])),
        ):
            known.copy_(torch.quantile(values, torch.linspace(0, 1, 101).to(values)))

    def _distance(self, s: Tensor) -> Tensor:
        """How far latents (N, S) are from the mean, in units of the scatter of those that were held out: (N,)."""
        return ((s - self.s_mean) @ self.s_whiten).square().mean(dim=1).sqrt()

    def apply(self, spectra: Spectra) -> Results:
        """What the model makes of spectra on `WAVE_OBS` at their redshifts, and why not to trust it.

        The table has latents `s_1` ... `s_S`; the reduced `chi2`, and `outlier`, its percentile among spectra that were
        held out; `snr`, the median per element; `z_found` with `z_err`, the redshift within `NEAR` of the given `z`
        that the decoder's spectrum fits best, and `dv_kms` from one to the other; `ew_...`, equivalent widths of the
        model's emission lines [Angstrom]; `novelty`, the percentile of the latents' distance from the mean; and `flag`,
        "" or the reasons, of: no positive median flux, or a redshift outside 0 to `Z_MAX`, of which there are no
        numbers; a misfit; latents unlike those of held-out spectra; another redshift that fits better.
        Arrays: `wave_rest` (R,); `rest` (N, R), the model at z = 0 in the unit of the flux, and `observed` (N, R),
        where it rests on data; `wave_obs` (L,) and `flux_model` (N, L). Raises DataError for other wavelengths, and
        where no spectrum is of use.
        """
        if not np.array_equal(spectra.wave_obs, WAVE_OBS):
            raise DataError("the spectra are on other wavelengths", remedy="Resample them to `WAVE_OBS`.")
        flux, ivar = (torch.tensor(np.asarray(a), dtype=torch.float32) for a in (spectra.flux, spectra.ivar))
        dark, far = ~(normalised(flux, ivar)[2][:, 0].numpy() > 0), ~((spectra.z >= 0) & (spectra.z <= Z_MAX))
        if (dark | far).all():
            problem = f"none of {len(spectra)} spectra has light and a redshift of 0 to {Z_MAX}"
            raise DataError(problem, remedy="Give others, or their redshifts.")
        rows = np.flatnonzero(~(dark | far))
        described, arrays = self._described(prepared(spectra.select(rows), self.wave_rest.device))
        found = {name: _in_rows(values, rows, len(spectra)) for name, values in described.items()}
        limit = max(MISFIT, float(self.chi2_seen[ODD]))
        reasons = {
            "no positive median flux": dark,
            f"a redshift outside 0 to {Z_MAX}": far,
            "a misfit": found["chi2"] > limit,
            "latents unlike those of held-out spectra": found["novelty"] >= ODD,
            "another redshift fits better": np.abs(found["dv_kms"]) > np.maximum(APART, 3 * C_KMS * found["z_err"]),
        }
        flags = [
            "; ".join(text for text, holds in zip(reasons, each, strict=True) if holds)
            for each in zip(*reasons.values(), strict=True)
        ]
        table = Table({"id": spectra.ids, "z": np.asarray(spectra.z)} | found | {"flag": np.array(flags)})
        arrays = {name: _in_rows(values, rows, len(spectra)) for name, values in arrays.items()}
        grids = {"wave_rest": self.wave_rest.cpu().numpy(), "wave_obs": WAVE_OBS}
        return Results(table, grids | arrays, {"wave_rest": "Angstrom", "wave_obs": "Angstrom"})

    def _described(self, data: Data) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
        """What `apply` says of spectra of use: columns and arrays."""
        made = reconstruct(self, data)
        z, error = near_redshift(self, made.rest, data)
        dv = (z - data["z"]) / (1 + data["z"]) * C_KMS
        values = chi2(data["y"], made.seen, data["w"])
        columns = {f"s_{i + 1}": latent for i, latent in enumerate(made.s.T)}
        columns |= {"chi2": values, "snr": signal_to_noise(data), "z_found": z, "z_err": error, "dv_kms": dv}
        columns = {name: column.cpu().numpy() for name, column in columns.items()}
        for name, seen, of in (
            ("outlier", self.chi2_seen, values),
            ("novelty", self.distances, self._distance(made.s)),
        ):
            columns[name] = np.interp(of.cpu().numpy(), seen.cpu().numpy(), np.arange(101))
        wave, rest = self.wave_rest.cpu().numpy(), made.rest.cpu().numpy()
        columns |= {f"ew_{line}": -indices.lick(wave, rest, bands) for line, bands in EMISSION.items()}
        observed = self.deredshift(data["y"], data["w"], data["z"])[1] > 0
        arrays = {"rest": data["median"] * made.rest, "observed": observed, "flux_model": data["median"] * made.seen}
        return columns, {name: array.cpu().numpy() for name, array in arrays.items()}

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
    step = z.diff(dim=1).abs().amax(dim=1)  # the least may be 0, where trials were held at redshift 0
    z_new, _ = _refined(model, model.decode(model.encode(y, z_best, w)), y, w, z_best, step)
    return z_new, chi2(y, matched(model(y, z_new, w)[1], y, w), w)


@torch.no_grad()
def near_redshift(model: RestFrame, rest: Tensor, data: Data) -> tuple[Tensor, Tensor]:
    """The redshift within `NEAR` of the given one at which spectra at z = 0 (N, R) fit best, and its error, (N,) each.

    The spectra stay as they are, while `best_redshift` encodes anew at every trial, over any range and at its cost.
    """
    found = []
    for some in torch.arange(len(rest), device=rest.device).split(CHUNK):
        part, (y, w, z) = rest[some], (data[name][some] for name in "ywz")
        trials = z[:, None] + (1 + z[:, None]) * NEAR.to(z) / C_KMS
        misfit = torch.stack([chi2(y, matched(model.observe(part, trial), y, w), w) for trial in trials.T])
        z_best = trials.gather(1, misfit.argmin(dim=0)[:, None])[:, 0]
        z_new, error = _refined(model, part, y, w, z_best, trials[:, 1] - trials[:, 0])
        found.append((z_new, error * misfit.amin(dim=0).sqrt().clamp(min=1)))
    z, error = (torch.cat(values) for values in zip(*found, strict=True))
    return z, error


def _refined(model: RestFrame, rest: Tensor, y: Tensor, w: Tensor, z: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    """Redshifts z (N,) after a Gauss-Newton step, of at most `step` (N,), and their errors from the noise."""
    seen, slope = torch.func.jvp(lambda at: model.observe(rest, at), (z,), (torch.ones_like(z),))
    seen, slope = (part * amplitude(seen, y, w) for part in (seen, slope))
    slope = slope - seen * amplitude(seen, slope, w)  # what another amplitude does not do as well
    curvature = (w * slope.square()).sum(dim=1)
    shift = (w * (y - seen) * slope).sum(dim=1) / curvature
    return z + shift.clamp(-step, step), curvature.rsqrt()


def _in_rows(values: NDArray, rows: NDArray, n: int) -> NDArray:
    """Values of some rows among n: NaN, or False, in the others."""
    whole = np.full((n, *values.shape[1:]), False if values.dtype == bool else np.nan, values.dtype)
    whole[rows] = values
    return whole
