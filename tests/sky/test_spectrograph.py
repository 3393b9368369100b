"""The mock SDSS spectrograph: noise of the stated variance, with the shape, masks and depth of the real one."""

import time

import numpy as np
import pytest
import torch
from astropy.io import fits

from paper_utils.base import paths
from paper_utils.base.containers import WAVE_OBS
from paper_utils.base.errors import DataError
from paper_utils.base.wavelengths import lsf_km_s
from paper_utils.sky import spectrograph

REAL = paths.ROOT.parent / "shared" / "real_data"
SKY_FIBRES, OBJECTS = REAL / "sdss_sky_fibres", REAL / "sdss_galaxy_spectra"
needs_sky_fibres = pytest.mark.skipif(not SKY_FIBRES.is_dir(), reason="sky fibres are not here (shared/real_data)")
needs_objects = pytest.mark.skipif(not OBJECTS.is_dir(), reason="SDSS spectra are not here (shared/real_data)")
L = WAVE_OBS.size
IN_R = (WAVE_OBS > 5600) & (WAVE_OBS < 6900)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def galaxies(n, *, dtype=torch.float32):
    """Red continua with a 4000 A break and H alpha, at z 0.05-0.2, of arbitrary flux units."""
    z = torch.linspace(0.05, 0.2, n, dtype=torch.float64)[:, None]
    rest = torch.as_tensor(WAVE_OBS) / (1 + z)
    flux = (0.5 + torch.sigmoid((rest - 4000) / 30)) * (rest / 5500) ** 0.5
    flux = flux + 3 * torch.exp(-0.5 * ((rest - 6564.6) / 2.5) ** 2)
    return (7.3 * flux).to(dtype)


def real_fibres(column):
    """(30, L) of a column of the sky fibres on the grid, NaN where a fibre does not reach or is bad."""
    rows = []
    for file in sorted(SKY_FIBRES.glob("*.fits")):
        coadd = fits.getdata(file, "COADD")
        row, good = np.full(L, np.nan), coadd["ivar"] > 0
        row[np.rint((coadd["loglam"][good].astype(float) - 3.578) * 1e4).astype(int)] = coadd[column][good]
        rows.append(row)
    return np.array(rows)


def test_noise_has_the_variance_that_ivar_says_in_every_bin():
    flux = galaxies(1500)
    noisy, ivar = spectrograph.observe(flux, rng(), masks=False)
    chi = (noisy - flux) * ivar.sqrt()
    # 1500 draws per bin: the standard deviation of a variance is sqrt(2 / 1500) = 0.037; 3892 bins reach 4 of those.
    assert chi.mean().abs() < 5 / chi.numel() ** 0.5
    assert (chi.var(dim=0) - 1).abs().max() < 5 * 0.037
    assert chi.var(dim=0).mean() == pytest.approx(1, abs=0.003)
    # White: neighbours know nothing of each other, nor do spectra.
    assert (chi[:, 1:] * chi[:, :-1]).mean().abs() < 5 / chi.numel() ** 0.5
    assert (chi[1:] * chi[:-1]).mean().abs() < 5 / chi.numel() ** 0.5
    assert (chi**4).mean() == pytest.approx(3, rel=0.02)


def test_signal_to_noise_is_what_was_asked_for():
    flux = galaxies(300)
    for snr in (2.0, 15.0, 45.0):
        _, ivar = spectrograph.observe(flux, rng(), snr, masks=False)
        measured = (flux * ivar.sqrt())[:, IN_R].median(dim=1).values
        np.testing.assert_allclose(measured, snr, rtol=0.03)
    # In the unit in which it came: twice the flux, half the square root of ivar.
    once, twice = (spectrograph.observe(f, rng(1), 10.0) for f in (flux, 2 * flux))
    np.testing.assert_allclose(twice[0], 2 * once[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(4 * twice[1], once[1], rtol=1e-4)


def test_physical_fluxes_get_the_physical_noise():
    flux = galaxies(50, dtype=torch.float64)
    _, ivar = spectrograph.observe(flux, rng(), spectrograph.snr_r(flux), masks=False)
    np.testing.assert_allclose(ivar, 1 / spectrograph.sigma(flux) ** 2, rtol=1e-6)


def test_photons_of_sky_and_object():
    """Sky-limited when faint (S/N ~ F), photon-limited in between (S/N ~ sqrt F), capped when bright (constant)."""
    f = torch.tensor([0.01, 0.1, 30, 1e5, 1e6], dtype=torch.float64)
    flux = f[:, None].expand(-1, L)
    ratio = (flux / spectrograph.sigma(flux))[:, IN_R].median(dim=1).values
    assert WAVE_OBS[spectrograph._R_BAND][[0, -1]] == pytest.approx([5600, 6900], abs=20)
    assert ratio[1] / ratio[0] == pytest.approx(10, rel=0.05)
    assert ratio[4] / ratio[3] == pytest.approx(1, rel=0.01)
    assert ratio[4] == pytest.approx(3**0.5 / 0.03, rel=0.01)  # 3 % in each of three exposures
    slope = torch.log(spectrograph.snr_r(flux[2:3] * 1.1) / spectrograph.snr_r(flux[2:3])) / np.log(1.1)
    assert float(slope) == pytest.approx(0.5, abs=0.1)


def test_depth_is_that_of_the_main_galaxy_sample():
    """Half of a sample to r = 17.77 is fainter than 17.77 - log10(2) / 0.6 (Euclidean counts): its S/N is the median.

    AB: f_lambda = 3631 Jy c / lambda^2 at 6200 A; a third of the light is inside the fibre (Brinchmann+ 2004,
    2004MNRAS.351.1151B).
    """
    r = 17.77 - np.log10(2) / 0.6
    total = 3631e-23 * 10 ** (-0.4 * r) * 2.998e18 / 6200**2 / 1e-17
    flux = torch.full((1, L), total * 0.33)
    assert float(spectrograph.snr_r(flux)[0]) == pytest.approx(spectrograph.MEDIAN_SNR, rel=0.15)

    snr = spectrograph.draw_snr(20000, rng())
    log_snr = snr.log10()
    assert float(snr.median()) == pytest.approx(15, rel=0.02)
    assert float(log_snr.quantile(0.84) - log_snr.quantile(0.16)) / 2 == pytest.approx(0.20, rel=0.04)
    flux = galaxies(600)
    _, ivar = spectrograph.observe(flux, rng(3), masks=False)
    observed = (flux * ivar.sqrt())[:, IN_R].median(dim=1).values.log10()
    assert float(observed.median()) == pytest.approx(np.log10(15), abs=0.03)
    assert float(observed.std()) == pytest.approx(0.20, rel=0.1)


def test_masks():
    flux = galaxies(800)
    noisy, ivar = spectrograph.observe(flux, rng())
    good = ivar > 0
    assert torch.isfinite(noisy).all()
    assert (ivar >= 0).all()
    # Each spectrum has its own ends, and nothing beyond them.
    first, last = good.int().argmax(dim=1), L - 1 - good.flip(1).int().argmax(dim=1)
    assert 7 <= first.min()
    assert last.max() <= 3868
    assert len(first.unique()) > 30
    # Inside them: few bad bins; a run of at least 60 in one of twenty.
    inner = ~good[:, 60:3840]
    clear = (WAVE_OBS[60:3840] > 4500) & (WAVE_OBS[60:3840] < 5400)  # no bright sky lines
    runs = (inner[:, clear].float().mean(dim=1) > 0.05).float().mean()
    assert 0.003 < runs < 0.05
    struck = inner[:, clear].float().mean(dim=1) < 0.05
    assert 0.0003 < inner[struck][:, clear].float().mean() < 0.002  # 2.5 of 3892
    # Faint objects lose more bins to bright sky lines than bright ones; the [O I] 5577 line is lost to most.
    faint, bright = (spectrograph.observe(flux, rng(), snr)[1] == 0 for snr in (3.0, 45.0))
    red = WAVE_OBS > 8200
    assert faint[:, red].float().mean() > 3 * bright[:, red].float().mean()
    oi = np.abs(WAVE_OBS - 5578.9).argmin()
    assert faint[:, oi].float().mean() > 0.9
    whole = spectrograph.observe(flux, rng(), masks=False)[1]
    np.testing.assert_array_equal(ivar[good], whole[good])
    assert (whole > 0).all()


def test_seeds_reproduce_and_differ():
    flux = galaxies(150)
    one, again, other = (spectrograph.observe(flux, rng(seed)) for seed in (5, 5, 6))
    for a, b in zip(one, again, strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(one[0], other[0])
    assert spectrograph.observe(flux[:0], rng())[0].shape == (0, L)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu():
    flux = galaxies(500).cuda()
    noisy, ivar = spectrograph.observe(flux, torch.Generator("cuda").manual_seed(0), 15.0)
    assert noisy.is_cuda
    good = ivar > 0
    assert float((((noisy - flux) * ivar.sqrt())[good] ** 2).mean()) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("change", "snr", "words"),
    [
        (lambda f: f.neg_(), 10.0, ["spectrum 0", "positive"]),
        (lambda f: f[3].zero_(), 10.0, ["spectrum 3"]),
        (lambda f: f, 80.0, ["ratio of 80", "58"]),
        (lambda f: f, torch.tensor([10, 10, 0.0, 10, 10, 10]), ["spectrum 2"]),
        (lambda f: f[4].fill_(torch.nan), 10.0, ["spectrum 4"]),
    ],
)
def test_impossible_observations_are_named(change, snr, words):
    flux = galaxies(6)
    change(flux)
    with pytest.raises(DataError) as caught:
        spectrograph.observe(flux, rng(), snr)
    for word in words:
        assert word in str(caught.value)


@needs_sky_fibres
def test_noise_has_the_shape_of_real_sky_fibres():
    """In 200 A: within 8 % in the median and 10 % in rms. At the 40 bins with the strongest lines: each within 42 %."""
    with np.errstate(invalid="ignore"):
        real = np.nanmedian(real_fibres("ivar")[:, 60:3850] ** -0.5, axis=0)
    mock = spectrograph.sigma(torch.zeros(1, L, dtype=torch.float64))[0, 60:3850].numpy()
    wave = WAVE_OBS[60:3850]
    assert np.median(mock / real) == pytest.approx(1, abs=0.02)  # the level too: a median night of 45 min
    for low in np.arange(3840, 9100, 200):
        inside = (wave >= low) & (wave < low + 200)
        assert np.median(mock[inside] / real[inside]) == pytest.approx(1, abs=0.08)
        assert np.sqrt((mock[inside] ** 2).mean() / (real[inside] ** 2).mean()) == pytest.approx(1, abs=0.10)
    contrast = real / np.array([np.median(real[max(i - 50, 0) : i + 50]) for i in range(real.size)])
    strongest = np.argsort(contrast)[-40:]
    assert np.median((mock / real)[strongest]) == pytest.approx(1, abs=0.06)
    assert np.abs(np.log((mock / real)[strongest])).max() < np.log(1.42)
    # [O I] 5577 is among them, and stands as high above its surroundings as it does in the sky.
    assert np.abs(wave[strongest] - 5578.9).min() < 1


@needs_sky_fibres
def test_resolution_and_masks_agree_with_real_sky_fibres():
    wdisp = real_fibres("wdisp")
    real = np.nanmedian(np.where(wdisp > 0.3, wdisp, np.nan)[:, 60:3850], axis=0) * 69.03  # km/s per bin of 1e-4 dex
    np.testing.assert_allclose(lsf_km_s(WAVE_OBS)[60:3850], real, rtol=0.04)
    flagged = []
    for file in sorted(SKY_FIBRES.glob("*.fits")):
        flagged.append(np.mean((fits.getdata(file, "COADD")["and_mask"] >> 23) & 1))
    # Nearly empty fibres: S/N 0.1 in r. Only bright sky lines lie in 8200-9100 A, few bad bins.
    _, ivar = spectrograph.observe(galaxies(200), rng(), 0.1)
    assert float((ivar[:, 60:3840] == 0).float().mean()) == pytest.approx(np.median(flagged), abs=0.05)


@needs_objects
def test_noise_of_real_objects_follows_from_their_flux():
    """Five SDSS objects, S/N 10-50: from the pipeline's model of the flux alone, sigma and its shape within 25 %.

    Their depths differ (44-80 min, seeing), and they are among those to which the model was fitted.
    """
    for name in ("0266-51602-0001", "0280-51612-0117", "0395-51783-0525", "1599-53089-0469", "1678-53433-0425"):
        coadd = fits.getdata(OBJECTS / f"spec-{name}.fits", "COADD")
        place = np.rint((coadd["loglam"].astype(float) - 3.578) * 1e4).astype(int)
        flux = torch.zeros(1, L, dtype=torch.float64)
        flux[0, place] = torch.as_tensor(coadd["model"].astype(float))
        mock = spectrograph.sigma(flux)[0, place].numpy()
        good = coadd["ivar"] > 0
        ratio = mock[good] * coadd["ivar"][good] ** 0.5
        assert np.median(ratio) == pytest.approx(1, abs=0.25)
        wave = 10 ** coadd["loglam"][good]
        broad = [np.median(ratio[(wave > low) & (wave < low + 500)]) for low in range(3900, 9000, 500)]
        np.testing.assert_allclose(broad / np.median(ratio), 1, atol=0.25)


def test_batches_are_faster_than_one_by_one():
    flux = galaxies(512)
    spectrograph.observe(flux, rng())

    def seconds(function):
        start = time.perf_counter()
        function()
        return time.perf_counter() - start

    batch = min(seconds(lambda: spectrograph.observe(flux, rng())) for _ in range(3)) / 512
    single = seconds(lambda: [spectrograph.observe(flux[i : i + 1], rng(i)) for i in range(64)]) / 64
    print(f"{1 / batch:.0f} spectra per second in a batch, {1 / single:.0f} one by one")
    assert single > 3 * batch
