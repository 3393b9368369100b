"""FITS stamps as `Images`: nanomaggies, holes filled, bad stamps named; Pan-STARRS's service on the loopback."""

import time
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from conftest import Loopback, read_or_refused, serving
from hypothesis import given, settings
from hypothesis import strategies as st

from paper_utils.base.errors import DataError
from paper_utils.files import fits_images, objects, panstarrs, stamps
from paper_utils.files.fits_images import ASINH
from paper_utils.sky import artefacts, cameras, galaxies
from paper_utils.sky import images as sky_images

RA, DEC, SIZE = 150.0, 2.0, 24


def galaxy(flux=100.0, width=3.0, size=SIZE):
    """A round Gaussian galaxy of `flux` in all on size x size pixels; no pixel is like another but by symmetry."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    image = np.exp(-(x**2 + y**2) / (2 * width**2))
    return flux * image / (2 * np.pi * width**2)


def header_of(band="g", *, ra=RA, dec=DEC, size=SIZE, scale=0.25, **more):
    """The header of a stack of Pan-STARRS1, its world coordinates in the old style of keywords."""
    cards = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": ra, "CRVAL2": dec, "RADESYS": "FK5"}
    cards |= {"CRPIX1": (size + 1) / 2, "CRPIX2": (size + 1) / 2, "CDELT1": scale / 3600, "CDELT2": scale / 3600}
    cards |= {"PC001001": -1.0, "PC001002": 0.0, "PC002001": 0.0, "PC002002": 1.0}
    cards |= {"EXPTIME": 600.0, "HIERARCH FPA.ZP": 25.0, "HIERARCH FPA.FILTER": f"{band}.00000"}
    header = fits.Header(cards)
    for name, value in more.items():
        if value is None:
            for key in [key for key in header if key.startswith(name)]:
                del header[key]
        else:
            header[name] = value
    return header


COUNTS = 10 ** (0.4 * (25 + 2.5 * np.log10(600) - 22.5))  # per nanomaggy, at Pan-STARRS1's zero point


def write_stamps(folder, n=12, bands="grizy", table=True, **columns):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        for band in bands:
            write(folder / f"o{i}_{band}.fits", galaxy(100.0 + i) * COUNTS, header_of(band, ra=RA + i))
    if table:
        rows = {
            "id": [f"o{i}" for i in range(n)],
            "z": np.full(n, 0.1),
            "ra": RA + np.arange(n),
            "dec": np.full(n, DEC),
        } | columns
        rows |= {name: np.broadcast_to(value, n) for name, value in rows.items()}
        Table(rows).write(folder / "objects.csv", overwrite=True)
    return folder


def write(path, data, header):
    fits.PrimaryHDU(np.asarray(data, np.float32), header).writeto(path, overwrite=True)
    return path


def test_fluxes_are_the_suns_nanomaggies(tmp_path):
    images = stamps.read(write_stamps(tmp_path, s_1=np.arange(12.0), s_2=1.0, plate=266, mjd=51602, fiber=1))
    assert "".join(images.bands) == "grizy"
    assert images.pixel_scale == pytest.approx(0.25, rel=1e-6)
    # A galaxy of AB magnitude 22.5 - 2.5 log10(100 + i) in every band.
    inside = galaxy(1.0).sum()
    np.testing.assert_allclose(
        images.cube.sum(axis=(2, 3)), np.tile((100 + np.arange(12.0))[:, None], 5) * inside, 1e-5
    )
    assert images.truth["latents"].tolist() == [[i, 1.0] for i in range(12)]
    assert (images.truth["bad_pixels"] == 0).all()
    assert images.truth["spectrum"][3] == "0266-51602-0001"
    assert images.ids.tolist() == [f"o{i}" for i in range(12)]
    parallel = stamps.read(tmp_path, n_jobs=2)
    assert parallel.content_hash() == images.content_hash()


@pytest.mark.parametrize(
    ("keys", "factor"),
    [
        ({"BUNIT": "nanomaggy"}, 1.0),
        ({"BUNIT": "nmgy", "HIERARCH FPA.ZP": 25.0, "EXPTIME": 600.0}, 1.0),  # what is said outright goes first
        ({"BUNIT": "uJy"}, 1 / 3.631),  # AB: 0 mag is 3631 Jy, 1 nmgy 3.631 uJy
        ({"BUNIT": "Jy"}, 1e6 / 3.631),
        ({"NMGY": 0.005}, 0.005),
        ({"HIERARCH FPA.ZP": 25.0, "EXPTIME": 1000.0}, 10 ** (-0.4 * (32.5 - 22.5))),
        ({"MAGZERO": 30.0}, 1e-3),
        ({"BUNIT": "adu", "MAGZPT": 22.5}, 1.0),
    ],
)
def test_units(keys, factor):
    assert fits_images.factor(fits.Header(keys)) == pytest.approx(factor, rel=1e-6)
    assert fits_images.factor(fits.Header(keys), zero_point=25.0) == pytest.approx(0.1)


def test_no_unit_is_refused():
    for keys in ({}, {"BUNIT": "adu"}, {"BUNIT": "furlong/fortnight"}, {"HIERARCH FPA.ZP": 25.0}, {"MAGZERO": "n/a"}):
        with pytest.raises(DataError, match="zero_point"):
            fits_images.factor(fits.Header(keys))


@given(flux=st.floats(-1e4, 1e6), soft=st.floats(1, 1e3), offset=st.floats(-100, 100))
def test_pseudo_magnitudes_become_linear(flux, soft, offset):
    """The archive's compression is v = a asinh((L - BOFFSET) / (2 BSOFTEN)), a = 2.5 log10(e)."""
    value = ASINH * np.arcsinh((flux - offset) / (2 * soft))
    found = fits_images.linear(np.array([value]), fits.Header({"BSOFTEN": soft, "BOFFSET": offset}))
    np.testing.assert_allclose(found, flux, rtol=1e-5, atol=1e-3)
    assert fits_images.linear(np.array([value]), fits.Header())[0] == value


def test_stacks_and_cut_outs_give_the_same_image(tmp_path):
    write_stamps(tmp_path, n=2, bands="g")
    soft, offset = 200.0, 7.0
    stored = ASINH * np.arcsinh((galaxy(100.0) * COUNTS - offset) / (2 * soft))
    write(tmp_path / "o0_g.fits", stored, header_of(ra=RA, BSOFTEN=soft, BOFFSET=offset))
    write(tmp_path / "o1_g.fits", galaxy(100.0) * COUNTS, header_of(ra=RA + 1))
    a, b = stamps.read(tmp_path).cube
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["hdus", "cube"])
def test_one_file_per_object(tmp_path, kind):
    folder = write_stamps(tmp_path / "bands", n=3)
    apart = stamps.read(folder)
    together = tmp_path / "objects"
    together.mkdir()
    for i in range(3):
        data = [galaxy(100.0 + i) * COUNTS] * 5
        if kind == "hdus":
            hdus = [fits.ImageHDU(d.astype("f4"), header_of(b, ra=RA + i)) for d, b in zip(data, "yzirg", strict=True)]
            hdus.append(fits.ImageHDU(np.ones((SIZE, SIZE)), name="MASK"))
            fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(together / f"o{i}.fits")
        else:
            write(together / f"o{i}.fits", data, header_of(None, ra=RA + i, BANDS="g,r,i,z,y"))
    (together / "objects.csv").write_bytes((folder / "objects.csv").read_bytes())
    images = stamps.read(together)
    np.testing.assert_array_equal(images.bands, apart.bands)
    np.testing.assert_allclose(images.cube, apart.cube)
    np.testing.assert_allclose(images.pixel_scale, apart.pixel_scale)


def test_artefacts_of_mock_stamps_are_flagged(tmp_path, ssps, monkeypatch):
    for name in artefacts.KINDS:
        monkeypatch.setitem(artefacts.KINDS, name, 0.2)
    n = 150
    mock = sky_images.images(galaxies.draw(n, 8, (0.03, 0.25)), ssps, cameras.SDSS, seed=1)
    kind = np.asarray(mock.truth["artefact"])
    for i, cube in enumerate(mock.cube):
        if kind[i] == "missing corner" and i % 2:  # as some surveys mark it
            cube[cube == 0] = np.nan
        keys = {"BANDS": "u,g,r,i,z", "BUNIT": "nanomaggy", "ra": RA + i, "size": 64, "scale": 0.396}
        write(tmp_path / f"o{i}.fits", cube, header_of(None, **keys))
    rows = {"id": [f"o{i}" for i in range(n)], "z": mock.z, "ra": RA + np.arange(n), "dec": np.full(n, DEC)}
    Table(rows).write(tmp_path / "objects.csv")
    images = stamps.read(tmp_path)
    flag, filled = np.asarray(images.truth["flag"]), np.asarray(images.truth["bad_pixels"])
    assert (flag[kind == "missing corner"] == "missing").all()
    assert (filled[kind == "missing corner"] > 100).all()
    assert (filled[kind != "missing corner"] == 0).all()
    assert (flag[kind == "none"] == "").all()
    assert (flag[kind == "bleed trail"] == "trail").mean() > 0.9
    assert (flag[kind == "satellite"] == "trail").mean() > 0.75  # those that only cut a corner are not looked for
    # Without artefacts what was written is what is read.
    np.testing.assert_array_equal(images.cube[kind == "none"], mock.cube[kind == "none"])


def test_holes_are_filled_from_their_neighbours():
    whole = np.stack([galaxy(100.0), galaxy(50.0)])
    holed = whole.copy()
    holed[0, 11:13, 11:13] = np.nan  # the core
    holed[1, 3, 4], holed[1, 0, 0] = np.inf, -np.inf
    filled, n = stamps.fill(holed)
    assert n == 6
    np.testing.assert_array_equal(filled[np.isfinite(holed)], holed[np.isfinite(holed)].astype(np.float32))
    core = filled[0, 11:13, 11:13] / whole[0, 11:13, 11:13]
    assert ((core > 0.7) & (core < 1)).all()  # lower than the peak, as any mean of neighbours; 0 without filling
    assert abs(filled[1, 3, 4] - whole[1, 3, 4]) < 0.05 * whole[1].max()
    # A hole too wide to see across takes the band's median, here the sky.
    sky = np.random.default_rng(0).normal(0, 1, (1, 64, 64)) + 10
    sky[0, 10:35, 10:35] = np.nan
    assert stamps.fill(sky)[0][0, 22, 22] == pytest.approx(10, abs=0.1)


SPOILT = {
    "no WCS": (lambda d, h: (d, header_of(CTYPE=None, CRVAL=None)), ["no WCS", "pixel_scale"]),
    "WCS of zeros": (lambda d, h: (d, header_of(CDELT1=0.0)), ["WCS"]),
    "oblong pixels": (lambda d, h: (d, header_of(CDELT1=0.3 / 3600)), ["0.3 x 0.25 arcsec"]),
    "another scale": (lambda d, h: (d, header_of(scale=0.396)), ["0.25 and 0.396 arcsec"]),
    "elsewhere": (lambda d, h: (d, header_of(ra=RA + 0.01)), ["pixels apart"]),
    "turned": (lambda d, h: (d, header_of(PC001001=1.0)), ["pixels apart"]),
    "another shape": (lambda d, h: (d[:-1], h), ["(23, 24) pixels, other bands have (24, 24)"]),
    "all NaN": (lambda d, h: (d * np.nan, h), ["all NaN"]),
    "half NaN": (lambda d, h: (np.where(np.arange(SIZE) < 12, np.nan, d), h), ["50% of the pixels are bad"]),
    "flat": (lambda d, h: (d * 0, h), ["every pixel is 0"]),
    "no unit": (lambda d, h: (d, header_of(EXPTIME=None)), ["no unit of flux"]),
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_bad_stamp_is_named_and_left_out(tmp_path, how):
    """With the others' count if it is one of few; an error if of many."""
    spoil, message = SPOILT[how]
    write_stamps(tmp_path)
    write(tmp_path / "o0_i.fits", *spoil(galaxy(100.0) * COUNTS, header_of("i")))
    with pytest.warns(UserWarning, match="1 of 12 objects left out") as caught:
        images = stamps.read(tmp_path)
    for word in ["o0_i.fits", *message]:
        assert word in str(caught[0].message)
    assert len(images) == 11
    assert list(images.truth.meta["skipped"]) == ["o0"]
    with pytest.raises(DataError, match=r"1 of 12 objects cannot be used.*o0_i\.fits"):
        stamps.read(tmp_path, max_bad=0.0)


def test_cut_files_missing_bands_and_other_sizes(tmp_path):
    write_stamps(tmp_path, n=40)
    whole = (tmp_path / "o0_g.fits").read_bytes()
    (tmp_path / "o0_g.fits").write_bytes(whole[:4000])
    (tmp_path / "o1_r.fits").unlink()
    for band in "grizy":
        write(tmp_path / f"o2_{band}.fits", galaxy(size=32), header_of(band, ra=RA + 2, size=32))
        write(tmp_path / f"o3_{band}.fits", galaxy(), header_of(band, ra=RA + 3, scale=0.396))
    with pytest.warns(UserWarning, match="4 of 40 objects left out"):
        images = stamps.read(tmp_path)
    skipped = images.truth.meta["skipped"]
    assert "not a whole FITS file" in skipped["o0"]
    assert "no image in band 'r'" in skipped["o1"]
    assert "(32, 32) pixels, most have (24, 24)" in skipped["o2"]
    assert "0.396 arcsec, most have 0.25" in skipped["o3"]
    for i in range(4, 9):
        (tmp_path / f"o{i}_g.fits").write_bytes(whole[:4000])
    with pytest.raises(DataError, match="9 of 40 objects cannot be used"):
        stamps.read(tmp_path)


def test_the_table_says_what_headers_lack(tmp_path):
    write_stamps(tmp_path, n=3, bands="g", zero_point=22.5, pixel_scale=0.3)
    for i in range(3):
        write(tmp_path / f"o{i}_g.fits", galaxy(100.0), fits.Header())
    images = stamps.read(tmp_path)
    assert images.pixel_scale == 0.3
    np.testing.assert_allclose(images.cube[0, 0], galaxy(100.0), rtol=1e-6)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("z\n0.1\n", "no column of ids"),
        ("id,z\no0,0.1\no0,0.2\n", "row 2.*'o0' stands in row 1 already"),
        ("id,z\na/b,0.1\n", "row 1.*'a/b'"),
        ("id,z\n,0.1\n", "row 1.*called ''"),
        ("id,z\no0,high\n", "row 1.*'z'"),
        ("id,redshift_of_it\no0,0.1\n", "no column of redshifts"),
        ("id,z\nx,0.1\n", "no stamps of the 1 objects"),
        ("id,z\no0,-9999\n", "redshift is -9999"),
        ("id,z,s_1\no0,0.1,\n", "no latents"),
        ("id,z,ra,dec\no0,0.1,10,10\n", "is not in it"),
        ("", "empty"),
    ],
)
def test_a_bad_table_is_refused(tmp_path, table, message):
    write_stamps(tmp_path, n=1, bands="g", table=False)
    (tmp_path / "objects.csv").write_text(table)
    with pytest.raises(DataError, match=message):
        stamps.read(tmp_path)


def test_tables_are_found_and_their_columns_too(tmp_path):
    with pytest.raises(DataError, match="0 tables of objects"):
        objects.find(tmp_path)
    (tmp_path / "a.csv").write_text("objid;redshift;Latent_2;latent_1;specObjID\n7;0.1;2;1;299489677444933632\n")
    table = objects.read(objects.find(tmp_path))
    assert table["latents"].tolist() == [[1.0, 2.0]]
    # 299489677444933632 = 266 << 50 | 1 << 38 | (51630 - 50000) << 24 | 26 << 10
    assert (table["id"][0], table["z"][0], table["spectrum"][0]) == ("7", 0.1, "0266-51630-0001")
    (tmp_path / "b.csv").write_text("id,z\n")
    with pytest.raises(DataError, match="2 tables of objects"):
        objects.find(tmp_path)
    Table({"id": [5], "z": [0.2], "latents": [[1.0, 2.0, 3.0]]}).write(tmp_path / "objects.fits")
    table = objects.read(objects.find(tmp_path))
    assert (table["id"][0], table["latents"].shape) == ("5", (1, 3))


@given(st.binary(max_size=300), st.integers(0, 6000), st.booleans())
@settings(max_examples=60, deadline=None)
def test_no_bytes_make_anything_but_a_data_error(tmp_path_factory, garbage, at, cut):
    """A stamp overwritten with anything anywhere, or cut anywhere, is read or refused by name."""
    folder = tmp_path_factory.getbasetemp() / "spoilt"
    if not folder.is_dir():
        write_stamps(folder, n=1, bands="g")
        (folder / "whole").write_bytes((folder / "o0_g.fits").read_bytes())
    whole = (folder / "whole").read_bytes()
    spoilt = whole[:at] if cut else whole[:at] + garbage + whole[at + len(garbage) :]
    (folder / "o0_g.fits").write_bytes(spoilt)
    with read_or_refused("o0", "pixel_scale"):  # which is judged for all stamps together
        assert np.isfinite(stamps.read(folder).cube).all()


@given(st.binary(max_size=400))
@settings(max_examples=60, deadline=None)
def test_no_bytes_make_a_table_anything_but_a_data_error(tmp_path_factory, garbage):
    path = tmp_path_factory.getbasetemp() / "objects.csv"
    for content in (garbage, b"id,z,s_1\n" + garbage):
        path.write_bytes(content)
        with read_or_refused(path.name):
            assert len(objects.read(path))


class Service(Loopback):
    """Pan-STARRS's two services on the loopback, for objects at RA, RA + 1 ...; others are outside the survey."""

    def __init__(self, n):
        super().__init__()
        self.n, self.troubles = n, {}  # {part of an address: answers to give first}

    def answer(self, path, headers):
        with self.lock:
            trouble = next((t for part, t in self.troubles.items() if part in path and t), None)
            if trouble:
                return trouble.pop(0)
        return 200, self.content(path), {}

    def content(self, path):
        parts, query = urlsplit(path), parse_qs(urlsplit(path).query)
        ra, dec = float(query["ra"][0]), float(query["dec"][0])
        i = round(ra - RA)
        if parts.path == "/cgi-bin/ps1filenames.py":
            assert query["type"] == ["stack"]
            lines = ["projcell subcell ra dec filter mjd type filename shortname badflag"]
            if 0 <= i < self.n and dec > -30:
                for band in query["filters"][0]:
                    name = f"/rings.v3.skycell/1263/{i:03d}/rings.v3.skycell.1263.{i:03d}.stk.{band}.unconv.fits"
                    lines.append(f"1263 {i} {ra} {dec} {band} 0.0 stack {name} {name.rpartition('/')[2]} 0")
            return ("\n".join(lines) + "\n").encode()
        assert parts.path == "/cgi-bin/fitscut.cgi"
        assert query["format"] == ["fits"]
        size, name = int(query["size"][0]), query["red"][0]
        data = (galaxy(100.0 + i, size=size) * COUNTS).astype(">f4")
        data[0, 0] = np.nan
        header = header_of(name.split(".stk.")[1][0], ra=ra, dec=dec, size=size)
        return b"".join(
            part.tobytes() if hasattr(part, "tobytes") else part
            for part in (fits.PrimaryHDU(data, header).header.tostring().encode(), data, bytes(-data.nbytes % 2880))
        )


@pytest.fixture
def service():
    with serving(Service(6)) as server:
        yield server


AT_ONCE = {"Retry-After": "0"}
FAST = {"wait_s": 0.01, "progress": False, "timeout_s": 5, "per_second": 2000.0, "size": SIZE}


def sample(n, **columns):
    rows = {"id": [f"o{i}" for i in range(n)], "ra": RA + np.arange(n), "dec": np.full(n, DEC), "z": np.full(n, 0.1)}
    return Table(rows | columns)


def test_stamps_come_whole_once_and_as_images(service, tmp_path):
    latents = np.arange(12.0).reshape(6, 2)
    table = tmp_path / "mine.csv"
    sample(6, s_1=latents[:, 0], s_2=latents[:, 1]).write(table)
    folder = panstarrs.get(table, tmp_path / "ps1", base=service.base, n_parallel=3, **FAST)
    assert len(service.asked) == 6 + 30
    assert service.most_active <= 3
    images = stamps.read(folder)
    assert "".join(images.bands) == "grizy"
    np.testing.assert_allclose(images.cube[:, 0, 12, 12], [galaxy(100.0 + i)[12, 12] for i in range(6)], rtol=1e-5)
    assert (images.truth["bad_pixels"] == 5).all()
    np.testing.assert_array_equal(images.truth["latents"], latents)

    (folder / "stamps" / "o3_i.fits").unlink()
    spoilt = folder / "stamps" / "o4_y.fits"
    spoilt.write_bytes(spoilt.read_bytes()[:3000])
    panstarrs.get(table, folder, base=service.base, **FAST)
    assert len(service.asked) == 36 + 2
    panstarrs.get(table, folder, base=service.base, **FAST | {"size": 16})  # another size is another stamp
    assert len(service.asked) == 38 + 30
    assert stamps.read(folder).cube.shape == (6, 5, 16, 16)


def test_another_object_of_the_same_name_is_refused(service, tmp_path):
    """Stamps are called by the object: what is there would be taken for the other's."""
    panstarrs.get(sample(3), tmp_path, base=service.base, **FAST)
    moved = sample(3)
    moved["dec"][1] += 2 / 3600
    with pytest.raises(DataError, match="object o1 lies elsewhere"):
        panstarrs.get(moved, tmp_path, base=service.base, **FAST)
    moved["dec"][1] -= 1.5 / 3600  # half an arcsec is the same galaxy
    panstarrs.get(moved, tmp_path, base=service.base, **FAST)
    assert len(service.asked) == 3 + 15


def test_requests_to_the_service_are_paced(service, tmp_path):
    began = time.monotonic()
    panstarrs.get(sample(2), tmp_path, base=service.base, **FAST | {"per_second": 20.0})
    assert len(service.asked) == 12
    # 2 listings, then 10 stamps: one pause of 50 ms and nine.
    assert time.monotonic() - began > 0.5


def test_a_troubled_service_is_asked_again(service, tmp_path):
    service.troubles = {
        "filenames.py?ra=150": [(503, b"", AT_ONCE), (200, b"<html>busy</html>", {})],
        ".stk.g.": [(500, b"", AT_ONCE), (200, b"SIMPLE  =", {"Content-Length": "2880"})],  # it breaks off
        ".stk.y.": [(429, b"", AT_ONCE)],
    }
    folder = panstarrs.get(sample(2), tmp_path, base=service.base, **FAST)
    assert len(stamps.read(folder)) == 2
    assert len(service.asked) == 12 + 5


def test_what_cannot_be_had_is_counted(service, tmp_path):
    table = sample(8)
    with pytest.warns(UserWarning, match=r"2 of 8 objects are not in the survey \(o6"):
        folder = panstarrs.get(table, tmp_path, base=service.base, **FAST)
    assert len(stamps.read(folder)) == 6
    with pytest.raises(DataError, match="none of 1 objects is in the survey"):
        panstarrs.get(table[7:], tmp_path / "b", base=service.base, **FAST)
    service.troubles = {"1263.002.stk.r": [(500, b"", AT_ONCE)] * 9}
    with pytest.raises(DataError, match="1 of 30 files could not be fetched"):
        panstarrs.get(table[:6], tmp_path / "c", base=service.base, n_tries=2, **FAST)
    assert len(list((tmp_path / "c" / "stamps").iterdir())) == 29
    for change, message in ({"ra": 400.0}, "position is 400"), ({"dec": np.nan}, "nan"), ({"id": "a/"}, "'a/'"):
        bad = sample(1)
        for name, value in change.items():
            bad[name] = value
        with pytest.raises(DataError, match=message):
            panstarrs.get(bad, tmp_path / "d", base=service.base, **FAST)
