"""The thesis' linear networks, trained at the cost of one linear regression: closed-form gradients of all layers."""

import torch
from torch import Tensor

from paper_utils.alhambra.model import Network, adam
from paper_utils.nets.plan import Plan, schedule_of


class LinearStep:
    """A step of a linear network for `training.repeat`, with the gradients of backpropagation of `model.loss`.

    With U_l = W_L ... W_{l+1} the residuals are e = U_0 x + sum_l U_l b_l - y, and with V_l the mean of 2 e h_{l-1}^T,

        dLoss/dW_l = U_l^T V_l,   dLoss/db_l = U_l^T <2 e>,   V_{l+1} = V_l W_l^T + <2 e> b_l^T,

    so that only the first product, V_1 = <2 e x^T>, sees the batch: no (B, 500) hidden layer is ever made. Data of N
    rows, x (N, n_in) and targets y (N, n_out), are copied once, to a table that one look-up per step reads.
    """

    def __init__(self, network: Network, x: Tensor, y: Tensor, plan: Plan):
        self.layers = [(layer.weight, layer.bias) for layer in network.layers]
        self.table = torch.cat([x, x.new_ones(len(x), 1), y], dim=1)  # (N, n + 1 + k)
        self.minus = -torch.eye(y.shape[1], device=x.device)
        self.optimizer = adam(network, plan)
        schedule = schedule_of(self.optimizer, plan)
        self.state = {"network": network, "adam": self.optimizer} | ({"schedule": schedule} if schedule else {})

    @torch.no_grad()
    def __call__(self, index: Tensor) -> dict[str, Tensor]:
        rows, n = self.table.index_select(0, index), self.layers[0][0].shape[1]
        u, (above, constant) = [None], self.layers[-1]
        for weight, bias in reversed(self.layers[:-1]):
            u.append(above)
            constant = torch.addmv(constant, above, bias)
            above = above @ weight
        e = rows @ torch.cat([above, constant[:, None], self.minus], dim=1).T  # (B, k)
        v = e.T @ rows[:, : n + 1]  # (k, n + 1)
        v *= 2 / e.numel()
        v, s = v[:, :n], v[:, n]
        for (weight, bias), above in zip(self.layers, reversed(u), strict=True):
            weight.grad = v if above is None else above.T @ v
            bias.grad = s if above is None else s @ above
            if above is not None:
                v = torch.addmm(torch.outer(s, bias), v, weight.T)
        self.optimizer.step()
        return {"loss": e.square_().mean()}
