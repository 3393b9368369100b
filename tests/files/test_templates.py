"""The E-MILES templates: fetched or refused, converted, and the same as other readers and the published tables say."""

import hashlib
import io
import subprocess
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from paper_utils.base import paths
from paper_utils.base.constants import C_KMS
from paper_utils.base.errors import DataError
from paper_utils.base.wavelengths import air_to_vacuum
from paper_utils.files import templates
from paper_utils.sky import populations


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """An empty cache, and a folder of temporary files to look into."""
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def pip(monkeypatch, returncode, stderr="", archive=b""):
    """A pip that writes `archive` where it is told to, and ends with `returncode`."""

    def run(command, **_):
        assert "--no-deps" in command
        assert templates.SHA256 in Path(command[-1]).read_text()
        if archive:
            (Path(command[command.index("--dest") + 1]) / templates.ARCHIVE).write_bytes(archive)
        return subprocess.CompletedProcess(command, returncode, "", stderr)

    monkeypatch.setattr(subprocess, "run", run)


def small_archive(path: Path) -> Path:
    """A source distribution of 2 ages x 2 metallicities, in the names and layout of the real one."""
    table = "# a comment\nUN  0.30  0.0000  1.0000  1.0 0.11\n"
    with tarfile.open(path, "w:gz") as tar:

        def add(name, content):
            info = tarfile.TarInfo(f"ppxf-8.2.6/ppxf/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))

        for z, metal in (("p0.00", 0.0), ("m0.40", -0.396)):
            for age in (1.0, 10.0):
                flux = np.full(8, 10 * age + metal, np.float32)
                hdu = fits.PrimaryHDU(flux)
                hdu.header.update(CRVAL1=5000.0, CDELT1=0.9)
                raw = io.BytesIO()
                hdu.writeto(raw)
                name = f"Eun1.30Z{z}T{age:07.4f}_iPp0.00_baseFe_linear_FWHM_variable.fits"
                add(f"miles_models/{name}", raw.getvalue())
                table += f"UN  1.30  {metal:.4f}  {age:.4f}  1.0  {0.9 - age / 100 + metal / 10:.3f}  0.5\n"
        add("miles_models/Vazdekis2012_ssp_mass_Padova00_UN_baseFe_v10.0.txt", table.encode())
    return path


def test_converts_an_archive_put_in_place_by_hand(empty, monkeypatch):
    archive = small_archive(empty / templates.ARCHIVE)
    monkeypatch.setattr(templates, "SHA256", hashlib.sha256(archive.read_bytes()).hexdigest())
    monkeypatch.setattr(subprocess, "run", None)  # no network
    (empty / "cache" / "templates").mkdir(parents=True)
    archive.rename(empty / "cache" / "templates" / templates.ARCHIVE)
    read = templates.emiles()
    np.testing.assert_array_equal(read.ages, [1, 10])
    np.testing.assert_array_equal(read.metals, [-0.4, 0])
    np.testing.assert_allclose(read.templates[:, :, 0], [[9.604, 10], [99.604, 100]], rtol=1e-6)
    np.testing.assert_allclose(read.masses, [[0.8504, 0.89], [0.7604, 0.80]], atol=6e-4)
    # The refractive index of air at 5000 A is 1.000279.
    np.testing.assert_allclose(read.wave_rest - 5000 - 0.9 * np.arange(8), 1.395, atol=3e-3)
    np.testing.assert_array_equal(read.fwhm, 2.51)
    assert templates.emiles().ages.size == 2  # the second time from the .npz


@pytest.mark.parametrize("damage", ["another file", "cut short", "one bit"])
def test_a_damaged_archive_is_refused(empty, monkeypatch, damage):
    whole = small_archive(empty / "whole.tar.gz").read_bytes()
    monkeypatch.setattr(templates, "SHA256", hashlib.sha256(whole).hexdigest())
    spoilt = {"another file": b"<html>not found</html>", "cut short": whole[:-100]}
    pip(monkeypatch, 0, archive=spoilt.get(damage, bytes([whole[0] ^ 1]) + whole[1:]))
    with pytest.raises(DataError, match="SHA-256") as caught:
        templates.emiles()
    assert "fetch it again" in caught.value.remedy
    assert [file.name for file in empty.rglob("*") if file.is_file()] == ["whole.tar.gz"]


def test_an_offline_machine_is_told_what_to_do_by_hand(empty, monkeypatch):
    pip(monkeypatch, 1, "WARNING: retrying\nERROR: No matching distribution found for ppxf==8.2.6\n")
    with pytest.raises(DataError, match="No matching distribution") as caught:
        templates.emiles()
    assert "pip download" in caught.value.remedy
    assert str(empty / "cache" / "templates") in caught.value.remedy
    assert not list(empty.rglob("*"))  # the temporary folder is gone and nothing half-written is left


def arrays(**changed):
    rng = np.random.default_rng(0)
    return {
        "templates": rng.uniform(0, 1, (50, 3, 2)),
        "masses": rng.uniform(0, 1, (3, 2)),
        "lam": np.linspace(4000, 4049, 50),
        "ages": np.array([1.0, 5, 10]),
        "metals": np.array([-0.5, 0]),
        "fwhm": np.array(2.5),
    } | changed


@pytest.mark.parametrize("air", [True, False])
def test_a_users_npz_comes_back_as_it_was(tmp_path, air):
    import ppxf.ppxf_util

    given = arrays()
    np.savez(tmp_path / "own.npz", **given)
    read = templates.emiles(tmp_path / "own.npz", air=air)
    np.testing.assert_allclose(read.templates, np.moveaxis(given["templates"], 0, -1), rtol=1e-6)
    np.testing.assert_array_equal(read.masses, given["masses"])
    wave = ppxf.ppxf_util.air_to_vac(given["lam"]) if air else given["lam"]
    np.testing.assert_allclose(read.wave_rest, wave, rtol=1e-7)
    np.testing.assert_array_equal(read.fwhm, 2.5)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"lam": np.linspace(4049, 4000, 50)}, "lam.*not increase"),
        ({"lam": np.linspace(0.4, 0.41, 50)}, "Angstrom"),
        ({"ages": np.array([1e9, 5e9, 1e10])}, "Gyr"),
        ({"masses": np.ones((2, 3))}, "masses"),
        ({"templates": np.full((50, 3, 2), np.nan)}, "templates.*not finite"),
        ({"templates": np.array(["a"])}, "templates"),
    ],
)
def test_an_unusable_npz_says_what_is_wrong(tmp_path, changed, told):
    np.savez(tmp_path / "own.npz", **arrays(**changed))
    with pytest.raises(DataError, match=told) as caught:
        templates.emiles(tmp_path / "own.npz")
    assert "own.npz" in str(caught.value)


def test_a_broken_or_incomplete_npz_is_refused(tmp_path):
    file = tmp_path / "own.npz"
    np.savez(file, **{name: value for name, value in arrays().items() if name != "fwhm"})
    with pytest.raises(DataError, match="fwhm"):
        templates.emiles(file)
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(DataError, match="readable"):
        templates.emiles(file)
    with pytest.raises(DataError, match="readable"):
        templates.emiles(tmp_path / "absent.npz")


def test_the_grid_is_the_published_one(emiles):
    assert emiles.templates.shape == (25, 6, 53689)
    np.testing.assert_array_equal(emiles.metals, [-1.71, -1.31, -0.71, -0.40, 0.0, 0.22])
    # Steps of 0.1 dex in age from 63 Myr.
    np.testing.assert_allclose(np.log10(emiles.ages), np.log10(0.063096) + 0.1 * np.arange(25), atol=3e-4)
    # Stars only die, and a Salpeter population keeps about 70 % of its mass.
    assert (np.diff(emiles.masses, axis=0) < 0).all()
    np.testing.assert_allclose(emiles.masses[-1], 0.70, atol=0.02)


def test_wavelengths_are_vacuum(emiles):
    """Balmer lines of the youngest population and the calcium triplet of an old one lie at their vacuum wavelengths."""
    from scipy.optimize import curve_fit

    def centre(flux, line, half):
        near = abs(emiles.wave_rest - line) < half
        x, y = emiles.wave_rest[near] - line, flux[near] / flux[near].mean()
        best, _ = curve_fit(lambda x, a, b, d, m, s: a + b * x - d * np.exp(-0.5 * ((x - m) / s) ** 2), x, y,
                            [1, 0, 0.3, 0, 2.5])  # fmt: skip
        return best[3]

    young, old = emiles.templates[0, 4], emiles.templates[22, 4]
    # NIST; in air these would be 1.1 to 2.4 A less.
    for flux, line, half in ((young, 4341.69, 25), (young, 6564.63, 25), (old, 8544.44, 15), (old, 8664.52, 15)):
        assert centre(flux, line, half) == pytest.approx(0, abs=0.25)


def test_agrees_with_ppxfs_own_reader(emiles):
    from ppxf.sps_util import sps_lib

    theirs = sps_lib(paths.CACHE / "templates" / "emiles.npz", velscale=300.0, lam_range=[4000, 7000])
    np.testing.assert_array_equal(theirs.age_grid[:, 0], emiles.ages)
    np.testing.assert_array_equal(theirs.metal_grid[0], emiles.metals)
    # Their wavelengths are those of air; broad pixels make the way of resampling matter little.
    lam = air_to_vacuum(theirs.lam_temp)
    half = np.exp(0.5 * 300 / C_KMS)
    upper_edge = emiles.wave_rest + np.gradient(emiles.wave_rest) / 2
    for a, m in ((0, 0), (12, 3), (24, 5)):
        total = np.cumsum(emiles.templates[a, m].astype(float) * np.gradient(emiles.wave_rest))
        upper, lower = (np.interp(edge, upper_edge, total) for edge in (lam * half, lam / half))
        ours = (upper - lower) / (lam * half - lam / half)
        ratio = ours / (theirs.templates[:, a, m] * theirs.flux[a, m])
        np.testing.assert_allclose(ratio, 1, atol=2e-3)


def test_the_youngest_have_light_beyond_their_end_on_any_grid(emiles):
    """A user's templates may be finer: light at 9500 A is that of the shipped grid."""
    wave = emiles.wave_rest
    fine = np.sort(np.concatenate([wave, (wave[1:] + wave[:-1]) / 2]))
    at = np.searchsorted(wave, fine).clip(1, wave.size - 1)
    templates = np.where(fine == wave[at], emiles.templates[..., at], emiles.templates[..., at - 1])
    finer = replace(emiles, wave_rest=fine, templates=templates, fwhm=np.interp(fine, wave, emiles.fwhm))
    coarse, found = (populations.from_emiles(grid) for grid in (emiles, finer))
    assert (found.spectra[:, :, fine > 8900] > 0).all()
    red = (coarse.spectra[..., wave > 9000].mean(axis=2), found.spectra[..., fine > 9000].mean(axis=2))
    np.testing.assert_allclose(*red, rtol=0.01)


def test_luminosities_are_solar_units_per_solar_mass(emiles):
    """V magnitudes of one solar mass against the published photometric predictions (Vazdekis+ 2012 table, [M/H] = 0).

    They rest on stars' photometry, not on these spectra: the two agree within 0.07 mag.
    """
    from sedpy.observate import getSED, load_filters

    ten_parsec = 3.828e33 / (4 * np.pi * (10 * 3.0857e18) ** 2)
    bessell = load_filters(["bessell_V"])
    for age, published in ((0.1, 3.112), (1.0, 4.935), (10.0, 7.127)):
        flux = emiles.templates[np.argmin(abs(emiles.ages - age)), 4] * ten_parsec
        vega = getSED(emiles.wave_rest, flux, filterlist=bessell)[0] + bessell[0].ab_to_vega
        assert vega == pytest.approx(published, abs=0.07)


def test_resolution_steps_where_the_libraries_change():
    # NGSL's two gratings, MILES, and 60 km/s beyond: at the red end 23.57 A, as the files' headers say.
    np.testing.assert_allclose(templates.resolution([2000, 3300, 5000, 49999.4]), [3, 5, 2.51, 23.57], atol=0.01)
