"""The optical sky as a whole: a stream is one batch, noise is as stated, lines and magnitudes are those planted."""

import numpy as np
import pytest
import torch
from sedpy.observate import load_filters

from paper_utils.base.containers import WAVE_OBS
from paper_utils.base.distances import arrives
from paper_utils.base.errors import DataError
from paper_utils.base.filters import sdss_curves
from paper_utils.base.rebin import rebin
from paper_utils.base.wavelengths import LINES, log_grid, lsf_km_s
from paper_utils.sky import apertures, foreground, galaxies, nebular, sdss_spectra, spectrograph

C_KMS = 299792.458
PIXEL_KMS = np.log(10) * 1e-4 * C_KMS  # of the spectrograph


@pytest.fixture(scope="module")
def sample(ssps):
    """One stream, whole: (truth, clean, flux, ivar)."""
    (batch,) = sdss_spectra.batches(800, ssps, seed=4, masks=False)
    return batch


@pytest.fixture
def glowing():
    """A galaxy of little mass that forms many stars, with hardly any nitrogen: lines a thousand times its starlight."""

    def make(**columns):
        truth = galaxies.draw(3, 0, (0.05, 0.15))
        base = {"log_mstar": 7.0, "log_sfr": 2.0, "oh": 7.5, "log_u": nebular.log_u_sequence(7.5), "a_v": 0.0,
                "agn_class": "none", "agn_strength": 0.0, "ebv": 0.0}  # fmt: skip
        for name, value in (base | columns).items():
            truth[name] = value
        return truth

    return make


def line(truth, flux, name, half_kms=350.0):
    """Flux [1e-17 erg/s/cm2] and dispersion [km/s] of a line, (N,) each, from moments above a flat continuum."""
    fluxes, widths = [], []
    for z, spectrum in zip(truth["z"], np.asarray(flux, float), strict=True):
        v = np.log(WAVE_OBS / LINES[name] / (1 + z)) * C_KMS
        inside, beside = abs(v) < half_kms, (abs(v) > half_kms) & (abs(v) < half_kms + 200)
        light = (spectrum[inside] - np.median(spectrum[beside])) * WAVE_OBS[inside] * PIXEL_KMS / C_KMS
        mean = (light * v[inside]).sum() / light.sum()
        fluxes.append(light.sum())
        widths.append(np.sqrt((light * (v[inside] - mean) ** 2).sum() / light.sum()))
    return np.array(fluxes), np.array(widths)


# --- streams


def test_reddening_undone_gives_the_unreddened_spectrum(ssps):
    truth = galaxies.draw(40, 1)
    through = sdss_spectra.fibre_spectra(truth, ssps).numpy()
    assert np.median(truth["ebv"]) == pytest.approx(0.027, abs=0.008)
    undone = through / foreground.transmission(WAVE_OBS, truth["ebv"])
    truth.remove_column("ebv")
    np.testing.assert_allclose(undone, sdss_spectra.fibre_spectra(truth, ssps), rtol=1e-5)


def test_a_stream_is_one_batch(ssps):
    whole = next(sdss_spectra.batches(150, ssps, seed=7, batch_size=150))
    parts = list(sdss_spectra.batches(150, ssps, seed=7, batch_size=64))
    assert [len(part.truth) for part in parts] == [64, 64, 22]
    np.testing.assert_array_equal(np.concatenate([part.truth["id"] for part in parts]), whole.truth["id"])
    np.testing.assert_allclose(torch.cat([part.clean for part in parts]), whole.clean, rtol=1e-5)
    # The same call again gives the same noise; another seed other galaxies.
    again = list(sdss_spectra.batches(150, ssps, seed=7, batch_size=64))
    for part, twin in zip(parts, again, strict=True):
        assert torch.equal(part.flux, twin.flux)
        assert torch.equal(part.ivar, twin.ivar)
    other = next(sdss_spectra.batches(10, ssps, seed=8))
    assert not set(other.truth["z"]) & set(whole.truth["z"])


def test_spectra_fill_the_container_that_real_ones_fill(ssps):
    spectra = sdss_spectra.spectra(60, ssps, seed=7, batch_size=25)
    spectra.check()
    assert spectra.flux.shape == spectra.ivar.shape == spectra.clean.shape == (60, WAVE_OBS.size)
    np.testing.assert_array_equal(spectra.z, spectra.truth["z"])
    # Of each spectrum more is usable than not, and what is not has ivar = 0.
    assert ((spectra.ivar > 0).mean(axis=1) > 0.8).all()
    assert (spectra.ivar == 0).any()
    np.testing.assert_allclose(spectra.clean, sdss_spectra.fibre_spectra(spectra.truth, ssps), rtol=1e-5)


def test_redshifts_beyond_the_grid_are_named(ssps, sample):
    truth = sample.truth[:3].copy()
    truth["z"][1] = 0.51
    with pytest.raises(DataError, match=r"row 1.*z is 0\.51.*0\.5"):
        sdss_spectra.fibre_spectra(truth, ssps)
    truth["z"][1] = np.nan
    with pytest.raises(DataError, match="z is nan"):
        sdss_spectra.fibre_spectra(truth, ssps)
    truth["z"][1] = 0.5  # the last one that has room
    assert torch.isfinite(sdss_spectra.fibre_spectra(truth, ssps)).all()


# --- noise


def test_noise_is_standard_normal_in_units_of_its_error(sample):
    chi = ((sample.flux - sample.clean) * sample.ivar.sqrt()).double()
    n = chi.numel()
    assert abs(chi.mean()) < 5 / n**0.5
    assert chi.std() == pytest.approx(1, abs=5 / (2 * n) ** 0.5)
    assert (abs(chi) > 2).double().mean() == pytest.approx(0.0455, rel=0.02)
    # Bright or faint, blue or red: no galaxy's errors are off. The scatter of a variance over L bins is sqrt(2 / L).
    spread = chi.var(dim=1)
    assert abs(spread - 1).max() < 5 * (2 / WAVE_OBS.size) ** 0.5


def test_signal_to_noise_is_that_of_the_main_sample(sample):
    """It follows from the light in the fibre, and must come out near `spectrograph.draw_snr`: 15, 0.2 dex."""
    snr = spectrograph.snr_r(sample.clean).numpy()
    low, median, high = np.percentile(snr, [16, 50, 84])
    assert median == pytest.approx(spectrograph.MEDIAN_SNR, rel=0.12)
    assert np.log10(high / low) / 2 == pytest.approx(spectrograph.SNR_SCATTER_DEX, abs=0.06)
    # The clamp at 50 touches few: the noise of nearly all is that of their own flux.
    assert (snr > 50).mean() < 0.02
    measured = (sample.flux * sample.ivar.sqrt())[:, 1702:2605].median(dim=1).values.numpy()
    np.testing.assert_allclose(measured[snr < 45], snr[snr < 45], rtol=0.12, atol=0.2)


def test_the_fibre_takes_the_light_within_it(sample):
    """Against integrals, in steps, of the Sersic profile that has half its light in the effective radius."""
    from astropy.cosmology import Planck18
    from astropy.modeling.models import Sersic1D

    truth = sample.truth[:20]
    r_e = truth["r_e"] / (Planck18.kpc_proper_per_arcmin(truth["z"]).value / 60)
    r_e = np.sqrt(r_e**2 + 0.7**2)  # seeing: half of a Gaussian's light lies within half its FWHM of 1.4 arcsec
    expected = []
    for radius, n in zip(r_e, truth["n_sersic"], strict=True):
        r = radius * np.geomspace(1e-5, 1e4, 40_001)
        total = np.cumsum(Sersic1D(1, radius, n)(r) * r**2)  # even steps of log r: r dr goes as r^2
        expected.append(np.interp(1.5, r, total) / total[-1])
    # Nearly: real shapes are flat, and blurred by convolution, not in quadrature (tests/sky/test_images.py, exactly).
    ratio = sdss_spectra.fibre_fraction(truth) / expected
    assert (abs(ratio - 1) < 0.15).mean() > 0.9  # bars gather light
    assert np.median(ratio) == pytest.approx(1, abs=0.08)
    # Brinchmann+ 2004: a third of the light is typical.
    assert np.median(sdss_spectra.fibre_fraction(sample.truth)) == pytest.approx(0.33, abs=0.08)


# --- lines


@pytest.mark.parametrize("a_v", [0.0, 0.8])
def test_balmer_decrement_is_seen_in_the_observed_spectrum(ssps, glowing, a_v):
    truth = glowing(a_v=a_v, sigma_star=40.0)
    flux = sdss_spectra.fibre_spectra(truth, ssps)
    halpha, hbeta = (line(truth, flux, name)[0] for name in ("Halpha", "Hbeta"))
    # E(B-V) of the gas is a_v / (4.05 x 0.44), k of the Milky Way (F99, R_V = 3.1) 2.36 at H alpha and 3.61 at H beta.
    expected = 2.86 * 10 ** (0.4 * (3.61 - 2.36) * a_v / (4.05 * 0.44))
    np.testing.assert_allclose(halpha / hbeta, expected, rtol=0.01)


def test_halpha_is_as_bright_as_the_star_formation_rate_says(ssps, glowing):
    from astropy.cosmology import Planck18

    truth = glowing(sigma_star=40.0)
    seen = line(truth, sdss_spectra.fibre_spectra(truth, ssps), "Halpha")[0]
    distance = Planck18.luminosity_distance(np.asarray(truth["z"])).to_value("cm")
    # Kennicutt & Evans 2012: log L = 41.27 + log SFR; a part of it enters the fibre.
    expected = 10 ** (2.0 + 41.27 + 17) / (4 * np.pi * distance**2) * apertures.fibre(truth).young
    np.testing.assert_allclose(seen, expected, rtol=0.01)


@pytest.mark.parametrize("sigma", [30.0, 90.0])
def test_line_width_is_dispersion_and_instrument_in_quadrature(ssps, glowing, sigma):
    truth = glowing(sigma_star=sigma)
    for name in ("Hbeta", "OIII_5007"):
        seen = line(truth, sdss_spectra.fibre_spectra(truth, ssps), name, half_kms=500)[1]
        lsf = lsf_km_s(LINES[name] * (1 + np.asarray(truth["z"])))
        # Gathering light in pixels adds width^2 / 12.
        np.testing.assert_allclose(seen, np.sqrt(sigma**2 + lsf**2 + PIXEL_KMS**2 / 12), rtol=2e-3)


# --- photometry


def test_magnitudes_agree_with_sedpy(ssps, sample):
    """Independent code on the same light, on linear pixels of 1 A: 0.01 mag in every band."""
    truth = sample.truth[:40]
    ours = sdss_spectra.magnitudes(truth, sdss_curves(), ssps)
    wave_rest, wave_obs = log_grid(1900, 11600), np.arange(2900.0, 11300.0)
    light = sdss_spectra.rest_spectra(truth, wave_rest, ssps, lsf=False)
    z, light = np.asarray(truth["z"]), light.double().numpy()
    flux = rebin(wave_rest, light, np.ones(light.shape), wave_obs, 1 / (1 + z) - 1)[0] * 1e-17 * arrives(z)[:, None]
    for band, curve in zip("ugriz", load_filters([f"sdss_{band}0" for band in "ugriz"]), strict=True):
        theirs = [curve.ab_mag(wave_obs, spectrum) for spectrum in flux]
        np.testing.assert_allclose(ours[band], theirs, atol=0.01, err_msg=band)


def test_magnitudes_are_those_of_the_spectrum(sample, ssps):
    """The r band lies inside the spectrograph's range at every redshift: integrate the noiseless spectrum."""
    truth = sample.truth[:100].copy()
    truth["r_e"] = 1e-3  # all parts are points: the fibre takes the same share of each
    r = sdss_spectra.magnitudes(truth, sdss_curves(), ssps)["r"]
    clean = sdss_spectra.fibre_spectra(truth, ssps).double().numpy()
    wave, response = sdss_curves()["r"]
    weight = np.interp(WAVE_OBS, wave, response, left=0, right=0)
    above = clean / foreground.transmission(WAVE_OBS, truth["ebv"])
    photons = above @ (weight * WAVE_OBS**2) * 1e-17 / apertures.fibre(truth).point
    ab = 10 ** (-0.4 * 48.6) * C_KMS * 1e13 * weight.sum()  # F_lambda of 0 mag is 48.6's F_nu times c / lambda^2
    np.testing.assert_allclose(r, -2.5 * np.log10(photons / ab), atol=0.01)


def test_magnitudes_of_a_band_outside_the_templates_are_refused(ssps, sample):
    # In the far ultraviolet every galaxy asks for light below 1680 A, where the templates begin.
    curves = {"fuv": (np.array([1400.0, 1500.0, 1700.0]), np.array([0.0, 1.0, 0.0]))}
    with pytest.raises(DataError, match="leaves the stellar populations"):
        sdss_spectra.magnitudes(sample.truth[:2], curves, ssps)


def test_the_survey_limit_is_the_magnitude_of_the_templates(sample, ssps):
    """Galaxies were selected by the quick `galaxies.r_magnitude`; the templates give them the same magnitudes."""
    r = sdss_spectra.magnitudes(sample.truth, sdss_curves(), ssps)["r"]
    off = r - galaxies.r_magnitude(sample.truth)
    assert abs(np.median(off)) < 0.05
    assert np.std(off) < 0.155
    assert (r < galaxies.R_LIMIT + 0.3).mean() > 0.97
