"""Plain dense networks: the baseline that a generative model has to beat."""

from collections.abc import Sequence
from typing import Self

from torch import Tensor, nn

from paper_utils.nets.model_file import Model
from paper_utils.nets.standard import Standard


class MLP(Model):
    """Inputs (N, n_in) -> outputs (N, n_out) through ReLU layers; both ends standardised on the training set."""

    def __init__(self, n_in: int, n_out: int, widths: Sequence[int] = (256, 256)):
        super().__init__()
        sizes = [n_in, *widths]
        hidden = [m for a, b in zip(sizes, sizes[1:], strict=False) for m in (nn.Linear(a, b), nn.ReLU())]
        self.network = nn.Sequential(*hidden, nn.Linear(sizes[-1], n_out))
        self.inputs, self.outputs = Standard(n_in), Standard(n_out)

    def learn_scale(self, x: Tensor, y: Tensor) -> Self:
        """Take means and standard deviations from training inputs x (N, n_in) and outputs y (N, n_out)."""
        self.inputs.learn(x)
        self.outputs.learn(y)
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.outputs.undone(self.network(self.inputs(x)))
