"""Spectra in a user's files, of one kind or another, as one container."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from paper_utils.base.containers import Spectra
from paper_utils.base.errors import DataError
from paper_utils.base.wavelengths import lsf_km_s
from paper_utils.files import fits_files, sdss


def read(files: Sequence[Path | str], z: float | None = None) -> Spectra:
    """The spectra of SDSS files, folders of them, or files of `Spectra.save`, as one, with `lsf_kms` (N, L).

    z : replaces the files' redshifts.   The resolution is that of the file (`wdisp`), or of the SDSS spectrograph.
    Raises DataError for a file that cannot be used, and for objects twice.
    """
    if not files:
        raise DataError("no files", remedy="Give spec-PLATE-MJD-FIBER.fits files.")
    parts, widths = [], []
    folders_opened = (sdss.files_in(path) if path.is_dir() else [path] for path in map(Path, files))
    for file in itertools.chain.from_iterable(folders_opened):
        part = sdss.read(file)
        lsf = part.lsf_kms
        if lsf is None:
            lsf = sdss.read_lsf(file) if file.name.endswith(fits_files.ENDINGS) else lsf_km_s(part.wave_obs)
        parts.append(part)
        widths.append(np.broadcast_to(lsf, part.flux.shape))
        if not np.array_equal(part.wave_obs, parts[0].wave_obs):
            problem = "other wavelengths than in the files before it"
            raise DataError(problem, remedy="Measure it alone.", source=file, row="wave_obs")
    stack = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ("flux", "ivar", "z", "ids")}
    if z is not None:
        stack["z"] = np.full(len(stack["ids"]), float(z))
    spectra = Spectra(wave_obs=parts[0].wave_obs, **stack, lsf_kms=np.concatenate(widths))
    return spectra.check(source=files[0] if len(files) == 1 else None)
