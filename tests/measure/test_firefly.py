"""The method of FIREFLY: planted populations and dust come back, and a real galaxy with the library it was made for."""

import io
import tarfile

import numpy as np
import pytest
from conftest import in_fibre

from paper_utils.base import paths
from paper_utils.base.constants import C_KMS
from paper_utils.base.containers import WAVE_OBS
from paper_utils.base.dust import R_V_STARS, attenuation
from paper_utils.base.errors import DataError
from paper_utils.base.wavelengths import air_to_vacuum
from paper_utils.files import sdss
from paper_utils.measure import firefly, ppxf_fit
from paper_utils.sky import foreground, populations, sdss_spectra

REAL = paths.ROOT.parent / "shared" / "real_data"
ONCE = firefly.Config(n_draws=0)


@pytest.fixture(scope="module")
def ssps(emiles):
    return firefly.from_emiles(emiles)


def planted(ssps, shares, ebv, z=0.05, snr=50.0, seed=0):
    """A spectrum of populations {index: share of light} behind dust on `WAVE_OBS`, and its inverse variance."""
    near = (ssps.wave_rest > firefly.NORM[0]) & (ssps.wave_rest < firefly.NORM[1])
    rest = sum(share * ssps.flux[k] / ssps.flux[k, near].mean() for k, share in shares.items())
    rest = rest * 10 ** (-0.4 * ebv * R_V_STARS * attenuation(ssps.wave_rest))
    flux = np.interp(WAVE_OBS / (1 + z), ssps.wave_rest, rest)
    noise = np.median(flux) / snr
    return flux + noise * np.random.default_rng(seed).standard_normal(flux.size), np.full(flux.size, noise**-2.0)


@pytest.mark.parametrize("ebv", [0.0, 0.15, 0.4])
def test_planted_populations_and_dust_are_recovered(ssps, ebv):
    k = int(np.argmin(np.hypot(np.log10(ssps.ages / 8), ssps.metals)))
    young = int(np.argmin(np.hypot(np.log10(ssps.ages / 0.5), ssps.metals)))
    flux, ivar = planted(ssps, {k: 0.75, young: 0.25}, ebv)
    found = firefly.fit(WAVE_OBS, flux, ivar, 0.05, ssps, config=ONCE)
    expected = 0.75 * np.log10(ssps.ages[k]) + 0.25 * np.log10(ssps.ages[young])
    assert found["log_age"] == pytest.approx(expected, abs=0.2)  # two populations, one of them of a quarter
    assert found["metal"] == pytest.approx(ssps.metals[k], abs=0.1)
    assert found["ebv"] == pytest.approx(ebv, abs=0.05)
    assert 0.9 < found["chi2"] < 1.3  # the filter follows strong dust not quite
    assert found["weights"].sum() == pytest.approx(1)
    good = np.isfinite(found["stars"])
    assert np.median(np.abs(found["stars"][good] / flux[good] - 1)) < 0.02


def test_the_scale_of_the_flux_does_not_matter(ssps):
    flux, ivar = planted(ssps, {70: 1.0}, 0.1)
    one, other = (firefly.fit(WAVE_OBS, s * flux, ivar / s**2, 0.05, ssps, config=ONCE) for s in (1.0, 1e4))
    assert other["log_age"] == pytest.approx(one["log_age"], abs=1e-6)
    np.testing.assert_allclose(other["stars"], 1e4 * one["stars"], rtol=1e-6)


def test_calibration_on_large_scales_moves_the_dust_and_little_else(ssps):
    """What the filter is for: a wrong flux calibration is taken for dust, not for age."""
    flux, ivar = planted(ssps, {80: 1.0}, 0.2)
    x = np.linspace(-1, 1, flux.size)
    plain, bent = (
        firefly.fit(WAVE_OBS, flux * s, ivar / s**2, 0.05, ssps, config=ONCE) for s in (1 + 0 * x, 1 + 0.15 * x)
    )
    assert abs(bent["ebv"] - plain["ebv"]) > 0.04
    assert abs(bent["log_age"] - plain["log_age"]) < 0.05


def test_mock_galaxies_with_gas_and_noise(emiles, ssps):
    mock = sdss_spectra.spectra(20, populations.from_emiles(emiles), seed=5, z_range=(0.05, 0.15))
    mock = foreground.corrected(mock)
    # A young burst's light is taken for a poor population's as easily: the degeneracy of age and metallicity.
    old = (np.asarray(mock.truth["log_sfr"] - mock.truth["log_mstar"]) < -11) & (mock.truth["burst_fraction"] == 0)
    mock = mock.select(np.flatnonzero(old)[:5])
    sigma = np.asarray(mock.truth["sigma_star"])
    table, _ = firefly.fit_all(mock, ssps, sigma_star=sigma, lsf_kms=mock.lsf_kms, config=ONCE, progress=False)
    assert (table["reason"] == "").all()
    # What the fibre sees: more of the bulge, by mass, than of the disc.
    both = in_fibre(mock.truth)
    mass, metal, a_v = (np.asarray(both[name]).reshape(2, -1) for name in ("log_mstar", "metallicity", "a_v"))
    share = 10.0**mass / (10.0**mass).sum(axis=0)
    assert np.median(np.abs(table["metal"] - (share * np.minimum(metal, 0.22)).sum(axis=0))) < 0.12
    assert np.median(np.abs(table["ebv"] - (share * a_v).sum(axis=0) / R_V_STARS)) < 0.03


def test_errors_come_from_the_bootstrap(ssps):
    flux, ivar = planted(ssps, {80: 0.6, 20: 0.4}, 0.1, snr=20)
    found = firefly.fit(WAVE_OBS, flux, ivar, 0.05, ssps, config=firefly.Config(n_draws=3))
    assert 0.001 < found["log_age_err"] < 0.2
    assert 0.001 < found["ebv_err"] < 0.05


@pytest.fixture(scope="module")
def m11():
    """The Maraston & Stromback (2011) populations with MILES, those of the public FIREFLY (air, 3500-7430 A)."""
    archive = REAL / "m11_miles_ssp" / "m11_miles_files.tar.xz"
    if not archive.exists():
        pytest.skip(f"{archive} is not here")
    from astropy.io import fits

    flux, headers = [], []
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            if member.name.endswith(".fits"):
                with fits.open(io.BytesIO(tar.extractfile(member).read())) as hdus:
                    headers.append(hdus[0].header)
                    flux.append(hdus[0].data.astype(float))
    air = headers[0]["CRVAL1"] + headers[0]["CDELT1"] * np.arange(len(flux[0]))
    ages, z = (np.array([header[name] for header in headers]) for name in ("AGE", "Z"))
    sigma = headers[0]["FWHM"] / np.sqrt(8 * np.log(2)) / air * C_KMS
    return firefly.Populations(air_to_vacuum(air), np.array(flux), ages, np.log10(z / 0.02), sigma)


def test_its_own_library_and_example_galaxy(m11, emiles, ssps):
    """The public code's example spectrum: an old, reddened disc; pPXF and other populations agree to what codes do."""
    file = REAL / "sdss_galaxy_spectra" / "spec-0266-51602-0001.fits"
    s, lsf = sdss.read(file), sdss.read_lsf(file)
    beside = ppxf_fit.fit(
        s.wave_obs, s.flux[0], s.ivar[0], s.z[0], emiles, lsf_kms=lsf, config=ppxf_fit.Config(n_draws=0)
    )
    for library in (m11, ssps):
        found = firefly.fit(
            s.wave_obs, s.flux[0], s.ivar[0], s.z[0], library, sigma_star=beside["sigma_star"], lsf_kms=lsf, config=ONCE
        )
        assert found["chi2"] < 1.5
        assert found["log_age"] == pytest.approx(beside["log_age"], abs=0.33)  # the paper's scatter in age
        assert found["metal"] == pytest.approx(beside["metal"], abs=0.45)
        assert found["ebv"] == pytest.approx(beside["ebv"], abs=0.13)
        assert found["log_age_mass"] > found["log_age"]


def test_what_cannot_be_fitted_is_told(ssps):
    flux, ivar = planted(ssps, {80: 1.0}, 0.0)
    for bad in ((flux, 0 * ivar, 0.05), (-flux, ivar, 0.05), (flux, ivar, 3.0)):
        with pytest.raises(DataError, match="pixels"):
            firefly.fit(WAVE_OBS, *bad, ssps, config=ONCE)
