"""Trained networks applied to a catalogue: redshifts as densities with calibrated intervals, and the thesis' networks.

A density is that of a mixture density network (Bishop 1994): K Gaussians in t = ln(1 + z), whose width is the usual
Delta z / (1 + z); several, because colours leave more than one redshift possible. Its own uncertainties are often
wrong: `calibrate` maps its cumulative probabilities so that those of validation objects are uniform (as Bordoloi+ 2010,
2010MNRAS.406..881B), and quantiles, densities and PIT values follow.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Self

import numpy as np
import torch
from astropy.table import Table
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import PchipInterpolator
from torch import Tensor

from paper_utils.alhambra.inputs import columns, compressed, depths, photometry, spans, thesis_inputs
from paper_utils.alhambra.model import Network
from paper_utils.base.containers import Catalogue
from paper_utils.base.errors import DataError
from paper_utils.base.results import Results
from paper_utils.nets.dense import MLP
from paper_utils.nets.model_file import Model
from paper_utils.nets.plan import Batch

LOG_SIGMA = (-9.0, 1.0)  # e^-9 = 1.2e-4 in Delta z / (1 + z): no photometric redshift is narrower
N_KNOTS = 20
CALIBRATED = np.linspace(0, 1, N_KNOTS + 1)  # cumulative probabilities at the knots
FINE = np.linspace(0, 1, 50 * N_KNOTS + 1)  # and between them
CHUNK = 16384  # objects at once: (CHUNK, levels, K) stays a few tens of MB
ODDS = 0.06  # how near to the mode, in Delta z / (1 + z), the probability counts as odds
STEP = 0.005  # of the grid of densities in ln(1 + z)
FEW = 5  # bands: with fewer detections a redshift is flagged
FIT_LIMIT = 30.0  # of the results of a template fit, of which only chi^2 goes further


class PhotoZ(Model):
    """A table, or features (N, n_in) of it -> (N, 3, K): log weights, means and log sigmas of K Gaussians in ln(1 + z).

    bands : magnitudes, each with its error (d + name).   photometry : the kind of their features (`inputs.photometry`).
    shapes : other measurements (`inputs.shape_columns`).   fitted : columns of a template fit, which it may correct.
    Without bands `shapes` are what the thesis' networks see, clipped.
    Features may hold NaN where nothing was observed: they become the training mean.
    """

    def __init__(
        self, bands: Sequence[str], shapes=(), fitted=(), photometry="asinh", *, n_components=5, widths: Sequence[int]
    ):
        super().__init__()
        self.bands, self.shapes, self.fitted, self.photometry = tuple(bands), tuple(shapes), tuple(fitted), photometry
        self.n_components = n_components
        n_photometry = (2 * len(bands) + (photometry == "asinh")) if bands else 0
        n_in = n_photometry + len(shapes) + len(fitted)
        self.trunk = MLP(n_in, 3 * n_components, widths)
        self.register_buffer("levels", torch.linspace(0, 1, N_KNOTS + 1, dtype=torch.float64))
        self.register_buffer("seen", torch.zeros(2, n_in))  # 1 and 99 % of each feature in training
        self.register_buffer("whiten", torch.eye(n_in))  # of standardised features: their distance from the mean
        self.register_buffer("distances", torch.linspace(0, 1, 101))  # percentiles of it, of objects not trained on
        self.register_buffer("t_max", torch.ones(()))  # largest ln(1 + z) in training
        self.register_buffer("depth", torch.ones(len(bands), dtype=torch.float64))  # typical 1-sigma flux, softening

    def learn_depth(self, table) -> Self:
        """Take the bands' depths from a training table. Raises DataError, see `inputs.depths`."""
        self.depth.copy_(torch.as_tensor(depths(table, self.bands)))
        return self

    def features(self, table) -> Tensor:
        """(N, n_in) on the network's device, NaN where nothing was observed. Raises DataError for a missing column."""
        if not self.bands:
            return torch.tensor(thesis_inputs(table, self.shapes), device=self.depth.device)
        magnitudes = photometry(table, self.bands, self.depth.cpu().numpy(), self.photometry)
        fitted = np.arcsinh(columns(table, self.fitted).clip(-FIT_LIMIT, FIT_LIMIT)).astype(np.float32)
        x = np.hstack([magnitudes, compressed(table, self.shapes), fitted])
        return torch.tensor(x, device=self.depth.device)

    def predict(self, table) -> dict[str, NDArray]:
        """Of each row of a table (N,): `z_p16`, `z_p50`, `z_p84`, and `z_peak` where ln(1 + z) is likeliest."""
        x = self.features(table)
        low, middle, high = self.quantiles(x, (0.16, 0.5, 0.84)).T
        return {"z_p16": low, "z_p50": middle, "z_p84": high, "z_peak": self.peak(x)}

    def apply(self, catalogue: Catalogue, densities: bool = True) -> Results:
        """Redshifts of a catalogue's objects with their uncertainty, and why not to trust some of them.

        The table has `z_p16`, `z_p50`, `z_p84` and `z_mode`, where ln(1 + z) is likeliest; `odds`, the probability of
        redshifts within ODDS (1 + z) of the mode; `n_detected` bands; `novelty`, the percentile of the distance of
        the object's features from their mean among objects that were not trained on; and `flag`.
        densities : also the arrays `z_edges` (G + 1,) and `pdf` (N, G), the mean density between two edges.
        Raises DataError for a missing column.
        """
        table, x = catalogue.table, self.features(catalogue.table)
        found, z_max = self.predict(table), float(self.t_max.expm1())
        found["z_mode"] = found.pop("z_peak")
        beyond = (found["z_p50"] < 0) | (found["z_p50"] > z_max)
        found = {name: np.clip(z, 0, z_max) for name, z in found.items()}
        near = np.log1p(found["z_mode"])[:, None] + np.array([-ODDS, ODDS])
        found["odds"] = np.diff(self.probability(x, np.expm1(near)), axis=1)[:, 0]
        measured = np.abs(columns(table, self.bands)) < 50
        found["n_detected"] = measured.sum(axis=1)
        found["novelty"] = np.interp(self._distance(x), self.distances.cpu().numpy(), np.arange(101))
        few = min(FEW, len(self.bands))
        reasons = {
            f"detected in fewer than {few} bands": found["n_detected"] < few,
            "unlike the training objects": found["novelty"] >= 95,
            "beyond the redshifts of training": beyond,
            "more than one redshift is possible": found["odds"] < 0.5,
        }
        flags = ["; ".join(text for text, holds in reasons.items() if holds[i]) for i in range(len(x))]
        arrays = self._densities(x) if densities else {}
        return Results(Table({"id": catalogue.ids} | found | {"flag": flags}), arrays)

    def _densities(self, x: Tensor) -> dict[str, NDArray]:
        """Densities that keep all probability, however narrow: what lies beyond the ends is in the last cells."""
        edges = np.expm1(np.arange(0, float(self.t_max) + 0.1, STEP))
        pdf = np.empty((len(x), len(edges) - 1), np.float32)
        for rows in np.array_split(np.arange(len(x)), len(x) // CHUNK + 1):
            below = self.probability(x[rows], np.broadcast_to(edges, (len(rows), len(edges))))
            below[:, 0], below[:, -1] = 0, 1
            pdf[rows] = np.diff(below, axis=1) / np.diff(edges)
        return {"z_edges": edges, "pdf": pdf}

    @torch.no_grad()
    def learn_scale(self, x: Tensor, t: Tensor) -> Self:
        """Standardise features as in training x (N, n_in); start the Gaussians at quantiles of training t (N,)."""
        self.trunk.inputs.learn(x)
        self.seen.copy_(spans(x))
        u = self.trunk.inputs(x).nan_to_num().double()
        covariance = u.T @ u / len(u) + 1e-3 * torch.eye(u.shape[1]).to(u)
        self.whiten.copy_(torch.linalg.inv(torch.linalg.cholesky(covariance)).T)
        self.t_max.copy_(t.max())
        k, last = self.n_components, self.trunk.network[-1]
        at = torch.as_tensor(np.quantile(t.cpu().numpy(), (np.arange(k) + 0.5) / k))
        last.bias.copy_(torch.cat([torch.zeros(k), at, (t.std().cpu() / k).log().expand(k)]))
        last.weight.mul_(0.1)
        return self

    def forward(self, x: Tensor) -> Tensor:
        x = torch.where(x.isnan(), self.trunk.inputs.mean, x)
        weight, mean, log_sigma = self.trunk(x).unflatten(1, (3, self.n_components)).unbind(1)
        return torch.stack([weight.log_softmax(dim=1), mean, log_sigma.clamp(*LOG_SIGMA)], dim=1)

    def calibrate(self, x: Tensor, z: ArrayLike, w: ArrayLike | None = None) -> Self:
        """Learn from objects not trained on, x (N, n_in) at redshifts z (N,), which probabilities mean which; w (N,)
        are their weights, by default equal.

        `levels` become the quantiles of their raw PIT values, `distances` the percentiles of theirs. Raises DataError
        for fewer than 10 objects per knot.
        """
        if len(x) < 10 * N_KNOTS:
            problem = f"{len(x)} objects are too few to calibrate with"
            raise DataError(problem, remedy=f"Set {10 * N_KNOTS} or more apart.")
        pit, w = self.pit(x, z, calibrated=False), np.ones(len(x)) if w is None else np.asarray(w)
        inner = np.quantile(pit, CALIBRATED[1:-1], weights=w, method="inverted_cdf")
        knots = np.concatenate([[0.0], inner, [1.0]])
        # Strictly increasing, or the map has no inverse where many PIT values are equal.
        knots = np.maximum.accumulate(knots) + 1e-9 * np.arange(len(knots))
        self.levels.copy_(torch.as_tensor(knots / knots[-1]))
        self.distances.copy_(torch.as_tensor(np.percentile(self._distance(x), np.arange(101))))
        return self

    @torch.no_grad()
    def _distance(self, x: Tensor) -> NDArray:
        """How far features (N, n_in) are from those of training, in units of their scatter: (N,)."""
        u = self.trunk.inputs(x.to(self.whiten)).nan_to_num()
        return (u @ self.whiten).square().mean(dim=1).sqrt().cpu().numpy()

    def pit(self, x: Tensor, z: ArrayLike, *, calibrated: bool = True) -> NDArray:
        """Probability integral transform (N,): the cumulative probability at the true z, uniform if calibrated."""
        return self.probability(x, np.asarray(z, float)[:, None], calibrated=calibrated)[:, 0]

    def probability(self, x: Tensor, z: NDArray, *, calibrated: bool = True) -> NDArray:
        """Probability (N, G) of redshifts below z (N, G)."""
        raw = self._chunks(x, _cdf, torch.as_tensor(np.log1p(z)))
        return np.interp(raw, self._calibration()[0], FINE) if calibrated else raw

    def pdf(self, x: Tensor, z_grid: ArrayLike) -> NDArray:
        """Density per unit redshift (N, G) at the redshifts z_grid (G,)."""
        t = torch.as_tensor(np.log1p(np.asarray(z_grid, float))).expand(len(x), -1)
        density, raw = self._chunks(x, _pdf, t), self._chunks(x, _cdf, t)
        return density * np.interp(raw, *self._calibration()) / np.exp(t.numpy())

    def quantiles(self, x: Tensor, levels: ArrayLike = (0.16, 0.5, 0.84)) -> NDArray:
        """Redshifts (N, Q) below which the probability is `levels` (Q,), each between 0 and 1, ends excluded."""
        u = torch.as_tensor(np.interp(np.atleast_1d(levels), FINE, self._calibration()[0]))

        def invert(mixture: Tensor) -> Tensor:
            _, mean, log_sigma = mixture.unbind(1)
            reach = 8 * log_sigma.exp()
            low = (mean - reach).amin(dim=1, keepdim=True).expand(-1, len(u)).clone()
            high = (mean + reach).amax(dim=1, keepdim=True).expand(-1, len(u)).clone()
            for _ in range(50):  # halves the bracket each time
                middle = (low + high) / 2
                below = _cdf(mixture, middle) < u.to(mixture)
                low, high = torch.where(below, middle, low), torch.where(below, high, middle)
            return (low + high) / 2

        return np.expm1(self._chunks(x, invert))

    def _calibration(self) -> tuple[NDArray, NDArray]:
        """The network's own cumulative probability where the calibrated one is FINE, and by how much the latter grows
        with it: smooth between the knots, so that densities are."""
        curve = PchipInterpolator(CALIBRATED, self.levels.cpu().numpy())
        return curve(FINE), 1 / np.maximum(curve.derivative()(FINE), 0.01)

    def median(self, x: Tensor) -> NDArray:
        """Median redshift (N,)."""
        return self.quantiles(x, 0.5)[:, 0]

    def peak(self, x: Tensor) -> NDArray:
        """Redshift (N,) where ln(1 + z) is likeliest, among the means of the Gaussians, without calibration.

        Of two possible redshifts it takes one, where the median may take neither.
        """

        def highest(mixture: Tensor) -> Tensor:
            mean = mixture[:, 1]
            return mean.gather(1, _pdf(mixture, mean).argmax(dim=1, keepdim=True))[:, 0].expm1()

        return self._chunks(x, highest)

    @torch.no_grad()
    def _chunks(self, x: Tensor, function: Callable[..., Tensor], *of_each: Tensor) -> NDArray:
        """`function`(mixture (n, 3, K) in float64, ...) of a few objects at a time, put together.

        of_each : (N, ...) further arguments.
        """
        chunks = zip(*(part.to(self.depth.device).split(CHUNK) for part in (x, *of_each)), strict=True)
        parts = [function(self(some.float()).double(), *others).cpu().numpy() for some, *others in chunks]
        return np.concatenate(parts)


def loss(model: PhotoZ, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
    """Of features "x" (B, n_in) with "t" = ln(1 + z) (B,), each of its weight "w" (B,)."""
    return {"loss": -(_log_pdf(model(batch["x"]), batch["t"][:, None])[:, 0] * batch["w"]).mean()}


def nll(mixture: Tensor, t: Tensor) -> Tensor:
    """Mean negative log likelihood of t (N,) or (N, 1) under mixtures (N, 3, K)."""
    return -_log_pdf(mixture, t.reshape(-1, 1)).mean()


def _deviations(mixture: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log weights and log sigmas (N, 1, K), and how many sigmas t (N, G) lies from the means (N, G, K)."""
    log_weight, mean, log_sigma = (part[:, None] for part in mixture.unbind(1))
    return log_weight, log_sigma, (t[..., None] - mean) * torch.exp(-log_sigma)


def _log_pdf(mixture: Tensor, t: Tensor) -> Tensor:
    """Log density (N, G) at t (N, G)."""
    log_weight, log_sigma, deviation = _deviations(mixture, t)
    return (log_weight - log_sigma - 0.5 * (deviation.square() + np.log(2 * np.pi))).logsumexp(dim=-1)


def _pdf(mixture: Tensor, t: Tensor) -> Tensor:
    return _log_pdf(mixture, t).exp()


def _cdf(mixture: Tensor, t: Tensor) -> Tensor:
    """Cumulative probability (N, G) at t (N, G)."""
    log_weight, _, deviation = _deviations(mixture, t)
    return (log_weight.exp() * torch.special.ndtr(deviation)).sum(dim=-1)


def ensemble(networks: Mapping[str, Network], table) -> dict[str, NDArray]:
    """All outputs (N,) of the thesis' networks for the rows of a table, by name (Sec. 3.3.7)."""
    return {name: network.predict(network.inputs(table)) for name, network in networks.items()}
