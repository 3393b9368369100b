"""What `companion data get` fetches for data sets whose archive gives no checksum to pin."""

from pathlib import Path

from paper_utils.base import paths
from paper_utils.base.errors import DataError
from paper_utils.files import alhambra_table, panstarrs, sdss, skyserver
from paper_utils.files import objects as object_tables

NAMES = ("alhambra", "panstarrs", "sdss-query", "sdss-spectra")


def get(name: str, objects: Path | None = None, folder: Path | None = None) -> Path:
    """Fetch the data set `name` (one of `NAMES`) into `folder` (default: in the cache); where it is now.

    objects : a table (`objects.read`), which panstarrs (id, ra, dec) and sdss-spectra (plate, mjd and fiber, or
    specObjID) need. Raises DataError.
    """
    folder = folder or paths.CACHE / name
    needs = {"panstarrs": "id, ra and dec [deg]", "sdss-spectra": "plate, mjd and fiber, or specObjID"}
    if name in needs and objects is None:
        raise DataError(f"{name} is fetched for a list of objects", remedy=f"Give --objects TABLE with {needs[name]}.")
    if name not in needs and objects is not None:
        raise DataError(f"{name} is fetched whole", remedy="Leave --objects out.")
    if name == "alhambra":
        return alhambra_table.get(folder)
    if name == "sdss-query":
        return skyserver.get(folder)
    if name == "panstarrs":
        return panstarrs.get(objects, folder)
    names = [str(name) for name in object_tables.read(objects)["spectrum"] if name]
    if not names:
        remedy = "Give these columns, or specObjID."
        raise DataError("no object has a plate, mjd and fibre", remedy=remedy, source=objects)
    sdss.get([name.split("-") for name in names], folder / "spectra")
    return folder
