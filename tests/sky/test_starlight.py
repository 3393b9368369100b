"""Starlight: known stars, energy conservation, published single-burst populations."""

import io
import tarfile

import numpy as np
import pytest

from paper_utils.base import paths
from paper_utils.sky import starlight

M11 = paths.ROOT.parent / "shared" / "real_data" / "m11_miles_ssp" / "m11_miles_files.tar.xz"
C_UM = 2.99792458e14  # um / s


def bolometric(wave_um, l_nu):
    return np.trapezoid(l_nu * C_UM / wave_um, np.log(wave_um), axis=-1)


def colour(wave_um, l_nu, blue, red, width=0.01):
    """AB colour between two boxes of +-`width` um."""

    def band(centre):
        return l_nu[:, abs(wave_um - centre) < width].mean(axis=1)

    return -2.5 * np.log10(band(blue) / band(red))


def test_the_sun_is_the_sun():
    luminosity, temperature = starlight.main_sequence(np.array([1.0]), 4.57 / starlight.lifetime(np.array([1.0])))
    assert luminosity[0] == pytest.approx(1.0, rel=0.05)
    assert temperature[0] == pytest.approx(5772, rel=0.02)
    # Stellar lifetimes from any textbook: 10 Gyr, ~25 Myr, ~3 Myr.
    np.testing.assert_allclose(starlight.lifetime([1.0, 10.0, 100.0]), [11, 0.025, 0.0033], rtol=0.1)


def test_photospheres_keep_sigma_t4_and_a_black_body_where_nothing_blankets():
    wave = np.geomspace(5e-3, 1e3, 4000)
    temperature = np.array([3000.0, 5800.0, 10000.0, 30000.0, 1e5])
    light = starlight.photospheres(temperature, wave)
    np.testing.assert_allclose(bolometric(wave, light), 1.0, rtol=2e-3)
    # Rayleigh-Jeans: L_nu ~ wave^-2 far out, and Wien's 2898 um K for the peak of L_lambda of a hot bare star.
    slope = np.log(light[:, -1] / light[:, -400]) / np.log(wave[-1] / wave[-400])
    np.testing.assert_allclose(slope, -2.0, atol=0.01)
    peak = wave[np.argmax(light[-1] / wave**2)]
    assert peak * 1e5 == pytest.approx(2898, rel=0.02)


def test_fades_and_reddens_with_age():
    wave = np.geomspace(0.03, 3, 400)
    age = np.geomspace(5e-3, 13, 30)
    light = starlight.ssp(age, wave)
    assert (np.diff(bolometric(wave, light)) < 0).all()
    # From the first red giants on; before them red supergiants come and go.
    old = light[age > 0.03]
    assert (np.diff(colour(wave, old, 0.36, 0.55, 0.02)) > 0).all()
    # Ionising light dies with the O stars, and the few hot remnants keep it above zero.
    ionising = bolometric(wave[wave < 0.0912], light[:, wave < 0.0912]) / bolometric(wave, light)
    young = bolometric(wave[wave < 0.0912], starlight.ssp([0.002], wave)[:, wave < 0.0912])
    assert young / bolometric(wave, starlight.ssp([0.002], wave)) > 0.1
    assert (ionising[age > 0.05] < 1e-2).all()
    assert (light > 0).all()


@pytest.mark.parametrize("delayed", [False, True])
def test_histories_are_sums_of_bursts(delayed):
    """A brute-force sum over 200 000 bursts agrees; a very short history is one burst, within one bin of age."""
    wave = np.geomspace(0.1, 3, 40)
    age, tau = 5.0, 1.5
    t = (np.arange(200_000) + 0.5) / 200_000 * age
    rate = np.exp(-t / tau) * (t if delayed else 1.0)
    expected = rate / rate.sum() @ starlight.ssp(age - t, wave)
    ours = starlight.starlight(age, tau, wave, delayed=delayed)[0]
    np.testing.assert_allclose(ours, expected, rtol=0.005)
    burst = starlight.starlight(age, 1e-3, wave, delayed=delayed)[0]
    np.testing.assert_allclose(burst, starlight.ssp(age, wave)[0], rtol=0.08)


def published_populations(metals):
    """Ages (A,) [Gyr], F_lambda x wave^2 (A, L), and wavelengths (L,) [um] of M11-MILES between 0.03 and 14 Gyr."""
    from astropy.io import fits

    ages, light = [], []
    with tarfile.open(M11) as files:
        for name in files.getnames():
            if not name.endswith(f"z_{metals}.fits"):
                continue
            age = float(name.split("age_")[1].split("_z")[0])
            if age < 0.03 or age > 14:
                continue
            hdu = fits.open(io.BytesIO(files.extractfile(name).read()))[0]
            wave = (hdu.header["CRVAL1"] + hdu.header["CDELT1"] * np.arange(hdu.data.size)) * 1e-4
            ages.append(age)
            light.append(hdu.data.ravel() * wave**2)  # erg / s / A / M_sun, to L_nu up to a constant
    return ages, np.array(light), wave


@pytest.mark.skipif(not M11.is_file(), reason="the M11-MILES populations are not here (shared/real_data)")
def test_metals_redden_as_in_published_populations():
    """From half to twice solar, at 1 Gyr and later: within a third of what M11 has, or 0.05 mag."""
    (ages, poor, wave), (ages_rich, rich, _) = published_populations("0.01"), published_populations("0.04")
    both = np.array(sorted(age for age in set(ages) & set(ages_rich) if age >= 1))
    assert both.size > 5
    poor, rich = poor[[ages.index(age) for age in both]], rich[[ages_rich.index(age) for age in both]]
    ours_poor, ours_rich = (starlight.ssp(both, wave, metals) for metals in (-0.3, 0.3))
    for blue, red in ((0.38, 0.44), (0.44, 0.55), (0.55, 0.70)):
        theirs = colour(wave, rich, blue, red) - colour(wave, poor, blue, red)
        ours = colour(wave, ours_rich, blue, red) - colour(wave, ours_poor, blue, red)
        assert (abs(ours - theirs) < np.maximum(0.05, 0.33 * theirs)).all(), (blue, red, ours, theirs)


@pytest.mark.skipif(not M11.is_file(), reason="the M11-MILES populations are not here (shared/real_data)")
def test_agrees_with_published_populations():
    """Against Maraston & Stroemback 2011 (Salpeter, solar): broad optical colours and the luminosity per solar mass.

    Within 0.2 mag (0.415-0.44, 0.44-0.55 um) and 0.25 mag (0.55-0.73 um) at 30 Myr and later, V light within a factor
    of two. Not held: 0.36 - 0.44 um, where line blanketing and the Balmer continuum of real stars differ by up to 0.5
    mag below 100 Myr, and ages below 20 Myr, where red supergiants rule those models.
    """
    ages, theirs, wave = published_populations("0.02")
    ours = starlight.ssp(np.array(ages), wave)
    for blue, red, tolerance in ((0.415, 0.44, 0.2), (0.44, 0.55, 0.2), (0.55, 0.73, 0.25)):
        difference = colour(wave, ours, blue, red) - colour(wave, theirs, blue, red)
        assert abs(difference).max() < tolerance, (blue, red, difference)
    # erg/s/A at 0.55 um: L_nu c / wave^2 [L_sun / um] x 3.828e33 erg/s x 1e-4 um/A; `theirs` holds F_lambda x wave^2.
    v = abs(wave - 0.55) < 0.01
    ratio = (ours * C_UM * 3.828e33 * 1e-4)[:, v].mean(axis=1) / theirs[:, v].mean(axis=1)
    assert ((ratio > 0.5) & (ratio < 2)).all(), ratio
