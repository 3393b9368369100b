"""Stellar spectra: mass and flux conserved, planted truth recovered by pPXF, colours of real galaxies."""

import time

import numpy as np
import pytest
import torch
from astropy.io import fits
from astropy.table import Table
from ppxf import ppxf_util, sps_util
from ppxf.ppxf import attenuation, ppxf
from sedpy.observate import getSED, load_filters

from paper_utils.base import dust, paths
from paper_utils.base.distances import arrives, luminosity_distance
from paper_utils.base.errors import DataError
from paper_utils.base.rebin import rebin
from paper_utils.base.wavelengths import log_grid
from paper_utils.sky import starlight, stellar

GST = paths.ROOT.parent / "shared" / "real_data" / "gst_photometry" / "gst_tests_small.fits"
C_KMS = 299792.458
SOLAR = 4  # place of [M/H] = 0


@pytest.fixture(scope="module")
def ppxf_npz(emiles, tmp_path_factory):
    """The templates of the optical, in vacuum, for pPXF's own reader."""
    keep = (emiles.wave_rest > 3560) & (emiles.wave_rest < 7700)
    path = tmp_path_factory.mktemp("ppxf") / "vacuum.npz"
    spectra = np.moveaxis(emiles.templates, -1, 0)[keep]
    np.savez(path, templates=spectra, masses=emiles.masses, lam=emiles.wave_rest[keep], ages=emiles.ages,
             metals=emiles.metals, fwhm=emiles.fwhm[keep])  # fmt: skip
    return path


def truth(n=1, **columns):
    """A table of `n` dustless galaxies of one 10 Gyr old solar population, but for `columns`."""
    base = {"log_mstar": 10.0, "age_gyr": 12.0, "tau_gyr": 1.0, "burst_fraction": 1.0, "burst_age_gyr": 10.0,
            "metallicity": 0.0, "a_v": 0.0, "sigma_star": 0.0}  # fmt: skip
    return Table({name: np.broadcast_to(columns.get(name, value), n).astype(float) for name, value in base.items()})


def random_truth(n, seed=0):
    rng = np.random.default_rng(seed)
    return truth(
        n, log_mstar=rng.uniform(9, 11.5, n), age_gyr=rng.uniform(3, 13, n), tau_gyr=rng.uniform(0.3, 10, n),
        burst_fraction=rng.uniform(0, 0.1, n), burst_age_gyr=rng.uniform(0.01, 1, n), a_v=rng.uniform(0, 1, n),
        metallicity=rng.uniform(-1, 0.2, n), sigma_star=rng.uniform(30, 300, n),
    )  # fmt: skip


def pixel_widths(wave):
    edges = np.sqrt(wave[1:] * wave[:-1])
    edges = np.concatenate([[wave[0] ** 2 / edges[0]], edges, [wave[-1] ** 2 / edges[-1]]])
    return np.diff(edges)


def magnitudes(wave, flux, *names):
    filters = load_filters(list(names))
    return np.array([getSED(wave, spectrum, filterlist=filters) for spectrum in np.atleast_2d(flux)])


def arriving(rest, rest_wave, z, wave_obs):
    """Mean flux density (N, L) [1e-17 erg/s/cm2/A] over observed pixels of `rest` [L_sun / A], by `rebin`."""
    rest, z = rest.double().numpy(), np.asarray(z, float)
    return rebin(rest_wave, rest, np.ones(rest.shape), wave_obs, 1 / (1 + z) - 1)[0] * arrives(z)[:, None]


# --- populations and histories


def test_mass_is_conserved(ssps):
    params = random_truth(50)
    mass = stellar.weights(params, ssps).double().numpy()
    assert mass.shape == (50, ssps.ages.size * ssps.metals.size)
    assert (mass >= 0).all()
    # Salpeter masses of Chabrier truth on the scale of Taylor+ 2011: 1.9 times, 0.25 dex for the IMF (Bernardi+ 2010).
    np.testing.assert_allclose(mass @ ssps.mass_left.ravel(), 1.9 * 10 ** params["log_mstar"], rtol=1e-5)


def test_histories_are_sums_of_bursts(ssps):
    """Against 100 000 bursts whose light is interpolated one by one."""
    age, tau, burst, burst_age, metal = 9.0, 2.5, 0.05, 0.3, -0.2
    params = truth(age_gyr=age, tau_gyr=tau, burst_fraction=burst, burst_age_gyr=burst_age, metallicity=metal)
    mass = stellar.weights(params, ssps)[0].double().numpy()
    t = (np.arange(100_000) + 0.5) / 100_000 * age
    rate = t * np.exp(-t / tau)
    pixels = slice(2000, 8000, 50)
    at_metal = (ssps.spectra[:, 3, pixels] + ssps.spectra[:, 4, pixels]) / 2  # -0.2 is half-way between -0.4 and 0

    def light(age):
        nodes = np.log(ssps.ages)
        return np.stack([np.interp(np.log(age), nodes, column) for column in at_metal.T], axis=-1)

    expected = (1 - burst) * rate / rate.sum() @ light(age - t) + burst * light(burst_age)
    ours = mass / mass.sum() @ ssps.spectra[:, :, pixels].reshape(mass.size, -1)
    np.testing.assert_allclose(ours, expected, rtol=2e-3)


def test_young_light_joins_emiles(ssps, emiles):
    n_young = ssps.ages.size - emiles.ages.size
    assert ssps.ages[0] == pytest.approx(1e-3)
    np.testing.assert_array_equal(ssps.spectra[n_young:, :, :8000], emiles.templates[:, :, :8000])
    assert (ssps.spectra > 0).all()
    v = (ssps.wave_rest > 5070) & (ssps.wave_rest < 5950)
    light = ssps.spectra[:, SOLAR, v].mean(axis=1)
    # V light at and below 63 Myr follows the synthesis of `starlight`, from the V light of E-MILES.
    wave_um = ssps.wave_rest[v] * 1e-4
    theirs = (starlight.ssp(ssps.ages[: n_young + 1], wave_um) / wave_um**2).mean(axis=1)
    np.testing.assert_allclose(light[: n_young + 1] / light[n_young], theirs / theirs[-1], rtol=0.01)
    # Younger is bluer, hydrogen lines are weaker, and nothing has died yet in the youngest.
    uv = (ssps.wave_rest > 1700) & (ssps.wave_rest < 2500)
    colour = ssps.spectra[: n_young + 1, SOLAR, uv].mean(axis=1) / light[: n_young + 1]
    assert (np.diff(colour[2:]) < 0).all()
    assert ssps.mass_left[0, SOLAR] == 1
    assert (np.diff(ssps.mass_left, axis=0) <= 0).all()


def test_young_hydrogen_lines_are_those_of_hot_stars(ssps):
    """H-beta: 2-3 A of equivalent width at 1-3 Myr, 6-8 A at 100 Myr (Gonzalez Delgado+ 1999, their figures)."""
    wave = ssps.wave_rest

    def width(spectrum):
        sides = [(wave > 4802) & (wave < 4828), (wave > 4898) & (wave < 4922)]
        line = abs(wave - 4862.7) < 25
        level = np.interp(wave[line], [wave[s].mean() for s in sides], [spectrum[s].mean() for s in sides])
        return np.trapezoid(1 - spectrum[line] / level, wave[line])

    widths = {age: width(ssps.spectra[np.argmin(abs(ssps.ages - age)), SOLAR]) for age in (0.001, 0.003, 0.1)}
    assert 2 < widths[0.001] < 3
    assert 2 < widths[0.003] < 3.2
    assert 6 < widths[0.1] < 8


def test_the_youngest_continue_into_the_infrared(ssps, emiles):
    empty = emiles.templates[:, :, -1] == 0
    assert empty.sum() == 26
    before = (ssps.wave_rest > 8750) & (ssps.wave_rest < 8940)
    after = (ssps.wave_rest > 8960) & (ssps.wave_rest < 9150)
    step = ssps.spectra[..., after].mean(axis=-1) / ssps.spectra[..., before].mean(axis=-1)
    step = step[ssps.ages.size - emiles.ages.size :]
    # No jump beyond those of models that need no mending.
    assert step[empty].min() > step[~empty].min() - 0.05
    assert step[empty].max() < step[~empty].max() + 0.05


# --- spectra


def test_one_population_goes_through_unchanged(ssps, emiles):
    """At the templates' own wavelengths a fine rest-frame spectrum is the template."""
    wave = log_grid(3600, 7000, kms=6)
    ours = stellar.rest_spectra(truth(), wave, ssps)[0].double().numpy()
    old = list(emiles.ages).index(10.0)
    mass = 1.9e10 / emiles.masses[old, SOLAR]
    inside = (emiles.wave_rest > 3605) & (emiles.wave_rest < 6990)
    there = np.interp(emiles.wave_rest[inside], wave, ours)
    np.testing.assert_allclose(there, mass * emiles.templates[old, SOLAR, inside], rtol=4e-3)
    # Coarse pixels hold the mean over them.
    coarse = log_grid(3600, 7000, kms=60)
    total = np.concatenate([[0], np.cumsum(ours * pixel_widths(wave))])
    our_edges = wave[0] * np.exp((np.arange(wave.size + 1) - 0.5) * np.log(wave[1] / wave[0]))
    means = stellar.rest_spectra(truth(), coarse, ssps)[0].double().numpy()
    upper, lower = (np.interp(coarse * np.exp(s * 30 / C_KMS), our_edges, total) for s in (1, -1))
    expected = (upper - lower) / pixel_widths(coarse)
    np.testing.assert_allclose(means[1:-1], expected[1:-1], rtol=1e-3)


@pytest.mark.parametrize("sigma", [60.0, 200.0, 450.0])
def test_broadening_conserves_flux_and_is_gaussian_in_velocity(ssps, sigma):
    wave = log_grid(4000, 7000, kms=20)
    sharp, broad = stellar.rest_spectra(truth(2, sigma_star=[0, sigma]), wave, ssps).double().numpy()
    assert (broad * pixel_widths(wave)).sum() == pytest.approx((sharp * pixel_widths(wave)).sum(), rel=3e-4)
    # Sum over neighbours, in the open.
    velocity = 20.0 * np.arange(-200, 201)
    kernel = np.exp(-0.5 * (velocity / sigma) ** 2)
    expected = np.convolve(sharp, kernel / kernel.sum(), mode="same")
    np.testing.assert_allclose(broad[250:-250], expected[250:-250], rtol=1e-4)


def test_the_templates_own_resolution_counts_towards_the_instrument(ssps):
    wave = log_grid(4000, 7000, kms=20)
    spectrograph = stellar.rest_spectra(truth(), wave, ssps, sigma_lsf=100.0)[0]
    # 2.51 A of FWHM is 64 km/s at 5000 A: what is missing to 100 km/s is 77 km/s.
    near = abs(wave - 5000) < 60
    missing = np.sqrt(100**2 - (2.51 / 2.3548 / 5000 * C_KMS) ** 2)
    equal = stellar.rest_spectra(truth(sigma_star=missing), wave, ssps)[0]
    np.testing.assert_allclose(spectrograph[near], equal[near], rtol=2e-3)
    sharp = stellar.rest_spectra(truth(), wave, ssps)[0]
    blurred_nowhere = stellar.rest_spectra(truth(), wave, ssps, sigma_lsf=np.full(wave.size, 40.0))[0]
    np.testing.assert_allclose(blurred_nowhere, sharp, rtol=1e-5)


def test_dust_dims_by_the_calzetti_law(ssps):
    wave = log_grid(1700, 22000, kms=100)
    clear, dusty = stellar.rest_spectra(truth(2, a_v=[0, 0.7]), wave, ssps).double().numpy()
    np.testing.assert_allclose(dusty / clear, attenuation(wave, 0.7), rtol=2e-3)
    # Stars in their birth clouds are dimmed as the gas is.
    clear, dusty = stellar.rest_spectra(truth(2, burst_age_gyr=0.004, a_v=[0, 0.7]), wave, ssps).double().numpy()
    np.testing.assert_allclose(dusty / clear, attenuation(wave, 0.7 / 0.44), rtol=4e-3)
    assert dust.attenuation(np.array([5500.0]))[0] == pytest.approx(1, abs=0.01)


# --- what arrives


def test_redshifting_conserves_flux(ssps):
    from astropy.cosmology import Planck18

    rest_wave = log_grid(3000, 9000)
    rest = stellar.rest_spectra(random_truth(3), rest_wave, ssps)
    z = np.array([0.01, 0.1, 0.45])
    luminosity = (rest.double().numpy() * pixel_widths(rest_wave)).sum(axis=1) * 3.828e33
    d_l = Planck18.luminosity_distance(z).to_value("cm")
    for i in range(3):
        # The whole of the spectrum, on odd linear pixels that begin and end where it does.
        edge = np.exp(0.5 * np.log(rest_wave[1] / rest_wave[0]))
        ends = rest_wave[[0, -1]] * [1 / edge, edge] * (1 + z[i])
        n = 2777
        wave_obs = np.exp(np.linspace(*np.log(ends), n + 1))
        wave_obs = np.sqrt(wave_obs[1:] * wave_obs[:-1]) * np.array([1 + 1e-9] + [1] * (n - 2) + [1 - 1e-9])
        flux = arriving(rest[i : i + 1], rest_wave, z[i : i + 1], wave_obs)[0]
        total = (flux * pixel_widths(wave_obs)).sum() * 1e-17
        assert total == pytest.approx(luminosity[i] / (4 * np.pi * d_l[i] ** 2), rel=2e-5)


def test_lines_move_by_one_plus_z(ssps):
    rest_wave = log_grid(2800, 9300)
    line = torch.zeros(1, rest_wave.size)
    line[0, 3000:3006] = 1.0
    centre = rest_wave[3000:3006].mean()
    wave_obs = 10 ** np.arange(3.578, 3.967, 1e-4)
    for z in (0.02, 0.1234, 0.3):
        flux = arriving(line, rest_wave, [z], wave_obs)[0]
        assert (flux * wave_obs).sum() / flux.sum() == pytest.approx(centre * (1 + z), rel=2e-6)


def test_luminosity_distance_is_plancks():
    from astropy.cosmology import Planck18

    z = np.array([2e-5, 0.0031, 0.07, 0.5123, 3.3])
    np.testing.assert_allclose(luminosity_distance(z), Planck18.luminosity_distance(z).to_value("cm"), rtol=1e-6)


def test_magnitudes_agree_with_sedpy_on_the_template_itself(ssps, emiles):
    """The whole chain, against sedpy on the file's own spectrum, reddened by ppxf and shifted by hand: 0.01 mag."""
    from astropy.cosmology import Planck18

    bands = ["sdss_u0", "sdss_g0", "sdss_r0", "sdss_i0", "sdss_z0"]
    rest_wave, wave_obs = log_grid(2300, 12500), log_grid(2960, 11500, kms=69)
    z, a_v = 0.08, 0.4
    for age in (0.5012, 10.0):
        rest = stellar.rest_spectra(truth(burst_age_gyr=age, a_v=a_v, sigma_star=180), rest_wave, ssps)
        ours = magnitudes(wave_obs, arriving(rest, rest_wave, [z], wave_obs) * 1e-17, *bands)
        i = list(emiles.ages).index(age)
        light = emiles.templates[i, SOLAR] * 1.9e10 / emiles.masses[i, SOLAR] * attenuation(emiles.wave_rest, a_v)
        d_l = Planck18.luminosity_distance(z).to_value("cm")
        flux = light * 3.828e33 / (4 * np.pi * d_l**2) / (1 + z)
        theirs = magnitudes(emiles.wave_rest * (1 + z), flux, *bands)
        np.testing.assert_allclose(ours, theirs, atol=0.01)


# --- what pPXF says


def test_ppxf_recovers_velocity_dispersion(ssps, ppxf_npz):
    """sigma within 3 of pPXF's own errors, at S/N 40, no instrument: templates and galaxy have one resolution."""
    velscale = 60.0
    wave = log_grid(4000, 6800, kms=velscale)
    theirs = sps_util.sps_lib(ppxf_npz, velscale, lam_range=[3700, 7200])
    start = theirs.templates[:, 12:23:2, 3:6].reshape(theirs.templates.shape[0], -1)
    planted = np.array([90.0, 150.0, 260.0])
    flux = stellar.rest_spectra(truth(3, sigma_star=planted, burst_age_gyr=[2, 5, 11]), wave, ssps).double().numpy()
    rng = np.random.default_rng(3)
    for spectrum, sigma in zip(flux / flux.mean(axis=1, keepdims=True), planted, strict=True):
        noise = np.full(wave.size, 1 / 40)
        noisy = spectrum + rng.normal(0, noise)
        fit = ppxf(start, noisy, noise, velscale, [0, 120.0], moments=2, degree=4, lam=wave, lam_temp=theirs.lam_temp,
                   quiet=True)  # fmt: skip
        velocity, dispersion = fit.sol
        error_v, error_s = fit.error * np.sqrt(fit.chi2)
        assert fit.chi2 == pytest.approx(1, abs=0.12)
        assert abs(dispersion - sigma) < 3 * error_s, (sigma, dispersion, error_s)
        assert abs(velocity) < 3 * error_v + 1
        assert error_s < 0.1 * sigma


def test_ppxf_recovers_age_and_metallicity_of_noiseless_composites(ssps, ppxf_npz):
    """Light-weighted log age and [M/H] of whole histories within 0.05 dex, dust and dispersion fitted along.

    Histories whose stars are older than the youngest of pPXF's templates, with late bursts.
    """
    velscale = 69.0
    wave = log_grid(3700, 7200, kms=velscale)
    theirs = sps_util.sps_lib(ppxf_npz, velscale, lam_range=[3600, 7600], norm_range=[5070, 5950])
    params = truth(3, burst_fraction=[0, 0.02, 0.05], burst_age_gyr=[1, 0.4, 1.1], age_gyr=[12, 10, 7],
                   tau_gyr=[1, 1, 0.6], metallicity=[0.1, -0.3, -0.6], a_v=[0, 0.4, 0.8], sigma_star=150)  # fmt: skip
    flux = stellar.rest_spectra(params, wave, ssps).double().numpy()
    mass = stellar.weights(params, ssps).double().numpy().reshape(3, ssps.ages.size, ssps.metals.size)
    v = (ssps.wave_rest > 5070) & (ssps.wave_rest < 5950)
    light = mass * ssps.spectra[..., v].mean(axis=-1)
    light /= light.sum(axis=(1, 2), keepdims=True)
    start, dust = theirs.templates.reshape(theirs.templates.shape[0], -1), {"start": [0.2], "bounds": [[0, 2]]}
    dust["component"] = np.full(start.shape[1], True)
    for spectrum, share in zip(flux / flux.mean(axis=1, keepdims=True), light, strict=True):
        fit = ppxf(start, spectrum, np.full(wave.size, 1e-3), velscale, [0, 150.0], moments=2, degree=-1, lam=wave,
                   lam_temp=theirs.lam_temp, quiet=True, dust=[dust])  # fmt: skip
        found = fit.weights.reshape(theirs.n_ages, theirs.n_metals)
        log_age, metal = theirs.mean_age_metal(found, quiet=True)
        assert log_age - 9 == pytest.approx((share.sum(axis=1) * np.log10(ssps.ages)).sum(), abs=0.05)
        assert metal == pytest.approx((share.sum(axis=0) * ssps.metals).sum(), abs=0.05)


# --- real galaxies


@pytest.mark.skipif(not GST.is_file(), reason="the photometry of real galaxies is not here (shared/real_data)")
def test_star_forming_galaxies_are_blue_and_quiescent_ones_red_as_real_ones_are(ssps):
    """Beside 5400 SDSS galaxies at z = 0.06-0.14.

    The kinds fall on either side of u-r = 2.22 (Strateva+ 2001, 2001AJ....122.1861S), and at each g-r the median u-g is
    the real one's within 0.15 mag, of which SDSS's u zero point makes 0.04 and the missing gas lines some.
    """
    with fits.open(GST) as hdus:
        rows = hdus[1].data
        flux, extinction, z = rows["MODELFLUX"], rows["EXTINCTION"], rows["Z"]
        seen = flux[:, 0] * np.sqrt(rows["MODELFLUX_IVAR"][:, 0]) > 7
    near = (z > 0.06) & (z < 0.14) & (flux > 0).all(axis=1) & seen
    real = 22.5 - 2.5 * np.log10(flux[near]) - extinction[near]
    assert len(real) > 5000
    rng = np.random.default_rng(1)
    n = 150
    forming = truth(n, age_gyr=rng.uniform(5, 12, n), tau_gyr=rng.uniform(2.5, 8, n), burst_fraction=0,
                    metallicity=rng.uniform(-0.6, 0.1, n), a_v=rng.uniform(0.2, 1, n), sigma_star=100)  # fmt: skip
    over = truth(n, age_gyr=rng.uniform(8, 12, n), tau_gyr=rng.uniform(0.5, 1.2, n), burst_fraction=0,
                 metallicity=rng.uniform(-0.3, 0.15, n), a_v=rng.uniform(0, 0.2, n), sigma_star=200)  # fmt: skip
    rest_wave, wave_obs = log_grid(2500, 10800, kms=150), log_grid(2960, 11300, kms=300)
    n_compared = 0
    for params, is_red in ((forming, False), (over, True)):
        rest = stellar.rest_spectra(params, rest_wave, ssps)
        flux = arriving(rest, rest_wave, rng.uniform(0.06, 0.14, n), wave_obs) * 1e-17
        ours = magnitudes(wave_obs, flux, "sdss_u0", "sdss_g0", "sdss_r0")
        assert ((ours[:, 0] - ours[:, 2] > 2.22) == is_red).mean() > 0.9
        for low in np.arange(0.4, 1.15, 0.1):
            mock, real_ones = (m[(m[:, 1] - m[:, 2] > low) & (m[:, 1] - m[:, 2] < low + 0.1)] for m in (ours, real))
            if len(mock) > 15:
                expected = np.median(real_ones[:, 0] - real_ones[:, 1])
                assert np.median(mock[:, 0] - mock[:, 1]) == pytest.approx(expected, abs=0.15), (is_red, low)
                n_compared += 1
    assert n_compared >= 5


# --- the machine


def test_the_same_as_a_loop_over_ppxfs_utilities_and_faster(ssps):
    """One by one: sum, dust and `log_rebin`, `varsmooth`, redshift. Same spectra, many times slower."""
    rest_wave = log_grid(3300, 9300)
    wave_obs = 10 ** np.arange(3.578, 3.967, 1e-4)
    params, z = random_truth(500), np.linspace(0.01, 0.12, 500)
    params["z"] = z
    stellar.rest_spectra(params[:2], rest_wave, ssps)  # makes the transformed populations, once
    started = time.perf_counter()
    ours = stellar.redshifted_spectra(params, rest_wave, wave_obs, ssps)
    ours *= torch.as_tensor(arrives(z), dtype=ours.dtype)[:, None]
    per_spectrum = (time.perf_counter() - started) / 500

    mass = stellar.weights(params, ssps).double().numpy()
    keep = (ssps.wave_rest > 3200) & (ssps.wave_rest < 9400)
    lam, spectra = ssps.wave_rest[keep], ssps.spectra[..., keep].reshape(mass.shape[1], -1).astype(float)
    cut = (ssps.ages < 0.0101).sum() * ssps.metals.size
    theirs, loop = [], 0.0
    for row, redshift, weight in zip(params[:10], z, mass, strict=False):
        started = time.perf_counter()
        light = weight[cut:] @ spectra[cut:] * attenuation(lam, row["a_v"])
        light += weight[:cut] @ spectra[:cut] * attenuation(lam, row["a_v"] / 0.44)
        light, log_lam, _ = ppxf_util.log_rebin(lam, light, velscale=34.5)
        light = ppxf_util.varsmooth(log_lam, light, row["sigma_star"] / C_KMS)
        light = light * 3.828e33 * 1e17 / (4 * np.pi * luminosity_distance(redshift) ** 2 * (1 + redshift))
        theirs.append(np.interp(wave_obs, np.exp(log_lam) * (1 + redshift), light))
        loop += (time.perf_counter() - started) / 10
    ratio = ours[:10].double().numpy() / theirs
    print(f"{1 / per_spectrum:.0f} spectra per second, {loop / per_spectrum:.0f} times the loop's")
    # Point-wise they differ by how a pixel is averaged and interpolated.
    np.testing.assert_allclose(ratio.mean(axis=1), 1, atol=1e-3)
    assert ratio.std() < 0.005
    assert loop > 3 * per_spectrum


@pytest.mark.parametrize(
    ("column", "value"),
    [("tau_gyr", 0.0), ("sigma_star", np.nan), ("burst_fraction", 1.2), ("a_v", -1.0), ("age_gyr", 13e9)],
)
def test_senseless_truth_is_named(ssps, column, value):
    params = truth(3)
    params[column][1] = value
    with pytest.raises(DataError, match=f"row 1.*{column}"):
        stellar.weights(params, ssps)


def test_unusable_grids_and_redshifts_are_named(ssps):
    with pytest.raises(DataError, match="no column log_mstar, tau_gyr"):
        stellar.weights(truth()["age_gyr", "a_v"], ssps)
    with pytest.raises(DataError, match="evenly"):
        stellar.rest_spectra(truth(), np.linspace(4000, 5000, 100), ssps)
    with pytest.raises(DataError, match="leaves"):
        stellar.rest_spectra(truth(), log_grid(1000, 3000), ssps)


# --- straight onto observed pixels


@pytest.mark.parametrize("kms", [34.5, 69.0])  # the wider ones are split inside
@pytest.mark.parametrize("ratio", [1, 2, 3])
@pytest.mark.parametrize("sigma", [40.0, 250.0])  # the broad ones have room in a shorter transform
def test_what_is_seen_is_the_rest_frame_on_each_galaxys_own_pixels(ssps, sigma, ratio, kms):
    """Means of `ratio` pixels of a rest-frame grid that is made for the galaxy, so that nothing has to be moved."""
    z = np.array([1e-4, 0.0731, 0.2113, 0.45])
    params = random_truth(4)
    params["z"], params["sigma_star"], params["a_v"] = z, sigma, 0.0
    wave_rest, step = log_grid(2400, 9400, kms), kms / C_KMS
    n = 3000 * 2 // (ratio * round(kms / 34.5))
    wave_obs = 4000 * np.exp(ratio * step * np.arange(n))
    seen = stellar.redshifted_spectra(params, wave_rest, wave_obs, ssps).double().numpy()
    for i in range(4):
        own = wave_obs[0] / (1 + z[i]) * np.exp(step * (np.arange(ratio * n) - (ratio - 1) / 2))
        rest = stellar.rest_spectra(params[i : i + 1], own, ssps)[0].double().numpy()
        np.testing.assert_allclose(seen[i], rest.reshape(n, ratio).mean(axis=1), rtol=1e-4)


def test_what_is_seen_is_what_rebinning_makes_of_broad_spectra(ssps):
    """They hold nothing that rebinning could blur much, which spreads light evenly over 34.5 km/s.

    That adds 34.5^2 / 12 to the dispersion's 250^2. Half of the ratio, 8e-4, times the curvature in units of the
    dispersion, which is below 1, is the relative difference.
    """
    rest_wave = log_grid(2500, 9300, 34.5)
    wave_obs = 3800 * np.exp(69 / C_KMS * np.arange(3800))
    params = random_truth(12)
    params["z"] = np.random.default_rng(1).uniform(0.01, 0.45, 12)
    params["sigma_star"], params["a_v"] = 250.0, 0.0
    seen = stellar.redshifted_spectra(params, rest_wave, wave_obs, ssps).double().numpy()
    seen *= arrives(params["z"].data)[:, None]
    rest = stellar.rest_spectra(params, rest_wave, ssps)
    observed = arriving(rest, rest_wave, params["z"], wave_obs)
    np.testing.assert_allclose(seen, observed, rtol=8e-4)
    np.testing.assert_allclose(seen.sum(axis=1), observed.sum(axis=1), rtol=1e-5)


def test_dust_is_that_of_the_rest_frame(ssps):
    """Light of one age loses 10^(-0.4 A_V k(lambda / (1 + z))), but for pixels across the law's step at 6300 A."""
    rest_wave = log_grid(2500, 9300, 34.5)
    wave_obs = 3800 * np.exp(69 / C_KMS * np.arange(3800))
    params = truth(2, a_v=[0, 0.8], sigma_star=100)
    params["z"] = 0.2345
    clear, dusty = stellar.redshifted_spectra(params, rest_wave, wave_obs, ssps).double().numpy()
    at = wave_obs / 1.2345
    away = abs(at - 6300) > 5
    np.testing.assert_allclose((dusty / clear)[away], attenuation(at, 0.8)[away], rtol=1e-5)


def test_grids_that_do_not_suffice_are_named(ssps):
    rest_wave = log_grid(3000, 9000, 34.5)
    params = truth(2)
    params["z"] = [0.1, 0.3]

    def seen(wave_obs):
        return stellar.redshifted_spectra(params, rest_wave, wave_obs, ssps)

    with pytest.raises(DataError, match=r"object 1.*z = 0\.3000.*does not cover"):
        seen(log_grid(3500, 9000, 69.0))
    with pytest.raises(DataError, match=r"object 0.*z = 0\.1000.*does not cover"):
        seen(log_grid(4500, 10500, 69.0))
    with pytest.raises(DataError, match=r"1\.7391.*whole number"):
        seen(log_grid(4500, 9000, 60.0))
    with pytest.raises(DataError, match=r"wave_obs.*not evenly spaced"):
        seen(np.linspace(4500, 9000, 100))
    params["z"][0] = -0.1
    with pytest.raises(DataError, match=r"row 0.*z is -0\.1"):
        seen(log_grid(4500, 9000, 69.0))
    params.remove_column("z")
    with pytest.raises(DataError, match="no column z"):
        seen(log_grid(4500, 9000, 69.0))


def test_no_galaxies_are_no_spectra(ssps):
    rest_wave = log_grid(3000, 9000, 34.5)
    none = truth(1)[:0]
    none["z"] = np.zeros(0)
    assert len(stellar.redshifted_spectra(none, rest_wave, log_grid(4500, 8000, 69.0), ssps)) == 0
