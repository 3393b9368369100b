"""What lies between two places of a row of pixels: by hand, and alike on arrays and on tensors."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paper_utils.base.rebin import integrals, integrals_on_device


def test_parts_of_pixels_count_in_proportion():
    content = np.array([[1.0, 2.0, 4.0]])
    at = np.array([[0.0, 0.5, 1.0, 2.25, 3.0]])
    np.testing.assert_allclose(integrals(content, at), [[0.5, 0.5, 3.0, 3.0]])


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 1000), n=st.integers(1, 5), length=st.integers(1, 300), parts=st.integers(1, 40))
def test_arrays_and_tensors_agree(seed, n, length, parts):
    rng = np.random.default_rng(seed)
    content = rng.standard_normal((n, length))
    at = np.sort(rng.uniform(0, length, (n, parts + 1)), axis=1)
    at[:, [0, -1]] = 0, length
    found = integrals(content, at)
    np.testing.assert_allclose(
        integrals_on_device(torch.tensor(content), torch.tensor(at)).numpy(), found, rtol=1e-12, atol=1e-12
    )
    np.testing.assert_allclose(found.sum(axis=1), content.sum(axis=1), atol=1e-10)
    single = integrals_on_device(torch.tensor(content).float(), torch.tensor(at))
    assert single.dtype == torch.float32
    assert single.numpy() == pytest.approx(found, abs=1e-3)
