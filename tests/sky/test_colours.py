"""Colours: the real ones are read and summarised as said, and the mock sky's lie where they do."""

import numpy as np
import pytest
from astropy.table import Table

from paper_utils.base import paths
from paper_utils.base.errors import DataError
from paper_utils.base.filters import sdss_curves, two_mass_curves
from paper_utils.sky import colours, galaxies, sdss_spectra

GST = paths.ROOT.parent / "shared" / "real_data" / "gst_photometry" / "gst_tests_small.fits"


def photometry(n, path, **changed):
    """A file as kcorrect's, of galaxies with u g r i z = 19 17.5 16.8 16.4 16.1 before extinction, and K 13."""
    flux = np.tile(10 ** (0.4 * (22.5 - np.array([19, 17.5, 16.8, 16.4, 16.1]))), (n, 1))
    columns = {"MODELFLUX": flux, "PETROFLUX": flux, "EXTINCTION": np.zeros((n, 5)), "Z": np.full(n, 0.1),
               "K_M_EXT": np.full(n, 13.0)}  # fmt: skip
    Table(columns | changed).write(path)
    return path


def test_magnitudes_are_read_in_ab_without_extinction(tmp_path):
    dust = np.tile([0.5, 0.4, 0.3, 0.2, 0.1], (3, 1))
    real = colours.read(photometry(3, tmp_path / "a.fits", EXTINCTION=dust))
    # Blanton & Roweis 2007: AB - SDSS = -0.036, 0.012, 0.010, 0.028.
    np.testing.assert_allclose(real["u-g"], 1.5 - 0.1 - 0.048)
    np.testing.assert_allclose(real["g-r"], 0.7 - 0.1 + 0.002)
    np.testing.assert_allclose(real["r-i"], 0.4 - 0.1 - 0.018)
    np.testing.assert_allclose(real["r"], 16.8 - 0.3 + 0.010)
    np.testing.assert_allclose(real["ks"], 13.0)


def test_galaxies_without_a_colour_and_beyond_the_limits_are_left_out(tmp_path):
    path = photometry(5, tmp_path / "a.fits")
    table = Table.read(path)
    table["MODELFLUX"][0, 0] = -1.0  # no u
    table["MODELFLUX"][1, 4] = -1.0  # no z: not needed
    table["Z"][2] = 0.3
    table["PETROFLUX"][3] *= 0.3  # fainter than 17.77
    table.write(path, overwrite=True)
    assert len(colours.read(path)) == 2


def test_files_of_another_kind_are_named(tmp_path):
    with pytest.raises(DataError, match="MODELFLUX"):
        colours.read(paths.DATA / "claims.csv")
    Table({"Z": [0.1]}).write(tmp_path / "a.fits")
    with pytest.raises(DataError, match="K_M_EXT"):
        colours.read(tmp_path / "a.fits")


def test_summary_counts_and_ranks():
    n = 1000
    bands = {"u": 18 + np.arange(n) / n, "g": np.full(n, 17.0), "r": np.full(n, 16.5), "i": np.full(n, 16.2)}
    table = colours.summary(colours.of(bands | {"Ks": np.full(n, 15.0)}, np.full(n, 0.05)), "mock")
    (whole,) = colours.rows(table, "mock", "u-g")
    np.testing.assert_allclose(
        [whole[f"p{p}"] for p in colours.PERCENTILES], 1 + np.array(colours.PERCENTILES) / 100, atol=2e-3
    )
    (by_r,) = colours.rows(table, "mock", "u-g", "r")
    assert (by_r["low"], by_r["high"], by_r["n"]) == (16.5, 17.0, n)
    assert len(colours.complete(colours.of(bands | {"Ks": np.full(n, 15.0)}, np.full(n, 0.05)))) == 0


def test_the_kept_table_is_that_of_the_file():
    if not GST.exists():
        pytest.skip(f"{GST} is not here")
    kept, fresh = colours.published(), colours.summaries(GST)
    assert kept.colnames == fresh.colnames
    for name in kept.colnames:
        if kept[name].dtype.kind == "f":
            np.testing.assert_allclose(kept[name], fresh[name], atol=1e-3)
        else:
            assert (kept[name] == fresh[name]).all()


def test_mock_galaxies_have_the_colours_of_real_ones(ssps):
    """In the sample where the real ones are complete: medians to 0.05 mag, the spread of two thirds to 0.12."""
    truth = galaxies.draw(40_000, 11, colours.Z_RANGE)
    truth = truth[galaxies.r_magnitude(truth) < 16.6]  # the faint ones are not compared
    bands = sdss_spectra.magnitudes(truth, sdss_curves() | two_mass_curves(), ssps)
    mock = colours.complete(colours.of(bands, truth["z"]))
    assert len(mock) > 3900
    real = colours.published()
    for colour in colours.COLOURS:
        (model,) = colours.rows(real, "model complete", colour)
        ours = np.percentile(mock[colour], [16, 50, 84])
        np.testing.assert_allclose(ours[1], model["p50"], atol=0.05, err_msg=colour)
        np.testing.assert_allclose(ours[[0, 2]], [model["p16"], model["p84"]], atol=0.12, err_msg=colour)
