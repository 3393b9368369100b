"""Tables of fluxes as people keep them: the same galaxy in any unit is the same, and what cannot be is refused."""

import re

import numpy as np
import pytest
import yaml
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st

from paper_utils.base import paths
from paper_utils.base.containers import Photometry
from paper_utils.base.errors import DataError
from paper_utils.files import photometry

REAL = paths.ROOT.parent / "shared" / "real_data"
BANDS = {"r": "sdss_r0", "w3": "wise_w3", "p160": "herschel_pacs_160"}
FLUX = np.array([[0.8, 5.0, 300.0], [0.3, 2.0, 90.0], [1.1, 9.0, 500.0]])  # mJy, of galaxies of 1e10-1e11 L_sun
Z = [0.08, 0.1, 0.05]


def write(folder, flux=FLUX, error=None, name="t.csv", mapping=None, **columns):
    """A table of three bands and its mapping; returns both files."""
    error = 0.1 * np.asarray(flux) if error is None else error
    table = {"id": ["a", "b", "c"], "z": Z}
    for i, band in enumerate(BANDS):
        table |= {f"f_{band}": np.asarray(flux)[:, i], f"e_{band}": np.asarray(error)[:, i]}
    Table(table | columns).write(folder / name, overwrite=True)
    bands = {b: {"flux": f"f_{b}", "error": f"e_{b}", "filter": curve} for b, curve in BANDS.items()}
    content = {"id": "id", "redshift": "z", "unit": "mJy", "bands": bands} | (mapping or {})
    (folder / "m.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return folder / name, folder / "m.yaml"


def refused(files, *words):
    with pytest.raises(DataError) as caught:
        photometry.read(*files)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("name", ["t.csv", "t.fits", "t.ecsv"])
def test_what_was_written_comes_back(tmp_path, name):
    found = photometry.read(*write(tmp_path, name=name))
    np.testing.assert_allclose(found.flux, FLUX)
    np.testing.assert_allclose(found.error, 0.1 * FLUX)
    assert list(found.ids) == ["a", "b", "c"]
    assert (found.limit == 0).all()
    again = Photometry.load(found.save(tmp_path / "p.h5"))
    assert again.content_hash() == photometry.read(tmp_path / "p.h5").content_hash() == found.content_hash()


@pytest.mark.parametrize("unit", ["Jy", "uJy", "cgs", "AB"])
def test_the_same_galaxy_in_any_unit_is_the_same(tmp_path, unit):
    to_unit = {"Jy": 1e-3, "uJy": 1e3, "cgs": 1e-26}.get(unit)
    if unit == "AB":
        flux, error = -2.5 * np.log10(FLUX / 3631e3), np.full_like(FLUX, 0.1 * 2.5 / np.log(10))
    else:
        flux, error = FLUX * to_unit, 0.1 * FLUX * to_unit
    found = photometry.read(*write(tmp_path, flux, error, mapping={"unit": unit}))
    np.testing.assert_allclose(found.flux, FLUX, rtol=1e-6)
    np.testing.assert_allclose(found.error, 0.1 * FLUX, rtol=1e-6)


def test_vega_magnitudes_have_the_published_zero_points(tmp_path):
    """WISE W3 of magnitude 0 is 31.67 Jy (Jarrett+ 2011), its colour correction within 10 %."""
    bands = {"w3": {"flux": "m", "error": "e", "filter": "wise_w3", "unit": "Vega"}}
    files = write(tmp_path, mapping={"bands": bands}, m=[8.0, 9.0, 10.0], e=[0.1] * 3)
    assert photometry.read(*files).flux[0, 0] == pytest.approx(31.67e3 * 10**-3.2, rel=0.1)


def test_marks_of_limits_and_of_nothing(tmp_path):
    flux, error = FLUX.copy(), 0.1 * FLUX
    flux[0, 0], error[0, 0] = 0, 0.05  # a zero with an error
    flux[1, 1], error[1, 1] = 2.4, -1  # LePhare's: the limit itself, and -1
    flux[2, 2], error[2, 2] = -99, -99
    flux[0, 1], error[0, 1] = np.nan, np.nan
    flux[1, 0] = -0.01  # forced photometry
    marks = {"missing": [-99], "limits": ["zero flux", "negative error"], "n_sigma": 3}
    bands = {b: {"flux": f"f_{b}", "error": f"e_{b}", "filter": curve} for b, curve in BANDS.items()}
    bands["w3"]["limit"] = "flag"
    found = photometry.read(*write(tmp_path, flux, error, mapping=marks | {"bands": bands}, flag=[0, 0, 1]))
    np.testing.assert_allclose(found.limit, [[1, 0, 0], [0, 1, 0], [0, 1, 0]])
    np.testing.assert_allclose(found.flux, [[0.15, 0, 300], [-0.01, 2.4, 90], [1.1, 9, 0]])
    np.testing.assert_allclose(found.error, [[0.05, 0, 30], [0.03, 0.8, 9], [0.11, 3, 0]])


@given(
    marked=st.lists(st.sampled_from(["seen", "missing", "limit", "flag", "blank"]), min_size=9, max_size=9),
    n_sigma=st.floats(1, 5),
)
@settings(max_examples=25, deadline=None)
def test_every_cell_is_a_flux_a_limit_or_nothing(tmp_path_factory, marked, n_sigma):
    kind = np.array(marked).reshape(3, 3)
    flux, error = FLUX.copy(), 0.1 * FLUX
    flux[kind == "missing"] = error[kind == "missing"] = -999
    flux[kind == "blank"] = np.nan
    flux[kind == "limit"] = 0
    error[kind == "flag"] *= -1
    how = {"missing": [-999], "limits": ["zero flux", "negative error"], "n_sigma": n_sigma}
    found = photometry.read(*write(tmp_path_factory.mktemp("t"), flux, error, mapping=how))
    nothing, limit = np.isin(kind, ["missing", "blank"]), np.isin(kind, ["limit", "flag"])
    np.testing.assert_array_equal(found.error == 0, nothing)
    np.testing.assert_array_equal(found.limit == 1, limit)
    np.testing.assert_allclose(found.flux[limit], n_sigma * found.error[limit])
    np.testing.assert_allclose(found.flux[kind == "seen"], FLUX[kind == "seen"])


def test_bad_tables_are_refused_by_name_and_remedy(tmp_path):
    refused(write(tmp_path, 1e6 * FLUX), "band 'r'", "L_sun", "too large", "unit")
    refused(write(tmp_path, 1e-6 * FLUX), "too small")
    refused(write(tmp_path, z=[0.1, np.nan, 0.2]), "row 2", "'z'", "leave the row out")
    refused(write(tmp_path, z=[0.1, 0.3, -9.99]), "row 3", "-9.99")
    refused(write(tmp_path, id=["a", "b", "a"]), "row 3", "'a' stands in row 1 already")
    refused(write(tmp_path, error=-0.1 * FLUX), "row 1", "e_r", "negative error")
    refused(write(tmp_path, error=np.where(FLUX == 9, np.nan, 0.1 * FLUX)), "row 3", "f_w3", "relative_error")
    refused((tmp_path / "t.csv",), "mapping")
    assert photometry.read(*write(tmp_path, error=0 * FLUX, mapping={"relative_error": 0.25})).error[0, 0] == 0.2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bands": {"w3": {"flux": "f_w3", "error": "e_w3", "filter": "wise_w5"}}}, ["w3", "wise_w5", "wise_w4"]),
        ({"bands": {"w3": {"flux": "F_none", "filter": "wise_w3"}}}, ["no column 'F_none'"]),
        ({"bands": {"w3": {"flux": "f_w3", "filter": [12, 30]}}}, ["top-hat", "full width"]),
        ({"unit": "mag"}, ["unit", "mJy"]),
        ({"unit": None}, ["no unit", "bands: r"]),
        ({"redshift": None}, ["redshift", "needed"]),
        ({"colour": 1}, ["colour", "no key"]),
        ({"limits": ["stars"]}, ["limits", "zero flux"]),
        ({"bands": {"w": {"flux": "f_w3", "error": "e_w3", "filter": [12, 5], "unit": "Vega"}}}, ["Vega"]),
    ],
)
def test_bad_mappings_are_refused_by_key(tmp_path, change, words):
    refused(write(tmp_path, mapping=change), "m.yaml" if "F_none" not in str(change) else "t.csv", *words)


def test_a_curve_of_ones_own(tmp_path):
    wave = np.linspace(7e4, 17e4, 50)
    np.savetxt(tmp_path / "mine.dat", np.c_[wave, np.exp(-(((wave - 12e4) / 2e4) ** 2))])
    bands = {"w3": {"flux": "f_w3", "error": "e_w3", "filter": "mine.dat"}}
    found = photometry.read(*write(tmp_path, mapping={"bands": bands}))
    assert found.wave_um[0, found.response[0].argmax()] == pytest.approx(12, rel=0.01)
    np.savetxt(tmp_path / "mine.dat", np.c_[wave * 1e-4, np.ones(50)])
    refused((tmp_path / "t.csv", tmp_path / "m.yaml"), "bands: w3", "Angstrom")


def test_the_mapping_of_the_readme(tmp_path):
    text = re.search(r"```yaml\n(id.*?)```", (paths.DATA / "README.md").read_text(), re.DOTALL)[1]
    (tmp_path / "m.yaml").write_text(text)
    (tmp_path / "curves").mkdir()
    np.savetxt(tmp_path / "curves" / "iras60.dat", np.c_[[3e5, 6e5, 8e5], [0.1, 1, 0.1]])
    table = {"name": ["a", "b"], "z_spec": [0.05, 0.1], "F22": [5.0, -99], "E22": [0.5, -99], "F60": [300, 0.0]}
    table |= {"E60": [-1, 20.0], "F100": [0.4, 0.3], "E100": [np.nan, 0.03], "is_limit": [0, 1]}
    Table(table).write(tmp_path / "t.csv")
    found = photometry.read(tmp_path / "t.csv", tmp_path / "m.yaml")
    np.testing.assert_allclose(found.flux, [[5, 300, 400], [0, 60, 300]])
    np.testing.assert_allclose(found.error, [[0.5, 100, 40], [0, 20, 100]])
    np.testing.assert_allclose(found.limit, [[0, 1, 0], [0, 1, 1]])


@pytest.mark.skipif(not (REAL / "mcirsed_ir_photometry").is_dir(), reason="infrared galaxies are not here")
def test_infrared_galaxies_of_cosmos(tmp_path):
    """Zeros are no data, -99 no error (Drew & Casey 2022): as many fluxes as entries that are neither."""
    file = REAL / "mcirsed_ir_photometry" / "cosmos_sample_data.csv"
    curves = {"24": "spitzer_mips_24", "100": "herschel_pacs_100", "850": [850, 80]}
    bands = {f"B{name}": {"flux": f"F{name}", "error": f"E{name}", "filter": curve} for name, curve in curves.items()}
    (tmp_path / "m.yaml").write_text(
        yaml.safe_dump({"redshift": "z", "unit": "mJy", "missing": [0, -99], "bands": bands}, sort_keys=False)
    )
    found, table = photometry.read(file, tmp_path / "m.yaml"), Table.read(file)
    for i, name in enumerate(curves):
        assert (found.error[:, i] > 0).sum() == ((table[f"F{name}"] != 0) & (table[f"E{name}"] > 0)).sum()
