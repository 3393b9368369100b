"""What ends every step of training: from a loss to new weights."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.optim import Optimizer


def descend(optimizer: Optimizer, loss: Tensor, backward: Callable[[Tensor], None] = Tensor.backward) -> None:
    """Move the weights of `optimizer` down the gradient of loss (), which `backward`, such as Fabric's, computes."""
    optimizer.zero_grad(set_to_none=True)
    backward(loss)
    optimizer.step()
