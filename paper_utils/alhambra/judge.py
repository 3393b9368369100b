"""Study 5's judgement of methods beside each other: how they agree with labels and truth, and where intervals hold."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from paper_utils.stats import photoz

FEW = 10  # objects, of which no correlation is given


def agreement(methods: Mapping[str, NDArray], against: Mapping[str, NDArray]) -> list[dict]:
    """Correlation and scatter of each method's values (N,) with each kind of expected ones (N,), NaN where unknown: a
    row for each method."""
    rows = []
    for method, values in methods.items():
        rows.append({"method": method})
        for kind, expected in against.items():
            there = np.isfinite(expected) & np.isfinite(values)
            if there.sum() > FEW:
                rows[-1][f"r to {kind}"] = np.corrcoef(values[there], expected[there])[0, 1]
                rows[-1][f"σ_68 to {kind}"] = photoz.sigma_68((values - expected)[there])
    return rows


def held(inside: NDArray, chosen: NDArray, values: NDArray, limits: NDArray, fewest: int = 100) -> NDArray:
    """Share [%] of the chosen objects (N, bool) that are inside their intervals (N, bool), in bins of their values (N,)
    between limits (M + 1,): (M,), NaN for fewer than `fewest`."""
    of_bin = np.digitize(values, limits)
    parts = [inside[chosen & (of_bin == k)] for k in range(1, len(limits))]
    return np.array([100 * part.mean() if len(part) >= fewest else np.nan for part in parts])
