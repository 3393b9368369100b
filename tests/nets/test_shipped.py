"""The trained models that come with the project: small, whole, and with cards that say where they come from."""

import pytest

from paper_utils.base import paths
from paper_utils.nets.model_file import Model

FILES = sorted(paths.WEIGHTS.glob("*/*.safetensors"))
WANTED = {"commit", "config", "data", "device", "history", "plan", "profile", "scores", "seed", "torch", "wall_s"}


def test_they_are_small_together():
    assert {file.parent.name for file in FILES} >= {"01", "02", "05"}
    assert sum(file.stat().st_size for file in FILES) < 60e6


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_each_is_a_model_with_a_card(file):
    card = Model.load(file).card
    assert file.stat().st_size < 16e6
    assert WANTED <= set(card)
    assert card["profile"] in ("overnight", "paper")
    assert card["study"] == file.parent.name
    assert card["scores"]
