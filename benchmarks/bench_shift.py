"""Do the 68 % intervals of `companion apply 01` hold on galaxies of its own library, and on spectra that it lacks?

    python benchmarks/bench_shift.py [FOLDER]

FOLDER holds published spectra: `rt_library` (SK07 starbursts, Fritz+ 2006 tori and E-MILES hosts) and
`swire_templates` (Polletta+ 2007); without it only mock galaxies are tried. All are seen in the 20 bands of HELP at
random redshifts, with relative noise, and with a noise of the sky in some cases, which leaves limits.
"""

import sys
import time
from pathlib import Path

import numpy as np
from astropy.table import Table

from paper_utils.base import paths
from paper_utils.base.constants import C_KMS, L_SUN
from paper_utils.base.containers import WAVE_UM, Photometry
from paper_utils.base.distances import luminosity_distance
from paper_utils.base.filters import HELP_BANDS, sampled
from paper_utils.base.photometry import matrices
from paper_utils.files import seds
from paper_utils.midir.apply import Reconstructor
from paper_utils.sky import midir_library

N = 300
MID = (WAVE_UM >= 5) & (WAVE_UM <= 35)
CASES = {"3 %": (0.03, 0.0), "10 %, limits": (0.1, 0.2)}  # relative noise; that of the sky, of the flux of faint ones


def observed(flux: np.ndarray, noise: float, depth: float) -> tuple[Photometry, np.ndarray]:
    """Photometry of SEDs F_nu (n, L) of unit bolometric flux as galaxies of 1e10 to 3e12 L_sun at z = 0.1 to 3, and
    their true spectra [mJy]; what is below 3 sigma is a limit."""
    rng = np.random.default_rng(1)
    z, luminosity = rng.uniform(0.1, 3, len(flux)), 10 ** rng.uniform(10, 12.5, len(flux))
    curves = np.stack([sampled(band.curve) for band in HELP_BANDS], axis=1)
    scale = luminosity * L_SUN * (1 + z) / (4 * np.pi * luminosity_distance(z) ** 2 * C_KMS * 1e9) * 1e26
    true = (matrices(WAVE_UM, *curves, z) @ flux[..., None])[..., 0] * scale[:, None]
    error = np.hypot(noise * true, depth * np.quantile(true, 0.3, axis=0))
    seen = true + error * rng.standard_normal(true.shape)
    limit, inside = (seen < 3 * error) & (true > 0), true > 0
    seen, error = np.where(limit, 3 * error, seen), np.where(inside, error, 0.0)
    names, ids = [str(band) for band in HELP_BANDS], [f"g{i}" for i in range(len(flux))]
    return Photometry(seen * inside, error, limit, names, *curves, z, ids), flux * scale[:, None]


def thirds(inside: np.ndarray, by: np.ndarray) -> str:
    """Shares [%] in thirds of a quantity."""
    return " ".join(f"{100 * inside[rows].mean():.0f}" for rows in np.array_split(np.argsort(by, kind="stable"), 3))


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    spectra = {"another draw of the mock library": midir_library.library(N, seed=99).flux}
    if folder:
        spectra["radiative transfer"] = seds.read_npz_library(folder / "rt_library" / "rt_library.npz").flux[9000:][:N]
        spectra["templates of real galaxies"] = np.tile(seds.read_swire(folder / "swire_templates").flux, (5, 1))[:N]
    model = Reconstructor.load(paths.WEIGHTS / "01" / "reconstructor.safetensors")
    rows = []
    for name, flux in spectra.items():
        for case, how in CASES.items():
            photometry, truth = observed(flux, *how)
            begin = time.perf_counter()
            results = model.apply(photometry)
            seconds, table = time.perf_counter() - begin, results.table
            low, _, high = results.arrays["spectrum"].transpose(1, 0, 2)
            inside = ((truth[:, MID] >= low) & (truth[:, MID] <= high)).mean(axis=1)
            flagged = np.asarray(table["flag"] != "")
            row = {"galaxies": name, "noise": case, "inside [%]": 100 * inside.mean()}
            row |= {"not flagged": 100 * inside[~flagged].mean(), "flagged [%]": 100 * flagged.mean()}
            row |= {"excess": table.meta["excess"], "by z": thirds(inside, photometry.z)}
            row |= {
                "by detections": thirds(inside, table["n_detected"]),
                "by novelty": thirds(inside, table["novelty"]),
            }
            rows.append(row | {"ms each": 1e3 * seconds / len(flux)})
    table = Table(rows)
    for column in table.columns.values():
        if column.dtype.kind == "f":
            column.format = ".2f" if column.name == "excess" else ".0f"
    table.pprint_all()


if __name__ == "__main__":
    main()
