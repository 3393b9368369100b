"""The model file: one .safetensors with weights, every other number that using the model takes, and its card.

A `Model` is a network that knows how it was built: the arguments of its constructor are its architecture, and names of
bands or pixel scales among them travel with it. All other numbers (scales, noise units, calibrations) are buffers.
The card lies in the file's metadata: what the model is, its settings, data, profile, seed, commit, device, wall time,
losses, scores, known limits, and the SHA-256 of the tensors. Nothing is unpickled.
"""

import hashlib
import importlib
import inspect
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from paper_utils.base import paths
from paper_utils.base.errors import WeightsError

Card = dict[str, Any]
PACKAGE = "paper_utils."


class Model(nn.Module):
    """A network that can be kept in one file and made again from it.

    config : the arguments it was built with, defaults included; JSON values.   card : what `save` or `load` put there.
    """

    config: dict[str, Any]
    card: Card

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        given = inspect.signature(cls.__init__).bind_partial(self, *args, **kwargs)
        given.apply_defaults()
        config = {}
        for name, value in list(given.arguments.items())[1:]:
            keywords = given.signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD
            config |= value if keywords else {name: value}
        object.__setattr__(self, "config", json.loads(json.dumps(config, default=lambda array: array.tolist())))
        object.__setattr__(self, "card", {})
        return self

    @classmethod
    def kind(cls) -> str:
        """The name under which a file says what it holds, such as "midir.model.GLO"."""
        return f"{cls.__module__.removeprefix(PACKAGE)}.{cls.__qualname__}"

    def save(self, path: Path | str, half: bool = False, **card: Any) -> Card:
        """Write the model and its card, whole or not at all; `card` replaces or adds entries. Returns the card.

        half : write weight matrices in bfloat16, for half the size; vectors and buffers, such as scales, stay exact.
        """
        tensors = {name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()}
        if half:
            matrices = [name for name, value in self.named_parameters() if value.ndim > 1]
            tensors |= {name: tensors[name].bfloat16() for name in matrices}
        self.card = self.card | card | {"kind": self.kind(), "config": self.config, "sha256": _sha256(tensors)}
        with paths.atomic(Path(path)) as temporary:
            save_file(tensors, temporary, metadata={"card": json.dumps(self.card)})
        return self.card

    @classmethod
    def load(cls, path: Path | str, device: str = "cpu") -> Self:
        """The model in a file, in evaluation mode. Raises WeightsError for a file that holds none of this kind."""
        card, tensors = read(path)
        kind = _kind_of(card, path)
        if not issubclass(kind, cls):
            raise WeightsError(f"{path}: holds {card['kind']}, not {cls.kind()}. Give a file of the latter.")
        try:
            model = kind(**card["config"])
            model.load_state_dict(tensors)
        except (TypeError, ValueError, RuntimeError) as error:
            raise WeightsError(
                f"{path}: does not fit {card['kind']} as it is now ({error}). Train it again, or use the version of "
                f"this package that wrote it (commit {card.get('commit', 'unknown')})."
            ) from None
        model.card = card
        return model.to(device).eval()


def read(path: Path | str) -> tuple[Card, dict[str, Tensor]]:
    """Card and tensors of a model file. Raises WeightsError for one that is missing, damaged or no model file."""
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: there is no such file. Give a .safetensors file that `Model.save` wrote.")
    try:
        about, tensors = contents(path)
        card = json.loads(about["card"])
        digest = card["sha256"]
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: not a model file ({error}). Copy it again, or train anew.") from None
    if _sha256(tensors) != digest:
        raise WeightsError(f"{path}: the SHA-256 is not the card's; the file is damaged. Copy it again.")
    return card, tensors


def contents(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a safetensors file."""
    with safe_open(path, "pt") as file:
        return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)


def slug(name: str) -> str:
    """A file name from a model's name: "logGLO, per bin" is logGLO-per-bin."""
    return re.sub(r"[^\w]+", "-", name).strip("-")


def _kind_of(card: Card, path: Path | str) -> type[Model]:
    """The class that a card names: a `Model` of this package and nothing else."""
    module, _, name = str(card.get("kind")).rpartition(".")
    try:
        kind = getattr(importlib.import_module(PACKAGE + module), name)
    except (ImportError, AttributeError):
        kind = None
    if not (isinstance(kind, type) and issubclass(kind, Model)):
        raise WeightsError(f"{path}: holds {card.get('kind')!r}, which this package does not know. Update the package.")
    return kind


def _sha256(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
