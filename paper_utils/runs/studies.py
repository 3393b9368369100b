"""The studies by number: their rooms, and the data that training outside a notebook starts from."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from paper_utils.base.errors import unknown
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
