"""Study 4's rest-frame grid: light is conserved, lines lie where they belong, gaps are filled from what is known."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paper_utils.base import paths
from paper_utils.base.containers import WAVE_OBS, Spectra
from paper_utils.base.errors import DataError
from paper_utils.latents import restframe as rf

L = WAVE_OBS.size
REAL = paths.ROOT.parent / "shared" / "real_data" / "sdss_galaxy_spectra"


def lines(centre, z, width=6.0):
    """A Gaussian line (N, L) of rest wavelength `centre` and rest width [A] on a level of 1, at redshifts z (N,)."""
    at = torch.as_tensor(WAVE_OBS) / (1 + z[:, None])
    return (1 + torch.exp(-0.5 * ((at - centre) / width) ** 2)).float()


def family(n, seed=0, noise=0.0):
    """Spectra of a planted family of rank 3 on the rest grid, with SDSS's coverage at z = 0.02 - 0.3, and their truth.

    Returns (truth, y, ivar); y is unknown (0) where ivar is.
    """
    generator = torch.Generator().manual_seed(seed)
    at = torch.linspace(0, 1, rf.N_REST)
    shapes = torch.stack([1 + 0 * at, at - 0.5, torch.sin(9 * at), torch.exp(-0.5 * ((at - 0.7) / 0.01) ** 2)])
    s = torch.cat([torch.ones(n, 1), 0.3 * torch.randn(n, 3, generator=generator)], dim=1)
    truth = (s @ shapes) * 10 ** torch.randn(n, 1, generator=generator)  # in any unit
    z = 0.02 + 0.28 * torch.rand(n, generator=generator)
    seen = torch.as_tensor(rf.WAVE_REST) * (1 + z[:, None])
    known = (seen > WAVE_OBS[0]) & (seen < WAVE_OBS[-1])
    sigma = truth.abs().mean(dim=1, keepdim=True) * max(noise, 1e-3)
    y = truth + (noise > 0) * sigma * torch.randn(truth.shape, generator=generator)
    return truth, torch.where(known, y, 0), torch.where(known, sigma**-2, 0.0)


def test_the_grid_is_portillos():
    assert rf.WAVE_REST.size == 1000
    assert np.log10(rf.WAVE_REST[[0, -1]]) == pytest.approx([3.53, 3.92 - 0.39e-3])


def test_a_line_lies_at_its_rest_wavelength_and_keeps_its_light():
    z = torch.tensor([0.02, 0.1, 0.2, 0.25])
    y, ivar = rf.to_rest(lines(5008.24, z), torch.ones(4, L), z)
    wave = torch.as_tensor(rf.WAVE_REST)
    near = (wave > 4900) & (wave < 5100)
    excess = torch.where(near, y - 1, 0).double()
    centre = (excess * wave).sum(dim=1) / excess.sum(dim=1)
    assert torch.allclose(centre, torch.full((4,), 5008.24, dtype=centre.dtype), atol=0.3)
    width = wave * np.log(10) * 0.39e-3
    expected = 6.0 * np.sqrt(2 * np.pi)
    assert (excess * width).sum(dim=1).tolist() == pytest.approx([expected] * 4, rel=2e-3)
    assert (ivar[:, near] > 0).all()


def test_means_and_variances_are_those_of_the_pixels():
    """One element worked out by hand from the overlaps of its 3.9 pixels, more and more of which are bad."""
    generator = torch.Generator().manual_seed(0)
    z = torch.tensor([0.1], dtype=torch.float64)
    flux, ivar = (0.5 + torch.rand(1, L, generator=generator, dtype=torch.float64) for _ in range(2))
    element = 400
    low, high = np.log10(rf.WAVE_REST[element]) + np.log10(1.1) + 0.39e-3 * np.array([-0.5, 0.5])
    pixel_low = np.log10(WAVE_OBS) - 0.5e-4
    overlap = np.clip(np.minimum(high, pixel_low + 1e-4) - np.maximum(low, pixel_low), 0, None)
    first = np.flatnonzero(overlap)[0]
    for bad in ((), (first + 1,), (first, first + 1), (first, first + 1, first + 2)):
        v = ivar.clone()
        v[0, list(bad)] = 0
        share = np.where(v[0] > 0, overlap, 0)
        y, found = rf.to_rest(flux, v, z)
        if share.sum() < 0.5 * overlap.sum():
            assert found[0, element] == 0
            continue
        assert y[0, element].item() == pytest.approx((share * flux[0].numpy()).sum() / share.sum(), rel=1e-6)
        variance = (share[share > 0] ** 2 / v[0].numpy()[share > 0]).sum() / share.sum() ** 2
        assert found[0, element].item() == pytest.approx(1 / variance, rel=1e-6)


def test_noise_is_as_ivar_says():
    generator = torch.Generator().manual_seed(1)
    z = torch.full((300,), 0.15)
    noise = 0.3 * torch.randn(300, L, generator=generator)
    y, ivar = rf.to_rest(noise, torch.full((300, L), 0.3**-2), z)
    pull = (y * ivar.sqrt())[:, (ivar > 0).all(dim=0)]
    assert pull.std().item() == pytest.approx(1, abs=0.01)


def test_outside_the_spectrum_nothing_is_known():
    z = torch.tensor([0.0, 0.3])
    ivar = rf.to_rest(torch.ones(2, L), torch.ones(2, L), z)[1]
    seen = torch.as_tensor(rf.WAVE_REST) * (1 + z[:, None])
    inside = (seen > WAVE_OBS[0] * 1.0005) & (seen < WAVE_OBS[-1] / 1.0005)
    outside = (seen < WAVE_OBS[0] / 1.0005) | (seen > WAVE_OBS[-1] * 1.0005)
    assert (ivar[inside] > 0).all()
    assert (ivar[outside] == 0).all()


def test_gaps_are_filled_with_what_stood_there():
    truth, y, ivar = family(400)
    components = rf.learn_components(y[:300], ivar[:300], n_components=4)
    x, w = rf.filled(y[300:], ivar[300:], components)
    assert x.square().mean(dim=1).sqrt().tolist() == pytest.approx([1] * 100, abs=1e-5)
    expected = truth[300:] / truth[300:].square().mean(dim=1, keepdim=True).sqrt()
    assert (x - expected).abs().max() < 0.02
    assert ((w > 0) == (ivar[300:] > 0)).all()


def test_filling_does_not_depend_on_the_unit():
    _, y, ivar = family(60, noise=0.05)
    components = rf.learn_components(y, ivar, n_components=4)
    x, w = rf.filled(y, ivar, components)
    x_other, w_other = rf.filled(100 * y, ivar / 1e4, components)
    assert torch.allclose(x, x_other, atol=1e-4)
    assert torch.allclose(w, w_other, rtol=1e-3)


def test_weights_are_softened_inverse_variances():
    _, y, ivar = family(20, noise=0.02)
    x, w = rf.filled(y, ivar, rf.learn_components(y, ivar, n_components=4))
    norm = y[ivar > 0] / x[ivar > 0]
    expected = 1 / (1 / (ivar[ivar > 0] * norm**2) + 5e-4)
    assert torch.allclose(w[ivar > 0], expected, rtol=1e-3)
    assert w.max() <= 1 / 5e-4


def container(flux, ivar, z):
    ids = [f"galaxy {i}" for i in range(len(z))]
    return Spectra(wave_obs=WAVE_OBS, flux=flux, ivar=ivar, z=np.asarray(z, float), ids=np.array(ids))


def test_a_spectrum_that_is_mostly_unknown_is_named():
    flux, ivar = np.ones((3, L)), np.ones((3, L))
    ivar[1, 500:] = 0
    with pytest.raises(DataError, match=r"galaxy 1.*row 1") as caught:
        rf.rest_spectra(container(flux, ivar, [0.1, 0.1, 0.1]))
    assert "masked" in caught.value.remedy
    with pytest.raises(DataError, match="galaxy 2"):
        rf.rest_spectra(container(flux, np.ones((3, L)), [0.1, 0.1, 1.5]))


@settings(max_examples=15, deadline=None)
@given(
    z=st.lists(st.floats(-0.01, 2), min_size=2, max_size=4),
    level=st.floats(-1e4, 1e6).filter(lambda v: abs(v) > 1e-6),
    seed=st.integers(0, 99),
    masked=st.floats(0, 1),
)
def test_whatever_a_file_holds_is_filled_or_refused(z, level, seed, masked):
    rng = np.random.default_rng(seed)
    flux = level * (1 + 0.1 * rng.standard_normal((len(z), L)))
    ivar = np.where(rng.random((len(z), L)) < masked, 0, 1 / (0.1 * level) ** 2)
    spectra = container(flux, ivar, z)
    known = (rf.to_rest(*(torch.as_tensor(a).float() for a in (flux, ivar, spectra.z)))[1] > 0).float().mean(dim=1)
    if known.min() < rf.MIN_KNOWN:
        with pytest.raises(DataError, match=f"galaxy {int((known < rf.MIN_KNOWN).nonzero()[0])}"):
            rf.rest_spectra(spectra)
        return
    x, w, _ = rf.rest_spectra(spectra)
    assert x.isfinite().all()
    assert w.isfinite().all()
    assert (w >= 0).all()


@pytest.mark.skipif(not REAL.is_dir(), reason="the real SDSS spectra are not here")
def test_real_spectra_have_their_lines_where_they_belong():
    from paper_utils.files import sdss

    with pytest.warns(UserWarning, match="left out"):  # a table of line fits lies beside the spectra
        spectra = sdss.read_folder(REAL, skip_bad=True)
    spectra = spectra.select(np.asarray(spectra.truth["class"]) == "GALAXY")
    spectra = spectra.select(spectra.z < rf.Z_MAX)
    x, w, _ = rf.rest_spectra(spectra, rf.Components(torch.zeros(1000), torch.ones(1, 1000)))
    assert x.isfinite().all()
    at = torch.as_tensor(rf.WAVE_REST)
    h_alpha = (at > 6520) & (at < 6600)
    peak = at[h_alpha][x[:, h_alpha].argmax(dim=1)]
    strong = x[:, h_alpha].max(dim=1).values > 2
    # The strongest line is H alpha, or in an active galaxy [N II] 6585.
    off = (peak[strong, None] - torch.tensor([6564.6, 6585.3])).abs()
    assert (off.min(dim=1).values < 6).all()
    assert (off[:, 0] < 6).sum() >= 2
