"""Study 5: the four dense networks of Cacho 2020 (master's thesis, UOC, "Distant galaxies analysis with Deep Neural
Networks"), read as its Sec. 3.3 describes them and as its appendix A lists them.

Three of the four have linear activations only: W_L (... (W_1 x + b_1) ...) + b_L is one matrix and one vector,
`collapse`, so they are linear regressions, and `least_squares` is where their training leads. That also makes training
fast, see fast.py.

Where text and listing differ, or nothing is said:

- epochs of the redshift network: 80 in the text, 150 in the listing; the text's are used throughout.
- stellarity: 75-500-600-2 in the text, 75-2-3-2 in the listing, whose batch size of 16 is taken. The text gives the
  "input layer" of 75 a ReLU: of inputs that are never negative it does nothing, as a layer of its own it would be a
  third hidden one. The threshold in `Stellar_Flag`, 0 galaxy - 1 star, is not printed: above 0.5 (unknown) is a star.
- type: "devoted to regression", yet five outputs "as there are 5 categories", whose ranges are not printed: here five
  equal ranges of types 1 - 11, linear outputs that regress the membership of each, and the type is the sum of the
  ranges' centres so weighted. Its activation is not printed: linear, as in the other regressions. "3 hidden layers
  with 120 and 500 neurons" are two.
- min-max: adds the minimum where a subtraction is meant, and the text undoes what the function does not do, so that a
  value comes back as value + 2 minimum; see `min_max`, `undo_min_max`. Small for redshifts, not for masses.
- validation: the listing's `loc[0:n]` takes both samples from the top of one shuffled table: the validation objects are
  training objects, see `listing_split`. The 22 318 objects of Table 4.1, one more than the text's 5 %, agree.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from paper_utils.alhambra.inputs import INPUTS, spans, thesis_inputs
from paper_utils.base.errors import DataError
from paper_utils.nets.model_file import Model
from paper_utils.nets.plan import Batch, Plan

POWER = 0.1  # of the min-max-scaled targets (A.5)
STAR_ABOVE = 0.5
TYPE_EDGES = np.linspace(1, 11, 6)


@dataclass(frozen=True)
class Spec:
    """One network of Sec. 3.3: its target column, hidden widths, outputs and activation."""

    column: str
    hidden: tuple[int, ...]
    n_out: int
    activation: str

    @property
    def linear(self) -> bool:
        return self.activation == "linear"

    @property
    def classifies(self) -> bool:
        return self.n_out == 2


SPECS = {
    "redshift": Spec("zb_1", (120,), 1, "linear"),
    "stellarity": Spec("Stellar_Flag", (500, 600), 2, "relu"),
    "mass": Spec("Stell_Mass_1", (120, 200, 50), 1, "linear"),
    "type": Spec("tb_1", (120, 500), 5, "linear"),
}
# What else the text and the listing can be read as, and the fifth goal that Sec. 3.3 names.
READINGS = {
    "stellarity, inputs as a layer": Spec("Stellar_Flag", (75, 500, 600), 2, "relu"),
    "stellarity, listing": Spec("Stellar_Flag", (2, 3), 2, "relu"),
    "type, ReLU": Spec("tb_1", (120, 500), 5, "relu"),
    "absolute magnitude": Spec("M_ABS_1", (120,), 1, "linear"),
}


def min_max(x: ArrayLike, low: float | None = None, high: float | None = None) -> NDArray:
    """(x + min) / (max - min), as printed (A.2): from 2 min to max + min over the range, where 0 to 1 is meant.

    low, high : the extremes; those of x where not given. Raises DataError where they are equal.
    """
    x = np.asarray(x, float)
    low, high = (np.min(x) if low is None else low), (np.max(x) if high is None else high)
    if not high > low:
        raise DataError(f"all values are {low:g}: there is no range to scale by", remedy="Give values that differ.")
    return (x + low) / (high - low)


def undo_min_max(y: ArrayLike, low: float, high: float) -> NDArray:
    """The inverse of `min_max`. Sec. 3.3.6 adds the minimum where it has to be subtracted: 2 low too much."""
    return np.asarray(y, float) * (high - low) - low


def power(y: ArrayLike) -> NDArray:
    """y^0.1 (A.5), for y >= 0; squeezes all but the smallest values towards 1. Raises DataError for y < 0."""
    y = np.asarray(y, float)
    if (bad := np.flatnonzero(~(y >= 0))).size:
        problem = f"the scaled target is {y.ravel()[bad[0]]:g}, which has no power of 0.1"
        remedy = "The printed min-max needs a column whose minimum is not below 0; shift it first."
        raise DataError(problem, remedy=remedy, row=f"row {bad[0]}")
    return y**POWER


def undo_power(y: ArrayLike) -> NDArray:
    """y^10, 0 where a network says y < 0. An error of dy near y = 1 is one of 10 dy."""
    return np.maximum(np.asarray(y, float), 0) ** (1 / POWER)


def listing_split(n: int, train: float = 0.95, validation: float = 0.05) -> tuple[NDArray, NDArray]:
    """Rows for training and validation as the listing takes them (A.5): both from the top of one shuffled table.

    `loc[0:n]` counts its end: int(share n) + 1 rows each, and the smaller sample lies within the larger.
    """
    order = np.random.default_rng(42).permutation(n)
    return order[: int(n * train) + 1], order[: int(n * validation) + 1]


class Network(Model):
    """Inputs (N, n_in) -> outputs (N, n_out), with what turns outputs into redshifts, masses, types, probabilities.

    name : in `SPECS` or `READINGS`.   columns : the inputs (`inputs`), in order.
    order : of the polynomial that corrects values once `learn_correction` has fitted it; "high" in the thesis.
    Weights begin as Keras draws them (Glorot uniform, biases 0). `forward` gives raw outputs: powers of the scaled
    target (redshift, mass), memberships (type) or logits (stellarity); `predict` gives physical values (N,).
    """

    def __init__(self, name: str, columns: Sequence[str] = INPUTS, order: int = 5):
        super().__init__()
        self.spec, self.columns = (SPECS | READINGS)[name], tuple(columns)
        sizes = [len(columns), *self.spec.hidden, self.spec.n_out]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:], strict=False))
        for layer in self.layers:
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.register_buffer("range", torch.tensor([0.0, 1.0], dtype=torch.float64))  # extremes of the target
        self.register_buffer("seen", torch.zeros(2, len(columns)))  # 1 and 99 % of each input in training
        self.register_buffer("polynomial", torch.zeros(order + 1, dtype=torch.float64))
        self.register_buffer("domain", torch.full((2,), torch.nan, dtype=torch.float64))  # of the polynomial

    def inputs(self, table) -> Tensor:
        """A table's columns as the network sees them (N, n_in), clipped. Raises DataError for one that is missing."""
        return torch.tensor(thesis_inputs(table, self.columns), device=self.seen.device)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = layer(x) if self.spec.linear else layer(x).relu()
        return self.layers[-1](x)

    def learn_scale(self, x: Tensor, values: ArrayLike) -> Self:
        """Take the extremes of the target (N,), and the spans of the inputs x (N, n_in)."""
        self.range.copy_(torch.tensor([np.min(values), np.max(values)]))
        self.seen.copy_(spans(x))
        return self

    def targets(self, values: ArrayLike) -> Tensor:
        """What the loss compares outputs with, from values (N,) of the spec's column.

        (N, 1): min-max and power 0.1. Type (N, 5): 1 in the range that holds it. Stellarity (N,) int: 1 is a star.
        """
        values = np.asarray(values, float)
        if self.spec.classifies:
            return torch.as_tensor(values > STAR_ABOVE).long()
        if self.spec.n_out > 1:
            types = torch.as_tensor(np.digitize(values, TYPE_EDGES[1:-1]))  # beyond the ends: of the end ranges
            return nn.functional.one_hot(types, self.spec.n_out).float()
        return torch.as_tensor(power(min_max(values, *self.range.tolist())), dtype=torch.float32)[:, None]

    def values(self, outputs: Tensor) -> NDArray:
        """Physical values (N,) of outputs (N, n_out), before the polynomial; for stellarity P(star)."""
        outputs = outputs.detach().double().cpu()
        if self.spec.classifies:
            return outputs.softmax(dim=1)[:, 1].numpy()
        if self.spec.n_out > 1:
            return outputs.numpy() @ ((TYPE_EDGES[1:] + TYPE_EDGES[:-1]) / 2)
        return undo_min_max(undo_power(outputs[:, 0].numpy()), *self.range.tolist())

    def learn_correction(self, x: Tensor, values: ArrayLike) -> Self:
        """Fit the polynomial (Sec. 3.3.6) that turns predictions for x into expected values (N,), by least squares."""
        predicted = self.predict(x, corrected=False)
        fit = np.polynomial.Polynomial.fit(predicted, np.asarray(values, float), len(self.polynomial) - 1)
        self.domain.copy_(torch.as_tensor(fit.domain))
        self.polynomial.copy_(torch.as_tensor(fit.coef))
        return self

    @torch.no_grad()
    def predict(self, x: Tensor, *, corrected: bool = True) -> NDArray:
        """Physical values (N,). Beyond the predictions that the polynomial was fitted on, it keeps its end values."""
        values = np.concatenate([self.values(self(part)) for part in x.to(self.layers[0].weight).split(65536)])
        low, high = self.domain.tolist()
        if np.isnan(low) or not corrected:
            return values
        fit = np.polynomial.Polynomial(self.polynomial.cpu().numpy(), domain=(low, high))
        return fit(np.clip(values, low, high))


def loss(network: Network, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
    """Of inputs "x" (B, n_in) with `Network.targets` "y": mean squared error; or cross-entropy, and the accuracy."""
    found, y = network(batch["x"]), batch["y"]
    if not network.spec.classifies:
        return {"loss": nn.functional.mse_loss(found, y)}
    accuracy = (found.detach().argmax(dim=1) == y).float().mean()
    return {"loss": nn.functional.cross_entropy(found, y), "accuracy": accuracy}


def adam(network: nn.Module, plan: Plan) -> torch.optim.Adam:
    """Adam with the epsilon of Keras (A.6: optimizer="adam")."""
    return torch.optim.Adam(network.parameters(), lr=plan.lr, eps=1e-7, fused=True)


def fold(network: Network, centre: Tensor, scale: Tensor) -> Network:
    """The network that says of raw inputs what this one says of (x - centre) / scale, in place; centre, scale (n,)."""
    first = network.layers[0]
    with torch.no_grad():
        first.weight.div_(scale)
        first.bias.sub_(first.weight @ centre)
    return network


def collapse(network: Network) -> tuple[Tensor, Tensor]:
    """The matrix W (n_out, n_in) and vector b (n_out,) that a linear network is, in float64."""
    W = torch.eye(network.layers[0].in_features, dtype=torch.float64, device=network.seen.device)
    b = W.new_zeros(len(W))
    for layer in network.layers:
        weight = layer.weight.detach().double()
        W, b = weight @ W, weight @ b + layer.bias.detach().double()
    return W, b


def least_squares(x: ArrayLike, y: ArrayLike) -> tuple[Tensor, Tensor]:
    """Ordinary least squares, y (N, K) ~ x (N, n) W^T + b: W (K, n), b (K,) in float64 where x is, of smallest norm.

    From centred second moments. Constant and repeated columns, of which the clipped table is full, get no weight of
    their own: directions with less than 1e-10 of the largest variance are left out.
    """
    x = torch.as_tensor(x).double()
    y = torch.as_tensor(y).to(x)
    centre, scale = x.mean(dim=0), x.std(dim=0)
    scale = torch.where(scale > 0, scale, 1)
    u, level = (x - centre) / scale, y.mean(dim=0)
    W = (torch.linalg.pinv(u.T @ u, rtol=1e-10, hermitian=True) @ (u.T @ (y - level))).T / scale
    return W, level - W @ centre


def ensemble(networks: Mapping[str, Network], table) -> dict[str, NDArray]:
    """All outputs (N,) of the thesis' networks for the rows of a table, by name (Sec. 3.3.7)."""
    return {name: network.predict(network.inputs(table)) for name, network in networks.items()}
