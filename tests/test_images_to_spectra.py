"""Study 3 from end to end: log spectra against analytic ones, degraded images, and how candidates are chosen."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d

from paper_utils.data import WAVE_OBS, Spectra
from paper_utils.errors import DataError
from paper_utils.models import images_to_spectra as its
from paper_utils.models.contrastive import Contrastive
from paper_utils.models.diffusion import Diffusion


def spectra(flux, ivar=None, z=0.1):
    flux = np.atleast_2d(flux)
    n = len(flux)
    return Spectra(
        wave_obs=WAVE_OBS,
        flux=flux,
        ivar=np.ones_like(flux) if ivar is None else ivar,
        z=np.full(n, z),
        ids=np.array([f"g{i}" for i in range(n)]),
    )


def line(wave, width, centre=5500.0):
    """A sloped continuum with one line of flux 100 and a width [A]."""
    return (wave / 5000) ** -1.5 + 100 / (width * (2 * np.pi) ** 0.5) * np.exp(-0.5 * ((wave - centre) / width) ** 2)


def test_a_line_is_broadened_by_the_smoothing_and_the_norm_is_that_of_the_rest_frame():
    x, _, fit = its.log_spectra(spectra(line(WAVE_OBS, 3.0), z=0.1))
    assert fit.all()
    assert x.shape == (1, 4500)
    expected = line(its.WAVE, (3.0**2 + its.SMOOTHING**2) ** 0.5)
    rest = its.WAVE / 1.1
    norm = expected[(rest >= 6900) & (rest <= 6950)].mean()
    assert np.abs(x[0].exp().numpy() * norm / expected - 1).max() < 5e-3


def test_it_is_the_spline_and_the_gaussian_of_scipy():
    flux = 5 + np.random.default_rng(0).normal(size=WAVE_OBS.size)
    x = its.log_spectra(spectra(flux, z=0.0))[0][0].exp().numpy()
    direct = gaussian_filter1d(CubicSpline(WAVE_OBS, flux)(np.arange(3980.0, 8520.0)), its.SMOOTHING)[20:-20]
    direct /= direct[2900:2951].mean()
    np.testing.assert_allclose(x, direct, rtol=2e-4)


def test_unusable_bins_are_bridged():
    flux, gap = line(WAVE_OBS, 30.0), slice(1000, 1006)  # 3 % of the line's width
    ivar = np.ones((1, WAVE_OBS.size))
    ivar[0, gap] = 0
    spoilt = flux.copy()
    spoilt[gap] = -1e4
    (whole,), (mended,) = its.log_spectra(spectra(flux))[0], its.log_spectra(spectra(spoilt, ivar))[0]
    assert (whole - mended).abs().max() < 0.01
    sigma = its.log_spectra(spectra(spoilt, ivar))[1][0]
    middle = np.abs(its.WAVE - WAVE_OBS[1003]).argmin()
    assert torch.isinf(sigma[middle])
    assert torch.isfinite(sigma[: middle - 40]).all()


def test_errors_are_the_scatter_of_noisy_copies():
    generator = np.random.default_rng(1)
    level = np.linspace(0.05, 0.2, WAVE_OBS.size)
    level[np.abs(WAVE_OBS / 1.1 - 6925) < 40] = 1e-4  # the norm's own error is not part of sigma
    flux = 5 + level * generator.normal(size=(500, WAVE_OBS.size))
    x, sigma, fit = its.log_spectra(spectra(flux, np.broadcast_to(level**-2, flux.shape)))
    assert fit.all()
    ratio = x.std(dim=0) / sigma.median(dim=0).values
    assert ratio.median().item() == pytest.approx(1, abs=0.03)
    assert ratio.min() > 0.8
    assert ratio.max() < 1.25


def test_only_positive_spectra_are_fit():
    flux = np.ones((3, WAVE_OBS.size))
    flux[1, 800:820] = -3.0
    flux[2] = 0
    x, sigma, fit = its.log_spectra(spectra(flux))
    assert fit.tolist() == [True, False, False]
    assert torch.isfinite(x[0]).all()
    assert torch.isnan(x[1:]).all()
    assert torch.isnan(sigma[1:]).all()


def test_spectra_must_cover_the_grid():
    short = Spectra(
        wave_obs=WAVE_OBS[600:],
        flux=np.ones((1, 3292)),
        ivar=np.ones((1, 3292)),
        z=np.array([0.1]),
        ids=np.array(["a"]),
    )
    with pytest.raises(DataError, match="4000-8499"):
        its.log_spectra(short)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.floats(-0.01, 5))
def test_what_is_fit_is_finite_whatever_is_masked(seed, share, z):
    generator = np.random.default_rng(seed)
    flux = generator.normal(2, 1, (2, WAVE_OBS.size))
    ivar = np.where(generator.random(flux.shape) < share, 0, 1.0)
    x, sigma, fit = its.log_spectra(spectra(flux, ivar, z))
    assert torch.isfinite(x[fit]).all()
    assert (sigma[fit] > 0).all()
    assert torch.isnan(x[~fit]).all()


def test_low_resolution_is_every_eighth_element():
    x = torch.arange(4500.0)[None]
    assert its.lowered(x).shape == (1, its.N_LOW) == (1, 563)
    assert its.lowered(x)[0, :3].tolist() == [0, 8, 16]


def test_degraded_images_keep_their_light_and_lose_their_detail():
    images = torch.rand(3, 5, 64, 64)
    assert torch.allclose(its.degraded(images, 64), images)
    one = its.degraded(images, 1)
    assert torch.allclose(one, images.mean(dim=(2, 3), keepdim=True).expand_as(images), atol=1e-6)
    scatter = [its.degraded(images, size).std(dim=(2, 3)).mean() for size in (64, 32, 16, 8, 4, 2)]
    assert all(a > b for a, b in zip(scatter, scatter[1:], strict=False))


@pytest.fixture(scope="module")
def networks():
    """Small ones that have learned nothing: what is asked here is the bookkeeping."""
    torch.manual_seed(0)
    small = {"image_width": 1 / 8, "n_bands": 2, "base": 8, "mults": (1,)}
    low = Diffusion(563, patch=8, prediction="v", **small)
    full = Diffusion(4500, 563, patch=16, prediction="v", **small)
    match = {"image": "resnet18", "n_features": 8, **small}
    return low, full, Contrastive(563, patch=8, **match), Contrastive(4500, patch=16, **match)


@pytest.fixture(scope="module")
def images():
    return torch.rand(5, 2, 64, 64, generator=torch.Generator().manual_seed(0))


def test_the_best_are_kept_at_both_resolutions(networks, images):
    low, full, low_match, full_match = networks
    found = its.predict(images, *networks, n_low=6, n_kept=3, n_full=4, n_steps=3, batch_size=2, progress=False)
    shapes = {f.name: tuple(getattr(found, f.name).shape) for f in dataclasses.fields(found)}
    assert shapes == {
        "low": (5, 6, 563), "low_score": (5, 6), "kept": (5, 3), "full": (5, 3, 4, 4500), "full_score": (5, 3, 4),
    }  # fmt: skip
    with torch.no_grad():
        seen = its.centred(images)
        cosine = torch.einsum("nf,nkf->nk", low_match.embed_images(seen),
                              low_match.embed_spectra(found.low.log().flatten(0, 1)).unflatten(0, (5, 6)))  # fmt: skip
    assert torch.allclose(cosine, found.low_score, atol=1e-4)
    assert torch.equal(found.kept, cosine.argsort(dim=1, descending=True)[:, :3])
    for i in range(5):
        k, j = divmod(int(found.full_score[i].argmax()), 4)
        assert torch.equal(found.best[i], found.full[i, k, j])
    assert found.all_full.shape == (5, 12, 4500)
    assert torch.equal(found.all_full[:, 4], found.full[:, 1, 0])


def test_full_spectra_belong_to_their_image_and_their_low_spectrum(networks, images):
    """Every candidate that reaches the second model meets its own image's features and its own low spectrum."""
    low, full, low_match, full_match = networks
    given = []
    hook = full.register_forward_pre_hook(lambda _, args: given.append((args[2], args[3])))
    found = its.predict(images, *networks, n_low=4, n_kept=2, n_full=3, n_steps=2, batch_size=5, progress=False)
    hook.remove()
    context, beside = (torch.cat(parts) for parts in zip(*given[:1], strict=True))
    with torch.no_grad():
        own = full.encode(its.centred(images)).repeat_interleave(6, dim=0)
        kept = found.low.log()[torch.arange(5)[:, None], found.kept].flatten(0, 1)
    assert torch.allclose(context, own, atol=1e-4)
    assert torch.allclose(beside, full.beside(own[::3], kept).repeat_interleave(3, dim=0), atol=1e-3)


def test_the_seed_decides_and_the_first_model_suffices(networks, images):
    low, _, low_match, _ = networks

    def draw(seed):
        return its.predict(images, low, None, low_match, None, n_low=4, n_steps=3, seed=seed, progress=False)

    one, again, other = draw(0), draw(0), draw(1)
    assert torch.equal(one.low, again.low)
    assert not torch.allclose(one.low, other.low, rtol=0.01)
    assert one.full is None
    best = one.low[torch.arange(5), one.low_score.argmax(dim=1)]
    assert torch.equal(one.best, best)
