"""Whatever a column holds, the catalogue has the AB magnitude that the galaxy has, or says that there is none."""

import re
import tempfile
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st
from test_alhambra_table import as_mapping, attempt, write

from paper_utils.base import paths
from paper_utils.base.errors import DataError
from paper_utils.files import alhambra_table, curves, magnitudes, mapping

MAGNITUDES = st.floats(12, 28)
ERRORS = st.floats(1e-3, 1)
SOFTENING = {"u": 1.4e-10, "g": 0.9e-10, "r": 1.2e-10, "i": 1.8e-10, "z": 7.4e-10}
# A / E(B-V) of SDSS and 2MASS (Schlafly & Finkbeiner 2011, table 6, R_V = 3.1).
PUBLISHED = {"sdss_u0": 4.239, "sdss_g0": 3.303, "sdss_r0": 2.285, "sdss_i0": 1.698, "sdss_z0": 1.263}
PUBLISHED |= {"twomass_J": 0.709, "twomass_H": 0.449, "twomass_Ks": 0.302}
POGSON = 2.5 / np.log(10)


def never(values, bad, *_):
    assert not bad.any()
    return values


def to_ab(band, value, error, ebv=0.0, refuse=never):
    m, dm = band.to_ab(np.atleast_1d(np.float64(value)), np.atleast_1d(np.float64(error)), ebv, refuse)
    return float(m[0]), float(dm[0])


def band_of(content, **whole):
    """The band that a mapping describes."""
    with tempfile.TemporaryDirectory() as folder:
        return mapping.load(as_mapping(folder, {"bands": {"b": content}} | whole)).bands_of["b"]


@given(m=MAGNITUDES, dm=ERRORS, unit=st.sampled_from(["mJy", "Jy", "uJy"]), inverse=st.booleans())
def test_fluxes_of_any_unit_are_the_magnitudes_that_astropy_has(m, dm, unit, inverse):
    flux = (m * u.ABmag).to_value(getattr(u, unit))
    error = flux * dm / POGSON
    content = {"column": "f", "ivar": "w"} if inverse else {"column": "f", "error": "e"}
    found = to_ab(band_of(content, unit=unit), flux, error**-2 if inverse else error)
    assert found == pytest.approx((m, dm), rel=1e-6)
    cgs = (m * u.ABmag).to_value(u.erg / u.s / u.cm**2 / u.Hz)
    assert to_ab(band_of({"column": "f"}, unit="cgs"), cgs, np.nan)[0] == pytest.approx(m, rel=1e-6)


@given(m=MAGNITUDES, dm=ERRORS)
def test_vega_s_magnitudes(m, dm):
    """AB less Vega: 0.91, 1.39 and 1.85 in 2MASS J, H and Ks (Blanton & Roweis 2007), -0.09 in Bessell's B."""
    for curve, offset in (("twomass_J", 0.91), ("twomass_H", 1.39), ("twomass_Ks", 1.85), ("bessell_B", -0.09)):
        ab, error = to_ab(band_of({"column": "m", "error": "e", "unit": "Vega", "filter": curve}), m, dm)
        assert ab - m == pytest.approx(offset, abs=0.03)
        assert error == dm
        assert to_ab(band_of({"unit": "Vega", "offset": offset}), m, dm)[0] == m + offset


@given(m=MAGNITUDES, dm=ERRORS, band=st.sampled_from(list("ugriz")))
def test_asinh_magnitudes_are_those_of_sdss(m, dm, band):
    """As defined by Lupton+ 1999, from a flux in units of the zero point; at 10 % and better they are usual ones."""
    b = SOFTENING[band]
    given_band = band_of({"error": "e", "unit": "asinh", "softening": b})
    flux = 10 ** (-0.4 * m)
    luptitude = -POGSON * (np.arcsinh(flux / (2 * b)) + np.log(b))
    slope = POGSON / np.hypot(flux, 2 * b)
    found = to_ab(given_band, luptitude, slope * dm / POGSON * flux)
    assert found == pytest.approx((m, dm), rel=1e-5, abs=1e-5)
    if m < 18:
        assert luptitude == pytest.approx(m, abs=1e-3)
    # SDSS's table of softenings: a flux of zero has u 24.63, g 25.11, r 24.80, i 24.36, z 22.83.
    zero = dict(zip("ugriz", (24.63, 25.11, 24.80, 24.36, 22.83), strict=True))[band]
    assert to_ab(given_band, zero - 0.02, 0.1)[0] < 40
    at, sigma = to_ab(given_band, zero + 0.02, 0.5)
    assert at == np.inf
    assert sigma == pytest.approx(-2.5 * np.log10(0.5 / POGSON * 2 * b), abs=0.01)


@given(m=MAGNITUDES, ebv=st.floats(0, 2), curve=st.sampled_from(list(PUBLISHED)), dm=ERRORS)
@settings(max_examples=40, deadline=None)
def test_reddening_is_undone(m, ebv, curve, dm):
    """Behind dust and corrected for it, by the published extinction and by the curve's own, a magnitude is itself."""
    published = PUBLISHED[curve]
    content = {"error": "e", "filter": curve}
    by_curve, by_hand = band_of(content, ebv="E"), band_of(content | {"extinction": published}, ebv="E")
    assert by_curve.extinction == pytest.approx(published, rel=0.03)
    for one in (by_curve, by_hand):
        assert to_ab(one, m + one.extinction * ebv, dm, ebv) == pytest.approx((m, dm))
    flux = band_of(content | {"extinction": published}, ebv="E", unit="uJy")
    dimmed = 10 ** (-0.4 * (m + published * ebv - 23.9))
    assert to_ab(flux, dimmed, dimmed * dm / POGSON, ebv) == pytest.approx((m, dm), rel=1e-4)
    # A limit is behind the same dust.
    assert to_ab(flux, -dimmed, dimmed, ebv) == (np.inf, pytest.approx(m, rel=1e-4))
    assert to_ab(by_hand, 99.0, m + published * ebv, ebv) == (np.inf, pytest.approx(m))


def test_extinction_in_bands_of_other_laws():
    """dust_extinction's law of Cardelli+ 1989, renormalised by Schlafly & Finkbeiner, agrees to 10 % from u to Ks."""
    from dust_extinction.parameter_averages import CCM89

    for name in PUBLISHED:
        wave, response = curves.read(name, Path("mine.yaml"), "")
        law = 3.1 * CCM89(3.1)(np.clip(1 / wave, 0.31, 10) / u.um)
        other = 0.86 * np.trapezoid(law * response / wave, wave) / np.trapezoid(response / wave, wave)
        assert magnitudes.extinction(wave, response) == pytest.approx(other, rel=0.1), name


@given(m=MAGNITUDES, n_sigma=st.floats(1, 10), mark=st.sampled_from([99.0, 30.0, -1.0]))
def test_limits_become_the_magnitude_of_one_sigma(m, n_sigma, mark):
    """In whatever way a table writes that a source is fainter than n sigma."""
    one_sigma = pytest.approx(m + 2.5 * np.log10(n_sigma), rel=1e-5)
    whole = {"undetected": [30, -1], "limits": ["negative error"], "n_sigma": n_sigma}
    assert to_ab(band_of({"error": "e"}, **whole), mark, m) == (np.inf, one_sigma)
    assert to_ab(band_of({"error": "e"}, **whole), m, -1.0) == (np.inf, one_sigma)
    flux = 10 ** (-0.4 * (m - 23.9))
    assert to_ab(band_of({"error": "e"}, unit="uJy", **whole), flux, -1.0) == (np.inf, one_sigma)
    assert to_ab(band_of({"error": "e"}, unit="uJy", **whole), -flux, flux) == (np.inf, pytest.approx(m, rel=1e-5))
    b = 1.2e-10
    luptitude = -POGSON * (np.arcsinh(10 ** (-0.4 * m) / (2 * b)) + np.log(b))
    asinh = band_of({"error": "e", "unit": "asinh", "softening": b}, **whole)
    assert to_ab(asinh, luptitude, -0.1) == (np.inf, one_sigma)


ANY = st.floats() | st.sampled_from([0, -1, -9, -99, 99, -9999, 1e20, 3.4e38, 1.8e308, -1.8e308])
UNITS = ({}, {"unit": "uJy"}, {"flux_zero_point": 22.5}, {"unit": "Vega"}, {"unit": "asinh"})


@given(value=ANY, error=ANY, ebv=ANY, unit=st.sampled_from(UNITS), inverse=st.booleans(), limits=st.booleans())
@settings(max_examples=500, deadline=None)
def test_hostile_numbers_are_told_or_gaps(value, error, ebv, unit, inverse, limits):
    """What comes out is a magnitude of something with an error, a mark, or a DataError with row and column."""
    band = {"column": "m", ("ivar" if inverse else "error"): "e", "extinction": 3.1}
    band |= {"Vega": {"offset": 0.5}, "asinh": {"softening": 1e-10}}.get(unit.get("unit"), {})
    content = {"bands": {"b": band}, "ebv": "ebv", "missing": [-9]} | unit
    content |= {"limits": ["negative error"]} if limits else {}
    columns = {"m": ["20", repr(value)], "e": ["0.1", repr(error)], "ebv": ["0", repr(ebv)]}
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder, "t.csv"), columns)
        read = attempt(alhambra_table.read, path, as_mapping(folder, content))
    if isinstance(read, DataError):
        assert re.search(r"t\.csv, row 2, column '(m|e|ebv)'", str(read))
        return
    m, dm = (float(read.table[name][1]) for name in ("b", "db"))
    assert 0 <= ebv <= 10
    given_value = np.isfinite(value) and abs(value) < 1e30 and np.float32(value) not in (*magnitudes.MARKS, -9)
    in_flux = bool(unit) and unit.get("unit") != "Vega"
    if abs(m) != 99:
        assert given_value
        assert dm == -99 or dm >= 0
        if not in_flux:
            assert -31 - 0.5 - 50 < m < 50.6
    elif in_flux and given_value and unit.get("unit") != "asinh" and m == 99:
        assert value <= 0 or (limits and error < 0)
    if m == 99 and in_flux and dm != -99:
        assert np.isfinite(dm)


@pytest.mark.parametrize(
    ("band", "whole", "message"),
    [
        ({"error": "e", "ivar": "w"}, {}, "`error:` or `ivar:`"),
        ({"unit": "asinh"}, {}, "softening"),
        ({"softening": 1e-10}, {}, "`unit: asinh` and `softening:`"),
        ({"unit": "Vega"}, {}, "`filter:`"),
        ({"unit": "Vega", "filter": [1.2, 0.2]}, {}, "`offset:`"),
        ({"filter": "sdss_u"}, {"ebv": "E"}, "sdss_u0"),
        ({}, {"ebv": "E"}, "`extinction:`"),
        ({"extinction": 3.1}, {}, "`ebv: COLUMN`"),
        ({}, {"unit": "uJy", "flux_zero_point": 22.5}, "Give one"),
        ({}, {"missing": [99], "undetected": [99]}, "Each mark has one meaning"),
        ({}, {"undetected": ["nd"]}, "undetected"),
        ({}, {"unit": "ergs"}, "unit"),
        ({}, {"n_sigma": 0}, "n_sigma"),
        ({}, {"limits": ["zero flux"]}, "limits"),
    ],
)
def test_a_band_that_says_too_little_or_too_much_is_refused(band, whole, message):
    with pytest.raises(DataError, match=r"mine\.yaml") as caught:
        band_of(band, **whole)
    assert message in str(caught.value)


def test_the_readme_s_bands(tmp_path):
    """The second mapping of data/README.md, with one galaxy of AB 20 in all bands behind E(B-V) = 0.1."""
    text = re.findall(r"```yaml\n(bands.*?)```", (paths.DATA / "README.md").read_text(), re.DOTALL)[1]
    (tmp_path / "mine.yaml").write_text(text)
    bands = mapping.load(tmp_path / "mine.yaml").bands_of
    flux = {name: 10 ** (-0.4 * (20 + 0.1 * band.extinction - 23.9)) for name, band in bands.items()}
    columns = {"EBV": 0.1, "FLUX_G": flux["g"], "IVAR_G": flux["g"] ** -2 * 100, "modelMagErr_r": 0.1}
    columns["modelMag_r"] = 20 + 0.1 * bands["r"].extinction
    columns |= {"Jmag": 20 + 0.1 * bands["J"].extinction - bands["J"].offset, "e_Jmag": 0.1}
    columns |= {"Kmag": 20 + 0.1 * bands["Ks"].extinction - 1.85, "e_Kmag": 0.1}
    Table({name: [value] for name, value in columns.items()}).write(tmp_path / "t.fits")
    read = alhambra_table.read(tmp_path / "t.fits", tmp_path / "mine.yaml").table[0]
    assert [read[name] for name in bands] == pytest.approx([20] * 4, abs=3e-4)
    assert [read[f"d{name}"] for name in bands] == pytest.approx([0.1 * POGSON, 0.1, 0.1, 0.1], rel=1e-3)
