"""SDSS files as `Spectra`: the file's own pixels, masks and redshifts; bad files named; whole downloads."""

import threading
from dataclasses import fields, replace

import numpy as np
import pytest
from astropy.io import fits
from conftest import Loopback, read_or_refused, serving
from hypothesis import example, given, settings
from hypothesis import strategies as st

from paper_utils.base import paths
from paper_utils.base.containers import WAVE_OBS, Spectra
from paper_utils.base.errors import DataError
from paper_utils.files import download, sdss
from paper_utils.files.user import check_file

REAL = paths.ROOT.parent / "shared" / "real_data"
OBJECTS, SKY_FIBRES = REAL / "sdss_galaxy_spectra", REAL / "sdss_sky_fibres"
needs_objects = pytest.mark.skipif(not OBJECTS.is_dir(), reason="SDSS spectra are not here (shared/real_data)")
needs_sky_fibres = pytest.mark.skipif(not SKY_FIBRES.is_dir(), reason="sky fibres are not here (shared/real_data)")
BRIGHTSKY = 1 << 23


def write_spec(path, *, plate=266, mjd=51602, fiber=1, z=0.1, first=3.580, n=200, record="SPECOBJ", seed=0, **change):
    """A small spec file in the archive's layout; `change` replaces columns of COADD, or the header's VACUUM."""
    rng = np.random.default_rng(seed)
    vacuum = change.pop("vacuum", True)
    columns = {
        "flux": rng.normal(20, 1, n),
        "loglam": first + 1e-4 * np.arange(n),
        "ivar": rng.uniform(0.5, 2, n),
        "and_mask": np.zeros(n, int),
        "or_mask": np.ones(n, int),
    } | change
    coadd = fits.BinTableHDU.from_columns(
        [fits.Column(k, "J" if "mask" in k else "E", array=v) for k, v in columns.items() if v is not None],
        name="COADD",
    )
    values = {"PLATE": plate, "MJD": mjd, "FIBERID": fiber, "ZWARNING": 0}
    row = [fits.Column(k, "J", array=[v]) for k, v in values.items()]
    row += [fits.Column(k, "E", array=[v]) for k, v in {"Z": z, "Z_ERR": 1e-5, "SN_MEDIAN_ALL": 14.0}.items()]
    row += [fits.Column("SN_MEDIAN", "5E", array=[[5, 12, 16, 17, 13]])]
    row += [fits.Column(k, "20A", array=[v]) for k, v in {"CLASS": "GALAXY", "SUBCLASS": "STARFORMING"}.items()]
    lines = [fits.Column("LINENAME", "13A", array=["H_beta", "[O_III] 5007", "H_alpha"])]
    lines += [fits.Column(k, "E", array=v) for k, v in {
        "LINEAREA": [100, 0, 286], "LINEAREA_ERR": [5, -1, 7], "LINEEW": [10, 0, 30], "LINEEW_ERR": [0.5, -1, 0.7],
    }.items()]  # fmt: skip
    tables = [fits.BinTableHDU.from_columns(row, name=record), fits.BinTableHDU.from_columns(lines, name="SPZLINE")]
    primary = fits.PrimaryHDU()
    primary.header["VACUUM"] = vacuum
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.HDUList([primary, coadd, *tables]).writeto(path, overwrite=True)
    return path, columns


def test_grid_is_the_papers():
    """Melchior+ 2022, Sec. 3: 3892 elements, 3784...9270 A, on the survey's steps of 1e-4 dex."""
    assert WAVE_OBS.size == 3892
    assert np.round(WAVE_OBS[[0, -1]]).tolist() == [3784, 9270]
    np.testing.assert_allclose(np.diff(np.log10(WAVE_OBS)), 1e-4, rtol=1e-6)
    fits_start = [  # starts at multiples of 1e-4 whose ends, rounded to 1 A, are the paper's
        start for start in range(35700, 35900)
        if round(10 ** (start * 1e-4)) == 3784 and round(10 ** ((start + 3891) * 1e-4)) == 9270
    ]  # fmt: skip
    assert fits_start == [35780]


@given(start=st.integers(35780 - 150, 35780 + 3891 - 1), n=st.integers(1, 300), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_pixels_are_shifted_not_resampled(tmp_path_factory, start, n, seed):
    path = tmp_path_factory.mktemp("spec") / "spec-0266-51602-0001.fits"
    _, columns = write_spec(path, first=start * 1e-4, n=n, seed=seed)
    inside = (start + np.arange(n) >= 35780) & (start + np.arange(n) < 35780 + 3892)
    if not inside.any():
        with pytest.raises(DataError, match="is masked"):
            sdss.read_spec(path)
        return
    spectra = sdss.read_spec(path)
    at = start - 35780 + np.flatnonzero(inside)
    for name in ("flux", "ivar"):
        row = getattr(spectra, name)[0]
        np.testing.assert_array_equal(row[at], columns[name][inside].astype(np.float32))
        assert np.count_nonzero(row) == inside.sum()


def test_truth_ids_and_round_trip(tmp_path):
    write_spec(tmp_path / "a" / "spec-0266-51602-0001.fits")
    write_spec(tmp_path / "b" / "spec-4055-55359-0006.fits", plate=4055, mjd=55359, fiber=6, z=0.2, record="SPALL")
    spectra = sdss.read(tmp_path)
    assert spectra.ids.tolist() == ["0266-51602-0001", "4055-55359-0006"]
    np.testing.assert_allclose(spectra.z, [0.1, 0.2], rtol=1e-6)
    truth = spectra.truth[0]
    assert (truth["class"], truth["subclass"], truth["plate"], truth["mjd"], truth["fiber"]) == (
        "GALAXY", "STARFORMING", 266, 51602, 1,
    )  # fmt: skip
    assert (truth["snr"], truth["snr_r"]) == (14, 16)
    assert (truth["flux_H_alpha"], truth["flux_err_H_alpha"], truth["ew_H_alpha"]) == (286, 7, 30)
    assert np.isnan([truth["flux_OIII_5007"], truth["ew_OIII_5007"], truth["flux_SII_6716"]]).all()
    assert spectra.truth["ew_H_alpha"].unit == "Angstrom"
    file = spectra.save(tmp_path / "mine.h5")
    assert Spectra.load(file).content_hash() == spectra.content_hash()
    assert isinstance(sdss.read(file), Spectra)
    assert sdss.read(tmp_path / "a" / "spec-0266-51602-0001.fits").ids.tolist() == ["0266-51602-0001"]
    jobs = sdss.read_folder(tmp_path, n_jobs=2)
    assert jobs.content_hash() == spectra.content_hash()


def test_masked_pixels_have_no_weight(tmp_path):
    mask, ivar = np.zeros(200, int), np.ones(200)
    mask[5], mask[6], ivar[7] = BRIGHTSKY, 1 << 16, 0
    flux = np.full(200, 3.0)
    flux[7] = np.nan  # unusable anyway
    path, _ = write_spec(tmp_path / "spec-0266-51602-0001.fits", first=3.578, and_mask=mask, ivar=ivar, flux=flux)
    everything = sdss.read_spec(path)
    assert np.flatnonzero(everything.ivar[0, :200] == 0).tolist() == [5, 6, 7]
    assert everything.flux[0, [5, 6, 7]].tolist() == [3, 3, 0]  # what a mask hides is kept, NaN is not
    assert (everything.ivar[0, 200:] == 0).all()
    assert np.flatnonzero(sdss.read_spec(path, bits=BRIGHTSKY).ivar[0, :200] == 0).tolist() == [5, 7]
    assert np.flatnonzero(sdss.read_spec(path, bits=0).ivar[0, :200] == 0).tolist() == [7]


LOGLAM = 3.58 + 1e-4 * np.arange(200)
BAD = {
    "negative ivar": ({"ivar": np.where(np.arange(200) == 9, -2.0, 1)}, ["inverse variance is -2", "pixel 9"]),
    "infinite ivar": ({"ivar": np.full(200, np.inf)}, ["inverse variance is inf"]),
    "NaN ivar": ({"ivar": np.full(200, np.nan)}, ["inverse variance is nan"]),
    "NaN flux": ({"flux": np.full(200, np.nan)}, ["flux is nan", "3801.9 A"]),
    "all masked": ({"and_mask": np.full(200, BRIGHTSKY)}, ["masked"]),
    "all-zero ivar": ({"ivar": np.zeros(200)}, ["masked"]),
    "unsorted": ({"loglam": LOGLAM[::-1]}, ["do not increase"]),
    "repeated": ({"loglam": np.repeat(LOGLAM[:100], 2)}, ["do not increase"]),
    "linear grid": ({"loglam": np.log10(np.linspace(4000, 4200, 200))}, ["not on the SDSS grid"]),
    "half a bin off": ({"loglam": LOGLAM + 5e-5}, ["not on the SDSS grid"]),
    "Angstrom": ({"loglam": 10**LOGLAM}, ["grid"]),
    "NaN loglam": ({"loglam": np.full(200, np.nan)}, ["do not increase"]),
    "no ivar": ({"ivar": None}, ["column", "ivar"]),
    "air": ({"vacuum": False}, ["VACUUM = F", "air"]),
    "no redshift": ({"z": np.nan}, ["redshift is nan"]),
    "absurd redshift": ({"z": -0.9}, ["redshift is -0.9"]),
    "other tables": ({"record": "PHOTO"}, ["SPECOBJ", "PHOTO"]),
}


@pytest.mark.parametrize(("change", "words"), BAD.values(), ids=BAD)
def test_bad_file_is_named(change, words, tmp_path):
    path, _ = write_spec(tmp_path / "spec-0266-51602-0001.fits", **change)
    with pytest.raises(DataError) as caught:
        sdss.read_spec(path)
    for word in ["spec-0266-51602-0001.fits", *words]:
        assert word in str(caught.value)


def test_file_that_is_no_fits(tmp_path):
    path = tmp_path / "spec-0266-51602-0001.fits"
    for content in (b"", b"no spectrum", b"<html>404</html>", b"\0" * 5760, b"SIMPLE  =                    T"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"spec-0266-51602-0001\.fits.*whole FITS file"):
            sdss.read_spec(path)
    with pytest.raises(DataError, match="Check the path"):
        sdss.read_spec(tmp_path / "spec-0266-51602-0002.fits")


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_truncated_file_is_refused_wherever_it_is_cut(tmp_path):
    path, _ = write_spec(tmp_path / "spec-0266-51602-0001.fits")
    whole = path.read_bytes()
    with fits.open(path) as hdus:
        ends = {i: hdus.fileinfo(i)["datLoc"] + hdus.fileinfo(i)["datSpan"] for i in range(4)}
    assert ends[3] == len(whole)

    @given(cut=st.integers(0, len(whole) - 1))
    @example(cut=ends[0])
    @example(cut=ends[1])
    @example(cut=ends[3] - 1)
    @example(cut=ends[3] - 2880)
    @settings(max_examples=150, deadline=None)
    def cut_at(cut):
        path.write_bytes(whole[:cut])
        if cut == ends[2]:  # a valid file without SPZLINE
            assert np.isnan(sdss.read_spec(path).truth["flux_H_alpha"][0])
            return
        with pytest.raises(DataError, match=r"spec-0266-51602-0001\.fits"):
            sdss.read_spec(path)

    cut_at()


@given(place=st.integers(0, 40000), value=st.binary(min_size=1, max_size=40))
@example(place=18251, value=b" ")  # in the name of a column of SPZLINE
@settings(max_examples=150, deadline=None)
def test_damaged_file_is_read_or_refused(tmp_path_factory, place, value):
    path, _ = write_spec(tmp_path_factory.mktemp("spec") / "spec-0266-51602-0001.fits")
    content = bytearray(path.read_bytes())
    place %= len(content) - len(value)
    content[place : place + len(value)] = value
    path.write_bytes(bytes(content))
    with read_or_refused(path.name):
        sdss.read_spec(path).check()


def test_skipped_files_are_counted(tmp_path):
    write_spec(tmp_path / "spec-0266-51602-0001.fits")
    write_spec(tmp_path / "spec-0266-51602-0002.fits", fiber=2)
    write_spec(tmp_path / "copy.fits", fiber=2)
    (tmp_path / "spec-0266-51602-0003.fits").write_bytes(b"")
    write_spec(tmp_path / "spec-0266-51602-0004.fits", fiber=4, ivar=np.zeros(200))
    with pytest.raises(DataError, match=r"spec-0266-51602-0002\.fits.*same spectrum as in copy\.fits"):
        sdss.read_folder(tmp_path)
    with pytest.warns(UserWarning, match="3 of 5 files left out"):
        spectra = sdss.read_folder(tmp_path, skip_bad=True)
    assert spectra.ids.tolist() == ["0266-51602-0002", "0266-51602-0001"]
    assert set(spectra.truth.meta["skipped"]) == {f"spec-0266-51602-000{i}.fits" for i in (2, 3, 4)}
    for name in ("spec-0266-51602-0001.fits", "spec-0266-51602-0002.fits", "copy.fits"):
        (tmp_path / name).unlink()
    with pytest.raises(DataError, match="2 of 2 files cannot be used"):
        sdss.read_folder(tmp_path, skip_bad=True)
    with pytest.raises(DataError, match="no FITS files"):
        sdss.read_folder((tmp_path / "empty").mkdir() or tmp_path / "empty")
    with pytest.raises(DataError, match="no such folder"):
        sdss.read_folder(tmp_path / "nowhere")


@needs_objects
def test_real_spectra():
    with pytest.warns(UserWarning, match="1 of 10 files left out; GELATO-results.fits"):
        spectra = sdss.read_folder(OBJECTS, skip_bad=True)
    assert len(spectra) == 9
    expected = {  # redshifts of the SDSS pages, to the printed digits
        "0266-51602-0001": 0.0213, "2101-53858-0049": 0.0036, "0280-51612-0117": 0.2446, "1599-53089-0469": 0.1849,
        "0752-52251-0323": 0.3807, "1678-53433-0425": 0.0403, "0390-51900-0282": 0.0180, "0395-51783-0525": 0.0178,
        "4055-55359-0006": 0.2138,
    }  # fmt: skip
    assert dict(zip(spectra.ids, spectra.z.round(4), strict=True)) == expected
    coverage = (spectra.ivar > 0).mean(axis=1)
    assert coverage.min() > 0.9
    for i, name in enumerate(spectra.ids):
        file = OBJECTS / f"spec-{name}.fits"
        coadd = fits.getdata(file if file.exists() else OBJECTS / "1237664853103607848.fits", "COADD")
        lam = 10 ** coadd["loglam"].astype(float)
        # The file's own numbers, each at its own wavelength.
        inside = (lam > WAVE_OBS[0] - 0.1) & (lam < WAVE_OBS[-1] + 0.1)
        at = np.abs(WAVE_OBS[:, None] - lam[inside]).argmin(axis=0)
        np.testing.assert_allclose(WAVE_OBS[at], lam[inside], rtol=2e-6)  # float32 in the file
        np.testing.assert_array_equal(spectra.flux[i, at], coadd["flux"][inside])
        good = (coadd["and_mask"] == 0)[inside]
        np.testing.assert_array_equal(spectra.ivar[i, at], np.where(good, coadd["ivar"][inside], 0))
        # flux * sqrt(ivar) is the signal-to-noise ratio that the pipeline states (over all pixels, masked ones too).
        snr = np.median((spectra.flux[i] * np.sqrt(spectra.ivar[i]))[spectra.ivar[i] > 0])
        assert snr == pytest.approx(spectra.truth["snr"][i], rel=0.12)


@needs_objects
def test_h_alpha_sits_where_the_redshift_says():
    with pytest.warns(UserWarning, match="left out"):
        spectra = sdss.read_folder(OBJECTS, skip_bad=True)
    strong = [i for i, ew in enumerate(spectra.truth["ew_H_alpha"]) if 10 < ew < 400]
    assert len(strong) >= 5
    for i in strong:
        rest = WAVE_OBS / (1 + spectra.z[i])
        # 6564.61 A in vacuum; the next line, [N II] 6585.3, is 21 A away and in AGN the stronger one.
        window, tolerance = (60, 30) if "BROADLINE" in spectra.truth["subclass"][i] else (12, 3)
        near = (np.abs(rest - 6564.61) < window) & (spectra.ivar[i] > 0)
        assert rest[near][np.argmax(spectra.flux[i][near])] == pytest.approx(6564.61, abs=tolerance)
    # Fluxes are lines': integrate the continuum-subtracted pixels of the starbursts within 30 A.
    for name in ("1678-53433-0425", "0395-51783-0525"):
        i = spectra.ids.tolist().index(name)
        rest = WAVE_OBS / (1 + spectra.z[i])
        line, side = np.abs(rest - 6570) < 35, (np.abs(rest - 6570) > 50) & (np.abs(rest - 6570) < 100)
        excess = spectra.flux[i] - np.median(spectra.flux[i][side])
        total = np.trapezoid(excess[line], WAVE_OBS[line])
        truth = spectra.truth[i]
        stated = truth["flux_H_alpha"] + truth["flux_NII_6583"] + truth["flux_NII_6548"]
        assert total == pytest.approx(stated, rel=0.1)


@needs_sky_fibres
def test_real_sky_fibres_hold_noise_of_the_stated_size():
    spectra = sdss.read_folder(SKY_FIBRES)
    assert len(spectra) == 30
    good = spectra.ivar > 0
    chi = (spectra.flux * np.sqrt(spectra.ivar))[good]
    assert 1.4826 * np.median(np.abs(chi)) == pytest.approx(0.9, abs=0.05)
    # Only bright sky lines and the odd bad column are masked, and what no fibre covers.
    share = good[:, 60:3840].mean(axis=1)
    assert np.median(share) == pytest.approx(0.91, abs=0.02)
    assert (good[:, :5].sum(), good[:, 3870:].sum()) == (0, 0)
    # Two halves of three spectra carry a bit for the whole half (MANYBADCOLUMNS, 1 << 4), which can be let pass.
    without = sdss.read_folder(SKY_FIBRES, bits=sdss.ALL_BITS ^ (1 << 4))
    gained = ((without.ivar > 0) & ~good).sum(axis=1)
    assert (gained > 900).sum() == 3
    assert np.median(gained) == 0


def test_addresses():
    assert sdss.urls(266, 51602, 1)[0] == (
        "https://data.sdss.org/sas/dr16/sdss/spectro/redux/26/spectra/lite/0266/spec-0266-51602-0001.fits"
    )
    assert sdss.urls(4055, 55359, 596) == [
        "https://data.sdss.org/sas/dr16/eboss/spectro/redux/v5_13_0/spectra/lite/4055/spec-4055-55359-0596.fits"
    ]
    assert sdss.urls(10000, 57346, 1)[0].endswith("v5_13_0/spectra/lite/10000/spec-10000-57346-0001.fits")


class Archive(Loopback):
    """The archive on the loopback: answers per path are (status, body, headers) taken in turn, the last one staying."""

    def __init__(self):
        super().__init__()
        self.answers, self.hold = {}, threading.Event()
        self.hold.set()

    def offer(self, row, *answers, place=0):
        self.answers[sdss.urls(*row, self.base)[place].removeprefix(self.base)] = list(answers)

    def answer(self, path, headers):
        with self.lock:
            answers = self.answers.get(path, [(404, b"", {})])
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
        self.hold.wait(0.05)
        return answer


@pytest.fixture
def archive():
    with serving(Archive()) as server:
        yield server


def body(tmp_path, row):
    plate, mjd, fiber = row
    path, _ = write_spec(tmp_path / "source" / "spec.fits", plate=plate, mjd=mjd, fiber=fiber)
    return path.read_bytes()


FAST = {"wait_s": 0.01, "progress": False, "timeout_s": 5}


def test_files_arrive_whole_in_order_and_are_not_asked_for_again(archive, tmp_path):
    rows = [(266, 51602, fiber) for fiber in range(12)] + [(4055, 55359, 6)]
    for row in rows:
        archive.offer(row, (200, body(tmp_path, row), {}))
    archive.hold.clear()  # every answer takes a moment
    files = sdss.get([*rows, rows[0]], tmp_path / "spectra", base=archive.base, n_parallel=3, **FAST)
    assert 2 <= archive.most_active <= 3
    assert [file.name for file in files] == [sdss.file_name(*row) for row in [*rows, rows[0]]]
    assert len(archive.asked) == len(rows)
    spectra = sdss.read_folder(tmp_path / "spectra")
    assert spectra.ids[-1] == "4055-55359-0006"
    assert len(spectra) == len(rows)

    asked = len(archive.asked)
    files[3].unlink()
    files[4].write_bytes(files[4].read_bytes()[:-100])  # spoilt since
    sdss.get(rows, tmp_path / "spectra", base=archive.base, **FAST)
    assert len(archive.asked) - asked == 2
    assert len(sdss.read_folder(tmp_path / "spectra")) == len(rows)


def test_other_reductions_are_tried_when_one_lacks_the_spectrum(archive, tmp_path):
    row = (1960, 53287, 1)
    archive.offer(row, (200, body(tmp_path, row), {}), place=1)
    sdss.get([row], tmp_path / "spectra", base=archive.base, **FAST)
    assert ["/26/" in path for path in archive.asked] == [True, False]


def test_a_troubled_server_is_asked_again(archive, tmp_path):
    good = body(tmp_path, (266, 51602, 1))
    short = (200, good[:4000], {"Content-Length": str(len(good))})  # the connection breaks off
    troubles = {
        1: [(503, b"", {"Retry-After": "0"}), (200, good, {})],
        2: [(429, b"", {}), (500, b"", {}), (200, good, {})],
        3: [short, (200, good, {})],
        4: [(200, b"<html>try later</html>", {}), (200, good, {})],
        5: [(200, good[:2880 + 17], {}), (200, good, {})],
    }  # fmt: skip
    for fiber, answers in troubles.items():
        archive.offer((266, 51602, fiber), *answers)
    files = sdss.get([(266, 51602, fiber) for fiber in troubles], tmp_path / "spectra", base=archive.base, **FAST)
    assert all(file.read_bytes() == good for file in files)
    assert len(archive.asked) == 2 + 3 + 2 + 2 + 2


def test_what_cannot_be_had_is_counted_and_leaves_nothing_behind(archive, tmp_path):
    good = body(tmp_path, (266, 51602, 1))
    archive.offer((266, 51602, 1), (200, good, {}))
    archive.offer((266, 51602, 2), (200, good[:4000], {"Content-Length": str(len(good))}))
    archive.offer((266, 51602, 3), (403, b"", {}))
    rows = [(266, 51602, fiber) for fiber in (1, 2, 3, 4)]
    with pytest.raises(DataError, match="3 of 4 files could not be fetched") as caught:
        sdss.get(rows, tmp_path / "spectra", base=archive.base, n_tries=2, **FAST)
    assert "0002.fits" in str(caught.value)
    assert [file.name for file in (tmp_path / "spectra").iterdir()] == ["spec-0266-51602-0001.fits"]
    assert sum("0003" in path for path in archive.asked) == 1  # forbidden stays forbidden
    with pytest.raises(DataError, match="plate, MJD and fibre"):
        sdss.get([(1, 2)], tmp_path, base=archive.base)


def test_a_server_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(DataError, match="1 of 1 files"):
        sdss.get([(266, 51602, 1)], tmp_path, base="http://127.0.0.1:9/sas", n_tries=2, **FAST)


def test_waiting_is_bounded(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "MAX_WAIT_S", 0.01)
    row = (266, 51602, 1)
    archive.offer(row, (503, b"", {"Retry-After": "86400"}), (200, body(tmp_path, row), {}))
    assert sdss.get([row], tmp_path / "spectra", base=archive.base, **FAST)[0].exists()


def test_study_2_takes_spectra_through_the_same_door(tmp_path):
    """A folder of spec files, one of them, or what `Spectra.save` wrote; too few of any are refused."""
    path, _ = write_spec(tmp_path / "spectra" / "spec-0266-51602-0001.fits")
    one = sdss.read(path)
    for source in (path, path.parent, one.save(tmp_path / "one.h5")):
        with pytest.raises(DataError, match="1 objects are too few"):
            check_file("02", source)
    per_object = {f.name: getattr(one, f.name) for f in fields(one) if "N" in f.metadata["axes"]}
    many = {name: np.repeat(value, 120, axis=0) for name, value in per_object.items() if value is not None}
    saved = replace(one, **many | {"ids": [f"s{i}" for i in range(120)], "truth": None}).save(tmp_path / "many.h5")
    assert str(check_file("02", saved)).startswith("Spectra: 120 spectra")
    # Without any usable pixel, or with more below zero than above, a spectrum has no unit.
    dark = replace(Spectra.load(saved), flux=np.abs(many["flux"]) + 1)
    dark.ivar[3], dark.flux[5] = 0, -dark.flux[5]
    with pytest.warns(UserWarning, match=r"2 of 120 spectra left out; s3: it has no positive median flux"):
        left = check_file("02", dark.save(tmp_path / "dark.h5"))
    assert len(left) == 118
    assert not {"s3", "s5"} & set(left.ids)
