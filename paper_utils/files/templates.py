"""The E-MILES single stellar populations: fetched once, kept in the cache, read as vacuum wavelengths.

150 models of one age and metallicity each (Vazdekis+ 2016, 2016MNRAS.463.3409V; unimodal IMF of slope 1.30, which is
Salpeter's; Padova+00 isochrones; 25 ages x 6 metallicities, 1680-50 000 A), with the masses of Vazdekis+ 2012. They lie
in the source distribution of ppxf 8.2.6 (Cappellari 2017, 2017MNRAS.466..798C); later ones ship no templates. Its
licence and that of the models allow use but not redistribution: nothing of them may be committed.
"""

import io
import re
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from paper_utils.base import paths
from paper_utils.base.constants import C_KMS, FWHM
from paper_utils.base.errors import DataError, readable
from paper_utils.base.hashes import file_hash
from paper_utils.base.wavelengths import air_to_vacuum

ARCHIVE = "ppxf-8.2.6.tar.gz"
SHA256 = "e51249d28f12eb41c6dce325a17c7bd554b546e73de930a59f7b29b02f35c8c3"
ARRAYS = ("templates", "masses", "lam", "ages", "metals", "fwhm")

_SSP = re.compile(r"miles_models/Eun1\.30Z([mp])(\d\.\d\d)T(\d\d\.\d{4})_iPp0\.00_baseFe_linear_FWHM_variable\.fits$")
_MASSES = "Vazdekis2012_ssp_mass_Padova00_UN_baseFe_v10.0.txt"


@dataclass(frozen=True, eq=False)
class EMiles:
    """Single stellar populations on a grid of age and metallicity.

    ages : (A,) Gyr, increasing.   metals : (M,) [M/H], increasing.   wave_rest : (L,) vacuum Angstrom.
    templates : (A, M, L) float32, L_sun / Angstrom per solar mass formed. Populations younger than 80-250 Myr (the
        poorer in metals, the older) are zero beyond 8950 A, where the models have no stars for them.
    masses : (A, M) share of the mass formed that is still in stars and remnants.
    fwhm : (L,) resolution of the templates, Angstrom.
    """

    ages: np.ndarray
    metals: np.ndarray
    wave_rest: np.ndarray
    templates: np.ndarray
    masses: np.ndarray
    fwhm: np.ndarray


def emiles(path: Path | str | None = None, *, air: bool = True) -> EMiles:
    """The E-MILES models, or those of a user's .npz at `path` in the layout that ppxf 9 reads.

    Without `path` they come from the cache; the first time (25 MB, seconds) the source distribution of ppxf 8.2.6 is
    fetched with pip, checked and converted. The .npz holds templates (L, A, M), masses (A, M), lam (L,), ages (A,) in
    Gyr, metals (M,) and fwhm (L,) or a number; `lam` is taken as air, as all of MILES is, and brought to vacuum on
    load, unless `air` is False (FSPS, GALAXEV; E-MILES is left in air then). Raises DataError: no network, a damaged
    archive, an unusable .npz.
    """
    if path is not None:
        return _read(Path(path), air, remedy="Give templates, masses, lam, ages, metals and fwhm as ppxf's sps_lib.")
    npz = paths.CACHE / "templates" / "emiles.npz"
    if not npz.is_file():
        _fetch(npz)
    return _read(npz, air, remedy="Delete it: it is made again.")


def resolution(wave: np.ndarray) -> np.ndarray:
    """FWHM [Angstrom] of the E-MILES models at `wave` [Angstrom] (Vazdekis+ 2016).

    Two gratings of NGSL, then MILES, then 60 km/s of dispersion.
    """
    wave = np.asarray(wave, float)
    infrared = wave * 60.0 / C_KMS * FWHM
    return np.select([wave < 3060.8, wave < 3541.4, wave < 8950.4], [3.0, 5.0, 2.51], infrared)


def convert(archive: Path, npz: Path) -> None:
    """Write the models inside the source distribution `archive` to `npz`, whole or not at all. Raises DataError."""
    if (digest := file_hash(archive)) != SHA256:
        problem = f"{archive.stat().st_size} bytes of SHA-256 {digest[:12]}..., where {SHA256[:12]}... is expected"
        remedy = "The archive is damaged or another version: delete it and fetch it again."
        raise DataError(problem, remedy=remedy, source=archive)
    arrays = _extract(archive)
    with paths.atomic(npz) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def _fetch(npz: Path) -> None:
    by_hand = npz.parent / ARCHIVE
    if by_hand.is_file():
        return convert(by_hand, npz)
    with tempfile.TemporaryDirectory(prefix="ppxf-") as folder:
        # With the hash in a requirements file pip itself refuses anything else before it opens the archive.
        wanted = Path(folder) / "requirements.txt"
        wanted.write_text(f"ppxf==8.2.6 --hash=sha256:{SHA256}\n")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--retries", "2"]
        done = subprocess.run(
            [*pip, "--no-deps", "--no-binary", "ppxf", "--dest", folder, "--requirement", str(wanted)],
            capture_output=True,
            text=True,
        )
        if done.returncode or not (Path(folder) / ARCHIVE).is_file():
            complaint = [line for line in (done.stderr or "").strip().splitlines() if line][-1:] or ["no reason given"]
            raise DataError(
                f"the E-MILES templates could not be fetched with pip ({complaint[0].strip()})",
                remedy="On a machine with network run `python -m pip download --no-deps --no-binary ppxf ppxf==8.2.6` "
                f"and copy {ARCHIVE} to {npz.parent}.",
            )
        convert(Path(folder) / ARCHIVE, npz)


def _extract(archive: Path) -> dict[str, np.ndarray]:
    from astropy.io import fits

    spectra = {}
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            if match := _SSP.search(member.name):
                sign, metal, age = match.groups()
                with fits.open(io.BytesIO(tar.extractfile(member).read())) as hdus:
                    header, flux = hdus[0].header, hdus[0].data.astype(np.float32)
                spectra[float(age), float(metal) * (-1 if sign == "m" else 1)] = flux
            elif member.name.endswith(_MASSES):
                table = tar.extractfile(member).read().decode()
    ages, metals = (np.unique(axis) for axis in np.array(list(spectra)).T)
    lam = header["CRVAL1"] + header["CDELT1"] * np.arange(header["NAXIS1"])
    templates = np.moveaxis(np.stack([[spectra[age, metal] for metal in metals] for age in ages]), -1, 0)
    return dict(zip(ARRAYS, (templates, _masses(table, ages, metals), lam, ages, metals, resolution(lam)), strict=True))


def _masses(table: str, ages: np.ndarray, metals: np.ndarray) -> np.ndarray:
    """Mass in stars and remnants per mass formed (A, M), from rows 'UN slope [M/H] age Mtotal M(*+remn) ...'."""
    rows = [line.split() for line in table.splitlines() if line.startswith("UN")]
    slope, metal, age, _, left = np.array([row[1:6] for row in rows], dtype=float).T
    unimodal = slope == 1.30
    # The table's [M/H] have more digits than the names of the files (-0.3960 for m0.40).
    cost = abs(metal - metals[:, None]) + np.where(unimodal, 0, np.inf)
    return np.array([[left[np.argmin(c + 10 * abs(np.log(age / a)))] for c in cost] for a in ages])


def _read(npz: Path, air: bool, remedy: str) -> EMiles:
    with readable(npz, "a readable .npz file", remedy), npz.open("rb") as raw:
        with np.load(raw, allow_pickle=False) as file:
            a = {name: file[name] for name in ARRAYS}
    if a["fwhm"].ndim == 0:
        a["fwhm"] = np.full(a["lam"].shape, float(a["fwhm"]))
    error = partial(DataError, source=npz)
    for axis in ("lam", "ages", "metals"):
        if a[axis].ndim != 1 or a[axis].size < 2 or not (np.diff(a[axis]) > 0).all():
            raise error("does not increase along one axis", remedy="Sort the grid.", row=axis)
    length, ages, metals = (a[axis].size for axis in ("lam", "ages", "metals"))
    shapes = {"templates": (length, ages, metals), "masses": (ages, metals), "fwhm": (length,)}
    for name in ARRAYS:
        if name in shapes and a[name].shape != shapes[name]:
            raise error(f"has shape {a[name].shape}, not {shapes[name]}", remedy=remedy, row=name)
        if not np.isfinite(a[name]).all() or (name != "metals" and a[name].min() < 0):
            raise error("holds values that are negative or not finite", remedy=remedy, row=name)
    (first, *_, last), (youngest, *_, oldest) = a["lam"], a["ages"]
    if not (first > 90 and last < 1e8 and 0 < youngest and oldest < 100):
        problem = f"wavelengths {first:g}-{last:g} and ages {youngest:g}-{oldest:g} make no sense"
        raise error(problem, remedy="Give lam in Angstrom and ages in Gyr.")
    return EMiles(
        **{name: a[name].astype(float) for name in ("ages", "metals", "masses", "fwhm")},
        wave_rest=air_to_vacuum(a["lam"]) if air else a["lam"].astype(float),
        templates=np.ascontiguousarray(np.moveaxis(a["templates"], 0, -1), dtype=np.float32),
    )
