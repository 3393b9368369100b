"""The response curves of bands that a mapping names: one of sedpy's, a file, or a top-hat."""

import difflib
from pathlib import Path

import numpy as np
from sedpy.observate import list_available_filters

from paper_utils.base.errors import refusal
from paper_utils.base.filters import transmission_curve
from paper_utils.files import seds

CURVES_UM = (0.03, 5000.0)


def read(curve: str | tuple[float, float], mapping: Path, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Wavelengths [um] and response per photon of a curve: its name in sedpy, a file beside the mapping (Angstrom and
    response), or (centre, full width) in um of a top-hat. Raises DataError naming the mapping and `where` in it."""
    refuse, known = refusal(mapping), list_available_filters()
    if isinstance(curve, str) and (mapping.parent / curve).is_file():
        wave, response = seds.read_two_columns(mapping.parent / curve)
        if not ((np.diff(wave) > 0).all() and CURVES_UM[0] < wave[0] and wave[-1] < CURVES_UM[1]):
            problem = f"the curve runs over {wave[0]:g}-{wave[-1]:g} um"
            refuse(where, problem, "Give wavelengths in Angstrom, increasing, and the response per photon.")
        if not (np.isfinite(response).all() and (response > 0).any()):
            refuse(where, "the curve has no response, or one that is no number", "Give the response per photon.")
        return wave, np.clip(response, 0, None)
    if isinstance(curve, str) and curve not in known:
        near = ", ".join(difflib.get_close_matches(curve, known, n=3, cutoff=0.4)) or "wise_w3, sdss_r0 ..."
        remedy = f"Near it: {near}; or give the file of a curve, or [centre, full width] in um."
        refuse(where, f"neither a file nor a curve of sedpy is called {curve!r}", remedy)
    if not isinstance(curve, str) and curve[1] >= 2 * curve[0]:
        refuse(where, f"a top-hat {curve[1]:g} um wide at {curve[0]:g} um", "Give [centre, full width].")
    return transmission_curve(curve)
