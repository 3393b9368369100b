"""The mask-aware autoencoder that comes with the project does what its card says, on spectra it has not seen."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from paper_utils.autoencoder import apply, probes
from paper_utils.autoencoder.mask_aware import MaskAwareAutoencoder
from paper_utils.base import paths
from paper_utils.base.constants import C_KMS
from paper_utils.base.containers import WAVE_OBS
from paper_utils.base.rebin import broaden, rebin
from paper_utils.base.wavelengths import KM_S_PER_BIN, log_grid, lsf_km_s
from paper_utils.files import spectra, spectrographs
from paper_utils.sky import sdss_spectra
from paper_utils.stats import pca

SPECTRA = Path(os.environ.get("COMPANION_REAL_DATA", paths.ROOT.parent / "shared" / "real_data"), "sdss_galaxy_spectra")


@pytest.fixture(scope="module")
def model():
    return MaskAwareAutoencoder.load(paths.WEIGHTS / "02" / "mask-aware.safetensors")


@pytest.fixture(scope="module")
def galaxies(ssps):
    return sdss_spectra.spectra(200, ssps, seed=77)


def test_it_reaches_its_scores_on_another_draw_of_the_sky(model, galaxies):
    table, scores, data = model.apply(galaxies).table, model.card["scores"], apply.prepared(galaxies)
    assert table["chi2"].mean() == pytest.approx(scores["chi2"], abs=0.02)
    assert 1.4826 * np.median(np.abs(table["dv_kms"])) < 10
    assert (table["flag"] != "").mean() < 0.05
    places = [apply.latents(model, probes.seen_at(data, z)) for z in (0, 0.5)]
    far = probes.displacement(places[1], places[0], places[0]).median()
    assert far == pytest.approx(scores["median displacement at z = 0.5"], rel=0.5)


def test_it_is_nearer_to_the_truth_than_principal_components_of_these_very_spectra(model, galaxies):
    """Ten components of the noiseless truth are the best that a linear model of ten numbers could be."""
    data = apply.prepared(galaxies)
    truth = torch.tensor(np.asarray(galaxies.clean), dtype=torch.float32) / data["median"]
    rest, w = model.deredshift(truth, data["w"], data["z"])
    x, w_seen = model.deredshift(data["y"], data["w"], data["z"])
    found = pca.weighted_pca(x, w_seen, 10)
    linear = found.decode(found.encode(x, w_seen))
    ours = apply.reconstruct(model, data).rest

    def distance(made):
        return ((w * (made - rest).square()).sum(dim=1) / (w > 0).sum(dim=1)).mean()

    assert distance(ours) < 0.6 * distance(linear)


@pytest.mark.parametrize("hidden", [(3000, 4500), (3000, 5600), (5500, 9000)])
def test_latents_hold_still_behind_a_mask(model, galaxies, hidden):
    """In units of each direction's scatter, of galaxies of which a part is hidden; noise alone moves them by 0.25."""
    data = apply.prepared(galaxies)
    rest = torch.tensor(WAVE_OBS, dtype=torch.float32) / (1 + data["z"][:, None])
    gone = (rest > hidden[0]) & (rest < hidden[1])
    part = data | {"y": torch.where(gone, 1, data["y"]), "w": torch.where(gone, 0, data["w"])}
    whole, rest = (apply.latents(model, each) for each in (data, part))
    assert probes.displacement(rest, whole, whole).median() < 0.5
    assert (apply.percentile(model.distance(rest), model.distances.expand(len(rest), -1)) > 99).float().mean() < 0.05


def test_a_wrong_redshift_is_mended_and_flagged(model, galaxies):
    """By 400 km/s: the decoder's spectrum tells the true one, within the errors that are stated."""
    wrong = replace(galaxies, z=galaxies.z + 400 / C_KMS * (1 + galaxies.z))
    table, right = model.apply(wrong).table, model.apply(galaxies).table
    off = (table["z_found"] - galaxies.z) / (1 + galaxies.z) * C_KMS
    assert np.median(np.abs(off)) < 20
    assert np.mean(["another redshift" in flag for flag in table["flag"]]) > 0.9
    assert np.mean(["another redshift" in flag for flag in right["flag"]]) < 0.05
    pull = (right["z_found"] - galaxies.z) / right["z_err"]
    assert 0.6 < 1.4826 * np.median(np.abs(pull)) < 1.6


def seen_by(galaxies, ssps, wave_obs, lsf_kms, seed):
    """The galaxies' light through another spectrograph, with noise of 5 % per 69 km/s; lsf_kms of wavelengths [A]."""
    wave, z, rng = log_grid(2560, 9800, kms=17.0), galaxies.z, np.random.default_rng(seed)
    light = sdss_spectra.rest_spectra(galaxies.truth, wave, ssps, lsf=False).numpy()
    rows = []
    for one, at in zip(light, z, strict=True):
        observed = wave * (1 + at)
        blurred = broaden(one[None], lsf_kms(observed) / 17.0)
        rows.append(rebin(observed, blurred, np.ones_like(blurred), wave_obs)[0][0])
    flux = np.array(rows) / np.median(rows, axis=1, keepdims=True)
    noise = 0.05 * np.sqrt(KM_S_PER_BIN / (C_KMS * np.gradient(np.log(wave_obs))))
    flux = flux + noise * rng.normal(size=flux.shape)
    ivar = np.broadcast_to(noise**-2.0, flux.shape)
    return replace(galaxies, wave_obs=wave_obs, flux=flux, ivar=ivar, clean=None, lsf_kms=lsf_kms(wave_obs))


def test_another_spectrograph_sees_the_same_galaxies(model, galaxies, ssps):
    """DESI's pixels, range and resolution: latents differ as those of two SDSS spectra do, redshifts hold."""
    few = galaxies.select(np.arange(80))
    one, two = (seen_by(few, ssps, WAVE_OBS, lsf_km_s, seed) for seed in (1, 2))
    desi = seen_by(few, ssps, np.arange(3600, 9824.1, 0.8), lambda wave: C_KMS * 0.7 / wave, 3)
    coarse = seen_by(few, ssps, np.arange(3600, 9824.1, 2.0), lambda wave: C_KMS * 4.0 / wave, 4)
    tables = [model.apply(spectrographs.as_sdss(part), redshifts=part is desi).table for part in (one, two, desi)]
    s, again, other = (torch.tensor([list(table[f"s_{i + 1}"]) for i in range(10)]).T for table in tables)
    between = [float(probes.displacement(each, s, s).median()) for each in (again, other)]
    assert between[1] < 1.5 * between[0]
    assert np.median(tables[2]["chi2"]) == pytest.approx(1, abs=0.15)
    assert np.median(np.abs(tables[2]["dv_kms"])) < 15
    assert not any("resolution" in flag for flag in tables[2]["flag"])
    flags = model.apply(spectrographs.as_sdss(coarse), redshifts=False).table["flag"]
    assert all("resolution" in flag for flag in flags)


@pytest.mark.skipif(not SPECTRA.is_dir(), reason="SDSS spectra are not here: set COMPANION_REAL_DATA")
def test_real_spectra_keep_their_redshifts(model):
    """Nine SDSS and BOSS spectra: within 150 km/s of the pipeline's redshift or flagged; plain galaxies are fitted."""
    files = [*sorted(SPECTRA.glob("spec-*.fits")), SPECTRA / "1237664853103607848.fits"]
    table = model.apply(spectra.read(files)).table
    assert len(table) == 9
    flagged = table["flag"] != ""
    assert (np.abs(table["dv_kms"]) < 150)[~flagged].all()
    quasar = np.array([name in ("0752-52251-0323", "1599-53089-0469") for name in table["id"]])
    assert (np.abs(table["dv_kms"]) < 30)[~quasar].all()
    assert flagged[quasar].all()
    # The others have active nuclei or starbursts.
    plain = [name in ("0390-51900-0282", "4055-55359-0006") for name in table["id"]]
    assert (table["chi2"] < 1.5)[plain].all()
    assert (table["chi2"] < 1.5)[~flagged].all()
