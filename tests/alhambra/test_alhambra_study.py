"""Study 5 from end to end on a table that is not ALHAMBRA's: real SDSS galaxies in five bands, with a mapping."""

import dataclasses
import json

import numpy as np
import pytest
import yaml
from astropy.table import Table

from paper_utils.base import paths
from paper_utils.runs import notebooks

GST = paths.ROOT.parent / "shared" / "real_data" / "gst_photometry" / "gst_tests_small.fits"


@pytest.mark.skipif(not GST.is_file(), reason="SDSS photometry is not here (shared/real_data/gst_photometry)")
def test_notebook_finds_redshifts_of_real_galaxies(tmp_path, record_property):
    raw = Table.read(GST)
    mine = Table({"z": raw["Z"]})
    for k, band in enumerate("ugriz"):
        mine[f"flux_{band}"] = raw["MODELFLUX"][:, k]
        mine[f"error_{band}"] = 1 / np.sqrt(raw["MODELFLUX_IVAR"][:, k])
    mine = mine[np.isfinite(np.array([mine[f"error_{band}"] for band in "ugriz"])).all(axis=0)]
    mine.write(tmp_path / "sdss.csv")
    bands = {band: {"column": f"flux_{band}", "error": f"error_{band}"} for band in "ugriz"}
    mapping = {"bands": bands, "redshift": "z", "truth": {"z": "z"}, "flux_zero_point": 22.5}
    (tmp_path / "sdss.yaml").write_text(yaml.safe_dump(mapping))

    where = {"DATA": str(tmp_path / "sdss.csv"), "MAPPING": str(tmp_path / "sdss.yaml"), "device": "cpu"}
    job = notebooks.plan("05", "smoke", tmp_path, **where)
    enough = {"settings": {"n_epochs": [20, 1, 1, 1], "widths": [128, 128], "n_epochs_density": 15}}
    outcome = notebooks.run(dataclasses.replace(job, parameters=job.parameters | enough))
    assert outcome.status == "done", outcome.failure

    claims = {claim["id"]: claim for claim in json.loads((job.output / "results.json").read_text())["claims"]}
    assert claims["l.mass"]["parts"] == {"value": "The table has no labels for this."}
    assert 55 < claims["x.coverage68"]["parts"]["value"][0] < 80  # some 750 objects to calibrate, 2500 to judge by
    found = Table.read(job.output / "redshifts.csv")
    sigma, lost = (dict(zip(found["method"], found[name], strict=True)) for name in found.colnames[3::4])
    for name in ("thesis' network", "density network, truth", "gradient boosting, truth"):
        record_property(name, f"sigma_MAD {sigma[name]:.4f}, outliers {lost[name]:.2f} %")
    # The main sample's photometric redshifts are good to some 0.02 (Collister & Lahav 2004, 2004PASP..116..345C).
    assert 0.01 < sigma["density network, truth"] < min(0.02, sigma["thesis' network"])
    assert lost["density network, truth"] < 1
