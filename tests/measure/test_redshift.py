"""Redshifts: planted ones are found within their errors, and those of the SDSS pipeline in its own spectra."""

import numpy as np
import pytest
from astropy.stats import mad_std
from hypothesis import given, settings
from hypothesis import strategies as st

from paper_utils.base import paths
from paper_utils.base.constants import C_KMS
from paper_utils.base.containers import WAVE_OBS
from paper_utils.base.errors import DataError
from paper_utils.base.rebin import rebin
from paper_utils.base.wavelengths import sdss_grid
from paper_utils.files import sdss
from paper_utils.measure import redshift
from paper_utils.sky import sdss_spectra

SPECTRA = paths.ROOT.parent / "shared" / "real_data" / "sdss_galaxy_spectra"
EIGEN = SPECTRA.parent / "sdss_eigenspectra" / "spEigenGal-55740.fits"
# Files of galaxies, and how far [km/s] we may be from the pipeline, whose broad-line quasars are another matter.
GALAXIES = {
    "1237664853103607848.fits": 20, "spec-0266-51602-0001.fits": 10, "spec-0390-51900-0282.fits": 10,
    "spec-0395-51783-0525.fits": 20, "spec-1678-53433-0425.fits": 10, "spec-4055-55359-0006.fits": 15,
}  # fmt: skip


def toy_templates():
    """A continuum with one break and one line, rest frame."""
    wave = sdss_grid(3000, 9500, redshift.STEP)
    line = np.exp(-0.5 * ((np.log(wave) - np.log(6564.61)) * C_KMS / 200) ** 2)
    return redshift.Templates(wave, np.stack([np.where(wave < 4000, 1.0, 1.5), line]))


@settings(max_examples=15, deadline=None)
@given(z=st.floats(0.01, 0.2), scale=st.floats(1e-2, 1e2), slope=st.floats(-0.5, 0.5))
def test_a_shift_is_found_to_a_fraction_of_a_pixel(z, scale, slope):
    toy = toy_templates()
    rest = toy.flux[0] + 0.7 * toy.flux[1]
    flux, _ = rebin(toy.wave_rest * (1 + z), rest[None], np.ones((1, rest.size)), WAVE_OBS)
    flux += slope * (WAVE_OBS / 6000 - 1)  # what a quadratic takes up
    found = redshift.measure(WAVE_OBS, scale * flux, np.full(flux.shape, (100 / scale) ** 2), toy, (0.0, 0.21))
    assert found["z"][0] == pytest.approx(z, abs=7 / C_KMS)  # a tenth of an SDSS pixel
    assert found["delta_chi2"][0] > 10


def test_the_error_is_the_scatter():
    rng = np.random.default_rng(2)
    toy, z = toy_templates(), 0.1
    flux, _ = rebin(toy.wave_rest * (1 + z), toy.flux.sum(axis=0)[None], np.ones((1, toy.wave_rest.size)), WAVE_OBS)
    noisy = flux + rng.standard_normal((100, WAVE_OBS.size)) / 5
    found = redshift.measure(WAVE_OBS, noisy, np.full(noisy.shape, 25.0), toy, (0.05, 0.15))
    pull = (found["z"] - z) / found["z_err"]
    assert np.std(pull) == pytest.approx(1, abs=0.25)
    assert abs(np.mean(pull)) < 0.4
    assert np.median(found["chi2"]) == pytest.approx(1, abs=0.02)


def test_mock_galaxies_are_found_within_their_errors(emiles, ssps):
    spectra = sdss_spectra.spectra(60, ssps, seed=3, z_range=(0.05, 0.15))
    templates = redshift.from_emiles(emiles)
    found = redshift.measure(spectra.wave_obs, spectra.flux, spectra.ivar, templates, (0.0, 0.2))
    off = np.abs(found["z"] - spectra.z) / (1 + spectra.z)
    assert off.max() < 5e-4  # SDSS's own limit of a catastrophic failure is 1000 km/s, 3e-3
    pull = (found["z"] - spectra.z) / found["z_err"]
    assert mad_std(pull) == pytest.approx(1, abs=0.3)  # 60 pulls know their scatter to 0.12, three times that
    assert np.std(pull) < 1.4
    # Of spectra without noise the same templates miss by a few km/s, well below an error of noise.
    exact = redshift.measure(spectra.wave_obs, spectra.clean, spectra.ivar, templates, (0.0, 0.2))
    missed = np.abs(exact["z"] - spectra.z) / (1 + spectra.z) * C_KMS
    assert missed.max() < 15
    assert np.std((exact["z"] - spectra.z) / found["z_err"]) < 0.7


@pytest.mark.parametrize("basis", ["E-MILES", "SDSS eigenspectra"])
def test_the_pipeline_agrees(basis, request):
    if not SPECTRA.exists():
        pytest.skip(f"{SPECTRA} is not here")
    if basis == "E-MILES":
        templates, margin = redshift.from_emiles(request.getfixturevalue("emiles")), 1.0
    else:
        from astropy.io import fits

        with fits.open(EIGEN) as hdus:
            header, flux = hdus[0].header, hdus[0].data.astype(float)
        templates, margin = redshift.Templates(10 ** (header["COEFF0"] + 1e-4 * np.arange(flux.shape[1])), flux), 4.0
    for name, limit in GALAXIES.items():
        spectrum = sdss.read(SPECTRA / name)
        found = redshift.measure(spectrum.wave_obs, spectrum.flux, spectrum.ivar, templates, (-0.002, 0.4))
        assert abs(found["z"][0] - spectrum.z[0]) * C_KMS < margin * limit, name


def test_no_good_pixel_gives_no_number():
    flux = np.ones((2, WAVE_OBS.size))
    ivar = np.ones(flux.shape) * [[0.0], [1.0]]
    found = redshift.measure(WAVE_OBS, flux, ivar, toy_templates(), (0.0, 0.1))
    assert np.isnan(found["z"][0])
    assert len(found) == 2


def test_templates_that_end_too_early_are_told():
    with pytest.raises(DataError, match="3000-9499 A.*smaller z_range"):
        redshift.measure(
            WAVE_OBS, np.ones((1, WAVE_OBS.size)), np.ones((1, WAVE_OBS.size)), toy_templates(), (0.0, 1.0)
        )
