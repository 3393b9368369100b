"""Study 2's trained autoencoder at work: spectra in; latents, models, redshifts and why not to trust them out."""

from typing import NamedTuple

import numpy as np
import torch
from astropy.table import Table
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from paper_utils.autoencoder.fast import FastEncoder
from paper_utils.autoencoder.model import CHANNELS, Z_MAX, Autoencoder, RestFrame, amplitude, chi2, matched, normalised
from paper_utils.autoencoder.probes import EMISSION
from paper_utils.base.constants import C_KMS
from paper_utils.base.containers import WAVE_OBS, Spectra
from paper_utils.base.errors import DataError
from paper_utils.base.results import Results
from paper_utils.base.wavelengths import lsf_km_s
from paper_utils.measure import indices

CHUNK = 500  # spectra at once
QUANTILES = (0.0, 0.16, 0.5, 0.84, 1.0)
SHOWN = 0.01  # of the spectra it learned from must show a wavelength, of which the model else says nothing
BLUR = 1.25  # in resolution, from which on lines are wider than the model can know
LITTLE = 0.5  # of the wavelengths it knows that are in range at a redshift: with less, a spectrum is mostly guessed
FEW = 50  # of them, where each is encoded many times: what is in work fits a processor's cache
NEAR = torch.linspace(-1200, 1200, 17)  # km/s from the given redshift, where a better one is looked for
APART = 150.0  # km/s, and three errors: from there on it is another redshift; an error as large tells none
ODD = 99  # percentile among held-out spectra, beyond which one is unlike them
MISFIT = 1.5  # reduced chi^2 beyond which a spectrum is misfitted, unless as many as 1 % of the held-out ones are
Data = dict[str, Tensor]


class SpectrumAutoencoder(Autoencoder):
    """An autoencoder with what one must know to use it.

    n_seen : spectra it learned from.   z_seen, snr_seen (5,) : `QUANTILES` of their redshifts and median
    signal-to-noise ratios per element.   known (R,) : wavelengths that `SHOWN` of them show.
    s_mean (S,), s_whiten (S, S) : of the latents of spectra that were held out.   distances (101,) : percentiles of
    their latents' distances from the mean, in units of their scatter.   snr_edges (3,), chi2_seen (4, 101) : quartiles
    of their signal-to-noise ratios, and percentiles of the reduced chi^2 in each fourth: at a high ratio the model's
    own error counts.
    """

    encoder_kind = FastEncoder

    def __init__(self, n_latent: int = 10, channels: tuple[int, ...] = CHANNELS):
        super().__init__(n_latent, channels)
        self.register_buffer("n_seen", torch.zeros((), dtype=torch.int64))
        for name in ("z_seen", "snr_seen"):
            self.register_buffer(name, torch.full((len(QUANTILES),), torch.nan))
        self.register_buffer("known", torch.ones(len(self.wave_rest), dtype=torch.bool))
        self.register_buffer("s_mean", torch.zeros(n_latent))
        self.register_buffer("s_whiten", torch.eye(n_latent))
        self.register_buffer("distances", torch.linspace(0, 1, 101))
        self.register_buffer("snr_edges", torch.zeros(3))
        self.register_buffer("chi2_seen", torch.linspace(0, 1, 101).repeat(4, 1))

    def summarise(self, data: Data) -> None:
        """Remember the range of a training set."""
        self.n_seen.fill_(len(data["z"]))
        for known, values in ((self.z_seen, data["z"]), (self.snr_seen, signal_to_noise(data))):
            known.copy_(torch.quantile(values, values.new_tensor(QUANTILES)))
        parts = zip(*(data[name].split(CHUNK) for name in "ywz"), strict=True)
        n_shown = sum((self.deredshift(*part)[1] > 0).sum(dim=0) for part in parts)
        self.known.copy_(n_shown >= max(1, SHOWN * len(data["z"])))

    @torch.no_grad()
    def learn_ordinary(self, data: Data) -> None:
        """Remember what spectra look like that were held out, to know what is unlike them."""
        data = data | {"w": self.within(data)}
        made = reconstruct(self, data)
        self.s_mean.copy_(made.s.mean(dim=0))
        covariance = (made.s - self.s_mean).T @ (made.s - self.s_mean) / len(made.s)
        covariance += 1e-6 * torch.eye(len(covariance)).to(covariance)
        self.s_whiten.copy_(torch.linalg.inv(torch.linalg.cholesky(covariance)).T)
        percents = torch.linspace(0, 1, 101).to(made.s)
        self.distances.copy_(torch.quantile(self.distance(made.s), percents))
        values, ratio = chi2(data["y"], made.seen, data["w"]), signal_to_noise(data)
        self.snr_edges.copy_(torch.quantile(ratio, ratio.new_tensor([0.25, 0.5, 0.75])))
        fourth = torch.bucketize(ratio, self.snr_edges)
        for i, percentiles in enumerate(self.chi2_seen):
            of = values[fourth == i]
            percentiles.copy_(torch.quantile(of if len(of) else values, percents))

    def distance(self, s: Tensor) -> Tensor:
        """How far latents (N, S) are from the mean, in units of the scatter of those that were held out: (N,)."""
        return ((s - self.s_mean) @ self.s_whiten).square().mean(dim=1).sqrt()

    def within(self, data: Data) -> Tensor:
        """Weights (N, L), 0 at wavelengths that the model does not know."""
        known = self.known.to(data["w"]).expand(len(data["z"]), -1)
        return data["w"] * (self.observe(known, data["z"]) > 0.99)

    def apply(self, spectra: Spectra, redshifts: bool = True, progress: bool = False) -> Results:
        """What the model makes of spectra on `WAVE_OBS` at their redshifts, and why not to trust it.

        The table has latents `s_1` ... `s_S`; the reduced `chi2`, and `outlier`, its percentile among spectra that were
        held out and have a like signal-to-noise ratio; `snr`, the median per element; with `redshifts`, which takes ten
        times as long, `z_found` with `z_err`, the redshift within `NEAR` of the given `z` that explains the spectrum
        best, and `dv_kms` from one to the other; `ew_...`, equivalent widths of the model's emission lines [Angstrom];
        `novelty`, the percentile of the latents' distance from the mean; and `flag`, "" or the reasons, of: no positive
        median flux, or a redshift outside 0 to `Z_MAX`, of which there are no numbers; a redshift or a noise beyond
        those it learned from; a resolution (`lsf_kms`) that is worse than that of SDSS by a factor of `BLUR`; less than
        `LITTLE` of what could be seen at that redshift; a misfit; latents unlike those of held-out spectra; another
        redshift that fits better; none that does, so that the error is beyond `APART`.
        Arrays: `wave_rest` (R,); `rest` (N, R), the model at z = 0 in the unit of the flux, and `observed` (N, R),
        where it rests on data; `wave_obs` (L,) and `flux_model` (N, L). The model is NaN at wavelengths that it does
        not know, and flux there has no say. Raises DataError for other wavelengths, and where no spectrum is of use.
        """
        if len(spectra.wave_obs) != len(WAVE_OBS) or not np.allclose(spectra.wave_obs, WAVE_OBS, rtol=1e-7):
            raise DataError(
                "the spectra are on other wavelengths", remedy="Put them through `files.spectrographs.as_sdss`."
            )
        flux, ivar = (torch.tensor(np.asarray(a), dtype=torch.float32) for a in (spectra.flux, spectra.ivar))
        dark, far = ~(normalised(flux, ivar)[2][:, 0].numpy() > 0), ~((spectra.z >= 0) & (spectra.z <= Z_MAX))
        if (dark | far).all():
            problem = f"none of {len(spectra)} spectra has light and a redshift of 0 to {Z_MAX}"
            raise DataError(problem, remedy="Give others, or their redshifts.")
        rows = np.flatnonzero(~(dark | far))
        data = prepared(spectra.select(rows), self.wave_rest.device)
        described, arrays = self._described(data | {"w": self.within(data)}, redshifts, progress)
        found = {name: _in_rows(values, rows, len(spectra)) for name, values in described.items()}
        fourth = np.searchsorted(self.snr_edges.cpu().numpy(), found["snr"])
        limit = np.maximum(MISFIT, self.chi2_seen[:, ODD].cpu().numpy()[fourth])
        sharp, resolution = lsf_km_s(WAVE_OBS), spectra.lsf_kms
        blurred = np.zeros(len(spectra), bool)
        if resolution is not None:
            seen = np.where(np.asarray(spectra.ivar) > 0, resolution / sharp, np.nan)
            blurred[rows] = np.nanmedian(seen[rows], axis=1) > BLUR
        all_of_it = self.deredshift(data["y"], torch.ones_like(data["w"]), data["z"])[1] > 0
        in_view = arrays["observed"].sum(axis=1) / (all_of_it & self.known).sum(dim=1).cpu().numpy()
        reasons = {
            "no positive median flux": dark,
            f"a redshift outside 0 to {Z_MAX}": far,
            "a redshift beyond those it learned from": spectra.z > float(self.z_seen[-1]),
            "less signal than any it learned from": found["snr"] < float(self.snr_seen[0]),
            "a lower resolution than that of SDSS": blurred,
            "little of it was observed": _in_rows(in_view, rows, len(spectra)) < LITTLE,
            "a misfit": found["chi2"] > limit,
            "latents unlike those of held-out spectra": found["novelty"] >= ODD,
        }
        if redshifts:
            error = C_KMS * found["z_err"] / (1 + spectra.z)
            reasons["another redshift fits better"] = np.abs(found["dv_kms"]) > np.maximum(APART, 3 * error)
            reasons["no redshift fits better than others"] = error > APART
        flags = [
            "; ".join(text for text, holds in zip(reasons, each, strict=True) if holds)
            for each in zip(*reasons.values(), strict=True)
        ]
        table = Table({"id": spectra.ids, "z": np.asarray(spectra.z)} | found | {"flag": np.array(flags)})
        arrays = {name: _in_rows(values, rows, len(spectra)) for name, values in arrays.items()}
        grids = {"wave_rest": self.wave_rest.cpu().numpy(), "wave_obs": WAVE_OBS}
        return Results(table, grids | arrays, {"wave_rest": "Angstrom", "wave_obs": "Angstrom"})

    def _described(self, data: Data, redshifts: bool, progress: bool) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
        """What `apply` says of spectra of use: columns and arrays."""
        made = reconstruct(self, data)
        values = chi2(data["y"], made.seen, data["w"])
        columns = {f"s_{i + 1}": latent for i, latent in enumerate(made.s.T)}
        ratio = signal_to_noise(data)
        columns |= {"chi2": values, "snr": ratio}
        if redshifts:
            z, error = self._near(data, progress)
            columns |= {"z_found": z, "z_err": error, "dv_kms": (z - data["z"]) / (1 + data["z"]) * C_KMS}
        columns = {name: column.cpu().numpy() for name, column in columns.items()}
        alike = self.chi2_seen[torch.bucketize(ratio, self.snr_edges)]
        for name, seen, of in (
            ("outlier", alike, values),
            ("novelty", self.distances.expand(len(values), -1), self.distance(made.s)),
        ):
            columns[name] = percentile(of, seen).cpu().numpy()
        rest = torch.where(self.known, made.rest, torch.nan)
        wave, drawn = self.wave_rest.cpu().numpy(), rest.cpu().numpy()
        columns |= {f"ew_{line}": -indices.lick(wave, drawn, bands) for line, bands in EMISSION.items()}
        observed = (self.deredshift(data["y"], data["w"], data["z"])[1] > 0) & self.known
        arrays = {"rest": rest, "flux_model": self.observe(rest, data["z"])}
        arrays = {name: data["median"] * flux for name, flux in arrays.items()} | {"observed": observed}
        return columns, {name: array.cpu().numpy() for name, array in arrays.items()}

    def _near(self, data: Data, progress: bool) -> tuple[Tensor, Tensor]:
        """The best redshifts within `NEAR` of the given ones, and their errors, (N,) each."""
        found = []
        some = torch.arange(len(data["z"]), device=data["z"].device).split(FEW)
        for part in tqdm(some, "redshifts", unit_scale=FEW, disable=None if progress else True):
            y, w, z = (data[name][part] for name in "ywz")
            trials = z[:, None] + (1 + z[:, None]) * NEAR.to(z) / C_KMS
            found.append(best_redshift(self, y, w, trials)[:2])
        z, error = (torch.cat(parts) for parts in zip(*found, strict=True))
        return z, error

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
        w = self.within({"w": w, "z": z})
        made = reconstruct(self, {"y": y, "w": w, "z": z})
        rest = median * torch.where(self.known, made.rest, torch.nan)
        return {"latents": made.s, "flux": self.observe(rest, z), "rest": rest, "chi2": chi2(y, made.seen, w)}


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


def percentile(values: Tensor, seen: Tensor) -> Tensor:
    """Where values (N,) lie among percentiles 0 to 100 (N, 101), linearly between them: (N,)."""
    at = torch.searchsorted(seen.contiguous(), values[:, None]).clamp(1, 100)
    below, above = seen.gather(1, at - 1)[:, 0], seen.gather(1, at)[:, 0]
    share = (values - below) / (above - below).clamp(min=1e-12)
    return at[:, 0] - 1 + share.clamp(0, 1)


def rows(data: Data, index) -> Data:
    """Some of the spectra."""
    return {name: values[index] for name, values in data.items()}


def signal_to_noise(data: Data) -> Tensor:
    """The median signal-to-noise ratio per element (N,)."""
    return torch.where(data["w"] > 0, data["y"] * data["w"].sqrt(), torch.nan).nanmedian(dim=1).values


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
def best_redshift(model: RestFrame, y: Tensor, w: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Which redshift explains each spectrum best, from evenly spaced trials z (N, T): it, its error and chi2, all (N,).

    At every redshift the spectrum is encoded anew: latents of a neighbouring one imitate it, and hold the decoder's
    spectrum there. The best trial is refined by parabolas through chi^2 at three redshifts, which come closer twice;
    the last one's curvature gives the error, from the noise or, of a misfit, from what is left of the spectrum.
    """

    def misfit(at: Tensor) -> Tensor:
        return chi2(y, matched(model(y, at, w)[1], y, w), w)

    trials = torch.stack([misfit(at) for at in z.T])
    z_best = z.gather(1, trials.argmin(dim=0)[:, None])[:, 0]
    found, step = trials.amin(dim=0), z[:, 1] - z[:, 0]
    for _ in range(2):
        step = step / 3
        below, above = misfit(z_best - step), misfit(z_best + step)
        bend = (below + above - 2 * found).clamp(min=1e-12)
        z_best = z_best + step * (0.5 * (below - above) / bend).clamp(-2, 2)
        found = misfit(z_best)
    error = step * (2 * found.clamp(min=1) / (bend * (w > 0).sum(dim=1))).sqrt()
    return z_best, error, found


def _in_rows(values: NDArray, rows: NDArray, n: int) -> NDArray:
    """Values of some rows among n: NaN, or False, in the others."""
    whole = np.full((n, *values.shape[1:]), False if values.dtype == bool else np.nan, values.dtype)
    whole[rows] = values
    return whole
