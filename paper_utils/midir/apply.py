"""The trained model of study 1: spectra of galaxies from their photometry, in whatever bands and at any redshift."""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
import torch
from astropy.table import Table
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from paper_utils.base.constants import C_KMS, L_SUN
from paper_utils.base.containers import Photometry
from paper_utils.base.distances import luminosity_distance
from paper_utils.base.errors import DataError
from paper_utils.base.filters import sampled
from paper_utils.base.photometry import matrices
from paper_utils.base.results import Results
from paper_utils.midir.features import pah_strength, silicate_depth
from paper_utils.midir.mixture import Mixture
from paper_utils.midir.model import GLO
from paper_utils.midir.reconstruct import recover_nearest
from paper_utils.nets.model_file import Model

QUANTILES = (0.0, 0.16, 0.5, 0.84, 1.0)
LYMAN_UM = 0.0912  # the intergalactic medium takes what is emitted blueward
N_AT_ONCE = 50  # galaxies in a batch, for memory
FLOOR = 0.05  # calibration error of every band, relative: by hand
PIVOT = 1e11  # L_sun of bolometric luminosity, around which the amplitude's wide prior lies
TYPICAL = (6.5, 14.5)  # log10 L_sun of galaxies, dwarfs to the brightest quasars
MIRI = ("f560w", "f770w", "f1000w", "f1130w", "f1280w", "f1500w", "f1800w", "f2100w", "f2550w")
PREDICTED = (*(f"jwst_{name}" for name in MIRI), "wise_w1", "wise_w2", "wise_w3", "wise_w4")
DERIVED = {
    "pah_ew_62": "um",
    "s_97": "",
    "log_l_5_35": "dex(Lsun)",
    "log_l_8_1000": "dex(Lsun)",
    "log_l_bol": "dex(Lsun)",
}
COLUMN = "{}_p{}"


class Seen(NamedTuple):
    """Galaxies as bands see them: flux, sigma and limit (N, B) [mJy], sigma infinite where nothing was measured; the
    matrices A (N, B, L), and those of the bands to predict (N, E, L), in mJy for a galaxy of PIVOT; mJy of it (N,)."""

    flux: Tensor
    sigma: Tensor
    limit: Tensor
    A: Tensor
    others: Tensor
    scale: Tensor

    def rows(self, index) -> Self:
        return Seen(*(value[index] for value in self))


class Reconstructor(Model):
    """Photometry of galaxies to F_nu at the rest wavelengths `wave_um` (L,) [um].

    `apply` takes any bands, errors, limits and redshifts and answers with the mixture; `predict` takes noiseless fluxes
    in the study's own bands at its redshift and answers with the generator, as the paper does.

    Parameters
    ----------
    bands, redshift, photometry : names of the m bands, and how they see a galaxy: the arguments of `A` (m, L).
    n_starts, n_steps, lr : of the searches for a galaxy's latents, which start from its nearest training galaxies.
    mixture : sizes of the `Mixture`.   n_held : library galaxies that it has not seen, `held` (n_held, L + n_extra):
        ln F_nu and, where the library knows it, the AGN fraction.
    glo : arguments of the GLO, whose n training latents are the pool of starts.
    `seen` (5, m) are the QUANTILES of log10 photometry of the training set.
    Fluxes are F_nu in units in which the bolometric flux, the integral of F_nu / lambda over ln lambda [um], is 1.
    """

    def __init__(
        self,
        bands: Sequence[str],
        redshift: float,
        photometry: str,
        n_starts: int,
        n_steps: int,
        lr: float,
        mixture: dict[str, int],
        n_held: int,
        **glo,
    ):
        super().__init__()
        self.bands, self.redshift = list(bands), redshift
        self.search = {"k": n_starts, "n_steps": n_steps, "lr": lr}
        self.glo = GLO(**glo)
        n_wave = len(self.glo.generator.standard.mean)
        self.mixture = Mixture(n_wave, **mixture)
        self.register_buffer("held", torch.zeros(n_held, n_wave + self.mixture.n_extra))
        for name, *shape in (("wave_um", n_wave), ("A", len(bands), n_wave), ("seen", len(QUANTILES), len(bands))):
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))

    def searches(self, flux: NDArray, weight: Tensor | float = 1.0) -> NDArray:
        """F_nu (n_starts, N, L) that each search ends at, from photometry F_nu (N, m).

        weight : (m,) or (N, m) of the squared residuals in log10; 0 for a band that is missing.
        Raises DataError for another number of bands.
        """
        if np.shape(flux)[1:] != (len(self.bands),):
            remedy = f"Give a row per galaxy and its {len(self.bands)} bands: {', '.join(self.bands)}."
            raise DataError(f"the photometry has shape {np.shape(flux)}", remedy=remedy)
        return recover_nearest(self.glo.generator, self.A.cpu(), flux, self.glo.s, weight=weight, **self.search)

    def predict(self, flux: NDArray, weight: Tensor | float = 1.0) -> NDArray:
        """F_nu (N, L) from photometry F_nu (N, m): the mean, in log F_nu, of all `searches`."""
        return 10 ** np.log10(self.searches(flux, weight)).mean(0)

    def apply(
        self,
        photometry: Photometry,
        *,
        floor: float = FLOOR,
        predict: Sequence[str] = PREDICTED,
        calibrate: bool = True,
        n_draws: int = 200,
        seed: int = 0,
        progress: bool = False,
    ) -> Results:
        """Spectra over 5-35 um and what follows from them, with 16, 50 and 84 %, of each galaxy.

        floor : relative calibration error added to each flux's own.   predict : sedpy's names of bands to predict.
        calibrate : widen or narrow each quantity's interval until it holds 68 % of half the held-out library galaxies,
            observed as these are; False leaves the posterior's. `table.meta["coverage"]` is that among the other half.

        The table has the PAH 6.2 um equivalent width, silicate strength, log luminosities over 5-35 and 8-1000 um and
        bolometric, the AGN fraction where the library knows it, and fluxes [mJy] in the bands of `predict` that were
        not given. Arrays: `wave_um` (33,) at rest, `spectrum` (N, 3, 33) F_nu [mJy] as observed. Bands that see
        blueward of the Lyman limit or beyond the model's wavelengths are left out, and named in `note`.
        """
        photometry.check()
        others = [name for name in predict if name not in photometry.bands]
        seen, blocked = self._seen(photometry, others)
        rng = np.random.default_rng(seed)
        truth, held = self._held(seen, rng, floor)
        with tqdm(total=len(photometry) + len(truth), desc="galaxies", disable=not progress) as bar:
            (held, held_misfit), (found, misfit) = (self._posterior(s, floor, n_draws, bar) for s in (held, seen))
        half = len(truth) // 2
        factor = _stretch(truth[:half], held[:, :half]) if calibrate else 1.0
        low, _, high = _stretched(held[:, half:], factor)
        inside = ((truth[half:] >= low) & (truth[half:] <= high)).mean(0)
        novelty = 100 * (held_misfit < misfit[:, None]).mean(1)
        return self._results(photometry, others, _stretched(found, factor), inside, novelty, seen, blocked)

    def _seen(self, photometry: Photometry, others: Sequence[str]) -> tuple[Seen, NDArray]:
        """The galaxies as the mixture takes them, and which bands (N, B) were left out though measured."""
        wave_um, z = self.wave_um.cpu().numpy(), photometry.z
        # F_nu of PIVOT of bolometric luminosity: nu L_nu spread over 4 pi d^2, with one factor 1 + z of the band width.
        scale = PIVOT * L_SUN * (1 + z) / (4 * np.pi * luminosity_distance(z) ** 2 * C_KMS * 1e9) * 1e26
        A = matrices(wave_um, photometry.wave_um, photometry.response, z)
        curves = np.stack([sampled(name) for name in others], 1) if others else np.ones((2, 0, 2))
        start = np.array([at[seen > 0][0] for at, seen in zip(photometry.wave_um, photometry.response, strict=True)])
        good = A.any(-1) & (start / (1 + z)[:, None] >= LYMAN_UM)
        sigma = np.where(good & (photometry.error > 0), photometry.error, np.inf)
        limit = (photometry.limit > 0) & np.isfinite(sigma)
        given = photometry.flux, sigma, limit, A * scale[:, None, None]
        seen = (*given, matrices(wave_um, *curves, z) * scale[:, None, None], scale)
        device = self.wave_um.device
        return Seen(*(torch.as_tensor(v, device=device) for v in seen)), (photometry.error > 0) & ~good

    def _posterior(self, seen: Seen, floor: float, n_draws: int, bar: tqdm) -> tuple[NDArray, NDArray]:
        """Quantiles (3, N, Q) of `_quantities`, and misfit (N,)."""
        found = []
        for rows in torch.arange(len(seen.flux)).split(N_AT_ONCE):
            s = seen.rows(rows)
            sigma = torch.hypot(s.sigma, torch.where(s.limit, 0.0, floor * s.flux.clamp(min=0)))
            x, extra, misfit = self.mixture.draws(s.A, s.flux, sigma, s.limit, n_draws)
            quantiles = np.quantile(self._quantities(x, extra, s), (0.16, 0.5, 0.84), axis=1)
            n_seen = (sigma.isfinite() & ~s.limit).sum(1).clamp(min=1)
            excess = (1 + misfit * (2 / n_seen) ** 0.5).clamp(min=1)[:, None].sqrt().cpu().numpy()
            found.append((_stretched(quantiles, excess), misfit.cpu().numpy()))
            bar.update(len(rows))
        quantiles, misfit = zip(*found, strict=True)
        return np.concatenate(quantiles, axis=1), np.concatenate(misfit)

    def _quantities(self, x: Tensor, extra: Tensor, seen: Seen) -> NDArray:
        """All that is reported (N, K, Q) of log spectra x (N, K, L): ln F_nu [mJy] over 5-35 um, DERIVED, extras, ln of
        fluxes [mJy] in other bands."""
        wave, flux, mid = self.wave_um, x.exp(), self._mid()
        n, k, _ = x.shape

        def log_luminosity(low: float, high: float) -> Tensor:
            part = (wave >= low) & (wave <= high)
            return torch.log10(PIVOT * torch.trapezoid((flux / wave)[..., part], wave[part].log()))[..., None]

        near = ((wave > 4.5) & (wave < 20)).cpu().numpy()
        shape = wave.cpu().numpy()[near], flux.cpu().numpy()[..., near].reshape(n * k, -1)
        features = [torch.as_tensor(v).reshape(n, k, 1) for v in (pah_strength(*shape)[0], silicate_depth(*shape))]
        parts = [x[..., mid] + seen.scale.log()[:, None, None], *features]
        parts += [log_luminosity(*ends) for ends in ((5, 35), (8, 1000), (0, np.inf))]
        parts += [extra.clamp(0, 1), (flux @ seen.others.transpose(1, 2)).log()]
        return torch.cat([part.cpu() for part in parts], -1).numpy()

    def _held(self, seen: Seen, rng: np.random.Generator, floor: float) -> tuple[NDArray, Seen]:
        """Held-out galaxies of the library as the user's objects were observed: the truth (n, Q), and what is seen.

        Each takes the redshift, bands, errors and limits of an object drawn at random, and its median brightness.
        Errors grow with the flux where it is the brighter; a limit is one as long as the noisy flux is below it.
        """
        device, n, L = self.held.device, len(self.held), len(self.wave_um)
        s = seen.rows(torch.as_tensor(np.resize(rng.permutation(len(seen.flux)), n), device=device))
        x, extra = self.held.double().split([L, self.mixture.n_extra], 1)
        flux = (s.A @ x.exp()[..., None])[..., 0]
        ratio = torch.where(s.sigma.isfinite() & (s.flux > 0) & (flux > 0), (s.flux / flux).log(), torch.nan)
        x = x + ratio.nanmedian(1, keepdim=True).values.nan_to_num(0.0)
        flux = (s.A @ x.exp()[..., None])[..., 0]
        brighter = torch.where(s.limit, 1.0, (flux / s.flux.clamp(min=1e-300)).clamp(1.0, 1e3))
        sigma = s.sigma * torch.where(s.flux > 0, brighter, 1.0)
        noise = torch.as_tensor(rng.standard_normal((2, *flux.shape)), device=device)
        noisy = flux * (1 + floor * noise[0]) + torch.where(sigma.isfinite(), sigma, 0.0) * noise[1]
        limit = s.limit & (noisy < s.flux)
        truth = self._quantities(x[:, None], extra[:, None], s)[:, 0]
        return truth, s._replace(flux=torch.where(limit, s.flux, noisy), sigma=sigma, limit=limit)

    def _mid(self) -> Tensor:
        return (self.wave_um >= 5) & (self.wave_um <= 35)

    def _results(self, photometry, others, found, inside, novelty, seen: Seen, blocked) -> Results:
        """Quantiles `found` (3, N, Q) as table and arrays; `inside` (Q,) is the coverage."""
        mid, extra = self._mid().cpu().numpy(), ["f_agn"][: self.mixture.n_extra]
        units = DERIVED | dict.fromkeys(extra, "") | dict.fromkeys(others, "mJy")
        n, n_linear = int(mid.sum()), len(DERIVED) + len(extra)
        spectrum, rest = np.exp(found[..., :n]).transpose(1, 0, 2), found[..., n:]
        rest = np.concatenate([rest[..., :n_linear], np.exp(rest[..., n_linear:])], -1)
        table = Table({"id": photometry.ids, "z": photometry.z})
        for i, (name, unit) in enumerate(units.items()):
            for percent, values in zip((16, 50, 84), rest[..., i], strict=True):
                table[COLUMN.format(name, percent)] = np.clip(values, 0, 1) if name in extra else values
                table[COLUMN.format(name, percent)].unit = unit
        used = seen.sigma.isfinite().cpu().numpy()
        n_detected = (used & (photometry.limit == 0) & (photometry.flux > 2 * photometry.error)).sum(1)
        table["n_detected"], table["novelty"] = n_detected, novelty
        log_l = found[1, :, n + list(DERIVED).index("log_l_bol")]
        reasons = {
            "no band can be used: this is the library's mean": ~used.any(1),
            "upper limits alone": used.any(1) & (n_detected == 0),
            "fewer than 3 detections": (n_detected > 0) & (n_detected < 3),
            "unlike the training galaxies": novelty >= 99,
            "no galaxy's luminosity: check unit and redshift": (n_detected > 0) & ~((log_l > 6.5) & (log_l < 14.5)),
        }
        table["flag"] = ["; ".join(text for text, holds in reasons.items() if holds[i]) for i in range(len(table))]
        outside = "outside the model (Lyman limit or grid): {}"
        table["note"] = [outside.format(" ".join(photometry.bands[b])) if b.any() else "" for b in blocked]
        table.meta["coverage"] = {"spectrum": float(inside[:n].mean())} | dict(
            zip(units, inside[n:].tolist(), strict=True)
        )
        arrays = {"wave_um": self.wave_um.cpu().numpy()[mid], "spectrum": spectrum}
        return Results(table, arrays, {"wave_um": "um", "spectrum": "mJy"})


def _stretch(truth: NDArray, found: NDArray) -> NDArray:
    """By which factor (Q,) the intervals of quantiles found (3, N, Q) must grow to hold 68 % of the truth (N, Q)."""
    low, middle, high = found
    side = np.where(truth > middle, high - middle, middle - low)
    return np.quantile(np.abs(truth - middle) / np.maximum(side, 1e-9), 0.68, axis=0)


def _stretched(found: NDArray, factor: NDArray | float) -> NDArray:
    return found[1] + factor * (found - found[1])
