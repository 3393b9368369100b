"""Containers: what goes in comes out, splits are honest, and no bad file gets past."""

import re
import tempfile
from dataclasses import fields, replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, Table
from hypothesis import given, settings
from hypothesis import strategies as st

from paper_utils.base import paths, storage
from paper_utils.base.containers import N_WAVE, WAVE_OBS, WAVE_UM, Catalogue, Images, Photometry, SedLibrary, Spectra
from paper_utils.base.errors import DataError
from paper_utils.files.user import check_file

# Text that an id or a column may hold: anything printable, from any alphabet.
texts = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=12)


def sed_library(n=6, seed=0, ids=None, dtype="f8", params=None) -> SedLibrary:
    flux = np.exp(np.random.default_rng(seed).normal(size=(n, N_WAVE))).astype(dtype)
    return SedLibrary(wave_um=WAVE_UM, flux=flux, ids=ids or [f"g{i:03d}" for i in range(n)], params=params)


def spectra(n=5, seed=0, ids=None, dtype="f4", truth=None) -> Spectra:
    rng = np.random.default_rng(seed)
    flux, ivar = rng.normal(size=(2, n, 30)).astype(dtype)
    wave_obs, z = np.linspace(3800, 9200, 30), rng.uniform(0, 0.3, n)
    return Spectra(wave_obs, flux, ivar**2, z, ids or [f"s{i}" for i in range(n)], truth=truth)


def images(n=4, seed=0, ids=None, dtype="f4", truth=None) -> Images:
    rng = np.random.default_rng(seed)
    cube, z = rng.normal(size=(n, 5, 8, 6)).astype(dtype), rng.uniform(0, 0.3, n)
    return Images(cube, list("ugriz"), 0.396, z, ids or [f"i{i}" for i in range(n)], truth)


def catalogue(n=7, seed=0, ids=None, dtype="f8", truth=None) -> Catalogue:
    mag = np.random.default_rng(seed).uniform(15, 25, (2, n)).astype(dtype)
    table = Table({"F365W": mag[0] * u.mag, "Ks": mag[1] * u.mag, "Satur_Flag": np.arange(n) % 2})
    return Catalogue(table, ["F365W", "Ks"], ids or [f"c{i}" for i in range(n)], truth)


BUILDERS = [sed_library, spectra, images, catalogue]


@st.composite
def containers(draw, build):
    ids = draw(st.lists(texts, min_size=1, max_size=6, unique=True))
    n = len(ids)
    numbers = st.floats(width=32, allow_nan=True, allow_infinity=True)
    table = Table(
        {
            draw(texts.filter(lambda t: "/" not in t and t not in (".", "nr"))): np.array(
                draw(st.lists(numbers, min_size=n, max_size=n)), draw(st.sampled_from(["f4", "f8"]))
            ),
            "nr": draw(st.lists(st.integers(-(2**62), 2**62), min_size=n, max_size=n)),
        }
    )
    table["class of it"] = draw(st.lists(texts | st.just(""), min_size=n, max_size=n))
    table["vector"] = np.arange(3.0 * n).reshape(n, 3)
    table["nr"].unit = draw(st.sampled_from([None, u.Msun, u.um, u.erg / u.s / u.cm**2]))
    extra = draw(st.none() | st.just(table))
    made = build(n, draw(st.integers(0, 99)), ids, draw(st.sampled_from(["f4", "f8", ">f4"])))
    return replace(made, **{fields(made)[-1].name: extra})


def assert_same(a, b):
    for field in fields(a):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if isinstance(x, Table):
            assert x.colnames == y.colnames
            for name in x.colnames:
                assert x[name].unit == y[name].unit
                assert x[name].dtype.kind == y[name].dtype.kind
                np.testing.assert_array_equal(np.asarray(x[name]), np.asarray(y[name]))
        elif x is None:
            assert y is None
        else:
            assert x.dtype.kind == y.dtype.kind
            assert x.dtype.kind == "U" or x.dtype == y.dtype
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("build", BUILDERS)
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_saved_and_loaded_is_the_same(build, data):
    made = data.draw(containers(build))
    with tempfile.TemporaryDirectory() as folder:
        path = made.save(Path(folder, "file.h5"))
        loaded = type(made).load(path)
        assert [file.name for file in Path(folder).iterdir()] == [path.name]
    assert_same(made, loaded)
    assert loaded.content_hash() == made.content_hash()
    assert str(len(made)) in str(loaded)


@pytest.mark.parametrize("build", BUILDERS)
def test_hash_tells_contents_apart(build):
    made = build(4)
    assert made.content_hash() == build(4).content_hash()
    others = [build(4, seed=1), made.select([1, 0, 2, 3]), replace(made, ids=["a", "b", "c", "d"]), build(3)]
    assert len({made.content_hash(), *(other.content_hash() for other in others)}) == 5


@given(n=st.integers(2, 60), seed=st.integers(0, 2**32), shuffle=st.integers(0, 999), parts=st.integers(2, 4))
@settings(deadline=None)
def test_split_is_disjoint_complete_and_blind_to_row_order(n, seed, shuffle, parts):
    made = spectra(max(n, 2 * parts))
    fractions = (1 / parts,) * parts
    split = made.split(seed, fractions)
    ids = np.concatenate([part.ids for part in split])
    assert sorted(ids) == sorted(made.ids)
    assert [len(part) for part in split] == pytest.approx([len(made) / parts] * parts, abs=1)
    shuffled = made.select(np.random.default_rng(shuffle).permutation(len(made)))
    for part, other in zip(split, shuffled.split(seed, fractions), strict=True):
        assert_same(part, other)
        assert part.ids.tolist() == sorted(part.ids)
        # Each row still is the object that its id names.
        row = {name: i for i, name in enumerate(made.ids)}
        np.testing.assert_array_equal(part.flux, made.flux[[row[name] for name in part.ids]])


def test_split_depends_on_the_seed_and_has_the_size_asked():
    made = sed_library(200)
    tests = {frozenset(made.split(seed)[1].ids) for seed in range(20)}
    assert len(tests) == 20
    assert {len(test) for test in tests} == {20}


def test_published_split_is_honoured():
    params = Table({"split": ["test", "train", "train", "test", "train", "train"]})
    train, test = sed_library(6, params=params).split(seed=5)
    assert test.ids.tolist() == ["g000", "g003"]
    assert train.ids.tolist() == ["g001", "g002", "g004", "g005"]
    assert [len(part) for part in sed_library(6, params=params).split(5, (0.5, 0.3, 0.2))] == [3, 2, 1]
    params["split"] = ["test", "train", "Train", "test", "train", "train"]
    with pytest.raises(DataError, match=r"g002.*row 2.*'Train'"):
        sed_library(6, params=params).split(5)


def test_split_that_leaves_a_part_empty_is_refused():
    with pytest.raises(DataError, match="empty"):
        spectra(3).split(0)
    with pytest.raises(ValueError, match="sum to 1"):
        spectra(30).split(0, (0.9, 0.2))


def test_select_keeps_rows_together():
    made = sed_library(5, params=Table({"tau_v": np.arange(5.0) * u.one}))
    for index in ([3, 1], np.array([False, True, False, True, False]), slice(1, 4, 2)):
        chosen = made.select(index)
        np.testing.assert_array_equal(chosen.flux, made.flux[index])
        np.testing.assert_array_equal(chosen.params["tau_v"], np.arange(5.0)[index])
        assert chosen.ids.tolist() == np.array(made.ids)[index].tolist()


def test_normalised_library_has_unit_bolometric_luminosity():
    slope = 1.5
    made = replace(sed_library(3), flux=np.outer([1, 10, 1e-9], WAVE_UM**slope)).normalised()
    # F_nu = c lambda^a: the integral of F_nu / lambda dln(lambda) is c (l2^(a-1) - l1^(a-1)) / (a - 1).
    c = (slope - 1) / (12000 ** (slope - 1) - 0.03 ** (slope - 1))
    np.testing.assert_allclose(made.flux, np.tile(c * WAVE_UM**slope, (3, 1)), rtol=1e-3)


def entry(name, index, value):
    """A change of one entry of one array."""

    def change(made):
        array = getattr(made, name).copy()
        array[index] = value
        return replace(made, **{name: array})

    return change


def with_(**changes):
    return lambda made: replace(made, **{name: make(made) for name, make in changes.items()})


def swapped_bins(made):
    wave = made.wave_um.copy()
    wave[[7, 8]] = wave[[8, 7]]
    return replace(made, wave_um=wave)


def masked(made):
    return Table({"A_V": MaskedColumn([1.0] * len(made), mask=[False, True] + [False] * (len(made) - 2))})


BAD = [
    (sed_library, with_(wave_um=lambda m: m.wave_um[:-1], flux=lambda m: m.flux[:, :-1]), ["222", "223", "resample"]),
    (sed_library, with_(flux=lambda m: m.flux[:, :-1]), ["flux", "222"]),
    (sed_library, with_(flux=lambda m: m.flux[0]), ["flux", "shape"]),
    (sed_library, entry("flux", (2, 5), np.nan), ["g002", "row 2", "bin 5", "nan"]),
    (sed_library, entry("flux", (2, 5), np.inf), ["g002", "row 2", f"{WAVE_UM[5]:g} um", "inf"]),
    (sed_library, entry("flux", (4, 0), -0.5), ["g004", "row 4", "bin 0 (0.03 um)", "-0.5", "floor"]),
    (sed_library, entry("flux", (0, 222), 0.0), ["g000", "row 0", "12000 um", "logarithm"]),
    (sed_library, entry("wave_um", 3, np.nan), ["bin 3", "nan"]),
    (sed_library, swapped_bins, ["bins 7 and 8", "falls", "sort"]),
    (sed_library, entry("wave_um", 8, WAVE_UM[7]), ["bins 7 and 8", "repeats", "drop"]),
    (sed_library, with_(wave_um=lambda m: m.wave_um * 1e3), ["looks like nm"]),
    (sed_library, with_(wave_um=lambda m: m.wave_um * 1e4), ["looks like Angstrom"]),
    (sed_library, with_(wave_um=lambda m: m.wave_um * 1e-6), ["looks like m"]),
    (sed_library, with_(wave_um=lambda m: np.geomspace(1, 1000, 223)), ["1-1000", "0.03"]),
    (sed_library, with_(wave_um=lambda m: m.wave_um - 0.1), ["-0.07", "positive"]),
    (sed_library, with_(flux=lambda m: m.flux.astype(str)), ["flux", "not numbers"]),
    (sed_library, with_(flux=lambda m: m.flux.astype(complex)), ["flux", "complex"]),
    (sed_library, with_(ids=lambda m: ["a", "b", "c", "b", "e", "f"]), ["'b'", "rows 1 and 3"]),
    (sed_library, with_(ids=lambda m: ["a", "b", "", "d", "e", "f"]), ["row 2"]),
    (sed_library, with_(ids=lambda m: ["a", "b", "c\n", "d", "e", "f"]), ["row 2", "printable"]),
    (sed_library, with_(ids=lambda m: np.arange(5)), ["flux has 6", "ids", "5"]),
    (sed_library, with_(ids=lambda m: None), ["ids", "missing"]),
    (sed_library, with_(params=lambda m: Table({"tau_v": [1.0, 2.0]})), ["params", "2", "6"]),
    (sed_library, with_(params=masked), ["params", "A_V", "row 1"]),
    (sed_library, with_(params=lambda m: Table({"x": [object()] * 6})), ["params", "'x'", "object"]),
    (sed_library, lambda m: m.select([]), ["empty", "at least one"]),
    (spectra, entry("ivar", (1, 4), -1.0), ["s1", "row 1", "bin 4", "-1", "bad pixels"]),
    (spectra, entry("ivar", (1, 4), np.nan), ["s1", "bin 4", "ivar"]),
    (spectra, entry("flux", (3, 29), np.nan), ["s3", "9200 Angstrom", "ivar to 0"]),
    (spectra, entry("z", 2, -9999.0), ["s2", "row 2", "-9999"]),
    (spectra, entry("z", 2, 1e3), ["s2", "1000"]),
    (spectra, entry("z", 2, np.nan), ["s2", "z is nan"]),
    (spectra, with_(wave_obs=lambda m: m.wave_obs / 10), ["380-920", "Angstrom"]),
    (spectra, with_(wave_obs=lambda m: np.log10(m.wave_obs)), ["loglam"]),
    (spectra, with_(wave_obs=lambda m: m.wave_obs[::-1]), ["bins 0 and 1", "falls"]),
    (spectra, with_(ivar=lambda m: m.ivar[:, :10]), ["ivar", "10", "30"]),
    (images, with_(bands=lambda m: ["g", "r", "i", "z"]), ["bands", "4", "5"]),
    (images, with_(bands=lambda m: ["u", "g", "r", "i", "g"]), ["'g'", "rows 1 and 4"]),
    (images, with_(cube=lambda m: m.cube[:, 0]), ["cube", "shape (4, 8, 6)"]),
    (images, entry("cube", (3, 2, 1, 0), np.nan), ["i3", "band 'r'", "row 1, column 0"]),
    (images, with_(pixel_scale=lambda m: 0.0), ["pixel_scale", "arcsec"]),
    (images, with_(pixel_scale=lambda m: np.nan), ["pixel_scale", "nan"]),
    (images, with_(z=lambda m: m.z[:2]), ["z", "2", "4"]),
    (images, entry("z", 0, 99.0), ["i0", "99"]),
    (catalogue, with_(bands=lambda m: ["F365W", "J"]), ["'J'", "F365W, Ks"]),
    (catalogue, with_(table=lambda m: Table({"F365W": [np.nan] * 7, "Ks": [1.0] * 7})), ["c0", "F365W", "99"]),
    (catalogue, with_(table=lambda m: m.table[:3]), ["ids", "7", "3"]),
]


@pytest.mark.parametrize(("build", "spoil", "words"), BAD)
def test_bad_input_is_named_and_nothing_is_written(build, spoil, words, tmp_path):
    build().check()
    with pytest.raises(DataError) as caught:
        spoil(build()).save(tmp_path / "file.h5")
    for word in words:
        assert word in str(caught.value)
    assert caught.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_masked_values_are_not_taken_for_values():
    z = np.ma.array([0.1, 0.2], mask=[False, True])
    spectra = {"wave_obs": WAVE_OBS, "flux": np.ones((2, WAVE_OBS.size)), "ids": ["a", "b"]}
    with pytest.raises(DataError, match="z lacks values"):
        Spectra(**spectra, ivar=spectra["flux"], z=z).check()
    with pytest.raises(DataError, match="flux lacks values"):
        Spectra(**spectra | {"flux": np.ma.masked_greater(spectra["flux"], 0)}, ivar=spectra["flux"], z=z.data).check()


def test_failed_save_keeps_the_older_file(tmp_path):
    path = sed_library(3).save(tmp_path / "file.h5")
    before = path.read_bytes()
    with pytest.raises(DataError):
        entry("flux", (0, 0), -1.0)(sed_library(4)).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_file_cut_anywhere_is_refused(tmp_path):
    params = Table({"A_V": [1.5, 2.5], "split": ["train", "test"]})
    whole = sed_library(2, params=params).save(tmp_path / "whole.h5").read_bytes()
    path = tmp_path / "cut.h5"

    @given(cut=st.integers(0, len(whole) - 1))
    @settings(max_examples=150, deadline=None)
    def check(cut):
        path.write_bytes(whole[:cut])
        with pytest.raises(DataError, match=path.name):
            check_file("01", path)

    check()


def test_write_that_fails_halfway_leaves_nothing(tmp_path, monkeypatch):
    write_dataset = storage._write_dataset

    def disk_full(group, name, *rest):
        if name == "ids":
            raise OSError("no space left on device")
        write_dataset(group, name, *rest)

    monkeypatch.setattr(storage, "_write_dataset", disk_full)
    with pytest.raises(OSError, match="no space"):
        sed_library().save(tmp_path / "file.h5")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dataset", ["flux", "ids"])
@given(offset=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(deadline=None)
def test_flipped_bit_is_noticed(dataset, offset, bit):
    with tempfile.TemporaryDirectory() as folder:
        path = sed_library(3).save(Path(folder, "file.h5"))
        with h5py.File(path) as file:
            chunk = file[dataset].id.get_chunk_info(0)
        content = bytearray(path.read_bytes())
        content[chunk.byte_offset + int(offset * chunk.size)] ^= 1 << bit
        path.write_bytes(content)
        with pytest.raises(DataError, match="copy it again"):
            SedLibrary.load(path)


@given(content=st.binary(max_size=200) | texts.map(str.encode))
@settings(deadline=None)
def test_file_that_is_something_else_is_refused(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file.h5")
        path.write_bytes(content)
        with pytest.raises(DataError, match="file"):
            check_file("01", path)


def by_hand(path, **changes):
    """A library written by a reader's own h5py code, without units or attributes."""
    arrays = {"wave_um": WAVE_UM, "flux": np.ones((2, N_WAVE)), "ids": ["a", "b"], "params/tau_v": [1.0, 2.0]}
    with h5py.File(path, "w") as file:
        for name, value in (arrays | changes).items():
            if value is not None:
                file[name] = value
    return path


def test_file_written_by_hand_is_read(tmp_path):
    loaded = SedLibrary.load(by_hand(tmp_path / "a.h5"))
    assert loaded.ids.tolist() == ["a", "b"]
    assert loaded.params["tau_v"].tolist() == [1.0, 2.0]
    assert SedLibrary.load(by_hand(tmp_path / "b.h5", ids=np.array([7, 12]))).ids.tolist() == ["7", "12"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"flux": None}, ["'flux'", "wave_um", "README"]),
        ({"ids": None}, ["'ids'", "needs wave_um, flux, ids"]),
        ({"wave_um": None}, ["'wave_um'"]),
        ({"parms/tau_v": [1.0, 2.0]}, ["parms"]),
        ({"flux": np.full((2, N_WAVE), b"1.0")}, ["flux", "not numbers"]),
        ({"flux": None, "flux/one": np.ones(N_WAVE)}, ["flux", "group"]),
        ({"params/tau_v": None, "params": [1.0, 2.0]}, ["params", "dataset"]),
        ({"params/age": [1.0]}, ["params", "length"]),
        ({"params/tau_v": [1.0, 2.0, 3.0]}, ["params", "3"]),
    ],
)
def test_file_written_wrongly_by_hand_is_refused(changes, words, tmp_path):
    with pytest.raises(DataError) as caught:
        SedLibrary.load(by_hand(tmp_path / "file.h5", **changes))
    for word in ["file.h5", *words]:
        assert word in str(caught.value)


def test_readme_snippet_makes_a_library(tmp_path, monkeypatch):
    """The snippet of data/README.md, run on a reader's arrays, on a grid of their own in descending order."""
    snippet = re.search(r"```python\n(.*?)```", (paths.DATA / "README.md").read_text(), re.DOTALL)[1]
    wave_um = np.geomspace(5000, 0.02, 400)
    monkeypatch.chdir(tmp_path)
    exec(snippet, {"wave_um": wave_um, "flux": np.outer([1, 7], wave_um**0.5), "tau_v": [50.0, 250.0]})
    library = SedLibrary.load(tmp_path / "my_seds.h5")
    np.testing.assert_allclose(library.flux[0], library.flux[1])
    np.testing.assert_allclose(library.flux[0] / library.flux[0, 0], (WAVE_UM / WAVE_UM[0]) ** 0.5)
    assert library.params["tau_v"].tolist() == [50.0, 250.0]


def test_wrong_container_format_or_study_is_refused(tmp_path):
    path = spectra().save(tmp_path / "spectra.h5")
    with pytest.raises(DataError, match="holds Spectra, not SedLibrary"):
        check_file("01", path)
    with pytest.raises(DataError, match="01"):
        check_file("09", path)
    with pytest.raises(DataError, match="no such file"):
        check_file("01", tmp_path / "absent.h5")
    for name in ("spectra.ecsv", "spectra.pkl"):
        with pytest.raises(DataError, match=r"\.h5"):
            spectra().save(tmp_path / name)
    assert list(tmp_path.iterdir()) == [path]


def test_a_library_too_small_to_train_on_is_refused(tmp_path):
    few = SedLibrary(WAVE_UM, np.ones((99, N_WAVE)), [f"s{i}" for i in range(99)]).save(tmp_path / "few.h5")
    with pytest.raises(DataError, match="99 objects are too few"):
        check_file("01", few)


@pytest.mark.parametrize("shared", [True, False])
def test_truth_and_resolution_go_along_with_the_spectra(tmp_path, shared):
    plain = spectra(20)
    lsf = np.linspace(50, 90, plain.wave_obs.size)
    lsf = lsf if shared else lsf + np.arange(20.0)[:, None]
    full = replace(plain, clean=plain.flux + 1, lsf_kms=lsf)
    again = Spectra.load(full.save(tmp_path / "full.h5"))
    assert again.content_hash() == full.content_hash() != plain.content_hash()
    np.testing.assert_array_equal(again.lsf_kms, lsf)
    part = full.split(0, (0.5, 0.5))[0]
    np.testing.assert_array_equal(part.clean, part.flux + 1)
    assert part.lsf_kms.shape == (lsf.shape if shared else part.flux.shape)
    assert part.check() is part
    assert replace(full, clean=None, lsf_kms=None).content_hash() == plain.content_hash()
    assert Spectra.load(plain.save(tmp_path / "plain.h5")).clean is None


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        ({"clean": np.ones((20, 3))}, "clean"),
        ({"lsf_kms": np.ones(3)}, "lsf_kms"),
        ({"lsf_kms": np.zeros(20)[:, None]}, "lsf_kms"),
        ({"clean": "nan"}, "object 's0'"),
        ({"lsf_kms": "zero"}, "lsf_kms"),
    ],
)
def test_truth_and_resolution_are_checked(columns, named):
    plain = spectra(20)
    filled = {"nan": np.full(plain.flux.shape, np.nan), "zero": np.zeros(plain.wave_obs.size)}
    columns = {name: filled[value] if isinstance(value, str) else value for name, value in columns.items()}
    with pytest.raises(DataError, match=named):
        replace(plain, **columns).check()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"error": [[-1.0, 1.0]]}, "object 'a'.*band 'r'.*error is -1.*0 where there is no measurement"),
        ({"limit": [[0, 2.0]]}, "band 'w'.*limit is 2"),
        ({"flux": [[0.0, 1.0]], "limit": [[1, 0]]}, "limit of.*positive|flux of a limit is positive"),
        ({"z": [0.0]}, "object 'a'.*z is 0.*0.0001 to 10"),
        ({"wave_um": [[1.0, 2.0, 3.0], [5.0, 10.0, 20.0]]}, "band 'r'.*not even in log"),
    ],
)
def test_photometry_that_cannot_be_is_refused(tmp_path, change, message):
    good = {
        "flux": [[1.0, 2.0]], "error": [[0.1, 0.2]], "limit": [[False, True]], "bands": ["r", "w"],
        "wave_um": [[1.0, 2.0, 4.0], [5.0, 10.0, 20.0]], "response": np.ones((2, 3)), "z": [0.1], "ids": ["a"],
    }  # fmt: skip
    photometry = Photometry(**good).check()
    assert "1 fluxes, 1 limits" in str(photometry)
    again = Photometry.load(photometry.save(tmp_path / "p.h5"))
    assert again.content_hash() == photometry.content_hash()
    with pytest.raises(DataError, match=message):
        Photometry(**good | change).check()
