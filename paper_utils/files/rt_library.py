"""The library of published radiative-transfer models: starbursts, AGN tori and old stars, mixed at random.

Starbursts: Siebenmorgen & Kruegel 2007, A&A 461, 445. Tori: Fritz+ 2006, MNRAS 366, 767. Hosts: E-MILES
(`paper_utils.files.templates`). The first two come as archives of text files; data/README.md says where they are.
"""

import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from astropy.table import Table
from tqdm.auto import tqdm

from paper_utils.base.containers import WAVE_UM, SedLibrary
from paper_utils.base.errors import DataError, readable
from paper_utils.files.seds import resample
from paper_utils.files.templates import emiles

# All choices below are by hand: those of the composite library against which study 1 is measured.
DIRICHLET = (1.0, 0.7, 0.7)  # of the bolometric fractions of starburst, torus and host
MIN_AGE_GYR, MIN_METAL = 0.6, -1.0  # of the hosts: 15 ages, 4 metallicities
# F_nu ~ wavelength**slope past the last wavelength: dust of emissivity index 1.8 (from 2000 um) or 2 (1000 um), and
# stars (5 um).
STARBURST_SLOPE, TORUS_SLOPE, HOST_SLOPE = -3.8, -4.0, -2.0
FLOOR = 1e-14  # of a model's highest F_nu: tori seen edge-on fall to 1e-75 in the ultraviolet

# Fortran drops the E of three-digit exponents (1.1263-106) and may write D.
_EXPONENT = re.compile(r"(?<=[\d.])[dD]?(?=[+-]\d)")


def compose(sk07: Path | str, fritz: Path | str, n: int = 10_000, seed: int = 0) -> SedLibrary:
    """`n` composite SEDs at unit bolometric luminosity, F_nu on `WAVE_UM`.

    Each is a starburst, a torus at one of its viewing angles and a host, drawn with equal chances, of bolometric
    fractions Dirichlet(1, 0.7, 0.7). sk07, fritz : see `starbursts` and `tori`; E-MILES is fetched the first time.
    params : fractions `f_SB`, `f_AGN`, `f_s`; `starburst` (file), `torus` (file#angle), `host_age_gyr`, `host_metal`.

    The same models and seed give the same SEDs; all models of Siebenmorgen & Kruegel, the 144 of Fritz+ that CIGALE's
    source holds for rm60, seed 0 and n = 10 000 give the library that study 1 is measured on. Raises DataError.
    """
    parts = starbursts(sk07), tori(fritz), hosts()
    rng = np.random.default_rng(seed)
    fraction = rng.dirichlet(DIRICHLET, n)
    starburst, torus, host = chosen = [part.select(rng.integers(len(part), size=n)) for part in parts]
    flux = sum(share[:, None] * part.flux for share, part in zip(fraction.T, chosen, strict=True))
    shares = dict(zip(("f_SB", "f_AGN", "f_s"), fraction.T, strict=True))
    params = Table(shares | {"starburst": starburst.ids, "torus": torus.ids} | host.params.columns)
    return SedLibrary(WAVE_UM, flux.astype(np.float32), [f"rt{i:05d}" for i in range(n)], params).check()


def starbursts(source: Path | str) -> SedLibrary:
    """The starbursts of a .tar archive or a folder of .plot files (um in any order, Jy), in order of their names.

    At unit bolometric luminosity, as tori and hosts are. Raises DataError naming the file.
    """
    return _library(*_read(Path(source), ".plot", n_columns=2), STARBURST_SLOPE)


def tori(source: Path | str) -> SedLibrary:
    """The tori of a .tar archive or a folder of .tot files, one for each viewing angle; angle 0 is edge-on.

    A file holds the angles one after the other: um, total L_lambda and its three parts. Ids are file#angle. Raises
    DataError naming the file.
    """
    names, wave_um, flux = _read(Path(source), ".tot", n_columns=5)
    n_angles = (wave_um == wave_um[0]).sum()
    ids = [f"{Path(name).name}#{angle}" for name in names for angle in range(n_angles)]
    f_nu = (flux * wave_um**2).reshape(len(ids), -1)
    return _library(ids, wave_um[: f_nu.shape[1]], f_nu, TORUS_SLOPE)


def hosts() -> SedLibrary:
    """The E-MILES populations older than 0.6 Gyr and richer than [M/H] = -1, ids age/metallicity.

    Wavelengths are left in air: they are short by 1/200 of a bin, and the library of study 1 was made so.
    """
    models = emiles(air=False)
    old, rich = models.ages > MIN_AGE_GYR, models.metals > MIN_METAL
    age, metal = (axis.ravel() for axis in np.meshgrid(models.ages[old], models.metals[rich], indexing="ij"))
    f_nu = models.templates[old][:, rich].reshape(age.size, -1) * models.wave_rest**2
    ids = [f"{a:g}/{m:g}" for a, m in zip(age, metal, strict=True)]
    params = Table({"host_age_gyr": age, "host_metal": metal})
    return _library(ids, models.wave_rest * 1e-4, f_nu, HOST_SLOPE, params)


def _library(ids: list[str], wave_um: np.ndarray, f_nu: np.ndarray, slope: float, params=None) -> SedLibrary:
    """On the grid, with F_nu constant before the first wavelength and a power law of `slope` past the last."""
    first, last, far = wave_um.argmin(), wave_um.argmax(), 1e4
    f_nu = np.maximum(f_nu, FLOOR * f_nu.max(axis=1, keepdims=True))
    wave_um = np.r_[wave_um[first] / far, wave_um, wave_um[last] * far]
    f_nu = np.hstack([f_nu[:, [first]], f_nu, f_nu[:, [last]] * far**slope])
    return SedLibrary(WAVE_UM, resample(wave_um, f_nu), ids, params).normalised()


def _read(source: Path, ending: str, n_columns: int) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Sorted names (M,), the wavelengths (L,) that all files share, and their second columns (M, L)."""
    flux, wave_um = {}, None
    for name, raw in _files(source, ending):
        rows = map(str.split, _EXPONENT.sub("E", raw.decode("latin-1")).splitlines())
        with readable(f"{source}, {name}", "a table of this library", "Copy the archive again, or leave the file out."):
            table = np.array([row for row in rows if len(row) == n_columns and row[0][0].isdigit()], float)
            wave_um, flux[name] = table[:, 0] if wave_um is None else wave_um, table[:, 1]
            if not np.array_equal(table[:, 0], wave_um):
                raise ValueError(f"its wavelengths are not those of {next(iter(flux))}")
            if not (np.isfinite(flux[name]) & (flux[name] >= 0)).all():
                raise ValueError("a flux is negative or not finite")
    if not flux:
        raise DataError(f"no {ending} files here", remedy="Give the archive or its folder.", source=source)
    names = sorted(flux)
    return names, wave_um, np.stack([flux[name] for name in names])


def _files(source: Path, ending: str) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file of a folder, or of the .tar archive that is `source` or lies in it.

    Members are read in memory; nothing is unpacked, links are passed over.
    """
    source = next(iter(source.glob("*.tar*")), source)
    if source.is_dir():
        files = sorted(source.rglob(f"*{ending}"))
        yield from ((f.relative_to(source).as_posix(), f.read_bytes()) for f in tqdm(files, ending, leave=False))
        return
    with readable(source, "a readable .tar archive", "Copy it again, or give its folder."), tarfile.open(source) as tar:
        for member in tqdm(tar.getmembers(), ending, leave=False):
            if member.isfile() and member.name.endswith(ending):
                yield member.name, tar.extractfile(member).read()
