"""`companion apply 02`: what a trained model says of anyone's spectra, and when it says not to trust it."""

import copy
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from astropy.table import Table
from test_autoencoder_use import N, spectra

from paper_utils.autoencoder import apply
from paper_utils.autoencoder.mask_aware import MaskAwareAutoencoder
from paper_utils.base.containers import WAVE_OBS
from paper_utils.base.errors import DataError
from paper_utils.nets import training


@pytest.fixture(scope="module")
def model():
    """As principal components of the spectra, which are of two kinds of light."""
    data = apply.prepared(spectra())
    with training.seeded(0):
        found = MaskAwareAutoencoder(2)
    found.begin(data)
    found.summarise(data)
    found.learn_ordinary(apply.prepared(noisy()))
    return found.eval()


def noisy(sigma=0.1):
    """The spectra with as much noise as their variances say, in units of their median."""
    one = spectra()
    noise = sigma * np.median(one.flux, axis=1, keepdims=True)
    flux = one.flux + noise * np.random.default_rng(1).normal(size=one.flux.shape)
    return replace(one, flux=flux, ivar=np.where(one.ivar > 0, 1.0, 0) / noise**2)


def test_spectra_are_described(model):
    one = noisy()
    results = model.apply(one)
    table = results.table
    assert list(table["id"]) == list(one.ids)
    assert {"s_1", "s_2", "chi2", "outlier", "snr", "z_found", "z_err", "dv_kms", "ew_OIII", "novelty"} < set(
        table.colnames
    )
    assert np.median(table["chi2"]) == pytest.approx(1, abs=0.1)
    assert np.median(table["snr"]) == pytest.approx(10, rel=0.1)
    pixels = (one.wave_obs[0] < results.arrays["wave_rest"] * 1.1) & (
        results.arrays["wave_rest"] * 1.1 < one.wave_obs[-1]
    )
    at = np.argmin(np.abs(one.z - 0.1))
    assert results.arrays["observed"][at][pixels].mean() > 0.99
    assert results.arrays["observed"][at][~pixels].sum() < 5  # at the ends
    flux = results.arrays["flux_model"]
    off = np.abs(flux / spectra().flux - 1)[one.ivar > 0]
    assert np.isnan(off).mean() < 1e-3  # at the ends of what it learned from
    assert np.nanmedian(off) < 0.05


def test_what_the_model_does_not_know_is_flagged(model):
    one = noisy()
    flux, z = one.flux.copy(), one.z.copy()
    flux[0] *= 1 + 0.5 * np.sin(WAVE_OBS / 40)  # unlike any galaxy
    flux[1] = -np.abs(flux[1])
    z[2], z[3] = 0.8, np.nextafter(0, -1)
    table = model.apply(replace(one, flux=flux, z=z)).table
    assert "a misfit" in table["flag"][0]
    assert table["outlier"][0] == 100
    assert "no positive median flux" in table["flag"][1]
    assert all("a redshift outside" in table["flag"][i] for i in (2, 3))
    for row in (1, 2, 3):
        assert all(np.isnan(table[name][row]) for name in ("s_1", "chi2", "z_found", "novelty", "ew_Halpha"))
    others = table[4:]
    assert np.isfinite(others["chi2"]).all()
    assert not any("outside" in flag for flag in others["flag"])


def test_a_spectrum_without_features_tells_no_redshift(model):
    """A power law is one at every redshift."""
    one = noisy()
    flux = one.flux.copy()
    level = np.median(flux[0])
    flux[0] = level * ((WAVE_OBS / 6500) ** -2 + 0.1 * np.random.default_rng(3).normal(size=WAVE_OBS.size))
    flags = model.apply(replace(one, flux=flux)).table["flag"]
    assert "redshift fits better" in flags[0]
    assert np.mean(["no redshift" in flag for flag in flags[1:]]) < 0.2  # some are nearly one


def test_what_shows_little_is_flagged(model):
    """Of the galaxy, or of its light above the noise."""
    one = noisy()
    flux, ivar = one.flux.copy(), one.ivar.copy()
    ivar[0, :3000] = 0
    flux[1] += 20 * np.median(flux[1]) * np.random.default_rng(2).normal(size=WAVE_OBS.size)
    ivar[1] /= 200**2
    flags = model.apply(replace(one, flux=flux, ivar=ivar), redshifts=False).table["flag"]
    assert "little of it was observed" in flags[0]
    assert "less signal" in flags[1]
    assert not any("observed" in flag or "signal" in flag for flag in flags[2:])


def test_there_are_no_numbers_where_no_spectrum_taught_any(model):
    """The model is NaN there, and flux there has no say."""
    one, knows = noisy(), copy.deepcopy(model)
    knows.known &= knows.wave_rest < 7000
    spoiled = one.flux.copy()
    beyond = WAVE_OBS > 7010 * (1 + one.z[:, None])
    spoiled[beyond] *= 3
    # What decides the unit stays as it is.
    unit = [np.median(flux[one.ivar[0] > 0]) for flux in (one.flux[0], spoiled[0])]
    assert unit[0] != unit[1]
    before, after = (knows.apply(replace(one, flux=flux), redshifts=False) for flux in (one.flux, spoiled))
    wave = before.arrays["wave_rest"]
    assert np.isnan(before.arrays["rest"][:, wave > 7000]).all()
    assert np.isfinite(before.arrays["rest"][:, (wave > 4000) & (wave < 6900)]).all()
    assert not before.arrays["observed"][:, wave > 7000].any()
    assert np.isnan(before.arrays["flux_model"][beyond]).all()
    for name in ("s_1", "s_2", "chi2"):
        assert np.allclose(before.table[name], after.table[name], atol=1e-3)


def test_an_outlier_is_one_among_spectra_of_like_signal(model):
    """With a model that is off by 2 %, chi^2 grows with the signal; percentiles do not."""
    rng, levels = np.random.default_rng(0), np.repeat([0.3, 0.05, 0.02, 0.005], N // 4)
    one = spectra()
    noise = levels[:, None] * np.median(one.flux, axis=1, keepdims=True)
    flux = one.flux + noise * rng.normal(size=one.flux.shape)
    mixed = replace(one, flux=flux, ivar=np.where(one.ivar > 0, 1.0, 0) / noise**2)
    knows = copy.deepcopy(model)
    knows.learn_ordinary(apply.prepared(mixed))
    table = knows.apply(mixed, redshifts=False).table
    assert np.corrcoef(np.log(table["chi2"]), np.log(table["snr"]))[0, 1] > 0.5
    for level in np.unique(levels):
        assert np.mean(table["outlier"][levels == level]) == pytest.approx(50, abs=12)


def test_percentiles_lie_between_those_that_were_seen():
    rng = np.random.default_rng(0)
    seen = np.sort(rng.normal(size=(50, 101)), axis=1)
    values = np.concatenate([rng.normal(size=48), [-99, 99]])
    found = apply.percentile(torch.tensor(values), torch.tensor(seen))
    expected = [np.interp(value, row, np.arange(101)) for value, row in zip(values, seen, strict=True)]
    assert np.allclose(found, expected, atol=1e-6)


def test_spectra_of_no_use_are_refused(model):
    one = spectra()
    with pytest.raises(DataError, match="none of 60 spectra"):
        model.apply(replace(one, z=np.full(N, 0.9)))
    with pytest.raises(DataError, match="other wavelengths"):
        model.apply(replace(one, wave_obs=WAVE_OBS + 1))


def test_rows_do_not_know_of_each_other(model):
    one = noisy()
    whole, alone = model.apply(one), model.apply(one.select([5]))
    for name in ("s_1", "chi2", "z_found"):
        assert alone.table[name][0] == pytest.approx(whole.table[name][5], rel=1e-3, abs=1e-5)


def test_the_command_writes_a_table_spectra_and_figures(model, tmp_path, companion):
    model.save(tmp_path / "model.safetensors")
    one = noisy()
    one.select(np.arange(3)).save(tmp_path / "a.h5")
    one.select(np.arange(3, 5)).save(tmp_path / "b.h5")
    command = ["apply", "02", tmp_path / "a.h5", tmp_path / "b.h5", "--model", tmp_path / "model.safetensors"]
    status, out, _ = companion(*command, "--output", tmp_path / "out", "--figures")
    assert status == 0, out
    assert "median reduced chi2" in out
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "results.ecsv",
        "results.h5",
        "summary.png",
        "objects",
    }
    assert len(list((tmp_path / "out" / "objects").iterdir())) == 5
    table = Table.read(tmp_path / "out" / "results.ecsv")
    assert list(table["id"]) == list(one.ids[:5])
    with h5py.File(tmp_path / "out" / "results.h5") as file:
        assert file["rest"].shape == (5, 5875)
        assert file["observed"].dtype == bool
    for more in (["--mapping", tmp_path / "m.yaml"], ["--table", "a.txt"]):
        status, _, error = companion(*command, *more)
        assert status != 0
        assert error.count("\n") < 12


def test_one_table_is_one_file(tmp_path, companion):
    status, out, error = companion("apply", "05", tmp_path / "a.csv", tmp_path / "b.csv")
    assert status != 0
    assert "takes one file" in out + error


def test_latents_remember_held_out_spectra(model):
    data = apply.prepared(noisy())
    distance = model.distance(apply.latents(model, data))
    assert torch.allclose(distance.square().mean(), torch.tensor(1.0), atol=0.05)
    assert model.distances[50] == pytest.approx(distance.median().item(), rel=0.05)
