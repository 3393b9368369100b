"""The cube of Pasquet+ 2019 in all its layouts, and the door by which studies 03 and 04 take a user's files."""

import warnings
import zipfile
from dataclasses import replace

import h5py
import numpy as np
import pytest
from astropy.io import fits
from conftest import read_or_refused
from hypothesis import given, settings
from hypothesis import strategies as st
from test_sdss import write_spec
from test_stamps import write_stamps

from paper_utils.base import paths
from paper_utils.base.containers import Images, Spectra
from paper_utils.base.errors import DataError
from paper_utils.files import pasquet, sdss
from paper_utils.files.pairs import images_and_spectra
from paper_utils.files.user import check_file

CUT_OUTS = paths.ROOT.parent / "shared" / "real_data" / "sdss_cutouts_dl4astro" / "sdss_test_images.npy"
SPECTRA = paths.ROOT.parent / "shared" / "real_data" / "sdss_galaxy_spectra"
MJD = 51602


def spec_obj_id(fiber, plate=266, mjd=MJD, run2d=26):
    """As SDSS packs it since DR8: 14 bits of plate, 12 of fibre, 14 of MJD - 50000, 14 of the reduction, 10 more."""
    return plate << 50 | fiber << 38 | (mjd - 50000) << 24 | run2d << 10


def arrays(n=30, size=16, seed=0):
    """A small cube (n, size, size, 5) of noise with a galaxy in the middle, and labels as published."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    galaxy = np.exp(-(x**2 + y**2) / 8)[..., None] * np.array([1, 4, 8, 11, 13])
    cube = (rng.uniform(0.5, 2, (n, 1, 1, 1)) * galaxy + rng.normal(0, 0.05, (n, size, size, 5))).astype("f4")
    labels = np.zeros(n, [("specObjID", "u8"), ("z", "f4"), ("EBV", "f8"), ("dered_petro_r", "f4"), ("class", "S6")])
    labels["specObjID"] = [spec_obj_id(i + 1) for i in range(n)]
    labels["z"], labels["EBV"], labels["class"] = 0.1, rng.uniform(0, 0.1, n), b"GALAXY"
    labels["dered_petro_r"] = 22.5 - 2.5 * np.log10(cube[..., 2].sum(axis=(1, 2)))
    return cube, labels


def write_cube(folder, layout="npz", cube=None, labels=None):
    if cube is None:
        cube, labels = arrays()
    folder.mkdir(parents=True, exist_ok=True)
    if layout in ("npz", "compressed"):
        path = folder / "sdss.npz"
        (np.savez if layout == "npz" else np.savez_compressed)(path, cube=cube, labels=labels)
    elif layout == "npy":
        path = folder / "cube.npy"
        np.save(path, cube)
        np.save(folder / "labels.npy", labels)
    elif layout == "columns":  # as in the authors' example of 100 galaxies
        path = folder / "data_example.npz"
        columns = {"z": labels["z"][:, None], "ebv": labels["EBV"], "specObjID": labels["specObjID"].astype(str)}
        np.savez(path, data=cube, dered_petro_r=labels["dered_petro_r"], **columns)
    else:
        path = folder / "sdss.h5"
        with h5py.File(path, "w") as file:
            file.create_dataset("cube", data=cube, chunks=(min(7, len(cube)), *cube.shape[1:]), compression="gzip")
            file["labels"] = labels
    return path


@pytest.mark.parametrize("layout", ["npz", "compressed", "npy", "columns", "h5"])
def test_every_layout_gives_the_same_images(tmp_path, layout):
    cube, labels = arrays(n=600)  # more than two blocks
    path = write_cube(tmp_path, layout, cube, labels)
    images = pasquet.read(path)
    assert "".join(images.bands) == "ugriz"
    assert images.pixel_scale == 0.396  # Pasquet+ 2019, Sec. 2: 0.396 arcsec per pixel
    np.testing.assert_array_equal(images.cube, np.moveaxis(cube, -1, 1))
    np.testing.assert_allclose(images.z, 0.1, rtol=1e-6)
    np.testing.assert_array_equal(images.truth["ebv"], labels["EBV"])
    assert images.ids[[0, 599]].tolist() == [f"0266-{MJD}-0001", f"0266-{MJD}-0600"]
    table = pasquet.objects(path)
    np.testing.assert_array_equal(pasquet.read(path, table[[300, 2, 599]]).cube, images.cube[[300, 2, 599]])


@given(
    plate=st.integers(266, 14000), mjd=st.integers(51602, 60000), fiber=st.integers(1, 1000), rest=st.integers(0, 99)
)
def test_spec_obj_ids_are_unpacked(plate, mjd, fiber, rest):
    packed = spec_obj_id(fiber, plate, mjd, run2d=rest)
    assert sdss.unpack(packed) == (plate, mjd, fiber)
    assert sdss.unpack(int(float(packed))) == (plate, mjd, fiber)  # as catalogues in float64 have it


@pytest.mark.skipif(not SPECTRA.is_dir(), reason="SDSS spectra are not here (shared/real_data)")
def test_spec_obj_ids_of_real_files():
    for path in sorted(SPECTRA.glob("spec-*.fits")):
        with fits.open(path) as hdus:
            row = hdus[2].data[0]
            if "SPECOBJID" in hdus[2].columns.names and str(row["SPECOBJID"]).strip():
                found = sdss.unpack(int(row["SPECOBJID"]))
                assert found == (row["PLATE"], row["MJD"], row["FIBERID"])


def test_bad_images_are_masked_counted_or_left_out(tmp_path):
    cube, labels = arrays()
    cube[3, 2, 2, 1] = np.nan
    cube[4, :, :, 0] = np.nan
    cube[5, :, :, 4] = 0
    path = write_cube(tmp_path, "npz", cube, labels)
    with pytest.warns(UserWarning, match="2 of 30 objects left out.*0005: band 'u': .*all NaN"):
        images = pasquet.read(path)
    assert images.truth["bad_pixels"].sum() == images.truth["bad_pixels"][3] == 1
    assert set(images.truth.meta["skipped"]) == {f"0266-{MJD}-0005", f"0266-{MJD}-0006"}
    with pytest.raises(DataError, match="2 of 30 objects cannot be used"):
        pasquet.read(path, max_bad=0.05)


def test_repeats_and_other_units_give_a_warning(tmp_path):
    cube, labels = arrays()
    labels["specObjID"][7] = labels["specObjID"][3]
    path = write_cube(tmp_path, "npz", 100 * cube, labels)
    off = pytest.warns(UserWarning, match=r"\+5\.0 mag off dered_petro_r")  # a factor of 100
    with off, pytest.warns(UserWarning, match="1 of 30 rows repeat an object"):
        images = pasquet.read(path)
    assert len(images) == 29


def change(labels, name, dtype):
    kinds = [(n, dtype if n == name else labels.dtype[n]) for n in labels.dtype.names]
    return labels.astype(kinds)


BAD = {
    "pickles": (lambda c, x: (c, x.astype(object)), "Object arrays cannot be loaded"),
    "pickled cube": (lambda c, x: (c.astype(object), x), "holds object"),
    "bands first": (lambda c, x: (np.moveaxis(c, -1, 1), x), r"shape \(30, 5, 16, 16\), not"),
    "fewer labels": (lambda c, x: (c, x[:-1]), r"label 'specObjID'.*shape \(29,\), for 30 images"),
    "no redshifts": (lambda c, x: (c, x[["specObjID", "EBV"]]), "no redshifts"),
    "float32 ids": (lambda c, x: (c, change(x, "specObjID", "f4")), "float32"),
    "other ids": (lambda c, x: (c, np.where(np.arange(30) == 3, np.zeros_like(x), x)), "row 3.*not a specObjID"),
    "a cube of text": (lambda c, x: (c.astype(str), x), "holds <U"),
    "by column": (lambda c, x: (np.asfortranarray(c), x), "column by column"),
}


@pytest.mark.parametrize("how", BAD)
def test_a_bad_file_is_refused(tmp_path, how):
    spoil, message = BAD[how]
    path = write_cube(tmp_path, "npz", *spoil(*arrays()))
    with pytest.raises(DataError, match=message) as caught:
        pasquet.read(path)
    assert "sdss.npz" in str(caught.value)


def test_files_cut_short_are_refused(tmp_path):
    for layout in ("npz", "compressed", "npy", "h5"):
        path = write_cube(tmp_path / layout, layout)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(DataError, match=path.name):
            pasquet.read(path)
        path.write_bytes(b"")
        with pytest.raises(DataError, match="empty"):
            pasquet.read(path)
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    with pytest.raises(DataError, match=r"no array is called cube, only readme\.txt"):
        pasquet.read(tmp_path / "other.npz")


@given(
    st.sampled_from(["npz", "compressed", "npy", "h5"]),
    st.binary(min_size=1, max_size=60),
    st.floats(0, 1),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_no_bytes_make_anything_but_a_data_error(tmp_path_factory, layout, garbage, where, cut):
    folder = tmp_path_factory.getbasetemp() / f"cube-{layout}"
    path = folder / {"npy": "cube.npy", "h5": "sdss.h5"}.get(layout, "sdss.npz")
    if not folder.is_dir():
        write_cube(folder, layout, *arrays(n=3, size=4))
        (folder / "whole").write_bytes(path.read_bytes())
    whole = (folder / "whole").read_bytes()
    at = int(where * len(whole))
    path.write_bytes(whole[:at] if cut else whole[:at] + garbage + whole[at + len(garbage) :])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with read_or_refused(path.name):
            assert np.isfinite(pasquet.read(path).cube).all()


# The door of studies 03 and 04.


def write_spectra(folder, fibers, z=0.1):
    for fiber in fibers:
        write_spec(folder / f"spec-0266-{MJD}-{fiber:04d}.fits", fiber=fiber, z=z)


def test_images_find_their_spectra(tmp_path):
    cube, labels = arrays(n=20)
    write_cube(tmp_path, "npz", cube, labels)
    write_spectra(tmp_path / "spectra", [*range(20, 3, -1), 77])
    with pytest.warns(UserWarning, match=r"3 of 20 objects left out; 0266-51602-0001: no spectrum"):
        pair = images_and_spectra(tmp_path, "03")
    images, spectra = pair
    assert images.ids.tolist() == spectra.ids.tolist() == [f"0266-{MJD}-{i:04d}" for i in range(4, 21)]
    np.testing.assert_array_equal(images.cube, np.moveaxis(cube[3:], -1, 1))
    assert spectra.truth["fiber"].tolist() == list(range(4, 21))
    assert str(pair).startswith("Images: 17 objects, bands u g r i z")

    images.save(tmp_path / "pair" / "images.h5")
    spectra.select(slice(None, None, -1)).save(tmp_path / "pair" / "spectra.h5")
    for path in (tmp_path / "pair", tmp_path / "pair" / "images.h5"):
        again = images_and_spectra(path, "03")
        assert again.images.content_hash() == images.content_hash()
        assert again.spectra.content_hash() == spectra.content_hash()
    few = images_and_spectra(tmp_path / "pair", "03", max_objects=5)
    assert few.images.ids.tolist() == few.spectra.ids.tolist() == images.ids[[0, 4, 8, 12, 16]].tolist()


def test_what_spoils_a_pair(tmp_path):
    write_cube(tmp_path)
    with pytest.raises(DataError, match="no spectra beside the images"):
        images_and_spectra(tmp_path, "03")
    write_spec(tmp_path / "spectra" / "spec-0001-51602-0001.fits", plate=1)
    with pytest.raises(DataError, match="30 of 30 objects cannot be used; .*: no spectrum. Spectra are found by"):
        images_and_spectra(tmp_path, "03")
    write_spectra(tmp_path / "spectra", range(1, 31))
    write_spectra(tmp_path / "spectra", [2], z=0.3)
    with pytest.warns(UserWarning, match="1 of 30 objects left out; .*0002: redshift 0.1000 beside 0.3000"):
        assert len(images_and_spectra(tmp_path, "03").spectra) == 29
    write_spectra(tmp_path / "spectra", range(2, 9), z=0.3)
    with pytest.raises(DataError, match="7 of 30 objects cannot be used; .*redshift 0.1000 beside 0.3000"):
        images_and_spectra(tmp_path, "03")
    write_spectra(tmp_path / "spectra", range(1, 31))
    (tmp_path / "spectra" / f"spec-0266-{MJD}-0005.fits").write_bytes(b"")
    with pytest.warns(UserWarning, match="1 of 30 files left out"):
        assert len(images_and_spectra(tmp_path, "03").spectra) == 29
    for fiber in range(6, 12):
        (tmp_path / "spectra" / f"spec-0266-{MJD}-{fiber:04d}.fits").write_bytes(b"")
    with pytest.raises(DataError, match="7 of 30 files cannot be used"):
        images_and_spectra(tmp_path, "03")
    with pytest.raises(DataError, match="no such file or folder"):
        images_and_spectra(tmp_path / "nowhere", "03")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(DataError, match="neither a folder nor a file of images"):
        images_and_spectra(tmp_path / "notes.txt", "03")


def test_stamps_with_latents_or_spectra(tmp_path):
    latents = np.random.default_rng(0).normal(size=(12, 6)).round(3)
    columns = {f"s_{k + 1}": latents[:, k] for k in range(6)}
    folder = write_stamps(tmp_path / "latents", **columns)
    pair = images_and_spectra(folder, "04", max_objects=4)
    assert pair.spectra is None
    np.testing.assert_array_equal(pair.images.truth["latents"], latents[[0, 3, 7, 11]])
    assert str(pair).endswith("; 6 latents")
    with pytest.raises(DataError, match="no spectra beside the images"):
        images_and_spectra(folder, "03")
    with pytest.raises(DataError, match="neither spectra nor, in the table of objects, latents"):
        images_and_spectra(write_stamps(tmp_path / "nothing"), "04")

    folder = write_stamps(tmp_path / "spectra", plate=266, mjd=MJD, fiber=np.arange(12) + 1)
    write_spectra(folder / "spectra", range(1, 13))
    images, spectra = images_and_spectra(folder, "04")
    assert images.ids.tolist() == spectra.ids.tolist() == [f"o{i}" for i in range(12)]
    assert spectra.truth["fiber"].tolist() == list(range(1, 13))
    # Redshifts may come from the spectra alone.
    table = (folder / "objects.csv").read_text().replace("id,z,", "id,zz,")
    (folder / "objects.csv").write_text(table)
    np.testing.assert_allclose(images_and_spectra(folder, "04").images.z, 0.1, rtol=1e-6)


def test_a_file_of_images_brings_its_latents(tmp_path):
    n = 120
    truth = {"latent_2": np.ones(n), "latent_1": np.arange(n) * 1.0, "log_mass": np.full(n, 10.5)}
    cube = np.random.default_rng(0).normal(size=(n, 5, 8, 8))
    images = Images(cube, list("grizy"), 0.25, np.full(n, 0.1), [f"g{i}" for i in range(n)], truth=truth)
    path = images.save(tmp_path / "images.h5")
    for given_path in (path, tmp_path):
        pair = check_file("04", given_path)
        assert pair.images.truth["latents"].tolist() == [[i, 1.0] for i in range(n)]
        assert "log_mass" in pair.images.truth.colnames
    few = images.select(slice(99)).save(tmp_path / "few" / "images.h5")
    with pytest.raises(DataError, match="99 objects are too few"):
        check_file("04", few)
    spectra = Spectra(np.arange(4000.0, 4010), *np.ones((2, n, 10)), images.z, images.ids)
    spectra.save(tmp_path / "x" / "images.h5")
    with pytest.raises(DataError, match="the file holds Spectra, not Images"):
        check_file("04", tmp_path / "x")
    with pytest.raises(DataError, match="neither spectra nor"):
        check_file("04", replace(images, truth=None).save(tmp_path / "bare" / "images.h5"))


@pytest.mark.skipif(not CUT_OUTS.is_file(), reason="SDSS cut-outs are not here (shared/real_data)")
def test_real_cut_outs(tmp_path):
    """Real ugriz stamps (in magnitudes, bands first), brought into the published layout by hand."""
    flux = 10 ** (0.4 * (22.5 - np.load(CUT_OUTS).astype(float)))
    labels = arrays(n=len(flux))[1][["specObjID", "z"]]
    images = pasquet.read(write_cube(tmp_path, "npz", np.moveaxis(flux, 1, -1), labels))
    assert images.cube.shape == (20, 5, 48, 48)
    np.testing.assert_allclose(images.cube, flux, rtol=1e-6)
    with pytest.raises(DataError, match=r"shape \(20, 5, 48, 48\), not"):
        pasquet.read(write_cube(tmp_path / "first", "npz", flux, labels))
