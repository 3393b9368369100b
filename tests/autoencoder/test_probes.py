"""What latents are worth, on planted encodings; outliers do what they say; redshifts come back through the decoder."""

import numpy as np
import pytest
import torch

from paper_utils.autoencoder import apply, probes
from paper_utils.autoencoder import model as ae
from paper_utils.base.containers import WAVE_OBS, Spectra
from paper_utils.nets import training
from paper_utils.sky import outliers


def test_displacement_is_in_units_of_the_population_whatever_the_unit_of_each_latent():
    generator = torch.Generator().manual_seed(0)
    population = torch.randn(4000, 5, generator=generator)
    far = torch.nn.functional.normalize(torch.randn(4000, 5, generator=generator), dim=1) * np.sqrt(5)
    turn = torch.linalg.qr(torch.randn(5, 5, generator=generator)).Q
    scale = torch.tensor([30.0, 1, 1, 0.1, 0.01])
    for change in (lambda s: s, lambda s: 7 * s @ turn + 2, lambda s: (s * scale) @ turn):
        distance = probes.displacement(change(population + 0.5 * far), change(population), change(population))
        assert torch.allclose(distance, torch.tensor(0.5), rtol=0.1)
        assert distance.mean() == pytest.approx(0.5, rel=0.02)
    other = population[torch.randperm(4000, generator=generator)]
    apart = probes.displacement(population, other, population)
    assert apart.square().mean().sqrt() == pytest.approx(np.sqrt(2), rel=0.03)


def test_gradient_weight_is_the_known_slope():
    matrix = torch.randn(3, 40, generator=torch.Generator().manual_seed(0))
    spread = torch.tensor([1.0, 2.0, 4.0])
    one = torch.ones(2, 40), torch.zeros(2), torch.ones(2, 40)
    weight = probes.gradient_weight(lambda y, z, w: y @ matrix.T + z[:, None], *one, spread)
    assert torch.allclose(weight, (matrix / spread[:, None]).norm(dim=0).expand(2, -1), atol=1e-6)


def test_a_feature_is_found_at_its_rest_wavelength_whatever_the_redshift():
    z = torch.tensor([0.02, 0.1, 0.2])
    rest = WAVE_OBS / (1 + z.numpy()[:, None])
    values = torch.as_tensor(np.abs(rest - 5000) < 20).float()
    w = torch.ones_like(values)
    w[:, :500] = 0  # unusable elements do not count
    edges = np.arange(2500, 9600, 100.0)
    found = probes.by_rest_wavelength(values, w, WAVE_OBS, z, edges)
    assert edges[np.nanargmax(found)] in (4900, 5000)
    bluest = WAVE_OBS[500] / 1.2
    assert np.isnan(found[edges[1:] < bluest]).all()


def test_a_line_is_as_strong_as_it_was_made():
    wave = np.arange(3600, 3900, 1.5)
    strength = np.array([0.0, 5, 40])
    line = np.exp(-0.5 * ((wave - 3728.5) / 3) ** 2) / (3 * np.sqrt(2 * np.pi))
    found = probes.line_strength(wave, 2 + strength[:, None] * line, 3728.5, 12, 30)
    assert np.allclose(found, strength, rtol=2e-3, atol=1e-9)


def test_spectra_are_seen_at_another_redshift():
    """And in units of the median of what is then in view, as a survey would deliver them."""
    data = {"y": torch.rand(2, len(WAVE_OBS)) + torch.linspace(0, 3, len(WAVE_OBS))}
    data["y"] /= data["y"].median(dim=1, keepdim=True).values
    data |= {"w": torch.ones(2, len(WAVE_OBS)), "z": torch.tensor([0.1, 0.2])}
    seen = probes.seen_at(data, 0.3)
    assert torch.allclose(seen["z"], torch.tensor(0.3), atol=2e-4)
    assert (seen["w"] == 0).any()
    in_view = torch.where(seen["w"] > 0, seen["y"], torch.nan)
    assert torch.allclose(in_view.nanmedian(dim=1).values, torch.ones(2), atol=1e-3)
    assert (seen["unit"] < 0.98).all()  # what was brightest has left
    lost = int((seen["w"][0] == 0).sum())
    given = data["y"][0, :-lost]
    assert torch.allclose((seen["y"] * seen["unit"])[0, lost:], given, atol=1e-5)
    signal = (seen["y"] * seen["w"].sqrt())[0, lost:]
    assert torch.allclose(signal, given, atol=1e-5)  # its ratio to the noise is what it was


def test_redshifts_far_off_are_counted_and_the_others_scatter_as_planted():
    z = torch.linspace(0.01, 0.3, 400, dtype=torch.float64)
    planted = 50 * np.random.default_rng(0).normal(size=400)
    planted[::10] = 5000
    right, scatter = probes.redshift_errors(z + (1 + z) * torch.tensor(planted) / 299792.458, z)
    assert right.sum() == 360
    assert scatter == pytest.approx(50, rel=0.15)


def test_an_outlier_score_is_worth_the_share_of_pairs_in_order():
    ordinary, odd = np.array([1.0, 2, 3, 4]), np.array([2.5, 5])
    assert probes.roc_area(ordinary, odd) == (2 + 4) / 8


@pytest.fixture(scope="module")
def flat():
    n = 40
    z = np.linspace(0.02, 0.2, n)
    flux = np.tile(np.linspace(4, 2, WAVE_OBS.size), (n, 1)) * np.linspace(1, 3, n)[:, None]
    ivar = np.full_like(flux, 25.0)
    ivar[:, :100] = 0
    return Spectra(wave_obs=WAVE_OBS, flux=flux, ivar=ivar, z=z, ids=np.array([f"g{i}" for i in range(n)]))


@pytest.mark.parametrize("kind", outliers.KINDS)
def test_outliers_differ_in_flux_alone_and_repeat_with_their_seed(flat, kind):
    odd, again = outliers.plant(kind, flat, 1), outliers.plant(kind, flat, 1)
    assert np.array_equal(odd.flux, again.flux)
    assert np.array_equal(odd.ivar, flat.ivar)
    change = np.abs(odd.flux - flat.flux) * np.sqrt(flat.ivar)
    assert (change.max(axis=1) > 2).all()
    assert not np.array_equal(odd.flux, outliers.plant(kind, flat, 2).flux)


def test_broad_lines_have_the_width_and_strength_stated(flat):
    """On the power law they add, H-alpha has 100 - 400 A of equivalent width; it stands at its observed wavelength."""
    added = outliers.plant("broad-line AGN", flat, 0).flux - flat.flux
    for i in range(0, len(flat), 8):
        rest = WAVE_OBS / (1 + flat.z[i])
        far = (rest > 5300) & (rest < 6000)
        slope, level = np.polyfit(np.log(rest[far]), np.log(added[i][far]), 1)
        over = added[i] / np.exp(level + slope * np.log(rest)) - 1
        line = (rest > 6000) & (rest < 7150)
        width = np.trapezoid(over[line], rest[line])
        assert 80 < width < 420
        assert rest[line][over[line].argmax()] == pytest.approx(6564.6, abs=15)


def test_blends_hold_another_galaxys_light(flat):
    odd = outliers.plant("blend", flat, 0)
    share = np.median(odd.flux, axis=1) / np.median(flat.flux, axis=1) - 1
    assert (share > 0.28).all()
    assert (share < 1.02).all()


class OneLine(ae.Autoencoder):
    """A perfect model of galaxies that all have the same spectrum: what is left to find is the redshift."""

    def __init__(self):
        with training.seeded(0):
            super().__init__(1, (2, 2, 4))
        rest = self.wave_rest.float()
        self.one = 1 + sum(2 * torch.exp(-0.5 * ((rest - at) / 4) ** 2) for at in (4862.7, 5008.2, 6564.6))

    def encode(self, y, z, w=None):
        return torch.zeros(len(y), 1)

    def decode(self, s):
        return self.one.expand(len(s), -1)


def test_a_redshift_is_found_between_the_trials():
    model = OneLine()
    z_true = torch.tensor([0.03, 0.0812345, 0.15])
    generator = torch.Generator().manual_seed(0)
    y = 3 * model.observe(model.decode(torch.zeros(3, 1)), z_true) + 0.05 * torch.randn(
        3, len(WAVE_OBS), generator=generator
    )
    w = torch.full_like(y, 0.05**-2)
    trials = z_true[:, None] + 0.0004 + torch.linspace(-0.02, 0.02, 41)
    z, error, chi2 = apply.best_redshift(model, y, w, trials)
    # A line of sigma 4 A and height 6 in noise 0.05: far better than a tenth of the trials' step of 0.001.
    assert (z - z_true).abs().max() < 1e-4
    assert torch.allclose(chi2, torch.ones(3), atol=0.1)
    assert ((z - z_true).abs() < 4 * error).all()
    assert (error < 1e-4).all()


@pytest.mark.parametrize("z_true", [0.002, 0.005, 0.02, 0.05])
def test_redshifts_near_zero_are_refined_too(z_true):
    """To 30 km/s, and within errors that are right, with trials on both sides of 0."""
    model = OneLine()
    at = torch.full((40,), z_true) + 3e-5 * torch.arange(40)
    noise = 0.3 * torch.randn(40, len(WAVE_OBS), generator=torch.Generator().manual_seed(0))
    y = 3 * model.observe(model.decode(torch.zeros(40, 1)), at) + noise
    trials = at[:, None] + 0.0004 + torch.linspace(-0.03, 0.03, 61)
    z, error, _ = apply.best_redshift(model, y, torch.full_like(y, 0.3**-2), trials)
    assert (z - at).abs().max() < 1e-4
    assert 0.7 < ((z - at) / error).std() < 1.4


def test_a_lensed_galaxys_lines_stand_at_its_redshift(flat):
    """Farther than the lens, and as high as stated: in units of the noise, which is 0.2."""
    added = outliers.plant("lens", flat, 0).flux - flat.flux
    highest = added.max(axis=1) / 0.2
    assert (highest < 25.1).all()
    assert np.median(highest) > 8
    for row, z in zip(added[::8], flat.z[::8], strict=True):
        first = WAVE_OBS[row > 0.3 * row.max()][0]  # [O II] 3727, or H beta where that is out of view
        assert first / 3727 - 1 > z + 0.08


def test_skys_residuals_stand_where_airglow_is(flat):
    added = np.abs(outliers.plant("sky residual", flat, 0).flux - flat.flux)
    assert np.allclose(WAVE_OBS[added.argmax(axis=1)], 8828.8, atol=3)  # OH
    assert ((added.max(axis=1) > 0.99) & (added.max(axis=1) < 4.01)).all()


@pytest.mark.parametrize("kind", ["quasar", "star"])
def test_what_is_no_galaxy_keeps_brightness_and_noise(flat, kind):
    odd = outliers.plant(kind, flat, 0)
    good = flat.ivar > 0
    for row, before, usable in zip(odd.flux[::8], flat.flux[::8], good[::8], strict=True):
        assert np.median(row[usable]) == pytest.approx(np.median(before[usable]), rel=0.1)
        assert np.std(np.diff(row[usable])) / np.sqrt(2) == pytest.approx(0.2, rel=0.25)
