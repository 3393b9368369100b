"""The trained model of study 1: spectra of galaxies from their photometry, in whatever bands and at any redshift."""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
import torch
from astropy.table import Column, Table
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

LYMAN_UM = 0.0912  # the intergalactic medium takes what is emitted blueward
N_AT_ONCE = 50  # galaxies in a batch, for memory
N_TABLE = 10  # galaxies of a table at least, to judge all by how they fit
LARGEST = 300.0  # of what is reported, luminosities and ln of fluxes: of nonsense too it is a number
FLOOR = 0.05  # calibration error of every band, relative: by hand
PIVOT = 1e11  # L_sun of bolometric luminosity, around which the amplitude's wide prior lies
PREDICTED = tuple(f"jwst_f{n}w" for n in (560, 770, 1000, 1130, 1280, 1500, 1800, 2100, 2550))
PREDICTED += ("wise_w1", "wise_w2", "wise_w3", "wise_w4")
L_RANGES = {"log_l_5_35": (5, 35), "log_l_8_1000": (8, 1000), "log_l_bol": (0, np.inf)}  # um
UNITS = {"pah_ew_62": "um", "s_97": ""} | dict.fromkeys(L_RANGES, "dex(Lsun)")


class Seen(NamedTuple):
    """Galaxies as bands see them: flux, sigma and limit (N, B) [mJy], sigma infinite where nothing was measured; the
    matrices A (N, B, L) and those of bands to predict (N, E, L), in mJy of a galaxy of PIVOT; mJy of it (N, 1)."""

    flux: Tensor
    sigma: Tensor
    limit: Tensor
    A: Tensor
    others: Tensor
    scale: Tensor

    def rows(self, index: Tensor) -> Self:
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
    Library galaxies are in units in which the bolometric flux, the integral of F_nu / lambda over ln lambda, is 1.
    """

    def __init__(
        self, bands: Sequence[str], redshift: float, photometry: str, n_starts: int, n_steps: int, lr: float,
        mixture: dict[str, int], n_held: int, **glo
    ):  # fmt: skip
        super().__init__()
        self.bands, self.redshift = list(bands), redshift
        self.search = {"k": n_starts, "n_steps": n_steps, "lr": lr}
        self.glo = GLO(**glo)
        n_wave = len(self.glo.generator.standard.mean)
        self.mixture = Mixture(n_wave, **mixture)
        self.register_buffer("held", torch.zeros(n_held, n_wave + self.mixture.n_extra))
        self.register_buffer("wave_um", torch.zeros(n_wave, dtype=torch.float64))
        self.register_buffer("A", torch.zeros(len(bands), n_wave, dtype=torch.float64))

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

    def infer(self, flux: NDArray, sigma: NDArray, limit: NDArray | None = None, n_draws: int = 200) -> NDArray:
        """F_nu (3, N, L) by the mixture, 16, 50 and 84 %, from fluxes and errors (N, m) in the study's own bands.

        limit : (N, m) whether a flux is an upper limit. Any unit.
        """
        seen = self.A.cpu().double()
        flux, sigma = (torch.as_tensor(values, dtype=torch.float64) for values in (flux, sigma))
        limit = torch.zeros_like(flux, dtype=torch.bool) if limit is None else torch.as_tensor(limit)
        # A typical galaxy as bright as this one: where the amplitude's wide prior lies.
        unit = (flux / (seen @ self.mixture.mean.exp())).median(dim=1, keepdim=True).values
        found = []
        for rows in torch.arange(len(flux)).split(N_AT_ONCE):
            given = flux[rows] / unit[rows], sigma[rows] / unit[rows], limit[rows]
            x, _, _ = self.mixture.draws(seen.expand(len(rows), -1, -1), *given, n_draws)
            found.append(np.quantile(x + unit[rows, None].log(), (0.16, 0.5, 0.84), axis=1))
        return np.exp(np.concatenate(found, axis=1))

    def apply(
        self, photometry: Photometry, *, floor: float = FLOOR, predict: Sequence[str] = PREDICTED,
        calibrate: bool = True, n_draws: int = 200, seed: int = 0, progress: bool = False
    ) -> Results:  # fmt: skip
        """Spectra over 5-35 um and what follows from them, with 16, 50 and 84 %, of each galaxy.

        floor : relative calibration error added to each flux's own.   predict : sedpy's names of bands to predict.
        calibrate : widen or narrow each quantity's interval until it holds 68 % of half the held-out library galaxies,
            observed as these are; False leaves the posterior's. `table.meta["coverage"]` is that among the other half.
            Where the table fits worse than these do, because the library lacks such galaxies or errors are too small,
            all intervals are wider by `table.meta["excess"]`, see `_excess`.

        The table has the PAH 6.2 um equivalent width, silicate strength, log luminosities over 5-35 and 8-1000 um and
        bolometric, the AGN fraction where the library knows it, and fluxes [mJy] in the bands of `predict` that were
        not given. Arrays: `wave_um` (33,) at rest, `spectrum` (N, 3, 33) F_nu [mJy] as observed. Bands that see
        blueward of the Lyman limit or beyond the model's wavelengths are left out, and named in `note`.
        """
        others = [name for name in predict if name not in photometry.bands]
        seen, blocked = self._seen(photometry.check(), others)
        truth, held = self._held(seen, np.random.default_rng(seed), floor)
        with tqdm(total=len(photometry) + len(truth), desc="galaxies", disable=not progress) as bar:
            held, found = (self._posterior(s, floor, n_draws, bar) for s in (held, seen))
        (held, held_ratio, held_misfit), (found, ratio, misfit) = held, found
        detected = (seen.sigma.isfinite() & ~seen.limit & (seen.flux > 2 * seen.sigma)).sum(1).numpy()
        excess = _excess(ratio[detected >= 3], held_ratio) if calibrate else 1.0
        held, found = _birge(held, held_ratio), _birge(found, np.maximum(ratio, excess**2))
        half = len(truth) // 2
        factor = _stretch(truth[:half], held[:, :half]) if calibrate else 1.0
        low, _, high = _stretched(held[:, half:], factor)
        inside = ((truth[half:] >= low) & (truth[half:] <= high)).mean(0)
        found, n_mid = _stretched(found, factor).clip(-LARGEST, LARGEST), self._mid().sum()

        names = [*UNITS, *["f_agn"][: self.mixture.n_extra], *others]
        table = Table({"id": photometry.ids, "z": photometry.z})
        for i, name in enumerate(names, n_mid):
            for percent, values in zip((16, 50, 84), found[..., i], strict=True):
                values = np.exp(values) if name in others else values.clip(0, 1) if name == "f_agn" else values
                table[f"{name}_p{percent}"] = Column(values, unit="mJy" if name in others else UNITS.get(name))
        table["n_detected"], novelty = detected, 100 * (held_misfit < misfit[:, None]).mean(1)
        table["novelty"], n, log_l = novelty, detected, table["log_l_bol_p50"]
        reasons = {
            "no detection": n == 0,
            "fewer than 3 detections": (n > 0) & (n < 3),
            "unlike the training galaxies": novelty >= 95,
            "no galaxy's luminosity: check unit and redshift": (n > 0) & ~((log_l > 6.5) & (log_l < 14.5)),
        }
        table["flag"] = ["; ".join(text for text, holds in reasons.items() if holds[i]) for i in range(len(table))]
        outside = [" ".join(photometry.bands[row]) for row in blocked]
        table["note"] = [f"left out, beyond the Lyman limit or the model: {names}" * bool(names) for names in outside]
        table.meta["excess"], table.meta["coverage"] = excess, {"spectrum": float(inside[:n_mid].mean())}
        table.meta["coverage"] |= dict(zip(names, inside[n_mid:].tolist(), strict=True))
        arrays = {"wave_um": self._wave()[self._mid()], "spectrum": np.exp(found[..., :n_mid]).transpose(1, 0, 2)}
        return Results(table, arrays, {"wave_um": "um", "spectrum": "mJy"})

    def _seen(self, photometry: Photometry, others: Sequence[str]) -> tuple[Seen, NDArray]:
        """The galaxies as the mixture takes them, and which bands (N, B) were left out though measured."""
        p, z = photometry, photometry.z
        # F_nu of PIVOT: the integral of F_nu / lambda over ln lambda is 1, and of F_nu over nu c times that.
        scale = PIVOT * L_SUN * (1 + z) / (4 * np.pi * luminosity_distance(z) ** 2 * C_KMS * 1e9) * 1e26
        curves = np.stack([sampled(name) for name in others], 1) if others else np.ones((2, 0, 2))
        A, B = (matrices(self._wave(), *pair, z) for pair in ((p.wave_um, p.response), curves))
        first = p.wave_um[np.arange(len(p.bands)), (p.response > 0).argmax(1)]
        good = A.any(-1) & (first / (1 + z)[:, None] >= LYMAN_UM)
        sigma, scale = np.where(good & (p.error > 0), p.error, np.inf), scale[:, None]
        limit = (p.limit > 0) & np.isfinite(sigma)
        given = p.flux, sigma, limit, A * scale[..., None], B * scale[..., None], scale
        return Seen(*map(torch.as_tensor, given)), (p.error > 0) & ~good

    def _posterior(self, seen: Seen, floor: float, n_draws: int, bar: tqdm) -> tuple[NDArray, NDArray, NDArray]:
        """Quantiles (3, N, Q) of `_quantities`, chi2 per flux (N,), and the misfit (N,): chi2 less its expectation over
        its scatter."""
        found = []
        for rows in torch.arange(len(seen.flux)).split(N_AT_ONCE):
            s = seen.rows(rows)
            sigma = torch.hypot(s.sigma, torch.where(s.limit, 0.0, floor * s.flux.clamp(min=0)))
            x, extra, chi2 = (v.numpy() for v in self.mixture.draws(s.A, s.flux, sigma, s.limit, n_draws))
            n = (sigma.isfinite() & ~s.limit).sum(1).clamp(min=1).numpy()
            quantiles = np.quantile(self._quantities(x, extra, s), (0.16, 0.5, 0.84), axis=1)
            found.append((quantiles, chi2 / n, (chi2 - n) / (2 * n) ** 0.5))
            bar.update(len(rows))
        quantiles, ratio, misfit = zip(*found, strict=True)
        return np.concatenate(quantiles, axis=1), np.concatenate(ratio), np.concatenate(misfit)

    def _quantities(self, x: NDArray, extra: NDArray, seen: Seen) -> NDArray:
        """All that is reported (N, K, Q) of log spectra x (N, K, L): ln F_nu [mJy] over 5-35 um, UNITS, extras, ln of
        fluxes [mJy] in other bands."""
        x = x.clip(-LARGEST, LARGEST)
        wave, flux, scale, B = self._wave(), np.exp(x), seen.scale.numpy(), seen.others.numpy()
        near = (wave > 4.5) & (wave < 20)
        shape = wave[near], flux[..., near].reshape(-1, near.sum())
        features = [v.reshape(*x.shape[:2], 1) for v in (pah_strength(*shape)[0], silicate_depth(*shape))]
        for low, high in L_RANGES.values():
            part = (wave >= low) & (wave <= high)
            power = np.trapezoid(flux[..., part] / wave[part], np.log(wave[part]))
            features.append(np.log10(PIVOT * power)[..., None])
        seen_by_others = np.log(flux @ B.transpose(0, 2, 1))
        return np.concatenate([x[..., self._mid()] + np.log(scale)[..., None], *features, extra, seen_by_others], -1)

    def _held(self, seen: Seen, rng: np.random.Generator, floor: float) -> tuple[NDArray, Seen]:
        """Held-out galaxies of the library as the user's objects were observed: the truth (n, Q), and what is seen.

        Each takes the redshift, bands, errors and limits of an object drawn at random, and its median brightness.
        Errors grow with the flux where it is the brighter; a limit is one as long as the noisy flux is below it.
        """
        s = seen.rows(torch.as_tensor(np.resize(rng.permutation(len(seen.flux)), len(self.held))))
        x, extra = self.held.double().cpu().split([len(self.wave_um), self.mixture.n_extra], 1)
        flux = (s.A @ x.exp()[..., None])[..., 0]
        ratio = torch.where(s.sigma.isfinite() & (s.flux > 0), s.flux / flux, torch.nan)
        level = ratio.nanmedian(1, keepdim=True).values.nan_to_num(1.0)
        x, flux = x + level.log(), flux * level
        brighter = torch.where(s.limit | (s.flux <= 0), 1.0, (flux / s.flux).clamp(min=1.0))
        sigma = torch.where(s.sigma.isfinite(), s.sigma * brighter, torch.inf)
        relative, absolute = torch.as_tensor(rng.standard_normal((2, *flux.shape)))
        noisy = flux * (1 + floor * relative) + torch.where(sigma.isfinite(), sigma, 0.0) * absolute
        limit = s.limit & (noisy < s.flux)
        truth = self._quantities(x[:, None].numpy(), extra[:, None].numpy(), s)[:, 0]
        return truth, s._replace(flux=torch.where(limit, s.flux, noisy), sigma=sigma, limit=limit)

    def _wave(self) -> NDArray:
        return self.wave_um.cpu().numpy()

    def _mid(self) -> NDArray:
        return (self._wave() >= 5) & (self._wave() <= 35)


def _excess(ratio: NDArray, expected: NDArray) -> float:
    """By how much the errors of a whole table are to grow, for its typical chi2 per flux, of `ratio` (N,), to be that
    of library galaxies, `expected` (n,). A good fit by a galaxy that the library lacks is right by chance only, and how
    often to expect that, the others of the table say. 1 for fewer than N_TABLE galaxies."""
    return max(np.median(ratio) / np.median(expected), 1.0) ** 0.5 if len(ratio) >= N_TABLE else 1.0


def _birge(found: NDArray, ratio: NDArray) -> NDArray:
    """Quantiles (3, N, Q) further out by the root of chi2 per flux (N,) where that exceeds 1, as errors are to grow
    then: Birge 1932 (1932PhRv...40..207B)."""
    return _stretched(found, np.maximum(ratio, 1)[:, None] ** 0.5)


def _stretch(truth: NDArray, found: NDArray) -> NDArray:
    """By which factor (Q,) the intervals of quantiles found (3, N, Q) must grow to hold 68 % of the truth (N, Q)."""
    low, middle, high = found
    side = np.where(truth > middle, high - middle, middle - low)
    return np.quantile(np.abs(truth - middle) / np.maximum(side, 1e-9), 0.68, axis=0)


def _stretched(found: NDArray, factor: NDArray | float) -> NDArray:
    return found[1] + factor * (found - found[1])
