"""Plain methods that any network has to beat: each learns y (N, m) -> x (N, L) from a training set.

All work on logarithms of flux as they come (photometry and spectra standardised inside), and all but the Gaussian
process give a point, not an uncertainty. The networks of this project are not known here; the notebook adds them.
"""

from itertools import product
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import DotProduct, Matern, WhiteKernel
from sklearn.linear_model import RidgeCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def linear_inverse(y_train: NDArray, x_train: NDArray, y: NDArray, n_components: int = 20) -> NDArray:
    """PCA + least squares: the spectrum in the space of the leading components that fits the photometry best.

    The linear counterpart of a generative prior: principal components in place of the generator. The components are
    those of photometry and spectrum together, so that a set of coefficients predicts both.
    """
    scale_y, scale_x = StandardScaler().fit(y_train), StandardScaler().fit(x_train)
    both = np.hstack([scale_y.transform(y_train), scale_x.transform(x_train)])
    pca = PCA(n_components, random_state=0).fit(both)
    m = y_train.shape[1]
    # Coefficients vary in the training set as their explained variance says: use it as the prior, and the variance that
    # the components leave as the noise.
    noise = pca.noise_variance_
    design = pca.components_[:, :m]
    precision = design @ design.T / noise + np.diag(1 / pca.explained_variance_)
    coefficients = np.linalg.solve(precision, design @ (scale_y.transform(y) - pca.mean_[:m]).T / noise).T
    return scale_x.inverse_transform(coefficients @ pca.components_[:, m:] + pca.mean_[m:])


def gradient_boosting(n_components: int = 6):
    """Boosted trees, one set for each leading principal component of the spectra."""
    trees = MultiOutputRegressor(HistGradientBoostingRegressor(max_iter=80, max_leaf_nodes=16, random_state=0))
    to_components = make_pipeline(StandardScaler(), PCA(n_components, whiten=True, random_state=0))
    return TransformedTargetRegressor(trees, transformer=to_components, check_inverse=False)


def learn(model, y_train: NDArray, x_train: NDArray, y: NDArray) -> NDArray:
    """Fit a scikit-learn regressor on standardised photometry and predict."""
    return make_pipeline(StandardScaler(), model).fit(y_train, x_train).predict(y)


# Made anew for each use, so that no method carries a fit from one data set to another.
BASELINES = {
    "mean spectrum": lambda *data: learn(DummyRegressor(), *data),
    "nearest neighbour": lambda *data: learn(KNeighborsRegressor(1), *data),
    "5 nearest neighbours": lambda *data: learn(KNeighborsRegressor(5, weights="distance"), *data),
    "ridge regression": lambda *data: learn(RidgeCV(np.logspace(-4, 2, 13)), *data),
    "PCA + least squares": linear_inverse,
    "gradient boosting": lambda *data: learn(gradient_boosting(), *data),
}


class GaussianProcess:
    """Gaussian-process regression of a spectrum on photometry: smooth, non-linear, with uncertainties.

    A linear trend plus a Matern-5/2 correlation in standardised log photometry, one kernel for all wavelengths. Length
    scale and noise are those that predict held-out training spectra best; the intervals are then widened or narrowed,
    wavelength by wavelength, until they hold 68 % of the held-out spectra (split-conformal calibration: residuals have
    heavier tails than a Gaussian). The process is conditioned on at most `n_max` spectra, at a cost of n_max^3.
    """

    LENGTHS, NOISES = (3.0, 6.0, 12.0, 24.0), (1e-4, 1e-3, 1e-2)

    def __init__(self, n_tune: int = 1000, n_max: int = 9000, seed: int = 0):
        self.n_tune, self.n_max, self.seed = n_tune, n_max, seed

    def fit(self, y: NDArray, x: NDArray) -> Self:
        """Photometry y (N, m) and spectra x (N, L), both logarithmic."""
        index = np.random.default_rng(self.seed).permutation(len(y))
        self.scale_y, self.scale_x = StandardScaler().fit(y), StandardScaler().fit(x)
        u, v = self.scale_y.transform(y)[index], self.scale_x.transform(x)[index]
        n_check = min(len(u) // 4, 500)
        check, tune = slice(n_check), slice(n_check, n_check + self.n_tune)

        def held_out_error(kernel: tuple[float, float]) -> float:
            return np.abs(v[check] - self._process(kernel, u[tune], v[tune]).predict(u[check])).mean()

        self.kernel = min(product(self.LENGTHS, self.NOISES), key=held_out_error)
        # The spectra that calibrate it stay out of it: intervals from its own training set would be too narrow.
        self.process = self._process(self.kernel, u[n_check : self.n_max], v[n_check : self.n_max])
        mean, std = self.process.predict(u[check], return_std=True)
        self.inflation = np.quantile(np.abs(v[check] - mean) / std, 0.68, axis=0)
        return self

    @staticmethod
    def _process(kernel: tuple[float, float], u: NDArray, v: NDArray) -> GaussianProcessRegressor:
        length, noise = kernel
        covariance = DotProduct(1.0) + 10.0 * Matern(length, nu=2.5) + WhiteKernel(noise)
        return GaussianProcessRegressor(covariance, optimizer=None).fit(u, v)

    def predict(self, y: NDArray) -> tuple[NDArray, NDArray]:
        """Mean of the log spectrum and half the width of its 68 % interval, each (N, L)."""
        mean, std = self.process.predict(self.scale_y.transform(y), return_std=True)
        return self.scale_x.inverse_transform(mean), std * self.inflation * self.scale_x.scale_
