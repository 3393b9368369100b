"""Redshifts of a catalogue as densities with calibrated intervals, and what else a network tells of its objects.

A density is that of a mixture density network (Bishop 1994): K Gaussians in t = ln(1 + z), whose width is the usual
Delta z / (1 + z); several, because colours leave more than one redshift possible. Its own uncertainties are often
wrong: `calibrate` maps its cumulative probabilities so that those of validation objects are uniform (as Bordoloi+ 2010,
2010MNRAS.406..881B), and quantiles, densities and PIT values follow.
"""

from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
import torch
from astropy.table import Table
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import PchipInterpolator
from torch import Tensor

from paper_utils.alhambra import gaussians, template_fit
from paper_utils.alhambra.inputs import columns, compressed, depths, photometry, spans, thesis_inputs
from paper_utils.alhambra.others import Others
from paper_utils.base.containers import Catalogue
from paper_utils.base.errors import DataError, WeightsError
from paper_utils.base.results import Results
from paper_utils.nets.dense import MLP
from paper_utils.nets.model_file import Model
from paper_utils.nets.plan import Batch

LOG_SIGMA = (-9.0, 1.0)  # e^-9 = 1.2e-4 in Delta z / (1 + z): no photometric redshift is narrower
N_KNOTS = 20
CALIBRATED = np.linspace(0, 1, N_KNOTS + 1)  # cumulative probabilities at the knots
FINE = np.linspace(0, 1, 50 * N_KNOTS + 1)  # and between them
ODDS = 0.06  # how near to the mode, in Delta z / (1 + z), the probability counts as odds
STEP = 0.005  # of the grid of densities in ln(1 + z)
FEW = 5  # bands: with fewer detections a redshift is flagged
FIT_LIMIT = 30.0  # of the results of a template fit, of which only chi^2 goes further
BESIDE = {"z": "zb_1", "chi2": "chi2_1", "odds": "odds_1"}  # of the template fit, as written beside
EXTREMES = (0.001, 0.999)  # of the training objects' magnitudes: what is beyond is flagged


class PhotoZ(Model):
    """A table, or features (N, n_in) of it -> (N, 3, K): log weights, means and log sigmas of K Gaussians in ln(1 + z).

    bands : magnitudes, each with its error (d + name).   photometry : the kind of their features (`inputs.photometry`).
    shapes : other measurements (`inputs.shape_columns`).   fitted : columns of a template fit, which it may correct:
    the table's, or those of a fit of its own where it has templates.
    Without bands `shapes` are what the thesis' networks see, clipped.
    learned : what it tells beside the redshift, of `others.OTHERS`.   detection : the band in which it knows how bright
    training objects are, "" for none.   templates : how many redshifts and templates its own fit has, () for none.
    Features may hold NaN where nothing was observed: they become the training mean.
    """

    def __init__(
        self, bands: Sequence[str], shapes=(), fitted=(), photometry="asinh", *, n_components=5, widths: Sequence[int],
        learned: Sequence[str] = (), detection: str = "", templates: Sequence[int] = (),
    ):  # fmt: skip
        super().__init__()
        self.bands, self.shapes, self.fitted, self.photometry = tuple(bands), tuple(shapes), tuple(fitted), photometry
        self.n_components, self.detection = n_components, detection
        n_photometry = (2 * len(bands) + (photometry == "asinh")) if bands else 0
        n_in = n_photometry + len(shapes) + len(fitted)
        self.trunk = MLP(n_in, 3 * n_components, widths)
        self.register_buffer("levels", torch.linspace(0, 1, N_KNOTS + 1, dtype=torch.float64))
        self.register_buffer("seen", torch.zeros(2, n_in))  # 1 and 99 % of each feature in training
        self.register_buffer("whiten", torch.eye(n_in))  # of standardised features: their distance from the mean
        self.register_buffer("distances", torch.linspace(0, 1, 101))  # percentiles of it, of objects not trained on
        self.register_buffer("t_max", torch.ones(()))  # largest ln(1 + z) in training
        self.register_buffer("depth", torch.ones(len(bands), dtype=torch.float64))  # typical 1-sigma flux, softening
        if detection:
            self.register_buffer("magnitudes", torch.tensor([-torch.inf, torch.inf]))  # EXTREMES in training
        self.others = Others(n_in, learned) if learned else None
        self.templates = template_fit.Grid(*templates, len(bands)) if templates else None

    def learn_depth(self, table, taught: NDArray | slice = slice(None)) -> Self:
        """Take depths from a training table, and how bright those objects are that teach (N, bool; by default all).

        Raises DataError, see `inputs.depths`.
        """
        self.depth.copy_(torch.as_tensor(depths(table, self.bands)))
        if self.detection:
            m = columns(table, [self.detection])[taught]
            self.magnitudes.copy_(torch.as_tensor(np.quantile(m[np.abs(m) < 50], EXTREMES)))
        return self

    def features(self, table, fit: Table | None = None) -> Tensor:
        """(N, n_in) on the network's device, NaN where nothing was observed. Raises DataError for a missing column.

        fit : what `templates` make of the table, where it is known already.
        """
        if not self.bands:
            return torch.tensor(thesis_inputs(table, self.shapes), device=self.depth.device)
        magnitudes = photometry(table, self.bands, self.depth.cpu().numpy(), self.photometry)
        if fit is None:
            fit = self.fit(table) if self.fitted and self.templates else table
        fitted = np.arcsinh(columns(fit, self.fitted).clip(-FIT_LIMIT, FIT_LIMIT)).astype(np.float32)
        x = np.hstack([magnitudes, compressed(table, self.shapes), fitted])
        return torch.tensor(x, device=self.depth.device)

    def fit(self, table) -> Table:
        """Its templates fitted to a table: the labels of `template_fit.label` but the flag of stars, NaN where no band
        has detected anything. The prior is that of the band of detection, or of the last band."""
        names = [f"{prefix}{band}" for prefix in ("", "d") for band in (*self.bands, self.detection or self.bands[-1])]
        values = columns(table, names).reshape(len(table), 2, -1)
        return self.templates.fit(values[:, 0, :-1], values[:, 1, :-1], values[:, 0, -1])

    def predict(self, table) -> dict[str, NDArray]:
        """Of each row of a table (N,): `z_p16`, `z_p50`, `z_p84`, and `z_peak` where ln(1 + z) is likeliest."""
        return self._redshifts(self._mixtures(self.features(table)))

    def apply(self, catalogue: Catalogue, densities: bool = True, fit: bool = False) -> Results:
        """Redshifts of a catalogue's objects with their uncertainty, and why not to trust some of them.

        The table has `z_p16`, `z_p50`, `z_p84` and `z_mode`, where ln(1 + z) is likeliest; `odds`, the probability of
        redshifts within ODDS (1 + z) of the mode; `n_detected` bands; `novelty`, the percentile of the distance of
        the object's features from their mean among objects that were not trained on; what the model has learned of
        `p_star`, `type` and `log_mass`, see `others`; and `flag`, "" or the reasons, of: fewer than FEW bands detected;
        brighter or fainter than all but one in a thousand training objects, in the band of detection; unlike them (a
        novelty of 95 or more); a median beyond their redshifts; two peaks of the density, a fifth of the probability or
        more in each; odds below 0.5; a star rather than a galaxy, of which all but p_star speaks.
        densities : also the arrays `z_edges` (G + 1,) and `pdf` (N, G), the mean density between two edges.
        fit : also `z_fit`, `chi2_fit`, `odds_fit` of the model's own templates.
        Raises DataError for a missing column, WeightsError where a model without templates is to fit them.
        """
        if fit and not self.templates:
            raise WeightsError("The model has no templates to fit. Leave the fit out, or train one that has them.")
        table = catalogue.table
        fitted = self.fit(table) if self.templates and (fit or self.fitted) else None
        x = self.features(table, fitted)
        mixture, z_max = self._mixtures(x), float(self.t_max.expm1())
        found = self._redshifts(mixture)
        found["z_mode"] = found.pop("z_peak")
        beyond = (found["z_p50"] < 0) | (found["z_p50"] > z_max)
        found = {name: np.clip(z, 0, z_max) for name, z in found.items()}
        near = np.log1p(found["z_mode"])[:, None] + np.array([-ODDS, ODDS])
        found["odds"] = np.diff(self._probability(mixture, near), axis=1)[:, 0]
        found["n_detected"] = (np.abs(columns(table, self.bands)) < 50).sum(axis=1)
        found["novelty"] = np.interp(self._distance(x), self.distances.cpu().numpy(), np.arange(101))
        if self.others:
            found |= self.others.predict(x)
        if fit:
            found |= {f"{ours}_fit": np.asarray(fitted[theirs]) for ours, theirs in BESIDE.items()}
        few, steps = min(FEW, len(self.bands)), torch.arange(0, float(self.t_max) + ODDS, ODDS / 2)
        reasons = {
            f"detected in fewer than {few} bands": found["n_detected"] < few,
            f"{self.detection} beyond the magnitudes of training": self._magnitude_beyond(table),
            "unlike the training objects": found["novelty"] >= 95,
            "beyond the redshifts of training": beyond,
            "two redshifts are possible": gaussians.has_two_peaks(gaussians.cdf_on(mixture, steps)).numpy(),
            "less than half of p(z) is near its mode": found["odds"] < 0.5,
            "a star rather than a galaxy": found.get("p_star", np.zeros(len(x))) > 0.5,
        }
        found = {name: values.astype("f4" if values.dtype.kind == "f" else "i4") for name, values in found.items()}
        arrays = self._densities(mixture) if densities else {}
        return Results(Table({"id": catalogue.ids} | found | {"flag": _flags(reasons)}), arrays)

    def _redshifts(self, mixture: Tensor) -> dict[str, NDArray]:
        low, middle, high = self._quantiles(mixture, (0.16, 0.5, 0.84)).T
        return {"z_p16": low, "z_p50": middle, "z_p84": high, "z_peak": np.expm1(gaussians.peak(mixture))}

    def _magnitude_beyond(self, table) -> NDArray:
        """Whether an object was not detected in the band of detection, or beyond the training objects' EXTREMES."""
        if not self.detection:
            return np.zeros(len(table), bool)
        m, (low, high) = columns(table, [self.detection])[:, 0], self.magnitudes.cpu().numpy()
        return (m != -99) & ((m < low) | (m > high))

    def _densities(self, mixture: Tensor) -> dict[str, NDArray]:
        """Densities that keep all probability, however narrow: what lies beyond the ends is in the last cells."""
        t = torch.arange(0, float(self.t_max) + 0.1, STEP, dtype=torch.float64)
        edges = np.expm1(t.numpy())
        pdf = np.empty((len(mixture), len(edges) - 1), np.float32)
        for rows in torch.arange(len(mixture)).split(gaussians.ROWS):
            below = np.interp(gaussians.cdf_on(mixture[rows], t), self._calibration()[0], FINE)
            below[:, 0], below[:, -1] = 0, 1
            pdf[rows] = np.diff(below, axis=1) / np.diff(edges)
        return {"z_edges": edges, "pdf": pdf}

    @torch.no_grad()
    def learn_scale(self, x: Tensor, t: Tensor, others: Mapping[str, Tensor] | None = None) -> Self:
        """Standardise features as in training x (N, n_in); start the Gaussians at quantiles of training t (N,).

        others : values (N,) of what else is learned, by name. NaN is unknown.
        """
        if self.others:
            self.others.learn_scale(x, others)
        x, t = x[~t.isnan()], t[~t.isnan()]
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

    def calibrate(self, x: Tensor, z: ArrayLike, others: Mapping[str, ArrayLike] | None = None, weight=None) -> Self:
        """Learn from objects not trained on, x (N, n_in) at redshifts z (N,), which probabilities mean which.

        others : values (N,) of what else is learned, by name. NaN is unknown.   weight : (N,) in `levels`, or None.
        `levels` become the quantiles of their raw PIT values, `distances` the percentiles of theirs. Raises DataError
        for fewer than 10 objects per knot.
        """
        known = np.isfinite(z)
        if known.sum() < 10 * N_KNOTS:
            problem = f"{known.sum()} objects are too few to calibrate with"
            raise DataError(problem, remedy=f"Set {10 * N_KNOTS} or more apart.")
        if self.others:
            self.others.calibrate(x, others)
        weight = np.ones(len(x)) if weight is None else np.asarray(weight)
        x = x[torch.as_tensor(known, device=x.device)]
        pit = self.pit(x, np.asarray(z)[known], calibrated=False)
        order = np.argsort(pit)
        below = np.cumsum(weight[known][order]) - weight[known][order] / 2
        inner = np.interp(CALIBRATED[1:-1] * weight[known].sum(), below, pit[order])
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
        return self._probability(self._mixtures(x), np.log1p(z), calibrated)

    def _probability(self, mixture: Tensor, t: NDArray, calibrated: bool = True) -> NDArray:
        raw = gaussians.in_parts(gaussians.cdf, mixture, torch.as_tensor(t))
        return np.interp(raw, self._calibration()[0], FINE) if calibrated else raw

    def pdf(self, x: Tensor, z_grid: ArrayLike) -> NDArray:
        """Density per unit redshift (N, G) at the redshifts z_grid (G,)."""
        t, mixture = torch.as_tensor(np.log1p(np.asarray(z_grid, float))).expand(len(x), -1), self._mixtures(x)
        density, raw = gaussians.in_parts(gaussians.pdf, mixture, t), gaussians.in_parts(gaussians.cdf, mixture, t)
        return density * np.interp(raw, *self._calibration()) / np.exp(t.numpy())

    def quantiles(self, x: Tensor, levels: ArrayLike = (0.16, 0.5, 0.84)) -> NDArray:
        """Redshifts (N, Q) below which the probability is `levels` (Q,), each between 0 and 1, ends excluded."""
        return self._quantiles(self._mixtures(x), levels)

    def _quantiles(self, mixture: Tensor, levels: ArrayLike) -> NDArray:
        raw = torch.as_tensor(np.interp(np.atleast_1d(levels), FINE, self._calibration()[0]))
        return np.expm1(gaussians.in_parts(lambda part: gaussians.quantiles(part, raw), mixture))

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

        return np.expm1(gaussians.peak(self._mixtures(x)))

    @torch.no_grad()
    def _mixtures(self, x: Tensor) -> Tensor:
        """Mixtures (N, 3, K) of features x (N, n_in), in float64 on the CPU."""
        return torch.cat([self(part.to(self.depth.device).float()).double().cpu() for part in x.split(gaussians.ROWS)])


def _flags(reasons: Mapping[str, NDArray]) -> NDArray:
    """Those of `reasons` that hold for each of N objects, as one text (N,)."""
    code = sum(np.asarray(holds, int) << i for i, holds in enumerate(reasons.values()))
    codes, which = np.unique(code, return_inverse=True)
    return np.array(["; ".join(text for i, text in enumerate(reasons) if c >> i & 1) for c in codes])[which]


def loss(model: PhotoZ, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
    """Of features "x" (B, n_in) with "t" = ln(1 + z) (B,) and the `others` (B,) by name, NaN where unknown; with a
    "weight" (B,) of each object's redshift, or equal ones."""
    found = {"loss": gaussians.nll(model(batch["x"]), batch["t"], batch.get("weight"))}
    if model.others:
        found["others"] = model.others.loss(batch["x"], batch)
        found["loss"] = found["loss"] + found["others"]
    return found
