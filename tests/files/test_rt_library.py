"""The composed library: each model's own law kept, luminosities add up, and the published composite is made again."""

import io
import tarfile

import numpy as np
import pytest
from conftest import read_or_refused
from hypothesis import given, settings
from hypothesis import strategies as st

from paper_utils.base import paths
from paper_utils.base.containers import WAVE_UM, SedLibrary
from paper_utils.base.errors import DataError
from paper_utils.files import rt_library
from paper_utils.files.seds import read_npz_library

REAL = paths.ROOT.parent / "shared" / "real_data"
SK07, FRITZ = REAL / "sk07_starburst_library", REAL / "fritz2006_agn_torus"
RT = REAL / "rt_library" / "rt_library.npz"
needs_archives = pytest.mark.skipif(
    not (SK07.is_dir() and FRITZ.is_dir() and RT.is_file()), reason="the archives are not here (shared/real_data)"
)
INSIDE = (WAVE_UM > 0.0304) & (WAVE_UM < 1000)


def plot_file(slope):
    """F_nu ~ lambda**slope in the format of the starbursts: longest wavelength first."""
    rows = [f"{um:13.6g}{1e-3 * um**slope:13.6g}" for um in np.geomspace(2000, 0.0304, 60)]
    return "\n".join(["    Wavelength     flux ", "      [mic.]   [Jy @50Mpc]", "   -------------", *rows]).encode()


def tot_file(slope, n_angles=3):
    """F_nu ~ lambda**(slope - angle), so L_lambda ~ F_nu / lambda**2, with Fortran's exponents of three digits."""
    lines, wave = [" # density beta -0.50", " " + "#" * 40], np.geomspace(0.001, 1000, 50)
    for angle in range(n_angles):
        lines += [f"{len(wave):12d}{n_angles:12d}", " Total spectrum computed for viewing angle:", f"   {angle}.1000"]
        for um in wave:
            total = f"{1e-105 * um ** (slope - angle - 2):.6E}".replace("E-1", "-1")
            lines.append(f"  {um:.6E}  {total}  1.0-200  2.0D+03  0.0000E+00")
    return "\n".join(lines).encode()


MODELS = {
    "SK06/3kpc/OB40/L1240Av04.5_7.5d3.plot": plot_file(1.0),
    "SK06/1kpc/HL/L1010Av018_1.d4.plot": plot_file(-0.5),
    "fritz/ct20al0.0be-0.50ta0.1rm60.tot": tot_file(0.5),
    "SK06/README": b"1 2\n",
}


def as_archive(models, path):
    with tarfile.open(path, "w:xz") as tar:
        for name, content in models.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("SK06/link.plot")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    return path


def as_folder(models, path):
    for name, content in models.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def slopes(library):
    return np.gradient(np.log(library.flux), np.log(WAVE_UM), axis=1)


def test_models_keep_their_law_and_continue_by_the_stated_one(tmp_path):
    archive, folder = as_archive(MODELS, tmp_path / "models.tar.xz"), as_folder(MODELS, tmp_path / "folder")
    starbursts = rt_library.starbursts(archive)
    assert starbursts.ids.tolist() == ["SK06/1kpc/HL/L1010Av018_1.d4.plot", "SK06/3kpc/OB40/L1240Av04.5_7.5d3.plot"]
    tori = rt_library.tori(archive)
    assert tori.ids.tolist() == [f"ct20al0.0be-0.50ta0.1rm60.tot#{angle}" for angle in range(3)]
    for library, planted, end in ((starbursts, [-0.5, 1.0], -3.8), (tori, [0.5, -0.5, -1.5], -4.0)):
        for slope, expected in zip(slopes(library), planted, strict=True):
            np.testing.assert_allclose(slope[INSIDE][1:-1], expected, atol=2e-4)
            np.testing.assert_allclose(slope[WAVE_UM > 2200], end, atol=1e-9)
        bolometric = np.trapezoid(library.flux / WAVE_UM, np.log(WAVE_UM), axis=1)
        np.testing.assert_allclose(bolometric, 1)
    # A folder of the unpacked files is the same library, and so is a folder that holds the archive.
    for source in (folder, tmp_path):
        assert rt_library.starbursts(source).content_hash() == starbursts.content_hash()
        assert rt_library.tori(source).content_hash() == tori.content_hash()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("SK06/new.plot", plot_file(1.0)[:-40], ["new.plot", "wavelengths are not those of"]),
        ("SK06/new.plot", plot_file(1.0).replace(b"3.04e-05", b"-1e-9"), ["new.plot", "flux is negative"]),
        ("SK06/new.plot", plot_file(1.0).replace(b"3.04e-05", b"3.x4e-05"), ["new.plot", "3.x4e-05"]),
        ("SK06/new.plot", b"", ["new.plot", "not a table"]),
        ("fritz/new.tot", tot_file(1.0)[:-60], ["new.tot", "wavelengths are not those of"]),
    ],
)
def test_bad_model_file_is_named(tmp_path, name, content, words):
    archive = as_archive(MODELS | {name: content}, tmp_path / "models.tar.xz")
    with pytest.raises(DataError) as caught:
        (rt_library.tori if name.endswith("tot") else rt_library.starbursts)(archive)
    for word in ["models.tar.xz", *words]:
        assert word in str(caught.value)


def test_damaged_archive_is_refused(tmp_path):
    path = as_archive(MODELS, tmp_path / "models.tar.xz")
    whole, expected = path.read_bytes(), rt_library.starbursts(path).content_hash()

    @given(cut=st.integers(0, len(whole) - 1), flip=st.integers(1, 255))
    @settings(max_examples=30, deadline=None)
    def check(cut, flip):
        for damaged in (whole[:cut], whole[:cut] + bytes([whole[cut] ^ flip]) + whole[cut + 1 :]):
            path.write_bytes(damaged)
            with read_or_refused("models.tar.xz"):  # it may be whole but for the padding at its end
                assert rt_library.starbursts(path).content_hash() == expected

    check()


def test_command_composes_a_library_and_refuses_folders_without_models(companion, tmp_path):
    models = as_folder(MODELS, tmp_path / "models")
    build = ("data", "build", "rt-library", "--output", tmp_path / "mine.h5", "--fritz", models)
    for empty in (tmp_path / "absent", models / "fritz"):
        status, out, err = companion(*build, "--sk07", empty)
        assert (status, "Traceback" in err) == (2, False)
        assert str(empty) in err
    assert not (tmp_path / "mine.h5").exists()


def test_command_writes_what_study_1_reads(companion, emiles, tmp_path):
    models = as_folder(MODELS, tmp_path / "models")
    build = ("data", "build", "rt-library", "--sk07", models, "--fritz", models, "--n", 120, "--seed", 3)
    status, out, _ = companion(*build, "--output", tmp_path / "mine.h5")
    assert status == 0
    assert "120 SEDs" in out
    library = SedLibrary.load(tmp_path / "mine.h5")
    assert companion("data", "check", "01", tmp_path / "mine.h5")[0] == 0
    # Beyond 2200 um each component has its own slope, and light adds up: the fractions come back from the SEDs.
    parts = rt_library.starbursts(models), rt_library.tori(models), rt_library.hosts()
    for i in range(0, 120, 7):
        params = library.params[i]
        names = params["starburst"], params["torus"], f"{params['host_age_gyr']:g}/{params['host_metal']:g}"
        light = np.array([part.flux[part.ids == name][0] for part, name in zip(parts, names, strict=True)])
        weight = 1 / library.flux[i]
        found = np.linalg.lstsq((light * weight).T, np.ones(WAVE_UM.size), rcond=None)[0]
        np.testing.assert_allclose(found, [params["f_SB"], params["f_AGN"], params["f_s"]], atol=1e-5)


@needs_archives
def test_published_composite_is_made_again(emiles):
    """All 10 000 of its SEDs, models and fractions, to the rounding of the numbers it is stored in."""
    ours, published = rt_library.compose(SK07, FRITZ), read_npz_library(RT)
    for name in ("starburst", "torus", "host_age_gyr", "host_metal"):
        np.testing.assert_array_equal(ours.params[name], published.params[name])
    for name in ("f_SB", "f_AGN", "f_s"):
        np.testing.assert_allclose(ours.params[name], published.params[name], atol=1e-7)
    np.testing.assert_allclose(ours.flux, published.flux, rtol=3e-7)
    np.testing.assert_allclose(ours.normalised().flux, ours.flux, rtol=1e-5)
