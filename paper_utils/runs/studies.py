"""The studies by number: their rooms, and the data that training outside a notebook starts from."""

import importlib
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from paper_utils.base.errors import DataError, unknown
from paper_utils.nets.settings import Settings

ROOMS = {"01": "midir", "02": "autoencoder", "03": "diffusion", "04": "latents", "05": "alhambra"}


def room(study: str, module: str):
    """A module of a study's room, such as room("01", "train"). Raises ProfileError for a study without a room."""
    if study not in ROOMS:
        raise unknown("study that trains networks is called", study, ROOMS)
    return importlib.import_module(f"paper_utils.{ROOMS[study]}.{module}")


def settings(study: str, profile: str, changes: Mapping[str, Any] | None = None) -> Settings:
    """The settings of a study at a profile, with changes by dotted name. Raises ProfileError."""
    return room(study, "train").Settings.load(study, profile, changes)


def data(study: str, s: Settings, source: Path | None, mapping: Path | None, seed: int, device: str):
    """What a study's `train` takes: from the mock sky, or from a user's file. Raises DataError for one of no use.

    Of study 05, a mapping without a file asks for the mock sky in the mapping's bands.
    """
    from paper_utils.files import pairs, templates, user
    from paper_utils.sky import cameras, images, midir_library, populations, sdss_spectra

    if source is not None and study in ("03", "04"):
        return pairs.images_and_spectra(source, study)
    if source is not None:
        found = user.check_file(study, source, mapping)
        return found.normalised() if study == "01" else found
    if study == "01":
        return midir_library.library(s.n_seds, seed=seed)
    ssps, sky = populations.from_emiles(templates.emiles()), {"seed": seed, "device": device}
    if study == "02":
        return sdss_spectra.spectra(s.n_spectra, ssps, **sky)
    if study == "05" and mapping is not None:
        from paper_utils.files import mapping as mappings
        from paper_utils.sky import bands

        given = mappings.load(mapping)
        survey = mappings.survey(given, mapping)
        return bands.catalogue(*survey, s.n_objects, ssps, seed, dust=given.ebv is None)
    if study == "05":
        from paper_utils.sky import alhambra_catalogue, stars

        observed = alhambra_catalogue.catalogue(s.n_objects, ssps, seed)
        locus = stars.locus(alhambra_catalogue.curves())
        return room(study, "template_fit").label(observed, _alhambra_templates(), locus, device=device)
    n, camera = (s.data.n_pairs, cameras.SDSS) if study == "03" else (s.n_galaxies, cameras.PAN_STARRS)
    if study == "04":
        camera = replace(camera, size=s.size, pixel_scale=s.pixel_scale)
    observed = sdss_spectra.spectra(n, ssps, z_range=room(study, "train").Z_RANGE, **sky)
    return pairs.Pair(images.images(observed.truth, ssps, camera, **sky), observed)


def templates(study: str, source: Path | None, mapping: Path | None) -> dict[str, Any]:
    """The templates that a network of study 05 carries, as an option of its `train`: where the curves of all bands are
    known, ALHAMBRA's or by the `filter` of each in a mapping, and the templates cover them; else none."""
    if study != "05" or (source is not None and mapping is None):
        return {}
    if mapping is None:
        return {"templates": _alhambra_templates()}
    from paper_utils.files import mapping as mappings

    given = mappings.load(mapping)
    with_error = [band for band in given.bands if f"d{band}" in given.source_of]
    if not set(with_error) <= set(given.filters):
        return {}
    seen, spectra = mappings.curves_of(given, mapping, with_error), _spectra()
    try:
        return {"templates": room(study, "template_fit").models(*spectra, seen)}
    except DataError:  # bands that leave the templates
        return {}


@cache  # labels of the mock sky and the networks that learn from them have the same
def _alhambra_templates():
    from paper_utils.sky import alhambra_catalogue

    return room("05", "template_fit").models(*_spectra(), alhambra_catalogue.curves())


def _spectra():
    from paper_utils.files import templates
    from paper_utils.sky import populations, sequence

    return sequence.templates(populations.from_emiles(templates.emiles()))
