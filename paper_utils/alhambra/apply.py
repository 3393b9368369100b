"""Trained networks applied to a catalogue: densities of redshift, and all outputs of the thesis' networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from paper_utils.alhambra.inputs import Photometry, columns, compressed, thesis_inputs
from paper_utils.alhambra.mdn import MixtureDensity
from paper_utils.alhambra.model import Network

FIT_LIMIT = 30.0  # of the results of a template fit, of which only chi^2 goes further


class PhotoZ(MixtureDensity):
    """A mixture density network that makes its features from a table and gives its redshifts with intervals.

    bands : magnitudes, each with its error (d + name).   photometry : the kind of their features (`inputs.Photometry`).
    shapes : other measurements (`inputs.shape_columns`).   fitted : columns of a template fit, which it may correct.
    Without bands `shapes` are what the thesis' networks see, clipped.
    """

    def __init__(
        self,
        bands: Sequence[str],
        shapes: Sequence[str] = (),
        fitted: Sequence[str] = (),
        photometry: str = "asinh",
        n_components: int = 5,
        widths: Sequence[int] = (256, 256, 256),
    ):
        n_photometry = (2 * len(bands) + (photometry == "asinh")) if bands else 0
        super().__init__(n_photometry + len(shapes) + len(fitted), n_components, widths)
        self.bands, self.shapes, self.fitted, self.photometry = tuple(bands), tuple(shapes), tuple(fitted), photometry
        self.register_buffer("depth", torch.ones(len(bands), dtype=torch.float64))  # typical 1-sigma flux, softening

    def learn_depth(self, table) -> PhotoZ:
        """Take the bands' depths from a training table. Raises DataError, see `Photometry.of`."""
        if self.bands:
            self.depth.copy_(torch.as_tensor(Photometry.of(table, self.bands, self.photometry).depth))
        return self

    def features(self, table) -> Tensor:
        """(N, n_in) on the network's device, NaN where nothing was observed. Raises DataError for a missing column."""
        if self.bands:
            photometry = Photometry(self.bands, self.depth.cpu().numpy(), self.photometry)
            fitted = np.arcsinh(columns(table, self.fitted).clip(-FIT_LIMIT, FIT_LIMIT)).astype(np.float32)
            x = np.hstack([photometry.features(table), compressed(table, self.shapes), fitted])
        else:
            x = thesis_inputs(table, self.shapes)
        return torch.tensor(x, device=self.depth.device)

    def predict(self, table) -> dict[str, NDArray]:
        """Of each row of a table (N,): `z_p16`, `z_p50`, `z_p84`, and `z_peak` where ln(1 + z) is likeliest."""
        x = self.features(table)
        low, middle, high = self.quantiles(x, (0.16, 0.5, 0.84)).T
        return {"z_p16": low, "z_p50": middle, "z_p84": high, "z_peak": self.peak(x)}


def ensemble(networks: Mapping[str, Network], table) -> dict[str, NDArray]:
    """All outputs (N,) of the thesis' networks for the rows of a table, by name (Sec. 3.3.7)."""
    return {name: network.predict(network.inputs(table)) for name, network in networks.items()}
