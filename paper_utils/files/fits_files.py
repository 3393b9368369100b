"""FITS files as they come from archives and users: opened only when whole, and every failure a DataError."""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

from astropy.io import fits

from paper_utils.base.errors import readable

ENDINGS = (".fits", ".fit", ".fits.gz")
BLOCK = 2880  # bytes; every FITS file is a multiple of it


def is_whole(path: Path) -> bool:
    """Whether a file begins as FITS and is of full blocks, as a download must be."""
    with path.open("rb") as file:
        return file.read(6) == b"SIMPLE" and path.stat().st_size % BLOCK == 0


@contextlib.contextmanager
def opened(path: Path | str, remedy: str = "Get the file again.") -> Iterator:
    """The HDUs of a FITS file, read into memory. Raises DataError where astropy cannot read it, or only warns."""
    with readable(path, "a whole FITS file", remedy), strict(), fits.open(path, memmap=False) as hdus:
        yield hdus


@contextlib.contextmanager
def strict() -> Iterator[None]:
    """Astropy only warns of a FITS file that is cut short, and reads what there is: within the block it raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", message=r"(?s).*(truncated|corrupted)")
        yield
