"""Checkpoints: the whole state of a training in one safetensors file, tensors and JSON, nothing pickled."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from paper_utils.base import paths
from paper_utils.base.errors import WeightsError
from paper_utils.nets.model_file import contents

History = dict[str, Any]
TENSOR = "__tensor__"  # key of a tensor's name in the JSON


def save(path: Path, state: Mapping[str, Any], history: History) -> None:
    """Write modules, optimizers, schedulers and torch.Generators by name, and the losses so far."""
    tensors: dict[str, Tensor] = {}

    def named(tensor: Tensor) -> dict[str, str]:
        """Move a tensor, which JSON cannot hold, to `tensors`; its name stays."""
        name = str(len(tensors))
        tensors[name] = tensor.detach().cpu().contiguous()
        return {TENSOR: name}

    parts = {n: p.get_state() if isinstance(p, torch.Generator) else p.state_dict() for n, p in state.items()}
    text = json.dumps({"state": parts, "history": history}, default=named)
    with paths.atomic(path) as temporary:
        save_file(tensors, temporary, metadata={"checkpoint": text})


def load(path: Path, state: Mapping[str, Any]) -> History:
    """Put a checkpoint back into the same parts; returns the losses so far.

    Raises WeightsError for a file that is damaged or of another training.
    """

    def restored(found: dict[str, Any]) -> Any:
        """A tensor from its name; the keys of a dictionary that were whole numbers (optimizers) are so again."""
        if TENSOR in found:
            return tensors[found[TENSOR]]
        return {int(key) if key.isdigit() else key: value for key, value in found.items()}

    try:
        about, tensors = contents(path)
        saved = json.loads(about["checkpoint"], object_hook=restored)
        for name, part in state.items():
            put = part.set_state if isinstance(part, torch.Generator) else part.load_state_dict
            put(saved["state"][name])
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{path}: this checkpoint does not fit ({error}). Delete it and train afresh.") from error
    return saved["history"]
