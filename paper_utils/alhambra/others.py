"""What a network of redshifts tells beside them: the probability of a star, and type and mass with 68 % intervals.

They have parameters of their own, so that redshifts are what they would be without. Medians and the ends of intervals
are learned as quantiles (by the pinball loss, Koenker & Bassett 1978), which few wrong labels do not spoil; `calibrate`
stretches intervals, and maps the probability of a star, so that they hold for objects that were not trained on.
"""

from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from torch import Tensor, nn
from torch.nn import functional as F

from paper_utils.nets.dense import MLP

OTHERS = {"p_star": 1, "type": 3, "log_mass": 3}  # outputs of each
WIDTHS = (128, 128)
LEVELS = torch.tensor([0.16, 0.5, 0.84])
ENOUGH = 20  # stars, galaxies or values on either side of the median, from which a calibration is learned


class Others(nn.Module):
    """Features (N, n_in) -> {name: the logit of p_star (N,), or 16, 50 and 84 % of a quantity (N, 3)}, uncalibrated.

    learned : names in `OTHERS`: p_star; type (of the template fit's eleven); log_mass [dex M_sun].
    """

    def __init__(self, n_in: int, learned: Sequence[str]):
        super().__init__()
        self.learned = tuple(learned)
        self.network = MLP(n_in, sum(OTHERS[name] for name in learned), WIDTHS)
        self.register_buffer("units", torch.tensor([[0.0, 1.0]]).repeat(len(learned), 1))  # means, standard deviations
        # Of p_star what `_beta` finds, of the rest by how much an interval's halves are stretched, below and above.
        self.register_buffer("correction", torch.tensor([1.0, 1.0, 0.0]).repeat(len(learned), 1))

    @torch.no_grad()
    def learn_scale(self, x: Tensor, values: Mapping[str, Tensor]) -> Self:
        """Standardise features as in training x (N, n_in), quantities as in `values` (N,), NaN where unknown."""
        self.network.inputs.learn(x)
        for unit, name in zip(self.units, self.learned, strict=True):
            known = values[name][~values[name].isnan()]
            unit.copy_(torch.stack([known.mean(), known.std()]))
        return self

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        out = self.network(torch.where(x.isnan(), self.network.inputs.mean, x))
        parts, found = out.split([OTHERS[name] for name in self.learned], dim=1), {}
        for name, part, (mean, std) in zip(self.learned, parts, self.units, strict=True):
            if OTHERS[name] == 1:
                found[name] = part[:, 0]
            else:
                middle, low, high = part.unbind(1)
                found[name] = mean + std * torch.stack([middle - F.softplus(low), middle, middle + F.softplus(high)], 1)
        return found

    def loss(self, x: Tensor, values: Mapping[str, Tensor]) -> Tensor:
        """Of features x (B, n_in) with values (B,) by name, NaN where unknown."""
        total = x.new_zeros(())
        for (name, guess), (_, std) in zip(self(x).items(), self.units, strict=True):
            known, y = ~values[name].isnan(), values[name].nan_to_num()
            if OTHERS[name] == 1:
                each = F.binary_cross_entropy_with_logits(guess, y, reduction="none")
            else:
                off = (y[:, None] - guess) / std
                each = torch.maximum(LEVELS.to(off) * off, (LEVELS.to(off) - 1) * off).sum(dim=1)
            total = total + torch.where(known, each, 0).sum() / known.sum().clamp(min=1)
        return total

    @torch.no_grad()
    def calibrate(self, x: Tensor, values: Mapping[str, ArrayLike]) -> Self:
        """Learn from objects not trained on, x (N, n_in), with values (N,) by name, NaN where unknown."""
        for (name, guess), correction in zip(self(x).items(), self.correction, strict=True):
            y, known = np.asarray(values[name], float), np.isfinite(values[name])
            y, guess = y[known], guess.double().cpu().numpy()[known]
            if OTHERS[name] == 1:
                if min((y > 0.5).sum(), (y < 0.5).sum()) >= ENOUGH:
                    correction.copy_(torch.as_tensor(_beta(guess, y)))
            elif len(y) >= 2 * ENOUGH:
                low, middle, high = guess.T
                stretch = [
                    np.quantile((middle - y) / (middle - low), 0.84),
                    np.quantile((y - middle) / (high - middle), 0.84),
                ]
                correction[:2] = torch.as_tensor(stretch).clamp(min=0.05)
        return self

    @torch.no_grad()
    def predict(self, x: Tensor) -> dict[str, NDArray]:
        """Of features x (N, n_in), calibrated (N,): `p_star`, and of the rest `<name>_p16`, `_p50`, `_p84`."""
        found = {}
        for (name, guess), (first, second, third) in zip(self(x).items(), self.correction, strict=True):
            if OTHERS[name] == 1:
                logit = first * F.logsigmoid(guess) - second * F.logsigmoid(-guess) + third
                found[name] = torch.sigmoid(logit).cpu().numpy()
            else:
                low, middle, high = guess.unbind(1)
                ends = {"p16": middle - first * (middle - low), "p50": middle, "p84": middle + second * (high - middle)}
                found |= {f"{name}_{end}": value.cpu().numpy() for end, value in ends.items()}
        return found


def _beta(logit: NDArray, y: NDArray) -> NDArray:
    """a, b >= 0 and c of logit q = a ln p - b ln(1 - p) + c, right for y (N,), 0 or 1, where p are the probabilities of
    logits (N,): beta calibration (Kull+ 2017), which Platt's is where a = b."""
    log_p, log_rest = -np.logaddexp(0, -logit), -np.logaddexp(0, logit)

    def cost(p):
        mapped = p[0] * log_p - p[1] * log_rest + p[2]
        return np.mean(np.logaddexp(0, mapped) - y * mapped) + 1e-4 * np.sum((p[:2] - 1) ** 2)

    return minimize(cost, (1.0, 1.0, 0.0), bounds=[(0, None), (0, None), (None, None)]).x
