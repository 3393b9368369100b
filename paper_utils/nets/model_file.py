"""Saved models: weights as safetensors beside a card in JSON, and a cache that never trains the same thing twice.

A card says what the model is, what it was trained on, profile, seed, split, git commit, device, wall time, losses and
the SHA-256 of the weights, so that a file from a GPU elsewhere can be judged, and refused where it does not fit.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from paper_utils.base import paths
from paper_utils.base.errors import WeightsError
from paper_utils.base.hashes import PACKAGE, file_hash, imported
from paper_utils.base.hashes import commit as git_commit
from paper_utils.nets import training

Card = dict[str, Any]


def trained(
    name: str,
    modules: Mapping[str, nn.Module],
    train: Callable[[Path], dict[str, Any]],
    *,
    architecture: dict[str, Any],
    settings: dict[str, Any],
    data: dict[str, str],
    profile: str,
    device: str,
    weights: str = "train",
    cache: Path | None = None,
) -> Card:
    """Fill `modules` with trained weights: from `weights`, from the cache, or by training; returns the model's card.

    Parameters
    ----------
    name : of the model within its study, as "logGLO-50"; decides the file's name, see `slug`.
    modules : what is saved, by name; filled in place.
    train : called with the path of a checkpoint when nothing is cached; trains in place, returns the history of `fit`.
    architecture : JSON values that decide the shapes; saved weights must have the same.
    settings : JSON values of the training (epochs, learning rates, seed ...); another value trains again.
    data : "library" and "split", content hashes of all the data and of the part to train on. A model that was trained
        on the same library but split otherwise has seen test galaxies, and is refused.
    weights : "train", or a folder that `export` wrote.

    Raises
    ------
    WeightsError : files missing, damaged (SHA-256), of another architecture or trained on this run's test data.
    """
    stem = slug(name)
    if weights != "train":
        return load(Path(weights) / f"{stem}.json", modules, architecture, data)
    # The code that builds and trains the modules is part of the key, with all that it imports from the networks' room:
    # a change of it trains again.
    kinds = {type(part) for module in modules.values() for part in module.modules()}
    named = inspect.getclosurevars(train)
    used = {inspect.getmodule(value) for value in (*kinds, *named.globals.values(), *named.nonlocals.values())}
    files = {Path(module.__file__) for module in used | {training} if getattr(module, "__file__", None)}
    code = {file for file in files if file.is_relative_to(PACKAGE)}
    in_notebook = [kind.forward for kind in kinds if kind.__module__ == "__main__"]
    behind = {file for own in code for file in imported(own.read_text()) if file.is_relative_to(PACKAGE / "models")}
    key = {
        "architecture": architecture,
        "settings": settings,
        "data": data,
        "code": [*sorted(map(file_hash, code | behind)), *sorted(map(inspect.getsource, [train, *in_notebook]))],
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache or paths.CACHE / "models"
    card_file = folder / f"{stem}-{digest}.json"
    if card_file.exists():
        return load(card_file, modules, architecture, data)
    history = train(folder / f"{stem}-{digest}.checkpoint")
    card = {
        "name": name,
        "architecture": architecture,
        "settings": settings,
        "trained_on": data,
        "profile": profile,
        "device": device,
        "torch": torch.__version__,
        "commit": git_commit(),
        "wall_s": round(history["wall_s"], 2),
        "finished": history["finished"],
        "history": history,
    }
    return save(card_file, modules, card) if history["finished"] else card


def save(card_file: Path, modules: Mapping[str, nn.Module], card: Card) -> Card:
    """Write weights, then the card that vouches for them: a card on disk always has its weights."""
    tensors = {
        f"{part}.{k}": v.detach().cpu().contiguous() for part, m in modules.items() for k, v in m.state_dict().items()
    }
    with paths.atomic(card_file.with_suffix(".safetensors")) as temporary:
        save_file(tensors, temporary)
        card = {**card, "sha256": hashlib.sha256(temporary.read_bytes()).hexdigest()}
    with paths.atomic(card_file) as temporary:
        temporary.write_text(json.dumps(card, indent=1))
    return {**card, "file": str(card_file)}


def load(card_file: Path, modules: Mapping[str, nn.Module], architecture: dict[str, Any], data: dict[str, str]) -> Card:
    """Fill `modules` from a card and its weights, after checking that they fit this run."""
    file = card_file.with_suffix(".safetensors")
    try:
        card = json.loads(card_file.read_text())
        had, seen, profile, digest = (card[key] for key in ("architecture", "trained_on", "profile", "sha256"))
        blob = file.read_bytes()
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{card_file}: no readable card with weights ({error}). Give the folder of a run's weights."
        ) from None
    if hashlib.sha256(blob).hexdigest() != digest:
        raise WeightsError(f"{file}: the SHA-256 is not the card's; the file is damaged or another's. Copy it again.")
    differing = {k: (had.get(k), v) for k, v in architecture.items() if had.get(k) != v}
    if differing:
        words = ", ".join(f"{k} is {saved!r}, here {here!r}" for k, (saved, here) in differing.items())
        raise WeightsError(
            f"{file}: another architecture: {words}. Use its profile ({profile}), and as many objects to train on."
        )
    if seen["library"] == data["library"] and seen["split"] != data["split"]:
        raise WeightsError(
            f"{file}: trained on some of this run's test objects. Use the seed of its split, or train anew."
        )
    try:
        tensors = load_file(file)
        for part, module in modules.items():
            prefix = f"{part}."
            module.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    except (SafetensorError, RuntimeError) as error:
        raise WeightsError(f"{file}: the weights do not fit the model: {error}") from None
    for module in modules.values():
        module.eval()
    return {**card, "file": str(card_file)}


def export(cards: Mapping[str, Card], folder: Path, metrics: Mapping[str, Any]) -> None:
    """Copy finished models with their cards, and by name what each achieved, to a folder where `--weights` finds them.

    Models of an earlier run in the folder are removed, after all is copied: the folder may be the one they came from.
    """
    kept = set()
    for name, card in cards.items():
        if "file" not in card:  # stopped early: nothing was saved but a checkpoint
            continue
        target = folder / f"{slug(name)}.json"
        with paths.atomic(target.with_suffix(".safetensors")) as temporary:
            shutil.copyfile(Path(card["file"]).with_suffix(".safetensors"), temporary)
        with paths.atomic(target) as temporary:
            temporary.write_text(json.dumps({**card, "metrics": metrics.get(name, {}), "file": target.name}, indent=1))
        kept |= {target, target.with_suffix(".safetensors")}
    for old in {*folder.glob("*.json"), *folder.glob("*.safetensors")} - kept:
        old.unlink()


def slug(name: str) -> str:
    """A file name from a model's name: "logGLO, mended" is logGLO-mended."""
    return re.sub(r"[^\w]+", "-", name).strip("-")
