"""Spectra from photometry by a mixture of Gaussians over a library's log spectra, conditioned on what bands measured.

A spectrum is ln F_nu = mean + P s + a, of K principal components s and the log amplitude a; s is distributed as a
mixture of Gaussians fitted to the library (as in extreme deconvolution, Bovy+ 2011, 2011AnApS...5.1657B). Of each
Gaussian the likeliest s given the fluxes is found by Gauss-Newton steps, whose normal equations have the size of the
bands (those of the iterated Kalman filter, Bell & Cathey 1993); its evidence by Laplace's approximation. So errors,
upper limits, missing bands and the free amplitude are where the likelihood has them.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

D = torch.float64
N_BEST = 8  # Gaussians that are followed to the end, after the first steps in all
SIGMA_AMPLITUDE = 4.0  # of the prior of a, around the unit that the caller chooses; wide: four e-folds


class Mixture(nn.Module):
    """The prior, for spectra on n_wave bins: n_parts Gaussians of n_pc components and n_extra quantities beside them
    (such as the AGN fraction), which photometry sees only through their correlation with the spectrum."""

    def __init__(self, n_wave: int, n_parts: int, n_pc: int, n_extra: int):
        super().__init__()
        self.n_pc, self.n_extra, n = n_pc, n_extra, n_pc + n_extra + 1
        self.sizes = {"n_parts": n_parts, "n_pc": n_pc, "n_extra": n_extra}
        shapes = {"mean": (n_wave,), "components": (n_wave, n), "weight": (n_parts,), "centre": (n_parts, n)}
        for name, shape in (shapes | {"covariance": (n_parts, n, n)}).items():
            self.register_buffer(name, torch.zeros(shape, dtype=D))

    @classmethod
    def learn(cls, flux: NDArray, extra: NDArray, seed: int = 0, n_pc: int = 40, n_parts: int = 24) -> "Mixture":
        """Of spectra F_nu (N, n_wave) and other quantities (N, n_extra); fewer components and Gaussians where they
        would have under 5 and under 300 spectra each, or where components are below 1e-4 of the scatter."""
        from sklearn.mixture import GaussianMixture

        x = np.log(np.asarray(flux, float))
        _, size, axes = np.linalg.svd(x - x.mean(0), full_matrices=False)
        n_pc = min(n_pc, len(x) // 5, int((size > 1e-4 * size[0]).sum()))
        scaled = axes[:n_pc].T * size[:n_pc] / len(x) ** 0.5  # each component of unit variance
        s = np.hstack([np.linalg.lstsq(scaled, (x - x.mean(0)).T, rcond=None)[0].T, extra])
        n_parts, how = min(n_parts, max(len(x) // 300, 1)), {"max_iter": 100, "tol": 3e-2, "random_state": seed}
        fitted = GaussianMixture(n_parts, reg_covar=1e-3, **how).fit(s)
        self = cls(x.shape[1], n_parts, n_pc, extra.shape[1])
        self.mean[:], self.weight[:] = torch.tensor(x.mean(0)), torch.tensor(fitted.weights_)
        self.components[:, :n_pc], self.components[:, -1] = torch.tensor(scaled), 1.0
        self.centre[:, :-1], self.covariance[:, :-1, :-1] = map(torch.tensor, (fitted.means_, fitted.covariances_))
        self.covariance[:, -1, -1] = SIGMA_AMPLITUDE**2
        return self

    @torch.no_grad()
    def draws(self, A: Tensor, flux: Tensor, sigma: Tensor, limit: Tensor, n_draws: int, seed: int = 0):
        """Draws of the posterior: ln F_nu (N, n_draws, n_wave), extras (N, n_draws, n_extra), misfit (N,).

        A : (N, B, n_wave), of the unit in which the amplitude's prior is centred.   flux, sigma : (N, B); sigma is
        infinite where there is no measurement.   limit : (N, B) whether flux is an upper limit, which a measurement of
        that sigma did not exceed.   misfit : chi2 of fluxes and prior at their best, whose expectation is the number of
        fluxes. An object's draws do not depend on which others are with it.
        """
        n, device = len(A), self.mean.device
        everywhere = torch.arange(n, device=device)[:, None]
        given, prior = (A, flux, sigma, limit), (self.centre, self.covariance, torch.linalg.inv(self.covariance))
        s = self.centre.expand(n, -1, -1)
        for _ in range(2):  # in log flux, in which any start is near
            s = self._system(given, prior, s, in_log=True)[2]
        s, best = self._climb(given, prior, s, 3)
        parts = best.topk(min(N_BEST, len(self.weight)), dim=1).indices
        prior = tuple(table[parts] for table in prior)
        s, best = self._climb(given, prior, s[everywhere, parts], 9)
        (J, chol), gain, _, _, value = self._system(given, prior, s)
        evidence = value + torch.log(self.weight[parts]) - chol.diagonal(dim1=-2, dim2=-1).log().sum(-1)

        noise, every = torch.Generator().manual_seed(seed), torch.arange(n_draws, device=device)  # of all objects
        at = ((torch.randperm(n_draws, generator=noise).to(device, D) + 0.5) / n_draws).repeat(n, 1)
        chosen = torch.searchsorted(torch.softmax(evidence, 1).cumsum(1), at).clamp(max=parts.shape[1] - 1)
        normal = torch.randn(n_draws, s.shape[-1] + A.shape[1], generator=noise, dtype=D).to(device)
        of_prior, of_data = normal[:, : s.shape[-1]], normal[:, s.shape[-1] :]
        # Conditioned by correcting draws of the prior by their misfit to noisy data (Hoffman & Ribak 1991).
        start = (of_prior @ torch.linalg.cholesky(self.covariance).mT)[parts]  # (N, G, n_draws, D)
        off = torch.cholesky_solve(of_data.T - J @ start.mT, chol)
        drawn = (s[:, :, None] + start + off.mT @ gain)[everywhere, chosen, every]
        extra = drawn[..., self.n_pc : self.n_pc + self.n_extra]
        return self.mean + drawn @ self.components.T, extra, -2 * best.amax(1)

    def _climb(self, given, prior, s: Tensor, n_steps: int) -> tuple[Tensor, Tensor]:
        """Gauss-Newton from s (N, G, D), with shorter steps where one led down; the best s and ln of its value."""
        best, kept, step = torch.full_like(s[..., 0], -torch.inf), s, torch.zeros_like(s)
        for last in [False] * n_steps + [True]:
            _, _, new, slope, value = self._system(given, prior, s)
            up = value > best
            best, kept = torch.where(up, value, best), torch.where(up[..., None], s, kept)
            if not last:
                change = (slope @ (new - s)[..., None]).abs().amax((-1, -2))[..., None]  # of ln flux: not beyond 1.5
                step = torch.where(up[..., None], (new - s) / (change / 1.5).clamp(min=1), step / 3)
                s = kept + step
        return kept, best

    def _system(self, given, prior, s: Tensor, in_log: bool = False):
        """The likelihood at s (N, G, D) as that of linear data with unit errors: (J, the Cholesky factor of their
        covariance), J times the prior's covariance, the s that they ask for, d ln f / ds, ln(likelihood x prior)."""
        A, flux, sigma, limit = (value[:, None] for value in given)
        spectrum = torch.exp((self.mean + s @ self.components.T).clamp(-80, 80))
        seen = A * spectrum[:, :, None]  # (N, G, B, L)
        f = seen.sum(-1).clamp(min=1e-300)
        slope = (seen @ self.components) / f[..., None]
        t = (flux - f) / sigma
        log_below = torch.special.log_ndtr(t)
        if in_log:
            use = ~limit & (flux > 2 * sigma)
            weight = torch.where(use, (flux / sigma) ** 2, 0.0).clamp(1e-12, 1e8)
            residual = torch.where(use, torch.log(flux.clamp(min=1e-300) / f), 0.0)
        else:
            far = t.clamp(max=-20)  # where the exact form loses its digits
            hazard = torch.where(t > -20, torch.exp(-0.5 * t**2 - log_below) / (2 * np.pi) ** 0.5, -far - 1 / far)
            weight = (torch.where(limit, hazard * (hazard + t), 1.0) * (f / sigma) ** 2).clamp(1e-12, 1e8)
            residual = (torch.where(limit, -hazard, t) * f / sigma / weight).clamp(-3, 3)
        centre, covariance, precision = prior
        away = s - centre
        J = weight.sqrt()[..., None] * slope
        gain = J @ covariance
        r = weight.sqrt() * (residual + (slope @ away[..., None])[..., 0])
        chol = torch.linalg.cholesky(torch.eye(J.shape[-2]).to(J) + gain @ J.transpose(-1, -2))
        new = centre + (gain.transpose(-1, -2) @ torch.cholesky_solve(r[..., None], chol))[..., 0]
        value = torch.where(limit, log_below, -0.5 * t**2).sum(-1)
        value = value - 0.5 * (away * (precision @ away[..., None])[..., 0]).sum(-1)
        return (J, chol), gain, new, slope, value
