"""What a FITS image of the sky says of itself: its bands, the unit of its flux, and where on the sky its pixels lie."""

import contextlib
import re
import warnings
from pathlib import Path

import numpy as np
from astropy import units
from astropy.io.fits import Header
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales

from paper_utils.base.errors import DataError, readable
from paper_utils.files import fits_files

ZERO_POINT = 22.5  # AB magnitude of one nanomaggy
SAME_SCALE = 5e-3  # relative
UNITS = {"nanomaggy": 1.0, "nanomaggies": 1.0, "nmgy": 1.0, "maggy": 1e9, "mgy": 1e9}
ZERO_POINTS = ("MAGZERO", "MAGZPT", "MAGZP", "PHOTZP", "ZP")
ASINH = 2.5 * np.log10(np.e)  # scale of Pan-STARRS1's pseudo-magnitudes


def planes(path: Path) -> dict[str, tuple[np.ndarray, Header]]:
    """{band: (image (H, W), header)} of all images in a file; the band is "" where the header does not name it."""
    planes = {}
    with fits_files.opened(path) as hdus:
        for hdu in hdus:
            if not hdu.is_image or hdu.data is None or hdu.data.dtype.kind not in "fiu":
                continue
            data, header = hdu.data, hdu.header
            if data.ndim == 3 and len(data) > 1:
                planes |= {band: (plane.astype(np.float32), header) for band, plane in _cube_bands(header, data, path)}
            elif data.ndim == 2 or data.shape[:-2] == (1,):
                planes.setdefault(_band(header), (data.reshape(data.shape[-2:]).astype(np.float32), header))
    if not planes:
        raise DataError("there is no image in it", remedy="Give FITS images of two or three axes.", source=path)
    return planes


def factor(header: Header, zero_point: float = np.nan) -> float:
    """Nanomaggies per unit of an image: from its AB `zero_point` or else, in this order, what the header says:

    BUNIT (nanomaggy, Jy and its parts); NMGY, SDSS's calibration; FPA.ZP and EXPTIME of Pan-STARRS1, whose stacks have
    the zero point 25 + 2.5 log10(exposure time / s) (Waters+ 2020, 2020ApJS..251....4W); MAGZERO and the like.
    Raises DataError.
    """
    if not np.isfinite(zero_point):
        unit = str(header.get("BUNIT", "")).strip()
        if (nmgy := UNITS.get(unit.casefold())) is not None:
            return nmgy
        with contextlib.suppress(ValueError, TypeError):
            return units.Unit(unit).to("Jy") / 3631e-9
        if np.isfinite(nmgy := _number(header, "NMGY")) and nmgy > 0:
            return nmgy
        exposure = _number(header, "EXPTIME")
        stacked = _number(header, "FPA.ZP") + 2.5 * np.log10(exposure) if exposure > 0 else np.nan
        stated = (stacked, *(_number(header, key) for key in ZERO_POINTS))
        zero_point = next(filter(np.isfinite, stated), np.nan)
    if not abs(zero_point) < 100:
        remedy = "Give the table a column zero_point, the AB magnitude of one unit (22.5 for nanomaggies)."
        raise DataError("the header has no unit of flux (BUNIT) and no zero point", remedy=remedy)
    return 10 ** (0.4 * (ZERO_POINT - zero_point))


def linear(data: np.ndarray, header: Header) -> np.ndarray:
    """Pan-STARRS1's stacks are stored as asinh pseudo-magnitudes; cut-outs of the service are linear already.

    flux = BOFFSET + 2 BSOFTEN sinh(value / a), a = 2.5 log10(e): header keywords of the stacks (the archive's page on
    its image cut-out service says to look for them). Data without them are given back.
    """
    soft, offset = _number(header, "BSOFTEN"), _number(header, "BOFFSET")
    if not (np.isfinite(soft) and np.isfinite(offset)):
        return data
    with np.errstate(over="ignore"):
        return (offset + 2 * soft * np.sinh(np.asarray(data, float) / ASINH)).astype(np.float32)


def sky(header: Header, corners: np.ndarray, path: Path):
    """Arcsec per pixel, unit vectors (2, 3) to two pixels, and a function of ra, dec to pixels."""
    remedy = "Write its WCS into the header, or give the table a column pixel_scale [arcsec]."
    with readable(path, "a usable WCS", remedy), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        wcs = WCS(header, naxis=2)
        if not wcs.has_celestial:
            raise DataError("there is no WCS in the header", remedy=remedy, source=path)
        scales = proj_plane_pixel_scales(wcs) * 3600
        ra, dec = np.radians(wcs.all_pix2world(corners, 0).T)
    vectors = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)
    if not (np.isfinite(vectors).all() and np.all(scales > 0) and np.ptp(scales) <= SAME_SCALE * scales.max()):
        raise DataError(f"its pixels are {scales[0]:.4g} x {scales[1]:.4g} arcsec", remedy=remedy, source=path)

    def to_pixel(ra: float, dec: float) -> tuple[float, float]:
        with contextlib.suppress(Exception):  # the other side of the sky
            return tuple(float(x) for x in wcs.all_world2pix([[ra, dec]], 0)[0])
        return np.nan, np.nan

    return float(scales.mean()), vectors, to_pixel


def _band(header: Header) -> str:
    for key in ("FILTER", "FPA.FILTER", "BAND", "EXTNAME"):
        if match := re.fullmatch(r"(?:SDSS[ _-]?|PS1[ _-]?)?([A-Za-z])(?:\.\d+)?'?", str(header.get(key, "")).strip()):
            return match[1].lower()
    return ""


def _cube_bands(header: Header, data: np.ndarray, path: Path):
    """The planes of a cube with the names that BANDS ("grizy", "g,r,i,z,y") or BAND0, BAND1 ... give them."""
    names = [part.lower() for part in re.findall(r"[A-Za-z]", str(header.get("BANDS", "")))]
    if not names:
        keys = [f"{key}{i}" for key in ("BAND", "FILTER") for i in range(len(data) + 1)]
        names = [str(header[key]).strip().lower() for key in keys if key in header]
    if len(names) != len(data) or len(set(names)) != len(names) or not all(len(name) == 1 for name in names):
        problem = f"a cube of {len(data)} images, of which the header names {' '.join(names) or 'none'}"
        raise DataError(problem, remedy="Write their bands into the header, BANDS = 'grizy'.", source=path)
    return zip(names, data, strict=True)


def _number(header: Header, key: str) -> float:
    try:
        return float(header[key])
    except (KeyError, TypeError, ValueError):
        return np.nan
